"""Kernel classes: geometry, evaluation, parameters, copies."""

import copy
import pickle

import numpy as np
import pytest

from stillsky.errors import DomainError, NumericalError, ShapeError, StillskyError
from stillsky.kernel import (
    AnalyticKernel,
    Chebyshev1Function2,
    DeltaFunctionKernel,
    FixedKernel,
    GaussianFunction1,
    GaussianFunction2,
    LinearCombinationKernel,
    PolynomialFunction1,
    PolynomialFunction2,
    SeparableKernel,
)

BOX = (-0.5, -0.5, 99.5, 79.5)


def oneOfEach(rng):
    bases = [FixedKernel(rng.normal(size=(5, 7))) for _ in range(4)]
    varying = LinearCombinationKernel(bases, Chebyshev1Function2(2, BOX))
    varying.spatialParameters = rng.normal(size=(4, 6)).tolist()
    sigmas = [PolynomialFunction2([1.5, 1e-3, 0.0]), PolynomialFunction2([2.0, 0.0, 1e-3]), PolynomialFunction2(1)]
    return [
        bases[0],
        AnalyticKernel(7, 6, GaussianFunction2(1.5, 2.5, 0.4)),
        AnalyticKernel(7, 6, GaussianFunction2(1.0, 1.0), sigmas),
        DeltaFunctionKernel(5, 4, (3, 2)),
        SeparableKernel(7, 6, GaussianFunction1(1.5), GaussianFunction1(2.5)),
        LinearCombinationKernel(bases, [1.0, 0.5, -0.25, 0.1]),
        varying,
    ]


