"""Boxes, masks and origins as the compiled code wants them."""

import numpy as np

from ..geom import Box2I


def boxTuple(box):
    """(x0, y0, width, height) of a `Box2I`."""
    return int(box.minX), int(box.minY), int(box.width), int(box.height)


def boxOf(values):
    """The `Box2I` of (x0, y0, width, height)."""
    x0, y0, width, height = (int(v) for v in values)
    return Box2I((x0, y0), (width, height))


def originOf(image, xy0=None):
    """Parent coordinates of the first pixel: `xy0` if given, else those of the image object, else (0, 0)."""
    x0, y0 = getattr(image, "xy0", (0, 0)) if xy0 is None else xy0
    return int(x0), int(y0)


def bitsOf(mask, planes):
    """The bit mask for an int, or for plane names that the mask object knows."""
    if isinstance(planes, (int, np.integer)):
        return int(planes)
    return int(mask.bitmask([planes] if isinstance(planes, str) else list(planes)))
