"""The spatial fit: planted models recovered, spatial terms at every pixel, uncertainties, leave-one-out."""

import numpy as np
import pytest
from psfmatch_scenes import (
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
from stillsky.psfmatch import (
    BuildSpatialKernelVisitor,
    KernelCandidate,
    KernelSolution,
    SpatialCell,
    SpatialKernelSolution,
    StaticKernelSolution,
    SymmetricSolver,
    makeAlardLuptonBasisList,
    renormalizeKernelList,
)

REGION = (0, 0, 1024, 1024)


def _chebyshev(x, y, region, order):
    x = (x - (region[0] + (region[2] - 1) / 2)) * 2 / region[2]
    y = (y - (region[1] + (region[3] - 1) / 2)) * 2 / region[3]
    tx = [np.ones_like(x), x, 2 * x * x - 1]
    ty = [np.ones_like(y), y, 2 * y * y - 1]
    return np.array([tx[d - b] * ty[b] for d in range(order + 1) for b in range(d + 1)])


@pytest.fixture(scope="module")
def planted():
    """36 noise-free stars whose science stamps follow a planted Chebyshev model, constant over each stamp."""
    n, m = np.mgrid[0:27, 0:6]
    c = 0.01 * np.cos(1.7 * n + 0.9 * m)
    c[0] = 0.0
    c[0, 0] = 1.05
    background = np.array([5.0, 0.3, -0.2])
    bases = images(defaultBasis())
    stars = []
    for i in range(6):
        for j in range(6):
            x, y = 85 + 170 * i + 0.25 * j, 85 + 170 * j - 0.25 * i
            fx, fy = x - np.floor(x + 0.5), y - np.floor(y + 0.5)
            yy, xx = np.mgrid[:43, :43]
            t = (1e4 + 500 * i) / (2 * np.pi * 2.25) * np.exp(-((xx - 21 - fx) ** 2 + (yy - 21 - fy) ** 2) / 4.5)
            terms = _chebyshev(x, y, REGION, 2)
            kernel = np.einsum("i,iyx->yx", c @ terms, bases)
            s = np.zeros_like(t)
            s[10:33, 10:33] = correlate(t, kernel) + background @ terms[:3]
            stars.append((x, y, t, s))
    return c, background, stars


def _fit(stars, fields, bases=None, dtype=float, perPixel=False, region=REGION, order=None):
    visitor = BuildSpatialKernelVisitor(bases or defaultBasis(), region, fields, perPixel)
    cell = SpatialCell("all", region)
    for x, y, t, s in stars:
        origin = (int(np.floor(x + 0.5)) - t.shape[1] // 2, int(np.floor(y + 0.5)) - t.shape[0] // 2)
        cut = [stamp(a, 2.0, 0, origin, dtype) for a in (t, s)]
        candidate = KernelCandidate(x, y, *cut, fields, 1.0)
        candidate.build(bases or defaultBasis())
        cell.insertCandidate(candidate)
    cell.visitCandidates(visitor)
    visitor.solveLinearEquation()
    return visitor


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-7), (np.float32, 1e-5)])
def testPlantedChebyshevModelIsRecovered(planted, dtype, tolerance):
    c, background, stars = planted
    fields = compatible(fitForBackground=True)
    visitor = _fit(stars, fields, dtype=dtype)
    solution = visitor.getKernelSolution()
    kernel, bg = visitor.getSolutionPair()
    assert visitor.nCandidates == 36 and solution.nTerms == 160
    np.testing.assert_allclose(np.array(kernel.spatialParameters), c, rtol=0, atol=tolerance)
    np.testing.assert_allclose(bg.parameters, background, rtol=0, atol=tolerance)
    assert solution.getConditionNumber(solution.EIGENVALUE) == pytest.approx(1.870e9, rel=0.01)
    image = solution.makeKernelImage((511.5, 511.5))
    if dtype is np.float64:
        assert image.sum() == pytest.approx(1.05, abs=1e-8)
        assert (image[10, 10], image[10, 11]) == pytest.approx((0.3308160686, 0.1151627069), abs=1e-8)
    np.testing.assert_allclose(kernel.imageAt(511.5, 511.5), image, atol=1e-12)
    assert solution.getKsum() == pytest.approx(1.05, abs=1e-7)


