"""Photon transfer datasets as dictionaries, tables and files: FITS, ECSV, YAML; versions 1.0 to 2.6 are read."""

import os

import numpy as np

from ..errors import DomainError, FitsLayoutError, ShapeError, StillskyError
from ..fits.files import atomicOutput, openFits, readingErrors, writeHdus
from ..meta import Header
from .dataset_fields import FIELDS, emptyValue, itemShape

__all__ = ["fromDict", "fromTable", "readFits", "readText", "toDict", "toTable", "writeFits", "writeText"]

_AUX = "PTCAUX_"
_TEXT_FORMATS = {".yaml": "yaml", ".yml": "yaml", ".ecsv": "ecsv"}
_REMOVED = ("COVARIANCES_MODEL_NO_B", "A_MATRIX_NO_B", "NOISE_MATRIX_NO_B")  # columns before 2.1, ignored
# Ours, and what the dictionaries of the LSST stack leave out: files of the same version from elsewhere lack these.
_NOT_IN_OTHER_FILES = ("nPixelCovarianceList", "ptcRolloffTau", "ptcRolloffTauError")
_OLD_NAMES = {"photoCharges": "photoCharge"}  # attribute names of version 1.0


# ---- dictionary
def toDict(dataset):
    """All values as plain Python objects.

    Parameters
    ----------
    dataset : `PhotonTransferCurveDataset`

    Returns
    -------
    values : `dict`
        Keys are the attribute names and "metadata"; arrays are flat lists, in C order.
    """
    dataset.checkSizes()
    out = {
        "metadata": dict(_currentMetadata(dataset).items()),
        "ptcFitType": dataset.ptcFitType,
        "covMatrixSide": dataset.covMatrixSide,
        "covMatrixSideFullCovFit": dataset.covMatrixSideFullCovFit,
        "ampNames": list(dataset.ampNames),
        "badAmps": [str(amp) for amp in dataset.badAmps],
        "inputExpIdPairs": {a: [[int(i) for i in p] for p in dataset.inputExpIdPairs[a]] for a in dataset.ampNames},
        "auxValues": {key: np.asarray(values).tolist() for key, values in dataset.auxValues.items()},
    }
    for name in FIELDS:
        values = getattr(dataset, name)
        out[name] = {amp: np.ravel(values[amp]).tolist() if np.ndim(values[amp]) else values[amp] for amp in values}
    return out


def fromDict(cls, dictionary):
    """Dataset of the values of `toDict`.

    Parameters
    ----------
    cls : type
        `PhotonTransferCurveDataset` or a subclass.
    dictionary : mapping

    Raises
    ------
    FitsLayoutError
        If the metadata do not say OBSTYPE PTC, an attribute is missing or its length does not fit.
    """
    metadata = dictionary.get("metadata") or {}
    _checkKind(metadata)
    if "ampNames" not in dictionary:
        raise FitsLayoutError("photon transfer dataset: ampNames are missing")
    amps = list(dictionary["ampNames"])
    rows = {amp: {} for amp in amps}
    for name in (*FIELDS, "inputExpIdPairs"):
        for amp, value in (dictionary.get(name) or dictionary.get(_OLD_NAMES.get(name)) or {}).items():
            if amp in rows and value is not None:
                rows[amp][name] = value
    aux = {key: _auxArray(values) for key, values in (dictionary.get("auxValues") or {}).items()}
    side = dictionary.get("covMatrixSide", 1)
    sides = (side, dictionary.get("covMatrixSideFullCovFit", side))
    badAmps = [str(amp) for amp in dictionary.get("badAmps") or []]
    return _assemble(cls, dictionary.get("ptcFitType"), rows, sides, badAmps, aux, metadata)


