"""StatisticsControl, Statistics, makeStatistics: all numbers come from the compiled core."""

from enum import IntFlag

import numpy as np

from .. import _core
from .._core import Statistics, StatisticsControl

__all__ = ["Property", "Statistics", "StatisticsControl", "makeStatistics", "stringToStatisticsProperty"]


class Property(IntFlag):
    """What to compute; combine with ``|``. ERRORS asks for the standard errors of everything else."""

    NOTHING = 0
    ERRORS = 0x1
    NPOINT = 0x2
    MEAN = 0x4
    STDEV = 0x8
    VARIANCE = 0x10
    MEDIAN = 0x20
    IQRANGE = 0x40
    MEANCLIP = 0x80
    STDEVCLIP = 0x100
    VARIANCECLIP = 0x200
    MIN = 0x400
    MAX = 0x800
    SUM = 0x1000
    MEANSQUARE = 0x2000
    ORMASK = 0x4000
    NCLIPPED = 0x8000
    NMASKED = 0x10000


def stringToStatisticsProperty(name):
    """The `Property` called ``name``, for instance ``"MEANCLIP"``.

    Raises
    ------
    DomainError
        The name is unknown.
    """
    return Property(_core.stringToStatisticsProperty(name))


def _asFlags(flags):
    """Properties from a number or from names, e.g. "MEANCLIP" or "MEAN | STDEV"."""
    if not isinstance(flags, str):
        return int(flags)
    found = Property.NOTHING
    for name in flags.replace("|", " ").replace(",", " ").split():
        found |= stringToStatisticsProperty(name)
    return int(found)


def _show(self):
    """Everything that was requested, in one line."""
    flags, parts = Property(self.flags), []
    for prop in Property:
        if prop not in flags or prop in (Property.NOTHING, Property.ERRORS):
            continue
        if prop is Property.ORMASK:
            parts.append(f"ORMASK={self.orMask:#x}")
            continue
        value, error = self.getResult(int(prop))
        parts.append(f"{prop.name}={value:.7g}" + (f" +- {error:.3g}" if Property.ERRORS in flags else ""))
    return f"Statistics({', '.join(parts)})"


Statistics.__repr__ = _show


_NATIVE = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32), np.dtype(np.uint16))


def _pixelArray(array):
    """The array as 2-D native pixels: itself if it is float32, float64, int32 or uint16 with contiguous rows.

    Smaller integers become int32 or uint16, larger ones float64 (exact below 2**53).
    """
    array = np.asanyarray(array)
    if array.ndim == 1:
        array = array[np.newaxis, :]
    elif array.ndim != 2:
        array = array.reshape(1, -1)
    if array.dtype not in _NATIVE or not array.dtype.isnative:
        if array.dtype.newbyteorder("=") in _NATIVE:
            array = array.astype(array.dtype.newbyteorder("="))
        elif array.dtype.kind in "iub" and array.dtype.itemsize <= 2:
            array = array.astype(np.int32)
        else:
            array = array.astype(np.float64)
    return _rows(array)


def _rows(array):
    """The array itself if its rows are contiguous, else a copy that has them so."""
    ok = array.size == 0 or array.shape[1] == 1 or array.strides[1] == array.itemsize
    return array if ok and array.strides[0] % array.itemsize == 0 else np.ascontiguousarray(array)


def planeArray(plane, dtype, name):
    """Pixels of a Mask, an Image or an array as native ``dtype`` with contiguous rows; None stays None."""
    if plane is None:
        return None
    array = np.asarray(getattr(plane, "array", plane))
    if array.dtype.kind == "f" and np.dtype(dtype).kind != "f":
        raise TypeError(f"{name}: wanted integers, got {array.dtype}")
    array = np.asarray(array, dtype=dtype)
    return _rows(array if array.ndim == 2 else array.reshape(1, -1))


def planesOf(thing):
    """(image, mask, variance) arrays of a masked image or exposure, an image or an array; missing planes are None."""
    thing = getattr(thing, "maskedImage", thing)
    if hasattr(thing, "image") and hasattr(thing, "variance"):
        mask = planeArray(thing.mask, np.int32, "mask")
        return _pixelArray(thing.image.array), mask, planeArray(thing.variance, np.float32, "variance")
    return _pixelArray(getattr(thing, "array", thing)), None, None


def _isMask(thing):
    return hasattr(thing, "schema") and hasattr(thing, "array")


def _weightArray(weights):
    weights = np.asarray(getattr(weights, "array", weights))
    if weights.dtype != np.float32 or not weights.dtype.isnative:
        weights = weights.astype(np.float64)
    return _rows(weights if weights.ndim == 2 else weights.reshape(1, -1))


def makeStatistics(data, *args, mask=None, variance=None, weights=None, control=None):
    """Compute statistics.

    ``makeStatistics(data, flags)``, ``makeStatistics(data, flags, control)``, ``makeStatistics(image, mask, flags,
    control)`` and ``makeStatistics(data, weights, flags, control)`` (a masked image with a weight image, or a sequence
    with as many weights) are all understood.

    Parameters
    ----------
    data : MaskedImage, Exposure, Image, Mask, array or sequence
        The samples. Lists are taken as float64; integer arrays follow the median rule for integer pixels (ties are
        spread over the unit-wide bin). Of a Mask alone only NPOINT, ORMASK and SUM exist, and SUM is the bitwise OR.
    flags : Property, int or str
        What to compute; names as in "MEANCLIP" or "MEAN | STDEV".
    control : StatisticsControl, optional
        How; default: 3 sigma, 3 rounds, finite samples, no mask bits excluded.
    mask, variance : Mask, Image or array, optional
        Planes to go with an image.
    weights : Image, array or sequence, optional
        One non-negative weight per sample.

    Returns
    -------
    Statistics
        With ``getValue(property)``, ``getError(property)``, ``getResult(property)``, ``orMask`` and ``nUsed``. With no
        usable sample values are NaN, NPOINT and SUM 0.

    Raises
    ------
    ShapeError
        Planes or weights differ from the image in size.
    DomainError
        No pixels, contradictory options, or later: a property that was not requested.
    """
    if len(args) == 3 or (len(args) == 2 and not isinstance(args[0], int | np.integer | str)):
        first, args = args[0], args[1:]
        if _isMask(first) and mask is None:
            mask = first
        elif weights is None:
            weights = first
        else:
            raise TypeError("makeStatistics: weights given twice")
    if not 1 <= len(args) <= 2 or (len(args) == 2 and control is not None):
        raise TypeError("makeStatistics: wanted (data, [mask or weights,] flags[, control])")
    flags = _asFlags(args[0])
    control = args[1] if len(args) == 2 else control
    control = StatisticsControl() if control is None else control
    if _isMask(data):
        return _core.makeMaskStatistics(planeArray(data, np.int32, "mask"), flags, control)
    if isinstance(data, list | tuple | range):
        data = np.asarray(data, dtype=np.float64)
    image, itsMask, itsVariance = planesOf(data)
    mask = itsMask if mask is None else planeArray(mask, np.int32, "mask")
    variance = itsVariance if variance is None else planeArray(variance, np.float32, "variance")
    weights = None if weights is None else _weightArray(weights)
    return _core.makeStatistics(image, mask, variance, weights, flags, control)
