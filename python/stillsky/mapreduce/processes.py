"""Mapping in processes: pixels travel through shared memory, jobs and results are small messages.

The pool is started once ("spawn", never "fork": the parent may have threads) and kept. What all cells share (exposure,
mapper, keywords) is pickled once; its arrays lie in one shared block that workers map. Patches come back through slots.
"""

import gc
import io
import itertools
import os
import pickle
import secrets
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from ..errors import StillskyError
from .executors import CellFailure, guarded, inOrder, oneThreadEach, takeMetadata

__all__ = ["inProcesses"]

_ALIGN = 64
_pools = {}
_state = {}  # of a worker: the last shared block and what was made of it


# ------------------------------------------------------------------ pickling with arrays aside


class _Pickler(pickle.Pickler):
    """Arrays go to ``takes``; objects that the other side has are named instead."""

    def __init__(self, file, takes, known):
        super().__init__(file, protocol=5, buffer_callback=takes)
        self._names = {id(value): name for name, value in known.items()}

    def persistent_id(self, item):
        return self._names.get(id(item))

    def reducer_override(self, item):
        if type(item) is np.ndarray and not (item.flags.c_contiguous or item.flags.f_contiguous):
            return np.ascontiguousarray(item).__reduce_ex__(5)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, buffers, known):
        super().__init__(file, buffers=buffers)
        self._known = known

    def persistent_load(self, name):
        return self._known[name]


