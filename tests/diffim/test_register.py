"""Relative astrometry from matched sources."""

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import Sip

from stillsky import RegisterTask, makeCdMatrix, makeExposure, makeTanWcs
from stillsky.diffim.distortion import Polynomial2, tanSipWcs
from stillsky.diffim.register import fitAstrometry, fitRelativeWcs, matchOnSky, sourcePositions
from stillsky.diffim.register_config import RegisterConfig
from stillsky.errors import DomainError
from stillsky.geom import Box2I, Extent2I, Point2I
from stillsky.psf import GaussianPsf
from stillsky.wcs import SkyWcs

SIZE, NUMBER = 1000, 123
BOX = Box2I(Point2I(0, 0), Extent2I(SIZE, SIZE))
WCS = makeTanWcs((500, 500), np.radians((150.0, -30.0)), makeCdMatrix(0.1 / 3600))
OFFSET = np.array([-5, 3])


def positions(number=NUMBER, seed=1):
    """Distinct integer positions at least 16 pixels from the border: 10 and the offset."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(((SIZE - 32) // 4) ** 2, number, replace=False)
    return 16 + 4 * np.column_stack(np.divmod(cells, (SIZE - 32) // 4))[:, ::-1]


def catalogue(xy, wcs=WCS):
    ra, dec = wcs.pixelToSky(*np.asarray(xy, float).T)
    return Table({"id": np.arange(len(xy)), "base_SdssCentroid_x": np.asarray(xy, float)[:, 0],
                  "base_SdssCentroid_y": np.asarray(xy, float)[:, 1], "coord_ra": ra, "coord_dec": dec})  # fmt: skip


def image(xy):
    pixels = np.zeros((SIZE, SIZE), np.float32)
    pixels[xy[:, 1], xy[:, 0]] = 1
    return makeExposure(pixels, variance=np.ones_like(pixels), wcs=WCS, psf=GaussianPsf(21, 21, 2.0))


def order2():
    config = RegisterConfig()
    config.sipOrder = 2
    return config


@pytest.mark.parametrize("moved", [None, 17])
def test_anOffsetBetweenEqualWcsIsRegistered(moved):
    """One source of 123 moved by 0.014 pixels is rejected; the rest is as before."""
    target = positions()
    other = target + OFFSET
    shifted = other.astype(float)
    if moved is not None:
        shifted[moved] += (0.01, -0.01)
    task = RegisterTask(config=order2())
    targetSources, inputSources = catalogue(target), catalogue(shifted)
    result = task.run(inputSources, WCS, BOX, targetSources)
    assert len(result.matches) == NUMBER
    assert all(first == second for first, second, _ in result.matches)
    assert task.metadata["MATCH_NUM"] == NUMBER
    assert task.metadata["SIP_RMS"] == pytest.approx(0, abs=5e-8)
    assert task.metadata["SIP_GOOD"] == NUMBER - (moved is not None)
    assert task.metadata["SIP_REJECTED"] == (moved is not None)

    exposure = image(other)
    warped = task.warpExposure(exposure, result.wcs, WCS, BOX)
    assert warped.bbox == BOX and warped.wcs == WCS
    assert np.all(warped.image.array[target[:, 1], target[:, 0]] == 1.0)
    alone = np.ones((SIZE, SIZE), bool)
    alone[target[:, 1], target[:, 0]] = False
    inside = np.zeros((SIZE, SIZE), bool)
    inside[10:-10, 10:-10] = True
    assert np.abs(warped.image.array[alone & inside]).max() < 0.1
    assert warped.psf.computeShape((500, 500))[0] == pytest.approx(4.0, rel=1e-3)

    sources = task.warpSources(inputSources, result.wcs, WCS, BOX)
    difference = np.column_stack(sourcePositions(sources)) - np.column_stack(sourcePositions(targetSources))
    if moved is not None:
        assert difference[moved] == pytest.approx((0.01, -0.01), abs=1e-4)
        difference = np.delete(difference, moved, axis=0)
    assert np.abs(difference.mean(axis=0)).max() < 1e-8 and difference.std(axis=0).max() < 1e-8
    assert np.array_equal(sourcePositions(inputSources)[0], shifted[:, 0])


def test_noCommonSourceIsARuntimeError():
    task = RegisterTask()
    far = catalogue(positions(20) + 400)
    with pytest.raises(RuntimeError, match="Unable to match source catalogs"):
        task.run(far[:0], WCS, BOX, catalogue(positions(20)))
    with pytest.raises(RuntimeError, match="Unable to match source catalogs"):
        task.run(catalogue([[900.0, 900.0]]), WCS, BOX, catalogue([[100.0, 100.0]]))


def test_fewMatchesLowerTheOrderWithAWarning():
    xy = positions(12)
    result = fitRelativeWcs(catalogue(xy + OFFSET), WCS, BOX, catalogue(xy))
    assert len(result.matches) == 12 and result.order == 1
    assert "12 matches" in result.warnings[0] and result.rmsPixels < 1e-7
    alone = fitRelativeWcs(catalogue(xy[:2] + OFFSET), WCS, BOX, catalogue(xy[:2]))
    assert alone.order == 0
    x, y = WCS.skyToPixel(*alone.wcs.pixelToSky(*(xy[:2] + OFFSET).T))
    assert np.column_stack([x, y]) == pytest.approx(xy[:2], abs=1e-6)


def test_aDistortionIsFollowedToTheNoiseOfThePositions():
    rng = np.random.default_rng(5)
    xy = rng.uniform(20, 980, (400, 2))
    u = (xy - 500) / 500
    moved = xy + 2.0 * np.column_stack([u[:, 0] ** 2 - u[:, 1], u[:, 0] * u[:, 1] ** 2]) + (1.0, -2.0)
    noisy = moved + rng.normal(0, 0.02, moved.shape)
    noisy[:20] += rng.uniform(-3, 3, (20, 2))  # variable or blended sources
    task = RegisterTask()
    result = task.run(catalogue(noisy), WCS, BOX, catalogue(xy))
    x, y = WCS.skyToPixel(*result.wcs.pixelToSky(*moved.T))
    error = np.hypot(x - xy[:, 0], y - xy[:, 1])
    assert np.sqrt(np.mean(error**2)) < 0.015
    assert task.metadata["SIP_RMS"] == pytest.approx(0.02 * np.sqrt(2), rel=0.4)
    assert 370 <= task.metadata["SIP_GOOD"] <= 395 and task.registration.order == 4


def test_knownDistortionsAreKeptWhereMatchesAreFew():
    """A WCS with SIP terms and five matches that are off by a shift: only the shift changes."""
    inner = WCS.localWcs()
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[2, 0], b[1, 2] = 3e-5, -4e-8
    inner.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    inner.sip = Sip(a, b, None, None, inner.wcs.crpix)
    distorted = SkyWcs(inner)
    xy = positions(5)
    result = fitRelativeWcs(catalogue(xy + (2.0, 1.0), distorted), distorted, BOX, catalogue(xy, distorted))
    grid = np.column_stack([g.ravel() for g in np.meshgrid(np.linspace(50, 950, 7), np.linspace(50, 950, 7))])
    ra, dec = result.wcs.pixelToSky(*(grid + (2.0, 1.0)).T)
    wantedRa, wantedDec = distorted.pixelToSky(*grid.T)
    offset = np.hypot((ra - wantedRa) * np.cos(dec), dec - wantedDec) / np.radians(0.1 / 3600)
    assert offset.max() < 0.01
    assert result.wcs != distorted


def test_theTemplateOfASubtractionIsFitted():
    xy = positions(60)
    result = fitAstrometry(catalogue(xy + OFFSET), image(xy + OFFSET), catalogue(xy), order2())
    assert result.metadata["SIP_GOOD"] == 60 and result.rmsArcsec == pytest.approx(0.1 * result.rmsPixels, rel=1e-3)


def test_crowdedFieldsAreMatchedByTheOffsetTheyShare():
    """Sources as near to each other as to their partners: the nearest one is often the wrong one."""
    rng = np.random.default_rng(2)
    xy = rng.uniform(100, 300, (800, 2))
    matches = matchOnSky(WCS.pixelToSky(*xy.T), WCS.pixelToSky(*(xy + (6.0, 2.0)).T), 1.0)
    assert np.mean(matches.first == matches.second) > 0.99 and len(matches) > 780
    assert np.median(matches.distance) == pytest.approx(0.1 * np.hypot(6, 2), rel=1e-3)


def test_matchesAreUniqueAndNanMatchesNothing():
    ra, dec = WCS.pixelToSky(np.array([10.0, 11.0, 500.0]), np.array([10.0, 10.0, 500.0]))
    otherRa, otherDec = WCS.pixelToSky(np.array([10.2, 500.1]), np.array([10.0, 500.0]))
    dec = np.where([False, False, True], np.nan, dec)
    matches = matchOnSky((ra, dec), (otherRa, otherDec), 1.0)
    assert list(zip(matches.first, matches.second)) == [(0, 0)]


def test_positionsAreMatchedAcrossRightAscensionZero():
    wcs = makeTanWcs((500, 500), (0.0, 0.0), makeCdMatrix(0.1 / 3600))
    xy = positions(50)
    matches = matchOnSky(wcs.pixelToSky(*xy.T), wcs.pixelToSky(*(xy + 0.3).T), 1.0)
    assert len(matches) == 50 and np.array_equal(matches.first, matches.second)


def test_sourcesBeyondTheBoxAreLeftOut():
    xy = np.array([[3.0, 500.0], [500.0, 500.0]])
    moved = makeTanWcs((510, 500), np.radians((150.0, -30.0)), makeCdMatrix(0.1 / 3600))
    kept = RegisterTask().warpSources(catalogue(xy), moved, WCS, BOX)
    assert list(kept["id"]) == [1]
    assert kept["base_SdssCentroid_x"][0] == pytest.approx(490, abs=1e-6)


def test_residualsAreSplitByColour():
    rng = np.random.default_rng(8)
    xy = rng.uniform(20, 980, (300, 2))
    colour = np.repeat([-0.5, 0.5, 1.5], 100)
    seen = xy + np.where(colour[:, None] == 1.5, (0.1, 0.0), (0.0, 0.0))
    task = RegisterTask(config=order2())
    inputs, targets = catalogue(seen), catalogue(xy)
    task.run(inputs, WCS, BOX, targets)
    task.noteResiduals(inputs, targets, colour, 0.0, 1.0)
    blue, red = (task.metadata[f"Register{c}LongOffsetMedian"] for c in ("Blue", "Red"))
    assert abs(red - blue) == pytest.approx(0.1 * 0.1, rel=0.05)
    assert task.metadata["RegisterGreenLatOffsetStd"] < 1e-3
    task.noteResiduals(inputs, targets, np.full(300, 0.5), 0.0, 1.0)
    assert np.isnan(task.metadata["RegisterRedLongOffsetMedian"])
    assert np.isnan(task.metadata["RegisterBlueLatOffsetStd"])


def test_cataloguesWithoutPositionsAreRefused():
    bare = Table({"id": [1]})
    with pytest.raises(DomainError, match="coord_ra"):
        fitRelativeWcs(bare, WCS, BOX, catalogue(positions(5)))
    with pytest.raises(DomainError, match="slot_Centroid_x"):
        sourcePositions(bare)


@pytest.mark.parametrize("field, value", [("matchRadius", 0.0), ("sipOrder", 1), ("sipIter", 0), ("sipRej", 0.0)])
def test_impossibleSettingsAreRefused(field, value):
    with pytest.raises(ValueError, match=field):
        setattr(RegisterConfig(), field, value)


def test_aTanWcsAfterAPolynomialIsExactInItsOrder():
    coefficients = np.zeros((Polynomial2.numTerms(3), 2))
    coefficients[0], coefficients[4], coefficients[7] = (1.5, -0.5), (0.7, 0.2), (0.1, -0.3)
    correction = Polynomial2(3, (500, 500), 500, coefficients)
    new = tanSipWcs(WCS, BOX, correction)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 999, (100, 2))
    x, y = WCS.skyToPixel(*new.pixelToSky(*points.T))
    assert np.column_stack([x, y]) == pytest.approx(correction(points), abs=1e-6)
    x, y = new.skyToPixel(*WCS.pixelToSky(*correction(points).T))
    assert np.column_stack([x, y]) == pytest.approx(points, abs=1e-5)
