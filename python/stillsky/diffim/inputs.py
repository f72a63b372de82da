"""What is done to the two exposures before anything is measured: one grid, one unit, NaN under the mask, coverage."""

import copy
import os

import numpy as np

from ..errors import InvalidPsfError, MismatchError, NoDataError
from ..geom import AffineTransform
from ..image import Exposure, Image, Mask, MaskedImage, fromCCDData, makeExposure
from ..psf import WarpedPsf
from ..warp import Warper, alignedWithin, warpMaskedImage
from ..wcs import pairTransform

__all__ = [
    "alignTemplate",
    "asExposure",
    "checkCoverage",
    "describedLike",
    "differentShapes",
    "medianVariance",
    "moveTemplate",
    "noteSame",
    "remedyOfFewStars",
    "sameShape",
    "usable",
    "wholePixels",
    "withOwnSchema",
    "withoutNan",
]

_ALIGNED_WITHIN = 0.02  # pixels at the corners: resampling would only add noise


def asExposure(value, name):
    """An exposure of whatever holds an image.

    Parameters
    ----------
    value : `stillsky.image.Exposure`, `stillsky.image.MaskedImage`, path, `astropy.nddata.CCDData` or array_like
        A file is read as by `stillsky.read`. Arrays and data without an uncertainty get the variance of their sky.
    name : `str`
        Of the argument, for the message.

    Returns
    -------
    exposure : `stillsky.image.Exposure`
        An exposure is passed through.

    Raises
    ------
    TypeError
        Nothing that holds an image.
    """
    if isinstance(value, Exposure):
        return value
    if isinstance(value, MaskedImage):
        return Exposure(value)
    if isinstance(value, (str, os.PathLike)):
        from ..fits import readExposure

        return readExposure(value)[0]
    if hasattr(value, "uncertainty") and hasattr(value, "data"):
        exposure = fromCCDData(value)
        if value.uncertainty is not None:
            return exposure
        return makeExposure(
            exposure.image.array,
            mask=exposure.mask,
            wcs=exposure.wcs,
            xy0=exposure.xy0,
            metadata=exposure.metadata,
        )
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return makeExposure(value)
    given = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
    raise TypeError(
        f"{name}: wanted an Exposure (stillsky.read(FILE), stillsky.exposure(array)), a file name, a CCDData or an"
        f" array [y, x], got {given}"
    )


def alignTemplate(science, template, warpConfig, decide, register=False):
    """The template on the pixel grid of the science image, resampled only when it has to be.

    Parameters
    ----------
    science, template : `stillsky.image.Exposure`
    warpConfig : `stillsky.warp.config.WarperConfig`
    decide : callable
        Is told in a sentence what was done.
    register : `bool`
        The template will be registered by its objects: without a common WCS its shape may differ.

    Returns
    -------
    template : `stillsky.image.Exposure`
        With the box of the science image; pixels beyond the template are NO_DATA. As it is, when it has to be registered.

    Raises
    ------
    MismatchError
        Different units, no common pixel, or different shapes without a common WCS.
    """
    _checkUnits(science, template)
    if science.wcs is None or template.wcs is None:
        return _sameGrid(science, template, decide, register)
    same = science.bbox == template.bbox
    if same and alignedWithin(science.wcs, template.wcs, science.bbox, _ALIGNED_WITHIN):
        decide("template: already aligned with the science image")
        return template
    offset = wholePixels(science, template)
    if offset is not None:
        cut = _onGridOf(science, template, offset)
        if cut.bbox != science.bbox or np.any(~cut.mask.isSet("NO_DATA")):
            decide(
                "template: already aligned with the science image"
                + ("" if offset == (0, 0) else f", whole pixels apart ({offset[0]:+d}, {offset[1]:+d})")
            )
            return cut
        raise _noOverlap(science, template)
    template.mask.addPlane("NO_DATA")
    try:
        warped = Warper.fromConfig(warpConfig).warpExposure(
            science.wcs, template, destBBox=science.bbox, warpPsf=template.psf is not None
        )
    except InvalidPsfError as error:  # not one pixel of it lies in front of the projection
        raise _noOverlap(science, template) from error
    if not np.any(~warped.mask.isSet("NO_DATA")):
        raise _noOverlap(science, template)
    decide(f"template: resampled to the science grid ({warpConfig.warpingKernelName})")
    return warped


def wholePixels(science, template):
    """Template pixel minus science pixel at every place they share, when that is one pair of whole numbers; else None."""
    center = science.bbox.center
    x, y = pairTransform(science.wcs, template.wcs)(np.array([float(center.x)]), np.array([float(center.y)]))
    if not np.isfinite(x[0] + y[0]):
        return None
    offset = (int(round(x[0] - center.x)), int(round(y[0] - center.y)))
    moved = template.wcs.shifted((-offset[0], -offset[1]))
    return offset if alignedWithin(science.wcs, moved, science.bbox, _ALIGNED_WITHIN) else None


