"""The record of a coadd's inputs (coadds and DCR, section 2.13)."""

import logging
import math

import numpy as np
import pytest
from astropy.io import fits

import stillsky
from stillsky.coadd import (
    AssembleCoaddAlgorithmConfig,
    CoaddInputRecorder,
    CoaddInputRecorderConfig,
    CoaddInputRecorderTask,
    assembleCoadd,
    copyValidPolygons,
    makeCoaddPsf,
    shrinkValidPolygons,
)
from stillsky.fits.records import fromRecord, toRecord
from stillsky.geom import Box2D, Box2I, Polygon
from stillsky.image import CoaddInputs
from stillsky.meta import Detector, FilterLabel, VisitInfo
from stillsky.photom import ApCorrMap, ChebyshevBoundedField, PhotoCalib
from stillsky.psf import GaussianPsf, Psf
from stillsky.wcs import makeTanWcs

BOX = Box2I((-123, -45), (60, 50))


def _wcs(offset=0.0):
    return makeTanWcs((offset, 0), (1.0, -0.5), np.array([[-0.2, 0], [0, 0.2]]) / 3600)


def _exposure(box=BOX, **components):
    exposure = stillsky.exposure(np.ones((box.height, box.width), np.float32), xy0=tuple(box.min))
    for name, value in components.items():
        setattr(exposure.info, name, value)
    return exposure


def _warp(visit=17, recorder=None, detectors=2):
    """A warp of two detectors."""
    recorder = recorder or CoaddInputRecorder()
    warp = _exposure(wcs=_wcs(), filter=FilterLabel("g", "g DECam"), visitInfo=VisitInfo(id=visit, exposureTime=30.0))
    one = recorder.makeCoaddTempExpRecorder(visit, detectors)
    for number in range(detectors):
        box = Box2I((0, 0), (2000, 1000 + number))
        calexp = _exposure(
            Box2I((0, 0), (4, 4)), psf=GaussianPsf(21, 21, 1.5 + number), wcs=_wcs(number),
            photoCalib=PhotoCalib(57.5), visitInfo=warp.visitInfo,
            apCorrMap=ApCorrMap({"base_PsfFlux_instFlux": ChebyshevBoundedField(box, [[1.0 + 0.1 * number]])}),
            detector=Detector(id=10 + number, name=f"N{number}") if number else None,
        )  # fmt: skip
        one.addCalExp(calexp, visit * 100 + number, 900 - number)
    one.finish(warp)
    return warp


def testTablesHaveTheColumnsOfTheReference():
    inputs = CoaddInputs()
    box = ["bbox_min_x", "bbox_min_y", "bbox_max_x", "bbox_max_y"]
    plain = [n for n in inputs.visits.colnames if inputs.visits[n].dtype.kind != "O"]
    assert plain == ["id", *box, "goodpix", "weight", "filter"]
    plain = [n for n in inputs.ccds.colnames if inputs.ccds[n].dtype.kind != "O"]
    assert plain == ["id", "ccd", "visit", *box, "goodpix", "weight", "filter"]
    kinds = {n: inputs.ccds[n].dtype for n in ("id", "ccd", "visit", "goodpix", "weight", "bbox_max_y")}
    assert kinds == {"id": np.int64, "ccd": np.int32, "visit": np.int64, "goodpix": np.int32, "weight": np.float64,
                     "bbox_max_y": np.int32}  # fmt: skip


def testWarpRecordsItsDetectors():
    inputs = _warp().info.coaddInputs
    assert list(inputs.visits["id"]) == [17] and list(inputs.visits["goodpix"]) == [1799]
    assert inputs.bboxOf(inputs.visits[0]) == BOX and inputs.visits["filter"][0] == "g DECam"
    assert list(inputs.ccds["id"]) == [1700, 1701] and list(inputs.ccds["ccd"]) == [-1, 11]
    assert list(inputs.ccds["goodpix"]) == [900, 899] and set(inputs.ccds["visit"]) == {17}
    row = inputs.ccds[1]
    assert row["psf"] == GaussianPsf(21, 21, 2.5) and row["wcs"] == _wcs(1) and row["photoCalib"].mean == 57.5
    assert row["validPolygon"] is None and row["visitInfo"].id == 17


