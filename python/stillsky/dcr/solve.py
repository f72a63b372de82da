"""Solvers for the subfilters of a DCR coadd: the iteration of DMTN-037, and conjugate gradients.

Both start from equal subfilters, read all visits in each iteration and keep the best iterate.
"""

import logging
import math
from dataclasses import dataclass, field

import numpy as np

from .. import _core
from ..errors import DomainError, ShapeError
from . import regularize
from .prior import dot, makePrior

__all__ = ["DcrProblem", "DcrSolution", "calculateGain", "solveConjugateGradients", "solvePublished"]

_LOG = logging.getLogger("stillsky.dcr")
_MOST_ITERATIONS, _MOST_OF_LEAST_SQUARES = 30, 20
_FLAT = 1e-6  # relative change of the metric that is rounding of float32 pixels


@dataclass
class DcrProblem:
    """What the solvers work on.

    Parameters
    ----------
    data : `stillsky.dcr.engine.DcrData`
    template : `numpy.ndarray`
        The coadd in the whole band, float32, finite.
    excluded : `numpy.ndarray` of `bool`
        Pixels that do not count as background: sources, bad ones.
    detected : `numpy.ndarray` of `bool`
        Sources: where the model may differ from the template.
    bufferSize : `int`
        Pixels of the edges without metric.
    sigma : `float`, optional
        Width of the PSF, pixels; otherwise that of the sources.
    """

    data: object
    template: np.ndarray
    excluded: np.ndarray
    detected: np.ndarray
    bufferSize: int = 1
    sigma: float | None = None


@dataclass
class DcrSolution:
    """Subfilter images and how they were found.

    Attributes
    ----------
    models : `list` of `numpy.ndarray`
        float32; they add up to the band.
    convergence : `list` of `float`
        Metric at the start and after each iteration.
    gains : `list` of `float`
        Of the published iteration; step lengths of conjugate gradients.
    metric : `stillsky.dcr.engine.MetricMap`
        Of the models.
    nIterations : `int`
    stopped : `str`
        Why the iteration ended.
    coverage : `list` of `numpy.ndarray`
        Weighted coverage of each subfilter.
    strength : `float`
        Rms of the subfilters' relative deviations that the prior allowed; NaN without a prior.
    posterior : `Posterior` or None
        Errors of the models; None without a prior.
    """

    models: list
    convergence: list
    gains: list
    metric: object
    nIterations: int
    stopped: str
    coverage: list = field(repr=False, default_factory=list)
    strength: float = math.nan
    posterior: object = field(repr=False, default=None)


def calculateGain(convergenceList, gainList, config):
    """Gain of the next iteration (section 7.4); it is appended to ``gainList``.

    Parameters
    ----------
    convergenceList : sequence of `float`
        Metric at the start and after each iteration so far.
    gainList : `list` of `float`
        Gains of these iterations, one fewer.
    config : `stillsky.dcr.config.DcrFields`

    Returns
    -------
    gain : `float`
        A new solution counts with ``gain/(1 + gain)``.

    Raises
    ------
    ShapeError
        (a ValueError) The lengths do not fit.

    Notes
    -----
    The value towards which the metric runs is estimated from the last four iterations, taking it to approach that value
    by the factor ``1/(1 + gain)``; the gain grows while that prediction holds.
    """
    if len(convergenceList) != len(gainList) + 1:
        raise ShapeError(
            f"convergenceList: wanted {len(gainList) + 1} values for {len(gainList)} gains, given {len(convergenceList)}"
        )
    base = config.baseGain or 1.0 / (config.dcrNumSubfilters - 1)
    gain, n = base, len(convergenceList)
    if config.useProgressiveGain and n > 2:
        c = [float(v) for v in convergenceList]
        estimates = [max(0.0, ((1 + g) * after - before) / g) for g, before, after in zip(gainList, c, c[1:])]
        final = float(np.median(estimates[max(n - 5, 0) :]))
        last = gainList[-1]
        predicted = (final * last + c[-2]) / (1 + last)
        step = (c[-2] - final) / (1 + last)
        delta = (predicted - c[-1]) / step if abs(step) > _FLAT * abs(c[-2]) else math.nan  # 0/0 where nothing moves
        gain = base if math.isnan(delta) else max(base, (1 - abs(delta) + last) / 2)
    gainList.append(gain)
    return gain


