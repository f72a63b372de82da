"""ZOGY of resampled templates, whose noise is coloured; fluxes on a difference whose PSF varies."""

import numpy as np
import pytest

from stillsky.diffim import subtract
from stillsky.diffim.resampling_noise import ResamplingNoise
from stillsky.diffim.transfer import noiseSpectrum
from stillsky.diffim.zogy_exposures import zogyExposures
from stillsky.diffim.zogy_layout import padCenterOriginArray
from stillsky.diffim.zogy_transfer import parsevalMean, zogyTransfer
from stillsky.geom import AffineTransform
from stillsky.image import Image, makeExposure
from stillsky.psf import ImageGridPsf, KernelPsf
from stillsky.sim import simulatePair
from stillsky.stats import robustSigma
from stillsky.warp import WarpingControl, warpImage

HALF_PIXEL = AffineTransform(((1, 0), (0, 1)), (0.5, 0.5))


def gaussian(sigma, size=31):
    g = np.arange(size) - size // 2
    image = np.exp(-0.5 * (g[:, None] ** 2 + g**2) / sigma**2)
    return image / image.sum()


@pytest.fixture(scope="module")
def spectrum():
    return noiseSpectrum(ResamplingNoise(HALF_PIXEL, "lanczos3")(0, 0), (128, 120))


@pytest.mark.parametrize("widths", [(2.0, 1.5), (1.5, 2.0), (3.3, 2.2)])
def test_colouredNoiseOfTheTemplateIsWhitened(spectrum, widths):
    t = zogyTransfer(gaussian(widths[0]), gaussian(widths[1]), 4.0, 9.0, (128, 120), templateSpectrum=spectrum)
    noise = 4.0 * abs(t.science) ** 2 + 9.0 * spectrum * abs(t.template) ** 2
    np.testing.assert_allclose(noise, 1, rtol=1e-9)  # at every frequency, those without power included
    assert t.psf[0, 0] == pytest.approx(1, abs=1e-12)
    assert t.fluxScale == pytest.approx(1 / np.sqrt(4 + 9 * spectrum[0, 0]), rel=1e-12)
    # the flux error of the score is that of the best linear estimate, mean(|P_N|^2 |P_R|^2 / (V_N |P_R|^2 + V_R r |P_N|^2))
    pn, pr = (abs(np.fft.rfft2(padCenterOriginArray(gaussian(w), (128, 120)))) ** 2 for w in widths)
    strong = np.maximum(pn, pr) > 1e-10
    best = np.where(strong, pn * pr / np.where(strong, 4.0 * pr + 9.0 * spectrum * pn, 1), 0)
    assert t.scoreFlux == pytest.approx(parsevalMean(best, (128, 120)), rel=1e-6)
    white = zogyTransfer(gaussian(widths[0]), gaussian(widths[1]), 4.0, 9.0, (128, 120))
    assert t.scoreFlux < 0.9 * white.scoreFlux  # noise at the scale of stars that the variance of a pixel does not show


def test_whiteSpectrumChangesNothing():
    arguments = (gaussian(2.0), gaussian(1.5), 4.0, 9.0, (64, 64))
    plain, flat = zogyTransfer(*arguments), zogyTransfer(*arguments, templateSpectrum=np.ones((64, 33)))
    for name in ("science", "template", "psf", "fluxScale", "scoreFlux"):
        np.testing.assert_allclose(getattr(flat, name), getattr(plain, name), rtol=1e-12, atol=1e-15)


