"""Defects of the common practice that stay repaired, and the option ``compat`` that brings back what others rely on."""

import os

import numpy as np
import pytest
from psfmatch_scenes import (
    NO_DATA,
    SAT,
    cellSetOf,
    compatible,
    correlate,
    defaultBasis,
    gaussian,
    goodRegion,
    settings,
    simulatePair,
    stamp,
)

from stillsky.psfmatch import (
    AssessSpatialKernelVisitor,
    BuildSingleKernelVisitor,
    KernelCandidate,
    MaskedKernelSolution,
    RegularizedKernelSolution,
    SpatialCell,
    SpatialCellCandidate,
    SpatialCellSet,
    conditionNumber,
    fitSpatialKernel,
    leastSquaresQr,
    makeAlardLuptonBasisList,
    makeDeltaFunctionBasisList,
    makeKernelCandidate,
    makeRegularizationMatrix,
)
from stillsky.psfmatch.config import PsfMatchConfigDF

BAD, GOOD, UNKNOWN = SpatialCellCandidate.BAD, SpatialCellCandidate.GOOD, SpatialCellCandidate.UNKNOWN
ORIG, PCA, RECENT = KernelCandidate.ORIG, KernelCandidate.PCA, KernelCandidate.RECENT


@pytest.fixture(scope="module")
def pair():
    return simulatePair(512, 64, 7)


def _stars(fluxes, fields, sigma=2.0, size=43):
    """Noise-free stars whose rating is their flux."""
    out = []
    for k, flux in enumerate(fluxes):
        t, s = gaussian(size, 1.5, flux), gaussian(size, sigma, flux)
        out.append(KernelCandidate(50.0 + k, 50.0, stamp(t), stamp(s), fields, float(flux)))
    return out


def testALambdaAtTheEndOfItsGridIsWarnedOf(pair):
    """The grid has 31 points with the default steps; a minimum at its end says that the grid is too narrow."""
    positions, _, arrays = pair
    size = 7
    fields = dict(kernelBasisSet="delta-function", spatialKernelOrder=0, lambdaType="minimizeUnbiasedRisk",
                  singleKernelClipping=False, spatialKernelClipping=False)  # fmt: skip
    h = np.asarray(makeRegularizationMatrix("centralDifference", size, size, fitForBackground=False))
    results = {}
    for name, limits in {"narrow": (-9.0, -8.0), "wide": (-4.0, 10.0)}.items():
        choice = settings(**fields, lambdaMin=limits[0], lambdaMax=limits[1], lambdaStep=0.5)
        cellSet, _ = cellSetOf(positions[::8], arrays, choice)
        results[name] = fitSpatialKernel(cellSet, makeDeltaFunctionBasisList(size, size), choice, h).warnings
    assert any("lambda grid" in w for w in results["narrow"])
    assert not any("lambda grid" in w for w in results["wide"])


def testConditionOfARegularisedCandidateIsThatOfTheMatrixSolved():
    """A stamp that determines little: M alone is singular, M + lambda H is what is solved and judged."""
    bases = makeDeltaFunctionBasisList(5, 5)
    h = np.asarray(makeRegularizationMatrix("centralDifference", 5, 5, fitForBackground=False))
    t, s = gaussian(21, 2.5, 1e3), gaussian(21, 3.0, 1e3)
    common = dict(kernelBasisSet="delta-function", checkConditionNumber=True, lambdaValue=10.0)
    plain = RegularizedKernelSolution(bases, False, h, settings(**common))
    plain.build(t, s, np.ones(t.shape, np.float32))
    plain.solve()
    conditions = [conditionNumber(plain.getM(flag), plain.EIGENVALUE) for flag in (True, False)]
    assert abs(conditions[1]) > 3 * conditions[0] > 0
    limit = 2 * conditions[0]
    for make, bad in ((settings, False), (compatible, True)):
        fields = make(**common, maxConditionNumber=limit, **({} if bad else {"correctTemplateNoise": False}))
        candidate = KernelCandidate(10, 10, stamp(t), stamp(s), fields, 1.0)
        candidate.build(bases, h)
        assert candidate.isBad() is bad


