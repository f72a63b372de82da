"""CoaddInputs: which visits and detectors went into a warp or a coadd, with what belongs to each."""

import numpy as np

from ..errors import DomainError, NotFoundError
from ..geom import Box2I, Point2I

__all__ = ["COADD_INPUT_OBJECTS", "CoaddInputs"]

#: Columns of objects that every row may have; None where it has none.
COADD_INPUT_OBJECTS = ("psf", "wcs", "photoCalib", "apCorrMap", "validPolygon", "visitInfo", "transmissionCurve")

# name -> (dtype, unit, description)
_BOX = {
    f"bbox_{end}_{axis}": (np.int32, "pixel", f"{end}imum {axis} of the box, inclusive")
    for end in ("min", "max")
    for axis in ("x", "y")
}
_ID = {"id": (np.int64, None, "identifier of the {what}")}
_FILTER = {"filter": ("U1", None, "physical filter")}
_VISITS = {
    **_ID,
    **_BOX,
    "goodpix": (np.int32, "pixel", "good pixels of the warp"),
    "weight": (np.float64, None, "weight in the coadd"),
    **_FILTER,
}
_CCDS = {
    **_ID,
    "ccd": (np.int32, None, "detector number, -1 if unknown"),
    "visit": (np.int64, None, "id of the row in visits"),
    **_BOX,
    "goodpix": (np.int32, "pixel", "good pixels that went into the warp"),
    "weight": (np.float64, None, "weight of the visit in the coadd"),
    **_FILTER,
}


def _table(columns, what):
    from astropy.table import Column, Table

    made = [
        Column(np.zeros(0, dtype), name, unit=unit, description=text.format(what=what))
        for name, (dtype, unit, text) in columns.items()
    ]
    made += [Column(np.zeros(0, object), name) for name in COADD_INPUT_OBJECTS]
    return Table(made)


class CoaddInputs:
    """Two tables: one row per visit, one row per detector exposure.

    Parameters
    ----------
    visits, ccds : `astropy.table.Table`, optional
        As made by `visitTable` and `ccdTable`; default empty. Further columns are kept.

    Notes
    -----
    Columns of ``visits``: id, bbox_min_x, bbox_min_y, bbox_max_x, bbox_max_y (inclusive, pixels), goodpix, weight,
    filter; of ``ccds`` also ccd and visit. Objects that belong to a row lie in columns of objects, None where there is
    none: psf, wcs, photoCalib, apCorrMap, validPolygon, visitInfo, transmissionCurve. A row of a table therefore has
    all there is to know: ``for row in inputs.ccds: row["psf"]``. Boxes, PSFs and polygons of a detector are in the
    detector's own pixels, its WCS leads to the sky.

    Written to FITS with the exposure and read back (`stillsky.writeExposure`).
    """

    def __init__(self, visits=None, ccds=None):
        self.visits = self.visitTable() if visits is None else visits
        self.ccds = self.ccdTable() if ccds is None else ccds

    @staticmethod
    def visitTable():
        """Empty table of visits."""
        return _table(_VISITS, "visit")

    @staticmethod
    def ccdTable():
        """Empty table of detector exposures."""
        return _table(_CCDS, "detector exposure")

    def addVisit(self, id, bbox, *, goodpix=0, weight=0.0, filter="", **objects):
        """Append a visit.

        Parameters
        ----------
        id : `int`
        bbox : `stillsky.geom.Box2I`
        goodpix : `int`
        weight : `float`
        filter : `str`
        **objects
            Any of `COADD_INPUT_OBJECTS`.

        Returns
        -------
        row : `astropy.table.Row`
            The new row, which may be changed.

        Raises
        ------
        NotFoundError
            (a KeyError) An object of another name.
        """
        return _append(self.visits, _visitValues(id, bbox, goodpix=goodpix, weight=weight, filter=filter, **objects))

    def addCcd(self, id, bbox, *, ccd=-1, visit=0, goodpix=0, weight=0.0, filter="", **objects):
        """Append a detector exposure; as `addVisit`."""
        values = {"ccd": ccd, "visit": visit, "goodpix": goodpix, "weight": weight, "filter": filter}
        return _append(self.ccds, _ccdValues(id, bbox, **values, **objects))

    def extend(self, visits=(), ccds=()):
        """Append many rows at once, which costs what one of `addVisit` does.

        Parameters
        ----------
        visits, ccds : iterable of `dict`
            Arguments of `addVisit` and `addCcd` by name.

        Raises
        ------
        NotFoundError
            (a KeyError) An object of another name.
        """
        self.visits = _extended(self.visits, [_visitValues(**row) for row in visits])
        self.ccds = _extended(self.ccds, [_ccdValues(**row) for row in ccds])

    @staticmethod
    def bboxOf(row):
        """Box of a row (`stillsky.geom.Box2I`)."""
        corners = [int(row[f"bbox_{end}_{axis}"]) for end in ("min", "max") for axis in ("x", "y")]
        return Box2I.fromMinMax(Point2I(*corners[:2]), Point2I(*corners[2:]))

    def sort(self):
        """Sort both tables by id, in place."""
        for table in (self.visits, self.ccds):
            if len(table):
                table.sort("id")

    def copy(self):
        """Tables of its own that share the objects."""
        return CoaddInputs(self.visits.copy(), self.ccds.copy())

    def writeFits(self, path, *, overwrite=False):
        """Write the tables alone to a file, in the form they have in that of an exposure.

        Parameters
        ----------
        path : path-like
        overwrite : `bool`
        """
        from ..fits.coadd_inputs import writeCoaddInputs

        writeCoaddInputs(self, path, overwrite=overwrite)

    @classmethod
    def readFits(cls, path):
        """Read the tables of a file: of `writeFits`, or of an exposure.

        Raises
        ------
        FitsLayoutError
            The file has no such tables.
        """
        from ..fits.coadd_inputs import readCoaddInputsFile

        return readCoaddInputsFile(path)

    def __eq__(self, other):
        if not isinstance(other, CoaddInputs):
            return NotImplemented
        return _same(self.visits, other.visits) and _same(self.ccds, other.ccds)

    __hash__ = None

    def __repr__(self):
        return f"CoaddInputs({len(self.visits)} visits, {len(self.ccds)} ccds)"


