"""Which points of a photon transfer curve obey the model: outliers, the turn-off, the roll-off, and older rules."""

from dataclasses import dataclass

import numpy as np

from ..errors import NoDataError
from .fit import EXP_APPROXIMATION, ROLLOFF, CurveFit, cleanWeights, fitCurve
from .models import evalExpApproximation, evalRolloff

__all__ = [
    "PointSelection",
    "RolloffFit",
    "fitRolloff",
    "goodPointsByLinearity",
    "goodPointsByVarianceDecrease",
    "samplingError",
    "selectPoints",
]

_START = np.array([-2e-6, 1.5, 25.0])
_BOUNDS = np.array([[-1e-4, 0.1, 0.0], [0.0, 10.0, 2000.0]])


@dataclass(frozen=True)
class PointSelection:
    """Points of a curve that obey Eq. 16.

    Attributes
    ----------
    mask : `numpy.ndarray` [n], bool
        In the order given.
    turnoff, turnoffError : `float`
        Largest used mean, and half the distance between its neighbours, adu.
    fit : `CurveFit`
        The unweighted fit that the outliers were found with.
    converged : `bool`
        Whether the last round rejected nothing more.
    """

    mask: np.ndarray
    turnoff: float
    turnoffError: float
    fit: CurveFit
    converged: bool


def selectPoints(mu, var, usable, sqrtWeights, settings):
    """Reject outliers from a curve and find its turn-off, by fits of Eq. 16 of Astier et al. 2019.

    Parameters
    ----------
    mu, var : `numpy.ndarray` [n]
        Mean (adu) and half variance of the difference (adu^2), in any order; NaN is never used.
    usable : `numpy.ndarray` [n], bool
        Points that may be used.
    sqrtWeights : `numpy.ndarray` [n]
        Inverse standard deviations of var.
    settings : namespace
        From `makeSolveSettings`.

    Returns
    -------
    selection : `PointSelection`

    Raises
    ------
    NoDataError
        No usable point, or too few left.

    Notes
    -----
    The first fit uses levels up to a limit only, below which no sensor saturates; later rounds all points that agree with the
    last fit. A gap of rejected points that is wide ends the curve: agreement beyond it is chance.
    """
    order = np.argsort(np.where(np.isfinite(mu), mu, np.inf), kind="stable")
    mu, var, sqrtWeights = mu[order], var[order], sqrtWeights[order]
    usable = usable[order] & np.isfinite(mu) & np.isfinite(var)
    if not usable.any():
        raise NoDataError("no usable flat pair")
    if settings.doLegacyTurnoffSelection:
        usable = usable & _legacyGoodPoints(mu, var, settings)
    gain = _approximateGain(mu, var, usable, settings)
    scale = gain if settings.scaleMaxSignalInitialPtcOutlierFit else 1.0
    start, bounds = _startAndBounds(mu, usable, gain, settings)

    def fit(mask, start):
        if mask.sum() < 3:
            raise NoDataError(f"a curve needs at least 3 usable flat pairs, there are {mask.sum()}")
        how = {} if settings.outlierFitUnweighted else _robustly(mu[mask], var[mask], gain)
        return fitCurve(EXP_APPROXIMATION, mu[mask], var[mask], start, bounds=bounds, tolerance=1e-12, **how)

    if settings.maxIterationsPtcOutliers == 0:
        mask, converged = usable, True
        last = fit(mask, start)
    else:
        mask = _firstMask(mu, var, usable, settings.maxSignalInitialPtcOutlierFit / scale, settings)
        converged, last = False, None
        for _ in range(settings.maxIterationsPtcOutliers):
            last = fit(mask, start if last is None else last.parameters)
            new = usable & _agrees(mu, var, sqrtWeights, last.parameters, mask, settings)
            if settings.doLegacyTurnoffSelection:
                new &= mask  # the old rules only ever took points away
            if new.sum() < 2:
                raise NoDataError("outlier rejection left fewer than 2 flat pairs")
            new = _endAtGap(mu, new, settings.maxDeltaInitialPtcOutlierFit / scale)
            same = np.array_equal(new, mask)
            # a last round that only takes points back is no cause for concern, except to the reference
            converged, mask = same or not (settings.compat or np.any(mask & ~new)), new
            if same:
                break
    if mask.sum() < 3:
        raise NoDataError(f"a curve needs at least 3 usable flat pairs, {mask.sum()} are left")
    index = int(np.flatnonzero(mask)[-1])
    unsorted = np.zeros(mask.size, dtype=bool)
    unsorted[order] = mask
    return PointSelection(unsorted, float(mu[index]), samplingError(mu, index), last, converged)


