"""Masked images (core data model, section 7, 7.2: what arithmetic does at the limits)."""

import copy

import numpy as np
import pytest

from stillsky.errors import MaskSchemaError, ShapeError
from stillsky.geom import Box2I
from stillsky.image import Image, MaskedImage

BOX = Box2I((3, -4), (5, 4))


def masked(image, variance, mask=0, box=BOX):
    result = MaskedImage.zeros(box)
    result.set((image, mask, variance))
    return result


def check(result, image, variance, mask=0x1E):
    np.testing.assert_allclose(result.image.array, np.full((4, 5), image), rtol=1e-6)
    np.testing.assert_allclose(result.variance.array, np.full((4, 5), variance), rtol=1e-6)
    assert np.all(result.mask.array == mask)


def testAgainstDoublePrecision(rng):
    shape = (4, 5)
    l, r = rng.normal(50, 20, shape), rng.normal(-30, 10, shape)
    vl, vr = rng.uniform(1, 9, shape), rng.uniform(1, 9, shape)

    def build(image, variance):
        return MaskedImage(
            *(Image(a.astype(np.float32)) if i != 1 else None for i, a in enumerate((image, None, variance)))
        )

    for name, image, variance in [
        ("scaledMultiplies", l * 0.3 * r, 0.09 * (l**2 * vr + r**2 * vl)),
        ("scaledDivides", l / (0.3 * r), (l**2 * vr + r**2 * vl) / (0.09 * r**4)),
    ]:
        a = build(l, vl)
        getattr(a, name)(0.3, build(r, vr))
        np.testing.assert_allclose(a.image.array, image, rtol=2e-6)
        np.testing.assert_allclose(a.variance.array, variance, rtol=4e-6)


def testDivisionOfLargeNumbersDoesNotOverflow():
    """r^4 alone would leave single precision."""
    a = masked(1e12, 1e20, box=BOX)
    a /= masked(2e12, 4e20)
    check(a, 0.5, (1e24 * 4e20 + 4e24 * 1e20) / 16e48, 0)


def testDivisionByZeroFollowsIeee():
    a = masked(1, 1)
    a /= masked(0, 1)
    assert np.all(np.isinf(a.image.array)) and np.all(np.isinf(a.variance.array)) and not a.mask.array.any()
    b = masked(0, 1)
    b /= masked(0, 1)
    assert np.all(np.isnan(b.image.array)) and np.all(np.isnan(b.variance.array))


def testOperandMayBeTheImageItself():
    a = masked(3, 2)
    a *= a
    check(a, 9, 36, 0)
    a += a
    check(a, 18, 72, 0)


def testOperandsMustFit():
    a = masked(1, 1)
    with pytest.raises(ShapeError):
        a += masked(1, 1, box=BOX.shifted((1, 0)))
    a.scaledPlus(1, masked(1, 1, box=BOX.shifted((1, 0))), ignoreXY0=True)
    check(a, 2, 2, 0)
    with pytest.raises(ShapeError):
        a *= masked(1, 1, box=Box2I((3, -4), (4, 4)))
    other = masked(1, 1)
    other.mask.schema = {"FOO": 1}
    before = a.copy()
    with pytest.raises(MaskSchemaError):
        a += other
    assert a == before


def testShallowAndDeepCopies():
    a = masked(1, 2)
    for shallow in (MaskedImage(a), copy.copy(a)):
        assert shallow.overlapsMemory(a)
    for deep in (a.copy(), copy.deepcopy(a)):
        assert deep == a and not deep.overlapsMemory(a)
    left, right = a[Box2I((3, -4), (2, 4))], a[Box2I((5, -4), (3, 4))]
    assert a.overlapsMemory(left) and not left.overlapsMemory(right)
