"""Image: one plane of numbers."""

import numpy as np

from ..errors import DomainError
from ..geom import Box2I
from .plane import Plane

__all__ = ["Image"]

_DTYPES = tuple(np.dtype(t) for t in (np.float32, np.float64, np.int32, np.uint16, np.uint64))


class Image(Plane):
    """A borrowed 2-D array of float32, float64, int32, uint16 or uint64 with an origin.

    Parameters
    ----------
    array : `numpy.ndarray`, (height, width)
        Shared, not copied, when its dtype is one of the above in native byte order; other numbers become float32 or
        float64. Another `Image` gives a shallow view.
    xy0 : (x, y)
        Parent coordinates of the first pixel.

    Notes
    -----
    Arithmetic is in place (``+= -= *= /=``) and follows IEEE rules for NaN. Planes with different ``xy0`` raise
    ShapeError unless a ``scaled...`` method is told to ignore it; see `Plane` for indexing.
    """

    @staticmethod
    def _accept(array):
        if array.dtype in _DTYPES and array.dtype.isnative:
            return array
        if array.dtype.kind not in "biuf":
            raise DomainError(f"Image: wanted numbers, got dtype {array.dtype}")
        return array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)

    @classmethod
    def zeros(cls, box, dtype=np.float32, fill=0):
        """Image over a box, filled with one value."""
        if not isinstance(box, Box2I):
            box = Box2I((0, 0), box)
        return cls(np.full(box.shape, fill, dtype), box.min)

    def convert(self, dtype):
        """Copy with another pixel type."""
        return Image(self.array.astype(dtype), self.xy0)

    def _operand(self, other, ignoreXY0=False):
        """Values to combine with: a number, an image of the same box, or a function of the parent position."""
        if isinstance(other, Plane):
            self._requireSame(other, ignoreXY0)
            return other.array
        if np.isscalar(other):
            return other
        if isinstance(other, np.ndarray):
            self._requireSame(Image(other, self.xy0))
            return other
        if callable(other):
            return self._evaluated(other)
        raise TypeError(f"Image: cannot combine with {type(other).__name__}")

    def _evaluated(self, function):
        x = np.arange(self.bbox.minX, self.bbox.maxX + 1, dtype=float)
        y = np.arange(self.bbox.minY, self.bbox.maxY + 1, dtype=float)
        return np.broadcast_to(np.asarray(function(x[None, :], y[:, None])), self.array.shape)

    def _combine(self, ufunc, values):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ufunc(self._array, values, out=self._array, casting="same_kind")
        return self

    def __iadd__(self, other):
        return self._combine(np.add, self._operand(other))

    def __isub__(self, other):
        return self._combine(np.subtract, self._operand(other))

    def __imul__(self, other):
        return self._combine(np.multiply, self._operand(other))

    def __itruediv__(self, other):
        return self._combine(np.true_divide, self._operand(other))

    def scaledPlus(self, c, other, *, ignoreXY0=False):
        """self + c other, in place; ``ignoreXY0`` combines equal dimensions of different places."""
        return self._combine(np.add, c * self._operand(other, ignoreXY0))

    def scaledMinus(self, c, other, *, ignoreXY0=False):
        """self - c other, in place."""
        return self._combine(np.subtract, c * self._operand(other, ignoreXY0))

    def scaledMultiplies(self, c, other, *, ignoreXY0=False):
        """self (c other), in place."""
        return self._combine(np.multiply, c * self._operand(other, ignoreXY0))

    def scaledDivides(self, c, other, *, ignoreXY0=False):
        """self / (c other), in place."""
        return self._combine(np.true_divide, c * self._operand(other, ignoreXY0))

    def filled(self, value=0.0):
        """Copy with ``value`` in place of pixels that are not finite."""
        out = self.copy()
        out.array[~np.isfinite(out.array)] = value
        return out

    def writeFits(self, path, **options):
        """See `stillsky.fits.writeImage`."""
        from ..fits import writeImage

        writeImage(self, path, **options)

    @classmethod
    def readFits(cls, path, **options):
        """See `stillsky.fits.readImage`."""
        from ..fits import readImage

        return readImage(path, **options)

    def _repr_html_(self):
        from .html import imageTable

        return imageTable(self)
