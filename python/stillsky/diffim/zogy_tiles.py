"""ZOGY by overlapping tiles: real single-precision transforms that stay in cache, filters that vary within a tile.

The filters of a tile are those at its centre plus a linear change across it, so that neighbouring tiles meet without
seams and bright stars far from a centre are subtracted with the PSFs of their own places. Tiles read the inputs and
write disjoint parts of the outputs; the score is made of the finished difference in a second pass.
"""

import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

from .._core import getNumThreads
from .zogy_arrays import astrometricVariance

__all__ = ["TiledZogy", "tileEdges"]

_TILE = 384  # pixels a side of a transform: four of them stay in a core's cache
_SMALLEST_INNER = 96


def tileEdges(size, halfSize, tile=_TILE):
    """Borders of equal tiles along an axis, so that a tile and its margins make a transform of about ``tile``."""
    inner = max(tile - 2 * halfSize, _SMALLEST_INNER)
    n = max(1, int(np.ceil(size / inner)))
    return np.rint(np.linspace(0, size, n + 1)).astype(int)


@dataclass
class _Side:
    """One image as the tiles read it: local planes, what counts as a hole, and the factor to science units."""

    image: np.ndarray
    mask: np.ndarray
    variance: np.ndarray
    holeBits: int
    saturatedBits: int
    scale: float


