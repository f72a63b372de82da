"""Filters of ZOGY that vary over an image: kernels at the centres of tiles, and how they change from tile to tile."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.fft

from .._core import getNumThreads
from ..errors import DomainError, NoDataError, NumericalError, StillskyError
from ..stats import clippedStats
from .transfer import noiseSpectrum
from .zogy_layout import padCenterOriginArray
from .zogy_transfer import denoisedTransform, parsevalMean, psfTransform, realKernel, transferOf

__all__ = ["KernelPair", "Node", "NodeGrid", "Optics", "PsfImages", "PsfPair", "centroidDistance", "makeNodes"]  # fmt: skip

_NEGLIGIBLE = 1e-6  # change of a kernel across half a tile, relative to its largest value


@dataclass
class Node:
    """Filters at one position, as kernels on small stamps; in units of the science image.

    Attributes
    ----------
    science, template : `numpy.ndarray`, (k, k)
        c_N / F_D and c_R / F_D, the second with the local flux ratio over the common one.
    scoreScience, scoreTemplate : `numpy.ndarray`, (k, k)
        k_N and k_R.
    psf : `numpy.ndarray`, (k, k)
        P_D.
    fluxScale, scoreFlux : `float`
        F_D and F_S.
    variances : (`float`, `float`)
        Of science and scaled template.
    templateGain, scoreGain : `float`
        Variance of the template's part of the difference and of the score over that of white noise of the same pixel
        variance: other than 1 where resampling has coloured the template's noise.
    """

    science: np.ndarray
    template: np.ndarray
    scoreScience: np.ndarray
    scoreTemplate: np.ndarray
    psf: np.ndarray
    fluxScale: float
    scoreFlux: float
    variances: tuple
    templateGain: float = 1.0
    scoreGain: float = 1.0


@dataclass
class NodeGrid:
    """Nodes at the centres of the tiles and, beyond the outermost, on the border of the image.

    Attributes
    ----------
    nodes : `list` [`list` [`Node`]]
        (ny + 2) rows of (nx + 2).
    xs, ys : `numpy.ndarray`
        Their positions, parent pixels.
    """

    nodes: list
    xs: np.ndarray
    ys: np.ndarray

    def at(self, j, i):
        """Node of the tile in row j and column i."""
        return self.nodes[j + 1][i + 1]

    def slopes(self, j, i, name):
        """Change of a kernel per pixel in x and in y at a tile's centre; None where it is negligible.

        Differences of three points, exact to the second order whatever their spacing.
        """
        row = [self.nodes[j + 1][i + k] for k in range(3)]
        column = [self.nodes[j + k][i + 1] for k in range(3)]
        return (
            _slope([getattr(node, name) for node in row], self.xs[i : i + 3]),
            _slope([getattr(node, name) for node in column], self.ys[j : j + 3]),
        )


def _slope(kernels, positions):
    before, after = positions[1] - positions[0], positions[2] - positions[1]
    if before <= 0 or after <= 0:
        return None
    slope = ((kernels[2] - kernels[1]) * (before / after) + (kernels[1] - kernels[0]) * (after / before)) / (
        before + after
    )
    if np.abs(slope).max() * max(before, after) < _NEGLIGIBLE * np.abs(kernels[1]).max():
        return None
    return slope


@dataclass
class Optics:
    """Transforms of both PSFs at a position, and how the images differ there.

    Attributes
    ----------
    science, template : `numpy.ndarray` of complex
        Of unit value at zero frequency.
    fluxRatio : `float`
        Science counts over template counts.
    scienceOffset, templateOffset : (`float`, `float`)
        How far these PSFs lie off their centres because of the registration, pixels (x, y).
    """

    science: np.ndarray
    template: np.ndarray
    fluxRatio: float
    scienceOffset: tuple = (0.0, 0.0)
    templateOffset: tuple = (0.0, 0.0)


class PsfImages:
    """Kernel images of a PSF anywhere; where it is undefined, those of its average position."""

    def __init__(self, psf):
        self.psf = psf
        self.fallbacks = 0

    def at(self, position):
        """Kernel image at a position, array (height, width)."""
        try:
            image = self.psf.computeKernelImage(position).array
            if np.isfinite(image).all() and image.sum() > 0:
                return image
        except StillskyError:
            pass
        self.fallbacks += 1
        return self.psf.computeKernelImage().array


class PsfPair:
    """Optics from PSF models of both images.

    Parameters
    ----------
    science, template : `stillsky.psf.Psf`
    fluxRatio : `float`
    shift : callable, optional
        ``shift(x, y) -> (dx, dy)``: where the template shows what the science image has at (x, y).
    maxCentroidDistance : `float`, optional
        DomainError when the centroids of the PSFs are farther apart, pixels.
    """

    def __init__(self, science, template, fluxRatio=1.0, shift=None, maxCentroidDistance=None):
        self._psfs = (PsfImages(science), PsfImages(template))
        self.fluxRatio, self._shift, self._limit = fluxRatio, shift, maxCentroidDistance
        self.psfs = (science, template)
        self.centroidOffset = 0.0

    @property
    def fallbacks(self):
        """Positions where a PSF was not defined and that of its average position served instead."""
        return sum(psf.fallbacks for psf in self._psfs)

    @property
    def kernelHalfSize(self):
        """Reach of the matching kernel: there is none."""
        return 0

    def at(self, x, y, shape):
        """`Optics` at a position, transforms of a real image of this shape."""
        stamps = [psf.at((x, y)) for psf in self._psfs]
        if self._limit is not None:
            distance = centroidDistance(*stamps)
            self.centroidOffset = max(self.centroidOffset, distance)
            if distance > self._limit:
                raise DomainError(f"PSFs: wanted centroids within {self._limit} px of each other, got a distance of "
                                  f"{distance:.3f} px")  # fmt: skip
        hats = [denoisedTransform(psfTransform(stamp, shape), shape) for stamp in stamps]
        shift = self._shift(x, y) if self._shift else None
        if shift is None:
            return Optics(*hats, self.fluxRatio)
        return Optics(hats[0], hats[1] * shiftPhase(shift, shape), self.fluxRatio, (0.0, 0.0), shift)


class KernelPair:
    """Optics from a PSF model of one image and a matching kernel of Alard & Lupton (1998) between the images.

    The kernel, fitted to all stars at once, ties the PSFs together more tightly than two models can be: stars vanish
    as they do in the fit, registration, flux ratio and their variation included. With these PSFs the proper difference
    is the decorrelated difference of Alard & Lupton (DMTN-021).

    Parameters
    ----------
    psf : `stillsky.psf.Psf`
        Of the image that the kernel convolves.
    kernel : `stillsky.kernel.Kernel`
    scienceConvolved : `bool`
        Whether the kernel turns the science image into the template, or the other way round.
    """

    centroidOffset = 0.0

    def __init__(self, psf, kernel, scienceConvolved):
        self._psf, self._kernel, self._scienceConvolved = PsfImages(psf), kernel, scienceConvolved
        self.psfs = (psf,)

    @property
    def fallbacks(self):
        """Positions where the PSF was not defined and that of its average position served instead."""
        return self._psf.fallbacks

    @property
    def kernelHalfSize(self):
        """Reach of the matching kernel, pixels."""
        return max(self._kernel.width, self._kernel.height) // 2

    def at(self, x, y, shape):
        """`Optics` at a position, transforms of a real image of this shape."""
        kernel = np.array(self._kernel.imageAt(x, y))
        total = kernel.sum()
        if not (np.isfinite(total) and total > 0):
            raise NumericalError(f"the matching kernel at ({x:g}, {y:g}) has the sum {total:g}: wanted a positive one")
        kernel /= total
        sharp = denoisedTransform(psfTransform(self._psf.at((x, y)), shape), shape)
        # the kernel correlates: its transform enters conjugated, and its centroid with the other sign
        broad = sharp * np.conj(scipy.fft.rfft2(padCenterOriginArray(kernel, shape)))
        offset = tuple(-c for c in _centroid(kernel))
        if self._scienceConvolved:
            return Optics(sharp, broad, 1 / total, (0.0, 0.0), offset)
        return Optics(broad, sharp, total, offset, (0.0, 0.0))


def makeNodes(science, template, optics, xEdges, yEdges, halfSize, *, fluxRatio, badBits,
              oneNoiseLevel=False, templateCorrelation=None):  # fmt: skip
    """Filters for every tile.

    Parameters
    ----------
    science, template : `stillsky.image.MaskedImage`
    optics : `PsfPair` or `KernelPair`
    xEdges, yEdges : `numpy.ndarray` of int
        Borders of the tiles, local indices.
    halfSize : `int`
        Of the kernels.
    fluxRatio : `float`
        By which the template is multiplied as it is read; the filters bring the rest of the local flux ratio.
    badBits : (`int`, `int`)
        Mask bits of pixels left out of the variances.
    oneNoiseLevel : `bool`
        Variances of the whole image for every tile.
    templateCorrelation : callable or `numpy.ndarray`, optional
        Autocorrelation of the template's noise, [dy, dx] with 1 at its centre, or a function (x, y) that gives it.

    Returns
    -------
    grid : `NodeGrid`

    Raises
    ------
    NoDataError
        An image has no pixel with a positive variance.
    """
    images = (science, template)
    x0, y0 = science.xy0
    xs = np.concatenate([[xEdges[0]], 0.5 * (xEdges[:-1] + xEdges[1:] - 1), [xEdges[-1] - 1]]) + x0
    ys = np.concatenate([[yEdges[0]], 0.5 * (yEdges[:-1] + yEdges[1:] - 1), [yEdges[-1] - 1]]) + y0
    overall = [_typicalVariance(*args) for args in zip(images, badBits, ("science", "template"))]
    cells = [
        [
            tuple(
                fallback if oneNoiseLevel else _localVariance(image, bits, np.s_[ya:yb, xa:xb], fallback)
                for image, bits, fallback in zip(images, badBits, overall)
            )
            for xa, xb in zip(xEdges[:-1], xEdges[1:])
        ]
        for ya, yb in zip(yEdges[:-1], yEdges[1:])
    ]
    side = max([4 * halfSize] + [2 * n for psf in optics.psfs for n in psf.computeKernelImage().array.shape])
    shape = (scipy.fft.next_fast_len(side, real=True),) * 2
    spectra = {}

    def spectrumAt(x, y):
        if templateCorrelation is None:
            return None
        found = templateCorrelation(x, y) if callable(templateCorrelation) else templateCorrelation
        if id(found) not in spectra:  # neighbouring nodes share theirs
            spectra[id(found)] = found, noiseSpectrum(found, shape)
        return spectra[id(found)][1]

    def makeNode(index):
        j, i = index
        variances = cells[min(max(j - 1, 0), len(cells) - 1)][min(max(i - 1, 0), len(cells[0]) - 1)]
        x, y = float(xs[i]), float(ys[j])
        return _node(optics.at(x, y, shape), variances, fluxRatio, shape, halfSize, spectrumAt(x, y))

    indices = [(j, i) for j in range(len(ys)) for i in range(len(xs))]
    with ThreadPoolExecutor(getNumThreads()) as pool:
        made = list(pool.map(makeNode, indices))
    return NodeGrid([made[j * len(xs) : (j + 1) * len(xs)] for j in range(len(ys))], xs, ys)


def centroidDistance(first, second):
    """Distance of the centroids of two PSF images about their central pixels, weighted by the pixels' values."""
    return float(np.hypot(*(a - b for a, b in zip(_centroid(first), _centroid(second)))))


