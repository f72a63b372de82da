"""Stacks: known answers, stillsky's rules, agreement with the slow reference and with makeStatistics."""

import os

import numpy as np
import pytest

import stillsky
from reference.stack_reference import stack as slowStack
from stillsky.errors import DomainError, ShapeError
from stillsky.image import Image, Mask, MaskedImage
from stillsky.stats import FileRows, Property, StatisticsControl, makeStatistics, stackStrips, statisticsStack

P = Property
BAD, SAT, INTRP, EDGE, DETECTED, NO_DATA = 1, 2, 4, 16, 32, 256


def masked(value, shape=(64, 64), mask=0, variance=0.0, xy0=(0, 0)):
    pixels = np.broadcast_to(np.asarray(value, np.float32), shape).copy()
    bits = np.broadcast_to(np.asarray(mask, np.int32), shape).copy()
    noise = np.broadcast_to(np.asarray(variance, np.float32), shape).copy()
    return MaskedImage(Image(pixels, xy0), Mask(bits, xy0), Image(noise, xy0))


def planes(stacked):
    return stacked.image.array, stacked.mask.array, stacked.variance.array


# --- known answers ------------------------------------------------------------------------------------------------


def testMeanOfTenConstantImagesAndInPlaceForm():
    images = [masked(v) for v in range(10)]
    found = statisticsStack(images, P.MEAN)
    assert np.all(found.image.array == 4.5)
    other = masked(-1, mask=7, variance=3)
    assert statisticsStack(other, images, P.MEAN) is other
    for a, b in zip(planes(found), planes(other)):
        np.testing.assert_array_equal(a, b)
    plain = Image(np.zeros((64, 64), np.float32))
    statisticsStack([image.image for image in images], P.MEAN, out=plain)
    assert np.all(plain.array == 4.5)


def testMedianAndWeightedMeansOfFiveImages():
    values = [1, 2, 2, 3, 8]
    images = [masked(v, variance=v) for v in values]
    assert np.all(statisticsStack(images, P.MEDIAN).image.array == 2)
    byVariance = statisticsStack(images, P.MEAN, StatisticsControl(weighted=True)).image.array
    np.testing.assert_allclose(byVariance, 2.0338983, rtol=1e-6)
    byWeights = statisticsStack(images, P.MEAN, StatisticsControl(weighted=True), values).image.array
    np.testing.assert_allclose(byWeights, 82 / 16, rtol=1e-6)
    # product of both: weight / variance is 1 here
    both = statisticsStack(images, P.MEAN, None, values, inverseVariance=True).image.array
    np.testing.assert_allclose(both, 16 / 5, rtol=1e-6)


@pytest.mark.parametrize("name", ["MEAN", "MEANCLIP", "MEDIAN"])
def testOneImageComesBackUnchanged(rng, name):
    image = masked(rng.normal(5, 1, (64, 64)), mask=rng.integers(0, 64, (64, 64)), variance=rng.uniform(1, 2, (64, 64)))
    for a, b in zip(planes(statisticsStack([image], P[name])), planes(image)):
        np.testing.assert_array_equal(a, b)


def testContradictoryArgumentsAreRefused():
    images = [masked(v) for v in range(3)]
    with pytest.raises(DomainError, match="exactly one"):
        statisticsStack(images, P.MEAN | P.MEANCLIP)
    with pytest.raises(ShapeError, match="at least one"):
        statisticsStack([], P.MEAN)
    with pytest.raises(DomainError, match="weights.*3 images, got 2"):
        statisticsStack(images, P.MEAN, StatisticsControl(weighted=True), [1, 1])
    with pytest.raises(DomainError, match="weights"):
        statisticsStack(images, P.MEAN, None, [1, 1, -1])
    with pytest.raises(ValueError, match="False"):
        statisticsStack(images, P.MEAN, StatisticsControl(weighted=False), [1, 1, 1])
    with pytest.raises(ShapeError, match=r"images\[2\].*64x64.*63x64"):
        statisticsStack([images[0], images[1], masked(0, (64, 63))], P.MEAN)
    with pytest.raises(DomainError, match="MEDIUM"):
        statisticsStack(images, "MEDIUM")
    with pytest.raises(DomainError, match="axis"):
        statisticsStack(images[0], P.MEAN, "z")


