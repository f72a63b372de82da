"""Coadds of warps in memory and in files: values, weights, masks, counts, independence of how the work is cut."""

import numpy as np
import pytest
from coadd_scenes import BOX, WCS, constantWarp, skyWarps

from stillsky.coadd import (
    AssembleCoaddAlgorithmConfig,
    assembleCoadd,
    coaddSchema,
    prepareInputs,
    rejectedMaskMapping,
    subBBoxIter,
)
from stillsky.errors import DomainError
from stillsky.geom import Box2I
from stillsky.stats import Property, StatisticsControl, makeStatistics, statisticsStack


def configOf(**fields):
    config = AssembleCoaddAlgorithmConfig()
    for name, value in {"doInterp": False, **fields}.items():
        setattr(config, name, value)
    config.validate()
    return config


def bits(result):
    """All planes of a coadd and its counts, as bytes."""
    planes = (result.coadd.image, result.coadd.mask, result.coadd.variance, result.nImage, result.nKept)
    return [plane.array.tobytes() for plane in planes]


@pytest.fixture(scope="module")
def warps():
    return skyWarps()


@pytest.fixture(scope="module")
def stacked(warps):
    return assembleCoadd(warps, BOX, WCS, configOf())


def testConstantWarpsGiveTheWeightedMean():
    values, weights, variances = [3.0, 5.0, 11.0], [1.0, 2.0, 0.5], [4.0, 1.0, 9.0]
    given = [constantWarp(c, v, visit=k + 1) for k, (c, v) in enumerate(zip(values, variances))]
    result = assembleCoadd(given, BOX, WCS, configOf(statistic="MEAN"), weights=weights)
    w, c, v = (np.array(a) for a in (weights, values, variances))
    np.testing.assert_allclose(result.coadd.image.array, (w * c).sum() / w.sum(), rtol=1e-6)
    np.testing.assert_allclose(result.coadd.variance.array, (w**2 * v).sum() / w.sum() ** 2, rtol=1e-6)
    own = assembleCoadd(given, BOX, WCS, configOf(statistic="MEAN"))
    np.testing.assert_allclose(own.weights, 1 / v, rtol=1e-6)
    np.testing.assert_allclose(own.coadd.variance.array, 1 / (1 / v).sum(), rtol=1e-6)
    assert (own.nImage.array == 3).all() and (own.nKept.array == 3).all()


@pytest.mark.parametrize("size", [(2000, 2000), (37, 41), (1, 1000)])
def testSubregionSizeDoesNotShow(warps, stacked, size):
    assert bits(assembleCoadd(warps, BOX, WCS, configOf(subregionSize=list(size)))) == bits(stacked)


@pytest.mark.parametrize("memory", [1, 200_000, 1 << 20])
def testMemoryDoesNotShow(warps, stacked, memory):
    result = assembleCoadd(warps, BOX, WCS, configOf(memory=memory))
    assert bits(result) == bits(stacked)
    assert result.metadata["nBands"] > 1 or memory > 1 << 19


def testValuesAreThoseOfStatisticsStack(warps, stacked):
    control = StatisticsControl()
    schema = coaddSchema()
    control.numSigmaClip, control.numIter, control.weighted, control.calcErrorFromInputVariance = 3.0, 2, True, True
    control.andMask = schema.bitmask(["NO_DATA", "BAD", "SAT", "EDGE"])
    control.setMaskPropagationThreshold(schema.bit("SAT"), 0.1)
    mapping = rejectedMaskMapping(control.andMask, schema)
    plain = statisticsStack([w.maskedImage for w in warps], Property.MEANCLIP, control, stacked.weights,
                            schema.bitmask("CLIPPED"), mapping)  # fmt: skip
    np.testing.assert_array_equal(stacked.coadd.image.array, plain.image.array)
    used = stacked.nKept.array > 0
    np.testing.assert_array_equal(stacked.coadd.variance.array[used], plain.variance.array[used])
    later = schema.bitmask("INEXACT_PSF")
    np.testing.assert_array_equal(stacked.coadd.mask.array & ~later, plain.mask.array)


