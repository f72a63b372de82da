"""CoaddInputs in FITS: two plain tables that any program reads, and one of the objects that their rows point to."""

import json
import logging

import numpy as np

from ..errors import FitsLayoutError, StillskyError
from ..geom import Polygon
from ..image import CoaddInputs
from ..image.coadd_inputs import COADD_INPUT_OBJECTS
from ..meta import Header, TransmissionCurve, VisitInfo
from ..psf import Psf
from ..psf.coadd_record import Once, packRecords, unpackRecord
from ..psf.warped import bytesOf, textOf
from ..wcs import SkyWcs
from .components import (
    apCorrFields,
    apCorrMapOf,
    photoCalibFields,
    photoCalibOf,
    sampledPsf,
    transmissionFields,
    transmissionOf,
)
from .files import openFits, readingErrors, writeHdus
from .records import fromRecord, toRecord

__all__ = ["COADD_INPUT_TABLES", "coaddInputsHdus", "readCoaddInputs", "readCoaddInputsFile", "writeCoaddInputs"]

_LOG = logging.getLogger("stillsky.fits")

#: EXTNAMEs: visits, ccds, and the objects.
COADD_INPUT_TABLES = ("SKY_COADD_VISITS", "SKY_COADD_CCDS", "SKY_COADD_OBJECTS")

_VERSION = 1
_OBJECTS_VERSION = 2  # 1 had its catalog as text


def coaddInputsHdus(inputs):
    """Tables of a `CoaddInputs`.

    Parameters
    ----------
    inputs : `stillsky.image.CoaddInputs`

    Returns
    -------
    hdus : `list` [`astropy.io.fits.BinTableHDU`]
        In a column of objects stands the number of the object in the third table, -1 for None; equal objects are
        stored once. Objects without a form as data are left out, with a warning.
    """
    once, records, numbers = Once(), [], {}
    tables = [
        _tableHdu(table, name, once, records, numbers)
        for table, name in ((inputs.visits, COADD_INPUT_TABLES[0]), (inputs.ccds, COADD_INPUT_TABLES[1]))
    ]
    arrays, entries = packRecords(records)
    # as bytes: astropy strips the blanks off a text of megabytes one by one
    catalog = {**arrays, "catalog": bytesOf(json.dumps(entries, sort_keys=True))}
    return [*tables, toRecord(COADD_INPUT_TABLES[2], "CoaddInputs", catalog, _OBJECTS_VERSION)]


def _tableHdu(table, extname, once, records, numbers):
    from astropy.io import fits

    columns = []
    for name in table.colnames:
        values = np.asarray(table[name])
        unit = None if table[name].unit is None else str(table[name].unit)
        if name in COADD_INPUT_OBJECTS:
            boxes = [CoaddInputs.bboxOf(row) if row[name] is not None else None for row in table]
            found = [_number(o, box, name, once, records, numbers) for o, box in zip(values, boxes, strict=True)]
            columns.append(fits.Column(name, "J", array=np.array(found, np.int32)))
        elif values.dtype.kind == "O":
            _LOG.warning("column %s of the coadd inputs holds objects and is not written", name)
        elif values.dtype.kind in "US":
            text = np.char.encode(values, "unicode_escape") if values.dtype.kind == "U" else values
            columns.append(fits.Column(name, f"{max(text.dtype.itemsize, 1)}A", array=text))
        else:
            code = {"f8": "D", "f4": "E", "i8": "K", "i4": "J", "i2": "I", "u1": "B", "b1": "L"}.get(
                values.dtype.str[1:]
            )
            if code is None or values.ndim != 1:
                _LOG.warning("column %s of the coadd inputs (%s) is not written", name, values.dtype)
                continue
            columns.append(fits.Column(name, code, unit=unit, array=values))
    hdu = fits.BinTableHDU.from_columns(columns, nrows=len(table), name=extname)
    hdu.header["SVERS"] = (_VERSION, "version of this table's layout")
    return hdu


def _number(item, box, name, once, records, numbers):
    """Number of an object in the list of records, -1 if it is None or has no form."""
    place = once.number(item)
    if place < 0:
        return -1
    if place not in numbers:
        record = _record(item, box, name)
        numbers[place] = -1 if record is None else len(records)
        if record is not None:
            records.append(record)
    return numbers[place]


