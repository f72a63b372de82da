"""`coadd`: a deep image of plain files, exposures or arrays, with everything that tells how good it is."""

import contextlib
import math
from dataclasses import dataclass, field

import numpy as np

from ..detection import SpanSet
from ..diffim.stars import flatImage
from ..errors import NoDataError, StillskyError
from ..stats import robustSigma
from .algorithm import assembleCoadd
from .artifact_rules import joined
from .compare_warp import findArtifacts
from .job import CoaddJob
from .job_config import STATISTICS, CoaddJobConfig
from .unjudged import judgeDirectly

__all__ = ["PlainCoadd", "PlainCoaddResult", "coadd"]

_THUMB = 160  # pixels of a picture of input minus coadd
_MAX_THUMBS = 24
_FEWEST_CLIPPED = 5  # inputs whose quartiles one outlier does not move
_MAX_LEVELS = 24  # numbers of inputs that the noise is measured for


@dataclass
class PlainCoaddResult:
    """A coadd of plain inputs.

    Attributes
    ----------
    coadd : `stillsky.image.Exposure`
        In units of the first input, with the sky of that one.
    nImage, kept : `stillsky.image.Image` (uint16)
        Good samples of each pixel, and those that its value rests on.
    table : `astropy.table.Table`
        One row per input, used or not.
    epochCount : `stillsky.image.Image` or None
        Inputs that differ from the static sky, pixel by pixel (method compare).
    artifacts : `list` of `dict`
        Per used input, mask plane to span sets that were left out (method compare).
    depth : `dict` [`str`, `numpy.ndarray`]
        Noise of the sky where N inputs contribute: n, pixels, noise, noiseRootN, expectedRootN; ``inputs`` is the noise
        of each input.
    thumbnails : `list` [(`str`, `numpy.ndarray`)]
        Input minus coadd over the noise, small.
    metadata, decisions, warnings, timings
        Figures; sentences; (code, sentence); seconds.
    """

    coadd: object
    nImage: object
    kept: object
    table: object
    epochCount: object = None
    artifacts: list = field(default_factory=list, repr=False)
    depth: dict = field(default_factory=dict, repr=False)
    thumbnails: list = field(default_factory=list, repr=False)
    metadata: dict = field(default_factory=dict)
    decisions: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    timings: dict = field(default_factory=dict)

    def writeFiles(self, prefix, compress="none", masks=False):
        """Write ``prefix.coadd.fits``, ``prefix.nimage.fits``, ``prefix.inputs.ecsv`` and with method compare
        ``prefix.artifacts.fits``, with ``masks`` also ``prefix.masks.fits``; existing ones are replaced."""
        from ..fits import writeExposure, writeImage
        from .artifact_io import writeArtifactMasks, writeArtifacts

        writeExposure(self.coadd, f"{prefix}.coadd.fits", overwrite=True, compress=compress)
        writeImage(self.nImage, f"{prefix}.nimage.fits", wcs=self.coadd.wcs, overwrite=True)
        self.table.write(f"{prefix}.inputs.ecsv", format="ascii.ecsv", overwrite=True)
        names, box, wcs = (
            [n for n, used in self.table["name", "used"].iterrows() if used],
            self.coadd.bbox,
            self.coadd.wcs,
        )
        if self.epochCount is not None:
            writeArtifacts(f"{prefix}.artifacts.fits", names, self.artifacts, self.epochCount, wcs=wcs, overwrite=True)
            if masks:
                writeArtifactMasks(f"{prefix}.masks.fits", names, self.artifacts, box, wcs=wcs, overwrite=True)

    def forSummary(self):
        """What P.json keeps besides the figures, so that the report can be made again."""
        return {"depth": self.depth}

    def __str__(self):
        figures = self.metadata
        return (
            f"coadd of {figures['inputsUsed']} of {figures['inputs']} inputs ({figures['method']}), "
            f"{self.coadd.width}x{self.coadd.height} px, noise of the sky {figures['skySigma']:.4g}"
        )


