"""Curve and full-covariance fits on plain arrays: goldens, exact data, bounds, errors, outliers."""

import json

import numpy as np
import pytest

from stillsky import DomainError, NoDataError, ShapeError
from stillsky.ptc import fit as curves
from stillsky.ptc import models
from stillsky.ptc.fit_covariance import fitFullCovariance, initialFitFullCovariance, subtractDistantOffset


@pytest.fixture(scope="module")
def golden(sharedDir):
    with open(sharedDir / "golden" / "ptc_fits.json") as stream:
        values = json.load(stream)
    data = values["fullcov_fit_data"]
    for key in ("mu", "covExact", "covNoisy", "sqrtWeights"):
        data[key] = np.array(data[key])
    return values


def rampTruth(r=4):
    i, j = np.mgrid[:r, :r]
    a = 2e-7 / (1.0 + i**2 + j**2) ** 1.5
    a[0, 0] = -2e-6
    b = np.full((r, r), -4e-7)
    noise = np.where((i == 0) & (j == 0), 25.0, 0.1 * (j - i))
    return a, b, noise


def ramp(rng=None, r=4, n=40, gain=1.6, nPixels=1e6, top=1e5):
    """Covariances of a ramp with their sampling noise, and measured weights."""
    a, b, noise = rampTruth(r)
    mu = np.linspace(200, top, n) / gain
    exact = models.evalFullCovariance(mu, a, a * b, noise, gain)
    i, j = np.mgrid[:r, :r]
    npix = nPixels * np.where((i > 0) & (j > 0), 2.0, 1.0) / np.where((i == 0) & (j == 0), 2.0, 1.0)
    data = exact if rng is None else exact + rng.normal(size=exact.shape) * exact[:, :1, :1] / np.sqrt(npix)
    return mu, data, np.sqrt(npix) / data[:, :1, :1]


@pytest.mark.shared
def testClosedFormOfEq16ReturnsItsParameters(golden):
    data = golden["expapprox_closed_form"]
    mu, var, weights = (np.array(data[k]) for k in ("mu", "var", "sqrtWeights"))
    fit = curves.fitCurve(curves.EXP_APPROXIMATION, mu, var, [-2e-6, 1.5, 25.0], weights=weights)
    assert fit.parameters == pytest.approx([-1.2e-6, 0.75, 1.5], rel=1e-9)
    assert fit.converged and fit.dof == 17


@pytest.mark.shared
def testBootstrapOfNoiselessDataReturnsTheSame(golden):
    data = golden["expapprox_closed_form"]
    mu, var, weights = (np.array(data[k]) for k in ("mu", "var", "sqrtWeights"))

    def refit(y):
        return curves.fitCurve(curves.EXP_APPROXIMATION, mu, y, [-2e-6, 1.5, 25.0], weights=weights)

    fit = curves.fitBootstrap(refit, refit(var), curves.EXP_APPROXIMATION, mu)
    assert fit.parameters * [1e6, 1, 1] == pytest.approx([-1.2, 0.75, 1.5], abs=1e-7)


def testBootstrapErrorsAgreeWithFormalOnesAndDependOnTheSeedAlone(rng):
    mu, data, weights = ramp(rng, r=1, n=80)
    y, w = data[:, 0, 0], weights[:, 0, 0]

    def refit(values):
        return curves.fitCurve(curves.EXP_APPROXIMATION, mu, values, [-2e-6, 1.5, 25.0], weights=w)

    plain = refit(y)
    first, again, other = (
        curves.fitBootstrap(refit, plain, curves.EXP_APPROXIMATION, mu, nSamples=300, seed=s) for s in (1, 1, 2)
    )
    assert np.array_equal(first.covariance, again.covariance) and not np.array_equal(first.covariance, other.covariance)
    assert first.errors("ABSOLUTE")[:2] == pytest.approx(plain.errors("ABSOLUTE")[:2], rel=0.25)
    with pytest.raises(DomainError, match="nSamples"):
        curves.fitBootstrap(refit, plain, curves.EXP_APPROXIMATION, mu, nSamples=1)


def testBoundedFitStaysInsideAndSaysWhichBoundHolds():
    mu = np.linspace(1e3, 6e4, 30)
    var = models.evalExpApproximation(mu, 1e-6, 1.5, 25.0)
    bounds = ([-1e-4, 0.1, 0.0], [0.0, 10.0, 2000.0])
    fit = curves.fitCurve(curves.EXP_APPROXIMATION, mu, var, [-2e-6, 1.5, 25.0], bounds=bounds)
    assert -1e-9 < fit.parameters[0] <= 0 and 0 <= fit.parameters[2] <= 2000
    assert fit.atBound[0]


