"""Another package whose extension links the installed C++ library."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_PROJECT = Path(__file__).resolve().parents[2] / "cpp" / "tests" / "extension"

_USE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, scipy.ndimage, extension_example, stillsky
assert extension_example.stillskyVersion == stillsky.__version__
image = np.random.default_rng(1).normal(size=(60, 80)).astype(np.float32)
out = extension_example.smooth(image, 13, 1.7)
y, x = np.mgrid[-6:7, -6:7]
kernel = np.exp(-(x**2 + y**2) / (2 * 1.7**2))
truth = scipy.ndimage.correlate(image.astype(float), kernel / kernel.sum())
np.testing.assert_allclose(out[6:-6, 6:-6], truth[6:-6, 6:-6], atol=1e-5)
try:
    extension_example.smooth(image.astype(float), 13, 1.7)
except TypeError:
    print("same numbers")
"""


def _installed():
    """Whether an installed stillsky, not a source tree, answers for the package."""
    points = importlib.metadata.entry_points(group="cmake.root", name="stillsky")
    return bool(points) and (Path(sys.modules["stillsky"].__file__).parent / "lib" / "libstillsky.a").is_file()


@pytest.mark.slow
def testASecondProjectBuildsAgainstTheInstalledPackageWithoutFlags(tmp_path):
    """Architecture check 5: stillsky among the build requirements is all that another scikit-build-core project needs.

    Built here with what is installed, without network; no variable of ours, no CMake argument.
    """
    import stillsky  # noqa: F401

    if not _installed():
        if os.environ.get("STILLSKY_INSTALLED"):
            pytest.fail("the installed package lacks the C++ library or its cmake.root entry point")
        pytest.skip("not installed")
    pytest.importorskip("scikit_build_core")
    pytest.importorskip("pybind11")
    shutil.copytree(_PROJECT, tmp_path / "project")
    env = {k: v for k, v in os.environ.items() if not k.upper().startswith(("CMAKE_PREFIX", "STILLSKY", "SKBUILD"))}
    env.pop("PYTHONPATH", None)
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-v"]
    built = subprocess.run(
        [*command, "-w", str(tmp_path), str(tmp_path / "project")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=env,
    )
    assert built.returncode == 0, built.stdout[-5000:] + built.stderr[-5000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    used = subprocess.run(
        [sys.executable, "-c", _USE, str(tmp_path / "site")], capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert used.returncode == 0 and used.stdout.strip() == "same numbers", used.stderr
