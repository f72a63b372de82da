"""Reading one plane or one component without the rest (core data model 10.4-7)."""

import logging
from types import SimpleNamespace

import numpy as np

from ..errors import FitsLayoutError, NotFoundError
from ..meta import VisitInfo
from .components import readComponents
from .files import openFits, readingErrors, splitExtension
from .layout import pixelShape, readOrigin, readPixels, storedType
from .native import findPlane, isNative, mergedHeader, nativeMetadata, planeSchema, readNative, wcsFromHeader
from .planes import parseRegion, regionBox
from .surveys import imageExtension

__all__ = ["readBBox", "readImage", "readMask", "readMaskedImage", "readMetadata", "readPart", "readSummary", "readWcs"]

_LOG = logging.getLogger("stillsky.fits")


def _plane(hdus, path, ext, name):
    """Extension of a plane: the one asked for, the named one, or the first image of a bare file."""
    if ext is not None:
        hdu = imageExtension(hdus, path, ext)
        kind = str(hdu.header.get("EXTTYPE", name)).strip().upper()
        if kind != name:
            raise FitsLayoutError(f"{path}: extension {ext!r} has EXTTYPE {kind!r}, wanted {name!r}")
        return hdu
    hdu = findPlane(hdus, name, path=path)
    if hdu is not None:
        return hdu
    hdu = imageExtension(hdus, path, None)
    kind = str(hdu.header.get("EXTTYPE", name)).strip().upper()
    if kind != name:
        raise FitsLayoutError(f"{path}: wanted a {name} extension, found EXTTYPE {kind!r}")
    return hdu


def readImage(path, *, region=None, ext=None, dtype=np.float32):
    """Read one image plane (`Image`), e.g. of a bare image file or the IMAGE extension of an exposure.

    ``dtype`` None: as in the file.
    """
    from ..image import Image

    path, bracket = splitExtension(path)
    with openFits(path) as hdus, readingErrors(path):
        hdu = _plane(hdus, path, bracket if ext is None else ext, "IMAGE")
        box, slices = regionBox(parseRegion(region), readOrigin(hdu.header), pixelShape(hdu))
        return Image(readPixels(hdu, storedType(hdu) if dtype is None else dtype, slices), xy0=(box.minX, box.minY))


def readMask(path, *, region=None, ext=None, conformTo=None):
    """Read one mask (`Mask`) with the planes of the file, or moved to the bits of ``conformTo``."""
    from ..image import Mask

    path, bracket = splitExtension(path)
    with openFits(path) as hdus, readingErrors(path):
        hdu = _plane(hdus, path, bracket if ext is None else ext, "MASK")
        box, slices = regionBox(parseRegion(region), readOrigin(hdu.header), pixelShape(hdu))
        schema = planeSchema(hdu.header)[0]
        mask = Mask(readPixels(hdu, np.int32, slices), xy0=(box.minX, box.minY), schema=schema)
    if conformTo is not None:
        mask.conformTo(conformTo)
    return mask


def readMaskedImage(path, *, region=None, needAllPlanes=False):
    """Read image, mask and variance of a file of our layout.

    Parameters
    ----------
    path : `str`
    region : `Box2I` or `str`, optional
    needAllPlanes : `bool`
        Refuse a file without mask or variance; otherwise they are filled with zeros, with a warning in the log.

    Returns
    -------
    maskedImage : `MaskedImage`
    """
    from ..image import Image, Mask, MaskedImage, MaskSchema

    path, _ = splitExtension(path)
    with openFits(path) as hdus, readingErrors(path):
        planes = readNative(hdus, path, parseRegion(region), components=False)
    for name in ("mask", "variance"):
        if getattr(planes, name) is None:
            if needAllPlanes:
                raise FitsLayoutError(f"{path}: no {name.upper()} extension, all planes are needed")
            _LOG.warning("%s: no %s extension, filled with zeros", path, name.upper())
            setattr(planes, name, np.zeros(planes.image.shape, np.int32 if name == "mask" else np.float32))
    return MaskedImage(
        Image(planes.image, xy0=planes.xy0),
        Mask(planes.mask, xy0=planes.xy0, schema=planes.schema or MaskSchema.standard()),
        Image(planes.variance, xy0=planes.xy0),
    )


