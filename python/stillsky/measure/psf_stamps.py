"""PSF images at many positions, as stacks for the compiled code."""

import math

import numpy as np

from .. import errors

#: Positions handled at once: bounds the memory of the stamps.
CHUNK = 2000


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
        False where the PSF is not defined or the position not finite; the stamp then is 0.
    """
    images, ok = [], np.zeros(len(x), bool)
    for i, position in enumerate(zip(x, y, strict=True)):
        image = _imageAt(psf, position)
        ok[i] = image is not None
        images.append(image)
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
    if not all(math.isfinite(v) for v in position):
        return None
    try:
        return psf.computeImage(position)
    except errors.DomainError:
        return None


class PsfShapes:
    """Kernel images and adaptive moments of a PSF at many positions; each distinct kernel is measured once.

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
        self.index = np.full(len(x), -1)
        kernels, moments, known = [], [], {}
        for i, position in enumerate(zip(x, y, strict=True)):
            if not all(math.isfinite(v) for v in position):
                position = None
            try:
                array = psf.computeKernelImage(position).array
            except errors.DomainError:
                continue
            key = (array.shape, array.tobytes())
            if key not in known:
                known[key] = len(kernels)
                kernels.append(_odd(array))
                moments.append(_momentsOf(psf, position))
            self.index[i] = known[key]
        height, width = (max((k.shape[axis] for k in kernels), default=1) for axis in (0, 1))
        self.kernels = np.zeros((len(kernels), height, width))
        for out, kernel in zip(self.kernels, kernels, strict=True):
            top, left = (height - kernel.shape[0]) // 2, (width - kernel.shape[1]) // 2
            out[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
        self.moments = np.array(moments).reshape(-1, 3)

    def of(self, values):
        """Values of the distinct kernels, one per source; NaN where the PSF is not defined."""
        out = np.full((len(self.index), *values.shape[1:]), np.nan)
        out[self.index >= 0] = values[self.index[self.index >= 0]]
        return out

    @property
    def sigma(self):
        """Determinant radius per source, pixels."""
        xx, yy, xy = self.of(self.moments).T
        return np.maximum(xx * yy - xy**2, 0) ** 0.25


def _odd(array):
    """The kernel with a row or column of zeros in front where a dimension is even: the centre index stays w // 2."""
    height, width = array.shape
    return np.pad(array, ((0, 1 - height % 2), (0, 1 - width % 2)))


def _momentsOf(psf, position):
    try:
        return tuple(psf.computeShape(position))
    except errors.DomainError:
        return (math.nan,) * 3
