"""Closed forms of the filters that whiten differences and score images."""

import numpy as np
import pytest
import scipy.fft

from stillsky.diffim.transfer import (
    cornerOrigin,
    decorrelationTransfer,
    halfPlaneMean,
    kernelPower,
    scoreTransfer,
    transformShape,
)
from stillsky.errors import DomainError, ShapeError


def gaussian(sigma, half=20, total=1.0, ratio=1.0):
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    image = np.exp(-0.5 * (x**2 + (y / ratio) ** 2) / sigma**2)
    return total * image / image.sum()


def realSpace(phi, shape):
    return scipy.fft.irfft2(phi, s=shape)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_filterKeepsTheFluxAndIsLargestWhereTheKernelVanishes(dtype, tolerance):
    kernel, rho = gaussian(2.5, total=1.3), 0.7
    shape = (128, 150)
    phi = decorrelationTransfer(kernel, 2.0, 2.0 * rho, shape, dtype=dtype)
    assert phi.dtype == dtype and phi.shape == (128, 76)
    assert phi[0, 0] == pytest.approx(1, abs=tolerance)
    assert phi[64, 75] == pytest.approx(np.sqrt(1 + rho * 1.3**2), rel=tolerance)
    assert realSpace(phi.astype(float), shape).sum() == pytest.approx(1, abs=tolerance)


def test_ofAConvolvedScienceImageTheRolesAreExchanged():
    kernel = gaussian(2.0, total=0.8)
    ours = decorrelationTransfer(kernel, 5.0, 3.0, (64, 64), templateMatched=False)
    np.testing.assert_array_equal(ours, decorrelationTransfer(kernel, 3.0, 5.0, (64, 64)))


def test_deltaKernelNeedsNoFilter():
    phi = decorrelationTransfer(np.ones((1, 1)), 1.0, 4.0, (32, 32))
    np.testing.assert_allclose(phi, 1, atol=1e-15)


def test_weightsOfGaussiansFollowTheClosedForm():
    # W_S = (1 + rho)(1 - L), W_T = (1 + rho) L / rho, L = ln(1 + rho) / (4 pi sigma_K^2)
    sigmaK = np.sqrt(3.3**2 - 2.2**2)
    shape = (256, 256)
    kernel = gaussian(sigmaK, half=30)
    square = decorrelationTransfer(kernel, 0.04, 0.04, shape) ** 2
    scienceWeight = halfPlaneMean(square, 256)
    templateWeight = halfPlaneMean(square * kernelPower(kernel, shape), 256)
    assert scienceWeight == pytest.approx(1.981766, abs=1e-6)
    assert templateWeight == pytest.approx(0.018234, abs=1e-6)
    assert 0.04 * (scienceWeight + templateWeight) == pytest.approx(0.08, abs=1e-9)


@pytest.mark.parametrize("width", [64, 75])
def test_halfPlaneMeanIsTheMeanOfTheFullPlane(rng, width):
    image = rng.normal(size=(48, width))
    full, half = np.abs(np.fft.fft2(image)) ** 2, np.abs(scipy.fft.rfft2(image)) ** 2
    assert halfPlaneMean(half, width) == pytest.approx(full.mean(), rel=1e-12)


def test_colouredNoiseOfTheTemplateIsWhitenedToo():
    """With the noise spectrum of a resampled template the filtered noise is white at its level at zero frequency."""
    shape = (96, 96)
    spectrum = 0.3 + kernelPower(gaussian(0.8, half=8), shape)
    kernel = gaussian(1.5)
    phi = decorrelationTransfer(kernel, 1.0, 2.0, shape, spectrum=spectrum)
    noise = phi**2 * (1.0 + 2.0 * spectrum * kernelPower(kernel, shape))
    np.testing.assert_allclose(noise, 1.0 + 2.0 * 1.3, rtol=1e-12)


def test_noNoiseInTheScienceImageLeavesTheFilterFinite():
    phi = decorrelationTransfer(gaussian(3.0), 0.0, 1.0, (128, 128))
    assert np.isfinite(phi).all() and phi.max() == pytest.approx(1e4, rel=1e-6)


