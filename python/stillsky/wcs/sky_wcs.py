"""SkyWcs: pixels in the parent frame to ICRS and back."""

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.wcs import NoConvergence

from ..errors import DomainError
from ..geom import AffineTransform, Point2D
from .cards import cardsOf, cardText, wcsFromCards
from .normal import TABLES, celestialWcs, shiftedWcs
from .pair import affineAt

__all__ = ["SkyWcs"]

_GNOMONIC = ("TAN", "TPV", "TNX")


class SkyWcs:
    """An immutable celestial WCS whose pixels are 0-based parent coordinates.

    One object therefore serves an image and all its sub-images. Angles are ICRS radians; arrays welcome everywhere.

    Parameters
    ----------
    wcs : `astropy.wcs.WCS`
        Celestial, axes in either order, with SIP, TPV or table distortion; copied. FK5 and galactic coordinates are
        turned to ICRS without changing any pixel. Of more than two axes the first two count.
    xy0 : (x, y)
        Parent coordinates of the first pixel of the array that ``wcs`` describes.

    Raises
    ------
    DomainError
        The first two axes are not celestial, or in another frame, such as FK4.
    """

    __slots__ = ("_wcs", "_text", "__weakref__")

    def __init__(self, wcs, xy0=(0, 0)):
        if isinstance(wcs, SkyWcs):
            wcs, xy0 = wcs._wcs, (0, 0)
        self._fill(shiftedWcs(celestialWcs(wcs), xy0))

    def _fill(self, wcs):
        object.__setattr__(self, "_wcs", wcs)
        object.__setattr__(self, "_text", None)

    @classmethod
    def _fromNormal(cls, wcs):
        """Around an inner object that is normalised already and belongs to nobody else."""
        new = cls.__new__(cls)
        new._fill(wcs)
        return new

    def __setattr__(self, name, value):
        raise AttributeError("SkyWcs is immutable")

    def pixelToSky(self, x, y):
        """ICRS (ra, dec) in radians, ra in [0, 2 pi), of parent pixel positions."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        lon, lat = self._wcs.all_pix2world(x.ravel(), y.ravel(), 0)
        ra = np.mod(np.radians(lon), 2 * np.pi)
        ra[ra == 2 * np.pi] = 0.0  # np.mod of a tiny negative number rounds up
        return _plain(ra.reshape(x.shape)), _plain(np.radians(lat).reshape(x.shape))

    def skyToPixel(self, ra, dec):
        """Parent pixel positions (x, y); NaN where the sky position cannot be projected or the inverse of the
        distortion does not converge."""
        ra, dec = np.broadcast_arrays(np.asarray(ra, float), np.asarray(dec, float))
        x, y = np.full(ra.size, np.nan), np.full(ra.size, np.nan)
        r, d = ra.ravel(), dec.ravel()
        good = np.isfinite(r) & np.isfinite(d)
        if self._wcs.wcs.ctype[0][5:8] in _GNOMONIC:  # behind the tangent plane the answer would be the antipode's
            good[good] = _vector(*self.skyOrigin) @ _vector(r[good], d[good]) > 0
        if good.any():
            x[good], y[good] = self._inverse(np.degrees(r[good]), np.degrees(d[good]))
        return _plain(x.reshape(ra.shape)), _plain(y.reshape(ra.shape))

    def _inverse(self, lon, lat):
        try:
            return self._wcs.all_world2pix(lon, lat, 0, tolerance=1e-6, maxiter=30)
        except NoConvergence as error:
            solution = np.array(error.best_solution, float)
            for failed in (error.divergent, error.slow_conv):
                if failed is not None:
                    solution[failed] = np.nan
            return solution[:, 0], solution[:, 1]

    @property
    def pixelOrigin(self):
        """Reference pixel, parent coordinates."""
        return Point2D(*(self._wcs.wcs.crpix - 1))

    @property
    def skyOrigin(self):
        """(ra, dec) of the reference pixel, ICRS radians."""
        ra, dec = np.radians(self._wcs.wcs.crval)
        return float(ra), float(dec)

    @property
    def cdMatrix(self):
        """Degrees per pixel at the reference pixel, rows (lon, lat)."""
        return self._wcs.pixel_scale_matrix

    @property
    def isFlipped(self):
        """True when the determinant of the CD matrix is positive (east to the right of north)."""
        return bool(np.linalg.det(self.cdMatrix) > 0)

    def pixelScale(self, x=None, y=None):
        """Square root of the sky area of a pixel, radians; default at the reference pixel."""
        if x is None:
            x, y = self.pixelOrigin
        v = _vector(*self.pixelToSky([x, x + 1, x], [y, y, y + 1])).T
        return float(np.sqrt(np.linalg.norm(np.cross(v[1] - v[0], v[2] - v[0]))))

    def shifted(self, offset):
        """WCS whose pixel p lies where p - offset lies in this one."""
        return SkyWcs._fromNormal(shiftedWcs(self._wcs, offset))

    def localWcs(self, xy0=(0, 0)):
        """astropy WCS, a copy, of an array whose first pixel has the parent coordinates ``xy0``."""
        x, y = xy0
        return shiftedWcs(self._wcs, (-x, -y))

    def linearizePixelToSky(self, point, unit="rad"):
        """Affine map from pixels to (ra, dec) near a pixel position, in any angular unit; ra does not jump at 0."""
        factor = _perRadian(unit)
        ra0, _ = self.pixelToSky(*point)

        def sky(x, y):
            ra, dec = self.pixelToSky(x, y)
            return ra0 + (ra - ra0 + np.pi) % (2 * np.pi) - np.pi, dec

        affine = affineAt(sky, point)
        return AffineTransform(affine.matrix * factor, affine.translation * factor)

    def linearizeSkyToPixel(self, sky, unit="rad"):
        """Affine map from (ra, dec), in any angular unit, to pixels near a sky position (radians)."""
        return self.linearizePixelToSky(self.skyToPixel(*sky), unit).inverse()

    linearize = linearizePixelToSky

    def tanAt(self, point):
        """TAN WCS without distortion that agrees at a pixel in value and derivative."""
        from .tan import makeTanWcs

        ra, dec = self.pixelToSky(*point)
        return makeTanWcs(point, (ra, dec), np.degrees(affineAt(self._tangentPlane(ra, dec), point).matrix))

    def _tangentPlane(self, ra0, dec0):
        """(x, y) -> gnomonic coordinates about a sky position, radians (Calabretta & Greisen 2002, sec. 5.1.3)."""

        def project(x, y):
            ra, dec = self.pixelToSky(x, y)
            dra = ra - ra0
            c = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(dra)
            xi = np.cos(dec) * np.sin(dra) / c
            return xi, (np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(dra)) / c

        return project

    def toHeader(self, xy0=(0, 0), relax=True):
        """FITS cards for an array whose first pixel has the parent coordinates ``xy0``, always with a CD matrix.

        With ``relax`` SIP and TPV terms are written. StillskyError for lookup-table distortions, which no card holds.
        """
        if relax and tuple(xy0) == (0, 0) and not self._tables:
            return fits.Header.fromstring(self._key())  # remembered, as many objects ask for it
        return cardsOf(self.localWcs(xy0), relax)

    @classmethod
    def fromHeader(cls, header, xy0=(0, 0)):
        """From FITS cards (CD, PC and CDELT, SIP, TPV; ICRS, FK5 or galactic); None when they describe no sky.

        Parameters
        ----------
        header : mapping
            astropy Header, `stillsky.meta.Header` or dict; RADECSYS is read as RADESYS.
        xy0 : (x, y)
            Parent coordinates of the first pixel of the array.
        """
        wcs = wcsFromCards(header)
        return None if wcs is None else cls(wcs, xy0)

    @property
    def _tables(self):
        tables = (getattr(self._wcs, name) for name in TABLES)
        return [(t.data, tuple(t.crpix), tuple(t.crval), tuple(t.cdelt)) for t in tables if t is not None]

    def _key(self):
        """The cards (and tables) as text: the value by which two WCS are compared."""
        if self._text is None:
            if self._tables:
                bare = self._wcs.deepcopy()
                for name in TABLES:
                    setattr(bare, name, None)
                tables = "".join(f"{data.tobytes().hex()} {rest}" for data, *rest in self._tables)
            else:
                bare, tables = self._wcs, ""
            object.__setattr__(self, "_text", cardText(bare) + tables)
        return self._text

    def __eq__(self, other):
        if not isinstance(other, SkyWcs):
            return NotImplemented
        return self is other or self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        if self._tables:
            return SkyWcs._fromNormal, (self._wcs,)
        return _restore, (self._key(),)

    def __repr__(self):
        ra, dec = np.degrees(self.skyOrigin)
        x, y = self.pixelOrigin
        projection = fits.Header.fromstring(self._wcs.wcs.to_header(True))["CTYPE1"][5:8]
        projection += "-SIP" if self._wcs.sip is not None else ""
        scale = np.degrees(self.pixelScale()) * 3600
        return f"SkyWcs({projection}, ({ra:.6f}, {dec:+.6f}) deg at pixel ({x:.2f}, {y:.2f}), {scale:.4f} arcsec/pixel)"


def _restore(text):
    return SkyWcs.fromHeader(fits.Header.fromstring(text))


def _vector(ra, dec):
    return np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _plain(value):
    return float(value) if np.ndim(value) == 0 else value


def _perRadian(unit):
    try:
        return units.rad.to(unit)
    except (ValueError, TypeError, units.UnitConversionError):
        raise DomainError(f"unit: wanted an angular unit, got {unit!r}") from None
