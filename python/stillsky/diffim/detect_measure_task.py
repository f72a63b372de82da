"""Detection and measurement on difference images as tasks."""

import contextlib
import os

import lsst.pipe.base as pipeBase
from astropy.table import Table
from lsst.utils.timer import timeMethod

from ..errors import DomainError, InvalidPsfError
from ..task_base import CommandLineVerbs, ErrorMetadata, assignMetadata
from ..threads import numThreads
from . import detect_errors
from .detect_measure import checkResult, checkSourceFlags, detectAndMeasure
from .detect_measure_config import DetectAndMeasureTaskFields
from .detect_measure_connections import DetectAndMeasureConnections, DetectAndMeasureScoreConnections
from .ids import layoutOfDataId
from .source_schema import sourceSchema

__all__ = [
    "BadSubtractionError",
    "DetectAndMeasureConfig",
    "DetectAndMeasureScoreConfig",
    "DetectAndMeasureScoreTask",
    "DetectAndMeasureTask",
    "NoDiaSourcesError",
    "TooManyCosmicRays",
]


class BadSubtractionError(ErrorMetadata, detect_errors.BadSubtractionError, pipeBase.AlgorithmError):
    """The kernel stars leave more than they should, as a repeatable failure of a pipeline task."""


class NoDiaSourcesError(ErrorMetadata, detect_errors.NoDiaSourcesError, pipeBase.AlgorithmError):
    """No source is left, as a repeatable failure of a pipeline task."""


class TooManyCosmicRays(ErrorMetadata, detect_errors.TooManyCosmicRays, pipeBase.AlgorithmError):
    """More cosmic rays than may be, as a repeatable failure of a pipeline task."""

    @classmethod
    def of(cls, error):
        """The same failure as this class."""
        return cls(*error.args, metadata=error.metadata, background=error.background)


class DetectAndMeasureConfig(
    DetectAndMeasureTaskFields, pipeBase.PipelineTaskConfig, pipelineConnections=DetectAndMeasureConnections
):
    """Configuration of `DetectAndMeasureTask`."""


class DetectAndMeasureScoreConfig(
    DetectAndMeasureTaskFields, pipeBase.PipelineTaskConfig, pipelineConnections=DetectAndMeasureScoreConnections
):
    """Configuration of `DetectAndMeasureScoreTask`."""


