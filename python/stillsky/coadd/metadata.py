"""What a coadd says about itself: inputs, PSF, aperture corrections, filter, unit."""

import logging

import numpy as np

from ..errors import InvalidPsfError, MismatchError, StillskyError
from ..image.coadd_inputs import COADD_INPUT_OBJECTS
from ..meta import FilterLabel, TransmissionCurve
from ..photom import PhotoCalib
from ..psf import DoubleGaussianPsf, SingleGaussianPsf
from .aperture_corrections import makeCoaddApCorrMap
from .input_recorder import CoaddInputRecorder, copyValidPolygons, makeCoaddPsf, shrinkValidPolygons
from .scaling import zeroPointCalib

__all__ = ["assembleMetadata", "meanNoiseFactor", "modelPsfOf", "widestPsf"]

_LOG = logging.getLogger("stillsky.coadd")
_FWHM_PER_SIGMA = 2.354820045


def assembleMetadata(coadd, inputs, config, *, recorder=None, photoCalib=None, quiet=False):
    """Set everything but the pixels of a coadd.

    Parameters
    ----------
    coadd : `stillsky.image.Exposure`
        Changed: coaddInputs, psf, apCorrMap, filter, photoCalib, transmissionCurve, metadata.
    inputs : sequence of `PreparedWarp`
        Only components of warps are read, no pixels.
    config : `AssembleCoaddAlgorithmConfig`
    recorder : `CoaddInputRecorder`, optional
    photoCalib : `stillsky.photom.PhotoCalib`, optional
        Of the coadd; default: 1 nJy when the warps are in nJy, else that of the first warp.
    quiet : `bool`
        What was assumed is not logged.

    Returns
    -------
    notes : `list` [`str`]
        What was assumed.

    Raises
    ------
    MismatchError
        With ``config.strict``: warps of several bands. With doAttachTransmissionCurve: a warp without one.
    DomainError
        A PSF-matched warp has detectors that its direct warp lacks.
    """
    notes = []
    warps = [item.warp for item in inputs]
    _setFilter(coadd, warps, config, notes)
    _setUnit(coadd, warps, config, photoCalib)
    coadd.info.coaddInputs = recordInputs(inputs, config, recorder)
    if config.doUsePsfMatchedPolygons:
        _setPolygons(coadd.info.coaddInputs, inputs, config)
    _setPsf(coadd, warps, config, notes)
    apCorrMap = makeCoaddApCorrMap(coadd.info.coaddInputs, coadd.bbox, coadd.wcs)
    coadd.info.apCorrMap = apCorrMap if len(apCorrMap) else None
    if config.doAttachTransmissionCurve:
        coadd.info.transmissionCurve = _throughput(inputs)
    factor = meanNoiseFactor(inputs)
    if np.isfinite(factor):
        coadd.metadata.set("COADD_VARFACTOR", float(factor), "noise of large apertures over that of the variance plane")
    coadd.metadata.set("COADD_STATISTIC", config.statistic, "statistic of the inputs")
    coadd.metadata.set("COADD_NINPUTS", len(inputs), "inputs that were combined")
    for note in notes if not quiet else ():
        _LOG.log(logging.WARNING if note.startswith("filter: ") else logging.INFO, "%s", note)
    return notes


def _setFilter(coadd, warps, config, notes):
    """Band of the first warp; the physical filter is that of one instrument, not of the coadd."""
    labels = [warp.get(component="filter") for warp in warps]
    bands = [None if label is None else label.band or label.physical for label in labels]
    named = [band for band in bands if band is not None]
    if not named:
        return
    if len(set(named)) > 1:
        text = f"warps of several bands: {', '.join(sorted(set(named)))}"
        if config.strict:
            raise MismatchError(text, found=text, remedy="combine the warps of one band")
        notes.append(f"filter: {text}; the coadd is named {named[0]}")
    coadd.info.filter = FilterLabel(band=named[0])


def _setUnit(coadd, warps, config, photoCalib):
    unit = warps[0].metadata.get("BUNIT")
    if photoCalib is None and config.doScaleZeroPoint:
        photoCalib = zeroPointCalib(config.scaleZeroPoint.zeroPoint)
    if photoCalib is not None:
        coadd.info.photoCalib = photoCalib
        unit = unit if photoCalib.mean == 1.0 else None
    elif str(unit).strip() == "nJy":
        coadd.info.photoCalib = PhotoCalib(1.0)
    else:
        coadd.info.photoCalib = warps[0].get(component="photoCalib")
    if config.statistic in ("VARIANCE", "VARIANCECLIP", "MEANSQUARE") and unit:
        unit = f"{unit}**2"
    if unit:
        coadd.metadata.set("BUNIT", str(unit), "unit of the pixels")


def recordInputs(inputs, config, recorder=None):
    """Tables of visits and detectors (`stillsky.image.CoaddInputs`), sorted by id.

    Warps that know their inputs hand them on; any other warp counts as one visit with one detector, itself.
    """
    recorder = CoaddInputRecorder(config.inputRecorder) if recorder is None else recorder
    tables = recorder.makeCoaddInputs()
    visits, ccds = [], []
    for k, item in enumerate(inputs):
        if item.warp.shell.info.coaddInputs is not None:
            recorder.addVisitToCoadd(tables, item.warp.shell, item.weight)
        else:
            visit, ccd = _asOwnInput(item, k + 1, recorder.config)
            visits.append(visit)
            ccds.append(ccd)
    tables.extend(visits, ccds)
    tables.sort()
    return tables


