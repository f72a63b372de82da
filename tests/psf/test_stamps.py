"""Many PSF images at once: shifts, mixtures and moments of stacks of stamps, beside the obvious way and one by one."""

import sys
from pathlib import Path

import numpy as np
import pytest

import stillsky
from stillsky import _core
from stillsky.geom import AffineTransform, Box2I
from stillsky.kernel import FixedKernel, LinearCombinationKernel, PolynomialFunction2
from stillsky.psf import (
    DoubleGaussianPsf,
    GaussianPsf,
    ImageGridPsf,
    KernelPsf,
    PcaPsf,
    SingleGaussianPsf,
    WarpedPsf,
    adaptiveImageMoments,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))

import stamp_reference  # noqa: E402


def ellipse(size, xx, yy, xy, dx=0.0, dy=0.0):
    y, x = np.mgrid[:size, :size] - float(size // 2)
    x, y = x - dx, y - dy
    det = xx * yy - xy**2
    image = np.exp(-0.5 * (yy * x**2 - 2 * xy * x * y + xx * y**2) / det)
    return image / image.sum()


def psfs():
    grid = np.array([[ellipse(25, 3 + i, 4 - 0.3 * j, 0.5 * (i - j)) for i in range(3)] for j in range(4)])
    basis = np.array([ellipse(21, 4, 4, 0), ellipse(21, 5, 4, 0.5) - ellipse(21, 4, 4, 0)])
    pca = PcaPsf(basis, [[1, 0, 0], [0.4, 0.3, -0.2]], Box2I((0, 0), (300, 200)))
    gridPsf = ImageGridPsf(grid, [0, 100, 300], [0, 20, 50, 200])
    return [
        gridPsf,
        ImageGridPsf(grid[:1, :1], [5.0], [6.0]),
        pca,
        PcaPsf(basis, [[1], [0.4]], Box2I((0, 0), (300, 200))),
        KernelPsf(ellipse(23, 3, 6, 1)),
        KernelPsf(LinearCombinationKernel(
            [FixedKernel(ellipse(15, v, v, 0)) for v in (3.0, 5.0)],
            [PolynomialFunction2([1.0, 0.0, 0.0]), PolynomialFunction2([0.3, 1e-3, 1e-3])],
        ), (40, 60)),
        SingleGaussianPsf(19, 21, 1.7),
        GaussianPsf(19, 19, 2.0),
        DoubleGaussianPsf(20, 24, 1.5, 4.0, 0.1),
        WarpedPsf(gridPsf, AffineTransform([[1.02, 0.03], [-0.02, 0.99]], (3, 4))),
    ]  # fmt: skip


POSITIONS = np.random.default_rng(5).uniform((10, 20), (280, 180), (40, 2)).T
POSITIONS[:, 0] = 30, 40  # no fraction
POSITIONS[:, 1] = 30.5, 40.5


@pytest.mark.parametrize("number", range(10))
def testManyImagesAreTheSingleOnes(number):
    psf = psfs()[number]
    try:
        stamps, x0, y0 = psf.computeImages(*POSITIONS)
    except stillsky.StillskyError as error:
        assert isinstance(psf, WarpedPsf) and "differ in size" in str(error)
        return
    for stamp, x, y, position in zip(stamps, x0, y0, POSITIONS.T, strict=True):
        image = psf.computeImage(position)
        assert (x, y) == tuple(image.xy0)
        np.testing.assert_allclose(stamp, image.array, rtol=0, atol=1e-16)


@pytest.mark.parametrize("number", range(10))
def testManyShapesAreTheSingleOnes(number):
    psf = psfs()[number]
    shapes = psf.computeShapes(*POSITIONS)
    assert shapes.shape == (40, 3)
    np.testing.assert_allclose(shapes, [psf.computeShape(p) for p in POSITIONS.T], rtol=1e-12, atol=1e-13)
    assert psf.isSpatiallyVarying == (np.ptp(shapes, axis=0).max() > 1e-6)


@pytest.mark.parametrize("number", range(10))
def testNoPositionsGiveNoStamps(number):
    psf = psfs()[number]
    assert psf.computeShapes([], []).shape == (0, 3)
    assert len(psf.computeImages([], [])[0]) == 0


def testMomentsOfManyStampsAsTheObviousWay():
    rng = np.random.default_rng(1)
    stamps, starts = [], []
    for _ in range(30):
        xx, yy = rng.uniform(0.4, 20, 2)
        xy = rng.uniform(-0.9, 0.9) * np.sqrt(xx * yy)
        stamps.append(ellipse(41, xx, yy, xy, *rng.uniform(-0.4, 0.4, 2)) + 0.05 * ellipse(41, 40, 30, 5))
    stamps = np.array(stamps)
    values, status = _core.stampMoments(stamps, (-20, -20), (0, 0), 100, 1e-5)
    for stamp, found, code in zip(stamps, values, status, strict=True):
        try:
            wanted = stamp_reference.adaptiveMoments(stamp, (-20, -20))
        except ValueError:
            assert code != 0
            continue
        assert code == 0
        starts.append(found)
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-11)
    assert len(starts) > 20


