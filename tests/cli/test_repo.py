"""Verb repo: a repository from the shell."""

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from click.testing import CliRunner


@pytest.fixture
def frames(tmp_path, rng):
    """Two plain FITS images of one night."""
    from astropy.io import fits

    paths = []
    for number in (1, 2):
        cards = {"DATE-OBS": f"2026-01-02T03:0{number}:00", "EXPTIME": 30.0, "EXPNUM": number, "INSTRUME": "Night Cam"}
        paths.append(tmp_path / f"n{number}.fits")
        fits.writeto(paths[-1], rng.normal(100, 5, (40, 50)).astype(np.float32), fits.Header(cards | {"FILTER": "r"}))
    return paths


def test_create_ingest_and_check(runRepo, frames, tmp_path):
    where = tmp_path / "night"
    assert runRepo("create", where)[0] == 0
    listed = tmp_path / "list.txt"
    listed.write_text("# tonight\n" + "\n".join(map(str, frames)) + "\n")
    code, summary, _ = runRepo("ingest", where, f"@{listed}", "--exposures", "--type", "raw")
    assert code == 0 and summary["metadata"]["ingested"] == 2 and summary["metadata"]["instrument"] == "Night_Cam"
    code, summary, err = runRepo("ingest", where, *frames, tmp_path / "absent.fits", "--exposures", "--type", "raw")
    assert code == 3 and len(summary["metadata"]["skipped"]) == 2 and "absent.fits" in err
    code, summary, _ = runRepo("check", where, "--read")
    assert code == 0 and summary["metadata"] == {"datasets": 2, "problems": []}
    frames[0].unlink()
    code, summary, err = runRepo("check", where)
    assert code == 3 and "n1.fits" in err and len(summary["metadata"]["problems"]) == 1


def test_an_existing_folder_and_a_missing_repository_are_refused(runRepo, tmp_path):
    (tmp_path / "mine").write_text("a file")
    code, summary, _ = runRepo("create", tmp_path / "mine")
    assert code == 7 and summary["error"]["code"] == 7
    code, _, err = runRepo("check", tmp_path / "nowhere")
    assert code == 3 and "no repository" in err and "repo create" in err


@pytest.mark.parametrize("before", [False, True], ids=["new", "empty"])
def test_an_interrupted_creation_leaves_nothing(runRepo, tmp_path, monkeypatch, before):
    from lsst.daf.butler import Butler

    repo = tmp_path / "R"
    if before:
        repo.mkdir()

    def interrupted(path, **_):
        (tmp_path / "R" / "gen3").mkdir(parents=True)
        (tmp_path / "R" / "butler.yaml").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Butler, "makeRepo", interrupted)
    code, _, err = runRepo("create", repo)
    assert code == 130 and "interrupted; partial products removed" in err
    assert list(tmp_path.iterdir()) == [repo] * before and not (before and list(repo.iterdir()))


def test_an_instrument_is_registered_from_its_definition(runRepo, tmp_path):
    (tmp_path / "cam.yaml").write_text('name: MyCam\ndetectors: {0: left}\nfilters: {"r.01": r}\n')
    assert runRepo("create", tmp_path / "r", "--instrument", tmp_path / "cam.yaml")[0] == 0
    (tmp_path / "bad.yaml").write_text("name: 3\n")
    code, _, err = runRepo("create", tmp_path / "r2", "--instrument", tmp_path / "bad.yaml")
    assert code == 2 and "bad.yaml" in err and not (tmp_path / "r2").exists()
    (tmp_path / "bad.yaml").write_text("name: [")
    code, _, err = runRepo("create", tmp_path / "r2", "--instrument", tmp_path / "bad.yaml")
    assert code == 2 and "not YAML" in err and "{name: MyCam" in err
    (tmp_path / "a.fits").write_text("no FITS")
    code, _, err = runRepo("ingest", tmp_path / "r", tmp_path / "a.fits")
    assert code == 3 and "a.fits" in err and "INSTRUME" not in err
    code, _, err = runRepo("create", tmp_path / "r3", "--db", "mysql://x")
    assert code == 2 and "PostgreSQL" in err


def test_the_help_names_the_three_steps():
    from stillsky.cli.app import cli

    said = CliRunner().invoke(cli, ["repo", "--help"]).output
    assert all(word in said for word in ("create", "ingest", "check"))


def test_skymap_holds_the_images(runRepo, tmp_path):
    from stillsky.butler.repository import openRepository
    from stillsky.fits import writeExposure
    from stillsky.sim import simulateDcrVisits

    where = tmp_path / "night"
    assert runRepo("create", where)[0] == 0
    (tmp_path / "visits").mkdir()
    for visit in simulateDcrVisits(64, 2).visits:
        writeExposure(visit.toExposure(), str(tmp_path / "visits" / f"{visit.visitInfo.id}.fits"))
    code, summary, err = runRepo(
        "skymap", where, tmp_path / "visits", "--patch", 40, "--border", 5, "--subfilters", "g:3"
    )
    assert code == 0 and summary["metadata"] == {"name": "sky", "width": 64, "height": 64, "patches": [2, 2]}
    again = runRepo("skymap", where, tmp_path / "visits", "--patch", 40, "--border", 5)
    assert again[0] == 0  # the same map is there: nothing changes
    code, summary, err = runRepo("skymap", where, tmp_path / "visits", "--patch", 32)
    assert code == 2 and "another one of that name" in err
    assert runRepo("skymap", where, tmp_path / "visits", "--name", "b", "--subfilters", "g")[0] == 2
    assert runRepo("skymap", where, tmp_path / "absent.fits")[0] == 3
    with openRepository(where) as butler:
        patches = list(butler.registry.queryDimensionRecords("patch", where="skymap='sky'"))
        assert len(patches) == 4
        assert len(list(butler.registry.queryDimensionRecords("subfilter"))) == 3
        assert butler.get("skyMap", skymap="sky", collections="skymaps")[0].bbox.width == 64


def test_skymap_refuses_images_without_sky_coordinates(runRepo, frames, tmp_path):
    assert runRepo("create", tmp_path / "night")[0] == 0
    code, _, err = runRepo("skymap", tmp_path / "night", *frames)
    assert code == 4 and "WCS" in err
