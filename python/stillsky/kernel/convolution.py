"""Applying kernels to images: choice of the method, planes in and out."""

import numpy as np

from .. import _core
from .._core import ConvolutionControl
from ..errors import DomainError, ShapeError
from .fft import convolveFft, isFftSuitable

__all__ = ["ConvolutionControl", "convolve", "convolveAndSubtract", "convolveArrays", "scaledPlus", "subtractModel"]


def convolveArrays(image, mask, variance, kernel, control=None, *, xy0=(0, 0), out=None, method="auto"):
    """Convolve plain arrays.

    Parameters
    ----------
    image : `numpy.ndarray`
        Float32 or float64 pixels [row, column], rows contiguous, native byte order.
    mask : `numpy.ndarray` or `None`
        Int32 bit field of the same shape. Mask and variance are given together or not at all.
    variance : `numpy.ndarray` or `None`
        Float32 variance of the same shape.
    kernel : `Kernel`
        Kernel; correlation, without reflection.
    control : `ConvolutionControl`, optional
        Default ``ConvolutionControl()``: kernel normalised, edge pixels NaN / NO_DATA / inf.
    xy0 : pair of `int`
        Parent coordinates of the first pixel; the kernel's variation is evaluated at parent positions.
    out : `tuple` of three arrays, optional
        Where to write (image, mask, variance); new arrays by default. Must not share memory with the input.
    method : `str`
        "direct", "fft" (kernels that are polynomials of the position), or "auto": fft for more than 35 x 35 taps.

    Returns
    -------
    image, mask, variance : `numpy.ndarray` or `None`
        The output arrays.

    Raises
    ------
    ShapeError
        The planes differ in shape, or the image is smaller than the kernel.
    DomainError
        Output and input share memory, unknown method, or a kernel that the method cannot handle.
    NumericalError
        Normalising a kernel whose sum is exactly zero.
    """
    control = ConvolutionControl() if control is None else control
    masked = mask is not None
    if (variance is not None) != masked:
        raise ShapeError("convolve: give mask and variance together, or neither")
    if out is None:
        out = tuple(None if plane is None else np.empty(plane.shape, plane.dtype) for plane in (image, mask, variance))
    for new, old in zip(out, (image, mask, variance), strict=True):
        if new is not None and np.may_share_memory(new, old):
            raise DomainError("convolve: output and input share memory; give an output of its own")
    if method not in ("auto", "direct", "fft"):
        raise DomainError(f"method: wanted 'auto', 'direct' or 'fft', got {method!r}")
    xy0 = (int(xy0[0]), int(xy0[1]))
    if method == "fft" or (method == "auto" and isFftSuitable(kernel, control)):
        convolveFft(*out, image, mask, variance, kernel, control, xy0)
    else:
        _core.convolveArrays(*out, image, mask, variance, kernel, control, xy0)
    return out


def _planes(image):
    """(image, mask, variance, xy0, mask schema) of a masked image, an image or an array."""
    if hasattr(image, "mask") and hasattr(image, "variance"):
        xy0 = tuple(image.image.xy0)
        return image.image.array, image.mask.array, image.variance.array, xy0, getattr(image.mask, "schema", None)
    if hasattr(image, "array"):
        return image.array, None, None, tuple(image.xy0), None
    return np.asarray(image), None, None, (0, 0), None


def _withBits(control, schema):
    """The control with the mask bits of the output's own planes."""
    if schema is None:
        return control
    # An explicit look-up, which raises when the plane is missing, only for the plane that will be written.
    needed = "EDGE" if control.doCopyEdge else "NO_DATA"
    bits = {"EDGE": control.edgeBit, "NO_DATA": control.noDataBit, needed: schema.bitmask([needed])}
    return ConvolutionControl(
        control.doNormalize,
        control.doCopyEdge,
        control.maxInterpolationDistance,
        control.model,
        noDataBit=bits["NO_DATA"],
        edgeBit=bits["EDGE"],
    )


def _setXY0(image, xy0):
    if not hasattr(image, "xy0") or tuple(image.xy0) == tuple(xy0):
        return
    image.xy0 = xy0


