"""Map-reduce over the cells of an exposure: the algorithm, without the task framework."""

import logging
from dataclasses import dataclass, field

from ..errors import DomainError, ShapeError
from .executors import CellCall, CellFailure, MapperSource, runCells, sampleOf
from .grid import Grid, makeGrid
from .reduction import Reduction
from .stitch import schedule

__all__ = ["MapReduceResult", "cellsOf", "mapReduce", "reduceCells"]

_log = logging.getLogger("stillsky.mapreduce")


@dataclass
class MapReduceResult:
    """Outcome of `mapReduce`.

    Attributes
    ----------
    exposure : `stillsky.Exposure` or None
        Of copy, sum and average.
    result : `list` or `stillsky.psf.CoaddPsf` or None
        Of none (a list with one item per cell, None for one that failed) and coaddPsf.
    outputs : `dict`
        All of them by name.
    grid : `Grid`
    metadata : `dict`
        Sizes in pixels, overlaps, counts.
    """

    exposure: object = None
    result: object = None
    outputs: dict = field(default_factory=dict)
    grid: Grid = None
    metadata: dict = field(default_factory=dict)

    def __repr__(self):
        n, failed = (self.metadata.get(k) for k in ("numCells", "numFailedCells"))
        made = self.exposure if self.exposure is not None else self.result
        what = f"list of {len(made)}" if isinstance(made, list) else repr(made)
        return f"MapReduceResult({n} cells, {failed} failed: {what})"


def psfFwhm(exposure):
    """FWHM in pixels of the PSF at its average position: 2 sqrt(2 ln 2) times its determinant radius."""
    psf = sampleOf(exposure).info.psf
    if psf is None:
        raise DomainError("scaleByFwhm: the exposure has no PSF to scale the cells by; set scaleByFwhm=False")
    return 2.3548200450309493 * psf.determinantRadius(psf.averagePosition)


def cellsOf(exposure, config, *, forceEvenSized=False, log=_log):
    """The grid of an exposure.

    Parameters
    ----------
    exposure : `stillsky.Exposure` or deferred reader
    config : `ImageMapReduceFields`
    forceEvenSized : `bool`

    Returns
    -------
    grid : `Grid`
    fwhm : `float` or None
        The factor of the sizes.
    """
    config.validate()
    fwhm = psfFwhm(exposure) if config.scaleByFwhm and not (config.compat and config.cellCentroidsX) else None
    if fwhm is not None:
        log.info("Scaling grid parameters by the PSF's FWHM, %.4f pixels", fwhm)
    centroids = (config.cellCentroidsX, config.cellCentroidsY) if config.cellCentroidsX else None
    grid = makeGrid(
        exposure.bbox,
        (config.cellSizeX, config.cellSizeY),
        (config.gridStepX, config.gridStepY),
        (config.borderSizeX, config.borderSizeY),
        config.adjustGridOption,
        centroids=centroids,
        centroidOrigin=config.centroidOrigin,
        fwhm=fwhm,
        forceEven=forceEvenSized,
        compat=config.compat,
    )
    if grid.skipped:
        log.warning("%d of %d cells are off the image and skipped", len(grid.skipped), len(centroids[0]))
    return grid, fwhm


def reduceCells(exposure, cells, mapperSource, call, config, reduction, *, own=None, numCores=None, log=_log):
    """Map all cells and add their results to a reduction as they come.

    Parameters
    ----------
    exposure, cells, mapperSource, call, config, own, numCores
        See `runCells`; ``cells`` in the order of the list.
    reduction : object with ``add(index, result)``

    Returns
    -------
    failed : `list` [`int`]
        Cells whose mapper raised, with onMapperError "mask".
    metadata : `list` of (index, `dict`)
        Of the mappers, in the order of the list.

    Raises
    ------
    Exception
        What a mapper raised, of the failing cell with the lowest index: with "raise" after the cells before it in the
        list, with "mask" if all cells failed.
    """
    order = [cells[i] for i in schedule(cells)]
    failures, metadata = [], []

    def run(some):
        return runCells(exposure, some, mapperSource, call, config, numCores=numCores, own=own)

    running, done = run(order), set()
    try:
        for cell, result, extra in running:
            done.add(cell.index)
            if extra:
                metadata.append((cell.index, extra))
            if not isinstance(result, CellFailure):
                reduction.add(cell.index, result)
                continue
            failures.append(result)
            if config.onMapperError == "raise":
                running.close()
                before = [c for c in order if c.index < cell.index and c.index not in done]
                raise _firstFailure(result, run(sorted(before, key=lambda c: c.index))).error
            log.warning("cell %d, %s: the mapper failed: %s", cell.index, cell.core, result.error)
            reduction.add(cell.index, None)
    finally:
        running.close()
    if failures and len(failures) == len(cells):
        raise min(failures, key=lambda f: f.cell.index).error
    return sorted(f.cell.index for f in failures), sorted(metadata, key=lambda m: m[0])


