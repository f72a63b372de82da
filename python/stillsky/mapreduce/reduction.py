"""What a reducer does, without a task around it: begin, add results in any order, finish."""

from dataclasses import dataclass, field
from typing import Any

from ..errors import DomainError, InvalidPsfError, MismatchError
from ..geom import Box2I
from ..image import Exposure
from ..psf import CoaddPsf, CoaddPsfComponent
from .executors import sampleOf
from .grid import GridCell
from .stitch import Stitcher

__all__ = ["Reduction", "asCells"]


def asCells(boxes):
    """`GridCell` objects of cells, boxes, or pairs (core, expanded)."""
    cells = []
    for number, box in enumerate(boxes):
        if isinstance(box, GridCell):
            cells.append(box)
        else:
            core, expanded = (box, box) if isinstance(box, Box2I) else box
            cells.append(GridCell(number, core, expanded))
    return cells


@dataclass
class Reduction:
    """State of one reduction.

    Parameters
    ----------
    exposure : `stillsky.Exposure` or deferred reader
        The input; not modified unless ``inPlace``.
    cells : iterable
        See `asCells`.
    config : `ImageReducerConfig`
    compat, inPlace : `bool`
        See `Stitcher`.

    Notes
    -----
    ``none`` keeps the results (None for a cell that failed), ``coaddPsf`` their PSFs and boxes only, the others nothing but the output.
    """

    exposure: Any
    cells: list
    config: Any
    compat: bool = False
    inPlace: bool = False
    results: dict = field(default_factory=dict)
    psfs: dict = field(default_factory=dict)
    stitchers: dict = field(default_factory=dict)
    metadata: dict = field(default_factory=dict)

    def __post_init__(self):
        self.cells = asCells(self.cells)
        self.operation = self.config.reduceOperation
        self.compat = self.compat or self.config.compat
        self.wcs = sampleOf(self.exposure).info.wcs
        if self.operation in ("copy", "sum", "average"):
            names = list(self.config.outputs)
            if not names or (self.inPlace and len(names) > 1):
                raise DomainError(f"outputs: wanted {'one name' if names else 'a name'}, got {names}")
            for name in names:
                self.stitchers[name] = Stitcher(
                    self.exposure, self.config, self.cells, compat=self.compat, inPlace=self.inPlace
                )
        elif self.inPlace:
            raise DomainError(f"inPlace: reduceOperation {self.operation!r} makes no exposure")

    # ------------------------------------------------------------------ adding

    def add(self, index, result):
        """Apply the result of a cell; None for one that failed.

        Parameters
        ----------
        index : `int`
            Of the cell.
        result : object with attributes, or None
        """
        if self.operation == "none":
            self.results[index] = result  # a failed cell keeps its place in the list
        elif result is None:
            for stitcher in self.stitchers.values():
                stitcher.skip(index)
        elif self.operation == "coaddPsf":
            self._addPsf(index, result, "subExposure")
        else:
            for name, stitcher in self.stitchers.items():
                # a result without the patch is named by what it is
                stitcher.add(index, getattr(result, name, result))
                if self.config.psfMode == "coadd":
                    self._addPsf(index, result, name)

    def _addPsf(self, index, result, name):
        patch = getattr(result, name, None)
        if patch is not None:
            if not isinstance(patch, Exposure):
                raise TypeError(f"cell {index}: {name} must be an exposure, got {type(patch).__name__}")
            psf, box = patch.info.psf, patch.bbox
            if patch.info.wcs is not None and patch.info.wcs != self.wcs:
                raise MismatchError(f"cell {index}: the WCS of its {name} differs from that of the input")
        else:
            psf, box = getattr(result, "psf", None), getattr(result, "bbox", None)
            if box is None:
                raise DomainError(f"cell {index}: wanted a subExposure, or a psf and its bbox")
        self.psfs.setdefault(name, {})[index] = (psf, box)

    # ------------------------------------------------------------------ results

    def finish(self):
        """The results by name: ``result``, or ``exposure`` and one per further output.

        Returns
        -------
        outputs : `dict`
        """
        if self.operation == "none":
            return {"result": [self.results[i] for i in sorted(self.results)]}
        if self.operation == "coaddPsf":
            return {"result": self._composedPsf("subExposure", required=True)}
        outputs = {}
        for name, stitcher in self.stitchers.items():
            exposure = stitcher.finish()
            if self._composes:
                psf = self._composedPsf(name, stitcher)
                exposure.info.psf = exposure.info.psf if psf is None else psf
            outputs.setdefault("exposure", exposure)
            outputs[name] = exposure
        self.metadata.update(next(iter(self.stitchers.values())).statistics())
        return outputs

    @property
    def _composes(self):
        if self.compat and self.operation == "copy":
            return False
        return self.config.psfMode == "coadd"

    def _composedPsf(self, name, stitcher=None, required=False):
        """Mean over the cells that hold a position, weighted as their pixels are; None without PSFs."""
        found = self.psfs.get(name, {})
        valid = stitcher.validPixels if stitcher is not None and not self.compat else None
        tapers = stitcher.taperOf if stitcher is not None else {}
        cores = {c.index: c.core for c in self.cells}
        components = []
        for index in sorted(found):
            psf, box = found[index]
            if psf is None and required:
                raise InvalidPsfError(f"cell {index}: its result has no PSF to compose")
            if psf is None or box.isEmpty or (valid is not None and not valid.get(index)):
                continue
            taper = tapers.get(cores.get(index)) if box == cores.get(index) else None
            components.append(CoaddPsfComponent(psf, box, id=index, taper=taper))
        if not components:
            if required:
                raise InvalidPsfError("coaddPsf: no result has a PSF")
            return None
        combine = "last" if self.operation == "copy" else "mean"
        # The WCS of all inputs is the same: none is needed to compose on one grid.
        try:
            return CoaddPsf(components, combine=combine)
        except InvalidPsfError:
            # PSFs that are the same everywhere often state (0, 0) as their average position, which may be off the image.
            return CoaddPsf(components, combine=combine, averagePosition=_middle([c.bbox for c in components]))


def _middle(boxes):
    """The centre of all boxes, if one of them holds it, else that of the nearest box."""
    hull = boxes[0]
    for box in boxes[1:]:
        hull = hull.including(box)
    x, y = hull.center
    nearest = min(boxes, key=lambda b: (b.center.x - x) ** 2 + (b.center.y - y) ** 2)
    if nearest.minX - 0.5 <= x < nearest.maxX + 0.5 and nearest.minY - 0.5 <= y < nearest.maxY + 0.5:
        return x, y
    return tuple(nearest.center)
