"""Rescale a variance plane to the scatter that the pixels have."""

import logging

import numpy as np

from ..errors import NoDataError, NumericalError
from ..image import Image, MaskedImage
from ..stats import varianceScaleFactors
from .subtract import fitBackground

__all__ = ["ExceedsMaxVarianceScaleError", "computeScaleFactors", "scaleVariance"]

_log = logging.getLogger(__name__)


class ExceedsMaxVarianceScaleError(NumericalError):
    """Both estimates of the factor lie beyond the limit: the variance plane means something else.

    Attributes
    ----------
    metadata : `dict`
        ``scaleVarianceValue`` (pixel-based factor) and ``scaleVarianceLimit``.
    """

    def __init__(self, value, limit):
        super().__init__(
            f"variance rescaling: the pixels scatter by {value:.4g} times what the variance plane claims",
            found=f"a factor of {value:.4g}, limit {limit:g}",
            remedy="check gain and units of the variance plane",
        )
        self.metadata = {"scaleVarianceValue": float(value), "scaleVarianceLimit": float(limit)}


def computeScaleFactors(exposure, config=None):
    """Both estimates of the factor by which the variance plane is too small; nothing is changed.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure` or `stillsky.image.MaskedImage`
    config : `ScaleVarianceConfig`, optional

    Returns
    -------
    factors : `stillsky.stats.VarianceScaleFactors`
        Both 1.0 where fewer than two pixels are good.
    """
    config = _orDefault(config)
    return varianceScaleFactors(*_planes(exposure, config))


def scaleVariance(exposure, config=None):
    """Multiply the variance plane so that it describes the scatter of the pixels.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure` or `stillsky.image.MaskedImage`
        Its variance plane is changed in place, the image is not. The noise should be white: on correlated noise single
        pixels scatter as the plane says while larger apertures do not.
    config : `ScaleVarianceConfig`, optional

    Returns
    -------
    factor : `float`
        With ``mapCells`` the median of the map.

    Raises
    ------
    ExceedsMaxVarianceScaleError
        Both estimates are above ``limit``; the plane is unchanged.

    Notes
    -----
    The pixel-based factor counts unless it exceeds the limit, then the image-based one. Peak memory: two planes.
    """
    config = _orDefault(config)
    image, variance, bad = _planes(exposure, config)
    factor = _chosenFactor(varianceScaleFactors(image, variance, bad), config.limit)
    if config.mapCells > 1:
        cells = _factorMap(image, variance, bad, config.mapCells, config.limit, factor)
        variance *= _interpolated(cells, variance.shape)
        return float(np.median(cells))
    variance *= np.float32(factor)
    return factor


def _orDefault(config):
    if config is None:
        from .scale_variance_config import ScaleVarianceConfig

        config = ScaleVarianceConfig()
    return config


def _planes(exposure, config):
    """Image without its background (a copy), the variance plane itself, and the pixels to leave out."""
    pixels = getattr(exposure, "maskedImage", exposure)
    bits = pixels.mask.bitmask(list(config.maskPlanes), ignoreMissing=True)
    variance = pixels.variance.array
    bad = ((pixels.mask.array & bits) != 0) | ~(np.isfinite(variance) & (variance > 0))
    image = pixels.image.array.copy()
    image[bad] = np.nan
    work = MaskedImage(Image(image, pixels.xy0), pixels.mask, pixels.variance)
    try:
        background = fitBackground(work, config.background, isNanSafe=True)
        if background is not None:
            image -= background.imageArray()
    except NoDataError as error:  # the few pixels that are left still tell their scatter
        _log.debug("No background is removed: %s", error)
    return image, variance, bad


def _chosenFactor(factors, limit):
    if not factors.pixelFactor > limit:
        return factors.pixelFactor
    _log.warning(
        "Pixel-based variance factor %.4g exceeds the limit %g: the image-based one, %.4g, is tried",
        factors.pixelFactor, limit, factors.imageFactor,
    )  # fmt: skip
    if factors.imageFactor > limit:
        raise ExceedsMaxVarianceScaleError(factors.pixelFactor, limit)
    return factors.imageFactor


def _edges(size, n):
    return np.linspace(0, size, n + 1).round().astype(int)


def _factorMap(image, variance, bad, n, limit, fallback):
    """Factors of n x n cells, then the median of each 3 x 3 neighbourhood, so that one bad cell does not show."""
    rows, columns = _edges(image.shape[0], n), _edges(image.shape[1], n)
    cells = np.full((n, n), float(fallback))
    for i in range(n):
        for j in range(n):
            cut = (slice(rows[i], rows[i + 1]), slice(columns[j], columns[j + 1]))
            factors = varianceScaleFactors(image[cut], variance[cut], bad[cut])
            if factors.nGood >= 100 and factors.pixelFactor <= limit:
                cells[i, j] = factors.pixelFactor
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(cells, 1, mode="edge"), (3, 3))
    return np.median(windows, axis=(2, 3))


def _interpolated(cells, shape):
    """Bilinear between cell centres, constant beyond the outer ones; float32."""
    matrices = []
    for n, size in zip(cells.shape, shape):
        edges = _edges(size, n)
        at = np.interp(np.arange(size), 0.5 * (edges[:-1] + edges[1:] - 1), np.arange(n))
        low = np.minimum(at.astype(int), n - 2)
        matrix = np.zeros((size, n), np.float32)
        matrix[np.arange(size), low] = 1 - (at - low)
        matrix[np.arange(size), low + 1] = at - low
        matrices.append(matrix)
    return matrices[0] @ cells.astype(np.float32) @ matrices[1].T
