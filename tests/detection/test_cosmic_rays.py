"""Cosmic rays, and footprints split into their peaks."""

import numpy as np
import pytest

from stillsky.detection import (
    Footprint,
    FootprintSet,
    HeavyFootprint,
    deblendFootprints,
    detectSources,
    findCosmicRays,
    makePeaks,
)
from stillsky.detection.cosmic_rays import CosmicRayLimitError
from stillsky.errors import DomainError, InvalidPsfError
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf


def noisy(rng, shape=(120, 150), sigma=2.4, xy0=(0, 0)):
    return makeExposure(
        rng.normal(0, 1, shape).astype(np.float32), variance=1.0, psf=GaussianPsf(29, 29, sigma), xy0=xy0
    )


def crPixels(exposure):
    return set(zip(*np.nonzero(exposure.mask.array & (1 << exposure.mask.bit("CR"))), strict=True))


def test_twoLinesOfFivePixelsAreFoundAndNothingElse():
    """Check 5 of image-difference 27.6; the noise seed decides whether a neighbour of a ray is extended to."""
    exposure = noisy(np.random.default_rng(6))
    clean = exposure.copy()
    expected = {(40, 50 + i) for i in range(5)} | {(80 + i, 100) for i in range(5)}
    for y, x in expected:
        exposure.image.array[y, x] += 1234
    before = exposure.image.array.copy()
    rays = findCosmicRays(exposure)
    assert len(rays) == 2 and {r.area for r in rays} == {5}
    assert crPixels(exposure) == expected
    assert np.array_equal(exposure.image.array, before)
    assert findCosmicRays(clean) == []
    assert crPixels(clean) == set()


def test_starsAreNoCosmicRaysUnlessTheirPsfIsThoughtWider():
    rng = np.random.default_rng(2)
    exposure = noisy(rng, sigma=1.6)
    rows, columns = np.mgrid[:120, :150]
    for x, y in rng.uniform(15, 105, (12, 2)):
        exposure.image.array[:] += (
            3000 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.6**2)) / (2 * np.pi * 1.6**2)
        )
    assert findCosmicRays(exposure) == []
    sharp = noisy(rng)
    sharp.image.array[60, 60] += 500
    assert len(findCosmicRays(sharp, psf=GaussianPsf(29, 29, 1.6))) == 1


def test_faintGroupsMaskedPixelsAndTheFrameAreNoRays():
    exposure = noisy(np.random.default_rng(3), xy0=(7, -5))
    exposure.image.array[50, 50] += 100  # below the sum of 150
    exposure.image.array[70, 70] += 900
    exposure.mask.array[70, 70] |= 1 << exposure.mask.bit("SAT")
    exposure.image.array[90, 90] += 900
    exposure.mask.array[91, 91] |= 1 << exposure.mask.bit("INTRP")
    exposure.image.array[0, 40] += 900
    exposure.image.array[30, 30] = np.nan
    assert findCosmicRays(exposure, minDN=150.0) == []
    exposure.image.array[60, 30] += 900
    (ray,) = findCosmicRays(exposure, minDN=150.0)
    assert ray.spans.tolist() == [[55, 37, 37]]


