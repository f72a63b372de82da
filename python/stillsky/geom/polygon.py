"""Simple polygons in pixel coordinates: valid regions of images."""

import numpy as np

from ..errors import DomainError, ShapeError
from .box import Box2D, Box2I
from .point import Point2D

__all__ = ["Polygon"]

_ON_EDGE = 1e-9  # pixels


class Polygon:
    """A polygon without crossing edges. Immutable.

    Parameters
    ----------
    vertices : array (n, 2), or Box2D, or Box2I
        At least three (x, y); a closing vertex equal to the first is dropped. A box becomes its four corners (an
        integer box is extended by half a pixel first).

    Notes
    -----
    Vertices are kept counter-clockwise, starting at the first one given.
    """

    __slots__ = ("_vertices",)

    def __init__(self, vertices):
        if isinstance(vertices, Box2I):
            vertices = Box2D(vertices)
        if isinstance(vertices, Box2D):
            if vertices.isEmpty:
                raise DomainError("Polygon: an empty box has no corners")
            vertices = vertices.corners
        v = np.array([tuple(p) for p in vertices], dtype=np.float64)
        if v.ndim != 2 or v.shape[1] != 2:
            raise ShapeError(f"vertices: wanted shape (n, 2), got {v.shape}")
        if len(v) > 1 and np.array_equal(v[0], v[-1]):
            v = v[:-1]
        if len(v) < 3 or not np.all(np.isfinite(v)):
            raise DomainError(f"vertices: wanted at least 3 finite ones, got {v.tolist()}")
        if _signedArea(v) < 0:
            v = np.roll(v[::-1], 1, axis=0)
        v.flags.writeable = False
        object.__setattr__(self, "_vertices", v)

    def __setattr__(self, name, value):
        raise AttributeError("Polygon is immutable")

    @property
    def vertices(self):
        """Array (n, 2), counter-clockwise, not closed, read-only."""
        return self._vertices

    @property
    def area(self):
        """Square pixels, by the shoelace formula."""
        return float(_signedArea(self._vertices))

    @property
    def center(self):
        """Centroid of the area; of the vertices if the area is zero."""
        v = self._vertices - self._vertices[0]  # near the origin, for precision
        n = np.roll(v, -1, axis=0)
        cross = v[:, 0] * n[:, 1] - n[:, 0] * v[:, 1]
        total = cross.sum()
        local = v.mean(axis=0) if total == 0 else ((v + n) * cross[:, None]).sum(axis=0) / (3.0 * total)
        return Point2D(*(local + self._vertices[0]))

    @property
    def perimeter(self):
        """Length of the boundary."""
        return float(np.hypot(*(np.roll(self._vertices, -1, axis=0) - self._vertices).T).sum())

    @property
    def bbox(self):
        """The smallest Box2D around the vertices."""
        return Box2D(self._vertices.min(axis=0).tolist(), self._vertices.max(axis=0).tolist())

    @property
    def isConvex(self):
        """Whether no corner points inwards."""
        d = np.roll(self._vertices, -1, axis=0) - self._vertices
        n = np.roll(d, -1, axis=0)
        return bool(np.all(d[:, 0] * n[:, 1] - d[:, 1] * n[:, 0] >= 0))

    def contains(self, x, y=None):
        """Which positions lie inside (even-odd rule). The boundary, within 1e-9 pixels, counts as inside.

        Parameters
        ----------
        x, y : float or array
            Positions; or one (x, y) pair as the only argument.

        Returns
        -------
        bool or ndarray of bool
        """
        if y is None:
            x, y = x
        px, py = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        inside = np.zeros(px.shape, dtype=bool)
        onEdge = np.zeros(px.shape, dtype=bool)
        for (ax, ay), (bx, by) in zip(self._vertices, np.roll(self._vertices, -1, axis=0)):
            dx, dy = bx - ax, by - ay
            if ay != by:
                crosses = (ay > py) != (by > py)
                inside ^= crosses & (px < ax + (py - ay) * (dx / dy))
            length2 = dx * dx + dy * dy
            if length2 > 0:
                t = np.clip(((px - ax) * dx + (py - ay) * dy) / length2, 0.0, 1.0)
                onEdge |= (px - ax - t * dx) ** 2 + (py - ay - t * dy) ** 2 <= _ON_EDGE**2
        result = inside | onEdge
        return bool(result) if result.ndim == 0 else result

    def __contains__(self, point):
        return bool(self.contains(point))

    def intersection(self, other):
        """What a convex polygon has in common with a box or another convex polygon; None if nothing.

        Sutherland & Hodgman 1974, Comm. ACM 17, 32. DomainError if `other` is a concave polygon, or if this one
        is concave (the result could fall apart).
        """
        clip = other if isinstance(other, Polygon) else Polygon(other)
        if not (clip.isConvex and self.isConvex):
            raise DomainError("Polygon.intersection wants convex polygons")
        points = [tuple(p) for p in self._vertices]
        for a, b in zip(clip._vertices, np.roll(clip._vertices, -1, axis=0)):
            points = _clipHalfPlane(points, a, b - a)
            if len(points) < 3:
                return None
        if abs(_signedArea(np.array(points))) == 0.0:
            return None
        return Polygon(points)

    def overlaps(self, other):
        """Whether a convex polygon and a box or convex polygon share area."""
        return self.intersection(other) is not None

    def transformed(self, function):
        """Polygon of the transformed vertices; `function(x, y)` takes and returns arrays."""
        x, y = function(self._vertices[:, 0], self._vertices[:, 1])
        return Polygon(np.column_stack([x, y]))

    def shifted(self, offset):
        """Moved by (x, y)."""
        return Polygon(self._vertices + np.array(tuple(offset), dtype=np.float64))

    def coverage(self, box):
        """Fraction of each pixel of a box that lies inside, exact; float32 array (height, width).

        By Green's theorem the area left of X is the integral of min(x, X) dy along the boundary, so each pixel is a
        difference of two of them; concave polygons need no special care. Cost: edges x pixels.
        """
        if box.isEmpty:
            return np.zeros((box.height, box.width), dtype=np.float32)
        columns = np.arange(box.minX, box.maxX + 2) - 0.5
        rows = np.arange(box.minY, box.maxY + 1) - 0.5
        left = np.zeros((box.height, box.width + 1))
        for a, b in zip(self._vertices, np.roll(self._vertices, -1, axis=0)):
            _addEdge(left, columns, rows, a, b)
        return np.clip(np.diff(left, axis=1), 0.0, 1.0).astype(np.float32)

    def __eq__(self, other):
        if not isinstance(other, Polygon):
            return NotImplemented
        return np.array_equal(self._vertices, other._vertices)

    def __hash__(self):
        return hash(self._vertices.tobytes())

    def __reduce__(self):
        return (Polygon, (self._vertices.tolist(),))

    def __repr__(self):
        return f"Polygon({self._vertices.tolist()})"


