"""Scaling to a zero point, and marking of pixels without input (coadds and DCR, sections 2.12 and 2.15)."""

import numpy as np
import pytest

import stillsky
from stillsky.coadd import (
    ImageScaler,
    ScaleZeroPointTask,
    SpatialImageScaler,
    computeImageScaler,
    setCoaddEdgeBits,
    zeroPointCalib,
)
from stillsky.image import Image, Mask
from stillsky.photom import ChebyshevBoundedField, PhotoCalib


def _exposure(mean=57.544, **keywords):
    exposure = stillsky.exposure(np.full((4, 5), 3.0, np.float32), variance=np.full((4, 5), 2.0, np.float32))
    exposure.photoCalib = PhotoCalib(mean, **keywords)
    return exposure


def testScaleToZeroPoint():  # Z1
    assert computeImageScaler(_exposure(57.544)).scale == pytest.approx(1.0, abs=1e-4)
    exposure = _exposure(5754.4)
    scaler = computeImageScaler(exposure)
    assert scaler.scale == pytest.approx(100, abs=1e-2)
    exposure.mask.array[1, 1] = 5
    scaler.scaleMaskedImage(exposure.maskedImage)
    np.testing.assert_allclose(exposure.image.array, 300, rtol=1e-4)
    np.testing.assert_allclose(exposure.variance.array, 2e4, rtol=2e-4)
    assert exposure.mask.array[1, 1] == 5 and np.count_nonzero(exposure.mask.array) == 1


def testASourceOfTheZeroPointHasFluxOne():
    for zeroPoint in (27.0, 22.5):
        calib = zeroPointCalib(zeroPoint)
        assert calib.magnitude(1.0) == pytest.approx(zeroPoint, abs=1e-12)
        assert calib.instFluxAtZeroMagnitude == pytest.approx(10 ** (0.4 * zeroPoint), rel=1e-12)
    assert zeroPointCalib().mean == pytest.approx(57.544, abs=1e-3)


def testVaryingCalibrationCountsWithItsMean():
    exposure = _exposure()
    field = ChebyshevBoundedField(exposure.bbox, [[57.544, 5.0]])
    exposure.photoCalib = PhotoCalib.fromField(field)
    assert computeImageScaler(exposure).scale == pytest.approx(1.0, abs=1e-4)


def testTask():
    task = ScaleZeroPointTask()
    assert task.config.zeroPoint == 27.0 and task.getPhotoCalib() == zeroPointCalib(27.0)
    exposure = _exposure(5754.4)
    scaler = task.run(exposure).imageScaler
    np.testing.assert_allclose(exposure.image.array, 3 * scaler.scale, rtol=1e-6)
    assert exposure.photoCalib == task.getPhotoCalib()
    assert task.scaleFromPhotoCalib(PhotoCalib(5754.4)).scale == scaler.scale


def testSpatialScalerIsTheMean():
    scaler = SpatialImageScaler("CONSTANT", [0, 1, 2], [0, 1, 2], [1.0, 2.0, 6.0])
    assert scaler.scale == 3.0
    exposure = _exposure()
    scaler.scaleMaskedImage(exposure)
    np.testing.assert_allclose(exposure.image.array, 9.0)
    np.testing.assert_allclose(exposure.variance.array, 18.0)
    with pytest.raises(RuntimeError, match="one length"):
        SpatialImageScaler("CONSTANT", [0], [0, 1], [1.0])
    with pytest.raises(RuntimeError, match="without any factor"):
        SpatialImageScaler("CONSTANT", [], [], []).scaleMaskedImage(_exposure())
    with pytest.raises(ValueError, match="CONSTANT"):
        SpatialImageScaler("NATURAL_SPLINE", [0], [0], [1.0])


def testImpossibleScales():
    exposure = _exposure()
    exposure.photoCalib = None
    with pytest.raises(stillsky.DomainError, match="has no photoCalib"):
        computeImageScaler(exposure)
    with pytest.raises(stillsky.DomainError, match="above 0"):
        computeImageScaler(_exposure(0.0))
    with pytest.raises(stillsky.DomainError, match="finite"):
        ImageScaler(float("nan"))


def testEdgeBitsWhereTheVarianceIsExactlyZero(rng):  # A11
    variance = np.full((300, 7), 1e-30, np.float32)
    variance[5, 2] = variance[299, 6] = 0.0
    variance[6, 2], variance[7, 2], variance[8, 2] = np.nan, np.inf, -0.0
    before = rng.integers(0, 2**9, variance.shape).astype(np.int32)
    mask = Mask(before.copy(), xy0=(3, 4))
    setCoaddEdgeBits(mask, Image(variance, xy0=(3, 4)))
    expected = before.copy()
    for at in ((5, 2), (299, 6), (8, 2)):
        expected[at] |= mask.bitmask("NO_DATA")
    np.testing.assert_array_equal(mask.array, expected)
    with pytest.raises(ValueError, match="differ in shape"):
        setCoaddEdgeBits(mask, Image.zeros((7, 299), np.float32))
