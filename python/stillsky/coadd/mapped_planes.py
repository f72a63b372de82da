"""Planes of an image in a file, mapped into memory row by row.

Image, mask and variance stand in the file one after the other, each as rows without gaps, in either byte order. Rows are
looked at in place: nothing is copied, and what was used can be given back to the system.
"""

import contextlib
import mmap
import os
import threading
import weakref
from dataclasses import dataclass

import numpy as np

from ..stats import FileRows

__all__ = ["FilePlane", "MappedPlanes"]

_WILL_NEED = getattr(os, "POSIX_FADV_WILLNEED", None)
_RESERVE = 64  # descriptors left to everybody else
_lock = threading.Lock()
_nMapped = 0


@dataclass(frozen=True)
class FilePlane:
    """Where the pixels of one plane are.

    Attributes
    ----------
    offset : `int`
        Bytes before the first pixel.
    dtype : `numpy.dtype`
        With its byte order.
    """

    offset: int
    dtype: np.dtype


def _descriptors():
    """Files that this process may have open."""
    try:
        import resource

        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError):
        return 256


def _takeDescriptor():
    """Whether one more file may be kept mapped; every mapping holds a descriptor."""
    global _nMapped
    with _lock:
        if _nMapped >= max(_descriptors() - _RESERVE, 8) // 2:
            return False
        _nMapped += 1
        return True


def _giveDescriptor():
    global _nMapped
    with _lock:
        _nMapped -= 1


def descriptorsLeft():
    """Files that may be open for a moment beside those that are mapped."""
    return max(_descriptors() - _RESERVE, 8) // 4


class MappedPlanes:
    """Image, mask and variance of a file.

    Parameters
    ----------
    path : path-like
        Plain file. Its size is checked by whoever knows the layout.
    shape : (height, width)
    planes : sequence of `FilePlane`

    Notes
    -----
    A mapping is kept while the object lives. Where the system's limit of open files does not leave room for one, rows are
    read into memory with the file open for the moment only. Bands of many files are better read: where the system keeps
    files in large pages, a mapping of a few rows holds megabytes of others.
    """

    def __init__(self, path, shape, planes):
        self._path, self._shape, self._planes = path, shape, tuple(planes)
        self._map = None
        self._swap = tuple(not plane.dtype.isnative for plane in self._planes)
        if _takeDescriptor():
            release = weakref.finalize(self, _giveDescriptor)
            try:
                with open(path, "rb") as stream:
                    self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            except OSError:
                release()
                raise
            self._release = release

    @property
    def isMapped(self):
        """Whether rows are looked at in place."""
        return self._map is not None

    def rows(self, start, stop):
        """The planes' rows, arrays (stop - start, width) in the file's byte order, not to be written to."""
        if self._map is None:
            return self.readRows(start, stop)
        height, width = self._shape
        return [
            np.ndarray(
                (stop - start, width), p.dtype, self._map, p.offset + start * width * p.dtype.itemsize
            )
            for p in self._planes
        ]  # fmt: skip

    def readRows(self, start, stop, buffer=None):
        """The planes' rows, copied: memory is what they take, whatever pages the system maps around them.

        Parameters
        ----------
        start, stop : `int`
        buffer : `numpy.ndarray` of uint8, optional
            Where to; at least `rowBytes` for each row.

        Returns
        -------
        planes : `list` of arrays (stop - start, width), in the file's byte order
        """
        width, out, used = self._shape[1], [], 0
        if buffer is None:
            buffer = np.empty((stop - start) * self.rowBytes, np.uint8)
        with open(self._path, "rb", buffering=0) as stream:
            for plane in self._planes:
                nBytes = (stop - start) * width * plane.dtype.itemsize
                view = memoryview(buffer)[used : used + nBytes]
                stream.seek(plane.offset + start * width * plane.dtype.itemsize)
                got = 0
                while got < nBytes:
                    n = stream.readinto(view[got:])
                    if not n:
                        raise OSError(5, "the file ends before its pixels", os.fspath(self._path))
                    got += n
                out.append(np.ndarray((stop - start, width), plane.dtype, buffer, used))
                used += nBytes
        return out

    @property
    def rowBytes(self):
        """Bytes of one row of all planes."""
        return self._shape[1] * sum(plane.dtype.itemsize for plane in self._planes)

    def open(self):
        """A descriptor of the file, to be closed by the caller."""
        return os.open(self._path, os.O_RDONLY)

    def fileRows(self, descriptor, start, column):
        """Where the pixels from a row and a column on are, for `stillsky.stats.stackStrips`.

        Parameters
        ----------
        descriptor : `int`
            From `open`.
        start, column : `int`

        Returns
        -------
        rows : `stillsky.stats.FileRows`
        """
        width = self._shape[1]
        places = (plane.offset + 4 * (start * width + column) for plane in self._planes)
        return FileRows(descriptor, *places, 4 * width, self._swap)

    def readAhead(self, descriptor, start, stop):
        """Ask the system to bring rows into its memory: they are wanted soon."""
        if _WILL_NEED is None:
            return
        rowBytes = 4 * self._shape[1]
        for plane in self._planes:
            with contextlib.suppress(OSError):  # advice is only advice
                os.posix_fadvise(descriptor, plane.offset + start * rowBytes, (stop - start) * rowBytes, _WILL_NEED)

    def release(self, start, stop):
        """Rows are not needed for now: their memory is the system's."""
        self._advise(start, stop, getattr(mmap, "MADV_DONTNEED", None))

    def _advise(self, start, stop, advice):
        if self._map is None or advice is None or stop <= start:
            return
        width, page = self._shape[1], mmap.PAGESIZE
        for plane in self._planes:
            first = (plane.offset + start * width * plane.dtype.itemsize) // page * page
            last = min(plane.offset + stop * width * plane.dtype.itemsize, len(self._map))
            with contextlib.suppress(OSError, ValueError):  # an older kernel: advice is only advice
                self._map.madvise(advice, first, last - first)
