"""AssembleCoaddTask on a repository: the quantum of a patch, warps mapped in place, the coadd written and read."""

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

import astropy.units as u
from astropy.time import Time
from coadd_scenes import BOX, WCS, skyWarps

from repository_fixtures import butler, emptyRepository  # noqa: F401 (fixtures)
from stillsky import AssembleCoaddConfig, AssembleCoaddTask, SkyMap, TractInfo, WarpHandle, assembleCoadd
from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import ingestExposures, registerSkyMap
from stillsky.coadd import asWarp
from stillsky.compat.store import DataRef, RunStore
from stillsky.meta import FilterLabel, VisitInfo

PATCH = {"skymap": "plane", "tract": 0, "patch": 0, "band": "g"}


@pytest.fixture
def warps():
    made = skyWarps(4)
    for warp in made:
        number = warp.visitInfo.id
        warp.visitInfo = VisitInfo(id=number, exposureTime=30.0, date=Time("2026-01-02T03:04:05") + number * u.min)
        warp.filter = FilterLabel("g", "g.01")
    return made


@pytest.fixture
def repo(butler, warps, tmp_path):  # noqa: F811
    """A repository with four visits and their warps onto one patch."""
    from lsst.daf.butler import DatasetType

    paths = [str(tmp_path / f"v{warp.visitInfo.id}.fits") for warp in warps]
    for warp, path in zip(warps, paths):
        warp.writeFits(path)
    assert not ingestExposures(butler, paths, InstrumentDefinition("MyCam", {0: "a"}, {"g.01": "g"})).failed
    registerSkyMap(butler, "plane", SkyMap([TractInfo(0, WCS, BOX, (BOX.width, BOX.height), 0)]))
    dimensions = ("skymap", "tract", "patch", "instrument", "visit")
    kind = DatasetType("deepCoadd_directWarp", dimensions, "StillskyExposure", universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.collections.register("warps")
    for warp in warps:
        butler.put(
            warp, kind, skymap="plane", tract=0, patch=0, instrument="MyCam", visit=warp.visitInfo.id, run="warps"
        )
    return butler


def testTheQuantumOfAPatchIsCombinedAndWritten(repo, warps):
    config = AssembleCoaddConfig()
    config.doNImage = True
    task = AssembleCoaddTask(config=config)
    task.runDataRef(DataRef(RunStore(repo, "made", ["MyCam/defaults", "skymaps", "warps"]), PATCH))
    repo.registry.refresh()
    coadd = repo.get("deepCoadd", PATCH, collections="made")
    plain = assembleCoadd(warps, BOX, WCS)
    assert coadd.maskedImage == plain.coadd.maskedImage and coadd.filter.band == "g"
    assert coadd.info.coaddInputs.visits["id"].tolist() == [w.visitInfo.id for w in warps]
    np.testing.assert_array_equal(repo.get("deepCoadd_nImage", PATCH, collections="made").array, plain.nImage.array)


def testFilesBehindHandlesAreMapped(repo, warps):
    handle = repo.getDeferred("deepCoadd_directWarp", skymap="plane", tract=0, patch=0, instrument="MyCam", visit=2,
                              collections="warps")  # fmt: skip
    warp = asWarp(handle)
    assert isinstance(warp, WarpHandle) and warp.dataId["visit"] == 2 and "visit=2" in warp.name
    assert warp.block(BOX)[0].dtype == np.dtype(">f4") and warp.get().maskedImage == warps[1].maskedImage
