"""Exposures (core data model, section 8, checks 20 to 22) and their display in notebooks."""

import copy

import numpy as np
import pytest

from stillsky.errors import StillskyError
from stillsky.geom import Box2I, Point2I, Polygon
from stillsky.image import Exposure, Image
from stillsky.wcs import makeCdMatrix, makeTanWcs

ARCSEC = np.radians(1 / 3600)


def makeWcs():
    return makeTanWcs((120.0, 80.0), (1.0, 0.5), makeCdMatrix(0.2 / 3600))


@pytest.fixture
def exposure(rng):
    image = Image(rng.normal(0, 1, (180, 200)).astype(np.float32))
    return Exposure(image, wcs=makeWcs(), id=42, metadata={"OBJECT": "blank"})


def testMovedOriginKeepsTheSky(exposure):
    exposure.validPolygon = Polygon([(0, 0), (10, 0), (10, 10)])
    before = exposure.wcs.pixelToSky(0, 0)
    exposure.xy0 = (10, -7)
    after = exposure.wcs.pixelToSky(10, -7)
    assert np.hypot((after[0] - before[0]) * np.cos(before[1]), after[1] - before[1]) < 1e-9 * ARCSEC
    assert exposure.mask.xy0 == Point2I(10, -7) and exposure.validPolygon.contains((19.0, 2.0))


def testCopiesShareComponentsButNotMetadata(exposure):
    for deep in (exposure.copy(), copy.deepcopy(exposure)):
        assert deep == exposure and deep.wcs is exposure.wcs
        deep.metadata["OBJECT"] = "changed"
        deep.image += 1
        assert exposure.metadata["OBJECT"] == "blank" and deep != exposure
    part = exposure[Box2I((0, 0), (5, 5))]
    part.metadata["NEW"] = 1
    assert exposure.metadata["NEW"] == 1


def testConvertChangesTheImageOnly(exposure):
    double = exposure.convert(np.float64)
    assert (double.image.dtype, double.variance.dtype, double.mask.dtype) == (np.float64, np.float32, np.int32)
    assert double.convert(np.float32) == exposure


def testContainsSky(exposure):
    x, y = np.array([-0.4, -0.6, 199.4, 199.6, 100.0]), np.array([0.0, 0.0, 179.4, 0.0, 90.0])
    ra, dec = exposure.wcs.pixelToSky(x, y)
    np.testing.assert_array_equal(exposure.containsSky(ra, dec), [True, False, True, False, True])
    assert exposure.containsSky(ra, dec, padding=1).all()
    assert not exposure.containsSky(1.0 + np.pi, -0.5)  # does not project
    assert np.array_equal(exposure.containsSky(np.array([1.0, np.nan]), np.array([0.5, 0.5])), [True, False])
    with pytest.raises(StillskyError):
        Exposure(exposure.image).containsSky(1.0, 0.5)
