"""Task verbs that stillsky's tasks offer and that lsst-pipe-base no longer has; what they do is in `stillsky.compat`."""

import contextlib
import functools
import os
import warnings

import numpy as np

__all__ = [
    "CommandLineVerbs",
    "EarlyPipelineVerbs",
    "ErrorMetadata",
    "STORAGE",
    "SchemaVerbs",
    "assignMetadata",
    "knowStorageClasses",
    "earlierArguments",
    "quantumThreads",
]


#: Storage classes and formatters, for ``StorageClassFactory().addFromConfig`` and as a seed of repositories.
STORAGE = "resource://stillsky/butler/storage.yaml"


def knowStorageClasses():
    """Make the storage classes of stillsky known to this process, unless a repository has.

    For modules whose connections are components of datasets: a job of bps reads its graph, and looks for these components,
    before it opens the repository.
    """
    from lsst.daf.butler import StorageClassFactory

    factory = StorageClassFactory()
    if "StillskyExposure" not in factory:
        factory.addFromConfig(STORAGE)


def quantumThreads():
    """Context in which the compiled core uses one thread, unless STILLSKY_NUM_THREADS is set: the scheduler of a pipeline
    fills the machine with quanta."""
    from .threads import numThreads

    return contextlib.nullcontext() if os.environ.get("STILLSKY_NUM_THREADS") else numThreads(1)


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


def earlierArguments(order=(), *, unused=(), **renamed):
    """Let a method be called with the arguments that it had in 2018 and 2019, too.

    Parameters
    ----------
    order : sequence of `str` or `str`
        All arguments of then, in their places; wanted where some are unused now.
    unused : sequence of `str`
        Those of them that are no more. A call with one of them by name, or with as many arguments as there were, is taken
        in the old order.
    **renamed
        Old name to new name.

    Returns
    -------
    decorator : callable
        The method has the attribute ``earlierArguments``, the names that it understands beside its own.
    """
    order = order.split() if isinstance(order, str) else list(order)

    def decorate(method):
        @functools.wraps(method)
        def understand(self, *args, **kwargs):
            if unused and (len(args) + len(kwargs) == len(order) or kwargs.keys() & set(unused)):
                given = dict(zip(order, args, strict=False))
                if twice := given.keys() & kwargs.keys():
                    raise TypeError(f"{method.__name__}() got multiple values for argument {min(twice)!r}")
                args, kwargs = (), {name: v for name, v in (given | kwargs).items() if name not in unused}
            for old, new in renamed.items():
                if old in kwargs:
                    kwargs[new] = kwargs.pop(old)
            return method(self, *args, **kwargs)

        understand.earlierArguments = frozenset(unused) | renamed.keys()
        return understand

    return decorate


class SchemaVerbs:
    """Schema catalogs of a task and of its whole hierarchy; a mixin for `lsst.pipe.base.Task`.

    Parameters
    ----------
    *args
        ``config``, ``name``, ``parentTask``, ``log``, as tasks took them once; all but the first are deprecated.
    **kwargs
        The same by name, which is how they are given today.

    Notes
    -----
    lsst-pipe-base dropped these verbs in 2022. Schemas are known once a task is constructed; a catalog is an empty
    `astropy.table.Table` with the columns, units and descriptions that the task will write.
    """

    def __init__(self, *args, **kwargs):
        names = ("config", "name", "parentTask", "log")[: len(args)]
        if len(args) > len(names) or kwargs.keys() & set(names):
            raise TypeError(
                f"{type(self).__name__}: wanted config, name, parentTask, log once each, given {args} {kwargs}"
            )
        if len(args) > 1:
            said = ", ".join(names[1:])
            warnings.warn(f"{type(self).__name__}: give {said} by name", DeprecationWarning, stacklevel=2)
        super().__init__(**dict(zip(names, args, strict=True)), **kwargs)

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


