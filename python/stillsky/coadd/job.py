"""The whole job on plain files: measure each input, choose a grid, warp, match, stack, say what was decided."""

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import weakref

import numpy as np

from ..diffim.inputs import wholePixels
from ..errors import InvalidPsfError, NoDataError, NumericalError, StillskyError
from ..fits import writeExposure
from ..fits.scratch import checkRoom, raiseFaultOfMachine, writingScratch
from ..image import Exposure
from ..job_log import JobLog
from ..psf import WarpedPsf
from ..psfmatch.model_algorithm import matchToModel
from ..warp import Warper, computeDestBBox
from ..wcs import pairTransform
from .common_grid import describedAs, onSameGrid, toGrid
from .inputs import prepareInputs
from .job_grid import JobGrid
from .job_inputs import BYTES_PER_PIXEL, inputTable
from .job_pointing import JobPointing
from .job_scan import JobScan
from .make_warp import modelPsfOfFwhm
from .match_inputs import InputScaler
from .registration import movedPsf, moveInput
from .warps import InMemoryWarp, WarpHandle

__all__ = ["CoaddJob"]

_log = logging.getLogger(__name__)
_WORST_SEEING = 1.8  # times the median: matching everything to it costs more than it brings


class CoaddJob(JobScan, JobGrid, JobPointing, JobLog):
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
    prefix : path-like, optional
        Of the products: those of an earlier run are no inputs, although they may lie among them.

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
                 progress=None, quietly=None, prefix=None):  # fmt: skip
        super().__init__(_log, say, warn)
        self.config, self.reference, self.ext = config, reference, ext
        self.readOptions = dict(readOptions or {})
        self.work, self.prefix = work, prefix
        self.progress = progress or (lambda iterable, desc="", total=None: iterable)
        self.inputs, self.grid, self.warps, self.matched, self.scalers = [], None, [], [], []
        self._scratch, self._unit, self._needed, self._keptBytes = None, None, 0, 0
        self._quietly = quietly or contextlib.nullcontext
        self._warper = Warper.fromConfig(config.warp)

    @property
    def strict(self):
        """Whether an input that cannot be used is fatal."""
        return self.config.assemble.strict

    @property
    def used(self):
        """Inputs that are part of the coadd."""
        return [i for i in self.inputs if i.used]

    def _skip(self, item, error):
        """Leave an input out, or raise the error when that is not wanted, or none of the input's."""
        raiseFaultOfMachine(error)
        if self.strict:
            if item.name not in str(error):
                error.args = (f"{item.name}: {error}",)
            raise error
        words = str(error)
        if isinstance(error, OSError) and error.strerror:
            words = f"{error.strerror}: {error.filename or item.name}"
        reason = " ".join(words.split()) or type(error).__name__
        for name in (item.name, str(item.source) if item.path is not None else item.name):
            reason = reason.removeprefix(f"{name}: ")
        item.unreadable = isinstance(error, OSError)
        item.reason, item.kept = reason, None
        self.warn("W-SKIPPED", f"left out: {item.name}: {item.reason}")

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

    # ---------------------------------------------------------------- warping

    def folder(self):
        """Where finished warps lie."""
        if self.work is not None:
            with writingScratch(self.work, 0):
                os.makedirs(self.work, exist_ok=True)
            return self.work
        if self._scratch is None:
            with writingScratch(tempfile.gettempdir(), 0):
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
        inMemory = len(self.used) * self.grid.bbox.area * BYTES_PER_PIXEL * (1 + psfMatched) <= (
            self.config.assemble.memory // 3
        )
        self._needed = 0 if inMemory else self._roomFor(target)
        if self._needed:
            checkRoom(self.folder(), self._needed)
        counts = {}
        self.warps, self.matched, self.scalers = [], [], []
        for item in self.progress(self.used, desc="warp", total=len(self.used)):
            try:
                warp, matched, scaler = self._warpOne(item, target, inMemory)
            except (OSError, StillskyError, ValueError) as error:
                self._skip(item, error)
                continue
            finally:
                item.kept = None
            counts[item.how] = counts.get(item.how, 0) + 1
            self.warps.append(warp)
            self.scalers.append(scaler)
            if psfMatched:
                self.matched.append(matched)
        self.say("warps: " + ", ".join(f"{n} {how}" for how, n in counts.items()))

    def _warpOne(self, item, target, inMemory):
        """Handle of the warp, of the PSF-matched one or None, and what remains to be applied to the former."""
        if not inMemory and self._isReadInPlace(item, target):
            # rows are read from the file itself when they are needed
            handle = WarpHandle(item.source, {"file": item.name}, scratch=self.folder(), **item.options)
            with self._quietly():
                handle.shell.visitInfo = item.visitInfo
            if handle.shell.wcs is None:  # it is on the grid, for its shape
                handle.shell.wcs = self.grid.wcs
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
        wcs = self.grid.wcs if warp.wcs is None else warp.wcs  # without one it is on the grid, for its shape
        warp = Exposure(warp.maskedImage, warp.info, visitInfo=item.visitInfo, wcs=wcs)
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
        with writingScratch(self.folder(), self._needed):
            writeExposure(warp, names[0], overwrite=True)
            if matched is not None:
                writeExposure(matched, names[1], overwrite=True)
        return (
            WarpHandle(names[0], {"file": item.name}),
            WarpHandle(names[1], {"file": item.name}) if matched is not None else None,
            None,
        )

    def _isReadInPlace(self, item, target):
        """Whether rows can come from the input's own file."""
        if target is not None or self._unit or item.path is None:
            return False
        return item.registration is None and onSameGrid(self.grid, item)

    def _roomFor(self, target):
        """Bytes of the warps that have yet to be written, at least."""
        total = 0
        for item in self.used:
            if self._isReadInPlace(item, target):
                continue
            try:
                area = self._areaOnGrid(item)
                kinds = ("direct",) if target is None else ("direct", "matched")
                missing = sum(not os.path.exists(self._warpName(item, kind, target)) for kind in kinds)
            except (StillskyError, OSError):  # off the grid, or the file is gone: it will be left out
                continue
            total += missing * area * BYTES_PER_PIXEL
        return total

    def _areaOnGrid(self, item):
        """Pixels of its warp; 0 where that is not known beforehand."""
        if item.registration is not None:
            return 0
        if onSameGrid(self.grid, item):
            return self.grid.bbox.area
        if item.wcs is None or self.grid.wcs is None:
            return 0
        through = pairTransform(item.wcs, self.grid.wcs)
        return computeDestBBox(item.bbox, through, maxBBox=self.grid.bbox).area

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
            quiet=True,
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
