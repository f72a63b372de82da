"""Residual ratios, mask counts, and sources in a row."""

import numpy as np
import pytest

from stillsky.diffim.difference_metrics import computeDifferenceImageMetrics, discFootprints, maskMetrics
from stillsky.diffim.glints import findGlintTrails
from stillsky.image import makeExposure


def test_residualRatiosAreTheClosedForm(rng):
    science = makeExposure(np.full((100, 120), 10.0, np.float32), variance=1.0, xy0=(3, 4))
    difference = makeExposure(np.full((100, 120), 0.5, np.float32), variance=1.0, xy0=(3, 4))
    difference.image.array[40:61, 40:61] = 2.5
    stars = discFootprints([53.0], [54.0], 6, difference.bbox)
    sky = discFootprints([90.0, 20.0], [20.0, 80.0], 6, difference.bbox)
    found = computeDifferenceImageMetrics(science, difference, stars, sky)
    assert found["differenceFootprintRatioMean"] == pytest.approx(0.2)  # (2.5 - 0.5)/10
    assert found["differenceFootprintRatioStdev"] == 0
    assert found["differenceFootprintSkyRatioMean"] == pytest.approx(0, abs=1e-7)
    alone = computeDifferenceImageMetrics(science, difference, stars)
    assert alone["differenceFootprintRatioMean"] == pytest.approx(0.2)  # the median stands for the sky
    assert np.isnan(alone["differenceFootprintSkyRatioMean"])


def test_maskCountsAddUp(rng):
    exposure = makeExposure(np.zeros((50, 60), np.float32), variance=1.0)
    mask = exposure.mask
    mask.array[:10, :10] |= 1 << mask.bit("DETECTED")
    mask.array[5:15, :10] |= 1 << mask.bit("BAD")
    mask.array[20, 20] |= 1 << mask.bit("DETECTED_NEGATIVE")
    found = maskMetrics(mask, ["BAD", "NOT_THERE"])
    assert found["nBadPixels"] == 100 and found["nGoodPixels"] == 2900
    assert found["nPixelsDetectedPositive"] == 100 and found["nBadPixelsDetectedPositive"] == 50
    assert found["nPixelsDetectedNegative"] == 1 and found["nBadPixelsDetectedNegative"] == 0
    assert found["bad_mask_fraction"] == pytest.approx(100 / 3000)
    assert found["sat_mask_fraction"] == 0


def test_sourcesInARowAreOneTrail(rng):
    x, y = rng.uniform(0, 2000, (2, 40))
    along = np.linspace(0, 500, 9)
    x[:9] = 300 + along * np.cos(0.7) + rng.normal(0, 0.3, 9)
    y[:9] = 500 + along * np.sin(0.7) + rng.normal(0, 0.3, 9)
    x[20] = np.nan
    found = findGlintTrails(x, y, 2000.0**2)
    assert np.flatnonzero(found.onTrail).tolist() == list(range(9))
    assert found.angles[0] == pytest.approx(0.7, abs=0.01)
    assert found.slopes[0] == pytest.approx(np.tan(0.7), abs=5 * found.stderrs[0] + 1e-4)
    assert found.lengths[0] == pytest.approx(500, abs=3)
    assert set(found.asDict()) == {"slopes", "intercepts", "stderrs", "lengths", "angles"}


def test_randomPositionsMakeNoTrail():
    for seed in range(5):
        x, y = np.random.default_rng(seed).uniform(0, 2000, (2, 120))
        assert not findGlintTrails(x, y, 2000.0**2).onTrail.any()
    assert not findGlintTrails([], [], 1.0).onTrail.any()
