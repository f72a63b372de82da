"""fitBackground and subtractBackground: the settings, their fall-backs and the bookkeeping."""

import logging
from dataclasses import fields

import numpy as np
import pytest

from stillsky import _core
from stillsky.background import BackgroundList, BackgroundSettings, fitBackground, subtractBackground
from stillsky.errors import DomainError, NoDataError
from stillsky.image import Image, Mask, MaskedImage


def skyOf(shape, slope=0.01):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return 200 + slope * x - 0.5 * slope * y + 2e-6 * (x - 300.0) * (y - 200.0)


@pytest.fixture
def scene(rng):
    """Sloping sky with noise, a bright source flagged DETECTED and a dead corner flagged BAD."""
    shape = (600, 700)
    sky = skyOf(shape)
    pixels = (sky + rng.normal(0, 3, shape)).astype(np.float32)
    pixels[200:260, 300:370] += 5000
    pixels[:90, :40] = 0
    mask = Mask(np.zeros(shape, np.int32), (11, 22))
    mask.array[190:270, 290:380] |= mask.bitmask(["DETECTED"])
    mask.array[:90, :40] |= mask.bitmask(["BAD"])
    return MaskedImage(Image(pixels, (11, 22)), mask, Image(np.full(shape, 9, np.float32), (11, 22))), sky


def good(mi):
    return mi.mask.array == 0


@pytest.mark.parametrize("settings", [{}, {"useApprox": False}, {"useApprox": False, "statisticsProperty": "MEDIAN"}])
def testSkyIsSubtractedInPlace(scene, settings):
    mi, sky = scene
    before, variance, mask = mi.image.array.copy(), mi.variance.array.copy(), mi.mask.array.copy()
    result = subtractBackground(mi, binSize=64, **settings)
    model = result.background.imageArray()
    assert np.abs(model - sky)[good(mi)].max() < 2.0 and np.abs(model - sky)[good(mi)].std() < 0.2
    np.testing.assert_array_equal(mi.image.array, before - model)
    np.testing.assert_array_equal(mi.variance.array, variance)
    np.testing.assert_array_equal(mi.mask.array, mask)
    assert abs(mi.image.array[good(mi)].mean()) < 0.05
    assert result.mean == pytest.approx(model.mean(dtype=np.float64), rel=1e-6)
    assert result.variance == pytest.approx(model.var(dtype=np.float64, ddof=1), rel=1e-5)


def testSecondBackgroundIsAppended(scene):
    mi, sky = scene
    first = subtractBackground(mi, binSize=64)
    mi.image.array += 17
    second = subtractBackground(mi, first.background, binSize=200)
    assert isinstance(second.background, BackgroundList) and len(second.background) == 2
    assert second.background[0] is first.background[0] and len(first.background) == 1
    assert np.abs(second.background.imageArray() - sky - 17)[good(mi)].max() < 2


def testMetadataOfAnExposure(scene):
    from stillsky.image import Exposure

    exposure = Exposure(scene[0])
    result = subtractBackground(exposure, binSize=64)
    assert exposure.metadata["BGMEAN"] == result.mean and exposure.metadata["BGVAR"] == result.variance


def testNumberOfCells(scene):
    mi, _ = scene
    assert fitBackground(mi).values.shape == (5, 6)
    assert fitBackground(mi, binSizeX=100, binSizeY=599).values.shape == (2, 7)
    assert fitBackground(mi, binSize=10_000).values.shape == (1, 1)
    with pytest.raises(DomainError):
        fitBackground(mi, binSize=0)


def testOrderIsReducedWithAWarning(scene, caplog):
    mi, sky = scene
    with caplog.at_level(logging.WARNING):
        background = fitBackground(mi)  # 6 x 5 cells, order 6 wanted
    assert background.control.approximate.orderX == background.control.approximate.orderY == 4
    assert "using (4, 4)" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert fitBackground(mi, binSize=64).control.approximate.orderX == 6
    assert not caplog.records
    single = fitBackground(mi, binSize=1000)
    assert single.control.approximate is None and single.control.style == "CONSTANT"
    assert np.ptp(single.imageArray()) == 0


def testOrderIsReducedToTheCellsWithAValue(rng):
    image = np.full((500, 500), np.nan, np.float32)
    image[:100, :300] = rng.normal(10, 1, (100, 300))
    background = fitBackground(MaskedImage(Image(image)), binSize=100, approxOrderX=3)
    assert background.nEmpty == 22 and len(background.control.approximate.terms) == 3


def testInterpolationStyleIsReducedWithAWarning(scene, caplog):
    with caplog.at_level(logging.WARNING):
        background = fitBackground(scene[0], binSize=200, useApprox=False)
    assert background.styleUsed() == "CUBIC_SPLINE" and "CUBIC_SPLINE" in caplog.text
    with pytest.raises(DomainError):
        fitBackground(scene[0], binSize=200, useApprox=False, undersampleStyle="THROW_EXCEPTION").imageArray()


