"""An existing repository is brought up to date; sky maps from short definitions; real exposures end to end."""

import os

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from lsst.daf.butler import Config

from stillsky.butler.definitions import staleDefinitions, updateStorage
from stillsky.butler.instruments import InstrumentDefinition, observationOf
from stillsky.butler.repository import (
    checkRepository,
    ingestExposures,
    openRepository,
    registerInstrument,
    registerSkyMap,
)
from stillsky.butler.sky_maps import skyMapFromYaml
from stillsky.errors import DomainError

CAM = InstrumentDefinition("MyCam", {0: "left", 1: "right"}, {"r.01": "r"})


def test_definitions_of_an_older_stillsky_are_replaced_and_others_stay(butler, calexpFiles, tmp_path):
    ingestExposures(butler, calexpFiles((1,), (0,)), CAM)
    where = tmp_path / "repo" / "butler.yaml"
    old = Config(str(where))
    del old["storageClasses", "StillskyCoaddInputs"]
    old["storageClasses", "StillskyExposure", "components"] = {"image": "StillskyImage", "mask": "StillskyMask"}
    old["datastore", "formatters", "StillskyTable"] = "lsst.daf.butler.formatters.parquet.ParquetFormatter"
    del old["datastore", "checksum"]
    old["storageClasses", "Mine"] = {"pytype": "dict"}
    old.dumpToUri(str(where), overwrite=True)
    assert [name for name, _ in staleDefinitions(where)] == ["StillskyCoaddInputs", "StillskyExposure"]
    assert all("stillsky repo update" in one for one in checkRepository(butler).problems)
    changes = updateStorage(tmp_path / "repo")
    assert [one.split(":")[0] for one in changes] == [
        "storage class StillskyCoaddInputs", "storage class StillskyExposure", "formatter of StillskyTable", "checksums",
    ]  # fmt: skip
    assert updateStorage(tmp_path / "repo") == []
    assert Config(str(where))["storageClasses", "Mine", "pytype"] == "dict"
    assert sorted(name for name in os.listdir(tmp_path / "repo") if name.startswith("butler")) == ["butler.yaml"]
    with openRepository(tmp_path / "repo") as fresh:
        assert checkRepository(fresh, read=True).problems == []
        assert fresh.get("calexp.psf", instrument="MyCam", visit=1, detector=0, collections="MyCam/calexp") is not None


def test_an_instrument_that_changed_is_changed_on_demand_only(butler):
    registerInstrument(butler, CAM)
    changed = InstrumentDefinition("MyCam", {0: "left", 1: "east", 2: "third"}, {"r.01": "r", "H": "h"})
    with pytest.raises(DomainError, match="stillsky repo update"):
        registerInstrument(butler, changed)
    registerInstrument(butler, changed, update=True)
    names = {one.id: one.full_name for one in butler.registry.queryDimensionRecords("detector", instrument="MyCam")}
    assert names == {0: "left", 1: "east", 2: "third"}
    bands = {one.name: one.band for one in butler.registry.queryDimensionRecords("physical_filter", instrument="MyCam")}
    assert bands == {"r.01": "r", "H": "h"}