def testVisitsAreAddedWithTheirWeights():
    recorder, inputs = CoaddInputRecorder(), CoaddInputs()
    for visit, weight in ((30, 2.0), (17, 0.5)):
        row = recorder.addVisitToCoadd(inputs, _warp(visit), weight)
        assert row["id"] == visit and row["weight"] == weight and row["filter"] == "g DECam"
    assert list(inputs.visits["id"]) == [30, 17] and list(inputs.ccds["weight"]) == [2, 2, 0.5, 0.5]
    assert list(inputs.ccds["filter"]) == ["g DECam"] * 4 and inputs.ccds[3]["psf"] == GaussianPsf(21, 21, 2.5)
    inputs.sort()
    assert list(inputs.visits["id"]) == [17, 30] and list(inputs.ccds["id"]) == [1700, 1701, 3000, 3001]
    assert inputs.ccds[0]["weight"] == 0.5


def testWarpsWithoutExactlyOneVisitAreNotRecorded(caplog):
    recorder, inputs = CoaddInputRecorder(), CoaddInputs()
    double = _warp()
    recorder.addVisitToCoadd(double.info.coaddInputs, _warp(18), 1.0)
    for warp in (_exposure(), double):
        with caplog.at_level(logging.WARNING):
            assert recorder.addVisitToCoadd(inputs, warp, 1.0) is None
    assert len(inputs.visits) == len(inputs.ccds) == 0
    assert "0 visits" in caplog.text and "2 visits" in caplog.text


def testADetectorOfAnotherVisitIsAnnounced(caplog):
    warp = _warp()
    warp.info.coaddInputs.ccds["visit"][1] = 99
    with caplog.at_level(logging.WARNING):
        CoaddInputRecorder().addVisitToCoadd(CoaddInputs(), warp, 1.0)
    assert "CCD 1701 belongs to visit 99" in caplog.text


def testRecorderOptions():
    config = CoaddInputRecorderConfig()
    assert (config.saveEmptyCcds, config.saveErrorCcds, config.saveVisitGoodPix, config.saveCcdWeights) == (
        False, False, True, True,
    )  # fmt: skip
    for flag in (False, True):
        config = CoaddInputRecorderConfig(saveEmptyCcds=flag, saveErrorCcds=flag, saveVisitGoodPix=flag,
                                          saveCcdWeights=flag)  # fmt: skip
        recorder = CoaddInputRecorder(config)
        warp, one = _exposure(), recorder.makeCoaddTempExpRecorder(5, 3)
        one.addCalExp(_exposure(), 1, 0)
        one.addCalExp(None, 2, 7)
        one.addCalExp(_exposure(), 3, 11)
        one.finish(warp, 11)
        inputs = warp.info.coaddInputs
        assert list(inputs.ccds["id"]) == ([1, 2, 3] if flag else [3])
        assert inputs.visits["goodpix"][0] == (11 if flag else 0)
        coadd = recorder.makeCoaddInputs()
        recorder.addVisitToCoadd(coadd, warp, 4.0)
        assert coadd.ccds["weight"][-1] == (4.0 if flag else 0.0) and coadd.visits["weight"][0] == 4.0


def testTaskIsTheRecorder():
    task = CoaddInputRecorderTask()
    warp = _warp(recorder=task)
    inputs = task.makeCoaddInputs()
    assert task.addVisitToCoadd(inputs, warp, 3.0)["weight"] == 3.0 and len(inputs.ccds) == 2


