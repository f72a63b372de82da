"""CompareWarpAssembleCoaddTask: quanta with a fake context, every method, the mock visits of the specification."""

from types import SimpleNamespace

import numpy as np
import pytest
from coadd_scenes import constantWarp
from lsst.pipe.base import Struct

from stillsky import (
    CompareWarpAssembleCoaddConfig,
    CompareWarpAssembleCoaddTask,
    MaskStreaksTask,
    ScaleVarianceTask,
    SourceDetectionTask,
)
from stillsky.coadd.compare_warp_config import COMPARE_WARP_VALUES_2019, setDetectionDefaults
from stillsky.detection import SpanSet
from stillsky.geom import Box2I, Point2I
from stillsky.image import Image, Mask
from stillsky.psf import GaussianPsf
from stillsky.wcs import SkyMap, TractInfo, makeCdMatrix, makeTanWcs

TRACT_BOX = Box2I(Point2I(-123, -45), (201, 301))  # A3: 201 x 301 pixels, lower left (-123, -45)
TRACT_WCS = makeTanWcs((0.0, 0.0), (0.5, -0.1), makeCdMatrix(0.2 / 3600))
BACKGROUND, NOISE = 314.592, 5.0


def skyMap():
    return SkyMap([TractInfo(9, TRACT_WCS, TRACT_BOX, TRACT_BOX.dimensions, 0)])


class Ref:
    def __init__(self, **dataId):
        self.dataId = dataId


class Handle(Ref):
    """A deferred dataset that reads boxes and components."""

    def __init__(self, exposure, **dataId):
        super().__init__(**dataId)
        self.exposure = exposure

    def get(self, component=None, parameters=None):
        if component is not None:
            return getattr(self.exposure, component)
        box = (parameters or {}).get("bbox")
        return self.exposure if box is None else self.exposure[box]


class FakeQuantumContext:
    """Gets what it was given, keeps what is put."""

    def __init__(self, datasets):
        self.datasets, self.put_ = datasets, {}
        self.quantum = Ref(tract=9, patch=0, band="g", skymap="one")

    def get(self, refs):
        return dict(self.datasets)

    def put(self, outputs, refs):
        self.put_.update({k: v for k, v in vars(outputs).items() if hasattr(refs, k)})


@pytest.fixture(scope="module")
def visits():
    """Ten visits (A3): background, noise and 37 sources; direct ones with PSFs of their own. A trail in visit 4."""
    rng = np.random.default_rng(8)
    yy, xx = np.mgrid[: TRACT_BOX.height, : TRACT_BOX.width].astype(np.float32)
    stars = [(rng.uniform(0, 201), rng.uniform(0, 301), 1000 * (1 + rng.pareto(1.3))) for _ in range(37)]
    r2 = [((xx - x) ** 2 + (yy - y) ** 2, f) for x, y, f in stars]
    trail = 100 * np.exp(-((0.8 * (xx - 100) - 0.6 * (yy - 150)) ** 2) / (2 * 2.0**2))
    direct, matched = [], []
    for k in range(10):
        dataId = dict(tract=9, patch=0, skymap="one", instrument="cam", visit=10 + k)
        for out, sigma, noise in ((direct, rng.uniform(1.5, 3), NOISE), (matched, 3.2, 0.6 * NOISE)):
            warp = constantWarp(BACKGROUND, noise**2, TRACT_BOX, visit=10 + k, wcs=TRACT_WCS)
            light = sum(f / (2 * np.pi * sigma**2) * np.exp(-r / (2 * sigma**2)) for r, f in r2)
            warp.image.array[...] += light + (trail if k == 4 else 0) + rng.normal(0, noise, light.shape)
            warp.psf = GaussianPsf(25, 25, sigma)
            if noise < NOISE:
                warp.mask.array[:, -5:] |= warp.mask.bitmask("EDGE")
            out.append(Handle(warp, **dataId))
    return direct, matched, trail


def taskOf(**values):
    config = CompareWarpAssembleCoaddConfig()
    for name, value in values.items():
        *path, last = name.split("__")
        target = config
        for part in path:
            target = getattr(target, part)
        setattr(target, last, value)
    return CompareWarpAssembleCoaddTask(config=config)


@pytest.fixture(scope="module")
def quantum(visits):
    """Task and context after a quantum that writes everything; visit 17 has no PSF-matched warp."""
    direct, matched, _ = visits
    task = taskOf(doWriteArtifactMasks=True, doNImage=True, assembleStaticSkyModel__doWrite=True)
    context = FakeQuantumContext({"inputWarps": direct, "psfMatchedWarps": matched[:7] + matched[8:][::-1],
                                  "skyMap": skyMap()})  # fmt: skip
    refs = SimpleNamespace(coaddExposure=Ref(), nImage=Ref(), templateCoadd=Ref(),
                           artifactMasks=[Ref(visit=v) for v in (14, 10, 17, 99)])  # fmt: skip
    task.runQuantum(context, "all", refs)
    return task, context.put_


