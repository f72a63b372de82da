"""MaskedImage: image, mask and variance planes of one box."""

import numpy as np

from ..errors import ShapeError
from ..geom import Box2I
from .image import Image
from .mask import Mask

__all__ = ["MaskedImage"]

#: Planes of pixels without a value of the sky.
_UNUSABLE = ("BAD", "SAT", "CR", "NO_DATA")


class MaskedImage:
    """Three planes with equal dimensions and origin; the variance is float32 (float64 accepted).

    Parameters
    ----------
    image : `Image` or `numpy.ndarray`
        Shared.
    mask : `Mask` or `numpy.ndarray`, optional
        Default: empty, standard planes.
    variance : `Image` or `numpy.ndarray`, optional
        Default: zero.

    Notes
    -----
    Arithmetic is in place and propagates variances as for independent pixels, from the old image values; masks are
    OR-ed. Division by zero follows IEEE rules and sets no bit.
    """

    def __init__(self, image, mask=None, variance=None):
        if isinstance(image, MaskedImage):
            image, mask, variance = image.image, image.mask, image.variance
        self._image = image if isinstance(image, Image) else Image(image)
        xy0 = self._image.xy0
        if mask is None:
            mask = Mask(np.zeros(self._image.array.shape, np.int32), xy0)
        if variance is None:
            variance = Image(np.zeros(self._image.array.shape, np.float32), xy0)
        self._mask = mask if isinstance(mask, Mask) else Mask(mask, xy0)
        self._variance = variance if isinstance(variance, Image) else Image(variance, xy0)
        for name, plane in (("mask", self._mask), ("variance", self._variance)):
            if plane.array.shape != self._image.array.shape:
                raise ShapeError(
                    f"MaskedImage: {name} is {plane.width}x{plane.height}, image is {self._image.width}x{self._image.height}"
                )
            if plane.xy0 != xy0:
                raise ShapeError(f"MaskedImage: {name} starts at {plane.xy0}, image at {xy0}")

    @classmethod
    def zeros(cls, box, dtype=np.float32, schema=None):
        """All planes zero over a box."""
        if not isinstance(box, Box2I):
            box = Box2I((0, 0), box)
        return cls(Image.zeros(box, dtype), Mask.zeros(box, schema), Image.zeros(box))

    def _plane(name):
        def get(self):
            return getattr(self, name)

        def set(self, value):
            # so that ``masked.image -= 1`` works; another plane is copied into this one
            if value is not getattr(self, name):
                getattr(self, name).assign(value)

        return property(get, set, doc="The plane, shared; assigning copies values in place.")

    image = _plane("_image")
    mask = _plane("_mask")
    variance = _plane("_variance")
    del _plane

    bbox = property(lambda self: self._image.bbox, doc="Pixels, in parent coordinates.")
    width = property(lambda self: self._image.width, doc="Columns.")
    height = property(lambda self: self._image.height, doc="Rows.")
    dimensions = property(lambda self: self._image.dimensions, doc="(width, height).")

    @property
    def xy0(self):
        """Parent coordinates of the first pixel; setting moves all three planes."""
        return self._image.xy0

    @xy0.setter
    def xy0(self, value):
        self._image.xy0 = self._mask.xy0 = self._variance.xy0 = value

    @property
    def planes(self):
        """(image, mask, variance), shared."""
        return self._image, self._mask, self._variance

    def __getitem__(self, key):
        """Shared view of a box or of slices; at [x, y] the tuple (image, mask, variance)."""
        box = self._image._boxOf(key)
        if box is None:
            return tuple(plane[key] for plane in self.planes)
        image, mask, variance = self._image, self._mask, self._variance
        if not mask._xy0 == variance._xy0 == image._xy0:
            return MaskedImage(*(plane._view(box) for plane in self.planes))
        where, corner = image._place(box)
        out = object.__new__(MaskedImage)  # the planes agree, as those of the whole do
        out._image = image._like(image._array[where], corner)
        out._mask = mask._like(mask._array[where], corner)
        out._variance = variance._like(variance._array[where], corner)
        return out

    def pixel(self, *, x, y):
        """(image, mask, variance) of one pixel, by keyword, in parent coordinates."""
        return self[x, y]

    def __setitem__(self, key, value):
        parts = self._parts(value)
        for plane, part in zip(self.planes, parts):
            plane[key] = part

    @staticmethod
    def _parts(value):
        if isinstance(value, MaskedImage):
            return value.planes
        image, mask, variance = value
        return image, mask, variance

    def set(self, value):
        """Every pixel to (image, mask, variance)."""
        for plane, part in zip(self.planes, self._parts(value)):
            plane.set(part)

    def assign(self, rhs, bbox=None):
        """Copy another masked image of equal dimensions into this one or a box of it."""
        for plane, part in zip(self.planes, rhs.planes):
            plane.assign(part, bbox)

    def subset(self, box):
        """View of a box."""
        return self[box]

    def copy(self):
        """Deep copy."""
        return MaskedImage(*(plane.copy() for plane in self.planes))

    def filled(self, value=0.0, planes=None):
        """Copy for display with ``value`` in place of image pixels that are masked or not finite.

        Parameters
        ----------
        value : `float`
        planes : `list` [`str`], optional
            Mask planes that count; default: BAD, SAT, CR and NO_DATA, whose pixels hold no sky. Planes that the mask
            lacks do not count. Mask and variance are copied as they are.
        """
        out = self.copy()
        names = _UNUSABLE if planes is None else planes
        bad = (out._mask.array & out._mask.bitmask(list(names), ignoreMissing=True)) != 0
        out._image.array[bad | ~np.isfinite(out._image.array)] = value
        return out

    def emptyLike(self):
        """New planes of the same box, types and schema, not initialised."""
        xy0 = self.xy0
        return MaskedImage(
            Image(np.empty_like(self._image.array, order="C"), xy0),
            Mask(np.empty_like(self._mask.array, order="C"), xy0, self._mask.schema),
            Image(np.empty_like(self._variance.array, order="C"), xy0),
        )

    def convert(self, dtype):
        """Copy with another image pixel type."""
        return MaskedImage(self._image.convert(dtype), self._mask.copy(), self._variance.copy())

    def overlapsMemory(self, other):
        """Whether any plane shares pixels in memory with its like."""
        return any(a.overlapsMemory(b) for a, b in zip(self.planes, other.planes))

    # ---- arithmetic (variance from the old values, then the image)

    def _begin(self, other, ignoreXY0):
        """Check and combine the masks; the other variance (None without one) and the other image."""
        if not isinstance(other, MaskedImage):
            return None, other
        self._image._requireSame(other.image, ignoreXY0)
        self._mask |= other.mask
        return other.variance.array, other.image

    def _sum(self, sign, c, other, ignoreXY0=False):
        right, image = self._begin(other, ignoreXY0)
        if right is not None:
            self._variance._array += np.float32(c * c) * right if c != 1 else right
        if c == 1 and not ignoreXY0:
            return self._image.__iadd__(image) if sign > 0 else self._image.__isub__(image)
        return self._image.scaledPlus(sign * c, image, ignoreXY0=ignoreXY0)

    def __iadd__(self, other):
        self._sum(+1, 1, other)
        return self

    def __isub__(self, other):
        self._sum(-1, 1, other)
        return self

    def scaledPlus(self, c, other, *, ignoreXY0=False):
        """self + c other, in place; ``ignoreXY0`` combines images of different places pixel by pixel."""
        self._sum(+1, c, other, ignoreXY0)
        return self

    def scaledMinus(self, c, other, *, ignoreXY0=False):
        """self - c other, in place; see `scaledPlus`."""
        self._sum(-1, c, other, ignoreXY0)
        return self

    def scaledMultiplies(self, c, other, *, ignoreXY0=False):
        """self (c other), in place: variance c^2 (l^2 Vr + r^2 Vl)."""
        left, variance = self._image.array, self._variance.array
        rightVariance, image = self._begin(other, ignoreXY0)
        right = self._image._operand(image, ignoreXY0)
        with np.errstate(invalid="ignore", over="ignore"):
            if rightVariance is None:
                variance *= np.square(c * right)
            else:
                variance[...] = c * c * (left**2 * rightVariance + right**2 * variance)
            left *= c * right if c != 1 else right
        return self

    def scaledDivides(self, c, other, *, ignoreXY0=False):
        """self / (c other), in place: variance (l^2 Vr + r^2 Vl) / (c^2 r^4), without forming r^4."""
        left, variance = self._image.array, self._variance.array
        rightVariance, image = self._begin(other, ignoreXY0)
        right = self._image._operand(image, ignoreXY0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if rightVariance is None:
                variance /= np.square(c * right)
            else:
                variance[...] = ((left / right) ** 2 * rightVariance + variance) / np.square(c * right)
            left /= c * right if c != 1 else right
        return self

    def __imul__(self, other):
        return self.scaledMultiplies(1, other)

    def __itruediv__(self, other):
        return self.scaledDivides(1, other)

    def writeFits(self, path, **options):
        """See `stillsky.fits.writeMaskedImage`."""
        from ..fits import writeMaskedImage

        writeMaskedImage(self, path, **options)

    @classmethod
    def readFits(cls, path, **options):
        """See `stillsky.fits.readMaskedImage`."""
        from ..fits import readMaskedImage

        return readMaskedImage(path, **options)

    def __eq__(self, other):
        if not isinstance(other, MaskedImage):
            return NotImplemented
        return all(a == b for a, b in zip(self.planes, other.planes))

    __hash__ = None  # pixels can change

    def __repr__(self):
        return f"MaskedImage({self.width}x{self.height} {self._image.dtype}, xy0=({self.xy0.x}, {self.xy0.y}))"

    def __reduce__(self):
        return MaskedImage, self.planes

    def _repr_html_(self):
        from .html import maskedImageTable

        return maskedImageTable(self)
