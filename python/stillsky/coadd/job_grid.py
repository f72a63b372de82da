"""Grid, registration, flux scales and sky of the inputs of a coadd of plain files."""

import os

import numpy as np

from ..errors import MismatchError
from ..fits.files import splitExtension
from .common_grid import FieldsDifferError, Grid, commonGrid, onSameGrid, otherFields
from .job_inputs import CoaddInput
from .match_inputs import matchInputs
from .registration import Registrar, noteRegistration

__all__ = ["JobGrid"]


class JobGrid:
    """A mixin for `stillsky.coadd.job.CoaddJob`."""

    def _chooseGrid(self):
        reference = self._referenceInput()
        if self._registerAll(reference):
            of = reference or self._firstPlaced()
            self.grid = Grid(of.bbox, of.wcs, f"grid of {of.name}, to which others are registered by their objects")
        else:
            self.grid = self._commonGrid(reference)
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

    def _commonGrid(self, reference):
        """That of the inputs that go together; the others are left out if one grid cannot hold all."""
        grid = None
        while grid is None:
            try:
                grid = commonGrid(self.used, reference)
            except FieldsDifferError as error:
                if not error.odd:
                    raise
                for item in error.odd:
                    self._skip(item, error.of(item))
        apart = [] if reference is not None or any(i.wcs is None for i in self.used) else otherFields(self.used)
        if apart:
            names = ", ".join(i.name for i in apart[:3]) + (f" and {len(apart) - 3} more" if len(apart) > 3 else "")
            self.warn("W-APART", f"no overlap with the others, but on the same grid of {grid.bbox.width}x"
                      f"{grid.bbox.height} px: {names}")  # fmt: skip
        return grid

    def _areaOf(self, item):
        """Area of a pixel of the grid over that of one of a registered input's own."""
        area = item.registration.scale**-2
        if item.throughWcs:
            area *= (self.grid.wcs.pixelScale(*self.grid.bbox.center) / item.wcs.pixelScale(*item.bbox.center)) ** 2
        return area

    def _firstPlaced(self):
        """The first input, or with register auto the first that has a WCS: those without go to it."""
        if self.config.register == "always":
            return self.used[0]
        return next((i for i in self.used if i.wcs is not None), self.used[0])

    def _registerAll(self, reference):
        """Register inputs by what they show: all that are wanted with ``register`` always, with auto those that have no WCS in
        common with the reference, if they are of its shape or neither has one. Whether any was."""
        mode, of = self.config.register, reference or self._firstPlaced()
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


def _mayBeMoved(reference, item):
    """Whether nothing but the shape of an input, if that, says how it lies on the reference."""
    neither = reference.wcs is None and item.wcs is None
    return neither or (None in (reference.wcs, item.wcs) and item.bbox.dimensions == reference.bbox.dimensions)
