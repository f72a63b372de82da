"""Lag covariances: both estimators against exact sums, known populations, symmetries, and each other."""

import json

import numpy as np
import pytest

import stillsky
from reference.covariance_reference import covarianceArrays, lagSums
from stillsky.ptc import (
    CovFastFourierTransform,
    computeCovDirect,
    covariances,
    covarianceSums,
    covDirectValue,
)

ESTIMATORS = ["direct", "fft"]


@pytest.fixture(scope="module")
def golden(sharedDir):
    return json.loads((sharedDir / "golden" / "ptc_covariances.json").read_text())


def lcgImage():
    """The 64 x 48 image of integer hashes, and its weights: no random generator needed."""
    height, width = 64, 48
    y, x = np.mgrid[:height, :width].astype(np.int64)
    k = y * width + x
    v = ((1103515245 * k + 12345) % 2**31) // 65536 % 32768
    v = ((1103515245 * (v * 7919 + k) + 12345) % 2**31) // 65536 % 32768
    return v - 16384, ((7 * y + 13 * x) % 29 != 0) & (x != 17)


def pcgImage():
    rng = np.random.default_rng(20260101)
    return (50 * rng.standard_normal((128, 96))).astype(np.float32), rng.random((128, 96)) >= 0.01


def maskedNormal(shape, seed=1, bad=0.01, mean=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(mean, 100, shape).astype(np.float32), rng.random(shape) >= bad


def sumsAt(sums, dx, dy):
    arrays = sums.count, sums.sumFirst, sums.sumSecond, sums.sumProduct
    return [a[dx, sums.maxLag + dy] for a in arrays]


def assertTuples(found, wanted, tolerance):
    assert len(found) == len(wanted)
    for f, w in zip(found, wanted, strict=True):
        assert f[:2] == tuple(w[:2]) and f[4] == w[4]
        assert f[2] == pytest.approx(w[2], abs=tolerance) and f[3] == pytest.approx(w[3], abs=tolerance)


@pytest.mark.shared
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_tinyImageHasExactSums(golden, estimator):
    """Check A1: N, S1, S2, P exact integers for all 28 signed lags; covariances to 1e-13 relative."""
    tiny = golden["tiny"]
    image, weight = np.array(tiny["image"]), np.array(tiny["weight"])
    sums = covarianceSums(image, weight, 3, estimator=estimator)
    assert len(tiny["signedSums"]) == 28
    for dx, dy, *wanted in tiny["signedSums"]:
        found = sumsAt(sums, dx, dy)
        assert found == wanted if estimator == "direct" else np.rint(found).tolist() == wanted
        assert found == pytest.approx(wanted, abs=1e-10)
    tuples = covariances(image, weight, 3, estimator=estimator).tuples()
    for found, wanted in zip(tuples, tiny["covDirect"], strict=True):
        assert found[:2] == tuple(wanted[:2]) and found[4] == wanted[4]
        assert found[2:4] == pytest.approx(wanted[2:4], rel=1e-13)


def test_tinyImageWithoutTheGoldenFile():
    """Check A1, the rows that the specification prints."""
    image = [
        [3, -1, 4, 1, -5, 9, -2],
        [6, 5, -3, 5, 8, -9, 7],
        [-9, 3, 2, -3, 8, 4, 6],
        [2, 6, 4, -3, 3, 8, -3],
        [2, -7, 9, 5, 0, 2, 8],
        [8, -4, 1, 9, 7, -1, 6],
    ]
    weight = np.ones((6, 7), int)
    weight[[1, 4, 0, 5], [2, 4, 6, 0]] = 0
    sums = covarianceSums(image, weight, 3)
    assert sumsAt(sums, 0, 0) == [38, 98, 98, 1190]
    assert sumsAt(sums, 1, 1) == [26, 66, 90, 435] and sumsAt(sums, 1, -1) == [24, 60, 74, -59]
    assert sumsAt(sums, 3, 3) == [10, 11, 39, 7] and sumsAt(sums, 3, -3) == [10, 27, 34, -58]
    cov, npix = covariances(image, weight, 3)
    assert cov[1, 2] == pytest.approx(8.529731404958678, rel=1e-13) and npix[1, 2] == 42
    assert cov[0, 1] == pytest.approx(-3.5457788347205703, rel=1e-13) and npix[0, 1] == 29


@pytest.mark.shared
@pytest.mark.parametrize("name", ["lcg", "pcg"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_hashAndNormalImagesReproduceTheReference(golden, name, estimator):
    """Check A2: every tuple within 1e-12 C00, pair counts exact."""
    case = golden[name]
    if name == "lcg":
        image, weight = lcgImage()
        assert image.sum() == case["imageSum"] == -761008
        image = image / 64
    else:
        image, weight = pcgImage()
        assert (
            image[0, :5].tolist() == case["firstFive"] and np.flatnonzero(~weight).tolist() == case["zeroWeightIndices"]
        )
    assert weight.sum() == case["weightSum"]
    found = covariances(image, weight, 8, estimator=estimator).tuples()
    for wanted in (case["covDirect"], case["covFFT"]):
        assertTuples(found, wanted, 1e-12 * wanted[0][2])


@pytest.mark.shared
def test_sumsOfTheHashImageAreExact(golden):
    """Integers up to 2^14: all 153 signed sums to the last digit."""
    image, weight = lcgImage()
    sums = covarianceSums(image, weight, 8)
    assert len(golden["lcg"]["signedSums"]) == 153
    for dx, dy, *wanted in golden["lcg"]["signedSums"]:
        assert sumsAt(sums, dx, dy) == wanted


@pytest.mark.parametrize(
    "shape, maxLag", [((64, 48), 8), ((128, 96), 10), ((300, 211), 5), ((97, 1100), 16), ((90, 80), 32)]
)
@pytest.mark.parametrize("bad", [0.0, 0.02, 0.3, 0.7])
def test_estimatorsAgreeWithEachOtherAndWithTheSlowReference(shape, maxLag, bad):
    """Check A2: within 1e-11 C00, for few and for many bad pixels."""
    image, weight = maskedNormal(shape, bad=bad, mean=30.0)
    direct = covariances(image, weight, maxLag, estimator="direct")
    fft = covariances(image, weight, maxLag, estimator="fft")
    assert np.array_equal(direct.npix, fft.npix)
    assert np.abs(direct.cov - fft.cov).max() <= 1e-11 * direct.cov[0, 0]
    if maxLag <= 10:
        cov, npix = covarianceArrays(image, weight, maxLag)
        assert np.array_equal(direct.npix, npix)
        assert np.abs(direct.cov - cov).max() <= 1e-11 * cov[0, 0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shape", [(10, 17), (1024, 1024)])
def test_unmaskedPairCounts(estimator, shape):
    """Check A3: (H - dy)(W - dx), twice that when both lags are positive."""
    height, width = shape
    image = np.random.default_rng(3).normal(size=shape)
    npix = covariances(image, np.ones(shape, bool), 8, estimator=estimator).npix
    for dx in range(9):
        for dy in range(9):
            assert npix[dx, dy] == (height - dy) * (width - dx) * (2 if dx and dy else 1)


class TestInvariances:
    """Check A4."""

    image, weight = pcgImage()
    estimator = pytest.mark.parametrize("estimator", ESTIMATORS)

    def cov(self, image, weight, estimator):
        return covariances(image, weight, 8, estimator=estimator)

    @estimator
    def test_aConstantChangesNothing(self, estimator):
        before = self.cov(self.image.astype(float), self.weight, estimator)
        after = self.cov(self.image.astype(float) + 1000, self.weight, estimator)
        assert np.abs(after.cov - before.cov).max() <= 1e-9 * before.cov[0, 0]
        assert np.abs(after.cov - before.cov).max() <= 2.4e-10  # what the reference attains
        assert np.array_equal(after.npix, before.npix)

    @estimator
    def test_transposingSwapsTheLags(self, estimator):
        a, b = self.cov(self.image, self.weight, estimator), self.cov(self.image.T, self.weight.T, estimator)
        assert np.abs(a.cov - b.cov.T).max() <= 1e-12 * a.cov[0, 0] and np.array_equal(a.npix, b.npix.T)

    @estimator
    def test_halfATurnChangesNothing(self, estimator):
        a = self.cov(self.image, self.weight, estimator)
        b = self.cov(self.image[::-1, ::-1], self.weight[::-1, ::-1], estimator)
        assert np.abs(a.cov - b.cov).max() <= 1e-12 * a.cov[0, 0] and np.array_equal(a.npix, b.npix)

    @estimator
    def test_aMirrorImageExchangesTheQuadrantsOnly(self, estimator):
        a = covarianceSums(self.image, self.weight, 8, estimator=estimator, offset=None)
        b = covarianceSums(self.image[::-1], self.weight[::-1], 8, estimator=estimator, offset=None)
        mirrored = b.signedCovariance()[:, ::-1]
        assert np.abs(a.signedCovariance() - mirrored).max() <= 1e-12 * a.signedCovariance()[0, 8]
        assert not np.allclose(a.signedCovariance()[1:, 9:], b.signedCovariance()[1:, 9:], rtol=0.01)
        whole = self.cov(self.image, self.weight, estimator), self.cov(self.image[::-1], self.weight[::-1], estimator)
        assert np.abs(whole[0].cov - whole[1].cov).max() <= 1e-12 * whole[0].cov[0, 0]

    @estimator
    def test_scalingByAFactorScalesByItsSquare(self, estimator):
        a, b = self.cov(self.image, self.weight, estimator), self.cov(8 * self.image, self.weight, estimator)
        assert np.abs(b.cov - 64 * a.cov).max() <= 1e-12 * b.cov[0, 0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_movingAverageHasItsPopulationCovariances(estimator):
    """Check A5: within 5/1024 of the population, and the golden figures to 1e-10."""
    noise = np.random.default_rng(42).standard_normal((1024, 1024))
    image = noise + 0.1 * np.roll(noise, 1, axis=1) + 0.05 * np.roll(noise, 1, axis=0)
    sums = covarianceSums(image, np.ones(image.shape, bool), 8, estimator=estimator)
    signed = sums.signedCovariance()
    population = np.zeros((9, 17))
    population[0, 8], population[1, 8], population[0, 9], population[0, 7], population[1, 7] = (
        1.0125,
        0.1,
        0.05,
        0.05,
        0.005,
    )
    assert np.abs(signed - population).max() < 5 / 1024
    assert signed[1, 9] == pytest.approx(0.0013502300056257466, abs=1e-10)
    assert signed[1, 7] == pytest.approx(0.005470328936620596, abs=1e-10)
    cov, _ = covariances(image, np.ones(image.shape, bool), 8, estimator=estimator)
    assert cov[0, 0] == pytest.approx(1.0131391109101129, abs=1e-10)
    assert cov[1, 0] == pytest.approx(0.10026348578270247, abs=1e-10)
    assert abs(cov[1, 1] - 0.0025) < 5 / 1024


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_checkerboardAndConstant(estimator):
    """Check A6."""
    y, x = np.mgrid[:40, :60]
    board = np.where((x + y) % 2, -1.0, 1.0)
    ones = np.ones(board.shape, bool)
    sums = covarianceSums(board, ones, 6, estimator=estimator)
    dy, dx = np.meshgrid(np.arange(-6, 7), np.arange(7))
    sign = np.where((dx + dy) % 2, -1.0, 1.0)
    assert np.abs(sums.sumProduct / sums.count - sign).max() <= (0 if estimator == "direct" else 1e-13)
    assert np.abs(sums.signedCovariance() - sign).max() < 1e-3  # edge terms: the means of odd rectangles
    for constant in (7.0, 1e4, -3e-5, 123.456):
        cov, _ = covariances(np.full((40, 60), constant), ones, 6, estimator=estimator)
        assert np.abs(cov).max() <= 1e-12 * constant**2


@pytest.mark.parametrize("report", ["computeCovDirect", "fft"])
def test_orderOfTheList(report):
    """Check A7: dy outside, dx inside, first (0, 0); the variance in every entry; (r + 1)^2 of them."""
    image, weight = maskedNormal((40, 50))
    if report == "fft":
        found = CovFastFourierTransform(image, weight, (64, 64), 5).reportCovFastFourierTransform(5)
    else:
        found = computeCovDirect(image, weight, 5)
    assert [t[:2] for t in found] == [(dx, dy) for dy in range(6) for dx in range(6)]
    assert {t[2] for t in found} == {found[0][3]} and len(found) == 36
    assert all(isinstance(t[3], float) and isinstance(t[4], int) for t in found)


@pytest.mark.parametrize("width, maxLag", [(503, 8), (1015, 8), (2039, 8), (501, 10)])
def test_widthsThatDefeatPowersOfTwo(width, maxLag):
    """Check A8: these widths violate the padding rule of the reference; here both estimators work, both ways round."""
    image, weight = maskedNormal((40, width))
    for i, w in ((image, weight), (image.T, weight.T)):
        direct, fft = (covariances(i, w, maxLag, estimator=e) for e in ESTIMATORS)
        assert np.abs(direct.cov - fft.cov).max() <= 1e-11 * direct.cov[0, 0] and np.array_equal(direct.npix, fft.npix)
    CovFastFourierTransform(image, weight, None, maxLag)


def randomIntegers(rng):
    shape = rng.integers(4, 13, 2)
    return rng.integers(-9, 10, shape), rng.random(shape) < rng.uniform(0.1, 1.0)


def test_smallRandomImagesEqualExactIntegerSums():
    """Check A10: 200 images with random masks, all signed lags, against a triple loop in exact integers."""
    rng = np.random.default_rng(10)
    for _ in range(200):
        image, weight = randomIntegers(rng)
        sums = covarianceSums(image, weight, 3)
        fft = covarianceSums(image, weight, 3, estimator="fft")
        pixels, weights = image.tolist(), weight.tolist()
        for dx in range(4):
            for dy in range(-3, 4):
                wanted = list(lagSums(pixels, weights, dx, dy))
                assert sumsAt(sums, dx, dy) == wanted
                assert np.rint(sumsAt(fft, dx, dy)).tolist() == wanted


def test_sumsAreTheSameForAnyNumberOfThreads():
    image, weight = maskedNormal((700, 300), bad=0.05)
    found = []
    for n in (1, 2, 3, 7):
        with stillsky.numThreads(n):
            found.append(covarianceSums(image, weight, 8, offset=None))
    for other in found[1:]:
        for name in ("count", "sumFirst", "sumSecond", "sumProduct", "offset"):
            assert np.array_equal(getattr(other, name), getattr(found[0], name))


def test_sumsOfPartsAddWhateverTheirOffsets():
    image, weight = (a.astype(int) for a in maskedNormal((60, 40)))
    parts = [covarianceSums(image[a:b], weight[a:b], 3, offset=c) for a, b, c in ((0, 30, 0.0), (30, 60, 17.0))]
    total = sum(parts)
    assert total.offset == 0 and total.maxLag == 3
    for dx, dy in ((0, 0), (2, 0), (3, -1)):
        wanted = np.add(*(lagSums(image[a:b].tolist(), weight[a:b].tolist(), dx, dy) for a, b in ((0, 30), (30, 60))))
        assert sumsAt(total, dx, dy) == pytest.approx(wanted, rel=1e-12)
    moved = parts[0].withOffset(-5.0)
    assert moved.offset == -5 and np.allclose(moved.signedCovariance(), parts[0].signedCovariance(), rtol=1e-11)
    with pytest.raises(stillsky.ShapeError, match="maxLag"):
        total + covarianceSums(image, weight, 2)


def test_oneSignedLag():
    image, weight = maskedNormal((30, 41), bad=0.1)
    sums = covarianceSums(image, weight, 6, offset=None)
    for dx, dy in ((0, 0), (3, 0), (0, 4), (5, 2), (5, -2)):
        cov, npix = covDirectValue(image, weight, dx, dy)
        assert cov == pytest.approx(sums.signedCovariance()[dx, 6 + dy], abs=1e-12 * sums.signedCovariance()[0, 6])
        assert npix == sums.count[dx, 6 + dy]
        assert covDirectValue(image, weight, -dx, -dy) == (pytest.approx(cov, abs=1e-8), npix)


def test_transformsAskedForOneLag():
    image, weight = maskedNormal((30, 41), bad=0.1)
    fft = CovFastFourierTransform(image, weight, (36, 47), 6)  # an odd second number is raised
    wanted = covariances(image, weight, 6)
    for dx, dy in ((0, 0), (3, 0), (0, 4), (5, 2)):
        for lag in ((dx, dy), (-dx, dy), (dx, -dy)):
            cov, npix = fft.cov(*lag)
            assert (
                cov == pytest.approx(wanted.cov[dx, dy], abs=1e-12 * wanted.cov[0, 0]) and npix == wanted.npix[dx, dy]
            )
    assert fft.reportCovFastFourierTransform(2) == [t for t in fft.reportCovFastFourierTransform(6) if max(t[:2]) <= 2]


def test_autoIsDirectUpToALagOf32():
    image, weight = maskedNormal((90, 80))
    for maxLag, estimator in ((32, "direct"), (33, "fft")):
        auto = covariances(image, weight, maxLag)
        assert np.array_equal(auto.cov, covariances(image, weight, maxLag, estimator=estimator).cov)


def test_quadrantsWeightedByTheirPairs():
    image, weight = maskedNormal((40, 40), bad=0.8)
    weight |= np.add.outer(np.arange(40), np.arange(40)) % 7 < 2  # diagonal stripes: lopsided quadrants
    sums = covarianceSums(image, weight, 4, offset=None)
    signed, count = sums.signedCovariance(), sums.count
    equal, weighted = (covariances(image, weight, 4, quadrants=q) for q in ("equal", "weighted"))
    assert np.array_equal(equal.npix, weighted.npix)
    n = count[1, 5], count[1, 3]
    assert n[1] > 2 * n[0] > 0
    assert equal.cov[1, 1] == pytest.approx((signed[1, 5] + signed[1, 3]) / 2, rel=1e-12)
    assert weighted.cov[1, 1] == pytest.approx(np.average([signed[1, 5], signed[1, 3]], weights=n), rel=1e-12)
    assert np.allclose(equal.cov[0], weighted.cov[0], rtol=1e-13, equal_nan=True)


def test_halfIntegerArrayTypesAndLayouts():
    """Any real type, byte order and strides, read-only or not: the same figures; the input stays as it is."""
    image, weight = (a.astype(int) for a in maskedNormal((33, 47)))
    wanted = covariances(image.astype(float), weight.astype(bool), 4)
    image.flags.writeable = weight.flags.writeable = False
    wide = np.zeros((66, 94), np.float32)
    wide[::2, ::2] = image
    for pixels in (image, image.astype(">f4"), image.astype(">i2"), np.asfortranarray(image), wide[::2, ::2]):
        for weights in (weight, weight.astype(np.float32), weight.astype(np.uint8), np.asfortranarray(weight, bool)):
            found = covariances(pixels, weights, 4)
            assert np.array_equal(found.cov, wanted.cov) and np.array_equal(found.npix, wanted.npix)
    assert np.array_equal(covariances(stillsky.Image(image.astype(np.float32)), weight, 4).cov, wanted.cov)
