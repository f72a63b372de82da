"""Files that cannot be read: an error that names the file, never a traceback of a library."""

import numpy as np
import pytest
from astropy.io import fits

import stillsky
from stillsky.fits import describeFile, readExposure, readKernel, readMaskedImage, readPart
from stillsky.fits.files import splitExtension


@pytest.fixture
def image(tmp_path, rng):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(rng.normal(size=(200, 300)).astype(np.float32), name="SCI1")]
    hdus.append(fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])], name="CAT"))
    hdus += [fits.ImageHDU(np.zeros(7), name="LINE"), fits.ImageHDU(np.zeros((3, 4, 5)), name="CUBE")]
    path = tmp_path / "image.fits"
    fits.HDUList(hdus).writeto(path)
    return path


def testMissingFile(tmp_path):
    for reader in (readExposure, readMaskedImage, readKernel, describeFile):
        with pytest.raises(FileNotFoundError, match="nowhere.fits"):
            reader(tmp_path / "nowhere.fits")


def testFolder(tmp_path):
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        readExposure(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n" + b"x" * 5000, b"SIMPLE  =                    T" + b" " * 5000]
)
def testNotFits(tmp_path, content):
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    with pytest.raises(stillsky.FitsLayoutError, match="x.fits"):
        readExposure(path)


def testAsdf(tmp_path):
    (tmp_path / "r.asdf").write_bytes(b"#ASDF 1.0.0\n")
    with pytest.raises(stillsky.FitsLayoutError, match="r.asdf.*ASDF"):
        readExposure(tmp_path / "r.asdf")


@pytest.mark.parametrize("keep", [3000, 10000, 100000])
def testTruncated(image, keep):
    content = image.read_bytes()
    assert keep < len(content)
    image.write_bytes(content[:keep])
    with pytest.raises(stillsky.FitsLayoutError, match="image.fits"):
        readExposure(image)


def testTruncatedCompressed(tmp_path, rng):
    pixels = rng.normal(size=(200, 300)).astype(np.float32)
    hdu = fits.CompImageHDU(pixels, compression_type="GZIP_2", quantize_level=0.0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "a.fits.fz")
    fits.PrimaryHDU(pixels).writeto(tmp_path / "b.fits.gz")
    fits.PrimaryHDU(pixels).writeto(tmp_path / "c.fits.bz2")
    for name in ("a.fits.fz", "b.fits.gz", "c.fits.bz2"):
        path = tmp_path / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(stillsky.FitsLayoutError, match=name):
            readExposure(path)


def testWrongExtensions(image):
    for ext in ("NOPE", 9):
        with pytest.raises(stillsky.FitsLayoutError, match="image.fits.*no extension.*SCI1"):
            readExposure(image, ext=ext)
    with pytest.raises(stillsky.FitsLayoutError, match="table"):
        readExposure(f"{image}[CAT]")
    with pytest.raises(stillsky.FitsLayoutError, match="2 axes, given 1"):
        readExposure(f"{image}[LINE]")
    with pytest.raises(stillsky.FitsLayoutError, match="2 axes, given 3"):
        readExposure(f"{image}[CUBE]")
    with pytest.raises(stillsky.FitsLayoutError, match="no pixels"):
        readExposure(f"{image}[0]")
    assert stillsky.read(f"{image}[SCI1]").width == 300 and stillsky.read(f"{image}[1]").width == 300


def testTableInsteadOfImage(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])], name="CAT")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits")
    with pytest.raises(stillsky.FitsLayoutError, match="t.fits.*holds no image.*CAT"):
        readExposure(tmp_path / "t.fits")


def testLsstImagesFile(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header([("INDXADDR", 1), ("JSONADDR", 2)]))
    fits.HDUList([primary, fits.ImageHDU(np.zeros((2, 2)), name="IMAGE")]).writeto(tmp_path / "n.fits")
    with pytest.raises(stillsky.FitsLayoutError, match="n.fits.*lsst-images"):
        readExposure(tmp_path / "n.fits")


def testPlanesOfDifferentSize(tmp_path):
    hdus = [fits.PrimaryHDU()]
    hdus += [fits.ImageHDU(np.zeros((4, n), np.float32), name=k) for k, n in (("IMAGE", 5), ("VARIANCE", 6))]
    fits.HDUList(hdus).writeto(tmp_path / "e.fits")
    with pytest.raises(stillsky.FitsLayoutError, match="e.fits.*VARIANCE") as caught:
        readExposure(tmp_path / "e.fits")
    assert caught.value.found == "VARIANCE 6x4, IMAGE 5x4 pixels"


def testUnreadableWcsIsNotFatal(tmp_path, rng):
    cards = fits.Header([("CTYPE1", "RA---TAN"), ("CTYPE2", "GLAT-TAN"), ("CRVAL1", 3.0), ("OBJECT", "x")])
    fits.PrimaryHDU(rng.normal(size=(20, 30)).astype(np.float32), cards).writeto(tmp_path / "w.fits")
    exposure, provenance = readExposure(tmp_path / "w.fits")
    assert exposure.wcs is None and any(s.startswith("wcs: none") for s in provenance)


def testInputIsNeverModified(image):
    before = image.read_bytes()
    exposure = stillsky.read(image)
    exposure.image.array[...] = 0
    assert image.read_bytes() == before


def testBracketSyntax(tmp_path):
    assert splitExtension("a.fits[SCI,2]")[1] == ("SCI", 2)
    assert splitExtension("a.fits[3]")[1] == 3 and splitExtension("a.fits[N4]")[1] == "N4"
    assert splitExtension("a.fits") == (tmp_path.__class__("a.fits"), None)
    odd = tmp_path / "b[1]"
    odd.write_bytes(b"x")
    assert splitExtension(odd) == (odd, None)


def testReadPartErrors(image):
    with pytest.raises(stillsky.FitsLayoutError, match="image.fits"):
        readPart(f"{image}[CAT]", "variance")


def testOnlyExposuresAreWrittenAsExposures(tmp_path):
    with pytest.raises(TypeError, match="exposure: wanted an Exposure.*ndarray"):
        stillsky.writeExposure(np.zeros((3, 3)), tmp_path / "a.fits")
    assert list(tmp_path.iterdir()) == []
