"""Joining footprints of both polarities, heavy footprints, sky sources."""

import numpy as np
import pytest
from scipy import ndimage

from stillsky.detection import (
    Footprint,
    FootprintSet,
    HeavyFootprint,
    SpanSet,
    detectSources,
    makeHeavyFootprint,
    makePeaks,
    mergeDetections,
    skyPositions,
    skySources,
)
from stillsky.errors import DomainError, ShapeError
from stillsky.geom import Box2I
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf

REGION = Box2I((10, 20), (100, 80))


def footprintAt(x, y, significance, radius=4):
    peaks = makePeaks([(x, y, significance)])
    peaks["significance"] = abs(significance)
    return Footprint(SpanSet.fromShape(radius, offset=(x, y)), peaks, REGION)


def setOf(*footprints):
    return FootprintSet(footprints, REGION)


def testOverlappingPolaritiesMakeOneRecord():
    merged = mergeDetections(setOf(footprintAt(40, 50, 7.0)), setOf(footprintAt(46, 50, -9.0)), grow=0)
    assert len(merged) == 1 and merged.nUnmerged == 2
    assert merged.positive.all() and merged.negative.all() and not merged.isNegative.any()
    peaks = merged.footprints[0].peaks
    assert peaks["significance"].tolist() == [9.0, 7.0]
    assert peaks["merge_peak_negative"].tolist() == [True, False]
    assert peaks["merge_peak_positive"].tolist() == [False, True]
    assert merged.firstIsNegative.all()


def testTwoPositivesThatOverlapOneNegativeMakeOneRecord():
    merged = mergeDetections(
        setOf(footprintAt(38, 50, 7.0), footprintAt(54, 50, 8.0)), setOf(footprintAt(46, 50, -9.0)), 0
    )
    assert len(merged) == 1
    assert merged.footprints.nPeaks.tolist() == [3]


def testSeparateFootprintsStaySeparate():
    merged = mergeDetections(setOf(footprintAt(30, 50, 7.0)), setOf(footprintAt(60, 40, -9.0)))
    assert len(merged) == 2
    assert merged.footprints.peaks["i_y"].tolist() == [40, 50]
    assert merged.isNegative.tolist() == [True, False]


def testOneEmptyPolarityStillReturnsTheOther():
    some = setOf(footprintAt(30, 50, 7.0), footprintAt(60, 40, 9.0))
    for pair, negative in (((some, setOf()), False), ((setOf(), some), True)):
        merged = mergeDetections(*pair)
        assert len(merged) == 2
        assert (merged.isNegative == negative).all()
    nothing = mergeDetections(setOf(), setOf())
    assert len(nothing) == 0 and nothing.positive.shape == (0,)
    assert "merge_peak_positive" in nothing.footprints.peaks.dtype.names


def testGrowthDecidesWhetherNeighboursMeet():
    positive, negative = setOf(footprintAt(40, 50, 7.0)), setOf(footprintAt(52, 50, -9.0))
    assert len(mergeDetections(positive, negative, 0)) == 2
    assert len(mergeDetections(positive, negative, 1)) == 2
    assert len(mergeDetections(positive, negative, 2)) == 1
    # neighbours of one polarity are not joined by that growth
    assert len(mergeDetections(setOf(footprintAt(40, 50, 7.0), footprintAt(52, 50, 9.0)), setOf(), 2)) == 2


def testOrderOfTheInputDoesNotMatter(rng):
    made = [
        footprintAt(x, y, s)
        for x, y, s in zip(rng.integers(15, 105, 60), rng.integers(25, 95, 60), rng.normal(0, 9, 60))
    ]
    positive = [f for f in made if f.peaks["peakValue"][0] > 0]
    negative = [f for f in made if f.peaks["peakValue"][0] <= 0]
    a = mergeDetections(setOf(*positive), setOf(*negative))
    b = mergeDetections(setOf(*positive[::-1]), setOf(*negative[::-1]))
    assert len(a) == len(b)
    for one, other in zip(a.footprints, b.footprints, strict=True):
        assert one.spans == other.spans
        assert np.array_equal(one.peaks["i_x"], other.peaks["i_x"])
    # against paint and label: joined exactly where a positive and a negative share pixels
    n = len(positive)
    parent = list(range(len(made)))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    grown = [f.spans.dilated(2).clipped(REGION) for f in (*positive, *negative)]
    for i in range(n):
        for j in range(n, len(made)):
            if grown[i].overlaps(grown[j]):
                parent[root(i)] = root(j)
    assert len(a) == len({root(i) for i in range(len(made))})


