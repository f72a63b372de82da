"""The reference's own checks, restated (acceptance checks 1-9 of the specification); its behaviour is ``compat``."""

import numpy as np
import pytest
from map_scenes import MeanMapper, exposureOf, makeTask, pairs

from stillsky.psf import CoaddPsf


def testCopyAndSumOfAddedAmount():
    exposure = exposureOf()
    out = makeTask(operation="copy").run(exposure).exposure
    assert np.all(out.image.array == 5)
    assert out.psf is exposure.psf and np.all(exposure.image.array == 0)
    total = makeTask(operation="sum").run(exposure).exposure
    assert not np.isnan(total.image.array).any() and isinstance(total.psf, CoaddPsf)


def testInjectedNansLeaveTheOtherPixels():
    task = makeTask(operation="copy")
    task.config.mapper.addNans = True  # after construction: the configuration is held by reference
    out = task.run(exposureOf()).exposure.image.array
    assert np.isnan(out).any() and np.all(out[~np.isnan(out)] == 5)


def testAverageWithStep8():
    out = makeTask(**pairs(step=8)).run(exposureOf()).exposure
    assert np.all(out.image.array == 5) and isinstance(out.psf, CoaddPsf)


def testCopyAndAverageAgree(rng):
    exposure = exposureOf(rng.normal(size=(128, 128)))
    copy, average = (makeTask(operation=name).run(exposure).exposure.image.array for name in ("copy", "average"))
    np.testing.assert_allclose(copy, average, rtol=1e-7)


def testComposedPsfEqualsTheInputs():
    exposure = exposureOf()
    psf = makeTask(operation="coaddPsf").run(exposure).result
    y, x = np.mgrid[-5:6, -5:6]
    for px in np.linspace(0.05 * 128, 0.95 * 128, 10).astype(int):
        for py in np.linspace(0.05 * 128, 0.95 * 128, 10).astype(int):
            mine, given = (p.computeKernelImage((px, py)).array for p in (psf, exposure.psf))
            assert mine.shape == given.shape and np.abs(mine - given).max() < 1e-4
            for moment in (x * x, y * y):
                assert abs((mine * moment).sum() - (given * moment).sum()) < 1e-4


def testMeansOfCellsAsList():
    task = makeTask(mapper=MeanMapper, operation="none")
    results = task.run(exposureOf(np.full((128, 128), 1.234))).result
    assert len(results) == len(task.boxes0) == 169
    assert all(r.result == pytest.approx(np.float32(1.234), rel=1e-6) for r in results)


def testCentroidsGiveOneResultEach():
    centres = [float(v) for v in np.linspace(0, 128, 50)]
    task = makeTask(operation="none", cellCentroidsX=centres, cellCentroidsY=centres)
    assert len(task.run(exposureOf()).result) == 50


def testBoxListsOfDifferentLength():
    task = makeTask()
    task._generateGrid(exposureOf())
    del task.boxes0[-1]
    with pytest.raises(ValueError, match="168 and 169"):
        task.run(exposureOf())


def testUncoveredPixelsAreNanAndFlagged():
    centres = [float(v) for v in np.linspace(0, 128, 50)]
    out = makeTask(cellCentroidsX=centres, cellCentroidsY=centres).run(exposureOf()).exposure
    nan = np.isnan(out.image.array)
    assert nan.sum() > 1000 and out.mask.bit("INVALID_MAPREDUCE") > 0
    np.testing.assert_array_equal(out.mask.isSet("INVALID_MAPREDUCE"), nan)
    assert np.all(out.image.array[~nan] == 5)


def testNumberInPlaceOfAnExposure():
    with pytest.raises(TypeError, match="none"):
        makeTask(mapper=MeanMapper).run(exposureOf())
