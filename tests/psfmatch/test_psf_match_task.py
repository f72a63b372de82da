"""PsfMatchTask: flow of the solve, rejections, metadata, the verbs of a task."""

import logging
import pickle
import subprocess
import sys
import types

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from lsst.pex.config import Config, ConfigurableField, FieldValidationError
from task_scenes import render, starTable, toExposure

from stillsky.errors import NoDataError
from stillsky.image import Image, MaskedImage
from stillsky.psfmatch import CandidateStatus, SpatialCellSet
from stillsky.psfmatch.config import DetectionConfig, PsfMatchConfig, PsfMatchConfigAL, PsfMatchConfigDF
from stillsky.psfmatch.image_psf_match import ImagePsfMatchConfig, ImagePsfMatchTask
from stillsky.psfmatch.make_kernel import MakeKernelConfig, MakeKernelTask
from stillsky.psfmatch.model_psf_match import ModelPsfMatchConfig
from stillsky.psfmatch.snap_psf_match import SnapPsfMatchConfig
from stillsky.psfmatch.task import NoKernelCandidatesError, PsfMatch, PsfMatchTask
from stillsky.task_base import assignMetadata


def makeTask(**fields):
    config = MakeKernelConfig()
    for name, value in fields.items():
        setattr(config.kernel.active, name, value)
    return MakeKernelTask(config=config)


def nineCells(rng, companion=0.0, doubled=()):
    """Nine cells of 128 pixels with three stars each; stars of ``doubled`` are twice as bright in the science image.

    ``companion``: flux, over that of its star, of a star three pixels away that only the science image has.
    """
    inCell = np.array([[32.0, 32.0], [96.3, 40.2], [60.1, 96.4]])
    corners = 128.0 * np.array([(i, j) for j in range(3) for i in range(3)])
    positions = (corners[:, None, :] + inCell).reshape(-1, 2)
    fluxes = np.tile([3e4, 2.5e4, 2e4], 9)
    scienceFluxes = fluxes.copy()
    scienceFluxes[list(doubled)] *= 2.0
    template = toExposure(render(384, positions, fluxes, 1.5, rng), 1.5)
    image = render(384, positions, scienceFluxes, 2.0, rng)
    if companion:
        image += render(384, positions + 3.0, companion * fluxes, 2.0)
    return template, toExposure(image, 2.0), starTable(positions, fluxes)


def statusAt(cellSet, x, y):
    return next(c.status for c in cellSet.allCandidates() if np.hypot(c.xCenter - x, c.yCenter - y) < 0.01)


def testAVariableStarGivesItsPlaceToTheNext(rng):
    template, science, stars = nineCells(rng, doubled=[12])
    task = makeTask(nStarPerCell=1, spatialKernelOrder=0)
    result = task.run(template, science, stars)
    assert statusAt(result.kernelCellSet, *stars["x", "y"][12]) == CandidateStatus.BAD
    assert statusAt(result.kernelCellSet, *stars["x", "y"][13]) == CandidateStatus.GOOD
    assert statusAt(result.kernelCellSet, *stars["x", "y"][14]) == CandidateStatus.UNKNOWN
    assert task.metadata["spatialKernelSum"] == pytest.approx(1.0, abs=1e-2)
    assert task.metadata["rejectedCandidates.kernelSum"] == 1


def testNothingButVariableStarsIsAnAlgorithmError(rng):
    template, science, stars = nineCells(rng, companion=0.8)
    with pytest.raises(NoKernelCandidatesError) as caught:
        makeTask().run(template, science, stars)
    assert isinstance(caught.value, pipeBase.AlgorithmError)
    assert isinstance(caught.value, NoDataError)
    assert caught.value.metadata == {"nTotal": 27, "nGood": 0, "nBad": 27}


def testAnEmptyCellSetIsAnAlgorithmError():
    task = makeTask()
    cellSet = SpatialCellSet(MaskedImage(Image(np.zeros((256, 256), np.float32))).bbox, 128)
    with pytest.raises(pipeBase.AlgorithmError) as caught:
        task._solve(cellSet, task.makeKernelBasisList())
    assert caught.value.metadata == {"nTotal": 0, "nGood": 0, "nBad": 0}


def testReturnOnExceptIsHonoured(caplog):
    task = makeTask()
    cellSet = SpatialCellSet(MaskedImage(Image(np.zeros((256, 256), np.float32))).bbox, 128)
    with caplog.at_level(logging.ERROR):
        assert task._solve(cellSet, task.makeKernelBasisList(), returnOnExcept=True) == (None, None, None)
    assert "Unable to calculate psf matching kernel" in caplog.text


def testOneCandidateIsEnoughForAConstantKernel(rng, caplog):
    template, science, stars = nineCells(rng)
    task = makeTask()
    result = task.run(template, science, stars[13:14])
    assert not result.psfMatchingKernel.isSpatiallyVarying
    assert task.metadata["spatialKernelOrderUsed"] == 0
    assert task.metadata["spatialKernelSum"] == pytest.approx(1.0, abs=1e-2)
    assert task.metadata["nGoodCandidates"] == 1


