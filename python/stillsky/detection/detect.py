"""Source detection: smooth, threshold, grow, paint."""

import math
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from .. import _core, errors
from ..geom import Box2I
from .footprint import Footprint
from .footprint_set import FootprintSet, makeControl
from .planes import asImageArray, asMaskArray, asVarianceArray
from .sources import sourceTable
from .span_set import SpanSet

STATS_MASK = ("BAD", "SAT", "EDGE", "NO_DATA")
_TEMP_ROWS = 32  # of a cell of the temporary background are used: its error is 2 % of a pixel's noise
POLARITIES = {"positive": (True, False), "negative": (False, True), "both": (True, True)}


@dataclass
class DetectionResult:
    """What `detectSources` found. A sequence of the footprints wanted: those of `footprints`."""

    positive: FootprintSet  #: footprints of positive sources; empty when not sought
    negative: FootprintSet  #: footprints of negative sources, deepest peak first; empty when not sought
    polarity: str
    factor: float  #: the positive threshold was multiplied by this
    factorNeg: float  #: the negative threshold was multiplied by this
    thresholds: dict = field(default_factory=dict)  #: levels in image units, or numbers of standard deviations
    metadata: dict = field(default_factory=dict)  #: doSmooth, sigma (pixels), smoothingKernelWidth, nGrow (pixels)
    background: object = None  #: temporary local background, if one was needed

    @property
    def footprints(self):
        """The footprints of the polarity asked for; of "both", the two sets merged where they touch."""
        if self.polarity == "both":
            return self.positive.merge(self.negative)
        return self.positive if self.polarity == "positive" else self.negative

    @property
    def numPos(self):
        """Number of positive footprints."""
        return len(self.positive)

    @property
    def numNeg(self):
        """Number of negative footprints."""
        return len(self.negative)

    @property
    def numPosPeaks(self):
        """Number of peaks in positive footprints."""
        return len(self.positive.peaks)

    @property
    def numNegPeaks(self):
        """Number of peaks in negative footprints."""
        return len(self.negative.peaks)

    def __len__(self):
        return len(self.footprints)

    def __iter__(self):
        return iter(self.footprints)

    def __getitem__(self, index):
        return self.footprints[index]

    def sources(self, ids=None):
        """Table with one row per footprint, negative ones first; see `sourceTable`."""
        joined = FootprintSet([*self.negative, *self.positive], self.positive.region)
        return sourceTable(joined, ids, np.arange(len(joined)) < len(self.negative))


