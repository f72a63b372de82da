import numpy as np
import pytest
from scipy import ndimage

from stillsky import errors, numThreads
from stillsky.detection import findPeaks

SIGMA = 2.0


def slowSignificance(image, variance, good, sigma, nSigma=7.0):
    """The definition: sum(g w I)/sqrt(sum(g^2 w V)) with double precision and zero padding."""
    half = max(1, int(sigma * nSigma + 0.5) // 2)
    g = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    g /= g.sum()
    value = np.where(good, image, 0.0).astype(float)
    var = np.where(good, variance, 0.0).astype(float)
    for axis in (0, 1):
        value = ndimage.correlate1d(value, g, axis=axis, mode="constant")
        var = ndimage.correlate1d(var, g**2, axis=axis, mode="constant")
    return value, np.where(var > 0, value / np.sqrt(np.where(var > 0, var, 1)), 0)


@pytest.fixture
def scene(rng, addStars):
    image = rng.normal(0, 10, (230, 310)).astype(np.float32)
    xs, ys = rng.uniform(0, 310, 40), rng.uniform(0, 230, 40)
    addStars(image, xs, ys, rng.uniform(1000, 20000, 40), SIGMA)
    variance = (100 + 50 * rng.uniform(size=image.shape)).astype(np.float32)
    mask = (rng.uniform(size=image.shape) < 0.02).astype(np.int32) * 8
    image[50, 60] = np.nan
    variance[100, 100:110] = np.inf
    return image, variance, mask


@pytest.mark.parametrize("polarity", ["positive", "negative", "both"])
def test_peaksAreTheLocalMaximaOfTheDefinition(scene, polarity):
    image, variance, mask = scene
    peaks = findPeaks(image, variance, mask, 8, SIGMA, 3.0, polarity=polarity)
    good = (mask & 8 == 0) & np.isfinite(image) & np.isfinite(variance)
    value, s = slowSignificance(image, variance, good, SIGMA)
    wanted = set()
    for sign in {"positive": [1], "negative": [-1], "both": [1, -1]}[polarity]:
        t = sign * s
        top = (t == ndimage.maximum_filter(t, 3, mode="constant", cval=-np.inf)) & (t >= 3) & good
        wanted |= {(x, y) for y, x in zip(*np.nonzero(top), strict=True)}
    assert len(wanted) > 5
    assert {(p.ix, p.iy) for p in peaks} == wanted
    np.testing.assert_allclose(peaks.significance, s[peaks.iy, peaks.ix], rtol=1e-4)
    np.testing.assert_allclose(peaks.value, value[peaks.iy, peaks.ix], rtol=1e-4)
    assert (np.diff(np.abs(peaks.significance)) <= 0).all()


def test_everyBrightStarIsFoundOnce(rng, addStars):
    xs, ys = (v.ravel() + 20.0 for v in np.meshgrid(np.arange(10) * 30, np.arange(8) * 30))
    xs, ys = xs + rng.uniform(-0.5, 0.5, 80), ys + rng.uniform(-0.5, 0.5, 80)
    image = rng.normal(0, 1, (250, 310)).astype(np.float32)
    addStars(image, xs, ys, np.full(80, 2000.0), SIGMA)
    peaks = findPeaks(image, 1.0, None, 0, SIGMA, 20)
    assert len(peaks) == 80
    distance = np.hypot(peaks.x[:, None] - xs, peaks.y[:, None] - ys).min(axis=1)
    assert distance.max() < 0.1
    # Matched filter of a Gaussian: flux over sqrt(4 pi sigma^2) for unit variance.
    assert np.median(peaks.significance) == pytest.approx(2000 / np.sqrt(4 * np.pi) / SIGMA, rel=0.02)


def test_falsePositivesAreThoseOfTheNoise(rng):
    image = rng.normal(0, 3, (1000, 1000)).astype(np.float32)
    assert len(findPeaks(image, 9.0, None, 0, SIGMA, 5.0, polarity="both")) <= 3
    assert len(findPeaks(image, 9.0, None, 0, SIGMA, 3.0)) > 50


def test_plateauGivesOnePeak():
    image = np.zeros((40, 40), np.float32)
    image[20, 19:21] = 50  # symmetric pair: two equal maxima of the smoothed image
    peaks = findPeaks(image, 1.0, None, 0, 1.5, 3)
    assert len(peaks) == 1
    assert (peaks.x[0], peaks.y[0]) == (pytest.approx(19.5, abs=1e-6), pytest.approx(20, abs=1e-6))


def test_borderAndMaximumNumber(scene):
    image, variance, mask = scene
    everything = findPeaks(image, variance, mask, 8, SIGMA, 3)
    inner = findPeaks(image, variance, mask, 8, SIGMA, 3, border=25)
    keep = (everything.ix >= 25) & (everything.ix < 285) & (everything.iy >= 25) & (everything.iy < 205)
    assert inner.tobytes() == everything[keep].tobytes()
    assert findPeaks(image, variance, mask, 8, SIGMA, 3, maxPeaks=7).tobytes() == everything[:7].tobytes()


def test_threadsDtypesAndLayoutsDoNotChangeTheResult(scene):
    image, variance, mask = scene
    with numThreads(1):
        one = findPeaks(image, variance, mask, 8, SIGMA, 3)
    with numThreads(4):
        four = findPeaks(image, variance, mask, 8, SIGMA, 3)
    assert one.tobytes() == four.tobytes()
    for other in (image.astype(float), image.astype(">f4"), np.asfortranarray(image), image[:, ::-1][:, ::-1]):
        assert findPeaks(other, variance, mask, 8, SIGMA, 3).tobytes() == one.tobytes()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 1), (1, 200), (3, 2)])
def test_tinyImages(shape):
    peaks = findPeaks(np.ones(shape, np.float32), None, None, 0, SIGMA, 0.1)
    assert len(peaks) == (1 if 0 not in shape else 0)


def test_nothingGoodGivesNoPeaks():
    image = np.full((20, 20), 100, np.float32)
    assert len(findPeaks(image, 1.0, np.ones((20, 20), np.int32), 1, SIGMA, 1)) == 0
    assert len(findPeaks(image * np.nan, 1.0, None, 0, SIGMA, 1)) == 0
    assert len(findPeaks(image, 0.0, None, 0, SIGMA, 1)) == 0


def test_badArgumentsAreRefused():
    image = np.zeros((10, 10), np.float32)
    for bad in ({"sigmaPsf": 0}, {"sigmaPsf": np.nan}, {"threshold": -1}, {"polarity": "up"}, {"border": -1}):
        with pytest.raises(errors.DomainError):
            findPeaks(image, **bad)
    with pytest.raises(errors.ShapeError):
        findPeaks(image, np.ones((3, 3)))
    with pytest.raises(errors.ShapeError):
        findPeaks(np.zeros(10))
    with pytest.raises(TypeError):
        findPeaks(np.zeros((3, 3), complex))
