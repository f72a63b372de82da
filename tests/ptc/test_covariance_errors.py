"""Covariances of bad input: NaN under a mask, lags without pairs, weights and shapes that are wrong."""

import numpy as np
import pytest

from stillsky import DomainError, ShapeError
from stillsky.ptc import CovFastFourierTransform, computeCovDirect, covariances, covarianceSums, covDirectValue

ESTIMATORS = ["direct", "fft"]


@pytest.fixture
def image(rng):
    return rng.normal(1000, 20, (30, 40)).astype(np.float32)


@pytest.fixture
def weight(rng):
    return rng.random((30, 40)) >= 0.05


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_badPixelsUnderAMaskDoNotSpread(image, weight, estimator, value):
    """Check A9: a NaN of weight 0 gives what a 0 there gives, bit for bit."""
    weight[7, 9] = weight[0, 0] = weight[29, 39] = False
    image[~weight] = 0
    wanted = covariances(image, weight, 5, estimator=estimator)
    image[~weight] = value
    found = covariances(image, weight, 5, estimator=estimator)
    assert np.array_equal(found.cov, wanted.cov) and np.array_equal(found.npix, wanted.npix)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nanOfWeightOneIsRefusedOrIgnored(image, weight, estimator):
    weight[12, 21] = True
    image[12, 21] = np.nan
    with pytest.raises(DomainError, match=r"x=21, y=12\) has weight 1 .* mask it first"):
        covariances(image, weight, 3, estimator=estimator)
    found = covariances(image, weight, 3, estimator=estimator, nonFinite="ignore")
    weight[12, 21] = False
    assert np.array_equal(found.cov, covariances(image, weight, 3, estimator=estimator).cov)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_lagWithoutPairsIsAnErrorThatNamesIt(image, estimator):
    """Check A9: ValueError."""
    weight = np.zeros(image.shape, bool)
    weight[:3, :9] = True  # no pairs for dy > 2
    with pytest.raises(ValueError, match=r"no pair .* lag \(dx=0, dy=3\)"):
        covariances(image, weight, 4, estimator=estimator)
    if estimator == "fft":
        with pytest.raises(ValueError, match=r"lag \(dx=2, dy=3\)"):
            CovFastFourierTransform(image, weight, None, 4).cov(2, 3)
    with pytest.raises(ValueError, match=r"lag \(dx=2, dy=3\)"):
        covDirectValue(image, weight, 2, 3)
    with pytest.raises(ValueError, match=r"lag \(dx=0, dy=0\)"):
        covariances(image, np.zeros(image.shape, bool), 4, estimator=estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_lagsOfTooFewPairsAreNanWhenANumberIsAsked(image, estimator):
    weight = np.zeros(image.shape, bool)
    weight[:3, :9] = True
    cov, npix = covariances(image, weight, 4, estimator=estimator, minPairsPerLag=14)
    wanted = np.zeros((5, 5), bool)  # pairs: (9 - dx)(3 - dy), in each of both quadrants
    for dx in range(5):
        for dy in range(5):
            wanted[dx, dy] = (9 - dx) * (3 - dy) >= 14 and dy < 3
    assert wanted.any() and not wanted.all()
    assert np.array_equal(np.isfinite(cov), wanted) and np.array_equal(npix > 0, wanted)


def test_oneEmptyQuadrantCountsOnlyWhenQuadrantsWeighTheSame(image):
    weight = np.zeros(image.shape, bool)
    weight[0, 0] = weight[1, 1] = weight[2, 2] = weight[0, 2] = weight[2, 1] = weight[1, 2] = True
    sums = covarianceSums(image, weight, 1)
    assert sums.count[1, 2] > 0
    weight[:] = False
    for y, x in ((0, 0), (0, 1), (1, 1)):  # pairs at (1, 0), (0, 1), (1, 1), none at (1, -1)
        weight[y, x] = True
    with pytest.raises(DomainError, match=r"dx=1, dy=1"):
        covariances(image, weight, 1)
    cov, npix = covariances(image, weight, 1, quadrants="weighted")
    assert npix.tolist() == [[3, 1], [1, 1]] and np.isfinite(cov).all()


def wrongInputs():
    image, weight = np.zeros((6, 8), np.float32), np.ones((6, 8), np.uint8)
    two = weight.copy()
    two[3, 3] = 2
    yield "weight 2", image, two, 2, DomainError, "only 0 and 1"
    yield "weight 2 as integer", image, two.astype(int), 2, DomainError, "only 0 and 1, got 2"
    yield "weight 0.5", image, weight * 0.5, 2, DomainError, "only 0 and 1, got 0.5"
    yield "weight NaN", image, weight * np.nan, 2, DomainError, "only 0 and 1, got nan"
    yield "weight text", image, weight.astype(str), 2, DomainError, "numbers that are 0 or 1"
    yield "shapes", image, weight[:, :-1], 2, ShapeError, r"shape of the image \(6, 8\), got \(6, 7\)"
    yield "lag of the height", image, weight, 6, DomainError, "smaller side, 6, got 6"
    yield "lag of the width", image.T, weight.T, 6, DomainError, "smaller side, 6, got 6"
    yield "negative lag", image, weight, -1, DomainError, "maxLag"
    yield "fractional lag", image, weight, 2.5, DomainError, "whole number"
    yield "empty", image[:0], weight[:0], 2, ShapeError, "with pixels"
    yield "one dimension", image[0], weight[0], 2, ShapeError, "2-D"
    yield "three dimensions", image[None], weight[None], 2, ShapeError, "2-D"
    yield "complex", image.astype(complex), weight, 2, DomainError, "real numbers"


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("case", list(wrongInputs()), ids=lambda case: case[0])
def test_wrongInputIsAValueError(case, estimator):
    """Check A9: weight 2, shapes that differ, maxLag >= side, and more."""
    _, image, weight, maxLag, error, message = case
    with pytest.raises(error, match=message) as caught:
        covariances(image, weight, maxLag, estimator=estimator)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ValueError, match=message):
        computeCovDirect(image, weight, maxLag)
    with pytest.raises(ValueError, match=message):
        CovFastFourierTransform(image, weight, None, maxLag)


def test_unknownChoices(image, weight):
    for keywords in ({"estimator": "fast"}, {"quadrants": "some"}, {"nonFinite": "hide"}, {"minPairsPerLag": 0}):
        with pytest.raises(DomainError, match=next(iter(keywords))):
            covariances(image, weight, 2, **keywords)
    with pytest.raises(DomainError, match="offset"):
        covarianceSums(image, weight, 2, offset=np.nan)


def test_transformsThatAreTooSmallOrLagsTooLarge(image, weight):
    with pytest.raises(ShapeError, match="fftShape"):
        CovFastFourierTransform(image, weight, (32, 64), 5)
    fft = CovFastFourierTransform(image, weight, (35, 46), 5)
    with pytest.raises(DomainError, match="up to 5"):
        fft.cov(6, 0)
    with pytest.raises(DomainError, match="maxRange"):
        fft.reportCovFastFourierTransform(6)
    with pytest.raises(DomainError, match="40 x 30"):
        covDirectValue(image, weight, 40, 0)
    with pytest.raises(DomainError, match="40 x 30"):
        covDirectValue(image, weight, 0, -30)
