"""Stacks: one statistic of many images, pixel by pixel (`statisticsStack`), in row bands (`stackStrips`), or as a running
mean (`AccumulatorMeanStack`)."""

import logging
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from .. import _core
from ..errors import DomainError, ShapeError
from .statistics import StatisticsControl, _asFlags, planesOf

__all__ = ["AccumulatorMeanStack", "FileRows", "stackStrips", "statisticsStack"]

_log = logging.getLogger(__name__)


class FileRows(NamedTuple):
    """Rows of the planes of an image in a file, for `stackStrips`: they are read a few at a time by the threads that stack them.

    Attributes
    ----------
    descriptor : `int`
        Of the open file.
    image, mask, variance : `int`
        Bytes before the first pixel of each plane; float32, int32, float32.
    rowBytes : `int`
        Bytes from row to row of a plane.
    swap : (`bool`, `bool`, `bool`)
        Planes whose byte order is not that of this machine.
    """

    descriptor: int
    image: int
    mask: int
    variance: int
    rowBytes: int
    swap: tuple


def stackStrips(
    images,
    masks,
    variances,
    weights,
    flags,
    control=None,
    *,
    outImage=None,
    outMask=None,
    outVariance=None,
    kept=None,
    nImage=None,
    clipped=0,
    maskMap=(),
    inverseVariance=False,
    numThreads=None,
):
    """Stack arrays pixel by pixel: the low level of `statisticsStack`, for bands of rows.

    Parameters
    ----------
    images : sequence of `numpy.ndarray`, (h, w), or `FileRows`
        With `FileRows`, mask and variance are in the file as well, and what is given of them is not looked at; all images
        are then float32, ``outImage`` has their size, and an OSError of reading has the number of the image as ``index``.
        Arrays: float32, or float64 for a float64 result; of any byte order and row stride (views of memory-mapped FITS data are
        read in place). Other types, or a mixture, are converted first.
    masks : sequence of (`numpy.ndarray` or None), or None
        int32 of any byte order, bits as the control means them; None: no bits set.
    variances : sequence of `numpy.ndarray`, or None
        float32 of any byte order. May be None where neither weights nor errors need them.
    weights : sequence of `float`, or None
        One per image, >= 0.
    flags : `Property`, `int` or `str`
        Exactly one property.
    control : `StatisticsControl`, optional
    outImage, outMask, outVariance : `numpy.ndarray`, (h, w), optional
        Where to write: float32 or float64 like the images, int32, float32. Left out: not computed.
    kept : `numpy.ndarray` of uint16, (h, w), optional
        Number of samples behind each value: usable ones, less those clipped.
    nImage : `numpy.ndarray` of uint16, (h, w), optional
        Number of samples whose mask has no bit of ``control.andMask``, whatever their value.
    clipped : `int`
        Bits set where clipping rejected a sample.
    maskMap : sequence of (`int`, `int`)
        (in, out): where a sample was not usable and any sample of the pixel has a bit of ``in``, ``out`` is set.
    inverseVariance : `bool`
        Weight of a sample = weight of its image / its variance.
    numThreads : `int`, optional
        For this call.

    Raises
    ------
    ShapeError
        No images, or sizes differ.
    DomainError
        Wrong number of weights, a negative weight, not exactly one property, or a variance is wanted and not given.

    Notes
    -----
    A pixel depends on its own samples only: bands of any height give the same bits. Peak memory beside the arrays: one
    strip of 64 pixels of all images per thread.
    """
    from ..threads import numThreads as threads

    files = [image if isinstance(image, FileRows) else None for image in images]
    inMemory = [np.asarray(image) for image, rows in zip(images, files) if rows is None]
    isDouble = (bool(inMemory) or not files) and _isDouble(inMemory)
    planes = [
        _inPlace(_withoutFiles(images, files), np.float64 if isDouble else np.float32, "images"),
        _inPlace(_withoutFiles(masks, files), np.int32, "masks", len(files)),
        _inPlace(_withoutFiles(variances, files), np.float32, "variances", len(files)),
    ]
    if any(files):
        for k, (_, swap) in enumerate(planes):
            swap[:] = [rows.swap[k] if rows else bool(swap) and swap[i] for i, rows in enumerate(files)]
    with nullcontext() if numThreads is None else threads(numThreads):
        _core.stackStrips(
            *(arrays for arrays, _ in planes),
            [swap for _, swap in planes],
            [] if weights is None else [float(w) for w in weights],
            bool(inverseVariance),
            _asFlags(flags),
            StatisticsControl() if control is None else control,
            clipped,
            [(int(a), int(b)) for a, b in maskMap],
            isDouble,
            outImage,
            outMask,
            outVariance,
            kept,
            nImage,
            [None if rows is None else tuple(rows[:5]) for rows in files] if any(files) else [],
        )


