"""Ratio of the scatter that pixels have to the variance that their plane claims."""

from dataclasses import dataclass

import numpy as np

__all__ = ["VarianceScaleFactors", "varianceScaleFactors"]

#: Standard deviation of a normal distribution over its interquartile range, 1/(2 * 0.67448975).
IQR_TO_SIGMA = 0.7413011092528009
_ENOUGH = 2**20  # pixels: the quartiles' own error is then 0.3 % of the factor


@dataclass(frozen=True)
class VarianceScaleFactors:
    """What the variance plane must be multiplied by, estimated in two ways.

    Attributes
    ----------
    pixelFactor : `float`
        Squared width of image / sqrt(variance), pixel by pixel.
    imageFactor : `float`
        Squared width of the image over the median variance.
    nGood : `int`
        Pixels they rest on. Below 2 both factors are 1.
    """

    pixelFactor: float
    imageFactor: float
    nGood: int


def varianceScaleFactors(image, variance, bad=None):
    """Both estimates of the factor by which a variance plane is too small.

    Parameters
    ----------
    image : `numpy.ndarray`, (h, w)
        Sky at zero.
    variance : `numpy.ndarray`, (h, w)
        Claimed variance of the pixels, in squared units of the image.
    bad : `numpy.ndarray` of bool, (h, w), optional
        Pixels to leave out; so are those that are not finite or whose variance is not positive.

    Returns
    -------
    factors : `VarianceScaleFactors`

    Notes
    -----
    Widths are 0.7413 times the interquartile range. More than 2**21 pixels are sampled on every n-th row and column,
    unless fewer than two good ones lie there. The scatter of single pixels says nothing about noise that is correlated
    between pixels: use it on images whose noise is white. Cost: one selection of the quartiles.
    """
    step = max(1, int(np.sqrt(image.size / _ENOUGH)))
    values, claimed = _goodPixels(image, variance, bad, step)
    if values.size < 2 and step > 1:
        values, claimed = _goodPixels(image, variance, bad, 1)
    if values.size < 2:
        return VarianceScaleFactors(1.0, 1.0, int(values.size))
    return VarianceScaleFactors(
        _width(values / np.sqrt(claimed)) ** 2, _width(values) ** 2 / float(np.median(claimed)), int(values.size)
    )


def _goodPixels(image, variance, bad, step):
    cut = (slice(None, None, step), slice(None, None, step))
    image, variance = image[cut], variance[cut]
    good = np.isfinite(image) & np.isfinite(variance) & (variance > 0)
    if bad is not None:
        good &= ~bad[cut]
    return image[good].astype(np.float64), variance[good].astype(np.float64)


def _width(values):
    low, high = np.percentile(values, (25, 75))
    return IQR_TO_SIGMA * float(high - low)
