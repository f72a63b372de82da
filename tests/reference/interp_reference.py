"""Slow and obvious interpolation over bad pixels, one pixel at a time."""

import numpy as np


def krigingWeights(anchors, t):
    """Weights of values at the places ``anchors`` for the place ``t``: correlation exp(-d^2/4), sum 1."""
    anchors = np.asarray(anchors, float)
    n = len(anchors)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = np.exp(-((anchors[:, None] - anchors) ** 2) / 4)
    system[n, n] = 0
    return np.linalg.solve(system, np.append(np.exp(-((anchors - t) ** 2) / 4), 1.0))[:n]


def interpolateRow(values, variances, bad, fallback, fallbackAtEdge):
    """One row: new values, and variances as the sum of w^2 v, inf where the fallback took part."""
    values, variances = np.array(values, float), np.array(variances, float)
    n, x = len(values), 0
    usable = ~bad & np.isfinite(values)
    while x < n:
        if not bad[x]:
            x += 1
            continue
        first = x
        while x < n and bad[x]:
            x += 1
        last = x - 1
        anchors = [p for p in (first - 2, first - 1, last + 1, last + 2) if 0 <= p < n and usable[p]]
        if not anchors:
            values[first : last + 1], variances[first : last + 1] = fallback, np.inf
            continue
        if fallbackAtEdge and (first == 0 or last == n - 1) and last - first + 1 > 6:
            filled = range(first, last - 5) if first == 0 else range(first + 6, last + 1)
            values[list(filled)], variances[list(filled)] = fallback, np.inf
            first, last = (filled[-1] + 1, last) if first == 0 else (first, filled[0] - 1)
            near = [p for p in ((first - 2, first - 1) if filled[0] == 0 else (last + 1, last + 2)) if p in filled]
            anchors = sorted(anchors + near)
        for t in range(first, last + 1):
            w = krigingWeights(anchors, t)
            values[t] = w @ values[anchors]
            variances[t] = np.sum(w**2 * variances[anchors])
    return values, variances
