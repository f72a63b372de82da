"""Images that determine no kernel, and solutions that are not finite, are errors that say why."""

import numpy as np
import pytest
from psfmatch_scenes import cellSetOf, compatible, defaultBasis, gaussian, settings, simulatePair, stamp

import stillsky
from stillsky.image import makeExposure
from stillsky.psfmatch import (
    BuildSingleKernelVisitor,
    KernelCandidate,
    KernelSumVisitor,
    MaskedKernelSolution,
    NoKernelCandidatesError,
    SpatialCell,
    SpatialKernelSolution,
    StaticKernelSolution,
    fitSpatialKernel,
    makeAlardLuptonBasisList,
    makeDeltaFunctionBasisList,
)
from stillsky.psfmatch.algorithm import fitMatchingKernel
from stillsky.psfmatch.basis import makeKernelBasisList
from stillsky.psfmatch.config import PsfMatchConfigAL

SIZE = 256


def _fit(template, science, background=True, compat=False):
    """The whole fit of two images with variance 1, candidates on a grid."""
    config = PsfMatchConfigAL()
    config.fitForBackground, config.compat = background, compat
    pair = [
        makeExposure(np.full((SIZE, SIZE), image, np.float32), variance=np.ones((SIZE, SIZE), np.float32)).maskedImage
        for image in (template, science)
    ]
    x, y = (v.ravel() for v in np.meshgrid(np.arange(40, SIZE - 30, 45), np.arange(40, SIZE - 30, 45)))
    return fitMatchingKernel(*pair, x, y, np.ones(x.size), makeKernelBasisList(config, 3.0, 4.0), config)


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("level", [0.0, 100.0])
def testAConstantTemplateDeterminesNoKernel(rng, level, background, compat):
    noisy = 50.0 + rng.normal(size=(SIZE, SIZE))
    for science in (level / 2, noisy):
        with pytest.raises(NoKernelCandidatesError, match=r"rejected because of build .*template stamp is constant"):
            _fit(level, science, background, compat)


def testTwoZeroImagesDetermineNoKernel():
    with pytest.raises(NoKernelCandidatesError, match="25 of 25 were rejected"):
        _fit(0.0, 0.0)


def testAZeroScienceImageHasNoKernelSum(rng):
    """The template has sources, the image to be matched has none: the answer, no flux at all, is of use to nobody."""
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    stars = sum(
        1e3 * np.exp(-((x - i) ** 2 + (y - j) ** 2) / 8.0) for i in range(40, 230, 45) for j in range(40, 230, 45)
    )
    with pytest.raises(stillsky.NumericalError, match="kernel sum is 0"):
        _fit(stars, 0.0, background=False)


def testAConstantStampIsRefusedByEveryKindOfFit():
    """Also where a masked pixel of another value is all that varies; without background, one function has an answer."""
    constant, ones = np.full((31, 31), 7.0), np.ones((31, 31), np.float32)
    for bases in (makeDeltaFunctionBasisList(5, 5), makeAlardLuptonBasisList(5, 1, [1.5], [2])):
        for background in (False, True):
            with pytest.raises(stillsky.NumericalError, match="template stamp is constant"):
                StaticKernelSolution(bases, background).build(constant, 2 * constant, ones)
    spike = constant.copy()
    spike[15, 15] = 1e5
    mask = np.zeros((31, 31), np.int32)
    mask[15, 15] = 1
    masked = MaskedKernelSolution(makeAlardLuptonBasisList(5, 1, [1.5], [2]), True)
    with pytest.raises(stillsky.NumericalError, match="template stamp is constant"):
        masked.build(spike, constant, ones, mask, mask, 1)
    alone = makeAlardLuptonBasisList(5, 1, [1.5], [0])
    scale = StaticKernelSolution(alone, False)
    scale.build(constant, 2 * constant, ones)
    scale.solve()
    assert scale.getKsum() == pytest.approx(2.0, rel=1e-12)
    with pytest.raises(stillsky.NumericalError, match="beside a background"):
        StaticKernelSolution(alone, True).build(constant, 2 * constant, ones)


def testAStarOnAHighPedestalIsNoConstant():
    """1e-6 of the level is the limit; a star of a thousandth of it is matched as on an empty sky."""
    bases, ones = makeAlardLuptonBasisList(5, 1, [1.5], [2]), np.ones((31, 31), np.float32)
    sums = []
    for pedestal in (0.0, 1e4):
        solution = StaticKernelSolution(bases, True)
        t, s = (pedestal + gaussian(31, sigma, 200.0) for sigma in (1.8, 2.2))
        solution.build(t, s, ones)
        solution.solve()
        sums.append(solution.getKsum())
    assert sums[1] == pytest.approx(sums[0], rel=1e-6)


