"""What is done to template and science image before their PSFs are matched: checks, masks, coverage, widths, depths."""

import logging
import math

import numpy as np

from ..errors import DomainError, MismatchError, NoDataError, StillskyError
from ..image import Exposure, MaskedImage
from ..photom.photo_calib import AB_ZERO_FLUX_NJY
from ..psfmatch.registration import isRegistered
from .direction import fitKernelToPsfs, forecastDirection
from .inputs import medianVariance

__all__ = [
    "InsufficientCoverageError",
    "applyExternalCalibration",
    "checkPair",
    "checkTemplateIsSufficient",
    "chooseTemplateConvolved",
    "combinedLimit",
    "fiveSigmaMagnitude",
    "limitingMagnitude",
    "ownPlanes",
    "updateMasks",
]

_log = logging.getLogger("stillsky.diffim")
_DETECTIONS = ("DETECTED", "DETECTED_NEGATIVE")
_PREFER_TEMPLATE = 1.005  # the science image is convolved only when that wins by more
_EQUAL_RADII = 0.05  # radii that differ by less count as equal


class InsufficientCoverageError(NoDataError):
    """The template covers too little of the science image."""


def checkPair(template, science, assumeCalibrated=False):
    """Raise unless two exposures can be subtracted.

    Raises
    ------
    MismatchError
        The template does not reach over the whole science image; different pixel grids (more than 0.001 pixels at the
        corners) or bands.
    DomainError
        An exposure without PSF, or without photometric calibration unless ``assumeCalibrated``.
    NoDataError
        No finite pixel in the science image.
    """
    if not template.bbox.contains(science.bbox):
        raise MismatchError(
            "template: wanted one that reaches over the whole science image",
            found=f"template {template.bbox}, science {science.bbox}",
        )
    if not isRegistered(template[science.bbox], science):
        raise MismatchError("template: wanted the pixel grid of the science image, its WCS is another one")
    bands = [getattr(exposure.filter, "band", None) for exposure in (template, science)]
    if None not in bands and bands[0] != bands[1]:
        raise MismatchError(f"template: wanted the band of the science image, {bands[1]}, got {bands[0]}")
    for exposure, name in ((science, "science"), (template, "template")):
        if exposure.psf is None:
            raise DomainError(f"{name}: wanted an exposure with a PSF")
        if exposure.photoCalib is None and not assumeCalibrated:
            raise DomainError(
                f"{name}: wanted an exposure with a PhotoCalib", found="none",
                remedy="set assumeCalibrated to go on without",
            )  # fmt: skip
    if not np.isfinite(science.image.array).any():
        raise NoDataError("science: no pixel has a finite value", found="every pixel is NaN or infinite")


def ownPlanes(exposure, variance):
    """An exposure whose mask, info and, if asked for, variance plane are its own; the image is shared.

    Pixels without a finite value are masked as NO_DATA.
    """
    pixels = exposure.maskedImage
    mask = pixels.mask.copy()
    broken = ~np.isfinite(pixels.image.array)
    if broken.any():
        mask.array[broken] |= 1 << mask.addPlane("NO_DATA")
    return Exposure(
        MaskedImage(pixels.image, mask, pixels.variance.copy() if variance else pixels.variance), exposure.info
    )


def applyExternalCalibration(exposure, visitSummary, log=_log, *, together=False):
    """PSF and aperture corrections of a detector from the summary of its visit.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        Its components change in place.
    visitSummary : `astropy.table.Table` with the columns id, psf, apCorrMap, or mapping of ids to records
        None: nothing happens. A detector that it lacks, or a component that is None, leaves what the exposure has, with
        a warning.
    together : `bool`
        Keep both components where one of them is None.

    Raises
    ------
    DomainError
        The exposure does not know its detector.
    """
    if visitSummary is None:
        return
    detector = getattr(exposure.detector, "id", None)
    if detector is None:
        raise DomainError("science: external calibrations need an exposure that knows its detector")
    row = _summaryRow(visitSummary, detector)
    if row is None:
        log.warning("Detector %s is not in the visit summary: PSF and aperture corrections are kept", detector)
        return
    found = {n: row[n] if hasattr(row, "__getitem__") else getattr(row, n) for n in ("psf", "apCorrMap")}
    missing = [name for name, value in found.items() if value is None]
    for name in missing:
        kept = "PSF and aperture corrections are kept" if together else "the exposure keeps its own"
        log.warning("Detector %s has no %s in the visit summary: %s", detector, name, kept)
    if not (missing and together):
        for name in found.keys() - set(missing):
            setattr(exposure, name, found[name])


