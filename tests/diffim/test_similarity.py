"""Translation, rotation and scale from triangles of objects."""

import numpy as np
import pytest

from stillsky.diffim.similarity import findSimilarity, refineSimilarity, requireSimilarity
from stillsky.errors import MismatchError


def lists(rng, scale=1.0, degrees=0.0, shift=(0.0, 0.0), n=200, common=0.7, noise=0.1, size=1000):
    """Objects of a template, and of a science image in which some are missing, others new, all moved; by brightness,
    which differs by a few tenths of a magnitude between the two."""
    xy = rng.uniform(0, size, (n, 2))
    magnitude = rng.exponential(1.0, n)
    angle = np.radians(degrees)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (xy - size / 2) @ matrix.T + size / 2 + shift
    seen = rng.random(n) < common
    extra = int(n * (1 - common))
    science = np.vstack([moved[seen], rng.uniform(0, size, (extra, 2))])
    brightness = np.concatenate([magnitude[seen], rng.exponential(1.0, extra)]) + rng.normal(0, 0.2, seen.sum() + extra)
    science = science[np.argsort(-brightness)] + rng.normal(0, noise, science.shape)
    template = xy[np.argsort(-magnitude)] + rng.normal(0, noise, xy.shape)
    return science, template, matrix, moved, xy


@pytest.mark.parametrize(
    "scale, degrees, shift",
    [(1.0, 0.0, (0, 0)), (1.0, 0.0, (37.3, -120.6)), (1.0, 3.0, (10, 5)), (1.0, 180.0, (0, 0)), (1.25, -91.7, (55, 8)),
     (0.5, 45.0, (-30, 60)), (3.0, 12.0, (100, 900))],
)  # fmt: skip
def test_aPlantedSimilarityIsFound(rng, scale, degrees, shift):
    science, template, matrix, moved, xy = lists(rng, scale, degrees, shift)
    fit = findSimilarity(science.T, template.T)
    assert fit.isGood and fit.nPairs > 100
    assert fit.scale == pytest.approx(scale, rel=1e-4)
    assert np.degrees(np.angle(np.exp(1j * (fit.rotation - np.radians(degrees))))) == pytest.approx(0, abs=0.01)
    assert np.column_stack(fit.transform(*xy.T)) == pytest.approx(moved, abs=0.1)
    # two errors of 0.1 in both coordinates, those of the template scaled
    assert fit.rms == pytest.approx(0.1 * np.sqrt(2 * (1 + scale**2)), rel=0.15)


def test_halfOfTheObjectsMayBeOthers(rng):
    science, template, *_ = lists(rng, 1.1, 20.0, (30, 40), common=0.5)
    fit = findSimilarity(science.T, template.T)
    assert fit.isGood and fit.scale == pytest.approx(1.1, rel=1e-3)


def test_otherFieldsAreNotRegistered(rng):
    for n in (15, 60, 400):
        fit = findSimilarity(rng.uniform(0, 1000, (2, n)), rng.uniform(0, 1000, (2, n)))
        assert fit is None or not fit.isGood
        with pytest.raises(MismatchError, match="cannot be registered") as error:
            requireSimilarity(fit)
        assert error.value.remedy


def test_mirroredFieldsAreNotRegistered(rng):
    science, template, *_ = lists(rng)
    science[:, 0] = 1000 - science[:, 0]
    fit = findSimilarity(science.T, template.T)
    assert fit is None or not fit.isGood


def test_tooFewPairsAreRefused(rng):
    science, template, *_ = lists(rng, n=9, common=1.0, noise=0.01)
    fit = findSimilarity(science.T, template.T)
    assert fit.nPairs == 9 and fit.rms < 0.1 and not fit.isGood
    with pytest.raises(MismatchError) as error:
        requireSimilarity(fit)
    assert "9 pairs" in error.value.found
    assert findSimilarity(science[:2].T, template[:2].T) is None


def test_aLargeRmsIsRefused(rng):
    science, template, *_ = lists(rng, common=1.0, noise=0.6)
    fit = findSimilarity(science.T, template.T, radius=4.0)
    assert fit is None or fit.rms > 0.5 and not fit.isGood


def test_theSummaryTellsTheShiftOfTheMiddle(rng):
    science, template, *_ = lists(rng, 1.02, 2.0, (12.0, -7.0))
    figures = findSimilarity(science.T, template.T).asDict((512.0, 493.0))
    assert figures["shift"] == pytest.approx((12, -7), abs=0.5)
    assert figures["rotationDegrees"] == pytest.approx(2.0, abs=0.01)
    assert figures["scale"] == pytest.approx(1.02, rel=1e-4)


def test_refinementStartsFromAKnownGrid(rng):
    science, template, *_ = lists(rng, 1.001, 0.1, (1.0, 2.0))
    fit = refineSimilarity(science, template)
    assert fit.isGood and fit.scale == pytest.approx(1.001, rel=1e-4)
    assert refineSimilarity(science, template + 5000) is None
