"""Chebyshev polynomials through the cells of a background."""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.chebyshev import chebvander

from ..errors import DomainError, NoDataError

__all__ = ["ApproximateControl", "ChebyshevApproximation"]

_BAND = 256  # rows evaluated at a time


@dataclass(frozen=True)
class ApproximateControl:
    """Orders of a Chebyshev approximation in x and y (default: the same), and whether cells weigh 1/variance."""

    orderX: int
    orderY: int = -1
    weighting: bool = True

    def __post_init__(self):
        if self.orderY < 0:
            object.__setattr__(self, "orderY", self.orderX)
        if self.orderX < 0:
            raise DomainError(f"orderX: wanted an order >= 0, got {self.orderX}")

    @property
    def terms(self):
        """(i, j) of the terms T_i(x) T_j(y): i <= orderX, j <= orderY, i + j <= the larger order."""
        top = max(self.orderX, self.orderY)
        return [(i, j) for j in range(self.orderY + 1) for i in range(self.orderX + 1) if i + j <= top]


def _weights(variances):
    """1/variance; cells without a usable variance count like the worst, cells of zero variance like the best."""
    good = np.isfinite(variances) & (variances > 0)
    if not good.any():
        return np.ones_like(variances)
    usable = np.where(variances == 0, variances[good].min(), np.where(good, variances, variances[good].max()))
    return 1 / usable


class ChebyshevApproximation:
    """Least-squares Chebyshev polynomial of the finite cells, evaluated anywhere in the image.

    Parameters
    ----------
    values, variances : array of shape (ny, nx)
        Cells; those that are not finite are left out.
    xCentres, yCentres : array
        Cell centres in local pixel coordinates.
    dimensions : tuple of int
        Width and height of the image: its half-pixel-extended box maps to [-1, 1].
    control : ApproximateControl

    Raises
    ------
    NoDataError
        No cell is finite.
    DomainError
        An order is not below the number of cells along its axis, or there are fewer finite cells than terms.
    """

    def __init__(self, values, variances, xCentres, yCentres, dimensions, control):
        ny, nx = values.shape
        if control.orderX >= nx or control.orderY >= ny:
            raise DomainError(
                f"approximation: orders ({control.orderX}, {control.orderY}) need more than {nx}x{ny} cells"
            )
        finite = np.isfinite(values)
        if not finite.any():
            raise NoDataError("approximation: no cell of the background has a value")
        terms = control.terms
        if finite.sum() < len(terms):
            raise DomainError(f"approximation: {len(terms)} terms but only {finite.sum()} cells with a value")
        self.control, self.dimensions = control, tuple(dimensions)
        tx, ty = self._basis(xCentres, 0), self._basis(yCentres, 1)
        design = np.stack([np.outer(ty[:, j], tx[:, i])[finite] for i, j in terms], axis=1)
        root = np.sqrt(_weights(variances[finite])) if control.weighting else np.ones(len(design))
        solution = np.linalg.lstsq(design * root[:, np.newaxis], values[finite] * root, rcond=None)[0]
        self.coefficients = np.zeros((control.orderY + 1, control.orderX + 1))
        """Coefficient [j, i] of T_j(y) T_i(x)."""
        for (i, j), value in zip(terms, solution, strict=True):
            self.coefficients[j, i] = value

    def _basis(self, at, axis):
        size = self.dimensions[axis]
        order = self.control.orderY if axis else self.control.orderX
        return chebvander((np.asarray(at, dtype=np.float64) - 0.5 * (size - 1)) / (0.5 * size), order)

    def fill(self, x0, y0, out):
        """Write the values of the box whose first pixel is local (x0, y0) and which has the shape of ``out``."""
        rows = self.coefficients @ self._basis(np.arange(x0, x0 + out.shape[1]), 0).T
        ty = self._basis(np.arange(y0, y0 + out.shape[0]), 1)
        for y in range(0, out.shape[0], _BAND):
            out[y : y + _BAND] = ty[y : y + _BAND] @ rows
        return out
