"""ModelPsfMatchTask: matching PSF models without stars."""

import numpy as np
import pytest
from lsst.pipe.base import AlgorithmError
from task_scenes import render, toExposure

from stillsky.errors import DomainError, InvalidPsfError
from stillsky.geom import AffineTransform
from stillsky.kernel import FixedKernel, LinearCombinationKernel, PolynomialFunction2
from stillsky.measure import adaptiveMoments
from stillsky.meta import FilterLabel, VisitInfo
from stillsky.psf import DoubleGaussianPsf, GaussianPsf, KernelPsf, WarpedPsf
from stillsky.psfmatch import model_match
from stillsky.psfmatch.model_psf_match import (
    ModelPsfMatchConfig,
    ModelPsfMatchTask,
    PsfComputeShapeError,
    WarpedPsfTransformTooBigError,
    nextOddInteger,
)


def makeExposure(psf, sigma=2.0):
    exposure = toExposure(render(256, [(128, 128)], [1e4], sigma), sigma)
    exposure.psf = psf
    return exposure


def makeTask(kernelSize=9, order=0, **fields):
    config = ModelPsfMatchConfig()
    config.kernel.active.kernelSize = kernelSize
    config.kernel.active.spatialKernelOrder = order
    for name, value in fields.items():
        setattr(config if name in ("doAutoPadPsf", "autoPadPsfTo", "padPsfBy") else config.kernel.active, name, value)
    return ModelPsfMatchTask(config=config)


class BrokenPsf(GaussianPsf):
    """Not defined on the left half of the plane."""

    def _kernel(self, x, y):
        if x < 0:
            raise InvalidPsfError(f"not defined at x = {x}")
        return super()._kernel(x, y)

    def _dimensionsAt(self, x, y):
        if x < 0:
            raise InvalidPsfError(f"not defined at x = {x}")
        return super()._dimensionsAt(x, y)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("kernelSum", [0.5, 1.0, 2.7])
@pytest.mark.parametrize("compat", [False, True])
def testTheKernelHasTheRequestedSum(order, kernelSum, compat):
    exposure = makeExposure(DoubleGaussianPsf(11, 11, 2.0))
    task = makeTask(order=order, compat=compat)
    result = task.run(exposure, DoubleGaussianPsf(11, 11, 3.7), kernelSum=kernelSum)
    assert result.psfMatchingKernel.imageAt(128.0, 128.0).sum() == pytest.approx(kernelSum, abs=1e-7)


def testTheShapeOfTheKernelDoesNotDependOnItsSum():
    exposure = makeExposure(DoubleGaussianPsf(11, 11, 2.0))
    images = []
    for kernelSum in (0.5, 1.0, 2.7):
        kernel = makeTask(order=1).run(exposure, DoubleGaussianPsf(11, 11, 3.7), kernelSum).psfMatchingKernel
        images.append(kernel.imageAt(100.0, 90.0) / kernelSum)
    np.testing.assert_allclose(images[0], images[1], atol=1e-10)
    np.testing.assert_allclose(images[2], images[1], atol=1e-10)


def testCompatibleTaskScalesTheFirstCoefficientAlone():
    exposure = makeExposure(DoubleGaussianPsf(11, 11, 2.0))
    one, two = (
        makeTask(compat=True).run(exposure, DoubleGaussianPsf(11, 11, 3.7), s).psfMatchingKernel.kernelParameters
        for s in (1.0, 2.7)
    )
    assert two[0] == 2.7 and one[0] == 1.0
    np.testing.assert_array_equal(one[1:], two[1:])


@pytest.mark.parametrize("kernelSum", [1.0, 2.7])
def testAPlantedStarGetsTheReferenceSigmaAndTheRequestedFlux(kernelSum):
    # Kernels of 9 pixels cannot do it: from 2.0 to 3.7 pixels takes a kernel of sigma 3.1, and one of 9 pixels with all
    # its pixels equal has sigma 2.6. So the kernel has 21 pixels here.
    exposure = makeExposure(DoubleGaussianPsf(31, 31, 2.0))
    matched = makeTask(21).run(exposure, DoubleGaussianPsf(31, 31, 3.7), kernelSum).psfMatchedExposure
    moments = adaptiveMoments(np.nan_to_num(matched.image.array), None, None, [128.0], [128.0], guessSigma=3.7)
    assert np.sqrt(0.5 * (moments.xx[0] + moments.yy[0])) == pytest.approx(3.7, rel=0.01)
    assert np.nansum(matched.image.array) == pytest.approx(1e4 * kernelSum, rel=1e-4)


def testAKernelAsLargeAsThePsfImageIsRefused():
    with pytest.raises(ValueError, match="kernelSize") as caught:
        makeTask(11, doAutoPadPsf=False).run(
            makeExposure(DoubleGaussianPsf(11, 11, 2.0)), DoubleGaussianPsf(11, 11, 3.7)
        )
    for remedy in ("kernelSize", "padPsfBy", "doAutoPadPsf"):
        assert remedy in caught.value.remedy


def testAutomaticPadding():
    matched = makeTask().run(makeExposure(DoubleGaussianPsf(11, 11, 2.0)), DoubleGaussianPsf(11, 11, 3.7))
    box = matched.psfMatchedExposure.psf.computeBBox((128, 128))
    assert nextOddInteger(9 * 1.4) == 13
    assert tuple(box.dimensions) == (13, 13)


@pytest.mark.parametrize(("padding", "size"), [(0, 11), (2, 13), (4, 15)])
def testManualPadding(padding, size):
    task = makeTask(doAutoPadPsf=False, padPsfBy=padding)
    result = task.run(makeExposure(DoubleGaussianPsf(11, 11, 2.0)), DoubleGaussianPsf(11, 11, 3.7))
    assert tuple(result.psfMatchedExposure.psf.computeBBox((128, 128)).dimensions) == (size, size)


