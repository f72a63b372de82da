"""Gaussian-weighted adaptive moments of many sources at once."""

import enum

import numpy as np

from .. import _core
from ..detection.planes import asImageArray, asMaskArray, asVarianceArray


class MomentsFlag(enum.IntFlag):
    """Bits of the ``flagBits`` field of `adaptiveMoments`; see cpp/include/stillsky/measure/adaptive_moments.hpp."""

    FAILED = 1  #: numbers are NaN; one of the reasons below is set too
    OFF_IMAGE = 2  #: the position is not on the image (fails)
    EDGE = 4  #: part of the 3-sigma ellipse lies outside the image
    MASKED = 8  #: a masked or non-finite pixel lies in the 3-sigma ellipse
    MASKED_CENTER = 16  #: the pixel at the centroid is masked or not finite
    NOT_POSITIVE = 32  #: weighted flux or moments not positive (fails)
    NOT_CONVERGED = 64  #: too many iterations, or wider than maxSigma (fails)
    SHIFT = 128  #: moved farther than maxShift (fails)
    UNRESOLVED = 256  #: narrower than 0.25 pixel, as a cosmic ray
    NO_GOOD_PIXELS = 512  #: fewer than 5 good pixels under the weight (fails)


def adaptiveMoments(
    image,
    variance,
    mask,
    x,
    y,
    guessSigma=1.5,
    *,
    badBits=0,
    maxIter=100,
    tolerance=1e-5,
    maxShift=5.0,
    maxSigma=50.0,
    negative=False,
    fixedCenter=False,
):
    """Centroid, second moments and flux of the elliptical Gaussian that matches each source.

    Adaptive moments of Bernstein & Jarvis (2002, AJ 123, 583): the weight is iterated until it equals the source.
    Pixels without a good value are replaced by the fitted Gaussian, so that masks and edges do not bias the result.

    Parameters
    ----------
    image : array_like, shape (height, width)
        Pixels with the background subtracted.
    variance, mask : array_like or None
        Planes of the same shape; None: variance 1, nothing masked.
    x, y : array_like
        Starting positions, 0-based array coordinates.
    guessSigma : float
        Width of the first weight, pixels.
    badBits : int
        Pixels with any of these bits, a value that is not finite or a variance that is not positive are replaced.
    maxIter, tolerance : int, float
        End of the iteration; the tolerance is relative in size, absolute in ellipticity and in units of sigma in
        position.
    maxShift, maxSigma : float
        Sources that move or grow farther fail, pixels.
    negative : bool
        Measure the negated image; fluxes come out negative.
    fixedCenter : bool
        Keep the given positions.

    Returns
    -------
    moments : `numpy.recarray`
        One row per position: ``x, y, xx, yy, xy, flux, fluxErr, xErr, yErr, xxErr, yyErr, xyErr`` (float64; NaN where
        the measurement failed, except x and y), ``flagBits`` (`MomentsFlag` bits; 0: clean) and ``nIter``.
    """
    pixels = asImageArray(image)
    found = _core.adaptiveMoments(
        pixels,
        asVarianceArray(variance, pixels.shape),
        asMaskArray(mask, pixels.shape),
        np.atleast_1d(np.asarray(x, float)),
        np.atleast_1d(np.asarray(y, float)),
        badBits=int(badBits),
        guessSigma=float(guessSigma),
        maxIter=int(maxIter),
        tolerance=float(tolerance),
        maxShift=float(maxShift),
        maxSigma=float(maxSigma),
        negative=bool(negative),
        fixedCenter=bool(fixedCenter),
    )
    return found.view(np.recarray)
