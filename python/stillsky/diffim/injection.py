"""Planted sources: how completely, and with what fluxes, a subtraction finds what is there.

Point sources with the PSF of the science image are added to a copy of it, in memory; what follows the fit of the kernel
(subtraction, decorrelation or proper difference, detection, measurement) is done again with the kernel that was fitted.
The delivered products know nothing of it. Signal-to-noise ratios are drawn log-uniformly; the noise is that of the PSF
flux on the delivered difference at the place, so that a ratio says the same everywhere. Places are uniform over the
pixels farther than one FWHM from masked ones, and keep away from the sources that are there anyway and from each other:
as many passes are made as that takes.

Keys of the results
-------------------
``result.injected``, written as ``P.injected.ecsv``, one row per planted source: ``id, x, y, ra, dec, flux, signalToNoise,
passNumber, detected`` (any source within the match radius), ``found`` (one of them is no flagged candidate), ``sourceId``
(of the second pass), ``distance`` (pixels), ``measuredFlux, measuredFluxErr`` (of that source), ``forcedFlux,
forcedFluxErr`` (at the true place, found or not), ``detectSignificance``.

``result.efficiency``, in ``P.json`` under ``efficiency`` as a dictionary of lists: the curve in bins of 0.5 of the
signal-to-noise ratio, ``signalToNoise`` (middle), ``low, high, n, nDetected, nFound, completeness`` (nFound over n, null
where n is 0), ``completenessLow, completenessHigh`` (Wilson interval of one sigma), ``detectedFraction``,
``fluxRatio`` (median of forced over true flux), ``fluxRatioErr``.

``result.metadata["injection"]``: ``n, nDetected, nFound, nSpurious, nPasses, seed, matchRadius, maskedFraction, gain``;
``completeness7`` and ``n7`` (of those of ratio 7 and more); ``signalToNoise50, signalToNoise90`` (where half and nine
tenths are found, from a fitted curve), ``plateau`` (what it rises to) and ``width``; ``purity`` (of unflagged sources that
only the images with planted sources have, those that were planted); ``fluxBias, fluxBiasErr`` (median of forced over true
flux less one, ratios above 10), ``fluxPullMean, fluxPullSigma`` (forced less true flux over its error).
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Column, Table
from scipy import ndimage, optimize, special

from ..errors import NoDataError
from ..image import Exposure, Image, MaskedImage
from ..measure import psfFlux
from ..stats import robustSigma
from .injection_config import InjectionConfig

__all__ = ["InjectionResult", "efficiencyCurve", "measureEfficiency", "plantSources"]

_log = logging.getLogger("stillsky.diffim")
_BAD = ("NO_DATA", "BAD", "SAT", "EDGE", "CR")
_BIN = 0.5  # of the signal-to-noise ratio
_SEPARATION = 6.0  # FWHM between planted sources
_FROM_SOURCES = 2.0  # FWHM to a source that is there anyway
_COVERED = 0.1  # largest fraction of an image within half that separation of a planted source
_BRIGHT = 10.0  # ratios that tell the bias of fluxes
_COMPLETE = 7.0  # ratios from which on completeness is one number


@dataclass
class InjectionResult:
    """What `measureEfficiency` found; the module says what the columns and keys are.

    Attributes
    ----------
    injected, efficiency : `astropy.table.Table`
    metadata : `dict`
    """

    injected: Any
    efficiency: Any
    metadata: dict


def measureEfficiency(science, sciencePsf, difference, sources, rerun, config=None):
    """Plant sources, find them again, count.

    Parameters
    ----------
    science : Exposure
        As it was subtracted. Not modified.
    sciencePsf : Psf
        Shape of the planted sources.
    difference : Exposure
        The delivered one, with its PSF: its variance and mask tell where to plant and how bright.
    sources : `astropy.table.Table`
        The delivered sources.
    rerun : callable
        ``rerun(exposure)`` subtracts, detects and measures another science image with the same kernel; returns an object
        with ``difference`` and ``sources``.
    config : `InjectionConfig`, optional

    Returns
    -------
    result : `InjectionResult`

    Raises
    ------
    NoDataError
        No place for a source: everything is masked.

    Notes
    -----
    One rerun for each pass. Memory beyond the inputs: two planes, and what the rerun needs.
    """
    config = InjectionConfig() if config is None else config
    rng = np.random.default_rng(config.seed)
    fwhm = float(sciencePsf.fwhm(difference.bbox.center))
    usable = ndimage.minimum_filter(_usable(difference), 2 * int(np.ceil(fwhm)) + 1, mode="nearest")
    taken = _positions(sources)
    injected = _draw(rng, config, difference, usable, taken, fwhm)
    if not len(injected):
        return InjectionResult(injected, efficiencyCurve(injected, config), {"n": 0})
    gain = _gainOf(science)
    radius = max(2.0, config.matchRadius * fwhm)
    nSpurious = 0
    for number in range(int(injected["passNumber"].max()) + 1):
        rows = np.flatnonzero(injected["passNumber"] == number)
        planted = plantSources(
            science, sciencePsf, *(np.asarray(injected[n][rows]) for n in ("x", "y", "flux")), gain, rng
        )
        found = rerun(planted)
        nSpurious += _match(injected, rows, found, taken, radius)
    efficiency = efficiencyCurve(injected, config)
    metadata = _figures(injected, config, nSpurious)
    metadata |= {
        "nPasses": int(injected["passNumber"].max()) + 1,
        "seed": int(config.seed),
        "matchRadius": radius,
        "maskedFraction": float(1 - np.count_nonzero(usable) / usable.size),
        "gain": None if gain is None else float(gain),
    }
    return InjectionResult(injected, efficiency, metadata)


def plantSources(exposure, psf, x, y, flux, gain=None, rng=None):
    """A copy of an exposure with point sources added.

    Parameters
    ----------
    exposure : Exposure
        Not modified; the copy shares its mask.
    psf : Psf
    x, y, flux : arrays
        Parent pixels; counts.
    gain : `float`, optional
        Electrons per count: with it the sources have photon noise, and the variance plane says so.
    rng : `numpy.random.Generator`, optional
        Of that noise.

    Returns
    -------
    planted : Exposure
    """
    masked = exposure.maskedImage
    image, variance = Image(masked.image.array.copy(), masked.xy0), Image(masked.variance.array.copy(), masked.xy0)
    for px, py, amplitude in zip(x, y, flux, strict=True):
        star = psf.computeImage((float(px), float(py)))
        box = star.bbox.clipped(exposure.bbox)
        if box.area == 0:
            continue
        light = float(amplitude) * star[box].array
        if gain is not None:
            noise = np.maximum(light, 0) / gain
            variance[box].array[:] += noise.astype(variance.array.dtype)
            light = light + (0 if rng is None else rng.normal(0, np.sqrt(noise)))
        image[box].array[:] += light.astype(image.array.dtype)
    return Exposure(MaskedImage(image, masked.mask, variance), exposure.info)


# ---------------------------------------------------------------------- drawing


def _usable(difference):
    bad = difference.mask.bitmask(list(_BAD), ignoreMissing=True)
    usable = (difference.mask.array & bad) == 0
    usable &= np.isfinite(difference.image.array) & np.isfinite(difference.variance.array)
    return usable & (difference.variance.array > 0)


def _positions(sources):
    """Places of the sources that are no sky sources, (n, 2)."""
    if sources is None or not len(sources):
        return np.zeros((0, 2))
    real = ~np.asarray(sources["sky_source"], bool)
    xy = np.array([np.asarray(sources[f"base_SdssCentroid_{c}"], float)[real] for c in "xy"]).T
    return xy[np.isfinite(xy).all(axis=1)]


def _draw(rng, config, difference, usable, taken, fwhm):
    """Places, passes, ratios and fluxes."""
    perPass = max(1, int(_COVERED * usable.size / (np.pi * (_SEPARATION * fwhm / 2) ** 2)))
    rows, x0 = np.flatnonzero(usable.ravel()), np.asarray(difference.xy0)
    if not rows.size:
        raise NoDataError("no place to plant a source", found="every pixel of the difference is masked")
    places, passes, here, number, misses = [], [], [], 0, 0
    while len(places) < config.n:
        index = int(rows[rng.integers(rows.size)])
        place = np.array([index % usable.shape[1], index // usable.shape[1]]) + x0 + rng.uniform(-0.5, 0.5, 2)
        near = _within(place, taken, _FROM_SOURCES * fwhm) or _within(place, here, _SEPARATION * fwhm)
        if near and misses < 200:
            misses += 1
            continue
        if near and here:  # this pass is full
            here, number, misses = [], number + 1, 0
            continue
        if near:
            raise NoDataError(
                "no place to plant a source", found=f"{len(taken)} sources and the masks leave no free pixels"
            )
        misses = 0
        places.append(place)
        passes.append(number)
        here.append(place)
        if len(here) == perPass:
            here, number = [], number + 1
    places = np.array(places).reshape(-1, 2)
    error = np.asarray(psfFlux(difference, *places.T)["base_PsfFlux_instFluxErr"], float)
    ratio = np.exp(rng.uniform(np.log(config.minSignalToNoise), np.log(config.maxSignalToNoise), len(places)))
    return _truthTable(difference, places, ratio, ratio * error, np.array(passes, np.int32))


def _within(place, others, radius):
    if not len(others):
        return False
    return bool(np.min(np.hypot(*(np.asarray(others) - place).T)) < radius)


def _truthTable(difference, places, ratio, flux, passes):
    n, unit = len(places), getattr(difference, "fluxUnit", None) or "count"
    sky = np.full((2, n), np.nan)
    if difference.wcs is not None and n:
        sky = np.degrees(difference.wcs.pixelToSky(*places.T))
    nan, no = np.full(n, np.nan), np.zeros(n, bool)
    columns = (
        ("id", np.arange(1, n + 1), None, "running number"),
        ("x", places[:, 0], "pix", "parent pixel"),
        ("y", places[:, 1], "pix", "parent pixel"),
        ("ra", sky[0], "deg", "ICRS"),
        ("dec", sky[1], "deg", "ICRS"),
        ("flux", flux, unit, "planted flux"),
        ("signalToNoise", ratio, None, "planted flux over the error of the PSF flux on the delivered difference"),
        ("passNumber", passes, None, "pass in which it was planted"),
        ("detected", no, None, "a source lies within the match radius"),
        ("found", no, None, "one of them is no flagged candidate"),
        ("sourceId", np.zeros(n, np.int64), None, "of that source in its pass; 0: none"),
        ("distance", nan, "pix", "of that source"),
        ("measuredFlux", nan, unit, "PSF flux of that source"),
        ("measuredFluxErr", nan, unit, "its standard deviation"),
        ("forcedFlux", nan, unit, "PSF flux at the true place"),
        ("forcedFluxErr", nan, unit, "its standard deviation"),
        ("detectSignificance", nan, None, "of that source"),
    )
    table = Table()
    for name, values, unit, words in columns:
        table[name] = Column(np.array(values), unit=unit, description=words)
    return table


def _gainOf(exposure):
    """Electrons per count, from how the variance plane rises with the light; None where it does not."""
    image, variance = exposure.image.array, exposure.variance.array
    step = max(1, int(np.sqrt(image.size / 1e6)))
    good = _usable(exposure)[::step, ::step]
    image, variance = image[::step, ::step][good].astype(float), variance[::step, ::step][good].astype(float)
    if image.size < 100:
        return None
    low, high = np.percentile(image, (50, 99.5))
    faint, bright = image <= low, image >= high
    rise = np.median(variance[bright]) - np.median(variance[faint])
    light = np.median(image[bright]) - np.median(image[faint])
    if not (light > 0 and rise > 0.05 * np.median(variance[faint])):
        return None
    return light / rise


# ---------------------------------------------------------------------- finding again


def _match(injected, rows, found, taken, radius):
    """Fill the rows of one pass; returns the number of unflagged sources that were neither planted nor there before."""
    table, difference = found.sources, found.difference
    forced = psfFlux(difference, np.asarray(injected["x"][rows]), np.asarray(injected["y"][rows]))
    for name, column in (("forcedFlux", "instFlux"), ("forcedFluxErr", "instFluxErr")):
        injected[name][rows] = forced[f"base_PsfFlux_{column}"]
    real = ~np.asarray(table["sky_source"], bool) & ~np.asarray(table["is_negative"], bool)
    table = table[real]
    xy = np.array([np.asarray(table[f"base_SdssCentroid_{c}"], float) for c in "xy"]).T.reshape(-1, 2)
    unflagged = ~np.asarray(table["candidate_flag"], bool)
    matched = np.zeros(len(table), bool)
    for row in rows:
        distance = np.hypot(*(xy - (injected["x"][row], injected["y"][row])).T)
        near = np.flatnonzero(distance <= radius)
        if not near.size:
            continue
        matched[near] = True
        # an unflagged one before a flagged one, then the nearest
        best = near[np.lexsort((distance[near], ~unflagged[near]))[0]]
        injected["detected"][row], injected["found"][row] = True, unflagged[best]
        injected["sourceId"][row], injected["distance"][row] = table["id"][best], distance[best]
        injected["measuredFlux"][row] = table["base_PsfFlux_instFlux"][best]
        injected["measuredFluxErr"][row] = table["base_PsfFlux_instFluxErr"][best]
        if "detectSignificance" in table.colnames:
            injected["detectSignificance"][row] = table["detectSignificance"][best]
    others = np.flatnonzero(unflagged & ~matched)
    return sum(not _within(xy[k], taken, radius) for k in others)


# ---------------------------------------------------------------------- counting


def efficiencyCurve(injected, config=None):
    """Completeness in bins of the signal-to-noise ratio; see the module for the columns.

    Parameters
    ----------
    injected : `astropy.table.Table`
    config : `InjectionConfig`, optional
        Its limits are those of the bins.
    """
    config = InjectionConfig() if config is None else config
    first = np.floor(config.minSignalToNoise / _BIN)
    nBins = max(1, int(np.ceil(config.maxSignalToNoise / _BIN - first)))
    edges = (first + np.arange(nBins + 1)) * _BIN
    bins = np.clip(np.digitize(np.asarray(injected["signalToNoise"]), edges) - 1, 0, nBins - 1)
    ratio = np.asarray(injected["forcedFlux"], float) / np.asarray(injected["flux"], float)
    counts = [np.bincount(bins, weights, nBins) for weights in (None, injected["detected"], injected["found"])]
    n, detected, found = (c.astype(int) for c in counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        fractions = found / n, detected / n
    low, high = _wilson(found, n)
    medians = np.full((2, nBins), np.nan)
    for k in range(nBins):
        values = ratio[(bins == k) & np.isfinite(ratio)]
        if values.size:
            medians[0, k] = np.median(values)
        if values.size > 1:
            medians[1, k] = 1.2533 * np.std(values, ddof=1) / np.sqrt(values.size)
    table = Table()
    for name, values, words in (
        ("signalToNoise", 0.5 * (edges[1:] + edges[:-1]), "middle of the bin"),
        ("low", edges[:-1], "lower end of the bin"),
        ("high", edges[1:], "upper end of the bin"),
        ("n", n, "planted sources"),
        ("nDetected", detected, "of these detected"),
        ("nFound", found, "of these found, unflagged"),
        ("completeness", fractions[0], "nFound over n"),
        ("completenessLow", low, "lower end of its one-sigma interval"),
        ("completenessHigh", high, "upper end of its one-sigma interval"),
        ("detectedFraction", fractions[1], "nDetected over n"),
        ("fluxRatio", medians[0], "median of forced over true flux"),
        ("fluxRatioErr", medians[1], "its standard deviation"),
    ):
        table[name] = Column(values, description=words)
    return table


def _wilson(k, n):
    """One-sigma interval of a fraction (Wilson 1927, J. Am. Stat. Assoc. 22, 209); NaN for none of none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        p = k / n
        middle, half = (p + 0.5 / n) / (1 + 1 / n), np.sqrt(p * (1 - p) / n + 0.25 / n**2) / (1 + 1 / n)
    return np.clip(np.minimum(middle - half, p), 0, 1), np.clip(np.maximum(middle + half, p), 0, 1)


