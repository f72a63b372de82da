"""The complete loop: who is rejected and why, what is lowered, what the result says about itself."""

import numpy as np
import pytest
from psfmatch_scenes import (
    NO_DATA,
    SAT,
    cellSetOf,
    compatible,
    correlate,
    defaultBasis,
    images,
    settings,
    simulatePair,
    stamp,
)

import stillsky
from stillsky.errors import DomainError
from stillsky.image import Image, Mask, MaskedImage
from stillsky.psfmatch import (
    KernelCandidate,
    NoKernelCandidatesError,
    SpatialCellCandidate,
    SpatialCellSet,
    fitSpatialKernel,
    makeAlardLuptonBasisList,
    makeDeltaFunctionBasisList,
    makeRegularizationMatrix,
)
from stillsky.psfmatch.algorithm import buildCellSet, stampBox
from stillsky.psfmatch.config import PsfMatchConfigAL
from stillsky.psfmatch.settings import makeSettings

BAD, GOOD, UNKNOWN = SpatialCellCandidate.BAD, SpatialCellCandidate.GOOD, SpatialCellCandidate.UNKNOWN


@pytest.fixture(scope="module")
def pair():
    return simulatePair(512, 64, 7)


def _fit(pair, fields, bases=None, h=None, **kwargs):
    positions, _, arrays = pair
    cellSet, candidates = cellSetOf(positions, arrays, fields, **kwargs)
    return fitSpatialKernel(cellSet, bases or defaultBasis(), fields, h), candidates, cellSet


def testDefaultFitMatchesTheNoiseFreeScience(pair):
    positions, flux, _ = pair
    fit, candidates, _ = _fit(pair, settings(spatialKernelOrder=1, fitForBackground=True))
    assert fit.perPixel and fit.converged and fit.nIterations == 0
    assert fit.nTotal == 64 == fit.nGood + fit.nBad + fit.nUnknown and fit.nUsed == fit.nGood
    assert fit.kernelSum == pytest.approx(1.0, abs=4 * fit.kernelSumError)
    n = 512
    for (x, y), f in list(zip(positions, flux))[::9]:
        cx, cy = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        yy, xx = np.mgrid[cy - 20 : cy + 21, cx - 20 : cx + 21]
        t = f / (2 * np.pi * 1.8**2) * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 1.8**2))
        sx, sy = 2.4 + 0.25 * x / n, 2.4 + 0.2 * y / n - 0.1 * (x / n) * (y / n)
        s = f / (2 * np.pi * sx * sy) * np.exp(-((xx - x) ** 2) / 2 / sx**2 - (yy - y) ** 2 / 2 / sy**2)
        left = s[10:31, 10:31] - correlate(t, fit.kernel.imageAt(x, y))
        assert np.abs(left).max() < 0.05 * s.max()
        assert abs(left.sum()) < 0.01 * f


def testResidualsAreChiDistributedAndLeaveOneOutIsFreeOfOverfitting(pair):
    fit, _, _ = _fit(pair, settings(spatialKernelOrder=1, fitForBackground=True))
    used = [c for c in fit.candidates if c["usedInFit"]]
    single, spatial, loo = (np.array([c[k] for c in used]) for k in ("singleRms", "spatialRms", "looRms"))
    assert np.median(single) < np.median(spatial) < np.median(loo)
    assert 0.95 < np.median(loo) < 1.08
    assert np.all(np.isfinite([c["looChi2"] for c in used]))
    assert all(np.isnan(c["looRms"]) for c in fit.candidates if not c["usedInFit"])


