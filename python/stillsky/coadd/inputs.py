"""Looking at warps before they are combined: which can be used, with what weight, and where they have pixels."""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DomainError, MismatchError, NoDataError, StillskyError
from ..fits.scratch import raiseFaultOfMachine
from ..geom import Box2D, Box2I
from ..stats import clippedStats, varianceScaleFactors
from .bands import EXTENT_COLUMNS, EXTENT_ROWS
from .config import AssembleCoaddAlgorithmConfig
from .noise_correlation import noiseCorrelation
from .planes import mergedSchema
from .scaling import computeImageScaler
from .warps import asWarp

__all__ = ["InputLists", "PreparedInputs", "PreparedWarp", "SkippedWarp", "prepareInputs"]

_LOG = logging.getLogger("stillsky.coadd")

_ENOUGH = 1 << 20  # pixels: the mean variance is then known to 1e-3 of its scatter over the image
_SAMPLE = 256  # pixels: side of the square in which the correlation of noise is measured
_SPARSE = 0.02  # part of a warp without data above which its extents are found


@dataclass(frozen=True)
class SkippedWarp:
    """A warp that was left out.

    Attributes
    ----------
    name : `str`
        Data id or file.
    dataId : mapping
    reason : `str`
    """

    name: str
    dataId: Any
    reason: str


@dataclass
class PreparedWarp:
    """A warp that is used.

    Attributes
    ----------
    warp : warp (see `stillsky.coadd.warps`)
    box : `stillsky.geom.Box2I`
        Its part of the coadd.
    weight : `float`
        1 over its mean variance, after scaling.
    scaler : object with ``scaleMaskedImage`` or None
    altMask : `dict` or None
        Plane to span sets, see `stillsky.coadd.applyAltMaskPlanes`.
    psfMatched : warp or None
        The same visit matched to one PSF.
    meanVariance, varianceFactor, noiseFactor : `float`
        Clipped mean of the variance plane; squared scatter over that (1 unless effectiveWeights); ratio of the noise of a large
        aperture to what independent pixels would have.
    extents : array or None
        Columns with pixels, see `stillsky.coadd.bands.BandInput`.
    hasUnnamed : `bool`
        Mask bits without a name are set.
    goodPixels : `int`
        Pixels without bad planes (about that many, of large images).
    """

    warp: Any
    box: Any
    weight: float
    scaler: Any = None
    altMask: Any = None
    psfMatched: Any = None
    meanVariance: float = np.nan
    varianceFactor: float = 1.0
    noiseFactor: float = np.nan
    extents: Any = None
    hasUnnamed: bool = False
    goodPixels: int = 0


class InputLists:
    """What is known of the warps in ``inputs``, by kind; a mixin."""

    @property
    def warps(self):
        """The warps, as given."""
        return [i.warp for i in self.inputs]

    @property
    def weights(self):
        """Weight of each warp."""
        return [i.weight for i in self.inputs]

    @property
    def scalers(self):
        """What each warp is to be multiplied with."""
        return [i.scaler for i in self.inputs]

    @property
    def psfMatchedWarps(self):
        """Warps with the model PSF; None where there is none."""
        return [i.psfMatched for i in self.inputs]

    @property
    def altMaskList(self):
        """Alternative masks, plane names to span sets, or None for each."""
        return [i.altMask for i in self.inputs]


@dataclass
class PreparedInputs(InputLists):
    """What `prepareInputs` found.

    Attributes
    ----------
    inputs : `list` [`PreparedWarp`]
    skipped : `list` [`SkippedWarp`]
    """

    inputs: list = field(default_factory=list)
    skipped: list = field(default_factory=list)


