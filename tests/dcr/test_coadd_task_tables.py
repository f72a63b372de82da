"""The configuration tables of the coadd tasks (sections 3.2, 4.2, 7.2), name by name, with today's defaults as literals."""

import pytest
from lsst.pex.config import ConfigurableInstance

from stillsky import AssembleCoaddConfig, CompareWarpAssembleCoaddConfig
from stillsky.dcr.task import DcrAssembleCoaddConfig

#: Fields with a value. Subtasks: the name of their task.
ASSEMBLE = dict(
    coaddName="deep", select="PsfWcsSelectImagesTask", badMaskPlanes=["NO_DATA", "BAD", "SAT", "EDGE"],
    inputRecorder="CoaddInputRecorderTask", doPsfMatch=False, doApplyUberCal=False, useMeasMosaic=False,
    includeCalibVar=False, matchingKernelSize=21, warpType="direct", subregionSize=[2000, 2000], statistic="MEANCLIP",
    doOnlineForMean=False, doSigmaClip=False, sigmaClip=3.0, clipIter=2, calcErrorFromInputVariance=True,
    doScaleZeroPoint=False, scaleZeroPoint="ScaleZeroPointTask", doInterp=True, interpImage="InterpImageTask",
    doWrite=True, doWriteArtifactMasks=False, doNImage=False, doUsePsfMatchedPolygons=False,
    maskPropagationThresholds={"SAT": 0.1}, removeMaskPlanes=["NOT_DEBLENDED"], doMaskBrightObjects=False,
    brightObjectMaskName="BRIGHT_OBJECT", doAttachTransmissionCurve=False, hasFakes=False, doSelectVisits=False,
    doInputMap=False, inputMapper="HealSparseInputMapTask",
)  # fmt: skip
ASSEMBLE |= {"coaddPsf.cacheSize": 0}

COMPARE_WARP = dict(
    assembleStaticSkyModel="AssembleCoaddTask", detect="SourceDetectionTask", detectTemplate="SourceDetectionTask",
    detectTemplateIterMultiplier=1.25, maxDetectTemplateIter=10, maskStreaks="MaskStreaksTask", streakMaskName="STREAK",
    maxNumEpochs=2, maxFractionEpochsLow=0.4, maxFractionEpochsHigh=0.03, spatialThreshold=0.5, doScaleWarpVariance=True,
    scaleWarpVariance="ScaleVarianceTask", doPreserveContainedBySource=True, doPrefilterArtifacts=True,
    prefilterArtifactsMaskPlanes=["NO_DATA", "BAD", "SUSPECT"], prefilterArtifactsRatio=0.05,
    doFilterMorphological=False, growStreakFp=5, statistic="MEAN", badMaskPlanes=["NO_DATA", "BAD", "SAT"],
    removeMaskPlanes=["NOT_DEBLENDED", "EDGE"], doUsePsfMatchedPolygons=True,
)  # fmt: skip
COMPARE_WARP |= {
    f"assembleStaticSkyModel.{name}": value
    for name, value in dict(
        badMaskPlanes=["NO_DATA"], warpType="psfMatched", statistic="MEANCLIP", sigmaClip=2.5, clipIter=3,
        calcErrorFromInputVariance=True, doWrite=False, doNImage=False,
    ).items()
}  # fmt: skip
COMPARE_WARP |= {
    "detect.thresholdPolarity": "both", "detect.thresholdType": "pixel_stdev", "detect.minPixels": 4,
    "detect.isotropicGrow": True, "detect.doTempLocalBackground": False, "detect.reEstimateBackground": False,
    "detect.returnOriginalFootprints": False, "detect.thresholdValue": 7.5, "detect.nSigmaToGrow": 0.4,
    "detectTemplate.nSigmaToGrow": 2.4, "detectTemplate.thresholdValue": 300,
    "detectTemplate.doTempLocalBackground": True, "detectTemplate.reEstimateBackground": True,
    "detectTemplate.returnOriginalFootprints": False,
}  # fmt: skip

DCR = dict(
    dcrNumSubfilters=3, maxNumIter=None, minNumIter=None, convergenceThreshold=0.001, useConvergence=True, baseGain=None,
    useProgressiveGain=True, doAirmassWeight=False, modelWeightsWidth=3, useModelWeights=True, splitSubfilters=True,
    splitThreshold=0.1, regularizeModelIterations=2, regularizeModelFrequency=4, convergenceMaskPlanes=["DETECTED"],
    regularizationWidth=2, imageInterpOrder=1, accelerateModel=3, doCalculatePsf=False,
    detectPsfSources="SourceDetectionTask", measurePsfSources="SingleFrameMeasurementTask",
    measurePsf="MeasurePsfTask", effectiveWavelength=None, bandwidth=None, doNImage=True, warpType="direct",
    doWriteArtifactMasks=False, badMaskPlanes=["NO_DATA", "BAD", "SAT"], removeMaskPlanes=["NOT_DEBLENDED", "EDGE"],
    statistic="MEAN",
)  # fmt: skip
DCR |= {
    "detectPsfSources.returnOriginalFootprints": False, "detectPsfSources.thresholdPolarity": "positive",
    "detectPsfSources.thresholdValue": 50, "detectPsfSources.nSigmaToGrow": 2, "detectPsfSources.minPixels": 25,
    "detectPsfSources.thresholdType": "pixel_stdev", "measurePsf.starSelector.active.doFluxLimit": False,
}  # fmt: skip

#: Where stillsky departs from the tables on purpose: (table, name) to (its value, the reason).
DEPARTURES = {
    ("3.2", "modelPsf.defaultFwhm"): (None, "the seed makes up a PSF of 3 pixels; a wrong PSF is worse than none"),
}


def valueOf(config, name):
    for part in name.split("."):
        config = getattr(config, part)
    if isinstance(config, ConfigurableInstance):
        return config.target.__name__
    if hasattr(config, "items"):
        return dict(config.items())
    return list(config) if hasattr(config, "__iter__") and not isinstance(config, str) else config


TABLES = {
    "3.2": (AssembleCoaddConfig, ASSEMBLE),
    "4.2": (CompareWarpAssembleCoaddConfig, COMPARE_WARP),
    "7.2": (DcrAssembleCoaddConfig, DCR),
}


@pytest.mark.parametrize("section", TABLES)
def testEveryFieldOfTheTableHasItsDefault(section):
    Config, table = TABLES[section]
    config = Config()
    departures = {name: value for (where, name), (value, _) in DEPARTURES.items() if where == section}
    assert not departures.keys() & table.keys()
    wanted = table | departures
    assert {name: valueOf(config, name) for name in wanted} == wanted


def testLaterTasksInheritWhatTheirTablesDoNotChange():
    compare, dcr = CompareWarpAssembleCoaddConfig(), DcrAssembleCoaddConfig()
    for name in ASSEMBLE.keys() - COMPARE_WARP.keys():
        assert valueOf(compare, name) == ASSEMBLE[name], name
    for name in (ASSEMBLE | COMPARE_WARP).keys() - DCR.keys():
        assert valueOf(dcr, name) == (ASSEMBLE | COMPARE_WARP)[name], name
