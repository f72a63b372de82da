"""The band of a DCR coadd: its limits, the light that is not shifted, and the throughput, from files and configurations."""

import warnings
from typing import NamedTuple

import numpy as np

from ..errors import DomainError, FitsLayoutError
from ..meta import TransmissionCurve
from .refraction import MAX_WAVELENGTH, MIN_WAVELENGTH

__all__ = ["Band", "bandOf", "readThroughput"]


_WINGS = 0.01  # of the greatest transmission


class Band(NamedTuple):
    """What `stillsky.dcr.calculateDcr` needs to know of a band.

    Attributes
    ----------
    effective, width : `float` or None
        nm.
    limits : (`float`, `float`) or None
        nm.
    throughput : `stillsky.meta.TransmissionCurve` or None
    notes : `tuple` of `str`
        What was assumed.
    """

    effective: float | None
    width: float | None
    limits: tuple | None
    throughput: object = None
    notes: tuple = ()

    @property
    def edges(self):
        """Blue and red edge, nm."""
        half = 0.5 * self.width
        return self.limits or (self.effective - half, self.effective + half)


def bandOf(config, template=None, throughput=None):
    """Band of a configuration, with its throughput.

    Parameters
    ----------
    config : `stillsky.dcr.config.DcrFields`
    template : `stillsky.image.Exposure`, optional
        Whose transmission curve ``config.useTransmissionCurve`` means.
    throughput : `stillsky.meta.TransmissionCurve`, optional
        In place of that of the configuration.

    Returns
    -------
    band : `Band`
        With a throughput, what the configuration does not say follows from it: the limits are the first and the last
        wavelength with a hundredth of the greatest transmission (leaks and wings are no band), and light of the mean
        wavelength within them is not shifted. Without one, fields that are not set are None.

    Raises
    ------
    DomainError
        The template has no transmission curve, or nothing comes through within the limits.
    FitsLayoutError, OSError
        The file of the throughput cannot be read.
    """
    effective, width, limits = config.band
    notes = ()
    if throughput is None and config.throughput:
        throughput, notes = readThroughput(config.throughput)
    elif throughput is None and config.useTransmissionCurve and template is not None:
        throughput = template.info.transmissionCurve
        if throughput is None:
            raise DomainError(
                "useTransmissionCurve: the coadd in the whole band has no transmission curve",
                remedy="assemble it with doAttachTransmissionCurve, or set throughput",
            )
    if throughput is None:
        return Band(effective, width, limits)
    if limits is None and width is None:
        values = throughput.throughput
        lit = throughput.wavelengths[(values > 0) & (values >= _WINGS * values.max())]
        if len(lit) < 2:
            raise DomainError("throughput: wanted at least two wavelengths with transmission")
        limits = float(lit[0]), float(lit[-1])
    if config.effectiveWavelength is None:
        effective = _meanWavelength(throughput, limits)
    if limits is not None:
        width = limits[1] - limits[0]
    return Band(effective, width, limits, throughput, notes)


def _meanWavelength(curve, limits):
    """Mean of the wavelength over the light within limits, exact for a curve that is linear between its points."""
    low, high = limits
    inside = curve.wavelengths[(curve.wavelengths > low) & (curve.wavelengths < high)]
    nm = np.concatenate([[low], inside, [high]])
    t = np.interp(nm, curve.wavelengths, curve.throughput, left=0.0, right=0.0)
    a, b, step = nm[:-1], nm[1:], np.diff(nm)
    light = float(np.sum(step * (t[:-1] + t[1:]) / 2))
    if not light > 0:
        raise DomainError(f"throughput: wanted transmission between {low:g} and {high:g} nm, all is zero")
    first = step * (t[:-1] * (2 * a + b) + t[1:] * (a + 2 * b)) / 6  # of the wavelength times two straight lines
    return float(np.sum(first)) / light


def readThroughput(path):
    """Transmission curve of a file.

    Parameters
    ----------
    path : `str`
        A table that astropy reads (ECSV, CSV, FITS, plain columns, VOTable), wavelength first, transmission second.

    Returns
    -------
    curve : `stillsky.meta.TransmissionCurve`
    notes : `tuple` of `str`
        What was assumed of the unit: without one it is nm, or Angstrom where nm would be no wavelength of the air's
        refraction.

    Raises
    ------
    FitsLayoutError
        No such table.
    OSError
        It cannot be read.
    """
    from astropy import units
    from astropy.io.registry import IORegistryError
    from astropy.table import Table
    from astropy.utils.exceptions import AstropyUserWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # several tables in a file: the first counts
            try:
                table = Table.read(path)
            except IORegistryError:  # no name that tells the format
                table = Table.read(path, format="ascii")
        first, second = (table[name] for name in table.colnames[:2])
        nm, values = np.asarray(first, float), np.asarray(second, float)
        unit, notes = first.unit, ()
        if unit is None:
            lit = nm[values > 0]
            angstrom = len(lit) > 0 and lit.min() > MAX_WAVELENGTH
            unit = units.AA if angstrom else units.nm
            notes = (f"throughput: wavelengths of {path} taken as {'Angstrom' if angstrom else 'nm'}",)
        nm = (nm * units.Unit(unit)).to_value(units.nm)
        order = np.argsort(nm)
        curve = TransmissionCurve(nm[order], values[order])
    except (ValueError, TypeError, KeyError) as error:
        raise FitsLayoutError(
            f"{path}: no table of wavelengths and throughputs", found=str(error).splitlines()[0],
            remedy="two columns: wavelength (nm, or with a unit) and transmission",
        ) from error  # fmt: skip
    lit = nm[values > 0]
    if len(lit) < 2 or lit.max() < MIN_WAVELENGTH or lit.min() > MAX_WAVELENGTH:
        raise FitsLayoutError(
            f"{path}: no light at wavelengths for which the refraction is known",
            found=f"{lit.min():g} to {lit.max():g} nm" if len(lit) else "transmission zero",
            remedy=f"a curve within {MIN_WAVELENGTH} to {MAX_WAVELENGTH} nm",
        )
    return curve, notes
