"""What a reader brings home before it becomes an Exposure, and the choice of a region."""

import logging
import re
from dataclasses import dataclass, field

import numpy as np

from ..errors import DomainError, ShapeError
from ..meta import Header

__all__ = ["Planes", "parseRegion", "regionBox"]

_LOG = logging.getLogger("stillsky.fits")


@dataclass
class Planes:
    """Planes and facts of one image, filled step by step by a reader.

    Arrays have shape (height, width); ``mask`` (int32) is in ``schema``'s bits. None means: the file has none.
    ``provenance`` collects one sentence per choice made; sentences that begin with "W-..." are warnings.
    """

    image: np.ndarray
    xy0: tuple = (0, 0)
    header: object = None
    mask: np.ndarray = None
    schema: object = None
    variance: np.ndarray = None
    wcs: object = None
    metadata: Header = field(default_factory=Header)
    visitInfo: object = None
    id: int = None
    components: dict = field(default_factory=dict)
    provenance: list = field(default_factory=list)
    maskFromFile: bool = False
    noData: np.ndarray = None  # pixels that a noise plane or a blank value declares empty
    kind: str = ""
    shape: tuple = None  # of the whole stored image, before the region was cut
    slices: tuple = None  # region in the stored array
    relativeVariance: bool = False  # right but for a factor
    sky: object = None  # SkyLevel, once measured

    def say(self, sentence):
        """Note a choice."""
        self.provenance.append(sentence)

    def warn(self, sentence):
        """Note a choice that the user should see: also logged as a warning."""
        self.provenance.append(sentence)
        _LOG.warning("%s", sentence)

    def addNoData(self, where):
        """Declare more pixels empty."""
        self.noData = where if self.noData is None else self.noData | where


_REGION = re.compile(r"\s*(-?\d+)\s*:\s*(-?\d+)\s*,\s*(-?\d+)\s*:\s*(-?\d+)\s*")


def parseRegion(region):
    """Region as a box.

    Parameters
    ----------
    region : `Box2I`, `str` or None
        Text is "X0:X1,Y0:Y1", 0-based and half open; parent coordinates.
    """
    from ..geom import Box2I, Extent2I, Point2I

    if not isinstance(region, str):
        return region
    match = _REGION.fullmatch(region)
    if not match:
        raise DomainError(f"region: wanted X0:X1,Y0:Y1, given {region!r}")
    x0, x1, y0, y1 = (int(v) for v in match.groups())
    if x1 <= x0 or y1 <= y0:
        raise DomainError(f"region: wanted X0 < X1 and Y0 < Y1, given {region!r}")
    return Box2I(Point2I(x0, y0), Extent2I(x1 - x0, y1 - y0))


def regionBox(region, xy0, shape):
    """Box of the wanted pixels and their slices in the stored array.

    Raises
    ------
    ShapeError
        If the region is not inside the image.
    """
    from ..geom import Box2I, Extent2I, Point2I

    whole = Box2I(Point2I(*xy0), Extent2I(shape[1], shape[0]))
    if region is None:
        return whole, (slice(0, shape[0]), slice(0, shape[1]))
    if not whole.contains(region):
        inside, outside = (f"{b.minX}:{b.maxX + 1},{b.minY}:{b.maxY + 1}" for b in (whole, region))
        raise ShapeError(
            f"region {outside} is not inside the image, {inside}",
            found=f"region {outside}, image {inside} (x0:x1,y0:y1, parent pixels from 0, half open)",
            remedy="a region inside the image",
        )
    return region, region.slices(xy0)
