"""Closed forms, known answers and stillsky's own rules for Statistics."""

import copy
import math
import pickle

import numpy as np
import pytest

import stillsky
from reference.statistics_reference import statistics as slowStatistics
from stillsky import stats
from stillsky.errors import DomainError, ShapeError
from stillsky.stats import Property, StatisticsControl, makeStatistics, stringToStatisticsProperty

EVERYTHING = sum(Property)
P = Property


def values(data, names, control=None, **planes):
    s = makeStatistics(data, EVERYTHING & ~P.ERRORS, control, **planes)
    return [s.getValue(P[n]) for n in names.split()]


def masked(x, v=None, m=None):
    """Keyword planes of a one-row image."""
    planes = {}
    if v is not None:
        planes["variance"] = np.array([v], np.float32)
    if m is not None:
        planes["mask"] = np.array([m], np.int32)
    return np.array([x], np.float32), planes


# --- known answers ------------------------------------------------------------------------------------------------


def testTenNumbersWithOneOutlier():
    x = [1.08192, 1.08792, 1.08774, 1.09953, 1.1122, 1.09408, 0.879792, 1.12235, 1.10115, 1.08999]
    found = values(x, "MEAN STDEV MEANCLIP STDEVCLIP MEDIAN IQRANGE NCLIPPED")
    wanted = [1.0756672, 0.0699038899772792, 1.097431111111111, 0.012984991763998597, 1.092035, 0.01296, 1]
    # The difference of two quartiles near 1 carries a unit in the last place of each, 2e-16: 4e-14 of its value.
    exceptRange = np.arange(7) != 5
    np.testing.assert_allclose(np.array(found)[exceptRange], np.array(wanted)[exceptRange], rtol=0, atol=1e-15)
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-15)


def testEightNumbersWithTwoOutliers():
    x = [7824, 7803, 7871, 7567, 7813, 7809, 8011, 7807]
    found = values(x, "MEANCLIP MEDIAN IQRANGE NCLIPPED VARIANCECLIP")
    np.testing.assert_allclose(found, [7821.166666666667, 7811, 7835.75 - 7806, 2, 647.3666666666667], rtol=1e-12)


def testInverseVarianceWeights():
    image, planes = masked([10, 12, 11, 13, 9, 60], [4, 4, 1, 9, 2.25, 4])
    control = StatisticsControl(weighted=True, calcErrorFromInputVariance=True)
    s = makeStatistics(image, EVERYTHING, control, **planes)
    found = [*s.getResult(P.MEAN), s.getValue(P.SUM), s.getValue(P.MEANCLIP), s.getError(P.MEANCLIP) ** 2]
    wanted = [16.02409638554217, 0.6585855599381422, 36.94444444444444, 10.675675675675675, 0.4864864864864865]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    found = [s.getValue(p) for p in (P.VARIANCECLIP, P.NCLIPPED, P.MEDIAN, P.IQRANGE)]
    np.testing.assert_allclose(found, [1.7821676454885214, 1, 11.5, 2.5], rtol=1e-12)


def testMaskedSamplePropagatesAboveItsThreshold():
    image, planes = masked([10, 12, 11, 13, 9, 60], [4, 4, 1, 9, 2.25, 4], [0, 0, 2, 0, 0, 0])
    control = StatisticsControl(numSigmaClip=2.5, andMask=2, weighted=True, calcErrorFromInputVariance=True)
    control.setMaskPropagationThreshold(1, 0.1)
    s = makeStatistics(image, EVERYTHING, control, **planes)
    assert [s.getValue(p) for p in (P.NPOINT, P.NMASKED)] == [5, 1]
    found = [s.getValue(P.MEANCLIP), s.getError(P.MEANCLIP) ** 2]
    np.testing.assert_allclose(found, [10.368421052631579, 0.9473684210526315], rtol=1e-12)
    assert s.orMask & 2 and s.getOrMask() == s.orMask == s.getValue(P.ORMASK)
    control.setMaskPropagationThreshold(1, 0.7)
    assert makeStatistics(image, EVERYTHING, control, **planes).orMask == 0
    control.setMaskPropagationThreshold(1, 0.4336)  # the rejected share is 1/(1 + 47/36) = 0.43373...
    assert makeStatistics(image, EVERYTHING, control, **planes).orMask == 2
    control.setMaskPropagationThreshold(1, 0.4338)
    assert makeStatistics(image, EVERYTHING, control, **planes).orMask == 0


