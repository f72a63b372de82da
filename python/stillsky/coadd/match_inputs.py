"""Flux scale and sky level of plain inputs, brought to those of the first by stars and by clipped sky.

Every input is measured once, in its own pixels: its sky, the width of its stars, and their fluxes in apertures
that scale with the seeing, so that two images of different seeing are compared alike, on a sky that is taken far from
objects. Ratios to a catalogue that starts with
the reference and grows by what every matched input adds then give the scales: inputs that do not touch the reference
are reached through others.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from ..diffim.stars import classifyStars, findObjects
from ..errors import NoDataError
from ..image import Image, MaskedImage
from ..measure import circularApertureFlux
from ..measure.schema import aperturePrefix
from ..stats import clippedStats
from ..wcs import pairTransform
from .registration import placesOf

__all__ = ["InputMatch", "InputMeasure", "InputScaler", "matchInputs", "measureInput"]

_APERTURE = 2.0  # radius in FWHM: a Moffat star of exponent 3.5 leaves 3 % outside, whatever the seeing
_MATCH_RADIUS = 2.0  # pixels of the reference
_FLOOR = 0.01  # relative scatter of fluxes that has nothing to do with photons: flat field, PSF
_MAX_STARS = 2000


@dataclass
class InputMeasure:
    """What one input tells about itself, in its own pixels and units.

    Attributes
    ----------
    sky, skySigma : `float`
        Level and scatter of the sky, per pixel.
    fwhm : `float`
        Of the stars, pixels; NaN without any.
    x, y : `numpy.ndarray` (n,)
        Positions of bright isolated objects, parent pixels.
    flux, fluxErr : `numpy.ndarray` (n,)
        In apertures of a radius of 2 FWHM, without sky.
    wcs : `stillsky.wcs.SkyWcs` or None
    exposureTime : `float`
        Seconds, NaN when unknown.
    places : `numpy.ndarray` (n, 2)
        Positions of all undamaged bright objects, brightest first, for a registration.
    objects : `stillsky.diffim.stars.Objects` or None
        Everything found; for the PSF. Dropped by whoever keeps many measures.
    """

    sky: float
    skySigma: float
    fwhm: float
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    fluxErr: np.ndarray
    wcs: object = None
    exposureTime: float = math.nan
    places: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)), repr=False)
    objects: object = field(default=None, repr=False)


@dataclass(frozen=True)
class InputMatch:
    """How an input is brought to flux scale and sky of the reference: ``scale * pixel + offset``.

    Attributes
    ----------
    scale, scaleErr : `float`
        Factor of its pixels and its standard error (0 for the reference, NaN when no stars tell).
    offset : `float`
        Added after scaling, in units of the reference.
    nStars : `int`
        Stars that gave the scale.
    source : `str`
        Where the scale comes from: reference, stars, exposure times, assumed, none.
    """

    scale: float = 1.0
    scaleErr: float = 0.0
    offset: float = 0.0
    nStars: int = 0
    source: str = "none"


class InputScaler:
    """Applies an `InputMatch` to parts of an input, in place.

    Parameters
    ----------
    scale, offset : `float`
        Of an `InputMatch`.
    """

    def __init__(self, scale=1.0, offset=0.0):
        self.scale, self.offset = float(scale), float(offset)

    def scaleMaskedImage(self, maskedImage):
        """``scale * image + offset``; the variance by the square of the scale."""
        if self.scale != 1.0:
            maskedImage.image.array *= np.float32(self.scale)
            maskedImage.variance.array *= np.float32(self.scale**2)
        if self.offset != 0.0:
            maskedImage.image.array += np.float32(self.offset)


def measureInput(exposure, config, binSize=128, stars=True):
    """Sky, seeing and star fluxes of an exposure.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        Not modified.
    config : `stillsky.diffim.config.StarConfig`
        Which objects count as stars.
    binSize : `int`
        Cell of the sky background, pixels.
    stars : `bool`
        Look for stars; without, only level and scatter of all pixels are measured.

    Returns
    -------
    measure : `InputMeasure`
        Without stars when none stand out; sky NaN when no pixel is usable.

    Notes
    -----
    Cost: one background and one detection, about 0.2 s a megapixel; memory two planes beyond the exposure.
    """
    masked = exposure.maskedImage
    bad = masked.mask.bitmask(["NO_DATA", "BAD", "SAT", "CR"], ignoreMissing=True)
    step = max(1, int(math.sqrt(masked.image.array.size / 1e6)))
    level, _, sigma, n = clippedStats(masked.image.array, masked.mask.array, bad, 3.0, 3, step)
    none = np.zeros(0)
    visit = exposure.visitInfo
    time = visit.exposureTime if visit is not None else math.nan
    empty = InputMeasure(float(level), float(sigma), math.nan, none, none, none, none, exposure.wcs, time)
    if not n or not stars:
        return empty
    try:
        objects = findObjects(masked, config, binSize)
        classifyStars(objects, config, masked.image.array.shape)
    except NoDataError:
        return empty
    # what the background took off, in the middle, and what it left far from objects: cells see a little of the stars
    taken = masked.image.array[::step, ::step] - objects.flat[::step, ::step]
    level = clippedStats(taken, masked.mask.array[::step, ::step], bad)[0]
    left = _emptySky(objects, masked, bad)
    use = _worthMatching(objects)
    flat = MaskedImage(Image(objects.flat, masked.xy0), masked.mask, masked.variance)
    radius = _APERTURE * objects.fwhm
    found = circularApertureFlux(flat, objects.x[use], objects.y[use], (radius,), badPlanes=())
    prefix = aperturePrefix(radius)
    flux = np.asarray(found[prefix + "instFlux"]) - left * math.pi * radius**2
    error = np.asarray(found[prefix + "instFluxErr"])
    good = np.isfinite(flux) & (flux > 0) & np.isfinite(error)
    return InputMeasure(
        float(level + left), float(objects.skySigma), float(objects.fwhm), objects.x[use][good], objects.y[use][good],
        flux[good], error[good], exposure.wcs, time, placesOf(objects), objects,
    )  # fmt: skip


def _emptySky(objects, masked, bad):
    """Clipped median of the background-subtracted image away from all objects; 0 where there is hardly such a place."""
    height, width = objects.flat.shape
    step = max(1, int(math.sqrt(height * width / 1e5)))
    y, x = (g.ravel() for g in np.mgrid[0:height:step, 0:width:step])
    values, mask = objects.flat[y, x], masked.mask.array[y, x]
    x0, y0 = masked.xy0
    distance, nearest = cKDTree(np.column_stack([objects.x - x0, objects.y - y0])).query(np.column_stack([x, y]))
    reach = objects.fwhm * (1.5 + 0.5 * np.log10(np.maximum(objects.signalToNoise, 1.0)))
    far = (distance > reach[nearest]) & ((mask & bad) == 0) & np.isfinite(values)
    if np.count_nonzero(far) < 500:
        return 0.0
    return float(clippedStats(values[far][None, :])[0])


def _worthMatching(objects):
    """Indices of stars, or where there are few of isolated undamaged objects; brightest first."""
    stars = np.flatnonzero(objects.isStar)
    if len(stars) < 10:
        clean = ~objects.damaged & objects.isolated & (objects.signalToNoise > objects.threshold)
        stars = np.flatnonzero(objects.isStar | clean)
    return stars[:_MAX_STARS]


def matchInputs(measures, reference=0, *, mode="stars", minStars=3, areas=None):
    """Scales and offsets of all inputs.

    Parameters
    ----------
    measures : sequence of `InputMeasure`
    reference : `int`
        Index of the one that stays as it is.
    mode : {"stars", "sky", "none"}
        Scale and sky, sky alone, or nothing.
    minStars : `int`
        Fewest common stars that give a scale. With fewer it is the ratio of the exposure times, or 1.
    areas : sequence of `float`, optional
        Area of a pixel of the coadd over that of each input: resampling multiplies the sky of a pixel by it, and the
        counts of a star not at all. 1 by default.

    Returns
    -------
    matches : `list` of `InputMatch`
    """
    n = len(measures)
    areas = np.ones(n) if areas is None else np.asarray(areas, float)
    if mode == "none":
        return [InputMatch()] * n
    scales = [(1.0, 0.0, 0, "assumed")] * n
    if mode == "stars":
        scales = _chainedScales(measures, reference, minStars)
    level = measures[reference].sky * areas[reference]
    matches = []
    for k, (measure, area, (scale, error, count, source)) in enumerate(zip(measures, areas, scales, strict=True)):
        offset = level - scale * measure.sky * area
        source = "reference" if k == reference else source
        matches.append(InputMatch(scale, error, float(offset) if math.isfinite(offset) else 0.0, count, source))
    return matches


def _chainedScales(measures, reference, minStars):
    """(scale, error, stars, source) of each input, through a catalogue that grows from the reference."""
    first = measures[reference]
    catalogue = np.column_stack([first.x, first.y]), first.flux, first.fluxErr
    scales = [None] * len(measures)
    scales[reference] = (1.0, 0.0, len(first.x), "reference")
    places = [_positionsIn(first, measure) for measure in measures]
    pending = [k for k in range(len(measures)) if k != reference]
    while pending:
        found = {k: _scaleOf(catalogue, places[k], measures[k], minStars) for k in pending}
        done = [k for k in pending if found[k] is not None]
        if not done:
            break
        for k in done:
            scale, error, count = found[k]
            scales[k] = (scale, error, count, "stars")
            catalogue = _extended(catalogue, places[k], measures[k], scale)
        pending = [k for k in pending if k not in done]
    for k in pending:
        ratio = first.exposureTime / measures[k].exposureTime if measures[k].exposureTime > 0 else math.nan
        known = math.isfinite(ratio) and ratio > 0
        scales[k] = (ratio if known else 1.0, math.nan, 0, "exposure times" if known else "assumed")
    return scales


def _positionsIn(first, measure):
    """Positions of an input's stars in the pixels of the reference."""
    if first.wcs is None or measure.wcs is None or measure is first:
        return np.column_stack([measure.x, measure.y])
    if not len(measure.x):
        return np.zeros((0, 2))
    return np.column_stack(pairTransform(measure.wcs, first.wcs)(measure.x, measure.y))


