"""Subtract two exposures: align, find stars, choose a direction, match, subtract, detect and measure.

The difference is always science minus template, in the flux units of the science image:

    template convolved:  D = S - K*T - b
    science convolved:   D = (K*S + b - T) / sum(K)

with the kernel K and the differential background b of Alard & Lupton (1998, ApJ 503, 325) and Alard (2000, A&AS 144,
363), both varying over the image; * is the correlation of `stillsky.kernel.convolve`. Variances add (kernel squared),
masks are OR-ed. By default the noise, which K correlates, is made white again (`decorrelate`), whereby variance plane and
PSF of the difference change.
"""

import logging
import time
from contextlib import contextmanager

import numpy as np
from scipy.spatial import cKDTree

from ..errors import DomainError, InvalidPsfError, MismatchError, NoDataError, StillskyError
from ..image import Exposure
from ..kernel import ConvolutionControl, convolve, subtractModel
from ..psfmatch import makeAlardLuptonBasisList
from ..psfmatch.algorithm import fitMatchingKernel, stampHalfSize
from ..psfmatch.basis import chooseAlardLuptonBasis, makeKernelBasisList
from ..stats import robustSigma
from ..wcs import pairTransform
from .decorrelation import decorrelate
from .direction import fitKernelToPsfs, forecastDirection
from .empirical_psf import empiricalPsf
from .freed_memory import returnFreedMemory
from .inputs import (
    alignTemplate,
    asExposure,
    checkCoverage,
    describedLike,
    differentShapes,
    medianVariance,
    moveTemplate,
    noteSame,
    remedyOfFewStars,
    sameShape,
    usable,
    wholePixels,
    withoutNan,
    withOwnSchema,
)
from .method_comparison import compareMethods
from .registration import fitObjects, shiftOrSimilarity
from .resampling_noise import ResamplingNoise
from .result import MatchResult, SubtractResult, candidateTable
from .similarity import requireSimilarity
from .sky_level import raisedTo, skyResidual, takeOff
from .stars import (
    classifyStars,
    findObjects,
    fluxRatio,
    fractionMatched,
    selectKernelStars,
)
from .subtracted_background import ADDED_CARD
from .task_figures import taskFigures
from .tied_psf import starlight, tiedPsf, tiedWeight

__all__ = ["matchPsfs", "measurePsf", "subtract"]

_log = logging.getLogger("stillsky.diffim")
_STAGES = {"al": 9, "zogy": 7, "al-preconv": 10}  # methods and the number of their stages
_PREFER_TEMPLATE = 1.005  # the science image is convolved only when that wins by more than 0.5 %
_SMALLEST_KERNEL = 11  # pixels; small images are matched with smaller kernels down to this
_COLOURED = 0.05  # a larger correlation of neighbouring blank pixels is worth a warning
_ALIGNED_WITHIN = 0.02  # pixels at the corners: resampling would only add noise
_SHARPENING = 1.5  # a larger kernel transform means deconvolution


def subtract(science, template, *, config=None, method="al", stars=None, progress=None, keepWarped=False):
    """Match the PSFs of two exposures and subtract the template from the science image.

    Parameters
    ----------
    science, template : `stillsky.image.Exposure`
        Both with WCS, or of equal shape on one pixel grid. Neither is modified. File names, `MaskedImage`,
        `astropy.nddata.CCDData` and plain arrays serve as well.
    config : `stillsky.diffim.config.SubtractConfig`, optional
    method : {"al", "zogy", "al-preconv"}
        A spatially varying kernel of Alard & Lupton (1998), Alard (2000), or the proper difference of Zackay, Ofek &
        Gal-Yam (2016), which has the score as well. "al-preconv" is "al" with a score: sources are detected on the
        likelihood image of point sources (DMTN-179).
    stars : pair of array-like, optional
        Positions (x, y) in the science image, parent pixels, that carry the kernel fit; default: chosen automatically.
    progress : callable, optional
        ``progress(iterable, desc=..., total=...)``, the calling convention of tqdm.
    keepWarped : bool
        Keep the template on the science grid, before the matching, as ``result.warpedTemplate``.

    Returns
    -------
    result : `SubtractResult`

    Raises
    ------
    TypeError
        An argument that holds no image, or another class of configuration.
    DomainError
        Unknown method.
    MismatchError
        The images do not overlap, have different shapes without WCS, different units, or are shifted.
    NoDataError
        Too little template coverage, no usable pixel, or too few stars.
    NumericalError
        The fit has no finite solution.

    Notes
    -----
    NaN pixels count as NO_DATA. Peak memory beyond the inputs: below 10 float32 planes.
    """
    if method not in _STAGES:
        raise DomainError(f"method: wanted {', '.join(map(repr, _STAGES))}, got {method!r}")
    job = _Job(config, progress, "subtract", _STAGES[method])
    job.wantsScore = method == "al-preconv"
    run = job.runZogy if method == "zogy" else job.run
    return run(asExposure(science, "science"), asExposure(template, "template"), stars, keepWarped)


