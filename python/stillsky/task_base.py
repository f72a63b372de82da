"""Task verbs that every stillsky task offers and that lsst-pipe-base no longer has."""

import numpy as np

__all__ = ["ErrorMetadata", "SchemaVerbs", "assignMetadata"]


class ErrorMetadata:
    """The ``metadata`` of an algorithm's error, for the error that a pipeline task raises in its place.

    A mixin that stands before `lsst.pipe.base.AlgorithmError`, whose ``metadata`` is abstract: the algorithm's own
    constructor sets the attribute.
    """

    @property
    def metadata(self):
        """What was known when the work was given up: `dict` of names to plain values."""
        return self.__dict__.setdefault("_metadata", {})

    @metadata.setter
    def metadata(self, values):
        self._metadata = dict(values)


class SchemaVerbs:
    """Schema catalogs of a task and of its whole hierarchy; a mixin for `lsst.pipe.base.Task`.

    Notes
    -----
    lsst-pipe-base dropped these verbs in 2022. Schemas are known once a task is constructed; a catalog is an empty
    `astropy.table.Table` with the columns, units and descriptions that the task will write.
    """

    def getSchemaCatalogs(self):
        """Catalogs of this task alone.

        Returns
        -------
        catalogs : `dict` [`str`, `astropy.table.Table`]
            Dataset type name to empty catalog. A task that writes catalogs overrides this.
        """
        return {}

    def getAllSchemaCatalogs(self):
        """Catalogs of all tasks of the hierarchy; the same from whichever task of it this is called.

        Returns
        -------
        catalogs : `dict` [`str`, `astropy.table.Table`]
        """
        catalogs = dict(self.getSchemaCatalogs())
        for task in self.iterTasks():
            if hasattr(task, "getSchemaCatalogs"):
                catalogs.update(task.getSchemaCatalogs())
        return catalogs

    def iterTasks(self):
        """The live tasks of the hierarchy, the top-level task first."""
        for reference in self.getTaskDict().values():
            task = reference()
            if task is not None:
                yield task


def assignMetadata(metadata, values, prefix=""):
    """Copy values into a task's metadata, replacing those of an earlier run.

    Parameters
    ----------
    metadata : `lsst.pipe.base.TaskMetadata`
    values : mapping
        Numbers, strings, booleans, sequences of one of these, or mappings, whose keys are joined with a dot. NumPy
        types are converted; None and empty sequences, which task metadata cannot hold, are left out, and a key of an
        earlier run is removed.
    prefix : `str`
    """
    for key, value in values.items():
        name = f"{prefix}{key}"
        if hasattr(value, "items"):
            assignMetadata(metadata, value, f"{name}.")
            continue
        if isinstance(value, np.ndarray):
            value = value.tolist()
        elif isinstance(value, np.generic):
            value = value.item()
        if name in metadata:
            del metadata[name]
        if value is None or (not isinstance(value, str) and hasattr(value, "__len__") and len(value) == 0):
            continue
        if isinstance(value, tuple | list):
            items = [v.item() if isinstance(v, np.generic) else v for v in value]
            for item in items:
                metadata.add(name, item)
        else:
            metadata[name] = value
