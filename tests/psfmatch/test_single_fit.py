"""The fit of one stamp: closed forms, planted kernels, masks, noise bias, uncertainties."""

import numpy as np
import pytest
from psfmatch_scenes import (
    SAT,
    compatible,
    correlate,
    defaultBasis,
    design,
    gaussian,
    goodRegion,
    images,
    settings,
    stamp,
)

import stillsky
from stillsky.kernel import FixedKernel
from stillsky.psfmatch import (
    KernelCandidate,
    KernelSolvedBy,
    MaskedKernelSolution,
    StaticKernelSolution,
    convolveWithBasis,
    leastSquaresQr,
    makeAlardLuptonBasisList,
    makeDeltaFunctionBasisList,
    makeKernelCandidate,
)

ORIG, PCA, RECENT = KernelCandidate.ORIG, KernelCandidate.PCA, KernelCandidate.RECENT


def _solve(bases, t, s, background, variance=1.0):
    solution = StaticKernelSolution(bases, background)
    solution.build(np.asarray(t, float), np.asarray(s, float), np.full(t.shape, variance, np.float32))
    solution.solve()
    return solution


def _residual(bases, t, s, solution, background):
    return goodRegion(s, 21).ravel() - design(bases, t, background) @ solution.getA()


@pytest.fixture(scope="module")
def pair():
    return gaussian(43, 1.5, 1e4), gaussian(43, 2.0, 1.1e4) + 5


def testGaussianPairWithTheDefaultBasis(pair):
    t, s = pair
    solution = _solve(defaultBasis(), t, s, True)
    m, b = solution.getM(), solution.getB()
    assert m[27, 27] == 529
    wanted = {(0, 0): 2.9063010363e6, (0, 3): -6.4026454880e5, (0, 15): -2.4045647968e6, (0, 27): 1.0e4}
    # M[0, 27] is the sum of B_0 * T over the good pixels. It is listed as 1.0e4, to two figures; the sum itself, from
    # an independent convolution, agrees to 1e-9 and differs from the rounded figure by 1e-8.
    assert m[0, 27] == pytest.approx(correlate(t, images(defaultBasis())[0]).sum(), rel=1e-9)
    for index, value in wanted.items():
        assert m[index] == pytest.approx(value, rel=1e-9 if index != (0, 27) else 1e-7)
    assert abs(m[0, 1]) < 1e-9 * m[0, 0]
    assert [b[0], b[3], b[27]] == pytest.approx([2.6481520592e6, -4.6436150136e5, 1.3644999860e4], rel=1e-9)
    assert solution.getKsum() == pytest.approx(1.0999749684, abs=1e-7)
    assert solution.getBackground() == pytest.approx(5.00044336, abs=1e-5)
    assert solution.getConditionNumber(solution.EIGENVALUE) == pytest.approx(1.9397e8, rel=0.01)
    assert np.std(_residual(defaultBasis(), t, s, solution, True)) == pytest.approx(4.468e-4, rel=0.01)
    kernel = solution.makeKernelImage()
    assert (kernel[10, 10], kernel[10, 11]) == pytest.approx((0.1033140, 0.0731522), abs=1e-6)
    np.testing.assert_allclose(solution.getKernel().imageAt(0, 0), kernel, atol=1e-15)


def testGaussianPairWithOtherWidths(pair):
    t, s = pair
    bases = makeAlardLuptonBasisList(10, 3, [0.7, 1.4, 2.8], [4, 2, 2])
    solution = _solve(bases, t, s, True)
    assert solution.getKsum() == pytest.approx(1.0999956304, abs=1e-7)
    assert solution.getBackground() == pytest.approx(5.00007810, abs=1e-5)
    assert np.std(_residual(bases, t, s, solution, True)) == pytest.approx(1.047e-4, rel=0.01)


def testWithoutTheBackgroundTermTheKernelSumIsWrong(pair):
    assert _solve(defaultBasis(), *pair, False).getKsum() == pytest.approx(1.3265834, abs=1e-6)


def testOneGaussianOfTheRightWidthHasCoefficientOne():
    t, s = gaussian(43, 1.5, 1e4), gaussian(43, 2.0, 1e4)
    bases = makeAlardLuptonBasisList(10, 1, [np.sqrt(2.0**2 - 1.5**2)], [0])
    solution = _solve(bases, t, s, False)
    assert solution.getA()[0] == pytest.approx(1.0, abs=1e-8)
    assert np.std(_residual(bases, t, s, solution, False)) == pytest.approx(5.5e-7, rel=0.02)


