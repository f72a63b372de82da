"""What images and masks share: an array with the parent coordinates of its first pixel."""

import operator

import numpy as np

from ..errors import OutOfBoundsError, ShapeError
from ..geom import Box2I, Point2I

__all__ = ["Plane"]


class Plane:
    """A 2-D array ``[y, x]`` and its origin ``xy0`` in the parent frame.

    Indexing is (x, y), in parent coordinates: ``plane[x, y]`` is a pixel, ``plane[x0:x1, y0:y1]`` and ``plane[box]``
    are views. ``plane.local`` indexes from the first pixel instead.
    """

    def __init__(self, array, xy0=(0, 0)):
        if isinstance(array, Plane):
            array, xy0 = array.array, array.xy0
        array = self._accept(np.asarray(array))
        if array.ndim != 2:
            raise ShapeError(f"{type(self).__name__}: wanted a 2-D array, got shape {array.shape}")
        self._array = array
        self._xy0 = xy0 if type(xy0) is Point2I else Point2I(xy0)

    @staticmethod
    def _accept(array):
        return array

    @property
    def array(self):
        """Pixels ``[y, x]``, shared. Assigning copies values in place; the shapes must agree (ValueError)."""
        return self._array

    @array.setter
    def array(self, values):
        if values is None:
            raise TypeError("array: wanted an array, got None")
        values = np.asarray(values)
        if values.shape != self._array.shape:
            raise ShapeError(f"array: wanted shape {self._array.shape}, got {values.shape}")
        self._array[...] = values

    @property
    def xy0(self):
        """Parent coordinates of the first pixel. Setting them moves no pixel."""
        return self._xy0

    @xy0.setter
    def xy0(self, value):
        self._xy0 = Point2I(value)

    @property
    def bbox(self):
        """Pixels, in parent coordinates."""
        return Box2I._of(self._xy0.x, self._xy0.y, *self._array.shape[::-1])

    width = property(lambda self: self._array.shape[1], doc="Columns.")
    height = property(lambda self: self._array.shape[0], doc="Rows.")
    dimensions = property(lambda self: self.bbox.dimensions, doc="(width, height).")
    dtype = property(lambda self: self._array.dtype, doc="Type of the pixels.")

    @property
    def local(self):
        """Indexing in local coordinates: ``plane.local[x, y]``; negative indices count from the end."""
        return _Local(self)

    def _view(self, box):
        where, corner = self._place(box)
        return self._like(self._array[where], corner)

    def _place(self, box):
        """(index of the pixels of a box, its corner)."""
        where = ys, xs = box.slices(self._xy0)
        if box.isEmpty:
            return where, self._xy0
        height, width = self._array.shape
        if ys.start < 0 or xs.start < 0 or ys.stop > height or xs.stop > width:
            raise ShapeError(f"{type(self).__name__}: {box} is not inside {self.bbox}")
        return where, box.min

    def _like(self, array, xy0):
        """A plane of this kind of other pixels of the same type, which are not looked at again."""
        out = object.__new__(type(self))
        out.__dict__.update(self.__dict__)
        out._array, out._xy0 = array, xy0 if type(xy0) is Point2I else Point2I(xy0)
        return out

    def pixel(self, *, x, y):
        """One pixel, by keyword, in parent coordinates."""
        return self._array[self._index(x, y)]

    def _index(self, x, y):
        i, j = operator.index(x) - self._xy0.x, operator.index(y) - self._xy0.y
        if not (0 <= i < self.width and 0 <= j < self.height):
            raise OutOfBoundsError(f"pixel ({x}, {y}) is outside {self.bbox}")
        return j, i

    def _boxOf(self, key):
        """Box of a sub-image key in parent coordinates; None for the key of a single pixel."""
        if key is Ellipsis:
            return self.bbox
        if isinstance(key, Box2I):
            return key
        if isinstance(key, Point2I):
            return None
        if isinstance(key, tuple) and len(key) == 2:
            slices = [isinstance(k, slice) for k in key]
            if all(slices):
                x0, x1 = _bounds(key[0], self.bbox.minX, self.bbox.maxX + 1)
                y0, y1 = _bounds(key[1], self.bbox.minY, self.bbox.maxY + 1)
                return Box2I((x0, y0), (max(x1 - x0, 0), max(y1 - y0, 0)))
            if not any(slices):
                return None
        raise TypeError(f"{type(self).__name__}: wanted [x, y], [x0:x1, y0:y1] or [box], got {key!r}")

    def __getitem__(self, key):
        box = self._boxOf(key)
        return self._array[self._index(*key)] if box is None else self._view(box)

    def __setitem__(self, key, value):
        box = self._boxOf(key)
        if box is None:
            self._array[self._index(*key)] = value
        else:
            self.assign(value, box)

    def assign(self, rhs, bbox=None):
        """Copy a number, or a plane or array of equal dimensions, into this plane or a box of it; rhs.xy0 is ignored."""
        target = self if bbox is None else self._view(bbox)
        values = rhs.array if isinstance(rhs, Plane) else rhs
        if np.ndim(values) and np.shape(values) != target.array.shape:
            raise ShapeError(f"assign: wanted dimensions {target.array.shape}, got {np.shape(values)}")
        target._array[...] = values

    def set(self, value):
        """Every pixel to one value."""
        self._array[...] = value

    def copy(self):
        """Deep copy."""
        return self._like(self._array.copy(), self._xy0)

    def subset(self, box):
        """View of a box."""
        return self._view(box)

    def overlapsMemory(self, other):
        """Whether two planes share pixels in memory."""
        return np.shares_memory(self._array, other.array)

    def _requireSame(self, other, ignoreXY0=False):
        if (self.width, self.height) != (other.width, other.height):
            raise ShapeError(f"dimensions differ: {self.width}x{self.height} and {other.width}x{other.height}")
        if not ignoreXY0 and self.xy0 != other.xy0:
            raise ShapeError(f"origins differ: {self.xy0} and {other.xy0}")

    def __eq__(self, other):
        """Same place, type and pixels; NaN equals NaN."""
        if type(self) is not type(other):
            return NotImplemented
        a, b = self._array, other._array
        return self._xy0 == other._xy0 and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")

    __hash__ = None  # pixels can change

    def __repr__(self):
        return f"{type(self).__name__}({self.width}x{self.height} {self.dtype}, xy0=({self.xy0.x}, {self.xy0.y}))"

    def __reduce__(self):
        return type(self), (self._array, tuple(self._xy0))


