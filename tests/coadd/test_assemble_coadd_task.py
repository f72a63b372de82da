"""AssembleCoaddTask: quanta with a fake context, each method, configuration, metadata of the coadd."""

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from coadd_scenes import BOX, WCS, constantWarp, inputsOf, skyWarp, skyWarps
from lsst.pex.config import FieldValidationError

from stillsky import AssembleCoaddConfig, AssembleCoaddTask, TransmissionCurve
from stillsky.coadd import AssembleCoaddAlgorithmConfig, WarpHandle, asWarp, coaddSchema
from stillsky.detection import SpanSet
from stillsky.errors import DomainError, MismatchError
from stillsky.geom import Box2I, Polygon
from stillsky.image import Exposure, Mask, MaskedImage
from stillsky.photom import ApCorrMap, ChebyshevBoundedField, PhotoCalib
from stillsky.psf import CoaddPsf, GaussianPsf
from stillsky.stats import Property
from stillsky.wcs import SkyMap, TractInfo

SKY_INFO = pipeBase.Struct(bbox=BOX, wcs=WCS)


class Handle:
    def __init__(self, exposure, **dataId):
        self.exposure, self.dataId = exposure, dataId

    def get(self, *, component=None, parameters=None):
        if component:
            return getattr(self.exposure, component)
        return self.exposure[parameters["bbox"]] if parameters else self.exposure


class FakeQuantumContext:
    def __init__(self, datasets, dataId):
        self.datasets, self.quantum, self.put_ = datasets, Handle(None, **dataId), {}

    def get(self, refs):
        return dict(self.datasets)

    def put(self, outputs, refs):
        self.put_.update(vars(outputs))


def taskOf(**fields):
    config = AssembleCoaddConfig()
    for name, value in {"doInterp": False, **fields}.items():
        setattr(config, name, value)
    return AssembleCoaddTask(config=config)


def handlesOf(warps):
    return [Handle(w, visit=w.visitInfo.id, instrument="sim", tract=0, patch=0) for w in warps]


@pytest.fixture(scope="module")
def warps():
    return skyWarps()


@pytest.fixture(scope="module")
def skyMap():
    return SkyMap([TractInfo(0, WCS, BOX, (BOX.width, BOX.height))])


def runOf(task, warps, **options):
    prepared = task.prepareInputs(warps, BOX)
    return task.run(SKY_INFO, warpRefList=prepared.warpRefList, imageScalerList=prepared.imageScalerList,
                    weightList=prepared.weightList, **options)  # fmt: skip


def testAQuantumReadsWarpsAndWritesTheCoadd(warps, skyMap):
    context = FakeQuantumContext(
        {"inputWarps": handlesOf(warps), "skyMap": skyMap}, {"tract": 0, "patch": 0, "band": "g"}
    )
    task = taskOf(doNImage=True, doInterp=True)
    task.runQuantum(context, None, None)
    coadd, nImage = context.put_["coaddExposure"], context.put_["nImage"]
    assert coadd.bbox == BOX and coadd.wcs == WCS and coadd.metadata["BUNIT"] == "nJy"
    assert coadd.photoCalib == PhotoCalib(1.0) and (coadd.filter.band, coadd.filter.physical) == ("g", None)
    assert list(coadd.info.coaddInputs.visits["id"]) == [w.visitInfo.id for w in warps]
    assert coadd.psf.componentCount == len(warps) and nImage.array.max() == len(warps)
    assert np.isfinite(coadd.image.array).all() and (coadd.variance.array > 0).all()  # gaps are interpolated
    assert np.isposinf(coadd.variance.array[coadd.mask.isSet("NO_DATA")]).all()
    assert task.metadata["nWarps"] == 7 and task.metadata["nInputs"] == 7 and task.metadata["bandHeight"] == BOX.height
    same = task.adaptArgsAndRun(context.datasets, {}, {"coaddExposure": [{"tract": 0, "patch": "0,0"}]}, None)
    assert same.coaddExposure.maskedImage == coadd.maskedImage


