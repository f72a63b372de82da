"""Algebra of boxes and of masks that change their schema."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stillsky.geom import Box2I, Point2I
from stillsky.image import Mask, MaskSchema

coordinates = st.integers(-60, 60)
boxes = st.builds(
    lambda x, y, w, h: Box2I((x, y), (w, h)), coordinates, coordinates, st.integers(0, 40), st.integers(0, 40)
)
points = st.builds(Point2I, coordinates, coordinates)
names = st.lists(st.sampled_from("ABCDEFGHIJ"), unique=True, max_size=8)
schemas = st.builds(lambda planes, bits: MaskSchema(dict(zip(planes, bits))), names, st.permutations(range(31)))
few = settings(max_examples=60, deadline=None)


def _pixels(box):
    return {(x, y) for x in range(box.minX, box.maxX + 1) for y in range(box.minY, box.maxY + 1)}


@few
@given(boxes, boxes, boxes)
def test_clipping_commutes_and_associates(a, b, c):
    assert a.clipped(b) == b.clipped(a)
    assert a.clipped(b).clipped(c) == a.clipped(b.clipped(c))
    assert a.contains(a.clipped(b)) and b.contains(a.clipped(b))
    assert a.overlaps(b) == (not a.clipped(b).isEmpty)


@few
@given(boxes, boxes)
def test_clipping_is_the_intersection_of_pixels(a, b):
    assert _pixels(a.clipped(b)) == _pixels(a) & _pixels(b)
    assert a.contains(b) == (_pixels(b) <= _pixels(a))


@few
@given(boxes, boxes, points)
def test_including_gives_the_smallest_box(a, b, p):
    both = a.including(b)
    assert both == b.including(a) and both.contains(a) and both.contains(b)
    if not (a.isEmpty or b.isEmpty):
        for n in ((1, 0), (0, 1)):
            smaller = (
                Box2I.fromMinMax(both.min + _extent(n), both.max, invert=False),
                Box2I.fromMinMax(both.min, both.max - _extent(n), invert=False),
            )
            assert not any(s.contains(a) and s.contains(b) for s in smaller)
    assert p in a.including(p) and a.including(p).contains(a)


def _extent(n):
    from stillsky.geom import Extent2I

    return Extent2I(*n)


@few
@given(boxes, st.integers(0, 20), points)
def test_dilation_and_shift_undo(a, n, p):
    assert a.dilated(n).eroded(n) == a
    assert a.shifted(p).shifted((-p.x, -p.y)) == a
    assert a.reflectedAboutX(p.x).reflectedAboutX(p.x) == a
    assert a.flippedLR(p.x).flippedLR(p.x) == a and a.flippedTB(p.y).flippedTB(p.y) == a


@few
@given(schemas, schemas, st.integers(0, 2**32))
def test_conformed_masks_keep_the_names_of_every_pixel(source, target, seed):
    values = np.zeros((4, 5), np.int32)
    random = np.random.default_rng(seed)
    for bit in source.values():
        values |= np.where(random.random(values.shape) < 0.4, np.int32(1 << bit), np.int32(0))
    mask = Mask(values.copy(), (3, -2), source).conformTo(target)
    for name, bit in target.items():
        assert mask.bit(name) == bit
    for name in source:
        np.testing.assert_array_equal(mask.array >> mask.bit(name) & 1, values >> source.bit(name) & 1)
    known = mask.bitmask(list(source))
    assert not np.any(mask.array & ~np.int32(known))
