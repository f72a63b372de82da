"""PcaPsf: basis images times smooth functions of position."""

import numpy as np

from .. import _core
from ..errors import DomainError, InvalidPsfError, ShapeError
from .base import Psf, averageCards, averageOf, checkOdd, fitStamp

__all__ = ["PcaPsf"]


def _boxOf(bbox):
    """(minX, minY, maxX, maxY), half-pixel-extended, from a box object or four numbers."""
    if hasattr(bbox, "width"):
        half = 0.5 if isinstance(bbox.minX, int | np.integer) else 0.0
        return tuple(float(v) for v in (bbox.minX - half, bbox.minY - half, bbox.maxX + half, bbox.maxY + half))
    return tuple(float(v) for v in bbox)


class PcaPsf(Psf):
    """A spatially varying empirical PSF: sum_k c_k(x, y) E_k, divided by its sum at every position.

    Parameters
    ----------
    basis : array_like, (n, height, width)
        Images E_k, odd dimensions, centred; usually a mean and principal components.
    coefficients : array_like, (n, nTerms)
        Chebyshev coefficients of c_k over ``bbox``, terms by total degree, then by increasing power of y: 1, x, y,
        x^2, xy, y^2, ... nTerms = (order + 1)(order + 2) / 2.
    bbox : `stillsky.geom.Box2I`, or (minX, minY, maxX, maxY)
        Where the polynomials live, in parent coordinates; a Box2I is extended by half a pixel, numbers are taken as
        they are.
    averagePosition : (`float`, `float`), optional
        Default: the centre of ``bbox``.

    Raises
    ------
    stillsky.ShapeError
        Shapes that do not fit.
    stillsky.InvalidPsfError
        (on evaluation) The sum at a position is not positive.
    """

    def __init__(self, basis, coefficients, bbox, averagePosition=None):
        basis = np.ascontiguousarray(basis, dtype=np.float64)
        coefficients = np.array(coefficients, dtype=np.float64)
        if basis.ndim != 3 or coefficients.ndim != 2 or len(basis) != len(coefficients) or len(basis) == 0:
            raise ShapeError(
                f"PcaPsf: wanted basis (n, height, width) and coefficients (n, nTerms), "
                f"got {basis.shape} and {coefficients.shape}"
            )
        order = int(round((np.sqrt(8 * coefficients.shape[1] + 1) - 3) / 2))
        if (order + 1) * (order + 2) // 2 != coefficients.shape[1]:
            raise ShapeError(f"PcaPsf: {coefficients.shape[1]} terms are not (order + 1)(order + 2)/2 of any order")
        checkOdd("PcaPsf", basis.shape[2], basis.shape[1])
        if not (np.all(np.isfinite(basis)) and np.all(np.isfinite(coefficients))):
            raise DomainError("PcaPsf: basis and coefficients must be finite")
        self._box = _boxOf(bbox)
        if averagePosition is None:
            averagePosition = 0.5 * (self._box[0] + self._box[2]), 0.5 * (self._box[1] + self._box[3])
        super().__init__(averagePosition)
        self._order = order
        self._basis, self._coefficients = basis, coefficients
        self._terms = _core.Chebyshev1Function2(order, self._box)
        self._sums = basis.sum(axis=(1, 2))
        for array in (self._basis, self._coefficients):
            array.setflags(write=False)

    @property
    def basis(self):
        """(n, height, width), read-only."""
        return self._basis

    @property
    def coefficients(self):
        """(n, nTerms), read-only."""
        return self._coefficients

    @property
    def order(self):
        """Order of the polynomials."""
        return self._order

    @property
    def box(self):
        """(minX, minY, maxX, maxY) of the polynomials."""
        return self._box

    def componentWeights(self, xs, ys):
        """Factors of the basis images, already divided by the sum of the image.

        Parameters
        ----------
        xs, ys : array_like, (m,)

        Returns
        -------
        weights : `numpy.ndarray`, (m, n)
        """
        xs, ys = (np.ravel(np.asarray(v, dtype=np.float64)) for v in (xs, ys))
        weights = np.asarray(self._terms.basisValues(xs, ys)) @ self._coefficients.T
        sums = weights @ self._sums
        bad = ~(sums > 0)
        if bad.any():
            k = int(np.argmax(bad))
            raise InvalidPsfError(f"PcaPsf: the PSF at ({xs[k]:g}, {ys[k]:g}) has the sum {sums[k]:g}, not positive")
        return weights / sums[:, None]

    def computeKernelImages(self, xs, ys):
        """Kernel images at many positions, about 0.5 ns per pixel and component.

        Parameters
        ----------
        xs, ys : array_like, (m,)

        Returns
        -------
        images : `numpy.ndarray`, (m, height, width)
        """
        weights = self.componentWeights(xs, ys)
        index = np.broadcast_to(np.arange(len(self._basis)), weights.shape)
        return _core.mixStamps(self._basis, index, weights, False)

    @property
    def isSpatiallyVarying(self):
        return self._order > 0

    def _kernelArray(self, x, y):
        return self.computeKernelImages([x], [y])[0]

    def _dimensionsAt(self, x, y):
        return self._basis.shape[2], self._basis.shape[1]

    def resized(self, width, height):
        checkOdd("PcaPsf.resized", width, height)
        # Stamp by stamp without normalising: the sum is divided out at every position anyway.
        basis = [fitStamp(b, width, height, normalise=False) for b in self._basis]
        return PcaPsf(np.array(basis), self._coefficients, self._box, self._average)

    def persist(self):
        header = {**dict(zip(("MINX", "MINY", "MAXX", "MAXY"), self._box)), **averageCards(self)}
        return "PcaPsf", header, {"basis": self._basis, "coeffs": self._coefficients}

    @classmethod
    def _restore(cls, header, arrays):
        box = tuple(float(header[key]) for key in ("MINX", "MINY", "MAXX", "MAXY"))
        return cls(arrays["basis"], arrays["coeffs"], box, averageOf(header))

    def __repr__(self):
        n, height, width = self._basis.shape
        return f"PcaPsf({n} components of {width} x {height} pixels, order {self._order})"
