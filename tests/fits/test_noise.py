"""What a file does not say: variance, saturation (user experience 2.3, A11, A12)."""

import math

import numpy as np
import pytest
from astropy.io import fits

import stillsky
from stillsky.fits import readExposure
from stillsky.fits.noise import SkyLevel, findPlateau, gainCandidates, measureSky, modelVariance

GAIN, READ_NOISE = 2.5, 8.0


def _scene(rng, sky=600.0, shape=(256, 320), stars=40):
    """Image with the noise of its photons and read-out, and the true variance."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    truth = np.full(shape, sky)
    for _ in range(stars):
        x0, y0, flux = rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), 10 ** rng.uniform(2.5, 5)
        truth += flux / (2 * np.pi * 4) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8)
    variance = truth / GAIN + (READ_NOISE / GAIN) ** 2
    return (truth + rng.normal(size=shape) * np.sqrt(variance)).astype(np.float32), variance


def _write(path, pixels, **cards):
    fits.PrimaryHDU(pixels, fits.Header(list(cards.items()))).writeto(path)
    return path


def _skyChi(exposure, sky):
    """Robust sigma of (image - sky)/sqrt(variance) over pixels near the sky."""
    chi = (exposure.image.array - sky) / np.sqrt(exposure.variance.array)
    chi = chi[np.abs(chi) < 4]
    return 1.4826 * np.median(np.abs(chi - np.median(chi)))


def _codes(provenance):
    return [s.split(":")[0] for s in provenance if s.startswith("W-")]


def testGradientAndStarsDoNotMoveTheSky(rng):
    pixels, _ = _scene(rng)
    pixels += np.linspace(0, 300, pixels.shape[1], dtype=np.float32)
    sky = measureSky(pixels)
    assert sky.sigma == pytest.approx(math.sqrt(600 / GAIN + (READ_NOISE / GAIN) ** 2), rel=0.1)
    flat = measureSky(rng.normal(50, 7, (512, 512)))
    assert flat.sigma == pytest.approx(7, rel=0.01) and flat.median == pytest.approx(50, abs=0.1)
    assert math.isnan(measureSky(np.full((5, 5), np.nan)).sigma)


def testModelledVarianceIsTheTrueOne(tmp_path, rng):
    pixels, variance = _scene(rng)
    exposure, provenance = readExposure(_write(tmp_path / "i.fits", pixels, GAIN=GAIN, RDNOISE=READ_NOISE))
    want = np.maximum(pixels, 0) / GAIN + (READ_NOISE / GAIN) ** 2
    np.testing.assert_allclose(exposure.variance.array, want, rtol=1e-6)
    assert _codes(provenance) == ["W-NOVAR"] and "VARIANCE_EMPIRICAL" not in exposure.metadata
    assert "gain 2.5 e-/count (GAIN), read noise 8 e- (RDNOISE)" in provenance[-1]


def testImageOnlyCutout(tmp_path, rng):
    pixels, _ = _scene(rng)
    exposure, provenance = readExposure(_write(tmp_path / "i.fits", pixels))
    assert _codes(provenance) == ["W-NOVAR"] and exposure.metadata["VARIANCE_EMPIRICAL"] is True
    assert np.unique(exposure.variance.array).size == 1
    assert 0.9 <= _skyChi(exposure, 600) <= 1.1


def testGainOfAnImageScaledToUnity(tmp_path, rng):
    pixels, variance = _scene(rng)
    scale = float(pixels.max())
    path = _write(tmp_path / "i.fits", pixels / np.float32(scale), GAIN=250.0, RDNOISE=READ_NOISE)
    exposure, provenance = readExposure(path)
    assert sorted(_codes(provenance)) == ["W-GAIN", "W-NOVAR"]
    sentence = next(s for s in provenance if s.startswith("W-GAIN"))
    assert "gain 250" in sentence and "predicts a sky variance of" in sentence and "measured" in sentence
    ratio = exposure.variance.array * scale**2 / variance
    assert 0.9 <= np.median(ratio) <= 1.1 and 0.7 <= ratio[variance > 2 * np.median(variance)].mean() <= 1.3
    assert 0.9 <= _skyChi(exposure, 600 / scale) <= 1.1
    # the same objects stand out as in the image that was not scaled
    plain, _ = readExposure(_write(tmp_path / "j.fits", pixels, GAIN=GAIN, RDNOISE=READ_NOISE))
    counts = [
        np.count_nonzero((e.image.array - s) / np.sqrt(e.variance.array) > 5)
        for e, s in ((exposure, 600 / scale), (plain, 600))
    ]
    assert abs(counts[0] - counts[1]) <= 0.03 * counts[1]


def testSubtractedSkyKeepsAFloor(tmp_path, rng):
    pixels, variance = _scene(rng)
    path = _write(tmp_path / "i.fits", pixels - np.float32(600), GAIN=GAIN, RDNOISE=READ_NOISE)
    exposure, provenance = readExposure(path)
    assert _codes(provenance) == ["W-GAIN", "W-NOVAR"]
    ratio = exposure.variance.array / variance
    assert 0.9 <= np.median(ratio) <= 1.15 and 0.9 <= ratio[variance > 2 * np.median(variance)].mean() <= 1.1
    told, provenance = readExposure(path, skyLevel=600.0)
    assert _codes(provenance) == ["W-NOVAR"]
    np.testing.assert_allclose(told.variance.array, np.maximum(pixels, 0) / GAIN + (READ_NOISE / GAIN) ** 2, rtol=1e-4)


def testPedestalIsNoLight(tmp_path, rng):
    pixels, _ = _scene(rng)
    path = _write(tmp_path / "i.fits", pixels + np.float32(5000), GAIN=GAIN, RDNOISE=READ_NOISE, PEDESTAL=-5000)
    exposure, provenance = readExposure(path)
    assert _codes(provenance) == ["W-NOVAR"]
    np.testing.assert_allclose(
        exposure.variance.array, np.maximum(pixels, 0) / GAIN + (READ_NOISE / GAIN) ** 2, rtol=1e-4
    )


def testGainKeys():
    assert gainCandidates({"GAIN": "1.28"}) == [(1.28, "GAIN")]
    assert gainCandidates({"GAINA": 4.0, "GAINB": 5.0}) == [(4.5, "GAINA/GAINB")]
    assert gainCandidates({"GAIN": 0.0, "EGAIN": -1.0, "CCDGAIN": "none"}) == []
    assert [g[1] for g in gainCandidates({"EGAIN": 0.25, "GAIN": 100})] == ["GAIN", "EGAIN"]


def testCameraSettingIsNotTheGain(tmp_path, rng):
    """Amateur cameras write a setting in GAIN and electrons per count in EGAIN: the sky tells which is right."""
    pixels, _ = _scene(rng)
    _, provenance = readExposure(_write(tmp_path / "i.fits", pixels, GAIN=120, EGAIN=GAIN, RDNOISE=READ_NOISE))
    assert _codes(provenance) == ["W-NOVAR"] and "(EGAIN)" in provenance[-1]


def testExplicitChoicesWin(tmp_path, rng):
    pixels, _ = _scene(rng)
    path = _write(tmp_path / "i.fits", pixels, GAIN=99.0, RDNOISE=1.0, SATURATE=1e6)
    exposure, provenance = readExposure(path, gain=GAIN, readNoise=READ_NOISE, saturation=1000.0)
    want = np.maximum(pixels, 0) / GAIN + (READ_NOISE / GAIN) ** 2
    np.testing.assert_allclose(exposure.variance.array, want, rtol=1e-6)
    np.testing.assert_array_equal(exposure.mask.isSet("SAT"), pixels >= 1000)
    assert any("saturation: 1000 (given)" in s for s in provenance)
    empirical, _ = readExposure(path, variance="empirical")
    assert np.unique(empirical.variance.array).size == 1 and empirical.metadata["VARIANCE_EMPIRICAL"] is True
    zero, provenance = readExposure(path, variance="zero")
    assert not zero.variance.array.any() and "W-NOVAR" in _codes(provenance)
    for bad in (dict(gain=0.0), dict(readNoise=-1.0), dict(saturation=math.nan), dict(variance="best")):
        with pytest.raises(stillsky.DomainError, match=next(iter(bad))):
            readExposure(path, **bad)
    with pytest.raises(TypeError, match="gane"):
        readExposure(path, gane=2)
    with pytest.raises(stillsky.DomainError, match="kind"):
        readExposure(path, kind="jpeg")


@pytest.mark.parametrize(
    "cards, source", [({"SATURATE": 900.0}, "header SATURATE"), ({"SATLEVEL": 900}, "header SATLEVEL")]
)
def testSaturationFromTheHeader(tmp_path, rng, cards, source):
    pixels, _ = _scene(rng)
    exposure, provenance = readExposure(_write(tmp_path / "i.fits", pixels, **cards))
    np.testing.assert_array_equal(exposure.mask.isSet("SAT"), pixels >= 900)
    n = np.count_nonzero(pixels >= 900)
    assert f"saturation: 900 ({source}), {n} pixels" in provenance


def testSaturationFromAPlateau(tmp_path, rng):
    pixels, _ = _scene(rng)
    clipped = np.minimum(pixels, np.float32(np.sort(pixels.ravel())[-40]))
    exposure, provenance = readExposure(_write(tmp_path / "i.fits", clipped))
    assert any("measured plateau" in s for s in provenance)
    saturated = exposure.mask.isSet("SAT")
    assert saturated[clipped == clipped.max()].all() and saturated.sum() < 60
    unclipped, provenance = readExposure(_write(tmp_path / "j.fits", pixels))
    assert any("no plateau" in s for s in provenance) and not unclipped.mask.isSet("SAT").any()


def testNoPlateauInFlatsAndConstants(rng):
    flat = rng.normal(20000, 140, (200, 200))
    assert findPlateau(flat, measureSky(flat)) is None
    constant = np.full((50, 50), 7.0)
    assert findPlateau(constant, measureSky(constant)) is None
    assert findPlateau(np.full((5, 5), np.nan), SkyLevel(math.nan, math.nan)) is None


def testBlankPixelsWithoutMask(tmp_path, rng):
    pixels, _ = _scene(rng)
    pixels[10:20, 30:35] = np.nan
    pixels[0, 0] = np.inf
    exposure, provenance = readExposure(_write(tmp_path / "i.fits", pixels, GAIN=GAIN, RDNOISE=READ_NOISE))
    where = ~np.isfinite(pixels)
    np.testing.assert_array_equal(exposure.mask.isSet("NO_DATA"), where)
    assert np.isnan(exposure.image.array[where]).all() and (exposure.variance.array[where] == np.inf).all()
    assert np.isfinite(exposure.variance.array[~where]).all()
    assert any("51 pixels that are not finite are NO_DATA" in s for s in provenance)


def testConstantAndEmptyImages(tmp_path):
    constant, provenance = readExposure(_write(tmp_path / "c.fits", np.full((40, 40), 5, np.int16)))
    assert not constant.variance.array.any() and "W-NOVAR" in _codes(provenance)
    steps = np.full((64, 64), 5, np.int16)
    steps[3, 3] = 7
    rounded, _ = readExposure(_write(tmp_path / "s.fits", steps))
    np.testing.assert_allclose(rounded.variance.array, 4 / 12)
    empty, _ = readExposure(_write(tmp_path / "n.fits", np.full((9, 9), np.nan, np.float32)))
    assert empty.mask.isSet("NO_DATA").all() and (empty.variance.array == np.inf).all()
    single, _ = readExposure(_write(tmp_path / "p.fits", np.ones((1, 1), np.float32)))
    assert single.width == 1


def testModelNeverGivesZeroOrNegativeVariance(rng):
    image = rng.normal(0, 5, (64, 64)).astype(np.float32)
    for gains in ([(0.1, "x")], [(1.0, "x")], [(50.0, "x")], []):
        for noise in (None, (5.0, "x")):
            for level in (0.0, 25.0, 400.0, -30.0):
                shifted = image + np.float32(level)
                model = modelVariance(shifted, measureSky(shifted), gains, noise)
                assert (model.variance > 0).all() and model.variance.dtype == np.float32
                assert model.sentence.startswith("variance: ")
