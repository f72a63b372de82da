"""ImageDifferenceTask in pipelines: a fake quantum context, datasets in memory."""

import types

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from astropy.table import Table
from image_difference_scenes import CHANGES, SIZE, found, imagePair, plainRun, stars

from stillsky import (
    ImageDifferenceConfig,
    ImageDifferenceFromTemplateConfig,
    ImageDifferenceFromTemplateTask,
    ImageDifferenceTask,
    SkyMap,
    TractInfo,
)
from stillsky.diffim.detect_measure_task import TooManyCosmicRays
from stillsky.diffim.ids import IdGenerator
from stillsky.geom import Box2I
from stillsky.image import Exposure


class DataId(dict):
    records = {"instrument": types.SimpleNamespace(detector_max=99, visit_max=10000)}

    def hasRecords(self):
        return True


class Ref:
    def __init__(self, name, **dataId):
        self.name, self.dataId = name, dataId


class Context:
    """Datasets by reference; inputs as those that the connections of a configuration name."""

    def __init__(self, datasets, refs):
        self.datasets, self.refs, self.written = datasets, refs, None
        self.quantum = types.SimpleNamespace(dataId=DataId(visit=42, detector=12))

    def get(self, ref):
        if ref is self.refs:
            return {name: self.datasets[name] for name in vars(self.refs) if name in self.datasets}
        return self.datasets[ref.name]

    def put(self, outputs, _):
        self.written = outputs


@pytest.fixture(scope="module")
def images():
    return imagePair()


def contextOf(images, **more):
    """The template as the only patch of a sky map."""
    science, template = images
    box = Box2I((-50, -50), (SIZE + 100, SIZE + 100))
    skyMap = SkyMap([TractInfo(0, template.wcs, box, (SIZE + 100, SIZE + 100), 0)])
    refs = types.SimpleNamespace(
        exposure=Ref("exposure"), skyMap=Ref("skyMap"), coaddExposures=[Ref("patch", tract=0, patch=0)],
        dcrCoadds=[Ref("patch", tract=0, patch=0)], **{name: Ref(name) for name in more},
    )  # fmt: skip
    return Context({"exposure": science.copy(), "skyMap": skyMap, "patch": template.copy(), **more}, refs)


def quantum(context, config=None, kind=ImageDifferenceTask, **keywords):
    task = kind(config=config or kind.ConfigClass(), **keywords)
    task.runQuantum(context, context.refs, None)
    return task


def test_aQuantumMakesItsTemplateAndWritesSources(images):
    context = contextOf(images)
    task = quantum(context)
    written = context.written
    assert {0, 1, 2} <= set(found(written.diaSources))
    layout = IdGenerator.fromMeta(written.diaSources.meta)
    parts = layout.unpack(written.diaSources["id"][0])
    assert (parts["visit"], parts["detector"], parts["counter"]) == (42, 12, 1)
    assert written.warpedExposure.bbox == images[0].bbox
    assert task.metadata["templateCoveragePercent"] > 90
    assert "imageDifference:subtract" in task.getFullMetadata()


def test_whatIsNotMadeIsNotWritten(images):
    config = ImageDifferenceConfig()
    for name in ("doDetection", "doMerge", "doMeasurement", "doForcedMeasurement", "doApCorr"):
        setattr(config, name, False)
    context = contextOf(images)
    quantum(context, config)
    assert not hasattr(context.written, "diaSources") and context.written.subtractedExposure is not None


def test_aDifferenceThatExistsIsReadAndSearched(images):
    config = ImageDifferenceConfig()
    config.doSubtract = False
    context = contextOf(images, inputDifference=plainRun()[1].subtractedExposure.copy())
    quantum(context, config)
    assert sorted(k for k in found(context.written.diaSources) if k >= 0) == [0, 1, 2]


def test_tooManyCosmicRaysAreAFailureWithPartialOutputs(images):
    config = ImageDifferenceConfig()
    config.doSubtract = False
    config.detectAndMeasure.cosmicray.nCrPixelMax = 20
    given = plainRun()[1].subtractedExposure.copy()
    given.image.array[20:240:9, 20:240:9] += 5000
    context = contextOf(images, inputDifference=given)
    with pytest.raises(pipeBase.AnnotatedPartialOutputsError) as info:
        quantum(context, config)
    cause = info.value.__cause__
    assert isinstance(cause, TooManyCosmicRays) and cause.metadata == {"maxCosmicRays": 20}
    written = context.written
    assert written.subtractedExposure.bbox == given.bbox and not hasattr(written, "diaSources")