def testMedianOfFewNumbers():
    for x, wanted in (([1, 2, 3, 2], 2), ([1, 2, 2, 3], 2), (range(10), 4.5), (range(11), 5)):
        assert makeStatistics(x, P.MEDIAN).getValue() == wanted
        assert makeStatistics(np.array(list(x), np.int32), P.MEDIAN).getValue() == wanted


def testOneSample():
    assert values([0.0], "MEANCLIP NCLIPPED MEAN SUM MEANSQUARE") == [0, 0, 0, 0, 0]
    assert np.isnan(values([0.0], "STDEV VARIANCE STDEVCLIP")).all()
    assert makeStatistics([3.0], P.MEANSQUARE).getValue() == 9


def testClippingRoundThatKeepsNothingIsUndone():
    s = makeStatistics([1, 2], EVERYTHING, StatisticsControl(numSigmaClip=1))
    assert s.getValue(P.MEANCLIP) == 1.5 and s.getValue(P.NCLIPPED) == 0 and s.nUsed == 2
    reference = makeStatistics([1, 2], EVERYTHING, StatisticsControl(numSigmaClip=1, compat=True))
    assert math.isnan(reference.getValue(P.MEANCLIP)) and reference.getValue(P.NCLIPPED) == 2


def testLoneSurvivorOfAClippingRoundIsKept():
    s = makeStatistics([1, 2, 3], EVERYTHING, StatisticsControl(numSigmaClip=1))
    assert s.getValue(P.MEANCLIP) == 2 and s.nUsed == 1 and math.isnan(s.getValue(P.STDEVCLIP))
    assert math.isnan(makeStatistics([1, 2, 3], P.MEANCLIP, StatisticsControl(numSigmaClip=1, compat=True)).getValue())


def testNineEqualAndOneOther():
    assert values([0] * 9 + [1], "MEANCLIP VARIANCECLIP NCLIPPED") == [0, 0, 1]


def testAllMasked():
    image, planes = masked([1, 2, 3], [1, 1, 1], [1, 1, 1])
    control = StatisticsControl(andMask=1)
    assert np.isnan(values(image, "MEAN STDEV MEANCLIP MEDIAN MIN MAX", control, **planes)).all()
    assert values(image, "NPOINT SUM NMASKED", control, **planes) == [0, 0, 3]
    image, planes = masked([5, 5, 3], [1, 1, 1], [0, 1, 1])
    assert values(image, "MEAN NPOINT", control, **planes) == [5, 1]
    assert math.isnan(values(image, "STDEV", control, **planes)[0])
    image, planes = masked([5, 5, 3], [1, 1, 1], [0, 0, 1])
    assert values(image, "STDEV", control, **planes) == [0]


@pytest.mark.parametrize("empty", [[], np.zeros((0, 5), np.float32), np.zeros((5, 0))])
def testEmptyInput(empty):
    with pytest.raises(DomainError, match="pixel"):
        makeStatistics(empty, P.MEAN)


def testWeightedSumOfConstantImage():
    image, variance = np.ones((10, 10), np.float32), np.full((10, 10), 0.1, np.float32)
    assert values(image, "SUM", StatisticsControl(weighted=True), variance=variance)[0] == pytest.approx(1000, rel=1e-4)
    assert values(image, "SUM", variance=variance) == [100]


def testWeightImageAndErrorModes():
    image, weights = np.ones((10, 10), np.float32), np.full((10, 10), 0.1, np.float32)
    variance = np.full((10, 10), 10, np.float32)
    control = StatisticsControl(calcErrorFromInputVariance=True)
    s = makeStatistics(image, EVERYTHING, control, variance=variance, weights=weights)
    assert s.getValue(P.SUM) == pytest.approx(10, rel=1e-6) and s.getValue(P.MEAN) == pytest.approx(1, rel=1e-6)
    assert s.getError(P.MEAN) ** 2 == pytest.approx(0.1, rel=1e-6)
    assert s.getError(P.MEANCLIP) ** 2 == pytest.approx(0.1, rel=1e-6)
    mosaic = makeStatistics(
        image, EVERYTHING, StatisticsControl(calcErrorMosaicMode=True), variance=variance, weights=weights
    )
    assert mosaic.getError(P.MEAN) ** 2 == pytest.approx(10, rel=1e-6)
    with pytest.raises(DomainError):
        control.calcErrorMosaicMode = True
    with pytest.raises(DomainError):
        StatisticsControl(calcErrorFromInputVariance=True, calcErrorMosaicMode=True)


