"""From a difference image to a table of sources: detect, merge, measure, judge."""

import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.table import Table

from .._version import __version__
from ..background.subtract import fitBackground
from ..detection import (
    FootprintSet,
    SpanSet,
    deblendFootprints,
    detectSources,
    findCosmicRays,
    mergeDetections,
    skySources,
)
from ..detection.config import detectionKeywords
from ..errors import DomainError, InvalidPsfError, NoDataError, ShapeError
from ..geom import Box2I
from ..image import Image, MaskedImage
from ..measure import measureSources
from .blends import resolveBlends
from .candidate_features import candidateFeatures, chi2Limit, flagCandidates, kernelUncertainty, leverage, modelError
from .detect_errors import BadSubtractionError, CosmicRayLimitError, NoDiaSourcesError, TooManyCosmicRays
from .difference_metrics import computeDifferenceImageMetrics, discFootprints, maskMetrics
from .freed_memory import returnFreedMemory
from .glints import GlintTrails, findGlintTrails
from .ids import IdGenerator
from .image_sky import overBands, skyOf
from .source_measure import measureAll
from .source_schema import SCHEMA_VERSION, sourceColumns

__all__ = ["DetectAndMeasureResult", "checkResult", "checkSourceFlags", "detectAndMeasure"]

_log = logging.getLogger("stillsky.diffim")
_DETECTION_PLANES = ("DETECTED", "DETECTED_NEGATIVE")
_BAND = 256  # rows of which a background is evaluated at once


@dataclass
class DetectAndMeasureResult:
    """What `detectAndMeasure` found.

    Attributes
    ----------
    difference : Exposure
        The one that was given: background subtracted, masks set, NaN where there is no data.
    sources : `astropy.table.Table`
        Columns of `sourceSchema`, by increasing id.
    footprints : `FootprintSet`
        One for each row.
    background : Background or None
        What was subtracted.
    glints : `GlintTrails`
    metadata : dict
        Counts and figures.
    timings : dict
        Seconds by stage.
    """

    difference: Any
    sources: Table
    footprints: FootprintSet
    background: Any = None
    glints: GlintTrails = None
    metadata: dict = field(default_factory=dict)
    timings: dict = field(default_factory=dict)

    @property
    def nSources(self):
        """Sources that are no sky sources."""
        return int(np.count_nonzero(~np.asarray(self.sources["sky_source"])))

    @property
    def candidates(self):
        """Rows that are neither sky sources nor flagged."""
        return self.sources[~np.asarray(self.sources["sky_source"]) & ~np.asarray(self.sources["candidate_flag"])]