@pytest.mark.parametrize("width", [1, 2, 6])
@pytest.mark.parametrize("height", [1, 2, 5])
def test_shrinkAndGrowBoxes(width, height):
    geom = pytest.importorskip("stillsky.geom")
    kernel = FixedKernel(np.ones((height, width)))
    full = geom.Box2I((11, -3), (width + 4, height + 7))
    shrunk = kernel.shrinkBBox(full)
    assert (shrunk.width, shrunk.height) == (full.width + 1 - width, full.height + 1 - height)
    assert (shrunk.minX, shrunk.minY) == (11 + (width - 1) // 2, -3 + (height - 1) // 2)
    assert kernel.growBBox(shrunk) == full
    for small in (geom.Box2I((0, 0), (width - 1, height)), geom.Box2I((0, 0), (width, height - 1))):
        with pytest.raises(ShapeError):
            kernel.shrinkBBox(small)
    assert kernel.bbox == geom.Box2I((-((width - 1) // 2), -((height - 1) // 2)), (width, height))


def test_deltaKernel():
    for w, h in ((1, 1), (2, 3), (3, 2)):
        for x in range(w):
            for y in range(h):
                image = DeltaFunctionKernel(w, h, (x, y)).imageAt()
                assert image.sum() == 1
                assert image[y, x] == 1
        for bad in ((-1, 0), (w, 0), (0, -1), (0, h)):
            with pytest.raises(DomainError):
                DeltaFunctionKernel(w, h, bad)


@pytest.mark.parametrize("value", [-1.0, -1e-99, 0.0, 1e99, 1.0])
def test_normalisingFailsOnlyForSumZero(value):
    """Analytic, fixed, separable and linear combination alike."""
    line = PolynomialFunction1([value])
    kernels = [
        AnalyticKernel(3, 2, PolynomialFunction2([value])),
        FixedKernel(np.full((2, 3), value)),
        SeparableKernel(3, 2, line, PolynomialFunction1([1.0])),
        LinearCombinationKernel([FixedKernel(np.ones((2, 3)))], [value]),
        LinearCombinationKernel([FixedKernel(np.ones((2, 3)))], PolynomialFunction2([value])),
    ]
    for kernel in kernels:
        if value == 0:
            with pytest.raises(NumericalError):
                kernel.imageAt(doNormalize=True)
        else:
            image = np.empty((2, 3))
            assert kernel.computeImage(image, True) == 1
            assert image.sum() == pytest.approx(1, abs=1e-12)


def test_zeroSumOfAlternatingPixels():
    kernel = FixedKernel([[1.0, -1.0]])
    assert kernel.sum == 0
    with pytest.raises(NumericalError):
        kernel.imageAt(doNormalize=True)


def test_analyticKernelIsSampledAtPixelCentres():
    kernel = AnalyticKernel(7, 6, GaussianFunction2(1.5, 2.5, 0.4))
    y, x = np.mgrid[:6, :7]
    np.testing.assert_allclose(kernel.imageAt(), GaussianFunction2(1.5, 2.5, 0.4)(x - 3.0, y - 2.0), rtol=1e-14)
    larger = np.empty((10, 9))  # any size is accepted
    kernel.computeImage(larger, False)
    y, x = np.mgrid[:10, :9]
    np.testing.assert_allclose(larger, GaussianFunction2(1.5, 2.5, 0.4)(x - 4.0, y - 4.0), rtol=1e-14)


def test_computeImageWrongSizeRaises(rng):
    for kernel in oneOfEach(rng):
        if isinstance(kernel, AnalyticKernel):
            continue
        for dx, dy in ((1, 0), (0, 1)):
            with pytest.raises(ShapeError):
                kernel.computeImage(np.empty((kernel.height + dy, kernel.width + dx)), False)


def test_computeImageIntoFloat32():
    kernel = FixedKernel([[0.1, 0.2]])
    image = np.empty((1, 2), np.float32)
    assert kernel.computeImage(image, False) == pytest.approx(0.3)
    np.testing.assert_array_equal(image, np.array([[0.1, 0.2]], np.float32))


def test_separableKernelIsOuterProduct():
    kernel = SeparableKernel(7, 6, GaussianFunction1(1.5), PolynomialFunction1([1.0, 0.5]))
    gx, gy = GaussianFunction1(1.5)(np.arange(7) - 3.0), 1 + 0.5 * (np.arange(6) - 2.0)
    np.testing.assert_allclose(kernel.imageAt(), np.outer(gy, gx), rtol=1e-14)
    assert kernel.kernelParameters == [1.5, 1.0, 0.5]
    np.testing.assert_allclose(kernel.imageAt(doNormalize=True), np.outer(gy / gy.sum(), gx / gx.sum()), rtol=1e-13)
    kernel.kernelParameters = [2.0, 1.0, 0.0]
    assert kernel.functionX.parameters == [2.0]


def test_linearCombinationErrors(rng):
    bases = [FixedKernel(rng.normal(size=(2, 3))) for _ in range(2)]
    linear = PolynomialFunction2(1)
    for make in (
        lambda: LinearCombinationKernel([], [1.0]),
        lambda: LinearCombinationKernel([], linear),
        lambda: LinearCombinationKernel(bases, [1.0]),
        lambda: LinearCombinationKernel(bases, [linear] * 3),
        lambda: LinearCombinationKernel([bases[0], FixedKernel(np.ones((3, 3)))], [1.0, 1.0]),
        lambda: LinearCombinationKernel([LinearCombinationKernel(bases, linear)], [1.0]),
    ):
        with pytest.raises(DomainError):
            make()


def test_linearCombinationCopiesDeeply():
    x = np.zeros((2, 3))
    x[0, 1] = 1
    gauss = AnalyticKernel(3, 2, GaussianFunction2(1.0, 1.0))
    kernel = LinearCombinationKernel([gauss, FixedKernel(x)], [1.0, 1.0])
    before = kernel.imageAt()
    gauss.kernelParameters = [3.0, 3.0, 0.0]
    np.testing.assert_array_equal(kernel.imageAt(), before)
    kernel.kernelList[0].kernelParameters = [3.0, 3.0, 0.0]
    np.testing.assert_array_equal(kernel.imageAt(), before)


def test_twoBasesWithLinearCoefficients():
    bases = []
    for i in range(2):
        pixels = np.zeros((2, 3))
        pixels[0, i] = 1
        bases.append(FixedKernel(pixels))
    kernel = LinearCombinationKernel(bases, PolynomialFunction2(1))
    kernel.spatialParameters = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert kernel.kernelParametersAt(0.5, 0.5) == [0.5, 0.5]
    assert kernel.imageAt(0.25, 0.75)[0, :2].tolist() == [0.25, 0.75]
    other = kernel.clone()
    kernel.spatialParameters = [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert other.kernelParametersAt(0.5, 0.5) == [0.5, 0.5]
    assert other != kernel


@pytest.mark.parametrize("order", [0, 1, 2])
def test_refactorKeepsTheKernel(order, rng):
    y, x = np.mgrid[:3, :4]
    deltas = [DeltaFunctionKernel(4, 3, (i, j)) for j in range(3) for i in range(4)]
    gauss = [AnalyticKernel(4, 3, GaussianFunction2(s, s)) for s in (0.7, 1.5, 3.0)]
    for bases in (deltas, gauss):
        for prototype in (PolynomialFunction2(order), Chebyshev1Function2(order, BOX)):
            kernel = LinearCombinationKernel(bases, prototype)
            kernel.spatialParameters = rng.normal(size=(len(bases), prototype.nParameters)).tolist()
            short = kernel.refactor()
            assert short.nBasisKernels == {0: 1, 1: 3, 2: 6}[order]
            for u, v in rng.uniform(0, 80, (5, 2)):
                scale = np.abs(kernel.imageAt(u, v)).max()
                np.testing.assert_allclose(short.imageAt(u, v), kernel.imageAt(u, v), rtol=0, atol=1e-12 * scale)


def test_refactorIsRefusedWhereImpossible(rng):
    bases = [FixedKernel(rng.normal(size=(2, 3))) for _ in range(2)]
    assert LinearCombinationKernel(bases, [1.0, 2.0]).refactor() is None
    mixed = [PolynomialFunction2(1), Chebyshev1Function2(1, BOX)]
    assert LinearCombinationKernel(bases, mixed).refactor() is None
    boxes = [Chebyshev1Function2(1, (0, 0, 1, 1)), Chebyshev1Function2(1, BOX)]
    assert LinearCombinationKernel(bases, boxes).refactor() is None
    assert LinearCombinationKernel(bases, GaussianFunction2(1.0, 1.0)).refactor() is None


def test_centreOfEvenKernelsDoesNotDependOnTheConstructor(rng):
    """(w - 1) / 2, (h - 1) / 2 in integers, whether the coefficients are numbers, one function or one per basis."""
    bases = [FixedKernel(rng.normal(size=(4, 6))) for _ in range(2)]
    functions = PolynomialFunction2(1)
    for kernel in (
        LinearCombinationKernel(bases, [1.0, 2.0]),
        LinearCombinationKernel(bases, functions),
        LinearCombinationKernel(bases, [functions, functions]),
        AnalyticKernel(6, 4, GaussianFunction2(1.0, 1.0)),
        AnalyticKernel(6, 4, GaussianFunction2(1.0, 1.0), [PolynomialFunction2(1)] * 3),
        DeltaFunctionKernel(6, 4, (0, 0)),
    ):
        assert tuple(kernel.center) == (2, 1)


def test_sumIsThatOfTheBases(rng):
    kernel = oneOfEach(rng)[-1]
    image = np.empty((5, 7))
    total = kernel.computeImage(image, False, 13.0, 27.0)
    expected = np.dot(kernel.kernelParametersAt(13.0, 27.0), kernel.kernelSumList)
    assert total == pytest.approx(expected, rel=1e-14)
    assert kernel.sumAt(13.0, 27.0) == pytest.approx(image.sum(), rel=1e-12)
    assert kernel.basisArray().shape == (4, 5, 7)


def test_spatialParameters(rng):
    fixed, varying = oneOfEach(rng)[5], oneOfEach(rng)[6]
    assert not fixed.isSpatiallyVarying
    assert fixed.nSpatialParameters == 0
    fixed.spatialParameters = [[], [], [], []]
    assert fixed.spatialParameters == []
    assert varying.nSpatialParameters == 6
    before = varying.spatialParameters
    for bad in ([[0.0] * 6] * 3, [[0.0] * 6] * 3 + [[0.0] * 5]):
        with pytest.raises(DomainError):
            varying.spatialParameters = bad
    assert varying.spatialParameters == before
    with pytest.raises(DomainError):
        fixed.spatialParameters = [[1.0], [], [], []]
    with pytest.raises(StillskyError, match="varies"):
        varying.kernelParameters = [0.0] * 4
    with pytest.raises(DomainError):
        fixed.kernelParameters = [0.0] * 3
    copyOfFunction = varying.getSpatialFunction(0)
    copyOfFunction.setParameter(0, 99.0)
    assert varying.spatialParameters == before
    for kernel, i in ((varying, 4), (varying, -1), (fixed, 0)):
        with pytest.raises(DomainError):
            kernel.getSpatialFunction(i)


def test_resized(rng):
    pixels = rng.normal(size=(3, 5))
    fixed = FixedKernel(pixels)
    grown = fixed.resized(7, 7).imageAt()
    np.testing.assert_array_equal(grown[2:5, 1:6], pixels)
    assert grown.sum() == pytest.approx(pixels.sum())
    np.testing.assert_array_equal(fixed.resized(3, 1).imageAt(), pixels[1:2, 1:4])
    for w, h in ((6, 3), (5, 4), (-1, 3), (5, -3)):
        with pytest.raises(DomainError):
            fixed.resized(w, h)
    assert DeltaFunctionKernel(3, 3, (2, 1)).resized(5, 5).pixel == (3, 2)
    with pytest.raises(DomainError):
        DeltaFunctionKernel(3, 3, (2, 1)).resized(4, 3)
    gauss = AnalyticKernel(5, 5, GaussianFunction2(1.5, 1.5))
    np.testing.assert_allclose(gauss.resized(8, 9).imageAt()[2:7, 1:6], gauss.imageAt(), rtol=1e-14)
    combination = LinearCombinationKernel([fixed, fixed], PolynomialFunction2(1))
    assert combination.resized(7, 5).dimensions == (7, 5)


def test_snapshotOfAVaryingKernel(rng):
    kernel = oneOfEach(rng)[-1]
    snapshot = FixedKernel(kernel, (12.5, 40.0))
    np.testing.assert_array_equal(snapshot.imageAt(), kernel.imageAt(12.5, 40.0))


def test_copiesPicklesAndEquality(rng):
    kernels = oneOfEach(rng)
    for i, kernel in enumerate(kernels):
        for other in (kernel.clone(), copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))):
            assert other == kernel
            assert type(other) is type(kernel)
            np.testing.assert_array_equal(other.imageAt(3.0, 4.0), kernel.imageAt(3.0, 4.0))
        assert all(kernel != other for j, other in enumerate(kernels) if j != i)
        assert type(kernel).__name__ in repr(kernel)
    with pytest.raises(TypeError):
        hash(kernels[0])


def test_fixedKernelCopiesItsPixels():
    pixels = np.ones((3, 3))
    kernel = FixedKernel(pixels)
    pixels[:] = 7
    assert kernel.sum == 9
    assert kernel.center == (1, 1)
    assert FixedKernel(np.ones((2, 4))).center == (1, 0)
    with pytest.raises(DomainError):
        FixedKernel(np.ones((0, 3)))
    with pytest.raises(ShapeError):
        FixedKernel(np.ones(3))


def test_evaluationIsReentrant(rng):
    """Many threads evaluate one varying kernel at different positions at once."""
    from concurrent.futures import ThreadPoolExecutor

    kernel = oneOfEach(rng)[2]
    positions = [(float(x), float(2 * x)) for x in range(40)]
    alone = [kernel.imageAt(*p) for p in positions]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda p: kernel.imageAt(*p), positions))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)
