"""Affine maps and polygons."""

import math

import numpy as np
import pytest

from stillsky.errors import DomainError, NumericalError
from stillsky.geom import AffineTransform, Box2D, Box2I, Extent2D, Extent2I, Point2D, Polygon


def test_points_move_and_extents_only_turn():
    t = AffineTransform([[0, -2], [3, 1]], (10, 20))
    assert t.apply(Point2D(1, 2)) == (6, 25)
    assert t.apply(Extent2D(1, 2)) == Extent2D(-4, 5)
    assert t.apply(Extent2I(1, 2)) == Extent2D(-4, 5)
    assert t.determinant == 6
    x, y = t(np.array([1.0, 0]), np.array([2.0, 0]))
    np.testing.assert_array_equal([x, y], [[6, 10], [25, 20]])


def test_inverse_and_composition(rng):
    a = AffineTransform(rng.normal(size=(2, 2)), rng.normal(size=2))
    b = AffineTransform(rng.normal(size=(2, 2)), rng.normal(size=2))
    assert a.compose(a.inverse()).isIdentity(1e-12) and not a.isIdentity(1e-12)
    p = Point2D(3, -4)
    np.testing.assert_allclose(tuple(a.compose(b).apply(p)), tuple(a.apply(b.apply(p))), rtol=1e-13)
    with pytest.raises(NumericalError):
        AffineTransform([[1, 2], [2, 4]]).inverse()


def test_polygon_contains_by_the_even_odd_rule():
    arrow = Polygon([(0, 0), (10, 0), (10, 10), (5, 3), (0, 10)])  # concave
    x, y = np.array([1, 5, 5, 9, 11]), np.array([1, 5, 2, 8, 1])
    np.testing.assert_array_equal(arrow.contains((x, y)), [True, False, True, True, False])
    for onBoundary in [(0, 0), (5, 0), (10, 4), (5, 3), (5, -5e-10)]:
        assert arrow.contains(onBoundary)
    assert not arrow.contains((5, -1e-8)) and not arrow.contains((math.nan, 1))


def test_polygon_measures():
    for vertices in ([(0, 0), (4, 0), (4, 2), (0, 2)], [(0, 2), (4, 2), (4, 0), (0, 0)]):
        p = Polygon(vertices)
        assert p.area == 8 and p.center == (2, 1) and p.bbox == Box2D((0, 0), (4, 2))
    triangle = Polygon([(0, 0), (3, 0), (0, 6)])
    assert triangle.area == 9 and triangle.center == Point2D(1, 2)
    assert Polygon(Box2D((0, 0), (4, 2))) == Polygon([(0, 0), (4, 0), (4, 2), (0, 2)])


def test_polygon_intersection_with_a_box():
    triangle = Polygon([(0, 0), (4, 0), (0, 4)])
    assert triangle.intersection(Box2D((0, 0), (2, 2))).area == pytest.approx(4, abs=1e-12)
    assert triangle.intersection(Box2D((1, 1), (9, 9))).area == pytest.approx(2, abs=1e-12)
    assert triangle.intersection(Box2D((3, 3), (9, 9))) is None
    assert triangle.intersection(Box2D((-1, -1), (9, 9))).area == triangle.area


def test_polygon_mapped_and_rasterised():
    square = Polygon(Box2D((0, 0), (2, 2)))
    assert square.transformed(AffineTransform([[2, 0], [0, 1]], (1, 1))).bbox == Box2D((1, 1), (5, 3))
    covered = square.coverage(Box2I((-1, -1), (4, 5)))
    assert covered.shape == (5, 4) and covered.sum() == 4
    assert (covered[1, 1], covered[2, 1], covered[2, 2], covered[4, 0]) == (0.25, 0.5, 1, 0)


def test_polygon_needs_three_finite_vertices():
    for bad in ([(0, 0), (1, 1)], [(0, 0), (1, math.nan), (2, 0)]):
        with pytest.raises(DomainError):
            Polygon(bad)
    with pytest.raises(ValueError):
        Polygon([(0, 0), (1, 0), (0, 1)]).vertices[0, 0] = 3
