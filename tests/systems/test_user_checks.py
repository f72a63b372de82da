"""What users do first: the acceptance checks of the command line and of the Python quick start, for subtraction."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import stillsky as sky
from stillsky.cli import main
from stillsky.diffim.subtracted_background import withBackground
from stillsky.fits import readExposure, writeExposure
from stillsky.kernel import ConvolutionControl, FixedKernel, convolve
from stillsky.sim import simulatePair

_README = Path(__file__).resolve().parents[2] / "README.md"


def _robustSigma(values):
    return 1.482602 * np.median(np.abs(values - np.median(values)))


def _skyChi(exposure):
    good = (exposure.mask.array == 0) & np.isfinite(exposure.image.array)
    chi = exposure.image.array[good] / np.sqrt(exposure.variance.array[good])
    return _robustSigma(chi)


def _matchedFilter(difference, x, y):
    """PSF flux over its error at a position, from the planes and the PSF of a difference."""
    stamp = difference.psf.computeImage((x, y))
    box = stamp.bbox.clipped(difference.bbox)
    psf = stamp[box].array
    image, variance = difference.image[box].array, difference.variance[box].array
    good = np.isfinite(image) & np.isfinite(variance) & (variance > 0)
    weight = np.where(good, psf / np.where(good, variance, 1.0), 0.0)
    return float(np.sum(weight * np.where(good, image, 0.0)) / np.sqrt(np.sum(weight * psf)))


@pytest.fixture(scope="module")
def firstRun(tmp_path_factory):
    """Folder of ``stillsky simulate pair --size 1024 --seed 1 && stillsky subtract sci.fits tmpl.fits -o r``."""
    folder = tmp_path_factory.mktemp("first")
    assert main(["simulate", "pair", "--size", "1024", "--seed", "1", "-q", "-o", f"{folder}/"]) == 0
    assert main(["subtract", f"{folder}/sci.fits", f"{folder}/tmpl.fits", "-q", "-o", f"{folder}/r"]) == 0
    return folder


@pytest.fixture(scope="module")
def smallPair():
    """Exposures of 256 pixels a side with their PSFs."""
    pair = simulatePair(256, 5, starDensity=1500.0)
    return pair.science.toExposure(psf=True), pair.template.toExposure(psf=True)


def _samePlanes(a, b):
    for name in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(a, name).array, getattr(b, name).array, err_msg=name)


# ------------------------------------------------------------------------------ first run


_PRODUCTS = (".diff.fits", ".matched.fits", ".kernel.fits", ".sources.ecsv", ".sources.reg", ".json", ".png", ".html")


def _found(sources, row, radius=3.0):
    """Rows of a table of sources within a radius of a planted transient, of its sign."""
    near = np.hypot(sources["base_SdssCentroid_x"] - row["x"], sources["base_SdssCentroid_y"] - row["y"]) < radius
    return sources[near & (sources["is_negative"] == (row["flux"] < 0))]


def test_a2_first_run_without_options(firstRun):
    assert all((firstRun / f"r{suffix}").stat().st_size > 0 for suffix in _PRODUCTS)
    difference = sky.read(firstRun / "r.diff.fits")
    summary = json.loads((firstRun / "r.json").read_text())
    assert 0.97 <= _skyChi(difference) <= 1.03
    assert 0.97 <= summary["metadata"]["skyChi"] <= 1.03
    truth, sources = Table.read(firstRun / "truth.ecsv"), Table.read(firstRun / "r.sources.ecsv")
    chosen = truth[(truth["snr"] >= 8) & ~truth["masked"]]
    assert len(chosen) >= 10
    for row in chosen:
        found = _found(sources, row)
        assert len(found) == 1, f"transient {row['id']} of S/N {row['snr']:.1f}: {len(found)} sources"
        assert np.sign(found["base_PsfFlux_instFlux"][0]) == np.sign(row["flux"])


def test_a3_arrays_give_the_same_bits(firstRun):
    out = sky.subtract(sky.read(firstRun / "sci.fits"), sky.read(firstRun / "tmpl.fits"))
    _samePlanes(out.difference, sky.read(firstRun / "r.diff.fits"))
    _samePlanes(withBackground(out.matchedTemplate, out.background), sky.read(firstRun / "r.matched.fits"))


def test_a3_exposures_made_of_arrays(firstRun):
    made = []
    for name in ("sci.fits", "tmpl.fits"):
        read = sky.read(firstRun / name)
        made.append(
            sky.exposure(read.image.array, variance=read.variance.array, mask=read.mask, psf=read.psf, wcs=read.wcs)
        )
    _samePlanes(sky.subtract(*made).difference, sky.read(firstRun / "r.diff.fits"))


def test_a4_broader_template(tmp_path, run):
    argv = ["--size", "512", "--seed", "7", "--sci-fwhm", "3.0", "--tmpl-fwhm", "4.4", "-q", "-o", f"{tmp_path}/"]
    assert run("simulate", "pair", *argv)[0] == 0
    code, _, err = run("subtract", tmp_path / "sci.fits", tmp_path / "tmpl.fits", "-o", tmp_path / "r")
    assert code == 0 and "result: convolved science;" in err
    header = fits.getheader(tmp_path / "r.diff.fits", "IMAGE")
    header = header if "DIFFSIGN" in header else fits.getheader(tmp_path / "r.diff.fits")
    assert header["DIFFSIGN"] == "SCI-TMPL" and header["CONVOLVD"] == "science"
    difference = sky.read(tmp_path / "r.diff.fits")
    truth = Table.read(tmp_path / "truth.ecsv")
    chosen = truth[(truth["snr"] >= 12) & ~truth["masked"]]
    assert len(chosen) >= 3 and set(np.sign(chosen["flux"])) == {-1.0, 1.0}
    for row in chosen:
        assert np.sign(row["flux"]) * _matchedFilter(difference, row["x"], row["y"]) > 4.0
        assert len(_found(Table.read(tmp_path / "r.sources.ecsv"), row)) == 1


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["subtract", "--nonsense"], ["subtract", "--help"]])
def test_a5_help_loads_nothing(fresh, argv):
    code = f"import sys; from stillsky.cli import main; main({argv!r}); print('MODULES', *sys.modules)"
    modules = set(fresh(code, check=True).stdout.split("MODULES")[1].split())
    assert not {"astropy", "lsst.pipe.base", "lsst.daf.butler", "matplotlib", "numpy", "scipy"} & modules


def test_a6_subtract_never_imports_the_middleware(fresh, work):
    code = (
        "import sys; from stillsky.cli import main\n"
        "assert main(['subtract', 'sci.fits', 'tmpl.fits', '-q', '-o', 'r']) == 0\n"
        "print(*sys.modules)"
    )
    modules = set(fresh(code, check=True).stdout.split())
    assert "stillsky.diffim" in modules
    assert (
        not {"lsst.pipe.base", "lsst.daf.butler", "scipy.stats", "scipy.interpolate"} & modules
    )  # the last two are slow to import


# ----------------------------------------------------------------------------- noise, masks


def test_a9_weight_map_with_zeros(run, work):
    variance = fits.getdata("sci.fits", "VARIANCE").astype(np.float32)
    weight = 1.0 / variance
    weight[40:60, 100:130] = 0.0
    fits.writeto("sci.weight.fits", weight)
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "--sci-weight", "sci.weight.fits", "-o", "r")
    assert code == 0, err
    assert len([line for line in err.splitlines() if line.startswith("warning")]) <= 1
    read, _ = readExposure("sci.fits", weightPath="sci.weight.fits")
    hole = np.zeros(weight.shape, bool)
    hole[40:60, 100:130] = True
    np.testing.assert_array_equal(read.mask.isSet("NO_DATA"), hole)
    assert np.all(np.isposinf(read.variance.array[hole]))
    np.testing.assert_allclose(read.variance.array[~hole], variance[~hole], rtol=1e-6)
    difference = sky.read("r.diff.fits")
    assert difference.mask.isSet("NO_DATA")[hole].all()


def test_a10_planes_are_compared_by_name(tmp_path, rng):
    planes = {"BAD": 0, "SAT": 1, "CR": 3}
    other = {"SAT": 7, "CR": 0, "BAD": 12}
    pixels = rng.normal(0, 1, (60, 70)).astype(np.float32)
    drawn = rng.random((3, 60, 70)) < 0.1
    for name, bits in (("a.fits", planes), ("b.fits", other)):
        mask = np.zeros(pixels.shape, np.int32)
        header = fits.Header()
        for plane, where in zip(planes, drawn):
            mask[where] |= 1 << bits[plane]
            header[f"MP_{plane}"] = bits[plane]
        parts = [fits.PrimaryHDU(), fits.ImageHDU(pixels, name="IMAGE"), fits.ImageHDU(mask, header, name="MASK")]
        fits.HDUList([*parts, fits.ImageHDU(np.ones_like(pixels), name="VARIANCE")]).writeto(tmp_path / name)
    a, b = sky.read(tmp_path / "a.fits"), sky.read(tmp_path / "b.fits")
    for plane, where in zip(planes, drawn):
        np.testing.assert_array_equal(a.mask.isSet(plane), where)
        np.testing.assert_array_equal(b.mask.isSet(plane), where)


def test_a11_image_only(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("simulate", "pair", "--size", "512", "--seed", "2", "--plain", "-q")[0] == 0
    for name in ("sci.fits", "tmpl.fits"):
        pixels, header = fits.getdata(name, header=True)
        wcs = {k: v for k, v in header.items() if k.startswith(("CTYPE", "CRVAL", "CRPIX", "CD", "CUNIT"))}
        fits.writeto("only_" + name, pixels, fits.Header(wcs))
    code, _, err = run("subtract", "only_sci.fits", "only_tmpl.fits", "-o", "r")
    assert code == 0, err
    assert err.count("warning[W-NOVAR]") == 2
    assert 0.9 <= _skyChi(sky.read("r.diff.fits")) <= 1.1


def test_a12_gain_that_contradicts_the_pixels(run, tmp_path, monkeypatch):
    """An image scaled to 0-1 that kept a gain of 250: W-GAIN with both variances, and the same stars and detections."""
    monkeypatch.chdir(tmp_path)
    assert run("simulate", "pair", "--size", "512", "--seed", "2", "--plain", "-q")[0] == 0
    pixels, header = fits.getdata("sci.fits", header=True)
    header.remove("SATURATE", ignore_missing=True)
    fits.writeto("plain.fits", pixels, header)
    header["GAIN"] = 250.0
    fits.writeto("scaled.fits", (pixels / 65536.0).astype(np.float32), header)
    stars, tables = {}, {}
    for name in ("plain", "scaled"):
        argv = ("--json", "--no-report", "--no-picture")
        code, out, err = run("subtract", f"{name}.fits", "tmpl.fits", "-o", name, *argv)
        assert code == 0, err
        stars[name] = json.loads(out)["metadata"]["scienceStars"]
        tables[name] = Table.read(f"{name}.sources.ecsv")
    said = [line for line in err.splitlines() if line.startswith("warning[W-GAIN]: science")]
    assert len(said) == 1 and re.search(r"gain 250 .*variance of \S+, measured \S+", said[0])
    assert stars["plain"] == stars["scaled"] > 10
    # One variance follows from the true gain, the other from the scatter of the sky, 2 % larger in sigma: significances
    # differ by that. The counts are equal all the same, and of the transients the same ones are found.
    assert len(tables["plain"]) == len(tables["scaled"]) > 10
    ratio = np.asarray(tables["scaled"]["detectSignificance"]) / np.asarray(tables["plain"]["detectSignificance"])
    assert np.all(np.abs(ratio - 1) < 0.04)
    strong = {name: int(np.count_nonzero(table["detectSignificance"] >= 7)) for name, table in tables.items()}
    assert strong["plain"] == strong["scaled"] >= 8 and min(map(len, tables.values())) > 10
    truth = Table.read("truth.ecsv")
    clear = truth[(truth["snr"] >= 7) & ~truth["masked"]]
    found = {name: [int(row["id"]) for row in clear if len(_found(tables[name], row))] for name in tables}
    assert found["plain"] == found["scaled"] and len(found["plain"]) > 3


# ------------------------------------------------------------------------- configuration, JSON


def test_a16_configuration_survives_a_round_trip(run, work):
    code, text, _ = run("config", "subtract")
    assert code == 0
    Path("all.yaml").write_text(text)
    values = []
    for options in ((), ("--config-file", "all.yaml")):
        _, out, _ = run("subtract", "sci.fits", "tmpl.fits", "--dry-run", "--json", *options)
        values.append(json.loads(out)["config"]["values"])
    assert values[0] == values[1] and len(values[0]) > 50


def test_a18_json_is_one_document(run, work):
    code, out, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--json")
    document = json.loads(out)
    assert {"version", "inputs", "config", "metadata", "products", "warnings", "timings", "exit"} <= set(document)
    assert document["exit"] == code == 0 and "result: " in err
    wanted = {
        "templateCoveragePercent", "convolvedExposure", "sciencePsfSize", "templatePsfSize", "spatialConditionNum",
        "spatialKernelSum", "ALBasisNGauss", "ALBasisDegGauss", "ALBasisSigGauss", "ALKernelSize", "looRmsMedian",
        "expectedDepth",
        # names of the tasks' metadata
        "psfMatchingAlgorithm", "nPsfSources", "residualFootprintRatioMean", "residualFootprintRatioStdev",
        "nUnmergedDiaSources", "nMergedDiaSources", "nRejectedBadMaskPlanes", "nRemovedBadFlaggedSources",
        "cosmic_ray_count", "nGoodPixels", "nBadPixels", "nPixelsDetectedPositive", "nPixelsDetectedNegative",
        "nBadPixelsDetectedPositive", "nBadPixelsDetectedNegative", "bad_mask_fraction", "sat_mask_fraction",
        "doSmooth", "sigma", "smoothingKernelWidth", "nGrow", "decorrelationVarianceRatio", "decorrelationKernelSum",
        "decorrelationTiles", "noiseWhiteness",
    }  # fmt: skip
    assert wanted <= set(document["metadata"])
    assert json.loads(Path("r.json").read_text()) == document
    assert all(Path(name).exists() for name in document["products"])


# ------------------------------------------------------------------------ exit codes, gates


def _brokenFile():
    Path("broken.fits").write_bytes(b"SIMPLE  = no image")


def _otherField():
    with fits.open("tmpl.fits") as hdus:
        for hdu in hdus:
            if "CRVAL1" in hdu.header:
                hdu.header["CRVAL1"] += 40.0
        hdus.writeto("far.fits")


def _flatTemplate():
    with fits.open("tmpl.fits") as hdus:
        hdus["IMAGE"].data[:] = 5.0
        hdus.writeto("flat.fits")


_ERRORS = [
    (2, None, ["sci.fits", "tmpl.fits", "-c", "convolve=sideways"]),
    (2, None, ["sci.fits", "tmpl.fits", "--inject", "5", "--sources", "none"]),
    (3, _brokenFile, ["broken.fits", "tmpl.fits"]),
    (4, _otherField, ["sci.fits", "far.fits"]),
    (5, _flatTemplate, ["sci.fits", "flat.fits"]),
    (7, lambda: Path("r.json").write_text("mine"), ["sci.fits", "tmpl.fits"]),
]


@pytest.mark.parametrize("code, prepare, argv", _ERRORS, ids=[f"exit{e[0]}-{e[2][0]}-{e[2][-1]}" for e in _ERRORS])
def test_a14_errors_of_real_runs(run, work, code, prepare, argv):
    """Codes 2 to 5 and 7 by what users do; 6, a numerical failure after all fall-backs, in the tests of the verb."""
    if prepare:
        prepare()
    before = {p.name: p.read_bytes() for p in work.iterdir()}
    got, out, err = run("subtract", *argv, "-o", "r")
    assert got == code and out == "", err
    lines = err.splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith(f"error[{code}]: "))
    assert lines[first + 1].startswith("  found: ") and lines[first + 2].startswith("  try: ")
    assert {p.name: p.read_bytes() for p in work.iterdir()} == before


@pytest.mark.parametrize(
    "condition, hit",
    [
        ("nDiaSources > 1000", False),
        ("nDiaSources >= 1", True),
        ("nGoodDiaSources > 0 and skyChi < 2", True),
        ("nNegative > nPositive * 50 + 50", False),
        ("injection.completeness7 < 0.5", False),
        ("injection.signalToNoise50 > 3 or injection.nFound > 1", True),
    ],
)
def test_a14_gates_on_sources(gated, condition, hit):
    """Code 8: a condition on the sources, or on those that were planted; the products are written."""
    from stillsky.cli.gate import Gate

    document, _ = gated
    assert (Gate(condition).check(document["metadata"]) is not None) is hit


@pytest.fixture(scope="module")
def gated(pairFolder, tmp_path_factory):
    """Summary and folder of a run that plants sources, with a condition that holds."""
    folder = tmp_path_factory.mktemp("gated")
    argv = ["subtract", f"{pairFolder}/sci.fits", f"{pairFolder}/tmpl.fits", "-qq", "--inject", "30", "--seed", "3"]
    assert main([*argv, "-o", f"{folder}/r", "--fail-on", "injection.nFound > 1"]) == 8
    return json.loads((folder / "r.json").read_text()), folder


def test_a14_products_of_a_gate_that_was_hit(gated):
    document, folder = gated
    assert document["exit"] == 8 and document["failOn"][0]["condition"] == "injection.nFound > 1"
    names = {f"r{suffix}" for suffix in (*_PRODUCTS, ".injected.ecsv")}
    assert {p.name for p in folder.iterdir()} == names == {Path(n).name for n in document["products"]}


def test_injection_writes_truth_and_efficiency(gated):
    document, folder = gated
    table = Table.read(folder / "r.injected.ecsv")
    assert len(table) == 30 and np.all((table["signalToNoise"] >= 3) & (table["signalToNoise"] <= 30))
    curve = document["efficiency"]
    assert sum(curve["n"]) == 30 and sum(curve["nFound"]) == np.count_nonzero(table["found"])
    assert curve["high"][0] - curve["low"][0] == 0.5
    assert document["config"]["values"]["inject.n"] == 30 and document["config"]["values"]["inject.seed"] == 3


def test_a17_unknown_key_names_the_closest(run, work):
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "-c", "inject.signalToNoise=4")
    assert code == 2 and "inject.minSignalToNoise" in err and len(re.findall(r"[\w.]+SignalToNoise", err)) >= 3


# ------------------------------------------------------------------------------- tables, regions


def test_a20_regions_of_the_first_run(firstRun):
    """Sky coordinates within 1e-6 degrees of the table."""
    table = Table.read(firstRun / "r.sources.ecsv")
    text = (firstRun / "r.sources.reg").read_text()
    found = re.findall(r"circle\(([\d.-]+),([\d.-]+),[^)]*\).*text=\{(\d+)\}", text)
    assert "fk5" in text.splitlines() and len(found) == len(table) > 5
    for row, (ra, dec, name) in zip(table, found, strict=True):
        assert int(name) == row["id"]
        assert abs(float(ra) - np.degrees(row["coord_ra"])) < 1e-6
        assert abs(float(dec) - np.degrees(row["coord_dec"])) < 1e-6


def test_a20_regions_without_a_wcs(run, work):
    """Image coordinates are the table's plus one."""
    for name in ("sci.fits", "tmpl.fits"):
        exposure = sky.read(name)
        exposure.wcs = None
        writeExposure(exposure, f"pixels_{name}")
    code, _, err = run("subtract", "pixels_sci.fits", "pixels_tmpl.fits", "-o", "r", "--no-report", "--no-picture")
    assert code == 0, err
    table, text = Table.read("r.sources.ecsv"), Path("r.sources.reg").read_text()
    found = re.findall(r"circle\(([\d.-]+),([\d.-]+),", text)
    assert "image" in text.splitlines() and len(found) == len(table) > 0
    for row, (x, y) in zip(table, found, strict=True):
        assert abs(float(x) - row["base_SdssCentroid_x"] - 1) < 1e-4
        assert abs(float(y) - row["base_SdssCentroid_y"] - 1) < 1e-4


