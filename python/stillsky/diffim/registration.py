"""Shift between two images of one field, from the images themselves."""

import numpy as np
import scipy.fft

__all__ = ["measureShift"]

_SMOOTH, _DETREND = 3.0, 30.0  # pixels: scales between which the sky has its structure
_SIGNIFICANT = 6.0  # standard deviations of the correlation


def measureShift(science, template, scienceBad, templateBad):
    """Position of the template's pixels in the science image by cross-correlation.

    Both images are band-passed, so that neither single hot pixels nor gradients decide, and correlated by FFT; the
    maximum is refined by a parabola along each axis. A pattern that the detector leaves on both images, pixel by pixel,
    correlates at zero shift alone: that spike is taken out.

    Parameters
    ----------
    science, template : `numpy.ndarray`, (h, w)
        Pixels of equal shape.
    scienceBad, templateBad : `numpy.ndarray` of bool
        Pixels to leave out.

    Returns
    -------
    shift : (dx, dy) or None
        ``science(x, y)`` shows what ``template(x - dx, y - dy)`` shows; None when no maximum stands out.

    Notes
    -----
    Cost: five real FFTs; about 0.3 s for 1024 x 1024. Shifts up to half the image are found.
    """
    a, b = _clipped(science, scienceBad), _clipped(template, templateBad)
    if not (a.any() and b.any()):
        return None
    shape = tuple(scipy.fft.next_fast_len(2 * n, real=True) for n in a.shape)
    product = scipy.fft.rfft2(a, shape) * np.conj(scipy.fft.rfft2(b, shape))
    correlation = _bandPassedCorrelation(product, shape)
    iy, ix = np.unravel_index(np.argmax(correlation), shape)
    if correlation[iy, ix] < _SIGNIFICANT * 1.4826 * np.median(np.abs(correlation - np.median(correlation))):
        return None
    dx = ix + _vertex(correlation[iy, (ix - 1) % shape[1]], correlation[iy, ix], correlation[iy, (ix + 1) % shape[1]])
    dy = iy + _vertex(correlation[(iy - 1) % shape[0], ix], correlation[iy, ix], correlation[(iy + 1) % shape[0], ix])
    dx, dy = dx - shape[1] * (dx > shape[1] / 2), dy - shape[0] * (dy > shape[0] / 2)
    if abs(dx) > a.shape[1] / 2 or abs(dy) > a.shape[0] / 2:
        return None
    return float(dx), float(dy)


def _clipped(pixels, bad):
    """Deviations from the median, outliers clipped, nothing at bad pixels."""
    good = ~bad & np.isfinite(pixels)
    if not good.any():
        return np.zeros(pixels.shape, np.float32)
    middle = np.median(pixels[good])
    sigma = 1.4826 * np.median(np.abs(pixels[good] - middle))
    return np.where(good, np.clip(pixels - middle, -3 * sigma, 10 * sigma), 0).astype(np.float32)


def _bandPassedCorrelation(product, shape):
    """Cross-correlation of the structure between the two scales, from the transform of that of the pixels."""
    ky, kx = scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None, :]
    exponent = -2 * np.pi**2 * (kx**2 + ky**2)
    gain = (np.exp(exponent * _SMOOTH**2) - np.exp(exponent * _DETREND**2)).astype(np.float32) ** 2
    raw = scipy.fft.irfft2(product, shape)
    # what stands above all eight neighbours at zero shift is as narrow as a pixel: no part of the sky
    spike = raw[0, 0] - max(raw[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)
    return scipy.fft.irfft2((product - max(spike, 0.0)) * gain, shape)


def _vertex(left, middle, right):
    """Offset of the maximum of the parabola through three equidistant values."""
    curvature = left - 2 * middle + right
    return 0.5 * (left - right) / curvature if curvature < 0 else 0.0
