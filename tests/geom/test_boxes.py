"""Integer and real boxes."""

import numpy as np
import pytest

from stillsky.errors import DomainError
from stillsky.geom import Box2D, Box2I, Extent2I, Point2D, Point2I


def box(x0, y0, x1, y1):
    return Box2I.fromMinMax((x0, y0), (x1, y1))


def test_a_chain_of_box_operations():
    b = box(-2, -3, 2, 1)
    assert b.dimensions == Extent2I(5, 5)
    b = b.dilated(1)
    assert b == box(-3, -4, 3, 2)
    b = b.dilated((2, 3))
    assert b == box(-5, -7, 5, 5)
    b = b.shifted((3, 2))
    assert b == box(-2, -5, 8, 7)
    b = b.including((-4, 2))
    assert b == box(-4, -5, 8, 7)
    b = b.including(Point2I(0, -6))
    assert b == box(-4, -6, 8, 7)
    b = b.including(box(0, 0, 10, 11))
    assert b == box(-4, -6, 10, 11)
    b = b.clipped(box(0, 0, 11, 12))
    assert b == box(0, 0, 10, 11)
    assert b.clipped(box(-1, -2, 5, 4)) == box(0, 0, 5, 4)


def test_flips_within_a_parent():
    b = box(8, 11, 13, 16)
    assert b.flippedLR(15) == box(1, 11, 6, 16)
    assert b.flippedTB(20) == box(8, 3, 13, 8)
    assert b.reflectedAboutX(10) == box(7, 11, 12, 16)
    assert b.reflectedAboutY(11) == box(8, 6, 13, 11)


def test_coordinates_beyond_32_bits_overflow():
    with pytest.raises(OverflowError):
        Box2I((2147483645, 149), (8, 8))
    assert Box2I((2147483640, 149), (8, 8)).maxX == 2147483647
    with pytest.raises(OverflowError):
        Box2I((2147483640, 149), (8, 8)).shifted((1, 0))


@pytest.mark.parametrize("corner", [(float("nan"), 0), (0, float("nan")), (float("nan"), float("nan"))])
def test_a_nan_corner_cannot_become_pixels(corner):
    with pytest.raises(DomainError):
        Box2I(Box2D(corner, (5, 5)))
    with pytest.raises(DomainError):
        Box2I(Box2D((-5, -5), corner))
    with pytest.raises(DomainError):
        Box2I(Box2D((0, 0), (float("inf"), 5)))


def test_centered_boxes():
    assert Box2I.centered((0, 0), (3, 3)) == box(-1, -1, 1, 1)
    assert Box2I.centered((0, 0), (2, 2)) == box(0, 0, 1, 1)
    b = Box2I.centered((0.2, 0.7), (15, 15))
    assert b.dimensions == (15, 15)
    assert abs(b.center.x - 0.2) <= 0.5 and abs(b.center.y - 0.7) <= 0.5
    assert Box2I.centered((3, 3), (0, 10)).isEmpty
    assert Box2I.centered((-7.3, -2.5), (4, 4)) == Box2I.centered((-7.3 + 100, -2.5 + 100), (4, 4)).shifted(
        (-100, -100)
    )


@pytest.mark.parametrize("b", [box(0, 0, 0, 0), box(-7, -3, -1, 5), box(1000, -2000, 3000, 4)])
def test_pixels_to_area_and_back(b):
    assert Box2I(Box2D(b), shrink=True) == b
    assert Box2I(Box2D(b)) == b
    assert Box2D(b).dimensions == b.dimensions and Box2D(b).center == b.center


def test_expand_and_shrink_of_an_unaligned_area():
    area = Box2D((0.2, 0.2), (3.7, 3.7))
    assert Box2I(area) == box(0, 0, 4, 4)
    assert Box2I(area, shrink=True) == box(1, 1, 3, 3)
    assert Box2I(Box2D((0.1, 0.1), (0.9, 0.9)), shrink=True).isEmpty


def test_empty_boxes_are_all_one():
    empties = [
        Box2I(),
        Box2I((5, 5), (0, 3)),
        Box2I((5, 5), (-2, 3), invert=False),
        Box2I.fromMinMax((3, 3), (2, 5), invert=False),
        box(0, 0, 3, 3).eroded(2),
        box(0, 0, 3, 3).clipped(box(10, 10, 11, 11)),
        Box2I(Box2D()),
    ]
    assert set(empties) == {Box2I()} and all(b == Box2I() and not b != Box2I() for b in empties)
    full = box(-1, -1, 4, 4)
    for empty in empties:
        assert full.contains(empty) and empty.contains(Box2I()) and not empty.contains(full)
        assert not full.overlaps(empty) and not empty.overlaps(empty) and not empty.overlaps(full)
        assert (empty.min, empty.max, empty.dimensions) == ((0, 0), (-1, -1), (0, 0))
        assert empty.including((7, -8)) == box(7, -8, 7, -8)
        assert empty.including(full) == full.including(empty) == full
        for moved in (
            empty.dilated(3),
            empty.shifted((1, 1)),
            empty.clipped(full),
            empty.flippedLR(9),
            empty.reflectedAboutX(2),
        ):
            assert moved.isEmpty
    assert empty != full and not empty == full


