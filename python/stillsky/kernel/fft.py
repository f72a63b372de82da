"""Convolution with large kernels by tiles of Fourier transforms.

A kernel that is a polynomial of the position is a sum of fixed kernels times polynomials, so a tile costs one forward
transform and one inverse per term, independent of the number of basis kernels and nearly so of the kernel's size
(Alard & Lupton 1998, ApJ 503, 325; Alard 2000, A&AS 144, 363, for the form of the kernel).
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft
from numpy.polynomial import chebyshev

from .. import _core
from ..errors import DomainError, NumericalError

__all__ = ["convolveFft", "isFftSuitable"]

# Above this many taps the transforms win over direct sums. Measured for a masked image and a linear variation on two
# cores: direct sums take 0.8 to 0.9 s for 35 x 35 taps and 4096^2 pixels, transforms 1.1 s whatever the size.
_DIRECT_TAPS = 35 * 35


def isFftSuitable(kernel, control):
    """Whether transforms are the faster exact method."""
    if kernel.width * kernel.height <= _DIRECT_TAPS:
        return False
    if isinstance(kernel, _core.DeltaFunctionKernel):
        return False
    varying = kernel.isSpatiallyVarying
    if isinstance(kernel, _core.SeparableKernel) and not varying:
        return False
    if varying and control.model == "reference" and control.maxInterpolationDistance > 1:
        return False
    terms = _core.kernelTerms(kernel, kernel.width, kernel.height)
    return terms is not None and np.count_nonzero(terms[3]) > _DIRECT_TAPS


def _squareTerms(order, terms):
    """Terms of the squared kernel, of twice the order: T_a T_c = (T_{a+c} + T_{|a-c|})/2 in both axes."""
    powers = _core.polynomialTerms(order)
    outOrder = 2 * order
    outPowers = {ab: i for i, ab in enumerate(_core.polynomialTerms(outOrder))}
    out = np.zeros((len(outPowers), *terms.shape[1:]))
    for i, (a, b) in enumerate(powers):
        for j, (c, d) in enumerate(powers):
            product = 0.25 * terms[i] * terms[j]
            for m in (a + c, abs(a - c)):
                for n in (b + d, abs(b - d)):
                    out[outPowers[m, n]] += product
    return outOrder, out


class _Model:
    """Kernel terms and their transforms for one tile size, in single and double precision."""

    def __init__(self, order, terms, tile):
        self.powers = np.array(_core.polynomialTerms(order))
        self.order = order
        transforms = np.conj(scipy.fft.rfft2(terms, s=(tile, tile)))
        self.transforms = {np.dtype(np.float64): transforms, np.dtype(np.float32): transforms.astype(np.complex64)}
        self.sums = terms.sum(axis=(1, 2))
        self.tile = tile

    def apply(self, pixels, tx, ty):
        """Sum over terms of T_a(x') T_b(y') (k_ab correlated with the tile), valid pixels only."""
        height, width = ty.shape[1], tx.shape[1]
        spectrum = scipy.fft.rfft2(pixels, s=(self.tile, self.tile))
        out = np.zeros((height, width), pixels.dtype)
        for (a, b), transform in zip(self.powers, self.transforms[pixels.dtype], strict=True):
            term = scipy.fft.irfft2(spectrum * transform, s=(self.tile, self.tile))[:height, :width]
            if a:
                term = term * tx[a].astype(pixels.dtype)
            if b:
                term = term * ty[b].astype(pixels.dtype)[:, None]
            out += term
        return out

    def sumAt(self, tx, ty, sums):
        """Kernel sum at every pixel of a tile."""
        total = np.zeros((ty.shape[1], tx.shape[1]))
        for (a, b), value in zip(self.powers, sums, strict=True):
            total += value * ty[b][:, None] * tx[a]
        return total


def _chebyshev(first, n, low, high, order):
    """T_0..T_order at n positions from `first`, scaled to [low, high]."""
    t = (np.arange(first, first + n) - 0.5 * (low + high)) * (2.0 / (high - low))
    return chebyshev.chebvander(t, order).T


def _workingType(pixels, offset, noise, dtype):
    """Single precision where its error, 1e-7 of the tile's largest value, stays far below the noise."""
    if dtype == np.float64 or not np.abs(pixels - offset).max(initial=0) * 3e-7 <= noise:
        return np.float64
    return np.float32