def testMomentsOfAGaussianAreItsCovariance():
    xx, yy, xy, x, y = adaptiveImageMoments(ellipse(51, 6.0, 3.0, 1.2, 0.3, -0.2), (-25, -25))
    assert (xx, yy, xy, x, y) == pytest.approx((6.0, 3.0, 1.2, 0.3, -0.2), abs=2e-5)


def testMomentsSayWhyTheyFail():
    for array, text in (
        (np.zeros((11, 11)), "flux is not positive"),
        (np.full((11, 11), np.nan), "flux is not positive"),
        (np.pad([[1.0]], 5), "second moments are not positive"),
    ):
        with pytest.raises(stillsky.DomainError, match=text):
            adaptiveImageMoments(array, (-5, -5))
    with pytest.raises(stillsky.DomainError, match="no convergence in 1 iterations"):
        adaptiveImageMoments(ellipse(31, 9, 4, 2), (-15, -15), maxIter=1)
    with pytest.raises(stillsky.DomainError, match="flux is not positive"):
        adaptiveImageMoments(ellipse(31, 9, 4, 2), (-15, -15), (np.nan, 0.0))


def testShiftsOfManyStampsAsTheObviousWay():
    rng = np.random.default_rng(2)
    stamps = rng.normal(size=(12, 13, 9))
    dx, dy = rng.uniform(-1, 1, (2, 12))
    dx[:3], dy[:3] = (0, 1, -1), (0, -1, 1)
    found = _core.shiftStamps(stamps, dx, dy)
    for stamp, x, y, out in zip(stamps, dx, dy, found, strict=True):
        np.testing.assert_allclose(out, stamp_reference.shift(stamp, x, y), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(_core.shiftStamps(stamps[4:5], dx[4:], dy[4:])[0], found[4])
    same = _core.shiftStamps(stamps[:1], np.zeros(3), np.zeros(3))
    assert all(np.array_equal(s, stamps[0]) for s in same)


@pytest.mark.parametrize("shift", [1.01, -2.0, np.nan])
def testLongShiftsAreRefused(shift):
    with pytest.raises(stillsky.DomainError, match="within one pixel"):
        _core.shiftStamps(np.ones((1, 5, 5)), [0.0, shift], [0.0, 0.0])


def testMixturesAreWeightedSums():
    rng = np.random.default_rng(3)
    stamps, weights = rng.uniform(0, 1, (6, 7, 5)), rng.uniform(0.1, 1, (50, 3))
    index = rng.integers(0, 6, (50, 3))
    wanted = np.einsum("nk,nkyx->nyx", weights, stamps[index])
    np.testing.assert_allclose(_core.mixStamps(stamps, index, weights, False), wanted, rtol=1e-14)
    np.testing.assert_allclose(
        _core.mixStamps(stamps, index, weights, True), wanted / wanted.sum((1, 2), keepdims=True), rtol=1e-13
    )
    with pytest.raises(stillsky.OutOfBoundsError):
        _core.mixStamps(stamps, index + 1, weights, True)


def testStacksAreTheSameForAnyNumberOfThreads():
    rng = np.random.default_rng(4)
    stamps = np.array([ellipse(21, *rng.uniform(2, 5, 2), 0.3) for _ in range(60)])
    index, weights = rng.integers(0, 60, (99, 4)), rng.uniform(0, 1, (99, 4))
    dx, dy = rng.uniform(-0.5, 0.5, (2, 60))
    found = []
    for threads in (1, 2, 5):
        with stillsky.numThreads(threads):
            moments, status = _core.stampMoments(stamps, (-10, -10), (0, 0), 100, 1e-5)
            found.append(
                (moments, status, _core.shiftStamps(stamps, dx, dy), _core.mixStamps(stamps, index, weights, True))
            )
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def testStampsOfAGridAreOneStackInMemory():
    """Else every evaluation would copy them."""
    stamps = np.moveaxis(np.random.default_rng(6).uniform(1, 2, (9, 9, 3, 2)), (2, 3), (0, 1))
    psf = ImageGridPsf(stamps, [0.0, 1.0], [0.0, 1.0, 2.0])
    assert not stamps.flags.c_contiguous and psf.persist()[2]["stamps"].flags.c_contiguous
    np.testing.assert_allclose(psf.computeKernelImage((1.0, 2.0)).array, stamps[2, 1] / stamps[2, 1].sum(), rtol=1e-13)
