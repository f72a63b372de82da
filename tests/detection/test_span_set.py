import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from stillsky import errors
from stillsky.detection import SpanSet, growMask
from stillsky.geom import Box2I
from stillsky.image import Image, Mask

FULL = np.ones((3, 3), bool)
CROSS = ndimage.generate_binary_structure(2, 1)


def stencilArray(radius, stencil):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return {
        "circle": x**2 + y**2 <= radius**2,
        "manhattan": np.abs(x) + np.abs(y) <= radius,
        "box": np.ones(x.shape, bool),
    }[stencil]


def spansOf(values):
    return [tuple(v) for v in values]


# -- core-data-model 24.8 and coadd-and-dcr 11.3


def test_check62_stencilSizes():
    assert [SpanSet.fromShape(r).area for r in (1, 2, 3, 5)] == [5, 13, 29, 81]
    assert SpanSet.fromShape(3, "manhattan").area == 25
    assert SpanSet.fromShape(3, "box").area == 49
    assert SpanSet.fromShape(1).shape == pytest.approx((0.4, 0.4, 0.0))
    assert list(SpanSet.fromShape(0)) == [(0, 0, 0)]
    with pytest.raises(errors.DomainError):
        SpanSet.fromShape(-1)
    with pytest.raises(errors.DomainError):
        SpanSet.fromShape(1, "star")


def test_goldensV15_stencils():
    assert [SpanSet.fromShape(r, "manhattan").area for r in (1, 2, 3, 5)] == [5, 13, 25, 61]
    assert [SpanSet.fromShape(r, "box").area for r in (1, 2, 3, 5)] == [9, 25, 49, 121]


def test_check63_intersectionDifferenceErosion():
    a, b = SpanSet([(1, 0, 3), (1, 5, 7)]), SpanSet([(1, 2, 6)])
    assert list(a.intersect(b)) == [(1, 2, 3), (1, 5, 6)]
    assert list(a.difference(b)) == [(1, 0, 1), (1, 7, 7)]
    eroded = SpanSet.fromBox(Box2I((0, 0), (10, 5))).eroded(1, "box")
    assert (eroded.bbox.height, eroded.bbox.width, eroded.area) == (3, 8, 24)
    two = SpanSet.fromShape(3).union(SpanSet.fromShape(3, offset=(6, 0)))
    assert two.area == 57
    assert two.eroded(1).area == 26


@pytest.mark.parametrize("connectivity", [4, 8])
@settings(max_examples=40, deadline=None)
@given(
    bits=st.lists(st.booleans(), min_size=60, max_size=600),
    other=st.lists(st.booleans(), min_size=60, max_size=600),
    x0=st.integers(-40, 40),
    y0=st.integers(-40, 40),
    radius=st.integers(0, 4),
    stencil=st.sampled_from(["circle", "box", "manhattan"]),
)
def test_check64_everyOperationEqualsItsBooleanCounterpart(connectivity, bits, other, x0, y0, radius, stencil):
    width = 20
    a = np.resize(bits, (15, width))
    b = np.resize(other, (15, width))
    box = Box2I((x0, y0), (width, 15))
    sa, sb = SpanSet.fromBool(a, (x0, y0)), SpanSet.fromBool(b, (x0, y0))
    assert sa.area == a.sum()
    np.testing.assert_array_equal(sa.toBool(box), a)
    np.testing.assert_array_equal(sa.union(sb).toBool(box), a | b)
    np.testing.assert_array_equal(sa.intersect(sb).toBool(box), a & b)
    np.testing.assert_array_equal(sa.difference(sb).toBool(box), a & ~b)
    np.testing.assert_array_equal(sa.symmetricDifference(sb).toBool(box), a ^ b)
    assert sa.contains(sb) == (not (b & ~a).any())
    assert sa.overlaps(sb) == bool((a & b).any())
    element = stencilArray(radius, stencil)
    wide = np.pad(a, radius)
    big = box.dilated(radius)
    np.testing.assert_array_equal(
        sa.dilated(radius, stencil).toBool(big), ndimage.binary_dilation(wide, element), strict=True
    )
    np.testing.assert_array_equal(
        sa.eroded(radius, stencil).toBool(big), ndimage.binary_erosion(wide, element), strict=True
    )
    labels, n = ndimage.label(a, FULL if connectivity == 8 else CROSS)
    parts = sa.split(connectivity)
    assert len(parts) == n
    order = [labels[tuple(np.argwhere(p.toBool(box))[0])] for p in parts]
    for part, label in zip(parts, order, strict=True):
        np.testing.assert_array_equal(part.toBool(box), labels == label)
    assert sorted(order) == list(range(1, n + 1))
    assert sa.isContiguous(connectivity) == (n <= 1)
    np.testing.assert_array_equal(sa.edgePixels().toBool(big), wide & ~ndimage.binary_erosion(wide, CROSS))