def test_optionalInputsReachTheRun(images):
    science, template = images
    x, y, flux = stars().T
    ra, dec = science.wcs.pixelToSky(x, y)
    catalogue = Table({
        "id": np.arange(len(x)), "coord_ra": ra, "coord_dec": dec, "x": x, "y": y, "base_PsfFlux_instFlux": flux,
        "base_PsfFlux_instFluxErr": 0 * x + 30, "base_SdssShape_xx": 0 * x + 4, "base_SdssShape_yy": 0 * x + 4,
    })  # fmt: skip
    reference = catalogue["id", "coord_ra", "coord_dec"]
    psf = template.psf
    summary = Table({"id": [12], "psf": np.array([psf], object), "apCorrMap": np.array([{}], object)})
    background = type(science.image)(np.full((SIZE, SIZE), 30.0, np.float32))
    context = contextOf(
        images, selectSources=catalogue, templateSources=catalogue, calexpBackground=background,
        finalizedPsfApCorrCatalog=summary, referenceCatalog=[pipeBase.InMemoryDatasetHandle(reference)],
    )  # fmt: skip
    context.datasets["exposure"].info.detector = types.SimpleNamespace(id=12)
    config = ImageDifferenceConfig()
    config.doSelectSources = config.doAddCalexpBackground = config.doApplyFinalizedPsf = config.doMatchSources = True
    config.refObjLoader.fromButler = True
    task = quantum(context, config)
    assert task.metadata["nKernelSources"] > 20
    assert task.metadata["sciencePsfSize"] == pytest.approx(3.7677, abs=1e-3)  # the final PSF is the template's here
    assert task.astrometer.refObjLoader.table["id"].tolist() == reference["id"].tolist()
    assert context.datasets["exposure"].maskedImage == science.maskedImage  # others read it, too
    assert context.datasets["exposure"].psf is science.psf
    assert context.written.subtractRes.backgroundModel(128.0, 128.0) == pytest.approx(30, abs=3)


def test_noTemplateIsNoWork(images):
    context = contextOf(images)
    context.refs.coaddExposures = []
    with pytest.raises(pipeBase.NoWorkFound, match="no template"):
        quantum(context)
    context = contextOf(images)
    context.datasets["patch"].image.array[3:] = np.nan  # one percent is left
    with pytest.raises(pipeBase.NoWorkFound, match="Insufficient template coverage"):
        quantum(context)


def test_failuresOfTheDataAreToldFromFailuresOfTheCode(images):
    context = contextOf(images)
    context.datasets["exposure"].image.array[...] = np.nan
    with pytest.raises(pipeBase.UpstreamFailureNoWorkFound, match="finite"):
        quantum(context)
    config = ImageDifferenceConfig()
    config.doSelectSources = True
    far = Table({name: [1.0] for name in ("coord_ra", "coord_dec", "x", "y")})
    with pytest.raises(pipeBase.AnnotatedPartialOutputsError):
        quantum(contextOf(images, templateSources=far), config)


def test_modelsOfSubBandsNeedATaskThatTakesThem(images):
    config = ImageDifferenceConfig()
    config.coaddName = "dcr"
    with pytest.raises(ValueError, match="sub-bands"):
        quantum(contextOf(images), config)


def test_idsThatDoNotFitAreRefused(images):
    context = contextOf(images)
    context.quantum.dataId["visit"] = 20000
    with pytest.raises(ValueError, match="visit"):
        quantum(context)
    assert context.written is None


def test_aTemplateThatExistsIsCheckedFirst(images):
    science, template = images
    refs = types.SimpleNamespace(exposure=Ref("exposure"), inputTemplate=Ref("inputTemplate"))
    given = Exposure(template.maskedImage.copy(), template.info)
    context = Context({"exposure": science.copy(), "inputTemplate": given}, refs)
    quantum(context, ImageDifferenceFromTemplateConfig(), ImageDifferenceFromTemplateTask)
    assert sorted(k for k in found(context.written.diaSources) if k >= 0) == list(range(len(CHANGES)))
    given.mask.array[...] |= given.mask.bitmask("NO_DATA")
    context.datasets["exposure"] = None  # is not looked at
    with pytest.raises(pipeBase.NoWorkFound):
        quantum(context, ImageDifferenceFromTemplateConfig(), ImageDifferenceFromTemplateTask)
