"""Coadd of 100 warps of 4096 pixels width in files: time beside reading their bytes, from the system's cache of pages and from
disk, by as many threads; peak memory; MEAN and MEANCLIP."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import stillsky
from stillsky.coadd import AssembleCoaddAlgorithmConfig, assembleCoadd, prepareInputs
from stillsky.image import Exposure, Image, Mask, MaskedImage

WIDTH, HEIGHT, N_WARPS = 4096, 256, 100

_PEAK = """
import sys
from stillsky.coadd import AssembleCoaddAlgorithmConfig, assembleCoadd
config = AssembleCoaddAlgorithmConfig()
config.statistic, config.doInterp, config.memory = sys.argv[1], False, 1 << 30
assembleCoadd(sys.argv[2:], config=config)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 2**20)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("warps"), np.random.default_rng(1)
    names = []
    for k in range(N_WARPS):
        shape = (HEIGHT, WIDTH)
        mask = np.where(rng.random(shape, np.float32) < 0.01, np.int32(2), np.int32(0))
        image = rng.standard_normal(shape, np.float32) * 5 + 100
        names.append(folder / f"{k}.fits")
        Exposure(MaskedImage(Image(image), Mask(mask), Image(np.full(shape, 25, np.float32)))).writeFits(names[-1])
    return names


def best(function, rounds=5, before=lambda: None):
    times = []
    for _ in range(rounds):
        before()
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def readAll(names):
    """All bytes of the files, by the largest reads that stay in the processor's cache."""
    buffer = bytearray(1 << 20)
    for name in names:
        with open(name, "rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass


def readByThreads(names):
    """As `readAll`, by as many threads as stack."""
    n = stillsky.getNumThreads()
    with ThreadPoolExecutor(n) as pool:
        list(pool.map(readAll, [names[k::n] for k in range(n)]))


def forget(names):
    """Have the system drop the files from its cache of pages."""
    for name in names:
        with open(name, "rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("statistic", ["MEAN", "MEANCLIP"])
def testBandsOfAHundredWarps(files, statistic, machine, capsys, benchmark):
    config = AssembleCoaddAlgorithmConfig()
    config.statistic, config.doInterp, config.memory = statistic, False, 1 << 30
    prepared = prepareInputs(files, config=config)
    assert len(prepared.inputs) == N_WARPS
    stack = partial(assembleCoadd, prepared, config=config)
    stack()
    one, reading, stacking = (best(f) for f in (partial(readAll, files), partial(readByThreads, files), stack))
    preparing = best(lambda: prepareInputs(files, config=config), 1)
    cold = [best(f, 2, partial(forget, files)) for f in (partial(readAll, files), stack)]
    benchmark.pedantic(stack, rounds=1)
    peak = subprocess.run([sys.executable, "-c", _PEAK, statistic, *map(os.fspath, files)], capture_output=True, text=True,
                          check=True).stdout  # fmt: skip
    samples = WIDTH * HEIGHT * N_WARPS
    with capsys.disabled():
        print(
            f"\n{statistic} of {N_WARPS} warps {WIDTH}x{HEIGHT}, {samples * 12 / 1e9:.2f} GB, {stillsky.getNumThreads()} threads:"
            f" cached {stacking:.3f} s, {stacking / one:.2f} times the reading by one thread ({one:.3f} s), {stacking / reading:.2f}"
            f" by as many ({reading:.3f} s); from disk {cold[1]:.2f} s, {cold[1] / cold[0]:.2f} times the reading ({cold[0]:.2f} s);"
            f" bar 1.3; {stacking / samples * 1e9:.2f} ns a sample; weights and headers {preparing:.2f} s;"
            f" peak {float(peak):.2f} GiB (bar 1.3); machine {machine:.2f}"
        )


def testA21_doublings(tmp_path, capsys, benchmark):
    """25, 50, 100 frames of 2048 x 2048 float32 with mask and variance: the time between doublings grows by at most 2.2."""
    shape = (2048, 2048)
    planes = MaskedImage(Image(np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)), Mask(np.zeros(shape, np.int32)),
                         Image(np.full(shape, 25, np.float32)))  # fmt: skip
    names = [tmp_path / f"{k}.fits" for k in range(100)]
    Exposure(planes).writeFits(names[0])
    for name in names[1:]:
        os.link(names[0], name)
    config = AssembleCoaddAlgorithmConfig()
    config.doInterp, config.memory = False, 1 << 28
    benchmark.pedantic(assembleCoadd, (names[:5],), {"config": config}, rounds=1)
    times = [best(lambda n=n: assembleCoadd(names[:n], config=config), 2) for n in (25, 50, 100)]
    with capsys.disabled():
        print(
            f"\nMEANCLIP of 25, 50, 100 files of 2048x2048: {times[0]:.2f}, {times[1]:.2f}, {times[2]:.2f} s; doublings"
            f" {times[1] / times[0]:.2f}, {times[2] / times[1]:.2f} (bar 2.2)"
        )