def testShiftedStarIsMatched():
    t, s = gaussian(43, 1.5, 1e4), gaussian(43, 2.0, 1e4, offset=(0.2, -0.1))
    solution = _solve(defaultBasis(), t, s, False)
    assert solution.getKsum() == pytest.approx(0.9999958182, abs=1e-7)
    assert np.std(_residual(defaultBasis(), t, s, solution, False)) == pytest.approx(0.01081, rel=0.01)


def testDeconvolutionStaysAccurate():
    t, s = gaussian(43, 2.0, 1e4), gaussian(43, 1.5, 1e4)
    bases = makeAlardLuptonBasisList(10, 3, [0.4, 0.8, 1.6], [4, 2, 2])
    solution = _solve(bases, t, s, False)
    assert np.all(np.isfinite(solution.getA()))
    assert solution.getKsum() == pytest.approx(1.0, abs=5e-4)
    assert np.std(_residual(bases, t, s, solution, False)) == pytest.approx(0.4283, rel=0.01)
    # The ladder alone, without the help of QR, also keeps to within a percent of the least residual.
    c, y = design(bases, t, False), goodRegion(s, 21).ravel()
    assert leastSquaresQr(c, y)[0] == pytest.approx(0.9999161848, abs=1e-8)
    ladder = stillsky.psfmatch.SymmetricSolver(c.T @ c).solve(c.T @ y)
    assert np.std(y - c @ ladder) < 1.01 * np.std(y - c @ leastSquaresQr(c, y))


def testHotPixelRecoversADeltaKernelImage():
    kernel = np.zeros((21, 21))
    y, x = np.mgrid[-10:11, -10:11]
    kernel[:] = np.exp(-(x**2) / 8 - y**2 / 18.0) / (2 * np.pi * 6)
    t = np.zeros((71, 71))
    t[35, 35] = 1.0
    variance = np.full(t.shape, 1e-4, np.float32)
    variance[35, 35] = 1.0
    s = np.zeros_like(t)
    s[25:46, 25:46] = kernel[::-1, ::-1]  # correlation of a point with the kernel flips it
    candidate = KernelCandidate(35, 35, stamp(t, variance), stamp(s, variance), compatible(fitForBackground=True))
    candidate.build(makeDeltaFunctionBasisList(21, 21))
    np.testing.assert_allclose(candidate.getKernelImage(ORIG), kernel, rtol=1e-5)
    assert candidate.getKsum(ORIG) == pytest.approx(kernel.sum(), abs=1e-7)
    assert candidate.getBackground(ORIG) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("scale, offset", [(1.0, 0.0), (2.7, 0.0), (1.0, 11.3)])
def testScaledAndShiftedCopiesOfTheTemplate(rng, scale, offset):
    t = rng.normal(100, 30, (41, 41)).astype(np.float32)
    fields = compatible(fitForBackground=True)
    candidate = KernelCandidate(20, 20, stamp(t), stamp(np.float32(scale) * t + np.float32(offset)), fields)
    candidate.build(makeDeltaFunctionBasisList(5, 5))
    centre = np.zeros((5, 5))
    centre[2, 2] = scale
    np.testing.assert_allclose(candidate.getKernelImage(ORIG), centre, atol=1e-5)
    assert candidate.getKsum(ORIG) == pytest.approx(scale, abs=1e-5)
    assert candidate.getBackground(ORIG) == pytest.approx(offset, abs=1e-4)


def testVarianceThatIsNotPositive(pair):
    t, s = (np.float32(a) for a in pair)
    for bad in (0.0, -1.0):
        variance = np.ones(t.shape, np.float32)
        variance[3, 4] = bad
        candidate = KernelCandidate(
            21, 21, stamp(t, 0.0), stamp(s, variance), settings(constantVarianceWeighting=False)
        )
        with pytest.raises(stillsky.NumericalError):
            candidate.build(defaultBasis())
        assert not candidate.isInitialized()
    for variance in (0.0, -3.0):  # constant weighting: a median that is not positive becomes 1
        candidate = KernelCandidate(21, 21, stamp(t, 0.0), stamp(s, variance), settings(fitForBackground=True))
        candidate.build(defaultBasis())
        assert candidate.getKernelSolution(ORIG).getM()[27, 27] == 529


