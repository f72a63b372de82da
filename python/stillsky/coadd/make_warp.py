"""Warps: the detectors of one visit on the pixel grid of a patch, as they are and with a common PSF."""

import logging
from dataclasses import dataclass, field

import numpy as np

from ..errors import InvalidPsfError, MismatchError, NoDataError, NumericalError
from ..image import Exposure, MaskedImage
from ..psf import DoubleGaussianPsf, WarpedPsf
from ..psfmatch.model_algorithm import matchToModel
from ..warp import Warper
from ..wcs import pairTransform
from .input_recorder import CoaddInputRecorder, makeCoaddPsf, shrinkValidPolygons

__all__ = ["WarpResult", "makeWarp", "modelPsfOfFwhm"]

_LOG = logging.getLogger(__name__)
_FWHM_PER_SIGMA = 2.354820045
_BESIDE = "no pixel of it lies in the patch"  # regions on the sky are a little larger: nothing to warn of


@dataclass
class WarpResult:
    """What `makeWarp` made.

    Attributes
    ----------
    direct : `stillsky.image.Exposure`
        Resampled, nJy; its PSF is a `CoaddPsf` of the detectors, which its CoaddInputs list.
    psfMatched : `stillsky.image.Exposure` or None
        The same with the model PSF; None when none was asked for, or no detector could be matched.
    goodPixels : `list` [`int`]
        Pixels that each detector gave.
    notes : `list` [`str`]
        What was left out, and why.
    """

    direct: Exposure
    psfMatched: Exposure | None
    goodPixels: list = field(default_factory=list)
    notes: list = field(default_factory=list)


def modelPsfOfFwhm(fwhm):
    """The PSF that warps are matched to: two Gaussians, the second of which is the wing that stars have."""
    size = 2 * int(np.ceil(3.0 * fwhm)) + 1
    sigma = 0.95 * fwhm / _FWHM_PER_SIGMA
    return DoubleGaussianPsf(size, size, sigma, 2.5 * sigma, 0.1)


def makeWarp(exposures, bbox, wcs, visit, config, *, ids=None, recorder=None, log=None):
    """Resample the detectors of one visit onto a patch.

    Parameters
    ----------
    exposures : iterable of `stillsky.image.Exposure`
        With WCS, PSF and calibration; taken one at a time, so that a generator keeps one in memory. Not changed.
    bbox, wcs : `stillsky.geom.Box2I`, `stillsky.wcs.SkyWcs`
        Of the patch (its outer box) and its tract.
    visit : `int`
    config : `MakeWarpAlgorithmConfig`
    ids : sequence of `int`, optional
        Identifiers of the detector exposures; 0, 1, ... by default.
    recorder : `CoaddInputRecorder`, optional
    log : `logging.Logger`, optional

    Returns
    -------
    result : `WarpResult`

    Raises
    ------
    NoDataError
        No detector has a pixel with data in the patch.
    MismatchError
        An exposure has no calibration (unless ``requireCalibration`` is off), or the detectors differ in filter.

    Notes
    -----
    Where detectors overlap the first one counts. Pixels without data: NaN, infinite variance, NO_DATA. Memory: the warps, one
    exposure, and its part of the patch.
    """
    log = log or _LOG
    warper = Warper.fromConfig(config.warp)
    model = modelPsfOfFwhm(config.modelPsfFwhm) if config.makePsfMatched else None
    direct, matched = _empty(bbox, wcs), _empty(bbox, wcs) if model is not None else None
    recorder = recorder or CoaddInputRecorder()
    record, matchedRecord = (recorder.makeCoaddTempExpRecorder(visit) for _ in range(2))
    result = WarpResult(direct, matched)
    first, kernelSize = None, 0
    for number, exposure in enumerate(exposures):
        piece, problem = _piece(exposure, bbox, wcs, warper, config)
        if piece is None:
            log.info("visit %s, detector %s: %s", visit, _nameOf(exposure, number), problem)
            if problem != _BESIDE:
                result.notes.append(f"detector {_nameOf(exposure, number)}: {problem}")
            result.goodPixels.append(0)
            continue
        _sameFilter(first, exposure)
        first = exposure if first is None else first
        count = _fill(direct, piece)
        result.goodPixels.append(count)
        ccd = number if ids is None else ids[number]
        record.addCalExp(exposure, ccd, count)
        if model is not None:
            try:
                part, kernel = matchToModel(piece, model, config.modelPsfMatch)
                matchedRecord.addCalExp(exposure, ccd, _fill(matched, part))
                kernelSize = max(kernelSize, kernel.width)
            except (InvalidPsfError, NumericalError) as error:
                result.notes.append(f"detector {_nameOf(exposure, number)}: not matched to the model PSF: {error}")
    if first is None:
        raise NoDataError(
            f"visit {visit}: no detector has data in the patch", found="; ".join(result.notes) or "no detectors"
        )
    _finish(direct, first, record)
    ccds = direct.info.coaddInputs.ccds.copy()
    ccds["weight"] = 1.0  # detectors of one visit count alike; a coadd gives them the weight of the visit
    direct.psf = makeCoaddPsf(ccds, wcs)
    if kernelSize:
        _finish(matched, first, matchedRecord)
        shrinkValidPolygons(matched.info.coaddInputs, kernelSize)  # the matching takes half a kernel at every edge
        matched.psf = model
    else:
        result.psfMatched = None
    for note in result.notes:
        log.warning("visit %s: %s", visit, note)
    return result


