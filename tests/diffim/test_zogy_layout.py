import numpy as np
import pytest

from stillsky.diffim.zogy_layout import generateGrid, padCenterOriginArray, splitBorder
from stillsky.errors import DomainError, ShapeError
from stillsky.geom import Box2I


@pytest.mark.parametrize("shape", [(5, 7), (6, 8), (5, 8), (1, 1)])
@pytest.mark.parametrize("newShape", [(16, 16), (17, 12), (9, 8)])
def test_padCenterOriginArrayRoundTrip(rng, shape, newShape):
    array = rng.normal(size=shape)
    padded = padCenterOriginArray(array, newShape)
    assert padded.shape == newShape and padded[0, 0] == array[shape[0] // 2, shape[1] // 2]
    assert padded.sum() == pytest.approx(array.sum())
    np.testing.assert_array_equal(padCenterOriginArray(padded, shape, useInverse=True), array)


@pytest.mark.parametrize("n", [5, 6])
def test_deltaAtTheCentrePixelComesToTheOrigin(n):
    delta = np.zeros((n, n))
    delta[n // 2, n // 2] = 1
    padded = padCenterOriginArray(delta, (12, 15))
    assert padded[0, 0] == 1 and np.count_nonzero(padded) == 1


def test_padCenterOriginArrayRefusesWrongShapes():
    with pytest.raises(ValueError, match="greater or equal"):
        padCenterOriginArray(np.ones((5, 5)), (4, 8))
    with pytest.raises(ValueError, match="smaller or equal"):
        padCenterOriginArray(np.ones((5, 5)), (8, 4), useInverse=True)
    with pytest.raises(ShapeError):
        padCenterOriginArray(np.ones(5), (8,))


def test_transformOfAUnitSumKernelIsOneAtZeroFrequency(rng):
    kernel = rng.uniform(size=(9, 8))
    kernel /= kernel.sum()
    assert np.fft.rfft2(padCenterOriginArray(kernel, (32, 30)))[0, 0] == pytest.approx(1, abs=1e-14)


def test_splitBorderCoversTheBorderOnce():
    inner, outer = Box2I((3, 5), (10, 7)), Box2I((0, 1), (20, 12))
    boxes = splitBorder(inner, outer)
    assert len(boxes) == 8
    count = np.zeros((12, 20), int)
    for box in [*boxes, inner]:
        count[box.slices((0, 1))] += 1
    assert (count == 1).all()
    assert boxes[0].min == outer.min and boxes[4].max == outer.max  # counter-clockwise from the lower left


@pytest.mark.parametrize("outer", [Box2I((3, 1), (20, 12)), Box2I((0, 1), (13, 12)), Box2I((0, 5), (20, 12)),
                                   Box2I((0, 1), (20, 11))])  # fmt: skip
def test_splitBorderNeedsAPixelOnEverySide(outer):
    with pytest.raises(ValueError):
        splitBorder(Box2I((3, 5), (10, 7)), outer)


@pytest.mark.parametrize("powerOfTwo", [False, True])
@pytest.mark.parametrize("size", [(101, 57), (64, 64), (20, 300)])
def test_generateGridTilesTheImageOnce(size, powerOfTwo):
    image = Box2I((-7, 12), size)
    inner, outer = generateGrid(image, (5, 6), (31, 20), minTotalDims=(48, 10), powerOfTwo=powerOfTwo)
    count = np.zeros(image.shape, int)
    for a, b in zip(inner, outer, strict=True):
        count[a.slices(image.min)] += 1
        assert b.width >= max(a.width + 10, 48) and b.height >= a.height + 12
        assert b.width % 2 == 0 and b.height % 2 == 0
        before, after = a.minX - b.minX, b.maxX - a.maxX
        assert before >= 5 and after >= 5 and before == (b.width - a.width) // 2
        if powerOfTwo:
            assert {b.width, b.height} <= {16 * 2**k for k in range(10)}
    assert (count == 1).all()
    assert [a.minY for a in inner] == sorted(a.minY for a in inner)


def test_generateGridLeavesHugeCellsUnrounded():
    inner, outer = generateGrid(Box2I((0, 0), (8193, 100)), (0, 0), (8193, 100), powerOfTwo=True)
    assert len(inner) == 1 and (outer[0].width, outer[0].height) == (8194, 128)  # even, not a power of two


def test_generateGridRefusesEmptyCells():
    with pytest.raises(DomainError):
        generateGrid(Box2I((0, 0), (10, 10)), (1, 1), (0, 5))
