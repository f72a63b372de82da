"""All measurements of the sources of one difference image, as one table."""

import numpy as np
from astropy.table import Table, hstack

from ..measure import applyApCorr, forcedPhotometry, measureSources
from .source_schema import completed

__all__ = ["DIPOLE_FIT", "measureAll", "slotPositions"]

DIPOLE_FIT = "ip_diffim_DipoleFit"


def measureAll(job, footprints, flags, forcedPsf):
    """Measure footprints on a difference.

    Parameters
    ----------
    job : object
        With ``difference, science, template, score, psf, config``, maybe ``covariance``.
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
    table = measureSources(
        difference,
        footprints,
        _plugins(config.measurement, difference.wcs is not None),
        isNegative=first,
        psf=job.psf,
        extraPlanes=tuple(config.measurement.extraPlanes),
        maxDistToPeak=config.measurement.maxDistToPeak,
        science=job.science,
        template=job.template,
        dipoleConfig=config.measurement.dipole,
    )
    for name in ("dipoleFitsTried", "dipoleFitsSkipped"):
        if name in table.meta:
            job.metadata[name] = int(table.meta.pop(name))
    if getattr(job, "covariance", None) is not None:
        job.covariance.scaleErrors(table, job.psf)
    table["is_negative"][:] = flags["negative"] & ~flags["positive"]
    extra = Table()
    extra["merge_footprint_positive"], extra["merge_footprint_negative"] = flags["positive"], flags["negative"]
    extra["sky_source"] = flags["sky"]
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
        for prefix, exposure in (("", job.science), ("template_", job.template)):
            if exposure is not None:
                prefix = f"ip_diffim_forced_{prefix}PsfFlux_"
                parts.append(forcedPhotometry(exposure, x, y, flag=bad, psf=forcedPsf, prefix=prefix))
                parts[-1].meta.clear()
    if job.score is not None:
        parts.append(_scores(job.score, x, y))
    if DIPOLE_FIT not in table.meta["plugins"]:
        parts.append(_dipoles(table))
    meta = dict(table.meta)
    joined = hstack([p for p in parts if len(p.colnames)], join_type="exact", metadata_conflicts="silent")
    joined.meta.clear()
    joined.meta.update(meta)
    return completed(joined, unit)


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
