"""Fit of a spatially varying matching kernel to two images, from candidate positions to kernel and diagnostics."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _core
from ..errors import DomainError, NoDataError
from ..geom import Box2I, positionToIndex
from . import NoKernelCandidatesError, SpatialCellSet, fitSpatialKernel, makeRegularizationMatrix
from .settings import makeSettings

__all__ = [
    "MatchingKernel",
    "affordableSources",
    "buildCellSet",
    "fitMatchingKernel",
    "stampBox",
    "stampHalfSize",
    "withinBudget",
]

_OPERATIONS_PER_SECOND = 2e9  # of a slow core


@dataclass
class MatchingKernel:
    """A fitted matching kernel.

    Attributes
    ----------
    kernel : `stillsky.kernel.LinearCombinationKernel`
    background : `stillsky.kernel.Function2`
        In units of the image that is matched to.
    kernelSum : `float`
        At the centre of the region.
    candidates : `list` of reports
        One per candidate: position, status, reason of rejection, kernel sum, residuals with its own kernel, with the
        spatial kernel and with the spatial kernel fitted without it.
    metadata : `dict`
        spatialConditionNum, spatialKernelSum and kin, counts.
    warnings : `list` [`str`]
    fit : the C++ result
    """

    kernel: Any
    background: Any
    kernelSum: float
    candidates: list
    metadata: dict
    warnings: list = field(default_factory=list)
    fit: Any = None


def stampBox(x, y, halfSize):
    """Box of side 2 halfSize + 1 around the pixel that contains a position."""
    side = 2 * halfSize + 1
    return Box2I((positionToIndex(x) - halfSize, positionToIndex(y) - halfSize), (side, side))


def stampHalfSize(config, kernelSize):
    """Half side of a candidate's stamp in pixels: ``config.stampHalfSize``, or the side of the kernel where that is 0.

    Raises
    ------
    DomainError
        The kernel does not fit into the stamp with a few pixels to spare.
    """
    half = getattr(config, "stampHalfSize", 0) or kernelSize
    if 2 * half + 1 < kernelSize + 4:
        raise DomainError(
            f"stampHalfSize: wanted stamps at least 4 pixels wider than the kernel of {kernelSize}, got {2 * half + 1}",
            remedy=f"stampHalfSize of at least {(kernelSize + 4) // 2}, or a smaller kernel",
        )
    return half


def affordableSources(kernelSize, nBasis, seconds):
    """How many kernel stars a fit takes within a time, from its number of operations: the same on every machine.

    Parameters
    ----------
    kernelSize : `int`
        Pixels; stamps have the side ``2 kernelSize + 1``.
    nBasis : `int`
        Basis functions of the kernel.
    seconds : `float`
        Of a slow core.
    """
    operations = (2 * kernelSize + 1) ** 2 * nBasis * (4 * kernelSize + nBasis)  # convolutions, normal equations
    return max(1, int(seconds * _OPERATIONS_PER_SECOND / operations))


def withinBudget(ratings, kernelSize, nBasis, seconds):
    """Indices, in their order, of the candidates of highest rating whose fit keeps within a time; 0 seconds: of all.

    A rating that is not a number counts as the lowest.
    """
    ratings = np.array([np.nan if r is None else r for r in ratings], float)
    n = affordableSources(kernelSize, nBasis, seconds) if seconds > 0 else len(ratings)
    if len(ratings) <= n:
        return np.arange(len(ratings))
    return np.sort(np.argsort(-np.where(np.isnan(ratings), -np.inf, ratings), kind="stable")[:n])


def buildCellSet(convolved, reference, x, y, ratings, kernelSize, config, settings):
    """Cells over the common box, filled with one candidate per position whose stamp lies inside both images.

    Parameters
    ----------
    convolved, reference : `stillsky.image.MaskedImage`
        The image that is convolved and the one it is matched to.
    x, y, ratings : array_like, (n,)
        Parent positions; a larger rating is preferred.
    kernelSize : `int`
    config : `KernelFields`
        ``sizeCellX``, ``sizeCellY``, and ``stampHalfSize`` where there is one.
    settings : `PsfMatchSettings`

    Returns
    -------
    cellSet : `SpatialCellSet`
    nOutside : `int`
        Positions left out.
    """
    region = convolved.bbox.clipped(reference.bbox)
    cellSet = SpatialCellSet(region, config.sizeCellX, config.sizeCellY)
    half = stampHalfSize(config, kernelSize)
    # All at once in the compiled core: one call per star costs a tenth of the fit.
    ix, iy = ([positionToIndex(position) for position in axis] for axis in (x, y))
    nOutside = _core.insertCandidates(cellSet, convolved, reference, x, y, ix, iy, ratings, half, settings)
    return cellSet, nOutside


def fitMatchingKernel(convolved, reference, x, y, ratings, basisList, config, *, fluxScale=1.0):
    """Fit the kernel K and background b of ``reference = K (x) convolved + b`` (Alard & Lupton 1998; Alard 2000).

    Parameters
    ----------
    convolved, reference : `stillsky.image.MaskedImage`
        On one pixel grid; masked pixels carry no weight.
    x, y, ratings : array_like, (n,)
        Candidates, parent positions.
    basisList : `list` [`stillsky.kernel.Kernel`]
    config : `KernelFields`
    fluxScale : `float`
        About the kernel sum: the noise of the convolved image counts by its square beside that of the reference, in
        weights, in errors of kernel sums, and so in what is rejected. It matters where the units differ by much.

    Returns
    -------
    match : `MatchingKernel`

    Raises
    ------
    NoDataError
        No candidate is left (as `NoKernelCandidatesError`).
    NumericalError
        The solution is not finite.
    """
    settings = makeSettings(config, convolved.mask, fluxScale)
    size = basisList[0].width
    kept = withinBudget(ratings, size, len(basisList), getattr(config, "maxKernelFitSeconds", 0.0))
    nSkipped = len(x) - len(kept)
    if nSkipped:
        x, y, ratings = (np.asarray(values)[kept] for values in (x, y, ratings))
    cellSet, nOutside = buildCellSet(convolved, reference, x, y, ratings, size, config, settings)
    if nOutside == len(x):
        raise NoDataError(
            "no candidate lies far enough inside the images",
            found=f"{len(x)} candidates, stamps of {2 * stampHalfSize(config, size) + 1} pixels, images of {convolved.width}x{convolved.height}",
            remedy="a smaller kernel, or larger images",
        )
    regularization = (
        makeRegularizationMatrix(config)
        if getattr(config, "useRegularization", False) and (config.kernelBasisSet == "delta-function")
        else None
    )
    try:
        fit = fitSpatialKernel(cellSet, basisList, settings, regularization)
    except NoKernelCandidatesError as error:
        error.found = error.found or str(error).partition(": ")[2] or f"{len(x)} candidates, {nOutside} near an edge"
        error.remedy = error.remedy or (
            "other kernel stars with --stars FILE, or a larger -c psfmatch.candidateResidualStdMax"
        )
        raise
    metadata, warnings = fitMetadata(fit) | {"kernelSourcesSkipped": nSkipped}, list(fit.warnings)
    if nSkipped:
        warnings.append(
            f"{nSkipped} kernel stars are left out to keep the fit within {config.maxKernelFitSeconds:g} seconds"
        )
    return MatchingKernel(fit.kernel, fit.background, fit.kernelSum, list(fit.candidates), metadata, warnings, fit)


def fitMetadata(fit):
    """Numbers of a fit under the names of the task metadata."""
    used = [c for c in fit.candidates if c["usedInFit"]]
    metadata = {
        "spatialConditionNum": fit.conditionNumber,
        "spatialKernelSum": fit.kernelSum,
        "spatialKernelSumError": fit.kernelSumError,
        "spatialKernelOrderUsed": fit.spatialKernelOrderUsed,
        "spatialBgOrderUsed": fit.spatialBgOrderUsed,
        "nCandidates": fit.nTotal,
        "nGoodCandidates": fit.nUsed,
        "nBadCandidates": fit.nBad,
        "rejectedCandidates": dict(fit.rejected),
        "converged": fit.converged,
    }
    if used:
        for name in ("spatialRms", "looRms"):
            values = np.array([c[name] for c in used])
            known = np.isfinite(values).any()
            metadata[f"{name}Median"] = float(np.nanmedian(values)) if known else float("nan")
            metadata[f"{name}90"] = float(np.nanquantile(values, 0.9)) if known else float("nan")
    return metadata
