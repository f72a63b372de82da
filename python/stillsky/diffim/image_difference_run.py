"""The difference of one science image and its template, step by step, with the subtasks of ImageDifferenceTask."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DomainError, NoDataError, StillskyError
from ..image import Exposure, Mask, MaskedImage
from ..kernel import AnalyticKernel, FixedKernel, GaussianFunction2
from ..psfmatch import CandidateStatus
from ..psfmatch.difference import bandsOnBox
from ..psfmatch.errors import NoKernelCandidatesError
from ..psfmatch.psf_fwhm import FWHM_PER_SIGMA, evaluateMeanPsfFwhm
from ..task_base import assignMetadata
from .alard_lupton_difference import divideBySum, kernelSum
from .alard_lupton_inputs import combinedLimit, fiveSigmaMagnitude, limitingMagnitude
from .decorrelate_task import DecorrelateALKernelSpatialTask
from .kernel_stars import KernelStars, NoKernelStarsError, addControl, splitControl
from .match_sources import idsOf, pairsWithin
from .preconvolve import filterWithPsf, makePrefilter
from .resampling_noise import ResamplingNoise
from .zogy_subtract import subtractedTemplate

__all__ = ["DifferenceProducts", "KernelStarChoice", "calibratedLike", "prepared", "psfSigma", "withBackground"]

_PAIR_RADIUS = 1.0  # arcsec; sources of science image and template that belong together


@dataclass
class DifferenceProducts:
    """What a subtraction leaves; None where it was not made.

    Attributes
    ----------
    difference, score : `stillsky.image.Exposure`
        Finished, that is after decorrelation.
    warped, matched : `stillsky.image.Exposure`
        Template on the science grid, and the image that was convolved.
    result : `lsst.pipe.base.Struct`
        Of the subtraction task.
    template : `stillsky.image.Exposure`
        What the measurement takes for the template: as it was subtracted, on the science flux scale.
    psfMode : `str`
    compared : `stillsky.image.Exposure`
        The science image that the kernel of ``result`` was fitted to: filtered, when it is that of the score.
    """

    difference: Any = None
    score: Any = None
    warped: Any = None
    matched: Any = None
    result: Any = None
    template: Any = None
    psfMode: str = "science"
    compared: Any = None


# ------------------------------------------------------------------------------------------------ inputs


def withBackground(exposure, background, overwrite=False):
    """The exposure with its background added back; the image of a copy changes, unless `overwrite`.

    Parameters
    ----------
    background : `stillsky.image.Image`, Exposure or array of the exposure's shape, or an object with ``getImage()``
    """
    if background is None:
        raise DomainError("doAddCalexpBackground: wanted calexpBackgroundExposure, got None")
    if hasattr(background, "getImage"):
        background = background.getImage()
    pixels = getattr(getattr(background, "image", background), "array", background)
    if np.shape(pixels) != exposure.image.array.shape:
        raise DomainError(
            f"calexpBackgroundExposure: wanted the shape {exposure.image.array.shape}, got {np.shape(pixels)}"
        )
    if not overwrite:
        own = exposure.maskedImage
        exposure = Exposure(MaskedImage(own.image.copy(), own.mask, own.variance), exposure.info)
    exposure.image.array[...] += np.asarray(pixels, exposure.image.array.dtype)
    return exposure


def prepared(exposure, name):
    """The exposure with NO_DATA on all pixels without a value or a variance; planes are shared where nothing changes.

    Raises
    ------
    NoDataError
        Not a single pixel has both.
    """
    own = exposure.maskedImage
    broken = ~(np.isfinite(own.image.array) & np.isfinite(own.variance.array))
    if broken.all():
        raise NoDataError(f"{name}: no pixel has a finite value and variance", found="every pixel is NaN or infinite")
    mask = own.mask
    if (broken & ~mask.isSet("NO_DATA")).any():
        mask = Mask(mask.array.copy(), mask.xy0, mask.schema)
        mask.array[broken] |= np.int32(1 << mask.bit("NO_DATA"))
        exposure = Exposure(MaskedImage(own.image, mask, own.variance), exposure.info)
    return exposure


def psfSigma(exposure):
    """Determinant radius of a PSF at its average position; where it is not defined there, from a grid of positions."""
    psf = exposure.psf
    try:
        sigma = float(psf.determinantRadius(psf.averagePosition))
        if math.isfinite(sigma) and sigma > 0:
            return sigma
    except (StillskyError, ValueError, ArithmeticError):
        pass
    return evaluateMeanPsfFwhm(exposure, 0.05, 10) / FWHM_PER_SIGMA


# ------------------------------------------------------------------------------------------------ kernel stars


class KernelStarChoice:
    """Stars of the kernel fit and of the control sample (spec: doSelectSources).

    Parameters
    ----------
    task : `ImageDifferenceTask`
    science : `stillsky.image.Exposure`
    sources : `astropy.table.Table`
        Of the science image; may get columns, its rows are handed out.
    templateSources : `astropy.table.Table` or None

    Attributes
    ----------
    matches : `list`
        (reference, row of sources), with ``kernelSourcesFromRef`` of reference objects, else of template sources.
    stars : `KernelStars`
    """

    def __init__(self, task, science, sources, templateSources):
        self.task, self.science, self.sources = task, science, sources
        self.matches = self._matches(templateSources)
        self.stars = self._choose()

    kernelSources = property(lambda self: self._rows(self.stars.kernel), doc="Sources that the kernel is fitted to.")
    controlSources = property(
        lambda self: self._rows(self.stars.control), doc="Sources kept aside, to judge the kernel by."
    )

    def _rows(self, rows):
        return [self.sources[int(row)] for row in rows]

    def _matches(self, templateSources):
        if self.task.config.kernelSourcesFromRef:
            return self.task.astrometer.loadAndMatch(self.science, self.sources).matches
        if templateSources is None:
            raise StillskyError(
                "doSelectSources: wanted templateSources, got None", remedy="give them, or set kernelSourcesFromRef"
            )
        pairs = pairsWithin(templateSources, self.sources, _PAIR_RADIUS)
        return [(templateSources[first], second) for first, second, _ in pairs]

    def _choose(self):
        config, run = self.task.config, self.task.sourceSelector.run
        found = run(self.sources, matches=self.matches, exposure=self.science).selected
        matched = np.zeros(len(self.sources), bool)
        matched[[row for _, row in self.matches]] = True
        chosen = np.asarray(found, bool) & matched
        stars = splitControl(chosen, config.controlStepSize, config.controlRandomSeed, idsOf(self.sources))
        if not len(stars.kernel):
            counts = {"nSources": len(self.sources), "nSelected": int(np.sum(found)), "nMatched": int(matched.sum())}
            raise NoKernelStarsError(
                "doSelectSources: no kernel star is left",
                found=f"{len(self.sources)} sources, {counts['nSelected']} selected, {counts['nMatched']} matched",
                remedy="other limits of sourceSelector",
                metadata=counts,
            )
        more = []
        if config.doSelectDcrCatalog:
            more += [self._byColour(config.controlGrMax, 99.999), self._byColour(-99.999, config.controlGrMin)]
        if config.doSelectVariableCatalog:
            more.append(self._byColour(config.controlGrMin, config.controlGrMax, includeVariable=True))
        return addControl(stars, *more) if more else KernelStars(stars.kernel, stars.control)

    def _byColour(self, grMin, grMax, **values):
        from .star_selector_config import DiaCatalogSourceSelectorConfig
        from .star_selectors import selectByReference

        config = DiaCatalogSourceSelectorConfig()
        config.update(grMin=grMin, grMax=grMax, **values)
        return np.flatnonzero(selectByReference(self.sources, self.matches, config))


# ------------------------------------------------------------------------------------------------ al


class AlardLupton:
    """The Alard-Lupton difference, and the likelihood image if that is what sources are searched on.

    Parameters
    ----------
    task : `ImageDifferenceTask`
    science : `stillsky.image.Exposure`
    template : `stillsky.image.Exposure`
        On the science grid, or to be warped onto it.
    kernelSources : `list` of rows, or None
    templateCorrelation : `ResamplingNoise`, optional
        Of a template that has been resampled already: it must lie on the science grid.
    """

    def __init__(self, task, science, template, kernelSources, templateCorrelation=None):
        self.task, self.science, self.template = task, science, template
        self.kernelSources, self.correlation = kernelSources, templateCorrelation
        self.doWarping = templateCorrelation is None

    def run(self):
        """`DifferenceProducts`; with a score image the difference serves the measurement alone."""
        config = self.task.config
        if not config.useScoreImageDetection:
            return self._difference()
        if self.kernelSources is None:  # one list for both fits: on the filtered image sources run together
            self.kernelSources = self.task.subtract.getSelectSources(self.science, sigma=psfSigma(self.science))
        made = self._difference() if config.doMeasurement else DifferenceProducts()
        self._score(made)
        return made

    def _subtract(self, science):
        try:
            return self.task.subtract.subtractExposures(
                self.template,
                science,
                candidateList=self.kernelSources,
                doWarping=self.doWarping,
                convolveTemplate=self.task.config.convolveTemplate,
            )
        except NoKernelCandidatesError:
            raise
        except NoDataError as error:
            raise NoKernelStarsError(*error.args, found=error.found, remedy=error.remedy) from error

    def _decorrelate(self, result, subtracted, **keywords):
        config = self.task.config
        if not config.decorrelates:
            return subtracted
        if isinstance(self.task.decorrelate, DecorrelateALKernelSpatialTask):
            # one filter, of the centre, would leave correlated noise wherever the PSFs are others than there
            keywords["tiled"] = not config.decorrelate.decorrelateConfig.compat
        return self.task.decorrelate.run(
            self.science,
            result.warpedExposure,
            subtracted,
            result.psfMatchingKernel,
            spatiallyVarying=config.doSpatiallyVarying,
            templateCorrelation=self._correlation(result),
            **keywords,
        ).correctedExposure

    def _correlation(self, result):
        """How the noise of the template is correlated by its resampling; None: it was not resampled here."""
        if self.correlation is not None or result.warpedExposure is self.template:
            return self.correlation
        kernel = self.task.subtract.kConfig.warpingConfig.warpingKernelName
        return ResamplingNoise((self.science.wcs, self.template.wcs), kernel)

    def _difference(self):
        config = self.task.config
        result = self._subtract(self.science)
        difference = result.subtractedExposure
        if difference.psf is None:
            difference.psf = (self.science if config.convolveTemplate else result.warpedExposure).psf
        difference = self._decorrelate(result, difference, templateMatched=config.convolveTemplate)
        matched = result.matchedExposure
        if config.convolveTemplate:
            matched.psf = self.science.psf
            template = matched
        else:
            matched.psf = result.warpedExposure.psf
            template = templateAsSubtracted(result)
        mode = "decorrelated" if config.decorrelates else "science"
        return DifferenceProducts(
            difference, None, result.warpedExposure, matched, result, template, mode, self.science
        )

    def _score(self, made):
        psf = self.science.psf
        if self.task.config.useGaussianForPreConvolution:
            sigma = psfSigma(self.science)
            size = np.array(psf.computeKernelImage(psf.averagePosition).array.shape[::-1]) // 2 * 2 + 1
            stamp = AnalyticKernel(*(int(n) for n in size), GaussianFunction2(sigma, sigma)).imageAt(0.0, 0.0)
            prefilter = FixedKernel(np.ascontiguousarray(stamp / stamp.sum()))
        else:
            prefilter = makePrefilter(psf)
        filtered, nInterpolated = filterWithPsf(self.science, prefilter)
        assignMetadata(self.task.metadata, {"nInterpolated": int(nInterpolated)})
        result = self._subtract(filtered)
        score = result.subtractedExposure
        if score.psf is None:
            score.psf = filtered.psf
        made.score = self._decorrelate(result, score, preConvKernel=prefilter, preConvMode=True)
        made.result, made.compared = result, filtered
        made.warped = result.warpedExposure
        if made.matched is None:
            made.matched = result.matchedExposure


def templateAsSubtracted(result):
    """The template that a convolved science image was compared with, on the science flux scale: ``(T - b) / s``.

    Parameters
    ----------
    result : `lsst.pipe.base.Struct`
        Of `ImagePsfMatchTask.subtractExposures` with ``convolveTemplate=False``.
    """
    warped = result.warpedExposure
    pixels = warped.maskedImage.copy()
    divideBySum(pixels, kernelSum(result.psfMatchingKernel))
    for rows, values in bandsOnBox(result.scienceBackground, pixels.bbox):
        pixels.image.array[rows] += values
    return Exposure(pixels, warped.info, wcs=result.matchedExposure.wcs, photoCalib=result.matchedExposure.photoCalib)


def usedStars(subtract):
    """(n, 2) positions of the stars that the last kernel fit of a subtraction task rests on."""
    fit = getattr(subtract, "fit", None)
    candidates = [] if fit is None else fit.candidates
    return np.array([(c["x"], c["y"]) for c in candidates if c["usedInFit"]], float).reshape(-1, 2)


# ------------------------------------------------------------------------------------------------ zogy


def properDifference(task, science, template):
    """The proper difference and score as `DifferenceProducts`.

    The template that was subtracted is what the difference took off the science image, on the flux scale of the
    difference.
    """
    result = task.subtract.run(science, template, doWarping=True)
    config = task.subtract.zogyTask.config
    ours, theirs = science, result.warpedExposure
    scale = 1.0
    if config.scaleByCalibration:
        ours, theirs = calibratedLike(ours), calibratedLike(theirs)
    else:
        scale = config.scienceFluxScaling
        pixels = ours.maskedImage.copy()
        pixels /= scale
        ours = Exposure(pixels, ours.info)
    ratio = float(result.ftDiff.metadata["zogyBeta"]) / scale
    subtracted = subtractedTemplate(ours, theirs, result.diffExp, science.psf, ratio)
    return DifferenceProducts(
        result.diffExp, result.scoreExp, result.warpedExposure, None, result, subtracted, "zogy"
    ), ours


def calibratedLike(exposure):
    """The exposure with its pixels in nJy."""
    return Exposure(exposure.photoCalib.calibrateImage(exposure.maskedImage), exposure.info)


# ------------------------------------------------------------------------------------------------ quality of kernel stars


class KernelQuality:
    """Columns on the quality of kernel stars, in the catalogue of the science image (spec: doAddMetrics)."""

    def __init__(self, task, science, template):
        from ..psfmatch.kernel_candidate_qa import KernelCandidateQa

        widths = [FWHM_PER_SIGMA * psfSigma(exposure) for exposure in (template, science)]
        if task.config.useScoreImageDetection:
            widths[1] *= math.sqrt(2.0)
        self.task = task
        self.nParameters = len(task.subtract.makeKernelBasisList(*widths))
        self.qa = KernelCandidateQa(self.nParameters)

    def withColumns(self, sources):
        """The sources with the columns of the quality figures."""
        return self.qa.addToSchema(sources)

    def fill(self, choice, made):
        """Judge the stars of the fit, and those kept aside with a kernel of their own."""
        science = made.compared
        result = made.result
        kernel, background = result.psfMatchingKernel, result.backgroundModel
        used = [c for c in result.kernelCellSet.allCandidates() if c.source is not None]
        self.qa.apply(used, kernel, background, dof=self.nParameters)
        aside = choice.controlSources
        if not aside:
            return
        subtract = self.task.subtract
        basis = subtract.makeKernelBasisList(*(FWHM_PER_SIGMA * psfSigma(e) for e in (made.warped, science)))
        pair = (made.warped, science) if self.task.config.convolveTemplate else (science, made.warped)
        try:
            stamps = subtract.makeCandidateList(made.warped, science, basis[0].width, aside)
        except NoDataError:
            return
        cells = subtract._buildCellSet(pair[0].maskedImage, pair[1].maskedImage, stamps)
        control = list(cells.allCandidates())
        for candidate in control:
            try:
                candidate.build(basis)
                candidate.status = CandidateStatus.GOOD  # else it counts as never judged
            except (StillskyError, ValueError, ArithmeticError) as error:
                candidate.status = CandidateStatus.BAD
                self.task.log.debug("Control star %d: no kernel of its own (%s)", candidate.id, error)
        self.qa.apply(control, kernel, background, dof=0)

    def aggregate(self, sources, residuals, diaSources):
        """Summary of the quality columns, and the count of false positives, into the task's metadata."""
        self.qa.aggregate(sources, self.task.metadata, residuals, diaSources)