def _withoutFiles(planes, files):
    """The planes that are arrays; None for those in files."""
    if planes is None or len(planes) != len(files):
        return planes
    return [None if rows else plane for plane, rows in zip(planes, files)]


def _isDouble(images):
    """float32 only if every image is: big-endian float32 counts, integers and float64 do not."""
    return not images or any(image.dtype.newbyteorder("=") != np.float32 for image in images)


def _inPlace(planes, dtype, name, n=None):
    """Arrays seen as native ``dtype`` without a copy where that is possible, and which of them hold the other byte order."""
    if planes is None:
        return [], []
    if n is not None and len(planes) != n:
        raise ShapeError(f"{name}: wanted one for each of {n} images, got {len(planes)}")
    arrays, swap = [], []
    dtype = np.dtype(dtype)
    for plane in planes:
        if plane is None:
            arrays.append(None)
            swap.append(False)
            continue
        array = np.asarray(plane)
        if array.dtype.newbyteorder("=") != dtype:
            if array.dtype.kind == "f" and dtype.kind != "f":
                raise TypeError(f"{name}: wanted integers, got {array.dtype}")
            array = array.astype(dtype)
        if array.ndim != 2:
            raise ShapeError(f"{name}: wanted 2-D arrays, got shape {array.shape}")
        contiguous = array.size == 0 or array.shape[1] == 1 or array.strides[1] == array.itemsize
        if not contiguous or array.strides[0] % array.itemsize:
            array = np.ascontiguousarray(array)
        swap.append(not array.dtype.isnative)
        arrays.append(array.view(dtype) if swap[-1] else array)
    return arrays, swap


