"""Pixels and weights as the compiled core wants them."""

import numpy as np

from ..errors import DomainError, ShapeError

__all__ = ["binaryWeights", "realPixels"]


def realPixels(image, name="image"):
    """The image as a contiguous native float32 or float64 array of two dimensions with pixels.

    Raises
    ------
    DomainError, ShapeError
        Pixels that are not real numbers; another number of dimensions, or no pixels.
    """
    image = np.asarray(getattr(image, "array", image))
    if image.ndim != 2 or image.size == 0:
        raise ShapeError(f"{name}: wanted a 2-D array with pixels, got shape {image.shape}")
    if image.dtype.kind not in "fiub":
        raise DomainError(f"{name}: wanted real numbers, got {image.dtype}")
    single = image.dtype.kind == "f" and image.dtype.itemsize == 4
    return _rows(image, np.dtype(np.float32 if single else np.float64))


def binaryWeights(weight, shape):
    """The weights as uint8 with contiguous rows.

    Raises
    ------
    DomainError, ShapeError
        Values other than 0 and 1 (of uint8 the core looks); another shape.
    """
    weight = np.asarray(getattr(weight, "array", weight))
    if weight.shape != shape:
        raise ShapeError(f"weight: wanted the shape of the image {shape}, got {weight.shape}")
    if weight.dtype == bool:
        return _rows(weight, weight.dtype).view(np.uint8)
    if weight.dtype == np.uint8:
        return _rows(weight, weight.dtype)
    if weight.dtype.kind not in "fiu":
        raise DomainError(f"weight: wanted numbers that are 0 or 1, got {weight.dtype}")
    wrong = ~((weight == 0) | (weight == 1))
    if wrong.any():
        raise DomainError(f"weight: wanted only 0 and 1, got {weight[wrong].flat[0]}")
    return weight.astype(np.uint8)


def _rows(array, dtype):
    """The array itself, or a copy where the type, the byte order or the layout of its rows is another."""
    ok = array.dtype == dtype and array.strides[1] == dtype.itemsize and array.strides[0] % dtype.itemsize == 0
    return array if ok else np.array(array, dtype, order="C")
