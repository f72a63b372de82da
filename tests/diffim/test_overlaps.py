"""Positions that overlap, and their fluxes, fitted together."""

import numpy as np
import pytest
from test_detect_measure import PSF, SIGMA, exposureOf, gaussians, pairOf, plainConfig
from test_source_blends import blends

from stillsky.diffim import ForcedImage, Positions
from stillsky.diffim.detect_measure import detectAndMeasure
from stillsky.diffim.forced_series import forcedEpoch
from stillsky.diffim.overlaps import overlapping
from stillsky.measure import psfFlux

FLUXES = ("base_PsfFlux_", "ip_diffim_forced_PsfFlux_", "ip_diffim_forced_template_PsfFlux_")


def _sets(labels):
    return {frozenset(np.flatnonzero(labels == k).tolist()) for k in np.unique(labels[labels >= 0])}


def test_neighboursAreLinkedAndOneObjectIsNot():
    """Reach of 6 widths, chains, unknown positions, two of one object, an order that does not matter."""
    x = np.array([0.0, 200.0, 11.0, 22.5, np.nan, 200.5, 300.0, 300.9, 311.0, 500.0, 3.0])
    y = np.array([0.0, 5.0, 0.0, 0.0, 3.0, 5.0, 7.0, 7.0, 7.0, 500.0, np.inf])
    found = overlapping(x, y, 2.0)
    assert _sets(found.group) == {frozenset({0, 2, 3}), frozenset({6, 7, 8})}
    assert (found.group[[1, 4, 5, 9, 10]] == -1).all()
    assert found.object[1] == found.object[5] and found.object[6] == found.object[7] != found.object[8]
    assert found.turn.tolist() == [0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0]
    assert found.isSingle.tolist() == [True, False, True, True, True, False, False, False, True, True, True]
    turns = [(rows.tolist(), rows[own].tolist()) for rows, own in found.fits()]
    assert turns == [([0, 2, 3, 6, 8], [0, 2, 3, 6, 8]), ([7, 8], [7])]
    order = np.random.default_rng(0).permutation(len(x))
    again = overlapping(x[order], y[order], 2.0)
    assert {frozenset(order[list(s)].tolist()) for s in _sets(again.group)} == _sets(found.group)
    assert len(overlapping(x[:0], y[:0], 2.0).group) == 0


def test_crowdsFallApartIntoGroupsThatCanBeFitted():
    """A chain of 60 whose links get longer: none above 20 together, near neighbours in one group."""
    x = np.cumsum(np.tile([4.0, 11.0], 30))
    found = overlapping(x, np.zeros(60), 2.0)
    assert _sets(found.group) == {frozenset({k, k + 1}) for k in range(1, 59, 2)}
    dense = overlapping(*(v.ravel() for v in np.meshgrid(np.arange(0, 60.0, 2.5), np.arange(0, 60.0, 2.5))), 2.0)
    assert (dense.group == -1).all() and np.bincount(dense.object).max() == 1


@pytest.mark.parametrize(("separation", "ratio"), [(1.6, 0.7), (1.5, -0.35), (2.5, 0.5)])
def test_tableOfSourcesAndForcedFluxesAgree(separation, ratio):
    """Every row but dipoles, blends and sky sources too, on all images. The errors of the table know of the positions'
    errors where these were fitted: there they are larger, by less than a fifth at these distances."""
    science, template, difference = pairOf(*blends(separation, 61, ratio), seed=3)
    config = plainConfig(doDeblend=True, doSkySources=True)
    config.skySources.nSources = 30
    table = detectAndMeasure(science, template, difference, config=config, sciencePsf=PSF).sources
    x, y = (np.asarray(table[f"base_SdssCentroid_{c}"]) for c in "xy")
    forced = forcedEpoch(ForcedImage("d", difference, science, template), Positions(table["id"], x=x, y=y))
    assert np.count_nonzero(table["detect_fromBlend"]) > 25 and np.count_nonzero(table["sky_source"]) == 30
    assert not table["ip_diffim_DipoleFit_classification"].any()
    loose = np.asarray(table["detect_fromBlend"])
    for prefix in FLUXES:
        np.testing.assert_allclose(forced[prefix + "instFlux"], table[prefix + "instFlux"], rtol=1e-6, atol=1e-6)
        ratio = np.asarray(table[prefix + "instFluxErr"]) / np.asarray(forced[prefix + "instFluxErr"])
        if prefix == FLUXES[0]:
            assert (ratio > 1 - 1e-6).all() and ratio.max() < 1.2
            np.testing.assert_allclose(ratio[~loose], 1, rtol=1e-6)
        else:
            np.testing.assert_allclose(ratio, 1, rtol=1e-6)


def test_forcedFluxesAreWithoutTheLightOfNeighbours():
    """Pairs 1.5 FWHM apart on three nights, on the last of which one of each has gone: pulls of each flux are normal."""
    x, y, flux = blends(1.5, 62, 0.7)
    gone = np.repeat([1.0, 0.0], len(x) // 2)
    rng, pulls, alone = np.random.default_rng(9), [], []
    for share in (1.0, 1.0, gone):
        exposure = exposureOf(gaussians(x, y, share * flux) + rng.normal(0, 1, (300, 300)))
        table = forcedEpoch(ForcedImage("d", exposure), Positions(np.arange(len(x)), x=x, y=y))
        pulls.append((table["base_PsfFlux_instFlux"] - share * flux) / table["base_PsfFlux_instFluxErr"])
        single = psfFlux(exposure, x, y)
        alone.append((single["base_PsfFlux_instFlux"] - share * flux) / single["base_PsfFlux_instFluxErr"])
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(2 * np.size(pulls))) and abs(np.mean(pulls)) < 0.33
    assert np.mean(alone) > 0.5  # what they would have of each other's


def test_severalPositionsOfOneObjectHaveItsWholeFlux():
    """A catalogue of detections of many nights: nothing tells such positions apart, and a neighbour counts for each."""
    x, y = np.array([100.0, 100.3, 100.0, 109.0, 200.0, 200.2]), np.array([50.0, 50.2, 50.4, 50.0, 70.0, 70.0])
    truth = np.array([1000.0, 1000.0, 1000.0, 600.0, 500.0, 500.0])
    once = [0, 3, 4]
    exposure = exposureOf(gaussians(x[once], y[once], truth[once]) + np.random.default_rng(2).normal(0, 1, (300, 300)))
    table = forcedEpoch(ForcedImage("d", exposure), Positions(np.arange(6), x=x, y=y))
    np.testing.assert_allclose(table["base_PsfFlux_instFlux"], truth, atol=3 * np.sqrt(4 * np.pi) * SIGMA)
    np.testing.assert_allclose(table["base_PsfFlux_instFluxErr"], np.sqrt(4 * np.pi) * SIGMA, rtol=0.02)
    plain = psfFlux(exposure, x, y)
    np.testing.assert_array_equal(table["base_PsfFlux_instFlux"][4:], plain["base_PsfFlux_instFlux"][4:])
    subset = forcedEpoch(ForcedImage("d", exposure), Positions(np.arange(2), x=x[[1, 3]], y=y[[1, 3]]))
    np.testing.assert_allclose(table["base_PsfFlux_instFlux"][1], subset["base_PsfFlux_instFlux"][0], rtol=1e-10)