def testTooFewCandidatesForTheOrderAreWarnedOfWhenOrdersAreKept(rng, caplog):
    template, science, stars = nineCells(rng)
    task = makeTask(lowerSpatialOrders=False, spatialKernelOrder=2)
    with caplog.at_level(logging.WARNING):
        task.run(template, science, stars[:3])
    assert "underconstrained" in caplog.text and "lowering the spatial order" in caplog.text


def testMetadataIsWrittenOncePerRun(rng):
    template, science, stars = nineCells(rng)
    task = makeTask(spatialKernelOrder=1)
    task.run(template, science, stars)
    first = task.metadata.to_dict()
    for key in (
        "spatialConditionNum", "spatialKernelSum", "ALBasisNGauss", "ALBasisDegGauss", "ALBasisSigGauss",
        "ALKernelSize", "ALBasisMode",
    ):  # fmt: skip
        assert key in task.metadata
    task.run(template, science, stars)
    assert task.metadata.to_dict() == first


@pytest.mark.parametrize("model", ["polynomial", "chebyshev1"])
def testReportedKernelSumIsTakenAtTheCentreOfTheRegion(rng, model):
    template, science, stars = nineCells(rng)
    task = makeTask(spatialKernelOrder=1, spatialModelType=model, spatialPhotometricOrder=1)
    result = task.run(template, science, stars)
    center = result.kernelCellSet.bbox.center
    total = result.psfMatchingKernel.imageAt(float(center.x), float(center.y)).sum()
    assert task.metadata["spatialKernelSum"] == pytest.approx(total, rel=1e-10)


def testPrincipalComponentsOfAlardLuptonKernels(rng):
    template, science, stars = nineCells(rng)
    task = makeTask(usePcaForSpatialKernel=True, numPrincipalComponents=3, spatialKernelOrder=1)
    kernel = task.run(template, science, stars).psfMatchingKernel
    assert kernel.nBasisKernels <= 3
    parameters = kernel.spatialParameters
    assert np.all(np.asarray(parameters[0])[1:] == 0.0)
    assert kernel.sumAt(192.0, 192.0) == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("regularised", [False, True])
def testDeltaFunctionKernelsWithPrincipalComponents(rng, regularised):
    template, science, stars = nineCells(rng)
    config = MakeKernelConfig()
    config.kernel.name = "DF"
    config.kernel.active.kernelSize = 9
    config.kernel.active.useRegularization = regularised
    config.kernel.active.spatialKernelOrder = 1
    task = MakeKernelTask(config=config)
    assert task.useRegularization is regularised
    result = task.run(template, science, stars)
    assert result.psfMatchingKernel.nBasisKernels <= 5
    assert result.psfMatchingKernel.sumAt(192.0, 192.0) == pytest.approx(1.0, abs=0.02)


def testRegularisationMatrixHasOneRowPerPixelAndOneForTheBackground():
    config = ImagePsfMatchConfig()
    assert ImagePsfMatchTask(config=config).useRegularization is False
    config.kernel.name = "DF"
    config.kernel.active.kernelSize = 7
    assert ImagePsfMatchTask(config=config).hMat.shape == (49, 49)
    config.kernel.active.fitForBackground = True
    matrix = ImagePsfMatchTask(config=config).hMat
    assert matrix.shape == (50, 50)
    assert not matrix[-1].any()
    config.kernel.active.useRegularization = False
    assert ImagePsfMatchTask(config=config).useRegularization is False


def testEveryConfigurationIsValidWithItsDefaults():
    for cls in (
        PsfMatchConfigAL, PsfMatchConfigDF, DetectionConfig, ImagePsfMatchConfig, SnapPsfMatchConfig, MakeKernelConfig,
        ModelPsfMatchConfig, PsfMatchConfig,
    ):  # fmt: skip
        cls().validate()


@pytest.mark.parametrize(
    ("cls", "name", "good", "bad"),
    [
        (DetectionConfig, "fpGrowPix", 10, 9),
        (PsfMatchConfigAL, "maxSpatialIterations", 5, 6),
        (PsfMatchConfigAL, "maxSpatialIterations", 1, 0),
        (PsfMatchConfigAL, "sizeCellX", 32, 31),
        (PsfMatchConfigAL, "numPrincipalComponents", 3, 2),
        (PsfMatchConfigAL, "alardMinSig", 0.25, 0.2),
    ],
)
def testConfigurationLimits(cls, name, good, bad):
    config = cls()
    setattr(config, name, good)
    config.validate()
    with pytest.raises(FieldValidationError):
        setattr(config, name, bad)


def testSnapDefaults():
    config = SnapPsfMatchConfig()
    for kind in ("AL", "DF"):
        kernel = config.kernel[kind]
        assert (kernel.spatialKernelOrder, kernel.fitForBackground, kernel.kernelSize) == (0, False, 7)
        assert kernel.spatialKernelClipping is False
    assert list(config.kernel["AL"].alardDegGauss) == [4, 2]
    assert list(config.kernel["AL"].alardSigGauss) == [1.0, 2.5]
    assert config.kernel["DF"].useRegularization is False and config.kernel["DF"].numPrincipalComponents == 5
    assert config.doWarping is False


