"""Interpolation over missing pixels along rows or columns (coadds and DCR, section 2.10)."""

import logging
from dataclasses import dataclass

import numpy as np

from .._core import countInterpolation, interpolateBadPixels, interpolationWeights
from ..errors import DomainError
from ..stats import StatisticsControl, makeStatistics, stringToStatisticsProperty

__all__ = ["InterpolationResult", "fallbackValue", "interpImage", "interpolationWeights"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class InterpolationResult:
    """What was interpolated.

    Attributes
    ----------
    boxCount : `int`
        Defects: maximal rectangles of bad pixels in successive rows (columns, with ``transpose``), or the boxes given.
    pixelCount : `int`
        Interpolated pixels.
    fallback : `float` or None
        The fallback value; None where no pixel needed it.
    """

    boxCount: int
    pixelCount: int
    fallback: float | None = None


def interpImage(exposure, planeName=None, *, defects=None, config=None, log=None):
    """Fill bad pixels from their neighbours in the same row, in place.

    The value is the ordinary-kriging estimate, with the correlation exp(-d^2/4) of a star of sigma 1 pixel, from the two
    pixels before and the two behind a run of bad ones (Cressie 1993, Statistics for Spatial Data, section 3.2). Runs of
    more than 6 pixels at an end of a row become the fallback value, tapered over the 6 pixels next to the data.

    Parameters
    ----------
    exposure : `stillsky.image.MaskedImage` or `stillsky.image.Exposure`
        Image float32 or float64. Values of bad pixels do not count, NaN or not; good pixels that are NaN are no
        neighbours and stay.
    planeName : `str`, optional
        Mask plane of the bad pixels. It stays set.
    defects : iterable of `stillsky.geom.Box2I`, optional
        Or boxes of bad pixels, parent coordinates; clipped to the image.
    config : `InterpImageConfig`, optional
    log : `logging.Logger`, optional

    Returns
    -------
    result : `InterpolationResult`
        All interpolated pixels have the plane INTRP and, by default, the variance +inf.

    Raises
    ------
    DomainError
        (a ValueError) Neither or both of ``planeName`` and ``defects``.
    MaskSchemaError
        (a ValueError) No such mask plane.

    Notes
    -----
    One pass over the mask and about 10 ns per bad pixel. Memory: with ``defects`` one mask plane.
    """
    if config is None:
        from .interp_image_config import InterpImageConfig

        config = InterpImageConfig()
    pixels = getattr(exposure, "maskedImage", exposure)
    if (planeName is None) == (defects is None):
        raise DomainError("interpImage: wanted either planeName or defects")
    if planeName is not None:
        bits, bad, boxes = pixels.mask.bitmask(planeName), pixels.mask.array, None
    else:
        bits, (bad, boxes) = 1, _drawn(defects, pixels)
    options = bits, config.transpose, config.useFallbackValueAtEdge
    count = countInterpolation(pixels.image.array, bad, *options)
    fallback = fallbackValue(pixels.image, config, log or _LOG) if count["needsFallback"] else None
    if count["pixels"]:
        interpolateBadPixels(
            pixels.image.array, pixels.mask.array, pixels.variance.array, bad, bits, 1 << pixels.mask.addPlane("INTRP"),
            config.transpose, config.useFallbackValueAtEdge, fallback or 0.0, config.variance,
        )  # fmt: skip
    return InterpolationResult(count["boxes"] if boxes is None else boxes, count["pixels"], fallback)


def _drawn(defects, pixels):
    """Mask array with bit 0 in the boxes, and their number."""
    bad = np.zeros(pixels.image.array.shape, np.int32)
    count = 0
    for box in defects:
        count += 1
        box = getattr(box, "bbox", box).clipped(pixels.bbox)
        if not box.isEmpty:
            bad[box.slices(pixels.xy0)] = 1
    return bad, count


def fallbackValue(image, config, log=_LOG):
    """Value of pixels that cannot be interpolated.

    Parameters
    ----------
    image : `stillsky.image.Image`
        All finite pixels count, bad ones too.
    config : `InterpImageConfig`
    log : `logging.Logger`

    Returns
    -------
    value : `float`
        0 for an image without finite pixel, and in place of a negative value that is not allowed.
    """
    if config.fallbackValueType == "USER":
        value = float(config.fallbackUserValue)
    else:
        which = stringToStatisticsProperty(config.fallbackValueType)
        value = float(makeStatistics(image, which, StatisticsControl()).getValue(which))
        if not np.isfinite(value):
            log.warning("No finite pixel tells the fallback value: 0 is taken")
            value = 0.0
    if value < 0 and not config.negativeFallbackAllowed:
        log.warning("Negative fallback value %g: 0 is taken", value)
        value = 0.0
    return value
