"""Models of the photon transfer curve: closed forms, goldens, derivatives."""

import json

import numpy as np
import pytest

from stillsky.ptc import models


@pytest.fixture(scope="module")
def golden(sharedDir):
    with open(sharedDir / "golden" / "ptc_fits.json") as stream:
        return json.load(stream)


def centralDifferences(function, parameters, step=1e-5):
    parameters = np.asarray(parameters, dtype=np.float64)
    columns = []
    for k in range(parameters.size):
        h = step * (abs(parameters[k]) or 1e-7)
        up, down = parameters.copy(), parameters.copy()
        up[k] += h
        down[k] -= h
        columns.append((function(*up) - function(*down)) / (2 * h))
    return np.stack(columns, axis=-1)


def testEq16AtZeroA00IsPoissonPlusNoiseWithFiniteDerivative():
    mu = np.array([0.0, 10.0, 5e4])
    assert np.array_equal(models.evalExpApproximation(mu, 0.0, 1.5, 30.0), mu / 1.5 + 30.0 / 1.5**2)
    jacobian = models.expApproximationJacobian(mu, 0.0, 1.5, 30.0)
    assert np.all(np.isfinite(jacobian))
    assert jacobian[:, 0] == pytest.approx(mu**2, rel=1e-15)


@pytest.mark.parametrize("edge", [1e-5, 1e-2, -1e-5, -1e-2])
def testEq16IsContinuousWhereSeriesTakesOver(edge):
    gain = 1.5
    mu = 5e4
    a00 = edge / (2 * mu * gain)
    below, above = (models.evalExpApproximation(mu, a00 * (1 + s), gain, 0.0) for s in (-1e-12, 1e-12))
    slope = abs(above - below) / (mu / gain)
    assert slope <= abs(edge) * 2e-12 + 1e-15
    jBelow, jAbove = (models.expApproximationJacobian(mu, a00 * (1 + s), gain, 0.0)[0, 0] for s in (-1e-12, 1e-12))
    assert jBelow == pytest.approx(jAbove, rel=1e-12)


def testEq16EqualsItsTextbookForm():
    mu = np.geomspace(10, 1e5, 50)
    a00, gain, noise = -2e-6, 1.7, 25.0
    plain = (np.exp(2 * a00 * mu * gain) - 1) / (2 * a00 * gain**2) + noise / gain**2
    assert models.evalExpApproximation(mu, a00, gain, noise) == pytest.approx(plain, rel=1e-11)


def testNanLevelGivesNanVariance():
    values = models.evalExpApproximation(np.array([1.0, np.nan]), -1e-6, 1.0, 1.0)
    assert np.isfinite(values[0]) and np.isnan(values[1])


@pytest.mark.shared
def testEq20ReproducesExactConvolutionGolden(golden):
    model = golden["fullcov_model"]
    a, b, noise = (np.array(model[k]) for k in ("a", "b", "noise"))
    for key, c in (("exactConvolution", a * b), ("referenceNoB", 0 * a)):
        values = models.evalFullCovariance(model["mu"], a, c, noise, model["gain"])
        assert values == pytest.approx(np.array(model[key]), rel=1e-12 if key == "exactConvolution" else 1e-6)
    assert models.symmetricConvolution(a, a, 4) == pytest.approx(np.array(model["a2"]), rel=1e-12)
    wide = models.symmetricConvolution(a, a, 7)
    assert models.symmetricConvolution(wide, a, 4) == pytest.approx(np.array(model["a3"]), rel=1e-12)
    assert models.symmetricConvolution(a, a * b, 4) == pytest.approx(np.array(model["ac"]), rel=1e-12)


def testConvolutionIsAboutLagZeroEvenWhereAnotherLagIsLarger():
    a = np.array([[-1e-6, -3e-6, 0], [2e-7, 1e-7, 0], [1e-7, 0, 0]])
    zero = np.zeros((3, 3))
    values = models.evalFullCovariance(50000.0, a, zero, zero, 1.0)[0]
    assert values[0, 0] == pytest.approx(48976.6167, abs=1e-4)
    assert values[0, 1] == pytest.approx(-7184.2833, abs=1e-4)
    assert values[0, 2] == pytest.approx(693.8042, abs=1e-4)


def testConvolutionIsThePlainSumOverAllSignedLags(rng):
    r = 4
    x, y = rng.normal(size=(r, r)), rng.normal(size=(r, r))
    full = symmetric(x, 3 * r)
    other = symmetric(y, 3 * r)
    c = 3 * r
    expected = np.zeros((2 * r, 2 * r))
    for i in range(2 * r):
        for j in range(2 * r):
            for k in range(-r, r + 1):
                for m in range(-r, r + 1):
                    expected[i, j] += full[c + i - k, c + j - m] * other[c + k, c + m]
    assert models.symmetricConvolution(x, y, 2 * r) == pytest.approx(expected, abs=1e-13)


