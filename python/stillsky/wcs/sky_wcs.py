"""SkyWcs: pixels in the parent frame to ICRS and back."""

import warnings

import numpy as np
from astropy.coordinates import FK5, ICRS, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning, NoConvergence

from ..errors import DomainError
from ..geom import AffineTransform, Point2D

__all__ = ["SkyWcs"]


class SkyWcs:
    """An immutable celestial WCS whose pixels are 0-based parent coordinates.

    One object therefore serves an image and all its sub-images. Angles are ICRS radians; arrays welcome everywhere.

    Parameters
    ----------
    wcs : `astropy.wcs.WCS`
        Celestial, two axes, either order; ICRS or FK5 (converted). Copied.
    xy0 : (x, y)
        Parent coordinates of the first pixel of the array that ``wcs`` describes.

    Raises
    ------
    DomainError
        Not a celestial WCS of two axes, or a frame other than ICRS and FK5.
    """

    def __init__(self, wcs, xy0=(0, 0)):
        if isinstance(wcs, SkyWcs):
            wcs, xy0 = wcs._wcs, (0, 0)
        celestial = wcs.celestial if wcs.naxis > 2 else wcs.deepcopy()
        if celestial.naxis != 2 or not celestial.has_celestial:
            raise DomainError(f"SkyWcs: wanted a celestial WCS of two axes, got axis types {list(wcs.wcs.ctype)}")
        self._swapped = celestial.wcs.lng == 1
        celestial.wcs.crpix = celestial.wcs.crpix + np.asarray(tuple(xy0), float)
        if celestial.sip is not None:
            from astropy.wcs import Sip

            s = celestial.sip
            celestial.sip = Sip(s.a, s.b, s.ap, s.bp, celestial.wcs.crpix)
        self._wcs = celestial
        self._frame = _frameOf(celestial)

    def pixelToSky(self, x, y):
        """ICRS (ra, dec) in radians, ra in [0, 2 pi), of parent pixel positions."""
        lon, lat = self._wcs.all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)[:: -1 if self._swapped else 1]
        if self._frame is not None:
            sky = SkyCoord(lon, lat, unit="deg", frame=self._frame).icrs
            lon, lat = sky.ra.deg, sky.dec.deg
        return _plain(np.radians(np.mod(lon, 360.0))), _plain(np.radians(lat))

    def skyToPixel(self, ra, dec):
        """Parent pixel positions (x, y); NaN where the sky position cannot be projected."""
        lon, lat = np.broadcast_arrays(np.degrees(np.asarray(ra, float)), np.degrees(np.asarray(dec, float)))
        if self._frame is not None:
            sky = SkyCoord(lon, lat, unit="deg", frame=ICRS()).transform_to(self._frame)
            lon, lat = sky.ra.deg, sky.dec.deg
        first, second = (lat, lon) if self._swapped else (lon, lat)
        try:
            x, y = self._wcs.all_world2pix(first, second, 0, tolerance=1e-6, maxiter=30)
        except NoConvergence as error:
            solution = error.best_solution.reshape(*lon.shape, 2).copy()
            for failed in (error.divergent, error.slow_conv):
                if failed is not None:
                    solution.reshape(-1, 2)[
                        np.unravel_index(failed.ravel(), lon.shape)[0] if lon.ndim > 1 else failed.ravel()
                    ] = np.nan
            x, y = solution[..., 0], solution[..., 1]
        # behind the tangent plane the projection answers with the antipode
        centre = _vector(*self.skyOrigin)
        direction = (
            _vector(np.radians(lon), np.radians(lat))
            if self._frame is None
            else _vector(np.asarray(ra), np.asarray(dec))
        )
        behind = np.tensordot(centre, direction, axes=(0, 0)) <= 0
        return _plain(np.where(behind, np.nan, x)), _plain(np.where(behind, np.nan, y))

    @property
    def pixelOrigin(self):
        """Reference pixel, parent coordinates."""
        return Point2D(*(self._wcs.wcs.crpix - 1))

    @property
    def skyOrigin(self):
        """(ra, dec) of the reference pixel, ICRS radians."""
        values = self._wcs.wcs.crval[:: -1 if self._swapped else 1]
        if self._frame is not None:
            sky = SkyCoord(*values, unit="deg", frame=self._frame).icrs
            values = sky.ra.deg, sky.dec.deg
        return float(np.radians(values[0])), float(np.radians(values[1]))

    @property
    def cdMatrix(self):
        """Degrees per pixel at the reference pixel, rows (lon, lat)."""
        matrix = self._wcs.pixel_scale_matrix
        return matrix[::-1] if self._swapped else matrix

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
        moved = self._copy()
        dx, dy = offset
        return SkyWcs(moved, (dx, dy))

    def localWcs(self, xy0):
        """astropy WCS of an array whose first pixel has the parent coordinates ``xy0``."""
        x, y = xy0
        return self.shifted((-x, -y))._wcs

    def _copy(self):
        return self._wcs.deepcopy()

    def linearizePixelToSky(self, point):
        """Affine map from pixels to (ra, dec) radians near a pixel position."""
        x, y = point
        ra, dec = (np.asarray(v) for v in self.pixelToSky([x, x - 0.5, x + 0.5, x, x], [y, y, y, y - 0.5, y + 0.5]))
        ra = ra[0] + (ra - ra[0] + np.pi) % (2 * np.pi) - np.pi
        matrix = [[ra[2] - ra[1], ra[4] - ra[3]], [dec[2] - dec[1], dec[4] - dec[3]]]
        origin = np.array([ra[0], dec[0]]) - np.array(matrix) @ np.array([x, y], float)
        return AffineTransform(matrix, origin)

    def linearizeSkyToPixel(self, sky):
        """Affine map from (ra, dec) radians to pixels near a sky position."""
        return self.linearizePixelToSky(self.skyToPixel(*sky)).inverse()

    def tanAt(self, point):
        """TAN WCS without distortion that agrees at a pixel in value and derivative."""
        from .tan import makeTanWcs

        jacobian = self.linearizePixelToSky(point).matrix
        ra, dec = self.pixelToSky(*point)
        cd = np.degrees(jacobian)
        cd[0] *= np.cos(dec)
        return makeTanWcs(point, (ra, dec), cd)

    def toHeader(self, xy0=(0, 0), relax=True):
        """FITS cards for an array whose first pixel has the parent coordinates ``xy0``, always with a CD matrix."""
        local = self.localWcs(xy0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = local.to_header(relax=relax)
        for key in [k for k in header if k.startswith(("PC1_", "PC2_", "CDELT", "CD1_", "CD2_"))]:
            del header[key]
        matrix = local.pixel_scale_matrix
        for i in (1, 2):
            for j in (1, 2):
                header[f"CD{i}_{j}"] = float(matrix[i - 1, j - 1])
        for key in ("MJDREF", "DATE-OBS", "MJD-OBS", "LATPOLE", "LONPOLE"):
            if key in header and key not in ("LATPOLE", "LONPOLE"):
                del header[key]
        return header

    @classmethod
    def fromHeader(cls, header, xy0=(0, 0)):
        """From FITS cards (CD, PC and CDELT, SIP, TPV; ICRS or FK5); None when they describe no sky."""
        header = fits.Header(header) if not isinstance(header, fits.Header) else header.copy()
        if "RADECSYS" in header and "RADESYS" not in header:
            header["RADESYS"] = header["RADECSYS"]
        header.remove("RADECSYS", ignore_missing=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header)
        if not wcs.has_celestial:
            return None
        return cls(wcs, xy0)

    def _key(self):
        return self.toHeader().tostring()

    def __eq__(self, other):
        return self._key() == other._key() if isinstance(other, SkyWcs) else NotImplemented

    def __hash__(self):
        return hash(self._key())

    def __reduce__(self):
        return _restore, (self._key(),)

    def __repr__(self):
        ra, dec = np.degrees(self.skyOrigin)
        x, y = self.pixelOrigin
        return f"SkyWcs(({ra:.6f}, {dec:+.6f}) deg at pixel ({x:.2f}, {y:.2f}), {np.degrees(self.pixelScale()) * 3600:.4f} arcsec/pixel)"


def _restore(text):
    return SkyWcs.fromHeader(fits.Header.fromstring(text))


def _frameOf(wcs):
    """None for ICRS, else the frame to convert from."""
    system = (wcs.wcs.radesys or "").strip().upper()
    if system in ("", "ICRS", "GAPPT") and wcs.wcs.lngtyp == "RA":
        return None
    if system == "FK5":
        return FK5(equinox=f"J{wcs.wcs.equinox if np.isfinite(wcs.wcs.equinox) else 2000.0}")
    raise DomainError(f"SkyWcs: wanted ICRS or FK5, got RADESYS {system!r} with axes {list(wcs.wcs.ctype)}")


def _vector(ra, dec):
    return np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _plain(value):
    return float(value) if np.ndim(value) == 0 else value
