"""Lag covariances: both estimators against exact sums, known populations, symmetries, and bad input."""

import json

import numpy as np
import pytest

from stillsky.ptc import covariances, covarianceSums

ESTIMATORS = ["direct", "fft"]


@pytest.fixture(scope="module")
def golden(sharedDir):
    return json.loads((sharedDir / "golden" / "ptc_covariances.json").read_text())


@pytest.mark.shared
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_tinyImageHasExactSums(golden, estimator):
    """Check A1: N, S1, S2, P exact integers for all 28 signed lags; covariances to 1e-13 relative."""
    tiny = golden["tiny"]
    image, weight = np.array(tiny["image"]), np.array(tiny["weight"])
    sums = covarianceSums(image, weight, 3, estimator=estimator)
    assert len(tiny["signedSums"]) == 28
    for dx, dy, *wanted in tiny["signedSums"]:
        found = [s[dx, 3 + dy] for s in (sums.count, sums.sumFirst, sums.sumSecond, sums.sumProduct)]
        assert found == wanted if estimator == "direct" else found == pytest.approx(wanted, abs=1e-10)
    for found, wanted in zip(
        covariances(image, weight, 3, estimator=estimator).tuples(), tiny["covDirect"], strict=True
    ):
        assert found[:2] == tuple(wanted[:2]) and found[4] == wanted[4]
        assert found[2:4] == pytest.approx(wanted[2:4], rel=1e-13)
