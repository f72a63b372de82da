"""Convolution of image, variance and mask: exactness, orientation, edges, NaN, agreement of the methods."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from stillsky import setNumThreads
from stillsky.errors import DomainError, NumericalError, ShapeError
from stillsky.kernel import (
    AnalyticKernel,
    Chebyshev1Function2,
    ConvolutionControl,
    DeltaFunctionKernel,
    FixedKernel,
    GaussianFunction1,
    GaussianFunction2,
    LinearCombinationKernel,
    PolynomialFunction1,
    PolynomialFunction2,
    SeparableKernel,
    convolveArrays,
    scaledPlus,
    subregionLengths,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))
from convolve_reference import convolveSlowly, spreadMaskSlowly  # noqa: E402

PLAIN = ConvolutionControl(doNormalize=False)
NO_DATA, EDGE = 1 << 8, 1 << 4


def scene(rng, height=41, width=47, dtype=np.float32):
    image = rng.normal(50, 5, (height, width)).astype(dtype)
    image[height // 2, 2 * width // 3] += 3000
    variance = rng.uniform(20, 30, (height, width)).astype(np.float32)
    mask = (rng.random((height, width)) < 0.01).astype(np.int32) * 32
    mask[2 * height // 3, width // 2] = 2
    mask[height // 4 : height // 4 + 2, width - 6] |= 1
    return image, mask, variance


def good(kernel, shape):
    (cx, cy), (height, width) = kernel.center, shape
    return np.s_[cy : height - (kernel.height - 1 - cy), cx : width - (kernel.width - 1 - cx)]


def varyingGaussian():
    """Width growing linearly from 1.5 to 1.501 along x (order 1)."""
    sigma = PolynomialFunction2([1.5, 0.001 / 47, 0.0005 / 41])
    return AnalyticKernel(7, 6, GaussianFunction2(1.5, 1.5), [sigma, sigma, PolynomialFunction2(1)])


def gaussianCombination(n, order=1):
    bases = [AnalyticKernel(7, 6, GaussianFunction2(*s)) for s in ((1.5, 1.5), (2.5, 1.5), (2.5, 2.5), (1.0, 3.0))[:n]]
    kernel = LinearCombinationKernel(bases, PolynomialFunction2(order))
    slopes = [[1.0, -0.01, -0.01], [0.0, 0.01, 0.0], [0.0, 0.0, 0.01], [0.5, 0.005, -0.005]][:n]
    kernel.spatialParameters = slopes
    return kernel


def deltaCombination():
    """Strong gradients over a sparse basis."""
    bases = [DeltaFunctionKernel(5, 5, p) for p in ((2, 2), (0, 1), (4, 3), (1, 4))]
    kernel = LinearCombinationKernel(bases, PolynomialFunction2(1))
    kernel.spatialParameters = [[1.0, 0.1, 0.05], [0.2, 0.3, 0.01], [0.3, -0.07, 0.2], [0.4, 0.02, -0.3]]
    return kernel


def lowCovariance():
    """Three bases of little overlap: the variance of a sum of convolutions is not the sum of variances."""
    pixels = np.zeros((3, 5, 5))
    pixels[0, 1:4, 1:4] = 1
    pixels[1, 2, :] = 1
    pixels[2, :, 2] = 1
    kernel = LinearCombinationKernel([FixedKernel(p / p.sum()) for p in pixels], PolynomialFunction2(1))
    kernel.spatialParameters = [[1.0, -0.01, -0.005], [0.1, 0.01, 0.0], [0.1, 0.0, 0.005]]
    return kernel


KERNELS = {
    "fixed": lambda rng: FixedKernel(rng.normal(size=(7, 6))),
    "separable": lambda rng: SeparableKernel(7, 6, GaussianFunction1(1.5), GaussianFunction1(2.5)),
    "analytic": lambda rng: AnalyticKernel(7, 6, GaussianFunction2(1.5, 2.5, 0.3)),
    "varyingAnalytic": lambda rng: varyingGaussian(),
    "threeBases": lambda rng: gaussianCombination(3),
    "fourBases": lambda rng: gaussianCombination(4),
    "deltaBases": lambda rng: deltaCombination(),
    "lowCovariance": lambda rng: lowCovariance(),
    "constantCombination": lambda rng: LinearCombinationKernel([FixedKernel(rng.normal(size=(5, 4)))] * 2, [1.0, 0.5]),
    "even": lambda rng: FixedKernel(rng.normal(size=(2, 4))),
    "onePixel": lambda rng: FixedKernel([[2.5]]),
    "oneRow": lambda rng: FixedKernel(rng.normal(size=(1, 5))),
    "oneColumn": lambda rng: FixedKernel(rng.normal(size=(5, 1))),
}


def assertEqualsSlowLoop(kernel, planes, xy0, normalize, rtol, control=None, method="auto"):
    image, mask, variance = planes
    control = control or ConvolutionControl(doNormalize=normalize)
    got = convolveArrays(*planes, kernel, control, xy0=xy0, method=method)
    want = convolveSlowly(*planes, kernel.imageAt, (kernel.height, kernel.width), xy0, normalize)
    inside = good(kernel, image.shape)
    # relative to what is summed: kernels with negative pixels cancel
    weights = np.abs(kernel.imageAt(*np.add(xy0, (20, 20)), doNormalize=normalize))
    np.testing.assert_allclose(got[0][inside], want[0][inside], rtol=rtol, atol=rtol * weights.sum() * 60)
    scale = np.median(want[2][inside])  # where a varying kernel passes through zero, so does the variance
    np.testing.assert_allclose(got[2][inside], want[2][inside], rtol=rtol, atol=1e-2 * rtol * scale)
    np.testing.assert_array_equal(got[1][inside], want[1][inside])


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("name", KERNELS)
def test_equalsSlowLoop(name, normalize, rng):
    assertEqualsSlowLoop(KERNELS[name](rng), scene(rng), (0, 0), normalize, 1e-5)


@pytest.mark.parametrize("dx", range(3))
@pytest.mark.parametrize("dy", range(3))
def test_deltaKernelsEqualSlowLoop(dx, dy, rng):
    for width in range(dx + 1, 4):
        for height in range(dy + 1, 4):
            kernel = DeltaFunctionKernel(width, height, (dx, dy))
            assertEqualsSlowLoop(kernel, scene(rng, 12, 13), (0, 0), False, 1e-7)


@pytest.mark.parametrize("name", ["varyingAnalytic", "threeBases", "fourBases", "deltaBases", "lowCovariance"])
def test_interpolatedKernelsStayClose(name, rng):
    """The imitation of interpolation at 10 pixels: exact for linear models to rounding, else as specified."""
    planes = scene(rng)
    kernel = KERNELS[name](rng)
    control = ConvolutionControl(doNormalize=False, maxInterpolationDistance=10, model="reference")
    rtol = {"deltaBases": 1e-3, "lowCovariance": 3e-3}.get(name, 1e-5)
    assertEqualsSlowLoop(kernel, planes, (0, 0), False, rtol, control)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_everyOrderAndPixelTypeEqualsSlowLoop(order, dtype, rng):
    """Wider than one tile, so that positions are seen not to restart; odd number of rows."""
    kernel = LinearCombinationKernel(
        [FixedKernel(rng.normal(size=(3, 4))) for _ in range(3)],
        Chebyshev1Function2(order, (300.0, 100.0, 620.0, 180.0)),
    )
    kernel.spatialParameters = (rng.normal(size=(3, (order + 1) * (order + 2) // 2)) / (order + 1)).tolist()
    planes = scene(rng, 71, 300, dtype)
    assertEqualsSlowLoop(kernel, planes, (310, 105), False, 1e-5 if dtype == np.float32 else 1e-7)


def test_orientationIsCorrelation():
    """A kernel whose only pixel is right of the centre moves the image to the left."""
    image = np.zeros((9, 9), np.float32)
    image[4, 5] = 1
    pixels = np.zeros((3, 3))
    pixels[1, 2] = 1
    for kernel in (FixedKernel(pixels), DeltaFunctionKernel(3, 3, (2, 1))):
        out = convolveArrays(image, None, None, kernel, PLAIN)[0]
        expected = np.zeros((7, 7))
        expected[3, 3] = 1
        np.testing.assert_array_equal(out[1:-1, 1:-1], expected)
    numbered = np.arange(1.0, 10).reshape(3, 3)
    out = convolveArrays(image, None, None, FixedKernel(numbered), PLAIN)[0]
    np.testing.assert_array_equal(out[3:6, 4:7], [[9, 8, 7], [6, 5, 4], [3, 2, 1]])


def test_centredDeltaReproducesTheImage(rng):
    planes = scene(rng)
    got = convolveArrays(*planes, DeltaFunctionKernel(3, 3, (1, 1)), PLAIN)
    for new, old in zip(got, planes, strict=True):
        np.testing.assert_array_equal(new[1:-1, 1:-1], old[1:-1, 1:-1])


def test_spatialModelIsEvaluatedAtParentPositions(rng):
    planes = scene(rng)
    for name in ("threeBases", "varyingAnalytic"):
        assertEqualsSlowLoop(KERNELS[name](rng), planes, (300, 200), False, 1e-5)


@pytest.mark.parametrize("name", ["fixed", "even", "separable", "fourBases", "varyingAnalytic"])
def test_edges(name, rng):
    planes = scene(rng)
    kernel = KERNELS[name](rng)
    edge = np.ones(planes[0].shape, bool)
    edge[good(kernel, edge.shape)] = False
    image, mask, variance = convolveArrays(*planes, kernel, PLAIN)
    assert np.isnan(image[edge]).all()
    assert (mask[edge] == NO_DATA).all()
    assert np.isposinf(variance[edge]).all()
    assert np.isfinite(image[~edge]).all()
    image, mask, variance = convolveArrays(*planes, kernel, ConvolutionControl(False, True))
    np.testing.assert_array_equal(image[edge], planes[0][edge])
    np.testing.assert_array_equal(mask[edge], planes[1][edge] | EDGE)
    np.testing.assert_array_equal(variance[edge], planes[2][edge])


def test_centreOfEvenKernels(rng):
    """Two rows, four columns: one column lost on the left, two on the right; no row at the bottom, one at the top."""
    image = convolveArrays(*scene(rng), FixedKernel(np.ones((2, 4))), PLAIN)[0]
    lost = np.isnan(image)
    assert lost[:, 0].all() and lost[:, -2:].all() and lost[-1].all()
    assert not lost[:-1, 1:-2].any()


def test_wrongSizesAndArguments(rng):
    image, mask, variance = scene(rng, 10, 12)
    kernel = FixedKernel(np.ones((3, 3)))
    with pytest.raises(ShapeError):
        convolveArrays(image, mask, variance, kernel, out=(image[1:].copy(), mask[1:].copy(), variance[1:].copy()))
    for shape in ((11, 3), (3, 13)):
        with pytest.raises(ShapeError, match="smaller than the kernel"):
            convolveArrays(image, mask, variance, FixedKernel(np.ones(shape)))
    with pytest.raises(ShapeError):
        convolveArrays(image, mask, None, kernel)
    with pytest.raises(ShapeError):
        convolveArrays(image, mask[:-1], variance, kernel)
    with pytest.raises(DomainError, match="share memory"):
        convolveArrays(image, None, None, kernel, out=(image, None, None))
    with pytest.raises(TypeError):
        convolveArrays(image.astype(">f4"), None, None, kernel)
    with pytest.raises(DomainError, match="method"):
        convolveArrays(image, None, None, kernel, method="magic")
    with pytest.raises(DomainError):
        convolveArrays(image, None, None, varyingGaussian(), method="fft")
    with pytest.raises(DomainError):
        ConvolutionControl(model="other")


def test_controlDefaults():
    control = ConvolutionControl()
    assert (control.doNormalize, control.doCopyEdge, control.maxInterpolationDistance) == (True, False, 10)
    assert control.model == "exact"


@pytest.mark.parametrize(("n", "distance"), [(50, 10), (49, 10), (51, 10), (7, 10), (100, 7), (1, 1)])
def test_subregionLengths(n, distance):
    lengths = subregionLengths(n, distance)
    assert sum(lengths) == n
    assert len(lengths) == 1 + n // distance
    assert set(lengths) <= {n // len(lengths), -(-n // len(lengths))}


def test_varianceClosedForm(rng):
    """Unit input variance gives the sum of squares of the kernel, everywhere."""
    kernel = gaussianCombination(4)
    one = np.ones((30, 33), np.float32)
    variance = convolveArrays(one, np.zeros(one.shape, np.int32), one, kernel, PLAIN)[2]
    for x, y in ((5, 6), (20, 11), (28, 25)):
        assert variance[y, x] == pytest.approx((kernel.imageAt(x, y) ** 2).sum(), rel=1e-6)


@pytest.mark.parametrize("method", ["direct", "fft"])
def test_nanMakesExactlyItsFootprintNan(method, rng):
    image, mask, variance = scene(rng, 60, 70)
    image[30, 35] = np.nan
    variance[12, 50] = np.inf
    variance[45, 20] = np.nan
    kernel = LinearCombinationKernel([FixedKernel(rng.uniform(1, 2, (7, 9))) for _ in range(2)], PolynomialFunction2(1))
    kernel.spatialParameters = [[1.0, 0.001, 0.0], [0.5, 0.0, 0.001]]
    out = convolveArrays(image, mask, variance, kernel, ConvolutionControl(False, True), method=method)
    expected = np.zeros(image.shape, bool)
    expected[27:34, 31:40] = True
    np.testing.assert_array_equal(np.isnan(out[0]), expected)
    expected[:] = False
    expected[9:16, 46:55] = True
    np.testing.assert_array_equal(np.isposinf(out[2]), expected)
    expected[:] = False
    expected[42:49, 16:25] = True
    np.testing.assert_array_equal(np.isnan(out[2]), expected)


@pytest.mark.parametrize("varying", [False, True])
def test_zeroTapsSpreadNothing(varying, rng):
    """A kernel with holes: neither mask bits nor NaN pass through taps that are exactly zero."""
    image, mask, variance = scene(rng, 40, 50)
    image[20, 25] = np.nan
    variance[10, 12] = np.inf
    pixels = rng.uniform(1, 2, (5, 7)) * (rng.random((5, 7)) < 0.6)
    pixels[2, 3] = 0
    kernel = FixedKernel(pixels)
    if varying:
        kernel = LinearCombinationKernel([kernel, FixedKernel(2 * pixels)], PolynomialFunction2([1.0, 0.01, 0.0]))
        kernel.spatialParameters = [[1.0, 0.01, 0.0], [0.0, 0.0, 0.01]]
    out = convolveArrays(image, mask, variance, kernel, ConvolutionControl(False, True))
    want = convolveSlowly(image, mask, variance, kernel.imageAt, pixels.shape)
    inside = good(kernel, image.shape)
    np.testing.assert_allclose(out[0][inside], want[0][inside], rtol=1e-5)
    np.testing.assert_allclose(out[2][inside], want[2][inside], rtol=1e-5)
    np.testing.assert_array_equal(out[1][inside], want[1][inside])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (4, 6), (21, 21), (16, 17)])
def test_maskDilation(shape, rng):
    mask = ((rng.random((80, 150)) < 0.003) * rng.integers(1, 1 << 20, (80, 150))).astype(np.int32)
    zero = np.zeros(mask.shape, np.float32)
    for support in (np.ones(shape, bool), rng.random(shape) < 0.5):
        kernel = FixedKernel(support.astype(float))
        got = convolveArrays(zero, mask, zero, kernel, PLAIN)[1]
        inside = good(kernel, mask.shape)
        np.testing.assert_array_equal(got[inside], spreadMaskSlowly(mask, support)[inside])


def test_negligibleTapsAreExactZeros(rng):
    """The wings of a narrow Gaussian underflow: they spread no mask bit, and cost no subnormal arithmetic."""
    kernel = AnalyticKernel(21, 21, GaussianFunction2(0.7, 0.7))
    image, mask, variance = scene(rng, 50, 50)
    mask[:] = 0
    mask[25, 25] = 4
    out = convolveArrays(image, mask, variance, kernel, PLAIN)[1]
    rows, columns = np.nonzero(out & 4)
    assert rows.max() - 25 == 6  # exp(-36/0.98) is the last above 2^-53; the kernel reaches to 10
    y, x = np.mgrid[-10:11, -10:11]
    taps = np.exp(-(x**2 + y**2) / (2 * 0.49))
    assert len(rows) == np.count_nonzero(taps > 2.0**-53)


def test_normalisingAZeroSumRaises(rng):
    planes = scene(rng)
    odd = FixedKernel([[1.0, 0.0, -1.0]])
    with pytest.raises(NumericalError):
        convolveArrays(*planes, odd)
    varying = LinearCombinationKernel([FixedKernel(np.ones((1, 3)))], PolynomialFunction2([0.0]))
    with pytest.raises(NumericalError):
        convolveArrays(*planes, varying)
    separable = SeparableKernel(3, 1, PolynomialFunction1([0.0, 1.0]), PolynomialFunction1([1.0]))
    with pytest.raises(NumericalError):
        convolveArrays(*planes, separable)


def alKernel(rng, size, order, box):
    core = pytest.importorskip("stillsky._core")
    bases = core.makeAlardLuptonBasisList(size // 2, 3, [0.7, 1.5, 3.0], [4, 2, 2])
    kernel = LinearCombinationKernel(bases, Chebyshev1Function2(order, box))
    n = kernel.nSpatialParameters
    parameters = rng.normal(0, 0.02, (27, n))
    parameters[0] = [1.0] + [0.0] * (n - 1)
    kernel.spatialParameters = parameters.tolist()
    return kernel


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_directAndFftAgree(order, normalize, rng):
    """1e-5 of the local scale, also beside a star 1e5 times the noise."""
    image, mask, variance = scene(rng, 400, 420)
    image[100:104, 300:304] += 5e5
    variance[100:104, 300:304] += 5e5
    image[333, 21] = np.nan
    kernel = alKernel(rng, 27, order, (-0.5, -0.5, 419.5, 399.5))
    control = ConvolutionControl(normalize)
    a = convolveArrays(image, mask, variance, kernel, control, method="direct", xy0=(7, -3))
    b = convolveArrays(image, mask, variance, kernel, control, method="fft", xy0=(7, -3))
    np.testing.assert_array_equal(a[1], b[1])
    np.testing.assert_array_equal(np.isnan(a[0]), np.isnan(b[0]))
    absolute = FixedKernel(np.abs(kernel.imageAt(200, 200, doNormalize=normalize)))
    local = convolveArrays(np.abs(np.nan_to_num(image)), None, None, absolute, PLAIN)[0]
    finite = np.isfinite(a[0])
    assert (np.abs(a[0] - b[0]) / local)[finite].max() < 1e-5
    finite = np.isfinite(a[2])
    assert np.abs(a[2][finite] / b[2][finite] - 1).max() < 1e-5


@pytest.mark.parametrize("method", ["direct", "fft"])
def test_noStepAcrossTileBorders(method, rng):
    """A flat image with a smoothly varying kernel: no step from pixel to pixel beyond the model's own slope."""
    image = np.full((300, 900), 1000, np.float64)
    kernel = alKernel(rng, 27, 1, (-0.5, -0.5, 899.5, 299.5))
    parameters = kernel.spatialParameters
    parameters[0] = [1.0, 1e-4, 1e-4]
    kernel.spatialParameters = parameters
    out = convolveArrays(image, None, None, kernel, PLAIN, method=method)[0][13:-13, 13:-13] / 1000
    slope = 1e-4 * 2 / 900
    assert np.abs(np.diff(out, axis=1) - slope).max() < 1e-6
    single = convolveArrays(image.astype(np.float32), None, None, kernel, PLAIN, method=method)[0][13:-13, 13:-13]
    step = np.diff(single.astype(float) / 1000, axis=1) - slope
    assert np.abs(step.mean(axis=0)).max() < 1e-6  # along a whole border; single pixels round by more