def detectAndMeasure(
    science,
    matchedTemplate,
    difference,
    *,
    config=None,
    score=None,
    kernelSources=None,
    stars=None,
    ids=None,
    seed=None,
    sciencePsf=None,
    psfMode="science",
    covariance=None,
    noiseInflation=None,
    templateNoise=1.0,
    kernelTerms=6,
    skyIsIn=False,
):
    """Find and measure the sources of a difference image.

    Parameters
    ----------
    science, matchedTemplate, difference : `stillsky.image.Exposure`
        On one pixel grid; the difference with its PSF. Of the difference the mask changes, its background is
        subtracted if the configuration says so, and pixels with NO_DATA become NaN; the others are not modified.
    config : `DetectAndMeasureAlgorithmConfig`, optional
    score : Exposure, optional
        Likelihood image to detect on, without smoothing; its variance plane sets the thresholds. The measurement is
        on the difference all the same. Its mask changes, and its background with that of the difference.
    kernelSources : table with x and y, or array (n, 2), optional
        Stars of the kernel fit, PARENT pixels: their residuals are measured, and with them the kernel's uncertainty.
    stars : array, shape (n, 2), optional
        Positions of stars, for the distance to the nearest; default: those of `kernelSources`.
    ids : `IdGenerator` or `IdFactory`, optional
        Default: 1, 2, ...
    seed : int, optional
        Of the sky sources; default: the difference's id, or 0.
    sciencePsf : Psf, optional
        For the forced fluxes; default: the science image's, else the difference's.
    psfMode : {"science", "decorrelated", "zogy"}
        What the difference's PSF is, for the table's meta.
    covariance : `NoiseCovariance`, optional
        Of the difference: errors of apertures and PSF fluxes follow it. Default: pixels are independent.
    noiseInflation : float, optional
        By how much the noise of the smoothed difference exceeds that of independent pixels (`smoothedNoiseInflation`):
        significances are divided by it. Default: what the covariance says, else 1; always 1 for a score image.
    templateNoise : float
        By how much PSF fluxes of the matched template scatter more than its variance plane says (`convolvedNoiseFactor`
        of a template that was convolved).
    kernelTerms : int
        Terms of the variation of kernel and PSF over the image, of which the stars of the fit leave each a little
        uncertain: an error of the models that goes into those of dipoles.
    skyIsIn : bool
        The images, but for the difference, may have a sky: fluxes on them are measured without it (`skyOf`).

    Returns
    -------
    result : `DetectAndMeasureResult`
        Always, also when there is nothing; `checkResult` raises what a pipeline task raises.

    Raises
    ------
    InvalidPsfError
        The difference has no PSF, or one without a width.
    ShapeError
        The images differ in their boxes.
    DomainError
        A flag of badSourceFlags that no table has.
    IdOverflowError
        More sources than ids.
    TooManyCosmicRays
        More pixels than ``cosmicray.nCrPixelMax`` look like cosmic rays.
    """
    job = _Job(science, matchedTemplate, difference, config, score, psfMode, covariance, noiseInflation)
    job.templateNoise, job.kernelTerms, job.skyIsIn = float(templateNoise), int(kernelTerms), skyIsIn
    stars = _positions(kernelSources) if stars is None else np.asarray(stars, float).reshape(-1, 2)
    seed = int(seed if seed is not None else getattr(difference, "id", None) or 0)
    return job.run(_positions(kernelSources), stars, ids, seed, sciencePsf)


def checkSourceFlags(config, extraPlanes=()):
    """DomainError when badSourceFlags names a flag that the table will not have."""
    known = sourceColumns() | {
        f"base_PixelFlags_flag_{p.lower()}{s}" for p in extraPlanes for s in ("", "Center", "CenterAll")
    }
    unknown = [name for name in config.badSourceFlags if name not in known]
    if unknown:
        raise DomainError(f"badSourceFlags: no such column: {', '.join(unknown)}")


def checkResult(result, config):
    """Raise what the configuration (`DetectAndMeasureTaskFields`) wants a pipeline task to raise.

    Raises
    ------
    BadSubtractionError
        Residuals of the kernel stars above the limits.
    NoDiaSourcesError
        No source that is no sky source.
    """
    ratio, scatter = (result.metadata.get(f"residualFootprintRatio{n}", math.nan) for n in ("Mean", "Stdev"))
    limits = config.badSubtractionRatioThreshold, config.badSubtractionVariationThreshold
    if config.raiseOnBadSubtractionRatio and (ratio > limits[0] or scatter > limits[1]):
        raise BadSubtractionError(
            f"the kernel stars leave {ratio:.3g} of their light, scatter {scatter:.3g}: limits {limits[0]:g}, {limits[1]:g}",
            metadata={
                "ratio": float(ratio),
                "ratioThreshold": limits[0],
                "variation": float(scatter),
                "variationThreshold": limits[1],
            },
        )
    if config.raiseOnNoDiaSources and not result.nSources:
        names = ("nMergedDiaSources", "nRejectedBadMaskPlanes", "nRemovedBadFlaggedSources")
        raise NoDiaSourcesError(
            "no source in the difference image", metadata={n: int(result.metadata.get(n, 0)) for n in names}
        )


