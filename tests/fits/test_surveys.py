"""Readers of other pipelines' layouts (core data model 24.10; user experience A7-A10, A24)."""

import numpy as np
import pytest
from astropy.io import fits

import stillsky
from stillsky.fits import readExposure
from stillsky.fits.foreign_masks import FOREIGN_TABLES, isHarmlessPlane, translateMask
from stillsky.image import MaskSchema
from stillsky.meta import FilterLabel

SHAPE = (12, 10)


def _image(rng, shape=SHAPE):
    return rng.normal(100, 5, shape).astype(np.float32)


def _wcsCards():
    keys = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
    values = ("RA---TAN", "DEC--TAN", 150.0, 2.0, 5.0, 6.0, -1e-4, 0.0, 0.0, 1e-4)
    return list(zip(keys, values, strict=True))


def _bad(mask):
    """Pixels with any plane that says something bad."""
    return mask.isSet([n for n in mask.schema if not isHarmlessPlane(n)])


def _warnings(provenance):
    return [s.split(":")[0] for s in provenance if s.startswith("W-")]


# mask translation


def testZtfBadPixelsAreThoseOf6141():
    values = np.arange(65536).reshape(256, 256)
    mask, schema, unknown = translateMask(values, "ztf", MaskSchema.standard())
    bad = schema.bitmask([n for n in schema if not isHarmlessPlane(n)])
    np.testing.assert_array_equal((mask & bad) != 0, (values & 6141) != 0)
    assert set(unknown) == {"FOREIGN_13", "FOREIGN_14", "FOREIGN_15"}


def testZtfStarIsNotBadAndSaturationIs():
    values = np.array([[1 << 1, 1 << 11, (1 << 1) | (1 << 11), 1 << 8, (1 << 8) | (1 << 4)]])
    mask, schema, unknown = translateMask(values, "ztf", MaskSchema.standard())
    assert [schema.interpret(int(v)) for v in mask[0]] == ["DETECTED", "DETECTED", "DETECTED", "SAT", "BAD,SAT"]
    assert not unknown


def testPtfBitsDifferFromZtf():
    names = {b: FOREIGN_TABLES["ptf"].planes[b] for b in (1, 2, 6, 11)}
    assert names == {1: "DETECTED", 2: "SUSPECT", 6: "SAT", 11: "SUSPECT"}


def testForeignBitsOfDes():
    want = "BAD SAT INTRP SUSPECT CR SUSPECT SAT SAT CROSSTALK EDGE STREAK SUSPECT".split()
    mask, schema, _ = translateMask((1 << np.arange(12))[None, :], "des", MaskSchema.standard())
    assert [schema.interpret(int(v)) for v in mask[0]] == want


def testTranslationRefusals():
    with pytest.raises(stillsky.DomainError, match="ztf.*'nope'"):
        translateMask(np.zeros((1, 1), int), "nope", MaskSchema.standard())
    with pytest.raises(stillsky.DomainError, match="integers"):
        translateMask(np.zeros((1, 1)), "ztf", MaskSchema.standard())


# DECam Community Pipeline


def _writeDecam(folder, rng, quality, version, weight=None):
    shape = quality.shape
    weight = np.full(shape, 0.25, np.float32) if weight is None else weight
    for kind, data in (("ooi", _image(rng, shape)), ("ood", quality), ("oow", weight)):
        hdus = [fits.PrimaryHDU()]
        hdus[0].header["PLVER"] = version
        hdus[0].header["EXPTIME"] = 90.0
        hdus[0].header["FILTER"] = "r DECam SDSS c0002 6415.0 1480.0"
        hdus[0].header["DATE-OBS"] = "2019-05-05T00:00:00"
        for name in ("S29", "N4"):
            extra = {} if data.dtype.kind in "iu" else {"quantize_level": 0.0, "compression_type": "GZIP_2"}
            values = data if name == "S29" else np.zeros_like(data)
            hdus.append(fits.CompImageHDU(values, fits.Header(_wcsCards()), name=name, **extra))
        fits.HDUList(hdus).writeto(folder / f"c4d_190505_{kind}_r_v1.fits.fz")
    return folder / "c4d_190505_ooi_r_v1.fits.fz"


