"""Footprints that carry their pixels."""

import numpy as np

from .. import errors
from ..geom import Box2I
from .boxes import originOf
from .footprint import Footprint

__all__ = ["HeavyFootprint", "makeHeavyFootprint"]


class HeavyFootprint(Footprint):
    """A footprint with copies of the pixels, mask values and variances below it.

    Parameters
    ----------
    spans, peaks, region
        As of `Footprint`.
    imageValues, maskValues, varianceValues : array, shape (area,)
        Pixels in the order of the spans: by y, then x. Mask int32 and variance float32 may be None: 0 everywhere.
    """

    __slots__ = ("imageValues", "maskValues", "varianceValues")

    def __init__(self, spans, peaks=None, region=None, *, imageValues, maskValues=None, varianceValues=None):
        super().__init__(spans, peaks, region)
        self.imageValues = np.asarray(imageValues)
        self.maskValues = np.zeros(self.area, np.int32) if maskValues is None else np.asarray(maskValues, np.int32)
        variance = np.zeros(self.area, np.float32) if varianceValues is None else varianceValues
        self.varianceValues = np.asarray(variance, np.float32)
        for name in ("imageValues", "maskValues", "varianceValues"):
            if getattr(self, name).shape != (self.area,):
                raise errors.ShapeError(f"{name}: wanted shape ({self.area},), got {getattr(self, name).shape}")

    def insert(self, image, *, mask=None, variance=None, xy0=None):
        """Write the pixels into an image (and mask, and variance), in place; what lies outside is left out.

        Parameters
        ----------
        image : `Image`, `MaskedImage`, `Exposure` or array
            Of a masked image or exposure all three planes are written.
        mask, variance : optional
            Further planes, for a plain image.
        xy0 : (int, int), optional
            Parent coordinates of a plain array's first pixel.
        """
        for plane, values in self._planesOf(image, mask, variance):
            rows, columns, inside = self._pixelsIn(plane, xy0)
            np.asarray(getattr(plane, "array", plane))[rows, columns] = values[inside]

    def addTo(self, image, factor=1.0, xy0=None):
        """Add the pixels times a factor to an image, in place."""
        plane = getattr(getattr(image, "maskedImage", image), "image", image)
        rows, columns, inside = self._pixelsIn(plane, xy0)
        array = np.asarray(getattr(plane, "array", plane))
        array[rows, columns] += (factor * self.imageValues[inside]).astype(array.dtype)

    def dot(self, other):
        """Sum over the common pixels of the products of the pixels of two heavy footprints, float64."""
        mine, theirs = (f._flatPixels() for f in (self, other))
        _, i, j = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
        return float(np.dot(self.imageValues[i].astype(float), other.imageValues[j].astype(float)))

    @property
    def negated(self):
        """The same with all pixels (and peak values) negated."""
        peaks = self.peaks.copy()
        peaks["peakValue"] = -peaks["peakValue"]
        return HeavyFootprint(
            self.spans,
            peaks,
            self._region,
            imageValues=-self.imageValues,
            maskValues=self.maskValues,
            varianceValues=self.varianceValues,
        )

    def _planesOf(self, image, mask, variance):
        image = getattr(image, "maskedImage", image)
        if hasattr(image, "variance"):
            image, mask, variance = image.image, image.mask, image.variance
        pairs = ((image, self.imageValues), (mask, self.maskValues), (variance, self.varianceValues))
        return [(plane, values) for plane, values in pairs if plane is not None]

    def _pixels(self):
        spans = self.spans.spans
        widths = spans[:, 2] - spans[:, 1] + 1
        ends = np.cumsum(widths)
        x = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - widths - spans[:, 1], widths)
        return np.repeat(spans[:, 0], widths).astype(np.int64), x.astype(np.int64)

    def _flatPixels(self):
        y, x = self._pixels()
        return (y << 32) + x  # pixels are 32-bit numbers: unique

    def _pixelsIn(self, plane, xy0):
        x0, y0 = originOf(plane, xy0)
        height, width = np.shape(getattr(plane, "array", plane))
        y, x = self._pixels()
        y, x = y - y0, x - x0
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        return y[inside], x[inside], inside


def makeHeavyFootprint(footprint, image, xy0=None):
    """Copy the pixels below a footprint.

    Parameters
    ----------
    footprint : `Footprint`
        Is clipped to the image.
    image : `Exposure`, `MaskedImage`, `Image` or array
    xy0 : (int, int), optional
        Parent coordinates of a plain array's first pixel.

    Returns
    -------
    heavy : `HeavyFootprint`
    """
    masked = getattr(image, "maskedImage", image)
    planes = (masked.image, masked.mask, masked.variance) if hasattr(masked, "variance") else (masked, None, None)
    x0, y0 = originOf(planes[0], xy0)
    height, width = np.shape(getattr(planes[0], "array", planes[0]))
    spans = footprint.spans.clipped(Box2I((x0, y0), (width, height)))
    bare = HeavyFootprint(spans, footprint.peaks, footprint._region, imageValues=np.zeros(spans.area, np.float32))
    rows, columns, _ = bare._pixelsIn(planes[0], (x0, y0))
    values = [None if p is None else np.asarray(getattr(p, "array", p))[rows, columns] for p in planes]
    return HeavyFootprint(
        spans,
        footprint.peaks,
        footprint._region,
        imageValues=values[0],
        maskValues=values[1],
        varianceValues=values[2],
    )
