"""Writing and reading our own layout (core data model 24.3)."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

import stillsky
from stillsky.fits import (
    readBBox,
    readExposure,
    readImage,
    readMask,
    readMaskedImage,
    readMetadata,
    readPart,
    readWcs,
    writeExposure,
    writeImage,
    writeMask,
    writeMaskedImage,
)
from stillsky.geom import Box2I, Extent2I, Point2I, Polygon
from stillsky.image import Exposure, Image, Mask, MaskedImage, MaskSchema
from stillsky.meta import FilterLabel, Header, Observatory, VisitInfo
from stillsky.photom import PhotoCalib
from stillsky.wcs import makeCdMatrix, makeTanWcs

XY0 = (1000, 2000)


def _exposure(rng, shape=(60, 90), dtype=np.float32, **changes):
    pixels = rng.normal(100, 10, shape).astype(dtype)
    pixels[3, 4] = np.nan
    schema = MaskSchema.standard().add("CLIPPED", "rejected from an epoch")
    mask = rng.integers(0, 2**11, shape).astype(np.int32) | (1 << schema.bit("CLIPPED"))
    variance = rng.uniform(50, 150, shape).astype(np.float32)
    variance[3, 4] = np.inf
    wcs = makeTanWcs((1030.5, 2040.25), (np.radians(150.1), np.radians(2.2)), makeCdMatrix(0.2 / 3600))
    metadata = Header({"BUNIT": "nJy", "TEMP": -3.5, "TASK.sub.key": 4, "NOTE": "text"})
    metadata.add("HISTORY", "made for a test")
    parts = dict(
        wcs=wcs,
        photoCalib=PhotoCalib(1.25, 0.01),
        filter=FilterLabel("r", "HSC-R2"),
        visitInfo=VisitInfo(
            exposureTime=30.0, date="2026-01-01T00:00:01.5", observatory=Observatory(0.1, -0.5, 2663.0)
        ),
        metadata=metadata,
        id=2**40 + 3,
        validPolygon=Polygon([(1000, 2000), (1080, 2000), (1080, 2050)]),
    )
    masked = MaskedImage(Image(pixels, XY0), Mask(mask, XY0, schema), Image(variance, XY0))
    return Exposure(masked, **{**parts, **changes})


def _assertSamePixels(a, b):
    np.testing.assert_array_equal(a.image.array, b.image.array)
    np.testing.assert_array_equal(a.mask.array, b.mask.array)
    np.testing.assert_array_equal(a.variance.array, b.variance.array)
    assert tuple(a.xy0) == tuple(b.xy0) and a.mask.schema == b.mask.schema
    assert a.image.array.dtype == b.image.array.dtype and a.image.array.dtype.isnative


@pytest.mark.parametrize("compress", ["none", "lossless"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def testExposureRoundTrip(tmp_path, rng, compress, dtype):
    exposure = _exposure(rng, dtype=dtype)
    writeExposure(exposure, tmp_path / "e.fits", compress=compress)
    back, provenance = readExposure(tmp_path / "e.fits")
    _assertSamePixels(back, exposure)
    x, y = np.meshgrid([1000, 1045, 1089], [2000, 2030, 2059])
    xs, ys = back.wcs.skyToPixel(*exposure.wcs.pixelToSky(x, y))
    assert max(np.abs(xs - x).max(), np.abs(ys - y).max()) < 1e-6
    for name in ("visitInfo", "photoCalib", "filter", "id", "validPolygon", "metadata"):
        assert getattr(back, name) == getattr(exposure, name), name
    assert back.mask.schema.doc("CLIPPED") == "rejected from an epoch"
    assert back.info.provenance == provenance and not any(s.startswith("W-") for s in provenance)


def testExposureWithoutAnything(tmp_path):
    exposure = Exposure(MaskedImage(Image(np.zeros((2, 3), np.float32), (-5, 7))))
    writeExposure(exposure, tmp_path / "e.fits")
    back = stillsky.read(tmp_path / "e.fits")
    _assertSamePixels(back, exposure)
    assert back.wcs is None and back.psf is None and back.visitInfo is None and back.id is None
    assert back.photoCalib is None and back.filter is None and len(back.metadata) == 0


def testHeadersOfAWrittenFile(tmp_path, rng):
    exposure = _exposure(rng)
    writeExposure(exposure, tmp_path / "e.fits")
    with fits.open(tmp_path / "e.fits", checksum=True) as hdus:  # any warning is an error here
        assert [h.name for h in hdus][:4] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
        assert hdus[0].header["NAXIS"] == 0 and hdus[0].header["EXPINFO_V"] == 2 and "BUNIT" not in hdus[0].header
        for hdu in hdus[1:4]:
            h = hdu.header
            assert h["INHERIT"] is True and h["EXTTYPE"] == hdu.name
            assert (h["CRVAL1A"], h["CRVAL2A"], h["CRPIX1A"], h["CRPIX2A"]) == (1000, 2000, 1, 1)
            assert (h["LTV1"], h["LTV2"]) == (-1000, -2000)
            assert h["CTYPE1A"] == "LINEAR" and h["CUNIT2A"] == "PIXEL" and h["CTYPE1"] == "RA---TAN"
        assert [hdus[i].header["BITPIX"] for i in (1, 2, 3)] == [-32, 32, -32]
        assert hdus[1].header["BUNIT"] == "nJy" and hdus[3].header["BUNIT"] == "nJy**2"
        assert "BUNIT" in hdus[2].header and hdus[2].header["BUNIT"] is None  # undefined
        mask = hdus[2].header
        assert mask["MP_BAD"] == 0 and mask["MP_STREAK"] == 10 and mask["MP_DETECTED_NEGATIVE"] == 6
        assert not any(k.startswith("MP_") for k in [*hdus[0].header, *hdus[1].header])
        hdus.verify("exception")
        for hdu in hdus:
            assert "CHECKSUM" in hdu.header and "DATASUM" in hdu.header


def testAstropyWcsAgrees(tmp_path, rng):
    from astropy.wcs import WCS

    exposure = _exposure(rng)
    writeExposure(exposure, tmp_path / "e.fits")
    wcs = WCS(fits.getheader(tmp_path / "e.fits", "IMAGE"))
    x, y = np.meshgrid(np.arange(0, 90, 11.0), np.arange(0, 60, 7.0))
    ra, dec = wcs.all_pix2world(x + 1, y + 1, 1)
    ours = exposure.wcs.pixelToSky(x + 1000, y + 2000)
    assert np.abs(ra - np.degrees(ours[0])).max() < 1e-9 and np.abs(dec - np.degrees(ours[1])).max() < 1e-9


@pytest.mark.parametrize("compress", ["none", "lossless", "lossy"])
def testPartialRead(tmp_path, rng, compress):
    exposure = _exposure(rng, shape=(600, 90))
    path = tmp_path / "e.fits"
    writeExposure(exposure, path, compress=compress)
    full = stillsky.read(path)
    box = Box2I(Point2I(1010, 2005), Extent2I(50, 560))
    part = stillsky.read(path, region=box)
    _assertSamePixels(part, full[box])
    _assertSamePixels(stillsky.read(path, region="1010:1060,2005:2565"), full[box])
    sky = np.array(part.wcs.pixelToSky(1010, 2005)) - np.array(full.wcs.pixelToSky(1010, 2005))
    assert np.abs(sky).max() < 1e-14
    np.testing.assert_array_equal(readImage(path, region=box).array, full[box].image.array)
    np.testing.assert_array_equal(readMask(path, region=box).array, full[box].mask.array)
    with pytest.raises(stillsky.ShapeError, match="not inside"):
        stillsky.read(path, region=Box2I(Point2I(0, 0), Extent2I(5, 5)))
    with pytest.raises(stillsky.DomainError, match="X0:X1,Y0:Y1"):
        stillsky.read(path, region="1-2")


@pytest.mark.parametrize("compress", ["none", "lossless"])
def testMaskPlanesFollowNamesNotBits(tmp_path, rng, compress):
    names = ["BAD", "SAT", "CR"]
    masks = []
    for i, bits in enumerate(([0, 1, 2], [5, 0, 30])):
        schema = MaskSchema(dict(zip(names, bits, strict=True)))
        array = np.zeros((4, 5), np.int32)
        for j, name in enumerate(names):
            array[j, j] = 1 << schema.bit(name)
        path = tmp_path / f"{i}.fits"
        writeExposure(
            Exposure(MaskedImage(Image(np.ones((4, 5), np.float32)), Mask(array, schema=schema))),
            path,
            compress=compress,
        )
        masks.append(path)
    for order in (masks, masks[::-1]):
        read = {p: stillsky.read(p).mask for p in order}
        a, b = read[masks[0]], read[masks[1]]
        assert b.schema["CR"] == 30 and a.schema != b.schema
        for name in names:
            np.testing.assert_array_equal(a.isSet(name), b.isSet(name))
        assert dict(MaskSchema.standard())["BAD"] == 0 and len(MaskSchema.standard()) == 11
    same = [stillsky.read(p, conformTo=MaskSchema.standard()).mask for p in masks]
    np.testing.assert_array_equal(same[0].array, same[1].array)
    assert readMask(masks[1], conformTo=MaskSchema.standard()).schema == same[1].schema


def testMissingPlanes(tmp_path, rng, caplog):
    exposure = _exposure(rng)
    path = tmp_path / "e.fits"
    writeExposure(exposure, path)
    with fits.open(path) as hdus:
        fits.HDUList([hdus[0], hdus["IMAGE"], hdus["VARIANCE"]]).writeto(tmp_path / "noMask.fits")
        fits.HDUList([hdus[0], hdus["IMAGE"], hdus["MASK"]]).writeto(tmp_path / "noVariance.fits")
        wrong = hdus["MASK"].copy()
        wrong.header["EXTTYPE"] = "WEIGHT"
        fits.HDUList([hdus[0], hdus["IMAGE"], wrong, hdus["VARIANCE"]]).writeto(tmp_path / "wrong.fits")
    masked = readMaskedImage(tmp_path / "noMask.fits")
    assert not masked.mask.array.any() and masked.mask.schema == MaskSchema.standard()
    assert "no MASK extension" in caplog.text
    np.testing.assert_array_equal(masked.variance.array, exposure.variance.array)
    for missing in ("noMask", "noVariance"):
        for reader in (readMaskedImage, readExposure):
            with pytest.raises(stillsky.FitsLayoutError, match=f"{missing}.fits.*all planes"):
                reader(tmp_path / f"{missing}.fits", needAllPlanes=True)
    read = stillsky.read(tmp_path / "noMask.fits")
    assert read.mask.isSet("NO_DATA").sum() == 1 and read.mask.isSet("NO_DATA")[3, 4]
    with pytest.raises(stillsky.FitsLayoutError, match="wrong.fits.*EXTTYPE 'WEIGHT'"):
        readExposure(tmp_path / "wrong.fits")


def testLossyCompression(tmp_path, rng):
    pixels = rng.normal(0, 10, (512, 512)).astype(np.float32)
    pixels[5, 7:20] = np.nan
    pixels[100, 100] = 0
    exposure = Exposure(MaskedImage(Image(pixels)))
    exposure.variance.array[...] = rng.uniform(90, 110, pixels.shape)
    exposure.mask.array[...] = rng.integers(0, 9, pixels.shape)
    exposure.id = 77
    for name in "ab":
        writeExposure(exposure, tmp_path / f"{name}.fits", compress="lossy")
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()
    back = stillsky.read(tmp_path / "a.fits")
    np.testing.assert_array_equal(np.isnan(back.image.array), np.isnan(pixels))
    change = (back.image.array - pixels)[np.isfinite(pixels)]
    assert np.sqrt(np.mean(change.astype(float) ** 2)) <= 10 / 16 / np.sqrt(12) * 1.1
    assert back.image.array[100, 100] == 0
    tileSigma = np.array([np.nanstd(t) for half in np.split(pixels, 2) for t in np.split(half, 2, axis=1)])
    assert np.abs(change).max() <= 0.51 * tileSigma.max() / 16 * 1.05  # the tile noise is itself estimated
    np.testing.assert_array_equal(back.mask.array, exposure.mask.array)
    np.testing.assert_array_equal(back.variance.array, exposure.variance.array)
    writeExposure(exposure, tmp_path / "c.fits", compress="lossy", seed=3)
    assert not np.array_equal(stillsky.read(tmp_path / "c.fits").image.array, back.image.array)
    with pytest.raises(stillsky.DomainError, match="seed"):
        writeExposure(exposure, tmp_path / "d.fits", compress="lossy", seed=0)
    with pytest.raises(stillsky.DomainError, match="lossless"):
        writeExposure(exposure, tmp_path / "d.fits", compress="zip")
    assert not (tmp_path / "d.fits").exists()


@pytest.mark.parametrize("compress", ["none", "lossless", "lossy"])
def testSameExposureGivesTheSameBytes(tmp_path, rng, monkeypatch, compress):
    exposure = _exposure(rng)
    writeExposure(exposure, tmp_path / "a.fits", compress=compress)
    monkeypatch.setattr("astropy.io.fits.hdu.base._ValidHDU._get_timestamp", lambda self: "2001-01-01T00:00:00")
    monkeypatch.setattr("gzip.time", SimpleNamespace(time=lambda: 978307200.0))  # gzip tiles have a time, too
    writeExposure(exposure, tmp_path / "b.fits", compress=compress)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()
    with fits.open(tmp_path / "a.fits", checksum=True, disable_image_compression=True) as hdus:  # a wrong sum warns
        assert all(h.verify_checksum() == 1 and h.verify_datasum() == 1 for h in hdus)


def testCompressedPlanesKeepTheirHeaders(tmp_path, rng):
    writeExposure(_exposure(rng), tmp_path / "e.fits", compress="lossless")
    with fits.open(tmp_path / "e.fits") as hdus:
        assert all(isinstance(hdus[i], fits.CompImageHDU) for i in (1, 2, 3))
        assert hdus[2].header["MP_BAD"] == 0 and hdus[1].header["EXTTYPE"] == "IMAGE"
        assert hdus[1].compression_type == "GZIP_2" and hdus[1].tile_shape == (1, 90)


def testInfiniteVarianceSurvives(tmp_path, rng):
    exposure = _exposure(rng)
    exposure.image.array[9, 9] = np.inf
    for compress in ("none", "lossless", "lossy"):
        writeExposure(exposure, tmp_path / "e.fits", compress=compress, overwrite=True)
        back = stillsky.read(tmp_path / "e.fits")
        assert (
            back.variance.array[3, 4] == np.inf
            and np.isnan(back.image.array[3, 4])
            and back.image.array[9, 9] == np.inf
        )


def testNewerLayoutIsRefused(tmp_path, rng):
    writeExposure(_exposure(rng), tmp_path / "e.fits")
    fits.setval(tmp_path / "e.fits", "EXPINFO_V", value=3)
    with pytest.raises(stillsky.FitsLayoutError, match="e.fits.*version 3"):
        stillsky.read(tmp_path / "e.fits")


def testOldZeroPointCards(tmp_path, rng):
    exposure = _exposure(rng, photoCalib=None, filter=None)
    exposure.metadata.remove("BUNIT")
    writeExposure(exposure, tmp_path / "e.fits")
    for key, value in (("EXPINFO_V", 0), ("FLUXMAG0", 1e12), ("FLUXMAG0ERR", 1e9), ("FILTER", "r2")):
        fits.setval(tmp_path / "e.fits", key if len(key) < 9 else f"HIERARCH {key}", value=value)
    back = stillsky.read(tmp_path / "e.fits")
    assert back.photoCalib == PhotoCalib.fromZeroPoint(1e12, 1e9)
    assert back.photoCalib.mean == pytest.approx(3630.7805477 * 1e9 / 1e12, rel=1e-9)
    assert back.filter == FilterLabel("r", "HSC-R2") and "FLUXMAG0" not in back.metadata


def testContradictingOrigin(tmp_path, rng):
    path = tmp_path / "e.fits"
    writeExposure(_exposure(rng), path)
    fits.setval(path, "LTV1", value=-3, ext=1)
    with pytest.raises(stillsky.FitsLayoutError, match="pixel origin"):
        stillsky.read(path)
    for key in ("CRVAL1A", "CRVAL2A"):
        fits.delval(path, key, ext=1)
    assert tuple(stillsky.read(path).xy0) == (3, 2000)  # LTV when there are no "A" coordinates
    fits.setval(path, "LTV1", value=-3.5, ext=1)
    with pytest.raises(stillsky.FitsLayoutError, match="whole numbers"):
        stillsky.read(path)


@pytest.mark.parametrize("cards", [{"MP_FOO": 0}, {"MP_FOO": 31}, {"MP_FOO": -1}, {"MP_FOO": "x"}, {"MP_FOO": 1.5}])
def testBadPlaneCards(tmp_path, rng, cards):
    writeExposure(_exposure(rng), tmp_path / "e.fits")
    for key, value in cards.items():
        fits.setval(tmp_path / "e.fits", key, value=value, ext=2)
    with pytest.raises(stillsky.FitsLayoutError, match="MP_FOO|share a bit"):
        stillsky.read(tmp_path / "e.fits")


def testBarePlanes(tmp_path, rng):
    exposure = _exposure(rng)
    for compress in ("none", "lossless"):
        writeImage(exposure.image, tmp_path / "i.fits", wcs=exposure.wcs, compress=compress, overwrite=True)
        image = readImage(tmp_path / "i.fits")
        np.testing.assert_array_equal(image.array, exposure.image.array)
        assert tuple(image.xy0) == XY0 and readWcs(tmp_path / "i.fits") is not None
        writeMask(exposure.mask, tmp_path / "m.fits", compress=compress, overwrite=True)
        mask = readMask(tmp_path / "m.fits")
        np.testing.assert_array_equal(mask.array, exposure.mask.array)
        assert mask.schema == exposure.mask.schema and tuple(mask.xy0) == XY0
    writeMaskedImage(exposure.maskedImage, tmp_path / "mi.fits", metadata={"K": 1})
    _assertSamePixels(readMaskedImage(tmp_path / "mi.fits", needAllPlanes=True), exposure.maskedImage)
    assert dict(readMetadata(tmp_path / "mi.fits")) == {"K": 1}


def testPartsAreReadAlone(tmp_path, rng, monkeypatch):
    exposure = _exposure(rng)
    path = tmp_path / "e.fits"
    writeExposure(exposure, path)
    np.testing.assert_array_equal(readPart(path, "variance").array, exposure.variance.array)
    monkeypatch.setattr("stillsky.fits.parts.readPixels", None)  # from here on no pixel may be read
    monkeypatch.setattr("stillsky.fits.native.readPixels", None)
    assert readBBox(path) == exposure.bbox and readPart(path, "dimensions") == exposure.bbox.dimensions
    assert tuple(readPart(path, "xy0")) == XY0
    for name in ("visitInfo", "photoCalib", "filter", "id", "validPolygon", "metadata"):
        assert readPart(path, name) == getattr(exposure, name), name
    assert readPart(path, "psf") is None
    assert np.allclose(readPart(path, "wcs").pixelToSky(1000, 2000), exposure.wcs.pixelToSky(1000, 2000), atol=1e-14)
    with pytest.raises(KeyError, match="colour"):
        readPart(path, "colour")


def testExistingFileIsKept(tmp_path, rng):
    path = tmp_path / "e.fits"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="e.fits"):
        writeExposure(_exposure(rng), path)
    assert path.read_text() == "precious"
    writeExposure(_exposure(rng), path, overwrite=True)
    assert stillsky.read(path).width == 90
    assert os.listdir(tmp_path) == ["e.fits"]


def testFailedWritingLeavesNothing(tmp_path, rng, monkeypatch):
    real = fits.HDUList.writeto

    def fullDisk(self, name, *args, **kwargs):
        real(self, name, *args, **kwargs)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", fullDisk)
    with pytest.raises(OSError, match="No space left.*e.fits"):
        writeExposure(_exposure(rng), tmp_path / "e.fits")
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    with pytest.raises(OSError, match="nowhere"):
        writeExposure(_exposure(rng), tmp_path / "nowhere" / "e.fits")


@pytest.mark.parametrize("compress", ["none", "lossless", "lossy"])
def testPixelsAreNotTouchedWhileTheyAreWritten(tmp_path, rng, monkeypatch, compress):
    exposure = _exposure(rng, shape=(300, 280))
    before = [exposure.image.array.copy(), exposure.mask.array.copy(), exposure.variance.array.copy()]
    planes = [exposure.image.array, exposure.mask.array, exposure.variance.array]
    seen = []
    computeSum = fits.hdu.base._ValidHDU._compute_checksum

    def watched(self, data, *rest):
        seen.append([np.array_equal(a, b, equal_nan=True) for a, b in zip(planes, before, strict=True)])
        return computeSum(self, data, *rest)

    monkeypatch.setattr(fits.hdu.base._ValidHDU, "_compute_checksum", watched)
    writeExposure(exposure, tmp_path / "e.fits", compress=compress)
    assert len(seen) >= 4 and all(map(all, seen))


@pytest.mark.parametrize("suffix, magic", [("gz", b"\x1f\x8b"), ("bz2", b"BZh")])
def testFilesCompressedAsAWhole(tmp_path, rng, suffix, magic):
    exposure, path = _exposure(rng), tmp_path / f"e.fits.{suffix}"
    writeExposure(exposure, path)
    assert path.read_bytes().startswith(magic)
    _assertSamePixels(stillsky.read(path), exposure)


def testMetadataWithWeirdCards(tmp_path, rng):
    exposure = _exposure(rng)
    exposure.metadata.set("LONG", "abc " * 60)
    exposure.metadata.set("NAN", float("nan"))
    exposure.metadata.set("NAXIS1", 5)
    writeExposure(exposure, tmp_path / "e.fits")
    back = stillsky.read(tmp_path / "e.fits").metadata
    assert back["LONG"].rstrip() == ("abc " * 60).rstrip() and back["NAN"] is None and "NAXIS1" not in back


def testPlanesWriteAndReadThemselves(tmp_path, rng):
    """Image, mask and masked image as objects of their own: pixels, origin, planes; part of them on request."""
    masked = MaskedImage(Image(rng.normal(size=(30, 40)).astype(np.float32), (7, -3)))
    masked.variance.array[...] = 2.0
    masked.mask.array[4, 5] |= 1 << masked.mask.addPlane("OWN")
    box = Box2I((10, 0), (12, 9))
    for plane in (masked, masked.image, masked.mask):
        path = tmp_path / f"{type(plane).__name__}.fits"
        plane.writeFits(path)
        back = type(plane).readFits(path)
        assert back == plane and back.xy0 == plane.xy0
        assert type(plane).readFits(path, region=box) == plane[box]
        with pytest.raises(FileExistsError):
            plane.writeFits(path)
        plane.writeFits(path, overwrite=True, compress="lossless")
        assert type(plane).readFits(path) == plane
