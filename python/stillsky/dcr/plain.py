"""`dcr`: the subfilters of a band from plain visits, and templates at any airmass from their files."""

import math
from dataclasses import dataclass, field

import numpy as np

from ..coadd.match_inputs import InputMatch
from ..coadd.plain import PlainCoadd, PlainCoaddResult, configured
from ..detection import detectSources
from ..errors import DomainError, MismatchError, NoDataError, StillskyError
from ..meta import TransmissionCurve
from .algorithm import assembleDcr
from .band import bandOf
from .files import bandTemplate
from .job_config import DcrJobConfig
from .refraction import MAX_WAVELENGTH, MIN_ELEVATION, MIN_WAVELENGTH

__all__ = ["PlainDcr", "PlainDcrResult", "dcr"]

_OTHER_AIRMASS = 0.05  # relative


@dataclass
class PlainDcrResult(PlainCoaddResult):
    """A DCR coadd of plain visits.

    Attributes
    ----------
    model : `DcrModel`
        The subfilters, bluest first; they add up to the band.
    dcrCoadds : `list` of `stillsky.image.Exposure`
        The same with mask, variance, PSF.
    convergence, gains : `list` of `float`
        Misfit on sources at the start and after each iteration; gains of the iterations.
    colours : `astropy.table.Table` or None
        Colours of the stars with their errors, where the configuration has ``dcr.measureColours``.
    """

    model: object = None
    dcrCoadds: list = field(default_factory=list, repr=False)
    convergence: list = field(default_factory=list)
    gains: list = field(default_factory=list)
    colours: object = field(default=None, repr=False)

    def writeFiles(self, prefix, compress="none"):
        """Write ``prefix.coadd.fits``, ``prefix.dcr0.fits`` ..., ``prefix.nimage.fits``, ``prefix.inputs.ecsv``, and with the
        colours of stars ``prefix.colours.ecsv``."""
        from ..fits import writeExposure

        super().writeFiles(prefix, compress)
        for k, exposure in enumerate(self.dcrCoadds):
            writeExposure(exposure, f"{prefix}.dcr{k}.fits", overwrite=True, compress=compress)
        if self.colours is not None:
            self.colours.write(f"{prefix}.colours.ecsv", format="ascii.ecsv", overwrite=True)

    def template(self, visitInfo):
        """The band as a visit sees it: `stillsky.image.Exposure` on the grid of the coadd."""
        return bandTemplate(self.model, visitInfo)

    def forSummary(self):
        """What P.json keeps besides the figures."""
        return {**super().forSummary(), "convergence": list(self.convergence), "gains": list(self.gains)}

    def __str__(self):
        figures = self.metadata
        return (
            f"DCR coadd of {figures['inputsUsed']} visits, {len(self.dcrCoadds)} subfilters of "
            f"{figures['bandBlue']:.5g}-{figures['bandRed']:.5g} nm, airmass {figures['airmassMin']:.2f} to "
            f"{figures['airmassMax']:.2f}, misfit {figures['initialConvergence']:.3g} to {figures['finalConvergence']:.3g}"
        )


