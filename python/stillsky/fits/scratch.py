"""Scratch files, and faults of the machine: neither is a fault of the input that was being read."""

import contextlib
import errno
import os
import shutil

__all__ = ["ScratchError", "checkRoom", "raiseFaultOfMachine", "writingScratch"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
#: No room, no descriptors, no memory, a file system that is not to be written to: the next input would meet the same.
_OF_MACHINE = (*_FULL, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_ROOM = "set TMPDIR to a folder with room, or --work FOLDER (work= in Python)"


class ScratchError(Exception):
    """The machine has no room left for what has to be kept meanwhile, or its folder cannot be written.

    Neither an OSError nor a StillskyError, on purpose: whoever leaves out inputs that cannot be read catches these.
    """

    exitCode = 7

    def __init__(self, *args, found=None, remedy=None):
        super().__init__(*args)
        self.found, self.remedy = found, remedy


def _size(bytes):
    return f"{bytes / 1e9:.3g} GB"


def _free(folder):
    """Bytes; None where that is not known."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _full(folder, needed):
    free = _free(folder)
    found = "free space unknown" if free is None else f"{_size(free)} free"
    words = f": {_size(needed)} are needed" if needed else ""
    return ScratchError(f"scratch folder {folder} is full{words}", found=found, remedy=_ROOM)


def checkRoom(folder, needed):
    """ScratchError if a folder has less room than the bytes needed."""
    free = _free(folder)
    if free is not None and free < needed:
        raise _full(os.fspath(folder), needed)


@contextlib.contextmanager
def writingScratch(folder, needed):
    """Turn every OSError of a block that writes to a folder into a ScratchError.

    Parameters
    ----------
    folder : path-like
    needed : `int`
        Bytes, for the message; 0: not known.
    """
    try:
        yield
    except OSError as error:
        folder = os.fspath(folder)
        if error.errno in _FULL:
            raise _full(folder, needed) from error
        reason = error.strerror or str(error)
        raise ScratchError(
            f"scratch folder {folder} cannot be written: {reason}", found=str(error), remedy=_ROOM
        ) from error


def raiseFaultOfMachine(error):
    """ScratchError if an error, or what caused it, is one of the machine and not of the input that was read."""
    cause, seen = error, set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.errno in _OF_MACHINE:
            reason = cause.strerror or os.strerror(cause.errno)
            remedy = "raise the limit (ulimit -n)" if cause.errno in (errno.EMFILE, errno.ENFILE) else _ROOM
            raise ScratchError(f"the system refuses: {reason}", found=str(error), remedy=remedy) from error
        cause = cause.__cause__
