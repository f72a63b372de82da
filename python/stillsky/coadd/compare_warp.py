"""Artifacts of single epochs, found by comparing PSF-matched warps with a clipped stack of them.

The rules are those of the compare-warp coadds of the Rubin pipelines (AlSayyad 2018, LSST DMTN-080 "Coaddition artifact
rejection and CompareWarp"): what differs from the static sky in few epochs is an artifact, what differs in many is a
variable or a defect of the model.
"""

import logging
from dataclasses import dataclass, field

import numpy as np

from .. import errors
from ..background import ExceedsMaxVarianceScaleError
from ..detection import FootprintSet, SpanSet
from ..fits.scratch import raiseFaultOfMachine
from ..geom import Box2I
from ..image import Image, Mask, MaskedImage
from .artifact_rules import fewEpochs, isTrail, joined, keepTrails, mostlyGood
from .artifact_steps import ArtifactSteps, findOutliers, findTemplateSources, isPositive, sourcePixels
from .warps import asWarp

__all__ = ["ArtifactSearch", "VisitArtifacts", "applyAltEdgeMask", "findArtifacts", "reorderAndPadList"]

_log = logging.getLogger(__name__)


@dataclass
class VisitArtifacts:
    """What one epoch showed. Numbers of candidates at each stage, and what went wrong."""

    found: int = 0  #: outliers detected
    candidates: int = 0  #: of these, not mostly on bad pixels
    masked: int = 0  #: of these, taken for artifacts
    trails: int = 0  #: of these, judged as whole trails
    streaks: int = 0  #: lines of the streak finder, masked besides
    maskedPixels: int = 0  #: pixels of all of them
    varianceFactor: float = 1.0  #: the variance plane was multiplied by this
    isUsable: bool = True  #: whether it has data at all
    note: str = ""  #: why the epoch gives no data, or which step failed


@dataclass
class ArtifactSearch:
    """Result of `findArtifacts`; a sequence of its ``altMasks``.

    Attributes
    ----------
    altMasks : `list` of `dict`
        For each epoch mask plane to list of `stillsky.detection.SpanSet`: CLIPPED (artifacts), NO_DATA (pixels without
        a value), EDGE (EDGE of the PSF-matched warp; absent where there is no warp), and with doFilterMorphological where
        there are any ``streakMaskName`` (streaks, which are CLIPPED too). Parent coordinates.
    epochCount, nImage : `stillsky.image.Image`, uint16
        Epochs with a candidate at each pixel, and epochs with good data.
    visits : `list` of `VisitArtifacts`
    templateSources : `stillsky.detection.FootprintSet` or None
        Inside which nothing is an artifact.
    """

    altMasks: list
    epochCount: Image
    nImage: Image
    visits: list = field(default_factory=list)
    templateSources: FootprintSet | None = None

    def __len__(self):
        return len(self.altMasks)

    def __iter__(self):
        return iter(self.altMasks)

    def __getitem__(self, index):
        return self.altMasks[index]

    @property
    def notes(self):
        """Epoch number to what went wrong there."""
        return {i: v.note for i, v in enumerate(self.visits) if v.note}


@dataclass
class _Found:
    """Candidates of one epoch: all that is kept of its difference."""

    candidates: list = field(default_factory=list)
    positive: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    streaks: list = field(default_factory=list)