# ---------------------------------------------------------------------- the verbs of a task


class TopConfig(Config):
    sub = ConfigurableField(target=ImagePsfMatchTask, doc="matching")


class TopTask(PsfMatchTask):
    """A task with a matching task inside."""

    ConfigClass = TopConfig
    _DefaultName = "top"

    def __init__(self, **kwargs):
        pipeBase.Task.__init__(self, **kwargs)
        self.makeSubtask("sub")

    def _buildCellSet(self, *args):
        raise AssertionError("not called")

    def getSchemaCatalogs(self):
        return {"src": starTable(np.zeros((0, 2)), [])}


def testTaskVerbs():
    top = TopTask()
    assert top.getName() == "top" and top.sub.getName() == "sub"
    assert top.sub.getFullName() == "top.sub"
    assert set(top.getTaskDict()) == {"top", "top.sub"}
    assert top.getTaskDict()["top.sub"]() is top.sub
    with top.sub.timer("work"):
        pass
    assert "workStartUtc" in top.sub.metadata and "workEndUtc" in top.sub.metadata
    full = top.getFullMetadata()
    assert set(full) == {"top", "top:sub"}
    top.emptyMetadata()
    assert len(top.sub.metadata) == 0
    with pytest.raises(KeyError):
        top.makeSubtask("unknown")


def testSchemaCatalogsAreTheSameFromEveryTaskOfTheHierarchy():
    top = TopTask()
    assert top.sub.getSchemaCatalogs() == {}
    assert list(top.getAllSchemaCatalogs()) == list(top.sub.getAllSchemaCatalogs()) == ["src"]
    assert top.getAllSchemaCatalogs()["src"].colnames == ["x", "y", "psfFlux"]


def testMakeFieldMakesAConfigurableField():
    field = ImagePsfMatchTask.makeField("matching")
    assert isinstance(field, ConfigurableField)

    class Outer(Config):
        match = ImagePsfMatchTask.makeField("matching")

    assert isinstance(Outer().match.apply(name="match"), ImagePsfMatchTask)


def testTheBaseTaskIsAbstract():
    assert PsfMatch is PsfMatchTask
    with pytest.raises(TypeError, match="abstract"):
        PsfMatchTask()


def testMetadataIsAssignedAndConverted():
    metadata = pipeBase.TaskMetadata()
    for _ in range(2):
        values = {"a": np.float32(1.5), "b": [np.int64(1), np.int64(2)], "c": {"d": np.bool_(True)}, "e": None, "f": []}
        assignMetadata(metadata, values)
    assert metadata["a"] == 1.5 and metadata.getArray("b") == [1, 2] and metadata["c.d"] is True
    assert "e" not in metadata and "f" not in metadata


def testDebugVariablesMakeFigures(rng, tmp_path):
    template, science, stars = nineCells(rng)
    task = makeTask(spatialKernelOrder=1)
    names = ["displayCandidates", "displayKernelBasis", "displayKernelMosaic", "plotKernelSpatialModel"]
    names.append("plotKernelCoefficients")
    task.run(template, science, stars[::4])
    assert task.figures == {}
    task.debug = {"display": True, **dict.fromkeys(names, True)}
    task.run(template, science, stars[::4])
    assert set(task.figures) == set(names)
    task.debug = {"display": True, "displayKernelMosaic": True, "path": tmp_path}
    task.run(template, science, stars[::4])
    assert [p.name for p in tmp_path.iterdir()] == ["displayKernelMosaic.png"]


def testDebugVariablesAreReadFromLsstDebug(rng, monkeypatch):
    asked = []

    def info(name):
        asked.append(name)
        return types.SimpleNamespace(display=True, displayKernelBasis=True)

    monkeypatch.setitem(sys.modules, "lsstDebug", types.SimpleNamespace(Info=info))
    template, science, stars = nineCells(rng)
    task = makeTask(spatialKernelOrder=0)
    task.run(template, science, stars[::9])
    assert "lsst.ip.diffim.makeKernel" in asked
    assert list(task.figures) == ["displayKernelBasis"]
    task.debug = {"display": False}
    task.run(template, science, stars[::9])
    assert task.figures == {}


def testTasksArePickled():
    task = makeTask(spatialKernelOrder=1)
    copy = pickle.loads(pickle.dumps(task))
    assert copy.kConfig == task.kConfig and copy.getName() == task.getName()


def testAlgorithmsDoNotLoadTheTaskFramework():
    code = (
        "import sys, stillsky.psfmatch.model_match, stillsky.psfmatch.kernel_candidate_qa,"
        " stillsky.psfmatch.registration, stillsky.psfmatch.source_selection, stillsky.psfmatch.basis_selection, stillsky.psfmatch.candidate_detection,"
        " stillsky.psfmatch.config, stillsky.task_base;"
        "print(any(m.startswith(('lsst.pipe', 'lsst.daf.butler')) for m in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
