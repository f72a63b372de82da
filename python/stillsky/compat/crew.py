"""Processes that stay and take jobs from one list; one that dies costs the job that it was at, and nothing else."""

import os
import threading
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context

__all__ = ["Crew"]

_VAIN = 3  # processes that cannot even be started; then none is tried any more
_SOON = 0.05  # s


class Crew:
    """Runs jobs in processes, each of which does one job after the other.

    Parameters
    ----------
    initializer : callable
        Called first in every process.
    initargs : `tuple`
        Its arguments.
    timeout : `float`
        Seconds for all jobs together, from now on.

    Attributes
    ----------
    results : `dict` [`int`, object]
        Job to what it returned.
    lost : `dict` [`int`, `str`]
        Job to the reason why there is no result.
    """

    def __init__(self, initializer, initargs, timeout):
        self._start = (initializer, initargs)
        self._timeout, self._end = timeout, time.monotonic() + timeout
        self._vain, self._lock = 0, threading.Lock()
        self.results, self.lost = {}, {}

    def run(self, function, jobs, count):
        """Call a function with the arguments of each job in ``count`` processes.

        Parameters
        ----------
        function : callable
        jobs : `dict` [`int`, `tuple`]
        count : `int`

        Notes
        -----
        A job whose process died is tried once more when the others are done, alone: memory that several jobs had to share
        may be enough for one. An exception that a job lets out ends the run.
        """
        others = set(active_children())
        try:
            self._round(function, jobs, count)
            died = {number: jobs[number] for number in sorted(self.lost) if self.lost[number] is _DIED}
            if died:
                self._round(function, died, 1)
        finally:
            if self._left() == 0:  # what is still at work would be waited for
                for child in set(active_children()) - others:
                    child.terminate()

    def _round(self, function, jobs, count):
        for number in jobs:
            self.lost.pop(number, None)
        waiting = deque(jobs.items())
        with ThreadPoolExecutor(count) as threads:
            served = [threads.submit(self._serve, function, waiting) for _ in range(count)]
            try:
                for one in served:
                    one.result()
            except BaseException:
                waiting.clear()
                raise

    def _serve(self, function, waiting):
        """Do jobs until there are none, in one process as long as it lives."""
        pool = None
        try:
            while waiting:
                try:
                    number, arguments = waiting.popleft()
                except IndexError:  # another thread was faster
                    break
                pool = pool or self._newProcess()
                if pool is None:
                    self.lost[number] = _LATE.format(self._timeout) if self._left() <= 0 else _VAINLY
                    continue
                try:
                    self.results[number] = pool.submit(function, *arguments).result(self._left())
                except BrokenProcessPool:
                    self.lost[number] = _DIED
                    pool.shutdown()
                    pool = None
                except TimeoutError:
                    if self._left() > _SOON:  # the job's own
                        raise
                    self._end = time.monotonic()  # timers may be early
                    self.lost[number] = _LATE.format(self._timeout)
                    pool.shutdown(wait=False, cancel_futures=True)
                    pool = None
        except BaseException:
            waiting.clear()
            raise
        finally:
            if pool is not None:
                pool.shutdown()

    def _newProcess(self):
        """A pool of one process that has been started; None when there is no time left, or none can be started."""
        while self._left() > 0 and self._vain < _VAIN:
            pool = ProcessPoolExecutor(1, get_context("spawn"), *self._start)
            try:
                pool.submit(os.getpid).result(self._left())
            except BrokenProcessPool:
                pool.shutdown()
                with self._lock:
                    self._vain += 1
            except TimeoutError:
                pool.shutdown(wait=False, cancel_futures=True)
            else:
                self._vain = 0
                return pool
        return None

    def _left(self):
        return max(0.0, self._end - time.monotonic())


_DIED, _VAINLY, _LATE = "its process died", "no process can be started for it", "not done within {:g} s"
