"""Workers that are killed, and the run that is taken up again."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from fragile import runDoubles
from lsst.pipe.base.mp_graph_executor import MPGraphExecutorError

from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import checkRepository, ingestExposures

CAM = InstrumentDefinition("MyCam", {0: "left"}, {"r.01": "r"})
VISITS = (1, 2, 3, 4)


def outputs(butler, kind):
    butler.registry.refresh()
    return {ref.dataId["visit"]: ref for ref in set(butler.registry.queryDatasets(kind, collections="u/doubled"))}


@pytest.fixture
def traps(butler, calexpFiles, tmp_path):
    """A folder for traps, beside a repository with four visits."""
    assert not ingestExposures(butler, calexpFiles(VISITS, (0,)), CAM).failed
    folder = tmp_path / "traps"
    folder.mkdir()
    return folder


@pytest.mark.engine
@pytest.mark.slow
def test_pipetask_takes_up_what_a_killed_worker_left(butler, traps, tmp_path):
    pytest.importorskip("lsst.ctrl.mpexec")
    (traps / "3.unrecorded").touch()
    with pytest.raises(MPGraphExecutorError):
        runDoubles(tmp_path / "repo", workers=2, traps=traps)
    kept = outputs(butler, "doubled")
    assert set(kept) == {1, 2, 4}
    command = "from lsst.ctrl.mpexec.cli.pipetask import main; main()"
    options = ["-b", tmp_path / "repo", "-t", "fragile.DoubleTask:double", "-c", f"double:traps={traps}"]
    options += ["-i", "MyCam/defaults", "--output-run", "u/doubled"]
    restart = ["--extend-run", "--skip-existing", "--clobber-outputs"]
    done = subprocess.run(
        [sys.executable, "-c", command, "run", *map(str, options), *restart, "--register-dataset-types"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = outputs(butler, "doubled")
    assert set(found) == set(VISITS) and set(outputs(butler, "halved")) == set(VISITS)
    assert {visit: found[visit].id for visit in kept} == {visit: ref.id for visit, ref in kept.items()}
    assert checkRepository(butler, read=True, clean=True).problems == []


def test_killed_workers_cost_their_quanta_alone_and_a_second_run_adds_what_is_missing(butler, traps, tmp_path):
    for trap in ("2.between", "3.writing", "4.unrecorded"):
        (traps / trap).touch()
    with pytest.raises(MPGraphExecutorError):
        runDoubles(tmp_path / "repo", workers=2, traps=traps)
    assert not list(traps.iterdir())  # all three were killed
    assert set(outputs(butler, "doubled")) == {1, 2} and set(outputs(butler, "halved")) == {1}
    kept = outputs(butler, "doubled")[1].id
    left = checkRepository(butler, read=True).problems
    assert all("no dataset owns" in one for one in left)
    assert sum("/double_log/" in one for one in left) == 3  # logs that were being written
    assert sum("/doubled/doubled/" in one for one in left) == 2  # half a file, and one without its record
    assert len(left) == 5

    runDoubles(tmp_path / "repo", workers=1, traps=traps, restart=True)
    for kind, factor in (("doubled", 2.0), ("halved", 0.5)):
        found = outputs(butler, kind)
        assert set(found) == set(VISITS)
        assert len(set(butler.registry.queryDatasets(kind, collections="u/doubled"))) == 4
        for visit, ref in found.items():
            whole = butler.get("calexp.image", instrument="MyCam", visit=visit, detector=0, collections="MyCam/calexp")
            np.testing.assert_array_equal(butler.get(ref).array, whole.array * np.float32(factor))
    assert outputs(butler, "doubled")[1].id == kept  # what was done was not done again
    rest = checkRepository(butler, read=True).problems
    assert set(rest) < set(left)  # the file without a record was taken up or written anew
    assert sum("/doubled/doubled/" in one for one in rest) == 1
    report = checkRepository(butler, read=True, clean=True)
    assert [f"no dataset owns {path}" for path in report.removed] == rest and report.problems == []
    whole = checkRepository(butler, read=True)
    assert whole.problems == [] and whole.datasets == 4 * 5 + 1  # in, twice, half, log and metadata; one configuration
