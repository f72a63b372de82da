"""One way to hand pixels to the compiled code, whatever holds them."""

import numpy as np

from .. import errors


def asImageArray(image, name="image"):
    """The pixels as a 2-D native float32 or float64 array with contiguous rows; converted only when needed.

    Parameters
    ----------
    image : array_like or object with ``array``
        Pixels ``[y, x]``. float64 stays float64, everything else becomes float32.
    name : str
        What to call it in an error message.
    """
    array = np.asarray(getattr(image, "array", image))
    if array.ndim != 2:
        raise errors.ShapeError(f"{name}: wanted a 2-D array, got {array.ndim} dimensions")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: wanted real numbers, got {array.dtype}")
    dtype = np.float64 if array.dtype == np.dtype(np.float64).newbyteorder(array.dtype.byteorder) else np.float32
    return _rows(array, dtype)


def asVarianceArray(variance, shape):
    """The variance plane as float32; a scalar becomes a plane, None stays None (1 everywhere)."""
    if variance is None:
        return None
    array = np.asarray(getattr(variance, "array", variance))
    if array.ndim == 0:
        return np.full(shape, array, np.float32)
    return _sameShape(_rows(array, np.float32), shape, "variance")


def asMaskArray(mask, shape):
    """The mask plane as int32; a boolean array becomes bit 0, None stays None (nothing masked)."""
    if mask is None:
        return None
    array = np.asarray(getattr(mask, "array", mask))
    if array.dtype.kind not in "iub":
        raise TypeError(f"mask: wanted integers or booleans, got {array.dtype}")
    return _sameShape(_rows(array, np.int32), shape, "mask")


def _rows(array, dtype):
    array = array.astype(dtype, copy=False)
    ok = array.strides[-1] == array.itemsize or array.shape[-1] <= 1
    return array if ok and array.strides[0] % array.itemsize == 0 else np.ascontiguousarray(array)


def _sameShape(array, shape, name):
    if array.shape != tuple(shape):
        raise errors.ShapeError(f"{name}: shape {array.shape} differs from the image's {tuple(shape)}")
    return array
