"""ImageMapReduceTask, ImageMapper, ImageReducer: map-reduce as tasks."""

import abc
import os

import lsst.pipe.base as pipeBase
from lsst.pex.config import ConfigurableField
from lsst.utils.timer import timeMethod

from ..errors import ShapeError, StillskyError
from ..task_base import SchemaVerbs, assignMetadata
from .algorithm import cellsOf, gridMetadata, reduceCells, withPlaceholders
from .config import ImageMapperConfig, ImageMapReduceFields, ImageReducerConfig
from .executors import CellCall, sampleOf
from .grid import Grid, GridCell
from .reduction import Reduction

__all__ = [
    "ImageMapReduceConfig",
    "ImageMapReduceTask",
    "ImageMapper",
    "ImageMapperConfig",
    "ImageReducer",
    "ImageReducerConfig",
]


class ImageMapper(SchemaVerbs, pipeBase.Task, abc.ABC):
    """Base of what is done to each cell.

    A subclass that sets ``wantsCellContext = True`` is also given the keywords ``cellIndex``, ``seedSequence`` (a
    `numpy.random.SeedSequence` of its own for every cell) and ``ignoreMaskPlanes``.
    """

    ConfigClass = ImageMapperConfig
    _DefaultName = "imageMapper"
    wantsCellContext = False

    @abc.abstractmethod
    def run(self, subExposure, expandedSubExposure, fullBBox, **kwargs):
        """Process one cell.

        Parameters
        ----------
        subExposure : `stillsky.Exposure`
            The cell: a view of the input, to be read only.
        expandedSubExposure : `stillsky.Exposure`
            The cell and its border, clipped to the image; a view as well.
        fullBBox : `stillsky.geom.Box2I`
            Box of the whole input.
        **kwargs
            What was given to `ImageMapReduceTask.run`.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``subExposure``: the processed patch, whose box may be any inside the input's; or ``psf`` and ``bbox`` for
            reduceOperation "coaddPsf"; or anything for "none".

        Notes
        -----
        The first three arguments are passed by position. This default returns the cell as it is.
        """
        return pipeBase.Struct(subExposure=subExposure)


class ImageReducer(SchemaVerbs, pipeBase.Task):
    """What is made of the results of the mapper; the config selects one of five operations.

    A subclass may override `begin`, `add` and `finish`, which see the results one by one, or `run`, which sees them all.
    """

    ConfigClass = ImageReducerConfig
    _DefaultName = "imageReducer"

    def begin(self, exposure, boxes, *, compat=False, inPlace=False):
        """Start a reduction.

        Parameters
        ----------
        exposure : `stillsky.Exposure`
            The input; never modified unless ``inPlace``.
        boxes : iterable
            Core boxes, pairs (core, expanded) or cells of the results to come.
        compat : `bool`
            Masks as in Rubin's reducer; also ``config.compat``.
        inPlace : `bool`
            The output takes the memory of the input.

        Returns
        -------
        state : `Reduction`
        """
        return Reduction(exposure, boxes, self.config, compat=compat, inPlace=inPlace)

    def add(self, state, index, result):
        """Apply the result of one cell; None if its mapper failed."""
        state.add(index, result)

    def finish(self, state):
        """End a reduction.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``result`` (none: the list, coaddPsf: the PSF), or ``exposure`` and one exposure per name of
            ``config.outputs``.
        """
        outputs = state.finish()
        assignMetadata(self.metadata, state.metadata)
        if "maxOverlap" in state.metadata:
            self.log.info(
                "Overlaps: maximum %(maxOverlap)d, mean %(meanOverlap).3f, minimum %(minOverlap)d; %(numZeroPixels)d "
                "pixels (%(percentZeroPixels).2f %%) without value",
                state.metadata,
            )
        return pipeBase.Struct(**outputs)

    def run(self, mapperResults, exposure, **kwargs):
        """Reduce a list of results.

        Parameters
        ----------
        mapperResults : `list` [`lsst.pipe.base.Struct`]
        exposure : `stillsky.Exposure`
            The input: its box, WCS, mask planes and information are used.
        **kwargs
            What was given to `ImageMapReduceTask.run`; ignored here.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            See `finish`; for "none" its ``result`` is the list that was given.
        """
        if self.config.reduceOperation == "none":
            return pipeBase.Struct(result=mapperResults)
        cells = []
        for index, result in enumerate(mapperResults):
            box = getattr(getattr(result, "subExposure", None), "bbox", exposure.bbox)
            cells.append(GridCell(index, box, box))
        state = self.begin(exposure, cells)
        for cell in sorted(cells, key=lambda c: (c.core.minY, c.core.minX, c.index)):
            self.add(state, cell.index, mapperResults[cell.index])
        return self.finish(state)