def testAccessorsBeforeAndAfterBuilding(pair):
    t, s = (np.float32(a) for a in pair)
    candidate = KernelCandidate(21, 21, stamp(t), stamp(s), settings(fitForBackground=True))
    names = ("getKernelSolution", "getKernel", "getBackground", "getKsum", "getKernelImage", "getDifferenceImage")
    for which in (ORIG, PCA, RECENT):
        for name in names:
            with pytest.raises(stillsky.StillskyError):
                getattr(candidate, name)(which)
    with pytest.raises(stillsky.StillskyError):
        candidate.getImage()
    candidate.build(defaultBasis())
    assert candidate.isInitialized()
    assert candidate.getKsum(RECENT) == candidate.getKsum(ORIG)
    np.testing.assert_array_equal(candidate.getImage(), candidate.getKernelImage(ORIG))
    for name in names:
        with pytest.raises(stillsky.StillskyError):
            getattr(candidate, name)(PCA)
    with pytest.raises(stillsky.DomainError):
        candidate.getKsum(7)
    candidate.build(makeDeltaFunctionBasisList(5, 5))
    assert candidate.getKernelImage(PCA).shape == candidate.getKernelImage(RECENT).shape == (5, 5)
    assert candidate.getKernelImage(ORIG).shape == (21, 21)
    candidate.clearPca()
    assert candidate.getKernelImage(RECENT).shape == (21, 21)


def testRatings(pair):
    t, s = (np.float32(a) for a in pair)
    candidate = KernelCandidate(1.5, 2.5, stamp(t), stamp(s, 4.0), settings())
    assert candidate.getCandidateRating() == pytest.approx((s[18:25, 18:25] / 2).mean(), rel=1e-6)
    source = {"x": 21.25, "y": 20.5, "psfFlux": 123.0}
    made = makeKernelCandidate(source, stamp(t), stamp(s), settings())
    assert (made.xCenter, made.yCenter, made.getCandidateRating()) == (21.25, 20.5, 123.0)
    assert made.source is source and candidate.source is None
    assert makeKernelCandidate(1.0, 2.0, stamp(t), stamp(s), settings()).getCandidateRating() > 0


def testNonFiniteCoreMakesACandidateThatIsBornBad(pair):
    t, s = (np.float32(a) for a in pair)
    s = s.copy()
    s[21, 21] = np.nan
    candidate = KernelCandidate(21, 21, stamp(t), stamp(s), settings())
    assert candidate.isBad() and candidate.getCandidateRating() == 0.0 and candidate.rejection == "construction"


def testStampsThatDoNotFitAreRefused(pair):
    t, s = (np.float32(a) for a in pair)
    with pytest.raises(stillsky.ShapeError):
        KernelCandidate(21, 21, stamp(t), stamp(s[:-1]), settings())
    with pytest.raises(TypeError):
        KernelCandidate(21, 21, stamp(t), stamp(s.astype(float)), settings())
    small = KernelCandidate(9, 9, stamp(t[:19, :19]), stamp(s[:19, :19]), settings())
    with pytest.raises(stillsky.ShapeError):
        small.build(defaultBasis())


def testDifferenceImageAgreesWithTheSlowLoop(rng, pair):
    t, s = (np.float32(a + rng.normal(size=a.shape)) for a in pair)
    mask = np.zeros(t.shape, np.int32)
    mask[21, 12] = SAT
    varT, varS = rng.uniform(1, 2, t.shape), rng.uniform(1, 2, t.shape)
    candidate = KernelCandidate(21, 21, stamp(t.astype(float), varT, mask), stamp(s.astype(float), varS), compatible())
    kernel = images(defaultBasis())[1]
    kernel[0, 0] = 0.0
    planes = _differencePlanes(candidate, FixedKernel(kernel), 3.0)
    inner = goodRegion(s.astype(float), 21) - correlate(t, kernel) - 3.0
    np.testing.assert_allclose(goodRegion(planes[0], 21), inner, rtol=0, atol=1e-10)
    variance = goodRegion(varS.astype(np.float32), 21) + correlate(varT.astype(np.float32), kernel**2)
    np.testing.assert_allclose(goodRegion(planes[2], 21), variance, rtol=1e-6)
    touched = correlate(mask == SAT, (kernel != 0.0).astype(float)) > 0
    np.testing.assert_array_equal(goodRegion(planes[1], 21) == SAT, touched)
    edge = np.ones(t.shape, bool)
    edge[10:33, 10:33] = False
    assert np.all(np.isnan(planes[0][edge])) and np.all(np.isinf(planes[2][edge])) and np.all(planes[1][edge] & 256)


