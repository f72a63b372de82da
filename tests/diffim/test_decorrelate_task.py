"""Decorrelation as tasks: arguments, metadata, cells."""

import numpy as np
import pytest
import scipy.fft

from stillsky.diffim.decorrelate_config import STATISTICS_PLANES
from stillsky.diffim.decorrelate_task import (
    DecorrelateALKernelConfig,
    DecorrelateALKernelMapper,
    DecorrelateALKernelSpatialConfig,
    DecorrelateALKernelSpatialTask,
    DecorrelateALKernelTask,
)
from stillsky.errors import NoDataError
from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.kernel import FixedKernel
from stillsky.psf import GaussianPsf

SVAR, TVAR = 2.0, 3.0


def gaussian(sigma, half=12, total=1.0):
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    image = np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    return total * image / image.sum()


def exposure(image, variance, sigma, xy0=(0, 0)):
    planes = MaskedImage(
        Image(image.astype(np.float32), xy0),
        Mask(np.zeros(image.shape, np.int32), xy0),
        Image(np.full(image.shape, variance, np.float32), xy0),
    )
    return Exposure(planes, psf=GaussianPsf(31, 31, sigma))


def filtered(image, kernel):
    padded = np.zeros(image.shape)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    padded = np.roll(padded, (-(kernel.shape[0] // 2),) * 2, (0, 1))
    return scipy.fft.irfft2(scipy.fft.rfft2(image) * scipy.fft.rfft2(padded), s=image.shape)


@pytest.fixture
def pair(rng):
    """Science, template, difference with the template convolved, kernel."""
    size = 300
    kernel = gaussian(1.5)
    science, template = rng.normal(0, np.sqrt(SVAR), (size, size)), rng.normal(0, np.sqrt(TVAR), (size, size))
    difference = science - filtered(template, kernel)
    xy0 = (500, 300)
    return (
        exposure(science, SVAR, 2.0, xy0),
        exposure(template, TVAR, 1.4, xy0),
        exposure(difference, SVAR + TVAR * np.sum(kernel**2), 2.0, xy0),
        FixedKernel(kernel),
    )


def test_configsHaveRubinsFieldsAndDefaults():
    config = DecorrelateALKernelConfig()
    assert tuple(config.ignoreMaskPlanes) == STATISTICS_PLANES and config.completeVarPlanePropagation is False
    spatial = DecorrelateALKernelSpatialConfig()
    cells = spatial.decorrelateMapReduceConfig
    assert (cells.gridStepX, cells.gridStepY, cells.cellSizeX, cells.cellSizeY) == (40, 40, 41, 41)
    assert (cells.borderSizeX, cells.borderSizeY) == (8, 8) and cells.reducer.reduceOperation == "average"
    assert cells.mapper.target is DecorrelateALKernelMapper
    assert tuple(spatial.ignoreMaskPlanes) == STATISTICS_PLANES
    assert spatial.decorrelateConfig.completeVarPlanePropagation is False
    assert DecorrelateALKernelTask._DefaultName == "ip_diffim_decorrelateALKernel"


def test_topLevelNamesAreTheTasks():
    import stillsky

    assert stillsky.DecorrelateALKernelTask is DecorrelateALKernelTask
    assert stillsky.DecorrelateALKernelSpatialTask is DecorrelateALKernelSpatialTask
    assert stillsky.DecorrelateALKernelMapper is DecorrelateALKernelMapper
    from stillsky.diffim import decorrelate, decorrelation

    assert decorrelate is decorrelation.decorrelate


def test_resultIsNewAndWhiteAndItsFiguresAreInTheMetadata(pair):
    science, template, difference, kernel = pair
    before = difference.copy()
    task = DecorrelateALKernelTask()
    corrected = task.run(science, template, difference, kernel).correctedExposure
    np.testing.assert_array_equal(difference.image.array, before.image.array)
    np.testing.assert_array_equal(difference.variance.array, before.variance.array)
    assert corrected.bbox == difference.bbox and corrected is not difference
    assert np.var(corrected.image.array[40:-40, 40:-40]) == pytest.approx(SVAR + TVAR, rel=0.02)
    np.testing.assert_allclose(corrected.variance.array, SVAR + TVAR, rtol=1e-4)
    assert corrected.psf.computePeak() > 1.1 * difference.psf.computePeak()
    assert task.metadata["noiseVariance"] == pytest.approx(SVAR + TVAR, rel=1e-4)
    assert abs(task.metadata.getArray("noiseWhiteness")[0]) < 0.02
    task.run(science, template, difference, kernel, svar=4.0, tvar=1.0)  # once more: values are replaced
    assert task.metadata["scienceVariance"] == 4.0 and task.metadata["templateVariance"] == 1.0
    assert len(task.metadata.getArray("noiseWhiteness")) == 2


def test_varianceMeanIsClippedAndLeavesMaskedPixelsOut(pair):
    science = pair[0]
    science.variance.array[10:20] = 1e4
    science.mask.array[10:20] |= 1 << science.mask.bit("DETECTED")
    science.variance.array[100, 100] = 1e6
    task = DecorrelateALKernelTask()
    assert task.computeVarianceMean(science) == pytest.approx(SVAR, rel=1e-5)


def test_preConvKernelNeedsPreConvMode(pair):
    """image-difference 27.4 check 8."""
    science, template, difference, kernel = pair
    task = DecorrelateALKernelTask()
    for arguments in ({}, {"preConvMode": True, "templateMatched": False}):
        with pytest.raises(ValueError, match="preConv"):
            task.run(science, template, difference, kernel, preConvKernel=kernel, **arguments)
    with pytest.raises(ValueError, match="preConvMode"):
        task.run(science, template, difference, kernel, preConvMode=True, templateMatched=False)


def test_allNaNImageIsNoData(pair):
    """image-difference 27.4 check 8: Rubin's clone would pass for a difference."""
    science, template, difference, kernel = pair
    difference.image.array[...] = np.nan
    with pytest.raises(NoDataError):
        DecorrelateALKernelTask().run(science, template, difference, kernel)


def test_scoreModeTakesThePsfOfTheScienceImage(pair):
    science, template, _, _ = pair
    psf = science.psf.computeKernelImage().array
    kernelQ = gaussian(np.sqrt(2 * 2.0**2 - 1.4**2))
    score = filtered(science.image.array, psf) - filtered(template.image.array, kernelQ)
    given = exposure(score, 1.0, 2.0, tuple(science.xy0))
    task = DecorrelateALKernelTask()
    implied = task.run(science, template, given, kernelQ, preConvMode=True).correctedExposure
    named = task.run(science, template, given, kernelQ, preConvKernel=psf, preConvMode=True).correctedExposure
    np.testing.assert_array_equal(implied.image.array, named.image.array)
    significance = (implied.image.array / np.sqrt(implied.variance.array))[40:-40, 40:-40]
    assert np.std(significance) == pytest.approx(1, abs=0.1)  # few independent points of a smooth image
    science.info.psf = None
    with pytest.raises(ValueError, match="neither"):
        task.run(science, template, given, kernelQ, preConvMode=True)


def test_scienceMatchedRolesAndPsf(pair):
    science, template, _, kernel = pair
    sum_ = 0.7
    kernel = FixedKernel(sum_ * kernel.array)
    raw = (filtered(science.image.array, kernel.array) - template.image.array) / sum_
    difference = exposure(raw, 1.0, 1.4, tuple(science.xy0))
    difference.psf = None
    corrected = (
        DecorrelateALKernelTask().run(science, template, difference, kernel, templateMatched=False).correctedExposure
    )
    expected = (TVAR + SVAR * sum_**2) / sum_**2
    np.testing.assert_allclose(corrected.variance.array, expected, rtol=1e-4)
    assert np.var(corrected.image.array[40:-40, 40:-40]) == pytest.approx(expected, rel=0.02)
    assert corrected.psf.computePeak() > template.psf.computePeak()


def test_cellsAgreeWithTheWholeImage(pair):
    """image-map-reduce check 24: a constant kernel, cells with a border wider than the filter; several cells."""
    science, template, difference, kernel = pair
    config = DecorrelateALKernelSpatialConfig()
    cells = config.decorrelateMapReduceConfig
    cells.scaleByFwhm = False
    cells.gridStepX = cells.gridStepY = 100
    cells.cellSizeX = cells.cellSizeY = 101
    cells.borderSizeX = cells.borderSizeY = 32
    task = DecorrelateALKernelSpatialTask(config=config)
    difference.mask.array[5, 7] |= 1 << difference.mask.bit("CR")
    varying = task.run(science, template, difference, kernel).correctedExposure
    constant = task.run(science, template, difference, kernel, spatiallyVarying=False).correctedExposure
    assert task.mapReduceTask.metadata["numCells"] >= 9
    deviation = np.abs(varying.image.array - constant.image.array)[40:-40, 40:-40]
    assert deviation.max() < 1e-4 * np.abs(constant.image.array).max()
    np.testing.assert_allclose(varying.variance.array, constant.variance.array, rtol=0.02)
    np.testing.assert_array_equal(varying.mask.array, difference.mask.array)
    assert np.var(varying.image.array[40:-40, 40:-40]) == pytest.approx(SVAR + TVAR, rel=0.02)
    assert varying.psf.computePeak((650, 450)) == pytest.approx(constant.psf.computePeak((650, 450)), rel=0.01)


def test_defaultCellsAreInUnitsOfTheFwhm(pair):
    """The cells of the default configuration: 41 FWHM of 4.7 px are 193 px, two by two of them."""
    science, template, difference, kernel = pair
    task = DecorrelateALKernelSpatialTask()
    corrected = task.run(science, template, difference, kernel).correctedExposure
    assert task.mapReduceTask.metadata["numCells"] >= 4
    assert task.mapReduceTask.metadata["borderSizeX"] == pytest.approx(8 * 4.71, abs=2)
    # what the in-place cells of the reference get wrong by a factor of 2.3
    assert np.var(corrected.image.array[20:-20, 20:-20]) == pytest.approx(SVAR + TVAR, rel=0.02)


def test_fieldsOfTheDecorrelationHoldForTheCells(pair):
    config = DecorrelateALKernelSpatialConfig()
    config.decorrelateConfig.completeVarPlanePropagation = True
    config.ignoreMaskPlanes = ["BAD"]
    task = DecorrelateALKernelSpatialTask(config=config)
    for used in (task.decorrelateTask.config, task.mapReduceTask.mapper.config):
        assert used.completeVarPlanePropagation is True and list(used.ignoreMaskPlanes) == ["BAD"]


def test_convolvedScienceImageIsDividedByOneKernelSumInAllCells(pair):
    science, template, _, kernel = pair
    kernel = FixedKernel(0.7 * kernel.array)
    raw = (filtered(science.image.array, kernel.array) - template.image.array) / 0.7
    difference = exposure(raw, 1.0, 1.4, tuple(science.xy0))
    corrected = (
        DecorrelateALKernelSpatialTask()
        .run(science, template, difference, kernel, templateMatched=False)
        .correctedExposure
    )
    np.testing.assert_allclose(corrected.variance.array, (TVAR + SVAR * 0.49) / 0.49, rtol=1e-3)


def test_mapperNeedsAKernelAndKeepsEmptyCells(pair):
    science, template, difference, kernel = pair
    mapper = DecorrelateALKernelMapper()
    box = difference.bbox
    with pytest.raises(RuntimeError, match="alTaskResult or psfMatchingKernel"):
        mapper.run(difference, difference, box, template, science)

    class Result:
        psfMatchingKernel = kernel

    a = mapper.run(difference, difference, box, template, science, alTaskResult=Result()).subExposure
    b = mapper.run(difference, difference, box, template, science, psfMatchingKernel=kernel).subExposure
    np.testing.assert_array_equal(a.image.array, b.image.array)
    difference.image.array[...] = np.nan
    empty = mapper.run(difference, difference, box, template, science, psfMatchingKernel=kernel).subExposure
    assert np.isnan(empty.image.array).all()