def prepareInputs(
    warps,
    bbox=None,
    config=None,
    *,
    wcs=None,
    weights=None,
    scalers=None,
    scalerOf=None,
    altMaskList=None,
    psfMatchedWarps=None,
    strict=None,
    scratch=None,
    quiet=False,
):
    """Find the warps that can be combined, and their weights.

    Parameters
    ----------
    warps : iterable
        Warps, files, exposures or handles; see `stillsky.coadd.asWarp`. Nothing is changed.
    bbox : `stillsky.geom.Box2I`, optional
        Of the coadd; default: all pixels of each warp.
    config : `AssembleCoaddAlgorithmConfig`, optional
    wcs : `stillsky.wcs.SkyWcs`, optional
        Of the coadd: warps on another grid are refused. Default: that of the first warp.
    weights : sequence of `float`, optional
        One per warp, finite and >= 0, where they are known.
    scalers : sequence, optional
        One per warp, with ``scaleMaskedImage(maskedImage)``, or None.
    scalerOf : callable, optional
        ``scalerOf(exposure)`` makes the scaler of a warp from its calibration; default with doScaleZeroPoint:
        `stillsky.coadd.computeImageScaler`.
    altMaskList : sequence, optional
        One per warp, see `PreparedWarp`.
    psfMatchedWarps : sequence, optional
        The same visits matched to one PSF, found by data id; None where there is none.
    strict : `bool`, optional
        A warp that cannot be used is an error; default: ``config.strict``.
    scratch : path-like, optional
        Folder for decoded files.
    quiet : `bool`
        The caller says himself what is skipped: it is not logged.

    Returns
    -------
    prepared : `PreparedInputs`
        Warps that cannot be read, without common pixels, finite pixels or positive variance, of other units or of another
        grid are ``skipped`` with the reason.

    Raises
    ------
    ScratchError
        No room for decoded files.
    StillskyError
        With ``strict``: the first warp that cannot be used. In any case: a unit that is not nJy with
        ``config.requireUnit`` (MismatchError), because then all warps are likely to be wrong.

    Notes
    -----
    weight = 1 / clipped mean of the variance plane over pixels without bad planes. Images of more than 4 Mpx are sampled on
    every n-th row and column (all pixels with ``compat``). Memory: 8 bytes for each of these pixels.
    """
    config = AssembleCoaddAlgorithmConfig() if config is None else config
    strict = config.strict if strict is None else strict
    warps = list(warps)
    lists = {"weights": weights, "scalers": scalers, "altMaskList": altMaskList}
    for name, values in lists.items():
        lists[name] = [None] * len(warps) if values is None else list(values)
        if len(lists[name]) != len(warps):
            raise DomainError(f"{name}: wanted one per warp, {len(warps)}, given {len(lists[name])}")
    for weight in lists["weights"]:
        if weight is not None and not (np.isfinite(weight) and weight >= 0):
            raise DomainError(f"weights: wanted finite ones >= 0, given {weight}")
    if scalerOf is None and config.doScaleZeroPoint:

        def scalerOf(exposure):
            return computeImageScaler(exposure, config.scaleZeroPoint.zeroPoint)

    matched = _byDataId(psfMatchedWarps, scratch)
    result, unit = PreparedInputs(), None
    for thing, weight, scaler, altMask in zip(warps, *lists.values()):
        name, dataId = str(thing), None
        try:
            warp = asWarp(thing, scratch=scratch)
            name, dataId = warp.name, warp.dataId
            checkUnit(warp, config, unit)
            if wcs is None:
                wcs = warp.get(component="wcs")
            item = _prepared(warp, bbox, wcs, config, scaler, scalerOf, weight)
        except _WrongUnit:
            raise
        except (StillskyError, OSError, ValueError, TypeError, LookupError) as error:
            raiseFaultOfMachine(error)
            if strict:
                raise
            reason = str(error) or type(error).__name__
            if not quiet:
                _LOG.warning("warp %s is left out: %s", name, reason)
            result.skipped.append(SkippedWarp(name, dataId, reason))
            continue
        unit = warp.metadata.get("BUNIT") if unit is None else unit
        item.altMask, item.psfMatched = altMask, matched.get(_key(warp.dataId))
        result.inputs.append(item)
    return result


class _WrongUnit(MismatchError):
    """The unit of warps is not that of calibrated images: an error in any case."""


