"""Subtraction of a ready-made template after Alard & Lupton, as pipeline tasks."""

import lsst.pipe.base as pipeBase
from lsst.pex.config import Field
from lsst.utils.timer import timeMethod

from ..task_base import assignMetadata
from .alard_lupton_base_task import (
    AlardLuptonSubtractBaseConfig,
    AlardLuptonSubtractBaseTask,
    DecorrelateALKernelTiledTask,
    InsufficientKernelSourcesError,
)
from .alard_lupton_config import modeField
from .alard_lupton_connections import AlardLuptonSubtractConnections, SimplifiedSubtractConnections
from .alard_lupton_difference import subtractConvolvedScience, subtractConvolvedTemplate
from .alard_lupton_inputs import chooseTemplateConvolved

__all__ = [
    "AlardLuptonSubtractConfig",
    "AlardLuptonSubtractTask",
    "DecorrelateALKernelTiledTask",
    "InsufficientKernelSourcesError",
    "SimplifiedSubtractConfig",
    "SimplifiedSubtractTask",
]


class AlardLuptonSubtractConfig(
    AlardLuptonSubtractBaseConfig, pipeBase.PipelineTaskConfig, pipelineConnections=AlardLuptonSubtractConnections
):
    """Configuration of `AlardLuptonSubtractTask`."""

    mode = modeField()


class AlardLuptonSubtractTask(AlardLuptonSubtractBaseTask):
    """Subtract a template that lies on the grid of the science image, with a spatially varying kernel.

    Alard & Lupton (1998, ApJ 503, 325), Alard (2000, A&AS 144, 363); decorrelation after DMTN-021.

    Notes
    -----
    Metadata: templateCoveragePercent, scaleTemplateVarianceFactor, scaleScienceVarianceFactor, sciencePsfSize,
    templatePsfSize (FWHM, pixels), scienceLimitingMagnitude, templateLimitingMagnitude, diffimLimitingMagnitude,
    fiveSigmaDifferenceMagnitude (AB), convolvedExposure ("Template" or "Science"), nPsfSources,
    differenceFootprintRatioMean and its kin, decorrelationVarianceRatio, decorrelationKernelSum, decorrelationTiles,
    noiseWhiteness. They are assigned: a second run of the same task replaces them.
    """

    ConfigClass = AlardLuptonSubtractConfig
    _DefaultName = "alardLuptonSubtract"

    @timeMethod
    def run(self, template, science, sources=None, visitSummary=None, psfMatchingKernel=None, overwrite=False):
        """Match the PSFs and subtract.

        Parameters
        ----------
        template : `stillsky.image.Exposure`
            On the pixel grid of the science image, and at least as large.
        science : `stillsky.image.Exposure`
        sources : `astropy.table.Table`
            Measured on the science image; kernel stars are chosen among them. May be None with
            ``allowKernelSourceDetection`` or with a kernel.
        visitSummary : `astropy.table.Table` or mapping, optional
            With ``doApplyExternalCalibrations``: PSFs and aperture corrections by detector id.
        psfMatchingKernel : `stillsky.kernel.Kernel`, optional
            Take this kernel, and no background, instead of fitting them.
        overwrite : `bool`
            Scale the variance planes of the exposures given instead of those of copies, which saves memory.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            ``difference`` (science minus template, science flux units), ``matchedTemplate`` (what was subtracted),
            ``matchedScience`` (what it was subtracted from), ``backgroundModel`` (science minus template, on the science
            flux scale; None with a given kernel), ``psfMatchingKernel``, ``kernelSources``.

        Raises
        ------
        ValueError
            Different WCS or bands, a template smaller than the science image, no PSF, no photometric calibration.
        lsst.pipe.base.NoWorkFound
            No template, or one that covers too little.
        InsufficientKernelSourcesError
            Too few kernel stars.
        NoKernelCandidatesError
            None survives the fit.
        """
        template, science = self._prepareInputs(template, science, visitSummary, overwrite)
        convolveTemplate = self.chooseConvolutionMethod(template, science)
        self.matchedPsfSize = self.sciencePsfSize if convolveTemplate else self.templatePsfSize
        if psfMatchingKernel is None:
            convolved, reference = (template, science) if convolveTemplate else (science, template)
            widths = (self.templatePsfSize, self.sciencePsfSize)
            kernelSources, made = self._kernelFor(
                template, science, convolved, reference, sources, widths if convolveTemplate else widths[::-1]
            )
        else:
            kernelSources, made = None, pipeBase.Struct(psfMatchingKernel=psfMatchingKernel, backgroundModel=None)
        run = self.runConvolveTemplate if convolveTemplate else self.runConvolveScience
        results = run(template, science, made)
        results.kernelSources = kernelSources
        self.computeImageMetrics(science, results.difference, kernelSources, sources)
        return results

    def chooseConvolutionMethod(self, template, science):
        """Whether the template is convolved: as configured, or the better way; see ``config.autoRule``."""
        if self.config.mode != "auto":
            return self.config.mode == "convolveTemplate"
        box = science.bbox
        widths = (self.templatePsfSize, self.sciencePsfSize)
        rule = "reference" if self.config.compat else self.config.autoRule
        chosen, why = chooseTemplateConvolved(template[box], science, widths, rule, self.makeKernel.makeKernelBasisList)
        assignMetadata(self.metadata, why)
        self.log.info("Average template PSF size %.3f, science PSF size %.3f: convolving the %s",
                      *widths, "template" if chosen else "science image")  # fmt: skip
        return chosen

    def runConvolveTemplate(self, template, science, kernelResult):
        """Convolve the template with the kernel, and subtract it.

        Parameters
        ----------
        template, science : `stillsky.image.Exposure`
            As prepared by `run`.
        kernelResult : `lsst.pipe.base.Struct`
            ``psfMatchingKernel`` and ``backgroundModel`` (or None).

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            As of `run`, without kernelSources.
        """
        kernel = kernelResult.psfMatchingKernel
        assignMetadata(self.metadata, {"convolvedExposure": "Template"})
        made = subtractConvolvedTemplate(
            template, science, kernel, self._background(kernelResult), self.config.preserveMaskPlanes
        )
        return self._results(template, science, made, kernelResult, True)

    def runConvolveScience(self, template, science, kernelResult):
        """Convolve the science image with the kernel, subtract the template, and divide by the kernel sum.

        Parameters and result as of `runConvolveTemplate`.
        """
        kernel = kernelResult.psfMatchingKernel
        assignMetadata(self.metadata, {"convolvedExposure": "Science"})
        made = subtractConvolvedScience(
            template,
            science,
            kernel,
            self._background(kernelResult),
            self.config.preserveMaskPlanes,
            self.config.compat,
        )
        return self._results(template, science, made, kernelResult, False)

    def _results(self, template, science, made, kernelResult, templateMatched):
        kernel = kernelResult.psfMatchingKernel
        return pipeBase.Struct(
            difference=self.finalize(template, science, made.difference, kernel, templateMatched=templateMatched),
            matchedTemplate=made.matchedTemplate,
            matchedScience=made.matchedScience,
            backgroundModel=self._scienceBackground(kernelResult, kernel, templateMatched),
            psfMatchingKernel=kernel,
        )