def testNothingToCombineIsNoWork(warps, skyMap):
    task = taskOf()
    dataId = {"tract": 0, "patch": 0, "band": "g"}
    for given in ([], handlesOf([constantWarp(np.nan, 1.0)])):
        with pytest.raises(pipeBase.NoWorkFound):
            task.runQuantum(FakeQuantumContext({"inputWarps": given, "skyMap": skyMap}, dataId), None, None)
    with pytest.raises(pipeBase.NoWorkFound):
        task.run(SKY_INFO, warpRefList=[], imageScalerList=[], weightList=[])


def testSelectedVisitsAreTakenInTheirOrder(warps):
    task, handles = taskOf(), handlesOf(warps)
    assert [h.dataId["visit"] for h in task.filterWarps(handles, {5: {}, 2: {}, 99: {}})] == [5, 2]


def testUnitsOtherThanNanoJanskyAreRefused():
    for unit in (None, "electron"):
        with pytest.raises(ValueError, match="BUNIT"):
            taskOf().prepareInputs([constantWarp(1.0, 1.0, unit=unit)], BOX)


def testLegacyScalingToAZeroPoint():
    counts = constantWarp(10.0, 4.0, unit=None), constantWarp(20.0, 16.0, unit=None, visit=2)
    counts[0].photoCalib, counts[1].photoCalib = PhotoCalib(100.0), PhotoCalib(50.0)
    unknown = constantWarp(1.0, 1.0, unit=None, visit=3)
    unknown.photoCalib = None
    task = taskOf(doScaleZeroPoint=True)
    prepared = task.prepareInputs([*counts, unknown], BOX)
    assert [w.dataId["visit"] for w in prepared.warpRefList] == [1, 2] and len(prepared.skipped) == 1
    result = runOf(task, counts).coaddExposure
    calib = task.scaleZeroPoint.getPhotoCalib()
    assert result.photoCalib == calib and calib.mean == pytest.approx(57.544, rel=1e-4)
    np.testing.assert_allclose(result.image.array * calib.mean, 1000.0, rtol=1e-5)
    assert "BUNIT" not in result.metadata
    np.testing.assert_allclose(prepared.weightList, np.array([1, 1]) / (4 * (100 / calib.mean) ** 2), rtol=1e-5)


def testRunTakesTheSeedsPositionalOrderAndAlternativeMasks(warps):
    task = taskOf(statistic="MEAN")
    prepared = task.prepareInputs(warps, BOX)
    spans = SpanSet.fromBox(Box2I((5, 5), (10, 10)))
    alternatives = [{"CLIPPED": [spans]}] + [None] * 6
    bad = coaddSchema().bitmask(["NO_DATA", "BAD", "SAT", "CLIPPED"])
    args = (prepared.tempExpRefList, prepared.imageScalerList, prepared.weightList, alternatives, bad)
    result = task.run(SKY_INFO, *args)
    clipped = result.coaddExposure.mask.isSet("CLIPPED")
    inside = np.zeros(BOX.shape, bool)
    inside[spans.bbox.slices(BOX.min)] = True
    np.testing.assert_array_equal(clipped, inside)
    assert (result.coaddExposure.mask.isSet("INEXACT_PSF") >= inside).all()
    assert result.altMaskList == alternatives and result.weightList == prepared.weightList


