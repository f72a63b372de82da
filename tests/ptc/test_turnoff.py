"""Outliers, turn-off, roll-off and the older rules, on measured and synthetic curves."""

import json

import numpy as np
import pytest
from solve_scenes import makeConfig

from stillsky import NoDataError
from stillsky.ptc import models
from stillsky.ptc.fit import EXP_APPROXIMATION, fitCurve
from stillsky.ptc.solve_settings import makeSolveSettings
from stillsky.ptc.turnoff import (
    fitRolloff,
    goodPointsByLinearity,
    goodPointsByVarianceDecrease,
    samplingError,
    selectPoints,
)

CURVES = ("dense_normal", "dense_upturn", "dense_dip", "sparse_normal", "sparse_upturn", "sparse_dip")


@pytest.fixture(scope="module")
def golden(sharedDir):
    with open(sharedDir / "golden" / "ptc_lsstcam_samples.json") as stream:
        return json.load(stream)["curves"]


def readCurve(golden, name):
    curve = golden[name]
    mu, var = (np.array([np.nan if v is None else v for v in curve[k]]) for k in ("mean", "variance"))
    return mu, var, curve


def settings(**fields):
    return makeSolveSettings(makeConfig(**fields))


@pytest.mark.shared
@pytest.mark.parametrize("name", CURVES)
def testMeasuredCurvesHaveTheReferencesMasksAndTurnoffs(golden, name):
    mu, var, curve = readCurve(golden, name)
    reference = curve["reference_relativeWeights"]
    selection = selectPoints(mu, var, np.isfinite(mu), 1 / var, settings(compat=True))
    assert "".join("01"[int(used)] for used in selection.mask) == reference["mask"]
    assert selection.turnoff == curve["expectedTurnoff"]
    assert selection.turnoffError == pytest.approx(reference["samplingError"], rel=1e-9)
    with np.errstate(invalid="ignore"):
        assert not np.any(selection.mask & (mu > selection.turnoff))
    fit = fitCurve(
        EXP_APPROXIMATION,
        mu[selection.mask],
        var[selection.mask],
        selection.fit.parameters,
        weights=1 / var[selection.mask],
    )
    # the reference's numerical derivatives of 1 % leave it some 1e-5 from the minimum
    expected = [reference["a00"], reference["gain"], reference["noiseSquared"]]
    assert fit.parameters == pytest.approx(expected, rel=1e-4)


@pytest.mark.shared
@pytest.mark.parametrize("name", CURVES)
def testMeasuredCurvesHaveTheExpectedTurnoffsWithOurOwnRules(golden, name):
    mu, var, curve = readCurve(golden, name)
    weights = np.sqrt(1e6 / 2) / var  # as of a region of a million pixels
    selection = selectPoints(mu, var, np.isfinite(mu), weights, settings())
    # weighting the fits keeps all faint points (the reference loses 32 of dense_upturn) and moves the end by one point at most
    low, high = sorted((selection.turnoff, curve["expectedTurnoff"]))
    assert np.count_nonzero((mu > low) & (mu <= high)) <= 1
    assert selection.mask[: int(0.9 * selection.mask.sum())].sum() >= 0.99 * int(0.9 * selection.mask.sum())
    same = selectPoints(mu, var, np.isfinite(mu), weights, settings(outlierFitUnweighted=True))
    assert same.turnoff == curve["expectedTurnoff"]
    assert same.turnoffError == pytest.approx(curve["reference_plain"]["samplingError"], rel=1e-9)


@pytest.mark.shared
@pytest.mark.parametrize("name", CURVES)
def testRolloffIsWhereTheReferenceFindsIt(golden, name):
    mu, var, curve = readCurve(golden, name)
    config = settings(compat=True, doModelPtcRolloff=True)
    selection = selectPoints(mu, var, np.isfinite(mu), 1 / var, config)
    used = selection.mask
    start = fitCurve(EXP_APPROXIMATION, mu[used], var[used], selection.fit.parameters, weights=np.sqrt(var[used]))
    rolloff = fitRolloff(mu, var, selection, start.parameters, config)
    assert rolloff.rolloff == curve["reference_rolloff"]["ptcRolloff"]
    assert selection.turnoff * 0.9 <= rolloff.rolloff <= selection.turnoff
    if name.startswith("sparse"):
        assert rolloff.rolloff == selection.turnoff and np.isnan(rolloff.tau) and np.isnan(rolloff.rolloffError)
        assert np.array_equal(rolloff.mask, selection.mask)
    else:
        assert rolloff.tau == pytest.approx(curve["reference_rolloff"]["ptcRolloffTau"], rel=1e-4)
        assert 0 < rolloff.rolloffError < 0.2 * rolloff.rolloff and 0 < rolloff.tauError < abs(rolloff.tau), rolloff
        assert np.all(mu[rolloff.mask] < rolloff.rolloff)


def curve(n=60, top=9e4, gain=1.5):
    mu = np.linspace(200, top, n)
    return mu, models.evalExpApproximation(mu, -2e-6, gain, 25.0)


def testTurnoffDoesNotDependOnTheOrderOfThePairs(rng):
    mu, var = curve()
    var[50:] *= 0.3
    order = rng.permutation(mu.size)
    sortedOne = selectPoints(mu, var, np.ones(60, bool), 1e3 / var, settings())
    shuffled = selectPoints(mu[order], var[order], np.ones(60, bool), 1e3 / var[order], settings())
    assert sortedOne.turnoff == shuffled.turnoff == mu[49]
    assert np.array_equal(sortedOne.mask[order], shuffled.mask)
    assert sortedOne.turnoffError == pytest.approx((mu[50] - mu[48]) / 2)


