"""A science image in other units: the same decisions, and the same difference in those units."""

import numpy as np
import pytest

from stillsky.diffim import subtract
from stillsky.sim import simulatePair

UNIT = 2.0**-16  # of an image scaled to 0-1; a power of two changes no digit


@pytest.fixture(scope="module")
def pair():
    pair = simulatePair(400, 2, starDensity=900.0)
    return pair.science.toExposure(psf=False), pair.template.toExposure(psf=False)


def scaled(exposure):
    out = exposure.copy()
    out.image.array[:] *= np.float32(UNIT)
    out.variance.array[:] *= np.float32(UNIT**2)
    return out


@pytest.mark.parametrize("method", ["al", "zogy"])
@pytest.mark.parametrize("which", ["science", "template"])
def test_unitsOfAnImageChangeNoDecision(pair, method, which):
    """The fit of the kernel, what it rejects and how many Gaussians it takes, candidates and their significances."""
    science, template = pair
    plain = subtract(science, template, method=method)
    if which == "science":
        unit, other = UNIT, subtract(scaled(science), template, method=method)
    else:
        unit, other = 1.0, subtract(science, scaled(template), method=method)
    sums = unit if which == "science" else 1 / UNIT
    if plain.metadata["convolvedExposure"] == "science":
        sums = 1 / sums
    assert other.metadata["ALBasisNGauss"] == plain.metadata["ALBasisNGauss"] == 4
    for name in ("nGoodCandidates", "nBadCandidates", "convolvedExposure", "ALKernelSize"):
        assert other.metadata[name] == plain.metadata[name]
    for name, rel in (("spatialKernelSum", 1e-6), ("spatialKernelSumError", 1e-3)):
        assert other.metadata[name] / sums == pytest.approx(plain.metadata[name], rel=rel)
    chi = [d.image.array / np.sqrt(d.variance.array) for d in (plain.difference, other.difference)]
    # a proper difference sees beyond the border noise that is drawn by the bits of the pixels
    inside = np.s_[16:-16, 16:-16] if method == "zogy" else np.s_[:]
    np.testing.assert_allclose(chi[0][inside], chi[1][inside], rtol=0, atol=0.02)
    rays = [r.difference.mask.array & r.difference.mask.bitmask(["CR"]) for r in (plain, other)]
    assert rays[0].any() and np.mean(rays[0] != rays[1]) < 1e-5
    assert len(plain.sources) == len(other.sources) > 3
    np.testing.assert_allclose(plain.sources["detectSignificance"], other.sources["detectSignificance"], rtol=2e-3)
    x, y = (np.asarray(plain.sources[f"peak{c}"]) for c in "XY")
    rows = (method == "al") | (np.minimum.reduce([x, y, 399 - x, 399 - y]) > 16)
    fluxes = [np.asarray(r.sources["ip_diffim_forced_PsfFlux_instFlux"])[rows] for r in (plain, other)]
    assert len(fluxes[0]) > 3
    np.testing.assert_allclose(fluxes[0], fluxes[1] / unit, rtol=1e-2, atol=0.05 * np.abs(fluxes[0]).min())