def testTheCompactFormOfTheSpatialSystem(rng, planted):
    """A = sum D^T Q D with D the map from spatial to stamp coefficients, for both kinds of first term."""
    for first, fields in (
        (1, settings(fitForBackground=True, spatialBgOrder=2)),
        (6, settings(fitForBackground=True, spatialBgOrder=2, kernelBasisSet="delta-function")),
        (3, settings(fitForBackground=True, spatialBgOrder=2, spatialPhotometricOrder=1)),
    ):
        bases = makeAlardLuptonBasisList(3, 1, [1.0], [1])
        solution = SpatialKernelSolution(bases, REGION, fields)
        n = first + 2 * 6 + 6
        a, v = np.zeros((n, n)), np.zeros(n)
        for x, y in rng.uniform(0, 1000, (30, 2)):
            root = rng.normal(size=(4, 9))
            q, w = root @ root.T, rng.normal(size=4)
            p = _chebyshev(x, y, REGION, 2)
            d = np.zeros((4, n))
            d[0, :first] = p[:first]
            d[1, first : first + 6] = d[2, first + 6 : first + 12] = d[3, first + 12 :] = p
            a += d.T @ q @ d
            v += d.T @ w
            solution.addConstraint(x, y, q, w)
        solution.solve()
        assert solution.nTerms == n
        np.testing.assert_allclose(solution.getM(), a, rtol=1e-12, atol=1e-12 * a.max())
        np.testing.assert_allclose(solution.getB(), v, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(solution.getA(), np.linalg.solve(a, v), rtol=1e-7, atol=1e-9)
        with pytest.raises(stillsky.ShapeError):
            solution.addConstraint(1, 1, np.eye(3), np.ones(3))


GRADIENT = np.array(
    [
        (1, 0, 0),
        (0.005, -1e-6, 1e-6),
        (0.005328, 4e-6, 4e-6),
        (-0.001, -3e-5, 3e-5),
        (0.00023, 1.5e-5, 1.5e-5),
        (-0.005, -5e-5, 5e-5),
    ]
)


@pytest.fixture(scope="module")
def gradientStars():
    """Nine stars whose kernel varies from pixel to pixel."""
    bases = makeAlardLuptonBasisList(10, 1, [2.5], [2])
    u = np.arange(-32, 32)
    g = np.exp(-(u**2) / 2.0)
    star = np.zeros((85, 85))
    star[10:74, 10:74] = 1e4 * np.outer(g, g) / g.sum() ** 2
    stars = []
    for i in range(3):
        for j in range(3):
            x, y = 128 * i + 64, 128 * j + 64
            yy, xx = np.mgrid[y - 32 : y + 33, x - 32 : x + 33]
            s = np.zeros_like(star)
            for b, (c0, cx, cy) in zip(images(bases), GRADIENT):
                s[10:75, 10:75] += (c0 + cx * xx + cy * yy) * correlate(star, b)
            stars.append((float(x), float(y), star, s))
    return bases, stars


def testStampConstantTermsAreBiasedByAGradient(gradientStars):
    bases, stars = gradientStars
    fields = compatible(spatialModelType="polynomial", spatialKernelOrder=1)
    parameters = np.array(_fit(stars, fields, bases, region=(0, 0, 384, 384)).getSolutionPair()[0].spatialParameters)
    wanted = [0.9999060547, 0.0049531490, 0.0052809816, -0.0009964493, 0.0002197470, -0.0050142028]
    np.testing.assert_allclose(parameters[:, 0], wanted, rtol=0, atol=1e-8)
    np.testing.assert_allclose(parameters[1:, 1:], GRADIENT[1:, 1:], rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", ["polynomial", "chebyshev1"])
def testTermsAtEveryPixelRecoverAGradient(gradientStars, model):
    bases, stars = gradientStars
    for fields in (
        settings(spatialModelType=model, spatialKernelOrder=1),
        settings(spatialModelType=model, spatialKernelOrder=1, scaledPolynomials=False),
        settings(
            spatialModelType=model,
            spatialKernelOrder=1,
            correctTemplateNoise=False,
            fitForBackground=True,
            spatialBgOrder=2,
        ),
    ):
        cut = settings(spatialModelType=model, spatialKernelOrder=1)
        cut.correctTemplateNoise = False
        fields.correctTemplateNoise = False
        kernel, background = _fit(stars, fields, bases, perPixel=True, region=(0, 0, 384, 384)).getSolutionPair()
        for x, y in [(0, 0), (192, 192), (383, 0), (64, 300)]:
            truth = np.einsum("i,iyx->yx", GRADIENT @ [1, x, y], images(bases))
            np.testing.assert_allclose(kernel.imageAt(x, y), truth, rtol=0, atol=1e-10)
        assert abs(background(100, 100)) < 1e-6
        if model == "polynomial":
            np.testing.assert_allclose(np.array(kernel.spatialParameters), GRADIENT, rtol=0, atol=1e-10)


def testStampsThatAreSmallPartsOfTheImageNeedFewMoments(rng):
    """Second order over 4096 pixels, linear within a stamp: as good as exact, and better than constant in a stamp."""
    bases = makeAlardLuptonBasisList(4, 1, [1.2], [1])
    region = (0, 0, 4096, 4096)
    c = np.zeros((len(bases), 6))
    c[0, 0] = 1.0
    c[1:] = 0.05 * rng.uniform(-1, 1, (len(bases) - 1, 6))
    stars = []
    for x, y in rng.uniform(40, 4050, (40, 2)):
        ix, iy = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        yy, xx = np.mgrid[-16:17, -16:17]
        t = 1e4 * np.exp(-((xx + ix - x) ** 2 + (yy + iy - y) ** 2) / 6)
        terms = _chebyshev(xx[4:-4, 4:-4] + ix, yy[4:-4, 4:-4] + iy, region, 2)
        s = np.zeros_like(t)
        s[4:-4, 4:-4] = sum(correlate(t, b) * np.tensordot(k, terms, 1) for b, k in zip(images(bases), c))
        stars.append((x, y, t, s))
    fields = settings(spatialModelType="chebyshev1", spatialKernelOrder=2, fitForBackground=True, spatialBgOrder=1)
    fields.correctTemplateNoise = False
    errors = {}
    for perPixel in (True, False):
        visitor = _fit(stars, fields, bases, perPixel=perPixel, region=region)
        kernel, _ = visitor.getSolutionPair()
        errors[perPixel] = max(
            np.abs(kernel.imageAt(x, y) - np.einsum("i,iyx->yx", c @ _chebyshev(x, y, region, 2), images(bases))).max()
            for x, y in ((0, 0), (2000, 2100), (4095, 0), (1000, 3000))
        )
    assert errors[True] < 2e-6 and errors[True] < 0.1 * errors[False]


def testPerPixelSystemEqualsTheDirectDesignMatrix(rng):
    """Moments against explicit columns C_i p_m per pixel, with masks, varying weights and unequal orders."""
    bases = makeAlardLuptonBasisList(4, 1, [1.2], [1])
    region = (-20, 30, 300, 250)
    for bgOrder, order in ((2, 1), (0, 2), (1, 1)):
        fields = settings(
            fitForBackground=True,
            spatialBgOrder=bgOrder,
            spatialKernelOrder=order,
            constantVarianceWeighting=False,
            correctTemplateNoise=False,
        )
        visitor = BuildSpatialKernelVisitor(bases, region, fields, True)
        cell = SpatialCell("all", region)
        rows, values = [], []
        for x, y in rng.uniform(60, 220, (6, 2)):
            t, s = rng.normal(size=(2, 25, 27))
            variance = rng.uniform(0.5, 2, t.shape).astype(np.float32)
            mask = np.zeros(t.shape, np.int32)
            mask[5:8, 20:22] = 2
            x0, y0 = int(x) - 13, int(y) - 12
            candidate = KernelCandidate(
                x, y, stamp(t, 0.0, 0, (x0, y0)), stamp(s, variance, mask, (x0, y0)), fields, 1.0
            )
            candidate.build(bases)
            cell.insertCandidate(candidate)
            c = design(bases, t, True)
            yy, xx = np.mgrid[y0 + 4 : y0 + 21, x0 + 4 : x0 + 23]
            p = np.array([_chebyshev(a, b, region, 2) for a, b in zip(xx.ravel(), yy.ravel())])
            nK, nBg = (order + 1) * (order + 2) // 2, (bgOrder + 1) * (bgOrder + 2) // 2
            columns = [c[:, :1], c[:, 1:2] * p[:, :nK], c[:, 2:3] * p[:, :nK], p[:, :nBg]]
            keep = goodRegion(mask, 9).ravel() == 0
            root = np.sqrt(1.0 / goodRegion(variance.astype(float), 9).ravel())[keep]
            rows.append(np.hstack(columns)[keep] * root[:, None])
            values.append(goodRegion(s, 9).ravel()[keep] * root)
        cell.visitCandidates(visitor)
        visitor.solveLinearEquation()
        solution = visitor.getKernelSolution()
        a, v = np.vstack(rows), np.concatenate(values)
        np.testing.assert_allclose(solution.getM(), a.T @ a, rtol=1e-9, atol=1e-9 * np.abs(a.T @ a).max())
        np.testing.assert_allclose(solution.getB(), a.T @ v, rtol=0, atol=1e-9 * np.abs(a.T @ v).max())
        np.testing.assert_allclose(solution.getA(), np.linalg.lstsq(a, v, rcond=None)[0], rtol=0, atol=1e-7)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("model", ["chebyshev1", "polynomial"])
def testShapesOfTheSolution(planted, order, model):
    _, _, stars = planted
    n = (order + 1) * (order + 2) // 2
    for fitBackground in (False, True):
        fields = settings(
            spatialModelType=model, spatialKernelOrder=order, spatialBgOrder=order, fitForBackground=fitBackground
        )
        kernel, background = _fit(stars, fields).getSolutionPair()
        parameters = kernel.spatialParameters
        if order == 0:
            assert not kernel.isSpatiallyVarying and len(kernel.kernelParameters) == 27 and not parameters
        else:
            assert len(parameters) == 27 and all(len(p) == n for p in parameters)
            assert parameters[0][0] != 0 and not any(parameters[0][1:])
        assert len(background.parameters) == (n if fitBackground else 1)
        if not fitBackground:
            assert background(3, 4) == 0.0


def testModelsOfOrderOneAgreeAndFollowTheOrigin(planted):
    _, _, stars = planted
    fields = {
        model: compatible(spatialModelType=model, spatialKernelOrder=1, fitForBackground=True)
        for model in ("chebyshev1", "polynomial")
    }
    fits = {model: _fit(stars, f) for model, f in fields.items()}
    kernels = {model: f.getSolutionPair() for model, f in fits.items()}
    a, b = kernels["chebyshev1"], kernels["polynomial"]
    assert a[0].spatialParameters[0][0] == pytest.approx(b[0].spatialParameters[0][0], abs=1e-5)
    assert a[1](0, 0) == pytest.approx(b[1].parameters[0], abs=1e-3)
    moved = [(x + 300, y - 200, t, s) for x, y, t, s in stars]
    region = (300, -200, 1024, 1024)
    shifted = {m: _fit(moved, f, region=region).getSolutionPair() for m, f in fields.items()}
    np.testing.assert_allclose(shifted["chebyshev1"][0].spatialParameters, a[0].spatialParameters, atol=1e-4)
    np.testing.assert_allclose(shifted["chebyshev1"][1].parameters, a[1].parameters, atol=1e-4)
    p, q = (np.array(k.spatialParameters) for k in (shifted["polynomial"][0], b[0]))
    np.testing.assert_allclose(p[:, 1:], q[:, 1:], atol=1e-7)
    assert np.abs(p[1:, 0] - q[1:, 0]).max() > 1e-3
    np.testing.assert_allclose(shifted["polynomial"][0].imageAt(700, 100), b[0].imageAt(400, 300), atol=1e-7)


def testScaledPolynomialsReproduceTheChebyshevKernel(rng):
    """Order 2 over 4096 pixels, where raw powers are numerically singular."""
    bases = defaultBasis()
    region = (0, 0, 4096, 4096)
    models = {
        m: SpatialKernelSolution(bases, region, settings(spatialModelType=m)) for m in ("chebyshev1", "polynomial")
    }
    for x, y in rng.uniform(0, 4096, (60, 2)):
        root = rng.normal(size=(27, 40))
        q, w = root @ root.T, rng.normal(size=27)
        for solution in models.values():
            solution.addConstraint(x, y, q, w)
    for solution in models.values():
        solution.solve()
    raw, chebyshev = models["polynomial"].getKernel(), models["chebyshev1"].getKernel()
    for x, y in rng.uniform(0, 4096, (100, 2)):
        wanted = chebyshev.imageAt(x, y)
        np.testing.assert_allclose(raw.imageAt(x, y), wanted, rtol=0, atol=1e-8 * max(1, np.abs(wanted).max()))
    assert models["polynomial"].getConditionNumber(KernelSolution.EIGENVALUE) < 1e4


def testOrderOfCandidatesAndThreadsDoNotMatter(rng, planted):
    _, _, stars = planted
    noisy = [(x, y, t, s + rng.normal(size=s.shape)) for x, y, t, s in stars]
    fields = settings(fitForBackground=True, spatialKernelOrder=1)
    results = []
    for threads, perPixel in ((1, True), (2, True), (1, False), (2, False)):
        with stillsky.numThreads(threads):
            results.append(_fit(noisy, fields, perPixel=perPixel).getKernelSolution().getA())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[2], results[3])
    # The sums run in the order of positions, whatever the order of the candidates: 1e-10 is wanted, not a bit changes.
    for perPixel, wanted in ((False, results[2]), (True, results[0])):
        shuffled = _fit([noisy[i] for i in rng.permutation(36)], fields, perPixel=perPixel).getKernelSolution()
        np.testing.assert_array_equal(shuffled.getA(), wanted)


def testBeforeSolvingEverythingRaises():
    solution = SpatialKernelSolution(defaultBasis(), REGION, settings())
    for call in (
        solution.solve,
        solution.getM,
        solution.getKernel,
        solution.getBackground,
        solution.getSolutionPair,
        solution.getKsum,
        lambda: solution.makeKernelImage((1, 1)),
    ):
        with pytest.raises(stillsky.StillskyError):
            call()


def testLeaveOneOutEqualsFittingWithoutTheCandidate(rng):
    from stillsky._core import spatialLeaveOneOut

    bases = makeAlardLuptonBasisList(3, 1, [1.0], [2])
    fields = settings(spatialKernelOrder=1, spatialBgOrder=1, fitForBackground=True)
    constraints = []
    for x, y in rng.uniform(0, 1000, (25, 2)):
        root = rng.normal(size=(7, 20))
        constraints.append((x, y, root @ root.T, rng.normal(size=7)))
    full = SpatialKernelSolution(bases, REGION, fields)
    for c in constraints:
        full.addConstraint(*c)
    full.solve()
    for k in (0, 7, 24):
        without = SpatialKernelSolution(bases, REGION, fields)
        for i, c in enumerate(constraints):
            if i != k:
                without.addConstraint(*c)
        without.solve()
        x, y, q, w = constraints[k]
        np.testing.assert_allclose(spatialLeaveOneOut(full, x, y, q, w), without.coefficientsAt(x, y), atol=1e-10)


def testCovarianceOfTheSpatialSolution(rng, planted):
    _, _, stars = planted
    fields = settings(spatialKernelOrder=1, calculateKernelUncertainty=True, correctTemplateNoise=False)
    bases = makeAlardLuptonBasisList(10, 1, [1.4], [2])
    some = stars[::4]
    sums, solution = [], None
    for _ in range(60):
        noisy = [(x, y, t, s + 2.0 * rng.normal(size=s.shape)) for x, y, t, s in some]
        solution = _fit(noisy, fields, bases).getKernelSolution()
        sums.append(solution.getKsum())
    assert np.std(sums) == pytest.approx(solution.kernelSumErrorAt(511.5, 511.5), rel=0.3)
    inverse = SymmetricSolver(solution.getM()).inverse()
    # Equal variances everywhere: the sandwich is the plain inverse.
    np.testing.assert_allclose(solution.getCovariance(), inverse, rtol=1e-4, atol=1e-6 * np.abs(inverse).max())


def testRenormalisedDuplicateDoesNotPoisonTheFit():
    bases = makeAlardLuptonBasisList(10, 2, [1.5, 1.5], [2, 2])
    assert all(np.all(np.isfinite(b)) for b in images(bases))
    again = renormalizeKernelList([*bases, bases[0]])
    solution = StaticKernelSolution(again, False)
    solution.build(gaussian(43, 1.5, 1e4), gaussian(43, 2.0, 1e4), np.ones((43, 43), np.float32))
    solution.solve()
    assert np.all(np.isfinite(solution.getA()))
