"""Peaks of memory: acceptance check 25 of the specification."""

import gc
import tracemalloc

import numpy as np
import pytest
from map_scenes import exposureOf, makeTask, pairs

from stillsky.mapreduce.mapper_tasks import PassThroughMapper

MB = 2**20


def peakOf(task, exposure, **kwargs):
    """Bytes allocated at most during a run, beyond what was there."""
    task._generateGrid(exposure)
    gc.collect()
    tracemalloc.start()
    try:
        out = task.run(exposure, **kwargs)
        return tracemalloc.get_traced_memory()[1], out
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("compat", [False, True])
def testPeakOfAnAverageOf4096Squared(compat):
    """At most the output, 2 bytes per pixel, and 64 MB; ``compat`` has overlapping cells, the default has none."""
    exposure = exposureOf(size=(4096, 4096))
    task = makeTask(mapper=PassThroughMapper, compat=compat, **pairs(cell=256, step=256))
    peak, out = peakOf(task, exposure)
    assert len(task.boxes0) == (289 if compat else 256)
    assert np.array_equal(out.exposure.image.array, exposure.image.array)
    assert peak <= 14 * 4096**2 + 64 * MB


@pytest.mark.parametrize("operation", ["copy", "sum", "average"])
def testPeakDoesNotGrowWithTheNumberOfResults(operation):
    """Mapper results of 1 M pixels, each a copy, with overlaps: none is kept."""
    exposure = exposureOf(size=(1024, 1024))
    task = makeTask(operation=operation, compat=False, adjustGridOption="none", **pairs(cell=64, step=32))
    peak, _ = peakOf(task, exposure)
    assert peak <= (14 + 2) * 1024**2 + 10 * MB  # output, counts, open rows, interpreter


def testInPlaceNeedsNoSecondImage():
    exposure = exposureOf(size=(1024, 4096))
    task = makeTask(compat=False, **pairs(cell=64, step=64))
    peak, out = peakOf(task, exposure, inPlace=True)
    assert out.exposure.image.overlapsMemory(exposure.image)
    assert peak <= 0.4 * 12 * 1024 * 4096


def testOnlyCellsUnderWayAreHeldByThreads():
    exposure = exposureOf(size=(1024, 1024))
    task = makeTask(compat=False, executor="thread", numWorkers=2, maxInFlight=3, **pairs(cell=64, step=64))
    peak, _ = peakOf(task, exposure)
    assert peak <= 14 * 1024**2 + 8 * MB
