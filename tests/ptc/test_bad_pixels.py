"""Pixels that do not respond to light are found without a mask."""

import numpy as np

from stillsky.geom import Box2I
from stillsky.ptc.bad_pixels import findBadPixels

BOXES = [Box2I((0, 0), (150, 200)), Box2I((150, 0), (150, 200))]


def flat(rng, level, noise=5.0):
    """Vignetted to a third of the light in the corners; two amplifiers."""
    y, x = np.mgrid[:200, :300]
    light = level * (1.0 - 0.65 * ((x - 150) ** 2 + (y - 100) ** 2) / (150**2 + 100**2))
    return (rng.poisson(light) + noise * rng.standard_normal(light.shape)).astype(np.float32)


def test_deadColumnsAndHotPixelsAreFoundInVignettedLight(rng):
    image = flat(rng, 20000)
    truth = np.zeros(image.shape, bool)
    truth[50:, 70] = truth[3, 4] = truth[120, 299] = truth[10, 200] = True
    image[truth] *= 0.1
    image[10, 200] = 60000.0
    assert np.array_equal(findBadPixels(image, np.ones(image.shape, bool), BOXES), truth)
    # what is left out already is not looked at, and NaN does no harm
    image[:, 70] = np.nan
    masked = np.ones(image.shape, bool)
    masked[3, 4] = False
    found = findBadPixels(image, masked, BOXES)
    assert not found[:, 70].any() and not found[3, 4] and found[120, 299] and found.sum() == 2


def test_faintFlatsTellNothing(rng):
    image = flat(rng, 30.0)
    image[:, 70] = 0.0
    good = np.ones(image.shape, bool)
    assert not findBadPixels(image, good, BOXES).any()
    assert not findBadPixels(image - 40.0, good, BOXES).any()
    assert not findBadPixels(np.zeros_like(image), good, BOXES).any()


def test_patternsOfLightAreLeftAlone(rng):
    """A slit leaves more than a fifth of an amplifier dark; the other amplifier's dead column is found nevertheless."""
    image = flat(rng, 20000)
    image[:, :150][:, np.arange(150) % 4 == 0] *= 0.05
    image[:, 200] *= 0.05
    found = findBadPixels(image, np.ones(image.shape, bool), BOXES)
    assert not found[:, :150].any() and found[:, 200].all() and found.sum() == 200
