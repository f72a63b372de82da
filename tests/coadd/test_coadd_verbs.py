"""Second-generation verbs of coadds: a patch from chosen exposures or warps, handles of warps, ids of sources."""

import logging

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from coadd_scenes import BOX, WCS, skyWarps
from lsst.daf.butler import DatasetType

from repository_fixtures import butler, emptyRepository  # noqa: F401 (fixtures)
from stillsky import AssembleCoaddConfig, AssembleCoaddTask, SkyMap, TractInfo, assembleCoadd
from stillsky.butler.repository import registerSkyMap
from stillsky.compat.coadd_verbs import _digest
from stillsky.compat.store import DataRef, RunStore
from stillsky.diffim.ids import IdFactory
from stillsky.errors import DomainError, IdOverflowError
from stillsky.wcs import makeCdMatrix, makeTanWcs

PATCH = {"skymap": "plane", "tract": 0, "patch": 0, "band": "g"}
VISITS = (3, 1, 2)
SKY_MAP = SkyMap([TractInfo(0, WCS, BOX, (BOX.width, BOX.height), 0)])


@pytest.fixture(scope="module")
def warps():
    return skyWarps(4)


@pytest.fixture
def patchRef(butler, warps):  # noqa: F811
    """A data reference of a patch with warps of the visits 1 to 4."""
    registerSkyMap(butler, "plane", SKY_MAP)
    registry = butler.registry
    registry.insertDimensionData("instrument", {"name": "Cam", "class_name": "stillsky.butler.instruments.Cam"})
    registry.insertDimensionData("physical_filter", {"instrument": "Cam", "name": "g-sim", "band": "g"})
    registry.insertDimensionData("day_obs", {"instrument": "Cam", "id": 20260102})
    dimensions = ("skymap", "tract", "patch", "instrument", "visit")
    kind = DatasetType("deepCoadd_directWarp", dimensions, "StillskyExposure", universe=butler.dimensions)
    registry.registerDatasetType(kind)
    butler.collections.register("warps")
    for warp in warps:
        visit = warp.visitInfo.id
        registry.insertDimensionData(
            "visit",
            {"instrument": "Cam", "id": visit, "name": str(visit), "physical_filter": "g-sim", "day_obs": 20260102},
        )
        butler.put(warp, kind, skymap="plane", tract=0, patch=0, instrument="Cam", visit=visit, run="warps")
    return DataRef(RunStore(butler, "made", ["warps", "skymaps"]), PATCH)


def byVisit(warps, *visits):
    return [next(w for w in warps if w.visitInfo.id == visit) for visit in visits]


def test_warps_of_exposures_come_in_the_order_of_their_visits(patchRef, warps):
    detectors = [{"visit": visit, "detector": d} for visit in (3, 1, 77) for d in (0, 1)]
    handles = AssembleCoaddTask().getTempExpRefList(patchRef, detectors)
    assert [handle.dataId["visit"] for handle in handles] == [3, 1]
    assert handles[0].get().maskedImage == byVisit(warps, 3)[0].maskedImage
    exposures = AssembleCoaddTask().getTempExpRefList(patchRef, byVisit(warps, 2, 4))
    assert [handle.dataId["visit"] for handle in exposures] == [2, 4]


def test_what_has_no_visit_or_no_patch_is_refused(patchRef):
    with pytest.raises(DomainError, match="visit"):
        AssembleCoaddTask().getTempExpRefList(patchRef, [{"detector": 1}])
    with pytest.raises(DomainError, match="skymap, tract and patch"):
        AssembleCoaddTask().getTempExpRefList(object(), [{"visit": 1}])


