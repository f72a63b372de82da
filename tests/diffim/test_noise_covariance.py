"""Sums over apertures of noise: how much they scatter, and how much the stencil says they do."""

import numpy as np
import pytest
import scipy.fft
from astropy.io import fits
from astropy.table import Table

from stillsky.detection import detectSources
from stillsky.diffim.decorrelation import decorrelate
from stillsky.diffim.noise_covariance import (
    NoiseCovariance,
    circleWeights,
    convolvedNoiseFactor,
    noiseCovariance,
    smoothedNoiseInflation,
)
from stillsky.diffim.resampling_noise import ResamplingNoise
from stillsky.errors import DomainError, ShapeError
from stillsky.geom import AffineTransform
from stillsky.image import Image, Mask, MaskedImage
from stillsky.kernel import FixedKernel, LinearCombinationKernel, PolynomialFunction2
from stillsky.psf import GaussianPsf
from stillsky.warp import WarpingControl, warpImage

SIZE = 1024
RADII = (3.0, 5.0, 9.0)


def _gaussian(sigma, half=10, total=1.0):
    g = np.exp(-(np.arange(-half, half + 1.0) ** 2) / (2 * sigma**2))
    return total * np.outer(g, g) / g.sum() ** 2


def _pixels(image, variance):
    image = np.asarray(image, np.float32)
    return MaskedImage(
        Image(image), Mask(np.zeros(image.shape, np.int32)), Image(np.full(image.shape, variance, np.float32))
    )


def _convolved(image, kernel):
    padded = np.zeros(image.shape)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    padded = np.roll(padded, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1))
    return scipy.fft.irfft2(scipy.fft.rfft2(image) * scipy.fft.rfft2(padded), s=image.shape)


def _sumVariance(image, weights, border=64):
    """Mean square of the sums over apertures at every place of pure noise; of one, or of a list."""
    transform = scipy.fft.rfft2(image)
    found = []
    for pixels in [weights] if isinstance(weights, np.ndarray) else weights:
        padded = np.zeros(image.shape, image.dtype)
        padded[: pixels.shape[0], : pixels.shape[1]] = pixels
        sums = scipy.fft.irfft2(transform * scipy.fft.rfft2(padded), s=image.shape)
        # the sum at a place is pixels.shape // 2 further on: none of those kept reaches over the border
        found.append(np.mean(sums[2 * border :, 2 * border :].astype(float) ** 2))
    return found[0] if isinstance(weights, np.ndarray) else found


KERNEL = _gaussian(2.0, total=1.3)
SCIENCE, TEMPLATE = 4.0, 9.0


def _noise(rng, templateMatched):
    """Difference, science image and template of pure noise, and the value of the variance plane."""
    science, template = (rng.normal(0, np.sqrt(v), (SIZE, SIZE)) for v in (SCIENCE, TEMPLATE))
    square = np.sum(KERNEL**2)
    if templateMatched:
        difference, plane = science - _convolved(template, KERNEL), SCIENCE + TEMPLATE * square
    else:
        total = KERNEL.sum()
        difference = (_convolved(science, KERNEL) - template) / total
        plane = (SCIENCE * square + TEMPLATE) / total**2
    return _pixels(difference, plane), _pixels(science, SCIENCE), _pixels(template, TEMPLATE), plane


@pytest.mark.parametrize("decorrelated", [False, True])
@pytest.mark.parametrize("templateMatched", [True, False])
def test_apertureSumsScatterAsPredicted(rng, templateMatched, decorrelated):
    """Within 3 % for apertures of 3, 5 and 9 pixels radius, before and after decorrelation."""
    measured, predicted, independent = np.zeros((2, 3)), np.zeros(3), np.zeros(3)
    for k in range(2):
        difference, science, template, _ = _noise(rng, templateMatched)
        options = {"templateMatched": templateMatched}
        if decorrelated:
            difference = decorrelate(difference, science, template, KERNEL, **options).maskedImage
        measured[k] = _sumVariance(difference.image.array, [circleWeights(r) for r in RADII])
    covariance = noiseCovariance(difference, science, template, KERNEL, decorrelated=decorrelated, **options)
    plane = np.median(difference.variance.array)
    for k, radius in enumerate(RADII):
        independent[k] = plane * np.sum(circleWeights(radius) ** 2)
        predicted[k] = independent[k] * covariance.apertureFactor(radius, 500.0, 500.0)[0] ** 2
    np.testing.assert_allclose(predicted, measured.mean(axis=0), rtol=0.03)
    if decorrelated:
        np.testing.assert_allclose(predicted, independent, rtol=1e-3)
        assert covariance.reach == 2
    else:  # the plane alone is wrong by far: this is what the stencil is for
        assert np.all(np.abs(independent[1:] / measured.mean(axis=0)[1:] - 1) > 0.2)


