"""The shipped pipelines by pipetask: the numbers of the executor in Python."""

import pytest

pytest.importorskip("lsst.daf.butler")
pytest.importorskip("lsst.ctrl.mpexec", reason='pipetask is not installed (pip install "stillsky[engine]")')

from engines import QUANTA, assertSame, assertSameNumbers, command, makeNight, outputs
from night import BAND, WHERE

from stillsky.butler.repository import openRepository
from stillsky.butler.run_pipeline import pipelineUri, runPipeline

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_two_processes_give_the_same_numbers(tmp_path, emptyRepository):
    folder = makeNight(tmp_path, emptyRepository)
    said = command(
        "pipetask", "run", "-b", "repo", "-p", "night.yaml", "-i", "SimCam/defaults", "-o", "u/pipetask", "-d", WHERE,
        "-j", "2", "--register-dataset-types", folder=folder,
    )  # fmt: skip
    assert f"Executed {QUANTA} quanta successfully, 0 failed" in said
    assertSameNumbers(folder, "u/pipetask")
    # and the differences that have the DCR coadds for template, from what was made here
    inputs, bands = ["u/here", "SimCam/defaults"], {"parameters:bandLimits": BAND}
    one = f"{WHERE} AND visit = 1000"
    with runPipeline(folder / "repo", "difference-dcr", inputs, "u/here-dcr", where=one, config=bands) as run:
        assert len(run.quanta) == 3
    said = command(
        "pipetask", "run", "-b", "repo", "-p", pipelineUri("difference-dcr"), "-i", ",".join(inputs), "-o", "u/dcr",
        "-d", one, "-c", f"parameters:bandLimits={BAND}", "--register-dataset-types", folder=folder,
    )  # fmt: skip
    assert "Executed 3 quanta successfully, 0 failed" in said
    with openRepository(folder / "repo") as butler:
        wanted, found = outputs(butler, "u/here-dcr"), outputs(butler, "u/dcr")
        assert set(found) == set(wanted)
        assert {"dcrDiff_templateExp", "dcrDiff_differenceExp", "dcrDiff_diaSrc"} <= {kind for kind, _ in wanted}
        for key, ref in found.items():
            assertSame(butler.get(ref), butler.get(wanted[key]), str(key))
