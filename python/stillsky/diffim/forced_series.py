"""Forced photometry over many differences: one row for each position and image, a light curve."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Column, Table, vstack

from ..detection import skySources
from ..errors import DomainError, NoDataError, ShapeError
from ..measure import forcedPhotometry, pixelFlags, psfFlux
from ..measure.forced import FORCED, FORCED_TEMPLATE
from ..stats import robustSigma
from .image_sky import withoutSky
from .overlaps import fitFluxesTogether, overlapping

__all__ = ["ForcedImage", "Positions", "errorScale", "forcedEpoch", "forcedSeries", "subtractBaseline", "withoutSky"]

_FLUX = ("instFlux", "instFluxErr", "area", "flag", "flag_noGoodPixels", "flag_edge")
DIFFERENCE = "base_PsfFlux_"
#: Prefix of the fluxes of each image -> name of the calibrated one and what it is of.
_CALIBRATED = {
    DIFFERENCE: ("psfDiffFlux", "the difference"),
    FORCED: ("psfFlux", "the science image"),
    FORCED_TEMPLATE: ("templateFlux", "the template as it was subtracted"),
}
_FEWEST_SKY = 20  # blank positions that tell a scale of errors


@dataclass
class Positions:
    """Where to measure: pixels, or the sky, or both (then the sky counts wherever an image has a WCS).

    Attributes
    ----------
    ids : array
        Numbers or texts, one per position.
    x, y : array or None
        Parent pixels.
    ra, dec : array or None
        Radians.
    lobes : array, shape (n, 4), or None
        x and y of the positive and of the negative lobe of dipoles, in the pixels of `x` and `y`; NaN for others. Their
        neighbours see both lobes on a difference.
    """

    ids: Any
    x: Any = None
    y: Any = None
    ra: Any = None
    dec: Any = None
    lobes: Any = None

    def __post_init__(self):
        for first, second in (("x", "y"), ("ra", "dec")):
            given = [getattr(self, n) for n in (first, second)]
            if (given[0] is None) != (given[1] is None):
                raise DomainError(f"positions: {first} and {second} go together")
        if self.x is None and self.ra is None:
            raise DomainError("positions: wanted x and y, or ra and dec; got neither")
        for name in ("x", "y", "ra", "dec"):
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, np.atleast_1d(np.asarray(value, float)))
        lengths = {len(v) for v in (self.ids, self.x, self.y, self.ra, self.dec) if v is not None}
        if len(lengths) != 1:
            raise ShapeError(f"positions: wanted columns of one length, got {sorted(lengths)}")
        if self.lobes is not None:
            self.lobes = np.asarray(self.lobes, float)
            if self.x is None or self.lobes.shape != (len(self.ids), 4):
                raise ShapeError(f"positions: lobes (n, 4) beside x and y wanted, got {self.lobes.shape}")

    def __len__(self):
        return len(self.ids)

    def on(self, exposure):
        """Pixels (x, y) on an exposure, (2, n); NaN where a direction cannot be projected.

        Raises
        ------
        DomainError
            Sky positions for an image without a WCS.
        """
        if self.ra is None or (exposure.wcs is None and self.x is not None):
            return np.array([self.x, self.y])
        if exposure.wcs is None:
            raise DomainError("positions: ra and dec need an image with a WCS")
        return np.array(exposure.wcs.skyToPixel(self.ra, self.dec))

    def lobesOn(self, x, y):
        """Lobes on an image where the positions are at x and y: turned and scaled as the positions are. None without any."""
        if self.lobes is None or not np.isfinite(self.lobes).all(axis=1).any():
            return None
        places = np.stack([self.x, self.y], axis=1)
        known = np.isfinite(places).all(axis=1) & np.isfinite(x) & np.isfinite(y)
        if not known.any():
            return None
        there = np.stack([x, y], axis=1)
        middle = places[known].mean(axis=0)
        turn, _, rank, _ = np.linalg.lstsq(places[known] - middle, there[known] - there[known].mean(axis=0))
        if rank < 2:  # too few positions to tell: as if north were up in both
            turn = np.eye(2)
        offsets = self.lobes.reshape(-1, 2, 2) - places[:, None]
        return (there[:, None] + offsets @ turn).reshape(-1, 4)


@dataclass
class ForcedImage:
    """One difference and the images that it was made of.

    Attributes
    ----------
    label : `str`
        Of the column ``image``.
    difference : Exposure
        With a PSF.
    science, template : Exposure or None
        The science image as it is, and the template as it was subtracted. Columns of an absent one are NaN and flagged.
    sciencePsf : Psf, optional
        Default: the science image's.
    templateScale : `float`
        Science counts per template count: 1 when the template was convolved, else 1 over the kernel sum.
    covariance : `NoiseCovariance`, optional
        Of the difference: errors follow it.
    templateNoise : `float`
        By how much PSF fluxes of the template scatter more than its variance plane says (`convolvedNoiseFactor` of a
        template that was convolved).
    """

    label: str
    difference: Any
    science: Any = None
    template: Any = None
    sciencePsf: Any = None
    templateScale: float = 1.0
    covariance: Any = None
    templateNoise: float = 1.0


def forcedSeries(images, positions, *, calibrateErrors=False, seed=0):
    """PSF fluxes at positions on many differences.

    Parameters
    ----------
    images : iterable of `ForcedImage`
        Taken one by one: a generator keeps a single image in memory.
    positions : `Positions`
    calibrateErrors : `bool`
        Multiply the errors on each difference by its `errorScale`.
    seed : `int`
        Of the blank positions.

    Returns
    -------
    table : `astropy.table.Table`
        For every position a row per image, in the order of the images; no row is ever left out. See `forcedEpoch`.
        ``meta["images"]`` has the label, date, number of measured positions and scale of errors of each image.
    """
    tables, notes = [], []
    for image in images:
        table = forcedEpoch(image, positions, calibrateErrors=calibrateErrors, seed=seed)
        notes.append(table.meta["image"])
        table.meta.clear()
        tables.append(table)
    if not tables:
        raise NoDataError("forced photometry: no image")
    out = vstack(tables, join_type="exact", metadata_conflicts="silent") if len(tables) > 1 else tables[0]
    order = np.lexsort((np.arange(len(out)), np.tile(np.arange(len(positions)), len(tables))))
    out = out[order]
    out.meta["images"] = notes
    return out


def subtractBaseline(table, epochs):
    """Take the mean flux of quiet epochs off the fluxes on the differences, position by position, in place.

    A source that is in the template leaves its brightness there in every difference: the baseline of its light curve.

    Parameters
    ----------
    table : `astropy.table.Table`
        Of `forcedSeries`.
    epochs : sequence of (float, float)
        First and last modified Julian dates (TAI) of stretches of quiet epochs. Rows without a date count only where a
        stretch is open at both ends.

    Returns
    -------
    nWithout : `int`
        Positions without a good flux there; their fluxes stay as they are, their baseline is NaN.

    Notes
    -----
    Mean weighted by the inverse variances of unflagged fluxes, in counts and in nJy each. New columns
    ``baseline_instFlux``, ``baseline_instFluxErr``, ``baselineFlux``, ``baselineFluxErr`` (nJy) and ``baseline_n``, the
    number of epochs. The errors of the fluxes are those of the epochs alone: the baseline's is common to a position.
    """
    date = np.asarray(table["midpointMjdTai"], float)
    quiet = np.zeros(len(table), bool)
    for first, last in epochs:
        quiet |= (date >= first) & (date <= last)
        quiet |= ~np.isfinite(date) & (first == -np.inf) & (last == np.inf)
    quiet &= ~np.asarray(table[DIFFERENCE + "flag"], bool) & ~np.asarray(table["noCoverage"], bool)
    n = len(table) // len(table.meta["images"])
    position = np.repeat(np.arange(n), len(table.meta["images"]))
    counts = {}
    for flux, error, name in (
        (DIFFERENCE + "instFlux", DIFFERENCE + "instFluxErr", "baseline_instFlux"),
        ("psfDiffFlux", "psfDiffFluxErr", "baselineFlux"),
    ):
        values, errors = (np.asarray(table[c], float) for c in (flux, error))
        good = quiet & np.isfinite(values) & (errors > 0)
        weight = np.where(good, 1 / np.where(good, errors, 1.0) ** 2, 0.0)
        total = np.bincount(position, weight, n)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(position, weight * np.where(good, values, 0.0), n) / total
            spread = 1 / np.sqrt(total)
        spread[total == 0] = np.nan
        counts[name] = np.bincount(position, good, n)
        unit, base = table[flux].unit, mean[position]
        table[flux][:] = np.where(np.isfinite(base), values - base, values)
        table[name] = Column(base, unit=unit, description=f"mean of {flux} in quiet epochs, which was subtracted")
        table[name + "Err"] = Column(spread[position], unit=unit, description=f"standard deviation of {name}")
    n_ = counts["baseline_instFlux"]
    table["baseline_n"] = Column(n_[position].astype(np.int32), description="epochs of the baseline")
    with np.errstate(invalid="ignore", divide="ignore"):
        table["detectSignificance"][:] = np.asarray(table[DIFFERENCE + "instFlux"]) / np.asarray(
            table[DIFFERENCE + "instFluxErr"]
        )
    table.meta["baseline"] = [[_finiteOrNone(v) for v in pair] for pair in epochs]
    return int(np.count_nonzero(n_ == 0))


def forcedEpoch(image, positions, *, calibrateErrors=False, seed=0):
    """PSF fluxes at positions on one difference, its science image and its template.

    Parameters
    ----------
    image : `ForcedImage`
    positions : `Positions`
    calibrateErrors, seed
        See `forcedSeries`.

    Returns
    -------
    table : `astropy.table.Table`
        ``id, image, midpointMjdTai, exposureTime, band, ra, dec`` (degrees), ``x, y`` (parent pixels), ``noCoverage``;
        on the difference ``base_PsfFlux_*`` and ``detectSignificance``; on science image and template
        ``ip_diffim_forced_PsfFlux_*`` and ``ip_diffim_forced_template_PsfFlux_*``, all three in counts of the science
        image; in nJy ``psfDiffFlux, psfFlux, templateFlux`` and their errors, NaN without a calibration;
        ``base_PixelFlags_flag_*Center`` of the difference.

    Raises
    ------
    InvalidPsfError
        The difference has no PSF.
    DomainError
        Sky positions, and the difference has no WCS.

    Notes
    -----
    Positions whose light overlaps are fitted together, as sources of `subtract` are: each has the flux without that of
    its neighbours, at the positions as they are; on the difference, neighbours of a dipole see both of its lobes. Positions
    nearer to each other than a width of the PSF are taken for several of one object.

    ``noCoverage``: the position is unknown, outside, or on a pixel without data: fluxes on the difference are NaN and
    flagged. Science image and template are measured where they themselves have pixels.
    """
    difference = image.difference
    x, y = positions.on(difference)
    table = _header(image, positions, x, y)
    flags = pixelFlags(difference, x, y, extraPlanes=("DETECTED", "DETECTED_NEGATIVE", "HIGH_VARIANCE", "SAT_TEMPLATE"))
    lost = np.asarray(flags["base_PixelFlags_flag"]) | np.asarray(flags["base_PixelFlags_flag_offimage"])
    lost |= np.asarray(flags["base_PixelFlags_flag_nodataCenter"])
    table["noCoverage"] = Column(lost, description="unknown, outside the difference, or on a pixel without data")
    scale = errorScale(difference, seed=seed, covariance=image.covariance) if calibrateErrors else np.nan
    measured = psfFlux(difference, x, y)
    sigma, lobes = difference.psf.matchedSigma(difference.psf.averagePosition), positions.lobesOn(x, y)
    overlaps = overlapping(x, y, sigma)
    beside = overlaps if lobes is None else overlapping(x, y, sigma, lobes)
    fitFluxesTogether(measured, DIFFERENCE, difference, x, y, beside)
    _append(table, measured, DIFFERENCE, DIFFERENCE, 1.0, lost)
    if image.covariance is not None:
        table[DIFFERENCE + "instFluxErr"] *= image.covariance.psfFactor(difference.psf, x, y)
    if np.isfinite(scale):
        table[DIFFERENCE + "instFluxErr"] *= scale
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.asarray(table[DIFFERENCE + "instFlux"]) / np.asarray(table[DIFFERENCE + "instFluxErr"])
    table["detectSignificance"] = Column(ratio, description="flux on the difference over its error")
    _appendDirect(table, image, x, y, overlaps)
    _calibrate(table, difference, x, y)
    for name in flags.colnames:
        if name.endswith("Center") or name == "base_PixelFlags_flag_offimage":
            table[name] = flags[name]
    table.meta["image"] = {
        "label": image.label,
        "midpointMjdTai": _finiteOrNone(_date(difference)),
        "nMeasured": int(np.count_nonzero(~lost & ~np.asarray(table[DIFFERENCE + "flag"]))),
        "errorScale": _finiteOrNone(scale),
    }
    return table


def errorScale(exposure, *, seed=0, n=400, covariance=None):
    """Robust scatter of PSF fluxes over their errors at blank positions: 1 where the errors are right.

    Parameters
    ----------
    exposure : Exposure
        A difference with its PSF; DETECTED pixels are avoided.
    seed, n : `int`
        Of the positions.
    covariance : `NoiseCovariance`, optional
        What the errors know already.

    Returns
    -------
    scale : `float`
        NaN with fewer than 20 blank positions.
    """
    radius = int(np.ceil(1.5 * exposure.psf.fwhm(exposure.bbox.center)))
    peaks = skySources(exposure, seed, n, radius=radius).peaks
    found = psfFlux(exposure, peaks["f_x"], peaks["f_y"])
    good = ~np.asarray(found["base_PsfFlux_flag"])
    if np.count_nonzero(good) < _FEWEST_SKY:
        return np.nan
    error = np.asarray(found["base_PsfFlux_instFluxErr"], float)
    if covariance is not None:
        error = error * covariance.psfFactor(exposure.psf, peaks["f_x"], peaks["f_y"])
    pulls = np.asarray(found["base_PsfFlux_instFlux"])[good] / error[good]
    return float(robustSigma(pulls[None]))


# ---------------------------------------------------------------------- columns


def _header(image, positions, x, y):
    n, difference = len(positions), image.difference
    table = Table()
    table["id"] = Column(positions.ids, description="of the position, from the catalogue, or its row number")
    table["image"] = Column(np.full(n, image.label), description="the difference that was measured")
    info = difference.visitInfo
    exposureTime = np.nan if info is None else info.exposureTime
    for name, value, unit, words in (
        ("midpointMjdTai", _date(difference), "d", "middle of the exposure, modified Julian date, TAI"),
        ("exposureTime", exposureTime, "s", "exposure time"),
    ):
        table[name] = Column(np.full(n, value, float), unit=unit, description=words)
    label = difference.filter
    band = "" if label is None else label.band or label.physical or ""
    table["band"] = Column(np.full(n, band), description="filter")
    sky = np.full((2, n), np.nan)
    if positions.ra is not None:
        sky = np.array([positions.ra, positions.dec])
    elif difference.wcs is not None:
        known = np.isfinite(x) & np.isfinite(y)
        if known.any():
            sky[:, known] = difference.wcs.pixelToSky(x[known], y[known])
    for name, values in zip(("ra", "dec"), np.degrees(sky)):
        table[name] = Column(values, unit="deg", description="ICRS position")
    for name, values in (("x", x), ("y", y)):
        table[name] = Column(values, unit="pix", description="position on this image, parent pixels")
    return table


def _date(exposure):
    info = exposure.visitInfo
    return np.nan if info is None or info.date is None else float(info.date.tai.mjd)


def _append(table, measured, prefix, given, scale, lost):
    """Flux columns of one image; NaN and flagged where lost."""
    for name in _FLUX:
        column = measured[given + name]
        values = np.array(column)
        if name.startswith("instFlux"):
            values = np.where(lost, np.nan, values * scale)
        elif name == "flag":
            values = values | lost
        table[prefix + name] = Column(values, unit=column.unit, description=column.description)


def _appendDirect(table, image, x, y, overlaps):
    """Columns of science image and template: NaN and flagged where an image, or its PSF, is absent."""
    wcs = image.difference.wcs
    for prefix, exposure, psf, scale in (
        (FORCED, image.science, image.sciencePsf, 1.0),
        (FORCED_TEMPLATE, image.template, None, image.templateScale),
    ):
        usable = exposure is not None and (psf is not None or exposure.psf is not None)
        source = exposure if usable else image.difference
        sky = wcs if source.wcs is not None else None
        measured = forcedPhotometry(source, x, y, wcs=sky, psf=psf if usable else None, prefix=prefix)
        if usable:
            places = measured.meta["positions"]
            fitFluxesTogether(measured, prefix, source, *places, overlaps, psf)
            flags = pixelFlags(source, *places)
            lost = np.asarray(flags["base_PixelFlags_flag_offimage"]) | np.asarray(flags["base_PixelFlags_flag"])
            lost |= np.asarray(flags["base_PixelFlags_flag_nodataCenter"])
        else:
            lost = np.ones(len(table), bool)
        _append(table, measured, prefix, prefix, scale, lost)
    table[FORCED_TEMPLATE + "instFluxErr"] *= image.templateNoise


def _calibrate(table, difference, x, y):
    """nJy, with the science image's calibration: all three fluxes are in its counts."""
    known = np.isfinite(x) & np.isfinite(y)
    factor = np.full(len(table), np.nan)
    if difference.photoCalib is not None and known.any():
        factor[known] = difference.photoCalib.localCalibration((x[known], y[known]))
    for prefix, (name, words) in _CALIBRATED.items():
        for suffix, what in (("", "PSF flux on"), ("Err", "its standard deviation, on")):
            values = np.asarray(table[f"{prefix}instFlux{suffix}"]) * factor
            table[name + suffix] = Column(values, unit="nJy", description=f"{what} {words}")


def _finiteOrNone(value):
    return float(value) if np.isfinite(value) else None
