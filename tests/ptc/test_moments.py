"""Clipped moments of flats, their difference, weights, correction factors, and the arrays of half covariances."""

import json

import numpy as np
import pytest

import stillsky
from reference.covariance_reference import clippedMoments as slowClippedMoments
from stillsky.ptc import (
    clippedMoments,
    clipVarianceFactor,
    clipWeights,
    correctCovArray,
    covariances,
    differenceOfFlats,
    makeCovArray,
)


def assertMoments(found, values, nSigma=5.5, nIter=3, rel=1e-12):
    mean, variance, median, count, kept = slowClippedMoments(values, nSigma, nIter)
    assert (found.count, found.kept) == (count, kept)
    assert found.median == pytest.approx(median, rel=1e-14, nan_ok=True)
    assert found.mean == pytest.approx(mean, rel=rel, nan_ok=True)
    assert found.variance == pytest.approx(variance, rel=rel, nan_ok=True)


def test_hundredNumbersAndOneOutlier():
    """Check B1: values 1..100 plus 10000."""
    values = np.array([*range(1, 101), 10000.0])[np.newaxis]
    moments = clippedMoments(values)
    assert (moments.count, moments.kept, moments.median) == (101, 100, 51)
    assert (moments.quartile1, moments.quartile3) == (26, 76)
    assert moments.firstHalfWidth == pytest.approx(203.8578, abs=5e-5)
    assert moments.firstHalfWidth == 5.5 * 0.741301109252802 * 50
    assert moments.mean == pytest.approx(50.5, rel=1e-14)
    assert moments.variance == pytest.approx(841.6666666666667, rel=1e-14)
    assert moments.plainMean == pytest.approx(15050 / 101, rel=1e-14)


@pytest.mark.parametrize("shape", [(3, 5), (400, 300)])
def test_constantImage(shape):
    """Check B1: mean c, variance 0."""
    moments = clippedMoments(np.full(shape, 1234.5, np.float32))
    assert (moments.mean, moments.variance, moments.median, moments.plainMean) == (1234.5, 0, 1234.5, 1234.5)
    assert moments.count == moments.kept == shape[0] * shape[1] and moments.lower == moments.upper == 1234.5


@pytest.mark.parametrize("weight", [np.zeros((7, 9), bool), None])
def test_allMasked(weight):
    """Check B1: NaN."""
    moments = clippedMoments(np.full((7, 9), 5.0 if weight is not None else np.nan), weight)
    assert moments.count == moments.kept == 0
    names = "mean variance median plainMean quartile1 quartile3 lower upper".split()
    assert all(np.isnan(getattr(moments, name)) for name in names)


def test_oneUsablePixel():
    weight = np.zeros((4, 4), int)
    weight[1, 2] = 1
    moments = clippedMoments(np.arange(16.0).reshape(4, 4), weight)
    assert (moments.mean, moments.median, moments.count, moments.kept) == (6, 6, 1, 1) and np.isnan(moments.variance)


def test_keptIntervalIsSymmetricAboutTheMean():
    """Check B6: mean 50, variance 100, 5.5 sigma keep [-5, 105], ends included; the reference kept [-105, 105]."""
    image = np.tile([40.0, 60.0], (200, 2))
    image[:100] = np.where(image[:100] == 40, 50 - np.sqrt(100), 50 + np.sqrt(100))
    moments = clippedMoments(image)
    assert moments.mean == pytest.approx(50, rel=1e-12) and moments.variance == pytest.approx(100, rel=2e-3)
    exact = np.array([[-105.0, -5.000001, -5.0, 0.0, 50.0, 105.0, 105.000001, np.nan, np.inf]])
    assert clipWeights(exact, None, (50 - 5.5 * 10, 50 + 5.5 * 10)).tolist() == [[0, 0, 1, 1, 1, 1, 0, 0, 0]]
    assert (moments.lower, moments.upper) == pytest.approx((-5, 105), abs=0.1)
    assert moments.lower + moments.upper == pytest.approx(2 * moments.mean, rel=1e-14)
    width = np.nextafter(moments.upper, np.inf), np.nextafter(moments.lower, -np.inf)
    ends = np.array([[moments.lower, moments.upper, *width]])
    assert clipWeights(ends, None, moments).tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (37, 53), (300, 411), (1000, 509)])
