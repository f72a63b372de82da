"""Classes that hold pixels or other values compare by value (core data model, check 88)."""

import math

import numpy as np
import pytest

from stillsky.geom import AffineTransform, Box2I, Polygon
from stillsky.image import Exposure, ExposureInfo, Image, Mask, MaskedImage, MaskSchema
from stillsky.meta import FilterLabel, Header, Weather
from stillsky.photom import ApCorrMap, ChebyshevBoundedField
from stillsky.psf import GaussianPsf, WarpedPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs, pairTransform
from value_checks import checkValue

WCS = makeTanWcs((10, 20), (1.0, 0.5), makeCdMatrix(0.2 / 3600, 0.3))
PSF = GaussianPsf(11, 11, 2.0)

IMMUTABLE = {
    "AffineTransform": (AffineTransform([[1, 2], [3, 4.5]], (0.1, 6)), [AffineTransform()]),
    "Polygon": (Polygon([(0, 0), (1, 0), (1, 0.1)]), [Polygon([(0, 0), (1, 0), (1, 0.2)])]),
    "MaskSchema": (MaskSchema.standard().add("MINE", "its meaning"), [MaskSchema.standard(), MaskSchema()]),
    "PixelTransform": (pairTransform(WCS, WCS.shifted((1, 0))), [pairTransform(WCS, WCS)]),
    "ChebyshevBoundedField": (
        ChebyshevBoundedField(Box2I((3, 4), (5, 2)), [[1.0, 2.0], [0.5, 0.0]]),
        [ChebyshevBoundedField(Box2I((3, 4), (5, 2)), [[1.0, 2.0]])],
    ),
    "Weather": (Weather(10.0, math.nan, 40.0), [Weather(), Weather(11.0, math.nan, 40.0)]),
    "WarpedPsf": (WarpedPsf(PSF, AffineTransform([[2, 0], [0, 1]])), [WarpedPsf(PSF, AffineTransform())]),
}


def image(fill=1.5):
    result = Image.zeros(Box2I((3, 4), (5, 2)), fill=fill)
    result.local[0, 0] = np.nan
    return result


def exposure(**components):
    return Exposure(MaskedImage(image()), wcs=WCS, psf=PSF, id=2**40, **components)


MUTABLE = {
    "ApCorrMap": (
        ApCorrMap({"a_instFlux": ChebyshevBoundedField(Box2I((3, 4), (5, 2)), [[1.0, 2.0]])}),
        [ApCorrMap(), ApCorrMap({"a_instFlux": ChebyshevBoundedField(Box2I((3, 4), (5, 2)), [[1.0]])})],
    ),
    "Image": (image(), [image(2), image().convert(np.float64), Image(image().array)]),
    "Mask": (
        Mask(np.eye(3, dtype=np.int32), (1, 2), {"A": 0}),
        [Mask(np.eye(3, dtype=np.int32), (1, 2)), Mask.zeros(Box2I((1, 2), (3, 3)), {"A": 0})],
    ),
    "MaskedImage": (MaskedImage(image()), [MaskedImage(image(2)), image()]),
    "Header": (Header({"A": 1, "B": "x", "HISTORY": ["one", "two"]}), [Header(), Header({"A": 1})]),
    "ExposureInfo": (ExposureInfo(wcs=WCS, id=3), [ExposureInfo(), ExposureInfo(wcs=WCS, id=4)]),
    "Exposure": (
        exposure(filter=FilterLabel("r"), metadata={"K": 1}),
        [exposure(), exposure(filter=FilterLabel("g"), metadata={"K": 1}), MaskedImage(image())],
    ),
}


@pytest.mark.parametrize("name", IMMUTABLE)
def testImmutableValues(name):
    value, others = IMMUTABLE[name]
    checkValue(value, others)


@pytest.mark.parametrize("name", MUTABLE)
def testMutableValues(name):
    value, others = MUTABLE[name]
    checkValue(value, others, immutable=False)