class _Job:
    """State of one detection."""

    def __init__(
        self, science, matchedTemplate, difference, config, score, psfMode, covariance=None, noiseInflation=None
    ):
        if config is None:
            from .detect_measure_config import DetectAndMeasureAlgorithmConfig

            config = DetectAndMeasureAlgorithmConfig()
        checkSourceFlags(config, config.measurement.extraPlanes)
        for name, other in (("science", science), ("matchedTemplate", matchedTemplate), ("score", score)):
            if other is not None and other.bbox != difference.bbox:
                raise ShapeError(f"{name}: wanted the difference's box {difference.bbox}, got {other.bbox}")
        self.science, self.template, self.difference, self.score = science, matchedTemplate, difference, score
        self.config, self.psfMode, self.covariance = config, psfMode, covariance
        self.psf = difference.psf
        self.sigma = _sigmaOf(self.psf)
        self.inflation = 1.0
        if score is None and config.compat != "reference":
            if noiseInflation is None and covariance is not None:
                from .noise_covariance import smoothedNoiseInflation

                noiseInflation = smoothedNoiseInflation(covariance, difference.bbox, self.sigma)
            self.inflation = noiseInflation or 1.0
        self.metadata, self.timings = {"noiseInflation": float(self.inflation)}, {}
        self.background = self.blends = None
        self.templateNoise, self.kernelTerms, self.modelError = 1.0, 6, 0.0
        self.skyIsIn, self._skies = False, {}

    @contextmanager
    def stage(self, name):
        start = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - start

    def skyOf(self, exposure):
        """The sky of an image, as `overBands` wants it; None: there is none."""
        if not self.skyIsIn or exposure is None:
            return None
        if id(exposure) not in self._skies:
            self._skies[id(exposure)] = skyOf(exposure)[0]
        return self._skies[id(exposure)]

    def _measure(self, footprints, flags, forcedPsf):
        return measureAll(self, footprints, flags, forcedPsf)

    def _find(self, seed):
        """Footprints of sources and sky positions, and a record of flags for each."""
        with self.stage("detect"):
            footprints, negative, positive = self._detect()
            sky = self._skySources(seed)
        footprints, flags = self._withSky(footprints, positive, negative, sky)
        footprints, flags = self._withoutBadPeaks(footprints, flags)
        with self.stage("blends"):
            return self._resolve(footprints, flags)

    def _resolve(self, footprints, flags):
        """Sources that overlap are fitted together, and opposite signs that are no dipole become rows of their own."""
        config, before = self.config, len(footprints)
        split = config.doMerge and config.doSplitOpposite and config.compat != "reference"
        if not (config.doDeblend or split):
            return footprints, flags
        footprints, flags, self.blends = resolveBlends(
            self.difference, footprints, flags, psf=self.psf, sigma=self.sigma, doAll=config.doDeblend, doSplit=split,
            threshold=config.detection.thresholdValue, maxFluxRatio=config.measurement.dipole.maxFluxRatio,
            maxChi2=lambda snr: chi2Limit(snr, config.candidates),
        )  # fmt: skip
        self.metadata["nPartedDiaSources"] = len(footprints) - before
        return footprints, flags

    def run(self, kernelStars, stars, ids, seed, sciencePsf):
        config = self.config
        returnFreedMemory()
        for exposure in filter(None, (self.difference, self.score)):
            _clear(exposure.mask, config.clearMaskPlanes)
        with self.stage("background"):
            if config.doSubtractBackground:
                self._subtractBackground()
        with self.stage("cosmicRays"):
            if config.doFindCosmicRays:
                self._findCosmicRays()
        footprints, flags = self._find(seed)
        returnFreedMemory()
        with self.stage("measure"):
            starFluxes = self._starFluxes(kernelStars)
            self.modelError = modelError(*starFluxes[1:], self.kernelTerms)
            forcedPsf = sciencePsf or getattr(self.science, "psf", None) or self.psf
            table = self._measure(footprints, flags, forcedPsf)
            table, footprints = self._withoutBadFlags(table, footprints)
        with self.stage("candidates"):
            table = self._judge(table, footprints, starFluxes, stars)
            glints = self._glints(table)
        with self.stage("metrics"):
            self._metrics(kernelStars, footprints, table)
            self._blankNoData()
        table["id"][:] = _newIds(ids, len(table))
        table.meta.update(self._meta(ids, seed))
        return DetectAndMeasureResult(
            self.difference, table, footprints, self.background, glints, self.metadata, self.timings
        )

    # ------------------------------------------------------------ preparation

    def _subtractBackground(self):
        """Two passes: a fine background shows the sources that the one to be subtracted must leave out."""
        config, searched = self.config, self.difference if self.score is None else self.score
        try:
            fine = fitBackground(self.difference.maskedImage, config.subtractInitialBackground, isNanSafe=True)
            flat = searched.image.array if fine is None else _less(searched.image.array, fine, searched.bbox)
            # only the mask is wanted: no peaks of complex footprints
            image = MaskedImage(Image(flat, searched.xy0), searched.mask, searched.variance)
            self._search(image, clear=True, doTempLocalBackground=False)
            del image, flat
        except NoDataError as error:
            _log.warning("no background: %s", error)
            return
        self._shareMask(searched)
        coarse = fitBackground(self.difference.maskedImage, config.subtractFinalBackground, isNanSafe=True)
        if coarse is not None:
            for exposure in filter(None, (self.difference, self.score)):
                _less(exposure.image.array, coarse, exposure.bbox, out=exposure.image.array)
            self.background = coarse

    def _shareMask(self, searched, planes=_DETECTION_PLANES):
        """Planes of the image that was searched, onto the difference."""
        if searched is self.difference:
            return
        for plane in planes:
            if plane in searched.mask.schema:
                bits = np.int32(1 << searched.mask.bit(plane))
                SpanSet.fromMask(searched.mask, int(bits)).setMask(
                    self.difference.mask, _bitOf(self.difference.mask, plane)
                )

    def _findCosmicRays(self):
        settings, faintest = self.config.cosmicray, self.config.cosmicray.min_DN
        if faintest is None and self.config.compat == "reference":
            faintest = 150.0  # whatever the units of the image
        try:
            rays = findCosmicRays(
                self.difference,
                minSigma=settings.minSigma,
                minDN=faintest,
                noiseFactor=settings.cond3_fac,
                contrastFactor=settings.cond3_fac2,
                iterations=settings.niteration,
                maxPixels=settings.nCrPixelMax,
                keep=settings.keepCRs,
            )
        except CosmicRayLimitError as error:
            limit = {"maxCosmicRays": int(settings.nCrPixelMax)}
            raise TooManyCosmicRays(*error.args, metadata=limit, background=self.background) from error
        self.metadata["cosmic_ray_count"] = len(rays)
        if self.score is not None:
            for spans in rays:
                spans.setMask(self.score.mask, _bitOf(self.score.mask, "CR"))

    # -------------------------------------------------------------- detection

    def _search(self, searched, clear, **other):
        keywords = {**detectionKeywords(self.config.detection), "polarity": "both", **other}
        if self.config.compat != "reference":
            keywords["missingMaskPlanes"] = tuple(self.config.missingMaskPlanes)
        if self.inflation != 1:
            keywords["noiseInflation"] = self.inflation
        return detectSources(searched, doSmooth=self.score is None, sigma=self.sigma, clearMask=clear, **keywords)

    def _detect(self):
        """(footprints, negative, positive): merged, in their order."""
        config, searched = self.config, self.difference if self.score is None else self.score
        found = self._search(searched, clear=True)
        self._shareMask(searched, (*_DETECTION_PLANES, "EDGE"))
        self.metadata.update(found.metadata)
        positive, negative = self._wanted(found)
        if config.doDeblend:
            level = config.detection.thresholdValue
            positive, _ = deblendFootprints(positive, self.difference, threshold=level)
            negative, _ = deblendFootprints(negative, self.difference, threshold=level, negative=True)
        self.metadata["nUnmergedDiaSources"] = len(positive) + len(negative)
        if config.doMerge:
            reach = None if config.compat == "reference" else config.maxLobeSeparation * self.sigma
            merged = mergeDetections(positive, negative, config.growFootprint, reach)
        else:
            merged = _unmerged(positive, negative)
        self.metadata["nMergedDiaSources"] = len(merged)
        return merged.footprints, merged.negative, merged.positive

    def _wanted(self, found):
        """Both polarities or one, as configured; the search is always for both, so that the mask shows both."""
        nothing = FootprintSet([], self.difference.bbox)
        polarity = self.config.detection.thresholdPolarity
        return (
            found.positive if polarity in ("both", "positive") else nothing,
            found.negative if polarity in ("both", "negative") else nothing,
        )

    def _skySources(self, seed):
        settings = self.config.skySources
        if not self.config.doSkySources:
            return None
        found = skySources(
            self.difference,
            seed,
            settings.nSources,
            radius=settings.sourceRadius,
            avoidPlanes=tuple(settings.avoidMask),
            growMask=settings.growMask,
            nTrials=settings.trials,
        )
        self.metadata["n_skySources"] = self.metadata["sky_footprint_count"] = len(found)
        return found

    def _withSky(self, footprints, positive, negative, sky):
        """All footprints in the order of their first peaks, and a record of flags for each."""
        n = len(footprints)
        flags = np.zeros(n + (0 if sky is None else len(sky)), [("positive", "?"), ("negative", "?"), ("sky", "?")])
        flags["positive"][:n], flags["negative"][:n], flags["sky"][n:] = positive, negative, True
        if sky is None or not len(sky):
            return footprints, flags[: len(footprints)]
        plain = np.zeros(len(sky.peaks), bool)
        sky = sky.withPeakColumns(merge_peak_positive=plain, merge_peak_negative=plain)
        return FootprintSet([*footprints, *sky], footprints.region), flags

    def _withoutBadPeaks(self, footprints, flags):
        """Sources on bad pixels dropped: those whose first peak is on one ("reference": any peak)."""
        if not self.config.doRejectBadMaskPlaneDetections:
            return footprints, flags
        mask = self.difference.mask
        bits = mask.bitmask(list(self.config.badMaskPlanes), ignoreMissing=True)
        x0, y0 = (int(v) for v in mask.xy0)
        peaks = footprints.peaks
        bad = (mask.array[peaks["i_y"] - y0, peaks["i_x"] - x0] & bits) != 0
        owner = np.repeat(np.arange(len(footprints)), footprints.nPeaks)
        drop = np.zeros(len(footprints), bool)
        if self.config.compat == "reference":
            drop[owner[bad]] = True
        else:
            some = footprints.nPeaks > 0
            drop[some] = bad[footprints.firstPeaks[some]]
            bad &= ~drop[owner]
            if bad.any():
                footprints = _dropPeaks(footprints, bad)
        self.metadata["nRejectedBadMaskPlanes"] = int(drop.sum())
        kept = np.flatnonzero(~drop)
        return footprints.subset(kept), flags[kept]

    def _withoutBadFlags(self, table, footprints):
        bad = np.zeros(len(table), bool)
        for name in self.config.badSourceFlags:
            if name in table.colnames:
                bad |= np.asarray(table[name], bool)
        self.metadata["nRemovedBadFlaggedSources"] = int(bad.sum())
        kept = np.flatnonzero(~bad)
        if self.blends is not None:
            self.blends = self.blends.subset(kept)
        return table[kept], footprints.subset(kept)

    # ------------------------------------------------------------- judgement

    def _judge(self, table, footprints, starFluxes, stars):
        """Features and flags of the candidates."""
        epsilon = kernelUncertainty(*starFluxes, predicted=self.modelError)
        self.metadata["kernelUncertainty"] = epsilon
        places = (np.asarray(table[f"base_SdssCentroid_{c}"], float) for c in "xy")
        epsilon = epsilon * leverage(*places, self.starPositions, self.kernelTerms)
        features = candidateFeatures(
            table, self.difference, self.template, self.psf, footprints=footprints, stars=stars, epsilon=epsilon,
            blends=self.blends, templateSky=self.skyOf(self.template),
        )  # fmt: skip
        meta = dict(table.meta)
        for name in features.colnames:
            table[name] = features[name]
        table.meta.clear()
        table.meta.update(meta)
        flagCandidates(table, self.config.candidates, None if self.blends is None else self.blends.groupOfRow)
        self.metadata["nGoodDiaSources"] = int(np.count_nonzero(~table["candidate_flag"] & ~table["sky_source"]))
        return table

    def _starFluxes(self, kernelStars):
        """PSF fluxes of the difference at the stars of the fit, their errors, and the fluxes of the matched template."""
        self.starPositions = np.zeros((0, 2))
        if kernelStars is None or not len(kernelStars) or self.template is None:
            return np.zeros((3, 0))
        stars = np.asarray(kernelStars[:400], float)

        def fluxes(exposure, rows):
            return measureSources(exposure, stars[rows], ["base_PsfFlux"], psf=self.psf)

        x, y = stars[:, :2].T
        kinds = [
            overBands(fluxes, exposure, sky, x, y, psf=self.psf)
            for exposure, sky in ((self.difference, None), (self.template, self.skyOf(self.template)))
        ]
        good = ~kinds[0]["base_PsfFlux_flag"] & ~kinds[1]["base_PsfFlux_flag"]
        self.starPositions = stars[np.asarray(good), :2]
        names = (0, "base_PsfFlux_instFlux"), (0, "base_PsfFlux_instFluxErr"), (1, "base_PsfFlux_instFlux")
        return np.array([np.asarray(kinds[k][name], float)[good] for k, name in names])

    def _glints(self, table):
        if not self.config.writeGlintInfo:
            return GlintTrails(np.zeros(len(table), bool))
        rows = np.flatnonzero(~np.asarray(table["sky_source"]) & ~np.asarray(table["candidate_flag"]))
        x, y = (np.asarray(table[f"base_SdssCentroid_{c}"], float)[rows] for c in "xy")
        found = findGlintTrails(x, y, float(self.difference.bbox.area))
        everyone = np.zeros(len(table), bool)
        everyone[rows] = found.onTrail
        found.onTrail = everyone
        table["glint_trail"][:] = everyone
        self.metadata["nGlintTrails"] = len(found.slopes)
        return found

    def _metrics(self, kernelStars, footprints, table):
        self.metadata.update(maskMetrics(self.difference.mask, self.config.detection.excludeMaskPlanes))
        if not self.config.doCalculateResidualMetics or kernelStars is None or not len(kernelStars):
            return
        radius = max(1, round(2.354820045 * self.sigma))
        discs = discFootprints(kernelStars[:, 0], kernelStars[:, 1], radius, self.difference.bbox)
        sky = footprints.subset(np.flatnonzero(np.asarray(table["sky_source"])))
        found = computeDifferenceImageMetrics(self.science, self.difference, discs, sky if len(sky) else None)
        for name in ("Mean", "Stdev"):
            self.metadata[f"residualFootprintRatio{name}"] = found[f"differenceFootprintRatio{name}"]
            self.metadata[f"differenceFootprintSkyRatio{name}"] = found[f"differenceFootprintSkyRatio{name}"]

    def _blankNoData(self):
        mask = self.difference.mask
        bits = mask.bitmask(["NO_DATA"], ignoreMissing=True)
        value = 0.0 if self.config.compat == "reference" else np.nan
        SpanSet.fromMask(mask, bits).setImage(self.difference.image, value) if bits else None

    def _meta(self, ids, seed):
        """What a table must say about itself."""
        info, label = getattr(self.difference, "visitInfo", None), getattr(self.difference, "filter", None)
        detector = getattr(self.difference, "detector", None)
        generator = ids if hasattr(ids, "meta") else IdGenerator()
        date = getattr(info, "date", None)
        return {
            "visit": _plain(getattr(info, "id", None)),
            "detector": _plain(getattr(detector, "id", None)),
            "band": _plain(getattr(label, "band", None)),
            "physical_filter": _plain(getattr(label, "physical", None)),
            "mjd": float(date.mjd) if hasattr(date, "mjd") else None,
            "exposure_time": _plain(getattr(info, "exposureTime", None)),
            **generator.meta,
            "algorithms": f"stillsky {__version__}",
            "threshold": float(self.config.detection.thresholdValue),
            "growFootprint": int(self.config.growFootprint),
            "flux_unit": str(getattr(self.difference, "fluxUnit", None) or "count"),
            "sky_seed": seed,
            "psf_mode": self.psfMode,
            "schema_version": SCHEMA_VERSION,
        }


