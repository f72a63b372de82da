"""A very fast finder of point sources."""

import numpy as np

from .. import _core, errors
from .planes import asImageArray, asMaskArray, asVarianceArray


def findPeaks(
    image,
    variance=None,
    mask=None,
    badBits=0,
    sigmaPsf=2.0,
    threshold=5.0,
    *,
    polarity="positive",
    border=0,
    maxPeaks=0,
    allowBadCenter=False,
    nSigmaForKernel=7.0,
):
    """Peaks of the matched filter of a background-free image.

    Parameters
    ----------
    image : array_like, shape (height, width)
        Pixels with the background subtracted; NaN is left out.
    variance : array_like or float, optional
        Variance of each pixel; pixels with a variance that is not finite and positive are left out. None: 1.
    mask : array_like of int, optional
        Mask plane.
    badBits : int
        Pixels with any of these bits are left out.
    sigmaPsf : float
        Width of the round Gaussian filter, pixels.
    threshold : float
        Least significance of a peak, standard deviations of the filtered image.
    polarity : {"positive", "negative", "both"}
        Maxima, minima or both.
    border : int
        Peaks nearer than this to an edge are dropped, pixels.
    maxPeaks : int
        Keep only this many, the most significant. 0: all.
    allowBadCenter : bool
        Keep peaks whose own pixel was left out.
    nSigmaForKernel : float
        Full width of the truncated filter, in units of `sigmaPsf`.

    Returns
    -------
    peaks : `numpy.recarray`
        Fields ``ix, iy`` (pixel), ``x, y`` (extremum of the quadratic through the 3x3 filtered pixels; 0-based array
        coordinates), ``significance`` (negative for minima) and ``value`` (filtered image), sorted by falling
        absolute significance.

    Raises
    ------
    ShapeError
        Planes of different shapes.
    DomainError
        A width, threshold or polarity outside its range.
    """
    if polarity not in ("positive", "negative", "both"):
        raise errors.DomainError(f"polarity: wanted 'positive', 'negative' or 'both', got {polarity!r}")
    pixels = asImageArray(image)
    found = _core.findPeaks(
        pixels,
        asVarianceArray(variance, pixels.shape),
        asMaskArray(mask, pixels.shape),
        badBits=int(badBits),
        sigmaPsf=float(sigmaPsf),
        threshold=float(threshold),
        nSigmaForKernel=float(nSigmaForKernel),
        positive=polarity != "negative",
        negative=polarity != "positive",
        border=int(border),
        allowBadCenter=bool(allowBadCenter),
        maxPeaks=int(maxPeaks),
    )
    return found.view(np.recarray)