@pytest.mark.parametrize("seed", range(5))
def test_coaddP6_randomMasksOf60x60(seed):
    generator = np.random.default_rng(seed)
    for _ in range(40):
        a, b = generator.uniform(size=(2, 60, 60)) < generator.uniform(0.05, 0.95)
        x0, y0 = (int(v) for v in generator.integers(-100, 100, 2))
        box = Box2I((x0, y0), (60, 60))
        sa, sb = SpanSet.fromBool(a, (x0, y0)), SpanSet.fromBool(b, (x0, y0))
        np.testing.assert_array_equal(sa.union(sb).toBool(box), a | b)
        np.testing.assert_array_equal(sa.intersect(sb).toBool(box), a & b)
        np.testing.assert_array_equal(sa.difference(sb).toBool(box), a & ~b)
        wide = np.pad(a, 2)
        np.testing.assert_array_equal(
            sa.dilated(2).toBool(box.dilated(2)), ndimage.binary_dilation(wide, stencilArray(2, "circle"))
        )
        np.testing.assert_array_equal(
            sa.eroded(2).toBool(box.dilated(2)), ndimage.binary_erosion(wide, stencilArray(2, "circle"))
        )
        assert len(sa.split(4)) == ndimage.label(a, CROSS)[1]
        assert len(sa.split(8)) == ndimage.label(a, FULL)[1]


def test_coaddP1_circles():
    circle = SpanSet.fromShape(1)
    assert circle.area == 5
    grown = circle.dilated(1)
    assert grown.bbox == Box2I.fromMinMax((-2, -2), (2, 2))
    shrunk = SpanSet.fromShape(2).eroded(1)
    assert shrunk.bbox == Box2I.fromMinMax((-1, -1), (1, 1))
    assert SpanSet.fromBox(Box2I.fromMinMax((2, 2), (6, 6))).area == 25


def test_coaddP2_split():
    # The check asks for 4-connectivity, as in the reference; the default here is 8.
    first = SpanSet.fromBox(Box2I((0, 0), (5, 5)))
    second = SpanSet.fromBox(Box2I((6, 6), (5, 5)))
    both = first.union(second)
    assert both.split(4) == [first, second]
    assert not both.isContiguous(4)
    assert SpanSet([(0, 2, 5), (1, 5, 8)]).isContiguous(4)
    diagonal = SpanSet([(0, 0, 0), (1, 1, 1)])
    assert len(diagonal.split(4)) == 2
    assert len(diagonal.split()) == 1
    with pytest.raises(errors.DomainError):
        diagonal.split(6)


def test_coaddP3_archAtNegativeRows():
    arch = SpanSet([(-3, 0, 0), (-3, 4, 4), (-2, 0, 0), (-2, 4, 4), (-1, 0, 4)])
    assert arch.split(4) == [arch]


