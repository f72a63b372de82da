"""All measurements of the sources of one difference image, as one table."""

import numpy as np
from astropy.table import Table, hstack

from ..measure import applyApCorr, forcedPhotometry, measureSources, motionScore, psfFlux
from ..measure.dipoles import lobePeaks
from ..measure.forced import FORCED, FORCED_TEMPLATE
from .image_sky import overBands
from .overlaps import fitFluxesTogether, overlapping
from .source_schema import completed

__all__ = ["DIPOLE_FIT", "dipoleLobes", "measureAll", "slotPositions"]

DIPOLE_FIT = "ip_diffim_DipoleFit"


def measureAll(job, footprints, flags, forcedPsf):
    """Measure footprints on a difference.

    Parameters
    ----------
    job : object
        With ``difference, science, template, score, psf, config``, maybe ``covariance``, ``blends`` and ``skyOf``, which
        tells the sky of an image.
    footprints : `FootprintSet`
    flags : structured array
        ``positive, negative, sky`` of each footprint.
    forcedPsf : Psf
        For the forced fluxes.

    Returns
    -------
    table : `astropy.table.Table`
        All columns of the schema; ids 1, 2, ...
    """
    config, difference = job.config, job.difference
    unit = _unitOf(difference)
    first = _firstIsNegative(footprints, flags)
    blends = getattr(job, "blends", None)
    table = _measured(job, footprints, first, blends)
    overlaps = _fluxesTogether(job, table, blends)
    for name in ("dipoleFitsTried", "dipoleFitsSkipped"):
        if name in table.meta:
            job.metadata[name] = int(table.meta.pop(name))
    if getattr(job, "covariance", None) is not None:
        job.covariance.scaleErrors(table, job.psf)
    table["is_negative"][:] = flags["negative"] & ~flags["positive"]
    extra = Table()
    extra["merge_footprint_positive"], extra["merge_footprint_negative"] = flags["positive"], flags["negative"]
    extra["sky_source"] = flags["sky"]
    _blendColumns(extra, table["nPeaks"], blends)
    for name in ("positive", "negative"):
        extra[f"significance_{name}"] = _largest(footprints, name)
    parts = [table, extra]
    if config.doApCorr:
        # no news: images that never had a map, and the PSF that decorrelation makes
        isNews = job.psfMode == "science" and getattr(job.science, "apCorrMap", None) is not None
        applyApCorr(table, getattr(difference, "apCorrMap", None), *slotPositions(table), doWarn=isNews)
    x, y = slotPositions(table)
    bad = np.array(table["base_SdssCentroid_flag"], bool)
    if DIPOLE_FIT in table.meta["plugins"]:
        bad &= ~np.asarray(table[f"{DIPOLE_FIT}_classification"], bool)  # its own position is a good one
    if config.doForcedMeasurement:
        for prefix, exposure in ((FORCED, job.science), (FORCED_TEMPLATE, job.template)):
            if exposure is not None:
                parts.append(_forced(job, exposure, prefix, x, y, bad, forcedPsf, overlaps))
                if exposure is job.template:  # its noise is correlated where it was convolved
                    parts[-1][prefix + "instFluxErr"] *= getattr(job, "templateNoise", 1.0)
    if job.score is not None:
        parts.append(_scores(job.score, x, y))
    if DIPOLE_FIT not in table.meta["plugins"]:
        parts.append(_dipoles(table))
    meta = dict(table.meta)
    joined = hstack([p for p in parts if len(p.colnames)], join_type="exact", metadata_conflicts="silent")
    joined.meta.clear()
    joined.meta.update(meta)
    return completed(joined, unit)


