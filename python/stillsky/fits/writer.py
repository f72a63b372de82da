"""Writing exposures, masked images, images and masks (core data model, section 10)."""

import logging
import zlib

import numpy as np

from ..errors import DomainError
from ..meta import Header, VisitInfo
from .components import componentHdus, psfToHdu
from .files import writeHdus
from .layout import originCards

__all__ = ["COMPRESSIONS", "writeExposure", "writeImage", "writeMask", "writeMaskedImage", "writePsf"]

_LOG = logging.getLogger("stillsky.fits")

COMPRESSIONS = ("none", "lossless", "lossy")
EXPINFO_VERSION = 2
_OWN_CARDS = frozenset(["EXPINFO_V", "EXPID", "BUNIT", "AR_HDU"])


def writeExposure(exposure, path, *, overwrite=False, compress="none", seed=None, extraHdus=()):
    """Write an exposure: planes, WCS, PSF, calibration, filter, visit, polygon, metadata.

    Parameters
    ----------
    exposure : `Exposure`
    path : `str` or `os.PathLike`
        A name that ends in .gz or .bz2 is compressed as a whole.
    overwrite : `bool`
        Whether an existing file may be replaced.
    compress : {"none", "lossless", "lossy"}
        "lossless": GZIP_2, one row a tile, bit for bit (mask: RICE_1). "lossy": the image alone in steps of 1/16 of the
        noise of its 256 x 256 tiles (RICE_1, subtractive dithering 2), NaN, zeros and infinities kept; variance and
        mask as in "lossless".
    seed : `int`, optional
        Dither seed, 1 to 10000. By default it follows from the exposure id (or the size), so that the same exposure
        gives the same bytes.
    extraHdus : iterable of astropy HDUs
        Appended as they are.

    Raises
    ------
    FileExistsError
        If the file exists and may not be replaced.
    OSError
        If it cannot be written; nothing is left behind.
    DomainError
        If ``compress`` or ``seed`` is unknown.

    Notes
    -----
    The layout is an empty primary extension with all exposure-level cards, then IMAGE, MASK and VARIANCE, then one
    SKY_... table per component. The planes are not touched; one at a time is copied to the byte order of the file.
    """
    from astropy.io import fits

    if not hasattr(exposure, "maskedImage"):
        raise TypeError(
            f"exposure: wanted an Exposure (stillsky.exposure(array) makes one), got {type(exposure).__name__}"
        )
    metadata = exposure.metadata if exposure.metadata is not None else Header()
    unit = metadata.get("BUNIT")
    primary = fits.PrimaryHDU(header=_primaryHeader(exposure, metadata))
    wcsCards = None if exposure.wcs is None else _wcsCards(exposure.wcs, exposure.xy0)
    planes = _planeHdus(exposure.maskedImage, wcsCards, unit, compress, _ditherSeed(seed, exposure))
    hdus = [primary, *planes, *componentHdus(exposure), *extraHdus]
    writeHdus(hdus, path, overwrite)


def writeMaskedImage(maskedImage, path, *, metadata=None, wcs=None, overwrite=False, compress="none", seed=None):
    """Write image, mask and variance alone; parameters as in `writeExposure`."""
    from astropy.io import fits

    metadata = Header(metadata or {})
    primary = fits.PrimaryHDU(header=_withoutOwn(metadata).toFits())
    wcsCards = None if wcs is None else _wcsCards(wcs, maskedImage.xy0)
    planes = _planeHdus(maskedImage, wcsCards, metadata.get("BUNIT"), compress, _ditherSeed(seed, maskedImage))
    writeHdus([primary, *planes], path, overwrite)


def writeImage(image, path, *, metadata=None, wcs=None, overwrite=False, compress="none", seed=None):
    """Write one image: in the primary extension, or compressed in extension 1."""
    _writeBare(image, [], path, metadata, wcs, overwrite, compress, seed)


def writeMask(mask, path, *, metadata=None, wcs=None, overwrite=False, compress="none"):
    """Write one mask with its plane names: in the primary extension, or compressed in extension 1."""
    _writeBare(mask, _planeCards(mask.schema), path, metadata, wcs, overwrite, compress, None)


def writePsf(psf, path, *, overwrite=False):
    """Write a PSF alone: the table that an exposure's file has for it (`readPart` with "psf" reads both)."""
    from astropy.io import fits

    writeHdus([fits.PrimaryHDU(), psfToHdu(psf)], path, overwrite)


def _writeBare(plane, cards, path, metadata, wcs, overwrite, compress, seed):
    from astropy.io import fits

    header = _withoutOwn(Header(metadata or {}), keepUnit=True).toFits()
    if wcs is not None:
        header.extend(_wcsCards(wcs, plane.xy0), update=True)
    for card in [*originCards(plane.xy0), *cards]:
        header.append(card)
    array = _readOnly(plane.array)
    if compress == "none":
        writeHdus([fits.PrimaryHDU(array, header)], path, overwrite)
        return
    hdu = _imageHdu(fits, array, header, "", compress, _ditherSeed(seed, plane))
    writeHdus([fits.PrimaryHDU(), hdu], path, overwrite)


