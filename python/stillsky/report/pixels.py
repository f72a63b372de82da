"""Numbers that pictures need: previews, robust scales, stretches."""

import numpy as np

__all__ = ["asinhStretch", "blockMean", "chiValues", "goodPixels", "robustScale"]

# Pixels of these planes are not judged and are drawn grey.
_BAD_PLANES = ("NO_DATA", "BAD", "SAT", "CR", "EDGE", "SUSPECT")
_ROWS = 32  # rows that are judged at once
_BLOCKS = 8  # rows of blocks of a preview that are summed at once


def goodPixels(exposure):
    """Pixels that are finite, have a positive finite variance, and carry none of the planes of bad pixels.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        Exposure.

    Returns
    -------
    good : `numpy.ndarray` (height, width) of `bool`
        True where a pixel may be judged.
    """
    bits = exposure.mask.bitmask(list(_BAD_PLANES), ignoreMissing=True)
    image, mask, variance = exposure.image.array, exposure.mask.array, exposure.variance.array
    good = np.empty(mask.shape, bool)
    for y in range(0, mask.shape[0], _ROWS):  # a few rows at a time stay in the cache
        rows = slice(y, y + _ROWS)
        np.equal(mask[rows] & bits, 0, out=good[rows])
        good[rows] &= np.isfinite(image[rows])
        with np.errstate(invalid="ignore"):
            good[rows] &= (variance[rows] > 0) & (variance[rows] < np.inf)
    return good


def blockMean(array, good=None, maxSide=1024):
    """Mean of square blocks of pixels, for a preview.

    Parameters
    ----------
    array : `numpy.ndarray` (height, width)
        Pixels; the last incomplete blocks are left out.
    good : `numpy.ndarray` (height, width) of `bool`, optional
        Pixels to use; a block without any is NaN. Default: the finite ones.
    maxSide : `int`
        Largest side of the result.

    Returns
    -------
    preview : `numpy.ndarray` of `float32`
        Means.
    factor : `int`
        Side of a block; 1 when the array is small enough.
    """
    good = np.isfinite(array) if good is None else good
    factor = max(1, -(-max(array.shape) // maxSide))
    if factor == 1:
        return np.where(good, array, np.float32(np.nan)).astype(np.float32, copy=False), 1
    height, width = (n // factor for n in array.shape)
    total, count = np.empty((height, width)), np.empty((height, width))
    for y in range(0, height, _BLOCKS):  # a few rows of blocks at a time stay in the cache
        out, rows = slice(y, min(y + _BLOCKS, height)), slice(y * factor, min(y + _BLOCKS, height) * factor)
        use = good[rows, : width * factor]
        total[out] = _blockSums(np.where(use, array[rows, : width * factor], np.float32(0)), factor, np.float64)
        count[out] = _blockSums(use, factor, np.int32)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / count).astype(np.float32), factor


def _blockSums(pixels, factor, dtype):
    rows = pixels[::factor].astype(dtype)
    for k in range(1, factor):
        rows += pixels[k::factor]
    sums = rows[:, ::factor].copy()
    for k in range(1, factor):
        sums += rows[:, k::factor]
    return sums


def robustScale(values):
    """Median and 1.4826 times the median absolute deviation of the finite values; (nan, nan) without any."""
    values = np.asarray(values).ravel()
    if values.size > 5_000_000:
        values = values[:: values.size // 5_000_000 * 2 + 1]  # odd: not one column of every few
    values = values[np.isfinite(values)]
    if values.size > 1_000_000:
        values = values[:: values.size // 1_000_000 + 1]
    if not values.size:
        return float("nan"), float("nan")
    median = float(np.median(values))
    return median, float(1.4826 * np.median(np.abs(values - median)))


def asinhStretch(values, sky, sigma, top=1000.0):
    """Values for a display between 0 and 1: linear around the sky, logarithmic for bright pixels.

    Zero is two sigma below the sky; one is where a pixel is ``top`` sigma above it (Lupton et al. 1999, AJ 118, 1406).
    """
    sigma = sigma if np.isfinite(sigma) and sigma > 0 else 1.0
    low, high = np.arcsinh(-2.0 / 3.0), np.arcsinh(top / 3.0)
    return (np.arcsinh((values - sky) / (3.0 * sigma)) - low) / (high - low)


def chiValues(exposure, good):
    """Pixels over the square root of their variance where ``good``, else NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        chi = np.sqrt(exposure.variance.array)
        np.divide(exposure.image.array, chi, out=chi)
    chi[~good] = np.nan
    return chi
