"""A point-spread function that changes smoothly over a field: elliptical Moffat profiles."""

from dataclasses import dataclass

import numpy as np

__all__ = ["MoffatField"]


@dataclass(frozen=True)
class MoffatField:
    """Elliptical Moffat profiles whose width and shape are quadratic polynomials over the field.

    The profile (Moffat 1969, A&A 3, 455) is ``(1 + r^2/a^2)^-beta``, normalised to unit integral, with
    ``a = fwhm / (2 sqrt(2^(1/beta) - 1))`` and r the elliptical radius. It is the effective PSF: it is sampled at
    pixel centres, with the response of the pixel already in it.

    Parameters
    ----------
    width, height : `int`
        Size of the field in pixels; the polynomials run over coordinates scaled to -1 ... 1.
    fwhm : `float`
        Full width at half maximum at the centre of the field, pixels.
    beta : `float`
        Moffat exponent, above 1.
    widthTerms, e1Terms, e2Terms : `tuple` [`float`]
        Coefficients of (x, y, x², xy, y²) of the relative width, and of (1, x, y) of the two ellipticity components
        (a-b)/(a+b) times cos and sin of twice the position angle.
    """

    width: int
    height: int
    fwhm: float
    beta: float = 3.5
    widthTerms: tuple = (0.0, 0.0, 0.0, 0.0, 0.0)
    e1Terms: tuple = (0.0, 0.0, 0.0)
    e2Terms: tuple = (0.0, 0.0, 0.0)

    @classmethod
    def random(cls, rng, width, height, fwhm, beta=3.5, variation=0.04):
        """A field with random terms of relative size ``variation`` (0: the same PSF everywhere)."""
        terms = rng.uniform(-1.0, 1.0, 11) * variation
        return cls(width, height, fwhm, beta, tuple(terms[:5]), tuple(terms[5:8]), tuple(terms[8:11]))

    def _scaled(self, x, y):
        return 2.0 * np.asarray(x) / max(self.width - 1, 1) - 1.0, 2.0 * np.asarray(y) / max(self.height - 1, 1) - 1.0

    def shapeAt(self, x, y):
        """FWHM (geometric mean of the axes, pixels) and ellipticity (e1, e2) at positions; arrays or scalars."""
        u, v = self._scaled(x, y)
        fwhm = self.fwhm * (1.0 + sum(c * t for c, t in zip(self.widthTerms, (u, v, u * u, u * v, v * v))))
        e1 = self.e1Terms[0] + self.e1Terms[1] * u + self.e1Terms[2] * v
        e2 = self.e2Terms[0] + self.e2Terms[1] * u + self.e2Terms[2] * v
        return fwhm, e1, e2

    def profile(self, dx, dy, x, y):
        """Value (1/pixel²) at offsets dx, dy (arrays that broadcast) from a point source at (x, y)."""
        fwhm, e1, e2 = self.shapeAt(x, y)
        alpha2 = fwhm**2 / (4.0 * (2.0 ** (1.0 / self.beta) - 1.0))
        # r^2 = (A dx)^2 with A symmetric and det A = 1, so that ellipticity keeps the area of the profile
        norm = 1.0 / (1.0 - e1**2 - e2**2)
        qxx = ((1.0 - e1) ** 2 + e2**2) * norm
        qyy = ((1.0 + e1) ** 2 + e2**2) * norm
        qxy = -2.0 * e2 * norm
        r2 = qxx * dx * dx + 2.0 * qxy * dx * dy + qyy * dy * dy
        return (self.beta - 1.0) / (np.pi * alpha2) * (1.0 + r2 / alpha2) ** (-self.beta)

    def radiusWhere(self, level, x, y):
        """Radius (pixels) at which a source of unit flux at (x, y) has the surface brightness ``level``."""
        fwhm, e1, e2 = self.shapeAt(x, y)
        alpha2 = fwhm**2 / (4.0 * (2.0 ** (1.0 / self.beta) - 1.0))
        peak = (self.beta - 1.0) / (np.pi * alpha2)
        stretch = 1.0 + np.hypot(e1, e2)
        return stretch * np.sqrt(alpha2 * np.maximum((peak / level) ** (1.0 / self.beta) - 1.0, 1.0))

    def image(self, x, y, halfWidth=20):
        """The PSF at (x, y) centred on the middle pixel of a (2 halfWidth + 1)² float64 array; its sum is 1."""
        r = np.arange(-halfWidth, halfWidth + 1.0)
        stamp = self.profile(r[None, :], r[:, None], x, y)
        return stamp / stamp.sum()
