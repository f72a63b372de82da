"""Parsing of file names with extensions, and of pixel regions."""

import os
import re

from .exits import CommandError

__all__ = ["parseRegion", "splitExtension"]

_EXTENSION = re.compile(r"^(?P<path>.+)\[(?P<ext>[^\[\]]+)\]$")
_REGION = re.compile(r"^\s*(-?\d+)\s*:\s*(-?\d+)\s*,\s*(-?\d+)\s*:\s*(-?\d+)\s*$")


def splitExtension(name, ext=None):
    """Split ``FILE[EXT]``.

    Parameters
    ----------
    name : `str`
        File name, maybe with an extension name, number, or NAME,VERSION in brackets. A file that exists under the
        whole name wins.
    ext : `str`, optional
        Extension to use when the name has none.

    Returns
    -------
    path : `str`
        File name.
    ext : `str`, `int`, `tuple` or `None`
        Extension.
    """
    match = None if os.path.exists(name) else _EXTENSION.match(name)
    if match:
        name, ext = match["path"], match["ext"]
    if ext is None:
        return name, None
    ext = ext.strip()
    if ext.isdigit():
        return name, int(ext)
    base, comma, version = ext.rpartition(",")
    if comma and version.strip().isdigit():
        return name, (base.strip(), int(version))
    return name, ext


def parseRegion(text, fits=False):
    """``X0:X1,Y0:Y1`` as ((x0, x1), (y0, y1)), 0-based and half open.

    Parameters
    ----------
    text : `str`
        The region; with ``fits`` 1-based and inclusive, as in FITS section syntax.
    fits : `bool`
        How to read it.
    """
    match = _REGION.match(text.strip().removeprefix("[").removesuffix("]"))
    option = "--fits-region" if fits else "--region"
    if not match:
        raise CommandError(
            f"{option} wants X0:X1,Y0:Y1 with whole numbers",
            found=repr(text),
            remedy=f"{option} {'1:512,1:512' if fits else '0:512,0:512'} for the first 512 pixels each way",
        )
    x0, x1, y0, y1 = (int(g) for g in match.groups())
    if fits:
        x0, y0 = x0 - 1, y0 - 1
    if x1 <= x0 or y1 <= y0:
        raise CommandError(f"{option} is empty", found=repr(text), remedy="give the lower limit first")
    return (x0, x1), (y0, y1)
