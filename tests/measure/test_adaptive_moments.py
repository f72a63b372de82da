import numpy as np
import pytest

from stillsky import errors, numThreads
from stillsky.measure import MomentsFlag, adaptiveMoments

SIGMA = 2.0


def ellipse(shape, x, y, xx, yy, xy, flux):
    """A Gaussian with the given second moments, sampled at pixel centres."""
    py, px = np.mgrid[: shape[0], : shape[1]]
    inverse = np.linalg.inv([[xx, xy], [xy, yy]])
    dx, dy = px - x, py - y
    q = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    return (flux / (2 * np.pi * np.sqrt(xx * yy - xy**2)) * np.exp(-q / 2)).astype(np.float32)


def test_ellipticalGaussianIsRecovered():
    image = ellipse((60, 70), 33.3, 28.7, 6.0, 3.5, 1.2, 5000.0)
    m = adaptiveMoments(image, None, None, [33], [29])[0]
    assert m["flagBits"] == 0
    np.testing.assert_allclose([m["x"], m["y"]], [33.3, 28.7], atol=1e-4)
    np.testing.assert_allclose([m["xx"], m["yy"], m["xy"]], [6.0, 3.5, 1.2], atol=5e-4)
    assert m["flux"] == pytest.approx(5000, rel=1e-4)


@pytest.mark.parametrize("guess", [0.7, 1.5, 4.0, 8.0])
def test_resultDoesNotDependOnTheFirstGuess(guess):
    image = ellipse((60, 70), 33.3, 28.7, 6.0, 3.5, 1.2, 5000.0)
    m = adaptiveMoments(image, None, None, [33], [29], guess)[0]
    np.testing.assert_allclose([m["xx"], m["yy"], m["xy"]], [6.0, 3.5, 1.2], atol=5e-4)


def test_maskedAndNonFinitePixelsDoNotBias():
    image = ellipse((60, 70), 33.3, 28.7, 6.0, 3.5, 1.2, 5000.0)
    variance = np.ones_like(image)
    mask = np.zeros(image.shape, np.int32)
    image[29, 35], mask[29, 35] = 1e6, 4
    image[27, 32] = np.nan
    variance[30, 33] = np.inf
    image[30, 33] = -1e5
    m = adaptiveMoments(image, variance, mask, [33], [29], badBits=4)[0]
    assert m["flagBits"] == MomentsFlag.MASKED
    np.testing.assert_allclose([m["x"], m["y"]], [33.3, 28.7], atol=1e-3)
    np.testing.assert_allclose([m["xx"], m["yy"], m["xy"]], [6.0, 3.5, 1.2], atol=5e-3)
    assert m["flux"] == pytest.approx(5000, rel=1e-3)


def test_starOnTheEdgeIsFlaggedAndUnbiased():
    image = ellipse((60, 70), 1.2, 28.7, 4.0, 4.0, 0.0, 5000.0)
    m = adaptiveMoments(image, None, None, [1], [29])[0]
    assert m["flagBits"] == MomentsFlag.EDGE
    np.testing.assert_allclose([m["x"], m["xx"], m["flux"] / 5000], [1.2, 4.0, 1.0], atol=5e-3)


def test_errorsMatchTheScatter(rng, addStars):
    n = 400
    xs, ys = (v.ravel() for v in np.meshgrid(np.arange(20) * 40 + 20.0, np.arange(20) * 40 + 20.0))
    xs, ys = xs + rng.uniform(-0.5, 0.5, n), ys + rng.uniform(-0.5, 0.5, n)
    image = rng.normal(0, 10, (800, 800)).astype(np.float32)
    addStars(image, xs, ys, np.full(n, 5000.0), SIGMA)
    m = adaptiveMoments(image, np.full_like(image, 100), None, np.round(xs), np.round(ys), SIGMA)
    assert (m.flagBits == 0).all()
    truths = [("x", xs), ("y", ys), ("xx", SIGMA**2), ("yy", SIGMA**2), ("xy", 0), ("flux", 5000)]
    for name, truth in truths:
        pull = (m[name] - truth) / m[name + "Err"]
        assert abs(pull.mean()) < 0.25, name  # noise bias at S/N 70 is below a quarter of the error
        assert 0.88 < pull.std() < 1.12, name


def test_failuresAreFlagsNotExceptions(rng):
    image = rng.normal(0, 1, (50, 50)).astype(np.float32)
    image[:20] = -5
    m = adaptiveMoments(image, None, None, [-3, np.nan, 25, 1e9], [10, 10, 8, 10])
    assert (m.flagBits & MomentsFlag.FAILED != 0).all()
    assert (m.flagBits[[0, 1, 3]] & MomentsFlag.OFF_IMAGE != 0).all()
    assert m.flagBits[2] & MomentsFlag.NOT_POSITIVE
    assert np.isnan(m.flux).all()
    allMasked = adaptiveMoments(image, None, np.ones((50, 50), bool), [25], [25], badBits=1)
    assert allMasked.flagBits[0] & MomentsFlag.NO_GOOD_PIXELS


def test_singleHotPixelIsUnresolved():
    image = np.zeros((30, 30), np.float32)
    image[15, 14] = 1000
    m = adaptiveMoments(image, None, None, [14], [15])[0]
    assert m["flagBits"] == MomentsFlag.UNRESOLVED
    assert m["xx"] <= 0.07


def test_negativeSources():
    image = -ellipse((60, 70), 33.3, 28.7, 6.0, 3.5, 1.2, 5000.0)
    m = adaptiveMoments(image, None, None, [33], [29], negative=True)[0]
    assert m["flagBits"] == 0
    np.testing.assert_allclose([m["xx"], m["yy"], m["xy"]], [6.0, 3.5, 1.2], atol=5e-4)
    assert m["flux"] == pytest.approx(-5000, rel=1e-4)


def test_threadsAndDtypeDoNotChangeTheResult(rng, addStars):
    image = rng.normal(0, 10, (300, 300)).astype(np.float32)
    xs, ys = rng.uniform(20, 280, (2, 100))
    addStars(image, xs, ys, np.full(100, 8000.0), SIGMA)
    with numThreads(1):
        one = adaptiveMoments(image, None, None, xs, ys)
    with numThreads(4):
        four = adaptiveMoments(image, None, None, xs, ys)
    assert one.tobytes() == four.tobytes()
    double = adaptiveMoments(image.astype(">f8"), None, None, xs, ys)
    assert double.tobytes() == one.tobytes()


def test_badArgumentsAreRefused():
    image = np.zeros((10, 10), np.float32)
    with pytest.raises(errors.ShapeError):
        adaptiveMoments(image, np.ones((9, 10)), None, [1], [1])
    with pytest.raises(errors.ShapeError):
        adaptiveMoments(image, None, None, [1, 2], [1])
    with pytest.raises(errors.DomainError):
        adaptiveMoments(image, None, None, [1], [1], guessSigma=0)
    with pytest.raises(TypeError):
        adaptiveMoments(image, None, np.zeros((10, 10)), [1], [1])
    assert len(adaptiveMoments(image, None, None, [], [])) == 0