def _summaryRow(visitSummary, detector):
    if hasattr(visitSummary, "colnames"):
        found = np.flatnonzero(np.asarray(visitSummary["id"]) == detector)
        return visitSummary[int(found[0])] if len(found) else None
    return visitSummary.get(detector)


def coveredFraction(*exposures):
    """Pixels without NO_DATA whose value and variance are finite, in every one of exposures of one box, over all pixels."""
    good = np.ones(exposures[0].image.array.shape, bool)
    for exposure in exposures:
        good &= ~exposure.mask.isSet("NO_DATA")
        good &= np.isfinite(exposure.image.array)
        good &= np.isfinite(exposure.variance.array)
    return float(np.count_nonzero(good) / good.size)


def checkTemplateIsSufficient(template, science, requiredTemplateFraction=0.0, message="", log=_log):
    """Fraction of the science image that both images cover.

    Parameters
    ----------
    template, science : `stillsky.image.Exposure`
        The template may be larger.
    requiredTemplateFraction : `float`
    message : `str`
        Ends the error's message.

    Returns
    -------
    fraction : `float`
        Pixels without NO_DATA in either image whose value and variance are finite in both, over all pixels.

    Raises
    ------
    InsufficientCoverageError
        The fraction is smaller than required.
    """
    fraction = coveredFraction(template[science.bbox], science)
    log.info("The template covers %d pixels, %.1f percent", round(fraction * science.bbox.area), 100 * fraction)
    if fraction < requiredTemplateFraction:
        raise InsufficientCoverageError(
            f"Insufficient template coverage: {100 * fraction:.1f} % < {100 * requiredTemplateFraction:.1f} % required"
            f" (0 turns the test off). {message}".rstrip()
        )
    return fraction


def updateMasks(template, science, preserveTemplateMask, renameTemplateMask):
    """Leave in both masks what the difference may show, and give both the same planes.

    Parameters
    ----------
    template, science : `stillsky.image.Mask`
        Change in place. Of the science mask the detections are cleared and FAKE is copied to INJECTED. Of the template
        FAKE becomes INJECTED_TEMPLATE, planes to be renamed become NAME_TEMPLATE, and all others are dropped that are
        not to be preserved.
    preserveTemplateMask, renameTemplateMask : sequence of `str`
        Names that the template lacks are ignored.
    """
    for plane in _DETECTIONS:
        if plane in science.schema:
            science.clearPlane(plane)
    if "FAKE" in science.schema:
        science.array[science.isSet("FAKE")] |= 1 << science.addPlane("INJECTED")
    renamed = {}
    if "FAKE" in template.schema:
        renamed["INJECTED_TEMPLATE"] = template.isSet("FAKE")
    for plane in renameTemplateMask:
        if plane in template.schema:
            renamed.setdefault(f"{plane}_TEMPLATE", template.isSet(plane))
    # planes are dropped before the renamed ones are written: one that the template brings along counts for nothing
    for plane in [name for name in template.schema if name not in preserveTemplateMask]:
        template.removePlane(plane, clear=True)
    for plane, isSet in renamed.items():
        template.array[isSet] |= 1 << template.addPlane(plane)
    for plane in ("NO_DATA", "EDGE"):
        science.addPlane(plane)
    template.conformTo(science.schema)
    science.schema = template.schema


def limitingMagnitude(exposure, fwhm, nSigma=5.0):
    """Magnitude of nSigma times the noise of a PSF's area, for unit noise per pixel: a figure of Rubin's pipelines.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
    fwhm : `float`
        Pixels; stands in where the PSF cannot be evaluated.
    nSigma : `float`

    Returns
    -------
    magnitude : `float`
        AB; NaN without a photometric calibration. See `fiveSigmaMagnitude` for one that knows the noise.
    """
    if exposure.photoCalib is None or not exposure.photoCalib.mean > 0:
        return math.nan
    try:
        xx, yy, _ = exposure.psf.computeShape(exposure.psf.averagePosition)
        area = math.pi * math.sqrt(xx * yy)
    except (StillskyError, ValueError, ArithmeticError):
        area = math.pi * (fwhm / 2) ** 2
    if not area > 0:
        return math.nan
    return exposure.photoCalib.zeroPoint - 2.5 * math.log10(nSigma * math.sqrt(area))


