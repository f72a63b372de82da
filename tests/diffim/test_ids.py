"""Identifiers of sources: the worked examples of both layouts, their limits, and the way back."""

import numpy as np
import pytest

from stillsky.diffim.ids import IdFactory, IdGenerator, makeIdFactory, sourceIdLayout
from stillsky.errors import DomainError, IdOverflowError


def testLegacyWorkedExample():
    factory = makeIdFactory(0x1234, 24)
    assert factory() == 2561862092718081 == (0x1234 << 39) | 1
    assert factory() == 2561862092718082


def testCurrentLayoutWorkedExample():
    layout = sourceIdLayout(42, 12, nDetectors=99, nObservations=10000, releaseId=2, nReleases=8)
    assert (layout.maxBits, layout.releaseBits, layout.counterBits, layout.packed) == (20, 3, 40, 4170)
    ids = layout.makeFactory().reserve(50)
    assert ids.dtype == np.int64
    assert ids[0] == 2310427972701519873
    assert (ids > 1e9).all()
    assert layout.arange(2).tolist() == [2310427972701519872, 2310427972701519873]


def testExhaustedTwoBitCounterFailsAtTheFourthId():
    factory = IdFactory(5, 2)
    assert [factory() for _ in range(3)] == [21, 22, 23]
    with pytest.raises(IdOverflowError, match="1 wanted, 0 left"):
        factory()


def testReserveHandsOutAllOrNone():
    factory = IdFactory(0, 3)
    with pytest.raises(OverflowError):
        factory.reserve(8)
    assert factory.reserve(7).tolist() == [1, 2, 3, 4, 5, 6, 7]


def testUnpackRoundTripAlsoFromTableMeta():
    layout = sourceIdLayout(9999, 98, nDetectors=99, nObservations=10000, releaseId=7, nReleases=8)
    last = layout.makeFactory().reserve(12345)[-1]
    expected = {"releaseId": 7, "packed": 98 + 99 * 9999, "counter": 12345, "visit": 9999, "detector": 98}
    assert layout.unpack(last) == expected
    assert IdGenerator.fromMeta(layout.meta).unpack(last) == expected


def testLargestIdFitsASignedInteger():
    factory = makeIdFactory((1 << 24) - 1, 24)
    factory.notify(((1 << 24) - 1 << 39) + (1 << 39) - 2)
    assert factory() == (1 << 63) - 1


def testExposureIdThatDoesNotFitIsRefused():
    with pytest.raises(IdOverflowError, match="13 bits, wanted at most 12"):
        makeIdFactory(0x1234, 12)
    with pytest.raises(RuntimeError):
        makeIdFactory(0x1234, 12)
    with pytest.raises(DomainError):
        makeIdFactory(-1, 12)
    for bits in (0, 63):
        with pytest.raises(DomainError):
            makeIdFactory(0, bits)


def testNotifyContinuesAfterAnIdOfTheSameExposureOnly():
    factory = makeIdFactory(3, 8)
    factory.notify((3 << 55) + 100)
    assert factory() == (3 << 55) + 101
    with pytest.raises(DomainError, match="does not belong"):
        factory.notify((4 << 55) + 1)


def testDataIdsOutsideTheirRangesAreRefused():
    with pytest.raises(ValueError, match="detector"):
        sourceIdLayout(1, 99, nDetectors=99, nObservations=100)
    with pytest.raises(ValueError, match="visit"):
        sourceIdLayout(100, 1, nDetectors=99, nObservations=100)
    with pytest.raises(ValueError, match="releaseId"):
        sourceIdLayout(1, 1, nDetectors=99, nObservations=100, releaseId=64)
    with pytest.raises(IdOverflowError, match="leave no counter"):
        sourceIdLayout(1, 1, nDetectors=1 << 30, nObservations=1 << 30)


def testPlainNumbersWithoutAGenerator():
    assert IdGenerator().makeFactory().reserve(3).tolist() == [1, 2, 3]
    assert IdGenerator().unpack(3) == {"releaseId": 0, "packed": 0, "counter": 3}


def test_namesAreFoundInThePackage():
    from stillsky import diffim
    from stillsky.diffim import difference_metrics, ids

    assert diffim.sourceIdLayout is ids.sourceIdLayout and diffim.makeIdFactory is ids.makeIdFactory
    assert diffim.computeDifferenceImageMetrics is difference_metrics.computeDifferenceImageMetrics
    assert all(getattr(diffim, name) is not None for name in diffim.__all__)
