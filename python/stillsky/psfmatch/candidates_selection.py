"""Sources that may become kernel candidates: what a source record is, where it is, and whether its stamps are clean."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NoDataError, StillskyError
from ..geom import Box2I, Point2I, positionToIndex

__all__ = [
    "CandidateStamp",
    "asSources",
    "combinedBits",
    "growthRadius",
    "sourceFlux",
    "sourcePosition",
    "stampsOnBothImages",
    "stampsOnSky",
]

# Where a source record may keep its position and PSF flux, in order of preference.
_X_NAMES = ("slot_Centroid_x", "base_SdssCentroid_x", "x", "xcentroid", "peakX")
_Y_NAMES = ("slot_Centroid_y", "base_SdssCentroid_y", "y", "ycentroid", "peakY")
_RA_NAMES = ("coord_ra", "ra")
_DEC_NAMES = ("coord_dec", "dec")
_FLUX_NAMES = ("slot_PsfFlux_instFlux", "base_PsfFlux_instFlux", "psfFlux", "flux", "peakValue")


@dataclass(frozen=True)
class CandidateStamp:
    """A source and the box around it that both images will be cut to.

    Attributes
    ----------
    source : source record, or None
    x, y : `float`
        Parent coordinates, pixels.
    rating : `float` or None
        PSF flux; None lets the candidate rate itself by its signal-to-noise.
    box : `stillsky.geom.Box2I`
    """

    source: Any
    x: float
    y: float
    rating: float | None
    box: Box2I

    def getSource(self):
        """The source record."""
        return self.source


def _columns(source):
    names = getattr(source, "colnames", None)
    if names is None and hasattr(source, "keys"):
        names = source.keys()
    return () if names is None else names


def _isRecord(source):
    return bool(_columns(source)) or hasattr(source, "getX")


def asSources(candidateList):
    """Source records of a candidate list.

    Parameters
    ----------
    candidateList : `astropy.table.Table`, or sequence of rows, mappings, or objects with ``getX``, ``getY`` and
        ``getPsfInstFlux``; or of objects whose ``getSource()`` returns such a record.

    Returns
    -------
    sources : `list`

    Raises
    ------
    NoDataError
        The list is empty.
    StillskyError
        It mixes types, or its items are no source records.
    """
    items = list(candidateList)
    if not items:
        raise NoDataError("candidateList: wanted at least one source, got none")
    kinds = {type(item) for item in items}
    if len(kinds) > 1:
        raise StillskyError(f"candidateList: wanted items of one type, got {sorted(k.__name__ for k in kinds)}")
    if hasattr(items[0], "getSource"):
        items = [item.getSource() for item in items]
    bad = next((item for item in items if not _isRecord(item)), None)
    if bad is not None:
        raise StillskyError(
            f"candidateList: wanted source records or objects with getSource(), got {type(bad).__name__}"
        )
    return items


def _field(source, names, unit=None):
    """Value of the first field that the record has, or None. With a unit, converted to it."""
    known = _columns(source)
    name = next((n for n in names if n in known), None)
    if name is None:
        return None
    value = source[name]
    own = getattr(value, "unit", None)
    if own is None and hasattr(source, "table"):
        own = source.table[name].unit
    value = float(getattr(value, "value", value))
    return value if own is None or unit is None else (value * own).to_value(unit)


def sourcePosition(source, wcs=None, preferSky=False):
    """Parent pixel position of a source record.

    Parameters
    ----------
    source : source record
        Pixel positions come from its centroid; sky positions from ``coord_ra``, ``coord_dec`` (or ``ra``, ``dec``),
        which are radians unless the columns have units.
    wcs : `stillsky.wcs.SkyWcs`, optional
        Turns sky positions into pixels.
    preferSky : `bool`
        Take the sky position when there is one: the pixels of the record may be those of another image.

    Returns
    -------
    x, y : `float`
        NaN where the sky position cannot be projected.

    Raises
    ------
    StillskyError
        The record has neither a pixel position nor, with a WCS, a sky position.
    """
    ra, dec = (_field(source, names, "rad") for names in (_RA_NAMES, _DEC_NAMES))
    hasSky = wcs is not None and ra is not None and dec is not None
    if hasattr(source, "getX") and not (hasSky and preferSky):
        return float(source.getX()), float(source.getY())
    x, y = _field(source, _X_NAMES), _field(source, _Y_NAMES)
    hasPixels = x is not None and y is not None
    if hasSky and (preferSky or not hasPixels):
        px, py = wcs.skyToPixel(ra, dec)
        return float(px), float(py)
    if hasPixels:
        return x, y
    raise StillskyError(
        f"source record: wanted a position ({_X_NAMES[2]}, {_Y_NAMES[2]}, or {_RA_NAMES[0]}, {_DEC_NAMES[0]} and a WCS)",
        found=f"the fields {', '.join(map(str, _columns(source)))}",
    )


def sourceFlux(source):
    """PSF flux of a source record in image units; NaN when it has none."""
    if hasattr(source, "getPsfInstFlux"):
        return float(source.getPsfInstFlux())
    flux = _field(source, _FLUX_NAMES)
    return math.nan if flux is None else flux


def combinedBits(mask, box=None):
    """OR of all mask values in a box (parent coordinates; default: everywhere).

    Raises
    ------
    OutOfBoundsError
        The box leaves the mask.
    """
    part = mask if box is None else mask[box]
    return int(np.bitwise_or.reduce(part.array, axis=None))


def _isClean(images, box, planes):
    return all(
        combinedBits(image.mask, box) & image.mask.bitmask(list(planes), ignoreMissing=True) == 0 for image in images
    )


def growthRadius(detectionConfig, kernelSize):
    """Half the side of a candidate's box in pixels, from the older detection configuration."""
    if detectionConfig.scaleByFwhm:
        return int(detectionConfig.fpGrowKernelScaling * kernelSize + 0.5)
    return detectionConfig.fpGrowPix


