"""Sets of footprints, from thresholding to merging."""

import numpy as np

from .. import _core, errors
from .boxes import boxOf, boxTuple, originOf
from .footprint import PEAK_DTYPE, Footprint
from .planes import asImageArray, asMaskArray, asVarianceArray
from .span_set import SpanSet
from .threshold import Threshold


class FootprintSet:
    """An immutable list of footprints and the box that was searched.

    Coordinates are PARENT. Footprint objects are made on first use; operations run on packed arrays.

    Parameters
    ----------
    footprints : iterable of `Footprint`
    region : `Box2I`
    """

    def __init__(self, footprints, region):
        self._footprints = tuple(footprints)
        spans = [f.spans.spans for f in self._footprints]
        peaks = [f.peaks for f in self._footprints]
        empty = np.zeros(0, peaks[0].dtype if peaks else PEAK_DTYPE)
        self._packed = (
            np.concatenate([np.empty((0, 3), np.int32), *spans]),
            _offsets(spans),
            np.concatenate([empty, *peaks]) if peaks else empty,
            _offsets(peaks),
        )
        self._region = boxTuple(region)

    @classmethod
    def _wrap(cls, packed, region, peaks=None):
        out = cls.__new__(cls)
        spans, spanOffsets, corePeaks, peakOffsets = packed
        out._packed = (spans, spanOffsets, corePeaks.astype(PEAK_DTYPE) if peaks is None else peaks, peakOffsets)
        out._region = region
        out._footprints = None
        return out

    @classmethod
    def detect(
        cls,
        image,
        threshold,
        plane="",
        npixMin=1,
        setPeaks=True,
        *,
        variance=None,
        xy0=None,
        edgePeaks=True,
        plateau="all",
        negativeOrder="depth",
    ):
        """Connected regions (8-connected) of pixels that reach a threshold.

        Parameters
        ----------
        image : Image, MaskedImage, Exposure, Mask or array
            Arrays and images need `variance` for a "pixel_stdev" threshold.
        threshold : `Threshold` or float
            A number is a "value" threshold.
        plane : str
            Mask plane to set on the footprints (masked images and exposures only); added when missing.
        npixMin : int
            Smaller footprints are dropped.
        setPeaks : bool
            Whether to look for peaks. Masks have none.
        variance : Image or array, optional
            Overrides the variance plane; for a "variance" threshold a number.
        xy0 : (int, int), optional
            Parent coordinates of the first pixel of a plain array.
        edgePeaks : bool
            Peaks within a pixel of the image's edge count. False: not, as in Rubin's code.
        plateau : {"all", "one"}
            Whether every pixel of a flat maximum is a peak, or one at its centroid.
        negativeOrder : {"depth", "value"}
            Order of the peaks of negative footprints: deepest first, or by falling value as in Rubin's code.

        Returns
        -------
        footprints : `FootprintSet`
            Numbered by first pixel in scan order (y, then x). NaN is never detected.
        """
        threshold = threshold if isinstance(threshold, Threshold) else Threshold(threshold)
        pixels, plain, varianceOf, mask = _parts(image)
        if plane and mask is None:
            raise errors.StillskyError("plane: only masked images and exposures have a mask to set")
        origin = originOf(pixels, xy0)
        control = makeControl(
            threshold.value, npixMin, setPeaks, threshold.includeMultiplier, edgePeaks, plateau, negativeOrder
        )
        if threshold.type == "bitmask" and plain:
            bits = asMaskArray(pixels, np.shape(getattr(pixels, "array", pixels)))
            packed = _core.detectBits(bits, int(threshold.value), control.minPixels, origin)
            out = cls._wrap(packed, (*origin, bits.shape[1], bits.shape[0]))
        else:
            control.positive, control.negative = threshold.polarity, not threshold.polarity
            array = asImageArray(pixels)
            noise = _setLevel(control, threshold, array, variance if variance is not None else varianceOf)
            packed = _core.detectFootprints(array, noise, control, origin)[0 if threshold.polarity else 1]
            out = cls._wrap(packed, (*origin, array.shape[1], array.shape[0]))
        out._numberPeaks()
        if plane:
            out.setMask(mask, plane)
        return out

    def _numberPeaks(self):
        self._packed[2]["id"] = np.arange(1, len(self._packed[2]) + 1)

    # -- access

    @property
    def region(self):
        """Box that was searched."""
        return boxOf(self._region)

    @property
    def footprints(self):
        """Tuple of `Footprint`."""
        if self._footprints is None:
            spans, spanOffsets, peaks, peakOffsets = self._packed
            region = boxOf(self._region)
            self._footprints = tuple(
                Footprint(
                    SpanSet(spans[spanOffsets[i] : spanOffsets[i + 1]]),
                    peaks[peakOffsets[i] : peakOffsets[i + 1]],
                    region,
                )
                for i in range(len(self))
            )
        return self._footprints

    def __len__(self):
        return len(self._packed[1]) - 1

    def __iter__(self):
        return iter(self.footprints)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return FootprintSet(self.footprints[index], self.region)
        return self.footprints[index]

    def __repr__(self):
        return f"FootprintSet({len(self)} footprints, {len(self.peaks)} peaks)"

    @property
    def areas(self):
        """Pixels in each footprint, int64."""
        spans, offsets = self._packed[:2]
        widths = np.concatenate([[0], np.cumsum(spans[:, 2] - spans[:, 1] + 1, dtype=np.int64)])
        return np.diff(widths[offsets])

    @property
    def boxes(self):
        """First and last column and row of each footprint, int (n, 4): x0, y0, x1, y1; none of them is empty."""
        spans, offsets = self._packed[:2]
        if not len(self):
            return np.zeros((0, 4), np.int64)
        start = offsets[:-1]
        return np.stack(
            [np.minimum.reduceat(spans[:, 1], start), np.minimum.reduceat(spans[:, 0], start),
             np.maximum.reduceat(spans[:, 2], start), np.maximum.reduceat(spans[:, 0], start)], axis=1,
        )  # fmt: skip

    @property
    def peaks(self):
        """The peaks of all footprints, one after the other."""
        return self._packed[2]

    @property
    def nPeaks(self):
        """Number of peaks in each footprint."""
        return np.diff(self._packed[3])

    @property
    def firstPeaks(self):
        """Index in `peaks` of the first peak of each footprint (of the next one, where a footprint has none)."""
        return self._packed[3][:-1]

    @property
    def spans(self):
        """`SpanSet` of all footprints together."""
        return SpanSet(self._packed[0])

    # -- operations

    def grown(self, radius, isotropic=True):
        """Every footprint dilated and clipped to the region; those that touch or overlap merge.

        Parameters
        ----------
        radius : int
            Pixels; DomainError when negative.
        isotropic : bool
            Circle, else diamond.
        """
        return self.merge(FootprintSet([], self.region), radius, 0, isotropic)

    def merge(self, other, growSelf=0, growOther=0, isotropic=True, byDepth=False):
        """Connected components (8-connected) of the union of two sets, after growing each.

        Peaks of all parts are kept, with their extra columns, and sorted by falling value (`byDepth`: rising).

        Raises
        ------
        DomainError
            Regions or peak columns differ, or a radius is negative.
        """
        if self._region != other._region:
            raise errors.DomainError(f"merge: regions differ: {self.region} and {other.region}")
        mine, theirs = self.peaks, other.peaks
        if len(mine) and len(theirs) and mine.dtype != theirs.dtype:
            raise errors.DomainError(f"merge: peak columns differ: {mine.dtype.names} and {theirs.dtype.names}")
        every = np.concatenate([mine, theirs]) if len(theirs) and len(mine) else (theirs if len(theirs) else mine)
        a, b = self._tagged(0), other._tagged(len(mine))
        packed = _core.mergeFootprints(
            a, b, self._region, int(growSelf), int(growOther), bool(isotropic), bool(byDepth)
        )
        return FootprintSet._wrap(packed, self._region, every[packed[2]["id"]])

    def _tagged(self, start):
        """Packed arrays whose peak ids are positions in the joined list."""
        spans, spanOffsets, peaks, peakOffsets = self._packed
        core = np.zeros(len(peaks), _CORE_PEAK)
        for name in ("i_x", "i_y", "f_x", "f_y", "peakValue", "significance"):
            core[name] = peaks[name]
        core["id"] = start + np.arange(len(peaks))
        return spans, spanOffsets, core, peakOffsets

    def subset(self, index):
        """The footprints of an index array, in its order."""
        index = np.asarray(index, int)
        spans, spanOffsets, peaks, peakOffsets = self._packed
        peaks, peakOffsets = _rowsOf(peaks, peakOffsets, index)
        out = FootprintSet._wrap((*_rowsOf(spans, spanOffsets, index), peaks, peakOffsets), self._region, peaks)
        if self._footprints is not None:
            out._footprints = tuple(self._footprints[i] for i in index)
        return out

    def withPeakColumns(self, **columns):
        """The same set with more columns in its list of peaks (one value per peak); merges keep them."""
        old = self.peaks
        more = {name: np.asarray(values) for name, values in columns.items()}
        peaks = np.zeros(len(old), old.dtype.descr + [(name, values.dtype.str) for name, values in more.items()])
        for name in old.dtype.names:
            peaks[name] = old[name]
        for name, values in more.items():
            peaks[name] = values
        spans, spanOffsets, _, peakOffsets = self._packed
        return FootprintSet._wrap((spans, spanOffsets, peaks, peakOffsets), self._region, peaks)

    def toIdImage(self):
        """int32 array of the region: 1, 2, ... on the footprints, 0 elsewhere; later ones overwrite."""
        return _core.footprintIdImage(self._tagged(0), self._region)

    def setMask(self, mask, plane, xy0=None):
        """Set a plane (name or bits) on all footprints, in place; a missing plane is added to the mask."""
        if isinstance(plane, str):
            if plane not in mask.schema:
                mask.addPlane(plane)
            plane = 1 << mask.bit(plane)
        self.spans.setMask(mask, plane, xy0)

    def makeSources(self, ids=None):
        """Astropy table with one row per footprint: id, parent, area, number and position of the first peak.

        Parameters
        ----------
        ids : sequence of int, optional
            Default 1, 2, ...
        """
        from .sources import sourceTable

        return sourceTable(self, ids)


