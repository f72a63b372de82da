"""The real command line on real and simulated files: folders, runs, checksums."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from astropy.io import fits

import stillsky
from stillsky.cli import main


def checksums(folder):
    """Digest of every file below a folder, by relative name."""
    folder = Path(folder)
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def edited(source, target, change):
    """Copy of a FITS file after ``change(hduList)``."""
    with fits.open(source) as hdus:
        change(hdus)
        hdus.writeto(target, overwrite=True)
    return target


def environment():
    """Environment in which a new interpreter finds this stillsky."""
    paths = [str(Path(stillsky.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="session")
def tools():
    """Helpers: ``checksums(folder)``, ``edited(source, target, change)``, ``environment()``."""
    return SimpleNamespace(checksums=checksums, edited=edited, environment=environment)


@pytest.fixture
def run(capsys):
    """``run(*argv)`` gives exit code, stdout and stderr of the command line, in this process."""

    def call(*argv):
        code = main([str(a) for a in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def fresh():
    """``fresh(code)`` runs Python code in an interpreter of its own."""

    def call(code, **options):
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment(), **options
        )

    return call


@pytest.fixture(scope="session")
def pairFolder(tmp_path_factory):
    """A simulated pair of 320 pixels a side: sci.fits, tmpl.fits, truth.ecsv."""
    folder = tmp_path_factory.mktemp("pair")
    assert main(["simulate", "pair", "--size", "320", "--seed", "3", "-q", "-o", f"{folder}/"]) == 0
    return folder


@pytest.fixture
def work(tmp_path, pairFolder, monkeypatch):
    """A fresh current folder with copies of the pair."""
    for name in ("sci.fits", "tmpl.fits"):
        shutil.copy(pairFolder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
