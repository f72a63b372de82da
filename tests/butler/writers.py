"""Processes that write into one repository at the same time.

Workers are forked from one server process that has imported the butler, so each costs what opening a repository costs.
"""

import multiprocessing
import os
import queue
import time

import numpy as np

from stillsky.butler.repository import openRepository
from stillsky.image import Image

KIND = "shot"


def prepare(path, detectors):
    """Register the dataset type `KIND` and what its data ids need."""
    from lsst.daf.butler import DatasetType

    from stillsky.butler.instruments import InstrumentDefinition

    with openRepository(path, writeable=True) as butler:
        InstrumentDefinition("Cam", {n: str(n) for n in range(detectors)}).register(butler.registry)
        kind = DatasetType(KIND, ("instrument", "detector"), "StillskyImage", universe=butler.dimensions)
        butler.registry.registerDatasetType(kind)


def shot(detector, writer=0):
    """The image that a writer puts for a detector: every pixel says both."""
    return Image(np.full((10, 12), 100.0 * writer + detector, np.float32))


def putMany(path, run, writer, detectors, ready, outcome, environment):
    """Body of a worker: put one image for each detector, starting when all workers are ready."""
    os.environ.update(environment)  # the server that forked this may be older than what the test has set
    with openRepository(path, writeable=True) as butler:
        butler.collections.register(run)
        ready.wait(60)
        said = []
        for detector in detectors:
            start = time.perf_counter()
            try:
                butler.put(shot(detector, writer), KIND, run=run, instrument="Cam", detector=detector)
            except Exception as error:  # whatever it was is the test's to judge
                said.append((detector, type(error).__name__, str(error)))
            else:
                said.append((detector, "", time.perf_counter() - start))
    outcome.put((writer, said))


def concurrently(path, runs, detectors):
    """Let one worker for each name of ``runs`` put all ``detectors``; {worker: [(detector, error name, text)]}."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lsst.daf.butler", "stillsky.butler.repository", "stillsky.image"])
    ready, outcome = context.Barrier(len(runs)), context.Queue()
    workers = [
        context.Process(
            target=putMany, args=(os.fspath(path), run, number, detectors, ready, outcome, dict(os.environ))
        )
        for number, run in enumerate(runs)
    ]
    for worker in workers:
        worker.start()
    found = {}
    while len(found) < len(workers):
        assert not any(worker.exitcode for worker in workers), "a writer failed, see its traceback"
        try:
            found.update([outcome.get(timeout=1)])
        except queue.Empty:
            continue
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
        worker.close()
    outcome.close()
    outcome.join_thread()
    return found
