"""Whole subtraction of a 4096 x 4096 pair, arrays in memory to arrays out, PSFs and stars not given.

Bar (idle two-core machine whose one-worker rfft2 of 2048^2 float32 takes 41 ms): 4 s.
"""

import gc
import time

import pytest

from stillsky.diffim import SubtractConfig, subtract
from stillsky.sim import simulatePair

SIZE = 4096
BAR = 4.0


@pytest.mark.benchmark(group="subtract")
def test_subtractOfA4kPair(benchmark, machine):
    pair = simulatePair(size=SIZE, seed=4)
    science, template = pair.science.toExposure(psf=False), pair.template.toExposure(psf=False)
    subtract(science[0:512, 0:512], template[0:512, 0:512])  # imports and thread pool
    del pair
    gc.collect()
    config = SubtractConfig()
    cpu = time.process_time()
    result = benchmark.pedantic(lambda: subtract(science, template, config=config), rounds=3, iterations=1)
    cpu = (time.process_time() - cpu) / 3
    seconds = benchmark.stats.stats.min
    benchmark.extra_info.update(cpuSeconds=cpu, barSeconds=BAR, scaledBarSeconds=BAR * machine, machineFactor=machine)
    stages = ", ".join(f"{name} {value:.2f}" for name, value in result.timings.items())
    print(
        f"\nsubtract {SIZE}^2: {seconds:.2f} s wall, {cpu:.2f} s CPU (bar {BAR} s, scaled {BAR * machine:.2f} s); {stages}"
    )
