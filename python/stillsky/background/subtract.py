"""Fit and subtract a background with the settings of Rubin's SubtractBackgroundTask."""

import logging
import math
from dataclasses import dataclass, field, fields, replace

import numpy as np

from .. import _core
from ..errors import DomainError, NoDataError
from ..stats import Property, StatisticsControl, makeStatistics
from .approximate import ApproximateControl
from .background import BackgroundList, makeBackground
from .control import BackgroundControl, UndersampleStyle, asEnum, maxInterpStyle

__all__ = ["BackgroundSettings", "SubtractedBackground", "fitBackground", "subtractBackground"]

_log = logging.getLogger(__name__)


@dataclass
class BackgroundSettings:
    """Settings of `fitBackground`: same fields and defaults as `SubtractBackgroundConfig`, without its machinery."""

    statisticsProperty: str = "MEANCLIP"
    undersampleStyle: str = "REDUCE_INTERP_ORDER"
    binSize: int = 128
    binSizeX: int = 0
    binSizeY: int = 0
    algorithm: str = "AKIMA_SPLINE"
    ignoredPixelMask: tuple = ("BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA")
    isNanSafe: bool = False
    useApprox: bool = True
    approxOrderX: int = 6
    approxOrderY: int = -1
    weighting: bool = True
    doApplyFlatBackgroundRatio: bool = False
    doFilterSuperPixels: bool = False
    superPixelFilterSize: int = 3

    @classmethod
    def of(cls, config, overrides):
        """Settings of any object with (some of) these fields, with overrides."""
        names = [f.name for f in fields(cls)]
        base = cls() if config is None else cls(**{n: getattr(config, n) for n in names if hasattr(config, n)})
        unknown = set(overrides) - set(names)
        if unknown:
            raise TypeError(f"background: unknown settings {sorted(unknown)}; known are {names}")
        return replace(base, **overrides)


@dataclass
class SubtractedBackground:
    """Result of `subtractBackground`: all backgrounds of the image, the new one last, and its mean and variance."""

    background: BackgroundList = field(default_factory=BackgroundList)
    mean: float = math.nan
    variance: float = math.nan


def _maskedImage(exposure):
    return getattr(exposure, "maskedImage", exposure)


def _numberOfCells(size, binSize, name):
    if binSize < 1:
        raise DomainError(f"{name}: wanted a bin size >= 1 pixel, got {binSize}")
    return math.ceil(size / binSize)


def _statControl(settings, mask):
    bits = 0 if mask is None else mask.bitmask(list(settings.ignoredPixelMask), ignoreMissing=True)
    return StatisticsControl(nanSafe=settings.isNanSafe, andMask=bits)


def _filterSuperPixels(values, size):
    """Replace outlying cells by the median of their size x size neighbourhood (edges mirrored, NaN ignored).

    A cell is outlying when it differs from that median by more than 3 robust standard deviations of such differences.
    """
    half = size // 2
    padded = np.pad(values, half, mode="symmetric") if half < min(values.shape) else np.pad(values, half, mode="edge")
    median = _core.windowMedians(np.ascontiguousarray(padded), 2 * half + 1)
    difference = values - median
    finite = np.isfinite(difference)
    if not finite.any():
        return values
    sigma = 1.4826 * np.median(np.abs(difference[finite]))
    return np.where(finite & (np.abs(difference) > 3 * sigma), median, values)


def _reducedOrders(settings, nx, ny, nFinite):
    """Approximation that the cells allow, or None when only interpolation is left."""
    wantedX = settings.approxOrderX
    wantedY = settings.approxOrderY if settings.approxOrderY >= 0 else wantedX
    limit = min(nx, ny) - 1
    orderX, orderY = min(wantedX, limit), min(wantedY, limit)
    while max(orderX, orderY) > 0 and len(ApproximateControl(orderX, orderY).terms) > nFinite:
        orderX, orderY = min(orderX, max(orderX, orderY) - 1), min(orderY, max(orderX, orderY) - 1)
    if (orderX, orderY) != (wantedX, wantedY):
        _log.warning(
            "Too few cells (%dx%d, %d with a value) for orders (%d, %d): using (%d, %d)",
            nx, ny, nFinite, wantedX, wantedY, orderX, orderY,
        )  # fmt: skip
    return ApproximateControl(orderX, orderY, settings.weighting) if max(orderX, orderY) > 0 else None


