"""The cards of the exposure layout: pixel origin, mask planes, pixels of one extension.

Core data model, section 10: IMAGE, MASK and VARIANCE extensions after an empty primary one. Pixel coordinates of
memory are parent, 0-based; those of FITS are array index + 1.
"""

import re

import numpy as np

from ..errors import FitsLayoutError, ShapeError

__all__ = ["originCards", "pixelShape", "planeTable", "readOrigin", "readPixels", "storedType"]

_ROWS_PER_BAND = 512
_NARROW = 64  # a part narrower than the image by this factor is read alone


def originCards(xy0):
    """Cards that hold the parent position (x0, y0) of the first pixel, as (key, value, comment)."""
    x0, y0 = (int(v) for v in xy0)
    cards = [("LTV1", -x0, ""), ("LTV2", -y0, "")]
    for axis, origin in ((1, x0), (2, y0)):
        cards += [
            (f"CTYPE{axis}A", "LINEAR", "parent pixel coordinates"),
            (f"CRPIX{axis}A", 1.0, ""),
            (f"CRVAL{axis}A", float(origin), "parent position of the first pixel"),
            (f"CUNIT{axis}A", "PIXEL", ""),
        ]
    return cards


def readOrigin(header, *, useLtv=True):
    """Parent position of the first pixel.

    Parameters
    ----------
    header : `astropy.io.fits.Header`
    useLtv : `bool`
        Whether LTV cards count when the "A" coordinates are absent. In files of other origin LTV describes the
        detector and not a cut-out, so it is ignored there.

    Returns
    -------
    xy0 : (`int`, `int`)
        From the "A" coordinates if both CRPIXiA are 1, else from LTV, else (0, 0).

    Raises
    ------
    FitsLayoutError
        If the two disagree, or LTV is no whole number.
    """
    fromA = fromLtv = None
    if (
        all(key in header for key in ("CRVAL1A", "CRVAL2A"))
        and str(header.get("CTYPE1A", "LINEAR")).strip() == "LINEAR"
    ):
        if header.get("CRPIX1A", 1) == 1 and header.get("CRPIX2A", 1) == 1:
            fromA = tuple(int(np.floor(float(header[f"CRVAL{i}A"]) + 0.5)) for i in (1, 2))
    if useLtv and "LTV1" in header and "LTV2" in header:
        ltv = [-float(header["LTV1"]), -float(header["LTV2"])]
        if any(abs(v - round(v)) > 1e-6 for v in ltv):
            raise FitsLayoutError(f"cards LTV1, LTV2: wanted whole numbers, given {-ltv[0]}, {-ltv[1]}")
        fromLtv = tuple(round(v) for v in ltv)
    if fromA and fromLtv and fromA != fromLtv:
        raise FitsLayoutError(f"pixel origin: CRVAL1A, CRVAL2A say {fromA}, LTV1, LTV2 say {fromLtv}")
    return fromA or fromLtv or (0, 0)


def planeTable(header):
    """Mask planes named by MP_ cards.

    Returns
    -------
    planes : `dict` [`str`, `int`]
        Name to bit, empty if the header has no such card.
    docs : `dict` [`str`, `str`]
        Card comments.

    Raises
    ------
    FitsLayoutError
        If two names share a bit, one name has two, or a bit lies outside 0-30.
    """
    planes, docs = {}, {}
    for card in header.cards:
        match = re.fullmatch(r"MP_(.+)", card.keyword)
        if not match:
            continue
        name, bit = match[1].upper(), card.value
        if isinstance(bit, bool) or not isinstance(bit, (int, np.integer)) or not 0 <= bit <= 30:
            raise FitsLayoutError(f"card {card.keyword}: wanted a bit number 0 to 30, given {bit!r}")
        if planes.get(name, bit) != bit:
            raise FitsLayoutError(f"mask plane {name} has two bits, {planes[name]} and {bit}")
        planes[name] = int(bit)
        if card.comment:
            docs[name] = card.comment
    if len(set(planes.values())) != len(planes):
        raise FitsLayoutError(f"mask planes share a bit: {planes}")
    return planes, docs


def pixelShape(hdu):
    """(height, width) of an image extension, from its header alone.

    Raises
    ------
    FitsLayoutError
        If it is no image with two axes (more are taken when the slowest have length 1).
    """
    if not getattr(hdu, "is_image", False):
        raise FitsLayoutError(f"extension {hdu.name or 'PRIMARY'!r} is a table, wanted an image", found="a table")
    shape = tuple(hdu.shape)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2:
        raise FitsLayoutError(
            f"extension {hdu.name or 'PRIMARY'!r}: wanted an image with 2 axes, given {len(shape)}",
            found=f"axes {' x '.join(str(n) for n in reversed(shape)) or 'none'}",
            remedy="write one plane of it to a file of its own",
        )
    return shape