def coadd(inputs, *, method=None, reference=None, scale=None, config=None, strict=None, memory=None, work=None,
          progress=None):  # fmt: skip
    """Combine images of one field into a deep one; no files are written.

    Parameters
    ----------
    inputs : sequence
        File names, exposures (`stillsky.read`, `stillsky.exposure`) or arrays; a name may be a folder or ``@list``.
    method : {"meanclip", "mean", "median", "compare"}, optional
    reference : `str` or `stillsky.image.Exposure`, optional
        Grid of the result; if it is one of the inputs, its flux scale and sky too.
    scale : {"stars", "sky", "none"}, optional
        How inputs are brought to the first.
    config : `CoaddJobConfig`, optional
        Everything else; not changed.
    strict : `bool`, optional
        An input that cannot be used is an error; otherwise it is left out, and ``table`` says why.
    memory : `int`, optional
        Bytes for rows of images; the result does not depend on it.
    work : `str`, optional
        Folder that keeps finished warps.
    progress : callable, optional
        ``progress(iterable, desc=..., total=...)``.

    Returns
    -------
    result : `PlainCoaddResult`

    Raises
    ------
    NoDataError
        No input can be used.
    MismatchError
        The inputs do not belong together.
    """
    if isinstance(inputs, (str, bytes)):
        inputs = [inputs]
    config = configured(CoaddJobConfig, config, method=method, scale=scale)
    if strict is not None:
        config.assemble.strict = bool(strict)
    if memory is not None:
        config.assemble.memory = int(memory)
    config.validate()
    with PlainCoadd(config, reference=reference, work=work, progress=progress) as job:
        job.scan(inputs)
        return job.run()


def configured(cls, config, **fields):
    """A copy of a configuration with some fields set; None leaves them. TypeError for another class."""
    if config is not None and not isinstance(config, cls):
        raise TypeError(f"config: wanted a stillsky.{cls.__name__}, got {type(config).__name__}")
    copied = cls()
    if config is not None:
        copied.update(**{name: getattr(config, name) for name in config._fields})
    for name, value in fields.items():
        if value is not None:
            setattr(copied, name, value)
    return copied