def registrationResiduals(task, choice, templateSources, selectSources):
    """Residuals of the last registration by colour, into the metadata; by source id for the quality columns.

    Returns
    -------
    residuals : `dict`
        id -> ((ra, dec), (bearing, distance)), radians.
    """
    from .register import skyPositions

    colour = np.full(len(selectSources), np.nan)
    for reference, row in choice.matches:
        g, r = (reference[n] if n in reference.colnames else np.nan for n in ("g_flux", "r_flux"))
        if g > 0 and r > 0:
            colour[row] = -2.5 * math.log10(g / r)
    config = task.config
    found = task.register.noteResiduals(
        templateSources, selectSources, colour, config.controlGrMin, config.controlGrMax
    )
    rows = task.register.registration.matches.first
    ra, dec = (v[rows] for v in skyPositions(selectSources))
    arcsec = math.radians(1 / 3600)
    return {
        int(selectSources["id"][row]): (
            (float(a), float(d)), (math.atan2(lat, long), math.hypot(lat, long) * arcsec)
        )
        for row, a, d, long, lat in zip(rows, ra, dec, found.long, found.lat)
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ figures of merit


def decorrelationFigures(task):
    """Metadata of the last decorrelation: ratio of the variances, kernel sum, tiles, correlation of neighbours."""
    if not (task.config.doSubtract and task.config.decorrelates):
        return {}
    known = getattr(getattr(task.decorrelate, "last", task.decorrelate), "metadata", {})
    if "scienceVariance" not in known:
        return {}
    return {
        "decorrelationVarianceRatio": known["templateVariance"] / known["scienceVariance"],
        "decorrelationKernelSum": known["kernelSum"],
        "decorrelationTiles": known["nTiles"],
        "noiseWhiteness": float(np.max(np.abs(known.getArray("noiseWhiteness")))),
    }


def psfFigures(science, template, isFiltered):
    """Metadata of both PSFs: FWHM in pixels and the limits of unit noise, as far as there are calibrations."""
    sizes = {"science": FWHM_PER_SIGMA * psfSigma(science), "template": FWHM_PER_SIGMA * psfSigma(template)}
    values = {f"{name}PsfSize": size for name, size in sizes.items()}
    if isFiltered:
        values["preconvolvedSciencePsfSize"] = math.sqrt(2.0) * sizes["science"]
    limits = [limitingMagnitude(e, sizes[name]) for e, name in ((science, "science"), (template, "template"))]
    names = ("scienceLimitingMagnitude", "templateLimitingMagnitude", "diffimLimitingMagnitude")
    limits = dict(zip(names, [*limits, combinedLimit(*limits)]))
    return values | {name: float(value) for name, value in limits.items() if math.isfinite(value)}


def depths(made):
    """Five-sigma magnitude of the difference, as far as it can be told."""
    if made.difference is None or made.difference is made.score:
        return {}
    magnitude = fiveSigmaMagnitude(made.difference)
    return {"fiveSigmaDifferenceMagnitude": magnitude} if math.isfinite(magnitude) else {}