def testPixelWithoutUsableSampleGetsExactlyTheNoGoodPixelsMask():
    bits = np.full((64, 64), DETECTED)
    bits[:20, :20] |= SAT
    images = [masked(10, mask=bits, variance=1) for _ in range(4)]
    control = StatisticsControl(andMask=INTRP | SAT, noGoodPixelsMask=EDGE)
    image, mask, variance = planes(statisticsStack(images, P.MEAN, control))
    corner = np.zeros((64, 64), bool)
    corner[:20, :20] = True
    assert np.all(mask[corner] == EDGE) and np.all(mask[~corner] == DETECTED)
    assert np.all(image[~corner] == 10) and np.isnan(image[corner]).all() and np.isnan(variance[corner]).all()


def testMaskIsTheUnionOfUsableSamples():
    images = [masked(1, (1, 1), 0x4), masked(1, (1, 1), 0x3)]
    assert statisticsStack(images, P.MEAN).mask.array[0, 0] == 0x7
    assert statisticsStack(images, P.MEAN, StatisticsControl(andMask=0x1)).mask.array[0, 0] == 0x4


@pytest.mark.parametrize(
    "last, masks, values", [(1, [0, 0, 8, 0], [3.2, 1, 3.2, 1]), (2, [0, 0, 8, 8], [28 / 6, 1, 28 / 6, 1])]
)
def testPropagationOfRejectedBits(last, masks, values):
    reject, propagate = 4, 8
    images = [masked(1, (1, 4)) for _ in range(4)] + [masked(12, (1, 4), [[0, reject, propagate, reject | propagate]])]
    control = StatisticsControl(andMask=reject, weighted=True, maskPropagationThresholds={3: 0.3})
    stacked = statisticsStack(images, P.MEAN, control, [1, 1, 1, 1, last])
    assert stacked.mask.array.tolist() == [masks]
    np.testing.assert_allclose(stacked.image.array[0], values, rtol=1e-7)


def testClippedBitExcuseAndMap():
    clip, reject = 512, 1024
    images = [masked(0, (5, 5)) for _ in range(10)]
    images[3].image.array[1, 2] = 1
    first = statisticsStack(images, P.MEANCLIP, None, None, clip)
    assert np.all(first.image.array == 0) and np.argwhere(first.mask.array).tolist() == [[1, 2]]
    assert first.mask.array[1, 2] == clip
    assert not statisticsStack(images, P.MEAN, None, None, clip).mask.array.any()
    images[3].image.array[1, 2] = 0
    images[3].mask.array[1, 2] = BAD
    control = StatisticsControl(andMask=BAD)
    assert statisticsStack(images, P.MEANCLIP, control, None, clip).mask.array[1, 2] == clip
    assert statisticsStack(images, P.MEANCLIP, control, None, clip, BAD).mask.array[1, 2] == 0
    images[5].image.array[4, 4] = 1
    mapped = statisticsStack(images, P.MEANCLIP, control, None, clip, [(BAD, reject)]).mask.array
    assert mapped[1, 2] == reject and mapped[4, 4] == clip and np.count_nonzero(mapped) == 2
    again = statisticsStack(images, P.MEANCLIP, control, clipped=clip, maskMap=[(BAD, reject)]).mask.array
    np.testing.assert_array_equal(mapped, again)


def testMosaicModeAveragesInputVariances():
    images = [masked(1, variance=v) for v in (1, 2, 6)]
    control = StatisticsControl(calcErrorMosaicMode=True)
    np.testing.assert_allclose(statisticsStack(images, P.MEAN, control).variance.array, 3, rtol=1e-6)
    weighted = statisticsStack(images, P.MEAN, control, [1, 1, 2]).variance.array
    np.testing.assert_allclose(weighted, 15 / 4, rtol=1e-6)


