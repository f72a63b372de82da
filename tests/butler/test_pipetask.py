"""The shipped pipelines by pipetask: the numbers of the executor in Python."""

import pytest

pytest.importorskip("lsst.daf.butler")
pytest.importorskip("lsst.ctrl.mpexec", reason='pipetask is not installed (pip install "stillsky[engine]")')

from engines import QUANTA, assertSameNumbers, command, makeNight
from night import WHERE

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_two_processes_give_the_same_numbers(tmp_path, emptyRepository):
    folder = makeNight(tmp_path, emptyRepository)
    said = command(
        "pipetask", "run", "-b", "repo", "-p", "night.yaml", "-i", "SimCam/defaults", "-o", "u/pipetask", "-d", WHERE,
        "-j", "2", "--register-dataset-types", folder=folder,
    )  # fmt: skip
    assert f"Executed {QUANTA} quanta successfully, 0 failed" in said
    assertSameNumbers(folder, "u/pipetask")
