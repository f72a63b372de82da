"""Add point sources and galaxies to an array."""

import numpy as np
from scipy import fft

__all__ = ["addGalaxies", "addStars"]


def addStars(array, psf, x, y, flux, level):
    """Add point sources to ``array`` in place.

    Parameters
    ----------
    array : `numpy.ndarray` (height, width), floating
        Changed in place; sources may lie outside it.
    psf : `stillsky.sim.MoffatField`
        The PSF at each source.
    x, y, flux : `numpy.ndarray` (n,)
        Pixel positions (0-based, centre of the first pixel is 0) and fluxes in units of ``array``.
    level : `float`
        Each profile is drawn out to where it falls below this value (units of ``array``).

    Notes
    -----
    Cost: about 20 ns per drawn pixel.
    """
    height, width = array.shape
    for xi, yi, fi in zip(x, y, flux):
        if fi == 0.0:
            continue
        r = int(np.ceil(psf.radiusWhere(level / abs(fi), xi, yi)))
        cx, cy = round(float(xi)), round(float(yi))
        x0, x1 = max(cx - r, 0), min(cx + r + 1, width)
        y0, y1 = max(cy - r, 0), min(cy + r + 1, height)
        if x0 >= x1 or y0 >= y1:
            continue
        dx = np.arange(x0, x1) - xi
        dy = np.arange(y0, y1) - yi
        array[y0:y1, x0:x1] += fi * psf.profile(dx[None, :], dy[:, None], xi, yi)


def _galaxyTransform(kx, ky, radius, index, axisRatio, angle):
    """Fourier transform of a Spergel (2010, ApJS 191, 58, Eq. 2) profile of unit flux; index 0.5 is exponential."""
    c, s = np.cos(angle), np.sin(angle)
    major = (kx * c + ky * s) * radius / np.sqrt(axisRatio)
    minor = (ky * c - kx * s) * radius * np.sqrt(axisRatio)
    return (1.0 + major * major + minor * minor) ** (-1.0 - index)


def addGalaxies(array, psf, galaxies):
    """Add galaxies, convolved with the PSF at their centre, to ``array`` in place.

    Profile and shift are applied in Fourier space, so that the same galaxy on two grids has no sampling error.

    Parameters
    ----------
    array : `numpy.ndarray` (height, width), floating
        Changed in place.
    psf : `stillsky.sim.MoffatField`
        The PSF.
    galaxies : `dict` [`str`, `numpy.ndarray`]
        Columns x, y (pixels), flux (units of ``array``), radius (scale length, pixels), index, axisRatio, angle
        (radian).
    """
    height, width = array.shape
    columns = ("x", "y", "flux", "radius", "index", "axisRatio", "angle")
    for x, y, flux, radius, index, axisRatio, angle in zip(*(galaxies[c] for c in columns)):
        n = fft.next_fast_len(int(2 * (12.0 * radius / np.sqrt(axisRatio) + 4.0 * psf.fwhm)), real=True)
        half = n // 2
        cx, cy = round(float(x)), round(float(y))
        x0, x1 = max(cx - half, 0), min(cx - half + n, width)
        y0, y1 = max(cy - half, 0), min(cy - half + n, height)
        if x0 >= x1 or y0 >= y1:
            continue
        grid = np.arange(n) - half
        stamp = psf.profile(grid[None, :], grid[:, None], x, y)
        kx = 2.0 * np.pi * fft.rfftfreq(n)[None, :]
        ky = 2.0 * np.pi * fft.fftfreq(n)[:, None]
        transform = fft.rfft2(stamp) * _galaxyTransform(kx, ky, radius, index, axisRatio, angle)
        transform *= flux * np.exp(-1j * (kx * (x - cx) + ky * (y - cy)))
        stamp = fft.irfft2(transform, s=(n, n))
        array[y0:y1, x0:x1] += stamp[y0 - cy + half : y1 - cy + half, x0 - cx + half : x1 - cx + half]