def test_scaledPolynomialEqualsChebyshevModel(rng):
    """Order 2 over 4096 pixels: raw powers and Chebyshev polynomials give the same convolution kernel to 1e-8."""
    from stillsky import _core

    box = (-0.5, -0.5, 4095.5, 4095.5)
    bases = [FixedKernel(rng.normal(size=(3, 3))) for _ in range(2)]
    cheb = LinearCombinationKernel(bases, Chebyshev1Function2(2, box))
    cheb.spatialParameters = rng.normal(size=(2, 6)).tolist()
    raw = LinearCombinationKernel(bases, PolynomialFunction2(2))
    x, y = rng.uniform(0, 4095, (2, 50))
    design = PolynomialFunction2(2).basisValues((x - 2047.5) / 2048, (y - 2047.5) / 2048)
    converted = []
    for i in range(2):
        scaled = np.linalg.lstsq(design, cheb.getSpatialFunction(i)(x, y), rcond=None)[0]
        c, s = 2047.5, 2048.0
        a, bx, by, cxx, cxy, cyy = scaled
        converted.append(
            [
                a - bx * c / s - by * c / s + (cxx + cxy + cyy) * (c / s) ** 2,
                bx / s - 2 * cxx * c / s**2 - cxy * c / s**2,
                by / s - 2 * cyy * c / s**2 - cxy * c / s**2,
                cxx / s**2,
                cxy / s**2,
                cyy / s**2,
            ]
        )
    raw.spatialParameters = converted
    for u, v in rng.uniform(0, 4095, (100, 2)):
        np.testing.assert_allclose(raw.imageAt(u, v), cheb.imageAt(u, v), rtol=0, atol=1e-8)
    a, b = _core.kernelTerms(raw, 4096, 4096), _core.kernelTerms(cheb, 4096, 4096)
    np.testing.assert_allclose(a[1], b[1], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, "direct") for name in ("fixed", "separable", "fourBases", "varyingAnalytic", "deltaBases")),
        *((name, "fft") for name in ("fixed", "fourBases", "deltaBases")),
    ],
)
def test_resultsDoNotDependOnThreadCount(name, method, rng):
    planes = scene(rng, 150, 160)
    kernel = KERNELS[name](rng)
    results = []
    try:
        for threads in (1, 2, 7):
            setNumThreads(threads)
            results.append(convolveArrays(*planes, kernel, PLAIN, method=method))
    finally:
        setNumThreads(0)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_inputIsNotModifiedAndReadOnlyServes(rng):
    planes = scene(rng)
    copies = [p.copy() for p in planes]
    for p in planes:
        p.setflags(write=False)
    convolveArrays(*planes, gaussianCombination(4), PLAIN)
    for p, c in zip(planes, copies, strict=True):
        np.testing.assert_array_equal(p, c)


