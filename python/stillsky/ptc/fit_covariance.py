"""Fit of Eq. 20 of Astier et al. 2019 (A&A 629, A36) to the covariances of a ramp of flats.

At fixed a, c and g the model of each lag is a polynomial of the mean level whose lowest term, the noise, is free. So the data
of a lag enter only through the triangular factor of its weighted polynomial basis (five numbers and their weights, however many
pairs), and the noise matrix is eliminated exactly (variable projection, Golub & Pereyra 1973). What is left for
Levenberg-Marquardt is 3 r^2 + 1 residuals with 2 r^2 + 1 parameters instead of n r^2 with 3 r^2 + 1.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from ..errors import DomainError, NoDataError, ShapeError
from .fit import cleanWeights, errorFactor, modelWeights, normalInverse
from .models import covarianceJacobian, evalFullCovariance

__all__ = ["FullCovarianceFit", "fitFullCovariance", "initialFitFullCovariance", "subtractDistantOffset"]

_NORMAL_MAD = 1.4826022185056018
_SIGNIFICANT_A = 5.0  # standard deviations
_TINY_A = 1e-18  # 1/electron; c / a below it says nothing


@dataclass(frozen=True)
class FullCovarianceFit:
    """Result of `fitFullCovariance`.

    Attributes
    ----------
    a, b, c, noise : `numpy.ndarray` [r, r]
        1/electron, 1/electron, 1/electron^2 (c = a b), electron^2; b is NaN where a is nothing.
    gain : `float`
        electron/adu.
    covariance : `numpy.ndarray` [k, k]
        Of (a, fitted c, noise, gain), each in C order, for weights that are inverse standard deviations.
    cFree : `numpy.ndarray` [r, r], bool
        Elements of c that were fitted.
    chi2, reducedChi2 : `float`
        Over the points kept.
    dof, nClipped : `int`
        Degrees of freedom; data points (a lag of a pair) rejected as outliers.
    clipped : `numpy.ndarray` [n, r, r], bool
    noiseAtBound : `bool`
        The variance of the noise was held at 0.
    converged : `bool`
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    noise: np.ndarray
    gain: float
    covariance: np.ndarray
    cFree: np.ndarray
    chi2: float
    reducedChi2: float
    dof: int
    clipped: np.ndarray
    noiseAtBound: bool
    converged: bool

    @property
    def nClipped(self):
        """Number of data points rejected."""
        return int(self.clipped.sum())

    def evaluate(self, mu):
        """Model covariances at mean levels, adu^2, [n, r, r]."""
        return evalFullCovariance(mu, self.a, self.c, self.noise, self.gain)

    def errors(self, kind="LARGER"):
        """Standard errors of a, b, c, noise (matrices) and gain, by name.

        Parameters
        ----------
        kind : `str`
            As in `CurveFit.errors`. Errors of b are NaN where a is below 5 standard deviations: judge c there;
            that of a noise variance held at 0 is NaN.
        """
        size, nC = self.a.size, int(self.cFree.sum())
        variance = np.abs(np.diag(self.covariance)) * errorFactor(self.reducedChi2, kind) ** 2
        shape = self.a.shape
        varC, covAC = np.zeros(size), np.zeros(size)
        free = np.flatnonzero(self.cFree)
        varC[free] = variance[size : size + nC]
        covAC[free] = self.covariance[free, size + np.arange(nC)] * errorFactor(self.reducedChi2, kind) ** 2
        if self.noiseAtBound:
            variance[size + nC] = np.nan
        varA, a, b = variance[:size], self.a.ravel(), self.b.ravel()
        with np.errstate(divide="ignore", invalid="ignore"):
            varB = (varC - 2 * b * covAC + b**2 * varA) / a**2
        # the ratio of c to an a that may be zero has no standard deviation
        varB = np.where(self.cFree.ravel(), np.where(np.abs(a) > _SIGNIFICANT_A * np.sqrt(varA), varB, np.nan), 0.0)
        return {
            "a": np.sqrt(varA).reshape(shape),
            "b": np.sqrt(np.fmax(varB, 0.0) + 0.0 * varB).reshape(shape),
            "c": np.sqrt(varC).reshape(shape),
            "noise": np.sqrt(variance[size + nC : 2 * size + nC]).reshape(shape),
            "gain": float(np.sqrt(variance[-1])),
        }


