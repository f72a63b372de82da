"""Least squares of curves: analytic derivatives, bounds, robust losses, both kinds of errors, bootstrap."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from ..errors import DomainError, NoDataError, ShapeError
from . import models
from .minimum import Minimum, boundedMinimum, quickMinimum

__all__ = [
    "ERROR_KINDS",
    "CurveFit",
    "CurveModel",
    "EXP_APPROXIMATION",
    "ROLLOFF",
    "fitBootstrap",
    "fitCurve",
    "fitNonNegative",
    "makeZeroSafe",
    "polynomialModel",
    "modelWeights",
]

ERROR_KINDS = ("LARGER", "ABSOLUTE", "SCALED")
_TOLERANCE = 1e-15
_SINGULAR = 1e-14


@dataclass(frozen=True)
class CurveModel:
    """A curve and its derivatives.

    Attributes
    ----------
    evaluate, jacobian : callable
        ``evaluate(x, *parameters)`` gives [n]; ``jacobian(x, *parameters)`` gives [n, number of parameters].
    names : `tuple` [`str`]
        Parameters in order.
    """

    evaluate: object
    jacobian: object
    names: tuple


EXP_APPROXIMATION = CurveModel(
    models.evalExpApproximation, models.expApproximationJacobian, ("a00", "gain", "noiseSquared")
)
ROLLOFF = CurveModel(models.evalRolloff, models.rolloffJacobian, ("a00", "gain", "noiseSquared", "turnoff", "tau"))


def polynomialModel(degree):
    """The historic polynomial model of a degree, as a `CurveModel`."""
    names = tuple(f"p{k}" for k in range(degree + 1))
    return CurveModel(models.evalPolynomial, models.polynomialJacobian, names)


@dataclass(frozen=True)
class CurveFit:
    """A fitted curve.

    Attributes
    ----------
    parameters : `numpy.ndarray` [k]
    covariance : `numpy.ndarray` [k, k]
        Inverse of the normal matrix: the covariance of the parameters if the weights are inverse standard deviations. NaN if
        singular; zero rows for a parameter held at its bound.
    chi2, reducedChi2 : `float`
        Sum of squared weighted residuals, and it over (n - k); NaN when n <= k.
    dof : `int`
        n minus the number of fitted parameters.
    residuals : `numpy.ndarray` [n]
        (data - model) in units of the data.
    atBound : `numpy.ndarray` [k], bool
        Parameters held at a bound.
    converged : `bool`
    """

    parameters: np.ndarray
    covariance: np.ndarray
    chi2: float
    reducedChi2: float
    dof: int
    residuals: np.ndarray
    atBound: np.ndarray
    converged: bool

    def errors(self, kind="LARGER"):
        """Standard errors of the parameters.

        Parameters
        ----------
        kind : `str`
            ``"ABSOLUTE"``: from the weights as they are; ``"SCALED"``: times sqrt(reduced chi2), which is right when the
            weights are known up to a factor; ``"LARGER"``: of the two, which is never optimistic.

        Returns
        -------
        errors : `numpy.ndarray` [k]
            NaN with no degrees of freedom (except ABSOLUTE), a singular normal matrix, or a parameter held at a bound.
        """
        errors = np.sqrt(np.abs(np.diag(self.covariance))) * errorFactor(self.reducedChi2, kind)
        return np.where(self.atBound, np.nan, errors)


def errorFactor(reducedChi2, kind):
    """Factor from absolute errors to errors of a kind."""
    if kind not in ERROR_KINDS:
        raise DomainError(f"kind of errors: wanted one of {', '.join(ERROR_KINDS)}, not {kind!r}")
    if kind == "ABSOLUTE":
        return 1.0
    scale = np.sqrt(reducedChi2)
    return scale if kind == "SCALED" else np.fmax(scale, 1.0)


def makeZeroSafe(values, substitute=1e-9):
    """A copy of values in which exact zeros are replaced.

    Returns
    -------
    safe : `numpy.ndarray`
    indices : `numpy.ndarray`
        Where zeros were.
    """
    safe = np.array(values, dtype=np.float64)
    indices = np.flatnonzero(safe == 0)
    safe[indices] = substitute
    return safe, indices


def modelWeights(sqrtWeights, variances, model):
    """Inverse standard deviations at the model's variance instead of the measured one.

    Measured weights go with 1/variance, so a pair whose variance happens to be low gets more weight: a bias of -2/npix of the
    variance per pair, which many pairs make visible. Weights at the fitted curve have no such correlation.

    Parameters
    ----------
    sqrtWeights : `numpy.ndarray` [n, ...]
        Inverse standard deviations computed with ``variances``.
    variances, model : `numpy.ndarray` [n]
        Measured and fitted variances, adu^2.

    Returns
    -------
    weights : `numpy.ndarray` [n, ...]
        0 where a weight or a variance is not usable.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = np.where((variances > 0) & (model > 0), variances / model, np.nan)
        weights = sqrtWeights * factor.reshape(factor.shape + (1,) * (np.ndim(sqrtWeights) - 1))
    return cleanWeights(weights)


