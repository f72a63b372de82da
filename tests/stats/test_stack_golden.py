"""Stacks against the reference's own numbers, with its conventions switched on (``compat``)."""

import json

import numpy as np
import pytest

from stillsky.image import Image, Mask, MaskedImage
from stillsky.stats import Property, StatisticsControl, statisticsStack

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def golden(sharedDir):
    with open(sharedDir / "golden" / "stack.json") as stream:
        recipe = json.load(stream)
    with np.load(sharedDir / "golden" / "stack.npz") as arrays:
        return recipe["cases"], dict(arrays)


def inputs(arrays, n):
    stack = zip(arrays[f"images_{n}"], arrays[f"masks_{n}"], arrays[f"vars_{n}"])
    return [MaskedImage(Image(image), Mask(mask), Image(variance)) for image, mask, variance in stack]


def run(case, arrays, **settings):
    settings = {**case["ctrl"], **settings}
    thresholds = {int(b): t for b, t in settings.pop("maskPropagationThresholds", {}).items()}
    control = StatisticsControl(maskPropagationThresholds=thresholds, **settings)
    weights = None if case["weights"] is None else arrays[case["weights"]]
    clipped = case.get("clipped", 0)
    last = {"maskMap": case["maskMap"]} if "maskMap" in case else {"excuse": case.get("excuse", 0)}
    return statisticsStack(inputs(arrays, case["n"]), Property[case["property"]], control, weights, clipped, **last)


def testEveryCaseAgreesWithTheReference(golden):
    cases, arrays = golden
    assert len(cases) == 116
    for name, case in cases.items():
        stacked = run(case, arrays, compat=True)
        wanted = {plane: arrays[f"{name}_{plane}"] for plane in ("image", "mask", "variance")}
        # One weighted survivor: the reference divides rounding errors by rounding errors where it must say NaN.
        weighted, fromInput = case["ctrl"].get("weighted"), case["ctrl"].get("calcErrorFromInputVariance")
        scatter = case["property"] in ("VARIANCE", "STDEV", "VARIANCECLIP")
        good = {plane: np.ones(wanted["mask"].shape, bool) for plane in ("image", "variance")}
        good["image"][9, 9] = not (weighted and scatter)
        if case["property"] == "MIN" and weighted:  # the reference starts from sum(w x)/n, which no sample need reach
            good["image"][9, 9] = False
            assert stacked.image.array[9, 9] == arrays[f"images_{case['n']}"][-1, 9, 9] >= wanted["image"][9, 9]
        fromScatter = scatter or case["property"] == "MEDIAN" or ("MEAN" in case["property"] and not fromInput)
        good["variance"][9, 9] = not (weighted and fromScatter)
        for plane, tolerance in (("image", 2e-6), ("variance", 2e-5)):
            found, at = getattr(stacked, plane).array, good[plane]
            np.testing.assert_allclose(found[at], wanted[plane][at], rtol=tolerance, err_msg=f"{plane} of {name}")
        if weighted and scatter:
            assert np.isnan(stacked.image.array[9, 9]) and np.isnan(stacked.variance.array[9, 9]), name
        np.testing.assert_array_equal(stacked.mask.array, wanted["mask"], err_msg=name)


def testDefaultsDifferOnlyWhereTheyShould(golden):
    """Without compat means, medians and variances are the same numbers; masks of clipped stacks lose bits only."""
    cases, arrays = golden
    for name, case in cases.items():
        if "nanunset" in name:
            continue
        stacked = run(case, arrays)
        image, mask = arrays[f"{name}_image"].copy(), arrays[f"{name}_mask"]
        good = np.ones(image.shape, bool)
        good[9, 9] = case["property"] not in ("VARIANCE", "STDEV", "VARIANCECLIP", "MIN")
        np.testing.assert_allclose(stacked.image.array[good], image[good], rtol=2e-6, err_msg=name)
        if "CLIP" in case["property"]:
            assert not np.any(stacked.mask.array & ~mask), name
        else:
            np.testing.assert_array_equal(stacked.mask.array, mask, err_msg=name)


def testStoredSpotValues(golden):
    cases, arrays = golden
    spots = {
        "n7_and_MEANCLIP": {(0, 0): (99.802231, 0.208386, 0), (10, 12): (98.474541, 0.168991, 32)},
        "n7_coadd_MEANCLIP": {(0, 0): (99.804482, 6.105612, 513), (10, 12): (97.977165, 5.769698, 544),
                              (7, 7): (np.nan, np.nan, 768)},
        "n20_coadd_MEANCLIP": {(0, 0): (100.255936, 2.156137, 555)},
        "n7_coadd_map_MEANCLIP": {(7, 7): (np.nan, np.nan, 1280)},
        "n7_and_MEAN": {(7, 7): (np.nan, np.nan, 256), (9, 9): (94.503708, np.nan, 0)},
        "n7_and_calc_MEAN": {(9, 9): (94.503708, 20.751614, 0)},
    }  # fmt: skip
    for name, pixels in spots.items():
        stacked = run(cases[name], arrays, compat=True)
        for at, (value, variance, mask) in pixels.items():
            np.testing.assert_allclose(stacked.image.array[at], value, rtol=2e-6, err_msg=name)
            np.testing.assert_allclose(stacked.variance.array[at], variance, rtol=2e-5, err_msg=name)
            if at != (9, 9):
                assert stacked.mask.array[at] == mask, name
