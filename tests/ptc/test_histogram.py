"""The Gaussian histogram and its Kolmogorov-Smirnov test."""

import math

import numpy as np
import pytest
from scipy.stats import kstest

from stillsky.ptc import gaussianHistogram

LIMIT = 8 * math.sqrt(2000.0)
SIGMA = math.sqrt(2 * 2000 / 0.75)


def difference():
    return np.random.default_rng(3).normal(0.0, SIGMA, 40800)


def test_cleanDifferencePasses():
    varFit, chi2Dof, p = gaussianHistogram(difference(), LIMIT)
    assert p > 0.01
    assert varFit == pytest.approx(SIGMA**2, rel=0.02)
    assert 0.5 < chi2Dof < 1.5


def test_stretchedPixelsFail():
    values = difference()
    chosen = np.random.default_rng(4).random(values.size) < 0.05
    values[chosen] *= 5
    assert gaussianHistogram(values, LIMIT)[2] < 1e-4


def test_tooFewValues():
    values = difference()
    for found in (gaussianHistogram(values[:99], LIMIT), gaussianHistogram(values, math.nan)):
        assert math.isnan(found[0]) and math.isnan(found[1]) and found[2] == 0.0
    assert gaussianHistogram(values[:100], LIMIT)[2] > 0


def test_probabilityIsThatOfScipy():
    values = difference()[:5000]
    varFit, _, p = gaussianHistogram(values, LIMIT)
    # The centre is a free parameter that is not returned: the fit's optimum is found again by scanning p over centres.
    centers = np.linspace(-3, 3, 601)
    found = [kstest(values, "norm", (c, math.sqrt(varFit))).pvalue for c in centers]
    assert min(abs(np.array(found) - p)) < 2e-2


def test_valuesThatAreNotFiniteAreLeftOut():
    values = difference()
    dirty = np.concatenate([values, [np.nan, np.inf, -np.inf]])
    assert gaussianHistogram(dirty, LIMIT) == gaussianHistogram(values, LIMIT)


def test_constantValues():
    assert gaussianHistogram(np.zeros(1000), LIMIT)[2] == 0.0
