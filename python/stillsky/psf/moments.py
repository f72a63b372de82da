"""Second moments, aperture flux and fractional shifts of small noiseless images."""

import numpy as np
from scipy.fft import fft2, fftfreq, next_fast_len
from scipy.special import j1

from .._core import WarpingKernel
from ..errors import DomainError

__all__ = ["adaptiveImageMoments", "circularFlux", "shiftStamp"]

_LANCZOS5 = WarpingKernel("lanczos5")


def adaptiveImageMoments(array, xy0, center=(0.0, 0.0), *, maxIter=100, tolerance=1e-5):
    """Adaptive Gaussian-weighted moments, the weight matched to the object (Bernstein & Jarvis 2002, AJ 123, 583).

    Parameters
    ----------
    array : `numpy.ndarray`, (height, width)
        Image of one object, noiseless.
    xy0 : (`int`, `int`)
        Coordinates of the first pixel.
    center : (`float`, `float`)
        Where to start.
    maxIter : `int`
        Largest number of iterations.
    tolerance : `float`
        Stop when size (relative) and ellipticity change by less.

    Returns
    -------
    ixx, iyy, ixy, x, y : `float`
        Moments in square pixels, and the centroid. For a Gaussian the moments are its covariance.

    Raises
    ------
    stillsky.DomainError
        No convergence, or moments that are not positive.
    """
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
            raise DomainError("adaptive moments: the weighted flux is not positive")
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
        weight = _unweighted(moments, inverse)
        size = weight[0, 0] + weight[1, 1]
        ellipticity = np.array([weight[0, 0] - weight[1, 1], 2 * weight[0, 1]]) / size
        change = max(abs(size - trace) / size, np.abs(ellipticity - shape).max())
        trace, shape = size, ellipticity
        if change < tolerance and abs(stepX) + abs(stepY) < 1e-5:
            return weight[0, 0], weight[1, 1], weight[0, 1], cx, cy
    raise DomainError(f"adaptive moments: no convergence in {maxIter} iterations")


def _unweighted(moments, inverseWeight):
    """(M^-1 - W^-1)^-1: the covariance of the Gaussian whose weighted moments are M."""
    det = moments[0, 0] * moments[1, 1] - moments[0, 1] ** 2
    if not det > 0:
        raise DomainError("adaptive moments: the second moments are not positive")
    difference = np.linalg.inv(moments) - inverseWeight
    det = difference[0, 0] * difference[1, 1] - difference[0, 1] ** 2
    if not (det > 0 and difference[0, 0] > 0):
        raise DomainError("adaptive moments: the second moments are not positive")
    return np.linalg.inv(difference)


def circularFlux(array, xy0, radius, center=(0.0, 0.0)):
    """Flux of a sampled image inside a circle.

    The pixels are samples of a band-limited profile, and the integral of that over the circle is exact: the sum over
    frequencies of the image's transform times the circle's, R J1(2 pi R f) / f ("sinc aperture", Bickerton & Lupton
    2013, MNRAS 431, 1275).

    Parameters
    ----------
    array : `numpy.ndarray`, (height, width)
    xy0 : (`int`, `int`)
        Coordinates of the first pixel.
    radius : `float`
        Pixels.
    center : (`float`, `float`)
        Centre of the circle, same frame.

    Returns
    -------
    flux : `float`
    """
    if not radius > 0:
        return 0.0
    height, width = array.shape
    # Room on all sides for the circle, so that its periodic copies hold no light.
    room = int(np.ceil(2 * radius)) + 16
    shape = next_fast_len(height + room), next_fast_len(width + room)
    fy, fx = fftfreq(shape[0])[:, None], fftfreq(shape[1])[None, :]
    f = np.hypot(fx, fy)
    f[0, 0] = 1.0
    circle = radius * j1(2 * np.pi * radius * f) / f
    circle[0, 0] = np.pi * radius**2
    phase = np.exp(2j * np.pi * (fx * (center[0] - xy0[0]) + fy * (center[1] - xy0[1])))
    return float((fft2(array, shape) * circle * phase).real.sum() / (shape[0] * shape[1]))


def _shiftMatrix(n, shift):
    """(n, n) matrix that moves samples by `shift` pixels with the Lanczos-5 taps, normalised to sum 1."""
    # The source of destination pixel p is p - shift: anchor floor, fraction f; tap i lies on p + anchor - 4 + i.
    anchor = int(np.floor(-shift))
    taps = _LANCZOS5.weights(-shift - anchor)
    taps /= taps.sum()
    matrix = np.zeros((n, n))
    rows = np.arange(n)
    for i, tap in enumerate(taps):
        columns = rows + anchor - _LANCZOS5.center + i
        inside = (columns >= 0) & (columns < n)
        matrix[rows[inside], columns[inside]] += tap
    return matrix


def shiftStamp(array, dx, dy):
    """Move the content of a stamp by a fraction of a pixel, with light beyond its edge counted as zero.

    Parameters
    ----------
    array : `numpy.ndarray`, (height, width)
    dx, dy : `float`
        Shift in pixels, each within [-1, 1].

    Returns
    -------
    shifted : `numpy.ndarray`, (height, width)
        Lanczos-5 interpolation. Error for a Gaussian of sigma 2 at most 0.0022 of the peak, of sigma 0.8, 0.009;
        a PSF narrower than 0.7 pixel cannot be shifted with any accuracy.
    """
    height, width = array.shape
    if dx:
        array = array @ _shiftMatrix(width, dx).T
    if dy:
        array = _shiftMatrix(height, dy) @ array
    return array
