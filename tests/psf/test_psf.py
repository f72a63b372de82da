"""Acceptance checks of the point spread functions."""

import copy
import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import stillsky
from stillsky import _core
from stillsky.geom import AffineTransform, Box2I, Point2D
from stillsky.psf import (
    DoubleGaussianPsf,
    GaussianPsf,
    ImageGridPsf,
    KernelPsf,
    PcaPsf,
    Psf,
    SingleGaussianPsf,
    WarpedPsf,
    circularFlux,
)
from stillsky.wcs import makeCdMatrix, makeTanWcs


def gaussian(width, height, sx, sy=None, dx=0.0, dy=0.0, angle=0.0):
    """Sampled Gaussian of peak 1, its centre (dx, dy) from pixel (w // 2, h // 2)."""
    sy = sx if sy is None else sy
    y, x = np.mgrid[:height, :width].astype(float)
    x, y = x - width // 2 - dx, y - height // 2 - dy
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    return np.exp(-0.5 * ((u / sx) ** 2 + (v / sy) ** 2))


def pcaPsf(order=2, size=21):
    basis = np.array([gaussian(size, size, 1.8), gaussian(size, size, 2.6), gaussian(size, size, 2, 3)])
    basis /= basis.sum(axis=(1, 2))[:, None, None]
    basis[1:] -= basis[0]
    terms = (order + 1) * (order + 2) // 2
    coefficients = np.random.default_rng(3).normal(0, 0.1, (3, terms))
    coefficients[0] = 0
    coefficients[0, 0] = 1
    return PcaPsf(basis, coefficients, Box2I((100, 200), (1000, 800)))


def gridPsf():
    stamps = np.array([[gaussian(25, 23, 1.5 + 0.2 * i + 0.3 * j) for i in range(4)] for j in range(3)])
    return ImageGridPsf(stamps, [0, 100, 250, 300], [10, 20, 50])


def varyingKernelPsf(chebyshev=True):
    bases = [_core.FixedKernel(gaussian(15, 15, s) / gaussian(15, 15, s).sum()) for s in (1.5, 2.5)]
    coefficients = [[1.0, 0.0, 0.0], [0.3, 0.2, 0.1]]
    if chebyshev:
        functions = [_core.Chebyshev1Function2(c, (0.0, 0.0, 100.0, 100.0)) for c in coefficients]
    else:
        functions = [_core.PolynomialFunction2(c) for c in coefficients]
    return KernelPsf(_core.LinearCombinationKernel(bases, functions), (40, 60))


def wcsPair():
    return (
        makeTanWcs((500, 400), (1.0, -0.5), makeCdMatrix(0.2 / 3600)),
        makeTanWcs((480, 430), (1.0, -0.5), makeCdMatrix(0.25 / 3600, 0.3)),
    )


EVERY = {
    "Gaussian": lambda: GaussianPsf(21, 25, 2.5, averagePosition=(3, 4)),
    "SingleGaussian": lambda: SingleGaussianPsf(21, 25, 2.5),
    "DoubleGaussian": lambda: DoubleGaussianPsf(25, 25, 1.5, 3.0, 0.1),
    "KernelPixels": lambda: KernelPsf(gaussian(21, 19, 2, 3, angle=0.4), (7, 8)),
    "KernelChebyshev": varyingKernelPsf,
    "KernelPolynomial": lambda: varyingKernelPsf(False),
    "Pca": pcaPsf,
    "Grid": gridPsf,
    "WarpedAffine": lambda: WarpedPsf(GaussianPsf(21, 21, 2), AffineTransform([[1.1, 0.2], [-0.1, 0.9]], (5, -3))),
    "WarpedSky": lambda: WarpedPsf(pcaPsf(), wcsPair()),
    "WarpedTwice": lambda: WarpedPsf(EVERY["WarpedAffine"](), AffineTransform([[0, 1], [-1, 0]]), "lanczos5"),
}


@pytest.fixture(params=EVERY, ids=list(EVERY))
def psf(request):
    return EVERY[request.param]()


