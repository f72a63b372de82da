"""Decorrelation of difference and score images: noise, variance plane, PSF, tiles, bad input."""

import numpy as np
import pytest
import scipy.fft
from scipy.signal import fftconvolve

from stillsky import numThreads
from stillsky.detection import detectSources
from stillsky.diffim.decorrelate_config import DecorrelateALKernelConfig, DecorrelateConfig
from stillsky.diffim.decorrelate_tiles import axisOfTiles
from stillsky.diffim.decorrelation import decorrelate, noiseCorrelation
from stillsky.errors import DomainError, NoDataError, ShapeError
from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.kernel import FixedKernel, LinearCombinationKernel, PolynomialFunction2
from stillsky.psf import GaussianPsf, ImageGridPsf, KernelPsf

SIGMA_S, SIGMA_T = 3.3, 2.2
SIGMA_K = np.sqrt(SIGMA_S**2 - SIGMA_T**2)


def gaussian(sigma, half=20, total=1.0):
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    image = np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    return total * image / image.sum()


def pixels(image, variance, mask=None):
    image = np.asarray(image)
    return MaskedImage(
        Image(image),
        Mask(np.zeros(image.shape, np.int32) if mask is None else mask),
        Image(np.broadcast_to(np.float32(variance), image.shape).copy()),
    )


def periodic(image, kernel):
    """Periodic convolution with a symmetric kernel."""
    padded = np.zeros(image.shape)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    padded = np.roll(padded, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1))
    return scipy.fft.irfft2(scipy.fft.rfft2(image) * scipy.fft.rfft2(padded), s=image.shape)


def noisePair(rng, size, svar, tvar, kernel, dtype=np.float64):
    """Difference of two images of pure noise, and the two as masked images."""
    shape = (size, size)
    science, template = (rng.normal(0, np.sqrt(v), shape) for v in (svar, tvar))
    difference = science - periodic(template, kernel)
    own = svar + tvar * np.sum(kernel**2)
    return pixels(difference.astype(dtype), own), pixels(science, svar), pixels(template, tvar)


def correlation(image, lag):
    image = image - image.mean()
    return np.mean(image[:, lag:] * image[:, :-lag]) / image.var()


def inner(image, border=40):
    return image[border:-border, border:-border]


def varyingKernel(size, order=1):
    """A Gaussian kernel whose width and sum change over the image."""
    bases = [FixedKernel(gaussian(s, half=12)) for s in (1.5, 2.5)]
    functions = [
        PolynomialFunction2([0.6, 0.2 / size, 0.1 / size]),
        PolynomialFunction2([0.4, -0.1 / size, 0.1 / size]),
    ]
    return LinearCombinationKernel(bases, functions)


# ---------------------------------------------------------------- image-difference 27.4


def test_withoutMatchingNothingChangesButTheVariance(rng):
    """27.4 check 2: a delta kernel."""
    difference, science, template = noisePair(rng, 100, 2.0, 3.0, np.ones((1, 1)))
    science.variance.array[20:30, 40:50] = 7.0
    out = decorrelate(difference, science, template, np.ones((1, 1)))
    np.testing.assert_allclose(out.maskedImage.image.array, difference.image.array, atol=1e-13)
    np.testing.assert_allclose(
        out.maskedImage.variance.array, science.variance.array + template.variance.array, rtol=1e-6
    )
    assert out.metadata["scienceWeight"] == pytest.approx(1) and out.metadata["templateWeight"] == pytest.approx(1)


def test_gaussiansGiveTheClosedFormsOfWeightsAndPsf(rng):
    """27.4 check 3, without ZOGY."""
    kernel = gaussian(SIGMA_K, half=16)
    difference, science, template = noisePair(rng, 256, 0.04, 0.04, kernel)
    out = decorrelate(difference, science, template, kernel, psf=GaussianPsf(41, 41, SIGMA_S))
    assert out.metadata["scienceWeight"] == pytest.approx(1.981766, abs=2e-5)
    assert out.metadata["templateWeight"] == pytest.approx(0.018234, abs=2e-5)
    assert out.metadata["noiseVariance"] == pytest.approx(0.08, abs=1e-6)
    stamp = out.psf.computeKernelImage().array
    half = stamp.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    assert stamp.sum() == pytest.approx(1, abs=1e-12)
    assert np.sum(stamp * x**2) == pytest.approx(7.865, rel=0.01)
    assert stamp.max() / gaussian(SIGMA_S).max() == pytest.approx(1.183, abs=0.002)
    assert stamp.min() / stamp.max() == pytest.approx(-0.0035, abs=0.0003)