def test_coaddP4_algebra():
    box = SpanSet([(y, 0, 10) for y in range(3)])
    hole = SpanSet([(1, 2, 4), (1, 7, 8)])
    assert list(box.difference(hole)) == [(0, 0, 10), (1, 0, 1), (1, 5, 6), (1, 9, 10), (2, 0, 10)]


def test_coaddP5_fromMaskInParentCoordinates():
    array = np.zeros((6, 7), np.int32)
    array[2:4, 1:5] = 4
    mask = Mask(array, xy0=(12345, 67890))
    box = Box2I((12346, 67892), (4, 2))
    assert SpanSet.fromMask(mask, 4) == SpanSet.fromBox(box)
    assert SpanSet.fromMask(mask, "INTRP").bbox == box
    assert SpanSet.fromMask(mask, 2).area == 0


# -- other rules of sections 17 and 6.4


def test_emptySet():
    empty = SpanSet()
    circle = SpanSet.fromShape(2)
    assert (len(empty), empty.area, bool(empty), empty.bbox.area) == (0, 0, False, 0)
    assert np.isnan(empty.centroid).all()
    assert circle.contains(empty)
    assert empty.contains(empty)
    assert empty.split() == []
    assert empty.isContiguous()
    assert empty.dilated(3) == empty == empty.eroded(1) == circle.difference(circle)
    assert len(empty.x) == 0


def test_normalForm():
    assert list(SpanSet([(1, 5, 6), (0, 3, 2), (1, 0, 2), (1, 3, 4)])) == [(1, 0, 6)]
    with pytest.raises(TypeError):
        SpanSet([(0.5, 1, 2)])
    with pytest.raises(errors.ShapeError):
        SpanSet([(0, 1)])


def test_pixelsOfMasksAndImages():
    circle = SpanSet.fromShape(2, offset=(105, 207))
    mask = Mask(np.zeros((12, 12), np.int32), xy0=(100, 200))
    circle.setMask(mask, ["BAD", "SAT"])
    assert (mask.array == 3).sum() == 13
    circle.clearMask(mask, "SAT")
    assert SpanSet.fromMask(mask, 1) == circle
    image = Image(np.arange(144, dtype=np.float32).reshape(12, 12), xy0=(100, 200))
    values = circle.flatten(image)
    np.testing.assert_array_equal(values, image.array[circle.y - 200, circle.x - 100])
    other = Image(np.zeros((12, 12), np.float32), xy0=(100, 200))
    circle.unflatten(values, other)
    np.testing.assert_array_equal(other.array, np.where(mask.array & 1, image.array, 0))
    with pytest.raises(errors.ShapeError):
        circle.unflatten(values[1:], other)
    outside = circle.shifted(-6, 0)
    for call in (lambda: outside.setMask(mask, 1), lambda: outside.setImage(image, 1), lambda: outside.flatten(image)):
        with pytest.raises(errors.OutOfBoundsError):
            call()
    outside.setImage(image, -1, clip=True)
    assert (image.array == -1).sum() == outside.clipped(image.bbox).area > 0


def test_equalityHashPickle():
    a = SpanSet.fromShape(3)
    b = pickle.loads(pickle.dumps(a))
    assert a == b
    assert hash(a) == hash(b)
    assert a != a.shifted(1, 0)
    assert len({a, b}) == 1


def test_growMaskGrowsEachPlaneAlone():
    mask = Mask(np.zeros((30, 30), np.int32))
    mask.array[5, 5], mask.array[20, 29], mask.array[15, 15] = 1, 2, 8
    growMask(mask, ["BAD", "SAT"], 3)
    assert SpanSet.fromMask(mask, 1) == SpanSet.fromShape(3, offset=(5, 5))
    assert SpanSet.fromMask(mask, 2) == SpanSet.fromShape(3, offset=(29, 20)).clipped(mask.bbox)
    assert SpanSet.fromMask(mask, 8).area == 1


