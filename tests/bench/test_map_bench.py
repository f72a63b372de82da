"""Time and peak memory of map-reduce over a 4096 x 4096 exposure, beside keeping all results and NumPy at the end."""

import time
import tracemalloc

import numpy as np
import pytest

from stillsky import MapConfig, makeExposure, mapReduce
from stillsky.mapreduce import makeGrid, passThrough

SIZE = 4096


@pytest.fixture(scope="module")
def exposure():
    pixels = np.random.default_rng(1).normal(100, 5, (SIZE, SIZE)).astype(np.float32)
    return makeExposure(pixels, variance=np.full((SIZE, SIZE), 25.0, np.float32))


def configOf(cell, compat):
    config = MapConfig()
    config.cellSizeX = config.cellSizeY = config.gridStepX = config.gridStepY = cell
    config.borderSizeX = config.borderSizeY = 5
    config.compat, config.reducer.psfMode = compat, "input"
    return config


def obvious(exposure, cell, compat):
    """All results in a list, then sums, counts and quotients of whole planes."""
    grid = makeGrid(exposure.bbox, (cell, cell), (cell, cell), (5, 5), compat=compat)
    patches = [exposure[c.core].copy() for c in grid.cells]
    out = exposure.copy()
    out.image.array[...], out.variance.array[...] = 0, 0
    count = np.zeros((SIZE, SIZE), np.int32)
    for patch in patches:
        part = patch.bbox.slices((0, 0))
        valid = ~np.isnan(patch.image.array * patch.variance.array)
        out.image.array[part][valid] += patch.image.array[valid]
        out.variance.array[part][valid] += patch.variance.array[valid]
        out.mask.array[part] |= patch.mask.array
        count[part] += valid
    for plane in (out.image.array, out.variance.array):
        plane[count > 0] /= count[count > 0].astype(float)
        plane[count == 0] = np.nan
    return out


def measured(function):
    """Best of three times in seconds, and the peak in bytes per pixel of one more run."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(times), peak / SIZE**2


@pytest.mark.parametrize(("cell", "compat"), [(512, False), (512, True), (64, False), (64, True)])
def testAverage(exposure, cell, compat, capsys, benchmark):
    mine = measured(lambda: mapReduce(exposure, passThrough, configOf(cell, compat)))
    benchmark.pedantic(mapReduce, (exposure, passThrough, configOf(cell, compat)), rounds=1)
    other = measured(lambda: obvious(exposure, cell, compat))
    copying = measured(exposure.copy)
    with capsys.disabled():
        print(f"\nmap-reduce, cells of {cell}{', overlapping' if compat else ''}: "
              f"{mine[0]:.2f} s and {mine[1]:.1f} bytes a pixel; NumPy {other[0]:.2f} s and {other[1]:.1f}; "
              f"a copy {copying[0]:.2f} s")  # fmt: skip
    np.testing.assert_allclose(
        mapReduce(exposure, passThrough, configOf(cell, compat)).exposure.image.array, exposure.image.array, rtol=1e-6
    )
