"""Templates from the patches of coadds: choose, merge, warp, merge, mark; the PSF from those of the patches."""

import logging
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..background import fitBackground
from ..errors import DomainError, MismatchError, NoDataError
from ..geom import Box2D, Box2I, Polygon
from ..image import CoaddInputs, Exposure, Image, MaskedImage
from ..psf import CoaddPsf, CoaddPsfComponent
from ..warp import Warper, computeDestBBox
from ..wcs import pairTransform
from .template_merge import TemplateMerger

__all__ = [
    "PatchCollector",
    "TemplateInput",
    "TemplateResult",
    "makeTemplate",
    "meanPosition",
    "markHighVariance",
    "mergePatches",
    "outlineOverlap",
    "selectInputs",
]

_log = logging.getLogger("stillsky.diffim.template")
_WARP_MARGIN = 5  # pixels of the tract beyond the outline of the science image: half a kernel and the curvature


@dataclass(frozen=True)
class TemplateInput:
    """A patch, or any exposure with a WCS, that may contribute to a template.

    Attributes
    ----------
    source : `stillsky.image.Exposure`, callable, or handle with ``get()``
        Read when it is needed, and not kept.
    wcs : `stillsky.wcs.SkyWcs`
    bbox : `stillsky.geom.Box2I`
        Known without reading pixels.
    tract, patch : `int`
        Inputs of one tract share their pixel grid and are merged before they are warped.
    """

    source: Any
    wcs: Any
    bbox: Box2I
    tract: int = 0
    patch: int = 0

    def read(self):
        """The exposure."""
        if hasattr(self.source, "image"):
            return self.source
        return self.source() if callable(self.source) else self.source.get()

    @classmethod
    def of(cls, exposure, tract=0, patch=0):
        """From an exposure in memory; DomainError when it has no WCS."""
        if exposure.wcs is None:
            raise DomainError(f"template input: tract {tract}, patch {patch} has no WCS")
        return cls(exposure, exposure.wcs, exposure.bbox, tract, patch)


@dataclass
class TemplateResult:
    """A template and how it was made.

    Attributes
    ----------
    exposure : `stillsky.image.Exposure`
    nGood : `int`
        Pixels with data.
    inputs : `stillsky.image.CoaddInputs`
        One row of ``ccds`` per input, with ``tract`` and ``patch``; no visits: the inputs are coadds.
    notes : `list` [`str`]
        What was left out or could not be done.
    """

    exposure: Exposure
    nGood: int
    inputs: CoaddInputs
    notes: list = field(default_factory=list)


# ------------------------------------------------------------------------------------------------ what overlaps


def outlineOverlap(bbox, wcs, inputBBox, inputWcs):
    """The part of a science image's outline that lies on an input, in pixels of the input.

    Parameters
    ----------
    bbox, wcs
        Box and WCS of the science image.
    inputBBox, inputWcs
        Those of the input.

    Returns
    -------
    polygon : `stillsky.geom.Polygon` or None
        None when they do not overlap.

    Notes
    -----
    The science corners are projected into the input's frame: positions far from the input's tangent point, which fail in
    the other direction, are far from the science image. An outline that the projection leaves concave is replaced by
    the box around it.
    """
    corners = np.array([tuple(c) for c in Box2D(bbox).corners])
    x, y = pairTransform(wcs, inputWcs)(corners[:, 0], corners[:, 1])
    if not np.all(np.isfinite(x) & np.isfinite(y)):
        return None
    outline = Polygon(np.column_stack([x, y]))
    if not outline.isConvex:
        outline = Polygon(outline.bbox)
    return outline.intersection(Box2D(inputBBox))


def selectInputs(inputs, bbox, wcs):
    """Inputs that overlap a science image.

    Parameters
    ----------
    inputs : iterable of `TemplateInput`
    bbox, wcs
        Of the science image, with the border that the template is to have.

    Returns
    -------
    chosen : `list` [`TemplateInput`]
    """
    return [i for i in inputs if outlineOverlap(bbox, wcs, i.bbox, i.wcs) is not None]


# ------------------------------------------------------------------------------------------------ patches of one grid


