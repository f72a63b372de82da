"""Features of candidates: what they are for point sources, rays, dipoles and residuals."""

import numpy as np
import pytest

from stillsky.diffim.candidate_columns import FEATURES
from stillsky.diffim.candidate_features import (
    _besideDipole,
    candidateFeatures,
    flagCandidates,
    kernelUncertainty,
    leverage,
    modelError,
)
from stillsky.diffim.detect_measure import detectAndMeasure
from stillsky.diffim.detect_measure_config import DetectAndMeasureAlgorithmConfig
from stillsky.image import makeExposure
from stillsky.measure import measureSources
from stillsky.psf import GaussianPsf

SIZE, SIGMA = 200, 2.0
PSF = GaussianPsf(25, 25, SIGMA)


def spot(x, y, flux, sigma=SIGMA):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return flux * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def measured(change, template=0.0, seed=3, faintestRay=None, **keywords):
    noise = np.random.default_rng(seed).normal(0, 1, (SIZE, SIZE))
    planes = (template + change + noise, np.zeros((SIZE, SIZE)) + template, change + noise)
    images = [makeExposure(p.astype(np.float32), variance=1.0, psf=PSF) for p in planes]
    config = DetectAndMeasureAlgorithmConfig()
    config.doSubtractBackground = False
    config.cosmicray.min_DN = faintestRay
    return detectAndMeasure(*images, config=config, **keywords).sources


def test_pointSourceHasTheFeaturesOfThePsf():
    (row,) = measured(spot(100.3, 90.7, 3000))
    assert row["candidate_psfChi2"] == pytest.approx(1, abs=0.4)
    assert row["candidate_widthRatio"] == pytest.approx(1, abs=0.05)
    assert row["candidate_sharpness"] == pytest.approx(1, abs=0.2)
    assert abs(row["candidate_sharpnessSigma"]) < 4
    assert row["candidate_dipoleSeparation"] == 0
    assert row["candidate_dipoleDeltaChi2"] < 15
    assert row["candidate_asymmetry"] == pytest.approx(1, abs=0.3)
    assert row["candidate_negativeFraction"] < 0.2
    for name in ("bad", "saturated", "cosmicRay", "interpolated"):
        assert row[f"candidate_{name}Fraction"] == 0
    assert not row["candidate_flag"]


