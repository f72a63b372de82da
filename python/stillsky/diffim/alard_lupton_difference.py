"""Convolve one of two images with the matching kernel, and subtract: science minus template in science units."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NoDataError
from ..image import Exposure, Image
from ..kernel import ConvolutionControl, convolve, subtractModel
from ..psfmatch.difference import bandsOnBox, kernelSumFunction

__all__ = [
    "MatchedDifference",
    "convolvePlanes",
    "divideBySum",
    "kernelSum",
    "replaceBadPixels",
    "subtractConvolvedScience",
    "subtractConvolvedTemplate",
]


@dataclass
class MatchedDifference:
    """A difference and what it was made of, all on the science grid and flux scale.

    Attributes
    ----------
    difference, matchedTemplate, matchedScience : `stillsky.image.Exposure`
    """

    difference: Any
    matchedTemplate: Any
    matchedScience: Any


def kernelSum(kernel):
    """Sum of a kernel: a number, or a function of (x, y) where it varies (that of an analytic kernel does not)."""
    if kernel.isSpatiallyVarying and hasattr(kernel, "kernelSumList"):
        return kernelSumFunction(kernel)
    return float(np.sum(kernel.imageAt(0.0, 0.0)))


def replaceBadPixels(pixels, planes):
    """Values of bad pixels replaced by the median of the others.

    Parameters
    ----------
    pixels : `stillsky.image.MaskedImage`
        Not modified. Pixels that are not finite are bad as well.
    planes : sequence of `str`
        A plane that the mask lacks is ignored.

    Returns
    -------
    image : `stillsky.image.Image`
        A copy; variance and mask stay as they are.
    level : `float`
        That median.
    nReplaced : `int`

    Raises
    ------
    NoDataError
        All pixels are bad.
    """
    image = pixels.image.array
    bad = pixels.mask.isSet(list(planes)) | ~np.isfinite(image)
    if bad.all():
        raise NoDataError("no pixel is left to take the median of", found=f"all are {', '.join(planes)} or not finite")
    level = float(np.median(image[~bad]))
    return Image(np.where(bad, image.dtype.type(level), image), pixels.xy0), level, int(np.count_nonzero(bad))


def convolvePlanes(pixels, kernel, box, preservePlanes=()):
    """Convolve a masked image, without normalising the kernel.

    Parameters
    ----------
    pixels : `stillsky.image.MaskedImage`
        Its mask has the planes EDGE and NO_DATA.
    kernel : `stillsky.kernel.Kernel`
    box : `stillsky.geom.Box2I`
        Within the image; only what it needs is convolved.
    preservePlanes : sequence of `str`
        Mask planes that stay where they are; all others spread over the kernel.

    Returns
    -------
    convolved : `stillsky.image.MaskedImage`
        Over the box. Where the kernel reaches beyond the image the pixel itself, times the kernel sum, with EDGE set.
    """
    reach = max(kernel.width, kernel.height) // 2 + 1
    source = pixels[box.dilated(reach).clipped(pixels.bbox)]
    out = source.emptyLike()
    convolve(out, source, kernel, ConvolutionControl(doNormalize=False, doCopyEdge=True))
    _scaleRim(out, kernel)
    bits = np.int32(source.mask.bitmask(list(preservePlanes), ignoreMissing=True))
    if bits:
        out.mask.array[...] = (out.mask.array & ~bits) | (source.mask.array & bits)
    return out if out.bbox == box else out[box].copy()


def _scaleRim(pixels, kernel):
    """Copied pixels on the flux scale of the others."""
    (cx, cy), (height, width) = kernel.center, pixels.image.array.shape
    bottom, left = cy, cx
    top, right = height - (kernel.height - 1 - cy), width - (kernel.width - 1 - cx)
    strips = ((slice(0, bottom), slice(None)), (slice(top, None), slice(None)),
              (slice(bottom, top), slice(0, left)), (slice(bottom, top), slice(right, None)))  # fmt: skip
    total = kernelSum(kernel)
    x, y = (np.arange(start, start + n, dtype=float) for start, n in zip(pixels.xy0, (width, height)))
    for rows, columns in strips:
        factor = total
        if callable(total):
            xx, yy = np.meshgrid(x[columns], y[rows])
            factor = np.reshape(total(xx.ravel(), yy.ravel()), xx.shape)
        pixels.image.array[rows, columns] *= factor
        pixels.variance.array[rows, columns] *= np.square(factor)


def divideBySum(pixels, total):
    """Divide a masked image by a kernel sum, in place; variances by its square."""
    for rows, values in bandsOnBox(total, pixels.bbox):
        pixels.image.array[rows] /= values
        pixels.variance.array[rows] /= np.square(values)
    return pixels


def subtractConvolvedTemplate(template, science, kernel, background=0.0, preservePlanes=()):
    """``D = S - K x T - b``.

    Parameters
    ----------
    template, science : `stillsky.image.Exposure`
        On one grid, with the same mask planes; the template may be larger.
    kernel : `stillsky.kernel.Kernel`
    background : `stillsky.kernel.Function2` or `float`
    preservePlanes : sequence of `str`
        See `convolvePlanes`.

    Returns
    -------
    result : `MatchedDifference`
        The matched template has PSF and photometric calibration of the science image.
    """
    matched = convolvePlanes(template.maskedImage, kernel, science.bbox, preservePlanes)
    pixels = matched.emptyLike()
    subtractModel(matched, science.maskedImage, background, out=pixels)
    return MatchedDifference(
        _differenceOf(pixels, science, science, "template"),
        Exposure(matched, template.info, psf=science.psf, photoCalib=science.photoCalib, wcs=science.wcs),
        science,
    )


def subtractConvolvedScience(template, science, kernel, background=0.0, preservePlanes=(), compat=False):
    """``D = (K x S + b - T) / K_sum``: the kernel sum, at every pixel, brings the difference to the science flux scale.

    Dividing ``K x S`` alone leaves the fraction 1 / K_sum - 1 of every constant source; ``compat`` does that.

    Parameters
    ----------
    template, science, kernel, background, preservePlanes
        As for `subtractConvolvedTemplate`; the background is that of the kernel's fit, in template units.
    compat : `bool`
        As the reference: only the convolved image is divided.

    Returns
    -------
    result : `MatchedDifference`
        Difference and matched template have the PSF of the template.
    """
    total = kernelSum(kernel)
    convolved = convolvePlanes(science.maskedImage, kernel, science.bbox, preservePlanes)
    other = template.maskedImage[science.bbox].copy()
    if compat:
        divideBySum(convolved, total)
    pixels = convolved.emptyLike()
    subtractModel(convolved, other, background, invert=False, out=pixels)
    if not compat:
        for part in (pixels, other, convolved):
            divideBySum(part, total)
    return MatchedDifference(
        _differenceOf(pixels, science, template, "science"),
        Exposure(other, template.info, photoCalib=science.photoCalib, wcs=science.wcs),
        Exposure(convolved, science.info, psf=template.psf, apCorrMap=None),
    )


def _differenceOf(pixels, science, reference, convolved):
    """The difference as an exposure: the science image's, with PSF and aperture corrections of the reference."""
    header = copy.deepcopy(science.metadata)
    header.set("DIFFSIGN", "SCI-TMPL", "science minus template")
    header.set("CONVOLVD", convolved, "image that was convolved")
    header.set("FLUXREF", "science", "image whose flux scale the pixels have")
    return Exposure(pixels, science.info, psf=reference.psf, apCorrMap=reference.info.apCorrMap, metadata=header)