def symmetric(x, side):
    full = np.zeros((2 * side + 1, 2 * side + 1))
    for i in range(-x.shape[0] + 1, x.shape[0]):
        for j in range(-x.shape[1] + 1, x.shape[1]):
            full[side + i, side + j] = x[abs(i), abs(j)]
    return full


def testSingleElementEq20HasTheSeriesOfEq16():
    # r = 1, b = 0: m/g^2 (1 + a m + 2/3 a^2 m^2 + 1/3 a^3 m^3), the first terms of (exp(2 a m) - 1) / (2 a m)
    a, gain = -1e-6, 1.5
    second, third, fourth = models.covarianceCoefficients(np.array([[a]]), np.zeros((1, 1)), gain)[:, 0, 0]
    assert second == a
    assert third == pytest.approx(2 / 3 * a**2 * gain, rel=1e-15)
    assert fourth == pytest.approx(1 / 3 * a**3 * gain**2, rel=1e-15)
    mu = 100.0
    closed = models.evalExpApproximation(mu, a, gain, 0.0)
    assert models.evalFullCovariance(mu, [[a]], [[0.0]], [[0.0]], gain)[0, 0, 0] == pytest.approx(closed, rel=1e-15)


@pytest.mark.parametrize("parameters", [(-2e-6, 1.5, 25.0), (-1e-9, 0.7, 4.0), (-4e-5, 3.0, 100.0), (1e-8, 1.0, 1.0)])
def testJacobianOfEq16AgreesWithCentralDifferences(parameters):
    mu = np.geomspace(20, 9e4, 30)
    jacobian = models.expApproximationJacobian(mu, *parameters)
    numeric = centralDifferences(lambda *p: models.evalExpApproximation(mu, *p), parameters)
    assert np.all(np.abs(jacobian - numeric) <= 1e-6 * np.abs(jacobian).max(axis=0))


def testJacobianOfRolloffAgreesWithCentralDifferences():
    mu = np.linspace(5e4, 8e4, 40)
    parameters = (-2e-6, 1.5, 25.0, 7.02e4, -1200.0)
    jacobian = models.rolloffJacobian(mu, *parameters)
    numeric = centralDifferences(lambda *p: models.evalRolloff(mu, *p), parameters, step=1e-6)
    assert np.all(np.abs(jacobian - numeric) <= 1e-6 * np.abs(jacobian).max(axis=0))


def testRolloffIsEq16BelowTurnoffAndFallsBelowItAbove():
    mu = np.array([1e4, 6.9e4, 7e4, 7.1e4, 7.5e4])
    plain = models.evalExpApproximation(mu, -2e-6, 1.5, 25.0)
    loss = plain - models.evalRolloff(mu, -2e-6, 1.5, 25.0, 7e4, -1200.0)
    assert np.array_equal(loss[:3], [0, 0, 0])
    assert loss[3:] == pytest.approx(np.exp(np.array([1e3, 5e3]) / 1200) - 1)


@pytest.mark.parametrize("r", [1, 2, 5])
def testJacobianOfEq20AgreesWithCentralDifferences(rng, r):
    mu = np.linspace(100, 6e4, 7)
    a = rng.normal(0, 3e-7, (r, r))
    a[0, 0] = -2e-6
    c, noise, gain = a * rng.normal(0, 2e-6, (r, r)), rng.normal(0, 5, (r, r)), 1.6
    jacobian = models.fullCovarianceJacobian(mu, a, c, noise, gain).reshape(mu.size * r * r, -1)
    size = r * r

    def flat(*p):
        p = np.array(p)
        shaped = [p[k * size : (k + 1) * size].reshape(r, r) for k in range(3)]
        return models.evalFullCovariance(mu, *shaped, p[-1]).ravel()

    numeric = centralDifferences(flat, np.concatenate([a.ravel(), c.ravel(), noise.ravel(), [gain]]), step=2e-4)
    assert np.all(np.abs(jacobian - numeric) <= 1e-6 * np.abs(jacobian).max(axis=0))


def testPolynomialAndItsJacobian():
    mu = np.array([0.0, 1.0, 2.0])
    assert np.array_equal(models.evalPolynomial(mu, 1.0, 2.0, 3.0), [1, 6, 17])
    assert np.array_equal(models.polynomialJacobian(mu, 1.0, 2.0, 3.0), [[1, 0, 0], [1, 1, 1], [1, 2, 4]])
