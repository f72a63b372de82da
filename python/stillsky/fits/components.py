"""Components of an exposure other than pixels: PSF, calibration, filter, polygon, summary (core data model 10.6)."""

import logging

import numpy as np

from ..errors import DomainError, FitsLayoutError, StillskyError
from ..image import CoaddInputs
from ..meta import Detector, FilterLabel, TransmissionCurve
from ..photom import ApCorrMap, ChebyshevBoundedField, PhotoCalib
from .records import fromRecord, toRecord

__all__ = [
    "apCorrFields",
    "apCorrMapOf",
    "componentHdus",
    "photoCalibFields",
    "photoCalibOf",
    "psfFromHdu",
    "psfToHdu",
    "readComponents",
    "sampledPsf",
]

_LOG = logging.getLogger("stillsky.fits")

_FIELD_ORDER = 8  # of the polynomial that stands for a field of another class
_GRID = 5  # positions along each axis at which a PSF without a table form is sampled


def componentHdus(exposure):
    """Tables of all components that an exposure has (list of astropy HDUs)."""
    hdus = []
    if exposure.psf is not None:
        hdus.append(psfToHdu(exposure.psf, exposure.bbox))
    calib = exposure.photoCalib
    if calib is not None:
        hdus.append(_photoCalibHdu(calib, exposure.bbox))
    from .coadd_inputs import coaddInputsHdus  # which writes components of its own

    formless = set()
    if isinstance(exposure.info.coaddInputs, CoaddInputs):
        hdus += coaddInputsHdus(exposure.info.coaddInputs)
    else:
        formless.add("coaddInputs")
    if exposure.info.apCorrMap and all(hasattr(field, "evaluate") for field in exposure.info.apCorrMap.values()):
        fields = apCorrFields(exposure.info.apCorrMap, exposure.bbox)
        hdus += [toRecord("SKY_APCORR", "ApCorrMap", fields)] if fields else []
    elif exposure.info.apCorrMap:
        formless.add("apCorrMap")
    if exposure.filter is not None:
        fields = {"band": exposure.filter.band, "physical": exposure.filter.physical}
        hdus.append(toRecord("SKY_FILTER", "FilterLabel", fields))
    if exposure.validPolygon is not None:
        vertices = np.asarray([tuple(v) for v in exposure.validPolygon.vertices], float).reshape(-1, 2)
        fields = {"x": vertices[:, 0].copy(), "y": vertices[:, 1].copy()}
        hdus.append(toRecord("SKY_POLYGON", "Polygon", fields))
    curve = exposure.info.transmissionCurve
    if isinstance(curve, TransmissionCurve):
        hdus.append(toRecord("SKY_TRANSMISSION", "TransmissionCurve", transmissionFields(curve)))
    elif curve is not None:
        formless.add("transmissionCurve")
    detector = exposure.detector
    if hasattr(detector, "persist"):
        hdus.append(toRecord("SKY_DETECTOR", "Detector", detector.persist()))
    elif detector is not None:
        formless.add("detector")
    summary = getattr(exposure.info, "summaryStats", None)
    if summary:
        hdus.append(toRecord("SKY_SUMMARY", "dict", {k: float(v) for k, v in summary.items()}))
    for name in sorted(formless):
        if getattr(exposure.info, name, None) is not None:
            _LOG.warning("exposure component %s has no file form and is not written", name)
    return hdus


def transmissionFields(curve):
    """Wavelengths in nm and throughputs."""
    return {"wavelength": np.array(curve.wavelengths), "throughput": np.array(curve.throughput)}


def transmissionOf(fields):
    """Inverse of `transmissionFields`."""
    return TransmissionCurve(fields["wavelength"], fields["throughput"])


def _photoCalibHdu(calib, bbox):
    """Version 2, which older programs refuse, for a calibration that varies."""
    return toRecord("SKY_PHOTOCALIB", "PhotoCalib", photoCalibFields(calib, bbox), version=1 if calib.isConstant else 2)


