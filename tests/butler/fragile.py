"""A task whose process dies where it hurts, and how pipelines of it are run."""

import multiprocessing
import os
import signal
from pathlib import Path

from lsst.pex.config import Field
from lsst.pipe.base import PipelineGraph, PipelineTask, PipelineTaskConfig, PipelineTaskConnections
from lsst.pipe.base import connectionTypes as cT

from stillsky.image import Image

_VISIT = ("instrument", "visit", "detector")


class DoubleConnections(PipelineTaskConnections, dimensions=_VISIT):
    calexp = cT.Input(name="calexp", doc="In.", storageClass="StillskyExposure", dimensions=_VISIT)
    doubled = cT.Output(name="doubled", doc="Twice the input.", storageClass="StillskyImage", dimensions=_VISIT)
    halved = cT.Output(name="halved", doc="Half of it.", storageClass="StillskyImage", dimensions=_VISIT)


class DoubleConfig(PipelineTaskConfig, pipelineConnections=DoubleConnections):
    traps = Field(
        dtype=str, default="", doc="Folder with files visit.where: the process dies there, and takes the file with it."
    )


class DoubleTask(PipelineTask):
    """Twice and half of an image."""

    ConfigClass, _DefaultName = DoubleConfig, "double"

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        pixels = butlerQC.get(inputRefs.calexp).image.array
        for where in ("between", "writing", "unrecorded"):
            trap = Path(self.config.traps, f"{inputRefs.calexp.dataId['visit']}.{where}")
            if self.config.traps and trap.exists():
                _arm(trap, where)
        butlerQC.put(Image(pixels * 2), outputRefs.doubled)
        if _armed:
            _armed.pop()()
        butlerQC.put(Image(pixels / 2), outputRefs.halved)


_armed = []  # what kills after the first output


def _arm(trap, where):
    """Die after the first output, in the middle of its file, or when the file is there and the registry does not know it."""
    from lsst.daf.butler.datastores.fileDatastore import FileDatastore

    from stillsky.butler.formatters import ImageFormatter

    def die(*args, **kwargs):
        trap.unlink()
        os.kill(os.getpid(), signal.SIGKILL)

    def half(self, image, uri):
        Path(uri.ospath).write_bytes(b"half a file" * 1000)
        die()

    if where == "between":
        _armed.append(die)
    elif where == "writing":
        ImageFormatter.write_local_file = half  # this process is about to end
    else:
        FileDatastore._extractIngestInfo = die


def runDoubles(repository, *, workers, traps="", restart=False):
    """Run `DoubleTask` on all visits into the run u/doubled, as pipetask does: each quantum in a process of its own.

    ``restart`` is --extend-run --skip-existing --clobber-outputs.
    """
    from lsst.daf.butler import Butler
    from lsst.pipe.base import TaskFactory
    from lsst.pipe.base.all_dimensions_quantum_graph_builder import AllDimensionsQuantumGraphBuilder
    from lsst.pipe.base.mp_graph_executor import MPGraphExecutor
    from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor

    multiprocessing.get_context("forkserver").set_forkserver_preload(["lsst.pipe.base", "stillsky.butler.repository"])
    before = ["u/doubled"] if restart else []
    with Butler.from_config(
        str(repository), writeable=True, run="u/doubled", collections=[*before, "MyCam/defaults"]
    ) as butler:
        graph = PipelineGraph(universe=butler.dimensions)
        config = DoubleConfig()
        config.traps = str(traps)
        graph.add_task("double", DoubleTask, config)
        predicted = (
            AllDimensionsQuantumGraphBuilder(
                graph, butler, input_collections=["MyCam/defaults"], output_run="u/doubled", skip_existing_in=before,
                clobber=restart,
            )
            .finish(attach_datastore_records=False)
            .assemble()
        )  # fmt: skip
        predicted.pipeline_graph.register_dataset_types(butler)
        predicted.write_init_outputs(butler, skip_existing=restart)
        predicted.write_configs(butler, compare_existing=restart)
        executor = SingleQuantumExecutor(
            butler=butler, task_factory=TaskFactory(), skip_existing_in=before, clobber_outputs=restart
        )
        butler.registry.resetConnectionPool()
        MPGraphExecutor(num_proc=workers, timeout=300, quantum_executor=executor, start_method="forkserver").execute(
            predicted
        )
        return len(predicted)