def convolve(out, image, kernel, control=None, *, method="auto"):
    """Convolve an image or masked image, exactly at every pixel.

    ``image = sum k in``, ``variance = sum k^2 in`` and ``mask`` the OR of the input over the taps that are not zero;
    k is the kernel at the parent position of the output pixel, and correlation is meant: a kernel whose only pixel is
    right of the centre moves the image to the left.

    Parameters
    ----------
    out : `MaskedImage`, `Image` or `numpy.ndarray`
        Result, of the input's kind and dimensions; takes the input's xy0.
    image : `MaskedImage`, `Image` or `numpy.ndarray`
        Input; never modified. NaN spreads to exactly the pixels whose non-zero taps touch it.
    kernel : `Kernel`
        The kernel.
    control : `ConvolutionControl`, optional
        Normalisation and edges. With ``model="reference"`` a varying kernel is interpolated between nodes.
    method : `str`
        See `convolveArrays`.

    Returns
    -------
    out
        The first argument.

    Notes
    -----
    Cost about 4 K^2 operations per pixel for a masked image and a linear variation. Memory: scratch tiles only.
    """
    control = ConvolutionControl() if control is None else control
    outPlanes, inPlanes = _planes(out), _planes(image)
    if (outPlanes[1] is None) != (inPlanes[1] is None):
        raise ShapeError("convolve: output and input must both be masked images, or neither")
    convolveArrays(
        *inPlanes[:3], kernel, _withBits(control, outPlanes[4]), xy0=inPlanes[3], out=outPlanes[:3], method=method
    )
    _setXY0(out, inPlanes[3])
    return out


def scaledPlus(out, c1, in1, c2, in2):
    """``out = c1 in1 + c2 in2`` for arrays, images or masked images.

    Variances are added with the squared factors, masks ORed. ``out`` may be one of the inputs.

    Raises
    ------
    ShapeError
        Dimensions or kinds differ.
    """
    planes = [_planes(image) for image in (out, in1, in2)]
    if len({p[1] is None for p in planes}) > 1:
        raise ShapeError("scaledPlus: all three must be masked images, or none")
    o, a, b = planes
    _core.scaledPlusArrays(o[0], c1, a[0], c2, b[0])
    if o[1] is not None:
        _core.scaledPlusArrays(o[2], c1 * c1, a[2], c2 * c2, b[2])
        np.bitwise_or(a[1], b[1], out=o[1])
    return out


def convolveAndSubtract(templateImage, scienceMaskedImage, kernel, background=0.0, invert=True):
    """Difference of a science image and a convolved template.

    ``D = science - (K x template + background)``, or its negative with ``invert=False``. The kernel is not normalised;
    edge pixels are NaN with NO_DATA and infinite variance.

    Parameters
    ----------
    templateImage : `MaskedImage` or `Image`
        Image to convolve. Without mask and variance, the result carries those of the science image.
    scienceMaskedImage : `MaskedImage`
        Image to subtract from; sets the positions.
    kernel : `Kernel`
        Matching kernel.
    background : `float` or `Function2`
        Differential background on the science scale, evaluated at parent positions.
    invert : `bool`
        Science minus template when true.

    Returns
    -------
    difference : `MaskedImage`
        New, with the xy0 and mask planes of the science image.
    """
    science, template = _planes(scienceMaskedImage), _planes(templateImage)
    if science[1] is None:
        raise ShapeError("convolveAndSubtract: the science image needs mask and variance")
    if template[0].shape != science[0].shape:
        raise ShapeError(f"convolveAndSubtract: template {template[0].shape} and science {science[0].shape} differ")
    control = _withBits(ConvolutionControl(doNormalize=False), science[4])
    difference = getattr(scienceMaskedImage, "maskedImage", scienceMaskedImage).emptyLike()
    out = _planes(difference)
    if template[1] is None:
        convolveArrays(template[0], None, None, kernel, control, xy0=science[3], out=(out[0], None, None))
        _markEdges(out, kernel, control.noDataBit)
    else:
        convolveArrays(*template[:3], kernel, control, xy0=science[3], out=out[:3])
    subtractModel(difference, scienceMaskedImage, background, invert)
    return difference


def subtractModel(model, science, background=0.0, invert=True, out=None):
    """The last step of a difference, in place: ``model`` becomes ``science - (model + background)``.

    Parameters
    ----------
    model : `MaskedImage`
        The convolved template; overwritten. Masks are OR-ed, variances add.
    science : `MaskedImage`
        With the same mask planes.
    background : `float` or `Function2`
        Evaluated at parent positions.
    invert : `bool`
        With False the negative.
    out : `MaskedImage`, optional
        Where to write instead; the model then stays as it is.
    """
    planes = _planes(science)
    target = _planes(model if out is None else out)
    _core.subtractModelArrays(target[:3], _planes(model)[:3], *planes[:3], background, invert, planes[3])


def _markEdges(planes, kernel, noDataBit):
    """Mask and variance of a convolved template that has none: 0 inside, NO_DATA and inf on the edges."""
    _, mask, variance, _, _ = planes
    (cx, cy), (height, width) = kernel.center, mask.shape
    good = np.s_[cy : height - (kernel.height - 1 - cy), cx : width - (kernel.width - 1 - cx)]
    mask[...] = noDataBit
    variance[...] = np.inf
    mask[good] = 0
    variance[good] = 0
