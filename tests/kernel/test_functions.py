"""Functions of position: orders of terms, values, errors."""

import copy
import json
import pickle

import numpy as np
import pytest

from stillsky.errors import DomainError, OutOfBoundsError
from stillsky.kernel import (
    Chebyshev1Function2,
    DoubleGaussianFunction2,
    GaussianFunction1,
    GaussianFunction2,
    PolynomialFunction1,
    PolynomialFunction2,
    polynomialOrder,
    polynomialSize,
    polynomialTerms,
)

BOX = (9.5, 19.5, 109.5, 69.5)  # 100 x 50 pixels from (10, 20), extended by half a pixel


def test_polynomialTermsAtTwoThree():
    np.testing.assert_array_equal(PolynomialFunction2(3).basisValues(2, 3), [1, 2, 3, 4, 6, 9, 8, 12, 18, 27])


def test_chebyshevTermsOverABox():
    f = Chebyshev1Function2(2, BOX)
    expected = {
        (59.5, 44.5): (1, 0, 0, -1, 0, -1),
        (10, 20): (1, -0.99, -0.98, 0.9602, 0.9702, 0.9208),
        (34.5, 57): (1, -0.5, 0.5, -0.5, -0.25, -0.5),
    }
    for (x, y), values in expected.items():
        np.testing.assert_allclose(f.basisValues(x, y), values, rtol=0, atol=1e-12)


def test_boxOfPixelsIsExtendedByHalfAPixel():
    class PixelBox:
        minX, minY, maxX, maxY, width, height = 10, 20, 109, 69, 100, 50

    assert Chebyshev1Function2(1, PixelBox()).box == BOX


def test_countsOrdersAndErrors():
    assert [polynomialSize(o) for o in range(5)] == [1, 3, 6, 10, 15]
    assert [polynomialOrder(n) for n in (1, 3, 6, 10, 15)] == [0, 1, 2, 3, 4]
    assert polynomialTerms(2) == [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]
    for make in (lambda: PolynomialFunction2([1.0] * 4), lambda: PolynomialFunction2(-1), lambda: polynomialOrder(0)):
        with pytest.raises(DomainError):
            make()
    with pytest.raises(DomainError, match="at most the present order 2"):
        Chebyshev1Function2(2, BOX).truncate(3)
    with pytest.raises(DomainError, match="box"):
        Chebyshev1Function2(1, (0, 0, 0, 5))
    with pytest.raises(DomainError):
        PolynomialFunction2(1).setParameters([1.0])
    with pytest.raises(OutOfBoundsError):
        PolynomialFunction2(1).setParameter(3, 1.0)


@pytest.mark.parametrize("order", range(6))
def test_valueIsDotProductWithTerms(order, rng):
    for f in (PolynomialFunction2(order), Chebyshev1Function2(order, BOX)):
        assert f.parameters == [0.0] * polynomialSize(order)
        f.parameters = rng.normal(size=f.nParameters)
        for x, y in rng.uniform(-1, 1, (5, 2)) * (1.0 if isinstance(f, PolynomialFunction2) else 60.0):
            terms = f.basisValues(x, y)
            assert f(x, y) == pytest.approx(np.dot(f.parameters, terms), rel=1e-12, abs=1e-12 * np.abs(terms).max())


def test_truncateKeepsTheLowTerms(rng):
    p = rng.normal(size=10)
    short = Chebyshev1Function2(p, BOX).truncate(1)
    assert short.parameters == list(p[:3])
    assert short.order == 1


def test_callsBroadcast():
    f = PolynomialFunction2([1.0, 2.0, 3.0])
    x, y = np.meshgrid(np.arange(4.0), np.arange(3.0))
    np.testing.assert_allclose(f(x, y), 1 + 2 * x + 3 * y)
    assert f.basisValues(x, y).shape == (3, 4, 3)


def test_gaussians():
    g = GaussianFunction2(2.0, 1.0, np.pi / 2)
    assert g(0, 2) == pytest.approx(np.exp(-0.5) / (4 * np.pi), rel=1e-12)  # long axis along y
    x, y = np.meshgrid(np.arange(-30, 31.0), np.arange(-30, 31.0))
    assert g(x, y).sum() == pytest.approx(1, abs=1e-8)  # sampling a width of 1 adds 2 exp(-2 pi^2)
    assert DoubleGaussianFunction2(1.5, 4.0, 0.1)(x, y).sum() == pytest.approx(1, abs=1e-9)
    d = DoubleGaussianFunction2(1.0, 30.0, 0.1)
    assert (d(4, 0) / d(0, 0)) == pytest.approx((np.exp(-8) + 0.1 * np.exp(-16 / 1800)) / 1.1, rel=1e-12)
    assert GaussianFunction1(2.0)(0) == pytest.approx(1 / np.sqrt(8 * np.pi), rel=1e-12)
    assert PolynomialFunction1([1.0, 0.0, 2.0])(3) == 19
    for bad in (
        lambda: GaussianFunction2(0, 1),
        lambda: GaussianFunction1(-1),
        lambda: DoubleGaussianFunction2(1, 0, 1),
    ):
        with pytest.raises(DomainError):
            bad()
    DoubleGaussianFunction2(1, 0, 0)  # no wing: its width does not matter


def test_copiesAndPickles():
    for f in (
        PolynomialFunction2([1.0, 2.0, 3.0]),
        Chebyshev1Function2([1.0, 2.0, 3.0], BOX),
        GaussianFunction2(1.0, 2.0, 0.3),
        DoubleGaussianFunction2(1.0, 2.0, 0.3),
        GaussianFunction1(2.0),
        PolynomialFunction1([1.0, 2.0]),
    ):
        for other in (f.clone(), copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
            assert other == f
            assert type(other) is type(f)
            other.setParameter(0, 9.0)
            assert other != f
    assert Chebyshev1Function2(1, BOX) != PolynomialFunction2(1)
    assert Chebyshev1Function2(1, BOX) != Chebyshev1Function2(1, (0, 0, 1, 1))


@pytest.mark.shared
def test_functionsEqualGoldens(sharedDir):
    recipe = json.loads((sharedDir / "golden" / "convolve.json").read_text())
    checked = 0
    for name, case in recipe["spatial_functions"].items():
        f = (PolynomialFunction2 if name.startswith("poly") else chebyshevOfGoldens)(case["params"])
        assert f(20, 41) == pytest.approx(case["value_at_20_41"], rel=1e-12)
        np.testing.assert_allclose(f.basisValues(20, 41), case["basis_values"], rtol=1e-12, atol=1e-14)
        checked += 1
    assert checked == 8


def chebyshevOfGoldens(parameters):
    return Chebyshev1Function2(parameters, (0.0, 0.0, 74.0, 59.0))