def photoCalibFields(calib, bbox):
    """Mean and error; of a calibration that varies also the field, a polynomial over ``bbox``."""
    fields = {"mean": calib.mean, "err": calib.err}
    return fields if calib.isConstant else {**fields, **_asChebyshev(calib.field, bbox).persist()}


def apCorrFields(apCorrMap, bbox):
    """All fields in one row: boxes (n, 4) and coefficients one after the other, with their shapes (n, 2).

    Fields that hold nowhere in the image are left out, with a warning; empty if none is left.
    """
    found = {}
    for name, field in apCorrMap.items():
        try:
            found[name] = _asChebyshev(field, bbox).persist()
        except DomainError as error:
            _LOG.warning("aperture correction %s is not written: %s", name, error)
    if not found:
        return {}
    fields = found.values()
    return {
        "names": "\n".join(found),
        "boxes": np.array([field["box"] for field in fields]),
        "shapes": np.array([field["coefficients"].shape for field in fields]),
        "coefficients": np.concatenate([field["coefficients"].ravel() for field in fields]),
    }


def _asChebyshev(field, bbox):
    """The field itself, or for one of another class its best polynomial over the image; the deviation is told."""
    if isinstance(field, ChebyshevBoundedField):
        return field
    order = min(_FIELD_ORDER, max(min(bbox.width, bbox.height) - 1, 0))
    x, y = (
        v.ravel()
        for v in np.meshgrid(
            np.linspace(bbox.minX, bbox.maxX, min(4 * order + 1, bbox.width)),
            np.linspace(bbox.minY, bbox.maxY, min(4 * order + 1, bbox.height)),
        )
    )
    if hasattr(field, "withDefault"):  # a field that does not hold everywhere: only where it does
        field = field.withDefault(np.nan)
    values = np.asarray(field.evaluate(x, y), float)
    known = np.isfinite(values)
    x, y, values = x[known], y[known], values[known]
    fitted = ChebyshevBoundedField.fit(bbox, x, y, values, orderX=order, triangular=False)
    deviation = np.abs(fitted.evaluate(x, y) - values).max() / np.abs(values).max()
    say = _LOG.warning if deviation > 1e-6 else _LOG.info
    say("a field of class %s is written as a polynomial; largest deviation %.1e", type(field).__name__, deviation)
    return fitted


def psfToHdu(psf, bbox=None, name="SKY_PSF"):
    """Table of a PSF.

    Parameters
    ----------
    psf : `Psf`
        Its ``persist()`` gives (class name, scalars, arrays). One that has no form as data is sampled at 5 x 5
        positions over ``bbox``.
    bbox : `Box2I`, optional
        Image the PSF belongs to.
    name : `str`
        EXTNAME.
    """
    try:
        className, scalars, arrays = psf.persist()
    except StillskyError as error:
        _LOG.info("PSF %s is written as images at a grid of positions: %s", type(psf).__name__, error)
        return psfToHdu(sampledPsf(psf, bbox), bbox, name)
    clash = set(scalars) & set(arrays)
    if clash:
        raise FitsLayoutError(f"PSF {className}: fields {sorted(clash)} are both scalars and arrays")
    return toRecord(name, className, {**scalars, **arrays})


def sampledPsf(psf, bbox):
    """`ImageGridPsf` of a PSF without a table form: its images at 5 x 5 positions of a box."""
    from ..psf import ImageGridPsf

    if bbox is None or bbox.area == 0:
        raise FitsLayoutError(f"PSF {type(psf).__name__}: has no table form and no image to sample it over")
    xs = np.linspace(bbox.minX, bbox.maxX, _GRID if bbox.width > 1 else 1)
    ys = np.linspace(bbox.minY, bbox.maxY, _GRID if bbox.height > 1 else 1)
    images = [[np.asarray(psf.computeKernelImage((x, y)).array) for x in xs] for y in ys]
    height, width = (max(i.shape[axis] for row in images for i in row) for axis in (0, 1))
    stamps = np.zeros((len(ys), len(xs), height, width))
    for j, row in enumerate(images):
        for i, image in enumerate(row):
            top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
            stamps[j, i, top : top + image.shape[0], left : left + image.shape[1]] = image
    return ImageGridPsf(stamps, xs, ys)