def _dump(item, known=None, room=None):
    """Pickle, and its buffers; those beyond ``room`` bytes stay in the pickle."""
    buffers, used = [], 0

    def take(buffer):
        nonlocal used
        size = -(-buffer.raw().nbytes // _ALIGN) * _ALIGN
        if room is not None and used + size > room:
            return True
        used += size
        buffers.append(buffer)
        return False

    file = io.BytesIO()
    _Pickler(file, take, known or {}).dump(item)
    return file.getvalue(), buffers


def _store(buffers, memory, start):
    """Copy buffers into memory one after the other; their (offset, size)."""
    places = []
    for buffer in buffers:
        raw = buffer.raw()
        memory[start : start + raw.nbytes] = raw
        places.append((start, raw.nbytes))
        start += -(-raw.nbytes // _ALIGN) * _ALIGN
    return places


def _load(data, buffers, known=None):
    return _Unpickler(io.BytesIO(data), buffers, known or {}).load()


def _shared(exposure, call):
    """Objects that results often carry and both sides have."""
    # of a deferred reader every cell has information of its own
    info = getattr(exposure, "info", None)
    known = {f"info.{name}": getattr(info, name) for name in info.components} if info is not None else {}
    known.update({f"kwargs.{name}": value for name, value in call.kwargs.items()})
    # numbers and short texts are cheaper themselves, and their identity means nothing
    return {name: v for name, v in known.items() if v is not None and not isinstance(v, (int, float, str, bool))}


def _checkPickles(source, mapperSource, call):
    """TypeError that names what cannot be sent to a process."""
    parts = {f"keyword {name!r}": value for name, value in call.kwargs.items()}
    for what, value in {**parts, "the mapper": mapperSource, "the exposure": source}.items():
        try:
            pickle.dumps(value, protocol=5, buffer_callback=lambda buffer: False)
        except Exception as error:
            raise TypeError(f"executor 'process': {what} cannot be pickled: {error}") from error


# ------------------------------------------------------------------ the worker


def _ready(_):
    """First job of a worker."""
    from ..threads import setNumThreads

    setNumThreads(1)
    _state["limits"] = oneThreadEach()
    _state["limits"].__enter__()
    time.sleep(0.02)


def _forget(token):
    """Let go of the shared block of a finished call."""
    if _state.get("token") == token:
        for name in ("token", "content", "known", "mapper"):
            _state.pop(name, None)
        gc.collect()
        _close(_state.pop("blocks", []))
    time.sleep(0.02)


def _close(blocks):
    """Unmap; blocks that something still looks into are kept for the next time."""
    lingering = _state.pop("lingering", [])
    for block in [*lingering, *blocks]:
        try:
            block.close()
        except BufferError:
            _state.setdefault("lingering", []).append(block)


def _attach(job):
    if _state.get("token") == job["token"]:
        return
    _forget(_state.get("token"))
    block, slots = SharedMemory(job["block"]), SharedMemory(job["slots"])
    start, size = job["pickle"]
    buffers = [block.buf[a : a + n] for a, n in job["places"]]
    source, mapperSource, call = _load(bytes(block.buf[start : start + size]), buffers)
    _state.update(
        token=job["token"],
        blocks=[block, slots],
        content=(source, call),
        known=_shared(source, call),
        mapper=mapperSource(),
    )


def _work(job, cell, slot):
    """One cell: the pickled result and metadata, and where its arrays lie in the slot."""
    _attach(job)
    source, call = _state["content"]
    result = guarded(call, _state["mapper"], source, cell)
    answer = (result, takeMetadata(_state["mapper"]))
    try:
        data, buffers = _dump(answer, _state["known"], job["slotSize"])
    except Exception as error:
        what = result.error if isinstance(result, CellFailure) else error
        failure = CellFailure(cell, StillskyError(f"cell {cell.index}: {type(what).__name__}: {what}"))
        data, buffers = _dump((failure, None))
    return data, _store(buffers, _state["blocks"][1].buf, slot * job["slotSize"])


# ------------------------------------------------------------------ the parent


@contextmanager
def _oneThreadEnvironment():
    """Processes started here load BLAS with one thread."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _pool(workers):
    if workers not in _pools:
        with _oneThreadEnvironment():
            pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
            list(pool.map(_ready, range(workers)))
        _pools[workers] = pool
    return _pools[workers]


def _slotSize(source, cells):
    """Bytes of the planes of the largest expanded cell, with some room for other arrays."""
    bytesPerPixel = sum(p.dtype.itemsize for p in source.maskedImage.planes) if hasattr(source, "maskedImage") else 20
    size = max(cell.expanded.area for cell in cells) * bytesPerPixel + 65536
    return -(-size // _ALIGN) * _ALIGN


@contextmanager
def _memory(size):
    block = SharedMemory(create=True, size=max(size, 1))
    try:
        yield block
    finally:
        block.close()
        block.unlink()


def _publish(content, token, stack):
    """Pickle what all cells share into a block of shared memory; the job message."""
    data, buffers = _dump(content)
    sizes = [-(-b.raw().nbytes // _ALIGN) * _ALIGN for b in buffers]
    block = stack.enter_context(_memory(sum(sizes) + len(data)))
    places = _store(buffers, block.buf, 0)
    block.buf[sum(sizes) : sum(sizes) + len(data)] = data
    return {"token": token, "block": block.name, "places": places, "pickle": (sum(sizes), len(data))}


def inProcesses(source, cells, mapperSource, call, workers, inFlight):
    """See `runCells`."""
    from contextlib import ExitStack

    _checkPickles(source, mapperSource, call)
    pool, token, slotSize = _pool(workers), secrets.token_hex(8), _slotSize(source, cells)
    known = _shared(source, call)
    with ExitStack() as stack:
        job = _publish((source, mapperSource, call), token, stack)
        slots = stack.enter_context(_memory(inFlight * slotSize))
        job.update(slots=slots.name, slotSize=slotSize)
        # Cells are handed out and come back in the same order, at most ``inFlight`` at a time: slots in turn never clash.
        turn = itertools.cycle(range(inFlight))
        try:
            for cell, data, places in inOrder(lambda c: pool.submit(_work, job, c, next(turn)), cells, inFlight):
                buffers = [bytearray(slots.buf[a : a + n]) for a, n in places]
                yield (cell, *_load(data, buffers, known))
        except BrokenProcessPool as error:
            _pools.pop(workers, None)
            raise StillskyError("executor 'process': a worker died; is there enough memory?") from error
        finally:
            if workers in _pools:
                for future in [pool.submit(_forget, token) for _ in range(workers)]:
                    future.result()
