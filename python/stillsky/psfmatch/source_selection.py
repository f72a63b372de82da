"""Sources of an exposure from which kernel candidates are chosen: background, detection, measurement."""

import logging

import numpy as np
from scipy import ndimage

from ..background import fitBackground
from ..detection import FootprintSet, Threshold
from ..errors import InvalidPsfError, StillskyError
from ..image import Exposure, Image, MaskedImage
from .source_measurement import FAILED_PLANES, PLUGINS, measureFootprints

__all__ = ["backgroundModel", "selectSources"]

_log = logging.getLogger(__name__)


def backgroundModel(exposure, config, log=_log):
    """Background of an exposure; where it cannot be fitted, the median of the unmasked pixels.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure` or `stillsky.image.MaskedImage`
    config : `SubtractBackgroundConfig`

    Returns
    -------
    model : `numpy.ndarray` or `float`
        To be subtracted; 0 when not a single pixel is usable.
    """
    try:
        fitted = fitBackground(exposure, config)
        return 0.0 if fitted is None else fitted.imageArray()
    except (StillskyError, ValueError, ArithmeticError) as error:
        log.warning("The background cannot be fitted (%s): the median of the unmasked pixels is used", error)
    pixels = exposure.image.array
    usable = pixels[np.isfinite(pixels) & (exposure.mask.array == 0)]
    return float(np.median(usable)) if usable.size else 0.0


def selectSources(
    exposure, detection, backgroundConfig, sigma=None, doSmooth=True, idFactory=None, log=_log, plugins=PLUGINS
):
    """Detect and measure the sources of an exposure.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        With a PSF, unless ``sigma`` is given. It is not modified.
    detection : `MatchDetectionConfig`
    backgroundConfig : `SubtractBackgroundConfig`
    sigma : `float`, optional
        Width of the PSF in pixels.
    doSmooth : `bool`
        Smooth before detecting; False for an image that has been filtered with its PSF.
    idFactory : callable, optional
        Number of sources -> ids; default 1, 2, ...
    plugins : sequence of `str`
        What to measure; see `stillsky.psfmatch.source_measurement.measureFootprints`.

    Returns
    -------
    sources : `astropy.table.Table`
        One row per source; those that are too faint or too damaged for a shape are left out.

    Raises
    ------
    InvalidPsfError
        Neither a PSF nor a width.
    DomainError
        Unknown plugin.
    """
    if exposure.psf is None and sigma is None:
        raise InvalidPsfError("selectSources: wanted an exposure with a PSF, or sigma")
    work = _copyForDetection(exposure)
    work.image.array[...] -= backgroundModel(work, backgroundConfig, log)
    found = _detect(work, detection, sigma, doSmooth)
    if detection.reEstimateBackground:
        work.image.array[...] -= backgroundModel(work, backgroundConfig, log)
        found = _detect(work, detection, sigma, doSmooth)
    return measureFootprints(work, *found, plugins, idFactory)


def _copyForDetection(exposure):
    masked = exposure.maskedImage
    copy = MaskedImage(Image(masked.image.array.copy(), masked.xy0), masked.mask.copy(), masked.variance)
    return Exposure(copy, psf=exposure.psf, wcs=exposure.wcs)


def _detect(exposure, detection, sigma, doSmooth):
    """Footprints above the threshold, their planes set on the exposure's mask; and the width used, in pixels."""
    sigma = exposure.psf.determinantRadius() if sigma is None else float(sigma)
    image, variance = (
        _matchedFilter(exposure, sigma, detection.excludeMaskPlanes)
        if doSmooth
        else (exposure.image, exposure.variance)
    )
    found = []
    for polarity, plane in ((True, "DETECTED"), (False, "DETECTED_NEGATIVE")):
        if detection.thresholdPolarity in ("both", "positive" if polarity else "negative"):
            threshold = Threshold(detection.thresholdValue, detection.thresholdType, polarity)
            footprints = FootprintSet.detect(image, threshold, "", detection.minPixels, variance=variance)
            footprints.setMask(exposure.mask, plane)
            found.append(footprints)
    return found, sigma


def _matchedFilter(exposure, sigma, excludedPlanes):
    """Image smoothed with a unit-sum Gaussian, and its variance; pixels left out are filled from their neighbours."""
    planes = [*FAILED_PLANES, *excludedPlanes]
    masked = exposure.maskedImage
    data, noise = masked.image.array.astype(float), masked.variance.array.astype(float)
    use = np.isfinite(data) & np.isfinite(noise) & (noise > 0)
    use &= (masked.mask.array & masked.mask.bitmask(planes, ignoreMissing=True)) == 0
    half = max(1, int(np.ceil(3.5 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    taps /= taps.sum()

    def smooth(values, weights):
        rows = ndimage.correlate1d(values, weights, axis=0, mode="constant")
        return ndimage.correlate1d(rows, weights, axis=1, mode="constant")

    weight = smooth(use.astype(float), taps)
    enough = weight > 0.5  # half of the filter's weight must lie on usable pixels
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(enough, smooth(np.where(use, data, 0.0), taps) / weight, np.nan)
        variance = np.where(enough, smooth(np.where(use, noise, 0.0), taps**2) / weight**2, np.nan)
    return Image(value.astype(np.float32), masked.xy0), Image(variance.astype(np.float32), masked.xy0)
