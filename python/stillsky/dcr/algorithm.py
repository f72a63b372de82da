"""Coadds in subfilters from warps of many visits (coadds and DCR, sections 7 and 10.5)."""

import logging
import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import DomainError, NoDataError, StillskyError
from ..geom import Box2I
from ..image import Image
from . import regularize
from .band import bandOf
from .engine import DcrData, packBits, unpackBits
from .model import DcrModel
from .scheme import DcrScheme
from .solve import DcrProblem, solveConjugateGradients, solvePublished
from .warps import readVisits

__all__ = ["DcrResult", "assembleDcr"]

_LOG = logging.getLogger("stillsky.dcr")


@dataclass
class DcrResult:
    """A DCR coadd and how it came about.

    Attributes
    ----------
    models : `stillsky.dcr.DcrModel`
        Subfilters, bluest first; they add up to the band.
    dcrCoadds : `list` of `stillsky.image.Exposure`
        The same as exposures, with the template's mask and its variance over N.
    coadd : `stillsky.image.Exposure`
        Their sum; its variance is the template's (metadata ``DCRVAR``).
    nImages : `list` of `stillsky.image.Image`
        Good visits of each subfilter, uint16; 0 where some subfilter has too few.
    nImage : `stillsky.image.Image`
        Their sum.
    convergence, gains : `list` of `float`
        Metric at the start and after each iteration, and gains (conjugate gradients: step lengths).
    initialConvergence, finalConvergence : `float`
        Metric of equal subfilters, and of the result.
    metricMap : `numpy.ndarray`
        Metric of the result by tile (64 rows by 512 columns); NaN without sources.
    visitConvergence : `numpy.ndarray`
        Metric of the result by visit.
    residualRms, initialResidualRms : `numpy.ndarray`
        Root mean square residual of each visit over the pixels of sources, with the result and with the template.
    visits : `list` of `stillsky.dcr.warps.UsedVisit`
    skipped : `list` of (`str`, `str`)
        Warps left out, and why.
    solver, stopped : `str`
    nIterations : `int`
    bufferSize : `int`
        Pixels at the edges without metric: the largest shift, rounded up, and one.
    notes : `list` of `str`
        What was assumed.
    strength : `float`
        Rms of the subfilters' relative deviations from equal shares that the prior allowed; NaN without a prior.
    colours : `astropy.table.Table` or None
        Of stars, with errors; see `stillsky.dcr.colours.measureColours`. Positions are pixels of the coadd's grid and, with a
        WCS, degrees.
    """

    models: DcrModel
    dcrCoadds: list
    coadd: object
    nImages: list
    nImage: Image
    convergence: list
    gains: list
    initialConvergence: float
    finalConvergence: float
    metricMap: np.ndarray
    visitConvergence: np.ndarray
    residualRms: np.ndarray
    initialResidualRms: np.ndarray
    visits: list
    skipped: list
    solver: str
    stopped: str
    nIterations: int
    bufferSize: int
    notes: list = field(default_factory=list)
    strength: float = math.nan
    colours: object = None

    @property
    def metadata(self):
        """Numbers for logs and files."""
        return {
            "visits": [v.name for v in self.visits],
            "airmasses": [v.airmass for v in self.visits],
            "parallacticAngles": [v.parallacticAngle for v in self.visits],
            "initialConvergence": self.initialConvergence,
            "finalConvergence": self.finalConvergence,
            "convergence": list(self.convergence),
            "gains": list(self.gains),
            "nIterations": self.nIterations,
            "solver": self.solver,
            **({"priorStrength": self.strength} if math.isfinite(self.strength) else {}),
            "stopped": self.stopped,
            "bufferSize": self.bufferSize,
            "skipped": [f"{name}: {reason}" for name, reason in self.skipped],
        }


class _PlainScheme(DcrScheme):
    """The published scheme outside a task."""

    log = _LOG

    def __init__(self, config, bufferSize, prepareMask):
        self.config, self.bufferSize, self._prepareMask = config, bufferSize, prepareMask

    def _applyAlternate(self, mask, spans):
        if self._prepareMask is not None and spans is not None:
            self._prepareMask(spans, mask)