def testPixelsWithoutInputAreNoData(stacked):
    corner = (slice(-7, None), slice(-30, None))
    coadd = stacked.coadd
    assert np.isnan(coadd.image.array[corner]).all() and np.isposinf(coadd.variance.array[corner]).all()
    assert coadd.mask.isSet("NO_DATA")[corner].all()
    assert (stacked.nImage.array[corner] == 0).all() and (stacked.nKept.array[corner] == 0).all()


def testNImageCountsMasksAndNKeptWhatWasUsed(warps, stacked):
    bad = coaddSchema().bitmask(["NO_DATA", "BAD", "SAT", "EDGE"])
    counted = sum(((w.mask.array & bad) == 0).astype(int) for w in warps)
    np.testing.assert_array_equal(stacked.nImage.array, counted)
    finite = sum((((w.mask.array & bad) == 0) & np.isfinite(w.image.array)).astype(int) for w in warps)
    assert (stacked.nKept.array <= finite).all()
    clipped = stacked.coadd.mask.isSet("CLIPPED")
    assert clipped.any() and (stacked.nKept.array[clipped] < finite[clipped]).all()
    np.testing.assert_array_equal(stacked.nKept.array[~clipped], finite[~clipped])


def testWeightsAreOneOverTheClippedMeanVariance(warps):
    prepared = prepareInputs(warps, BOX, configOf())
    for warp, weight in zip(warps, prepared.weights):
        control = StatisticsControl()
        control.numSigmaClip, control.numIter = 3.0, 2
        control.andMask = warp.mask.bitmask(["NO_DATA", "BAD", "SAT", "EDGE"])
        mean = makeStatistics(warp.variance, warp.mask, Property.MEANCLIP, control).getValue(Property.MEANCLIP)
        assert weight == pytest.approx(1 / mean, rel=1e-6)


@pytest.mark.parametrize("statistic", ["MEAN", "MEDIAN", "VARIANCE", "MIN", "SUM"])
def testOtherStatistics(warps, statistic):
    result = assembleCoadd(warps, BOX, WCS, configOf(statistic=statistic))
    assert np.isfinite(result.coadd.image.array[40, 60]) and result.nKept.array[40, 60] > 0
    empty = result.nKept.array == 0
    np.testing.assert_array_equal(result.coadd.mask.isSet("NO_DATA"), empty)


def testOnlineAndBlockMeansAgree(warps):
    block = assembleCoadd(warps, BOX, WCS, configOf(statistic="MEAN"))
    online = assembleCoadd(warps, BOX, WCS, configOf(statistic="MEAN", doOnlineForMean=True))
    np.testing.assert_allclose(online.coadd.image.array, block.coadd.image.array, rtol=1e-3)
    np.testing.assert_allclose(online.coadd.variance.array, block.coadd.variance.array, rtol=1e-6)
    np.testing.assert_array_equal(online.coadd.mask.array, block.coadd.mask.array)
    np.testing.assert_array_equal(online.nImage.array, block.nImage.array)
    np.testing.assert_array_equal(online.nKept.array, block.nKept.array)


@pytest.mark.parametrize("online", [False, True])
def testWarpsThatCoverPartsAreNoSamplesElsewhere(online):
    left, right = Box2I((0, 0), (30, 20)), Box2I((20, 5), (30, 20))
    given = [constantWarp(1.0, 1.0, left), constantWarp(3.0, 1.0, right, visit=2)]
    box = Box2I((-5, -5), (60, 40))
    result = assembleCoadd(given, box, WCS, configOf(statistic="MEAN", doOnlineForMean=online, memory=1))
    image = result.coadd.image
    assert image[Box2I((0, 0), (20, 20))].array.max() == 1 and image[Box2I((30, 5), (20, 20))].array.min() == 3
    assert (image[Box2I((20, 5), (10, 15))].array == 2).all()
    assert result.nImage.array.sum() == 2 * 600 and result.nKept.array.max() == 2
    outside = result.coadd[Box2I((-5, -5), (60, 5))]
    assert outside.mask.isSet("NO_DATA").all() and np.isnan(outside.image.array).all()
    assert assembleCoadd(given, config=configOf()).coadd.bbox == Box2I((0, 0), (50, 25))