def initialFitFullCovariance(mu, covariances, sqrtWeights, *, compat=False):
    """Crude values of a, noise and gain: parabolas per lag, in up to five rounds (bfptc's recipe).

    Parameters
    ----------
    mu : `numpy.ndarray` [n]
        adu.
    covariances, sqrtWeights : `numpy.ndarray` [n, r, r]
        adu^2 and 1/adu^2.
    compat : `bool`
        Leave out the factor g^2 of the noise, as the reference does.

    Returns
    -------
    a, noise : `numpy.ndarray` [r, r]
    gain : `float`
    """
    r = covariances.shape[1]
    a, noise, zero, gain = np.zeros((r, r)), np.zeros((r, r)), np.zeros((r, r)), 1.0
    scale = np.max(np.abs(mu))
    basis = np.stack([(mu / scale) ** 2, mu / scale, np.ones_like(mu)], axis=1)
    design = np.moveaxis(sqrtWeights.reshape(mu.size, -1), 0, 1)[:, :, None] * basis
    inverse = np.linalg.pinv(design)
    best, kept = np.inf, None
    for _ in range(5):
        residual = (covariances - evalFullCovariance(mu, a, zero, noise, gain)) * sqrtWeights
        chi2 = np.sum(residual**2)
        if chi2 > best:
            break
        best, kept = chi2, (a, noise, gain)
        step = np.einsum("lkn,nl->kl", inverse, residual.reshape(mu.size, -1)).reshape(3, r, r)
        a = a + step[0] / scale**2
        noise = noise + step[2] * (1.0 if compat else gain**2)
        inverseGain = 1.0 / gain + step[1, 0, 0] / scale
        if not inverseGain > 0:
            break
        gain = 1.0 / inverseGain
    return (a, noise, gain) if compat else kept


class _ReducedData:
    """Triangular factors of the weighted polynomial bases of all lags: all that the fit needs of the data."""

    def __init__(self, mu, covariances, weights):
        n, r, _ = covariances.shape
        self.r, self.scale = r, float(np.max(np.abs(mu)))
        x = mu / self.scale
        # the noise comes first, so that dropping the first row eliminates it; the linear term, of lag (0, 0) alone, comes last
        basis = np.stack([np.ones_like(x), x**2, x**3, x**4, x], axis=1)
        w = weights.reshape(n, -1).T
        factor = _triangularFactors([*(w * column for column in basis.T), w * covariances.reshape(n, -1).T])
        self.noise, self.z0 = factor[:, 0, :5], factor[:, 0, 5]
        self.high, self.z = factor[:, 1:4, 1:4], factor[:, 1:4, 5]
        # the linear term also projects on the rows of the powers, for lag (0, 0)
        self.linear, self.last = factor[0, 1:4, 4], factor[0, 4, 4:6]
        self.powers = self.scale ** np.arange(2, 5)


def _triangularFactors(columns):
    """R of the QR of many tall matrices, given by columns of shape [matrix, row], as [matrix, column, column].

    Modified Gram-Schmidt with the data as the last column, which is backward stable for least squares (Bjorck 1967); vectorised
    over the matrices, where LAPACK would be called for each.
    """
    k = len(columns)
    factor = np.zeros((columns[0].shape[0], k, k))
    for i in range(k):
        norm = np.sqrt(np.einsum("ln,ln->l", columns[i], columns[i]))
        factor[:, i, i] = norm
        unit = columns[i] / np.where(norm > 0, norm, 1.0)[:, None]
        for j in range(i + 1, k):
            factor[:, i, j] = np.einsum("ln,ln->l", unit, columns[j])
            columns[j] = columns[j] - factor[:, i, j][:, None] * unit
    return factor


