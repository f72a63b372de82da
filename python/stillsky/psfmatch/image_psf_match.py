"""ImagePsfMatchTask: match the PSFs of two exposures or masked images, and subtract them."""

import copy

import lsst.pipe.base as pipeBase
import numpy as np
from lsst.pex.config import makeRegistry

from ..errors import DomainError, ShapeError, StillskyError
from ..image import Exposure
from ..kernel import ConvolutionControl, convolve
from ..task_base import assignMetadata
from ..warp import Warper
from . import SpatialCellSet
from .algorithm import withinBudget
from .basis_selection import NbasisEvaluator
from .candidates_selection import asSources, requireStamps, stampsOnSky
from .config import ImagePsfMatchConfig
from .difference import bandsOnBox, kernelSumFunction, scaledBackground
from .make_kernel import logAndMakeBasisList, makeStampCandidate, withoutBackground
from .psf_fwhm import getPsfFwhm
from .registration import isRegistered, registerTemplate
from .source_selection import selectSources
from .task import NoKernelCandidatesError, PsfMatchTask

__all__ = ["ImagePsfMatchConfig", "ImagePsfMatchTask", "subtractAlgorithmRegistry"]

_EQUAL_WIDTHS = 0.05  # relative difference of PSF widths below which both directions are tried

subtractAlgorithmRegistry = makeRegistry("Tasks that subtract a template from a science exposure")