def testUnequalWeightsGiveNoNaN(rng):
    images = [masked(rng.poisson(10000, (64, 64)), variance=10000) for _ in range(3)]
    for control in (StatisticsControl(3, 2, weighted=True), StatisticsControl(3, 2, calcErrorFromInputVariance=True)):
        stacked = statisticsStack(images, P.MEANCLIP, control, [300, 10, 1])
        assert np.isfinite(stacked.image.array).all()
    assert np.isfinite(stacked.variance.array).all()


@pytest.mark.parametrize("nSat, bit", [(1, 0), (2, SAT)])
def testSaturationThresholdOfOneTenth(nSat, bit):
    images = [masked(1, (1, 1), SAT if i < nSat else 0) for i in range(10)]
    control = StatisticsControl(andMask=SAT, maskPropagationThresholds={1: 0.1})
    assert statisticsStack(images, P.MEAN, control, [1] * 10).mask.array[0, 0] == bit


def testTenOnesAndOneThousand():
    images = [masked(1, (2, 2)) for _ in range(10)] + [masked(1000, (2, 2))]
    stacked = statisticsStack(images, P.MEANCLIP, None, None, 512)
    assert np.all(stacked.image.array == 1) and np.all(stacked.mask.array == 512)


# --- stillsky's rules ---------------------------------------------------------------------------------------------


def testOriginIsKeptWhereAllAgree():
    images = [masked(v, (3, 4), xy0=(10, -5)) for v in (1, 2)]
    assert tuple(statisticsStack(images, P.MEAN).xy0) == (10, -5)
    assert tuple(statisticsStack([i.image for i in images], P.MEAN).xy0) == (10, -5)
    assert tuple(statisticsStack(images, P.MEAN, StatisticsControl(compat=True)).xy0) == (0, 0)
    assert tuple(statisticsStack([images[0], masked(2, (3, 4))], P.MEAN).xy0) == (0, 0)


def testCollapseAlongAnAxis(rng):
    pixels = rng.normal(10, 1, (5, 7)).astype(np.float32)
    image = masked(pixels, (5, 7), variance=2, xy0=(100, 200))
    image.mask.array[2, 3] = BAD
    control = StatisticsControl(andMask=BAD)
    rows = statisticsStack(image, P.MEAN, "x", control)
    columns = statisticsStack(image, P.MEAN, "y", control)
    assert rows.image.array.shape == (5, 1) and columns.image.array.shape == (1, 7)
    assert tuple(rows.xy0) == tuple(columns.xy0) == (100, 200)
    assert not rows.mask.array.any() and not columns.mask.array.any()
    good = np.where(image.mask.array, np.nan, pixels)
    np.testing.assert_allclose(rows.image.array[:, 0], np.nanmean(good, axis=1), rtol=1e-6)
    np.testing.assert_allclose(columns.image.array[0], np.nanmean(good, axis=0), rtol=1e-6)
    n = np.isfinite(good).sum(axis=1)
    np.testing.assert_allclose(rows.variance.array[:, 0], np.nanvar(good, axis=1, ddof=1) / n, rtol=1e-5)
    plain = statisticsStack(image.image, P.MEDIAN, "y")
    np.testing.assert_allclose(plain.array[0], np.median(pixels, axis=0), rtol=1e-6)
    np.testing.assert_allclose(statisticsStack(pixels, P.MAX, "x"), pixels.max(axis=1, keepdims=True))


def testPlainImagesAndVectors(rng):
    arrays = rng.normal(0, 1, (6, 9, 11)).astype(np.float32)
    for images in (list(arrays), [Image(a) for a in arrays]):
        found = statisticsStack(images, P.MEDIAN)
        np.testing.assert_allclose(getattr(found, "array", found), np.median(arrays, axis=0), rtol=1e-6)
    weights = [1, 2, 3, 4, 5, 6]
    wanted = np.average(arrays, axis=0, weights=weights)
    np.testing.assert_allclose(statisticsStack(list(arrays), P.MEAN, None, weights), wanted, rtol=1e-5, atol=1e-7)
    assert statisticsStack([[1.0, 5], [3, 7], [5, 0]], P.MEDIAN).tolist() == [3, 5]
    assert statisticsStack([[1, 5], [3, 7]], P.MEAN, None, [3, 1]).tolist() == [1.5, 5.5]
    with pytest.raises(ShapeError, match="length"):
        statisticsStack([[1, 2], [1]], P.MEAN)


