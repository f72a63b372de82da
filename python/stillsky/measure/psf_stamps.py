"""PSF images at many positions, as stacks for the compiled code."""

import math

import numpy as np

from .. import errors

#: Positions handled at once: bounds the memory of the stamps.
CHUNK = 250
_FARTHEST = 2.0**30  # coordinate of a pixel: their numbers are 32 bits long


def chunks(n):
    """Slices that cut n sources into pieces of at most `CHUNK`."""
    return [slice(i, min(n, i + CHUNK)) for i in range(0, n, CHUNK)]


def starImages(psf, x, y):
    """PSF images shifted to positions (parent coordinates).

    Returns
    -------
    stamps : float64 array, shape (n, height, width)
        Smaller stamps are padded with zeros.
    x0, y0 : int32 arrays
        Parent coordinates of the first pixel of each stamp.
    ok : bool array
        False where the PSF is not defined or the position not finite or beyond all pixels; the stamp then is 0.
    """
    x, y = (np.asarray(v, float) for v in (x, y))
    ok = np.maximum(np.abs(x), np.abs(y)) < _FARTHEST
    try:
        some = psf.computeImages(x[ok], y[ok])
    except errors.StillskyError:  # undefined at a position, or stamps of several sizes
        return _starImagesOneByOne(psf, x, y)
    if ok.all():
        return *some, ok
    stamps = np.zeros((len(x), *some[0].shape[1:]))
    origin = np.zeros((2, len(x)), np.int32)
    stamps[ok], origin[:, ok] = some[0], some[1:]
    return stamps, origin[0], origin[1], ok


def _starImagesOneByOne(psf, x, y):
    known = np.maximum(np.abs(x), np.abs(y)) < _FARTHEST
    images = [_imageAt(psf, (px, py)) if k else None for px, py, k in zip(x, y, known, strict=True)]
    ok = np.array([image is not None for image in images], bool)
    shapes = [image.array.shape for image in images if image is not None] or [(1, 1)]
    height, width = (max(s[axis] for s in shapes) for axis in (0, 1))
    stamps = np.zeros((len(images), height, width))
    origin = np.zeros((2, len(images)), np.int32)
    for i, image in enumerate(images):
        if image is not None:
            stamps[i, : image.array.shape[0], : image.array.shape[1]] = image.array
            origin[:, i] = tuple(image.xy0)
    return stamps, origin[0], origin[1], ok


def _imageAt(psf, position):
    try:
        return psf.computeImage(position)
    except errors.DomainError:
        return None


class PsfKernels:
    """Kernel images and adaptive moments of a PSF at many positions; a PSF that is the same everywhere is measured once.

    Keep the number of positions to that of a chunk: every kernel is in memory.

    Attributes
    ----------
    kernels : float64 array, shape (m, height, width)
        Distinct kernels, odd dimensions.
    index : int array
        Which kernel belongs to which source; -1 where the PSF is not defined.
    moments : float64 array, shape (m, 3)
        xx, yy, xy; NaN where they do not converge.
    """

    def __init__(self, psf, x, y):
        x, y = (np.asarray(v, float) for v in (x, y))
        known = np.isfinite(x) & np.isfinite(y)
        average = psf.averagePosition
        self._psf, self._x, self._y = psf, np.where(known, x, average.x), np.where(known, y, average.y)
        self._measured = None
        self.index = np.arange(len(x))
        if not psf.isSpatiallyVarying and len(x):
            self.index = np.zeros(len(x), int)
            self._x, self._y = self._x[:1], self._y[:1]
        try:
            self.kernels = _odd(psf.computeKernelImages(self._x, self._y)) if len(x) else np.zeros((0, 1, 1))
        except errors.StillskyError:  # undefined at a position, or kernels of several sizes
            self._oneByOne()

    def _oneByOne(self):
        kernels, index = [], self.index.copy()
        for i, position in enumerate(zip(self._x, self._y, strict=True)):
            try:
                kernels.append(_odd(self._psf.computeKernelImage(position).array[None])[0])
            except errors.DomainError:
                index[self.index == i] = -1
            else:
                index[self.index == i] = len(kernels) - 1
        kept = np.array([(index == k).nonzero()[0][0] for k in range(len(kernels))], int)
        self._x, self._y, self.index = self._x[kept], self._y[kept], index
        height, width = (max((k.shape[axis] for k in kernels), default=1) for axis in (0, 1))
        self.kernels = np.zeros((len(kernels), height, width))
        for out, kernel in zip(self.kernels, kernels, strict=True):
            top, left = (height - kernel.shape[0]) // 2, (width - kernel.shape[1]) // 2
            out[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel

    @property
    def moments(self):
        """(Ixx, Iyy, Ixy) at each position, square pixels, array (n, 3)."""
        if self._measured is None:
            try:
                self._measured = self._psf.computeShapes(self._x, self._y)
            except errors.StillskyError:
                self._measured = np.array(
                    [_momentsOf(self._psf, p) for p in zip(self._x, self._y, strict=True)]
                ).reshape(-1, 3)
        return self._measured

    def of(self, values):
        """Values of the distinct kernels, one per source; NaN where the PSF is not defined."""
        out = np.full((len(self.index), *values.shape[1:]), np.nan)
        out[self.index >= 0] = values[self.index[self.index >= 0]]
        return out

    @property
    def sigma(self):
        """Determinant radius per source, pixels."""
        return sigmaOf(self.of(self.moments))


class PsfShapes:
    """Moments and effective areas of a PSF at many positions, evaluated once, when first asked for.

    Attributes
    ----------
    moments : float64 array, shape (n, 3)
        xx, yy, xy per position; NaN where the PSF is not defined or they do not converge.
    sigma : float64 array, shape (n,)
        Determinant radius, pixels.
    effectiveArea : float64 array, shape (n,)
        (sum P)^2/sum P^2, pixels.
    """

    def __init__(self, psf, x, y):
        self._psf, self._x, self._y = psf, np.asarray(x, float), np.asarray(y, float)
        self._figures = None

    def _measured(self):
        if self._figures is None:
            self._figures = np.full((len(self._x), 4), np.nan)
            for part in chunks(len(self._x)):
                at = PsfKernels(self._psf, self._x[part], self._y[part])
                flat = at.kernels.reshape(len(at.kernels), np.prod(at.kernels.shape[1:], dtype=int))
                self._figures[part, :3] = at.of(at.moments)
                self._figures[part, 3] = at.of(flat.sum(axis=1) ** 2 / np.einsum("ij,ij->i", flat, flat))
        return self._figures

    @property
    def moments(self):
        """(Ixx, Iyy, Ixy) at each position, square pixels, array (n, 3)."""
        return self._measured()[:, :3]

    @property
    def sigma(self):
        """Determinant radius at each position, pixels."""
        return sigmaOf(self.moments)

    @property
    def effectiveArea(self):
        """Noise-equivalent area at each position, square pixels."""
        return self._measured()[:, 3]


def _odd(kernels):
    """Kernels with a row or column of zeros behind where a dimension is even: the centre index stays w // 2."""
    height, width = kernels.shape[1:]
    if height % 2 and width % 2:
        return kernels
    return np.pad(kernels, ((0, 0), (0, 1 - height % 2), (0, 1 - width % 2)))


def sigmaOf(moments):
    """Determinant radius, pixels, of moments (n, 3)."""
    xx, yy, xy = moments.T
    return np.maximum(xx * yy - xy**2, 0) ** 0.25


def _momentsOf(psf, position):
    try:
        return tuple(psf.computeShape(position))
    except errors.DomainError:
        return (math.nan,) * 3