def statisticsStack(images, flags, *args, maskMap=None, out=None, inverseVariance=False, **kwargs):
    """Stack images pixel by pixel.

    ``statisticsStack(images, flags, sctrl=None, wvector=None, clipped=0, excuse=0)`` stacks a list;
    ``statisticsStack(images, flags, sctrl, wvector, clipped, maskMap)`` does so with a mask map;
    ``statisticsStack(out, images, flags, ...)`` writes into an image that exists; and
    ``statisticsStack(image, flags, "x" | "y", sctrl=None)`` collapses one image along an axis.

    Parameters
    ----------
    images : sequence of `MaskedImage` or `Exposure`, of `Image` or 2-D array, or of 1-d arrays or lists
        Of equal sizes; float32 unless one is of another type (then float64).
    flags : `Property`, `int` or `str`
        Exactly one property (and possibly ERRORS).
    sctrl : `StatisticsControl`, optional
        What is usable, clipping, errors, propagation of mask bits.
    wvector : sequence of `float`, optional
        One weight per image, >= 0. Weights that are given are used (in compat with masked images: only if
        ``sctrl.weighted`` is True). ``sctrl.weighted`` True without weights: 1/variance of each sample.
    clipped : `int`
        Bits set where clipping rejected a sample, and where masks rejected one unless for bits of ``excuse``.
    excuse : `int`
        Mask bits that excuse a rejection.
    maskMap : sequence of (`int`, `int`), optional
        (in, out), instead of ``excuse``: where a sample was not usable and any sample of the pixel has a bit of ``in``,
        ``out`` is set; ``clipped`` then stands for clipping alone.
    out : `MaskedImage`, `Image` or array, optional
        Written instead of a new image.
    inverseVariance : `bool`
        With weights: weight of a sample = weight of its image / its variance.

    Returns
    -------
    stack : `MaskedImage`, `Image` or `numpy.ndarray`
        Like the inputs: value, mask and squared error of the value. ``xy0`` is that of the images if all agree, else
        (0, 0) (always in compat). Collapsed: "x" one value per row (width 1), "y" one per column (height 1).

    Raises
    ------
    ShapeError
        No images, or sizes differ.
    DomainError
        Wrong number of weights, a negative weight, not exactly one property, another axis, variances missing.
    MaskSchemaError
        The images have more than 31 mask planes between them.

    Notes
    -----
    Value and error are those of `makeStatistics` for the samples of the pixel; no usable sample: NaN, and the mask is
    ``sctrl.noGoodPixelsMask``. The mask is the OR over the samples kept (`StatisticsControl.orMaskClipped`), plus
    propagated bits. A single image comes back unchanged where it is usable. Bits in the arguments are those of the first
    image's mask planes; planes that others have elsewhere are moved, planes that it lacks are added to the result.
    """
    if _isStackable(flags):  # in-place form: the first argument is the output
        if out is not None:
            raise TypeError("statisticsStack: output given twice")
        if not args:
            raise TypeError("statisticsStack: flags are missing")
        out, images, flags, args = images, flags, args[0], args[1:]
    if args and isinstance(args[0], str):
        return _collapse(images, flags, *args, **kwargs)
    sctrl, wvector, clipped, excuse = _arguments(args, kwargs)
    if not isinstance(excuse, int | np.integer):  # positional mask map
        maskMap, excuse = excuse, 0
    sctrl = StatisticsControl() if sctrl is None else sctrl
    if maskMap is None:
        maskMap = [(sctrl.andMask & ~excuse, clipped)] if clipped else []
    images = [getattr(image, "maskedImage", image) for image in images]
    if not images:
        raise ShapeError("images: wanted at least one to stack, got none")
    if wvector is not None and len(wvector) == 0:
        wvector = None
    options = {"clipped": clipped, "maskMap": maskMap, "inverseVariance": inverseVariance}
    if _isMasked(images[0]):
        return _stackMasked(images, flags, sctrl, wvector, options, out)
    return _stackPlain(images, flags, sctrl, wvector, options, out)


def _isStackable(thing):
    """A list of images, where flags are wanted otherwise."""
    return isinstance(thing, list | tuple) or (isinstance(thing, np.ndarray) and thing.ndim > 0)


def _arguments(args, kwargs):
    names = ("sctrl", "wvector", "clipped", "excuse")
    values = dict(zip(names, (None, None, 0, 0)))
    if len(args) > len(names):
        raise TypeError(f"statisticsStack: wanted at most {names} after the flags, got {len(args)} arguments")
    given = dict(zip(names, args))
    for name, value in kwargs.items():
        if name not in values or name in given:
            raise TypeError(f"statisticsStack: unexpected argument {name!r}")
        given[name] = value
    values.update(given)
    return values.values()


def _isMasked(image):
    return hasattr(image, "image") and hasattr(image, "variance")


def _stackMasked(images, flags, sctrl, wvector, options, out):
    from ..image import Image, Mask, MaskedImage

    if sctrl.compat and wvector is not None and not sctrl.getWeighted():
        _log.warning("statisticsStack: weights are ignored, because sctrl.weighted is not True")
    schema = images[0].mask.schema
    for image in images[1:]:
        if image.mask.schema != schema:
            schema = schema.merged(image.mask.schema)
    shape = images[0].image.array.shape
    arrays = [image.image.array for image in images]
    if out is None:
        pixels = np.empty(shape, np.float64 if _isDouble(arrays) else np.float32)
        xy0 = images[0].xy0
        if sctrl.compat or any(image.xy0 != xy0 for image in images):
            xy0 = (0, 0)
        mask = Mask(np.zeros(shape, np.int32), xy0, schema)
        out = MaskedImage(Image(pixels, xy0), mask, Image(np.empty(shape, np.float32), xy0))
    else:
        out = getattr(out, "maskedImage", out)
        out.mask.schema = schema
    _checkOut(arrays, out.image.array)
    _into(arrays, out.image.array, lambda pixels: stackStrips(
        arrays,
        [_maskBits(image.mask, schema) for image in images],
        [image.variance.array for image in images],
        wvector,
        flags,
        sctrl,
        outImage=pixels,
        outMask=out.mask.array,
        outVariance=out.variance.array,
        **options,
    ))  # fmt: skip
    return out


