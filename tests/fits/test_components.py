"""PSFs and other components in files."""

import numpy as np
import pytest
from astropy.io import fits

import stillsky
from stillsky.fits import readPart, writeExposure
from stillsky.fits.records import fromRecord, toRecord
from stillsky.geom import AffineTransform, Box2I
from stillsky.image import Exposure, Image, MaskedImage
from stillsky.kernel import AnalyticKernel, FixedKernel, GaussianFunction2, PolynomialFunction2
from stillsky.photom import ApCorrMap, ChebyshevBoundedField, PhotoCalib
from stillsky.psf import (
    DoubleGaussianPsf,
    GaussianPsf,
    ImageGridPsf,
    KernelPsf,
    PcaPsf,
    SingleGaussianPsf,
    WarpedPsf,
)


def _psfs(rng):
    grid = np.abs(rng.normal(size=(2, 3, 7, 9)))
    basis = rng.normal(size=(3, 11, 11))
    basis[0] = GaussianPsf(11, 11, 2.0).computeKernelImage().array
    coefficients = np.array([[1, 0, 0], [0.01, 0.02, 0], [0, 0.01, -0.02]])
    kernel = np.abs(rng.normal(size=(5, 7)))
    return {
        "gaussian": GaussianPsf(25, 21, 2.2),
        "single": SingleGaussianPsf(25, 21, 2.2),
        "double": DoubleGaussianPsf(25, 25, 2.1, 1.0, 0.1),
        "kernel": KernelPsf(kernel / kernel.sum()),
        "fixed": KernelPsf(FixedKernel(kernel / kernel.sum())),
        "grid": ImageGridPsf(grid / grid.sum(axis=(2, 3), keepdims=True), [0.0, 50, 90], [0.0, 60]),
        "pca": PcaPsf(basis, coefficients, (-0.5, -0.5, 99.5, 79.5)),
        "warped": WarpedPsf(GaussianPsf(25, 25, 2.0), AffineTransform([[1.1, 0.1], [0.0, 0.95]], (3.0, -2.0))),
    }


def _exposure(psf):
    exposure = Exposure(MaskedImage(Image(np.zeros((80, 100), np.float32))))
    exposure.psf = psf
    return exposure


@pytest.mark.parametrize("name", ["gaussian", "single", "double", "kernel", "fixed", "grid", "pca", "warped"])
def testPsfRoundTrip(tmp_path, rng, name):
    psf = _psfs(rng)[name]
    path = tmp_path / "e.fits"
    writeExposure(_exposure(psf), path)
    for back in (stillsky.read(path).psf, readPart(path, "psf")):
        assert back == psf and type(back) is type(psf)
        for position in ((10.0, 12.0), (70.3, 41.8)):
            a, b = psf.computeImage(position), back.computeImage(position)
            np.testing.assert_array_equal(a.array, b.array)
            assert a.bbox == b.bbox
    with fits.open(path, checksum=True) as hdus:
        assert hdus["SKY_PSF"].header["STYPE"] == type(psf).__name__ and hdus["SKY_PSF"].header["SVERS"] == 1


def testPsfWithoutFormIsSampled(tmp_path):
    varying = AnalyticKernel(15, 15, GaussianFunction2(2.0, 1.5, 0.0), PolynomialFunction2([2.0, 0.005, 0.0]))
    psf = KernelPsf(varying, averagePosition=(50, 40))
    path = tmp_path / "e.fits"
    writeExposure(_exposure(psf), path)
    back = stillsky.read(path).psf
    assert isinstance(back, ImageGridPsf)
    for position in ((0.0, 0.0), (99.0, 79.0)):
        np.testing.assert_allclose(
            back.computeKernelImage(position).array, psf.computeKernelImage(position).array, atol=1e-12
        )
    middle = (40.0, 33.0)
    change = back.computeKernelImage(middle).array - psf.computeKernelImage(middle).array
    assert np.abs(change).max() < 0.01 * psf.computeKernelImage(middle).array.max()


