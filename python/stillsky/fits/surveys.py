"""Readers of layouts of other pipelines (core data model 22.4, 22.5; user experience 2.1).

Each takes an open file and `ReadOptions` and returns `Planes`: translated mask, variance where the survey provides one,
and sentences about where everything came from.
"""

import re
from pathlib import Path

import numpy as np

from ..errors import DomainError, FitsLayoutError, ShapeError
from ..meta import FilterLabel, Header
from ..photom import PhotoCalib
from .files import openFits, splitExtension
from .foreign_masks import FOREIGN_TABLES, ForeignTable, decamTable, ps1Table, translateMask
from .foreign_visit import foreignVisit
from .layout import pixelShape, planeTable, readOrigin, readPixels
from .native import isNative, isWcsCard, mergedHeader, planeSchema, wcsFromHeader
from .noise import headerNumber
from .planes import Planes, regionBox

__all__ = ["FOREIGN_READERS", "detectKind", "readForeign", "readMaskFile", "readNoiseFile"]

_HOTPANTS_INVALID = np.float32(1e-30)
_LN_MAG = 2.5 / np.log(10)


def detectKind(path, hdus):
    """Layout of an open file.

    Returns
    -------
    kind : `str`
        In the order of the reader rule: "native" (IMAGE/MASK/VARIANCE), "des" (SCI/MSK/WGT), "sci" (SCI/ERR/DQ/WHT),
        "decam" (name with _ooi_), "ztf" (name with sciimg or refimg), "ptf", "ps1", "ccddata" (UNCERT/MASK), "plain".
    """
    names = {h.name.strip().upper() for h in hdus if getattr(h, "is_image", False)}
    header = hdus[0].header
    name = Path(path).name
    if {"INDXADDR", "JSONADDR"} <= set(header):
        raise FitsLayoutError(f"{path}: written by lsst-images, a layout that is not read")
    if isNative(hdus):
        return "native"
    if "SCI" in names:
        return "des" if names & {"MSK", "WGT"} else "sci"
    if "_ooi_" in name:
        return "decam"
    if re.search(r"sciimg|refimg", name):
        return "ztf"
    if name.upper().startswith("PTF") or str(header.get("TELESCOP", "")).strip().upper().startswith("PTF"):
        return "ptf"
    if any({"BSOFTEN", "BOFFSET"} <= set(h.header) for h in hdus):
        return "ps1"
    if names & {"UNCERT", "MASK"}:
        return "ccddata"
    return "plain"


def imageExtension(hdus, path, ext):
    """The extension asked for, else the first that holds an image.

    Raises
    ------
    FitsLayoutError
        If there is none, or it is no image.
    """
    shown = ", ".join(f"{i} {_contents(h)}" for i, h in enumerate(hdus))
    choose = {"found": f"extensions {shown}", "remedy": "name one that holds an image: --ext NAME or FILE[NAME]"}
    if ext is not None:
        try:
            hdu = hdus[ext]
        except (KeyError, IndexError):
            raise FitsLayoutError(f"{path}: no extension {ext!r}; the file has {shown}", **choose) from None
        if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) == 0:
            raise FitsLayoutError(f"{path}: extension {ext!r} holds no pixels; the file has {shown}", **choose)
        pixelShape(hdu)
        return hdu
    for hdu in hdus:
        if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) > 0:
            return hdu
    raise FitsLayoutError(
        f"{path}: holds no image; the file has {shown}",
        found=choose["found"],
        remedy="wanted a file with an image of two axes",
    )


def _contents(hdu):
    """Name of an extension and what it is, e.g. "SCI", "CAT (table)", "PRIMARY (empty)"."""
    if not getattr(hdu, "is_image", False):
        return f"{hdu.name} (table)" if hdu.name else "table"
    name = hdu.name or "image"
    return name if hdu.header.get("NAXIS", 0) else f"{name} (empty)"


def _extensionLabel(hdus, hdu):
    return hdu.name if hdu.name and hdu.name != "PRIMARY" else str(list(hdus).index(hdu))


