"""Choosing the images that take part in a coadd: by overlap on the sky, and by their PSFs."""

import numpy as np

from ..errors import StillskyError
from ..geom import Box2D

__all__ = ["ImageOutline", "outlineOverlaps", "overlapsOnSky", "psfWithin", "selectOverlapping"]


class ImageOutline:
    """WCS and box of an image, for a choice without its pixels.

    Parameters
    ----------
    wcs : `stillsky.wcs.SkyWcs` or None
    bbox : `stillsky.geom.Box2I`
    psf : `stillsky.psf.Psf`, optional
    dataId : mapping, optional
    """

    def __init__(self, wcs, bbox, psf=None, dataId=None):
        self.wcs, self.bbox, self.psf, self.dataId = wcs, bbox, psf, dataId


def selectOverlapping(candidates, wcs, bbox):
    """Numbers of the candidates whose convex outline on the sky meets that of a box.

    Parameters
    ----------
    candidates : iterable
        With ``wcs`` and ``bbox``: exposures, `ImageOutline`. Those without WCS, or whose corners have no sky position, are
        not chosen.
    wcs : `stillsky.wcs.SkyWcs`
    bbox : `stillsky.geom.Box2I`
        Of the coadd.

    Returns
    -------
    chosen : `list` [`int`]
    """
    return [i for i, c in enumerate(candidates) if overlapsOnSky(c.wcs, c.bbox, wcs, bbox)]


def overlapsOnSky(firstWcs, firstBox, secondWcs, secondBox):
    """Whether two boxes share sky: a test of separating great circles between their convex outlines.

    Two spherically convex polygons are disjoint exactly if a great circle separates them; for polygons in one hemisphere
    one through an edge of either does. Touching counts.
    """
    return _overlap(_corners(firstWcs, firstBox), _corners(secondWcs, secondBox))


def outlineOverlaps(wcs, bbox, corners):
    """Whether a box shares sky with the convex outline of sky positions (ra, dec) in radians, in order."""
    ra, dec = np.array([tuple(c) for c in corners], float).T
    return _overlap(_corners(wcs, bbox), _outline(ra, dec))


def _overlap(first, second):
    if first is None or second is None:
        return False
    if first.mean(axis=0) @ second.mean(axis=0) <= 0:
        return False  # further apart than a quarter of the sphere
    return not (_separates(first, second) or _separates(second, first))


def _corners(wcs, box):
    """Unit vectors (4, 3) of the corners, counter-clockwise as seen from outside; None where there are none."""
    if wcs is None or box.isEmpty:
        return None
    corners = Box2D(box).corners
    try:
        ra, dec = wcs.pixelToSky(np.array([c[0] for c in corners]), np.array([c[1] for c in corners]))
    except StillskyError:
        return None
    return _outline(ra, dec)


def _outline(ra, dec):
    if not (np.isfinite(ra).all() and np.isfinite(dec).all()):
        return None
    v = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
    turn = np.cross(v[1] - v[0], v[2] - v[1]) @ v.mean(axis=0)
    return v if turn > 0 else v[::-1]


def _separates(polygon, other):
    """Whether the great circle of an edge has all of the other polygon outside."""
    normals = np.cross(polygon, np.roll(polygon, -1, axis=0))
    return bool(np.any(np.all(normals @ other.T < 0, axis=1)))


def psfWithin(psf, maxFwhm=None, maxEllipticity=None):
    """Whether a PSF is sharp and round enough, at its average position.

    Parameters
    ----------
    psf : `stillsky.psf.Psf` or None
        None passes only without limits.
    maxFwhm : `float`, optional
        Pixels.
    maxEllipticity : `float`, optional
        Of sqrt(e1^2 + e2^2), e1 = (Ixx - Iyy)/(Ixx + Iyy), e2 = 2 Ixy/(Ixx + Iyy).
    """
    if maxFwhm is None and maxEllipticity is None:
        return True
    if psf is None:
        return False
    ixx, iyy, ixy = psf.computeShape(psf.averagePosition)
    fwhm = 2.354820045 * np.sqrt((ixx + iyy) / 2)
    ellipticity = np.hypot(ixx - iyy, 2 * ixy) / (ixx + iyy)
    return (maxFwhm is None or fwhm <= maxFwhm) and (maxEllipticity is None or ellipticity <= maxEllipticity)
