"""What the current subtraction tasks share: subtasks, inputs, kernel stars, kernel, decorrelation, figures of merit."""

import contextlib
import os

import lsst.pipe.base as pipeBase
import numpy as np
from lsst.pex.config import ConfigurableField
from lsst.utils.timer import timeMethod

from ..background.scale_variance_task import ScaleVarianceTask
from ..errors import DomainError
from ..image import Exposure
from ..psfmatch.difference import bandsOnBox, scaledBackground
from ..psfmatch.make_kernel import MakeKernelTask
from ..psfmatch.psf_fwhm import psfWidths
from ..task_base import CommandLineVerbs, ErrorMetadata, assignMetadata
from ..threads import numThreads
from . import alard_lupton_inputs as inputs
from . import alard_lupton_sources as starting
from .alard_lupton_config import AlardLuptonSubtractFields, configureSelector
from .alard_lupton_difference import kernelSum
from .decorrelate_task import DecorrelateALKernelTiledTask
from .difference_metrics import computeDifferenceImageMetrics, discFootprints, footprintChi2
from .resampling_noise import resamplingOf
from .science_selector_task import ScienceSourceSelectorTask

__all__ = [
    "AlardLuptonSubtractBaseConfig",
    "AlardLuptonSubtractBaseTask",
    "DecorrelateALKernelTiledTask",
    "InsufficientKernelSourcesError",
]

_POSITIONS = (("slot_Centroid_x", "slot_Centroid_y"), ("base_SdssCentroid_x", "base_SdssCentroid_y"), ("x", "y"))


class InsufficientKernelSourcesError(ErrorMetadata, starting.InsufficientKernelSourcesError, pipeBase.AlgorithmError):
    """Too few sources to fit a kernel, as a repeatable failure of a pipeline task."""


class AlardLuptonSubtractBaseConfig(AlardLuptonSubtractFields):
    """Fields and subtasks of all current subtraction tasks."""

    makeKernel = ConfigurableField(target=MakeKernelTask, doc="Fit of the matching kernel.")
    decorrelate = ConfigurableField(target=DecorrelateALKernelTiledTask, doc="Decorrelation of the result.")
    scaleVariance = ConfigurableField(target=ScaleVarianceTask, doc="Scaling of the variance planes of both images.")
    sourceSelector = ConfigurableField(target=ScienceSourceSelectorTask, doc="Choice of kernel stars.")
    fallbackSourceSelector = ConfigurableField(
        target=ScienceSourceSelectorTask, doc="Choice among sources that were detected for want of others."
    )

    def setDefaults(self):
        super().setDefaults()
        self.makeKernel.kernel.name = "AL"
        self.makeKernel.kernel.active.fitForBackground = True
        self.makeKernel.kernel.active.spatialKernelOrder = 1
        self.makeKernel.kernel.active.spatialBgOrder = 2
        configureSelector(self.sourceSelector, isolated=True)
        configureSelector(self.fallbackSourceSelector, isolated=False)


