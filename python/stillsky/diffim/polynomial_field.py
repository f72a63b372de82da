"""Polynomials over an image, evaluated where they are needed: as products of values on rows and on columns."""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev

__all__ = ["Background", "chebyshevBackground"]


@dataclass
class Background:
    """Chebyshev polynomial over an image, to be evaluated piece by piece.

    Attributes
    ----------
    coefficients : `numpy.ndarray`, (ny, nx)
        Of T_i(v) T_j(u).
    shape : (`int`, `int`)
        Of the image.
    """

    coefficients: np.ndarray
    shape: tuple

    def over(self, rows, columns):
        """Values (rows, columns) float64 at local row and column indices, which may lie outside the image."""
        v, u = (2 * (np.clip(k, 0, n - 1) - 0.5 * (n - 1)) / n for k, n in zip((rows, columns), self.shape))
        ny, nx = self.coefficients.shape
        return (chebyshev.chebvander(v, ny - 1) @ self.coefficients) @ chebyshev.chebvander(u, nx - 1).T

    def bands(self, n=64):
        """Slices of n rows and the values there, (rows, width) float64, over the whole image."""
        height, width = self.shape
        columns = np.arange(width)
        for start in range(0, height, n):
            rows = slice(start, min(start + n, height))
            yield rows, self.over(np.arange(rows.start, rows.stop), columns)

    @property
    def parameters(self):
        """In the order of `stillsky.kernel.Chebyshev1Function2`: by total degree, then by increasing power of y."""
        order = max(self.coefficients.shape) - 1
        return [self.coefficients[b, d - b] for d in range(order + 1) for b in range(d + 1)]


def chebyshevBackground(function, bbox, unit=1.0):
    """A spatial function of polynomial kind as a `Background` over a box, multiplied by a unit.

    Parameters
    ----------
    function : `stillsky.kernel.Function2`
        In parent coordinates.
    bbox : `stillsky.geom.Box2I`
    unit : `float`

    Returns
    -------
    background : `Background`
        The same polynomial, exactly: sampled at more points than it has terms, and fitted.
    """
    n = function.order + 1
    nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    v, u = (nodes * 0.5 * size for size in (bbox.height, bbox.width))
    ys, xs = np.meshgrid(v + bbox.minY + 0.5 * (bbox.height - 1), u + bbox.minX + 0.5 * (bbox.width - 1), indexing="ij")
    values = np.asarray(function.basisValues(xs.ravel(), ys.ravel())) @ np.asarray(function.parameters)
    design = chebyshev.chebvander(nodes, n - 1)
    inverse = np.linalg.inv(design)
    coefficients = inverse @ values.reshape(n, n) @ inverse.T
    return Background(unit * coefficients, (bbox.height, bbox.width))