def matchPsfs(science, template, *, config=None, stars=None, progress=None):
    """Fit the kernel that matches the PSFs of two exposures, and nothing else: no image is convolved or subtracted.

    Parameters
    ----------
    science, template, config, stars, progress
        As for `subtract`. Of the configuration, what concerns the difference alone has no effect.

    Returns
    -------
    result : `MatchResult`
        The kernel, background, candidates and decisions of `subtract` with the same arguments.

    Raises
    ------
    TypeError, MismatchError, NoDataError, NumericalError
        As `subtract`.
    """
    job = _Job(config, progress, "psfmatch", 4)
    return job.runMatch(asExposure(science, "science"), asExposure(template, "template"), stars)


def measurePsf(exposure, *, config=None, footprints=None, stars=None):
    """The PSF of an exposure from its stars, as `subtract` makes it for an image that brings none.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        Not modified.
    config : `stillsky.diffim.config.SubtractConfig`, optional
    footprints : `stillsky.detection.FootprintSet`, optional
        Where stars may be; default: anywhere.
    stars : pair of `numpy.ndarray`, optional
        x and y of what may be a star, to ``config.stars.matchRadius``; default: what looks like one.

    Returns
    -------
    psf : `stillsky.psf.Psf`

    Raises
    ------
    NoDataError
        Too few stars.
    """
    job = _Job(config, None, "psf", 0)
    exposure = withoutNan(withOwnSchema(exposure))
    objects = job._findStars(exposure, "science")
    if footprints is not None:
        ids, (x0, y0) = footprints.toIdImage(), footprints.region.min
        objects.isStar = objects.isStar & (
            ids[np.rint(objects.y - y0).astype(int), np.rint(objects.x - x0).astype(int)] > 0
        )
        if not objects.isStar.any():
            raise NoDataError("no star stands out", found=f"{len(footprints)} footprints, none with a single star")
    if stars is not None:
        distance = cKDTree(np.column_stack(stars)).query(np.column_stack((objects.x, objects.y)))[0]
        objects.isStar = objects.isStar & (distance <= job.config.stars.matchRadius)
        if not objects.isStar.any():
            raise NoDataError("no star stands out", found=f"{len(stars[0])} positions, none with a single star")
    return empiricalPsf(exposure, objects, job.config.psf)[0]