def _bounds(key, low, high):
    if key.step not in (None, 1):
        raise ShapeError(f"slices must have step 1, got {key.step}")
    return (low if key.start is None else key.start), (high if key.stop is None else key.stop)


class _Local:
    """Local indexing of a plane."""

    def __init__(self, plane):
        self._plane = plane

    def _numpyKey(self, key):
        if isinstance(key, tuple) and len(key) == 2 and len({isinstance(k, slice) for k in key}) == 1:
            if isinstance(key[0], slice) and any(k.step not in (None, 1) for k in key):
                raise ShapeError("slices must have step 1")
            return key[1], key[0]
        raise TypeError(f"local: wanted [x, y] or [x0:x1, y0:y1], got {key!r}")

    def __getitem__(self, key):
        j, i = self._numpyKey(key)
        plane = self._plane
        if not isinstance(i, slice):
            try:
                return plane.array[j, i]
            except IndexError:
                raise OutOfBoundsError(f"local pixel ({i}, {j}) is outside {plane.width}x{plane.height}") from None
        x0, y0 = i.indices(plane.width)[0], j.indices(plane.height)[0]
        return plane._like(plane.array[j, i], (plane.xy0.x + x0, plane.xy0.y + y0))

    def __setitem__(self, key, value):
        j, i = self._numpyKey(key)
        values = value.array if isinstance(value, Plane) else value
        target = self._plane.array[j, i]
        if np.ndim(values) and np.shape(values) != np.shape(target):
            raise ShapeError(f"assign: wanted dimensions {np.shape(target)}, got {np.shape(values)}")
        self._plane.array[j, i] = values
