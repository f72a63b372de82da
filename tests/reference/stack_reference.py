"""Stacks the slow and obvious way: NumPy over one pixel's samples at a time."""

import numpy as np

from reference.statistics_reference import statistics

CLIPPING = ("MEANCLIP", "STDEVCLIP", "VARIANCECLIP")


def stackPixel(x, m, v, name, *, weights=None, weighted=False, andMask=0, numSigma=3.0, numIter=3, noGood=256,
               thresholds=(), clipped=0, maskMap=(), errors="scatter"):  # fmt: skip
    """(value, squared error, mask, number kept) of the samples x with masks m and variances v of one pixel.

    weights None and weighted: 1/variance; weights and weighted: their quotient. errors: "scatter", "input", "mosaic".
    Squared errors of MEAN, MEANCLIP, MEDIAN, VARIANCE and SUM only; NaN otherwise.
    """
    x, v = x.astype(np.float64), v.astype(np.float64)
    usable = np.isfinite(x) & ((m & andMask) == 0)
    w = np.ones(len(x)) if weights is None else np.array(weights, np.float64)
    if weighted:
        good = np.isfinite(v) & (v > 0)
        usable &= good
        w = np.divide(w, v, out=np.zeros(len(x)), where=good)
    s = statistics(np.where(usable, x, np.nan), weights=w, numSigma=numSigma, numIter=numIter)
    kept = usable.copy()
    if name in CLIPPING:
        kept = keptByClipping(x, w, usable, s, numSigma, numIter)
    nUsable, nKept = int(usable.sum()), int(kept.sum())
    mask = int(np.bitwise_or.reduce(m[kept])) if nUsable else noGood
    if nUsable:
        for bit, threshold in dict(thresholds).items():
            rejected = w[~usable & (m & (1 << bit) != 0)].sum()
            if rejected / (w[usable].sum() + rejected) > threshold:
                mask |= 1 << bit
    if nKept < nUsable:
        mask |= clipped
    if nUsable < len(x):
        for inBits, outBits in maskMap:
            if np.any(m & inBits):
                mask |= outBits
    return s[name], squaredError(name, s, w[kept], v[kept], nUsable, nKept, errors), mask, nKept


def keptByClipping(x, w, usable, s, numSigma, numIter):
    """Which samples the last round kept."""
    from reference.statistics_reference import IQ_TO_STDEV

    kept, centre, half = usable.copy(), s["MEDIAN"], numSigma * IQ_TO_STDEV * s["IQRANGE"]
    for _ in range(numIter if usable.any() else 0):
        inside = usable & (np.abs(np.where(usable, x, np.inf) - centre) <= half)
        if not inside.any():
            return kept
        kept = inside
        if kept.sum() <= 2:
            return kept
        total = w[kept].sum()
        centre = np.sum(w[kept] * x[kept]) / total
        var = np.sum(w[kept] * (x[kept] - centre) ** 2) / total * total**2 / (total**2 - np.sum(w[kept] ** 2))
        half = numSigma * np.sqrt(var)
    return kept


def squaredError(name, s, w, v, nUsable, nKept, errors):
    if name == "SUM":
        return 0.0
    if nUsable == 0:
        return np.nan
    if name in ("MEAN", "MEANCLIP"):
        variance = s["VARIANCE"] if name == "MEAN" else s["VARIANCECLIP"]
        scatter = variance * np.sum(w**2) / w.sum() ** 2
        return {"scatter": scatter, "input": np.sum(w**2 * v) / w.sum() ** 2, "mosaic": np.sum(w * v) / w.sum()}[errors]
    if name == "MEDIAN":
        scatter = np.pi / 2 * s["VARIANCE"] / nUsable
        return {"scatter": scatter, "input": np.pi / 2 * v.sum() / nUsable**2, "mosaic": np.pi / 2 * v.sum() / nUsable}[
            errors
        ]
    if name == "VARIANCE":
        return 2 * (nUsable - 1) * s["VARIANCE"] ** 2 / nUsable**2
    return np.nan


def stack(images, masks, variances, name, **options):
    """(value, squared error, mask, kept) arrays of 3-d inputs (n, h, w)."""
    shape = images.shape[1:]
    out = [np.empty(shape), np.empty(shape), np.empty(shape, np.int32), np.empty(shape, np.uint16)]
    for pixel in np.ndindex(shape):
        at = (slice(None), *pixel)
        for plane, value in zip(out, stackPixel(images[at], masks[at], variances[at], name, **options)):
            plane[pixel] = value
    out[1][out[1] < 0] = np.nan  # the square of no error
    return out