def significance(models, problem, compat=False):
    """S of the metric: |mean| + 3 noise, float32."""
    noise = regularize.noiseCutoff(models[min(1, len(models) - 1)], problem.excluded, problem.bufferSize)
    image = np.abs(regularize._mean(models)) + np.float32(3 * noise if math.isfinite(noise) else 0.0)
    return image if float(image.max(initial=0.0)) > 0 else np.ones_like(image)


def _start(problem, n):
    return [problem.template / np.float32(n) for _ in range(n)]


def _inverseCoverage(problem, config):
    """1 over the weighted coverage of each subfilter; 0 where some subfilter is seen by too few visits."""
    data = problem.data
    blank = [np.zeros(data.shape, np.float32)] * data.numSubfilters
    coverage, _ = data.run(blank, "coverage")
    counts = coverage
    if np.any(data.weights != 1):
        counts, _ = data.run(blank, "coverage", weights=np.ones(len(data.visits)))
    least = 1.0 if config.compat else config.minCoverage
    good = np.logical_and.reduce([c > least if config.compat else c >= least for c in counts])
    with np.errstate(divide="ignore"):
        inverse = [np.where(good & (c > 0), 1 / c, 0).astype(np.float32) for c in coverage]
    return coverage, inverse


def _toTemplate(models, problem, config):
    """Let the models go over to the template away from sources, in place."""
    if not config.useModelWeights:
        return
    weights = problem.taper
    share = problem.template * (1 - weights) / np.float32(len(models))
    for model in models:
        model *= weights
        model += share


def _prepare(problem, config):
    problem.taper = (
        regularize.modelWeights(problem.detected, config.modelWeightsWidth) if config.useModelWeights else None
    )


def _clamp(new, old, problem, config):
    """Regularisations of an update, in place."""
    compat, factor = config.compat, float(config.accelerateModel)
    amplification = 1.0 if compat else factor
    width = config.regularizationWidth
    for image, before in zip(new, old, strict=True):
        np.copyto(image, before, where=~np.isfinite(image))
        if config.regularizeModelIterations > 0:
            regularize.clampIteration(image, before, config.regularizeModelIterations, width, amplification)
    if config.regularizeModelFrequency > 0:
        noise = regularize.noiseCutoff(new[0], problem.excluded, 5)
        if compat:
            regularize.referenceClampColors(new, regularize._mean(old), noise, config.regularizeModelFrequency, width)
        else:
            regularize.clampColors(new, noise, config.regularizeModelFrequency, width, amplification)


def solvePublished(problem, config):
    """The iteration of DMTN-037 as the Rubin pipelines have it (section 7.3), with the repairs of section 10.5.

    Parameters
    ----------
    problem : `DcrProblem`
    config : `stillsky.dcr.config.DcrFields`
        With ``compat`` the regularisations are Rubin's.

    Returns
    -------
    solution : `DcrSolution`

    Notes
    -----
    All tiles advance together: the template that the metric is taken from is that of the next update, so that an
    iteration reads each visit once.
    """
    _prepare(problem, config)
    n, data = data_n(problem), problem.data
    minIter, maxIter = config.minNumIter or n, config.maxNumIter or 3 * n
    coverage, inverse = _inverseCoverage(problem, config)
    models = _start(problem, n)

    def evaluate(current):
        amplified = regularize.amplified(current, config.accelerateModel)
        return data.run(amplified, "residual", significance=significance(current, problem))

    sums, metric = evaluate(models)
    convergence, gains = [metric.value], []
    best = (metric.value, models, metric)
    check, iteration, done, stopped = 1.0, 0, 0, "converged"
    if not problem.detected.any() or not math.isfinite(metric.value):
        stopped = "no valid pixels"
    elif metric.value == 0 and config.useConvergence:  # nothing is left to explain, and updates would only add rounding
        _LOG.warning("DCR: the metric is %s: no valid data", metric.value)
        stopped = "no valid data"
    else:
        while check > config.convergenceThreshold or iteration <= minIter or not config.useConvergence:
            if config.useConvergence:
                gain = calculateGain(convergence, gains, config)
            else:
                gain = config.baseGain or 1.0 / (n - 1)
                gains.append(gain)
            models = _update(models, sums, inverse, gain, problem, config)
            done += 1
            sums, metric = evaluate(models)
            value = metric.value
            if config.useConvergence:
                if not value > 0:
                    _LOG.warning("DCR: the metric is %s: no valid data", value)
                    best, stopped = (value, models, metric), "no valid data"
                    break
                check = (convergence[-1] - value) / value
                convergence.append(value)
                if value < best[0] or config.compat or (check == 0 and value == best[0]):
                    best = (value, models, metric)
                if check < 0 and iteration > minIter:
                    _LOG.warning("DCR: diverged after %d iterations, the best one is kept", done)
                    stopped = "diverged"
                    break
                if iteration > maxIter:
                    _LOG.warning("DCR: not converged after %d iterations", done)
                    stopped = "iterations"
                    break
            else:
                convergence.append(value)
                best, stopped = (value, models, metric), "iterations"
                if done >= maxIter:
                    break
            iteration += 1
    _, models, metric = best
    models = regularize.amplified(models, config.accelerateModel)
    return DcrSolution(models, convergence, gains, metric, done, stopped, coverage)