def _centroid(image):
    weight = image if image.sum() != 0 else np.abs(image)
    y, x = (np.arange(n) - n // 2 for n in image.shape)
    return (weight.sum(0) @ x) / weight.sum(), (weight.sum(1) @ y) / weight.sum()


def _node(optics, variances, fluxRatio, shape, halfSize, spectrum=None):
    """The filters at one position; the difference is made in the frame and the units of the science image."""
    noise = (variances[0], variances[1] * optics.fluxRatio**2)
    t = transferOf(optics.science, optics.template, *noise, shape, templateSpectrum=spectrum)
    frame = _phase(optics.templateOffset, shape)  # the template's PSF carries the science image to its own place
    psf = t.psf * frame * _phase(optics.scienceOffset, shape)
    cN, cR = t.science * frame, t.template * frame
    score = t.fluxScale * np.conj(psf)
    local = optics.fluxRatio / fluxRatio
    transfers = (cN / t.fluxScale, cR * (local / t.fluxScale), score * cN, score * cR * local, psf)
    kernels = [realKernel(transfer, shape, halfSize) for transfer in transfers]
    for kernel, total in zip(kernels, (1.0, local)):
        kernel[halfSize, halfSize] += total - kernel.sum()  # what the crop lost: fluxes and sky stay exact
    gains = [] if spectrum is None else [_gain(transfer, spectrum, shape) for transfer in (transfers[1], transfers[3])]
    return Node(*kernels, t.fluxScale, t.scoreFlux, noise, *gains)


def _gain(transfer, spectrum, shape):
    """Variance of filtered noise of a spectrum (of mean 1) over that of filtered white noise."""
    power = transfer.real**2 + transfer.imag**2
    return parsevalMean(power * spectrum, shape) / parsevalMean(power, shape)


def _phase(offset, shape):
    """Factor that moves an image by -offset (x, y)."""
    if not any(offset):
        return 1.0
    ky, kx = scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None, :]
    return np.exp(2j * np.pi * (kx * offset[0] + ky * offset[1]))