def test_theEdgeBetweenTheLobesOfADipoleIsNoRay():
    """It is sharper than the PSF, from signal-to-noise ratios of some tens; a ray beside a faint hollow stays one."""
    rows, columns = np.mgrid[:120, :150]

    def star(x, y, flux, sigma=1.6):
        return flux * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)

    exposure = noisy(np.random.default_rng(12), sigma=1.6)
    turn = np.linspace(0, np.pi, 12, endpoint=False)
    for k, (dx, dy) in enumerate(zip(np.cos(turn), np.sin(turn), strict=True)):
        x, y, shift = 20 + 35 * (k % 4), 20 + 35 * (k // 4), 0.1 + 0.1 * k
        dipole = star(x + 0.5 * shift * dx, y + 0.5 * shift * dy, 1) - star(
            x - 0.5 * shift * dx, y - 0.5 * shift * dy, 1
        )
        exposure.image.array[:] += 60 * dipole / np.abs(dipole).max()
    sharp = exposure.copy()
    assert findCosmicRays(exposure) == []
    sharp.image.array[38, 37] += 200
    sharp.image.array[38, 39] -= 20
    (ray,) = findCosmicRays(sharp)
    assert ray.bbox.contains((37, 38))


@pytest.mark.parametrize("unit", [1e-4, 3e5])
def test_unitsOfAnImageDoNotDecideWhatACosmicRayIs(unit):
    """The faintest sum follows the noise by default, and is one of image units where it is given."""
    exposure = noisy(np.random.default_rng(8))
    amplitudes = {(20, 30): 12.0, (60, 60): 40.0, (60, 61): 35.0, (90, 20): 400.0, (100, 120): 7.0}
    for place, value in amplitudes.items():
        exposure.image.array[place] = value  # of a noise of 1
    other = exposure.copy()
    other.image.array[:] *= np.float32(unit)
    other.variance.array[:] *= np.float32(unit**2)
    rays = findCosmicRays(exposure)
    assert crPixels(exposure) == set(amplitudes) - {(100, 120)}
    assert [r.spans.tolist() for r in findCosmicRays(other)] == [r.spans.tolist() for r in rays]
    assert crPixels(other) == crPixels(exposure)
    for image, scale in ((exposure, 1.0), (other, unit)):
        assert [r.area for r in findCosmicRays(image, minDN=150.0 * scale)] == [1]


def test_tooManyRaysAreAnErrorThatChangesNothing():
    exposure = noisy(np.random.default_rng(4))
    exposure.image.array[20:100:5, 20:100:5] += 800
    before, mask = exposure.image.array.copy(), exposure.mask.array.copy()
    with pytest.raises(DomainError, match="more than 20 pixels") as info:
        findCosmicRays(exposure, maxPixels=20)
    assert isinstance(info.value, CosmicRayLimitError)
    with pytest.raises(DomainError, match="factors") as info:
        findCosmicRays(exposure, minSigma=-1)
    assert not isinstance(info.value, CosmicRayLimitError)
    assert np.array_equal(exposure.image.array, before) and np.array_equal(exposure.mask.array, mask)


def test_raysAreInterpolatedOnRequest():
    exposure = noisy(np.random.default_rng(5))
    exposure.image.array[60, 60:63] += 2000
    (ray,) = findCosmicRays(exposure, keep=False)
    values = ray.flatten(exposure.image.array)
    assert (np.abs(values) < 2).all()
    assert (ray.flatten(exposure.mask.array) & (1 << exposure.mask.bit("INTRP"))).all()


def test_rayFinderNeedsAPsfWithACore():
    exposure = noisy(np.random.default_rng(6))
    exposure.psf = None
    with pytest.raises(InvalidPsfError):
        findCosmicRays(exposure)


# ------------------------------------------------------------------------- deblending


def blended(separation, flux=(600.0, 500.0), sign=1.0):
    exposure = noisy(np.random.default_rng(9), sigma=2.0)
    rows, columns = np.mgrid[:120, :150]
    for x, f in zip((70, 70 + separation), flux, strict=True):
        exposure.image.array[:] += sign * f * np.exp(-((columns - x) ** 2 + (rows - 60) ** 2) / 8) / (8 * np.pi)
    return exposure


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_pairIsSplitAndItsPixelsShared(sign):
    exposure = blended(8, sign=sign)
    found = detectSources(exposure, polarity="both")
    parent = found.positive if sign > 0 else found.negative
    assert len(parent) == 1 and len(parent[0].peaks) == 2
    children, origin = deblendFootprints(parent, exposure, negative=sign < 0)
    assert len(children) == 2 and origin.tolist() == [0, 0]
    assert sum(c.area for c in children) == parent[0].area
    assert not children[0].spans.overlaps(children[1].spans)
    for child, flux in zip(children, (600, 500), strict=True):
        assert isinstance(child, HeavyFootprint) and len(child.peaks) == 1
        assert sign * child.imageValues.sum() == pytest.approx(flux, rel=0.25)


def test_singleSourcesAndInsignificantPeaksAreLeftWhole():
    exposure = blended(40)
    found = detectSources(exposure).positive
    children, origin = deblendFootprints(found, exposure)
    assert origin.tolist() == [0, 1] and [c.area for c in children] == [f.area for f in found]
    pair = blended(8)
    whole, origin = deblendFootprints(detectSources(pair).positive, pair, threshold=1000.0)
    assert len(whole) == 1


def test_peakThatOwnsNoPixelIsNoSource():
    """A peak of which nothing but the wing of a neighbour lies in the footprint: there is no child without pixels."""
    exposure = blended(8)
    found = detectSources(exposure).positive[0]
    hidden = makePeaks([(70, 60, 9.0), (70, 60, 8.0), (78, 60, 7.0)])
    parent = FootprintSet([Footprint(found.spans, hidden, exposure.bbox)], exposure.bbox)
    children, _ = deblendFootprints(parent, exposure)
    assert [len(c.peaks) for c in children] == [1, 1] and all(c.area > 0 for c in children)
    assert sorted(int(c.peaks["i_x"][0]) for c in children) == [70, 78]
    whole, _ = deblendFootprints(
        FootprintSet([Footprint(found.spans, hidden[:2], exposure.bbox)], exposure.bbox), exposure
    )
    assert len(whole) == 1 and whole[0].area == found.area
