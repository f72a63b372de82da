"""Joining the positive and negative footprints of a difference image."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import DomainError
from .footprint import Footprint
from .footprint_set import FootprintSet

__all__ = ["MergedDetections", "mergeDetections"]


@dataclass
class MergedDetections:
    """What `mergeDetections` returns. Arrays have one element per footprint.

    Attributes
    ----------
    footprints : `FootprintSet`
        In order of y, then x, of their first peaks. Peaks have the further columns ``merge_peak_positive`` and
        ``merge_peak_negative`` and are sorted by falling significance, then y, then x.
    positive, negative : array of bool
        Polarities that contribute to the footprint.
    nUnmerged : int
        Number of footprints before merging.
    """

    footprints: FootprintSet
    positive: np.ndarray
    negative: np.ndarray
    nUnmerged: int

    @property
    def isNegative(self):
        """Only negative detections contribute."""
        return self.negative & ~self.positive

    @property
    def firstIsNegative(self):
        """Sign of the first, most significant peak."""
        sign = self.isNegative
        some = self.footprints.nPeaks > 0
        sign[some] = self.footprints.peaks["merge_peak_negative"][self.footprints.firstPeaks[some]]
        return sign

    def __len__(self):
        return len(self.footprints)


def mergeDetections(positive, negative, grow=2, maxSeparation=None):
    """Join every negative footprint with the positive ones that it overlaps; several of these become one.

    Parameters
    ----------
    positive, negative : `FootprintSet`
        Of one image.
    grow : int
        Both are grown by a disc of this radius first, pixels; clipped to the region searched.
    maxSeparation : float, optional
        Only footprints with peaks of opposite sign within this distance are joined, pixels: grown footprints of two
        sources overlap far beyond the size of a dipole. Default: overlap is enough.

    Returns
    -------
    merged : `MergedDetections`

    Raises
    ------
    DomainError
        Different regions, or a negative radius.

    Notes
    -----
    Footprints of one polarity are joined only through one of the other: neighbours that merely come near each other
    by growing stay two sources. One union over all overlaps, so the result does not depend on the order of the input.
    """
    if positive.region != negative.region:
        raise DomainError(f"mergeDetections: regions differ: {positive.region} and {negative.region}")
    if grow < 0:
        raise DomainError(f"grow: wanted 0 or more, got {grow}")
    region = positive.region
    parts = [_grown(f, grow, region) for f in (*positive, *negative)]
    nPositive = len(positive)
    groups = _groups(parts, nPositive, maxSeparation)
    merged = [_union(members, parts, nPositive, region) for members in groups]
    order = sorted(range(len(merged)), key=lambda i: _position(merged[i][0]))
    merged = [merged[i] for i in order]
    footprints = FootprintSet([m[0] for m in merged], region)
    if len(footprints.peaks) == 0:
        footprints = footprints.withPeakColumns(
            merge_peak_positive=np.zeros(0, bool), merge_peak_negative=np.zeros(0, bool)
        )
    footprints._numberPeaks()
    flags = np.array([m[1] for m in merged], bool).reshape(-1, 2)
    return MergedDetections(footprints, flags[:, 0], flags[:, 1], len(parts))


def _grown(footprint, radius, region):
    spans = footprint.spans.dilated(radius).clipped(region) if radius else footprint.spans
    return Footprint(spans, footprint.peaks, region)


def _groups(parts, nPositive, maxSeparation):
    """Lists of indices of the footprints that belong together."""
    a, b = _overlaps(parts, nPositive)
    if maxSeparation is not None and len(a):
        near = [_peakDistance(parts[i].peaks, parts[j].peaks) <= maxSeparation for i, j in zip(a, b, strict=True)]
        a, b = a[near], b[near]
    n = len(parts)
    links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n, n))
    _, labels = connected_components(links, directed=False)
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if n else []


def _peakDistance(some, others):
    """Smallest distance of two lists of peaks, infinite when one is empty."""
    if not len(some) or not len(others):
        return np.inf
    dx, dy = (some[name][:, None] - others[name] for name in ("f_x", "f_y"))
    return np.hypot(dx, dy).min()


def _overlaps(parts, nPositive):
    """Pairs (positive, negative) of footprints that share a pixel, possibly repeated.

    Spans of the positives are sorted by row and first column; a span of a negative can only meet those that begin no
    further left than the longest positive span: the cost is that of the spans near each other.
    """
    spans = [f.spans.spans for f in parts]
    table = np.concatenate([np.empty((0, 3), np.int32), *spans]).astype(np.int64)
    label = np.repeat(np.arange(len(parts)), [len(s) for s in spans])
    mine, theirs = table[label < nPositive], table[label >= nPositive]
    if not len(mine) or not len(theirs):
        return np.zeros(0, int), np.zeros(0, int)
    lowest = table[:, 1].min()
    width = table[:, 2].max() - lowest + 2
    start = (mine[:, 0] - table[:, 0].min()) * width + mine[:, 1] - lowest
    order = np.argsort(start, kind="stable")
    start, mine, mineLabel = start[order], mine[order], label[label < nPositive][order]
    longest = (mine[:, 2] - mine[:, 1]).max()
    row = (theirs[:, 0] - table[:, 0].min()) * width
    first = np.searchsorted(start, row + np.maximum(theirs[:, 1] - lowest - longest, 0))
    last = np.searchsorted(start, row + theirs[:, 2] - lowest, side="right")
    counts = np.maximum(last - first, 0)
    which = np.repeat(np.arange(len(theirs)), counts)
    ends = np.cumsum(counts)
    candidate = np.arange(ends[-1]) - np.repeat(ends - counts - first, counts)
    meet = mine[candidate, 2] >= theirs[which, 1]
    return mineLabel[candidate[meet]], label[label >= nPositive][which[meet]]


def _union(members, parts, nPositive, region):
    """One footprint of several, and which polarities it has."""
    signs = members < nPositive
    spans = parts[members[0]].spans
    for i in members[1:]:
        spans = spans.union(parts[i].spans)
    peaks = _sorted(_unique(_joined([(parts[i].peaks, i < nPositive) for i in members])))
    return Footprint(spans, peaks, region), (signs.any(), (~signs).any())


def _joined(lists):
    """Peaks of all lists with the columns of their polarity."""
    names = ("merge_peak_positive", "merge_peak_negative")
    extra = [(name, "?") for name in names]
    out = []
    for peaks, isPositive in lists:
        columns = [d for d in peaks.dtype.descr if d[0] not in names]
        more = np.zeros(len(peaks), columns + extra)
        for name, *_ in columns:
            more[name] = peaks[name]
        more[names[0]], more[names[1]] = isPositive, not isPositive
        out.append(more)
    return np.concatenate(out)


def _unique(peaks):
    """Peaks at the same pixel with the same sign count once."""
    key = np.stack([peaks["i_y"], peaks["i_x"], peaks["merge_peak_positive"]], axis=1)
    _, first = np.unique(key, axis=0, return_index=True)
    return peaks[np.sort(first)]


def _sorted(peaks):
    return peaks[np.lexsort((peaks["i_x"], peaks["i_y"], -peaks["significance"]))]


def _position(footprint):
    """(y, x) of the first peak, for the order of the records."""
    if len(footprint.peaks):
        return int(footprint.peaks["i_y"][0]), int(footprint.peaks["i_x"][0])
    span = footprint.spans.spans[0]
    return int(span[0]), int(span[1])
