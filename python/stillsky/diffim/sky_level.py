"""What the fit of the kernel stars leaves of the sky: all pixels know the background better than the stamps alone.

Few stars, or stars on one side of the image, fix the polynomial of the differential background only where they are; its
extrapolation is off by many of the errors that the pixels of the sky allow.
"""

import numpy as np

from ..kernel import Chebyshev1Function2, PolynomialFunction2
from ..stats import clippedStats
from .polynomial_field import chebyshevBackground

__all__ = ["raisedTo", "skyResidual", "takeOff"]

BAD_PLANES = ("NO_DATA", "BAD", "SAT", "EDGE", "CR")
_BLOCKS = 16  # blocks on the longer side
_SMALLEST = 24  # pixels a side
_LEAST = 0.2  # of a block's pixels must be usable
_PIXELS = 2e6  # read of a large image
_CLIP = 4.0  # standard deviations, of blocks on what is no sky


def skyResidual(masked, function, badPlanes=BAD_PLANES):
    """Fit a polynomial of the kind of a background to the sky of a difference.

    Parameters
    ----------
    masked : `stillsky.image.MaskedImage`
        The difference. Not modified.
    function : `stillsky.kernel.Function2`
        Linear in its parameters; its terms are fitted, as far as the blocks support them.
    badPlanes : sequence of `str`

    Returns
    -------
    residual : `stillsky.kernel.Function2` or `None`
        The same kind of function with the parameters of what is left; None without a usable block.

    Notes
    -----
    Clipped medians of blocks, weighted by their errors; blocks that deviate by 4 sigma from the fit are left out. Terms
    beyond the constant need three blocks each, else the constant alone is fitted.
    """
    x, y, level, error = _blocks(masked, masked.mask.bitmask(list(badPlanes), ignoreMissing=True))
    if not len(x):
        return None
    residual = function.clone()
    residual.setParameters([0.0] * function.nParameters)
    terms = np.asarray(function.basisValues(x, y), float).reshape(len(x), -1)
    if len(x) < 3 * terms.shape[1]:
        residual.setParameter(0, float(np.average(level, weights=error**-2)))
        return residual
    kept = np.ones(len(x), bool)
    for _ in range(3):
        weighted = terms[kept] / error[kept, None]
        found = np.linalg.lstsq(weighted, level[kept] / error[kept], rcond=None)[0]
        pulls = (level - terms @ found) / error
        width = max(1.0, 1.4826 * np.median(np.abs(pulls[kept])))
        again = np.abs(pulls) < _CLIP * width
        if np.array_equal(again, kept) or np.count_nonzero(again) < 3 * terms.shape[1]:
            break
        kept = again
    residual.setParameters([float(v) for v in found])
    return residual


def _blocks(masked, bits):
    """Positions, medians and their errors of blocks of sky; parent pixels."""
    height, width = masked.image.array.shape
    step = max(1, int(np.sqrt(masked.image.array.size / _PIXELS)))
    side = max(_SMALLEST, -(-max(height, width) // _BLOCKS))
    x0, y0 = (int(v) for v in masked.xy0)
    found = []
    for top in range(0, height, side):
        for left in range(0, width, side):
            cut = np.s_[top : top + side : step, left : left + side : step]
            pixels, mask = (np.ascontiguousarray(p.array[cut]) for p in (masked.image, masked.mask))
            median, _, sigma, n = clippedStats(pixels, mask, bits)
            if n >= max(_LEAST * pixels.size, 30) and np.isfinite(median) and sigma > 0:
                rows, columns = np.nonzero((mask & bits) == 0)
                position = left + columns.mean() * step + x0, top + rows.mean() * step + y0
                found.append((*position, median, 1.2533 * sigma / np.sqrt(n)))
    return np.array(found, float).reshape(-1, 4).T


def raisedTo(function, order):
    """A polynomial as one of at least this order, the same everywhere.

    Parameters
    ----------
    function : `stillsky.kernel.Function2`
        Of polynomial kind.
    order : `int`

    Returns
    -------
    raised : `stillsky.kernel.Function2`
        The function itself if its order is not lower.
    """
    if function.order >= order:
        return function
    if isinstance(function, Chebyshev1Function2):
        raised = Chebyshev1Function2(order, function.box)
    else:
        raised = PolynomialFunction2(order)
    old = list(function.parameters)  # terms go by degree: those of a lower order come first
    raised.setParameters(old + [0.0] * (raised.nParameters - len(old)))
    return raised


def takeOff(pixels, function, bbox):
    """Subtract a polynomial from an image in place, by bands of rows.

    Parameters
    ----------
    pixels : `numpy.ndarray`, (height, width)
    function : `stillsky.kernel.Function2`
        In parent coordinates.
    bbox : `stillsky.geom.Box2I`
        Of the pixels.
    """
    for rows, values in chebyshevBackground(function, bbox).bands():
        pixels[rows] -= values.astype(pixels.dtype)