def samplingError(mu, index):
    """Half the distance between the neighbours of a point of sorted means; to the lower one alone at the end."""
    before = mu[index - 1] if index > 0 else np.nan
    after = mu[index + 1] if index + 1 < mu.size else np.nan
    return float((after - before) / 2 if np.isfinite(after) else mu[index] - before)


def _approximateGain(mu, var, usable, settings):
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mu / var
    if settings.approximateGainAllPoints:
        gain = np.nanmedian(ratio) if np.isfinite(ratio).any() else np.nan
    else:
        good = usable & (mu > 0) & (var > 0)
        low = good & (mu < 0.5 * mu[good].max()) if good.any() else good
        chosen = low if low.any() else good
        gain = np.median(ratio[chosen]) if chosen.any() else np.nan
    if not (np.isfinite(gain) and gain > 0):
        raise NoDataError("the variances or means of the flat pairs are not positive")
    return float(gain)


def _startAndBounds(mu, usable, gain, settings):
    if settings.adaptStartToData:
        # a tenth and ten times the approximate gain at least, and noise up to the shot noise of the middle of the range
        start = np.array([-2e-6, gain, 25.0])
        noise = max(2000.0, float(np.median(np.abs(mu[usable]))) * gain)
        bounds = np.array([[-1e-4, min(0.1, gain / 10), 0.0], [0.0, max(10.0, gain * 10), noise]])
    else:
        start, bounds = _START, _BOUNDS
    return start, None if settings.binSize > 1 else bounds


def _robustly(mu, var, gain):
    """How to fit points that may hold outliers: residuals beyond 1 % of the shot noise variance count linearly.

    Without weights the brightest points alone would matter, and the noise, and so the faintest points, be undetermined.
    """
    return {"weights": 100.0 / np.fmax(mu / gain, np.fmax(0.1 * np.abs(var), 1e-30)), "loss": "soft_l1"}


def _firstMask(mu, var, usable, limit, settings):
    mask = usable & (mu <= limit)
    if settings.initialLimitOnVariance:
        mask &= var <= limit  # the reference compares adu^2 with adu
    elif mask.sum() < 3:
        # nothing below the limit: the lower half of what there is
        mask = usable & (mu <= np.median(mu[usable]))
        mask = mask if mask.sum() >= 3 else usable
    return mask


def _agrees(mu, var, sqrtWeights, parameters, fitted, settings):
    """Points within the cut of the model; see the field outlierResiduals."""
    model = evalExpApproximation(mu, *parameters)
    with np.errstate(invalid="ignore"):
        root = np.sqrt(var)
    tolerance = settings.sigmaCutPtcOutliers * root
    if settings.outlierResiduals != "SQRTVAR":
        weights = cleanWeights(sqrtWeights)
        sigma = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)
        # weights that are only relative show in the scatter of the points fitted
        scatter = 1.4826 * np.median(np.abs((var - model)[fitted] * weights[fitted]))
        # few pixels make everything agree: half the model's variance is as much as any noise may excuse
        statistical = np.fmin(settings.sigmaCutPtcOutliers * min(scatter, 1.0) * sigma, 0.5 * model)
        tolerance = np.fmax(tolerance, statistical) if settings.outlierResiduals == "BOTH" else statistical
    with np.errstate(invalid="ignore"):
        return np.abs(var - model) < tolerance


def _endAtGap(mu, mask, width):
    good = np.flatnonzero(mask)
    for lower, upper in zip(good[:-1], good[1:]):
        if upper - lower > 1 and mu[upper] - mu[lower] >= width:
            mask = mask.copy()
            mask[upper:] = False
            break
    return mask


def _legacyGoodPoints(mu, var, settings):
    if settings.legacyTurnoffRule == "LINEARITY":
        return goodPointsByLinearity(
            mu,
            var,
            settings.initialNonLinearityExclusionThresholdPositive,
            settings.initialNonLinearityExclusionThresholdNegative,
            settings.minMeanRatioTest,
        )
    return goodPointsByVarianceDecrease(mu, var, settings.minVarPivotSearch, settings.consecutivePointsVarDecreases)


