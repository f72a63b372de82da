"""Value classes: repr, equality, hash, pickle and copies."""

import copy
import pickle

import numpy as np
import pytest

from stillsky.geom import AffineTransform, Box2D, Box2I, Extent2D, Extent2I, Point2D, Point2I, Polygon
from stillsky.image import Exposure, Image, Mask, MaskedImage, MaskSchema
from stillsky.meta import FilterLabel, Observatory, VisitInfo, Weather
from stillsky.photom import PhotoCalib
from stillsky.psf import DoubleGaussianPsf, GaussianPsf, KernelPsf, SingleGaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs


def tan(scale):
    return makeTanWcs((10, 20), (1.0, 0.5), makeCdMatrix(scale, 0.3))


# name, a maker of equal objects, a different object of the class
VALUES = [
    (lambda: Point2I(1, 2), Point2I(2, 1)),
    (lambda: Point2D(1.5, 2), Point2D(2, 1.5)),
    (lambda: Extent2I(1, 2), Extent2I(2, 1)),
    (lambda: Extent2D(1.5, 2), Extent2D(2, 1.5)),
    (lambda: Box2I((1, -2), (3, 4)), Box2I()),
    (lambda: Box2I(), Box2I((0, 0), (1, 1))),
    (lambda: Box2D((1, -2), (3, 4)), Box2D()),
    (lambda: Box2D(), Box2D((0, 0), (1, 1))),
    (lambda: AffineTransform([[1, 2], [3, 4]], (5, 6)), AffineTransform()),
    (lambda: Polygon([(0, 0), (1, 0), (0, 1)]), Polygon([(0, 0), (2, 0), (0, 1)])),
    (MaskSchema.standard, MaskSchema({"FOO": 2})),
    (lambda: tan(1e-4), tan(2e-4)),
    (lambda: FilterLabel(band="r", physical="r2"), FilterLabel(band="r")),
    (lambda: Observatory(longitude=0.1, latitude=0.2, elevation=2663.0), Observatory(0.1, 0.3, 2663.0)),
    (lambda: Weather(20.0, 73892.0, 10.0), Weather(10.0, 73892.0, 10.0)),
    (lambda: VisitInfo(exposureTime=30.0), VisitInfo(exposureTime=15.0)),
    (lambda: PhotoCalib(57.5), PhotoCalib(1.0)),
    (lambda: GaussianPsf(11, 11, 2), GaussianPsf(11, 11, 3)),
    (lambda: SingleGaussianPsf(11, 11, 2), SingleGaussianPsf(11, 11, 3)),
    (lambda: DoubleGaussianPsf(11, 11, 2, 4, 0.1), DoubleGaussianPsf(11, 11, 2, 4, 0.2)),
    (lambda: KernelPsf(np.ones((3, 3))), KernelPsf(np.eye(3))),
]


def assertValueSemantics(make, other):
    """The whole contract of a value class: equal by value, hashable, and the same after pickling and copying."""
    value, twin = make(), make()
    assert (value == twin) is True and (value != twin) is False and hash(value) == hash(twin)
    assert (value == other) is False and (value != other) is True and value != "something else" and value is not None
    assert len({value, twin, other}) == 2
    for back in (
        *(pickle.loads(pickle.dumps(value, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)),
        copy.copy(value),
        copy.deepcopy(value),
    ):
        assert type(back) is type(value) and back == value and hash(back) == hash(value) and repr(back) == repr(value)
    assert type(value).__name__ in repr(value) and "object at 0x" not in repr(value)


@pytest.mark.parametrize("make, other", VALUES, ids=[f"{type(v[1]).__name__}-{i}" for i, v in enumerate(VALUES)])
def test_value_classes(make, other):
    assertValueSemantics(make, other)


@pytest.mark.parametrize("text", [repr(make()) for make, _ in VALUES[:10]])
def test_repr_of_geometry_can_be_evaluated(text):
    names = dict(AffineTransform=AffineTransform, Box2D=Box2D, Box2I=Box2I, Polygon=Polygon)
    names |= dict(Point2I=Point2I, Point2D=Point2D, Extent2I=Extent2I, Extent2D=Extent2D)
    assert repr(eval(text, names)) == text


def planes():
    m = MaskedImage(
        Image(np.arange(12.0, dtype=np.float32).reshape(3, 4), (5, -6)),
        Mask(np.arange(12).reshape(3, 4), (5, -6), {"A": 0, "B": 1, "C": 2, "D": 3}),
        Image(np.ones((3, 4), np.float32), (5, -6)),
    )
    e = Exposure(m.copy(), wcs=tan(1e-4), psf=GaussianPsf(5, 5, 1), id=4)
    e.metadata["KEY"] = "value"
    return [m.image, m.mask, m, e]


@pytest.mark.parametrize("value", planes(), ids=lambda v: type(v).__name__)
def test_pixel_classes_are_pickled_and_deep_copied(value):
    for back in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value), value.copy()):
        assert type(back) is type(value) and back.bbox == value.bbox and repr(back) == repr(value)
        for a, b in zip(_arrays(value), _arrays(back)):
            np.testing.assert_array_equal(a, b)
            assert not np.shares_memory(a, b)
        schema = getattr(getattr(value, "mask", value), "schema", None)
        assert getattr(getattr(back, "mask", back), "schema", None) == schema
        if isinstance(value, Exposure):
            assert (back.wcs, back.psf, back.id, back.metadata) == (value.wcs, value.psf, value.id, value.metadata)
    assert all(np.shares_memory(a, b) for a, b in zip(_arrays(value), _arrays(copy.copy(value))))


def _arrays(value):
    whole = getattr(value, "maskedImage", value)
    return [plane.array for plane in (whole.planes if isinstance(whole, MaskedImage) else [whole])]
