"""Repositories: made, filled from files, checked."""

import os

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from stillsky.butler.instruments import InstrumentDefinition, bandOf, observationOf
from stillsky.butler.repository import (
    checkRepository,
    createRepository,
    definitionOf,
    ingestExposures,
    openRepository,
    registerSkyMap,
    registerSubfilters,
)
from stillsky.errors import DomainError
from stillsky.wcs import SkyMap, TractInfo

CAM = InstrumentDefinition("MyCam", {0: "left", 1: "right"}, {"r.01": "r"})


def test_exposures_come_with_the_records_that_a_graph_needs(butler, calexpFiles):
    report = ingestExposures(butler, calexpFiles((1, 2), (0, 1)), CAM)
    assert len(report.ingested) == 4 and not report.failed and not report.skipped
    visits = {one.id: one for one in butler.registry.queryDimensionRecords("visit", instrument="MyCam")}
    assert set(visits) == {1, 2}
    assert visits[1].physical_filter == "r.01" and visits[1].exposure_time == 30.0 and visits[1].day_obs == 20260101
    regions = list(butler.registry.queryDimensionRecords("visit_detector_region", instrument="MyCam", visit=1))
    assert {one.detector for one in regions} == {0, 1} and all(one.region is not None for one in regions)
    assert [one.band for one in butler.registry.queryDimensionRecords("physical_filter", instrument="MyCam")] == ["r"]
    image = butler.get("calexp", instrument="MyCam", visit=2, detector=1, collections="MyCam/calexp")
    assert image.visitInfo.id == 2 and image.xy0 == (60, 20)


def test_an_ingest_is_repeated_without_loss_or_duplicates(butler, calexpFiles):
    paths = calexpFiles((1,), (0, 1))
    ingestExposures(butler, paths[:1], CAM)
    report = ingestExposures(butler, paths, CAM)
    assert report.skipped == paths[:1] and len(report.ingested) == 1
    again = ingestExposures(butler, paths, InstrumentDefinition("MyCam"))  # definition need not be repeated
    assert again.skipped == paths and not again.failed
    assert len(set(butler.registry.queryDatasets("calexp", collections="MyCam/calexp"))) == 2


def test_a_file_that_cannot_be_read_fails_alone(butler, calexpFiles, tmp_path):
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"not FITS at all")
    report = ingestExposures(butler, [str(bad), *calexpFiles((1,), (0,)), str(tmp_path / "absent.fits")], CAM)
    assert len(report.ingested) == 1
    assert [path for path, _ in report.failed] == [str(bad), str(tmp_path / "absent.fits")]
    assert all(reason for _, reason in report.failed)


def test_the_same_exposure_from_two_files_is_refused_for_the_second(butler, calexpFiles, tmp_path):
    import shutil

    (first,) = calexpFiles((1,), (0,))
    second = str(tmp_path / "copy.fits")
    shutil.copy(first, second)
    report = ingestExposures(butler, [first, second], CAM)
    assert len(report.ingested) == 1 and first in report.failed[0][1]


def test_flats_are_ingested_by_exposure_without_a_visit(butler, tmp_path, rng):
    from astropy.io import fits

    header = fits.Header({"DATE-OBS": "2026-01-02T03:04:05", "EXPTIME": 2.0, "EXPNUM": 41, "CCDNUM": 3, "FILTER": "B"})
    path = str(tmp_path / "flat.fits")
    fits.writeto(path, rng.normal(1000, 30, (20, 30)).astype(np.float32), header)
    report = ingestExposures(butler, [path], InstrumentDefinition("Lab"), datasetType="flat", dimension="exposure")
    assert not report.failed
    flat = butler.get("flat", instrument="Lab", exposure=41, detector=3, collections="Lab/flat")
    assert flat.image.array.shape == (20, 30)
    assert not list(butler.registry.queryDimensionRecords("visit", instrument="Lab"))


