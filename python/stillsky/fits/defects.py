"""Columns and rows of a detector that differ from their neighbours, found in the pixels of one image.

For files that have no mask of their own. What is found are dead, hot and noisy columns and rows, or runs of them, one or
two pixels wide.
"""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["DefectLine", "findDefectLines", "markDefectLines"]

_SEGMENT = 64  # pixels of a line that are judged together
_SAMPLED = 2048  # pixels of a longer line that are looked at
_SIDE = 3  # neighbours on each side
_LEAST = 16  # pixels a segment needs
_RUN = 2  # segments that must agree
_SIGNIFICANT = 5.0  # of one segment, in its own noise
_WEAKEST = 0.5  # of a whole line, in the noise of one pixel: less than that does no harm
_CLEARLY = 2.0  # times the spread among the neighbours: light is smooth over a PSF, a defect is not
_SHARED = 0.2  # of the excess in both of the next lines: light, for a PSF is wider than a pixel
_ALONG = 0.8  # of the segments of a whole line must have a quarter of its excess at least
_PATTERN = 0.03  # of the lines: more than that are a pattern of the read-out, not defects
# Noise of the mean of the central half of n Gaussian values is 1.09/sqrt(n), of their 16th percentile 1.52/sqrt(n). The
# reference, a median of three on each side, adds about a quarter of the variance.
_LEVEL_NOISE, _LOW_NOISE, _REFERENCE = 1.09, 1.52, 1.12


@dataclass(frozen=True)
class DefectLine:
    """A run of bad pixels: of column ``index`` (axis 0) or of row ``index`` (axis 1), pixels begin <= i < end."""

    axis: int
    index: int
    begin: int
    end: int

    @property
    def slices(self):
        """Index of its pixels in the array."""
        run = slice(self.begin, self.end)
        return (run, self.index) if self.axis == 0 else (self.index, run)


