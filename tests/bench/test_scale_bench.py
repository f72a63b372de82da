"""A night of 102 quanta (34 detector-visits through difference.yaml) by 1, 2, 4 and 8 workers: throughput, what a quantum costs
beside its work, memory of a worker; and what a process costs that imports everything anew, as pipetask and bps start them."""

import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import datetime
from multiprocessing import forkserver
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.time import Time

pytest.importorskip("lsst.daf.butler")
sys.path.insert(0, str(Path(__file__).parents[1] / "diffim"))

from image_difference_scenes import pair
from lsst.daf.butler import Butler
from lsst.pipe.base import Pipeline, TaskFactory
from lsst.pipe.base.all_dimensions_quantum_graph_builder import AllDimensionsQuantumGraphBuilder
from lsst.pipe.base.mp_graph_executor import MPGraphExecutor
from lsst.pipe.base.single_quantum_executor import SingleQuantumExecutor

from repository_fixtures import putTemplate
from stillsky import FilterLabel, VisitInfo
from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import createRepository, ingestExposures, openRepository
from stillsky.butler.run_pipeline import pipelineUri
from stillsky.fits import writeExposure

VISITS = int(os.environ.get("STILLSKY_BENCH_VISITS", 34))
LABELS = ("getTemplate", "subtractImages", "detectAndMeasure")
PRELOAD = [
    "lsst.pipe.base",
    *(f"stillsky.diffim.{name}_task" for name in ("template", "alard_lupton", "detect_measure")),
]


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A repository with visits of one detector and the coadd that is their template."""
    folder = tmp_path_factory.mktemp("night")
    createRepository(folder / "repo")
    science, template = pair(size=384, step=48, noise=10.0)
    paths = []
    for visit in range(1, VISITS + 1):
        science.info.visitInfo = VisitInfo(
            id=visit, exposureTime=30.0, date=Time("2026-01-02T03:04:05") + visit * u.min
        )
        science.filter = FilterLabel("r", "r.01")
        paths.append(str(folder / f"v{visit}.fits"))
        writeExposure(science, paths[-1])
    with openRepository(folder / "repo", writeable=True) as butler:
        assert not ingestExposures(butler, paths, InstrumentDefinition("MyCam", {0: "a"}, {"r.01": "r"})).failed
        putTemplate(butler, template)
    return folder / "repo"


def runNight(repository, workers, run):
    """(seconds of the graph, seconds of its execution, CPU seconds of that): one process for all, or one for each quantum, forked
    from a server that has imported the tasks, which is part of the cost."""
    forkserver._forkserver._stop()  # the CPU time of its workers is known when it has ended
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    collections = ["MyCam/defaults", "coadds"]
    start = time.perf_counter()
    with Butler.from_config(str(repository), writeable=True, run=run, collections=collections) as butler:
        builder = AllDimensionsQuantumGraphBuilder(
            Pipeline.from_uri(pipelineUri("difference")).to_graph(), butler, input_collections=collections,
            output_run=run, where="instrument='MyCam' AND skymap='plane'",
        )  # fmt: skip
        predicted = builder.finish(attach_datastore_records=False).assemble()
        assert len(predicted) == 3 * VISITS
        predicted.pipeline_graph.register_dataset_types(butler)
        predicted.write_init_outputs(butler, skip_existing=False)
        predicted.write_configs(butler, compare_existing=False)
        executor = SingleQuantumExecutor(butler=butler, task_factory=TaskFactory())
        butler.registry.resetConnectionPool()
        built, before = time.perf_counter(), cpuSeconds()
        MPGraphExecutor(num_proc=workers, timeout=3600, quantum_executor=executor, start_method="forkserver").execute(
            predicted
        )
        done = time.perf_counter()
        forkserver._forkserver._stop()
        return built - start, done - built, cpuSeconds() - before


def cpuSeconds():
    """CPU time of this process and of those that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def costs(repository, run):
    """(seconds, CPU seconds, MB) of every quantum's work, from the metadata that the tasks wrote."""
    rows = []
    with openRepository(repository) as butler:
        for label in LABELS:
            for ref in set(butler.registry.queryDatasets(f"{label}_metadata", collections=run)):
                quantum = butler.get(ref)["quantum"]
                begin, end = (datetime.fromisoformat(quantum.getScalar(f"{name}Utc")) for name in ("start", "end"))
                cpu = quantum.getScalar("endCpuTime") - quantum.getScalar("startCpuTime")
                rows.append(((end - begin).total_seconds(), cpu, quantum.getScalar("endMaxResidentSetSize") / 2**20))
    return np.array(rows)


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def testANightByWorkers(night, workers, machine, capsys, benchmark):
    run = f"u/workers{workers}"
    built, seconds, cpu = benchmark.pedantic(runNight, args=(night, workers, run), rounds=1)
    found = costs(night, run)
    n = len(found)
    assert n == 3 * VISITS
    beside = (seconds * workers - found[:, 0].sum()) / n  # a worker's time for process, reading, writing, registry
    with capsys.disabled():
        print(
            f"\n{workers} workers, {n} quanta: graph {built:.1f} s, run {seconds:.1f} s ({n / seconds:.2f} quanta/s, "
            f"{n / cpu:.2f} per CPU second); a quantum's work: median {np.median(found[:, 0]):.2f} s, "
            f"{np.mean(found[:, 1]):.2f} CPU s; beside it {beside:.2f} s, {(cpu - found[:, 1].sum()) / n:.2f} CPU s; "
            f"largest worker {found[:, 2].max():.0f} MB "
            f"(machine factor {machine:.2f})"
        )
    shutil.rmtree(night / run, ignore_errors=True)


def testTheCostOfAProcess(machine, capsys, benchmark):
    """CPU seconds before a quantum's own work, where every job imports everything: the cost that clustering shares."""
    command = "import " + ", ".join(["lsst.ctrl.mpexec.cli.pipetask", *PRELOAD])
    pytest.importorskip("lsst.ctrl.mpexec")

    def cpu():
        before = cpuSeconds()
        subprocess.run(
            [sys.executable, "-c", command], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        )
        return cpuSeconds() - before

    cpu()
    seconds = benchmark.pedantic(lambda: sorted(cpu() for _ in range(3))[1], rounds=1)
    with capsys.disabled():
        print(f"\na process with pipetask and the tasks imported: {seconds:.1f} CPU s (machine factor {machine:.2f})")
