"""Planes of an image in a file, mapped into memory row by row.

Image, mask and variance stand in the file one after the other, each as rows without gaps, in either byte order. Rows are
looked at in place: nothing is copied, and what was used can be given back to the system.
"""

import contextlib
import mmap
import os
import sys
import threading
import weakref
from dataclasses import dataclass

import numpy as np

__all__ = ["FilePlane", "MappedPlanes"]

_POPULATE_READ = 22  # MADV_POPULATE_READ of Linux 5.14: map pages at once instead of one fault each
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
    read into memory with the file open for the moment only.
    """

    def __init__(self, path, shape, planes):
        self._path, self._shape, self._planes = path, shape, tuple(planes)
        self._map = None
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
            return self._readRows(start, stop)
        height, width = self._shape
        return [
            np.ndarray(
                (stop - start, width), p.dtype, self._map, p.offset + start * width * p.dtype.itemsize
            )
            for p in self._planes
        ]  # fmt: skip

    def _readRows(self, start, stop):
        width, out = self._shape[1], []
        with open(self._path, "rb", buffering=0) as stream:
            for plane in self._planes:
                array = np.empty((stop - start, width), plane.dtype)
                stream.seek(plane.offset + start * width * plane.dtype.itemsize)
                view, got = memoryview(array).cast("B"), 0
                while got < len(view):
                    n = stream.readinto(view[got:])
                    if not n:
                        raise OSError(5, "the file ends before its pixels", os.fspath(self._path))
                    got += n
                out.append(array)
        return out

    def prefetch(self, start, stop):
        """Bring rows into memory, before they are used."""
        self._advise(start, stop, getattr(mmap, "MADV_WILLNEED", None))
        self._advise(start, stop, _POPULATE_READ if sys.platform == "linux" else None)

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
