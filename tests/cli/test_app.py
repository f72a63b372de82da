"""The top level: help, version, usage errors, what they import and cost."""

import errno
import os
import resource
import subprocess
import sys
import warnings

import numpy as np
import pytest
from astropy.io import fits

from stillsky.cli import exits, main
from stillsky.cli.logs import LogSetup

_HEAVY = (
    "numpy",
    "scipy",
    "astropy",
    "matplotlib",
    "rich",
    "yaml",
    "lsst.pex.config",
    "lsst.pipe.base",
    "lsst.daf.butler",
)


def _modules(argv):
    """Modules loaded after running the command line in a fresh interpreter, and its exit code."""
    code = f"import sys; from stillsky.__main__ import main; c = main({argv!r}); print(c, *sys.modules, sep='\\n')"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout
    lines = out.splitlines()
    start = max(i for i, line in enumerate(lines) if line.isdigit())
    return int(lines[start]), set(lines[start + 1 :])


@pytest.mark.parametrize(
    "argv, code",
    [(["--help"], 0), (["--version"], 0), (["nothing"], 2), (["subtract"], 2), (["subtract", "--help"], 0), ([], 0)],
)
def test_help_version_and_usage_errors_import_nothing_heavy(argv, code):
    """A5."""
    got, modules = _modules(argv)
    assert got == code
    assert modules.isdisjoint(_HEAVY)


def test_help_costs_little_more_than_the_interpreter():
    """A5: user CPU below four times the bare interpreter plus 0.2 s."""

    def seconds(*argv):
        best = float("inf")
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            subprocess.run([sys.executable, *argv], capture_output=True, check=True)
            best = min(best, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
        return best

    assert seconds("-m", "stillsky", "--help") < 4 * seconds("-c", "pass") + 0.2


@pytest.mark.parametrize("argv", [["subtrac"], ["subtract", "a.fits"], ["subtract", "a", "b", "--nonsense"], ["info"]])
def test_usage_errors_have_three_parts(run, argv):
    code, out, err = run(*argv)
    assert code == 2 and out == ""
    what, found, remedy = err.splitlines()
    assert what.startswith("error[2]: ")
    assert found == "  found: stillsky " + " ".join(argv)
    assert remedy.startswith("  try: stillsky") and remedy.endswith("--help")


def test_misspelt_verb_is_guessed(run):
    assert "did you mean subtract" in run("subtrac")[2]


@pytest.mark.parametrize("verb, commands", [
    ("simulate", ["dcr", "flats", "pair"]), ("repo", ["create", "ingest", "skymap", "update", "check"])
])  # fmt: skip
def test_groups_of_commands_show_their_help(run, verb, commands):
    code, out, err = run(verb)
    assert code == 0 and err == "" and "..." not in out.replace("[ARGS]...", "")
    assert all(f"\n  {name}" in out for name in commands) and out == run(verb, "--help")[1]
    code, out, err = run(verb, commands[-1] + "s")
    assert code == 2 and f"no command '{commands[-1]}s'; did you mean {commands[-1]}?" in err


def test_lack_of_memory_is_no_mystery():
    parts = exits.describe(MemoryError("Unable to allocate 149. GiB"))
    assert parts["code"] == 1 and parts["message"] == "not enough memory" and "149. GiB" in parts["found"]
    assert "--region" in parts["remedy"] and "report it" not in parts["remedy"]


def test_a_full_disk_is_no_fault_of_an_input():
    """Exit 7 wherever it is met; who reads never sees these errors."""
    for number in (errno.ENOSPC, errno.EROFS, errno.EDQUOT):
        for error in (OSError(number, os.strerror(number)), OSError(number, os.strerror(number), "cut.npz")):
            parts = exits.describe(error)
            assert parts["code"] == 7 and parts["message"].startswith("cannot write")
            assert os.strerror(number) in parts["found"] and "-o" in parts["remedy"]
    assert exits.describe(OSError(errno.ENOENT, "No such file", "a.fits"))["code"] == 3


def test_warnings_of_python_go_to_the_log_alone(tmp_path, capsys):
    before = warnings.showwarning
    with warnings.catch_warnings(), LogSetup(0, str(tmp_path / "log")):
        warnings.simplefilter("always")
        warnings.warn("overflow encountered in cast", RuntimeWarning, stacklevel=1)
    assert warnings.showwarning is before and capsys.readouterr().err == ""
    assert "RuntimeWarning: overflow encountered" in (tmp_path / "log").read_text()


def test_every_verb_has_help(run):
    from stillsky.cli.app import _VERBS

    for verb in _VERBS:
        code, out, err = run(verb, "--help")
        assert code == 0 and "Usage: stillsky " + verb in out and err == ""


def test_rare_options_are_hidden_until_asked_for(run):
    short = run("subtract", "--help")[1]
    assert "--sci-weight" not in short and short.count("\n  -") <= 15
    full = run("subtract", "--help-all")[1]
    for option in (
        "--sci-mask",
        "--tmpl-var",
        "--tmpl-weight",
        "--sci-psf",
        "--fits-region",
        "--log-json",
        "--compress",
    ):
        assert option in full


def test_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m stillsky --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_readers_that_go_away_stop_no_work(tmp_path, monkeypatch, stream):
    """``| head`` and ``2>&1 | head``: no error, and the products are there."""
    fits.writeto(tmp_path / "a.fits", np.ones((40, 50), np.float32))
    argv = ["info", f"{tmp_path}/a.fits", f"{tmp_path}/a.fits"]
    if stream == "stderr":
        argv = ["map", f"{tmp_path}/a.fits", "--mapper", "statistics", "-o", f"{tmp_path}/m", "-v"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        monkeypatch.setattr(sys, stream, broken)
        assert main(argv) == 0
    assert stream == "stdout" or (tmp_path / "m.ecsv").exists()
