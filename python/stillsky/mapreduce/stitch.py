"""Patches into one exposure, as they come: float64 sums of the open rows only, everything else in the output itself."""

import bisect
import math

import numpy as np

from .. import _core
from ..errors import DomainError, ShapeError
from ..image import Exposure
from .executors import sampleOf
from .output_rows import OutputRows, ReusedRows

__all__ = ["Stitcher"]

_PIXELS = {np.dtype(t) for t in (np.int32, np.uint16, np.float32, np.float64)}
_PROMOTED = {np.dtype(np.uint16): np.float32, np.dtype(np.int32): np.float64}


class _Band:
    """Float64 sums of the rows [top, end) of the image, in a store that is moved up only when it is full."""

    def __init__(self, width, names):
        self._width, self._names = width, names
        self.top = self.end = 0
        self._first = 0  # row of the image that the store begins with
        self._stores = {name: np.empty((0, width)) for name in names}

    def rows(self, name, first, end):
        """The sums of some of the rows, to be changed in place."""
        return self._stores[name][first - self._first : end - self._first]

    def cover(self, first, end, load):
        """Extend to rows; ``load(name, first, end, out)`` writes the sums of new ones."""
        if self.top == self.end:
            self.top = self.end = self._first = first
        low, high = min(self.top, first), max(self.end, end)
        if low < self._first or high - self._first > len(self._stores[self._names[0]]):
            self._move(low, high)
        for a, b in ((low, self.top), (self.end, high)):
            if a < b:
                for name in self._names:
                    load(name, a, b, self.rows(name, a, b))
        self.top, self.end = low, high

    def _move(self, low, high):
        for name in self._names:
            old = self.rows(name, self.top, self.end)
            store = self._stores[name]
            if low < self.top or 2 * (high - low) > len(store):
                store = np.empty((2 * (high - low), self._width))
            store[self.top - low : self.end - low] = old  # may overlap: numpy sees to that
            self._stores[name] = store
        self._first = low

    def drop(self, end):
        self.top = end


