"""Calibration, WCS and aperture corrections at the positions of sources."""

import logging

import numpy as np
from astropy.table import Column

from .algorithms import _positions, _unitOf
from .schema import emptyTable

_log = logging.getLogger(__name__)

#: Fluxes that aperture corrections are for.
AP_CORR_FLUXES = ("base_PsfFlux", "base_GaussianFlux", "base_PeakLikelihoodFlux")


def localPhotoCalib(exposure, x, y, *, photoCalib=None):
    """Photometric calibration at positions.

    Parameters
    ----------
    exposure : Exposure
        Gives the calibration; without one all rows are NaN and flagged.
    x, y : array_like
        Positions, parent coordinates.
    photoCalib : PhotoCalib, optional
        Instead of the exposure's.

    Returns
    -------
    table : `astropy.table.Table`
        ``base_LocalPhotoCalib``, nJy per unit of the image, ``base_LocalPhotoCalibErr`` and ``base_LocalPhotoCalib_flag``.
    """
    x, y = _positions(x, y)
    calib = getattr(exposure, "photoCalib", None) if photoCalib is None else photoCalib
    table, name = emptyTable("base_LocalPhotoCalib", len(x), _unitOf(exposure)), "base_LocalPhotoCalib"
    if calib is not None:
        known = np.isfinite(x) & np.isfinite(y)
        if known.any():
            table[name][known] = calib.localCalibration((x[known], y[known]))
            table[name + "Err"][known] = calib.err
    table[name + "_flag"][:] = ~np.isfinite(np.asarray(table[name]))
    return table


def localWcs(exposure, x, y, *, wcs=None):
    """Tangent-plane linearisation of the WCS at positions.

    Parameters
    ----------
    exposure : Exposure
        Gives the WCS; without one all rows are NaN and flagged.
    x, y : array_like
        Positions, parent coordinates.
    wcs : SkyWcs, optional
        Instead of the exposure's.

    Returns
    -------
    table : `astropy.table.Table`
        ``base_LocalWcs_CDMatrix_i_j``, radians per pixel: i = 1 eastwards, 2 northwards; j = 1 for x, 2 for y, by central
        differences over one pixel of the gnomonic projection about each position (Calabretta & Greisen 2002, A&A 395,
        1077, 5.1.3).
    """
    x, y = _positions(x, y)
    wcs = getattr(exposure, "wcs", None) if wcs is None else wcs
    table, prefix = emptyTable("base_LocalWcs", len(x)), "base_LocalWcs_"
    known = np.isfinite(x) & np.isfinite(y)
    if wcs is not None and known.any():
        px, py = x[known], y[known]
        ra0, dec0 = wcs.pixelToSky(px, py)
        for j, (dx, dy) in enumerate(((0.5, 0.0), (0.0, 0.5)), start=1):
            upper, lower = (_gnomonic(*wcs.pixelToSky(px + s * dx, py + s * dy), ra0, dec0) for s in (1, -1))
            for i in (1, 2):
                table[f"{prefix}CDMatrix_{i}_{j}"][known] = upper[i - 1] - lower[i - 1]
    table[prefix + "flag"][:] = ~np.isfinite(
        np.sum([np.asarray(table[f"{prefix}CDMatrix_{i}_{j}"]) for i in (1, 2) for j in (1, 2)], axis=0)
    )
    return table


def _gnomonic(ra, dec, ra0, dec0):
    cosine = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra - ra0)
    xi = np.cos(dec) * np.sin(ra - ra0) / cosine
    return xi, (np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(ra - ra0)) / cosine


def applyApCorr(table, apCorrMap, x, y, *, names=AP_CORR_FLUXES, doFlagApCorrFailures=True, doWarn=True):
    """Multiply fluxes by aperture corrections, in place.

    Parameters
    ----------
    table : `astropy.table.Table`
        Has ``NAME_instFlux``, ``NAME_instFluxErr`` and ``NAME_flag`` of some of `names`. Columns ``NAME_apCorr``,
        ``NAME_apCorrErr`` and ``NAME_flag_apCorr`` are added or filled.
    apCorrMap : ApCorrMap or None
        Fields by ``NAME_instFlux`` and, for the errors, ``NAME_instFluxErr``.
    x, y : array_like
        Positions, parent coordinates.
    names : sequence of str
        Measurements to correct.
    doFlagApCorrFailures : bool
        A correction that is not finite and positive sets ``NAME_flag`` too; a missing model never does.

    doWarn : bool
        Log a warning when a model is missing; False where none can be expected.

    Notes
    -----
    A flux without correction stays as measured. The error of the correction is recorded, not propagated.
    """
    x, y = _positions(x, y)
    fields, missing = {} if apCorrMap is None else apCorrMap, []
    for name in names:
        if name + "_instFlux" not in table.colnames:
            continue
        correction, error = (_evaluate(fields.get(name + suffix), x, y) for suffix in ("_instFlux", "_instFluxErr"))
        good = np.isfinite(correction) & (correction > 0)
        if name + "_instFlux" in fields:
            if doFlagApCorrFailures:
                table[name + "_flag"][:] |= ~good
        else:
            missing.append(name)
        for column in ("_instFlux", "_instFluxErr"):
            table[name + column][:] = np.where(
                good, np.asarray(table[name + column]) * correction, table[name + column]
            )
        for suffix, values, doc in (
            ("_apCorr", correction, f"aperture correction applied to {name}"),
            ("_apCorrErr", error, f"standard deviation of {name}_apCorr"),
            ("_flag_apCorr", ~good, "no aperture correction"),
        ):
            if name + suffix in table.colnames:
                table[name + suffix][:] = values
            else:
                table[name + suffix] = Column(values, description=doc)
    if missing and doWarn:
        _log.warning("no aperture correction for %s: fluxes are as measured, with flag_apCorr", ", ".join(missing))


def _evaluate(field, x, y):
    out, known = np.full(len(x), np.nan), np.isfinite(x) & np.isfinite(y)
    if field is not None and known.any():
        out[known] = field.evaluate(x[known], y[known])
    return out
