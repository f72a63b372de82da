"""Finding flats on disk, reading their headers, pairing them."""

import numpy as np
import pytest
from astropy.io import fits

from stillsky.errors import FitsLayoutError
from stillsky.fits.file_lists import findFiles
from stillsky.ptc.flat_files import FlatFile, medianLevel, pairFlats, scanFlat


def write(path, level=1000.0, shape=(20, 30), **cards):
    hdu = fits.PrimaryHDU(np.full(shape, level).astype(np.uint16))
    for key, value in cards.items():
        hdu.header[key] = value
    hdu.writeto(path)
    return str(path)


def flat(name, time=float("nan"), start=float("nan"), value=None, shape=(10, 10)):
    return FlatFile(f"/x/{name}.fits", exposureTime=time, start=start, value=value, shape=shape)


def names(pairing):
    return [(a.name.removesuffix(".fits"), b.name.removesuffix(".fits")) for a, b in pairing.pairs]


def test_findFlats_foldersPatternsListsAndFiles(tmp_path):
    for name in ("f10.fits", "f9.fits", "notes.txt", ".hidden.fits", "g.fit.gz"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "deeper.fits").mkdir()
    (tmp_path / "list.txt").write_text("f9.fits  # the first\n\nf10.fits\n")
    inFolder = [(str(tmp_path / n), False) for n in ("f9.fits", "f10.fits", "g.fit.gz")]
    assert findFiles([str(tmp_path)]) == inFolder
    assert findFiles([str(tmp_path / "f*.fits")]) == [(p, True) for p, _ in inFolder[:2]]
    assert findFiles([f"@{tmp_path / 'list.txt'}"]) == [(p, True) for p, _ in inFolder[:2]]
    first = str(tmp_path / "f9.fits")
    assert findFiles([first, first, f"{first}[1]"]) == [(first, True), (f"{first}[1]", True)]
    with pytest.raises(FileNotFoundError):
        findFiles([str(tmp_path / "none.fits")])
    with pytest.raises(FileNotFoundError):
        findFiles([str(tmp_path / "none*.fits")])


def test_scanFlat_readsWhatTheHeaderSays(tmp_path):
    path = write(
        tmp_path / "a.fits", EXPTIME=2.5, IMAGETYP="Dome Flat", INSTRUME="cam", CCOBFLUX=3.0,
        **{"DATE-OBS": "2023-01-06T00:17:06.5845178"},
    )  # fmt: skip
    scanned = scanFlat(path, key="CCOBFLUX")
    assert (scanned.exposureTime, scanned.kind, scanned.instrument, scanned.value) == (2.5, "flat", "cam", 3.0)
    assert scanned.shape == (20, 30) and scanned.images == 1 and scanned.name == "a.fits"
    from astropy.time import Time

    assert scanned.start == pytest.approx(Time("2023-01-06T00:17:06.584").mjd, abs=1e-8)
    bare = scanFlat(write(tmp_path / "b.fits"))
    assert np.isnan(bare.exposureTime) and np.isnan(bare.start) and bare.kind == "" and bare.value is None


@pytest.mark.parametrize(
    "card, seconds",
    [
        (("EXPOSURE", 0.25, "seconds"), 0.25),
        (("EXPOSURE", 250.0, "[ms] integration time"), 0.25),
        (("EXPTIME", 250, "exposure time in msec"), 0.25),
        (("EXPTIME", "1.5", ""), 1.5),
        (("EXPTIME", -1.0, ""), np.nan),
        (("EXPTIME", "long", ""), np.nan),
    ],
)
def test_scanFlat_exposureTimeHasUnits(tmp_path, card, seconds):
    hdu = fits.PrimaryHDU(np.zeros((4, 4), np.int16))
    hdu.header[card[0]] = card[1:]
    hdu.writeto(tmp_path / "a.fits")
    np.testing.assert_equal(scanFlat(str(tmp_path / "a.fits")).exposureTime, seconds)