def assembleDcr(
    warps, template, config=None, *, weights=None, bbox=None, scalers=None, prepareMask=None, strict=False, psf=None,
    quiet=False, throughput=None,
):  # fmt: skip
    """Find the subfilters of a patch from warps of many visits.

    Parameters
    ----------
    warps : sequence of `stillsky.image.Exposure` or handles
        On one pixel grid, each with its visitInfo; handles have ``get(component=None, parameters={"bbox": box})``.
    template : `stillsky.image.Exposure`
        Coadd of them in the whole band, on the same grid. Planes of ``config.convergenceMaskPlanes`` in the warps' masks
        say where sources are; those of its own mask count for warps that have none.
    config : `stillsky.dcr.config.DcrConfig`, optional
        effectiveWavelength and bandwidth, or bandLimits, or a throughput, must be set.
    weights : sequence of `float`, optional
        Of the warps; default 1.
    bbox : `stillsky.geom.Box2I`, optional
        Patch; default: that of the template.
    scalers : sequence, optional
        With ``scaleMaskedImage(maskedImage)`` or None, one for each warp.
    prepareMask : callable, optional
        ``prepareMask(index, mask)`` changes the mask of a warp, of any box, in place (artifacts).
    strict : `bool`
        A warp that cannot be used is an error; otherwise it is left out and named in the result.
    psf : `stillsky.psf.Psf`, optional
        Of the subfilters; default: the template's.
    quiet : `bool`
        The caller says himself what is left out: it is not logged.
    throughput : `stillsky.meta.TransmissionCurve`, optional
        Of the band, in place of the configuration's.

    Returns
    -------
    result : `DcrResult`

    Raises
    ------
    NoDataError
        No warp can be used.
    DomainError
        The band is not known, or fewer than two subfilters.

    Notes
    -----
    Peak memory: the warps' pixels within ``config.memory``, a quarter byte a pixel and warp, and about 11 N planes of the
    patch. Threaded; the result does not depend on the number of threads, on ``config.memory``, or (but for ``compat``) on
    ``config.subregionSize``.
    """
    if config is None:
        from .config import DcrConfig

        config = DcrConfig()
    band = bandOf(config, template, throughput)
    effective, width, limits = band[:3]
    if effective is None or width is None:
        raise DomainError(
            "DCR: the band is not known", found=f"effectiveWavelength {effective}, bandwidth {width}",
            remedy="set effectiveWavelength and bandwidth, or bandLimits, in nm, or a throughput",
        )  # fmt: skip
    if bbox is not None and bbox != template.bbox:
        template = template[bbox]
    n = config.dcrNumSubfilters
    model = DcrModel.fromImage(
        template.maskedImage, n, effective, width, template.wcs, template.filter, template.psf if psf is None else psf,
        template.photoCalib, bandLimits=limits, throughput=band.throughput, model="reference" if config.compat else "default",
    )  # fmt: skip
    model.order = config.imageInterpOrder
    exact = config.solver == "conjugateGradients" and not config.compat
    visits, planes, used, skipped = readVisits(
        warps, model, config, weights=weights, prepareMask=prepareMask, scalers=scalers, strict=strict, exact=exact
    )
    for name, reason in () if quiet else skipped:
        _LOG.warning("DCR: %s is left out: %s", name, reason)
    if not visits:
        raise NoDataError(
            "DCR: no warp can be used", found="; ".join(f"{a}: {b}" for a, b in skipped) or "no warp given"
        )
    problem = _makeProblem(visits, planes, used, template, model, config)
    start, initial = _evaluate(problem, model.modelImages, config)
    if config.compat:
        solution = _solveBySubregions(problem, model, warps, used, config, template, scalers, prepareMask)
    elif config.solver == "conjugateGradients":
        solution = solveConjugateGradients(problem, config)
    else:
        solution = solvePublished(problem, config)
    for k, image in enumerate(solution.models):
        model[k] = image
    result = _finish(model, solution, problem, initial, used, skipped, template, config)
    result.notes[:0] = band.notes
    if config.measureColours:
        result.colours = _colours(problem, solution, model, used)
    return result


def _colours(problem, solution, model, used):
    """Colours of the stars; of an evenly spread spectrum 0 also where the model takes chords of the refraction."""
    from .colours import measureColours, zeroPoint

    zero = 0.0 if model.throughput is not None else zeroPoint(model, float(np.median([v.elevation for v in used])))
    table = measureColours(problem, solution.models, solution.posterior, zero)
    table["x"] += model.bbox.minX
    table["y"] += model.bbox.minY
    if model.wcs is not None:
        ra, dec = model.wcs.pixelToSky(np.asarray(table["x"]), np.asarray(table["y"]))
        table.add_column(np.degrees(ra), index=2, name="ra")
        table.add_column(np.degrees(dec), index=3, name="dec")
        table["ra"].unit = table["dec"].unit = "deg"
    return table


def _makeProblem(visits, planes, used, template, model, config):
    """Bits of the metric, and what counts as source and as background."""
    names = list(config.convergenceMaskPlanes)
    detected = template.mask.isSet(names)
    bad = template.mask.isSet(list(config.badMaskPlanes))
    bufferSize = int(math.ceil(max(record.maxShift for record in used)) + 1)
    inner = np.zeros(detected.shape, bool)
    inner[bufferSize : inner.shape[0] - bufferSize, bufferSize : inner.shape[1] - bufferSize] = True
    innerBits, own = packBits(inner), packBits(detected & inner)
    for visit, bits in zip(visits, planes, strict=True):
        visit.score = (bits & innerBits) if bits.any() else own
    if not detected.any():  # sources that only the visits' masks know
        anywhere = np.bitwise_or.reduce(planes) if planes else own
        detected = unpackBits(anywhere, detected.shape[1])
    data = DcrData(visits, detected.shape, config.imageInterpOrder, config.memory)
    image = regularize._mean(model.modelImages) * np.float32(len(model))
    return DcrProblem(data, image, detected | bad, detected, bufferSize, _psfSigma(model))