def readBBox(path, *, ext=None):
    """Parent box (`Box2I`) of an image, from headers alone."""
    path, bracket = splitExtension(path)
    with openFits(path) as hdus, readingErrors(path):
        hdu = _plane(hdus, path, bracket if ext is None else ext, "IMAGE")
        return regionBox(None, readOrigin(hdu.header), pixelShape(hdu))[0]


def readWcs(path, *, ext=None):
    """Sky coordinates (`SkyWcs`) of an image, or None, from headers alone."""
    path, bracket = splitExtension(path)
    with openFits(path) as hdus, readingErrors(path):
        hdu = _plane(hdus, path, bracket if ext is None else ext, "IMAGE")
        return wcsFromHeader(mergedHeader(hdus, hdu), readOrigin(hdu.header))[0]


def readMetadata(path):
    """Metadata (`Header`) of a file of our layout, from headers alone."""
    path, _ = splitExtension(path)
    with openFits(path) as hdus, readingErrors(path):
        hdu = _plane(hdus, path, None, "IMAGE")
        wcs = wcsFromHeader(mergedHeader(hdus, hdu), readOrigin(hdu.header))[0]
        return nativeMetadata(hdus, hdu, understoodWcs=wcs is not None)


def readSummary(path):
    """What the headers of an image say, from one opening of its file: for many files this is six times as fast as part by part.

    Parameters
    ----------
    path : `str`
        Of any layout.

    Returns
    -------
    summary : `types.SimpleNamespace`
        ``header`` (`dict` or mapping of all cards of the image, those of the primary header among them), ``isNative``, ``bbox``
        (`Box2I`), ``wcs`` (`SkyWcs` or None), and of a file of our layout ``visitInfo``, ``filter``, ``detector``; None otherwise.
    """
    path, ext = splitExtension(path)
    with openFits(path) as hdus, readingErrors(path):
        native = isNative(hdus)
        header = mergedHeader(hdus, hdus[0] if native else imageExtension(hdus, path, ext))
        hdu = _plane(hdus, path, ext, "IMAGE")
        origin = readOrigin(hdu.header)
        parts = readComponents(hdus, {"filter", "detector"}) if native else {}
        info = VisitInfo.fromHeader(hdus[0].header) if native else None
        return SimpleNamespace(
            header=header,
            isNative=native,
            bbox=regionBox(None, origin, pixelShape(hdu))[0],
            wcs=wcsFromHeader(mergedHeader(hdus, hdu), origin)[0],
            visitInfo=None if info == VisitInfo() else info,
            filter=parts.get("filter"),
            detector=parts.get("detector"),
        )


_TABLES = (
    "psf",
    "photoCalib",
    "apCorrMap",
    "coaddInputs",
    "filter",
    "validPolygon",
    "transmissionCurve",
    "detector",
    "summaryStats",
)


def readPart(path, name):
    """Read one component of an exposure file.

    Parameters
    ----------
    path : `str`
    name : `str`
        image, mask, variance, bbox, xy0, dimensions, wcs, metadata, visitInfo, id, psf, photoCalib, apCorrMap,
        coaddInputs, filter, validPolygon, transmissionCurve, detector or summaryStats.

    Returns
    -------
    part : object or None
        None if the file has no such component. No pixels are read except for the three planes.

    Raises
    ------
    NotFoundError
        If there is no component of that name.
    """
    if name == "variance":
        path_, ext = splitExtension(path)
        with openFits(path_) as hdus, readingErrors(path_):
            from ..image import Image

            hdu = _plane(hdus, path_, ext, "VARIANCE")
            return Image(readPixels(hdu, np.float32), xy0=readOrigin(hdu.header))
    simple = {"image": readImage, "mask": readMask, "bbox": readBBox, "wcs": readWcs, "metadata": readMetadata}
    if name in simple:
        return simple[name](path)
    if name == "xy0":
        return readBBox(path).min
    if name == "dimensions":
        return readBBox(path).dimensions
    path, _ = splitExtension(path)
    with openFits(path) as hdus, readingErrors(path):
        if name == "id":
            return hdus[0].header.get("EXPID")
        if name == "visitInfo":
            info = VisitInfo.fromHeader(hdus[0].header)
            return None if info == VisitInfo() else info
        if name in _TABLES:
            return readComponents(hdus, {name}).get(name)
    raise NotFoundError(f"no exposure component {name!r}; known are {', '.join([*simple, 'variance', 'id', *_TABLES])}")