def _maskBits(mask, schema):
    """Pixels of a mask in the bits of a schema that has all its planes: its own array unless a plane must move."""
    if all(schema.bit(name) == bit for name, bit in mask.schema.items()):
        return mask.array
    return mask.copy().conformTo(schema).array


def _stackPlain(images, flags, sctrl, wvector, options, out):
    from ..image import Image

    arrays = [np.asarray(getattr(image, "array", image)) for image in images]
    isVector = arrays[0].ndim == 1
    if isVector:
        lengths = {len(np.atleast_1d(array)) for array in arrays}
        if any(array.ndim != 1 for array in arrays) or len(lengths) > 1:
            raise ShapeError(f"images: wanted vectors of equal length, got lengths {sorted(lengths)}")
        arrays = [array[np.newaxis] for array in arrays]
    if out is None:
        pixels = np.empty(arrays[0].shape, np.float64 if _isDouble(arrays) else np.float32)
    else:
        pixels = np.asarray(getattr(out, "array", out))
        pixels = pixels[np.newaxis] if isVector else pixels
    _checkOut(arrays, pixels)
    _into(
        arrays,
        pixels,
        lambda target: stackStrips(arrays, None, None, wvector, flags, sctrl, outImage=target, **options),
    )
    if out is not None:
        return out
    if isVector:
        return pixels[0]
    if not hasattr(images[0], "array"):
        return pixels
    xy0 = images[0].xy0
    return Image(pixels, (0, 0) if sctrl.compat or any(getattr(i, "xy0", xy0) != xy0 for i in images) else xy0)


def _checkOut(arrays, pixels):
    if pixels.dtype not in (np.float32, np.float64):
        raise TypeError(f"out: wanted float32 or float64 pixels, got {pixels.dtype}")
    if pixels.shape != arrays[0].shape:
        raise ShapeError(f"out: wanted shape {arrays[0].shape} like the images, got {pixels.shape}")


def _into(arrays, pixels, stack):
    """Run ``stack(target)``, with a target of the type that the inputs give, and copy if the output's differs."""
    dtype = np.float64 if _isDouble(arrays) else np.float32
    target = pixels if pixels.dtype == dtype else np.empty(pixels.shape, dtype)
    stack(target)
    if target is not pixels:
        pixels[...] = target


def _collapse(image, flags, axis, sctrl=None):
    from ..image import Image, MaskedImage

    xy0 = getattr(image, "xy0", (0, 0))
    isMasked = _isMasked(getattr(image, "maskedImage", image))
    pixels, mask, variance = planesOf(image)
    if pixels.dtype not in (np.float32, np.float64):
        pixels = pixels.astype(np.float64)
    if len(axis) != 1:
        raise DomainError(f"axis: wanted 'x' or 'y', got {axis!r}")
    sctrl = StatisticsControl() if sctrl is None else sctrl
    value, squared = _core.collapse(pixels, mask, variance, _asFlags(flags), axis, sctrl)
    if isMasked:
        xy0 = (0, 0) if sctrl.compat else xy0
        return MaskedImage(Image(value, xy0), None, Image(squared, xy0))
    return Image(value, xy0) if hasattr(image, "array") else value