def test_A3_aQuantumMakesACoaddWithoutTheTrail(visits, quantum):
    direct, _, trail = visits
    task, written = quantum
    coadd = written["coaddExposure"]
    assert coadd.bbox == TRACT_BOX and coadd.metadata["BUNIT"] == "nJy" and coadd.wcs == TRACT_WCS
    good = [k for k in range(10) if k not in (4, 7)]
    clean = np.mean([direct[k].exposure.image.array for k in good], axis=0)
    lifted = trail > 5 * NOISE
    left = (coadd.image.array - clean)[lifted]
    # 8 visits instead of 9 make both means: what is left of the trail is far below its share of 1/9.
    assert abs(left.mean()) < 0.01 * trail[lifted].mean() / 9
    assert coadd.mask.isSet("CLIPPED")[lifted].mean() > 0.99
    assert not coadd.mask.isSet("CLIPPED")[trail < 1e-6].any()
    assert coadd.mask.isSet("SENSOR_EDGE")[:, -5:].all() and not coadd.mask.isSet("NO_DATA").any()
    assert list(coadd.info.coaddInputs.visits["id"]) == list(range(10, 20))
    np.testing.assert_array_equal(np.unique(written["nImage"].array[~lifted & (trail < 1e-6)]), [9])
    assert written["nImage"].array[lifted].mean() < 8.02
    assert written["templateCoadd"].bbox == TRACT_BOX


def test_artifactMasksAreThoseOfTheDirectWarpsWithTheSpans(visits, quantum):
    task, written = quantum
    masks = written["artifactMasks"]
    assert len(masks) == 4 and masks[3] is None
    assert masks[0].isSet("CLIPPED")[visits[2] > 5 * NOISE].mean() > 0.99
    assert not masks[1].isSet("CLIPPED").any() and masks[1].isSet("EDGE")[:, -5:].all()
    assert masks[2].isSet("NO_DATA").all()  # A9: no PSF-matched warp, no data anywhere


def test_metadataTellWhatWasFound(quantum):
    metadata = quantum[0].metadata
    assert metadata.getArray("nArtifacts") == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert metadata.getArray("nArtifactPixels")[4] > 500
    assert metadata.getArray("artifactNotes") == ["7: no PSF-matched warp"]
    assert len(metadata.getArray("warpVarianceFactors")) == 10
    assert quantum[0].artifacts.epochCount.bbox == TRACT_BOX


def test_runByItself(visits):
    direct, matched, trail = visits
    task = taskOf()
    skyInfo = SimpleNamespace(bbox=TRACT_BOX, wcs=TRACT_WCS)
    prepared = task.prepareInputs(direct, TRACT_BOX)
    supplementary = task.staticSky(skyInfo, matched)
    before = supplementary.templateCoadd.copy()
    result = task.run(
        skyInfo, prepared.warpRefList, prepared.imageScalerList, prepared.weightList, supplementaryData=supplementary
    )
    assert result.nImage is None and result.coaddExposure.mask.isSet("CLIPPED")[trail > 25].mean() > 0.99
    assert result.templateCoadd.maskedImage.mask == before.maskedImage.mask
    again = task.run(
        skyInfo, tempExpRefList=prepared.warpRefList, weightList=prepared.weightList, psfMatchedWarpRefList=matched
    )
    np.testing.assert_array_equal(again.coaddExposure.image.array, result.coaddExposure.image.array)
    few = prepared.warpRefList[2:6]
    some = task.run(
        skyInfo, tempExpRefList=few, weightList=prepared.weightList[2:6], psfMatchedWarpRefList=matched[2:6]
    )
    assert some.coaddExposure.mask.isSet("CLIPPED")[trail > 50].mean() > 0.99


def test_withoutPsfMatchedWarpsARuntimeErrorNamesThem(visits):
    task = taskOf()
    context = FakeQuantumContext({"inputWarps": visits[0], "psfMatchedWarps": [], "skyMap": skyMap()})
    with pytest.raises(RuntimeError, match="deepCoadd_psfMatchedWarp"):
        task.runQuantum(context, "all", SimpleNamespace(coaddExposure=Ref()))
    assert context.put_ == {}


def test_supplementaryDataOfOldNames(visits):
    task = taskOf()
    inputs = {"psfMatchedWarps": visits[1], "skyMap": skyMap()}
    made = task.makeSupplementaryDataGen3(inputs, None, {"coaddExposure": {"tract": 9, "patch": 0}})
    assert len(made.warpRefList) == len(made.weightList) == len(made.imageScalerList) == 10
    old = task.makeSupplementaryData((skyMap(), 9, 0), warpRefList=visits[1])
    assert old.templateCoadd.maskedImage.mask == made.templateCoadd.maskedImage.mask
    struct = task.adaptArgsAndRun(
        {"inputWarps": visits[0], **inputs}, None, {"coaddExposure": {"tract": 9, "patch": 0}}
    )
    assert struct.coaddExposure.bbox == TRACT_BOX


