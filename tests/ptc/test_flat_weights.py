"""Symmetric weights of two flats of different level (check A29)."""

import numpy as np

from stillsky.ptc import differenceOfFlats


def test_a29_weightedFlatsHaveEqualMeans(rng):
    """With w1 = m2/m and w2 = m1/m, m the mean of both levels, the mean of w1 F1 - w2 F2 is zero to rounding."""
    for ratio in (1.0, 1.02, 0.7, 3.0):
        first, second = rng.normal(20000, 100, (200, 300)), rng.normal(20000 * ratio, 120, (200, 300))
        m1, m2 = first.mean(), second.mean()
        mean = 0.5 * (m1 + m2)
        difference = np.asarray(differenceOfFlats(first, second, m1, m2))
        np.testing.assert_allclose(difference, first * (m2 / mean) - second * (m1 / mean), atol=1e-9)
        assert abs(difference.mean()) < 1e-12 * mean * 100