def test_a30_no_candidate_is_success(run, work):
    argv = ("sci.fits", "tmpl.fits", "-o", "r", "--threshold", "100000", "--json", "--no-picture", "--no-report")
    code, out, err = run("subtract", *argv)
    assert code == 0 and json.loads(out)["metadata"]["nDiaSources"] == 0, err
    from stillsky.diffim import sourceSchema

    table, schema = Table.read("r.sources.ecsv"), sourceSchema()
    assert len(table) == 0 and table.colnames == schema.colnames
    for name in schema.colnames:
        assert table[name].unit == schema[name].unit and table[name].dtype.kind == schema[name].dtype.kind
    assert "circle" not in Path("r.sources.reg").read_text()


def test_forced_fluxes_of_the_table_of_sources(firstRun, run, tmp_path):
    """What was detected is measured again at its places: the same fluxes, from the files alone, of blends as well."""
    code, _, err = run("forced", firstRun / "r.diff.fits", firstRun / "r.sources.ecsv", "-o", tmp_path / "f.parquet")
    assert code == 0, err
    from stillsky.diffim.source_io import readSources

    sources, forced = Table.read(firstRun / "r.sources.ecsv"), readSources(tmp_path / "f.parquet")
    np.testing.assert_array_equal(forced["id"], sources["id"])
    for name in ("base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr"):
        good = ~forced["noCoverage"] & np.isfinite(sources[name])
        assert np.count_nonzero(good) > 5 and np.count_nonzero(good & sources["detect_fromBlend"]) > 2
        np.testing.assert_allclose(forced[name][good], sources[name][good], rtol=1e-4)