@pytest.mark.parametrize("online", [False, True])
def testArtifactSpansOnTheMasksGiveTheSameCoaddAsAlternativeMasks(warps, online):
    spans = [SpanSet.fromShape(4 + k, "circle", (10 * k, 5 * k)) for k in range(len(warps))]
    planes = ["NO_DATA", "BAD", "SAT", "CLIPPED", "REJECTED"]
    alternatives = [{"CLIPPED": [s], "EDGE": []} for s in spans]
    config = {"statistic": "MEAN", "badMaskPlanes": planes, "doOnlineForMean": online, "removeMaskPlanes": ["EDGE"]}
    task = taskOf(**config)
    first = runOf(task, warps, altMaskList=alternatives).coaddExposure
    masked = [w.copy() for w in warps]
    for warp, s in zip(masked, spans):
        task.applyAltMaskPlanes(warp.mask, {"CLIPPED": [s]})
    prepared = task.prepareInputs(warps, BOX)  # weights of the warps as they are
    second = task.run(
        SKY_INFO, [asWarp(w) for w in masked], prepared.imageScalerList, prepared.weightList
    ).coaddExposure
    np.testing.assert_array_equal(first.image.array, second.image.array)
    np.testing.assert_array_equal(first.variance.array, second.variance.array)


def testAlternativeNoDataReplacesBadPlanes():
    mask = Mask.zeros(BOX)
    mask.array[...] = mask.bitmask(["BAD", "CR"])
    where = SpanSet.fromBox(Box2I((BOX.minX - 5, BOX.minY - 5), (20, 20)))
    task = taskOf(doUsePsfMatchedPolygons=True)
    assert task.applyAltMaskPlanes(mask, {"NO_DATA": [where], "ALIEN": where}) is mask
    corner = mask.array[:15, :15]
    assert (corner == mask.bitmask(["CR", "NO_DATA", "ALIEN"])).all()
    assert (mask.array[15:] == mask.bitmask(["BAD", "CR"])).all()
    other = Mask.zeros(BOX)
    other.array[...] = other.bitmask("BAD")
    taskOf().applyAltMaskPlanes(other, {"NO_DATA": [where]})
    assert (other.array[:15, :15] == other.bitmask(["BAD", "NO_DATA"])).all()


@pytest.mark.parametrize("online", [False, True])
def testSubregionsAddUpToTheRun(warps, online):
    task = taskOf(statistic="MEAN", doNImage=True, doOnlineForMean=online)
    whole = runOf(task, warps)
    prepared = task.prepareInputs(warps, BOX)
    stats = task.prepareStats()
    coadd = Exposure(MaskedImage.zeros(BOX), wcs=WCS)
    nImage = whole.nImage.copy()
    nImage.array[...] = 0
    lists = prepared.warpRefList, prepared.imageScalerList, prepared.weightList, [None] * len(warps)
    if online:
        task.assembleOnlineMeanCoadd(coadd, *lists, stats.ctrl, nImage=nImage)
    else:
        for box in task.subBBoxIter(BOX, (50, 30)):
            task.assembleSubregion(coadd, box, *lists, stats.flags, stats.ctrl, nImage=nImage)
    task.setInexactPsf(coadd.mask)
    task.assembleMetadata(coadd, prepared.warpRefList, prepared.weightList)
    good = ~whole.coaddExposure.mask.isSet("NO_DATA")
    for name in ("image", "variance"):
        np.testing.assert_array_equal(
            getattr(coadd, name).array[good], getattr(whole.coaddExposure, name).array[good]
        )  # fmt: skip
    np.testing.assert_array_equal(coadd.mask.array, whole.coaddExposure.mask.array)
    np.testing.assert_array_equal(nImage.array, whole.nImage.array)
    assert (
        coadd.info.coaddInputs.visits["weight"].tolist()
        == whole.coaddExposure.info.coaddInputs.visits["weight"].tolist()
    )
    with pytest.raises(DomainError, match="weightList"):
        task.assembleMetadata(coadd, prepared.warpRefList, [1.0])


