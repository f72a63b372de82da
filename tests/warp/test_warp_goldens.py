"""Rubin's own numbers, with the reference model; and where the default differs by design."""

import json

import numpy as np
import pytest

from stillsky import _core
from stillsky.warp import AffineMapping, WarpingControl, WarpingKernel

pytestmark = pytest.mark.shared
PEAK = 114.0


@pytest.fixture(scope="module")
def golden(sharedDir):
    arrays = np.load(sharedDir / "golden" / "warp.npz")
    return json.loads((sharedDir / "golden" / "warp.json").read_text()), {k: arrays[k] for k in arrays.files}


def runCase(case, arrays, model):
    a, b, tx, c, d, ty = case["affine_row_major_2x3"]
    inverse = AffineMapping(a, b, c, d, tx, ty).inverted()
    control = WarpingControl(case["kernel"], case["maskKernel"], case["cacheSize"], case["interpLength"], model=model)
    planes = [arrays[name] for name in ("image", "mask", "variance")]
    out = [np.empty_like(plane) for plane in planes]
    count = _core.warpMaskedArrays(*out, (0, 0), *planes, (0, 0), inverse, control, np.nan, 256, np.inf)
    return *out, count


def compare(out, arrays, key, case, imageTolerance):
    image, mask, variance, count = out
    wanted = {name: arrays[f"{key}_{name}"] for name in ("image", "mask", "variance")}
    good = np.isfinite(wanted["image"])
    assert count == case["nGood"] == good.sum()
    assert np.array_equal(np.isfinite(image), good)
    assert np.abs(image[good] - wanted["image"][good]).max() <= imageTolerance
    assert np.array_equal(mask, wanted["mask"])
    assert np.abs(variance[good] - wanted["variance"][good]).max() <= 2e-6
    assert np.all(np.isposinf(variance[~good]))


def testReferenceModelReproducesEveryCase(golden):
    recipe, arrays = golden
    assert len(recipe["cases"]) == 28
    for key, case in recipe["cases"].items():
        # Cached cases depend on the rounding of f x cacheSize at bin borders: one bin is 1e-4 of an offset.
        tolerance = 2e-5 * PEAK if case["cacheSize"] else 2.5e-5
        compare(runCase(case, arrays, "reference"), arrays, key, case, tolerance)


def testDefaultModelReproducesUncachedFractionalCases(golden):
    recipe, arrays = golden
    cases = {
        k: c for k, c in recipe["cases"].items() if not c["cacheSize"] and not k.startswith(("identity", "intshift"))
    }
    assert len(cases) == 17
    for key, case in cases.items():
        compare(runCase(case, arrays, "stillsky"), arrays, key, case, 5e-5)


def testIdentityAndIntegerShiftsDoNotSpreadMasksByDesign(golden):
    """The reference smears a masked pixel over 36 through weights of 1e-17, or 4 through its cache."""
    recipe, arrays = golden
    for key, case in recipe["cases"].items():
        if not key.startswith(("identity", "intshift")):
            continue
        dx, dy = (int(case["affine_row_major_2x3"][i]) for i in (2, 5))
        image, mask, _, _ = runCase(case, arrays, "stillsky")
        good = np.isfinite(image)
        assert good.sum() == case["nGood"]
        assert np.array_equal(image[good], np.roll(arrays["image"], (dy, dx), (0, 1))[good])
        assert np.array_equal(mask[good], np.roll(arrays["mask"], (dy, dx), (0, 1))[good])


def testSpotValues(golden):
    recipe, arrays = golden
    case = recipe["cases"]["rot5_lanczos3_il0_bilinear_c0"]
    for model in ("reference", "stillsky"):
        image, _, variance, _ = runCase(case, arrays, model)
        assert image[30, 35] == pytest.approx(-8.063166, abs=2e-5)
        assert variance[30, 35] == pytest.approx(1.43969, abs=2e-5)


def testKernelImages(golden):
    recipe, arrays = golden
    assert len(recipe["warping_kernels"]) >= 12
    for key, wanted in recipe["warping_kernels"].items():
        _, name, fx, fy = key.split("_")
        kernel = WarpingKernel(name)
        image = np.outer(kernel.weights(float(fy)), kernel.weights(float(fx)))
        assert np.abs(image - arrays[key]).max() < 1e-12
        assert image.sum() == pytest.approx(wanted["sum"], abs=1e-12)
        assert [kernel.center, kernel.center] == wanted["ctr"]
