"""Reading images of any origin into an Exposure, and saying what was understood and guessed."""

import logging
import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ..errors import DomainError, FitsLayoutError, NoDataError
from .components import psfFromHdu
from .defects import findDefectLines, markDefectLines
from .files import openFits, parseExtension, readingErrors, splitExtension
from .layout import readPixels
from .native import readNative
from .noise import (
    findPlateau,
    gainCandidates,
    headerNumber,
    measureSky,
    modelVariance,
    readNoiseOf,
    saturationOf,
)
from .planes import parseRegion
from .surveys import FOREIGN_READERS, detectKind, imageExtension, readForeign, readMaskFile, readNoiseFile

__all__ = ["ReadOptions", "read", "readExposure"]

_LOG = logging.getLogger("stillsky.fits")

_VARIANCES = ("auto", "model", "empirical", "zero")


@dataclass(frozen=True)
class ReadOptions:
    """Explicit choices of `readExposure`; see there."""

    ext: object = None
    region: object = None
    maskPath: object = None
    maskKind: str | None = None
    variancePath: object = None
    weightPath: object = None
    weightKind: str = "auto"
    psfPath: object = None
    gain: float | None = None
    readNoise: float | None = None
    saturation: float | None = None
    pedestal: float | None = None
    skyLevel: float = 0.0
    variance: str = "auto"
    needAllPlanes: bool = False
    conformTo: object = None
    defects: bool = True

    def __post_init__(self):
        for name in ("gain", "readNoise", "saturation"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and (value > 0 or (name == "readNoise" and value == 0))):
                raise DomainError(f"{name}: wanted a positive number, given {value}")
        if self.variance not in _VARIANCES:
            raise DomainError(f"variance: wanted one of {', '.join(_VARIANCES)}, given {self.variance!r}")
        if self.variancePath is not None and self.weightPath is not None:
            raise DomainError("variancePath and weightPath: give one of them, not both")

    @property
    def noiseGiven(self):
        """Whether a noise file was given explicitly."""
        return self.variancePath is not None or self.weightPath is not None


def readExposure(path, kind="auto", **options):
    """Read an image of any known layout.

    Parameters
    ----------
    path : `str` or `os.PathLike`
        File, or ``FILE[EXT]`` (number, name, or NAME,VERSION). Plain, .gz, .bz2, or tile-compressed (.fz).
    kind : `str`
        "auto", or the layout: "native" (IMAGE/MASK/VARIANCE: files of stillsky and of Rubin up to DP1), "sci"
        (SCI/ERR/DQ), "des" (SCI/MSK/WGT), "decam" (ooi/ood/oow), "ztf", "ptf", "ps1", "ccddata", "plain".
    ext : `int` or `str`, optional
        Extension, as in the brackets.
    region : `Box2I` or `str`, optional
        Parent pixels to read, "X0:X1,Y0:Y1" 0-based and half open; only these are read from disk.
    maskPath, variancePath, weightPath, psfPath : `str`, optional
        Files (with [EXT]) that replace what the image's own file or its siblings have.
    maskKind : `str`, optional
        Meaning of the mask's values ("bad", "decam", "decam-bits", "des", "ztf", "ptf", "hst", "jwst", "ps1").
    weightKind : {"auto", "variance", "rms", "weight"}
        Meaning of ``weightPath``.
    gain, readNoise : `float`, optional
        Electrons per count, electrons; instead of the header's.
    saturation : `float`, optional
        Pixels at or above it are SAT; instead of the header's or the measured one.
    pedestal, skyLevel : `float`, optional
        Counts in the image that are no light; counts of sky that were subtracted.
    variance : {"auto", "model", "empirical", "zero"}
        "auto": the file's, else modelled. "model", "empirical": modelled from the gain, or constant as measured in the
        sky, also when the file has a variance. "zero": zeros if the file has none.
    needAllPlanes : `bool`
        Refuse a file of native layout without mask or variance.
    conformTo : `MaskSchema`, optional
        Planes of the result's mask; by default those of the file.
    defects : `bool`
        In a file without a mask, look for columns and rows that differ from their neighbours; they become BAD.

    Returns
    -------
    exposure : `Exposure`
        float32 (float64 for own files written so). Where nothing was measured: image NaN, variance +inf, NO_DATA.
    provenance : `list` [`str`]
        One sentence per choice, those that begin with "W-" (also logged) are warnings: W-NOVAR no noise plane,
        W-GAIN the gain contradicts the sky, W-FOREIGNMASK mask values of unknown meaning, W-DEFECTS columns or rows
        found to be bad, W-PSF an image that is no likely PSF.

    Raises
    ------
    OSError
        If a file is missing or cannot be read.
    FitsLayoutError
        If it is no FITS file, truncated, holds no image, or breaks its layout. All messages name the file.
    ShapeError
        If the region is not inside the image, or planes differ in size.

    Notes
    -----
    Memory: the planes of the result, one copy each, and bands of 512 rows (a compressed plane is held once more while
    it is decompressed).
    """
    known = {f.name for f in fields(ReadOptions)}
    unknown = set(options) - known
    if unknown:
        raise TypeError(f"readExposure: unknown argument {sorted(unknown)[0]!r}; known are {', '.join(sorted(known))}")
    if kind != "auto" and kind != "native" and kind not in FOREIGN_READERS:
        raise DomainError(f"kind: wanted auto, native, {', '.join(FOREIGN_READERS)}; given {kind!r}")
    path, bracket = splitExtension(path)
    ext = parseExtension(options.pop("ext", None))
    region = parseRegion(options.pop("region", None))
    opts = ReadOptions(ext=bracket if ext is None else ext, region=region, **options)
    planes = _readPlanes(path, kind, opts)
    return _finish(planes, opts, path), planes.provenance


