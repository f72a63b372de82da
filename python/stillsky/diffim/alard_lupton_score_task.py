"""The likelihood image of science minus template, as a pipeline task."""

import math

import lsst.pipe.base as pipeBase
from lsst.pex.config import Field
from lsst.utils.timer import timeMethod

from ..task_base import assignMetadata
from .alard_lupton_base_task import AlardLuptonSubtractBaseConfig, AlardLuptonSubtractBaseTask
from .alard_lupton_connections import AlardLuptonPreconvolveSubtractConnections
from .preconvolve import filterWithPsf, makePrefilter, scoreSignificance, subtractFromFiltered

__all__ = ["AlardLuptonPreconvolveSubtractConfig", "AlardLuptonPreconvolveSubtractTask"]


class AlardLuptonPreconvolveSubtractConfig(
    AlardLuptonSubtractBaseConfig,
    pipeBase.PipelineTaskConfig,
    pipelineConnections=AlardLuptonPreconvolveSubtractConnections,
):
    """Configuration of `AlardLuptonPreconvolveSubtractTask`."""

    doWriteScoreSignificance = Field(dtype=bool, doc="Write the score over its noise as well.", default=True)


class AlardLuptonPreconvolveSubtractTask(AlardLuptonSubtractBaseTask):
    """Make the likelihood (score) image: its pixels tell the significance of a point source there.

    See `stillsky.diffim.preconvolve`.

    Notes
    -----
    Metadata: those of `AlardLuptonSubtractTask` but the footprint ratios; convolvedExposure is "Preconvolution";
    preconvolvedSciencePsfSize (FWHM, pixels) and nInterpolated (pixels replaced before the filter).
    """

    ConfigClass = AlardLuptonPreconvolveSubtractConfig
    _DefaultName = "alardLuptonPreconvolveSubtract"

    @timeMethod
    def run(self, template, science, sources=None, visitSummary=None, psfMatchingKernel=None, overwrite=False):
        """Filter the science image with its PSF, match the template to it, subtract, whiten.

        Parameters
        ----------
        template, science, sources, visitSummary, overwrite
            As of `AlardLuptonSubtractTask.run`.
        psfMatchingKernel : `stillsky.kernel.Kernel`, optional
            Matches the template to the filtered science image; default: it is fitted.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            ``scoreExposure``, ``scoreSignificance`` (`stillsky.image.Image`, score over its standard deviation),
            ``matchedScience`` (the filtered image), ``matchedTemplate``, ``backgroundModel``, ``psfMatchingKernel``,
            ``kernelSources``.

        Raises
        ------
        ValueError
            As `AlardLuptonSubtractTask.run`; a PSF of even width or height.
        lsst.pipe.base.NoWorkFound, InsufficientKernelSourcesError, NoKernelCandidatesError
            As `AlardLuptonSubtractTask.run`.
        """
        template, science = self._prepareInputs(template, science, visitSummary, overwrite)
        prefilter = makePrefilter(science.psf, reflected=self.config.compat)
        filtered, nInterpolated = filterWithPsf(
            science, prefilter, self.config.badMaskPlanes, self.config.preserveMaskPlanes
        )
        self.matchedPsfSize = math.sqrt(2.0) * self.sciencePsfSize
        assignMetadata(
            self.metadata,
            {
                "convolvedExposure": "Preconvolution",
                "preconvolvedSciencePsfSize": self.matchedPsfSize,
                "nInterpolated": nInterpolated,
            },
        )
        if psfMatchingKernel is None:
            inner = science.bbox.eroded((prefilter.width // 2, prefilter.height // 2))
            widths = (self.templatePsfSize, self.matchedPsfSize)
            kernelSources, made = self._kernelFor(
                template, science, template, filtered, sources, widths, preconvolved=True, box=inner
            )
        else:
            kernelSources, made = None, pipeBase.Struct(psfMatchingKernel=psfMatchingKernel, backgroundModel=None)
        results = self.runPreconvolve(template, science, filtered, made, prefilter)
        results.kernelSources = kernelSources
        return results

    def runPreconvolve(self, template, science, filtered, kernelResult, prefilter):
        """The score image.

        Parameters
        ----------
        template, science : `stillsky.image.Exposure`
            As prepared by `run`.
        filtered : `stillsky.image.Exposure`
            The science image after ``prefilter``.
        kernelResult : `lsst.pipe.base.Struct`
            ``psfMatchingKernel`` and ``backgroundModel`` (or None).
        prefilter : `stillsky.kernel.FixedKernel`

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            As of `run`, without kernelSources.
        """
        kernel = kernelResult.psfMatchingKernel
        raw, matchedTemplate = subtractFromFiltered(
            template, filtered, kernel, self._background(kernelResult), self.config.preserveMaskPlanes
        )
        score = self.finalize(template, science, raw, kernel, preConvMode=True, preConvKernel=prefilter)
        return pipeBase.Struct(
            scoreExposure=score,
            scoreSignificance=scoreSignificance(score),
            matchedScience=filtered,
            matchedTemplate=matchedTemplate,
            backgroundModel=kernelResult.backgroundModel,
            psfMatchingKernel=kernel,
        )
