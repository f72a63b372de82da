"""Sums over pairs of pixels a lag apart: exact, additive, and all that a masked covariance needs.

For an image d, weights w of 0 and 1, and a lag (dx, dy), over all pixels p such that p and p + lag lie in the image
(Astier et al. 2019, A&A 629, A36, appendix A)::

    count      = sum w(p) w(p + lag)
    sumFirst   = sum w(p) w(p + lag) d(p)
    sumSecond  = sum w(p) w(p + lag) d(p + lag)
    sumProduct = sum w(p) w(p + lag) d(p) d(p + lag)
    covariance = sumProduct/count - sumFirst sumSecond/count^2
"""

import numbers
from dataclasses import dataclass

import numpy as np
import scipy.fft

from .. import _core
from ..errors import DomainError, ShapeError
from .pixels import binaryWeights, realPixels

__all__ = ["CovarianceSums", "covarianceSums"]

LARGEST_DIRECT_LAG = 32  # beyond it transforms are about as fast


@dataclass(frozen=True, eq=False)
class CovarianceSums:
    """Sums over pairs of pixels for the lags dx = 0..R, dy = -R..R.

    Parameters
    ----------
    count : ndarray of int64, shape (R + 1, 2 R + 1)
        Number of pairs; ``[dx, R + dy]``, as in all the arrays here.
    sumFirst, sumSecond, sumProduct : ndarray of float64
        Sums of the first pixel of each pair (the one without the lag), the second, and their product.
    offset : float
        The number that was subtracted from every pixel beforehand.

    Notes
    -----
    Sums of parts of an image add, but pairs that cross from one part to the other are in neither. Sums with different
    offsets add too: those of the right operand are moved to the offset of the left.
    """

    count: np.ndarray
    sumFirst: np.ndarray
    sumSecond: np.ndarray
    sumProduct: np.ndarray
    offset: float = 0.0

    @property
    def maxLag(self):
        """The largest lag R."""
        return self.count.shape[0] - 1

    def withOffset(self, offset):
        """The sums of the same pixels less another number."""
        move = self.offset - offset
        if move == 0:
            return self
        product = self.sumProduct + move * (self.sumFirst + self.sumSecond + move * self.count)
        first, second = (s + move * self.count for s in (self.sumFirst, self.sumSecond))
        return CovarianceSums(self.count, first, second, product, float(offset))

    def __add__(self, other):
        if not isinstance(other, CovarianceSums):
            return NotImplemented
        if other.maxLag != self.maxLag:
            raise ShapeError(f"CovarianceSums: wanted sums of equal maxLag, got {self.maxLag} and {other.maxLag}")
        other = other.withOffset(self.offset)
        names = ("count", "sumFirst", "sumSecond", "sumProduct")
        return CovarianceSums(*(getattr(self, n) + getattr(other, n) for n in names), self.offset)

    def __radd__(self, other):
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def signedCovariance(self):
        """Covariances of all lags, shape (R + 1, 2 R + 1); NaN for a lag without pairs."""
        n = np.where(self.count > 0, self.count, np.nan)
        return self.sumProduct / n - (self.sumFirst / n) * (self.sumSecond / n)


def checkedImages(image, weight, maxLag):
    """Image (float32 or float64) and weights (uint8) as the core wants them, and the lag.

    Raises
    ------
    DomainError, ShapeError
        Pixels that are not real, weights other than 0 and 1, a lag that is negative or not less than both sides; not
        two dimensions, no pixels, shapes that differ.
    """
    image = realPixels(image)
    if not isinstance(maxLag, numbers.Integral) or not 0 <= maxLag < min(image.shape):
        raise DomainError(
            f"maxLag: wanted a whole number from 0 to less than the smaller side, {min(image.shape)}, got {maxLag!r}"
        )
    return image, binaryWeights(weight, image.shape), int(maxLag)


