"""clippedStats and robustSigma are exact, masked, threaded and fast."""

import numpy as np
import pytest

import stillsky
from reference.statistics_reference import statistics as slowStatistics
from stillsky.errors import DomainError, ShapeError
from stillsky.stats import clippedStats, robustSigma


def skyImage(rng, shape, dtype=np.float32):
    image = rng.normal(1000, 12, shape)
    stars = rng.random(shape) < 0.03
    image[stars] += rng.exponential(500, stars.sum())
    image[rng.random(shape) < 0.002] = np.nan
    return image.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 5), (40, 60), (128, 128), (600, 811)])
def testAgreesWithTheSlowReference(rng, dtype, shape):
    image = skyImage(rng, shape, dtype)
    mask = rng.integers(0, 4, shape).astype(np.int32)
    for badBits, numSigma, numIter in ((0, 3, 3), (2, 2, 5), (1, 2.5, 1)):
        wanted = slowStatistics(image, mask, andMask=badBits, numSigma=numSigma, numIter=numIter)
        median, mean, stdev, n = clippedStats(image, mask, badBits, numSigma, numIter)
        assert n == wanted["NPOINT"] - wanted["NCLIPPED"]
        np.testing.assert_allclose(
            [median, mean, stdev], [wanted[k] for k in ("MEDIAN", "MEANCLIP", "STDEVCLIP")], rtol=1e-12
        )
        good = image[np.isfinite(image) & ((mask & badBits) == 0)].astype(np.float64)
        sigma = 1.482602218505602 * np.median(np.abs(good - np.median(good)))
        assert robustSigma(image, mask, badBits) == pytest.approx(sigma, rel=1e-12)


def testSubsampleUsesEveryNthRowAndColumn(rng):
    image, mask = skyImage(rng, (203, 310)), rng.integers(0, 2, (203, 310)).astype(np.int32)
    for k in (2, 4, 50):
        assert clippedStats(image, mask, 1, subsample=k) == clippedStats(image[::k, ::k], mask[::k, ::k], 1)
        assert robustSigma(image, mask, 1, subsample=k) == robustSigma(image[::k, ::k], mask[::k, ::k], 1)


def testGaussianIsRecovered(rng):
    image = rng.normal(50, 4, (1000, 1000)).astype(np.float32)
    image[rng.random(image.shape) < 0.05] = 10_000
    median, mean, stdev, n = clippedStats(image)
    assert mean == pytest.approx(50, abs=5 * 4 / np.sqrt(n))
    assert stdev == pytest.approx(0.985 * 4, rel=0.005)
    assert robustSigma(image) == pytest.approx(4, rel=0.07)


def testAwkwardValues():
    # Selection from brackets must be exact for ties, few distinct values, sorted, reversed and periodic data.
    n = 300_000
    x = np.arange(n)
    for image in (
        np.full(n, 3.0), x % 2, x % 7, x, -x, np.sin(x * 2 * np.pi / 4096), np.where(x == n // 2, 1e30, -1e30),
        np.where(x < n // 3, -1.0, x), 10.0 ** (x % 77 - 38),
    ):  # fmt: skip
        image = np.asarray(image, np.float32).reshape(500, 600)
        median = clippedStats(image)[0]
        assert median == np.median(image.astype(np.float64))
        deviation = np.median(np.abs(image.astype(np.float64) - median))
        assert robustSigma(image) == pytest.approx(1.482602218505602 * deviation, rel=1e-14)


def testNothingUsable():
    image = np.full((30, 40), np.nan, np.float32)
    median, mean, stdev, n = clippedStats(image)
    assert n == 0 and np.isnan([median, mean, stdev, robustSigma(image)]).all()
    one = clippedStats(np.ones((1, 1), np.float32))
    assert one[:2] == (1, 1) and np.isnan(one[2]) and one[3] == 1


def testWrongArguments():
    image = np.ones((4, 5), np.float32)
    with pytest.raises(ShapeError):
        clippedStats(image, np.ones((5, 4), np.int32))
    with pytest.raises(TypeError):
        clippedStats(image, np.ones((4, 5), np.float32))
    for wrong in ({"numSigma": 0}, {"numIter": 0}, {"subsample": 0}):
        with pytest.raises(DomainError):
            clippedStats(image, **wrong)
    with pytest.raises(DomainError):
        clippedStats(np.ones((0, 0), np.float32))
    with pytest.raises(DomainError):
        robustSigma(image, subsample=0)


def testIntegerAndBigEndianImages(rng):
    image = rng.integers(0, 60_000, (50, 70)).astype(np.uint16)
    assert clippedStats(image) == clippedStats(image.astype(np.float64)) == clippedStats(image.astype(">f8"))


def testBitIdenticalForAnyNumberOfThreads(rng):
    image = skyImage(rng, (800, 900))
    seen = set()
    for n in (1, 2, 7):
        with stillsky.numThreads(n):
            seen.add((clippedStats(image), robustSigma(image)))
    assert len(seen) == 1
