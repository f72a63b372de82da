"""The sky of an image that still has one: fluxes on it are of what stands on the sky."""

import numpy as np
from astropy.table import Table, vstack

from ..background.config import SubtractBackgroundConfig
from ..background.subtract import fitBackground
from ..detection import detectSources
from ..errors import DomainError, InvalidPsfError, NoDataError
from ..geom import Box2I
from ..image import Exposure, Image, Mask, MaskedImage
from ..stats import clippedStats, robustSigma

__all__ = ["lessSky", "overBands", "pixelsLessSky", "skyOf", "withoutSky"]

_LARGEST_BLOCK, _FEWEST_BLOCKS = 8, 200  # pixels, and blocks across an image
_ROWS = 256  # that are worked on at once
_BAND = 512  # rows of sources that are measured at once
_MARGIN = 1.5  # heights of the PSF about them: discs of 4.5 widths are at most 1.3 heights in radius
_TYPICAL_SIGMA = 2.0  # pixels, of objects on an image without a PSF


def withoutSky(exposure):
    """The exposure less its sky, if its level is above a tenth of its noise: fluxes are of what stands on the sky.

    Parameters
    ----------
    exposure : Exposure
        Not modified.

    Returns
    -------
    exposure : Exposure
        The same one when there is nothing to subtract.
    level : `float`
        Median of the sky before, counts; 0 when nothing was subtracted.
    """
    sky, level = skyOf(exposure)
    return lessSky(exposure, sky), level


def skyOf(exposure):
    """What `withoutSky` subtracts.

    Returns
    -------
    sky : `numpy.ndarray` or None
        Of blocks of pixels (at most 8 x 8), float32; None when there is nothing to subtract.
    level : `float`
    """
    masked = exposure.maskedImage
    bad = masked.mask.bitmask(["NO_DATA", "BAD", "SAT", "EDGE", "CR"], ignoreMissing=True)
    step = max(1, int(np.sqrt(masked.image.array.size / 1e6)))
    level, _, _, n = clippedStats(masked.image.array, masked.mask.array, bad, subsample=step)
    sigma = robustSigma(masked.image.array, masked.mask.array, bad, subsample=step) if n else np.nan
    sky = _skyOf(masked, exposure.psf) if abs(level) > 0.1 * sigma else None
    return sky, 0.0 if sky is None else float(level)


def lessSky(exposure, sky, box=None):
    """A copy of the exposure, in its image only, less the sky of `skyOf`; the exposure itself without one.

    Parameters
    ----------
    exposure : Exposure
    sky : `numpy.ndarray` or None
    box : `stillsky.geom.Box2I`, optional
        Part of the exposure that is wanted; its pixels are those of the whole.
    """
    part = exposure if box is None else exposure[box]
    if sky is None:
        return part
    masked = part.maskedImage
    image = Image(_less(exposure.image.array, sky, *part.bbox.slices(exposure.xy0)), masked.xy0)
    return Exposure(MaskedImage(image, masked.mask, masked.variance), exposure.info)


def pixelsLessSky(pixels, sky, rows, columns):
    """Some pixels of an image less the sky of `skyOf`: of rows and columns of any shape, bit for bit those of `lessSky`."""
    if sky is None:
        return pixels[rows, columns]
    side = pixels.shape[0] // sky.shape[0]
    if side == 1:
        return pixels[rows, columns] - sky[rows, columns]
    (c, across), (k, along) = (
        (first[at], share[at])
        for at, (first, share) in zip((columns, rows), _places(pixels.shape, sky.shape, side), strict=True)
    )
    low, high = (sky[k + i, c] * (1 - across) + sky[k + i, c + 1] * across for i in (0, 1))
    return pixels[rows, columns] - (low * (1 - along) + high * along)