def testMaskOfAClippedStackIsThatOfSamplesKept():
    images = [masked(0, (1, 1), DETECTED if i == 9 else 0) for i in range(10)]
    images[9].image.array[0, 0] = 50
    assert statisticsStack(images, P.MEANCLIP).mask.array[0, 0] == 0
    assert statisticsStack(images, P.MEANCLIP, StatisticsControl(orMaskClipped=False)).mask.array[0, 0] == DETECTED
    assert statisticsStack(images, P.MEANCLIP, StatisticsControl(compat=True)).mask.array[0, 0] == DETECTED


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def testSampleWithoutProperVarianceIsNotUsable(bad):
    images = [masked(v, (1, 1), variance=1) for v in (1, 2, 30)]
    images[2].variance.array[0, 0] = bad
    for weights in (None, [1, 1, 1]):
        stacked = statisticsStack(images, P.MEAN, StatisticsControl(weighted=True), weights, inverseVariance=True)
        assert stacked.image.array[0, 0] == 1.5


@pytest.mark.parametrize("name", ["MEAN", "MEANCLIP"])
def testImageWhoseWeightIsNotANumberTakesNoPart(name):
    images = [masked(v, (2, 3), variance=4) for v in (1, 3, 50)]
    images[2].variance.array[0] = np.inf
    images[2].mask.array[:] = np.int32(-(2**31))
    control = StatisticsControl(calcErrorFromInputVariance=True)
    image, mask, variance = planes(statisticsStack(images, P[name], control, [1, 1, np.nan]))
    assert np.all(image == 2) and np.all(variance == 2) and not mask.any()


def testPlanesWithOtherBitsAreMoved():
    a, b = masked(1, (1, 1)), masked(1, (1, 1))
    a.mask.addPlane("GHOST")
    b.mask.addPlane("SATELLITE")
    b.mask.addPlane("GHOST")
    b.mask.array[0, 0] = b.mask.bitmask(["SATELLITE", "GHOST"])
    stacked = statisticsStack([a, b], P.MEAN)
    assert stacked.mask.describe(x=0, y=0) == "GHOST,SATELLITE"
    assert stacked.mask.bit("GHOST") == a.mask.bit("GHOST")


def testCompatIgnoresWeightsUnlessTheyAreSwitchedOn(caplog):
    images = [masked(v, (1, 1)) for v in (1, 5)]
    assert statisticsStack(images, P.MEAN, StatisticsControl(compat=True), [3, 1]).image.array[0, 0] == 3
    assert "weights are ignored" in caplog.text
    assert statisticsStack(images, P.MEAN, StatisticsControl(compat=True, weighted=True), [3, 1]).image.array[0, 0] == 2
    assert statisticsStack(images, P.MEAN, None, [3, 1]).image.array[0, 0] == 2


# --- agreement with the slow reference ----------------------------------------------------------------------------


def scene(rng, n, shape=(4, 70), dtype=np.float32):
    """Noise with outliers, masked, NaN and infinite samples, improper variances, a pixel without any usable sample."""
    x = rng.normal(100, 5, (n, *shape))
    outliers = rng.random(x.shape) < 0.06
    x[outliers] += rng.normal(0, 100, outliers.sum())
    x[rng.random(x.shape) < 0.01] = np.nan
    x[rng.random(x.shape) < 0.005] = np.inf
    m = np.zeros(x.shape, np.int32)
    for bit, p in ((0, 0.05), (1, 0.05), (3, 0.08), (5, 0.3)):
        m[rng.random(x.shape) < p] |= 1 << bit
    v = rng.uniform(15, 35, x.shape)
    for bad in (0, -3, np.nan, np.inf):
        v[rng.random(x.shape) < 0.01] = bad
    m[:, 1, 7] |= 1
    x[:, 2, 8] = np.nan
    m[:-1, 3, 9] |= 1  # one usable sample
    m[:-2, 3, 10] |= 1  # two
    return x.astype(dtype), m, v.astype(np.float32)


