"""The ladder of symmetric solvers: never NaN, and it says what it had to do."""

import numpy as np
import pytest

import stillsky
from stillsky.psfmatch import (
    ConditionNumberType,
    KernelSolvedBy,
    SymmetricSolver,
    conditionNumber,
    leastSquaresQr,
    pseudoInverse,
)


def _spd(rng, n, condition):
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    return (q * np.geomspace(1.0, 1.0 / condition, n)) @ q.T


def testWellConditionedSystemIsSolvedByCholesky(rng):
    m, x = _spd(rng, 28, 1e6), rng.normal(size=28)
    solver = SymmetricSolver(m)
    assert solver.solvedBy == KernelSolvedBy.CHOLESKY_LLT
    assert solver.nDropped == 0 and solver.nFixed == 0
    np.testing.assert_allclose(solver.solve(m @ x), x, rtol=0, atol=1e-9)
    np.testing.assert_allclose(solver.inverse() @ m, np.eye(28), atol=1e-9)


def testBadlyScaledUnknownsDoNotLeaveCholesky(rng):
    scale = 10.0 ** rng.uniform(-8, 8, 12)
    m = _spd(rng, 12, 100.0) * np.outer(scale, scale)
    x = rng.normal(size=12) / scale
    solver = SymmetricSolver(m)
    assert solver.solvedBy == KernelSolvedBy.CHOLESKY_LLT
    np.testing.assert_allclose(solver.solve(m @ x), x, rtol=1e-10)


def testDuplicateColumnSharesItsCoefficient(rng):
    c = rng.normal(size=(60, 5))
    c = np.column_stack([c, c[:, 2]])
    y = c[:, :5] @ np.array([1.0, 2.0, 6.0, 4.0, 5.0])
    solver = SymmetricSolver(c.T @ c)
    assert solver.solvedBy == KernelSolvedBy.EIGENVECTOR
    assert solver.nDropped == 1 and solver.reciprocalCondition == 0.0
    np.testing.assert_allclose(solver.solve(c.T @ y), [1, 2, 3, 4, 5, 3], atol=1e-9)


def testContradictorySystemGetsTheMinimumNormSolution():
    """[[1, 1], [1, 1]] x = [1, 2]: [0.75, 0.75] by the pseudo-inverse, and the loss is reported; never [1, 0]."""
    solver = SymmetricSolver(np.ones((2, 2)))
    assert solver.solvedBy == KernelSolvedBy.EIGENVECTOR and solver.nDropped == 1
    np.testing.assert_allclose(solver.solve([1.0, 2.0]), [0.75, 0.75], rtol=1e-14)
    np.testing.assert_allclose(pseudoInverse(np.ones((2, 2)), 1e12) @ [1.0, 2.0], [0.75, 0.75], rtol=1e-14)


def testZeroColumnGetsCoefficientZero(rng):
    c = rng.normal(size=(60, 4))
    c[:, 1] = 0.0
    y = c @ np.array([1.0, 7.0, 3.0, 4.0])
    solver = SymmetricSolver(c.T @ c)
    assert solver.nFixed == 1
    np.testing.assert_allclose(solver.solve(c.T @ y), [1, 0, 3, 4], atol=1e-12)
    assert np.all(solver.inverse()[1] == 0.0)
    assert np.all(SymmetricSolver(np.zeros((3, 3))).solve(np.ones(3)) == 0.0)


def testConditionOf1e15IsFiniteAndFitsAsWellAsQr(rng):
    # Columns from a nearly dependent family, as when a PSF is to be sharpened: cond(M) about 1e15.
    t = np.linspace(-1, 1, 400)
    c = np.column_stack([np.exp(-((t - 0.03 * k) ** 2) / 0.18) for k in range(7)])
    m = c.T @ c
    assert 5e14 < np.linalg.cond(m) < 2e15
    y = np.exp(-(t**2) / 0.1) + rng.normal(scale=1e-3, size=t.size)
    x = SymmetricSolver(m).solve(c.T @ y)
    assert np.all(np.isfinite(x))
    ladder, qr = np.std(y - c @ x), np.std(y - c @ leastSquaresQr(c, y))
    assert ladder < 1.01 * qr


def testConditionNumbers(rng):
    m = _spd(rng, 6, 1e4)
    assert conditionNumber(m, ConditionNumberType.EIGENVALUE) == pytest.approx(1e4, rel=1e-9)
    assert conditionNumber(m, ConditionNumberType.SVD) == pytest.approx(1e4, rel=1e-9)
    indefinite = np.diag([4.0, -2.0])
    assert conditionNumber(indefinite, ConditionNumberType.EIGENVALUE) == -2.0
    assert conditionNumber(indefinite, ConditionNumberType.SVD) == 2.0


def testPseudoInverseDropsWhatIsBelowTheCut(rng):
    m = np.diag([1.0, 1e-3, 1e-9])
    np.testing.assert_allclose(pseudoInverse(m, 1e6), np.diag([1.0, 1e3, 0.0]), rtol=1e-12)


def testNonFiniteAndMisfittingInputIsRefused():
    with pytest.raises(stillsky.NumericalError):
        SymmetricSolver(np.array([[1.0, np.nan], [np.nan, 1.0]]))
    with pytest.raises(stillsky.NumericalError):
        SymmetricSolver(np.eye(2)).solve([1.0, np.inf])
    with pytest.raises(stillsky.ShapeError):
        SymmetricSolver(np.eye(2)).solve(np.ones(3))
    with pytest.raises(stillsky.ShapeError):
        SymmetricSolver(np.ones((2, 3)))