class _Job:
    """State of one subtraction: what was decided, what it took, what to warn about."""

    def __init__(self, config, progress, name, nStages):
        from .config import SubtractConfig

        config = SubtractConfig() if config is None else config
        if not isinstance(config, SubtractConfig):
            raise TypeError(f"config: wanted a SubtractConfig, got {type(config).__name__}")
        self.config = config
        self.metadata = {}
        self.decisions = []
        self.warnings = []
        self.timings = {}
        self.wantsScore = False  # of the Alard-Lupton way
        self._covariance = self._inflation = None
        self._templateNoise = 1.0
        self._resampled = None  # how the noise of the template is correlated; None: not at all
        stages = range(nStages + (name == "subtract" and config.inject.n > 0))
        self._stages = iter(progress(stages, desc=name, total=nStages) if progress else stages)

    @contextmanager
    def stage(self, name):
        next(self._stages, None)
        start = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - start
        _log.debug("%s: %.3f s", name, self.timings[name])

    def decide(self, sentence):
        self.decisions.append(sentence)
        _log.info("%s", sentence)

    def warn(self, code, sentence):
        self.warnings.append((code, sentence))
        _log.warning("%s: %s", code, sentence)

    def run(self, science, template, stars, keepWarped):
        """The whole subtraction."""
        science, template, psfs, fit, scienceConvolved, objects = self._match(science, template, stars)
        models, psfs = psfs, self._tiedPsfs(science, template, psfs, fit, scienceConvolved, objects)
        returnFreedMemory()
        with self.stage("convolve"):
            matched = self._convolve(science if scienceConvolved else template, fit.kernel)
        with self.stage("subtract"):
            difference = self._subtract(science, template, matched, fit, scienceConvolved)
            difference.psf = psfs[1] if scienceConvolved else psfs[0]
        with self.stage("decorrelate"):
            if self.config.doDecorrelation:
                difference = self._decorrelate(difference, science, template, fit, scienceConvolved)
            returnFreedMemory()
            if self.config.doCovariance:
                self._covariance = self._noiseCovariance(difference, science, template, fit, scienceConvolved)
            if self.config.doDetection and "decorrelation" not in self.metadata:
                self._inflation = self._noiseInflation(difference, science, template, fit, scienceConvolved)
        returnFreedMemory()
        with self.stage("assess"):
            _describe(difference.metadata, fit, scienceConvolved, "decorrelation" in self.metadata)
            self._assess(difference)
            self._compareMethods("al", science, template, models, fit, scienceConvolved, objects)
            self.metadata |= taskFigures(self.metadata, difference, "al")
        if keepWarped and template.psf is None:
            template.psf = psfs[1]
        matchedTemplate = self._matchedTemplate(science, template, matched, psfs, scienceConvolved)
        if self.config.doDetection and not scienceConvolved:
            self._templateNoise = self._convolvedNoise(fit.kernel, psfs[0], science.bbox.center)
        mode = "decorrelated" if "decorrelation" in self.metadata else "science"
        score, significance = self._likelihood(difference)
        with self.stage("sources"):
            found = self._findSources(science, matchedTemplate, difference, fit, objects[0], psfs[0], mode, score=score)
        result = SubtractResult(
            difference=difference,
            matchedTemplate=matchedTemplate,
            science=science,
            **found,
            covariance=self._covariance,
            warpedTemplate=template if keepWarped else None,
            score=score,
            significance=significance,
            **self._found(fit, scienceConvolved),
        )
        return self._withEfficiency(result, (science, template, psfs, objects), fit, scienceConvolved, matched)

    def _likelihood(self, difference):
        """The score of the difference and its significance, where they are wanted."""
        if not self.wantsScore:
            return None, None
        from .score import likelihoodImage

        with self.stage("score"):
            return likelihoodImage(difference, tuple(self.config.detect.missingMaskPlanes))

    def runZogy(self, science, template, stars, keepWarped):
        """The whole subtraction by proper differences."""
        from .zogy_subtract import properDifference, subtractedTemplate

        science, template, psfs, fit, scienceConvolved, objects = self._match(science, template, stars)
        returnFreedMemory()
        with self.stage("zogy"):
            parts = (science, template, psfs, fit, scienceConvolved, objects[0])
            found = properDifference(*parts, self.config, self._resampled)
        returnFreedMemory()
        with self.stage("assess"):
            difference = found.difference
            self.metadata["zogy"] = found.metadata
            self.decide(
                f"proper difference: PSF ratio from the {found.metadata['psfRatio']}, flux ratio "
                f"{found.metadata['zogyBeta']:.5g}, {found.metadata['tiles'][0]}x{found.metadata['tiles'][1]} tiles, "
                f"one-sigma flux of a point source {found.metadata['zogyScoreFlux'] ** -0.5:.4g}"
            )
            _describeProper(difference.metadata)
            self._assess(difference)
            self._compareMethods("zogy", science, template, psfs, fit, scienceConvolved, objects)
            self.metadata |= taskFigures(self.metadata, difference, "zogy")
        if keepWarped and template.psf is None:
            template.psf = psfs[1]
        matched = subtractedTemplate(science, template, difference, psfs[0], found.metadata["zogyBeta"])
        returnFreedMemory()
        with self.stage("sources"):
            sources = self._findSources(
                science, matched, difference, fit, objects[0], psfs[0], "zogy", score=found.score
            )
        result = SubtractResult(
            difference=difference,
            matchedTemplate=matched,
            science=science,
            **sources,
            warpedTemplate=template if keepWarped else None,
            score=found.score,
            significance=found,
            **self._found(fit, scienceConvolved),
        )
        return self._withEfficiency(result, (science, template, psfs, objects), fit, scienceConvolved, None)

    def runMatch(self, science, template, stars):
        """The kernel alone."""
        _, _, psfs, fit, scienceConvolved, _ = self._match(science, template, stars)
        return MatchResult(sciencePsf=psfs[0], templatePsf=psfs[1], **self._found(fit, scienceConvolved))

    def _match(self, science, template, stars):
        """Inputs as they are used, their PSFs, the fit, whether the science image is to be convolved, the objects."""
        with self.stage("align"):
            given = withOwnSchema(template)
            native = withOwnSchema(template) if self.config.doRegister else None
            template = alignTemplate(science, given, self.config.warp, self.decide, self.config.doRegister)
            if template is not given and science.wcs and given.wcs and wholePixels(science, given) is None:
                self._noteResampling((science.wcs, given.wcs))
            noteSame(science, template, self.warn)
            science, template = (withoutNan(withOwnSchema(exposure)) for exposure in (science, template))
            self._noteCoverage(science, template)
        self._checkKernelSize(science)
        with self.stage("stars"):
            try:
                template, objects, psfs = self._objectsAndPsfs(science, template, native)
            except NoDataError as error:
                if sameShape(science, template):
                    raise
                raise differentShapes(science, template, str(error)) from error
        with self.stage("direction"):
            scienceConvolved = self._direction(science, template, objects, psfs)
        convolved, reference = (science, template) if scienceConvolved else (template, science)
        order = (0, 1) if scienceConvolved else (1, 0)
        with self.stage("fit"):
            scale = fluxRatio(objects) or 1.0
            scale = 1.0 / scale if scienceConvolved else scale
            fit = self._fit(convolved, reference, [psfs[k] for k in order], objects, stars, science.bbox, scale)
        return science, template, psfs, fit, scienceConvolved, objects

    def _objectsAndPsfs(self, science, template, native):
        """The template, registered where that is wanted, and objects and PSFs of both images."""
        # one image after the other: each needs a plane of memory until its PSF is known
        objects = [self._findStars(science, "science")]
        psfs = [self._psf(science, objects[0], "science")]
        objects.append(self._findStars(template, "template"))
        template, objects[1] = self._register(science, template, objects, native)
        psfs.append(self._psf(template, objects[1], "template"))
        return template, objects, psfs

    def _found(self, fit, scienceConvolved):
        """What both kinds of results hold."""
        return {
            "kernel": fit.kernel,
            "background": fit.background,
            "convolved": "science" if scienceConvolved else "template",
            "candidates": candidateTable(fit.candidates),
            "metadata": self.metadata,
            "decisions": self.decisions,
            "warnings": self.warnings,
            "timings": self.timings,
        }

    # ------------------------------------------------------------------ inputs

    def _register(self, science, template, objects, native=None):
        """Move the template by what its objects show, when asked to, when shapes differ without a WCS, or when there is
        no common WCS and the objects do not meet in place. ``native`` is the template before it was aligned."""
        radius = self.config.stars.matchRadius
        if self.config.doRegister or not sameShape(science, template):
            return self._registerByObjects(science, template, objects, native)
        if fractionMatched(objects, radius) >= 0.5:
            return template, objects[1]
        fit = shiftOrSimilarity(science, template, objects, radius)
        if fit is None or fit.isWithin(self.config.maxOffset, science.bbox):
            return template, objects[1]
        found = fit.describe(science.bbox.center)
        if science.wcs is not None and template.wcs is not None:
            raise MismatchError(
                "the images are not registered: their WCS contradict the pixels",
                found=f"the template is {found}",
                remedy="correct the WCS of one of them, or register them by their objects with --register",
            )
        self.warn("W-SHIFT", f"no common WCS, and the template is {found}: moved by that much")
        return self._moved(science, template, fit)

    def _registerByObjects(self, science, template, objects, native):
        """The similarity between the objects of both images; the template is resampled once, by it and the WCS."""
        common = science.wcs is not None and template.wcs is not None
        fit = fitObjects(objects, self.config.stars.matchRadius, sameGrid=common)
        try:
            requireSimilarity(fit)
        except MismatchError as error:
            if common or self.config.doRegister:
                raise
            raise differentShapes(science, template, f"{error}; {error.found}") from error
        if common and fit.isWithin(_ALIGNED_WITHIN, science.bbox):
            self._noteRegistration(science, fit)
            return template, objects[1]
        source = native if common else template
        return self._moved(science, source, fit, science.wcs if common else None)

    def _moved(self, science, template, fit, wcs=None):
        """The template after a similarity on the science grid, and its objects there."""
        self._noteRegistration(science, fit)
        back = fit.transform.inverse()
        sky = None if wcs is None else pairTransform(wcs, template.wcs)
        self._noteResampling(back if sky is None else lambda x, y: sky(*back(x, y)))
        template = moveTemplate(template, fit.transform, self.config.warp, science.bbox, wcs)
        self._noteCoverage(science, template)
        template = withoutNan(template)
        return template, self._findStars(template, "template")

    def _noteResampling(self, mapping):
        """The template's noise is correlated from here on."""
        self._resampled = ResamplingNoise(mapping, self.config.warp.warpingKernelName)

    def _noteRegistration(self, science, fit):
        self.metadata["registration"] = fit.asDict(science.bbox.center)
        self.decide(f"registration: template {fit.describe(science.bbox.center)}")

    def _noteCoverage(self, science, template):
        fraction = checkCoverage(science, template, self.config.requiredTemplateFraction)
        self.metadata["templateCoveragePercent"] = 100 * fraction

    def _checkKernelSize(self, science):
        """The kernel must fit into the image: seen to before any of its functions is made.

        A size that follows from the seeing is limited to the image; one that was asked for is refused.
        """
        config = self.config.psfmatch
        side = min(science.width, science.height)
        scaled = config.scaleByFwhm and config.kernelBasisSet == "alard-lupton"
        size = _SMALLEST_KERNEL if scaled else config.kernelSize
        if scaled and side >= size and config.kernelSizeMax > side:
            self.config = self.config.copy()
            self.config.psfmatch = _withKernelSize(config, side - 1 + side % 2)
        if size > side:
            raise NoDataError(
                "the image is smaller than the matching kernel",
                found=f"kernel of {size}x{size} pixels, image of {science.width}x{science.height}",
                remedy="a smaller -c psfmatch.kernelSize, or larger images",
            )

    def _findStars(self, exposure, name):
        objects = findObjects(exposure.maskedImage, self.config.stars, self.config.backgroundBinSize)
        try:
            classifyStars(objects, self.config.stars, exposure.image.array.shape)
        except NoDataError as error:
            raise _tooFewStars(error, exposure, name) from error
        if objects.threshold < self.config.stars.minSignalToNoise:
            self.decide(f"{name} stars: few, so that objects from S/N {objects.threshold:g} are used")
        self.metadata[f"{name}Stars"] = int(np.count_nonzero(objects.isStar))
        self.metadata[f"{name}SkySigma"] = objects.skySigma
        return objects

    def _psf(self, exposure, objects, name):
        """The PSF that the exposure brings, else one made from its stars."""
        if exposure.psf is not None:
            psf, source = exposure.psf, "from the file"
        else:
            psf, source = empiricalPsf(exposure, objects, self.config.psf)
        objects.flat = None  # not needed any more: a plane of memory
        fwhm = psf.fwhm(exposure.bbox.center)
        self.metadata[f"{name}PsfSize"] = float(fwhm)
        self.decide(f"{name} PSF: FWHM {fwhm:.2f} px ({source})")
        return psf

    # --------------------------------------------------------------- direction

    def _direction(self, science, template, objects, psfs):
        """True when the science image is to be convolved. Both forecasts go to the metadata."""
        center = science.bbox.center
        images = [psf.computeKernelImage(center).array for psf in psfs]
        fwhms = [psf.fwhm(center) for psf in psfs]
        noise = [medianVariance(exposure) for exposure in (science, template)]
        scale = fluxRatio(objects) or 1.0
        forecasts = {}
        for name, c, r in (("template", 1, 0), ("science", 0, 1)):
            basis = chooseAlardLuptonBasis(_alardLuptonOf(self.config.psfmatch), fwhms[c], fwhms[r])
            functions = makeAlardLuptonBasisList(
                basis.kernelSize // 2, basis["ALBasisNGauss"], basis.sigmas, basis["ALBasisDegGauss"]
            )
            kernel = fitKernelToPsfs(np.array([f.imageAt(0, 0) for f in functions]), images[c], images[r])
            kernel = kernel * (scale if c == 1 else 1 / scale)
            forecasts[name] = forecastDirection(kernel, images[r], noise[c], noise[r], scienceConvolved=(c == 0))
        self.metadata["expectedDepth"] = {name: forecast.asDict() for name, forecast in forecasts.items()}
        errors = {name: forecast.fluxError for name, forecast in forecasts.items()}
        if self.config.convolve == "auto":
            scienceConvolved = errors["template"] > _PREFER_TEMPLATE * errors["science"]
            why = f"expected flux error {errors['template']:.4g} (template) against {errors['science']:.4g} (science)"
        else:
            scienceConvolved = self.config.convolve == "science"
            why = "as asked"
        chosen = "science" if scienceConvolved else "template"
        self.decide(f"convolved: {chosen}; {why}")
        self.metadata["convolvedExposure"] = chosen.capitalize()
        if forecasts[chosen].kernelTransformMax > _SHARPENING:
            self.warn(
                "W-DECONV",
                f"the kernel sharpens the {chosen} image: its transform reaches "
                f"{forecasts[chosen].kernelTransformMax:.2f} times its sum",
            )
        return scienceConvolved

    # --------------------------------------------------------------------- fit

    def _fit(self, convolved, reference, psfs, objects, stars, bbox, scale):
        """The kernel; ``scale``: flux of the reference over that of the convolved image, about."""
        config = self.config.psfmatch
        fwhms = [psf.fwhm(bbox.center) for psf in psfs]
        basis, basisMetadata, positions = self._basisAndStars(config, fwhms, objects, stars, bbox)
        size = basis[0].width
        x, y, rating = positions
        keywords = {"fluxScale": scale if 1e-15 < scale < 1e15 else 1.0}
        fit = fitMatchingKernel(convolved.maskedImage, reference.maskedImage, x, y, rating, basis, config, **keywords)
        if _wideGaussianIsNoise(config, fit):
            self.decide("kernel: too few or too faint stars for the widest Gaussian, which is left out")
            config = _withoutLastGaussian(config)
            basis = makeKernelBasisList(_withKernelSize(config, size), *fwhms, metadata=basisMetadata)
            self.metadata.update(basisMetadata)
            fit = fitMatchingKernel(
                convolved.maskedImage, reference.maskedImage, x, y, rating, basis, config, **keywords
            )
        fit.fit = None  # matrices and stamps that nobody asks for any more
        self.metadata.update(fit.metadata)
        self.metadata["starResiduals"] = _residualsByBrightness(fit.candidates)
        for warning in fit.warnings:
            self.decide(warning)
        self.decide(
            f"kernel: {size}x{size} px, {len(basis)} functions"
            + (
                f", widths {', '.join(f'{s:.2f}' for s in basisMetadata['ALBasisSigGauss'])} px"
                if basisMetadata
                else ""
            )
            + f"; {fit.metadata['nGoodCandidates']} of {len(x)} stars; sum {fit.metadata['spatialKernelSum']:.5g}"
        )
        return fit

    def _basisAndStars(self, config, fwhms, objects, stars, bbox):
        """Basis functions and stars; the kernel shrinks while its stamps leave too few stars inside a small image."""
        largest = config.kernelSizeMax
        while True:
            metadata = {}
            basis = makeKernelBasisList(config, *fwhms, metadata=metadata)
            size = basis[0].width
            try:
                positions = self._kernelStars(objects, stars, bbox, stampHalfSize(config, size))
            except NoDataError:
                if not metadata or size <= _SMALLEST_KERNEL or config.kernelSizeMax <= _SMALLEST_KERNEL:
                    raise
                config = _withKernelSize(config, max(size - 4, _SMALLEST_KERNEL))
                continue
            self.metadata.update(metadata)
            if config.kernelSizeMax < largest:
                self.decide(f"kernel: size lowered to {size} px, so that more stars lie far enough inside the image")
            return basis, metadata, positions

    def _kernelStars(self, objects, stars, bbox, margin):
        """Positions and ratings of the fit's candidates, at least ``margin`` pixels from the border."""
        if stars is not None:
            x, y = (np.asarray(v, float) for v in stars)
            rating = np.ones(len(x))
            self.decide(f"stars: {len(x)} given")
        else:
            limits = (bbox, margin, self.config.maxKernelSources, self.config.minKernelSources)
            found = selectKernelStars(*objects, self.config.stars, *limits)
            if len(found) < self.config.minKernelSources:
                isolated, found = found, selectKernelStars(*objects, self.config.stars, *limits, crowded=True)
                if len(found) >= self.config.minKernelSources:
                    self.decide(f"stars: only {len(isolated)} isolated ones, so that blended ones are used")
            self.metadata["kernelStarSelection"] = found.rejected
            self.metadata["starOffset"] = list(found.offset)
            self._checkOffset(found)
            x, y, rating = found.x, found.y, found.rating
        if len(x) < self.config.minKernelSources:
            counts = self.metadata.get("kernelStarSelection", {})
            listed = ", ".join(f"{n} {reason}" for reason, n in counts.items() if n and reason not in ("all", "used"))
            raise NoDataError(
                "too few stars to fit the matching kernel",
                found=f"{len(x)} usable of {counts.get('all', len(x))} objects{f' ({listed})' if listed else ''}; "
                f"need {self.config.minKernelSources}",
                remedy=remedyOfFewStars(self.config),
            )
        return x, y, rating

    def _checkOffset(self, found):
        if len(found) >= 3 and np.hypot(*found.offset) > self.config.maxOffset:
            raise MismatchError(
                "the images are not registered",
                found=f"median offset of {len(found)} stars: {found.offset[0]:+.2f}, {found.offset[1]:+.2f} px",
                remedy="register the images first, or raise -c maxOffset",
            )

    # ---------------------------------------------------------------- products

    def _convolve(self, exposure, kernel):
        source = exposure.maskedImage
        for plane in ("NO_DATA", "EDGE"):
            source.mask.addPlane(plane)
        out = source.emptyLike()
        convolve(out, source, kernel, ConvolutionControl(doNormalize=False, doCopyEdge=self.config.doCopyEdge))
        return out

    def _subtract(self, science, template, matched, fit, scienceConvolved):
        """The difference, in science units, as an exposure with the science WCS and calibration."""
        other = (template if scienceConvolved else science).maskedImage
        # the planes of the other image keep their bits: its mask is an input and must not change
        other.mask.schema = other.mask.schema.merged(matched.mask.schema)
        matched.mask.conformTo(other.mask.schema)
        # the convolved template is a product of its own, the convolved science image is not
        difference = matched if scienceConvolved else matched.emptyLike()
        background = fit.background if self.config.subtractBackground else 0.0
        subtractModel(matched, other, background, invert=not scienceConvolved, out=difference)
        if self.config.subtractBackground and self.config.psfmatch.fitForBackground:
            self._centre(difference, fit, scienceConvolved)
        if scienceConvolved:
            difference /= fit.kernelSum
        return describedLike(science, difference)

    def _decorrelate(self, difference, science, template, fit, scienceConvolved):
        """Make the noise of the difference white, and give it the PSF that it has then."""
        try:
            found = decorrelate(
                difference,
                science,
                template,
                fit.kernel,
                config=self.config.decorrelate,
                templateMatched=not scienceConvolved,
                kernelSum=fit.kernelSum,
                psf=difference.psf,
                templateCorrelation=self._resampled,
                copyMask=False,
            )
        except (DomainError, NoDataError) as error:  # a difference with correlated noise is better than none
            self.warn("W-CORRNOISE", f"not decorrelated, its noise remains correlated: {error}")
            return difference
        self.metadata["decorrelation"] = found.metadata
        for code, sentence in found.warnings:
            self.warn(code, sentence)
        noise, whiteness = found.metadata["noiseVariance"], found.metadata["noiseWhiteness"]
        self.decide(
            f"decorrelated: {found.metadata['nTiles']} tiles; noise of blank sky {np.sqrt(noise):.4g}, "
            f"correlation of neighbours {whiteness[0]:+.3f}, {whiteness[1]:+.3f}"
        )
        if np.max(np.abs(whiteness)) > _COLOURED:
            self.warn(
                "W-CORRNOISE",
                f"the noise of neighbouring pixels remains correlated by {whiteness[0]:+.2f} (x) and {whiteness[1]:+.2f} "
                "(y): significances are wrong by about as much",
            )
        out = Exposure(found.maskedImage, difference.info)
        out.psf = found.psf
        return out

    def _covarianceOf(self, difference, science, template, fit, scienceConvolved):
        """How the noise of neighbouring pixels of the finished difference is correlated."""
        from .noise_covariance import noiseCovariance

        return noiseCovariance(
            difference,
            science,
            template,
            fit.kernel,
            templateMatched=not scienceConvolved,
            kernelSum=fit.kernelSum,
            decorrelated="decorrelation" in self.metadata,
            templateCorrelation=self._resampled,
        )

    def _noiseInflation(self, difference, *images):
        """By how much the noise of the smoothed difference exceeds that of independent pixels."""
        from .noise_covariance import smoothedNoiseInflation

        found = self._covariance or self._covarianceOf(difference, *images)
        sigma = difference.psf.matchedSigma(difference.psf.averagePosition)
        inflation = smoothedNoiseInflation(found, difference.bbox, sigma)
        self.warn(
            "W-CORRNOISE",
            f"sources are searched in correlated noise: significances are divided by {inflation:.3f}, by which it exceeds that "
            "of independent pixels; doDecorrelation finds more",
        )
        return inflation

    def _convolvedNoise(self, kernel, psf, center):
        """By how much PSF fluxes of the convolved template scatter more than its variance plane says."""
        from .noise_covariance import convolvedNoiseFactor

        position = tuple(float(v) for v in center)
        return convolvedNoiseFactor(kernel.imageAt(*position), psf.computeKernelImage(position).array)

    def _noiseCovariance(self, difference, *images):
        """The covariance that goes with the difference."""
        found = self._covarianceOf(difference, *images)
        side = found.stencils.shape[-1]
        center = found.at(*difference.bbox.center)
        self.metadata["covarianceSum"] = float(center.sum())
        self.decide(
            f"covariance: {side}x{side} pixels; wide sums scatter {np.sqrt(center.sum()):.3f} times the plane's"
        )
        return found

    def _centre(self, difference, fit, scienceConvolved):
        """Take off what is left of the sky; the background of the fit is corrected by it."""
        wanted = self.config.psfmatch.spatialBgOrder
        background = raisedTo(fit.background, wanted)  # few stars may have lowered it; the sky has pixels enough
        residual = skyResidual(difference, background)
        if residual is None:
            return
        if fit.background.order < wanted:
            self.decide(f"differential background: order {wanted} from the pixels of the sky")
        takeOff(difference.image.array, residual, difference.bbox)
        sign = -1.0 if scienceConvolved else 1.0
        fit.background = background.clone()
        parameters = zip(fit.background.parameters, residual.parameters, strict=True)
        fit.background.setParameters([old + sign * new for old, new in parameters])
        self.metadata["backgroundCorrection"] = float(residual(*difference.bbox.center))

    def _matchedTemplate(self, science, template, matched, psfs, scienceConvolved):
        """What was subtracted, on the science grid: the convolved template, or the template itself; without background."""
        pixels = template.maskedImage if scienceConvolved else matched
        found = Exposure(
            pixels,
            wcs=science.wcs,
            photoCalib=template.photoCalib if scienceConvolved else science.photoCalib,
            filter=template.filter,
            psf=psfs[1] if scienceConvolved else psfs[0],
        )
        found.metadata.set("FLUXREF", "template" if scienceConvolved else "science", "image of the flux scale")
        if self.config.subtractBackground:
            found.metadata.set(ADDED_CARD, False, "the differential background is in the pixels")
        return found

    def _findSources(self, science, matchedTemplate, difference, fit, objects, sciencePsf, psfMode, score=None):
        """Sources, footprints and glints of the difference, as the result holds them."""
        if not self.config.doDetection:
            return {}
        from .subtract_sources import findSources, sourceCounts, sourceSentence

        try:
            found = findSources(
                science, matchedTemplate, difference, config=self.config.detect, candidates=fit.candidates,
                stars=objects, score=score, psfMode=psfMode, sciencePsf=sciencePsf, covariance=self._covariance,
                noiseInflation=self._inflation, templateNoise=self._templateNoise,
                kernelTerms=fit.kernel.nSpatialParameters,
            )  # fmt: skip
        except InvalidPsfError as error:  # an image without sources is better than none
            self.warn("W-NOSOURCES", f"no sources were searched: {error}")
            return {}
        self.metadata.update(found.metadata, **sourceCounts(found.sources))
        self.decide(sourceSentence(self.metadata))
        _log.debug("sources: %s", ", ".join(f"{name} {seconds:.3f} s" for name, seconds in found.timings.items()))
        return {"sources": found.sources, "footprints": found.footprints, "glints": found.glints}

    def _withEfficiency(self, result, pair, fit, scienceConvolved, matched):
        """The result with what planted sources tell, where they are wanted; its other products stay as they are."""
        from ..report.subtract_numbers import noiseOverPsf

        self.metadata["noiseOverPsf"] = noiseOverPsf(result)
        if not self.config.inject.n or result.sources is None:
            return result
        from .injection_run import efficiencySentence, plantAndFind

        with self.stage("inject"):
            delivered = result.difference, result.sources
            try:
                found = plantAndFind(self, pair, fit, scienceConvolved, delivered, matched)
            except NoDataError as error:
                self.warn("W-INJECT", f"no efficiency: {error}")
                return result
        result.injected, result.efficiency = found.injected, found.efficiency
        self.metadata["injection"] = found.metadata
        self.decide(efficiencySentence(found.metadata))
        return result

    def _tiedPsfs(self, science, template, psfs, fit, scienceConvolved, objects):
        """The PSFs, that of the image which is not convolved improved by the starlight of the other one."""
        light = [starlight(*pair) for pair in zip((science, template), objects)]
        sharp, other = (0, 1) if scienceConvolved else (1, 0)
        weight = tiedWeight(light[other], light[sharp])
        if not self.config.psf.tieToKernel:
            return psfs
        psfs = list(psfs)
        psfs[other] = tiedPsf(psfs[other], psfs[sharp], fit.kernel, weight, science.bbox)
        self.metadata["psfTiedWeight"] = float(weight)
        return psfs

    def _compareMethods(self, used, science, template, *parts):
        """Which method serves the pair best, and why."""
        noise = tuple(medianVariance(exposure) for exposure in (science, template))
        try:
            found = compareMethods(used, science, template, *parts, noise, self.config, self._resampled)
        except StillskyError as error:  # a forecast must not cost the subtraction
            self.decide(f"method: not compared, {error}")
            return
        self.metadata["methodComparison"] = found
        self.decide(f"method: {found['why']}")

    def _assess(self, difference):
        """Noise of the difference against its variance plane, on sky and at the stars."""
        bad = difference.mask.bitmask(["NO_DATA", "BAD", "SAT", "EDGE", "CR"], ignoreMissing=True)
        step = max(1, int(np.sqrt(difference.image.array.size / 5e5)))
        cut = (slice(None, None, step), slice(None, None, step))
        with np.errstate(invalid="ignore", divide="ignore"):
            chi = difference.image.array[cut] / np.sqrt(difference.variance.array[cut])
        chi = np.ascontiguousarray(chi, np.float32)
        good = ((difference.mask.array[cut] & bad) == 0) & np.isfinite(chi)
        n, sigma = np.count_nonzero(good), robustSigma(chi, np.ascontiguousarray(difference.mask.array[cut]), bad)
        median = np.median(chi[good]) if n else np.nan
        self.metadata.update(skyChi=float(sigma), skyChiMedian=float(median), nSkyPixels=int(n))
        if not n:
            raise NoDataError(
                "the difference has no usable pixel",
                found="every pixel is masked after the convolution",
                remedy="check the masks; -c psfmatch.kernelSizeMax=15 spreads them less",
            )


