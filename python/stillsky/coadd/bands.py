"""Bands of rows: how the pixels of many warps pass through bounded memory.

A band is a number of full rows of the coadd. Rows of files whose pixels are combined as they are stay there until the threads
that combine them read them, a few at a time; the system is asked for those of the next band while this one is worked on.
Rows of all other warps that meet the band are brought into memory together, the next band's while this one is worked on, and
given back afterwards. A band is worked off in blocks of columns within which the
same warps have pixels, so that a pair of warp and band without common pixels costs nothing. Statistics are those of single
pixels: neither the height of bands nor the width of blocks shows in the result.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import StillskyError
from ..geom import Box2I
from ..image import READ_ERRORS
from .mapped_planes import descriptorsLeft

__all__ = ["BandInput", "InputFailure", "planBands", "runBands", "subBBoxIter"]

EXTENT_ROWS = 64
EXTENT_COLUMNS = 512  # extents are rounded out to multiples of it, so that there are few blocks
_BYTES = 12  # of a warp's pixel: image, mask, variance
_RESULT = 16  # of a pixel of the coadd with counts of samples
_LARGEST = 128 << 20  # bytes of one band; larger ones are not faster
_AHEAD = 1 << 30  # bytes of files that the system is asked for at a time


class InputFailure(StillskyError):
    """One warp could not be read; ``index`` in the list of inputs. The cause is chained."""

    def __init__(self, index, reason):
        super().__init__(f"input {index}: {reason}")
        self.index, self.reason = index, reason


@dataclass
class BandInput:
    """One warp on its way through the bands.

    Attributes
    ----------
    warp : warp (see `stillsky.coadd.warps`)
    box : `stillsky.geom.Box2I`
        Its part of the coadd.
    change : callable or None
        ``change(image, mask, variance, box) -> (image, mask, variance)``: what is done to the pixels of a box before they
        are combined. It must not write to what it gets.
    extents : `numpy.ndarray` (n, 2) or None
        First and one-beyond-last parent column with pixels of consequence, for each `EXTENT_ROWS` rows of
        ``box``; None: all columns.
    isDirect : `bool`
        Its rows are combined from the file, without a stay in memory; `planBands` decides.
    """

    warp: Any
    box: Box2I
    change: Any = None
    extents: Any = None
    isDirect: bool = False
    buffers: list = field(default_factory=lambda: [None, None])  # of bands of even and odd number

    def columns(self, band):
        """First and one-beyond-last column (parent) of consequence in a band; equal when there is none."""
        part = self.box.clipped(band)
        if part.isEmpty:
            return part.minX, part.minX
        if self.extents is None:
            return part.minX, part.maxX + 1
        first, last = (part.minY - self.box.minY) // EXTENT_ROWS, (part.maxY - self.box.minY) // EXTENT_ROWS
        used = self.extents[first : last + 1]
        used = used[used[:, 0] < used[:, 1]]
        if not len(used):
            return part.minX, part.minX
        return int(used[:, 0].min()), int(used[:, 1].max())


def subBBoxIter(bbox, subregionSize):
    """Blocks of a box, row by row.

    Parameters
    ----------
    bbox : `stillsky.geom.Box2I`
    subregionSize : (width, height)

    Yields
    ------
    block : `stillsky.geom.Box2I`
        Clipped to the box, never empty.

    Raises
    ------
    StillskyError
        The box is empty, or a size below 1.
    """
    width, height = (int(v) for v in subregionSize)
    if bbox.isEmpty:
        raise StillskyError(f"bbox {bbox} is empty")
    if width < 1 or height < 1:
        raise StillskyError(f"subregionSize ({width}, {height}): wanted at least one pixel")
    for y in range(bbox.minY, bbox.maxY + 1, height):
        for x in range(bbox.minX, bbox.maxX + 1, width):
            yield Box2I((x, y), (width, height)).clipped(bbox)


def planBands(bbox, inputs, memory, largestHeight=None):
    """Bands of full rows.

    Parameters
    ----------
    bbox : `stillsky.geom.Box2I`
        Of the coadd.
    inputs : sequence of `BandInput`
    memory : `int`
        Bytes for two bands and the result; a band has at least one row.
    largestHeight : `int`, optional

    Returns
    -------
    bands : `list` [`stillsky.geom.Box2I`]
    """
    left = descriptorsLeft()
    for item in inputs:
        item.isDirect = item.change is None and item.warp.isRead and left > 0
        left -= item.isDirect
    inMemory = sum(
        i.warp.rowBytes + (0 if i.change is None else i.box.width * _BYTES) for i in inputs if not i.isDirect
    )
    inFiles = sum(i.warp.rowBytes for i in inputs if i.isDirect)
    left = max(memory - _RESULT * bbox.area, memory // 4)
    height = min(min(left // 2, _LARGEST) // max(inMemory, 1), min(left // 2, _AHEAD) // max(inMemory + inFiles, 1))
    height = int(min(max(height, 1), largestHeight or bbox.height, bbox.height))
    return [Box2I((bbox.minX, y), (bbox.width, height)).clipped(bbox) for y in range(bbox.minY, bbox.maxY + 1, height)]


def runBands(bands, inputs, work, *, blockWidth=None, progress=None):
    """Bring each band into memory and work on its blocks.

    Parameters
    ----------
    bands : `list` [`stillsky.geom.Box2I`]
        From `planBands`.
    inputs : `list` [`BandInput`]
    work : callable
        ``work(block, indices, planes)`` with a box, the numbers of the inputs that have all of its pixels, in order, and for
        each of them (image, mask, variance) arrays of the shape of the box, or (`stillsky.stats.FileRows`, None, None).
    blockWidth : `int`, optional
        Largest width of a block.
    progress : callable, optional
        ``progress(done, total)`` after each band.

    Raises
    ------
    InputFailure
        A warp could not be read.
    """
    with ExitStack() as stack:
        files = _openFiles(inputs, stack)
        # the rows of the next band come in while this one is worked on
        reader = stack.enter_context(ThreadPoolExecutor(1))
        coming = reader.submit(_load, bands[0], inputs, files, 0) if bands else None
        try:
            for k, band in enumerate(bands):
                loaded = coming.result()
                coming = reader.submit(_load, bands[k + 1], inputs, files, k + 1) if k + 1 < len(bands) else None
                for block, indices in _blocks(band, inputs, blockWidth):
                    _workOn(block, indices, [_cut(loaded[i], block, inputs[i]) for i in indices], work)
                if progress is not None:
                    progress(k + 1, len(bands))
        except BaseException:
            if coming is not None:
                coming.cancel()
            raise


def _openFiles(inputs, stack):
    """{number of input: (its planes, descriptor)} of those whose rows are combined from files."""
    files = {}
    for i, item in enumerate(inputs):
        if not item.isDirect:
            continue
        try:
            planes = item.warp.filePlanes()
            descriptor = planes.open()
        except READ_ERRORS as error:
            raise InputFailure(i, f"{type(error).__name__}: {error}") from error
        stack.callback(os.close, descriptor)
        files[i] = planes, descriptor
    return files


def _workOn(block, indices, planes, work):
    try:
        work(block, indices, planes)
    except OSError as error:
        index = getattr(error, "index", None)  # of `stackStrips`
        if index is None:
            raise
        raise InputFailure(indices[index], f"{type(error).__name__}: {error}") from error


def _load(band, inputs, files, number):
    """{number of input: (box, planes)} of those with pixels of consequence in a band; planes are (image, mask, variance), or
    the (planes, descriptor) of a file."""
    loaded = {}
    for i, item in enumerate(inputs):
        first, stop = item.columns(band)
        if first >= stop:
            continue
        part = item.box.clipped(band)
        box = Box2I((first, part.minY), (stop - first, part.height))
        if i in files:
            top = part.minY - item.warp.bbox.minY
            files[i][0].readAhead(files[i][1], top, top + part.height)
            loaded[i] = (box, files[i])
            continue
        try:
            planes = tuple(item.warp.read(box, _buffer(item, number % 2, part.height)))
            if planes[0].dtype.itemsize != 4:
                planes = (planes[0].astype(np.float32), *planes[1:])
            if item.change is not None:
                planes = item.change(*planes, box)
        except READ_ERRORS as error:
            raise InputFailure(i, f"{type(error).__name__}: {error}") from error
        loaded[i] = (box, planes)
    return loaded


def _buffer(item, which, height):
    """Memory for the rows of a band, that of the band before last: new memory costs more than reading."""
    size = height * item.warp.rowBytes
    if not item.warp.isRead:
        return None
    if item.buffers[which] is None or item.buffers[which].size < size:
        item.buffers[which] = np.empty(size, np.uint8)
    return item.buffers[which]


def _blocks(band, inputs, blockWidth):
    """Boxes of columns of a band, each with the inputs that have all of its pixels."""
    spans = [item.columns(band) for item in inputs]
    # an input that begins or ends within the band's rows is a block border in rows as well
    rows = sorted({band.minY, band.maxY + 1, *(
        y for item, (a, b) in zip(inputs, spans) if a < b
        for y in (item.box.minY, item.box.maxY + 1) if band.minY < y <= band.maxY)})  # fmt: skip
    columns = {band.minX, band.maxX + 1, *(x for a, b in spans if a < b for x in (a, b))}
    if blockWidth:
        columns |= set(range(band.minX, band.maxX + 1, blockWidth))
    columns = sorted(columns)
    for y0, y1 in zip(rows, rows[1:]):
        for x0, x1 in zip(columns, columns[1:]):
            indices = [
                i
                for i, (item, (a, b)) in enumerate(zip(inputs, spans))
                if a <= x0 and x1 <= b and item.box.minY <= y0 and y1 <= item.box.maxY + 1
            ]
            yield Box2I((x0, y0), (x1 - x0, y1 - y0)), indices


def _cut(loaded, block, item):
    box, planes = loaded
    if item.isDirect:
        corner = item.warp.bbox.min
        mapped, descriptor = planes
        return mapped.fileRows(descriptor, block.minY - corner.y, block.minX - corner.x), None, None
    part = block.slices(box.min)
    return tuple(np.asarray(plane)[part] for plane in planes)