@dataclass
class TiledZogy:
    """One subtraction by tiles.

    Parameters
    ----------
    science, template : `stillsky.image.MaskedImage`
        Of one box.
    holeBits : (`int`, `int`)
        Mask bits of pixels whose values must not enter the transforms.
    nodes : `stillsky.diffim.zogy_nodes.NodeGrid`
    xEdges, yEdges : `numpy.ndarray` of int
    halfSize : `int`
        Margin of the tiles: no kernel reaches farther.
    fluxRatio : `float`
        The template is multiplied by it.
    background : `stillsky.diffim.polynomial_field.Background` or None
        Subtracted from the science image.
    astrometricSigma : (`float`, `float`)
        x and y, pixels; (0, 0): no astrometric variance.
    """

    science: Any
    template: Any
    holeBits: tuple
    nodes: Any
    xEdges: np.ndarray
    yEdges: np.ndarray
    halfSize: int
    fluxRatio: float = 1.0
    background: Any = None
    astrometricSigma: tuple = (0.0, 0.0)

    def __post_init__(self):
        self._sides = [
            _Side(*(p.array for p in image.planes), bits, image.mask.bitmask(["SAT"], ignoreMissing=True), scale)
            for image, bits, scale in zip((self.science, self.template), self.holeBits, (1.0, self.fluxRatio))
        ]
        self._shape = self._sides[0].image.shape

    def run(self, score=True):
        """Difference and, if asked for, score.

        Returns
        -------
        planes : `dict` [`str`, `numpy.ndarray`]
            difference and variance (science units), score, scoreVariance, astrometric (only with a registration
            error); all float32. Pixels in holes hold what their fillings gave.
        """
        names = ["difference", "variance"] + ["score", "scoreVariance"] * score
        planes = {name: np.empty(self._shape, np.float32) for name in names}
        if score and any(self.astrometricSigma):  # a factor between 0 and 1: 11 bits are enough
            planes["astrometricFactor"] = np.empty(self._shape, np.float16)
        tiles = [self._tile(j, i) for j in range(len(self.yEdges) - 1) for i in range(len(self.xEdges) - 1)]
        with ThreadPoolExecutor(getNumThreads()) as pool:
            for _ in pool.map(lambda tile: self._differenceTile(tile, planes), tiles):
                pass
            if score:
                for _ in pool.map(lambda tile: self._scoreTile(tile, planes), tiles):
                    pass
        return planes

    def _tile(self, j, i):
        bounds = ((self.yEdges[j], self.yEdges[j + 1]), (self.xEdges[i], self.xEdges[i + 1]))
        x0, y0 = self.science.xy0
        return _Tile(
            tuple(slice(int(a), int(b)) for a, b in bounds),
            tuple(scipy.fft.next_fast_len(int(b - a) + 2 * self.halfSize, real=True) for a, b in bounds),
            self.halfSize,
            self.nodes.at(j, i),
            tuple(zip(*(self.nodes.slopes(j, i, name) for name in ("science", "template")))),
            (self.nodes.xs[i + 1] - x0, self.nodes.ys[j + 1] - y0),
        )

    # ------------------------------------------------------------------ reading

    def _cut(self, begin, shape):
        """Slices of the image and of the tile that hold the same pixels."""
        source, target = [], []
        for b, n, size in zip(begin, shape, self._shape):
            low, high = max(b, 0), min(b + n, size)
            source.append(slice(low, high))
            target.append(slice(low - b, high - b))
        return tuple(source), tuple(target)

    def _load(self, begin, shape, variances):
        """Pixels and variances of both images over a tile, level, without holes, filled beyond the frame."""
        source, target = self._cut(begin, shape)
        whole = all(t.start == 0 and t.stop == n for t, n in zip(target, shape))
        pixels, noises, holes, saturated = [], [], [], np.zeros(shape, bool)
        saturated[target] = True
        for side, variance in zip(self._sides, variances):
            noise = np.empty(shape, np.float32) if whole else np.full(shape, variance, np.float32)
            values = np.empty(shape, np.float32) if whole else np.zeros(shape, np.float32)
            np.multiply(side.variance[source], np.float32(side.scale**2), out=noise[target])
            np.multiply(side.image[source], np.float32(side.scale), out=values[target])
            hole = np.isfinite(values)
            hole &= noise > 0
            hole &= noise < np.inf
            np.logical_not(hole, out=hole)
            if side.holeBits:
                hole[target] |= (side.mask[source] & side.holeBits) != 0
                saturated[target] &= (side.mask[source] & side.saturatedBits) != 0
            else:
                saturated[:] = False
            pixels.append(values)
            noises.append(noise)
            holes.append(hole)
        if self.background is not None:
            rows, columns = (np.arange(s.start, s.stop) for s in source)
            pixels[0][target] -= self.background.over(rows, columns).astype(np.float32)
        outside = None
        if not whole:
            outside = np.ones(shape, bool)
            outside[target] = False
        self._level(pixels, holes, target)
        self._fill(pixels, noises, holes, saturated, outside, variances)
        return pixels, noises

    @staticmethod
    def _level(pixels, holes, target):
        """Subtract one constant from both images: it cancels in the difference, and holes are filled around it."""
        levels = []
        for values, hole in zip(pixels, holes):
            cut = (slice(target[0].start, target[0].stop, 3), slice(target[1].start, target[1].stop, 3))
            thin = values[cut][~hole[cut]]
            levels.append(float(np.median(thin)) if thin.size else 0.0)
        level = np.float32(0.5 * (levels[0] + levels[1]))
        for values in pixels:
            values -= level

    @staticmethod
    def _fill(pixels, noises, holes, saturated, outside, variances):
        """Fill holes with what the other image has there, or with noise; fill the outside with noise.

        The noise depends on the pixels alone: the same whatever the number of threads, and the same for an image
        whichever of the two it is.
        """
        broken = [hole.any() for hole in holes]
        if not any(broken) and outside is None:
            return
        both = holes[0] & holes[1] if all(broken) else None
        if both is not None:
            # saturated cores keep about their height, the same in both images so that they cancel
            finite = both & saturated & np.isfinite(pixels[0]) & np.isfinite(pixels[1])
            common = 0.5 * (pixels[0][finite] + pixels[1][finite])
        for k in (0, 1):
            if broken[k]:
                alone = holes[k] if both is None else holes[k] & ~both
                pixels[k][alone] = pixels[1 - k][alone]
                noises[k][holes[k]] = variances[k]
        if both is not None:
            for values in pixels:
                values[finite] = common
            both &= ~finite
        needNoise = outside if both is None or not both.any() else both if outside is None else both | outside
        if needNoise is None:
            return
        for values, variance in zip(pixels, variances):
            values[needNoise] = 0
            generator = np.random.Generator(np.random.PCG64(zlib.crc32(values.tobytes())))
            noise = generator.standard_normal(np.count_nonzero(needNoise), dtype=np.float32)
            values[needNoise] = noise * np.float32(np.sqrt(variance))

    # ------------------------------------------------------------------ filtering

    def _differenceTile(self, tile, planes):
        node, inner = tile.node, tile.inner
        pixels, noises = self._load(tile.begin, tile.shape, node.variances)
        kind = _workingType(pixels, node.variances)
        hats = [scipy.fft.rfft2(values.astype(kind, copy=False)) for values in pixels]
        difference = tile.through(hats, (node.science, node.template), kind)
        for axis, slopes in enumerate(tile.slopes):
            if slopes[0] is not None or slopes[1] is not None:
                kernels = [np.zeros_like(node.science) if slope is None else slope for slope in slopes]
                difference += tile.through(hats, kernels, kind) * tile.offset(axis).astype(kind)
        planes["difference"][inner] = difference
        added = self._astrometricVariance(tile, hats, kind) if "astrometricFactor" in planes else None
        hats = [scipy.fft.rfft2(noise) for noise in noises]
        floors = [float(noise.min()) for noise in noises]
        planes["variance"][inner] = tile.variance(hats, (node.science, node.template), floors, node.templateGain)
        if "scoreVariance" in planes:
            kernels = (node.scoreScience, node.scoreTemplate)
            variance = planes["scoreVariance"][inner] = tile.variance(hats, kernels, floors, node.scoreGain)
            if added is not None:
                planes["astrometricFactor"][inner] = np.sqrt(variance / (variance + added))

    def _astrometricVariance(self, tile, hats, kind):
        kernels = (tile.node.scoreScience, tile.node.scoreTemplate)
        parts = [tile.filtered(hat, kernel, kind, margin=1) for hat, kernel in zip(hats, kernels)]
        return astrometricVariance(*parts, *self.astrometricSigma)[1:-1, 1:-1]

    def _scoreTile(self, tile, planes):
        """S = F_D^2 conj(P_D) (D / F_D), beyond the frame noise."""
        node = tile.node
        source, target = self._cut(tile.begin, tile.shape)
        values = np.zeros(tile.shape, np.float32)
        values[target] = planes["difference"][source]
        if values[target].size < values.size:
            outside = np.ones(tile.shape, bool)
            outside[target] = False
            generator = np.random.Generator(np.random.PCG64(zlib.crc32(np.abs(values).tobytes())))
            noise = generator.standard_normal(values.size - values[target].size, dtype=np.float32)
            # the sign follows the difference, so that exchanged images give the opposite score
            sign = np.copysign(1, values[target].flat[np.argmax(np.abs(values[target]))])
            values[outside] = noise * np.float32(sign / node.fluxScale)
        kind = _workingType([values], (node.fluxScale**-2,))
        hat = np.conj(scipy.fft.rfft2(values.astype(kind, copy=False)))
        # conj(P) D is the conjugate of P conj(D), whose inverse transform is reflected: conjugate twice instead
        spectrum = _spectrum(node.psf * node.fluxScale**2, tile.shape, kind)
        planes["score"][tile.inner] = tile.crop(scipy.fft.irfft2(np.conj(hat * spectrum), s=tile.shape))


