"""Reading the layout that `writeExposure` writes, which is also that of Rubin's files up to DP1."""

import logging
import re

import numpy as np

from ..errors import FitsLayoutError
from ..meta import FilterLabel, Header, VisitInfo
from ..photom import PhotoCalib
from .components import readComponents
from .layout import pixelShape, planeTable, readOrigin, readPixels
from .planes import Planes, regionBox

__all__ = ["findPlane", "isNative", "nativeMetadata", "planeSchema", "readNative", "wcsFromHeader"]

_LOG = logging.getLogger("stillsky.fits")

_PLANES = ("IMAGE", "MASK", "VARIANCE")
_MAX_VERSION = 2
_ARCHIVE_CARD = re.compile(r"ARCHIVE_ID_.+|AR_HDU|AR_NAME|EXPINFO_V|EXPID")
_WCS_CARD = re.compile(
    r"WCSAXES|WCSNAME|(CTYPE|CRPIX|CRVAL|CUNIT|CDELT|CROTA|CNAME|CRDER|CSYER)[12]|(CD|PC)[12]_[12]|(CD|PC)00[12]00[12]"
    r"|P[VS][12]_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)"
)


def _planeName(hdu):
    """Kind of plane an extension says it is: EXTTYPE first, then EXTNAME."""
    return str(hdu.header.get("EXTTYPE") or hdu.name or "").strip().upper()


def isNative(hdus):
    """Whether an open file has this layout: IMAGE beside MASK or VARIANCE, or IMAGE in a file with EXPINFO_V."""
    kinds = {_planeName(h) for h in hdus if getattr(h, "is_image", False)}
    if "IMAGE" not in kinds:
        return False
    ours = "EXPINFO_V" in hdus[0].header or any("CRVAL1A" in h.header for h in hdus if _planeName(h) == "IMAGE")
    return bool(kinds & {"MASK", "VARIANCE"}) or ours


def findPlane(hdus, name, *, path="file"):
    """Extension of one plane.

    By EXTTYPE or EXTNAME; an extension without either counts by its place (image 1, mask 2, variance 3).

    Returns
    -------
    hdu : image HDU or None

    Raises
    ------
    FitsLayoutError
        If the extension at that name has another EXTTYPE.
    """
    for hdu in hdus:
        if _planeName(hdu) == name and getattr(hdu, "is_image", False):
            return hdu
    for hdu in hdus:
        if hdu.name == name and getattr(hdu, "is_image", False):
            raise FitsLayoutError(f"{path}: extension {name} has EXTTYPE {hdu.header['EXTTYPE']!r}")
    place = _PLANES.index(name) + 1
    if place < len(hdus) and not _planeName(hdus[place]) and getattr(hdus[place], "is_image", False):
        return hdus[place] if len(hdus[place].shape) else None
    return None


def isWcsCard(key):
    """Whether a keyword belongs to the celestial coordinates."""
    return _WCS_CARD.fullmatch(key) is not None


def wcsFromHeader(header, xy0):
    """Sky coordinates of a header.

    Parameters
    ----------
    header : `astropy.io.fits.Header`
        Of the image extension, primary cards merged.
    xy0 : (`int`, `int`)
        Parent position of the first pixel of the stored array.

    Returns
    -------
    wcs : `SkyWcs` or None
        None if the header has no celestial axes.
    problem : `str`
        Why there is none although there are cards; else "".
    """
    if not {"CTYPE1", "CTYPE2"} <= set(header):
        return None, ""
    types = [str(header[k]).strip() for k in ("CTYPE1", "CTYPE2")]
    if not all(re.fullmatch(r"(RA--|DEC-|[GEHS]LON|[GEHS]LAT)-.*", t) for t in types):
        return None, f"axes {types[0]!r}, {types[1]!r} are not on the sky"
    import warnings

    from ..wcs import SkyWcs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # repairs of the WCS library are not the user's business
        try:
            return SkyWcs.fromHeader(header, xy0=xy0), ""
        except (ValueError, KeyError, TypeError, RuntimeError, MemoryError) as error:
            return None, str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def planeSchema(header):
    """Mask planes of a mask header.

    Returns
    -------
    schema : `MaskSchema`
        From the MP_ cards; the standard planes if there is none.
    named : `bool`
        Whether the header named the planes.
    """
    from ..image import MaskSchema

    planes, docs = planeTable(header)
    if not planes:
        return MaskSchema.standard(), False
    return MaskSchema({name: (bit, docs.get(name, "")) for name, bit in planes.items()}), True


def mergedHeader(hdus, hdu):
    """Header of an extension with the primary cards it inherits; its own values win.

    Files without INHERIT are taken as they are, but the primary cards are still looked at: in practice the exposure
    time and the filter stand only there.
    """
    header = hdu.header.copy()
    if hdu is hdus[0] or header.get("INHERIT") is False:
        return header
    merged = hdus[0].header.copy(strip=True)
    merged.extend(header, update=True)
    return merged


def nativeMetadata(hdus, imageHdu, *, understoodWcs):
    """Metadata of a file of this layout, without the cards that became something else."""
    drop = set(VisitInfo.cardNames())
    archive = "AR_HDU" in hdus[0].header
    drop |= (
        {k[len("ARCHIVE_ID_") :] + "_ID" for k in hdus[0].header if k.startswith("ARCHIVE_ID_")} if archive else set()
    )

    def keep(header, isImage):
        h = Header.fromFits(header, drop)
        for key in list(h):
            if key.startswith("MP_") or _ARCHIVE_CARD.fullmatch(key) or (understoodWcs and isWcsCard(key)):
                h.remove(key)
        return h

    metadata = keep(hdus[0].header, imageHdu is hdus[0])
    if imageHdu is not hdus[0]:
        metadata.combine(keep(imageHdu.header, True))
    return metadata


