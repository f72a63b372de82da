"""MaskedImage: three planes and their arithmetic."""

import numpy as np
import pytest

from stillsky.errors import MaskSchemaError, ShapeError
from stillsky.geom import Box2I
from stillsky.image import Exposure, Image, Mask, MaskedImage

LEFT, RIGHT = (100.0, 0x12, 10.0), (200.0, 0x0C, 15.0)


def flat(values, xy0=(3, 4), dtype=np.float32):
    m = MaskedImage.zeros(Box2I(xy0, (6, 5)), dtype)
    m.set(values)
    return m


def _check(m, image, variance, mask):
    np.testing.assert_allclose(m.image.array, image, rtol=1e-6)
    np.testing.assert_allclose(m.variance.array, variance, rtol=1e-6)
    assert np.all(m.mask.array == mask)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "operation, image, variance",
    [
        (lambda l, r: l.__iadd__(r), 300, 25),
        (lambda l, r: l.__isub__(r), -100, 25),
        (lambda l, r: l.__imul__(r), 20000, 550000),
        (lambda l, r: l.__itruediv__(r), 0.5, 3.4375e-4),
        (lambda l, r: l.scaledPlus(0.5, r), 200, 13.75),
        (lambda l, r: l.scaledMinus(0.5, r), 0, 13.75),
        (lambda l, r: l.scaledMultiplies(0.5, r), 10000, 137500),
        (lambda l, r: l.scaledDivides(0.5, r), 1, 1.375e-3),
    ],
)
def test_arithmetic_of_two_masked_images(operation, image, variance, dtype):
    left, right = flat(LEFT, dtype=dtype), flat(RIGHT)
    operation(left, right)
    _check(left, image, variance, 0x1E)
    _check(right, 200, 15, 0x0C)


def test_arithmetic_with_a_number():
    m = flat((900, 1, 1000))
    m *= 2
    _check(m, 1800, 4000, 1)
    m = flat((900, 1, 1000))
    m /= 2
    _check(m, 450, 250, 1)
    m += 3
    m -= 1
    _check(m, 452, 250, 1)


def test_arithmetic_with_a_plain_image():
    other = Image(np.full((5, 6), 4, np.float32), (3, 4))
    m = flat((900, 1, 1000))
    m += other
    _check(m, 904, 1000, 1)
    m -= other
    m *= other
    _check(m, 3600, 16000, 1)
    m /= other
    _check(m, 900, 1000, 1)


def test_arithmetic_with_a_function():
    m = flat((0, 1, 7))
    m += lambda x, y: x + 100 * y
    assert m[5, 6] == (605, 1, 7)
    m -= lambda x, y: x + 100 * y
    _check(m, 0, 7, 1)


