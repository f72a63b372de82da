"""Whether two exposures lie on one pixel grid, and bringing one onto the grid of the other."""

import numpy as np

from ..errors import InvalidPsfError, MismatchError, NoDataError
from ..warp import Warper, computeDestBBox
from ..wcs import pairTransform

__all__ = ["isRegistered", "registerTemplate", "skySeparation"]

#: Largest distance, in pixels, between the sky positions of the same pixel on registered exposures.
REGISTRATION_TOLERANCE = 1e-3


def skySeparation(ra1, dec1, ra2, dec2):
    """Great-circle distance in radians (haversine formula); right ascensions may differ by whole turns."""
    sinDec, sinRa = np.sin(0.5 * (dec2 - dec1)), np.sin(0.5 * (ra2 - ra1))
    root = np.sqrt(sinDec**2 + np.cos(dec1) * np.cos(dec2) * sinRa**2)
    return 2.0 * np.arcsin(np.minimum(root, 1.0))


def isRegistered(template, science, tolerance=REGISTRATION_TOLERANCE):
    """Whether two exposures have equal dimensions and the same sky positions at the first and last pixel.

    Parameters
    ----------
    template, science : `stillsky.image.Exposure`
        Without any WCS, equal boxes count as registered.
    tolerance : `float`
        Pixels.

    Raises
    ------
    MismatchError
        One exposure alone has a WCS.
    """
    if (template.wcs is None) != (science.wcs is None):
        which = "template" if template.wcs is None else "science image"
        raise MismatchError(f"registration: wanted two WCS or none, the {which} has none")
    if tuple(template.dimensions) != tuple(science.dimensions):
        return False
    if template.wcs is None:
        return template.bbox == science.bbox
    sky = [_cornersOnSky(exposure) for exposure in (template, science)]
    limit = tolerance * float(science.wcs.pixelScale())
    return bool(np.all(skySeparation(*sky[0], *sky[1]) <= limit))


def _cornersOnSky(exposure):
    box = exposure.bbox
    return exposure.wcs.pixelToSky([box.minX, box.maxX], [box.minY, box.maxY])


def registerTemplate(template, science, warpingConfig, doWarping=True):
    """The template on the pixel grid of the science image.

    Parameters
    ----------
    template, science : `stillsky.image.Exposure`
    warpingConfig : `stillsky.warp.config.WarperConfig`
    doWarping : `bool`
        False: exposures that are not registered are an error.

    Returns
    -------
    template : `stillsky.image.Exposure`
        The given one, if it is registered; else a new one with the warped PSF.

    Raises
    ------
    MismatchError
        Not registered and no warping wanted, or no overlap on the sky.
    InvalidPsfError
        The template must be warped and has no PSF.
    """
    if isRegistered(template, science):
        return template
    if not doWarping:
        raise MismatchError(
            "Input images not registered",
            found=f"template {template.bbox}, science {science.bbox}, different sky positions or dimensions",
            remedy="doWarping",
        )
    if template.wcs is None:
        raise MismatchError("Input images not registered, and without a WCS the template cannot be warped")
    _requireOverlap(template, science)
    if template.psf is None:
        raise InvalidPsfError("registration: the template must be warped and has no PSF to warp along")
    warper = Warper.fromConfig(warpingConfig)
    return warper.warpExposure(science.wcs, template, destBBox=science.bbox, warpPsf=True)


def _requireOverlap(template, science):
    try:
        overlap = computeDestBBox(template.bbox, pairTransform(template.wcs, science.wcs), maxBBox=science.bbox)
        empty = overlap.isEmpty
    except (NoDataError, ValueError):
        empty = True
    if empty:
        raise MismatchError("Input images do not overlap at all")
