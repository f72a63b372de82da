"""Affine maps of the plane."""

import numpy as np

from ..errors import NumericalError
from .point import Extent2D, Extent2I, Point2D

__all__ = ["AffineTransform"]


class AffineTransform:
    """p -> M p + t.

    Parameters
    ----------
    matrix : array_like, (2, 2)
    translation : (x, y)
    """

    def __init__(self, matrix=((1, 0), (0, 1)), translation=(0, 0)):
        self._matrix = np.array(matrix, float).reshape(2, 2)
        self._translation = np.array(tuple(translation), float)
        self._matrix.flags.writeable = self._translation.flags.writeable = False

    @property
    def matrix(self):
        """Linear part, read-only array (2, 2)."""
        return self._matrix

    @property
    def translation(self):
        """Image of the origin, read-only array (2,)."""
        return self._translation

    @property
    def determinant(self):
        """Area of the image of a unit square, signed."""
        (a, b), (c, d) = self._matrix
        return float(a * d - b * c)

    def __call__(self, x, y):
        """Arrays in, arrays out."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        (a, b), (c, d) = self._matrix
        return a * x + b * y + self._translation[0], c * x + d * y + self._translation[1]

    def apply(self, other):
        """Image of a point, or of an extent (without the translation)."""
        moved = self._matrix @ np.array(tuple(other), float)
        return Extent2D(*moved) if isinstance(other, (Extent2D, Extent2I)) else Point2D(*(moved + self._translation))

    def inverse(self):
        """The map back; NumericalError if the matrix is singular."""
        if self.determinant == 0 or not np.isfinite(self.determinant):
            raise NumericalError(f"AffineTransform.inverse: the matrix is singular: {self._matrix.tolist()}")
        inverse = np.linalg.inv(self._matrix)
        return AffineTransform(inverse, -inverse @ self._translation)

    def compose(self, first):
        """The map that applies ``first``, then this one."""
        return AffineTransform(self._matrix @ first._matrix, self._matrix @ first._translation + self._translation)

    def isIdentity(self, tolerance=0.0):
        """Whether no coefficient differs from those of the identity by more than a tolerance."""
        return bool(
            np.all(np.abs(self._matrix - np.eye(2)) <= tolerance) and np.all(np.abs(self._translation) <= tolerance)
        )

    def __eq__(self, other):
        if not isinstance(other, AffineTransform):
            return NotImplemented
        return np.array_equal(self._matrix, other._matrix) and np.array_equal(self._translation, other._translation)

    def __hash__(self):
        return hash((self._matrix.tobytes(), self._translation.tobytes()))

    def __repr__(self):
        return f"AffineTransform({self._matrix.tolist()}, {self._translation.tolist()})"

    def __reduce__(self):
        return AffineTransform, (self._matrix.tolist(), self._translation.tolist())
