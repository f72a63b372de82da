"""Where destination pixels come from: affine maps, pairs of WCS, functions, and grids of positions."""

import numpy as np

from .._core import AffineMapping, GridMapping, InverseMapping
from ..errors import DomainError
from ..wcs import pairTransform

__all__ = ["alignedWithin", "asFunction", "asMapping", "positionGrid"]

# Nodes are computed exactly at this spacing where a cubic spline through them is good enough.
_COARSE_STEP = 64
_SPLINE_TOLERANCE = 1e-4


def _affineOf(transform):
    """The six numbers of an affine transform as an AffineMapping, or None."""
    if isinstance(transform, AffineMapping):
        return transform
    matrix = getattr(transform, "matrix", None)
    if matrix is None:
        return None
    matrix = np.asarray(matrix, dtype=float)
    if matrix.shape == (3, 3):
        (a, b, tx), (c, d, ty) = matrix[:2]
    else:
        (a, b), (c, d) = matrix
        tx, ty = transform.translation
    return AffineMapping(float(a), float(b), float(c), float(d), float(tx), float(ty))


def asFunction(mapping):
    """A vectorised function (x, y) -> (qx, qy) from anything that `warpImage` accepts as a mapping."""
    affine = _affineOf(mapping)
    if affine is not None:
        xx, xy, yx, yy, tx, ty = affine.coefficients
        return lambda x, y: (xx * x + xy * y + tx, yx * x + yy * y + ty)
    if isinstance(mapping, tuple) and len(mapping) == 2:
        return pairTransform(*mapping)
    if callable(mapping):
        return mapping
    raise DomainError(
        "mapping: wanted an InverseMapping, an affine transform, a pair (destination WCS, source WCS) or a function "
        f"(x, y) -> (x, y), got {type(mapping).__name__}"
    )


def asMapping(mapping, x0, y0, width, height, interpLength):
    """The C++ mapping for a destination box.

    Parameters
    ----------
    mapping
        See `warpImage`.
    x0, y0, width, height : `int`
        Destination box.
    interpLength : `int`
        Spacing of the nodes for a function or a pair of WCS; 0 takes every pixel.

    Returns
    -------
    mapping : `InverseMapping`
    """
    if isinstance(mapping, InverseMapping):
        return mapping
    affine = _affineOf(mapping)
    if affine is not None:
        return affine
    tolerance = _SPLINE_TOLERANCE if interpLength > 0 else 0.0
    return positionGrid(asFunction(mapping), x0, y0, width, height, max(1, interpLength), tolerance=tolerance)


def _nodes(start, length, step):
    # From one pixel before the box to at least one after it: area factors need the neighbours.
    return start - 1.0 + step * np.arange((length + 1 + step - 1) // step + 1)


def _evaluate(function, x, y):
    gx, gy = np.meshgrid(x, y)
    qx, qy = function(gx.ravel(), gy.ravel())
    return np.reshape(qx, gx.shape).astype(float), np.reshape(qy, gx.shape).astype(float)


def positionGrid(function, x0, y0, width, height, step, *, tolerance=_SPLINE_TOLERANCE):
    """Source positions on a grid over a destination box.

    Parameters
    ----------
    function : callable
        (x, y) -> (qx, qy) over 1-D arrays of parent coordinates; NaN where there is no source position.
    x0, y0, width, height : `int`
        Destination box; the grid reaches one pixel beyond it.
    step : `int`
        Spacing of the nodes in pixels.
    tolerance : `float`
        Nodes may come from a cubic spline through exact positions 64 (then 32, 16, ...) pixels apart while its error
        half-way between these is below this many pixels. 0 computes every node.

    Returns
    -------
    grid : `GridMapping`
    """
    x, y = _nodes(x0, width, step), _nodes(y0, height, step)
    coarse = _COARSE_STEP
    while tolerance > 0 and coarse >= 2 * step and len(x) * len(y) > 1000:
        spline = _splinePositions(function, x, y, coarse, tolerance)
        if spline is not None:
            return GridMapping(x[0], y[0], step, *spline)
        coarse //= 2
    qx, qy = _evaluate(function, x, y)
    return GridMapping(x[0], y[0], step, np.ascontiguousarray(qx), np.ascontiguousarray(qy))


def _splinePositions(function, x, y, coarse, tolerance):
    """Positions at nodes (x, y) from a spline through every `coarse`-th pixel, or None where that is not accurate."""
    cx = np.linspace(x[0], x[-1], max(4, int(np.ceil((x[-1] - x[0]) / coarse)) + 1))
    cy = np.linspace(y[0], y[-1], max(4, int(np.ceil((y[-1] - y[0]) / coarse)) + 1))
    exact = _evaluate(function, cx, cy)
    if not all(np.all(np.isfinite(q)) for q in exact):
        return None
    midX, midY = 0.5 * (cx[1:] + cx[:-1]), 0.5 * (cy[1:] + cy[:-1])
    truth = _evaluate(function, midX, midY)
    error = max(np.max(np.abs(_interpolated(cx, cy, q, midX, midY) - t)) for q, t in zip(exact, truth))
    if not error <= tolerance:
        return None
    return [np.ascontiguousarray(_interpolated(cx, cy, q, x, y)) for q in exact]


def _interpolated(nodesX, nodesY, values, x, y):
    """Tensor product of cubic splines, at the grid of positions x, y."""
    from scipy.interpolate import make_interp_spline  # slow to import, and few mappings want it

    return make_interp_spline(nodesX, make_interp_spline(nodesY, values, axis=0)(y), axis=1)(x)


def alignedWithin(wcsA, wcsB, bbox, tolerance=0.02):
    """Whether two WCS put the pixels of a box at the same sky positions.

    Parameters
    ----------
    wcsA, wcsB : `stillsky.wcs.SkyWcs`
    bbox : `stillsky.geom.Box2I`
        Where to compare, parent coordinates.
    tolerance : `float`
        Largest distance in pixels of A, compared on a grid of 9 x 9 positions that includes the corners.

    Returns
    -------
    aligned : `bool`
        False also where a position has no counterpart.
    """
    x = np.linspace(bbox.minX - 0.5, bbox.maxX + 0.5, 9)
    y = np.linspace(bbox.minY - 0.5, bbox.maxY + 0.5, 9)
    gx, gy = (g.ravel() for g in np.meshgrid(x, y))
    qx, qy = pairTransform(wcsA, wcsB)(gx, gy)
    distance = np.hypot(qx - gx, qy - gy)
    return bool(np.all(distance <= tolerance))
