"""PsfMatchTask: the task around the fit of a spatially varying matching kernel."""

import abc

import lsst.pipe.base as pipeBase
import numpy as np

from ..errors import StillskyError
from ..image import MaskSchema
from ..task_base import ErrorMetadata, SchemaVerbs, assignMetadata
from . import CandidateStatus, ConditionNumberType, errors, fitSpatialKernel, makeRegularizationMatrix
from .algorithm import fitMetadata
from .config import DetectionConfig, PsfMatchConfig, PsfMatchConfigAL, PsfMatchConfigDF
from .debug import DebugFigures
from .settings import makeSettings

__all__ = [
    "DetectionConfig",
    "NoKernelCandidatesError",
    "PsfMatch",
    "PsfMatchConfig",
    "PsfMatchConfigAL",
    "PsfMatchConfigDF",
    "PsfMatchTask",
]


class NoKernelCandidatesError(ErrorMetadata, errors.NoKernelCandidatesError, pipeBase.AlgorithmError):
    """No kernel candidate is left to fit, as a repeatable failure of a pipeline task."""


class _HasMask:
    """Stands in for a mask where only the plane names matter."""

    def __init__(self, schema):
        self.schema = schema


class PsfMatchTask(SchemaVerbs, pipeBase.Task, abc.ABC):
    """Base of the tasks that match the PSFs of two images; not to be called directly.

    A subclass fills a `SpatialCellSet` with kernel candidates; `_solve` fits a kernel to each, rejects by residuals and
    kernel sums, and fits a spatially varying kernel to the rest (Alard & Lupton 1998, ApJ 503, 325; Alard 2000, A&AS
    144, 363; Becker et al. 2012, MNRAS 425, 1341).

    Attributes
    ----------
    kConfig : `PsfMatchConfig`
        The active choice of ``config.kernel``.
    useRegularization : `bool`
    hMat : `numpy.ndarray`
        Regularisation matrix; only with ``useRegularization``.
    fit : `SpatialKernelFit` or None
        Everything about the last fit.
    debug : `dict`
        Debug variables (display, displayCandidates, displayKernelBasis, displayKernelMosaic, plotKernelSpatialModel,
        plotKernelCoefficients, showBadCandidates, path), which win over those of ``lsstDebug``.
    figures : `dict`
        Figures of the last fit by the name of the debug variable that asked for them.

    Notes
    -----
    Metadata: spatialConditionNum, spatialKernelSum (at the centre of the region), the orders used, counts of
    candidates; with an Alard-Lupton basis ALBasisNGauss, ALBasisDegGauss, ALBasisSigGauss (pixels), ALKernelSize
    (pixels), ALBasisMode. They are assigned, so a second run of the same task replaces them.
    """

    ConfigClass = PsfMatchConfig
    _DefaultName = "psfMatch"
    _debugName = "lsst.ip.diffim.psfMatch"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kConfig = self.config.kernel.active
        self.useRegularization = bool(getattr(self.kConfig, "useRegularization", False))
        if self.useRegularization:
            self.hMat = makeRegularizationMatrix(self.kConfig)
        self.fit = None
        self.debug = {}
        self.figures = {}

    @abc.abstractmethod
    def _buildCellSet(self, *args):
        """Fill a `SpatialCellSet` with kernel candidates."""

    def _settings(self, mask=None, kernelCellSet=None):
        """Settings of the fit with the bits of a mask's planes, or of the candidates' own."""
        settings = makeSettings(self.kConfig, _HasMask(MaskSchema.standard()) if mask is None else mask)
        if kernelCellSet is not None:
            first = next(iter(kernelCellSet.allCandidates()), None)
            if first is not None and hasattr(first, "settings"):
                settings.badMask, settings.badFitMask = first.settings.badMask, first.settings.badFitMask
        return settings

    def _solve(self, kernelCellSet, basisList, returnOnExcept=False):
        """Solve for the spatially varying kernel and the differential background.

        Parameters
        ----------
        kernelCellSet : `SpatialCellSet`
            Holds `KernelCandidate` objects; their status changes.
        basisList : `list` [`stillsky.kernel.Kernel`]
        returnOnExcept : `bool`
            Log a failure and return three None instead of raising.

        Returns
        -------
        spatialSolution : `SpatialKernelSolution`
        psfMatchingKernel : `stillsky.kernel.LinearCombinationKernel`
        backgroundModel : `stillsky.kernel.Function2`
            In units of the image that is matched to.

        Raises
        ------
        NoKernelCandidatesError
            No candidate is left.
        NumericalError
            The solution is not finite.
        """
        try:
            self.fit = self._fitCells(kernelCellSet, basisList)
        except StillskyError as error:
            self.log.error("ERROR: Unable to calculate psf matching kernel: %s", error)
            if returnOnExcept:
                return None, None, None
            raise
        solution, kernel, background = self.fit.solution, self.fit.kernel, self.fit.background
        self._diagnostic(kernelCellSet, solution, kernel, background)
        debug = DebugFigures(self._debugName, self.debug)
        self.figures = debug.make(kernelCellSet, kernel, background) if debug.display else {}
        return solution, kernel, background

    def _fitCells(self, kernelCellSet, basisList):
        """`fitSpatialKernel`, with its lack of candidates as a failure that pipelines understand."""
        settings = self._settings(kernelCellSet=kernelCellSet)
        try:
            return fitSpatialKernel(kernelCellSet, basisList, settings, self.hMat if self.useRegularization else None)
        except errors.NoKernelCandidatesError as error:
            failure = NoKernelCandidatesError(str(error))
            failure.metadata = _candidateCounts(kernelCellSet)
            raise failure from error

    def _diagnostic(self, kernelCellSet, spatialSolution, spatialKernel, spatialBg):
        """Log the quality of the spatial fit and copy it into the metadata."""
        center = kernelCellSet.bbox.center
        kernelSum = spatialKernel.sumAt(float(center.x), float(center.y))
        condition = spatialSolution.getConditionNumber(getattr(ConditionNumberType, self.kConfig.conditionNumberType))
        self.log.info("Final spatial kernel sum %.3f", kernelSum)
        self.log.info("Spatial model condition number %.3e", condition)
        if condition < 0.0:
            self.log.warning("Condition number is negative (%.3e)", condition)
        if condition > self.kConfig.maxSpatialConditionNumber:
            self.log.warning(
                "Spatial solution exceeds max condition number (%.3e > %.3e)",
                condition,
                self.kConfig.maxSpatialConditionNumber,
            )
        if self.fit is not None:
            assignMetadata(self.metadata, fitMetadata(self.fit))
        assignMetadata(self.metadata, {"spatialConditionNum": condition, "spatialKernelSum": kernelSum})
        counts = _candidateCounts(kernelCellSet)
        self.log.info(
            "Doing stats of kernel candidates used in the spatial fit: %(nGood)d good of %(nTotal)d, %(nBad)d rejected",
            counts,
        )
        if counts["nBad"] > 2 * counts["nGood"]:
            self.log.warning("Many more candidates rejected than accepted; %(nBad)d rejected, %(nGood)d used", counts)
        self._verdict("kernel", counts["nGood"], _nTerms(spatialKernel))
        self._verdict("background", counts["nGood"], _nBackgroundTerms(spatialBg))

    def _verdict(self, what, nGood, nTerms):
        """One line on how well the candidates constrain a spatial model, with advice when they do not."""
        if nGood < nTerms:
            self.log.warning("Spatial %s model underconstrained; %d candidates, %d terms", what, nGood, nTerms)
        elif nGood <= 2 * nTerms:
            self.log.warning("Spatial %s model poorly constrained; %d candidates, %d terms", what, nGood, nTerms)
        else:
            self.log.info("Spatial %s model appears well constrained; %d candidates, %d terms", what, nGood, nTerms)
            return
        self.log.warning("Consider lowering the spatial order of the %s", what)


PsfMatch = PsfMatchTask


def _candidateCounts(kernelCellSet):
    statuses = [candidate.status for candidate in kernelCellSet.allCandidates()]
    return {
        "nTotal": len(statuses),
        "nGood": sum(s == CandidateStatus.GOOD for s in statuses),
        "nBad": sum(s == CandidateStatus.BAD for s in statuses),
    }


def _nTerms(kernel):
    """Spatial parameters of each kernel coefficient, 1 for a kernel that does not vary."""
    return max(int(kernel.nSpatialParameters), 1) if kernel.isSpatiallyVarying else 1


def _nBackgroundTerms(background):
    parameters = np.asarray(background.parameters)
    return 0 if len(parameters) == 1 and parameters[0] == 0 else len(parameters)