@pytest.mark.parametrize("padding", [1, 3, 5])
def testOddPaddingIsRefused(padding):
    task = makeTask(doAutoPadPsf=False, padPsfBy=padding)
    with pytest.raises(ValueError, match="even"):
        task.run(makeExposure(DoubleGaussianPsf(11, 11, 2.0)), DoubleGaussianPsf(11, 11, 3.7))


def testALargerReferenceIsCutToTheSizeOfTheExposuresPsf():
    task = makeTask(doAutoPadPsf=False)
    result = task.run(makeExposure(DoubleGaussianPsf(11, 11, 2.0)), DoubleGaussianPsf(13, 13, 3.7))
    psf = result.psfMatchedExposure.psf
    assert tuple(psf.computeBBox((0, 0)).dimensions) == (11, 11)
    assert psf.sigma1 == 3.7


def testAReferenceThatCannotBeResizedIsPaddedWithAWarning(caplog):
    class Fixed(DoubleGaussianPsf):
        def resized(self, width, height):
            raise InvalidPsfError("cannot be resized")

    result = makeTask().run(makeExposure(DoubleGaussianPsf(11, 11, 2.0)), Fixed(11, 11, 2.5))
    assert "cannot be resized" in caplog.text
    assert np.isfinite(result.psfMatchingKernel.imageAt(0, 0)).all()


def testComponentsOfTheExposureSurvive():
    exposure = makeExposure(DoubleGaussianPsf(11, 11, 2.0))
    exposure.info.visitInfo = VisitInfo(exposureTime=30.0)
    exposure.info.filter = FilterLabel(band="r", physical="r.1")
    exposure.info.id = 17
    matched = makeTask().run(exposure, DoubleGaussianPsf(11, 11, 3.7)).psfMatchedExposure
    assert matched.visitInfo == exposure.visitInfo
    assert matched.filter == exposure.filter and matched.id == 17
    assert matched.psf == DoubleGaussianPsf(13, 13, 3.7)


def testAnExposureWithoutPsfIsRefused():
    with pytest.raises(RuntimeError, match="PSF"):
        makeTask().run(makeExposure(None), DoubleGaussianPsf(11, 11, 3.7))


def testAPsfThatIsNotDefinedSomewhereIsAnAlgorithmError():
    psf = BrokenPsf(11, 11, 2.0, averagePosition=(128.0, 128.0))
    with pytest.raises(PsfComputeShapeError) as caught:
        makeTask().run(makeExposure(psf), GaussianPsf(11, 11, 3.7))
    assert isinstance(caught.value, AlgorithmError)
    assert caught.value.metadata == {"position": {"x": -64.0, "y": -64.0}}
    assert "(-64.00, -64.00)" in str(caught.value)


def testAWarpThatStretchesTooMuchHasItsOwnError():
    transform = AffineTransform(np.array([[500.0, 0.0], [0.0, 500.0]]), np.zeros(2))
    psf = WarpedPsf(GaussianPsf(11, 11, 2.0), transform)
    with pytest.raises(WarpedPsfTransformTooBigError) as caught:
        makeTask().run(makeExposure(psf), GaussianPsf(11, 11, 3.7))
    assert isinstance(caught.value, AlgorithmError)
    assert set(caught.value.metadata["position"]) == {"x", "y"}


def testTheWidthIsTakenNearbyWhereTheAveragePositionFails():
    class HolePsf(GaussianPsf):
        def _shape(self, x, y):
            if (x, y) == (50.0, 50.0):
                raise DomainError("hole")
            return super()._shape(x, y)

    psf = HolePsf(21, 21, 2.0, averagePosition=(50.0, 50.0))
    assert model_match.modelFwhm(psf, seed=1) == pytest.approx(2.354820045 * 2.0, rel=1e-9)
    with pytest.raises(model_match.PsfComputeShapeError):
        model_match.modelFwhm(psf)


def testCellsSurroundTheExposure():
    exposure = makeExposure(GaussianPsf(11, 11, 2.0))
    cells = model_match.planModelCells(exposure.bbox, 128, 64)
    assert (cells.region.minX, cells.region.minY, cells.region.width, cells.region.height) == (-128, -64, 512, 384)
    assert cells.centers[0] == (-64, -32) and len(cells.centers) == 4 * 6


def testAVaryingPsfIsMatchedEverywhere():
    narrow, wide = (GaussianPsf(25, 25, s).computeKernelImage((0, 0)).array for s in (1.5, 2.2))
    kernel = LinearCombinationKernel(
        [FixedKernel(np.array(narrow)), FixedKernel(np.array(wide))],
        [PolynomialFunction2([1.0, -1.0 / 256, 0.0]), PolynomialFunction2([0.0, 1.0 / 256, 0.0])],
    )
    positions = [(40.0, 60.0), (210.0, 190.0)]
    psf = KernelPsf(kernel, (128.0, 128.0))
    image = np.zeros((256, 256))
    for x, y in positions:
        image[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13] += 1e4 * psf.computeKernelImage((x, y)).array
    exposure = toExposure(image, 2.0)
    exposure.psf = psf
    matched = makeTask(21, order=2).run(exposure, GaussianPsf(25, 25, 3.0)).psfMatchedExposure
    moments = adaptiveMoments(np.nan_to_num(matched.image.array), None, None, *np.transpose(positions), guessSigma=3.0)
    np.testing.assert_allclose(np.sqrt(0.5 * (moments.xx + moments.yy)), 3.0, rtol=0.01)