def readForeign(kind, hdus, path, options):
    """Read a file in one of the foreign layouts.

    Parameters
    ----------
    kind : `str`
        Key of `FOREIGN_READERS`.
    hdus : `astropy.io.fits.HDUList`
    path : `pathlib.Path`
    options : `ReadOptions`

    Returns
    -------
    planes : `Planes`
    """
    ext = options.ext
    if ext is None and kind in ("des", "sci"):
        ext = "SCI"
    hdu = imageExtension(hdus, path, ext)
    label = _extensionLabel(hdus, hdu)
    images = sum(bool(getattr(h, "is_image", False) and h.header.get("NAXIS", 0) > 1) for h in hdus)
    xy0 = readOrigin(hdu.header, useLtv=False)
    box, slices = regionBox(options.region, xy0, pixelShape(hdu))
    planes = Planes(
        image=readPixels(hdu, np.float32, slices),
        xy0=(box.minX, box.minY),
        header=mergedHeader(hdus, hdu),
        shape=pixelShape(hdu),
        slices=slices,
    )
    which = f", extension {label}" + (f" of {images} images" if options.ext is None and images > 1 else "")
    planes.say(f"image: {Path(path).name}{which}, {kind} layout")
    planes.wcs, problem = wcsFromHeader(planes.header, xy0)
    planes.say("wcs: none" + (f", {problem}" if problem else "") if planes.wcs is None else "wcs: header")
    planes.metadata = Header.fromFits(planes.header)
    for key in list(planes.metadata):
        if key.startswith("MP_") or (planes.wcs is not None and isWcsCard(key)):
            planes.metadata.remove(key)
    planes.visitInfo, notes = foreignVisit(planes.header)
    for note in notes:
        planes.say(note)
    label = _foreignFilter(planes.header)
    if label is not None:
        planes.components["filter"] = label
    _undoAsinh(planes.image, planes.header, planes.say)
    FOREIGN_READERS[kind](planes, hdus, hdu, Path(path), options)
    return planes


# one function per layout: (planes, hdus, imageHdu, path, options)


def _plain(planes, hdus, hdu, path, options):
    invalid = planes.image == _HOTPANTS_INVALID
    if invalid.any():
        planes.say(f"mask: {np.count_nonzero(invalid)} pixels of 1e-30 are NO_DATA")
        planes.addNoData(invalid)


def _sciErrDq(planes, hdus, hdu, path, options):
    version = hdu.header.get("EXTVER", 1)
    find = lambda name: _sibling(hdus, name, version)  # noqa: E731
    err, weight, quality = find("ERR"), find("WHT"), find("DQ")
    if err is not None:
        sigma = _samePixels(err, planes, path)
        planes.variance = _varianceFromSigma(sigma, planes)
        planes.say(f"variance: ERR squared from {path.name}, extension ERR")
    elif weight is not None:
        planes.variance = _varianceFromWeight(_samePixels(weight, planes, path), planes)
        planes.relativeVariance = True
        planes.say(f"variance: 1/weight from {path.name}, extension WHT, scaled to the sky")
    if quality is None:
        quality = find("BPM")
    if quality is not None:
        telescope = str(planes.header.get("TELESCOP", "")).strip().upper()
        table = FOREIGN_TABLES.get(options.maskKind or telescope.lower())
        if table is None:
            table = _badPixelTable(planes.header) if quality.name == "BPM" else _UNKNOWN_BITS
        values = _integers(quality, planes, path)
        _useForeign(planes, values, table, f"{path.name}, extension {quality.name}")


_UNKNOWN_BITS = ForeignTable("unknown data quality bits", {})


def _badPixelTable(header):
    """Extension BPM: 1 is a bad pixel, whoever wrote it; Las Cumbres Observatory adds bits."""
    if str(header.get("ORIGIN", "")).strip().upper() == "LCOGT":
        return ForeignTable("Las Cumbres Observatory bits", {0: "BAD", 1: "SAT", 2: "SUSPECT"})
    return ForeignTable("bad pixels", {0: "BAD"})


def _des(planes, hdus, hdu, path, options):
    version = hdu.header.get("EXTVER", 1)
    mask, weight = _sibling(hdus, "MSK", version), _sibling(hdus, "WGT", version)
    if weight is not None:
        planes.variance = _varianceFromWeight(_samePixels(weight, planes, path), planes)
        planes.say(f"variance: 1/weight from {path.name}, extension WGT")
    if mask is not None:
        values = _integers(mask, planes, path)
        _useForeign(planes, values, FOREIGN_TABLES["des"], f"{path.name}, extension MSK")


