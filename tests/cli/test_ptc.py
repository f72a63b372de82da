"""The verb ptc: from a folder of flats to a table and a report."""

import json
import weakref

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from ptc_files import GAIN, NOISE, writeRamp

import stillsky
from stillsky.ptc import PhotonTransferCurveDataset
from stillsky.sim.flat_files import writeFlatFiles
from stillsky.sim.flat_ramp import simulateFlatRamp

COLUMNS = "ampName gain gainErr noise noiseErr a00 a00Err ptcTurnoff fullWell chi2Dof nPairs".split()
SUFFIXES = (".html", ".json", ".ptc.ecsv", ".ptc.fits", ".ptc.pdf")


@pytest.fixture(scope="module")
def ampFiles(tmp_path_factory):
    """A ramp of four amplifiers in extensions with overscan, and its truth."""
    folder = tmp_path_factory.mktemp("lab") / "flats"
    folder.mkdir()
    ramp = simulateFlatRamp(np.geomspace(300.0, 60000.0, 8), 1, shape=(110, 120), amplifiers=4, seed=5)
    writeFlatFiles(ramp, f"{folder}/", "extensions")
    return folder, ramp


@pytest.fixture(scope="module")
def frameFiles(tmp_path_factory):
    """A ramp of a whole frame, and two bias frames."""
    return writeRamp(tmp_path_factory.mktemp("lab") / "frames", np.random.default_rng(11))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pull(row, name, truth):
    return (row[name] - truth) / row[f"{name}Err"]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_ptc_writesTableDatasetPlotsAndReport(run, here, ampFiles):
    folder, ramp = ampFiles
    code, out, err = run("ptc", folder, "-o", "lab")
    assert code == 0, err
    assert names(here) == sorted(f"lab{s}" for s in SUFFIXES)
    table = Table.read("lab.ptc.ecsv")
    assert table.colnames[:11] == COLUMNS and table.colnames[-1] == "flags"
    assert str(table["gain"].unit) == "electron / adu" and table["gain"].description
    for row, truth in zip(table, ramp.amplifiers):
        assert row["ampName"] == truth.name and row["nPairs"] == 8
        assert abs(pull(row, "gain", truth.gain)) < 4
        assert abs(pull(row, "noise", np.sqrt(truth.noiseMatrix[0, 0]))) < 4
        assert abs(pull(row, "a00", truth.aMatrix[0, 0])) < 4
        assert row["overscanNoise"] == pytest.approx(np.sqrt(truth.noiseMatrix[0, 0]) / truth.gain, rel=0.03)
        assert row["fullWell"] == pytest.approx(row["ptcTurnoff"] * row["gain"])
    dataset = PhotonTransferCurveDataset.readFits("lab.ptc.fits")
    assert dataset.ampNames == list(table["ampName"]) and dataset.ptcFitType == "EXPAPPROXIMATION"
    np.testing.assert_allclose([dataset.gain[a] for a in dataset.ampNames], table["gain"])
    assert dataset.rawMeans["C00"].size == 8 and dataset.covariances["C00"].shape == (8, 10, 10)
    assert (here / "lab.ptc.pdf").read_bytes().startswith(b"%PDF-")
    assert all(truth.name in out for truth in ramp.amplifiers) and "gain" in out
    assert err.splitlines()[0] == "inputs: 16 flats, 4 images of 176x110 px, SimCam"
    assert "row median of the overscan subtracted" in err and "pairs: 8 by equal exposure times" in err
    assert err.splitlines()[-1].startswith("result: 4 amplifiers, 8 pairs; gain ")
    # the ramp ends below the full well: the last level is a lower limit, and said to be one
    assert all("NO_TURNOFF" in flags for flags in table["flags"])
    assert f"; full well at least {np.median(table['fullWell']):.0f} e; " in err.splitlines()[-1]


def test_ptc_reportIsSelfContainedAndHoldsTheSummary(run, here, ampFiles):
    """A19 for this verb: one file below 5 MB, nothing fetched, embedded JSON equal to P.json."""
    import re

    assert run("ptc", ampFiles[0], "-o", "r", "-q")[0] == 0
    text = (here / "r.html").read_text()
    assert len(text) < 5_000_000
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*http", text)
    block = text.split('id="stillsky-data">')[1].split("</script>")[0]
    assert json.loads(block) == json.loads((here / "r.json").read_text())
    verdict = json.loads(block)["verdict"]  # the index of many runs shows it
    assert verdict["state"] in ("green", "amber", "red") and verdict["sentence"] in text
    for words in ("Amplifiers", "C03", "NO_TURNOFF", "download CSV", "<svg", "data:image/png"):
        assert words in text or words == "<svg"
    assert text.count("<img") == text.count("alt=")