# ------------------------------------------------------------------------------------------ the interface


def testKernelImageIsCentredWithUnitSum(psf):
    for position in (None, (150.3, 250.7), (400, 300)):
        image = psf.computeKernelImage(position)
        assert image.array.dtype == np.float64
        assert image.width % 2 == 1 and image.height % 2 == 1
        assert tuple(image.xy0) == (-(image.width // 2), -(image.height // 2))
        assert abs(image.array.sum() - 1) < 1e-6
        assert image.bbox == psf.computeBBox(position)
        assert psf.computePeak(position) == image.array[image.height // 2, image.width // 2]


def testImageFollowsTheFractionalPosition(psf):
    x, y = 150.3, 250.7
    image = psf.computeImage((x, y))
    kernel = psf.computeKernelImage((x, y))
    assert tuple(image.xy0) == (150 + kernel.xy0[0], 251 + kernel.xy0[1])
    assert image.bbox == psf.computeImageBBox((x, y))
    assert image.array.sum() == pytest.approx(1, abs=0.01)
    yy, xx = np.mgrid[image.bbox.minY : image.bbox.maxY + 1, image.bbox.minX : image.bbox.maxX + 1]
    ky, kx = np.mgrid[kernel.bbox.minY : kernel.bbox.maxY + 1, kernel.bbox.minX : kernel.bbox.maxX + 1]
    weight = image.array / image.array.sum()
    assert (weight * xx).sum() - (kernel.array * kx).sum() == pytest.approx(x, abs=0.02)
    assert (weight * yy).sum() - (kernel.array * ky).sum() == pytest.approx(y, abs=0.02)


def testHalfGoesUp():
    psf = GaussianPsf(11, 11, 2)
    assert tuple(psf.computeImage((10.5, -0.5)).xy0) == (11 - 5, 0 - 5)
    assert tuple(psf.computeImage((10.4999, -0.5001)).xy0) == (10 - 5, -1 - 5)


def testPositionOfNoneOrNanIsTheAverage(psf):
    assert isinstance(psf.averagePosition, Point2D)
    wanted = psf.computeKernelImage(psf.averagePosition).array
    for position in (None, (math.nan, 3.0), (1.0, math.nan)):
        assert np.array_equal(psf.computeKernelImage(position).array, wanted)


def testCachedArraysAreReadOnlyAndShared(psf):
    first, second = psf.computeKernelImage((150, 250)), psf.computeKernelImage((150, 250))
    assert np.shares_memory(first.array, second.array)
    for image in (first, psf.computeImage((150.2, 250.3))):
        with pytest.raises(ValueError, match="read-only"):
            image.array[0, 0] = 1


def testShapeNumbersAgree(psf):
    xx, yy, xy = psf.computeShape((150, 250))
    assert xx > 0 and yy > 0 and xx * yy > xy * xy
    assert psf.determinantRadius((150, 250)) == psf.sigma((150, 250)) == pytest.approx((xx * yy - xy * xy) ** 0.25)
    assert psf.fwhm((150, 250)) == pytest.approx(2.354820045 * math.sqrt((xx + yy) / 2), rel=1e-9)


def testRoundTripsWithoutPickle(psf):
    className, header, arrays = psf.persist()
    assert isinstance(className, str) and all(isinstance(a, np.ndarray) for a in arrays.values())
    for key, value in header.items():
        assert key == key.upper() and len(key) <= 8
        assert isinstance(value, str | int | float | bool)
    swapped = {name: a.astype(a.dtype.newbyteorder(">")) for name, a in arrays.items()}  # as FITS stores them
    for restored in (Psf.restore(className, header, arrays), Psf.restore(className, dict(header), swapped)):
        assert type(restored) is type(psf) and restored == psf and hash(restored) == hash(psf)
        assert np.allclose(
            restored.computeKernelImage((150, 250)).array,
            psf.computeKernelImage((150, 250)).array,
            rtol=0,
            atol=1e-8 if "wcsto" in arrays else 0,  # FITS cards of a WCS carry 12 digits
        )
    assert pickle.loads(pickle.dumps(psf)) == psf == psf.clone() == copy.deepcopy(psf)
    assert psf != GaussianPsf(5, 5, 1.0)


def testUnknownClassIsNotFound():
    with pytest.raises(stillsky.NotFoundError, match="NoSuchPsf"):
        Psf.restore("NoSuchPsf", {}, {})


def testManyThreadsSeeTheSameImages():
    psf = pcaPsf()
    positions = [(100 + 7.3 * i, 200 + 5.1 * i) for i in range(130)] * 4
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda p: psf.computeImage(p).array, positions))
    for i, image in enumerate(images[:130]):
        assert all(np.array_equal(image, images[i + 130 * k]) for k in range(1, 4))


def testManyPositionsAtOnce():
    for psf in (pcaPsf(), gridPsf(), GaussianPsf(11, 11, 2), varyingKernelPsf()):
        xs, ys = np.linspace(20, 900, 9), np.linspace(15, 700, 9)
        images = psf.computeKernelImages(xs, ys)
        for image, x, y in zip(images, xs, ys):
            assert np.allclose(image, psf.computeKernelImage((x, y)).array, rtol=0, atol=1e-15)


def testLocalKernelIsTheKernelImage():
    psf = pcaPsf()
    kernel = psf.localKernel((300, 400))
    assert np.allclose(kernel.imageAt(0.0, 0.0), psf.computeKernelImage((300, 400)).array, atol=1e-15)


# ------------------------------------------------------------------------------------------ the Gaussian family


def testGaussianNumbers():
    psf = GaussianPsf(51, 51, 4.0)
    kernel = psf.computeKernelImage().array
    assert abs(kernel.sum() - 1) < 1e-14
    assert psf.computePeak() == pytest.approx(1 / (2 * np.pi * 16), rel=1e-6)
    assert psf.computeBBox() == Box2I.fromMinMax((-25, -25), (25, 25))
    measured = SingleGaussianPsf(51, 51, 4.0)  # by adaptive moments
    for p in (psf, measured):
        assert p.computeShape() == pytest.approx((16, 16, 0), rel=1e-3, abs=1e-9)
        assert p.determinantRadius() == pytest.approx(4, rel=1e-3)
    assert psf.effectiveArea() == pytest.approx(4 * np.pi * 16, rel=1e-5)
    assert psf.effectiveArea() == pytest.approx(201.062, abs=1e-3)


def testGaussianShiftIsAnalytic():
    psf, pixels = GaussianPsf(51, 51, 4.0), KernelPsf(gaussian(51, 51, 4.0))
    truth = gaussian(51, 51, 4.0, dx=0.25, dy=0.25) / (2 * np.pi * 16)
    assert np.abs(psf.computeImage((10.25, 20.25)).array - truth).max() < 1e-11
    exact = gaussian(51, 51, 4.0, dx=0.25, dy=0.25) / gaussian(51, 51, 4.0).sum()
    assert np.abs(psf.computeImage((10.25, 20.25)).array - exact).max() < 1e-15
    shifted = np.abs(pixels.computeImage((10.25, 20.25)).array - truth).max()
    assert shifted < 1e-4
    assert shifted == pytest.approx(1.25e-5, rel=0.1)


@pytest.mark.parametrize(
    "sigma, quarter, half",
    [(4, 0.0013, 0.0005), (2, 0.0015, 0.0022), (1, 0.0033, 0.0039), (0.8, 0.0042, 0.0086), (0.6, 0.037, 0.082)],
)
def testRecentringErrorOfPixels(sigma, quarter, half):
    psf = KernelPsf(gaussian(51, 51, sigma))
    for shift, error in ((0.25, quarter), (0.5, half)):
        # 0.5 rounds up, so the content moves by -0.5 from pixel 11.
        moved = shift if shift < 0.5 else shift - 1
        truth = gaussian(51, 51, sigma, dx=moved, dy=moved)
        image = psf.computeImage((10 + shift, 10 + shift)).array * gaussian(51, 51, sigma).sum()
        assert np.abs(image - truth).max() / truth.max() == pytest.approx(error, rel=0.15, abs=6e-5)


def testUndersampledShiftIsLogged(caplog):
    psf = KernelPsf(gaussian(21, 21, 0.55))
    psf.computeImage((10, 10))
    assert not caplog.records
    psf.computeImage((10.25, 10))
    psf.computeImage((10.35, 10))
    assert [r.levelname for r in caplog.records] == ["WARNING"]


def testApertureFlux():
    psf = GaussianPsf(51, 51, 4.0)
    for radius, flux in ((5, 0.542167), (7, 0.783735)):
        assert psf.computeApertureFlux(radius) == pytest.approx(flux, abs=1e-6)
        kernel = psf.computeKernelImage().array
        y, x = np.mgrid[-25:26, -25:26]
        assert kernel[x * x + y * y <= radius**2].sum() == pytest.approx(flux, rel=0.1)
        assert SingleGaussianPsf(51, 51, 4.0).computeApertureFlux(radius) == pytest.approx(flux, abs=1e-6)
    assert psf.computeApertureFlux(0) == 0


def testCircularFluxAwayFromThePixelCentre():
    for sigma in (1.0, 2.0):
        image = gaussian(41, 41, sigma, dx=0.3, dy=-0.45) / (2 * np.pi * sigma**2)
        for radius in (1.5, 3.0, 6.0):
            flux = circularFlux(image, (-20, -20), radius, (0.3, -0.45))
            # Sampling a Gaussian of sigma 1 aliases 1.4e-2 of its amplitude at the Nyquist frequency.
            assert flux == pytest.approx(1 - math.exp(-0.5 * (radius / sigma) ** 2), abs=1e-8 if sigma == 2 else 2e-3)


def testDoubleGaussianNumbers():
    psf = DoubleGaussianPsf(25, 25, 5 / 2.3548, 1, 0.1)
    assert psf.computeKernelImage().array.sum() == pytest.approx(1, abs=1e-6)
    assert psf.computeKernelImage().width == 25
    assert psf.computePeak() == pytest.approx(0.0379886, abs=5e-7)
    kernel = psf.computeKernelImage().array
    y, x = np.mgrid[-12:13, -12:13]
    assert (kernel * x * x).sum() == pytest.approx(4.43237, rel=1e-5)
    # (sigma1^4 + b sigma2^4) / (sigma1^2 + b sigma2^2) of the formula on a wide stamp
    wide = DoubleGaussianPsf(81, 81, 2.5, 1.3, 0.4).computeKernelImage().array
    y, x = np.mgrid[-40:41, -40:41]
    s1, s2 = 2.5**2, 1.3**2
    assert (wide * y * y).sum() == pytest.approx((s1**2 + 0.4 * s2**2) / (s1 + 0.4 * s2), rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DoubleGaussianPsf(25, 25, 0.0, 1, 0.1),
        lambda: DoubleGaussianPsf(25, 25, 1.0, 0.0, 1.0),
        lambda: DoubleGaussianPsf(25, 25, 1.0, 1.0, -1.0),
        lambda: DoubleGaussianPsf(0, 25, 1.0),
        lambda: GaussianPsf(24, 25, 1.0),
        lambda: GaussianPsf(25, 24, 1.0),
        lambda: GaussianPsf(25, 25, 0.0),
        lambda: SingleGaussianPsf(25, 25, -1.0),
        lambda: SingleGaussianPsf(25, 25, math.nan),
        lambda: KernelPsf(np.ones((4, 5))),
        lambda: KernelPsf(np.zeros((5, 5))),
    ],
)
def testBadParametersAreDomainErrors(make):
    with pytest.raises(stillsky.DomainError):
        make()