def _measured(job, footprints, isNegative, blends):
    """The measurements, those of sources that overlap on the image without their neighbours."""
    config, difference = job.config, job.difference
    keywords = {
        "psf": job.psf, "extraPlanes": tuple(config.measurement.extraPlanes), "science": job.science,
        "template": job.template, "maxDistToPeak": config.measurement.maxDistToPeak,
        "dipoleConfig": config.measurement.dipole,
        "dipoleErrors": (getattr(job, "templateNoise", 1.0), getattr(job, "modelError", 0.0)),
    }  # fmt: skip
    plugins = _plugins(config.measurement, difference.wcs is not None)

    def measure(some, negative, centroids=None):
        table = measureSources(difference, some, plugins, isNegative=negative, centroids=centroids, **keywords)
        table["motionScore"] = motionScore(difference, *_scorePlaces(table, some), psf=job.psf)
        return table

    if blends is None:
        return measure(footprints, isNegative)
    parts, places = [], []
    for rows, alone in blends.passes(difference, job.psf):
        with alone:
            parts.append(measure(footprints.subset(rows), isNegative[rows], blends.centroids(rows)))
        places.append(rows)
    table = _together(parts, np.concatenate(places))
    table["id"][:] = np.arange(1, len(table) + 1)
    solved = blends.solved
    for name, field in (("instFlux", "flux"), ("instFluxErr", "fluxErr")):
        table[f"base_PsfFlux_{name}"][blends.row[solved]] = blends.found[field][solved]
    return table


def _together(parts, places):
    """One table of the rows of several, each at its place."""
    columns = []
    for name in parts[0].colnames:
        like = parts[0][name]
        values = np.empty(len(places), like.dtype)
        values[places] = np.concatenate([np.asarray(part[name]) for part in parts])
        columns.append(Table.Column(values, name, unit=like.unit, description=like.description, copy=False))
    meta = dict(parts[0].meta)
    for name in ("dipoleFitsTried", "dipoleFitsSkipped"):
        if name in meta:
            meta[name] = sum(part.meta[name] for part in parts)
    return Table(columns, meta=meta, copy=False)


def _blendColumns(extra, nPeaks, blends):
    """What the deblending did; parents are not kept."""
    n, sky = len(nPeaks), np.asarray(extra["sky_source"])
    size = np.ones(n, int) if blends is None else blends.size
    extra["deblend_nChild"] = np.zeros(n, np.int32)
    extra["deblend_parentNChild"] = np.where(size > 1, size, 0).astype(np.int32)
    extra["detect_fromBlend"] = size > 1
    extra["detect_isIsolated"] = (size == 1) & (np.asarray(nPeaks) <= 1) & ~sky
    extra["detect_isPrimary"] = ~sky
    extra["detect_isDeblendedSource"] = np.asarray(extra["detect_fromBlend"]) | extra["detect_isIsolated"]


def _fluxesTogether(job, table, blends):
    """Fluxes at the positions of the table, in place, those of sources that overlap all of a group at once.

    Neighbours see both lobes of a dipole, the dipole itself is one source in their middle. The errors stay where all
    positions of a group were fitted with the fluxes: they know of the positions' errors. So do the fluxes beside a source
    of both signs that is no dipole, which were fitted with all its peaks.

    Returns
    -------
    overlaps : `stillsky.diffim.overlaps.Overlaps` or None
        On an image in which a dipole is one star.
    """
    sigma = getattr(job, "sigma", None) if job.config.doDeblend else None
    if sigma is None:
        return None
    x, y = slotPositions(table)
    overlaps = overlapping(x, y, sigma, dipoleLobes(table))
    isDipole = np.isin(np.arange(len(x)), overlaps.dipoles)
    before, solved = table[[f"base_PsfFlux_{name}" for name in ("instFlux", "instFluxErr")]], np.zeros(len(x), bool)
    if blends is not None:
        apart = (blends.size > 1) & (overlaps.group < 0)  # by their peaks they overlapped just so
        mixed = blends.severalComponents
        mixed = mixed[~isDipole[mixed]]
        apart[mixed] = False
        alone = psfFlux(job.difference, x[apart], y[apart], psf=job.psf)
        for name in before.colnames:
            table[name][apart] = alone[name]
        overlaps.group[np.isin(overlaps.group, overlaps.group[mixed])] = -1
        solved[blends.row[blends.solved]] = True
    fitFluxesTogether(table, "base_PsfFlux_", job.difference, x, y, overlaps, job.psf)
    whole = solved & (overlaps.group >= 0) & ~np.isin(overlaps.group, overlaps.group[~solved & ~isDipole])
    for name, kept in zip(before.colnames, (solved & ~overlaps.isSingle, whole), strict=True):
        table[name][kept] = before[name][kept]
    return overlapping(x, y, sigma)