class Stitcher:
    """One output exposure of the operations copy, sum and average.

    Parameters
    ----------
    exposure : `stillsky.Exposure` or deferred reader
        The input: box, mask, information. Not modified unless ``inPlace``.
    config : `ImageReducerConfig`
    cells : `list` [`GridCell`]
        What will be added; decides which rows can be closed when. A patch outside its expanded cell is right as well,
        but a row that was closed already is reopened at the price of one more rounding (an error with weights and with
        ``inPlace``).
    compat : `bool`
        Masks and validity as in Rubin's reducer.
    inPlace : `bool`
        Use the memory of the input.

    Notes
    -----
    Memory beyond the output: 2 bytes per pixel (4 for ``copy`` of more than 65534 cells) and 16 to 24 bytes per pixel
    of the open rows. Sums are in float64 and rounded once; they are made in the order of the calls of `add`.
    """

    def __init__(self, exposure, config, cells, *, compat=False, inPlace=False):
        self._bbox, self._op, self._compat = exposure.bbox, config.reduceOperation, compat
        self._corner = self._bbox.min
        self._weighted = self._op == "average" and not compat and config.overlapWeight != "uniform"
        self._weight = config.overlapWeight if self._weighted else "uniform"
        self._independent = config.overlapVariance == "independent" and not compat
        self._badPlanes = list(config.badMaskPlanes)
        self._copying = self._op == "copy"
        self._blanks = not (compat and self._op == "sum")  # pixels without a value are NaN
        sample = sampleOf(exposure)
        schema = sample.mask.schema
        if not compat:
            for name in self._badPlanes:
                schema = schema.add(name)
        dtype = sample.image.dtype
        if inPlace and (dtype in _PROMOTED or not isinstance(exposure, Exposure)):
            raise DomainError(f"inPlace: wanted an exposure of floating-point pixels in memory, got {dtype}")
        count = np.uint32 if self._copying and len(cells) >= 65535 else np.uint16
        rows = ReusedRows if inPlace else OutputRows
        self._rows = rows(exposure, sample, _PROMOTED.get(dtype, dtype), schema, count, self._finalize, self._blanks)
        self._translations, self._schema, self._moves, self._staying = {}, None, [], 0
        self._band = _Band(
            self._bbox.width, ("image", "variance", "weight") if self._weighted else ("image", "variance")
        )
        self._disjoint = not self._copying and not self._weighted and _areDisjoint([c.core for c in cells])
        self._cores = {c.index: c.core for c in cells}
        self._ramps = overlapRamps([c.core for c in cells]) if self._weight == "taper" else {}
        self._plan(cells)
        self.validPixels = {}
        self.overlap = {"max": 0, "min": math.inf, "sum": 0, "zero": 0}

    # ------------------------------------------------------------------ which rows are open

    def _plan(self, cells):
        order = schedule(cells)
        tops = [cells[i].expanded.minY - self._bbox.minY for i in order] + [self._bbox.height]
        self._tops = np.minimum.accumulate(tops[::-1])[::-1].tolist()
        self._place = {cells[i].index: n for n, i in enumerate(order)}
        self._finished, self._next = [False] * len(order), 0

    def _done(self, index):
        place = self._place.get(index)
        if place is None:
            return
        self._finished[place] = True
        if place != self._next:
            return
        while self._next < len(self._finished) and self._finished[self._next]:
            self._next += 1
        self._close(self._tops[self._next])

    def _close(self, end):
        if self._band.top < self._band.end:
            self._settle(min(end, self._band.end))
        self._rows.release(end)

    # ------------------------------------------------------------------ adding

    def skip(self, index):
        """A cell that contributes nothing."""
        self._done(index)

    def add(self, index, patch):
        """Apply the patch of a cell.

        Raises
        ------
        TypeError
            The patch is no exposure with real or integer pixels.
        ShapeError
            The patch reaches beyond the image.
        OverflowError
            More than 65535 patches on one pixel.
        """
        if not isinstance(patch, Exposure) or patch.image.dtype not in _PIXELS:
            what = f"exposure of {patch.image.dtype}" if isinstance(patch, Exposure) else type(patch).__name__
            raise TypeError(
                f"cell {index}: {self._op} wants results with an exposure of int32, uint16, float32 or float64 pixels, "
                f"got {what}; reduceOperation='none' returns any results as they are"
            )
        box = patch.bbox
        if not self._bbox.contains(box):
            raise ShapeError(f"cell {index}: its patch {box} is not inside the image {self._bbox}")
        if not box.isEmpty:
            ys, xs = box.slices(self._corner)
            self._rows.need(ys.start, ys.stop)
            image = patch.image.array
            image = image.astype(_PROMOTED[image.dtype]) if image.dtype in _PROMOTED else image
            planes = [_contiguous(p) for p in (image, self._translated(patch.mask), patch.variance.array)]
            where = (slice(ys.start - self._rows.top, ys.stop - self._rows.top), xs)
            if self._copying:
                found = self._copy(index, where, planes)
            else:
                found = self._accumulate(index, box, where, (ys, xs), planes)
            if found[1]:
                raise OverflowError(f"cell {index}: more than 65535 patches overlap at one pixel")
            self.validPixels[index] = self.validPixels.get(index, 0) + found[0]
        self._done(index)

    def _translated(self, mask):
        """Mask pixels with the output's bits."""
        out, schema = self._rows, mask.schema
        if self._compat or schema is out.schema:
            return mask.array
        if schema is not self._schema:  # patches share theirs, as a rule
            if schema not in self._translations:
                for name in schema:
                    out.schema = out.schema.add(name, schema.doc(name))
                moves = [(bit, out.schema.bit(name)) for name, bit in schema.items()]
                staying = sum(1 << old for old, new in moves if old == new)
                self._translations[schema] = moves, staying
            self._schema, (self._moves, self._staying) = schema, self._translations[schema]
        present = int(np.bitwise_or.reduce(mask.array, axis=None)) if mask.array.size else 0
        if not present & ~self._staying:
            return mask.array
        moves = [(old, new) for old, new in self._moves if present >> old & 1]
        result = np.zeros_like(mask.array)
        for old, new in moves:
            result |= ((mask.array >> old) & 1) << new
        return result

    def _copy(self, index, where, planes):
        rows = self._rows
        out = (plane[where] for plane in (rows.image, rows.mask, rows.variance, rows.count))
        return _core.stitchCopy(*out, *planes, index + 1, self._compat)

    def _accumulate(self, index, box, where, place, planes):
        rows, band, (ys, xs) = self._rows, self._band, place
        mask, count = rows.mask[where], rows.count[where]
        bandClosed = ys.stop <= band.top or ys.start >= band.end
        if self._disjoint and bandClosed and box == self._cores.get(index):
            # Nothing else touches these pixels: no sums are needed. A patch that does so after all reopens the rows.
            return _core.stitchWrite(rows.image[where], mask, rows.variance[where], count, *planes, self._compat)
        band.cover(ys.start, ys.stop, self._load)
        names = ("image", "variance", "weight") if self._weighted else ("image", "variance")
        sums = [band.rows(name, ys.start, ys.stop)[:, xs] for name in names]
        weight = np.ascontiguousarray(self._weightOf(index, box, planes[2])) if self._weighted else None
        total = sums[2] if self._weighted else None
        return _core.stitchAdd(sums[0], sums[1], total, mask, count, *planes, weight, self._independent, self._compat)

    def _weightOf(self, index, box, variance):
        if self._weight == "taper":
            return taperWeight(self._cores[index], self._ramps[self._cores[index]], box)
        # Zero and infinite variances have weights too, so that pixels of nothing else get their plain mean.
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.clip(np.where(variance > 0, 1.0 / variance.astype(np.float64), 1e30), 1e-30, 1e30)

    def _load(self, name, first, end, out):
        """Sums of rows that enter the band: zero, or of what was written before."""
        if first < self._rows.top:
            raise ShapeError("inPlace: a patch reaches rows that are written already")
        self._rows.need(first, end)
        rows = slice(first - self._rows.top, end - self._rows.top)
        out[...] = 0
        count = self._rows.count[rows]
        if count.any():
            if self._weighted:
                raise ShapeError("with overlapWeight patches must stay within their expanded cell")
            np.copyto(out, getattr(self._rows, name)[rows], where=count > 0)
            if self._op == "average":
                power = 2 if name == "variance" and self._independent else 1
                out *= count.astype(np.float64) ** power

    # ------------------------------------------------------------------ closing

    def _settle(self, end):
        """Rows before ``end`` leave the band for the output."""
        band, rows = self._band, self._rows
        if end <= band.top:
            return
        out = slice(band.top - rows.top, end - rows.top)
        image, variance = (band.rows(name, band.top, end) for name in ("image", "variance"))
        weight = band.rows("weight", band.top, end) if self._weighted else None
        _core.stitchSettle(
            rows.image[out], rows.variance[out], image, variance, weight, rows.count[out],
            self._op == "average", self._independent,
        )  # fmt: skip
        band.drop(end)

    def _finalize(self, rows, part):
        """Flag the pixels of some rows that have no value, and count."""
        if self._compat:
            for name in self._badPlanes:
                rows.schema = rows.schema.add(name)
        planes = (plane[part] for plane in (rows.image, rows.mask, rows.variance, rows.count))
        bits = rows.schema.bitmask(self._badPlanes)
        largest, smallest, total, zero = _core.stitchFinish(*planes, bits, self._blanks, self._compat)
        if not self._copying:
            self.overlap["max"] = max(self.overlap["max"], largest)
            self.overlap["min"] = min(self.overlap["min"], smallest)
            self.overlap["sum"] += total
        self.overlap["zero"] += zero

    def finish(self):
        """The stitched exposure. Closes all rows."""
        self._close(self._bbox.height)
        return self._rows.finish()

    @property
    def taperOf(self):
        """Overlap widths (left, right, below, above) of each core box; empty without taper."""
        return self._ramps

    def statistics(self):
        """Metadata about the overlaps."""
        area = self._bbox.area
        out = {"numZeroPixels": self.overlap["zero"], "percentZeroPixels": 100.0 * self.overlap["zero"] / area}
        if not self._copying:
            out["maxOverlap"], out["minOverlap"] = self.overlap["max"], self.overlap["min"]
            out["meanOverlap"] = self.overlap["sum"] / area
        return out