class _Problem:
    """Residuals and Jacobian of the reduced problem; parameters are a, the free elements of c, and the gain."""

    def __init__(self, data, cFree, holdNoise):
        self.data, self.cFree, self.holdNoise = data, np.flatnonzero(cFree), holdNoise
        self._at, self._value = None, None

    def split(self, p):
        r = self.data.r
        c = np.zeros(r * r)
        c[self.cFree] = p[r * r : -1]
        return p[: r * r].reshape(r, r), c.reshape(r, r), p[-1]

    def join(self, a, c, gain):
        return np.concatenate([np.ravel(a), np.ravel(c)[self.cFree], [gain]])

    def _evaluate(self, p):
        if self._at is not None and np.array_equal(self._at, p):
            return self._value
        data, size = self.data, self.data.r**2
        a, c, gain = self.split(p)
        coefficients, byA, byC, byGain = covarianceJacobian(a, c, gain)
        scaled = coefficients.reshape(3, size).T * data.powers
        derivative = np.concatenate([byA, byC[:, :, self.cFree], byGain.reshape(3, size, 1)], axis=2)
        derivative = np.ascontiguousarray(np.moveaxis(derivative, 0, 1)) * data.powers[:, None]
        slope, slopeByGain = data.scale / gain, -data.scale / gain**2
        main = (data.high @ scaled[:, :, None])[:, :, 0] - data.z
        main[0] += data.linear * slope
        jacobian = data.high @ derivative
        jacobian[0, :, -1] += data.linear * slopeByGain
        lastRow = np.zeros(p.size)
        lastRow[-1] = data.last[0] * slopeByGain
        residuals = [main.ravel(), [data.last[0] * slope - data.last[1]]]
        jacobians = [jacobian.reshape(3 * size, -1), lastRow[None]]
        if self.holdNoise:
            value, row = self.noiseRow(scaled, derivative, slope, slopeByGain)
            residuals.append([value[0] - data.z0[0]])
            jacobians.append(row[:1])
        self._at, self._value = p.copy(), (np.concatenate(residuals), np.concatenate(jacobians), scaled, derivative)
        return self._value

    def noiseRow(self, scaled, derivative, slope, slopeByGain):
        """The row of each lag that determines its noise: value without the noise term, and derivatives."""
        noise = self.data.noise
        value = np.sum(noise[:, 1:4] * scaled, axis=1)
        row = (noise[:, None, 1:4] @ derivative)[:, 0, :]
        value[0] += noise[0, 4] * slope
        row[0, -1] += noise[0, 4] * slopeByGain
        return value, row

    def residuals(self, p):
        return self._evaluate(p)[0]

    def jacobian(self, p):
        return self._evaluate(p)[1]

    def noiseMatrix(self, p):
        """The eliminated noise at a solution, electron^2."""
        data, gain = self.data, p[-1]
        _, _, scaled, derivative = self._evaluate(p)
        value, _ = self.noiseRow(scaled, derivative, data.scale / gain, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = (data.z0 - value) / data.noise[:, 0] * gain**2
        if self.holdNoise:
            noise[0] = 0.0
        return noise.reshape(data.r, data.r)

    def covariance(self, p):
        """Covariance of (a, c, noise, gain).

        The noise is ``n = (z0 - f(a, c, g)) g^2 / R00``, and its z0 is independent of all that determines a, c and g.
        """
        data, size, gain = self.data, self.data.r**2, p[-1]
        _, jacobian, scaled, derivative = self._evaluate(p)
        inner = normalInverse(jacobian)
        _, row = self.noiseRow(scaled, derivative, data.scale / gain, -data.scale / gain**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = gain**2 / data.noise[:, 0]
        slope = -row * scale[:, None]
        slope[:, -1] += 2.0 * self.noiseMatrix(p).ravel() / gain
        own = scale**2
        if self.holdNoise:
            slope[0], own[0] = 0.0, 0.0
        cross = np.einsum("ij,jk->ik", slope, inner)
        n = p.size - 1
        total = np.empty((p.size + size,) * 2)
        theta = np.r_[0:n, n + size]
        total[np.ix_(theta, theta)] = inner
        total[n : n + size, theta] = cross
        total[theta, n : n + size] = cross.T
        total[n : n + size, n : n + size] = np.einsum("ij,kj->ik", cross, slope) + np.diag(own)
        return total


def fitFullCovariance(
    mu,
    covariances,
    sqrtWeights,
    *,
    withB=True,
    rangeB=None,
    nSigmaClip=5.0,
    maxIterClip=3,
    weights="MODEL",
    boundNoise=True,
    start=None,
):
    """Fit a, b, the noise matrix and the gain to the covariances of an amplifier.

    Parameters
    ----------
    mu : `numpy.ndarray` [n]
        Mean levels, adu.
    covariances, sqrtWeights : `numpy.ndarray` [n, r, r]
        Half covariances of flat pairs, adu^2, and their inverse standard deviations; non-finite ones count for nothing.
    withB : `bool`
        False: c = 0.
    rangeB : `int`, optional
        c is fitted at lags below it only; default all.
    nSigmaClip, maxIterClip : `float`, `int`
        Data points whose weighted residual exceeds this many robust standard deviations (1.4826 MAD of all) are left out, and
        the fit repeated until none changes or so often. A lag of which more than a quarter would go keeps all.
    weights : `str`
        ``"MODEL"``: weights at the fitted variance (see `modelWeights`); ``"DATA"``: as given.
    boundNoise : `bool`
        Keep the noise variance at or above 0.
    start : tuple, optional
        (a, noise, gain) to begin with; default from `initialFitFullCovariance`.

    Returns
    -------
    fit : `FullCovarianceFit`

    Raises
    ------
    ShapeError
        Arrays that do not belong together.
    NoDataError
        Fewer than 4 (3 without b) distinct levels with weight.

    Notes
    -----
    Cost: one QR of [n, 6] per lag and round, and Levenberg-Marquardt steps of order (2 r^2)^3; 30 ms for r = 8, whatever n.
    """
    mu, covariances, given = _checked(mu, covariances, sqrtWeights, weights)
    r = covariances.shape[1]
    lag = np.arange(r) < (r if rangeB is None else rangeB)
    cFree = np.logical_and.outer(lag, lag) & bool(withB)
    levels = 4 if withB else 3
    _requireLevels(mu, given, levels)
    a, noise, gain = initialFitFullCovariance(mu, covariances, given) if start is None else start
    state = (np.asarray(a, dtype=np.float64), np.zeros((r, r)), noise, float(gain))
    variance, clipped = covariances[:, 0, 0], np.zeros(given.shape, dtype=bool)
    rounds = max(int(maxIterClip), 0) + (2 if weights == "MODEL" else 1)
    current = given
    for k in range(rounds):
        if weights == "MODEL":
            current = modelWeights(given, variance, evalFullCovariance(mu, *state)[:, 0, 0])
            _requireLevels(mu, current, levels)
        problem, solution = _solve(mu, covariances, np.where(clipped, 0.0, current), cFree, state, boundNoise)
        state = (*problem.split(solution.x)[:2], problem.noiseMatrix(solution.x), float(solution.x[-1]))
        if maxIterClip <= 0 or (weights == "MODEL" and k == 0):
            continue
        before, clipped = clipped, _outliers(mu, covariances, current, state, nSigmaClip)
        if np.array_equal(before, clipped) or k == rounds - 1:
            clipped = before  # what the fit that is returned was made without
            break
    return _result(mu, covariances, np.where(clipped, 0.0, current), clipped, cFree, problem, solution, state)


def _checked(mu, covariances, sqrtWeights, weights):
    mu, covariances = np.asarray(mu, dtype=np.float64), np.asarray(covariances, dtype=np.float64)
    if covariances.ndim != 3 or covariances.shape[1] != covariances.shape[2] or covariances.shape[0] != mu.size:
        raise ShapeError(f"covariances: wanted shape ({mu.size}, r, r), not {covariances.shape}")
    if np.shape(sqrtWeights) != covariances.shape:
        raise ShapeError(f"sqrtWeights: wanted shape {covariances.shape}, not {np.shape(sqrtWeights)}")
    if weights not in ("MODEL", "DATA"):
        raise DomainError(f"weights: wanted MODEL or DATA, not {weights!r}")
    good = np.isfinite(covariances) & np.isfinite(mu)[:, None, None]
    return (
        np.where(np.isfinite(mu), mu, 0.0),
        np.where(good, covariances, 0.0),
        cleanWeights(np.where(good, sqrtWeights, 0.0)),
    )


def countLevels(mu):
    """Number of mean levels that differ by more than a thousandth."""
    levels = np.sort(mu)
    return 0 if levels.size == 0 else 1 + int(np.count_nonzero(np.diff(levels) > 1e-3 * np.abs(levels[1:])))


def _requireLevels(mu, weights, wanted):
    for i, j in np.ndindex(weights.shape[1:]):
        distinct = countLevels(mu[weights[:, i, j] > 0])
        if distinct < wanted:
            raise NoDataError(
                f"full covariance fit: wanted at least {wanted} different mean levels, lag ({i}, {j}) has {distinct}"
            )


def _solve(mu, covariances, weights, cFree, state, boundNoise):
    data = _ReducedData(mu, covariances, weights)
    problem, solution = _optimize(data, cFree, state, False)
    if boundNoise and problem.noiseMatrix(solution.x)[0, 0] < 0:
        problem, solution = _optimize(data, cFree, (*problem.split(solution.x)[:2], None, solution.x[-1]), True)
    return problem, solution


def _optimize(data, cFree, state, holdNoise):
    problem = _Problem(data, cFree, holdNoise)
    start = problem.join(state[0], state[1], state[3])
    options = dict(jac=problem.jacobian, x_scale="jac", ftol=1e-14, xtol=1e-13, gtol=1e-15, max_nfev=200)
    return problem, least_squares(problem.residuals, start, method="lm", **options)


def _outliers(mu, covariances, weights, state, nSigma):
    residuals = (covariances - evalFullCovariance(mu, *state)) * weights
    used = weights > 0
    values = residuals[used]
    sigma = _NORMAL_MAD * np.median(np.abs(values - np.median(values)))
    floor = 1e-9 * np.max(np.abs(covariances * weights))  # exact data have residuals of rounding only
    outliers = used & (np.abs(residuals) > nSigma * max(sigma, floor))
    # a lag that fits badly as a whole has no outliers: the model is wrong there, and without its data nothing would hold it
    return outliers & (outliers.sum(axis=0) <= 0.25 * used.sum(axis=0))


def _result(mu, covariances, weights, clipped, cFree, problem, solution, state):
    a, c, noise, gain = state
    chi2 = float(np.sum(((covariances - evalFullCovariance(mu, *state)) * weights) ** 2))
    nParameters = solution.x.size + noise.size - problem.holdNoise
    dof = int(np.count_nonzero(weights)) - nParameters
    with np.errstate(divide="ignore", invalid="ignore"):
        b = np.where(np.abs(a) > _TINY_A, c / a, np.where(cFree, np.nan, 0.0))
    reduced = chi2 / dof if dof > 0 else np.nan
    covariance = problem.covariance(solution.x)
    success = bool(solution.success) and gain > 0
    return FullCovarianceFit(
        a, b, c, noise, gain, covariance, cFree, chi2, reduced, dof, clipped, problem.holdNoise, success
    )


def subtractDistantOffset(covariances, sqrtWeights, start, degree=1):
    """Subtract from each pair's covariances a smooth surface fitted to the distant lags.

    Parameters
    ----------
    covariances, sqrtWeights : `numpy.ndarray` [n, r, r]
        adu^2, 1/adu^2.
    start : `int`
        Lags with both dx and dy below it do not count in the fit.
    degree : `int`
        Of the polynomial in each of dx and dy: (degree + 1)^2 terms.

    Returns
    -------
    subtracted, offset : `numpy.ndarray` [n, r, r]
        A pair with too few finite distant lags is left as it is, with a NaN offset.
    """
    n, r, _ = covariances.shape
    if not 0 < start < r:
        raise DomainError(f"start: wanted a lag from 1 to {r - 1}, not {start}")
    power = np.arange(r)[:, None] ** np.arange(degree + 1)
    basis = (power[:, None, :, None] * power[None, :, None, :]).reshape(r * r, -1)
    offset = np.full(covariances.shape, np.nan)
    for k in range(n):
        weights = cleanWeights(np.where(np.isfinite(covariances[k]), sqrtWeights[k], 0.0))
        weights[:start, :start] = 0.0
        used = weights.ravel() > 0
        if used.sum() < basis.shape[1]:
            continue
        w = weights.ravel()[used]
        solution = np.linalg.lstsq(basis[used] * w[:, None], covariances[k].ravel()[used] * w, rcond=None)[0]
        offset[k] = (basis @ solution).reshape(r, r)
    return covariances - np.nan_to_num(offset), offset