def testRamp():
    x = np.arange(101, dtype=np.float32)
    image = np.broadcast_to(10 + x, (64, 101)).copy()
    assert values(image, "MEAN MEDIAN MEANCLIP IQRANGE") == pytest.approx([60, 60, 60, 50], rel=1e-6)
    assert values(image, "STDEV")[0] == pytest.approx(image.std(dtype=np.float64, ddof=1), rel=1e-6)


def testTwoWeightedPixels():
    image, planes = masked([20, 10], [20, 10])
    mean, stdev = values(image, "MEAN STDEV", StatisticsControl(weighted=True), **planes)
    w = np.array([0.05, 0.1])
    biased = np.sum(w * (np.array([20, 10]) - 40 / 3) ** 2) / w.sum()
    assert mean == pytest.approx(2 / (1 / 20 + 1 / 10), rel=1e-10)
    assert stdev == pytest.approx(math.sqrt(biased * w.sum() ** 2 / (w.sum() ** 2 - np.sum(w**2))), rel=1e-10)


@pytest.fixture(scope="module")
def gaussian():
    return np.random.default_rng(666).normal(10.5, 1.0, (900, 1500))


def testGaussianImage(gaussian):
    image = gaussian.astype(np.float32)
    s = makeStatistics(image, EVERYTHING)
    mean, stdev = image.mean(dtype=np.float64), image.std(dtype=np.float64, ddof=1)
    assert s.getValue(P.MEAN) == pytest.approx(mean, abs=4e-6)
    assert s.getValue(P.NPOINT) * s.getValue(P.MEAN) == pytest.approx(s.getValue(P.SUM), rel=1e-14)
    assert s.getValue(P.STDEV) == pytest.approx(stdev, abs=8e-6)
    assert s.getValue(P.MEDIAN) == pytest.approx(np.median(image.astype(np.float64)), abs=7.5e-7)
    assert s.getError(P.MEAN) == pytest.approx(stdev / math.sqrt(image.size), rel=1e-9)
    assert s.getValue(P.STDEVCLIP) == pytest.approx(math.sqrt(0.9733369) * stdev, abs=0.0015)
    assert s.getValue(P.IQRANGE) == pytest.approx(1 / 0.741301109252802, abs=5e-3)
    with pytest.raises(DomainError, match="MEDIAN was not requested"):
        makeStatistics(image, P.MEAN).getValue(P.MEDIAN)
    six = makeStatistics(image, EVERYTHING, StatisticsControl(numSigmaClip=6))
    assert six.getValue(P.MEANCLIP) == pytest.approx(mean, rel=4e-6) and six.getValue(P.NCLIPPED) == 0


def testMedianOfIntegerRoundedGaussian(gaussian):
    for dtype in (np.int32, np.uint16):
        found = makeStatistics(np.floor(gaussian + 0.5).astype(dtype), P.MEDIAN).getValue()
        assert found == pytest.approx(np.median(gaussian), abs=2.2e-4)


def testInterquartileRangeOfGaussianQuantiles():
    from scipy.stats import norm

    image = norm.ppf((np.arange(1_350_000) + 0.5) / 1_350_000).astype(np.float32).reshape(900, 1500)
    assert makeStatistics(image, P.IQRANGE).getValue() == pytest.approx(1 / 0.741301109252802, abs=1e-3)


def testOneBrightPixelIsClippedOnce(gaussian):
    image = gaussian.astype(np.float32)
    mean = image.mean(dtype=np.float64)
    image = image.copy()
    rest = (image.sum(dtype=np.float64) - image[100, 200]) / (image.size - 1)
    image[100, 200] = 1000 * mean
    s = makeStatistics(image, EVERYTHING, StatisticsControl(numSigmaClip=10))
    assert s.getValue(P.NCLIPPED) == 1 and s.getValue(P.NPOINT) == image.size
    assert s.getValue(P.MEANCLIP) == pytest.approx(rest, rel=4e-5)