def testSecondSigmaIsIgnoredWithoutASecondGaussian():
    a, b = DoubleGaussianPsf(25, 25, 2.0, 0.0, 0.0), GaussianPsf(25, 25, 2.0)
    assert np.allclose(a.computeKernelImage().array, b.computeKernelImage().array, atol=1e-16)


def testEvenDoubleGaussianIsCentredOnHalfItsWidth():
    image = DoubleGaussianPsf(10, 12, 1.5).computeKernelImage()
    assert tuple(image.xy0) == (-5, -6)
    assert np.unravel_index(np.argmax(image.array), image.array.shape) == (6, 5)


def testKernelPsfOfAGaussianEqualsTheGaussian():
    kernel = _core.AnalyticKernel(15, 15, _core.GaussianFunction2(1.0, 1.0, 0.0))
    a, b = KernelPsf(kernel), DoubleGaussianPsf(15, 15, 1.0)
    position = (10.4999, 10.4999)
    assert np.abs(a.computeKernelImage(position).array - b.computeKernelImage(position).array).max() < 1e-16


def testKernelPsfFollowsItsSpatialFunctions():
    psf = varyingKernelPsf()
    for position in ((0, 0), (100, 50)):
        expected = psf.kernel.imageAt(*map(float, position))
        assert np.allclose(psf.computeKernelImage(position).array, expected / expected.sum(), atol=1e-15)
    assert psf.fwhm((100, 100)) > psf.fwhm((0, 0)) + 0.1