class _Job:
    """One convolution: everything that tiles share."""

    def __init__(self, out, planes, kernel, control, xy0):
        self.outImage, _, self.outVariance = out
        self.image, self.mask, self.variance = planes
        self.kernel, self.control, self.xy0 = kernel, control, xy0
        height, width = self.image.shape
        found = _core.kernelTerms(kernel, width, height, xy0)
        if found is None:
            raise DomainError("method 'fft': wanted a kernel whose variation is polynomial; use method 'direct'")
        order, terms, self.sums, support, self.box = found
        self.footprint = _core.FixedKernel(support.astype(float))
        size = max(kernel.width, kernel.height)
        self.tile = scipy.fft.next_fast_len(max(192, 5 * size), real=True)
        self.model = _Model(order, terms, self.tile)
        self.squared = None if self.variance is None else _Model(*_squareTerms(order, terms), self.tile)
        self.order = order
        if control.doNormalize and order == 0 and self.sums[0] == 0:
            raise NumericalError("doNormalize: the kernel's sum is exactly 0")

    def tiles(self):
        """(x, y, width, height) of the output tiles: local indices of good pixels."""
        (cx, cy), (height, width) = self.kernel.center, self.image.shape
        goodWidth, goodHeight = width - self.kernel.width + 1, height - self.kernel.height + 1
        stepX, stepY = self.tile - self.kernel.width + 1, self.tile - self.kernel.height + 1
        for y in range(0, goodHeight, stepY):
            for x in range(0, goodWidth, stepX):
                yield cx + x, cy + y, min(stepX, goodWidth - x), min(stepY, goodHeight - y)

    def run(self, tile):
        x, y, width, height = tile
        (cx, cy), kernel = self.kernel.center, self.kernel
        source = np.s_[y - cy : y - cy + height + kernel.height - 1, x - cx : x - cx + width + kernel.width - 1]
        target = np.s_[y : y + height, x : x + width]
        minX, minY, maxX, maxY = self.box
        tx = _chebyshev(x + self.xy0[0], width, minX, maxX, 2 * self.order)
        ty = _chebyshev(y + self.xy0[1], height, minY, maxY, 2 * self.order)
        norm = None
        if self.control.doNormalize:
            norm = self.model.sumAt(tx, ty, self.sums)
            if not norm.all():
                raise NumericalError("doNormalize: the kernel's sum is exactly 0 at some pixel")
        variance = None if self.variance is None else self.variance[source]
        result = self._imageTile(self.image[source], variance, tx, ty)
        touched = self._touched(self.image[source], variance)
        if touched is not None:
            result[touched & 1 != 0] = np.nan
        self.outImage[target] = result if norm is None else result / norm
        if variance is None:
            return
        result = self._varianceTile(variance, tx, ty)
        if touched is not None:
            result[touched & 4 != 0] = np.inf
            result[touched & 2 != 0] = np.nan
        self.outVariance[target] = result if norm is None else result / norm**2

    def _imageTile(self, pixels, variance, tx, ty):
        finite = np.isfinite(pixels)
        clean = finite.all()
        # Removing the tile's level and putting it back with the kernel sum keeps rounding relative to what varies.
        values = pixels if clean else pixels[finite]
        offset = float(np.median(values[:: max(1, len(values) // 64)])) if values.size else 0.0
        if variance is None:
            noise = float(np.median(np.abs(values - offset))) if values.size else 0.0
        else:
            good = np.isfinite(variance) & (variance > 0)
            noise = float(np.sqrt(np.median(variance[good]))) if good.any() else 0.0
        working = _workingType(values, offset, 0.01 * noise, pixels.dtype)
        work = (pixels - pixels.dtype.type(offset)).astype(working) if clean else np.zeros(pixels.shape, working)
        if not clean:
            work[finite] = values - offset
        if working is np.float64:  # the subtraction itself must not round
            work = np.where(finite, pixels.astype(np.float64) - offset, 0.0)
        return self.model.apply(work, tx, ty) + offset * self.model.sumAt(tx, ty, self.model.sums)

    def _varianceTile(self, variance, tx, ty):
        finite = np.isfinite(variance)
        work = variance if finite.all() else np.where(finite, variance, np.float32(0))
        positive = work[work > 0]
        level = float(np.median(positive)) if positive.size else 0.0
        working = _workingType(work, 0.0, 3e-6 * level, variance.dtype)
        return np.maximum(self.squared.apply(work.astype(working, copy=False), tx, ty), 0)

    def _touched(self, pixels, variance):
        """Bits of the output pixels whose kernel touches something non-finite: 1 image, 2 variance NaN, 4 inf."""
        bad = (~np.isfinite(pixels)).astype(np.int32)
        if variance is not None:
            bad |= np.isnan(variance) * np.int32(2) | np.isinf(variance) * np.int32(4)
        if not bad.any():
            return None
        out = np.empty_like(bad)
        (cx, cy), (height, width) = self.kernel.center, bad.shape
        _core.convolveMaskArray(out, bad, self.footprint)
        return out[cy : cy + height - self.kernel.height + 1, cx : cx + width - self.kernel.width + 1]


def convolveFft(outImage, outMask, outVariance, image, mask, variance, kernel, control, xy0):
    """Method "fft" of `convolveArrays`: same results to rounding, edges and masks included.

    Non-finite pixels are set aside before the transform; outputs that touch one become NaN (image), NaN or inf
    (variance). Variance is clamped at zero. Tiles whose brightest pixel would push single-precision rounding above
    1 % of the noise are transformed in double precision.
    """
    if image.shape[0] < kernel.height or image.shape[1] < kernel.width:
        # let the compiled check speak
        _core.kernelTerms(kernel, image.shape[1], image.shape[0], xy0)
    job = _Job((outImage, outMask, outVariance), (image, mask, variance), kernel, control, xy0)
    with ThreadPoolExecutor(_core.getNumThreads()) as pool:
        for _ in pool.map(job.run, job.tiles()):
            pass
    if mask is not None:
        _core.convolveMaskArray(outMask, mask, kernel, control, xy0)
    _fillEdges(outImage, image, kernel, control, np.nan)
    if variance is not None:
        _fillEdges(outVariance, variance, kernel, control, np.inf)


def _fillEdges(out, plane, kernel, control, filler):
    (cx, cy), (height, width) = kernel.center, plane.shape
    right, top = width - (kernel.width - 1 - cx), height - (kernel.height - 1 - cy)
    for edge in (np.s_[:cy], np.s_[top:], np.s_[:, :cx], np.s_[:, right:]):
        out[edge] = plane[edge] if control.doCopyEdge else filler
