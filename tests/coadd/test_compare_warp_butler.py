"""CompareWarpAssembleCoaddTask from a repository: deferred warps read by boxes, everything written and read back."""

import pytest
from coadd_scenes import constantWarp

pytest.importorskip("lsst.daf.butler")

from lsst.daf.butler import DatasetType
from lsst.pipe.base import testUtils

from repository_fixtures import butler, emptyRepository  # noqa: F401
from stillsky import CompareWarpAssembleCoaddConfig, CompareWarpAssembleCoaddTask
from stillsky.butler.repository import registerSkyMap
from stillsky.geom import Box2I, Point2I
from stillsky.psf import GaussianPsf
from stillsky.wcs import SkyMap, TractInfo, makeCdMatrix, makeTanWcs

BOX = Box2I(Point2I(0, 0), (90, 80))
WCS = makeTanWcs((40.0, 40.0), (0.5, -0.1), makeCdMatrix(0.2 / 3600))


@pytest.fixture
def filled(butler, rng):  # noqa: F811
    """A repository with five visits of both kinds; visit 3 has a block of 300 nJy that the others have not."""
    registerSkyMap(butler, "one", SkyMap([TractInfo(9, WCS, BOX, BOX.dimensions, 0)]), run="warps")
    registry = butler.registry
    registry.insertDimensionData("instrument", {"name": "Cam", "class_name": "stillsky.butler.instruments.Cam"})
    registry.insertDimensionData("physical_filter", {"instrument": "Cam", "name": "g-sim", "band": "g"})
    registry.insertDimensionData("day_obs", {"instrument": "Cam", "id": 20260102})
    kinds = {}
    for kind in ("direct", "psfMatched"):
        name = f"deepCoadd_{kind}Warp"
        dimensions = ("tract", "patch", "skymap", "visit", "instrument")
        kinds[kind] = DatasetType(name, dimensions, "StillskyExposure", universe=butler.dimensions)
        registry.registerDatasetType(kinds[kind])
    for visit in range(1, 6):
        registry.insertDimensionData(
            "visit",
            {"instrument": "Cam", "id": visit, "name": str(visit), "physical_filter": "g-sim", "day_obs": 20260102},
        )
        for kind, noise, sigma in (("direct", 5.0, 1.8), ("psfMatched", 4.0, 2.5)):
            warp = constantWarp(0.0, noise**2, BOX, visit=visit, wcs=WCS)
            warp.image.array[...] += rng.normal(0, noise, BOX.shape)
            warp.psf = GaussianPsf(21, 21, sigma)
            if visit == 3:
                warp.image.array[30:40, 20:32] += 300
            butler.put(warp, kinds[kind], run="warps", instrument="Cam", visit=visit, skymap="one", tract=9, patch=0)
    return butler.clone(collections=["warps"], run="warps")


def test_aQuantumOfARepository(filled):
    config = CompareWarpAssembleCoaddConfig()
    config.doWriteArtifactMasks = config.doNImage = config.assembleStaticSkyModel.doWrite = True
    task = CompareWarpAssembleCoaddTask(config=config)
    connections = config.connections.ConnectionsClass(config=config)
    patch = {"skymap": "one", "tract": 9, "patch": 0, "band": "g"}
    keys = [{"skymap": "one", "tract": 9, "patch": 0, "instrument": "Cam", "visit": visit} for visit in range(1, 6)]
    warps = [filled.registry.expandDataId(key, dimensions=tuple(key)) for key in keys]
    for name in connections.outputs:
        connection = getattr(connections, name)
        kind = DatasetType(connection.name, connection.dimensions, connection.storageClass, universe=filled.dimensions)
        filled.registry.registerDatasetType(kind)
    ids = {
        "inputWarps": warps, "psfMatchedWarps": warps, "skyMap": {"skymap": "one"}, "artifactMasks": warps,
        "coaddExposure": patch, "nImage": patch, "templateCoadd": patch,
    }  # fmt: skip
    quantum = testUtils.makeQuantum(task, filled, filled.registry.expandDataId(patch, dimensions=tuple(patch)), ids)
    testUtils.runTestQuantum(task, filled, quantum, mockRun=False)
    coadd = filled.get("deepCoadd", patch)
    assert coadd.bbox == BOX and abs(coadd.image.array[30:40, 20:32].mean()) < 1.5
    assert coadd.mask.isSet("CLIPPED")[30:40, 20:32].all()
    assert (filled.get("deepCoadd_nImage", patch).array[30:40, 20:32] == 4).all()
    assert filled.get("deepCoaddPsfMatched", patch).bbox == BOX
    masks = [filled.get("compare_warp_artifact_mask", dataId) for dataId in warps]
    assert [bool(m.isSet("CLIPPED").any()) for m in masks] == [False, False, True, False, False]
