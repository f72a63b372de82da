"""The compiled passes over a flat pair, against the obvious NumPy."""

import math

import numpy as np
import pytest

from stillsky import _core, numThreads
from stillsky.errors import ShapeError


def scene(dtype, shape=(37, 53), strided=False):
    rng = np.random.default_rng(9)
    grid = (shape[0], 2 * shape[1]) if strided else shape
    first, second = (rng.uniform(100, 200, grid).astype(dtype)[:, : shape[1]] for _ in range(2))
    mask = rng.integers(0, 8, grid).astype(np.int32)[:, : shape[1]]
    first[3, 4], second[5, 6], first[7, 8] = np.nan, np.inf, -np.inf
    return first, second, mask, rng.random(shape) < 0.8


KINDS = [(np.float32, False), (np.float32, True), (np.float64, False)]


@pytest.mark.parametrize("dtype, strided", KINDS)
@pytest.mark.parametrize("bits", [0, 1, 6])
def test_usablePixels(dtype, strided, bits):
    image, _, mask, _ = scene(dtype, strided=strided)
    out = np.empty(image.shape, np.uint8)
    want = np.isfinite(image) & (mask & bits == 0)
    assert _core.usablePixels(image, mask, bits, out) == want.sum()
    assert np.array_equal(out.view(bool), want)
    assert _core.usablePixels(image, None, bits, out) == np.isfinite(image).sum()
    assert np.array_equal(out.view(bool), np.isfinite(image))


def test_usablePixels_theLargestNumbersAreFinite():
    image = np.array([[np.finfo(np.float32).max, -np.finfo(np.float32).max, 0.0, np.inf]], np.float32)
    out = np.empty(image.shape, np.uint8)
    _core.usablePixels(image, None, 0, out)
    assert out.tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("dtype, strided", KINDS)
def test_flatPairRatio(dtype, strided):
    first, second, _, use = scene(dtype, strided=strided)
    use &= np.isfinite(first) & np.isfinite(second)
    a, b = 1.01 * first[use].astype(float), 0.99 * second[use].astype(float)
    want = np.mean((a - b) ** 2 / (a + b))
    found = _core.flatPairRatio(first, second, use.view(np.uint8), 1.01, 0.99)
    assert found == pytest.approx(want, rel=1e-13)
    with numThreads(3):
        assert _core.flatPairRatio(first, second, use.view(np.uint8), 1.01, 0.99) == found


def test_flatPairRatio_withoutPixelsOrWithZeroSums():
    zero = np.zeros((4, 5), np.float32)
    assert math.isnan(_core.flatPairRatio(zero, zero, np.zeros((4, 5), np.uint8), 1.0, 1.0))
    assert math.isnan(_core.flatPairRatio(zero, zero, np.ones((4, 5), np.uint8), 1.0, 1.0))


def test_rowMeans():
    image, _, _, use = scene(np.float64)
    use &= np.isfinite(image)
    use[11] = False
    found = _core.rowMeans(image, use.view(np.uint8))
    want = [row[u].mean() if u.any() else np.nan for row, u in zip(image, use)]
    assert found == pytest.approx(np.array(want), rel=1e-13, nan_ok=True)
    assert np.isnan(found).nonzero()[0].tolist() == [11]


def test_sizesThatDiffer():
    image, weight = np.zeros((4, 5), np.float32), np.zeros((5, 4), np.uint8)
    with pytest.raises(ShapeError, match="out"):
        _core.usablePixels(image, None, 0, weight)
    with pytest.raises(ShapeError, match="weight"):
        _core.flatPairRatio(image, image, weight, 1.0, 1.0)
    with pytest.raises(ShapeError, match="weight"):
        _core.rowMeans(image.astype(float), weight)