def _figures(injected, config, nSpurious):
    ratio, found = np.asarray(injected["signalToNoise"]), np.asarray(injected["found"], bool)
    true, forced, error = (np.asarray(injected[c], float) for c in ("flux", "forcedFlux", "forcedFluxErr"))
    complete, bright = ratio >= _COMPLETE, ratio >= _BRIGHT
    good = np.isfinite(forced) & np.isfinite(error) & (error > 0)
    pulls, ratios = ((forced - true) / error)[good], (forced / true)[good & bright]
    half, width, plateau = _fitCurve(ratio, found)
    nFound = int(np.count_nonzero(found))
    return {
        "n": len(injected),
        "nDetected": int(np.count_nonzero(injected["detected"])),
        "nFound": nFound,
        "nSpurious": int(nSpurious),
        "n7": int(np.count_nonzero(complete)),
        "completeness7": float(np.mean(found[complete])) if complete.any() else np.nan,
        "signalToNoise50": _crossing(half, width, plateau, 0.5),
        "signalToNoise90": _crossing(half, width, plateau, 0.9),
        "plateau": plateau,
        "width": width,
        "purity": nFound / (nFound + nSpurious) if nFound + nSpurious else np.nan,
        "fluxBias": float(np.median(ratios) - 1) if ratios.size else np.nan,
        "fluxBiasErr": float(1.2533 * np.std(ratios, ddof=1) / np.sqrt(ratios.size)) if ratios.size > 1 else np.nan,
        "fluxPullMean": float(np.mean(pulls)) if pulls.size else np.nan,
        "fluxPullSigma": float(robustSigma(pulls[None])) if pulls.size else np.nan,
    }


def _fitCurve(ratio, found):
    """Middle, width and plateau of plateau times the normal distribution function, of greatest likelihood."""
    if len(ratio) < 20 or not 0 < np.count_nonzero(found) < len(found):
        return np.nan, np.nan, np.nan

    def cost(parameters):
        half, logWidth, plateau = parameters
        p = plateau * special.ndtr((ratio - half) / np.exp(logWidth))
        p = np.clip(p, 1e-6, 1 - 1e-6)
        return -np.sum(np.where(found, np.log(p), np.log1p(-p)))

    bright = ratio >= np.median(ratio)
    start = (np.clip(np.percentile(ratio[found], 10), 3, 10), 0.0, np.clip(np.mean(found[bright]), 0.1, 0.98))
    fit = optimize.minimize(
        cost, start, method="Nelder-Mead", bounds=((0, 100), (np.log(0.2), np.log(10)), (0.02, 1.0))
    )
    return float(fit.x[0]), float(np.exp(fit.x[1])), float(fit.x[2])


def _crossing(half, width, plateau, level):
    if not plateau > level:
        return np.nan
    return float(half + width * special.ndtri(level / plateau))