def checkUnit(warp, config, unit=None):
    """Refuse a warp whose BUNIT is not nJy (``config.requireUnit``) or differs from that of the others."""
    own = warp.metadata.get("BUNIT")
    if config.requireUnit and not config.doScaleZeroPoint and str(own).strip() != "nJy":
        raise _WrongUnit(
            f"warp {warp.name}: BUNIT is {own!r}, wanted 'nJy'",
            found="no BUNIT" if own is None else f"BUNIT {own!r}",
            remedy="calibrate the warps, or set doScaleZeroPoint",
        )
    if unit is not None and own is not None and str(own).strip() != str(unit).strip():
        raise MismatchError(f"BUNIT is {own!r}, that of the warps before {unit!r}")


def _prepared(warp, bbox, wcs, config, scaler, scalerOf, weight=None):
    box = warp.bbox if bbox is None else warp.bbox.clipped(bbox)
    if box.isEmpty:
        raise MismatchError(f"no pixels in common: the warp is {warp.bbox}, the coadd {bbox}")
    checkGrid(warp, wcs, box)
    if not _anyFinite(warp, box):
        raise NoDataError("no finite pixel")
    if scaler is None and scalerOf is not None:
        scaler = scalerOf(warp.get(parameters={"bbox": Box2I(box.min, (1, 1))}))
    item = PreparedWarp(warp, box, 0.0, scaler)
    measure(item, config)
    if weight is not None:
        item.weight = float(weight)
    elif not (np.isfinite(item.meanVariance) and item.meanVariance > 0):
        raise NoDataError(f"mean variance is {item.meanVariance:g}: no weight")
    warp.release(box)
    return item


def checkGrid(warp, wcs, box):
    """MismatchError if the pixels of a warp lie elsewhere on the sky than those of the coadd by 0.1 pixel."""
    own = warp.get(component="wcs")
    if wcs is None or own is wcs:
        return
    if own is None:
        raise MismatchError("no WCS, and the coadd has one")
    corners = Box2D(box).corners
    x, y = (np.array([c[i] for c in corners]) for i in (0, 1))
    u, v = wcs.skyToPixel(*own.pixelToSky(x, y))
    off = np.hypot(u - x, v - y)
    if not np.all(off < 0.1):
        raise MismatchError(f"another pixel grid: {np.nanmax(off):.3g} pixels from the coadd's at a corner")


def _anyFinite(warp, box):
    for y in range(box.minY, box.maxY + 1, EXTENT_ROWS):
        rows = Box2I((box.minX, y), (box.width, EXTENT_ROWS)).clipped(box)
        if np.isfinite(warp.block(rows)[0]).any():
            return True
    return False


_MEASURED = ("meanVariance", "varianceFactor", "noiseFactor", "extents", "hasUnnamed", "goodPixels", "weight")


def measure(item, config):
    """Fill in weight, variances, extents of a `PreparedWarp`; what was measured stays with the warp."""
    key = (item.box, tuple(config.badMaskPlanes), config.sigmaClip, config.clipIter, config.effectiveWeights,
           config.compat, id(item.scaler))  # fmt: skip
    known = item.warp.__dict__.setdefault("measured", {})
    if key not in known:
        _measure(item, config)
        known[key] = item.scaler, {name: getattr(item, name) for name in _MEASURED}  # the scaler keeps its id
    for name, value in known[key][1].items():
        setattr(item, name, value)