def test_division_by_zero_follows_ieee():
    m, zero = flat((1, 0, 1)), flat((0, 0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        m /= zero
    assert np.all(np.isinf(m.image.array)) and not np.any(np.isfinite(m.variance.array)) and not m.mask.array.any()


def test_nothing_changes_when_masked_images_do_not_fit():
    m = flat(LEFT)
    with pytest.raises(ShapeError):
        m += flat(RIGHT, xy0=(0, 0))
    other = flat(RIGHT)
    other.mask.addPlane("SPIKE")
    for operation in (m.__iadd__, m.__imul__, m.__itruediv__):
        with pytest.raises(MaskSchemaError):
            operation(other)
    _check(m, 100, 10, 0x12)
    with pytest.raises(TypeError):
        m + m


def test_a_masked_image_may_be_combined_with_itself():
    m = flat((3, 1, 2))
    m *= m
    _check(m, 9, 36, 1)


def test_planes_are_changed_through_properties():
    m = flat(LEFT)
    image, variance, mask = m.image.array, m.variance.array, m.mask.array
    m.image -= 1
    m.variance *= 2
    m.mask |= 1
    assert m.image.array is image and m.variance.array is variance and m.mask.array is mask
    _check(m, 99, 20, 0x13)
    m.image = Image(np.zeros((5, 6), np.float32))
    m.mask = 8
    assert m.image.array is image
    _check(m, 0, 20, 8)


def test_missing_planes_are_zero_at_the_place_of_the_image():
    m = MaskedImage(Image(np.ones((3, 4), np.float32), (10, 20)))
    for plane in m.planes:
        assert plane.xy0 == (10, 20) and plane.dimensions == (4, 3)
    assert not m.mask.array.any() and not m.variance.array.any() and m.variance.dtype == np.float32
    m.xy0 = (1, 2)
    assert all(plane.xy0 == (1, 2) for plane in m.planes)


def test_planes_must_fit():
    image = Image(np.zeros((3, 4), np.float32), (10, 20))
    with pytest.raises(ShapeError):
        MaskedImage(image, mask=Mask(np.zeros((4, 3), np.int32), (10, 20)))
    with pytest.raises(ShapeError):
        MaskedImage(image, variance=np.zeros((3, 5)))
    with pytest.raises(ShapeError):
        MaskedImage(image, mask=Mask(np.zeros((3, 4), np.int32)))


def test_views_share_and_copies_do_not():
    m = flat(LEFT)
    shallow, deep, part = MaskedImage(m), m.copy(), m[4:6, 5:7]
    assert shallow.overlapsMemory(m) and part.overlapsMemory(m) and not deep.overlapsMemory(m)
    assert not m[3:5, 4:9].overlapsMemory(m[5:9, 4:9])
    part.set((1, 2, 3))
    assert m[4, 5] == shallow[4, 5] == (1, 2, 3) and deep[4, 5] == LEFT and part.bbox == Box2I((4, 5), (2, 2))
    assert m.pixel(x=5, y=6) == (1, 2, 3)


def test_assigning_parts():
    m, part = flat(LEFT), flat(RIGHT, xy0=(50, 50))[50:52, 50:53]
    m.assign(part, Box2I((3, 4), (2, 3)))
    m[6:8, 4:7] = part
    m[8, 8] = (7, 8, 9)
    assert m[4, 6] == m[7, 6] == RIGHT and m[5, 4] == LEFT and m[8, 8] == (7, 8, 9)
    with pytest.raises(ShapeError):
        m[6:8, 4:8] = part
    with pytest.raises(ShapeError):
        m[Box2I((0, 0), (4, 4))]


def test_convert_and_empty_like():
    m = flat(LEFT)
    double = m.convert(np.float64)
    assert double.image.dtype == np.float64 and double.variance.dtype == np.float32 and not double.overlapsMemory(m)
    like = m.emptyLike()
    assert like.bbox == m.bbox and like.mask.schema == m.mask.schema and not like.overlapsMemory(m)


def test_filledReplacesMaskedAndNonFinitePixelsOfACopy():
    """26 G9 of the specification of image differences."""
    pixels = np.array([[1.0, np.nan, 3.0], [np.inf, 5.0, 6.0]], np.float32)
    image = Image(pixels.copy(), (7, 8))
    np.testing.assert_array_equal(image.filled(-1).array, [[1, -1, 3], [-1, 5, 6]])
    assert image.filled(-1).xy0 == image.xy0
    made = MaskedImage(image)
    made.mask.array[0, 2] |= 1 << made.mask.bit("SAT")
    made.mask.array[1, 2] |= 1 << made.mask.bit("DETECTED")
    for filled in (made.filled(0), Exposure(made).filled(0)):
        np.testing.assert_array_equal(filled.image.array, [[1, 0, 0], [0, 5, 6]])
        np.testing.assert_array_equal(filled.mask.array, made.mask.array)
    np.testing.assert_array_equal(made.filled(9, planes=["DETECTED"]).image.array, [[1, 9, 3], [9, 5, 9]])
    np.testing.assert_array_equal(made.image.array, pixels)