def _differencePlanes(candidate, kernel, background):
    image = candidate.getDifferenceImage(kernel, background)
    return image.image.array, image.mask.array, image.variance.array


def testMaskedPixelsWeighNothing(rng, pair):
    t, s = pair
    s = s + rng.normal(scale=0.1, size=s.shape)
    mask = np.zeros(t.shape, np.int32)
    mask[20:24, 25:27] = SAT
    spoiled = np.where(mask > 0, 1e6, s)
    keep = ~goodRegion(mask > 0, 21).ravel()
    wanted = leastSquaresQr(design(defaultBasis(), t, True)[keep], goodRegion(s, 21).ravel()[keep])
    for fields in (settings(fitForBackground=True), settings(fitForBackground=True, constantVarianceWeighting=False)):
        candidate = KernelCandidate(21, 21, stamp(t, 0.0), stamp(spoiled, 1.0, mask), fields)
        candidate.build(defaultBasis())
        fitted = candidate.getKernelSolution(ORIG).getA()
        kernels = [np.einsum("i,iyx->yx", a[:27], images(defaultBasis())) for a in (fitted, wanted)]
        np.testing.assert_allclose(kernels[0], kernels[1], atol=1e-8)
    spoiled[mask > 0] = np.nan  # the same for pixels without a value, masked or not
    candidate = KernelCandidate(21, 21, stamp(t, 0.0), stamp(spoiled, 1.0), settings(fitForBackground=True), 1.0)
    candidate.build(defaultBasis())
    np.testing.assert_allclose(candidate.getKernelSolution(ORIG).getA(), fitted, rtol=1e-9)


def testTooFewGoodPixelsAreReported(pair):
    t, s = (np.float32(a) for a in pair)
    mask = np.zeros(t.shape, np.int32)
    mask[21, 21] = SAT
    template = KernelCandidate(21, 21, stamp(t, 1.0, mask), stamp(s), settings())  # grown over the whole kernel
    with pytest.raises(stillsky.NoDataError):
        template.build(defaultBasis())
    assert not template.isInitialized()
    ignoring = KernelCandidate(21, 21, stamp(t, 1.0, mask), stamp(s), compatible())
    ignoring.build(defaultBasis())
    assert ignoring.isInitialized()


@pytest.mark.parametrize("build", ["build", "buildWithMask", "buildOrig", "buildSingleMaskOrig"])
def testMaskedSolutionEqualsTheFitOfTheRemainingPixels(rng, pair, build):
    t, s = pair
    t = t + rng.normal(scale=0.5, size=t.shape)
    s = s + rng.normal(scale=0.1, size=s.shape)
    bases = makeAlardLuptonBasisList(4, 1, [1.5], [2])
    mask = np.zeros(t.shape, np.int32)
    mask[10:12, 30:33] = SAT
    spoiled = np.where(mask > 0, 1e6, s)
    ones = np.ones(t.shape, np.float32)
    bad = mask > 0
    if build in ("build", "buildWithMask"):
        grown = correlate(bad, np.ones((9, 9))) > 0
        spoiledT = np.where(bad, 1e6, t)
    else:
        grown, spoiledT = goodRegion(bad, 9), t
    solution = MaskedKernelSolution(bases, True)
    if build == "build":
        solution.build(spoiledT, spoiled, ones, mask, mask)
    elif build == "buildSingleMaskOrig":
        solution.buildSingleMaskOrig(t, spoiled, ones, (30, 10, 3, 2))
    else:
        getattr(solution, build)(spoiledT, spoiled, ones, mask)
    solution.solve()
    keep = ~grown.ravel()
    assert keep.sum() == solution.getM()[-1, -1]
    wanted = leastSquaresQr(design(bases, t, True)[keep], goodRegion(s, 9).ravel()[keep])
    np.testing.assert_allclose(solution.getA(), wanted, rtol=1e-10, atol=1e-10)


def testMaskedSolutionWithNothingLeftRaises(pair):
    t, s = pair
    solution = MaskedKernelSolution(defaultBasis(), False)
    with pytest.raises(stillsky.NoDataError):
        solution.buildOrig(t, s, np.ones(t.shape, np.float32), np.full(t.shape, SAT, np.int32))


