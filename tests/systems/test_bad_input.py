"""Input that cannot be subtracted: the exit code, three lines that help, nothing left behind, nothing changed."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

_SUBTRACT = ("subtract", "sci.fits", "tmpl.fits", "-o", "r")


def _threeParts(err, code):
    """The last three lines of stderr: what, found, remedy; returns them. No traceback anywhere."""
    lines = [line for line in err.splitlines() if line]
    assert len(lines) >= 3, err
    what, found, remedy = lines[-3:]
    assert what.startswith(f"error[{code}]: ") and len(what) > len("error[0]: ") + 8, err
    assert found.startswith("  found: ") and len(found) > len("  found: ") + 2, err
    assert remedy.startswith("  try: ") and len(remedy) > len("  try: ") + 5, err
    assert "Traceback" not in err
    return what, found, remedy


def _refused(run, tools, code, *argv):
    """Run ``subtract``; it must end with this code and leave the folder as it was. Returns the three lines."""
    before = tools.checksums(".")
    got, out, err = run("subtract", *argv, "-o", "r")
    assert got == code, err
    assert out == ""
    assert tools.checksums(".") == before
    assert not [name for name in os.listdir(".") if "partial" in name]
    return _threeParts(err, code)


def _plain(name, pixels, **cards):
    fits.writeto(name, pixels, fits.Header(cards), overwrite=True)
    return name


def _noise(rng, shape, sky=100.0, sigma=5.0):
    return rng.normal(sky, sigma, shape).astype(np.float32)


# ------------------------------------------------------------------------------ files


@pytest.mark.parametrize("role", ["science", "template"])
@pytest.mark.parametrize(
    "kind", ["missing", "folder", "text", "empty", "header only", "truncated", "cut header", "extension", "table"]
)
def test_files_that_are_no_images(run, tools, work, kind, role):
    name = "bad.fits"
    good = (work / "sci.fits").read_bytes()
    if kind == "folder":
        (work / name).mkdir()
    elif kind == "text":
        (work / name).write_text("this is no image\n" * 500)
    elif kind == "empty":
        (work / name).write_bytes(b"")
    elif kind == "header only":
        fits.PrimaryHDU().writeto(name)
    elif kind == "truncated":
        (work / name).write_bytes(good[: len(good) // 3])
    elif kind == "cut header":
        (work / name).write_bytes(good[:2000])
    elif kind == "extension":
        name = "sci.fits[NOSUCH]"
    elif kind == "table":
        Table({"a": [1, 2]}).write(name)
    pair = (name, "tmpl.fits") if role == "science" else ("sci.fits", name)
    what, found, _ = _refused(run, tools, 3, *pair)
    assert name.partition("[")[0] in what + found


def test_side_files_that_do_not_fit(run, tools, work, rng):
    _plain("small.fits", _noise(rng, (10, 10)))
    for option in ("--sci-mask", "--sci-var", "--tmpl-weight", "--tmpl-psf"):
        _refused(run, tools, 3, "sci.fits", "tmpl.fits", option, "nosuch.fits")
    for option in ("--sci-var", "--tmpl-weight"):
        got, _, err = run(*_SUBTRACT, option, "small.fits")
        assert got in (3, 4), err
        _threeParts(err, got)


def test_star_tables_that_cannot_be_used(run, tools, work):
    _refused(run, tools, 3, "sci.fits", "tmpl.fits", "--stars", "nosuch.txt")
    (work / "words.txt").write_text("a b c\nd e f\n")
    _refused(run, tools, 3, "sci.fits", "tmpl.fits", "--stars", "words.txt")


# ----------------------------------------------------------------- images that do not belong together


def test_shapes_differ_without_wcs(run, tools, work, rng):
    _plain("a.fits", _noise(rng, (100, 120)))
    _plain("b.fits", _noise(rng, (90, 120)))
    what, found, _ = _refused(run, tools, 4, "a.fits", "b.fits")
    assert "shape" in what and "120x100" in found and "120x90" in found


def test_wcs_on_one_side_only_and_different_shapes(run, tools, work, rng):
    _plain("a.fits", _noise(rng, (100, 120)))
    for pair in (("a.fits", "tmpl.fits"), ("sci.fits", "a.fits")):
        what, _, _ = _refused(run, tools, 4, *pair)
        assert "only one image has a WCS" in what


@pytest.mark.parametrize("degrees", [0.1, 5.0, 90.0, 180.0])
def test_no_overlap_on_the_sky(run, tools, work, degrees):
    def move(hdus):
        for hdu in hdus:
            if "CRVAL1" in hdu.header:
                hdu.header["CRVAL1"] += degrees

    tools.edited("tmpl.fits", "far.fits", move)
    what, _, remedy = _refused(run, tools, 4, "sci.fits", "far.fits")
    assert "overlap" in what and "WCS" in remedy


def test_units_that_differ(run, tools, work):
    def change(hdus):
        hdus["IMAGE"].header["BUNIT"] = "nJy"

    tools.edited("tmpl.fits", "njy.fits", change)
    what, found, _ = _refused(run, tools, 4, "sci.fits", "njy.fits")
    assert "unit" in what and "nJy" in found


# ------------------------------------------------------------------------------ no data


def _maskAll(hdus):
    hdus["MASK"].data[:] = 1 << hdus["MASK"].header["MP_BAD"]


def _nanAll(hdus):
    hdus["IMAGE"].data[:] = np.nan


def _constant(hdus):
    hdus["IMAGE"].data[:] = 100.0


def _noVariance(hdus):
    hdus["VARIANCE"].data[:] = 0.0


@pytest.mark.parametrize("role", ["science", "template"])
@pytest.mark.parametrize(
    "change, word", [(_maskAll, "no usable pixel"), (_nanAll, "no usable pixel"), (_constant, "constant")]
)
def test_image_without_information(run, tools, work, change, word, role):
    source = "sci.fits" if role == "science" else "tmpl.fits"
    tools.edited(source, "bad.fits", change)
    pair = ("bad.fits", "tmpl.fits") if role == "science" else ("sci.fits", "bad.fits")
    what, _, _ = _refused(run, tools, 5, *pair)
    assert word in what and role in what


def test_zero_variance_in_both_images(run, tools, work):
    tools.edited("sci.fits", "s.fits", _noVariance)
    tools.edited("tmpl.fits", "t.fits", _noVariance)
    what, _, remedy = _refused(run, tools, 5, "s.fits", "t.fits")
    assert "variance" in what and "--sci-var" in remedy


def test_noise_free_template_is_no_error(run, work, tools):
    """An input is refused only if no pixel has V_S + V_T > 0. What is left is the variance of the science image."""
    tools.edited("tmpl.fits", "exact.fits", _noVariance)
    code, _, err = run("subtract", "sci.fits", "exact.fits", "-o", "r", "--convolve", "template")
    assert code == 0, err
    with fits.open("r.diff.fits") as hdus:
        good = (hdus["MASK"].data == 0) & np.isfinite(hdus["IMAGE"].data)
        assert good.mean() > 0.5
        science = fits.getdata("sci.fits", "VARIANCE")
        np.testing.assert_allclose(hdus["VARIANCE"].data[good], science[good], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint16])
def test_constant_plain_images(run, tools, work, dtype):
    _plain("c.fits", np.full((100, 120), 7, dtype))
    _refused(run, tools, 5, "c.fits", "c.fits")


def test_noise_without_stars(run, tools, work, rng):
    for name in ("a.fits", "b.fits"):
        _plain(name, _noise(rng, (200, 220)))
    what, found, _ = _refused(run, tools, 5, "a.fits", "b.fits")
    assert "too few stars" in what and "science" in what


def test_all_stars_saturated(run, tools, work):
    """Every object touches a saturated pixel: the message counts them."""
    what, _, _ = _refused(run, tools, 5, "sci.fits", "tmpl.fits", "-c", "stars.saturatedPlanes=[BAD,SAT,DETECTED]",
                          "--sci-mask", _allDetected(work))  # fmt: skip
    assert "too few stars" in what


def _allDetected(work):
    with fits.open(work / "sci.fits") as hdus:
        mask = hdus["MASK"]
        mask.data[:] |= 1 << mask.header["MP_DETECTED"]
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(mask.data, mask.header)]).writeto(work / "det.fits")
    return "det.fits[MASK]"


def test_given_stars_that_are_useless(run, tools, work):
    (work / "stars.txt").write_text("".join(f"{-500 - i} {-500}\n" for i in range(20)))
    what, _, _ = _refused(run, tools, 5, "sci.fits", "tmpl.fits", "--stars", "stars.txt")
    assert "candidate" in what
    (work / "two.txt").write_text("100 100\n200 200\n")
    _refused(run, tools, 5, "sci.fits", "tmpl.fits", "--stars", "two.txt")


@pytest.mark.parametrize("size", [1, 2, 5, 16, 40])
def test_tiny_images(run, tools, work, rng, size):
    for name in ("a.fits", "b.fits"):
        _plain(name, _noise(rng, (size, size)))
    _refused(run, tools, 5, "a.fits", "b.fits")


def test_kernel_larger_than_the_image(run, tools, work):
    """The kernel that was asked for does not fit: told before its functions, 100 million numbers each, are made."""
    asked = ("-c", "psfmatch.scaleByFwhm=false", "-c", "psfmatch.kernelSize=10001")
    what, found, _ = _refused(run, tools, 5, "sci.fits", "tmpl.fits", *asked)
    assert "kernel" in what and "10001" in found and "320x320" in found


# ------------------------------------------------------------------------- configuration


def test_unknown_configuration_key_names_the_closest_three(run, tools, work):
    """A17."""
    _, _, remedy = _refused(run, tools, 2, "sci.fits", "tmpl.fits", "-c", "psfmatch.spatialKernlOrder=1")
    names = remedy.split("did you mean ")[1].rstrip("?").split(", ")
    assert len(names) == 3 and names[0] == "psfmatch.spatialKernelOrder"


@pytest.mark.parametrize(
    "assignment",
    [
        "psfmatch.spatialKernelOrder=-1",
        "psfmatch.spatialKernelOrder=100000",
        "psfmatch.spatialKernelOrder=abc",
        "psfmatch.kernelSize=4",
        "requiredTemplateFraction=1.5",
        "convolve=both",
        "warp.warpingKernelName=lanczos0",
    ],
)
def test_values_out_of_range(run, tools, work, assignment):
    key, _, value = assignment.partition("=")
    what, found, _ = _refused(run, tools, 2, "sci.fits", "tmpl.fits", "-c", assignment)
    assert key in what and value in found and "-c" in found


def test_usage_errors(run, tools, work):
    _refused(run, tools, 2, "sci.fits")
    for wrong in (("--nonsense",), ("--convolve", "x"), ("--region", "5:1,0:9"), ("--preset", "nosuch")):
        _refused(run, tools, 2, "sci.fits", "tmpl.fits", *wrong)


# -------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", [".diff.fits", ".kernel.fits", ".json", ".png", ".html"])
def test_existing_output_is_kept(run, tools, work, suffix):
    (work / f"r{suffix}").write_text("precious")
    _, found, remedy = _refused(run, tools, 7, "sci.fits", "tmpl.fits")
    assert f"r{suffix}" in found and "--overwrite" in remedy
    assert (work / f"r{suffix}").read_text() == "precious"


def test_inputs_are_never_an_output(run, tools, work):
    """A prefix that would replace an input is refused like any existing file."""
    shutil.copy("sci.fits", "sci.diff.fits")
    before = tools.checksums(".")
    code, _, err = run("subtract", "sci.diff.fits", "tmpl.fits", "-o", "sci")
    assert code == 7 and tools.checksums(".") == before
    _threeParts(err, 7)


def test_folder_that_does_not_exist(run, tools, work):
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "no/such/r")
    assert code == 7 and not os.path.exists("no")
    _threeParts(err, 7)


@pytest.mark.parametrize("name", ["fits.writeExposure", "fits.writeKernel", "report.savePng"])
def test_full_disk_while_a_product_is_written(run, tools, work, monkeypatch, name):
    """Half a file is written, then the disk is full."""

    def full(product, path, *args, **kwargs):
        with open(path, "wb") as stream:
            stream.write(b"x" * 10000)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(f"stillsky.{name}", full)
    what, found, _ = _refused(run, tools, 7, "sci.fits", "tmpl.fits")
    assert "No space left on device" in what and "nothing was left" in found


def _limited():
    # what is written beyond a megabyte fails in the operating system, as it does on a full disk
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_writes_that_the_system_refuses(tools, work):
    before = tools.checksums(".")
    done = subprocess.run(
        [sys.executable, "-m", "stillsky", *_SUBTRACT], capture_output=True, text=True, timeout=120,
        env=tools.environment(), preexec_fn=_limited,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    _threeParts(done.stderr, 7)
    assert tools.checksums(".") == before and not [n for n in os.listdir(".") if "partial" in n]


# ------------------------------------------------------------------------------ interrupts


@pytest.fixture
def interruptible():
    """A shell starts background jobs with interrupts ignored, which children inherit; a handled signal they do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("moment", ["template: already aligned", "convolved: ", "kernel: "])
