"""From the measurements of flat pairs to photon transfer curves: gain, noise, covariance coefficients and turn-off."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ..errors import MismatchError, NoDataError, StillskyError
from ..threads import getNumThreads
from .amp_offsets import adjustGainsByAmpOffsets
from .dataset import PhotonTransferCurveDataset
from .fit import (
    EXP_APPROXIMATION,
    CurveFit,
    cleanWeights,
    fitBootstrap,
    fitCurve,
    fitNonNegative,
    makeZeroSafe,
    modelWeights,
    polynomialModel,
)
from .fit_covariance import FullCovarianceFit, countLevels, fitFullCovariance, subtractDistantOffset
from .solve_settings import makeSolveSettings
from .turnoff import PointSelection, RolloffFit, fitRolloff, selectPoints

__all__ = ["FLAGS", "AmplifierSolution", "SolveResult", "assemble", "solve", "solveDataset", "solveWithDetails"]

_log = logging.getLogger(__name__)

FLAGS = {
    "BAD": "no fit: its figures are NaN",
    "NO_TURNOFF": "the brightest usable pair still obeys the model: the true turn-off is higher",
    "NOT_CONVERGED": "the outlier rejection or the fit was stopped before it settled",
    "NOISE_AT_ZERO": "the fitted noise variance was held at zero: the noise is not measured",
    "NOISE_DIFFERS": "fitted noise and overscan noise differ by more than 5 %",
    "MODEL_MISFIT": "reduced chi square above 2: errors are scaled up, the model does not describe the data",
    "NO_WEIGHTS": "the pairs had no weights: relative ones were used",
    "ZERO_VARIANCE": "some variances are exactly zero",
}
_FULL = ("FULLCOVARIANCE", "FULLCOVARIANCE_NO_B")
_FLAG_CHI2 = 2.0
_SENSOR_CARDS = ("INSTRUME", "RAFTNAME", "SLOTNAME", "DETECTOR", "DET_NAME", "DET_SER", "FILTER")


@dataclass
class AmplifierSolution:
    """All that was found for an amplifier.

    Attributes
    ----------
    ampName : `str`
    mask : `numpy.ndarray` [n], bool
        Pairs used in the final fit.
    selection : `PointSelection` or None
    rolloff : `RolloffFit` or None
    curve : `CurveFit` or None
        Fit of the variance (Eq. 16 or the polynomial).
    curveErrors : `numpy.ndarray` or None
        Errors of its parameters, of the kind configured.
    full : `FullCovarianceFit` or None
    fullErrors : `dict` or None
        Errors of a, b, c, noise, gain, of the kind configured.
    offset : `numpy.ndarray` [n used, r, r] or None
        Distant covariances that were subtracted from the used pairs before the full fit, adu^2. Those of the dataset are
        without the subtraction.
    flags : `list` [`str`]
        Of `FLAGS`.
    messages : `list` [`str`]
        Warnings, for the log.
    """

    ampName: str
    mask: np.ndarray
    selection: PointSelection | None = None
    rolloff: RolloffFit | None = None
    curve: CurveFit | None = None
    curveErrors: np.ndarray | None = None
    full: FullCovarianceFit | None = None
    fullErrors: dict | None = None
    offset: np.ndarray | None = None
    flags: list = field(default_factory=list)
    messages: list = field(default_factory=list)

    def flag(self, name, message=None):
        """Add a flag, with a message for the log."""
        if name not in self.flags:
            self.flags.append(name)
        if message:
            self.messages.append(message)


@dataclass
class SolveResult:
    """Result of `solveWithDetails`.

    Attributes
    ----------
    dataset : `PhotonTransferCurveDataset`
    amplifiers : `dict` [`str`, `AmplifierSolution`]
        With parameter covariances, flags and all else that the dataset has no place for.
    """

    dataset: PhotonTransferCurveDataset
    amplifiers: dict


def solve(partials, config=None, *, log=None, numThreads=None):
    """Fit the photon transfer curves of a detector.

    Parameters
    ----------
    partials : iterable of `PhotonTransferCurveDataset`
        One per flat pair; DUMMY datasets are passed over. Not modified.
    config : `PhotonTransferCurveSolveAlgorithmConfig`, optional
    log : `logging.Logger`, optional
    numThreads : `int`, optional
        Amplifiers fitted at a time; default `stillsky.getNumThreads`.

    Returns
    -------
    dataset : `PhotonTransferCurveDataset`
        Sorted by mean level. An amplifier that cannot be fitted is in ``badAmps``, the others are not affected.

    Raises
    ------
    NoDataError
        No partial dataset at all.
    MismatchError
        Partial datasets of different detectors or settings.
    """
    return solveWithDetails(partials, config, log=log, numThreads=numThreads).dataset


def solveWithDetails(partials, config=None, *, log=None, numThreads=None):
    """`solve` with the details of each amplifier.

    Returns
    -------
    result : `SolveResult`
    """
    settings = makeSolveSettings(config)
    return solveDataset(assemble(partials, settings), settings, log=log, numThreads=numThreads)


def assemble(partials, settings):
    """Join the partial datasets of flat pairs, mask unusable pairs, and sort by mean level.

    Parameters
    ----------
    partials : iterable of `PhotonTransferCurveDataset`
    settings : namespace
        From `makeSolveSettings`.

    Returns
    -------
    dataset : `PhotonTransferCurveDataset`
        All amplifiers have one order of pairs: by the mean over amplifiers of their means.
    """
    partials = [partial for partial in partials if partial.ptcFitType != "DUMMY"]
    if not partials:
        raise NoDataError("photon transfer fit: wanted at least one PARTIAL dataset, there is none")
    sides = {partial.covMatrixSide for partial in partials}
    if len(sides) > 1:
        raise MismatchError(f"photon transfer fit: pairs were measured with different covMatrixSide: {sorted(sides)}")
    r = min(settings.maximumRangeCovariancesAstier, sides.pop())
    rf = min(settings.maximumRangeCovariancesAstierFullCovFit, r)
    names = partials[0].ampNames
    dataset = PhotonTransferCurveDataset(names, settings.ptcFitType, r, rf)
    dataset.appendPartialPtcs([_cut(partial, r, rf) for partial in partials])
    _copyMetadata(dataset, partials)
    for amp in names:
        dataset.expIdMask[amp] = _usable(dataset, amp, settings)
    means = np.array([dataset.rawMeans[amp] for amp in names])
    finite = np.isfinite(means)
    count = finite.sum(axis=0)
    key = np.where(count > 0, np.where(finite, means, 0.0).sum(axis=0) / np.maximum(count, 1), np.inf)
    dataset.sort(np.argsort(key, kind="stable"))
    return dataset


def _copyMetadata(dataset, partials):
    """The sequence cards of all pairs, and the sensor and filter of the first."""
    dataset.updateMetadataFromExposures(partials)
    for key in _SENSOR_CARDS:
        value = partials[0].metadata.get(key)
        if value is not None:
            dataset.updateMetadata(**{key: value})
    dataset.updateMetadata(setDate=True)


def _cut(partial, r, rf):
    """A shallow copy of a partial dataset with smaller matrices; the same object if nothing changes."""
    if partial.covMatrixSide == r:
        return partial
    cut = PhotonTransferCurveDataset(partial.ampNames, partial.ptcFitType, r, rf)
    cut.__dict__.update({k: v for k, v in partial.__dict__.items() if not k.startswith("covMatrixSide")})
    for name in ("covariances", "covariancesSqrtWeights"):
        setattr(cut, name, {amp: values[:, :r, :r] for amp, values in getattr(partial, name).items()})
    return cut


def _usable(dataset, amp, settings):
    mu, var = dataset.rawMeans[amp], dataset.rawVars[amp]
    low = _limit(settings.minMeanSignal, amp, 0.0)
    high = _limit(settings.maxMeanSignal, amp, 1e6)
    with np.errstate(invalid="ignore"):
        usable = dataset.expIdMask[amp] & (mu > low) & (mu < high) & np.isfinite(var)
        return usable & ~(dataset.kspValues[amp] < settings.ksTestMinPvalue)


def _limit(limits, amp, default):
    return limits.get("ALL_AMPS", limits.get(amp, default))


def solveDataset(dataset, settings, *, log=None, numThreads=None):
    """Fit an assembled dataset in place; see `solveWithDetails`."""
    log = _log if log is None else log
    threads = min(getNumThreads() if numThreads is None else numThreads, len(dataset.ampNames))
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        solutions = list(pool.map(lambda amp: solveAmplifier(dataset, amp, settings), dataset.ampNames))
    for solution in solutions:
        for message in solution.messages:
            log.warning("amplifier %s: %s", solution.ampName, message)
        _store(dataset, solution, settings)
        _checkNoise(dataset, solution, settings, log)
    if settings.doAmpOffsetGainRatioFixup:
        adjustGainsByAmpOffsets(dataset, settings.ampOffsetGainRatioMinAdu, settings.ampOffsetGainRatioMaxAdu, log=log)
    if settings.doSubtractLongRangeCovariances and settings.ptcFitType in _FULL:
        dataset.updateMetadata(
            PTC_LONG_RANGE_SUBTRACTED=True,
            PTC_LONG_RANGE_START=settings.startLongRangeCovariances,
            PTC_LONG_RANGE_DEGREE=settings.polyDegLongRangeCovariances,
        )
    dataset.checkSizes()
    return SolveResult(dataset, {solution.ampName: solution for solution in solutions})


def solveAmplifier(dataset, amp, settings):
    """Fit one amplifier without changing the dataset.

    Returns
    -------
    solution : `AmplifierSolution`
        Flagged BAD, with the reason as message, if it cannot be fitted.
    """
    mu, usable = dataset.rawMeans[amp], dataset.expIdMask[amp]
    solution = AmplifierSolution(amp, np.zeros(mu.size, dtype=bool))
    var, zeros = makeZeroSafe(dataset.rawVars[amp])
    if zeros.size:
        solution.flag("ZERO_VARIANCE", f"variances of exactly zero at pairs {zeros.tolist()}")
    if not settings.compat:
        with np.errstate(invalid="ignore"):
            usable = usable & (dataset.rawVars[amp] > 0)
    weights = dataset.covariancesSqrtWeights[amp][:, 0, 0]
    try:
        _solveVariance(solution, mu, var, usable, weights, settings)
        if settings.ptcFitType in _FULL:
            _solveCovariances(solution, dataset, amp, settings)
    except (StillskyError, np.linalg.LinAlgError) as error:
        solution.mask[:] = False
        solution.curve = solution.full = None
        solution.flag("BAD", f"SERIOUS: not enough good data to fit the photon transfer curve: {error}")
    return solution


def _solveVariance(solution, mu, var, usable, weights, settings):
    solution.selection = selection = selectPoints(mu, var, usable, weights, settings)
    if not selection.converged:
        solution.flag("NOT_CONVERGED", "outlier rejection did not converge in maxIterationsPtcOutliers rounds")
    with np.errstate(invalid="ignore"):
        if not np.any(usable & np.isfinite(mu) & (mu > selection.turnoff)):
            solution.flag("NO_TURNOFF")
    solution.mask = selection.mask.copy()
    curve = _fitVariance(solution, mu, var, weights, selection.fit.parameters, EXP_APPROXIMATION, 2, settings)
    if settings.doModelPtcRolloff:
        solution.rolloff = fitRolloff(mu, var, selection, curve.parameters, settings)
        solution.mask = solution.rolloff.mask.copy()
    if settings.ptcFitType in _FULL:
        solution.curve, solution.curveErrors = curve, curve.errors(settings.fitErrors)
        return
    if settings.secondOutlierPass and settings.ptcFitType == "EXPAPPROXIMATION":
        solution.mask = selectPoints(mu, var, solution.mask, weights, settings).mask
    if settings.ptcFitType == "POLYNOMIAL":
        start = np.zeros(settings.polynomialFitDegree + 1)
        start[1] = 1.0 / selection.fit.parameters[1]
        model, index = polynomialModel(settings.polynomialFitDegree), 0
    else:
        model, index, start = EXP_APPROXIMATION, 2, curve.parameters
    if settings.ptcFitType == "POLYNOMIAL" or not np.array_equal(solution.mask, selection.mask):
        curve = _fitVariance(solution, mu, var, weights, start, model, index, settings)
    errors = curve.errors(settings.fitErrors)
    if settings.doFitBootstrap:
        curve, errors = _bootstrap(solution, curve, mu, var, weights, model, index, settings)
    solution.curve, solution.curveErrors = curve, errors
    _judge(solution, curve.converged, curve.reducedChi2)
    if curve.parameters[index] == 0 and curve.atBound[index]:
        solution.flag("NOISE_AT_ZERO", "the fitted noise variance would be negative and was held at zero")
    if not curve.parameters[1] > 0:
        raise NoDataError(f"the fitted gain is not positive ({curve.parameters[1]:g})")


def _judge(solution, converged, reducedChi2):
    if not converged:
        solution.flag("NOT_CONVERGED", "the fit did not converge")
    if reducedChi2 > _FLAG_CHI2:
        solution.flag("MODEL_MISFIT")


def _curveWeights(solution, mu, var, weights, model, parameters, settings):
    """Weights of the used points for a fit around given parameters."""
    mask = solution.mask
    curve = model.evaluate(mu[mask], *parameters)
    given = cleanWeights(weights[mask])
    if not given.any():
        solution.flag("NO_WEIGHTS")
        return cleanWeights(1.0 / np.fmax(curve if settings.fitWeights == "MODEL" else var[mask], 1e-30))
    return modelWeights(given, var[mask], curve) if settings.fitWeights == "MODEL" else given


def _fitVariance(solution, mu, var, weights, start, model, noiseIndex, settings):
    """The weighted fit of the points of a mask; with weights at the model in two rounds."""
    mask, parameters = solution.mask, np.asarray(start, dtype=np.float64)
    levels = countLevels(mu[mask])
    if mask.sum() < parameters.size or (levels < parameters.size and not settings.compat):
        raise NoDataError(
            f"a fit of {parameters.size} parameters to {mask.sum()} flat pairs of {levels} different levels"
        )
    rounds = 3 if settings.fitWeights == "MODEL" else 1
    around, aroundModel = parameters, model
    if model is not EXP_APPROXIMATION:
        around, aroundModel = solution.selection.fit.parameters, EXP_APPROXIMATION
    for _ in range(rounds):
        w = _curveWeights(solution, mu, var, weights, aroundModel, around, settings)
        fit = _oneFit(model, mu[mask], var[mask], parameters, w, noiseIndex, settings)
        parameters, around, aroundModel = fit.parameters, fit.parameters, model
    return fit


def _oneFit(model, mu, var, start, weights, noiseIndex, settings):
    if settings.boundNoise:
        return fitNonNegative(model, mu, var, start, noiseIndex, weights=weights, loss=settings.fitLoss)
    return fitCurve(model, mu, var, start, weights=weights, loss=settings.fitLoss)


def _bootstrap(solution, curve, mu, var, weights, model, noiseIndex, settings):
    mask = solution.mask
    w = _curveWeights(solution, mu, var, weights, model, curve.parameters, settings)

    def refit(y):
        return _oneFit(model, mu[mask], y, curve.parameters, w, noiseIndex, settings)

    fit = fitBootstrap(refit, curve, model, mu[mask], nSamples=settings.bootstrapSamples, seed=settings.bootstrapSeed)
    return fit, fit.errors("ABSOLUTE")


def _solveCovariances(solution, dataset, amp, settings):
    mask, rf = solution.mask, dataset.covMatrixSideFullCovFit
    if settings.compat and mask.sum() < dataset.covMatrixSide:
        raise NoDataError(f"the full covariance fit wants {dataset.covMatrixSide} flat pairs, {mask.sum()} are left")
    covariances = dataset.covariances[amp][mask]
    weights = cleanWeights(dataset.covariancesSqrtWeights[amp][mask])
    if not weights.any():
        solution.flag("NO_WEIGHTS")
        weights = np.where(np.isfinite(covariances), 1.0 / np.fmax(np.abs(covariances[:, :1, :1]), 1e-30), 0.0)
    if settings.doSubtractLongRangeCovariances:
        start, degree = settings.startLongRangeCovariances, settings.polyDegLongRangeCovariances
        if start >= dataset.covMatrixSide:
            raise NoDataError(
                f"no covariances at the distant lags from {start} on: only {dataset.covMatrixSide} were measured"
            )
        covariances, solution.offset = subtractDistantOffset(covariances, weights, start, degree)
    solution.full = fit = fitFullCovariance(
        dataset.rawMeans[amp][mask],
        covariances[:, :rf, :rf],
        weights[:, :rf, :rf],
        withB=settings.ptcFitType == "FULLCOVARIANCE",
        rangeB=settings.maximumRangeB,
        nSigmaClip=settings.sigmaClipFullFitCovariancesAstier,
        maxIterClip=settings.maxIterFullFitCovariancesAstier,
        weights=settings.fitWeights,
        boundNoise=settings.boundNoise,
    )
    solution.fullErrors = fit.errors(settings.fitErrors)
    if not (np.isfinite(fit.gain) and fit.gain > 0):
        raise NoDataError(f"the fitted gain is not positive ({fit.gain:g})")
    _judge(solution, fit.converged, fit.reducedChi2)
    if fit.noiseAtBound:
        solution.flag("NOISE_AT_ZERO", "the fitted noise variance would be negative and was held at zero")


def _store(dataset, solution, settings):
    """Copy a solution into the dataset."""
    amp, mask = solution.ampName, solution.mask
    n, rf = mask.size, dataset.covMatrixSideFullCovFit
    bad = "BAD" in solution.flags
    dataset.expIdMask[amp] = mask.copy()
    dataset.expIdRolloffMask[amp] = mask.copy() if solution.rolloff is not None else np.zeros(n, dtype=bool)
    dataset.covariancesModel[amp] = np.full((n, rf, rf), np.nan)
    for name in ("aMatrix", "bMatrix", "noiseMatrix"):
        getattr(dataset, name)[amp] = np.full((rf, rf), np.nan)
    for name in ("finalVars", "finalModelVars", "finalMeans"):
        getattr(dataset, name)[amp] = np.full(n, np.nan)
    if bad:
        _storeBad(dataset, amp, settings)
        return
    dataset.ptcTurnoff[amp] = solution.selection.turnoff
    dataset.ptcTurnoffSamplingError[amp] = solution.selection.turnoffError
    if solution.rolloff is not None:
        rolloff = solution.rolloff
        dataset.ptcRolloff[amp], dataset.ptcRolloffError[amp] = rolloff.rolloff, rolloff.rolloffError
        dataset.ptcRolloffTau[amp], dataset.ptcRolloffTauError[amp] = rolloff.tau, rolloff.tauError
    dataset.finalMeans[amp][mask] = dataset.rawMeans[amp][mask]
    if settings.ptcFitType in _FULL:
        _storeFull(dataset, solution, settings)
    else:
        _storeCurve(dataset, solution, settings)
    dataset.gainUnadjusted[amp] = dataset.gain[amp]
    overscan = dataset.overscanMedianLevelList[amp][mask]
    overscan = overscan[np.isfinite(overscan)]
    dataset.overscanMedian[amp] = float(np.median(overscan)) if overscan.size else np.nan
    deviation = np.abs(overscan - dataset.overscanMedian[amp])
    dataset.overscanMedianSigma[amp] = float(1.4826022185056018 * np.median(deviation)) if overscan.size else np.nan


def _storeBad(dataset, amp, settings):
    if amp not in dataset.badAmps:
        dataset.badAmps.append(amp)
    for name in ("gain", "gainUnadjusted", "gainErr", "noise", "noiseErr", "ptcFitChiSq", "ptcTurnoff"):
        getattr(dataset, name)[amp] = np.nan
    for name in ("ptcTurnoffSamplingError", "ptcRolloff", "ptcRolloffError", "ptcRolloffTau", "ptcRolloffTauError"):
        getattr(dataset, name)[amp] = np.nan
    n = settings.polynomialFitDegree + 1 if settings.ptcFitType == "POLYNOMIAL" else 3
    dataset.ptcFitPars[amp], dataset.ptcFitParsError[amp] = np.full(n, np.nan), np.full(n, np.nan)


def _noiseFromVariance(variance, error):
    """sqrt(n) with its error, which at a variance held at zero is unknown."""
    if variance == 0:
        return 0.0, np.nan
    noise = float(np.sqrt(abs(variance)))
    return noise, float(0.5 * error / noise)


def _storeCurve(dataset, solution, settings):
    amp, curve, errors = solution.ampName, solution.curve, solution.curveErrors
    mu, mask = dataset.rawMeans[amp], solution.mask
    safeVars = makeZeroSafe(dataset.rawVars[amp])[0]
    dataset.finalVars[amp][mask] = safeVars[mask]
    dataset.ptcFitPars[amp], dataset.ptcFitParsError[amp] = curve.parameters.copy(), np.array(errors)
    dataset.ptcFitChiSq[amp] = curve.reducedChi2
    if settings.ptcFitType == "POLYNOMIAL":
        model = polynomialModel(settings.polynomialFitDegree)
        offset, slope = curve.parameters[:2]
        gain = 1.0 / slope
        dataset.gain[amp], dataset.gainErr[amp] = float(gain), float(abs(gain * errors[1] / slope))
        noise, noiseErr = _noiseFromVariance(offset, errors[0])
        dataset.noise[amp], dataset.noiseErr[amp] = noise * gain, noiseErr * gain
    else:
        model = EXP_APPROXIMATION
        dataset.gain[amp], dataset.gainErr[amp] = float(curve.parameters[1]), float(errors[1])
        dataset.noise[amp], dataset.noiseErr[amp] = _noiseFromVariance(curve.parameters[2], errors[2])
    dataset.finalModelVars[amp][mask] = model.evaluate(mu[mask], *curve.parameters)


def _storeFull(dataset, solution, settings):
    amp, fit, errors = solution.ampName, solution.full, solution.fullErrors
    mask = solution.mask
    dataset.aMatrix[amp], dataset.noiseMatrix[amp] = fit.a.copy(), fit.noise.copy()
    dataset.bMatrix[amp] = fit.b.copy()
    dataset.gain[amp], dataset.gainErr[amp] = fit.gain, errors["gain"]
    dataset.noise[amp], dataset.noiseErr[amp] = _noiseFromVariance(fit.noise[0, 0], errors["noise"][0, 0])
    dataset.covariancesModel[amp] = fit.evaluate(dataset.rawMeans[amp])
    dataset.finalVars[amp][mask] = dataset.covariances[amp][mask, 0, 0]
    dataset.finalModelVars[amp][mask] = dataset.covariancesModel[amp][mask, 0, 0]
    if settings.compat:
        dataset.ptcFitPars[amp], dataset.ptcFitParsError[amp] = np.full(1, np.nan), np.full(1, np.nan)
        dataset.ptcFitChiSq[amp] = np.nan
        return
    # the same three figures, in the same order, as Eq. 16 would give
    dataset.ptcFitPars[amp] = np.array([fit.a[0, 0], fit.gain, fit.noise[0, 0]])
    dataset.ptcFitParsError[amp] = np.array([errors["a"][0, 0], errors["gain"], errors["noise"][0, 0]])
    dataset.ptcFitChiSq[amp] = fit.reducedChi2


def _checkNoise(dataset, solution, settings, log):
    """Compare the fitted noise with that of the overscan."""
    amp = solution.ampName
    measured = dataset.noiseList[amp]
    measured = measured[np.isfinite(measured)]
    if amp in dataset.badAmps or measured.size == 0 or not np.isfinite(dataset.noise[amp]):
        return
    expected = float(np.median(measured)) * dataset.gain[amp]
    difference = abs(dataset.noise[amp] - expected)
    significant = settings.compat or not difference < 3.0 * dataset.noiseErr[amp]
    if difference > 0.05 * expected and significant:
        solution.flag("NOISE_DIFFERS")
        log.warning(
            "amplifier %s: fitted noise %.3f e and overscan noise %.3f e differ by more than 5 %%",
            amp,
            dataset.noise[amp],
            expected,
        )
