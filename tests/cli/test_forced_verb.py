"""stillsky forced: positions of any table on the products of a subtraction."""

import json
import re
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import stillsky
from stillsky.cli import main
from stillsky.diffim.source_io import readSources, writeSources
from stillsky.fits import writeExposure

FLUX, ERROR = "base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr"


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Folder with a small pair, its truth.ecsv, and the products r.* of its subtraction."""
    folder = tmp_path_factory.mktemp("forced")
    assert main(["simulate", "pair", "--size", "256", "--seed", "4", "-q", "-o", f"{folder}/"]) == 0
    argv = ["-qq", "--no-report", "--no-picture", "-o", f"{folder}/r"]
    assert main(["subtract", f"{folder}/sci.fits", f"{folder}/tmpl.fits", *argv]) == 0
    return folder


@pytest.fixture
def here(products, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return products


def test_fluxesOfPlantedTransients(here, run):
    truth = Table.read(here / "truth.ecsv")
    code, out, err = run("forced", here / "r.diff.fits", here / "truth.ecsv", "--json")
    document = json.loads(out)
    assert code == 0 and document["products"] == ["r.forced.ecsv"] and "result: 6 positions on 1 image" in err
    assert document["metadata"]["measured"] == document["metadata"]["rows"] == len(truth)
    table = readSources("r.forced.ecsv")
    np.testing.assert_array_equal(table["id"], truth["id"])
    np.testing.assert_allclose(table["x"], truth["x"], atol=1e-6)
    pulls = (table[FLUX] - truth["flux"]) / table[ERROR]
    assert np.all(np.abs(pulls) < 4)
    # sources without a host on the science image and on the template as it was subtracted
    plain = (truth["host"] < 0) & (truth["snr"] > 15)
    direct = table["ip_diffim_forced_PsfFlux_instFlux"] - table["ip_diffim_forced_template_PsfFlux_instFlux"]
    assert np.count_nonzero(plain) == 2
    np.testing.assert_allclose(direct[plain], truth["flux"][plain], atol=4 * np.max(table[ERROR][plain]))
    new = plain & (truth["kind"] == "new")
    assert np.all(np.abs(table["ip_diffim_forced_template_PsfFlux_instFlux"][new]) < 4 * table[ERROR][new])
    # the template was convolved: its noise over a PSF is that of the table of sources, several times its variance plane
    errors = table["ip_diffim_forced_template_PsfFlux_instFluxErr"]
    assert np.min(errors) > 2 * np.sqrt(np.median(fits.getdata(here / "r.matched.fits", "VARIANCE")) * 60)
    code, _, _ = run(
        "forced", here / "r.diff.fits", here / "truth.ecsv", "--template", here / "r.matched.fits", "-o", "g.ecsv"
    )
    assert code == 0
    given = readSources("g.ecsv")["ip_diffim_forced_template_PsfFlux_instFluxErr"]
    np.testing.assert_allclose(given, errors)


def test_lightCurveOverManyDifferences(here, run, tmp_path):
    for name in ("a", "b"):
        shutil.copy(here / "r.diff.fits", tmp_path / f"{name}.diff.fits")
    code, out, _ = run("forced", "a.diff.fits", "b.diff.fits", here / "truth.ecsv", "--calibrate-errors", "--json")
    assert code == 0
    table = readSources("truth.forced.ecsv")
    assert table["image"].tolist() == ["a", "b"] * 6 and json.loads(out)["metadata"]["rows"] == 12
    assert table["ip_diffim_forced_PsfFlux_flag"].all()  # neither has its companions beside it
    scale = json.loads(out)["metadata"]["medianErrorScale"]
    assert 0.8 < scale < 1.3 and table.meta["images"][0]["errorScale"] == pytest.approx(scale)


@pytest.mark.parametrize("suffix", [".ecsv", ".parquet", ".fits"])
def test_formatsBySuffix(here, run, suffix):
    assert run("forced", here / "r.diff.fits", here / "truth.ecsv", "-o", "t" + suffix)[0] == 0
    table = readSources("t" + suffix)
    assert table[FLUX].unit == "adu" or table[FLUX].unit == "count"
    assert len(table) == 6 and table.meta["catalog"] == "truth.ecsv"
    assert run("forced", here / "r.diff.fits", "t" + suffix, "-o", "again.ecsv", "-q")[0] == 0
    np.testing.assert_allclose(readSources("again.ecsv")[FLUX], table[FLUX], rtol=1e-6)


def test_kindsOfTablesGiveTheSamePositions(here, run):
    truth = Table.read(here / "truth.ecsv")
    x, y, ra, dec = (np.asarray(truth[n]) for n in ("x", "y", "ra", "dec"))
    Table({"X_IMAGE": x + 1, "Y_IMAGE": y + 1}).write("sex.csv")
    np.savetxt("plain.txt", np.transpose([x, y]))
    Table({"name": [f"SN{i}" for i in range(6)], "RA": ra, "Dec": dec}).write("sky.fits")
    Table({"coord_ra": np.radians(ra), "coord_dec": np.radians(dec)}).write("rad.xml", format="votable")
    writeSources(Table({"id": truth["id"], "base_SdssCentroid_x": x, "base_SdssCentroid_y": y}), "own.parquet")
    Table({"RAJ2000": ra, "DEJ2000": dec}).write("vizier.csv")
    for name in ("vizier.csv", "sex.csv", "plain.txt", "sky.fits", "rad.xml", "own.parquet"):
        assert run("forced", here / "r.diff.fits", name, "-o", "out.ecsv", "--overwrite", "-q")[0] == 0, name
        table = readSources("out.ecsv")
        np.testing.assert_allclose(table["x"], x, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(table["y"], y, atol=1e-6, err_msg=name)
        assert name != "sky.fits" or table["id"].tolist() == [f"SN{i}" for i in range(6)]


def test_missingCoverageNeverLosesARow(here, run):
    Table({"x": [100.0, -40.0, 1e6], "y": [100.0, 50.0, 50.0]}).write("p.csv")
    code, _, err = run("forced", here / "r.diff.fits", "p.csv", "-o", "t.ecsv")
    table = readSources("t.ecsv")
    assert code == 0 and "warning[W-COVERAGE]: 2 of 3 rows have no data" in err
    assert table["noCoverage"].tolist() == np.isnan(table[FLUX]).tolist() == [False, True, True]
    assert run("forced", here / "r.diff.fits", "p.csv", "-o", "u.ecsv", "--fail-on", "noCoverage > 1")[0] == 8


def test_emptyCatalogueIsNoError(here, run):
    Table({"x": np.zeros(0), "y": np.zeros(0)}).write("none.ecsv")
    assert run("forced", here / "r.diff.fits", "none.ecsv", "-o", "t.ecsv")[0] == 0
    assert run("forced", here / "r.diff.fits", here / "truth.ecsv", "-o", "full.ecsv")[0] == 0
    empty, full = readSources("t.ecsv"), readSources("full.ecsv")
    assert len(empty) == 0 and empty.colnames == full.colnames
    assert [empty[n].unit for n in empty.colnames] == [full[n].unit for n in full.colnames]


def test_scienceOfAnotherFile(here, run):
    argv = ("forced", here / "r.diff.fits", here / "truth.ecsv", "-q")
    assert run(*argv, "-o", "own.ecsv")[0] == 0
    assert run(*argv, "-o", "given.ecsv", "--science", here / "sci.fits", "--template", here / "r.matched.fits")[0] == 0
    own, given = readSources("own.ecsv"), readSources("given.ecsv")
    for name in own.colnames:
        np.testing.assert_array_equal(own[name], given[name])


def test_scienceImageWithoutPsf(here, run):
    """Its PSF is made of its stars, as in the subtraction: fluxes of bright transients agree with those by the true PSF."""
    science = stillsky.read(here / "sci.fits")
    science.psf = None
    writeExposure(science, "bare.fits")
    shutil.copy(here / "r.diff.fits", "a.diff.fits")
    tables = []
    for name in (here / "sci.fits", "bare.fits"):
        argv = ("forced", "a.diff.fits", here / "truth.ecsv", "--science", name, "-o", "t.ecsv", "--overwrite", "-q")
        assert run(*argv)[0] == 0
        tables.append(readSources("t.ecsv"))
    true, made = (np.asarray(t["ip_diffim_forced_PsfFlux_instFlux"]) for t in tables)
    bright = np.abs(true) > 30 * tables[0]["ip_diffim_forced_PsfFlux_instFluxErr"]
    assert np.count_nonzero(bright) >= 2
    np.testing.assert_allclose(made[bright], true[bright], rtol=0.03)


def test_planesOfTheScienceImageFromOtherFiles(here, run):
    """The options of subtract: a PSF and a mask of their own."""
    science = stillsky.read(here / "sci.fits")
    fits.writeto("psf.fits", science.psf.computeKernelImage(science.bbox.center).array)
    bad = np.zeros(science.image.array.shape, np.int32)
    truth = Table.read(here / "truth.ecsv")
    bad[int(truth["y"][0]) - 40 : int(truth["y"][0]) + 40, int(truth["x"][0]) - 40 : int(truth["x"][0]) + 40] = 1
    fits.writeto("mask.fits", bad)
    science.psf = None
    writeExposure(science, "bare.fits")
    shutil.copy(here / "r.diff.fits", "a.diff.fits")
    tables = []
    argv = ("forced", "a.diff.fits", here / "truth.ecsv", "--overwrite", "-q", "-o", "t.ecsv", "--science")
    for more in ([here / "sci.fits"], ["bare.fits", "--sci-psf", "psf.fits", "--sci-mask", "mask.fits"]):
        assert run(*argv, *more)[0] == 0
        tables.append(readSources("t.ecsv"))
    true, made = (t["ip_diffim_forced_PsfFlux_instFlux"] for t in tables)
    assert tables[1]["ip_diffim_forced_PsfFlux_flag"][0] and not tables[0]["ip_diffim_forced_PsfFlux_flag"][0]
    good = np.hypot(truth["x"] - truth["x"][0], truth["y"] - truth["y"][0]) > 80  # a PSF away from the mask
    assert good.any()
    np.testing.assert_allclose(
        made[good], true[good], rtol=0.05, atol=5 * tables[0]["ip_diffim_forced_PsfFlux_instFluxErr"].max()
    )
    code, _, err = run(
        "forced", "a.diff.fits", "a.diff.fits", here / "truth.ecsv", "--sci-mask", "mask.fits", "-o", "u.ecsv"
    )
    assert code == 2 and "--sci-mask is of one difference" in err


def test_baselineOfALightCurve(here, run, tmp_path):
    for name in ("a", "b"):
        shutil.copy(here / "r.diff.fits", tmp_path / f"{name}.diff.fits")
    argv = ("forced", "a.diff.fits", "b.diff.fits", here / "truth.ecsv", "-q", "-o", "t.ecsv", "--overwrite")
    assert run(*argv, "--baseline", ":")[0] == 0
    table = readSources("t.ecsv")
    assert (table["baseline_n"] == 2).all() and np.abs(table[FLUX] / table[ERROR]).max() < 1e-6  # the same image twice
    code, _, err = run(*argv, "--baseline", "60000:60001")
    assert code == 0 and "W-BASELINE" in err and np.isnan(readSources("t.ecsv")["baseline_instFlux"]).all()
    for text in ("60000", "a:b", "5:4"):
        code, _, err = run(*argv, "--baseline", text)
        assert code == 2 and "MJD0:MJD1" in err


def _withoutPsf(here):
    with fits.open(here / "r.diff.fits") as hdus:
        fits.HDUList([fits.PrimaryHDU(), *(hdus[n].copy() for n in ("IMAGE", "MASK", "VARIANCE"))]).writeto("bare.fits")
    with fits.open("bare.fits", mode="update") as hdus:
        for card in [c for c in hdus["IMAGE"].header if c.startswith(("CTYPE", "CRVAL", "CD1", "CD2", "CRPIX"))]:
            del hdus["IMAGE"].header[card]


@pytest.mark.parametrize(
    "case, code, words",
    [
        ("one argument", 2, "one or more differences and a table"),
        ("suffix", 2, "suffix of the output"),
        ("columns", 3, "no positions.*columns a, b.*x and y .*or ra and dec"),
        ("sexagesimal", 3, "holds no numbers"),
        ("no table", 3, "does not exist"),
        ("broken table", 3, "cannot be read"),
        ("no image", 3, "does not exist"),
        ("no psf", 3, "has no PSF"),
        ("no wcs", 4, "no WCS"),
        ("outside", 4, "no position has data.*all outside"),
        ("wrong order", 3, "cannot be read.*the table is the last argument"),
        ("two and science", 2, "--science is of one difference"),
        ("exists", 7, "exists already"),
    ],
)
def test_badInput(here, run, tmp_path, case, code, words):
    diff, truth = here / "r.diff.fits", here / "truth.ecsv"
    (tmp_path / "cols.csv").write_text("a,b\n1,2\n")
    (tmp_path / "sex.csv").write_text("ra,dec\n10:20:30,-5:06:07\n")
    (tmp_path / "broken.fits").write_text("no table")
    (tmp_path / "far.csv").write_text("x,y\n5000,10\n")
    (tmp_path / "sky.csv").write_text("ra,dec\n150.1,2.2\n")
    (tmp_path / "here.ecsv").write_text("mine")
    argv = {
        "one argument": [truth],
        "suffix": [diff, truth, "-o", "t.txt"],
        "columns": [diff, "cols.csv"],
        "sexagesimal": [diff, "sex.csv"],
        "no table": [diff, "nothing.csv"],
        "broken table": [diff, "broken.fits"],
        "no image": ["nothing.diff.fits", truth],
        "no psf": ["bare.fits", truth],
        "no wcs": ["bare.fits", "sky.csv", "--psf", "psf.fits"],
        "outside": [diff, "far.csv"],
        "wrong order": [truth, diff],
        "two and science": [diff, diff, truth, "--science", here / "sci.fits"],
        "exists": [diff, truth, "-o", "here.ecsv"],
    }[case]
    if case in ("no psf", "no wcs"):
        _withoutPsf(here)
        fits.writeto("psf.fits", np.exp(-(np.hypot(*np.mgrid[-10:11, -10:11]) ** 2) / 8))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    found, out, err = run("forced", *argv)
    assert found == code, err
    lines = [line for line in err.splitlines() if not line.startswith(("warning", "inputs"))]
    assert re.search(words, " ".join(lines)) and any(line.startswith("  found: ") for line in lines)
    assert any(line.startswith("  try: ") for line in lines)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_whatIsNoDifferenceIsSaid(here, run):
    (here / "one.csv").write_text("x,y\n100,100\n")
    code, _, err = run("forced", here / "sci.fits", here / "one.csv", "-o", "t.ecsv")
    assert code == 0 and "W-NODIFF" in err and "its sky and stars are in the fluxes" in err
    assert "result: 1 position on 1 image" in err
    assert "W-NODIFF" not in run("forced", here / "r.diff.fits", here / "one.csv", "-o", "u.ecsv")[2]
