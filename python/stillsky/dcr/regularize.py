"""What keeps the subfilters of a DCR model from drifting: clamps on their change and on their colours."""

import numpy as np
from scipy import ndimage

from .. import _core
from ..errors import DomainError, ShapeError

__all__ = [
    "amplified",
    "applyImageThresholds",
    "clampColors",
    "clampIteration",
    "modelWeights",
    "noiseCutoff",
    "referenceClampColors",
]

_NOISE_BORDER = 5
_TRUNCATE = 4.0
_MOST_SIGMA = 64  # of the compiled smoothing


def amplified(images, factor):
    """Subfilter images with their differences from their mean amplified; their sum stays.

    Parameters
    ----------
    images : sequence of `numpy.ndarray`
    factor : `float`

    Returns
    -------
    images : `list` of `numpy.ndarray`
        The given ones for factor 1.
    """
    if factor == 1:
        return list(images)
    mean = _mean(images)
    return [(image - mean) * np.float32(factor) + mean for image in images]


def applyImageThresholds(image, highThreshold=None, lowThreshold=None, regularizationWidth=2):
    """Bring pixels beyond thresholds back to them, in place; excursions smaller than a diamond stay.

    Parameters
    ----------
    image : `numpy.ndarray`
        Changed.
    highThreshold, lowThreshold : `numpy.ndarray`, optional
        Limits for every pixel.
    regularizationWidth : `int`
        The diamond is the cross of four neighbours applied so often to one pixel (2: 13 pixels); flagged regions are
        opened with it, so that noise stays what it is. 0: every pixel counts.
    """
    if regularizationWidth < 0:
        raise DomainError(f"regularizationWidth: wanted at least 0, given {regularizationWidth}")
    for limit, beyond in ((highThreshold, np.greater), (lowThreshold, np.less)):
        if limit is None:
            continue
        with np.errstate(invalid="ignore"):
            flagged = np.ascontiguousarray(beyond(image, limit))
        if regularizationWidth > 0 and flagged.any():
            _core.openDiamond(flagged.view(np.uint8), int(regularizationWidth))
        np.copyto(image, limit, where=flagged, casting="same_kind")


def clampIteration(new, old, factor, width, amplification=1.0):
    """Bring a new solution back to within a factor of the old one, in place.

    Parameters
    ----------
    new, old : `numpy.ndarray`
        ``new`` is changed.
    factor : `float`
        The limits are ``|old| * factor`` and ``old / factor``.
    width : `int`
        See `applyImageThresholds`.
    amplification : `float`
        Differences of the models are amplified by this much when they are used: the limits come closer to ``old``, so
        that the amplified change stays within the factor: ``1 +- (factor - 1)/amplification``.
    """
    high, low = _limits(factor, amplification)
    if _compiled(new, old) and width >= 0:
        _core.clampChange(new, old, high, low, low if amplification == 1 else 2 - low, int(width))
        return
    size = np.abs(old)
    applyImageThresholds(new, size * high, old * low if amplification == 1 else old - size * (1 - low), width)


def _limits(factor, amplification):
    """Largest and smallest ratio."""
    if not factor >= 1:
        raise DomainError(f"regularization: wanted a factor of at least 1, given {factor}")
    if amplification == 1:
        return np.float32(factor), np.float32(1 / factor)
    step = min((factor - 1) / amplification, 1.0)
    return np.float32(1 + step), np.float32(1 - step)


def noiseCutoff(image, excluded, bufferSize=0):
    """Standard deviation of the background pixels.

    Parameters
    ----------
    image : `numpy.ndarray`
    excluded : `numpy.ndarray` of `bool`
        Pixels that are bad, or of sources.
    bufferSize : `int`
        Rows and columns left out at each edge.

    Returns
    -------
    noise : `float`
        NaN without at least two pixels.
    """
    if excluded.shape != image.shape:
        raise ShapeError(f"excluded: wanted shape {image.shape}, given {excluded.shape}")
    if _compiled(image):
        return _core.backgroundScatter(image, np.asarray(excluded, bool).view(np.uint8), int(bufferSize))
    inner = tuple(slice(bufferSize, max(n - bufferSize, bufferSize)) for n in image.shape)
    values = image[inner][~excluded[inner]]
    values = values[np.isfinite(values)]
    return float(np.std(values, dtype=np.float64)) if values.size > 1 else float("nan")


