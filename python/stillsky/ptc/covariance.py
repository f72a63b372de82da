"""Masked lag covariances of a difference of two flats, and the verbs by which photon-transfer programs know them."""

from typing import NamedTuple

import numpy as np

from .. import _core
from ..errors import DomainError, ShapeError
from .covariance_sums import CovarianceSums, checkedImages, covarianceSums, fftSums, selectedPixels
from .moments import clipVarianceFactor

__all__ = [
    "CovFastFourierTransform",
    "CovarianceResult",
    "computeCovDirect",
    "correctCovArray",
    "covDirectValue",
    "covariances",
    "makeCovArray",
]


class CovarianceResult(NamedTuple):
    """Covariances at the lags dx, dy = 0..R.

    Attributes
    ----------
    cov : ndarray of float64, shape (R + 1, R + 1)
        ``[dx, dy]``, in the image's unit squared; not halved. With dx and dy > 0 the mean of (dx, dy) and (dx, -dy).
    npix : ndarray of int64
        Number of pixel pairs behind each, both quadrants together.
    """

    cov: np.ndarray
    npix: np.ndarray

    def tuples(self):
        """``[(dx, dy, var, cov, npix), ...]`` with dy outside, dx inside; ``var`` is the covariance at lag (0, 0)."""
        cov, npix = self.cov.tolist(), self.npix.tolist()
        lags = range(len(cov))
        return [(dx, dy, cov[0][0], cov[dx][dy], npix[dx][dy]) for dy in lags for dx in lags]


def covariances(image, weight, maxLag, *, estimator="auto", quadrants="equal", minPairsPerLag=1, nonFinite="raise"):
    """Covariances of the pixels of an image, by lag, each about the means of its own pixel pairs.

    Parameters
    ----------
    image, weight, maxLag, estimator, nonFinite
        See `covarianceSums`. ``"auto"`` sums directly up to a lag of 32 and uses transforms beyond.
    quadrants : {"equal", "weighted"}
        How the lags (dx, dy) and (dx, -dy) are averaged: equally, or by their numbers of pairs, which is better
        where masks are lopsided.
    minPairsPerLag : int
        A lag with fewer pairs is NaN, with ``npix`` 0. With the default of 1 a lag without pairs is an error instead.

    Returns
    -------
    result : `CovarianceResult`
        (cov, npix), arrays ``[dx, dy]``.

    Raises
    ------
    DomainError, ShapeError
        Both are ValueErrors: what `covarianceSums` raises, a lag without pairs, unknown ``quadrants``.

    References
    ----------
    Astier et al. 2019, A&A 629, A36, appendix A. With "equal", independent Gaussian pixels of variance V give a
    covariance of variance V^2/npix (twice that at lag 0).

    Examples
    --------
    >>> import numpy as np
    >>> from stillsky.ptc import covariances
    >>> cov, npix = covariances(np.eye(4), np.ones((4, 4), bool), 1)
    >>> cov[1, 1], npix[1, 1]
    (np.float64(0.08641975308641975), np.int64(18))
    """
    sums = covarianceSums(image, weight, maxLag, estimator=estimator, offset=None, nonFinite=nonFinite)
    return averageQuadrants(sums, quadrants, minPairsPerLag)


def averageQuadrants(sums, quadrants="equal", minPairsPerLag=1):
    """Covariances at dx, dy >= 0 from the sums at all signed lags; arguments and errors of `covariances`."""
    if quadrants not in ("equal", "weighted"):
        raise DomainError(f"quadrants: wanted 'equal' or 'weighted', got {quadrants!r}")
    arrays = sums.count, sums.sumFirst, sums.sumSecond, sums.sumProduct
    return CovarianceResult(*_core.averageQuadrants(*arrays, quadrants == "weighted", minPairsPerLag))


def computeCovDirect(diffImage, weightImage, maxRange):
    """Covariances for lags 0..maxRange as a list, by sums of products.

    Parameters
    ----------
    diffImage, weightImage : array
        Image, and weights 0 or 1 of the same shape.
    maxRange : int
        Largest lag, included.

    Returns
    -------
    covList : list of tuple
        ``(dx, dy, var, cov, npix)``, dy outside, dx inside; ``var`` is the covariance at lag (0, 0).
    """
    return covariances(diffImage, weightImage, maxRange, estimator="direct").tuples()


def covDirectValue(diffImage, weightImage, dx, dy):
    """Covariance at one signed lag, not averaged over quadrants.

    Parameters
    ----------
    diffImage, weightImage : array
        Image, and weights 0 or 1 of the same shape.
    dx, dy : int
        The lag; either sign, smaller than the sides.

    Returns
    -------
    cov : float
    npix : int
        Number of pixel pairs.

    Raises
    ------
    DomainError, ShapeError
        As `covariances`.
    """
    image, weight, _ = checkedImages(diffImage, weightImage, 0)
    if dx < 0:  # the pairs of a lag and of its negative are the same
        dx, dy = -dx, -dy
    height, width = image.shape
    if dx >= width or abs(dy) >= height:
        raise DomainError(f"dx, dy: wanted a lag within {width} x {height} pixels, got ({dx}, {dy})")
    values, use, _ = selectedPixels(image, weight)
    first = slice(max(0, -dy), height - max(0, dy)), slice(0, width - dx)
    second = slice(max(0, dy), height + min(0, dy)), slice(dx, width)
    pairs = use[first] & use[second]
    npix = int(np.count_nonzero(pairs))
    if npix == 0:
        raise DomainError(f"weight: no pair of usable pixels at lag (dx={dx}, dy={dy})")
    a, b = values[first], values[second]
    mean = a.sum(where=pairs) / npix, b.sum(where=pairs) / npix
    return float((a * b).sum(where=pairs) / npix - mean[0] * mean[1]), npix


