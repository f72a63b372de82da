"""Processes that stay: each job is done once, whatever happens to the processes of others."""

import os
import signal
import time
from pathlib import Path

import pytest

from stillsky.compat.crew import Crew

_folder = None


def begin(folder):
    """Initializer of a process."""
    global _folder
    _folder = Path(folder)
    if (_folder / "never").exists():
        os._exit(1)


def work(what):
    """A job: its own text and process, unless it says otherwise."""
    trap = _folder / what
    if what.startswith("die") or (what == "once" and not trap.exists()):
        trap.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        raise TimeoutError("of the job")
    if what == "sleep":
        time.sleep(100)
    return what, os.getpid()


@pytest.fixture
def run(tmp_path):
    """Function (jobs, seconds) -> crew that has run them in two processes."""

    def run(jobs, seconds=60.0):
        crew = Crew(begin, (str(tmp_path),), seconds)
        crew.run(work, {number: (job,) for number, job in enumerate(jobs)}, 2)
        return crew

    return run


def test_jobs_that_kill_their_processes_fail_alone_however_many_follow_each_other(run):
    crew = run(["a", "die1", "die2", "die3", "die4", "once", "b", "c"])
    assert {number: text for number, (text, _) in crew.results.items()} == {0: "a", 5: "once", 6: "b", 7: "c"}
    assert crew.lost == dict.fromkeys((1, 2, 3, 4), "its process died")
    assert len({process for _, process in crew.results.values()} - {os.getpid()}) >= 2


def test_what_is_not_done_in_time_is_said_and_its_processes_end(run):
    crew = run(["sleep", "sleep", "late"], 1.0)
    assert crew.results == {} and set(crew.lost.values()) == {"not done within 1 s"} and len(crew.lost) == 3


def test_an_exception_of_a_job_ends_the_run_and_processes_that_cannot_start_are_said(run, tmp_path):
    with pytest.raises(TimeoutError, match="of the job"):
        run(["raise", *"abcdefgh"])
    (tmp_path / "never").touch()
    crew = run([*"abcdefgh"])
    assert crew.results == {} and set(crew.lost.values()) == {"no process can be started for it"}
    assert set(crew.lost) == set(range(8))