# ---- table
def toTable(dataset):
    """All values as a table with one row per amplifier.

    Parameters
    ----------
    dataset : `PhotonTransferCurveDataset`

    Returns
    -------
    tables : `list` [`astropy.table.Table`]
        One table; matrices are flat in C order, metadata in ``meta`` with None as "".

    Raises
    ------
    ShapeError
        If the arrays of the amplifiers do not fit together.
    """
    from astropy.table import Table

    dataset.checkSizes()
    amps, n = dataset.ampNames, dataset.nPairs
    table = Table()
    table["AMPLIFIER_NAME"] = np.array(amps, dtype=str)
    table["PTC_FIT_TYPE"] = np.full(len(amps), dataset.ptcFitType or "", dtype=f"U{len(dataset.ptcFitType or '-')}")
    table["COV_MATRIX_SIDE"] = np.full(len(amps), dataset.covMatrixSide)
    table["COV_MATRIX_SIDE_FULL_COV_FIT"] = np.full(len(amps), dataset.covMatrixSideFullCovFit)
    pairs = [dataset.inputExpIdPairs[amp] for amp in amps]
    table["INPUT_EXP_ID_PAIRS"] = np.array(pairs, dtype=np.int64).reshape(_cells(len(amps), n, 2))
    for name, field in FIELDS.items():
        values = getattr(dataset, name)
        cells = _rectangle([np.ravel(values[amp]) if field.shape else values[amp] for amp in amps], field)
        table[field.column] = np.array(cells, dtype=field.dtype).reshape(len(amps), *np.shape(cells)[1:])
        table[field.column].unit = field.unit or None
        table[field.column].description = field.doc
    bad = np.array([dataset.badAmps] * len(amps), dtype=str).reshape(_cells(len(amps), len(dataset.badAmps)))
    table.add_column(bad, name="BAD_AMPS", index=table.colnames.index("NOISE_MATRIX") + 1)
    for key, values in dataset.auxValues.items():
        table[f"{_AUX}{key}"] = np.array([values] * len(amps)).reshape(_cells(len(amps), n))
    meta = {key: "" if value is None else value for key, value in _currentMetadata(dataset).items()}
    if not amps:  # no row to hold them
        meta.update({name: value for name, value in zip(("COVSIDE", "COVSIDEF"), dataset._sides)})
    table.meta.update(meta)
    return [table]


def fromTable(cls, tables):
    """Dataset of a table of `toTable`, of any version since 1.0.

    Parameters
    ----------
    cls : type
        `PhotonTransferCurveDataset` or a subclass.
    tables : sequence of `astropy.table.Table`, or one table
        Only the first is read.

    Raises
    ------
    FitsLayoutError
        If the table holds something else, or a column of its version is missing or has a wrong size.

    Notes
    -----
    What older versions lack is filled: NaN, False, pixel counts -1, KS probabilities 0; the turn-off (before 1.1) with
    the last valid mean used, ``gainUnadjusted`` (before 2.0) with the gain, rf (before 1.5) with r. Before 1.9 the noise
    of a FULLCOVARIANCE fit was stored squared.
    """
    table = tables if hasattr(tables, "colnames") else tables[0]
    metadata = dict(table.meta)
    _checkKind(metadata)
    columns = {name: _column(table, name) for name in table.colnames if name not in _REMOVED}
    if "AMPLIFIER_NAME" not in columns:
        raise FitsLayoutError("photon transfer table: column AMPLIFIER_NAME is missing")
    amps = [str(name) for name in columns["AMPLIFIER_NAME"]]
    sides = (metadata.pop("COVSIDE", 1), metadata.pop("COVSIDEF", None))
    fitType, badAmps, rows = metadata.get("PTC_FIT_TYPE") or None, [], {amp: {} for amp in amps}
    if amps:
        fitType = str(_required(columns, "PTC_FIT_TYPE")[0]) or None
        side = int(_required(columns, "COV_MATRIX_SIDE")[0])
        sides = (side, int(columns.get("COV_MATRIX_SIDE_FULL_COV_FIT", [side])[0]))
        badAmps = [str(name) for name in np.ravel(columns["BAD_AMPS"][0])] if "BAD_AMPS" in columns else []
        badAmps = [name for name in badAmps if name in rows]
    for i, amp in enumerate(amps):
        rows[amp]["inputExpIdPairs"] = _required(columns, "INPUT_EXP_ID_PAIRS")[i]
        for name, field in FIELDS.items():
            if field.column in columns:
                rows[amp][name] = columns[field.column][i]
    auxColumns = {name[len(_AUX) :]: values for name, values in columns.items() if name.startswith(_AUX)}
    aux = {key: _auxArray(values[0]) for key, values in auxColumns.items()} if amps else {}
    return _assemble(cls, fitType, rows, sides, badAmps, aux, metadata)


def _cells(rows, *shape):
    """Shape of a column; ECSV knows neither cells of more than one axis without values nor columns of no row."""
    return (rows, *(shape if 0 not in shape else (0,))) if rows else (0,)


def _rectangle(cells, field):
    """Cells of a column; an array that one amplifier lacks and others have is NaN there."""
    size = max((np.size(c) for c in cells), default=0)
    if not field.shape or all(np.size(c) == size for c in cells):
        return cells
    return [c if np.size(c) == size else np.full(size, field.fill) for c in cells]


def _column(table, name):
    values = table[name]
    if hasattr(values, "mask"):  # ECSV masks empty text
        values = np.ma.filled(values, "" if values.dtype.kind in "SU" else np.nan)
    values = np.asarray(values)
    return np.char.decode(values, "ascii") if values.dtype.kind == "S" and values.size else values


