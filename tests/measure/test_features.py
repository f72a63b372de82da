import numpy as np
import pytest

from stillsky.image import makeExposure
from stillsky.measure import FEATURE_COLUMNS, candidateFeatures, sdssShape
from stillsky.psf import GaussianPsf

SIGMA, NOISE = 2.0, 2.0


def exposureOf(image, **components):
    plane = np.full(image.shape, NOISE**2, np.float32)
    return makeExposure(image, variance=plane, psf=GaussianPsf(25, 25, SIGMA), **components)


@pytest.fixture
def kinds(rng, addStars):
    """36 each of stars, vanished stars, dipoles and cosmic rays of about S/N 30, in rows of one kind."""
    x, y = (g.ravel() for g in np.meshgrid(np.arange(36) * 40.0 + 40, np.arange(4) * 60.0 + 40))
    x, y = x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, x.size)
    flux = 30 * np.sqrt(4 * np.pi) * SIGMA * NOISE
    image = rng.normal(0, NOISE, (280, 1480))
    kind = np.repeat(np.arange(4), 36)
    addStars(image, x[kind == 0], y[kind == 0], np.full(36, flux), SIGMA)
    addStars(image, x[kind == 1], y[kind == 1], np.full(36, -flux), SIGMA)
    addStars(image, x[kind == 2] + 0.7, y[kind == 2], np.full(36, 4 * flux), SIGMA)
    addStars(image, x[kind == 2] - 0.7, y[kind == 2], np.full(36, -4 * flux), SIGMA)
    for a, b in zip(x[kind == 3], y[kind == 3], strict=True):
        image[int(b + 0.5), int(a + 0.5)] += flux / 5
    exposure = exposureOf(image)
    return candidateFeatures(exposure, x, y, isNegative=kind == 1), kind, exposure, x, y


def test_featuresOfPointSourcesAreThoseOfTheNoise(kinds):
    table, kind, *_ = kinds
    for which in (0, 1):
        stars = table[kind == which]
        assert np.mean(stars["psfChi2"]) == pytest.approx(1, abs=0.05)
        # The centre stands out of its neighbours by little more than the noise of a pixel: 0.9 each, 36 stars.
        assert np.mean(stars["sharpness"]) == pytest.approx(1, abs=0.45)
        # Two parameters of pure noise gain 2 +- 2.
        assert np.mean(stars["dipoleDeltaChi2"]) == pytest.approx(2, abs=1.2)
        assert np.mean(stars["negativeFraction"]) < 0.1
        assert np.mean(stars["asymmetry"]) < 0.1


def test_featuresTellArtefactsFromStars(kinds):
    table, kind, *_ = kinds
    stars, dipoles, rays = (table[kind == k] for k in (0, 2, 3))
    assert np.min(dipoles["dipoleDeltaChi2"]) > np.max(stars["dipoleDeltaChi2"])
    assert np.min(dipoles["dipoleMoment"]) > 10 > np.max(stars["dipoleMoment"])
    np.testing.assert_allclose(dipoles["negativeFraction"], 0.5, atol=0.15)
    assert np.min(dipoles["asymmetry"]) > np.max(stars["asymmetry"])
    assert np.min(rays["sharpness"]) > 2 * np.max(stars["sharpness"])
    assert np.min(rays["psfChi2"]) > np.max(stars["psfChi2"])


def test_widthRatioAndNearestStar(kinds):
    _, kind, exposure, x, y = kinds
    shapes = sdssShape(exposure, x, y, isNegative=kind == 1)
    table = candidateFeatures(exposure, x, y, shapes=shapes, stars=([40.0, 500.0, np.nan], [40.0, 500.0, 1.0]))
    assert np.nanmean(table["widthRatio"][kind == 0]) == pytest.approx(1, abs=0.03)
    assert np.nanmax(table["widthRatio"][kind == 3]) < 0.7
    assert table["nearestStar"][3] == pytest.approx(np.hypot(x[3] - 40, y[3] - 40))


def test_maskFractionsWithinFivePixels():
    exposure = exposureOf(np.zeros((60, 60)), xy0=(100, 200))
    exposure.mask.array[30:, :] |= 1 << exposure.mask.bit("SAT")
    exposure.mask.array[20, 20] |= 1 << exposure.mask.bit("CR")
    table = candidateFeatures(exposure, [120.0, 130.0, 100.0, np.nan], [220.0, 229.5, 210.0, 210.0])
    area = sum(i * i + j * j <= 25 for i in range(-5, 6) for j in range(-5, 6))
    assert table["maskFractionCosmicRay"][0] == pytest.approx(1 / area)
    assert table["maskFractionSaturated"][1] == pytest.approx(0.5)
    assert table["maskFractionOff"][2] == pytest.approx((area - 11) / 2 / area)
    assert all(np.isnan(table[name][3]) for name in ("maskFractionBad", "psfChi2", "asymmetry"))


def test_emptyTableHasAllFeatures():
    table = candidateFeatures(exposureOf(np.zeros((20, 20))), [], [])
    assert table.colnames == [name for name, *_ in FEATURE_COLUMNS]
    assert all(column.description for column in table.itercols())
