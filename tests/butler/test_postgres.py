"""A repository whose registry is a real PostgreSQL server."""

import os

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from engines import command
from fragile import runDoubles
from postgres_server import runningServer
from writers import KIND, concurrently, prepare

from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import checkRepository, createRepository, ingestExposures, openRepository


@pytest.fixture(scope="module")
def server():
    with runningServer() as running:
        yield running


def test_a_repository_is_made_filled_and_checked_by_the_verbs(server, runRepo, calexpFiles, makeCalexp, tmp_path):
    (tmp_path / "cam.yaml").write_text('name: MyCam\ndetectors: {0: left, 1: right}\nfilters: {"r.01": r}\n')
    where = tmp_path / "repo"
    code, _, err = runRepo(
        "create", where, "--db", server.url, "--namespace", "verbs", "--instrument", tmp_path / "cam.yaml"
    )
    assert code == 0, err
    assert not (where / "gen3.sqlite3").exists()
    text = (where / "butler.yaml").read_text()
    assert server.url in text and "password" not in text
    code, summary, err = runRepo("ingest", where, *calexpFiles((1, 2), (0, 1)), "--instrument", "MyCam")
    assert code == 0 and summary["metadata"]["ingested"] == 4, err
    code, summary, err = runRepo("check", where, "--read")
    assert code == 0 and summary["metadata"] == {"datasets": 4, "problems": []}, err
    with openRepository(where, writeable=True) as butler:
        exposure = makeCalexp(2, 1)
        butler.collections.register("u/new")
        ref = butler.put(exposure, "calexp", instrument="MyCam", visit=2, detector=1, run="u/new")
        np.testing.assert_array_equal(butler.get(ref).image.array, exposure.image.array)
        assert butler.get("calexp.bbox", instrument="MyCam", visit=1, detector=0, collections="MyCam/defaults")
    assert runDoubles(where, workers=1) == 4  # a pipeline
    with openRepository(where) as butler:
        assert len(set(butler.registry.queryDatasets("doubled", collections="u/doubled"))) == 4
        assert checkRepository(butler, read=True).problems == []


def test_four_writers_at_once(server, tmp_path):
    createRepository(tmp_path / "repo", db=server.url, namespace="writers")
    prepare(tmp_path / "repo", 8)
    runs = [f"u/writer{n}" for n in range(4)]
    found = concurrently(tmp_path / "repo", [*runs[:3], runs[0]], range(8))  # the last writes what the first writes
    with openRepository(tmp_path / "repo") as butler:
        assert len(set(butler.registry.queryDatasets(KIND, collections=runs[:3]))) == 24
        assert [said for writer in (1, 2) for _, said, _ in found[writer]] == [""] * 16
        for detector in range(8):
            assert sorted([found[0][detector][1], found[3][detector][1]]) == ["", "ConflictingDefinitionError"]
        report = checkRepository(butler, read=True)
        assert report.datasets == 24 and report.problems == []


def test_a_server_that_cannot_serve_is_named_and_leaves_no_half_made_repository(server, runRepo, tmp_path):
    bare = server.url.replace("/night", "/bare")  # without the extension
    code, _, err = runRepo("create", tmp_path / "a", "--db", bare)
    assert code == 2 and "CREATE EXTENSION btree_gist" in err and bare in err
    code, _, err = runRepo("create", tmp_path / "b", "--db", server.url.replace("/night", "/absent"))
    assert code == 3 and "absent" in err
    (tmp_path / "c").mkdir()
    closed = f"postgresql://127.0.0.1:{_closedPort()}/night"
    code, _, err = runRepo("create", tmp_path / "c", "--db", closed)
    assert code == 3 and "refuse" in err and closed in err
    assert sorted(os.listdir(tmp_path)) == ["c"] and not os.listdir(tmp_path / "c")


def _closedPort():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def shared(server, calexpFiles, tmp_path, monkeypatch, request):
    """Folder with a repository on the server, with two visits, and a pipeline of a task of the tests."""
    createRepository(tmp_path / "repo", db=server.url, namespace=request.node.name)
    with openRepository(tmp_path / "repo", writeable=True) as butler:
        camera = InstrumentDefinition("MyCam", {0: "left"}, {"r.01": "r"})
        assert not ingestExposures(butler, calexpFiles((1, 2), (0,)), camera).failed
    (tmp_path / "double.yaml").write_text("description: Doubles.\ntasks: {double: fragile.DoubleTask}\n")
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))  # where the task is, for the engines' processes
    return tmp_path


def assertDoubled(folder, chain):
    with openRepository(folder / "repo") as butler:
        for visit in (1, 2):
            where = {"instrument": "MyCam", "visit": visit, "detector": 0}
            whole = butler.get("calexp.image", where, collections="MyCam/calexp")
            for kind, factor in (("doubled", 2.0), ("halved", 0.5)):
                made = butler.get(kind, where, collections=chain)
                np.testing.assert_array_equal(made.array, whole.array * np.float32(factor))
            assert butler.get("double_metadata", where, collections=chain)["quantum"] is not None
        assert len(set(butler.registry.queryDatasets("doubled", collections=chain))) == 2
        assert checkRepository(butler, read=True).problems == []


@pytest.mark.engine
@pytest.mark.slow
def test_pipetask_in_two_processes(shared):
    pytest.importorskip("lsst.ctrl.mpexec")
    said = command(
        "pipetask", "run", "-b", "repo", "-p", "double.yaml", "-i", "MyCam/defaults", "-o", "u/pipetask", "-j", "2",
        "--register-dataset-types", folder=shared,
    )  # fmt: skip
    assert "Executed 2 quanta successfully, 0 failed" in said
    assertDoubled(shared, "u/pipetask")


@pytest.mark.engine
@pytest.mark.slow
def test_bps_with_parsl(shared):
    pytest.importorskip("lsst.ctrl.bps.parsl")
    (shared / "bps.yaml").write_text(
        "includeConfigs: resource://stillsky/pipelines/bps/local.yaml\n"
        "cluster: {all: {pipetasks: double, dimensions: instrument}}\n"
    )
    command(
        "bps", "submit", "bps.yaml", "-b", shared / "repo", "-p", shared / "double.yaml", "-i", "MyCam/defaults",
        "-o", "u/bps", folder=shared,
    )  # fmt: skip
    assertDoubled(shared, "u/bps")