def testStatisticsOfTheConfiguration():
    stats = taskOf(sigmaClip=2.5, clipIter=3, maskPropagationThresholds={"SAT": 0.1, "CR": 0.3}).prepareStats()
    schema = coaddSchema()
    ctrl = stats.ctrl
    assert (ctrl.numSigmaClip, ctrl.numIter, stats.flags) == (2.5, 3, Property.MEANCLIP)
    assert ctrl.andMask == schema.bitmask(["NO_DATA", "BAD", "SAT", "EDGE"]) and ctrl.nanSafe and ctrl.getWeighted()
    assert ctrl.calcErrorFromInputVariance
    assert ctrl.getMaskPropagationThreshold(schema.bit("SAT")) == 0.1
    assert ctrl.getMaskPropagationThreshold(schema.bit("CR")) == 0.3
    assert taskOf().prepareStats(mask=7).ctrl.andMask == 7
    assert AssembleCoaddTask.setRejectedMaskMapping(ctrl)[1] == (schema.bitmask("EDGE"), schema.bitmask("SENSOR_EDGE"))
    with pytest.raises(ValueError, match="NEVER"):
        taskOf(maskPropagationThresholds={"NEVER": 0.1}).prepareStats()


def testNamesOfDatasets():
    task = taskOf(coaddName="goodSeeing")
    assert task.getCoaddDatasetName() == "goodSeeingCoadd"
    assert task.getCoaddDatasetName("psfMatched") == "goodSeeingCoaddPsfMatched"
    assert task.getTempExpDatasetName("psfMatched") == "goodSeeingCoadd_psfMatchedWarp"
    assert taskOf(badMaskPlanes=["BAD", "NOT_THERE"]).getBadPixelMask() == 1
    assert taskOf(doMaskBrightObjects=True).brightObjectBitmask == 1 << 15


def testConnectionsFollowTheConfiguration():
    def names(**fields):
        config = AssembleCoaddConfig()
        for name, value in fields.items():
            setattr(config, name, value)
        connections = config.connections.ConnectionsClass(config=config)
        return {n: c.name for n, c in connections.allConnections.items()}

    assert names() == {"inputWarps": "deepCoadd_directWarp", "skyMap": "skyMap", "coaddExposure": "deepCoadd"}
    more = names(doNImage=True, doMaskBrightObjects=True, doSelectVisits=True)
    assert more["nImage"] == "deepCoadd_nImage" and {"brightObjectMask", "selectedVisits"} <= set(more)
    assert set(AssembleCoaddTask.getInputDatasetTypes(AssembleCoaddConfig())) == {"inputWarps", "skyMap"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("statistic", "NOTHING"), ("statistic", "ERRORS"), ("statistic", "ORMASK"), ("statistic", "NPOINT"),
        ("statistic", "SUM"), ("statistic", "IQRANGE"), ("statistic", "meanclip"), ("clipIter", 0), ("sigmaClip", 0.0),
        ("doWriteArtifactMasks", True), ("matchingKernelSize", 20), ("warpType", "other"),
        ("subregionSize", [0, 5]), ("subregionSize", [5]), ("maskPropagationThresholds", {"SAT": 2.0}), ("memory", 0),
    ],
)  # fmt: skip
def testConfigurationsThatCannotWorkAreRefused(field, value):
    config = AssembleCoaddConfig()
    with pytest.raises((FieldValidationError, ValueError)):
        setattr(config, field, value)
        config.validate()


def testMapsOfInputsAreMadeByTasksOnly():
    """Until there was an inputMapper, every configuration refused doInputMap; now that of the functions alone does."""
    config = AssembleCoaddAlgorithmConfig()
    config.doInputMap = True
    with pytest.raises(FieldValidationError, match="only the pipeline tasks"):
        config.validate()


