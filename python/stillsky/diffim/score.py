"""The likelihood image of a difference: where sources are searched with the PSF itself, without another smoothing.

Filtering the science image with its PSF before the matching and whitening afterwards (`preconvolve`, DMTN-179 sections 7
and 8) gives, for a white difference D' with the PSF P', the correlation of both: the sufficient statistic for a point
source of Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27) eq. 12. Taken this way it needs no second kernel, which would have to
carry the PSF of the science image on top of the quotient of the two.
"""

import numpy as np
import scipy.signal

from ..errors import NoDataError
from ..image import Exposure, Image, Mask, MaskedImage
from .preconvolve import scoreSignificance

__all__ = ["likelihoodImage"]

_MISSING = ("NO_DATA", "BAD", "SAT")


def likelihoodImage(difference, missingPlanes=_MISSING):
    """Score of a white difference, and the score over its noise.

    Parameters
    ----------
    difference : `stillsky.image.Exposure`
        Decorrelated, with its PSF, taken at the average position. Not modified.
    missingPlanes : sequence of `str`
        Pixels of these mask planes, and those without a value or noise, are missing: score and noise are those of the rest.

    Returns
    -------
    score : `stillsky.image.Exposure`
        sum(g P' D') with its variance sum(g P'^2 V), g = 1 on usable pixels; P' of unit sum. NaN, variance infinite, at
        missing pixels. Mask, WCS and further components are those of the difference.
    significance : `stillsky.image.Image`
        Score over its standard deviation; 0 where there is none.

    Raises
    ------
    NoDataError
        No usable pixel.

    Notes
    -----
    Two convolutions by overlap-add in float32.
    """
    pixels = difference.maskedImage
    psf = difference.psf
    stamp = np.array(psf.computeKernelImage(psf.averagePosition).array, np.float64)
    stamp = (stamp / stamp.sum()).astype(np.float32)
    image, variance = pixels.image.array, pixels.variance.array
    good = np.isfinite(image) & np.isfinite(variance) & (variance > 0) & ~pixels.mask.isSet(list(missingPlanes))
    if not good.any():
        raise NoDataError("the difference has no usable pixel to search for sources")
    zero = np.float32(0)
    flux = scipy.signal.oaconvolve(np.where(good, image, zero), stamp[::-1, ::-1], mode="same").astype(np.float32)
    noise = scipy.signal.oaconvolve(np.where(good, variance, zero), stamp[::-1, ::-1] ** 2, mode="same")
    flux[~good] = np.nan
    noise = np.where(good & (noise > 0), noise, np.inf).astype(np.float32)
    mask = Mask(pixels.mask.array.copy(), pixels.xy0, pixels.mask.schema)
    score = Exposure(MaskedImage(Image(flux, pixels.xy0), mask, Image(noise, pixels.xy0)), difference.info, psf=psf)
    return score, scoreSignificance(score)
