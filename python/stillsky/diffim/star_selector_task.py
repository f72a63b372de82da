"""Tasks that choose kernel stars, and their registry."""

import lsst.pipe.base as pipeBase
from lsst.pex.config import makeRegistry

from ..errors import StillskyError
from ..task_base import ErrorMetadata, SchemaVerbs
from . import star_selectors as algorithm
from .star_selector_config import DiaCatalogSourceSelectorConfig, ObjectSizeStarSelectorConfig

__all__ = [
    "DiaCatalogSourceSelectorConfig",
    "DiaCatalogSourceSelectorTask",
    "ObjectSizeNoGoodSourcesError",
    "ObjectSizeNoSourcesError",
    "ObjectSizeStarSelectorConfig",
    "ObjectSizeStarSelectorTask",
    "sourceSelectorRegistry",
]

sourceSelectorRegistry = makeRegistry("Tasks that choose sources from a catalogue")


class ObjectSizeNoSourcesError(ErrorMetadata, algorithm.ObjectSizeNoSourcesError, pipeBase.AlgorithmError):
    """The catalogue has no source at all, as a repeatable failure of a pipeline task."""


class ObjectSizeNoGoodSourcesError(ErrorMetadata, algorithm.ObjectSizeNoGoodSourcesError, pipeBase.AlgorithmError):
    """No source is bright, clean and of a sensible width, as a repeatable failure of a pipeline task."""


class _SourceSelector(SchemaVerbs, pipeBase.Task):
    """What the selectors share."""

    def run(self, sourceCat, sourceSelectedField=None, matches=None, exposure=None):
        """Choose sources.

        Parameters
        ----------
        sourceCat : `astropy.table.Table`
        sourceSelectedField : `str`, optional
            Column to set for the sources chosen; added when missing.
        matches, exposure
            See `selectSources`.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``sourceCat`` (the sources chosen, a copy) and ``selected`` (boolean, by row).
        """
        selected = self.selectSources(sourceCat, matches, exposure).selected
        if sourceSelectedField is not None:
            sourceCat[sourceSelectedField] = selected
        return pipeBase.Struct(sourceCat=sourceCat[selected], selected=selected)


class ObjectSizeStarSelectorTask(_SourceSelector):
    """Stars are what crowds at the smallest size."""

    ConfigClass = ObjectSizeStarSelectorConfig
    _DefaultName = "objectSizeStarSelector"
    usesMatches = False

    def selectSources(self, sourceCat, matches=None, exposure=None):
        """See `stillsky.diffim.star_selectors.selectBySize`; ``matches`` and ``exposure`` are not used."""
        try:
            selected = algorithm.selectBySize(sourceCat, self.config)
        except algorithm.ObjectSizeNoSourcesError as error:
            raise ObjectSizeNoSourcesError() from error
        except algorithm.ObjectSizeNoGoodSourcesError as error:
            raise ObjectSizeNoGoodSourcesError(error.metadata) from error
        return pipeBase.Struct(selected=selected)


class DiaCatalogSourceSelectorTask(_SourceSelector):
    """Stars are what a reference catalogue calls so, within limits of flux and colour."""

    ConfigClass = DiaCatalogSourceSelectorConfig
    _DefaultName = "diaCatalogSourceSelector"
    usesMatches = True

    def selectSources(self, sourceCat, matches=None, exposure=None):
        """See `stillsky.diffim.star_selectors.selectByReference`; RuntimeError without matches."""
        if matches is None:
            raise StillskyError("DiaCatalogSourceSelectorTask: matches to a reference catalogue are wanted")
        return pipeBase.Struct(selected=algorithm.selectByReference(sourceCat, matches, self.config))


sourceSelectorRegistry.register("objectSize", ObjectSizeStarSelectorTask)
sourceSelectorRegistry.register("diaCatalog", DiaCatalogSourceSelectorTask)
