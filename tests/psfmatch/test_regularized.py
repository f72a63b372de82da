"""Regularised delta-function kernels: the choice of lambda, and the risk that guides it."""

import numpy as np
import pytest
from psfmatch_scenes import gaussian, settings, stamp

import stillsky
from stillsky.psfmatch import (
    KernelCandidate,
    RegularizedKernelSolution,
    makeDeltaFunctionBasisList,
    makeRegularizationMatrix,
)

INFINITE = float("inf")


@pytest.fixture(scope="module")
def system():
    y, x = np.mgrid[:15, :15].astype(float)
    t = gaussian(15, 1.0, 1000)
    s = gaussian(15, 1.5, 1000) + 0.5 * np.cos(1.3 * x + 0.7 * y**2)
    h = np.asarray(makeRegularizationMatrix("centralDifference", 5, 5, fitForBackground=False))
    return t, s, h


def _solution(system, build=True, **fields):
    t, s, h = system
    fields = settings(kernelBasisSet="delta-function", **fields)
    solution = RegularizedKernelSolution(makeDeltaFunctionBasisList(5, 5), False, h, fields)
    if build:
        solution.build(t, s, np.full(t.shape, 0.25, np.float32))
        solution.solve()
    return solution


def testTraces(system):
    assert np.trace(system[2]) == pytest.approx(261, rel=1e-6)
    assert np.trace(_solution(system).getM(False)) == pytest.approx(7.9593932356e6, rel=1e-9)


@pytest.mark.parametrize(
    "value, wanted", [(0.0, (0.99316912, 0.16758272, 0.00731274)), (0.2, (0.99316549, 0.16702865, 0.00727982))]
)
def testAbsoluteLambda(system, value, wanted):
    solution = _solution(system, lambdaType="absolute", lambdaValue=value)
    image = solution.makeKernelImage()
    assert (solution.getKsum(), image[2, 2], image[0, 0]) == pytest.approx(wanted, abs=1e-7)
    assert solution.getLambda() == value
    np.testing.assert_allclose(solution.getM(True), solution.getM(False) + value * system[2], rtol=1e-14)


def testRelativeLambdaUsesItsScaling(system):
    solution = _solution(system, lambdaType="relative", lambdaValue=77.0, lambdaScaling=1e-4)
    assert solution.getLambda() == pytest.approx(3.049576, abs=1e-6)


def testRiskAgreesWithItsFormula(system):
    solution = _solution(system)
    wanted = {
        0.1: -0.0212997271,
        1: -0.0307853413,
        10: -0.0513039730,
        100: -0.0620089082,
        10**2.5: -0.0632550322,
        1000: -0.0628653368,
    }
    for lam, risk in wanted.items():
        assert solution.risk(lam, INFINITE) == pytest.approx(risk, abs=1e-8)
    m, b, h = solution.getM(False), solution.getB(), system[2]
    inverse = np.linalg.inv(m + 3.0 * h)
    a = inverse @ b
    assert solution.risk(3.0, INFINITE) == pytest.approx(
        a @ a + 2 * (np.trace(inverse) - a @ np.linalg.solve(m, b)), abs=1e-8
    )


@pytest.mark.parametrize("kind", ["minimizeBiasedRisk", "minimizeUnbiasedRisk"])
def testLambdaOfLeastRisk(system, kind):
    fields = dict(lambdaType=kind, maxConditionNumber=1e12)
    wide = _solution(system, lambdaMin=-1.0, lambdaMax=6.0, lambdaStep=0.5, **fields)
    assert wide.getLambda() == pytest.approx(10**2.5, rel=1e-12) and not wide.lambdaAtGridEnd
    assert len(wide.lambdaGrid()) == 15
    default = _solution(system, **fields)
    assert len(default.lambdaGrid()) == 31
    assert default.getLambda() == pytest.approx(100.0, rel=1e-12) and default.lambdaAtGridEnd
    linear = _solution(system, lambdaStepType="linear", lambdaMin=100.0, lambdaMax=600.0, lambdaStep=50.0, **fields)
    grid = np.arange(100.0, 601.0, 50.0)
    np.testing.assert_allclose(linear.lambdaGrid(), grid)
    assert linear.getLambda() == grid[np.argmin([linear.risk(g, INFINITE) for g in grid])]


def testRiskOfASingularSystemIsFinite():
    t = np.zeros((15, 15))
    t[7, :] = 10.0  # nothing varies along x: the kernel's rows are not determined
    y = np.mgrid[:15, :15][0]
    h = np.asarray(makeRegularizationMatrix("centralDifference", 5, 5, fitForBackground=False))
    fields = settings(kernelBasisSet="delta-function", lambdaType="minimizeUnbiasedRisk")
    solution = RegularizedKernelSolution(makeDeltaFunctionBasisList(5, 5), False, h, fields)
    solution.build(t, 20.0 * np.exp(-((y - 7.0) ** 2)), np.ones(t.shape, np.float32))
    solution.solve()
    assert np.all(np.isfinite(solution.getA())) and np.isfinite(solution.risk(1.0, 1e8))


def testCandidatesUseTheMatrix(system):
    t, s, h = system
    for lam in (0.0, 1e6):
        fields = settings(kernelBasisSet="delta-function", lambdaValue=lam, correctTemplateNoise=False)
        candidate = KernelCandidate(7, 7, stamp(t), stamp(s), fields, 1.0)
        candidate.build(makeDeltaFunctionBasisList(5, 5), h)
        solution = candidate.getKernelSolution(KernelCandidate.ORIG)
        assert isinstance(solution, RegularizedKernelSolution) and solution.getLambda() == lam
        roughness = solution.getA() @ h @ solution.getA()
        if lam == 0.0:
            rough = roughness
    assert roughness < 0.5 * rough


def testMatricesThatDoNotFitAreRefused(system):
    with pytest.raises(stillsky.ShapeError):
        RegularizedKernelSolution(makeDeltaFunctionBasisList(5, 5), True, system[2], settings())
    with pytest.raises(stillsky.DomainError):
        settings(lambdaType="minimizeBiasedRisk", lambdaMin=2.0, lambdaMax=1.0)
