"""Sky maps for the exposures at hand: one tangent plane that holds them all, cut into patches."""

import os
from types import SimpleNamespace

from ..coadd.common_grid import commonGrid
from ..errors import DomainError, MismatchError
from ..wcs import SkyMap, TractInfo

__all__ = ["parseSubfilters", "skyMapAround"]


def skyMapAround(paths, *, patch=4000, border=100, reference=None):
    """A sky map of one tract that holds the given images.

    Parameters
    ----------
    paths : iterable of `str`
        FITS images with a WCS; no pixels are read.
    patch, border : `int`
        Side of the inner boxes of the patches, and how far the outer ones reach beyond; pixels.
    reference : `str`, optional
        The tract is the grid of this image.

    Returns
    -------
    skyMap : `stillsky.wcs.SkyMap`
        On the grid of the images where they share one, else north up with the scale of the first.

    Raises
    ------
    MismatchError
        An image has no WCS, or they lie in different parts of the sky.
    DomainError
        No images, or patches without pixels.
    """
    frames = [_frame(path) for path in paths]
    if not frames:
        raise DomainError("sky map: wanted images that it shall hold, given none")
    grid = commonGrid(frames, _frame(reference) if reference is not None else None)
    return SkyMap([TractInfo(0, grid.wcs, grid.bbox, (patch, patch), border)])


def _frame(path):
    from ..fits import readBBox, readWcs

    wcs = readWcs(path)
    if wcs is None:
        raise MismatchError(f"{path}: a sky map needs the WCS of every image, this one has none")
    return SimpleNamespace(name=os.path.basename(path), wcs=wcs, bbox=readBBox(path))


def parseSubfilters(text):
    """Band and number from ``BAND:N``; DomainError when it is neither."""
    band, _, number = text.rpartition(":")
    if not band or not number.isdigit() or int(number) < 2:
        raise DomainError(f"subfilters: wanted BAND:N with N of 2 or more, given {text!r}")
    return band, int(number)