def testLeaveOneOutDiagnosticEqualsARealFitWithoutTheStar(pair):
    fields = compatible(
        spatialKernelOrder=1,
        singleKernelClipping=False,
        kernelSumClipping=False,
        spatialKernelClipping=False,
        nStarPerCell=-1,
    )
    positions, _, arrays = pair
    full, candidates, _ = _fit(pair, fields)
    star = 20
    rest = [p for i, p in enumerate(positions) if i != star]
    cellSet, _ = cellSetOf(rest, arrays, fields)
    without = fitSpatialKernel(cellSet, defaultBasis(), fields)
    image = candidates[star].getDifferenceImage(without.kernel, 0.0)
    chi = image.image.array / np.sqrt(image.variance.array)
    chi = chi[np.isfinite(chi)]
    report = next(c for c in full.candidates if c["id"] == candidates[star].id)
    assert report["looRms"] == pytest.approx(np.std(chi, ddof=1), rel=1e-4)
    assert report["looChi2"] == pytest.approx(np.mean(chi**2), rel=1e-4)


def testAVariableStarGivesItsPlaceToItsSuccessor():
    rng = np.random.default_rng(1)
    fields = compatible(nStarPerCell=1, spatialKernelOrder=1)
    cellSet = SpatialCellSet((0, 0, 300, 300), 100)
    basis = makeAlardLuptonBasisList(10, 1, [1.6], [2])
    bases, table = images(basis), {}
    kernel = bases[0]
    for cy in range(3):
        for cx in range(3):
            for k in range(3):
                y, x = np.mgrid[:43, :43] - 21.0
                flux = 1e5 * (3 - k)
                t = flux / (2 * np.pi * 2.25) * np.exp(-(x**2 + y**2) / 4.5)
                s = np.zeros_like(t)
                s[10:33, 10:33] = correlate(t, kernel) * (2 if (cx, cy, k) == (1, 1, 0) else 1)
                sigma = flux / 100 / 12
                stamps = [stamp(t, 0.0), stamp(s + sigma * rng.normal(size=s.shape), sigma**2)]
                candidate = KernelCandidate(
                    100 * cx + 50 + k, 100 * cy + 50, *stamps, fields, flux * (2 if (cx, cy, k) == (1, 1, 0) else 1)
                )
                cellSet.insertCandidate(candidate)
                table[cx, cy, k] = candidate
    fit = fitSpatialKernel(cellSet, basis, fields)
    assert table[1, 1, 0].status == BAD and table[1, 1, 0].rejection == "kernelSum"
    assert table[1, 1, 1].status == GOOD and table[1, 1, 2].status == UNKNOWN
    assert fit.kernelSum == pytest.approx(1.0, abs=1e-2)
    assert fit.rejected["kernelSum"] == 1 and fit.nUsed == 9


def testVariableStarsAndDisplacedStarsAreFound():
    pair = simulatePair(512, 64, 11, double=(3, 40))
    for fields in (settings(spatialKernelOrder=1), compatible(spatialKernelOrder=1)):
        _, candidates, _ = _fit(pair, fields)
        assert candidates[3].rejection == candidates[40].rejection == "kernelSum"


def testNobodyLeftIsAnErrorOfItsOwn(pair):
    fields = settings(candidateResidualStdMax=0.01)
    with pytest.raises(NoKernelCandidatesError) as caught:
        _fit(pair, fields)
    assert isinstance(caught.value, stillsky.NoDataError) and caught.value.metadata == {}
    with pytest.raises(NoKernelCandidatesError):
        fitSpatialKernel(SpatialCellSet((0, 0, 100, 100), 50), defaultBasis(), settings())


def testConditionCheckRejectingAllSaysSo(pair):
    with pytest.raises(NoKernelCandidatesError):
        _fit(pair, settings(checkConditionNumber=True, maxConditionNumber=1e3))


def testOneCandidateIsFittedAtOrderZero(pair):
    positions, flux, arrays = pair
    one = (positions[:1], flux[:1], arrays)
    fit, _, _ = _fit(one, settings(fitForBackground=True))
    assert (fit.spatialKernelOrderUsed, fit.spatialBgOrderUsed, fit.nUsed) == (0, 0, 1)
    assert any("lowered" in w for w in fit.warnings)
    reference, _, _ = _fit(one, compatible())
    assert reference.spatialKernelOrderUsed == 2
    assert any("underconstrained" in w for w in reference.warnings)


