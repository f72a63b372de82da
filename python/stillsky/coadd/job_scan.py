"""Reading and measuring the inputs of a coadd of plain files."""

import math
import os
import re

import numpy as np

from ..diffim.empirical_psf import empiricalPsf
from ..errors import MismatchError, NoDataError, NotFoundError, StillskyError
from ..fits.file_lists import findFiles
from ..fits.files import splitExtension
from ..stats import clippedStats
from .job_inputs import BYTES_PER_PIXEL, CoaddInput
from .match_inputs import measureInput

__all__ = ["JobScan"]

_PRODUCT = r"\.(coadd|nimage|artifacts|masks|dcr\d+)\.fits"
_MOST_KEPT = 256 << 20  # bytes of small images that are not read again


class JobScan:
    """A mixin for `stillsky.coadd.job.CoaddJob`."""

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
        NotFoundError
            No file of that name, for every input.
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
            self._dropCopies()
        if not self.used:
            self._refuseAll()
        self._compare()

    def _refuseAll(self):
        """Raise what explains that no input can be used."""
        first = self.inputs[0]
        remedy = "stillsky info FILE shows what is understood of a file"
        if first.path and os.path.splitext(first.path)[1].lower() in (".txt", ".lst", ".list"):
            remedy = f"a list of files is given as @{first.source}"
        message, found = "the only input cannot be used", f"{first.name}: {first.reason}"
        if len(self.inputs) > 1:
            message, found = "no input can be used", f"{len(self.inputs)} inputs; the first, {found}"
        if all(i.unreadable for i in self.inputs):
            raise NotFoundError(message, found=found, remedy="check the names and the current folder")
        raise NoDataError(message, found=found, remedy=remedy)

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
            if self._isProduct(item):
                self.warn("W-OUTPUT", f"a product of this run, which is no input of it: {item.name}")
                continue
            unique.append(item)
        return unique

    def _isProduct(self, item):
        """Whether an earlier run made it, of which this one takes the place."""
        if self.prefix is None or item.path is None:
            return False
        folder, stem = os.path.split(os.path.abspath(self.prefix))
        return os.path.dirname(item.path) == folder and bool(
            re.fullmatch(re.escape(stem) + _PRODUCT, os.path.basename(item.path))
        )

    def _sayCoadds(self):
        """Coadds among images: they may hold them already."""
        coadds = {i.name: i.nVisits for i in self.used if i.nVisits > 1}
        if coadds and len(coadds) < len(self.used):
            name, n = next(iter(coadds.items()))
            more = f" (and {len(coadds) - 1} more inputs alike)" if len(coadds) > 1 else ""
            self.warn("W-COADD", f"{name} is itself a coadd of {n} images{more}: are they among the inputs as well?")

    def _dropCopies(self):
        """Of images with the same pixels, to the last bit of their noise, one is used: a file and its compressed copy."""
        known = {}
        for item in self.used:
            first = known.setdefault(item.digest, item)
            if first is not item:
                item.reason, item.kept = f"the same pixels as {first.name}", None
                self.warn("W-TWICE", f"{item.name} has the same pixels as {first.name}: taken once")

    def _keep(self, item, exposure):
        """Keep a small image in memory until it has become a warp; nothing is kept once they are no longer small together."""
        self._keptBytes += exposure.bbox.area * BYTES_PER_PIXEL
        if self._keptBytes <= min(self.config.assemble.memory // 8, _MOST_KEPT):
            item.kept = exposure
            return
        for other in self.inputs:
            other.kept = None

    def _measure(self, item):
        with self._quietly():
            exposure = item.load()
        item.describe(exposure)
        good = np.isfinite(exposure.variance.array) & (exposure.variance.array > 0)
        good &= (exposure.mask.array & exposure.mask.bitmask(["NO_DATA", "BAD"], ignoreMissing=True)) == 0
        good &= np.isfinite(exposure.image.array)
        if not good.any():
            raise NoDataError(
                f"{item.name}: no usable pixel: every one is NaN, masked, or without a positive variance",
                found=f"0 of {good.size} pixels", remedy="stillsky info FILE shows masks and variances",
            )  # fmt: skip
        values = exposure.image.array[good]
        if values.size > 1 and values.min() == values.max():
            raise NoDataError(
                f"{item.name}: no image: every usable pixel is {values[0]:g}",
                found=f"{values.size} pixels of one value", remedy="leave it out",
            )  # fmt: skip
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
        self._keep(item, exposure)

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
        self._sayCoadds()
        self._readerWarnings()
        self.say(
            f"inputs: {len(used)} of {len(self.inputs)} are used" + (f", band {', '.join(bands)}" if bands else "")
        )

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

    def _mixedBands(self, bands):
        self.warn("W-BANDS", f"inputs of several bands ({', '.join(bands)}): colours go into the scatter and the coadd")