class PatchCollector:
    """Reads inputs, checks that they belong together, and keeps what the PSF and the table need.

    Attributes
    ----------
    rows : `list` [`dict`]
        One per input that was read.
    notes : `list` [`str`]
    filter, photoCalib
        Those of the first input.
    """

    def __init__(self, config):
        self.config = config
        self.rows, self.notes = [], []
        self.band = self.filter = self.photoCalib = None

    def read(self, item):
        """The pixels of an input, scaled if need be; its row is noted."""
        exposure = item.read()
        if exposure.psf is None:
            raise MismatchError(f"template: tract {item.tract}, patch {item.patch} has no PSF")
        self._checkBand(exposure, item)
        pixels = self._scaled(exposure, item)
        self.rows.append({
            "id": len(self.rows),
            "tract": item.tract,
            "patch": item.patch,
            "bbox": exposure.bbox,
            "wcs": exposure.wcs,
            "psf": exposure.psf,
            "photoCalib": exposure.photoCalib,
            "validPolygon": Polygon(exposure.bbox),
            "weight": 1.0,
        })  # fmt: skip
        return pixels

    def _checkBand(self, exposure, item):
        band = getattr(exposure.filter, "band", None)
        if not self.rows:
            self.band, self.filter, self.photoCalib = band, exposure.filter, exposure.photoCalib
        elif band != self.band:
            raise MismatchError(
                "template: the inputs are of different bands",
                found=f"{self.band}, and {band} in tract {item.tract}, patch {item.patch}",
            )

    def _scaled(self, exposure, item):
        if exposure.photoCalib == self.photoCalib:
            return exposure.maskedImage
        known = self.photoCalib is not None and exposure.photoCalib is not None
        constant = known and self.photoCalib.isConstant and exposure.photoCalib.isConstant
        if not (self.config.doScalePhotometry and constant):
            raise MismatchError(
                "template: the inputs have different photometric calibrations",
                found=f"{self.photoCalib}, and {exposure.photoCalib} in tract {item.tract}, patch {item.patch}",
                remedy="-c doScalePhotometry=True where both are constant",
            )
        pixels = exposure.maskedImage.copy()
        pixels *= exposure.photoCalib.mean / self.photoCalib.mean
        self.notes.append(f"tract {item.tract}, patch {item.patch}: scaled to the calibration of the first input")
        return pixels

    def coaddInputs(self):
        """What was read, as the exposure's record of its inputs."""
        ccds = CoaddInputs.ccdTable()
        for name in ("tract", "patch"):
            ccds[name] = np.zeros(0, np.int64)
        inputs, physical = CoaddInputs(ccds=ccds), getattr(self.filter, "physical", None) or self.band
        for row in self.rows:
            objects = {name: row[name] for name in ("wcs", "psf", "photoCalib", "validPolygon")}
            added = inputs.addCcd(row["id"], row["bbox"], weight=row["weight"], filter=physical, **objects)
            added["tract"], added["patch"] = row["tract"], row["patch"]
        return inputs

    def psf(self, wcs, position):
        """The PSF of the template at any position: the mean of those of the inputs that hold it."""
        components = [
            CoaddPsfComponent(row["psf"], row["bbox"], row["wcs"], row["weight"], row["id"],
                              validPolygon=row["validPolygon"]) for row in self.rows
        ]  # fmt: skip
        return CoaddPsf(components, wcs, self.config.coaddPsf.warpingKernelName, averagePosition=position)


def mergePatches(inputs, box, config, collector=None):
    """Merge inputs that share a pixel grid.

    Parameters
    ----------
    inputs : iterable of `TemplateInput`
        Of one tract. Each is read when its turn comes.
    box : `stillsky.geom.Box2I`
        In their pixels.
    config : `stillsky.diffim.template_config.TemplateMergeFields`

    Returns
    -------
    merged : `stillsky.image.MaskedImage`
    nGood : `int`
    """
    collector = PatchCollector(config) if collector is None else collector
    merger = TemplateMerger(box, "last" if getattr(config, "compat", False) else config.weighting)
    for item in inputs:
        merger.add(collector.read(item))
    return merger.result()


def meanPosition(maskedImage):
    """Centroid (x, y), in parent pixels, of the pixels with data; at least one must have."""
    good = ~maskedImage.mask.isSet("NO_DATA")
    rows, columns = good.sum(axis=1), good.sum(axis=0)
    x0, y0 = maskedImage.xy0
    x = float(columns @ np.arange(len(columns))) / columns.sum() + x0
    return x, float(rows @ np.arange(len(rows))) / rows.sum() + y0


# ------------------------------------------------------------------------------------------------ the template