def detectSources(
    exposure,
    threshold=5.0,
    thresholdType="pixel_stdev",
    polarity="positive",
    *,
    doSmooth=True,
    sigma=None,
    psf=None,
    minPixels=1,
    nSigmaToGrow=2.4,
    isotropicGrow=True,
    combinedGrow=True,
    returnOriginalFootprints=False,
    includeThresholdMultiplier=1.0,
    nSigmaForKernel=7.0,
    excludeMaskPlanes=(),
    missingMaskPlanes=(),
    statsMask=STATS_MASK,
    clearMask=True,
    doTempLocalBackground=True,
    tempBinSize=64,
    nPeaksMaxSimple=1,
    factor=1.0,
    factorNeg=None,
    edgePeaks=True,
    plateau="all",
    noiseInflation=1.0,
):
    """Find sources on an exposure and paint them on its mask.

    The image is smoothed with a Gaussian of the PSF's determinant radius; the part that the image's edges do not touch
    is searched; footprints grow by ``int(nSigmaToGrow*sigma + 0.5)`` pixels; DETECTED and DETECTED_NEGATIVE are set on
    them, EDGE on the part that was not searched.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        Background subtracted. Only its mask changes. Pixels that are not finite, or whose variance is not finite and
        positive, are left out of the smoothing and never detected.
    threshold : float
        Level.
    thresholdType : {"pixel_stdev", "stdev", "variance", "value"}
        "pixel_stdev": times the square root of the smoothed variance; "stdev", "variance": times the clipped standard
        deviation of the smoothed image without `statsMask`; "value": image units.
    polarity : {"positive", "negative", "both"}
        What to look for.
    doSmooth : bool
        False: the image is smoothed already, search it as it is.
    sigma, psf : float, Psf
        Width in pixels, or where to take it from; default: the exposure's PSF. Needed also without smoothing, for the
        growth.
    minPixels : int
        Smaller footprints are dropped, before growing.
    nSigmaToGrow, isotropicGrow, combinedGrow : float, bool, bool
        Growth in units of sigma; by a circle or a diamond; whether footprints that then touch merge.
    returnOriginalFootprints : bool
        Return footprints before growth; the mask has the grown ones.
    includeThresholdMultiplier : float
        One pixel of a footprint must reach this many times the level.
    nSigmaForKernel : float
        Full width of the smoothing kernel in units of sigma.
    excludeMaskPlanes : sequence of str
        Pixels that such a plane touches (after smoothing) count as 0.
    missingMaskPlanes : sequence of str
        Pixels of such a plane are missing, as those that are not finite: neither their values nor their noise enter the
        smoothing, and nothing is detected on them. What lies beside them is found at its true significance.
    statsMask : sequence of str
        Planes left out of the clipped standard deviation.
    clearMask : bool
        Clear DETECTED and DETECTED_NEGATIVE first.
    doTempLocalBackground, tempBinSize, nPeaksMaxSimple : bool, int, int
        Footprints with more than `nPeaksMaxSimple` peaks get their peaks from the image minus a fine background.
    factor, factorNeg : float
        Multiply the thresholds of the two polarities; `factorNeg` None: the same.
    edgePeaks, plateau
        As in `FootprintSet.detect`.
    noiseInflation : float
        By how much the noise of the smoothed image exceeds what the variance plane says of independent pixels, where
        neighbouring pixels are correlated: "pixel_stdev" thresholds are raised and significances lowered by it.

    Returns
    -------
    result : `DetectionResult`

    Raises
    ------
    InvalidPsfError
        No PSF and no sigma, or one that is not finite and positive.
    DomainError
        Bad settings.
    """
    if polarity not in POLARITIES:
        raise errors.DomainError(f"polarity: wanted {', '.join(POLARITIES)}, got {polarity!r}")
    if not 0 < noiseInflation < math.inf:
        raise errors.DomainError(f"noiseInflation: wanted a positive number, got {noiseInflation}")
    inflation = float(noiseInflation) if thresholdType == "pixel_stdev" else 1.0
    masked = getattr(exposure, "maskedImage", exposure)
    sigma = _psfSigma(exposure, psf, sigma)
    nGrow = int(nSigmaToGrow * sigma + 0.5)
    if clearMask:
        _clear(masked.mask)
    missing = masked.mask.bitmask(list(missingMaskPlanes), ignoreMissing=True) if missingMaskPlanes else 0
    smooth = _Smoothed(masked, sigma if doSmooth else None, nSigmaForKernel, missing)
    smooth.inflation = inflation
    try:
        smooth.zero(masked.mask, excludeMaskPlanes)
        control = makeControl(threshold, minPixels, True, includeThresholdMultiplier, edgePeaks, plateau)
        level, noise = _level(thresholdType, threshold, smooth, masked.mask, statsMask)
        factors = (factor, factor if factorNeg is None else factorNeg)
        found = _search(
            smooth,
            control,
            level * inflation,
            thresholdType == "pixel_stdev",
            POLARITIES[polarity],
            factors,
            masked.bbox,
        )
        background = None
        if doTempLocalBackground and any((f.nPeaks > nPeaksMaxSimple).any() for f in found):
            background = _tempBackground(masked, statsMask, tempBinSize)
            cut = (level, noise if noise is None else 1.0, factors)
            found = [_repeaked(f, smooth, background, control, i, nPeaksMaxSimple, cut) for i, f in enumerate(found)]
        for f, sign in zip(found, (1, -1), strict=True):
            f.peaks["significance"] = smooth.significance(f.peaks, sign, noise)
    finally:
        smooth.restore()
    grown = [_grow(f, nGrow, isotropicGrow, combinedGrow, i == 1) for i, f in enumerate(found)]
    for f, plane, wanted in zip(grown, ("DETECTED", "DETECTED_NEGATIVE"), POLARITIES[polarity], strict=True):
        if wanted:
            f.setMask(masked.mask, plane)
    smooth.setEdge(masked.mask)
    positive, negative = found if returnOriginalFootprints else grown
    metadata = {"doSmooth": bool(doSmooth), "sigma": sigma, "smoothingKernelWidth": smooth.width, "nGrow": nGrow}
    thresholds = {"positive": level * factors[0], "negative": level * factors[1], "type": thresholdType}
    return DetectionResult(positive, negative, polarity, *factors, thresholds, metadata, background)


