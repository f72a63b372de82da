"""Positions that overlap, and their fluxes, fitted together."""

import numpy as np
import pytest
from test_detect_measure import PSF, SIGMA, exposureOf, gaussians, pairOf, plainConfig, positionsOn
from test_source_blends import UNIT, blends

from stillsky.diffim import ForcedImage, Positions
from stillsky.diffim.detect_measure import detectAndMeasure
from stillsky.diffim.forced_series import forcedEpoch
from stillsky.diffim.overlaps import overlapping
from stillsky.diffim.source_measure import dipoleLobes, slotPositions
from stillsky.errors import ShapeError
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


@pytest.fixture(scope="module")
def dipolesBesideChanges():
    """25 misplaced stars, each with a change 5.2 widths away: images, positions and fluxes of the changes, the table."""
    rng = np.random.default_rng(31)
    x, y = positionsOn(np.arange(40, 280, 55), rng)
    near, shift = (np.stack([np.cos(t), np.sin(t)]) for t in rng.uniform(0, 2 * np.pi, (2, len(x))))
    near, shift = np.stack([x, y]) + 5.2 * SIGMA * near, 0.3 * SIGMA * shift
    flux, star = np.full(len(x), 40.0 * UNIT), np.full(len(x), 150.0 * UNIT)
    blank = [image.image.array.astype(float) for image in pairOf(*[v[:0] for v in (x, y, flux)], seed=31)]
    lobes, change = [gaussians(*(near + s * shift), star) for s in (1, -1)], gaussians(x, y, flux)
    made = blank[0] + lobes[0] + change, blank[1] + lobes[1], blank[2] + lobes[0] + change - lobes[1]
    images = [exposureOf(i, n) for i, n in zip(made, (np.sqrt(0.9), np.sqrt(0.1), 1.0), strict=True)]
    table = detectAndMeasure(*images, config=plainConfig(doDeblend=True), sciencePsf=PSF).sources
    return images, (x, y, flux), table


def test_neighboursOfDipolesSeeBothLobes(dipolesBesideChanges):
    """Planted changes have their fluxes, in the table and as forced fluxes alike; one source in the lobes' place is wrong."""
    (science, template, difference), (x, y, flux), table = dipolesBesideChanges
    dipole = np.asarray(table["ip_diffim_DipoleFit_classification"])
    assert np.count_nonzero(dipole) >= 23
    px, py = slotPositions(table)
    lobes = dipoleLobes(table)
    assert (np.isfinite(lobes).all(axis=1) == dipole).all()
    image = ForcedImage("d", difference, science, template)
    forced = forcedEpoch(image, Positions(table["id"], x=px, y=py, lobes=lobes))
    for prefix in FLUXES:
        np.testing.assert_allclose(forced[prefix + "instFlux"], table[prefix + "instFlux"], rtol=1e-6, atol=1e-6)
    distance = np.where(dipole, np.inf, np.hypot(px - x[:, None], py - y[:, None]))
    rows = np.argmin(distance, axis=1)
    good = distance[np.arange(len(x)), rows] < SIGMA
    assert good.mean() >= 0.95
    pulls = ((table["base_PsfFlux_instFlux"][rows] - flux) / table["base_PsfFlux_instFluxErr"][rows])[good]
    assert np.std(pulls) == pytest.approx(1, abs=0.45) and abs(np.mean(pulls)) < 0.6