def test_ptc_jsonSummary(run, here, ampFiles):
    code, out, err = run("ptc", ampFiles[0], "-o", "r", "--json", "--no-report")
    summary = json.loads(out)
    assert code == summary["exit"] == 0
    assert {"version", "inputs", "config", "metadata", "products", "warnings", "timings"} <= set(summary)
    assert summary["inputs"]["flats"] == 16 and len(summary["inputs"]["pairs"]) == 8
    assert summary["metadata"]["amplifiers"] == summary["metadata"]["goodAmplifiers"] == 4
    assert summary["metadata"]["gain"] == pytest.approx(1.5, rel=0.1)
    assert summary["products"] == [f"r{s}" for s in (".json", ".ptc.ecsv", ".ptc.fits")]
    assert names(here) == summary["products"]
    assert "C00" in err  # the table is for people: not on stdout


def test_ptc_pythonGivesTheSame(run, here, ampFiles):
    assert run("ptc", ampFiles[0], "-o", "r", "-q", "--no-report")[0] == 0
    result = stillsky.ptc(str(ampFiles[0]))
    table = Table.read("r.ptc.ecsv")
    for name in ("gain", "noise", "a00", "gainErr"):
        np.testing.assert_allclose(table[name], result.table[name], rtol=1e-12)
    assert str(result).startswith("photon transfer of flats (SimCam): 4 amplifiers, 8 pairs")


def test_ptc_dryRunTouchesNothing(run, here, ampFiles):
    code, out, err = run("ptc", ampFiles[0], "--dry-run", "-c", "extract.binSize=1", "--model", "full")
    assert code == 0 and names(here) == []
    assert "pairs: 8 by equal exposure times" in err and "solve.ptcFitType: 'FULLCOVARIANCE'" in err
    assert "would write: flats.ptc.fits, flats.ptc.ecsv, flats.ptc.pdf, flats.html, flats.json" in err


def test_ptc_modelsAndRange(run, here, ampFiles):
    for model, kind in (("full", "FULLCOVARIANCE"), ("nob", "FULLCOVARIANCE_NO_B")):
        assert run("ptc", ampFiles[0], "-o", model, "--model", model, "--range", "3", "-q", "--no-report")[0] == 0
        dataset = PhotonTransferCurveDataset.readFits(f"{model}.ptc.fits")
        assert dataset.ptcFitType == kind and dataset.aMatrix["C00"].shape == (3, 3)
        table = Table.read(f"{model}.ptc.ecsv")
        assert np.all(np.isfinite(table["a00Err"])) and np.all(np.abs(table["gain"] / 1.5 - 1) < 0.1)


def test_ptc_configurationIsRefusedEarly(run, here, ampFiles):
    code, _, err = run("ptc", ampFiles[0], "-c", "extract.nSigmaClip=4")
    assert code == 2 and "extract.nSigmaClipPtc" in err
    code, _, err = run("ptc", ampFiles[0], "-c", "extract.binSize=2")
    assert code == 2 and "same binSize" in err
    code, _, err = run("ptc", ampFiles[0], "--pair-by", "key")
    assert code == 2 and "pairKey" in err
    assert names(here) == []


def test_ptc_configOfTheVerbFedBackIsTheSame(run, here, ampFiles):
    """A16 for this verb."""
    code, out, _ = run("config", "ptc")
    assert code == 0 and "matchExposuresType" in out and "sigmaCutPtcOutliers" in out
    (here / "my.yaml").write_text(out)
    first = json.loads(run("ptc", ampFiles[0], "--dry-run", "--json")[1])["config"]["values"]
    again = json.loads(run("ptc", ampFiles[0], "--dry-run", "--json", "-C", "my.yaml")[1])["config"]["values"]
    assert first == again


def test_ptc_presetRubinIsTheReference(run, here, ampFiles):
    code, out, _ = run("ptc", ampFiles[0], "--preset", "rubin", "--json", "-o", "r", "--no-report")
    assert code == 0
    config = json.loads(out)["config"]
    assert config["values"]["extract.compat"] and config["origins"]["solve.compat"] == "preset rubin"
    assert json.loads(out)["metadata"]["gain"] == pytest.approx(1.5, rel=0.1)


def test_ptc_existingProductsAreRefused(run, here, ampFiles):
    (here / "r.ptc.ecsv").write_text("precious")
    code, _, err = run("ptc", ampFiles[0], "-o", "r")
    assert code == 7 and "r.ptc.ecsv" in err and names(here) == ["r.ptc.ecsv"]
    assert (here / "r.ptc.ecsv").read_text() == "precious"
    assert run("ptc", ampFiles[0], "-o", "r", "--overwrite", "-q", "--no-report")[0] == 0
    assert Table.read("r.ptc.ecsv")["gain"].size == 4


