"""The table of a photon transfer curve, its flags and its verdict."""

import numpy as np
import pytest

from stillsky.ptc import PhotonTransferCurveDataset
from stillsky.ptc.solve import solveWithDetails
from stillsky.ptc.solve_config import PhotonTransferCurveSolveAlgorithmConfig
from stillsky.ptc.summary import FLAGS, rowStates, summarize, verdict

GAIN, NOISE, A00 = 1.5, 5.0, -1.5e-6


def solved(rng, levels=None, spoil=None, pixels=400000):
    """Fit of three amplifiers A, B, C; ``spoil(amp, k, measurement)`` changes what was measured of pair k."""
    levels = np.concatenate([np.geomspace(100, 20000, 8), np.linspace(30000, 90000, 7)]) if levels is None else levels
    partials = []
    for k, level in enumerate(levels):
        partial = PhotonTransferCurveDataset(["A", "B", "C"], "PARTIAL", 1)
        for amp in partial.ampNames:
            variance = (level + A00 * level**2 + NOISE**2) / GAIN**2
            error = variance * np.sqrt(2 / pixels)
            measured = {
                "rawMean": level / GAIN, "rawVar": variance + error * rng.standard_normal(), "rawDelta": 0.001 * level,
                "expIdMask": True, "covSqrtWeights": np.full((1, 1, 1), 1 / error), "gain": GAIN, "noise": NOISE / GAIN,
                "kspValue": 1.0, "inputExpIdPair": (2 * k + 1, 2 * k + 2), "rawExpTime": level / 1000,
            }  # fmt: skip
            measured["covariance"] = np.full((1, 1, 1), measured["rawVar"])
            if spoil is not None:
                measured = spoil(amp, k, measured)
            partial.setAmpValuesPartialDataset(amp, **measured)
        partials.append(partial)
    config = PhotonTransferCurveSolveAlgorithmConfig()
    config.maximumRangeCovariancesAstier = config.maximumRangeCovariancesAstierFullCovFit = 1
    return solveWithDetails(partials, config)


def flagsOf(table, amp="A"):
    return set(str(table["flags"][list(table["ampName"]).index(amp)]).split())


def test_summarize_figuresAreThoseOfTheFit(rng):
    result = solved(rng)
    table = summarize(result)
    assert list(table["ampName"]) == ["A", "B", "C"]
    assert table["gain"] == pytest.approx(GAIN, rel=0.01) and table["noise"] == pytest.approx(NOISE, rel=0.05)
    for name in ("gain", "gainErr", "noise", "ptcTurnoff"):
        np.testing.assert_array_equal(table[name], [getattr(result.dataset, name)[a] for a in "ABC"])
    np.testing.assert_allclose(table["a00"], [result.dataset.ptcFitPars[a][0] for a in "ABC"])
    assert list(table["nPairs"]) == [15, 15, 15] and table["gainPair"] == pytest.approx(GAIN)
    assert all(table[c].description for c in table.colnames)
    assert set(" ".join(table["flags"]).split()) <= {"NO_TURNOFF"}
    assert verdict(table) == ("green", "3 of 3 amplifiers without a remark")


def test_summarize_everyFlagIsExplained(rng):
    result = solved(rng)
    limits = {"noise": 1.0, "chi2Dof": 1e-6, "gainScatter": 1e-9}
    table = summarize(result, pedestal=False, limits=limits)
    raised = set(" ".join(table["flags"]).split())
    assert {"NOISE_HIGH", "CHI2", "GAIN_OUTLIER", "PEDESTAL"} <= raised <= set(FLAGS)
    assert rowStates(table) == ["red"] * 3 and verdict(table)[0] == "red"


def test_summarize_deadAmplifierHarmsNoOther(rng):
    def spoil(amp, k, measured):
        return {"inputExpIdPair": measured["inputExpIdPair"]} if amp == "B" else measured

    table = summarize(solved(rng, spoil=spoil))
    assert flagsOf(table, "B") == {"NO_PAIRS"} and table["nPairs"][1] == 0
    assert all(np.isnan(table[name][1]) for name in ("gain", "noise", "a00", "fullWell", "chi2Dof"))
    assert table["gain"][[0, 2]] == pytest.approx(GAIN, rel=0.01)
    assert verdict(table) == ("red", "2 of 3 amplifiers without a remark, 1 failed (B)")


def test_summarize_fewPairs(rng):
    table = summarize(solved(rng, levels=[1000.0, 5000.0]))
    assert all(flagsOf(table, amp) == {"FEW_PAIRS"} for amp in "ABC")


def test_summarize_unequalPairsAndOutlier(rng):
    def spoil(amp, k, measured):
        if amp == "A":
            measured["rawDelta"] = 0.05 * measured["rawMean"]
        if amp == "C":
            measured["rawMean"] *= 1.3
        return measured

    table = summarize(solved(rng, spoil=spoil), limits={"gainScatter": 0.15})
    assert "UNEQUAL" in flagsOf(table, "A") and "GAIN_OUTLIER" in flagsOf(table, "C")
    assert rowStates(table)[::2] == ["amber", "red"]


def test_summarize_turnoffEndsTheCurve(rng):
    """Where the variance falls off before the last pair, the full well is no lower limit."""

    def spoil(amp, k, measured):
        if k >= 13:
            measured["rawVar"] *= 0.5
        return measured

    table = summarize(solved(rng, spoil=spoil))
    assert "NO_TURNOFF" not in flagsOf(table)
    assert table["fullWell"] == pytest.approx(70000.0, rel=0.01)


def test_summarize_paddingGivesNativeGain(rng):
    table = summarize(solved(rng), divisor=16)
    np.testing.assert_array_equal(table["gainNative"], 16 * table["gain"])
    assert "gainNative" not in summarize(solved(rng)).colnames


def test_summarize_survivesEcsv(rng, tmp_path):
    from astropy.table import Table

    table = summarize(solved(rng), divisor=4)
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    again = Table.read(tmp_path / "t.ecsv")
    assert again.colnames == table.colnames and again["gain"].unit == table["gain"].unit
    np.testing.assert_array_equal(again["gain"], table["gain"])
