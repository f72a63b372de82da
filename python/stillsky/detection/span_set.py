"""Regions of pixels as runs along rows."""

import numpy as np

from .. import _core, errors
from .boxes import bitsOf, boxOf, boxTuple, originOf


class SpanSet:
    """An immutable set of pixels, stored as spans (y, x0, x1) with x0 and x1 both inside.

    Spans are sorted by (y, x0); touching and overlapping ones of a row are merged. Coordinates are PARENT and may be
    negative.

    Parameters
    ----------
    spans : array_like, shape (n, 3), or iterable of (y, x0, x1)
        In any order; empty ones (x1 < x0) are dropped.
    """

    __slots__ = ("_core",)

    def __init__(self, spans=()):
        array = np.asarray(list(spans) if not isinstance(spans, np.ndarray) else spans)
        if array.size == 0:
            array = np.empty((0, 3), np.int32)
        if array.dtype.kind not in "iu":
            raise TypeError(f"spans: wanted integers, got {array.dtype}")
        self._core = _core.SpanSet(array.astype(np.int32))

    @classmethod
    def _wrap(cls, core):
        out = cls.__new__(cls)
        out._core = core
        return out

    @classmethod
    def fromBox(cls, box):
        """All pixels of a `Box2I`."""
        return cls._wrap(_core.SpanSet.fromBox(boxTuple(box)))

    @classmethod
    def fromShape(cls, radius, stencil="circle", offset=(0, 0)):
        """A structuring element: "circle" (x² + y² <= r²), "box" or "manhattan" of an integer radius around `offset`.

        Raises
        ------
        DomainError
            Negative radius or unknown stencil.
        """
        return cls._wrap(_core.SpanSet.fromShape(int(radius), stencil, (int(offset[0]), int(offset[1]))))

    @classmethod
    def fromMask(cls, mask, planes=~(1 << 31), xy0=None):
        """Pixels with any of the planes: a bit mask, or names if `mask` is a `Mask`."""
        array = np.ascontiguousarray(getattr(mask, "array", mask), np.int32)
        return cls._wrap(_core.SpanSet.fromMask(array, bitsOf(mask, planes), originOf(mask, xy0)))

    @classmethod
    def fromBool(cls, array, xy0=(0, 0)):
        """Pixels that are true, the first one at parent coordinates `xy0`."""
        return cls._wrap(_core.SpanSet.fromBool(np.ascontiguousarray(array, bool).view(np.uint8), originOf(None, xy0)))

    @classmethod
    def fromPolygon(cls, polygon):
        """Pixels whose centres lie inside a `Polygon`, or inside a list of (x, y) vertices (even-odd rule)."""
        vertices = getattr(polygon, "vertices", polygon)
        return cls._wrap(_core.SpanSet.fromPolygon([(float(x), float(y)) for x, y in vertices]))

    @classmethod
    def fromEllipse(cls, a, b, theta, center):
        """Pixel centres inside the ellipse of semi-axes a and b, a at `theta` radians from +x; border included."""
        return cls._wrap(_core.SpanSet.fromEllipse(a, b, theta, *(float(v) for v in center)))

    # -- properties

    @property
    def spans(self):
        """The spans as an int32 array of shape (n, 3): y, x0, x1."""
        return self._core.spans

    @property
    def area(self):
        """Number of pixels."""
        return self._core.area

    @property
    def bbox(self):
        """Smallest `Box2I` around the pixels; the empty box for the empty set."""
        return boxOf(self._core.bbox)

    @property
    def centroid(self):
        """Mean pixel position (x, y); NaN for the empty set."""
        return self._core.centroid

    @property
    def shape(self):
        """Second central moments (xx, yy, xy) of the pixel centres; NaN for the empty set."""
        return tuple(self._core.shape)

    @property
    def x(self):
        """Column of every pixel, in span order (y, then x); with `y` it indexes arrays."""
        s = self._core.spans
        widths = s[:, 2] - s[:, 1] + 1
        starts = np.repeat(s[:, 1] - np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.int64), widths)
        return starts + np.arange(len(starts))

    @property
    def y(self):
        """Row of every pixel, in span order."""
        s = self._core.spans
        return np.repeat(s[:, 0].astype(np.int64), s[:, 2] - s[:, 1] + 1)

    def __len__(self):
        return len(self._core)

    def __iter__(self):
        return iter([tuple(int(v) for v in span) for span in self._core.spans])

    def __bool__(self):
        return len(self._core) > 0

    def __eq__(self, other):
        return self._core == other._core if isinstance(other, SpanSet) else NotImplemented

    def __hash__(self):
        return hash(self._core.spans.tobytes())

    def __repr__(self):
        return f"SpanSet({len(self)} spans, {self.area} pixels)"

    def __reduce__(self):
        return SpanSet, (self._core.spans,)

    # -- questions

    def contains(self, other):
        """Whether a pixel (x, y), or every pixel of another set, is inside. The empty set is inside every set."""
        if isinstance(other, SpanSet):
            return self._core.contains(other._core)
        x, y = other
        return self._core.containsPoint(int(np.floor(x + 0.5)), int(np.floor(y + 0.5)))

    def __contains__(self, point):
        return self.contains(point)

    def overlaps(self, other):
        """Whether any pixel is in both sets."""
        return self._core.overlaps(other._core)

    def isContiguous(self, connectivity=8):
        """Whether there is at most one connected part; connectivity 4 or 8."""
        return self._core.isContiguous(int(connectivity))

    def split(self, connectivity=8):
        """List of connected parts in the order of their first spans; connectivity 4 or 8."""
        return [self._wrap(part) for part in self._core.split(int(connectivity))]

    # -- algebra

    def _other(self, other, bits):
        if isinstance(other, SpanSet):
            return other._core
        if bits is None:
            raise TypeError(f"wanted a SpanSet, or a mask with planes, got {type(other).__name__}")
        return SpanSet.fromMask(other, bits)._core

    def union(self, other, planes=None):
        """Pixels of either set; `other` may be a mask with `planes`."""
        return self._wrap(self._core.union(self._other(other, planes)))

    def intersect(self, other, planes=None):
        """Pixels of both sets; `other` may be a mask with `planes`."""
        return self._wrap(self._core.intersect(self._other(other, planes)))

    def difference(self, other, planes=None):
        """Pixels that are not in `other`, which may be a mask with `planes`."""
        return self._wrap(self._core.difference(self._other(other, planes)))

    def symmetricDifference(self, other, planes=None):
        """Pixels of exactly one of the sets; `other` may be a mask with `planes`."""
        return self._wrap(self._core.symmetricDifference(self._other(other, planes)))

    __or__ = union
    __and__ = intersect
    __sub__ = difference
    __xor__ = symmetricDifference

    def dilated(self, radius, stencil="circle"):
        """Minkowski sum with a stencil of the given radius, or with another SpanSet."""
        return self._wrap(self._core.dilated(_element(radius, stencil)))

    def eroded(self, radius, stencil="circle"):
        """Pixels at which the whole stencil (radius and name, or a SpanSet) fits inside."""
        return self._wrap(self._core.eroded(_element(radius, stencil)))

    def shifted(self, dx, dy):
        """The set moved by whole pixels."""
        return self._wrap(self._core.shifted(int(dx), int(dy)))

    def clipped(self, box):
        """The part inside a `Box2I`."""
        return self._wrap(self._core.clipped(boxTuple(box)))

    def transformed(self, forward, inverse=None):
        """Pixels whose centre, mapped back and rounded, is in this set.

        Parameters
        ----------
        forward : callable ``(x, y) -> (x, y)`` or an object with ``inverted()``, such as `AffineTransform`
            From this set to the result.
        inverse : callable, optional
            The inverse map; needed if `forward` cannot give it.
        """
        if inverse is None:
            inverted = getattr(forward, "inverted", None)
            if inverted is None:
                raise TypeError("transformed: wanted the inverse map too, or an object with inverted()")
            inverse = inverted() if callable(inverted) else inverted
        return self._wrap(self._core.transformed(_pointMap(forward), _pointMap(inverse)))

    def edgePixels(self):
        """Pixels with at least one of the four neighbours outside the set."""
        return self._wrap(self._core.edgePixels())

    # -- pixels

    def setMask(self, mask, planes, xy0=None):
        """Set bits (a number, or plane names of a `Mask`) in place; OutOfBoundsError unless the mask covers the set."""
        self._core.setMask(_array(mask), bitsOf(mask, planes), originOf(mask, xy0))

    def clearMask(self, mask, planes, xy0=None):
        """Clear bits in place; OutOfBoundsError unless the mask covers the set."""
        self._core.clearMask(_array(mask), bitsOf(mask, planes), originOf(mask, xy0))

    def setImage(self, image, value, xy0=None, clip=False):
        """Assign a value in place (float32, float64 or int32 pixels); pixels outside need `clip`."""
        self._core.setImage(_array(image), float(value), originOf(image, xy0), bool(clip))

    def flatten(self, image, xy0=None):
        """Pixel values in span order as a 1-D array of the image's dtype."""
        return self._core.flatten(_array(image), originOf(image, xy0))

    def unflatten(self, values, image, xy0=None):
        """Write one value per pixel, in span order, into an image; ShapeError for another number of values."""
        self._core.unflatten(_array(image), np.asarray(values), originOf(image, xy0))
        return image

    def toBool(self, box):
        """Boolean array of a `Box2I`; the set is clipped to it."""
        x0, y0, width, height = boxTuple(box)
        out = np.zeros((height, width), np.int32)
        self._core.clipped((x0, y0, width, height)).setMask(out, 1, (x0, y0))
        return out.astype(bool)


def growMask(mask, planes, radius, stencil="circle"):
    """Grow mask planes in place: each of them is set within `radius` pixels of every pixel that has it.

    Parameters
    ----------
    mask : `Mask` or int32 array
    planes : int, str or list of str
        Bits, or names if `mask` is a `Mask`.
    radius : int
        Pixels.
    stencil : {"circle", "box", "manhattan"}
    """
    _core.growMask(_array(mask), bitsOf(mask, planes), int(radius), stencil)


def _element(radius, stencil):
    if isinstance(radius, SpanSet):
        return radius._core
    if radius != int(radius):
        raise errors.DomainError(f"radius: wanted a whole number of pixels, got {radius}")
    return _core.SpanSet.fromShape(int(radius), stencil, (0, 0))


def _array(image):
    return np.asarray(getattr(image, "array", image))


def _pointMap(function):
    def apply(x, y):
        try:
            u, v = function(x, y)
        except TypeError:  # maps of points rather than of two coordinates
            u, v = function((x, y))
        return float(u), float(v)

    return apply
