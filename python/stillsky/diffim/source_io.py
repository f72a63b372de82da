"""Files of sources: tables by suffix, region files, footprints."""

import errno
import json
import os
import secrets

import numpy as np
from astropy.io import fits
from astropy.table import Table

from ..detection import Footprint, FootprintSet, SpanSet
from ..detection.boxes import boxTuple
from ..detection.footprint import PEAK_DTYPE
from ..errors import DomainError, FitsLayoutError
from ..geom import Box2I

__all__ = [
    "SOURCE_SUFFIXES",
    "readFootprints",
    "readSources",
    "sourceFormat",
    "writeFootprints",
    "writeRegions",
    "writeSources",
]

#: Suffix -> format of `writeSources`.
SOURCE_SUFFIXES = {".ecsv": "ecsv", ".parquet": "parquet", ".parq": "parquet", ".fits": "fits"}
_META_CARD = "STILLSKY META"
_META_KEY = "stillsky_meta"


def writeSources(table, path, *, overwrite=False):
    """Write a table of sources as ECSV, Parquet or FITS, chosen by the suffix.

    Parameters
    ----------
    table : `astropy.table.Table`
        Units, descriptions and meta are kept in all formats.
    path : str or path
        Ends with ``.ecsv``, ``.parquet``, ``.parq`` or ``.fits``.
    overwrite : bool
        Replace an existing file; otherwise FileExistsError.

    Raises
    ------
    DomainError
        Another suffix.
    OSError
        The file exists or cannot be written.
    """
    path = os.fspath(path)
    kind = sourceFormat(path)
    _atomically(path, overwrite, lambda temporary: _WRITERS[kind](table, temporary))


def readSources(path):
    """Read a table that `writeSources` wrote, or any ECSV, Parquet or FITS table."""
    path = os.fspath(path)
    kind = sourceFormat(path)
    if kind == "ecsv":
        return Table.read(path, format="ascii.ecsv")
    if kind == "parquet":
        return _readParquet(path)
    with fits.open(path) as hdus:
        index = "SOURCES" if "SOURCES" in hdus else 1
        meta = hdus[index].header.get(_META_CARD)
        table = Table.read(hdus, hdu=index, character_as_bytes=False)
    if meta is not None:
        table.meta.clear()
        table.meta.update(json.loads(meta))
    return table