def testPsfGivenAsFile(tmp_path, rng):
    fits.PrimaryHDU(np.ones((20, 30), np.float32)).writeto(tmp_path / "i.fits")
    stamp = GaussianPsf(15, 15, 2.0).computeKernelImage().array
    fits.PrimaryHDU(5 * stamp).writeto(tmp_path / "p.fits")
    psf = stillsky.read(tmp_path / "i.fits", psfPath=tmp_path / "p.fits").psf
    np.testing.assert_allclose(psf.computeKernelImage().array, stamp, atol=1e-15)
    fits.PrimaryHDU(stamp[:14, :14]).writeto(tmp_path / "even.fits")
    even = stillsky.read(tmp_path / "i.fits", psfPath=tmp_path / "even.fits").psf.computeKernelImage().array
    assert even.shape == (15, 15) and np.unravel_index(even.argmax(), even.shape) == (7, 7)
    pca = _psfs(rng)["pca"]
    writeExposure(_exposure(pca), tmp_path / "e.fits")
    assert stillsky.read(tmp_path / "i.fits", psfPath=tmp_path / "e.fits").psf == pca
    fits.PrimaryHDU(np.full((5, 5), np.nan)).writeto(tmp_path / "bad.fits")
    with pytest.raises(stillsky.FitsLayoutError, match="bad.fits.*finite"):
        stillsky.read(tmp_path / "i.fits", psfPath=tmp_path / "bad.fits")


def testImagesThatAreNoLikelyPsf(tmp_path, rng):
    """The sky of a cut-out, a star at its edge: W-PSF; a stamp with wings of 3 %: none."""
    fits.PrimaryHDU(np.ones((20, 30), np.float32)).writeto(tmp_path / "i.fits")
    y, x = np.mgrid[-12:13, -12:13]
    star = np.exp(-(x**2 + y**2) / 18.0)
    for name, pixels, words in (
        ("sky", 5 * star + 1, "sky.fits has 17 % of its peak at the border"),
        ("side", np.roll(star, 6, axis=1), "side.fits has its peak 6 px from the centre"),
        ("wings", star + 0.03, None),
    ):
        fits.PrimaryHDU(pixels).writeto(tmp_path / f"{name}.fits")
        _, provenance = stillsky.readExposure(tmp_path / "i.fits", psfPath=tmp_path / f"{name}.fits")
        found = [line for line in provenance if line.startswith("W-PSF")]
        assert len(found) == (words is not None) and all(words in line for line in found), provenance


def testSummaryStatistics(tmp_path):
    exposure = _exposure(None)
    exposure.info.summaryStats = {"psfSigma": 1.75, "skyBg": -0.0, "magLim": float("nan")}
    writeExposure(exposure, tmp_path / "e.fits")
    back = readPart(tmp_path / "e.fits", "summaryStats")
    assert back["psfSigma"] == 1.75 and np.isnan(back["magLim"]) and list(back) == list(exposure.info.summaryStats)
    assert stillsky.read(tmp_path / "e.fits").info.summaryStats["psfSigma"] == 1.75


def testComponentsWithoutFormAreAnnounced(tmp_path, caplog):
    exposure = _exposure(None)
    exposure.apCorrMap = {"x": object()}
    exposure.info.coaddInputs = object()
    writeExposure(exposure, tmp_path / "e.fits")
    assert "apCorrMap" in caplog.text and stillsky.read(tmp_path / "e.fits").apCorrMap is None
    assert "coaddInputs" in caplog.text and stillsky.read(tmp_path / "e.fits").info.coaddInputs is None


def testNewerTableVersion(tmp_path):
    writeExposure(_exposure(GaussianPsf(11, 11, 2.0)), tmp_path / "e.fits")
    with fits.open(tmp_path / "e.fits", mode="update") as hdus:
        hdus["SKY_PSF"].header["SVERS"] = 2
    with pytest.raises(stillsky.FitsLayoutError, match="e.fits.*version 2"):
        readPart(tmp_path / "e.fits", "psf")
    assert readPart(tmp_path / "e.fits", "filter") is None  # other components stay readable


