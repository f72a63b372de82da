"""Residual statistics in units of sigma, and the clipped moments of kernel sums."""

from types import SimpleNamespace

import numpy as np
import pytest

import stillsky
from stillsky.psfmatch import ImageStatistics, ImageStatisticsD, ImageStatisticsF, ImageStatisticsI, clippedMoments


class _Mask:
    """The part of a mask that the statistics ask for, with the standard bits."""

    schema = {"BAD": 0, "SAT": 1, "EDGE": 4}

    def __init__(self, array):
        self.array = array

    def bitmask(self, names, ignoreMissing=False):
        return sum(1 << self.schema[n] for n in names if n in self.schema or not ignoreMissing)


def _image(values, variance=1.0, dtype=np.float32):
    values = np.asarray(values, dtype=dtype)
    return SimpleNamespace(
        image=SimpleNamespace(array=values),
        mask=_Mask(np.zeros(values.shape, np.int32)),
        variance=SimpleNamespace(array=np.full(values.shape, variance, np.float32)),
    )


def _apply(image, planes=(), core=-1):
    stats = ImageStatistics(planes)
    stats.apply(image, core)
    return stats.getMean(), stats.getRms(), stats.getNpix()


def testZerosAndOnes():
    assert _apply(_image(np.zeros((20, 20)))) == (0.0, 0.0, 400)
    assert _apply(_image(np.ones((20, 20)))) == (1.0, 0.0, 400)


def testCoreOfRadiusThreeHas49Pixels():
    image = _image(np.zeros((20, 20)))
    image.image.array[7:14, 7:14] = 2.0
    assert _apply(image, core=3) == (2.0, 0.0, 49)


def testZeroVarianceLeavesNoPixels():
    mean, rms, n = _apply(_image(np.zeros((20, 20)), variance=0.0))
    assert n == 0 and np.isnan(mean) and np.isnan(rms)


def testPlaneAgreesWithNumpy():
    y, x = np.mgrid[:20, :20]
    mean, rms, n = _apply(_image(x + 2.3 * y, dtype=np.float64))
    assert mean == pytest.approx((x + 2.3 * y).mean(), rel=1e-12)
    assert rms == pytest.approx((x + 2.3 * y).std(ddof=1), rel=1e-12)


def testOnlyListedMaskPlanesExclude():
    image = _image(np.zeros((20, 20)))
    image.mask.array[:, -1] = 1 << 1
    assert _apply(image, ["SAT", "NO_SUCH_PLANE"])[2] == 380
    assert _apply(image, ["BAD"])[2] == 400
    assert _apply(image, {"badMaskPlanes": ["SAT"]})[2] == 380
    stats = ImageStatistics()
    stats.setBpMask(2)
    stats.apply(image)
    assert stats.getBpMask() == 2 and stats.nPixels == 380


def testNonFinitePixelsRaiseUnlessMasked():
    image = _image(np.zeros((20, 20)))
    image.image.array[3, 4] = np.nan
    with pytest.raises(stillsky.NumericalError):
        _apply(image, ["BAD"])
    image.mask.array[3, 4] = 1
    assert _apply(image, ["BAD"]) == (0.0, 0.0, 399)


def testInfiniteVarianceCountsWithWeightZero():
    image = _image(np.ones((2, 2)))
    image.variance.array[0, 0] = np.inf
    assert _apply(image) == (0.75, 0.5, 4)


def testIntegerImagesAndAliases():
    image = _image(np.ones((4, 4)))
    image.image.array = np.ones((4, 4), np.int32)
    for cls in (ImageStatisticsI, ImageStatisticsF, ImageStatisticsD):
        stats = cls([])
        stats.apply(image)
        assert stats.mean == 1.0


@pytest.mark.parametrize(
    "values, mean, std, n",
    [
        ([1, 1, 1, 1, 2, 3, 4], 1.8571428571, 1.2149857926, 7),
        ([1, 1, 1, 1, 2, 3, 4, 50], 1.8571428571, 1.2149857926, 8),
        ([1.0] * 8 + [100.0], 1.0, 0.0, 9),
        ([0.98, 1, 1.01, 1.02, 0.99, 1.5], 1.0, 0.0158113883, 6),
        ([0.98, 1, np.nan, 1.01, 1.02, np.inf, 0.99, 1.5], 1.0, 0.0158113883, 6),
    ],
)
def testClippedMoments(values, mean, std, n):
    got = clippedMoments(values)
    assert got == (pytest.approx(mean, abs=1e-10), pytest.approx(std, abs=1e-10), n)


def testClippedMomentsOfNothingAndOfOneValue():
    mean, std, n = clippedMoments([])
    assert np.isnan(mean) and np.isnan(std) and n == 0
    mean, std, n = clippedMoments([3.0])
    assert mean == 3.0 and np.isnan(std) and n == 1