@pytest.mark.parametrize(
    "version, values, planes",
    [
        ("V5.0", range(9), ["", "BAD", "NO_DATA", "SAT", "SAT", "CR", "SUSPECT", "DIFFDET", "STREAK"]),
        ("V3.5.0", range(9), ["", "BAD", "NO_DATA", "SAT", "SAT", "CR", "SUSPECT", "DIFFDET", "STREAK"]),
        (
            "V3.0",
            [0, 1, 2, 4, 16, 64, 128, 3, 6],
            ["", "BAD", "SAT", "INTRP", "CR", "SAT", "DIFFDET", "BAD,SAT", "INTRP,SAT"],
        ),
        (
            "V3.4.2",
            [0, 1, 2, 4, 16, 64, 128, 3, 6],
            ["", "BAD", "SAT", "INTRP", "CR", "SAT", "DIFFDET", "BAD,SAT", "INTRP,SAT"],
        ),
    ],
)
def testDecamCodesAndBits(tmp_path, rng, version, values, planes):
    quality = np.array(values, np.int32).reshape(3, 3)
    exposure, provenance = readExposure(_writeDecam(tmp_path, rng, quality, version), ext="S29")
    mask = exposure.mask
    assert [mask.interpret(int(v)) for v in mask.array.ravel()] == planes
    different = mask.isSet("DIFFDET")
    assert different.sum() == 1 and not _bad(mask)[different].any()
    assert np.isfinite(exposure.image.array[different]).all() and _warnings(provenance) == []


def testDecamWeightAndFacts(tmp_path, rng):
    weight = np.full((3, 3), 0.25, np.float32)
    weight[0, 0], weight[1, 1] = 0.0, -1.0
    path = _writeDecam(tmp_path, rng, np.zeros((3, 3), np.int32), "V4.9", weight)
    exposure, provenance = readExposure(f"{path}[S29]")
    empty = weight <= 0
    np.testing.assert_array_equal(exposure.mask.isSet("NO_DATA"), empty)
    assert (exposure.variance.array[empty] == np.inf).all() and (exposure.variance.array[~empty] == 4).all()
    assert np.isnan(exposure.image.array[empty]).all() and np.isfinite(exposure.image.array[~empty]).all()
    assert "variance: 1/weight from c4d_190505_oow_r_v1.fits.fz, extension S29" in provenance
    assert exposure.wcs is not None and exposure.visitInfo.exposureTime == 90.0
    assert exposure.visitInfo.date.value.startswith("2019-05-05T00:01:22")  # 45 s after the start, TAI - UTC = 37 s
    assert exposure.filter == FilterLabel("r", "r DECam SDSS c0002 6415.0 1480.0")
    first, provenance = readExposure(path)
    assert "extension S29 of 2 images" in provenance[0]
    np.testing.assert_array_equal(first.mask.array, exposure.mask.array)
    assert _warnings(readExposure(path, ext="S29")[1]) == []


def testZeroWeightsWarnOnce(tmp_path, rng, caplog):
    weight = np.zeros((3, 3), np.float32)
    weight[2, 2] = 1.0
    with np.errstate(all="raise"):
        readExposure(_writeDecam(tmp_path, rng, np.zeros((3, 3), np.int32), "V5.0", weight), ext="S29")
    assert len(caplog.records) <= 1


def testUnknownDecamCode(tmp_path, rng, caplog):
    quality = np.zeros((10, 10), np.int32)
    quality[4, 4:8] = 12
    exposure, provenance = readExposure(_writeDecam(tmp_path, rng, quality, "V5.0"), ext="S29")
    assert exposure.mask.isSet("FOREIGN_12").sum() == 4 and not _bad(exposure.mask).any()
    warnings = [s for s in provenance if s.startswith("W-FOREIGNMASK")]
    assert len(warnings) == 1 and "FOREIGN_12 4%" in warnings[0] and "W-FOREIGNMASK" in caplog.text


# DES, ZTF, PTF, Pan-STARRS, HST, CCDData


def testDesImage(tmp_path, rng):
    image, mask, weight = _image(rng), np.zeros(SHAPE, np.int32), np.full(SHAPE, 0.5, np.float32)
    mask[1, 1], mask[2, 2] = 2, 32
    weight[1, 1] = 0
    planes = [fits.CompImageHDU(image, name="SCI", quantize_level=0.0, compression_type="GZIP_2")]
    planes += [fits.ImageHDU(mask, name="MSK"), fits.ImageHDU(weight, name="WGT")]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "D1.fits.fz")
    exposure, provenance = readExposure(tmp_path / "D1.fits.fz")
    assert exposure.mask.describe(x=1, y=1) == "NO_DATA,SAT" and exposure.mask.describe(x=2, y=2) == "SUSPECT"
    assert exposure.variance.array[0, 0] == 2 and np.isfinite(exposure.image.array[2, 2])
    assert "variance: 1/weight from D1.fits.fz, extension WGT" in provenance