def test_significancesWithAResampledTemplateAreThoseOfItsNoise(rng):
    """26 B3: the score of blank sky has the variance that its plane says, and the difference is white."""
    size = 640
    resampled = Image(np.zeros((size, size), np.float32))
    noise = Image(rng.normal(size=(size, size)).astype(np.float32))
    warpImage(resampled, noise, HALF_PIXEL, WarpingControl("lanczos3", ""))
    inside = np.isfinite(resampled.array)
    template = np.where(inside, resampled.array, 0)
    perPixel = float(template[40:-40, 40:-40].var())
    exposures = [
        makeExposure(
            pixels.astype(np.float32), variance=np.full((size, size), v, np.float32), psf=KernelPsf(gaussian(w))
        )
        for pixels, v, w in ((rng.normal(size=(size, size)), 1.0, 2.0), (template, perPixel, 1.5))
    ]
    correlation = ResamplingNoise(HALF_PIXEL, "lanczos3")
    naive, known = (zogyExposures(*exposures, templateCorrelation=c) for c in (None, correlation))
    inner = np.s_[60:-60, 60:-60]
    assert np.std(naive.scoreCorr.array[inner]) > 1.06
    assert np.std(known.scoreCorr.array[inner]) == pytest.approx(1, abs=0.035)
    chi = (known.difference.image.array / np.sqrt(known.difference.variance.array))[inner]
    assert np.std(chi) == pytest.approx(1, abs=0.01)
    for lag in (1, 2, 3):
        assert abs(np.mean(chi[:, lag:] * chi[:, :-lag])) < 0.01 and abs(np.mean(chi[lag:] * chi[:-lag])) < 0.01
    # the planes agree with the closed forms
    node = np.s_[size // 2, size // 2]
    assert known.score.variance.array[node] == pytest.approx(known.scoreFluxes.mean(), rel=1e-3)
    assert known.difference.variance.array[node] == pytest.approx(known.metadata["zogyFluxScale"] ** -2, rel=1e-3)
    constant = zogyExposures(*exposures, templateCorrelation=correlation(0, 0))
    np.testing.assert_allclose(constant.scoreCorr.array[inner], known.scoreCorr.array[inner], atol=1e-4)


def curvedPsf(sigma, curvature, size):
    """Gaussian whose sigma varies quadratically over a square image, as over a field of view."""
    nodes = np.linspace(0, size - 1, 37)
    u = 2 * nodes / (size - 1) - 1
    stamps = [[gaussian(sigma * (1 + curvature * (a * a + b * b))) for a in u] for b in u]
    return ImageGridPsf(stamps, nodes, nodes)


def test_fluxesOnADifferenceWhosePsfIsCurvedAreUnbiased():
    """4 % in FWHM from the centre to the middle of an edge: linear mixing of stamps at the tiles' centres biases all by 0.3 %."""
    size = 720
    psfs = curvedPsf(1.8, 0.04, size), curvedPsf(1.45, 0.02, size)
    exposures = [
        makeExposure(np.zeros((size, size), np.float32), variance=np.full((size, size), v, np.float32), psf=psf)
        for psf, v in zip(psfs, (25.0, 4.0))
    ]
    places = [(x, y) for x in range(60, size - 50, 40) for y in range(60, size - 50, 40)]
    for x, y in places:
        exposures[0].image.array[y - 15 : y + 16, x - 15 : x + 16] += (
            1000 * psfs[0].computeKernelImage((x, y)).array
        ).astype("f4")
    result = zogyExposures(*exposures)
    pixels, psf = result.difference.image.array, result.difference.psf
    ratios, scores = [], []
    for x, y in places:
        stamp = psf.computeKernelImage((x, y)).array
        h = 12
        cut = stamp[stamp.shape[0] // 2 - h :, stamp.shape[1] // 2 - h :][: 2 * h + 1, : 2 * h + 1]
        ratios.append(np.sum(pixels[y - h : y + h + 1, x - h : x + h + 1] * cut) / np.sum(cut**2) / 1000)
        scores.append(result.score.image.array[y, x] / result.scoreFluxAt(x, y) / 1000)
    assert np.mean(ratios) == pytest.approx(1, abs=5e-4)
    assert np.max(np.abs(np.array(ratios) - 1)) < 2e-3
    assert np.mean(scores) == pytest.approx(1, abs=2e-3)


def test_subtractionOfAResampledTemplateHasTheRightSignificances():
    """Half a pixel off: the score of blank sky scatters by one standard deviation as without resampling."""
    scatter, depth = [], []
    for offset in ((0.0, 0.0), (0.5, 0.5)):
        pair = simulatePair(size=512, seed=3, templateDepth=1.0, defects=False, offset=offset)
        result = subtract(pair.science.toExposure(psf=False), pair.template.toExposure(psf=False), method="zogy")
        good = ~result.difference.mask.isSet(["NO_DATA", "SAT", "EDGE"])
        scatter.append(robustSigma(np.ascontiguousarray(result.scoreCorr.array[good][None])))
        depth.append(result.metadata["zogy"]["zogyScoreFlux"])
    assert scatter[0] == pytest.approx(1, abs=0.05)
    assert scatter[1] == pytest.approx(scatter[0], abs=0.03)
    assert depth[1] == pytest.approx(depth[0], rel=0.1)  # resampling moves noise about; it neither adds nor removes any