def testMIsTheSymmetricProductOfTheDesignMatrix(rng):
    t, s = rng.normal(size=(2, 40, 37))
    variance = rng.uniform(0.5, 2.0, t.shape).astype(np.float32)
    solution = StaticKernelSolution(defaultBasis(), True)
    solution.build(t, s, variance)
    c, w = design(defaultBasis(), t, True), 1.0 / goodRegion(variance.astype(float), 21).ravel()
    y = goodRegion(s, 21).ravel()
    scale = np.sqrt(np.outer(*(2 * [np.diag(c.T @ (w[:, None] * c))])))
    np.testing.assert_allclose(solution.getM() / scale, c.T @ (w[:, None] * c) / scale, rtol=0, atol=1e-12)
    np.testing.assert_allclose(solution.getB(), c.T @ (w * y), rtol=1e-10)
    a = rng.normal(size=28)
    assert solution.chi2(a) == pytest.approx((w * (y - c @ a) ** 2).sum(), rel=1e-10)


@pytest.mark.parametrize("size", [(21, 21), (43, 43), (41, 52), (64, 30)])
def testSeparableConvolutionEqualsDirect(rng, size):
    image = rng.normal(size=size)
    bases = makeAlardLuptonBasisList(10, 3, [0.7, 1.5, 3.0], [4, 2, 2])
    order = rng.permutation(27)
    shuffled = [FixedKernel(rng.uniform(0.1, 9) * bases[i].imageAt(0, 0)) for i in order]
    # B_0 must come first for the even functions to be recognised; the others may come in any order and scale.
    for functions in (bases, [bases[0], *[k for k, i in zip(shuffled, order) if i != 0]]):
        got, nSeparable = convolveWithBasis(functions, image)
        assert nSeparable == 27
        for column, kernel in zip(got, images(functions)):
            np.testing.assert_allclose(column, correlate(image, kernel), rtol=0, atol=1e-10)


def testArbitraryAndDeltaFunctionsAreConvolvedDirectly(rng):
    image = rng.normal(size=(30, 33))
    random = [FixedKernel(rng.normal(size=(7, 6))) for _ in range(3)]
    got, nSeparable = convolveWithBasis(random, image)
    assert nSeparable == 0
    np.testing.assert_allclose(got, [correlate(image, k) for k in images(random)], rtol=0, atol=1e-12)
    deltas = makeDeltaFunctionBasisList(5, 4)
    np.testing.assert_array_equal(convolveWithBasis(deltas, image)[0], [correlate(image, k) for k in images(deltas)])


def testNoiseOfTheTemplateIsRemovedFromTheNormalEquations(rng):
    truth = gaussian(43, 1.5, 300)
    v = rng.uniform(50, 150, truth.shape).astype(np.float32)
    bases = defaultBasis()
    fields = settings(fitForBackground=True)
    raw, noise = [], None
    for _ in range(60):
        noisy = truth + rng.normal(size=truth.shape) * np.sqrt(v)
        candidate = KernelCandidate(21, 21, stamp(noisy, v), stamp(gaussian(43, 2.0, 1e4), 100.0), fields)
        candidate.build(bases)
        solution = candidate.getKernelSolution(ORIG)
        raw.append(solution.getRawM())
        noise = solution.getNoiseMatrix()
    w = 1.0 / float(np.median(v + np.float32(100)))
    pixels = images(bases)
    windows = np.lib.stride_tricks.sliding_window_view(v.astype(float), (21, 21)).sum((0, 1)) * w
    expected = np.einsum("iyx,jyx,yx->ij", pixels, pixels, windows)
    np.testing.assert_allclose(noise[:27, :27], expected, rtol=1e-9, atol=1e-9)
    assert np.all(noise[27] == 0) and np.all(noise[:, 27] == 0)
    c = design(bases, truth, True)
    excess = np.mean(raw, axis=0) - w * c.T @ c
    error = np.std(raw, axis=0, ddof=1) / np.sqrt(len(raw))
    deviation = (excess - noise)[:27, :27] / error[:27, :27]
    assert np.abs(deviation).max() < 5.0 and np.sqrt(np.mean(deviation**2)) < 1.5
    # On the diagonal the bias is far beyond the scatter of the mean: the check would notice its absence.
    assert np.median(np.diag(noise)[:27] / np.diag(error)[:27]) > 5.0


def testCorrectedMatrixIsPositiveDefiniteAndExactWhereSignalDominates(rng):
    bright = stamp(gaussian(43, 1.5, 1e6) + rng.normal(size=(43, 43)), 1.0)
    science = stamp(gaussian(43, 2.0, 1e6), 1.0)
    one = makeAlardLuptonBasisList(10, 1, [1.5], [1])
    candidate = KernelCandidate(21, 21, bright, science, settings())
    candidate.build(one)
    solution = candidate.getKernelSolution(ORIG)
    np.testing.assert_allclose(solution.getM(), solution.getRawM() - solution.getNoiseMatrix(), rtol=1e-12)
    empty = KernelCandidate(21, 21, stamp(rng.normal(size=(43, 43))), science, settings())
    empty.build(defaultBasis())
    assert np.linalg.eigvalsh(empty.getKernelSolution(ORIG).getM()).min() > 0