def testDefaultsOfTheConfiguration():
    config = AssembleCoaddConfig()
    expected = {
        "coaddName": "deep", "badMaskPlanes": ["NO_DATA", "BAD", "SAT", "EDGE"], "doPsfMatch": False,
        "doApplyUberCal": False, "useMeasMosaic": False, "includeCalibVar": False, "matchingKernelSize": 21,
        "warpType": "direct", "subregionSize": [2000, 2000], "statistic": "MEANCLIP", "doOnlineForMean": False,
        "doSigmaClip": False, "sigmaClip": 3.0, "clipIter": 2, "calcErrorFromInputVariance": True,
        "doScaleZeroPoint": False, "doInterp": True, "doWrite": True, "doWriteArtifactMasks": False, "doNImage": False,
        "doUsePsfMatchedPolygons": False, "maskPropagationThresholds": {"SAT": 0.1},
        "removeMaskPlanes": ["NOT_DEBLENDED"], "doMaskBrightObjects": False, "brightObjectMaskName": "BRIGHT_OBJECT",
        "doAttachTransmissionCurve": False, "hasFakes": False, "doSelectVisits": False, "doInputMap": False,
        "memory": 2**31, "strict": False,
    }  # fmt: skip
    for name, value in expected.items():
        given = getattr(config, name)
        assert (
            dict(given) if hasattr(given, "items") else list(given) if isinstance(value, list) else given
        ) == value, name
    assert (config.coaddPsf.warpingKernelName, config.coaddPsf.cacheSize) == ("lanczos3", 0)
    assert config.scaleZeroPoint.zeroPoint == 27.0


def testOldFieldsStandForNewOnes(caplog):
    config = AssembleCoaddConfig()
    config.statistic = "MEAN"
    with pytest.warns(FutureWarning):
        config.doSigmaClip = True
    with pytest.warns(FutureWarning):
        config.doPsfMatch = True
    config.validate()
    assert (config.statistic, config.warpType) == ("MEANCLIP", "psfMatched") and "doSigmaClip" in caplog.text


def testInputsPsfAndApertureCorrectionsOfTheCoadd(warps):
    widths, weights = (1.5, 3.0), (3.0, 1.0)
    given = []
    for k, (width, value) in enumerate(zip(widths, (0.9, 0.5))):
        warp = constantWarp(1.0, 1.0, visit=11 - k)
        warp.psf = GaussianPsf(31, 31, width)
        warp.info.apCorrMap = ApCorrMap({"f": ChebyshevBoundedField(BOX, np.array([[value]]))})
        if k == 0:  # this one knows its detector
            warp.info.coaddInputs = inputsOf(warp)
            warp.info.coaddInputs.ccds["id"] = 4321
        given.append(warp)
    coadd = taskOf().run(SKY_INFO, given, [None, None], weights).coaddExposure
    tables = coadd.info.coaddInputs
    assert tables.visits["id"].tolist() == [10, 11] and tables.visits["weight"].tolist() == [1.0, 3.0]
    assert tables.ccds["id"].tolist() == [10, 4321] and tables.ccds["goodpix"].tolist() == [BOX.area] * 2
    kernels = [GaussianPsf(31, 31, w).computeKernelImage((0, 0)).array for w in widths]
    expected = (3 * kernels[0] + kernels[1]) / 4
    np.testing.assert_allclose(coadd.psf.computeKernelImage((5, 5)).array, expected, atol=1e-6)
    assert isinstance(coadd.psf, CoaddPsf)
    assert coadd.info.apCorrMap["f"].evaluate(3.0, 4.0) == pytest.approx((3 * 0.9 + 0.5) / 4)


def testPsfOfAPsfMatchedCoaddIsThatOfTheWidestWarp():
    given = [constantWarp(1.0, 1.0, visit=k) for k in (1, 2, 3)]
    for warp, size in zip(given, (15, 31, 21)):
        warp.psf = GaussianPsf(size, size, 2.0)
    coadd = taskOf(warpType="psfMatched").run(SKY_INFO, given, [None] * 3, [1.0] * 3).coaddExposure
    assert coadd.psf == given[1].psf


