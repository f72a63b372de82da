"""The verbs subtract and psfmatch around a stand-in for the job: products, summary, exit codes, messages."""

import errno
import json
import os

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from stillsky import errors
from stillsky.cli.exits import codeOf, describe
from stillsky.fits import readKernel

_PRODUCTS = [
    "r.diff.fits", "r.html", "r.json", "r.kernel.fits", "r.matched.fits", "r.png", "r.sources.ecsv", "r.sources.reg"
]  # fmt: skip


def _new(folder):
    return sorted(f for f in os.listdir(folder) if not f.startswith(("sci.fits", "tmpl.fits")))


def _threeParts(err, code):
    """The error's three lines are the last ones; no traceback."""
    lines = [line for line in err.splitlines() if line]
    assert lines[-3].startswith(f"error[{code}]: ") and len(lines[-3]) > 12
    assert lines[-2].startswith("  found: ") and len(lines[-2]) > 10
    assert lines[-1].startswith("  try: ") and len(lines[-1]) > 8
    assert "Traceback" not in err


def test_products_and_fixed_first_and_last_lines(fakeSubtract, work, run):
    code, out, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r")
    assert code == 0 and out == ""
    assert _new(work) == _PRODUCTS
    lines = err.splitlines()
    assert lines[0].startswith("inputs: science sci.fits 128x128 px, WCS, PSF; template tmpl.fits 128x128 px")
    assert lines[-1].startswith("result: convolved template; kernel sum 1.031; sky chi 1.010; ")
    assert lines[-1].endswith("r.diff.fits")
    assert "kernel: 3x3 px" in lines and "warning[W-DECONV]: the kernel sharpens" in lines
    assert isinstance(readKernel("r.kernel.fits").kernel.imageAt(0.0, 0.0), np.ndarray)


def test_method_zogy_is_handed_on_and_its_score_kept(fakeSubtract, work, run):
    assert run("subtract", "sci.fits", "tmpl.fits", "-o", "r")[0] == 0
    assert fakeSubtract.calls[-1]["method"] == "al"  # never the default
    code = run("subtract", "sci.fits", "tmpl.fits", "-o", "z", "--method", "zogy", "--keep")[0]
    assert code == 0 and fakeSubtract.calls[-1]["method"] == "zogy"
    assert {"z.score.fits", "z.warped.fits", "z.diff.fits"} <= set(os.listdir(work))
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "q", "--method", "magic")
    assert code == 2 and "magic" in err


def test_default_prefix_is_stem_and_verb_in_the_current_folder(fakeSubtract, work, run):
    assert run("subtract", "sci.fits", "tmpl.fits")[0] == 0
    assert "sci.subtract.diff.fits" in os.listdir(work)
    os.mkdir("out")
    assert run("subtract", "sci.fits", "tmpl.fits", "-o", "out/")[0] == 0
    assert "sci.subtract.diff.fits" in os.listdir("out")


def test_json_is_one_document_with_the_agreed_keys(fakeSubtract, work, run):
    """A18."""
    code, out, _ = run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--json", "-c", "psfmatch.tolerance=1e-3")
    document = json.loads(out)
    needed = {"version", "inputs", "config", "metadata", "products", "warnings", "timings", "exit"}
    assert needed <= set(document)
    assert document["exit"] == code == 0
    assert document["products"] == _PRODUCTS
    assert document["metadata"] == {"spatialKernelSum": 1.031, "skyChi": 1.01, "bad": None}
    assert document["config"]["values"]["psfmatch.tolerance"] == 1e-3
    assert document["config"]["origins"]["psfmatch.tolerance"] == "-c"
    assert document["config"]["origins"]["convolve"] == "default"
    assert document["warnings"] == [{"code": "W-DECONV", "message": "the kernel sharpens", "allowed": False}]
    assert document["inputs"]["science"]["provenance"] and document["decisions"] == ["kernel: 3x3 px"]
    saved = json.loads((work / "r.json").read_text())
    assert saved == document


