"""The likelihood image of the preconvolved task: its noise, its scale, its filter, its detections."""

import types

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from alard_lupton_scenes import BORDER, CALIB, WCS, clipped, makeImage, makeSources, makeStars

from stillsky.diffim.alard_lupton_score_task import (
    AlardLuptonPreconvolveSubtractConfig,
    AlardLuptonPreconvolveSubtractTask,
)
from stillsky.diffim.preconvolve import filterWithPsf, makePrefilter
from stillsky.diffim.transfer import kernelPower, scoreTransfer
from stillsky.diffim.zogy_arrays import zogy
from stillsky.errors import DomainError
from stillsky.geom import Box2I
from stillsky.image import makeExposure
from stillsky.kernel import Chebyshev1Function2, FixedKernel
from stillsky.psf import DoubleGaussianPsf, GaussianPsf, KernelPsf

SIZE = 340
STARS = makeStars(40, size=SIZE)


def gaussian(sigma, half):
    axis = np.arange(-half, half + 1)
    image = np.exp(-0.5 * np.add.outer(axis**2, axis**2) / sigma**2)
    return image / image.sum()


def taskOf(order=0, **values):
    config = AlardLuptonPreconvolveSubtractConfig()
    config.restrictKernelEdgeSources = False  # a small field would lose nearly all
    config.makeKernel.kernel.active.spatialKernelOrder = order
    for name, value in values.items():
        setattr(config, name, value)
    return AlardLuptonPreconvolveSubtractTask(config=config)


def pair(templateSigma=2.4, noise=1.0, **kwargs):
    return (
        makeImage(STARS, templateSigma, noise, 7, BORDER, size=SIZE, **kwargs),
        makeImage(STARS, 2.4, noise, 6, size=SIZE, **kwargs),
    )


@pytest.fixture(scope="module")
def usual():
    template, science = pair()
    task = taskOf()
    return types.SimpleNamespace(
        template=template, science=science, task=task, results=task.run(template, science, makeSources(STARS))
    )


def scoreNoise(templateSigma, noise=1.0):
    """(svar + tvar) sqrt(F_S), the standard deviation of the score over its scale; Gaussian PSFs, equal noise."""
    k = np.fft.fftfreq(256)
    power = [np.exp(-4 * np.pi**2 * s**2 * np.add.outer(k**2, k**2)) for s in (2.4, templateSigma)]
    strength = np.mean(power[0] * power[1] / (noise**2 * (power[0] + power[1]) + 1e-300))
    return 2 * noise**2 * np.sqrt(strength)


def test_noiseOfTheScore(usual):
    # NEA of the science PSF, 4 pi sigma^2
    expected = np.sqrt(2) / np.sqrt(4 * np.pi * 2.4**2)
    mean, sigma, variance = clipped(usual.results.scoreExposure)
    assert sigma == pytest.approx(expected, rel=0.1)
    assert np.sqrt(variance) == pytest.approx(expected, rel=0.1)
    assert abs(mean) < 0.1 * expected


def test_noiseOfTheScoreWithABackground():
    wanted = (2.2, 2.1, 2.0, 1.2, 1.1, 1.0)
    stars = makeStars(60, size=512)
    background = Chebyshev1Function2(wanted, Box2I((0, 0), (512, 512)))
    science = makeImage(stars, 2.4, 1.0, 6, size=512, background=wanted)
    template = makeImage(stars, 2.0, 1.0, 7, BORDER, size=512)
    results = taskOf(1, doSubtractBackground=True).run(template, science, makeSources(stars))
    # the fit's polynomials live on the box that the filter reaches: theirs, evaluated there, are compared
    fitted = results.backgroundModel
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(60.0, 450.0, 9), np.linspace(60.0, 450.0, 9)))
    difference = np.asarray(fitted(x, y)) - np.asarray(background(x, y))
    assert np.std(difference) < 0.2 * np.std(np.asarray(background(x, y)))
    np.testing.assert_allclose(fitted.parameters, wanted, rtol=0.2)
    expected = np.sqrt(2) / np.sqrt(4 * np.pi * 2.4**2)
    assert clipped(results.scoreExposure)[1] == pytest.approx(expected, rel=0.12)


def test_scoreHardlyDependsOnTheTemplatesPsf():
    """The same to the noise for both templates; the noise itself is that of the closed form.

    The noise is not the same: the score's scale, (svar + tvar) F_S, is that of the better template.
    """
    scores = {}
    for sigma in (2.0, 2.8):
        template, science = pair(sigma)
        scores[sigma] = taskOf().run(template, science, makeSources(STARS)).scoreExposure
        _, found, variance = clipped(scores[sigma])
        assert np.sqrt(variance) == pytest.approx(scoreNoise(sigma), rel=0.1)
        assert found == pytest.approx(np.sqrt(variance), rel=0.05)
    apart = scores[2.0].copy()
    apart.image.array[...] -= scores[2.8].image.array
    mean, sigma, _ = clipped(apart)
    noise = np.sqrt(np.median(scores[2.0].variance.array))
    assert abs(mean) < 0.15 * noise and sigma < noise


