"""Clipped weighted mean of a stack of images, after coadd-and-dcr 2.4, slowly and plainly with NumPy."""

import numpy as np


def clippedTemplate(images, variances, weights, numSigma=2.5, numIter=3):
    """(mean, variance of the mean from the input variances, samples kept) of images (n, h, w); NaN is left out."""
    x = np.asarray(images, float)
    w = np.broadcast_to(np.asarray(weights, float)[:, None, None], x.shape)
    usable = np.isfinite(x)
    n = usable.sum(axis=0)
    with np.errstate(all="ignore"):
        q1, centre, q3 = (_quantile(np.sort(x, axis=0), n, f) for f in (0.25, 0.5, 0.75))
        half = numSigma * 0.741301109252802 * (q3 - q1)
        keep = usable
        for _ in range(numIter):
            keep = usable & (np.abs(x - centre) <= half)
            s0, s00 = (w * keep).sum(axis=0), (w**2 * keep).sum(axis=0)
            mean = np.where(keep, w * x, 0).sum(axis=0) / s0
            spread = np.where(keep, w * (x - mean) ** 2, 0).sum(axis=0) / s0 * s0**2 / (s0**2 - s00)
            stop = keep.sum(axis=0) <= 2  # too few for a scatter: the last valid result stays
            centre, half = np.where(stop, centre, mean), np.where(stop, half, numSigma * np.sqrt(np.maximum(spread, 0)))
        s0 = (w * keep).sum(axis=0)
        mean = np.where(keep, w * x, 0).sum(axis=0) / s0
        variance = np.where(keep, np.asarray(variances, float) * w**2, 0).sum(axis=0) / s0**2
    return mean.astype(np.float32), variance.astype(np.float32), keep.sum(axis=0)


def _quantile(ordered, n, fraction):
    """Linear rule over the first n of the sorted samples (NaN is sorted last)."""
    h = fraction * np.maximum(n - 1, 0)
    low = np.floor(h).astype(int)
    high = np.minimum(low + 1, np.maximum(n - 1, 0))
    a, b = (np.take_along_axis(ordered, k[None], axis=0)[0] for k in (low, high))
    return (1 - (h - low)) * a + (h - low) * b