def data_n(problem):
    """Number of subfilters; DomainError below 2."""
    n = problem.data.numSubfilters
    if n < 2:
        raise DomainError(f"dcrNumSubfilters: wanted at least 2, given {n}")
    return n


def _update(models, sums, inverse, gain, problem, config):
    """One iteration's new models."""
    new = [model + weight * residual for model, weight, residual in zip(models, inverse, sums, strict=True)]
    _clamp(new, models, problem, config)
    for image, old in zip(new, models, strict=True):
        image *= np.float32(gain)
        image += old
        image /= np.float32(1 + gain)
    _toTemplate(new, problem, config)
    return new


def solveConjugateGradients(problem, config):
    """Weighted least squares on all visits by conjugate gradients (Hestenes & Stiefel 1952, J. Res. NBS 49, 409).

    Minimises ``sum_i w_i |g_i (y_i - T_i m)|^2 + (nu/tau)^2 |z|^2 + smoothness * c * sum_k |m_(k+1) - m_k|^2`` over z, where
    the subfilters ``m = t/N + W z`` deviate from equal shares of the template t as the prior of `stillsky.dcr.prior` allows,
    T_i is the model of visit i, g_i its good pixels, w_i its weight, c the mean coverage. Without a prior ``W = 1`` and
    ``tau`` is infinite: the subfilters of faint sources then hold noise of the visits.

    Parameters
    ----------
    problem : `DcrProblem`
        The visits' ``backward`` shifts must equal their ``forward`` ones: the adjoint is then exact.
    config : `stillsky.dcr.config.DcrFields`

    Returns
    -------
    solution : `DcrSolution`

    Notes
    -----
    Each iteration reads each visit once for the metric; with order 1, where a tile has no bad pixel, the matrix is applied
    as small kernels that do not depend on the number of visits. The prior costs 10 ns a pixel and iteration, and its strength
    32 applications of the matrix.
    """
    _prepare(problem, config)
    n, data = data_n(problem), problem.data
    coverage, inverse = _inverseCoverage(problem, config)
    covered = inverse[0] > 0
    uncovered = None if covered.all() else ~covered
    del inverse
    prior = makePrior(problem, config, covered, coverage)
    smoothness = float(config.smoothness) * float(np.mean([np.mean(c) for c in coverage]))
    models = _start(problem, n)
    # of the template for all iterations: noise between the sources would move the weight to faint pixels as it is fitted
    scale = significance(models, problem)
    evaluate = lambda m: data.run(m, significance=scale, accumulate=False)[1]  # noqa: E731

    def masked(planes):
        if uncovered is not None:
            for plane in planes:
                plane[uncovered] = 0
        return planes

    def matrix(planes, out=None):
        out, _ = data.run(planes, "model", normal=True, out=out)
        if smoothness:
            _addSmoothness(out, planes, smoothness)
        return masked(out)

    residual, metric = data.run(models, "residual", significance=scale)
    residual = masked(residual)
    convergence = [metric.value]
    if not problem.detected.any() or not math.isfinite(metric.value):
        return DcrSolution(models, convergence, [], metric, 0, "no valid pixels", coverage)
    if config.priorStrength is None and prior.penalty:
        residual = prior.findStrength(residual, matrix)
    else:
        residual = prior.collect(residual)
    most = config.cgIterations or (_MOST_ITERATIONS if prior.penalty else _MOST_OF_LEAST_SQUARES)
    steps, stopped = _descend(
        models, residual, matrix, prior, most, config.cgTolerance,
        lambda: convergence.append(evaluate(models).value),
    )  # fmt: skip
    _toTemplate(models, problem, config)
    posterior = Posterior(matrix, prior) if prior.penalty else None
    return DcrSolution(
        models, convergence, steps, evaluate(models), len(steps), stopped, coverage, prior.strength, posterior
    )