def cleanWeights(weights):
    """Weights with 0 in place of NaN, infinities, negative and absurdly large values (replaced infinities)."""
    weights = np.asarray(weights, dtype=np.float64)
    return np.where((weights > 0) & (weights < 1e100), weights, 0.0)


def fitCurve(model, x, y, start, *, weights=None, bounds=None, loss="linear", fixed=None, tolerance=_TOLERANCE):
    """Fit a curve by (robust, bounded) least squares with analytic derivatives.

    Parameters
    ----------
    model : `CurveModel`
    x, y : `numpy.ndarray` [n]
        Finite data.
    start : sequence of `float` [k]
    weights : `numpy.ndarray` [n], optional
        Inverse standard deviations (or proportional); default 1.
    bounds : pair of sequences [k], optional
        Lower and upper bounds: trust-region reflective steps instead of Levenberg-Marquardt. Starts are moved inside.
    loss : `str`
        Of `scipy.optimize.least_squares`: ``linear``, ``soft_l1``, ``huber``, ``cauchy``, ``arctan``.
    fixed : sequence of `bool` [k], optional
        Parameters held at their start.
    tolerance : `float`
        Relative change of parameters, sum of squares and gradient at which the iteration ends.

    Returns
    -------
    fit : `CurveFit`

    Raises
    ------
    NoDataError
        Fewer points than free parameters.
    """
    x, y, start = (np.asarray(v, dtype=np.float64) for v in (x, y, start))
    weights = np.ones_like(y) if weights is None else np.asarray(weights, dtype=np.float64)
    if x.shape != y.shape or weights.shape != y.shape:
        raise ShapeError(f"x, y and weights: wanted equal lengths, not {x.shape}, {y.shape}, {weights.shape}")
    free = np.ones(start.size, dtype=bool) if fixed is None else ~np.asarray(fixed, dtype=bool)
    if y.size < free.sum():
        raise NoDataError(f"curve fit: wanted at least {free.sum()} points, not {y.size}")

    def full(p):
        parameters = start.copy()
        parameters[free] = p
        return parameters

    solution = _leastSquares(
        lambda p: (model.evaluate(x, *full(p)) - y) * weights,
        lambda p: model.jacobian(x, *full(p))[:, free] * weights[:, None],
        start[free],
        None if bounds is None else np.asarray(bounds, dtype=np.float64)[:, free],
        loss,
        tolerance,
    )
    parameters = full(solution.x)
    atBound = ~free
    atBound[free] = solution.active_mask != 0
    residuals = y - model.evaluate(x, *parameters)
    chi2, dof = float(np.sum((residuals * weights) ** 2)), y.size - int(free.sum())
    covariance = np.zeros((start.size, start.size))
    covariance[np.ix_(free, free)] = normalInverse(model.jacobian(x, *parameters)[:, free] * weights[:, None])
    reduced = chi2 / dof if dof > 0 else np.nan
    return CurveFit(parameters, covariance, chi2, reduced, dof, residuals, atBound, bool(solution.success))


