"""Opening, checking and atomically writing FITS files."""

import contextlib
import logging
import lzma
import os
import re
import secrets
import warnings
import zlib
from pathlib import Path

import numpy as np

from ..errors import FitsLayoutError, StillskyError

__all__ = ["atomicOutput", "isCompressedWhole", "openFits", "splitExtension", "writeHdus"]

_LOG = logging.getLogger("stillsky.fits")
_PLAIN_CARD = re.compile(
    r"(?:[A-Z0-9_-]{1,8} *= +(?:'(?:[ -&(-~]|'')*'|[-+]?[0-9]+(?:\.[0-9]*)?(?:[ED][-+]?[0-9]+)?|[TF])? *(?:/[ -~]*)?"
    r"|(?:COMMENT|HISTORY|CONTINUE|END| {8})[ -~]*)$"
)
_FETCH_AGAIN = "copy or fetch the file again"
_BRACKET = re.compile(r"(?P<path>.+)\[(?P<ext>[^\[\]]+)\]")


def splitExtension(path):
    """Split ``FILE[EXT]`` into file and extension.

    Parameters
    ----------
    path : `str` or `os.PathLike`
        EXT is a number, a name, or NAME,VERSION. A file that really has brackets in its name wins.

    Returns
    -------
    path : `pathlib.Path`
    ext : `int`, `str`, (`str`, `int`) or None
    """
    text = os.fspath(path)
    match = _BRACKET.fullmatch(text)
    if match is None or os.path.exists(text):
        return Path(text), None
    return Path(match["path"]), parseExtension(match["ext"])


def parseExtension(ext):
    """Extension as astropy takes it, from a number, a name or "NAME,VERSION"."""
    if not isinstance(ext, str):
        return ext
    ext = ext.strip()
    if ext.isdigit():
        return int(ext)
    name, comma, version = ext.rpartition(",")
    if comma and version.strip().isdigit():
        return name.strip(), int(version)
    return ext


@contextlib.contextmanager
def readingErrors(path):
    """Turn whatever a broken file provokes into an error that names the file."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except StillskyError as error:
        if os.path.basename(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}", found=error.found, remedy=error.remedy) from error
    except FileNotFoundError:
        raise FileNotFoundError(2, "no such file", os.fspath(path)) from None
    except IsADirectoryError:
        raise IsADirectoryError(21, "is a folder, wanted a FITS file", os.fspath(path)) from None
    except PermissionError:
        raise PermissionError(13, "may not be read", os.fspath(path)) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, TypeError, IndexError) as error:
        raise FitsLayoutError(
            f"{path}: not a readable FITS file ({_firstLine(error)})",
            found=_firstBytes(path),
            remedy="wanted a FITS file, plain or compressed (gzip, bzip2, xz)",
        ) from error
    for warning in caught:
        if "truncated" in str(warning.message):
            raise FitsLayoutError(
                f"{path}: truncated ({_firstLine(warning.message)})", found=_firstBytes(path), remedy=_FETCH_AGAIN
            )


def _firstLine(error):
    """The first sentence of an error, without advice about arguments of the reader underneath."""
    lines = str(error).strip().splitlines()
    return lines[0].split(". If this is really")[0] if lines else type(error).__name__


def _firstBytes(path):
    """Size and beginning of a file, for a message."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(24)
            size = os.path.getsize(path)
    except OSError as error:
        return str(error)
    return f"{size} bytes that begin with {start!r}" if size else "0 bytes"