def test_cards_of_an_unusual_camera_are_named_in_its_definition(tmp_path, rng):
    from astropy.io import fits

    definition = tmp_path / "cam.yaml"
    definition.write_text(
        "name: Odd\ndetectors: {4: north}\nfilters: {green glass: g}\nheaders: {exposure: FRAMENO, detector: CHIP, filter: GLASS}\n"
    )
    cards = {"MJD-OBS": 61000.25, "EXPTIME": 10.0, "FRAMENO": 17, "CHIP": "north", "GLASS": "green glass"}
    path = str(tmp_path / "odd.fits")
    fits.writeto(path, rng.normal(size=(5, 6)).astype(np.float32), fits.Header(cards))
    one = observationOf(path, InstrumentDefinition.fromYaml(definition))
    assert (one.exposure, one.detector, one.filter, one.exposureTime) == (17, 4, "green glass", 10.0)
    assert one.begin.utc.mjd == pytest.approx(61000.25, abs=1e-9)
    assert (one.end - one.begin).sec == pytest.approx(10.0, abs=1e-6)
    assert one.corners is None


@pytest.mark.parametrize(
    "text, said",
    [
        ("name: 3cam", "letters"),
        ("detectors: {0: a}", "wanted name"),
        ("name: Cam\nheaders: {exposures: X}", "exposures"),
        ("name: Cam\ndetectors: {a: 0}", "ids of 0"),
        ("name: [", "not YAML"),
    ],
)
def test_a_wrong_definition_is_named_with_its_file(tmp_path, text, said):
    path = tmp_path / "cam.yaml"
    path.write_text(text)
    with pytest.raises(DomainError, match=said) as caught:
        InstrumentDefinition.fromYaml(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "name, band", [("g DECam SDSS c0001", "g"), ("ZTF_r", "r"), ("r'", "r"), ("SDSS-i", "i"), ("", "white")]
)
def test_the_band_is_the_first_word_of_a_filter(name, band):
    assert bandOf(name) == band


def test_workers_find_the_class_of_any_instrument(butler):
    from lsst.pipe.base import Instrument

    CAM.register(butler.registry)
    found = Instrument.fromName("MyCam", butler.registry)
    assert found.getName() == "MyCam" and found.makeCollectionName("calib") == "MyCam/calib"
    assert definitionOf(butler, "MyCam").detectors == {0: "left", 1: "right"}
    with pytest.raises(DomainError, match="Other"):
        definitionOf(butler, "Other")


def test_a_patch_meets_only_the_detectors_that_overlap_it(butler, calexpFiles, makeCalexp):
    ingestExposures(butler, calexpFiles((1,), (0, 1)), CAM)
    exposure = makeCalexp(1, 0)
    registerSkyMap(butler, "plane", SkyMap([TractInfo(0, exposure.wcs, exposure.bbox, (20, 25), 0)]))
    where = "skymap='plane' AND tract=0 AND instrument='MyCam'"
    found = set(butler.registry.queryDataIds(["patch", "visit", "detector"], where=where))
    assert {one["patch"] for one in found} == {0, 1, 2, 3}
    assert 0 in {one["detector"] for one in found}
    assert butler.get("skyMap", skymap="plane", collections="skymaps")[0].bbox == exposure.bbox


def test_another_sky_map_of_the_same_name_is_refused(butler, makeCalexp):
    exposure = makeCalexp(1)
    registerSkyMap(butler, "plane", SkyMap([TractInfo(0, exposure.wcs, exposure.bbox, (20, 25), 0)]))
    registerSkyMap(butler, "plane", SkyMap([TractInfo(0, exposure.wcs, exposure.bbox, (20, 25), 0)]))  # the same: fine
    with pytest.raises(DomainError, match="plane"):
        registerSkyMap(butler, "plane", SkyMap([TractInfo(0, exposure.wcs, exposure.bbox, (10, 25), 0)]))


def test_subfilters_of_a_band_are_registered_once(butler, calexpFiles):
    ingestExposures(butler, calexpFiles((1,), (0,)), CAM)
    registerSubfilters(butler, "r", 3)
    registerSubfilters(butler, "r", 3)
    assert [one.id for one in butler.registry.queryDimensionRecords("subfilter", band="r")] == [0, 1, 2]


