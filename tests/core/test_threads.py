"""The compiled core and NumPy arrays: no silent copies, thread-count independence, fork, and a released GIL."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import stillsky
from stillsky import _core
from stillsky.errors import DomainError
from stillsky.stats import clippedStats, robustSigma


def fill(out):
    """An in-place float32/float64 kernel: a bilinear ramp through four nodes."""
    nodes, at = np.array([[0.0, 1.0], [2.0, 3.0]]), [0.0, 3.0]
    _core.fillFromGrid(nodes, at, at, "LINEAR", "THROW_EXCEPTION", (0, 0), out)


def testWrongDtypeIsATypeErrorAndChangesNothing():
    for wrong in (np.zeros((4, 6), np.int32), np.zeros((4, 6), ">f4"), np.zeros((4, 6), np.float16)):
        with pytest.raises(TypeError, match="out"):
            fill(wrong)
        assert not wrong.any()
    image = np.full((4, 6), 7.0)
    before = image.copy()
    with pytest.raises(TypeError, match="mask"):
        _core.clippedStats(image, np.zeros((4, 6)), 0, 3.0, 3, 1)
    np.testing.assert_array_equal(image, before)


def testViewIsWrittenInPlaceAndNothingElse():
    base = np.full((5, 8), -1, np.float32)
    fill(base[1:3, 2:5])
    inside = np.zeros(base.shape, bool)
    inside[1:3, 2:5] = True
    assert (base[~inside] == -1).all()
    wanted = np.arange(2)[:, np.newaxis] * 2 / 3 + np.arange(3) / 3
    np.testing.assert_allclose(base[inside].reshape(2, 3), wanted, atol=1e-6)


def testReadOnlyAndStridedOutputsAreRefused():
    readOnly = np.zeros((4, 6), np.float32)
    readOnly.flags.writeable = False
    with pytest.raises(TypeError, match="read-only"):
        fill(readOnly)
    with pytest.raises(ValueError, match="contiguous"):
        fill(np.zeros((4, 12), np.float32)[:, ::2])
    with pytest.raises(ValueError, match="2-D"):
        fill(np.zeros(6, np.float32))


def testResultsAreBitIdenticalForAnyNumberOfThreads(rng):
    image = rng.normal(100, 3, (700, 650)).astype(np.float32)
    image[rng.random(image.shape) < 0.01] = np.nan
    nodes = rng.normal(0, 1, (9, 8))
    seen = set()
    for n in (1, 2, 7):
        with stillsky.numThreads(n):
            out = np.empty_like(image)
            _core.fillFromGrid(
                nodes, np.arange(8) * 90.0, np.arange(9) * 90.0, "AKIMA_SPLINE", "THROW_EXCEPTION", (0, 0), out
            )
            seen.add((repr(clippedStats(image)), repr(robustSigma(image)), out.tobytes()))
    assert len(seen) == 1


def testNumberOfThreadsIsRestored():
    before = stillsky.getNumThreads()
    with pytest.raises(KeyError), stillsky.numThreads(3):
        assert stillsky.getNumThreads() == 3
        raise KeyError("inside")
    assert stillsky.getNumThreads() == before
    with pytest.raises(DomainError):
        stillsky.setNumThreads(-1)


def runForked(function, seconds):
    """Exit status of a forked child that calls function(); it is killed after the given time."""
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        try:
            os._exit(0 if function() else 1)
        except BaseException:
            os._exit(2)
    return os.waitpid(child, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def testForkedChildRunsAKernelWithinFiveSeconds(rng):
    image = rng.normal(100, 3, (600, 600)).astype(np.float32)
    with stillsky.numThreads(3):
        wanted = clippedStats(image)  # the pool of threads exists before the fork
        assert runForked(lambda: clippedStats(image) == wanted, 5) == 0
        assert runForked(lambda: clippedStats(image) != wanted, 5) != 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def testForkWhileAnotherThreadComputes(rng):
    image = rng.normal(100, 3, (1500, 1500)).astype(np.float32)
    small = image[:300, :300]
    wanted = clippedStats(small)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            clippedStats(image)

    worker = threading.Thread(target=work)
    with stillsky.numThreads(2):
        worker.start()
        try:
            states = [runForked(lambda: clippedStats(small) == wanted, 5) for _ in range(5)]
        finally:
            stop.set()
            worker.join()
    assert states == [0] * 5


def testOtherPythonThreadsRunMeanwhile(rng):
    """The GIL is released: a counting thread gets on while a kernel works. With the GIL held it would count one a call."""
    image = rng.normal(100, 3, (3000, 3000)).astype(np.float32)
    counts, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1
            time.sleep(0.001)

    counter = threading.Thread(target=count)
    with stillsky.numThreads(1):
        counter.start()
        try:
            deadline = time.monotonic() + 20
            during = calls = 0
            while calls < 5 or (during <= 5 * calls and time.monotonic() < deadline):  # others may want the machine
                before = counts[0]
                clippedStats(image)
                during, calls = during + counts[0] - before, calls + 1
        finally:
            stop.set()
            counter.join()
    assert during > 5 * calls