def fitBackground(maskedImage, config=None, **settings):
    """Fit a background.

    Parameters
    ----------
    maskedImage : MaskedImage or Exposure
        Pixels with a plane of ``ignoredPixelMask`` are left out; unknown planes are ignored.
    config : object, optional
        `SubtractBackgroundConfig` or anything with its fields.
    **settings
        Single fields in place of those of ``config``.

    Returns
    -------
    Background or None
        ``imageArray`` and ``image`` evaluate it as configured. None for the algorithm "NONE".

    Raises
    ------
    NoDataError
        No cell has a usable pixel: too many are masked.
    DomainError
        A setting is outside its allowed set.
    """
    settings = BackgroundSettings.of(config, settings)
    if settings.algorithm == "NONE":
        return None
    maskedImage = _maskedImage(maskedImage)
    height, width = maskedImage.image.array.shape
    nx = _numberOfCells(width, settings.binSizeX or settings.binSize, "binSizeX")
    ny = _numberOfCells(height, settings.binSizeY or settings.binSize, "binSizeY")
    control = BackgroundControl(
        nx, ny, settings.algorithm, settings.undersampleStyle, settings.statisticsProperty,
        _statControl(settings, maskedImage.mask),
    )  # fmt: skip
    background = makeBackground(maskedImage, control)
    nFinite = nx * ny - background.nEmpty
    if nFinite == 0:
        raise NoDataError(f"background: none of {nx}x{ny} cells has a usable pixel (too many masked pixels)")
    if settings.doFilterSuperPixels:
        background.values = _filterSuperPixels(background.values, settings.superPixelFilterSize)
    if settings.useApprox:
        background.control.approximate = _reducedOrders(settings, nx, ny, nFinite)
        if background.control.approximate is None:
            background.control.style = maxInterpStyle(min(nx, ny, 2))
            background.control.undersample = UndersampleStyle.REDUCE_INTERP_ORDER
    elif asEnum(UndersampleStyle, settings.undersampleStyle) is UndersampleStyle.REDUCE_INTERP_ORDER:
        used = background.styleUsed()
        if used != background.control.style:
            _log.warning("Only %dx%d cells: %s in place of %s", nx, ny, used.value, background.control.style.value)
    return background


def subtractBackground(
    exposure, background=None, stats=True, config=None, backgroundToPhotometricRatio=None, **settings
):
    """Fit a background and subtract it from the image, in place; mask and variance stay as they are.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        Modified. An exposure's ``metadata`` gets BGMEAN and BGVAR.
    background : BackgroundList, optional
        Backgrounds already subtracted; a new list with the new one appended is returned.
    stats : bool
        Compute mean and variance of the background image.
    config, **settings
        As for `fitBackground`.
    backgroundToPhotometricRatio : Image or array, optional
        With ``doApplyFlatBackgroundRatio``: the image is multiplied by it for the fit and divided by it afterwards.

    Returns
    -------
    SubtractedBackground

    Raises
    ------
    NoDataError
        No cell has a usable pixel; the image is unchanged then.
    """
    used = BackgroundSettings.of(config, settings)
    if used.doApplyFlatBackgroundRatio and backgroundToPhotometricRatio is None:
        raise DomainError("backgroundToPhotometricRatio: wanted, because doApplyFlatBackgroundRatio is on")
    ratio = backgroundToPhotometricRatio if used.doApplyFlatBackgroundRatio else None
    pixels = _maskedImage(exposure).image.array
    if ratio is not None:
        ratio = np.asarray(getattr(ratio, "array", ratio))
        pixels *= ratio
    try:
        result = _subtract(exposure, pixels, used, BackgroundList(background or ()), stats)
    finally:
        if ratio is not None:
            pixels /= ratio
    return result


def _subtract(exposure, pixels, settings, backgrounds, stats):
    result = SubtractedBackground(backgrounds)
    new = fitBackground(exposure, settings)
    if new is None:
        return result
    model = new.imageArray()
    pixels -= model
    backgrounds.append(new)
    if stats:
        figures = makeStatistics(model, Property.MEAN | Property.VARIANCE)
        result.mean, result.variance = figures.getValue(Property.MEAN), figures.getValue(Property.VARIANCE)
        metadata = getattr(exposure, "metadata", None)
        if metadata is not None:
            metadata["BGMEAN"], metadata["BGVAR"] = result.mean, result.variance
    return result