def _pairs(catalogue, place):
    """Indices of catalogue and of input where each is the other's nearest within the radius."""
    finite = np.flatnonzero(np.isfinite(place).all(axis=1))
    if not len(catalogue[0]) or not len(finite):
        return np.zeros(0, int), np.zeros(0, int)
    tree, own = cKDTree(catalogue[0]), cKDTree(place[finite])
    distance, partner = tree.query(place[finite], distance_upper_bound=_MATCH_RADIUS)
    near = np.flatnonzero(np.isfinite(distance))
    back = own.query(catalogue[0][partner[near]])[1]
    mutual = near[back == near]
    return partner[mutual], finite[mutual]


def _scaleOf(catalogue, place, measure, minStars):
    """Clipped weighted mean of the flux ratios, its error and the number of stars; None with too few."""
    mine, its = _pairs(catalogue, place)
    if len(mine) < minStars:
        return None
    flux, fluxErr = catalogue[1][mine], catalogue[2][mine]
    ratio = np.log(flux / measure.flux[its])
    error = np.hypot(np.hypot(fluxErr / flux, measure.fluxErr[its] / measure.flux[its]), _FLOOR)
    middle, keep = np.median(ratio), np.ones(len(ratio), bool)
    for _ in range(5):
        # the scatter of the stars themselves when it is larger than their errors
        scatter = 1.4826 * np.median(np.abs(ratio[keep] - middle))
        keep = np.abs(ratio - middle) < 3.0 * np.maximum(error, scatter)
        if np.count_nonzero(keep) < minStars:
            return None
        weight = 1.0 / error[keep] ** 2
        middle = float(np.sum(weight * ratio[keep]) / np.sum(weight))
    spread = np.sum((weight * (ratio[keep] - middle)) ** 2)
    scale = math.exp(middle)
    return scale, scale * math.sqrt(max(spread, np.sum(weight))) / float(np.sum(weight)), int(np.count_nonzero(keep))


def _extended(catalogue, place, measure, scale):
    """The catalogue with the stars that only this input has, on the scale of the reference."""
    _, its = _pairs(catalogue, place)
    new = np.setdiff1d(np.flatnonzero(np.isfinite(place).all(axis=1)), its)
    return (
        np.concatenate([catalogue[0], place[new]]),
        np.concatenate([catalogue[1], scale * measure.flux[new]]),
        np.concatenate([catalogue[2], scale * measure.fluxErr[new]]),
    )