class AccumulatorMeanStack:
    """Mean of images that are added one at a time, with the semantics of `statisticsStack` with MEAN.

    Parameters
    ----------
    shape : (`int`, `int`)
        (height, width).
    bitMaskValue : `int`
        A sample whose mask has any of these bits is not used.
    maskThresholdDict : `dict` of `int` to `float`, optional
        Bit number -> share of rejected weight above which the bit enters the mask.
    maskMap : sequence of (`int`, `int`), optional
        As for `statisticsStack`.
    noGoodPixelsMask : `int`, optional
        Mask where no sample was usable; default: NO_DATA.
    calcErrorFromInputVariance : `bool`
        Variance from the variance planes, else from the scatter.
    computeNImage : `bool`
        Count the usable samples of each pixel (`nImage`).
    inverseVariance : `bool`
        Weight of a sample = weight of its image / its variance.
    dtype : `numpy.dtype`
        float32, or float64 for images of float64.

    Notes
    -----
    NaN and infinite samples are not used. Memory: 40 bytes a pixel, 16 more with errors from the scatter, 8 more for each
    threshold.
    """

    def __init__(
        self,
        shape,
        bitMaskValue=0,
        maskThresholdDict=None,
        maskMap=(),
        noGoodPixelsMask=None,
        calcErrorFromInputVariance=True,
        computeNImage=False,
        *,
        inverseVariance=False,
        dtype=np.float32,
    ):
        control = StatisticsControl(
            andMask=bitMaskValue,
            calcErrorFromInputVariance=calcErrorFromInputVariance,
            maskPropagationThresholds=dict(maskThresholdDict or {}),
        )
        if noGoodPixelsMask is not None:
            control.noGoodPixelsMask = noGoodPixelsMask
        self.shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._computeNImage = computeNImage
        height, width = self.shape
        maskMap = [(int(a), int(b)) for a, b in maskMap]
        self._stack = _core.MeanStack(width, height, self._dtype == np.float64, control, inverseVariance, maskMap)

    @staticmethod
    def statsCtrlToThresholdDict(statsCtrl):
        """Thresholds of bits 0..30 of a `StatisticsControl` that are not 1."""
        return dict(statsCtrl.maskPropagationThresholds)

    def reset(self):
        """Forget everything that was added."""
        self._stack.reset()

    def addMaskedImage(self, maskedImage, weight=1.0):
        """Add a `MaskedImage` or `Exposure`. ShapeError when its size differs, DomainError for a negative weight."""
        maskedImage = getattr(maskedImage, "maskedImage", maskedImage)
        self.addArrays(maskedImage.image.array, maskedImage.mask.array, maskedImage.variance.array, weight)

    def addImage(self, image, weight=1.0):
        """Add a plain `Image` or array (needs ``calcErrorFromInputVariance=False``)."""
        self.addArrays(getattr(image, "array", image), None, None, weight)

    def addArrays(self, image, mask, variance, weight=1.0):
        """Add planes as arrays of any byte order; mask and variance may be None as for `stackStrips`."""
        planes, swap = zip(*(
            tuple(part[0] for part in _inPlace([plane], dtype, name))
            for plane, dtype, name in ((image, self._dtype, "image"), (mask, np.int32, "mask"), (variance, np.float32, "variance"))
        ))  # fmt: skip
        self._stack.add(*planes, list(swap), float(weight))

    def fillStackedMaskedImage(self, stackedMaskedImage):
        """Write the mean of what was added into a `MaskedImage` of this dtype."""
        out = getattr(stackedMaskedImage, "maskedImage", stackedMaskedImage)
        self._stack.fill(out.image.array, out.mask.array, out.variance.array, None, None)

    def fillStackedImage(self, stackedImage):
        """Write the mean into an `Image` or array of this dtype."""
        self._stack.fill(np.asarray(getattr(stackedImage, "array", stackedImage)), None, None, None, None)

    @property
    def nImage(self):
        """Number of usable samples of each pixel, uint16; None unless ``computeNImage``."""
        if not self._computeNImage:
            return None
        counts = np.empty(self.shape, np.uint16)
        self._stack.fill(None, None, None, counts, None)
        return counts