class CommandLineVerbs(SchemaVerbs):
    """Verbs of second-generation command-line tasks; a mixin for `lsst.pipe.base.PipelineTask`."""

    @classmethod
    def applyOverrides(cls, config):
        """Hook: change a configuration after the instrument's overrides and before those of the command line."""

    @classmethod
    def parseAndRun(cls, args=None, config=None, log=None, doReturnResults=False):
        """Parse an argument list and run the command; see `stillsky.compat.runner.parseAndRun`."""
        from .compat.runner import parseAndRun

        return parseAndRun(cls, args, config, log, doReturnResults)

    @classmethod
    def _makeArgumentParser(cls):
        """Parser of the options, with ``--id`` for the data of the main input."""
        from .compat.arguments import ArgumentParser

        dimensions = set(cls.ConfigClass.ConnectionsClass.dimensions)

        def mainInput(config):
            """The input that shares most dimensions with a quantum, the first by name of several."""
            connections = cls.ConfigClass.ConnectionsClass(config=config)
            inputs = [(name, connections.allConnections[name]) for name in sorted(connections.inputs)]
            ranked = sorted(inputs, key=lambda item: -len(dimensions & set(item[1].dimensions)))
            return ranked[0][1].name if ranked else "raw"

        parser = ArgumentParser(cls._DefaultName)
        parser.add_id_argument("--id", mainInput, dimensions=tuple(sorted(dimensions)) or None)
        return parser

    @classmethod
    def _targetArguments(cls, parsedCmd):
        """Keyword arguments of ``runDataRef`` that options give (`dict`)."""
        return {}

    def runDataRef(self, dataRef):
        """Read the inputs through a data reference, run, write the outputs; see `stillsky.compat.quantum.runDataRef`."""
        from .compat.quantum import runDataRef

        return runDataRef(self, dataRef)

    def _getConfigName(self):
        return f"{self._DefaultName}_config"

    def _getMetadataName(self):
        return f"{self._DefaultName}_metadata"

    def writeConfig(self, butler, clobber=False, doBackup=True):
        """Store the configuration, or check that a stored one is equal; see `stillsky.compat.write_verbs.writeConfig`."""
        from .compat.write_verbs import writeConfig

        writeConfig(self, butler, clobber, doBackup)

    def writeSchemas(self, butler, clobber=False, doBackup=True):
        """Store the schemas of the catalogs, or check; see `stillsky.compat.write_verbs.writeSchemas`."""
        from .compat.write_verbs import writeSchemas

        writeSchemas(self, butler, clobber, doBackup)

    def writeMetadata(self, dataRef):
        """Store the metadata of this task and its subtasks; a failure is a warning."""
        from .compat.write_verbs import writeMetadata

        writeMetadata(self, dataRef)

    def writePackageVersions(self, butler, clobber=False, doBackup=True, dataset="packages"):
        """Store the versions of the packages in use, or compare; see `stillsky.compat.write_verbs.writePackageVersions`."""
        from .compat.write_verbs import writePackageVersions

        writePackageVersions(self, butler, clobber, doBackup, dataset)

    def getResourceConfig(self):
        """``config.resources`` where the configuration has it, else None."""
        return getattr(self.config, "resources", None)


class EarlyPipelineVerbs:
    """Verbs of the pipeline tasks of 2018 and 2019; a mixin for `lsst.pipe.base.PipelineTask`."""

    @classmethod
    def getDatasetTypes(cls, config, configClass=None):
        """All dataset types of a configuration by connection; see `stillsky.compat.pipeline_verbs.datasetTypes`.

        ``configClass`` is "input", "output", "prerequisite", "initInput" or "initOutput"; all by default.
        """
        from .compat.pipeline_verbs import datasetTypes

        return datasetTypes(config, configClass)

    @classmethod
    def getInputDatasetTypes(cls, config):
        """Inputs, prerequisites among them, by connection."""
        return cls.getDatasetTypes(config, "input")

    @classmethod
    def getOutputDatasetTypes(cls, config):
        """Outputs by connection."""
        return cls.getDatasetTypes(config, "output")

    @classmethod
    def getInitInputDatasetTypes(cls, config):
        """Inputs of the constructor by connection."""
        return cls.getDatasetTypes(config, "initInput")

    @classmethod
    def getInitOutputDatasetTypes(cls, config):
        """Outputs of the constructor by connection."""
        return cls.getDatasetTypes(config, "initOutput")

    @classmethod
    def getPrerequisiteDatasetTypes(cls, config):
        """Names of the inputs that must exist and do not constrain the graph (`set` of `str`)."""
        return set(cls.getDatasetTypes(config, "prerequisite"))

    @classmethod
    def getPerDatasetTypeDimensions(cls, config):
        """Dimensions that may differ between dataset types of one quantum: none, validity ranges replaced them."""
        return frozenset()

    def getInitOutputDatasets(self):
        """Objects known after construction, by connection."""
        names = self.getInitOutputDatasetTypes(self.config)
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def adaptArgsAndRun(self, inputData, inputDataIds, outputDataIds, butler):
        """Call ``run`` with the inputs by name (`dict`); data ids and butler are for tasks that override this."""
        return self.run(**inputData)

    def saveStruct(self, struct, outputDataRefs, butler):
        """Put each attribute that is named like an output; see `stillsky.compat.pipeline_verbs.saveStruct`."""
        from .compat.pipeline_verbs import saveStruct

        saveStruct(self.config, struct, outputDataRefs, butler)


class _RunnerClass:
    """``RunnerClass`` of a class, which names `stillsky.compat.runner.TaskRunner` without loading it."""

    def __get__(self, instance, owner):
        from .compat.runner import TaskRunner

        return TaskRunner


CommandLineVerbs.RunnerClass = _RunnerClass()


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
