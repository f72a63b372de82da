"""Masks of other pipelines, translated to named planes.

Tables: core data model 22.4, 22.5 and user experience 2.1; codes of the DECam Community Pipeline (before and since its
version 3.5.0), bits of DESDM, ZTF, PTF, and of HST and JWST data-quality arrays and Pan-STARRS masks (their public
documentation). A value without an entry becomes the plane FOREIGN_<n>, which nothing treats as bad, and so do the
planes that mark what one is looking for: DIFFDET (differs from the stack) and DETECTED.
"""

import re
from dataclasses import dataclass

import numpy as np

from ..errors import DomainError

__all__ = ["FOREIGN_TABLES", "ForeignTable", "foreignKinds", "isHarmlessPlane", "translateMask"]


@dataclass(frozen=True)
class ForeignTable:
    """Meaning of foreign mask values.

    Parameters
    ----------
    name : `str`
        For sentences.
    planes : `dict` [`int`, `str`]
        Code, or bit number, to plane name; "" marks a value that means nothing wrong.
    codes : `bool`
        Whether a pixel holds one code (True) or a sum of bits.
    """

    name: str
    planes: dict
    codes: bool = False


FOREIGN_TABLES = {
    "decam": ForeignTable(
        "DECam Community Pipeline codes",
        {1: "BAD", 2: "NO_DATA", 3: "SAT", 4: "SAT", 5: "CR", 6: "SUSPECT", 7: "DIFFDET", 8: "STREAK"},
        codes=True,
    ),
    "decam-bits": ForeignTable(
        "DECam Community Pipeline bits (before version 3.5.0)",
        {0: "BAD", 1: "SAT", 2: "INTRP", 4: "CR", 6: "SAT", 7: "DIFFDET"},
    ),
    "des": ForeignTable(
        "DES bits",
        dict(
            enumerate(
                "BAD SAT INTRP SUSPECT CR SUSPECT SAT SAT CROSSTALK EDGE STREAK SUSPECT".split(),
            )
        ),
    ),
    "ztf": ForeignTable(
        "16-bit ZTF",
        dict(
            enumerate(
                "STREAK DETECTED SUSPECT SUSPECT BAD SUSPECT SUSPECT SPIKE SAT BAD NO_DATA DETECTED SUSPECT".split(),
            )
        ),
    ),
    "ptf": ForeignTable(
        "16-bit PTF",
        dict(
            enumerate(
                "STREAK DETECTED SUSPECT SUSPECT BAD SUSPECT SAT SPIKE SAT BAD NO_DATA SUSPECT SUSPECT".split(),
            )
        ),
    ),
    "hst": ForeignTable(
        "HST data quality",
        {
            0: "BAD", 1: "NO_DATA", 2: "BAD", 3: "VIGNETTED", 4: "BAD", 5: "", 6: "", 7: "BAD", 8: "SAT", 9: "BAD",
            10: "", 11: "SAT", 12: "CR", 13: "CR",
        },
    ),
    "jwst": ForeignTable(
        "JWST data quality",
        {0: "BAD", 1: "SAT", 2: "CR", 9: "NO_DATA", 10: "BAD", 11: "SUSPECT", 25: "BAD"},
    ),
    "ps1": ForeignTable(
        "Pan-STARRS bits",
        {
            0: "BAD", 1: "BAD", 2: "BAD", 3: "NO_DATA", 4: "BAD", 5: "SAT", 6: "BAD", 7: "SUSPECT", 8: "CR", 9: "SPIKE",
            10: "SUSPECT", 11: "STREAK", 12: "SUSPECT", 13: "BAD", 14: "SUSPECT",
        },
    ),
}  # fmt: skip

_PS1_NAMES = {
    "DETECTOR": "BAD", "FLAT": "BAD", "DARK": "BAD", "BLANK": "NO_DATA", "CTE": "BAD", "SAT": "SAT", "LOW": "BAD",
    "BAD": "BAD", "SUSPECT": "SUSPECT", "BURNTOOL": "SUSPECT", "CR": "CR", "SPIKE": "SPIKE", "GHOST": "SUSPECT",
    "STREAK": "STREAK", "STARCORE": "SUSPECT", "CONV.BAD": "BAD", "CONV.POOR": "SUSPECT",
}  # fmt: skip


def foreignKinds():
    """Names of the known tables."""
    return sorted(FOREIGN_TABLES)


def isHarmlessPlane(name):
    """Whether a plane made by translation does not say that a pixel is bad."""
    return name in ("DETECTED", "DIFFDET") or name.startswith("FOREIGN_")


def decamTable(header):
    """Codes or bits, by the pipeline version in PLVER (codes since 3.5.0; codes when there is no version)."""
    match = re.search(r"(\d+)\.(\d+)", str(header.get("PLVER", "")))
    old = match is not None and (int(match[1]), int(match[2])) < (3, 5)
    return FOREIGN_TABLES["decam-bits" if old else "decam"]


def ps1Table(header):
    """Pan-STARRS bits by the MSKNAMnn/MSKVALnn cards of the mask, else the usual ones."""
    planes = {}
    for card in header.cards:
        if re.fullmatch(r"MSKNAM\d+", card.keyword):
            value = header.get(f"MSKVAL{card.keyword[6:]}")
            name = str(card.value).strip()
            if isinstance(value, int) and value > 0 and value & (value - 1) == 0 and name in _PS1_NAMES:
                planes[value.bit_length() - 1] = _PS1_NAMES[name]
    return ForeignTable("Pan-STARRS bits (from its header)", planes) if planes else FOREIGN_TABLES["ps1"]


def translateMask(values, table, schema):
    """Translate foreign mask values to plane bits.

    Parameters
    ----------
    values : `numpy.ndarray` of integers, shape (height, width)
        Not modified.
    table : `ForeignTable` or `str`
        Meaning of the values, or its name.
    schema : `MaskSchema`
        Planes to use; more are added by name.

    Returns
    -------
    mask : `numpy.ndarray` of int32
    schema : `MaskSchema`
    unknown : `dict` [`str`, `float`]
        FOREIGN_<n> planes made, with the fraction of pixels they mark.

    Raises
    ------
    DomainError
        If the table is unknown or the values are no integers.
    """
    if isinstance(table, str):
        if table not in FOREIGN_TABLES:
            raise DomainError(f"mask kind: wanted one of {', '.join(foreignKinds())}, given {table!r}")
        table = FOREIGN_TABLES[table]
    if values.dtype.kind not in "iub":
        raise DomainError(f"foreign mask: wanted integers, given {values.dtype}")
    mask = np.zeros(values.shape, np.int32)
    unknown = {}
    for number, chosen in _selections(values, table):
        plane = table.planes.get(number, f"FOREIGN_{number}")
        if not plane:
            continue
        schema = schema.add(plane)
        if plane.startswith("FOREIGN_"):
            unknown[plane] = float(np.count_nonzero(chosen) / max(values.size, 1))
        mask |= chosen.astype(np.int32) << schema.bit(plane)
    return mask, schema, unknown


def _selections(values, table):
    """(code or bit number, pixels that have it), for those that occur."""
    if table.codes:
        for code in np.unique(values):
            if code != 0:
                yield int(code), values == code
        return
    if values.dtype.kind == "u" or values.dtype.itemsize < 4:
        values = values.astype(np.int64)
    used = int(np.bitwise_or.reduce(values, axis=None)) if values.size else 0
    for bit in range(8 * values.dtype.itemsize - 1):
        if used >> bit & 1:
            yield bit, (values & values.dtype.type(1 << bit)) != 0