class CovFastFourierTransform:
    """Covariances of an image by transforms.

    Parameters
    ----------
    diff, w : array
        Image, and weights 0 or 1 of the same shape. Pixels of weight 0 may be NaN.
    fftShape : tuple of int, optional
        Rows and columns of the transforms; each at least the image's plus ``maxRangeCov``. An odd second one is raised
        by one. Default: the next products of 2, 3 and 5.
    maxRangeCov : int
        Largest lag.

    Raises
    ------
    ShapeError
        ``fftShape`` is too small.
    DomainError, ShapeError
        As `covariances`.
    """

    def __init__(self, diff, w, fftShape, maxRangeCov):
        image, weight, maxLag = checkedImages(diff, w, maxRangeCov)
        if fftShape is not None:
            fftShape = int(fftShape[0]), int(fftShape[1]) + int(fftShape[1]) % 2
            if any(s < n + maxLag for s, n in zip(fftShape, image.shape, strict=True)):
                raise ShapeError(f"fftShape: wanted at least {image.shape} plus {maxLag} each, got {fftShape}")
        self.sums = fftSums(*selectedPixels(image, weight), maxLag, fftShape)

    def cov(self, dx, dy):
        """(covariance averaged over quadrants, number of pixel pairs) at the lag (\\|dx\\|, \\|dy\\|).

        Raises
        ------
        DomainError
            The lag is too large, or has no pixel pairs.
        """
        dx, dy, lag = abs(dx), abs(dy), self.sums.maxLag
        if max(dx, dy) > lag:
            raise DomainError(f"dx, dy: wanted lags up to {lag}, got ({dx}, {dy})")
        count, signed = self.sums.count[dx], self.sums.signedCovariance()[dx]
        columns = [lag + dy, lag - dy] if dx and dy else [lag + dy]
        if not count[columns].all():
            raise DomainError(f"w: no pair of usable pixels at lag (dx={dx}, dy={dy})")
        return float(signed[columns].mean()), int(count[columns].sum())

    def reportCovFastFourierTransform(self, maxRange):
        """``[(dx, dy, var, cov, npix), ...]`` for lags up to ``maxRange``; see `computeCovDirect`."""
        lag = self.sums.maxLag
        if not 0 <= maxRange <= lag:
            raise DomainError(f"maxRange: wanted 0 to {lag}, got {maxRange}")
        part = slice(lag - maxRange, lag + maxRange + 1)
        arrays = (self.sums.count, self.sums.sumFirst, self.sums.sumSecond, self.sums.sumProduct)
        sums = CovarianceSums(*(a[: maxRange + 1, part] for a in arrays), self.sums.offset)
        return averageQuadrants(sums).tuples()


_FIELDS = ("mu", "i", "j", "var", "cov", "npix")


def makeCovArray(inputTuple, maxRangeFromTuple):
    """Half covariances as arrays, from lists of covariances by lag.

    Parameters
    ----------
    inputTuple : structured array, or sequence of tuple
        Fields ``mu, i, j, var, cov, npix`` (others are ignored), or tuples that begin with these six: mean level, dx,
        dy, variance, covariance, number of pixel pairs.
    maxRangeFromTuple : int
        Side of the arrays; larger lags are left out.

    Returns
    -------
    cov : ndarray, shape (n, side, side)
        Half covariances ``[k, dx, dy]`` in the order of the mean levels; NaN where the list has none.
    vcov : ndarray
        Their variances: (var/2)^2/npix, and twice that at lag (0, 0).
    muVals : ndarray, shape (n,)
        The n different mean levels, ascending.
    """
    rows = np.asarray(inputTuple)
    if rows.dtype.names is not None:
        columns = [np.asarray(rows[name], np.float64) for name in _FIELDS]
    else:
        columns = [np.array([row[k] for row in inputTuple], np.float64) for k in range(len(_FIELDS))]
    side = int(maxRangeFromTuple)
    kept = (columns[1] < side) & (columns[2] < side)
    mu, dx, dy, var, cov, npix = (c[kept] for c in columns)
    muVals, level = np.unique(mu, return_inverse=True)
    covArray, vcov = np.full((2, len(muVals), side, side), np.nan)
    where = level, dx.astype(int), dy.astype(int)
    covArray[where] = 0.5 * cov
    vcov[where] = np.divide((0.5 * var) ** 2, npix, out=np.full(len(npix), np.inf), where=npix > 0)
    vcov[:, 0, 0] *= 2
    return covArray, vcov, muVals


def correctCovArray(covArray, nSigma):
    """Undo the loss from clipping at ``nSigma``: F for the variance, F^2 for covariances.

    Parameters
    ----------
    covArray : ndarray, shape (n, side, side)
        As of `makeCovArray`.
    nSigma : float
        Where the pixels were clipped.

    Returns
    -------
    corrected : ndarray
        A new array. Each factor of a product of two weakly correlated Gaussian pixels was truncated, hence F^2.
    """
    factor = clipVarianceFactor(nSigma)
    out = np.asarray(covArray, np.float64) * factor**2
    out[..., 0, 0] /= factor
    return out