def dipoleLobes(table):
    """x and y of the positive and the negative lobe of classified dipoles, (n, 4), NaN for other sources; None without."""
    names = [f"{DIPOLE_FIT}_{sign}_{axis}" for sign in ("pos", "neg") for axis in "xy"]
    which = f"{DIPOLE_FIT}_classification"
    if not {*names, which} <= set(table.colnames) or table[which].dtype.kind != "b":  # words of a text file
        return None
    lobes = np.stack([np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan) for name in names], axis=1)
    return np.where(np.ma.filled(np.ma.asarray(table[which]), False)[:, None], lobes, np.nan)


def _forced(job, exposure, prefix, x, y, flag, psf, overlaps):
    """Forced fluxes on an image less its sky; those of sources that overlap all of a group at once."""

    def measure(part, rows):
        found = forcedPhotometry(part, x[rows], y[rows], psf=psf, prefix=prefix)
        found.meta.clear()
        if overlaps is not None:
            fitFluxesTogether(found, prefix, part, x[rows], y[rows], overlaps.subset(rows), psf)
        found[prefix + "flag"][:] |= flag[rows]
        return found

    sky = job.skyOf(exposure) if hasattr(job, "skyOf") else None
    return overBands(measure, exposure, sky, x, y, psf=psf, groups=None if overlaps is None else overlaps.group)


def _scorePlaces(table, footprints):
    """Between where a source would have moved from and to: the middle of peaks of both signs, else the position."""
    x, y = slotPositions(table)
    positions, has = lobePeaks(footprints)
    dipole = np.zeros(len(table), bool)
    if f"{DIPOLE_FIT}_classification" in table.colnames:
        dipole = np.asarray(table[f"{DIPOLE_FIT}_classification"], bool)
    between = has.all(axis=1) & ~dipole
    middle = 0.5 * (positions[:, :2] + positions[:, 2:])
    return np.where(between, middle[:, 0], x), np.where(between, middle[:, 1], y)


def _plugins(config, hasWcs):
    """Names of the algorithms that are wanted and possible."""
    names = [name for name in config.plugins if hasWcs or name != "base_SkyCoord"]
    return [*names, DIPOLE_FIT] if config.doDipoles and DIPOLE_FIT not in names else names


def slotPositions(table):
    """(x, y) of the centroid slot: the middle of a dipole, the centroid of anything else; parent pixels."""
    slot = table.meta["slots"]["slot_Centroid"]
    return tuple(np.asarray(table[f"{slot}_{c}"], float) for c in "xy")


def _unitOf(exposure):
    return getattr(exposure, "fluxUnit", None) or "count"


def _firstIsNegative(footprints, flags):
    """Sign of the first peak: where the centroid starts."""
    sign = flags["negative"] & ~flags["positive"]
    some = footprints.nPeaks > 0
    if "merge_peak_negative" in (footprints.peaks.dtype.names or ()):
        sign[some] = footprints.peaks["merge_peak_negative"][footprints.firstPeaks[some]]
    return sign


def _largest(footprints, name):
    """Largest significance of the peaks of one polarity, NaN without any."""
    peaks = footprints.peaks
    out = np.full(len(footprints), -np.inf)
    if len(peaks):
        on = peaks[f"merge_peak_{name}"].astype(bool)
        np.maximum.at(out, np.repeat(np.arange(len(footprints)), footprints.nPeaks)[on], peaks["significance"][on])
    return np.where(np.isfinite(out), out, np.nan).astype(np.float32)


def _scores(score, x, y):
    """Value of a score image at the nearest pixels, and over its standard deviation."""
    x0, y0 = (int(v) for v in score.xy0)
    height, width = score.image.array.shape
    ok = np.isfinite(x) & np.isfinite(y)
    ix, iy = (np.floor(np.where(ok, v, 0) + 0.5).astype(int) - o for v, o in ((x, x0), (y, y0)))
    ok &= (ix >= 0) & (ix < width) & (iy >= 0) & (iy < height)
    ix, iy = np.clip(ix, 0, width - 1), np.clip(iy, 0, height - 1)
    value = np.where(ok, score.image.array[iy, ix], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = value / np.sqrt(score.variance.array[iy, ix])
    return Table({"score": value.astype(float), "scoreSignificance": ratio.astype(np.float32)})


def _dipoles(table):
    """Positions of the dipole columns where no fit is wanted: those of the centroid, with its flag."""
    out = Table()
    for name in ("x", "y", "xErr", "yErr", "flag"):
        out[f"ip_diffim_DipoleFit_{name}"] = table[f"base_SdssCentroid_{name}"]
    return out