def _firstFailure(failure, running):
    """The first failure among cells that come before a failed one in the list, else that one.

    Work goes by rows of the image, lists by columns: which cell fails first must not depend on the order of work.
    """
    try:
        return next((found for _, found, _ in running if isinstance(found, CellFailure)), failure)
    finally:
        running.close()


def gridMetadata(grid, fwhm=None):
    """Metadata of a grid."""
    values = {"numCells": len(grid.cells), "numSkippedCells": len(grid.skipped)}
    for stem, pair in (("cellSize", grid.cell), ("gridStep", grid.step), ("borderSize", grid.border)):
        values[f"{stem}X"], values[f"{stem}Y"] = pair
    if fwhm is not None:
        values["psfFwhm"] = fwhm
    return values


def withPlaceholders(results, grid):
    """The list of results, one per cell, with None for each centre that has no cell."""
    filled, kept = [], iter(results)
    skipped = set(grid.skipped)
    for number in range(len(grid.cells) + len(skipped)):
        filled.append(None if number in skipped else next(kept))
    return filled


def mapReduce(
    exposure, mapper, config=None, *, reducer=None, forceEvenSized=False, doClone=False, inPlace=False, **kwargs
):
    """Cut an exposure into cells, apply a mapper to each, and reduce the results.

    Parameters
    ----------
    exposure : `stillsky.Exposure` or deferred reader
        A reader has ``bbox`` and ``subset(box)``, see `DeferredExposure`.
    mapper : callable, or object with ``run``
        ``run(subExposure, expandedSubExposure, fullBBox, **kwargs)``: the cell and the cell with its border as views to be
        read only. Returns an exposure (the patch), a mapping, or an object with attributes: ``subExposure``, or ``psf``
        and ``bbox``, or anything for reduceOperation "none".
    config : `MapConfig`, optional
        Default: cells of 256 pixels with a border of 32.
    reducer : `ImageReducerConfig`, optional
        Default: ``config.reducer``.
    forceEvenSized : `bool`
        All boxes have even sides.
    doClone : `bool`
        Mappers get copies, which they may modify.
    inPlace : `bool`
        The output takes the memory of the input, which is lost. Patches must stay within their expanded cells.
    **kwargs
        Passed on to the mapper.

    Returns
    -------
    result : `MapReduceResult`

    Notes
    -----
    Results are reduced as they come; nothing keeps them but "none". Peak memory beyond input and output: the cells
    under way, 2 bytes per pixel, and 16 bytes per pixel of the rows that cells under way touch where these overlap. The
    output is the same bit for bit for any executor and number of workers.
    """
    if config is None:
        from .config import MapConfig

        config = MapConfig()
    reducer = config.reducer if reducer is None else reducer
    grid, fwhm = cellsOf(exposure, config, forceEvenSized=forceEvenSized)
    if not grid.cells:
        raise ShapeError(f"mapReduce: no cell has a pixel on the image {exposure.bbox}")
    reduction = Reduction(exposure, grid.cells, reducer, compat=config.compat, inPlace=inPlace)
    call = CellCall(exposure.bbox, kwargs, doClone, config.returnSubImages, list(config.ignoreMaskPlanes), config.seed)
    failed, _ = reduceCells(exposure, grid.cells, MapperSource(mapper), call, config, reduction)
    outputs = reduction.finish()
    if config.keepEmpty and reduction.operation == "none":
        outputs["result"] = withPlaceholders(outputs["result"], grid)
    metadata = {**gridMetadata(grid, fwhm), **reduction.metadata, "numFailedCells": len(failed), "failedCells": failed}
    return MapReduceResult(outputs.get("exposure"), outputs.get("result"), outputs, grid, metadata)
