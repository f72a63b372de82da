"""Tables of detected sources."""

import numpy as np
from astropy import units as u
from astropy.table import Table

#: Columns every table of sources begins with: name, dtype, unit, description.
SOURCE_COLUMNS = (
    ("id", np.int64, None, "unique id"),
    ("parent", np.int64, None, "0, or id of the parent record"),
    ("is_negative", bool, None, "only a negative detection contributes"),
    ("nPeaks", np.int32, None, "peaks in the footprint"),
    ("footprintArea", np.int32, "pix", "pixels in the footprint"),
    ("peakX", np.float64, "pix", "first peak, x, parent coordinates"),
    ("peakY", np.float64, "pix", "first peak, y, parent coordinates"),
    ("peakValue", np.float64, None, "value of the detection image at the first peak"),
    ("detectSignificance", np.float32, None, "first peak: abs(value) over standard deviation of the detection image"),
)


def emptySourceTable(columns=SOURCE_COLUMNS, length=0):
    """A table with the given (name, dtype, unit, description) columns, filled with 0, False or NaN."""
    table = Table()
    for name, dtype, unit, description in columns:
        floating = np.dtype(dtype).kind == "f"
        values = np.full(length, np.nan, dtype) if floating else np.zeros(length, dtype)
        table[name] = Table.Column(values, unit=None if unit is None else u.Unit(unit), description=description)
    return table


def sourceTable(footprints, ids=None, isNegative=False):
    """One row per footprint of a `FootprintSet`: id, area, number of peaks, first peak.

    Parameters
    ----------
    footprints : `FootprintSet`
    ids : sequence of int, optional
        Default 1, 2, ...
    isNegative : bool or sequence of bool
        Whether a footprint is a negative detection.
    """
    n = len(footprints)
    table = emptySourceTable(length=n)
    table["id"][:] = np.arange(1, n + 1) if ids is None else np.asarray(ids, np.int64)
    table["is_negative"][:] = isNegative
    table["nPeaks"][:] = footprints.nPeaks
    table["footprintArea"][:] = footprints.areas
    has = footprints.nPeaks > 0
    first = footprints.peaks[footprints.firstPeaks[has]]
    for column, field in (
        ("peakX", "f_x"),
        ("peakY", "f_y"),
        ("peakValue", "peakValue"),
        ("detectSignificance", "significance"),
    ):
        table[column][has] = first[field]
    return table