def _onGridOf(science, template, offset):
    """The template's own pixels in the box of the science image; those it lacks are NaN with NO_DATA."""
    box = science.bbox
    wanted = box.shifted(offset)
    shape = (box.height, box.width)
    if template.bbox.contains(wanted):
        part = template.maskedImage[wanted]
        part.xy0 = box.min
    else:
        template.mask.addPlane("NO_DATA")
        nothing = template.mask.bitmask(["NO_DATA"])
        part = MaskedImage(
            Image(np.full(shape, np.nan, template.image.array.dtype), box.min),
            Mask(np.full(shape, nothing, np.int32), box.min, template.mask.schema),
            Image(np.full(shape, np.inf, np.float32), box.min),
        )
        common = wanted.clipped(template.bbox)
        if not common.isEmpty:
            part[common.shifted((-offset[0], -offset[1]))] = template.maskedImage[common]
    out = Exposure(part, template.info, wcs=science.wcs, metadata=template.metadata.copy())
    if template.psf is not None and offset != (0, 0):
        out.psf = WarpedPsf(template.psf, AffineTransform(translation=(-offset[0], -offset[1])))
    return out


def noteSame(science, template, warn):
    """Warn when both images have the same pixels: a file given twice."""
    one, two = science.image.array, template.image.array
    if one.shape != two.shape or not np.array_equal(one[::64], two[::64], equal_nan=True):
        return
    if np.array_equal(one, two, equal_nan=True):
        warn("W-SAME", "science and template are the same image")


def remedyOfFewStars(config):
    """What helps when there are too few stars for the fit, as far as it was not tried already."""
    low = config.stars.minSignalToNoise <= 10
    steps = "" if low else "-c stars.minSignalToNoise=10, "
    return f"{steps}a larger -c stars.matchRadius, or give --stars FILE"


def _sameGrid(science, template, decide, register):
    neither = science.wcs is None and template.wcs is None
    which = "neither image has" if neither else "only one image has"
    if register or (neither and not sameShape(science, template)):
        decide(f"template: {which} a WCS; registered by its objects")
        return template
    if not sameShape(science, template):
        raise differentShapes(science, template)
    decide(f"template: {which} a WCS; equal shapes are taken as one pixel grid")
    if template.xy0 != science.xy0:
        template = Exposure(template.maskedImage[template.bbox], psf=template.psf, photoCalib=template.photoCalib)
        template.maskedImage.xy0 = science.xy0
    return template


def sameShape(science, template):
    """Whether two images have the same width and height."""
    return (science.width, science.height) == (template.width, template.height)


def differentShapes(science, template, why=None):
    """The error of images whose grids have nothing to do with each other; ``why`` registration failed, if it was tried."""
    which = "neither image has" if science.wcs is None and template.wcs is None else "only one image has"
    return MismatchError(
        f"images of different shape and {which} a WCS" + (f": {why}" if why else ""),
        found=f"science {science.width}x{science.height}, template {template.width}x{template.height}",
        remedy="give both a WCS, register them by their objects with --register, or cut both to one grid with --region",
    )


def moveTemplate(template, transform, warpConfig, bbox, wcs=None):
    """The template resampled to another grid.

    Parameters
    ----------
    template : `stillsky.image.Exposure`
    transform : `stillsky.geom.AffineTransform`
        From the pixels of ``wcs``, or of the template itself without one, to those of the result.
    warpConfig : `stillsky.warp.config.WarperConfig`
    bbox : `stillsky.geom.Box2I`
        Of the result.
    wcs : `stillsky.wcs.SkyWcs`, optional
        The template is first seen through this WCS and its own, in the same single interpolation.

    Returns
    -------
    moved : `stillsky.image.Exposure`
        With the warped PSF and with ``wcs``.
    """
    source = template.maskedImage
    source.mask.addPlane("NO_DATA")
    target = MaskedImage.zeros(bbox, source.image.array.dtype, source.mask.schema)
    back = transform.inverse()
    if wcs is None:
        mapping, forward = back, transform
    else:
        sky = pairTransform(wcs, template.wcs)
        mapping, forward = (lambda x, y: sky(*back(x, y))), None
    warpMaskedImage(target, source, mapping, Warper.fromConfig(warpConfig).control)
    psf = template.psf
    if psf is not None:
        psf = WarpedPsf(psf if forward else WarpedPsf(psf, pairTransform(template.wcs, wcs)), transform)
    return Exposure(target, psf=psf, wcs=wcs, photoCalib=template.photoCalib, filter=template.filter)


