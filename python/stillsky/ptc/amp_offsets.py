"""Gains adjusted so that the offsets between amplifiers of the same flat vanish."""

import logging

import numpy as np

__all__ = ["adjustGainsByAmpOffsets"]

_log = logging.getLogger(__name__)


def adjustGainsByAmpOffsets(dataset, minAdu, maxAdu, *, log=None):
    """Adjust the ratios of the gains of a dataset, in place, keeping their median correction at 1.

    Parameters
    ----------
    dataset : `PhotonTransferCurveDataset`
        Fitted. ``gain`` changes, ``gainUnadjusted`` keeps the fitted one.
    minAdu, maxAdu : `float`
        Range of means, adu, of the reference amplifier whose pairs count.
    log : `logging.Logger`, optional

    Returns
    -------
    corrections : `dict` [`str`, `float`]
        Factor applied, by amplifier; without those left as they are.

    Notes
    -----
    A flat gives amplifier k a mean N/g_k. With the offset d of an amplifier to the reference at mean M, M + d = N/g_k, so
    g_k/g_ref = 1/(d/M + 1); the median over pairs is taken. The reference is the amplifier of median gain. An amplifier with
    fewer than 3 offsets, or without a gain, is left alone.
    """
    log = _log if log is None else log
    gains = {amp: dataset.gain[amp] for amp in dataset.getGoodAmps() if np.isfinite(dataset.gain[amp])}
    if len(gains) < 2:
        log.warning("Cannot apply the gain ratio adjustment: fewer than 2 amplifiers have a gain")
        return {}
    reference = sorted(gains, key=gains.get)[len(gains) // 2]
    means, offsets = dataset.rawMeans[reference], dataset.ampOffsets
    with np.errstate(invalid="ignore"):
        inRange = dataset.expIdMask[reference] & (means >= minAdu) & (means <= maxAdu)
    corrections = {}
    for amp, gain in gains.items():
        delta = offsets[amp] - offsets[reference]
        used = inRange & dataset.expIdMask[amp] & np.isfinite(delta)
        if used.sum() < 3:
            log.warning("Not enough good amp offset measurements of amplifier %s for a gain ratio", amp)
            continue
        ratio = float(np.median(1.0 / (delta[used] / means[used] + 1.0)))
        corrections[amp] = ratio / (gain / gains[reference])
    if len(corrections) < 2:
        log.warning("Cannot apply the gain ratio adjustment: fewer than 2 amplifiers have offsets")
        return {}
    middle = float(np.median(list(corrections.values())))
    corrections = {amp: value / middle for amp, value in corrections.items()}
    for amp, value in corrections.items():
        dataset.gain[amp] *= value
    return corrections
