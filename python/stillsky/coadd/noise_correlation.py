"""How correlated the noise of a resampled image is."""

import numpy as np
import scipy.fft

__all__ = ["noiseCorrelation"]

_LAG = 3  # pixels: beyond, the noise of images resampled once is independent
_CELL = 64  # pixels: the sky is taken off as the mean of cells of this size
_CLIP = 3.0


def noiseCorrelation(image, variance, bad=None):
    """Ratio of the noise in a large aperture to that of independent pixels.

    Parameters
    ----------
    image, variance : `numpy.ndarray`, (h, w)
    bad : `numpy.ndarray` of bool, (h, w), optional
        Pixels to leave out; so are those that are not finite, without positive variance or 3 sigma off.

    Returns
    -------
    factor : `float`
        Sum of the autocorrelation over lags up to 3 pixels: 1 for independent pixels, above 1 after resampling. By it the
        variance of a sum over many pixels exceeds the sum of their variances. NaN with fewer than 400 good pixels.

    Notes
    -----
    Taking off the mean of cells of N pixels takes (2 L + 1)^2/N of the sum, which is put back. Cost: three transforms.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z = image / np.sqrt(variance)
        good = np.isfinite(z) & (variance > 0)
    if bad is not None:
        good &= ~bad
    if np.count_nonzero(good) < 400:
        return np.nan
    z = np.where(good, z, 0.0)
    for _ in range(2):
        nCell = _takeOffMeans(z, good)
        sigma = 0.7413 * np.subtract(*np.percentile(z[good], (75, 25)))
        good &= np.abs(z) <= _CLIP * sigma
        z[~good] = 0.0
    shape = [scipy.fft.next_fast_len(n + _LAG, real=True) for n in z.shape]
    pairs = _autocorrelation(good.astype(np.float64), shape)
    products = _autocorrelation(z, shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = np.where(pairs > 100, products / pairs, 0.0)
    if not covariance[0, 0] > 0:
        return np.nan
    factor = covariance.sum() / covariance[0, 0]
    return float(factor / (1 - (2 * _LAG + 1) ** 2 / nCell))


def _takeOffMeans(z, good):
    """Subtract the means of cells in place; the median number of their good pixels."""
    numbers = []
    for y in range(0, z.shape[0], _CELL):
        for x in range(0, z.shape[1], _CELL):
            cut = slice(y, y + _CELL), slice(x, x + _CELL)
            used = good[cut]
            n = np.count_nonzero(used)
            if n:
                z[cut] -= z[cut][used].mean() * used
                numbers.append(n)
    return max(np.median(numbers), 2.0 * (2 * _LAG + 1) ** 2)


def _autocorrelation(values, shape):
    """Sums of products at lags -3..3 in both axes, lag 0 first (7, 7)."""
    power = np.abs(scipy.fft.rfft2(values, shape)) ** 2
    whole = scipy.fft.irfft2(power, shape)
    index = np.r_[0 : _LAG + 1, -_LAG:0]
    return np.round(whole[np.ix_(index, index)], 9)
