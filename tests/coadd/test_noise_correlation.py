"""Correlated noise of warps and weights from the scatter."""

import numpy as np
import pytest
import scipy.ndimage
from coadd_scenes import BOX, WCS, constantWarp
from test_assembly import configOf

from stillsky.coadd import assembleCoadd, noiseCorrelation, prepareInputs
from stillsky.geom import Box2I

SHAPE = (256, 256)


def testIndependentPixelsHaveTheFactorOne(rng):
    factors = [noiseCorrelation(rng.normal(0, 3, SHAPE), np.full(SHAPE, 9.0)) for _ in range(10)]
    assert np.mean(factors) == pytest.approx(1, abs=0.03)


def testSmoothingIsCorrelation(rng):
    noise = rng.normal(0, 3, (SHAPE[0] + 1, SHAPE[1] + 1))
    boxcar = (noise[1:, 1:] + noise[:-1, 1:] + noise[1:, :-1] + noise[:-1, :-1]) / 4
    assert noiseCorrelation(boxcar, np.full(SHAPE, 9.0 / 4)) == pytest.approx(4, rel=0.08)  # 1/sum of squared weights


def testStarsSkyAndBadPixelsDoNotCount(rng):
    image = rng.normal(0, 3, SHAPE)
    y, x = np.mgrid[0:256, 0:256]
    image += 0.02 * x + 50  # sky
    bad = scipy.ndimage.gaussian_filter(rng.normal(0, 1, SHAPE), 3) > 0.15
    image[bad] += 500
    image[0, 0] = np.nan
    assert noiseCorrelation(image, np.full(SHAPE, 9.0), bad) == pytest.approx(1, abs=0.1)
    assert np.isnan(noiseCorrelation(image[:10, :10], np.full((10, 10), 9.0)))
    assert np.isnan(noiseCorrelation(np.zeros(SHAPE), np.full(SHAPE, 9.0)))


def testWingsOfStarsAreNoCorrelation(rng):
    y, x = np.mgrid[0:256, 0:256]
    image = rng.normal(0, 4, SHAPE)
    for flux, cx, cy in zip(10 ** rng.uniform(3, 5.5, 60), *rng.uniform(0, 256, (2, 60))):
        image += flux * 2 / (np.pi * 6.25) * (1 + ((x - cx) ** 2 + (y - cy) ** 2) / 6.25) ** -3
    factor = noiseCorrelation(image, np.full(SHAPE, 16.0))
    assert factor == pytest.approx(1, abs=0.15)  # 2 to 3 without a look for sources


def noisy(rng, scatter, claimed, visit):
    warp = constantWarp(0.0, claimed, visit=visit)
    warp.image.array += rng.normal(0, scatter, BOX.shape).astype(np.float32)
    return warp


def testEffectiveWeightsFollowTheScatter(rng):
    warps = [noisy(rng, 1.0, 1.0, 1), noisy(rng, 3.0, 1.0, 2)]
    claimed = prepareInputs(warps, BOX, configOf()).weights
    effective = prepareInputs(warps, BOX, configOf(effectiveWeights=True)).weights
    assert claimed[0] == claimed[1] and effective[0] / effective[1] == pytest.approx(9, rel=0.1)
    result = assembleCoadd(warps, BOX, WCS, configOf(effectiveWeights=True))
    assert result.coadd.info.coaddInputs.visits["weight"].tolist() == effective


def testFactorOfTheCoaddIsTheMeanOfItsInputs(rng):
    box = Box2I((0, 0), (256, 256))
    white, smooth = (constantWarp(0.0, v, box, visit=k + 1) for k, v in enumerate((1.0, 0.25)))
    noise = rng.normal(0, 1, (257, 257))
    white.image.array += noise[:256, :256].astype(np.float32)
    boxcar = (noise[1:, 1:] + noise[:-1, 1:] + noise[1:, :-1] + noise[:-1, :-1]) / 4
    smooth.image.array += boxcar.astype(np.float32)
    result = assembleCoadd([white, smooth], box, WCS, configOf())
    assert result.varianceFactor == pytest.approx((1 * 1 + 4 * 4) / 5, rel=0.1)
    assert result.coadd.metadata["COADD_VARFACTOR"] == result.varianceFactor