class ImageMapReduceConfig(ImageMapReduceFields):
    """Configuration of `ImageMapReduceTask`: the grid, how mappers run, and the two subtasks."""

    mapper = ConfigurableField(doc="What is done to each cell; the default is abstract.", target=ImageMapper)
    reducer = ConfigurableField(doc="What is made of the results.", target=ImageReducer)


class _TaskSource:
    """Makes a worker's own mapper from the configuration; tasks are not safe in several threads."""

    def __init__(self, target, config):
        self._target, self._config = target, config

    def __call__(self):
        return self._target(config=self._config, name="mapper")


class ImageMapReduceTask(SchemaVerbs, pipeBase.Task):
    """Split an exposure into cells, run a mapper on each, and reduce the results.

    Attributes
    ----------
    boxes0, boxes1 : `list` [`stillsky.geom.Box2I`] or None
        Cells and expanded cells of the last grid. Lists that a caller edits or assigns are used by the next `run`, and
        by that one only.
    grid : `Grid` or None
        The last grid that was made.

    Notes
    -----
    Metadata: numCells, cellSizeX/Y, gridStepX/Y, borderSizeX/Y in pixels, psfFwhm, maxOverlap, meanOverlap, minOverlap,
    numZeroPixels, percentZeroPixels, numFailedCells, failedCells.
    """

    ConfigClass = ImageMapReduceConfig
    _DefaultName = "imageMapReduce"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.boxes0 = self.boxes1 = None
        self.grid = None
        self._fwhm = self._key = None
        self._made = (None, None)
        self.makeSubtask("mapper")
        self.makeSubtask("reducer")

    @timeMethod
    def run(self, exposure, **kwargs):
        """Map and reduce.

        Parameters
        ----------
        exposure : `stillsky.Exposure` or deferred reader with ``bbox`` and ``subset(box)``
        forceEvenSized : `bool`
            All boxes get even width and height.
        doClone : `bool`
            The mapper gets copies instead of views, which it may modify.
        inPlace : `bool`
            The output takes the memory of the input, which is lost.
        **kwargs
            These and all others are passed on to mapper and reducer.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            That of the reducer.

        Raises
        ------
        ShapeError
            ``boxes0`` and ``boxes1`` differ in length, or no cell is on the image.
        """
        self.log.info("Mapper task: %s", self.mapper._DefaultName)
        cells = self._cells(exposure, kwargs.get("forceEvenSized", False))
        try:
            if _reducesLists(self.reducer):
                results = self._runMapper(exposure, cells=cells, **kwargs)
                self.log.info("Reducer task: %s", self.reducer._DefaultName)
                return self._reduceImage(results, exposure, **kwargs)
            self.log.info("Reducer task: %s", self.reducer._DefaultName)
            return self._stream(exposure, cells, kwargs)
        finally:
            if self._edited:  # what a caller edited has served its run
                self._made, self._key = _copies(self.boxes0, self.boxes1), None

    # ------------------------------------------------------------------ grid

    @property
    def _edited(self):
        return (self.boxes0, self.boxes1) != self._made

    def _gridKey(self, exposure, forceEvenSized):
        config = self.config
        psf = sampleOf(exposure).info.psf if config.scaleByFwhm else None
        fwhm = None if psf is None else round(psf.determinantRadius(psf.averagePosition), 7)
        names = [n for n in config._fields if n.startswith(("cell", "grid", "border", "adjust", "scale", "centroid"))]
        values = [
            tuple(v) if isinstance(v, list) or hasattr(v, "insert") else v for v in map(config.__getattribute__, names)
        ]
        return exposure.bbox, fwhm, forceEvenSized, config.compat, tuple(values)

    def _cells(self, exposure, forceEvenSized):
        """Cells of a run: of the lists if a caller touched them, else of this exposure."""
        if self.boxes0 is None or self.boxes1 is None or not self._isWanted(exposure, forceEvenSized):
            self._generateGrid(exposure, forceEvenSized=forceEvenSized)
        if len(self.boxes0) != len(self.boxes1):
            raise ShapeError(
                f"boxes0 and boxes1 must have the same length, got {len(self.boxes0)} and {len(self.boxes1)}"
            )
        if not self.boxes0:
            raise ShapeError(f"no cell has a pixel on the image {exposure.bbox}")
        return [GridCell(i, b0, b1) for i, (b0, b1) in enumerate(zip(self.boxes0, self.boxes1))]

    def _isWanted(self, exposure, forceEvenSized):
        return self._edited or self._key == self._gridKey(exposure, forceEvenSized)

    def _generateGrid(self, exposure, forceEvenSized=False, **kwargs):
        """Make the boxes of an exposure and keep them.

        Returns
        -------
        boxes0, boxes1 : `list` [`stillsky.geom.Box2I`]
        """
        self.grid, self._fwhm = cellsOf(exposure, self.config, forceEvenSized=forceEvenSized, log=self.log)
        self.boxes0 = [cell.core for cell in self.grid.cells]
        self.boxes1 = [cell.expanded for cell in self.grid.cells]
        self._made = _copies(self.boxes0, self.boxes1)
        self._key = self._gridKey(exposure, forceEvenSized)
        return self.boxes0, self.boxes1

    # ------------------------------------------------------------------ mapping

    def _call(self, exposure, kwargs):
        config = self.config
        return CellCall(
            exposure.bbox,
            kwargs,
            bool(kwargs.get("doClone", False)),
            config.returnSubImages,
            list(config.ignoreMaskPlanes),
            config.seed,
        )

    def _map(self, exposure, cells, reduction, kwargs):
        """Run the mapper over all cells into ``reduction.add``; note failures and the mappers' metadata."""
        source = _TaskSource(type(self.mapper), self.config.mapper.value)
        cores = os.environ.get("STILLSKY_NUM_THREADS")
        failed, extras = reduceCells(
            exposure,
            cells,
            source,
            self._call(exposure, kwargs),
            self.config,
            reduction,
            own=self.mapper,
            numCores=int(cores) if cores and cores.isdigit() else None,
            log=self.log,
        )
        for _, extra in extras:
            for name, values in extra.items():
                for value in values:
                    self.mapper.metadata.add(name, value)
        grid = self.grid if self.grid is not None else Grid(cells)
        values = {**gridMetadata(grid, self._fwhm), "numCells": len(cells)}
        assignMetadata(self.metadata, {**values, "numFailedCells": len(failed), "failedCells": failed})

    def _runMapper(self, exposure, doClone=False, cells=None, **kwargs):
        """Results of the mapper for all cells, in the order of the boxes; None for those that failed."""
        cells = self._cells(exposure, kwargs.get("forceEvenSized", False)) if cells is None else cells
        results = _Collector(len(cells))
        self._map(exposure, cells, results, {**kwargs, "doClone": doClone} if doClone else kwargs)
        return results.items

    def _stream(self, exposure, cells, kwargs):
        state = self.reducer.begin(
            exposure, cells, compat=self.config.compat, inPlace=bool(kwargs.get("inPlace", False))
        )
        self._map(exposure, cells, _Adder(self.reducer, state), kwargs)
        struct = self.reducer.finish(state)
        assignMetadata(self.metadata, getattr(state, "metadata", {}))
        wantsAll = self.config.keepEmpty and self.reducer.config.reduceOperation == "none"
        if wantsAll and not self._edited and isinstance(getattr(struct, "result", None), list):
            struct.result = withPlaceholders(struct.result, self.grid)
        return struct

    def _reduceImage(self, mapperResults, exposure, **kwargs):
        """Reduce a list of results."""
        return self.reducer.run(mapperResults, exposure, **kwargs)

    # ------------------------------------------------------------------ pictures

    def plotBoxes(self, fullBBox, skip=3):
        """Draw every ``skip``-th cell dashed and its expanded box dotted, in the same colour.

        Parameters
        ----------
        fullBBox : `stillsky.geom.Box2I`
            Limits of the axes.
        skip : `int`

        Raises
        ------
        StillskyError
            No grid was made yet.
        """
        if self.boxes0 is None:
            raise StillskyError("plotBoxes: no grid yet; call run or _generateGrid first")
        import matplotlib.pyplot as plt

        axes = plt.gca()
        for boxes, style in ((self.boxes0, "--"), (self.boxes1, ":")):
            for number, box in enumerate(boxes[::skip]):
                x0, x1, y0, y1 = box.minX, box.maxX + 1, box.minY, box.maxY + 1
                axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], style, color=f"C{number % 10}")
        axes.set_xlim(fullBBox.begin.x, fullBBox.end.x)
        axes.set_ylim(fullBBox.begin.y, fullBBox.end.y)


def _copies(boxes0, boxes1):
    return tuple(None if boxes is None else list(boxes) for boxes in (boxes0, boxes1))


class _Collector:
    """Keeps the results of all cells."""

    def __init__(self, n):
        self.items = [None] * n

    def add(self, index, result):
        self.items[index] = result


class _Adder:
    """A reducer and its state, as what results are added to."""

    def __init__(self, reducer, state):
        self._reducer, self._state = reducer, state

    def add(self, index, result):
        self._reducer.add(self._state, index, result)


def _reducesLists(reducer):
    """Whether a reducer overrides `run` alone, and must see all results at once."""
    cls = type(reducer)
    return cls.run is not ImageReducer.run and all(
        getattr(cls, name) is getattr(ImageReducer, name) for name in ("begin", "add", "finish")
    )