def testNoiseVarianceIsHeldAtZeroWhereTheFreeOptimumIsNegative():
    mu = np.linspace(100, 6e4, 30)
    var = models.evalExpApproximation(mu, -1e-6, 1.5, -40.0)
    free = curves.fitCurve(curves.EXP_APPROXIMATION, mu, var, [-2e-6, 1.5, 25.0], weights=1 / var)
    held = curves.fitNonNegative(curves.EXP_APPROXIMATION, mu, var, [-2e-6, 1.5, 25.0], 2, weights=1 / var)
    assert free.parameters[2] == pytest.approx(-40.0, rel=1e-6)
    assert held.parameters[2] == 0 and list(held.atBound) == [False, False, True]
    assert held.chi2 > free.chi2 and np.isnan(held.errors("ABSOLUTE")[2])


def testRobustLossResistsOutliers(rng):
    mu = np.linspace(100, 6e4, 60)
    var = models.evalExpApproximation(mu, -1e-6, 1.5, 25.0)
    weights = 1 / (1e-3 * var)
    var = var * (1 + 1e-3 * rng.normal(size=60))
    var[[20, 40]] *= 1.2
    start = [-2e-6, 1.5, 25.0]
    plain = curves.fitCurve(curves.EXP_APPROXIMATION, mu, var, start, weights=weights)
    robust = curves.fitCurve(curves.EXP_APPROXIMATION, mu, var, start, weights=weights, loss="soft_l1")
    assert abs(robust.parameters[1] - 1.5) < 0.002
    assert abs(plain.parameters[1] - 1.5) > 3 * abs(robust.parameters[1] - 1.5)


def testErrorsAreOfferedAbsoluteAndScaled(rng):
    mu, data, weights = ramp(rng, r=1)
    y = data[:, 0, 0]
    fit = curves.fitCurve(curves.EXP_APPROXIMATION, mu, y, [-2e-6, 1.5, 25.0], weights=weights[:, 0, 0])
    doubled = curves.fitCurve(curves.EXP_APPROXIMATION, mu, y, [-2e-6, 1.5, 25.0], weights=2 * weights[:, 0, 0])
    assert doubled.errors("ABSOLUTE") == pytest.approx(fit.errors("ABSOLUTE") / 2)
    assert doubled.errors("SCALED") == pytest.approx(fit.errors("SCALED"))
    assert np.array_equal(doubled.errors("LARGER"), doubled.errors("SCALED"))
    with pytest.raises(DomainError, match="kind of errors"):
        fit.errors("guess")


def testTooFewPointsAndWrongShapesAreErrors():
    with pytest.raises(NoDataError, match="at least 3 points, not 2"):
        curves.fitCurve(curves.EXP_APPROXIMATION, np.ones(2), np.ones(2), [0, 1, 1])
    with pytest.raises(ShapeError, match="equal lengths"):
        curves.fitCurve(curves.EXP_APPROXIMATION, np.ones(4), np.ones(5), [0, 1, 1])
    with pytest.raises(ShapeError, match="covariances"):
        fitFullCovariance(np.ones(3), np.ones((3, 2, 4)), np.ones((3, 2, 4)))
    with pytest.raises(NoDataError, match="different mean levels"):
        fitFullCovariance(np.ones(9), np.ones((9, 2, 2)), np.ones((9, 2, 2)))
    with pytest.raises(DomainError, match="MODEL or DATA"):
        fitFullCovariance(np.ones(9), np.ones((9, 2, 2)), np.ones((9, 2, 2)), weights="other")


def testSingularNormalMatrixGivesNanErrors():
    assert np.all(np.isnan(curves.normalInverse(np.ones((5, 2)))))
    assert np.all(np.isnan(curves.normalInverse(np.zeros((5, 2)))))


def testZeroVariancesAreReplaced():
    safe, where = curves.makeZeroSafe([1.0, 0.0, 3.0])
    assert list(safe) == [1.0, 1e-9, 3.0] and list(where) == [1]
    values = np.arange(1.0, 5.0)
    safe, where = curves.makeZeroSafe(values)
    assert np.array_equal(safe, values) and where.size == 0 and safe is not values
    assert list(curves.makeZeroSafe(np.zeros(3), 0.5)[0]) == [0.5] * 3