OPTIONS = [
    {},
    {"andMask": 259},
    {"andMask": 259, "weights": True},
    {"andMask": 259, "weighted": True},
    {"andMask": 259, "weights": True, "weighted": True},
    {"andMask": 3, "errors": "input"},
    {"andMask": 3, "errors": "mosaic", "weights": True},
    {"andMask": 259, "weights": True, "errors": "input", "numSigma": 2.0, "numIter": 2, "clipped": 512,
     "thresholds": {0: 0.1, 1: 0.1, 3: 0.1, 5: 0.3}, "maskMap": [(3, 1024), (256, 2048)]},
    {"andMask": 3, "weighted": True, "errors": "input", "numSigma": 2.0, "clipped": 512, "thresholds": {1: 0.1}},
]  # fmt: skip


def fastStack(x, m, v, name, options):
    options = dict(options)
    weights = options.pop("weights", None)
    errors = options.pop("errors", "scatter")
    inverse = options.pop("weighted", False)
    control = StatisticsControl(
        options.pop("numSigma", 3.0),
        options.pop("numIter", 3),
        options.pop("andMask", 0),
        maskPropagationThresholds=options.pop("thresholds", {}),
        calcErrorFromInputVariance=errors == "input",
        calcErrorMosaicMode=errors == "mosaic",
    )
    shape = x.shape[1:]
    out = [np.empty(shape, x.dtype), np.empty(shape, np.float32), np.empty(shape, np.int32), np.empty(shape, np.uint16)]
    stackStrips(
        list(x), list(m), list(v), weights, P[name], control,
        outImage=out[0], outVariance=out[1], outMask=out[2], kept=out[3], inverseVariance=inverse, **options,
    )  # fmt: skip
    return out


def compare(found, wanted, name):
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6, err_msg=name)
    if name in ("MEAN", "MEANCLIP", "MEDIAN", "VARIANCE", "SUM"):
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-6, err_msg=f"variance of {name}")
    np.testing.assert_array_equal(found[2], wanted[2], err_msg=f"mask of {name}")
    np.testing.assert_array_equal(found[3], wanted[3], err_msg=f"samples kept by {name}")


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize("name", ["MEAN", "MEANCLIP", "MEDIAN", "VARIANCE"])
def testAgreesWithTheSlowReference(rng, name, options):
    x, m, v = scene(rng, 13)
    if "weights" in options:
        options = {**options, "weights": rng.uniform(0.5, 2, 13)}
    compare(fastStack(x, m, v, name, options), slowStack(x, m, v, name, **options), name)


@pytest.mark.parametrize("name", ["STDEV", "SUM", "MIN", "MAX", "IQRANGE", "VARIANCECLIP", "STDEVCLIP", "MEANSQUARE"])
def testOtherPropertiesAgreeWithTheSlowReference(rng, name):
    x, m, v = scene(rng, 13, (4, 30))
    for options in ({"andMask": 3}, {"andMask": 259, "weights": rng.uniform(0.5, 2, 13)}):
        compare(fastStack(x, m, v, name, options), slowStack(x, m, v, name, **options), name)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 33, 64, 100, 257, 300])
def testAnyNumberOfImages(rng, n):
    x, m, v = scene(rng, n, (4, 20))
    if n == 1:  # the rule for a single image has its own test
        x, m, v = (np.concatenate([a, a]) for a in (x, m, v))
    for name in ("MEANCLIP", "MEDIAN", "MEAN"):
        options = {"andMask": 3, "errors": "input", "clipped": 512}
        compare(fastStack(x, m, v, name, options), slowStack(x, m, v, name, **options), name)