def readOpened(hdus, path, region):
    """Some pixels, and all components, of an open file of native layout: as `readExposure` of its path.

    Parameters
    ----------
    hdus : `astropy.io.fits.HDUList`
    path : path-like
        For messages.
    region : `Box2I`
    """
    opts = ReadOptions(region=region)
    return _finish(_nativePlanes(hdus, Path(path), opts), opts, Path(path))


def read(path, **options):
    """Read an image of any known layout as an `Exposure`.

    Parameters
    ----------
    path : `str`
        FILE or FILE[EXT].
    **options
        As for `readExposure`.

    Returns
    -------
    exposure : `Exposure`
        The sentences about what was understood and guessed are its ``info.provenance``.
    """
    return readExposure(path, **options)[0]


def _readPlanes(path, kind, opts):
    _refuseAsdf(path)
    with openFits(path) as hdus, readingErrors(path):
        found = detectKind(path, hdus) if kind == "auto" else kind
        if found == "native" and opts.ext is not None and kind == "auto":
            name = str(imageExtension(hdus, path, opts.ext).header.get("EXTTYPE") or hdus[opts.ext].name)
            found = "native" if name.strip().upper() == "IMAGE" else "plain"
        if found == "native":
            planes = _nativePlanes(hdus, path, opts)
        else:
            planes = readForeign(found, hdus, path, opts)
        planes.kind = found
    if opts.maskPath is not None:
        readMaskFile(planes, opts.maskPath, opts)
    if opts.variancePath is not None:
        readNoiseFile(planes, opts.variancePath, "variance")
    if opts.weightPath is not None:
        readNoiseFile(planes, opts.weightPath, opts.weightKind)
    if opts.psfPath is not None:
        planes.components["psf"], doubt = _readPsf(opts.psfPath)
        name = splitExtension(opts.psfPath)[0].name
        planes.say(f"psf: {name}")
        if doubt:
            planes.warn(f"W-PSF: {name} {doubt}")
    return planes


def _nativePlanes(hdus, path, opts):
    planes = readNative(hdus, path, opts.region)
    planes.kind = "native"
    planes.maskFromFile = planes.mask is not None
    planes.provenance.insert(0, f"image: {path.name}, IMAGE/MASK/VARIANCE layout")
    missing = [n for n, p in (("MASK", planes.mask), ("VARIANCE", planes.variance)) if p is None]
    if missing and opts.needAllPlanes:
        raise FitsLayoutError(f"{path}: no {' and '.join(missing)} extension, all planes are needed")
    return planes


def _refuseAsdf(path):
    try:
        with open(path, "rb") as stream:
            start = stream.read(5)
    except OSError:
        return  # the FITS reader says what is wrong
    if start == b"#ASDF":
        raise FitsLayoutError(
            f"{path}: an ASDF file, wanted FITS", found="#ASDF at the beginning", remedy="convert it to FITS first"
        )


