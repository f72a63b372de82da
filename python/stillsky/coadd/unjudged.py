"""Artifacts on samples that the search among PSF-matched images cannot judge: matching PSFs costs a border around everything
without data, and in dithered images there is such a border all over the coadd."""

import logging

import numpy as np
from scipy.ndimage import binary_propagation, maximum_filter

from ..detection import SpanSet
from ..geom import Box2I
from ..image import READ_ERRORS, Image, MaskedImage
from .artifact_steps import withoutSky

__all__ = ["judgeDirectly"]

_log = logging.getLogger(__name__)

_ROWS = 256  # that are looked at together: memory
_SEED, _EXTENT = 5.0, 2.5  # sigma: an artifact has such a pixel, and reaches as far down as that
_PSF = 0.3  # of the light near by is what single images of one seeing may differ by
_NEAR = 5  # pixels


def judgeDirectly(warps, scalers, unjudged, coadd, badPlanes, fwhms):
    """Outliers of images against a coadd of the others.

    Parameters
    ----------
    warps : sequence (see `stillsky.coadd.warps`)
    scalers : sequence
        With ``scaleMaskedImage``, or None, for each warp.
    unjudged : sequence of `SpanSet`
        For each warp the pixels that are asked for, parent.
    coadd : `stillsky.image.Exposure`
        In which those samples have no part. Where it has no data nothing is said.
    badPlanes : iterable of `str`
        Mask planes of pixels that are no samples anyway.
    fwhms : sequence of `float`
        Seeing of each warp, in any unit; NaN: as that of the others.

    Returns
    -------
    artifacts : `list` of `SpanSet`
        For each warp, within its pixels asked for.

    Notes
    -----
    A sample is an outlier where it differs by more than 5 sigma and a part of the brightest pixel of the coadd above its sky
    within 2 pixels (as Gruen, Seitz & Bernstein 2014, PASP 126, 158, clip stacks of several seeings), and so is what
    adjoins it above 2.5 sigma. The part is 0.3, and what the peak of a star differs by from the mean of all for its seeing.
    Cost: one pass over the rows that have such pixels. Memory: four planes of the coadd and a few of 256 rows.
    """
    pixels = coadd.maskedImage
    with np.errstate(invalid="ignore"):
        light = maximum_filter(np.abs(np.nan_to_num(withoutSky(pixels).image.array)), _NEAR)
    peaks = np.asarray(fwhms, float) ** -2.0
    peaks = np.nan_to_num(peaks / np.nanmean(peaks), nan=1.0) if np.isfinite(peaks).any() else np.ones(len(peaks))
    found = []
    for warp, scaler, spans, peak in zip(warps, scalers, unjudged, peaks, strict=True):
        part = _PSF + abs(peak - 1.0)
        try:
            found.append(_outliers(warp, scaler, spans, pixels, part * light, list(badPlanes)) if spans else SpanSet())
        except READ_ERRORS as error:  # whoever stacks it says so
            _log.debug("%s cannot be read: %s", warp.name, error)
            found.append(SpanSet())
    return found


def _outliers(warp, scaler, spans, coadd, tolerance, badPlanes):
    box = spans.bbox.clipped(warp.bbox).clipped(coadd.bbox)
    bits = warp.schema.bitmask([p for p in badPlanes if p in warp.schema])
    found = []
    for y in range(box.minY, box.maxY + 1, _ROWS) if not box.isEmpty else ():
        part = Box2I((box.minX, y), (box.width, _ROWS)).clipped(box)
        asked = spans.clipped(part)
        if not asked:
            continue
        image, mask, variance = (
            np.array(plane, t) for plane, t in zip(warp.block(part), ("f4", "i4", "f4"), strict=True)
        )
        sample = MaskedImage(Image(image, part.min), None, Image(variance, part.min))
        if scaler is not None:
            scaler.scaleMaskedImage(sample)
        own = part.slices(coadd.bbox.min)
        with np.errstate(invalid="ignore"):
            off = np.abs(sample.image.array - coadd.image.array[own]) - tolerance[own]
            off /= np.sqrt(sample.variance.array + coadd.variance.array[own])
        use = asked.toBool(part) & ((mask & np.int32(bits)) == 0) & np.isfinite(off)
        outlying = binary_propagation(use & (off > _SEED), np.ones((3, 3), bool), use & (off > _EXTENT))
        found.append(SpanSet.fromBool(outlying, part.min))
    return SpanSet(np.concatenate([np.zeros((0, 3), np.int32), *(s.spans for s in found)]))