def testDoublePixels(rng):
    x, m, v = scene(rng, 9, (4, 20), np.float64)
    x[0, 0, 0] = 1e39  # finite in its own type
    for name in ("MEAN", "MEANCLIP", "MAX"):
        found = fastStack(x, m, v, name, {"andMask": 3})
        wanted = slowStack(x, m, v, name, andMask=3)
        assert found[0].dtype == np.float64
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-13)
        np.testing.assert_array_equal(found[3], wanted[3])


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("nanSafe", [True, False])
def testEveryPropertyEqualsMakeStatistics(rng, compat, nanSafe):
    x, m, v = scene(rng, 11, (4, 12))
    control = StatisticsControl(andMask=3, compat=compat, nanSafe=nanSafe, orMaskClipped=False)
    images = [masked(a, a.shape, b, c) for a, b, c in zip(x, m, v)]
    for prop in Property:
        if prop in (P.NOTHING, P.ERRORS):
            continue
        stacked = statisticsStack(images, prop, control)
        for at in ((0, 0), (3, 9), (3, 10), (2, 8), (1, 7), (2, 5)):
            s = makeStatistics(x[(slice(None), *at)], prop | P.ERRORS, control, mask=m[(slice(None), *at)])
            value, error = s.getResult(prop)
            np.testing.assert_allclose(stacked.image.array[at], value, rtol=1e-6, err_msg=prop.name)
            np.testing.assert_allclose(stacked.variance.array[at], error**2, rtol=1e-6, err_msg=prop.name)


# --- bands, threads, byte order -----------------------------------------------------------------------------------


def testBandsThreadsAndWidthDoNotChangeABit(rng):
    x, m, v = scene(rng, 12, (50, 333))
    weights = rng.uniform(0.5, 2, 12)
    control = StatisticsControl(2.0, 2, 3, maskPropagationThresholds={1: 0.1}, calcErrorFromInputVariance=True)

    def run(rows=50, columns=333, threads=None):
        out = [np.empty((50, 333), t) for t in (np.float32, np.float32, np.int32, np.uint16, np.uint16)]
        for y in range(0, 50, rows):
            for c in range(0, 333, columns):
                at = (slice(y, y + rows), slice(c, c + columns))
                stackStrips(
                    [a[at] for a in x], [a[at] for a in m], [a[at] for a in v], weights, name, control,
                    outImage=out[0][at], outVariance=out[1][at], outMask=out[2][at], kept=out[3][at], nImage=out[4][at],
                    clipped=512, maskMap=[(3, 1024)], numThreads=threads,
                )  # fmt: skip
        return [a.tobytes() for a in out]

    for name in ("MEAN", "MEANCLIP", "MEDIAN"):
        wanted = run()
        for other in (run(rows=7), run(rows=1, columns=100), run(columns=61), run(threads=1), run(threads=5)):
            assert other == wanted, name


def testBigEndianStridedPlanesAreReadInPlace(rng):
    x, m, v = scene(rng, 6, (9, 40))
    wide = [np.zeros((9, 60), t) for t in (">f4", ">i4", ">f4")]
    bands = [[], [], []]
    for planesOfOne in zip(x, m, v):
        for plane, room, band in zip(planesOfOne, wide, bands):
            room = room.copy()
            room[:, 11:51] = plane
            room.flags.writeable = False
            band.append(room[:, 11:51])
    for name in ("MEAN", "MEANCLIP"):
        found = [np.empty((9, 40), t) for t in (np.float32, np.float32, np.int32)]
        control = StatisticsControl(andMask=3, weighted=True, calcErrorFromInputVariance=True)
        stackStrips(*bands, None, P[name], control, outImage=found[0], outVariance=found[1], outMask=found[2])
        wanted = slowStack(x, m, v, name, andMask=3, weighted=True, errors="input")
        for a, b in zip(found, wanted):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def testBigEndianDoublesAndNImage(rng):
    x, m, v = scene(rng, 6, (9, 40), np.float64)
    out, count = np.empty((9, 40)), np.empty((9, 40), np.uint16)
    stackStrips(
        list(x.astype(">f8")), list(m), None, None, "MEDIAN", StatisticsControl(andMask=3), outImage=out, nImage=count
    )
    np.testing.assert_allclose(out, slowStack(x, m, v, "MEDIAN", andMask=3)[0], rtol=1e-13)
    np.testing.assert_array_equal(count, ((m & 3) == 0).sum(axis=0))