def shiftPhase(shift, shape):
    """Factor that moves an image by the shift (x, y)."""
    return np.conj(_phase(shift, shape))


def _typicalVariance(image, badBits, name):
    """Clipped mean of the variance plane; of all positive values when every pixel is masked."""
    step = max(1, int(np.sqrt(image.image.array.size / 2.5e5)))
    variance, mask = (np.ascontiguousarray(p.array[::step, ::step]) for p in (image.variance, image.mask))
    variance = np.where((variance > 0) & np.isfinite(variance), variance, np.float32(np.nan))
    for bits in (badBits, 0):
        _, mean, _, n = clippedStats(variance, mask, bits)
        if n and np.isfinite(mean) and mean > 0:
            return float(mean)
    raise NoDataError(
        f"the {name} image has no pixel with a positive variance",
        found="every variance is zero, negative or not finite",
        remedy="check the variance plane",
    )


def _localVariance(image, badBits, cut, fallback):
    """Clipped mean of the variance plane over a tile, or the fallback where that is not positive."""
    step = max(1, int(np.sqrt(image.variance.array[cut].size / 1.0e4)))
    thin = (slice(cut[0].start, cut[0].stop, step), slice(cut[1].start, cut[1].stop, step))
    variance, mask = (np.ascontiguousarray(p.array[thin]) for p in (image.variance, image.mask))
    if np.count_nonzero((mask & badBits) == 0) * 4 < mask.size:
        return fallback
    _, mean, _, n = clippedStats(np.where(variance > 0, variance, np.float32(np.nan)), mask, badBits)
    return float(mean) if n and np.isfinite(mean) and mean > 0 else fallback