def test_oneSourceInThePlaceOfTwoLobesIsNotEnough():
    """Changes 3.2 widths beside stars that moved by 0.6: pulls of their forced fluxes are normal with both lobes alone."""
    rng = np.random.default_rng(33)
    x, y = positionsOn(np.arange(40, 280, 40), rng)
    near, shift = (np.stack([np.cos(t), np.sin(t)]) for t in rng.uniform(0, 2 * np.pi, (2, len(x))))
    change, shift = np.stack([x, y]) + 3.2 * SIGMA * near, 0.3 * SIGMA * shift
    lobes = np.concatenate([[x, y] + shift, [x, y] - shift])
    flux, star = np.full(len(x), 40 * UNIT), np.full(len(x), 300 * UNIT)
    image = gaussians(*lobes[:2], star) - gaussians(*lobes[2:], star) + gaussians(*change, flux)
    exposure = exposureOf(image + rng.normal(0, 1, image.shape))
    at = np.concatenate([[x, y], change], axis=1)
    known = np.concatenate([lobes.T, np.full((len(x), 4), np.nan)])
    found = [
        forcedEpoch(ForcedImage("d", exposure), Positions(np.arange(2 * len(x)), x=at[0], y=at[1], lobes=given))[
            len(x) :
        ]
        for given in (known, None)
    ]
    pulls, blind = ((t["base_PsfFlux_instFlux"] - flux) / t["base_PsfFlux_instFluxErr"] for t in found)
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(2 * len(x))) and abs(np.mean(pulls)) < 0.6
    assert np.std(blind) > 2.0


def test_lobesFollowThePositionsOntoAnotherImage():
    """Turned by 30 degrees and twice as large; with a single position nothing tells, and they stay as they are."""
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0, 100, (2, 6))
    lobes = np.full((6, 4), np.nan)
    lobes[2] = x[2] + 1.0, y[2] - 0.5, x[2] - 1.0, y[2] + 0.5
    c, s = 2 * np.cos(np.pi / 6), 2 * np.sin(np.pi / 6)
    there = c * x - s * y + 7, s * x + c * y - 3
    found = Positions(np.arange(6), x=x, y=y, lobes=lobes).lobesOn(*there)
    wanted = [
        there[0][2] + c + 0.5 * s,
        there[1][2] + s - 0.5 * c,
        there[0][2] - c - 0.5 * s,
        there[1][2] - s + 0.5 * c,
    ]
    np.testing.assert_allclose(found[2], wanted, rtol=1e-10)
    assert np.isnan(np.delete(found, 2, axis=0)).all()
    single = Positions([1], x=x[2:3], y=y[2:3], lobes=lobes[2:3])
    np.testing.assert_allclose(single.lobesOn(x[2:3] + 5, y[2:3]), lobes[2:3] + [5, 0, 5, 0])
    assert Positions([1], x=[1.0], y=[1.0]).lobesOn([1.0], [1.0]) is None
    with pytest.raises(ShapeError, match="lobes"):
        Positions([1], x=[1.0], y=[1.0], lobes=[[1.0, 2.0]])


def test_dipolesAreLinkedByTheirLobes():
    """Alone: no group; beside a source: last of its group, with lobes for that; a lobe on another object: one source."""
    x, y = np.array([50.0, 150.0, 160.0, 250.0, 252.0, 350.0]), np.full(6, 40.0)
    lobes = np.full((6, 4), np.nan)
    lobes[[0, 1, 3]] = np.stack([x + 1.5, y, x - 1.5, y], axis=1)[[0, 1, 3]]
    found = overlapping(x, y, 1.6, lobes)
    assert found.group[0] == -1 == found.group[5]
    assert found.group[1] == found.group[2] >= 0 and found.turn[[1, 2]].tolist() == [1, 0]
    assert found.dipoles.tolist() == [0, 1]
    assert found.group[3] == found.group[4] >= 0 and found.turn[[3, 4]].tolist() == [0, 0]
    which, places = found.lobesBeside(np.array([2]))
    assert which.tolist() == [1, 1] and places.tolist() == [[151.5, 40.0], [148.5, 40.0]]
    assert len(found.lobesBeside(np.array([1]))[0]) == 0 == len(found.lobesBeside(np.array([4]))[0])
    part = found.subset(np.array([1, 2]))
    assert part.dipoles.tolist() == [0] and len(part.lobesBeside(np.array([1]))[0]) == 2