def checkCoverage(science, template, requiredFraction):
    """Fraction of the science image that the template covers; NoDataError when it is too small, or nothing usable."""
    fractions = {}
    for exposure, name in ((science, "science image"), (template, "template")):
        fractions[name] = usableFraction(exposure)
        if not fractions[name]:
            raise NoDataError(
                f"the {name} has no usable pixel",
                found="every pixel is NaN, masked as NO_DATA or BAD, or without variance",
                remedy="check the mask, the variance plane and the extension",
            )
    fraction = fractions["template"]
    if fraction < requiredFraction:
        raise NoDataError(
            "the template covers too little of the science image",
            found=f"{100 * fraction:.1f} % covered, {100 * requiredFraction:.1f} % required",
            remedy="another template, or a lower -c requiredTemplateFraction",
        )
    if not (_hasVariance(science) or _hasVariance(template)):
        raise NoDataError(
            "no pixel has a positive variance",
            found="the variance planes of both images are zero or not finite",
            remedy="give the noise: --sci-var, --sci-weight, or a gain and read noise",
        )
    return fraction


def _noOverlap(science, template):
    return MismatchError(
        "the template does not overlap the science image",
        found=f"science {science.width}x{science.height} px, template {template.width}x{template.height} px: "
        "no common pixel after resampling",
        remedy="check the WCS of both files",
    )


def _checkUnits(science, template):
    units = [exposure.metadata.get("BUNIT") if exposure.metadata else None for exposure in (science, template)]
    if all(units) and str(units[0]).strip().lower() != str(units[1]).strip().lower():
        raise MismatchError(
            "the images have different units",
            found=f"science {units[0]}, template {units[1]} (BUNIT)",
            remedy="calibrate both alike, or remove BUNIT where it is wrong",
        )


def usable(exposure, step=1):
    """Pixels with a finite value, a finite variance that is not negative, and neither NO_DATA nor BAD set."""
    bits = exposure.mask.bitmask(["NO_DATA", "BAD"], ignoreMissing=True)
    image, mask, variance = (plane.array[::step, ::step] for plane in exposure.maskedImage.planes)
    return ((mask & bits) == 0) & np.isfinite(image) & (variance >= 0) & np.isfinite(variance)


def usableFraction(exposure):
    """Fraction of usable pixels, from every fourth row and column of a large image unless that finds none."""
    for step in (4, 1) if exposure.image.array.size > 2**20 else (1,):
        good = usable(exposure, step)
        if good.any():
            return float(good.mean())
    return 0.0


def _hasVariance(exposure):
    variance = exposure.variance.array
    return bool(
        np.any((variance[::4, ::4] > 0) & np.isfinite(variance[::4, ::4]))
        or np.any((variance > 0) & np.isfinite(variance))
    )


def withOwnSchema(exposure):
    """The same pixels under a mask whose planes can be named anew without touching the caller's."""
    pixels = exposure.maskedImage
    mask = Mask(pixels.mask.array, pixels.xy0, pixels.mask.schema)
    return Exposure(MaskedImage(pixels.image, mask, pixels.variance), exposure.info)


def withoutNan(exposure):
    """The exposure with every non-finite pixel masked as NO_DATA; a shallow copy unless something changes."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.dot(exposure.image.array.ravel(), exposure.image.array.ravel())
    if np.isfinite(squares):
        return exposure  # one pass: any NaN or infinity would show in the sum of squares
    broken = ~np.isfinite(exposure.image.array)
    broken &= ~exposure.mask.isSet("NO_DATA")
    if not broken.any():
        return exposure
    mended = exposure.copy()
    mended.mask.array[broken] |= 1 << mended.mask.addPlane("NO_DATA")
    return mended


def medianVariance(exposure):
    """Median of the positive finite variances on a grid of some 250 000 pixels; 0 without any."""
    step = max(1, int(np.sqrt(exposure.image.array.size / 2.5e5)))
    variance = exposure.variance.array[::step, ::step]
    positive = variance[np.isfinite(variance) & (variance > 0)]
    return float(np.median(positive)) if positive.size else 0.0


def describedLike(exposure, maskedImage, psf=None):
    """An exposure of other pixels with the WCS, calibration, filter, visit, detector, header and id of this one."""
    return Exposure(
        maskedImage,
        wcs=exposure.wcs,
        psf=psf,
        photoCalib=exposure.photoCalib,
        filter=exposure.filter,
        visitInfo=exposure.visitInfo,
        detector=exposure.detector,
        metadata=copy.deepcopy(exposure.metadata),
        id=exposure.id,
    )