def testOneWarpComesBackUnchanged(warps):
    warp = warps[2]
    result = assembleCoadd([warp], BOX, WCS, configOf(badMaskPlanes=["NO_DATA"]))
    good = np.isfinite(warp.image.array) & ~warp.mask.isSet("NO_DATA")
    np.testing.assert_array_equal(result.coadd.image.array[good], warp.image.array[good])
    np.testing.assert_array_equal(result.coadd.variance.array[good], warp.variance.array[good])
    assert (result.nKept.array == good).all()


def testPlanesOfWarpsKeepTheirNames():
    warp, other = constantWarp(1.0, 1.0), constantWarp(1.0, 1.0, visit=2)
    warp.mask.addPlane("MINE")  # takes bit 11, which is REJECTED on the coadd
    warp.mask.array[3, 4] |= warp.mask.bitmask("MINE")
    warp.mask.array[5, 6] |= warp.mask.bitmask("BAD")
    result = assembleCoadd([warp, other], BOX, WCS, configOf())
    mask = result.coadd.mask
    assert np.argwhere(mask.isSet("MINE")).tolist() == [[3, 4]]
    assert np.argwhere(mask.isSet("REJECTED")).tolist() == np.argwhere(mask.isSet("INEXACT_PSF")).tolist() == [[5, 6]]
    assert [mask.bit(n) for n in ("REJECTED", "CLIPPED", "SENSOR_EDGE", "INEXACT_PSF")] == [11, 12, 13, 14]


def testRemovedPlanesDoNotReachTheCoaddButStillCount():
    warp, other = constantWarp(1.0, 1.0), constantWarp(3.0, 1.0, visit=2)
    for name in ("NOT_DEBLENDED", "EDGE"):
        warp.mask.addPlane(name)
        warp.mask.array[2:4, 3:5] |= warp.mask.bitmask(name)
    result = assembleCoadd([warp, other], BOX, WCS, configOf(removeMaskPlanes=["NOT_DEBLENDED", "EDGE", "NEVER_SEEN"]))
    assert not result.coadd.mask.isSet(["NOT_DEBLENDED", "EDGE"]).any()
    assert (result.coadd.image.array == 2).all() and (result.nKept.array == 2).all()
    assert (result.nImage.array[2:4, 3:5] == 1).all() and result.nImage.array.sum() == 2 * BOX.area - 4


def testEdgesOfWarpsAreSensorEdges():
    warp, other = constantWarp(1.0, 1.0), constantWarp(3.0, 1.0, visit=2)
    warp.mask.array[:, :2] |= warp.mask.bitmask("EDGE")
    result = assembleCoadd([warp, other], BOX, WCS, configOf())
    mask = result.coadd.mask
    assert mask.isSet("SENSOR_EDGE")[:, :2].all() and not mask.isSet("SENSOR_EDGE")[:, 2:].any()
    assert not mask.isSet("REJECTED").any() and mask.isSet("INEXACT_PSF").sum() == 2 * BOX.height


def testSaturationPropagatesAboveItsThreshold():
    given = [constantWarp(1.0, 1.0, visit=k) for k in range(1, 12)]
    for k in range(2):
        given[k].mask.array[0, 0] |= given[k].mask.bitmask("SAT")
    given[0].mask.array[0, 1] |= given[0].mask.bitmask("SAT")  # 1/11 is below 0.1
    mask = assembleCoadd(given, BOX, WCS, configOf()).coadd.mask
    assert np.argwhere(mask.isSet("SAT")).tolist() == [[0, 0]]


def testRejectedMaskMapping():
    schema = coaddSchema()
    bit = schema.bitmask
    assert rejectedMaskMapping(bit(["NO_DATA", "BAD", "SAT", "CLIPPED"]), schema) == [
        (bit(["BAD", "SAT"]), bit("REJECTED")),
        (bit("EDGE"), bit("SENSOR_EDGE")),
        (bit("CLIPPED"), bit("CLIPPED")),
    ]


