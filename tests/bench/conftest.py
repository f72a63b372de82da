"""What the benchmarks share: the speed of this machine relative to the one of the stated times."""

import time

import numpy as np
import pytest
import scipy.fft

ANCHOR = 0.041  # seconds of one-worker rfft2 of 2048^2 float32 on the idle machine for which the bars are stated


@pytest.fixture(scope="session")
def machine():
    """Time of a one-worker rfft2 of 2048 x 2048 float32 pixels, best of ten, over that on the machine of the bars:
    a bar times this is the bar on this machine."""
    pixels = np.random.default_rng(1).standard_normal((2048, 2048)).astype(np.float32)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        scipy.fft.rfft2(pixels, workers=1)
        times.append(time.perf_counter() - start)
    return min(times) / ANCHOR
