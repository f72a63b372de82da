"""What an import loads, and where the C++ library is found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("numpy", "scipy", "astropy", "lsst", "matplotlib", "click", "rich", "stillsky._core")


def run(*args, **kwargs):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=True, **kwargs)


def testImportingThePackageLoadsNothingHeavy():
    """The time itself (30 ms) depends on the machine; what costs it is the list of modules."""
    log = run("-X", "importtime", "-c", "import stillsky").stderr
    loaded = [line.rsplit("|", 1)[1].strip() for line in log.splitlines() if line.startswith("import time:")]
    assert "stillsky" in loaded
    for name in HEAVY:
        assert not any(m == name or m.startswith(name + ".") for m in loaded), name


def testEveryLazyNameIsLoadedOnFirstUse():
    code = (
        "import sys, stillsky\n"
        "names = [n for n in stillsky.__all__ if not n.startswith('_')]\n"
        "assert set(names) <= set(dir(stillsky))\n"
        "stillsky.DomainError\n"
        "print(len(names), 'numpy' in sys.modules)\n"
    )
    n, numpy = run("-c", code).stdout.split()
    assert int(n) > 20 and numpy == "False"


def testUnknownNamesAreAttributeErrors():
    import stillsky

    with pytest.raises(AttributeError, match="noSuchName"):
        stillsky.noSuchName  # noqa: B018


def testAlgorithmsDoNotLoadTheTaskFramework():
    code = (
        "import sys, stillsky.diffim, stillsky.psfmatch.algorithm, stillsky.psfmatch.config, stillsky.warp, stillsky.fits\n"
        "print([m for m in sys.modules if m.startswith(('lsst.pipe', 'lsst.daf.butler', 'matplotlib'))])\n"
    )
    assert run("-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize("option, last", [("--cmake-dir", "stillsky"), ("--include-dir", "include")])
def testFoldersOfTheLibraryAreAbsoluteAndNeedNoNumpy(option, last):
    code = f"import sys; from stillsky.__main__ import main; main(['{option}']); assert 'numpy' not in sys.modules"
    printed = run("-c", code).stdout.strip()
    assert run("-m", "stillsky", option).stdout.strip() == printed
    path = Path(printed)
    assert path.is_absolute() and path.name == last
    package = path.parents[2] if option == "--cmake-dir" else path.parent
    installed = (package / "lib").is_dir()
    if os.environ.get("STILLSKY_INSTALLED"):
        assert installed
    if installed:
        assert path.is_dir() and any(path.iterdir())
