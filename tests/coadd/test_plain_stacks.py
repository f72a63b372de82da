"""Stacks as the command line makes them by default: outliers of few images, depth, and memory whatever the number."""

import gc
from pathlib import Path

import numpy as np
import pytest

import stillsky
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


def _status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


@pytest.mark.slow
def test_a21_peakMemoryDoesNotGrowWithTheNumberOfFiles(tmp_path):
    """A21 in small: 20 files of 6 MB take at most a tenth more than five of them."""
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        pytest.skip("the peak of the resident memory can be reset on Linux only")
    rng = np.random.default_rng(2)
    names = [str(tmp_path / f"{k}.fits") for k in range(20)]
    noise = rng.normal(10, 3, (720, 720)).astype(np.float32)
    for k, name in enumerate(names):
        writeExposure(makeExposure(np.roll(noise, 37 * k, axis=0), variance=9.0), name)
    config = CoaddJobConfig()
    config.doEstimatePsf, config.scale = False, "none"
    peaks = []
    for some in (names[:2], names[:5], names):  # the first warms up
        gc.collect()
        try:
            clear.write_text("5")
        except OSError:
            pytest.skip("not allowed to reset the peak of the resident memory")
        result = stillsky.coadd(some, config=config, memory=12_000_000)
        peaks.append(_status("VmHWM"))
        assert result.metadata["inputsUsed"] == len(some)
        del result
    assert peaks[2] < 1.1 * peaks[1]
    assert peaks[2] - peaks[1] < 0.4 * 15 * 720**2 * 12  # and the further files are not held
