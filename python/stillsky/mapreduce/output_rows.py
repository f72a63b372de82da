"""Where stitched pixels go: planes of their own, or the memory of the input, written behind the cells' backs."""

import numpy as np

from ..errors import ShapeError
from ..geom import Box2I
from ..image import Exposure, Image, Mask, MaskedImage

__all__ = ["OutputRows", "ReusedRows", "chunks"]

_CHUNK = 256  # rows of the input read at once


def chunks(start, stop, size=_CHUNK):
    """Pairs (first, end) that cut a range."""
    return [(a, min(a + size, stop)) for a in range(start, stop, size)]


class OutputRows:
    """Output planes of their own: the one full-size copy.

    Attributes
    ----------
    image, mask, variance : `numpy.ndarray`, (rows, width)
        Rows that can be written, the first of them the ``top``-th of the image. The mask starts as the input's.
    count : `numpy.ndarray`, (rows, width) unsigned
        Valid contributions (``copy``: 1 + index of the writer).
    """

    def __init__(self, exposure, sample, dtype, schema, countType, finalize, blank):
        self._bbox, self._finalize = exposure.bbox, finalize
        shape = self._bbox.shape
        self.top, self._done = 0, 0
        self.image = np.empty(shape, dtype)  # what stays without a value is blanked at the end
        self.variance = np.empty(shape, sample.variance.dtype)
        self.count = np.empty(shape, countType)  # filled by hand: NumPy asks for large pages for empty arrays only
        self.count[...] = 0
        if not blank:
            self.image[...], self.variance[...] = 0, 0
        self.mask = np.empty(shape, np.int32)
        for a, b in chunks(0, shape[0]):
            self.mask[a:b] = _inputMask(exposure, a, b)
        self.schema = schema
        self._info = sample.info

    def need(self, first, end):
        """Make sure that these rows can be written."""

    def release(self, end):
        """Rows before ``end`` get no more contributions."""

    def finish(self):
        """Finalise all rows; the output exposure."""
        self._finalize(self, slice(0, self._bbox.height))
        xy0 = self._bbox.min
        planes = MaskedImage(Image(self.image, xy0), Mask(self.mask, xy0, self.schema), Image(self.variance, xy0))
        return Exposure(planes, Exposure(np.zeros((1, 1), np.float32), self._info)._copiedInfo())


class ReusedRows:
    """Output that overwrites the input, a row at a time and only when no cell to come reads it any more.

    Rows wait in a strip as high as the cells that are open.
    """

    def __init__(self, exposure, sample, dtype, schema, countType, finalize, _):
        self._exposure, self._finalize = exposure, finalize
        self._countType, self.schema = countType, schema
        self.top = 0
        planes = exposure.maskedImage.planes
        self.image, self.mask, self.variance = (np.empty((0, exposure.width), p.dtype) for p in planes)
        self.count = np.empty((0, exposure.width), countType)

    def _append(self, end):
        start = self.top + len(self.image)
        if end <= start:
            return
        shape = (end - start, self._exposure.width)
        mask = self._exposure.mask.array[start:end]
        self.image = np.concatenate([self.image, np.zeros(shape, self.image.dtype)])
        self.variance = np.concatenate([self.variance, np.zeros(shape, self.variance.dtype)])
        self.mask = np.concatenate([self.mask, mask])
        self.count = np.concatenate([self.count, np.zeros(shape, self._countType)])

    def need(self, first, end):
        """Have rows of sums up to ``end``, for a patch that begins at row ``first``."""
        if first < self.top:
            raise ShapeError(
                f"inPlace: a patch starts at row {first} of the image, whose rows up to {self.top} are written already; "
                "patches must stay within their expanded cell"
            )
        self._append(end)

    def release(self, end):
        """Write the rows below ``end`` into the exposure: no patch will reach them."""
        n = end - self.top
        if n <= 0:
            return
        self._append(end)
        self._finalize(self, slice(0, n))
        rows = slice(self.top, end)
        self._exposure.image.array[rows] = self.image[:n]
        self._exposure.mask.array[rows] = self.mask[:n]
        self._exposure.variance.array[rows] = self.variance[:n]
        self.image, self.mask, self.variance, self.count = (
            plane[n:].copy() for plane in (self.image, self.mask, self.variance, self.count)
        )
        self.top = end

    def finish(self):
        """Write what is left; the exposure."""
        self.release(self._exposure.height)
        self._exposure.mask.schema = self.schema
        return self._exposure


def _inputMask(exposure, first, end):
    if isinstance(exposure, Exposure):
        return exposure.mask.array[first:end]
    box = exposure.bbox
    rows = exposure.subset(Box2I((box.minX, box.minY + first), (box.width, end - first)))
    return rows.mask.array
