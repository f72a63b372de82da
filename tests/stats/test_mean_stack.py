"""The running mean beside the MEAN stack of the same images."""

import numpy as np
import pytest

from stillsky.errors import DomainError, ShapeError
from stillsky.image import Image, Mask, MaskedImage
from stillsky.stats import MEAN, AccumulatorMeanStack, StatisticsControl, statisticsStack

SAT, EDGE, NO_DATA, SENSOR_EDGE, REJECTED = 2, 16, 256, 2048, 4096
SHAPE = (40, 60)


def makeImages(rng, n=20):
    """Noise with some SAT, EDGE, NO_DATA (NaN) pixels, unflagged NaN, and pixels that are bad in all of them."""
    images = []
    for _ in range(n):
        pixels = rng.normal(1000, 5, SHAPE).astype(np.float32)
        mask = np.zeros(SHAPE, np.int32)
        for bit, share in ((SAT, 0.1), (EDGE, 0.05), (NO_DATA, 0.05), (SENSOR_EDGE, 0.1)):
            mask[rng.random(SHAPE) < share] |= bit
        pixels[mask & NO_DATA > 0] = np.nan
        pixels[rng.random(SHAPE) < 0.01] = np.nan
        pixels[:2] = np.nan
        mask[:2] = NO_DATA
        mask[5, 5] = SAT
        images.append(MaskedImage(Image(pixels), Mask(mask), Image(rng.uniform(20, 30, SHAPE).astype(np.float32))))
    return images


@pytest.mark.parametrize("fromVariance, tolerance", [(True, 1e-5), (False, 1e-4)])
@pytest.mark.parametrize("inverse", [False, True])
def testRunningMeanEqualsTheDirectStack(rng, fromVariance, tolerance, inverse):
    images, weights = makeImages(rng), rng.uniform(0.9, 1.1, 20)
    control = StatisticsControl(
        andMask=SAT | NO_DATA, calcErrorFromInputVariance=fromVariance, maskPropagationThresholds={1: 0.2}
    )
    maskMap = [(SENSOR_EDGE, SENSOR_EDGE << 3), (SAT, REJECTED)]
    direct = statisticsStack(images, MEAN, control, weights, maskMap=maskMap, inverseVariance=inverse)
    running = AccumulatorMeanStack(
        SHAPE,
        control.andMask,
        AccumulatorMeanStack.statsCtrlToThresholdDict(control),
        maskMap,
        calcErrorFromInputVariance=fromVariance,
        computeNImage=True,
        inverseVariance=inverse,
    )
    for _ in range(2):  # the second time after a reset
        for image, weight in zip(images, weights):
            running.addMaskedImage(image, weight=weight)
        found = MaskedImage.zeros(direct.bbox)
        running.fillStackedMaskedImage(found)
        np.testing.assert_allclose(found.image.array, direct.image.array, rtol=tolerance)
        np.testing.assert_allclose(found.variance.array, direct.variance.array, rtol=tolerance)
        np.testing.assert_array_equal(found.mask.array, direct.mask.array)
        usable = np.array([np.isfinite(i.image.array) & (i.mask.array & control.andMask == 0) for i in images])
        np.testing.assert_array_equal(running.nImage, usable.sum(axis=0))
        running.reset()
    assert np.all(direct.mask.array[:2] == NO_DATA) and direct.mask.array[5, 5] == NO_DATA | REJECTED
    assert 0.1 < np.mean(direct.mask.array & SAT > 0) < 0.5


def testPlainImages(rng):
    arrays = rng.normal(3, 1, (7, *SHAPE)).astype(np.float32)
    weights = rng.uniform(0.5, 2, 7)
    running = AccumulatorMeanStack(SHAPE, calcErrorFromInputVariance=False)
    for array, weight in zip(arrays, weights):
        running.addImage(array, weight)
    out = np.empty(SHAPE, np.float32)
    running.fillStackedImage(out)
    np.testing.assert_array_equal(out, statisticsStack(list(arrays), MEAN, None, weights))
    assert running.nImage is None


def testDoubleImages(rng):
    arrays = rng.normal(3, 1, (5, *SHAPE))
    running = AccumulatorMeanStack(SHAPE, calcErrorFromInputVariance=False, dtype=np.float64)
    for array in arrays:
        running.addImage(Image(array))
    out = np.empty(SHAPE)
    running.fillStackedImage(out)
    np.testing.assert_allclose(out, arrays.mean(axis=0), rtol=1e-14)


def testNothingAddedIsAllNoData():
    out = MaskedImage.zeros((4, 3))
    AccumulatorMeanStack((3, 4), noGoodPixelsMask=EDGE).fillStackedMaskedImage(out)
    assert np.isnan(out.image.array).all() and np.all(out.mask.array == EDGE)


def testWrongSizesAndWeightsAreRefused():
    running = AccumulatorMeanStack((3, 4))
    with pytest.raises(ShapeError, match="4x3"):
        running.addMaskedImage(MaskedImage.zeros((3, 4)))
    with pytest.raises(DomainError, match="weight"):
        running.addMaskedImage(MaskedImage.zeros((4, 3)), weight=-1)
    with pytest.raises(DomainError, match="variance"):
        running.addImage(Image(np.zeros((3, 4), np.float32)))
