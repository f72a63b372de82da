"""Statistics the slow and obvious way: sorted lists and NumPy sums, one property after the other."""

import numpy as np

IQ_TO_STDEV = 0.741301109252802


def quantile(x, f):
    """Linear between the sorted neighbours of rank f (n - 1); integers spread ties over [k - 0.5, k + 0.5)."""
    ordered = np.sort(x)
    if not len(ordered):
        return np.nan
    if ordered.dtype.kind in "iu":
        k = ordered[int(np.floor(f * (len(x) - 1)))]
        below, equal = np.sum(ordered < k), np.sum(ordered == k)
        return float(k) - 0.5 + (f * len(x) - below) / equal
    return float(np.quantile(ordered.astype(np.float64), f))


def moments(x, w):
    """n, weighted mean and reliability-weight variance."""
    x, n, total = x.astype(np.float64), len(x), w.sum()
    if n == 0:
        return 0, np.nan, np.nan
    mean = np.sum(w * x) / total
    if n == 1 or total**2 - np.sum(w**2) <= 1e-14 * total**2:
        return n, mean, np.nan
    return n, mean, np.sum(w * (x - mean) ** 2) / total * total**2 / (total**2 - np.sum(w**2))


def statistics(x, mask=None, variance=None, weights=None, andMask=0, weighted=False, numSigma=3.0, numIter=3):
    """Every value as a dictionary."""
    x = np.ravel(x)
    usable = np.isfinite(x)
    if mask is not None:
        usable &= (np.ravel(mask) & andMask) == 0
    w = np.ones(len(x))
    if weights is not None:
        w = np.ravel(weights).astype(np.float64)
    elif weighted:
        v = np.ravel(variance).astype(np.float64)
        usable &= np.isfinite(v) & (v > 0)
        w = np.divide(1, v, out=np.zeros(len(v)), where=v > 0)
    good, w = x[usable], w[usable]
    n, mean, var = moments(good, w)
    quartiles = [quantile(good, f) for f in (0.25, 0.5, 0.75)]
    iqr = quartiles[2] - quartiles[0]
    kept = np.ones(n, bool)
    clipped = (n, mean, var)
    centre, half = quartiles[1], numSigma * IQ_TO_STDEV * iqr
    for k in range(numIter if n else 0):
        if k:
            centre, half = clipped[1], numSigma * np.sqrt(clipped[2])
        inside = np.abs(good.astype(np.float64) - centre) <= half
        if not inside.any():
            break
        kept, clipped = inside, moments(good[inside], w[inside])
        if clipped[0] <= 2:
            break
    out = dict(NPOINT=n, NMASKED=len(x) - n, NCLIPPED=n - clipped[0], MEAN=mean, VARIANCE=var, STDEV=np.sqrt(var))
    out.update(SUM=np.sum(w * good), MEDIAN=quartiles[1], IQRANGE=iqr)
    out.update(MEANCLIP=clipped[1], VARIANCECLIP=clipped[2], STDEVCLIP=np.sqrt(clipped[2]))
    out.update(MIN=good.min() if n else np.nan, MAX=good.max() if n else np.nan)
    out["MEANSQUARE"] = np.nan if n == 0 else mean**2 + (0 if n == 1 else (n - 1) / n * var)
    out["ORMASK"] = 0 if mask is None else int(np.bitwise_or.reduce(np.ravel(mask)[usable][kept], initial=0))
    return out
