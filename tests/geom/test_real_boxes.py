"""Real boxes: flips, and coordinates that are not numbers (core data model, sections 4.1 and 4.2, check 3)."""

import math

import pytest

from stillsky.errors import DomainError
from stillsky.geom import Box2D, Box2I


def testFlipsInDoublePrecision():
    box = Box2D((7.5, 10.5), (13.5, 16.5))
    assert box.flippedLR(15) == Box2D((1.5, 10.5), (7.5, 16.5))
    assert box.flippedTB(20) == Box2D((7.5, 3.5), (13.5, 9.5))
    assert Box2D((0.1, 0.2), (0.3, 0.4)).flippedLR(1).minX == 0.7 and Box2D().flippedLR(5).isEmpty


@pytest.mark.parametrize("corner", [(math.nan, 0.0), (0.0, math.nan), (-math.inf, 0.0)])
def testNonFiniteRealBoxHasNoPixels(corner):
    with pytest.raises(DomainError):
        Box2I(Box2D(corner, (1.0, 1.0)))
    with pytest.raises(DomainError):
        Box2I.centered(corner, (3, 3))
