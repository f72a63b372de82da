"""Clipped moments of flats, their difference, and the weights of its pixels."""

import math
from dataclasses import dataclass

import numpy as np

from .. import _core
from ..errors import DomainError, ShapeError
from .pixels import binaryWeights, realPixels

__all__ = ["ClippedMoments", "clipVarianceFactor", "clipWeights", "clippedMoments", "differenceOfFlats"]


@dataclass(frozen=True)
class ClippedMoments:
    """Moments of an image before and after clipping; NaN where there are no pixels.

    Parameters
    ----------
    mean, variance : float
        Of the pixels kept by the last round. The variance is unbiased but not corrected for what clipping cut off (see
        `clipVarianceFactor`); NaN for a single pixel.
    median : float
        Of all usable pixels.
    count : int
        Usable pixels: finite, of weight 1.
    kept : int
        Of these, inside the last clipping interval.
    plainMean, quartile1, quartile3 : float
        Mean and quartiles of all usable pixels.
    nSigma : float
        The clipping threshold.
    """

    mean: float
    variance: float
    median: float
    count: int
    kept: int
    plainMean: float
    quartile1: float
    quartile3: float
    nSigma: float

    @property
    def halfWidth(self):
        """nSigma standard deviations after clipping."""
        return self.nSigma * math.sqrt(self.variance)

    @property
    def firstHalfWidth(self):
        """Half the width of the first clipping interval, which is centred on the median."""
        return self.nSigma * 0.741301109252802 * (self.quartile3 - self.quartile1)

    @property
    def lower(self):
        """Lower end, included, of the interval around the clipped mean that keeps a pixel."""
        return self.mean - self.halfWidth

    @property
    def upper(self):
        """Upper end, included."""
        return self.mean + self.halfWidth


def clippedMoments(image, weight=None, nSigma=5.5, nIter=3):
    """Mean and variance of an image after clipping outliers.

    Parameters
    ----------
    image : array of shape (height, width)
        float32 and float64 are used as they are, other real types become float64. Pixels that are not finite are left
        out.
    weight : array of the same shape, optional
        1: use the pixel, 0: do not. Default: all.
    nSigma : float
        Keep pixels within so many standard deviations, limits included.
    nIter : int
        Rounds, at least 1. The first clips around the median with 0.7413 times the interquartile range for the
        standard deviation, each other one around the clipped mean of the round before, always from all pixels.

    Returns
    -------
    moments : `ClippedMoments`

    Raises
    ------
    DomainError, ShapeError
        Both are ValueErrors: parameters out of range, weights other than 0 and 1, shapes that do not fit.

    Notes
    -----
    Order statistics come from selection, not sorting: about 4 ns a pixel on one thread.
    """
    image = realPixels(image)
    weight = None if weight is None else binaryWeights(weight, image.shape)
    return ClippedMoments(*_core.clippedPixelMoments(image, weight, nSigma, nIter), float(nSigma))


def differenceOfFlats(image1, image2, mean1, mean2):
    """Difference of two flats with their fluxes matched: ``(mean2 image1 - mean1 image2) / ((mean1 + mean2)/2)``.

    Parameters
    ----------
    image1, image2 : array of one shape
        The flats.
    mean1, mean2 : float
        Their mean levels. A pattern that both share times their levels cancels.

    Returns
    -------
    difference : ndarray of float64
        NaN where either pixel is.

    Raises
    ------
    DomainError, ShapeError
        Both are ValueErrors: means that are not finite or add to zero, shapes that differ.
    """
    image1, image2 = realPixels(image1, "image1"), realPixels(image2, "image2")
    if image1.shape != image2.shape:
        raise ShapeError(f"image2: wanted the shape of image1 {image1.shape}, got {image2.shape}")
    if image1.dtype != image2.dtype:
        image1, image2 = image1.astype(np.float64, copy=False), image2.astype(np.float64, copy=False)
    out = np.empty(image1.shape)
    _core.differenceOfFlats(image1, image2, mean1, mean2, out)
    return out


def clipWeights(image, weight, moments):
    """Weights 1 of the usable pixels inside the clipping interval.

    Parameters
    ----------
    image : array of shape (height, width)
        Usually a difference of flats.
    weight : array of the same shape, or None
        1: usable, 0: not; None: all.
    moments : `ClippedMoments`, or (lower, upper)
        The interval, ends included: ``[moments.lower, moments.upper]``, symmetric about the clipped mean.

    Returns
    -------
    weights : ndarray of uint8
        1 for finite pixels of weight 1 inside, else 0.
    """
    image = realPixels(image)
    weight = None if weight is None else binaryWeights(weight, image.shape)
    lower, upper = (moments.lower, moments.upper) if isinstance(moments, ClippedMoments) else moments
    out = np.empty(image.shape, np.uint8)
    _core.clipWeights(image, weight, lower, upper, out)
    return out


def clipVarianceFactor(nSigma):
    """Variance of a Gaussian over that of the same clipped at nSigma standard deviations.

    ``1 / (1 - 2 n phi(n) / (Phi(n) - Phi(-n)))`` with the unit normal density phi and distribution Phi. The standard
    deviation is corrected by its square root, a covariance of weakly correlated pixels by its square.

    Raises
    ------
    DomainError
        ``nSigma`` is not positive.
    """
    if not nSigma > 0:
        raise DomainError(f"nSigma: wanted a number > 0, got {nSigma}")
    density = math.exp(-0.5 * nSigma**2) / math.sqrt(2 * math.pi)
    return 1 / (1 - 2 * nSigma * density / math.erf(nSigma / math.sqrt(2)))