class PlainCoadd(CoaddJob):
    """The job of `coadd`; a context manager that removes its scratch folder."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def run(self):
        """Prepare the warps, stack them, and measure what came out.

        Returns
        -------
        result : `PlainCoaddResult`
        """
        compare = self.config.method == "compare"
        self.prepare(psfMatched=compare)
        stacked, search = self.stack(self.config.method)
        with self.timed("measure coadd"):
            return self._finish(stacked, search)

    def stack(self, method):
        """The stack of the prepared warps: `CoaddResult`, and with method compare the `ArtifactSearch`, else None."""
        self.weigh()
        search = None
        if method == "compare":
            with self.timed("find artifacts"):
                search = self._findArtifacts()
        config = configuredStack(self.config.assemble, STATISTICS[method])
        bad = list(config.badMaskPlanes)
        if search is not None:
            # edges of single images are no artifacts, and the static sky has none
            bad = [p for p in bad if p != "EDGE"] + ["CLIPPED"]
            with self.timed("find artifacts"):
                self._judgeTheRest(search, config, bad)
        altMasks = self._altMasks(search)
        if config.statistic == "MEANCLIP":
            altMasks = self._planClipping(config, bad)
        with self.timed("stack"):
            stacked = assembleCoadd(
                self.warps, self.grid.bbox, self.grid.wcs, config, weights=[i.weight for i in self.used],
                scalers=self.scalers, altMaskList=altMasks, badMaskPlanes=bad, quiet=True,
            )  # fmt: skip
        self.keepOnly(stacked.warps, {k.name: k.reason for k in stacked.skipped})
        for note in stacked.notes:
            if not note.startswith("filter: "):  # W-BANDS has said so
                self.say(note)
        if search is not None:
            with self.timed("stack"):
                self._clipWhereNotJudged(stacked, search)
        return stacked, search

    def _planClipping(self, config, bad):
        """How outliers are rejected: ``config`` and ``bad`` are changed, and there may be masks of the inputs.

        Quartiles of 3 or 4 samples are moved by the outlier itself, so that of 3 nothing would be rejected and of 4 what is
        off by 50 sigma: the variances tell outliers of the median instead.
        """
        n = len(self.used)
        if not self.config.widenClip or n >= _FEWEST_CLIPPED or n < 3:
            config.sigmaClip *= clipFactor(n) if self.config.widenClip else 1.0
            self.say(f"clipping: {config.sigmaClip:g} sigma of the quartiles of a pixel")
            if 1 < n < _FEWEST_CLIPPED:
                self.warn("W-FEW", f"{n} inputs: quartiles of so few do not tell outliers, hardly any is rejected")
            return None
        with self.timed("stack"):
            median = assembleCoadd(
                self.warps, self.grid.bbox, self.grid.wcs, configuredStack(config, "MEDIAN"),
                weights=[i.weight for i in self.used], scalers=self.scalers, badMaskPlanes=bad, quiet=True, process=False,
            )  # fmt: skip
            everywhere = [SpanSet.fromBox(self.grid.bbox)] * n
            found = judgeDirectly(self.warps, self.scalers, everywhere, median.coadd, bad, [i.fwhm for i in self.used])
        for item, spans in zip(self.used, found, strict=True):
            item.maskedPixels = spans.area
        config.statistic = "MEAN"
        bad.append("CLIPPED")
        self.say(f"clipping: {n} inputs, by their variances: what is off the median by 5 sigma")
        return [{"CLIPPED": [spans]} if spans else None for spans in found]

    def _judgeTheRest(self, search, config, bad):
        """Artifacts on samples whose PSF-matched pixels were lost, against a mean of those that were judged."""
        unjudged = [
            SpanSet() if warp is None else joined(spans.get("NO_DATA", ()))
            for spans, warp in zip(search.altMasks, self.matched, strict=True)
        ]
        if not any(unjudged):
            return
        judged = assembleCoadd(
            self.warps, self.grid.bbox, self.grid.wcs, config, weights=[i.weight for i in self.used],
            scalers=self.scalers, altMaskList=search.altMasks, badMaskPlanes=bad, quiet=True, process=False,
        )  # fmt: skip
        found = judgeDirectly(self.warps, self.scalers, unjudged, judged.coadd, bad, [i.fwhm for i in self.used])
        for item, spans, altMask in zip(self.used, found, search.altMasks, strict=True):
            item.maskedPixels += spans.area
            altMask["CLIPPED"] = [*altMask["CLIPPED"], *([spans] if spans else ())]
        total = sum(spans.area for spans in found)
        if total:
            self.say(f"artifacts where PSFs could not be matched: {total} pixels of single inputs are left out")

    def _clipWhereNotJudged(self, stacked, search):
        """Where most inputs lost their PSF-matched pixels, at borders, artifacts are what a clipped mean rejects."""
        border = (2 * search.nImage.array < stacked.nImage.array) & (stacked.nImage.array > 2)
        if not border.any():
            return
        config = configuredStack(self.config.assemble, STATISTICS["meanclip"])
        config.sigmaClip *= clipFactor(len(self.used)) if self.config.widenClip else 1.0
        bad = [p for p in config.badMaskPlanes if p != "EDGE"] + ["CLIPPED"]
        clipped = assembleCoadd(
            self.warps, self.grid.bbox, self.grid.wcs, config, weights=[i.weight for i in self.used], scalers=self.scalers,
            altMaskList=stacked.altMaskList, badMaskPlanes=bad, quiet=True,
        )  # fmt: skip
        to, of = stacked.coadd.maskedImage, clipped.coadd.maskedImage
        of.mask.conformTo(to.mask.schema)
        for plane, other in ((to.image, of.image), (to.mask, of.mask), (to.variance, of.variance),
                             (stacked.nKept, clipped.nKept)):  # fmt: skip
            plane.array[border] = other.array[border]
        self.say(
            f"borders: {100 * border.mean():.2g} % of the pixels, where PSFs could not be matched, are clipped means"
        )

    def _altMasks(self, search):
        """Artifacts of every warp; None without a search.

        The border that matching PSFs costs cannot be judged, but its pixels are as good as any: they stay. An input
        that could not be matched at all is left out.
        """
        if search is None:
            return None
        return [
            spans if warp is None else {name: s for name, s in spans.items() if name != "NO_DATA"}
            for spans, warp in zip(search.altMasks, self.matched, strict=True)
        ]

    def _findArtifacts(self):
        """What single PSF-matched warps have and their clipped stack has not."""
        made = [k for k, w in enumerate(self.matched) if w is not None]
        if len(made) < 3:
            self.warn("W-FEW", f"{len(made)} PSF-matched inputs: with fewer than 3 nobody can say which one is right")
        if not made:
            raise NoDataError(
                "no input could be matched to the common PSF", found=f"{len(self.used)} inputs",
                remedy="--method meanclip needs no PSF",
            )  # fmt: skip
        weights = [self.used[k].weight for k in made]
        static = assembleCoadd(
            [self.matched[k] for k in made], self.grid.bbox, self.grid.wcs, self.config.staticSky, weights=weights,
            process=False, quiet=True,
        )  # fmt: skip
        search = findArtifacts(
            static.coadd, self.matched, self.config.artifacts, weights=[i.weight for i in self.used], kept=static.nKept,
            strict=self.strict,
        )  # fmt: skip
        for item, visit in zip(self.used, search.visits, strict=True):
            item.found, item.masked, item.maskedPixels = visit.found, visit.masked + visit.streaks, visit.maskedPixels
            if visit.note:
                self.warn("W-EPOCH", f"{item.name}: {visit.note}")
        total = sum(i.masked for i in self.used)
        self.say(f"artifacts: {total} of {sum(i.found for i in self.used)} outliers are left out")
        return search

    # ---------------------------------------------------------------- figures

    def _finish(self, stacked, search):
        out = stacked.coadd
        first = self.used[0]
        bands = {i.filter.band for i in self.used if i.filter is not None}
        if len(bands) == 1 and out.filter is None:
            out.filter = next(i.filter for i in self.used if i.filter is not None)
        if out.metadata is not None:
            if first.unit:
                out.metadata["BUNIT"] = first.unit
            out.metadata["NCOMBINE"] = len(self.used)
            out.metadata["COMBINET"] = self.config.method
        thumbnails = self._compareInputs(out)
        depth = depthCurve(out, stacked.nImage, self.used)
        self.metadata |= self._figures(stacked, depth)
        return PlainCoaddResult(
            out, stacked.nImage, stacked.nKept, self.table(), search.epochCount if search is not None else None,
            [a or {} for a in stacked.altMaskList] if search is not None else [], depth, thumbnails, dict(self.metadata),
            list(self.decisions), list(self.warnings), dict(self.timings),
        )  # fmt: skip

    def _figures(self, stacked, depth):
        used, out = self.used, stacked.coadd
        masked = sum(i.maskedPixels for i in used)  # good samples, too, until artifacts were found on them
        good, kept = float(stacked.nImage.array.sum(dtype=np.int64)), float(stacked.nKept.array.sum(dtype=np.int64))
        noise = [n for n in depth["inputs"] if np.isfinite(n) and n > 0]
        sigma = depth["skySigma"]
        times = [i.visitInfo.exposureTime for i in used if i.visitInfo is not None]
        single = float(np.median(noise)) if noise else math.nan
        best = 1.0 / math.sqrt(sum(n**-2.0 for n in noise)) if noise else math.nan
        return {
            "method": self.config.method, "inputs": len(self.inputs), "inputsUsed": len(used),
            "width": out.width, "height": out.height, "skySigma": sigma, "inputSkySigma": single,
            "noiseGain": single / sigma if sigma > 0 else math.nan, "noiseGainExpected": single / best,
            "noiseGainMethod": single / (_noiseOfMedian(noise) if self.config.method == "median" else best),
            "skyChi": depth["skyChi"], "maxInputs": int(stacked.nImage.array.max(initial=0)),
            "medianInputs": float(np.median(stacked.nImage.array)),
            "rejectedFraction": 1.0 - kept / (good + masked) if good else 0.0,
            "emptyFraction": float(np.mean(stacked.nKept.array == 0)),
            "exposureTime": float(np.nansum(times)) if times and np.isfinite(times).any() else math.nan,
            "psfFwhm": _fwhmOf(out), "artifacts": sum(i.masked for i in used),
            "artifactPixels": masked,
        }  # fmt: skip

    def _compareInputs(self, out):
        """chi and outliers of every input against the coadd on a few rows; pictures of the first inputs."""
        box, thumbnails = out.bbox, []
        step = max(1, -(-max(box.width, box.height) // _THUMB))
        for item, warp, scaler in zip(self.used, self.warps, self.scalers, strict=True):
            pictured = len(thumbnails) < _MAX_THUMBS
            chi = _againstCoadd(out, warp, scaler, self.config.assemble.badMaskPlanes, step if pictured else 4 * step,
                                len(self.used) > 1 and item.weight or 0.0)  # fmt: skip
            warp.release(warp.bbox)
            warp.close()
            finite = chi[np.isfinite(chi)]
            if finite.size > 100:
                item.chi = float(robustSigma(finite[None, :]))
                item.outliers = float(np.mean(np.abs(finite) > 5.0))
            if pictured and len(self.used) > 1:
                thumbnails.append((item.name, chi))
        return thumbnails


def clipFactor(n):
    """How much wider than for many samples clipping has to be, for it to cost at most 2 % of the depth.

    Of Gaussian noise 4 sigma of the quartiles, then of the scatter, reject 4.6 % of five samples, 1.1 % of ten, and make the
    mean 5.6 % and 2.9 % noisier (simulated); 8 sigma of five 1.3 % and 1.8 %, 5 sigma of ten 0.5 % and 1.4 %.
    """
    return {4: 1.25, 5: 2.0, 6: 1.5}.get(n, 1.25 if 7 <= n < 15 else 1.0)


def configuredStack(config, statistic):
    """The configuration of the stack with another statistic."""
    copied = type(config)()
    copied.update(**{name: getattr(config, name) for name in config._fields})
    copied.statistic = statistic
    return copied


def _againstCoadd(out, warp, scaler, badPlanes, step, share):
    """(input - coadd) / noise at every ``step``-th pixel of the coadd's box; NaN where there is nothing to compare.

    The coadd holds the input with a share w of the weight: the variance of the difference is v (1 - 2 w) + V.
    """
    from ..geom import Box2I
    from ..image import Image, MaskedImage

    box = out.bbox
    chi = np.full((-(-box.height // step), -(-box.width // step)), np.nan, np.float32)
    bad = warp.schema.bitmask([p for p in badPlanes if p in warp.schema])
    for j, y in enumerate(range(box.minY, box.maxY + 1, step)):
        row = Box2I((box.minX, y), (box.width, 1)).clipped(warp.bbox)
        if row.isEmpty:
            continue
        first = (-(row.minX - box.minX)) % step  # of this row, the first pixel that is looked at
        image, mask, variance = (np.array(np.asarray(p)[0, first::step]) for p in warp.block(row))
        part = MaskedImage(Image(image.astype(np.float32)[None]), variance=Image(variance.astype(np.float32)[None]))
        if scaler is not None:
            scaler.scaleMaskedImage(part)
        x = row.minX + first
        own = (slice(y - box.minY, y - box.minY + 1), slice(x - box.minX, row.maxX - box.minX + 1, step))
        with np.errstate(invalid="ignore", divide="ignore"):
            noise = part.variance.array * (1.0 - 2.0 * share) + out.variance.array[own]
            value = (part.image.array - out.image.array[own]) / np.sqrt(noise)
        good = ((mask.astype(np.int32) & bad) == 0)[None] & np.isfinite(value) & np.isfinite(noise) & (noise > 0)
        start = (x - box.minX) // step
        chi[j, start : start + value.shape[1]] = np.where(good, value, np.nan)[0]
    return chi


def _noiseOfMedian(noise):
    """Scatter of the median of samples of given scatter, simulated; NaN without any."""
    if not noise:
        return math.nan
    samples = np.random.default_rng(1).standard_normal((20000, len(noise))) * np.asarray(noise)
    return float(np.median(samples, axis=1).std())


def _fwhmOf(exposure):
    if exposure.psf is None:
        return math.nan
    with contextlib.suppress(StillskyError):
        return float(exposure.psf.fwhm(exposure.bbox.center))
    return math.nan


def _onSources(flat, good, fwhm):
    """Pixels near what stands out of the sky: within 1.5 FWHM of two pixels above 4 sigma."""
    from scipy.ndimage import maximum_filter, uniform_filter

    sigma = float(robustSigma(flat[good][None, :])) if good.any() else 0.0
    bright = (np.where(good, flat, 0.0) > 4.0 * sigma).astype(np.float32)
    paired = uniform_filter(bright, 3, mode="constant") > 1.5 / 9.0
    size = 2 * int(math.ceil(1.5 * (fwhm if math.isfinite(fwhm) else 4.0))) + 1
    near = maximum_filter(paired, size)
    # in a crowded field there is nowhere else to look
    return near if np.mean(near[good]) < 0.98 else np.zeros_like(near)


def depthCurve(out, nImage, inputs):
    """Noise of the sky of a coadd by the number of its inputs.

    Parameters
    ----------
    out : `stillsky.image.Exposure`
    nImage : `stillsky.image.Image`
        Good samples of each pixel.
    inputs : sequence of `CoaddInput`
        The used ones.

    Returns
    -------
    depth : `dict`
        Columns n, pixels, noise, noiseRootN, expectedRootN (from the noise of the inputs, N of them at a time); inputs:
        noise of each; skySigma, skyChi: of the whole coadd.
    """
    pixels = out.maskedImage
    flat = pixels.image.array
    with contextlib.suppress(StillskyError):
        bad = pixels.mask.bitmask(["NO_DATA", "BAD", "SAT"], ignoreMissing=True)
        flat = flatImage(pixels, bad, min(128, max(8, min(out.width, out.height) // 2)))
    noise = [i.measure.skySigma * i.match.scale * math.sqrt(i.area) for i in inputs if i.measure is not None]
    rms = math.sqrt(len(noise) / sum(n**-2.0 for n in noise)) if noise and min(noise) > 0 else math.nan
    good = np.isfinite(flat) & np.isfinite(pixels.variance.array) & (pixels.variance.array > 0)
    good &= nImage.array > 0
    good &= ~_onSources(flat, good, _fwhmOf(out))
    levels, counts = np.unique(nImage.array[good], return_counts=True)
    enough = np.flatnonzero(counts >= max(200, 1e-3 * good.sum()))
    if len(enough) > _MAX_LEVELS:
        enough = enough[np.unique(np.linspace(0, len(enough) - 1, _MAX_LEVELS).astype(int))]
    sigmas = np.array([float(robustSigma(flat[good & (nImage.array == levels[k])][None, :])) for k in enough])
    n = levels[enough].astype(float)
    chi = flat[good] / np.sqrt(pixels.variance.array[good])
    return {
        "n": n, "pixels": counts[enough], "noise": sigmas, "noiseRootN": sigmas * np.sqrt(n),
        "expectedRootN": np.full(len(n), rms), "inputs": np.array(noise),
        "skySigma": float(robustSigma(flat[good][None, :])) if good.any() else math.nan,
        "skyChi": float(robustSigma(chi[None, :])) if good.any() else math.nan,
    }  # fmt: skip