@pytest.mark.parametrize(
    "order, broken, message",
    [
        (0, 0, r"coefficient 0 \(basis function 0, not varying\) is not finite"),
        (1, 1, r"coefficient 1 \(basis function 1, spatial term 0\) is not finite"),
        (1, 27, r"coefficient 79 \(the background, spatial term 0\) is not finite"),
    ],
)
def testASolutionThatIsNotFiniteIsNamedWithIndexAndConditionNumber(order, broken, message):
    """One unknown overflows: its row of the normal equations is 1e-200, its right-hand side 1e150."""
    fields = settings(fitForBackground=True, spatialKernelOrder=order, spatialBgOrder=1)
    q, w = np.eye(28), np.ones(28)
    q[broken, broken], w[broken] = 1e-200, 1e150
    solution = SpatialKernelSolution(defaultBasis(), (0, 0, 100, 100), fields)
    for x, y in ((10.0, 20.0), (90.0, 30.0), (50.0, 80.0), (20.0, 90.0)):
        solution.addConstraint(x, y, q, w)
    with pytest.raises(stillsky.NumericalError, match=message + r" \(condition number \S+e\S+\)"):
        solution.solve()


def testNormalEquationsThatAreNotFiniteAreNamedWithTheConditionNumber():
    for place in ("matrix", "right"):
        q, w = np.eye(27), np.ones(27)
        if place == "matrix":
            q[3, 3] = np.nan
        else:
            w[3] = np.nan
        solution = SpatialKernelSolution(defaultBasis(), (0, 0, 100, 100), settings(spatialKernelOrder=0))
        solution.addConstraint(50.0, 50.0, q, w)
        with pytest.raises(stillsky.NumericalError, match=r"condition number \S+"):
            solution.solve()


def _candidates(sums, errors, fields):
    """Single pixels: template 1, science the wanted sum, variance the square of the wanted error."""
    out = []
    for value, error in zip(sums, errors, strict=True):
        cut = stamp([[1.0]], 0.0), stamp([[value]], error**2)
        candidate = KernelCandidate(0.0, 0.0, *cut, fields, 1.0)
        out.append(candidate)
    return out


def _distribution(sums, errors, make):
    fields = make(
        constantVarianceWeighting=False, singleKernelClipping=False, badMaskPlanes=[], correctTemplateNoise=False
    )
    candidates = _candidates(sums, errors, fields)
    cell = SpatialCell("cell", (0, 0, 10, 10), candidates)
    # A single pixel has no residual scatter; the error of the sum is what the build leaves behind.
    cell.visitCandidates(BuildSingleKernelVisitor(makeDeltaFunctionBasisList(1, 1), fields), len(sums), True, True)
    visitor = KernelSumVisitor(fields)
    visitor.mode = KernelSumVisitor.AGGREGATE
    for candidate in candidates:
        visitor.processCandidate(candidate)
    visitor.processKsumDistribution()
    return visitor


def testTheMeanKernelSumIsWeightedByFormalErrors(rng):
    """Two thirds faint stars, one third bright ones: the mean has the error of the weighted mean, not of the plain."""
    errors = np.array([0.05, 0.05, 0.002] * 40)
    deviations = {"weighted": [], "plain": []}
    for _ in range(60):
        sums = 1.0 + errors * rng.normal(size=errors.size)
        deviations["weighted"].append(_distribution(sums, errors, settings).kSumMean - 1.0)
        deviations["plain"].append(_distribution(sums, errors, compatible).kSumMean - 1.0)
    best = 1.0 / np.sqrt(np.sum(errors**-2.0))
    spread = {name: np.std(values) for name, values in deviations.items()}
    assert spread["plain"] > 5 * best  # clipped, but blind to the errors
    assert spread["weighted"] < 2 * best


def testEqualErrorsAndScatterBeyondThemLeaveThePlainMean(rng):
    sums = 1.0 + 0.01 * rng.normal(size=200)
    clipped = _distribution(sums, np.full(200, 0.01), compatible).kSumMean
    assert _distribution(sums, np.full(200, 0.01), settings).kSumMean == pytest.approx(clipped, abs=1e-9)
    # Errors of no consequence beside the true scatter: all stars count alike.
    errors = np.array([1e-6, 1e-4] * 100)
    assert _distribution(sums, errors, settings).kSumMean == pytest.approx(clipped, abs=2e-5)


def testTheWeightedMeanLeavesOutWhatIsClipped():
    """A variable star of tiny formal error does not draw the mean to itself."""
    sums = np.r_[np.linspace(0.98, 1.02, 21), 3.0]
    errors = np.r_[np.full(21, 0.01), 1e-5]
    assert _distribution(sums, errors, settings).kSumMean == pytest.approx(1.0, abs=1e-9)


def testTheFitOfAPairIsAsGoodAsBefore():
    """The kernel sum of the simulated pair, 1, within three formal errors."""
    positions, _, arrays = simulatePair(512, 64, 7)
    fields = settings(spatialKernelOrder=1, spatialBgOrder=0)
    cellSet, _ = cellSetOf(positions, arrays, fields)
    fit = fitSpatialKernel(cellSet, defaultBasis(), fields)
    assert abs(fit.kernelSum - 1.0) < 3 * fit.kernelSumError + 0.003
