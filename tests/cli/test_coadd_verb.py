"""``stillsky coadd``: what it makes, what it refuses, and what it does when something is wrong in the middle."""

import json
import re
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from scipy.ndimage import maximum_filter

import stillsky
from stillsky.coadd.artifact_io import readArtifacts
from stillsky.coadd.compare_warp_config import ARTIFACT_VALUES_2019
from stillsky.fits import readExposure, readImage, writeExposure
from stillsky.geom import Box2I
from stillsky.image import makeExposure
from stillsky.meta import FilterLabel, VisitInfo
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeTanWcs

N = 160
SCALES = (1.0, 0.8, 1.25, 1.0, 0.9, 1.1)
SKIES = (100.0, 300.0, 50.0, 120.0, 90.0, 200.0)
NOISE = 3.0
PIXEL = 0.3 / 3600


def _wcs(x=80.0, y=80.0, angle=0.0):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return makeTanWcs((x, y), (1.2, -0.3), PIXEL * np.array([[-c, s], [s, c]]))


def _stars():
    rng = np.random.default_rng(11)
    x, y = (g.ravel() + rng.uniform(-4, 4, 25) for g in np.meshgrid(np.arange(5) * 30 + 20.0, np.arange(5) * 30 + 20.0))
    return *_wcs().pixelToSky(x, y), rng.uniform(3000, 30000, 25)


