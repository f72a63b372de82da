"""Positions from a table of whatever kind."""

from .exits import ReadError
from .inputs import checkFile

__all__ = ["readPositions"]

# Lower-case names of columns -> (kind, offset): pixels are 0-based but for those of SExtractor.
_PIXELS = (
    ("x", "y", 0.0),
    ("ip_diffim_dipolefit_x", "ip_diffim_dipolefit_y", 0.0),  # of a source that is no dipole: its centroid
    ("base_sdsscentroid_x", "base_sdsscentroid_y", 0.0),
    ("xcentroid", "ycentroid", 0.0),
    ("x_image", "y_image", 1.0),
)
_SKY = (
    ("ra", "dec", "deg"),
    ("ra_deg", "dec_deg", "deg"),
    ("coord_ra", "coord_dec", "rad"),
    ("raj2000", "dej2000", "deg"),
    ("ra_j2000", "dec_j2000", "deg"),
    ("_raj2000", "_dej2000", "deg"),
    ("ra_icrs", "de_icrs", "deg"),
    ("alpha_j2000", "delta_j2000", "deg"),
    ("ramean", "decmean", "deg"),
)
_IDS = ("id", "diaobjectid", "objectid", "source_id", "name")
_REMEDY = "name the columns x and y (0-based pixels) or ra and dec (degrees)"


def readPositions(path, role="table of positions"):
    """Positions and ids from a table.

    Parameters
    ----------
    path : `str`
        ECSV, CSV, FITS, Parquet, VOTable, or text; two columns of numbers without names are x and y. Columns are x and
        y, or ra and dec, or those of tables of stillsky, SExtractor, photutils, VizieR, Pan-STARRS; an angle without
        a unit is in degrees (coord_ra: radians).
    role : `str`
        What messages call it.

    Returns
    -------
    positions : `stillsky.diffim.Positions`
        Masked and empty values are NaN.

    Raises
    ------
    ReadError
        It cannot be read, or has no such columns, or they hold no numbers.
    """
    import numpy as np

    from stillsky.diffim.forced_series import Positions
    from stillsky.diffim.source_measure import dipoleLobes

    checkFile(path, role)
    try:
        table = _readTable(path)
    except Exception as error:
        raise ReadError(
            f"the {role} cannot be read: {path}",
            found=str(error).splitlines()[0] if str(error) else "another kind of file",
            remedy=f"an ECSV, CSV, FITS or Parquet table with columns x, y or ra, dec; or text with two columns{_order(path, role)}",
        ) from error
    names = {name.lower(): name for name in reversed(table.colnames)}
    given = {}
    for first, second, offset in _PIXELS:
        if {first, second} <= set(names):
            given |= {axis: _numbers(table[names[n]], path, role) - offset for axis, n in zip("xy", (first, second))}
            break
    for first, second, unit in _SKY:
        if {first, second} <= set(names):
            columns = (table[names[n]] for n in (first, second))
            given |= {axis: _angles(c, unit, path, role) for axis, c in zip(("ra", "dec"), columns)}
            break
    if not given:
        raise ReadError(
            f"the {role} has no positions: {path}", found=f"columns {', '.join(table.colnames)}", remedy=_REMEDY
        )
    if "x" in given and "ra" in given and not np.isfinite(given["ra"] + given["dec"]).any():
        del given["ra"], given["dec"]  # of a table that was measured without a WCS
    ids = next((np.asarray(table[names[n]]) for n in _IDS if n in names), np.arange(len(table)))
    return Positions(ids, lobes=dipoleLobes(table) if "x" in given else None, **given)


def _order(path, role):
    """What to add to the remedy when an image stands where the table should."""
    image = role == "table of positions" and path.lower().endswith((".fits", ".fit", ".fits.fz"))
    return "; the table is the last argument" if image else ""


def _numbers(column, path, role):
    import numpy as np

    try:
        values = np.ma.asarray(column, dtype=float)
    except (TypeError, ValueError) as error:
        raise ReadError(
            f"column {column.name} of the {role} holds no numbers: {path}", found=str(error),
            remedy="decimal pixels or degrees; sexagesimal text is not read",
        ) from error  # fmt: skip
    return np.array(np.ma.filled(values, np.nan), float)


def _angles(column, unit, path, role):
    """Radians; of the column's own unit if it has one."""
    from astropy import units as u

    values = _numbers(column, path, role)
    own = column.unit if column.unit is not None and column.unit.is_equivalent(u.rad) else u.Unit(unit)
    return (values * own).to_value(u.rad)


def _readTable(path):
    from astropy.table import Table

    if path.endswith((".parquet", ".parq", ".fits", ".ecsv")):
        from stillsky.diffim.source_io import readSources

        return readSources(path)
    if path.endswith((".csv", ".fit", ".xml", ".vot")):
        return Table.read(path)
    import numpy as np

    with open(path, encoding="utf-8") as stream:
        first = next((line for line in stream if line.strip() and not line.startswith("#")), "")
    try:
        [float(v) for v in first.replace(",", " ").split()]
    except ValueError:
        return Table.read(path, format="ascii")
    values = np.loadtxt(path, delimiter="," if "," in first else None, ndmin=2)
    return Table({"x": values[:, 0], "y": values[:, 1]})
