"""``stillsky coadd`` when the machine fails, and when inputs show different parts of the sky."""

import errno
from collections import namedtuple

import numpy as np
import pytest
from astropy.table import Table

import stillsky
import stillsky.coadd.job as job
import stillsky.coadd.warps as warps
from stillsky.errors import FitsLayoutError, MismatchError
from stillsky.fits import writeExposure
from stillsky.fits.scratch import ScratchError
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeTanWcs

N = 128
PIXEL = 0.3 / 3600


def _frame(k, x=64.0, y=64.0, ra=1.2):
    """Noise with a PSF: nothing has to be measured."""
    pixels = np.random.default_rng(k).normal(100, 3, (N, N)).astype(np.float32)
    wcs = makeTanWcs((x, y), (ra, -0.3), PIXEL * np.array([[-1.0, 0.0], [0.0, 1.0]]))
    return makeExposure(pixels, variance=9.0, wcs=wcs, psf=GaussianPsf(15, 15, 1.8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """g0 to g2 compressed, on one grid; s1, s2 half a pixel from it; far elsewhere."""
    path = tmp_path_factory.mktemp("faults")
    for k in range(3):
        writeExposure(_frame(k), path / f"g{k}.fits.gz")
    for k in (1, 2):
        writeExposure(_frame(k, 64.5 + k), path / f"s{k}.fits")
    writeExposure(_frame(7, ra=2.4), path / "far.fits")
    writeExposure(_frame(8, 64.0 + 5000, 5000.0), path / "beside.fits")
    return path


@pytest.fixture
def coadd(folder, tmp_path, run, monkeypatch):
    """``coadd(names, *options)`` -> exit code, stderr; in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(names, *options):
        names = [folder / (n if "." in n else f"{n}.fits") for n in names]
        code, _, err = run("coadd", *names, "-o", "c", "--scale", "none", "--no-report", *options)
        return code, err

    return call


GZIPPED = ("g0.fits.gz", "g1.fits.gz", "g2.fits.gz")
SMALL = ("--memory", "1M")  # nothing is kept in memory


def _raising(number):
    def call(*args, **kwargs):
        raise OSError(number, "as the test wants it")

    return call


def test_aFullScratchDiskIsNoFaultOfTheInputs(coadd, monkeypatch, tmp_path, folder):
    monkeypatch.setattr(warps, "_writeAt", _raising(errno.ENOSPC))
    code, err = coadd(GZIPPED, *SMALL)
    assert code == 7 and "left out" not in err and not list(tmp_path.iterdir())
    assert "scratch folder" in err and "is full: 0.000197 GB are needed" in err
    assert "set TMPDIR" in err and "--work" in err and "free" in err
    with pytest.raises(ScratchError, match="is full"):
        stillsky.coadd([str(folder / n) for n in GZIPPED], scale="none", memory=1 << 20)


@pytest.mark.parametrize("number, words", [
    (errno.ENOSPC, "is full"), (errno.EDQUOT, "is full"), (errno.EROFS, "cannot be written"), (errno.EACCES, "cannot be written"),
])  # fmt: skip
def test_finishedWarpsThatCannotBeWritten(coadd, monkeypatch, number, words):
    monkeypatch.setattr(job, "writeExposure", _raising(number))
    code, err = coadd(("s1", "s2", "g0.fits.gz"), "--work", "kept", *SMALL)
    assert code == 7 and "left out" not in err and f"scratch folder kept {words}" in err


def test_roomIsLookedForBeforehand(coadd, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("stillsky.fits.scratch.shutil.disk_usage", lambda path: usage(1, 1, 400_000))
    monkeypatch.setattr(job, "toGrid", None)  # not one pixel is resampled
    code, err = coadd(("s1", "s2", "g0.fits.gz"), "--work", "kept", *SMALL)
    assert code == 7 and "scratch folder kept is full" in err and "0.0004 GB free" in err
    # each of these needs less
    assert coadd(GZIPPED, *SMALL)[0] == 0


def test_tooManyOpenFilesIsNoFaultOfTheInputs(coadd, monkeypatch):
    monkeypatch.setattr(warps, "openFits", _raising(errno.EMFILE))
    code, err = coadd(GZIPPED, *SMALL)
    assert code == 7 and "left out" not in err and "ulimit" in err


def test_whatIsLeftOutIsSaidOnce(coadd, monkeypatch):
    decode = warps.WarpHandle._decode

    def broken(self, shape):
        if "g2" in self.name:
            raise FitsLayoutError("g2.fits.gz: it ends in the middle")
        decode(self, shape)

    monkeypatch.setattr(warps.WarpHandle, "_decode", broken)
    code, err = coadd(GZIPPED, *SMALL)
    assert code == 0 and err.count("g2.fits.gz") == 1 and "warning[W-SKIPPED]: left out: g2.fits.gz: it ends" in err


# ---------------------------------------------------------------------- another field

MIXED = ("s1", "far", "s2", "g0.fits.gz")


def test_anInputOfAnotherFieldIsLeftOutAndNamed(coadd, folder):
    code, err = coadd(MIXED)
    assert code == 0 and err.count("far.fits") == 1, err
    assert "warning[W-SKIPPED]: left out: far.fits: no overlap with the others: it is at 137.5" in err
    table = Table.read("c.inputs.ecsv")
    assert list(table["used"]) == [True, False, True, True] and "no overlap" in table["reason"][1]
    # as if it had not been named, also where it is the first, and where the grid would be mostly empty
    alone = stillsky.coadd([str(folder / f"{n}") for n in ("s1.fits", "s2.fits", "g0.fits.gz")], scale="none").coadd
    for odd in ("far.fits", "beside.fits"):
        result = stillsky.coadd([str(folder / n) for n in (odd, "s1.fits", "s2.fits", "g0.fits.gz")], scale="none")
        np.testing.assert_array_equal(result.coadd.image.array, alone.image.array)
        assert list(result.table["used"]) == [False, True, True, True]


def test_anotherFieldIsAnErrorWithStrict(coadd):
    code, err = coadd(MIXED, "--strict")
    assert code == 4 and "far.fits: no overlap with the others" in err
    assert "found: 4 inputs, far.fits at 137.5" in err and "the others, like s1.fits, at 68.7" in err


def test_theLargestFieldIsKeptAndOfEqualOnesTheFirst(folder):
    def used(*places):
        frames = [_frame(k, 64.25 + k, ra=ra) for k, ra in enumerate(places)]
        return list(stillsky.coadd(frames, scale="none").table["used"])

    assert used(1.2, 2.4, 2.4) == [False, True, True]
    assert used(1.2, 2.4, 2.4, 1.2) == [True, False, False, True]
    with pytest.raises(MismatchError, match="different parts of the sky|mostly empty"):
        used(1.2, 2.4)  # no two overlap: nothing to be stacked
    # what one grid can hold stays
    result = stillsky.coadd([_frame(0), _frame(1, 64.25), _frame(2, 64.0 + 500)], scale="none")
    assert all(result.table["used"]) and "W-APART" in dict(result.warnings)
    # detectors beside each other, with a gap, are one field
    side = [_frame(k, 64.0 + 140 * k) for k in range(3)]
    table = stillsky.coadd([*side, _frame(4, ra=2.4)], scale="none").table
    assert list(table["used"]) == [True, True, True, False]


# ------------------------------------------------------------------------- names and lists


def test_namesThatNobodyHas(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for names in (["none.fits"], ["none.fits", "nil.fits"]):
        code, _, err = run("coadd", *names, "-o", "c")
        assert code == 3 and "none.fits: no such file" in err and "Errno" not in err
    assert not list(tmp_path.iterdir())


def test_aListWithoutItsSign(run, tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    # comments, blank lines, the mark and the line ends of Windows, names relative to the list, a name with blanks
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a b.fits.gz").symlink_to(folder / "g0.fits.gz")
    (tmp_path / "in" / "list.txt").write_bytes(b"\xef\xbb\xbfa b.fits.gz\r\n\r\n  # no more\r\n")
    code, _, err = run("coadd", "in/list.txt", "-o", "c")
    assert code == 5 and "try: a list of files is given as @in/list.txt" in err
    code, _, err = run("coadd", "@in/list.txt", "-o", "c", "--scale", "none", "--no-report")
    assert code == 0 and "inputs: 1 of 1" in err, err
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n")
    code, _, err = run("coadd", "@picture", "-o", "d")
    assert code == 3 and "not a list of file names" in err


def test_imagesWithoutSkyNoise(run, tmp_path, monkeypatch):
    """One pixel; images that are constant: no figure that is not a number."""
    monkeypatch.chdir(tmp_path)
    for k in range(2):
        writeExposure(makeExposure(np.full((1, 1), 7.0, np.float32), variance=9.0), f"one{k}.fits")
    code, _, err = run("coadd", "one0.fits", "one1.fits", "-o", "c")
    assert code == 0 and "nan" not in err.lower(), err
    assert "No part of the sky" in (tmp_path / "c.html").read_text()


# ---------------------------------------------------------------------- inputs that do not go with the others


def _used(*frames, **options):
    result = stillsky.coadd(list(frames), scale="none", **options)
    return result, list(result.table["used"])


def _bare(k, shape=(N, N)):
    """Without a WCS."""
    frame = _frame(k)
    return makeExposure(frame.image.array[: shape[0], : shape[1]].copy(), variance=9.0, psf=frame.psf)


def test_oneInputWithoutWcsAndOfAnotherShapeCostsItselfAlone():
    good = [_frame(k) for k in range(3)]
    alone = _used(*good)[0].coadd.image.array
    for frames in ([*good, _bare(5, (100, 120))], [_bare(5, (100, 120)), *good]):
        result, used = _used(*frames)
        assert used == [frame.wcs is not None for frame in frames]
        np.testing.assert_array_equal(result.coadd.image.array, alone)
        assert "no WCS, and of 120x100 px where others have 128x128" in " ".join(result.table["reason"])
    # the larger group stays; of two inputs nobody can say which one is odd
    assert _used(_frame(0), *(_bare(k, (100, 120)) for k in range(3)))[1] == [False, True, True, True]
    with pytest.raises(MismatchError, match="1 of 2 inputs have no WCS and are not all of one shape"):
        _used(_frame(0), _bare(5, (100, 120)))
    # where the others are on several grids their shape tells nothing
    config = stillsky.CoaddJobConfig()
    config.register = "never"
    result, used = _used(_frame(0), _frame(1, 65.5), _bare(5), config=config)
    assert used == [True, True, False] and "not on one grid" in result.table["reason"][2]


@pytest.mark.parametrize("first", [False, True])
def test_anInputWithoutWcsOfTheShapeOfTheOthersIsUsed(tmp_path, first):
    frames = [_frame(0), _frame(1), _bare(5)][:: -1 if first else 1]
    for memory in (1 << 31, 1 << 20):  # in memory, and in place
        paths = [tmp_path / f"{k}.fits" for k in range(3)]
        for frame, path in zip(frames, paths):
            writeExposure(frame, path, overwrite=True)
        result, used = _used(*map(str, paths), method="mean", memory=memory)
        assert used == [True] * 3 and "W-NOWCS" in [code for code, _ in result.warnings]
        mean = np.mean([frame.image.array for frame in frames], axis=0)
        np.testing.assert_allclose(result.coadd.image.array, mean, rtol=1e-6)
        assert result.coadd.wcs is not None


def test_pixelsOfAnotherSizeAreLeftOut():
    def frame(k, factor):
        cd = factor * PIXEL * np.array([[-1.0, 0.0], [0.0, 1.0]])
        wcs = makeTanWcs((60.0 + k, 64.0), (1.2, -0.3), cd)
        return makeExposure(_frame(k).image.array, variance=9.0, psf=GaussianPsf(15, 15, 1.8), wcs=wcs)

    for odd in (10.0, 0.1):
        result, used = _used(frame(0, odd), frame(1, 1.0), frame(2, 1.0))
        assert used == [False, True, True] and max(result.coadd.bbox.dimensions) < 140
        assert f"its pixels are of {0.3 * odd:.3g} arcsec, those of the others of 0.3" in result.table["reason"][0]
    assert _used(frame(0, 2.0), frame(1, 1.0), frame(2, 1.0))[1] == [True] * 3
    assert _used(frame(0, 5.0), frame(1, 1.0))[1] == [True] * 2  # nobody knows which one is wrong


def test_imagesOfOneValueAreNoImages():
    dead = _frame(5)
    dead.image.array[:] = 0.0
    dead.image.array[3, 4] = np.nan
    result, used = _used(_frame(0), dead, _frame(1))
    assert used == [True, False, True] and "every usable pixel is 0" in result.table["reason"][1]


def test_copiesOfAnImageCountOnce(coadd, folder, tmp_path):
    writeExposure(stillsky.read(folder / "s1.fits"), tmp_path / "copy.fits.bz2")
    code, err = coadd(("s1", "s2", str(tmp_path / "copy.fits.bz2")))
    assert code == 0 and "W-TWICE]: copy.fits.bz2 has the same pixels as s1.fits: taken once" in err
    table = Table.read("c.inputs.ecsv")
    assert list(table["used"]) == [True, True, False] and table["reason"][2] == "the same pixels as s1.fits"


def test_smallImagesAreReadOnce(folder, monkeypatch):
    import stillsky.fits

    reader, seen = stillsky.fits.readExposure, []
    monkeypatch.setattr("stillsky.fits.readExposure", lambda path, **o: seen.append(path) or reader(path, **o))
    names = [str(folder / n) for n in ("s1.fits", "s2.fits", "g0.fits.gz")]
    once = stillsky.coadd(names, scale="none")
    assert seen == names
    seen.clear()
    again = stillsky.coadd(names, scale="none", memory=1 << 20)  # together too large to be kept
    assert len(seen) > 3
    np.testing.assert_array_equal(once.coadd.image.array, again.coadd.image.array)


def test_productsOfAnEarlierRunAreNoInputs(folder, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("s1.fits", "s2.fits"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    options = ("-o", "night", "--scale", "none", "--no-report")
    assert run("coadd", ".", *options)[0] == 0
    first = stillsky.read("night.coadd.fits").image.array
    code, _, err = run("coadd", ".", "night.coadd.fits", *options, "--overwrite")
    assert code == 0 and err.count("W-OUTPUT") == 2 and "inputs: 2 of 2 are used" in err, err
    np.testing.assert_array_equal(stillsky.read("night.coadd.fits").image.array, first)
    # of another run it may be meant, which is asked
    code, _, err = run("coadd", "night.coadd.fits", "s1.fits", "-o", "other", "--scale", "none", "--no-report")
    assert code == 0 and "W-COADD]: night.coadd.fits is itself a coadd of 2 images" in err
    assert list(Table.read("other.inputs.ecsv")["used"]) == [True, True]


def test_misspeltOptionsAreSaidBeforeAnythingIsRead(coadd, monkeypatch, tmp_path):
    monkeypatch.setattr(job.CoaddJob, "scan", lambda *_: pytest.fail("read"))
    (tmp_path / "file").write_text("")
    code, err = coadd(GZIPPED, "--reference", "none.fits")
    assert code == 3 and "the reference file does not exist: none.fits" in err
    code, err = coadd(GZIPPED, "--work", "file")
    assert code == 7 and "--work wants a folder: file" in err
