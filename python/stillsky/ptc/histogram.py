"""Is the difference of two flats Gaussian? A fit to its histogram and a Kolmogorov-Smirnov test."""

import math

import numpy as np

__all__ = ["gaussianHistogram"]


def gaussianHistogram(values, halfRange, nBins=100, minDataValues=100):
    """Fit a Gaussian to the histogram of a difference and test the unbinned values against it.

    Parameters
    ----------
    values : array_like
        Pixels of the difference, adu, in any shape; those that are not finite are left out.
    halfRange : `float`
        The bins cover -halfRange to halfRange, adu. Values outside count in the test only.
    nBins : `int`
    minDataValues : `int`
        Fewer values than this are not tested.

    Returns
    -------
    varFit : `float`
        Square of the fitted width: the variance of the difference, about twice that of one flat. adu^2.
    chi2Dof : `float`
        Sum of squared residuals in units of the root of the counts (1 for empty bins) over nBins - 3.
    kspValue : `float`
        Two-sided p-value, 0 below 1e-15. Not the nominal one: three parameters come from the same data.

    Notes
    -----
    Without enough values, or when the fit fails: NaN, NaN, 0. O(n log n).
    """
    from scipy.optimize import curve_fit

    values = np.asarray(values, np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size < max(minDataValues, 1) or not (math.isfinite(halfRange) and halfRange > 0):
        return math.nan, math.nan, 0.0
    counts, edges = np.histogram(values, nBins, (-halfRange, halfRange))
    centers = 0.5 * (edges[1:] + edges[:-1])
    error = np.sqrt(np.maximum(counts, 1.0))
    values.sort()
    start = (counts.max(), values[values.size // 2], _widthOfQuartiles(values) or halfRange / 8)
    if start[0] == 0 or nBins <= 3:
        return math.nan, math.nan, 0.0
    try:
        (height, center, sigma), _ = curve_fit(_gaussian, centers, counts, start, error, absolute_sigma=True)
    except RuntimeError:  # no convergence
        return math.nan, math.nan, 0.0
    residual = (counts - _gaussian(centers, height, center, sigma)) / error
    chi2Dof = float(residual @ residual) / (nBins - 3)
    return float(sigma) ** 2, chi2Dof, _ksProbability(values, center, abs(sigma))


def _gaussian(x, height, center, sigma):
    return height * np.exp(-0.5 * ((x - center) / sigma) ** 2)


def _widthOfQuartiles(ordered):
    return 0.741301109252802 * (ordered[(3 * ordered.size) // 4] - ordered[ordered.size // 4])


def _ksProbability(ordered, center, sigma):
    """p-value of the one-sample two-sided test with the exact distribution of the statistic."""
    from scipy.special import ndtr
    from scipy.stats import kstwo

    n = ordered.size
    cdf = ndtr((ordered - center) / sigma)
    rank = np.arange(n, dtype=np.float64)
    distance = max(float(np.max((rank + 1) / n - cdf)), float(np.max(cdf - rank / n)))
    p = float(kstwo.sf(distance, n))
    return p if p >= 1e-15 else 0.0
