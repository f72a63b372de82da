"""The whole job on plain files: measure each input, choose a grid, warp, match, stack, say what was decided."""

import contextlib
import hashlib
import logging
import math
import os
import shutil
import tempfile
import time
import weakref
from contextlib import contextmanager

import numpy as np

from ..diffim.empirical_psf import empiricalPsf
from ..diffim.inputs import wholePixels
from ..errors import DomainError, InvalidPsfError, MismatchError, NoDataError, NumericalError, StillskyError
from ..fits import writeExposure
from ..fits.file_lists import findFiles
from ..fits.files import splitExtension
from ..image import Exposure
from ..meta import Observatory
from ..meta.pointing import CONTRADICTED, completeVisitInfo, pointingOf
from ..psf import WarpedPsf
from ..psfmatch.model_algorithm import matchToModel
from ..stats import clippedStats
from ..warp import Warper
from ..wcs import pairTransform
from .common_grid import Grid, commonGrid, describedAs, onSameGrid, toGrid
from .inputs import prepareInputs
from .job_inputs import CoaddInput, inputTable
from .make_warp import modelPsfOfFwhm
from .match_inputs import InputScaler, matchInputs, measureInput
from .registration import Registrar, movedPsf, moveInput, noteRegistration
from .warps import InMemoryWarp, WarpHandle

__all__ = ["CoaddJob"]

_log = logging.getLogger(__name__)
_BYTES_PER_PIXEL = 12
_WORST_SEEING = 1.8  # times the median: matching everything to it costs more than it brings


