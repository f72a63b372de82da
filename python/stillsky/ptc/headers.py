"""What the headers and visit records of a pair of flats say."""

import logging
import math

import numpy as np

__all__ = ["ampHeaderFigures", "auxiliaryValues", "pairStartMjd"]

_log = logging.getLogger(__name__)
READ_NOISE = "LSST ISR OVERSCAN RESIDUAL SERIAL STDEV {}"
OVERSCAN_MEDIAN = "LSST ISR OVERSCAN SERIAL MEDIAN {}"
# not a card of the LSST pipelines, which model the overscan along the rows
ROW_VARIANCE = "STILLSKY OVERSCAN ROW VARIANCE {}"
AMP_OFFSET = "LSST ISR AMPOFFSET PEDESTAL {}"
_MEAN_OF_KNOWN = (READ_NOISE, OVERSCAN_MEDIAN, ROW_VARIANCE)
VISIT_VALUES = ("observationType", "observationReason", "scienceProgram")


def _number(metadata, key):
    try:
        return float(metadata[key])
    except (KeyError, TypeError, ValueError):
        return math.nan


def _meanOfKnown(values):
    known = [v for v in values if math.isfinite(v)]
    return math.fsum(known) / len(known) if known else math.nan


def ampHeaderFigures(metadata1, metadata2, ampNames, detector=None, log=_log):
    """Read noise, overscan level and amplifier offset, from the cards that instrument signature removal leaves.

    Parameters
    ----------
    metadata1, metadata2 : mapping
    ampNames : sequence of `str`
    detector : `stillsky.meta.Detector`, optional
        Its read noise and gain serve amplifiers without a card.
    log : `logging.Logger`
        One warning lists the amplifiers without a read noise.

    Returns
    -------
    figures : `dict` [`str`, `dict`]
        By amplifier: noise and overscanMedianLevel (adu, mean of the headers that have one), ampOffset (adu, mean of
        both headers); NaN where unknown. Also rowVariance, what subtracting row levels has added to the variance of each
        exposure (adu^2, mean of both); 0 where unknown.
    """
    figures, unknown = {}, []
    for amp in ampNames:
        pairs = {k: [_number(m, k.format(amp)) for m in (metadata1, metadata2)] for k in _MEAN_OF_KNOWN}
        noise = _meanOfKnown(pairs[READ_NOISE])
        if not math.isfinite(noise):
            noise = _noiseOf(detector, amp)
            if not math.isfinite(noise):
                unknown.append(amp)
        offsets = [_number(m, AMP_OFFSET.format(amp)) for m in (metadata1, metadata2)]
        figures[amp] = {
            "noise": noise,
            "overscanMedianLevel": _meanOfKnown(pairs[OVERSCAN_MEDIAN]),
            "ampOffset": 0.5 * (offsets[0] + offsets[1]),
            "rowVariance": max(np.nan_to_num(_meanOfKnown(pairs[ROW_VARIANCE])), 0.0),
        }
    if unknown:
        log.warning("No read noise (%s) for amplifiers %s.", READ_NOISE.format("<amp>"), ", ".join(unknown))
    return figures


def _noiseOf(detector, amp):
    """Read noise of a detector's description, adu."""
    try:
        record = detector[amp]
        return float(record.readNoise) / float(record.gain)
    except (TypeError, KeyError, AttributeError):
        return math.nan


def pairStartMjd(visit1, visit2, log=_log):
    """The smaller of the two dates (modified Julian date); the valid one, with a warning, when one is not; else NaN."""
    dates = []
    for visit in (visit1, visit2):
        date = getattr(visit, "date", None)
        dates.append(float(date.mjd) if date is not None else math.nan)
    valid = [d for d in dates if math.isfinite(d)]
    if len(valid) < 2:
        log.warning("%d of 2 exposures of a pair have no valid date.", 2 - len(valid))
    return min(valid, default=math.nan)


def auxiliaryValues(exposure, keys, log=_log):
    """Header values to keep with a pair.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        The first of the pair.
    keys : sequence of `str`
        A missing one is NaN, with a warning.

    Returns
    -------
    values : `dict`
        The header values, and observationType, observationReason and scienceProgram of the visit ("" when unknown).
    """
    values = {}
    for key in keys:
        value = exposure.metadata[key] if key in exposure.metadata else None
        if value is None or isinstance(value, list):
            log.warning("Header key %s: wanted one value, found %r.", key, value)
            value = math.nan
        values[key] = value
    for name in VISIT_VALUES:
        values[name] = getattr(exposure.visitInfo, name, "") or ""
    return values
