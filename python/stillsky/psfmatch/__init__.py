"""PSF matching: spatial cells, kernel candidates, their visitors, and the fit of a spatially varying kernel."""

from .._core import (
    CandidateStatus,
    CandidateVisitor,
    ConditionNumberType,
    KernelSolvedBy,
    SpatialCell,
    SpatialCellCandidate,
    SpatialCellCandidateIterator,
    SpatialCellImageCandidate,
    SpatialCellSet,
    SymmetricSolver,
    clippedMoments,
    conditionNumber,
    leastSquaresQr,
    pseudoInverse,
)
from .statistics import ImageStatistics, ImageStatisticsD, ImageStatisticsF, ImageStatisticsI

__all__ = [
    "CandidateStatus",
    "CandidateVisitor",
    "ConditionNumberType",
    "ImageStatistics",
    "ImageStatisticsD",
    "ImageStatisticsF",
    "ImageStatisticsI",
    "KernelSolvedBy",
    "SpatialCell",
    "SpatialCellCandidate",
    "SpatialCellCandidateIterator",
    "SpatialCellImageCandidate",
    "SpatialCellSet",
    "SymmetricSolver",
    "clippedMoments",
    "conditionNumber",
    "leastSquaresQr",
    "pseudoInverse",
]
