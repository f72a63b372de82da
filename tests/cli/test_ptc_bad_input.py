"""Flats that are not as they should be: one clear message, or a flagged amplifier beside the good ones."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from ptc_files import GAIN, LEVELS, PEDESTAL, writeFrame, writeRamp

FAST = ("-q", "--no-report")
SMALL = ("-c", "extract.minNumberGoodPixelsForCovariance=2000")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(prefix="r"):
    return Table.read(f"{prefix}.ptc.ecsv")


def pull(row, name="gain", truth=GAIN):
    return (row[name] - truth) / row[f"{name}Err"]


def assertThreeParts(err, code, *words):
    """The last lines: error[code], found, try; no traceback."""
    lines = err.strip().splitlines()[-3:]
    assert (
        lines[0].startswith(f"error[{code}]: ") and lines[1].startswith("  found: ") and lines[2].startswith("  try: ")
    )
    assert "Traceback" not in err
    for word in words:
        assert word in "\n".join(lines), (word, lines)


def products(folder):
    return [p.name for p in folder.iterdir() if p.is_file()]


# ------------------------------------------------------------------- what is no set of flats


def test_missingFile(run, here):
    code, _, err = run("ptc", "none.fits")
    assert code == 3
    assertThreeParts(err, 3, "cannot open none.fits", "none.fits: no such file or folder")
    assert "Errno" not in err


def test_fileThatIsNoFits(run, here):
    (here / "text.fits").write_text("no FITS")
    code, _, err = run("ptc", "text.fits")
    assert code == 3
    assertThreeParts(err, 3, "text.fits")


def test_cubesAndConstantsAreNamed(run, here):
    fits.writeto("cube.fits", np.zeros((3, 20, 20), np.float32))
    code, _, err = run("ptc", "cube.fits")
    assert code == 3
    assertThreeParts(err, 3, "cube.fits: extension 'PRIMARY': wanted an image with 2 axes, given 3")
    for k, value in enumerate((np.nan, np.nan)):
        fits.writeto(f"nan{k}.fits", np.full((40, 40), value, np.float32), fits.Header({"EXPTIME": 2.0}))
    code, _, err = run("ptc", "nan0.fits", "nan1.fits")
    assert code == 5
    assertThreeParts(err, 5, "give no gain")
    assert "nan%" not in err and "nan e/adu" not in err


def test_folderWithoutFlats(run, here):
    (here / "empty").mkdir()
    code, _, err = run("ptc", "empty")
    assert code == 5
    assertThreeParts(err, 5, "no flat fields found")
    writeFrame(here / "empty" / "a.fits", np.ones((20, 20)), IMAGETYP="OBJECT")
    code, _, err = run("ptc", "empty")
    assert code == 5 and "left out by their headers (other): a.fits" in err


def test_brokenFileInAFolderIsLeftOut(run, here, rng):
    folder = writeRamp(here / "f", rng)
    (folder / "broken.fits").write_text("no FITS")
    code, _, err = run("ptc", folder, "-o", "r", *FAST)
    assert code == 0 and "warning[W-FILE]" in err and "broken.fits" in err
    assert abs(pull(table()[0])) < 4


def test_truncatedFileIsNamed(run, here, rng):
    folder = writeRamp(here / "f", rng)
    path = folder / "f003.fits"
    path.write_bytes(path.read_bytes()[:-6000])
    code, _, err = run("ptc", *sorted(folder.glob("f*.fits")))
    assert code == 3
    assertThreeParts(err, 3, "f003.fits")


def test_flatsOfSeveralSensors(run, here, rng):
    first = writeRamp(here / "a", rng, levels=LEVELS[:2], biases=0)
    other = writeRamp(here / "b", rng, levels=LEVELS[:2], shape=(60, 70), biases=0)
    code, _, err = run("ptc", first, other)
    assert code == 4
    assertThreeParts(err, 4, "different sizes", "70x60", "120x110")
    other = writeRamp(here / "c", rng, levels=LEVELS[:2], biases=0, cards=lambda n, c: {**c, "INSTRUME": "another"})
    code, _, err = run("ptc", first, other)
    assert code == 4
    assertThreeParts(err, 4, "different instruments", "another", "testcam")
    assert products(here) == []


# --------------------------------------------------------------------------------- pairs


def test_unpairedFlatsAreNamed(run, here, rng):
    folder = writeRamp(here / "f", rng)
    (folder / "f005.fits").unlink()
    code, _, err = run("ptc", folder, "-o", "r", *FAST)
    assert code == 0 and "warning[W-UNPAIRED]: without a partner: f004.fits (the only one left with 1.5 s)" in err
    assert table()["nPairs"] == 6 and abs(pull(table()[0])) < 4


def test_onePairTellsItsGainOnly(run, here, rng):
    folder = writeRamp(here / "f", rng, levels=(9000.0,), shape=(300, 320))
    code, out, err = run("ptc", folder, "--json")
    assert code == 5 and products(here) == []
    assertThreeParts(
        err, 5, "1 pairs; need 2", "measurable: the gain from f000.fits and f001.fits", "not measurable: read noise"
    )
    summary = json.loads(out)
    assert summary["metadata"]["singlePairGain"] == pytest.approx(GAIN, rel=0.03)
    assert summary["exit"] == 5 and summary["products"] == []


def test_onePairOfFaintLightIsCorrectedForTheReadNoise(run, here, rng):
    """60 electrons with 5 electrons of noise: mean over variance alone is 30 % too low. Two bias frames tell the noise."""
    faint = writeRamp(here / "f", rng, levels=(60.0,), shape=(420, 640), biases=2)
    code, out, err = run("ptc", faint, "--json")
    assert code == 5 and "read noise in the variance" not in err
    # the median over 6 boxes: 1.25 sqrt(2/40000/6) (1 + 25/60) = 0.005
    assert json.loads(out)["metadata"]["singlePairGain"] == pytest.approx(GAIN, rel=0.025)
    for path in faint.glob("zero*"):
        path.unlink()
    code, out, err = run("ptc", faint, "--json", "-c", "pedestalSubtracted=true")
    assert code == 5 and "(too low by the share of the read noise in the variance)" in err


def test_twoPairsAreNoCurve(run, here, rng):
    folder = writeRamp(here / "f", rng, levels=LEVELS[2:4])
    code, _, err = run("ptc", folder)
    assert code == 5
    assertThreeParts(err, 5, "FEW_PAIRS", "single pairs give 1.", "levels")


def test_pairsOfUnequalLevelAreFlagged(run, here, rng):
    """The second exposure of each pair is 6 % brighter: the fluxes are matched, and the table says so."""

    def brighter(values, number):
        return PEDESTAL + (values - PEDESTAL) * (1.06 if number % 2 else 1.0)

    folder = writeRamp(here / "f", rng, edit=brighter)
    assert run("ptc", folder, "-o", "r", *FAST)[0] == 0
    row = table()[0]
    assert "UNEQUAL" in row["flags"].split()
    assert row["gain"] == pytest.approx(GAIN, rel=0.05)  # the brighter one's noise was scaled as well: 3 %


def test_missingHeaderKeys(run, here, rng):
    """No exposure time, no type: by level, with a warning; or in the order that the user knows."""
    folder = writeRamp(here / "f", rng, cards=lambda n, c: {}, biases=0)
    code, _, err = run("ptc", folder, "-o", "r", "--no-report", "--allow", "W-PEDESTAL")
    assert code == 0 and "pairs: 7 by similar levels" in err and "W-UNEQUAL" in err
    assert "adu at zero variance, which is subtracted" in err
    assert table()["gain"] == pytest.approx(GAIN, rel=0.03)
    code, _, err = run("ptc", folder, "-o", "s", "--no-report", "--pair-by", "order")
    assert code == 0 and "pairs: 7 by order of the files" in err
    code, _, err = run("ptc", folder, "--pair-by", "time")
    assert code == 5
    assertThreeParts(err, 5, "0 pairs")
    # a key that was asked for and is in no file is no reason to pair by anything else
    timed = writeRamp(here / "t", rng, levels=LEVELS[:3])
    for frames in (folder, timed):
        code, _, err = run("ptc", frames, "--pair-key", "CHARGE")
        assert code == 5 and "pairs: 0 by equal CHARGE" in err and "(key missing)" in err
        assertThreeParts(err, 5, "header key CHARGE in none of them; 0 pairs")


def test_pairingByHeaderKey(run, here, rng):
    """Exposure times all equal, lamp current different: the key pairs them."""
    folder = writeRamp(here / "f", rng, cards=lambda n, c: {**c, "EXPTIME": 1.0, "CURRENT": 10 * (n // 2)})
    code, _, err = run("ptc", folder, "-o", "r", "--no-report", "--pair-key", "CURRENT")
    assert code == 0 and "pairs: 7 by equal CURRENT" in err
    assert table()["nPairs"] == 7 and abs(pull(table()[0])) < 4


# -------------------------------------------------------------------------------- pixels


def test_saturatedPairsAreNamedAndNotUsed(run, here, rng):
    levels = (*LEVELS, 130000.0)
    folder = writeRamp(here / "f", rng, levels=levels)
    code, _, err = run("ptc", folder, "-o", "r", *FAST)
    assert code == 0 and "warning[W-SATURATED]" in err and "f014.fits, f015.fits" in err
    assert table()["nPairs"] == 7 and abs(pull(table()[0])) < 4


def test_everyAmplifierHasItsOwnSaturation(run, here, rng):
    """SATURATA and SATURATB differ: the amplifier of the lower full well loses its bright pair, the other does not."""

    def edit(values, number):
        values[:, 60:] = np.minimum(values[:, 60:], 12000.0)
        return values

    def cards(number, header):
        sections = {"DATASECA": "[1:60,1:110]", "DATASECB": "[61:120,1:110]"}
        return {**header, **sections, "SATURATA": 60000.0, "SATURATB": 12000.0}

    folder = writeRamp(here / "f", rng, edit=edit, cards=cards)
    code, _, err = run("ptc", folder, "-o", "r", "--no-report", *SMALL)
    assert code == 0 and "saturation: 12000 to 60000 adu (headers of 2 amplifiers)" in err
    assert list(table()["nPairs"]) == [7, 6]
    assert abs(pull(table()[0])) < 4 and abs(pull(table()[1])) < 4
    # the option is for all of them
    code, _, err = run("ptc", folder, "-o", "s", "--no-report", "--saturation", "12000", *SMALL)
    assert code == 0 and "saturation: 12000 adu (option)" in err and list(table("s")["nPairs"]) == [6, 6]


def test_converterThatEndsAt12Bits(run, here, rng):
    """Values pile up at 4095 in a 16-bit file: that is saturation."""
    folder = writeRamp(here / "f", rng, levels=(200.0, 600.0, 1200.0, 2000.0, 3000.0, 9000.0),
                       edit=lambda v, n: np.minimum(v, 4095))  # fmt: skip
    code, _, err = run("ptc", folder, "-o", "r", "--no-report")
    assert code == 0 and "saturation: 4095 adu (values pile up there)" in err and "W-SATURATED" in err
    assert table()["nPairs"] == 5 and abs(pull(table()[0])) < 4


def test_allSaturated(run, here, rng):
    folder = writeRamp(here / "f", rng, edit=lambda v, n: np.full_like(v, 65535.0), biases=0)
    code, _, err = run("ptc", folder)
    assert code == 5
    assertThreeParts(err, 5, "no amplifier has a photon transfer curve", "NO_PAIRS")
    assert "W-SATURATED" in err


AMPS = "a: {data: [0, 60, 0, 110]}\nb: {data: [60, 120, 0, 110]}\n"


def test_maskedAmplifierIsFlaggedTheOtherKept(run, here, rng):
    folder = writeRamp(here / "f", rng)
    (here / "amps.yaml").write_text(AMPS)
    mask = np.zeros((110, 120), np.uint8)
    mask[:, 60:] = 1
    fits.PrimaryHDU(mask).writeto(here / "mask.fits")
    code, _, err = run("ptc", folder, "-o", "r", *FAST, *SMALL, "--amps", "amps.yaml", "--mask", "mask.fits")
    assert code == 0 and "warning[W-AMP]: amplifiers without a result: b" in err
    good, bad = table()
    assert abs(pull(good)) < 4 and good["nPairs"] == 7
    assert bad["flags"] == "NO_PAIRS" and np.isnan(bad["gain"]) and bad["nPairs"] == 0
    # the same figures as without the masked amplifier
    (here / "one.yaml").write_text(AMPS.splitlines()[0])
    assert run("ptc", folder, "-o", "s", *FAST, *SMALL, "--amps", "one.yaml")[0] == 0
    assert table("s")[0]["gain"] == pytest.approx(good["gain"], rel=1e-12)


def test_deadColumnsThatNoMaskNamesAreLeftOut(run, here, rng):
    """Two dead columns of 120: unmasked, they take 1.7 % of the variance away."""

    def edit(values, number):
        values[:, [30, 77]] = PEDESTAL + 0.05 * (values[:, [30, 77]] - PEDESTAL)
        return values

    folder = writeRamp(here / "f", rng, edit=edit, shape=(200, 120))
    code, _, err = run("ptc", folder, "-o", "r", "--no-report")
    assert code == 0 and "bad pixels: 400 (1.67%) respond less than half" in err and "f012.fits" in err
    assert abs(pull(table()[0])) < 4
    code, _, err = run("ptc", folder, "-o", "s", "--no-report", "-c", "findBadPixels=false")
    assert code == 0 and "bad pixels" not in err
    assert table("s")["gain"][0] / table()["gain"][0] == pytest.approx(1.017, abs=0.006)


def test_everythingMasked(run, here, rng):
    folder = writeRamp(here / "f", rng)
    fits.PrimaryHDU(np.ones((110, 120), np.uint8)).writeto(here / "mask.fits")
    code, _, err = run("ptc", folder, "--mask", "mask.fits")
    assert code == 5
    assertThreeParts(err, 5, "no amplifier has a photon transfer curve", "NO_PAIRS")


def test_maskOfAnotherSize(run, here, rng):
    folder = writeRamp(here / "f", rng, levels=LEVELS[:2])
    fits.PrimaryHDU(np.ones((11, 12), np.uint8)).writeto(here / "mask.fits")
    code, _, err = run("ptc", folder, "--mask", "mask.fits")
    assert code == 4
    assertThreeParts(err, 4, "12x11, wanted 120x110")


def writeReal(folder, rng, values=None):
    """A ramp of float32 frames; ``values(frame)`` changes them."""
    folder.mkdir()
    for n, level in enumerate(np.repeat(LEVELS, 2)):
        frame = (rng.poisson(level, (110, 120)) / GAIN + 3.0 * rng.standard_normal((110, 120))).astype(np.float32)
        hdu = fits.PrimaryHDU(frame if values is None else values(frame, n))
        hdu.header["EXPTIME"] = level / 1000
        hdu.writeto(folder / f"f{n:02d}.fits")
    return folder


def test_nanUnderAMaskDoesNotSpread(run, here):
    """NaN and infinities where pixels are masked: the figures are those of finite values in their place."""
    bad = np.random.default_rng(8).random((110, 120)) < 0.05
    fits.PrimaryHDU(bad.astype(np.uint8)).writeto(here / "mask.fits")

    def spoil(frame, n):
        frame[bad] = np.resize([np.nan, np.inf, -np.inf], np.sum(bad))
        return frame

    writeReal(here / "nan", np.random.default_rng(9), spoil)
    writeReal(here / "clean", np.random.default_rng(9))
    for name in ("nan", "clean"):
        code, _, err = run(
            "ptc", here / name, "-o", f"{name}_", *FAST, "--mask", "mask.fits", "--model", "nob", "--range", "3"
        )
        assert code == 0, err
    for column in ("gain", "noise", "a00", "gainErr", "nPairs"):
        np.testing.assert_allclose(table("nan_")[column], table("clean_")[column], rtol=1e-12)
    # without the mask the pixels are known to hold no data
    assert run("ptc", here / "nan", "-o", "unmasked", *FAST)[0] == 0
    np.testing.assert_allclose(table("unmasked")["gain"], table("clean_")["gain"], rtol=0.02)


def test_constantImages(run, here, rng):
    folder = writeRamp(here / "f", rng, edit=lambda v, n: np.full_like(v, 1000.0 * (1 + n // 2)))
    code, _, err = run("ptc", folder)
    assert code in (5, 6)
    assertThreeParts(err, code, "no amplifier has a photon transfer curve")
    assert products(here) == []


def test_zeroAndNegativeMeans(run, here):
    """Pairs without light are named; those with light are a curve."""

    def dark(frame, n):
        return frame if n > 3 else (frame - frame.mean() - (5.0 if n < 2 else 0.0)).astype(np.float32)

    folder = writeReal(here / "f", np.random.default_rng(4), dark)
    code, _, err = run("ptc", folder, "-o", "r", *FAST)
    assert code == 0 and "warning[W-PAIR]" in err and "mean" in err.lower()
    assert table()["nPairs"] <= 6 and table()["gain"] == pytest.approx(GAIN, rel=0.03)
    folder = writeReal(here / "g", np.random.default_rng(4), lambda frame, n: -frame)
    code, _, err = run("ptc", folder)
    assert code == 5
    assertThreeParts(err, 5, "NO_PAIRS")


@pytest.mark.parametrize("width", [503, 1015, 2039])
def test_awkwardWidths(run, here, rng, width):
    """Widths just below a power of two plus lags, with both estimators."""
    folder = writeRamp(here / "f", rng, shape=(30, width))
    for estimator in ("direct", "fft"):
        code, _, err = run(
            "ptc", folder, "-o", estimator, *FAST, "-c", f"extract.covarianceEstimator={estimator}",
            "-c", "extract.minNumberGoodPixelsForCovariance=5000", "--range", "9", "--model", "nob",
        )  # fmt: skip
        assert code == 0, err
    np.testing.assert_allclose(table("direct")["gain"], table("fft")["gain"], rtol=1e-8)
    assert abs(pull(table("direct")[0])) < 4


def test_amplifierOutsideTheFrame(run, here, rng):
    folder = writeRamp(here / "f", rng)
    (here / "amps.yaml").write_text("x: {data: [200, 300, 0, 110]}\n")
    code, _, err = run("ptc", folder, "--amps", "amps.yaml")
    assert code == 4
    assertThreeParts(err, 4, "no amplifier lies inside the frame")


def test_amplifierFileThatIsNone(run, here, rng):
    folder = writeRamp(here / "f", rng, levels=LEVELS[:2])
    for text in ("- 1\n- 2\n", "a: {data: [0, 60]}\n", "a: [\n"):
        (here / "amps.yaml").write_text(text)
        code, _, err = run("ptc", folder, "--amps", "amps.yaml")
        assert code in (2, 3, 4), err
        assertThreeParts(err, code, "amps.yaml")
    code, _, err = run("ptc", folder, "--amps", "none.yaml")
    assert code == 3
    assertThreeParts(err, 3, "none.yaml")


def test_hostileHeadersAreShownNotRun(run, here, rng):
    text = "<script>alert(1)</script>"
    folder = writeRamp(here / "f", rng, cards=lambda n, c: {**c, "INSTRUME": text})
    assert run("ptc", folder, "-o", "r", "-q")[0] == 0
    page = (here / "r.html").read_text()
    assert text not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.shared
def test_realFlatsOfUnequalExposure(run, here, sharedDir):
    """Three CMOS flats of 2.0, 2.82 and 3.1 s: what they can tell and what not (rivals check 12: 1.36 +- 0.01)."""
    code, out, err = run("ptc", sharedDir / "data" / "ccd_flats", "--json")
    assert code == 5 and products(here) == []
    assertThreeParts(
        err,
        5,
        "2 s, 2.82 s, 3.1 s",
        "flat2.fits and flat3.fits",
        "differ by 3.8%",
        "not measurable: read noise, full well",
    )
    assert "W-UNPAIRED" in err and "W-UNEQUAL" in err
    assert json.loads(out)["metadata"]["singlePairGain"] == pytest.approx(1.36, abs=0.01)


def test_interruptLeavesNothing(run, here, rng, monkeypatch):
    from stillsky.ptc.job import PhotonTransferJob

    def interrupted(self, partials):
        raise KeyboardInterrupt

    monkeypatch.setattr(PhotonTransferJob, "_solve", interrupted)
    code, _, err = run("ptc", writeRamp(here / "f", rng, levels=LEVELS[:3]), "-o", "r")
    assert code == 130 and "interrupted" in err and products(here) == []


def test_presetOfOtherVerbsIsRefused(run, here, rng):
    code, _, err = run("ptc", writeRamp(here / "f", rng, levels=LEVELS[:1]), "--preset", "hotpants")
    assert code == 2
    assertThreeParts(err, 2, "hotpants", "rubin")
