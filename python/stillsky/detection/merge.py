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
    labels = _groups(parts, nPositive, maxSeparation)
    spans, signs = _union([f.spans for f in parts], labels, nPositive)
    peaks = _joined([positive.peaks, negative.peaks])
    owner = labels[np.repeat(np.arange(len(parts)), np.concatenate([positive.nPeaks, negative.nPeaks]))]
    peaks, owner = _sorted(*_unique(peaks, owner))
    counts = np.bincount(owner, minlength=len(spans))
    order = np.lexsort(_positions(spans, peaks, counts)[::-1])
    place = np.empty(len(spans), int)
    place[order] = np.arange(len(spans))
    peaks = peaks[np.argsort(place[owner], kind="stable")]
    packed = [spans[i].spans for i in order]
    footprints = FootprintSet._wrap(
        (np.concatenate([np.empty((0, 3), np.int32), *packed]), _ends([len(s) for s in packed]), peaks, _ends(counts[order])),
        positive._region, peaks,
    )  # fmt: skip
    footprints._numberPeaks()
    return MergedDetections(footprints, signs[order, 0], signs[order, 1], len(parts))


def _ends(counts):
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _grown(footprint, radius, region):
    spans = footprint.spans.dilated(radius).clipped(region) if radius else footprint.spans
    return Footprint(spans, footprint.peaks, region)


def _groups(parts, nPositive, maxSeparation):
    """Number of the merged footprint of each part."""
    a, b = _overlaps(parts, nPositive)
    if maxSeparation is not None and len(a):
        near = [_peakDistance(parts[i].peaks, parts[j].peaks) <= maxSeparation for i, j in zip(a, b, strict=True)]
        a, b = a[near], b[near]
    n = len(parts)
    links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n, n))
    return connected_components(links, directed=False)[1] if n else np.zeros(0, int)


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


def _union(parts, labels, nPositive):
    """Spans of each merged footprint, and which polarities it has, (n, 2)."""
    signs = np.zeros((labels.max() + 1 if len(labels) else 0, 2), bool)
    signs[labels[:nPositive], 0] = signs[labels[nPositive:], 1] = True
    spans = [None] * len(signs)
    for part, label in zip(parts, labels, strict=True):
        spans[label] = part if spans[label] is None else spans[label].union(part)
    return spans, signs


def _joined(lists):
    """Peaks of the positive, then the negative footprints, with the columns of their polarity."""
    names = ("merge_peak_positive", "merge_peak_negative")
    extra = [(name, "?") for name in names]
    out = []
    for peaks, isPositive in zip(lists, (True, False), strict=True):
        columns = [d for d in peaks.dtype.descr if d[0] not in names]
        more = np.zeros(len(peaks), columns + extra)
        for name, *_ in columns:
            more[name] = peaks[name]
        more[names[0]], more[names[1]] = isPositive, not isPositive
        out.append(more)
    return np.concatenate(out)


def _unique(peaks, owner):
    """Peaks of one footprint at the same pixel with the same sign count once."""
    keys = (owner, peaks["i_y"], peaks["i_x"], peaks["merge_peak_positive"])
    order = np.lexsort(keys)
    first = np.ones(len(peaks), bool)
    first[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    kept = np.sort(order[first])
    return peaks[kept], owner[kept]


def _sorted(peaks, owner):
    order = np.lexsort((peaks["i_x"], peaks["i_y"], -peaks["significance"], owner))
    return peaks[order], owner[order]


def _positions(spans, peaks, counts):
    """(y, x) of the first peaks, or of the first pixels where there is none, for the order of the records."""
    first = np.array([s.spans[0, :2] for s in spans], np.int64).reshape(-1, 2)
    some = counts > 0
    start = (np.cumsum(counts) - counts)[some]
    first[some] = np.stack([peaks["i_y"][start], peaks["i_x"][start]], axis=1)
    return first.T
