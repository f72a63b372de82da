"""Covariances of masked images, clipped moments and half-covariance arrays, slow and obvious."""

import numpy as np


def lagSums(image, weight, dx, dy):
    """(count, sum of first, of second, of products) over all pairs of pixels a lag apart, one pair after the other.

    With integers (Python's, of any size) the result is exact.
    """
    height, width = len(image), len(image[0])
    count = first = second = product = 0
    for y in range(height):
        for x in range(width):
            if not (0 <= y + dy < height and 0 <= x + dx < width):
                continue
            if weight[y][x] and weight[y + dy][x + dx]:
                count += 1
                first += image[y][x]
                second += image[y + dy][x + dx]
                product += image[y][x] * image[y + dy][x + dx]
    return count, first, second, product


def covarianceAtLag(image, weight, dx, dy):
    """(covariance, number of pairs) at a signed lag, by slices."""
    if dx < 0:
        dx, dy = -dx, -dy
    image = np.where(weight, image, 0).astype(np.float64)
    image = np.where(weight, image - image.sum() / np.count_nonzero(weight), 0)
    weight = np.asarray(weight, np.float64)
    height, width = image.shape
    first = slice(max(0, -dy), height - max(0, dy)), slice(0, width - dx)
    second = slice(max(0, dy), height - max(0, -dy)), slice(dx, width)
    both = weight[first] * weight[second]
    n = both.sum()
    a, b = (image[first] * both).sum() / n, (image[second] * both).sum() / n
    return (image[first] * image[second] * both).sum() / n - a * b, int(n)


def covarianceArrays(image, weight, maxLag):
    """(covariances, pairs), arrays [dx, dy] for lags 0..maxLag, quadrants averaged equally."""
    cov, npix = np.zeros((maxLag + 1, maxLag + 1)), np.zeros((maxLag + 1, maxLag + 1), int)
    for dx in range(maxLag + 1):
        for dy in range(maxLag + 1):
            lags = [(dx, dy), (dx, -dy)] if dx and dy else [(dx, dy)]
            values = [covarianceAtLag(image, weight, *lag) for lag in lags]
            cov[dx, dy] = np.mean([c for c, _ in values])
            npix[dx, dy] = sum(n for _, n in values)
    return cov, npix


def clippedMoments(values, nSigma=5.5, nIter=3):
    """(mean, variance, median, count, kept) of a list: sigma clipping from the full list in every round."""
    values = np.asarray(values, np.float64).ravel()
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return np.nan, np.nan, np.nan, 0, 0
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    centre, half = median, nSigma * 0.741301109252802 * (q3 - q1)
    for _ in range(nIter):
        kept = values[np.abs(values - centre) <= half]
        centre = kept.mean()
        variance = kept.var(ddof=1) if len(kept) > 1 else np.nan
        if len(kept) > 1:
            half = nSigma * np.sqrt(variance)
    return centre, variance, median, len(values), len(kept)
