"""Patches into one exposure, as they come: float64 sums of the open rows only, everything else in the output itself."""

import bisect
import math

import numpy as np

from ..errors import DomainError, ShapeError
from ..image import Exposure
from .executors import sampleOf
from .output_rows import OutputRows, ReusedRows

__all__ = ["Stitcher"]

_PIXELS = {np.dtype(t) for t in (np.int32, np.uint16, np.float32, np.float64)}
_PROMOTED = {np.dtype(np.uint16): np.float32, np.dtype(np.int32): np.float64}


class _Band:
    """Float64 sums of the rows [top, top + n) of the image."""

    def __init__(self, width, names):
        self._width, self._names = width, names
        self.top = 0
        for name in names:
            setattr(self, name, np.zeros((0, width)))

    @property
    def end(self):
        return self.top + len(getattr(self, self._names[0]))

    def cover(self, first, end, load):
        """Extend to rows; ``load(name, first, end)`` gives the sums of new ones."""
        if self.top == self.end:
            self.top = first
            for name in self._names:
                setattr(self, name, np.zeros((0, self._width)))
        before, after = (first, self.top), (self.end, end)
        for name in self._names:
            parts = [load(name, *before)] if before[0] < before[1] else []
            parts.append(getattr(self, name))
            if after[0] < after[1]:
                parts.append(load(name, *after))
            if len(parts) > 1:
                setattr(self, name, np.concatenate(parts))
        self.top = min(self.top, first)

    def drop(self, end):
        n = end - self.top
        for name in self._names:
            setattr(self, name, getattr(self, name)[n:].copy())
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
        self._weighted = self._op == "average" and not compat and config.overlapWeight != "uniform"
        self._weight = config.overlapWeight if self._weighted else "uniform"
        self._independent = config.overlapVariance == "independent" and not compat
        self._badPlanes = list(config.badMaskPlanes)
        self._copying = self._op == "copy"
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
        fill = np.nan if self._copying else 0
        self._rows = rows(exposure, sample, _PROMOTED.get(dtype, dtype), schema, count, self._finalize, fill)
        self._translations = {}
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
        if not self._bbox.contains(patch.bbox):
            raise ShapeError(f"cell {index}: its patch {patch.bbox} is not inside the image {self._bbox}")
        image, variance = patch.image.array, patch.variance.array
        with np.errstate(invalid="ignore", over="ignore"):
            valid = np.isnan(image * variance) if self._compat else np.isnan(image) | np.isnan(variance)
        np.logical_not(valid, out=valid)
        self.validPixels[index] = self.validPixels.get(index, 0) + int(np.count_nonzero(valid))
        if not patch.bbox.isEmpty:
            ys, xs = patch.bbox.slices(self._bbox.min)
            self._rows.need(ys.start, ys.stop)
            mask = self._translated(patch.mask)
            where = (slice(ys.start - self._rows.top, ys.stop - self._rows.top), xs)
            if self._copying:
                self._copy(index, where, image, variance, mask, valid)
            else:
                self._accumulate(index, patch.bbox, where, (ys, xs), image, variance, mask, valid)
        self._done(index)

    def _translated(self, mask):
        """Mask pixels with the output's bits."""
        out, schema = self._rows, mask.schema
        if self._compat or schema == out.schema:
            return mask.array
        moves = self._translations.get(schema)
        if moves is None:
            for name in schema:
                out.schema = out.schema.add(name, schema.doc(name))
            moves = [(bit, out.schema.bit(name)) for name, bit in schema.items()]
            self._translations[schema] = moves
        result = np.zeros_like(mask.array)
        present = int(np.bitwise_or.reduce(mask.array, axis=None)) if mask.array.size else 0
        for old, new in moves:
            if present >> old & 1:
                result |= ((mask.array >> old) & 1) << new
        return result

    def _mergeMask(self, where, mask, valid, first, take):
        """Bits of the patches whose values are used; where none is, of all patches and the input."""
        out = self._rows.mask[where]
        if self._compat:
            out |= mask
            return
        np.copyto(out, mask, where=take)
        np.bitwise_or(out, mask, out=out, where=~valid & first)

    def _copy(self, index, where, image, variance, mask, valid):
        rows, writer = self._rows, self._rows.count[where]
        take = valid & (writer <= index)
        np.copyto(rows.image[where], image, where=take, casting="same_kind" if image.dtype.kind == "f" else "unsafe")
        np.copyto(rows.variance[where], variance, where=take, casting="same_kind")
        self._mergeMask(where, mask, valid, writer == 0, take)
        writer[take] = index + 1

    def _accumulate(self, index, box, where, place, image, variance, mask, valid):
        rows, (ys, xs) = self._rows, place
        count = rows.count[where]
        full = bool(valid.all())
        bandClosed = ys.stop <= self._band.top or ys.start >= self._band.end
        if self._disjoint and bandClosed and box == self._cores.get(index):
            # Nothing else touches these pixels: no sums are needed. A patch that does so after all reopens the rows.
            select = True if full else valid
            np.copyto(rows.image[where], image, where=select, casting="unsafe")
            np.copyto(rows.variance[where], variance, where=select, casting="unsafe")
        else:
            self._band.cover(ys.start, ys.stop, self._load)
            inBand = (slice(ys.start - self._band.top, ys.stop - self._band.top), xs)
            self._sum(index, box, inBand, image, variance, True if full else valid)
        first = count == 0
        if not first.all() and count.max() == np.iinfo(count.dtype).max:
            raise OverflowError(f"cell {index}: more than 65535 patches overlap at one pixel")
        if self._compat:
            rows.mask[where] |= mask
        else:
            out = rows.mask[where]
            np.copyto(out, 0, where=valid & first)
            np.bitwise_or(out, mask, out=out, where=valid | first)
        count += valid

    def _sum(self, index, box, where, image, variance, valid):
        band = self._band
        if not self._weighted:
            np.add(band.image[where], image, out=band.image[where], where=valid)
            np.add(band.variance[where], variance, out=band.variance[where], where=valid)
            return
        weight = self._weightOf(index, box, variance)
        power = weight * weight if self._independent else weight
        with np.errstate(invalid="ignore"):
            np.add(band.image[where], weight * image, out=band.image[where], where=valid)
            np.add(band.variance[where], power * variance, out=band.variance[where], where=valid)
        np.add(band.weight[where], weight, out=band.weight[where], where=valid)

    def _weightOf(self, index, box, variance):
        if self._weight == "taper":
            return taperWeight(self._cores[index], self._ramps[self._cores[index]], box)
        # Zero and infinite variances have weights too, so that pixels of nothing else get their plain mean.
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.clip(np.where(variance > 0, 1.0 / variance.astype(np.float64), 1e30), 1e-30, 1e30)

    def _load(self, name, first, end):
        """Sums of rows that enter the band: zero, or of what was written before."""
        if first < self._rows.top:
            raise ShapeError("inPlace: a patch reaches rows that are written already")
        self._rows.need(first, end)
        rows = slice(first - self._rows.top, end - self._rows.top)
        sums = np.zeros((end - first, self._bbox.width))
        count = self._rows.count[rows]
        if count.any():
            if self._weighted:
                raise ShapeError("with overlapWeight patches must stay within their expanded cell")
            np.copyto(sums, getattr(self._rows, name)[rows], where=count > 0)
            if self._op == "average":
                power = 2 if name == "variance" and self._independent else 1
                sums *= count.astype(np.float64) ** power
        return sums

    # ------------------------------------------------------------------ closing

    def _settle(self, end):
        """Rows before ``end`` leave the band for the output."""
        band, rows = self._band, self._rows
        if end <= band.top:
            return
        inBand = slice(0, end - band.top)
        out = slice(band.top - rows.top, end - rows.top)
        count = rows.count[out]
        some = count > 0
        image, variance = band.image[inBand], band.variance[inBand]
        if self._op == "average":
            norm = band.weight[inBand] if self._weighted else count.astype(np.float64)
            power = norm * norm if self._independent else norm
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                np.divide(image, norm, out=image, where=some)
                np.divide(variance, power, out=variance, where=some)
        with np.errstate(over="ignore"):
            np.copyto(rows.image[out], image, where=some, casting="unsafe")
            np.copyto(rows.variance[out], variance, where=some, casting="unsafe")
        band.drop(end)

    def _finalize(self, rows, part):
        """Flag the pixels of some rows that have no value, and count."""
        count = rows.count[part]
        none = count == 0
        if not self._copying:
            self.overlap["max"] = max(self.overlap["max"], int(count.max(initial=0)))
            self.overlap["min"] = min(self.overlap["min"], int(count.min(initial=65535)))
            self.overlap["sum"] += int(count.sum(dtype=np.int64))
        self.overlap["zero"] += int(np.count_nonzero(none))
        if self._op == "sum" and self._compat:
            return
        if self._compat:
            for name in self._badPlanes:
                rows.schema = rows.schema.add(name)
            none |= np.isnan(rows.image[part]) | np.isnan(rows.variance[part])
        if none.any():
            rows.image[part][none] = np.nan
            rows.variance[part][none] = np.nan
            rows.mask[part][none] |= np.int32(rows.schema.bitmask(self._badPlanes))

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


def schedule(cells):
    """Positions in the list in the order of work: by lowest row, then column, then index."""
    return sorted(range(len(cells)), key=lambda i: (cells[i].core.minY, cells[i].core.minX, cells[i].index))


def _areDisjoint(boxes):
    """Whether no pixel lies in two boxes: a sweep over the rows, with the columns that are taken in a sorted list."""
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