def test_scanFlat_extensionsShareThePrimaryHeader(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["EXPTIME"] = 4.0
    amps = [fits.ImageHDU(np.zeros((5, 6), np.int16), name=f"AMP{i}") for i in range(3)]
    fits.HDUList([primary, *amps]).writeto(tmp_path / "m.fits")
    path = str(tmp_path / "m.fits")
    assert (scanFlat(path).exposureTime, scanFlat(path).images) == (4.0, 3)
    one = scanFlat(f"{path}[AMP1]")
    assert (one.ext, one.images, one.path) == ("AMP1", 1, path)
    with pytest.raises(FitsLayoutError, match="no extension"):
        scanFlat(f"{path}[AMP9]")


def test_scanFlat_noImageAndNoFitsAreErrors(tmp_path):
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "empty.fits")
    with pytest.raises(FitsLayoutError, match="wanted an image"):
        scanFlat(str(tmp_path / "empty.fits"))
    (tmp_path / "text.fits").write_text("no FITS")
    with pytest.raises((FitsLayoutError, OSError), match="text.fits"):
        scanFlat(str(tmp_path / "text.fits"))


@pytest.mark.parametrize(
    "word, kind", [("BIAS", "bias"), ("zero frame", "bias"), ("DARK", "dark"), ("OBJECT", "other")]
)
def test_scanFlat_otherKindsAreRecognised(tmp_path, word, kind):
    assert scanFlat(write(tmp_path / "a.fits", OBSTYPE=word)).kind == kind


def test_pairFlats_byTimeWithinTolerance():
    flats = [flat("a", 1.0), flat("b", 2.0), flat("c", 1.004), flat("d", 2.0), flat("e", 3.0), flat("f")]
    pairing = pairFlats(flats)
    assert pairing.by == "time" and names(pairing) == [("a", "c"), ("b", "d")]
    assert [(f.name, why) for f, why in pairing.alone] == [
        ("e.fits", "the only one left with 3 s"),
        ("f.fits", "no exposure time in the header"),
    ]


def test_pairFlats_manyOfOneTimeArePairsOfNeighbours():
    """Twenty frames of one level are ten pairs, and the lamp drifts least between neighbours."""
    flats = [flat(str(i), 1.0, start=59000.0 + (7 * i) % 5) for i in range(5)]
    pairing = pairFlats(flats, "time")
    order = sorted(range(5), key=lambda i: (7 * i) % 5)
    assert names(pairing) == [(str(order[0]), str(order[1])), (str(order[2]), str(order[3]))]
    assert [f.name for f, _ in pairing.alone] == [f"{order[4]}.fits"]


def test_pairFlats_shapesMustAgree():
    flats = [flat("a", 1.0, shape=(10, 12)), flat("b", 1.0), flat("c", 1.0, shape=(10, 12))]
    pairing = pairFlats(flats, "time")
    assert names(pairing) == [("a", "c")] and pairing.alone[0][0].name == "b.fits"


def test_pairFlats_byKey():
    flats = [flat("a", 1.0, value="3"), flat("b", 1.0, value=2), flat("c", 1.0, value=3.0), flat("d", 1.0)]
    pairing = pairFlats(flats)
    assert pairing.by == "key" and names(pairing) == [("a", "c")]
    assert dict((f.name, why) for f, why in pairing.alone)["d.fits"] == "key missing"


def test_pairFlats_byName():
    flats = [flat(n) for n in ("000_flat_1.5_flat1_x9", "000_flat_1.5_flat2_x10", "000_flat_2.5_flat1_x11", "other")]
    pairing = pairFlats(flats)
    assert pairing.by == "name" and names(pairing) == [("000_flat_1.5_flat1_x9", "000_flat_1.5_flat2_x10")]
    assert len(pairing.alone) == 2


def test_pairFlats_byOrder():
    flats = [flat(n, start=59000.0 - i) for i, n in enumerate("abcde")]
    pairing = pairFlats(flats, "order")
    assert names(pairing) == [("a", "b"), ("c", "d")] and pairing.alone[0][0].name == "e.fits"


def test_pairFlats_byLevelWhenNothingElsePairs(tmp_path):
    paths = [
        write(tmp_path / f"{i}.fits", level, EXPTIME=float(i)) for i, level in enumerate((1000, 5000, 5100, 20000))
    ]
    flats = [scanFlat(p) for p in paths]
    pairing = pairFlats(flats)
    assert pairing.by == "level" and names(pairing) == [("1", "2")]
    assert pairing.levels[paths[3]] == 20000.0 and medianLevel(flats[0]) == 1000.0
    assert "level 20000, no other within 10%" in [why for _, why in pairing.alone]
    assert pairFlats(flats, "level", levelTolerance=0.01).pairs == []


def test_pairFlats_unknownWay():
    with pytest.raises(ValueError, match="auto, time, key"):
        pairFlats([], "moon")
    assert pairFlats([]).pairs == []