def testExceptionsInsideStatisticsCountAsRejections():
    """A difference that is not finite makes the inner loop run once more and fill the cell; compat does not count it."""
    counts = {}
    for make in (settings, compatible):
        fields = make(badMaskPlanes=[], nStarPerCell=1, correctTemplateNoise=False, maskWeights=False)
        stars = _stars([3e4, 2e4], fields)
        t, s = gaussian(43, 1.5, 3e4), gaussian(43, 2.0, 3e4)
        variance = np.ones(t.shape)
        variance[21, 21] = -1.0  # its square root is not a number
        stars[0] = KernelCandidate(50.0, 50.0, stamp(t, 0.0), stamp(s, variance), fields, 3e4)
        visitor = BuildSingleKernelVisitor(defaultBasis(), fields)
        SpatialCell("cell", (0, 0, 128, 128), stars).visitCandidates(visitor, 1)
        counts[make] = (visitor.nRejected, stars[0].status, stars[0].rejection)
    assert counts[settings] == (1, BAD, "statistics")
    assert counts[compatible][:2] == (0, BAD)


def _cellWithSuccessors(fields):
    """Nine cells; in the first, a faint star does not fit the others' kernel and has an unbuilt successor."""
    rng = np.random.default_rng(2)
    cellSet = SpatialCellSet((0, 0, 300, 300), 100)
    table = {}
    for cy in range(3):
        for cx in range(3):
            for k in range(2):
                sigma = 2.6 if (cx, cy, k) == (0, 0, 0) else 2.0
                flux = (1e4 if cx == cy == 0 else 1e5) / (k + 1)
                t, s = gaussian(43, 1.5, flux), gaussian(43, sigma, flux)
                stamps = [stamp(a + rng.normal(size=a.shape), 1.0) for a in (t, s)]
                star = KernelCandidate(100.0 * cx + 50 + k, 100.0 * cy + 50, *stamps, fields, flux)
                cellSet.insertCandidate(star)
                table[cx, cy, k] = star
    return cellSet, table


@pytest.mark.parametrize("replace", [True, False])
def testReplacementsOfTheLastFitAreBuiltFirst(replace):
    """One iteration allowed: who steps in for a rejected star is fitted on its own before the last spatial fit."""
    fields = settings(
        nStarPerCell=1, maxSpatialIterations=1, spatialKernelOrder=0, kernelSumClipping=False, buildReplacements=replace
    )
    cellSet, table = _cellWithSuccessors(fields)
    fit = fitSpatialKernel(cellSet, defaultBasis(), fields)
    assert not fit.converged and table[0, 0, 0].status == BAD
    assert fit.rejected["unbuilt"] == (0 if replace else 1)
    assert table[0, 0, 1].status == (GOOD if replace else BAD)
    assert table[0, 0, 1].isInitialized() is replace


def testTheFinalFitIsAssessedForDiagnosticsAlone():
    fields = settings(nStarPerCell=1, maxSpatialIterations=1, spatialKernelOrder=0, kernelSumClipping=False)
    cellSet, table = _cellWithSuccessors(fields)
    fit = fitSpatialKernel(cellSet, defaultBasis(), fields)
    used = [c for c in fit.candidates if c["usedInFit"]]
    assert len(used) == fit.nUsed == 9
    for report in used:
        star = next(s for s in table.values() if s.id == report["id"])
        visitor = AssessSpatialKernelVisitor(fit.kernel, fit.background, fields)
        image = star.getDifferenceImage(fit.kernel, fit.background(star.xCenter, star.yCenter))
        chi = image.image.array / np.sqrt(image.variance.array)
        assert report["spatialRms"] == pytest.approx(np.std(chi[np.isfinite(chi)], ddof=1), rel=1e-5)
        assert visitor.nRejected == 0 and star.status == GOOD


def testRatingsThatAreNotNumbersComeLast():
    fields = settings()
    t, s = (stamp(gaussian(43, sigma, 1e4)) for sigma in (1.5, 2.0))
    masked = stamp(gaussian(43, 2.0, 1e4), 1.0, SAT)
    noCore = KernelCandidate(1, 1, t, masked, fields)
    noFlux = makeKernelCandidate({"x": 2.0, "y": 2.0, "psfFlux": float("nan")}, t, s, fields)
    faint = KernelCandidate(3, 3, t, s, fields, -1e30)
    for order in ([noCore, faint, noFlux], [faint, noFlux, noCore]):
        cell = SpatialCell("cell", (0, 0, 100, 100), order)
        assert next(iter(cell)).id == faint.id