def _contiguous(plane):
    """Pixels as the compiled loops read them: rows without gaps."""
    return plane if plane.strides[-1] == plane.itemsize else np.ascontiguousarray(plane)


def schedule(cells):
    """Positions in the list in the order of work: by lowest row, then column, then index."""
    return sorted(range(len(cells)), key=lambda i: (cells[i].core.minY, cells[i].core.minX, cells[i].index))


def _areDisjoint(boxes):
    """Whether no pixel lies in two boxes: a sweep over the rows, with the columns that are taken in a sorted list."""
    boxes = list(boxes)
    if len(set(boxes)) == len(boxes) and _isTiling(boxes):
        return True  # as of a regular grid
    events = []
    for b in boxes:
        if not b.isEmpty:
            events += [(b.minY, 1, b.minX, b.maxX), (b.maxY + 1, 0, b.minX, b.maxX)]
    taken = []  # disjoint (first, last) columns of the boxes at this row
    for _, opens, first, last in sorted(events):
        place = bisect.bisect_left(taken, (first, last))
        if not opens:
            del taken[place]
            continue
        if (place and taken[place - 1][1] >= first) or (place < len(taken) and taken[place][0] <= last):
            return False
        taken.insert(place, (first, last))
    return True


def _isTiling(boxes):
    """Whether the boxes are fields of one table, whose columns and rows do not overlap."""
    for sides in ({(b.minX, b.maxX) for b in boxes}, {(b.minY, b.maxY) for b in boxes}):
        ordered = sorted(sides)
        if any(after[0] <= before[1] for before, after in zip(ordered, ordered[1:])):
            return False
    return True