def dcr(inputs, *, bandLimits=None, subfilters=None, throughput=None, reference=None, scale=None, config=None, strict=None, memory=None,
        work=None, progress=None):  # fmt: skip
    """Model a field within a band by colour, from visits at several airmasses; no files are written.

    Parameters
    ----------
    inputs : sequence
        File names or exposures; each must tell time and place, or where the zenith was.
    bandLimits : (`float`, `float`)
        Blue and red edge of the band, nm. Needed unless the configuration has it, or a throughput is given.
    subfilters : `int`, optional
        3 by default.
    throughput : `str`, `stillsky.meta.TransmissionCurve` or (array_like, array_like), optional
        Of the band: the file of a table, or wavelengths (nm) and transmission.
    reference, scale, strict, memory, work, progress
        As of `stillsky.coadd.plain.coadd`.
    config : `DcrJobConfig`, optional
        Everything else; not changed.

    Returns
    -------
    result : `PlainDcrResult`
        ``result.template(visitInfo)`` is a template for `stillsky.subtract`.

    Raises
    ------
    NoDataError
        Fewer than two visits can be used.
    DomainError
        The band is not known.
    """
    if isinstance(inputs, (str, bytes)):
        inputs = [inputs]
    config = configured(DcrJobConfig, config)
    for owner, name, value in (
        (config.dcr, "throughput", throughput if isinstance(throughput, str) else None),
        (config.dcr, "bandLimits", None if bandLimits is None else [float(v) for v in bandLimits]),
        (config.dcr, "dcrNumSubfilters", subfilters), (config.inputs, "scale", scale),
        (config.inputs.assemble, "strict", strict), (config.inputs.assemble, "memory", memory),
    ):  # fmt: skip
        if value is not None:
            setattr(owner, name, value)
    config.validate()
    with PlainDcr(
        config,
        throughput=None if isinstance(throughput, str) else throughput,
        reference=reference,
        work=work,
        progress=progress,
    ) as job:
        job.scan(inputs)
        return job.run()