def _signedArea(v):
    d = v - v[0]
    n = np.roll(d, -1, axis=0)
    return 0.5 * float((d[:, 0] * n[:, 1] - n[:, 0] * d[:, 1]).sum())


def _clipHalfPlane(points, origin, direction):
    """The part of a polygon to the left of a directed line."""
    sides = [direction[0] * (y - origin[1]) - direction[1] * (x - origin[0]) for x, y in points]
    kept = []
    for i, (p, s) in enumerate(zip(points, sides)):
        q, t = points[i - 1], sides[i - 1]
        if (s >= 0) != (t >= 0):
            f = t / (t - s)
            kept.append((q[0] + f * (p[0] - q[0]), q[1] + f * (p[1] - q[1])))
        if s >= 0:
            kept.append(p)
    return kept


def _addEdge(left, columns, rows, a, b):
    """Add the integral of min(x, X) dy along edge a -> b, for each row and each X of `columns`."""
    if a[1] == b[1]:
        return
    y0 = np.clip(rows, *sorted((a[1], b[1])))
    y1 = np.clip(rows + 1.0, *sorted((a[1], b[1])))
    used = y1 > y0
    slope = (b[0] - a[0]) / (b[1] - a[1])
    xa = (a[0] + (y0[used] - a[1]) * slope)[:, None]
    xb = (a[0] + (y1[used] - a[1]) * slope)[:, None]
    low, high = np.minimum(xa, xb), np.maximum(xa, xb)
    cut = np.clip(columns, low, high)
    # mean of min(x, X) while x runs evenly over [low, high]: exact piece below X, then constant X
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (0.5 * (cut**2 - low**2) + (high - cut) * columns) / (high - low)
    mean = np.where(high > low, mean, np.minimum(low, columns))
    sign = 1.0 if b[1] > a[1] else -1.0
    left[used] += sign * mean * (y1 - y0)[used][:, None]