@dataclass
class _Tile:
    """One tile: where it lies, and its filters.

    ``slopes`` are two pairs, for x and y, of the changes of the two kernels per pixel (None: negligible); ``centre`` is
    the node's (x, y) in local indices.
    """

    inner: tuple
    shape: tuple
    halfSize: int
    node: Any
    slopes: tuple
    centre: tuple

    @property
    def begin(self):
        """Local index (row, column) of the first pixel of the tile with its margins; may be negative."""
        return tuple(cut.start - self.halfSize for cut in self.inner)

    def offset(self, axis):
        """Distance of the inner pixels from the node, along x (0) or y (1), ready to multiply."""
        cut = self.inner[1 - axis]
        offset = np.arange(cut.start, cut.stop) - self.centre[axis]
        return offset[None, :] if axis == 0 else offset[:, None]

    def crop(self, array, margin=0):
        """The inner part, with a few pixels around it if asked for."""
        h = self.halfSize
        return array[tuple(slice(h - margin, h + cut.stop - cut.start + margin) for cut in self.inner)]

    def filtered(self, hat, kernel, kind, margin=0):
        return self.crop(scipy.fft.irfft2(hat * _spectrum(kernel, self.shape, kind), s=self.shape), margin)

    def through(self, hats, kernels, kind):
        """First image through the first kernel minus second through second."""
        total = hats[0] * _spectrum(kernels[0], self.shape, kind)
        total -= hats[1] * _spectrum(kernels[1], self.shape, kind)
        return self.crop(scipy.fft.irfft2(total, s=self.shape, overwrite_x=True))

    def variance(self, hats, kernels, floors, templateGain):
        """Both variances through the squared kernels; the template's noise may be coloured."""
        squares = [kernels[0] ** 2, templateGain * kernels[1] ** 2]
        total = hats[0] * _spectrum(squares[0], self.shape, np.float32)
        total += hats[1] * _spectrum(squares[1], self.shape, np.float32)
        out = self.crop(scipy.fft.irfft2(total, s=self.shape, overwrite_x=True))
        # rounding beside a star must not make a variance vanish
        least = sum(floor * float(square.sum()) for floor, square in zip(floors, squares))
        return np.maximum(out, np.float32(0.5 * least))


def _spectrum(kernel, shape, kind):
    """Transform of a centred kernel in the working precision: along x only the rows that the kernel has."""
    (height, width), (h, w) = kernel.shape, (n // 2 for n in kernel.shape)
    lines = np.zeros((height, shape[1]), kind)
    lines[:, : width - w] = kernel[:, w:]
    lines[:, shape[1] - w :] = kernel[:, :w]
    lines = scipy.fft.rfft(lines, axis=1, overwrite_x=True)
    plane = np.zeros((shape[0], lines.shape[1]), lines.dtype)
    plane[: height - h] = lines[h:]
    plane[shape[0] - h :] = lines[:h]
    return scipy.fft.fft(plane, axis=0, overwrite_x=True)


def _workingType(pixels, variances):
    """Single precision where its error, 3e-7 of the largest value, stays below 1 % of the noise."""
    for values, variance in zip(pixels, variances):
        if max(-float(values.min()), float(values.max())) * 3e-7 > 0.01 * np.sqrt(variance):
            return np.float64
    return np.float32
