"""ChebyshevBoundedField and ApCorrMap (core data model 13.2, 14.1, checks 38 and 41)."""

import pickle

import numpy as np
import pytest

from stillsky.errors import DomainError, ShapeError, StillskyError
from stillsky.geom import Box2I
from stillsky.image import Image
from stillsky.photom import ApCorrMap, ChebyshevBoundedField, PhotoCalib

BOX = Box2I((-7, 12), (40, 25))


@pytest.fixture
def field(rng):
    return ChebyshevBoundedField(BOX, rng.normal(size=(4, 3)) + 5 * np.eye(4, 3))


def _pixels(box):
    return np.meshgrid(box.minX + np.arange(box.width), box.minY + np.arange(box.height))


def testTheLinearFieldOfTheSpecification():
    """[[1000, 1000]] on (-100, -100) to (100, 100): the edges of the outer pixels are at -1 and 1."""
    field = ChebyshevBoundedField(Box2I((-100, -100), (201, 201)), [[1000.0, 1000.0]])
    assert field.evaluate(-10, 0) == pytest.approx(1000 - 10 * 1000 / 100.5, rel=1e-9)
    assert field.evaluate(100.5, 3.0) == pytest.approx(2000.0) and field(-100.5, 3.0) == pytest.approx(0.0, abs=1e-9)
    assert field.mean() == pytest.approx(1000.0) and PhotoCalib.fromField(field).mean == pytest.approx(1000.0)


def testValuesAreTheSumOfChebyshevTerms(field, rng):
    x, y = rng.uniform(-30, 60, (2, 50))
    xs, ys = 2 * (x - 12.5) / 40, 2 * (y - 24.0) / 25
    t = [np.ones_like, lambda v: v, lambda v: 2 * v**2 - 1, lambda v: 4 * v**3 - 3 * v]
    truth = sum(field.coefficients[j, i] * t[i](xs) * t[j](ys) for j in range(4) for i in range(3))
    np.testing.assert_allclose(field.evaluate(x, y), truth, rtol=1e-13, atol=1e-12)
    assert isinstance(field.evaluate(1.0, 2.0), float) and field.evaluate(x.reshape(5, 10), y.reshape(5, 10)).shape == (
        5,
        10,
    )


@pytest.mark.parametrize("triangular", [True, False])
def testAFitOfExactDataReturnsTheCoefficients(rng, triangular):
    a = rng.normal(size=(4, 3))
    if triangular:
        a[np.add.outer(np.arange(4), np.arange(3)) > 3] = 0
    field = ChebyshevBoundedField(BOX, a)
    x, y = rng.uniform(0, 1, (2, 200)) * [[40], [25]] + [[-7.5], [11.5]]
    weights = rng.uniform(0.5, 2.0, 200)
    for w in (None, weights):
        fitted = ChebyshevBoundedField.fit(BOX, x, y, field(x, y), w, orderX=2, orderY=3, triangular=triangular)
        np.testing.assert_allclose(fitted.coefficients, a, atol=1e-10)
    image = Image(np.zeros((25, 40)), BOX.min)
    field.fillImage(image)
    image.array[3, 4] = np.nan
    fitted = ChebyshevBoundedField.fitImage(image, orderX=2, orderY=3, triangular=triangular)
    np.testing.assert_allclose(fitted.coefficients, a, atol=1e-10)


def testWeightsMultiplyTheResidual():
    """Two groups of values at one point: the constant is their mean with weights w squared."""
    z, w = np.r_[np.ones(10), np.full(10, 3.0)], np.r_[np.ones(10), np.full(10, 2.0)]
    fitted = ChebyshevBoundedField.fit(BOX, np.zeros(20), np.full(20, 20.0), z, w, orderX=0)
    assert fitted.mean() == pytest.approx(np.average(z, weights=w**2))


def testFewerPointsThanTermsGiveTheSolutionOfLeastNorm():
    fitted = ChebyshevBoundedField.fit(BOX, [3.0, 9.0], [15.0, 30.0], [1.0, 2.0], orderX=3)
    np.testing.assert_allclose(fitted([3.0, 9.0], [15.0, 30.0]), [1.0, 2.0], rtol=1e-12)
    box, x, y = BOX, np.array([3.0, 9.0]), np.array([15.0, 30.0])
    xs, ys = 2 * (x - 12.5) / box.width, 2 * (y - 24.0) / box.height
    columns = np.array([np.polynomial.chebyshev.chebval(xs, np.eye(4)[i]) * np.polynomial.chebyshev.chebval(ys, np.eye(4)[j])
                        for j in range(4) for i in range(4) if i + j <= 3]).T  # fmt: skip
    assert np.linalg.norm(fitted.coefficients) == pytest.approx(np.linalg.norm(np.linalg.pinv(columns) @ [1.0, 2.0]))


def testTheIntegralIsThatOfTheFunction(rng):
    """Against the sum over 200 x 200 pixels of a smooth field, 1e-3; and exactly, by Gauss-Legendre quadrature."""
    box = Box2I((3, 4), (200, 200))
    field = ChebyshevBoundedField(box, rng.normal(size=(4, 5)) + 3)
    x, y = _pixels(box)
    assert field.integrate() == pytest.approx(field(x, y).sum(), rel=1e-3)
    nodes, weights = np.polynomial.legendre.leggauss(9)
    exact = weights @ field(102.5 + 100 * nodes[None, :], 103.5 + 100 * nodes[:, None]) @ weights * 100**2
    assert field.integrate() == pytest.approx(exact, rel=1e-12)
    assert field.mean() == pytest.approx(exact / 200**2, rel=1e-12)