def test_dry_run_touches_nothing(fakeSubtract, work, run):
    code, out, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--dry-run", "-c", "convolve=science")
    assert code == 0 and _new(work) == [] and fakeSubtract.calls == []
    assert "convolve: 'science' (default 'auto'; from -c)" in err and "r.diff.fits" in err
    assert "inputs: science" in err


def test_allowed_warning_is_silent_but_kept(fakeSubtract, work, run):
    _, out, err = run("subtract", "sci.fits", "tmpl.fits", "--json", "--allow", "W-DECONV")
    assert "W-DECONV" not in err
    assert json.loads(out)["warnings"][0]["allowed"] is True


def test_quiet_and_verbose(fakeSubtract, work, run):
    assert run("subtract", "sci.fits", "tmpl.fits", "-q")[2] == "warning[W-DECONV]: the kernel sharpens\n"
    assert run("subtract", "sci.fits", "tmpl.fits", "-qq", "--overwrite")[2] == ""


def test_dedicated_option_beats_c(fakeSubtract, work, run):
    run("subtract", "sci.fits", "tmpl.fits", "-c", "convolve=science", "--convolve", "template")
    assert fakeSubtract.calls[0]["config"].convolve == "template"


def test_psfmatch_writes_the_kernel_only(fakeSubtract, work, run):
    code, _, err = run("psfmatch", "sci.fits", "tmpl.fits", "-o", "k")
    assert code == 0 and _new(work) == ["k.json", "k.kernel.fits"]
    assert err.splitlines()[-1].startswith("result: kernel of the template; sum 1.031")
    assert readKernel("k.kernel.fits").metadata["CONVOLVD"] == "template"


def test_keep_writes_the_warped_template_too(fakeSubtract, work, run):
    code, out, _ = run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--keep", "--json")
    assert code == 0 and fakeSubtract.calls[0]["keepWarped"] is True
    assert _new(work) == sorted([*_PRODUCTS, "r.footprints.fits", "r.warped.fits"]) == json.loads(out)["products"]
    assert run("subtract", "sci.fits", "tmpl.fits", "-o", "s", "--keep", "--dry-run")[2].count("s.warped.fits") == 1
    os.rename("r.warped.fits", "t.warped.fits")
    assert run("subtract", "sci.fits", "tmpl.fits", "-o", "t", "--keep")[0] == 7
    assert run("subtract", "sci.fits", "tmpl.fits", "-o", "t")[0] == 0


def test_regions_cut_the_science_image(fakeSubtract, work, run):
    run("subtract", "sci.fits", "tmpl.fits", "--region", "10:74,20:120")
    run("subtract", "sci.fits", "tmpl.fits", "--fits-region", "11:74,21:120", "--overwrite")
    for call in fakeSubtract.calls:
        box = call["science"].bbox
        assert (box.minX, box.minY, box.width, box.height) == (10, 20, 64, 100)
        assert call["template"].width == 128  # the WCS tells which part of it matches
    assert run("subtract", "sci.fits", "tmpl.fits", "--region", "0:1")[0] == 2
    assert run("subtract", "sci.fits", "tmpl.fits", "--region", "0:9,0:9", "--fits-region", "1:9,1:9")[0] == 2


def test_pair_without_wcs_is_cut_alike(fakeSubtract, work, run):
    for name in ("a.fits", "b.fits"):
        fits.PrimaryHDU(np.random.default_rng(1).normal(100, 5, (60, 60)).astype(np.float32)).writeto(name)
    assert run("subtract", "a.fits", "b.fits", "--region", "10:50,20:60")[0] == 0
    assert [fakeSubtract.calls[0][k].width for k in ("science", "template")] == [40, 40]