def referenceClampColors(newImages, oldMean, noise, factor, width):
    """The frequency clamp of Rubin's pipelines, in place (section 6.3, regularizeModelFreq).

    Parameters
    ----------
    newImages : sequence of `numpy.ndarray`
        Changed: each becomes a smooth ratio times the old mean; pixels where that is not positive become 0.
    oldMean : `numpy.ndarray`
        Mean over the subfilters before the update.
    noise : `float`
        Of one new image.
    factor : `float`
        Largest ratio between subfilters.
    width : `int`
        Pixels.
    """
    reference = np.where(np.isfinite(oldMean) & (oldMean > 0), oldMean, 0)
    if not np.any(reference > 0):
        return
    limit = np.sqrt(factor)
    cutoff = noise / (2 * width)
    smooth = ndimage.gaussian_filter(reference, width, mode="constant") + 3 * cutoff
    for image in newImages:
        applyImageThresholds(image, smooth * limit, smooth / limit, width)
        relative = (ndimage.gaussian_filter(image, width, mode="constant") + 3 * cutoff) / smooth
        relative += 3 * (relative - ndimage.gaussian_filter(relative, width / 3))
        image[...] = relative * reference


def clampColors(newImages, noise, factor, width, amplification=1.0):
    """Bring the colours of the subfilters back to within a factor of their mean, in place; their sum stays.

    Each image and the mean of all are smoothed alike; where the ratio of the two lies beyond its limits for some image, the
    differences of all images from their mean are reduced by one factor, that which brings the worst back. Images that are
    equal stay as they are; so do pixels where the smooth mean is not positive.

    Parameters
    ----------
    newImages : sequence of `numpy.ndarray`
        Changed.
    noise : `float`
        Of one image; not finite: nothing is done.
    factor : `float`
        Largest ratio between subfilters; the square root is that to their mean.
    width : `int`
        Sigma of the smoothing, pixels.
    amplification : `float`
        As in `clampIteration`.
    """
    if not np.isfinite(noise):
        return
    high, low = _limits(np.sqrt(factor), amplification)
    sigma = max(float(width), 1e-3)
    if _compiled(*newImages) and sigma <= _MOST_SIGMA:
        smooth = [np.empty(image.shape, np.float32) for image in newImages]
        for image, out in zip(newImages, smooth, strict=True):
            _core.smoothWeighted(image, sigma, None, None, out)
        _core.clampRatios(list(newImages), smooth, high, low, 3 * noise / (2 * max(width, 1)))
        return
    smooth = [ndimage.gaussian_filter(image, sigma, mode="constant", truncate=_TRUNCATE) for image in newImages]
    level = _mean(smooth)
    cutoff = np.float32(3 * noise / (2 * max(width, 1)))
    above, below = np.maximum(level, 0) * (high - 1) + cutoff, np.maximum(level, 0) * (1 - low) + cutoff
    keep = np.ones_like(level)
    for image in smooth:
        image -= level
        limit = np.where(image > 0, above, below)
        size = np.abs(image)
        np.minimum(keep, np.divide(limit, size, out=np.ones_like(level), where=size > limit), out=keep)
    keep[level <= 0] = 1
    if np.all(keep == 1):
        return
    mean = _mean(newImages)
    off = 1 - keep
    for image in newImages:
        image -= off * (image - mean)


def _compiled(*images):
    """Whether the compiled loops take these arrays."""
    return all(image.dtype == np.float32 and image.ndim == 2 and image.strides[1] == 4 for image in images)


def modelWeights(detected, width):
    """Weight of the model near sources, falling off like a Gaussian.

    Parameters
    ----------
    detected : `numpy.ndarray` of `bool`
    width : `float`
        Sigma of the taper, pixels.

    Returns
    -------
    weights : `numpy.ndarray`
        float32, at most 1; all 0 where nothing is detected.

    Raises
    ------
    DomainError
        Negative width.
    """
    if width < 0:
        raise DomainError(f"modelWeightsWidth: wanted at least 0 pixels, given {width}")
    weights = ndimage.gaussian_filter(detected.astype(np.float32), width) if width > 0 else detected.astype(np.float32)
    top = float(weights.max(initial=0.0))
    return weights / np.float32(top) if top > 0 else np.zeros_like(weights)


def _mean(images):
    total = np.array(images[0], copy=True)
    for image in images[1:]:
        total += image
    total /= total.dtype.type(len(images))
    return total
