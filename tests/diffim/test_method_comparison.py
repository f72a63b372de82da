"""Forecasts of both methods, and which is said to serve a pair best."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.signal import fftconvolve

from stillsky.diffim import SubtractConfig, compareMethods, subtract
from stillsky.diffim.resampling_noise import ResamplingNoise
from stillsky.diffim.zogy_exposures import zogyExposures
from stillsky.diffim.zogy_nodes import KernelPair
from stillsky.geom import AffineTransform
from stillsky.image import makeExposure
from stillsky.kernel import Chebyshev1Function2, FixedKernel, LinearCombinationKernel
from stillsky.psf import KernelPsf
from stillsky.sim import simulatePair

SIZE = 500


def gaussian(sigma, size=31):
    g = np.arange(size) - size // 2
    image = np.exp(-0.5 * (g[:, None] ** 2 + g**2) / sigma**2)
    return image / image.sum()


def stars(light):
    """Objects that are known by their starlight alone: stars of S/N 10, and a galaxy."""
    n = int(light / 100)
    return SimpleNamespace(signalToNoise=np.array([10.0] * n + [1e9]), isStar=np.array([True] * n + [False]))


def compare(
    widths=(2.0, 1.5),
    light=(1e4, 1e5),
    noise=(25.0, 4.0),
    modelled=None,
    taps=None,
    used="al",
    brightness=500.0,
    **settings,
):
    """Forecast for Gaussian PSFs; ``modelled``: width of the science PSF's model."""
    scienceConvolved = widths[0] < widths[1]
    if taps is None:
        taps = FixedKernel(1.3 * gaussian(np.sqrt(abs(widths[0] ** 2 - widths[1] ** 2)), 21))
    candidates = [{"usedInFit": True, "rating": brightness, "looRms": 1.02}]
    fit = SimpleNamespace(kernel=taps, kernelSum=float(np.sum(taps.imageAt(250, 250))), candidates=candidates)
    config = SubtractConfig()
    config.doDecorrelation = settings.pop("doDecorrelation", True)
    config.psf.tieToKernel = settings.pop("tied", True)
    config.zogy.psfRatio = settings.pop("psfRatio", "kernel")
    psfs = [KernelPsf(gaussian(w)) for w in (modelled or widths[0], widths[1])]
    exposures = [
        makeExposure(np.ones((SIZE, SIZE), np.float32), variance=np.ones((SIZE, SIZE), np.float32)) for _ in psfs
    ]
    for exposure, psf, given in zip(exposures, psfs, settings.pop("given", (False, False))):
        exposure.psf = psf if given else None
    return compareMethods(
        used, *exposures, psfs, fit, scienceConvolved, [stars(v) for v in light], noise, config, **settings
    )


def test_perfectlyKnownPairIsServedEquallyWell():
    found = compare()
    assert found["best"] == "al" and found["decidedBy"] == "nothing" and "equally well" in found["why"]
    assert found["al"]["fluxError"] == pytest.approx(found["zogy"]["fluxError"], rel=1e-12)
    assert found["al"]["starResidual"] == pytest.approx(1.02) and found["al"]["border"] == 10
    assert 1 <= found["zogy"]["border"] < 10
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("widths", [(2.0, 1.5), (1.5, 2.0)])
@pytest.mark.parametrize("resampled", [False, True])
def test_forecastIsTheDepthOfTheProperDifference(widths, resampled):
    taps = FixedKernel(1.3 * gaussian(np.sqrt(abs(widths[0] ** 2 - widths[1] ** 2)), 21))
    noise = ResamplingNoise(AffineTransform(((1, 0), (0, 1)), (0.5, 0.5)), "lanczos3") if resampled else None
    found = compare(widths, taps=taps, templateCorrelation=noise)
    exposures = [
        makeExposure(np.zeros((SIZE, SIZE), np.float32), variance=np.full((SIZE, SIZE), v, np.float32)) for v in (25, 4)
    ]
    sharper = KernelPsf(gaussian(min(widths)))
    optics = KernelPair(sharper, taps, widths[0] < widths[1])
    made = zogyExposures(
        *exposures, optics=optics, fluxRatio=1.3 if widths[0] > widths[1] else 1 / 1.3, templateCorrelation=noise
    )
    assert found["zogy"]["fluxError"] == pytest.approx(made.metadata["zogyScoreFlux"] ** -0.5, rel=2e-3)


def test_psfOfMoreStarlightMeasuresFluxesBetter():
    found = compare(modelled=2.05, tied=False)
    assert found["best"] == "zogy" and found["decidedBy"] == "fluxes"
    assert found["al"]["fluxScaleError"] == pytest.approx(np.sqrt(10) * found["zogy"]["fluxScaleError"])
    both = np.hypot(found["al"]["fluxScaleError"], found["zogy"]["fluxScaleError"])
    assert 0.01 < both < 0.05  # 2.5 % in width are 2.5 % in flux without the template's noise
    assert "--method al" in found["why"]
    assert compare(modelled=2.05, light=(1e5, 1e4), tied=False)["best"] == "al"
    assert "--method" not in compare(modelled=2.05, used="zogy", tied=False)["why"]
    # both models, weighted with their light, are better than either
    both = compare(modelled=2.05)
    assert both["al"]["fluxScaleError"] == pytest.approx(np.sqrt(10 / 11) * found["zogy"]["fluxScaleError"])
    assert both["decidedBy"] == "nothing"


