"""Inputs of a coadd of plain files: what each is, what was measured on it, and what became of it."""

import math
import os
import zlib
from dataclasses import dataclass, field

import numpy as np

from ..diffim.inputs import asExposure
from ..errors import FitsLayoutError
from ..fits.files import splitExtension
from ..geom import Box2I
from ..image import Exposure
from .match_inputs import InputMatch, InputMeasure

__all__ = ["BYTES_PER_PIXEL", "CoaddInput", "inputTable"]

BYTES_PER_PIXEL = 12  # of an exposure: image, mask, variance


@dataclass
class CoaddInput:
    """One input; `load` gives its exposure.

    Attributes
    ----------
    name : `str`
        For people: file name, or number of an array.
    source : `str` or `stillsky.image.Exposure`
        FILE, FILE[EXT], or the exposure itself.
    options : `dict`
        Of `stillsky.fits.readExposure`.
    reason : `str`
        Why it is not used; empty when it is.
    unreadable : `bool`
        There is no such file, or it may not be read.
    bbox, wcs, visitInfo, filter, unit, psf
        Of the exposure; ``psf`` estimated when it brings none.
    psfSource : `str`
        Where the PSF comes from.
    measure : `InputMeasure`
    match : `InputMatch`
    pointing : `stillsky.meta.pointing.Pointing` or None
        Elevation and direction of the zenith at the middle of the coadd.
    registration : `stillsky.diffim.similarity.SimilarityFit` or None
        How it was registered by its objects; ``throughWcs``: after its WCS had brought it near.
    how : `str`
        How it came onto the grid.
    area : `float`
        Area of a pixel of the coadd over that of one of its own.
    fwhm : `float`
        Seeing in pixels of the coadd.
    ownVariance : `float`
        Clipped mean of the variance plane, in own units and pixels.
    meanVariance, weight : `float`
        On the scale of the reference; weights of all inputs add to 1.
    usable : `float`
        Fraction of the coadd's pixels where it has data that is not masked.
    chi, outliers : `float`
        Robust scatter of input minus coadd over the noise expected, and the fraction beyond 5 of them.
    found, masked, maskedPixels : `int`
        Outliers found against the static sky, those taken for artifacts, and their pixels (method compare).
    nVisits : `int`
        Images that it was made of: more than 1 of a coadd.
    digest : `tuple`
        Size and checksum of its pixels: two images with one have the same photons.
    kept : `stillsky.image.Exposure` or None
        What `load` gave, of small images: they are wanted again.
    """

    name: str
    source: object
    options: dict = field(default_factory=dict)
    reason: str = ""
    unreadable: bool = False
    bbox: Box2I | None = None
    wcs: object = None
    visitInfo: object = None
    filter: object = None
    unit: str = ""
    psf: object = field(default=None, repr=False)
    psfSource: str = ""
    measure: InputMeasure | None = field(default=None, repr=False)
    match: InputMatch = InputMatch()
    pointing: object = None
    registration: object = None
    throughWcs: bool = False
    how: str = ""
    area: float = 1.0
    fwhm: float = math.nan
    ownVariance: float = math.nan
    meanVariance: float = math.nan
    weight: float = math.nan
    usable: float = math.nan
    chi: float = math.nan
    outliers: float = math.nan
    found: int = 0
    masked: int = 0
    maskedPixels: int = 0
    provenance: list = field(default_factory=list)
    nVisits: int = 1
    digest: tuple = ()
    kept: Exposure | None = field(default=None, repr=False)

    @property
    def used(self):
        """Whether it is part of the coadd."""
        return not self.reason

    @property
    def path(self):
        """Absolute path, or None of an exposure."""
        return os.path.abspath(splitExtension(self.source)[0]) if isinstance(self.source, (str, os.PathLike)) else None

    def load(self):
        """The exposure, with the PSF that was estimated.

        Raises
        ------
        OSError, StillskyError
            The file cannot be read; messages name it.
        """
        if self.kept is not None:
            exposure = self.kept
        elif self.path is None:
            exposure = asExposure(self.source, self.name)
        else:
            from ..fits import readExposure

            if os.path.isdir(splitExtension(self.source)[0]):
                raise FitsLayoutError(f"a folder, not an image: {self.source}")
            exposure, self.provenance = readExposure(self.source, **self.options)
        if exposure.psf is None and self.psf is not None:
            exposure = Exposure(exposure.maskedImage, exposure.info, psf=self.psf)
        return exposure

    def describe(self, exposure):
        """Note what the exposure says about itself."""
        self.bbox, self.wcs, self.visitInfo, self.filter = (
            exposure.bbox, exposure.wcs, exposure.visitInfo, exposure.filter,
        )  # fmt: skip
        header = exposure.metadata
        self.unit = str((header.get("BUNIT") if header else None) or "").strip()
        record = exposure.info.coaddInputs
        self.nVisits = 1 if record is None else len(record.visits)
        pixels = np.ascontiguousarray(exposure.image.array)
        self.digest = (pixels.dtype.str, pixels.shape, zlib.crc32(pixels))


