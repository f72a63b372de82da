"""Sources of an exposure from which kernel candidates are chosen: background, detection, measurement."""

import logging

import numpy as np

from ..background import fitBackground
from ..detection import detectSources
from ..detection.config import detectionKeywords
from ..errors import InvalidPsfError, StillskyError
from ..image import Exposure, Image, MaskedImage
from ..measure import PLUGINS, measureSources
from ..psf import GaussianPsf

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
        What to measure; see `stillsky.measure.measureSources`. SkyCoord is left out without a WCS.

    Returns
    -------
    sources : `astropy.table.Table`
        One row per source, with the columns of `stillsky.measure.measureSources`; negative sources and those whose
        centroid failed are left out.

    Raises
    ------
    InvalidPsfError
        Neither a PSF nor a width.
    DomainError
        Unknown plugin.
    """
    if exposure.psf is None and sigma is None:
        raise InvalidPsfError("selectSources: wanted an exposure with a PSF, or sigma")
    psf = exposure.psf if exposure.psf is not None else _gaussianPsf(sigma)
    work = _copyForDetection(exposure)
    keywords = {**detectionKeywords(detection), "doSmooth": doSmooth, "sigma": sigma, "psf": psf}
    work.image.array[...] -= backgroundModel(work, backgroundConfig, log)
    found = detectSources(work, **keywords)
    if detection.reEstimateBackground:
        work.image.array[...] -= backgroundModel(work, backgroundConfig, log)
        found = detectSources(work, **keywords)
    sources = measureSources(work, found, _measurable(plugins, work), psf=psf)
    sources = sources[_isUsable(sources)]
    if idFactory is not None:
        sources["id"][:] = np.asarray(idFactory(len(sources)), np.int64)
    return sources


def _gaussianPsf(sigma):
    """A PSF for an exposure that has none, seven widths across."""
    side = 2 * max(1, int(np.ceil(3.5 * sigma))) + 1
    return GaussianPsf(side, side, float(sigma))


def _copyForDetection(exposure):
    masked = exposure.maskedImage
    copy = MaskedImage(Image(masked.image.array.copy(), masked.xy0), masked.mask.copy(), masked.variance)
    return Exposure(copy, psf=exposure.psf, wcs=exposure.wcs)


def _measurable(plugins, exposure):
    """The plugins without SkyCoord when there is no WCS: candidates are also found without."""
    return [name for name in plugins if exposure.wcs is not None or not name.endswith("SkyCoord")]


def _isUsable(sources):
    """Positive sources whose centroid, if one was asked for, is a maximum on good pixels: only these show the PSF."""
    usable = ~np.asarray(sources["is_negative"])
    if "base_SdssCentroid_flag" in sources.colnames:
        usable &= ~np.asarray(sources["base_SdssCentroid_flag"])
    return usable
