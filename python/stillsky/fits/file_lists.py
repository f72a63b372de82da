"""Names of files from what people write: files, folders, patterns, lists."""

import glob
import os
import re

from ..errors import FitsLayoutError
from .files import splitExtension

__all__ = ["findFiles"]

_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.bz2", ".fit.bz2", ".fits.fz")


def findFiles(names, missing="raise"):
    """File names from files, folders, patterns and ``@list`` files.

    Parameters
    ----------
    names : sequence of `str`
        A folder stands for the FITS files in it, in natural order; ``@FILE`` for the lines of a text file, relative to
        it; a name with ``*`` or ``?`` that no file has is expanded; ``FILE[EXT]`` picks an extension.
    missing : {"raise", "keep"}
        What becomes of a name that nothing has; kept, it is an error of whoever reads it. A list that does not exist
        is always an error.

    Returns
    -------
    found : `list` [(`str`, `bool`)]
        Name, and whether it was named itself (and not found in a folder), each file once.

    Raises
    ------
    FileNotFoundError
        Nothing of that name exists.
    FitsLayoutError
        A list that is no text.
    """
    found = {}
    for name in names:
        for path, named in _expand(os.fspath(name), missing):
            found.setdefault(os.path.normpath(path), named)
    return list(found.items())


def _natural(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _linesOf(name):
    try:
        with open(name, encoding="utf-8-sig") as stream:  # with or without the mark that Windows writes first
            return list(stream)
    except UnicodeDecodeError as error:
        raise FitsLayoutError(
            f"{name}: not a list of file names", found=f"bytes that are no text ({error.reason} at {error.start})",
            remedy="a text file with one name per line; images are named without @",
        ) from error  # fmt: skip


def _expand(name, missing):
    if name.startswith("@") and not os.path.exists(name):
        lines = [line.split("#", 1)[0].strip() for line in _linesOf(name[1:])]
        folder = os.path.dirname(name[1:])
        return [item for line in lines if line for item in _expand(os.path.join(folder, line), missing)]
    if os.path.isdir(name):
        inside = sorted((e.name for e in os.scandir(name) if e.is_file()), key=_natural)
        return [(os.path.join(name, f), False) for f in inside if f.lower().endswith(_SUFFIXES) and f[0] != "."]
    if os.path.exists(splitExtension(name)[0]):
        return [(name, True)]
    if glob.has_magic(name):
        matches = sorted(glob.glob(name), key=_natural)
        if matches:
            return [(match, True) for match in matches]
    if missing == "keep":
        return [(name, True)]
    raise FileNotFoundError(2, "no such file or folder", name)