@contextlib.contextmanager
def openFits(path):
    """Open a FITS file for reading, memory-mapped, all headers checked.

    Parameters
    ----------
    path : `str` or `os.PathLike`
        Plain or compressed file. Cards whose value cannot be read are given back as text, see `mendHeader`.

    Yields
    ------
    hdus : `astropy.io.fits.HDUList`

    Raises
    ------
    OSError
        If the file is missing or may not be read.
    FitsLayoutError
        If it is no FITS file, or shorter than its headers say.
    """
    from astropy.io import fits

    path = Path(path)
    hdus = None
    try:
        with readingErrors(path):
            if path.is_dir():
                raise IsADirectoryError
            if path.stat().st_size == 0:
                raise OSError("the file is empty")
            # scaling and unsigned integers are left to our one-pass conversion
            hdus = fits.open(path, memmap=True, lazy_load_hdus=False, do_not_scale_image_data=True)
            _checkLength(path, hdus)
            for hdu in hdus:
                if not _isPlain(getattr(hdu, "_header_str", None)):
                    mendHeader(hdu.header)
        yield hdus
    finally:
        if hdus is not None:
            hdus.close()


def isCompressedWhole(path):
    """Whether a file is gzip, bzip2, xz, zip or compress throughout: nothing in it is where its headers say."""
    with open(path, "rb") as stream:
        return stream.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x1f\x9d"))


def _checkLength(path, hdus):
    """Refuse a file that ends before its data: reading it would give zeros or a late, unclear error."""
    from astropy.io import fits

    if isCompressedWhole(path):
        return  # the length on disk says nothing, the decoder complains itself
    size = path.stat().st_size
    for number, hdu in enumerate(hdus):
        info = hdu.fileinfo()
        if not info or info["datLoc"] + info["datSpan"] <= size:
            continue  # even its last block is whole
        # the header shown of a compressed image is that of the image, so its size in the file is known to a block
        wanted = info["datSpan"] - 2879 if isinstance(hdu, fits.CompImageHDU) else hdu.size
        if info["datLoc"] + wanted > size:
            raise FitsLayoutError(
                f"{path}: truncated, extension {number} ends at byte {info['datLoc'] + wanted}, the file at {size}",
                found=f"{size} bytes, at least {info['datLoc'] + wanted} by the header",
                remedy=_FETCH_AGAIN,
            )


def _isPlain(text):
    """Whether the unparsed text of a header follows the standard: parsing those of a mosaic takes longer than reading it."""
    return text is not None and all(_PLAIN_CARD.match(text[k : k + 80]) for k in range(0, len(text), 80))


def mendHeader(header):
    """Turn cards that break the standard (unquoted text, control characters) into cards of text, in place.

    Parameters
    ----------
    header : `astropy.io.fits.Header`
        Cards without a legible keyword are left out.

    Returns
    -------
    mended : `list` [`str`]
        Keywords of the cards that were changed.
    """
    from astropy.io.fits import VerifyError

    broken = []
    for k, card in enumerate(header.cards):
        try:
            card.value, card.comment  # noqa: B018 - parsed when asked for
        except VerifyError:
            broken.append((k, card))
    for k, card in reversed(broken):
        del header[k]
        keyword = card.keyword
        if re.fullmatch(r"[A-Z0-9_-]{1,8}", keyword):
            raw = getattr(card, "_image", None) or ""  # str(card) tries to mend the card, and raises
            text = raw[10:].strip().strip("'")
            header.insert(k, (keyword, re.sub(r"[^ -~]", "?", text).strip()))
    mended = [card.keyword for _, card in broken]
    if mended:
        _LOG.debug("header cards that break the standard are taken as text: %s", ", ".join(mended))
    return mended