def testCovarianceOfTheCoefficients(rng):
    t, s = gaussian(43, 1.5, 1e4), gaussian(43, 2.0, 1e4)
    bases = makeAlardLuptonBasisList(6, 1, [1.3], [2])
    v = 1.0 + 0.05 * s
    results, solution = [], None
    for _ in range(400):
        noisy = s + rng.normal(size=s.shape) * np.sqrt(v)
        candidate = KernelCandidate(21, 21, stamp(t, 0.0), stamp(noisy, v), settings(calculateKernelUncertainty=True))
        candidate.build(bases)
        solution = candidate.getKernelSolution(ORIG)
        results.append(solution.getA())
    # Constant weights are not the inverse variances here: the sandwich is needed.
    scatter, predicted = np.cov(np.transpose(results)), solution.getCovariance()
    np.testing.assert_allclose(np.sqrt(np.diag(scatter) / np.diag(predicted)), 1.0, atol=0.15)
    sums = [a[0] for a in results]
    assert np.std(sums) == pytest.approx(solution.getKsumError(), rel=0.15)
    plain = _solve(bases, t, s, False)
    np.testing.assert_allclose(plain.getCovariance() @ plain.getM(), np.eye(6), atol=1e-8)


def testIteratedWeightsUseTheVarianceOfTheDifference(pair):
    t, s = (np.float32(a) for a in pair)
    fields = dict(constantVarianceWeighting=False, fitForBackground=True, correctTemplateNoise=False)
    once = KernelCandidate(21, 21, stamp(t, 1.0), stamp(s, 1.0), settings(**fields))
    twice = KernelCandidate(21, 21, stamp(t, 1.0), stamp(s, 1.0), settings(iterateSingleKernel=True, **fields))
    for candidate in (once, twice):
        candidate.build(defaultBasis())
    ratio = once.getKernelSolution(ORIG).getM()[27, 27] / twice.getKernelSolution(ORIG).getM()[27, 27]
    expected = (1 + (once.getKernelImage(ORIG) ** 2).sum()) / 2.0
    assert ratio == pytest.approx(expected, rel=1e-6)


def testConditionNumberCheckMakesACandidateBad(pair):
    t, s = (np.float32(a) for a in pair)
    fields = dict(checkConditionNumber=True, correctTemplateNoise=False)
    candidate = KernelCandidate(21, 21, stamp(t), stamp(s), settings(**fields))
    candidate.build(defaultBasis())
    assert candidate.isBad() and candidate.rejection == "condition" and not candidate.isInitialized()
    loose = KernelCandidate(21, 21, stamp(t), stamp(s), settings(maxConditionNumber=1e12, **fields))
    loose.build(defaultBasis())
    assert loose.isInitialized() and not loose.isBad()
    assert loose.getKernelSolution(ORIG).solvedBy == KernelSolvedBy.CHOLESKY_LLT


def testSettingsAreCheckedWhenTheyAreMade():
    from psfmatch_scenes import FIELDS

    from stillsky.psfmatch import PsfMatchSettings

    missing = {k: v for k, v in FIELDS.items() if k != "maxKsumSigma"}
    with pytest.raises(KeyError, match="maxKsumSigma"):
        PsfMatchSettings(missing)
    for field, value in [("spatialKernelOrder", 1.5), ("fitForBackground", 1), ("kernelBasisSet", 3)]:
        with pytest.raises(TypeError, match=field):
            PsfMatchSettings({**FIELDS, field: value})
    with pytest.raises(TypeError):
        PsfMatchSettings({**FIELDS, "conditionNumberType": "GUESS"})
    for field, value in [
        ("spatialModelType", "spline"),
        ("kernelBasisSet", "wavelets"),
        ("lambdaType", "any"),
        ("lambdaStepType", "cubic"),
        ("spatialKernelOrder", -1),
        ("maxSpatialIterations", 0),
    ]:
        with pytest.raises(stillsky.DomainError, match=field):
            PsfMatchSettings({**FIELDS, field: value})
    assert PsfMatchSettings({**FIELDS, "badMaskPlanes": ["SAT", "NO_SUCH"]}).badMask == SAT
