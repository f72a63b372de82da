"""Shift an image as the air shifts the light of a subfilter (coadds and DCR, section 6.1)."""

import numpy as np

from .. import _core
from ..errors import DomainError

__all__ = ["applyDcr", "prefilter", "splitShifts"]


def prefilter(image, order, *, adjoint=False):
    """Spline coefficients of an image, mirrored about its outermost pixels.

    Parameters
    ----------
    image : `numpy.ndarray`, (height, width)
        Finite numbers; NaN spreads over its row and column.
    order : {1, 3}
        For 1 the coefficients are the pixels.
    adjoint : `bool`
        Apply the transposed matrix.

    Returns
    -------
    coefficients : `numpy.ndarray`
        A new array, float32 for float32 images, else float64.
    """
    out = _pixels(image).copy()
    _core.prefilterSpline(out, int(order), bool(adjoint))
    return out


def applyDcr(
    image, dcr, useInverse=False, splitSubfilters=False, splitThreshold=0.0, doPrefilter=True, order=3, *,
    adjoint=False, model="default",
):  # fmt: skip
    """Shift an image, or average it over the two shifts of a split subfilter.

    Parameters
    ----------
    image : `numpy.ndarray`, (height, width)
    dcr : (dy, dx), or ((dy0, dx0), (dy1, dx1)) with ``splitSubfilters``
        Pixels; content moves to larger index where positive.
    useInverse : `bool`
        Shift the other way.
    splitSubfilters : `bool`
    splitThreshold : `float`
        Pairs closer than this many pixels in both axes are replaced by one shift by their mean.
    doPrefilter : `bool`
        False: ``image`` holds spline coefficients already (`prefilter`).
    order : {1, 3}
        Of the spline. Order 1 has nothing to prefilter.
    adjoint : `bool`
        The exact transposed matrix instead of the inverse shift; ``useInverse`` is not to be given with it.
    model : {"default", "reference"}
        "reference": the pair below the threshold is replaced as in Rubin's pipelines, which mix the axes.

    Returns
    -------
    shifted : `numpy.ndarray`
        float32 for float32 images, else float64. Pixels whose origin lies outside the image are 0.

    Raises
    ------
    DomainError
        Another order, shifts that are not finite, ``adjoint`` with ``useInverse``.

    Notes
    -----
    For order 1 the inverse shift is the transposed one but for pixels within the shift of an edge.
    """
    if adjoint and useInverse:
        raise DomainError("applyDcr: wanted adjoint or useInverse, given both")
    if model not in ("default", "reference"):
        raise DomainError(f"model: wanted default or reference, given {model!r}")
    shifts = splitShifts(dcr, splitThreshold, model) if splitSubfilters else [tuple(dcr)]
    sign = -1.0 if useInverse else 1.0
    pixels = prefilter(image, order) if doPrefilter and order > 1 and not adjoint else _pixels(image)
    out = np.zeros(pixels.shape, pixels.dtype)
    for dy, dx in shifts:
        _core.shiftSpline(
            pixels, sign * float(dy), sign * float(dx), int(order), out, 1.0 / len(shifts), True, bool(adjoint)
        )
    if adjoint and doPrefilter:
        _core.prefilterSpline(out, int(order), True)
    return out


def splitShifts(pair, splitThreshold=0.0, model="default"):
    """The shifts that a split subfilter is averaged over.

    Parameters
    ----------
    pair : ((dy0, dx0), (dy1, dx1))
    splitThreshold : `float`
        Pixels.
    model : {"default", "reference"}

    Returns
    -------
    shifts : `list` of (dy, dx)
        Both, or their mean where they differ by less than the threshold in either axis.
    """
    (dy0, dx0), (dy1, dx1) = ((float(dy), float(dx)) for dy, dx in pair)
    if max(abs(dy0 - dy1), abs(dx0 - dx1)) >= splitThreshold:
        return [(dy0, dx0), (dy1, dx1)]
    if model == "reference":
        return [((dy0 + dx0) / 2, (dy1 + dx1) / 2)]
    return [((dy0 + dy1) / 2, (dx0 + dx1) / 2)]


def _pixels(image):
    array = np.asarray(getattr(image, "array", image))
    dtype = np.float32 if array.dtype in (np.dtype("f4"), np.dtype(">f4")) else np.float64
    return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])
