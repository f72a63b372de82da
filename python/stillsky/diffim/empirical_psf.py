"""The PSF of an image that brings none, from the objects found in it."""

import numpy as np

from ..image import Image, MaskedImage
from ..psf import GaussianPsf
from .psf_model import estimatePsf
from .stars import SIGMA_TO_FWHM, workingVariance

__all__ = ["empiricalPsf"]


def empiricalPsf(exposure, objects, config):
    """PSF from the stars, or a Gaussian of their width when they are too faint for more.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
    objects : `stillsky.diffim.stars.Objects`
        Classified, with their ``flat`` image.
    config : `PsfModelConfig`

    Returns
    -------
    psf : `stillsky.psf.Psf`
    source : `str`
        Where it comes from, in words.
    """
    chosen = np.flatnonzero(objects.isStar)[: config.maxStars]
    x0, y0 = exposure.xy0
    if np.sqrt(np.sum(objects.signalToNoise[chosen] ** 2)) >= config.minSignalToNoise:
        variance = workingVariance(exposure.variance.array, objects.skySigma, exposure.image.array)
        model = estimatePsf(
            MaskedImage(Image(objects.flat, exposure.xy0), exposure.mask, Image(variance, exposure.xy0)),
            exposure.mask.bitmask(["NO_DATA", "BAD", "SAT", "CR"], ignoreMissing=True),
            objects.x[chosen] - x0,
            objects.y[chosen] - y0,
            objects.fwhm,
            config,
            (objects.x - x0, objects.y - y0),
        )
        return model.psf, f"{np.count_nonzero(model.used)} stars, order {model.order}"
    size = 2 * int(np.ceil(config.wingsFwhm * objects.fwhm)) + 1
    source = "Gaussian of the objects' median width: stars too faint for more"
    return GaussianPsf(size, size, objects.fwhm / SIGMA_TO_FWHM), source
