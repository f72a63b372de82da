"""Content of the wheel: the installed package, or STILLSKY_WHEEL. The extension without SIMD clones: STILLSKY_PLAIN_CORE."""

import os
import re
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import stillsky


@pytest.fixture(scope="module")
def wheel():
    """Files of the wheel named by STILLSKY_WHEEL, or of the installed package: name -> function that reads it."""
    path = os.environ.get("STILLSKY_WHEEL")
    package = Path(stillsky.__file__).parent
    if path:
        with zipfile.ZipFile(path) as archive:
            yield {n: partial(archive.read, n) for n in archive.namelist() if not n.endswith("/")}
    elif (package / "lib").is_dir() or os.environ.get("STILLSKY_INSTALLED"):
        files = (f for f in package.rglob("*") if f.is_file())
        yield {f.relative_to(package.parent).as_posix(): f.read_bytes for f in files}
    else:
        pytest.skip("not installed: set STILLSKY_WHEEL to the path of a built wheel")


def testWheelHoldsExtensionHeadersLibraryAndCMakePackage(wheel):
    assert any(re.fullmatch(r"stillsky/_core\..*(so|pyd)", n) for n in wheel)
    for wanted in (
        "stillsky/include/stillsky/core/view.hpp",
        "stillsky/lib/libstillsky.a",
        "stillsky/lib/cmake/stillsky/stillskyConfig.cmake",
        "stillsky/py.typed",
    ):
        assert wanted in wheel, wanted
    # The sources stay in the source distribution.
    assert not [n for n in wheel if n.startswith(("tests/", "cpp/")) or n.endswith(".cpp")]


def testNothingInTheWheelAsksForEigen(wheel):
    """The word itself appears in names such as getEigenKernels; what must not appear is a use of the library."""
    seen = 0
    for name, read in wheel.items():
        if name.startswith(("stillsky/include/", "stillsky/lib/cmake/")):
            seen += 1
            assert not re.search(r"<Eigen/|Eigen::|Eigen3::|find_dependency\(Eigen", read().decode()), name
    assert seen > 20


PROGRAM = """
import importlib.util, sys
import numpy as np
if sys.argv[1]:
    spec = importlib.util.spec_from_file_location("stillsky._core", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    sys.modules["stillsky._core"] = module
    spec.loader.exec_module(module)
from stillsky.kernel import ConvolutionControl, FixedKernel, convolve
from stillsky.image import Image, MaskedImage
from stillsky.psfmatch import StaticKernelSolution, makeAlardLuptonBasisList
rng = np.random.default_rng(3)
source = MaskedImage(Image(rng.normal(100, 9, (120, 131)).astype(np.float32)))
source.variance.array[:] = rng.uniform(50, 150, source.variance.array.shape)
bases = makeAlardLuptonBasisList(10, 3, [0.7, 1.5, 3.0], [4, 2, 2])
kernel = FixedKernel(bases[0].imageAt(0, 0) + 0.01 * bases[15].imageAt(0, 0))
out = convolve(MaskedImage.zeros(source.bbox), source, kernel, ConvolutionControl())
solution = StaticKernelSolution(bases, True)
t = source.image.array[20:70, 30:80].astype(float)
solution.build(t, t + rng.normal(size=t.shape), np.ones(t.shape, np.float32))
np.savez(sys.argv[2], image=out.image.array, variance=out.variance.array, m=solution.getM())
"""


def testSimdAndPlainBuildsAgree(tmp_path):
    """Built with -DSTILLSKY_SIMD=OFF, the loops give the same numbers within 1e-5."""
    plain = os.environ.get("STILLSKY_PLAIN_CORE")
    if not plain:
        pytest.skip("set STILLSKY_PLAIN_CORE to the extension of a build with -DSTILLSKY_SIMD=OFF")
    assert Path(plain).is_file()
    results = []
    for i, core in enumerate(("", plain)):
        path = tmp_path / f"{i}.npz"
        subprocess.run([sys.executable, "-c", PROGRAM, core, str(path)], check=True)
        with np.load(path) as arrays:
            results.append(dict(arrays))
    for name, fast in results[0].items():
        finite = np.isfinite(fast)
        assert finite.sum() > 500
        np.testing.assert_array_equal(finite, np.isfinite(results[1][name]))
        slow = results[1][name][finite]
        np.testing.assert_allclose(fast[finite], slow, rtol=1e-5, atol=1e-10 * np.abs(slow).max())
