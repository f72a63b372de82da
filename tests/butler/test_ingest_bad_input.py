"""What people give to `stillsky repo` that is no exposure, no name, or comes in pieces: named, and nothing is half done."""

import os

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from astropy.io import fits

from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import checkRepository, ingestExposures, openRepository, registerSkyMap
from stillsky.wcs import SkyMap, TractInfo

CAM = InstrumentDefinition("MyCam", {0: "left", 1: "right"}, {"r.01": "r"})


@pytest.fixture
def plain(tmp_path):
    """A frame without sky coordinates."""
    path = tmp_path / "plain.fits"
    cards = {"DATE-OBS": "2026-01-01T00:00:00", "INSTRUME": "MyCam", "EXPTIME": 1.0, "EXPNUM": 5, "FILTER": "r.01"}
    fits.writeto(path, np.zeros((10, 12), np.float32), fits.Header(cards))
    return path


def test_an_image_without_sky_coordinates_is_no_visit_and_the_others_come_in(
    butler, runRepo, plain, calexpFiles, tmp_path
):
    code, summary, err = runRepo(
        "ingest", tmp_path / "repo", plain, *calexpFiles((1,), (0, 1)), "--instrument", _yaml(tmp_path)
    )
    assert code == 3 and summary["metadata"]["ingested"] == 2
    assert "plain.fits" in err and "no sky coordinates" in err and "--exposures" in err
    butler.registry.refresh()
    assert {one.id for one in butler.registry.queryDimensionRecords("exposure", instrument="MyCam")} == {1}
    code, summary, err = runRepo("ingest", tmp_path / "repo", plain, "--exposures", "--type", "raw")
    assert code == 0 and summary["metadata"]["ingested"] == 1, err
    assert checkRepository(butler, read=True).problems == []


def _yaml(folder):
    (folder / "cam.yaml").write_text('name: MyCam\ndetectors: {0: left, 1: right}\nfilters: {"r.01": r}\n')
    return folder / "cam.yaml"


def test_detectors_that_come_one_by_one_make_the_visit_that_they_make_together(butler, calexpFiles, makeCalexp):
    files = calexpFiles((1, 2), (0, 1))  # the second detector lies beside the first
    for part in (files[:1], files[1:2], files[2:]):
        assert not ingestExposures(butler, part, CAM).failed
    image = makeCalexp(1)
    registerSkyMap(butler, "plane", SkyMap([TractInfo(0, image.wcs, image.bbox.dilated(60), (20, 20), 0)]))
    found = {1: set(), 2: set()}
    for one in butler.registry.queryDataIds(["visit", "patch"], where="skymap='plane' AND instrument='MyCam'"):
        found[one["visit"]].add(one["patch"])
    assert found[1] == found[2] and len(found[1]) > 12
    regions = {one.id: one.region for one in butler.registry.queryDimensionRecords("visit", instrument="MyCam")}
    assert regions[1].getBoundingCircle().getArea() == pytest.approx(regions[2].getBoundingCircle().getArea(), rel=1e-6)
    assert checkRepository(butler).problems == []


@pytest.mark.parametrize(
    "options, said",
    [
        (["--type", "bad name!"], "dataset type bad name!"),
        (["--type", "skyMap"], "skyMap"),  # of a sky map's dimensions
        (["--run", "MyCam/defaults"], "MyCam/defaults is a collection of kind CHAINED"),
        (["--instrument", "Other"], "registered are MyCam"),
    ],
)
def test_names_that_cannot_be_are_refused_before_anything_is_written(
    butler, runRepo, plain, makeCalexp, tmp_path, options, said
):
    image = makeCalexp(1)
    assert not ingestExposures(butler, [str(plain)], CAM, dimension="exposure", datasetType="raw").failed
    registerSkyMap(butler, "plane", SkyMap([TractInfo(0, image.wcs, image.bbox, (20, 25), 0)]))
    before = _contents(butler)
    code, _, err = runRepo("ingest", tmp_path / "repo", plain, "--exposures", *options)
    assert code == 2 and said in err, err
    assert _contents(butler) == before


def _contents(butler):
    butler.registry.refresh()
    return butler.collections.query("*"), {one.name for one in butler.registry.queryDatasetTypes("*")}


def test_a_folder_without_images_says_so(butler, runRepo, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = runRepo("ingest", tmp_path / "repo", tmp_path / "empty")
    assert code == 3 and "no FITS file" in err and "empty" in err


@pytest.mark.parametrize("text", ["hello", "[1, 2]", "a: [broken", ""])
def test_a_configuration_that_is_none_is_named(butler, runRepo, tmp_path, text):
    (tmp_path / "repo" / "butler.yaml").write_text(text)
    for words in (["check"], ["update"]):
        code, _, err = runRepo(*words, tmp_path / "repo")
        assert code == 3 and "butler.yaml" in err and "configuration of a repository" in err, err
    with pytest.raises(OSError, match="configuration of a repository"):
        openRepository(tmp_path / "repo")


def test_a_registry_that_is_gone_is_named_and_not_made_anew(butler, runRepo, plain, tmp_path):
    os.remove(tmp_path / "repo" / "gen3.sqlite3")
    for words in (["check", tmp_path / "repo"], ["ingest", tmp_path / "repo", plain, "--exposures"]):
        code, _, err = runRepo(*words)
        assert code == 3 and "gen3.sqlite3" in err and "backup" in err
    assert not (tmp_path / "repo" / "gen3.sqlite3").exists()
    (tmp_path / "repo" / "gen3.sqlite3").write_bytes(b"junk" * 1000)
    code, _, err = runRepo("check", tmp_path / "repo")
    assert code == 3 and "not a database" in err and "backup" in err