def _required(columns, name):
    if name not in columns:
        raise FitsLayoutError(f"photon transfer table: column {name} is missing")
    return columns[name]


# ---- files
def writeFits(dataset, path, overwrite=False):
    """Write a FITS file: an empty primary HDU and the table of `toTable`.

    Parameters
    ----------
    dataset : `PhotonTransferCurveDataset`
    path : `str` or `os.PathLike`
    overwrite : `bool`

    Returns
    -------
    path : `str`
        Name of the file.

    Raises
    ------
    FileExistsError
        If the file exists and may not be replaced.
    """
    from astropy.io import fits

    table = toTable(dataset)[0]
    header = Header(table.meta).toFits()
    table.meta.clear()
    units = {}
    for name in table.colnames:
        units[name], table[name].unit = table[name].unit, None  # astropy knows no FITS form of electron/adu
        if table[name].dtype.kind == "U":
            table[name] = _toAscii(table[name])
    hdu = fits.table_to_hdu(table)
    for name, unit in units.items():
        if unit is not None:
            hdu.columns[name].unit = unit.to_string().replace(" ", "")
    hdu.header.extend(header)
    writeHdus([fits.PrimaryHDU(), hdu], path, overwrite)
    return os.fspath(path)


def _toAscii(column):
    """FITS text is ASCII: the rest is escaped. Cells of no text at all become empty cells of one letter."""
    if not column.size:
        return np.zeros(column.shape, dtype="S1")
    return np.char.encode(np.asarray(column), "ascii", "backslashreplace")


def readFits(cls, path):
    """Read a FITS file of `writeFits`, or of the LSST stack.

    Parameters
    ----------
    cls : type
    path : `str` or `os.PathLike`

    Raises
    ------
    OSError
        If the file is missing or may not be read.
    FitsLayoutError
        If it is no such file.
    """
    from astropy.table import Table

    with openFits(path) as hdus, readingErrors(path):
        if len(hdus) < 2 or getattr(hdus[1], "columns", None) is None:
            raise FitsLayoutError(f"{path}: wanted a table in the first extension, found none")
        header = Header.fromFits(hdus[1].header)
        data = hdus[1].data
        columns = {name: np.array(data[name]) for name in data.names}
        table = Table({k: v if len(v) == len(data) else np.zeros((len(data), 0)) for k, v in columns.items()})
        table.meta.update(dict(header.items()))
        return fromTable(cls, [table])


def writeText(dataset, path, format="auto", overwrite=False):
    """Write a YAML or ECSV file.

    Parameters
    ----------
    dataset : `PhotonTransferCurveDataset`
    path : `str` or `os.PathLike`
    format : {"auto", "yaml", "ecsv"}
        "auto": by the file's ending .yaml, .yml or .ecsv.
    overwrite : `bool`

    Returns
    -------
    path : `str`

    Raises
    ------
    DomainError
        If the format is neither.
    FileExistsError
        If the file exists and may not be replaced.
    """
    format = _textFormat(path, format)
    with atomicOutput(path, overwrite) as temporary:
        if format == "ecsv":
            toTable(dataset)[0].write(temporary, format="ascii.ecsv")
        else:
            import yaml

            with open(temporary, "w", encoding="utf-8") as stream:
                yaml.safe_dump(toDict(dataset), stream, sort_keys=False, allow_unicode=True)
    return os.fspath(path)


def readText(cls, path, format="auto"):
    """Read a YAML or ECSV file of `writeText`.

    Parameters
    ----------
    cls : type
    path : `str` or `os.PathLike`
    format : {"auto", "yaml", "ecsv"}

    Raises
    ------
    OSError
        If the file is missing or may not be read.
    FitsLayoutError
        If it holds something else.
    """
    format = _textFormat(path, format)
    try:
        if format == "ecsv":
            from astropy.table import Table

            return fromTable(cls, [Table.read(os.fspath(path), format="ascii.ecsv")])
        import yaml

        with open(path, encoding="utf-8") as stream:
            dictionary = yaml.safe_load(stream)
        if not isinstance(dictionary, dict):
            raise FitsLayoutError(f"wanted a mapping, found {type(dictionary).__name__}")
        return fromDict(cls, dictionary)
    except OSError:
        raise
    except StillskyError as error:
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:  # whatever the parsers raise on broken text
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FitsLayoutError(f"{path}: not a readable {format.upper()} file ({first})") from error


def _textFormat(path, format):
    if format == "auto":
        format = _TEXT_FORMATS.get(os.path.splitext(os.fspath(path))[1].lower())
    if format not in ("yaml", "ecsv"):
        raise DomainError(
            f"{path}: wanted the format yaml or ecsv, or one of these endings: {', '.join(_TEXT_FORMATS)}"
        )
    return format