def testEveryOtherRowRaised(gaussian):
    """Odd rows repeat the even ones: independent rows would differ by 0.0017 in the mean, which moves STDEV by 4e-4."""
    image = gaussian.astype(np.float32)
    image[1::2] = image[::2, ::-1]
    plain = makeStatistics(image, EVERYTHING)
    n, sigma, mean = image.size, plain.getValue(P.STDEV), plain.getValue(P.MEAN)
    image[1::2] += 1
    s = makeStatistics(image, EVERYTHING)
    assert s.getValue(P.MEAN) == pytest.approx(mean + 0.5, abs=4e-6)
    assert s.getValue(P.STDEV) == pytest.approx(math.hypot(sigma, 0.5 * math.sqrt(n / (n - 1))), abs=1.1e-4)
    assert s.getValue(P.MEANSQUARE) == pytest.approx(0.5 * (mean**2 + (mean + 1) ** 2) + sigma**2, abs=5e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def testNanSafe(bad):
    image = np.ones((20, 30), np.float32)
    image[3, 4] = bad
    assert np.isfinite(values(image, "MAX MEAN MEDIAN")).all()
    assert not np.isfinite(values(image, "MAX MEAN", StatisticsControl(nanSafe=False))).any()


def testNanUnsafeCountsEverySample():
    s = makeStatistics([1, 2, np.nan, 4, 6], EVERYTHING, StatisticsControl(nanSafe=False))
    assert [s.getValue(p) for p in (P.NPOINT, P.NMASKED)] == [5, 0] and math.isnan(s.getValue(P.MEANCLIP))


class BitMask:
    schema = None

    def __init__(self, array):
        self.array = array


def testMaskAlone():
    array = np.zeros((10, 10), np.int32)
    array[0, :4] = [0x10, 0x08, 0x08, 0x02]
    s = makeStatistics(BitMask(array), P.SUM | P.NPOINT)
    assert s.getValue(P.SUM) == 0x1A and s.getValue(P.NPOINT) == 100 and s.orMask == 0x1A
    with pytest.raises(DomainError):
        makeStatistics(BitMask(array), P.MEAN)


def testWeightedMinimumIsASample():
    s = makeStatistics([10.0] * 5, EVERYTHING, weights=[0.1] * 5)
    assert s.getValue(P.MIN) == s.getValue(P.MAX) == 10


def testIntegerTiesAreSpreadOverTheBin():
    x = [0] * 5 + [1] * 5
    for dtype in (np.int32, np.uint16, np.int16, np.uint8):
        assert makeStatistics(np.array(x, dtype), P.MEDIAN).getValue() == 0.5
    assert makeStatistics(np.array([3, 3, 3, 3, 4], np.int32), P.MEDIAN).getValue() == pytest.approx(2.5 + 2.5 / 4)


def testWeightedMeanAndItsError():
    s = makeStatistics([1.0, 2.0, 4.0], EVERYTHING, weights=[1, 1, 2])
    assert s.getValue(P.MEAN) == 2.75
    control = StatisticsControl(calcErrorFromInputVariance=True)
    variance = np.ones((1, 3), np.float32)
    s = makeStatistics(np.array([1.0, 2, 4]), EVERYTHING, control, weights=[1, 1, 2], variance=variance)
    assert s.getError(P.MEAN) == pytest.approx(math.sqrt(6) / 4, rel=1e-14)


# --- better than the reference ------------------------------------------------------------------------------------


def testOrMaskIsThatOfTheSamplesKept():
    image, planes = masked([1, 1.1, 0.9, 1, 50], None, [1, 0, 0, 0, 4])
    assert makeStatistics(image, P.MEANCLIP | P.ORMASK, **planes).orMask == 1
    assert makeStatistics(image, P.MEAN | P.ORMASK, **planes).orMask == 5
    assert makeStatistics(image, P.MEANCLIP | P.ORMASK, StatisticsControl(orMaskClipped=False), **planes).orMask == 5
    assert makeStatistics(image, P.MEANCLIP | P.ORMASK, StatisticsControl(compat=True), **planes).orMask == 5


def testErrorsThatTheReferenceGetsWrong():
    """Monte Carlo: the scatter of each statistic over many samples is what its error says."""
    rng = np.random.default_rng(5)
    errors = {p: [] for p in (P.MEANSQUARE, P.VARIANCECLIP, P.IQRANGE, P.MEDIAN, P.MEAN, P.STDEV)}
    found = {p: [] for p in errors}
    for _ in range(1500):
        s = makeStatistics(rng.normal(3, 2, 400), EVERYTHING, StatisticsControl(numSigmaClip=6))
        for p in errors:
            found[p].append(s.getValue(p))
            errors[p].append(s.getError(p))
    for p in errors:
        assert np.mean(errors[p]) == pytest.approx(np.std(found[p]), rel=0.08), p  # 4 standard errors of a scatter


def testMedianErrorFromInputVariances():
    x, v = np.array([[1.0, 2, 4, 9]]), np.full((1, 4), 3, np.float32)
    s = makeStatistics(x, EVERYTHING, StatisticsControl(calcErrorFromInputVariance=True), variance=v)
    assert s.getError(P.MEDIAN) == pytest.approx(math.sqrt(math.pi / 2 * 3 / 4), rel=1e-12)
    control = StatisticsControl(calcErrorFromInputVariance=True)
    one = makeStatistics(x[:, :1].copy(), EVERYTHING, control, variance=v[:, :1])
    assert one.getError(P.MEDIAN) == pytest.approx(math.sqrt(math.pi / 2 * 3), rel=1e-12)


def testErrorOfZeroDeviationIsZero():
    assert makeStatistics([7.0] * 9, EVERYTHING).getError(P.STDEV) == 0
    assert math.isnan(makeStatistics([7.0] * 9, EVERYTHING, StatisticsControl(compat=True)).getError(P.STDEV))


def testFinitenessIsTestedInTheOwnType():
    x = np.array([[1e39, 2e39, 3e39]])
    assert values(x, "NPOINT MEAN") == [3, pytest.approx(2e39)]
    assert values(x, "NPOINT", StatisticsControl(compat=True)) == [0]


def testUnusableWeightsAreLeftOut():
    image, planes = masked([1, 2, 3, 4, 5], [1, 0, np.nan, np.inf, 1])
    assert values(image, "NPOINT MEAN SUM", StatisticsControl(weighted=True), **planes) == [2, 3, 6]
    assert values([1.0, 2, 3], "NPOINT MEAN", weights=[1, np.nan, 1]) == [2, 2]
    assert values([1.0, 2, 3], "NPOINT MEAN", weights=[1, 0, 1]) == [3, 2]  # zero is a weight
    with pytest.raises(DomainError, match="weights"):
        makeStatistics([1.0, 2], P.MEAN, weights=[1, -1])


def testOneWeightedSurvivorHasNoVariance():
    for w in (0.1, 0.3, 1 / 3, 7.7):
        s = makeStatistics([94.5], EVERYTHING, weights=[w])
        assert math.isnan(s.getValue(P.VARIANCE)) and math.isnan(s.getError(P.MEAN))
        only = makeStatistics([94.5, 3.0, 8.0], EVERYTHING, weights=[w, 0, 0])
        assert only.getValue(P.MEAN) == pytest.approx(94.5, rel=1e-15) and math.isnan(only.getValue(P.VARIANCE))


def testWeightedMeanFarFromTheMedianKeepsItsVariance():
    x = np.concatenate([np.zeros(100), 1e6 + np.array([0.0, 1, 2, 3])])
    w = np.concatenate([np.full(100, 1e-30), np.ones(4)])
    mean, variance = values(x, "MEAN VARIANCE", weights=w)
    assert mean == pytest.approx(1e6 + 1.5, rel=1e-12) and variance == pytest.approx(5 / 3, rel=1e-9)


def testLargeOffsetKeepsTheVariance(rng):
    noise = rng.normal(0, 1, 100_000)
    for first in (0.0, 1e15):  # an outlier in front must not become the centre of the sums
        x = np.concatenate([[1e9 + first], 1e9 + noise])
        control = StatisticsControl()
        s = makeStatistics(x, P.VARIANCE | P.VARIANCECLIP, control)
        assert s.getValue(P.VARIANCE) == pytest.approx(np.var(x, ddof=1), rel=1e-7)
        assert s.getValue(P.VARIANCECLIP) == pytest.approx(0.97, rel=0.02)


# --- interface ----------------------------------------------------------------------------------------------------


def testPropertyNames():
    for p in Property:
        assert stringToStatisticsProperty(p.name) is p
    assert stringToStatisticsProperty("NOTHING") == 0
    for wrong in ("ERROR", "mean", "", "MEAN|STDEV"):
        with pytest.raises(DomainError, match="MEANCLIP"):
            stringToStatisticsProperty(wrong)
    assert stats.MEANCLIP == P.MEANCLIP == 0x80 and stats.NMASKED == 0x10000
    assert stillsky.makeStatistics is makeStatistics


def testValueWithoutArgumentNeedsExactlyOneProperty():
    assert makeStatistics([1, 2, 3], P.MEAN).getValue() == 2
    assert makeStatistics([1, 2, 3], P.MEAN | P.ERRORS).getResult() == (2, pytest.approx(math.sqrt(1 / 3)))
    assert math.isnan(makeStatistics([1, 2, 3], P.MEAN).getError())
    for flags in (P.MEAN | P.STDEV, P.ERRORS, P.NOTHING):
        with pytest.raises(DomainError):
            makeStatistics([1, 2, 3], flags).getValue()


@pytest.mark.parametrize(
    "field, wrong",
    [("numSigmaClip", 0), ("numSigmaClip", -1), ("numSigmaClip", np.nan), ("numIter", 0), ("numIter", -3)],
)
def testControlRefusesWrongValues(field, wrong):
    control = StatisticsControl()
    with pytest.raises(DomainError, match=field):
        setattr(control, field, wrong)
    with pytest.raises(DomainError, match=field):
        StatisticsControl(**{field: wrong})
    assert control == StatisticsControl()


def testControlRoundTrips():
    control = StatisticsControl(
        2.5, 2, 5, False, True, True, noGoodPixelsMask=4, maskPropagationThresholds={3: 0.25}, orMaskClipped=False
    )
    for other in (pickle.loads(pickle.dumps(control)), copy.copy(control), copy.deepcopy(control)):
        assert other == control and other.getMaskPropagationThreshold(3) == 0.25
    other.setNumIter(3)
    assert other != control and control.numIter == 2
    assert StatisticsControl().noGoodPixelsMask == 256 and StatisticsControl().getMaskPropagationThreshold(7) == 1
    assert "numSigmaClip=2.5" in repr(control) and "{3: 0.25}" in repr(control)
    assert not StatisticsControl().getWeightedIsSet() and control.getWeighted() and control.getWeightedIsSet()
    with pytest.raises(DomainError):
        control.setMaskPropagationThreshold(31, 0.5)


def testCallForms():
    x, w = np.array([[1.0, 2, 4]]), np.array([[1.0, 1, 2]])
    control = StatisticsControl()
    for s in (
        makeStatistics(x, w, P.MEAN, control),
        makeStatistics([1, 2, 4], [1, 1, 2], P.MEAN, control),
        makeStatistics(x, w, P.MEAN),
        makeStatistics(x, P.MEAN, control, weights=w.astype(np.float32)),
        makeStatistics(x, P.MEAN, control=control, weights=w),
    ):
        assert s.getValue() == 2.75
    mask = BitMask(np.array([[0, 1, 0]], np.int32))
    assert makeStatistics(x, mask, P.MEAN, StatisticsControl(andMask=1)).getValue() == 2.5
    with pytest.raises(TypeError):
        makeStatistics(x)
    with pytest.raises(DomainError, match="weights"):
        makeStatistics(x, P.MEAN, StatisticsControl(weighted=False), weights=w)
    with pytest.raises(DomainError, match="variance"):
        makeStatistics(x, P.MEAN, StatisticsControl(weighted=True))


@pytest.mark.parametrize("plane", ["mask", "variance", "weights"])
def testPlanesOfAnotherSizeAreRefused(plane):
    with pytest.raises(ShapeError, match=plane):
        makeStatistics(np.ones((4, 5), np.float32), P.MEAN, **{plane: np.ones((5, 4), np.int32)})


def testAwkwardArrays(rng):
    base = rng.normal(0, 1, (40, 60))
    wanted = base.mean()
    for array in (
        base.astype(">f8"),
        np.asfortranarray(base),
        base[::-1],
        base[:, ::-1],
        np.repeat(base, 2, axis=1)[:, ::2],
        base.ravel(),
        base.reshape(4, 10, 60),
    ):
        assert makeStatistics(array, P.MEAN).getValue() == pytest.approx(wanted, rel=1e-12)
    readOnly = base.astype(np.float32)
    readOnly.flags.writeable = False
    assert makeStatistics(readOnly, P.NPOINT).getValue() == 2400
    assert makeStatistics(np.array([[True, False]]), P.MEAN).getValue() == 0.5
    assert makeStatistics(np.array([2**40, 2**40 + 2]), P.MEAN).getValue() == 2**40 + 1


# --- against the slow reference -----------------------------------------------------------------------------------


def sampleImage(rng, dtype, shape):
    x = rng.normal(100, 10, shape)
    bright = rng.random(shape) < 0.02
    x[bright] += rng.exponential(300, bright.sum())
    if np.dtype(dtype).kind == "f":
        x[rng.random(shape) < 0.01] = np.nan
        x[rng.random(shape) < 0.005] = np.inf
    return np.clip(x, 0, None).astype(dtype) if np.dtype(dtype).kind in "iu" else x.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint16])