def readNative(hdus, path, region=None, *, components=True):
    """Read planes and components.

    Parameters
    ----------
    hdus : `astropy.io.fits.HDUList`
    path : path-like
        For messages.
    region : `Box2I` or None
        Parent pixels wanted.
    components : `bool`
        Whether to read the SKY_ tables.

    Returns
    -------
    planes : `Planes`
        Missing mask or variance are None.

    Raises
    ------
    FitsLayoutError
        If the layout is newer than this program, or planes differ in size.
    ShapeError
        If the region is not inside the image.
    """
    primary = hdus[0].header
    version = primary.get("EXPINFO_V", 0)
    if isinstance(version, int) and version > _MAX_VERSION:
        raise FitsLayoutError(f"{path}: exposure layout version {version}, this program reads up to {_MAX_VERSION}")
    imageHdu = findPlane(hdus, "IMAGE", path=path)
    if imageHdu is None:
        raise FitsLayoutError(f"{path}: no IMAGE extension")
    xy0 = readOrigin(imageHdu.header)
    shape = pixelShape(imageHdu)
    box, slices = regionBox(region, xy0, shape)
    result = Planes(
        image=readPixels(imageHdu, _imageType(imageHdu), slices),
        xy0=(box.minX, box.minY) if region is not None else xy0,
        header=mergedHeader(hdus, imageHdu),
        shape=shape,
        slices=slices,
    )
    for name in ("MASK", "VARIANCE"):
        hdu = findPlane(hdus, name, path=path)
        if hdu is None:
            continue
        if pixelShape(hdu) != shape:
            raise FitsLayoutError(
                f"{path}: {name} and IMAGE differ in size",
                found=f"{name} {hdu.shape[1]}x{hdu.shape[0]}, IMAGE {shape[1]}x{shape[0]} pixels",
                remedy="write the planes of one exposure with equal sizes",
            )
        if name == "MASK":
            result.mask = readPixels(hdu, np.int32, slices)
            result.schema, named = planeSchema(hdu.header)
            source = "planes by MP_ cards" if named else "no MP_ cards, standard planes"
            result.say(f"mask: extension MASK, {source}")
        else:
            result.variance = readPixels(hdu, np.float32, slices)
            result.say("variance: extension VARIANCE")
    result.wcs, problem = wcsFromHeader(result.header, xy0)
    if problem:
        result.say(f"wcs: none, {problem}")
    elif result.wcs is not None and "AR_HDU" in primary:
        result.say("wcs: header cards (an approximation of the archived one)")
    result.metadata = nativeMetadata(hdus, imageHdu, understoodWcs=result.wcs is not None)
    result.visitInfo = VisitInfo.fromHeader(result.header)
    if result.visitInfo == VisitInfo():
        result.visitInfo = None
    result.id = int(primary["EXPID"]) if isinstance(primary.get("EXPID"), int) else None
    if components:
        result.components = readComponents(hdus)
        _legacyComponents(result, primary, version)
        _sayArchive(result, primary)
    return result


# Archive keys of the components that an exposure has, and what stands in for them when it cannot be taken from there.
_ARCHIVED = {
    "PSF": ("psf", "it is measured where it is needed"),
    "PHOTOCALIB": ("photoCalib", None),
    "FILTER": ("filter", None),
    "AP_CORR_MAP": ("apCorrMap", None),
    "VALID_POLYGON": ("validPolygon", None),
}


def _sayArchive(result, primary):
    """Name the components that another program keeps in archive tables of its own, which are not decoded."""
    if "AR_HDU" not in primary:
        return
    for key, (name, instead) in _ARCHIVED.items():
        if f"ARCHIVE_ID_{key}" in primary and name not in result.components:
            result.say(f"{name}: in an archive table that is not decoded" + (f"; {instead}" if instead else ""))


def _imageType(hdu):
    """float64 stays (own files only), everything else becomes float32."""
    return np.float64 if hdu.header.get("BITPIX") == -64 and "EXTTYPE" in hdu.header else np.float32


def _legacyComponents(result, primary, version):
    """Calibration and filter of old cards, and of calibrated images whose archive is not ours."""
    parts = result.components
    if "photoCalib" not in parts and version == 0 and "FLUXMAG0" in primary:
        parts["photoCalib"] = PhotoCalib.fromZeroPoint(primary["FLUXMAG0"], primary.get("FLUXMAG0ERR", 0.0))
        result.say("calibration: FLUXMAG0 card")
    if "photoCalib" not in parts and str(result.header.get("BUNIT", "")).strip() == "nJy":
        parts["photoCalib"] = PhotoCalib(1.0)
        result.say("calibration: 1, the image is in nJy")
    if "filter" not in parts and isinstance(primary.get("FILTER"), str):
        label = FilterLabel.fromLegacyName(primary["FILTER"])
        if label is not None:
            parts["filter"] = label
    for key in ("FLUXMAG0", "FLUXMAG0ERR"):
        if version == 0 and "photoCalib" in parts:
            result.metadata.remove(key)