# ------------------------------------------------------------------------------- pixels in files


def test_a19_report_of_the_first_run(firstRun):
    text = (firstRun / "r.html").read_text()
    assert len(text) <= 5e6 and not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", text)
    block = re.search(r'<script type="application/json" id="stillsky-data">(.*?)</script>', text, re.S).group(1)
    assert json.loads(block) == json.loads((firstRun / "r.json").read_text())
    assert json.loads(block)["verdict"]["state"] == "green"
    assert "χ² per px" in text and "Each of them" in text
    assert '<html lang="en" class="noscript">' in text  # what scripts take away is there without them


def test_a22_compression(smallPair, tmp_path):
    science = smallPair[0].copy()
    science.image.array[30:34, 50:60] = np.nan
    for kind in ("none", "lossless", "lossy"):
        writeExposure(science, tmp_path / f"{kind}.fits", compress=kind)
    for kind in ("none", "lossless"):
        _samePlanes(sky.read(tmp_path / f"{kind}.fits"), science)
    lossy = sky.read(tmp_path / "lossy.fits")
    np.testing.assert_array_equal(lossy.mask.array, science.mask.array)
    good = np.isfinite(science.image.array)
    np.testing.assert_array_equal(np.isfinite(lossy.image.array), good)
    step = np.abs(lossy.image.array[good] - science.image.array[good]).max()
    assert 0 < step <= 0.51 * _robustSigma(science.image.array[good]) / 16