def _empty(bbox, wcs):
    """All pixels without data."""
    masked = MaskedImage.zeros(bbox)
    masked.image.array[...] = np.nan
    masked.variance.array[...] = np.inf
    masked.mask.array[...] = masked.mask.bitmask(["NO_DATA"])
    return Exposure(masked, wcs=wcs)


def _piece(exposure, bbox, wcs, warper, config):
    """The part of a detector that lies in the patch, calibrated and resampled; or None and the reason."""
    if exposure.wcs is None or exposure.psf is None:
        return None, "it has no WCS" if exposure.wcs is None else "it has no PSF"
    if exposure.photoCalib is None and config.requireCalibration:
        raise MismatchError(
            "a detector has no photometric calibration", remedy="requireCalibration=False takes counts as nJy"
        )
    calibrated = exposure
    if exposure.photoCalib is not None:
        calibrated = Exposure(exposure.photoCalib.calibrateImage(exposure.maskedImage), exposure.info)
    piece = warper.warpExposure(wcs, calibrated, maxBBox=bbox)
    if piece.bbox.isEmpty or not np.isfinite(piece.image.array).any():
        return None, _BESIDE
    return Exposure(piece.maskedImage, wcs=wcs, psf=WarpedPsf(exposure.psf, pairTransform(exposure.wcs, wcs))), None


def _fill(warp, piece):
    """Give pixels of a piece to the warp where that has none yet; their number."""
    part = warp.maskedImage[piece.bbox]
    noData = part.mask.bitmask(["NO_DATA"])
    planes = piece.mask
    if dict(planes.schema.items()) != dict(part.mask.schema.items()):
        planes = planes.copy()
        planes.conformTo(part.mask.schema)
    free = (part.mask.array & noData != 0) & np.isfinite(piece.image.array) & ~piece.mask.isSet(["NO_DATA"])
    part.image.array[free] = piece.image.array[free]
    part.variance.array[free] = piece.variance.array[free]
    part.mask.array[free] = planes.array[free]
    return int(np.count_nonzero(free))


def _sameFilter(first, exposure):
    a, b = (None if one is None or one.filter is None else one.filter.band for one in (first, exposure))
    if a is not None and b is not None and a != b:
        raise MismatchError(f"detectors of one visit have bands {a} and {b}")


def _finish(warp, first, record):
    from ..photom import PhotoCalib

    warp.filter, warp.info.visitInfo = first.filter, first.info.visitInfo
    warp.photoCalib = PhotoCalib(1.0)
    warp.metadata["BUNIT"] = "nJy"
    record.finish(warp)


def _nameOf(exposure, number):
    detector = exposure.info.detector
    return getattr(detector, "name", None) or getattr(detector, "id", None) or number