def testPsfMatchedWarpsWithoutPsfAreOfTheModel():
    """modelPsf: the PSF that warps were matched to, where they do not say it; a PSF that they bring wins."""
    given = [constantWarp(1.0, 1.0, visit=k) for k in (1, 2)]
    for warp in given:
        warp.psf = None

    def psfOf(**fields):
        config = AssembleCoaddConfig()
        config.doInterp, config.warpType = False, "psfMatched"
        for name, value in fields.items():
            setattr(config.modelPsf, name, value)
        return AssembleCoaddTask(config=config).run(SKY_INFO, given, [None] * 2, [1.0] * 2).coaddExposure.psf

    assert psfOf() is None
    plain = psfOf(defaultFwhm=4.0, addWing=False)
    assert plain.fwhm((5, 5)) == pytest.approx(4.0, rel=0.01)
    assert plain.computeKernelImage((5, 5)).array.shape == (41, 41)
    winged = psfOf(defaultFwhm=4.0, sizeFactor=12.0)
    core, wing = winged.computeKernelImage((5, 5)).array, plain.computeKernelImage((5, 5)).array
    assert core.shape == (49, 49) and core[24, 34] > 20 * wing[20, 30] and core.sum() == pytest.approx(1)
    given[1].psf = GaussianPsf(31, 31, 2.0)
    assert psfOf(defaultFwhm=4.0) == given[1].psf


def testPolygonsOfPsfMatchedWarps():
    direct = constantWarp(1.0, 1.0)
    direct.info.coaddInputs = inputsOf(direct)
    matched = direct.copy()
    matched.info.coaddInputs = inputsOf(direct)
    polygon = Polygon(BOX.dilated(-3))
    matched.info.coaddInputs.ccds["validPolygon"][0] = polygon
    task = taskOf(doUsePsfMatchedPolygons=True)
    options = {"imageScalerList": [None], "weightList": [1.0]}
    one = task.run(SKY_INFO, [direct], psfMatchedWarpRefList=[matched], **options).coaddExposure
    assert one.info.coaddInputs.ccds["validPolygon"][0] == polygon
    none = task.run(SKY_INFO, [direct], **options).coaddExposure
    assert none.info.coaddInputs.ccds["validPolygon"][0] == Polygon(BOX.dilated(-11))
    extra = matched.copy()
    extra.info.coaddInputs = inputsOf(direct)
    extra.info.coaddInputs.ccds["id"] = 77
    with pytest.raises(ValueError, match="77"):
        task.run(SKY_INFO, [direct], psfMatchedWarpRefList=[extra], **options)


def testTransmissionCurvesAreAveraged():
    given = [constantWarp(1.0, 1.0, visit=k) for k in (1, 2)]
    task = taskOf(doAttachTransmissionCurve=True)
    with pytest.raises(MismatchError, match="transmission"):
        task.run(SKY_INFO, given, [None] * 2, [1.0, 3.0])
    for warp, level in zip(given, (0.2, 0.6)):
        warp.info.transmissionCurve = lambda wavelengths, level=level: np.full(np.shape(wavelengths), level)
    coadd = task.run(SKY_INFO, given, [None] * 2, [1.0, 3.0]).coaddExposure
    np.testing.assert_allclose(coadd.info.transmissionCurve([500.0, 600.0]), (0.2 + 3 * 0.6) / 4)
    for warp, level in zip(given, (0.2, 0.6)):
        warp.info.transmissionCurve = TransmissionCurve([400, 700], [level, level])
    coadd = task.run(SKY_INFO, given, [None] * 2, [1.0, 3.0]).coaddExposure
    assert isinstance(coadd.info.transmissionCurve, TransmissionCurve)  # which has a file form
    np.testing.assert_allclose(coadd.info.transmissionCurve([500.0, 600.0]), (0.2 + 3 * 0.6) / 4)


def testExposuresThatOverlapThePatchAreSelected(skyMap, warps):
    far = constantWarp(1.0, 1.0, BOX.shifted((100_000, 0)))
    touching = constantWarp(1.0, 1.0, BOX.shifted((BOX.width - 3, 0)))
    beside = constantWarp(1.0, 1.0, BOX.shifted((BOX.width + 30, 0)))
    none = constantWarp(1.0, 1.0)
    none.wcs = None
    given = [far, warps[0], touching, beside, none]
    task = taskOf()
    assert task.selectExposures((skyMap, 0, 0), selectDataList=given) == [warps[0], touching]
    assert task.getSkyInfo((skyMap, 0, (0, 0))).bbox == task.makeSkyInfo(skyMap, 0, "0,0").bbox == BOX
    config = AssembleCoaddConfig()
    config.select.maxPsfFwhm = 4.0
    broad = warps[0].copy()
    broad.psf = GaussianPsf(25, 25, 3.0)
    sharp = warps[0].copy()
    sharp.psf = GaussianPsf(25, 25, 1.2)
    chosen = AssembleCoaddTask(config=config).selectExposures(None, SKY_INFO, [broad, sharp])
    assert len(chosen) == 1 and chosen[0] is sharp


