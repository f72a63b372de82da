"""What a task writes about itself before and after it ran: configuration, schemas, metadata, versions of packages.

Each compares with what the run has, and raises `TaskError` where they differ; nothing is written before all was compared.
"""

import logging

from lsst.pipe.base import TaskError

from .store import DataRef, RunStore

__all__ = ["writeConfig", "writeMetadata", "writePackageVersions", "writeSchemas"]

_LOG = logging.getLogger("stillsky.compat")


def writeConfig(task, butler, clobber=False, doBackup=True):
    """Put the task's configuration as ``<name>_config``, or check that the one that is there is equal.

    Parameters
    ----------
    task : `lsst.pipe.base.Task`
    butler : `lsst.daf.butler.Butler` with a default run, or `RunStore`
    clobber : `bool`
        Replace it, with a copy of the old one in the run ``<run>~<n>`` if ``doBackup``.

    Raises
    ------
    lsst.pipe.base.TaskError
        The stored one differs; the message names the fields.
    """
    name = task._getConfigName()
    if name is None:
        return
    store = RunStore(butler)
    kind = store.register(name, "Config")
    if clobber:
        store.replace(task.config, kind, backup=doBackup)
        return
    try:
        old = store.putOnce(task.config, kind)
    except Exception as error:  # raised again: whatever it was that a file or its formatter went wrong with
        error.add_note(
            f"{name} of run {store.run} cannot be read; clobber it without a backup (--clobber-config --no-backup-config)"
        )
        raise
    if old is None:
        return
    differences = []
    if not task.config.compare(old, shortcut=False, output=differences.append):
        for line in differences:
            _LOG.critical("%s: %s", name, line)
        raise TaskError(
            f"{name}: config mismatch with run {store.run}: {'; '.join(differences)}; wanted the same, a new output, or clobber"
        )


def writeSchemas(task, butler, clobber=False, doBackup=True):
    """Put the schema of every catalog of the task's hierarchy as ``<name>_schema``, or check that it is equal.

    Raises
    ------
    lsst.pipe.base.TaskError
        A stored one differs; none has been written then.
    """
    store = RunStore(butler)
    catalogs = {f"{name}_schema": schema for name, schema in task.getAllSchemaCatalogs().items()}
    kinds = {name: store.register(name, "StillskyTable") for name in catalogs}
    new = []
    for name, schema in catalogs.items():
        old = None if clobber else store.get(name)
        if old is None:
            new.append(name)
        elif _columns(old) != _columns(schema):
            changed = sorted(set(_columns(old)) ^ set(_columns(schema)))
            raise TaskError(f"{name}: schema mismatch with run {store.run}: {', '.join(one[0] for one in changed)}")
    with store.butler.transaction():
        for name in new:
            if clobber:
                store.replace(catalogs[name], kinds[name], backup=doBackup)
            else:
                store.put(catalogs[name], kinds[name])


def _columns(table):
    # texts have no fixed length: an empty column may come back with another one
    kinds = {
        name: "text" if column.dtype.kind in "SUO" else str(column.dtype) for name, column in table.columns.items()
    }
    return [(name, kinds[name], str(column.unit)) for name, column in table.columns.items()]


def writeMetadata(task, dataRef):
    """Put the metadata of the task's hierarchy as ``<name>_metadata`` for a data reference; a failure is a warning."""
    try:
        name = task._getMetadataName()
        if name is None:
            return
        reference = dataRef if isinstance(dataRef, DataRef) else DataRef(dataRef.butler, dataRef.dataId)
        universe, given = reference.butler.dimensions, reference.dataId
        keys = given.dimensions.names if hasattr(given, "dimensions") else universe.dimensions.names & set(given)
        names = universe.conform(keys).required  # what the others imply is no key of its own: visit and band are visit
        kind = reference.store.register(name, "TaskMetadata", tuple(names))
        required = {key: reference.dataId[key] for key in names}
        reference.store.replace(task.getFullMetadata(), kind, required)
    except Exception as error:  # a verb that never fails: what was computed must not be lost for what was measured
        _LOG.warning("Could not persist metadata for dataId=%s: %s", getattr(dataRef, "dataId", dataRef), error)


def writePackageVersions(task, butler, clobber=False, doBackup=True, dataset="packages"):
    """Put the versions of the packages in use, or compare those in common; new ones are added.

    Raises
    ------
    lsst.pipe.base.TaskError
        A package has another version than in the stored set.
    """
    from lsst.utils.packages import Packages

    store = RunStore(butler)
    kind = store.register(dataset, "Packages")
    new = Packages.fromSystem()
    if clobber:
        store.replace(new, kind, backup=doBackup)
        return
    old = store.putOnce(new, kind)
    if old is None:
        return
    differences = new.difference(old)
    if differences:
        said = "; ".join(f"{name}: {now} in use, {then} stored" for name, (now, then) in sorted(differences.items()))
        raise TaskError(f"version mismatch with run {store.run}: {said}; wanted the same, a new output, or clobber")
    if new.extra(old):
        old.update(new)
        store.replace(old, kind)