def _decam(planes, hdus, hdu, path, options):
    ext = _extensionLabel(hdus, hdu)
    ext = int(ext) if ext.isdigit() else ext
    weightPath, maskPath = _siblingFile(path, "_ooi_", "_oow_"), _siblingFile(path, "_ooi_", "_ood_")
    if weightPath is not None and not options.noiseGiven:
        with openFits(weightPath) as other:
            weight = _samePixels(imageExtension(other, weightPath, ext), planes, weightPath)
        planes.variance = _varianceFromWeight(weight, planes)
        planes.say(f"variance: 1/weight from {weightPath.name}, extension {ext}")
    if maskPath is not None and options.maskPath is None:
        with openFits(maskPath) as other:
            maskHdu = imageExtension(other, maskPath, ext)
            values = _integers(maskHdu, planes, maskPath)
            version = mergedHeader(other, maskHdu).get("PLVER") or planes.header.get("PLVER")
        _useForeign(planes, values, decamTable({"PLVER": version or ""}), f"{maskPath.name}, extension {ext}")


def _ztf(planes, hdus, hdu, path, options):
    maskPath = _siblingFile(path, "sciimg", "mskimg")
    if maskPath is not None and options.maskPath is None:
        with openFits(maskPath) as other:
            values = _integers(imageExtension(other, maskPath, None), planes, maskPath)
        _useForeign(planes, values, FOREIGN_TABLES["ztf"], maskPath.name)
    zeroPoint = headerNumber(planes.header, "MAGZP")
    if zeroPoint is not None:
        planes.components["photoCalib"] = PhotoCalib.fromMagZeroPoint(zeroPoint)
        planes.say(f"calibration: zero point {zeroPoint:g} (MAGZP)")


def _ptf(planes, hdus, hdu, path, options):
    for old, new in (("_scie_", "_mskd_"), ("sciimg", "mskimg"), ("image", "mask")):
        maskPath = _siblingFile(path, old, new)
        if maskPath is not None and options.maskPath is None:
            with openFits(maskPath) as other:
                values = _integers(imageExtension(other, maskPath, None), planes, maskPath)
            _useForeign(planes, values, FOREIGN_TABLES["ptf"], maskPath.name)
            return


def _ps1(planes, hdus, hdu, path, options):
    stem = re.sub(r"\.fits(\.fz|\.gz)?$", "", path.name)
    end = path.name[len(stem) :]
    maskPath, noisePath = (path.with_name(f"{stem}.{part}{end}") for part in ("mask", "wt"))
    if noisePath.exists() and not options.noiseGiven:
        with openFits(noisePath) as other:
            noiseHdu = imageExtension(other, noisePath, None)
            variance = _samePixels(noiseHdu, planes, noisePath)
            _undoAsinh(variance, noiseHdu.header, lambda sentence: None)
        planes.variance = _cleanVariance(variance, planes)
        planes.say(f"variance: {noisePath.name}")
    if maskPath.exists() and options.maskPath is None:
        with openFits(maskPath) as other:
            maskHdu = imageExtension(other, maskPath, None)
            values, table = _integers(maskHdu, planes, maskPath), ps1Table(maskHdu.header)
        _useForeign(planes, values, table, maskPath.name)


def _ccdData(planes, hdus, hdu, path, options):
    uncertainty, mask = _sibling(hdus, "UNCERT", None), _sibling(hdus, "MASK", None)
    if uncertainty is not None:
        kind = str(uncertainty.header.get("UTYPE", "StdDevUncertainty")).strip()
        values = _samePixels(uncertainty, planes, path)
        if kind.lower() in ("stddevuncertainty", "std"):
            planes.variance = _varianceFromSigma(values, planes)
        elif kind.lower() in ("varianceuncertainty", "var"):
            planes.variance = _cleanVariance(values, planes)
        elif kind.lower() in ("inversevariance", "ivar"):
            planes.variance = _varianceFromWeight(values, planes)
        else:
            raise FitsLayoutError(f"{path}: extension UNCERT: wanted UTYPE std, var or ivar, given {kind!r}")
        planes.say(f"variance: {kind} from {path.name}, extension UNCERT")
    if mask is not None:
        values = _integers(mask, planes, path)
        _useForeign(planes, (values != 0).astype(np.uint8), _BOOLEAN, f"{path.name}, extension MASK")


