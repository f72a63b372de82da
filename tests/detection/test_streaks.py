"""Straight trails: found among stars at any angle, measured, masked; nothing else is."""

import numpy as np
import pytest

from stillsky.detection import SpanSet, detectSources, findStreaks, maskStreaks
from stillsky.detection.streaks_config import MaskStreaksConfig
from stillsky.image import makeExposure

SHAPE = (300, 420)


def trail(x, y, angle, amplitude, sigma=2.0, start=-1e9, stop=1e9, shape=SHAPE):
    yy, xx = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    d = (xx - x) * -np.sin(angle) + (yy - y) * np.cos(angle)
    u = (xx - x) * np.cos(angle) + (yy - y) * np.sin(angle)
    return (amplitude * np.exp(-0.5 * (d / sigma) ** 2) * ((u > start) & (u < stop))).astype(np.float32)


def scene(rng, addStars, *trails, nStars=50):
    """Unit noise, stars with a steep flux distribution and trails; detected at 5 sigma."""
    image = rng.normal(0, 1, SHAPE).astype(np.float32)
    x, y = rng.uniform(5, SHAPE[1] - 5, nStars), rng.uniform(5, SHAPE[0] - 5, nStars)
    addStars(image, x, y, (rng.pareto(1.2, nStars) + 1) * 200, 2.0)
    exposure = makeExposure(image + sum(trails), variance=np.ones_like(image), xy0=(1000, -500))
    detectSources(exposure, 5, sigma=2.0, nSigmaToGrow=1.0, doTempLocalBackground=False)
    return exposure


@pytest.mark.parametrize("degrees", [0, 3, 45, 89, 90, 91, 137, 179.7])
def test_trailsAtAnyAngleAreFoundAndMeasured(rng, addStars, degrees):
    angle = np.deg2rad(degrees)
    light = trail(200, 160, angle, 6)
    exposure = scene(rng, addStars, light)
    streaks = findStreaks(exposure)
    assert len(streaks) == 1
    (streak,) = streaks
    assert streak.sigma == pytest.approx(2.0, rel=0.1) and streak.amplitude == pytest.approx(6, rel=0.1)
    # The axis is within 0.8 pixels, 0.4 sigma, of the truth at both ends.
    for x, y in streak.ends:
        assert abs((x - 1200) * -np.sin(angle) + (y + 340) * np.cos(angle)) < 0.8
        assert x * np.cos(streak.theta) + y * np.sin(streak.theta) == pytest.approx(streak.rho, abs=1e-6)
    masked = streak.spans.toBool(exposure.bbox)
    assert masked[light > 1].mean() > 0.99
    assert masked.sum() < 1.3 * (light > 0.3).sum()
    assert streak.filledFraction > 0.9 and streak.significance > 100


def test_faintTrailsAreFoundWholeThoughFewOfTheirPixelsAreDetected(rng, addStars):
    light = trail(210, 150, 0.7, 2.0)
    exposure = scene(rng, addStars, light)
    detectSources(exposure, 5, sigma=2.0, doSmooth=False, minPixels=1, nSigmaToGrow=0.0, doTempLocalBackground=False)
    detected = exposure.mask.isSet("DETECTED")
    assert detected[light > 1.5].mean() < 0.1
    detectSources(exposure, 3.5, sigma=2.0, nSigmaToGrow=0.0, doTempLocalBackground=False)
    (streak,) = findStreaks(exposure)
    assert streak.spans.toBool(exposure.bbox)[light > 1].mean() > 0.98


def test_severalTrailsOneOfThemEnding(rng, addStars):
    lights = [trail(150, 150, 0.3, 15), trail(250, 120, 2.0, 8), trail(210, 200, 2.8, 10, start=-180, stop=20)]
    exposure = scene(rng, addStars, *lights)
    streaks = findStreaks(exposure)
    assert len(streaks) == 3
    every = np.zeros(SHAPE, bool)
    for streak in streaks:
        every |= streak.spans.toBool(exposure.bbox)
    for light in lights:
        assert every[light > 1].mean() > 0.97
    beyond = trail(210, 200, 2.8, 10, start=50) > 1
    assert every[beyond & (lights[0] < 0.1) & (lights[1] < 0.1)].mean() < 0.35
    assert min(s.length for s in streaks) == pytest.approx(200, abs=40)


def test_starsAndNoiseAloneHaveNoStreaks(rng, addStars):
    for nStars in (0, 60, 400):
        assert findStreaks(scene(rng, addStars, nStars=nStars)) == []


def test_brightStarsAreNoLines(rng, addStars):
    exposure = scene(rng, addStars)
    addStars(exposure.image.array, [100, 250, 320], [100, 180, 60], [3e6, 1e7, 1e6], 8.0)
    detectSources(exposure, 5, sigma=2.0, doTempLocalBackground=False)
    assert findStreaks(exposure) == []


def test_maskStreaksSetsThePlane(rng, addStars):
    light = trail(150, 150, 0.3, 15)
    exposure = scene(rng, addStars, light)
    before = exposure.mask.array.copy()
    (found,) = findStreaks(exposure)
    np.testing.assert_array_equal(exposure.mask.array, before)
    (streak,) = maskStreaks(exposure)
    assert streak == found
    assert SpanSet.fromMask(exposure.mask, "STREAK") == streak.spans
    config = MaskStreaksConfig()
    config.streaksMaskPlane, config.onlyMaskDetected = "TRAIL", True
    maskStreaks(exposure, config)
    np.testing.assert_array_equal(
        exposure.mask.isSet("TRAIL"), exposure.mask.isSet("STREAK") & exposure.mask.isSet("DETECTED")
    )


def test_masksNanAndBadVariance(rng, addStars):
    light = trail(150, 150, 0.3, 15)
    exposure = scene(rng, addStars, light)
    exposure.image.array[:, 100:140] = np.nan
    exposure.variance.array[:40] = 0
    exposure.mask.array[200:220] |= exposure.mask.bitmask("BAD")
    (streak,) = findStreaks(exposure)
    assert streak.spans.toBool(exposure.bbox)[light > 1].mean() > 0.97
    exposure.image.array[:] = np.nan
    assert findStreaks(exposure) == []
    config = MaskStreaksConfig()
    config.detectedMaskPlane = "NO_SUCH_PLANE"
    assert findStreaks(exposure, config) == []
    tiny = makeExposure(np.ones((3, 5)), variance=1.0)
    tiny.mask.array[:] = tiny.mask.bitmask("DETECTED")
    assert findStreaks(tiny) == []


def test_taskFindsAndMasks(rng, addStars):
    from stillsky import MaskStreaksTask

    exposure = scene(rng, addStars, trail(150, 150, 0.3, 15))
    task = MaskStreaksTask()
    assert len(task.find(exposure).lines) == 1 and not exposure.mask.isSet("STREAK").any()
    assert len(task.run(exposure).lines) == 1 and exposure.mask.isSet("STREAK").any()
    assert task.metadata["nStreaks"] == 1
