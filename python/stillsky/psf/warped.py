"""WarpedPsf: a PSF seen through a change of pixel grid."""

import json
import math

import numpy as np
from astropy.io.fits import Header

from .. import _core
from ..errors import DomainError, InvalidPsfError
from ..geom import AffineTransform
from ..wcs import SkyWcs, pairTransform
from .base import Psf, checkOdd, fitStamp, normalised

__all__ = ["WarpedPsf"]

_MAX_STRETCH = 200.0


class _Affine:
    """Source -> destination by an affine transform."""

    def __init__(self, matrix, translation):
        (a, b), (c, d) = np.asarray(matrix, dtype=float)
        tx, ty = (float(v) for v in translation)
        self._forward = _core.AffineMapping(float(a), float(b), float(c), float(d), tx, ty)
        self._backward = self._forward.inverted()

    @staticmethod
    def _apply(mapping, x, y):
        xx, xy, yx, yy, tx, ty = mapping.coefficients
        return xx * x + xy * y + tx, yx * x + yy * y + ty

    def forward(self, x, y):
        return self._apply(self._forward, x, y)

    def backward(self, x, y):
        """Source position of a destination position, and the derivative there."""
        xx, xy, yx, yy, _, _ = self._backward.coefficients
        return self._apply(self._backward, x, y), np.array([[xx, xy], [yx, yy]])

    def persist(self):
        return dict(zip(("XX", "XY", "YX", "YY", "TX", "TY"), self._forward.coefficients)), {}


class _ThroughSky:
    """Source -> destination through two WCS."""

    def __init__(self, wcsFrom, wcsTo):
        self._wcsFrom, self._wcsTo = wcsFrom, wcsTo
        self._forward, self._backward = pairTransform(wcsFrom, wcsTo), pairTransform(wcsTo, wcsFrom)

    def forward(self, x, y):
        return tuple(float(v) for v in self._forward(x, y))

    def backward(self, x, y):
        dx, dy = np.array([0, -0.5, 0.5, 0, 0]), np.array([0, 0, 0, -0.5, 0.5])
        u, v = (np.asarray(w) for w in self._backward(x + dx, y + dy))
        return (float(u[0]), float(v[0])), np.array([[u[2] - u[1], u[4] - u[3]], [v[2] - v[1], v[4] - v[3]]])

    def persist(self):
        texts = {"wcsfrom": self._wcsFrom, "wcsto": self._wcsTo}
        return {}, {name: bytesOf(wcs.toHeader().tostring()) for name, wcs in texts.items()}


def bytesOf(text):
    """Text as an array of bytes, as tables hold it."""
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()


def textOf(array):
    """The reverse of `bytesOf`."""
    return np.asarray(array, dtype=np.uint8).tobytes().decode()


def _transformOf(transform):
    if hasattr(transform, "matrix") and hasattr(transform, "translation"):
        return _Affine(transform.matrix, transform.translation)
    if hasattr(transform, "wcsFrom"):
        return _ThroughSky(transform.wcsFrom, transform.wcsTo)
    if isinstance(transform, tuple) and len(transform) == 2:
        return _ThroughSky(*transform)
    raise DomainError(
        "WarpedPsf: transform must be an AffineTransform, a PixelTransform or a pair (source WCS, destination WCS), "
        f"got {type(transform).__name__}"
    )