def _record(item, box, name):
    """(kind, scalars, arrays) of an object, None if it has no form as data."""
    if name == "psf":
        try:
            className, scalars, arrays = item.persist()
        except StillskyError:
            className, scalars, arrays = sampledPsf(item, box).persist()
        return f"psf:{className}", scalars, arrays
    if name == "wcs":
        return "wcs", {"cards": item.toHeader().tostring()}, {}
    if name == "visitInfo":
        return "visitInfo", {"cards": item.toHeader().toFits().tostring()}, {}
    if name == "validPolygon":
        return "validPolygon", {}, {"vertices": np.array(item.vertices, float)}
    if name in ("photoCalib", "apCorrMap"):
        fields = photoCalibFields(item, box) if name == "photoCalib" else apCorrFields(item, box)
        arrays = {k: v for k, v in fields.items() if isinstance(v, np.ndarray)}
        return name, {k: v for k, v in fields.items() if k not in arrays}, arrays
    if name == "transmissionCurve" and isinstance(item, TransmissionCurve):
        return name, {}, transmissionFields(item)
    _LOG.warning("%s of a coadd input has no file form and is not written", name)
    return None


def _object(kind, scalars, arrays):
    if kind.startswith("psf:"):
        return Psf.restore(kind[4:], scalars, arrays)
    if kind in ("wcs", "visitInfo"):
        from astropy.io import fits

        cards = fits.Header.fromstring(scalars["cards"])
        return SkyWcs.fromHeader(cards) if kind == "wcs" else VisitInfo.fromHeader(Header.fromFits(cards))
    if kind == "validPolygon":
        return Polygon(arrays["vertices"])
    if kind == "photoCalib":
        return photoCalibOf({**scalars, **arrays})
    if kind == "apCorrMap":
        return apCorrMapOf({**scalars, **arrays}) if arrays else apCorrMapOf(None)
    if kind == "transmissionCurve":
        return transmissionOf(arrays)
    raise FitsLayoutError(f"coadd inputs: unknown kind of object {kind!r}")


def readCoaddInputs(hdus):
    """`CoaddInputs` of an open file, or None.

    Parameters
    ----------
    hdus : `astropy.io.fits.HDUList`

    Raises
    ------
    FitsLayoutError
        One of the three tables is missing, or of a newer version.
    """
    names = [hdu.name for hdu in hdus]
    present = [name for name in COADD_INPUT_TABLES if name in names]
    if not present:
        return None
    if len(present) < 3:
        raise FitsLayoutError(f"coadd inputs: wanted extensions {', '.join(COADD_INPUT_TABLES)}, found {present}")
    visits, ccds, objects = (hdus[name] for name in COADD_INPUT_TABLES)
    fields = fromRecord(objects, _OBJECTS_VERSION)[1]
    stores, catalog = {"f": fields["floats"], "b": fields["bytes"]}, fields["catalog"]
    entries = json.loads(catalog if isinstance(catalog, str) else textOf(catalog))
    made = [_object(*unpackRecord(entry, stores)) for entry in entries]
    return CoaddInputs(_table(visits, CoaddInputs.visitTable(), made), _table(ccds, CoaddInputs.ccdTable(), made))


def writeCoaddInputs(inputs, path, *, overwrite=False):
    """Write a `CoaddInputs` alone; FileExistsError when the file exists and ``overwrite`` is not given."""
    from astropy.io import fits

    writeHdus([fits.PrimaryHDU(), *coaddInputsHdus(inputs)], path, overwrite)


def readCoaddInputsFile(path):
    """`CoaddInputs` of a file; FitsLayoutError if it has none."""
    with openFits(path) as hdus, readingErrors(path):
        inputs = readCoaddInputs(hdus)
        if inputs is None:
            raise FitsLayoutError(f"{path}: no tables of coadd inputs ({', '.join(COADD_INPUT_TABLES)})")
        return inputs


def _table(hdu, template, made):
    from astropy.table import Column, Table

    version = hdu.header.get("SVERS")
    if not isinstance(version, int) or version > _VERSION:
        raise FitsLayoutError(f"extension {hdu.name}: layout version {version}, this program reads up to {_VERSION}")
    columns = []
    for spec in hdu.columns:
        values = np.array(hdu.data[spec.name])
        known = template[spec.name] if spec.name in template.colnames else None
        if spec.name in COADD_INPUT_OBJECTS:
            values = _objectArray([made[i] if i >= 0 else None for i in values])
        elif values.dtype.kind in "SU":
            values = _texts(values)
        else:
            values = values.astype(values.dtype.newbyteorder("="))
        unit = spec.unit or (None if known is None else known.unit)
        columns.append(Column(values, spec.name, unit=unit, description=None if known is None else known.description))
    for name in COADD_INPUT_OBJECTS:  # for later rows
        if name not in hdu.columns.names:
            columns.append(Column(_objectArray([None] * len(hdu.data)), name))
    return Table(columns)


def _objectArray(items):
    out = np.empty(len(items), object)
    for i, item in enumerate(items):
        out[i] = item
    return out


def _texts(values):
    texts = [v.encode("ascii") if isinstance(v, str) else bytes(v) for v in values.tolist()]
    return np.array([t.decode("unicode_escape") for t in texts], "U" if texts else "U1")
