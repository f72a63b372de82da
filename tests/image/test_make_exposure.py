"""Exposures from arrays of any kind (user experience, check A24) and astropy's CCDData (core data model, check 84)."""

import numpy as np
import pytest
from astropy import units
from astropy.nddata import CCDData, InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS

import stillsky
from stillsky.errors import MaskSchemaError, ShapeError
from stillsky.geom import Point2I
from stillsky.image import Mask, fromCCDData, makeExposure, toCCDData
from stillsky.meta import Header
from stillsky.wcs import SkyWcs, makeCdMatrix, makeTanWcs

COUNTS = np.arange(30, dtype=np.uint16).reshape(5, 6)


def readOnly(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        COUNTS,
        COUNTS.astype(">u2"),
        COUNTS.astype(">f4"),
        COUNTS.astype(">f8"),
        COUNTS.astype(np.int64),
        COUNTS.astype(np.float16),
        np.asfortranarray(COUNTS.astype(np.float32)),
        COUNTS.astype(np.float32)[::-1][::-1],
        np.repeat(COUNTS.astype(np.float32), 2, axis=1)[:, ::2],
        readOnly(COUNTS.astype(np.float32)),
        COUNTS.tolist(),
    ],
    ids=lambda a: f"{a.dtype.str}{a.strides}" if isinstance(a, np.ndarray) else "list",
)
def testAnyArrayBecomesTheSameExposure(array):
    native = COUNTS.astype(np.float32)
    exposure = stillsky.exposure(array, variance=np.asarray(array) + 1)
    assert exposure == makeExposure(native, variance=native + 1)
    for plane in (exposure.image.array, exposure.variance.array, exposure.mask.array):
        assert plane.flags.c_contiguous and plane.flags.writeable and plane.dtype.isnative
    assert exposure.image.array.dtype == np.float32 and exposure.mask.array.dtype == np.int32


def testNativeArraysAreShared():
    image, mask = np.ones((3, 4), np.float32), np.zeros((3, 4), np.int32)
    variance = np.ones((3, 4), np.float32)
    exposure = makeExposure(image, mask=mask, variance=variance)
    assert exposure.image.array is image and exposure.mask.array is mask and exposure.variance.array is variance


def testMasksOfAllKinds():
    flags = np.zeros((5, 6), bool)
    flags[2, 3] = True
    exposure = makeExposure(COUNTS, variance=1.0, mask=flags)
    np.testing.assert_array_equal(exposure.mask.array, flags * np.int32(1))
    bits = makeExposure(COUNTS, variance=1.0, mask=(flags * 10).astype(">i8"))
    assert bits.mask.describe(x=3, y=2) == "CR,SAT"
    named = makeExposure(COUNTS, variance=1.0, mask=Mask(np.zeros((5, 6), np.int32), schema={"NO_DATA": 3}))
    assert dict(named.mask.schema) == {"NO_DATA": 3}
    for wrong in (np.full((5, 6), 2**31, np.int64), np.full((5, 6), 2**31 + 5, np.uint32), np.zeros((5, 6))):
        with pytest.raises(MaskSchemaError):
            makeExposure(COUNTS, variance=1.0, mask=wrong)


def testPixelsWithoutAValueAreNoData():
    values = COUNTS.astype(float)
    values[0, 1], values[4, 5] = np.nan, np.inf
    exposure = makeExposure(values, variance=2.0)
    assert exposure.mask.describe(x=1, y=0) == exposure.mask.describe(x=5, y=4) == "NO_DATA"
    assert np.count_nonzero(exposure.mask.array) == 2 and np.all(exposure.variance.array == 2)
    masked = makeExposure(np.ma.MaskedArray(COUNTS, COUNTS == 7), variance=1.0)
    assert np.isnan(masked.image[1, 1]) and masked.mask.describe(x=1, y=1) == "NO_DATA"
    assert masked.image[2, 1] == 8.0


def testValuesBeyondSinglePrecisionAreInfinite():
    assert np.isinf(makeExposure(np.array([[1e300, 1.0]]), variance=1.0).image[0, 0])


def testMissingVarianceIsMeasuredAndSaidSo(rng):
    exposure = makeExposure(rng.normal(100, 3, (200, 200)))
    assert exposure.variance[0, 0] == pytest.approx(9, rel=0.05)
    assert any("variance" in sentence for sentence in exposure.info.provenance)


def testShapesMustAgree():
    for name in ("variance", "mask"):
        with pytest.raises(ShapeError):
            makeExposure(COUNTS, **{"variance": 1.0, name: np.zeros((6, 5), np.int32)})
    with pytest.raises(ShapeError):
        makeExposure(np.zeros(5))
    with pytest.raises(ValueError):
        makeExposure(np.array([["a", "b"]]))