def _corners(bbox):
    if bbox.isEmpty:
        raise DomainError("CoaddInputs: wanted a box with pixels, given an empty one")
    return {"bbox_min_x": bbox.minX, "bbox_min_y": bbox.minY, "bbox_max_x": bbox.maxX, "bbox_max_y": bbox.maxY}


def _visitValues(id, bbox, *, goodpix=0, weight=0.0, filter="", **objects):
    """Values of a row of visits."""
    unknown = set(objects) - set(COADD_INPUT_OBJECTS)
    if unknown:
        raise NotFoundError(f"CoaddInputs: no column {sorted(unknown)}; objects are {', '.join(COADD_INPUT_OBJECTS)}")
    known = {name: objects.get(name) for name in COADD_INPUT_OBJECTS}
    values = {"id": int(id), "goodpix": goodpix, "weight": float(weight), "filter": filter or ""}
    return {**known, **values, **_corners(bbox)}


def _ccdValues(id, bbox, *, ccd=-1, visit=0, **rest):
    """Values of a row of ccds."""
    return {**_visitValues(id, bbox, **rest), "ccd": ccd, "visit": int(visit)}


def _append(table, values):
    # columns that somebody added stay at the zero of their type
    rest = {n: np.zeros((), table[n].dtype)[()] for n in table.colnames if n not in values}
    table.add_row({**rest, **values})
    return table[-1]


def _extended(table, rows):
    """The table with more rows; strings as wide as they need be."""
    if not rows:
        return table
    columns = []
    for column in table.columns.values():
        if column.dtype.kind == "O":
            new = np.empty(len(rows), object)
            for k, row in enumerate(rows):
                new[k] = row.get(column.name)
        elif column.name in rows[0]:
            new = np.array([row[column.name] for row in rows])
            new = new if column.dtype.kind == "U" else new.astype(column.dtype)
        else:
            new = np.zeros((len(rows), *column.shape[1:]), column.dtype)
        columns.append(column.copy(data=np.concatenate([np.asarray(column), new])))
    return type(table)(columns, meta=table.meta, copy=False)


def _same(first, second):
    if first.colnames != second.colnames or len(first) != len(second):
        return False
    for name in first.colnames:
        a, b = np.asarray(first[name]), np.asarray(second[name])
        if a.dtype.kind == "f":
            if not np.array_equal(a, b, equal_nan=True):
                return False
        elif not all(x is y or x == y for x, y in zip(a.tolist(), b.tolist(), strict=True)):
            return False
    return True
