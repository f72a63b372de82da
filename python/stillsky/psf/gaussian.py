"""PSFs with a formula: one Gaussian, two Gaussians."""

import abc
import math

import numpy as np

from ..errors import DomainError
from .base import Psf, averageCards, averageOf, checkOdd, normalised

__all__ = ["DoubleGaussianPsf", "GaussianPsf", "SingleGaussianPsf"]


def _checkSigma(name, sigma, what="sigma"):
    if not (sigma > 0 and math.isfinite(sigma)):
        raise DomainError(f"{name}: {what} must be positive, got {sigma}")
    return float(sigma)


class _AnalyticPsf(Psf):
    """A formula sampled at pixel centres, the same everywhere. Fractional shifts move the formula, not the pixels."""

    isSpatiallyVarying = False

    def __init__(self, width, height, averagePosition):
        super().__init__(averagePosition)
        self._width, self._height = width, height

    @abc.abstractmethod
    def _profile(self, x, y):
        """The formula at offsets from the centre, of any sum; x and y broadcast."""

    def _sampled(self, dx, dy):
        x = np.arange(self._width) - self._width // 2 - dx
        y = np.arange(self._height) - self._height // 2 - dy
        return self._profile(x[None, :], y[:, None])

    @property
    def width(self):
        """Stamp width in pixels."""
        return self._width

    @property
    def height(self):
        """Stamp height in pixels."""
        return self._height

    def _kernel(self, x, y):
        return super()._kernel(0.0, 0.0)  # one entry serves all positions

    def _shape(self, x, y):
        return super()._shape(0.0, 0.0)

    def _kernelArray(self, x, y):
        return normalised(self._sampled(0.0, 0.0))

    def _shiftedArray(self, x, y, dx, dy):
        # Divided by the sum of the unshifted stamp: light pushed off the stamp is lost, as on real pixels.
        return self._sampled(dx, dy) / self._sampled(0.0, 0.0).sum()

    def _shiftedArrays(self, xs, ys, dx, dy):
        x = np.arange(self._width) - self._width // 2 - dx[:, None]
        y = np.arange(self._height) - self._height // 2 - dy[:, None]
        return self._profile(x[:, None, :], y[:, :, None]) / self._sampled(0.0, 0.0).sum()

    def _dimensionsAt(self, x, y):
        return self._width, self._height

    def computeKernelImages(self, xs, ys):
        return np.repeat(self._kernel(0.0, 0.0)[None], np.size(xs), axis=0)


class SingleGaussianPsf(_AnalyticPsf):
    """exp(-r^2 / 2 sigma^2), sampled at pixel centres, sum 1 over the stamp. Shape and fluxes are measured on it.

    Parameters
    ----------
    width, height : `int`
        Stamp, odd.
    sigma : `float`
        Pixels.
    averagePosition : (`float`, `float`)
    """

    def __init__(self, width, height, sigma, *, averagePosition=(0.0, 0.0)):
        name = type(self).__name__
        super().__init__(*checkOdd(name, width, height), averagePosition)
        self._sigma = _checkSigma(name, sigma)

    @property
    def sigmaParameter(self):
        """The sigma given, in pixels."""
        return self._sigma

    def _profile(self, x, y):
        return np.exp(-0.5 * (x / self._sigma) ** 2) * np.exp(-0.5 * (y / self._sigma) ** 2)

    def resized(self, width, height):
        return type(self)(width, height, self._sigma, averagePosition=self._average)

    def persist(self):
        header = {"WIDTH": self._width, "HEIGHT": self._height, "SIGMA": self._sigma, **averageCards(self)}
        return type(self).__name__, header, {}

    @classmethod
    def _restore(cls, header, arrays):
        return cls(
            int(header["WIDTH"]), int(header["HEIGHT"]), float(header["SIGMA"]), averagePosition=averageOf(header)
        )

    def __repr__(self):
        return f"{type(self).__name__}({self._width}, {self._height}, sigma={self._sigma:g})"


class GaussianPsf(SingleGaussianPsf):
    """The same image; shape (sigma^2, sigma^2, 0) and aperture flux 1 - exp(-R^2 / 2 sigma^2) from the formula."""

    def _shape(self, x, y):
        return self._sigma**2, self._sigma**2, 0.0

    def computeApertureFlux(self, radius, position=None):
        return -math.expm1(-0.5 * (radius / self._sigma) ** 2) if radius > 0 else 0.0


class DoubleGaussianPsf(_AnalyticPsf):
    """exp(-r^2 / 2 sigma1^2) + b exp(-r^2 / 2 sigma2^2), sum 1 over the stamp.

    Parameters
    ----------
    width, height : `int`
        Stamp; even sizes are allowed, with the centre at (w // 2, h // 2).
    sigma1, sigma2 : `float`
        Pixels; sigma2 is ignored when ``b`` is 0.
    b : `float`
        Ratio of the peaks, at least 0.
    averagePosition : (`float`, `float`)
    """

    def __init__(self, width, height, sigma1, sigma2=1.0, b=0.0, *, averagePosition=(0.0, 0.0)):
        if width < 1 or height < 1:
            raise DomainError(f"DoubleGaussianPsf: width and height must be positive, got {width} x {height}")
        super().__init__(int(width), int(height), averagePosition)
        self._sigma1 = _checkSigma("DoubleGaussianPsf", sigma1, "sigma1")
        if not (b >= 0 and math.isfinite(b)):
            raise DomainError(f"DoubleGaussianPsf: b must be at least 0, got {b}")
        self._b = float(b)
        self._sigma2 = _checkSigma("DoubleGaussianPsf", sigma2, "sigma2") if b else float(sigma2)

    @property
    def sigma1(self):
        """Sigma of the first Gaussian in pixels."""
        return self._sigma1

    @property
    def sigma2(self):
        """Sigma of the second Gaussian in pixels."""
        return self._sigma2

    @property
    def b(self):
        """Peak of the second Gaussian over that of the first."""
        return self._b

    def _profile(self, x, y):
        r2 = x**2 + y**2
        image = np.exp(-0.5 * r2 / self._sigma1**2)
        if self._b:
            image += self._b * np.exp(-0.5 * r2 / self._sigma2**2)
        return image

    def resized(self, width, height):
        return DoubleGaussianPsf(width, height, self._sigma1, self._sigma2, self._b, averagePosition=self._average)

    def persist(self):
        header = {"WIDTH": self._width, "HEIGHT": self._height, "SIGMA1": self._sigma1, "SIGMA2": self._sigma2}
        return type(self).__name__, {**header, "B": self._b, **averageCards(self)}, {}

    @classmethod
    def _restore(cls, header, arrays):
        size = int(header["WIDTH"]), int(header["HEIGHT"])
        shape = (float(header[key]) for key in ("SIGMA1", "SIGMA2", "B"))
        return cls(*size, *shape, averagePosition=averageOf(header))

    def __repr__(self):
        return (
            f"DoubleGaussianPsf({self._width}, {self._height}, sigma1={self._sigma1:g}, "
            f"sigma2={self._sigma2:g}, b={self._b:g})"
        )