def overlapRamps(boxes):
    """Width of the overlap on each side of each box: (left, right, below, above), 0 without neighbour."""

    def sides(intervals):
        out = {}
        for low, high in intervals:
            before = [h for lo, h in intervals if lo < low <= h < high]
            after = [lo for lo, h in intervals if low < lo <= high < h]
            out[low, high] = (max(before) - low + 1 if before else 0, high - min(after) + 1 if after else 0)
        return out

    columns = sides({(b.minX, b.maxX) for b in boxes})
    rows = sides({(b.minY, b.maxY) for b in boxes})
    return {b: (*columns[b.minX, b.maxX], *rows[b.minY, b.maxY]) for b in boxes}


def ramp(low, high, before, after, positions):
    """Cosine ramps sin^2(pi/2 (d + 1/2) / o) at both ends of [low, high], 1 between; at positions inside.

    Ramps of neighbours with the same overlap o add to 1.
    """
    weight = np.ones(np.shape(positions))
    for overlap, distance in ((before, positions - low), (after, high - positions)):
        if overlap > 0:
            phase = np.clip((distance + 0.5) / overlap, 0.0, 1.0)
            weight = weight * np.sin(0.5 * np.pi * phase) ** 2
    return weight


def taperWeight(core, ramps, box):
    """Separable weights of a cell over a box, (height, width)."""
    left, right, below, above = ramps
    x = np.arange(box.minX, box.maxX + 1, dtype=float)
    y = np.arange(box.minY, box.maxY + 1, dtype=float)
    weight = np.outer(ramp(core.minY, core.maxY, below, above, y), ramp(core.minX, core.maxX, left, right, x))
    return np.maximum(weight, 1e-15)  # pixels of a patch outside its core weigh next to nothing, but are used
