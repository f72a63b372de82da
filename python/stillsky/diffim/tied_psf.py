"""The PSF of the image that is matched to, known better by way of the other image.

The matching kernel K turns the sharper image into the other: K (x) P_sharp is a second model of the PSF P of the image
that is not convolved. Where the sharper image is the deeper one it is the better model, since its stars have more light;
the mean of both, each weighted with the light of the stars that it was made from, is better than either.
"""

import numpy as np
import scipy.fft

from ..psf import ImageGridPsf, KernelPsf
from .psf_grid import gridNodes
from .zogy_nodes import KernelPair, psfStamp

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


def tiedPsf(psf, sharpPsf, kernel, scienceConvolved, weight, bbox):
    """Mean of a PSF model and of the model by way of the matching kernel.

    Parameters
    ----------
    psf : `stillsky.psf.Psf`
        Of the image that is not convolved.
    sharpPsf : `stillsky.psf.Psf`
        Of the image that the kernel convolves.
    kernel : `stillsky.kernel.Kernel`
    scienceConvolved : `bool`
        Which image that is.
    weight : `float`
        Of the second model, from 0 to 1; see `tiedWeight`.
    bbox : `stillsky.geom.Box2I`

    Returns
    -------
    psf : `stillsky.psf.Psf`
        The given one for a negligible weight; else centred stamps of unit sum on at most 16 x 16 nodes.

    Notes
    -----
    Two small transforms a node, about 1 ms.
    """
    if weight < _NEGLIGIBLE:
        return psf
    pair = KernelPair(sharpPsf, kernel, scienceConvolved)
    center = tuple(float(v) for v in bbox.center)
    height, width = psf.computeKernelImage(center).array.shape
    half = max(height, width) // 2
    side = max(*sharpPsf.computeKernelImage(center).array.shape, 2 * half + 1)
    shape = (scipy.fft.next_fast_len(side + 2 * pair.kernelHalfSize, real=True),) * 2
    xs, ys = gridNodes(bbox.minX, bbox.maxX), gridNodes(bbox.minY, bbox.maxY)
    stamps = np.empty((len(ys), len(xs), 2 * half + 1, 2 * half + 1))
    for j, y in enumerate(ys):
        for i, x in enumerate(xs):
            tied = psfStamp(pair.at(x, y, shape), not scienceConvolved, shape, half)
            own = psf.computeKernelImage((x, y)).array
            stamps[j, i] = weight * tied
            stamps[j, i][half - own.shape[0] // 2 :, half - own.shape[1] // 2 :][: own.shape[0], : own.shape[1]] += (
                1 - weight
            ) * own
    if np.abs(stamps - stamps[0, 0]).max() < 1e-9 * stamps[0, 0].max():
        return KernelPsf(stamps[0, 0], center)
    return ImageGridPsf(stamps, xs, ys, center)