def testResizedKeepsParametersAndShape():
    for make in (
        lambda n: GaussianPsf(n, n, 2.5),
        lambda n: SingleGaussianPsf(n, n, 2.5),
        lambda n: DoubleGaussianPsf(n, n, 1.5, 3.0, 0.1),
    ):
        for n in (1, 11, 99):
            assert make(23).resized(n, n) == make(n)
    for psf in (KernelPsf(gaussian(23, 23, 2.5)), pcaPsf(), gridPsf(), EVERY["WarpedAffine"]()):
        before = psf.computeKernelImage().array
        for n in (1, 11, 99):
            resized = psf.resized(n, n)
            after = resized.computeKernelImage().array
            assert after.shape == (n, n) and after.sum() == pytest.approx(1, abs=1e-12)
            h, w = (min(n, size) for size in before.shape)
            part = [a[a.shape[0] // 2 - h // 2 :, a.shape[1] // 2 - w // 2 :][:h, :w] for a in (before, after)]
            assert np.allclose(part[0] / part[0].sum(), part[1] / part[1].sum(), atol=1e-14)
        with pytest.raises(stillsky.DomainError):
            psf.resized(10, 11)
    with pytest.raises(stillsky.StillskyError, match="not implemented"):
        varyingKernelPsf().resized(9, 9)


# ------------------------------------------------------------------------------------------ empirical PSFs


def testPcaPsfIsTheNormalisedSumOfItsComponents():
    psf = pcaPsf()
    for x, y in ((100, 200), (333.3, 777.7)):
        u, v = (x - 99.5) / 500 - 1, (y - 199.5) / 400 - 1
        terms = np.array([1, u, v, 2 * u * u - 1, u * v, 2 * v * v - 1])
        image = np.tensordot(psf.coefficients @ terms, psf.basis, 1)
        assert np.allclose(psf.computeKernelImage((x, y)).array, image / image.sum(), atol=1e-14)
    assert tuple(psf.averagePosition) == (599.5, 599.5)


def testPcaPsfRefusesWhatItCannotEvaluate():
    basis = np.array([gaussian(11, 11, 2)])
    with pytest.raises(stillsky.ShapeError):
        PcaPsf(basis, np.ones((2, 3)), (0, 0, 10, 10))
    with pytest.raises(stillsky.ShapeError, match="2 terms"):
        PcaPsf(basis, np.ones((1, 2)), (0, 0, 10, 10))
    with pytest.raises(stillsky.DomainError, match="finite"):
        PcaPsf(basis * np.nan, np.ones((1, 1)), (0, 0, 10, 10))
    negative = PcaPsf(basis, [[0.0, 1.0, 0.0]], (0, 0, 10, 10))
    assert negative.computeKernelImage((9, 5)).array.sum() == pytest.approx(1)
    with pytest.raises(stillsky.InvalidPsfError, match="not positive"):
        negative.computeKernelImage((1, 5))


def testGridPsfMixesItsNodes():
    psf = gridPsf()
    nodes = {(x, y): psf.computeKernelImage((x, y)).array for x in (100, 250) for y in (20, 50)}
    assert np.allclose(nodes[100, 20], gaussian(25, 23, 2.0) / gaussian(25, 23, 2.0).sum(), atol=1e-15)
    u, v = (130 - 100) / 150, (41 - 20) / 30
    mixed = (1 - u) * (1 - v) * nodes[100, 20] + u * (1 - v) * nodes[250, 20]
    mixed += (1 - u) * v * nodes[100, 50] + u * v * nodes[250, 50]
    assert np.allclose(psf.computeKernelImage((130, 41)).array, mixed, atol=1e-15)
    assert np.array_equal(psf.computeKernelImage((-50, 999)).array, psf.computeKernelImage((0, 50)).array)


# ------------------------------------------------------------------------------------------ warped


def testWarpedByTheIdentityIsTheSource():
    for source in (GaussianPsf(25, 25, 2), KernelPsf(gaussian(21, 19, 2, 3, angle=0.4)), pcaPsf()):
        warped = WarpedPsf(source, AffineTransform())
        for position in ((50, 60), (50.3, 60.45)):
            a, b = warped.computeKernelImage(position), source.computeKernelImage(position)
            assert a.bbox == b.bbox
            assert np.abs(a.array - b.array).max() < 1e-6
            assert a.array.sum() == pytest.approx(1, abs=1e-12)


def testWarpedGaussianUnderStretch():
    psf = WarpedPsf(GaussianPsf(41, 41, 2.0), AffineTransform([[1.1, 0], [0, 1]], (3, 4)))
    assert abs(psf.computeKernelImage((50, 50)).array.sum() - 1) < 1e-6
    for position in ((50, 50), (50.4, 49.7)):
        xx, yy, xy = psf.computeShape(position)
        assert math.sqrt(xx) == pytest.approx(2.2, rel=0.005)
        assert math.sqrt(yy) == pytest.approx(2.0, rel=0.005)
        assert abs(xy) < 1e-3


@pytest.mark.parametrize(
    "matrix",
    [
        [[1, 0], [0, 1]],
        [[1.2, 0], [0, 1.2]],
        [[0.8, 0], [0, 0.8]],
        [[0.866, -0.5], [0.5, 0.866]],
        [[1, 0.2], [-0.1, 1.1]],
    ],
)
def testOneInterpolationIsCloseToTheFormula(matrix):
    """By design better than the reference, whose pure shift alone costs 6e-3 of the peak and 0.8 % of the moments."""
    source = KernelPsf(gaussian(33, 33, 2.0))
    psf = WarpedPsf(source, AffineTransform(matrix, (3.3, -2.6)))
    inverse = np.linalg.inv(matrix)
    for x, y in ((50, 60), (50.3, 60.45)):
        image = psf.computeImage((x, y))
        box = image.bbox
        yy, xx = np.mgrid[box.minY : box.maxY + 1, box.minX : box.maxX + 1]
        u, v = np.tensordot(inverse, np.array([xx - x, yy - y]), 1)
        truth = np.exp(-0.125 * (u * u + v * v))
        assert np.abs(image.array * truth.sum() - truth).max() < 6.5e-3
    wanted = _covariance(matrix)
    assert psf.computeShape((50, 60)) == pytest.approx(wanted, rel=0.01, abs=0.005 * (wanted[0] + wanted[1]))
    if matrix == [[1, 0], [0, 1]]:
        assert np.allclose(psf.computeKernelImage((50, 60)).array, source.computeKernelImage().array, atol=1e-12)


def _covariance(matrix):
    c = 4 * np.array(matrix) @ np.array(matrix).T
    return c[0, 0], c[1, 1], c[0, 1]


def testWarpedQuarterTurnExchangesMoments():
    source = KernelPsf(gaussian(61, 61, 1.0, 6.0))
    xx, yy, xy = WarpedPsf(source, AffineTransform([[0, -1], [1, 0]])).computeShape((10, 10))
    assert (xx, yy, xy) == pytest.approx((36, 1, 0), abs=0.01)


def testWarpedThroughTheSkyFollowsTheLocalScale():
    source, dest = wcsPair()
    psf = WarpedPsf(GaussianPsf(31, 31, 2.0), (source, dest))
    assert tuple(psf.averagePosition) == pytest.approx(dest.skyToPixel(*source.pixelToSky(0.0, 0.0)), abs=1e-6)
    assert psf.determinantRadius((300, 200)) == pytest.approx(2.0 * 0.2 / 0.25, rel=0.005)


def testLightOfAnOffCentreStampIsNotCut():
    """The box holds the mapped stamp on both sides, also when it is not centred on the origin."""
    psf = WarpedPsf(GaussianPsf(25, 9, 2.0), AffineTransform([[0.7, -0.7], [0.7, 0.7]]))
    image = psf.computeKernelImage((0, 0))
    corner = np.abs(np.array([[0.7, -0.7], [0.7, 0.7]]) @ np.array([[12.5, 12.5], [4.5, -4.5]])).max(axis=1)
    assert image.width // 2 + 0.5 >= corner[0] and image.height // 2 + 0.5 >= corner[1]


def testTooStrongTransformIsRefused():
    psf = WarpedPsf(GaussianPsf(11, 11, 2), AffineTransform([[201.0, 0], [0, 1]]))
    with pytest.raises(stillsky.DomainError, match="200"):
        psf.computeKernelImage((0, 0))
    source, _ = wcsPair()
    behind = makeTanWcs((0, 0), (1.0 + math.pi, 0.5), makeCdMatrix(0.2 / 3600))
    with pytest.raises(stillsky.InvalidPsfError):
        WarpedPsf(GaussianPsf(11, 11, 2), (source, behind))


def testAbstractBasesCannotBeMade():
    """No public class inherits a hook that is not filled."""
    import inspect

    import stillsky.psf

    assert inspect.isabstract(stillsky.psf.Psf)
    for name in stillsky.psf.__all__:
        cls = getattr(stillsky.psf, name)
        if inspect.isclass(cls) and issubclass(cls, stillsky.psf.Psf) and cls is not stillsky.psf.Psf:
            assert not inspect.isabstract(cls), name
    (analytic,) = {c for c in stillsky.psf.GaussianPsf.__mro__ if c.__name__ == "_AnalyticPsf"}
    with pytest.raises(TypeError, match="_profile"):
        analytic(11, 11, (0.0, 0.0))


def testPsfWithoutAdaptiveMomentsHasTheWidthOfItsNoiseEquivalentArea():
    """A ring of light around a hole: no Gaussian weight finds its moments. Of sums of Gaussians the area is a closed form."""
    y, x = np.mgrid[-30:31, -30:31]

    def gaussian(sigma):
        return np.exp(-(x * x + y * y) / (2 * sigma**2)) / (2 * math.pi * sigma**2)

    ring = KernelPsf(1.5 * gaussian(5) - 0.5 * gaussian(2))
    with pytest.raises(stillsky.DomainError, match="adaptive moments"):
        ring.determinantRadius()
    squares = (1.5**2 / 25 + 0.5**2 / 4) / (4 * math.pi) - 2 * 1.5 * 0.5 / (2 * math.pi * (25 + 4))
    assert ring.matchedSigma() == pytest.approx(1 / (2 * math.sqrt(math.pi * squares)), rel=1e-6)
    round = GaussianPsf(41, 41, 3.0)
    assert round.matchedSigma() == round.determinantRadius()
