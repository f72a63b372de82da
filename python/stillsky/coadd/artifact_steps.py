"""The steps of the search for artifacts that tasks can replace, and what the search makes of them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter

from ..background import makeBackground, scaleVariance
from ..detection import detectSources
from ..detection.config import detectionKeywords
from ..detection.streaks import findStreaks
from ..errors import NoDataError
from ..image import Exposure, Image, MaskedImage
from ..stats import StatisticsControl, clippedStats
from .artifact_rules import isTrail

__all__ = ["ArtifactSteps", "findOutliers", "findTemplateSources", "isPositive", "sourcePixels", "withoutSky"]

_log = logging.getLogger(__name__)
_STANDS_OUT = 3.0  # sigma of the sky
_MOST_SOURCES = 0.95  # part of the pixels
_SKY_CELL, _SKY_CELLS = (32, 256), 6  # smallest and largest cell of the sky, pixels; cells along a small image


@dataclass(frozen=True)
class ArtifactSteps:
    """The steps of the search that others can do.

    Attributes
    ----------
    detect : callable
        ``detect(difference, sigma, factor=1.0)``: footprints (`stillsky.detection.FootprintSet`) of outliers of both signs,
        those that touch merged. The image is smooth already; sigma is the width of its PSF; the factor multiplies the
        threshold. Only the mask of the masked image may change.
    detectTemplate : callable
        ``detectTemplate(exposure, sigma, factor=1.0)``: footprints of sources of the static sky; sigma None: as the PSF says.
    scaleVariance : callable
        ``scaleVariance(maskedImage)``: multiplies the variance plane, returns the factor.
    findStreaks : callable
        ``findStreaks(difference)``: objects with ``spans`` among the pixels that are DETECTED; changes nothing.
    """

    detect: Callable
    detectTemplate: Callable
    scaleVariance: Callable
    findStreaks: Callable

    @classmethod
    def ofConfig(cls, config):
        """The functions of stillsky, as a `CompareArtifactsConfig` says."""

        def detect(difference, sigma, factor=1.0):
            keywords = detectionKeywords(config.detect)
            return detectSources(difference, doSmooth=False, sigma=sigma, factor=factor, **keywords).footprints

        def detectTemplate(exposure, sigma, factor=1.0):
            keywords = detectionKeywords(config.detectTemplate) | {"polarity": "positive"}
            return detectSources(exposure, sigma=sigma, factor=factor, **keywords).positive

        return cls(
            detect,
            detectTemplate,
            lambda pixels: scaleVariance(pixels, config.scaleWarpVariance),
            lambda difference: findStreaks(difference, config.maskStreaks),
        )


def findOutliers(difference, config, sigma, detect):
    """Footprints of outliers of both signs, those that touch merged.

    They reach down to the threshold of their extent. What only reaches that, but is a positive trail, counts too: a line
    of many pixels is as significant as four brighter ones.
    """
    outliers, threshold = detect(difference, sigma), getattr(config.detect, "thresholdValue", None)
    isDeep = threshold is None or not config.extendThreshold < threshold
    if config.compat or not config.doExtendArtifacts or isDeep:
        return outliers
    wide = detect(difference, sigma, config.extendThreshold / threshold)
    chosen = np.zeros(len(wide), bool)
    if len(outliers):
        ids = np.unique(outliers.spans.flatten(wide.toIdImage(), wide.region.min))
        chosen[ids[ids > 0] - 1] = True
    if config.doKeepTrails:
        for i in np.flatnonzero(~chosen & (wide.areas >= config.trailLength)):
            spans = wide[i].spans
            chosen[i] = isTrail(spans, config) and isPositive(spans, difference.image)
    return wide.subset(np.flatnonzero(chosen))


def findTemplateSources(template, config, sigma, steps):
    """Sources of the static sky, less its background where ``detectTemplate.reEstimateBackground`` says so.

    Inside a source nothing is an artifact: while sources cover nearly everything, as sky that was never subtracted does,
    the threshold grows.
    """
    static = getattr(template, "maskedImage", template)
    work = MaskedImage(static.image, static.mask.copy(), static.variance)
    if getattr(config.detectTemplate, "reEstimateBackground", False):
        work = withoutSky(work)
    work = Exposure(work, psf=getattr(template, "psf", None))
    size = max(1, int(np.isfinite(static.image.array).sum()))
    factor = 1.0
    for attempt in range(config.maxDetectTemplateIter):
        found = steps.detectTemplate(work, sigma, factor)
        covered = int(found.areas.sum()) / size
        if covered <= config.maxSourceCoverage:
            return found
        if attempt + 1 < config.maxDetectTemplateIter:
            factor *= config.detectTemplateIterMultiplier
    _log.warning("Sources cover %.0f %% of the static sky even at %.3g times the threshold", 100 * covered, factor)
    return found


def sourcePixels(template, sigma):
    """Pixels of the static sky that are not sky: within 3 sigma of the PSF of what stands out of it.

    Parameters
    ----------
    template : `stillsky.image.MaskedImage`
    sigma : `float`
        Width of the PSF, pixels.

    Returns
    -------
    pixels : `numpy.ndarray` of bool, (h, w)
        All False where sources leave next to nothing: there is nowhere else to look.
    """
    flat = withoutSky(template).image.array
    _, mean, deviation, n = clippedStats(flat, None, 0, _STANDS_OUT, 5)
    bright = flat > mean + _STANDS_OUT * deviation if n else np.zeros(flat.shape, bool)
    near = maximum_filter(bright, 2 * int(np.ceil(3 * sigma)) + 1)
    return near if np.mean(near) < _MOST_SOURCES else np.zeros_like(near)


def withoutSky(masked):
    """A copy less its smooth background; as it is where none can be fitted."""
    cells = [-(-n // int(np.clip(n / _SKY_CELLS, *_SKY_CELL))) for n in masked.bbox.dimensions]
    control = StatisticsControl(
        andMask=masked.mask.bitmask(["NO_DATA", "BAD", "SAT"], ignoreMissing=True), nanSafe=True
    )
    image = masked.image.array.astype(np.float32)
    try:
        sky = makeBackground(
            masked, nx=cells[0], ny=cells[1], rowStep=8, undersample="REDUCE_INTERP_ORDER", statControl=control
        )
        image -= sky.imageArray(dtype=np.float32)
    except NoDataError:
        return masked
    return MaskedImage(Image(image, masked.xy0), masked.mask, masked.variance)


def isPositive(spanSet, image):
    """Whether the pixels of spans add up to more than 0."""
    return np.nansum(spanSet.flatten(image)) > 0
