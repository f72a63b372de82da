"""The pedestal of flats that have neither overscan nor bias frames: their level at zero exposure time."""

import math
from typing import NamedTuple

import numpy as np

__all__ = ["Pedestal", "pedestalFromTimes", "subtractPedestal"]

_MIN_TIMES = 4
_MIN_SPAN = 3.0
_MAX_SCATTER = 0.01
_LINEAR = 0.6  # of the highest level: above it sensors bend


class Pedestal(NamedTuple):
    """Level at zero exposure time, and its standard error; adu."""

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
    predicted = mean
    for _ in range(2):
        (slope, value), covariance = np.polyfit(time, mean, 1, w=1.0 / predicted, cov="unscaled")
        predicted = np.maximum(slope * time + value, 0.01 * mean)
    scatter = math.sqrt(np.sum((mean / predicted - 1.0) ** 2) / max(time.size - 2, 1))
    if not slope > 0 or scatter > _MAX_SCATTER:
        return None
    return Pedestal(float(value), scatter * math.sqrt(covariance[1, 1]))


def subtractPedestal(partials, amp, value):
    """Take a pedestal (adu) from the levels of an amplifier, and from what the gains of single pairs assumed of them."""
    for partial in partials:
        mean = partial.rawMeans[amp]
        partial.gainList[amp] = partial.gainList[amp] * (mean - value) / mean
        partial.rawMeans[amp] = mean - value