def test_inverted_corners_and_dimensions():
    assert Box2I.fromMinMax((3, 7), (1, 5)) == box(1, 5, 3, 7)
    assert Box2I((5, 5), (-3, 2)) == box(3, 5, 5, 6)
    assert Box2I.fromMinMax((3, 3), (3, 3)).dimensions == (1, 1)


def test_properties_of_a_box():
    b = Box2I((2, -3), (10, 4))
    assert (b.minX, b.minY, b.maxX, b.maxY, b.width, b.height, b.area) == (2, -3, 11, 0, 10, 4, 40)
    assert b.begin == b.min == (2, -3) and b.max == (11, 0) and b.end == (12, 1) and b.shape == (4, 10)
    assert Box2I((0, 0), (10, 10)).center == Point2D(4.5, 4.5)
    assert b.corners == [(2, -3), (11, -3), (11, 0), (2, 0)]
    assert b.slices((2, -4)) == (slice(1, 5), slice(0, 10))
    assert "2, -3" in repr(b) and "10, 4" in repr(b)
    with pytest.raises(AttributeError):
        b.min = Point2I(0, 0)


def test_area_beyond_32_bits():
    assert Box2I((0, 0), (100000, 100000)).area == 10**10


def test_contains_points_and_arrays_of_points():
    b = box(-2, 0, 3, 4)
    assert (-2, 4) in b and (-3, 4) not in b and b.contains(Point2I(3, 0))
    np.testing.assert_array_equal(b.contains((np.array([-3, -2, 3, 4]), np.zeros(4))), [False, True, True, False])


def test_numpy_integers_make_boxes():
    b = Box2I((np.int32(2147483000), np.int64(1)), (np.int32(600), np.uint8(3)))
    assert b == Box2I((2147483000, 1), (600, 3)) and type(b.minX) is int
    assert b.shifted(np.array([40, 2])) == Box2I((2147483040, 3), (600, 3))
    with pytest.raises(TypeError):
        Box2I((0.5, 0), (3, 3))


def test_real_box_is_half_open():
    b = Box2D((0, 0), (2, 1))
    assert b.contains((0, 0)) and not b.contains((2, 0)) and not b.contains((0, 1)) and (1.999, 0.5) in b
    assert Box2D(Box2I((0, 0), (2, 2))) == Box2D((-0.5, -0.5), (1.5, 1.5))
    np.testing.assert_array_equal(b.contains((np.array([0, 2, np.nan]), np.zeros(3))), [True, False, False])
    assert not b.overlaps(Box2D((2, 0), (3, 1))) and b.overlaps(Box2D((1.5, 0.5), (3, 1)))
    assert b.corners == [(0, 0), (2, 0), (2, 1), (0, 1)]


def test_real_box_including_a_point_has_it_inside():
    for point in [(5.0, 7.0), (-3.0, 0.5), (0.0, 0.0), (1e9, -1e9)]:
        for start in (Box2D(), Box2D((0, 0), (2, 1))):
            assert start.including(point).contains(point)
    assert Box2D((0, 0), (2, 1)).including(Box2D((5, 5), (6, 6))) == Box2D((0, 0), (6, 6))


def test_real_empty_box():
    empties = [Box2D(), Box2D((1, 1), (1, 2)), Box2D((3, 1), (1, 2), invert=False), Box2D(Box2I())]
    full = Box2D((0, 0), (1, 1))
    for empty in empties:
        assert empty.isEmpty and empty == Box2D() and not empty != Box2D() and hash(empty) == hash(Box2D())
        assert empty != full and full != empty and full.contains(empty) and not full.overlaps(empty)
        assert (empty.width, empty.height, empty.area) == (0, 0, 0) and not empty.contains((0, 0))
        assert empty.dilated(2).isEmpty and empty.shifted((1, 1)).isEmpty
    assert Box2D((3, 4), (1, 2)) == Box2D((1, 2), (3, 4))


def test_real_box_operations():
    b = Box2D.centered((0.25, 1), (3, 2))
    assert (b.min, b.max) == ((-1.25, 0), (1.75, 2)) and b.center == (0.25, 1)
    assert b.dilated(0.5).eroded(0.5) == b and b.eroded(1).isEmpty
    assert b.shifted((0.5, -1)) == Box2D((-0.75, -1), (2.25, 1))
    assert b.clipped(Box2D((0, 0), (9, 1))) == Box2D((0, 0), (1.75, 1))