def test_scoreIsTheSumOfVariancesTimesThatOfZogy():
    """Alard-Lupton and ZOGY meet: S' = (svar + tvar) S with the kernel that takes one PSF to the other."""
    svar, tvar, size = 4.0, 9.0, 256
    rng = np.random.default_rng(3)
    sigmas = (2.0, 1.6)
    stars = makeStars(30, level=3000.0, size=size)
    images = []
    for sigma, variance in zip(sigmas, (svar, tvar)):
        image = makeImage(stars, sigma, 1e-6, 0, size=size).image.array.astype(float)
        images.append(image + rng.normal(0, np.sqrt(variance), image.shape))
    images[0] += makeImage([(128.0, 120.0, 900.0)], sigmas[0], 1e-6, 0, size=size).image.array
    pn, pr = (gaussian(sigma, 20) for sigma in sigmas)
    science, template = (
        makeExposure(image.astype(np.float32), variance=v, psf=KernelPsf(p), wcs=WCS, photoCalib=CALIB)
        for image, v, p in zip(images, (svar, tvar), (pn, pr))
    )
    kernel = FixedKernel(gaussian(np.sqrt(2 * sigmas[0] ** 2 - sigmas[1] ** 2), 30))
    task = taskOf(doScaleVariance=False)
    results = task.run(template, science, psfMatchingKernel=kernel)
    # periodic: the rim differs
    proper = (svar + tvar) * zogy(*images, pn, pr, svar, tvar).score
    inner = (slice(70, -70), slice(70, -70))
    score = results.scoreExposure.image.array
    assert np.abs(score - proper)[inner].max() < 1e-5 * np.abs(proper[inner]).max()
    assert np.unravel_index(score[inner].argmax(), score[inner].shape) == (120 - 70, 128 - 70)
    significance = results.scoreSignificance.array
    np.testing.assert_allclose(significance, score / np.sqrt(results.scoreExposure.variance.array), rtol=1e-5)
    expected = 900.0 / np.sqrt(1 / zogy(*images, pn, pr, svar, tvar).scoreFlux)
    assert significance[120, 128] == pytest.approx(expected, abs=3.0)


def test_filterOfTheScoreIsShort():
    """Frequencies at which both PSFs have drowned in rounding errors do not make it reach over the whole image."""
    pn, pr = gaussian(2.0, 20), gaussian(1.6, 20)
    assert (kernelPower(pn, (256, 256)) < 1e-30).any()
    kernel = gaussian(np.sqrt(2 * 2.0**2 - 1.6**2), 30)
    pixels = np.fft.irfft2(scoreTransfer(kernel, 4.0, 9.0, pn, (256, 256)), s=(256, 256))
    assert np.abs(pixels[0, 30:-30]).max() < 1e-6 * pixels[0, 0]
    same = scoreTransfer(pn, 4.0, 9.0, pn, (256, 256))
    np.testing.assert_allclose(same, 1.0, atol=1e-12)
    assert np.isfinite(scoreTransfer(pr, 4.0, 9.0, pn, (256, 256), np.float32)).all()


def test_significanceHasUnitScatter(usual):
    significance = usual.results.scoreSignificance.array[40:-40, 40:-40]
    inner = np.abs(significance) < 4
    assert significance[inner].std() == pytest.approx(1, abs=0.06)


def test_asymmetricPsfIsNotReflected():
    """A matched filter correlates with the PSF as it is; the reference's reflected one finds a blurred, shifted peak."""
    half = 12
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    stamp = np.exp(-0.5 * (x**2 + y**2) / 1.5**2) + 0.6 * np.exp(-0.5 * ((x - 4) ** 2 + (y - 2) ** 2) / 1.5**2)
    psf = KernelPsf(stamp / stamp.sum())
    image = np.zeros((80, 80), np.float32)
    image[40 - half : 41 + half, 33 - half : 34 + half] = psf.computeKernelImage().array
    science = makeExposure(image, variance=1.0, psf=psf)
    science.mask.addPlane("EDGE")
    peaks = {}
    for reflected in (False, True):
        found, nReplaced = filterWithPsf(science, makePrefilter(psf, reflected))
        assert nReplaced == 0
        peaks[reflected] = found
    at = {key: np.unravel_index(e.image.array.argmax(), image.shape) for key, e in peaks.items()}
    assert at[False] == (40, 33) and at[True] != (40, 33)
    assert peaks[False].image.array.max() == pytest.approx(np.sum(psf.computeKernelImage().array ** 2), rel=1e-5)
    # the PSF of the filtered image is what the filter makes of the source
    stampOf = peaks[False].psf.computeKernelImage().array
    reach = stampOf.shape[0] // 2
    np.testing.assert_allclose(
        peaks[False].image.array[40 - 15 : 56, 33 - 15 : 49], stampOf[reach - 15 : reach + 16, reach - 15 : reach + 16],
        atol=1e-7,
    )  # fmt: skip


