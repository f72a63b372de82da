"""The likelihood image of the Alard-Lupton way: the science image filtered with its own PSF, the template matched to that.

With P the science PSF and * correlation, Q = P * S - K_Q * T, where K_Q matches the template to P * S. Whitened by
`transfer.scoreTransfer` it is (svar + tvar) times the score of Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27) eq. 12, its
significance the same (DMTN-179, sections 7 and 8).
"""

import copy

import numpy as np
import scipy.signal

from ..errors import DomainError
from ..image import Exposure, Image, MaskedImage
from ..kernel import FixedKernel, subtractModel
from ..psf import KernelPsf
from .alard_lupton_difference import convolvePlanes, replaceBadPixels

__all__ = ["filterWithPsf", "makePrefilter", "scoreSignificance", "subtractFromFiltered"]


def makePrefilter(psf, reflected=False):
    """Kernel that makes a matched filter of `stillsky.kernel.convolve`, which correlates: the PSF as it is.

    Parameters
    ----------
    psf : `stillsky.psf.Psf`
        Taken at its average position.
    reflected : `bool`
        As the reference: the PSF reflected about its centre, a matched filter for symmetric PSFs alone.

    Returns
    -------
    kernel : `stillsky.kernel.FixedKernel`
        Of unit sum.

    Raises
    ------
    DomainError
        Even dimensions: the filter would move the image by half a pixel.
    """
    stamp = np.array(psf.computeKernelImage(psf.averagePosition).array, np.float64)
    if stamp.shape[0] % 2 == 0 or stamp.shape[1] % 2 == 0:
        raise DomainError(
            f"pre-filter: wanted a PSF of odd width and height, got {stamp.shape[1]}x{stamp.shape[0]}",
            remedy="psf.resized(width, height)",
        )
    stamp /= stamp.sum()
    return FixedKernel(np.ascontiguousarray(stamp[::-1, ::-1] if reflected else stamp))


def filterWithPsf(science, kernel, badPlanes=(), preservePlanes=()):
    """The science image filtered; bad pixels count as sky.

    Parameters
    ----------
    science : `stillsky.image.Exposure`
        Not modified. Its mask has the planes EDGE and NO_DATA.
    kernel : `stillsky.kernel.FixedKernel`
        See `makePrefilter`.
    badPlanes : sequence of `str`
        Pixels with one of these, and those without a value, are replaced by the median of the others.
    preservePlanes : sequence of `str`
        Mask planes that do not spread.

    Returns
    -------
    filtered : `stillsky.image.Exposure`
        Its PSF is what the filter makes of a point source. Beyond its border the image is taken to be sky; pixels that the
        filter reaches only in part have EDGE set.
    nReplaced : `int`
    """
    pixels, box = science.maskedImage, science.bbox
    image, level, nReplaced = replaceBadPixels(pixels, badPlanes)
    reach = (kernel.width // 2, kernel.height // 2)
    # raw pixels on the rim, as a copied edge would have them, would be spread over the image by the whitening
    padded = MaskedImage.zeros(box.dilated(reach), image.dtype, pixels.mask.schema)
    padded.image.array[...] = level
    finite = np.isfinite(pixels.variance.array)
    typical = float(np.median(pixels.variance.array[finite])) if finite.any() else 0.0
    variance = Image(np.where(finite, pixels.variance.array, np.float32(typical)), pixels.xy0)
    padded[box] = MaskedImage(image, pixels.mask, variance)
    out = convolvePlanes(padded, kernel, box, preservePlanes)
    x, y = reach
    edge = np.ones(image.array.shape, bool)
    edge[y : edge.shape[0] - y, x : edge.shape[1] - x] = False
    out.mask.array[edge] |= np.int32(1 << out.mask.bit("EDGE"))
    return Exposure(out, science.info, psf=_filteredPsf(science.psf, kernel), apCorrMap=None), nReplaced


def _filteredPsf(psf, kernel):
    """What the filter makes of the PSF."""
    position = psf.averagePosition
    stamp = psf.computeKernelImage(position).array
    return KernelPsf(scipy.signal.fftconvolve(stamp, np.asarray(kernel.imageAt(0.0, 0.0))[::-1, ::-1]), position)


def subtractFromFiltered(template, filtered, kernel, background=0.0, preservePlanes=()):
    """``Q = P x S - K_Q x T - b``.

    Parameters
    ----------
    template : `stillsky.image.Exposure`
        On the grid of the science image, possibly larger, with the same mask planes.
    filtered : `stillsky.image.Exposure`
        Of `filterWithPsf`.
    kernel : `stillsky.kernel.Kernel`
        Matches the template to the filtered image.
    background : `stillsky.kernel.Function2` or `float`
    preservePlanes : sequence of `str`

    Returns
    -------
    score, matchedTemplate : `stillsky.image.Exposure`
        Not whitened yet.
    """
    matched = convolvePlanes(template.maskedImage, kernel, filtered.bbox, preservePlanes)
    pixels = matched.emptyLike()
    subtractModel(matched, filtered.maskedImage, background, out=pixels)
    header = copy.deepcopy(filtered.metadata)
    header.set("DIFFSIGN", "SCI-TMPL", "science minus template")
    header.set("CONVOLVD", "both", "images that were filtered")
    return (
        Exposure(pixels, filtered.info, metadata=header),
        Exposure(matched, template.info, psf=filtered.psf, photoCalib=filtered.photoCalib, wcs=filtered.wcs),
    )


def scoreSignificance(score):
    """A score image over its standard deviation.

    Parameters
    ----------
    score : `stillsky.image.Exposure`

    Returns
    -------
    significance : `stillsky.image.Image`
        0 where the score or its variance is not finite, or the variance not positive.
    """
    image, variance = score.image.array, score.variance.array
    good = np.isfinite(image) & np.isfinite(variance) & (variance > 0)
    out = np.zeros(image.shape, image.dtype)
    np.divide(image, np.sqrt(variance, where=good, out=np.ones_like(variance)), out=out, where=good)
    return Image(out, score.maskedImage.xy0)