def _plain(value):
    if value is None or isinstance(value, (str, bool, int)):
        return value
    value = float(getattr(value, "value", value)) if not hasattr(value, "item") else value.item()
    return None if value != value else value


def _sigmaOf(psf):
    """Width of a PSF as a Gaussian; InvalidPsfError when it has none."""
    if psf is None:
        raise InvalidPsfError("detectAndMeasure: the difference has no PSF")
    sigma = float(psf.matchedSigma(psf.averagePosition))
    if not (np.isfinite(sigma) and sigma > 0):
        raise InvalidPsfError(f"detectAndMeasure: the PSF of the difference has the width {sigma}")
    return sigma


def _less(pixels, background, bbox, out=None):
    """Pixels less a background, by bands of rows: beyond the result no plane is needed."""
    out = np.empty_like(pixels) if out is None else out
    for start in range(0, bbox.height, _BAND):
        rows = slice(start, min(start + _BAND, bbox.height))
        band = Box2I((bbox.minX, bbox.minY + start), (bbox.width, rows.stop - start))
        np.subtract(pixels[rows], background.imageArray(band, dtype=pixels.dtype), out=out[rows])
    return out


def _clear(mask, planes):
    for plane in planes:
        if plane in mask.schema:
            mask.clearPlane(plane)
        else:
            mask.addPlane(plane)


