"""Subfilters of a DCR coadd on disk, and the template that they make at the airmass of an exposure."""

import glob
import math
import os

import numpy as np

from ..errors import DomainError, FitsLayoutError, MismatchError, NotFoundError
from ..fits import readExposure
from ..image import Exposure, Image, Mask, MaskedImage
from ..meta.pointing import pointingOf
from .model import DcrModel, shiftNoiseFactor

__all__ = ["bandTemplate", "findDcrFiles", "matchedTemplateOf", "readDcrModel"]

_CARDS = ("DCRNUM", "SUBFILT", "DCREFFWL", "DCRWIDTH")


def bandTemplate(model, visitInfo):
    """The model as a visit sees it, as an exposure; without a calibration too.

    It is made with the splines of the solution. Its variance is that of blank sky: of the band, times what the shifts leave
    of white noise (`stillsky.dcr.model.shiftNoiseFactor`). In sources the prior keeps the noise at about that.
    """
    pixels = model.buildMatchedTemplate(visitInfo=visitInfo, order=model.order)
    left = shiftNoiseFactor(model.shifts(visitInfo, splitSubfilters=True), model.order)
    variance = Image(model.variance.array * np.float32(len(model) * left), model.bbox.min)
    mask = Mask(model.mask.array.copy(), model.bbox.min, model.mask.schema)
    return Exposure(
        MaskedImage(Image(pixels, model.bbox.min), mask, variance), wcs=model.wcs, psf=model.psf, filter=model.filter,
        photoCalib=model.photoCalib, visitInfo=visitInfo,
    )  # fmt: skip


def findDcrFiles(names):
    """Files of the subfilters: of a prefix P (P.dcr0.fits, ...), of one of them, or as they are named.

    Raises
    ------
    NotFoundError
        There are none.
    """
    names = [names] if isinstance(names, (str, os.PathLike)) else list(names)
    if len(names) > 1:
        return [os.fspath(n) for n in names]
    name = os.fspath(names[0])
    prefix = name
    for suffix in (".json", ".html", ".coadd.fits"):
        prefix = prefix.removesuffix(suffix)
    if ".dcr" in os.path.basename(name) and name.endswith(".fits"):
        prefix = name.rpartition(".dcr")[0]
    found = glob.glob(f"{glob.escape(prefix)}.dcr[0-9]*.fits")
    if not found:
        raise NotFoundError(
            f"no subfilters of a DCR coadd: {prefix}.dcr0.fits, ...", found=f"no such file in {os.getcwd()}",
            remedy="give the prefix of a run of stillsky dcr",
        )  # fmt: skip
    return sorted(found, key=lambda n: int("".join(c for c in n[len(prefix) + 4 : -5] if c.isdigit()) or 0))


def readDcrModel(names):
    """The model of a run of ``stillsky dcr``, from its files.

    Parameters
    ----------
    names : `str` or sequence of `str`
        Prefix, or the files of all subfilters.

    Returns
    -------
    model : `DcrModel`

    Raises
    ------
    NotFoundError, FitsLayoutError, MismatchError
        No files; files of something else; files that do not belong together.
    """
    files = findDcrFiles(names)
    exposures, cards = [], []
    for name in files:
        exposure = readExposure(name)[0]
        header = exposure.metadata
        if header is None or any(header.get(c) is None for c in _CARDS):
            raise FitsLayoutError(
                f"no subfilter of a DCR coadd: {name}", found=f"not all of the cards {', '.join(_CARDS)}"
            )
        exposures.append(exposure)
        cards.append({c: float(header[c]) for c in (*_CARDS, "DCRLMIN", "DCRLMAX") if header.get(c) is not None})
    order = sorted(range(len(files)), key=lambda k: cards[k]["SUBFILT"])
    indices = [int(cards[k]["SUBFILT"]) for k in order]
    first = {k: v for k, v in cards[order[0]].items() if k != "SUBFILT"}
    alike = all({k: v for k, v in c.items() if k != "SUBFILT"} == first for c in cards)
    if not alike or indices != list(range(int(first["DCRNUM"]))):
        raise MismatchError(
            "the files are not the subfilters of one DCR coadd", found=f"subfilters {indices} of {int(first['DCRNUM'])}",
            remedy="give the prefix of a run of stillsky dcr",
        )  # fmt: skip
    limits = (first["DCRLMIN"], first["DCRLMAX"]) if "DCRLMIN" in first else None
    return DcrModel.fromExposures(
        [exposures[k] for k in order], first["DCREFFWL"], first["DCRWIDTH"], bandLimits=limits
    )


def matchedTemplateOf(names, science):
    """A template at the airmass and direction of the zenith of a science exposure.

    Parameters
    ----------
    names : `str` or sequence of `str`
        As of `readDcrModel`.
    science : `stillsky.image.Exposure`
        With a visitInfo that tells where the zenith was.

    Returns
    -------
    template : `stillsky.image.Exposure`
        On the grid of the coadd.
    sentence : `str`
        What it is.

    Raises
    ------
    MismatchError
        Where the zenith was is not known.
    """
    model = readDcrModel(names)
    if science.visitInfo is None:
        raise MismatchError(
            "the science image does not tell where the zenith was", found="no date, place or airmass",
            remedy="a header with time, site and position, or with azimuth and altitude",
        )  # fmt: skip
    try:
        place = model.wcs.pixelToSky(*(float(v) for v in model.bbox.center)) if model.wcs is not None else (None, None)
        pointing = pointingOf(science.visitInfo, *place)
    except DomainError as error:
        raise MismatchError(
            f"the science image does not tell where the zenith was: {error}", found=error.found, remedy=error.remedy
        ) from error
    half = 0.5 * model.bandwidth
    low, high = model.bandLimits or (model.effectiveWavelength - half, model.effectiveWavelength + half)
    return bandTemplate(model, science.visitInfo), (
        f"template: {len(model)} subfilters of {low:.5g}-{high:.5g} nm at airmass {pointing.airmass:.3f}, zenith at "
        f"{math.degrees(pointing.parallacticAngle):.1f} deg"
    )
