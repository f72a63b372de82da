"""DcrAssembleCoaddTask on a repository: a patch from its warps by reference, and by its quantum."""

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from dcr_scene import BAND, SIZE, makeExposures, makeScene, sceneWcs
from lsst.daf.butler import DatasetType

from repository_fixtures import butler, emptyRepository  # noqa: F401 (fixtures)
from stillsky import DcrAssembleCoaddConfig, DcrAssembleCoaddTask, SkyMap, TractInfo
from stillsky.butler.repository import registerSkyMap
from stillsky.compat.store import DataRef, RunStore
from stillsky.geom import Box2I, Point2I

PATCH = {"skymap": "plane", "tract": 4, "patch": 0, "band": "g"}


@pytest.fixture
def repo(butler):  # noqa: F811
    """A repository with the warps of eight visits, their coadd and three subfilters."""
    warps, template = makeExposures(makeScene())
    box = Box2I(Point2I(0, 0), (SIZE, SIZE))
    registerSkyMap(butler, "plane", SkyMap([TractInfo(4, sceneWcs(), box, (SIZE, SIZE), 0)]))
    registry = butler.registry
    registry.insertDimensionData("instrument", {"name": "Cam", "class_name": "stillsky.butler.instruments.Cam"})
    registry.insertDimensionData("physical_filter", {"instrument": "Cam", "name": "g-sim", "band": "g"})
    registry.insertDimensionData("day_obs", {"instrument": "Cam", "id": 20260102})
    registry.insertDimensionData("subfilter", *({"band": "g", "id": k} for k in range(3)))
    patch = ("skymap", "tract", "patch")
    warpKind, coaddKind = (
        DatasetType(name, dimensions, "StillskyExposure", universe=butler.dimensions)
        for name, dimensions in (("deepCoadd_directWarp", (*patch, "instrument", "visit")), ("deepCoadd", (*patch, "band")))
    )  # fmt: skip
    for kind in (warpKind, coaddKind):
        registry.registerDatasetType(kind)
    butler.collections.register("warps")
    butler.put(template, coaddKind, PATCH, run="warps")
    for visit, warp in enumerate(warps, 1):
        registry.insertDimensionData(
            "visit",
            {"instrument": "Cam", "id": visit, "name": str(visit), "physical_filter": "g-sim", "day_obs": 20260102},
        )
        butler.put(warp, warpKind, skymap="plane", tract=4, patch=0, instrument="Cam", visit=visit, run="warps")
    return butler


def testAPatchByReferenceEqualsItsQuantum(repo):
    config = DcrAssembleCoaddConfig()
    config.effectiveWavelength, config.bandwidth = BAND
    config.doInterp = False
    task = DcrAssembleCoaddTask(config=config)
    listed = DataRef(RunStore(repo, "listed", ["warps", "skymaps"]), PATCH)
    handles = task.getTempExpRefList(listed, [{"visit": visit} for visit in range(1, 9)])
    detectors = [{"visit": v, "detector": d} for v, d in ((7, 1), (5, 1), (7, 2))]
    chosen = task.getTempExpRefList(listed, detectors)  # once each, in the order in which the visits come first
    assert [h.dataId["visit"] for h in chosen] == [7, 5]
    assert {h.ref.datasetType.name for h in chosen} == {"deepCoadd_directWarp"}
    ids = [task.makeIdFactory(DataRef(listed.store, {**PATCH, "tract": tract}))() for tract in (4, 5)]
    assert ids[0] > 0 and ids[0] != ids[1]
    made = task.runDataRef(listed, warpRefList=handles)
    quantum = DataRef(RunStore(repo, "quantum", ["warps", "skymaps"]), PATCH)
    task.runDataRef(quantum)
    repo.registry.refresh()
    for k, coadd in enumerate(made.dcrCoadds):
        for run in ("listed", "quantum"):
            stored = repo.get("dcrCoadd", {**PATCH, "subfilter": k}, collections=run)
            assert stored.metadata["SUBFILT"] == k
            np.testing.assert_array_equal(stored.image.array, coadd.image.array)
        counts = repo.get("dcrCoadd_nImage", {**PATCH, "subfilter": k}, collections="listed")
        np.testing.assert_array_equal(counts.array, made.dcrNImages[k].array)
