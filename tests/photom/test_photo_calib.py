"""PhotoCalib (core data model 24.5)."""

import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import stillsky
from stillsky.photom import AB_ZERO_FLUX_NJY, PhotoCalib


@dataclass(frozen=True)
class _ChebyshevField:
    """Truth for a calibration that varies: a[j][i] T_i T_j over an inclusive pixel box, edges at +-1."""

    coefficients: tuple
    box: tuple  # x0, y0, x1, y1

    def evaluate(self, x, y):
        x0, y0, x1, y1 = self.box
        xs = 2 * (x - (x0 + x1) / 2) / (x1 - x0 + 1)
        ys = 2 * (y - (y0 + y1) / 2) / (y1 - y0 + 1)
        return np.polynomial.chebyshev.chebval2d(xs, ys, np.array(self.coefficients).T)

    def mean(self):
        sums = [2 / (1 - n * n) if n % 2 == 0 else 0.0 for n in range(9)]
        return sum(c * sums[i] * sums[j] for j, row in enumerate(self.coefficients) for i, c in enumerate(row)) / 4


FIELD = _ChebyshevField(((1000.0, 1000.0),), (-100, -100, 100, 100))


def testConstantCalibration():
    calib = PhotoCalib(1000.0)
    assert calib.fluxNjy(1.0) == 1000.0 and calib.fluxNjyErr(0.1) == pytest.approx(100.0)
    assert calib.magnitude(1.0) == pytest.approx(23.9, abs=1e-10)
    assert calib.magnitudeErr(1.0, 0.1) == pytest.approx(0.1085736, abs=1e-7)
    assert calib.isConstant and calib.localCalibration((3, 4)) == 1000.0


def testAgainstAstropyUnits():
    from astropy import units as u

    assert PhotoCalib().magnitude(575.44) == pytest.approx((575.44 * u.nJy).to_value(u.ABmag), abs=1e-6)
    assert PhotoCalib().magnitude(575.44) == pytest.approx(24.5, abs=1e-5)
    assert AB_ZERO_FLUX_NJY * 1e-9 == pytest.approx(3630.7805477, abs=1e-7)
    calib = PhotoCalib.fromMagZeroPoint(27)
    assert calib.mean == pytest.approx(57.543994, abs=1e-6) and calib.zeroPoint == pytest.approx(27, abs=1e-12)
    assert PhotoCalib.fromMagZeroPoint(26).mean == pytest.approx(144.544, abs=1e-3)


def testInverses():
    calib = PhotoCalib(12.5)
    flux = np.array([0.1, 3.0, 1e6])
    np.testing.assert_allclose(calib.magToInstFlux(calib.magnitude(flux)), flux, rtol=1e-12)
    np.testing.assert_allclose(calib.njyToInstFlux(calib.fluxNjy(flux)), flux, rtol=1e-15)
    assert calib.magnitude(calib.instFluxAtZeroMagnitude) == pytest.approx(0.0, abs=1e-12)


def testFieldCalibration():
    calib = PhotoCalib.fromField(FIELD)
    assert calib.mean == pytest.approx(1000.0, abs=1e-9) and not calib.isConstant
    assert calib.localCalibration((-10, 0)) == pytest.approx(1000 - 10 * 1000 / 100.5, abs=1e-9)
    assert calib.fluxNjy(2.0, (-10, 0)) == pytest.approx(2 * (1000 - 10 * 1000 / 100.5), abs=1e-9)
    assert calib.fluxNjy(2.0) == pytest.approx(2000.0, abs=1e-9)


def testNoWarningForFluxesWithoutMagnitude():
    with np.errstate(all="raise"):
        mags = PhotoCalib().magnitude(np.array([-1.0, 0.0, np.nan, 1.0]))
        errs = PhotoCalib().magnitudeErr(np.array([-1.0, 0.0, 2.0]), np.ones(3))
    assert np.isnan(mags[:3]).all() and mags[3] == pytest.approx(31.4, abs=1e-9)
    assert np.isnan(errs[:2]).all() and errs[2] == pytest.approx(2.5 / math.log(10) / 2)


