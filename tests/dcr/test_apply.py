"""Shifts of images by splines, and their adjoints."""

import numpy as np
import pytest
from scipy import ndimage

import stillsky
from stillsky.dcr import applyDcr
from stillsky.dcr.apply import prefilter, splitShifts
from stillsky.errors import DomainError


def testWholePixelShiftsMoveAPointExactly():
    """D8."""
    image = np.zeros((15, 17))
    image[7, 8] = 1
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            wanted = np.zeros_like(image)
            wanted[7 + dy, 8 + dx] = 1
            np.testing.assert_allclose(applyDcr(image, (dy, dx), order=3), wanted, atol=1e-12)


def testHalfPixelShiftOfARampIsZeroOutside():
    """D8: order 1."""
    image = np.array([[1.0, 2, 3, 4, 5, 6]])
    np.testing.assert_allclose(applyDcr(image, (0, 0.5), order=1), [[0, 1.5, 2.5, 3.5, 4.5, 5.5]])
    np.testing.assert_allclose(applyDcr(image, (0, -0.5), order=1), [[1.5, 2.5, 3.5, 4.5, 5.5, 0]])
    np.testing.assert_allclose(applyDcr(image, (0, 0.5), useInverse=True, order=1), [[1.5, 2.5, 3.5, 4.5, 5.5, 0]])


def testCloseSplitPairsBecomeTheirMeanOverWavelengths():
    """D9."""
    pair = ((0.10, 0.04), (0.06, 0.02))
    assert splitShifts(pair, 0.1) == [pytest.approx((0.08, 0.03))]
    assert splitShifts(pair, 0.1, "reference") == [pytest.approx((0.07, 0.04))]
    assert splitShifts(pair, 0.04) == [pytest.approx(p) for p in pair]


@pytest.mark.parametrize("order", [1, 3])
def testInverseShiftIsAdjointInTheInterior(rng, order):
    """D10 (order 1), and the exact adjoint for both orders with pixels up to the border."""
    shift = (0.7, -1.3)
    x, y = rng.normal(size=(2, 40, 50))
    left = np.sum(applyDcr(x, shift, order=order) * y)
    assert left == pytest.approx(np.sum(x * applyDcr(y, shift, order=order, adjoint=True)), rel=1e-11)
    if order == 1:
        inner = np.zeros_like(x)
        inner[3:-3, 3:-3] = 1
        left = np.sum(applyDcr(x * inner, shift, order=1) * y * inner)
        assert left == pytest.approx(np.sum(x * inner * applyDcr(y * inner, shift, useInverse=True, order=1)), rel=1e-6)


@pytest.mark.parametrize("shape", [(7, 9), (1, 5), (2, 3), (3, 2), (40, 1), (1, 1), (70, 50)])
@pytest.mark.parametrize("order", [1, 3])
def testShiftsAgreeWithScipyAndHaveExactAdjointsOnAnyShape(rng, shape, order):
    a, b = rng.normal(size=(2, *shape))
    for shift in [(0.3, -1.2), (2.0, 0.0), (-0.5, 0.5), (0, -3.7), (90, 0)]:
        np.testing.assert_allclose(
            applyDcr(a, shift, order=order), ndimage.shift(a, shift, order=order, mode="constant"), atol=1e-12
        )
        left, right = applyDcr(a, shift, order=order) * b, a * applyDcr(b, shift, order=order, adjoint=True)
        assert np.sum(left) == pytest.approx(np.sum(right), abs=1e-11)


def testHalfPixelShiftsSmoothWhiteNoise():
    """D11."""
    noise = np.random.default_rng(11).normal(size=(900, 900))
    for order, shift, wanted in ((1, 0.5, 0.500), (1, 0.25, 0.625), (3, 0.5, 0.756)):
        shifted = applyDcr(noise, (shift, shift), order=order)[5:-5, 5:-5]
        assert np.std(shifted) == pytest.approx(wanted, rel=0.01)


def testPrefilterIsScipysAndItsAdjointTransposed(rng):
    image, other = rng.normal(size=(2, 33, 21))
    np.testing.assert_allclose(prefilter(image, 3), ndimage.spline_filter(image, 3), atol=1e-12)
    left, right = np.sum(prefilter(image, 3) * other), np.sum(image * prefilter(other, 3, adjoint=True))
    assert left == pytest.approx(right, rel=1e-11)


def testResultsDoNotDependOnThreads(rng):
    image = rng.normal(size=(300, 130)).astype(np.float32)
    wanted = applyDcr(image, (0.3, -0.4), order=3)
    assert wanted.dtype == np.float32
    with stillsky.numThreads(1):
        np.testing.assert_array_equal(applyDcr(image, (0.3, -0.4), order=3), wanted)


def testNanSpreadsNoFurtherThanTheTaps():
    image = np.ones((5, 9))
    image[2, 4] = np.nan
    assert np.isnan(applyDcr(image, (0, 1), order=1)).sum() == 1
    assert np.isnan(applyDcr(image, (0, 0.5), order=1)).sum() == 2


def testImpossibleOrdersAndShiftsAreRefused():
    image = np.zeros((4, 4))
    for order in (0, 2, 4):
        with pytest.raises(DomainError, match="order 1 or 3"):
            applyDcr(image, (0, 0), order=order)
    with pytest.raises(DomainError, match="finite"):
        applyDcr(image, (np.nan, 0), order=1)
    with pytest.raises(DomainError, match="both"):
        applyDcr(image, (0, 0), useInverse=True, adjoint=True)


@pytest.mark.shared
def testReferenceShiftsAreReproduced(sharedDir):
    """Golden dcr_shift: 1e-5 of the peak; the pair below the threshold in the reference's way (D13)."""
    golden = np.load(sharedDir / "golden" / "dcr_shift.npz")
    image = golden["image"]
    peak = image.max()
    for i, shift in enumerate([(0.37, -0.82), (-1.6, 0.25), (2.0, 3.0)]):
        for order in (1, 3):
            for inverse in (False, True):
                wanted = golden[f"shift_{i}_order{order}" + ("_inverse" if inverse else "")]
                got = applyDcr(image, shift, useInverse=inverse, order=order)
                assert np.abs(got - wanted).max() < 1e-5 * peak
    options = {"splitSubfilters": True, "splitThreshold": 0.1}
    got = applyDcr(image, ((0.3, 0.1), (0.9, -0.5)), **options)
    assert np.abs(got - golden["split_applied"]).max() < 1e-5 * peak
    got = applyDcr(image, ((0.30, 0.10), (0.35, 0.12)), **options, model="reference")
    assert np.abs(got - golden["split_below_threshold"]).max() < 1e-5 * peak
    np.testing.assert_allclose(
        applyDcr(image, ((0.30, 0.10), (0.35, 0.12)), **options), applyDcr(image, (0.325, 0.11)), atol=1e-6 * peak
    )