class AlardLuptonSubtractBaseTask(CommandLineVerbs, pipeBase.PipelineTask):
    """Base of the current subtraction tasks.

    Attributes
    ----------
    sciencePsfSize, templatePsfSize, matchedPsfSize : `float`
        FWHM of the last run in pixels; the last one is that of the image that was not convolved.
    """

    ConfigClass = AlardLuptonSubtractBaseConfig

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.makeSubtask("makeKernel")
        self.makeSubtask("sourceSelector")
        self.makeSubtask("fallbackSourceSelector")
        if self.config.doDecorrelation:
            self.makeSubtask("decorrelate")
        if self.config.doScaleVariance:
            self.makeSubtask("scaleVariance")
        self.sciencePsfSize = self.templatePsfSize = self.matchedPsfSize = None

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Read, run, write. One thread unless the environment says otherwise."""
        given = butlerQC.get(inputRefs)
        with contextlib.nullcontext() if os.environ.get("STILLSKY_NUM_THREADS") else numThreads(1):
            try:
                outputs = self.run(**given)
            except pipeBase.AlgorithmError as error:
                raise pipeBase.AnnotatedPartialOutputsError.annotate(error, self, log=self.log) from error
        butlerQC.put(outputs, outputRefs)

    # ------------------------------------------------------------------ inputs

    def checkTemplateIsSufficient(self, template, science, requiredTemplateFraction, message=""):
        """Covered fraction of the science image; `lsst.pipe.base.NoWorkFound` when it is below the required one."""
        try:
            return inputs.checkTemplateIsSufficient(template, science, requiredTemplateFraction, message, self.log)
        except inputs.InsufficientCoverageError as error:
            raise pipeBase.NoWorkFound(str(error)) from error

    @timeMethod
    def _prepareInputs(self, template, science, visitSummary=None, overwrite=False):
        """Check both exposures, scale their variances, choose their mask planes, measure their PSFs.

        Parameters
        ----------
        template, science : `stillsky.image.Exposure`
        visitSummary : see `stillsky.diffim.alard_lupton_inputs.applyExternalCalibration`
        overwrite : `bool`
            Scale the variance planes of the exposures given; otherwise those of copies.

        Returns
        -------
        template, science : `stillsky.image.Exposure`
            With the same mask planes; images are shared with those given.

        Raises
        ------
        ValueError
            Different WCS or bands, a template that does not reach over the science image, no PSF, no calibration.
        lsst.pipe.base.NoWorkFound
            No template, or one that covers too little.
        """
        config = self.config
        if template is None:
            raise pipeBase.NoWorkFound("There is no template for the science image.")
        if config.doApplyExternalCalibrations:
            science = Exposure(science.maskedImage, science.info)
            inputs.applyExternalCalibration(science, visitSummary, self.log)
        inputs.checkPair(template, science, config.assumeCalibrated)
        fraction = self.checkTemplateIsSufficient(template, science, config.requiredTemplateFraction)
        assignMetadata(self.metadata, {"templateCoveragePercent": 100 * fraction})
        copied = config.doScaleVariance and not overwrite
        template, science = (inputs.ownPlanes(exposure, copied) for exposure in (template, science))
        if config.doScaleVariance:
            for name, exposure in (("Template", template), ("Science", science)):
                factor = self.scaleVariance.run(exposure.maskedImage)
                self.log.info("%s variance scaling factor: %.2f", name, factor)
                assignMetadata(self.metadata, {f"scale{name}VarianceFactor": factor})
        inputs.updateMasks(template.mask, science.mask, config.preserveTemplateMask, config.renameTemplateMask)
        self._measurePsfs(template, science)
        return template, science

    def _measurePsfs(self, template, science):
        """Widths and depths into attributes and metadata."""
        settings = self.config.makeKernel
        self.templatePsfSize, self.sciencePsfSize = psfWidths(
            template, science, settings.fwhmExposureBuffer, settings.fwhmExposureGrid
        )
        self.log.info("FWHM of the science image %.3f, of the template %.3f", self.sciencePsfSize, self.templatePsfSize)
        limits = [
            inputs.limitingMagnitude(exposure, width)
            for exposure, width in ((science, self.sciencePsfSize), (template, self.templatePsfSize))
        ]
        assignMetadata(
            self.metadata,
            {
                "sciencePsfSize": self.sciencePsfSize,
                "templatePsfSize": self.templatePsfSize,
                "scienceLimitingMagnitude": limits[0],
                "templateLimitingMagnitude": limits[1],
                "diffimLimitingMagnitude": inputs.combinedLimit(*limits),
            },
        )

    # ------------------------------------------------------------------ kernel

    def _kernelFor(self, template, science, convolved, reference, sources, widths, *, preconvolved=False, box=None):
        """Kernel stars and the kernel that takes one image to the other.

        Parameters
        ----------
        template, science : `stillsky.image.Exposure`
            As prepared: their coverage decides whether a failure counts.
        convolved, reference : `stillsky.image.Exposure`
            What is convolved and what it is matched to.
        sources : `astropy.table.Table` or None
        widths : (`float`, `float`)
            FWHM of both in pixels.
        preconvolved : `bool`
            The reference is filtered with its PSF.
        box : `stillsky.geom.Box2I`, optional
            Where the kernel is fitted; default: the science image.

        Returns
        -------
        kernelSources : `astropy.table.Table`
        result : `lsst.pipe.base.Struct`
            Of `MakeKernelTask.run`.
        """
        box = science.bbox if box is None else box
        try:
            chosen = self._selectSources(science, convolved, reference, sources, widths, preconvolved)
            result = self.makeKernel.run(
                convolved[box], reference[box], chosen, preconvolved=preconvolved,
                templateFwhmPix=widths[0], scienceFwhmPix=widths[1],
            )  # fmt: skip
        except (RuntimeError, ArithmeticError, ValueError) as error:
            self.log.warning("Failed to match the template. Checking its coverage: %s", error)
            self.checkTemplateIsSufficient(
                template,
                science,
                self.config.minTemplateFractionForExpectedSuccess,
                f"Template coverage lower than expected to succeed. Failure is tolerable: {error}",
            )
            raise
        assignMetadata(self.metadata, {"nPsfSources": len(chosen)})
        return chosen, result

    def _selectSources(self, science, convolved, reference, sources, widths, preconvolved):
        """Kernel stars of a catalogue, or, where that yields too few and the configuration allows it, detected ones."""
        config = self.config
        chosen = None
        if sources is not None:
            chosen = self._choose(self.sourceSelector, sources, convolved, reference, science, widths, preconvolved)
        elif not config.allowKernelSourceDetection:
            raise DomainError("sources: wanted a table of sources, or allowKernelSourceDetection")
        enough = chosen is not None and len(chosen) >= config.minKernelSources
        if not enough and config.allowKernelSourceDetection:
            self.log.info("Searching the science image for kernel stars")
            # a counter of their own: the ids of the difference's sources do not depend on these
            found = self.makeKernel.getSelectSources(science)
            chosen = self._choose(
                self.fallbackSourceSelector, found, convolved, reference, science, widths, preconvolved, isolate=True
            )
        if len(chosen) < config.minKernelSources:
            raise InsufficientKernelSourcesError(len(chosen), config.minKernelSources)
        return chosen

    def _choose(self, selector, sources, convolved, reference, science, widths, preconvolved, isolate=False):
        config = self.config
        basis = self.makeKernel.makeKernelBasisList(*widths)
        size = basis[0].width
        found = selector.selectSources(sources)
        selected = np.asarray(found.selected)
        if isolate or "doIsolated" in getattr(found, "skipped", ()):
            selected = starting.isolatedSources(sources, selected, size, science.wcs)
        area = starting.kernelSourceArea(science.bbox, size, preconvolved, config.restrictKernelEdgeSources)
        chosen = starting.selectKernelSources(
            sources, selected, convolved, reference, area, size, config.excludeMaskPlanes, config.maxKernelSources
        )
        if not config.maxKernelFitSeconds:
            return chosen
        kept = starting.brightestSources(
            chosen, starting.affordableSources(size, len(basis), config.maxKernelFitSeconds)
        )
        if len(kept) < len(chosen):
            self.log.warning("%d kernel stars are left out to keep the fit within %g seconds",
                             len(chosen) - len(kept), config.maxKernelFitSeconds)  # fmt: skip
        assignMetadata(self.metadata, {"kernelSourcesSkipped": len(chosen) - len(kept)})
        return kept

    def _background(self, result):
        """What the kernel fit found, or 0 where it is not to be subtracted."""
        if not self.config.doSubtractBackground or result.backgroundModel is None:
            return 0.0
        return result.backgroundModel

    # ------------------------------------------------------------------ result

    @timeMethod
    def finalize(
        self,
        template,
        science,
        difference,
        kernel,
        templateMatched=True,
        preConvMode=False,
        preConvKernel=None,
        spatiallyVarying=False,
    ):
        """Decorrelate a difference or a score image.

        Parameters
        ----------
        template, science : `stillsky.image.Exposure`
            Before filter and matching; the template may be larger.
        difference : `stillsky.image.Exposure`
        kernel : `stillsky.kernel.Kernel`
        templateMatched : `bool`
            The template was convolved.
        preConvMode : `bool`
            The science image was filtered with ``preConvKernel``.
        preConvKernel : `stillsky.kernel.Kernel`, optional
        spatiallyVarying : `bool`
            Not used: ``decorrelate`` is configured.

        Returns
        -------
        difference : `stillsky.image.Exposure`
            A new one, or with ``doDecorrelation=False`` the one given.
        """
        if not self.config.doDecorrelation:
            self.log.info("Not decorrelated: the noise of neighbouring pixels is correlated")
            return difference
        total = kernelSum(kernel)
        center = tuple(float(v) for v in difference.bbox.center)
        atCenter = float(np.squeeze(total(*(np.array([v]) for v in center)))) if callable(total) else total
        corrected = self.decorrelate.run(
            science,
            template[science.bbox],
            difference,
            kernel,
            preConvKernel=preConvKernel,
            templateMatched=templateMatched,
            preConvMode=preConvMode,
            kernelSum=None if templateMatched else atCenter,
            # a template of patches is resampled: its noise is correlated before any matching
            templateCorrelation=None if self.config.compat else resamplingOf(template.psf, center),
        ).correctedExposure
        if not templateMatched and callable(total):
            # the variance plane was divided by the sum at the centre, the image by that of each pixel
            for rows, values in bandsOnBox(total, corrected.bbox):
                corrected.variance.array[rows] *= np.square(atCenter / values)
        corrected.metadata.set("DECORR", True, "noise made white after the matching")
        corrected.metadata.set("KSUM", atCenter, "kernel sum at the centre of the image")
        self._describeDecorrelation(preConvMode)
        return corrected

    def _describeDecorrelation(self, preConvMode):
        found = self.decorrelate.metadata
        names = ("scienceVariance", "templateVariance", "kernelSum", "nTiles")
        if not all(name in found for name in names):
            return  # a subtask of another kind
        science, template, total, nTiles = (found[name] for name in names)
        # the noise of a score is not white, and should not be
        whiteness = found.getArray("noiseWhiteness") if "noiseWhiteness" in found and not preConvMode else None
        assignMetadata(
            self.metadata,
            {
                "decorrelationVarianceRatio": template / science if science > 0 else np.inf,
                "decorrelationKernelSum": total,
                "decorrelationTiles": nTiles,
                "noiseWhiteness": None if whiteness is None else float(np.max(np.abs(whiteness))),
            },
        )

    def computeImageMetrics(self, science, difference, kernelSources, sources=None):
        """How much of the stars' light is left, into the metadata.

        Parameters
        ----------
        science, difference : `stillsky.image.Exposure`
        kernelSources : `astropy.table.Table` or None
            The stars.
        sources : `astropy.table.Table`, optional
            Whose rows flagged sky_source are empty positions.

        Returns
        -------
        metrics : `dict`
            See `stillsky.diffim.difference_metrics.computeDifferenceImageMetrics`; and ``differenceFootprintChi2Mean``,
            ``differenceFootprintChi2Median``: mean squared pixel of the stars' footprints over its variance.
        """
        radius = max(1, round(self.sciencePsfSize))
        box = difference.bbox
        stars = discFootprints(*_positions(kernelSources), radius, box)
        sky = None
        if sources is not None and "sky_source" in sources.colnames:
            sky = discFootprints(*_positions(sources[np.asarray(sources["sky_source"], bool)]), radius, box)
        metrics = computeDifferenceImageMetrics(science, difference, stars, sky)
        chi2 = footprintChi2(difference, stars)
        metrics["differenceFootprintChi2Mean"] = float(np.mean(chi2)) if len(chi2) else np.nan
        metrics["differenceFootprintChi2Median"] = float(np.median(chi2)) if len(chi2) else np.nan
        metrics["fiveSigmaDifferenceMagnitude"] = inputs.fiveSigmaMagnitude(difference)
        assignMetadata(self.metadata, metrics)
        self.log.info("Mean, stdev of ratio of difference to science pixels in star footprints: %5.4f, %5.4f",
                      metrics["differenceFootprintRatioMean"], metrics["differenceFootprintRatioStdev"])  # fmt: skip
        return metrics

    def _scienceBackground(self, result, kernel, templateMatched):
        """The differential background, science minus template, on the science flux scale."""
        if result.backgroundModel is None or templateMatched:
            return result.backgroundModel
        return scaledBackground(result.backgroundModel, kernelSum(kernel))


def _positions(table):
    """Columns of positions; both empty without a table."""
    if table is None or not len(table):
        return np.zeros(0), np.zeros(0)
    names = next((pair for pair in _POSITIONS if pair[0] in table.colnames), None)
    if names is None:
        return np.zeros(0), np.zeros(0)  # sky positions alone: no figure of merit
    return tuple(np.asarray(table[name], float) for name in names)