def testNoFilesAreWrittenAndEdgesAreLeftOut(tmp_path, monkeypatch):
    """Pixels on which the kernel does not fit take no part, with or without the mask plane EDGE."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(8)
    t, s = (gaussian(43, sigma, 1e4) + rng.normal(size=(43, 43)) for sigma in (1.5, 2.0))
    bases = makeAlardLuptonBasisList(4, 1, [1.5], [2])
    mask = np.zeros(t.shape, np.int32)
    spoiled = s.copy()
    spoiled[:4] = spoiled[-4:] = np.nan  # the border that is never computed
    solution = MaskedKernelSolution(bases, True)
    solution.buildWithMask(t, spoiled, np.ones(t.shape, np.float32), mask)
    solution.solve()
    columns = [correlate(t, b.imageAt(0, 0)).ravel() for b in bases] + [np.ones(35 * 35)]
    wanted = leastSquaresQr(np.array(columns).T, goodRegion(s, 9).ravel())
    np.testing.assert_allclose(solution.getA(), wanted, rtol=1e-9, atol=1e-9)
    assert os.listdir(tmp_path) == []


def testComponentsOfAnEarlierFitAreForgotten(pair):
    """The same cells, first with principal components, then without: the second fit equals a fresh one."""
    positions, _, arrays = pair
    some = positions[::4]
    common = dict(spatialKernelOrder=0, nStarPerCell=-1, singleKernelClipping=False, kernelSumClipping=False)
    with_, without = (settings(**common, usePcaForSpatialKernel=flag) for flag in (True, False))
    cellSet, candidates = cellSetOf(some, arrays, without)
    components = fitSpatialKernel(cellSet, defaultBasis(), with_)
    assert 2 <= len(components.basisList) <= 5
    again = fitSpatialKernel(cellSet, defaultBasis(), without)
    fresh = fitSpatialKernel(cellSetOf(some, arrays, without)[0], defaultBasis(), without)
    assert len(again.basisList) == 27
    np.testing.assert_array_equal(again.kernel.imageAt(256, 256), fresh.kernel.imageAt(256, 256))
    assert candidates[0].getKsum(RECENT) == candidates[0].getKsum(ORIG)


def testComponentsWithoutVarianceAreDropped():
    """All kernels alike but for rounding: what remains is the mean, not noise blown up to unit norm."""
    fields = settings(usePcaForSpatialKernel=True, numPrincipalComponents=5, spatialKernelOrder=0,
                      subtractMeanForPca=False, correctTemplateNoise=False)  # fmt: skip
    cellSet = SpatialCellSet((0, 0, 128, 128), 128)
    for star in _stars([1e4, 2e4, 4e4, 8e4], fields):
        cellSet.insertCandidate(star)
    fit = fitSpatialKernel(cellSet, defaultBasis(), fields)
    assert len(fit.basisList) < 4
    assert all(np.isfinite(b.imageAt(0, 0)).all() for b in fit.basisList)
    assert fit.kernelSum == pytest.approx(1.0, abs=1e-3)


def testForwardDifferencesFollowTheConfiguration():
    config = PsfMatchConfigDF()
    config.kernelSize, config.regularizationType = 5, "forwardDifference"
    options = dict(fitForBackground=False, regularizationBorderPenalty=3.0)
    apart = makeRegularizationMatrix("forwardDifference", 5, 5, **options)
    np.testing.assert_array_equal(makeRegularizationMatrix(config), apart)
    config.compat = True
    summed = makeRegularizationMatrix("forwardDifference", 5, 5, sumBeforeSquaring=True, **options)
    np.testing.assert_array_equal(makeRegularizationMatrix(config), summed)
    assert np.abs(summed - apart).max() > 1


def testMaskedStampsCostAStarOnlyWhenCompatible():
    """A saturated neighbour in the corner of a science stamp: weight zero by default, spoiling the fit with compat."""
    t, s = gaussian(43, 1.5, 1e5), gaussian(43, 2.0, 1e5)
    mask = np.zeros(t.shape, np.int32)
    mask[12:14, 29:31] = SAT | NO_DATA
    spoiled = np.where(mask > 0, 5e4, s)
    sums = {}
    for make in (settings, compatible):
        candidate = KernelCandidate(21, 21, stamp(t), stamp(spoiled, 1.0, mask), make(), 1.0)
        candidate.build(defaultBasis())
        sums[make] = candidate.getKsum(ORIG)
    assert sums[settings] == pytest.approx(1.0, abs=2e-3)
    assert abs(sums[compatible] - 1.0) > 0.1
