"""Marking coadd pixels that no input reached."""

import numpy as np

from ..errors import ShapeError

__all__ = ["setCoaddEdgeBits"]

_ROWS = 256


def setCoaddEdgeBits(mask, variance):
    """Set NO_DATA where the variance is exactly 0, in place; other bits are kept.

    Parameters
    ----------
    mask : `stillsky.image.Mask`
        Gets the plane NO_DATA if it has none.
    variance : `stillsky.image.Image`

    Raises
    ------
    ShapeError
        (a ValueError) The sizes differ.

    Notes
    -----
    NaN and infinite variances are not 0. Statistics whose error is 0 everywhere (SUM, MIN, MAX) would mark all pixels.
    """
    if mask.array.shape != variance.array.shape:
        raise ShapeError(
            f"setCoaddEdgeBits: mask {mask.array.shape} and variance {variance.array.shape} differ in shape"
        )
    bit = np.int32(1 << mask.addPlane("NO_DATA"))
    for start in range(0, len(mask.array), _ROWS):  # rows, so that no temporary is as large as the image
        rows = slice(start, start + _ROWS)
        mask.array[rows][variance.array[rows] == 0] |= bit
