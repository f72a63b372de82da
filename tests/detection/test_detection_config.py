"""The detection's configuration: the fields of the other pipelines, and every one of them reaches the algorithm."""

import inspect

import numpy as np

from stillsky.detection import detectSources
from stillsky.detection.config import SourceDetectionConfig, detectionKeywords
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf
from stillsky.psfmatch.config import DetectionConfig, MatchDetectionConfig


def testDefaults():
    config = SourceDetectionConfig()
    assert config.toDict() == {
        "minPixels": 1,
        "isotropicGrow": True,
        "combinedGrow": True,
        "nSigmaToGrow": 2.4,
        "returnOriginalFootprints": False,
        "thresholdValue": 5.0,
        "includeThresholdMultiplier": 1.0,
        "thresholdType": "pixel_stdev",
        "thresholdPolarity": "positive",
        "reEstimateBackground": True,
        "doTempLocalBackground": True,
        "nPeaksMaxSimple": 1,
        "nSigmaForKernel": 7.0,
        "statsMask": ["BAD", "SAT", "EDGE", "NO_DATA"],
        "excludeMaskPlanes": [],
    }


def testDefaultsAreThoseOfTheFunction():
    signature = inspect.signature(detectSources).parameters
    for name, value in detectionKeywords(SourceDetectionConfig()).items():
        assert value == signature[name].default, name


def testAFieldOfTheConfigurationReachesTheAlgorithm(rng, addStars):
    array = addStars(rng.normal(size=(150, 150)).astype(np.float32), [40, 100], [50, 110], [800.0, -800.0])
    found = {}
    for polarity in ("positive", "negative", "both"):
        config = SourceDetectionConfig()
        config.thresholdPolarity, config.thresholdValue, config.minPixels = polarity, 8.0, 5
        exposure = makeExposure(array, variance=np.ones_like(array), psf=GaussianPsf(21, 21, 2.0))
        result = detectSources(exposure, **detectionKeywords(config))
        found[polarity] = (result.numPos, result.numNeg)
        assert result.thresholds["positive"] == 8.0
    assert found == {"positive": (1, 0), "negative": (0, 1), "both": (1, 1)}


def testMatchingUsesTheSameFieldsWithItsOwnDefaults():
    assert issubclass(MatchDetectionConfig, SourceDetectionConfig)
    config = MatchDetectionConfig()
    assert (config.thresholdValue, config.reEstimateBackground) == (10.0, False)
    allowed = [c._fields[n].allowed for c, n in (
        (SourceDetectionConfig, "thresholdType"), (DetectionConfig, "detThresholdType"))]  # fmt: skip
    assert allowed[0] == allowed[1]
