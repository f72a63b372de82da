"""Moments and fractional shifts of stamps, the obvious way."""

import numpy as np


def adaptiveMoments(array, xy0, center=(0.0, 0.0), maxIter=100, tolerance=1e-5):
    """(ixx, iyy, ixy, x, y) with a Gaussian weight matched to the object; ValueError where that fails."""
    height, width = array.shape
    y, x = np.mgrid[xy0[1] : xy0[1] + height, xy0[0] : xy0[0] + width].astype(float)
    cx, cy = center
    weight = np.eye(2) * 1.5**2
    trace, shape = 0.0, np.zeros(2)
    for _ in range(maxIter):
        inverse = np.linalg.inv(weight)
        dx, dy = x - cx, y - cy
        radius = inverse[0, 0] * dx * dx + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy * dy
        weighted = array * np.exp(-0.5 * radius)
        total = weighted.sum()
        if not (np.isfinite(total) and total > 0):
            raise ValueError("adaptive moments: the weighted flux is not positive")
        stepX, stepY = (weighted * dx).sum() / total, (weighted * dy).sum() / total
        # Twice: the weighted centroid of a Gaussian moves half the way to its centre.
        cx, cy = cx + 2 * stepX, cy + 2 * stepY
        moments = np.array(
            [
                [(weighted * dx * dx).sum() / total, (weighted * dx * dy).sum() / total],
                [0.0, (weighted * dy * dy).sum() / total],
            ]
        )
        moments[1, 0] = moments[0, 1]
        weight = unweighted(moments, inverse)
        size = weight[0, 0] + weight[1, 1]
        ellipticity = np.array([weight[0, 0] - weight[1, 1], 2 * weight[0, 1]]) / size
        change = max(abs(size - trace) / size, np.abs(ellipticity - shape).max())
        trace, shape = size, ellipticity
        if change < tolerance and abs(stepX) + abs(stepY) < 1e-5:
            return weight[0, 0], weight[1, 1], weight[0, 1], cx, cy
    raise ValueError(f"adaptive moments: no convergence in {maxIter} iterations")


def unweighted(moments, inverseWeight):
    """(M^-1 - W^-1)^-1: the covariance of the Gaussian whose weighted moments are M."""
    det = moments[0, 0] * moments[1, 1] - moments[0, 1] ** 2
    if not det > 0:
        raise ValueError("adaptive moments: the second moments are not positive")
    difference = np.linalg.inv(moments) - inverseWeight
    det = difference[0, 0] * difference[1, 1] - difference[0, 1] ** 2
    if not (det > 0 and difference[0, 0] > 0):
        raise ValueError("adaptive moments: the second moments are not positive")
    return np.linalg.inv(difference)


def lanczos5(fraction):
    """Taps of the pixels -4 .. 5 around a point that lies `fraction` beyond pixel 0."""
    t = np.arange(-4, 6) - fraction
    return np.where(np.abs(t) < 5, np.sinc(t) * np.sinc(t / 5), 0.0)


def shiftMatrix(n, shift):
    """(n, n) matrix that moves samples by `shift` pixels with the Lanczos-5 taps, normalised to sum 1."""
    # The source of destination pixel p is p - shift: anchor floor, fraction f; tap i lies on p + anchor - 4 + i.
    anchor = int(np.floor(-shift))
    taps = lanczos5(-shift - anchor)
    taps /= taps.sum()
    matrix = np.zeros((n, n))
    rows = np.arange(n)
    for i, tap in enumerate(taps):
        columns = rows + anchor - 4 + i
        inside = (columns >= 0) & (columns < n)
        matrix[rows[inside], columns[inside]] += tap
    return matrix


def shift(array, dx, dy):
    """A stamp moved by (dx, dy) pixels, zero beyond its edge."""
    height, width = array.shape
    return shiftMatrix(height, dy) @ array @ shiftMatrix(width, dx).T
