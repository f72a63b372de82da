"""Clipped statistics and robust standard deviation, exact and threaded."""

import numpy as np

from .. import _core
from .statistics import planeArray, planesOf

__all__ = ["clippedStats", "robustSigma"]


def _realPlanes(image, mask):
    image, itsMask, _ = planesOf(image)
    if image.dtype.kind != "f":
        image = image.astype(np.float64)
    return image, itsMask if mask is None else planeArray(mask, np.int32, "mask")


def clippedStats(image, mask=None, badBits=0, numSigma=3.0, numIter=3, subsample=1):
    """Median, clipped mean and clipped standard deviation of an image.

    Parameters
    ----------
    image : array, Image, MaskedImage or Exposure
        float32 and float64 pixels are read in place; others are converted to float64.
    mask : Mask or array, optional
        Integer mask; default: that of a masked image.
    badBits : int
        Pixels with any of these mask bits are left out; so are pixels that are not finite.
    numSigma, numIter : float, int
        Clipping as in `StatisticsControl`.
    subsample : int
        Use every n-th row and column only.

    Returns
    -------
    median, mean, stdev : float
        Median of all usable pixels; mean and standard deviation of those that clipping kept. NaN if there is none.
    n : int
        Number of pixels kept.
    """
    image, mask = _realPlanes(image, mask)
    return _core.clippedStats(image, mask, badBits, numSigma, numIter, subsample)


def robustSigma(image, mask=None, badBits=0, subsample=1):
    """1.4826 times the median absolute deviation from the median; arguments of `clippedStats`; NaN without pixels."""
    image, mask = _realPlanes(image, mask)
    return _core.robustSigma(image, mask, badBits, subsample)