def testSamplingErrorAtTheEndAndBesideNan():
    assert samplingError(np.array([1.0, 3.0, 7.0]), 1) == 3.0
    assert samplingError(np.array([1.0, 3.0, 7.0]), 2) == 4.0
    assert samplingError(np.array([1.0, 3.0, np.nan]), 1) == 2.0


def testAgreementBeyondAWideGapIsNotUsed():
    mu, var = curve(n=40)
    spoiled = var.copy()
    spoiled[30:36] *= 0.5
    wide = selectPoints(mu, spoiled, np.ones(40, bool), 1e3 / var, settings(maxDeltaInitialPtcOutlierFit=9000.0))
    assert wide.turnoff == mu[29] and not wide.mask[30:].any()
    narrow = selectPoints(mu, spoiled, np.ones(40, bool), 1e3 / var, settings(maxDeltaInitialPtcOutlierFit=90000.0))
    assert narrow.turnoff == mu[39] and narrow.mask[36:].all() and not narrow.mask[30:36].any()


def testNoRoundsOfRejectionUseEveryUsablePoint():
    mu, var = curve()
    var[20] *= 2
    selection = selectPoints(mu, var, np.arange(60) != 3, 1e3 / var, settings(maxIterationsPtcOutliers=0))
    assert selection.mask.sum() == 59 and not selection.mask[3] and selection.converged


@pytest.mark.parametrize("gain", [0.02, 0.2, 1.5, 25.0])
def testGainsOutsideTheReferencesBoundsAreFound(gain):
    mu = np.linspace(200, 9e4, 60) / gain
    var = models.evalExpApproximation(mu, -2e-6, gain, 25.0)
    selection = selectPoints(mu, var, np.ones(60, bool), 1e3 / var, settings())
    assert selection.mask.all() and selection.fit.parameters[1] == pytest.approx(gain, rel=1e-3)


def testNoisyFewPixelsAreNotOutliers(rng):
    # 1000 pixels: 4.5 % of scatter is 10 times the reference's tolerance at the top
    mu, var = curve()
    noisy = var * (1 + rng.normal(size=60) * np.sqrt(2 / 1e3))
    weights = np.sqrt(1e3 / 2) / noisy
    both = selectPoints(mu, noisy, np.ones(60, bool), weights, settings())
    theirs = selectPoints(mu, noisy, np.ones(60, bool), weights, settings(outlierResiduals="SQRTVAR"))
    sigma = selectPoints(mu, noisy, np.ones(60, bool), weights, settings(outlierResiduals="SIGMA"))
    assert both.mask.all() and sigma.mask.sum() >= 59
    assert theirs.mask.sum() < 45


def testOnlyHighLevelsStillGiveACurve():
    mu = np.linspace(6e4, 9e4, 20)
    var = models.evalExpApproximation(mu, -2e-6, 1.5, 25.0)
    assert selectPoints(mu, var, np.ones(20, bool), 1e3 / var, settings()).mask.all()


@pytest.mark.parametrize(
    "mu, var",
    [
        (np.full(10, np.nan), np.ones(10)),
        (np.linspace(1, 10, 10), np.full(10, np.nan)),
        (-np.linspace(1, 10, 10), np.ones(10)),
        (np.linspace(1, 10, 10), -np.ones(10)),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0])),
    ],
)
def testUnusableCurvesAreErrorsThatSayWhy(mu, var):
    with pytest.raises(NoDataError, match="flat pair"):
        selectPoints(mu, var, np.ones(mu.size, bool), np.ones(mu.size), settings())


def testOldTurnoffRuleOfDecreasingVariance():
    good = goodPointsByVarianceDecrease([1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 7, 6], 0, 2)
    assert list(good) == [True, True, True, True, False, False]
    assert goodPointsByVarianceDecrease([1, 2, 3, 4], [2, 4, 3, 5], 0, 2).all()
    assert goodPointsByVarianceDecrease([1, 2, 3, 4], [5, 4, 3, 2], 10, 2).all()
    assert list(goodPointsByVarianceDecrease([1, 2, np.nan], [2, np.nan, 3], 0, 2)) == [True, False, False]


def testOldestTurnoffRuleOfLinearity():
    mu = np.array([1e3, 1e4, 2.5e4, 5e4, 7e4, 9e4])
    var = mu * np.array([1.4, 1.0, 1.0, 1.0, 1.06, 0.7])
    assert list(goodPointsByLinearity(mu, var, 0.05, 0.25, 2e4)) == [True, True, True, True, False, False]
    assert not goodPointsByLinearity([np.nan], [1.0], 0.05, 0.25, 0.0).any()


@pytest.mark.parametrize("rule", ["VARIANCE_DECREASE", "LINEARITY"])
def testLegacySelectionOnlyTakesPointsAway(rule):
    mu, var = curve()
    var[50:] = var[50] * np.linspace(0.7, 0.2, 10)
    selection = selectPoints(
        mu, var, np.ones(60, bool), 1e3 / var, settings(doLegacyTurnoffSelection=True, legacyTurnoffRule=rule)
    )
    assert selection.turnoff <= mu[50] and not selection.mask[51:].any()
