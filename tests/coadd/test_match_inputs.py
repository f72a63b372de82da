"""Flux scale and sky of plain inputs; their common grid."""

from types import SimpleNamespace

import numpy as np
import pytest

from stillsky.coadd.common_grid import commonGrid, onSameGrid, toGrid
from stillsky.coadd.match_inputs import InputMeasure, InputScaler, matchInputs, measureInput
from stillsky.diffim.config import StarConfig
from stillsky.errors import MismatchError
from stillsky.geom import Box2I
from stillsky.image import Image, MaskedImage, makeExposure
from stillsky.wcs import makeTanWcs

SCALE = 0.3 / 3600


def _wcs(x=100.0, y=100.0, angle=0.0, scale=SCALE):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return makeTanWcs((x, y), (2.6, 0.1), scale * np.array([[-c, s], [s, c]]))


def _image(rng, wcs, factor=1.0, sky=100.0, sigma=1.8, n=160, stars=None):
    """Gaussian stars at sky positions, on a grid."""
    y, x = np.mgrid[0.0:n, 0.0:n]
    pixels = np.full((n, n), sky)
    for ra, dec, flux in stars:
        sx, sy = wcs.skyToPixel(ra, dec)
        pixels += factor * flux * np.exp(-0.5 * ((x - sx) ** 2 + (y - sy) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    noise = 2.0 * factor
    return makeExposure((pixels + rng.normal(0, noise, (n, n))).astype(np.float32), variance=noise**2, wcs=wcs)


@pytest.fixture(scope="module")
def sky():
    rng = np.random.default_rng(5)
    home = _wcs()
    x, y = (g.ravel() + rng.uniform(-3, 3, 36) for g in np.meshgrid(np.arange(6) * 26 + 15.0, np.arange(6) * 26 + 15.0))
    ra, dec = home.pixelToSky(x, y)
    return list(zip(ra, dec, rng.uniform(2000, 20000, 36)))


def test_scaleAndSkyAreRecoveredThroughAnotherSeeingAndGrid(sky):
    rng = np.random.default_rng(6)
    first = _image(rng, _wcs(), 1.0, 100.0, 1.8, stars=sky)
    second = _image(rng, _wcs(104.0, 97.0, 10.0), 0.8, 250.0, 2.4, stars=sky)
    measures = [measureInput(e, StarConfig()) for e in (first, second)]
    one, two = matchInputs(measures)
    assert (one.scale, one.offset, one.source) == (1.0, 0.0, "reference")
    assert two.source == "stars" and two.nStars >= 15
    assert abs(two.scale - 1.25) < max(0.01, 3 * two.scaleErr)
    assert two.offset == pytest.approx(100.0 - 1.25 * 250.0, abs=4.0)
    # the scaler does what the match says, and the variance goes with the square
    part = MaskedImage(Image(second.image.array.copy()), variance=Image(second.variance.array.copy()))
    InputScaler(two.scale, two.offset).scaleMaskedImage(part)
    np.testing.assert_allclose(part.image.array, second.image.array * two.scale + two.offset, rtol=1e-5)
    np.testing.assert_allclose(part.variance.array, second.variance.array * two.scale**2, rtol=1e-5)
    assert np.median(part.image.array) == pytest.approx(np.median(first.image.array), abs=1.0)


def _catalogue(place, flux, time=30.0, level=10.0):
    x, y = (np.asarray(v, float) for v in np.array(place, float).T.reshape(2, -1))
    flux = np.asarray(flux, float)
    return InputMeasure(level, 1.0, 3.0, x, y, flux, 0.01 * flux, None, time)


def test_inputsThatDoNotTouchTheReferenceAreReachedThroughOthers():
    place = np.column_stack([np.arange(12) * 20.0, np.arange(12) % 3 * 30.0])
    flux = np.linspace(1000, 5000, 12)
    left, bridge = _catalogue(place[:5], flux[:5]), _catalogue(place[2:10], 2.0 * flux[2:10])
    right, alone = _catalogue(place[6:], 4.0 * flux[6:]), _catalogue(place + 500.0, flux, time=60.0)
    found = matchInputs([left, right, bridge, alone])
    assert [m.source for m in found] == ["reference", "stars", "stars", "exposure times"]
    np.testing.assert_allclose([m.scale for m in found], [1.0, 0.25, 0.5, 0.5], rtol=1e-12)
    assert np.isnan(found[3].scaleErr)
    nothing = matchInputs([left, alone], mode="none")
    assert {(m.scale, m.offset, m.source) for m in nothing} == {(1.0, 0.0, "none")}
    assert matchInputs([left, alone], mode="sky")[1].scale == 1.0


def test_oneVariableStarDoesNotMoveTheScale():
    place = np.column_stack([np.arange(10) * 20.0, np.arange(10) % 3 * 30.0])
    flux = np.linspace(1000, 5000, 10)
    changed = flux.copy()
    changed[4] *= 8.0
    match = matchInputs([_catalogue(place, flux), _catalogue(place, changed)])[1]
    assert match.scale == pytest.approx(1.0, abs=1e-9) and match.nStars == 9


def test_resampledSkyIsScaledWithTheAreaOfPixels():
    place, flux = [[0.0, 0.0], [40.0, 9.0], [80.0, 30.0]], [1000.0, 2000.0, 3000.0]
    match = matchInputs([_catalogue(place, flux, level=10.0), _catalogue(place, flux, level=7.0)], areas=[1.0, 4.0])[1]
    assert match.offset == pytest.approx(10.0 - 28.0)


def _frame(name, wcs, size=(160, 160), corner=(0, 0)):
    return SimpleNamespace(name=name, wcs=wcs, bbox=Box2I(corner, size))


def test_oneGridStaysAndOthersGetATangentPlaneNorthUp():
    same = commonGrid([_frame("a", _wcs()), _frame("b", _wcs(100.005))])
    assert same.bbox == Box2I((0, 0), (160, 160)) and same.wcs == _wcs()
    bare = commonGrid([_frame("a", None), _frame("b", None)])
    assert bare.wcs is None and onSameGrid(bare, _frame("c", None))
    frames = [_frame("a", _wcs(angle=40.0)), _frame("b", _wcs(60.0, 140.0, -20.0))]
    grid = commonGrid(frames)
    cd = grid.wcs.cdMatrix
    assert cd[0, 0] < 0 < cd[1, 1] and np.allclose(cd[[0, 1], [1, 0]], 0.0)
    assert np.degrees(grid.wcs.pixelScale(*grid.bbox.center)) == pytest.approx(SCALE, rel=1e-4)
    for frame in frames:  # every corner is inside
        corners = [(f(frame.bbox)) for f in (lambda b: b.minX, lambda b: b.maxX)]
        x, y = grid.wcs.skyToPixel(*frame.wcs.pixelToSky(np.array([*corners, *corners], float),
                                                         np.array([0.0, 0.0, 159.0, 159.0])))  # fmt: skip
        assert (
            x.min() >= -0.5 and y.min() >= -0.5 and x.max() <= grid.bbox.maxX + 0.5 and y.max() <= grid.bbox.maxY + 0.5
        )
    assert commonGrid(frames, _frame("r", _wcs(), (50, 60))).bbox.dimensions == (50, 60)


def test_inputsOfDifferentPartsOfTheSkyAreRefused():
    far = makeTanWcs((80, 80), (2.6, 0.5), [[-SCALE, 0], [0, SCALE]])
    with pytest.raises(MismatchError, match="mostly empty"):
        commonGrid([_frame("a", _wcs()), _frame("b", far)])
    opposite = makeTanWcs((80, 80), (2.6 + np.pi, -0.1), [[-SCALE, 0], [0, SCALE]])
    with pytest.raises(MismatchError, match="different parts of the sky"):
        commonGrid([_frame("a", _wcs()), _frame("b", opposite)])
    with pytest.raises(MismatchError, match="no WCS"):
        commonGrid([_frame("a", _wcs()), _frame("b", None, (90, 90))])


def test_whole_pixelsAreCutAndOthersResampled(sky):
    rng = np.random.default_rng(7)
    grid = commonGrid([_frame("a", _wcs())])
    exposure = _image(rng, _wcs(107.0, 95.0), stars=sky)
    moved, how = toGrid(exposure, grid)
    assert how == "whole pixels" and grid.bbox.contains(moved.bbox) and moved.bbox.dimensions == (153, 155)
    np.testing.assert_array_equal(moved.image.array, exposure.image.array[:155, 7:])
    assert moved.bbox.min == (0, 5)
    turned, how = toGrid(_image(rng, _wcs(angle=5.0), stars=sky), grid)
    assert how == "resampled" and grid.bbox.contains(turned.bbox)
    with pytest.raises(MismatchError, match="no overlap"):
        toGrid(_image(rng, _wcs(-400.0), stars=sky), grid)
    with pytest.raises(MismatchError, match="no WCS"):
        toGrid(makeExposure(np.ones((40, 50), np.float32), variance=1.0), grid)
