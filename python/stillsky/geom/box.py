"""Immutable boxes: Box2I of pixels, Box2D of positions."""

import math

import numpy as np

from ..errors import DomainError
from .point import Extent2D, Extent2I, Point2D, Point2I, positionToIndex, toInt32

__all__ = ["Box2D", "Box2I"]

_LOWEST, _HIGHEST = -(2**31), 2**31 - 1
_put = object.__setattr__


class Box2I:
    """Rectangle of pixels; ``min`` and ``max`` are both inside.

    Parameters
    ----------
    corner : `Point2I` or (x, y), or `Box2D`
        Lower-left pixel; from a `Box2D` every pixel with positive overlap, or, with ``shrink=True``, only those fully
        inside.
    dimensions : `Extent2I` or (width, height)
        Any 0 gives the empty box. A negative dimension d extends the other way (``invert=True``) or gives the empty box.

    Notes
    -----
    All empty boxes are equal: corner (0, 0), dimensions (0, 0). Coordinates beyond 32 bits raise OverflowError.
    """

    __slots__ = ("_x", "_y", "_w", "_h")

    def __init__(self, corner=None, dimensions=None, *, invert=True, shrink=False):
        if isinstance(corner, Box2D):
            x, y, w, h = _pixelsOf(corner, shrink)
        elif corner is None:
            x = y = w = h = 0
        else:
            (x, y), (w, h) = corner, dimensions
            x, w = _orient(x, w, invert)
            y, h = _orient(y, h, invert)
        self._set(x, y, w, h)

    def _set(self, x, y, w, h):
        if w <= 0 or h <= 0:
            x = y = w = h = 0
        if not type(x) is type(y) is type(w) is type(h) is int:
            x, y, w, h = (toInt32(v, "box coordinate") for v in (x, y, w, h))
        if x < _LOWEST or y < _LOWEST or w > _HIGHEST or h > _HIGHEST or x + w > _HIGHEST or y + h > _HIGHEST:
            for value in (x, y, w, h):
                toInt32(value, "box coordinate")
            toInt32(x + w - 1, "box maximum")
            toInt32(y + h - 1, "box maximum")
        _put(self, "_x", x)
        _put(self, "_y", y)
        _put(self, "_w", w)
        _put(self, "_h", h)

    @classmethod
    def _of(cls, x, y, w, h):
        """From whole numbers; any size <= 0 gives the empty box."""
        box = object.__new__(cls)
        box._set(x, y, w, h)
        return box

    @classmethod
    def fromMinMax(cls, min, max, *, invert=True):
        """From two corner pixels; inverted components are swapped, or give the empty box with ``invert=False``."""
        (x0, y0), (x1, y1) = min, max
        if invert:
            x0, x1 = sorted((x0, x1))
            y0, y1 = sorted((y0, y1))
        return cls((x0, y0), (x1 - x0 + 1, y1 - y0 + 1), invert=False)

    @classmethod
    def centered(cls, center, size):
        """Box of a size whose centre is within half a pixel of a position; any size <= 0 gives the empty box."""
        (x, y), (w, h) = center, size
        if not (math.isfinite(x) and math.isfinite(y)):
            raise DomainError(f"Box2I.centered: wanted a finite centre, got ({x}, {y})")
        return cls((math.floor(x - 0.5 * w + 1.0), math.floor(y - 0.5 * h + 1.0)), (w, h), invert=False)

    def __setattr__(self, name, value):
        raise AttributeError("Box2I is immutable")

    min = property(lambda self: Point2I._of(self._x, self._y), doc="First pixel in x and y.")
    max = property(lambda self: Point2I(self.maxX, self.maxY), doc="Last pixel in x and y, inside.")
    begin = min
    end = property(lambda self: Point2I(self._x + self._w, self._y + self._h), doc="One beyond ``max``.")
    minX = property(lambda self: self._x, doc="First column.")
    minY = property(lambda self: self._y, doc="First row.")
    maxX = property(lambda self: self._x + self._w - 1, doc="Last column, inside.")
    maxY = property(lambda self: self._y + self._h - 1, doc="Last row, inside.")
    width = property(lambda self: self._w, doc="Columns.")
    height = property(lambda self: self._h, doc="Rows.")
    dimensions = property(lambda self: Extent2I(self._w, self._h), doc="(width, height).")
    area = property(lambda self: self._w * self._h, doc="Number of pixels.")
    isEmpty = property(lambda self: self._w == 0, doc="Whether it has no pixel.")
    center = property(lambda self: Box2D(self).center, doc="Of the real box: (min + max)/2.")
    shape = property(lambda self: (self._h, self._w), doc="(height, width), as of an array.")

    @property
    def corners(self):
        """Corner pixels, counter-clockwise from the lower left."""
        return [
            Point2I(x, y)
            for x, y in ((self.minX, self.minY), (self.maxX, self.minY), (self.maxX, self.maxY), (self.minX, self.maxY))
        ]

    def contains(self, other):
        """Whether a point (arrays ``(x, y)`` welcome) or a box lies inside; the empty box is inside every box."""
        if isinstance(other, Box2I):
            return other._w == 0 or (
                self._x <= other._x
                and self._y <= other._y
                and other._x + other._w <= self._x + self._w
                and other._y + other._h <= self._y + self._h
            )
        x, y = other
        inside = (
            (np.asarray(x) >= self.minX)
            & (np.asarray(x) <= self.maxX)
            & (np.asarray(y) >= self.minY)
            & (np.asarray(y) <= self.maxY)
        )
        return bool(inside) if np.ndim(inside) == 0 else inside

    def __contains__(self, other):
        return bool(self.contains(other))

    def overlaps(self, other):
        """Whether two boxes share a pixel."""
        return not self.clipped(other).isEmpty

    def dilated(self, n):
        """Grown by ``n`` pixels (or an extent) on every side; negative erodes."""
        dx, dy = n if np.iterable(n) else (n, n)
        return self if self.isEmpty else Box2I._of(self._x - dx, self._y - dy, self._w + 2 * dx, self._h + 2 * dy)

    def eroded(self, n):
        """Shrunk by ``n`` pixels (or an extent) on every side."""
        dx, dy = n if np.iterable(n) else (n, n)
        return self.dilated((-dx, -dy))

    def shifted(self, offset):
        """Moved by an offset (dx, dy)."""
        dx, dy = offset
        return self if self.isEmpty else Box2I((self._x + dx, self._y + dy), (self._w, self._h))

    def including(self, other):
        """Smallest box that holds this one and a point or a box."""
        if not isinstance(other, Box2I):
            other = Box2I(tuple(other), (1, 1))
        if self.isEmpty or other.isEmpty:
            return other if self.isEmpty else self
        return Box2I.fromMinMax(
            (min(self.minX, other.minX), min(self.minY, other.minY)),
            (max(self.maxX, other.maxX), max(self.maxY, other.maxY)),
        )

    expandedTo = including

    def clipped(self, other):
        """Intersection."""
        x, y = max(self._x, other._x), max(self._y, other._y)
        right, top = min(self._x + self._w, other._x + other._w), min(self._y + self._h, other._y + other._h)
        return Box2I._of(x, y, right - x, top - y)

    def reflectedAboutX(self, x):
        """Mirrored about the vertical line through the centre of column ``x``."""
        return (
            self if self.isEmpty else Box2I.fromMinMax((2 * x - self.maxX, self.minY), (2 * x - self.minX, self.maxY))
        )

    def reflectedAboutY(self, y):
        """Mirrored about the horizontal line through the centre of row ``y``."""
        return (
            self if self.isEmpty else Box2I.fromMinMax((self.minX, 2 * y - self.maxY), (self.maxX, 2 * y - self.minY))
        )

    def flippedLR(self, parentWidth):
        """Mirrored left to right within a parent of this width."""
        return self if self.isEmpty else Box2I((parentWidth - (self._x + self._w), self._y), (self._w, self._h))

    def flippedTB(self, parentHeight):
        """Mirrored top to bottom within a parent of this height."""
        return self if self.isEmpty else Box2I((self._x, parentHeight - (self._y + self._h)), (self._w, self._h))

    def slices(self, xy0=(0, 0)):
        """Index of a NumPy array whose first element has the parent coordinates ``xy0``: (slice in y, slice in x)."""
        ox, oy = xy0
        return slice(self._y - oy, self._y + self._h - oy), slice(self._x - ox, self._x + self._w - ox)

    def __eq__(self, other):
        if not isinstance(other, Box2I):
            return NotImplemented
        return (self._x, self._y, self._w, self._h) == (other._x, other._y, other._w, other._h)

    def __hash__(self):
        return hash((self._x, self._y, self._w, self._h))

    def __repr__(self):
        return f"Box2I(corner=({self._x}, {self._y}), dimensions=({self._w}, {self._h}))"

    def __reduce__(self):
        return Box2I, ((self._x, self._y), (self._w, self._h))


