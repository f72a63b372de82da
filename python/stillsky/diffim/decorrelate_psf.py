"""PSF of a decorrelated difference, in closed form, at every position."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

from ..errors import DomainError
from ..psf import DoubleGaussianPsf, GaussianPsf, ImageGridPsf, KernelPsf, SingleGaussianPsf
from ..threads import getNumThreads
from .decorrelate_tiles import reachOf
from .psf_grid import balanced, gridNodes
from .transfer import cornerOrigin, transformShape

__all__ = ["DecorrelatedPsf", "decorrelatedPsf"]

_SIGMAS = 6.0  # half width of the stamps in sigma of the PSF
LARGEST_LOSS = 0.01  # of the flux outside a stamp, before it is enlarged


@dataclass(frozen=True)
class DecorrelatedPsf:
    """What `decorrelatedPsf` returns.

    Attributes
    ----------
    psf : `stillsky.psf.Psf`
    nNodes, nFallbacks : `int`
        Positions at which it was computed, and those of them where the input PSF is undefined.
    lost : `float`
        Fraction of the flux outside the stamp at the centre.
    """

    psf: Any
    nNodes: int
    nFallbacks: int
    lost: float


def decorrelatedPsf(psf, whitener, bbox, levelsAt, *, varyingNoise=False):
    """phi P, with kernel, noise and input PSF of every position.

    Parameters
    ----------
    psf : `stillsky.psf.Psf`
        Of the difference before decorrelation.
    whitener : `stillsky.diffim.decorrelation.Whitener`
    bbox : `stillsky.geom.Box2I`
        Of the difference.
    levelsAt : callable
        ``levelsAt(x, y) -> (scienceVariance, templateVariance)``.
    varyingNoise : `bool`
        Whether these vary.

    Returns
    -------
    result : `DecorrelatedPsf`
        One stamp (`KernelPsf`) when nothing varies, else stamps on at most 16 x 16 nodes with linear interpolation
        between them (`ImageGridPsf`). Stamps reach to the box of the input PSF and at least to 6 sigma, and are enlarged
        until less than 1 % of the flux lies outside. Unit sum.

    Notes
    -----
    DMTN-021 eq. 2 and section 3. The filter is real and even: it sharpens the PSF and moves nothing. About 1 ms a node.
    """
    center = tuple(float(v) for v in bbox.center)
    constant = not (varyingNoise or whitener.isVarying) and _isConstant(psf)
    xs, ys = ([c] if constant else gridNodes(c0, c1) for c, c0, c1 in
              ((center[0], bbox.minX, bbox.maxX), (center[1], bbox.minY, bbox.maxY)))  # fmt: skip
    maker = _StampMaker(psf, whitener, levelsAt)
    half = maker.halfSize(center)
    with ThreadPoolExecutor(getNumThreads()) as pool:
        nodes = list(pool.map(lambda node: maker.stamp(*node, half), [(x, y) for y in ys for x in xs]))
    stamps = np.array(nodes).reshape(len(ys), len(xs), *nodes[0].shape)
    del nodes  # one stack of the stamps at a time: it is a third of a plane
    if constant:
        found = KernelPsf(stamps[0, 0], center)
    else:
        stamps = balanced(stamps, ys, 0)
        stamps = balanced(stamps, xs, 1)
        found = ImageGridPsf(stamps, xs, ys, center)
    return DecorrelatedPsf(found, len(xs) * len(ys), maker.nFallbacks, maker.lost)


def _isConstant(psf):
    if isinstance(psf, KernelPsf):
        return not psf.isSpatiallyVarying
    return isinstance(psf, (GaussianPsf, SingleGaussianPsf, DoubleGaussianPsf))


class _StampMaker:
    """Stamps of the PSF at positions, from one transform each of kernel and input PSF; safe from many threads once
    `halfSize` has been called."""

    def __init__(self, psf, whitener, levelsAt):
        self.psf, self.whitener, self.levelsAt = psf, whitener, levelsAt
        self.nFallbacks = 0
        self._lock = threading.Lock()
        self.lost = 0.0
        self._shape = None

    def _input(self, x, y):
        try:
            return self.psf.computeKernelImage((x, y)).array
        except DomainError:
            with self._lock:
                self.nFallbacks += 1
            return self.psf.computeKernelImage().array

    def _filtered(self, x, y):
        """Pixels about the corner, and the extent of the input stamp."""
        stamp = self._input(x, y)
        kernel, pre = self.whitener.images(x, y)
        if self._shape is None:
            probe = tuple(max(256, 2 * n) for n in kernel.shape)
            phi, _, _ = self.whitener.at(x, y, *self.levelsAt(x, y), probe)
            room = 2 * min(reachOf(phi, probe[1]), 48)
            sizes = (kernel.shape,) if pre is None else (kernel.shape, pre.shape)
            self._shape = transformShape(tuple(n + room for n in stamp.shape), *sizes)
        phi, _, _ = self.whitener.at(x, y, *self.levelsAt(x, y), self._shape)
        transform = scipy.fft.rfft2(cornerOrigin(np.ascontiguousarray(stamp), self._shape))
        transform *= phi
        return scipy.fft.irfft2(transform, s=self._shape), stamp.shape

    def halfSize(self, center):
        """Half width of the stamps."""
        pixels, shape = self._filtered(*center)
        try:
            sigma = self.psf.determinantRadius(center)
        except DomainError:
            sigma = 0.0
        half = max((max(shape) - 1) // 2, int(np.ceil(_SIGMAS * sigma)))
        largest = (min(pixels.shape) - 1) // 2
        half = min(half, largest)
        while half < largest and abs(_cut(pixels, half).sum() - 1) > LARGEST_LOSS:
            half = min(half + 4, largest)
        self.lost = float(abs(_cut(pixels, half).sum() - 1))
        return half

    def stamp(self, x, y, half):
        return _cut(self._filtered(x, y)[0], half)


def _cut(pixels, half):
    """Square of 2 half + 1 pixels around the corner origin."""
    index = np.arange(-half, half + 1)
    return pixels[np.ix_(index, index)]
