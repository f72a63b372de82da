"""Method "zogy" of `subtract`: the proper difference of two exposures whose stars are known.

Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27). By default the two PSFs are tied together by the matching kernel that is
fitted to all stars as for the method "al": two PSF models differ from it by their noise, which bright stars show.
"""

import numpy as np

from ..image import Exposure, Image, MaskedImage
from .polynomial_field import chebyshevBackground
from .sky_level import raisedTo, skyResidual, takeOff
from .zogy_exposures import zogyExposures
from .zogy_nodes import KernelPair, PsfPair
from .zogy_registration import registrationScatter
from .zogy_scale import fitFluxRatio

__all__ = ["properDifference", "subtractedTemplate"]


def properDifference(science, template, psfs, fit, scienceConvolved, objects, config, templateCorrelation=None):
    """Proper difference and score in science units.

    Parameters
    ----------
    science, template : `stillsky.image.Exposure`
        Of one box.
    psfs : pair of `stillsky.psf.Psf`
        Of science and template.
    fit : result of `stillsky.psfmatch.algorithm.fitMatchingKernel`
    scienceConvolved : `bool`
        Which image the kernel convolves.
    objects : `stillsky.diffim.stars.Objects`
        Of the science image.
    config : `stillsky.diffim.config.SubtractConfig`
    templateCorrelation : `numpy.ndarray` or callable, optional
        Of the noise of a resampled template; see `zogyExposures`.

    Returns
    -------
    result : `stillsky.diffim.ZogyResult`
        With ``zogyGamma``, the scatter of the registration that the corrected score allows for, and what
        ``config.zogy.psfRatio`` brings in the metadata; the sky of the difference has the median 0.
    """
    settings = config.zogy
    sigma, extra = settings.astrometricSigma, {"psfRatio": settings.psfRatio}
    ratio = 1 / fit.kernelSum if scienceConvolved else fit.kernelSum
    background = None
    if config.subtractBackground:
        unit = -1 / fit.kernelSum if scienceConvolved else 1.0
        background = chebyshevBackground(fit.background, science.bbox, unit)
    if settings.psfRatio == "kernel":
        optics = KernelPair(psfs[0] if scienceConvolved else psfs[1], fit.kernel, scienceConvolved)
        if not sigma:
            left = _leftByKernel(science, template, psfs, fit, scienceConvolved, settings)
            sigma = left.sigma
            extra.update(registrationLimit=left.limit, registrationStars=left.nStars)
    else:
        stars = objects.isStar
        bits = [e.mask.bitmask(list(settings.holeMaskPlanes), ignoreMissing=True) for e in (science, template)]
        found = fitFluxRatio(science.maskedImage, template.maskedImage, *psfs, objects.x[stars], objects.y[stars], bits)
        ratio = found.beta
        optics = PsfPair(*psfs, ratio, lambda x, y: found.offset)
        sigma = sigma or max(found.scatter)
        extra.update(zogyBetaError=found.betaError, zogyOffset=list(found.offset), zogyFluxStars=found.nStars)
    result = zogyExposures(
        science,
        template,
        optics=optics,
        fluxRatio=ratio,
        background=background,
        astrometricSigma=sigma,
        holePlanes=tuple(settings.holeMaskPlanes),
        innerSize=settings.gridInnerSize,
        templateCorrelation=templateCorrelation,
        shareMask=True,
    )
    result.metadata.update(extra)
    _centre(result, config, fit.background)
    return result


def _leftByKernel(science, template, psfs, fit, scienceConvolved, settings):
    """Registration that the matching kernel leaves, from the stars that it was fitted to."""
    pair = (template, science) if scienceConvolved else (science, template)
    bits = [e.mask.bitmask(list(settings.holeMaskPlanes), ignoreMissing=True) for e in pair]
    stars = sorted((c for c in fit.candidates if c["usedInFit"]), key=lambda c: -c["rating"])
    x, y = ([c[axis] for c in stars] for axis in "xy")
    images = [e.maskedImage for e in pair]
    return registrationScatter(*images, fit.kernel, fit.background, psfs[1 if scienceConvolved else 0], x, y, bits)


def _centre(result, config, function):
    """Take off what is left of the sky: all pixels know its level better than the stamps alone."""
    level = 0.0
    residual = None
    if config.subtractBackground and config.psfmatch.fitForBackground:
        function = raisedTo(function, config.psfmatch.spatialBgOrder)  # few stars may have lowered it
        residual = skyResidual(result.difference.maskedImage, function)
    if residual is not None:
        takeOff(result.difference.image.array, residual, result.difference.bbox)
        level = float(residual(*result.difference.bbox.center))
        if result.score is not None:  # at low frequencies the score is F_D^2 times the difference
            scale = result.metadata["zogyFluxScale"] ** 2
            _centreScore(result.score, residual, scale)
    result.metadata["zogyGamma"] = level


def _centreScore(score, residual, scale):
    """The same for the score; pixels without data stay 0."""
    noData = np.int32(score.mask.bitmask(["NO_DATA"], ignoreMissing=True))
    for rows, values in chebyshevBackground(residual, score.bbox, scale).bands():
        values[(score.mask.array[rows] & noData) != 0] = 0
        score.image.array[rows] -= values.astype(np.float32)


def subtractedTemplate(science, template, difference, psf, fluxRatio):
    """What the proper difference took off the science image, as an exposure; noise as of the scaled template.

    The mask is the difference's own object, which saves a plane of memory: what is detected there is marked here.
    """
    noise = template.variance.array * np.float32(fluxRatio**2)
    noise[~np.isfinite(difference.image.array)] = np.inf
    pixels = MaskedImage(
        Image(science.image.array - difference.image.array, science.xy0),
        difference.mask,
        Image(noise, science.xy0),
    )
    return Exposure(pixels, wcs=science.wcs, photoCalib=science.photoCalib, filter=template.filter, psf=psf)
