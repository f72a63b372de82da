"""Files of programs that stretch the standard: broken cards, idle axes, whole files compressed."""

import bz2
import gzip
import lzma

import numpy as np
import pytest
from astropy.io import fits

import stillsky
from stillsky.fits import describeFile, readExposure, writeExposure
from stillsky.fits.files import openFits


@pytest.fixture
def pixels(rng):
    return rng.normal(100, 3, (20, 30)).astype(np.float32)


def _withCards(path, pixels, *raw):
    """Write an image whose header ends with raw cards."""
    fits.writeto(path, pixels)
    content = path.read_bytes()
    at = content.index(b"END" + 77 * b" ")
    cards = b"".join(card.ljust(80) for card in (*raw, b"END"))
    path.write_bytes(content[:at] + cards + content[at + len(cards) :])


@pytest.mark.parametrize("card, text", [
    (b"OBJECT  = 'M 31\x1b[31m \xe4\xff'", "M 31?[31m ??"), (b"OBJECT  = M 31 north", "M 31 north"),
    (b"OBJECT  = 'M 31", "M 31"),
])  # fmt: skip
def test_cardsThatBreakTheStandardAreText(tmp_path, pixels, card, text):
    path = tmp_path / "a.fits"
    _withCards(
        path, pixels, b"EXPTIME =                 30.0", card, b"GAIN    = two", b"DATE-OBS= '2026-01-02T03:04:05'"
    )
    before = path.read_bytes()
    exposure, _ = readExposure(path)
    np.testing.assert_array_equal(exposure.image.array, pixels)
    assert exposure.metadata["OBJECT"] == text and exposure.metadata["GAIN"] == "two"
    assert exposure.visitInfo.exposureTime == 30 and exposure.visitInfo.date is not None
    assert describeFile(path) and path.read_bytes() == before
    writeExposure(exposure, tmp_path / "b.fits")
    again = stillsky.read(tmp_path / "b.fits")
    assert again.metadata["GAIN"] == "two" and again.visitInfo.object == text


def test_cardsOfOtherExtensions(tmp_path, pixels):
    _withCards(tmp_path / "a.fits", pixels, b"NOTE    = a b")
    with fits.open(tmp_path / "a.fits", output_verify="ignore") as hdus:
        part = fits.ImageHDU(pixels, name="TWO")
        part.header["LONG"] = "it's " * 30  # CONTINUE
        part.header["HIERARCH ESO DET CHIP"] = (1.5e-7, "a / slash")
        part.header["HISTORY"] = "none"
        fits.HDUList([fits.PrimaryHDU(), part]).writeto(tmp_path / "b.fits")
        assert len(hdus) == 1
    with openFits(tmp_path / "b.fits") as hdus:
        assert hdus[1].header["LONG"] == ("it's " * 30).strip() and hdus[1].header["ESO DET CHIP"] == 1.5e-7


@pytest.mark.parametrize("axes", [(1,), (1, 1)])
def test_idleAxes(tmp_path, pixels, axes):
    fits.writeto(tmp_path / "a.fits", pixels.reshape(*axes, *pixels.shape))
    exposure, _ = readExposure(tmp_path / "a.fits", region="3:9,2:12")
    np.testing.assert_array_equal(exposure.image.array, pixels[2:12, 3:9])


@pytest.mark.parametrize("suffix, pack", [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_compressedFiles(tmp_path, pixels, suffix, pack):
    fits.writeto(tmp_path / "a.fits", pixels)
    packed = pack((tmp_path / "a.fits").read_bytes())
    path = tmp_path / f"a.fits.{suffix}"
    path.write_bytes(packed)
    np.testing.assert_array_equal(readExposure(path)[0].image.array, pixels)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(stillsky.FitsLayoutError, match="a.fits." + suffix):
        readExposure(path)


def test_valuesTooLargeForTheirVariance(tmp_path, pixels):
    fits.writeto(tmp_path / "a.fits", pixels * np.float32(1e34), fits.Header({"GAIN": 1.0}))
    exposure, _ = readExposure(tmp_path / "a.fits")  # no warning of NumPy: those are errors here
    assert not np.isfinite(exposure.variance.array).any()


@pytest.mark.parametrize("origin, saturated", [("LCOGT", True), ("elsewhere", False)])
def test_badPixelExtensions(tmp_path, pixels, origin, saturated):
    """SCI with BPM: 1 is bad; of Las Cumbres Observatory 2 is saturated; what has no meaning is named."""
    bad = np.zeros(pixels.shape, np.uint8)
    bad[2, 3], bad[4, 5], bad[6, 7] = 1, 2, 128
    header = fits.Header({"ORIGIN": origin})
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels, header, name="SCI"), fits.ImageHDU(bad, name="BPM")]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    exposure, provenance = readExposure(tmp_path / "a.fits")
    assert np.argwhere(exposure.mask.isSet("BAD")).tolist() == [[2, 3]]
    assert np.argwhere(exposure.mask.isSet("SAT")).tolist() == ([[4, 5]] if saturated else [])
    assert exposure.mask.isSet("FOREIGN_7")[6, 7] and any(line.startswith("W-FOREIGNMASK") for line in provenance)
