"""Charge of a flat from the readings of a photodiode."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.integrate import trapezoid

from ..errors import DomainError, ShapeError

__all__ = ["PhotodiodeReadings", "integratePhotodiode", "photodiodeReadings"]

_METHODS = ("DIRECT_SUM", "TRIMMED_SUM", "CHARGE_SUM", "MEAN")


@dataclass
class PhotodiodeReadings:
    """Samples of one exposure.

    Attributes
    ----------
    timeSamples : `numpy.ndarray`
        Seconds, ascending.
    currentSamples : `numpy.ndarray`
        Amperes; for CHARGE_SUM the charge since the sample before.
    """

    timeSamples: np.ndarray
    currentSamples: np.ndarray

    def __post_init__(self):
        self.timeSamples, self.currentSamples = (
            np.asarray(v, np.float64).ravel() for v in (self.timeSamples, self.currentSamples)
        )
        if self.timeSamples.shape != self.currentSamples.shape:
            raise ShapeError(
                f"photodiode: wanted as many times as readings, given {self.timeSamples.size} and {self.currentSamples.size}"
            )

    def charge(self, method="TRIMMED_SUM", currentScale=-1.0, exposureTime=None):
        """See `integratePhotodiode`."""
        return integratePhotodiode(self.timeSamples, self.currentSamples, method, currentScale, exposureTime)


def photodiodeReadings(record):
    """Readings from whatever holds them.

    Parameters
    ----------
    record : `PhotodiodeReadings`, object with ``timeSamples`` and ``currentSamples``, table, or pair of arrays
        A table has the columns TIME and CURRENT, or time and current, or else its first two columns count.

    Returns
    -------
    readings : `PhotodiodeReadings`
    """
    if hasattr(record, "timeSamples"):
        return PhotodiodeReadings(record.timeSamples, record.currentSamples)
    names = getattr(record, "colnames", None)
    if names:
        byName = {n.lower(): n for n in names}
        chosen = ("time", "current") if {"time", "current"} <= byName.keys() else tuple(byName)[:2]
        return PhotodiodeReadings(*(record[byName[n]] for n in chosen))
    times, currents = record
    return PhotodiodeReadings(times, currents)


def integratePhotodiode(times, currents, method="TRIMMED_SUM", currentScale=-1.0, exposureTime=None):
    """One charge from the readings of an exposure.

    Parameters
    ----------
    times, currents : array_like, (n,)
        Seconds and amperes (coulombs per interval for CHARGE_SUM).
    method : {"DIRECT_SUM", "TRIMMED_SUM", "CHARGE_SUM", "MEAN"}
        DIRECT_SUM: trapezium rule, scale ignored. TRIMMED_SUM: the same above a baseline, the 3-sigma clipped mean of
        the samples in the lowest fifth of the range. CHARGE_SUM: sum of the readings less the background current, which
        is that of the samples outside the pulse (currents in the lowest twentieth of the range, two samples around the
        pulse excepted). MEAN: mean current times exposure time.
    currentScale : `float`
        Factor of the readings; -1 for electrometers that count electrons leaving.
    exposureTime : `float`, optional
        Seconds, for MEAN.

    Returns
    -------
    charge : `float`
        Coulombs if the readings are in amperes; NaN with fewer than two samples.

    Raises
    ------
    DomainError
        Unknown method; MEAN without an exposure time.
    """
    if method not in _METHODS:
        raise DomainError(f"photodiode integration: wanted one of {', '.join(_METHODS)}, given {method!r}")
    if method == "MEAN" and exposureTime is None:
        raise DomainError("photodiode integration MEAN: wanted an exposure time in seconds, given none")
    readings = PhotodiodeReadings(times, currents)
    times, currents = readings.timeSamples, readings.currentSamples
    if times.size < 2:
        return math.nan
    if method == "DIRECT_SUM":
        return float(trapezoid(currents, times))
    if method == "TRIMMED_SUM":
        return _trimmedSum(times, currentScale * currents)
    if method == "CHARGE_SUM":
        return _chargeSum(times, currentScale * currents)
    return float(currentScale * currents.mean() * exposureTime)


def _trimmedSum(times, currents):
    low, high = currents.min(), currents.max()
    baseline = currents[currents < low + (high - low) / 5.0]
    if baseline.size == 0:  # constant readings: nothing but baseline
        return 0.0
    return float(trapezoid(currents - _clippedMean(baseline), times))


def _clippedMean(values, nSigma=3.0, nIter=3):
    """As the clipped means of pixels: median and quartiles first, then mean and standard deviation."""
    q25, center, q75 = np.percentile(values, (25, 50, 75))
    half = nSigma * 0.741301109252802 * (q75 - q25)
    for _ in range(nIter):
        kept = values[np.abs(values - center) <= half]
        center = kept.mean()
        half = nSigma * kept.std(ddof=1) if kept.size > 1 else 0.0
    return center


def _chargeSum(times, charges):
    intervals, charges = np.diff(times), charges[1:]
    currents = charges / intervals
    low, high = currents.min(), currents.max()
    signal = currents > low + (high - low) / 20.0
    for _ in range(2):  # the shutter's rise and fall count as signal too
        wider = signal.copy()
        wider[1:] |= signal[:-1]
        wider[:-1] |= signal[1:]
        signal = wider
    rest = ~signal
    background = charges[rest].sum() / intervals[rest].sum() if rest.any() else 0.0
    return float(np.sum((charges - background * intervals)[signal]))
