"""PhotoCalib: from image counts to calibrated fluxes and magnitudes."""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import DomainError, NotFoundError

__all__ = ["AB_ZERO_FLUX_NJY", "PhotoCalib"]

#: Flux of an object of AB magnitude 0, in nJy (Oke & Gunn 1983, ApJ 266, 713: m = -2.5 log10 f_nu - 48.6 in cgs).
AB_ZERO_FLUX_NJY = 1e32 * 10 ** (-48.6 / 2.5)

_BAND_ROWS = 256


@dataclass(frozen=True)
class PhotoCalib:
    """Photometric calibration of an image. Immutable.

    Parameters
    ----------
    mean : `float`
        nJy per image count; with a ``field``, its spatial mean.
    err : `float`
        Uncertainty of ``mean``, nJy per count.
    field : object, optional
        nJy per count over the image: ``field.evaluate(x, y)`` takes arrays of parent pixel positions and returns
        values of the same shape; ``field.mean()`` is its arithmetic mean over its box.

    Raises
    ------
    DomainError
        If ``mean`` or ``err`` is negative or NaN.

    Notes
    -----
    Fluxes are nJy, magnitudes AB. A zero point zp is mean = 10**((31.4 - zp)/2.5). The error of a flux is the
    instrumental error times the calibration; the calibration's own error enters only on request.
    """

    mean: float = 1.0
    err: float = 0.0
    field: object = None

    def __post_init__(self):
        for name in ("mean", "err"):
            value = float(getattr(self, name))
            if not value >= 0:
                raise DomainError(f"PhotoCalib {name}: wanted nJy per count >= 0, given {value}")
            object.__setattr__(self, name, value)

    @classmethod
    def fromField(cls, field, err=0.0):
        """Calibration that varies over the image; ``mean`` is the field's arithmetic mean."""
        return cls(field.mean(), err, field)

    @classmethod
    def fromZeroPoint(cls, instFluxMag0, err=0.0):
        """Calibration from the instrumental flux of magnitude 0 and its error (old FLUXMAG0 cards).

        mean = F0/instFluxMag0, err = F0 err/instFluxMag0**2 with F0 the flux of magnitude 0 in nJy.
        """
        instFluxMag0 = float(instFluxMag0)
        if not instFluxMag0 > 0:
            raise DomainError(f"PhotoCalib.fromZeroPoint: wanted a positive flux at magnitude 0, given {instFluxMag0}")
        return cls(AB_ZERO_FLUX_NJY / instFluxMag0, AB_ZERO_FLUX_NJY * err / instFluxMag0**2)

    @classmethod
    def fromMagZeroPoint(cls, zeroPoint, err=0.0):
        """Calibration from the AB magnitude of one count, and its error in magnitudes."""
        mean = AB_ZERO_FLUX_NJY * 10 ** (-0.4 * float(zeroPoint))
        return cls(mean, mean * abs(float(err)) * math.log(10) / 2.5)

    @property
    def isConstant(self):
        """Whether one number holds everywhere."""
        return self.field is None

    @property
    def instFluxAtZeroMagnitude(self):
        """Instrumental flux of an object of magnitude 0, from the mean calibration."""
        return AB_ZERO_FLUX_NJY / self.mean

    @property
    def zeroPoint(self):
        """AB magnitude of one count, from the mean calibration."""
        return -2.5 * math.log10(self.mean / AB_ZERO_FLUX_NJY)

    def localCalibration(self, point=None):
        """Calibration at a position.

        Parameters
        ----------
        point : pair of `float` or arrays, optional
            Parent pixel position (x, y); None gives the mean.

        Returns
        -------
        c : `float` or `numpy.ndarray`
            nJy per count.
        """
        if point is None or self.field is None:
            return self.mean
        x, y = point
        value = self.field.evaluate(np.asarray(x, float), np.asarray(y, float))
        return value if np.ndim(value) else float(value)

    def fluxNjy(self, instFlux, point=None):
        """Flux in nJy of an instrumental flux (number or array), at a position or with the mean calibration."""
        return _plain(np.multiply(instFlux, self.localCalibration(point)))

    def fluxNjyErr(self, instFluxErr, point=None, *, instFlux=None, includeCalibrationError=False):
        """Error of a flux in nJy.

        Parameters
        ----------
        instFluxErr : `float` or array
        point : pair, optional
            Parent pixel position.
        instFlux : `float` or array, optional
            Needed with ``includeCalibrationError``.
        includeCalibrationError : `bool`
            False: instFluxErr c. True: hypot(instFluxErr c, instFlux err).
        """
        error = np.multiply(instFluxErr, self.localCalibration(point))
        if includeCalibrationError:
            if instFlux is None:
                raise DomainError("PhotoCalib.fluxNjyErr: includeCalibrationError needs instFlux")
            error = np.hypot(error, np.multiply(instFlux, self.err))
        return _plain(error)

    def magnitude(self, instFlux, point=None):
        """AB magnitude; NaN where the flux is not positive."""
        flux = np.asarray(self.fluxNjy(instFlux, point), float)
        out = np.full(flux.shape, np.nan)
        np.log10(flux / AB_ZERO_FLUX_NJY, out=out, where=flux > 0)
        return _plain(-2.5 * out)

    def magnitudeErr(self, instFlux, instFluxErr):
        """Error of the magnitude, (2.5/ln 10) instFluxErr/instFlux; NaN where the flux is not positive."""
        flux, error = np.broadcast_arrays(np.asarray(instFlux, float), np.asarray(instFluxErr, float))
        out = np.full(flux.shape, np.nan)
        np.divide(error, flux, out=out, where=flux > 0)
        return _plain(2.5 / math.log(10) * out)

    def magToInstFlux(self, magnitude, point=None):
        """Instrumental flux of an AB magnitude."""
        flux = AB_ZERO_FLUX_NJY * np.power(10.0, np.multiply(magnitude, -0.4))
        return _plain(flux / self.localCalibration(point))

    def njyToInstFlux(self, flux, point=None):
        """Instrumental flux of a flux in nJy."""
        return _plain(np.divide(flux, self.localCalibration(point)))

    def calibrateImage(self, maskedImage):
        """Image in nJy: image times c(x, y), variance times c squared, mask unchanged.

        Parameters
        ----------
        maskedImage : `MaskedImage`
            In counts; not modified. A field is evaluated at the parent positions of its pixels, also outside the
            field's own box.

        Returns
        -------
        calibrated : `MaskedImage`
            New planes; its calibration is ``PhotoCalib(1.0)``, its unit nJy.
        """
        return self._scaled(maskedImage, np.multiply)

    def uncalibrateImage(self, maskedImage):
        """Inverse of `calibrateImage`: from nJy to counts."""
        return self._scaled(maskedImage, np.divide)

    def _scaled(self, maskedImage, operation):
        new = maskedImage.copy()
        image, variance = new.image.array, new.variance.array
        if self.field is None:
            operation(image, self.mean, out=image)
            operation(variance, self.mean**2, out=variance)
            return new
        x0, y0 = new.xy0
        height, width = image.shape
        x = np.arange(x0, x0 + width, dtype=float)[None, :]
        for start in range(0, height, _BAND_ROWS):  # bands bound the size of the float64 calibration
            rows = slice(start, min(start + _BAND_ROWS, height))
            y = np.arange(y0 + rows.start, y0 + rows.stop, dtype=float)[:, None]
            c = self.field.evaluate(*np.broadcast_arrays(x, y))
            operation(image[rows], c, out=image[rows], casting="same_kind")
            operation(variance[rows], c * c, out=variance[rows], casting="same_kind")
        return new

    def calibrateCatalog(self, table, names, *, xColumn="x", yColumn="y"):
        """Add calibrated columns to a table.

        Parameters
        ----------
        table : `astropy.table.Table`
            With columns ``NAME_instFlux`` and, optionally, ``NAME_instFluxErr``; changed in place.
        names : `str` or list of `str`
            The NAMEs.
        xColumn, yColumn : `str`
            Parent pixel positions, needed only if the calibration varies.

        Returns
        -------
        table : `astropy.table.Table`
            The same table, with NAME_flux, NAME_fluxErr (nJy), NAME_mag, NAME_magErr (AB); without the instrumental
            error only NAME_flux and NAME_mag.

        Raises
        ------
        NotFoundError
            (a KeyError) If a flux or position column is missing.
        """
        names = [names] if isinstance(names, str) else list(names)
        wanted = [f"{name}_instFlux" for name in names]
        if not self.isConstant:
            wanted += [xColumn, yColumn]
        for column in wanted:
            if column not in table.colnames:
                raise NotFoundError(f"calibrateCatalog: no column {column!r}; the table has {table.colnames}")
        point = None if self.isConstant else (np.asarray(table[xColumn]), np.asarray(table[yColumn]))
        for name in names:
            flux = np.asarray(table[f"{name}_instFlux"], float)
            self._addColumn(table, f"{name}_flux", self.fluxNjy(flux, point), "nJy", "calibrated flux")
            hasError = f"{name}_instFluxErr" in table.colnames
            if hasError:
                error = np.asarray(table[f"{name}_instFluxErr"], float)
                self._addColumn(table, f"{name}_fluxErr", self.fluxNjyErr(error, point), "nJy", "error of the flux")
            self._addColumn(table, f"{name}_mag", self.magnitude(flux, point), "mag(AB)", "AB magnitude")
            if hasError:
                error = self.magnitudeErr(flux, error)
                self._addColumn(table, f"{name}_magErr", error, "mag", "error of the magnitude")
        return table

    @staticmethod
    def _addColumn(table, name, values, unit, description):
        table[name] = np.atleast_1d(values) if len(table) else np.zeros(0)
        table[name].unit = unit
        table[name].info.description = description


def _plain(value):
    """Numbers for numbers, arrays for arrays."""
    return value if np.ndim(value) else float(value)
