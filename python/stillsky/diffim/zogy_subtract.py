"""Method "zogy" of `subtract`: the proper difference of two exposures whose stars are known.

Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27). By default the two PSFs are tied together by the matching kernel that is
fitted to all stars as for the method "al": two PSF models differ from it by their noise, which bright stars show.
"""

import numpy as np
from numpy.polynomial import chebyshev

from ..image import Exposure, Image, Mask, MaskedImage
from ..psfmatch.difference import bandsOnBox
from .sky_level import skyResidual, takeOff
from .zogy_exposures import zogyExposures
from .zogy_nodes import KernelPair, PsfPair
from .zogy_registration import registrationScatter
from .zogy_scale import fitFluxRatio
from .zogy_tiles import Background

__all__ = ["chebyshevBackground", "properDifference"]


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


def chebyshevBackground(function, bbox, unit=1.0):
    """A spatial function of polynomial kind as a `Background` over a box, multiplied by a unit.

    Parameters
    ----------
    function : `stillsky.kernel.Function2`
        In parent coordinates.
    bbox : `stillsky.geom.Box2I`
    unit : `float`

    Returns
    -------
    background : `Background`
        The same polynomial, exactly: sampled at more points than it has terms, and fitted.
    """
    n = function.order + 1
    nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    v, u = (nodes * 0.5 * size for size in (bbox.height, bbox.width))
    ys, xs = np.meshgrid(v + bbox.minY + 0.5 * (bbox.height - 1), u + bbox.minX + 0.5 * (bbox.width - 1), indexing="ij")
    values = np.asarray(function.basisValues(xs.ravel(), ys.ravel())) @ np.asarray(function.parameters)
    design = chebyshev.chebvander(nodes, n - 1)
    inverse = np.linalg.inv(design)
    coefficients = inverse @ values.reshape(n, n) @ inverse.T
    return Background(unit * coefficients, (bbox.height, bbox.width))


def _centre(result, config, function):
    """Take off what is left of the sky: all pixels know its level better than the stamps alone."""
    level = 0.0
    residual = None
    if config.subtractBackground and config.psfmatch.fitForBackground:
        residual = skyResidual(result.difference.maskedImage, function)
    if residual is not None:
        takeOff(result.difference.image.array, residual, result.difference.bbox)
        level = float(residual(*result.difference.bbox.center))
        if result.score is not None:  # at low frequencies the score is F_D^2 times the difference
            scale = result.metadata["zogyFluxScale"] ** 2
            _centreScore(result, residual, scale)
    result.metadata["zogyGamma"] = level


def _centreScore(result, residual, scale):
    """The same for the score and its significance; where the registration adds to the noise, by a little too much."""
    score = result.score
    data = ~score.mask.isSet("NO_DATA")
    for rows, values in bandsOnBox(residual, score.bbox):
        left = np.where(data[rows], scale * np.asarray(values), 0.0).astype(np.float32)
        score.image.array[rows] -= left
        if result.scoreCorr is not None:
            variance = score.variance.array[rows]
            noise = np.sqrt(np.where(np.isfinite(variance) & (variance > 0), variance, np.inf))
            result.scoreCorr.array[rows] -= left / noise


def subtractedTemplate(science, template, difference, psf, fluxRatio):
    """What the proper difference took off the science image, as an exposure; noise as of the scaled template."""
    noise = template.variance.array * np.float32(fluxRatio**2)
    noise[~np.isfinite(difference.image.array)] = np.inf
    pixels = MaskedImage(
        Image(science.image.array - difference.image.array, science.xy0),
        Mask(difference.mask.array.copy(), science.xy0, difference.mask.schema),
        Image(noise, science.xy0),
    )
    return Exposure(pixels, wcs=science.wcs, photoCalib=science.photoCalib, filter=template.filter, psf=psf)