def testIgnoredPlanes(scene):
    mi, sky = scene
    seen = fitBackground(mi, binSize=60, useApprox=False, ignoredPixelMask=["BAD", "NO_SUCH_PLANE"])
    hidden = fitBackground(mi, binSize=60, useApprox=False)
    assert np.abs(seen.imageArray() - sky).max() > 1000 > 30 > np.abs(hidden.imageArray() - sky).max()


def testTooManyMaskedPixels(scene):
    mi, _ = scene
    before = mi.image.array.copy()
    mi.mask.array[:] = mi.mask.bitmask(["NO_DATA"])
    with pytest.raises(NoDataError, match="masked"):
        subtractBackground(mi)
    np.testing.assert_array_equal(mi.image.array, before)


def testNoneSubtractsNothing(scene):
    mi, _ = scene
    before = mi.image.array.copy()
    assert fitBackground(mi, algorithm="NONE") is None
    assert subtractBackground(mi, algorithm="NONE").background == []
    np.testing.assert_array_equal(mi.image.array, before)


def testUnmaskedNaNSpoilsItsCellUnlessNanSafe(scene):
    mi, sky = scene
    mi.image.array[300, 500] = np.nan
    assert fitBackground(mi, binSize=100).nEmpty == 1
    assert fitBackground(mi, binSize=100, isNanSafe=True).nEmpty == 0
    assert np.abs(fitBackground(mi, binSize=100).imageArray() - sky).max() < 2


def testOutlyingCellsAreFiltered(scene):
    mi, sky = scene
    mi.image.array[400:450, 500:550] += 300  # an unflagged source covers one cell
    plain = fitBackground(mi, binSize=50, useApprox=False).imageArray()
    filtered = fitBackground(mi, binSize=50, useApprox=False, doFilterSuperPixels=True).imageArray()
    assert np.abs(plain - sky)[405:445, 505:545].max() > 200
    assert np.abs(filtered - sky)[405:445, 505:545].max() < 3


def testFlatBackgroundRatio(rng):
    """With the ratio only the sky's own shape is left to fit."""
    shape = (400, 400)
    ratio = (1 + 0.2 * np.sin(np.arange(400) / 15)[np.newaxis, :] * np.ones((400, 1))).astype(np.float32)
    photometric = (500 / ratio + rng.normal(0, 1, shape)).astype(np.float32)
    mi = MaskedImage(Image(photometric.copy()))
    subtractBackground(mi, binSize=100, doApplyFlatBackgroundRatio=True, backgroundToPhotometricRatio=Image(ratio))
    assert np.abs(mi.image.array).mean() < 1.5
    plain = MaskedImage(Image(photometric.copy()))
    subtractBackground(plain, binSize=100)
    assert np.abs(plain.image.array).mean() > 20
    with pytest.raises(DomainError, match="Ratio"):
        subtractBackground(mi, doApplyFlatBackgroundRatio=True)


def testConfigHasTheSameFieldsAndDefaults(scene):
    pytest.importorskip("lsst.pex.config")
    from stillsky.background import SubtractBackgroundConfig

    config, settings = SubtractBackgroundConfig(), BackgroundSettings()
    assert set(config.keys()) == {f.name for f in fields(BackgroundSettings)}
    for name, value in config.items():
        assert value == getattr(settings, name) or list(value) == list(getattr(settings, name))
    config.binSize = 64
    config.useApprox = False
    ours = fitBackground(scene[0], binSize=64, useApprox=False).imageArray()
    np.testing.assert_array_equal(fitBackground(scene[0], config).imageArray(), ours)
    assert fitBackground(scene[0], config, binSize=300).values.shape == (2, 3)


def testUnknownSettingIsNamed(scene):
    with pytest.raises(TypeError, match="binsize"):
        fitBackground(scene[0], binsize=3)
    with pytest.raises(DomainError, match="SPLINE"):
        fitBackground(scene[0], algorithm="SPLINE")


@pytest.mark.parametrize("size", [1, 3, 5])
def testWindowMediansAsTheObviousWay(size):
    grid = np.random.default_rng(9).normal(size=(17, 23))
    grid[3:9, 4:10], grid[0, 0] = np.nan, 1e300
    windows = np.lib.stride_tricks.sliding_window_view(grid, (size, size)).reshape(18 - size, 24 - size, -1)
    wanted = [[np.nan if np.isnan(w).all() else np.nanmedian(w) for w in row] for row in windows]
    np.testing.assert_array_equal(_core.windowMedians(grid, size), wanted)
    with pytest.raises(DomainError, match="windows of 1 to 17"):
        _core.windowMedians(grid, 18)
