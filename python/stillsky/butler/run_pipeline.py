"""Run the shipped pipelines, or any other, from Python in this process."""

from dataclasses import dataclass
from importlib.resources import files

from ..errors import DomainError

__all__ = ["PipelineRun", "pipelineUri", "runPipeline", "shippedPipelines"]


def shippedPipelines():
    """Names of the pipelines that come with the package."""
    folder = files("stillsky") / "pipelines"
    return sorted(path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml"))


def pipelineUri(name):
    """What pipetask and bps are told of a pipeline: a shipped one by its name; anything else is returned as it is.

    Raises
    ------
    DomainError
        A plain word that is no shipped pipeline.
    """
    known = shippedPipelines()
    if name in known:
        return f"resource://stillsky/pipelines/{name}.yaml"
    if "." not in name and "/" not in name:
        raise DomainError(f"pipeline: wanted a file or one of {', '.join(known)}; given {name!r}")
    return name


@dataclass
class PipelineRun:
    """What `runPipeline` did; a context manager that closes the butler.

    Attributes
    ----------
    butler : `lsst.daf.butler.Butler`
        Of the output collection: ``run.butler.get(datasetType, dataId)``.
    quanta : `list` [`lsst.daf.butler.Quantum`]
        What was executed.
    """

    butler: object
    quanta: list

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.butler.close()


def runPipeline(path, pipeline, inputs, output, *, where="", config=None):
    """Execute a pipeline, one quantum after the other.

    Parameters
    ----------
    path : `str`
        Folder of the repository.
    pipeline : `str`
        Name of a shipped pipeline (`shippedPipelines`), or a YAML file.
    inputs : sequence of `str`
        Collections.
    output : `str`
        Chain of collections for this run and its inputs, as the option ``-o`` of pipetask.
    where : `str`
        Which data, as the option ``-d``: ``"instrument='SimCam' AND visit > 1000"``.
    config : `dict` [`str`, object], optional
        ``{"label:field": value}``, as the option ``-c``; parameters of the pipeline as ``"parameters:name"``.

    Returns
    -------
    run : `PipelineRun`

    Raises
    ------
    DomainError
        No such pipeline, or a key of ``config`` without a label.
    lsst.pipe.base.quantum_graph_builder.QuantumGraphBuilderError, FileNotFoundError
        There is nothing to do.

    Notes
    -----
    The same numbers as ``pipetask run`` and ``bps submit``, without a process for each quantum.
    """
    from lsst.pipe.base import Pipeline
    from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

    made = Pipeline.from_uri(pipelineUri(pipeline))
    for key, value in (config or {}).items():
        label, found, field = key.partition(":")
        if not found:
            raise DomainError(f"config: wanted label:field, given {key!r}")
        made.addConfigOverride(label, field, value)
    butler = SimplePipelineExecutor.prep_butler(str(path), inputs=list(inputs), output=output)
    try:
        executor = SimplePipelineExecutor.from_pipeline(made, butler=butler, where=where)
        return PipelineRun(butler, list(executor.run(register_dataset_types=True)))
    except BaseException:
        butler.close()
        raise
