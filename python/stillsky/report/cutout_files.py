"""Files of cut-outs: arrays for programs, tables for classifiers, pictures for people."""

import json
import os

import numpy as np

from .pixels import robustScale
from .previews import tripletPng

__all__ = ["CUTOUT_SUFFIXES", "writeCutouts"]

CUTOUT_SUFFIXES = (".npz", ".parquet", ".fits", ".png")
_PLANES = ("science", "template", "difference", "variance", "mask")
_SIGN = "SCI-TMPL"
_COLUMNS = 4  # triplets in a row of the picture


def writeCutouts(path, cuts):
    """Write cut-outs, in the format that the suffix names; the file appears complete or not at all.

    ``.npz``: the arrays. ``.parquet``: a row for each source, its pixels in rows from the bottom as lists of float32 (int32
    the mask). ``.fits``: image cubes SCIENCE, TEMPLATE, DIFFERENCE, VARIANCE, MASK and the table SOURCES. ``.png``: one
    picture of all triplets, four in a row, from the upper left; each is science, template, and the difference over its
    noise from -5 (blue) to 5 (red).

    Parameters
    ----------
    path : `str`
        Ends with one of `CUTOUT_SUFFIXES`.
    cuts : `dict`
        Arrays science, template, difference, variance (n, side, side) float32, mask (n, side, side) int32, x, y, id (n,).

    Raises
    ------
    OSError
        It cannot be written.
    """
    suffix = os.path.splitext(path)[1].lower()
    writer = {".npz": _writeNpz, ".parquet": _writeParquet, ".fits": _writeFits, ".png": _writePng}[suffix]
    aside = f"{path}.partial-{os.getpid()}{suffix}"
    try:
        writer(aside, cuts)
        os.replace(aside, path)
    finally:
        if os.path.exists(aside):
            os.unlink(aside)


def _writeNpz(path, cuts):
    np.savez(path, **cuts, sign=np.array(_SIGN))


def _writeParquet(path, cuts):
    import pyarrow
    from pyarrow import parquet

    columns = {name: pyarrow.array(np.asarray(cuts[name])) for name in ("id", "x", "y")}
    side = cuts["science"].shape[-1]
    for name in _PLANES:
        flat = pyarrow.array(np.ascontiguousarray(cuts[name]).ravel())
        columns[name] = pyarrow.FixedSizeListArray.from_arrays(flat, side * side)
    notes = {"side": json.dumps(side), "sign": _SIGN, "order": "rows from the bottom"}
    table = pyarrow.table(columns).replace_schema_metadata(notes)
    parquet.write_table(table, path, row_group_size=10_000)


def _writeFits(path, cuts):
    from astropy.io import fits
    from astropy.table import Table

    primary = fits.PrimaryHDU()
    primary.header["DIFFSIGN"] = (_SIGN, "a new source is positive")
    hdus = [primary, *(fits.ImageHDU(cuts[name], name=name.upper()) for name in _PLANES)]
    table = fits.table_to_hdu(Table({name: cuts[name] for name in ("id", "x", "y")}))
    table.name = "SOURCES"
    fits.HDUList([*hdus, table]).writeto(path)


def _writePng(path, cuts):
    """One stretch for all, so that triplets can be compared by eye; white is the brightest thing near each middle."""
    from matplotlib.image import imread, imsave

    n, side = cuts["science"].shape[:2]
    width = 3 * side + 4
    columns = min(_COLUMNS, max(n, 1))
    rows = max(-(-n // columns), 1)
    sheet = np.ones((rows * (side + 6) - 6, columns * (width + 10) - 10, 3), np.float32)
    scales = [robustScale(cuts[name]) for name in ("science", "template")]
    sky = [level if np.isfinite(level) else 0.0 for level, _ in scales]
    sigma = scales[0][1] if np.isfinite(scales[0][1]) and scales[0][1] > 0 else 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        chi = cuts["difference"] / np.sqrt(cuts["variance"])
    import io

    for k in range(n):
        picture = imread(
            io.BytesIO(tripletPng(cuts["science"][k], cuts["template"][k], chi[k], sky, sigma)), format="png"
        )
        row, column = divmod(k, columns)
        top, left = row * (side + 6), column * (width + 10)
        sheet[top : top + side, left : left + width] = picture[..., :3]
    imsave(path, np.repeat(np.repeat(sheet, 2, axis=0), 2, axis=1), format="png")
