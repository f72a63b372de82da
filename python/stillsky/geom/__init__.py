"""Points, boxes, affine transforms and polygons, in pixel coordinates (x, y)."""

from .box import Box2D, Box2I
from .point import Extent2D, Extent2I, Point2D, Point2I, positionToIndex
from .polygon import Polygon
from .transform import AffineTransform

__all__ = [
    "AffineTransform",
    "Box2D",
    "Box2I",
    "Extent2D",
    "Extent2I",
    "Point2D",
    "Point2I",
    "Polygon",
    "positionToIndex",
]
