"""The compiled loops of the reducer beside obvious loops over pixels: values, masks, counts, of every type."""

import numpy as np
import pytest

from stillsky import _core

SHAPE = (37, 53)


def patchOf(rng, dtype):
    """Random pixels with NaN in image or variance, an infinite value of variance 0, random masks."""
    image = rng.normal(10, 3, SHAPE).astype(dtype)
    variance = rng.uniform(1, 2, SHAPE).astype(np.float32)
    image[rng.random(SHAPE) < 0.1] = np.nan
    variance[rng.random(SHAPE) < 0.1] = np.nan
    image[3, 4], variance[3, 4] = np.inf, 0
    return image, rng.integers(0, 8, SHAPE).astype(np.int32), variance


def isValid(value, noise, reference):
    return not np.isnan(np.float64(value) * noise) if reference else not (np.isnan(value) or np.isnan(noise))


def merged(old, bits, replaces, adds, reference):
    if reference:
        return old | bits
    return (0 if replaces else old) | (bits if adds else 0)


@pytest.fixture
def planes(rng):
    """Mask and counts as earlier patches left them."""
    return rng.integers(8, 32, SHAPE).astype(np.int32), rng.integers(0, 3, SHAPE).astype(np.uint16)


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("source", [np.float32, np.float64])
@pytest.mark.parametrize("target", [np.float32, np.float64])
def test_valuesAreWrittenWhereTheyAreValid(rng, planes, target, source, reference):
    mask, count = planes
    image, variance = np.full(SHAPE, -1, target), np.full(SHAPE, -2, np.float32)
    patch = patchOf(rng, source)
    wanted = [p.copy() for p in (image, mask, variance, count)]
    n = 0
    with np.errstate(invalid="ignore"):
        for at in np.ndindex(SHAPE):
            ok, first = isValid(patch[0][at], patch[2][at], reference), count[at] == 0
            wanted[1][at] = merged(mask[at], patch[1][at], ok and first, ok or first, reference)
            if ok:
                wanted[0][at], wanted[2][at] = patch[0][at], patch[2][at]
                wanted[3][at] += 1
                n += 1
    found = _core.stitchWrite(image, mask, variance, count, *patch, reference)
    assert found == (n, False)
    for got, expected in zip((image, mask, variance, count), wanted):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("weighted", "squared", "reference"), [(False, False, False), (False, False, True),
                                                                (True, False, False), (True, True, False)])  # fmt: skip
@pytest.mark.parametrize("source", [np.float32, np.float64])
def test_sumsAreThoseOfValidPixels(rng, planes, source, weighted, squared, reference):
    mask, count = planes
    sums = [rng.normal(size=SHAPE) for _ in range(3)]
    weight = rng.uniform(0.5, 2, SHAPE)
    patch = patchOf(rng, source)
    wanted = [p.copy() for p in (*sums, mask, count)]
    with np.errstate(invalid="ignore"):
        for at in np.ndindex(SHAPE):
            ok, first = isValid(patch[0][at], patch[2][at], reference), count[at] == 0
            wanted[3][at] = merged(mask[at], patch[1][at], ok and first, ok or first, reference)
            if ok:
                w = weight[at] if weighted else 1.0
                wanted[0][at] += w * np.float64(patch[0][at])
                wanted[1][at] += (w * w if squared else w) * np.float64(patch[2][at])
                wanted[2][at] += w
                wanted[4][at] += 1
    total, weights = (sums[2], weight) if weighted else (None, None)
    before = sums[2].copy()
    _core.stitchAdd(sums[0], sums[1], total, mask, count, *patch, weights, squared, reference)
    if not weighted:
        np.testing.assert_array_equal(sums[2], before)
        wanted[2] = before
    for got, expected in zip((*sums, mask, count), wanted):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("marks", [np.uint16, np.uint32])
def test_theLatestValidPatchIsCopied(rng, planes, marks, reference):
    mask, writer = planes[0], planes[1].astype(marks)
    image, variance = rng.normal(size=SHAPE).astype(np.float32), rng.uniform(size=SHAPE).astype(np.float32)
    patch = patchOf(rng, np.float32)
    wanted = [p.copy() for p in (image, mask, variance, writer)]
    with np.errstate(invalid="ignore"):
        for at in np.ndindex(SHAPE):
            ok = isValid(patch[0][at], patch[2][at], reference)
            take = ok and writer[at] < 2
            adds = take or (not ok and writer[at] == 0)
            wanted[1][at] = merged(mask[at], patch[1][at], take, adds, reference)
            if take:
                wanted[0][at], wanted[2][at], wanted[3][at] = patch[0][at], patch[2][at], 2
    _core.stitchCopy(image, mask, variance, writer, *patch, 2, reference)
    for got, expected in zip((image, mask, variance, writer), wanted):
        np.testing.assert_array_equal(got, expected)


def test_rowsAreSettledAndFinished(rng, planes):
    mask, count = planes
    image, variance = np.full(SHAPE, 7, np.float32), np.full(SHAPE, 7, np.float32)
    sums, weight = rng.normal(size=(2, *SHAPE)), rng.uniform(0.5, 2, SHAPE)
    some = count > 0
    _core.stitchSettle(image, variance, *sums, weight, count, True, True)
    np.testing.assert_array_equal(image, np.where(some, (sums[0] / weight).astype(np.float32), np.float32(7)))
    np.testing.assert_array_equal(variance, np.where(some, (sums[1] / weight**2).astype(np.float32), np.float32(7)))
    _core.stitchSettle(image, variance, *sums, None, count, False, False)
    np.testing.assert_array_equal(image[some], sums[0].astype(np.float32)[some])
    before = mask.copy()
    found = _core.stitchFinish(image, mask, variance, count, 64, True, False)
    assert found == (count.max(), count.min(), count.sum(), np.count_nonzero(~some))
    np.testing.assert_array_equal(np.isnan(image), ~some)
    np.testing.assert_array_equal(mask, np.where(some, before, before | 64))


def test_countsThatDoNotFitAreReported(rng):
    patch = patchOf(rng, np.float32)
    count = np.full(SHAPE, 65535, np.uint16)
    out = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.float32), count
    assert _core.stitchWrite(*out, *patch, False)[1]


def test_viewsOfDifferentSizesAreRefused(rng):
    image, mask, variance = patchOf(rng, np.float32)
    count = np.zeros(SHAPE, np.uint16)
    with pytest.raises(ValueError, match="one size"):
        _core.stitchWrite(image, mask, variance, count, image[1:], mask[1:], variance[1:], False)
