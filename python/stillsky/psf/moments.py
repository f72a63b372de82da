"""Second moments, aperture flux and fractional shifts of small noiseless images."""

import functools

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
    # Coordinates count from the middle pixel: squares of large ones would cost digits.
    middleX, middleY = xy0[0] + array.shape[1] // 2, xy0[1] + array.shape[0] // 2
    terms, values = _secondOrderTerms(*array.shape), np.ascontiguousarray(array, dtype=float).ravel()
    cx, cy = center[0] - middleX, center[1] - middleY
    wxx, wyy, wxy = 1.5**2, 1.5**2, 0.0
    size, e1, e2 = 0.0, 0.0, 0.0
    for _ in range(maxIter):
        ixx, iyy, ixy = _inverse(wxx, wyy, wxy)
        # The exponent about the centre, as a combination of the six terms about the origin.
        exponent = (
            ixx * cx**2 + 2 * ixy * cx * cy + iyy * cy**2,
            -2 * (ixx * cx + ixy * cy), -2 * (ixy * cx + iyy * cy), ixx, 2 * ixy, iyy,
        )  # fmt: skip
        sums = terms @ (values * np.exp((-0.5 * np.array(exponent)) @ terms))
        total = sums[0]
        if not (np.isfinite(total) and total > 0):
            raise DomainError("adaptive moments: the weighted flux is not positive")
        mx, my, mxx, mxy, myy = (sums[1:] / total).tolist()
        stepX, stepY = mx - cx, my - cy
        wxx, wyy, wxy = _unweighted(
            (mxx - 2 * cx * mx + cx**2, myy - 2 * cy * my + cy**2, mxy - cx * my - cy * mx + cx * cy), (ixx, iyy, ixy)
        )
        # Twice: the weighted centroid of a Gaussian moves half the way to its centre.
        cx, cy = cx + 2 * stepX, cy + 2 * stepY
        old = size, e1, e2
        size = wxx + wyy
        e1, e2 = (wxx - wyy) / size, 2 * wxy / size
        change = max(abs(size - old[0]) / size, abs(e1 - old[1]), abs(e2 - old[2]))
        if change < tolerance and abs(stepX) + abs(stepY) < 1e-5:
            return wxx, wyy, wxy, cx + middleX, cy + middleY
    raise DomainError(f"adaptive moments: no convergence in {maxIter} iterations")


@functools.lru_cache(maxsize=16)
def _secondOrderTerms(height, width):
    """1, x, y, x^2, xy, y^2 of all pixels, (6, n), from the middle one."""
    y, x = (
        v.ravel().astype(float)
        for v in np.mgrid[-(height // 2) : height - height // 2, -(width // 2) : width - width // 2]
    )
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])
    terms.setflags(write=False)
    return terms


def _inverse(xx, yy, xy):
    """(xx, yy, xy) of the inverse of a symmetric 2x2 matrix."""
    det = xx * yy - xy * xy
    return yy / det, xx / det, -xy / det


def _unweighted(moments, inverseWeight):
    """(M^-1 - W^-1)^-1: the covariance of the Gaussian whose weighted moments are M; all as (xx, yy, xy)."""
    xx, yy, xy = moments
    if not (xx > 0 and xx * yy - xy * xy > 0):
        raise DomainError("adaptive moments: the second moments are not positive")
    xx, yy, xy = (m - w for m, w in zip(_inverse(xx, yy, xy), inverseWeight, strict=True))
    if not (xx > 0 and xx * yy - xy * xy > 0):
        raise DomainError("adaptive moments: the second moments are not positive")
    return _inverse(xx, yy, xy)


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
