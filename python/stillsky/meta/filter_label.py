"""FilterLabel: the name of a filter, as a band and as a physical piece of glass."""

import re
from dataclasses import dataclass

from ..errors import DomainError

__all__ = ["FilterLabel"]

_LEGACY_BANDS = frozenset(["u", "g", "r", "i", "z", "y", "SH", "PH", "VR", "white"])
_LEGACY_PATTERN = re.compile(r"N\d+|I\d\d+")
_LEGACY_HSC = {"r2": ("r", "HSC-R2"), "i2": ("i", "HSC-I2")}


@dataclass(frozen=True)
class FilterLabel:
    """Name of a filter.

    Parameters
    ----------
    band : `str`, optional
        General band, e.g. "r".
    physical : `str`, optional
        The filter in the camera, e.g. "HSC-R2".

    Raises
    ------
    DomainError
        If neither is given.
    """

    band: str | None = None
    physical: str | None = None

    def __post_init__(self):
        for name in ("band", "physical"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise TypeError(f"FilterLabel {name}: wanted str or None, given {type(value).__name__}")
            if value == "":
                object.__setattr__(self, name, None)
        if self.band is None and self.physical is None:
            raise DomainError("FilterLabel: wanted a band, a physical filter, or both; given neither")

    def __repr__(self):
        shown = [f"{n}={getattr(self, n)!r}" for n in ("band", "physical") if getattr(self, n) is not None]
        return f"FilterLabel({', '.join(shown)})"

    @classmethod
    def fromLegacyName(cls, name):
        """Interpret a single FILTER string of old files.

        Parameters
        ----------
        name : `str` or None

        Returns
        -------
        label : `FilterLabel` or None
            None for an empty name or "_unknown_". Band names of the old convention become bands, "r2" and "i2" name
            band and glass, anything else is a physical filter (core data model, section 12).
        """
        name = (name or "").strip()
        if name in ("", "_unknown_"):
            return None
        if name in _LEGACY_HSC:
            return cls(*_LEGACY_HSC[name])
        if name in _LEGACY_BANDS or _LEGACY_PATTERN.fullmatch(name):
            return cls(band=name)
        return cls(physical=name)
