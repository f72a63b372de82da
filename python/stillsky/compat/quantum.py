"""runDataRef of any pipeline task: the one quantum of a data id, run at once."""

from lsst.daf.butler import MissingDatasetTypeError
from lsst.pipe.base import QuantumContext
from lsst.pipe.base.all_dimensions_quantum_graph_builder import AllDimensionsQuantumGraphBuilder
from lsst.pipe.base.pipeline_graph import PipelineGraph

from ..errors import NoDataError
from .store import DataRef

__all__ = ["runDataRef"]


class _KeepingContext(QuantumContext):
    """Remembers the struct that was put, which ``runDataRef`` returns."""

    struct = None

    def put(self, values, dataset_refs):
        if hasattr(values, "getDict"):
            self.struct = values
        super().put(values, dataset_refs)


def runDataRef(task, dataRef):
    """Read the inputs of a task through a data reference, run it, write the outputs; the struct of its ``run``.

    Parameters
    ----------
    task : `lsst.pipe.base.PipelineTask`
    dataRef : `stillsky.compat.store.DataRef`
        Its data id names one quantum of the task; inputs are searched in its collections, outputs go to its run, over those of
        an earlier call.

    Raises
    ------
    NoDataError
        The inputs of the data id are not there.
    """
    dataRef = dataRef if isinstance(dataRef, DataRef) else DataRef(dataRef.butler, dataRef.dataId)
    store = dataRef.store
    graph = PipelineGraph()
    graph.add_task(task._DefaultName, type(task), task.config)
    graph.resolve(store.butler.registry)
    graph.register_dataset_types(store.butler)
    quantum = _quantumOf(graph, task._DefaultName, dataRef)
    for refs in quantum.outputs.values():
        there = (store.find(ref.datasetType.name, ref.dataId) for ref in refs)
        store.butler.pruneDatasets([ref for ref in there if ref], disassociate=True, unstore=True, purge=True)
    context = _KeepingContext(store.butler, quantum)
    connections = task.config.ConnectionsClass(config=task.config)
    inputRefs, outputRefs = connections.buildDatasetRefs(quantum)
    task.runQuantum(context, inputRefs, outputRefs)
    return context.struct


def _quantumOf(graph, label, dataRef):
    store = dataRef.store
    dimensions = graph.tasks[label].dimensions
    given = dict(getattr(dataRef.dataId, "mapping", dataRef.dataId))
    wanted = {key: given[key] for key in dimensions.names if key in given}
    names = {key: f"id_{key}" for key in wanted}
    builder = AllDimensionsQuantumGraphBuilder(
        graph,
        store.butler,
        where=" AND ".join(f"{key}={name}" for key, name in names.items()),
        bind={names[key]: value for key, value in wanted.items()},
        input_collections=[one for one in store.collections if one != store.run] or store.collections,
        output_run=store.run,
        clobber=True,
    )
    # not build(): that would look up the versions of all packages for every quantum
    predicted = builder.finish(attach_datastore_records=False).assemble()
    quanta = list(predicted.build_execution_quanta().values())
    if len(quanta) != 1:
        raise _notOne(graph, label, store, len(quanta), given)
    return quanta[0]


def _notOne(graph, label, store, found, given):
    """The error of a data id that is not one quantum: what is missing, or that it names several."""
    said = f"{label}: wanted the inputs of one quantum, found {found}"
    if found:
        return NoDataError(f"{said}; the data id leaves open which", found=f"{given}")
    task = graph.tasks[label]
    names = {edge.parent_dataset_type_name for edge in (*task.inputs.values(), *task.prerequisite_inputs.values())}
    absent = sorted(name for name in names if not _hasAny(store, name))
    if absent:
        said += f"; there is no {', '.join(absent)} in {', '.join(store.searched)}"
    return NoDataError(
        said, found=f"{given}", remedy="--input names the collections to read; -c connections.NAME=TYPE other types"
    )


def _hasAny(store, name):
    try:
        return bool(
            store.butler.query_datasets(name, collections=store.searched, find_first=False, limit=1, explain=False)
        )
    except MissingDatasetTypeError:
        return False
