"""Verbs of the early pipeline tasks: dataset types of a configuration, arguments by name, saving a struct."""

from lsst.pipe.base import Struct

__all__ = ["datasetTypes", "saveStruct"]

_KINDS = {
    "input": ("inputs", "prerequisiteInputs"),
    "output": ("outputs",),
    "prerequisite": ("prerequisiteInputs",),
    "initInput": ("initInputs",),
    "initOutput": ("initOutputs",),
}


def datasetTypes(config, kind=None):
    """Dataset types that a configuration declares.

    Parameters
    ----------
    config : `lsst.pipe.base.PipelineTaskConfig`
    kind : {"input", "output", "prerequisite", "initInput", "initOutput"}, optional
        All by default.

    Returns
    -------
    types : `dict` [`str`, `lsst.pipe.base.Struct`]
        Name of the connection to ``name``, ``dimensions``, ``storageClass``, ``scalar``, ``manualLoad``.
    """
    connections = config.connections.ConnectionsClass(config=config)
    names = set()
    for group in _KINDS[kind] if kind else [one for groups in _KINDS.values() for one in groups]:
        names |= set(getattr(connections, group))
    return {name: _described(connections.allConnections[name]) for name in sorted(names)}


def _described(connection):
    return Struct(
        name=connection.name,
        dimensions=tuple(sorted(getattr(connection, "dimensions", ()))),
        storageClass=connection.storageClass,
        scalar=not connection.multiple,
        manualLoad=getattr(connection, "deferLoad", False),
    )


def saveStruct(config, struct, outputDataRefs, butler):
    """Put each attribute of a struct that is named like an output.

    Parameters
    ----------
    config : `lsst.pipe.base.PipelineTaskConfig`
    struct : `lsst.pipe.base.Struct`
    outputDataRefs : mapping or struct
        Name of the output to its reference or list of references (`lsst.daf.butler.DatasetRef`).
    butler : object with ``put(thing, reference)``
        A Butler, or a quantum's context.

    Raises
    ------
    ValueError
        A list of other length than its references.
    """
    given = outputDataRefs if hasattr(outputDataRefs, "items") else vars(outputDataRefs)
    for name in datasetTypes(config, "output"):
        refs = given.get(name)
        thing = getattr(struct, name, None)
        if refs is None or thing is None:
            continue
        pairs = [(thing, refs)] if not isinstance(refs, (list, tuple)) else list(zip(thing, refs, strict=True))
        for one, ref in pairs:
            butler.put(one, ref)