class _Smoothed:
    """The image that is searched: pixels, variance, and where the searched part begins."""

    def __init__(self, masked, sigma, nSigma, missing):
        image = asImageArray(masked.image)
        variance = asVarianceArray(masked.variance, image.shape)
        self.xy0 = tuple(int(v) for v in masked.xy0)
        self.shape = image.shape
        if sigma is None:
            self.half, self.width = 0, 0
            self.image, self.variance, self._isCopy = image, variance, False
        else:
            self.width = _core.gaussianKernelWidth(sigma, nSigma)
            self.half = self.width // 2
            mask = asMaskArray(masked.mask, self.shape) if missing else None
            whole = _core.smoothGaussian(image, variance, mask, missing, sigma, self.width)
            inner = tuple(slice(self.half, max(self.half, n - self.half)) for n in image.shape)
            self.image, self.variance = (plane[inner] for plane in whole)
            self._isCopy = True
        self.origin = (self.xy0[0] + self.half, self.xy0[1] + self.half)
        self._kept = []  # spans and what the caller's image had there
        if sigma is None and missing:
            self._put(SpanSet.fromMask(asMaskArray(masked.mask, self.shape), missing, self.xy0), np.nan)
        self.inflation = 1.0  # of the noise beyond the variance

    def _writable(self):
        """Without smoothing the image is the caller's: what changes is put back by `restore`, unless it is read only."""
        if not self._isCopy and not self.image.flags.writeable:
            self.image, self._isCopy = np.array(self.image), True

    def _put(self, spans, value):
        self._writable()
        if not self._isCopy:
            self._kept.append((spans, spans.flatten(self.image, self.origin)))
        spans.setImage(self.image, value, self.origin)

    def restore(self):
        """Give the caller's image its pixels back."""
        while self._kept:
            spans, values = self._kept.pop()
            spans.unflatten(values, self.image, self.origin)

    @property
    def box(self):
        return Box2I(self.origin, (self.image.shape[1], self.image.shape[0]))

    def maskPart(self, mask):
        x, y = self.half, self.half
        return asMaskArray(mask, self.shape)[y : y + self.image.shape[0], x : x + self.image.shape[1]]

    def zero(self, mask, planes):
        """Set pixels to 0 that the planes touch: the kernel spreads a mask over its whole box."""
        bits = mask.bitmask(list(planes), ignoreMissing=True) if planes else 0
        if bits:
            self._put(SpanSet.fromMask(mask, bits).dilated(self.half, "box").clipped(self.box), 0)

    @contextmanager
    def without(self, background, footprints):
        """The image less a background where there are footprints, for as long as the context lasts.

        In place: a plane of its own, of which little is needed, would be the largest piece of memory of the search.
        """
        self._writable()
        parts = []
        for x0, y0, x1, y1 in footprints.boxes:
            box = Box2I((x0, y0), (x1 - x0 + 1, y1 - y0 + 1)).dilated(1).clipped(self.box)
            parts.append((box, box.slices(self.origin)))
        kept = [self.image[cut].copy() for _, cut in parts]
        try:
            for (box, cut), pixels in zip(parts, kept, strict=True):  # boxes may overlap: always from what was kept
                np.subtract(pixels, background.imageArray(box, dtype=pixels.dtype), out=self.image[cut])
            yield self.image
        finally:
            for (_, cut), pixels in zip(parts, kept, strict=True):
                self.image[cut] = pixels

    def significance(self, peaks, sign, noise):
        """Absolute peak values over their standard deviations; `noise` is one number, or None for the plane's."""
        if noise is None:
            y, x = peaks["i_y"] - self.origin[1], peaks["i_x"] - self.origin[0]
            noise = self.inflation * np.sqrt(self.variance[y, x].astype(float))
        return sign * peaks["peakValue"] / noise if np.all(np.isfinite(noise)) else np.zeros(len(peaks))

    def setEdge(self, mask):
        whole = SpanSet.fromBox(Box2I(self.xy0, (self.shape[1], self.shape[0])))
        whole.difference(SpanSet.fromBox(self.box)).setMask(mask, mask.bitmask("EDGE"))


def _psfSigma(exposure, psf, sigma):
    if sigma is None:
        psf = getattr(exposure, "psf", None) if psf is None else psf
        if psf is None:
            raise errors.InvalidPsfError("detectSources: the exposure has no PSF; give psf or sigma")
        xx, yy, xy = psf.computeShape(psf.averagePosition)
        sigma = (xx * yy - xy**2) ** 0.25 if xx * yy > xy**2 else math.nan
    if not (math.isfinite(sigma) and sigma > 0):
        raise errors.InvalidPsfError(f"detectSources: wanted a finite positive sigma of the PSF, got {sigma}")
    return float(sigma)


def _clear(mask):
    for plane in ("DETECTED", "DETECTED_NEGATIVE"):
        if plane in mask.schema:
            mask.clearPlane(plane)


