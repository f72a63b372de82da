"""Measure detected sources: all algorithms, one table."""

import numpy as np
from astropy.table import hstack

from .. import errors
from ..detection import FootprintSet, sourceTable
from ..detection.sources import emptySourceTable
from . import algorithms
from .schema import PREFIXES, emptyTable

#: Algorithms in the order in which they run. The first gives the positions of all others.
PLUGINS = (
    "base_SdssCentroid",
    "base_SkyCoord",
    "base_SdssShape",
    "base_PixelFlags",
    "base_PsfFlux",
    "base_GaussianFlux",
)
#: Measured only when asked for.
FURTHER_PLUGINS = ("base_ClassificationSizeExtendedness",)
_KNOWN = (*PLUGINS, *FURTHER_PLUGINS)


def measurementSchema(plugins=PLUGINS, extraPlanes=(), fluxUnit="count"):
    """The empty table that `measureSources` would return: names, dtypes, units, descriptions, slots."""
    names = _pluginNames(plugins)
    parts = [emptySourceTable(), *(emptyTable(name, 0, fluxUnit, extraPlanes) for name in names)]
    return _joined(parts, names)


def measureSources(
    exposure,
    sources,
    plugins=None,
    *,
    isNegative=False,
    ids=None,
    psf=None,
    wcs=None,
    badPlanes=None,
    extraPlanes=(),
    maxDistToPeak=-1.0,
    model="default",
):
    """Measure sources on an exposure.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        Background subtracted; nothing is changed.
    sources : `FootprintSet`, sequence of `Footprint`, `DetectionResult`, table with peakX and peakY, or array (n, 2)
        What to measure: footprints, which start at their first peaks, or positions x, y (parent coordinates). A
        detection result gives negative sources first, and knows which they are.
    plugins : sequence of str, optional
        Names with or without "base_", of `PLUGINS` and `FURTHER_PLUGINS`; default: all of `PLUGINS`. A default SkyCoord stays NaN without a WCS. Without
        SdssCentroid the positions given are used.
    isNegative : bool or sequence of bool
        Sources that are minima.
    ids : sequence of int, optional
        Default 1, 2, ...
    psf, wcs : optional
        Instead of the exposure's.
    badPlanes, model
        As in the algorithms: which planes are left out; "reference" gives Rubin's numbers.
    extraPlanes : sequence of str
        Further planes of PixelFlags.
    maxDistToPeak : float
        Farthest a centroid may be from its peak, pixels; negative: no limit.

    Returns
    -------
    table : `astropy.table.Table`
        One row per source with all columns, also when empty; `meta` has ``slots`` and ``plugins``. A flagged centroid
        sets the general flag of every algorithm that uses it.

    Raises
    ------
    InvalidPsfError
        No PSF, where an algorithm needs one.
    StillskyError
        SkyCoord asked for and no WCS.
    DomainError
        Unknown plugin.
    """
    names = _pluginNames(PLUGINS if plugins is None else plugins)
    footprints, base, x, y = _startOf(sources, ids, isNegative)
    negative = np.asarray(base["is_negative"])
    masked = getattr(exposure, "maskedImage", exposure)
    _requireOnImage(masked, footprints)
    common = {"badPlanes": badPlanes, "model": model}
    parts, centroidFlag = [base], np.zeros(len(base), bool)
    xErr = yErr = shape = None
    for name in names:
        if name == "base_SdssCentroid":
            part = algorithms.sdssCentroid(
                exposure,
                x,
                y,
                footprints=footprints,
                isNegative=negative,
                psf=psf,
                maxDistToPeak=maxDistToPeak,
                **common,
            )
            x, y, xErr, yErr = (np.array(part[f"base_SdssCentroid_{c}"], float) for c in ("x", "y", "xErr", "yErr"))
            centroidFlag = np.array(part["base_SdssCentroid_flag"])
        elif name == "base_SkyCoord":
            known = wcs is not None or getattr(exposure, "wcs", None) is not None
            if known or plugins is not None:
                part = algorithms.skyCoord(exposure, x, y, xErr, yErr, wcs=wcs)
            else:
                part = emptyTable(name, len(base))
        elif name == "base_SdssShape":
            part = shape = algorithms.sdssShape(exposure, x, y, isNegative=negative, psf=psf, **common)
        elif name == "base_PixelFlags":
            part = algorithms.pixelFlags(exposure, x, y, footprints=footprints, extraPlanes=extraPlanes)
        elif name == "base_PsfFlux":
            part = algorithms.psfFlux(exposure, x, y, psf=psf, **common)
        elif name == "base_ClassificationSizeExtendedness":
            if shape is None or "base_SdssShape" not in names:
                shape = algorithms.sdssShape(exposure, x, y, isNegative=negative, psf=psf, **common)
            part = algorithms.sizeExtendedness(shape)
        else:
            if shape is None:
                shape = algorithms.sdssShape(exposure, x, y, isNegative=negative, doMeasurePsf=False, **common)
            moments = (shape[f"base_SdssShape_{c}"] for c in ("xx", "yy", "xy"))
            part = algorithms.gaussianFlux(exposure, x, y, *moments, **common)
            if model == "default":
                part["base_GaussianFlux_flag"][:] |= shape["base_SdssShape_flag"]
        if name not in ("base_SdssCentroid", "base_SkyCoord"):
            part[PREFIXES[name] + "flag"][:] |= centroidFlag
        parts.append(part)
    return _joined(parts, names)