class WarpedPsf(Psf):
    """A PSF resampled through the local linear part of a change of pixel grid.

    Parameters
    ----------
    psf : `Psf`
        On the source grid.
    transform : `stillsky.geom.AffineTransform`, `stillsky.wcs.PixelTransform` or (`SkyWcs`, `SkyWcs`)
        Source to destination positions; a pair is (source WCS, destination WCS).
    warpingKernelName : `str`
        Interpolation kernel of `stillsky.warp.WarpingKernel`.
    model : `str`
        "stillsky" resamples the source's kernel image once, directly onto the destination pixels; "reference" is
        Rubin's way: shift the source image by a fraction of a pixel, warp it back, and shift again for `computeImage`,
        which narrows the PSF by up to 0.8 %.
    size : (`int`, `int`), optional
        Fixed width and height; default: what holds the mapped source stamp.

    Raises
    ------
    stillsky.DomainError
        (on evaluation) The transform stretches by more than 200, or no light is left.
    stillsky.InvalidPsfError
        (on evaluation) The position has no counterpart in the source.

    Notes
    -----
    Jarvis et al. 2021 (MNRAS 501, 1282) describe why PSF models are carried through the WCS. Light beyond the source
    stamp counts as zero; the sum is 1.
    """

    def __init__(self, psf, transform, warpingKernelName="lanczos3", *, model="stillsky", size=None):
        if model not in ("stillsky", "reference"):
            raise DomainError(f"WarpedPsf: model must be 'stillsky' or 'reference', got {model!r}")
        self._psf, self._model = psf, model
        self._transform = _transformOf(transform)
        self._size = None if size is None else checkOdd("WarpedPsf", *size)
        self._control = _core.WarpingControl(warpingKernelName, model=model, scaleByArea=False)
        x, y = self._transform.forward(*psf.averagePosition)
        if not (math.isfinite(x) and math.isfinite(y)):
            raise InvalidPsfError("WarpedPsf: the average position has no counterpart on the destination grid")
        super().__init__((x, y))

    @property
    def psf(self):
        """The PSF on the source grid."""
        return self._psf

    @property
    def warpingKernelName(self):
        """Interpolation kernel of the warp."""
        return self._control.warpingKernelName

    def linearized(self, position=None):
        """The affine map destination -> source at a destination position."""
        (sx, sy), matrix, (x, y) = self._linear(*self._position(position))
        return AffineTransform(matrix, np.array([sx, sy]) - matrix @ np.array([x, y]))

    def _linear(self, x, y):
        (sx, sy), matrix = self._transform.backward(x, y)
        if not (math.isfinite(sx) and math.isfinite(sy) and np.all(np.isfinite(matrix))):
            raise InvalidPsfError(f"WarpedPsf: the position ({x:g}, {y:g}) has no counterpart in the source")
        det = np.linalg.det(matrix)
        stretch = np.abs(np.linalg.inv(matrix)).sum(axis=1).max() if det else math.inf
        if not stretch <= _MAX_STRETCH:
            raise DomainError(f"WarpedPsf: the transform stretches by {stretch:g} at ({x:g}, {y:g}), more than 200")
        return (sx, sy), matrix, (x, y)

    def _boxFor(self, matrix, width, height):
        """Odd (width, height) that holds the mapped outline of a source stamp, centred on (0, 0)."""
        inverse = np.linalg.inv(matrix)
        left, right = -(width // 2) - 0.5, width - width // 2 - 0.5
        low, high = -(height // 2) - 0.5, height - height // 2 - 0.5
        corners = inverse @ np.array([[left, right, right, left], [low, low, high, high]])
        if self._model == "reference":
            half = np.floor(0.5 * np.ptp(corners, axis=1) + 1e-9)
        else:
            half = np.ceil(np.abs(corners).max(axis=1) - 0.5 - 1e-9)
        return tuple(2 * int(h) + 1 for h in half)

    def _dimensionsAt(self, x, y):
        if self._size is not None:
            return self._size
        (sx, sy), matrix, _ = self._linear(x, y)
        return self._boxFor(matrix, *self._psf._dimensionsAt(sx, sy))

    def _resample(self, array, first, matrix, offset, size):
        """Source stamp -> destination stamp centred on (0, 0): source position = matrix @ pixel + offset."""
        taps = self._control.warpingKernel.taps
        margin = taps // 2 + 1 if self._model == "reference" else taps  # zeros within reach of the kernel
        padded = np.pad(array, margin)
        width, height = size
        out = np.empty((height, width))
        mapping = _core.AffineMapping(*(float(v) for v in (*matrix.ravel(), *offset)))
        origin = (first[0] - margin, first[1] - margin)
        _core.warpArray(out, (-(width // 2), -(height // 2)), padded, origin, mapping, self._control, 0.0)
        return out

    def _once(self, x, y, dx, dy):
        """The source's kernel image resampled once, its centre on (dx, dy)."""
        (sx, sy), matrix, _ = self._linear(x, y)
        kernel = self._psf._kernel(*self._psf._position((sx, sy)))
        height, width = kernel.shape
        size = self._boxFor(matrix, width, height)
        first = (-(width // 2), -(height // 2))
        return self._resample(kernel, first, matrix, -matrix @ np.array([dx, dy]), size)

    def _kernelArray(self, x, y):
        array = normalised(self._once(x, y, 0.0, 0.0) if self._model == "stillsky" else self._twice(x, y))
        return array if self._size is None else fitStamp(array, *self._size)

    def _twice(self, x, y):
        """Rubin's steps: image at the source position of the rounded pixel, then back."""
        _, matrix, _ = self._linear(x, y)
        origin = np.array([math.floor(x + 0.5), math.floor(y + 0.5)])
        (px, py), _ = self._transform.backward(x, y)
        source = np.array([px, py]) + matrix @ (origin - np.array([x, y]))
        image = self._psf.computeImage(tuple(source))
        size = self._boxFor(matrix, image.width, image.height)
        return self._resample(image.array, tuple(image.xy0), matrix, source, size)

    def _shiftedArray(self, x, y, dx, dy):
        if self._model == "reference":
            return super()._shiftedArray(x, y, dx, dy)
        array = self._once(x, y, dx, dy) / self._once(x, y, 0.0, 0.0).sum()
        return array if self._size is None else fitStamp(array, *self._size, normalise=False)

    def resized(self, width, height):
        return self._with(size=checkOdd("WarpedPsf.resized", width, height))

    def _with(self, size):
        other = object.__new__(WarpedPsf)
        other.__dict__.update(self.__dict__)
        other._size = size
        other._reset()
        return other

    def persist(self):
        className, inner, arrays = self._psf.persist()
        header, extra = self._transform.persist()
        header = {**header, "PSFCLASS": className, "KERNEL": self.warpingKernelName, "MODEL": self._model}
        if self._size is not None:
            header["WIDTH"], header["HEIGHT"] = self._size
        arrays = {f"psf_{name}": array for name, array in arrays.items()}
        return "WarpedPsf", header, {**arrays, **extra, "psfhead": bytesOf(json.dumps(inner, sort_keys=True))}

    @classmethod
    def _restore(cls, header, arrays):
        inner = {name[4:]: array for name, array in arrays.items() if name.startswith("psf_")}
        psf = Psf.restore(header["PSFCLASS"], json.loads(textOf(arrays["psfhead"])), inner)
        if "XX" in header:
            xx, xy, yx, yy, tx, ty = (float(header[key]) for key in ("XX", "XY", "YX", "YY", "TX", "TY"))
            transform = AffineTransform([[xx, xy], [yx, yy]], (tx, ty))
        else:
            transform = tuple(
                SkyWcs.fromHeader(Header.fromstring(textOf(arrays[name]))) for name in ("wcsfrom", "wcsto")
            )
        size = (int(header["WIDTH"]), int(header["HEIGHT"])) if "WIDTH" in header else None
        return cls(psf, transform, header["KERNEL"], model=header["MODEL"], size=size)

    def __repr__(self):
        return f"WarpedPsf({self._psf!r}, {self.warpingKernelName})"
