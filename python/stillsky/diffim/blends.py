"""Sources of a difference whose light overlaps: who they are, what each of them has, and how to look at one alone.

Neighbours of either sign are fitted together. A positive and a negative peak close together are a dipole, one row, where
both lobes have the same flux within what a dipole may differ: nothing tells two changes that cancel from a star that
moved. Where the fluxes differ by more than that and more than noise, and two PSFs describe what is seen, they are two
changes, two rows.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..detection import Footprint, FootprintSet, SpanSet
from ..measure import fitBlends, withoutNeighbours
from .overlaps import MOST_TOGETHER, REACH

__all__ = ["Blends", "resolveBlends"]

_RESOLVED = 2.0  # widths of the PSF: fitted lobes nearer to each other are one object
_DIFFERENCE_SIGMAS = 3.0  # by which the fluxes of two changes differ


@dataclass
class Blends:
    """Components of the groups of sources that overlap; arrays with one element per component.

    Attributes
    ----------
    found : structured array
        Of `fitBlends`.
    row, group : int arrays
        Row of the table that each belongs to (a dipole has two components), and its group.
    sign : array
        Of the peak, -1 or 1.
    nRows : int
        Rows of the table.
    """

    found: np.ndarray
    row: np.ndarray
    group: np.ndarray
    sign: np.ndarray
    nRows: int

    def __post_init__(self):
        self.nKept = self.nRows
        order = np.unique(np.stack([self.group, self.row]), axis=1)  # (group, row), one for each row of a group
        self.rowsInGroup = np.bincount(order[0], minlength=self.group.max(initial=-1) + 1)
        starts = np.cumsum(self.rowsInGroup) - self.rowsInGroup
        self._rank = np.full(self.nRows, -1)
        many = self.rowsInGroup[order[0]] > 1
        self._rank[order[1][many]] = (np.arange(order.shape[1]) - starts[order[0]])[many]

    @property
    def groupOfRow(self):
        """Group of each row of the table (int array), -1 for one that overlaps with no other."""
        groups = np.full(self.nRows, -1)
        many = self.rowsInGroup[self.group] > 1
        groups[self.row[many]] = self.group[many]
        return groups[: self.nKept]

    @property
    def size(self):
        """Sources in the group of each row; 1: alone."""
        out = np.ones(self.nRows, int)
        out[self.row] = self.rowsInGroup[self.group]
        return out[: self.nKept]

    @property
    def severalComponents(self):
        """Rows that are more than one point of light: dipoles (int array)."""
        return np.flatnonzero(np.bincount(self.row, minlength=self.nRows) > 1)

    @property
    def solved(self):
        """Components that are rows of their own with neighbours, and whose fit is good."""
        alone = np.bincount(self.row, minlength=self.nRows)[self.row] == 1
        good = (self.found["flagBits"] == 0) & (self.found["flux"] * self.sign > 0)
        return np.flatnonzero(alone & good & (self.rowsInGroup[self.group] > 1))

    def passes(self, exposure, psf):
        """(rows, context in which the exposure lacks the light of their neighbours) until every row was there once."""
        yield np.flatnonzero(self._rank == -1), nullcontext()
        rank = self._rank[self.row]
        busy = self.rowsInGroup[self.group]
        for r in range(self._rank.max(initial=-1) + 1):
            rows = np.flatnonzero(self._rank == r)
            others = (busy > max(r, 1)) & (rank != r)
            yield rows, withoutNeighbours(exposure, self.found, others, psf)

    def centroids(self, rows):
        """Positions and errors of rows, (len(rows), 4): x, y, xErr, yErr; NaN where there is no good fit."""
        out = np.full((self.nRows, 4), np.nan)
        k = self.solved
        out[self.row[k]] = np.stack([self.found[name][k] for name in ("x", "y", "xErr", "yErr")], axis=1)
        return out[rows]

    def subset(self, kept):
        """Of some rows of the table; components of the others keep their light."""
        place = np.full(self.nRows + len(self.row), -1)
        place[kept] = np.arange(len(kept))
        lost = np.unique(self.row[place[self.row] < 0])
        place[lost] = len(kept) + np.arange(len(lost))
        out = Blends(self.found, place[self.row], self.group, self.sign, len(kept) + len(lost))
        out.nKept = len(kept)
        out._rank[len(kept) :] = -2  # seen by nobody
        return out


def resolveBlends(difference, footprints, flags, *, psf, sigma, doAll, doSplit, threshold, maxFluxRatio, maxChi2):
    """Fit the sources that overlap, and part the opposite signs that are no dipoles.

    Parameters
    ----------
    difference : Exposure
    footprints : `FootprintSet`
        Merged, sky sources last.
    flags : structured array
        ``positive, negative, sky``.
    psf, sigma : Psf, float
        Of the difference, its width in pixels.
    doAll : bool
        Fit all neighbours, not only those of one footprint with both signs.
    doSplit : bool
        Part opposite signs.
    threshold : float
        Least significance of a source that stands alone.
    maxFluxRatio : float
        Largest share of a dipole's lobe in both fluxes.
    maxChi2 : function
        Of the signal-to-noise ratio of the stronger: largest reduced chi squared of two changes.

    Returns
    -------
    footprints, flags
        With more rows where some were parted.
    blends : `Blends` or None
        None where nothing overlaps.
    """
    parts = _components(footprints, flags, sigma, doAll, doSplit)
    parts = _grouped(parts, sigma)
    if not len(parts["row"]):
        return footprints, flags, None
    found = fitBlends(difference, parts["x"], parts["y"], parts["group"], psf=psf)
    if doSplit:
        split = _toPart(parts, found, sigma, threshold, maxFluxRatio, maxChi2)
        if split:
            footprints, flags, parts["row"] = _parted(footprints, flags, parts, split)
    return footprints, flags, Blends(found, parts["row"], parts["group"], parts["sign"], len(footprints))


def _components(footprints, flags, sigma, doAll, doSplit):
    """Peaks that count: the first of each source of one sign, all strong ones of those that have both."""
    both = np.flatnonzero(flags["positive"] & flags["negative"] & ~flags["sky"])
    single = np.flatnonzero((flags["positive"] ^ flags["negative"]) & ~flags["sky"]) if doAll else both[:0]
    single = single[footprints.nPeaks[single] > 0]
    peaks, first = footprints.peaks, footprints.firstPeaks
    index, rows = [first[single]], [single]
    if doAll or doSplit:
        for i in both:
            own = np.arange(first[i], first[i] + footprints.nPeaks[i])
            chosen = _distinct(peaks[own], sigma)
            index.append(own[chosen])
            rows.append(np.full(len(chosen), i))
    index, rows = np.concatenate(index), np.concatenate(rows)
    chosen = peaks[index]
    return {
        "row": rows, "x": chosen["f_x"].copy(), "y": chosen["f_y"].copy(), "peak": index,
        "sign": np.where(chosen["merge_peak_negative"], -1.0, 1.0) if len(index) else np.zeros(0),
    }  # fmt: skip


def _distinct(peaks, sigma):
    """Strongest peaks first, those of one sign at least a width and a half apart."""
    kept = []
    for k in np.argsort(-peaks["significance"], kind="stable"):
        same = [j for j in kept if peaks["merge_peak_negative"][j] == peaks["merge_peak_negative"][k]]
        apart = [np.hypot(peaks["f_x"][j] - peaks["f_x"][k], peaks["f_y"][j] - peaks["f_y"][k]) for j in same]
        if min(apart, default=np.inf) > 1.5 * sigma:
            kept.append(k)
    return np.array(kept, int)


def _grouped(parts, sigma):
    """Numbers of groups: neighbours within reach, and components of one row; only groups of 2 to 20 are kept."""
    n = len(parts["row"])
    pairs = np.zeros((0, 2), int)
    if n:
        pairs = cKDTree(np.stack([parts["x"], parts["y"]], axis=1)).query_pairs(REACH * sigma, output_type="ndarray")
    order = np.argsort(parts["row"], kind="stable")
    same = order[1:][np.diff(parts["row"][order]) == 0], order[:-1][np.diff(parts["row"][order]) == 0]
    a, b = np.concatenate([pairs[:, 0], same[0]]), np.concatenate([pairs[:, 1], same[1]])
    label = connected_components(coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n, n)), directed=False)[1]
    size = np.bincount(label, minlength=1)
    kept = (size[label] > 1) & (size[label] <= MOST_TOGETHER) if n else np.zeros(0, bool)
    out = {name: values[kept] for name, values in parts.items()}
    out["group"] = np.unique(label[kept], return_inverse=True)[1] if n else np.zeros(0, int)
    return out


def _toPart(parts, found, sigma, threshold, maxFluxRatio, maxChi2):
    """Rows that are several sources -> the components of each of these; the two lobes of a dipole are one source."""
    flux, error = found["flux"], found["fluxErr"]
    with np.errstate(invalid="ignore", divide="ignore"):
        strong = (flux * parts["sign"] > threshold * error) & (found["flagBits"] == 0)
        quality = found["chi2"] / np.maximum(found["nPixels"] - 3, 1)
    out = {}
    for row in np.unique(parts["row"]):
        own = np.flatnonzero(parts["row"] == row)
        if len(own) < 2:
            continue
        brightest = own[np.argmax(np.abs(flux[own]))]
        if not quality[brightest] <= maxChi2(np.abs(flux[brightest]) / error[brightest]):
            continue
        sources = _sourcesOf(own, parts, found, sigma, maxFluxRatio)
        if len(sources) > 1 and all(strong[s[0]] for s in sources if len(s) == 1):
            out[row] = sources
    return out


def _sourcesOf(own, parts, found, sigma, maxFluxRatio):
    """Components of one row as lists: pairs that may be one object, those nearest to each other first, and the rest."""
    lobes = [(i, j) for i in own for j in own if parts["sign"][i] > 0 > parts["sign"][j]]
    apart = [np.hypot(parts["x"][i] - parts["x"][j], parts["y"][i] - parts["y"][j]) for i, j in lobes]
    taken, out = set(), []
    for k in np.argsort(apart, kind="stable"):
        i, j = lobes[k]
        if not taken & {i, j} and _isDipole(i, j, found, found["fluxErr"], sigma, maxFluxRatio):
            taken |= {i, j}
            out.append([i, j])
    return out + [[k] for k in own if k not in taken]


def _isDipole(i, j, found, error, sigma, maxFluxRatio):
    """Whether two lobes may be one object: close together, or of one flux within noise or a dipole's share."""
    distance = np.hypot(found["x"][i] - found["x"][j], found["y"][i] - found["y"][j])
    lobes = np.abs(found["flux"][[i, j]])
    share = lobes.max() / lobes.sum()
    excess = abs(found["flux"][i] + found["flux"][j]) - _DIFFERENCE_SIGMAS * np.hypot(error[i], error[j])
    return bool(distance < _RESOLVED * sigma or share < maxFluxRatio or excess < 0)