def test_stridedViews(rng):
    """Sub-images share rows with their parent and are used without a copy."""
    planes = scene(rng, 60, 80)
    box = np.s_[10:50, 20:70]
    kernel = gaussianCombination(4)
    views = [p[box] for p in planes]
    got = convolveArrays(*views, kernel, PLAIN, xy0=(20, 10))
    want = convolveArrays(*[v.copy() for v in views], kernel, PLAIN, xy0=(20, 10))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_scaledPlusArrays(rng):
    a, b = rng.normal(size=(2, 30, 40)).astype(np.float32)
    out = np.empty_like(a)
    scaledPlus(out, 2.0, a, -0.5, b)
    np.testing.assert_allclose(out, 2 * a - 0.5 * b, rtol=1e-6, atol=1e-6)
    scaledPlus(a, 1.0, a, 1.0, b)  # in place
    np.testing.assert_allclose(a, out / 2 + 1.25 * b, rtol=1e-5, atol=1e-5)
    with pytest.raises(ShapeError):
        scaledPlus(out, 1.0, a, 1.0, b[1:])


# ---- stored reference figures


@pytest.fixture(scope="module")
def golden(sharedDir):
    with np.load(sharedDir / "golden" / "convolve.npz") as arrays:
        return json.loads((sharedDir / "golden" / "convolve.json").read_text()), dict(arrays)


