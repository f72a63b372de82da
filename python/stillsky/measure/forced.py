"""Forced photometry: PSF fluxes at given places."""

import numpy as np
from astropy.table import Column

from .. import errors
from .algorithms import _positions, psfFlux

#: Prefix of the columns on the science image and on the matched template.
FORCED, FORCED_TEMPLATE = "ip_diffim_forced_PsfFlux_", "ip_diffim_forced_template_PsfFlux_"
_COLUMNS = ("instFlux", "instFluxErr", "area", "flag", "flag_noGoodPixels", "flag_edge")


def forcedPhotometry(exposure, x, y, *, wcs=None, flag=None, psf=None, badPlanes=None, model="default", prefix=FORCED):
    """PSF fluxes at the places of other sources, on the image as it is: never pre-filtered or decorrelated.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        The science image, or the template matched to it.
    x, y : array_like
        Positions, parent coordinates of the image that they were measured on.
    wcs : SkyWcs, optional
        WCS of those positions: where it differs from the exposure's, they go through the sky. Default: the same pixels.
    flag : array_like of bool, optional
        Flags of the positions, carried into the general flag.
    psf : Psf, optional
        Default: the exposure's. On a matched template it should be the science image's.
    badPlanes, model
        As in `psfFlux`.
    prefix : str
        Of the columns: `FORCED` or `FORCED_TEMPLATE`.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``instFlux, instFluxErr, area, flag, flag_noGoodPixels, flag_edge`` with the prefix, row by row. No
        aperture correction is applied. ``meta["positions"]`` has the positions used, (2, n).

    Raises
    ------
    StillskyError
        A WCS is given and the exposure has none.
    """
    x, y = transformedPositions(exposure, *_positions(x, y), wcs)
    found = psfFlux(exposure, x, y, psf=psf, badPlanes=badPlanes, model=model)
    for name in found.colnames:
        short = name.removeprefix("base_PsfFlux_")
        if short in _COLUMNS:
            found.rename_column(name, prefix + short)
        else:
            found.remove_column(name)
    found = found[[prefix + name for name in _COLUMNS]]
    if flag is not None:
        found[prefix + "flag"][:] |= np.asarray(flag, bool)
    found.meta["positions"] = np.array([x, y])
    return found


def transformedPositions(exposure, x, y, wcs=None):
    """Positions on an exposure of positions measured elsewhere: copied where the WCS are equal, else through the sky."""
    if wcs is None:
        return x, y
    own = getattr(exposure, "wcs", None)
    if own is None:
        raise errors.StillskyError("forced photometry: positions of another WCS need an exposure with a WCS")
    if own == wcs:
        return x, y
    known = np.isfinite(x) & np.isfinite(y)
    out = np.full((2, len(x)), np.nan)
    if known.any():
        out[:, known] = own.skyToPixel(*wcs.pixelToSky(x[known], y[known]))
    return out[0], out[1]


def addForcedPhotometry(table, science, template=None, *, x, y, wcs=None, flag=None, templatePsf=None, **keywords):
    """Columns of forced photometry on the science image, and on the matched template, appended to a table in place.

    Parameters
    ----------
    table : `astropy.table.Table`
        One row per position.
    science, template : Exposure
        The template is measured with the science image's PSF, to which it was matched.
    x, y, wcs, flag
        As in `forcedPhotometry`.
    templatePsf : Psf, optional
        Of a template that was not convolved, because the science image was.
    **keywords
        ``badPlanes`` and ``model``, passed on.

    Returns
    -------
    table : `astropy.table.Table`
        The same table.
    """
    parts = [forcedPhotometry(science, x, y, wcs=wcs, flag=flag, **keywords)]
    if template is not None:
        parts.append(
            forcedPhotometry(
                template,
                x,
                y,
                wcs=wcs,
                flag=flag,
                psf=templatePsf or getattr(science, "psf", None),
                prefix=FORCED_TEMPLATE,
                **keywords,
            )
        )
    for part in parts:
        if len(part) != len(table):
            raise errors.ShapeError(f"forced photometry: {len(part)} positions for a table of {len(table)} rows")
        for name in part.colnames:
            table[name] = Column(np.asarray(part[name]), unit=part[name].unit, description=part[name].description)
    return table