def covarianceSums(image, weight, maxLag, *, estimator="direct", offset=0.0, nonFinite="raise"):
    """Sums over all pairs of pixels up to a lag apart.

    Parameters
    ----------
    image : array of shape (height, width)
        float32 and float64 are used as they are, integers become float64. Any strides and byte order; may be read-only.
    weight : array of the same shape
        1: use the pixel, 0: do not, whatever its value. Any real type or bool.
    maxLag : int
        Largest lag in both directions; less than the smaller side.
    estimator : {"direct", "fft", "auto"}
        Sums of products in double precision, in C++ on all threads; transforms of `scipy.fft`; or direct up to a lag
        of 32 and transforms beyond. They agree to rounding.
    offset : float or None
        Number to subtract from the pixels first. One near their mean avoids cancellation in the covariance; None takes
        a number near the mean of the pixels used.
    nonFinite : {"raise", "ignore"}
        What to do with a pixel of weight 1 that is NaN or infinite: refuse it, or treat it as of weight 0.

    Returns
    -------
    sums : `CovarianceSums`
        Bit-identical for any number of threads.

    Raises
    ------
    DomainError, ShapeError
        Both are ValueErrors; see `checkedImages`. Also a pixel of weight 1 that is not finite.

    Notes
    -----
    Cost: direct, 0.05 ns per pixel and lag on one processor with AVX2 or better, and a few hundred kilobytes per
    thread; transforms, 150 ns per pixel and ten times the memory of a float64 image.
    """
    image, weight, maxLag = checkedImages(image, weight, maxLag)
    if nonFinite not in ("raise", "ignore"):
        raise DomainError(f"nonFinite: wanted 'raise' or 'ignore', got {nonFinite!r}")
    if estimator not in ("auto", "direct", "fft"):
        raise DomainError(f"estimator: wanted 'auto', 'direct' or 'fft', got {estimator!r}")
    if offset is not None and not np.isfinite(offset):
        raise DomainError(f"offset: wanted a finite number, got {offset}")
    if estimator == "fft" or (estimator == "auto" and maxLag > LARGEST_DIRECT_LAG):
        return fftSums(*selectedPixels(image, weight, offset, nonFinite), maxLag)
    return CovarianceSums(*_core.covarianceSums(image, weight, maxLag, offset, nonFinite == "ignore"))


def selectedPixels(image, weight, offset=None, nonFinite="raise"):
    """Pixels less the offset where the weight is 1 and 0 elsewhere, in float64; where it is 1; and the offset."""
    if (weight > 1).any():
        raise DomainError(f"weight: wanted only 0 and 1, got {weight.max()}")
    use = weight != 0
    finite = np.isfinite(image)
    if nonFinite == "raise" and not finite[use].all():
        y, x = np.argwhere(use & ~finite)[0]
        raise DomainError(f"image: pixel (x={x}, y={y}) has weight 1 but is {image[y, x]}: mask it first")
    use &= finite
    if offset is None:
        offset = image[use].mean(dtype=np.float64) if use.any() else 0.0
    # Selected, never multiplied: 0 * NaN is NaN and would spread over all sums.
    values = np.zeros(image.shape)
    np.subtract(image, offset, dtype=np.float64, where=use, out=values)
    return values, use, float(offset)


def fftSize(n, maxLag, even=False):
    """Length of a transform that keeps lags up to maxLag of n pixels apart: a product of 2, 3 and 5."""
    size = scipy.fft.next_fast_len(n + maxLag + 1, real=True)
    while even and size % 2:
        size = scipy.fft.next_fast_len(size + 1, real=True)
    return size


def fftSums(values, use, offset, maxLag, shape=None):
    """The sums by transforms (Astier et al. 2019, appendix A) of what `selectedPixels` returns."""
    if shape is None:
        shape = fftSize(values.shape[0], maxLag), fftSize(values.shape[1], maxLag, even=True)
    workers = _core.getNumThreads()
    transform = scipy.fft.rfft2(values, shape, workers=workers)
    window = scipy.fft.rfft2(use.astype(np.float64), shape, workers=workers)
    dy, dx = np.arange(-maxLag, maxLag + 1)[:, np.newaxis], np.arange(maxLag + 1)

    def correlate(first, second):
        # The sum over p of first(p) second(p + lag), for the lags as [dx, maxLag + dy] and for their negatives.
        full = scipy.fft.irfft2(second * first.conj(), shape, workers=workers)
        return full[dy, dx].T, full[-dy, -dx].T

    count = np.rint(correlate(window, window)[0]).astype(np.int64)
    sumSecond, sumFirst = correlate(window, transform)
    return CovarianceSums(count, sumFirst, sumSecond, correlate(transform, transform)[0], offset)