def testPsfArrays():
    stamp = np.zeros((5, 5))
    stamp[2, 2], stamp[2, 3] = 3, 1
    psf = makeExposure(COUNTS, variance=1.0, psf=stamp).psf
    np.testing.assert_allclose(psf.computeKernelImage((2, 2)).array, stamp / 4, atol=1e-12)
    assert makeExposure(COUNTS, variance=1.0, psf=psf).psf is psf


def testWcsOfTheArray():
    wcs = makeTanWcs((110, 220), (1.0, 0.5), makeCdMatrix(1e-4))
    local = wcs.localWcs((100, 200))
    assert isinstance(local, WCS) and tuple(local.wcs.crpix) == (11, 21)
    assert makeExposure(COUNTS, variance=1.0, wcs=local, xy0=(100, 200)).wcs == wcs
    assert makeExposure(COUNTS, variance=1.0, wcs=wcs, xy0=(100, 200)).wcs is wcs


# CCDData


@pytest.fixture
def exposure(rng):
    wcs = makeTanWcs((110, 220), (1.0, 0.5), makeCdMatrix(1e-4))
    mask = Mask(rng.integers(0, 2**12, (20, 30)).astype(np.int32), (100, 200))
    mask.addPlane("MINE")
    return makeExposure(
        rng.normal(0, 1, (20, 30)),
        variance=rng.uniform(1, 2, (20, 30)),
        mask=mask,
        wcs=wcs,
        xy0=(100, 200),
        metadata=Header({"BUNIT": "nJy", "OBJECT": "x", "N": 3}),
    )


def testCcdDataRoundTrip(exposure):
    ccd = toCCDData(exposure, badPlanes=["SAT"])
    assert np.shares_memory(ccd.data, exposure.image.array)
    assert np.shares_memory(ccd.uncertainty.array, exposure.variance.array)
    np.testing.assert_array_equal(ccd.mask, exposure.mask.isSet("SAT"))
    np.testing.assert_array_equal(ccd.flags, exposure.mask.array)
    assert ccd.unit == units.nJy and (ccd.meta["LTV1"], ccd.meta["LTV2"]) == (-100, -200)
    assert ccd.meta["MP_MINE"] == 11 and tuple(ccd.wcs.wcs.crpix) == (11, 21)
    back = fromCCDData(ccd)
    assert back.maskedImage == exposure.maskedImage and back.xy0 == Point2I(100, 200)
    assert dict(back.metadata.items()) == {"OBJECT": "x", "N": 3, "BUNIT": "nJy"}
    ours, theirs = (np.degrees(e.wcs.pixelToSky(115.0, 207.0)) for e in (exposure, back))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def testCcdDataCanBeWritten(exposure, tmp_path):
    exposure.metadata = Header({"OBJECT": "x"})
    ccd = toCCDData(exposure)
    ccd.flags = None
    ccd.write(tmp_path / "ccd.fits")
    read = CCDData.read(tmp_path / "ccd.fits")
    assert read.unit == units.adu and fromCCDData(read).xy0 == Point2I(100, 200)
    np.testing.assert_array_equal(read.data, exposure.image.array)


@pytest.mark.parametrize(
    "uncertainty, variance",
    [
        (StdDevUncertainty(np.full((2, 3), 3.0)), 9),
        (VarianceUncertainty(np.full((2, 3), 3.0)), 3),
        (InverseVariance(np.full((2, 3), 4.0)), 0.25),
        (None, 0),
    ],
)
def testUncertaintiesOfAllKinds(uncertainty, variance):
    flags = np.array([[0, 0, 1], [0, 0, 0]], bool)
    exposure = fromCCDData(CCDData(np.ones((2, 3)), uncertainty=uncertainty, mask=flags, unit="adu"), plane="SAT")
    assert np.all(exposure.variance.array == variance)
    np.testing.assert_array_equal(exposure.mask.array, flags * 2)
    assert exposure.metadata["BUNIT"] == "adu" and exposure.wcs is None


def testUncertaintyInOtherUnits():
    ccd = CCDData(np.ones((2, 3)), uncertainty=StdDevUncertainty(np.full((2, 3), 5.0), unit="nJy"), unit="uJy")
    np.testing.assert_allclose(fromCCDData(ccd).variance.array, 25e-6, rtol=1e-6)


def testPlainNdData():
    exposure = fromCCDData(NDData(np.ones((2, 3), ">f4"), meta={"odd": object(), "A": 1}))
    assert exposure.metadata["A"] == 1 and "odd" not in exposure.metadata and "BUNIT" not in exposure.metadata
    assert isinstance(makeExposure(COUNTS, variance=1.0, wcs=makeTanWcs((0, 0), (0, 0), np.eye(2))).wcs, SkyWcs)
