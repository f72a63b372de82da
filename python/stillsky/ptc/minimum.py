"""Least squares of few parameters from a good start: damped Newton steps without the overhead of a general solver."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Minimum", "boundedMinimum", "quickMinimum"]

_MOST_PARAMETERS = 6
_MOST_STEPS = 60
_ILL = 1e-10  # smallest square of a Cholesky diagonal of the scaled normal matrix: columns of 1e-5 independence
_FLOOR = 1e-14  # relative length of a step that rounding decides
_NEAR = 1e-2  # relative length below which the true curvature of a robust loss is used
_SMALL = 1e-6  # relative length below which steps must only shrink: the sum of squares no longer tells


@dataclass(frozen=True)
class Minimum:
    """A solution as `scipy.optimize.least_squares` names its parts: parameters, -1 or 1 at a bound, success."""

    x: np.ndarray
    active_mask: np.ndarray
    success: bool = True


def quickMinimum(residual, jacobian, start, loss="linear"):
    """Minimum of 0.5 sum rho(f^2) by the Levenberg-Marquardt method on scaled normal equations.

    The curvature of a robust loss enters as in Triggs et al. (2000, "Bundle adjustment - a modern synthesis", Sect. 4.3).
    Steps are taken until rounding stops them from getting smaller.

    Parameters
    ----------
    residual, jacobian : callable
        ``residual(p)`` gives f [n]; ``jacobian(p)`` gives its derivatives [n, k].
    start : `numpy.ndarray` [k]
    loss : `str`
        ``"linear"`` (rho = z) or ``"soft_l1"`` (rho = 2 (sqrt(1 + z) - 1)).

    Returns
    -------
    parameters : `numpy.ndarray` [k] or None
        None when it is better left to a general solver: another loss, many or nearly dependent parameters, values that
        are not finite, or no convergence.
    """
    if loss not in ("linear", "soft_l1") or not 0 < len(start) <= _MOST_PARAMETERS:
        return None
    with np.errstate(all="ignore"):
        return _descend(residual, jacobian, np.array(start, dtype=np.float64), loss == "soft_l1")


def boundedMinimum(residual, jacobian, start, bounds, loss="linear"):
    """`quickMinimum` within bounds: parameters that would leave them are held at them, if the minimum lies there.

    Parameters
    ----------
    residual, jacobian, start, loss
        As for `quickMinimum`; ``start`` within the bounds.
    bounds : pair of arrays [k]
        Lower and upper bounds.

    Returns
    -------
    parameters : `numpy.ndarray` [k] or None
        None when it is better left to a general solver.
    held : `numpy.ndarray` [k], int
        -1 and 1 for parameters at their lower and upper bounds.
    """
    lower, upper = (np.asarray(b, dtype=np.float64) for b in bounds)
    p, held = np.array(start, dtype=np.float64), np.zeros(len(start), int)
    for _ in range(len(start)):
        free = held == 0
        found = quickMinimum(
            lambda q, p=p, free=free: residual(_with(p, free, q)),
            lambda q, p=p, free=free: jacobian(_with(p, free, q))[:, free],
            p[free],
            loss,
        )
        if found is None:
            return None, held
        new = _with(p, free, found)
        held = np.where(free, np.where(new <= lower, -1, np.where(new >= upper, 1, 0)), held)
        p = np.where(held < 0, lower, np.where(held > 0, upper, new))
        if not np.any(free & (held != 0)):
            return (p, held) if _isLowest(residual(p), jacobian(p), held, loss) else (None, held)
    return None, held


def _with(p, free, values):
    out = p.copy()
    out[free] = values
    return out


def _isLowest(f, columns, held, loss):
    """Whether the sum grows from the bounds inwards."""
    slope = f / np.sqrt(1 + f * f) if loss == "soft_l1" else f
    return bool(np.all((columns * slope[:, None]).sum(axis=0) * held <= 0))


def _cost(f, robust):
    return np.sum(2 * (np.sqrt(1 + f * f) - 1)) if robust else np.dot(f, f)


def _descend(residual, jacobian, p, robust):
    f = residual(p)
    cost, damping, last, near = _cost(f, robust), 0.0, np.inf, False
    normal = gradient = None
    for _ in range(_MOST_STEPS):
        if not np.isfinite(cost):
            return None
        if normal is None:
            normal, gradient, scale = _equations(f, jacobian(p), robust, near)
            if normal is None:
                return None
        step = _solved(normal, gradient, damping)
        if step is None:
            return None
        size = np.sqrt(np.sum(step**2) / max(np.sum((p * scale) ** 2), 1e-300))
        if size < _SMALL and (damping > 0.0 or robust and not near):  # from here on plain Newton steps
            damping, near, normal = 0.0, True, None
            continue
        new = p + step / scale
        fresh = residual(new)
        freshCost = _cost(fresh, robust)
        if size < _SMALL:
            if not np.isfinite(freshCost):
                return None
            if size < _FLOOR or size > 0.5 * last:
                return new if freshCost <= cost else p
            last = size
        elif not freshCost < cost:  # too far, or not finite
            if damping > 1e8:
                return None
            damping = max(10 * damping, 1e-3)
            continue
        else:
            damping = damping / 10 if damping > 1e-6 else 0.0
            near = size < _NEAR
        p, f, cost, normal = new, fresh, freshCost, None
    return None


def _equations(f, columns, robust, near):
    """(scaled normal matrix, scaled gradient, scale of the columns); None for the matrix when it is degenerate.

    Far from the minimum of a robust sum its curvature is replaced by the larger one of reweighted squares, whose steps
    do not overshoot.
    """
    if robust:
        root = np.sqrt(1 + f * f)
        weight, gradient = root ** (-3 if near else -1), (columns * (f / root)[:, None]).sum(axis=0)
    else:
        weight, gradient = None, (columns * f[:, None]).sum(axis=0)
    weighted = columns if weight is None else columns * weight[:, None]
    normal = np.einsum("ni,nj->ij", weighted, columns)
    scale = np.sqrt(np.diagonal(normal))
    if not (np.isfinite(normal).all() and (scale > 0).all()):
        return None, None, None
    return normal / np.outer(scale, scale), gradient / scale, scale


def _solved(normal, gradient, damping):
    """The step, or None for columns that depend on each other. Cholesky by hand: the matrices are tiny."""
    n = len(gradient)
    a = normal.tolist()
    for i in range(n):
        a[i][i] += damping
    g, lower = gradient.tolist(), [[0.0] * n for _ in range(n)]
    y = [0.0] * n
    for i in range(n):
        for j in range(i):
            lower[i][j] = (a[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))) / lower[j][j]
        pivot = a[i][i] - sum(v * v for v in lower[i][:i])
        if not pivot > _ILL:
            return None
        lower[i][i] = pivot**0.5
        y[i] = (-g[i] - sum(lower[i][k] * y[k] for k in range(i))) / lower[i][i]
    for i in reversed(range(n)):
        y[i] = (y[i] - sum(lower[k][i] * y[k] for k in range(i + 1, n))) / lower[i][i]
    return np.array(y)