def test_compatReflects(usual):
    kernel = makePrefilter(usual.science.psf, reflected=True)
    np.testing.assert_array_equal(kernel.imageAt(0, 0), makePrefilter(usual.science.psf).imageAt(0, 0)[::-1, ::-1])
    compat = taskOf(compat=True).run(usual.template, usual.science, makeSources(STARS)).scoreExposure
    np.testing.assert_allclose(compat.image.array, usual.results.scoreExposure.image.array, atol=1e-5)  # symmetric


def test_evenPsfIsRefused():
    template, science = pair()
    science.psf = DoubleGaussianPsf(30, 30, 2.4)
    with pytest.raises(DomainError, match="odd") as info:
        taskOf().run(template, science, makeSources(STARS))
    assert isinstance(info.value, ValueError)


def test_metadata(usual):
    metadata = usual.task.metadata
    assert metadata["convolvedExposure"] == "Preconvolution"
    assert metadata["preconvolvedSciencePsfSize"] == pytest.approx(np.sqrt(2) * metadata["sciencePsfSize"])
    assert metadata["nInterpolated"] == 0 and metadata["nPsfSources"] == len(usual.results.kernelSources) > 10
    assert usual.task.matchedPsfSize == metadata["preconvolvedSciencePsfSize"]


def test_badPixelsAreReplacedBeforeTheFilter():
    template, science = pair()
    science.image.array[100:103, 100:103] = 1e6
    science.mask.array[100:103, 100:103] |= science.mask.bitmask("SAT")
    science.image.array[200, 150] = np.nan
    task = taskOf()
    results = task.run(template, science, makeSources(STARS))
    assert task.metadata["nInterpolated"] == 10
    score = results.scoreExposure
    assert np.isfinite(score.image.array).all()
    assert np.abs(results.scoreSignificance.array[90:113, 90:113]).max() < 6
    assert score.mask.isSet("SAT")[100 - 10 : 103 + 10, 100 - 10 : 103 + 10].all()
    assert score.mask.isSet("NO_DATA")[200, 150]


def test_rimIsMarkedAndQuiet(usual):
    score, half = usual.results.scoreExposure, 15
    edge = score.mask.isSet("EDGE")
    assert edge[:half].all() and edge[-half:].all() and edge[:, :half].all() and edge[:, -half:].all()
    assert not edge[half:-half, half:-half].any()
    # what lies beyond the border counts as sky: no raw pixels with their larger noise
    rim = usual.results.scoreSignificance.array[edge]
    assert rim.std() < 1.5


def test_configurationAndConnections():
    config = AlardLuptonPreconvolveSubtractConfig()
    assert AlardLuptonPreconvolveSubtractTask._DefaultName == "alardLuptonPreconvolveSubtract"
    made = config.connections.ConnectionsClass(config=config)
    assert set(made.outputs) == {"scoreExposure", "scoreSignificance", "psfMatchingKernel", "kernelSources"}
    assert made.scoreExposure.name == "deepDiff_scoreTempExp"
    assert made.psfMatchingKernel.name == "deepDiff_psfScoreMatchKernel"
    assert made.kernelSources.name == "deepDiff_psfScoreMatchSources"
    config.doWriteScoreSignificance = False
    assert "scoreSignificance" not in config.connections.ConnectionsClass(config=config).outputs


def test_failureAtLowCoverageIsTolerable(usual):
    template = usual.template.copy()
    template.mask.array[:, BORDER + int(0.15 * SIZE) :] |= template.mask.bitmask("NO_DATA")
    with pytest.raises(pipeBase.NoWorkFound, match="tolerable"):
        taskOf().run(template, usual.science, makeSources(STARS))


def test_withoutDecorrelationTheScoreIsTheFilteredDifference(usual):
    task = taskOf(doDecorrelation=False)
    results = task.run(usual.template, usual.science, makeSources(STARS))
    difference = results.matchedScience.image.array - results.matchedTemplate.image.array
    np.testing.assert_allclose(results.scoreExposure.image.array, difference, atol=1e-5)
    assert results.matchedTemplate.psf == results.matchedScience.psf != usual.science.psf
    assert GaussianPsf(61, 61, 2.4 * np.sqrt(2)).fwhm() == pytest.approx(results.matchedScience.psf.fwhm(), rel=1e-2)