class ImagePsfMatchTask(PsfMatchTask):
    """Match the PSF of one image to that of another with stars of both (Alard & Lupton 1998).

    Attributes
    ----------
    warper : `stillsky.warp.Warper`
        Brings the template onto the science grid.
    """

    ConfigClass = ImagePsfMatchConfig
    _DefaultName = "imagePsfMatch"
    _debugName = "lsst.ip.diffim.imagePsfMatch"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.warper = Warper.fromConfig(self.kConfig.warpingConfig)

    # ------------------------------------------------------------------ exposures

    def matchExposures(
        self,
        templateExposure,
        scienceExposure,
        templateFwhmPix=None,
        scienceFwhmPix=None,
        candidateList=None,
        doWarping=True,
        convolveTemplate=True,
    ):
        """Warp the template onto the science grid if needed, and match the PSFs.

        Parameters
        ----------
        templateExposure, scienceExposure : `stillsky.image.Exposure`
            Background subtracted, or ``fitForBackground`` or ``useAfwBackground``. Not modified.
        templateFwhmPix, scienceFwhmPix : `float`, optional
            FWHM in pixels; default: from the PSFs, where there are any.
        candidateList : `astropy.table.Table` or sequence of source records, optional
            Default: sources detected on the science exposure.
        doWarping : `bool`
            False: exposures on different grids are an error.
        convolveTemplate : `bool` or "auto"
            False: the science exposure is convolved. "auto": the sharper exposure is; within 5 percent of equal widths
            both ways are tried, and the one whose candidates have the smaller residuals is taken.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            matchedImage (`MaskedImage`, the convolved one), psfMatchingKernel, backgroundModel (to be added to the
            matched image), kernelCellSet, warpedExposure (template on the science grid), matchedExposure (the matched
            image with the science WCS and PhotoCalib and the filter of the convolved exposure; no PSF),
            convolveTemplate (what was done; the metadata ``convolvedExposure`` has it as "Template" or "Science"),
            scienceBackground (the differential background, science minus template, on the science flux scale).

        Raises
        ------
        MismatchError
            Not registered and ``doWarping`` is False, or no overlap.
        InvalidPsfError
            The template must be warped and has no PSF.
        NoKernelCandidatesError
            No candidate survives the fit.
        """
        widths = (templateFwhmPix, scienceFwhmPix)
        return self._match(templateExposure, scienceExposure, widths, candidateList, doWarping, convolveTemplate)[0]

    def _match(self, template, science, widths, candidateList, doWarping, convolveTemplate):
        """Result of `matchExposures`, and the science exposure as it was used."""
        warped = registerTemplate(template, science, self.kConfig.warpingConfig, doWarping)
        warped, science = (withoutBackground(self, exposure) for exposure in (warped, science))
        widths = (self._fwhm(warped, widths[0], "template"), self._fwhm(science, widths[1], "science"))
        result = self._matchBestWay(warped, science, widths, candidateList, convolveTemplate)
        assignMetadata(self.metadata, {"convolvedExposure": "Template" if result.convolveTemplate else "Science"})
        return result, science

    def _matchBestWay(self, warped, science, widths, candidateList, convolveTemplate):
        """Match in the direction asked for, or in the better one."""
        if convolveTemplate not in (True, False, "auto"):
            raise DomainError(f"convolveTemplate: wanted True, False or 'auto', got {convolveTemplate!r}")
        if convolveTemplate != "auto":
            return self._matchOneWay(warped, science, widths, candidateList, bool(convolveTemplate))
        if None in widths:
            return self._matchOneWay(warped, science, widths, candidateList, True)
        if abs(widths[0] / widths[1] - 1.0) > _EQUAL_WIDTHS:
            return self._matchOneWay(warped, science, widths, candidateList, widths[0] < widths[1])
        ways = []
        for way in (False, True):  # the template last: it wins a tie, and its fit is then the last one
            try:
                result = self._matchOneWay(warped, science, widths, candidateList, way)
            except NoKernelCandidatesError as error:
                failure = error
                continue
            ways.append((self._merit(), result, self.fit))
        if not ways:
            raise failure
        merit, result, fit = min(reversed(ways), key=lambda way: way[0])
        lastWayFailed = not ways[-1][1].convolveTemplate
        self.log.info(
            "Convolving the %s: merit %.3f", "template" if result.convolveTemplate else "science image", merit
        )
        if fit is not self.fit or lastWayFailed:
            # The metadata must be those of the way taken.
            return self._matchOneWay(warped, science, widths, candidateList, result.convolveTemplate)
        return result

    def _merit(self):
        """Median over the candidates of the residual in sigma, with the kernel fitted without each."""
        values = np.array([c["looRms"] for c in self.fit.candidates if c["usedInFit"]])
        return float(np.nanmedian(values)) if np.isfinite(values).any() else np.inf

    def _matchOneWay(self, warped, science, widths, candidateList, convolveTemplate):
        """Match registered exposures; ``widths`` are those of template and science in pixels."""
        convolved, reference = (warped, science) if convolveTemplate else (science, warped)
        widths = widths if convolveTemplate else widths[::-1]
        kernelSize = self.makeKernelBasisList(*widths)[0].width
        stamps = self.makeCandidateList(warped, science, kernelSize, candidateList)
        result = self._matchPixels(convolved.maskedImage, reference.maskedImage, stamps, *widths)
        matchedExposure = Exposure(
            result.matchedImage, wcs=science.wcs, photoCalib=science.photoCalib, filter=convolved.filter
        )
        background = result.backgroundModel
        if not convolveTemplate:
            background = scaledBackground(background, kernelSumFunction(result.psfMatchingKernel))
        return pipeBase.Struct(
            **result.getDict(),
            warpedExposure=warped,
            matchedExposure=matchedExposure,
            convolveTemplate=convolveTemplate,
            scienceBackground=background,
        )

    def subtractExposures(
        self,
        templateExposure,
        scienceExposure,
        templateFwhmPix=None,
        scienceFwhmPix=None,
        candidateList=None,
        doWarping=True,
        convolveTemplate=True,
    ):
        """Match the PSFs and subtract: science minus template, on the science flux scale.

        Parameters
        ----------
        templateExposure, scienceExposure, templateFwhmPix, scienceFwhmPix, candidateList, doWarping, convolveTemplate
            As for `matchExposures`.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            subtractedExposure and the items of `matchExposures`. With the science exposure convolved, the difference is
            divided by the kernel sum at each pixel and has the PSF of the warped template.
        """
        widths = (templateFwhmPix, scienceFwhmPix)
        result, science = self._match(
            templateExposure, scienceExposure, widths, candidateList, doWarping, convolveTemplate
        )
        if result.convolveTemplate:
            psf = scienceExposure.psf
            difference = self._subtract(science.maskedImage, result.matchedImage, result.backgroundModel)
        else:
            psf = result.warpedExposure.psf
            difference = self._subtract(result.warpedExposure.maskedImage, result.matchedImage, result.backgroundModel)
            for rows, sums in bandsOnBox(kernelSumFunction(result.psfMatchingKernel), difference.bbox):
                difference.image.array[rows] /= -sums
                difference.variance.array[rows] /= sums**2
        metadata = copy.deepcopy(scienceExposure.metadata)
        subtracted = Exposure(difference, scienceExposure.info, psf=psf, metadata=metadata)
        return pipeBase.Struct(subtractedExposure=subtracted, **result.getDict())

    def _fwhm(self, exposure, given, which):
        if given is not None:
            return given
        if exposure.psf is None:
            self.log.warning("No estimate of the PSF width of the %s exposure", which)
            return None
        return getPsfFwhm(exposure.psf)

    # ------------------------------------------------------------------ masked images

    def matchMaskedImages(
        self, templateMaskedImage, scienceMaskedImage, candidateList, templateFwhmPix=None, scienceFwhmPix=None
    ):
        """Match the PSF of a template to that of a science image of equal dimensions.

        Parameters
        ----------
        templateMaskedImage, scienceMaskedImage : `stillsky.image.MaskedImage`
            The first is convolved.
        candidateList : `list` [`CandidateStamp`]
            As returned by `makeCandidateList`.
        templateFwhmPix, scienceFwhmPix : `float`, optional

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            matchedImage, psfMatchingKernel, backgroundModel, kernelCellSet.

        Raises
        ------
        StillskyError
            No candidates.
        ShapeError
            The dimensions differ.
        """
        images = (withoutBackground(self, image) for image in (templateMaskedImage, scienceMaskedImage))
        return self._matchPixels(*images, candidateList, templateFwhmPix, scienceFwhmPix)

    def _matchPixels(self, templateMaskedImage, scienceMaskedImage, candidateList, templateFwhmPix, scienceFwhmPix):
        """`matchMaskedImages` for pixels whose background is what is to be matched."""
        if not candidateList:
            raise StillskyError("candidateList: wanted the stamps made by makeCandidateList, got none")
        if tuple(templateMaskedImage.dimensions) != tuple(scienceMaskedImage.dimensions):
            raise ShapeError(
                "matchMaskedImages: wanted images of equal dimensions, got"
                f" {tuple(templateMaskedImage.dimensions)} and {tuple(scienceMaskedImage.dimensions)}"
            )
        kernelCellSet = self._buildCellSet(templateMaskedImage, scienceMaskedImage, candidateList)
        degrees = self._chooseDegrees(kernelCellSet, templateFwhmPix, scienceFwhmPix)
        basisList = self.makeKernelBasisList(
            templateFwhmPix, scienceFwhmPix, basisDegGauss=degrees, metadata=self.metadata
        )
        kernelCellSet = self._withinBudget(kernelCellSet, basisList)
        _, kernel, background = self._solve(kernelCellSet, basisList)
        matched = templateMaskedImage.emptyLike()
        convolve(matched, templateMaskedImage, kernel, ConvolutionControl(doNormalize=False))
        return pipeBase.Struct(
            matchedImage=matched, psfMatchingKernel=kernel, backgroundModel=background, kernelCellSet=kernelCellSet
        )

    def subtractMaskedImages(
        self, templateMaskedImage, scienceMaskedImage, candidateList, templateFwhmPix=None, scienceFwhmPix=None
    ):
        """Match as `matchMaskedImages` and subtract: science minus (matched template plus background).

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            subtractedMaskedImage and the items of `matchMaskedImages`.
        """
        template, science = (withoutBackground(self, image) for image in (templateMaskedImage, scienceMaskedImage))
        result = self._matchPixels(template, science, candidateList, templateFwhmPix, scienceFwhmPix)
        difference = self._subtract(science, result.matchedImage, result.backgroundModel)
        return pipeBase.Struct(subtractedMaskedImage=difference, **result.getDict())

    def _subtract(self, reference, matched, background):
        """reference - matched - background: masks ORed by the names of their planes, variances added."""
        difference = reference.copy()
        # A coadd has planes of its own (REJECTED, CLIPPED, ...): they are added, those of the reference keep their bits.
        difference.mask.schema = matched.mask.conformTo(reference.mask.schema).schema
        difference -= matched
        for rows, values in bandsOnBox(background, difference.bbox):
            difference.image.array[rows] -= values
        return difference

    # ------------------------------------------------------------------ candidates

    def getSelectSources(self, exposure, sigma=None, doSmooth=True, idFactory=None):
        """Sources detected on an exposure, which stays as it is.

        Returns
        -------
        sources : `astropy.table.Table`
            See `stillsky.psfmatch.source_selection.selectSources`.
        """
        return selectSources(
            exposure,
            self.config.selectDetection,
            self.kConfig.afwBackgroundConfig,
            sigma,
            doSmooth,
            idFactory,
            self.log,
            list(self.config.selectMeasurement.plugins),
        )

    def makeCandidateList(self, templateExposure, scienceExposure, kernelSize, candidateList=None):
        """Stamps of the sources that both exposures show undamaged.

        Parameters
        ----------
        templateExposure, scienceExposure : `stillsky.image.Exposure`
            Registered.
        kernelSize : `int`
            Pixels.
        candidateList : optional
            As for `matchExposures`.

        Returns
        -------
        stamps : `list` [`CandidateStamp`]

        Raises
        ------
        StillskyError
            The list is empty, of mixed types, or holds no source records.
        NoDataError
            No source is fit to be a candidate.
        """
        if candidateList is None:
            candidateList = self.getSelectSources(scienceExposure)
        sources = asSources(candidateList)
        stamps = self.sourceToFootprintList(sources, templateExposure, scienceExposure, kernelSize)
        return requireStamps(stamps, sources)

    def sourceToFootprintList(self, candidateInList, templateExposure, scienceExposure, kernelSize):
        """Stamps around sources, those that are damaged or too near an edge left out; may be empty."""
        stamps = stampsOnSky(
            candidateInList, templateExposure, scienceExposure, kernelSize, self.kConfig.detectionConfig
        )
        self.log.info("Selected %d / %d sources as kernel candidates", len(stamps), len(candidateInList))
        return stamps

    def makeKernelBasisList(
        self, targetFwhmPix=None, referenceFwhmPix=None, basisDegGauss=None, basisSigmaGauss=None, metadata=None
    ):
        """Basis functions of the active configuration; see `stillsky.psfmatch.basis.makeKernelBasisList`."""
        return logAndMakeBasisList(self, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss, metadata)

    def _chooseDegrees(self, kernelCellSet, templateFwhmPix, scienceFwhmPix):
        """Degrees by the candidates' vote, or None for those of the configuration."""
        if not (self.kConfig.useBicForKernelBasis and self.kConfig.kernelBasisSet == "alard-lupton"):
            return None
        evaluator = NbasisEvaluator(self.kConfig, templateFwhmPix, scienceFwhmPix)
        return evaluator(kernelCellSet, self._settings(kernelCellSet=kernelCellSet), self.log)

    def _buildCellSet(self, templateMaskedImage, scienceMaskedImage, candidateList):
        """Cells over the template's box, with one candidate per stamp."""
        cellSet = SpatialCellSet(templateMaskedImage.bbox, self.kConfig.sizeCellX, self.kConfig.sizeCellY)
        settings = self._settings(scienceMaskedImage.mask)
        for stamp in candidateList:
            cellSet.insertCandidate(makeStampCandidate(stamp, templateMaskedImage, scienceMaskedImage, settings))
        return cellSet

    def _withinBudget(self, cellSet, basisList):
        """The cells without the candidates whose fit would take too long, those of lowest rating."""
        candidates, seconds = list(cellSet.allCandidates()), self.kConfig.maxKernelFitSeconds
        kept = withinBudget([c.rating for c in candidates], basisList[0].width, len(basisList), seconds)
        nSkipped = len(candidates) - len(kept)
        assignMetadata(self.metadata, {"kernelSourcesSkipped": nSkipped})
        if not nSkipped:
            return cellSet
        self.log.warning("%d kernel stars are left out to keep the fit within %g seconds", nSkipped, seconds)
        fewer = SpatialCellSet(cellSet.bbox, self.kConfig.sizeCellX, self.kConfig.sizeCellY)
        for k in kept:
            fewer.insertCandidate(candidates[k])
        return fewer

    def _validateWcs(self, templateExposure, scienceExposure):
        """Whether the exposures lie on one pixel grid."""
        return isRegistered(templateExposure, scienceExposure)


subtractAlgorithmRegistry.register("al", ImagePsfMatchTask)
