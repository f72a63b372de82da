"""Shift between two images without WCS."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from stillsky.diffim.registration import _bandPass, _largestOfNoise, measureShift


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


def _bias(rng, n, kind):
    """A frame without stars; what belongs to the detector is the same in every frame."""
    detector = np.random.default_rng(1)
    image = rng.normal(0, 3, (n, n))
    if kind == "hot pixels":
        image[tuple(detector.integers(0, n, (2, n * n // 200)))] += detector.exponential(300, n * n // 200)
    elif kind == "wide hot pixels":
        for x, y in detector.integers(0, n - 1, (n * n // 2000, 2)):
            image[y : y + 2, x : x + 2] += 60
    elif kind == "banding":
        image += rng.normal(0, 2, (n, 1)) + detector.normal(0, 2, (1, n))
    elif kind == "gradients":
        slope = np.linspace(-10, 10, n)
        image += rng.normal() * slope + rng.normal() * slope[:, None]
    elif kind == "cosmic rays":
        for x, y in rng.integers(0, n - 3, (5, 2)):
            image[y : y + 2, x : x + 3] += 500
    return image


@pytest.mark.parametrize("kind", ["noise", "hot pixels", "wide hot pixels", "banding", "gradients", "cosmic rays"])
@pytest.mark.parametrize(("n", "pairs"), [(64, 60), (100, 30), (256, 6)])
def test_framesWithoutStarsAreNeverMoved(kind, n, pairs):
    nothing = np.zeros((n, n), bool)
    for seed in range(pairs):
        rng = np.random.default_rng(seed)
        assert measureShift(_bias(rng, n, kind), _bias(rng, n, kind), nothing, nothing) in (None, (0.0, 0.0)), seed


def test_noiseWithLargeMasksIsNotMoved():
    """Where half the pixels are masked, fewer overlap: their noise is that of what is left."""
    bad = np.zeros((128, 128), bool)
    bad[:, 50:] = True
    for seed in range(15):
        a, b = np.random.default_rng(seed).normal(0, 3, (2, 128, 128))
        other = bad[::-1, ::-1] if seed % 2 else bad
        assert measureShift(a, b, bad, other) is None
        missing = np.where(bad, np.nan, a), np.where(other, np.nan, b)
        assert measureShift(*missing, np.zeros_like(bad), np.zeros_like(bad)) is None


def test_shiftsOfFewStarsAreFound():
    """Half a dozen stars of very different brightness, too few for triangles."""
    n, nothing = 128, np.zeros((128, 128), bool)
    y, x = np.mgrid[:n, :n]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        stars, flux, shift = rng.uniform(8, n - 8, (6, 2)), 20 * (rng.pareto(1.2, 6) + 1), rng.uniform(-25, 25, 2)
        a, b = (
            rng.standard_normal((n, n))
            + sum(
                f * np.exp(-0.2 * ((x - i - dx) ** 2 + (y - j - dy) ** 2))
                for (i, j), f in zip(stars, flux, strict=True)
            )
            for dx, dy in (shift, (0, 0))
        )
        assert measureShift(a, b, nothing, nothing) == pytest.approx(tuple(shift), abs=0.5)


@pytest.mark.parametrize(("n", "expected"), [(64, 5.9), (512, 6.7), (2048, 7.1)])
def test_theThresholdIsThatOfTheLargestOfSoManyLags(n, expected):
    """By hand: n^2 lags of noise smoothed by 3 sqrt(2) px, so slopes of 1/6 per px: n^2 / 36 (2 pi)^-1.5 t exp(-t^2/2) = 1e-6."""
    level = _largestOfNoise(n * n, _bandPass((2 * n, 2 * n)), (2 * n, 2 * n))
    assert level == pytest.approx(expected, abs=0.15)
    assert n**2 / 36 * (2 * np.pi) ** -1.5 * level * np.exp(-(level**2) / 2) == pytest.approx(1e-6, rel=0.2)