def _level(thresholdType, threshold, smooth, mask, statsMask):
    """(threshold of the compiled search, noise of every peak: None per pixel, NaN unknown)."""
    if thresholdType == "pixel_stdev":
        return float(threshold), None
    if thresholdType == "value":
        return float(threshold), math.nan
    if thresholdType not in ("stdev", "variance"):
        raise errors.DomainError(
            f"thresholdType: wanted 'pixel_stdev', 'stdev', 'variance' or 'value', got {thresholdType!r}"
        )
    from ..stats import clippedStats

    bits = mask.bitmask(list(statsMask), ignoreMissing=True)
    stdev = clippedStats(smooth.image, np.ascontiguousarray(smooth.maskPart(mask)), bits)[2]
    if not stdev > 0:
        raise errors.NoDataError(f"detectSources: the image's standard deviation is {stdev}; no level can be set")
    return float(threshold) * stdev, stdev if thresholdType == "stdev" else math.nan


def _search(smooth, control, level, perPixel, wanted, factors, region):
    """Footprints of both polarities; one pass when the levels agree."""
    control.pixelStdev = perPixel
    variance = smooth.variance if perPixel else None
    bbox = (region.minX, region.minY, region.width, region.height)
    passes = [wanted] if factors[0] == factors[1] else [(wanted[0], False), (False, wanted[1])]
    packed = [None, None]
    for positive, negative in passes:
        control.positive, control.negative = positive, negative
        control.threshold = level * factors[0 if positive else 1]
        both = _core.detectFootprints(smooth.image, variance, control, smooth.origin)
        packed = [
            new if old is None or on else old for old, new, on in zip(packed, both, (positive, negative), strict=True)
        ]
    out = [FootprintSet._wrap(p, bbox) for p in packed]
    for f in out:
        f._numberPeaks()
    return out


def _tempBackground(masked, statsMask, binSize):
    from ..background import makeBackground
    from ..stats import StatisticsControl

    planes = [*statsMask, "DETECTED", "DETECTED_NEGATIVE"]
    bits = masked.mask.bitmask(planes, ignoreMissing=True)
    nx, ny = (max(1, math.ceil(n / binSize)) for n in (masked.bbox.width, masked.bbox.height))
    return makeBackground(
        masked,
        nx=nx,
        ny=ny,
        rowStep=max(1, binSize // _TEMP_ROWS),
        undersample="REDUCE_INTERP_ORDER",
        statControl=StatisticsControl(andMask=bits, nanSafe=True),
    )


def _repeaked(footprints, smooth, background, control, which, nPeaksMaxSimple, cut):
    """Peaks of complex footprints from the image less a local background.

    New peaks must reach the threshold again; a footprint left with none keeps its first old peak. `which` is 0 for
    positive and 1 for negative footprints.
    """
    chosen = np.flatnonzero(footprints.nPeaks > nPeaksMaxSimple)
    if not len(chosen):
        return footprints
    sign, (level, noise, factors) = (1, -1)[which], cut
    complexOnes = footprints.subset(chosen)
    with smooth.without(background, complexOnes) as lowered:
        fresh = _core.findFootprintPeaks(
            complexOnes._tagged(0), footprints._region, lowered, which == 0, control, smooth.origin
        )
    enough = smooth.significance(fresh[2], sign, noise) >= level * factors[which]
    owner = np.repeat(np.arange(len(chosen)), np.diff(fresh[3]))
    found = np.bincount(owner[enough], minlength=len(chosen))
    spans, spanOffsets, peaks, peakOffsets = footprints._packed
    # Old peaks stay in simple footprints, and the first one in those that have no new peak.
    old = np.ones(len(peaks), bool)
    rank = np.arange(len(peaks)) - np.repeat(peakOffsets[:-1], footprints.nPeaks)
    of = np.repeat(np.arange(len(footprints)), footprints.nPeaks)
    isComplex, renewed = np.zeros((2, len(footprints)), bool)
    isComplex[chosen], renewed[chosen] = True, found > 0
    old[isComplex[of]] = (rank == 0)[isComplex[of]]
    old[renewed[of]] = False
    joined = np.concatenate([peaks[old], fresh[2][enough].astype(peaks.dtype)])
    joinedOf = np.concatenate([of[old], chosen[owner[enough]]])
    joined = joined[np.argsort(joinedOf, kind="stable")]
    counts = np.bincount(joinedOf, minlength=len(footprints))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    result = FootprintSet._wrap((spans, spanOffsets, joined, offsets), footprints._region, joined)
    result._numberPeaks()
    return result


def _grow(footprints, radius, isotropic, combined, byDepth):
    if radius == 0:
        return footprints
    if combined:
        empty = FootprintSet([], footprints.region)
        return footprints.merge(empty, radius, 0, isotropic, byDepth)
    stencil = "circle" if isotropic else "manhattan"
    region = footprints.region
    return FootprintSet(
        [Footprint(f.spans.dilated(radius, stencil).clipped(region), f.peaks, region) for f in footprints], region
    )