def test_stars_from_tables(fakeSubtract, work, run):
    table = Table({"x": [10.0, 20.0], "y": [30.0, 40.0]})
    table.write("s.ecsv")
    np.savetxt("s.txt", np.array([[10.0, 30.0], [20.0, 40.0]]))
    run("subtract", "sci.fits", "tmpl.fits", "--stars", "s.ecsv")
    science = fakeSubtract.calls[0]["science"]
    ra, dec = science.wcs.pixelToSky(np.array(table["x"]), np.array(table["y"]))
    Table({"RA": np.degrees(ra), "Dec": np.degrees(dec)}).write("s.csv")
    for name in ("s.txt", "s.csv"):
        run("subtract", "sci.fits", "tmpl.fits", "--stars", name, "--overwrite")
    for call in fakeSubtract.calls:
        np.testing.assert_allclose(np.array(call["stars"]), [[10.0, 20.0], [30.0, 40.0]], atol=1e-6)
    Table({"a": [1.0]}).write("bad.ecsv")
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "--stars", "bad.ecsv", "--overwrite")
    assert code == 3
    _threeParts(err, 3)


# ------------------------------------------------------------------------------- exit codes

_CASES = [
    (errors.DomainError("kernelSize must be odd"), 2),
    (errors.FitsLayoutError("no image"), 3),
    (FileNotFoundError(2, "no such file", "x.fits"), 3),
    (errors.ShapeError("shapes differ"), 4),
    (errors.MaskSchemaError("planes differ"), 4),
    (errors.NoDataError("too few stars", found="4 of 31", remedy="--stars FILE"), 5),
    (errors.NumericalError("singular matrix"), 6),
    (np.linalg.LinAlgError("singular"), 6),
    (ZeroDivisionError("division by zero"), 1),
    (MemoryError(), 1),
]


@pytest.mark.parametrize("error, expected", _CASES, ids=lambda v: type(v).__name__)
def test_every_error_class_has_its_exit_code_and_three_parts(fakeSubtract, work, run, error, expected):
    """A14."""
    fakeSubtract.error = error
    code, out, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--json")
    assert code == expected
    _threeParts(err, expected)
    document = json.loads(out)
    assert document["exit"] == expected and document["products"] == []
    assert document["error"]["code"] == expected and document["error"]["class"] == type(error).__name__
    assert _new(work) == []


def test_found_and_remedy_of_the_error_are_shown(fakeSubtract, work, run):
    fakeSubtract.error = errors.NoDataError("too few stars", found="4 of 31\nusable", remedy="--stars FILE")
    err = run("subtract", "sci.fits", "tmpl.fits")[2]
    assert err.splitlines()[-3:] == ["error[5]: too few stars", "  found: 4 of 31 usable", "  try: --stars FILE"]


def test_mismatch_error_of_any_origin_means_4():
    class MismatchError(errors.StillskyError, ValueError):
        pass

    class OverlapError(MismatchError):
        pass

    assert codeOf(OverlapError("no overlap")) == 4
    assert describe(OverlapError("no overlap"))["remedy"]


def test_unexpected_error_puts_its_traceback_into_the_log_file_only(fakeSubtract, work, run):
    fakeSubtract.error = ZeroDivisionError("division by zero")
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "--log-file", "log.txt")
    assert code == 1 and "Traceback" not in err
    assert "ZeroDivisionError" in (work / "log.txt").read_text() and "Traceback" in (work / "log.txt").read_text()
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "--debug")
    assert code == 1 and "Traceback" in err


def test_log_lines_as_json(fakeSubtract, work, run):
    code, _, _ = run("subtract", "sci.fits", "tmpl.fits", "--log-file", "log.jsonl", "--log-json")
    lines = [json.loads(line) for line in (work / "log.jsonl").read_text().splitlines()]
    assert code == 0 and lines[0]["level"] == "INFO" and lines[0]["message"].startswith("inputs: ")
    err = run("subtract", "sci.fits", "tmpl.fits", "--log-json", "--overwrite")[2]
    assert all(json.loads(line) for line in err.splitlines())


