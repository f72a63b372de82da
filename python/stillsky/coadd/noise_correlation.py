"""How correlated the noise of a resampled image is."""

import numpy as np
import scipy.fft
from scipy.ndimage import maximum_filter, uniform_filter

__all__ = ["noiseCorrelation"]

_LAG = 3  # pixels: beyond, the noise of images resampled once is independent
_SKY_LAGS = 6, 10  # pixels: what correlates at these lags is sky
_CELL = 64  # pixels: the sky is taken off as planes in cells of this size
_CLIP = 3.0
_ROUNDS = 3  # in crowded fields each uncovers fainter sources
_BOX = 5  # pixels: sources are sought in means over boxes
_SOURCE = 5.0  # sigma of these means


def noiseCorrelation(image, variance, bad=None):
    """Ratio of the noise in a large aperture to that of independent pixels.

    Parameters
    ----------
    image, variance : `numpy.ndarray`, (h, w)
    bad : `numpy.ndarray` of bool, (h, w), optional
        Pixels to leave out; so are those that are not finite, without positive variance, 3 sigma off or near sources.

    Returns
    -------
    factor : `float`
        Sum of the autocorrelation over lags up to 3 pixels: 1 for independent pixels, above 1 after resampling. By it the
        variance of a sum over many pixels exceeds the sum of their variances. NaN with fewer than 400 good pixels.

    Notes
    -----
    Planes in cells of 64 pixels are taken off as the sky. The covariance at lags of 6 to 10 pixels is what they left, and
    minus what they took: it is taken off that at smaller lags. Cost: four transforms.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z = image / np.sqrt(variance)
        good = np.isfinite(z) & (variance > 0)
    if bad is not None:
        good &= ~bad
    z = np.where(good, z, 0.0)
    for _ in range(_ROUNDS):
        if np.count_nonzero(good) < 400:
            return np.nan
        _takeOffSky(z, good)
        sigma = 0.7413 * np.subtract(*np.percentile(z[good], (75, 25)))
        if not sigma > 1e-3:
            return np.nan  # no noise, but that of rounding
        good &= (np.abs(z) <= _CLIP * sigma) & ~_nearSources(z, good)
        z[~good] = 0.0
    shape = [scipy.fft.next_fast_len(n + _SKY_LAGS[1], real=True) for n in z.shape]
    pairs = _autocorrelation(good.astype(np.float64), shape)
    products = _autocorrelation(z, shape)
    if not pairs.min() > 100:
        return np.nan
    covariance = products / pairs
    lags = np.maximum(*np.abs(np.mgrid[-_SKY_LAGS[1] : _SKY_LAGS[1] + 1, -_SKY_LAGS[1] : _SKY_LAGS[1] + 1]))
    covariance -= covariance[lags >= _SKY_LAGS[0]].mean()
    middle = covariance[_SKY_LAGS[1], _SKY_LAGS[1]]
    return float(covariance[lags <= _LAG].sum() / middle) if middle > 0 else np.nan


def _nearSources(z, good):
    """Pixels around what stands out of means over boxes: wings of stars are no noise, however faint."""
    mean = uniform_filter(z, _BOX, mode="constant")
    sigma = 0.7413 * np.subtract(*np.percentile(mean[good], (75, 25)))
    return maximum_filter(mean > _SOURCE * sigma, 2 * _BOX + 1)


def _takeOffSky(z, good):
    """Subtract from each cell the plane that fits its good pixels, in place; z is 0 where they are not good.

    Sums over rows and columns rather than a matrix of all pixels, whose products would wake the threads of a linear algebra
    library.
    """
    for y in range(0, z.shape[0], _CELL):
        for x in range(0, z.shape[1], _CELL):
            cut = slice(y, y + _CELL), slice(x, x + _CELL)
            used = good[cut].astype(np.float64)
            inRow, inColumn = used.sum(axis=1), used.sum(axis=0)
            count = inRow.sum()
            if not count:
                continue
            rows, columns = np.arange(len(inRow), dtype=np.float64), np.arange(len(inColumn), dtype=np.float64)
            rows -= (rows * inRow).sum() / count
            columns -= (columns * inColumn).sum() / count
            both = (rows * (used * columns).sum(axis=1)).sum()
            normal = [[count, 0, 0], [0, (rows**2 * inRow).sum(), both], [0, both, (columns**2 * inColumn).sum()]]
            ofRow, ofColumn = z[cut].sum(axis=1), z[cut].sum(axis=0)
            data = [ofRow.sum(), (rows * ofRow).sum(), (columns * ofColumn).sum()]
            level, alongRows, alongColumns = np.linalg.lstsq(np.array(normal), np.array(data), rcond=None)[0]
            z[cut] -= used * (level + (alongRows * rows)[:, None] + alongColumns * columns)


def _autocorrelation(values, shape):
    """Sums of products at lags from -10 to 10 in both axes, lag 0 in the middle (21, 21)."""
    power = np.abs(scipy.fft.rfft2(values, shape)) ** 2
    whole = scipy.fft.irfft2(power, shape)
    index = np.arange(-_SKY_LAGS[1], _SKY_LAGS[1] + 1)
    return whole[np.ix_(index, index)]
