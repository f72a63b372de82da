"""Time of the kernel solve: 300 candidates, 27 functions of 21 x 21 pixels, spatial order 1, three iterations; and the
same normal equations the obvious NumPy/SciPy way. Run with ``pytest tests/bench --benchmark-only -s``.

`python tests/bench/test_psfmatch_bench.py [perPixel]` makes one solve alone, for instruction counts:
``valgrind --tool=callgrind --toggle-collect='*fitSpatialKernel*' python tests/bench/test_psfmatch_bench.py``
"""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "psfmatch"))

from psfmatch_scenes import cellSetOf, correlate, defaultBasis, images, settings, simulatePair  # noqa: E402

from stillsky.psfmatch import fitSpatialKernel  # noqa: E402


@pytest.fixture(scope="module")
def pair():
    return simulatePair(1300, 300, 3)


def _threeIterations(perPixel):
    return settings(
        spatialKernelOrder=1,
        spatialBgOrder=1,
        fitForBackground=True,
        nStarPerCell=300,
        perPixelSpatialTerms=perPixel,
        maxSpatialIterations=3,
    )


def _cells(pair, fields):
    """300 active stars of which one does not fit the rest, and two in reserve that do not either: one is rejected by
    the spatial residual in each of three iterations."""
    positions, _, (t, s, vt, vs) = pair
    moved = np.roll(s, 2, axis=1)
    cellSet, candidates = cellSetOf(positions[3:], (t, s, vt, vs), fields, half=21, cell=1300)
    _, odd = cellSetOf(positions[:3], (t, moved, vt, vs), fields, half=21, cell=1300)
    spare = cellSetOf(positions[3:5], (t, s, vt, vs), fields, half=21, cell=1300)[1]
    for candidate, rating in zip(odd, (1e9, -1.0, -2.0)):
        candidate.rating = rating
        cellSet.insertCandidate(candidate)
    for candidate in spare:  # 297 stars and these two make 299 behind the odd one
        candidate.rating = 0.0
        cellSet.insertCandidate(candidate)
    return cellSet


@pytest.mark.parametrize("perPixel", [False, True])
def testSolveOf300Candidates(benchmark, pair, machine, perPixel):
    fields = _threeIterations(perPixel)
    bases = defaultBasis()
    fits = []

    def setup():
        return (_cells(pair, fields), bases, fields), {}

    benchmark.pedantic(lambda *a: fits.append(fitSpatialKernel(*a)), setup=setup, rounds=7, warmup_rounds=1)
    seconds, bar = benchmark.stats.stats.min, 0.35 if perPixel else 0.2
    stages = [h["stage"] for h in fits[-1].history]
    print(
        f"\nperPixel={perPixel}: best {seconds:.3f} s, mean {benchmark.stats.stats.mean:.3f} s; bar {bar} s x machine "
        f"factor {machine:.2f} = {bar * machine:.3f} s; {fits[-1].nUsed} stars, stages {stages}"
    )
    benchmark.extra_info.update(machineFactor=machine, bar=bar, stages=stages)


def testNormalEquationsTheObviousWay(benchmark, pair):
    """30 stamps: sliding windows for the convolutions, then C^T C."""
    positions, _, (t, s, vt, vs) = pair
    pixels = images(defaultBasis())

    def solve():
        for x, y in positions[:30]:
            cx, cy = int(x), int(y)
            cut = t[cy - 21 : cy + 22, cx - 21 : cx + 22]
            c = np.array([correlate(cut, k).ravel() for k in pixels]).T
            np.linalg.solve(c.T @ c, c.T @ s[cy - 11 : cy + 12, cx - 11 : cx + 12].ravel())

    benchmark.pedantic(solve, rounds=2)
    print(f"\nobvious way: {benchmark.stats.stats.min * 10:.2f} s for 300 stamps, one fit each")


if __name__ == "__main__":
    scene = simulatePair(1300, 300, 3)
    chosen = _threeIterations("perPixel" in sys.argv)
    cells = _cells(scene, chosen)
    print(fitSpatialKernel(cells, defaultBasis(), chosen).history)
