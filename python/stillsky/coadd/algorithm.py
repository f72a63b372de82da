"""Coadds: many warps become one image, row band by row band (Bosch et al. 2018, PASJ 70, S5, section 3.3)."""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DomainError, NoDataError
from ..fits.scratch import raiseFaultOfMachine
from ..geom import Box2I
from ..image import READ_ERRORS, Exposure, Image, MaskedImage
from ..stats import AccumulatorMeanStack, Property, StatisticsControl, stackStrips, stringToStatisticsProperty
from .bands import BandInput, InputFailure, planBands, runBands
from .config import AssembleCoaddAlgorithmConfig
from .edge_bits import setCoaddEdgeBits
from .inputs import InputLists, PreparedInputs, SkippedWarp, prepareInputs, schemaOf
from .metadata import assembleMetadata, meanNoiseFactor
from .pixel_changes import pixelChange
from .planes import rejectedMaskMapping, setInexactPsf
from .processing import processResults

__all__ = ["CoaddResult", "assembleCoadd", "commonBox", "makeStatisticsControl", "stackBox"]

_LOG = logging.getLogger("stillsky.coadd")

#: Statistics without an error: a variance of 0 says nothing about data.
_WITHOUT_ERROR = ("MIN", "MAX", "SUM", "IQRANGE")


@dataclass
class CoaddResult(InputLists):
    """A coadd and what is known about how it was made.

    Attributes
    ----------
    coadd : `stillsky.image.Exposure`
        float32, with ``coaddInputs``, PSF and aperture corrections of the inputs that have them.
    nImage, nKept : `stillsky.image.Image` (uint16)
        Inputs at each pixel without bad planes; samples that the value rests on (finite and not clipped, too).
    warps, weights, scalers, psfMatchedWarps, altMaskList : `list`
        Of the inputs that were used, in their order.
    inputs : `list` [`PreparedWarp`]
        The same with what was measured.
    skipped : `list` [`SkippedWarp`]
        Inputs that were left out, with reasons.
    varianceFactor : `float`
        Ratio of the noise of a large aperture on the coadd to that of independent pixels; NaN if unknown.
    notes : `list` [`str`]
        What was assumed.
    metadata : `dict`
        Numbers of inputs, bands, rows of a band.
    """

    coadd: Any
    nImage: Any
    nKept: Any
    inputs: list
    skipped: list = field(default_factory=list)
    varianceFactor: float = np.nan
    notes: list = field(default_factory=list)
    metadata: dict = field(default_factory=dict)