def makeTemplate(inputs, bbox, wcs, config=None, *, filter=None, visitInfo=None):  # noqa: A002
    """A template on the pixel grid of a science image.

    Parameters
    ----------
    inputs : iterable of `TemplateInput`
        Patches of one or several tracts; those that do not overlap are left out.
    bbox : `stillsky.geom.Box2I`
        Of the science image. The template is ``templateBorderSize`` pixels larger on each side.
    wcs : `stillsky.wcs.SkyWcs`
        Of the science image.
    config : `stillsky.diffim.template_config.GetTemplateAlgorithmConfig`, optional
    filter : `str`, optional
        Physical filter of the science image; the band is that of the inputs.
    visitInfo : `stillsky.meta.VisitInfo`, optional
        That of the science image, for the template to carry.

    Returns
    -------
    result : `TemplateResult`
        Its exposure has the PSF (a `stillsky.psf.CoaddPsf` of the inputs, at every position the mean of those that hold
        it), photoCalib and band of the inputs, the WCS given, and ``coaddInputs``. Pixels without data: NO_DATA, NaN,
        variance +inf.

    Raises
    ------
    NoDataError
        No WCS, no input overlaps, or no pixel has data.
    MismatchError
        Inputs of different bands or photometric calibrations, or without a PSF.

    Notes
    -----
    Patches of a tract are merged in the tract's pixels (`TemplateMerger`), so that each science pixel is interpolated
    from a whole neighbourhood; the tracts are then warped once and merged by the same rule. Peak memory: about 12 planes
    of the science image at equal pixel size; inputs are read one at a time.
    """
    if config is None:
        from .template_config import GetTemplateAlgorithmConfig

        config = GetTemplateAlgorithmConfig()
    if wcs is None:
        raise NoDataError("template: the science image has no WCS", remedy="solve its astrometry first")
    box = bbox.dilated(config.templateBorderSize)
    chosen = selectInputs(inputs, box, wcs)
    if not chosen:
        raise NoDataError("No patches found to overlap science exposure", found=f"box {bbox}")
    collector = PatchCollector(config)
    merger, warper = TemplateMerger(box, config.weighting), Warper.fromConfig(config.warp)
    for tract in sorted({item.tract for item in chosen}):
        ofTract = [item for item in chosen if item.tract == tract]
        warped = _warpedTract(ofTract, box, wcs, config, collector, warper)
        if warped is None or not merger.add(warped):
            collector.notes.append(f"tract {tract}: no pixel with data on the science image")
    merged, nGood = merger.result()
    if not nGood:
        raise NoDataError("No patches found to overlap science exposure", found="no pixel of the template has data")
    return _finish(merged, nGood, wcs, collector, config, filter, visitInfo)


def _warpedTract(inputs, box, wcs, config, collector, warper):
    """The merged patches of one tract on the science grid; None without data."""
    tractWcs = inputs[0].wcs
    if any(item.wcs != tractWcs for item in inputs):
        raise MismatchError(f"template: patches of tract {inputs[0].tract} have different WCS")
    wanted = computeDestBBox(box, pairTransform(wcs, tractWcs), _WARP_MARGIN)
    union = inputs[0].bbox
    for item in inputs[1:]:
        union = union.including(item.bbox)
    merged, nGood = mergePatches(inputs, wanted.clipped(union), config, collector)
    return warper.warpImage(wcs, merged, tractWcs, destBBox=box) if nGood else None


def _finish(merged, nGood, wcs, collector, config, physical, visitInfo):
    template = Exposure(
        merged, wcs=wcs, photoCalib=collector.photoCalib, filter=_filterOf(collector, physical), visitInfo=visitInfo
    )
    template.psf = collector.psf(wcs, meanPosition(merged))
    inputs = collector.coaddInputs()
    template.info.coaddInputs = inputs
    if hasattr(config, "highVarianceThreshold"):
        note = markHighVariance(template, config)
        collector.notes.extend([note] if note else [])
    for note in collector.notes:
        _log.info("%s", note)
    return TemplateResult(template, nGood, inputs, collector.notes)


def _filterOf(collector, physical):
    from ..meta import FilterLabel

    if physical is None or getattr(physical, "physical", None) is not None:
        return physical if physical is not None else collector.filter
    return FilterLabel(band=collector.band, physical=str(physical))


def markHighVariance(template, config):
    """Set HIGH_VARIANCE where the smooth level of the variance plane is far above its median.

    Parameters
    ----------
    template : `stillsky.image.Exposure` or `stillsky.image.MaskedImage`
        Its mask is changed; the plane is added in any case.
    config : `stillsky.diffim.template_config.GetTemplateAlgorithmConfig`

    Returns
    -------
    note : `str` or None
        Why nothing was done.
    """
    pixels = getattr(template, "maskedImage", template)
    bit = 1 << pixels.mask.addPlane("HIGH_VARIANCE")
    ignored = pixels.mask.bitmask(list(config.varianceBackground.ignoredPixelMask), ignoreMissing=True)
    fraction = float(np.mean((pixels.mask.array & ignored) == 0))
    if fraction < config.highVarianceMaskFraction:
        return f"HIGH_VARIANCE is not set: {100 * fraction:.1f} % of the pixels are usable"
    plane = MaskedImage(Image(pixels.variance.array, pixels.xy0), pixels.mask, pixels.variance)
    try:
        model = fitBackground(plane, config.varianceBackground)
    except NoDataError as error:
        return f"HIGH_VARIANCE is not set: {error}"
    if model is None:
        return "HIGH_VARIANCE is not set: varianceBackground.algorithm is NONE"
    level = model.imageArray()
    middle = float(np.nanmedian(level))
    if not math.isfinite(middle):
        return "HIGH_VARIANCE is not set: the variance has no level"
    with np.errstate(invalid="ignore"):
        pixels.mask.array[level > config.highVarianceThreshold * middle] |= bit
    return None
