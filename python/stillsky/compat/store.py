"""A run of a repository as second-generation code saw it: things are put, replaced with a backup, asked for."""

import weakref

from lsst.daf.butler import CollectionType, DatasetType, MissingCollectionError
from lsst.daf.butler.registry import ConflictingDefinitionError

from ..butler.task_metadata import readTaskMetadata
from .chains import chainExists

__all__ = ["DataRef", "RunStore"]


class RunStore:
    """A Butler, the run that is written to, and the collections that are searched.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler` or `RunStore`
        Of a plain butler its default run and collections are taken.
    run : `str`, optional
        It is registered, unless the object owns its butler: then before something is put.
    collections : sequence of `str`, optional
        Searched after the run.
    owner : `bool`
        The butler is this object's: it is closed with it, by `close` or when nothing refers to it any more.
    """

    def __init__(self, butler, run=None, collections=None, *, owner=False):
        self._source = butler  # keeps an owner alive
        if isinstance(butler, RunStore):
            collections = butler.collections if collections is None else collections
            butler, run = butler.butler, run or butler.run
        self.butler = butler
        self.run = run or butler.run
        self._closed = weakref.finalize(self, butler.close) if owner else None
        if self.run is None:
            raise ValueError("butler: wanted one with a default run, or a run beside it")
        if not owner:
            butler.collections.register(self.run)
        self.collections = [self.run, *(c for c in collections or butler.collections.defaults if c != self.run)]

    def close(self):
        """Close the butler if it is this object's own; nothing can be read or written any more."""
        if self._closed is not None:
            self._closed()

    @property
    def searched(self):
        """The collections, without a run that is not there yet."""
        return [one for one in self.collections if one != self.run or chainExists(self.butler, one)]

    def register(self, name, storageClass, dimensions=()):
        """The dataset type of that name, registered unless it is."""
        kind = DatasetType(name, dimensions, storageClass, universe=self.butler.dimensions)
        self.butler.registry.registerDatasetType(kind)
        return kind

    def find(self, name, dataId=None):
        """Reference of a dataset in the run itself, or None."""
        try:
            return self.butler.find_dataset(name, dataId or {}, collections=[self.run])
        except (LookupError, MissingCollectionError):  # no such dataset type, or no such run yet
            return None

    def get(self, name, dataId=None):
        """What is stored in the run under that name, or None."""
        ref = self.find(name, dataId)
        return None if ref is None else self.butler.get(ref)

    def put(self, thing, kind, dataId=None):
        """Put a new dataset."""
        self.butler.collections.register(self.run)
        return self.butler.put(thing, kind, dict(dataId or {}), run=self.run)

    def putOnce(self, thing, kind, dataId=None):
        """Put a dataset unless there is one, also of a writer at the same time; what is there then, or None."""
        old = self.get(kind.name, dataId)
        if old is None:
            try:
                self.put(thing, kind, dataId)
            except ConflictingDefinitionError:
                self.butler.registry.refresh()
                old = self.get(kind.name, dataId)
        return old

    def replace(self, thing, kind, dataId=None, *, backup=False):
        """Put a dataset over one that may be there; with ``backup`` the old one goes to the run ``<run>~<n>``."""
        old = self.find(kind.name, dataId)
        if old is not None:
            if backup:
                self.butler.put(self.butler.get(old), kind, dict(dataId or {}), run=self._backupRun(kind, dataId))
            self.butler.pruneDatasets([old], disassociate=True, unstore=True, purge=True)
        return self.put(thing, kind, dataId)

    def _backupRun(self, kind, dataId):
        """First run ``<run>~<n>`` that holds no such dataset yet."""
        number = 1
        while True:
            name = f"{self.run}~{number}"
            self.butler.collections.register(name, CollectionType.RUN)
            if self.butler.find_dataset(kind, dict(dataId or {}), collections=[name]) is None:
                return name
            number += 1


class DataRef:
    """A data reference: one data id of a repository, with names that are read and written by it.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler` or `RunStore`
    dataId : mapping or `lsst.daf.butler.DataCoordinate`
    run : `str`, optional
    """

    def __init__(self, butler, dataId, run=None):
        self.store = butler if isinstance(butler, RunStore) and run is None else RunStore(butler, run)
        self.dataId = dataId

    @property
    def butler(self):
        """The Butler."""
        return self.store.butler

    @property
    def run(self):
        """The run that is written to."""
        return self.store.run

    def get(self, name, immediate=True, **parameters):
        """The dataset of that name for this data id; keyword parameters such as ``bbox`` go to its formatter.

        ``immediate`` is of old and changes nothing: what is asked for is read at once.

        The suffixes of old names work: ``name_sub`` with ``bbox``, ``name_md`` (metadata), ``name_wcs`` and other components.
        """
        name = self._current(name)
        if "." not in name and self.butler.get_dataset_type(name).storageClass_name == "TaskMetadata":
            return readTaskMetadata(self.butler, name, self._idFor(name), collections=self.store.searched)
        return self.butler.get(name, self._idFor(name), parameters=parameters or None, collections=self.store.searched)

    def put(self, thing, name):
        """Put under that name for this data id; the dataset type is registered, or replaced in the run."""
        kind = self.butler.get_dataset_type(name)
        return self.store.replace(thing, kind, self._idFor(name))

    def datasetExists(self, name):
        """Whether there is a dataset of that name, with its file."""
        try:
            return bool(self.butler.exists(self._current(name), self._idFor(name), collections=self.store.searched))
        except (KeyError, LookupError):
            return False

    def _current(self, name):
        types = {one.name for one in self.butler.registry.queryDatasetTypes()}
        if name in types:
            return name
        stem, _, suffix = name.rpartition("_")
        if stem in types:
            return stem if suffix == "sub" else f"{stem}.{'metadata' if suffix == 'md' else suffix}"
        return name

    def _idFor(self, name):
        """The part of the data id that the dataset type has, with what the rest of it implies."""
        kind = self.butler.get_dataset_type(name.partition(".")[0])
        given = self.dataId.mapping if hasattr(self.dataId, "mapping") else self.dataId
        return {key: given[key] for key in kind.dimensions.names if key in given}

    def __repr__(self):
        return f"DataRef({dict(getattr(self.dataId, 'mapping', self.dataId))}, run={self.run!r})"