def test_ptc_gates(run, here, ampFiles):
    code, _, err = run("ptc", ampFiles[0], "-o", "r", "-q", "--no-report", "--fail-on", "noise > 1")
    assert code == 8 and "noise" in err and "r.ptc.fits" in names(here)
    assert run("ptc", ampFiles[0], "-o", "s", "-q", "--no-report", "--fail-on", "noise > 100")[0] == 0


def test_ptc_namesOfProductsWithoutOption(run, here, ampFiles, frameFiles):
    assert run("ptc", ampFiles[0], "-q", "--no-report")[0] == 0
    assert names(here) == ["flats.json", "flats.ptc.ecsv", "flats.ptc.fits"]
    (here / "out").mkdir()
    assert run("ptc", *sorted(frameFiles.glob("f*.fits")), "-q", "--no-report", "-o", "out/")[0] == 0
    assert names(here / "out") == ["f000.json", "f000.ptc.ecsv", "f000.ptc.fits"]


def test_ptc_biasOfTheFolderIsSubtracted(run, here, frameFiles):
    code, _, err = run("ptc", frameFiles, "-o", "r", "--no-report")
    assert code == 0 and "bias: mean of 2 frames, median 500 adu" in err
    row = Table.read("r.ptc.ecsv")[0]
    assert row["ampName"] == "frame" and "PEDESTAL" not in row["flags"]
    assert abs(pull(row, "gain", GAIN)) < 4 and abs(pull(row, "noise", NOISE)) < 4
    assert row["overscanNoise"] == pytest.approx(NOISE / GAIN, rel=0.05)


def test_ptc_biasGivenAsOption(run, here, frameFiles):
    flats = sorted(frameFiles.glob("f*.fits"))
    code, _, err = run("ptc", *flats, "-o", "r", "--no-report", "--bias", frameFiles / "zero0.fits")
    assert code == 0 and "bias: zero0.fits, median 500 adu" in err
    assert abs(pull(Table.read("r.ptc.ecsv")[0], "gain", GAIN)) < 4


def test_ptc_unknownPedestalIsSaid(run, here, frameFiles):
    """Without overscan or bias the gain stands; the noise does not, and the command says so."""
    flats = sorted(frameFiles.glob("f*.fits"))
    code, _, err = run("ptc", *flats, "-o", "r")
    assert code == 0 and "warning[W-PEDESTAL]" in err
    # a steady lamp tells: the levels are a line in time that does not go through zero
    assert "pedestal: the levels extrapolate to 500" in err or "pedestal: the levels extrapolate to 499" in err
    row = Table.read("r.ptc.ecsv")[0]
    assert "PEDESTAL" in row["flags"].split() and row["gain"] == pytest.approx(GAIN, rel=0.05)
    summary = json.loads((here / "r.json").read_text())
    assert any("read noise" in sentence for sentence in summary["cannotMeasure"])
    assert "Could not be measured" in (here / "r.html").read_text()
    code, _, err = run("ptc", *flats, "-o", "s", "--no-report", "-c", "pedestalSubtracted=true")
    assert "W-PEDESTAL" not in err


def test_ptc_overscanCanBeLeft(run, here, ampFiles):
    code, _, err = run("ptc", ampFiles[0], "-o", "r", "--no-report", "--no-overscan")
    assert code == 0 and "W-PEDESTAL" in err and "overscan not subtracted" in err
    assert Table.read("r.ptc.ecsv")["gain"] == pytest.approx(1.5, rel=0.1)


def test_ptc_amplifiersFromYaml(run, here, frameFiles):
    (here / "amps.yaml").write_text(
        "left: {data: [0, 60, 0, 110]}\nright: {data: [60, 120, 0, 110]}\nbeyond: {data: [100, 160, 0, 110]}\n"
    )
    code, _, err = run(
        "ptc", frameFiles, "--amps", "amps.yaml", "-o", "r", "--no-report",
        "-c", "extract.minNumberGoodPixelsForCovariance=5000",
    )  # fmt: skip
    assert code == 0, err
    table = Table.read("r.ptc.ecsv")
    rows = {row["ampName"]: row for row in table}
    for name in ("left", "right"):
        assert abs(pull(rows[name], "gain", GAIN)) < 4
    # outside the frame: flagged, the others are kept
    assert rows["beyond"]["flags"] == "NO_PAIRS" and np.isnan(rows["beyond"]["gain"]) and rows["beyond"]["nPairs"] == 0
    assert "beyond" in err and "outside the frame" in err


def test_ptc_regionCutsAmplifiers(run, here, ampFiles):
    code, _, err = run("ptc", ampFiles[0], "-o", "r", "--no-report", "--region", "0:119,0:109")
    assert code == 0 and list(Table.read("r.ptc.ecsv")["ampName"]) == ["C00"]
    code, _, err = run("ptc", ampFiles[0], "-o", "s", "--region", "0:2000,0:100")
    assert code == 4 and "reaches out of the frame" in err