def assembleCoadd(
    warps,
    bbox=None,
    wcs=None,
    config=None,
    *,
    weights=None,
    scalers=None,
    altMaskList=None,
    psfMatchedWarps=None,
    badMaskPlanes=None,
    brightObjects=None,
    process=True,
    strict=None,
    scratch=None,
    progress=None,
    recorder=None,
    photoCalib=None,
    quiet=False,
):
    """Combine warps on one pixel grid.

    Parameters
    ----------
    warps : `PreparedInputs`, or iterable
        As `prepareInputs` gives them, or warps, files, exposures, handles (see `stillsky.coadd.asWarp`), in any number:
        their rows are read band by band. They are not changed.
    bbox : `stillsky.geom.Box2I`, optional
        Of the coadd; default: the smallest that holds all warps.
    wcs : `stillsky.wcs.SkyWcs`, optional
        Of the coadd; default: that of the first warp.
    config : `AssembleCoaddAlgorithmConfig`, optional
    weights : sequence of `float`, optional
        One per warp; default: as `prepareInputs` finds them.
    scalers : sequence, optional
        One per warp: object with ``scaleMaskedImage(maskedImage)``, which changes the pixels in place, or None.
    altMaskList : sequence, optional
        One per warp: mapping of mask plane to span sets on which it is set before combining, or None. Planes that the warp
        lacks are added.
    psfMatchedWarps : sequence, optional
        The same visits matched to one PSF; only their valid polygons are used, with doUsePsfMatchedPolygons.
    badMaskPlanes : iterable of `str`, optional
        Planes of pixels that are left out; default: ``config.badMaskPlanes``.
    brightObjects : `astropy.table.Table`, optional
        Regions to mask, with doMaskBrightObjects.
    process : `bool`
        Interpolate over gaps (doInterp) and mask bright objects.
    strict : `bool`, optional
        A warp that cannot be used is an error; default: ``config.strict``.
    scratch : path-like, optional
        Folder for decoded files.
    quiet : `bool`
        The caller says himself what is skipped and assumed: it is not logged.
    progress : callable, optional
        ``progress(done, total)`` in bands.
    recorder : `stillsky.coadd.CoaddInputRecorder`, optional
    photoCalib : `stillsky.photom.PhotoCalib`, optional
        Of the coadd, see `stillsky.coadd.assembleMetadata`.

    Returns
    -------
    result : `CoaddResult`
        Pixels without any input: NO_DATA, variance +inf, image NaN or interpolated.

    Raises
    ------
    NoDataError
        No warp is left.
    MismatchError
        Units that are not nJy with ``config.requireUnit``.
    StillskyError, OSError
        With ``strict``: the first warp that cannot be used.

    Notes
    -----
    Weighted statistics of single pixels (`stillsky.stats.statisticsStack`): bands, blocks, threads and memory do not show in
    the result. A warp that fails in the middle is taken out, and the coadd begins anew without it. Pixels outside a warp's
    box are no samples of it. Memory: ``config.memory`` for two bands and the result (16 bytes a pixel), plus what it takes
    to measure the weight of one warp, 8 bytes a pixel.
    """
    config = AssembleCoaddAlgorithmConfig() if config is None else config
    strict = config.strict if strict is None else strict
    if isinstance(warps, PreparedInputs):
        prepared = warps
        if not (weights is None and scalers is None and altMaskList is None):
            raise DomainError("weights, scalers, altMaskList: prepared inputs have their own")
    else:
        prepared = prepareInputs(
            warps, bbox, config, wcs=wcs, weights=weights, scalers=scalers, altMaskList=altMaskList,
            psfMatchedWarps=psfMatchedWarps, strict=strict, scratch=scratch, quiet=quiet,
        )  # fmt: skip
    inputs, skipped = list(prepared.inputs), list(prepared.skipped)
    while True:
        if not inputs:
            raise NoDataError(
                "no warp can be combined",
                found="; ".join(f"{s.name}: {s.reason}" for s in skipped[:5]) or "no warps were given",
                remedy="warps with finite pixels and positive variance on the grid of the coadd",
            )
        try:
            result = _assemble(inputs, bbox, wcs, config, badMaskPlanes, progress)
            break
        except InputFailure as failure:
            raiseFaultOfMachine(failure)
            if strict:
                raise failure.__cause__ from None
            lost = inputs.pop(failure.index)
            if not quiet:
                _LOG.warning("warp %s is left out: %s", lost.warp.name, failure.reason)
            skipped.append(SkippedWarp(lost.warp.name, lost.warp.dataId, failure.reason))
    result.skipped = skipped
    result.notes = assembleMetadata(
        result.coadd, result.inputs, config, recorder=recorder, photoCalib=photoCalib, quiet=quiet
    )
    result.varianceFactor = meanNoiseFactor(result.inputs)
    if process:
        processResults(result.coadd, config, brightObjects=brightObjects)
    return result


def _assemble(inputs, bbox, wcs, config, badMaskPlanes, progress):
    """Pixels of the coadd of warps that are expected to be readable; InputFailure for the first that is not."""
    bbox = commonBox(i.box for i in inputs) if bbox is None else bbox
    schema = schemaOf(inputs, extra=_extraPlanes(config))
    control = makeStatisticsControl(config, schema, badMaskPlanes)
    coadd = emptyCoadd(bbox, schema, inputs[0].warp.get(component="wcs") if wcs is None else wcs)
    nImage, nKept = (Image(np.zeros(bbox.shape, np.uint16), bbox.min) for _ in range(2))
    numbers = stackBox(coadd.maskedImage, bbox, inputs, config, control, nImage=nImage, nKept=nKept, progress=progress)
    finishMask(coadd, config)
    return CoaddResult(coadd, nImage, nKept, inputs, metadata={"nInputs": len(inputs), **numbers})


def _extraPlanes(config):
    """Planes that thresholds and bright objects want."""
    return [config.brightObjectMaskName] if config.doMaskBrightObjects else []