def testMergeRefusesOtherRegionsAndNegativeGrowth():
    with pytest.raises(DomainError, match="regions differ"):
        mergeDetections(setOf(), FootprintSet([], Box2I((0, 0), (5, 5))))
    with pytest.raises(DomainError, match="grow"):
        mergeDetections(setOf(), setOf(), -1)


# ------------------------------------------------------------------ heavy footprints


def imageWithOrigin(rng):
    return makeExposure(
        rng.normal(0, 1, (80, 100)).astype(np.float32), variance=rng.uniform(1, 2, (80, 100)), xy0=(10, 20)
    )


def testHeavyFootprintReturnsItsPixelsToTheirPlaces(rng):
    exposure = imageWithOrigin(rng)
    exposure.mask.array[30, 30] = 8
    heavy = makeHeavyFootprint(footprintAt(41, 50, 7.0), exposure)
    empty = makeExposure(np.zeros((80, 100), np.float32), variance=np.zeros((80, 100)), xy0=(10, 20))
    heavy.insert(empty)
    y, x = np.mgrid[20:100, 10:110]
    inside = (x - 41) ** 2 + (y - 50) ** 2 <= 16
    for plane in ("image", "mask", "variance"):
        expected = np.where(inside, getattr(exposure, plane).array, 0)
        assert np.array_equal(getattr(empty, plane).array, expected)
    heavy.addTo(empty, -1)
    assert not empty.image.array.any()
    assert heavy.dot(heavy) == pytest.approx(np.sum(exposure.image.array[inside].astype(float) ** 2), rel=1e-12)


def testHeavyFootprintAcrossTheBorderIsClipped(rng):
    exposure = imageWithOrigin(rng)
    heavy = makeHeavyFootprint(footprintAt(11, 21, 7.0), exposure)
    assert heavy.area < SpanSet.fromShape(4).area
    assert heavy.bbox.minX == 10 and heavy.bbox.minY == 20
    assert np.array_equal(heavy.negated.imageValues, -heavy.imageValues)
    other = makeHeavyFootprint(footprintAt(90, 90, 7.0), exposure)
    assert heavy.dot(other) == 0
    with pytest.raises(ShapeError, match="imageValues"):
        HeavyFootprint(SpanSet.fromShape(2), imageValues=np.zeros(4))


# ----------------------------------------------------------------------- sky sources


def blankSky(rng):
    exposure = makeExposure(
        rng.normal(0, 1, (300, 400)).astype(np.float32), variance=1.0, psf=GaussianPsf(21, 21, 2.0), xy0=(50, -20)
    )
    exposure.image.array[100:104, 200:204] += 50
    detectSources(exposure, polarity="both")
    return exposure


def testSkySourcesAreExactlyAsManyApartFromSourcesAndFromEachOther(rng):
    exposure = blankSky(rng)
    sky = skySources(exposure, 7, 30, radius=6)
    assert len(sky) == 30
    painted = np.zeros((300, 400), int)
    for footprint in sky:
        for y, x0, x1 in footprint.spans.spans:
            painted[y + 20, x0 - 50 : x1 - 49] += 1
    assert painted.max() == 1
    bits = exposure.mask.bitmask(["DETECTED", "DETECTED_NEGATIVE", "EDGE"])
    assert not (exposure.mask.array[painted > 0] & bits).any()
    peaks = sky.peaks
    assert (peaks["peakValue"] == 0).all()
    d2 = np.subtract.outer(peaks["i_x"], peaks["i_x"]) ** 2 + np.subtract.outer(peaks["i_y"], peaks["i_y"]) ** 2
    assert d2[~np.eye(30, dtype=bool)].min() > 12**2


def testSkySourcesAreReproducibleForTheSeed(rng):
    exposure = blankSky(rng)
    a, b, c = (skySources(exposure, seed, 20).peaks[["i_x", "i_y"]].tolist() for seed in (3, 3, 4))
    assert a == b != c


def testNoSkySourcesAskedForGivesNone(rng):
    assert len(skySources(blankSky(rng), 1, 0)) == 0
    assert len(skySources(blankSky(rng), 1, -3)) == 0


def testExhaustedTrialsGiveFewerSkySources():
    avoid = np.ones((100, 100), bool)
    avoid[40:60, 40:60] = False
    found = skyPositions(avoid, 5, 10, radius=4, nTrials=2000)
    assert 1 <= len(found) < 10
    assert len(skyPositions(np.zeros((10, 10), bool), 5, 10, radius=8)) == 0
    taken = ndimage.binary_dilation(avoid, iterations=1)
    assert not taken[found[:, 1], found[:, 0]].any()