def testZtfQuadrant(tmp_path, rng):
    image = rng.normal(400, np.sqrt(400 / 6.2 + (9 / 6.2) ** 2), (200, 180)).astype(np.float32)
    bits = np.zeros(image.shape, np.int16)
    bits[50, 50], bits[60, 60] = (1 << 1) | (1 << 11), (1 << 8) | (1 << 4)
    cards = fits.Header(_wcsCards())
    cards.update({"GAIN": 6.2, "READNOI": 9.0, "MAGZP": 26.0, "FILTER": "ZTF_r", "EXPTIME": 30.0})
    cards.update({"SHUTOPEN": "2020-01-01T00:00:00.0", "SHUTCLSD": "2020-01-01T00:00:31.0"})
    fits.PrimaryHDU(image, cards).writeto(tmp_path / "ztf_2020_zr_q1_sciimg.fits")
    fits.PrimaryHDU(bits).writeto(tmp_path / "ztf_2020_zr_q1_mskimg.fits")
    exposure, provenance = readExposure(tmp_path / "ztf_2020_zr_q1_sciimg.fits")
    assert exposure.mask.describe(x=50, y=50) == "DETECTED" and exposure.mask.describe(x=60, y=60) == "BAD,SAT"
    assert exposure.photoCalib.mean == pytest.approx(144.544, abs=1e-3)
    want = np.maximum(image, 0) / 6.2 + (9 / 6.2) ** 2
    np.testing.assert_allclose(exposure.variance.array, want, rtol=1e-5)
    assert exposure.filter == FilterLabel("r", "ZTF_r")
    assert exposure.visitInfo.date.value == "2020-01-01T00:00:52.500000000"  # middle of the shutter times, TAI
    assert any("16-bit ZTF" in s for s in provenance) and _warnings(provenance) == ["W-NOVAR"]
    assert "VARIANCE_EMPIRICAL" not in exposure.metadata


def testPtfMaskGivenByHand(tmp_path, rng):
    fits.PrimaryHDU(_image(rng)).writeto(tmp_path / "PTF_1_scie_.fits")
    bits = np.zeros(SHAPE, np.int16)
    bits[3, 3], bits[4, 4] = 1 << 1, 1 << 6
    fits.PrimaryHDU(bits).writeto(tmp_path / "PTF_1_mskd_.fits")
    exposure, provenance = readExposure(tmp_path / "PTF_1_scie_.fits")
    assert exposure.mask.describe(x=3, y=3) == "DETECTED" and exposure.mask.describe(x=4, y=4) == "SAT"
    assert any("PTF" in s for s in provenance)


def testPanStarrsSiblings(tmp_path, rng):
    flux = rng.normal(50, 30, SHAPE)
    softening, offset, a = 7.0, 12.0, 2.5 / np.log(10)
    stored = (a * np.arcsinh((flux - offset) / (2 * softening))).astype(np.float32)
    header = fits.Header([("BSOFTEN", softening), ("BOFFSET", offset)])
    planes = {"": stored, ".mask": np.zeros(SHAPE, np.int16), ".wt": np.full(SHAPE, 9, np.float32)}
    planes[".mask"][2, 3], planes[".mask"][5, 5] = 0x20, 0x8
    for part, data in planes.items():
        hdu = fits.ImageHDU(data, header if part == "" else None)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / f"rings.stk.r{part}.fits")
    exposure, provenance = readExposure(tmp_path / "rings.stk.r.fits")
    good = ~exposure.mask.isSet("NO_DATA")
    np.testing.assert_allclose(exposure.image.array[good], flux[good], rtol=3e-5, atol=3e-4)
    assert exposure.mask.describe(x=3, y=2) == "SAT" and exposure.mask.describe(x=5, y=5) == "NO_DATA"
    assert exposure.variance.array[0, 0] == 9 and any("asinh" in s for s in provenance)


