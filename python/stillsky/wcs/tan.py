"""Tangent-plane WCS from numbers."""

import numpy as np
from astropy.wcs import WCS

from .sky_wcs import SkyWcs

__all__ = ["makeCdMatrix", "makeTanWcs"]


def makeCdMatrix(scale, orientation=0.0, flipX=False):
    """CD matrix in degrees per pixel.

    Parameters
    ----------
    scale : `float`
        Degrees per pixel.
    orientation : `float`
        Rotation, radians.
    flipX : `bool`
        East to the right; default: north up, east left.
    """
    m = 1.0 if flipX else -1.0
    c, s = np.cos(orientation), np.sin(orientation)
    return scale * np.array([[m * c, s], [-m * s, c]])


def makeTanWcs(crpix, crval, cdMatrix):
    """TAN WCS in ICRS.

    Parameters
    ----------
    crpix : (x, y)
        Reference pixel, 0-based parent coordinates.
    crval : (ra, dec)
        Its sky position, radians.
    cdMatrix : array_like, (2, 2)
        Degrees per pixel.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crpix = np.array(tuple(crpix), float) + 1
    wcs.wcs.crval = np.degrees(tuple(crval))
    wcs.wcs.cd = np.array(cdMatrix, float)
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return SkyWcs(wcs)