def testAPlainImageIsItsOwnInput():
    """A warp that knows no inputs is one visit and one detector; masked pixels and those without value are not good."""
    exposure = _exposure(
        psf=GaussianPsf(21, 21, 2.0), wcs=_wcs(), filter=FilterLabel(band="r"), visitInfo=VisitInfo(id=12)
    )
    exposure.mask.array[:2] = exposure.mask.bitmask("SAT")
    exposure.image.array[5, 5] = np.nan
    config = AssembleCoaddAlgorithmConfig()
    config.requireUnit, config.inputRecorder.saveVisitGoodPix = False, True
    inputs = assembleCoadd([exposure], config=config, weights=[1.0]).coadd.info.coaddInputs
    assert exposure.info.coaddInputs is None
    assert inputs.ccds["goodpix"][0] == inputs.visits["goodpix"][0] == 60 * 48 - 1
    assert inputs.visits["id"][0] == 12 and inputs.visits["filter"][0] == "r" and inputs.ccds["psf"][0] == exposure.psf


def testPolygonsShrinkByHalfTheKernelRoundedUp():
    inputs = CoaddInputs()
    box = Box2I((100, 200), (60, 50))
    inputs.addCcd(1, box)
    inputs.addCcd(2, box, validPolygon=Polygon(Box2D((105, 190), (130.5, 300))))
    inputs.addCcd(3, Box2I((0, 0), (22, 40)), weight=1.0, goodpix=5)
    shrinkValidPolygons(inputs, 21)
    assert inputs.ccds[0]["validPolygon"] == Polygon(Box2I((111, 211), (38, 28)))
    corners = inputs.ccds[1]["validPolygon"].bbox
    assert tuple(corners.min) == (110.5, 210.5) and tuple(corners.max) == (130.5, 238.5)
    # nothing is left of 22 pixels
    assert inputs.ccds[2]["validPolygon"] is None and inputs.ccds[2]["weight"] == inputs.ccds[2]["goodpix"] == 0


def testPolygonsOfMatchedWarpsGoById(caplog):
    inputs, matched = CoaddInputs(), CoaddInputs()
    for number in (1, 2, 3):
        inputs.addCcd(number, BOX, validPolygon=Polygon(BOX))
    matched.addCcd(3, BOX, validPolygon=Polygon(BOX.dilated(-5)))
    matched.addCcd(1, BOX)
    with caplog.at_level(logging.WARNING):
        copyValidPolygons(inputs, matched)
    assert [row["validPolygon"] for row in inputs.ccds] == [None, None, Polygon(BOX.dilated(-5))]
    assert "CCD 1 of a PSF-matched warp has no valid polygon" in caplog.text
    matched.addCcd(4, BOX)
    with pytest.raises(ValueError, match=r"that the coadd has not: \[4\]"):
        copyValidPolygons(inputs, [matched])


def testTwoEqualDetectorsGiveTheirPsf():  # A1
    inputs = CoaddInputs()
    for number in (1, 2):
        inputs.addCcd(number, BOX, weight=1.0, psf=GaussianPsf(25, 25, 2.0), wcs=_wcs())
    psf = makeCoaddPsf(inputs.ccds, _wcs())
    image = psf.computeKernelImage((-100, -30)).array
    np.testing.assert_allclose(image, GaussianPsf(25, 25, 2.0).computeKernelImage((0, 0)).array, atol=1e-6)
    assert image.sum() == pytest.approx(1, abs=1e-6)
    # constant PSFs have the average position (0, 0), which this box does not hold
    assert tuple(psf.averagePosition) == tuple(Box2D(BOX).center)
    with pytest.raises(stillsky.InvalidPsfError):
        psf.computeKernelImage((400, 0))


def testWeightedSumOfTwoPsfs():  # A2
    inputs = CoaddInputs()
    for number, (sigma, weight) in enumerate(((1.5, 3.0), (3.0, 1.0), (9.0, 0.0))):
        inputs.addCcd(number, BOX, weight=weight, psf=GaussianPsf(31, 31, sigma), wcs=_wcs())
    inputs.addCcd(9, BOX, weight=2.0, wcs=_wcs())
    image = makeCoaddPsf(inputs.ccds, _wcs()).computeKernelImage((-100, -30)).array
    one, two = (GaussianPsf(31, 31, s).computeKernelImage((0, 0)).array for s in (1.5, 3.0))
    np.testing.assert_allclose(image, (3 * one + two) / 4, atol=1e-6)


