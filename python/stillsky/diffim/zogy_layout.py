"""Layout helpers of Fourier-space subtraction: corner-origin arrays, borders, grids of cells."""

import numpy as np

from ..errors import DomainError, ShapeError
from ..geom import Box2I

__all__ = ["generateGrid", "padCenterOriginArray", "splitBorder"]

_POWERS = 2 ** np.arange(4, 14)  # 16 ... 8192


def padCenterOriginArray(array, newShape, useInverse=False):
    """Zero-pad an image so that its central pixel comes to (0, 0), or undo that.

    Parameters
    ----------
    array : array_like, (height, width)
        The central pixel has the index n // 2, for odd and even n.
    newShape : (`int`, `int`)
        Height and width of the result.
    useInverse : `bool`
        Crop instead: the result's central pixel is what is at (0, 0) of ``array``.

    Returns
    -------
    out : `numpy.ndarray`
        Of the same dtype. The inverse with the original shape gives back the original array.

    Raises
    ------
    ShapeError
        ``newShape`` is smaller (inverse: larger) than the array.
    """
    array = np.asarray(array)
    if array.ndim != 2 or len(newShape) != 2:
        raise ShapeError(f"padCenterOriginArray: wanted two dimensions, got {array.shape} to {tuple(newShape)}")
    if useInverse:
        if any(new > old for new, old in zip(newShape, array.shape)):
            raise ShapeError(f"newShape: wanted smaller or equal dimensions than {array.shape}, got {tuple(newShape)}")
        large, small = array.shape, newShape
    else:
        if any(new < old for new, old in zip(newShape, array.shape)):
            raise ShapeError(f"newShape: wanted greater or equal dimensions than {array.shape}, got {tuple(newShape)}")
        large, small = newShape, array.shape
    out = (np.empty if useInverse else np.zeros)(newShape, array.dtype)
    # per axis, the half from the central pixel on and the half before it: slices of the small and of the large array
    halves = [
        ((slice(s // 2, s), slice(0, s - s // 2)), (slice(0, s // 2), slice(n - s // 2, n)))
        for s, n in zip(small, large)
    ]
    for inRows, outRows in halves[0]:
        for inColumns, outColumns in halves[1]:
            if useInverse:
                out[inRows, inColumns] = array[outRows, outColumns]
            else:
                out[outRows, outColumns] = array[inRows, inColumns]
    return out


def splitBorder(innerBox, outerBox):
    """Eight disjoint boxes that cover the outer box but for the inner one.

    Parameters
    ----------
    innerBox, outerBox : `stillsky.geom.Box2I`

    Returns
    -------
    boxes : `list` [`stillsky.geom.Box2I`]
        Counter-clockwise (x to the right, y up) from the lower left corner.

    Raises
    ------
    DomainError
        The outer box does not exceed the inner one on every side.
    """
    (x0, y0), (x3, y3) = outerBox.min, outerBox.max
    (x1, y1), (x2, y2) = innerBox.min, innerBox.max
    if not (x0 < x1 and y0 < y1 and x3 > x2 and y3 > y2):
        raise DomainError(f"splitBorder: wanted an outer box beyond every side of {innerBox}, got {outerBox}")
    left, middle, right = (x0, x1 - 1), (x1, x2), (x2 + 1, x3)
    low, centre, high = (y0, y1 - 1), (y1, y2), (y2 + 1, y3)
    around = [(left, low), (middle, low), (right, low), (right, centre)]
    around += [(right, high), (middle, high), (left, high), (left, centre)]
    return [Box2I.fromMinMax((x[0], y[0]), (x[1], y[1])) for x, y in around]


def generateGrid(imageBox, minEdgeDims, innerBoxDims, minTotalDims=None, powerOfTwo=False):
    """Cells whose inner boxes cover an image once, each with a border around it.

    Parameters
    ----------
    imageBox : `stillsky.geom.Box2I`
    minEdgeDims : (`int`, `int`)
        Smallest border (x, y) on every side.
    innerBoxDims : (`int`, `int`)
        Wanted size (x, y) of the inner boxes; the last ones of a row and a column absorb the remainder.
    minTotalDims : (`int`, `int`), optional
        Smallest size of the outer boxes.
    powerOfTwo : `bool`
        Round the outer sizes up to 16, 32, ... 8192; larger ones stay as they are.

    Returns
    -------
    innerBoxes, outerBoxes : `list` [`stillsky.geom.Box2I`]
        Rows from low to high y, each from low to high x. Outer sizes are even; half of what is added beyond the inner
        box, rounded down, comes before it.
    """
    if min(innerBoxDims) < 1 or min(minEdgeDims) < 0:
        raise DomainError(f"generateGrid: wanted innerBoxDims of 1 or more and minEdgeDims of 0 or more, got "
                          f"{tuple(innerBoxDims)} and {tuple(minEdgeDims)}")  # fmt: skip
    least = minTotalDims or (0, 0)
    begins = (imageBox.minX, imageBox.minY)
    sizes = (imageBox.width, imageBox.height)
    (xCells, yCells) = (
        _cells(begins[axis], sizes[axis], minEdgeDims[axis], innerBoxDims[axis], least[axis], powerOfTwo)
        for axis in (0, 1)
    )
    inner = [Box2I((x[0], y[0]), (x[1], y[1])) for y in yCells for x in xCells]
    outer = [Box2I((x[2], y[2]), (x[3], y[3])) for y in yCells for x in xCells]
    return inner, outer


def _cells(begin, size, edge, wanted, least, powerOfTwo):
    """(inner begin, inner size, outer begin, outer size) along one axis."""
    n = max(size // wanted, 1)
    width = size // n
    cells = []
    for i in range(n):
        inner = width if i < n - 1 else size - width * (n - 1)
        outer = max(inner + 2 * edge, least)
        if powerOfTwo and outer <= _POWERS[-1]:
            outer = int(_POWERS[np.searchsorted(_POWERS, outer)])
        outer += outer % 2
        cells.append((begin + i * width, inner, begin + i * width - (outer - inner) // 2, outer))
    return cells
