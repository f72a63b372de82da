"""Footprints: detected regions with their peaks."""

import numpy as np

from .. import errors
from .boxes import boxTuple, originOf
from .span_set import SpanSet

#: Columns of a list of peaks; more may follow and survive merges.
PEAK_DTYPE = np.dtype(
    [
        ("id", np.int64),
        ("i_x", np.int32),
        ("i_y", np.int32),
        ("f_x", np.float64),
        ("f_y", np.float64),
        ("peakValue", np.float64),
        ("significance", np.float64),
    ]
)


class Peak:
    """One row of a list of peaks, by name: ``id, i_x, i_y, f_x, f_y, peakValue, significance`` and extra columns.

    `i_x`, `i_y` is the pixel and `f_x`, `f_y` the position, both PARENT. `significance` is the value over its standard
    deviation, positive for both polarities; 0 where it is not known.
    """

    __slots__ = ("_row",)

    def __init__(self, row):
        self._row = row

    def __getattr__(self, name):
        if name in self._row.dtype.names:
            return self._row[name].item()
        raise AttributeError(f"peak has no column {name!r}; columns: {', '.join(self._row.dtype.names)}")

    def __repr__(self):
        return f"Peak(i_x={self.i_x}, i_y={self.i_y}, peakValue={self.peakValue:.6g})"


def makePeaks(rows=()):
    """A peak array from (x, y, value) triples; the pixel is the rounded position."""
    out = np.zeros(len(rows), PEAK_DTYPE)
    for i, (x, y, value) in enumerate(rows):
        out[i] = (i + 1, np.floor(x + 0.5), np.floor(y + 0.5), x, y, value, 0)
    return out


def sortedPeaks(peaks, byDepth=False):
    """Peaks by falling value (rising with `byDepth`); ties by x, then y."""
    value = peaks["peakValue"] if byDepth else -peaks["peakValue"]
    return peaks[np.lexsort((peaks["i_y"], peaks["i_x"], value))]


class Footprint:
    """A region, its peaks, and the box of the image that was searched.

    Parameters
    ----------
    spans : `SpanSet`
    peaks : structured array with the columns of `PEAK_DTYPE`, optional
    region : `Box2I`, optional
        Default: the box of the spans.
    """

    __slots__ = ("_region", "peaks", "spans")

    def __init__(self, spans, peaks=None, region=None):
        self.spans = spans if isinstance(spans, SpanSet) else SpanSet(spans)
        self.peaks = np.zeros(0, PEAK_DTYPE) if peaks is None else peaks
        self._region = region

    @property
    def region(self):
        """Box of the image that was searched."""
        return self.spans.bbox if self._region is None else self._region

    @property
    def area(self):
        """Number of pixels."""
        return self.spans.area

    @property
    def bbox(self):
        """Smallest box around the pixels."""
        return self.spans.bbox

    @property
    def centroid(self):
        """Mean pixel position (x, y)."""
        return self.spans.centroid

    def contains(self, point):
        """Whether the pixel of (x, y) belongs to the footprint."""
        return self.spans.contains(point)

    def __repr__(self):
        return f"Footprint({self.area} pixels, {len(self.peaks)} peaks)"

    def _with(self, spans, peaks):
        return Footprint(spans, peaks, self._region)

    def _peaksIn(self, spans):
        inside = [spans._core.containsPoint(int(x), int(y)) for x, y in self.peaks[["i_x", "i_y"]]]
        return self.peaks[np.array(inside, bool)]

    def shifted(self, dx, dy):
        """Footprint, peaks and region moved by whole pixels."""
        peaks = self.peaks.copy()
        for name, step in (("i_x", dx), ("f_x", dx), ("i_y", dy), ("f_y", dy)):
            peaks[name] += step
        region = None if self._region is None else self._region.shifted((int(dx), int(dy)))
        return Footprint(self.spans.shifted(dx, dy), peaks, region)

    def clipped(self, box):
        """The part inside a box; peaks outside the box are dropped."""
        x0, y0, width, height = boxTuple(box)
        x, y = self.peaks["i_x"], self.peaks["i_y"]
        inside = (x >= x0) & (x < x0 + width) & (y >= y0) & (y < y0 + height)
        return self._with(self.spans.clipped(box), self.peaks[inside])

    def dilated(self, radius, stencil="circle"):
        """Spans dilated; the peaks stay."""
        return self._with(self.spans.dilated(radius, stencil), self.peaks)

    def eroded(self, radius, stencil="circle"):
        """Spans eroded; peaks outside the rest are dropped."""
        spans = self.spans.eroded(radius, stencil)
        return self._with(spans, self._peaksIn(spans))

    def split(self, connectivity=8):
        """List of connected parts, each with the peaks that it contains."""
        return [self._with(part, self._peaksIn(part)) for part in self.spans.split(connectivity)]

    def transformed(self, forward, inverse=None, region=None):
        """Spans as `SpanSet.transformed`; positions of the peaks mapped, their pixels from rounding.

        `region` is the box of the new frame; default: that of the new spans.
        """
        spans = self.spans.transformed(forward, inverse)
        peaks = self.peaks.copy()
        for peak in peaks:
            try:
                peak["f_x"], peak["f_y"] = forward(peak["f_x"], peak["f_y"])
            except TypeError:
                peak["f_x"], peak["f_y"] = forward((peak["f_x"], peak["f_y"]))
            peak["i_x"], peak["i_y"] = np.floor(peak["f_x"] + 0.5), np.floor(peak["f_y"] + 0.5)
        return Footprint(spans, peaks, region)

    def sortPeaks(self, byDepth=False):
        """Sort in place: value descending (with `byDepth` ascending), ties by x, then y."""
        self.peaks = sortedPeaks(self.peaks, byDepth)

    def updateSignificance(self, sigma=None, *, variance=None, polarity=True, xy0=None):
        """Fill the significance of the peaks.

        Parameters
        ----------
        sigma : float, optional
            Divide the peak values by this.
        variance : image or array, optional
            Divide by the square root of the variance at each peak; negative polarity flips the sign.
        polarity : bool
            True for positive detections.
        """
        if (sigma is None) == (variance is None):
            raise errors.DomainError("updateSignificance: give either sigma or variance")
        self.peaks = self.peaks.copy()
        sign = 1.0 if polarity else -1.0
        if sigma is not None:
            self.peaks["significance"] = sign * self.peaks["peakValue"] / sigma
            return
        x0, y0 = originOf(variance, xy0)
        plane = np.asarray(getattr(variance, "array", variance))
        noise = np.sqrt(plane[self.peaks["i_y"] - y0, self.peaks["i_x"] - x0].astype(float))
        self.peaks["significance"] = sign * self.peaks["peakValue"] / noise
