"""Components of an exposure other than pixels: PSF, calibration, filter, polygon, summary (core data model 10.6)."""

import logging

import numpy as np

from ..errors import FitsLayoutError, StillskyError
from ..meta import FilterLabel
from ..photom import PhotoCalib
from .records import fromRecord, toRecord

__all__ = ["componentHdus", "psfFromHdu", "psfToHdu", "readComponents"]

_LOG = logging.getLogger("stillsky.fits")

_GRID = 5  # positions along each axis at which a PSF without a table form is sampled


def componentHdus(exposure):
    """Tables of all components that an exposure has (list of astropy HDUs)."""
    hdus = []
    if exposure.psf is not None:
        hdus.append(psfToHdu(exposure.psf, exposure.bbox))
    calib = exposure.photoCalib
    if calib is not None:
        if calib.isConstant:
            hdus.append(toRecord("SKY_PHOTOCALIB", "PhotoCalib", {"mean": calib.mean, "err": calib.err}))
        else:
            _LOG.warning("the calibration varies over the image; its mean %g nJy per count is written", calib.mean)
            hdus.append(toRecord("SKY_PHOTOCALIB", "PhotoCalib", {"mean": calib.mean, "err": calib.err}))
    if exposure.filter is not None:
        fields = {"band": exposure.filter.band, "physical": exposure.filter.physical}
        hdus.append(toRecord("SKY_FILTER", "FilterLabel", fields))
    if exposure.validPolygon is not None:
        vertices = np.asarray([tuple(v) for v in exposure.validPolygon.vertices], float).reshape(-1, 2)
        fields = {"x": vertices[:, 0].copy(), "y": vertices[:, 1].copy()}
        hdus.append(toRecord("SKY_POLYGON", "Polygon", fields))
    summary = getattr(exposure.info, "summaryStats", None)
    if summary:
        hdus.append(toRecord("SKY_SUMMARY", "dict", {k: float(v) for k, v in summary.items()}))
    for name in ("apCorrMap", "coaddInputs", "transmissionCurve"):
        if getattr(exposure.info, name, None) is not None:
            _LOG.warning("exposure component %s has no file form and is not written", name)
    return hdus


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
        return psfToHdu(_sampled(psf, bbox), bbox, name)
    clash = set(scalars) & set(arrays)
    if clash:
        raise FitsLayoutError(f"PSF {className}: fields {sorted(clash)} are both scalars and arrays")
    return toRecord(name, className, {**scalars, **arrays})


def _sampled(psf, bbox):
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
        Names out of psf, photoCalib, filter, validPolygon, summaryStats; all by default.

    Returns
    -------
    components : `dict`
        Name to object, for those present. Tables of other names are ignored.
    """
    found = {}
    for hdu in hdus:
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
    fields = fromRecord(hdu)[1]
    return PhotoCalib(fields["mean"], fields["err"])


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
    "SKY_FILTER": ("filter", _filter),
    "SKY_POLYGON": ("validPolygon", _polygon),
    "SKY_SUMMARY": ("summaryStats", lambda hdu: fromRecord(hdu)[1]),
}
