"""Stacks as the command line makes them by default: outliers of few images, depth, and memory whatever the number."""

import subprocess
import sys

import numpy as np
import pytest

from stillsky.coadd import assembleCoadd
from stillsky.coadd.job_config import CoaddJobConfig
from stillsky.fits import writeExposure
from stillsky.image import makeExposure


def _visits(n, size, seed=1, outliers=True):
    """Sky of 100, noise 10 to 13, 0.2 % outliers of 200 to 5000, 0.2 % masked; and the best mean of the clean samples."""
    rng = np.random.default_rng(seed)
    sigmas, made, total, weight = rng.uniform(10, 13, n), [], 0.0, 0.0
    for sigma in sigmas:
        pixels, mask = 100.0 + rng.normal(0, sigma, (size, size)), rng.random((size, size)) < 0.002
        total, weight = total + ~mask * pixels / sigma**2, weight + ~mask / sigma**2
        if outliers:
            hit = rng.random((size, size)) < 0.002
            pixels[hit] += rng.uniform(200, 5000, hit.sum())
        made.append(makeExposure(pixels.astype(np.float32), variance=sigma**2, mask=mask))
    return made, total / weight


@pytest.mark.parametrize("n, size", [(20, 256), (100, 128)])
def test_rivals_check_11_outliersOfAFewPerMilleCostNoDepth(n, size):
    visits, best = _visits(n, size)
    found = assembleCoadd(visits, config=CoaddJobConfig().assemble).coadd.image.array
    assert np.mean(np.abs(found - 100) > 10 * np.std(best)) == 0
    assert np.std(found) / np.std(best) <= 1.02
    assert abs(np.mean(found - best)) < 0.02


def test_rivals_check_11_oneOutlierAmongTenIsRejected():
    """Mean and standard deviation cannot do that: among ten the largest deviation is 2.85 standard deviations."""
    visits, best = _visits(10, 128, outliers=False)
    visits[3].image.array[::8, ::8] += 50 * np.sqrt(visits[3].variance.array[0, 0])
    values = np.array([v.image.array for v in visits])
    assert np.all(np.abs(values - values.mean(axis=0)) < 3 * values.std(axis=0, ddof=1))
    found = assembleCoadd(visits, config=CoaddJobConfig().assemble).coadd.image.array
    hit = (found - best)[::8, ::8]
    assert np.max(np.abs(hit)) < 6 * np.std(best) and abs(hit.mean()) < 0.5


_PEAK = """
import sys
import stillsky
from stillsky.coadd.job_config import CoaddJobConfig
config = CoaddJobConfig()
config.doEstimatePsf, config.scale = False, "none"
result = stillsky.coadd(sys.argv[1:], config=config, memory=12_000_000)
assert result.metadata["inputsUsed"] == len(sys.argv) - 1
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_a21_peakMemoryDoesNotGrowWithTheNumberOfFiles(tmp_path):
    """A21 in small: 20 files of 6 MB take at most a tenth more than five of them, each in a process of its own."""
    rng = np.random.default_rng(2)
    names = [str(tmp_path / f"{k}.fits") for k in range(20)]
    noise = rng.normal(10, 3, (720, 720)).astype(np.float32)
    for k, name in enumerate(names):
        writeExposure(makeExposure(np.roll(noise, 37 * k, axis=0), variance=9.0), name)
    peaks = []
    for some in (names[:5], names):
        done = subprocess.run([sys.executable, "-c", _PEAK, *some], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout))
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] - peaks[0] < 0.4 * 15 * 720**2 * 12  # and the further files are not held