def psfFromHdu(hdu):
    """PSF of a table written by `psfToHdu`."""
    from ..psf import Psf

    className, fields = fromRecord(hdu)
    scalars = {k: v for k, v in fields.items() if not isinstance(v, np.ndarray)}
    arrays = {k: v for k, v in fields.items() if isinstance(v, np.ndarray)}
    return Psf.restore(className, scalars, arrays)


def readComponents(hdus, wanted=None):
    """Components in the SKY_ tables of an open file.

    Parameters
    ----------
    hdus : `astropy.io.fits.HDUList`
    wanted : container of `str`, optional
        Names out of psf, photoCalib, apCorrMap, coaddInputs, filter, validPolygon, transmissionCurve, detector,
        summaryStats; all by default.

    Returns
    -------
    components : `dict`
        Name to object, for those present. Tables of other names are ignored.
    """
    from .coadd_inputs import COADD_INPUT_TABLES, readCoaddInputs

    found = {}
    if wanted is None or "coaddInputs" in wanted:
        inputs = readCoaddInputs(hdus)
        if inputs is not None:
            found["coaddInputs"] = inputs
    for hdu in hdus:
        if hdu.name in COADD_INPUT_TABLES:
            continue
        entry = _READERS.get(hdu.name)
        if entry is None:
            if hdu.name.startswith("SKY_"):
                _LOG.debug("extension %s is not known and ignored", hdu.name)
            continue
        name, read = entry
        if wanted is None or name in wanted:
            found[name] = read(hdu)
    return found


def _photoCalib(hdu):
    return photoCalibOf(fromRecord(hdu, maxVersion=2)[1])


def photoCalibOf(fields):
    """Inverse of `photoCalibFields`."""
    field = ChebyshevBoundedField.restore(fields) if "coefficients" in fields else None
    return PhotoCalib(fields["mean"], fields["err"], field)


def apCorrMapOf(fields):
    """Inverse of `apCorrFields`; None is an empty map."""
    out, start = ApCorrMap(), 0
    if fields is None:
        return out
    for name, box, shape in zip(fields["names"].split("\n"), fields["boxes"], fields["shapes"], strict=True):
        part = slice(start, start + int(np.prod(shape)))
        out[name] = ChebyshevBoundedField.restore(
            {"box": box, "coefficients": fields["coefficients"][part].reshape(tuple(shape))}
        )
        start = part.stop
    return out


def _filter(hdu):
    fields = fromRecord(hdu)[1]
    return FilterLabel(fields.get("band"), fields.get("physical"))


def _polygon(hdu):
    from ..geom import Polygon

    fields = fromRecord(hdu)[1]
    return Polygon(np.column_stack([fields["x"], fields["y"]]))


_READERS = {
    "SKY_PSF": ("psf", psfFromHdu),
    "SKY_PHOTOCALIB": ("photoCalib", _photoCalib),
    "SKY_APCORR": ("apCorrMap", lambda hdu: apCorrMapOf(fromRecord(hdu)[1])),
    "SKY_FILTER": ("filter", _filter),
    "SKY_POLYGON": ("validPolygon", _polygon),
    "SKY_DETECTOR": ("detector", lambda hdu: Detector.restore(fromRecord(hdu)[1])),
    "SKY_TRANSMISSION": ("transmissionCurve", lambda hdu: transmissionOf(fromRecord(hdu)[1])),
    "SKY_SUMMARY": ("summaryStats", lambda hdu: fromRecord(hdu)[1]),
}
