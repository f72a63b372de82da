"""Figures that tell how well a subtraction went."""

import numpy as np

from ..detection import Footprint, FootprintSet, SpanSet, makePeaks

__all__ = ["computeDifferenceImageMetrics", "discFootprints", "footprintChi2", "maskMetrics"]


def discFootprints(x, y, radius, region):
    """Discs around positions (PARENT) as a `FootprintSet`; those off the region are left out."""
    footprints = []
    for px, py in zip(np.asarray(x, float), np.asarray(y, float), strict=True):
        if not (np.isfinite(px) and np.isfinite(py)):
            continue
        at = (int(np.floor(px + 0.5)), int(np.floor(py + 0.5)))
        spans = SpanSet.fromShape(int(radius), offset=at).clipped(region)
        if spans.area:
            footprints.append(Footprint(spans, makePeaks([(px, py, 0.0)]), region))
    return FootprintSet(footprints, region)


def computeDifferenceImageMetrics(science, difference, stars, skySources=None):
    """How much of the stars' light is left in a difference image.

    Parameters
    ----------
    science, difference : Exposure or MaskedImage
        On one grid.
    stars, skySources : `FootprintSet`
        Footprints of stars, and of empty positions.

    Returns
    -------
    metrics : dict
        ``differenceFootprintRatioMean``, ``...Stdev`` (population) over the stars, ``differenceFootprintSkyRatioMean``,
        ``...Stdev`` over the sky sources: abs((mean abs(difference) - sky) / mean abs(science)) of each footprint;
        sky is the mean of mean abs(difference) over the sky sources, else the median of abs(difference). NaN where
        there is nothing. Good subtractions are below 0.02.
    """
    science, difference = (getattr(e, "maskedImage", e) for e in (science, difference))
    skyLevels = _levels(difference, skySources)
    if len(skyLevels):
        sky = np.mean(skyLevels)
    else:
        step = max(1, int(np.sqrt(difference.image.array.size / 1e6)))
        pixels = np.abs(difference.image.array[::step, ::step])
        sky = float(np.nanmedian(pixels)) if np.isfinite(pixels).any() else np.nan
    metrics = {}
    for name, footprints in (("", stars), ("Sky", skySources)):
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.abs((_levels(difference, footprints) - sky) / _levels(science, footprints))
        ratio = ratio[np.isfinite(ratio)]
        metrics[f"differenceFootprint{name}RatioMean"] = float(np.mean(ratio)) if len(ratio) else np.nan
        metrics[f"differenceFootprint{name}RatioStdev"] = float(np.std(ratio)) if len(ratio) else np.nan
    return metrics


def _levels(masked, footprints):
    """Mean absolute value of the finite pixels of each footprint."""
    if footprints is None:
        return np.zeros(0)
    xy0 = tuple(int(v) for v in masked.xy0)
    out = []
    for footprint in footprints:
        values = np.abs(footprint.spans.clipped(masked.bbox).flatten(masked.image.array, xy0).astype(float))
        values = values[np.isfinite(values)]
        out.append(values.mean() if len(values) else np.nan)
    return np.array(out)


def footprintChi2(difference, footprints):
    """Mean squared pixel over its variance in each footprint.

    Parameters
    ----------
    difference : Exposure or MaskedImage
        Pixels that are not finite, or without a positive variance, do not count.
    footprints : `FootprintSet`

    Returns
    -------
    chi2 : `numpy.ndarray`
        One number for each footprint with a pixel that counts; 1 where noise alone is left.
    """
    masked = getattr(difference, "maskedImage", difference)
    xy0 = tuple(int(v) for v in masked.xy0)
    out = []
    for footprint in footprints:
        spans = footprint.spans.clipped(masked.bbox)
        image, variance = (spans.flatten(p.array, xy0).astype(float) for p in (masked.image, masked.variance))
        good = np.isfinite(image) & np.isfinite(variance) & (variance > 0)
        if good.any():
            out.append(float(np.mean(image[good] ** 2 / variance[good])))
    return np.array(out)


def maskMetrics(mask, badPlanes):
    """Counts of pixels by mask, and the fraction of each plane.

    Parameters
    ----------
    mask : `stillsky.image.Mask`
    badPlanes : sequence of str
        What counts as bad.

    Returns
    -------
    metrics : dict
        nGoodPixels, nBadPixels, nPixelsDetectedPositive, nPixelsDetectedNegative, nBadPixelsDetectedPositive,
        nBadPixelsDetectedNegative and ``<plane>_mask_fraction`` (lower case) for each plane.
    """
    # one histogram of the bit patterns that occur: a few passes, whatever the number of planes
    patterns, counts = _patterns(mask.array)
    bad = (patterns & mask.bitmask(list(badPlanes), ignoreMissing=True)) != 0
    out = {"nGoodPixels": int(counts[~bad].sum()), "nBadPixels": int(counts[bad].sum())}
    for plane, name in (("DETECTED", "Positive"), ("DETECTED_NEGATIVE", "Negative")):
        on = (patterns & mask.bitmask([plane], ignoreMissing=True)) != 0
        out[f"nPixelsDetected{name}"] = int(counts[on].sum())
        out[f"nBadPixelsDetected{name}"] = int(counts[on & bad].sum())
    total = counts.sum()
    for plane in mask.schema:
        on = (patterns & mask.bitmask([plane])) != 0
        out[f"{plane.lower()}_mask_fraction"] = float(counts[on].sum() / total) if total else -1.0
    return out


def _patterns(array):
    """Distinct values of a mask and how often each occurs; by rows, so that no copy of the image is made."""
    found = {}
    for start in range(0, array.shape[0], 256):
        rows = array[start : start + 256]
        zeros = rows.size - np.count_nonzero(rows)
        values, counts = np.unique(rows[rows != 0], return_counts=True)
        for value, count in zip([0, *values.tolist()], [zeros, *counts.tolist()], strict=True):
            found[value] = found.get(value, 0) + count
    return np.array(list(found), np.int64), np.array(list(found.values()), np.int64)
