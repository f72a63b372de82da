"""Decorrelation: the noise of a difference image made white, over the whole image or tile by tile.

The matching kernel smooths the noise of one of the two images, so that the noise of neighbouring pixels of the
difference is correlated and its variance plane says too little about point sources. The filter phi of `transfer` undoes
that; the noise of the result is white, of variance u + c K0^2 (DMTN-021, Reiss & Lupton 2016). Image, variance plane and
PSF change, the mask does not.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.fft

from ..errors import DomainError, NoDataError, ShapeError
from ..image import Exposure, Image, Mask, MaskedImage
from ..stats import clippedStats
from ..threads import getNumThreads
from .decorrelate_tiles import axisOfTiles, reachOf
from .transfer import (
    checkedVariances,
    cornerOrigin,
    halfPlaneMean,
    kernelPower,
    noiseSpectrum,
    scoreWhitening,
    whitening,
)

__all__ = ["DecorrelateResult", "Whitener", "decorrelate", "noiseCorrelation"]

_log = logging.getLogger("stillsky.diffim")
_LARGEST_RATIO = 1e8  # of the variances of the convolved and the other image: the filter nearly diverges
_FLOAT32_LIMIT = 0.01 / 3e-7  # brightest pixel over sigma of what float32 transforms carry to 0.01 sigma
_LEAST_COVERAGE = 0.25  # of a tile, to estimate its noise


@dataclass(repr=False)
class DecorrelateResult:
    """What `decorrelate` returns.

    Attributes
    ----------
    maskedImage : `stillsky.image.MaskedImage`
        The decorrelated difference; its planes are its own.
    psf : `stillsky.psf.Psf` or None
        Its PSF; None when none was given.
    metadata : `dict`
        scienceVariance, templateVariance (of the whole images), kernelSum, noiseVariance (of a blank pixel of the
        result), scienceWeight and templateWeight of the two variance planes (mean over the tiles), nTiles, tileSize,
        overlap, noiseWhiteness (correlation of neighbouring blank pixels along x and y).
    warnings : `list` [(`str`, `str`)]
    """

    maskedImage: Any
    psf: Any
    metadata: dict
    warnings: list = field(default_factory=list)

    def __repr__(self):
        return f"<DecorrelateResult: {self.maskedImage!r}, noise variance {self.metadata['noiseVariance']:.5g}>"


def decorrelate(
    difference,
    science,
    template,
    kernel,
    *,
    config=None,
    templateMatched=True,
    kernelSum=None,
    preConvKernel=None,
    psf=None,
    position=None,
    scienceVariance=None,
    templateVariance=None,
    templateCorrelation=None,
    copyMask=True,
):
    """Make the noise of a difference white.

    Parameters
    ----------
    difference : `stillsky.image.MaskedImage`, `stillsky.image.Exposure` or `numpy.ndarray`
        Science minus template, one of them convolved. Not modified. float32 or float64.
    science, template : the same
        The two images on the grid of the difference, before filter and matching. Only variances and masks are read.
    kernel : `stillsky.kernel.Kernel` or `numpy.ndarray`
        The matching kernel, not normalised.
    config : `DecorrelateConfig`, optional
    templateMatched : `bool`
        The template was convolved; otherwise the science image, and the difference was divided by the kernel sum.
    kernelSum : `float`, optional
        That divisor; default: the kernel sum at the centre of the difference.
    preConvKernel : `stillsky.kernel.Kernel` or `numpy.ndarray`, optional
        Score mode: the unit-sum kernel that filtered the science image before the matching.
    psf : `stillsky.psf.Psf`, optional
        Of the difference before decorrelation: that of the image that was not convolved.
    position : (`float`, `float`), optional
        Where a filter for the whole image takes the kernel; default: the centre of the box.
    scienceVariance, templateVariance : `float`, optional
        Noise of the two images; given ones hold for the whole image. Default: sigma-clipped means of the variance
        planes, and with ``config.localVariance`` medians of each tile.

    templateCorrelation : `numpy.ndarray` or callable, optional
        Autocorrelation of the template's noise, [dy, dx] with 1 at its centre, or a function (x, y) that gives it;
        default: white noise. `ResamplingNoise` is that of a resampled image.
    copyMask : `bool`
        Give the result a mask of its own; False, for a difference that is not needed afterwards: it shares that one.

    Returns
    -------
    result : `DecorrelateResult`

    Raises
    ------
    ShapeError
        The three images differ in shape.
    DomainError
        Variances that leave no noise; a pre-filter together with a convolved science image, or not of unit sum.
    NoDataError
        No finite pixel in the difference, or no usable variance.

    Notes
    -----
    Every tile is read from the input and written to the output, never the reverse; windows that add up to one blend the
    tiles. Pixels without a value stay so and count as zero residual for their neighbours, as do masked outliers. The
    variance plane is that of the two images, W_S V_S + W_T V_T with W the sums of the squared filters. Where the
    difference is not finite it is infinite. Peak memory beyond the inputs: image, mask and variance of the result and
    two row bands. About 40 ns per pixel and thread; the result does not depend on the number of threads.
    """
    job = _Job(difference, science, template, config, templateMatched)
    job.prepare(kernel, kernelSum, preConvKernel, position, scienceVariance, templateVariance, templateCorrelation)
    return job.run(psf, copyMask)


def kernelImage(kernel, x, y):
    """Pixels of a kernel at a parent position; arrays and images are the same everywhere."""
    if hasattr(kernel, "imageAt"):
        return np.asarray(kernel.imageAt(x, y))
    return np.asarray(getattr(kernel, "array", kernel), np.float64)


class Whitener:
    """The filter of a difference or a score image at any position.

    Parameters
    ----------
    kernel : `stillsky.kernel.Kernel` or `numpy.ndarray`
    preConvKernel : the same, or None
        Score mode.
    templateMatched : `bool`
    position : (`float`, `float`), optional
        Take the kernel here and nowhere else.
    templateCorrelation : `numpy.ndarray` or callable, optional
        See `decorrelate`.
    """

    def __init__(self, kernel, preConvKernel=None, templateMatched=True, position=None, templateCorrelation=None):
        if preConvKernel is not None and not templateMatched:
            raise DomainError("decorrelation: a score image needs a convolved template, the science image was given")
        self.kernel, self.preConvKernel, self.templateMatched = kernel, preConvKernel, templateMatched
        self.position = position
        self.templateCorrelation = templateCorrelation
        self.isVarying = position is None and (
            callable(templateCorrelation)
            or any(getattr(k, "isSpatiallyVarying", False) for k in (kernel, preConvKernel))
        )
        self._cache = {}

    def images(self, x, y):
        """Pixels of the matching kernel and of the pre-filter (or None)."""
        x, y = self.position or (x, y)
        pre = None
        if self.preConvKernel is not None:
            pre = kernelImage(self.preConvKernel, x, y)
            if not abs(pre.sum() - 1) < 1e-6:
                raise DomainError(f"decorrelation: preConvKernel must have the sum 1, got {pre.sum():.7g}")
        return kernelImage(self.kernel, x, y), pre

    def _powers(self, x, y, shape, dtype):
        if self.isVarying:
            return self._computePowers(x, y, shape, dtype)
        key = (shape, np.dtype(dtype))
        if key not in self._cache:
            self._cache[key] = self._computePowers(x, y, shape, dtype)
        return self._cache[key]

    def _computePowers(self, x, y, shape, dtype):
        """|K|^2, |P|^2 of the pre-filter or None, noise spectrum of the template or None."""
        kernel, pre = self.images(x, y)
        return kernelPower(kernel, shape, dtype), self._prePower(pre, shape, dtype), self._spectrum(x, y, shape, dtype)

    def _prePower(self, pre, shape, dtype):
        if pre is None or getattr(self.preConvKernel, "isSpatiallyVarying", False):
            return None if pre is None else kernelPower(pre, shape, dtype)
        key = ("pre", shape, np.dtype(dtype))
        if key not in self._cache:
            self._cache[key] = kernelPower(pre, shape, dtype)
        return self._cache[key]

    def _spectrum(self, x, y, shape, dtype):
        correlation = self.templateCorrelation
        if correlation is None:
            return None
        if not callable(correlation):
            return noiseSpectrum(correlation, shape, dtype)
        found = correlation(*(self.position or (x, y)))
        key = (id(found), shape, np.dtype(dtype))  # neighbouring tiles share theirs
        if key not in self._cache:
            self._cache[key] = found, noiseSpectrum(found, shape, dtype)
        return self._cache[key][1]

    def at(self, x, y, science, template, shape, dtype=np.float64):
        """Filter and weights.

        Parameters
        ----------
        x, y : `float`
            Parent position.
        science, template : `float`
            Noise variances of the two images before filter and matching.
        shape : (`int`, `int`)
        dtype : `numpy.dtype`

        Returns
        -------
        phi : `numpy.ndarray`, (h, w // 2 + 1)
        scienceWeight, templateWeight : `float`
            Sums of the squared pixels of the two filters that act on the science image and on the template.
        """
        if self.preConvKernel is not None:  # a quotient of small numbers: in float64 whatever the image has
            power, pre, spectrum = self._powers(x, y, shape, np.float64)
            power = power if spectrum is None else power * spectrum
            phi = scoreWhitening(power, pre, *checkedVariances(science, template))
            square = phi * phi
            weights = halfPlaneMean(pre * square, shape[1]), halfPlaneMean(power * square, shape[1])
            return phi.astype(dtype, copy=False), *weights
        power, _, spectrum = self._powers(x, y, shape, dtype)
        if self.templateMatched:
            power = power if spectrum is None else power * spectrum
            square = whitening(power, *checkedVariances(science, template))
            weights = halfPlaneMean(square, shape[1]), halfPlaneMean(power * square, shape[1])
        else:
            square = whitening(power, *checkedVariances(template, science), plainSpectrum=spectrum)
            plain = square if spectrum is None else square * spectrum
            weights = halfPlaneMean(power * square, shape[1]), halfPlaneMean(plain, shape[1])
        return np.sqrt(square, out=square), *weights

    def squaredFilters(self, x, y, phi, shape):
        """Transforms of the squared real-space filters of the two images, for the complete variance plane."""
        kernel, pre = self.images(x, y)
        matching = np.conj(scipy.fft.rfft2(cornerOrigin(kernel, shape)))  # the kernel correlates
        plain = 1.0 if pre is None else np.conj(scipy.fft.rfft2(cornerOrigin(pre, shape)))
        filters = (plain, matching) if self.templateMatched else (matching, plain)
        squares = [scipy.fft.rfft2(scipy.fft.irfft2(phi * f, s=shape) ** 2) for f in filters]
        spectrum = self._spectrum(x, y, shape, np.float64)
        if spectrum is not None:  # correlated noise: the sum is right, its spread that of white noise
            coloured = halfPlaneMean(np.abs(phi * filters[1]) ** 2 * spectrum, shape[1])
            squares[1] *= coloured / squares[1][0, 0].real
        return squares


def _blank(pixels, variance):
    """Infinite variance where pixels are not finite."""
    finite = np.isfinite(pixels)
    if not finite.all():
        variance[~finite] = np.inf


class _Job:
    """One decorrelation: inputs, noise levels, tiles, outputs."""

    def __init__(self, difference, science, template, config, templateMatched):
        if config is None:
            from .decorrelate_config import DecorrelateConfig

            config = DecorrelateConfig()
        self.config = config
        self.templateMatched = templateMatched
        self.difference, self.science, self.template = (_masked(v) for v in (difference, science, template))
        shape = self.difference.image.array.shape
        for name, other in (("science", self.science), ("template", self.template)):
            if other.image.array.shape != shape:
                raise ShapeError(f"decorrelate: {name} has the shape {other.image.array.shape}, the difference {shape}")
        self.shape = shape
        self.bbox = self.difference.bbox
        self.warnings = []
        self.tiled = hasattr(config, "spatiallyVarying") and config.spatiallyVarying

    # ------------------------------------------------------------------ what the filter needs to know

    def prepare(
        self, kernel, kernelSum, preConvKernel, position, scienceVariance, templateVariance, templateCorrelation
    ):
        """Noise of the whole images, the filter, its reach, the tiles."""
        if not np.isfinite(self.difference.image.array).any():
            raise NoDataError(
                "decorrelation: the difference has no finite pixel", found="every pixel is NaN or infinite"
            )
        center = tuple(float(v) for v in self.bbox.center)
        given = scienceVariance is not None or templateVariance is not None
        self.local = self.tiled and self.config.localVariance and not given
        self.levels = tuple(
            self._level(pixels, name) if value is None else float(value)
            for pixels, value, name in (
                (self.science, scienceVariance, "science"),
                (self.template, templateVariance, "template"),
            )
        )
        checkedVariances(*self.levels)
        plain, convolved = self.levels if self.templateMatched else self.levels[::-1]
        if convolved > _LARGEST_RATIO * plain:
            self._warn(
                "W-NOISERATIO",
                f"decorrelation: the convolved image has {convolved:.3g} of variance, the other one {plain:.3g}: "
                "the filter nearly diverges",
            )
        fixed = None if self.tiled else tuple(position or center)
        self.whitener = Whitener(kernel, preConvKernel, self.templateMatched, fixed, templateCorrelation)
        sums = self.whitener.images(*center)[0].sum()
        self.kernelSum = float(sums if kernelSum is None else kernelSum)
        # the difference has been divided by the kernel sum: so must its variance be
        self.divisor = 1.0 if self.templateMatched else self.kernelSum**2
        if self.divisor == 0:
            raise DomainError("decorrelate: kernelSum must not be zero when the science image was convolved")
        self._layTiles(center)

    def _level(self, pixels, name):
        """Sigma-clipped mean of a variance plane."""
        bits = pixels.mask.bitmask(self.config.ignoreMaskPlanes, ignoreMissing=True)
        _, level, _, n = clippedStats(pixels.variance.array, pixels.mask.array, bits, subsample=_subsample(self.shape))
        if not n or not np.isfinite(level):
            good = pixels.variance.array[np.isfinite(pixels.variance.array)]
            if not good.size:
                raise NoDataError(f"decorrelation: the {name} image has no finite variance")
            level = np.median(good)
        return float(level)

    def _layTiles(self, center):
        config, shape = self.config, self.shape
        kernel, pre = self.whitener.images(*center)
        least = max(*kernel.shape, *(pre.shape if pre is not None else (0,)))
        tile = max(config.tileSize if self.tiled else 256, 2 * least)
        phi, _, _ = self.whitener.at(*center, *self.levels, (2 * tile, 2 * tile))
        reach = reachOf(phi, 2 * tile)
        if self.tiled:
            overlap = max(config.overlap, min(reach, tile))
            # a filter that reaches far (that of a score does) would spend most of each tile on its border
            usable = max(tile - 2 * overlap, 2 * config.blend, tile // 2, 2 * overlap)
            self.axes = [axisOfTiles(n, usable, overlap, config.blend, least) for n in shape]
        else:
            overlap = max(32, reach)
            self.axes = [axisOfTiles(n, n, overlap, 1, least) for n in shape]
        self.overlap = overlap

    def _tileLevels(self, box):
        """Noise of both images within [y0, y1) x [x0, x1): medians, or those of the whole image."""
        if not self.local:
            return self.levels
        y0, y1, x0, x1 = box
        cut = (slice(y0, y1, 8), slice(x0, x1, 8))
        found = []
        for pixels, bits, level in zip((self.science, self.template), self._ignored, self.levels):
            values = pixels.variance.array[cut]
            good = values[((pixels.mask.array[cut] & bits) == 0) & np.isfinite(values) & (values >= 0)]
            found.append(float(np.median(good)) if good.size > _LEAST_COVERAGE * values.size else level)
        return tuple(found) if sum(found) > 0 else self.levels

    def _warn(self, code, sentence):
        self.warnings.append((code, sentence))

    # ------------------------------------------------------------------ the filter

    def run(self, psf, copyMask):
        config, source = self.config, self.difference
        self._ignored = [
            p.mask.bitmask(config.ignoreMaskPlanes, ignoreMissing=True) for p in (self.science, self.template)
        ]
        self._holeBits = 0 if config.compat else source.mask.bitmask(config.holePlanes, ignoreMissing=True)
        self._fill, self._sky = self._fillValues()
        xy0 = source.xy0
        image = np.zeros(self.shape, source.image.array.dtype)
        variance = np.zeros(self.shape, np.float32)
        ny, nx = (len(axis.tiles) for axis in self.axes)
        self._weights = np.empty((2, ny, nx))
        workers = max(1, min(getNumThreads(), (ny + 1) // 2))
        with ThreadPoolExecutor(workers) as pool:
            for first in (0, 1):  # rows of one parity do not touch: any number of threads adds in the same order
                list(pool.map(lambda j: self._row(j, image, variance), range(first, ny, 2)))
            if not config.compat:
                list(pool.map(lambda y: _blank(source.image.array[y : y + 256], variance[y : y + 256]),
                              range(0, self.shape[0], 256)))  # fmt: skip
        mask = Mask(source.mask.array.copy(), xy0, source.mask.schema) if copyMask else source.mask
        result = MaskedImage(Image(image, xy0), mask, Image(variance, xy0))
        return DecorrelateResult(result, self._psf(psf), self._metadata(result), self.warnings)

    def _fillValues(self):
        """What stands in for pixels without a value, and the level about which the image is filtered."""
        pixels = self.difference
        if self.config.compat:
            finite = pixels.image.array[np.isfinite(pixels.image.array)]
            return float(np.mean(finite, dtype=np.float64)), 0.0
        step = _subsample(self.shape)
        bits = pixels.mask.bitmask(self.config.ignoreMaskPlanes, ignoreMissing=True)
        median, *_ = clippedStats(pixels.image.array, pixels.mask.array, bits, subsample=step)
        if not np.isfinite(median):
            median = np.median(pixels.image.array[np.isfinite(pixels.image.array)])
        return 0.0, float(median)

    def _row(self, j, image, variance):
        """One row of tiles."""
        with np.errstate(invalid="ignore", over="ignore"):
            for i in range(len(self.axes[1].tiles)):
                self._tile(j, i, image, variance)

    def _tile(self, j, i, image, variance):
        vertical, horizontal = self.axes[0].tiles[j], self.axes[1].tiles[i]
        shape = (self.axes[0].length, self.axes[1].length)
        x, y = self._center(vertical, horizontal)
        box = (vertical.first, vertical.last, horizontal.first, horizontal.last)
        levels = self._tileLevels(box)
        cut = (slice(vertical.start, vertical.stop), slice(horizontal.start, horizontal.stop))
        tile, holes, dtype = self._read(cut, levels)
        phi, *self._weights[:, j, i] = self.whitener.at(x, y, *levels, shape, dtype)
        transform = scipy.fft.rfft2(_padded(tile, shape, dtype))
        transform *= phi
        filtered = scipy.fft.irfft2(transform, s=shape, overwrite_x=True)[: tile.shape[0], : tile.shape[1]]
        filtered += dtype(self._sky)
        if holes is not None:
            filtered[holes] = self.difference.image.array[cut][holes]
        inner, window = self._inner(vertical, horizontal, image.dtype)
        written = filtered[inner]
        written *= window
        target = (slice(vertical.first, vertical.last), slice(horizontal.first, horizontal.last))
        image[target] += written
        if self.config.completeVarPlanePropagation:
            added = self._completeVariance(cut, (x, y), phi, levels, shape, inner, target)
        else:
            added = self._estimatedVariance(self._weights[:, j, i], target)
        added *= window
        variance[target] += added

    def _center(self, vertical, horizontal):
        return (
            self.bbox.minX + 0.5 * (horizontal.first + horizontal.last - 1),
            self.bbox.minY + 0.5 * (vertical.first + vertical.last - 1),
        )

    @staticmethod
    def _inner(vertical, horizontal, dtype):
        """Where the pixels that a tile writes lie in what it reads, and their window."""
        inner = tuple(slice(t.first - t.start, t.last - t.start) for t in (vertical, horizontal))
        down, across = (t.window.astype(dtype) for t in (vertical, horizontal))
        return inner, down[:, None] * across

    def _read(self, cut, levels):
        """Pixels of a tile about the sky with holes filled, the holes or None, the type to compute in."""
        pixels = self.difference.image.array[cut]
        finite = np.isfinite(pixels)
        complete = bool(finite.all())
        if self.config.compat:
            return (
                (pixels if complete else np.where(finite, pixels, self._fill)),
                (None if complete else ~finite),
                np.float64,
            )
        tile = pixels - pixels.dtype.type(self._sky)
        masked = (self.difference.mask.array[cut] & self._holeBits) != 0
        holes = None
        if not complete or masked.any():
            limit = self.config.holeSigma**2 * self.difference.variance.array[cut]
            holes = (masked & (tile * tile > limit)) | ~finite
            tile[holes] = 0
            holes = holes if holes.any() else None
        peak = max(float(tile.max()), -float(tile.min()))
        single = pixels.dtype == np.float32 and peak < _FLOAT32_LIMIT * np.sqrt(sum(levels))
        return tile, holes, np.float32 if single else np.float64

    # ------------------------------------------------------------------ variance

    def _estimatedVariance(self, weights, target):
        """W_S V_S + W_T V_T."""
        total = self.science.variance.array[target] * np.float32(weights[0] / self.divisor)
        total += self.template.variance.array[target] * np.float32(weights[1] / self.divisor)
        return total

    def _completeVariance(self, cut, center, phi, levels, shape, inner, target):
        """Both planes filtered with the squared filters."""
        total = 0.0
        filters = self.whitener.squaredFilters(*center, phi.astype(np.float64), shape)
        for pixels, squared, level in zip((self.science, self.template), filters, levels):
            plane = pixels.variance.array[cut].astype(np.float64)
            broken = ~np.isfinite(plane)
            plane[broken] = level
            # beyond the border the images go on with their typical noise; in compat mode they end
            offset = 0.0 if self.config.compat else level
            transform = scipy.fft.rfft2(_padded(plane - offset, shape, np.float64))
            transform *= squared
            filtered = scipy.fft.irfft2(transform, s=shape)[: plane.shape[0], : plane.shape[1]][inner]
            # the squared filters are positive: less than nothing is rounding
            total = total + np.maximum(filtered + offset * float(squared[0, 0].real), 0)
            total[broken[inner]] = np.nan
        for pixels in (self.science, self.template):
            total[np.isinf(pixels.variance.array[target])] = np.inf
        return (total / self.divisor).astype(np.float32)

    # ------------------------------------------------------------------ PSF and figures

    def _psf(self, psf):
        if psf is None or not self.config.updatePsf:
            return psf
        from .decorrelate_psf import LARGEST_LOSS, decorrelatedPsf

        levelsAt = self._levelsAround if self.local else (lambda x, y: self.levels)
        found = decorrelatedPsf(psf, self.whitener, self.bbox, levelsAt, varyingNoise=self.local)
        if found.nFallbacks:
            self._warn(
                "W-PSF",
                f"decorrelation: the PSF is not defined at {found.nFallbacks} of {found.nNodes} positions: "
                "that of its average position was taken",
            )
        if found.lost > LARGEST_LOSS:
            self._warn("W-PSF", f"decorrelation: {100 * found.lost:.1f} % of the PSF's flux lies outside its stamps")
        return found.psf

    def _levelsAround(self, x, y):
        i, j = int(round(x - self.bbox.minX)), int(round(y - self.bbox.minY))
        height, width = self.shape
        return self._tileLevels((max(j - 96, 0), min(j + 97, height), max(i - 96, 0), min(i + 97, width)))

    def _metadata(self, result):
        science, template = self.levels
        weights = [float(w.mean()) / self.divisor for w in self._weights]
        return {
            "scienceVariance": science,
            "templateVariance": template,
            "kernelSum": self.kernelSum,
            "noiseVariance": weights[0] * science + weights[1] * template,
            "scienceWeight": weights[0],
            "templateWeight": weights[1],
            "nTiles": int(self._weights[0].size),
            "tileSize": [int(axis.length) for axis in self.axes],
            "overlap": int(self.overlap),
            "noiseWhiteness": noiseCorrelation(result, self.config.ignoreMaskPlanes),
        }


def noiseCorrelation(pixels, planes, nSigma=3.0):
    """Correlation of neighbouring pixels of blank sky.

    Parameters
    ----------
    pixels : `stillsky.image.MaskedImage`
    planes : sequence of `str`
        Mask planes to ignore.
    nSigma : `float`
        Pixels that deviate by more, in units of the variance plane, are no sky.

    Returns
    -------
    correlation : `list` [`float`]
        Along x and along y; NaN without pixels. From at most about 10^6 pixels, evenly spread bands of rows.
    """
    bits = pixels.mask.bitmask(list(planes), ignoreMissing=True)
    height, width = pixels.image.array.shape
    step = max(1, int(np.ceil(height * width / 1e6)))
    sums = np.zeros((2, 4))
    for start in range(0, height, 32 * step):
        cut = slice(start, start + 32)
        with np.errstate(invalid="ignore", divide="ignore"):
            chi = pixels.image.array[cut] / np.sqrt(pixels.variance.array[cut])
            good = (np.abs(chi) < nSigma) & ((pixels.mask.array[cut] & bits) == 0)
        chi = np.where(good, chi, 0).astype(np.float64)
        pairs = ((slice(None), slice(1, None)), (slice(None), slice(None, -1))), ((slice(1, None),), (slice(None, -1),))
        for total, (a, b) in zip(sums, pairs):
            total += np.sum(chi[a] * chi[b]), np.sum(good[a] & good[b]), np.sum(chi * chi), np.sum(good)
    with np.errstate(invalid="ignore", divide="ignore"):
        return [float((product / n) / (square / m)) for product, n, square, m in sums]


def _masked(value):
    """A masked image of an exposure, masked image, image or array; a bare variance is zero."""
    if isinstance(value, Exposure):
        return value.maskedImage
    return value if isinstance(value, MaskedImage) else MaskedImage(value)


def _padded(tile, shape, dtype):
    padded = np.zeros(shape, dtype)
    padded[: tile.shape[0], : tile.shape[1]] = tile
    return padded


def _subsample(shape):
    """Step that leaves some 10^6 pixels for a statistic."""
    return max(1, int(np.sqrt(shape[0] * shape[1] / 1e6)))