def _measure(item, config):
    warp, box = item.warp, item.box
    step = 1 if config.compat else max(1, int(np.sqrt(box.area / _ENOUGH)))
    image, mask, variance = warp.block(box)
    cut = (slice(None, None, step), slice(None, None, step))
    sampledMask = np.ascontiguousarray(mask[cut], np.int32)
    sampledVariance = np.ascontiguousarray(variance[cut], np.float32)
    bad = warp.schema.bitmask(list(config.badMaskPlanes), ignoreMissing=True)
    if item.scaler is not None:
        sampledVariance = _scaledVariance(item.scaler, sampledVariance, box)
    mean = clippedStats(sampledVariance, sampledMask, bad, config.sigmaClip, config.clipIter)[1]
    item.meanVariance = float(mean)
    present = int(np.bitwise_or.reduce(sampledMask, axis=None))
    item.hasUnnamed = bool(present & ~warp.schema.bitmask(list(warp.schema)))
    if config.effectiveWeights:
        isBad = (sampledMask & np.int32(bad | warp.schema.bitmask("DETECTED", ignoreMissing=True))) != 0
        item.varianceFactor = varianceScaleFactors(image[cut], variance[cut], isBad).pixelFactor
    effective = item.meanVariance * item.varianceFactor
    item.weight = 1.0 / effective if effective > 0 else np.nan
    isGood = ((sampledMask & np.int32(bad)) == 0) & np.isfinite(image[cut])
    item.goodPixels = int(np.count_nonzero(isGood) * box.area / max(sampledMask.size, 1))
    noData = warp.schema.bitmask("NO_DATA", ignoreMissing=True)
    if noData & bad and np.count_nonzero(sampledMask & noData) > _SPARSE * sampledMask.size:
        item.extents = _extents(mask, noData, box)
    item.noiseFactor = _noise(warp, box, bad)


def _scaledVariance(scaler, variance, box):
    """Variance after scaling, by the scaler itself: it may do more than multiply."""
    from ..image import Image, Mask, MaskedImage

    pixels = MaskedImage(Image(np.zeros_like(variance), box.min), Mask(np.zeros(variance.shape, np.int32), box.min),
                         Image(variance.copy(), box.min))  # fmt: skip
    scaler.scaleMaskedImage(pixels)
    return pixels.variance.array


def _noise(warp, box, bad):
    """Correlation of the noise in the middle of a warp."""
    middle = Box2I.centered(box.center, (_SAMPLE, _SAMPLE)).clipped(box)
    image, mask, variance = warp.block(middle)
    planes = bad | warp.schema.bitmask(["DETECTED", "DETECTED_NEGATIVE", "NO_DATA"], ignoreMissing=True)
    return noiseCorrelation(image.astype(np.float64), variance.astype(np.float64), (mask & np.int32(planes)) != 0)


def _extents(mask, noData, box):
    """First and one-beyond-last parent column with anything but bare NO_DATA, for each EXTENT_ROWS rows."""
    if not mask.dtype.isnative:  # turn the constant instead of the pixels
        mask = mask.view(mask.dtype.newbyteorder("="))
        noData = int(np.int32(noData).byteswap())
    rows = range(0, mask.shape[0], EXTENT_ROWS)
    extents = np.zeros((len(rows), 2), np.int64)
    for k, start in enumerate(rows):
        part = mask[start : start + EXTENT_ROWS]
        bare = np.bitwise_and.reduce(part, axis=0) == np.bitwise_or.reduce(part, axis=0)
        used = np.flatnonzero(~(bare & (part[0] == np.int32(noData))))
        if len(used):
            first = used[0] // EXTENT_COLUMNS * EXTENT_COLUMNS
            stop = min(-(-(used[-1] + 1) // EXTENT_COLUMNS) * EXTENT_COLUMNS, mask.shape[1])
            extents[k] = box.minX + first, box.minX + stop
    return extents


def _key(dataId):
    items = dataId.items() if hasattr(dataId, "items") else dict(getattr(dataId, "mapping", {})).items()
    return tuple(sorted((str(k), str(v)) for k, v in items))


def _byDataId(warps, scratch):
    found = {}
    for thing in warps or ():
        if thing is not None:
            warp = asWarp(thing, scratch=scratch)
            found[_key(warp.dataId)] = warp
    return found


def schemaOf(inputs, extra=()):
    """Mask planes of the coadd of prepared warps, and those of their alternative masks and ``extra`` names."""
    schema = mergedSchema((item.warp.schema for item in inputs), extra)
    for name in (plane for item in inputs for plane in item.altMask or ()):
        schema = schema.add(name)
    return schema
