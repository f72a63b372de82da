"""Peak memory of a subtraction."""

import gc
from pathlib import Path

import pytest

from stillsky.diffim import subtract
from stillsky.sim import simulatePair

_SIZE = 4096  # of the bar; scratch that does not grow with the image is much of a small one


def _status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


@pytest.fixture(scope="module")
def exposures():
    pair = simulatePair(size=_SIZE, seed=4, starDensity=100.0)
    return pair.science.toExposure(psf=False), pair.template.toExposure(psf=False)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["al", "zogy"])
def test_peakMemoryIsBelowTenPlanesBeyondTheInputs(exposures, method):
    """Of images with a sky, as files have one: forced fluxes are of what stands on it."""
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        pytest.skip("the peak of the resident memory can be reset on Linux only")
    science, template = exposures
    subtract(science[0:512, 0:512], template[0:512, 0:512], method=method)  # imports and threads are not counted
    gc.collect()
    before = _status("VmRSS")
    try:
        clear.write_text("5")
    except OSError:
        pytest.skip("not allowed to reset the peak of the resident memory")
    result = subtract(science, template, method=method)
    planes = (_status("VmHWM") - before) / (4 * _SIZE**2)
    assert result.difference.bbox == science.bbox
    assert planes < 10.0, f"{planes:.1f} planes of float32"