def testOrdersFollowTheNumberOfCandidatesSeparately(pair):
    positions, flux, arrays = pair
    few = (positions[::8], flux[::8], arrays)
    fit, _, _ = _fit(few, settings(fitForBackground=True, spatialKernelOrder=2, spatialBgOrder=1))
    assert fit.nUsed == 8 and (fit.spatialKernelOrderUsed, fit.spatialBgOrderUsed) == (1, 1)
    assert len(fit.kernel.spatialParameters[0]) == 3


def testPhotometricOrderFollowsATransparencyGradient(pair):
    positions, flux, (t, s, vt, vs) = pair
    y, x = np.mgrid[:512, :512]
    gradient = (1 + 0.1 * (x - 256) / 256).astype(np.float32)
    tilted = (positions, flux, [t, s * gradient, vt, vs * gradient**2])
    constant, _, _ = _fit(tilted, settings(spatialKernelOrder=1))
    linear, _, _ = _fit(tilted, settings(spatialKernelOrder=1, spatialPhotometricOrder=1))
    for px in (60, 256, 450):
        assert linear.solution.kernelSumAt(px, 256) == pytest.approx(1 + 0.1 * (px - 256) / 256, abs=0.006)
    assert constant.solution.kernelSumAt(60, 256) == pytest.approx(constant.solution.kernelSumAt(450, 256), abs=1e-12)


def testThreadsDoNotChangeABit(pair):
    results = []
    for threads in (1, 2, 7):
        with stillsky.numThreads(threads):
            fit, _, _ = _fit(pair, settings(spatialKernelOrder=1, fitForBackground=True))
        results.append((fit.solution.getA(), [c["looRms"] for c in fit.candidates]))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0][0], other[0])
        np.testing.assert_array_equal(results[0][1], other[1])


def testKernelSumIsNotBiasedByTheNoiseOfTheTemplate():
    """Faint stars and a template as noisy as the science image: plain least squares loses flux."""
    sums = {True: [], False: []}
    errors = []
    for seed in range(3):
        pair = simulatePair(768, 144, seed, noiseT=10.0, fluxes=(1e3, 4e3))
        for corrected in sums:
            fields = settings(spatialKernelOrder=1, correctTemplateNoise=corrected, fitForBackground=True)
            fit, _, _ = _fit(pair, fields)
            sums[corrected].append(fit.kernelSum)
            errors.append(fit.kernelSumError)
    error = np.mean(errors) / np.sqrt(3)
    assert abs(np.mean(sums[True]) - 1) < 3 * error
    assert np.mean(sums[False]) < np.mean(sums[True]) - 0.015


def testMaskedPixelsDoNotCostAStar(pair):
    positions, flux, arrays = pair
    spoiled = [a.copy() for a in arrays]
    mask = np.zeros((512, 512), np.int32)
    for x, y in positions[::2]:
        cut = (slice(int(y) + 4, int(y) + 6), slice(int(x) - 2, int(x) + 3))
        mask[cut] = SAT
        spoiled[1][cut] = 6e4
    cellSet, candidates = cellSetOf(positions, arrays, settings())
    masked = []
    for x, y in positions:
        cx, cy = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        cut = (slice(cy - 20, cy + 21), slice(cx - 20, cx + 21))
        t, s, vt, vs = (a[cut] for a in spoiled)
        masked.append((x, y, stamp(t, vt, 0, (cx - 20, cy - 20)), stamp(s, vs, mask[cut], (cx - 20, cy - 20))))
    fits = {}
    for name, fields in (("weights", settings(spatialKernelOrder=1)), ("ignored", compatible(spatialKernelOrder=1))):
        cells = SpatialCellSet((0, 0, 512, 512), 128)
        for x, y, t, s in masked:
            cells.insertCandidate(KernelCandidate(x, y, t, s, fields, 1.0))
        fits[name] = fitSpatialKernel(cells, defaultBasis(), fields)
    assert fits["weights"].nBad <= 2
    assert abs(fits["weights"].kernelSum - 1) < 0.005
    assert fits["ignored"].nBad > 20