def overBands(measure, exposure, sky, x, y, *, psf, groups=None):
    """Measure sources on an image less its sky, band by band of rows: the whole image without its sky never exists.

    Parameters
    ----------
    measure : function
        Of an exposure and indices of sources; gives a table, or a structured array, with a row for each.
    exposure : Exposure
        Not modified.
    sky : `numpy.ndarray` or None
        Of `skyOf`; without one there is a single band, the exposure itself.
    x, y : float arrays, shape (n,)
        Parent pixels; not finite or outside: measured on one of the bands.
    psf : Psf
        Pixels within its reach of each source are in the band.
    groups : int array, shape (n,), optional
        Sources of one group are measured together; below 0: alone.

    Returns
    -------
    found : `astropy.table.Table` or structured array
        In the order of the sources.

    Notes
    -----
    Beyond what `measure` needs: 4 bytes for each pixel of a band, 512 rows and the reach of the PSF on both sides.
    """
    n = len(x)
    if sky is None or not n:
        return measure(exposure, np.arange(n))
    box = exposure.bbox
    row = np.clip(np.where(np.isfinite(y), y, box.minY), box.minY, box.maxY)
    middle = row if groups is None else np.where(groups < 0, row, _meanOfGroups(row, groups))
    band = ((middle - box.minY) // _BAND).astype(int)
    margin = _reachOf(psf)
    places = [np.flatnonzero(band == k) for k in np.unique(band)]
    parts = []
    for some in places:
        low = max(box.minY, int(np.floor(row[some].min())) - margin)
        high = min(box.maxY, int(np.ceil(row[some].max())) + margin)
        part = lessSky(exposure, sky, Box2I((box.minX, low), (box.width, high - low + 1)))
        parts.append(measure(part, some))
        del part
    order = np.argsort(np.concatenate(places), kind="stable")
    if isinstance(parts[0], Table):
        return vstack(parts, join_type="exact", metadata_conflicts="silent")[order] if len(parts) > 1 else parts[0]
    return np.concatenate(parts)[order]


def _meanOfGroups(values, groups):
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return (np.bincount(index, values) / counts)[index]


def _reachOf(psf):
    """Rows about a source that a measurement of it can look at."""
    try:
        height = psf.computeKernelImage(psf.averagePosition).height
    except DomainError:  # then there is nothing to measure with either
        height = 0
    return int(np.ceil(_MARGIN * height)) + 8


def _skyOf(masked, psf):
    """Sky of an image in blocks of at most 8 x 8 pixels, float32; None where there is not enough of it.

    Files seldom say where objects are, and their light raises the level: they are looked for, above the image's own scatter
    (a convolved template has more noise than its variance plane says).
    """
    side = max(1, min(_LARGEST_BLOCK, min(masked.width, masked.height) // _FEWEST_BLOCKS))
    blocks = _blocks(masked, side)
    sky = _subtractSky(blocks)
    if sky is None:
        return None
    try:
        width = _TYPICAL_SIGMA if psf is None else psf.matchedSigma(masked.bbox.center)
    except InvalidPsfError:
        width = _TYPICAL_SIGMA
    how = {"thresholdType": "stdev", "polarity": "positive", "nSigmaToGrow": 4.0, "sigma": max(1.0, width / side)}
    try:
        detectSources(blocks, 3.0, **how)
    except NoDataError:  # nothing scatters
        return sky
    rest = _subtractSky(blocks)
    return sky if rest is None else sky + rest


def _blocks(masked, side):
    """Means of the good pixels of blocks; NO_DATA where half of them is bad."""
    height, width = masked.height // side, masked.width // side
    bad = masked.mask.bitmask(["NO_DATA", "BAD", "SAT", "EDGE", "CR", "DETECTED"], ignoreMissing=True)
    means = np.empty((height, width), np.float32)
    step = max(1, _ROWS // side)
    for first in range(0, height, step):
        rows = slice(first * side, min(first + step, height) * side)
        pixels = masked.image.array[rows, : width * side]
        good = ((masked.mask.array[rows, : width * side] & bad) == 0) & np.isfinite(pixels)
        shape = (-1, side, width, side)
        total = np.where(good, pixels, 0).reshape(shape).sum((1, 3))
        count = good.reshape(shape).sum((1, 3))
        means[first : first + step] = np.where(2 * count > side * side, total / np.maximum(count, 1), np.nan)
    mask = Mask(np.zeros(means.shape, np.int32))
    mask.array[~np.isfinite(means)] = mask.bitmask(["NO_DATA"])
    return MaskedImage(Image(means), mask, Image(np.ones_like(means)))


def _subtractSky(masked):
    """The sky off an image, in place, which is returned; None where there is not enough of it."""
    config = SubtractBackgroundConfig()
    config.binSize = int(np.clip(min(masked.width, masked.height) // 8, 16, 128))
    config.statisticsProperty, config.useApprox = "MEANCLIP", False
    config.ignoredPixelMask = ["NO_DATA", "BAD", "SAT", "EDGE", "DETECTED"]
    found = fitBackground(masked, config, isNanSafe=True)
    if found is None:
        return None
    sky = found.imageArray(masked.bbox, dtype=np.float32)
    masked.image.array[:] -= sky
    return sky


def _less(pixels, sky, rows=slice(None), columns=slice(None)):
    """Pixels minus a sky known in blocks: linear between their centres, some rows at a time."""
    side = pixels.shape[0] // sky.shape[0]
    if side == 1:
        return pixels[rows, columns] - sky[rows, columns]
    (c, across), (k, along) = _places(pixels.shape, sky.shape, side)
    c, across, k, along = c[columns], across[columns], k[rows], along[rows]
    pixels = pixels[rows, columns]
    out = np.empty_like(pixels)
    for first in range(0, len(pixels), _ROWS):
        band = slice(first, first + _ROWS)
        low = k[band.start]
        part = sky[low : k[band][-1] + 2]
        part = part[:, c] * (1 - across) + part[:, c + 1] * across
        s, at = along[band, None], k[band] - low
        out[band] = pixels[band] - (part[at] * (1 - s) + part[at + 1] * s)
    return out


def _places(shape, nBlocks, side):
    """Of columns and of rows: the block before each, and the share of the next one."""
    return tuple(_between(shape[axis], nBlocks[axis], side) for axis in (1, 0))


def _between(n, nBlocks, side):
    """Of each pixel the block before it and the share of the next one."""
    place = np.clip((np.arange(n) + 0.5) / side - 0.5, 0, nBlocks - 1)
    first = np.minimum(place.astype(int), nBlocks - 2)
    return first, (place - first).astype(np.float32)