def test_givenPsfsAreTrusted():
    found = compare(modelled=2.05, given=(True, False))
    assert found["best"] == "al" and found["al"]["fluxScaleError"] == 0 < found["zogy"]["fluxScaleError"]
    found = compare(modelled=2.05, given=(True, True))
    assert found["al"]["fluxScaleError"] == found["zogy"]["fluxScaleError"] == 0


def test_withoutDecorrelationDepthIsLost():
    # closed form of image-difference 10.2: Gaussians, sigma 3.3 and 2.2, equal noise: 1.2 % less signal-to-noise
    taps = FixedKernel(gaussian(np.sqrt(3.3**2 - 2.2**2), 31))
    found = compare((3.3, 2.2), noise=(4.0, 4.0), taps=taps, doDecorrelation=False)
    assert found["best"] == "zogy" and found["decidedBy"] == "depth"
    assert found["al"]["fluxError"] / found["zogy"]["fluxError"] == pytest.approx(1.012, abs=0.002)


def bendingKernel(bend):
    """Mixture of two Gaussians whose shares vary quadratically over the image."""
    basis = [FixedKernel(gaussian(w, 21)) for w in (1.2, 1.6)]
    shares = np.array([0.5, 0, 0, bend, 0, bend])
    box = (-0.5, -0.5, SIZE - 0.5, SIZE - 0.5)
    functions = [Chebyshev1Function2(c.tolist(), box) for c in (shares, np.array([1.0, 0, 0, 0, 0, 0]) - shares)]
    return LinearCombinationKernel(basis, functions)


def test_kernelThatBendsWithinATileFavoursTheConvolution():
    taps = bendingKernel(0.2)
    found = compare(taps=taps, brightness=3000.0, given=(True, True))
    assert found["best"] == "al" and found["decidedBy"] == "stars"
    faint = compare(taps=taps, brightness=101.0, given=(True, True))
    assert faint["decidedBy"] == "nothing" and faint["zogy"]["starResidual"] < found["zogy"]["starResidual"]
    # the same from real filters: stars without noise on a grid over one quarter of the image, which holds four tiles
    flux = 3000 * found["zogy"]["fluxError"]
    sharp, planes, squares = gaussian(1.5), np.zeros((2, SIZE, SIZE), np.float32), []
    places = [(x, y) for x in range(20, 250, 30) for y in range(20, 250, 30)]
    for x, y in places:
        broad = fftconvolve(sharp, taps.imageAt(x, y)[::-1, ::-1], mode="same")
        for plane, stamp in zip(planes, (broad, sharp)):
            plane[y - 15 : y + 16, x - 15 : x + 16] += flux * stamp
    exposures = [makeExposure(p, variance=np.full(p.shape, v, np.float32)) for p, v in zip(planes, (25, 4))]
    made = zogyExposures(*exposures, optics=KernelPair(KernelPsf(sharp), taps, False), innerSize=8.0, score=False)
    assert made.metadata["tiles"] == [4, 4]
    area = 1 / np.sum(gaussian(2.0) ** 2)
    for x, y in places:
        cut = made.difference.maskedImage.image.array[y - 9 : y + 10, x - 9 : x + 10]
        squares.append(np.sum(cut**2) / area / made.difference.variance.array[y, x])
    predicted = np.sqrt(found["zogy"]["starResidual"] ** 2 - found["al"]["starResidual"] ** 2)
    assert predicted == pytest.approx(np.sqrt(np.mean(squares)), rel=0.3)


def test_twoPsfModelsLeaveMoreOfTheStars():
    found = compare(modelled=2.05, psfRatio="models")
    assert found["best"] == "al" and found["decidedBy"] == "stars"


def test_noBrightStarsNoVerdictAboutThem():
    found = compare(brightness=20.0)
    assert np.isnan(found["al"]["starResidual"]) and found["decidedBy"] == "nothing"
    assert "nan" not in found["why"] and "no bright stars to compare" in found["why"]


@pytest.mark.parametrize("used", ["al", "zogy"])
def test_withoutNoiseItCannotBeTold(used):
    found = compare(noise=(np.nan, 4.0), used=used)
    assert found["best"] == used and found["decidedBy"] == "nothing"
    assert "cannot be told" in found["why"] and "nan" not in found["why"]


@pytest.mark.parametrize("method", ["al", "zogy"])
def test_subtractionSaysWhichMethodServedThePairBest(method):
    pair = simulatePair(size=360, seed=5, starDensity=900.0)
    result = subtract(pair.science.toExposure(psf=False), pair.template.toExposure(psf=False), method=method)
    found = result.metadata["methodComparison"]
    assert found["used"] == method and found["best"] in ("al", "zogy")
    assert f"method: {found['why']}" in result.decisions
    assert found["zogy"]["fluxError"] == pytest.approx(found["al"]["fluxError"], rel=0.02)
    if method == "zogy":
        assert found["zogy"]["fluxError"] == pytest.approx(result.metadata["zogy"]["zogyScoreFlux"] ** -0.5, rel=0.03)
