"""Psf: what every point spread function can do."""

import abc
import logging
import math
import threading
from collections import OrderedDict

import numpy as np

from .. import _core
from ..errors import DomainError, InvalidPsfError, NotFoundError, StillskyError
from ..geom import Box2I, Extent2I, Point2D, Point2I
from ..image import Image
from .moments import adaptiveImageMoments, circularFlux, kernelMoments, shiftStamp

__all__ = ["Psf"]

_log = logging.getLogger(__name__)

_FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))
_CACHE_SIZE = 100
_UNDERSAMPLED_SIGMA = 0.7


class _Cache:
    """The results of the last calls, by key; safe from many threads, never pickled."""

    def __init__(self):
        self._lock = threading.Lock()
        self._items = OrderedDict()

    def get(self, key, compute):
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        value = compute()  # outside the lock: two threads may compute the same, none waits for the other
        with self._lock:
            value = self._items.setdefault(key, value)
            while len(self._items) > _CACHE_SIZE:
                self._items.popitem(last=False)
        return value


def _readOnly(array):
    array = np.ascontiguousarray(array, dtype=np.float64)
    array.setflags(write=False)
    return array


class Psf(abc.ABC):
    """Base of all point spread functions.

    Parameters
    ----------
    averagePosition : (`float`, `float`)
        A position, parent coordinates, where the PSF is defined; it stands in for a position of None or NaN.

    Notes
    -----
    Objects are immutable and may be used from many threads. Images are float64 with odd dimensions (the double
    Gaussian allows even ones) and the centre at (w // 2, h // 2); their pixels are read-only. Subclasses implement
    `_kernelArray`, `_dimensionsAt`, `persist` and `_restore`; models with a formula override `_shiftedArray`.
    """

    _classes = {}
    #: Whether the kernel image depends on the position.
    isSpatiallyVarying = True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        Psf._classes[cls.__name__] = cls

    def __init__(self, averagePosition=(0.0, 0.0)):
        x, y = averagePosition
        if not (math.isfinite(x) and math.isfinite(y)):
            raise DomainError(f"Psf: averagePosition must be finite, got ({x}, {y})")
        self._average = (float(x), float(y))
        self._reset()

    def _reset(self):
        self._cache = _Cache()
        self._hash = None
        self._checkedSampling = False

    # ------------------------------------------------------------------ to be implemented

    @abc.abstractmethod
    def _kernelArray(self, x, y):
        """Pixels of the PSF at (x, y), centred on a pixel, sum 1."""

    @abc.abstractmethod
    def _dimensionsAt(self, x, y):
        """(width, height) of `_kernelArray` without computing it."""

    @abc.abstractmethod
    def persist(self):
        """The PSF as plain data, without pickle.

        Returns
        -------
        className : `str`
        header : `dict`
            Upper-case keys of at most 8 characters, values `str`, `int`, `float` or `bool`.
        arrays : `dict`
            Name -> `numpy.ndarray`.
        """

    @classmethod
    @abc.abstractmethod
    def _restore(cls, header, arrays):
        """The inverse of `persist`."""

    def _shiftedArray(self, x, y, dx, dy):
        """Pixels of the PSF at (x, y), moved by a fraction of a pixel."""
        if dx or dy:
            self._checkSampling()
        return shiftStamp(self._kernel(x, y), dx, dy)

    # ------------------------------------------------------------------ positions

    @property
    def averagePosition(self):
        """Where the PSF is always defined, parent coordinates."""
        return Point2D(*self._average)

    def _position(self, position):
        if position is None:
            return self._average
        x, y = (float(v) for v in position)
        return self._average if math.isnan(x) or math.isnan(y) else (x, y)

    def _kernel(self, x, y):
        return self._cache.get(("kernel", x, y), lambda: _readOnly(self._kernelArray(x, y)))

    def _shape(self, x, y):
        def compute():
            array = self._kernel(x, y)
            height, width = array.shape
            return adaptiveImageMoments(array, (-(width // 2), -(height // 2)))[:3]

        return self._cache.get(("shape", x, y), compute)

    def _checkSampling(self):
        if self._checkedSampling:
            return
        self._checkedSampling = True
        radius = math.sqrt(self.effectiveArea() / (4 * math.pi))
        if radius < _UNDERSAMPLED_SIGMA:
            _log.warning("PSF of sigma %.2f pixel: a fractional shift of its stamp is not trustworthy", radius)

    # ------------------------------------------------------------------ images

    def computeKernelImage(self, position=None):
        """The PSF centred on pixel (0, 0), sum 1.

        Parameters
        ----------
        position : (`float`, `float`), optional
            Where to evaluate the spatial variation; its fractional part shifts nothing.

        Returns
        -------
        image : `stillsky.image.Image`
            float64, read-only, xy0 = (-(w // 2), -(h // 2)).
        """
        array = self._kernel(*self._position(position))
        height, width = array.shape
        return Image(array, xy0=(-(width // 2), -(height // 2)))

    def computeImage(self, position=None):
        """A star at a position, as it falls on the pixels: the fractional shift is applied.

        Parameters
        ----------
        position : (`float`, `float`), optional
            Parent coordinates of the centre.

        Returns
        -------
        image : `stillsky.image.Image`
            float64, read-only, in parent coordinates. Its sum is 1 but for light shifted off the stamp.
        """
        x, y = self._position(position)
        ix, iy = math.floor(x + 0.5), math.floor(y + 0.5)
        array = self._cache.get(("image", x, y), lambda: _readOnly(self._shiftedArray(x, y, x - ix, y - iy)))
        height, width = array.shape
        return Image(array, xy0=(ix - width // 2, iy - height // 2))

    def computeKernelImages(self, xs, ys):
        """Kernel images at many positions.

        Parameters
        ----------
        xs, ys : array_like, (m,)

        Returns
        -------
        images : `numpy.ndarray`, (m, height, width)
            StillskyError when the stamps differ in size.
        """
        if np.size(xs) == 0:
            return np.zeros((0, *self._dimensionsAt(*self._average)[::-1]))
        images = [self._kernel(*self._position(p)) for p in zip(np.ravel(xs), np.ravel(ys))]
        if len({image.shape for image in images}) > 1:
            raise StillskyError("computeKernelImages: the stamps at these positions differ in size")
        return np.array(images)

    def computeImages(self, xs, ys):
        """Stars at many positions, as they fall on the pixels.

        Parameters
        ----------
        xs, ys : array_like, (m,)
            Finite positions, parent coordinates.

        Returns
        -------
        stamps : `numpy.ndarray`, (m, height, width)
            The pixels of `computeImage` at each position.
        x0, y0 : int32 arrays, (m,)
            Parent coordinates of the first pixel of each stamp. StillskyError when the stamps differ in size.
        """
        xs, ys = (np.ravel(np.asarray(v, dtype=np.float64)) for v in (xs, ys))
        ix, iy = (np.floor(v + 0.5) for v in (xs, ys))
        stamps = self._shiftedArrays(xs, ys, xs - ix, ys - iy)
        height, width = stamps.shape[1:]
        return stamps, (ix - width // 2).astype(np.int32), (iy - height // 2).astype(np.int32)

    def _shiftedArrays(self, xs, ys, dx, dy):
        """`_shiftedArray` at many positions, (m, height, width)."""
        if type(self)._shiftedArray is not Psf._shiftedArray and len(xs):
            stamps = [self.computeImage(position).array for position in zip(xs, ys, strict=True)]
            if len({stamp.shape for stamp in stamps}) > 1:
                raise StillskyError("computeImages: the stamps at these positions differ in size")
            return np.array(stamps)
        if dx.any() or dy.any():
            self._checkSampling()
        varies = self.isSpatiallyVarying or not len(xs)
        kernels = self.computeKernelImages(xs, ys) if varies else self._kernel(*self._average)[None]
        return _core.shiftStamps(kernels, dx, dy)

    def computeBBox(self, position=None):
        """Box of `computeKernelImage`, without computing pixels."""
        width, height = self._dimensionsAt(*self._position(position))
        return Box2I(Point2I(-(width // 2), -(height // 2)), Extent2I(width, height))

    def computeImageBBox(self, position=None):
        """Box of `computeImage`: that of the kernel image, shifted by floor(position + 0.5)."""
        x, y = self._position(position)
        return self.computeBBox((x, y)).shifted(Extent2I(math.floor(x + 0.5), math.floor(y + 0.5)))

    def localKernel(self, position=None):
        """A fixed convolution kernel equal to the kernel image."""
        from .._core import FixedKernel

        return FixedKernel(np.array(self._kernel(*self._position(position))))

    # ------------------------------------------------------------------ numbers

    def computePeak(self, position=None):
        """Value of the kernel image at (0, 0)."""
        array = self._kernel(*self._position(position))
        return float(array[array.shape[0] // 2, array.shape[1] // 2])

    def computeApertureFlux(self, radius, position=None):
        """Fraction of the light within a circle (pixels) around the centre."""
        array = self._kernel(*self._position(position))
        height, width = array.shape
        return circularFlux(array, (-(width // 2), -(height // 2)), radius)

    def computeShape(self, position=None):
        """Adaptive Gaussian-weighted second moments (Ixx, Iyy, Ixy) in square pixels.

        Raises
        ------
        stillsky.DomainError
            The moments do not converge.
        """
        return self._shape(*self._position(position))

    def computeShapes(self, xs, ys):
        """Second moments at many positions.

        Parameters
        ----------
        xs, ys : array_like, (m,)

        Returns
        -------
        moments : `numpy.ndarray`, (m, 3)
            Ixx, Iyy, Ixy of `computeShape`; NaN where they do not converge.
        """
        xs, ys = (np.ravel(np.asarray(v, dtype=np.float64)) for v in (xs, ys))
        if self.isSpatiallyVarying and type(self)._shape is Psf._shape:
            return kernelMoments(self.computeKernelImages(xs, ys))
        positions = zip(xs, ys, strict=True) if self.isSpatiallyVarying else [self._average] * min(1, len(xs))
        out = np.full((len(xs) if self.isSpatiallyVarying else min(1, len(xs)), 3), np.nan)
        for row, position in zip(out, positions, strict=True):
            try:
                row[:] = self.computeShape(position)
            except DomainError:
                continue
        return np.broadcast_to(out, (len(xs), 3)).copy()

    def determinantRadius(self, position=None):
        """(Ixx Iyy - Ixy^2)^(1/4) in pixels: sigma of a Gaussian."""
        xx, yy, xy = self.computeShape(position)
        return (xx * yy - xy * xy) ** 0.25

    def matchedSigma(self, position=None):
        """Sigma of the Gaussian that stands for the PSF where sources are searched.

        `determinantRadius`, or where the adaptive moments do not exist, as of a sharpened PSF with deep lobes, that of the
        Gaussian with the same noise-equivalent area, 1 / (2 sqrt(pi sum p^2)) (King 1983, PASP 95, 163).
        """
        try:
            return self.determinantRadius(position)
        except InvalidPsfError:
            raise
        except DomainError:
            pixels = self.computeKernelImage(position).array
            return float(pixels.sum() / (2 * math.sqrt(math.pi) * np.linalg.norm(pixels)))

    def sigma(self, position=None):
        """The same as `determinantRadius`."""
        return self.determinantRadius(position)

    def fwhm(self, position=None):
        """2.354820045 sqrt((Ixx + Iyy) / 2) in pixels."""
        xx, yy, _ = self.computeShape(position)
        return _FWHM_PER_SIGMA * math.sqrt(0.5 * (xx + yy))

    def effectiveArea(self, position=None):
        """Noise-equivalent area 1 / sum(P^2) in square pixels."""
        return float(1.0 / np.square(self._kernel(*self._position(position))).sum())

    # ------------------------------------------------------------------ values

    def resized(self, width, height):
        """The same PSF on stamps of another size, cut or padded with zeros, sum 1.

        Raises
        ------
        stillsky.StillskyError
            The class cannot do it.
        stillsky.DomainError
            A dimension is not odd and positive.
        """
        raise StillskyError(f"{type(self).__name__}.resized is not implemented")

    def clone(self):
        """An equal object. PSFs are immutable, so this is cheap and rarely needed."""
        return Psf.restore(*self.persist())

    @staticmethod
    def restore(className, header, arrays):
        """A PSF from what `persist` returned.

        Raises
        ------
        stillsky.NotFoundError
            Unknown class name.
        """
        # Rows of a FITS table or masked arrays come back big-endian: make them native.
        arrays = {name: np.asarray(a) for name, a in arrays.items()}
        arrays = {name: a.astype(a.dtype.newbyteorder("="), copy=False) for name, a in arrays.items()}
        if className not in Psf._classes:
            raise NotFoundError(f"Psf.restore: no PSF class {className!r}; known: {', '.join(sorted(Psf._classes))}")
        return Psf._classes[className]._restore(header, arrays)

    def __reduce__(self):
        return Psf.restore, self.persist()

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __eq__(self, other):
        if self is other:
            return True
        if type(self) is not type(other):
            return NotImplemented
        _, header, arrays = self.persist()
        _, otherHeader, otherArrays = other.persist()
        return (
            header == otherHeader
            and arrays.keys() == otherArrays.keys()
            and all(np.array_equal(a, otherArrays[name]) for name, a in arrays.items())
        )

    def __hash__(self):
        if self._hash is None:
            name, header, arrays = self.persist()
            content = tuple((k, np.ascontiguousarray(a).tobytes()) for k, a in sorted(arrays.items()))
            self._hash = hash((name, tuple(sorted(header.items())), content))
        return self._hash

    def __repr__(self):
        width, height = self._dimensionsAt(*self._average)
        return f"{type(self).__name__}({width} x {height} pixels)"


def averageCards(psf):
    """Header cards of the average position."""
    x, y = psf.averagePosition
    return {"AVGX": float(x), "AVGY": float(y)}


def averageOf(header):
    """The average position from header cards."""
    return float(header["AVGX"]), float(header["AVGY"])


def checkOdd(name, width, height):
    """DomainError unless both dimensions are odd and positive."""
    if width < 1 or height < 1 or width % 2 == 0 or height % 2 == 0:
        raise DomainError(f"{name}: width and height must be odd and positive, got {width} x {height}")
    return int(width), int(height)


def fitStamp(array, width, height, normalise=True):
    """Centre of a stamp on another size, cut or padded with zeros, sum 1 if asked."""
    out = np.zeros((height, width))
    ch, cw = (min(a, b) for a, b in zip(array.shape, out.shape))
    source, target = (
        tuple(slice(n // 2 - c // 2, n // 2 - c // 2 + c) for n, c in zip(a.shape, (ch, cw))) for a in (array, out)
    )
    out[target] = array[source]
    return normalised(out) if normalise else out


def normalised(array):
    """The array divided by its sum. DomainError when that is zero or not finite."""
    total = array.sum()
    if not (np.isfinite(total) and abs(total) > 1e-300):
        raise DomainError(f"PSF image: the sum of the pixels must be finite and not zero, got {total}")
    return array if abs(total - 1) < 1e-14 else array / total  # twice is once: stored PSFs come back bit for bit
