"""Interpolation over bad columns of 4096 x 4096 pixels, beside SciPy in the same run."""

import time

import numpy as np
import pytest

import stillsky
from stillsky.coadd import interpImage

SIZE, COLUMNS = 4096, 400


@pytest.mark.parametrize("transpose", [False, True])
def test_interpolationAgainstScipy(benchmark, transpose):
    """Bar: below 0.5 s."""
    from stillsky.coadd import InterpImageConfig

    rng = np.random.default_rng(3)
    exposure = stillsky.exposure(rng.normal(100, 3, (SIZE, SIZE)).astype(np.float32))
    bad = np.zeros(SIZE, bool)
    bad[rng.choice(SIZE, COLUMNS, replace=False)] = True
    bad[:40] = True
    exposure.mask.array[..., bad] |= exposure.mask.bitmask("NO_DATA")
    if transpose:
        exposure.mask.array[...] = np.ascontiguousarray(exposure.mask.array.T)
    benchmark(interpImage, exposure, "NO_DATA", config=InterpImageConfig(transpose=transpose))
    ours = benchmark.stats.stats.median
    from scipy.interpolate import interp1d

    start = time.perf_counter()
    good = np.nonzero(~bad)[0]
    rows = exposure.image.array[:256]
    interp1d(good, rows[:, good], axis=1, fill_value="extrapolate")(np.nonzero(bad)[0])
    theirs = (time.perf_counter() - start) * SIZE / 256
    benchmark.extra_info.update(nanosecondsPerPixel=ours / SIZE**2 * 1e9, scipySeconds=theirs, ratio=theirs / ours)
    print(f"\n{ours:.3f} s, SciPy linear {theirs:.2f} s ({theirs / ours:.1f}x)")