def makeControl(
    value, minPixels=1, setPeaks=True, includeMultiplier=1.0, edgePeaks=True, plateau="all", negativeOrder="depth"
):
    """Options of the compiled detection; DomainError for unknown words."""
    if plateau not in ("all", "one"):
        raise errors.DomainError(f"plateau: wanted 'all' or 'one', got {plateau!r}")
    if negativeOrder not in ("depth", "value"):
        raise errors.DomainError(f"negativeOrder: wanted 'depth' or 'value', got {negativeOrder!r}")
    control = _core.DetectionControl()
    control.threshold = float(value)
    control.minPixels = int(minPixels)
    control.setPeaks = bool(setPeaks)
    control.includeMultiplier = float(includeMultiplier)
    control.edgePeaks = bool(edgePeaks)
    control.onePeakPerPlateau = plateau == "one"
    control.negativeByDepth = negativeOrder == "depth"
    return control


_CORE_PEAK = _core.detectBits(np.zeros((1, 1), np.int32), 1, 1, (0, 0))[2].dtype


def _offsets(parts):
    return np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)


def _rowsOf(values, offsets, index):
    """Rows of some parts of a packed array, one part after the other, and their offsets."""
    counts = offsets[index + 1] - offsets[index]
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return values[np.arange(ends[-1]) + np.repeat(offsets[index] - ends[:-1], counts)], ends