@pytest.mark.shared
@pytest.mark.parametrize("weights", ["DATA", "MODEL"])
def testExactModelFitReturnsTheTruth(golden, weights):
    data, truth = golden["fullcov_fit_data"], golden["fullcov_model"]
    fit = fitFullCovariance(data["mu"], data["covExact"], data["sqrtWeights"], weights=weights)
    assert fit.a == pytest.approx(np.array(truth["a"]), rel=1e-10)
    assert fit.b == pytest.approx(np.array(truth["b"]), rel=1e-8)
    assert fit.gain == pytest.approx(1.7, rel=1e-10)
    assert np.sqrt(fit.noise[0, 0]) == pytest.approx(5.477225575, abs=1e-9)
    assert fit.nClipped == 0 and fit.converged


@pytest.mark.shared
def testNoisyGoldenFitWithinAThousandthOfItsErrors(golden):
    data, expected = golden["fullcov_fit_data"], golden["fullcov_fit_noisy"]
    fit = fitFullCovariance(data["mu"], data["covNoisy"], data["sqrtWeights"], weights="DATA", maxIterClip=0)
    errors = fit.errors("SCALED")
    # errors of b itself are given where a is significant only
    assert np.count_nonzero(np.isfinite(errors["b"])) >= 4 and np.isnan(errors["b"][3, 3])
    errors["b"] = np.where(np.isfinite(errors["b"]), errors["b"], errors["c"] / np.abs(fit.a))
    for name, key in (("a", "a"), ("b", "b"), ("noise", "noiseMatrix")):
        assert np.all(np.abs(getattr(fit, name) - np.array(expected[key])) < 1e-3 * errors[name])
    assert abs(fit.gain - expected["gain"]) < 1e-3 * errors["gain"]
    # the reference differentiates with 1 % steps, which moves its own error bar by 1 %
    assert errors["gain"] == pytest.approx(expected["gainErr"], rel=0.02)
    noise = np.sqrt(fit.noise[0, 0])
    assert abs(noise - expected["noise"]) < 1e-3 * expected["noiseErr"]
    assert errors["noise"][0, 0] / (2 * noise) == pytest.approx(expected["noiseErr"], rel=0.02)


@pytest.mark.shared
def testNoisyGoldenFitWithoutB(golden):
    data, expected = golden["fullcov_fit_data"], golden["fullcov_nob_fit_noisy"]
    fit = fitFullCovariance(
        data["mu"], data["covNoisy"], data["sqrtWeights"], withB=False, weights="DATA", maxIterClip=0
    )
    errors = fit.errors("SCALED")
    # the reference stops at its tolerance of 1.5e-8 with 1 % difference steps: 1.3e-3 of an error bar from the minimum
    assert np.all(np.abs(fit.a - np.array(expected["a"])) < 2e-3 * errors["a"])
    assert abs(fit.gain - expected["gain"]) < 2e-3 * errors["gain"]
    assert np.all(fit.b == 0) and np.all(errors["b"] == 0)


@pytest.mark.shared
def testCrudeStartOfTheReference(golden):
    data, expected = golden["fullcov_fit_data"], golden["fullcov_fit_exact"]["initialFit"]
    a, noise, gain = initialFitFullCovariance(data["mu"], data["covExact"], data["sqrtWeights"], compat=True)
    assert gain == pytest.approx(expected["gain"], rel=1e-9)
    assert a[0, 0] == pytest.approx(expected["a00"], rel=1e-9)
    assert noise[0, 0] == pytest.approx(expected["noise00"], rel=1e-9)
    # with the units right, the start of the noise is nearer to the truth of 30 at once
    better = initialFitFullCovariance(data["mu"], data["covExact"], data["sqrtWeights"])
    assert abs(better[1][0, 0] - 30) < 15 and better[2] == pytest.approx(1.7, rel=0.01)


@pytest.mark.parametrize("withB", [True, False])
def testParameterCovarianceIsTheInverseOfTheFullNormalMatrix(rng, withB):
    mu, data, weights = ramp(rng)
    fit = fitFullCovariance(mu, data, weights, withB=withB, weights="DATA")
    jacobian = models.fullCovarianceJacobian(mu, fit.a, fit.c, fit.noise, fit.gain) * weights.reshape(mu.size, -1, 1)
    jacobian = jacobian.reshape(-1, jacobian.shape[2])
    if not withB:
        jacobian = np.delete(jacobian, np.arange(16, 32), axis=1)
    scale = np.linalg.norm(jacobian, axis=0)
    expected = np.linalg.inv((jacobian / scale).T @ (jacobian / scale)) / np.outer(scale, scale)
    sigma = np.sqrt(np.diag(expected))
    assert np.abs((fit.covariance - expected) / np.outer(sigma, sigma)).max() < 1e-8