def findArtifacts(
    template,
    psfMatchedWarps,
    config=None,
    *,
    weights=None,
    kept=None,
    scalers=None,
    sigma=None,
    strict=False,
    steps=None,
):
    """Find what single epochs have and the static sky has not.

    Parameters
    ----------
    template : `stillsky.image.Exposure` or `MaskedImage`
        Static sky; not changed. Its box is the one that is searched, its mask does not count.
    psfMatchedWarps : sequence
        Exposures, files or handles (see `stillsky.coadd.asWarp`), or None for an epoch that has no PSF-matched warp: that
        one has no data anywhere. Read one after the other, not changed. Where a warp does not reach there is no
        data.
    config : `CompareArtifactsConfig`, optional
        Any object with its fields.
    weights : sequence of float, optional
        Weights of the warps in the template. With them the variance of the difference has the covariance of warp and
        template: ``v (1 - 2 w/sum w) + V``. None: as for independent images.
    kept : `stillsky.image.Image` or `numpy.ndarray`, optional
        Samples that made each pixel of the template, for the sum of weights there; default: all.
    scalers : sequence, optional
        Objects with ``scaleMaskedImage(maskedImage)``, or None, for each warp.
    sigma : float, optional
        Width of the PSF, pixels; default: from the PSF of the warps, else of the template.
    strict : bool
        Raise what reading a warp raises; otherwise the epoch has no data, and a note says why.
    steps : `ArtifactSteps`, optional
        What detects, scales variances and finds streaks; default: the functions of stillsky with ``config``.

    Returns
    -------
    search : `ArtifactSearch`

    Raises
    ------
    InvalidPsfError
        No PSF and no sigma.
    ShapeError
        Lists of different lengths.
    NoDataError
        The template has no pixel with a value.

    Notes
    -----
    A positive and a negative outlier that touch are one candidate. The PSF of a clipped stack is not that of its inputs: the
    template serves to compare, the coadd is a mean of what is left.

    Peak memory: image, variance and mask of one difference, their like while its variance is scaled, two uint16 planes
    and the ids of the template's sources, besides the template. Cost: mostly that of scaling the variance.
    """
    config = _configOr(config)
    static = getattr(template, "maskedImage", template)
    if not np.isfinite(static.image.array).any():
        raise errors.NoDataError("findArtifacts: no pixel of the template has a value")
    steps = ArtifactSteps.ofConfig(config) if steps is None else steps
    search = _Search(template, config, _checked(weights, psfMatchedWarps, "weights"), kept, sigma, steps)
    scalers = _checked(scalers, psfMatchedWarps, "scalers") or [None] * len(psfMatchedWarps)
    for i, (warp, scaler) in enumerate(zip(psfMatchedWarps, scalers, strict=True)):
        search.add(i, warp, scaler, strict)
    return search.finish()


def _configOr(config):
    if config is not None:
        return config
    from .compare_warp_config import CompareArtifactsConfig

    return CompareArtifactsConfig()


def _checked(values, warps, name):
    if values is None:
        return None
    values = list(values)
    if len(values) != len(warps):
        raise errors.ShapeError(f"{name}: wanted one for each of {len(warps)} warps, got {len(values)}")
    return values