def _parts(image):
    """(image, whether it is a mask, variance, mask) of whatever holds pixels."""
    image = getattr(image, "maskedImage", image)
    if hasattr(image, "image") and hasattr(image, "mask"):
        return image.image, False, image.variance, image.mask
    isMask = hasattr(image, "schema") or (not hasattr(image, "array") and np.asarray(image).dtype.kind in "iub")
    return image, isMask, None, None


def _setLevel(control, threshold, array, variance):
    """Turn the threshold into a level; returns the variance plane where it is needed."""
    if threshold.type in ("value", "bitmask"):
        control.threshold = threshold.level()
        return None
    if threshold.type == "pixel_stdev":
        if variance is None:
            raise errors.DomainError("threshold of type 'pixel_stdev': wanted a variance plane, got none")
        control.pixelStdev = True
        return asVarianceArray(variance, array.shape)
    if threshold.type == "variance" and variance is not None and np.ndim(getattr(variance, "array", variance)) == 0:
        control.threshold = threshold.level(float(variance))
        return None
    sigma = clippedStdev(array)
    control.threshold = threshold.level(sigma if threshold.type == "stdev" else sigma**2)
    return None


def clippedStdev(array):
    """Clipped standard deviation of the finite pixels: 3 sigma, 3 rounds, float64 sums."""
    from ..stats import clippedStats

    return clippedStats(array, numSigma=3.0, numIter=3)[2]
