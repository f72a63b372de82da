"""Pedestals of flats without overscan and bias: from exposure times, else from variances."""

import numpy as np
import pytest

from stillsky.ptc import PhotonTransferCurveDataset
from stillsky.ptc.pedestal import pedestalFromTimes, pedestalFromVariances, subtractPedestal

GAIN, NOISE2, PEDESTAL = 1.5, 25.0, 480.0


def partials(rng, times=None, pedestal=PEDESTAL, rate=1000.0, drift=0.002, n=12, a00=-1.5e-6):
    """Measurements of pairs of 20000 pixels."""
    times = np.geomspace(0.2, 40.0, n) if times is None else times
    out = []
    for t in times:
        level = rate * t * (1 + drift * rng.standard_normal())  # electrons
        variance = (level + a00 * level**2 + NOISE2) / GAIN**2
        error = variance * np.sqrt(2 / 20000)
        dataset = PhotonTransferCurveDataset(["A"], "PARTIAL", 1)
        dataset.setAmpValuesPartialDataset(
            "A", rawExpTime=t, rawMean=level / GAIN + pedestal, rawVar=variance + error * rng.standard_normal(),
            expIdMask=True, covSqrtWeights=np.full((1, 1, 1), 1 / error), gain=GAIN * (1 + pedestal * GAIN / level),
        )  # fmt: skip
        out.append(dataset)
    return out


def test_pedestalFromTimes_isFoundWithItsError(rng):
    pulls = []
    for _ in range(200):
        pedestal = pedestalFromTimes(partials(rng), "A")
        pulls.append((pedestal.value - PEDESTAL) / pedestal.error)
    assert abs(np.mean(pulls)) < 0.25 and 0.8 < np.std(pulls) < 1.35


def test_pedestalFromTimes_bendAtTheTopDoesNotMatter(rng):
    pairs = partials(rng)
    for p in pairs:
        p.rawMeans["A"] = np.minimum(p.rawMeans["A"], 20000.0)
    found = pedestalFromTimes(pairs, "A")
    assert abs(found.value - PEDESTAL) < 5 * found.error


@pytest.mark.parametrize(
    "change",
    [
        {"times": [1.0, 1.0, 2.0, 2.0, 3.0]},
        {"times": np.linspace(2.0, 5.0, 8)},
        {"times": np.full(8, np.nan)},
        {"drift": 0.05},
        {"times": []},
    ],
    ids=["few times", "narrow span", "no times", "unsteady sky", "no pairs"],
)
def test_pedestalFromTimes_isNoneWhereTimesDoNotTell(rng, change):
    assert pedestalFromTimes(partials(rng, **change), "A") is None


def test_pedestalFromVariances_isThePedestalLessNoise(rng):
    values = [pedestalFromVariances(partials(rng, drift=0.3), "A") for _ in range(50)]
    truth = PEDESTAL - NOISE2 / GAIN
    pulls = [(p.value - truth) / p.error for p in values]
    assert abs(np.mean([p.value for p in values]) - truth) < 3.0 and 0.7 < np.std(pulls) < 1.5


def test_pedestalFromVariances_isNoneWithoutPedestal(rng):
    assert pedestalFromVariances(partials(rng, pedestal=0.0), "A") is None
    assert pedestalFromVariances(partials(rng, n=3), "A") is None
    assert pedestalFromVariances([], "A") is None


def test_subtractPedestal_correctsMeansAndSinglePairGains(rng):
    pairs = partials(rng)
    before = [float(p.rawMeans["A"][0]) for p in pairs]
    subtractPedestal(pairs, "A", PEDESTAL)
    np.testing.assert_allclose([p.rawMeans["A"][0] for p in pairs], np.array(before) - PEDESTAL)
    np.testing.assert_allclose([p.gainList["A"][0] for p in pairs], GAIN, rtol=1e-12)