def test_chosen_exposures_become_the_coadd_of_a_patch(patchRef, warps):
    config = AssembleCoaddConfig()
    config.doNImage = True
    elsewhere = skyWarps(4)[3]
    elsewhere.wcs = makeTanWcs((40.0, 40.0), (2.5, 0.9), makeCdMatrix(0.2 / 3600))
    made = AssembleCoaddTask(config=config).runDataRef(patchRef, selectDataList=[*byVisit(warps, *VISITS), elsewhere])
    plain = assembleCoadd(byVisit(warps, *VISITS), BOX, WCS)
    assert made.coaddExposure.maskedImage == plain.coadd.maskedImage
    patchRef.butler.registry.refresh()
    assert patchRef.get("deepCoadd").maskedImage == plain.coadd.maskedImage
    np.testing.assert_array_equal(patchRef.get("deepCoadd_nImage").array, plain.nImage.array)


def test_a_list_of_warps_needs_no_repository(warps):
    class Patch:
        skyMap, dataId = SKY_MAP, PATCH
        written = {}

        def put(self, thing, name):
            self.written[name] = thing

    patch = Patch()
    AssembleCoaddTask().runDataRef(patch, warpRefList=warps)
    assert patch.written.keys() == {"deepCoadd"}
    assert patch.written["deepCoadd"].maskedImage == assembleCoadd(warps, BOX, WCS).coadd.maskedImage


def test_two_lists_are_refused_and_nothing_to_combine_is_none(patchRef, warps, caplog):
    task = AssembleCoaddTask()
    with pytest.raises(RuntimeError, match="exactly one"):
        task.runDataRef(patchRef, selectDataList=warps, warpRefList=warps)
    with caplog.at_level(logging.WARNING):
        assert task.runDataRef(patchRef, warpRefList=[]) is None
        assert task.runDataRef(patchRef, selectDataList=[]) is None
    assert caplog.text.count("No exposures to coadd") == 2


def test_ids_of_coadd_sources_say_tract_patch_and_band(patchRef):
    task = AssembleCoaddTask()
    first = task.makeIdFactory(patchRef)
    other = task.makeIdFactory(DataRef(patchRef.store, {**PATCH, "band": "r"}))
    assert isinstance(first, IdFactory) and first.upper == 1 and other.upper == 2
    ids = first.reserve(3)
    assert (ids == (1 << first.counterBits) + np.array([1, 2, 3])).all() and first.counterBits >= 23
    # any name is a band: its number follows from the name alone, so other bands of the repository do not change it
    mauve, puce = (task.makeIdFactory(DataRef(patchRef.store, {**PATCH, "band": band})) for band in ("mauve", "puce"))
    assert mauve.counterBits == first.counterBits
    assert len({first.upper, other.upper, mauve.upper, puce.upper}) == 4 and 64 <= mauve.upper < 4096
    patchRef.butler.registry.insertDimensionData(
        "physical_filter", {"instrument": "Cam", "name": "mauve-1", "band": "mauve"}
    )
    again = task.makeIdFactory(DataRef(patchRef.store, {**PATCH, "band": "mauve"}))
    assert again.upper == mauve.upper


def test_bands_that_would_share_ids_are_refused(patchRef):
    names = {}
    for i in range(9999):  # by the birthday paradox some seventy names do
        twin = names.setdefault(_digest(f"band{i}"), f"band{i}")
        if twin != f"band{i}":
            break
    patchRef.butler.registry.insertDimensionData("physical_filter", {"instrument": "Cam", "name": "twin", "band": twin})
    with pytest.raises(DomainError, match="would have the same ids"):
        AssembleCoaddTask().makeIdFactory(DataRef(patchRef.store, {**PATCH, "band": f"band{i}"}))


def test_ids_without_a_repository_come_from_the_data_id():
    class Ref:
        dataId = {"coaddId": 5, "coaddIdBits": 10}

    task = AssembleCoaddTask()
    assert task.makeIdFactory(Ref())() == (5 << 53) + 1
    Ref.dataId = {"coaddId": 5, "coaddIdBits": 41}
    with pytest.raises(DomainError, match="at most 40"):
        task.makeIdFactory(Ref())
    Ref.dataId = {"coaddId": 5, "coaddIdBits": 2}
    with pytest.raises(IdOverflowError):
        task.makeIdFactory(Ref())
    with pytest.raises(DomainError, match="coaddIdBits"):
        task.makeIdFactory(object())
