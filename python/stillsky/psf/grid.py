"""ImageGridPsf: stamps at the nodes of a rectangular grid."""

import numpy as np

from .. import _core
from ..errors import DomainError, ShapeError
from .base import Psf, averageCards, averageOf, checkOdd, fitStamp, normalised

__all__ = ["ImageGridPsf"]


class ImageGridPsf(Psf):
    """Stamps at the nodes of a rectangular grid, mixed with bilinear weights; outside the grid its nearest edge.

    Parameters
    ----------
    stamps : array_like, (ny, nx, height, width)
        One image per node, odd dimensions, centred; each is divided by its sum.
    xs, ys : array_like, (nx,) and (ny,)
        Node coordinates, parent, strictly increasing.
    averagePosition : (`float`, `float`), optional
        Default: the centre of the grid.
    normalise : `bool`
        Divide each stamp by its sum. Otherwise the sums weigh the stamps; the mixture has unit sum in any case.
    """

    def __init__(self, stamps, xs, ys, averagePosition=None, *, normalise=True):
        stamps = np.array(stamps, dtype=np.float64, order="C")  # mixed as one stack
        xs, ys = (np.array(v, dtype=np.float64) for v in (xs, ys))
        if stamps.ndim != 4 or xs.ndim != 1 or ys.ndim != 1 or stamps.shape[:2] != (len(ys), len(xs)) or not len(xs):
            raise ShapeError(
                f"ImageGridPsf: wanted stamps (ny, nx, height, width) with xs (nx,) and ys (ny,), "
                f"got {stamps.shape}, {xs.shape}, {ys.shape}"
            )
        checkOdd("ImageGridPsf", stamps.shape[3], stamps.shape[2])
        if not (np.all(np.diff(xs) > 0) and np.all(np.diff(ys) > 0)):
            raise DomainError("ImageGridPsf: xs and ys must be strictly increasing")
        for j, i in np.ndindex(*stamps.shape[:2]):
            stamps[j, i] = normalised(stamps[j, i]) if normalise else stamps[j, i]
        if averagePosition is None:
            averagePosition = 0.5 * (xs[0] + xs[-1]), 0.5 * (ys[0] + ys[-1])
        super().__init__(averagePosition)
        self._stamps, self._xs, self._ys = stamps, xs, ys

    @staticmethod
    def _mix(nodes, values):
        """Index of the lower node and weight of the upper one."""
        if len(nodes) == 1:
            return np.zeros(len(values), int), np.zeros(len(values))
        values = np.clip(values, nodes[0], nodes[-1])
        low = np.clip(np.searchsorted(nodes, values, side="right") - 1, 0, len(nodes) - 2)
        return low, (values - nodes[low]) / (nodes[low + 1] - nodes[low])

    def computeKernelImages(self, xs, ys):
        i, u = self._mix(self._xs, np.ravel(np.asarray(xs, dtype=float)))
        j, v = self._mix(self._ys, np.ravel(np.asarray(ys, dtype=float)))
        nx, ny = len(self._xs), len(self._ys)
        i1, j1 = np.minimum(i + 1, nx - 1), np.minimum(j + 1, ny - 1)
        index = np.stack([j * nx + i, j * nx + i1, j1 * nx + i, j1 * nx + i1], axis=1)
        weights = np.stack([(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u], axis=1)
        return _core.mixStamps(self._stamps.reshape(-1, *self._stamps.shape[2:]), index, weights, True)

    @property
    def isSpatiallyVarying(self):
        return self._stamps.shape[:2] != (1, 1)

    def _kernelArray(self, x, y):
        return self.computeKernelImages([x], [y])[0]

    def _dimensionsAt(self, x, y):
        return self._stamps.shape[3], self._stamps.shape[2]

    def resized(self, width, height):
        checkOdd("ImageGridPsf.resized", width, height)
        # The parts of the stamps keep their weights, so that a cut mixture is the mixture of the cuts.
        stamps = [[fitStamp(stamp, width, height, normalise=False) for stamp in row] for row in self._stamps]
        return ImageGridPsf(stamps, self._xs, self._ys, self._average, normalise=False)

    def persist(self):
        return "ImageGridPsf", averageCards(self), {"stamps": self._stamps, "xs": self._xs, "ys": self._ys}

    @classmethod
    def _restore(cls, header, arrays):
        return cls(arrays["stamps"], arrays["xs"], arrays["ys"], averageOf(header), normalise=False)