def test_an_instrument_that_comes_after_a_sky_map_has_it_among_its_defaults(butler, makeCalexp, tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("{name: m, pixelScale: 0.2, patch: [30, 40], tracts: [{center: [10, 1], size: [0.004, 0.005]}]}")
    name, skyMap = skyMapFromYaml(path)
    assert name == "m" and skyMap[0].bbox.dimensions == (72, 90) and skyMap[0].numPatches == (3, 3)
    np.testing.assert_allclose(np.degrees(skyMap[0].skyCenter), (10, 1), atol=0.3 / 3600)
    np.testing.assert_allclose(np.degrees(skyMap[0].wcs.pixelScale()) * 3600, 0.2, rtol=1e-5)
    registerSkyMap(butler, name, skyMap)
    registerInstrument(butler, CAM)
    assert butler.get("skyMap", skymap="m", collections="MyCam/defaults") == skyMap


@pytest.mark.parametrize(
    "text, said",
    [
        ("[1]", "wanted name, pixelScale"),
        ("{name: m, pixelScale: 0.2}", "wanted name, pixelScale"),
        ("{name: m, pixelScale: 0.2, patch: 30, patches: 3}", "wanted name, pixelScale"),
        ("{name: m, pixelScale: -1, patch: 30}", "pixelScale in arcseconds"),
        ("{name: m, pixelScale: 0.2, patch: wide}", "pixels, given 0.2 and 'wide'"),
        ("{name: m, pixelScale: 0.2, patch: 30, tracts: [{center: [1, 2]}]}", "center and size"),
        ("{name: m, pixelScale: 0.2, patch: 0, tracts: [{center: [1, 2], size: [1, 1]}]}", "one pixel"),
        ("{name: m, pixelScale: 0.2, patch: 30, tracts: []}", "at least one"),
        ("{name: m, pixelScale: 0.2, patch: 30}", "visits"),
        ("{name: m", "not YAML"),
    ],
)
def test_a_wrong_definition_of_a_sky_map_is_named_with_its_file(tmp_path, text, said, noVisits):
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(DomainError, match=said) as caught:
        skyMapFromYaml(path, noVisits)
    assert str(path) in str(caught.value)


@pytest.fixture(scope="module")
def noVisits(emptyRepository):
    with openRepository(emptyRepository) as butler:
        yield butler


@pytest.mark.shared
def test_ten_real_exposures_from_headers_to_patches(runRepo, sharedDir, tmp_path):
    """DECam stamps on one grid. Their dates are all that of the grid's frame, so a card of the definition tells them apart."""
    paths = sorted((sharedDir / "data" / "decam_minis").glob("*.fits"))
    assert len(paths) == 10
    (tmp_path / "decam.yaml").write_text("name: DECam\ndetectors: {37: N6}\nheaders: {exposure: EXP_BN}\n")
    (tmp_path / "map.yaml").write_text("{name: field, pixelScale: 0.263, patch: 150, border: 10}")
    repo = tmp_path / "repo"
    assert runRepo("create", repo, "--instrument", tmp_path / "decam.yaml")[0] == 0
    code, summary, err = runRepo("ingest", repo, *paths, "--instrument", tmp_path / "decam.yaml")
    assert code == 0 and summary["metadata"]["ingested"] == 10, err
    code, summary, err = runRepo("update", repo, "--skymap", tmp_path / "map.yaml", "--subfilters", "i:3")
    assert code == 0 and len(summary["metadata"]["registered"]) == 2, err
    code, summary, err = runRepo("update", repo, "--subfilters", "three")
    assert code == 2 and "BAND:N" in err
    code, summary, _ = runRepo("check", repo)
    assert code == 0 and summary["metadata"] == {"datasets": 11, "problems": []}
    with openRepository(repo) as butler:
        records = list(butler.registry.queryDimensionRecords("visit", instrument="DECam"))
        assert len({one.id for one in records}) == 10 and {one.exposure_time for one in records} == {330.0}
        assert "c4d_180804_092331_ooi_i_v1" in {one.name for one in records}
        (filter_,) = butler.registry.queryDimensionRecords("physical_filter", instrument="DECam")
        assert filter_.band == "i"
        found = set(butler.registry.queryDataIds(["patch", "visit", "detector"], where="skymap='field' AND tract=0"))
        patches = {one["patch"] for one in found}
        tract = butler.get("skyMap", skymap="field", collections="DECam/defaults")[0]
        assert len(patches) == len(tract) == 4 and len(found) == 40
        exposure = butler.get("calexp", records[0].dataId, detector=37, collections="DECam/defaults")
        corners = exposure.bbox.minX, exposure.bbox.maxX
        ra, dec = exposure.wcs.pixelToSky(np.array([*corners, *corners]), np.repeat([0, exposure.bbox.maxY], 2))
        assert np.all(tract.contains(ra, dec))  # nothing of the images is outside the map that was made for them
        assert len(list(butler.registry.queryDimensionRecords("subfilter", band="i"))) == 3


@pytest.mark.shared
@pytest.mark.parametrize("folder, number, instrument", [("m13", 5, "Orion_SSDSI"), ("ccd_flats", 3, "QHY268M")])
def test_real_frames_without_a_definition(butler, sharedDir, folder, number, instrument):
    from stillsky.butler.instruments import nameOfInstrument

    paths = sorted((sharedDir / "data" / folder).glob("*.fits"))
    name = nameOfInstrument(paths)
    assert name.startswith(instrument)
    report = ingestExposures(butler, paths, InstrumentDefinition(name), datasetType="raw", dimension="exposure")
    assert len(report.ingested) == number and not report.failed
    image = butler.get(report.ingested[0])
    assert image.image.array.shape[0] > 1000 and image.visitInfo.exposureTime > 0


@pytest.mark.shared
def test_headers_that_do_not_tell_exposures_apart_are_refused_after_the_first(butler, sharedDir):
    paths = sorted((sharedDir / "data" / "decam_minis").glob("*.fits"))[:3]
    assert (
        observationOf(paths[0], InstrumentDefinition("DECam")).detector == 37
    )  # CCDNUM, not the serial number in DETECTOR
    report = ingestExposures(butler, map(str, paths), InstrumentDefinition("DECam"))
    assert len(report.ingested) == 1 and len(report.failed) == 2
    assert all(str(paths[0]) in reason for _, reason in report.failed)
