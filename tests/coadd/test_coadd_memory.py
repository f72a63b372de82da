"""Resident memory of a coadd of many large warps, in a process of its own."""

import os
import subprocess
import sys

import numpy as np
import pytest
from coadd_scenes import constantWarp

from stillsky.geom import Box2I

_PROGRAM = """
import sys
from stillsky.coadd import AssembleCoaddAlgorithmConfig, assembleCoadd
config = AssembleCoaddAlgorithmConfig()
config.statistic, config.doInterp, config.memory = "MEAN", False, 1 << 30
result = assembleCoadd(sys.argv[1:], config=config)
assert (result.nKept.array == 100).all() and not result.skipped
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def testAHundredWarps4096WideStayWithinTheBudget(tmp_path):
    box = Box2I((0, 0), (4096, 384))  # 1.9 GB of rows, all of which pass through memory
    warp = constantWarp(1.0, 1.0, box)
    warp.image.array += np.arange(4096, dtype=np.float32)
    warp.writeFits(tmp_path / "w0.fits")
    names = [tmp_path / "w0.fits"]
    for k in range(1, 100):
        names.append(tmp_path / f"w{k}.fits")
        os.link(names[0], names[-1])
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *map(str, names)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1.3  # GiB


_PEAK = """
import sys
from stillsky.coadd import AssembleCoaddAlgorithmConfig, assembleCoadd
config = AssembleCoaddAlgorithmConfig()
config.doInterp, config.memory = False, 1 << 28
result = assembleCoadd(sys.argv[1:], config=config)
assert (result.nKept.array == len(sys.argv) - 1).all() and not result.skipped
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def testA21_fourTimesTheFramesNeedNoMoreMemory(tmp_path):
    """25, 50, 100 frames of 2048 x 2048; what it takes in time is in tests/bench/test_coadd_bench.py.

    Each in a process of its own: what an earlier stack gave back, the C library may keep.
    """
    warp = constantWarp(1.0, 1.0, Box2I((0, 0), (2048, 2048)))
    warp.image.array += np.arange(2048, dtype=np.float32)
    names = [tmp_path / f"w{k}.fits" for k in range(100)]
    warp.writeFits(names[0])
    for name in names[1:]:
        os.link(names[0], name)
    peaks = []  # MiB
    for n in (25, 50, 100):
        command = [sys.executable, "-c", _PEAK, *map(str, names[:n])]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout))
    assert peaks[1] <= 1.1 * peaks[0] and peaks[2] <= 1.1 * peaks[0]
    assert peaks[0] < 256 + 4 * 16 * 4 + 200  # the budget, twice the result with its counts, the program itself
