"""Detector and Amplifier (core data model, 14.3; photon transfer, 1)."""

import math

import pytest

from stillsky import Box2I
from stillsky.errors import DomainError, NotFoundError, OutOfBoundsError
from stillsky.meta import Amplifier, Detector
from value_checks import checkValue


def makeDetector():
    """200 columns x 204 rows, 8 amplifiers of 100 x 51: the small detector of photon transfer, section 1."""
    amps = [
        Amplifier(f"C:{i},{j}", Box2I((100 * i, 51 * j), (100, 51)), gain=1.5, readNoise=4.0)
        for i in range(2)
        for j in range(4)
    ]
    return Detector(7, "R22_S11", reversed(amps), serial="ITL-1")


def test_detectorHoldsAmplifiersByNameAndIndex():
    detector = makeDetector()
    assert detector.ampNames == [f"C:{i},{j}" for i in range(2) for j in range(4)]
    assert detector.bbox == detector.getBBox() == Box2I((0, 0), (200, 204))
    assert detector["C:1,2"].bbox == detector[6].getBBox() == Box2I((100, 102), (100, 51))
    assert (detector.id, detector.name, detector.serial) == (7, "R22_S11", "ITL-1")
    assert (detector.getId(), detector.getName(), detector.getSerial()) == (7, "R22_S11", "ITL-1")
    assert [a.getName() for a in detector] == [a.name for a in detector.getAmplifiers()]
    assert len(detector) == 8 and "C:0,0" in detector and "C:9,9" not in detector


def test_amplifiersAreOrderedByNameWithNumbersAsNumbers():
    box = Box2I((0, 0), (4, 4))
    names = ["amp10", "amp2", "A", "amp1", "B3", "7"]
    assert Detector(0, "", [Amplifier(n, box) for n in names]).ampNames == ["7", "A", "B3", "amp1", "amp2", "amp10"]


def test_detectorAndAmplifierAreValues():
    detector = makeDetector()
    other = Detector(7, "R22_S11", list(detector)[1:], bbox=detector.bbox, serial="ITL-1")
    checkValue(detector, [other, Detector()])
    amp = detector[0]
    assert math.isnan(amp.saturation) and amp.readoutCorner == "LL" and amp.rawOverscanBBox is None
    checkValue(amp, [amp.copyWith(gain=2.0), amp.copyWith(flipX=True), amp.copyWith(rawBBox=amp.bbox), detector[1]])


def test_lookUpsThatFindNothingSayWhatThereIs():
    detector = makeDetector()
    with pytest.raises(NotFoundError, match="no amplifier 'C77'.*C:0,0"):
        detector["C77"]
    with pytest.raises(OutOfBoundsError, match="8 amplifiers, asked for number 8"):
        detector[8]


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"gain": 0.0},
        {"gain": "two"},
        {"readNoise": -1.0},
        {"readoutCorner": "XX"},
        {"bbox": (0, 0, 1, 1)},
    ],
)
def test_impossibleAmplifiersAreRefused(change):
    with pytest.raises(DomainError, match="Amplifier"):
        Amplifier(**{"name": "a", "bbox": Box2I((0, 0), (2, 2)), **change})


def test_impossibleDetectorsAreRefused():
    amp = Amplifier("a", Box2I((0, 0), (2, 2)))
    with pytest.raises(DomainError, match="given twice: a"):
        Detector(0, "d", [amp, amp])
    with pytest.raises(DomainError, match="amplifier a .* reaches out"):
        Detector(0, "d", [amp], bbox=Box2I((0, 0), (2, 1)))


def test_detectorSurvivesAFileWithItsExposure(tmp_path):
    """Core data model 10.6: a table SKY_DETECTOR of plain columns; absent boxes and unknown numbers stay so."""
    import numpy as np

    from stillsky.fits import readExposure, writeExposure
    from stillsky.image import makeExposure

    full = Amplifier(
        "B", Box2I((4, 0), (4, 6)), Box2I((0, 0), (9, 6)), Box2I((1, 0), (4, 6)), Box2I((5, 0), (4, 6)),
        1.5, 4.0, 65000.0, "UR", True, True,
    )  # fmt: skip
    for detector in (
        makeDetector(),
        Detector(3, "é R22_S11", [full, Amplifier("A", Box2I((0, 0), (4, 6)))], Box2I((0, 0), (8, 6)), "x"),
        Detector(1, "empty"),
    ):
        exposure = makeExposure(np.ones((6, 8), np.float32))
        exposure.detector = detector
        writeExposure(exposure, tmp_path / "a.fits", overwrite=True)
        assert readExposure(tmp_path / "a.fits")[0].detector == detector