def _ditherSeed(seed, what):
    if seed is not None:
        if not 1 <= int(seed) <= 10000:
            raise DomainError(f"seed: wanted 1 to 10000, given {seed}")
        return int(seed)
    identity = getattr(what, "id", None)
    text = f"{identity}" if identity is not None else f"{what.width}x{what.height}"
    return zlib.crc32(text.encode()) % 10000 + 1


def _withoutOwn(metadata, keepUnit=False):
    from ..meta import isStructuralKey

    drop = _OWN_CARDS - {"BUNIT"} if keepUnit else _OWN_CARDS
    kept = metadata.copy()
    for key in metadata:
        if isStructuralKey(key) or key in drop:
            kept.remove(key)
    return kept


_SITE_CARDS = ("OBS-LONG", "OBS-LAT", "OBS-ELEV", "AIRTEMP", "AIRPRESS", "HUMIDITY")


def _primaryHeader(exposure, metadata):
    header = _withoutOwn(metadata)
    if exposure.visitInfo is not None:
        visit = exposure.visitInfo.toHeader()
        for key in VisitInfo.cardNames():
            if key in visit or key == "TIMESYS" or (key == "DATE-AVG" and "TIMESYS" in visit):
                header.remove(key)
        header.combine(visit)
    elif "DATE-AVG" in header and header.get("TIMESYS") != "TAI":
        # unexplained dates of other origin must not be taken for ours when read back
        header.set("ORIG-DATE-AVG", header["DATE-AVG"])
        header.remove("DATE-AVG")
    for key in _SITE_CARDS:  # of another program, maybe in other units: not ours when read back
        if key in header and (exposure.visitInfo is None or key not in visit):
            header.set(f"ORIG-{key}", header[key])
            header.remove(key)
    header.set("EXPINFO_V", EXPINFO_VERSION, "version of the exposure layout")
    if exposure.id is not None:
        header.set("EXPID", int(exposure.id), "exposure id")
    for key, attribute in (("DETNAME", "name"), ("DETSER", "serial")):
        value = getattr(exposure.detector, attribute, None)
        if value:
            header.set(key, str(value))
    return header.toFits()


def _wcsCards(wcs, xy0):
    """Celestial cards for the array whose first pixel is parent position xy0."""
    return wcs.toHeader(tuple(xy0))


def _planeCards(schema):
    """MP_ cards in bit order, with descriptions as comments."""
    cards = []
    for name, bit in sorted(schema.items(), key=lambda item: item[1]):
        key = f"MP_{name}"
        doc = schema.doc(name)
        room = 80 - len(key) - 9 - 24 if len(key) > 8 else 45
        cards.append((key if len(key) <= 8 else f"HIERARCH {key}", int(bit), doc[: max(room, 0)]))
    return cards


def _planeHdus(maskedImage, wcsCards, unit, compress, seed):
    from astropy.io import fits

    if compress not in COMPRESSIONS:
        raise DomainError(f"compress: wanted one of {', '.join(COMPRESSIONS)}, given {compress!r}")
    hdus = []
    planes = (
        ("IMAGE", maskedImage.image.array, unit, ()),
        ("MASK", maskedImage.mask.array, None, _planeCards(maskedImage.mask.schema)),
        ("VARIANCE", maskedImage.variance.array, f"{unit}**2" if unit else None, ()),
    )
    for name, array, planeUnit, cards in planes:
        header = fits.Header([("INHERIT", True), ("EXTTYPE", name)])
        if wcsCards is not None:
            header.extend(wcsCards)
        for card in [*originCards(maskedImage.xy0), *cards]:
            header.append(card)
        if unit:
            header["BUNIT"] = fits.card.Undefined() if planeUnit is None else planeUnit
        planeCompress = compress if name == "IMAGE" or compress == "none" else "lossless"
        hdus.append(_imageHdu(fits, _readOnly(array), header, name, planeCompress, seed))
    return hdus


def maskCards(mask, wcs=None):
    """Header of a mask's extension: WCS, origin, names of the planes."""
    from astropy.io import fits

    header = fits.Header() if wcs is None else _wcsCards(wcs, mask.xy0)
    for card in [*originCards(mask.xy0), *_planeCards(mask.schema)]:
        header.append(card)
    return header


def compressedMaskHdu(array, header, name):
    """Image extension of a mask, compressed without loss."""
    from astropy.io import fits

    return _imageHdu(fits, _readOnly(array), header, name, "lossless", None)


def _readOnly(array):
    """View that cannot be written to: the FITS library would swap the bytes of a writable array in place for a while,
    under the eyes of other threads."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _imageHdu(fits, array, header, name, compress, seed):
    if compress == "none" or not array.size:
        return fits.ImageHDU(array, header, name=name)
    name = name or None
    if array.dtype.kind == "i":
        return fits.CompImageHDU(array, header, name=name, compression_type="RICE_1", tile_shape=_tile(array, 256))
    if compress == "lossy":
        return fits.CompImageHDU(
            array,
            header,
            name=name,
            compression_type="RICE_1",
            tile_shape=_tile(array, 256),
            quantize_level=16.0,
            quantize_method=2,  # SUBTRACTIVE_DITHER_2: zeros stay zero
            dither_seed=seed,
        )
    return fits.CompImageHDU(
        array, header, name=name, compression_type="GZIP_2", tile_shape=(1, array.shape[1]), quantize_level=0.0
    )


def _tile(array, size):
    return tuple(min(size, n) for n in array.shape)
