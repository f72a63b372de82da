"""Content of a built wheel: set STILLSKY_WHEEL to its path. The extension without SIMD clones: STILLSKY_PLAIN_CORE."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def wheel():
    path = os.environ.get("STILLSKY_WHEEL")
    if not path:
        pytest.skip("set STILLSKY_WHEEL to the path of a built wheel")
    with zipfile.ZipFile(path) as archive:
        yield archive


def testWheelHoldsExtensionHeadersLibraryAndCMakePackage(wheel):
    names = set(wheel.namelist())
    assert any(re.fullmatch(r"stillsky/_core\..*(so|pyd)", n) for n in names)
    for wanted in (
        "stillsky/include/stillsky/core/view.hpp",
        "stillsky/lib/libstillsky.a",
        "stillsky/lib/cmake/stillsky/stillskyConfig.cmake",
        "stillsky/py.typed",
    ):
        assert wanted in names, wanted
    # The sources stay in the source distribution.
    assert not [n for n in names if n.startswith(("tests/", "cpp/")) or n.endswith(".cpp")]


def testNothingInTheWheelAsksForEigen(wheel):
    """The word itself appears in names such as getEigenKernels; what must not appear is a use of the library."""
    seen = 0
    for name in wheel.namelist():
        if name.startswith(("stillsky/include/", "stillsky/lib/cmake/")) and not name.endswith("/"):
            seen += 1
            text = wheel.read(name).decode()
            assert not re.search(r"<Eigen/|Eigen::|Eigen3|find_dependency\(Eigen", text), name
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