class _Quiet(SourceDetectionTask):
    """Finds what its parent does, and nothing in visits without a trail: knows no factor of thresholds."""

    calls = 0

    def detectFootprints(self, exposure, doSmooth=True, sigma=None, clearMask=True):
        type(self).calls += 1
        found = super().detectFootprints(exposure, doSmooth, sigma, clearMask)
        return Struct(positive=found.positive.subset([]), negative=found.negative.subset([]))


class _Sharp(SourceDetectionTask):
    calls = 0

    def detectFootprints(self, exposure, doSmooth=True, sigma=None, clearMask=True, **keywords):
        type(self).calls += 1
        return super().detectFootprints(exposure, doSmooth, sigma, clearMask, **keywords)


class _Scale(ScaleVarianceTask):
    def run(self, maskedImage):
        return 1.0


class _Streaks(MaskStreaksTask):
    def find(self, maskedImage):
        return Struct(lines=[Struct(spans=SpanSet.fromBox(Box2I(maskedImage.bbox.min, (3, 2))))])


def test_retargetedSubtasksDoTheSearch(visits):
    direct, matched, _ = visits
    config = CompareWarpAssembleCoaddConfig()
    config.doExtendArtifacts, config.doFilterMorphological, config.growStreakFp = False, True, 0.0
    for name, target in (("detect", _Quiet), ("detectTemplate", _Sharp), ("scaleWarpVariance", _Scale),
                         ("maskStreaks", _Streaks)):  # fmt: skip
        getattr(config, name).retarget(target)
    setDetectionDefaults(config.detect, config.detectTemplate)
    task = CompareWarpAssembleCoaddTask(config=config)
    static = task.staticSky(SimpleNamespace(bbox=TRACT_BOX, wcs=TRACT_WCS), matched[3:6])
    spans = task.findArtifacts(static.templateCoadd, static.warpRefList)
    assert _Quiet.calls == 3 and _Sharp.calls >= 1
    assert [v.found for v in task.artifacts.visits] == [0, 0, 0]  # although visit 14 has a trail
    assert [v.varianceFactor for v in task.artifacts.visits] == [1.0, 1.0, 1.0]
    assert all(sum(s.area for s in one["CLIPPED"]) == 6 and len(one["STREAK"]) == 1 for one in spans)


def test_methodsOfTheRules():
    task = taskOf()
    candidate = SpanSet.fromBox(Box2I((5, 5), (10, 4)))
    epochs, number = Image(np.ones((20, 30), np.uint16)), Image(np.full((20, 30), 10, np.uint16))
    assert task.filterArtifacts([candidate], epochs, number) == [candidate]
    ids = np.ones((20, 30), np.int32)
    assert task.filterArtifacts([candidate], epochs, number, footprintsToExclude=ids) == []
    mask = Mask(np.zeros((20, 30), np.int32))
    assert task.prefilterArtifacts([candidate], mask) == [candidate]
    mask.array[...] = mask.bitmask("BAD")
    assert task.prefilterArtifacts([candidate], mask) == []
    task.applyAltEdgeMask(mask, [{"EDGE": [candidate]}])
    assert mask.isSet("SENSOR_EDGE").sum() == mask.isSet("INEXACT_PSF").sum() == 40


def test_configuration():
    config = CompareWarpAssembleCoaddConfig()
    config.validate()
    assert config.statistic == "MEAN" and list(config.badMaskPlanes) == ["NO_DATA", "BAD", "SAT"]
    assert config.assembleStaticSkyModel.statistic == "MEANCLIP" and config.assembleStaticSkyModel.sigmaClip == 2.5
    assert config.detect.thresholdValue == 7.5 and config.detectTemplate.thresholdValue == 300
    config.doWriteArtifactMasks = True
    config.validate()
    for name, value in COMPARE_WARP_VALUES_2019.items():
        _assign(config, name, value)
    config.validate()
    assert config.detect.thresholdValue == 5 and not config.assembleStaticSkyModel.calcErrorFromInputVariance
    config.assembleStaticSkyModel.doNImage = True
    with pytest.raises(ValueError, match="doNImage"):
        config.validate()


def _assign(config, name, value):
    *path, last = name.split(".")
    for part in path:
        config = getattr(config, part)
    setattr(config, last, value)


def test_connectionsFollowTheConfiguration():
    config = CompareWarpAssembleCoaddConfig()
    connections = config.connections.ConnectionsClass(config=config)
    assert {"inputWarps", "psfMatchedWarps", "skyMap"} <= set(connections.inputs)
    assert set(connections.outputs) == {"coaddExposure"}
    assert connections.psfMatchedWarps.name == "deepCoadd_psfMatchedWarp"
    config.doWriteArtifactMasks, config.assembleStaticSkyModel.doWrite, config.doNImage = True, True, True
    connections = config.connections.ConnectionsClass(config=config)
    assert set(connections.outputs) == {"coaddExposure", "nImage", "templateCoadd", "artifactMasks"}
    assert connections.templateCoadd.name == "deepCoaddPsfMatched"
    config.warpType = "psfMatched"
    with pytest.raises(ValueError, match="one dataset"):
        config.connections.ConnectionsClass(config=config)
