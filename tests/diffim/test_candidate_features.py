"""Features of candidates: what they are for point sources, rays, dipoles and residuals."""

import numpy as np
import pytest

from stillsky.diffim.candidate_columns import FEATURES
from stillsky.diffim.candidate_features import flagCandidates, kernelUncertainty
from stillsky.diffim.detect_measure import detectAndMeasure
from stillsky.diffim.detect_measure_config import DetectAndMeasureAlgorithmConfig
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf

SIZE, SIGMA = 200, 2.0
PSF = GaussianPsf(25, 25, SIGMA)


def spot(x, y, flux, sigma=SIGMA):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return flux * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def measured(change, template=0.0, seed=3, **keywords):
    noise = np.random.default_rng(seed).normal(0, 1, (SIZE, SIZE))
    planes = (template + change + noise, np.zeros((SIZE, SIZE)) + template, change + noise)
    images = [makeExposure(p.astype(np.float32), variance=1.0, psf=PSF) for p in planes]
    config = DetectAndMeasureAlgorithmConfig()
    config.doSubtractBackground = False
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


def test_singlePixelIsACosmicRay():
    change = np.zeros((SIZE, SIZE))
    change[100, 100] = 90.0  # below the sum that the finder of cosmic rays needs
    (row,) = measured(change)
    assert row["candidate_sharpness"] > 3 and row["candidate_sharpnessSigma"] > 10
    assert row["candidate_flag_cosmicRay"] and row["candidate_flag"]


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
    table["candidate_saturatedDistance"][0] = 1.0
    table["candidate_interpolatedFraction"][1] = 0.5
    flagCandidates(table)
    assert table["candidate_flag_halo"].tolist() == [True, False]
    assert table["candidate_flag_masked"].tolist() == [False, True]
    assert table["candidate_flag"].all()


def test_everyFeatureIsDocumented():
    table = measured(spot(60, 60, 900))
    for name, _, _, description in FEATURES:
        assert description and table[name].description == description
