"""The default of ImageDifferenceTask where the PSF of the science image varies: noise and fluxes at both ends."""

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from image_difference_scenes import configOf

from stillsky import ImageDifferenceTask, PhotoCalib, makeCdMatrix, makeExposure, makeTanWcs
from stillsky.geom import Box2I
from stillsky.image import Exposure, MaskedImage
from stillsky.kernel import (
    ConvolutionControl,
    FixedKernel,
    LinearCombinationKernel,
    PolynomialFunction2,
    convolve,
)
from stillsky.psf import GaussianPsf, PcaPsf

SIZE = 400
TEMPLATE_SIGMA = 1.5
ENDS = (1.75, 2.75)  # of the science image, at x = 0 and x = 400
NOISE = 4.0
EDGE = 16  # of the convolution


def stampOf(sigma):
    return np.ascontiguousarray(GaussianPsf(31, 31, sigma).computeKernelImage().array)


def varyingPsf():
    """From one end's Gaussian to the other's, linearly in x."""
    return PcaPsf([stampOf(s) for s in ENDS], [[0.5, -0.5, 0.0], [0.5, 0.5, 0.0]], Box2I((0, 0), (SIZE, SIZE)))


def varyingKernel():
    """What turns the PSF of the template into that of the science image, exactly."""
    basis = [FixedKernel(stampOf(np.sqrt(s**2 - TEMPLATE_SIGMA**2))) for s in ENDS]
    return LinearCombinationKernel(
        basis, [PolynomialFunction2([1, -1 / SIZE, 0]), PolynomialFunction2([0, 1 / SIZE, 0])]
    )


def noiseOf(rng, psf):
    return makeExposure(
        rng.normal(0, NOISE, (SIZE, SIZE)).astype(np.float32), variance=np.full((SIZE, SIZE), NOISE**2, np.float32),
        psf=psf, photoCalib=PhotoCalib(1.0),
        wcs=makeTanWcs((200, 200), np.radians((45.0, 10.0)), makeCdMatrix(0.2 / 3600)),
    )  # fmt: skip


class KnownKernel:
    """Stands in for the kernel fit, so that all that is measured is the decorrelation."""

    def subtractExposures(self, template, science, **_):
        kernel = varyingKernel()
        matched = MaskedImage(*(getattr(template.maskedImage, n).copy() for n in ("image", "mask", "variance")))
        convolve(matched, template.maskedImage, kernel, ConvolutionControl())
        difference = science.maskedImage.copy()
        difference -= matched
        return pipeBase.Struct(
            subtractedExposure=Exposure(difference, science.info), matchedExposure=Exposure(matched, science.info),
            warpedExposure=template, psfMatchingKernel=kernel, backgroundModel=None,
        )  # fmt: skip


@pytest.fixture(scope="module")
def differences():
    """Of noise alone, several times, by a task whose configuration is the default."""
    config = configOf(doDetection=False, doMerge=False, doMeasurement=False, doForcedMeasurement=False, doApCorr=False)
    task = ImageDifferenceTask(config=config)
    rng, known = np.random.default_rng(11), KnownKernel()
    task.subtract.subtractExposures = known.subtractExposures
    template = GaussianPsf(31, 31, TEMPLATE_SIGMA)
    made = [
        task.run(noiseOf(rng, varyingPsf()), templateExposure=noiseOf(rng, template)).subtractedExposure
        for _ in range(5)
    ]
    return task, made


def strips(image, width=130):
    """Left and right end of an image without the rim."""
    return image[EDGE:-EDGE, EDGE:width], image[EDGE:-EDGE, -width:-EDGE]


def test_noiseIsWhiteAndTheVariancePlaneTrueAtBothEnds(differences):
    task, made = differences
    assert task.metadata["decorrelationTiles"] > 1
    for end in range(2):
        pulls = np.array([strips(d.image.array / np.sqrt(d.variance.array))[end] for d in made], float)
        assert np.mean(pulls**2) == pytest.approx(1, abs=0.01)
        power = np.mean(pulls**2)
        assert abs(np.mean(pulls[:, :, 1:] * pulls[:, :, :-1])) < 0.01 * power
        assert abs(np.mean(pulls[:, 1:] * pulls[:, :-1])) < 0.01 * power


def test_pointSourceFluxesHaveTheErrorsThatTheVariancePlaneGivesAtBothEnds(differences):
    from scipy.signal import fftconvolve

    for end, x in enumerate((70.0, 330.0)):
        spread = []
        for made in differences[1]:
            stamp = made.psf.computeKernelImage((x, 200.0)).array
            flux = fftconvolve(strips(made.image.array)[end], stamp[::-1, ::-1], mode="valid")
            variance = fftconvolve(strips(made.variance.array)[end], stamp**2, mode="valid")
            spread.append(np.mean(flux**2 / variance))
        assert np.sqrt(np.mean(spread)) == pytest.approx(1, abs=0.03)