def writePlanes(path, order, shape, planes):
    """Image, mask and variance one after the other behind a few bytes, 12 pixels wider than wanted; FileRows of their part."""
    height, width = shape
    wide = [np.pad(plane, ((0, 0), (5, 7))).astype(plane.dtype.newbyteorder(order)) for plane in planes]
    path.write_bytes(b"head" + b"".join(plane.tobytes() for plane in wide))
    size = height * (width + 12) * 4
    descriptor = os.open(path, os.O_RDONLY)
    swap = (not wide[0].dtype.isnative,) * 3
    return FileRows(descriptor, *(4 + k * size + 20 for k in range(3)), 4 * (width + 12), swap)


@pytest.fixture
def inFiles(rng, tmp_path):
    """Nine images, of which all but the second lie in files, of either byte order: (arrays, what stackStrips takes)."""
    shape = (23, 1100)
    image = rng.normal(50, 5, (9, *shape)).astype(np.float32)
    image[rng.random(image.shape) < 0.02] = np.nan
    mask = np.where(rng.random(image.shape) < 0.05, SAT, 0).astype(np.int32)
    variance = rng.uniform(1, 30, image.shape).astype(np.float32)
    rows = [writePlanes(tmp_path / str(k), "<>"[k % 2], shape, (image[k], mask[k], variance[k])) for k in range(9)]
    mixed = list(rows)
    mixed[1] = image[1]
    yield (list(image), list(mask), list(variance)), (mixed, list(mask), list(variance))
    for row in rows:
        os.close(row.descriptor)


def stackedPlanes(images, masks, variances, name, shape, inverse):
    control = StatisticsControl(3.0, 2, SAT)
    control.setMaskPropagationThreshold(1, 0.1)
    out = [np.zeros(shape, dtype) for dtype in (np.float32, np.int32, np.float32, np.uint16, np.uint16)]
    stackStrips(images, masks, variances, np.linspace(0.5, 2, len(images)), name, control, outImage=out[0], outMask=out[1],
                outVariance=out[2], kept=out[3], nImage=out[4], clipped=2048, maskMap=[(SAT, 1024)], inverseVariance=inverse)  # fmt: skip
    return out


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("name", "inverse"), [("MEAN", False), ("MEAN", True), ("STDEV", False), ("MEANCLIP", False), ("ORMASK", False)]
)
def testRowsOfFilesGiveTheBitsOfArrays(inFiles, name, inverse, threads):
    arrays, files = inFiles
    with stillsky.numThreads(threads):
        wanted, found = (stackedPlanes(*planes, name, arrays[0][0].shape, inverse) for planes in (arrays, files))
    for a, b in zip(wanted, found):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["MEAN", "MEANCLIP"])
def testFileThatEndsTooEarlyIsNamed(inFiles, tmp_path, name):
    arrays, files = inFiles
    os.truncate(tmp_path / "6", 4 * 1112 * 40)
    with pytest.raises(OSError, match="ends before its pixels") as caught:
        stackedPlanes(*files, name, arrays[0][0].shape, False)
    assert caught.value.index == 6 and caught.value.errno == 5


def testSumsDoNotDependOnWherePlanesBegin(rng):
    """Images are added in runs that begin where lines of the cache do, whatever the width and the address."""
    values = [rng.normal(10, 3, (7, 2100)).astype(np.float32) for _ in range(6)]
    masks = [np.where(rng.random((7, 2100)) < 0.1, SAT, 0).astype(np.int32) for _ in range(6)]
    found = {}
    for width in (1, 15, 16, 17, 700, 2100):
        for start in (0, 3):
            cut = [plane[:, start : start + width] for plane in values]
            bits = [plane[:, start : start + width] for plane in masks]
            out = stackedPlanes(cut, bits, [np.abs(c) + 1 for c in cut], "MEAN", cut[0].shape, False)
            found[width, start] = out
    for (width, start), out in found.items():
        whole = found[2100, 0]
        for a, b in zip(out, whole):
            np.testing.assert_array_equal(a, b[:, start : start + width])


def testTopLevelNames():
    assert stillsky.statisticsStack is statisticsStack and stillsky.AccumulatorMeanStack