def test_a23_progress_is_called_and_silent_by_default(smallPair, capfd):
    seen = []

    def progress(iterable, desc="", total=None):
        for item in iterable:
            seen.append(desc)
            yield item

    sky.subtract(*smallPair, progress=progress)
    assert len(seen) >= 3
    sky.subtract(*smallPair)
    assert capfd.readouterr() == ("", "")


def test_a23_no_bar_without_a_terminal(run, work):
    err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r")[2]
    assert "\x1b" not in err and "\r" not in err and "━" not in err


def test_a24_layouts_of_arrays(smallPair, tmp_path):
    """Big-endian, non-contiguous, read-only and 16-bit unsigned pixels give what float32 gives."""
    science, template = smallPair
    counts = np.clip(np.round(science.image.array) + 1000, 0, 65535)
    variance, mask = science.variance.array, science.mask
    fits.writeto(tmp_path / "u.fits", counts.astype(np.uint16))
    wide = np.zeros((counts.shape[0], 2 * counts.shape[1]), np.float32)
    wide[:, ::2] = counts
    frozen = counts.astype(np.float32)
    frozen.setflags(write=False)
    with fits.open(tmp_path / "u.fits") as hdus:
        layouts = [counts.astype(np.float32), counts.astype(">f4"), counts.astype(">f8"), wide[:, ::2], frozen,
                   counts.astype(np.uint16), hdus[0].data, np.asfortranarray(counts.astype(np.float32))]  # fmt: skip
        results = []
        for pixels in layouts:
            made = sky.exposure(pixels, variance=variance, mask=mask, psf=science.psf, wcs=science.wcs)
            results.append(sky.subtract(made, template).difference)
    for result in results[1:]:
        _samePlanes(result, results[0])