@pytest.mark.parametrize("variances", [(np.nan, 1), (1, np.inf), (-1, 2), (0, 0)])
def test_impossibleVariancesAreRefused(variances):
    with pytest.raises(DomainError, match="variances must be finite"):
        decorrelationTransfer(gaussian(2.0), *variances, (64, 64))


def test_kernelLargerThanTheTransformIsRefused():
    with pytest.raises(ShapeError, match="kernel"):
        decorrelationTransfer(gaussian(2.0), 1, 1, (32, 32))
    with pytest.raises(ShapeError, match="does not fit"):
        cornerOrigin(gaussian(2.0), (32, 64))


def test_kernelWithoutSumAndScienceWithoutNoiseAreRefused():
    kernel = np.array([[1.0, -1.0, 0.0]])
    with pytest.raises(DomainError, match="zero frequency"):
        decorrelationTransfer(kernel, 0.0, 1.0, (16, 16))


def test_transformShapesAreEvenAndFast():
    assert transformShape((4096, 4096), (41, 41), (21, 21)) == (4320, 4320)
    assert transformShape((64, 60)) == (64, 60)
    for n in (7, 33, 101, 999):
        height, width = transformShape((n, n), (5, 9))
        assert height % 2 == width % 2 == 0 and height >= n + 4 and width >= n + 8


@pytest.mark.parametrize("size", [(5, 7), (6, 4)])
def test_cornerOriginPutsTheCentreOnTheCorner(size):
    image = np.zeros(size)
    image[size[0] // 2, size[1] // 2] = 1
    padded = cornerOrigin(image, (16, 20))
    assert padded[0, 0] == 1 and padded.sum() == 1


def test_scoreFilterOfEqualPsfsIsTheLikelihoodRatio():
    """K_Q = P matches equal PSFs: |K_Q|^2 / |P|^2 is 1, and nothing is to be done."""
    psf = gaussian(1.2, half=10)
    phi = scoreTransfer(psf, 2.0, 3.0, psf, (64, 64))
    np.testing.assert_allclose(phi, 1, atol=1e-10)


def test_scoreFilterVanishesWhereThePreFilterDoes():
    kernel, psf = gaussian(1.5), gaussian(4.0)
    phi = scoreTransfer(kernel, 1.0, 1.0, psf, (128, 128))
    assert phi[0, 0] == pytest.approx(1, abs=1e-12) and np.isfinite(phi).all() and phi[64, 64] < 1e-6


def test_preFilterMustHaveUnitSum():
    with pytest.raises(DomainError, match="sum 1"):
        scoreTransfer(gaussian(2.0), 1, 1, gaussian(2.0, total=1.1), (64, 64))


@pytest.mark.shared
def test_goldenCorrectionSpectra(sharedDir):
    golden = np.load(sharedDir / "golden" / "decorrelation.npz")
    shape, half = (160, 172), np.s_[:, :87]
    phi = decorrelationTransfer(golden["kernel"], 100.0, 50.0, shape)
    np.testing.assert_allclose(phi, golden["corrft"][half], atol=1e-5 * golden["corrft"].max())
    # goldens.md check 27
    assert phi.max() == pytest.approx(1.358307771, abs=1e-9)
    assert phi.max() == pytest.approx(np.sqrt((100 + 50 * 1.3**2) / 100), abs=1e-9) and phi.min() == phi[0, 0]
    psf = golden["psf"]
    score = scoreTransfer(golden["kernel"], 100.0, 50.0, psf, shape)
    # Where the pre-filter's transform is below 1e-15 it is the rounding error of either transform, and its quotient with
    # the kernel's means nothing: there the filter is only required to be nil.
    known = kernelPower(psf, shape) > 1e-30
    np.testing.assert_allclose(score[known], golden["score_corrft"][half][known], atol=1e-5)
    assert known.mean() > 0.5 and score[~known].max() < 1e-4