def _pluginNames(plugins):
    wanted = {name if name.startswith("base_") else f"base_{name}" for name in plugins}
    unknown = wanted - set(_KNOWN)
    if unknown:
        raise errors.DomainError(f"plugins: wanted some of {', '.join(_KNOWN)}, got {', '.join(sorted(unknown))}")
    return [name for name in _KNOWN if name in wanted]


def _joined(parts, names):
    table = hstack(parts, join_type="exact", metadata_conflicts="silent")
    table.meta["plugins"] = list(names)
    table.meta["slots"] = {
        slot: name
        for slot, name in (
            ("slot_Centroid", "base_SdssCentroid"),
            ("slot_Shape", "base_SdssShape"),
            ("slot_PsfFlux", "base_PsfFlux"),
        )
        if name in names
    }
    return table


def _startOf(sources, ids, isNegative):
    """(footprints or None, table of the first columns, x, y)."""
    if hasattr(sources, "positive") and hasattr(sources, "negative"):
        isNegative = np.arange(len(sources.positive) + len(sources.negative)) < len(sources.negative)
        sources = FootprintSet([*sources.negative, *sources.positive], sources.positive.region)
    if isinstance(sources, (list, tuple)) and sources and hasattr(sources[0], "spans"):
        sources = FootprintSet(sources, sources[0].region)
    if isinstance(sources, FootprintSet):
        base = sourceTable(sources, ids, isNegative)
        # A footprint without peaks starts at its centroid.
        x, y = (np.array(base[c]) for c in ("peakX", "peakY"))
        for i in np.flatnonzero(sources.nPeaks == 0):
            x[i], y[i] = sources[i].centroid
        return sources, base, x, y
    if hasattr(sources, "colnames"):
        positions = np.column_stack([sources["peakX"], sources["peakY"]]).astype(float)
    else:
        positions = np.asarray(sources, float).reshape(-1, 2) if len(sources) == 0 else np.asarray(sources, float)
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise errors.ShapeError(f"sources: wanted footprints or positions of shape (n, 2), got shape {positions.shape}")
    base = emptySourceTable(length=len(positions))
    base["id"][:] = np.arange(1, len(base) + 1) if ids is None else np.asarray(ids, np.int64)
    base["is_negative"][:] = isNegative
    base["peakX"][:], base["peakY"][:] = positions.T
    return None, base, positions[:, 0].copy(), positions[:, 1].copy()


def _requireOnImage(masked, footprints):
    if footprints is not None and len(footprints) and not masked.bbox.overlaps(footprints.spans.bbox):
        raise errors.OutOfBoundsError(
            f"measureSources: footprints in {footprints.spans.bbox} do not touch the exposure, {masked.bbox}"
        )