class SimplifiedSubtractConfig(
    AlardLuptonSubtractBaseConfig, pipeBase.PipelineTaskConfig, pipelineConnections=SimplifiedSubtractConnections
):
    """Configuration of `SimplifiedSubtractTask`."""

    mode = modeField()
    useExistingKernel = Field(
        dtype=bool,
        doc="Take the kernel of an earlier subtraction; otherwise fit one to sources found here.",
        default=True,
    )

    def setDefaults(self):
        super().setDefaults()
        self.allowKernelSourceDetection = True


class SimplifiedSubtractTask(AlardLuptonSubtractTask):
    """Subtract a template with a kernel that exists, or with one fitted to sources that the task finds itself."""

    ConfigClass = SimplifiedSubtractConfig
    _DefaultName = "simplifiedSubtract"

    @timeMethod
    def run(self, template, science, visitSummary=None, inputPsfMatchingKernel=None, overwrite=False):
        """Match the PSFs and subtract.

        Parameters
        ----------
        template, science, visitSummary, overwrite
            As of `AlardLuptonSubtractTask.run`.
        inputPsfMatchingKernel : `stillsky.kernel.Kernel`
            With ``useExistingKernel``; not used otherwise. No background is subtracted with it.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            As of `AlardLuptonSubtractTask.run`.

        Raises
        ------
        stillsky.DomainError
            ``useExistingKernel`` without a kernel.
        """
        if self.config.useExistingKernel and inputPsfMatchingKernel is None:
            from ..errors import DomainError

            raise DomainError("inputPsfMatchingKernel: useExistingKernel wants a kernel, got none")
        kernel = inputPsfMatchingKernel if self.config.useExistingKernel else None
        return super().run(template, science, visitSummary=visitSummary, psfMatchingKernel=kernel, overwrite=overwrite)
