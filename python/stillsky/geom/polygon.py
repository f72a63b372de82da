"""Simple polygons in pixel coordinates."""

import numpy as np

from ..errors import DomainError
from .box import Box2D
from .point import Point2D

__all__ = ["Polygon"]


class Polygon:
    """A simple polygon; the last vertex is joined to the first.

    Parameters
    ----------
    vertices : `Box2D` or array_like, (n, 2), n >= 3
    """

    def __init__(self, vertices):
        if isinstance(vertices, Box2D):
            vertices = [tuple(corner) for corner in vertices.corners]
        self._vertices = np.array([tuple(v) for v in vertices], float).reshape(-1, 2)
        if len(self._vertices) < 3 or not np.all(np.isfinite(self._vertices)):
            raise DomainError(f"Polygon: wanted at least three finite vertices, got {len(self._vertices)}")
        self._vertices.flags.writeable = False

    @property
    def vertices(self):
        return self._vertices

    def contains(self, points):
        """Even-odd rule; points within 1e-9 of the boundary count as inside.

        Parameters
        ----------
        points : (x, y)
            Numbers or arrays.
        """
        x, y = np.broadcast_arrays(*(np.asarray(v, float) for v in points))
        inside = np.zeros(x.shape, bool)
        boundary = np.zeros(x.shape, bool)
        for (x0, y0), (x1, y1) in zip(self._vertices, np.roll(self._vertices, -1, axis=0)):
            crosses = (y0 > y) != (y1 > y)
            with np.errstate(divide="ignore", invalid="ignore"):
                inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
            length2 = (x1 - x0) ** 2 + (y1 - y0) ** 2
            t = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / (length2 or 1.0), 0, 1)
            boundary |= np.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0)) < 1e-9
        result = inside | boundary
        return bool(result) if result.ndim == 0 else result

    @property
    def _signedArea(self):
        x, y = self._vertices.T
        return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))

    @property
    def area(self):
        return abs(self._signedArea)

    @property
    def center(self):
        """Centre of mass of the area."""
        x, y = self._vertices.T
        cross = x * np.roll(y, -1) - np.roll(x, -1) * y
        total = np.sum(cross)
        if total == 0:
            return Point2D(float(x.mean()), float(y.mean()))
        return Point2D(
            float(np.sum((x + np.roll(x, -1)) * cross) / (3 * total)),
            float(np.sum((y + np.roll(y, -1)) * cross) / (3 * total)),
        )

    @property
    def bbox(self):
        return Box2D(tuple(self._vertices.min(axis=0)), tuple(self._vertices.max(axis=0)))

    def transformed(self, function):
        """Vertices mapped by ``function(x, y) -> (x, y)`` on arrays."""
        return Polygon(np.column_stack(function(*self._vertices.T)))

    def intersection(self, box):
        """The part inside a `Box2D`, for a convex polygon; None when nothing is left (Sutherland & Hodgman 1974)."""
        points = [tuple(v) for v in self._vertices]
        for axis, bound, sign in ((0, box.minX, 1), (0, box.maxX, -1), (1, box.minY, 1), (1, box.maxY, -1)):
            points = _clipped(points, axis, bound, sign)
            if len(points) < 3:
                return None
        result = Polygon(points)
        return result if result.area > 0 else None

    def coverage(self, box, subsamples=4):
        """Fraction of each pixel of a `Box2I` inside the polygon, by 4 x 4 samples a pixel; shape (height, width)."""
        offset = (np.arange(subsamples) + 0.5) / subsamples - 0.5
        x = (box.minX + np.arange(box.width)[:, None] + offset).ravel()
        y = (box.minY + np.arange(box.height)[:, None] + offset).ravel()
        inside = self.contains((x[None, :], y[:, None]))
        return inside.reshape(box.height, subsamples, box.width, subsamples).mean(axis=(1, 3))

    def __eq__(self, other):
        return np.array_equal(self._vertices, other._vertices) if isinstance(other, Polygon) else NotImplemented

    def __hash__(self):
        return hash(self._vertices.tobytes())

    def __repr__(self):
        return f"Polygon({self._vertices.tolist()})"

    def __reduce__(self):
        return Polygon, (self._vertices.tolist(),)


def _clipped(points, axis, bound, sign):
    result = []
    for start, end in zip(points, points[1:] + points[:1]):
        inStart, inEnd = sign * (start[axis] - bound) >= 0, sign * (end[axis] - bound) >= 0
        if inStart:
            result.append(start)
        if inStart != inEnd:
            t = (bound - start[axis]) / (end[axis] - start[axis])
            result.append(tuple(s + t * (e - s) for s, e in zip(start, end)))
    return result