def _leastSquares(residual, jacobian, start, bounds, loss, tolerance):
    if bounds is None:
        quick, held = quickMinimum(residual, jacobian, start, loss), np.zeros(start.size, int)
    else:
        quick, held = boundedMinimum(residual, jacobian, np.clip(start, *bounds), bounds, loss)
    if quick is not None:
        return Minimum(quick, held)
    common = dict(jac=jacobian, x_scale="jac", ftol=tolerance, xtol=tolerance, gtol=tolerance, max_nfev=2000)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if bounds is None and loss == "linear":
            return least_squares(residual, start, method="lm", **common)
        bounds = (-np.inf, np.inf) if bounds is None else bounds
        return least_squares(residual, np.clip(start, *bounds), bounds=tuple(bounds), loss=loss, method="trf", **common)


def normalInverse(jacobian):
    """``inv(J^T J)`` of a Jacobian by QR with scaled columns; NaN if it is singular.

    Modified Gram-Schmidt without BLAS: the matrices are small, amplifiers are fitted side by side, and the threads of a BLAS would
    only wait for each other.
    """
    n = jacobian.shape[1]
    nan = np.full((n, n), np.nan)
    if not np.all(np.isfinite(jacobian)) or jacobian.shape[0] < n:
        return nan
    scale = np.sqrt(np.einsum("ij,ij->j", jacobian, jacobian))
    if np.any(scale == 0):
        return nan
    columns, factor = (jacobian / scale).T.copy(), np.zeros((n, n))
    for k in range(n):
        factor[k, k] = np.sqrt(np.einsum("i,i->", columns[k], columns[k]))
        if not factor[k, k] > _SINGULAR:
            return nan
        columns[k] /= factor[k, k]
        factor[k, k + 1 :] = np.einsum("ji,i->j", columns[k + 1 :], columns[k])
        columns[k + 1 :] -= factor[k, k + 1 :, None] * columns[k]
    inverse = np.zeros((n, n))
    for k in reversed(range(n)):
        inverse[k] = -np.einsum("j,jk->k", factor[k, k + 1 :], inverse[k + 1 :])
        inverse[k, k] += 1.0
        inverse[k] /= factor[k, k]
    return np.einsum("ik,jk->ij", inverse, inverse) / np.outer(scale, scale)


def fitNonNegative(model, x, y, start, index, *, weights=None, loss="linear"):
    """`fitCurve` in which one parameter must not be negative.

    The free optimum is taken if it obeys; otherwise the parameter is held at 0, which is the constrained optimum.
    """
    fit = fitCurve(model, x, y, start, weights=weights, loss=loss)
    if fit.parameters[index] >= 0:
        return fit
    held = fit.parameters.copy()
    held[index] = 0.0
    return fitCurve(model, x, y, held, weights=weights, loss=loss, fixed=np.arange(held.size) == index)


def fitBootstrap(refit, fit, model, x, *, nSamples=100, seed=0):
    """Errors of a fit from refits of resampled residuals.

    Parameters
    ----------
    refit : callable
        ``refit(y)`` gives the `CurveFit` of other data at the same points with the same weights.
    fit : `CurveFit`
        The fit to the data.
    model : `CurveModel`
    x : `numpy.ndarray` [n]
    nSamples : `int`
    seed : `int`
        Of the generator; the global one is never used.

    Returns
    -------
    fit : `CurveFit`
        With the mean of the refitted parameters and their sample covariance: its ``errors("ABSOLUTE")`` are theirs. Residuals are multiplied by standard normal
        numbers point by point (the wild bootstrap of Wu 1986), in units of the data, so that a different scatter at each
        level is kept, and enlarged by sqrt(n / (n - k)).
    """
    if nSamples < 2:
        raise DomainError(f"nSamples: wanted at least 2 bootstrap samples, not {nSamples}")
    generator = np.random.default_rng(seed)
    curve = model.evaluate(x, *fit.parameters)
    scatter = fit.residuals * np.sqrt(fit.residuals.size / max(fit.dof, 1))
    samples = [refit(curve + scatter * generator.standard_normal(curve.size)).parameters for _ in range(nSamples)]
    covariance = np.atleast_2d(np.cov(np.array(samples), rowvar=False))
    return replace(fit, parameters=np.mean(samples, axis=0), covariance=covariance)