FOREIGN_READERS = {
    "plain": _plain,
    "sci": _sciErrDq,
    "des": _des,
    "decam": _decam,
    "ztf": _ztf,
    "ptf": _ptf,
    "ps1": _ps1,
    "ccddata": _ccdData,
}

_BOOLEAN = ForeignTable("non-zero is BAD", {0: "BAD"})


# planes from other files and extensions


def readMaskFile(planes, path, options):
    """Replace the mask by that of a file given explicitly (``FILE[EXT]``).

    MP_ cards name the planes; else ``options.maskKind`` names a table; else every pixel that is not zero is BAD.
    """
    path, ext = splitExtension(path)
    with openFits(path) as hdus:
        hdu = imageExtension(hdus, path, _matchingExtension(hdus, planes, ext, "MASK"))
        label = f"{path.name}, extension {_extensionLabel(hdus, hdu)}"
        values = _integers(hdu, planes, path)
        named = bool(planeTable(hdu.header)[0])
        if named and options.maskKind is None:
            planes.mask, planes.schema = values.astype(np.int32), planeSchema(hdu.header)[0]
            planes.maskFromFile = True
            planes.say(f"mask: {label}, planes by MP_ cards")
            return
        kind = options.maskKind or _kindOfMask(path)
        if kind == "decam":
            table = decamTable(mergedHeader(hdus, hdu))
        elif kind == "ps1":
            table = ps1Table(hdu.header)
        elif kind in (None, "bad"):
            values, table = (values != 0).astype(np.uint8), _BOOLEAN
        elif kind in FOREIGN_TABLES:
            table = FOREIGN_TABLES[kind]
        else:
            raise DomainError(f"mask kind: wanted bad, {', '.join(sorted(FOREIGN_TABLES))}; given {kind!r}")
    _useForeign(planes, values, table, label)


def _kindOfMask(path):
    name = path.name
    return "ztf" if "mskimg" in name else "decam" if "_ood_" in name else "ps1" if ".mask." in name else None


_NOISE_NAMES = (
    ("variance", re.compile(r"variance|[._]var\b|[._]var[._]|[._]wt[._]")),
    ("rms", re.compile(r"rms|sigma|[._]err|uncert|noise", re.I)),
    ("weight", re.compile(r"weight|[._]wht|_oow_|ivar|invvar|[._]wgt", re.I)),
)


def readNoiseFile(planes, path, kind):
    """Replace the variance by a file given explicitly.

    Parameters
    ----------
    planes : `Planes`
    path : `str`
        FILE[EXT].
    kind : {"variance", "weight", "rms", "auto"}
        Meaning of the pixels; "auto" infers it from extension and file name.

    Raises
    ------
    DomainError
        If the meaning cannot be inferred.
    """
    path, ext = splitExtension(path)
    with openFits(path) as hdus:
        hdu = imageExtension(hdus, path, _matchingExtension(hdus, planes, ext, "VARIANCE"))
        label = f"{path.name}, extension {_extensionLabel(hdus, hdu)}"
        inferred = ""
        if kind == "auto":
            kind = _noiseKind(hdu, path)
            inferred = " (inferred from its name)"
        values = _samePixels(hdu, planes, path)
    if kind == "variance":
        planes.variance, what = _cleanVariance(values, planes), "variance"
    elif kind == "rms":
        planes.variance, what = _varianceFromSigma(values, planes), "rms squared"
    elif kind == "weight":
        planes.variance, what = _varianceFromWeight(values, planes), "1/weight"
    else:
        raise DomainError(f"weight kind: wanted auto, variance, rms or weight, given {kind!r}")
    planes.say(f"variance: {what} from {label}{inferred}")


def _noiseKind(hdu, path):
    named = {"VARIANCE": "variance", "VAR": "variance", "ERR": "rms", "WGT": "weight", "WHT": "weight"}.get(hdu.name)
    if named:
        return named
    for kind, pattern in _NOISE_NAMES:
        if pattern.search(path.name):
            return kind
    raise DomainError(f"{path}: is it variance, rms or weight? Neither its name nor its extension says; name the kind")


def _matchingExtension(hdus, planes, ext, preferred):
    """Extension asked for; else a plane of our own layout; else one named as the image's; else the first image."""
    if ext is not None:
        return ext
    for name in (preferred, str(planes.header.get("EXTNAME", "")).strip()):
        if name and any(h.name == name.upper() and getattr(h, "is_image", False) for h in hdus[1:]):
            return name
    return None