def testMinimumIsAStationaryPointOfTheFullProblem(rng):
    mu, data, weights = ramp(rng)
    fit = fitFullCovariance(mu, data, weights, weights="DATA", maxIterClip=0)
    jacobian = models.fullCovarianceJacobian(mu, fit.a, fit.c, fit.noise, fit.gain) * weights.reshape(mu.size, -1, 1)
    jacobian = jacobian.reshape(-1, jacobian.shape[2])
    residual = ((fit.evaluate(mu) - data) * weights).ravel()
    cosine = jacobian.T @ residual / np.linalg.norm(jacobian, axis=0) / np.linalg.norm(residual)
    assert np.abs(cosine).max() < 1e-6
    assert fit.chi2 == pytest.approx(np.sum(residual**2), rel=1e-12)


def testOutlyingCovariancesAreClippedAndDoNotChangeTheRest(rng):
    mu, data, weights = ramp(rng)
    clean = fitFullCovariance(mu, data, weights)
    spoiled = data.copy()
    spoiled[7, 1, 2] += 40 / weights[7, 1, 2]
    spoiled[30, 0, 0] *= 1.05
    fit = fitFullCovariance(mu, spoiled, weights)
    assert fit.clipped[7, 1, 2] and fit.clipped[30, 0, 0] and fit.nClipped <= 4
    assert fit.gain == pytest.approx(clean.gain, abs=clean.errors()["gain"])
    kept = fitFullCovariance(mu, spoiled, weights, maxIterClip=0)
    assert kept.nClipped == 0 and kept.chi2 > fit.chi2 + 1000


def testMissingLagsAndNanPairsCountForNothing(rng):
    mu, data, weights = ramp(rng)
    spoiled, less = data.copy(), weights.copy()
    spoiled[3, 2, 2] = np.nan
    less[3, 2, 2] = 0.0
    spoiled[5] = np.nan
    less[5] = 0.0
    fit = fitFullCovariance(mu, spoiled, weights)
    expected = fitFullCovariance(mu, data, less)
    assert fit.gain == pytest.approx(expected.gain, rel=1e-10)
    assert fit.dof == expected.dof == 40 * 16 - 17 - 49


def testNoiseOfFullFitIsHeldAtZeroInsteadOfNegative():
    gain, r = 1.6, 3
    a, b, noise = rampTruth(r)
    noise[0, 0] = -60.0
    mu = np.linspace(200, 1e5, 30) / gain
    data = models.evalFullCovariance(mu, a, a * b, noise, gain)
    weights = 1e3 / np.repeat(np.repeat(data[:, :1, :1], r, 1), r, 2)
    free = fitFullCovariance(mu, data, weights, boundNoise=False)
    held = fitFullCovariance(mu, data, weights)
    assert free.noise[0, 0] == pytest.approx(-60, rel=1e-5) and not free.noiseAtBound
    assert held.noise[0, 0] == 0 and held.noiseAtBound and np.isnan(held.errors()["noise"][0, 0])
    assert np.isfinite(held.errors()["gain"]) and held.chi2 >= free.chi2


def testRangeOfBLimitsTheFittedElements(rng):
    mu, data, weights = ramp(rng)
    fit = fitFullCovariance(mu, data, weights, rangeB=2)
    assert np.count_nonzero(fit.cFree) == 4
    assert np.all(fit.b[2:] == 0) and np.all(fit.b[:, 2:] == 0) and np.all(fit.c[:2, :2] != 0)
    assert fit.errors()["b"][3, 3] == 0 and fit.errors()["b"][0, 0] > 0


def testDistantOffsetRecoversAPlaneExactly():
    r, start = 8, 4
    i, j = np.mgrid[:r, :r]
    plane = 3.0 + 0.5 * i - 0.25 * j
    core = np.zeros((r, r))
    core[:start, :start] = 1000.0 / (1 + i + j)[:start, :start]
    data = np.stack([plane + core, 2 * plane + core])
    subtracted, offset = subtractDistantOffset(data, np.ones_like(data), start, 1)
    assert offset == pytest.approx(np.stack([plane, 2 * plane]), abs=1e-10)
    assert subtracted == pytest.approx(np.stack([core, core]), abs=1e-10)


def testDistantOffsetLeavesAPairWithoutDataAlone():
    data = np.full((2, 5, 5), np.nan)
    data[1] = 2.0
    subtracted, offset = subtractDistantOffset(data, np.ones_like(data), 2, 1)
    assert np.all(np.isnan(subtracted[0])) and np.all(np.isnan(offset[0]))
    assert subtracted[1] == pytest.approx(np.zeros((5, 5)), abs=1e-12)
    with pytest.raises(DomainError, match="start"):
        subtractDistantOffset(data, np.ones_like(data), 5)
