"""Running a mapper over cells: one after the other, in threads, in processes; results come in the order of work."""

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from ..errors import StillskyError
from ..geom import Box2I
from ..image import Exposure

__all__ = ["CellCall", "CellFailure", "MapperSource", "runCells"]


@dataclass
class CellFailure:
    """A cell whose mapper raised."""

    cell: object
    error: Exception


class MapperSource:
    """Makes the mappers of workers: plain ones are shared, since they have no state.

    Parameters
    ----------
    mapper : object with ``run`` or callable
        Called as ``run(subExposure, expandedSubExposure, fullBBox, **kwargs)``.
    """

    def __init__(self, mapper):
        self._mapper = mapper

    def __call__(self):
        return self._mapper


@dataclass
class CellCall:
    """How the mapper of a cell is called.

    Attributes
    ----------
    fullBBox : `stillsky.geom.Box2I`
    kwargs : `dict`
        Passed on to the mapper.
    doClone, returnSubImages : `bool`
    ignoreMaskPlanes : `list` [`str`]
    seed : `int`
    """

    fullBBox: object
    kwargs: dict = field(default_factory=dict)
    doClone: bool = False
    returnSubImages: bool = False
    ignoreMaskPlanes: list = field(default_factory=list)
    seed: int = 0

    def __call__(self, mapper, source, cell):
        """Result of one cell and the metadata that the mapper left, or None."""
        sub, expanded = cut(source, cell)
        if self.doClone:
            sub, expanded = sub.copy(), expanded.copy()
        kwargs = self.kwargs
        if getattr(mapper, "wantsCellContext", False):
            kwargs = {
                "ignoreMaskPlanes": self.ignoreMaskPlanes,
                "cellIndex": cell.index,
                # the index-th child of the seed, whoever runs it and when
                "seedSequence": np.random.SeedSequence(self.seed, spawn_key=(cell.index,)),
                **kwargs,
            }
        run = mapper.run if hasattr(mapper, "run") else mapper
        result = run(sub, expanded, self.fullBBox, **kwargs)
        if isinstance(result, Exposure):
            result = SimpleNamespace(subExposure=result)
        elif isinstance(result, dict):
            result = SimpleNamespace(**result)
        if self.returnSubImages:
            for name, image in (("inputSubExposure", sub), ("inputExpandedSubExposure", expanded)):
                if hasattr(result, name):
                    raise StillskyError(f"returnSubImages: the mapper's result has a {name} already")
                setattr(result, name, image)
        return result


def cut(source, cell):
    """The core and the expanded cell of an exposure (views), or of a deferred reader (read once)."""
    if isinstance(source, Exposure):
        return source[cell.core], source[cell.expanded]
    expanded = source.subset(cell.expanded)
    return expanded[cell.core], expanded


def sampleOf(source):
    """An exposure with the types, mask planes and information of a source: itself, or one pixel read from it."""
    return source if isinstance(source, Exposure) else source.subset(Box2I(source.bbox.min, (1, 1)))


def takeMetadata(mapper):
    """Metadata that a task gathered since the last call, as a `dict`; None if there is none."""
    metadata = getattr(mapper, "metadata", None)
    if metadata is None or not hasattr(metadata, "names") or not len(metadata):
        return None
    values = {name: list(metadata.getArray(name)) for name in metadata.names()}
    mapper.emptyMetadata()
    return values


@contextmanager
def freshMetadata(mapper):
    """Let a mapper start with no metadata; what it left is in the `dict` at the end, and its own are back.

    Only its own: those of its subtasks, which `emptyMetadata` would drop as well, stay with them.
    """
    kept, left = getattr(mapper, "metadata", None), {}
    if kept is None or not hasattr(kept, "names"):
        yield left
        return
    mapper.metadata = type(kept)()
    try:
        yield left
        left.update({name: list(mapper.metadata.getArray(name)) for name in mapper.metadata.names()})
    finally:
        mapper.metadata = kept


def numWorkers(wanted, numCells):
    """Workers to use: all cores this process may use for 0, never more than cells."""
    if not wanted:
        wanted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(wanted, numCells))


def runCells(source, cells, mapperSource, call, config, *, numCores=None, own=None):
    """Map cells.

    Parameters
    ----------
    source : `stillsky.Exposure` or deferred reader with ``bbox`` and ``subset(box)``
    cells : `list` [`GridCell`]
        In the order of work.
    mapperSource : callable
        Makes a mapper; picklable for processes.
    call : `CellCall`
    config : `ImageMapReduceFields`
        executor, numWorkers, maxInFlight are used.
    numCores : `int`, optional
        Stands in for numWorkers 0.
    own : mapper, optional
        Used by "serial" instead of a new one.

    Yields
    ------
    cell : `GridCell`
        In the given order, whatever the executor.
    result : object or `CellFailure`
    metadata : `dict` or None
        What the mapper left, whichever executor it ran in.
    """
    if config.executor == "serial" or not cells:
        mapper = mapperSource() if own is None else own
        plain = getattr(mapper, "metadata", None) is None
        for cell in cells:
            if plain:
                yield cell, guarded(call, mapper, source, cell), None
                continue
            with freshMetadata(mapper) as left:
                result = guarded(call, mapper, source, cell)
            yield cell, result, left or None
        return
    workers = numWorkers(config.numWorkers or numCores or 0, len(cells))
    inFlight = max(config.maxInFlight or 2 * workers, 1)
    if config.executor == "thread":
        yield from _inThreads(source, cells, mapperSource, call, workers, inFlight)
    else:
        from .processes import inProcesses

        yield from inProcesses(source, cells, mapperSource, call, workers, inFlight)


def guarded(call, mapper, source, cell):
    """What ``call`` gives for a cell, or a `CellFailure` with its error, which names the cell."""
    try:
        return call(mapper, source, cell)
    except Exception as error:
        error.add_note(f"in cell {cell.index}, {cell.core}")
        return CellFailure(cell, error)


def inOrder(submit, cells, inFlight):
    """Keep some jobs under way and yield their results in order: the oldest job is always among those that run."""
    waiting, todo = deque(), iter(cells)
    try:
        for cell in todo:
            waiting.append((cell, submit(cell)))
            if len(waiting) >= inFlight:
                cell, future = waiting.popleft()
                yield (cell, *future.result())
        while waiting:
            cell, future = waiting.popleft()
            yield (cell, *future.result())
    finally:
        for _, future in waiting:
            future.cancel()


def _inThreads(source, cells, mapperSource, call, workers, inFlight):
    own = threading.local()

    def work(cell):
        if not hasattr(own, "mapper"):
            own.mapper = mapperSource()
        return guarded(call, own.mapper, source, cell), takeMetadata(own.mapper)

    with oneThreadEach(), ThreadPoolExecutor(workers, thread_name_prefix="stillsky-map") as pool:
        yield from inOrder(lambda cell: pool.submit(work, cell), cells, inFlight)


@contextmanager
def oneThreadEach():
    """BLAS of the workers on one thread each, if threadpoolctl is there to tell it; restored afterwards."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(1):
        yield