def test_a_whole_repository_has_no_problems_and_a_broken_one_names_them(butler, calexpFiles, tmp_path):
    paths = calexpFiles((1, 2), (0, 1))
    ingestExposures(butler, paths, CAM, transfer="copy")
    whole = checkRepository(butler, read=True)
    assert whole.datasets == 4 and whole.problems == []
    refs = sorted(butler.registry.queryDatasets("calexp", collections="MyCam/calexp"), key=lambda one: str(one.dataId))
    first, second, third = (butler.getURI(ref).ospath for ref in refs[:3])
    os.remove(first)
    with open(second, "r+b") as file:
        file.truncate(2880)
    with open(third, "r+b") as file:  # the size is right, the bytes are not
        file.write(b"X" * 2880)
    (tmp_path / "repo" / "MyCam" / "orphan.fits").write_bytes(b"left by a killed worker")
    quick, thorough = checkRepository(butler).problems, checkRepository(butler, read=True).problems
    assert len(quick) == 3 and len(thorough) == 4
    assert any("missing" in one for one in quick) and any("2880 bytes" in one for one in quick)
    assert any("orphan.fits" in one for one in quick) and any("cannot be read" in one for one in thorough)


def test_a_repository_is_made_only_where_nothing_is(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError):
        createRepository(tmp_path / "full")
    assert os.listdir(tmp_path / "full") == ["thesis.tex"]
    with pytest.raises(FileNotFoundError, match="no repository"):
        openRepository(tmp_path / "full")
    with pytest.raises(DomainError, match="postgresql://"):
        createRepository(tmp_path / "new", db="mysql://x")
    with pytest.raises(DomainError, match="namespace"):
        createRepository(tmp_path / "new", namespace="x")


def test_a_dataset_type_of_other_dimensions_is_refused(butler, calexpFiles):
    paths = calexpFiles((1,), (0,))
    ingestExposures(butler, paths, CAM, datasetType="thing", dimension="exposure")
    with pytest.raises(DomainError, match="thing"):
        ingestExposures(butler, paths, CAM, datasetType="thing", dimension="visit")
    with pytest.raises(DomainError, match="dimension"):
        ingestExposures(butler, paths, CAM, dimension="night")


def test_two_names_of_one_number_are_told_apart(butler, calexpFiles, monkeypatch):
    """Numbers made of names have 31 bits, so that ids of sources keep 16 for the sources of a detector."""
    from stillsky.butler import instruments

    record = {"instrument": "MyCam", "visit": 1, "detector": 0}
    (first, second) = calexpFiles(visits=(1, 2), detectors=(0,))
    monkeypatch.setattr(instruments, "_number", lambda info, card, obsId: 7)
    report = ingestExposures(butler, [first], InstrumentDefinition("MyCam"))
    assert not report.failed
    with open(second, "rb") as file:
        before = file.read()
    report = ingestExposures(butler, [second], InstrumentDefinition("MyCam"))
    assert len(report.failed) == 1 and "already" in report.failed[0][1]
    with open(second, "rb") as file:
        assert file.read() == before
    assert butler.find_dataset("calexp", record | {"visit": 7}, collections="MyCam/calexp") is not None


def test_ids_of_sources_have_room(butler):
    from stillsky.diffim.detect_measure_config import IdGeneratorConfig
    from stillsky.diffim.ids import layoutOfDataId

    InstrumentDefinition("MyCam", {0: "a"}, {"r": "r"}).register(butler.registry)
    butler.registry.insertDimensionData("day_obs", {"instrument": "MyCam", "id": 20260102})
    visit = {"instrument": "MyCam", "id": 2**31 - 1, "name": "last", "physical_filter": "r", "day_obs": 20260102}
    butler.registry.insertDimensionData("visit", visit)
    dataId = butler.registry.expandDataId(instrument="MyCam", visit=2**31 - 1, detector=0)
    layout = layoutOfDataId(dataId, IdGeneratorConfig())
    assert layout.counterBits == 16 and layout.makeFactory().reserve(60000)[-1] > 0