@pytest.mark.parametrize("shape", [(1, 3), (7, 13), (64, 50), (210, 333), (1, 70_001), (2500, 3)])
@pytest.mark.parametrize("options", [{}, {"andMask": 5}, {"weighted": True}, {"weights": True, "andMask": 1}])
def testAgreesWithTheSlowReference(rng, dtype, shape, options):
    image = sampleImage(rng, dtype, shape)
    mask = np.where(rng.random(shape) < 0.1, rng.integers(0, 16, shape), 0).astype(np.int32)
    variance = rng.uniform(-0.1, 3, shape).astype(np.float32)
    options = dict(options)
    if "weights" in options:
        options["weights"] = rng.uniform(0, 2, shape).astype(np.float32)
    wanted = slowStatistics(image, mask, variance, numSigma=2.5, **options)
    weights = options.pop("weights", None)
    control = StatisticsControl(numSigmaClip=2.5, **options)
    s = makeStatistics(image, EVERYTHING, control, mask=mask, variance=variance, weights=weights)
    for name, value in wanted.items():
        tolerance = 0 if name in ("NPOINT", "NMASKED", "NCLIPPED", "ORMASK", "MIN", "MAX") else 2e-11
        np.testing.assert_allclose(s.getValue(P[name]), value, rtol=tolerance, atol=1e-10 * tolerance, err_msg=name)