def test_psfFluxesOfAConvolvedImageScatterAsPredicted(rng):
    noise, psf = rng.normal(0, 1, (SIZE, SIZE)), _gaussian(2.5, half=12)
    for kernel in (KERNEL, _gaussian(0.7)):
        image = _convolved(noise, kernel)
        scatter = _sumVariance(image, psf) / (np.sum(kernel**2) * np.sum(psf**2))
        assert convolvedNoiseFactor(kernel, psf) ** 2 == pytest.approx(scatter, rel=0.04)
    assert convolvedNoiseFactor(np.ones((1, 1)), psf) == pytest.approx(1)
    # Gaussians of widths k and p: 4 pi k^2 p^2/(k^2 + p^2)
    wanted = np.sqrt(4 * np.pi * 2.0**2 * 2.5**2 / (2.0**2 + 2.5**2))
    assert convolvedNoiseFactor(KERNEL, psf) == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize(("sigmaS", "sigmaT", "wanted"), [(3.3, 2.2, 1.273)])
def test_significanceOfCorrelatedNoiseIsDividedByItsKnownInflation(sigmaS, sigmaT, wanted):
    """26 B12 with the figures of 10.1: what seems 5 sigma is 3.93; divided by the inflation it is what it says."""
    rng = np.random.default_rng(12)
    size, kernel = 1400, _gaussian(np.sqrt(sigmaS**2 - sigmaT**2), half=12)
    science, template = rng.normal(0, 1, (2, size, size))
    made = [science - _convolved(template, kernel), science, template]
    difference, science, template = (_pixels(i, v) for i, v in zip(made, (1 + np.sum(kernel**2), 1.0, 1.0)))
    covariance = noiseCovariance(difference, science, template, kernel)
    inflation = smoothedNoiseInflation(covariance, difference.bbox, sigmaS)
    assert inflation == pytest.approx(wanted, abs=0.01)
    settings = {"sigma": sigmaS, "threshold": 3.5, "polarity": "both", "doTempLocalBackground": False}
    plain = detectSources(difference, **settings)
    found = detectSources(difference, noiseInflation=inflation, **settings)
    peaks = plain.numPosPeaks + plain.numNegPeaks, found.numPosPeaks + found.numNegPeaks
    # pixels that pass: those of a normal deviate beyond 3.5/1.273 and 3.5; peaks go with them and with the level
    assert peaks[0] > 5 * peaks[1] > 0
    for one, other in ((found.positive, plain.positive), (found.negative, plain.negative)):
        assert one.peaks["significance"].min() >= 3.5
        largest = other.peaks["significance"].max() / inflation
        assert one.peaks["significance"].max() == pytest.approx(largest, rel=1e-6)
    # a level in image units knows nothing of it
    same = [detectSources(difference, **settings | {"thresholdType": "stdev"}, noiseInflation=f) for f in (1.0, 2.0)]
    assert np.array_equal(same[0].positive.peaks, same[1].positive.peaks)
    with pytest.raises(DomainError, match="noiseInflation"):
        detectSources(difference, noiseInflation=0.0, **settings)


@pytest.mark.parametrize("decorrelated", [False, True])
def test_resampledTemplate(rng, decorrelated):
    """A template moved by a fraction of a pixel and turned a little: its noise is correlated before the matching."""
    mapping = AffineTransform([[0.9998, -0.0175], [0.0175, 0.9998]], [20.3, 30.6])
    correlation = ResamplingNoise(mapping, "lanczos4")
    measured = np.zeros((2, 3))
    for k in range(2):
        science = _pixels(rng.normal(0, 2.0, (SIZE, SIZE)), 4.0)
        native = _pixels(rng.normal(0, 3.0, (SIZE + 90, SIZE + 90)), 9.0)
        template = science.emptyLike()
        template.mask.addPlane("NO_DATA")
        warpImage(template, native, mapping, WarpingControl("lanczos4"))
        cut = np.s_[64:-64, 64:-64]
        values = np.where(np.isfinite(template.image.array), template.image.array, 0)
        difference = _pixels(science.image.array - _convolved(values, KERNEL), 4.0 + 9.0 * np.sum(KERNEL**2))
        difference.variance.array[:] = 4.0 + np.median(template.variance.array[cut]) * np.sum(KERNEL**2)
        if decorrelated:
            difference = decorrelate(difference, science, template, KERNEL, templateCorrelation=correlation).maskedImage
        measured[k] = _sumVariance(difference.image.array, [circleWeights(r) for r in RADII], 100)
    covariance = noiseCovariance(
        difference, science, template, KERNEL, decorrelated=decorrelated, templateCorrelation=correlation
    )
    plane = np.median(difference.variance.array[cut])
    predicted = [
        plane * np.sum(circleWeights(r) ** 2) * covariance.apertureFactor(r, 500.0, 500.0)[0] ** 2 for r in RADII
    ]
    np.testing.assert_allclose(predicted, measured.mean(axis=0), rtol=0.03)