def sourceFormat(path):
    """Format of a table of sources by the suffix of its name; DomainError for another suffix."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SOURCE_SUFFIXES:
        raise DomainError(f"sources: wanted a name ending with {', '.join(SOURCE_SUFFIXES)}, got {path!r}")
    return SOURCE_SUFFIXES[suffix]


def _writeEcsv(table, path):
    table.write(path, format="ascii.ecsv", overwrite=True)


def _writeParquet(table, path):
    """Units and descriptions in the fields' metadata, meta as JSON in the schema's: any Parquet reader shows them."""
    import pyarrow
    from pyarrow import parquet

    arrays, fields = [], []
    for name in table.colnames:
        column = table[name]
        arrays.append(pyarrow.array(np.asarray(column).tolist() if column.dtype.kind == "U" else np.asarray(column),
                                    type=pyarrow.string() if column.dtype.kind == "U" else None))  # fmt: skip
        notes = {"unit": "" if column.unit is None else column.unit.to_string(), "doc": column.description or ""}
        fields.append(pyarrow.field(name, arrays[-1].type, metadata=notes))
    schema = pyarrow.schema(fields, metadata={_META_KEY: json.dumps(table.meta, default=_plain)})
    parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), path)


def _readParquet(path):
    from pyarrow import parquet

    found = parquet.read_table(path)
    table = Table()
    for name, field in zip(found.column_names, found.schema, strict=True):
        values = found[name].to_numpy()
        notes = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
        table[name] = Table.Column(
            values.astype(str) if values.dtype.kind == "O" else values.copy(),
            unit=notes.get("unit") or None,
            description=notes.get("doc") or None,
        )
    table.meta.update(json.loads((found.schema.metadata or {}).get(_META_KEY.encode(), b"{}")))
    return table


def _writeFits(table, path):
    """Nested meta, which FITS cards cannot hold, as one JSON text in a long card."""
    plain = table.copy(copy_data=False)
    plain.meta.clear()
    hdu = fits.table_to_hdu(plain)
    hdu.name = "SOURCES"
    for i, name in enumerate(table.colnames, 1):
        if table[name].description:
            hdu.header[f"TCOMM{i}"] = table[name].description
    hdu.header[f"HIERARCH {_META_CARD}"] = json.dumps(table.meta, ensure_ascii=True, default=_plain)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)


def _plain(value):
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


_WRITERS = {"ecsv": _writeEcsv, "parquet": _writeParquet, "fits": _writeFits}


def writeRegions(table, path, *, wcs=None, radius=8.0, overwrite=False):
    """Write a region file of the sources for ds9 and other viewers.

    Parameters
    ----------
    table : `astropy.table.Table`
        With ``id``, ``base_SdssCentroid_x``, ``base_SdssCentroid_y`` (0-based parent pixels) and ``coord_ra``,
        ``coord_dec`` (radians).
    path : str or path
    wcs : `SkyWcs`, optional
        With one the regions are in fk5 (J2000, degrees), as the table's coordinates are; else image pixels, 1-based.
    radius : float
        Of the circles, pixels.

    Notes
    -----
    Positive sources are green, negative ones magenta, sky sources blue; flagged candidates are dashed.
    """
    _atomically(os.fspath(path), overwrite, lambda temporary: _writeText(temporary, _regions(table, wcs, radius)))


def _regions(table, wcs, radius):
    lines = [
        "# Region file format: DS9 version 4.1",
        'global color=green dashlist=8 3 width=1 font="helvetica 10 normal roman" select=1 edit=1 move=1',
        "fk5" if wcs is not None else "image",
    ]
    x, y = (np.asarray(table[f"base_SdssCentroid_{c}"], float) for c in "xy")
    for i in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
        if wcs is not None:
            ra, dec = (float(np.degrees(table[c][i])) for c in ("coord_ra", "coord_dec"))
            if not (np.isfinite(ra) and np.isfinite(dec)):
                continue
            size = np.degrees(float(wcs.pixelScale(x[i], y[i]))) * 3600 * radius
            shape = f'circle({ra:.8f},{dec:.8f},{size:.3f}")'
        else:
            shape = f"circle({x[i] + 1:.4f},{y[i] + 1:.4f},{radius:.2f})"
        color = "blue" if table["sky_source"][i] else "magenta" if table["is_negative"][i] else "green"
        dash = " dash=1" if table["candidate_flag"][i] else ""
        lines.append(f"{shape} # color={color}{dash} text={{{int(table['id'][i])}}}")
    return "\n".join(lines) + "\n"


def _writeText(path, text):
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def writeFootprints(footprints, ids, path, *, overwrite=False):
    """Write footprints as two FITS tables keyed by source id.

    Parameters
    ----------
    footprints : `FootprintSet`
    ids : sequence of int
        One per footprint.
    path : str or path

    Notes
    -----
    FOOTPRINTS has id, y, x0, x1 (inclusive, PARENT pixels) with the searched box in RX0, RY0, RWIDTH, RHEIGHT; PEAKS
    has id, order, x, y, value, significance, positive, negative.
    """
    spans, spanOffsets, peaks, peakOffsets = footprints._packed
    ids = np.asarray(ids, np.int64)
    if len(ids) != len(footprints):
        raise DomainError(f"ids: wanted {len(footprints)}, got {len(ids)}")
    counts = np.diff(peakOffsets)
    order = np.arange(len(peaks)) - np.repeat(peakOffsets[:-1], counts)
    table = Table({"id": np.repeat(ids, np.diff(spanOffsets)), "y": spans[:, 0], "x0": spans[:, 1], "x1": spans[:, 2]})
    signs = _signs(peaks)
    peakTable = Table(
        {
            "id": np.repeat(ids, counts),
            "order": order.astype(np.int32),
            "x": peaks["f_x"],
            "y": peaks["f_y"],
            "value": peaks["peakValue"],
            "significance": peaks["significance"],
            "positive": signs[0],
            "negative": signs[1],
        }
    )
    hdus = [fits.PrimaryHDU(), fits.table_to_hdu(table), fits.table_to_hdu(peakTable)]
    hdus[1].name, hdus[2].name = "FOOTPRINTS", "PEAKS"
    for card, value in zip(("RX0", "RY0", "RWIDTH", "RHEIGHT"), boxTuple(footprints.region), strict=True):
        hdus[1].header[card] = value
    _atomically(os.fspath(path), overwrite, lambda temporary: fits.HDUList(hdus).writeto(temporary, overwrite=True))


def _signs(peaks):
    if "merge_peak_positive" in peaks.dtype.names:
        return peaks["merge_peak_positive"].astype(bool), peaks["merge_peak_negative"].astype(bool)
    return peaks["peakValue"] >= 0, peaks["peakValue"] < 0


def readFootprints(path):
    """What `writeFootprints` wrote: (`FootprintSet`, ids). Footprints come by increasing id."""
    with fits.open(os.fspath(path)) as hdus:
        if "FOOTPRINTS" not in hdus or "PEAKS" not in hdus:
            raise FitsLayoutError(f"{path}: wanted tables FOOTPRINTS and PEAKS")
        header, spans, rows = hdus["FOOTPRINTS"].header, hdus["FOOTPRINTS"].data, hdus["PEAKS"].data
        region = Box2I((header["RX0"], header["RY0"]), (header["RWIDTH"], header["RHEIGHT"]))
        spans = np.stack([np.asarray(spans[n], np.int64) for n in ("id", "y", "x0", "x1")], axis=1)
        peaks = np.zeros(len(rows), PEAK_DTYPE.descr + [("merge_peak_positive", "?"), ("merge_peak_negative", "?")])
        owner = np.asarray(rows["id"], np.int64)
        for name, source in (("f_x", "x"), ("f_y", "y"), ("peakValue", "value"), ("significance", "significance")):
            peaks[name] = rows[source]
        for name in ("positive", "negative"):
            peaks[f"merge_peak_{name}"] = rows[name]
    peaks["i_x"], peaks["i_y"] = np.floor(peaks["f_x"] + 0.5), np.floor(peaks["f_y"] + 0.5)
    peaks["id"] = np.arange(1, len(peaks) + 1)
    ids = np.unique(spans[:, 0])
    footprints = [
        Footprint(SpanSet(spans[spans[:, 0] == i, 1:].astype(np.int32)), peaks[owner == i], region) for i in ids
    ]
    return FootprintSet(footprints, region), ids


def _atomically(path, overwrite, write):
    """Write under a temporary name in the same folder, then rename."""
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(errno.EEXIST, "output exists; overwrite=True replaces it", path)
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    temporary = os.path.join(folder, f".{stem}.partial-{secrets.token_hex(4)}{suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