def readPixels(hdu, dtype, slices=None, *, allowUnsafe=False):
    """Read the pixels of an extension in one conversion.

    Parameters
    ----------
    hdu : image HDU of astropy
        Plain or tile-compressed, any BITPIX, byte order, BSCALE, BZERO and BLANK.
    dtype : numpy dtype
        Wanted type. Blank pixels become NaN.
    slices : pair of `slice`, optional
        Rows and columns; only these are read (strips or tiles).
    allowUnsafe : `bool`
        Let float pixels be read into integers.

    Returns
    -------
    pixels : `numpy.ndarray`, shape (height, width)
        Own, writable, native, contiguous.

    Notes
    -----
    Beside the result it needs one band of 512 rows; a compressed extension is decompressed into memory first.
    """
    height, width = pixelShape(hdu)
    rows, columns = slices or (slice(0, height), slice(0, width))
    if rows.stop > height or columns.stop > width or rows.start < 0 or columns.start < 0:
        raise ShapeError(
            f"region {columns.start}:{columns.stop},{rows.start}:{rows.stop} is not inside {width}x{height}"
        )
    dtype = np.dtype(dtype)
    out = np.empty((rows.stop - rows.start, columns.stop - columns.start), dtype)
    lead = (0,) * (len(hdu.shape) - 2)
    whole = hdu.section[(*lead, rows, columns)] if _isCompressed(hdu) and out.size else None
    scaling = _scaling(hdu.header)
    for start in range(0, out.shape[0], _ROWS_PER_BAND):
        band = slice(start, min(start + _ROWS_PER_BAND, out.shape[0]))
        onDisk = slice(rows.start + band.start, rows.start + band.stop)
        pixels = whole[band] if whole is not None else _readBand(hdu, lead, onDisk, columns, width)
        pixels = _scaled(pixels, *scaling)
        if pixels.dtype.kind == "f" and dtype.kind != "f" and not allowUnsafe:
            raise FitsLayoutError(f"extension {hdu.name!r}: float pixels cannot be read as {dtype} without loss")
        if dtype.kind in "iu" and pixels.dtype.kind in "iu" and pixels.dtype.itemsize >= dtype.itemsize:
            limits = np.iinfo(dtype)
            if pixels.size and (pixels.max() > limits.max or pixels.min() < limits.min):
                raise FitsLayoutError(f"extension {hdu.name!r}: pixel values beyond the range of {dtype}")
        with np.errstate(invalid="ignore", over="ignore"):
            out[band] = pixels
    return out


def _readBand(hdu, lead, rows, columns, width):
    """Rows of a plain image. A section that leaves out columns is read row by row: whole rows are much faster to read."""
    if _NARROW * (columns.stop - columns.start) < width:
        return hdu.section[(*lead, rows, columns)]
    return hdu.section[(*lead, rows, slice(0, width))][:, columns]


def _scaling(header):
    return header.get("BSCALE", 1), header.get("BZERO", 0), header.get("BLANK")


def _scaled(pixels, scale, zero, blank):
    """Physical values of stored ones: integers stay integers under a whole offset, blank ones become NaN."""
    if pixels.dtype.kind not in "iu":
        return pixels if (scale, zero) == (1, 0) else pixels * float(scale) + float(zero)
    empty = pixels == blank if isinstance(blank, (int, np.integer)) else None
    if scale == 1 and float(zero).is_integer():
        values = pixels if zero == 0 else pixels.astype(np.int64) + int(zero)
    else:
        values = pixels * float(scale) + float(zero)
    if empty is not None and empty.any():
        values = np.where(empty, np.nan, values)
    return values


def storedType(hdu):
    """Pixel type that an extension was written from: unsigned by BZERO, float where pixels are scaled or can be blank."""
    bits = int(hdu.header.get("ZBITPIX", hdu.header["BITPIX"]))
    if bits < 0:
        return np.dtype(f"f{-bits // 8}")
    scale, zero, blank = _scaling(hdu.header)
    kind = {0: "u" if bits == 8 else "i", 2 ** (bits - 1): "u", -128: "i"}.get(zero)
    if scale != 1 or blank is not None or kind is None:
        return np.dtype(np.float64)
    return np.dtype(f"{kind}{bits // 8}")


def _isCompressed(hdu):
    from astropy.io import fits

    return isinstance(hdu, fits.CompImageHDU)