def test_equalsProperImageSubtraction(rng):
    """27.4 check 3: D' is the ZOGY difference (Zackay, Ofek & Gal-Yam 2016 eq. 13) over its flux scale."""
    size, svar, tvar = 256, 2.0, 1.0
    psfs = [gaussian(s, half=14) for s in (1.5, 1.0)]
    shape = (size, size)

    def transform(image):
        padded = np.zeros(shape)
        padded[: image.shape[0], : image.shape[1]] = image
        return scipy.fft.rfft2(np.roll(padded, (-(image.shape[0] // 2),) * 2, (0, 1)))

    ps, pt = (transform(p) for p in psfs)
    kernel = scipy.fft.fftshift(scipy.fft.irfft2(ps / pt, s=shape))
    kernel = kernel[size // 2 - 30 : size // 2 + 31, size // 2 - 30 : size // 2 + 31]
    science, template = rng.normal(0, np.sqrt(svar), shape), rng.normal(0, np.sqrt(tvar), shape)
    n, r = scipy.fft.rfft2(science), scipy.fft.rfft2(template)
    flux = 1 / np.sqrt(svar + tvar)
    proper = (pt * n - ps * r) / np.sqrt(svar * np.abs(pt) ** 2 + tvar * np.abs(ps) ** 2) / flux
    proper = scipy.fft.irfft2(proper, s=shape)
    difference = science - periodic(template, kernel)
    config = DecorrelateALKernelConfig(compat=True)
    out = decorrelate(pixels(difference, 3), pixels(science, svar), pixels(template, tvar), kernel, config=config)
    deviation = inner(out.maskedImage.image.array - proper) / np.sqrt(svar + tvar)
    assert np.abs(deviation).max() < 1e-6


def test_noiseBecomesWhiteAndTheVarianceRight():
    """27.4 check 4: 512^2 noise of seed 1."""
    rng = np.random.default_rng(1)
    kernel = gaussian(SIGMA_K, half=16)
    difference, science, template = noisePair(rng, 512, 0.04, 0.04, kernel)
    before = 0.04 * (1 + np.sum(kernel**2))
    assert difference.image.array.var() == pytest.approx(before, rel=0.01)
    out = decorrelate(difference, science, template, kernel).maskedImage
    image = inner(out.image.array)
    assert image.var() == pytest.approx(0.08, rel=0.01)
    assert np.mean(out.variance.array) == pytest.approx(0.08, rel=1e-4)
    assert abs(correlation(image, 1)) < 0.01 and abs(correlation(image.T, 1)) < 0.01


def test_correlationOfDominantTemplateNoiseIsRemoved():
    """27.4 checks 4 and 6: svar 1, tvar 100."""
    rng = np.random.default_rng(1)
    kernel = gaussian(SIGMA_K, half=16)
    difference, science, template = noisePair(rng, 512, 1.0, 100.0, kernel)
    for lag, expected in ((1, 0.545), (2, 0.482), (3, 0.392)):
        assert correlation(difference.image.array, lag) == pytest.approx(expected, abs=0.02)
    out = decorrelate(difference, science, template, kernel).maskedImage
    image = inner(out.image.array, 64)
    for lag in (1, 2, 3, 4, 6):
        assert abs(correlation(image, lag)) < 0.1
    assert abs(correlation(image, 1)) < 0.01
    assert image.var() == pytest.approx(101, rel=0.02)


@pytest.mark.parametrize("svar, tvar", [(0.04, 0.04), (0.08, 0.04), (0.04, 0.08)])
def test_spatiallyVaryingAgreesWithConstant(svar, tvar):
    """27.4 check 5: sources of 50 to 30000 counts, 32 x 32 kernel, at least four tiles."""
    rng = np.random.default_rng(5)
    # a matching kernel of 32 x 32 pixels, centred on (16, 16)
    kernel = np.zeros((32, 32))
    kernel[1:, 1:] = gaussian(SIGMA_K, half=15)
    size = 256
    difference, science, template = noisePair(rng, size, svar, tvar, gaussian(SIGMA_K, half=15))
    psfs = gaussian(SIGMA_S, half=25), gaussian(SIGMA_T, half=25)
    detected = 1 << difference.mask.bit("DETECTED")
    for x, y, flux in zip(*rng.integers(40, size - 40, (2, 12)), np.geomspace(50, 30000, 12)):
        cut = np.s_[y - 25 : y + 26, x - 25 : x + 26]
        for plane, psf in zip((science, template), psfs):
            plane.image.array[cut] += flux * psf
            plane.variance.array[cut] += (flux * psf * 1e-4).astype(np.float32)
            plane.mask.array[cut] |= detected
        difference.mask.array[cut] |= detected
    image = difference.image.array
    image[:] = science.image.array - periodic(template.image.array, gaussian(SIGMA_K, half=15))
    sources = (difference.mask.array & detected) != 0
    # what stays of the sources themselves is rounding: the kernel matches them
    assert np.abs(image[sources]).max() < 6 * np.sqrt(svar + tvar) < 0.01 * science.image.array.max()
    blank = inner((difference.mask.array & detected) == 0, 32)
    assert inner(image, 32)[blank].var() < svar + tvar
    results = {}
    for name, config in (("constant", DecorrelateALKernelConfig()), ("tiles", DecorrelateConfig(tileSize=160))):
        out = decorrelate(difference, science, template, kernel, config=config)
        results[name] = out
        assert inner(out.maskedImage.image.array, 32)[blank].var() == pytest.approx(svar + tvar, rel=0.05)
        assert inner(out.maskedImage.variance.array, 32)[blank].mean() == pytest.approx(svar + tvar, rel=0.02)
    assert results["constant"].metadata["nTiles"] == 1 and results["tiles"].metadata["nTiles"] >= 4
    variances = [inner(r.maskedImage.image.array, 32)[blank].var() for r in results.values()]
    assert variances[1] == pytest.approx(variances[0], rel=0.03)


def test_varianceOfAConvolvedScienceImageIsDividedBySquaredKernelSum(rng):
    """27.4 check 7: K0 = 1.3."""
    kernel = gaussian(2.0, half=12, total=1.3)
    science, template = (pixels(rng.normal(size=(300, 280)), v) for v in (2.0, 5.0))
    difference = pixels((fftconvolve(science.image.array, kernel, "same") - template.image.array) / 1.3, 1.0)
    divided = decorrelate(difference, science, template, kernel, templateMatched=False)
    plain = decorrelate(difference, science, template, kernel, templateMatched=False, kernelSum=1.0)
    ratio = plain.maskedImage.variance.array.astype(float) / divided.maskedImage.variance.array
    np.testing.assert_allclose(ratio, 1.69, rtol=3e-7)
    np.testing.assert_allclose(divided.maskedImage.variance.array, (5.0 + 2.0 * 1.69) / 1.69, rtol=1e-5)
    np.testing.assert_array_equal(plain.maskedImage.image.array, divided.maskedImage.image.array)


def test_convolvedScienceImageGivesWhiteNoiseOfTheRightVariance():
    rng = np.random.default_rng(3)
    kernel = gaussian(1.8, half=12, total=0.8)
    science, template = rng.normal(0, 2, (512, 512)), rng.normal(0, 1, (512, 512))
    difference = pixels((periodic(science, kernel) - template) / 0.8, 1.0)
    out = decorrelate(
        difference, pixels(science, 4.0), pixels(template, 1.0), kernel, templateMatched=False
    ).maskedImage
    image = inner(out.image.array)
    assert image.var() == pytest.approx(np.mean(out.variance.array), rel=0.01)
    assert abs(correlation(image, 1)) < 0.01


def test_allNaNImageIsRefused(rng):
    """27.4 check 8, second half."""
    difference, science, template = noisePair(rng, 64, 1.0, 1.0, gaussian(1.5, half=6))
    difference.image.array[...] = np.nan
    with pytest.raises(NoDataError, match="no finite pixel"):
        decorrelate(difference, science, template, gaussian(1.5, half=6))


def test_scoreIsProportionalToThatOfZogy():
    """27.4 check 9: equal PSFs, K0 = 1: S' = (svar + tvar) S, and S'/sqrt(V) has unit variance."""
    rng = np.random.default_rng(9)
    size, svar, tvar = 384, 2.0, 3.0
    psf = gaussian(2.0, half=15)
    shape = (size, size)
    science, template = rng.normal(0, np.sqrt(svar), shape), rng.normal(0, np.sqrt(tvar), shape)
    score = periodic(science - template, psf)  # pre-filtered science minus the template matched to it
    out = decorrelate(pixels(score, 1), pixels(science, svar), pixels(template, tvar), psf, preConvKernel=psf)
    # eq. 12 with equal PSFs and unit flux scales: P (N - R) / (svar + tvar), the same periodic image
    zogy = score / (svar + tvar)
    image, variance = out.maskedImage.image.array, out.maskedImage.variance.array
    np.testing.assert_allclose(inner(image), (svar + tvar) * inner(zogy), atol=1e-5 * np.abs(zogy).max())
    # the variance of score images is (svar + tvar)^2 F_S with F_S = sum P^2 / (svar + tvar)
    np.testing.assert_allclose(variance, (svar + tvar) * np.sum(psf**2), rtol=1e-5)
    many = []
    for _ in range(4):
        noise = rng.normal(0, np.sqrt(svar + tvar), shape)
        found = decorrelate(
            pixels(periodic(noise, psf), 1), pixels(science, svar), pixels(template, tvar), psf, preConvKernel=psf
        ).maskedImage
        many.append(inner(found.image.array / np.sqrt(found.variance.array)))
    assert np.std(many) == pytest.approx(1, abs=0.02)


def test_scoreModeNeedsAConvolvedTemplateAndAUnitSum(rng):
    difference, science, template = noisePair(rng, 64, 1.0, 1.0, gaussian(1.5, half=6))
    psf = gaussian(1.5, half=6)
    with pytest.raises(DomainError, match="convolved template"):
        decorrelate(difference, science, template, psf, preConvKernel=psf, templateMatched=False)
    with pytest.raises(DomainError, match="sum 1"):
        decorrelate(difference, science, template, psf, preConvKernel=2 * psf)


@pytest.mark.parametrize("rho, bias", [(1.0, 1.114), (0.5, 1.069), (0.1, 1.017), (2.0, 1.169)])
def test_fluxWithTheRightPsfIsUnbiased(rho, bias):
    """27.4 check 10: a point source in D', measured with P_D' and with P_S."""
    svar = 0.04
    tvar = rho * svar
    size = 320
    kernel = gaussian(SIGMA_K, half=20)
    source = np.zeros((size, size))
    psf = GaussianPsf(61, 61, SIGMA_S)
    c = size // 2
    source[c - 30 : c + 31, c - 30 : c + 31] = 1000 * psf.computeKernelImage().array
    blank = np.zeros((size, size))
    out = decorrelate(pixels(source, 1), pixels(blank, svar), pixels(blank, tvar), kernel, psf=psf)
    right, wrong = out.psf.computeKernelImage().array, psf.computeKernelImage().array

    def flux(stamp):
        half = stamp.shape[0] // 2
        cut = out.maskedImage.image.array[c - half : c + half + 1, c - half : c + half + 1]
        return np.sum(cut * stamp) / np.sum(stamp**2)

    assert flux(right) == pytest.approx(1000, rel=0.005)
    assert flux(wrong) == pytest.approx(1000 * bias, rel=0.01)
    # signal-to-noise ratio per unit flux: sqrt(sum P^2 / V); the optimum for svar = tvar = 0.04 is 0.33768
    if rho == 1.0:
        assert np.sqrt(np.sum(right**2) / out.metadata["noiseVariance"]) == pytest.approx(0.33768, rel=0.005)


def test_psfFollowsTheInputPsfOverTheImage():
    """27.4 check 11: sigma of the science PSF from 1.5 to 2.5 px, of the template 1.0 px."""
    size, svar, tvar = 1000, 1.0, 1.5
    xs = np.linspace(0, size - 1, 21)
    sigmas = 1.5 + xs / (size - 1)
    psf = ImageGridPsf(np.array([[gaussian(s, half=16) for s in sigmas]]), xs, [size / 2])
    bases = [FixedKernel(gaussian(np.sqrt(s**2 - 1), half=12)) for s in (1.5, 2.0, 2.5)]

    class Kernel:
        """Matches sigma 1.0 to the sigma at x, exactly."""

        isSpatiallyVarying = True

        def imageAt(self, x, y):
            s = 1.5 + x / (size - 1)
            return gaussian(np.sqrt(s**2 - 1), half=12)

    assert bases[0].width == 25
    blank = np.zeros((64, size), np.float32)
    out = decorrelate(pixels(blank, 1), pixels(blank, svar), pixels(blank, tvar), Kernel(), psf=psf)
    half = 20
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    for position in (150.0, 500.0, 850.0):
        stamp = out.psf.resized(2 * half + 1, 2 * half + 1).computeKernelImage((position, 32)).array
        sigma = 1.5 + position / (size - 1)
        expected = (svar * sigma**2 + tvar * 1.0**2) / (svar + tvar)
        assert np.sum(stamp * (x**2 + y**2)) / 2 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("dtype, limit", [(np.float64, 1e-8), (np.float32, 1e-5)])
def test_tilesAgreeWithTheWholeImage(dtype, limit):
    """27.4 check 12: tiles of 256 px with an overlap of 32, the same kernel everywhere."""
    rng = np.random.default_rng(12)
    kernel = gaussian(SIGMA_K, half=16)
    difference, science, template = noisePair(rng, 700, 0.04, 0.04, kernel, dtype)
    whole = decorrelate(difference, science, template, kernel, config=DecorrelateALKernelConfig())
    tiles = decorrelate(difference, science, template, kernel, config=DecorrelateConfig(localVariance=False))
    assert tiles.metadata["nTiles"] >= 9 and tiles.metadata["overlap"] == 32
    deviation = np.abs(whole.maskedImage.image.array - tiles.maskedImage.image.array) / np.sqrt(0.08)
    assert deviation.max() < limit
    np.testing.assert_allclose(whole.maskedImage.variance.array, tiles.maskedImage.variance.array, rtol=2e-6)


@pytest.mark.shared
@pytest.mark.parametrize("complete", [False, True])
def test_goldenImageAndVariancePlanes(sharedDir, complete):
    golden = np.load(sharedDir / "golden" / "decorrelation.npz")
    science, template = (pixels(golden["diff"], 1) for _ in range(2))
    science.variance = Image(golden["svarplane"].astype(np.float32))
    template.variance = Image(golden["tvarplane"].astype(np.float32))
    config = DecorrelateALKernelConfig(compat=True, completeVarPlanePropagation=complete)
    out = decorrelate(
        pixels(golden["diff"], 100), science, template, golden["kernel"],
        config=config, scienceVariance=100.0, templateVariance=50.0,
    ).maskedImage  # fmt: skip
    expected = golden["corrected_image"]
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isnan(out.image.array), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(out.image.array), np.isinf(expected))
    np.testing.assert_allclose(out.image.array[finite], expected[finite], atol=1e-5 * np.abs(expected[finite]).max())
    expected = golden["variance_full" if complete else "variance_estimated"]
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(out.variance.array), finite)
    np.testing.assert_allclose(out.variance.array[finite], expected[finite], atol=1e-5 * expected[finite].max())
    assert out.variance.array[60, 20] == pytest.approx(184.5, rel=1e-4)


# ---------------------------------------------------------------- tiles


@pytest.mark.parametrize("size", [50, 192, 193, 369, 500, 1000, 4096])
def test_windowsAddUpToOneAndTilesCoverTheAxis(size):
    axis = axisOfTiles(size, 192, 32, 16, 25)
    np.testing.assert_allclose(axis.windows.sum(axis=0), 1, atol=1e-6)
    assert axis.windows.min() >= 0 and axis.length <= 256 and axis.length % 2 == 0
    assert axis.tiles[0].first == 0 and axis.tiles[-1].last == size
    for a, b in zip(axis.tiles, axis.tiles[2:]):
        assert a.last <= b.first
    for tile in axis.tiles:
        assert 0 <= tile.start <= tile.first < tile.last <= tile.stop <= size
        assert tile.start == 0 or tile.first - tile.start == 32
        # what is written lies at least one overlap from the periodic images of what is read
        assert axis.length - (tile.stop - tile.start) + (tile.first - tile.start) >= 32 or tile.start == 0
        assert axis.length - (tile.last - tile.start) >= 32


def test_resultDoesNotDependOnTheNumberOfThreads(rng):
    kernel = varyingKernel(600)
    difference, science, template = noisePair(rng, 600, 1.0, 2.0, gaussian(2.0, half=12), np.float32)
    results = []
    for n in (1, 2, 5):
        with numThreads(n):
            results.append(decorrelate(difference, science, template, kernel).maskedImage)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].image.array, other.image.array)
        np.testing.assert_array_equal(results[0].variance.array, other.variance.array)


def test_inputsAreNotModified(rng):
    difference, science, template = noisePair(rng, 300, 1.0, 2.0, gaussian(2.0, half=12), np.float32)
    difference.image.array[50, 60] = np.nan
    copies = [p.copy() for p in (difference, science, template)]
    out = decorrelate(difference, science, template, gaussian(2.0, half=12)).maskedImage
    for before, after in zip(copies, (difference, science, template)):
        np.testing.assert_array_equal(before.image.array, after.image.array)
        np.testing.assert_array_equal(before.mask.array, after.mask.array)
        np.testing.assert_array_equal(before.variance.array, after.variance.array)
    assert not np.shares_memory(out.image.array, difference.image.array)


def test_kernelThatVariesIsFollowed():
    """Where kernel sum and width change, every part of the image has white noise of its own variance."""
    rng = np.random.default_rng(21)
    size = 1024
    kernel = varyingKernel(size)
    science, template = rng.normal(0, 1, (size, size)), rng.normal(0, 2, (size, size))
    matched = np.zeros((size, size))
    yy, xx = np.mgrid[0:size, 0:size]
    for k, base in enumerate(kernel.kernelList):
        a, b, c = kernel.spatialParameters[k]
        matched += (a + b * xx + c * yy) * periodic(template, np.asarray(base.imageAt(0, 0)))
    out = decorrelate(
        pixels((science - matched).astype(np.float32), 1), pixels(science, 1.0), pixels(template, 4.0), kernel
    ).maskedImage
    for y0 in (100, 600):
        for x0 in (100, 600):
            cut = np.s_[y0 : y0 + 300, x0 : x0 + 300]
            k0 = np.asarray(kernel.imageAt(x0 + 150, y0 + 150)).sum()
            assert out.image.array[cut].var() == pytest.approx(1 + 4 * k0**2, rel=0.015)
            assert out.image.array[cut].var() == pytest.approx(out.variance.array[cut].mean(), rel=0.015)
            assert abs(correlation(out.image.array[cut].astype(float), 1)) < 0.02


def test_noiseOfEachTileIsItsOwn():
    """Half of the image has four times the variance in the science image: both halves come out white."""
    rng = np.random.default_rng(33)
    size = 768
    kernel = gaussian(2.0, half=12)
    sigma = np.where(np.arange(size) < size // 2, 1.0, 3.0)[None, :]
    science, template = rng.normal(0, 1, (size, size)) * sigma, rng.normal(0, 2, (size, size))
    planes = pixels(science, np.broadcast_to(sigma**2, science.shape)), pixels(template, 4.0)
    difference = pixels((science - periodic(template, kernel)).astype(np.float32), 1)
    out = decorrelate(difference, *planes, kernel).maskedImage
    for x0, variance in ((40, 5.0), (size // 2 + 140, 13.0)):
        cut = np.s_[40:-40, x0 : x0 + 200]
        assert out.image.array[cut].var() == pytest.approx(variance, rel=0.015)
        assert out.variance.array[cut].mean() == pytest.approx(variance, rel=0.01)
        assert abs(correlation(out.image.array[cut].astype(float), 1)) < 0.012


def test_reachOfTheFilterWidensTheOverlap(rng):
    """A wide kernel and a noisy template need more than 32 pixels."""
    difference, science, template = noisePair(rng, 600, 0.1, 10.0, gaussian(6.0, half=24))
    out = decorrelate(difference, science, template, gaussian(6.0, half=24))
    assert out.metadata["overlap"] > 32
    whole = decorrelate(difference, science, template, gaussian(6.0, half=24), config=DecorrelateALKernelConfig())
    deviation = np.abs(out.maskedImage.image.array - whole.maskedImage.image.array) / np.sqrt(10.1)
    assert deviation.max() < 1e-4


# ---------------------------------------------------------------- holes, bad input


def test_holesStayAndDoNotSpread(rng):
    kernel = gaussian(2.0, half=12)
    difference, science, template = noisePair(rng, 300, 1.0, 1.0, kernel, np.float32)
    clean = decorrelate(difference, science, template, kernel).maskedImage
    bits = {name: 1 << difference.mask.bit(name) for name in ("NO_DATA", "CR", "INTRP")}
    difference.image.array[100:105, 120:130] = np.nan
    difference.mask.array[100:105, 120:130] |= bits["NO_DATA"]
    difference.image.array[200, 50] = np.inf
    difference.image.array[40, 220] = 1e6  # a cosmic ray
    difference.mask.array[40, 220] |= bits["CR"]
    difference.mask.array[150:160, 150:160] |= bits["CR"]  # masked, but as quiet as the sky
    out = decorrelate(difference, science, template, kernel).maskedImage
    np.testing.assert_array_equal(np.isnan(out.image.array), np.isnan(difference.image.array))
    assert np.isposinf(out.image.array[200, 50]) and out.image.array[40, 220] == np.float32(1e6)
    np.testing.assert_array_equal(out.mask.array, difference.mask.array)
    assert np.isposinf(out.variance.array[102, 125]) and np.isposinf(out.variance.array[200, 50])
    # neighbours of the cosmic ray miss its tail of a few hundredths of the noise, nothing more
    near = np.s_[30:51, 210:231]
    change = np.abs(out.image.array[near] - clean.image.array[near])
    change[10, 10] = 0
    assert change.max() < 0.2
    # beyond the reach of the filter nothing changes; quiet masked pixels are filtered like the others
    np.testing.assert_allclose(out.image.array[150:160, 150:160], clean.image.array[150:160, 150:160], atol=2e-3)
    assert np.isfinite(np.delete(out.image.array.ravel(), np.flatnonzero(~np.isfinite(difference.image.array)))).all()


def test_levelOfTheSkyIsKeptUpToTheBorders(rng):
    kernel = gaussian(2.0, half=12)
    difference, science, template = noisePair(rng, 300, 1.0, 1.0, kernel)
    raised = pixels(difference.image.array + 1000, 2)
    a, b = (decorrelate(d, science, template, kernel).maskedImage.image.array for d in (difference, raised))
    np.testing.assert_allclose(b - a, 1000, atol=1e-6)


def test_brightSourcesDoNotCostThePrecisionOfTheSky():
    """A star of 10^7 sigma is transformed in double precision: single would leave ripples of a few sigma."""
    rng = np.random.default_rng(4)
    kernel = gaussian(2.0, half=12)
    difference, science, template = noisePair(rng, 256, 1.0, 1.0, kernel)
    difference.image.array[128, 128] = 1e7
    single = pixels(difference.image.array.astype(np.float32), 2)
    double = decorrelate(difference, science, template, kernel).maskedImage.image.array
    found = decorrelate(single, science, template, kernel).maskedImage.image.array
    assert found.dtype == np.float32
    far = np.hypot(*(np.indices(found.shape) - 128)) > 60
    assert np.abs(found - double)[far].max() < 0.01


def test_infiniteAndMissingVariancesOfTheInputs(rng):
    kernel = gaussian(2.0, half=12)
    difference, science, template = noisePair(rng, 300, 1.0, 2.0, kernel, np.float32)
    science.variance.array[:150, :200] = np.inf
    template.variance.array[10:20, 10:20] = np.nan
    out = decorrelate(difference, science, template, kernel)
    assert out.metadata["scienceVariance"] == pytest.approx(1) and out.metadata["templateVariance"] == pytest.approx(2)
    variance = out.maskedImage.variance.array
    assert np.isposinf(variance[30:140, :200]).all()
    np.testing.assert_allclose(variance[150:], 3.0, rtol=1e-3)
    assert np.isfinite(out.maskedImage.image.array).all()
    template.variance.array[...] = np.nan
    with pytest.raises(NoDataError, match="template"):
        decorrelate(difference, science, template, kernel)


def test_noiseFreeTemplateNeedsNoCorrection(rng):
    kernel = gaussian(2.0, half=12)
    difference, science, template = noisePair(rng, 128, 1.0, 0.0, kernel)
    out = decorrelate(difference, science, template, kernel).maskedImage
    np.testing.assert_allclose(out.image.array, difference.image.array, atol=1e-10)
    np.testing.assert_allclose(out.variance.array, 1.0, rtol=1e-6)


def test_extremeRatioOfVariancesWarns(rng):
    kernel = gaussian(2.0, half=12)
    difference, science, template = noisePair(rng, 128, 1e-9, 1.0, kernel)
    out = decorrelate(difference, science, template, kernel)
    assert [code for code, _ in out.warnings] == ["W-NOISERATIO"]
    assert np.isfinite(out.maskedImage.image.array).all()
    zero = pixels(science.image.array, 0.0)
    with pytest.raises(DomainError, match="both zero"):
        decorrelate(difference, zero, zero, kernel)


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (40, 7), (300, 5)])
def test_tinyImages(rng, shape):
    image = rng.normal(size=shape)
    out = decorrelate(
        pixels(image, 2), pixels(image, 1), pixels(image, 1), gaussian(1.5, half=8), psf=GaussianPsf(15, 15, 1.5)
    )
    assert out.maskedImage.image.array.shape == shape and np.isfinite(out.maskedImage.image.array).all()
    assert out.psf.computeKernelImage().array.sum() == pytest.approx(1)


def test_differentShapesAreRefused(rng):
    a, b = pixels(rng.normal(size=(40, 40)), 1), pixels(rng.normal(size=(40, 41)), 1)
    with pytest.raises(ShapeError, match="template"):
        decorrelate(a, a, b, gaussian(1.5, half=8))


def test_boxAndExposureAreKept(rng):
    kernel = gaussian(1.5, half=8)
    difference, science, template = (
        MaskedImage(
            Image(p.image.array, (1000, 2000)), Mask(p.mask.array, (1000, 2000)), Image(p.variance.array, (1000, 2000))
        )
        for p in noisePair(rng, 96, 1.0, 1.0, kernel, np.float32)
    )
    out = decorrelate(Exposure(difference), Exposure(science), Exposure(template), kernel, psf=GaussianPsf(15, 15, 1.5))
    assert out.maskedImage.bbox == difference.bbox
    assert isinstance(out.psf, ImageGridPsf) and out.psf.averagePosition == tuple(difference.bbox.center)


def test_constantPsfKernelAndNoiseGiveOneStamp(rng):
    kernel = gaussian(1.5, half=8)
    planes = noisePair(rng, 96, 1.0, 1.0, kernel, np.float32)
    config = DecorrelateConfig(localVariance=False)
    out = decorrelate(*planes, kernel, config=config, psf=GaussianPsf(15, 15, 1.5))
    assert isinstance(out.psf, KernelPsf)
    kept = decorrelate(*planes, kernel, config=DecorrelateConfig(updatePsf=False), psf=GaussianPsf(15, 15, 1.5))
    assert kept.psf == GaussianPsf(15, 15, 1.5)


def test_completeVarianceFollowsAStructuredPlane():
    """Against the direct sum over the squared filters, with an asymmetric kernel: correlation, not convolution."""
    rng = np.random.default_rng(8)
    kernel = np.zeros((9, 9))
    kernel[4, 4], kernel[4, 7], kernel[2, 4] = 0.6, 0.3, 0.1
    svar, tvar = 1.0, 3.0
    science, template = (pixels(rng.normal(size=(120, 140)), v) for v in (svar, tvar))
    template.variance.array[60, 70] = 300.0
    config = DecorrelateALKernelConfig(completeVarPlanePropagation=True)
    out = decorrelate(science, science, template, kernel, config=config, scienceVariance=svar, templateVariance=tvar)
    from stillsky.diffim.transfer import decorrelationTransfer

    shape = (128, 128)
    phi = scipy.fft.fftshift(scipy.fft.irfft2(decorrelationTransfer(kernel, svar, tvar, shape), s=shape))[32:97, 32:97]
    filterT = fftconvolve(phi, kernel[::-1, ::-1], "same")
    expected = svar * np.sum(phi**2) + tvar * np.sum(filterT**2)
    response = out.maskedImage.variance.array[60 - 20 : 60 + 21, 70 - 20 : 70 + 21] - expected
    np.testing.assert_allclose(response, 297.0 * filterT[12:53, 12:53] ** 2, atol=2e-4)
    # the light of a template pixel goes to where the correlation takes it from
    assert response[20, 17] > 20 and response[20, 17] > 10 * response[20, 23]


def test_noiseCorrelationOfWhiteAndOfSmoothedNoise(rng):
    white = pixels(rng.normal(size=(600, 600)), 1.0)
    assert np.abs(noiseCorrelation(white, ["DETECTED"])).max() < 0.01
    smooth = white.image.array[:, 1:] + white.image.array[:, :-1]
    found = noiseCorrelation(pixels(smooth, 2.0), ["DETECTED"])
    assert found[0] == pytest.approx(0.5, abs=0.02) and abs(found[1]) < 0.01


def test_noisePeaksBeyondFiveSigmaAreManyMoreWithoutDecorrelation():
    """27.9 check 2: 8 Mpx of noise; the smoothed noise of the plain difference is wider than its variance plane says."""
    rng = np.random.default_rng(2)
    difference, science, template = noisePair(rng, 2896, 1.0, 1.0, gaussian(SIGMA_K, half=16), np.float32)
    psf = GaussianPsf(41, 41, SIGMA_S)
    out = decorrelate(difference, science, template, gaussian(SIGMA_K, half=16), psf=psf)
    settings = dict(threshold=5.0, polarity="both", doTempLocalBackground=False)
    plain = detectSources(Exposure(difference, psf=psf), **settings)
    white = detectSources(Exposure(out.maskedImage, psf=out.psf), **settings)
    counts = [found.numPosPeaks + found.numNegPeaks for found in (plain, white)]
    assert counts[0] > 20 * max(counts[1], 1)