def findDefectLines(image, bad=None, *, segment=_SEGMENT):
    """Find columns and rows, or parts of them, whose level or scatter is not that of their neighbours.

    Each line is cut into segments of 64 pixels. A segment's level is the mean of the central half of its sorted pixels;
    its 16th percentile tells more noise than usual from stars, which do not lower it. Both are compared with their
    medians over the three lines on either side. A segment stands out if its level lies on one side of both, or its 16th
    percentile below both,

    * by 5 times the noise of such a difference (from the scatter of the neighbours, and at least as large as these
      differences scatter over the whole image),
    * by twice the spread among the neighbours of the quieter side,
    * and if the two lines next to it do not both share a fifth of it.

    The last two tell a defect from light: in a star, its wings, a spike or a galaxy the neighbours differ as much as the
    line does. Runs of two segments (gaps of one are bridged) are defects, with half a segment more at ends inside the
    image; and so is the whole line, if the median of its segments is as significant, above half the noise of a pixel, and
    nearly all segments have part in it.

    Parameters
    ----------
    image : `numpy.ndarray`, shape (height, width)
        Real numbers; NaN and infinite pixels are ignored.
    bad : `numpy.ndarray` of `bool`, optional
        Further pixels to ignore, for example saturated ones with their bleed trails.
    segment : `int`
        Pixels of a segment; a quarter of the line if that is less.

    Returns
    -------
    lines : list of `DefectLine`
        Columns first, each by index. Empty for images below 64 pixels or without noise, and along an axis where more
        than 3 % of the lines stand out: that is a pattern.

    Notes
    -----
    Blocks of three lines and more are not found, nor runs shorter than about two segments. Of lines of 4096 pixels every
    second pixel is used, in segments of 128, of longer ones accordingly. Cost: one sort of each segment, about 8 ns a
    pixel used; memory: the pixels of one segment of all lines, and a fifth of the image.
    """
    lines = []
    for axis in (0, 1):
        length, count = image.shape[axis], image.shape[1 - axis]
        n = min(segment, length // 4)
        if n < _LEAST or count < 4 * _LEAST:
            continue
        step = max(1, length // _SAMPLED)
        starts = np.linspace(0, length - n * step, length // (n * step)).round().astype(int)
        statistics = _segmentStatistics(image, bad, axis, starts, n, step)
        found = _standingOut(*statistics, n)
        if found is None or np.count_nonzero(found.any(axis=0)) > max(2, _PATTERN * count):
            continue
        for index in np.flatnonzero(found.any(axis=0)):
            lines += [DefectLine(axis, int(index), *run) for run in _runs(found[:, index], starts, n * step, length)]
    return lines


def markDefectLines(mask, bit, lines):
    """Set ``bit`` (a power of two) of ``mask`` in place for all pixels of the lines; returns how many have it then."""
    for line in lines:
        mask[line.slices] |= bit
    return int(np.count_nonzero(mask & bit))


def _segmentStatistics(image, bad, axis, starts, n, step):
    """Level, 16th percentile and scatter of all segments, each of n pixels in steps of ``step``.

    Shape (segments, lines), float32; NaN where over a quarter of the pixels is not usable.
    """
    count = image.shape[1 - axis]
    level, low, width = (np.empty((len(starts), count), np.float32) for _ in range(3))
    for k, start in enumerate(starts):
        run = slice(start, start + n * step, step)
        pixels = image[run].T if axis == 0 else image[:, run]
        with np.errstate(over="ignore"):
            pixels = np.array(pixels, np.float32, order="C")
        if bad is not None:
            where = bad[run].T if axis == 0 else bad[:, run]
            if where.any():
                pixels[where] = np.nan
        level[k], low[k], high = _robust(pixels)
        width[k] = 0.5 * (high - low[k])
    return level, low, width


def _robust(pixels):
    """Mean of the central half, 16th and 84th percentile of each row of ``pixels``, which are overwritten."""
    n = pixels.shape[1]
    finite = np.isfinite(pixels)
    usable = finite.all(axis=1)
    if not usable.all():
        pixels[~finite] = np.nan  # sorted to the end
    pixels.sort(axis=1)
    skip = int(0.1587 * n)
    level = pixels[:, n // 4 : n - n // 4].mean(axis=1)
    low, high = pixels[:, skip].copy(), pixels[:, n - 1 - skip].copy()
    if not usable.all():
        some = _robustOfSome(pixels[~usable], np.count_nonzero(finite[~usable], axis=1))
        level[~usable], low[~usable], high[~usable] = some
    return level, low, high


def _robustOfSome(ordered, m):
    """`_robust` of sorted rows of which the first ``m`` values are finite; NaN where these are too few."""
    n = ordered.shape[1]
    total = np.pad(np.cumsum(np.nan_to_num(ordered), axis=1, dtype=float), ((0, 0), (1, 0)))
    rows, skip = np.arange(len(m)), (0.1587 * m).astype(int)
    first, last = m // 4, m - m // 4
    with np.errstate(invalid="ignore"):
        level = (total[rows, last] - total[rows, first]) / (last - first)
    result = np.stack([level, ordered[rows, skip], ordered[rows, m - 1 - skip]])
    result[:, m < max(_LEAST, 0.75 * n)] = np.nan
    return result


def _standingOut(level, low, width, n):
    """Segments that belong to defects, `bool` (segments, lines); None if the image has no noise."""
    typical = float(np.nanmedian(width)) if np.isfinite(width).any() else math.nan
    if not typical > 0:
        return None
    left, right = (_median3(side) for side in _sides(width))
    local = np.fmax(np.fmin(left, right), 0.5 * typical)
    out = np.zeros(level.shape, bool)
    for values, factor in ((level, _LEVEL_NOISE), (low, _LOW_NOISE)):
        noise = factor * _REFERENCE / math.sqrt(n) * local
        excess, spread, difference = _againstNeighbours(values)
        compared = np.abs(difference / noise)[np.isfinite(difference)]
        if not compared.size:
            return None
        noise *= max(1.0, 1.4826 * float(np.median(compared)))
        clear = np.abs(excess) > _CLEARLY * spread
        strong = clear & (np.abs(excess) > _SIGNIFICANT * noise)
        for sign in (1, -1) if values is level else (-1,):  # stars raise the 16th percentile, noise lowers it
            out |= _withRuns(strong & (sign * excess > 0))
        if values is level:
            out[:, _wholeLines(excess, spread, noise, local)] = True
    return out


def _wholeLines(excess, spread, noise, local):
    """Lines that differ by little, but all along: `bool`, one a line."""
    middle = np.median(excess, axis=0)
    whole = np.abs(middle) > _SIGNIFICANT * 1.25 / math.sqrt(len(excess)) * noise.mean(axis=0)
    low = np.quantile(excess * np.sign(middle), 1 - _ALONG, axis=0)
    whole &= low > 0.25 * np.abs(middle)
    for i in np.flatnonzero(whole):
        least = max(_WEAKEST * np.median(local[:, i]), _CLEARLY * np.median(spread[:, i]))
        whole[i] = abs(middle[i]) > least
    return whole


def _sides(values):
    """The neighbours on the left and on the right, shape (3, segments, lines) each; mirrored at the borders."""
    padded = np.pad(values, ((0, 0), (_SIDE, _SIDE)), mode="reflect")
    count = values.shape[1]
    steps = range(1, _SIDE + 1)
    return [np.stack([padded[:, _SIDE + s * k : _SIDE + s * k + count] for k in steps]) for s in (-1, 1)]


def _againstNeighbours(values):
    """What a segment has more than both sides, or less; the spread of the quieter side; difference to the mean side."""
    left, right = _sides(values)
    medians = [_median3(side) for side in (left, right)]
    spreads = [side.max(axis=0) - side.min(axis=0) for side in (left, right)]  # NaN if a neighbour is missing
    d0, d1 = values - medians[0], values - medians[1]
    excess = np.where((d0 > 0) == (d1 > 0), np.where(np.abs(d0) < np.abs(d1), d0, d1), 0)
    beyond = 0.25 * (left[1] + left[2] + right[1] + right[2])
    with np.errstate(divide="ignore", invalid="ignore"):
        shared = np.minimum((left[0] - beyond) / excess, (right[0] - beyond) / excess)
    excess[shared > _SHARED] = 0
    return np.nan_to_num(excess), np.nan_to_num(np.fmin(*spreads), nan=np.inf), 0.5 * (d0 + d1)


def _median3(side):
    a, b, c = side
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def _withRuns(strong):
    """Those of ``strong`` in runs of at least two segments, and gaps of one between them."""
    below, above = np.zeros_like(strong), np.zeros_like(strong)
    below[1:], above[:-1] = strong[:-1], strong[1:]
    closed = strong | (below & above)
    paired = np.zeros_like(strong)
    pairs = closed[:-1] & closed[1:]
    paired[:-1] |= pairs
    paired[1:] |= pairs
    return paired


def _runs(found, starts, n, length):
    """(begin, end) of the runs of segments, pixels; half a segment more at ends inside the image."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], found.astype(np.int8), [0]))))
    for first, last in zip(edges[::2], edges[1::2] - 1):
        begin = 0 if first == 0 else max(int(starts[first]) - n // 2, 0)
        end = length if last == len(starts) - 1 else min(int(starts[last]) + n + n // 2, length)
        yield begin, end
