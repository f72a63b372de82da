"""Proper difference, score and detection of a 4096 x 4096 pair beside its FFTs, arrays in memory to footprints.

Bar (idle two-core machine whose one-worker rfft2 of 2048^2 float32 takes 41 ms): 8 s and 16 planes of float32.
"""

import gc
import time
from pathlib import Path

import numpy as np
import pytest

from stillsky.detection import FootprintSet, Threshold
from stillsky.diffim import zogyExposures
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf

SIZE = 4096
BAR = 8.0


def _status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), 0)


@pytest.mark.benchmark(group="zogy")
def test_zogyOfA4kPair(benchmark, machine):
    generator = np.random.default_rng(4)
    pair = []
    for sigma, width in ((17.0, 1.8), (5.4, 1.45)):
        pixels = generator.standard_normal((SIZE, SIZE), dtype=np.float32) * np.float32(sigma)
        pair.append(makeExposure(pixels, variance=np.full_like(pixels, sigma**2), psf=GaussianPsf(43, 43, width)))
    zogyExposures(pair[0][0:512, 0:512], pair[1][0:512, 0:512])  # imports and thread pool
    gc.collect()
    before = _status("VmRSS")
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    timings = {}

    def run():
        start = time.perf_counter()
        result = zogyExposures(*pair)
        timings["difference and score"] = time.perf_counter() - start
        start = time.perf_counter()
        found = [FootprintSet.detect(result.scoreCorr, Threshold(5.0, polarity=sign)) for sign in (True, False)]
        timings["detection"] = time.perf_counter() - start
        return len(found[0]) + len(found[1])

    cpu = time.process_time()
    peaks = benchmark.pedantic(run, rounds=3, iterations=1)
    cpu = (time.process_time() - cpu) / 3
    planes = (_status("VmHWM") - before) / (4 * SIZE**2) + 6  # and the six of the inputs
    benchmark.extra_info.update(cpuSeconds=cpu, barSeconds=BAR, scaledBarSeconds=BAR * machine, planes=planes)
    stages = ", ".join(f"{name} {value:.2f}" for name, value in timings.items())
    print(f"\nzogy {SIZE}^2: {benchmark.stats.stats.min:.2f} s wall, {cpu:.2f} s CPU (bar {BAR} s, scaled "
          f"{BAR * machine:.2f} s); {stages}; {planes:.1f} planes; {peaks} footprints of noise")  # fmt: skip
