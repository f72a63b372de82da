"""Background against the reference's own numbers (``compat``: its errors in the variance plane, its CONSTANT steps)."""

import json

import numpy as np
import pytest

from stillsky.background import BackgroundControl, interpolate, makeBackground
from stillsky.background.background import _averagedSteps
from stillsky.image import Image, Mask, MaskedImage
from stillsky.stats import StatisticsControl

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def golden(sharedDir):
    with open(sharedDir / "golden" / "background.json") as stream:
        recipe = json.load(stream)
    with np.load(sharedDir / "golden" / "background.npz") as arrays:
        return recipe, dict(arrays)


@pytest.mark.parametrize("style", ["LINEAR", "NATURAL_SPLINE", "CUBIC_SPLINE", "AKIMA_SPLINE"])
def testInterpolationStyles(golden, style):
    recipe = golden[0]
    found = interpolate(recipe["nodes_x"], recipe["nodes_y"], style, recipe["xs"])
    np.testing.assert_allclose(found, recipe["interpolated"][style], rtol=1e-12, atol=1e-12)


def testConstantStyle(golden):
    """The reference's step between two midpoints has the mean of the nodes on either side of the left midpoint.

    Far beyond the last node it changes once more, to that node's own value, somewhere in (10.25, 10.5]; its images
    show no such change within half a cell beyond the last centre, so no rule follows and the last seven abscissae are
    left out. The default takes the nearest node.
    """
    recipe = golden[0]
    x, y, at = (np.array(recipe[k]) for k in ("nodes_x", "nodes_y", "xs"))
    wanted = np.array(recipe["interpolated"]["CONSTANT"])
    steps = _averagedSteps(y[np.newaxis, :])[0]
    near = at <= 10.25
    assert near.sum() == len(at) - 7
    np.testing.assert_allclose(interpolate(x, steps, "CONSTANT", at[near]), wanted[near], rtol=1e-15)
    midpoints = 0.5 * (x[1:] + x[:-1])
    np.testing.assert_array_equal(interpolate(x, y, "CONSTANT", at), y[np.searchsorted(midpoints, at, side="right")])


def testGridStatisticsAndImages(golden):
    recipe, arrays = golden
    image, mask = arrays["image"], arrays["mask"]
    planes = MaskedImage(Image(image), Mask(mask), Image(np.full(image.shape, 4, np.float32)))
    for name, state in recipe["cases"].items():
        assert state == "ok"
        prop, cells, style = name.removeprefix("bg_").split("_", 2)
        nx, ny = (int(n) for n in cells.split("x"))
        control = BackgroundControl(
            nx, ny, style, "REDUCE_INTERP_ORDER", prop, StatisticsControl(andMask=1, compat=True), compat=True
        )
        background = makeBackground(planes, control)
        np.testing.assert_allclose(background.values, arrays[f"{name}_stats"], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(background.variances, arrays[f"{name}_statsvar"], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(background.imageArray(), arrays[name], rtol=1e-5, err_msg=name)
    assert len(recipe["cases"]) == 24
