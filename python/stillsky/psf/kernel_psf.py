"""KernelPsf: pixels, or any kernel, as a PSF."""

import numpy as np

from .. import _core
from ..errors import ShapeError, StillskyError
from .base import Psf, averageCards, averageOf, checkOdd, fitStamp, normalised

__all__ = ["KernelPsf"]


def _stampOf(array, name):
    array = np.asarray(array, dtype=np.float64)
    if array.ndim != 2:
        raise ShapeError(f"{name}: wanted a 2-D array, got {array.ndim} dimensions")
    checkOdd(name, array.shape[1], array.shape[0])
    if not np.all(np.isfinite(array)):
        raise StillskyError(f"{name}: the pixels must be finite, {np.sum(~np.isfinite(array))} are not")
    return array


class KernelPsf(Psf):
    """A PSF made of pixels or of a convolution kernel.

    Parameters
    ----------
    kernel : `numpy.ndarray`, `stillsky.image.Image` or `stillsky.kernel.Kernel`
        Pixels (odd dimensions, star in the centre; the sum need not be 1), or a kernel, whose spatial functions make
        the PSF vary.
    averagePosition : (`float`, `float`)
    """

    def __init__(self, kernel, averagePosition=(0.0, 0.0)):
        super().__init__(averagePosition)
        if isinstance(kernel, _core.Kernel):
            checkOdd("KernelPsf", kernel.width, kernel.height)
            self._kernelObject = kernel.clone() if kernel.isSpatiallyVarying else None
            if not kernel.isSpatiallyVarying:
                kernel = kernel.imageAt(0.0, 0.0)
        else:
            self._kernelObject = None
            kernel = getattr(kernel, "array", kernel)
        self._pixels = None if self._kernelObject is not None else normalised(_stampOf(kernel, "KernelPsf"))

    @property
    def kernel(self):
        """The kernel: a copy of the spatially varying one, or a FixedKernel of the pixels."""
        if self._kernelObject is not None:
            return self._kernelObject.clone()
        return _core.FixedKernel(np.array(self._pixels))

    @property
    def isSpatiallyVarying(self):
        return self._kernelObject is not None

    def _kernelArray(self, x, y):
        if self._pixels is not None:
            return self._pixels
        return normalised(np.asarray(self._kernelObject.imageAt(x, y)))

    def _kernel(self, x, y):
        return super()._kernel(x, y) if self._pixels is None else super()._kernel(0.0, 0.0)

    def _shape(self, x, y):
        return super()._shape(x, y) if self._pixels is None else super()._shape(0.0, 0.0)

    def _dimensionsAt(self, x, y):
        if self._pixels is not None:
            return self._pixels.shape[1], self._pixels.shape[0]
        return self._kernelObject.width, self._kernelObject.height

    def resized(self, width, height):
        checkOdd("KernelPsf.resized", width, height)
        if self._pixels is None:
            raise StillskyError("KernelPsf.resized is not implemented for a spatially varying kernel")
        return KernelPsf(fitStamp(self._pixels, width, height), self._average)

    def persist(self):
        header = averageCards(self)
        if self._pixels is not None:
            return "KernelPsf", header, {"kernel": self._pixels}
        kernel = self._kernelObject
        functions = getattr(kernel, "spatialFunctions", [])
        function = functions[0] if functions else None
        kind = type(function).__name__
        if not isinstance(kernel, _core.LinearCombinationKernel) or kind not in (
            "PolynomialFunction2",
            "Chebyshev1Function2",
        ):
            raise StillskyError(
                "KernelPsf: only linear combinations with polynomial or Chebyshev coefficients can be stored"
            )
        header["FUNCTION"] = kind
        if kind == "Chebyshev1Function2":
            header.update(zip(("MINX", "MINY", "MAXX", "MAXY"), (float(v) for v in function.box)))
        arrays = {"basis": kernel.basisArray(), "coeffs": np.array(kernel.spatialParameters, dtype=np.float64)}
        return "KernelPsf", header, arrays

    @classmethod
    def _restore(cls, header, arrays):
        if "kernel" in arrays:
            return cls(arrays["kernel"], averageOf(header))
        bases = [_core.FixedKernel(np.array(b, dtype=np.float64)) for b in arrays["basis"]]
        functions = []
        for row in np.asarray(arrays["coeffs"], dtype=np.float64):
            if header["FUNCTION"] == "PolynomialFunction2":
                functions.append(_core.PolynomialFunction2(list(row)))
            else:
                box = tuple(float(header[key]) for key in ("MINX", "MINY", "MAXX", "MAXY"))
                functions.append(_core.Chebyshev1Function2(list(row), box))
        return cls(_core.LinearCombinationKernel(bases, functions), averageOf(header))