def test_ptc_twoExposuresInMemory(run, here, frameFiles, monkeypatch):
    """Whatever the number of files, the exposures alive at a time are those of one pair."""
    from stillsky.ptc.flat_reader import FlatReader

    alive, most = [], []
    original = FlatReader.read

    def read(self, flat):
        exposure = original(self, flat)
        alive.append(weakref.ref(exposure.image))
        most.append(sum(image() is not None for image in alive))
        return exposure

    monkeypatch.setattr(FlatReader, "read", read)
    assert run("ptc", frameFiles, "-o", "r", "-q", "--no-report")[0] == 0
    # while the first of a pair is read, the last pair may still be held by the extraction
    assert len(most) == 14 and max(most) <= 2


def test_ptc_loadsNoTaskFramework(fresh, here, frameFiles):
    """A6 for this verb."""
    code = (
        "import sys; from stillsky.cli import main;"
        f"code = main(['ptc', {str(frameFiles)!r}, '-o', 'r', '-q']);"
        "bad = [m for m in ('lsst.pipe.base', 'lsst.daf.butler') if m in sys.modules]; sys.exit(code or bool(bad))"
    )
    done = fresh(code, cwd=here)
    assert done.returncode == 0, done.stderr


def test_ptc_helpLoadsNothingHeavy(fresh):
    code = (
        "import sys; from stillsky.cli import main; main(['ptc', '--help']);"
        "bad = [m for m in ('numpy', 'astropy', 'lsst', 'matplotlib', 'rich') if m in sys.modules]; sys.exit(bool(bad))"
    )
    done = fresh(code)
    assert done.returncode == 0, done.stderr
    assert "--pair-by" in done.stdout


def test_ptc_cmosPaddingIsFound(run, here, rng):
    """A13: flats that are multiples of 16; the gain per native unit is 16 times that per unit of the file, exactly."""
    native = 0.9

    def pad(values, number):
        return 16 * np.rint((values - 100.0) * 1.0 + 100.0)

    folder = writeRamp(here / "cmos", rng, levels=(200.0, 500.0, 1000.0, 1800.0, 2600.0), gain=native, pedestal=100.0,
                       edit=pad, biases=0, cards=lambda n, c: c)  # fmt: skip
    code, out, err = run("ptc", folder, "-o", "r", "--json", "--no-report")
    assert code == 0 and "padding: values are multiples of 16, the low 4 bits are constant" in err
    summary = json.loads(out)
    assert summary["inputs"]["divisor"] == 16 and summary["metadata"]["divisor"] == 16
    row = Table.read("r.ptc.ecsv")[0]
    assert row["gainNative"] == 16 * row["gain"]
    assert row["gainNative"] == pytest.approx(native, rel=0.03)
    assert f"{row['gain']:.6g} e/adu of the file, {row['gainNative']:.6g} e per native unit (16 adu)" in err


def test_ptc_perPixelMaps(run, here, rng):
    folder = writeRamp(here / "cmos", rng, levels=(200.0, 1000.0, 4000.0), shape=(40, 50), perLevel=20)
    code, out, err = run("ptc", folder, "-o", "r", "--per-pixel", "--json",
                         "-c", "extract.minNumberGoodPixelsForCovariance=1000")  # fmt: skip
    assert code == 0, err
    with fits.open("r.maps.fits") as hdus:
        assert [h.name for h in hdus] == [
            "PRIMARY",
            "GAIN",
            "GAIN_ERR",
            "NOISE",
            "NOISE_ERR",
            "CHI2",
            "LEVELS",
            "LIGHT",
        ]
        gain = hdus["GAIN"].data
        assert gain.shape == (40, 50) and np.nanmean(gain) == pytest.approx(GAIN, rel=0.03)
        assert hdus["GAIN"].header["BUNIT"] == "electron/adu" and hdus[0].header["NLEVELS"] == 3
        assert list(hdus["LIGHT"].data["frames"]) == [20, 20, 20]
    summary = json.loads(out)
    assert summary["metadata"]["pairs"] == 30 and "r.maps.fits" in summary["products"]
    assert "pixels: gain 1.5" in err or "pixels: gain 1.6" in err
    assert "Maps and histograms" in (here / "r.html").read_text()


def test_ptc_perPixelNeedsLevelsOfTwentyFrames(run, here, frameFiles):
    code, _, err = run("ptc", frameFiles, "-o", "r", "--per-pixel")
    assert code == 5 and "too few light levels" in err and "need 3 of 20" in err and names(here) == []


def test_ptc_perPixelNeedsOneImage(run, here, ampFiles):
    code, _, err = run("ptc", ampFiles[0], "-o", "r", "--per-pixel")
    assert code == 4 and "need the pixels of the detector" in err and "--ext" in err and names(here) == []