def testCalibrationErrorOnRequest():
    calib = PhotoCalib(10.0, err=1.0)
    assert calib.fluxNjyErr(3.0) == 30.0
    assert calib.fluxNjyErr(3.0, instFlux=40.0, includeCalibrationError=True) == pytest.approx(50.0)
    with pytest.raises(stillsky.DomainError, match="instFlux"):
        calib.fluxNjyErr(3.0, includeCalibrationError=True)


def testZeroPointFormulasAndRefusals():
    calib = PhotoCalib.fromZeroPoint(1e12, 1e10)
    assert calib.mean == pytest.approx(AB_ZERO_FLUX_NJY / 1e12, rel=1e-15)
    assert calib.err == pytest.approx(AB_ZERO_FLUX_NJY * 1e10 / 1e24, rel=1e-15)
    for bad in (dict(err=-1.0), dict(mean=-2.0), dict(mean=math.nan)):
        with pytest.raises(stillsky.DomainError, match="wanted nJy per count"):
            PhotoCalib(**bad)
    with pytest.raises(stillsky.DomainError, match="positive"):
        PhotoCalib.fromZeroPoint(0.0)


@pytest.mark.parametrize("calib", [PhotoCalib(3.7), PhotoCalib.fromField(FIELD)], ids=["constant", "field"])
def testCalibrateImageAndBack(calib, rng):
    from stillsky.image import Image, MaskedImage

    pixels = rng.normal(100, 10, (300, 60)).astype(np.float32)
    masked = MaskedImage(Image(pixels.copy(), xy0=(50, -150)))  # reaches beyond the field's box
    masked.variance.array[...] = 4
    masked.mask.array[2, 3] = 1
    out = calib.calibrateImage(masked)
    c = np.array([[calib.localCalibration((50 + x, -150 + y)) for x in (0, 59)] for y in (0, 255, 256, 299)])
    rows = np.ix_([0, 255, 256, 299], [0, 59])
    np.testing.assert_allclose(out.image.array[rows], pixels[rows] * c, rtol=1e-6)
    np.testing.assert_allclose(out.variance.array[rows], 4 * c * c, rtol=1e-6)
    np.testing.assert_array_equal(out.mask.array, masked.mask.array)
    np.testing.assert_array_equal(masked.image.array, pixels)  # the input is not touched
    back = calib.uncalibrateImage(out)
    np.testing.assert_allclose(back.image.array, pixels, rtol=1e-6)
    np.testing.assert_allclose(back.variance.array, 4, rtol=1e-6)
    assert tuple(back.xy0) == (50, -150) and out.image.array.dtype == np.float32


def testCatalogColumns():
    from astropy.table import Table

    table = Table({"x": [-10.0, 0.0], "y": [0.0, 0.0], "a_instFlux": [1.0, -1.0], "a_instFluxErr": [0.1, 0.1]})
    table["b_instFlux"] = [2.0, 3.0]
    PhotoCalib.fromField(FIELD).calibrateCatalog(table, ["a", "b"])
    new = ["a_flux", "a_fluxErr", "a_mag", "a_magErr", "b_flux", "b_mag"]
    assert table.colnames[5:] == new
    assert table["a_flux"][0] == pytest.approx(1000 - 10 * 1000 / 100.5, abs=1e-9)
    assert str(table["a_flux"].unit) == "nJy" and np.isnan(table["a_mag"][1])
    with pytest.raises(KeyError, match="c_instFlux"):
        PhotoCalib().calibrateCatalog(table, "c")
    empty = PhotoCalib().calibrateCatalog(Table({"a_instFlux": np.zeros(0)}), "a")
    assert len(empty) == 0 and empty.colnames == ["a_instFlux", "a_flux", "a_mag"]


def testValueSemantics():
    a = PhotoCalib(2.0, 0.1)
    assert a == PhotoCalib(2.0, 0.1) and hash(a) == hash(PhotoCalib(2.0, 0.1)) and a != PhotoCalib(2.0)
    assert pickle.loads(pickle.dumps(a)) == a and "mean=2.0" in repr(a)
    field = PhotoCalib.fromField(FIELD)
    assert pickle.loads(pickle.dumps(field)) == field
