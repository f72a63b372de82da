"""Stamps of a PSF on a rectangular grid that is read by linear interpolation: where its nodes lie, and what they hold.

Linear interpolation of a function f between nodes a distance h apart exceeds it by h^2 f'' / 12 on average. Where the FWHM
of a PSF grows by 4 % from the centre to the edge of 1024 pixels, that is 0.3 % of the fluxes for nodes 256 pixels apart.
"""

import numpy as np

__all__ = ["balanced", "gridNodes", "halved", "isCurved"]

_MOST_NODES = 16  # per axis
_SPACING = 160.0  # pixels between nodes, at least


def gridNodes(low, high):
    """Coordinates of nodes from the first to the last pixel of an axis: at most 16, at least some 160 pixels apart."""
    n = min(_MOST_NODES, 2 + int((high - low) // _SPACING))
    return np.linspace(low, high, n) if high > low else np.array([float(low)])


def balanced(values, nodes, axis=0):
    """Values at nodes whose linear interpolation has no error on average: f - h^2 f'' / 12.

    With unequal steps h^2 is (h_1^3 + h_2^3) / (h_1 + h_2) of those on either side.

    Parameters
    ----------
    values : `numpy.ndarray`
    nodes : `numpy.ndarray`, (n,)
        Coordinates along ``axis`` of ``values``; fewer than three: nothing is known of f'', and nothing is changed.
    axis : `int`

    Returns
    -------
    values : `numpy.ndarray`
        Of the same shape.
    """
    n = len(nodes)
    if n < 3:
        return values
    values = np.moveaxis(values, axis, 0)
    steps = np.diff(nodes)
    slopes = np.diff(values, axis=0) / steps.reshape(-1, *[1] * (values.ndim - 1))
    out = values.copy()
    for k in range(n):
        i = min(max(k, 1), n - 2)
        second = (slopes[i] - slopes[i - 1]) / (0.5 * (steps[i] + steps[i - 1]))
        beside = steps[max(k - 1, 0) : k + 1]
        out[k] -= second * (np.sum(beside**3) / np.sum(beside) / 12)
    return np.moveaxis(out, 0, axis)


def halved(values, nodes, axis=0):
    """Values at the nodes and halfway between them, there the mean of the quadratics on either side.

    Parameters
    ----------
    values, nodes, axis
        As of `balanced`; fewer than three nodes are returned as they are.

    Returns
    -------
    values : `numpy.ndarray`
        With 2 n - 1 elements along the axis.
    nodes : `numpy.ndarray`
    """
    n = len(nodes)
    if n < 3:
        return values, nodes
    values = np.moveaxis(values, axis, 0)
    between = 0.5 * (nodes[1:] + nodes[:-1])
    out = np.empty((2 * n - 1, *values.shape[1:]))
    out[::2] = values
    for k, at in enumerate(between):
        triples = [slice(first, first + 3) for first in (k - 1, k) if 0 <= first <= n - 3]
        out[2 * k + 1] = np.mean([_quadratic(values[t], nodes[t], at) for t in triples], axis=0)
    positions = np.empty(2 * n - 1)
    positions[::2], positions[1::2] = nodes, between
    return np.moveaxis(out, 0, axis), positions


def isCurved(values, nodes, axis, tolerance):
    """Whether three neighbours deviate from a line, halfway between two of them, by more than a fraction of the largest value."""
    values = np.moveaxis(values, axis, 0)
    largest = tolerance * np.abs(values).max()
    for k in range(1, len(nodes) - 1):
        before, after = nodes[k] - nodes[k - 1], nodes[k + 1] - nodes[k]
        bend = (values[k + 1] - values[k]) / after - (values[k] - values[k - 1]) / before  # f'' (before + after) / 2
        if np.abs(bend).max() * max(before, after) ** 2 / (4 * (before + after)) > largest:
            return True
    return False


def _quadratic(values, nodes, at):
    """Lagrange's polynomial through three values."""
    a, b, c = at - nodes
    p, q, r = nodes
    weights = b * c / ((p - q) * (p - r)), a * c / ((q - p) * (q - r)), a * b / ((r - p) * (r - q))
    return sum(weight * value for weight, value in zip(weights, values))
