"""Planted sources on white noise, whose efficiency has a closed form, and on images with defects."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from scipy import special

from stillsky.diffim.detect_measure import detectAndMeasure
from stillsky.diffim.injection import efficiencyCurve, measureEfficiency, plantSources
from stillsky.diffim.injection_config import InjectionConfig
from stillsky.errors import NoDataError
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf

PSF = GaussianPsf(25, 25, 1.7)
NOISE = 3.0


def _blank(rng, size=448):
    pixels = rng.normal(0, NOISE, (size, size)).astype(np.float32)
    return makeExposure(pixels, variance=np.full(pixels.shape, NOISE**2, np.float32), psf=PSF)


def _config(**values):
    config = InjectionConfig()
    config.update(**values)
    return config


def _rerun(planted):
    """Detection on the image itself: the difference from a template that is zero."""
    difference = planted.copy()
    difference.psf = PSF
    template = makeExposure(np.zeros_like(planted.image.array), psf=PSF)
    return detectAndMeasure(planted, template, difference)


@pytest.fixture(scope="module")
def efficiency():
    blank = _blank(np.random.default_rng(5))
    before = blank.image.array.copy()
    config = _config(n=250)
    delivered = _rerun(blank)  # its mask says where detection has an edge
    result = measureEfficiency(blank, PSF, delivered.difference, delivered.sources, _rerun, config)
    np.testing.assert_array_equal(blank.image.array, before)
    return result


def test_completenessFollowsTheNoise(efficiency):
    """At threshold 5 half of the sources of ratio 5 are found, and the curve is as wide as the noise."""
    found = efficiency.metadata
    assert found["n"] == 250 and found["n7"] > 100
    assert found["completeness7"] >= 0.98
    assert abs(found["signalToNoise50"] - 5.0) < 0.4 and 0.5 < found["width"] < 1.8
    assert found["signalToNoise90"] > found["signalToNoise50"]
    rows = efficiency.injected
    expected = special.ndtr(rows["signalToNoise"] - 5.0)
    error = np.sqrt(np.sum(expected * (1 - expected)))
    # a detection takes the highest of some pixels: up to half a standard deviation easier than at a fixed place
    assert -3 * error < np.count_nonzero(rows["detected"]) - expected.sum() < 3 * error + 0.2 * 60


def test_fluxesAreRecovered(efficiency):
    found, rows = efficiency.metadata, efficiency.injected
    assert abs(found["fluxBias"]) < 3 * found["fluxBiasErr"] and found["fluxBiasErr"] < 0.02
    assert abs(found["fluxPullMean"]) < 4 / np.sqrt(250) and abs(found["fluxPullSigma"] - 1) < 4 * 1.17 / np.sqrt(500)
    bright = rows["found"] & (rows["signalToNoise"] > 10)
    pulls = (rows["measuredFlux"] - rows["flux"])[bright] / rows["measuredFluxErr"][bright]
    assert abs(np.mean(pulls)) < 4 / np.sqrt(len(pulls)) + 0.1
    assert np.all(rows["distance"][bright] < 1.0)


def test_drawIsLogUniformAndSeparate(efficiency):
    rows = efficiency.injected
    logs = np.log(np.asarray(rows["signalToNoise"]))
    assert np.exp(logs.min()) >= 3 and np.exp(logs.max()) <= 30
    assert abs(np.mean(logs) - np.log(90) / 2) < 4 * np.log(10) / np.sqrt(12 * 250)
    fwhm = PSF.fwhm()
    for number in np.unique(rows["passNumber"]):
        x, y = (np.asarray(rows[c][rows["passNumber"] == number]) for c in "xy")
        distances = np.hypot(x[:, None] - x, y[:, None] - y)[np.triu_indices(len(x), 1)]
        assert distances.min() >= 6 * fwhm
    np.testing.assert_allclose(rows["flux"] / rows["signalToNoise"], NOISE * np.sqrt(4 * np.pi * 1.7**2), rtol=0.02)


def test_curveCountsEverySource(efficiency):
    curve, rows = efficiency.efficiency, efficiency.injected
    assert curve["n"].sum() == 250 and curve["nFound"].sum() == np.count_nonzero(rows["found"])
    assert len(curve) == 54 and curve["low"][0] == 3.0 and curve["high"][-1] == 30.0
    some = curve["n"] > 0
    assert np.isnan(curve["completeness"][~some]).all()
    for low, middle, high in zip(*(curve[n][some] for n in ("completenessLow", "completeness", "completenessHigh"))):
        assert 0 <= low <= middle <= high <= 1


def test_sameSeedSameSources(rng):
    blank = _blank(rng, 150)
    runs = [measureEfficiency(blank, PSF, blank, None, _rerun, _config(n=5, seed=s)) for s in (3, 3, 4)]
    assert all(np.array_equal(runs[0].injected[n], runs[1].injected[n], equal_nan=True) for n in ("x", "flux", "found"))
    assert not np.array_equal(runs[0].injected["x"], runs[2].injected["x"])


def test_maskedPixelsAndOtherSourcesAreAvoided(rng):
    blank = _blank(rng, 300)
    blank.mask.addPlane("BAD")
    blank.mask.array[:, :150] |= 1 << blank.mask.bit("BAD")
    there = Table({"base_SdssCentroid_x": [220.0], "base_SdssCentroid_y": [150.0], "sky_source": [False]})
    nothing = SimpleNamespace(difference=blank, sources=_rerun(blank).sources[:0])
    result = measureEfficiency(blank, PSF, blank, there, lambda planted: nothing, _config(n=150))
    rows = result.injected
    reach = int(np.ceil(PSF.fwhm()))
    assert np.all(rows["x"] >= 149.5 + reach) and abs(result.metadata["maskedFraction"] - (150 + reach) / 300) < 1e-12
    assert np.hypot(rows["x"] - 220, rows["y"] - 150).min() >= 2 * PSF.fwhm()
    assert result.metadata["nPasses"] == rows["passNumber"].max() + 1 > 1
    assert result.metadata["nFound"] == 0 and result.metadata["completeness7"] == 0
    assert np.isnan(result.metadata["signalToNoise50"]) and np.isnan(result.metadata["purity"])


def test_photonNoiseOfPlantedSources(rng):
    gain = 2.0
    blank = makeExposure(np.zeros((101, 101), np.float32), variance=np.ones((101, 101), np.float32), psf=PSF)
    planted = plantSources(blank, PSF, [50.0], [50.0], [1e5], gain, rng)
    light = plantSources(blank, PSF, [50.0], [50.0], [1e5]).image.array
    added = planted.variance.array - 1
    np.testing.assert_allclose(added, light / gain, atol=1e-6 * light.max())
    bright = light > 50
    pulls = (planted.image.array - light)[bright] / np.sqrt(added[bright])
    assert 0.7 < np.std(pulls) < 1.3 and np.all(blank.image.array == 0)
    beyond = plantSources(blank, PSF, [-500.0], [3.0], [1e5])
    np.testing.assert_array_equal(beyond.image.array, blank.image.array)


def test_nowhereToPlantIsSaid(rng):
    blank = _blank(rng, 100)
    blank.mask.array[:] |= 1 << blank.mask.bit("BAD")
    with pytest.raises(NoDataError, match="no place to plant"):
        measureEfficiency(blank, PSF, blank, None, _rerun, _config(n=3))


def test_noSourcesNoPass(rng):
    blank = _blank(rng, 100)
    result = measureEfficiency(blank, PSF, blank, None, None, _config(n=0))
    assert len(result.injected) == 0 and result.metadata["n"] == 0 and len(efficiencyCurve(result.injected)) == 54