def testMistakesAreNamed():
    with pytest.raises(KeyError, match="kernel"):
        CoaddInputs().addCcd(1, BOX, kernel=3)
    with pytest.raises(stillsky.DomainError, match="empty"):
        CoaddInputs().addVisit(1, Box2I())


def testEqualityAndCopies():
    first, second = _warp().info.coaddInputs, _warp().info.coaddInputs
    assert first == second and first == first.copy() and first != _warp(18).info.coaddInputs and first != 3
    other = first.copy()
    other.ccds["weight"][0] = math.nan
    assert other != first and other == other.copy() and first.ccds["weight"][0] == 0
    assert repr(first) == "CoaddInputs(1 visits, 2 ccds)"


# ---- FITS


def _coadd():
    inputs = CoaddInputs()
    for visit in (30, 17):
        CoaddInputRecorder().addVisitToCoadd(inputs, _warp(visit), 1.0 / visit)
    inputs.ccds[1]["validPolygon"] = Polygon([(0, 0), (30.5, 1), (20, 22)])
    inputs.ccds["airmass"] = [1.0, 1.25, math.nan, 2.0]
    coadd = _exposure(wcs=_wcs())
    coadd.info.coaddInputs = inputs
    return coadd


def testRoundTrip(tmp_path):
    coadd = _coadd()
    stillsky.writeExposure(coadd, tmp_path / "c.fits")
    back = stillsky.read(tmp_path / "c.fits").info.coaddInputs
    assert back == coadd.info.coaddInputs
    assert back.ccds["weight"].unit == coadd.info.coaddInputs.ccds["weight"].unit
    assert back.visits["goodpix"].description == coadd.info.coaddInputs.visits["goodpix"].description
    assert back.ccds["id"].dtype == np.dtype("=i8")
    # rows can be added to what was read
    assert back.addCcd(5, BOX, filter="a much longer name than before")["filter"] == "a much longer name than before"
    from stillsky.fits.parts import readPart

    assert readPart(tmp_path / "c.fits", "coaddInputs") == coadd.info.coaddInputs
    assert readPart(tmp_path / "c.fits", "psf") is None


def testTablesAlone(tmp_path):
    inputs = _coadd().info.coaddInputs
    inputs.writeFits(tmp_path / "inputs.fits")
    assert CoaddInputs.readFits(tmp_path / "inputs.fits") == inputs
    with pytest.raises(OSError, match="inputs.fits"):
        inputs.writeFits(tmp_path / "inputs.fits")
    inputs.writeFits(tmp_path / "inputs.fits", overwrite=True)
    stillsky.writeExposure(_coadd(), tmp_path / "coadd.fits")
    assert CoaddInputs.readFits(tmp_path / "coadd.fits") == inputs
    stillsky.writeExposure(_exposure(), tmp_path / "plain.fits")
    with pytest.raises(stillsky.FitsLayoutError, match="no tables of coadd inputs"):
        CoaddInputs.readFits(tmp_path / "plain.fits")


def testEmptyTablesRoundTrip(tmp_path):
    coadd = _exposure(coaddInputs=CoaddInputs())
    stillsky.writeExposure(coadd, tmp_path / "c.fits")
    assert stillsky.read(tmp_path / "c.fits").info.coaddInputs == CoaddInputs()


def testEqualObjectsAreStoredOnce(tmp_path):
    from astropy.io import fits

    coadd = _coadd()
    stillsky.writeExposure(coadd, tmp_path / "c.fits")
    with fits.open(tmp_path / "c.fits") as hdus:
        table = hdus["SKY_COADD_CCDS"].data
        # PSFs of the two detectors are those of both visits; polygons: one of four
        assert list(table["psf"]) == [table["psf"][0], table["psf"][1]] * 2 and table["psf"][0] != table["psf"][1]
        assert (table["validPolygon"] >= 0).tolist() == [False, True, False, False]
        assert list(table["id"]) == [3000, 3001, 1700, 1701]


