"""Configuration classes against the tables of Rubin's fields: name, type, default, range; and what validation refuses."""

import logging

import numpy as np
import pytest
from lsst.pex.config import FieldValidationError, ListField
from psfmatch_scenes import images

from stillsky.errors import DomainError, StillskyError
from stillsky.psfmatch.basis import generateAlardLuptonBasisList, makeKernelBasisList
from stillsky.psfmatch.config import (
    DetectionConfig,
    MakeKernelConfig,
    PsfMatchConfig,
    PsfMatchConfigAL,
    PsfMatchConfigDF,
)

ANY = object()  # no limit is stated

# name: (type, default, smallest, largest) or (type, default, set of allowed values)
COMMON = {
    "useAfwBackground": (bool, False, ANY, ANY),
    "fitForBackground": (bool, False, ANY, ANY),
    "kernelBasisSet": (str, "alard-lupton", {"alard-lupton", "delta-function"}),
    "kernelSize": (int, 21, ANY, ANY),
    "scaleByFwhm": (bool, True, ANY, ANY),
    "kernelSizeFwhmScaling": (float, 6.0, 1.0, ANY),
    "kernelSizeMin": (int, 21, ANY, ANY),
    "kernelSizeMax": (int, 35, ANY, ANY),
    "spatialModelType": (str, "chebyshev1", {"chebyshev1", "polynomial"}),
    "spatialKernelOrder": (int, 2, 0, ANY),
    "spatialBgOrder": (int, 1, 0, ANY),
    "sizeCellX": (int, 128, 32, ANY),
    "sizeCellY": (int, 128, 32, ANY),
    "nStarPerCell": (int, 5, ANY, ANY),
    "maxSpatialIterations": (int, 3, 1, 5),
    "usePcaForSpatialKernel": (bool, False, ANY, ANY),
    "subtractMeanForPca": (bool, True, ANY, ANY),
    "numPrincipalComponents": (int, 5, 3, ANY),
    "singleKernelClipping": (bool, True, ANY, ANY),
    "kernelSumClipping": (bool, True, ANY, ANY),
    "spatialKernelClipping": (bool, True, ANY, ANY),
    "checkConditionNumber": (bool, False, ANY, ANY),
    "badMaskPlanes": (str, ["NO_DATA", "EDGE", "SAT"], ANY, ANY),
    "candidateResidualMeanMax": (float, 0.25, 0.0, ANY),
    "candidateResidualStdMax": (float, 1.50, 0.0, ANY),
    "useCoreStats": (bool, False, ANY, ANY),
    "candidateCoreRadius": (int, 3, 1, ANY),
    "maxKsumSigma": (float, 3.0, 0.0, ANY),
    "maxConditionNumber": (float, 5.0e7, 0.0, ANY),
    "conditionNumberType": (str, "EIGENVALUE", {"SVD", "EIGENVALUE"}),
    "maxSpatialConditionNumber": (float, 1.0e10, 0.0, ANY),
    "iterateSingleKernel": (bool, False, ANY, ANY),
    "constantVarianceWeighting": (bool, True, ANY, ANY),
    "calculateKernelUncertainty": (bool, False, ANY, ANY),
    "useBicForKernelBasis": (bool, False, ANY, ANY),
}
ALARD_LUPTON = {
    **COMMON,
    "alardNGauss": (int, 3, 1, ANY),
    "alardDegGauss": (int, [4, 2, 2], ANY, ANY),
    "alardSigGauss": (float, [0.7, 1.5, 3.0], ANY, ANY),
    "alardGaussBeta": (float, 2.0, 0.0, ANY),
    "alardMinSig": (float, 0.7, 0.25, ANY),
    "alardDegGaussDeconv": (int, 3, 1, ANY),
    "alardMinSigDeconv": (float, 0.4, 0.25, ANY),
    "alardNGaussDeconv": (int, 3, 1, ANY),
}
DELTA = {
    **COMMON,
    "kernelBasisSet": (str, "delta-function", {"alard-lupton", "delta-function"}),
    "maxConditionNumber": (float, 5.0e6, 0.0, ANY),
    "usePcaForSpatialKernel": (bool, True, ANY, ANY),
    "useRegularization": (bool, True, ANY, ANY),
    "regularizationType": (str, "centralDifference", {"centralDifference", "forwardDifference"}),
    "centralRegularizationStencil": (int, 9, {5, 9}),
    "forwardRegularizationOrders": (int, [1, 2], 1, 3),
    "regularizationBorderPenalty": (float, 3.0, 0.0, ANY),
    "lambdaType": (str, "absolute", {"absolute", "relative", "minimizeBiasedRisk", "minimizeUnbiasedRisk"}),
    "lambdaValue": (float, 0.2, ANY, ANY),
    "lambdaScaling": (float, 1e-4, ANY, ANY),
    "lambdaStepType": (str, "log", {"log", "linear"}),
    "lambdaMin": (float, -1.0, ANY, ANY),
    "lambdaMax": (float, 2.0, ANY, ANY),
    "lambdaStep": (float, 0.1, ANY, ANY),
}
DETECTION = {
    "detThreshold": (float, 10.0, 3.0, ANY),
    "detThresholdType": (str, "pixel_stdev", {"value", "stdev", "variance", "pixel_stdev"}),
    "detOnTemplate": (bool, True, ANY, ANY),
    "badMaskPlanes": (str, ["NO_DATA", "EDGE", "SAT"], ANY, ANY),
    "fpNpixMin": (int, 5, 5, ANY),
    "fpNpixMax": (int, 500, ANY, 500),
    "fpGrowKernelScaling": (float, 1.0, 1.0, ANY),
    "fpGrowPix": (int, 30, 10, ANY),
    "scaleByFwhm": (bool, True, ANY, ANY),
}
TABLES = [(PsfMatchConfig, COMMON), (PsfMatchConfigAL, ALARD_LUPTON), (PsfMatchConfigDF, DELTA), (DetectionConfig, DETECTION)]  # fmt: skip
ROWS = [(cls, name, *row) for cls, table in TABLES for name, row in table.items()]