def goodPointsByVarianceDecrease(means, variances, minVarPivotSearch, consecutivePointsVarDecreases):
    """Old turn-off rule: the curve ends where the variance begins to decrease at successive points.

    Parameters
    ----------
    means, variances : array_like [n]
        adu and adu^2, by increasing mean.
    minVarPivotSearch : `float`
        Decreases count where the variance is above this, adu^2.
    consecutivePointsVarDecreases : `int`
        So many successive decreases end the curve at the first of them.

    Returns
    -------
    good : `numpy.ndarray` [n], bool
        False after the end and where either is not finite.
    """
    means, variances = np.asarray(means, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    good = np.isfinite(means) & np.isfinite(variances)
    falls = (np.diff(variances) < 0) & (variances[:-1] > minVarPivotSearch)
    run = 0
    for index, fall in enumerate(falls):
        run = run + 1 if fall else 0
        if run >= consecutivePointsVarDecreases:
            good[index - run + 2 :] = False
            break
    return good


def goodPointsByLinearity(means, variances, positive, negative, minMean):
    """Oldest turn-off rule: bad where variance/mean is off its median by more than a fraction.

    Parameters
    ----------
    means, variances : array_like [n]
        adu and adu^2.
    positive, negative : `float`
        Largest relative excess and deficit.
    minMean : `float`
        Means above which the rule looks, adu.

    Returns
    -------
    good : `numpy.ndarray` [n], bool
    """
    means, variances = np.asarray(means, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    finite = np.isfinite(means) & np.isfinite(variances) & (means > 0)
    ratio = np.divide(variances, means, out=np.full(means.shape, np.nan), where=finite)
    if not finite.any():
        return finite
    off = ratio / np.median(ratio[finite]) - 1.0
    return finite & ~((means > minMean) & ((off > positive) | (off < -negative)))


@dataclass(frozen=True)
class RolloffFit:
    """Where a curve begins to leave Eq. 16 below its turn-off.

    Attributes
    ----------
    mask : `numpy.ndarray` [n], bool
        Points below the roll-off.
    rolloff, rolloffError, tau, tauError : `float`
        adu; errors are scaled by the scatter about the model, NaN where nothing was fitted.
    """

    mask: np.ndarray
    rolloff: float
    rolloffError: float
    tau: float
    tauError: float


def fitRolloff(mu, var, selection, start, settings):
    """Fit the exponential loss of variance near the turn-off.

    Parameters
    ----------
    mu, var : `numpy.ndarray` [n]
        adu, adu^2.
    selection : `PointSelection`
    start : sequence of `float` [3]
        Parameters of Eq. 16.
    settings : namespace

    Returns
    -------
    fit : `RolloffFit`
        Without rejected points just above the turn-off there is nothing to fit: the roll-off is the turn-off.
    """
    nan, turnoff = np.nan, selection.turnoff
    atTurnoff = var[int(np.argmax(selection.mask & (mu == turnoff)))]
    with np.errstate(invalid="ignore"):
        near = (mu >= turnoff) & (mu < turnoff + settings.extendRollofSearchMaskSizeAdu) & (var <= atTurnoff)
    fitted = selection.mask | near
    nothing = RolloffFit(selection.mask.copy(), turnoff, nan, nan, nan)
    if fitted.sum() == selection.mask.sum() or fitted.sum() <= 5:
        return nothing
    order = np.flatnonzero(fitted)[np.argsort(mu[fitted], kind="stable")]
    bounds = np.array(
        [
            [*_BOUNDS[0], min(turnoff - 20000.0, 0.0), -10000.0],
            [*_BOUNDS[1], turnoff, -100.0],
        ]
    )
    if settings.adaptStartToData:
        bounds[0, 1], bounds[1, 1] = min(bounds[0, 1], start[1] / 10), max(bounds[1, 1], start[1] * 10)
        bounds[1, 2] = max(bounds[1, 2], 10 * start[2])
    fit = fitCurve(ROLLOFF, mu[order], var[order], [*start, turnoff, -1200.0], bounds=bounds)
    if not fit.converged:
        return nothing
    errors = fit.errors("SCALED")
    ratio = evalRolloff(mu[order], *fit.parameters) / evalExpApproximation(mu[order], *fit.parameters[:3])
    accepted = np.flatnonzero(np.abs(ratio - 1.0) <= settings.maxPtcRolloffDeviation)
    rolloff = min(float(mu[order][accepted[-1]]), turnoff) if accepted.size else turnoff
    mask = fitted & (mu < rolloff)
    return RolloffFit(mask, rolloff, float(errors[3]), float(fit.parameters[4]), float(errors[4]))
