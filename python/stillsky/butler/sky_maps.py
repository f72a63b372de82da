"""Sky maps: tangent planes cut into patches, for the exposures at hand or from a short definition."""

import os
from types import SimpleNamespace

import numpy as np

from ..coadd.common_grid import commonGrid
from ..errors import DomainError, MismatchError
from ..geom import Box2I, Extent2I, Point2I
from ..wcs import SkyMap, TractInfo, makeTanWcs

__all__ = ["coveringTract", "parseSubfilters", "skyMapAround", "skyMapFromYaml"]

_KEYS = {"name", "pixelScale", "patch", "border", "tracts"}
_TRACT_KEYS = {"center", "size"}
_ARCSEC = 1.0 / 3600.0


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


def skyMapFromYaml(path, butler=None):
    """Read the definition of a simple sky map: tracts on tangent planes, each a grid of patches.

    Parameters
    ----------
    path : `str`
        YAML such as::

            name: field18
            pixelScale: 0.263                          # arcseconds
            patch: 4000                                # inner pixels: a number, or [width, height]
            border: 100                                # pixels that neighbours share on each side; 0 by default
            tracts:                                    # degrees; ids are 0, 1, ...
              - {center: [189.5, 12.4], size: [1.5, 1.5]}

        Without ``tracts`` there is one, which holds everything that the repository's visits cover.
    butler : `lsst.daf.butler.Butler`, optional
        Asked for the visits.

    Returns
    -------
    name, skyMap : `str`, `stillsky.wcs.SkyMap`

    Raises
    ------
    DomainError
        What is no such definition; with the file's name.
    """
    import yaml

    with open(path, encoding="utf-8") as file:
        try:
            given = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise DomainError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict) or not {"name", "pixelScale", "patch"} <= set(given) <= _KEYS:
        raise DomainError(f"{path}: wanted name, pixelScale, patch and perhaps border, tracts; given {given!r:.200}")
    try:
        scale, inner, border = _numbers(given)
        if "tracts" in given:
            tracts = [_tract(i, one, scale, inner, border) for i, one in enumerate(given["tracts"])]
        else:
            tracts = [coveringTract(butler, scale, inner, border)]
        return str(given["name"]), SkyMap(tracts)
    except (TypeError, ValueError) as error:
        raise DomainError(f"{path}: {error}") from None


def _numbers(given):
    patch = given["patch"]
    inner = (patch, patch) if isinstance(patch, int) else patch
    scale = float(given["pixelScale"])
    if not (0 < scale < 3600 and isinstance(inner, (list, tuple)) and len(inner) == 2):
        raise DomainError(f"wanted pixelScale in arcseconds and patch in pixels, given {scale} and {patch!r}")
    return scale * _ARCSEC, inner, int(given.get("border", 0))


def _tract(number, given, scale, inner, border):
    if not isinstance(given, dict) or set(given) != _TRACT_KEYS:
        raise DomainError(f"tracts: wanted center and size of each in degrees, given {given!r}")
    ra, dec = (float(v) for v in given["center"])
    width, height = (int(np.ceil(float(v) / scale)) for v in given["size"])
    return _tangent(number, (ra, dec), (0.5 * (width - 1), 0.5 * (height - 1)), (width, height), scale, inner, border)


def _tangent(number, crval, crpix, size, scale, inner, border):
    """Tract whose box of a size begins at (0, 0), and whose plane touches the sky at crval = crpix: north up, east left."""
    wcs = makeTanWcs(crpix, np.radians(crval), np.diag([-scale, scale]))
    return TractInfo(number, wcs, Box2I(Point2I(0, 0), Extent2I(*size)), inner, border)


def coveringTract(butler, scale, inner, border=0, *, number=0):
    """The tract, on the tangent plane at its middle, that holds all visits of a repository.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
    scale : `float`
        Degrees per pixel.
    inner, border
        Of `stillsky.wcs.TractInfo`.

    Raises
    ------
    DomainError
        No visit has a region on the sky, or they cover more than 10 degrees.
    """
    regions = [one.region for one in butler.registry.queryDimensionRecords("visit") if one.region is not None]
    if not regions:
        raise DomainError(
            "tracts: wanted at least one, or visits in the repository that they could hold; given neither"
        )
    points = np.array([[p.x(), p.y(), p.z()] for region in regions for p in region.getVertices()])
    middle = points.mean(axis=0)
    middle /= np.linalg.norm(middle)
    if np.min(points @ middle) < np.cos(np.radians(5.0)):
        raise DomainError("tracts: the visits cover more than 10 degrees of the sky; name the tracts")
    crval = np.degrees(np.arctan2(middle[1], middle[0])) % 360.0, np.degrees(np.arcsin(middle[2]))
    plane = _tangent(number, crval, (0, 0), (1, 1), scale, inner, border).wcs
    x, y = plane.skyToPixel(np.arctan2(points[:, 1], points[:, 0]), np.arcsin(points[:, 2]))
    low, high = np.floor([x.min(), y.min()]) - 1, np.ceil([x.max(), y.max()]) + 1
    size = tuple(int(v) for v in high - low + 1)
    return _tangent(number, crval, -low, size, scale, inner, border)


def parseSubfilters(text):
    """Band and number from ``BAND:N``; DomainError when it is neither."""
    band, _, number = text.rpartition(":")
    if not band or not number.isdigit() or int(number) < 2:
        raise DomainError(
            f"subfilters: wanted BAND:N with N of 2 or more, given {text!r}",
            found=repr(text),
            remedy="--subfilters g:3",
        )
    return band, int(number)