def testBlocksOfABox():
    blocks = list(subBBoxIter(Box2I((2, 3), (10, 7)), (4, 5)))
    assert [(b.minX, b.minY, b.width, b.height) for b in blocks] == [
        (2, 3, 4, 5), (6, 3, 4, 5), (10, 3, 2, 5), (2, 8, 4, 2), (6, 8, 4, 2), (10, 8, 2, 2)]  # fmt: skip
    with pytest.raises(RuntimeError, match="empty"):
        list(subBBoxIter(Box2I(), (4, 5)))
    with pytest.raises(RuntimeError, match="subregionSize"):
        list(subBBoxIter(Box2I((0, 0), (3, 3)), (0, 5)))


@pytest.mark.parametrize("statistic", ["MEANCLIP", "MEAN"])
def testWhereWarpsHaveNoDataDoesNotShow(monkeypatch, statistic):
    box = Box2I((-40, 10), (1300, 150))
    rng = np.random.default_rng(5)
    given = []
    for k in range(6):
        warp = constantWarp(float(k), 1.0 + k, box, visit=k + 1)
        warp.mask.array[rng.random(box.shape) < 0.02] |= warp.mask.bitmask(["SAT", "EDGE"])
        empty = np.zeros(box.shape, bool)
        empty[:, 200 * k : 200 * k + 700] = True
        empty[70 : 70 + 10 * k] = True
        for plane, value in zip((warp.image, warp.mask, warp.variance), (np.nan, warp.mask.bitmask("NO_DATA"), np.inf)):
            plane.array[empty] = value
        warp.mask.array[75, 3::50] |= warp.mask.bitmask("SAT")  # not bare: it counts where thresholds are looked at
        given.append(warp)
    skipping = assembleCoadd(given, box, WCS, configOf(statistic=statistic, memory=1))
    assert any((i.extents[:, 1] - i.extents[:, 0] < box.width).any() for i in skipping.inputs if i.extents is not None)
    monkeypatch.setattr("stillsky.coadd.inputs._SPARSE", 2.0)
    reading = assembleCoadd([w.copy() for w in given], box, WCS, configOf(statistic=statistic))
    assert all(i.extents is None for i in reading.inputs)
    assert bits(skipping) == bits(reading)


def testBitsWithoutANameAreDropped():
    warp, other = constantWarp(1.0, 1.0), constantWarp(1.0, 1.0, visit=2)
    warp.mask.array[4, 5] |= (1 << 12) | warp.mask.bitmask("CR")  # 12 has no name here, it is CLIPPED on the coadd
    mask = assembleCoadd([warp, other], BOX, WCS, configOf()).coadd.mask
    assert not mask.isSet("CLIPPED").any() and np.argwhere(mask.isSet("CR")).tolist() == [[4, 5]]


def testScalersChangeThePixels(warps):
    class Scaler:
        def scaleMaskedImage(self, pixels):
            pixels *= 4.0  # exact: the same samples are clipped

    plain = assembleCoadd(warps, BOX, WCS, configOf())
    scaled = assembleCoadd(warps, BOX, WCS, configOf(memory=1), scalers=[Scaler()] * len(warps))
    np.testing.assert_allclose(scaled.weights, np.array(plain.weights) / 16, rtol=1e-6)
    np.testing.assert_allclose(scaled.coadd.image.array, 4 * plain.coadd.image.array, rtol=1e-6)
    np.testing.assert_allclose(scaled.coadd.variance.array, 16 * plain.coadd.variance.array, rtol=1e-6)
    with pytest.raises(DomainError, match="scalers"):
        assembleCoadd(warps, BOX, WCS, configOf(), scalers=[None])
    with pytest.raises(DomainError, match="weights"):
        assembleCoadd(warps, BOX, WCS, configOf(), weights=[-1.0] * len(warps))
