"""Shift between two images without WCS."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from stillsky.diffim.registration import measureShift


def blurredField(rng, shift=(0.0, 0.0), noise=1.0):
    """Gaussian stars of sigma 3 whose positions are shifted, on noise of its own."""
    stars = np.random.default_rng(5).uniform(30, 270, (40, 2))
    y, x = np.mgrid[:300, :300]
    image = noise * rng.standard_normal((300, 300))
    for sx, sy in stars:
        image += 20 * np.exp(-0.5 * ((x - sx - shift[0]) ** 2 + (y - sy - shift[1]) ** 2) / 9)
    return image


@pytest.mark.parametrize("shift", [(0.0, 0.0), (11.3, -2.6), (-24.0, 31.5)])
def test_aPlantedShiftIsFound(rng, shift):
    nothing = np.zeros((300, 300), bool)
    found = measureShift(blurredField(rng, shift), blurredField(rng), nothing, nothing)
    assert found == pytest.approx(shift, abs=0.15)


def test_hotPixelsThatStayInPlaceDoNotDecide(rng):
    a, b = blurredField(rng, (9.0, 4.0)), blurredField(rng)
    hot = tuple(rng.integers(0, 300, (2, 200)))
    a[hot] += 500
    b[hot] += 500
    nothing = np.zeros((300, 300), bool)
    assert measureShift(a, b, nothing, nothing) == pytest.approx((9.0, 4.0), abs=0.3)


def test_maskedPixelsAndNanAreLeftOut(rng):
    a, b = blurredField(rng, (6.0, -5.0)), blurredField(rng)
    bad = np.zeros((300, 300), bool)
    bad[100:140] = True
    a[bad] = np.nan
    assert measureShift(a, b, bad, np.zeros_like(bad)) == pytest.approx((6.0, -5.0), abs=0.2)


def test_nothingInCommonGivesNone(rng):
    bad = np.ones((300, 300), bool)
    assert measureShift(blurredField(rng), blurredField(rng), bad, bad) is None


def test_theSignIsThatOfSciencePositionsMinusTemplatePositions(rng):
    scene = gaussian_filter(rng.standard_normal((200, 200)), 4)
    nothing = np.zeros((200, 200), bool)
    dx, dy = measureShift(np.roll(scene, (3, 7), (0, 1)), scene, nothing, nothing)
    assert (round(dx), round(dy)) == (7, 3)
