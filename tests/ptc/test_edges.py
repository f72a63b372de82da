"""Borders and vignetted parts are left out."""

import logging

import numpy as np
import pytest
from flat_scenes import NAMES, makeFlat, mockDetector

from stillsky.errors import DomainError
from stillsky.geom import Box2I
from stillsky.ptc import maskEdges, planarRadius
from stillsky.ptc.edges import focalPlaneRadius, maskVignetted, vignetteRegions

BOXES = {amp.name: amp.bbox for amp in mockDetector()}


def blank():
    return makeFlat(np.ones((204, 200)))


def free(exposure, box=None):
    bits = exposure.mask.array if box is None else exposure.mask[box].array
    return bits & exposure.mask.bitmask(["SUSPECT"]) == 0


def test_edgeMask_ofAmplifiersLeaves80x31():
    flat = blank()
    maskEdges(flat, 10, BOXES.values())
    for box in BOXES.values():
        inside = free(flat, box)
        assert inside.sum() == 80 * 31 == 2480
        assert inside[10:41, 10:90].all()


def test_edgeMask_ofTheDetectorLeaves180x184():
    flat = blank()
    maskEdges(flat, 10)
    assert free(flat).sum() == 180 * 184
    assert free(flat)[10:194, 10:190].all()


def test_edgeMask_leavesOtherPlanesAlone():
    flat = blank()
    flat.mask.array[::7, ::3] |= flat.mask.bitmask(["SAT"])
    before = flat.mask.array.copy()
    maskEdges(flat, 10)
    assert np.array_equal(flat.mask.array & ~flat.mask.bitmask(["SUSPECT"]), before)
    maskEdges(flat, 0)
    assert free(flat).sum() == 180 * 184


@pytest.mark.parametrize("n", [26, 50, 1000])
def test_edgeMask_widerThanTheAmplifierMasksAllOfIt(n):
    flat = blank()
    maskEdges(flat, n, [BOXES["C:0,1"]])
    assert not free(flat, BOXES["C:0,1"]).any()
    assert free(flat).sum() == 204 * 200 - 5100


def test_edgeMask_partsOutsideTheImageAreLeftOut():
    flat = blank()
    maskEdges(flat, 2, [Box2I((190, 0), (100, 51)), Box2I((500, 500), (10, 10))])
    assert free(flat).sum() == 204 * 200 - (51 * 2 + 2 * 2 * 8)


# Where the centre of the focal plane is in the reference's test is not stated. With 15 micrometre pixels and the centre
# in the middle of the right-hand column of amplifiers the outcome is the one that is.
RADIUS = planarRadius(0.015, (140.0, 101.5))
COEFFICIENTS = [-100.0, -18.0, 1.0]


def test_vignetting_selectsTheFlatPart(caplog):
    flat = blank()
    with caplog.at_level(logging.WARNING):
        maskVignetted(flat, vignetteRegions(BOXES, RADIUS, COEFFICIENTS, 2000, 2.0, logging.getLogger()))
    untouched = {name for name in NAMES if free(flat, BOXES[name]).all()}
    assert not caplog.records
    for name in NAMES:
        assert free(flat, BOXES[name]).sum() >= 2000
    assert untouched == {"C:1,0", "C:1,3"}


def test_vignetting_tooFewPixelsWarnsAndMasksNothing(caplog):
    flat = blank()
    maskVignetted(flat, vignetteRegions(BOXES, RADIUS, COEFFICIENTS, 10000, 2.0, logging.getLogger()))
    assert len(caplog.records) == 8 and "10000 wanted pixels" in caplog.text
    assert free(flat).all()


def test_vignetting_needsCoefficientsAndAPlace():
    with pytest.raises(DomainError, match="coefficients"):
        vignetteRegions(BOXES, RADIUS, [], 2000, 2.0)
    with pytest.raises(DomainError, match="pixelToFocalPlane"):
        focalPlaneRadius(mockDetector())

    class Placed:
        def pixelToFocalPlane(self, x, y):
            return 3.0 * x, 4.0 * y

    assert focalPlaneRadius(Placed())(1000.0, 1000.0) == pytest.approx(5.0)
