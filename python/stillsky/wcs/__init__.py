"""World coordinates over astropy.wcs."""

from .pair import PixelTransform, pairTransform
from .sky_wcs import SkyWcs
from .tan import makeCdMatrix, makeTanWcs

__all__ = ["PixelTransform", "SkyWcs", "makeCdMatrix", "makeTanWcs", "pairTransform"]
