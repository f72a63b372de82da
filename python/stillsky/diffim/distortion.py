"""Polynomial maps of the plane, and a WCS after such a map as TAN-SIP."""

import numpy as np
from astropy.wcs import WCS, Sip

from ..errors import NumericalError
from ..wcs import SkyWcs

__all__ = ["Polynomial2", "fitPolynomial", "tanSipWcs"]

_GRID = 25  # points along each axis of the box at which a WCS is sampled
_EXACT = 4e-9  # pixels: the rounding of right ascensions in degrees; closer, no higher order is tried
_HIGHEST = 9  # order that SIP allows


class Polynomial2:
    """A polynomial map (x, y) -> (u, v), terms x^i y^j with i + j <= order in coordinates scaled to a box.

    Parameters
    ----------
    order : `int`
    center : (x, y)
    scale : `float`
        Half the larger side of the box: powers stay of order one.
    coefficients : array (numTerms, 2)
        Of the displacement (u - x, v - y), pixels.
    """

    def __init__(self, order, center, scale, coefficients):
        self.order, self.center, self.scale = order, np.array(tuple(center), float), float(scale)
        self.coefficients = coefficients

    @staticmethod
    def numTerms(order):
        """Number of terms up to a total degree."""
        return (order + 1) * (order + 2) // 2

    @staticmethod
    def exponents(order):
        """(i, j) of the terms, by total degree."""
        return [(n - j, j) for n in range(order + 1) for j in range(n + 1)]

    @classmethod
    def design(cls, points, order, center, scale):
        """Values of the terms at points (n, 2)."""
        x, y = ((points - center) / scale).T
        return np.column_stack([x**i * y**j for i, j in cls.exponents(order)])

    def __call__(self, points):
        """Mapped points (n, 2)."""
        return points + self.design(points, self.order, self.center, self.scale) @ self.coefficients


def fitPolynomial(points, wanted, order, bbox):
    """Least-squares map from points to wanted positions, both (n, 2); as flat as possible where they do not tell."""
    center, scale = np.array(tuple(bbox.center)), 0.5 * max(bbox.width, bbox.height)
    design = Polynomial2.design(points, order, center, scale)
    coefficients, *_ = np.linalg.lstsq(design, wanted - points, rcond=1e-12)
    return Polynomial2(order, center, scale, coefficients)


def tanSipWcs(wcs, bbox, correction):
    """The WCS that puts a pixel p where another one has ``correction(p)``.

    Parameters
    ----------
    wcs : `stillsky.wcs.SkyWcs`
    bbox : `stillsky.geom.Box2I`
        Where it shall hold.
    correction : callable
        Points (n, 2) to points (n, 2).

    Returns
    -------
    new : `stillsky.wcs.SkyWcs`
        TAN-SIP, tangent at the centre of the box; of the smallest order that is exact to 4e-9 pixels on a grid of the box,
        else of the one that comes closest. For a TAN WCS that is the order of the correction.

    Raises
    ------
    NumericalError
        The WCS is undefined somewhere in the box, or the correction is no map.

    Notes
    -----
    Shupe et al. 2005, ASP Conf. Ser. 347, 491 (SIP); Calabretta & Greisen 2002, A&A 395, 1077 (TAN).
    """
    origin = np.array(tuple(bbox.center), float)
    sky0 = wcs.pixelToSky(*correction(origin[None])[0])
    x, y = np.meshgrid(
        np.linspace(bbox.minX - 0.5, bbox.maxX + 0.5, _GRID), np.linspace(bbox.minY - 0.5, bbox.maxY + 0.5, _GRID)
    )
    points = np.column_stack([x.ravel(), y.ravel()])
    plane = _gnomonic(*wcs.pixelToSky(*correction(points).T), *sky0)
    scale = 0.5 * max(bbox.width, bbox.height)
    best, bestError = None, np.inf
    for order in range(1, _HIGHEST + 1):
        design = Polynomial2.design(points, order, origin, scale)[:, 1:]  # the centre is at the origin of the plane
        coefficients, *_ = np.linalg.lstsq(design, plane, rcond=1e-13)
        cd = coefficients[:2].T / scale
        error = np.abs((design @ coefficients - plane) @ np.linalg.pinv(cd).T).max()
        if not np.isfinite(error):
            break
        if error < 0.3 * bestError:
            best, bestError = (order, cd, coefficients), error
        if error < _EXACT:
            break
    if best is None:
        raise NumericalError(f"the WCS is not defined all over {bbox}, or the correction is no map")
    return SkyWcs(_astropyWcs(origin, sky0, scale, *best))


def _gnomonic(ra, dec, ra0, dec0):
    """Tangent-plane coordinates in degrees (n, 2)."""
    dra = ra - ra0
    c = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(dra)
    xi = np.cos(dec) * np.sin(dra)
    eta = np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(dra)
    return np.degrees(np.column_stack([xi / c, eta / c]))


def _astropyWcs(origin, sky0, scale, order, cd, coefficients):
    wcs = WCS(naxis=2)
    sip = order > 1
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"] if sip else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crpix = origin + 1
    wcs.wcs.crval = np.degrees(sky0)
    wcs.wcs.cd = cd
    wcs.wcs.radesys = "ICRS"
    if sip:
        a, b = np.zeros((order + 1, order + 1)), np.zeros((order + 1, order + 1))
        inPixels = coefficients @ np.linalg.inv(cd).T
        for (i, j), (u, v) in zip(Polynomial2.exponents(order)[1:], inPixels):
            if i + j > 1:
                a[i, j], b[i, j] = u / scale ** (i + j), v / scale ** (i + j)
        wcs.sip = Sip(a, b, None, None, origin + 1)
    wcs.wcs.set()
    return wcs