def testHubbleSciErrDq(tmp_path, rng):
    hdus = [fits.PrimaryHDU()]
    hdus[0].header["TELESCOP"] = "HST"
    for version in (1, 2):
        quality = np.zeros(SHAPE, np.int16)
        quality[1, 1], quality[2, 2], quality[3, 3] = 256, 4096, 32
        for name, data in (
            ("SCI", _image(rng) * version),
            ("ERR", np.full(SHAPE, 3.0 * version, np.float32)),
            ("DQ", quality),
        ):
            hdus.append(fits.ImageHDU(data, name=name, ver=version))
    fits.HDUList(hdus).writeto(tmp_path / "flc.fits")
    exposure, provenance = readExposure(tmp_path / "flc.fits")
    assert exposure.variance.array[0, 0] == 9
    mask = exposure.mask
    assert [mask.describe(x=i, y=i) for i in (1, 2, 3)] == ["SAT", "CR", ""]
    second, _ = readExposure(f"{tmp_path / 'flc.fits'}[SCI,2]")
    assert second.variance.array[0, 0] == 36
    np.testing.assert_allclose(second.image.array, hdus[4].data)
    assert any("ERR squared" in s for s in provenance)


def testUnknownDataQualityIsNotBad(tmp_path, rng):
    quality = np.full(SHAPE, 2, np.int16)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(_image(rng), name="SCI"), fits.ImageHDU(quality, name="DQ")]
    fits.HDUList(hdus).writeto(tmp_path / "x.fits")
    exposure, provenance = readExposure(tmp_path / "x.fits")
    assert exposure.mask.isSet("FOREIGN_1").all() and not _bad(exposure.mask).any()
    assert sorted(_warnings(provenance)) == ["W-FOREIGNMASK", "W-NOVAR"]


@pytest.mark.parametrize("kind, power", [("StdDevUncertainty", 1), ("VarianceUncertainty", 2), ("InverseVariance", -2)])
def testCcdData(tmp_path, rng, kind, power):
    from astropy import nddata

    image, mask = _image(rng).astype(float), np.zeros(SHAPE, bool)
    mask[2, 3] = True
    uncertainty = getattr(nddata, kind)(np.full(SHAPE, 3.0**power))
    nddata.CCDData(image, unit="adu", uncertainty=uncertainty, mask=mask).write(tmp_path / "c.fits")
    exposure, provenance = readExposure(tmp_path / "c.fits")
    np.testing.assert_allclose(exposure.variance.array, 9, rtol=1e-6)
    np.testing.assert_array_equal(exposure.mask.isSet("BAD"), mask)
    np.testing.assert_array_equal(exposure.image.array, image.astype(np.float32))
    assert exposure.metadata["BUNIT"] == "adu" and _warnings(provenance) == []


# Rubin DP1


def _writeDp1(path, rng, bits):
    """Imitation of a DP1 visit image: compressed planes, MP_ cards, A-coordinates, unreadable archive tables."""
    primary = fits.PrimaryHDU()
    for key, value in (
        ("AR_HDU", 5),
        ("HIERARCH EXPINFO_V", 2),
        ("EXPID", 2024120800123),
        ("EXPTIME", 30.0),
        ("PSF_ID", 12),
    ):
        primary.header[key] = value
    primary.header["HIERARCH ARCHIVE_ID_PSF"] = 12
    primary.header["HIERARCH LSST BUTLER DATASETTYPE"] = "visit_image"
    mask = np.zeros(SHAPE, np.int32)
    for i, bit in enumerate(bits.values()):
        mask[i, i] = 1 << bit
    hdus = [primary]
    for name, data in (("IMAGE", _image(rng)), ("MASK", mask), ("VARIANCE", np.full(SHAPE, 4, np.float32))):
        cards = fits.Header(_wcsCards())
        cards.update({"EXTTYPE": name, "INHERIT": True, "LTV1": -100, "LTV2": -200})
        for i, origin in ((1, 100.0), (2, 200.0)):
            cards.update({f"CTYPE{i}A": "LINEAR", f"CRPIX{i}A": 1.0, f"CRVAL{i}A": origin, f"CUNIT{i}A": "PIXEL"})
        if name == "IMAGE":
            cards["BUNIT"] = "nJy"
        if name == "MASK":
            for plane, bit in bits.items():
                cards[f"HIERARCH MP_{plane}" if len(plane) > 5 else f"MP_{plane}"] = bit
        hdu = fits.CompImageHDU(data, cards, name=name, compression_type="GZIP_2", quantize_level=0.0)
        hdus.append(hdu)
    table = fits.BinTableHDU.from_columns(
        [fits.Column("id", "J", array=[1]), fits.Column("bytes", "4B", array=[[1, 2, 3, 4]])]
    )
    table.header["EXTTYPE"] = "ARCHIVE_INDEX"
    fits.HDUList([*hdus, table]).writeto(path)


