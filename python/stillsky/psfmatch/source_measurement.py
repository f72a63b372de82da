"""Measurement of the sources that may become kernel candidates."""

import numpy as np
from astropy import units as u
from astropy.table import Table

from ..errors import DomainError, StillskyError
from ..measure import MomentsFlag, adaptiveMoments

__all__ = ["FAILED_PLANES", "PLUGINS", "measureFootprints"]

FAILED_PLANES = ("BAD", "SAT", "NO_DATA")

#: What is measured by default.
PLUGINS = ("SdssCentroid", "PsfFlux", "PixelFlags", "SdssShape", "GaussianFlux", "SkyCoord")
_KNOWN = (*PLUGINS, "ClassificationSizeExtendedness")


def measureFootprints(exposure, footprintSets, sigma, plugins=PLUGINS, idFactory=None):
    """Measure the brightest peak of each footprint.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        Background subtracted.
    footprintSets : sequence of `stillsky.detection.FootprintSet`
    sigma : `float`
        Width of the PSF in pixels.
    plugins : sequence of `str`
        Columns to make, besides ``id``, ``x`` and ``y`` (parent pixels):

        =============================== =============================================================================
        SdssCentroid                    ``x``, ``y`` are those of the matched elliptical Gaussian; else of the peak
        PsfFlux                         ``psfFlux``, ``psfFluxErr``: point source, image units
        PixelFlags                      ``pixelFlag``: a bad, saturated or missing pixel near the centre
        SdssShape                       ``xx``, ``yy``, ``xy``: adaptive moments, square pixels
        GaussianFlux                    ``gaussianFlux``, ``gaussianFluxErr``: elliptical Gaussian, image units
        SkyCoord                        ``coord_ra``, ``coord_dec``: radians; only with a WCS
        ClassificationSizeExtendedness  ``sizeExtendedness``: 1 - exp(-(T - T_P)^2 / (2 T_P)), T = xx + yy of source
                                        and PSF; 0 for a point source, 1 for one much larger
        =============================== =============================================================================
    idFactory : callable, optional
        Number of sources -> ids; default 1, 2, ...

    Returns
    -------
    sources : `astropy.table.Table`
        Sources without a shape, among them all negative ones, are left out: no kernel can be fitted to them.

    Raises
    ------
    DomainError
        Unknown plugin.
    """
    unknown = set(plugins) - set(_KNOWN)
    if unknown:
        raise DomainError(f"plugins: wanted some of {', '.join(_KNOWN)}, got {', '.join(sorted(unknown))}")
    peaks = [f.peaks[0] for footprints in footprintSets for f in footprints if len(f.peaks)]
    px, py = (np.array([peak[name] for peak in peaks], float) for name in ("f_x", "f_y"))
    x0, y0 = exposure.xy0
    bad = exposure.mask.bitmask(list(FAILED_PLANES), ignoreMissing=True)
    planes = exposure.image.array, exposure.variance.array, exposure.mask.array
    moments = adaptiveMoments(*planes, px - x0, py - y0, guessSigma=sigma, badBits=bad)
    good = ((moments.flagBits & MomentsFlag.FAILED) == 0) & np.isfinite(moments.x) & np.isfinite(moments.y)
    moments = moments[good]
    x, y = (moments.x + x0, moments.y + y0) if "SdssCentroid" in plugins else (px[good], py[good])
    table = Table()
    table["id"] = np.arange(1, len(x) + 1) if idFactory is None else np.asarray(idFactory(len(x)), np.int64)
    _add(table, "x", x, "position, x, parent coordinates", u.pix)
    _add(table, "y", y, "position, y, parent coordinates", u.pix)
    _addColumns(table, exposure, moments, set(plugins), bad)
    return table


def _add(table, name, values, description, unit=None):
    table[name] = Table.Column(np.atleast_1d(values), unit=unit, description=description)


def _addColumns(table, exposure, moments, plugins, bad):
    """The columns that the plugins stand for."""
    x, y = np.asarray(table["x"]), np.asarray(table["y"])
    if "SkyCoord" in plugins and exposure.wcs is not None:
        ra, dec = exposure.wcs.pixelToSky(x, y)
        _add(table, "coord_ra", ra, "right ascension, ICRS", u.rad)
        _add(table, "coord_dec", dec, "declination, ICRS", u.rad)
    if plugins & {"PsfFlux", "PixelFlags"}:
        found = [_psfFlux(exposure, *values, bad) for values in zip(x, y, moments, strict=True)]
        flux, error, flag = np.transpose(found) if found else np.empty((3, 0))
        if "PsfFlux" in plugins:
            _add(table, "psfFlux", flux, "flux of a point source, image units")
            _add(table, "psfFluxErr", error, "its standard deviation")
        if "PixelFlags" in plugins:
            _add(table, "pixelFlag", flag.astype(bool), "a bad, saturated or missing pixel near the centre")
    if "SdssShape" in plugins:
        for name in ("xx", "yy", "xy"):
            _add(table, name, moments[name], "adaptive second moment", u.pix**2)
    if "GaussianFlux" in plugins:
        _add(table, "gaussianFlux", moments.flux, "flux of the matched elliptical Gaussian, image units")
        _add(table, "gaussianFluxErr", moments.fluxErr, "its standard deviation")
    if "ClassificationSizeExtendedness" in plugins:
        values = [_extendedness(exposure.psf, *row) for row in zip(x, y, moments.xx + moments.yy, strict=True)]
        _add(table, "sizeExtendedness", np.array(values, float), "0: as small as the PSF, 1: much larger")


def _extendedness(psf, x, y, trace):
    """NaN where the PSF has no shape."""
    try:
        xx, yy, _ = psf.computeShape((float(x), float(y)))
    except (AttributeError, StillskyError, ValueError, ArithmeticError):
        return np.nan
    return 1.0 - np.exp(-0.5 * (trace - xx - yy) ** 2 / (xx + yy))


def _psfFlux(exposure, x, y, moments, bad):
    """Flux of a point source at a position, its error, and whether a pixel within the half-maximum is unusable.

    Least squares of the PSF image with equal weights, F = sum(P d) / sum(P^2), over the usable pixels. Without a PSF
    the flux of the matched Gaussian.
    """
    if exposure.psf is None:
        return moments.flux, moments.fluxErr, False
    try:
        image = exposure.psf.computeImage((float(x), float(y)))
    except (StillskyError, ValueError, ArithmeticError):
        return moments.flux, moments.fluxErr, True
    box = image.bbox.clipped(exposure.bbox)
    if box.isEmpty:
        return np.nan, np.nan, True
    part, psf = exposure.maskedImage[box], image[box].array
    data, variance = part.image.array.astype(float), part.variance.array.astype(float)
    use = np.isfinite(data) & np.isfinite(variance) & ((part.mask.array & bad) == 0)
    norm = np.sum(psf[use] ** 2)
    if not norm > 0:
        return np.nan, np.nan, True
    core = psf > 0.5 * psf.max()
    flux = np.sum(psf[use] * data[use]) / norm
    return flux, np.sqrt(np.sum(psf[use] ** 2 * variance[use])) / norm, bool(np.any(core & ~use))