def _sibling(hdus, name, version):
    for hdu in hdus:
        same = version is None or hdu.header.get("EXTVER", 1) == version
        if hdu.name == name and same and getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) > 1:
            return hdu
    return None


def _siblingFile(path, old, new):
    """File beside ``path`` whose name has ``new`` for ``old``, compressed or not; None if there is none."""
    if old not in path.name:
        return None
    stem = re.sub(r"\.fits(\.fz|\.gz)?$", "", path.name.replace(old, new))
    ends = [path.name[len(path.name) - len(path.name.replace(old, new)) + len(stem) :]]
    for end in [*ends, ".fits", ".fits.fz", ".fits.gz"]:
        candidate = path.with_name(stem + end)
        if candidate.is_file():
            return candidate
    return None


def _checkShape(hdu, planes, path):
    shape = pixelShape(hdu)
    if shape != planes.shape:
        raise ShapeError(
            f"{path}: extension {hdu.name or 'PRIMARY'} has {shape[1]}x{shape[0]} pixels, "
            f"the image {planes.shape[1]}x{planes.shape[0]}",
            found=f"{shape[1]}x{shape[0]} against {planes.shape[1]}x{planes.shape[0]} pixels",
            remedy="masks and noise must have the size of their image",
        )


def _samePixels(hdu, planes, path):
    _checkShape(hdu, planes, path)
    return readPixels(hdu, np.float32, planes.slices)


def _integers(hdu, planes, path):
    _checkShape(hdu, planes, path)
    small = hdu.header.get("BITPIX") in (8, 16) or (hdu.header.get("BITPIX") == 32 and not hdu.header.get("BZERO"))
    return readPixels(hdu, np.int32 if small else np.int64, planes.slices, allowUnsafe=True)


def _useForeign(planes, values, table, source):
    from ..image import MaskSchema

    planes.mask, planes.schema, unknown = translateMask(values, table, MaskSchema.standard())
    planes.maskFromFile = True
    planes.say(f"mask: {table.name} from {source}")
    if unknown:
        listed = ", ".join(f"{name} {100 * fraction:.3g}%" for name, fraction in unknown.items())
        planes.warn(f"W-FOREIGNMASK: {source} has values without a known meaning, not treated as bad: {listed}")


def _varianceFromWeight(weight, planes):
    good = weight > 0
    with np.errstate(over="ignore"):
        np.divide(np.float32(1), weight, out=weight, where=good)
    weight[~good] = np.inf
    planes.addNoData(~np.isfinite(weight))
    return weight


def _varianceFromSigma(sigma, planes):
    with np.errstate(over="ignore"):
        np.multiply(sigma, np.abs(sigma), out=sigma)  # a negative error stays negative, hence invalid
    return _cleanVariance(sigma, planes)


def _cleanVariance(variance, planes):
    good = (variance > 0) & np.isfinite(variance)
    variance[~good] = np.inf
    planes.addNoData(~good)
    return variance


def _undoAsinh(image, header, say):
    """Pan-STARRS stacks hold a asinh(...): linear = BOFFSET + 2 BSOFTEN sinh(v ln(10)/2.5), in place."""
    offset, softening = headerNumber(header, "BOFFSET"), headerNumber(header, "BSOFTEN")
    if offset is None or softening is None:
        return
    image /= np.float32(_LN_MAG)
    with np.errstate(over="ignore"):
        np.sinh(image, out=image)
    image *= np.float32(2 * softening)
    image += np.float32(offset)
    say(f"image: asinh scaling undone (BOFFSET {offset:g}, BSOFTEN {softening:g})")


def _foreignFilter(header):
    """Filter of a FILTER card: the physical name, and the band where it is plain from it."""
    name = header.get("FILTER") or header.get("FILTER1")
    name = name.strip() if isinstance(name, str) else ""
    if not name:
        return None
    match = re.match(r"(?:ZTF[_ ])?([ugrizyY])(?:$| DECam|\.\d+)|VR DECam", name)
    if match:
        return FilterLabel(band=(match[1] or "VR").lower() if match[1] else "VR", physical=name)
    return FilterLabel.fromLegacyName(name)