def testDp1VisitImage(tmp_path, rng):
    _writeDp1(tmp_path / "v.fits", rng, {"BAD": 0, "DETECTED_NEGATIVE": 6, "STREAK": 10})
    exposure, provenance = readExposure(tmp_path / "v.fits")
    assert dict(exposure.mask.schema) == {"BAD": 0, "DETECTED_NEGATIVE": 6, "STREAK": 10}
    assert tuple(exposure.xy0) == (100, 200) and exposure.metadata["BUNIT"] == "nJy"
    assert exposure.photoCalib.mean == 1.0 and exposure.id == 2024120800123
    assert exposure.visitInfo.exposureTime == 30.0 and (exposure.variance.array == 4).all()
    x, y = exposure.wcs.pixelOrigin
    assert (x, y) == pytest.approx((5 - 1 + 100, 6 - 1 + 200), abs=1e-9)
    assert not {"AR_HDU", "PSF_ID", "ARCHIVE_ID_PSF", "CRVAL1", "EXPTIME"} & set(exposure.metadata)
    assert exposure.metadata["LSST BUTLER DATASETTYPE"] == "visit_image"
    assert any("approximation" in s for s in provenance) and _warnings(provenance) == []
    # What the file keeps in tables of another program is named.
    assert exposure.psf is None
    assert [s for s in provenance if "archive table" in s] == [
        "psf: in an archive table that is not decoded; it is measured where it is needed"
    ]


def testDp1FilesWithOtherBitsAreEqualByName(tmp_path, rng):
    plain, permuted = {"BAD": 0, "SAT": 1, "CR": 3}, {"BAD": 7, "SAT": 0, "CR": 1}
    _writeDp1(tmp_path / "a.fits", rng, plain)
    _writeDp1(tmp_path / "b.fits", rng, permuted)
    a, b = (stillsky.read(tmp_path / f"{n}.fits").mask for n in "ab")
    assert not np.array_equal(a.array, b.array)
    for name in plain:
        np.testing.assert_array_equal(a.isSet(name), b.isSet(name))


# plain images


@pytest.mark.parametrize(
    "form", ["big", "little", "uint16", "int32", "scaled", "float64", "fz", "gz", "bz2", "cube", "extension"]
)
def testPlainImageForms(tmp_path, rng, form):
    pixels = rng.integers(1000, 50000, (40, 30)).astype(np.float32)
    path = tmp_path / (f"p.fits.{form}" if form in ("gz", "bz2") else "p.fits")
    hdu = fits.PrimaryHDU
    primary = fits.PrimaryHDU()
    hdus = {
        "big": lambda: [hdu(pixels.astype(">f4"))],
        "little": lambda: [hdu(pixels.astype("<f4"))],
        "uint16": lambda: [hdu(pixels.astype(np.uint16))],
        "int32": lambda: [hdu(pixels.astype(np.int32))],
        "scaled": lambda: [_scaled(pixels)],
        "float64": lambda: [hdu(pixels.astype(float))],
        "fz": lambda: [primary, fits.CompImageHDU(pixels.astype(np.uint16))],
        "gz": lambda: [hdu(pixels)],
        "bz2": lambda: [hdu(pixels)],
        "cube": lambda: [hdu(pixels[None])],
        "extension": lambda: [
            primary,
            fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])]),
            fits.ImageHDU(pixels),
        ],
    }[form]()
    fits.HDUList(hdus).writeto(path)
    exposure, provenance = readExposure(path)
    array = exposure.image.array
    np.testing.assert_array_equal(array, pixels)
    assert array.dtype == np.float32 and array.dtype.isnative and array.flags.c_contiguous and array.flags.writeable
    part, _ = readExposure(path, region="3:13,5:25")
    np.testing.assert_array_equal(part.image.array, pixels[5:25, 3:13])
    assert tuple(part.xy0) == (3, 5)


def _scaled(pixels):
    hdu = fits.PrimaryHDU(pixels.copy())  # scale() works in place
    hdu.scale("int32", bzero=100.0, bscale=0.5)
    return hdu