class DetectAndMeasureTask(CommandLineVerbs, pipeBase.PipelineTask):
    """Find and measure the sources of a difference image.

    Attributes
    ----------
    outputSchema : `astropy.table.Table`
        Empty, with the columns of the sources.
    detection : `DetectAndMeasureResult` or None
        Everything about the last run.

    Notes
    -----
    Metadata: nUnmergedDiaSources, nMergedDiaSources, nRejectedBadMaskPlanes, nRemovedBadFlaggedSources, n_skySources,
    sky_footprint_count, cosmic_ray_count, nGlintTrails, kernelUncertainty, nGoodDiaSources, counts of pixels and fractions
    of mask planes, residualFootprintRatioMean and Stdev, differenceFootprintSkyRatioMean and Stdev. They are assigned:
    a second run of the same task replaces them.

    Raises
    ------
    lsst.pipe.base.InvalidQuantumError
        At construction: badSourceFlags names a column that no table has.
    """

    ConfigClass = DetectAndMeasureConfig
    _DefaultName = "detectAndMeasure"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        try:
            checkSourceFlags(self.config, self.config.measurement.extraPlanes)
        except DomainError as error:
            raise pipeBase.InvalidQuantumError(str(error)) from error
        self.outputSchema = sourceSchema()
        self.detection = None

    def getSchemaCatalogs(self):
        """The empty table of sources, by its dataset type."""
        return {"diaSrc": self.outputSchema}

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Read, run, write. Outputs that exist when the sources fail a test are written before the failure is raised."""
        inputs = butlerQC.get(inputRefs)
        generator = layoutOfDataId(butlerQC.quantum.dataId, self.config.idGenerator)
        measured = pipeBase.Struct()
        with contextlib.nullcontext() if os.environ.get("STILLSKY_NUM_THREADS") else numThreads(1):
            try:
                self.run(**inputs, idFactory=generator, measurementResults=measured)
            except pipeBase.AlgorithmError as error:
                failure = pipeBase.AnnotatedPartialOutputsError.annotate(error, self, log=self.log)
                butlerQC.put(measured, outputRefs)
                raise failure from error
        butlerQC.put(measured, outputRefs)

    @timeMethod
    def run(self, science, matchedTemplate, difference, kernelSources=None, idFactory=None, measurementResults=None):
        """Find and measure.

        Parameters
        ----------
        science, matchedTemplate, difference : `stillsky.Exposure`
            On one grid. The difference is modified; see `detectAndMeasure`.
        kernelSources : `astropy.table.Table`, optional
            Stars of the kernel fit.
        idFactory : `IdGenerator` or `IdFactory`, optional
            Default: 1, 2, ...
        measurementResults : `lsst.pipe.base.Struct`, optional
            Is filled, also when the run fails after the measurement; with the images alone when it fails before.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            ``subtractedMeasuredExposure, diaSources, differenceBackground, glintTrailInfo``.

        Raises
        ------
        lsst.pipe.base.UpstreamFailureNoWorkFound
            The PSF of the difference has no width.
        BadSubtractionError, NoDiaSourcesError
            As configured.
        TooManyCosmicRays
            More pixels than ``cosmicray.nCrPixelMax`` look like cosmic rays.
        """
        return self._run(science, matchedTemplate, difference, None, kernelSources, idFactory, measurementResults)

    def _run(self, science, matchedTemplate, difference, score, kernelSources, idFactory, results):
        results = pipeBase.Struct() if results is None else results
        try:
            found = detectAndMeasure(
                science,
                matchedTemplate,
                difference,
                config=self.config,
                score=score,
                kernelSources=kernelSources,
                ids=idFactory,
            )
        except InvalidPsfError as error:
            raise pipeBase.UpstreamFailureNoWorkFound(str(error)) from error
        except detect_errors.TooManyCosmicRays as error:
            self._imagesOf(results, difference, score, error.background)
            raise TooManyCosmicRays.of(error) from error
        self.detection = found
        assignMetadata(self.metadata, found.metadata)
        self._imagesOf(results, found.difference, score, found.background)
        results.diaSources = found.sources
        results.glintTrailInfo = Table(found.glints.asDict())
        self._check(found)
        return results

    @staticmethod
    def _imagesOf(results, difference, score, background):
        """What exists also without sources."""
        results.subtractedMeasuredExposure = difference
        results.differenceBackground = None if background is None else background.image(difference.bbox)
        if score is not None:
            results.scoreMeasuredExposure = score

    def _check(self, found):
        """Raise the algorithm's failures as those of a pipeline task."""
        try:
            checkResult(found, self.config)
        except detect_errors.BadSubtractionError as error:
            raise BadSubtractionError(*error.args, metadata=error.metadata) from error
        except detect_errors.NoDiaSourcesError as error:
            raise NoDiaSourcesError(*error.args, metadata=error.metadata) from error


class DetectAndMeasureScoreTask(DetectAndMeasureTask):
    """As `DetectAndMeasureTask`, but sources are searched on a likelihood image, without smoothing."""

    ConfigClass = DetectAndMeasureScoreConfig
    _DefaultName = "detectAndMeasureScore"

    @timeMethod
    def run(
        self,
        science,
        matchedTemplate,
        difference,
        scoreExposure,
        kernelSources=None,
        idFactory=None,
        measurementResults=None,
    ):
        """Find on the score image, measure on the difference.

        Parameters
        ----------
        scoreExposure : `stillsky.Exposure`
            With a variance plane of its own. It and the difference are modified.
        science, matchedTemplate, difference, kernelSources, idFactory, measurementResults
            As of `DetectAndMeasureTask.run`.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            As of `DetectAndMeasureTask.run`, and ``scoreMeasuredExposure``.
        """
        return self._run(
            science, matchedTemplate, difference, scoreExposure, kernelSources, idFactory, measurementResults
        )
