"""Immutable points and extents.

Integer coordinates are pixel centres: pixel ``i`` covers [i - 0.5, i + 0.5).
"""

import math
import operator

import numpy as np

from ..errors import DomainError

__all__ = ["Extent2D", "Extent2I", "Point2D", "Point2I", "positionToIndex"]

_INT32 = (-(2**31), 2**31 - 1)


def positionToIndex(position):
    """Index of the pixel that contains a position: floor(position + 0.5); arrays welcome."""
    if np.ndim(position):
        return np.floor(np.asarray(position, float) + 0.5).astype(np.int64)
    if not math.isfinite(position):
        raise DomainError(f"position: wanted a finite number, got {position}")
    return math.floor(position + 0.5)


def toInt32(value, what):
    """A whole number within signed 32 bit."""
    if type(value) is not int:
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{what}: wanted a whole number, got {value!r}") from None
    if not _INT32[0] <= value <= _INT32[1]:
        raise OverflowError(f"{what}: {value} does not fit 32 bits")
    return value


class _Pair:
    """Two coordinates, x and y. Immutable, iterable, hashable."""

    __slots__ = ("_x", "_y")

    def __init__(self, x=0, y=None):
        if y is None:
            x, y = x if np.iterable(x) else (x, x)
        object.__setattr__(self, "_x", self._convert(x))
        object.__setattr__(self, "_y", self._convert(y))

    @classmethod
    def _of(cls, x, y):
        """From coordinates that are of the right kind and range."""
        pair = object.__new__(cls)
        object.__setattr__(pair, "_x", x)
        object.__setattr__(pair, "_y", y)
        return pair

    @staticmethod
    def _convert(value):
        raise TypeError("abstract")

    def __setattr__(self, name, value):
        raise AttributeError(f"{type(self).__name__} is immutable")

    @property
    def x(self):
        return self._x

    @property
    def y(self):
        return self._y

    def __iter__(self):
        return iter((self._x, self._y))

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return (self._x, self._y)[index]

    def __eq__(self, other):
        if isinstance(other, _Pair):
            return self._kind == other._kind and (self._x, self._y) == (other._x, other._y)
        if isinstance(other, tuple):
            return (self._x, self._y) == other
        return NotImplemented

    def __hash__(self):
        return hash((self._x, self._y))

    def __repr__(self):
        return f"{type(self).__name__}({self._x}, {self._y})"

    def __reduce__(self):
        return type(self), (self._x, self._y)


class _Integer:
    __slots__ = ()

    @staticmethod
    def _convert(value):
        return toInt32(value, "coordinate")


class _Real:
    __slots__ = ()

    @staticmethod
    def _convert(value):
        return float(value)


class _Extent(_Pair):
    __slots__ = ()
    _kind = "extent"
    __array_ufunc__ = None  # a NumPy number times an extent is an extent, not an array

    def _with(self, x, y):
        whole = all(isinstance(v, (int, np.integer)) for v in (x, y))
        return Extent2I(x, y) if whole else Extent2D(x, y)

    def __add__(self, other):
        if isinstance(other, _Extent):
            return self._with(self.x + other.x, self.y + other.y)
        if isinstance(other, _Point):
            return other + self
        return NotImplemented

    def __sub__(self, other):
        return self._with(self.x - other.x, self.y - other.y) if isinstance(other, _Extent) else NotImplemented

    def __neg__(self):
        return self._with(-self.x, -self.y)

    def __mul__(self, factor):
        return self._with(self.x * factor, self.y * factor) if np.isscalar(factor) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor):
        return Extent2D(self.x / divisor, self.y / divisor) if np.isscalar(divisor) else NotImplemented

    @property
    def norm(self):
        return math.hypot(self.x, self.y)


class _Point(_Pair):
    __slots__ = ()
    _kind = "point"

    def _with(self, x, y):
        whole = all(isinstance(v, (int, np.integer)) for v in (x, y))
        return Point2I(x, y) if whole else Point2D(x, y)

    def __add__(self, other):
        return self._with(self.x + other.x, self.y + other.y) if isinstance(other, _Extent) else NotImplemented

    def __sub__(self, other):
        if isinstance(other, _Extent):
            return self._with(self.x - other.x, self.y - other.y)
        if isinstance(other, _Point):
            whole = isinstance(self, Point2I) and isinstance(other, Point2I)
            return (Extent2I if whole else Extent2D)(self.x - other.x, self.y - other.y)
        return NotImplemented

    def distanceSquared(self, other):
        """Squared distance, computed in double."""
        dx, dy = float(self.x) - float(other.x), float(self.y) - float(other.y)
        return dx * dx + dy * dy


class Extent2I(_Integer, _Extent):
    """Integer offset or size (x, y)."""

    __slots__ = ()

    def __floordiv__(self, divisor):
        return Extent2I(self.x // divisor, self.y // divisor)

    def __itruediv__(self, divisor):
        raise TypeError("Extent2I: in-place division would not stay whole; use // or a new name")


class Extent2D(_Real, _Extent):
    """Real offset or size (x, y)."""

    __slots__ = ()

    def truncate(self):
        """Towards zero."""
        return Extent2I(math.trunc(self.x), math.trunc(self.y))

    def floor(self):
        """Downwards."""
        return Extent2I(math.floor(self.x), math.floor(self.y))

    def ceil(self):
        """Upwards."""
        return Extent2I(math.ceil(self.x), math.ceil(self.y))


class Point2I(_Integer, _Point):
    """Pixel indices (x, y); from a `Point2D` the pixel that contains it."""

    __slots__ = ()

    def __init__(self, x=0, y=None):
        if isinstance(x, Point2D):
            x = (positionToIndex(x.x), positionToIndex(x.y))
        super().__init__(x, y)


class Point2D(_Real, _Point):
    """Position (x, y)."""

    __slots__ = ()