def _residualsByBrightness(candidates):
    """Median residuals (sigma) of the stars of the fit by signal-to-noise ratio, in the fit and left out of it."""
    used = [c for c in candidates if c["usedInFit"]]
    table = {}
    for low, high in ((0, 30), (30, 100), (100, 300), (300, 1000), (1000, np.inf)):
        some = [c for c in used if low <= c["rating"] < high]
        if some:
            table[f"{low:g}-{high:g}"] = {
                "n": len(some),
                **{name: float(np.nanmedian([c[name] for c in some])) for name in ("spatialRms", "looRms")},
            }
    return table


def _describe(header, fit, scienceConvolved, decorrelated):
    """Cards that say what the difference is."""
    header.set("DIFFSIGN", "SCI-TMPL", "science minus template")
    header.set("CONVOLVD", "science" if scienceConvolved else "template", "image that was convolved")
    header.set("FLUXREF", "science", "image whose flux scale the pixels have")
    header.set("DECORR", bool(decorrelated), "noise made white after the matching")
    header.set("KSUM", float(fit.kernelSum), "kernel sum at the centre of the image")


def _describeProper(header):
    """Cards that say what a proper difference is."""
    header.set("DIFFSIGN", "SCI-TMPL", "science minus template")
    header.set("CONVOLVD", "both", "images that were filtered")
    header.set("METHOD", "ZOGY", "proper image subtraction")
    header.set("FLUXREF", "science", "image whose flux scale the pixels have")


