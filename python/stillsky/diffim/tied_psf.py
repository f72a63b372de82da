"""The PSF of the image that is matched to, known better by way of the other image.

The matching kernel K turns the sharper image into the other: K (x) P_sharp is a second model of the PSF P of the image
that is not convolved. Where the sharper image is the deeper one it is the better model, since its stars have more light;
the mean of both, each weighted with the light of the stars that it was made from, is better than either.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.fft

from ..psf import ImageGridPsf, KernelPsf
from ..psf.base import fitStamp
from ..threads import getNumThreads
from .psf_grid import gridNodes
from .zogy_layout import padCenterOriginArray
from .zogy_nodes import PsfImages, shiftPhase
from .zogy_transfer import psfTransform, realKernel

__all__ = ["starlight", "tiedPsf", "tiedWeight"]

_LIMIT = 0.01  # of a star's flux: what its stamp says about the PSF at best
_NEGLIGIBLE = 0.02  # weight of the second model below which the first is left as it is


def starlight(exposure, objects):
    """What a PSF was made from: the sum of 1 / (noise / signal)^2 of the stars; infinite if it was given.

    Every star counts for at most what 1 % of noise would: neighbours and the variation over the image limit the others.
    """
    if exposure.psf is not None:
        return np.inf
    return float(np.sum(1 / (objects.signalToNoise[objects.isStar] ** -2.0 + _LIMIT**2)))


def tiedWeight(own, other):
    """Weight of the model by way of the other image, from the starlight behind the two; a given PSF is trusted."""
    if np.isinf(own) or not own + other > 0:
        return 0.0
    return 1.0 if np.isinf(other) else other / (own + other)


def tiedPsf(psf, sharpPsf, kernel, weight, bbox):
    """Mean of a PSF model and of the model by way of the matching kernel.

    Parameters
    ----------
    psf : `stillsky.psf.Psf`
        Of the image that is not convolved.
    sharpPsf : `stillsky.psf.Psf`
        Of the image that the kernel convolves.
    kernel : `stillsky.kernel.Kernel`
    weight : `float`
        Of the second model, from 0 to 1; see `tiedWeight`.
    bbox : `stillsky.geom.Box2I`

    Returns
    -------
    psf : `stillsky.psf.Psf`
        The given one for a negligible weight; else centred stamps of unit sum on at most 16 x 16 nodes.

    Notes
    -----
    Three small transforms a node, below 1 ms.
    """
    if weight < _NEGLIGIBLE:
        return psf
    center = tuple(float(v) for v in bbox.center)
    images, sharp = PsfImages(psf), PsfImages(sharpPsf)
    half = max(images.at(center).shape) // 2
    side = max(2 * max(sharp.at(center).shape), 2 * half + 1)  # stamps of warped PSFs differ in size
    shape = (scipy.fft.next_fast_len(side + max(kernel.width, kernel.height), real=True),) * 2
    xs, ys = gridNodes(bbox.minX, bbox.maxX), gridNodes(bbox.minY, bbox.maxY)

    def stampAt(position):
        tied = _throughKernel(sharp.at(position), kernel, position, shape, half)
        own = fitStamp(images.at(position), 2 * half + 1, 2 * half + 1, normalise=True)
        return weight * tied + (1 - weight) * own

    with ThreadPoolExecutor(getNumThreads()) as pool:
        stamps = np.array(list(pool.map(stampAt, [(float(x), float(y)) for y in ys for x in xs])))
    stamps = stamps.reshape(len(ys), len(xs), *stamps.shape[1:])
    if np.abs(stamps - stamps[0, 0]).max() < 1e-9 * stamps[0, 0].max():
        return KernelPsf(stamps[0, 0], center)
    return ImageGridPsf(stamps, xs, ys, center)


def _throughKernel(sharp, kernel, position, shape, half):
    """Centred stamp of unit sum of a PSF after the kernel at a position."""
    taps = np.array(kernel.imageAt(*position))
    taps /= taps.sum()
    # the kernel correlates: its transform enters conjugated, and so does the phase that centres it
    v, u = (np.arange(n) - n // 2 for n in taps.shape)
    back = shiftPhase((taps.sum(0) @ u, taps.sum(1) @ v), shape)
    hat = psfTransform(sharp, shape)
    hat *= np.conj(scipy.fft.rfft2(padCenterOriginArray(taps, shape))) * back
    stamp = realKernel(hat, shape, half)
    return stamp / stamp.sum()