def testImagesAreFilledMultipliedDividedAndAddedTo(field, rng):
    x, y = _pixels(BOX)
    truth = field(x, y)
    start = rng.normal(size=truth.shape)
    cases = {
        "fillImage": truth, "multiplyImage": start * truth, "divideImage": start / truth, "addToImage": start + truth
    }  # fmt: skip
    for name, expected in cases.items():
        image = Image(start.copy(), BOX.min)
        getattr(field, name)(image)
        np.testing.assert_allclose(image.array, expected, rtol=1e-12, atol=1e-12)
    image = Image(start.copy(), BOX.min)
    field.addToImage(image, -2.0)
    np.testing.assert_allclose(image.array, start - 2 * truth, atol=1e-12)


def testBoxesThatDifferNeedOverlapOnly(field):
    image = Image(np.full((30, 30), -9.0, np.float32), (10, 0))
    for name in ("fillImage", "multiplyImage", "divideImage", "addToImage"):
        with pytest.raises(StillskyError, match="overlapOnly"):
            getattr(field, name)(image)
    field.fillImage(image, overlapOnly=True)
    x, y = _pixels(image.bbox)
    inside = (x <= 32) & (y >= 12)
    np.testing.assert_allclose(image.array[inside], field(x, y)[inside], rtol=1e-6, atol=1e-6)
    assert inside.any() and np.all(image.array[~inside] == -9.0)
    far = Image(np.full((5, 5), -9.0), (1000, 1000))
    field.fillImage(far, overlapOnly=True)
    assert np.all(far.array == -9.0)


def testSteppedFillingIsExactForLinearFieldsAndBoundedForOthers(rng):
    linear = ChebyshevBoundedField(BOX, [[1.0, 2.0], [3.0, 0.0]])
    curved = ChebyshevBoundedField(BOX, [[1.0, 0.0, 2.0], [0, 0, 0], [1.5, 0, 0]])
    x, y = _pixels(BOX)
    for field, limit in ((linear, 1e-12), (curved, 7**2 / 8 * 8.0 * (2 / 40) ** 2 + 5**2 / 8 * 6.0 * (2 / 25) ** 2)):
        image = Image(np.zeros((25, 40)), BOX.min)
        field.fillImage(image, xStep=7, yStep=5)
        assert np.abs(image.array - field(x, y)).max() <= limit
    assert np.abs(image.array - curved(x, y)).max() > 1e-3  # interpolated indeed
    with pytest.raises(DomainError, match="Step"):
        linear.fillImage(image, xStep=0)


def testTruncatingScalingMoving(field, rng):
    short = field.truncate(1, 2)
    np.testing.assert_array_equal(short.coefficients, field.coefficients[:3, :2])
    for scaled in (field * 3, 3 * field, field / (1 / 3)):
        assert scaled(2.0, 20.0) == pytest.approx(3 * field(2.0, 20.0))
    moved = field.relocated(Box2I((93, 112), (40, 25)))
    assert moved(103.0, 120.0) == pytest.approx(field(3.0, 20.0), rel=1e-13)


def testFieldsAreValues(field):
    assert pickle.loads(pickle.dumps(field)) == field and hash(pickle.loads(pickle.dumps(field))) == hash(field)
    assert field != field * 2 and field != field.relocated(Box2I((0, 0), (40, 25))) and (field == 3) is False
    assert "ChebyshevBoundedField(" in repr(field)
    with pytest.raises(ValueError):
        field.coefficients[0, 0] = 1


def testBadFieldsAreRefused():
    with pytest.raises(ShapeError):
        ChebyshevBoundedField(BOX, [1.0, 2.0])
    with pytest.raises(DomainError):
        ChebyshevBoundedField(BOX, [[np.nan]])
    with pytest.raises(DomainError):
        ChebyshevBoundedField(Box2I(), [[1.0]])
    with pytest.raises(ShapeError):
        ChebyshevBoundedField.fit(BOX, [1.0], [1.0, 2.0], [1.0], orderX=1)
    for z, order in (([np.inf], 1), ([1.0], -1)):
        with pytest.raises(DomainError):
            ChebyshevBoundedField.fit(BOX, [1.0], [1.0], z, orderX=order)
    with pytest.raises(DomainError):
        ChebyshevBoundedField.fit(BOX, [], [], [], orderX=1)


def testApCorrMapsAreMappingsWhoseAssignmentReplaces(field):
    corrections = ApCorrMap({"base_PsfFlux_instFlux": field})
    corrections["base_PsfFlux_instFlux"] = field * 2
    corrections["base_PsfFlux_instFluxErr"] = field
    assert list(corrections) == ["base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr"]
    assert corrections["base_PsfFlux_instFlux"] == field * 2 and corrections.get("other") is None
    with pytest.raises(KeyError):
        corrections["other"]
    other = corrections.copy()
    other *= 0.5
    assert other["base_PsfFlux_instFlux"] == field and corrections["base_PsfFlux_instFlux"] == field * 2
    del other["base_PsfFlux_instFlux"]
    assert len(other) == 1 and len(corrections) == 2 and other != corrections
    assert pickle.loads(pickle.dumps(corrections)) == corrections and "instFluxErr" in repr(corrections)
    for bad in (3.0, None):
        with pytest.raises(TypeError):
            corrections["x"] = bad