# ---- common
def _currentMetadata(dataset):
    dataset.metadata.set("PTC_FIT_TYPE", dataset.ptcFitType)
    return dataset.metadata


def _checkKind(metadata):
    if metadata.get("OBSTYPE") != "PTC":
        raise FitsLayoutError(
            f"wanted a photon transfer dataset (OBSTYPE PTC), found OBSTYPE {metadata.get('OBSTYPE')!r}"
        )
    kind = metadata.get("CALIBCLS")
    if kind and str(kind).rpartition(".")[2] != "PhotonTransferCurveDataset":
        raise FitsLayoutError(f"wanted a PhotonTransferCurveDataset, found CALIBCLS {kind!r}")


def _auxArray(values):
    values = np.asarray(values)
    if values.dtype.kind == "S":
        return np.char.decode(values, "ascii")
    return values.astype({"i": np.int64, "u": np.int64, "b": np.int64, "U": str}.get(values.dtype.kind, np.float64))


def _version(metadata):
    version = metadata.get("PTC_VERSION", 1.0)
    try:
        return float(version)
    except (TypeError, ValueError):
        raise FitsLayoutError(f"PTC_VERSION: wanted a number, found {version!r}") from None


def _assemble(cls, fitType, rows, sides, badAmps, aux, metadata):
    """A dataset from raw values per amplifier and attribute, absent ones filled by the rules of their version."""
    r, rf = int(sides[0]), int(sides[0] if sides[1] is None else sides[1])
    dataset = cls(rows, fitType, r, rf)
    dataset.setMetadata(metadata)
    dataset.metadata.set("PTC_FIT_TYPE", fitType)
    dataset.badAmps, dataset.auxValues = badAmps, aux
    version = _version(metadata)
    for amp, row in rows.items():
        if "inputExpIdPairs" not in row:
            raise FitsLayoutError(f"photon transfer dataset: inputExpIdPairs of amplifier {amp} are missing")
        pairs = np.asarray(row["inputExpIdPairs"], dtype=np.float64 if _hasNaN(row["inputExpIdPairs"]) else np.int64)
        pairs = np.where(np.isfinite(pairs), pairs, -1).astype(np.int64).reshape(-1, 2)
        dataset.inputExpIdPairs[amp] = [tuple(pair) for pair in pairs.tolist()]
        for name, field in FIELDS.items():
            if name in row:
                value = _restored(field, row[name], len(pairs), r, dataset.covMatrixSideFullCovFit, amp)
            elif version < field.since or name in _NOT_IN_OTHER_FILES:
                value = _filled(field, row, len(pairs), r, dataset.covMatrixSideFullCovFit)
            else:
                raise FitsLayoutError(
                    f"photon transfer dataset of version {version}: {field.column} ({name}) is missing"
                )
            getattr(dataset, name)[amp] = value
        if version < 1.9 and fitType == "FULLCOVARIANCE":
            dataset.noise[amp] = float(np.sqrt(max(dataset.noise[amp], 0.0)))
    dataset.checkSizes()
    return dataset


def _hasNaN(values):
    return np.asarray(values).dtype.kind == "f"


def _restored(field, raw, n, r, rf, amp):
    if field.shape == "":
        return int(raw) if field.dtype is np.int64 else float(raw)
    flat = np.ravel(np.asarray(raw))
    if field.dtype is np.bool_ and flat.dtype.kind == "f":  # the first version filled masks with NaN
        flat = np.nan_to_num(flat) != 0
    flat = flat.astype(field.dtype)
    shape = itemShape(field, n, r, rf)
    if shape is None:
        return flat
    if flat.size == 0:
        return emptyValue(field, r, rf)
    if field.shape == "n" and flat.size == 1:  # a placeholder of an older version stands for every pair
        flat = np.repeat(flat, n)
    if flat.size != np.prod(shape):
        raise ShapeError(f"{field.name} of amplifier {amp}: wanted {np.prod(shape)} values {shape}, found {flat.size}")
    return flat.reshape(shape)


def _filled(field, row, n, r, rf):
    """What stands for an attribute that the version of a file did not have yet."""
    if field.name == "ptcTurnoff":
        used = np.ravel(np.asarray(row.get("finalMeans", ()), dtype=np.float64))
        used = used[np.isfinite(used)]
        return float(used[-1]) if used.size else float("nan")
    if field.name == "gainUnadjusted":
        return float(row["gain"])
    if field.shape == "":
        return int(field.fill) if field.dtype is np.int64 else float(field.fill)
    fill = row.get("nPixelCovariances", -1) if field.name == "nPixelCovarianceList" else field.fill
    shape = itemShape(field, n, r, rf)
    return np.full(1 if shape is None else shape, fill, dtype=field.dtype)
