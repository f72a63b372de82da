"""Which flats belong together."""

import math

import numpy as np
import pytest
from flat_scenes import makeFlat

from stillsky.errors import DomainError, NotFoundError, ShapeError
from stillsky.ptc import ExposureHandle, groupExposures
from stillsky.ptc.config import PhotonTransferCurveExtractAlgorithmConfig
from stillsky.ptc.handles import asHandle
from stillsky.ptc.pairing import groupByFlux, groupById, groupByTime, selectFluxPair, timesMatch

FRAME = np.ones((3, 3))


def idsOf(groups):
    return {key: [i for _, i in members] for key, members in groups.items()}


def flatsOf(times, **header):
    return [makeFlat(FRAME, t, metadata={k: v[n] for k, v in header.items()}) for n, t in enumerate(times)]


def config(**fields):
    made = PhotonTransferCurveExtractAlgorithmConfig()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_byTime_keepsTheOrderOfFirstAppearance():
    groups = groupByTime(flatsOf([3, 1, 3, 2, 1]), [7, 8, 9, 10, 11])
    assert idsOf(groups) == {3.0: [7, 9], 1.0: [8, 11], 2.0: [10]}
    assert list(groups) == [3.0, 1.0, 2.0]


def test_byTime_timesWithinTheToleranceAreEqual():
    assert idsOf(groupByTime(flatsOf([1.0, 1.004, 1.02]), [0, 1, 2])) == {1.0: [0, 1], 1.02: [2]}
    assert timesMatch(1000.0, 1000.014) and not timesMatch(1000.0, 1000.02)
    assert not timesMatch(1.0, 1.0 + 1e-12, 0.0) and not timesMatch(math.nan, math.nan)


def test_byTime_compatComparesExactly():
    flats = flatsOf([1.0, 1.004])
    assert idsOf(groupExposures(flats, [0, 1], config())) == {1.0: [0, 1]}
    assert idsOf(groupExposures(flats, [0, 1], config(compat=True))) == {1.0: [0], 1.004: [1]}


def test_byTime_unknownTimesShareOneKeyThatIsNotANumber():
    groups = groupByTime(flatsOf([math.nan, 1.0, math.nan, 1.0]), [0, 1, 2, 3])
    assert len(groups) == 2 and groups[1.0][1][1] == 3
    (key,) = [k for k in groups if math.isnan(k)]
    assert [i for _, i in groups[key]] == [0, 2]


def test_byFlux_missingHeaderKeyIsAWarning(caplog):
    flats = flatsOf([1, 1, 1, 1], CCOBFLUX=[5.0, 6.0, 5.0, "?"])
    groups = groupByFlux(flats, [0, 1, 2, 3], "CCOBFLUX")
    assert [i for _, i in groups[5.0]] == [0, 2] and [i for _, i in groups[6.0]] == [1]
    assert sum(math.isnan(k) for k in groups) == 1
    assert "CCOBFLUX" in caplog.text
    caplog.clear()
    assert all(math.isnan(k) for k in groupByFlux(flats, [0, 1, 2, 3], "NONE"))
    assert len(caplog.records) == 4


def test_byId_sortsAndLeavesAnOddLastOneAlone():
    assert idsOf(groupById(flatsOf([1] * 5), [14, 10, 13, 11, 12])) == {0: [10, 11], 1: [12, 13], 2: [14]}


def test_kindsOfTheConfiguration():
    flats = flatsOf([1, 2, 1, 2], CCOBFLUX=[1, 1, 2, 2])
    ids = [0, 1, 2, 3]
    assert idsOf(groupExposures(flats, ids, config())) == {1.0: [0, 2], 2.0: [1, 3]}
    assert idsOf(groupExposures(flats, ids, config(matchExposuresType="FLUX"))) == {1.0: [0, 1], 2.0: [2, 3]}
    assert idsOf(groupExposures(flats, ids, config(matchExposuresType="EXPID"))) == {0: [0, 1], 1: [2, 3]}
    assert idsOf(groupExposures(flats, ids, config(matchByExposureId=True))) == {0: [0, 1], 1: [2, 3]}


@pytest.mark.parametrize("group", [groupByTime, groupById, lambda e, i: groupByFlux(e, i, "K")])
def test_oneIdPerExposure(group):
    with pytest.raises(ShapeError, match="2 exposures and 1 ids"):
        group(flatsOf([1, 1]), [0])


def test_selectFluxPair():
    assert selectFluxPair([0, 1], [1, 1], 0) == ((0, 1), "")
    assert selectFluxPair([0, 1, 2], [1, 1, 2], 1) == (None, "")
    assert selectFluxPair([1, 2, 3], [1, 2, 2], 2) == ((1, 2), "")
    assert selectFluxPair([1, 2, 3], [1, 2, 2], 1)[0] is None
    assert "no neighbour" in selectFluxPair([0, 1, 2], [1, 2, 3], 1)[1]
    assert "no neighbour" in selectFluxPair([0, 1], [math.nan, math.nan], 0)[1]
    assert "all have" in selectFluxPair([0, 1, 2], [1, 1, 1], 1)[1]


def test_handles_readPixelsOnlyWhenAsked():
    reads = []

    def load():
        reads.append(1)
        return makeFlat(FRAME, 2.0)

    known = makeFlat(FRAME, 3.0)
    handle = ExposureHandle(load, visitInfo=known.visitInfo, metadata=known.metadata, detector=known.detector)
    assert handle.get(component="visitInfo").exposureTime == 3.0 and not reads
    assert handle.get().visitInfo.exposureTime == 2.0 and len(reads) == 1
    assert asHandle(load).get(component="visitInfo").exposureTime == 2.0
    assert asHandle(handle) is handle
    with pytest.raises(NotFoundError, match="wcs"):
        handle.get(component="wcs")
    with pytest.raises(DomainError, match="wanted exposures"):
        asHandle(3)