def _bitOf(mask, plane):
    if plane not in mask.schema:
        mask.addPlane(plane)
    return 1 << mask.bit(plane)


def _positions(sources):
    """(n, 2) positions of a table or an array; None stays None."""
    if sources is None:
        return None
    if hasattr(sources, "colnames"):
        pairs = [(f"{prefix}x", f"{prefix}y") for prefix in ("slot_Centroid_", "base_SdssCentroid_", "")]
        names = next((pair for pair in pairs if pair[0] in sources.colnames), None)
        if names is None:
            raise DomainError(
                "kernelSources: wanted columns slot_Centroid_x and y, base_SdssCentroid_x and y, or x and y"
            )
        sources = np.stack([np.asarray(sources[n], float) for n in names], axis=1)
    return np.asarray(sources, float).reshape(-1, 2)


def _dropPeaks(footprints, bad):
    """The same footprints without some of their peaks."""
    ends = np.cumsum(footprints.nPeaks)
    starts = ends - footprints.nPeaks
    return FootprintSet(
        [f._with(f.spans, f.peaks[~bad[a:b]]) for f, a, b in zip(footprints, starts, ends, strict=True)],
        footprints.region,
    )


def _unmerged(positive, negative):
    """Footprints of both polarities side by side, in the order of merged ones."""
    parts = [mergeDetections(positive, _none(positive), 0), mergeDetections(_none(negative), negative, 0)]
    merged = parts[0]
    merged.footprints = FootprintSet([*parts[0].footprints, *parts[1].footprints], positive.region)
    merged.positive, merged.negative = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("positive", "negative")
    )
    return merged


def _none(footprints):
    return FootprintSet([], footprints.region)


def _newIds(ids, n):
    if ids is None:
        ids = IdGenerator()
    factory = ids.makeFactory() if hasattr(ids, "makeFactory") else ids
    return factory.reserve(n)