class _Search:
    """State over the box of the template while the epochs pass by."""

    def __init__(self, template, config, weights, kept, sigma, steps):
        self.template = getattr(template, "maskedImage", template)
        self.templatePsf = getattr(template, "psf", None)
        self.config, self.steps = config, steps
        self.box = self.template.bbox
        self.weights = weights
        self.kept = None if kept is None else getattr(kept, "array", kept)
        self.sigma = sigma
        shape = self.template.image.array.shape
        self.epochs, self.number = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
        self.found, self.altMasks, self.visits = [], [], []
        self.sources = (
            findTemplateSources(template, config, sigma, steps) if config.doPreserveContainedBySource else None
        )
        self.sourceIds = None if not self.sources else self.sources.toIdImage()
        self.bright = None  # pixels where the scatter is not that of the sky

    def add(self, i, warp, scaler, strict):
        """One epoch: difference, candidates, counts; its pixels are forgotten."""
        visit, found = VisitArtifacts(), _Found()
        self.visits.append(visit)
        self.found.append(found)
        read = self._read(warp, visit, strict)
        if read is None:
            visit.isUsable = False
            self.altMasks.append({"CLIPPED": [], "NO_DATA": [SpanSet.fromBox(self.box)]})
            return
        difference, sigma = self._difference(i, *read, scaler, visit)
        finite = np.isfinite(difference.image.array)
        bits = difference.mask.bitmask(list(self.config.badMaskPlanes), ignoreMissing=True)
        self.number += finite & ((difference.mask.array & bits) == 0)
        self._candidates(difference, sigma, visit, found)
        if found.candidates:
            self.epochs += joined(found.candidates).toBool(self.box)
        if self.config.doFilterMorphological:
            found.streaks = self._streaks(difference, sigma)
            visit.streaks = len(found.streaks)
        empty, edge = SpanSet.fromBool(~finite, self.box.min), SpanSet.fromMask(difference.mask, "EDGE")
        self.altMasks.append({"CLIPPED": [], "NO_DATA": [empty] if empty else [], "EDGE": [edge] if edge else []})

    def _read(self, warp, visit, strict):
        """Planes of a warp over the box (not its own memory) and its PSF; None if it has no pixel there."""
        if warp is None:
            visit.note = "no PSF-matched warp"
            return None
        try:
            warp = asWarp(warp)
            planes, psf = _overBox(warp, self.box), warp.get(component="psf")
            warp.release(warp.bbox.clipped(self.box))
        except (OSError, errors.StillskyError) as error:
            raiseFaultOfMachine(error)
            if strict:
                raise
            visit.note = f"unreadable: {error}"
            _log.warning("A PSF-matched warp cannot be read, its epoch counts as without data: %s", error)
            return None
        if planes is None or not np.isfinite(planes.image.array).any():
            visit.note = "no pixel has a value"
            return None
        return planes, psf

    def _difference(self, i, warp, psf, scaler, visit):
        """Warp minus template, in the memory of the warp; its variance knows that the warp is in the template."""
        config = self.config
        sigma = self.sigma if self.sigma is not None else _psfSigma(psf or self.templatePsf)
        if scaler is not None:
            scaler.scaleMaskedImage(warp)
        if config.doScaleWarpVariance:
            if not config.compat:
                self._markSources(warp, sigma)
            try:
                visit.varianceFactor = self.steps.scaleVariance(warp)
            except (ExceedsMaxVarianceScaleError, errors.NoDataError) as error:
                visit.note = f"variance not scaled: {error}"
                _log.warning("The variance of a warp cannot be scaled, it is used as it is: %s", error)
        warp.image.array[...] -= self.template.image.array
        share = None if self.weights is None or config.compat else self._share(i)
        _differenceVariance(warp.variance.array, self.template.variance.array, share)
        return warp, sigma

    def _markSources(self, warp, sigma):
        """Sources of the static sky are DETECTED, whoever made the warp: their scatter is not that of the noise."""
        if self.bright is None:
            self.bright = sourcePixels(self.template, sigma)
        warp.mask.array[self.bright] |= np.int32(warp.mask.bitmask("DETECTED"))

    def _share(self, i):
        """Part of the weight of the template that the warp has, at every pixel or everywhere."""
        good = [w for w in self.weights if np.isfinite(w) and w > 0]
        if not good or not self.weights[i] > 0:
            return 0.0
        if self.kept is None:
            return min(1.0, self.weights[i] / sum(good))
        with np.errstate(divide="ignore"):
            return np.minimum(1, np.float32(self.weights[i] / np.mean(good)) / self.kept.astype(np.float32))

    def _candidates(self, difference, sigma, visit, found):
        footprints = findOutliers(difference, self.config, sigma, self.steps.detect)
        spanSets = [f.spans for f in footprints]
        visit.found = len(spanSets)
        if self.config.doPrefilterArtifacts and spanSets:
            spanSets = _where(spanSets, mostlyGood(spanSets, difference.mask, self.config))
        visit.candidates = len(spanSets)
        found.candidates = spanSets
        found.positive = np.array([isPositive(s, difference.image) for s in spanSets], bool)

    def _streaks(self, difference, sigma):
        """Lines among the candidates that are left; those inside one source of the template are dropped."""
        for plane in ("DETECTED", "DETECTED_NEGATIVE"):
            difference.mask.clearPlane(plane)
        joined(self.found[-1].candidates).setMask(difference.mask, "DETECTED")
        grow = int(self.config.growStreakFp * sigma)
        spanSets = [line.spans for line in self.steps.findStreaks(difference)]
        if self.sourceIds is not None:
            spanSets = [s for s in spanSets if not _insideOne(s, self.sourceIds, self.box)]
        return [s.dilated(grow).clipped(self.box) for s in spanSets]

    def finish(self):
        """Keep the candidates that few epochs show."""
        config = self.config
        doTrails = config.doKeepTrails and not config.compat
        positives = [joined(_where(f.candidates, f.positive)) for f in self.found] if doTrails else []
        for found, altMask, visit in zip(self.found, self.altMasks, self.visits, strict=True):
            keep = fewEpochs(found.candidates, self.epochs, self.number, config, self.sourceIds, self.box)
            masked = _where(found.candidates, keep)
            if doTrails:
                trails = [s for s in _where(found.candidates, found.positive & ~keep) if isTrail(s, config)]
                trails = keepTrails(trails, positives, self.number, config, self.sourceIds, self.box)
                visit.trails = len(trails)
                masked += trails
            visit.masked = len(masked)
            altMask["CLIPPED"] = masked + found.streaks
            if found.streaks:
                altMask[config.streakMaskName] = found.streaks
            visit.maskedPixels = joined(altMask["CLIPPED"]).area
        epochs, number = (Image(plane, self.box.min) for plane in (self.epochs, self.number))
        return ArtifactSearch(self.altMasks, epochs, number, self.visits, self.sources)


