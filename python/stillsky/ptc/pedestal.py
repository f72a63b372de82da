"""The pedestal of flats that have neither overscan nor bias frames: their level at zero exposure time."""

import math
from typing import NamedTuple

import numpy as np

__all__ = ["Pedestal", "pedestalFromTimes", "pedestalFromVariances", "subtractPedestal"]

_MIN_TIMES = 4
_MIN_SPAN = 3.0
_MAX_SCATTER = 0.01
_LINEAR = 0.6  # of the highest level: above it sensors bend


class Pedestal(NamedTuple):
    """Level without light, and its standard error; adu."""

    value: float
    error: float


def pedestalFromTimes(partials, amp):
    """Extrapolate the levels of an amplifier to zero exposure time.

    The lamp is steady to a fraction of its light, so that the line is fitted with relative weights; two rounds, the second
    with the errors of the first.

    Parameters
    ----------
    partials : sequence of `PhotonTransferCurveDataset`
        Measured pairs.
    amp : `str`
        Amplifier.

    Returns
    -------
    pedestal : `Pedestal` or None
        None where it cannot be told: fewer than four exposure times or these within a factor of 3, levels that scatter
        about the line by more than 1 % (sky flats), or a line that does not rise.
    """
    time = np.array([float(p.rawExpTimes[amp][0]) for p in partials])
    mean = np.array([float(p.rawMeans[amp][0]) for p in partials])
    good = np.isfinite(time) & np.isfinite(mean) & (time > 0) & (mean > 0)
    time, mean = time[good], mean[good]
    if not time.size:
        return None
    linear = mean <= max(_LINEAR * mean.max(), np.sort(mean)[min(_MIN_TIMES, mean.size) - 1])
    time, mean = time[linear], mean[linear]
    if np.unique(np.round(time, 6)).size < _MIN_TIMES or time.max() < _MIN_SPAN * time.min():
        return None
    light = mean
    for _ in range(2):
        (slope, value), covariance = np.polyfit(time, mean, 1, w=1.0 / light, cov="unscaled")
        light = np.maximum(slope * time, 1e-3 * mean)
    scatter = math.sqrt(np.sum(((mean - slope * time - value) / light) ** 2) / max(time.size - 2, 1))
    if not slope > 0 or scatter > _MAX_SCATTER:
        return None
    return Pedestal(float(value), scatter * math.sqrt(covariance[1, 1]))


def pedestalFromVariances(partials, amp):
    """Level at which the variance of an amplifier would vanish: the pedestal less noise^2/gain, which is all that can be
    told when exposure times tell nothing.

    The variance is taken as a parabola of the mean (Poisson noise and the change of pixel areas, to first order), with
    relative weights.

    Parameters
    ----------
    partials, amp
        As for `pedestalFromTimes`.

    Returns
    -------
    pedestal : `Pedestal` or None
        None with fewer than four pairs, or when the variance at level zero is not significantly negative: without a
        pedestal it is that of the read noise.
    """
    mean, variance, weight = (
        np.array([float(np.ravel(getattr(p, name)[amp])[0]) for p in partials])
        for name in ("rawMeans", "rawVars", "covariancesSqrtWeights")
    )
    good = np.isfinite(mean) & np.isfinite(variance) & (variance > 0) & (weight > 0)
    mean, variance, weight = mean[good], variance[good], weight[good]
    if mean.size < _MIN_TIMES or np.ptp(mean) <= 0:
        return None
    unit = mean.max()
    for _ in range(2):
        (bend, slope, value), covariance = np.polyfit(mean / unit, variance, 2, w=weight, cov="unscaled")
        # the weights belong to the measured variances: those of the fit are free of their scatter
        weight = weight * variance / np.maximum(np.polyval((bend, slope, value), mean / unit), 0.1 * variance)
    error = math.sqrt(covariance[2, 2])
    if not (slope > 0 and value < -3.0 * error):
        return None
    roots = np.roots((bend, slope, value))
    roots = roots[np.isreal(roots)].real
    roots = roots[(roots > 0) & (roots * unit < mean.min())]
    if not roots.size:
        return None
    powers = np.array([roots.min() ** 2, roots.min(), 1.0])
    error = math.sqrt(powers @ covariance @ powers) / (2 * bend * roots.min() + slope)
    return Pedestal(float(roots.min() * unit), float(error * unit))


def subtractPedestal(partials, amp, value):
    """Take a pedestal (adu) from the levels of an amplifier, and from what the gains of single pairs assumed of them."""
    for partial in partials:
        mean = partial.rawMeans[amp]
        partial.gainList[amp] = partial.gainList[amp] * (mean - value) / mean
        partial.rawMeans[amp] = mean - value