def _accepts(cls, name, value):
    config = cls()
    field = cls._fields[name]
    try:
        setattr(config, name, [value] if isinstance(field, ListField) else value)
    except FieldValidationError:
        return False
    return True


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0].__name__}.{row[1]}")
def testFieldIsAsTabulated(row):
    cls, name, dtype, default, *limits = row
    field, value = cls._fields[name], getattr(cls(), name)
    assert (field.itemtype if isinstance(field, ListField) else field.dtype) is dtype
    assert (list(value) if isinstance(field, ListField) else value) == default
    assert field.doc
    if len(limits) == 1:
        assert all(_accepts(cls, name, v) for v in limits[0])
        assert not _accepts(cls, name, "other" if dtype is str else 7)
        return
    step = 1 if dtype is int else 1e-6
    for limit, outside in zip(limits, (-step, step)):
        if limit is not ANY:
            assert _accepts(cls, name, dtype(limit)) and not _accepts(cls, name, dtype(limit + outside))


def testEveryTabulatedFieldAndNothingUndocumented():
    for cls, table in TABLES:
        sub = {"warpingConfig", "detectionConfig", "afwBackgroundConfig"} & set(cls._fields)
        assert set(table) | sub <= set(cls._fields)
        assert all(field.doc and field.doc[0].isupper() for field in cls._fields.values())


def testSubConfigurationsHaveTheTabulatedDefaults():
    config = PsfMatchConfigAL()
    warp, background = config.warpingConfig, config.afwBackgroundConfig
    assert (warp.warpingKernelName, warp.maskWarpingKernelName) == ("lanczos3", "bilinear")
    assert (warp.interpLength, warp.cacheSize, warp.growFullMask) == (10, 1000000, 16)
    wanted = {
        "statisticsProperty": "MEANCLIP", "undersampleStyle": "REDUCE_INTERP_ORDER", "binSize": 128, "binSizeX": 0,
        "binSizeY": 0, "algorithm": "AKIMA_SPLINE", "isNanSafe": False, "useApprox": True, "approxOrderX": 6,
        "approxOrderY": -1, "weighting": True,
    }  # fmt: skip
    assert {name: getattr(background, name) for name in wanted} == wanted
    assert list(background.ignoredPixelMask) == ["BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA"]