class PlainDcr(PlainCoadd):
    """The job of `dcr`.

    Parameters
    ----------
    config : `DcrJobConfig`
    throughput : `stillsky.meta.TransmissionCurve` or (array_like, array_like), optional
        Of the band, in place of the configuration's.
    **options
        Of `stillsky.coadd.job.CoaddJob`.
    """

    def __init__(self, config, *, throughput=None, **options):
        super().__init__(config.inputs, **options)
        self.dcrConfig = config
        if throughput is not None and not isinstance(throughput, TransmissionCurve):
            throughput = TransmissionCurve(*throughput)
        self.band = bandOf(config.dcr, None, throughput)
        if None in self.band[:2]:
            raise DomainError(
                "the limits of the band are not known", found="neither bandLimits nor effectiveWavelength and bandwidth",
                remedy="--band-limits 402.8,549.8nm, or --throughput FILE",
            )  # fmt: skip

        low, high = self.band.edges
        if not MIN_WAVELENGTH <= low < high <= MAX_WAVELENGTH:
            raise DomainError(
                f"the refraction of the air is known from {MIN_WAVELENGTH} to {MAX_WAVELENGTH} nm",
                found=f"a band of {low:g} to {high:g} nm", remedy="--band-limits in nm, e.g. 402.8,549.8nm",
            )  # fmt: skip

    def _mixedBands(self, bands):
        raise MismatchError(
            "the visits are of several bands", found=", ".join(map(self._firstOf, bands)),
            remedy="a DCR coadd is of one band: name visits of one filter",
        )  # fmt: skip

    def _firstOf(self, band):
        """The band and the first image of it."""
        return f"{band} ({next(i.name for i in self.inputs if i.filter is not None and i.filter.band == band)})"

    def _withoutPointing(self, item, error):
        remedy = getattr(error, "remedy", None)
        self._skip(item, MismatchError(f"{item.name}: where the zenith was is not known: {error}", remedy=remedy))

    def _sayContradicted(self, contradicted):
        """W-ZENITH says it, of all visits at once."""

    def _point(self):
        super()._point()
        for item in list(self.used):
            degrees = math.degrees(item.pointing.elevation)
            if item.pointing.elevation < MIN_ELEVATION:
                self._skip(item, MismatchError(
                    f"{item.name}: it looks {degrees:.1f} degrees above the horizon: refraction is known from "
                    f"{math.degrees(MIN_ELEVATION):.0f} degrees",
                    found=f"{degrees:.1f} degrees", remedy="leave the image out, or drop --strict, which does that",
                ))  # fmt: skip

    def _matchAll(self):
        """As for any coadd, but without the sky: a level has no colour that refraction could tell."""
        super()._matchAll()
        if self.config.scale == "none":
            return
        first = self.used[self._referenceIndex()]
        level = first.measure.sky * first.area
        for item in self.used:
            match = item.match
            item.match = InputMatch(match.scale, match.scaleErr, match.offset - level, match.nStars, match.source)
        self.say("sky: subtracted from all visits")

    def run(self):
        """Prepare the visits, stack them, solve for the subfilters.

        Returns
        -------
        result : `PlainDcrResult`
        """
        matched = self._wantsMatching()
        self.metadata["psfMatched"] = matched
        self.prepare(psfMatched=matched)
        if matched:
            self._useMatched()
        if len(self.used) < 2:
            raise NoDataError(
                "fewer than two visits can be used", found=f"{len(self.used)} of {len(self.inputs)}",
                remedy="one visit has one view of the colours: name visits at several airmasses",
            )  # fmt: skip
        self._sayCoverage()
        stacked, _ = self.stack("meanclip" if self.config.method == "compare" else self.config.method)
        self._detect(stacked.coadd)
        with self.timed("solve"):
            solved = self._solve(stacked)
        with self.timed("measure coadd"):
            return self._finishDcr(stacked, solved)

    def _wantsMatching(self):
        """Whether the visits are matched to one PSF."""
        wanted = self.dcrConfig.psfMatch
        if wanted != "auto":
            return wanted == "yes"
        widths = [i.measure.fwhm / math.sqrt(i.area) for i in self.used if np.isfinite(i.measure.fwhm)]
        widths = [float(i.psf.fwhm(i.bbox.center)) for i in self.used if i.psf is not None] or widths
        if len(widths) < 2:
            return False
        ratio = max(widths) / min(widths)
        wanted = ratio > self.dcrConfig.maxSeeingRatio and all(i.psf is not None for i in self.used)
        words = "matched to one PSF" if wanted else "taken as they are"
        self.say(f"seeing: widest over narrowest {ratio:.2f}; visits are {words}")
        return wanted

    def _useMatched(self):
        """The PSF-matched warps in place of the others."""
        for item, warp in zip(list(self.used), self.matched, strict=True):
            if warp is None:
                self._skip(item, StillskyError(f"{item.name}: it could not be matched to the common PSF"))
        self.warps = [w for w in self.matched if w is not None]
        self.scalers, self.matched = [None] * len(self.warps), []

    def _sayCoverage(self):
        airmass = np.array([i.pointing.airmass for i in self.used])
        angle = np.array([i.pointing.parallacticAngle for i in self.used])
        self.metadata |= {"airmassMin": float(airmass.min()), "airmassMax": float(airmass.max())}
        distance = np.sqrt(np.maximum(airmass**2 - 1.0, 0.0))  # tangent of the zenith distance: refraction goes with it
        reach = distance[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        spread = round(float(np.sqrt(np.sum(np.var(reach, axis=0)))), 6)
        self.metadata["dispersionSpread"] = spread
        self.say(f"airmass {airmass.min():.3f} to {airmass.max():.3f}; spread of the dispersion {spread:.2f} (tan z)")
        stale = [i.name for i in self.used if _disagrees(i.pointing.airmass, i.visitInfo)]
        if stale:
            self.warn("W-ZENITH", f"{len(stale)} of {len(self.used)} visits have an airmass in the header that is not that of "
                      f"their time and place ({stale[0]}): the direction of the zenith may be wrong")  # fmt: skip
        if spread < 0.1:
            self.warn("W-AIRMASS", "all visits see the same dispersion: colours can hardly be told apart")

    def _detect(self, coadd):
        detectSources(coadd, threshold=self.dcrConfig.detectionThreshold, sigma=None if coadd.psf is not None else 2.0)
        n = float(np.mean(coadd.mask.isSet("DETECTED")))
        self.say(f"sources: {100 * n:.1f} % of the pixels, where the subfilters may differ")
        if n == 0:
            self.warn("W-NOSOURCES", "no source is detected: all subfilters are alike")

    def _solve(self, stacked):
        """`DcrResult` of the prepared warps; what could not be used is left out of the inputs."""
        config = self.dcrConfig.dcr
        solved = assembleDcr(
            self.warps, stacked.coadd, config, weights=[1.0 / i.meanVariance for i in self.used], scalers=self.scalers,
            strict=self.strict, quiet=True, throughput=self.band.throughput,
        )  # fmt: skip
        reasons = dict(solved.skipped)
        self.keepOnly([self.warps[v.index] for v in solved.visits], reasons)
        # those of places and weather are said as the inputs are read, for all of them at once
        for note in [*self.band.notes, *solved.notes]:
            if note.partition(":")[0] not in {sentence.partition(":")[0] for sentence in self.decisions}:
                self.say(note)
        self.say(f"solved: {solved.solver}, {solved.nIterations} iterations, stopped: {solved.stopped}")
        if np.isfinite(solved.strength):
            self.say(f"prior: colours of faint sources {solved.strength:.2g} rms, as the visits make most probable")
        if solved.colours is not None:
            self.say(f"colours: of {len(solved.colours)} stars, {solved.colours.meta['colourRms']:.2g} rms")
        return solved

    def _finishDcr(self, stacked, solved):
        coadd = stacked.coadd
        detected = coadd.mask.isSet("DETECTED") & np.isfinite(coadd.image.array)
        strength = (
            float(np.sqrt(np.mean(coadd.image.array[detected].astype(float) ** 2))) if detected.any() else math.nan
        )
        plain = self._finish(stacked, None)
        table = plain.table
        for name, rms, words in (
            ("residualBefore", solved.initialResidualRms, "plain coadd"), ("residualAfter", solved.residualRms, "DCR template"),
        ):  # fmt: skip
            column = np.full(len(table), np.nan)
            noise = np.array([i.meanVariance for i in self.used]) * _noiseOfSources(coadd, detected)
            squares = (np.asarray(rms, float) ** 2 - noise) / strength**2  # of noise alone they scatter about zero
            column[np.array(table["used"])] = np.sqrt(np.maximum(squares, 0.0))
            table[name] = column
            table[name].description = f"rms residual of sources after the {words}, noise taken off, over their rms"
            known = squares[np.isfinite(squares)]
            self.metadata[name] = math.sqrt(max(known.mean(), 0.0)) if known.size else math.nan
        low, high = self.band.edges
        self.metadata |= {
            "subfilters": len(solved.dcrCoadds), "bandBlue": low, "bandRed": high,
            "effectiveWavelength": float(self.band.effective), "throughput": self.band.throughput is not None, "solver": solved.solver,
            "initialConvergence": float(solved.initialConvergence), "finalConvergence": float(solved.finalConvergence),
            "iterations": int(solved.nIterations), "bufferSize": int(solved.bufferSize),
            "priorStrength": float(solved.strength) if np.isfinite(solved.strength) else None,
        }  # fmt: skip
        solved.coadd.mask.array[:] = coadd.mask.array
        return PlainDcrResult(
            solved.coadd, plain.nImage, plain.kept, table, None, [], plain.depth, plain.thumbnails, dict(self.metadata),
            list(self.decisions), list(self.warnings), dict(self.timings), solved.models, list(solved.dcrCoadds),
            [float(c) for c in solved.convergence], [float(g) for g in solved.gains],
            solved.colours,
        )  # fmt: skip


def _disagrees(airmass, info):
    """Whether a header has quite another airmass."""
    stored = getattr(info, "boresightAirmass", math.nan)
    return stored > 0 and abs(math.log(airmass / stored)) > _OTHER_AIRMASS


def _noiseOfSources(coadd, detected):
    """Mean variance where sources are over that of all pixels: their light has noise, too."""
    variance = np.where(np.isfinite(coadd.variance.array), coadd.variance.array, np.nan)
    there = variance[detected & np.isfinite(variance)]
    everywhere = float(np.nanmean(variance)) if np.isfinite(variance).any() else 0.0
    return float(there.mean(dtype=float)) / everywhere if there.size and everywhere > 0 else 1.0