def goldenKernel(case, arrays):
    bases = [FixedKernel(b) for b in arrays["basis"]]
    if case["type"] == "polynomial":
        functions = [PolynomialFunction2(p) for p in case["params"]]
    else:
        functions = [Chebyshev1Function2(p, tuple(case["box"])) for p in case["params"]]
    return LinearCombinationKernel(bases, functions)


@pytest.mark.shared
def test_convolutionsEqualGoldens(golden):
    """Image 1e-6 of the maximum, variance 2e-6, masks exact, edges included. Cases interpolated at 10 pixels are
    compared with the imitation of that interpolation."""
    recipe, arrays = golden
    image, mask, variance = arrays["image"], arrays["mask"], arrays["variance"]
    assert len(recipe["cases"]) == 24
    for name, case in recipe["cases"].items():
        distance = case["maxInterpolationDistance"]
        control = ConvolutionControl(
            case["doNormalize"], case["doCopyEdge"], distance, "reference" if distance > 1 else "exact"
        )
        out = convolveArrays(image, mask, variance, goldenKernel(case, arrays), control)
        np.testing.assert_array_equal(out[1], arrays[f"{name}_mask"])
        for plane, kind, tolerance in ((out[0], "image", 1e-6), (out[2], "variance", 2e-6)):
            want = arrays[f"{name}_{kind}"]
            finite = np.isfinite(want)
            np.testing.assert_array_equal(plane[~finite], want[~finite])
            np.testing.assert_allclose(plane[finite], want[finite], rtol=0, atol=tolerance * np.abs(want[finite]).max())