def testResultsDoNotDependOnThreads(rng):
    image = sampleImage(rng, np.float32, (700, 900))
    mask = (rng.random(image.shape) < 0.05).astype(np.int32)
    weights = rng.uniform(0, 1, image.shape).astype(np.float32)
    seen = set()
    for n in (1, 2, 7):
        with stillsky.numThreads(n):
            s = makeStatistics(image, EVERYTHING, StatisticsControl(andMask=1), mask=mask)
            t = makeStatistics(image, EVERYTHING, StatisticsControl(andMask=1), mask=mask, weights=weights)
        seen.add(tuple(repr(r.getResult(p)) for r in (s, t) for p in Property if p not in (P.NOTHING, P.ERRORS)))
    assert len(seen) == 1


# --- the data model -----------------------------------------------------------------------------------------------


def testMaskedImagesExposuresImagesAndMasks(rng):
    from stillsky.image import Exposure, Image, Mask, MaskedImage

    pixels = rng.normal(5, 1, (30, 40)).astype(np.float32)
    mask = Mask(np.zeros(pixels.shape, np.int32))
    mask.array[:10] = mask.bitmask(["BAD"])
    mi = MaskedImage(Image(pixels), mask, Image(np.full(pixels.shape, 2, np.float32)))
    control = StatisticsControl(andMask=mask.bitmask(["BAD"]), calcErrorFromInputVariance=True)
    for thing in (mi, Exposure(mi)):
        s = makeStatistics(thing, EVERYTHING, control)
        assert s.getValue(P.NPOINT) == 800
        assert s.getValue(P.MEAN) == pytest.approx(pixels[10:].mean(dtype=np.float64), rel=1e-12)
        assert s.getError(P.MEAN) == pytest.approx(math.sqrt(2 / 800), rel=1e-12)
        assert stats.clippedStats(thing, badBits=control.andMask)[3] > 780
    assert makeStatistics(mi.image, P.NPOINT).getValue() == 1200
    assert makeStatistics(mi.image, mi.mask, P.NPOINT, StatisticsControl(andMask=1)).getValue() == 800
    assert makeStatistics(mask, P.SUM).getValue() == 1
    weights = Image(np.full(pixels.shape, 0.5, np.float32))
    assert makeStatistics(mi, weights, P.SUM, control).getValue() == pytest.approx(pixels[10:].sum() / 2, rel=1e-6)