class _Strange(Psf):
    """A PSF that has no form as data."""

    def __init__(self):
        super().__init__((0, 0))

    def _kernelArray(self, x, y):
        return GaussianPsf(11, 11, 1.5).computeKernelImage((0, 0)).array

    def _dimensionsAt(self, x, y):
        return 11, 11

    def persist(self):
        raise stillsky.StillskyError("no form")

    @classmethod
    def _restore(cls, header, arrays):
        raise stillsky.StillskyError("no form")


def testManyDistinctWcsAreExact(tmp_path, rng):
    inputs = CoaddInputs()
    for k in range(100):
        cd = rng.normal(0, 1e-4, (2, 2))
        wcs = makeTanWcs(tuple(rng.uniform(-5e3, 5e3, 2)), (rng.uniform(0, 6.28), rng.uniform(-1.5, 1.5)), cd)
        inputs.addCcd(k, Box2I((0, 0), (2000, 4000)), visit=k, wcs=wcs)
    inputs.writeFits(tmp_path / "inputs.fits")
    back = CoaddInputs.readFits(tmp_path / "inputs.fits")
    assert back == inputs and len({*back.ccds["wcs"]}) == 100
    x, y = rng.uniform(0, 4000, (2, 20))
    for mine, theirs in zip(inputs.ccds["wcs"], back.ccds["wcs"], strict=True):
        # cards hold numbers in 20 characters: a digit less than doubles
        np.testing.assert_allclose(mine.pixelToSky(x, y), theirs.pixelToSky(x, y), rtol=0, atol=1e-14)


def testCatalogsThatAreTextAreRead(tmp_path):  # layout 1
    warp = _warp()
    warp.info.coaddInputs.writeFits(tmp_path / "new.fits")
    with fits.open(tmp_path / "new.fits") as hdus:
        name, fields = fromRecord(hdus["SKY_COADD_OBJECTS"], 2)
        fields["catalog"] = fields["catalog"].tobytes().decode()
        old = toRecord("SKY_COADD_OBJECTS", name, fields, 1)
        fits.HDUList([*(hdu.copy() for hdu in hdus[:3]), old]).writeto(tmp_path / "old.fits")
    assert CoaddInputs.readFits(tmp_path / "old.fits") == warp.info.coaddInputs


def testObjectsWithoutFormAreSampledOrAnnounced(tmp_path, caplog):
    inputs = CoaddInputs()
    inputs.addCcd(1, BOX, psf=_Strange(), transmissionCurve=object(), apCorrMap=ApCorrMap())
    inputs.ccds["note"] = np.array([{"a": 1}], object)
    with caplog.at_level(logging.WARNING):
        stillsky.writeExposure(_exposure(coaddInputs=inputs), tmp_path / "c.fits")
    row = stillsky.read(tmp_path / "c.fits").info.coaddInputs.ccds[0]
    expected = GaussianPsf(11, 11, 1.5).computeKernelImage((0, 0)).array
    np.testing.assert_allclose(row["psf"].computeKernelImage((-100, -20)).array, expected, atol=1e-12)
    assert row["transmissionCurve"] is None and len(row["apCorrMap"]) == 0 and "note" not in row.colnames
    assert "transmissionCurve of a coadd input" in caplog.text and "column note" in caplog.text


@pytest.mark.parametrize("change, message", [("missing", "wanted extensions"), ("version", "layout version 9")])
def testBrokenTablesAreRefused(tmp_path, change, message):
    from astropy.io import fits

    stillsky.writeExposure(_coadd(), tmp_path / "c.fits")
    with fits.open(tmp_path / "c.fits", mode="update") as hdus:
        if change == "missing":
            del hdus["SKY_COADD_VISITS"]
        else:
            hdus["SKY_COADD_CCDS"].header["SVERS"] = 9
    with pytest.raises(stillsky.FitsLayoutError, match=message):
        stillsky.read(tmp_path / "c.fits")