def testRecordsKeepEveryType(tmp_path):
    fields = {
        "flag": True,
        "count": -(2**40),
        "value": np.pi,
        "text": "naïve \\ 'quote'",
        "empty": "",
        "cube": np.arange(24.0).reshape(2, 3, 4),
        "vector": np.arange(3, dtype=np.int64),
        "one": np.array([1.5]),
        "nothing": np.zeros((0, 4)),
        "bits": np.array([[True, False], [False, True]]),
        "bytes": np.arange(5, dtype=np.uint8),
        "big": np.arange(4, dtype=">f4"),
        "scalar": np.array(2.5),
    }
    hdu = toRecord("SKY_X", "Thing", {**fields, "absent": None})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "r.fits", checksum=True)
    with fits.open(tmp_path / "r.fits", checksum=True) as hdus:
        name, back = fromRecord(hdus[1])
    assert name == "Thing" and list(back) == list(fields)
    for key, value in fields.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(back[key], value)
            assert (
                back[key].shape == value.shape and back[key].dtype.isnative and back[key].dtype.kind == value.dtype.kind
            )
        else:
            assert back[key] == value and type(back[key]) is type(value)
    with pytest.raises(TypeError, match="'o'"):
        toRecord("X", "Y", {"o": np.array([object()])})


class _Slope:
    """A field of another class: no polynomial."""

    def evaluate(self, x, y):
        return 100.0 / (1.0 + 0.002 * np.asarray(x) + 0.001 * np.asarray(y))

    def mean(self):
        return 90.0


def testACalibrationThatVariesKeepsItsField(tmp_path, rng):
    exposure = _exposure(None)
    field = ChebyshevBoundedField(exposure.bbox, rng.normal(size=(3, 2)) + [[50, 0], [0, 0], [0, 0]])
    exposure.photoCalib = PhotoCalib.fromField(field, 0.25)
    writeExposure(exposure, tmp_path / "e.fits")
    for back in (stillsky.read(tmp_path / "e.fits").photoCalib, readPart(tmp_path / "e.fits", "photoCalib")):
        assert back == exposure.photoCalib and back.field == field and back.err == 0.25
    exposure.photoCalib = PhotoCalib(3.0, 0.1)
    writeExposure(exposure, tmp_path / "c.fits")
    assert stillsky.read(tmp_path / "c.fits").photoCalib == PhotoCalib(3.0, 0.1)
    with fits.open(tmp_path / "e.fits") as varies, fits.open(tmp_path / "c.fits") as constant:
        versions = [hdus["SKY_PHOTOCALIB"].header["SVERS"] for hdus in (varies, constant)]
    assert versions == [2, 1]  # programs that know no fields must not take the mean for everything


def testAFieldOfAnotherClassIsWrittenAsAPolynomial(tmp_path, caplog):
    exposure = _exposure(None)
    exposure.photoCalib = PhotoCalib.fromField(_Slope())
    caplog.set_level("INFO", "stillsky.fits")
    writeExposure(exposure, tmp_path / "e.fits")
    back = stillsky.read(tmp_path / "e.fits").photoCalib
    x, y = np.meshgrid(np.arange(100.0), np.arange(80.0))
    np.testing.assert_allclose(back.localCalibration((x, y)), _Slope().evaluate(x, y), rtol=1e-6)
    assert back.mean == 90.0 and "largest deviation" in caplog.text


def testApertureCorrectionsAreKept(tmp_path, rng):
    exposure = _exposure(None)
    boxes = exposure.bbox, Box2I((-5, 7), (30, 40))
    exposure.info.apCorrMap = ApCorrMap(
        {
            f"base_{name}": ChebyshevBoundedField(box, rng.normal(size=shape))
            for name, box, shape in zip(
                ("PsfFlux_instFlux", "PsfFlux_instFluxErr", "GaussianFlux_instFlux"),
                (*boxes, boxes[0]),
                ((1, 1), (3, 2), (2, 4)),
                strict=True,
            )
        }  # fmt: skip
    )
    writeExposure(exposure, tmp_path / "e.fits")
    assert stillsky.read(tmp_path / "e.fits").info.apCorrMap == exposure.info.apCorrMap
    assert readPart(tmp_path / "e.fits", "apCorrMap") == exposure.info.apCorrMap
    exposure.info.apCorrMap = ApCorrMap()
    writeExposure(exposure, tmp_path / "n.fits")
    assert stillsky.read(tmp_path / "n.fits").info.apCorrMap is None
