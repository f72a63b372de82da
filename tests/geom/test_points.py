"""Points, extents and the rounding rule."""

import numpy as np
import pytest

from stillsky.errors import DomainError
from stillsky.geom import Extent2D, Extent2I, Point2D, Point2I, positionToIndex


@pytest.mark.parametrize("position, index", [(2.5, 3), (-0.5, 0), (-0.51, -1), (0.49999, 0)])
def test_position_to_index_rounds_half_up(position, index):
    assert positionToIndex(position) == index
    assert -0.5 <= position - index < 0.5
    assert Point2I(Point2D(position, -position)).x == index


def test_position_to_index_of_an_array():
    positions = np.array([2.5, -0.5, -0.51, 0.49999])
    np.testing.assert_array_equal(positionToIndex(positions), [3, 0, -1, 0])
    residual = np.linspace(-3, 3, 241) - positionToIndex(np.linspace(-3, 3, 241))
    assert residual.min() >= -0.5 and residual.max() < 0.5


def test_position_to_index_refuses_what_is_not_finite():
    with pytest.raises(DomainError):
        positionToIndex(float("nan"))


def test_sums_and_differences_have_the_right_type():
    p, q, e = Point2I(3, 4), Point2I(1, 1), Extent2I(2, 5)
    assert p - q == Extent2I(2, 3) and type(p - q) is Extent2I
    assert p + e == Point2I(5, 9) and type(p + e) is Point2I
    assert p - e == Point2I(1, -1)
    assert e + e == Extent2I(4, 10) and e - e == Extent2I(0, 0) and -e == Extent2I(-2, -5)
    assert type(p + Extent2D(0.5, 0)) is Point2D
    assert type(Point2D(1, 2) - q) is Extent2D
    assert e + p == p + e
    with pytest.raises(TypeError):
        p + q
    with pytest.raises(TypeError):
        e - p


@pytest.mark.parametrize("two", [2, np.int64(2)])
def test_extent_times_integer_stays_integer(two):
    assert type(Extent2I(1, 3) * two) is Extent2I and Extent2I(1, 3) * two == Extent2I(2, 6)
    assert type(two * Extent2I(1, 3)) is Extent2I and two * Extent2I(1, 3) == Extent2I(2, 6)


@pytest.mark.parametrize("half", [0.5, np.float32(0.5), np.float64(0.5)])
def test_extent_times_real_is_real(half):
    assert type(half * Extent2I(1, 3)) is Extent2D and half * Extent2I(1, 3) == Extent2D(0.5, 1.5)
    assert Extent2D(1, 3) * half == Extent2D(0.5, 1.5)


def test_division_of_extents():
    assert type(Extent2I(3, 4) / 2) is Extent2D and Extent2I(3, 4) / 2 == Extent2D(1.5, 2)
    assert Extent2I(-3, 4) // 2 == Extent2I(-2, 2)
    e = Extent2I(3, 4)
    with pytest.raises(TypeError):
        e /= 2


def test_conversions_between_integer_and_real():
    assert Point2D(Point2I(3, -4)) == Point2D(3.0, -4.0)
    assert Extent2D(Extent2I(3, -4)) == Extent2D(3.0, -4.0)
    with pytest.raises(TypeError):
        Extent2I(Extent2D(1.0, 2.0))
    e = Extent2D(-1.5, 2.5)
    assert (e.truncate(), e.floor(), e.ceil()) == (Extent2I(-1, 2), Extent2I(-2, 2), Extent2I(-1, 3))


def test_integers_of_numpy_count_as_integers():
    p = Point2I(np.int16(3), np.uint8(4))
    assert p == Point2I(3, 4) and type(p.x) is int
    with pytest.raises(TypeError):
        Point2I(3.0, 4)
    with pytest.raises(TypeError):
        Point2I("3", "4")
    with pytest.raises(OverflowError):
        Point2I(2**31, 0)


def test_distance_is_computed_in_double():
    far = 2_000_000_000
    assert Point2I(-far, 0).distanceSquared(Point2I(far, 0)) == 1.6e19
    assert Extent2I(3, 4).norm == 5.0


def test_pairs_are_immutable_sequences():
    p = Point2I(3, 4)
    assert (p[0], p[1], *p) == (3, 4, 3, 4) and len(p) == 2
    with pytest.raises(AttributeError):
        p.x = 5
    assert (p == Point2I(3, 4)) is True and p != Extent2I(3, 4) and p == Point2D(3, 4)
    assert len({p, Point2I(3, 4), Point2D(3, 4)}) == 1
