"""Pixels of one image to pixels of another through the sky."""

import numpy as np

from ..geom import AffineTransform

__all__ = ["PixelTransform", "pairTransform"]


class PixelTransform:
    """Parent pixels of one WCS to those of another; NaN where a position cannot be projected."""

    def __init__(self, wcsFrom, wcsTo):
        self.wcsFrom, self.wcsTo = wcsFrom, wcsTo

    def __call__(self, x, y):
        """Arrays in, arrays out."""
        return self.wcsTo.skyToPixel(*self.wcsFrom.pixelToSky(x, y))

    def inverse(self):
        """The transform back."""
        return PixelTransform(self.wcsTo, self.wcsFrom)

    def linearized(self, point):
        """Affine map that agrees at a point in value and derivative (central differences over one pixel)."""
        return affineAt(self, point)

    def __eq__(self, other):
        if not isinstance(other, PixelTransform):
            return NotImplemented
        return self.wcsFrom == other.wcsFrom and self.wcsTo == other.wcsTo

    def __hash__(self):
        return hash((self.wcsFrom, self.wcsTo))

    def __reduce__(self):
        return PixelTransform, (self.wcsFrom, self.wcsTo)

    def __repr__(self):
        return f"PixelTransform({self.wcsFrom!r}, {self.wcsTo!r})"


def pairTransform(wcsFrom, wcsTo):
    """The `PixelTransform` between two WCS."""
    return PixelTransform(wcsFrom, wcsTo)


def affineAt(function, point):
    """Affine map with the value of ``function(x, y)`` at a point and its central differences over one pixel."""
    x, y = (float(v) for v in point)
    u, v = (np.asarray(w) for w in function(x + np.array([0, -0.5, 0.5, 0, 0]), y + np.array([0, 0, 0, -0.5, 0.5])))
    matrix = np.array([[u[2] - u[1], u[4] - u[3]], [v[2] - v[1], v[4] - v[3]]])
    return AffineTransform(matrix, np.array([u[0], v[0]]) - matrix @ np.array([x, y]))