def _orient(start, size, invert):
    if size < 0:
        return (start + size + 1, -size) if invert else (0, 0)
    return start, size


def _pixelsOf(box, shrink):
    if box.isEmpty:
        return 0, 0, 0, 0
    bounds = (box.minX, box.minY, box.maxX, box.maxY)
    if not all(math.isfinite(v) for v in bounds):
        raise DomainError(f"Box2I: wanted finite bounds, got {box}")
    if shrink:
        x0, y0 = math.ceil(box.minX + 0.5), math.ceil(box.minY + 0.5)
        x1, y1 = math.floor(box.maxX - 0.5), math.floor(box.maxY - 0.5)
    else:
        x0, y0 = positionToIndex(box.minX), positionToIndex(box.minY)
        x1, y1 = math.ceil(box.maxX - 0.5), math.ceil(box.maxY - 0.5)
    return x0, y0, x1 - x0 + 1, y1 - y0 + 1


class Box2D:
    """Rectangle of positions; the minimum is inside, the maximum is not.

    Parameters
    ----------
    min : `Point2D` or (x, y), or `Box2I`
        From a `Box2I` the area that its pixels cover: [min - 0.5, max + 0.5].
    max : `Point2D` or (x, y)
        A component equal to that of ``min`` gives the empty box, an inverted one too with ``invert=False``.

    Notes
    -----
    The empty box has four NaN bounds; its sizes are 0. A single NaN bound is kept: nothing is inside such a box and no
    `Box2I` can be made of it (DomainError).
    """

    __slots__ = ("_x0", "_y0", "_x1", "_y1")

    def __init__(self, min=None, max=None, *, invert=True):
        if isinstance(min, Box2I):
            b = min
            bounds = (b.minX - 0.5, b.minY - 0.5, b.maxX + 0.5, b.maxY + 0.5) if not b.isEmpty else None
        elif min is None:
            bounds = None
        else:
            (x0, y0), (x1, y1) = min, max
            if invert:
                x0, x1 = (x1, x0) if x1 < x0 else (x0, x1)
                y0, y1 = (y1, y0) if y1 < y0 else (y0, y1)
            bounds = (float(x0), float(y0), float(x1), float(y1)) if not (x1 <= x0 or y1 <= y0) else None
        for name, value in zip(self.__slots__, bounds or (math.nan,) * 4):
            object.__setattr__(self, name, value)

    @classmethod
    def centered(cls, center, size):
        """Box of a size around a position."""
        (x, y), (w, h) = center, size
        return cls((x - 0.5 * w, y - 0.5 * h), (x + 0.5 * w, y + 0.5 * h), invert=False)

    def __setattr__(self, name, value):
        raise AttributeError("Box2D is immutable")

    minX = property(lambda self: self._x0, doc="Lower bound of x, inside.")
    minY = property(lambda self: self._y0, doc="Lower bound of y, inside.")
    maxX = property(lambda self: self._x1, doc="Upper bound of x, not inside.")
    maxY = property(lambda self: self._y1, doc="Upper bound of y, not inside.")
    min = property(lambda self: Point2D(self._x0, self._y0), doc="Lower corner, inside.")
    max = property(lambda self: Point2D(self._x1, self._y1), doc="Upper corner, not inside.")
    isEmpty = property(
        lambda self: all(math.isnan(v) for v in (self._x0, self._y0, self._x1, self._y1)),
        doc="Whether nothing is inside.",
    )
    width = property(lambda self: 0.0 if self.isEmpty else self._x1 - self._x0, doc="In x; 0 if empty.")
    height = property(lambda self: 0.0 if self.isEmpty else self._y1 - self._y0, doc="In y; 0 if empty.")
    dimensions = property(lambda self: Extent2D(self.width, self.height), doc="(width, height).")
    area = property(lambda self: self.width * self.height, doc="Width times height.")
    center = property(
        lambda self: Point2D(0.5 * (self._x0 + self._x1), 0.5 * (self._y0 + self._y1)), doc="Midpoint; NaN if empty."
    )

    @property
    def corners(self):
        """Counter-clockwise from the lower left."""
        return [
            Point2D(x, y)
            for x, y in ((self._x0, self._y0), (self._x1, self._y0), (self._x1, self._y1), (self._x0, self._y1))
        ]

    def contains(self, other):
        """Whether a point (arrays ``(x, y)`` welcome) or a box lies inside."""
        if isinstance(other, Box2D):
            return other.isEmpty or bool(
                other.minX >= self._x0 and other.minY >= self._y0 and other.maxX <= self._x1 and other.maxY <= self._y1
            )
        x, y = (np.asarray(v, float) for v in other)
        inside = (x >= self._x0) & (x < self._x1) & (y >= self._y0) & (y < self._y1)
        return bool(inside) if np.ndim(inside) == 0 else inside

    def __contains__(self, other):
        return bool(self.contains(other))

    def overlaps(self, other):
        """Whether two boxes share an area."""
        return not self.clipped(other).isEmpty

    def dilated(self, n):
        """Grown by ``n`` (or an extent) on every side; negative erodes."""
        dx, dy = n if np.iterable(n) else (n, n)
        return (
            self
            if self.isEmpty
            else Box2D((self._x0 - dx, self._y0 - dy), (self._x1 + dx, self._y1 + dy), invert=False)
        )

    def eroded(self, n):
        """Shrunk by ``n`` (or an extent) on every side."""
        dx, dy = n if np.iterable(n) else (n, n)
        return self.dilated((-dx, -dy))

    def shifted(self, offset):
        """Moved by an offset (dx, dy)."""
        dx, dy = offset
        return self if self.isEmpty else Box2D((self._x0 + dx, self._y0 + dy), (self._x1 + dx, self._y1 + dy))

    def clipped(self, other):
        """Intersection."""
        if self.isEmpty or other.isEmpty:
            return Box2D()
        return Box2D(
            (max(self._x0, other.minX), max(self._y0, other.minY)),
            (min(self._x1, other.maxX), min(self._y1, other.maxY)),
            invert=False,
        )

    def flippedLR(self, parentWidth):
        """Mirrored left to right within a parent of this width."""
        if self.isEmpty:
            return self
        return Box2D((parentWidth - self._x1, self._y0), (parentWidth - self._x0, self._y1))

    def flippedTB(self, parentHeight):
        """Mirrored top to bottom within a parent of this height."""
        if self.isEmpty:
            return self
        return Box2D((self._x0, parentHeight - self._y1), (self._x1, parentHeight - self._y0))

    def including(self, other):
        """Smallest box that holds this one and a box or a point; the point ends up inside."""
        if isinstance(other, Box2D):
            if self.isEmpty or other.isEmpty:
                return other if self.isEmpty else self
            return Box2D(
                (min(self._x0, other.minX), min(self._y0, other.minY)),
                (max(self._x1, other.maxX), max(self._y1, other.maxY)),
            )
        x, y = (float(v) for v in other)
        if self.contains((x, y)):
            return self
        return self.including(Box2D((x, y), (math.nextafter(x, math.inf), math.nextafter(y, math.inf))))

    def __eq__(self, other):
        if not isinstance(other, Box2D):
            return NotImplemented
        if self.isEmpty or other.isEmpty:
            return self.isEmpty and other.isEmpty
        return (self._x0, self._y0, self._x1, self._y1) == (other._x0, other._y0, other._x1, other._y1)

    def __hash__(self):
        return hash("empty") if self.isEmpty else hash((self._x0, self._y0, self._x1, self._y1))

    def __repr__(self):
        return "Box2D()" if self.isEmpty else f"Box2D(({self._x0}, {self._y0}), ({self._x1}, {self._y1}))"

    def __reduce__(self):
        return (Box2D, ()) if self.isEmpty else (Box2D, ((self._x0, self._y0), (self._x1, self._y1)))
