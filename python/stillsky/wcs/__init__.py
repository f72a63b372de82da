"""World coordinates over astropy.wcs."""

from .pair import PixelTransform, pairTransform
from .sky_map import PatchInfo, SkyMap, TractInfo
from .sky_wcs import SkyWcs
from .tan import makeCdMatrix, makeTanWcs

__all__ = [
    "PatchInfo",
    "PixelTransform",
    "SkyMap",
    "SkyWcs",
    "TractInfo",
    "makeCdMatrix",
    "makeTanWcs",
    "pairTransform",
]
