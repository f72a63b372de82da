"""Forecast of the flux error of each direction of convolution, against closed forms for Gaussians."""

import numpy as np
import pytest

from stillsky.diffim.direction import fitKernelToPsfs, forecastDirection


def gaussian(sigma, half=20):
    g = np.arange(-half, half + 1)
    p = np.exp(-0.5 * (g[:, None] ** 2 + g**2) / sigma**2)
    return p / p.sum()


def test_forecastOfAnIdentityKernelIsThatOfTwoWhiteImages():
    """Equal PSFs: D has the white variance v_s + v_t, and PSF photometry the error sqrt(v sum)/sqrt(sum P^2)."""
    psf, delta = gaussian(2.0), np.zeros((5, 5))
    delta[2, 2] = 1.0
    forecast = forecastDirection(delta, psf, 3.0, 5.0, scienceConvolved=False)
    expected = np.sqrt(8.0 / np.sum(psf**2))
    assert forecast.fluxError == pytest.approx(expected, rel=1e-9)
    assert forecast.optimalFluxError == pytest.approx(expected, rel=1e-9)
    assert forecast.kernelTransformMax == pytest.approx(1.0, rel=1e-9)


def test_forecastOfAGaussianKernelFollowsTheClosedForm():
    """Template-only noise v, sigma_s^2 = sigma_t^2 + sigma_k^2: <P^2 K^2 v>/<P^2>^2 = v (4 pi s_s^2)^2/(4 pi (s_s^2 + s_k^2))."""
    sigmaT, sigmaK, v = 1.6, 1.9, 7.0
    sigmaS = np.hypot(sigmaT, sigmaK)
    forecast = forecastDirection(gaussian(sigmaK), gaussian(sigmaS), v, 0.0, scienceConvolved=False)
    expected = np.sqrt(v * (4 * np.pi * sigmaS**2) ** 2 / (4 * np.pi * (sigmaS**2 + sigmaK**2)))
    assert forecast.fluxError == pytest.approx(expected, rel=1e-6)


def test_bothDirectionsShareOneOptimum():
    """With exact kernels whitening makes the direction irrelevant (Zackay et al. 2016)."""
    sigmaS, sigmaT, vs, vt = 2.2, 1.7, 4.0, 1.0
    ps, pt = gaussian(sigmaS, 30), gaussian(sigmaT, 30)
    forward = gaussian(np.sqrt(sigmaS**2 - sigmaT**2), 20)
    a = forecastDirection(forward, ps, vt, vs, scienceConvolved=False)
    fourierS, fourierT = (np.abs(np.fft.fft2(p, (128, 128))) ** 2 for p in (ps, pt))
    optimum = 1 / np.sqrt(np.mean(fourierS * fourierT / (vs * fourierT + vt * fourierS + 1e-300)))
    assert a.optimalFluxError == pytest.approx(optimum, rel=1e-3)
    assert a.fluxError >= a.optimalFluxError


def test_scienceConvolvedIsReportedInScienceUnits():
    """Scaling the template's flux unit changes kernel sum and template variance, not the forecast."""
    kernel, psf = gaussian(1.5, 8), gaussian(2.0)
    a = forecastDirection(kernel, psf, 4.0, 1.0, scienceConvolved=True)
    b = forecastDirection(kernel / 3.0, psf, 4.0, 1.0 / 9.0, scienceConvolved=True)
    assert a.fluxError == pytest.approx(b.fluxError, rel=1e-12)
    assert a.kernelTransformMax == pytest.approx(b.kernelTransformMax, rel=1e-12)


def test_fittedKernelMatchesOnePsfToTheOther():
    source, target = gaussian(1.5), gaussian(2.1)
    widths = (0.7, 1.0, np.sqrt(2.1**2 - 1.5**2), 2.0)
    basis = np.array([gaussian(s, 10) for s in widths])
    kernel = fitKernelToPsfs(basis, source, target)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(kernel, basis[2], atol=1e-4 * basis[2].max())


def test_asymmetricKernelsKeepTheOrientationOfCorrelation():
    """out(x) = sum k(u) in(x + u): a kernel pixel right of the centre moves the image to the left."""
    source = gaussian(1.8)
    target = np.roll(source, -1, axis=1)
    basis = np.zeros((2, 3, 3))
    basis[0, 1, 2] = basis[1, 1, 0] = 1.0
    kernel = fitKernelToPsfs(basis, source, target)
    assert kernel[1, 2] == pytest.approx(1.0, abs=1e-6)
    assert kernel[1, 0] == pytest.approx(0.0, abs=1e-6)