class CoaddJob:
    """One run over inputs; the steps are ``scan``, ``prepare`` and what a subclass or `stillsky.coadd.coadd` makes of it.

    Parameters
    ----------
    config : `CoaddJobConfig`
    reference : `str` or `stillsky.image.Exposure`, optional
        Whose grid is that of the coadd. If it is one of the inputs, its flux scale and sky are too.
    ext : optional
        Extension of files that name none.
    readOptions : `dict`, optional
        Of `stillsky.fits.readExposure`, for all files.
    work : `str`, optional
        Folder that keeps finished warps: a run that was broken off goes on from them. Without it they lie in a scratch
        folder that goes with the job.
    say, warn : callable
        Take a sentence; a code and a sentence.
    progress : callable, optional
        ``progress(iterable, desc=..., total=...)``.
    quietly : callable, optional
        Context manager in which files are read: what the reader warns of is said once for all files.

    Attributes
    ----------
    inputs : `list` of `CoaddInput`
    grid : `Grid`
    warps, matched : `list`
        Handles of the used inputs, in order, on the grid; ``matched`` PSF-matched, empty unless asked for.
    scalers : `list` of `InputScaler`
        What still has to be done to each warp.
    decisions, warnings, metadata, timings
    """

    def __init__(self, config, *, reference=None, ext=None, readOptions=None, work=None, say=None, warn=None,
                 progress=None, quietly=None):  # fmt: skip
        self.config, self.reference, self.ext = config, reference, ext
        self.readOptions = dict(readOptions or {})
        self.work = work
        self.progress = progress or (lambda iterable, desc="", total=None: iterable)
        self.inputs, self.grid, self.warps, self.matched, self.scalers = [], None, [], [], []
        self.decisions, self.warnings, self.metadata, self.timings = [], [], {}, {}
        self._say, self._warn = say or _log.info, warn or (lambda code, text: _log.warning("%s: %s", code, text))
        self._scratch, self._unit = None, None
        self._quietly = quietly or contextlib.nullcontext
        self._warper = Warper.fromConfig(config.warp)

    # ---------------------------------------------------------------- saying

    def say(self, sentence):
        """Note and say a decision."""
        self.decisions.append(sentence)
        self._say(sentence)

    def warn(self, code, sentence):
        """Note and say a warning."""
        if (code, sentence) not in self.warnings:
            self.warnings.append((code, sentence))
            self._warn(code, sentence)

    @contextmanager
    def timed(self, name):
        """Add the wall time of a step."""
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start

    @property
    def strict(self):
        """Whether an input that cannot be used is fatal."""
        return self.config.assemble.strict

    @property
    def used(self):
        """Inputs that are part of the coadd."""
        return [i for i in self.inputs if i.used]

    def _skip(self, item, error):
        """Leave an input out, or raise the error when that is not wanted."""
        if self.strict:
            if item.name not in str(error):
                error.args = (f"{item.name}: {error}",)
            raise error
        reason = " ".join(str(error).split()) or type(error).__name__
        item.reason = reason.removeprefix(f"{item.name}: ")
        self.warn("W-SKIPPED", f"left out: {item.name}: {item.reason}")

    # ---------------------------------------------------------------- scanning

    def scan(self, sources):
        """Read and measure every input once; what cannot be used is left out, or an error with ``strict``.

        Parameters
        ----------
        sources : sequence
            Names as of `stillsky.fits.file_lists.findFiles`, exposures, or arrays.

        Raises
        ------
        OSError, FitsLayoutError
            An input cannot be read, with ``strict``.
        NoDataError
            Nothing is left.
        """
        self.inputs = self._collect(sources)
        if not self.inputs:
            raise NoDataError("no inputs", found="an empty list", remedy="name FITS files, a folder of them, or @LIST")
        with self.timed("read and measure"):
            for item in self.progress(self.inputs, desc="measure", total=len(self.inputs)):
                try:
                    self._measure(item)
                except (OSError, StillskyError, ValueError) as error:
                    self._skip(item, error)
        if not self.used:
            first = self.inputs[0]
            raise NoDataError(
                "no input can be used" if len(self.inputs) > 1 else f"the only input cannot be used: {first.reason}",
                found=f"{len(self.inputs)} inputs; the first, {first.name}: {first.reason}",
                remedy="stillsky info FILE shows what is understood of a file",
            )
        self._compare()

    def _collect(self, sources):
        """Inputs of names, exposures and arrays, in order."""
        items = []
        for k, source in enumerate(sources):
            if isinstance(source, (str, os.PathLike)):
                for name, _ in findFiles([source], missing="keep"):
                    options = dict(self.readOptions)
                    if self.ext is not None and splitExtension(name)[1] is None:
                        options["ext"] = self.ext
                    items.append(CoaddInput(os.path.basename(name), name, options))
            else:
                items.append(CoaddInput(f"input {k + 1}", source))
        seen, unique = set(), []
        for item in items:
            key = (item.path, splitExtension(item.source)[1]) if item.path else id(item.source)
            if key in seen:
                self.warn("W-TWICE", f"named twice, taken once: {item.name}")
                continue
            seen.add(key)
            unique.append(item)
        return unique

    def _measure(self, item):
        with self._quietly():
            exposure = item.load()
        item.describe(exposure)
        good = np.isfinite(exposure.variance.array) & (exposure.variance.array > 0)
        good &= (exposure.mask.array & exposure.mask.bitmask(["NO_DATA", "BAD"], ignoreMissing=True)) == 0
        good &= np.isfinite(exposure.image.array)
        if not good.any():
            raise NoDataError(f"{item.name}: no usable pixel: every one is NaN, masked, or without a positive variance")
        bad = exposure.mask.bitmask(list(self.config.assemble.badMaskPlanes), ignoreMissing=True)
        step = max(1, int(math.sqrt(exposure.bbox.area / 1e6)))
        item.ownVariance = float(clippedStats(exposure.variance.array, exposure.mask.array, bad, 3.0, 2, step)[1])
        stars = self.config.scale != "none" or (self.config.doEstimatePsf and exposure.psf is None)
        stars |= self.config.register == "always" or exposure.wcs is None
        item.measure = measureInput(exposure, self.config.stars, self.config.backgroundBinSize, stars)
        if exposure.psf is not None:
            item.psf, item.psfSource = exposure.psf, "file"
        elif self.config.doEstimatePsf and item.measure.objects is not None:
            try:
                item.psf, item.psfSource = empiricalPsf(exposure, item.measure.objects, self.config.psf)
            except StillskyError as error:
                item.psfSource = f"none: {error}"
        item.measure.objects = None

    def _compare(self):
        """Say what the inputs are, and what does not go together."""
        used = self.used
        units = sorted({i.unit for i in used if i.unit})
        if len(units) > 1:
            if self.config.scale != "stars":
                raise MismatchError(
                    "the inputs have different units", found=", ".join(units) + " (BUNIT)",
                    remedy="--scale stars, which makes units meaningless, or calibrate all alike",
                )  # fmt: skip
            self._unit = used[0].unit or units[0]
            self.warn("W-UNITS", f"inputs have different units ({', '.join(units)}): the coadd is in {self._unit}")
        bands = sorted({i.filter.band for i in used if i.filter is not None and i.filter.band})
        if len(bands) > 1:
            self._mixedBands(bands)
        self._readerWarnings()
        self.say(f"inputs: {len(used)} of {len(self.inputs)} are used" + (f", band {bands[0]}" if bands else ""))

    def _readerWarnings(self):
        """What the reader warned of, once for all files of which it says the same kind of thing."""
        found = {}
        for item in self.used:
            for sentence in item.provenance:
                code, colon, words = sentence.partition(": ")
                if colon and code.startswith("W-"):
                    found.setdefault(code, []).append((item.name, words))
        for code, entries in found.items():
            name, words = entries[0]
            more = f" (and {len(entries) - 1} more inputs alike)" if len(entries) > 1 else ""
            self.warn(code, f"{name}: {words}{more}")

    def _point(self):
        """Airmass and direction of the zenith of every used input at the middle of the grid, saying what was assumed."""
        place = (None, None)
        if self.grid.wcs is not None:
            center = self.grid.bbox.center
            place = self.grid.wcs.pixelToSky(float(center.x), float(center.y))
        notes, contradicted, site = {}, [], None
        if len(self.config.site):
            longitude, latitude, height = self.config.site
            site = Observatory(math.radians(longitude), math.radians(latitude), height)
        for item in list(self.used):
            try:
                if item.visitInfo is None:
                    raise DomainError("nothing tells when and where it was taken")
                item.visitInfo, assumed = completeVisitInfo(item.visitInfo, *place, site=site)
                item.pointing = pointingOf(item.visitInfo, *place)
            except DomainError as error:
                self._withoutPointing(item, error)
                continue
            kinds = {note.partition(" ")[0] for note in item.pointing.notes}  # of this place, not of the boresight
            assumed = [note for note in assumed if note.partition(" ")[0] not in kinds or note in item.pointing.notes]
            contradicted += [(item.name, n) for n in item.pointing.notes if n.endswith(CONTRADICTED)]
            for note in dict.fromkeys((*assumed, *item.pointing.notes)):
                if not note.endswith(CONTRADICTED):
                    notes.setdefault(note, []).append(item.name)
        for note, names in notes.items():
            self.say(f"{note}" + (f" ({len(names)} inputs)" if len(names) > 1 else f" ({names[0]})"))
        self._checkTimes(contradicted)

    def _checkTimes(self, contradicted):
        """Warn of exposure times that the headers contradict, and of one time for several images."""
        if contradicted:
            self._sayContradicted(contradicted)
        byTime = {}
        for item in self.used:
            if item.visitInfo is not None and item.visitInfo.date is not None:
                byTime.setdefault(round(item.visitInfo.date.mjd, 8), []).append(item)
        for items in byTime.values():
            overlapping = [i for i in items[1:] if i.bbox.overlaps(items[0].bbox) and i.wcs == items[0].wcs]
            if overlapping:
                self.warn(
                    "W-TIME", f"{len(overlapping) + 1} inputs of the same pixels have one time, as {items[0].name} and "
                    f"{overlapping[0].name}: it is not that of all of them",
                )  # fmt: skip

    def _sayContradicted(self, contradicted):
        name, note = contradicted[0]
        more = f" (and {len(contradicted) - 1} more inputs alike)" if len(contradicted) > 1 else ""
        self.warn("W-TIME", f"{name}: {note}{more}")

    def _withoutPointing(self, item, error):
        """A coadd does not need it."""

    def _mixedBands(self, bands):
        self.warn("W-BANDS", f"inputs of several bands ({', '.join(bands)}): colours go into the scatter and the coadd")

    # ---------------------------------------------------------------- preparing

    def prepare(self, psfMatched=False):
        """Grid, flux scales, warps; with ``psfMatched`` also warps of one PSF.

        Raises
        ------
        MismatchError
            Inputs that do not belong together.
        NoDataError
            Nothing is left on the grid.
        """
        with self.timed("match"):
            self._chooseGrid()
            self._matchAll()
            self._point()
        if not self.used:
            raise NoDataError(
                "no input is left", found=f"{len(self.inputs)} inputs; the first: {self.inputs[0].reason}",
                remedy="the warnings say why each was left out",
            )  # fmt: skip
        with self.timed("warp"):
            self._warpAll(psfMatched)
        if not self.used:
            raise NoDataError(
                "no input has data on the grid of the coadd", found=f"{len(self.inputs)} inputs, all left out",
                remedy="check --reference and the WCS of the inputs",
            )  # fmt: skip

    def _chooseGrid(self):
        reference = self._referenceInput()
        if self._registerAll(reference):
            of = reference or self.used[0]
            self.grid = Grid(of.bbox, of.wcs, f"grid of {of.name}, to which others are registered by their objects")
        else:
            self.grid = commonGrid(self.used, reference)
        self.say(f"grid: {self.grid.reason}")
        for item in self.used:
            if item.registration is not None:
                item.area = self._areaOf(item)
            elif item.wcs is not None and self.grid.wcs is not None:
                center = self.grid.bbox.center
                own = item.wcs.pixelScale(*item.bbox.center)
                item.area = (self.grid.wcs.pixelScale(center.x, center.y) / own) ** 2
            elif (item.wcs is None) != (self.grid.wcs is None) and onSameGrid(self.grid, item):
                self.warn("W-NOWCS", f"{item.name} has no WCS: taken to be on the grid, for its shape")
        return reference

    def _areaOf(self, item):
        """Area of a pixel of the grid over that of one of a registered input's own."""
        area = item.registration.scale**-2
        if item.throughWcs:
            area *= (self.grid.wcs.pixelScale(*self.grid.bbox.center) / item.wcs.pixelScale(*item.bbox.center)) ** 2
        return area

    def _registerAll(self, reference):
        """Register inputs by what they show: all that are wanted with ``register`` always, with auto those that have no WCS in
        common with the reference, if they are of its shape or neither has one. Whether any was."""
        mode, of = self.config.register, reference or self.used[0]
        wanted = [i for i in self.used if i is not of and mode != "never" and (mode == "always" or _mayBeMoved(of, i))]
        if not wanted:
            return False
        if of.measure is None:
            self._measure(of)
        registrar = Registrar(of, self.config.stars.matchRadius, self._quietly)
        for item in wanted:
            try:
                fit = registrar.fit(item) if mode == "always" else registrar.fitOrShift(item)
            except MismatchError as error:
                if mode == "always":
                    self._skip(item, error)
                continue
            if fit is None:
                continue
            noteRegistration(of, item, fit)
            words = fit.describe(of.bbox.center)
            if mode == "always":
                self.say(f"registration: {item.name} {words}")
            else:
                self.warn("W-SHIFT", f"no common WCS, and {item.name} is {words}: moved by that much")
        return any(i.registration is not None for i in self.used)

    def _referenceInput(self):
        """The reference, described; None without one."""
        if self.reference is None:
            return None
        if isinstance(self.reference, (str, os.PathLike)):
            path = os.path.abspath(splitExtension(self.reference)[0])
            same = next((i for i in self.used if i.path == path), None)
        else:
            same = next((i for i in self.used if i.source is self.reference), None)
        if same is not None:
            return same
        item = CoaddInput(os.path.basename(str(self.reference)) if isinstance(self.reference, str) else "reference",
                          self.reference)  # fmt: skip
        with self._quietly():
            exposure = item.load()
        item.describe(exposure)
        if item.wcs is None and self.config.register != "always":
            raise MismatchError(
                "the reference has no WCS",
                found=item.name,
                remedy="name one of the inputs, or an image with a WCS, or --register",
            )
        return item

    def _referenceIndex(self):
        """Of the input whose flux scale and sky are kept: the reference if it is an input, else the first."""
        used = self.used
        if self.reference is not None:
            for k, item in enumerate(used):
                named = isinstance(self.reference, (str, os.PathLike)) and item.path == os.path.abspath(
                    splitExtension(self.reference)[0]
                )
                if named or item.source is self.reference:
                    return k
        return 0

    def _matchAll(self):
        used, first = self.used, self._referenceIndex()
        matches = matchInputs(
            [i.measure for i in used], first, mode=self.config.scale, minStars=self.config.minScaleStars,
            areas=[i.area for i in used],
        )  # fmt: skip
        for item, match in zip(used, matches, strict=True):
            item.match = match
        if self.config.scale == "none":
            self.say("flux scales and sky: as they are")
            return
        scales = np.array([m.scale for m in matches])
        self.say(
            f"flux scales against {used[first].name}: {scales.min():.4g} to {scales.max():.4g}; "
            f"sky matched ({self.config.scale})"
        )
        for source, code in (("assumed", "is taken to be 1"), ("exposure times", "follows the exposure times")):
            names = [i.name for i in used if i.match.source == source and self.config.scale == "stars"]
            if names:
                shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
                self.warn("W-SCALE", f"too few stars in common with the others: the flux scale of {shown} {code}")

    # ---------------------------------------------------------------- warping

    def folder(self):
        """Where finished warps lie."""
        if self.work is not None:
            os.makedirs(self.work, exist_ok=True)
            return self.work
        if self._scratch is None:
            self._scratch = tempfile.mkdtemp(prefix="stillsky-coadd-")
            self._remove = weakref.finalize(self, shutil.rmtree, self._scratch, True)
        return self._scratch

    def close(self):
        """Remove the scratch folder; handles of warps are of no use afterwards."""
        self.warps, self.matched = [], []
        if self._scratch is not None:
            self._remove()
            self._scratch = None

    def _warpAll(self, psfMatched):
        target = self._modelPsf() if psfMatched else None
        inMemory = len(self.used) * self.grid.bbox.area * _BYTES_PER_PIXEL * (1 + psfMatched) <= (
            self.config.assemble.memory // 3
        )
        counts = {}
        self.warps, self.matched, self.scalers = [], [], []
        for item in self.progress(self.used, desc="warp", total=len(self.used)):
            try:
                warp, matched, scaler = self._warpOne(item, target, inMemory)
            except (OSError, StillskyError, ValueError) as error:
                self._skip(item, error)
                continue
            counts[item.how] = counts.get(item.how, 0) + 1
            self.warps.append(warp)
            self.scalers.append(scaler)
            if psfMatched:
                self.matched.append(matched)
        self.say("warps: " + ", ".join(f"{n} {how}" for how, n in counts.items()))

    def _warpOne(self, item, target, inMemory):
        """Handle of the warp, of the PSF-matched one or None, and what remains to be applied to the former."""
        inPlace = item.registration is None and onSameGrid(self.grid, item)
        if target is None and not inMemory and not self._unit and item.path is not None and inPlace:
            # rows are read from the file itself when they are needed
            handle = WarpHandle(item.source, {"file": item.name}, scratch=self.folder(), **item.options)
            handle.shell.visitInfo = item.visitInfo
            if item.psf is not None and handle.shell.psf is None:
                handle.shell.psf = item.psf
            self._noteWarp(item, handle, item.psf)
            return handle, None, InputScaler(item.match.scale, item.match.offset)
        names = [self._warpName(item, kind, target) for kind in ("direct", "matched")]
        done = [n is not None and os.path.exists(n) for n in names]
        if not inMemory and done[0] and (target is None or done[1]):
            handles = [WarpHandle(n, {"file": item.name}) for n in names[: 1 + (target is not None)]]
            item.how = item.how or "kept from an earlier run"
            self._noteWarp(item, handles[0], handles[0].get("psf"))
            return handles[0], handles[1] if target is not None else None, InputScaler()
        with self._quietly():
            exposure = item.load()
        if item.registration is not None:
            warp = describedAs(exposure, *moveInput(exposure, item, self.grid, self.config.warp), self.grid)
            item.how = "registered"
        else:
            warp, item.how = toGrid(exposure, self.grid, self._warper)
        warp = Exposure(warp.maskedImage, warp.info, visitInfo=item.visitInfo)
        if self._unit and item.unit != self._unit:
            warp.metadata = warp.metadata.copy()
            warp.metadata["BUNIT"] = self._unit
        warp = self._scaled(warp, item.match, copy=warp is exposure or warp.image is exposure.image)
        self._noteWarp(item, warp, warp.psf)
        matched = None
        if target is not None:
            matched = self._matchPsf(item, warp, target)
        if inMemory:
            return InMemoryWarp(warp, {"file": item.name}), matched and InMemoryWarp(matched, {"file": item.name}), None
        writeExposure(warp, names[0], overwrite=True)
        if matched is not None:
            writeExposure(matched, names[1], overwrite=True)
        return (
            WarpHandle(names[0], {"file": item.name}),
            WarpHandle(names[1], {"file": item.name}) if matched is not None else None,
            None,
        )

    def _warpName(self, item, kind, target):
        """File of a finished warp: a name that only the same input, grid, scale and target have."""
        facts = [item.name, kind, repr(item.options), repr(self.grid.bbox), repr(item.match), self._warper]
        facts += [repr(item.registration)] if item.registration is not None else []
        if item.path is not None:
            status = os.stat(item.path)
            facts += [item.path, status.st_size, status.st_mtime_ns]
        else:
            facts.append(id(item.source))
        if self.grid.wcs is not None:
            facts.append(self.grid.wcs.toHeader())
        if kind == "matched":
            facts.append(None if target is None else target.fwhm())
        digest = hashlib.sha256(repr([str(f) for f in facts]).encode()).hexdigest()[:16]
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in item.name)[:60]
        return os.path.join(self.folder(), f"{stem}.{kind}.{digest}.fits")

    @staticmethod
    def _scaled(warp, match, copy):
        if match.scale == 1.0 and match.offset == 0.0:
            return warp
        if copy:
            warp = warp.copy()
        InputScaler(match.scale, match.offset).scaleMaskedImage(warp.maskedImage)
        return warp

    def _noteWarp(self, item, warp, psf):
        """Seeing on the grid."""
        item.how = item.how or "as it is"
        with contextlib.suppress(StillskyError):
            if psf is not None:
                center = self.grid.bbox.center
                item.fwhm = float(psf.fwhm(center))
        if not np.isfinite(item.fwhm) and item.measure is not None:
            item.fwhm = item.measure.fwhm / np.sqrt(item.area)

    def _modelPsf(self):
        """PSF that all inputs are matched to: two Gaussians, a little wider than the worst seeing."""
        widths = {i.name: self._fwhmOnGrid(i) for i in self.used}
        known = {name: w for name, w in widths.items() if np.isfinite(w)}
        if not known:
            raise InvalidPsfError(
                "no input has a PSF", found=f"{len(self.used)} inputs without stars enough",
                remedy="a method that needs none: --method meanclip",
            )  # fmt: skip
        worst, typical = max(known, key=known.get), float(np.median(list(known.values())))
        if known[worst] > _WORST_SEEING * typical:
            self.warn(
                "W-SEEING",
                f"{worst} has a FWHM of {known[worst]:.2f} px, the median is {typical:.2f}: all are matched to it; "
                "leaving it out would find more artifacts",
            )
        fwhm = self.config.modelFwhm or 1.1 * known[worst]
        self.say(f"PSF-matched warps: FWHM {fwhm:.2f} px; inputs {min(known.values()):.2f} to {known[worst]:.2f}")
        self.metadata["modelFwhm"] = float(fwhm)
        return modelPsfOfFwhm(fwhm)

    def _fwhmOnGrid(self, item):
        psf = item.psf
        if psf is None:
            return np.nan
        if item.registration is not None:
            return float(movedPsf(psf, item, self.grid).fwhm(self.grid.bbox.center))
        if item.wcs is not None and self.grid.wcs is not None and not onSameGrid(self.grid, item):
            psf = WarpedPsf(psf, pairTransform(item.wcs, self.grid.wcs))
            x, y = pairTransform(item.wcs, self.grid.wcs)(*(np.array([float(v)]) for v in item.bbox.center))
            return float(psf.fwhm((float(x[0]), float(y[0]))))
        return float(psf.fwhm(item.bbox.center))

    def _matchPsf(self, item, warp, target):
        """The PSF-matched warp; None, with a warning, when it cannot be made: the epoch then cannot be judged."""
        try:
            return matchToModel(warp, target, self.config.modelPsfMatch)[0]
        except (InvalidPsfError, NumericalError) as error:
            if self.strict:
                raise
            self.warn("W-MATCH", f"{item.name}: not matched to the common PSF, so that it is left out: {error}")
            return None

    # ---------------------------------------------------------------- afterwards

    def table(self):
        """One row per input."""
        return inputTable(self.inputs)

    def weigh(self):
        """Weights of the used inputs, one over their mean variance on the scale of the reference, add to 1.

        Leaves out what has no good pixel on the grid.
        """
        prepared = prepareInputs(
            self.warps,
            self.grid.bbox,
            self.config.assemble,
            wcs=self.grid.wcs,
            scalers=self.scalers,
            strict=self.strict,
        )
        self.keepOnly([p.warp for p in prepared.inputs], {s.name: s.reason for s in prepared.skipped})
        if not self.used:
            raise NoDataError(
                "no input has a good pixel on the grid of the coadd", found=self.inputs[0].reason,
                remedy="stillsky info FILE shows masks and variances",
            )  # fmt: skip
        weights = [self._weightOf(item, p.weight) for item, p in zip(self.used, prepared.inputs, strict=True)]
        total = sum(weights)
        for item, found, weight in zip(self.used, prepared.inputs, weights, strict=True):
            item.weight, item.meanVariance = weight / total, found.meanVariance
            item.usable = found.goodPixels / self.grid.bbox.area

    def _weightOf(self, item, weight):
        """Of a resampled input one over its variance before, in pixels of the grid: interpolation moves noise from a pixel to
        its neighbours, more or less of it with the fraction of a pixel by which it shifts, and an area keeps it all."""
        if not self._isResampled(item) or not item.ownVariance > 0:
            return weight
        return 1.0 / (item.ownVariance * item.area * item.match.scale**2)

    def _isResampled(self, item):
        if item.registration is not None:
            return True
        return not onSameGrid(self.grid, item) and wholePixels(self.grid, item) is None

    def keepOnly(self, warps, reasons):
        """Leave out all inputs but those of some warps; ``reasons`` by the names of the others."""
        kept = {id(w) for w in warps}
        for item, warp in zip(list(self.used), self.warps, strict=True):
            if id(warp) not in kept:
                self._skip(item, StillskyError(reasons.get(warp.name, "its pixels cannot be read")))
        chosen = [k for k, w in enumerate(self.warps) if id(w) in kept]
        for name in ("warps", "scalers", "matched"):
            values = getattr(self, name)
            setattr(self, name, [values[k] for k in chosen] if values else values)


def _mayBeMoved(reference, item):
    """Whether nothing but the shape of an input, if that, says how it lies on the reference."""
    neither = reference.wcs is None and item.wcs is None
    return neither or (None in (reference.wcs, item.wcs) and item.bbox.dimensions == reference.bbox.dimensions)