def test_interrupt_exits_130_and_leaves_nothing(fakeSubtract, work, run):
    fakeSubtract.error = KeyboardInterrupt()
    code, out, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--json")
    assert code == 130 and err.endswith("interrupted; partial products removed\n") and _new(work) == []
    assert json.loads(out)["exit"] == 130


def test_existing_output_is_refused_before_any_work(fakeSubtract, work, run):
    (work / "r.png").write_text("old")
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r")
    assert code == 7 and fakeSubtract.calls == []
    _threeParts(err, 7)
    assert "inputs:" not in err and (work / "r.png").read_text() == "old" and _new(work) == ["r.png"]
    assert run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--overwrite")[0] == 0
    assert _new(work) == _PRODUCTS


def test_full_disk_exits_7_and_leaves_nothing(fakeSubtract, work, run, monkeypatch):
    import stillsky.report

    def full(figure, path, dpi=100):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(stillsky.report, "savePng", full)
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r")
    assert code == 7 and _new(work) == []
    _threeParts(err, 7)
    assert "No space left on device" in err


def test_output_folder_that_does_not_exist(fakeSubtract, work, run):
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "no/such/r")
    assert code == 7 and fakeSubtract.calls == []
    _threeParts(err, 7)


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "empty", "truncated", "extension", "table"])
def test_unreadable_inputs_exit_3(fakeSubtract, work, run, kind, pairFiles):
    path = work / "bad.fits"
    name = "bad.fits"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("this is no image\n" * 500)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes((pairFiles / "sci.fits").read_bytes()[:30000])
    elif kind == "extension":
        name = "sci.fits[NOSUCH]"
    elif kind == "table":
        Table({"a": [1, 2]}).write(path)
    for argv in ((name, "tmpl.fits"), ("sci.fits", name)):
        code, _, err = run("subtract", *argv, "-o", "r")
        assert code == 3, err
        _threeParts(err, 3)
        assert fakeSubtract.calls == [] and "r.json" not in os.listdir(work)
        found, remedy = err.splitlines()[-2:]
        assert "Error" not in found and "ignore_missing" not in err  # facts about the file, not names of our classes
        assert remedy.split("try: ")[1]


def test_terminated_run_leaves_nothing(work, fresh):
    """SIGTERM while products are being written: nothing stays, and the exit status says so."""
    code = (
        "import os, signal, sys\n"
        "from stillsky.cli.products import StagedProducts\n"
        "from stillsky.cli.run import runVerb\n"
        "def body(run):\n"
        "    with StagedProducts('r', ['.a']) as output:\n"
        "        open(output.path('.a'), 'w').write('x')\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(runVerb('test', {}, body))\n"
    )
    done = fresh(code)
    assert done.returncode == 143 and _new(work) == []


def test_plain_path_never_imports_the_middleware(work, fresh):
    """A6, up to the job itself: the whole command is checked by the system tests."""
    code = "import sys; from stillsky.cli import main; main(['info', 'sci.fits']); print(*sys.modules)"
    out = fresh(code, check=True).stdout
    assert not {"lsst.pipe.base", "lsst.daf.butler", "matplotlib"} & set(out.split())


@pytest.mark.parametrize("error", [e for e, _ in _CASES] + [errors.DomainError("size: wanted odd, got 4")])
def test_aClassNameIsNoFinding(fakeSubtract, work, run, error):
    fakeSubtract.error = error
    (found,) = (
        line for line in run("subtract", "sci.fits", "tmpl.fits")[2].splitlines() if line.startswith("  found: ")
    )
    assert "Error" not in found and (found == "  found: 4" or "got 4" not in str(error))


def test_twoNoisePlanesOfOneImageAreRefused(run, work):
    code, _, err = run(
        "subtract", "sci.fits", "tmpl.fits", "--sci-var", "sci.fits", "--sci-weight", "tmpl.fits", "-o", "r"
    )
    assert code == 2 and "found: --sci-var and --sci-weight" in err and _new(work) == []