def _psfSigma(model):
    """Width of the PSF in the middle of the patch, or None."""
    if model.psf is None:
        return None
    try:
        xx, yy, _ = model.psf.computeShape(model.bbox.center)
    except StillskyError:  # a coadd without inputs there
        return None
    return math.sqrt(0.5 * (xx + yy)) if xx + yy > 0 else None


def _evaluate(problem, models, config):
    from .solve import significance

    image = significance(models, problem)
    return image, problem.data.run(models, significance=image, accumulate=False)[1]


def _solveBySubregions(problem, model, warps, used, config, template, scalers, prepareMask):
    """compat: subregions one after the other, each until it converges."""
    from .solve import DcrSolution

    class Control:
        andMask = template.mask.bitmask(list(config.badMaskPlanes), ignoreMissing=True)

    scheme = _PlainScheme(config, problem.bufferSize, prepareMask)
    chosen = [warps[record.index] for record in used]
    spans = [record.index for record in used] if prepareMask is not None else None
    ofChosen = None if scalers is None else [scalers[record.index] for record in used]
    _, dcrWeights = scheme.calculateNImage(model, model.bbox, chosen, spans, None)
    reference = Image(problem.template, model.bbox.min)
    weightList = [record.weight for record in used]
    convergence, gains = scheme.assembleSubregions(
        model,
        _boxes(model.bbox, config.subregionSize),
        chosen,
        weightList,
        reference,
        dcrWeights,
        Control,
        ofChosen,
        spans,
    )
    models = regularize.amplified(model.modelImages, config.accelerateModel)
    _, metric = _evaluate(problem, models, config)
    longest = max(range(len(gains)), key=lambda i: len(gains[i]))
    return DcrSolution(models, convergence[longest], gains[longest], metric, len(gains[longest]), "subregions", [])


def _boxes(bbox, size):
    width, height = size
    for y in range(bbox.minY, bbox.minY + bbox.height, height):
        for x in range(bbox.minX, bbox.minX + bbox.width, width):
            yield Box2I((x, y), (width, height)).clipped(bbox)


def _counts(problem, config):
    """Good visits of each subfilter, uint16."""
    data = problem.data
    blank = [np.zeros(data.shape, np.float32)] * data.numSubfilters
    counts, _ = data.run(blank, "coverage", weights=np.ones(len(data.visits)))
    good = np.logical_and.reduce([c > 1 if config.compat else c >= config.minCoverage for c in counts])
    return [np.where(good, np.clip(np.rint(c), 0, 65535), 0).astype(np.uint16) for c in counts]


def _finish(model, solution, problem, initial, used, skipped, template, config):
    scheme = _PlainScheme(config, problem.bufferSize, None)
    coadds = [scheme.modelExposure(model, k) for k in range(len(model))]
    for k, coadd in enumerate(coadds):
        coadd.metadata["SUBFILT"] = k
        _describe(coadd, template, config, model)
    total = scheme.stackCoadd(coadds)
    del total.metadata["SUBFILT"]
    counts = [Image(c, model.bbox.min) for c in _counts(problem, config)]
    sums = np.sum([c.array for c in counts], axis=0, dtype=np.int64)
    notes = list(dict.fromkeys(note for record in used for note in record.notes))
    if not problem.detected.any():
        notes.append("no pixel is in a plane of convergenceMaskPlanes: the subfilters are equal shares of the template")
    return DcrResult(
        models=model, dcrCoadds=coadds, coadd=total, nImages=counts,
        nImage=Image(np.minimum(sums, 65535).astype(np.uint16), model.bbox.min),
        convergence=solution.convergence, gains=solution.gains,
        initialConvergence=initial.value, finalConvergence=solution.metric.value,
        metricMap=solution.metric.byTile, visitConvergence=solution.metric.byVisit,
        residualRms=solution.metric.rms, initialResidualRms=initial.rms, visits=used, skipped=skipped,
        solver="published" if config.compat else config.solver, stopped=solution.stopped,
        nIterations=solution.nIterations, bufferSize=problem.bufferSize, notes=notes, strength=solution.strength,
    )  # fmt: skip


def _describe(coadd, template, config, model):
    """Cards that a reader needs to use the coadd as a template."""
    unit = template.metadata.get("BUNIT") if template.metadata is not None else None
    if unit:
        coadd.metadata["BUNIT"] = unit
    coadd.metadata["DCREFFWL"], coadd.metadata["DCRWIDTH"] = model.effectiveWavelength, model.bandwidth
    coadd.metadata["DCRNUM"] = len(model)
    if model.bandLimits:
        coadd.metadata["DCRLMIN"], coadd.metadata["DCRLMAX"] = model.bandLimits
    if model.throughput is not None:
        coadd.metadata["DCRCURVE"] = True  # the transmission curve says where the light of a subfilter is
        coadd.info.transmissionCurve = model.throughput
    coadd.metadata["DCRORDER"] = config.imageInterpOrder
    coadd.metadata["DCRVAR"] = "template variance over N: subfilters add up; blank sky has that over N"