@pytest.fixture(scope="module")
def roomyPair():
    """Exposures of 448 pixels a side: holes, grown by the kernel, leave stars."""
    pair = simulatePair(448, 5, starDensity=1500.0)
    return pair.science.toExposure(psf=True), pair.template.toExposure(psf=True)


_HOLES = st.lists(
    st.tuples(st.integers(0, 420), st.integers(0, 420), st.integers(1, 60), st.integers(1, 60)), min_size=0, max_size=6
)


@settings(
    max_examples=12, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(science=_HOLES, template=_HOLES, scattered=st.integers(0, 15), seed=st.integers(0, 1000))
def test_a25_nan_patterns(roomyPair, science, template, scattered, seed):
    """Rectangles and single pixels of NaN, at most 30 %, in either image."""
    rng = np.random.default_rng(seed)
    exposures = []
    for exposure, holes in zip(roomyPair, (science, template)):
        exposure = exposure.copy()
        broken = np.zeros(exposure.image.array.shape, bool)
        for y, x, h, w in holes:
            trial = broken.copy()
            trial[y : y + h, x : x + w] = True
            broken = trial if trial.mean() < 0.3 else broken
        broken[rng.integers(0, 448, scattered), rng.integers(0, 448, scattered)] = True
        exposure.image.array[broken] = np.nan
        exposures.append(exposure)
    out = sky.subtract(*exposures)
    difference = out.difference
    good = difference.mask.array == 0
    values = difference.image.array[good]
    assert np.isfinite(values).all() and np.isfinite(difference.variance.array[good]).all()
    # the standard error has two parts: of the median itself, and of the background, which the stars' stamps gave
    nStamps = out.metadata["nGoodCandidates"] * out.metadata["ALKernelSize"] ** 2
    nTerms = (out.metadata["spatialBgOrderUsed"] + 1) * (out.metadata["spatialBgOrderUsed"] + 2) // 2
    error = _robustSigma(values) * np.sqrt(1.2533**2 / len(values) + nTerms / nStamps)
    assert abs(np.median(values)) < 3 * error, (np.median(values), error, nStamps, nTerms)


def test_a25_nothing_but_scattered_nan():
    """Every tenth pixel is NaN, so that no kernel finds an intact neighbourhood: said plainly, no other failure."""
    pair = simulatePair(128, 5, starDensity=1500.0)
    science, template = pair.science.toExposure(psf=True), pair.template.toExposure(psf=True)
    rng = np.random.default_rng(1)
    template.image.array[rng.random(template.image.array.shape) < 0.1] = np.nan
    with pytest.raises(sky.errors.NoDataError):
        sky.subtract(science, template)


# ------------------------------------------------------------------------------- documentation


def _snippets():
    return re.findall(r"```python\n(.*?)```", _README.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("number", range(len(_snippets())))
def test_a26_readme_snippets(work, number, capsys):
    (work / "sci.fits").rename("science.fits")
    (work / "tmpl.fits").rename("template.fits")
    exec(compile(_snippets()[number], f"README.md snippet {number}", "exec"), {"__name__": "snippet"})
    assert "SubtractResult" in capsys.readouterr().out or number > 0


def test_a26_arrays_are_enough(smallPair):
    """The sentence below the README's snippet."""
    science, template = smallPair
    a, v, b, w = (plane.array for e in smallPair for plane in (e.image, e.variance))
    out = sky.subtract(sky.exposure(a, variance=v, mask=science.mask.array != 0), sky.exposure(b, variance=w))
    assert out.difference.image.array.shape == a.shape
    assert out.difference.mask.isSet("BAD")[science.mask.array != 0].all()
    assert "SubtractResult" in str(out) and out.kernel.imageAt(128.0, 128.0).ndim == 2


# -------------------------------------------------------------------------------- closed forms


def _noise(rng, variance, shape):
    pixels = rng.normal(0, np.sqrt(variance), shape).astype(np.float32)
    return sky.exposure(pixels, variance=np.full(shape, variance, np.float32)).maskedImage


def _convolved(source, kernel):
    for plane in ("NO_DATA", "EDGE"):
        source.mask.addPlane(plane)
    out = source.emptyLike()
    convolve(out, source, kernel, ConvolutionControl(doNormalize=False))
    return out


def _autocorrelation(pixels, dx, dy):
    h, w = pixels.shape
    a, b = pixels[dy:, dx:], pixels[: h - dy, : w - dx]
    return float(np.mean(a * b) / np.mean(pixels**2)), float(1 / np.sqrt(a.size))


def test_a27_delta_kernel_and_equal_noise(rng):
    """Identical images, independent noise of variance v: the difference has 2v and no correlation."""
    v, shape = 7.0, (400, 420)
    science, template = _noise(rng, v, shape), _noise(rng, v, shape)
    sky_ = rng.normal(500, 100, shape).astype(np.float32)
    for image in (science, template):
        image.image.array[:] += sky_
    science -= _convolved(template, FixedKernel(np.outer([0, 1, 0], [0, 1, 0]).astype(float)))
    inner = np.s_[1:-1, 1:-1]
    np.testing.assert_allclose(science.variance.array[inner], 2 * v, rtol=1e-6)
    pixels = science.image.array[inner].astype(float)
    assert abs(np.var(pixels) / (2 * v) - 1) < 4 * np.sqrt(2 / pixels.size)
    for dx in range(4):
        for dy in range(4):
            if dx or dy:
                rho, error = _autocorrelation(pixels, dx, dy)
                assert abs(rho) < 4 * error


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.5])
def test_a28_gaussian_kernel_and_noise_in_the_template_only(rng, sigma):
    """Pixel variance v/(4 pi sigma_k^2) within 1 %, correlation exp(-r^2 / 4 sigma_k^2), by variance plane and pixels."""
    v, half = 9.0, int(np.ceil(6 * sigma))
    g = np.arange(-half, half + 1.0)
    kernel = np.exp(-(g[:, None] ** 2 + g[None, :] ** 2) / (2 * sigma**2))
    difference = _noise(rng, 1.0, (900, 900))
    difference.image.array[:], difference.variance.array[:] = 0.0, 0.0
    difference -= _convolved(_noise(rng, v, (900, 900)), FixedKernel(kernel / kernel.sum()))
    inner = np.s_[half:-half, half:-half]
    predicted = v / (4 * np.pi * sigma**2)
    np.testing.assert_allclose(difference.variance.array[inner], predicted, rtol=0.01)
    pixels = difference.image.array[inner].astype(float)
    effective = pixels.size / (4 * np.pi * sigma**2)  # independent samples
    assert abs(np.var(pixels) / predicted - 1) < 4 * np.sqrt(2 / effective)
    for dx, dy in ((1, 0), (0, 1), (1, 1), (2, 0), (0, 3)):
        rho, _ = _autocorrelation(pixels, dx, dy)
        assert abs(rho - np.exp(-(dx * dx + dy * dy) / (4 * sigma**2))) < 4 / np.sqrt(effective)


def test_imports_stay_light(fresh):
    """`import stillsky` loads neither NumPy nor the middleware."""
    modules = set(fresh("import sys, stillsky; print(*sys.modules)", check=True).stdout.split())
    assert not {"numpy", "scipy", "astropy", "lsst.pex.config", "lsst.pipe.base", "matplotlib"} & modules
    assert sys.modules["stillsky"] is sky