def test_momentsEqualTheSlowReference(rng, dtype, shape):
    """Gradient, outliers, NaN, infinities and a mask; sizes on both sides of each path."""
    image = (rng.normal(20000, 150, shape) * np.linspace(0.97, 1.03, shape[1])).astype(dtype)
    bad = rng.random(shape)
    image[bad < 0.001] += 5000
    image[(bad > 0.01) & (bad < 0.02)] = np.nan
    image[(bad > 0.02) & (bad < 0.021)] = -np.inf
    weight = rng.random(shape) > 0.05
    for nSigma, nIter in ((5.5, 3), (3.0, 1), (2.0, 6)):
        assertMoments(clippedMoments(image, weight, nSigma, nIter), image[weight], nSigma, nIter, 1e-11)
    assertMoments(clippedMoments(image), image, rel=1e-11)


@pytest.mark.parametrize(
    "make",
    [
        lambda rng, n: rng.integers(0, 40, n),  # ties
        lambda rng, n: rng.integers(0, 2, n) * 1000,  # two values: quartiles at a step
        lambda rng, n: np.where(np.arange(n) % 10 < 3, rng.normal(size=n), 7.0),  # mostly one value
        lambda rng, n: np.exp(rng.normal(0, 6, n)),  # a long tail
        lambda rng, n: np.sort(rng.normal(size=n)),  # sorted
        lambda rng, n: np.arange(n) % 4,  # periodic
        lambda rng, n: rng.normal(0, 1e-30, n),
        lambda rng, n: rng.normal(1e30, 1e28, n),
        lambda rng, n: np.where(np.arange(n) < n // 2, 0.0, 1e6) + rng.normal(size=n),  # median between two heaps
    ],
)
def test_quartilesAreExactForAnyDistribution(rng, make):
    for dtype in (np.float32, np.float64):
        image = make(rng, 60000).astype(dtype).reshape(300, 200)
        moments = clippedMoments(image, None, 1e6, 1)
        wanted = np.percentile(image.astype(np.float64), [25, 50, 75])
        found = moments.quartile1, moments.median, moments.quartile3
        assert found == pytest.approx(wanted, rel=1e-15)


def test_momentsAreTheSameForAnyNumberOfThreads(rng):
    image, weight = rng.normal(1000, 30, (600, 700)).astype(np.float32), rng.random((600, 700)) > 0.03
    found = []
    for n in (1, 2, 5):
        with stillsky.numThreads(n):
            found.append((clippedMoments(image, weight), differenceOfFlats(image, image.T.reshape(600, 700), 2.0, 3.0)))
    assert all(m == found[0][0] and np.array_equal(d, found[0][1]) for m, d in found[1:])


def test_differenceMatchesFluxesInDoublePrecision(rng):
    """A common pattern cancels; arithmetic in double from float32 pixels."""
    pattern = rng.uniform(0.9, 1.1, (50, 60))
    a, b = (30000 * pattern).astype(np.float32), (31000 * pattern).astype(np.float32)
    mean1, mean2 = a.mean(dtype=float), b.mean(dtype=float)
    found = differenceOfFlats(a, b, mean1, mean2)
    wanted = (mean2 * a.astype(float) - mean1 * b.astype(float)) / (0.5 * (mean1 + mean2))
    assert found.dtype == np.float64 and np.allclose(found, wanted, rtol=0, atol=1e-11)
    assert np.abs(found).max() < 0.01  # rounding of float32 pixels
    a[3, 4] = np.nan
    found = differenceOfFlats(a, b.astype(float), mean1, mean2)
    assert np.isnan(found[3, 4]) and np.isnan(found).sum() == 1


def test_clipCorrectionFactors():
    """The figures of section 2.12."""
    wanted = {
        3: 1.027393469477902,
        4: 1.0010718572754305,
        5: 1.0000148674247076,
        5.5: 1.0000011846750532,
    }
    for nSigma, factor in wanted.items():
        assert clipVarianceFactor(nSigma) == pytest.approx(factor, rel=1e-13)
    clipped = np.random.default_rng(5).normal(size=2_000_000)
    clipped = clipped[np.abs(clipped) < 2]
    assert clipped.var() * clipVarianceFactor(2) == pytest.approx(1, abs=0.003)


def test_arraysOfHalfCovariances():
    """Levels sorted, lags beyond the side left out, variances of the two kinds, [dx, dy]."""
    rows = [(200.0, dx, dy, 40.0, 10 * dx + dy, 100 + dx, "amp") for dx in range(3) for dy in range(3)]
    rows += [(100.0, dx, dy, 20.0, dx - dy, 50, "amp") for dx in range(3) for dy in range(3)]
    cov, vcov, mu = makeCovArray(rows, 2)
    assert mu.tolist() == [100, 200] and cov.shape == vcov.shape == (2, 2, 2)
    assert cov.tolist() == [[[0, -0.5], [0.5, 0]], [[0, 0.5], [5, 5.5]]]
    assert vcov.tolist() == [[[4, 2], [2, 2]], [[8, 4], [400 / 101, 400 / 101]]]
    tags = [("mu", float), ("i", int), ("j", int), ("var", float), ("cov", float), ("npix", int), ("ext", "U3")]
    records = makeCovArray(np.array(rows, dtype=tags).view(np.recarray), 2)
    for a, b in zip(records, (cov, vcov, mu), strict=True):
        assert np.array_equal(a, b)
    factor = clipVarianceFactor(3)
    corrected = correctCovArray(cov, 3)
    assert np.allclose(corrected[:, 0, 0], factor * cov[:, 0, 0], rtol=1e-15)
    assert np.allclose(corrected[1, 0, 1], factor**2 * cov[1, 0, 1], rtol=1e-15)  # the row dx = 0 is not special


def test_arraysOfHalfCovariancesWithALagThatHasNoPairs():
    cov, vcov, _ = makeCovArray([(1.0, 0, 0, 4.0, 4.0, 10), (1.0, 1, 0, 4.0, np.nan, 0)], 2)
    assert np.isnan(cov[0, 1, 0]) and np.isinf(vcov[0, 1, 0]) and np.isnan(cov[0, 1, 1])
    assert cov[0, 0, 0] == 2


@pytest.fixture(scope="module")
def golden(sharedDir):
    return json.loads((sharedDir / "golden" / "ptc_measure.json").read_text())


@pytest.fixture(scope="module")
def pair(golden):
    """Two flats of 256 x 320 pixels and where each is usable, by the recipe of the file."""
    rng = np.random.default_rng(20220126)
    shape = 256, 320
    illumination = 1 + 0.05 * ((np.arange(320) + 0.5) / 320 - 0.5)
    images = []
    for flux in (1.0, 1.02):
        mean = 30000 * flux * np.broadcast_to(illumination, shape)
        shot = np.sqrt(mean) * rng.standard_normal(shape)
        images.append((mean + shot + 6 * rng.standard_normal(shape)) / 1.5)
    bad = rng.random(shape) < 0.005
    hits = rng.integers(0, 256 * 320, size=24)
    images[0].flat[hits[:12]] += 5000
    images[1].flat[hits[12:]] += 5000
    first, second = (im.astype(np.float32) for im in images)
    assert first[0, :3].tolist() == golden["check"]["im1_first"] and bad.sum() == golden["check"]["nBad"]
    usable = np.array([~bad, ~bad])
    usable[0, 40:44, 100:110] = False  # saturated in the first exposure only
    return first, second, usable


@pytest.mark.shared
def test_goldenPairWithTheProposedRule(golden, pair):
    """Check B3, as far as it is moments, weights and covariances."""
    im1, im2, usable = pair
    wanted = golden["better_requestedPlanes_symmetricCut"]
    mu1, mu2 = (clippedMoments(im, u).mean for im, u in ((im1, usable[0]), (im2, usable[1])))
    assert (mu1, mu2) == pytest.approx((wanted["mu1"], wanted["mu2"]), rel=1e-12)
    difference = differenceOfFlats(im1, im2, mu1, mu2)
    both = usable[0] & usable[1]
    moments = clippedMoments(difference, both)
    assert moments.mean == pytest.approx(wanted["meanClipDiff"], rel=1e-9)
    assert moments.variance == pytest.approx(wanted["varClipDiff"], rel=1e-12)
    assert moments.kept == wanted["nClipDiff"]
    weights = clipWeights(difference, both, moments)
    assert weights.sum() == wanted["weightSum"]
    result = covariances(difference, weights, 8)
    for found, tuples in zip(result.tuples(), wanted["covTuples"], strict=True):
        assert found == pytest.approx(tuples, abs=1e-10 * result.cov[0, 0])
    side = len(wanted["covSqrtWeights"])
    rows = [(0.5 * (mu1 + mu2), *t) for t in result.tuples()]
    cov, vcov, _ = makeCovArray(rows, side)
    corrected = correctCovArray(cov, 5.5)[0]
    assert np.allclose(corrected, wanted["covArray_i_is_dx_j_is_dy"], rtol=0, atol=1e-10 * corrected[0, 0])
    assert np.allclose(vcov[0] ** -0.5, wanted["covSqrtWeights"], rtol=1e-12)
    assert clipVarianceFactor(5.5) * moments.variance / 2 == pytest.approx(wanted["rawVar_corrected"], rel=1e-12)