# -- goldens: spans_polygons (exact) and the stencils and morphology of detection (exact)


@pytest.fixture(scope="module")
def golden(sharedDir):
    folder = sharedDir / "golden"
    return json.loads((folder / "spans_polygons.json").read_text()), np.load(folder / "spans_polygons.npz")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["m1", "m2", "m3"])
def test_golden_spans(golden, name):
    wanted, arrays = golden[0]["spans"][name], golden[1]
    s = SpanSet.fromBool(arrays[f"span_{name}"])
    assert s.area == wanted["area"]
    np.testing.assert_allclose(s.centroid, wanted["centroid"], rtol=1e-13)
    np.testing.assert_allclose(s.shape, wanted["shape"], rtol=1e-12, atol=1e-12)
    assert s.isContiguous(4) == wanted["contiguous"]
    assert [[list(span) for span in part] for part in s.split(4)] == wanted["split"]
    assert [list(span) for span in s.edgePixels()] == wanted["edge"]


@pytest.mark.shared
def test_golden_algebra(golden):
    operations = golden[0]
    key = next(k for k, v in operations.items() if isinstance(v, dict) and "m3_m2" in v)
    assert len(operations[key]) == 3
    for pair, wanted in operations[key].items():
        a, b = (SpanSet.fromBool(golden[1][f"span_{n}"]) for n in pair.split("_"))
        assert list(a.intersect(b)) == spansOf(wanted["intersect"])
        assert list(a.union(b)) == spansOf(wanted["union"])
        assert list(a.difference(b)) == spansOf(wanted["intersectNot"])
        assert a.overlaps(b) == wanted["overlaps"]
        assert a.contains(b) == wanted["contains"]


@pytest.mark.shared
def test_golden_transformed(golden):
    m2 = SpanSet.fromBool(golden[1]["span_m2"])
    for name, (a, b, c, d, tx, ty) in golden[0]["transforms"].items():
        matrix, shift = np.array([[a, b], [c, d]]), np.array([tx, ty])
        inverse = np.linalg.inv(matrix)
        out = m2.transformed(
            lambda x, y, m=matrix, s=shift: m @ (x, y) + s, lambda x, y, i=inverse, s=shift: i @ (np.array([x, y]) - s)
        )
        assert list(out) == spansOf(golden[0]["span_transformed"][f"m2_{name}"]), name


@pytest.mark.shared
def test_golden_ellipses(golden):
    for case in golden[0]["span_ellipse"]:
        out = SpanSet.fromEllipse(case["a"], case["b"], case["theta"], (case["x"], case["y"]))
        assert list(out) == spansOf(case["spans"])


@pytest.mark.shared
def test_golden_stencilsAndMorphology(sharedDir):
    golden = json.loads((sharedDir / "golden" / "detection.json").read_text())
    for name, spans in golden["shapes"].items():
        stencil, radius = name.lower().split("_")
        assert list(SpanSet.fromShape(int(radius), stencil)) == spansOf(spans), name
    array = np.zeros((20, 22), bool)
    array[8:12, 9:15] = array[5, 4] = True
    region = SpanSet.fromBool(array)
    for name, spans in golden["morphology"].items():
        action, stencil, radius = name.lower().split("_")
        out = (region.dilated if action == "dilate" else region.eroded)(int(radius), stencil)
        assert list(out) == spansOf(spans), name


def test_polygonPixels():
    square = SpanSet.fromPolygon([(1.5, 1.5), (5.5, 1.5), (5.5, 4.5), (1.5, 4.5)])
    assert square == SpanSet.fromBox(Box2I.fromMinMax((2, 2), (5, 4)))
    concave = SpanSet.fromPolygon([(-0.5, -0.5), (9.5, -0.5), (9.5, 9.5), (5, 3.2), (-0.5, 9.5)])
    assert len(concave.intersect(SpanSet([(8, -20, 20)]))) == 2
