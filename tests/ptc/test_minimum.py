"""The quick least squares beside SciPy's."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from stillsky.ptc.minimum import boundedMinimum, quickMinimum
from stillsky.ptc.models import evalExpApproximation, expApproximationJacobian

MU = np.repeat(np.linspace(50, 1e5, 20), 10) / 1.5
TRUTH = np.array([-1.3e-6, 1.5, 25.0])


def problem(seed, outliers=0, noise2=25.0):
    rng = np.random.default_rng(seed)
    var = evalExpApproximation(MU, -1.3e-6, 1.5, noise2)
    data = var * (1 + 1.4e-3 * rng.normal(size=var.size))
    data[rng.integers(0, var.size, outliers)] *= 1.3
    weights = 100.0 / var
    return (
        lambda p: (evalExpApproximation(MU, *p) - data) * weights,
        lambda p: expApproximationJacobian(MU, *p) * weights[:, None],
    )


def cost(f, loss):
    return np.sum(f**2) if loss == "linear" else np.sum(2 * (np.sqrt(1 + f**2) - 1))


@pytest.mark.parametrize("loss", ["linear", "soft_l1"])
@pytest.mark.parametrize("seed", range(6))
def testMinimumIsThatOfSciPy(loss, seed):
    residual, jacobian = problem(seed, outliers=0 if seed < 3 else 25)
    for start in (TRUTH, [-2e-6, 1.3, 25.0], [-1e-7, 2.5, 900.0], [-9e-6, 0.8, 1.0]):
        found = quickMinimum(residual, jacobian, np.array(start), loss)
        theirs = least_squares(
            residual, start, jac=jacobian, x_scale="jac", loss=loss, ftol=1e-15, xtol=1e-15, gtol=1e-15, max_nfev=2000
        ).x
        np.testing.assert_allclose(found, theirs, rtol=2e-7)
        assert cost(residual(found), loss) <= cost(residual(theirs), loss) * (1 + 1e-12)  # rounding of the model
        gradient = jacobian(found).T @ (
            residual(found) / (np.sqrt(1 + residual(found) ** 2) if loss == "soft_l1" else 1)
        )
        assert np.all(np.abs(gradient) < 1e-9 * np.linalg.norm(jacobian(found), axis=0))


@pytest.mark.parametrize("loss", ["linear", "soft_l1"])
@pytest.mark.parametrize("noise2, held", [(-20.0, -1), (25.0, 0), (400.0, 1)])
def testBoundsHoldWhatWouldLeaveThem(loss, noise2, held):
    residual, jacobian = problem(7, 20 if loss == "soft_l1" else 0, noise2)
    bounds = np.array([[-1e-4, 0.1, 0.0], [0.0, 10.0, 200.0]])
    found, where = boundedMinimum(residual, jacobian, np.array([-2e-6, 1.4, 25.0]), bounds, loss)
    assert where[2] == held and where[1] == 0
    if held:
        assert found[2] == bounds[(held + 1) // 2, 2]
    theirs = least_squares(
        residual, [-2e-6, 1.4, 25.0], jac=jacobian, x_scale="jac", loss=loss, bounds=tuple(bounds), ftol=1e-15, xtol=1e-15,
        gtol=1e-15, max_nfev=2000,
    ).x  # fmt: skip
    np.testing.assert_allclose(found[:2], theirs[:2], rtol=1e-5, atol=1e-15)
    assert cost(residual(found), loss) <= cost(residual(theirs), loss) * (1 + 1e-12)


def testHardCasesAreLeftToTheGeneralSolver():
    residual, jacobian = problem(1)
    assert quickMinimum(residual, jacobian, TRUTH, "cauchy") is None
    assert quickMinimum(lambda p: np.full(9, np.nan), lambda p: np.ones((9, 1)), np.ones(1)) is None
    same = np.linspace(1, 2, 9)[:, None] * np.ones((1, 2))  # two equal columns
    assert quickMinimum(lambda p: same @ p - 1, lambda p: same, np.zeros(2)) is None
    # exp(-x) has no minimum
    assert quickMinimum(lambda p: np.exp(-p), lambda p: -np.diag(np.exp(-p)), np.zeros(1)) is None
    found, _ = boundedMinimum(lambda p: same @ p - 1, lambda p: same, np.zeros(2), ([-1, -1], [1, 1]))
    assert found is None


def testExactDataAreFittedExactly():
    x = np.linspace(0, 1, 30)
    design = np.stack([np.ones(30), x, x**2], axis=1)
    wanted = np.array([1.0, -2.0, 3.0])
    found = quickMinimum(lambda p: design @ (p - wanted), lambda p: design, np.zeros(3))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
