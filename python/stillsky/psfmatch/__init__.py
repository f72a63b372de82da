"""PSF matching: spatial cells, kernel candidates, their visitors, and the fit of a spatially varying kernel."""

from .._core import (
    AlardLuptonBasis,
    AlardLuptonKernel,
    AssessSpatialKernelVisitor,
    BuildSingleKernelVisitor,
    BuildSpatialKernelVisitor,
    CandidateStatus,
    CandidateVisitor,
    ConditionNumberType,
    KernelCandidate,
    KernelPca,
    KernelPcaVisitor,
    KernelSolution,
    KernelSolvedBy,
    KernelSumVisitor,
    MaskedKernelSolution,
    PsfMatchSettings,
    RegularizedKernelSolution,
    SpatialCell,
    SpatialCellCandidate,
    SpatialCellCandidateIterator,
    SpatialCellImageCandidate,
    SpatialCellSet,
    SpatialKernelFit,
    SpatialKernelSolution,
    StaticKernelSolution,
    SymmetricSolver,
    clippedMoments,
    conditionNumber,
    convolveWithBasis,
    createPcaBasis,
    fitSpatialKernel,
    leastSquaresQr,
    makeAlardLuptonBasisList,
    makeCentralDifferenceMatrix,
    makeDeltaFunctionBasisList,
    makeFiniteDifferenceRegularization,
    makeForwardDifferenceMatrix,
    pseudoInverse,
    renormalizeKernelList,
)
from ..kernel import convolve, convolveAndSubtract
from .candidates import KernelCandidateD, KernelCandidateF, makeKernelCandidate
from .errors import NoKernelCandidatesError
from .regularize import makeRegularizationMatrix
from .statistics import ImageStatistics, ImageStatisticsD, ImageStatisticsF, ImageStatisticsI

# Names that carry a pixel type elsewhere; here one class serves all pixel types.
AssessSpatialKernelVisitorF = AssessSpatialKernelVisitor
BuildSingleKernelVisitorF = BuildSingleKernelVisitor
BuildSpatialKernelVisitorF = BuildSpatialKernelVisitor
KernelPcaD = KernelPca
KernelPcaVisitorF = KernelPcaVisitor
KernelSumVisitorF = KernelSumVisitor
MaskedKernelSolutionF = MaskedKernelSolution
RegularizedKernelSolutionF = RegularizedKernelSolution
StaticKernelSolutionF = StaticKernelSolution

# Factory functions, for code that expects them.
makeAssessSpatialKernelVisitor = AssessSpatialKernelVisitor
makeBuildSingleKernelVisitor = BuildSingleKernelVisitor
makeBuildSpatialKernelVisitor = BuildSpatialKernelVisitor
makeKernelPcaVisitor = KernelPcaVisitor
makeKernelSumVisitor = KernelSumVisitor

__all__ = [
    "AlardLuptonBasis",
    "AlardLuptonKernel",
    "AssessSpatialKernelVisitor",
    "AssessSpatialKernelVisitorF",
    "BuildSingleKernelVisitor",
    "BuildSingleKernelVisitorF",
    "BuildSpatialKernelVisitor",
    "BuildSpatialKernelVisitorF",
    "CandidateStatus",
    "CandidateVisitor",
    "ConditionNumberType",
    "ImageStatistics",
    "ImageStatisticsD",
    "ImageStatisticsF",
    "ImageStatisticsI",
    "KernelCandidate",
    "KernelCandidateD",
    "KernelCandidateF",
    "KernelPca",
    "KernelPcaD",
    "KernelPcaVisitor",
    "KernelPcaVisitorF",
    "KernelSolution",
    "KernelSolvedBy",
    "KernelSumVisitor",
    "KernelSumVisitorF",
    "MaskedKernelSolution",
    "MaskedKernelSolutionF",
    "NoKernelCandidatesError",
    "PsfMatchSettings",
    "RegularizedKernelSolution",
    "RegularizedKernelSolutionF",
    "SpatialCell",
    "SpatialCellCandidate",
    "SpatialCellCandidateIterator",
    "SpatialCellImageCandidate",
    "SpatialCellSet",
    "SpatialKernelFit",
    "SpatialKernelSolution",
    "StaticKernelSolution",
    "StaticKernelSolutionF",
    "SymmetricSolver",
    "clippedMoments",
    "conditionNumber",
    "convolve",
    "convolveAndSubtract",
    "convolveWithBasis",
    "createPcaBasis",
    "fitSpatialKernel",
    "leastSquaresQr",
    "makeAlardLuptonBasisList",
    "makeAssessSpatialKernelVisitor",
    "makeBuildSingleKernelVisitor",
    "makeBuildSpatialKernelVisitor",
    "makeCentralDifferenceMatrix",
    "makeDeltaFunctionBasisList",
    "makeFiniteDifferenceRegularization",
    "makeForwardDifferenceMatrix",
    "makeKernelCandidate",
    "makeKernelPcaVisitor",
    "makeKernelSumVisitor",
    "makeRegularizationMatrix",
    "pseudoInverse",
    "renormalizeKernelList",
]
