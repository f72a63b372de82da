"""Statistics against the reference's own numbers, with its conventions switched on (``compat``)."""

import json

import numpy as np
import pytest

from stillsky.errors import DomainError
from stillsky.stats import Property, StatisticsControl, makeStatistics

pytestmark = pytest.mark.shared
EVERYTHING = sum(p for p in Property)
COUNTS = {"NPOINT", "NMASKED", "NCLIPPED", "ORMASK"}


@pytest.fixture(scope="module")
def golden(sharedDir):
    with open(sharedDir / "golden" / "statistics.json") as stream:
        recipe = json.load(stream)
    with np.load(sharedDir / "golden" / "statistics.npz") as arrays:
        return recipe, dict(arrays)


class Planes:
    """What makeStatistics asks of a masked image."""

    class Plane:
        def __init__(self, array):
            self.array = array

    def __init__(self, image, mask, variance):
        self.image, self.mask, self.variance = (self.Plane(a) for a in (image, mask, variance))


def control(settings):
    return StatisticsControl(compat=True, **({} if settings == "default" else settings))


def compute(case, arrays):
    ctrl = control(case["ctrl"])
    kind = case["kind"]
    if kind.startswith("vector"):
        values = [float(v) for v in case["values"]]
        return makeStatistics(values, EVERYTHING, ctrl, weights=case.get("weights"))
    if case["image"].startswith("arange"):
        ones = np.ones((4, 5))
        planes = Planes(np.arange(20, dtype=np.float32).reshape(4, 5), ones.astype(np.int32), ones.astype(np.float32))
        return makeStatistics(planes, EVERYTHING, ctrl)
    image = arrays[case["image"]]
    if kind == "image":
        return makeStatistics(image, EVERYTHING, ctrl)
    if kind == "image double":
        return makeStatistics(image.astype(np.float64), EVERYTHING, ctrl)
    planes = Planes(image, arrays["mask"], arrays["var"])
    return makeStatistics(planes, EVERYTHING, ctrl, weights=arrays["weights"] if "weight" in kind else None)


def check(name, stats, wanted, tolerance):
    if name == "ORMASK":  # the reference cannot deliver it through its general accessor
        assert stats.orMask == wanted
        return
    for found, want in zip(stats.getResult(Property[name]), (float(w) for w in wanted), strict=True):
        if name in COUNTS:
            assert found == want, name
        else:
            np.testing.assert_allclose(found, want, rtol=tolerance, atol=0, err_msg=name)


def testEveryCaseAgreesWithTheReference(golden):
    recipe, arrays = golden
    nCases = 0
    for name, case in recipe["cases"].items():
        result = case["result"]
        if name == "v_empty":
            with pytest.raises(DomainError, match="pixel"):
                makeStatistics([], EVERYTHING, StatisticsControl(compat=True))
        elif name == "errors_only_MEDIAN":
            flags = Property.MEDIAN | Property.ERRORS
            stats = makeStatistics(np.arange(1.0, 11), flags, StatisticsControl(compat=True))
            check("MEDIAN", stats, result["MEDIAN"], 1e-12)
        elif isinstance(result, str):
            with pytest.raises(DomainError, match="weights"):
                compute(case, arrays)
        else:
            stats = compute(case, arrays)
            tolerance = 1e-12 if case["kind"].startswith("vector") else 1e-6
            for prop, wanted in result.items():
                try:
                    check(prop, stats, wanted, tolerance)
                except AssertionError as error:
                    raise AssertionError(f"{name}: {error}") from error
        nCases += 1
    assert nCases == len(recipe["cases"]) > 40