def _asOwnInput(item, number, config):
    """Rows of visits and ccds of a warp that does not know its inputs."""
    info, dataId = item.warp.shell.info, item.warp.dataId
    visit = dataId["visit"] if "visit" in dataId else None if info.visitInfo is None else info.visitInfo.id
    visit = int(visit or info.id or number)
    label = info.filter
    values = {"id": visit, "bbox": item.box, "filter": "" if label is None else label.physical or label.band or ""}
    values |= {name: getattr(info, name) for name in COADD_INPUT_OBJECTS}
    detector = getattr(info.detector, "id", None)
    good = item.goodPixels
    ccd = {"ccd": -1 if detector is None else int(detector), "visit": visit, "goodpix": good}
    return (
        {**values, "goodpix": good if config.saveVisitGoodPix else 0, "weight": item.weight},
        {**values, **ccd, "weight": item.weight if config.saveCcdWeights else 0.0},
    )


def _setPolygons(coaddInputs, inputs, config):
    """Parts of detectors that matching to one PSF leaves: of the matched warps, or the boxes less half the kernel."""
    matched = [i.psfMatched.get(component="coaddInputs") for i in inputs if i.psfMatched is not None]
    matched = [tables for tables in matched if tables is not None]
    if matched:
        copyValidPolygons(coaddInputs, matched, _LOG)
    else:
        shrinkValidPolygons(coaddInputs, config.matchingKernelSize)


def _setPsf(coadd, warps, config, notes):
    """That of the widest warp for PSF-matched ones; else the weighted mean of those of the inputs."""
    if config.warpType == "psfMatched":
        coadd.info.psf = widestPsf(warps)
        if coadd.psf is None and config.modelPsf.defaultFwhm is not None:
            coadd.info.psf = modelPsfOf(config.modelPsf)
            notes.append(f"psf: the inputs have none; the model of FWHM {config.modelPsf.defaultFwhm:g} is taken")
    else:
        ccds = coadd.info.coaddInputs.ccds
        without = sum(row["psf"] is None for row in ccds)
        if without and without < len(ccds):
            notes.append(f"psf: {without} of {len(ccds)} inputs have none and do not count")
        if without < len(ccds):
            try:
                coadd.info.psf = makeCoaddPsf(ccds, coadd.wcs, config.coaddPsf.warpingKernelName)
            except (InvalidPsfError, StillskyError) as error:
                notes.append(f"psf: none, {error}")
    if coadd.psf is None:
        notes.append("psf: the inputs have none")


def modelPsfOf(config):
    """A Gaussian, with wings if wanted, normalised to sum 1, on a square of odd side.

    Parameters
    ----------
    config : `stillsky.coadd.interp_image_config.ModelPsfConfig`
        With a defaultFwhm.
    """
    size = 2 * max(int(config.defaultFwhm * config.sizeFactor / 2), 2) + 1
    sigma = config.defaultFwhm / _FWHM_PER_SIGMA
    if not config.addWing:
        return SingleGaussianPsf(size, size, sigma)
    return DoubleGaussianPsf(size, size, sigma, config.wingFwhmFactor * sigma, config.wingAmplitude)


def widestPsf(warps):
    """The PSF of the warp whose PSF image is the widest, of warps matched to one PSF; None if none has one."""
    best, width = None, -1
    for warp in warps:
        psf = warp.get(component="psf")
        if psf is not None and (size := psf.computeKernelImage(psf.averagePosition).width) > width:
            best, width = psf, size
    return best


def meanNoiseFactor(inputs):
    """Ratio of the noise of large apertures on the coadd to that of independent pixels.

    The covariances of inputs add with w^2, as their variances do: sum(w^2 v f)/sum(w^2 v). NaN if unknown for all.
    """
    rows = np.array([(i.weight**2 * i.meanVariance, i.noiseFactor) for i in inputs]).reshape(-1, 2)
    rows = rows[np.isfinite(rows).all(axis=1)]
    return float(np.average(rows[:, 1], weights=rows[:, 0])) if len(rows) and rows[:, 0].sum() > 0 else np.nan


def _throughput(inputs):
    """Weighted mean of the transmission curves of the warps."""
    curves = [item.warp.get(component="transmissionCurve") for item in inputs]
    missing = [item.warp.name for item, curve in zip(inputs, curves) if curve is None]
    if missing:
        raise MismatchError(
            "doAttachTransmissionCurve: warps without transmission curve", found=", ".join(missing[:5]),
            remedy="attach one to every warp, or switch doAttachTransmissionCurve off",
        )  # fmt: skip
    weights = [item.weight for item in inputs]
    if all(isinstance(curve, TransmissionCurve) for curve in curves):
        return TransmissionCurve.mean(curves, weights)
    return WeightedThroughput(curves, weights)


class WeightedThroughput:
    """Weighted mean of transmission curves of other classes: callable with wavelengths (nm), without a file form.

    Parameters
    ----------
    curves : sequence of callables
        ``curve(wavelengths)`` gives throughputs.
    weights : sequence of `float`
    """

    def __init__(self, curves, weights):
        self.curves, self.weights = tuple(curves), tuple(float(w) for w in weights)

    def __call__(self, wavelengths):
        """Throughput at wavelengths in nm."""
        return np.average([np.asarray(c(wavelengths), float) for c in self.curves], axis=0, weights=self.weights)

    def __eq__(self, other):
        if not isinstance(other, WeightedThroughput):
            return NotImplemented
        return self.curves == other.curves and self.weights == other.weights

    __hash__ = None