@pytest.fixture(scope="module")
def kinds():
    """(features, kind): 36 each of stars, vanished stars, dipoles and single pixels of about S/N 30."""
    rng = np.random.default_rng(4)
    x, y = (g.ravel() for g in np.meshgrid(np.arange(36) * 40.0 + 40, np.arange(4) * 60.0 + 40))
    x, y = x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, x.size)
    image, kind, flux = rng.normal(size=(280, 1480)), np.repeat(np.arange(4), 36), 30 * np.sqrt(4 * np.pi) * SIGMA

    def add(px, py, f):
        ix, iy = int(px), int(py)
        rows, columns = np.mgrid[iy - 15 : iy + 16, ix - 15 : ix + 16]
        star = np.exp(-((columns - px) ** 2 + (rows - py) ** 2) / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
        image[iy - 15 : iy + 16, ix - 15 : ix + 16] += f * star

    for a, b, k in zip(x, y, kind, strict=True):
        if k < 2:
            add(a, b, flux if k == 0 else -flux)
        elif k == 2:
            add(a + 0.7, b, 4 * flux)
            add(a - 0.7, b, -4 * flux)
        else:
            image[int(b + 0.5), int(a + 0.5)] += flux / 5
    exposure = makeExposure(image.astype(np.float32), variance=1.0, psf=PSF)
    table = measureSources(exposure, np.stack([x, y], 1), ["PsfFlux", "SdssShape"], isNegative=kind == 1)
    # At the planted places, wherever a centroid would go.
    table["base_SdssCentroid_x"], table["base_SdssCentroid_y"] = x, y
    return candidateFeatures(table, exposure, None, PSF), kind


def test_featuresOfPointSourcesAreThoseOfTheNoise(kinds):
    table, kind = kinds
    for which in (0, 1):
        stars = table[kind == which]
        assert np.mean(stars["candidate_psfChi2"]) == pytest.approx(1, abs=0.08)
        # The centre stands out of its neighbours by little more than the noise of a pixel: 0.9 each, 36 stars.
        assert np.mean(stars["candidate_sharpness"]) == pytest.approx(1, abs=0.45)
        assert np.std(stars["candidate_sharpnessSigma"]) == pytest.approx(1, abs=0.35)
        # Two parameters of pure noise gain 2 +- 2.
        assert np.mean(stars["candidate_dipoleDeltaChi2"]) == pytest.approx(2, abs=1.2)
        assert np.mean(stars["candidate_negativeFraction"]) < 0.2
        assert np.mean(stars["candidate_asymmetry"]) == pytest.approx(1, abs=0.1)
        assert np.mean(stars["candidate_widthRatio"]) == pytest.approx(1, abs=0.03)


def test_featuresTellArtefactsFromStars(kinds):
    table, kind = kinds
    stars, dipoles, rays = (table[kind == k] for k in (0, 2, 3))
    assert np.min(dipoles["candidate_dipoleDeltaChi2"]) > 5 * np.max(stars["candidate_dipoleDeltaChi2"])
    assert np.min(dipoles["candidate_negativeFraction"]) > np.max(stars["candidate_negativeFraction"])
    assert np.min(dipoles["candidate_asymmetry"]) > np.max(stars["candidate_asymmetry"])
    assert np.min(rays["candidate_sharpness"]) > 2 * np.max(stars["candidate_sharpness"])
    assert np.min(rays["candidate_sharpnessSigma"]) > 10 > np.max(stars["candidate_sharpnessSigma"])
    assert np.min(rays["candidate_psfChi2"]) > np.max(stars["candidate_psfChi2"])
    assert np.nanmedian(rays["candidate_widthRatio"]) < 0.5


def test_maskFractionsWithinFivePixelsAndDistances():
    exposure = makeExposure(np.zeros((60, 60), np.float32), variance=1.0, psf=PSF, xy0=(100, 200))
    exposure.mask.array[30:, :] |= 1 << exposure.mask.bit("SAT")
    exposure.mask.array[20, 20] |= 1 << exposure.mask.bit("CR")
    exposure.mask.array[20, 21:23] |= 1 << exposure.mask.bit("INTRP")
    x, y = np.array([120.0, 130.0, 100.0]), np.array([220.0, 229.5, 210.0])
    table = measureSources(exposure, np.stack([x, y], 1), ["PsfFlux", "SdssShape"])
    table["base_SdssCentroid_x"], table["base_SdssCentroid_y"] = x, y
    table = candidateFeatures(table, exposure, None, PSF, stars=np.array([[123.0, 224.0], [140.0, 230.0]]))
    area = sum(i * i + j * j <= 25 for i in range(-5, 6) for j in range(-5, 6))
    assert table["candidate_cosmicRayFraction"][0] == pytest.approx(1 / area)
    assert table["candidate_interpolatedFraction"][0] == pytest.approx(2 / area)
    assert table["candidate_saturatedFraction"][1] == pytest.approx(0.5)
    # Pixels off the image are bad ones.
    assert table["candidate_badFraction"][2] == pytest.approx((area - 11) / 2 / area)
    assert table["candidate_badFraction"][0] == 0
    np.testing.assert_allclose(table["candidate_starDistance"][:2], [5.0, np.hypot(7, 5.5)], rtol=1e-6)
    assert np.isnan(table["candidate_templateFlux"]).all()


def test_singlePixelIsACosmicRay():
    change = np.zeros((SIZE, SIZE))
    change[100, 100] = 90.0  # below the sum that the finder of cosmic rays needs
    (row,) = measured(change, faintestRay=150.0)
    assert row["candidate_sharpness"] > 3 and row["candidate_sharpnessSigma"] > 10
    assert row["candidate_flag_cosmicRay"] and row["candidate_flag"]
    (row,) = measured(change)  # which finds it by itself
    assert row["base_PixelFlags_flag_cr"] and row["candidate_flag"]


def test_misplacedStarIsADipole():
    (row,) = measured(spot(100, 100.5, 3000) - spot(100, 99.5, 3000))
    assert row["candidate_dipoleDeltaChi2"] > 200
    assert row["candidate_flag_dipole"]


def test_residualBelowTheKernelsUncertaintyIsFlagged():
    """Stars that keep 1 % of their light tell that the kernel is good to 1 %: such residuals are no changes."""
    rng = np.random.default_rng(5)
    x, y = rng.uniform(25, 175, (2, 9))
    kept = rng.normal(0, 0.01, 9)
    flux = 4.0e4
    template = sum(spot(a, b, flux) for a, b in zip(x, y, strict=True))
    change = sum(spot(a, b, flux * k) for a, b, k in zip(x, y, kept, strict=True))
    new = spot(100.0, 100.0, 400.0) if np.hypot(x - 100, y - 100).min() > 12 else spot(12.0, 12.0, 400.0)
    table = measured(change + new, template, kernelSources=np.stack([x, y], 1))
    near = np.asarray(table["candidate_starDistance"]) < 2
    assert near.sum() >= 2 and (~near).sum() == 1
    assert (table["candidate_flag_residual"][near] | (table["candidate_significance"][near] < 5)).mean() > 0.9
    assert not table["candidate_flag"][~near].any()
    np.testing.assert_allclose(table["candidate_templateFlux"][near], flux, rtol=0.05)


def test_kernelUncertaintyIsTheScatterBeyondTheNoise():
    rng = np.random.default_rng(7)
    truth = rng.uniform(2e4, 2e5, 400)
    error = np.full(400, 50.0)
    flux = truth * rng.normal(0, 0.02, 400) + rng.normal(0, error)
    assert kernelUncertainty(flux, error, truth) == pytest.approx(0.02, rel=0.15)
    assert kernelUncertainty(rng.normal(0, error), error, truth) == pytest.approx(0.001, abs=0.0005)
    assert kernelUncertainty([], [], []) == 0.001


def test_flagsDependOnTheFeaturesAlone():
    table = measured(spot(60, 60, 900) + spot(140, 120, -800))
    assert len(table) == 2 and not table["candidate_flag"].any()
    table["candidate_saturatedDistance"][:] = 1.0
    table["candidate_psfChi2"][0] = 4.0
    table["candidate_interpolatedFraction"][1] = 0.5
    flagCandidates(table)
    assert table["candidate_flag_halo"].tolist() == [True, False]
    assert table["candidate_flag_masked"].tolist() == [False, True]
    assert table["candidate_flag"].all()


def test_everyFeatureIsDocumented():
    table = measured(spot(60, 60, 900))
    for name, _, _, description in FEATURES:
        assert description and table[name].description == description


def test_theHaloIsThatOfTheSaturatedCoreAndABleedColumnSwallowsNothing():
    """A core of radius 10 with a column of width 3 through the whole image: beside the column sources are good ones."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    noise = np.random.default_rng(5).normal(0, 1, (SIZE, SIZE))
    saturated = (np.hypot(columns - 100, rows - 60) <= 10) | (np.abs(columns - 100) <= 1)
    pixels = noise + spot(106, 150, 1200) + spot(115, 60, 1200)
    pixels[saturated] = 5e4  # what a bleed leaves
    images = [makeExposure(p.astype(np.float32), variance=1.0, psf=PSF) for p in (pixels, 0 * pixels, pixels)]
    images[2].mask.array[saturated] |= np.int32(1 << images[2].mask.bit("SAT"))
    config = DetectAndMeasureAlgorithmConfig()
    config.doSubtractBackground = False
    table = detectAndMeasure(*images, config=config).sources
    x, y = (np.asarray(table[f"base_SdssCentroid_{c}"]) for c in "xy")
    (beside,) = np.flatnonzero(np.hypot(x - 106, y - 150) < 1)
    (near,) = np.flatnonzero(np.hypot(x - 115, y - 60) < 1)
    assert table["candidate_saturatedDistance"][near] == pytest.approx(15 / 10, abs=0.15)
    assert table["candidate_saturatedDistance"][beside] == pytest.approx(90.2 / 10, abs=0.9)
    assert not table["candidate_flag_halo"][[near, beside]].any()  # clear point sources, both
    for name, value in (("psfChi2", 4.0), ("widthRatio", 2.2)):
        other = table.copy()
        other[f"candidate_{name}"][:] = value
        flagCandidates(other)
        assert other["candidate_flag_halo"][near] and not other["candidate_flag_halo"][beside]
    flux, error = (table[f"base_PsfFlux_{name}"][beside] for name in ("instFlux", "instFluxErr"))
    assert abs(flux - 1200) < 5 * error


def test_fewFaintStarsDoNotMakeAKernelCertain():
    """The mean leverage of a linear fit: a constant from n stars of S/N s is known to 1/(s sqrt(n))."""
    rng = np.random.default_rng(4)
    flux = np.full(40, 50.0)
    assert modelError(np.ones(40), flux, 1, 0.0) == pytest.approx(1 / (50 * np.sqrt(40)))
    x = rng.uniform(-1, 1, 40)
    design = np.vander(x, 3)
    # planted: ratios of stars with their noise, the fit of three terms, its error at the stars
    noises = rng.normal(0, 0.02, (40, 400))
    errors = design @ np.linalg.lstsq(design, noises, rcond=None)[0]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(modelError(np.ones(40), flux, 3, 0.0), rel=0.05)
    assert modelError([], [], 6) == 0 and modelError([1.0], [np.nan], 6) == 0
    assert modelError([1e-9], [1.0], 1) == pytest.approx(0.01)  # no star is perfect
    few = np.full(6, 30.0)
    predicted = modelError(np.ones(6), few, 6)
    assert kernelUncertainty(np.zeros(6), np.ones(6), few) == 0.001
    assert kernelUncertainty(np.zeros(6), np.ones(6), few, predicted=predicted) == predicted > 0.03
    assert kernelUncertainty(np.zeros(9), np.ones(9), np.full(9, 500.0), predicted=0.5) == 0.001


def test_kernelsAreLessCertainWhereNoStarsAre():
    rng = np.random.default_rng(3)
    stars = rng.uniform(100, 300, (40, 2))
    corner, middle = leverage([20.0, 200.0], [20.0, 200.0], stars, 6)
    assert middle == 1 and corner > 3
    u, v = (stars - stars.mean(0)).T / 100
    design = np.stack([u**0, u, v, u * u, u * v, v * v], axis=-1)  # the hat matrix of the fit, slowly
    hat = np.diag(design @ np.linalg.inv(design.T @ design) @ design.T)
    np.testing.assert_allclose(leverage(*stars.T, stars, 6), np.sqrt(np.maximum(hat * 40 / 6, 1)), rtol=1e-9)
    assert (leverage(*stars.T, stars[:11], 6) == 1).all() and (leverage(*stars.T, stars, 1) == 1).all()


def test_whatIsWeakerThanTheDipoleItOverlapsIsAPartOfIt():
    dipole = np.array([True, False, False, False])
    group = np.array([0, 0, 0, -1])
    snr = np.array([9.0, 7.0, 30.0, 8.0])
    np.testing.assert_array_equal(_besideDipole(dipole, group, snr), [False, True, False, False])