def _parted(footprints, flags, parts, split):
    """Footprints with one row for each source of some; each pixel goes to the nearest. Order: first peak, sky last."""
    everyone, marks, row = list(footprints), list(flags), parts["row"].copy()
    for old, sources in split.items():
        whole = footprints[int(old)]
        places = [old, *range(len(everyone), len(everyone) + len(sources) - 1)]
        everyone += [None] * (len(sources) - 1)
        marks += [flags[old].copy() for _ in sources[1:]]
        owned = _shared(whole.spans, parts, sources)
        for place, k, spans in zip(places, sources, owned, strict=True):
            peaks = footprints.peaks[np.sort(parts["peak"][k])]  # by falling significance, as they were
            everyone[place] = Footprint(spans, peaks, footprints.region)
            sign = parts["sign"][k]
            marks[place]["positive"], marks[place]["negative"] = (sign > 0).any(), (sign < 0).any()
            row[k] = place
    made = FootprintSet(everyone, footprints.region)
    marks = np.array(marks, flags.dtype)
    some = made.nPeaks > 0
    first = np.zeros((len(made), 2), int)
    first[some] = np.stack([made.peaks[made.firstPeaks[some]][name] for name in ("i_y", "i_x")], axis=1)
    order = np.lexsort((np.where(marks["sky"], 0, first[:, 1]), np.where(marks["sky"], 0, first[:, 0]), marks["sky"]))
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    return made.subset(order), marks[order], place[row]


def _shared(spans, parts, sources):
    """The pixels of a region, each to the source that has the nearest component."""
    box = spans.bbox
    rows, columns = np.nonzero(spans.toBool(box))
    rows, columns = rows + box.minY, columns + box.minX
    source = np.repeat(np.arange(len(sources)), [len(k) for k in sources])
    x, y = (parts[name][np.concatenate(sources)] for name in "xy")
    owner = source[np.argmin((columns[:, None] - x) ** 2 + (rows[:, None] - y) ** 2, axis=1)]
    return [
        SpanSet(np.stack([rows[owner == k], columns[owner == k], columns[owner == k]], axis=1).astype(np.int32))
        for k in range(len(sources))
    ]