def _degrees(value):
    return math.degrees(value) if math.isfinite(value) else math.nan


def _airmass(item):
    if item.pointing is not None:
        return item.pointing.airmass
    return item.visitInfo.boresightAirmass if item.visitInfo is not None else math.nan


# Column -> (value of an input, unit, description).
def _columns():
    def visit(get):
        return lambda i: get(i.visitInfo) if i.visitInfo is not None else math.nan

    def measured(name):
        return lambda i: getattr(i.measure, name) if i.measure is not None else math.nan

    return {
        "name": (lambda i: i.name, None, "file"),
        "used": (lambda i: i.used, None, "part of the coadd"),
        "reason": (lambda i: i.reason, None, "why it is not"),
        "mjd": (
            visit(lambda v: v.date.mjd if v.date is not None else math.nan),
            "d",
            "middle of the exposure, MJD TAI",
        ),
        "band": (lambda i: (i.filter.band or "") if i.filter is not None else "", None, "filter"),
        "exposureTime": (visit(lambda v: v.exposureTime), "s", "exposure time"),
        "airmass": (_airmass, None, "airmass"),
        "parallacticAngle": (
            lambda i: _degrees(i.pointing.parallacticAngle) if i.pointing else math.nan,
            "deg",
            "position angle of the zenith",
        ),
        "fwhm": (lambda i: i.fwhm, "pix", "FWHM of the PSF, pixels of the coadd"),
        "sky": (measured("sky"), None, "level of the sky, own units per own pixel"),
        "skySigma": (measured("skySigma"), None, "scatter of the sky, own units"),
        "scale": (lambda i: i.match.scale, None, "factor to the flux scale of the first"),
        "scaleErr": (lambda i: i.match.scaleErr, None, "its error"),
        "scaleStars": (lambda i: i.match.nStars, None, "stars that gave it"),
        "scaleSource": (lambda i: i.match.source, None, "where the factor comes from"),
        "offset": (lambda i: float(i.match.offset), None, "added after scaling, units of the coadd"),
        "grid": (lambda i: i.how, None, "how it came onto the grid of the coadd"),
        "weight": (lambda i: i.weight, None, "share of the weight"),
        "usable": (lambda i: i.usable, None, "fraction of the coadd that it covers with good pixels"),
        "chi": (lambda i: i.chi, None, "scatter of input minus coadd over its expectation"),
        "outliers": (lambda i: i.outliers, None, "fraction of pixels beyond 5 of these"),
        "artifactsFound": (lambda i: i.found, None, "outliers against the static sky (compare)"),
        "artifacts": (lambda i: i.masked, None, "of these, taken for artifacts and left out"),
        "artifactPixels": (lambda i: i.maskedPixels, "pix", "their pixels"),
        "path": (lambda i: i.path or "", None, "full name"),
    }


def inputTable(inputs):
    """The inputs as an `astropy.table.Table`, one row each, used or not."""
    from astropy.table import Column, Table

    table = Table()
    for name, (value, unit, description) in _columns().items():
        values = [value(i) for i in inputs]
        values = np.array(values) if values else np.zeros(0)
        table.add_column(Column(values, name, unit=unit, description=description))
    return table
