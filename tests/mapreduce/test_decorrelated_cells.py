"""Decorrelation through cells: acceptance check 24 of the specification."""

import numpy as np
import pytest
from map_scenes import exposureOf, pairs
from scipy.ndimage import convolve

from stillsky.diffim.decorrelate_task import DecorrelateALKernelMapper, DecorrelateALKernelTask
from stillsky.mapreduce.task import ImageMapReduceConfig, ImageMapReduceTask
from stillsky.psf import GaussianPsf


@pytest.mark.parametrize("variances", [(0.04, 0.04), (0.04, 0.08), (0.08, 0.04)])
def testDecorrelationThroughCells(variances, rng):
    """Equal to the whole image's to 1e-4 of the noise in the interior; the variance is that expected within 2 %."""
    y, x = np.mgrid[-7:8, -7:8]
    kernel = np.exp(-(x**2 + y**2) / (2 * 1.6**2))
    kernel /= kernel.sum()
    shape = (400, 400)
    science, template = (rng.normal(0, np.sqrt(v), shape) for v in variances)
    psf = GaussianPsf(31, 31, 2.4, averagePosition=(200, 200))
    difference = exposureOf(science - convolve(template, kernel, mode="wrap"), variance=sum(variances), psf=psf)
    science, template = (exposureOf(p, variance=v, psf=psf) for p, v in zip((science, template), variances))
    whole = DecorrelateALKernelTask().run(science, template, difference, kernel).correctedExposure
    config = ImageMapReduceConfig()
    config.mapper.retarget(DecorrelateALKernelMapper)
    config.scaleByFwhm = False
    for name, value in pairs(cell=90, step=80, border=40).items():
        setattr(config, name, value)
    task = ImageMapReduceTask(config=config)
    out = task.run(difference, template=template, science=science, psfMatchingKernel=kernel).exposure
    assert len(task.boxes0) == 25
    inner = (slice(45, -45), slice(45, -45))
    sigma = np.sqrt(sum(variances))
    assert np.abs(out.image.array[inner] - whole.image.array[inner]).max() < 1e-4 * sigma
    assert out.image.array[inner].astype(float).var() == pytest.approx(sum(variances), rel=0.02)
    assert np.median(out.variance.array[inner]) == pytest.approx(sum(variances), rel=0.02)
    np.testing.assert_allclose(
        out.psf.computeKernelImage((200, 200)).array, whole.psf.computeKernelImage((200, 200)).array, atol=1e-5
    )