def test_interrupt_leaves_nothing(tools, work, interruptible, moment):
    """Ctrl-C after this line of the log: 130, and the folder as it was."""
    before = tools.checksums(".")
    process = subprocess.Popen(
        [sys.executable, "-m", "stillsky", *_SUBTRACT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=tools.environment(),
    )  # fmt: skip
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith(moment):
            process.send_signal(signal.SIGINT)
            break
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130, "".join(said) + rest
    assert rest.endswith("interrupted; partial products removed\n") and "Traceback" not in rest
    assert tools.checksums(".") == before


def _interruptWhileWriting(tools):
    """Exit code and messages of a run that gets Ctrl-C once its staging folder exists."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stillsky", *_SUBTRACT, "--overwrite"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, env=tools.environment(),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while process.poll() is None and not [n for n in os.listdir(".") if "partial" in n]:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)[1], process.returncode


def test_interrupt_while_products_are_written(tools, work, interruptible):
    """Ctrl-C as soon as the staging folder appears beside the products."""
    before = tools.checksums(".")
    for _ in range(5):  # a busy machine may let the run finish before the signal is sent
        err, code = _interruptWhileWriting(tools)
        if code != 0:
            break
        for name in set(tools.checksums(".")) - set(before):
            os.remove(name)
    assert code == 130, err
    assert err.endswith("interrupted; partial products removed\n") and "Traceback" not in err
    assert tools.checksums(".") == before and not [n for n in os.listdir(".") if "partial" in n]


def test_inputs_are_not_modified_by_a_run_that_works(run, tools, work):
    before = tools.checksums(".")
    assert run(*_SUBTRACT, "-q")[0] == 0
    assert {k: v for k, v in tools.checksums(".").items() if k in before} == before
