"""The likelihood image of a white difference."""

import numpy as np
import pytest

from stillsky.diffim import subtract
from stillsky.diffim.score import likelihoodImage
from stillsky.errors import NoDataError
from stillsky.image import makeExposure
from stillsky.psf import KernelPsf
from stillsky.sim import simulatePair

_SIGMA = 1.8


def _stamp():
    y, x = np.mgrid[-9:10, -9:10]
    stamp = np.exp(-(x**2 + 1.4 * y**2 + 0.5 * x * y) / (2 * _SIGMA**2))
    return stamp / stamp.sum()


def _noise(rng, shape=(300, 320), sigma=3.0):
    return makeExposure(
        rng.normal(0, sigma, shape).astype(np.float32), variance=sigma**2, psf=KernelPsf(_stamp())
    )  # fmt: skip


def test_noiseOfTheScoreIsWhatItsVarianceSays(rng):
    """White noise of the variance V gives V sum(P^2); 300 x 320 pixels hold about 2300 independent values."""
    score, significance = likelihoodImage(_noise(rng))
    inner = np.s_[20:-20, 20:-20]
    assert np.std(significance.array[inner]) == pytest.approx(1.0, abs=4 / np.sqrt(2 * 2300))
    np.testing.assert_allclose(score.variance.array[inner], 9.0 * np.sum(_stamp() ** 2), rtol=1e-5)


def test_aPointSourceHasItsOptimalSignificance(rng):
    """F sqrt(sum P^2 / V), whatever the shape of the PSF: a filter of a reflected one would reach less."""
    exposure = _noise(rng, sigma=1.0)
    exposure.image.array[141:160, 111:130] += (500 * _stamp()).astype(np.float32)
    _, significance = likelihoodImage(exposure)
    peak = np.unravel_index(np.argmax(significance.array), significance.array.shape)
    assert peak == (150, 120)
    assert significance.array[peak] == pytest.approx(500 * np.sqrt(np.sum(_stamp() ** 2)), abs=4)


def test_missingPixelsNeitherSpreadNorHide(rng):
    """Beside a saturated block the score is that of the pixels there are: by hand."""
    exposure = _noise(rng, sigma=1.0)
    block = np.s_[100:140, 100:103]
    exposure.image.array[block] = 6e4
    exposure.mask.array[block] |= np.int32(1 << exposure.mask.bit("SAT"))
    exposure.image.array[200, 200] = np.nan
    score, significance = likelihoodImage(exposure)
    assert np.isnan(score.image.array[120, 101]) and np.isinf(score.variance.array[120, 101])
    assert np.isnan(score.image.array[200, 200]) and significance.array[200, 200] == 0
    y, x = 120, 105
    cut = np.s_[y - 9 : y + 10, x - 9 : x + 10]
    good = (exposure.mask.array[cut] == 0).astype(float)
    expected = np.sum(_stamp() * good * np.where(good, exposure.image.array[cut], 0))
    assert score.image.array[y, x] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert score.variance.array[y, x] == pytest.approx(np.sum(_stamp() ** 2 * good), rel=1e-4)
    exposure.mask.array[:] |= np.int32(1 << exposure.mask.bit("SAT"))
    with pytest.raises(NoDataError):
        likelihoodImage(exposure)


def test_theScoreIsThatOfProperSubtraction():
    """On a simulated pair, pixel by pixel on blank sky and at strong sources (Zackay et al. 2016, eq. 12)."""
    pair = simulatePair(size=512, seed=5, starDensity=900.0, fluxScale=0.8)
    exposures = pair.science.toExposure(psf=False), pair.template.toExposure(psf=False)
    al, zogy = (subtract(*exposures, method=method) for method in ("al-preconv", "zogy"))
    bad = al.difference.mask.bitmask(["NO_DATA", "SAT", "BAD", "CR", "EDGE"], ignoreMissing=True)
    good = ((al.difference.mask.array | zogy.difference.mask.array) & bad) == 0
    good[:40] = good[-40:] = good[:, :40] = good[:, -40:] = False
    a, z = al.scoreCorr.array[good], zogy.scoreCorr.array[good]
    sky, strong = np.abs(z) < 4, np.abs(z) > 12
    assert np.corrcoef(a[sky], z[sky])[0, 1] > 0.99
    assert np.median(a[strong] / z[strong]) == pytest.approx(1.0, abs=0.03)
    assert al.sources["scoreSignificance"].size == len(al.sources) > 0
    assert "score" in al.timings and al.score.bbox == al.difference.bbox