NAN, INF = float("nan"), float("inf")
VECTORS = [  # the stored spot values: centres and errors, six digits
    (range(1, 11), None, dict(MEAN=(5.5, 0.957427), VARIANCE=(9.166667, 3.889087), STDEV=(3.027650, 0.642262),
                              MEDIAN=(5.5, 1.199960), IQRANGE=4.5, MEANCLIP=(5.5, 0.957427), NCLIPPED=0, SUM=55)),
    ((1, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98, 1, 1.03, 0.97, 50), None,
     dict(MEANCLIP=(1.0, 0.01751), STDEVCLIP=0.05538, NCLIPPED=1, IQRANGE=0.065, MEDIAN=1)),
    ((1, 1, 1, 2, 2, 2, 2, 3, 3, 9, 9), None,
     dict(MEANCLIP=17 / 9, VARIANCECLIP=11 / 18, NCLIPPED=2, IQRANGE=1.5)),
    ((1, 2, 4, 8, 16), (1, 2, 3, 4, 0.5),
     dict(MEAN=(57 / 10.5, 2.17673), VARIANCE=17.26875, SUM=57, MEDIAN=4, IQRANGE=6)),
    ([7] * 9, None, dict(MEAN=7, MEDIAN=7, MEANCLIP=7, VARIANCE=0, NCLIPPED=0)),
    ([3], None, dict(VARIANCE=NAN, MEANCLIP=3)),
    ((1, 2, NAN, 4, INF, 6), None, dict(NPOINT=4, NMASKED=2, MEAN=3.25, MEDIAN=3, IQRANGE=2.75)),
    ([NAN] * 3, None, dict(NPOINT=0, SUM=0, MEAN=NAN, MEDIAN=NAN, VARIANCE=NAN, IQRANGE=NAN, MEANCLIP=NAN, STDEV=NAN)),
]  # fmt: skip


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize(("values", "weights", "wanted"), VECTORS)
def testStoredSpotValuesOfVectors(values, weights, wanted, compat):
    everything = sum(p for p in Property)
    stats = makeStatistics([float(v) for v in values], everything, StatisticsControl(compat=compat), weights=weights)
    for name, value in wanted.items():
        got = stats.getResult(Property[name])
        for found, want in zip(got, value if isinstance(value, tuple) else (value,)):
            assert found == pytest.approx(want, rel=0, abs=5e-6, nan_ok=True), name  # half of the last digit given


def testPropertiesMayBeNamedAndAreShown():
    values = np.arange(1.0, 11)
    assert makeStatistics(values, "MEANCLIP").getValue() == 5.5
    stats = makeStatistics(values, "MEAN | STDEV, ERRORS", StatisticsControl())
    assert stats.flags == int(Property.MEAN | Property.STDEV | Property.ERRORS)
    assert repr(stats) == "Statistics(MEAN=5.5 +- 0.957, STDEV=3.02765 +- 0.642)"
    assert repr(makeStatistics(values, "NPOINT|ORMASK")) == "Statistics(NPOINT=10, ORMASK=0x0)"
    with pytest.raises(DomainError, match="MEDIUM"):
        makeStatistics(values, "MEDIUM")