def stampsOnSky(sources, template, science, kernelSize, detectionConfig):
    """Boxes around sources, by their sky position in the science image; unclean ones are left out.

    A box has the half side of `growthRadius`; at an image border it shrinks on all sides, so that the source stays in
    its centre.

    Parameters
    ----------
    sources : `list` of source records
    template, science : `stillsky.image.Exposure`
        On one grid.
    kernelSize : `int`
    detectionConfig : `DetectionConfig`
        Growth and ``badMaskPlanes``; a plane that a mask lacks is ignored.

    Returns
    -------
    stamps : `list` [`CandidateStamp`]
    """
    grow = growthRadius(detectionConfig, kernelSize)
    limits = science.bbox
    stamps = []
    for source in sources:
        x, y = sourcePosition(source, science.wcs, preferSky=True)
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        cx, cy = positionToIndex(x), positionToIndex(y)
        if not limits.contains(Point2I(cx, cy)):
            continue
        half = min(grow, cx - limits.minX, limits.maxX - cx, cy - limits.minY, limits.maxY - cy)
        box = Box2I((cx - half, cy - half), (2 * half + 1, 2 * half + 1))
        if _isClean((template, science), box, detectionConfig.badMaskPlanes):
            stamps.append(CandidateStamp(source, x, y, None, box))
    return stamps


def stampsOnBothImages(sources, convolved, reference, kernelSize, badMaskPlanes):
    """Square boxes of side ``2 kernelSize + 1`` around centroids that lie in both images and are clean in both.

    Parameters
    ----------
    sources : `list` of source records
    convolved, reference : `stillsky.image.Exposure` or `stillsky.image.MaskedImage`
    kernelSize : `int`
    badMaskPlanes : sequence of `str`

    Returns
    -------
    stamps : `list` [`CandidateStamp`]
        In the order of the sources; their rating is the PSF flux.
    """
    region = convolved.bbox.clipped(reference.bbox)
    wcs = getattr(reference, "wcs", None)
    side = 2 * kernelSize + 1
    stamps = []
    for source in sources:
        x, y = sourcePosition(source, wcs)
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        box = Box2I((positionToIndex(x) - kernelSize, positionToIndex(y) - kernelSize), (side, side))
        if region.contains(box) and _isClean((convolved, reference), box, badMaskPlanes):
            stamps.append(CandidateStamp(source, x, y, sourceFlux(source), box))
    return stamps


def requireStamps(stamps, sources):
    """NoDataError unless a stamp is left."""
    if not stamps:
        raise NoDataError(
            "no source is fit to be a kernel candidate",
            found=f"{len(sources)} sources, all with masked pixels nearby or too near an edge",
            remedy="more sources, a smaller kernel, or fewer badMaskPlanes",
        )
    return stamps