def testBrightObjectsAreMasked(caplog):
    class Reference:
        dataId = {"patch": 0}

        def get(self, *args, **kwargs):
            raise LookupError("no such dataset")

    task = taskOf(doMaskBrightObjects=True)
    assert task.readBrightObjectMasks(Reference()) is None and "brightObjectMask" in caplog.text
    coadd = runOf(task, [constantWarp(1.0, 1.0)]).coaddExposure
    task.processResults(coadd)
    assert not coadd.mask.isSet("BRIGHT_OBJECT").any() and "no table of bright objects" in caplog.text


def testPlanesOnTheWayCanBeChangedAlone(warps):
    task = taskOf(removeMaskPlanes=["CR", "NEVER"])
    copy = warps[0].copy()
    task.removeMaskPlanes(copy.maskedImage)
    assert not copy.mask.isSet("CR").any() and copy.mask.isSet("SAT").any()
    inputs = inputsOf(constantWarp(1.0, 1.0))
    task.shrinkValidPolygons(inputs)
    assert inputs.ccds["validPolygon"][0] == Polygon(BOX.dilated(-11))


def testFilesServeAsInputsOfTheTask(warps, tmp_path):
    names = []
    for k, warp in enumerate(warps):
        names.append(WarpHandle(tmp_path / f"{k}.fits", {"visit": k}))
        warp.writeFits(names[-1].path)
    task = taskOf()
    assert runOf(task, names).coaddExposure.maskedImage == runOf(task, warps).coaddExposure.maskedImage


def testACoaddSurvivesAFile(warps, tmp_path):
    coadd = runOf(taskOf(), warps).coaddExposure
    coadd.writeFits(tmp_path / "coadd.fits")
    back = Exposure.readFits(tmp_path / "coadd.fits")
    assert back.maskedImage == coadd.maskedImage and back.metadata["COADD_STATISTIC"] == "MEANCLIP"
    assert back.metadata["COADD_VARFACTOR"] == pytest.approx(coadd.metadata["COADD_VARFACTOR"])
    assert back.info.coaddInputs.visits["weight"].tolist() == coadd.info.coaddInputs.visits["weight"].tolist()


@pytest.mark.parametrize("warpType", ["direct", "psfMatched"])
def testTenMockWarpsBecomeACoadd(warpType):
    box = Box2I((-123, -45), (201, 301))
    given = []
    for seed in range(10):
        warp = skyWarp(seed, box, noise=5.0, sigma=1.5 + seed / 6, nStars=37)
        given.append(warp)
    task = taskOf(warpType=warpType, doInterp=True, doNImage=True)
    prepared = task.prepareInputs(given, box)
    info = pipeBase.Struct(bbox=box, wcs=WCS)
    result = task.run(info, warpRefList=prepared.warpRefList, imageScalerList=prepared.imageScalerList,
                      weightList=prepared.weightList)  # fmt: skip
    coadd = result.coaddExposure
    task.processResults(coadd)
    assert coadd.metadata["BUNIT"] == "nJy" and len(coadd.info.coaddInputs.visits) == 10
    empty = coadd.mask.isSet("NO_DATA")
    level = np.median(coadd.image.array[~empty & (result.nKept.array > 7)])
    assert abs(level - 314.592) < 0.5 and np.isfinite(coadd.image.array).all()
    np.testing.assert_allclose(np.median(coadd.variance.array[~empty]), 26 / 10, rtol=0.15)