def test_stencilFollowsTheKernelOverTheImage():
    """A kernel whose width grows along x: each node has the stencil of its own place."""
    bases = [FixedKernel(_gaussian(sigma)) for sigma in (1.2, 2.6)]
    kernel = LinearCombinationKernel(
        bases, [PolynomialFunction2([1.0, -1 / 600, 0.0]), PolynomialFunction2([0.0, 1 / 600, 0.0])]
    )
    science, template = _pixels(np.zeros((300, 601)), 1.0), _pixels(np.zeros((300, 601)), 5.0)
    covariance = noiseCovariance(science, science, template, kernel)
    assert covariance.stencils.shape[:2] == (3, 4) and covariance.x[0] == 0 and covariance.x[-1] == 600
    for x in (0.0, 200.0, 600.0):
        pixels = kernel.imageAt(x, 150.0)
        lag = np.sum(pixels[:, 2:] * pixels[:, :-2]) * 5.0 / (1.0 + 5.0 * np.sum(pixels**2))
        middle = covariance.reach
        np.testing.assert_allclose(covariance.at(x, 150.0)[middle, middle + 2], lag, rtol=1e-5)
        np.testing.assert_allclose(covariance.at(x, 150.0)[middle, middle], 1.0, rtol=1e-6)
    between = 0.5 * (covariance.at(200.0, 10.0) + covariance.at(400.0, 10.0))
    np.testing.assert_allclose(covariance.at(300.0, 10.0), between, rtol=1e-6)
    np.testing.assert_array_equal(covariance.at(-50.0, 10.0), covariance.at(0.0, 10.0))


def test_psfFluxErrors(rng):
    """Fluxes of a PSF fitted to correlated noise scatter by the factor more than independent pixels would."""
    difference, science, template, plane = _noise(rng, True)
    psf = GaussianPsf(25, 25, 2.2)
    weights = psf.computeKernelImage().array
    covariance = noiseCovariance(difference, science, template, KERNEL)
    predicted = plane * np.sum(weights**2) * covariance.psfFactor(psf, 300.0, 300.0)[0] ** 2
    np.testing.assert_allclose(predicted, _sumVariance(difference.image.array, weights), rtol=0.03)


def test_errorsOfATableAreScaled():
    science, template = _pixels(np.zeros((200, 200)), 4.0), _pixels(np.zeros((200, 200)), 9.0)
    covariance = noiseCovariance(science, science, template, KERNEL)
    table = Table(
        {
            "base_SdssCentroid_x": [50.0, np.nan],
            "base_SdssCentroid_y": [60.0, 10.0],
            "base_CircularApertureFlux_4_5_instFluxErr": [2.0, 2.0],
            "base_PsfFlux_instFluxErr": [3.0, 3.0],
        }
    )
    psf = GaussianPsf(25, 25, 2.2)
    covariance.scaleErrors(table, psf)
    factors = covariance.apertureFactor(4.5, 50.0, 60.0)[0], covariance.psfFactor(psf, 50.0, 60.0)[0]
    assert min(factors) > 1.2
    np.testing.assert_allclose(table["base_CircularApertureFlux_4_5_instFluxErr"], [2 * factors[0], np.nan])
    np.testing.assert_allclose(table["base_PsfFlux_instFluxErr"], [3 * factors[1], np.nan])


def test_filesKeepTheStencil(tmp_path):
    science, template = _pixels(np.zeros((600, 300)), 4.0), _pixels(np.zeros((600, 300)), 9.0)
    covariance = noiseCovariance(science, science, template, KERNEL)
    fits.HDUList([fits.PrimaryHDU(), covariance.toHdu()]).writeto(tmp_path / "c.fits")
    assert NoiseCovariance.read(tmp_path / "c.fits") == covariance
    fits.PrimaryHDU().writeto(tmp_path / "none.fits")
    assert NoiseCovariance.read(tmp_path / "none.fits") is None


def test_partsWithoutNoiseTakeTheirNeighbours():
    science, template = _pixels(np.zeros((300, 900)), 4.0), _pixels(np.zeros((300, 900)), 9.0)
    template.variance.array[:, 400:] = np.inf
    science.variance.array[:, 400:] = np.nan
    covariance = noiseCovariance(science, science, template, KERNEL)
    assert np.isfinite(covariance.stencils).all()
    template.variance.array[:] = np.nan
    with pytest.raises(DomainError, match="no part"):
        noiseCovariance(science, science, template, KERNEL)


def test_shapesAreChecked():
    with pytest.raises(ShapeError, match="odd, odd"):
        NoiseCovariance([0.0], [0.0], np.zeros((1, 1, 4, 4)))
    assert abs(circleWeights(5.0).sum() / (np.pi * 25) - 1) < 0.01