def _overBox(warp, box):
    """A copy of the part of a warp in a box, NaN and NO_DATA where it does not reach; None without overlap."""
    shared = warp.bbox.clipped(box)
    if shared.isEmpty:
        return None
    planes = [np.array(a, t) for a, t in zip(warp.block(shared), (np.float32, np.int32, np.float32), strict=True)]
    schema = warp.schema  # after the pixels: behind a handle it then needs no read of its own
    for plane in ("EDGE", "DETECTED", "DETECTED_NEGATIVE"):
        schema = schema.add(plane)
    if shared != box:
        fills = (np.nan, schema.bitmask("NO_DATA", ignoreMissing=True), np.inf)
        planes = [_padded(plane, fill, shared, box) for plane, fill in zip(planes, fills, strict=True)]
    image, bits, variance = planes
    return MaskedImage(Image(image, box.min), Mask(bits, box.min, schema), Image(variance, box.min))


def _padded(plane, fill, shared, box):
    whole = np.full(box.shape, fill, plane.dtype)
    whole[shared.slices(box.min)] = plane
    return whole


def _where(spanSets, chosen):
    return [spanSets[i] for i in np.flatnonzero(chosen)]


def _psfSigma(psf):
    if psf is None:
        raise errors.InvalidPsfError("findArtifacts: neither the warp nor the template has a PSF; give sigma")
    xx, yy, xy = psf.computeShape(psf.averagePosition)
    return float(max(xx * yy - xy**2, 0.0) ** 0.25)


def _differenceVariance(variance, templateVariance, share):
    """Variance of warp minus template, in place of the warp's.

    With a share s of the template's weight: ``v (1 - 2 s) + V``, and at least the part ``v (1 - s)^2`` that is surely
    there when v was rescaled and V was not. Where the warp is all there is in the template, the variance is infinite:
    a difference that is zero by construction tells nothing.
    """
    if share is None:
        variance += templateVariance
        return
    with np.errstate(invalid="ignore"):  # infinite where there is no data
        least = variance * np.float32((1 - share) ** 2) if np.ndim(share) == 0 else variance * (1 - share) ** 2
        variance *= np.float32(1 - 2 * share) if np.ndim(share) == 0 else 1 - 2 * share
        variance += templateVariance
        np.maximum(variance, least, out=variance)
    variance[~(variance > 0)] = np.inf


def _insideOne(spanSet, ids, box):
    found = np.unique(spanSet.clipped(box).flatten(ids, box.min))
    return len(found) == 1 and found[0] > 0


def applyAltEdgeMask(mask, altMaskList):
    """Mark the pixels of a coadd to which a PSF-matched warp gave its edge.

    Parameters
    ----------
    mask : `stillsky.image.Mask`
        Of the coadd; SENSOR_EDGE and INEXACT_PSF are added to its planes and set, in place.
    altMaskList : iterable of `dict`
        As of `findArtifacts`; entries without EDGE, and None, are passed over.
    """
    for plane in ("SENSOR_EDGE", "INEXACT_PSF"):
        mask.addPlane(plane)
    box = Box2I(mask.xy0, mask.dimensions)
    for altMask in altMaskList:
        for spanSet in (altMask or {}).get("EDGE", ()):
            spanSet.clipped(box).setMask(mask, ["SENSOR_EDGE", "INEXACT_PSF"])


def reorderAndPadList(inputList, inputKeys, outputKeys, padWith=None):
    """Elements in the order of other keys.

    Parameters
    ----------
    inputList, inputKeys : sequences
        Elements and their keys.
    outputKeys : iterable
        Keys wanted.
    padWith : object
        For keys that are not among `inputKeys`.

    Returns
    -------
    outputList : `list`
    """
    inputKeys = list(inputKeys)
    if len(inputKeys) != len(inputList):
        raise errors.ShapeError(f"inputKeys: wanted {len(inputList)}, got {len(inputKeys)}")
    return [inputList[inputKeys.index(key)] if key in inputKeys else padWith for key in outputKeys]