def testBlankIntegersAreNoData(tmp_path):
    data = np.arange(100, dtype=np.int16).reshape(10, 10)
    hdu = fits.PrimaryHDU(data)
    hdu.header["BLANK"] = 55
    hdu.writeto(tmp_path / "b.fits")
    exposure, _ = readExposure(tmp_path / "b.fits")
    where = exposure.mask.isSet("NO_DATA")
    assert where.sum() == 1 and where[5, 5] and np.isnan(exposure.image.array[5, 5])
    assert exposure.variance.array[5, 5] == np.inf


def testHotpantsInvalidPixels(tmp_path, rng):
    image = _image(rng)
    image[4, 5] = 1e-30
    fits.PrimaryHDU(image).writeto(tmp_path / "h.fits")
    exposure, provenance = readExposure(tmp_path / "h.fits")
    assert exposure.mask.isSet("NO_DATA").sum() == 1 and np.isnan(exposure.image.array[4, 5])
    assert any("1e-30" in s for s in provenance)


def testIrafOffsetsDoNotMoveForeignImages(tmp_path, rng):
    fits.PrimaryHDU(_image(rng), fits.Header([("LTV1", -1.0), ("LTV2", 2.5)])).writeto(tmp_path / "p.fits")
    assert tuple(stillsky.read(tmp_path / "p.fits").xy0) == (0, 0)


def testExplicitSideFiles(tmp_path, rng):
    image = _image(rng)
    fits.PrimaryHDU(image).writeto(tmp_path / "i.fits")
    mask = np.zeros(SHAPE, np.uint8)
    mask[1, 2] = 8
    fits.PrimaryHDU(mask).writeto(tmp_path / "m.fits")
    weight = np.full(SHAPE, 0.25, np.float32)
    weight[0, 0] = 0
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.full(SHAPE, 3, np.float32), name="RMS"),
        fits.ImageHDU(weight, name="W"),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "n.fits")
    path = tmp_path / "i.fits"
    exposure, provenance = readExposure(
        path, maskPath=tmp_path / "m.fits", weightPath=f"{tmp_path}/n.fits[W]", weightKind="weight"
    )
    assert exposure.mask.describe(x=2, y=1) == "BAD" and exposure.variance.array[1, 1] == 4
    assert exposure.mask.describe(x=0, y=0) == "NO_DATA"
    assert "variance: 1/weight from n.fits, extension W" in provenance
    assert stillsky.read(path, maskPath=tmp_path / "m.fits", maskKind="ztf").mask.describe(x=2, y=1) == "SUSPECT"
    assert stillsky.read(path, variancePath=f"{tmp_path}/n.fits[1]").variance.array[0, 0] == 3
    assert stillsky.read(path, weightPath=f"{tmp_path}/n.fits[RMS]", weightKind="rms").variance.array[0, 0] == 9
    with pytest.raises(stillsky.DomainError, match="n.fits.*name the kind"):
        readExposure(path, weightPath=tmp_path / "n.fits")
    (tmp_path / "n.fits").rename(tmp_path / "i.weight.fits")
    provenance = readExposure(path, weightPath=f"{tmp_path}/i.weight.fits[W]")[1]
    assert any("1/weight" in s and "inferred" in s for s in provenance)
    part = stillsky.read(path, region="2:6,1:5", maskPath=tmp_path / "m.fits")
    assert part.mask.describe(x=2, y=1) == "BAD" and part.mask.isSet("BAD").sum() == 1
    fits.PrimaryHDU(np.zeros((3, 3), np.uint8)).writeto(tmp_path / "small.fits")
    with pytest.raises(stillsky.ShapeError, match="small.fits.*3x3.*10x12"):
        readExposure(path, maskPath=tmp_path / "small.fits")


def testMaskFileWithNamedPlanes(tmp_path, rng):
    from stillsky.fits import writeMask
    from stillsky.image import Mask

    fits.PrimaryHDU(_image(rng)).writeto(tmp_path / "i.fits")
    array = np.zeros(SHAPE, np.int32)
    array[2, 2] = 1 << 4
    writeMask(Mask(array, schema={"GHOST": 4}), tmp_path / "m.fits")
    mask = stillsky.read(tmp_path / "i.fits", maskPath=tmp_path / "m.fits").mask
    assert mask.describe(x=2, y=2) == "GHOST"