def _frame(k, wcs=None, *, factor=None, sky=None, sigma=1.8, shape=(N, N), trail=False):
    """An exposure of the common stars."""
    rng = np.random.default_rng(100 + k)
    factor, sky = SCALES[k % 6] if factor is None else factor, SKIES[k % 6] if sky is None else sky
    wcs = _wcs() if wcs is None else wcs
    y, x = np.mgrid[0.0 : shape[0], 0.0 : shape[1]]
    pixels = np.full(shape, sky) + rng.normal(0, NOISE * factor, shape)
    for sx, sy, flux in zip(*wcs.skyToPixel(*_stars()[:2]), _stars()[2]):
        pixels += factor * flux * np.exp(-0.5 * ((x - sx) ** 2 + (y - sy) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    if trail:
        pixels += 400.0 * factor * np.exp(-0.5 * (y - 0.4 * x - 30.0) ** 2 / 1.5**2)
    exposure = makeExposure(
        pixels.astype(np.float32), variance=(NOISE * factor) ** 2, wcs=wcs, psf=GaussianPsf(21, 21, sigma)
    )
    return exposure


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Folder with f0.fits ... f5.fits on one grid, of different flux scale and sky; f3 has a trail."""
    folder = tmp_path_factory.mktemp("frames")
    for k in range(6):
        writeExposure(_frame(k, trail=k == 3), folder / f"f{k}.fits")
    (folder / "list.txt").write_text("".join(f"f{k}.fits\n" for k in range(6)) + "# the end\n")
    return folder


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _table(prefix):
    return Table.read(f"{prefix}.inputs.ecsv")


def _summary(prefix):
    with open(f"{prefix}.json", encoding="utf-8") as stream:
        return json.load(stream)


def test_theStackIsAsDeepAsItsInputsAllow(frames, there, run):
    code, out, err = run("coadd", f"@{frames / 'list.txt'}", "-o", "night", "--method", "mean", "--json")
    assert code == 0, err
    assert sorted(p.name for p in there.iterdir()) == [
        f"night.{s}" for s in ("coadd.fits", "html", "inputs.ecsv", "json", "nimage.fits")
    ]
    summary = json.loads(out)
    assert summary == _summary("night") | {"exit": 0}
    figures, table = summary["metadata"], _table("night")
    assert figures["inputsUsed"] == 6 and figures["maxInputs"] == 6
    np.testing.assert_allclose(table["scale"], 1.0 / np.array(SCALES), rtol=0.01)
    # scaled back, all have the same noise
    assert figures["skySigma"] == pytest.approx(NOISE / np.sqrt(6), rel=0.04)
    assert figures["noiseGain"] == pytest.approx(np.sqrt(6), rel=0.05)
    assert table["weight"].sum() == pytest.approx(1.0) and np.ptp(table["weight"]) < 0.01
    coadd = readExposure("night.coadd.fits")[0]
    assert np.median(coadd.image.array) == pytest.approx(100.0, abs=1.5)  # the sky of the first
    assert coadd.psf.fwhm((80, 80)) == pytest.approx(1.8 * 2.3548, rel=0.01)
    assert readImage("night.nimage.fits").array.max() == 6
    sky = coadd.wcs.toHeader()
    for name in ("CRVAL1", "CRVAL2", "CRPIX1", "CD1_1"):  # maps of one coadd lie on each other
        assert fits.getval("night.nimage.fits", name) == pytest.approx(sky[name])
    # no input was resampled: its noise is that of independent pixels, whatever stars there are
    assert coadd.metadata["COADD_VARFACTOR"] == pytest.approx(1.0, abs=0.15)
    text = (there / "night.html").read_text(encoding="utf-8")
    code, _, err = run("report", "night.json", "-o", "again.html")
    assert code == 0 and "Noise of the sky times root N" in (there / "again.html").read_text(encoding="utf-8"), err
    assert "Input minus coadd" in text and "http" not in text.replace("http-equiv", "")


def test_memoryAndPythonGiveTheSameBits(frames, there, run):
    names = [str(frames / f"f{k}.fits") for k in range(4)]
    assert run("coadd", *names, "-o", "a", "--no-report")[0] == 0
    assert run("coadd", *names, "-o", "b", "--memory", "1M", "--no-report")[0] == 0
    one, two = (readExposure(f"{p}.coadd.fits")[0] for p in "ab")
    result = stillsky.coadd(names)
    inMemory = stillsky.coadd([stillsky.read(n) for n in names])
    for other in (two, result.coadd, inMemory.coadd):
        for plane in ("image", "mask", "variance"):
            np.testing.assert_array_equal(getattr(one, plane).array, getattr(other, plane).array)
    assert "4 of 4 inputs" in str(result)


def test_compareLeavesTheTrailOut(frames, there, run):
    names = [str(frames / f"f{k}.fits") for k in range(6)]
    assert run("coadd", *names, "-o", "c", "--method", "compare", "--no-report")[0] == 0
    table = _table("c")
    assert table["artifacts"][3] >= 1 and table["artifactPixels"][3] > 300
    assert table["artifactPixels"].sum() < 1.2 * table["artifactPixels"][3]
    assert _summary("c")["metadata"]["rejectedFraction"] > table["artifactPixels"].sum() / (6 * N * N)
    coadd, clean = readExposure("c.coadd.fits")[0], stillsky.coadd([n for n in names if "f3" not in n], method="mean")
    y, x = np.mgrid[0:N, 0:N]
    # the border that matching PSFs costs is not judged
    onTrail = (np.abs(y - 0.4 * x - 30.0) < 1.5) & (np.minimum(x, N - 1 - x) > 12)
    assert np.median((coadd.image.array - clean.coadd.image.array)[onTrail]) < 0.5
    assert np.mean(coadd.mask.isSet("CLIPPED")[onTrail]) > 0.9


def test_otherGridsAreResampledToACommonOneOrToTheReference(frames, there, run):
    writeExposure(_frame(1, _wcs(90.0, 70.0, 30.0)), "turned.fits")
    code, _, err = run("coadd", frames / "f0.fits", "turned.fits", "-o", "p", "--no-report")
    assert code == 0 and "common tangent plane" in err
    table = _table("p")
    assert list(table["grid"]) == ["resampled", "resampled"] or table["grid"][1] == "resampled"
    assert table["scale"][1] == pytest.approx(1.25, rel=0.02)
    assert (
        run("coadd", frames / "f0.fits", "turned.fits", "-o", "q", "--reference", frames / "f0.fits", "--no-report")[0]
        == 0
    )
    coadd = readExposure("q.coadd.fits")[0]
    assert coadd.bbox.dimensions == (N, N) and _table("q")["grid"][0] == "as it is"
    # stars lie on each other: the difference to the first is noise
    first = readExposure(frames / "f0.fits")[0]
    inside = coadd.mask.array & coadd.mask.bitmask(["NO_DATA", "SENSOR_EDGE"], ignoreMissing=True) == 0
    bright = inside & (first.image.array > 200.0)
    assert np.std((coadd.image.array - first.image.array)[bright]) < 6.0


def _skipped(prefix, name):
    row = next(r for r in _table(prefix) if r["name"] == name)
    assert not row["used"]
    return row["reason"]


@pytest.fixture
def spoilt(there, frames):
    """Current folder with a file for everything that can be wrong with one input."""
    (there / "garbage.fits").write_bytes(b"SIMPLE  =  nothing of the kind" * 100)
    whole = (frames / "f1.fits").read_bytes()
    (there / "short.fits").write_bytes(whole[: len(whole) // 2])
    zero, nan, masked = (_frame(1) for _ in range(3))
    zero.variance.array[:] = 0.0
    nan.image.array[:] = np.nan
    masked.mask.array[:] = masked.mask.bitmask(["NO_DATA"])
    for name, exposure in (("zero", zero), ("nan", nan), ("masked", masked), ("far", _frame(1, _wcs(500.0)))):
        writeExposure(exposure, there / f"{name}.fits")
    bare = _frame(1, shape=(100, 120))
    bare.wcs = None
    writeExposure(bare, there / "bare.fits")
    return there


def test_whatIsWrongWithOneInputIsSaidAndTheRestIsStacked(spoilt, frames, run):
    names = ["garbage", "short", "zero", "nan", "masked", "missing"]
    files = [frames / "f0.fits", *(f"{n}.fits" for n in names), frames / "f1.fits", frames / "f2.fits"]
    code, out, err = run("coadd", *files, "-o", "r", "--json", "--no-report")
    assert code == 0, err
    assert json.loads(out)["metadata"]["inputsUsed"] == 3
    for name in names:
        assert _skipped("r", f"{name}.fits"), name
        assert f"left out: {name}.fits" in err
    assert "no such file" in _skipped("r", "missing.fits").lower()
    assert "no usable pixel" in _skipped("r", "zero.fits")
    # what was measured of the good ones is as if the others had not been named
    alone = stillsky.coadd([str(frames / f"f{k}.fits") for k in range(3)])
    np.testing.assert_array_equal(readExposure("r.coadd.fits")[0].image.array, alone.coadd.image.array)


@pytest.mark.parametrize("name, exitCode", [
    ("garbage", 3), ("short", 3), ("missing", 3), ("zero", 5), ("masked", 5), ("bare", 4),
])  # fmt: skip
def test_strictMakesItFatal(spoilt, frames, run, name, exitCode):
    before = sorted(p.name for p in spoilt.iterdir())
    code, _, err = run("coadd", frames / "f0.fits", f"{name}.fits", frames / "f1.fits", "-o", "r", "--strict")
    assert code == exitCode and name in err and err.count("\n  ") == 2
    assert sorted(p.name for p in spoilt.iterdir()) == before  # nothing is left behind


def test_inputsWithoutOverlapAreLeftOut(spoilt, frames, run):
    assert (
        run("coadd", frames / "f0.fits", "far.fits", "-o", "r", "--reference", frames / "f0.fits", "--no-report")[0]
        == 0
    )
    assert "no overlap" in _skipped("r", "far.fits")


def test_oneInputAndNone(there, frames, run):
    assert run("coadd", frames / "f2.fits", "-o", "one", "--no-report")[0] == 0
    np.testing.assert_allclose(
        readExposure("one.coadd.fits")[0].image.array, readExposure(frames / "f2.fits")[0].image.array, rtol=1e-6
    )
    (there / "empty").mkdir()
    code, _, err = run("coadd", "empty", "-o", "none")
    assert code == 5 and "no inputs" in err
    assert run("coadd", "nothing.fits", "-o", "none")[0] == 3  # "a file is missing"; 5 would be: too little data
    assert run("coadd", "@nolist.txt", "-o", "none")[0] == 3


def test_unitsAndBandsThatDiffer(there, frames, run):
    one, two = _frame(0), _frame(1)
    one.metadata["BUNIT"], two.metadata["BUNIT"] = "adu", "nJy"
    writeExposure(one, "adu.fits")
    writeExposure(two, "njy.fits")
    code, _, err = run("coadd", "adu.fits", "njy.fits", "-o", "u", "--scale", "none")
    assert code == 4 and "different units" in err
    code, _, err = run("coadd", "adu.fits", "njy.fits", "-o", "u", "--no-report")
    assert code == 0 and "W-UNITS" in err
    for k, band in enumerate("gr"):
        colour = _frame(k)
        colour.filter = FilterLabel(band=band)
        writeExposure(colour, f"{band}.fits")
    code, _, err = run("coadd", "g.fits", "r.fits", "-o", "b", "--no-report", "--method", "compare")
    assert code == 0 and err.count("several bands") == 1 and "W-BANDS" in err


def test_anExistingOutputIsKeptAndGatesAreHeard(there, frames, run):
    names = [frames / f"f{k}.fits" for k in range(3)]
    assert run("coadd", *names, "-o", "g", "--no-report", "--fail-on", "inputsUsed < 5")[0] == 8
    before = (there / "g.coadd.fits").read_bytes()
    code, _, err = run("coadd", *names, "-o", "g", "--no-report")
    assert code == 7 and "exists" in err and (there / "g.coadd.fits").read_bytes() == before
    assert run("coadd", *names, "-o", "g", "--no-report", "--overwrite")[0] == 0
    assert run("coadd", *names, "-o", "h", "--dry-run")[0] == 0 and not list(there.glob("h.*"))
    assert run("coadd", *names, "-o", "h", "--memory", "lots")[0] == 2


@contextmanager
def interruptible():
    """The signal of Ctrl-C interrupts, as in a terminal: a shell's jobs in the background begin with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_interruptLeavesNothingAndTheNextRunGoesOn(there, frames, run, monkeypatch):
    """A15: Ctrl-C in the middle gives 130 and no partial file; finished warps of --work are used again."""
    import stillsky.coadd.plain as plain
    from stillsky.coadd.job import toGrid

    names = [frames / f"f{k}.fits" for k in range(4)]
    for k in (1, 2):
        writeExposure(_frame(k, _wcs(80.3 + k, 81.2)), f"t{k}.fits")
    names += ["t1.fits", "t2.fits"]
    before = {p.name for p in there.iterdir()}

    def interrupted(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch, interruptible():
        patch.setattr(plain, "assembleCoadd", interrupted)
        for more in ((), ("--work", "warps", "--memory", "1M")):
            code, _, err = run("coadd", *names, "-o", "i", "--reference", names[0], *more)
            assert code == 130 and "interrupted" in err
            assert {p.name for p in there.iterdir()} - before <= {"warps"}
    calls = []
    monkeypatch.setattr("stillsky.coadd.job.toGrid", lambda *a: calls.append(1) or toGrid(*a))
    again = ("coadd", *names, "--reference", names[0], "--work", "warps", "--memory", "1M", "--no-report")
    assert run(*again, "-o", "i")[0] == 0
    assert not calls and list(_table("i")["grid"]).count("kept from an earlier run") == 2
    fresh = stillsky.coadd([str(n) for n in names], reference=str(names[0]))
    np.testing.assert_array_equal(readExposure("i.coadd.fits")[0].image.array, fresh.coadd.image.array)


# ---------------------------------------------------------------------- registration, presets, sites, artifacts


def _bare(k, wcs, path):
    """A frame without a WCS."""
    exposure = _frame(k, wcs, factor=1.0, sky=100.0)
    exposure.wcs = None
    writeExposure(exposure, path)


def _peak(image):
    return np.nanmax(image) - np.nanmedian(image)


def test_imagesWithoutWcsThatDriftAreMoved(there, run):
    for k, (x, y, angle) in enumerate([(80, 80, 0), (84.3, 77.9, 0), (71.6, 82.2, 1.5), (80.1, 80.0, 0)]):
        _bare(k, _wcs(x, y, angle), f"d{k}.fits")
    names = [f"d{k}.fits" for k in range(4)]
    code, _, err = run("coadd", *names, "-o", "moved", "--no-report")
    assert code == 0 and err.count("W-SHIFT") == 2
    assert float(re.search(r"d2.fits is .* rotated by (\S+) degrees", err)[1]) == pytest.approx(1.5, abs=0.03)
    assert list(_table("moved")["grid"]) == ["as it is", "registered", "registered", "as it is"]
    moved = readExposure("moved.coadd.fits")[0]
    assert moved.wcs is None and moved.psf.fwhm(moved.bbox.center) == pytest.approx(2.355 * 1.8, rel=0.05)
    run("coadd", *names, "-o", "smeared", "--no-report", "-c", "register=never")
    smeared = readExposure("smeared.coadd.fits")[0]
    one = readExposure("d0.fits")[0]
    assert _peak(moved.image.array) > 0.9 * _peak(one.image.array) > 1.4 * _peak(smeared.image.array)
    # shapes that differ as well
    small = readExposure("d1.fits")[0]
    writeExposure(small[small.bbox.clipped(Box2I((0, 0), (140, 120)))], "small.fits")
    code, _, err = run("coadd", "d0.fits", "small.fits", "-o", "two", "--no-report")
    assert code == 0 and "small.fits is shifted by" in err


def test_weightsOfResampledInputsAreThoseOfTheirNoise(there, run):
    """Half a pixel of shift takes variance off the pixels and no noise off the sky: equal images have equal weights."""
    for k, x in enumerate((80.0, 80.5, 81.0, 80.25)):
        writeExposure(_frame(k, _wcs(x, 80.0 + x % 1), factor=1.0, sky=100.0), f"h{k}.fits")
    names = [f"h{k}.fits" for k in range(4)]
    assert run("coadd", *names, "--reference", names[0], "-o", "h", "--no-report")[0] == 0
    table = _table("h")
    assert list(table["grid"]) == ["as it is", "resampled", "whole pixels", "resampled"]
    scaled = np.array(table["weight"]) * np.array(table["scale"]) ** 2
    np.testing.assert_allclose(scaled / scaled[0], 1.0, rtol=2e-3)


def test_aMedianIsJudgedByWhatMediansCanDo(frames, there, run):
    names = [frames / f"f{k}.fits" for k in (0, 1, 2, 4, 5)]
    assert run("coadd", *names, "--method", "median", "-o", "m")[0] == 0
    summary = _summary("m")
    figures = summary["metadata"]
    assert figures["noiseGainMethod"] == pytest.approx(figures["noiseGainExpected"] / 1.2, rel=0.05)
    rule = next(r for r in summary["verdict"]["rules"] if r["name"].startswith("noise over"))
    assert rule["state"] == "green" and rule["value"] == pytest.approx(1.0, abs=0.1)


def test_registerCorrectsWrongWcs(frames, there, run):
    wrong = _frame(2)
    wrong.wcs = _wcs(87.0, 75.0)
    writeExposure(wrong, "wrong.fits")
    names = [frames / "f0.fits", frames / "f1.fits", "wrong.fits"]
    code, _, err = run("coadd", *names, "-o", "r", "--register", "--no-report")
    assert code == 0 and "registration: wrong.fits shifted by" in err
    table = _table("r")
    assert list(table["grid"]) == ["as it is", "as it is", "registered"]
    assert table["scaleStars"][2] > 10 and table["scale"][2] == pytest.approx(1 / SCALES[2], rel=0.02)
    writeExposure(makeExposure(np.random.default_rng(3).normal(0, 3, (N, N)).astype(np.float32), variance=9.0, wcs=_wcs()),
                  "empty.fits")  # fmt: skip
    code, _, err = run("coadd", *names, "empty.fits", "-o", "e", "--register", "--no-report")
    assert code == 0 and "empty.fits cannot be registered" in _table("e")["reason"].filled("")[3]
    assert run("coadd", *names, "empty.fits", "-o", "s", "--register", "--strict")[0] == 4


def test_artifactsOfEachInputAreInFiles(frames, there, run):
    names = [f"f{k}.fits" for k in range(6)]
    code, _, _ = run("coadd", *[frames / n for n in names], "--method", "compare", "--keep", "-o", "a", "--no-report")
    assert code == 0
    found = readArtifacts("a.artifacts.fits")
    assert list(found) == names
    pixels = {name: sum(s.area for s in planes.get("CLIPPED", ())) for name, planes in found.items()}
    assert pixels == dict(zip(_table("a")["name"], _table("a")["artifactPixels"]))
    assert pixels["f3.fits"] > 300 and max(v for k, v in pixels.items() if k != "f3.fits") < 50
    with fits.open("a.masks.fits") as hdus:
        assert [h.header["INPUT"] for h in hdus[1:]] == names
        clipped = (hdus[4].data >> hdus[4].header["MP_CLIPPED"]) & 1
        assert int(clipped.sum()) == pixels["f3.fits"]
    with fits.open("a.artifacts.fits") as hdus:
        assert hdus["EPOCHS"].data.shape == (N, N) and (hdus["EPOCHS"].data[clipped.astype(bool)] >= 1).all()
    assert set(_summary("a")["products"]) >= {"a.artifacts.fits", "a.masks.fits"}
    assert not (there / "b.artifacts.fits").exists()
    code, _, err = run("coadd", *[frames / n for n in names], "--method", "compare", "-o", "a", "--no-report")
    assert code == 7 and "a.artifacts.fits" in err


def test_trailsInTheBorderOfMatchedImagesAreLeftOutToo(there, run):
    for k in range(6):
        exposure = _frame(k, factor=1.0, sky=100.0)
        if k == 2:
            exposure.image.array[:, 2:5] += 200.0  # where no kernel fits
        writeExposure(exposure, f"b{k}.fits")
    names = [f"b{k}.fits" for k in range(6)]
    code, _, err = run("coadd", *names, "--method", "compare", "-o", "b", "--no-report")
    assert code == 0 and "where PSFs could not be matched" in err
    coadd = readExposure("b.coadd.fits")[0]
    clean = np.median(coadd.image.array[:, 40:])
    assert np.mean(np.abs(coadd.image.array[:, 2:5] - clean) < 10) > 0.95  # a mean has 33
    variance = np.median(coadd.variance.array[:, 40:])
    np.testing.assert_allclose(np.median(coadd.variance.array[:, 2:5]), variance * 6 / 5, rtol=0.05)
    assert coadd.mask.isSet("CLIPPED")[:, 2:5].mean() > 0.95


def test_artifactsAroundMissingPixelsAreLeftOutToo(there, run):
    """Dithered images have borders all over the coadd, and bad columns a border each: matching PSFs costs both."""
    rng, hits = np.random.default_rng(3), []
    for k in range(6):
        exposure = _frame(k, _wcs(80.0 + 9 * k, 80.0 - 9 * k), factor=1.0, sky=100.0)
        column = 20 + 22 * k
        exposure.image.array[:, column] = np.nan
        rows = rng.integers(30, 130, 4)
        exposure.image.array[rows, column + 6] += 300.0
        hits += [(r + 9 * k, column + 6 - 9 * k) for r in rows]  # in pixels of the first
        exposure.image.array[3:6] += 150.0  # along the lower border
        writeExposure(exposure, f"d{k}.fits")
    names = [f"d{k}.fits" for k in range(6)]
    code, _, err = run("coadd", *names, "--method", "compare", "-o", "d", "--reference", "d0.fits", "--no-report")
    assert code == 0 and "pixels of single inputs are left out" in err, err
    coadd = readExposure("d.coadd.fits")[0]
    clean = stillsky.coadd([_frame(k, _wcs(80.0 + 9 * k, 80.0 - 9 * k), factor=1.0, sky=100.0) for k in range(6)],
                           method="mean", reference=stillsky.read("d0.fits"))  # fmt: skip
    off = (coadd.image.array - clean.coadd.image.array) / np.sqrt(coadd.variance.array)
    sky = maximum_filter(clean.coadd.image.array, 5) < 130.0  # inside a bright star nothing is an artifact
    inside = [(y, x) for y, x in hits if 15 < y < 145 and 15 < x < 145 and sky[y, x]]
    assert len(inside) > 12 and max(off[y, x] for y, x in inside) < 5.0  # 40 otherwise
    deep = np.s_[28:140, 20:110]  # four inputs or more; the lower borders of three cross it
    assert np.mean(off[deep][sky[deep]] > 5.0) < 1e-3  # 0.1 otherwise
    # good samples stay, on stars as well
    assert np.median(coadd.variance.array[deep] / clean.coadd.variance.array[deep]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("preset, values", [
    ("rubin", {"artifacts.detect.thresholdValue": 7.5, "staticSky.calcErrorFromInputVariance": True}),
    ("rubin-2019", {f"artifacts.{k}": v for k, v in ARTIFACT_VALUES_2019.items()}),
])  # fmt: skip
def test_presets(frames, there, run, preset, values):
    names = [frames / f"f{k}.fits" for k in range(3)]
    code, out, _ = run("coadd", *names, "--preset", preset, "--json", "--dry-run", "-c", "scale=stars")
    resolved = json.loads(out)["config"]
    assert code == 0 and resolved["origins"]["method"] == f"preset {preset}"
    values = {"method": "compare", "assemble.compat": True, "scale": "stars", "assemble.sigmaClip": 3.0, **values}
    assert {k: resolved["values"].get(k, v) for k, v in values.items()} == values
    assert resolved["origins"]["scale"] != f"preset {preset}"


def test_siteTellsTheAirmass(there, run):
    for k in range(2):
        exposure = _frame(k)
        exposure.visitInfo = VisitInfo(id=k, exposureTime=30.0, date=Time(57000.1 + k, format="mjd", scale="tai"))
        writeExposure(exposure, f"v{k}.fits")
    assert run("coadd", "v0.fits", "v1.fits", "-o", "no", "--no-report")[0] == 0
    assert np.isnan(_table("no")["airmass"]).all()
    names = ("v0.fits", "v1.fits", "--no-report")
    for prefix, site in (("name", "--site=Rubin"), ("figures", "--site=-70.749417,-30.244639,2663")):
        code, _, err = run("coadd", *names, "-o", prefix, site)
        assert code == 0 and "site: as given (2 inputs)" in err
    airmass = np.array(_table("name")["airmass"])
    assert (airmass > 1).all() and airmass[0] != airmass[1]
    np.testing.assert_allclose(_table("figures")["airmass"], airmass, rtol=1e-6)
    for site in ("--site=Atlantis", "--site=1,2", "--site=0,95,0"):
        code, _, err = run("coadd", *names, "-o", "bad", site)
        assert code == 2 and "--site" in err and "La Palma" in err


def test_timesThatCannotBeAreSaid(there, run):
    info = VisitInfo(id=1, exposureTime=30.0, date=Time(57000.3, format="mjd", scale="tai"), boresightAirmass=1.05)
    for k in range(3):
        exposure = _frame(k)
        exposure.visitInfo = info
        writeExposure(exposure, f"v{k}.fits")
    code, _, err = run("coadd", "v0.fits", "v1.fits", "v2.fits", "-o", "t", "--no-report", "--site=Rubin")
    assert code == 0 and "W-TIME" in err and "3 inputs of the same pixels have one time" in err
    assert err.count("may be that of another exposure") == 1 and "(and 2 more inputs alike)" in err


def test_fewInputsAreClippedWithCare(there, run):
    """Good samples of five inputs are not lost to the scatter of their quartiles."""
    for k in range(5):
        writeExposure(_frame(k, factor=1.0, sky=100.0), f"n{k}.fits")
    names = [f"n{k}.fits" for k in range(5)]
    lost = []
    for more in ((), ("-c", "widenClip=false")):
        assert run("coadd", *names, "-o", "n", "--no-report", "--overwrite", *more)[0] == 0
        lost.append(_summary("n")["metadata"]["rejectedFraction"])
    assert lost[0] < 0.02 < 0.035 < lost[1]
    # outliers are rejected from three inputs on; with two nobody knows
    spoilt = stillsky.read("n0.fits")
    spoilt.image.array[40, 41] += 1000.0
    writeExposure(spoilt, "n0.fits", overwrite=True)
    for used, method in ((5, "meanclip"), (4, "meanclip"), (3, "meanclip"), (2, "meanclip"), (3, "compare")):
        result = stillsky.coadd(names[:used], method=method)
        assert (result.coadd.image.array[40, 41] < 130.0) == (used > 2), (used, method)
        assert ("W-FEW" in dict(result.warnings)) == (used == 2)
        assert result.coadd.mask.isSet("CLIPPED")[40, 41] == (used > 2)
        if used in (3, 4):  # and next to nothing else, on stars neither
            assert 0 < result.metadata["rejectedFraction"] < 2e-3
            assert result.metadata["noiseGain"] == pytest.approx(np.sqrt(used), rel=0.05)