class Posterior:
    """What the visits and the prior leave unknown of the subfilters.

    Parameters
    ----------
    matrix : callable
        ``A^T w A`` of planes.
    prior : `stillsky.dcr.prior.FluxPrior`

    Attributes
    ----------
    noise : `float`
        Of a visit of weight 1.
    """

    iterations, tolerance = 40, 1e-2  # the variance errs by the square

    def __init__(self, matrix, prior):
        self._matrix, self._prior, self.noise = matrix, prior, prior.noise

    def apply(self, planes):
        """Posterior covariance of the subfilters times planes, ``nu^2 W (H + (nu/tau)^2)^-1 W^T`` of them.

        Parameters
        ----------
        planes : `list` of `numpy.ndarray`
            One per subfilter, float32; they are spoilt.

        Returns
        -------
        planes : `list` of `numpy.ndarray`
        """
        out = [np.zeros_like(plane) for plane in planes]
        planes = self._prior.collect(planes)
        _descend(out, planes, self._matrix, self._prior, self.iterations, self.tolerance, lambda: None)
        for plane in out:
            plane *= np.float32(self.noise**2)
        return out

    def information(self, planes):
        """What the visits know of planes, ``A^T w A / nu^2`` of them."""
        out = self._matrix(planes)
        for plane in out:
            plane /= np.float32(self.noise**2)
        return out

    def deviation(self, functional):
        """What the prior expects of a functional of the relative deviations of the subfilters, rms."""
        return self._prior.strength * float(np.linalg.norm(self._prior.mixing @ functional))


def _descend(models, residual, matrix, prior, most, tolerance, step):
    """Conjugate gradients from models with a residual of the normal equations, both in place; step lengths, why it ended.

    Preconditioned by the prior's diagonal, so that faint sources need no more steps than bright ones.
    """
    mixing = [] if prior.mixing is None else prior.mixing.ravel().tolist()
    settings = (prior.diagonal, prior.penalty, mixing)
    direction, moves, product, back = ([np.empty_like(plane) for plane in residual] for _ in range(4))
    mixed = [np.empty_like(plane) for plane in residual] if mixing else []
    square = _core.descentDirection(direction, residual, settings, 0.0, mixed)
    norm = first = dot(residual, direction)
    lengths = []
    while len(lengths) < most and norm > tolerance**2 * first and norm > 0:
        planes = prior.move(mixed or direction, moves)
        seen = prior.back(matrix(planes, product), back)
        curvature = dot(mixed or direction, seen) + prior.penalty * square
        if not curvature > 0:
            return lengths, "converged"
        length = norm / curvature
        after = _core.descentStep(models, residual, planes, seen, direction, settings, length)
        square = _core.descentDirection(direction, residual, settings, after / norm, mixed)
        norm = after
        lengths.append(length)
        step()
    return lengths, "converged" if len(lengths) < most else "iterations"


def _addSmoothness(out, models, penalty):
    """Add the gradient of the penalty on differences between adjacent subfilters."""
    for k in range(len(models) - 1):
        step = np.float32(penalty) * (models[k + 1] - models[k])
        out[k] -= step
        out[k + 1] += step
