"""Objects in FITS tables: one table of one row per object, plain typed columns, no pickle.

Core data model 10.6: EXTNAME names the component, cards STYPE and SVERS its class and layout version. A column holds a
number, a text, or a whole array (TDIM); cards SHAPEn keep the array's shape, also for empty and 1-element arrays.
"""

import numpy as np

from ..errors import FitsLayoutError

__all__ = ["fromRecord", "toRecord"]

_FORMATS = {"f8": "D", "f4": "E", "i8": "K", "i4": "J", "i2": "I", "u1": "B", "b1": "L", "c16": "M"}


def toRecord(name, className, fields, version=1):
    """Make the table of one object.

    Parameters
    ----------
    name : `str`
        EXTNAME.
    className : `str`
        Card STYPE.
    fields : `dict`
        Name to None (left out), bool, int, float, `str` or `numpy.ndarray` of numbers.
    version : `int`
        Card SVERS.

    Returns
    -------
    hdu : `astropy.io.fits.BinTableHDU`
    """
    from astropy.io import fits

    columns, shapes = [], []
    for key, value in fields.items():
        if value is None:
            continue
        column, shape = _column(fits, key, value)
        columns.append(column)
        shapes.append(shape)
    hdu = fits.BinTableHDU.from_columns(columns, nrows=1, name=name)
    hdu.header["STYPE"] = (className, "class of the object in this table")
    hdu.header["SVERS"] = (version, "version of this table's layout")
    for number, shape in enumerate(shapes, 1):
        if shape is not None:
            hdu.header[f"SHAPE{number}"] = (",".join(map(str, shape)), "array shape of this column, slowest axis first")
    return hdu


def _column(fits, key, value):
    if isinstance(value, str):
        text = value.encode("unicode_escape")
        return fits.Column(key, f"{max(len(text), 1)}A", array=np.array([text])), None
    if isinstance(value, (bool, int, float)):
        kind = "L" if isinstance(value, bool) else "K" if isinstance(value, int) else "D"
        return fits.Column(key, kind, array=np.array([value])), None
    array = np.ascontiguousarray(value)
    code = _FORMATS.get(array.dtype.newbyteorder("=").str[1:])
    if code is None:
        if array.dtype.kind not in "iub":
            raise TypeError(f"field {key!r}: cannot store an array of {array.dtype} in a table")
        array, code = array.astype(np.int64), "K"
    shape = np.shape(value)
    flat = array.ravel() if array.size else np.zeros(1, array.dtype)
    dim = f"({','.join(str(n) for n in reversed(shape))})" if len(shape) > 1 and array.size else None
    return fits.Column(key, f"{flat.size}{code}", dim=dim, array=flat.reshape((1, *shape) if dim else (1, -1))), shape


def fromRecord(hdu, maxVersion=1):
    """Read the table of one object.

    Returns
    -------
    className : `str`
    fields : `dict`
        As given to `toRecord`, arrays native and writable.

    Raises
    ------
    FitsLayoutError
        If it is no such table, or of a newer version.
    """
    header = hdu.header
    version = header.get("SVERS")
    if "STYPE" not in header or not isinstance(version, int):
        raise FitsLayoutError(f"extension {hdu.name}: no STYPE and SVERS cards, not an object table")
    if version > maxVersion:
        raise FitsLayoutError(f"extension {hdu.name}: layout version {version}, this program reads up to {maxVersion}")
    fields = {}
    for number, column in enumerate(hdu.columns, 1):
        value = hdu.data[column.name][0]
        shape = header.get(f"SHAPE{number}")
        if shape is None:
            fields[column.name] = _scalar(value)
        else:
            shape = tuple(int(n) for n in shape.split(",") if n)
            value = np.array(value)
            value = value.astype(value.dtype.newbyteorder("="))
            fields[column.name] = value.ravel()[: int(np.prod(shape))].reshape(shape)
    return header["STYPE"], fields


def _scalar(value):
    if isinstance(value, (bytes, str)):
        text = value if isinstance(value, bytes) else value.encode("ascii")
        return text.decode("unicode_escape")
    return value.item()
