"""Limits of a filter band as people write them."""

import re

from .exits import CommandError

__all__ = ["parseBandLimits"]

_NM = {"nm": 1.0, "": 1.0, "um": 1000.0, "micron": 1000.0, "a": 0.1, "angstrom": 0.1}
_LIMITS = re.compile(r"\s*([\d.]+)\s*[,:-]\s*([\d.]+)\s*([A-Za-z]*)\s*")


def parseBandLimits(text):
    """Blue and red edge in nm of ``LOW,HIGHnm``; also in um or Angstrom (A).

    Raises
    ------
    CommandError
        Something else, or edges that do not rise.
    """
    match = _LIMITS.fullmatch(text)
    try:
        factor = _NM[match[3].lower()]
        low, high = float(match[1]) * factor, float(match[2]) * factor
    except (TypeError, KeyError, ValueError):
        raise CommandError(
            "band limits cannot be read", found=repr(text), remedy="e.g. --band-limits 402.8,549.8nm"
        ) from None
    if not 0 < low < high:
        raise CommandError("band limits must rise", found=repr(text), remedy="blue edge first: 402.8,549.8nm")
    return low, high