@pytest.mark.parametrize(
    ("cls", "changes", "field"),
    [
        (PsfMatchConfigAL, {"kernelSize": 20}, "kernelSize"),
        (PsfMatchConfigAL, {"kernelSizeMax": 34}, "kernelSizeMax"),
        (PsfMatchConfigAL, {"kernelSizeMin": 20}, "kernelSizeMin"),
        (PsfMatchConfigAL, {"kernelSizeMin": 37}, "kernelSizeMin"),
        (PsfMatchConfigAL, {"alardNGauss": 2}, "alardDegGauss"),
        (PsfMatchConfigAL, {"alardSigGauss": [1.0, 2.0]}, "alardSigGauss"),
        (PsfMatchConfigDF, {"lambdaMin": 3.0}, "lambdaMin"),
        (PsfMatchConfigDF, {"lambdaStep": 0.0}, "lambdaStep"),
    ],
)
def testTrapsAreCaughtWhenTheConfigurationIsValidated(cls, changes, field):
    config = cls()
    config.update(**changes)
    with pytest.raises(FieldValidationError, match=field):
        config.validate()


def testMakeKernelReadsBadMaskPlanesAndItsChoiceAlone():
    config = MakeKernelConfig()
    assert list(config.badMaskPlanes) == ["NO_DATA", "EDGE", "SAT"]
    assert config.kernel.name == "AL" and (config.fwhmExposureGrid, config.fwhmExposureBuffer) == (10, 0.05)
    assert "ClassificationSizeExtendedness" in list(config.selectMeasurement.plugins)
    assert list(config.selectDetection.excludeMaskPlanes) == ["EDGE"]


def testBasisIsRefusedForInconsistentConfigurations():
    even, lengths = PsfMatchConfigAL(), PsfMatchConfigAL()
    even.kernelSize = 20
    lengths.alardNGauss = 2
    for config in (even, lengths):
        with pytest.raises(DomainError):
            makeKernelBasisList(config)
    with pytest.raises(DomainError):
        makeKernelBasisList(PsfMatchConfigAL(), basisDegGauss=[1, 2])
    with pytest.raises(StillskyError, match="alard-lupton"):
        generateAlardLuptonBasisList(PsfMatchConfigDF())
    for fwhm in (float("nan"), float("inf"), -1.0):
        with pytest.raises(DomainError, match="targetFwhmPix"):
            makeKernelBasisList(PsfMatchConfigAL(), fwhm, 3.0)
    config = PsfMatchConfigAL()
    config.kernelSizeMax = 34  # not validated: an even size would make functions one pixel larger than reported
    with pytest.raises(DomainError, match="kernelSizeMax"):
        makeKernelBasisList(config, 2.0, 8.0)
    config = PsfMatchConfigAL()
    config.alardGaussBeta = 0.0
    with pytest.raises(DomainError, match="alardGaussBeta"):
        makeKernelBasisList(config, 3.0, 4.0)


def testDeltaBasisHasItsOneAtColumnXRowY():
    config = PsfMatchConfigDF()
    config.kernelSize = 5
    pixels = images(makeKernelBasisList(config))
    np.testing.assert_array_equal(pixels.reshape(25, 25), np.eye(25))


def testRepeatedGaussiansAreLeftOutWithAWarning(caplog):
    config = PsfMatchConfigAL()
    config.scaleByFwhm = False
    config.alardSigGauss = [1.5, 1.5, 3.0]
    config.alardDegGauss = [0, 0, 0]
    with caplog.at_level(logging.WARNING):
        pixels = images(makeKernelBasisList(config))
    assert len(pixels) == 2 and np.isfinite(pixels).all()
    assert "1 basis functions repeat" in caplog.text


def testBasisOfGivenWidthsConservesFlux():
    """With widths 3 -> 4 given, through the wrapper: one function of sum 1, all others of sum 0 and norm 1."""
    pixels = images(makeKernelBasisList(PsfMatchConfigAL(), 3.0, 4.0))
    sums, norms = pixels.sum(axis=(1, 2)), (pixels**2).sum(axis=(1, 2))
    assert len(pixels) == 27 and sums[0] == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(sums[1:], 0.0, atol=1e-14)
    np.testing.assert_allclose(norms[1:], 1.0, atol=1e-12)
