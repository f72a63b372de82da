"""Rescaling of variance planes: algorithm and task."""

import numpy as np
import pytest

from stillsky import makeExposure
from stillsky.background import ExceedsMaxVarianceScaleError, computeScaleFactors, scaleVariance
from stillsky.background.scale_variance_config import ScaleVarianceConfig
from stillsky.background.scale_variance_task import ScaleVarianceTask
from stillsky.stats import varianceScaleFactors


def noise(sigma=2.0, plane=1.0, shape=(512, 512), seed=1):
    """White noise whose plane claims another variance."""
    pixels = sigma * np.random.default_rng(seed).standard_normal(shape)
    return makeExposure(pixels.astype(np.float32), variance=np.full(shape, plane, np.float32))


def test_noiseOfVarianceFourOnAPlaneOfOneGivesFour():
    exposure = noise()
    assert scaleVariance(exposure) == pytest.approx(4, rel=0.03)
    assert exposure.variance.array == pytest.approx(4, rel=0.03)


def test_theFactorHasTheExactConstantOfTheNormalDistribution():
    # 0.74 in place of 0.741301 would give 3.986: 16 million pixels tell the two apart
    values = np.random.default_rng(3).standard_normal((1024, 1024))
    quartile = np.quantile(values, (0.25, 0.75))
    exact = (np.diff(quartile)[0] / 1.3489795003921634) ** 2
    assert varianceScaleFactors(values, np.ones_like(values)).pixelFactor == pytest.approx(exact, rel=1e-9)


def test_maskedContaminationDoesNotChangeTheFactor():
    clean, dirty = noise(), noise()
    rng = np.random.default_rng(2)
    hit = rng.random(dirty.image.array.shape) < 0.01
    dirty.image.array[hit] += 200.0
    dirty.mask.array[hit] |= dirty.mask.bitmask(["BAD"])
    assert scaleVariance(dirty) == pytest.approx(scaleVariance(clean), rel=0.01)


def test_aPlaneOfATwentiethOfTheTruthIsRefused():
    exposure = noise(sigma=np.sqrt(20.0))
    factors = computeScaleFactors(exposure)
    assert factors.pixelFactor == pytest.approx(20, rel=0.03) and factors.imageFactor == pytest.approx(20, rel=0.03)
    with pytest.raises(ExceedsMaxVarianceScaleError) as error:
        scaleVariance(exposure)
    assert error.value.metadata == {"scaleVarianceValue": factors.pixelFactor, "scaleVarianceLimit": 10.0}
    assert np.all(exposure.variance.array == 1)


def test_theImageFactorServesWhereThePixelFactorFails():
    exposure = noise(sigma=1.0)
    exposure.variance.array[:255] = 1e-6  # just less than half: wide wings of chi, and the median stays 1
    factors = computeScaleFactors(exposure)
    assert factors.pixelFactor > 10 > factors.imageFactor
    assert scaleVariance(exposure) == factors.imageFactor


@pytest.mark.parametrize("nGood", [0, 1])
def test_fewerThanTwoGoodPixelsGiveOne(nGood):
    exposure = noise(shape=(64, 64))
    exposure.mask.array.ravel()[nGood:] |= exposure.mask.bitmask(["NO_DATA"])
    assert scaleVariance(exposure) == 1.0
    assert np.all(exposure.variance.array == 1)


def test_pixelsWithoutValueOrVarianceAreLeftOut():
    exposure = noise()
    exposure.image.array[:40] = np.nan
    exposure.variance.array[40:80] = np.inf
    exposure.variance.array[80:120] = 0
    exposure.image.array[40:120] = 1e6
    assert scaleVariance(exposure) == pytest.approx(4, rel=0.04)


def test_theImageIsNotTouchedAndAGradientDoesNotCount():
    exposure = noise()
    exposure.image.array[...] += 1000 + np.linspace(0, 500, 512, dtype=np.float32)
    before = exposure.image.array.copy()
    assert scaleVariance(exposure) == pytest.approx(4, rel=0.03)
    assert np.array_equal(exposure.image.array, before)


def test_aMapFollowsAPlaneThatIsWrongByAGradient():
    truth = np.linspace(1.0, 4.0, 512)[None, :] * np.ones((512, 1))
    exposure = noise(sigma=np.sqrt(truth))
    config = ScaleVarianceConfig()
    config.mapCells = 8
    scaleVariance(exposure, config)
    assert exposure.variance.array[:, 64:-64] == pytest.approx(truth[:, 64:-64], rel=0.12)


def test_theTaskReturnsTheFactorAndReportsBothEstimates():
    task = ScaleVarianceTask()
    exposure = noise()
    both = task.computeScaleFactors(exposure)
    assert np.all(exposure.variance.array == 1)
    assert task.run(exposure.maskedImage) == both.pixelFactor
    assert both.imageFactor == pytest.approx(4, rel=0.03)


def test_theTaskRaisesAnAlgorithmError():
    import lsst.pipe.base as pipeBase

    with pytest.raises(pipeBase.AlgorithmError) as error:
        ScaleVarianceTask().run(noise(sigma=5.0))
    assert error.value.metadata["scaleVarianceLimit"] == 10.0
    assert isinstance(error.value, ExceedsMaxVarianceScaleError)


def test_halfTheSizeOfALargeImageIsSampledAndAgrees():
    exposure = noise(shape=(2200, 2200))
    assert computeScaleFactors(exposure).nGood == 1100**2
    assert computeScaleFactors(exposure).pixelFactor == pytest.approx(4, rel=0.01)