def commonBox(boxes):
    """The smallest box that holds all boxes."""
    result = Box2I()
    for box in boxes:
        result = result.including(box)
    return result


def emptyCoadd(bbox, schema, wcs=None):
    """An exposure without data: NaN, NO_DATA, variance +inf."""
    pixels = MaskedImage.zeros(bbox, np.float32, schema)
    pixels.set((np.nan, schema.bitmask("NO_DATA"), np.inf))
    return Exposure(pixels, wcs=wcs)


def makeStatisticsControl(config, schema, badMaskPlanes=None):
    """How the samples of a pixel are combined.

    Parameters
    ----------
    config : `AssembleCoaddAlgorithmConfig`
    schema : `stillsky.image.MaskSchema`
        Names of the bits.
    badMaskPlanes : `int` or iterable of `str`, optional
        Bits, or planes (absent ones do not count); default: ``config.badMaskPlanes``.

    Returns
    -------
    control : `stillsky.stats.StatisticsControl`

    Raises
    ------
    MaskSchemaError
        A plane of maskPropagationThresholds is unknown.
    """
    if badMaskPlanes is None:
        badMaskPlanes = config.badMaskPlanes
    control = StatisticsControl()
    control.numSigmaClip, control.numIter = config.sigmaClip, config.clipIter
    isBits = isinstance(badMaskPlanes, int | np.integer)
    control.andMask = int(badMaskPlanes) if isBits else schema.bitmask(list(badMaskPlanes), ignoreMissing=True)
    control.nanSafe, control.weighted = True, True
    control.noGoodPixelsMask = schema.bitmask("NO_DATA")
    control.calcErrorFromInputVariance = config.calcErrorFromInputVariance
    control.compat = config.compat
    control.orMaskClipped = not config.compat
    for name, threshold in config.maskPropagationThresholds.items():
        control.setMaskPropagationThreshold(schema.bit(name), threshold)
    return control


def stackBox(out, bbox, inputs, config, control, *, flags=None, nImage=None, nKept=None, progress=None):
    """Combine the pixels of a box.

    Parameters
    ----------
    out : `stillsky.image.MaskedImage`
        Assigned in the box; its mask has all planes of the inputs.
    bbox : `stillsky.geom.Box2I`
        Inside ``out``.
    inputs : sequence of `PreparedWarp`
    config : `AssembleCoaddAlgorithmConfig`
    control : `stillsky.stats.StatisticsControl`
    flags : `stillsky.stats.Property`, optional
        Statistic; default: that of the configuration.
    nImage, nKept : `stillsky.image.Image` (uint16), optional
        Assigned in the box.
    progress : callable, optional

    Returns
    -------
    numbers : `dict`
        ``nBands``, ``bandHeight``.

    Raises
    ------
    InputFailure
        A warp could not be read.
    """
    schema = out.mask.schema
    flags = int(stringToStatisticsProperty(config.statistic) if flags is None else flags)
    mapping = rejectedMaskMapping(control.andMask, schema)
    bandInputs = [_bandInput(i, bbox, schema, config, control) for i in inputs]
    countBefore = control.andMask & schema.bitmask(list(config.removeMaskPlanes), ignoreMissing=True)
    if config.doOnlineForMean and flags == int(Property.MEAN):
        return onlineMean(out, bbox, bandInputs, [i.weight for i in inputs], control, mapping, nImage, nKept)
    bands = planBands(bbox, bandInputs, config.memory, config.subregionSize[1])
    clipped = schema.bitmask("CLIPPED")

    def work(block, indices, planes):
        where = block.slices(out.bbox.min)
        counts = [None if n is None else n.array[block.slices(n.bbox.min)] for n in (nImage, nKept)]
        target = [plane.array[where] for plane in (out.image, out.mask, out.variance)]
        if not indices:
            for plane, value in zip((*target, *counts), (np.nan, schema.bitmask("NO_DATA"), np.inf, 0, 0)):
                if plane is not None:
                    plane[...] = value
            return
        images, masks, variances = map(list, zip(*planes))
        stackStrips(
            images, masks, variances, [inputs[i].weight for i in indices], flags, control, clipped=clipped, maskMap=mapping,
            outImage=target[0], outMask=target[1], outVariance=target[2], nImage=counts[0], kept=counts[1],
        )  # fmt: skip
        if countBefore and counts[0] is not None:
            _countBeforeRemoval(counts[0], block, [bandInputs[i].warp for i in indices], control, schema)

    runBands(bands, bandInputs, work, progress=progress)
    return {"nBands": len(bands), "bandHeight": bands[0].height}