@contextlib.contextmanager
def atomicOutput(path, overwrite=False):
    """Write to a temporary name in the same folder, then rename: a file that exists is complete.

    Parameters
    ----------
    path : `str` or `os.PathLike`
        Final name.
    overwrite : `bool`
        Whether an existing file may be replaced.

    Yields
    ------
    temporary : `pathlib.Path`
        Write here; the file is renamed when the block ends well, removed when it does not.

    Raises
    ------
    FileExistsError
        If ``path`` exists and may not be replaced.
    OSError
        Naming ``path``, if it cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(17, "output exists; allow overwriting or choose another name", os.fspath(path))
    # the suffix stays last, so that writers which look at it (.gz) still can
    temporary = path.with_name(f".{secrets.token_hex(4)}.tmp.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror or str(error), os.fspath(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def writeHdus(hdus, path, overwrite=False):
    """Write extensions to a file, atomically, with checksums; the same content gives the same bytes.

    Parameters
    ----------
    hdus : list of astropy HDUs
    path, overwrite
        As for `atomicOutput`.
    """
    from astropy.io import fits

    with atomicOutput(path, overwrite) as temporary:
        fits.HDUList(hdus).writeto(temporary, checksum=True, output_verify="exception")
        if isCompressedWhole(temporary):
            return  # the header of a .gz holds the time anyway
        with fits.open(temporary, disable_image_compression=True, memmap=False) as written:
            places = [(h.fileinfo(), _tilesOf(h)) for h in written]
        with open(temporary, "r+b") as stream:
            for place, tiles in places:
                dataSum = _dropTileTimes(stream, place, tiles) if tiles else None
                start, end = place["hdrLoc"], place["datLoc"]
                stream.seek(start)
                header = _withoutTime(stream.read(end - start), dataSum)
                stream.seek(start)
                stream.write(header)


def _tilesOf(hdu):
    """Offsets of the compressed tiles of an extension within its data, empty ones left out."""
    if not hdu.header.get("ZIMAGE"):
        return []
    heap = hdu.header.get("THEAP", hdu.header["NAXIS1"] * hdu.header["NAXIS2"])
    rows = hdu.data.view(np.ndarray)
    names = [name for name in ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA") if name in rows.dtype.names]
    return [heap + int(start) for name in names for count, start in rows[name] if count > 0]


def _dropTileTimes(stream, place, tiles):
    """Set the time in the head of every gzip tile to "unknown" (RFC 1952, 2.3.1); the new sum of the data."""
    stream.seek(place["datLoc"])
    data = bytearray(stream.read(place["datSpan"]))
    for tile in tiles:
        if data[tile : tile + 3] == b"\x1f\x8b\x08":
            data[tile + 4 : tile + 8] = bytes(4)
    stream.seek(place["datLoc"])
    stream.write(data)
    return _onesComplementSum(data, 0)


def _withoutTime(header, dataSum=None):
    """Header block whose checksum cards tell no time of writing (FITS standard 4.0, 4.4.2.7 and appendix J), with a new
    sum of the data if it is given."""
    cards = [header[i : i + 80] for i in range(0, len(header), 80)]
    place = {card[:8].rstrip(): i for i, card in enumerate(cards)}
    if dataSum is None:
        dataSum = int(cards[place[b"DATASUM"]][10:].split(b"'")[1])
    cards[place[b"DATASUM"]] = (b"DATASUM = '%-8d'   / checksum of the data unit" % dataSum).ljust(80)
    for text in (b"0" * 16, None):
        if text is None:
            total = _onesComplementSum(b"".join(cards), dataSum)
            text = _encodeSum(~total & 0xFFFFFFFF)
        cards[place[b"CHECKSUM"]] = (b"CHECKSUM= '%s'   / checksum of the whole HDU" % text).ljust(80)
    return b"".join(cards)


def _onesComplementSum(block, start):
    total = start + int(np.frombuffer(block, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _encodeSum(value):
    """The 16 letters and digits whose sum is ``value``, punctuation avoided, rotated to their place in the card."""
    out = bytearray(16)
    for i in range(4):
        quarter, rest = divmod(value >> (24 - 8 * i) & 0xFF, 4)
        letters = [quarter + 48 + rest, quarter + 48, quarter + 48, quarter + 48]
        while any(c in b":;<=>?@[\\]^_`" for c in letters):
            for j in (0, 2):
                if any(c in b":;<=>?@[\\]^_`" for c in letters[j : j + 2]):
                    letters[j] += 1
                    letters[j + 1] -= 1
        for j in range(4):
            out[4 * j + i] = letters[j]
    return bytes(out[-1:] + out[:-1])
