"""Autocorrelation of the noise of resampled images against warped noise."""

import numpy as np
import pytest

from stillsky.diffim.decorrelation import decorrelate
from stillsky.diffim.resampling_noise import ResamplingNoise
from stillsky.diffim.transfer import noiseSpectrum
from stillsky.geom import AffineTransform
from stillsky.image import Image, MaskedImage
from stillsky.warp import WarpingControl, warpImage

SIZE = 700


def measured(image, reach):
    image = image[20:-20, 20:-20].astype(float)
    image = image - image.mean()
    power = np.abs(np.fft.fft2(image)) ** 2
    correlation = np.fft.ifft2(power).real
    index = np.arange(-reach, reach + 1)
    return correlation[np.ix_(index, index)] / correlation[0, 0]


@pytest.mark.parametrize(
    "matrix, translation",
    [
        (((1, 0), (0, 1)), (0.5, 0.3)),
        (((1, 0), (0, 1)), (-3.0, 2.5)),
        (((0.9998, 0.02), (-0.02, 0.9998)), (14.2, 0.7)),
        (((0.8, 0.1), (-0.1, 0.8)), (40.0, 60.0)),
        (((-1.0, 0.03), (0.03, 1.0)), (SIZE - 11.0, -10.0)),
    ],
)
@pytest.mark.parametrize("name", ["lanczos3", "bilinear"])
def test_correlationIsThatOfWarpedNoise(rng, matrix, translation, name):
    noise = rng.normal(size=(SIZE, SIZE)).astype(np.float32)
    mapping = AffineTransform(matrix, translation)
    target = Image(np.zeros((SIZE, SIZE), np.float32))
    warpImage(target, Image(noise), mapping, WarpingControl(name, ""))
    inside = np.isfinite(target.array)
    inner = target.array[120:-120, 120:-120]
    assert inside[120:-120, 120:-120].all()
    expected = ResamplingNoise(mapping, name)(SIZE / 2, SIZE / 2)
    reach = min(expected.shape[0] // 2, 6)
    centre = expected.shape[0] // 2
    cut = np.s_[centre - reach : centre + reach + 1, centre - reach : centre + reach + 1]
    # the error of a correlation from 2e5 pixels is 0.0022
    np.testing.assert_allclose(expected[cut], measured(inner, reach), atol=0.012)
    assert expected[centre, centre] == 1 and np.array_equal(expected, expected[::-1, ::-1])


def test_wholePixelShiftsLeaveNoiseWhite():
    found = ResamplingNoise(AffineTransform(((1, 0), (0, 1)), (7.0, -2.0)), "lanczos3")(100, 100)
    centre = found.shape[0] // 2
    found = found.copy()
    found[centre, centre] -= 1
    assert np.abs(found).max() < 1e-12


def test_noSourcePositionMeansWhiteNoise():
    found = ResamplingNoise(lambda x, y: (x * np.nan, y), "lanczos3")(0, 0)
    np.testing.assert_array_equal(found, [[1.0]])


def test_spectrumIsTheTransformOfTheCorrelation(rng):
    weights = rng.normal(size=(3, 3))
    padded = np.zeros((32, 48))
    padded[:3, :3] = weights
    power = np.abs(np.fft.rfft2(padded)) ** 2
    correlation = np.fft.irfft2(power, s=(32, 48))
    index = np.arange(-2, 3)
    correlation = correlation[np.ix_(index, index)] / correlation[0, 0]
    np.testing.assert_allclose(
        noiseSpectrum(correlation, (32, 48)), np.maximum(power / np.sum(weights**2), 1e-3), atol=1e-12
    )


def _planes(image, variance):
    return MaskedImage(Image(image), None, Image(np.full(image.shape, variance, np.float32)))


def _smoothed(image, sigma):
    u, v = np.fft.rfftfreq(image.shape[1]), np.fft.fftfreq(image.shape[0])
    return np.fft.irfft2(
        np.fft.rfft2(image) * np.exp(-2 * np.pi**2 * sigma**2 * (u[None] ** 2 + v[:, None] ** 2)), s=image.shape
    )


@pytest.mark.parametrize("templateMatched", [True, False])
def test_resampledTemplateIsWhitenedToo(rng, templateMatched):
    """26 B3: the variance plane of a resampled template is that of its pixels; on wider scales its noise is larger."""
    size = 640
    mapping = AffineTransform(((1, 0), (0, 1)), (0.5, 0.5))
    resampled = Image(np.zeros((size, size), np.float32))
    warpImage(
        resampled, Image(rng.normal(size=(size, size)).astype(np.float32)), mapping, WarpingControl("lanczos3", "")
    )
    template = np.where(np.isfinite(resampled.array), resampled.array, 0).astype(float)
    perPixel = float(template[40:-40, 40:-40].var())
    science = rng.normal(0, 1, (size, size))
    y, x = np.mgrid[-10:11, -10:11]
    kernel = np.exp(-0.5 * (x**2 + y**2) / 1.5**2)
    kernel /= kernel.sum()
    if templateMatched:
        difference = science - _smoothed(template, 1.5)
    else:
        difference = _smoothed(science, 1.5) - template
    noise = ResamplingNoise(mapping, "lanczos3")
    arguments = [_planes(difference, 1), _planes(science, 1.0), _planes(template, perPixel), kernel]
    chis = []
    for correlation in (None, noise, noise(0, 0)):
        out = decorrelate(*arguments, templateMatched=templateMatched, templateCorrelation=correlation).maskedImage
        chis.append((out.image.array / np.sqrt(out.variance.array))[60:-60, 60:-60])
    plain, local, constant = chis
    np.testing.assert_allclose(local, constant, atol=1e-9)
    assert np.std(local) == pytest.approx(1, abs=0.01)
    for lag in (1, 2, 3):
        assert abs(np.mean(local[:, lag:] * local[:, :-lag])) < 0.01
    # what a star-sized filter sees: too much noise without the correction, the right amount with it
    significance = [np.std(_smoothed(chi, 2.0)) * np.sqrt(4 * np.pi) * 2.0 for chi in (plain, local)]
    assert significance[0] > 1.06
    assert significance[1] == pytest.approx(1, abs=0.035)


def test_subtractionOfResampledTemplatesKnowsTheirNoise():
    """Half a pixel off: the finished difference is noisier by the noise that Lanczos hides from the variance plane."""
    from stillsky.diffim import subtract
    from stillsky.sim import simulatePair

    noise = []
    for offset in ((0.0, 0.0), (0.5, 0.5)):
        pair = simulatePair(size=512, seed=3, templateDepth=1.0, defects=False, offset=offset)
        found = subtract(pair.science.toExposure(psf=False), pair.template.toExposure(psf=False)).metadata[
            "decorrelation"
        ]
        science, template, kernelSum = (found[k] for k in ("scienceVariance", "templateVariance", "kernelSum"))
        noise.append(found["noiseVariance"] / (science + template * kernelSum**2))
        assert np.abs(found["noiseWhiteness"]).max() < 0.02
    assert noise[0] == pytest.approx(1, abs=0.01)
    # sum of squared Lanczos weights at half a pixel: 0.617; the noise on wide scales is that of the template itself
    assert noise[1] > 1.1