def _readPsf(path):
    """PSF of a file: a SKY_PSF table, else an image of the PSF, centred in its array; and what speaks against it."""
    from ..psf import KernelPsf

    path, ext = splitExtension(path)
    with openFits(path) as hdus:
        if ext is None:
            for hdu in hdus:
                if hdu.name == "SKY_PSF":
                    return psfFromHdu(hdu), ""
        array = readPixels(imageExtension(hdus, path, ext), np.float64)
    if not np.isfinite(array).all() or not array.sum() > 0:
        raise FitsLayoutError(
            f"{path}: PSF image has pixels that are not finite, or no positive sum",
            found=f"{np.count_nonzero(~np.isfinite(array))} of {array.size} pixels not finite, sum {np.nansum(array):g}",
            remedy="an image of one star, background subtracted",
        )
    padded = np.pad(array, [(0, 1 - n % 2) for n in array.shape])  # of an even size: the centre is pixel n // 2
    return KernelPsf(padded / array.sum()), _doubtOf(array)


def _doubtOf(array):
    """Why an image is no likely PSF; empty if nothing is wrong."""
    peak = float(array.max())
    border = float(np.mean(np.concatenate([array[0], array[-1], array[1:-1, 0], array[1:-1, -1]]))) / peak
    away = max(abs(int(p) - n // 2) for p, n in zip(np.unravel_index(array.argmax(), array.shape), array.shape))
    if abs(border) > 0.05:
        return (
            f"has {100 * border:.0f} % of its peak at the border, where a PSF ends: subtract the sky of a cut-out of a "
            "star, or cut out more"
        )
    if away > max(2, min(array.shape) // 8):
        return f"has its peak {away} px from the centre, where a PSF has it"
    return ""


# from planes to an exposure


def _finish(planes, opts, path):
    from ..image import Exposure, Image, Mask, MaskedImage, MaskSchema

    if not planes.image.size:
        raise NoDataError(f"{path}: the image is empty")
    if not planes.maskFromFile:
        _makeMask(planes, opts, MaskSchema.standard())
    elif opts.saturation is not None:
        _markSaturated(planes, opts.saturation, "given")
    if planes.kind != "native":
        planes.addNoData(~np.isfinite(planes.image))
    _makeVariance(planes, opts)
    _applyNoData(planes)
    masked = MaskedImage(
        Image(planes.image, xy0=planes.xy0),
        Mask(planes.mask, xy0=planes.xy0, schema=planes.schema),
        Image(planes.variance, xy0=planes.xy0),
    )
    if opts.conformTo is not None:
        masked.mask.conformTo(opts.conformTo)
    parts = planes.components
    exposure = Exposure(
        masked,
        wcs=planes.wcs,
        psf=parts.get("psf"),
        photoCalib=parts.get("photoCalib"),
        filter=parts.get("filter"),
        visitInfo=planes.visitInfo,
        metadata=planes.metadata,
        id=planes.id,
        validPolygon=parts.get("validPolygon"),
        detector=parts.get("detector"),
    )
    for name in ("summaryStats", "apCorrMap", "coaddInputs", "transmissionCurve"):
        if parts.get(name):
            setattr(exposure.info, name, parts[name])
    exposure.info.provenance = planes.provenance
    return exposure


def _sky(planes):
    """Sky of the good pixels, measured once."""
    if planes.sky is None:
        good = None
        if planes.mask is not None:
            bad = [n for n in ("BAD", "SAT", "CR", "NO_DATA", "EDGE", "INTRP") if n in planes.schema]
            good = (planes.mask & planes.schema.bitmask(bad)) == 0
            if not good.any():
                good = None
        if planes.noData is not None:
            good = ~planes.noData if good is None else good & ~planes.noData
        planes.sky = measureSky(planes.image, good)
    return planes.sky


def _makeMask(planes, opts, schema):
    """Mask of a file that has none: blank pixels, saturation, bad columns and rows."""
    planes.mask = np.zeros(planes.image.shape, np.int32)
    planes.schema = schema
    planes.addNoData(~np.isfinite(planes.image))
    empty = int(np.count_nonzero(planes.noData))
    planes.say(
        f"mask: none in the file, {empty} pixels that are not finite are NO_DATA" if empty else "mask: none in the file"
    )
    _findSaturated(planes, opts)
    if opts.defects:
        _markDefects(planes)


def _findSaturated(planes, opts):
    if opts.saturation is not None:
        _markSaturated(planes, opts.saturation, "given")
        return
    known = saturationOf(planes.header)
    if known is not None:
        _markSaturated(planes, known[0], f"header {known[1]}")
        return
    level = findPlateau(planes.image, _sky(planes))
    if level is None:
        planes.say("saturation: not in the header, and no plateau of brightest pixels")
    else:
        _markSaturated(planes, level, "measured plateau of brightest pixels")


def _markDefects(planes):
    """Columns and rows that differ from their neighbours are BAD."""
    lines = findDefectLines(
        planes.image, planes.noData if not planes.mask.any() else planes.noData | (planes.mask != 0)
    )
    if not lines:
        return
    planes.schema = planes.schema.add("BAD")
    count = markDefectLines(planes.mask, 1 << planes.schema.bit("BAD"), lines)
    parts = []
    for axis, (name, letter) in enumerate((("column", "x"), ("row", "y"))):
        places = sorted({line.index + planes.xy0[axis] for line in lines if line.axis == axis})
        if places:
            shown = ", ".join(map(str, places[:10])) + (", ..." if len(places) > 10 else "")
            parts.append(f"{len(places)} {name}{'s' if len(places) > 1 else ''} (at {letter} = {shown})")
    planes.warn(f"W-DEFECTS: {' and '.join(parts)} unlike the neighbours, wholly or in part: {count} pixels are BAD")


def _markSaturated(planes, level, source):
    planes.schema = planes.schema.add("SAT")
    with np.errstate(invalid="ignore"):
        saturated = planes.image >= level
    planes.mask |= saturated.astype(np.int32) << planes.schema.bit("SAT")
    planes.say(f"saturation: {level:.6g} ({source}), {np.count_nonzero(saturated)} pixels")


def _makeVariance(planes, opts):
    if opts.noiseGiven or (planes.variance is not None and opts.variance in ("auto", "zero")):
        if planes.relativeVariance and not opts.noiseGiven:
            _scaleVariance(planes)
        return
    if opts.variance == "zero":
        planes.variance = np.zeros(planes.image.shape, np.float32)
        planes.warn("W-NOVAR: no variance plane; variance: zeros")
        return
    lead = "no variance plane" if planes.variance is None else "variance plane not used"
    header = planes.header
    gains = [(opts.gain, "given")] if opts.gain is not None else gainCandidates(header)
    if opts.variance == "empirical":
        gains = []
    noise = (opts.readNoise, "given") if opts.readNoise is not None else readNoiseOf(header)
    pedestal = opts.pedestal
    if pedestal is None:  # PEDESTAL is what must be added to get zero-based counts
        pedestal = -(headerNumber(header, "PEDESTAL") or 0.0)
    model = modelVariance(planes.image, _sky(planes), gains, noise, pedestal, opts.skyLevel)
    planes.variance = model.variance
    if model.warning:
        planes.warn(model.warning)
    planes.warn(f"W-NOVAR: {lead}; {model.sentence}")
    if model.empirical:
        planes.metadata.set("VARIANCE_EMPIRICAL", True, "variance follows the measured sky noise")


def _scaleVariance(planes):
    """Weights that are only relative (drizzle): scale so that the sky has its measured variance."""
    good = ~planes.noData & np.isfinite(planes.variance)
    measured, modelled = _sky(planes).sigma ** 2, float(np.median(planes.variance[good])) if good.any() else math.nan
    if measured > 0 and modelled > 0:
        planes.variance *= np.float32(measured / modelled)
        planes.say(f"variance: scaled by {measured / modelled:.6g} to the measured sky variance {measured:.6g}")
        planes.metadata.set("VARIANCE_EMPIRICAL", True, "variance follows the measured sky noise")


def _applyNoData(planes):
    where = planes.noData
    if where is None or not where.any():
        return
    planes.schema = planes.schema.add("NO_DATA")
    planes.mask[where] |= 1 << planes.schema.bit("NO_DATA")
    planes.image[where] = np.nan
    planes.variance[where] = np.inf