def testNonFinitePixelsHaveOneFate(pair):
    positions, flux, arrays = pair
    for where, outcome in (((0, 0), "construction"), ((8, 0), "none"), ((19, 19), "none")):
        spoiled = [a.copy() for a in arrays]
        x, y = (int(np.floor(v + 0.5)) for v in positions[10])
        spoiled[1][y + where[1], x + where[0]] = np.nan
        fit, candidates, _ = _fit((positions, flux, spoiled), settings(spatialKernelOrder=1))
        assert candidates[10].rejection == outcome
        assert fit.rejected["construction"] == (outcome == "construction")
    reference, candidates, _ = _fit((positions, flux, spoiled), compatible(spatialKernelOrder=1))
    assert candidates[10].rejection == "none"  # the outer border does not enter the fit


@pytest.mark.parametrize("pca", [True, False])
def testDeltaFunctionsWithRegularisation(pca):
    pair = simulatePair(256, 9, 5)
    h = np.asarray(makeRegularizationMatrix("centralDifference", 11, 11, fitForBackground=False))
    fields = settings(
        kernelBasisSet="delta-function",
        spatialKernelOrder=1,
        usePcaForSpatialKernel=pca,
        useRegularization=True,
        numPrincipalComponents=3,
        candidateResidualStdMax=3.0,
    )
    fit, candidates, _ = _fit(pair, fields, makeDeltaFunctionBasisList(11, 11), h)
    assert fit.kernelSum == pytest.approx(1.0, abs=0.02)
    parameters = fit.kernel.spatialParameters
    assert len(parameters) == (3 if pca else 121)
    if pca:
        assert parameters[0][1:] == [0.0, 0.0]
        assert len(fit.basisList) == 3
    else:
        assert np.any(np.abs(parameters[60][1:]) > 0)


def testWarningsNameWhatIsWrong(pair):
    fit, _, _ = _fit(pair, settings(maxSpatialConditionNumber=10.0))
    assert any("condition" in w for w in fit.warnings)
    assert fit.conditionNumber > 10


def testNoDataBorderIsHarmlessWhenNotListed(pair):
    positions, flux, arrays = pair
    fields = settings(spatialKernelOrder=1, badMaskPlanes=["SAT"])
    fit, _, _ = _fit(pair, fields, mask=np.full((512, 512), NO_DATA * 0, np.int32))
    assert fit.nUsed > 50


def testAllCandidatesAtOnceAreThoseMadeOneByOne(rng):
    shape, half = (120, 150), 10
    planes = [
        MaskedImage(
            Image(rng.normal(0, 1, shape).astype(np.float32), (30, 40)),
            Mask(rng.integers(0, 4, shape).astype(np.int32), (30, 40)),
            Image(rng.uniform(1, 2, shape).astype(np.float32), (30, 40)),
        )
        for _ in range(2)
    ]
    config = PsfMatchConfigAL()
    fields = makeSettings(config, planes[0].mask)
    x, y = rng.uniform(25, 185, 40), rng.uniform(35, 165, 40)
    cells, nOutside = buildCellSet(*planes, x, y, np.arange(40.0), half, config, fields)
    made = {c.rating: c for cell in cells.cells for c in cell.candidates}
    inside = [k for k in range(40) if planes[0].bbox.contains(stampBox(x[k], y[k], half))]
    assert 5 < len(inside) < 40 and nOutside == 40 - len(inside) and sorted(made) == inside
    for k in inside:
        box = stampBox(x[k], y[k], half)
        assert (made[k].xCenter, made[k].yCenter) == (x[k], y[k])
        for got, wanted in (
            (made[k].getTemplateMaskedImage(), planes[0][box]),
            (made[k].getScienceMaskedImage(), planes[1][box]),
        ):
            assert tuple(got.xy0) == tuple(box.min)
            for a, b in zip(got.planes, wanted.planes):
                np.testing.assert_array_equal(a.array, b.array)
    with pytest.raises(DomainError):
        buildCellSet(*planes, [np.nan], [50.0], [1.0], half, config, fields)
