"""Per-pixel gain and noise from planted maps."""

import numpy as np
import pytest
from astropy.io import fits

from stillsky.errors import NoDataError, NumericalError, ShapeError
from stillsky.geom import Box2I
from stillsky.ptc import pixelMaps
from stillsky.ptc.flat_reader import RowFrame

SHAPE = (60, 80)


def planted(rng):
    """Gain (e/count) rising along x, noise (e) along y."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    gain = 0.8 + 0.4 * x / (SHAPE[1] - 1)
    noise = 3.0 + 4.0 * y / (SHAPE[0] - 1)
    return gain, noise


def frames(rng, gain, noise, level, n, drift=0.01, pedestal=0.0):
    """Readings in counts at ``level`` electrons; the lamp changes from frame to frame."""
    out = []
    for _ in range(n):
        light = level * (1.0 + drift * rng.standard_normal())
        electrons = rng.poisson(light, gain.shape) + noise * rng.standard_normal(gain.shape)
        out.append((electrons / gain + pedestal).astype(np.float32))
    return out


@pytest.fixture
def ramp(rng):
    gain, noise = planted(rng)
    levels = [frames(rng, gain, noise, e, 40) for e in (0.0, 500.0, 2000.0, 8000.0)]
    return gain, noise, levels


def pulls(values, errors, truth):
    good = np.isfinite(values)
    return ((values - truth) / errors)[good]


def test_pixelMaps_plantedGainAndNoiseAreFound(ramp):
    gain, noise, levels = ramp
    maps = pixelMaps(levels, bias=np.zeros(SHAPE))
    assert np.isfinite(maps.gain).all() and (maps.levelCount == 4).all()
    # columns share a gain, rows a noise: their means have small errors
    error = np.sqrt((maps.gainErr**2).mean(axis=0) / SHAPE[0])
    assert np.all(np.abs(maps.gain.mean(axis=0) - gain[0]) < 5 * error)
    assert abs(np.mean(maps.gain / gain) - 1) < 0.01
    assert np.mean(np.isfinite(maps.noise)) > 0.99
    assert abs(np.nanmedian(maps.noise / noise) - 1) < 0.03
    assert abs(np.std(pulls(maps.gain, maps.gainErr, gain)) - 1) < 0.15
    assert abs(np.std(pulls(maps.noise, maps.noiseErr, noise)) - 1) < 0.2
    assert abs(np.nanmean(maps.chi2Dof) - 1) < 0.1
    summary = maps.summary()
    # the median of a skew distribution: 2/3 of (16 %)^2 below the truth
    assert summary["gainMedian"] == pytest.approx(np.median(gain), rel=0.03)
    assert summary["gainTypical"] == pytest.approx(np.median(gain), rel=0.01)
    assert summary["noiseMedian"] == pytest.approx(np.median(noise), rel=0.05)
    assert summary["noiseRms"] == pytest.approx(np.sqrt(np.mean(noise**2)), rel=0.1)
    assert summary["gainMissing"] == 0.0 and summary["levels"] == 4


def test_pixelMaps_bandsDoNotChangeTheMaps(ramp):
    _, _, levels = ramp
    whole = pixelMaps(levels, bias=np.zeros(SHAPE))
    bands = pixelMaps(levels, bias=np.zeros(SHAPE), memory=4 * 40 * SHAPE[1] * 7)
    for name in ("gain", "gainErr", "noise", "noiseErr", "chi2Dof", "levelCount"):
        np.testing.assert_array_equal(getattr(bands, name), getattr(whole, name))
    assert bands.noisyFraction == whole.noisyFraction


def test_pixelMaps_readsRowsNotFrames(rng):
    """A frame is asked for bands of rows within the memory given, never as a whole."""
    gain, noise = planted(rng)
    largest = []

    class Rows:
        def __init__(self, array):
            self._array, self.shape = array, array.shape

        def __getitem__(self, rows):
            part = self._array[rows]
            largest.append(part.shape[0])
            return part

    levels = [[Rows(f) for f in frames(rng, gain, noise, e, 20)] for e in (200.0, 1000.0, 4000.0)]
    pixelMaps(levels, bias=np.zeros(SHAPE), memory=4 * 20 * SHAPE[1] * 10)
    assert max(largest) == 10


def test_pixelMaps_lampDriftDoesNotCount(rng):
    """5 % of drift at 8000 e would be a variance of 160000 instead of 8000."""
    gain, noise = planted(rng)
    levels = [frames(rng, gain, noise, e, 40, drift=0.05) for e in (500.0, 2000.0, 8000.0)]
    maps = pixelMaps(levels, bias=np.zeros(SHAPE))
    assert abs(np.mean(maps.gain / gain) - 1) < 0.01


def test_pixelMaps_biasIsSubtracted(rng):
    gain, noise = planted(rng)
    bias = 300.0 + 5.0 * rng.standard_normal(SHAPE)
    levels = [frames(rng, gain, noise, e, 40, pedestal=bias) for e in (0.0, 500.0, 4000.0)]
    maps = pixelMaps(levels, bias=bias)
    assert abs(np.mean(maps.gain / gain) - 1) < 0.015
    assert abs(np.nanmedian(maps.noise / noise) - 1) < 0.04


def test_pixelMaps_unknownPedestalLeavesGainAndNoNoise(rng):
    gain, noise = planted(rng)
    levels = [frames(rng, gain, noise, e, 40, pedestal=300.0) for e in (500.0, 2000.0, 8000.0)]
    maps = pixelMaps(levels)
    assert abs(np.mean(maps.gain / gain) - 1) < 0.015
    assert np.isnan(maps.noise).all() and np.isnan(maps.noiseErr).all()
    assert maps.summary()["noiseMissing"] == 1.0 and np.isnan(maps.summary()["noiseMedian"])


def test_pixelMaps_cosmicRaysAreLeftOut(ramp, rng):
    gain, _, levels = ramp
    clean = pixelMaps(levels, bias=np.zeros(SHAPE))
    hit = rng.random(SHAPE) < 0.2
    levels[2][5][hit] += 3000.0
    maps = pixelMaps(levels, bias=np.zeros(SHAPE))
    np.testing.assert_allclose(np.mean(maps.gain[hit] / gain[hit]), np.mean(clean.gain[hit] / gain[hit]), atol=0.005)
    assert abs(np.mean(maps.gain[~hit] / clean.gain[~hit]) - 1) < 1e-4


def test_pixelMaps_maskedNanAndDeadPixelsAreNan(ramp):
    _, _, levels = ramp
    before = pixelMaps(levels, bias=np.zeros(SHAPE))
    mask = np.zeros(SHAPE, bool)
    mask[10, 10:20] = True
    for level in levels:
        for frame in level:
            frame[10, 10:20] = np.nan  # under the mask
            frame[20, 30] = np.nan  # not under it
            frame[40, 50] = 7.0  # dead: never changes
    maps = pixelMaps(levels, bias=np.zeros(SHAPE), mask=mask)
    bad = mask.copy()
    bad[20, 30] = bad[40, 50] = True
    np.testing.assert_array_equal(np.isnan(maps.gain), bad)
    assert np.isnan(maps.noise[bad]).all() and (maps.levelCount[mask] == 0).all()
    np.testing.assert_allclose(maps.gain[~bad], before.gain[~bad], rtol=1e-3)


def test_pixelMaps_saturatedLevelsAreNotUsed(rng):
    gain, noise = planted(rng)
    levels = [frames(rng, gain, noise, e, 20) for e in (200.0, 1000.0, 3000.0, 9000.0)]
    for frame in levels[3]:
        np.minimum(frame, 9000.0, out=frame)
    maps = pixelMaps(levels, bias=np.zeros(SHAPE), saturation=9000.0)
    clipped = gain < 0.95
    assert (maps.levelCount[clipped] == 3).all() and (maps.levelCount[gain > 1.1] == 4).all()
    assert abs(np.mean(maps.gain[clipped] / gain[clipped]) - 1) < 0.02


def test_pixelMaps_noisyPixelsAreCounted(rng):
    gain, noise = planted(rng)
    noise = np.where(rng.random(SHAPE) < 0.05, 60.0, 4.0)
    levels = [frames(rng, gain, noise, e, 30) for e in (0.0, 500.0, 2000.0)]
    maps = pixelMaps(levels, bias=np.zeros(SHAPE))
    assert maps.noisyFraction == pytest.approx(np.mean(noise > 10), abs=0.002)
    assert np.nanmedian(maps.noise[noise > 10]) == pytest.approx(60.0, rel=0.1)


def test_pixelMaps_needsThreeLevelsOfTwentyFrames(ramp):
    _, _, levels = ramp
    with pytest.raises(NoDataError, match="too few light levels") as caught:
        pixelMaps([levels[0], levels[1], levels[2][:19]])
    assert "[19, 40, 40]" in caught.value.found and "3 of 20" in caught.value.found
    maps = pixelMaps([levels[0], levels[1], levels[2][:19], levels[3]])
    assert [level["used"] for level in maps.levels] == [True, True, False, True]
    assert np.isnan(maps.levels[2]["mean"]) and maps.levels[3]["mean"] > 6000


def test_pixelMaps_levelsMustDiffer(ramp, rng):
    gain, noise, levels = ramp
    with pytest.raises(NumericalError, match="does not rise"):
        pixelMaps([[f + 9000 * k for f in frames(rng, gain, noise * (3 - k), 0.0, 20)] for k in range(3)])
    constant = [[np.full(SHAPE, 5.0, np.float32)] * 20] * 3
    with pytest.raises(NoDataError, match="do not differ"):
        pixelMaps(constant)
    with pytest.raises(NoDataError, match="do not differ"):
        pixelMaps(levels, mask=np.ones(SHAPE, bool))


def test_pixelMaps_shapesMustAgree(ramp):
    _, _, levels = ramp
    with pytest.raises(ShapeError, match="bias"):
        pixelMaps(levels, bias=np.zeros((3, 3)))
    levels[1][7] = levels[1][7][:-1]
    with pytest.raises(ShapeError, match="level 1"):
        pixelMaps(levels)


def test_pixelMaps_reportsProgress(ramp):
    _, _, levels = ramp
    seen = []

    def progress(iterable, desc="", total=None):
        for item in iterable:
            seen.append((desc, total))
            yield item

    pixelMaps(levels, memory=4 * 40 * SHAPE[1] * 20, progress=progress)
    assert seen == [("pixels", 3)] * 3


def test_pixelMaps_framesWithoutLightTellTheNoise(rng):
    """Ten of them: the noise is measured where the flats alone leave half of the pixels without one."""
    gain, noise = planted(rng)
    levels = [frames(rng, gain, noise, e, 20) for e in (500.0, 2000.0, 8000.0)]
    zero = frames(rng, gain, noise, 0.0, 10)
    alone, helped = pixelMaps(levels, bias=np.zeros(SHAPE)), pixelMaps(levels, zero=zero, bias=np.zeros(SHAPE))
    assert np.isnan(alone.noise).mean() > 0.3 and np.isnan(helped.noise).mean() < 0.01
    assert abs(np.nanmean(helped.noise / noise) - 1) < 0.05
    assert abs(np.mean(helped.gain / gain) - 1) < 0.015 and np.mean(helped.gainErr) < np.mean(alone.gainErr)
    assert [level["frames"] for level in helped.levels] == [10, 20, 20, 20]
    two = pixelMaps(levels, zero=zero[:2], bias=np.zeros(SHAPE))
    np.testing.assert_array_equal(two.gain, alone.gain)
    with pytest.raises(ShapeError):
        pixelMaps(levels, zero=[f[:-1] for f in zero])


def test_rowFrame_givesSlicesAndSingleRows(tmp_path, rng):
    pixels = rng.integers(0, 60000, (30, 20)).astype(np.uint16)
    fits.PrimaryHDU(pixels).writeto(tmp_path / "frame.fits")
    for box, part in ((None, np.s_[:, :]), (Box2I((3, 5), (10, 20)), np.s_[5:25, 3:13])):
        frame = RowFrame(tmp_path / "frame.fits", box=box)
        wanted = pixels[part].astype(np.float32)
        assert frame.shape == wanted.shape
        np.testing.assert_array_equal(frame[4:9], wanted[4:9])
        np.testing.assert_array_equal(frame.readRows([0, 7, 19]), wanted[[0, 7, 19]])
        assert frame.readRows([2]).dtype == np.float32