def _countBeforeRemoval(count, block, warps, control, schema):
    """Samples without bad bits, where planes that are cleared on warps are bad ones: they still count as bad."""
    count[...] = 0
    for warp in warps:
        bad = warp.schema.bitmask([n for n in warp.schema if control.andMask >> schema[n] & 1])
        count += (warp.block(block)[1].astype(np.int32) & bad) == 0


def _bandInput(item, bbox, schema, config, control):
    change = pixelChange(
        item.warp.schema,
        schema,
        removePlanes=config.removeMaskPlanes,
        altMaskSpans=item.altMask,
        clearPlanes=config.badMaskPlanes if _clearsNoData(config) else (),
        scaler=item.scaler,
        hasUnnamed=item.hasUnnamed,
    )
    edge = schema.bitmask("EDGE")
    # a sample without data makes others say that they are edges, unless those are bad themselves or not marked any more
    edgeSilent = bool(edge & control.andMask) or "EDGE" in config.removeMaskPlanes
    extents = item.extents if edgeSilent and not item.altMask else None
    return BandInput(item.warp, item.box.clipped(bbox), change, extents)


def _clearsNoData(config):
    """Whether what psf-matched warps lack counts as absent rather than as rejected."""
    return config.doUsePsfMatchedPolygons and "NO_DATA" in config.badMaskPlanes


def onlineMean(out, bbox, bandInputs, weights, control, mapping, nImage=None, nKept=None):
    """The mean of warps that come one at a time; arguments as of `stackBox`."""
    stack = AccumulatorMeanStack(
        bbox.shape,
        bitMaskValue=control.andMask,
        maskThresholdDict=AccumulatorMeanStack.statsCtrlToThresholdDict(control),
        maskMap=mapping,
        noGoodPixelsMask=control.noGoodPixelsMask,
        calcErrorFromInputVariance=control.calcErrorFromInputVariance,
        computeNImage=True,
    )
    counts = np.zeros(bbox.shape, np.uint16)
    for k, (item, weight) in enumerate(zip(bandInputs, weights)):
        if item.box.isEmpty:
            continue
        try:
            planes = item.warp.block(item.box)
            planes = planes if item.change is None else item.change(*planes, item.box)
        except READ_ERRORS as error:
            raise InputFailure(k, f"{type(error).__name__}: {error}") from error
        image, mask, variance = _padded(planes, item.box, bbox, control.noGoodPixelsMask)
        stack.addArrays(image, mask, variance, weight)
        counts += (mask.astype(np.int32) & np.int32(control.andMask)) == 0
        item.warp.release(item.box)
    target = out[bbox]
    stack.fillStackedMaskedImage(target)
    for image, values in ((nImage, counts), (nKept, stack.nImage)):
        if image is not None:
            image.array[bbox.slices(image.bbox.min)] = values
    return {"nBands": 1, "bandHeight": bbox.height}


def _padded(planes, box, bbox, noData):
    """Planes of the whole box; NaN and NO_DATA where the warp has no pixels."""
    if box == bbox:
        return planes
    part = box.slices(bbox.min)
    padded = []
    for plane, dtype, fill in zip(planes, (np.float32, np.int32, np.float32), (np.nan, noData, np.inf)):
        whole = np.full(bbox.shape, fill, dtype)
        whole[part] = plane
        padded.append(whole)
    return padded


def finishMask(coadd, config):
    """Set INEXACT_PSF and, where the variance is 0, NO_DATA; variance +inf and image NaN where there are no data."""
    setInexactPsf(coadd.mask)
    if config.statistic not in _WITHOUT_ERROR:
        setCoaddEdgeBits(coadd.mask, coadd.variance)
    noData = coadd.mask.bitmask("NO_DATA")
    for start in range(0, coadd.height, 256):
        rows = slice(start, start + 256)
        empty = (coadd.mask.array[rows] & noData) != 0
        empty &= ~(coadd.variance.array[rows] > 0)
        coadd.variance.array[rows][empty] = np.inf
        coadd.image.array[rows][empty] = np.nan