@pytest.mark.shared
def test_interpolationIsExactForUnnormalisedOrderOne(golden):
    """Unnormalised order 1: interpolated equals exact to float32; normalised it does not (3e-5 of the scale)."""
    recipe, arrays = golden
    planes = arrays["image"], arrays["mask"], arrays["variance"]
    for normalize, low, high in ((False, 0, 2e-6), (True, 1e-6, 1e-4)):
        kernel = goldenKernel(recipe["cases"]["polynomial1_norm0_copy0_interp0"], arrays)
        exact = convolveArrays(*planes, kernel, ConvolutionControl(normalize))[0]
        nodes = convolveArrays(*planes, kernel, ConvolutionControl(normalize, model="reference"))[0]
        finite = np.isfinite(exact)
        error = np.abs(exact - nodes)[finite].max() / np.abs(exact[finite]).max()
        assert low <= error < high


@pytest.mark.shared
def test_deltaCasesEqualGoldens(golden):
    _, arrays = golden
    image = np.zeros((9, 10), np.float32)
    mask = np.zeros((9, 10), np.int32)
    y, x = np.argwhere(arrays["delta_fixed_image"] == 5)[0]  # the centre pixel of 1..9
    image[y, x] = 1
    variance = np.ones_like(image)
    numbered = FixedKernel(np.arange(1.0, 10).reshape(3, 3))
    got = convolveArrays(image, mask, variance, numbered, PLAIN)[0]
    np.testing.assert_array_equal(got, arrays["delta_fixed_image"])
    even = convolveArrays(image, mask, variance, FixedKernel(np.arange(1.0, 9).reshape(2, 4)), PLAIN)[0]
    np.testing.assert_array_equal(np.isnan(even), np.isnan(arrays["delta_even_image"]))


@pytest.mark.shared
def test_kernelImagesAndSumsEqualGoldens(golden):
    recipe, arrays = golden
    case = recipe["cases"]["chebyshev12_norm0_copy0_interp0"]
    kernel = goldenKernel(case, arrays)
    for x, y, total in recipe["kernel_sums_chebyshev2"]:
        np.testing.assert_allclose(kernel.imageAt(x, y), arrays[f"kimg_{x}_{y}"], rtol=0, atol=1e-12)
        assert kernel.sumAt(x, y) == pytest.approx(total, rel=1e-12)