def combinedLimit(science, template):
    """Magnitude of the quadrature sum of two limiting fluxes; without that of the template, that of the science image."""
    if math.isnan(template):
        return science
    flux = math.hypot(*(AB_ZERO_FLUX_NJY * 10 ** (-0.4 * magnitude) for magnitude in (science, template)))
    return -2.5 * math.log10(flux / AB_ZERO_FLUX_NJY) if flux > 0 else math.nan


def fiveSigmaMagnitude(difference):
    """Magnitude of a point source at five sigma in a difference of white noise: its PSF and variance say it all.

    Parameters
    ----------
    difference : `stillsky.image.Exposure`

    Returns
    -------
    magnitude : `float`
        AB, at the typical (median) variance; NaN without PSF, calibration or positive variance.
    """
    variance = medianVariance(difference)
    if difference.psf is None or difference.photoCalib is None or not (variance > 0 and difference.photoCalib.mean > 0):
        return math.nan
    stamp = difference.psf.computeKernelImage().array
    area = 1.0 / float(np.sum(stamp**2))
    return difference.photoCalib.zeroPoint - 2.5 * math.log10(5.0 * math.sqrt(variance * area))


def chooseTemplateConvolved(template, science, widths, rule, makeBasis):
    """Whether the template is to be convolved, and what that was decided upon.

    Parameters
    ----------
    template, science : `stillsky.image.Exposure`
        On one grid.
    widths : (`float`, `float`)
        FWHM of template and science image in pixels.
    rule : {"forecast", "radius", "reference"}
        See ``autoRule`` of `stillsky.diffim.alard_lupton_config.AlardLuptonSubtractFields`.
    makeBasis : callable
        (FWHM of the convolved image, FWHM of the other) -> list of basis functions.

    Returns
    -------
    templateConvolved : `bool`
    why : `dict`
        Numbers for the metadata; empty where a PSF cannot be evaluated and the widths decide.
    """
    try:
        if rule == "reference":
            return _byAxes(template, science), {}
        if rule == "radius":
            return _byRadius(template, science)
        return _byForecast(template, science, widths, makeBasis)
    except (StillskyError, ValueError, ArithmeticError) as error:
        _log.info("The PSFs do not decide which image is convolved (%s): their widths do", error)
        return widths[0] <= widths[1], {}


def _byAxes(template, science):
    t, s = (exposure.psf.computeShape(exposure.psf.averagePosition) for exposure in (template, science))
    return bool(t[0] <= s[0] or t[1] <= s[1])


def _byRadius(template, science):
    t, s = (exposure.psf.determinantRadius(exposure.psf.averagePosition) for exposure in (template, science))
    return bool(t <= s * (1 + _EQUAL_RADII)), {"templateRadius": float(t), "scienceRadius": float(s)}


def _byForecast(template, science, widths, makeBasis):
    """The smaller flux error; see `stillsky.diffim.direction`."""
    pair = (template, science)
    stamps = [e.psf.computeKernelImage(e.psf.averagePosition).array for e in pair]
    noise = [medianVariance(e) for e in pair]
    calibs = [1.0 if e.photoCalib is None else e.photoCalib.mean for e in pair]
    errors = {}
    for name, c, r in (("template", 0, 1), ("science", 1, 0)):
        basis = np.array([function.imageAt(0.0, 0.0) for function in makeBasis(widths[c], widths[r])])
        kernel = fitKernelToPsfs(basis, stamps[c], stamps[r]) * (calibs[c] / calibs[r])
        errors[name] = forecastDirection(kernel, stamps[r], noise[c], noise[r], scienceConvolved=c == 1).fluxError
    why = {f"{name}ConvolvedFluxError": float(error) for name, error in errors.items()}
    return bool(errors["template"] <= _PREFER_TEMPLATE * errors["science"]), why