def _tooFewStars(error, exposure, name):
    """The same error, saying in which image, and whether that image holds anything at all."""
    values = exposure.image.array[usable(exposure)]
    if values.min() == values.max():
        return NoDataError(f"the {name} image is constant", found=f"every usable pixel is {values[0]:g}",
                           remedy="check the file and the extension with stillsky info FILE")  # fmt: skip
    return NoDataError(f"{error} of the {name} image", found=error.found, remedy=error.remedy)


def _alardLuptonOf(config):
    """The configuration itself when it is of the Alard-Lupton kind, else a plain one: used for forecasts only."""
    if config.kernelBasisSet == "alard-lupton":
        return config
    from .config import KernelFitConfig

    return KernelFitConfig()


def _wideGaussianIsNoise(config, fit):
    """Whether the stars tell the kernel sum worse than the widest of many Gaussians can improve it."""
    if config.kernelBasisSet != "alard-lupton" or config.alardNGauss <= 3 or config.compat:
        return False
    error, total = (fit.metadata[name] for name in ("spatialKernelSumError", "spatialKernelSum"))
    return not error <= config.maxSumErrorOfWideGaussian * abs(total)


def _withoutLastGaussian(config):
    """A copy of the configuration with one Gaussian less."""
    fewer = config.copy()
    n = config.alardNGauss - 1
    fewer.update(
        alardNGauss=n, alardDegGauss=list(config.alardDegGauss)[:n], alardSigGauss=list(config.alardSigGauss)[:n]
    )
    return fewer


def _withKernelSize(config, size):
    """A copy of the configuration with a smaller kernel."""
    smaller = config.copy()
    smaller.update(
        kernelSizeMin=min(config.kernelSizeMin, size), kernelSizeMax=size, kernelSize=min(config.kernelSize, size)
    )
    return smaller
