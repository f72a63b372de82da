"""The whole fit of a detector's photon transfer curves: goldens, order, limits, bad amplifiers, parallel amplifiers."""

import json
import logging

import numpy as np
import pytest
from solve_scenes import drawRamp, makeConfig, makePartials, rampDataset, truth

from stillsky import DomainError, MismatchError, NoDataError
from stillsky.ptc import PhotonTransferCurveDataset, models
from stillsky.ptc.amp_offsets import adjustGainsByAmpOffsets
from stillsky.ptc.solve import FLAGS, solve, solveDataset, solveWithDetails
from stillsky.ptc.solve_settings import makeSolveSettings

TYPES = ("POLYNOMIAL", "EXPAPPROXIMATION", "FULLCOVARIANCE", "FULLCOVARIANCE_NO_B")


@pytest.fixture(scope="module")
def mockFlats(sharedDir):
    with open(sharedDir / "golden" / "ptc_mockflats.json") as stream:
        return json.load(stream)


def mockPartials(golden, amps=("C:0,0",), change=None):
    points = golden["pipeline_float32_points"]
    arrays = [np.array(points[k]) for k in ("mean", "var", "cov3x3", "sqrtWeights3x3")]
    columns = [{amp: values.copy() for amp in amps} for values in arrays]
    noise = np.full(arrays[0].size, 3.0 / 0.75)
    if change:
        change(*columns)
    return makePartials(*columns, r=3, noise={amp: noise for amp in amps}, ampOffset={a: 0 * noise for a in amps})


def mockConfig(**fields):
    return makeConfig(
        **{
            "maximumRangeCovariancesAstier": 10,
            "maximumRangeCovariancesAstierFullCovFit": 3,
            "maxSignalInitialPtcOutlierFit": 90000.0,
            "minMeanSignal": {"ALL_AMPS": 2000.0},
            **fields,
        }
    )


def ramp(rng=None, amps=("A", "B", "C"), r=4, n=30, gain=1.5, top=9e4):
    mu = np.linspace(300, top, n) / gain
    rng = np.random.default_rng(11) if rng is None else rng
    draws = [drawRamp(rng, mu, r, gain=gain, noise=5.0, nPixels=1e6) for _ in amps]
    means, covariances, weights = ({amp: draw[k] for amp, draw in zip(amps, draws)} for k in range(3))
    return means, {amp: cov[:, 0, 0].copy() for amp, cov in covariances.items()}, covariances, weights


def rampConfig(**fields):
    return makeConfig(**{"maximumRangeCovariancesAstier": 4, "maximumRangeCovariancesAstierFullCovFit": 4, **fields})


@pytest.mark.shared
@pytest.mark.parametrize("fitType", ["FULLCOVARIANCE", "FULLCOVARIANCE_NO_B"])
def testMockFlatsAreFittedAtLeastAsWellAsByTheReference(mockFlats, fitType):
    expected = mockFlats[f"pipeline_float32_{fitType}"]
    result = solveWithDetails(mockPartials(mockFlats), mockConfig(ptcFitType=fitType, compat=True))
    dataset, amp = result.dataset, "C:0,0"
    used = dataset.expIdMask[amp]
    assert used.sum() == expected["nGood"] == 19 and not used[0]
    assert dataset.ptcTurnoff[amp] == pytest.approx(127999.4786, abs=1e-4)
    # The noise matrices that the check prints are not at the minimum: chi2 at the reference's parameters is 1.92 where ours is
    # 1.63 (8.83 and 8.72 without b). Its optimiser, with 1 % differences, stops early in the valley along which a, b and noise
    # trade off; so its digits cannot be had from a converged fit, and the minimum is the requirement.
    mu, cov = dataset.rawMeans[amp][used], dataset.covariances[amp][used]
    weights = dataset.covariancesSqrtWeights[amp][used]
    a, b, noise = (np.array(expected[k]) for k in ("a", "b", "noiseMatrix"))
    theirs = np.sum(((models.evalFullCovariance(mu, a, a * b, noise, expected["gain"]) - cov) * weights) ** 2)
    assert result.amplifiers[amp].full.chi2 <= theirs * (1 + 1e-6)
    assert result.amplifiers[amp].full.chi2 < 0.99 * theirs
    assert dataset.gain[amp] == pytest.approx(0.75, abs=2 * expected["gainErr"])
    assert abs(dataset.noiseMatrix[amp] - noise).max() < 12  # e^2, along that valley
    assert np.all(np.isnan(dataset.ptcFitPars[amp]))


@pytest.mark.shared
def testMockFlatsModelIsWithinTheDataOfTheMockFlats(mockFlats):
    dataset = solve(mockPartials(mockFlats), mockConfig(ptcFitType="FULLCOVARIANCE"))
    amp = "C:0,0"
    used = dataset.expIdMask[amp]
    model, data = dataset.covariancesModel[amp][used], dataset.covariances[amp][used]
    assert np.all(np.abs(model[:, 0, 0] - data[:, 0, 0]) / model[:, 0, 0] < 2e-3)
    # "within 0.3" is a ratio to the model, like the 2e-3 of lag 00: in adu^2 the residuals reach 27. (The reference's own
    # parameters, which are not at the minimum, leave ratios of 0.6.) They are far below the standard deviations, too.
    for lag in ((0, 1), (1, 0)):
        weights = dataset.covariancesSqrtWeights[amp][used][:, *lag]
        residual = np.abs(model[:, *lag] - data[:, *lag])
        assert np.all(residual < 0.3 * np.abs(model[:, *lag]))
        assert np.all(residual * weights < 0.1)


@pytest.mark.shared
def testMockFlatsVarianceFitIsAtTheMinimum(mockFlats):
    expected = mockFlats["pipeline_float32_FULLCOVARIANCE"]["expApprox"]["pars"]
    result = solveWithDetails(mockPartials(mockFlats), mockConfig(compat=True))
    amp = "C:0,0"
    used = result.dataset.expIdMask[amp]
    mu, var = result.dataset.rawMeans[amp][used], result.dataset.rawVars[amp][used]
    weights = result.dataset.covariancesSqrtWeights[amp][used][:, 0, 0]
    theirs = np.sum(((models.evalExpApproximation(mu, *expected) - var) * weights) ** 2)
    assert result.amplifiers[amp].curve.chi2 <= theirs
    assert result.dataset.gain[amp] == pytest.approx(expected[1], rel=1e-4)


@pytest.mark.shared
@pytest.mark.parametrize("compat", [True, False])
def testDipAndMissingPairEndTheCurveOfOneAmplifierOnly(mockFlats, compat, caplog):
    def change(means, variances, covariances, weights):
        means["C:0,0"][19] = variances["C:0,0"][19] = np.nan
        variances["C:0,0"][18] *= 0.9

    partials = mockPartials(mockFlats, ("C:0,0", "C:0,1"), change)
    with caplog.at_level(logging.WARNING):
        dataset = solve(partials, mockConfig(ptcFitType="EXPAPPROXIMATION", compat=compat))
    assert dataset.ptcTurnoff["C:0,0"] == dataset.rawMeans["C:0,0"][17]
    assert dataset.getExpIdsUsed("C:0,0") == dataset.inputExpIdPairs["C:0,0"][1:18]
    assert dataset.ptcTurnoff["C:0,1"] == dataset.rawMeans["C:0,1"][19]
    assert dataset.badAmps == [] and dataset.getGoodAmps() == ["C:0,0", "C:0,1"]
    assert not [r for r in caplog.records if "did not converge" in r.message or "SERIOUS" in r.message]


@pytest.mark.parametrize("fitType", TYPES)
def testReversedInputsComeOutSorted(fitType):
    means, variances, covariances, weights = ramp()
    noise = {amp: np.full(30, 5.0 / 1.5) for amp in means}
    offsets = {amp: np.zeros(30) for amp in means}
    partials = makePartials(means, variances, covariances, weights, r=4, noise=noise, ampOffset=offsets)
    for k, partial in enumerate(partials):
        partial.setAuxValuesPartialDataset({"CCOBCURR": float(k), "CCDTEMP": -100.0 + k, "NOTE": f"pair {k}"})
        partial.updateMetadata(SEQFILE="a.seq", SEQNAME="a", SEQCKSUM="deadbeef", INSTRUME="Cam", DETECTOR=7)
        partial.updateMetadata(DET_NAME="R22_S11", DET_SER="E2V-1")
    forward = solve(partials, rampConfig(ptcFitType=fitType))
    backward = solve(partials[::-1], rampConfig(ptcFitType=fitType))
    for dataset in (forward, backward):
        assert np.all(np.diff(dataset.rawMeans["B"]) > 0)
        assert np.array_equal(dataset.auxValues["CCOBCURR"], np.arange(30.0))
        assert np.array_equal(dataset.auxValues["CCDTEMP"], np.arange(30.0) - 100)
        assert dataset.auxValues["NOTE"][3] == "pair 3"
        assert dataset.inputExpIdPairs["A"] == [(2 * k, 2 * k + 1) for k in range(30)]
        assert np.array_equal(dataset.covariances["C"], covariances["C"])
        assert np.array_equal(dataset.rawExpTimes["A"], np.arange(30) + 1.0)
        for key, value in (("SEQFILE", "a.seq"), ("SEQNAME", "a"), ("SEQCKSUM", "deadbeef"), ("INSTRUME", "Cam")):
            assert dataset.metadata[key] == value
        assert dataset.metadata["DETECTOR"] == 7 and dataset.metadata["DET_NAME"] == "R22_S11"
        assert dataset.metadata["DET_SER"] == "E2V-1" and dataset.metadata["CALIBDATE"]
    for amp in means:
        assert forward.gain[amp] == pytest.approx(backward.gain[amp], rel=1e-12)
        assert forward.gain[amp] == pytest.approx(1.5, rel=0.02 if fitType == "POLYNOMIAL" else 0.005)
        assert abs(forward.noise[amp] - 5.0) < (
            3 if fitType == "POLYNOMIAL" else 0.25
        )  # 5 % of median(noiseList) * gain
        assert forward.noiseErr[amp] < forward.noise[amp]
        assert np.all(forward.ampOffsets[amp] == 0)
    assert forward.ptcFitType == fitType and forward.metadata["PTC_FIT_TYPE"] == fitType
    assert "fitType" not in vars(forward)


@pytest.mark.parametrize("fitType", TYPES)
def testDatasetIsCompleteAndConsistent(fitType, tmp_path):
    means, variances, covariances, weights = ramp()
    means["B"][:], variances["B"][:] = np.nan, np.nan
    dataset = solve(makePartials(means, variances, covariances, weights, r=4), rampConfig(ptcFitType=fitType))
    dataset.checkSizes()
    shapes = {amp: dataset.covariancesModel[amp].shape for amp in means}
    assert set(shapes.values()) == {(30, 4, 4)}
    assert len({dataset.ptcFitPars[amp].shape for amp in means}) == 1
    path = tmp_path / "curve.fits"
    dataset.writeFits(path)
    assert PhotonTransferCurveDataset.readFits(path) == dataset
    model = dataset.evalPtcModel(dataset.rawMeans["A"])["A"]
    used = dataset.expIdMask["A"]
    if fitType.startswith("FULL"):
        assert model == pytest.approx(dataset.covariancesModel["A"], rel=1e-12)
        assert dataset.finalModelVars["A"][used] == pytest.approx(model[used, 0, 0], rel=1e-12)
        assert dataset.ptcFitPars["A"] == pytest.approx(
            [dataset.aMatrix["A"][0, 0], dataset.gain["A"], dataset.noiseMatrix["A"][0, 0]]
        )
        assert dataset.ptcFitChiSq["A"] == pytest.approx(1.0, abs=0.3)
    else:
        assert np.array_equal(dataset.finalModelVars["A"][used], model[used])
    assert np.array_equal(np.isfinite(dataset.finalVars["A"]), used)
    assert np.array_equal(np.isfinite(dataset.finalMeans["A"]), used)


@pytest.mark.parametrize("fitType", TYPES)
def testAmplifierWithoutPointsIsBadAndTheOthersAreNotAffected(fitType, caplog):
    means, variances, covariances, weights = ramp()
    expected = solve(makePartials(means, variances, covariances, weights, r=4), rampConfig(ptcFitType=fitType))
    means["B"] = np.full(30, np.nan)
    with caplog.at_level(logging.WARNING):
        result = solveWithDetails(
            makePartials(means, variances, covariances, weights, r=4), rampConfig(ptcFitType=fitType)
        )
    dataset = result.dataset
    assert dataset.badAmps == ["B"] and "BAD" in result.amplifiers["B"].flags
    assert any("SERIOUS" in record.message and "amplifier B" in record.message for record in caplog.records)
    for name in ("gain", "gainUnadjusted", "gainErr", "noise", "noiseErr", "ptcFitChiSq", "ptcTurnoff"):
        assert np.isnan(getattr(dataset, name)["B"])
    assert np.isnan(dataset.ptcFitPars["B"]).all() and np.isnan(dataset.finalMeans["B"]).all()
    assert not dataset.expIdMask["B"].any() and dataset.aMatrix["B"].shape == (4, 4)
    for amp in ("A", "C"):
        assert dataset.gain[amp] == expected.gain[amp] and dataset.gainErr[amp] == expected.gainErr[amp]


@pytest.mark.parametrize("fitType", TYPES)
@pytest.mark.parametrize("case", ["onePair", "negative", "zeroVariance", "constant", "oneLevel", "infinite"])
def testHopelessAmplifiersAreFlaggedWithoutAnException(fitType, case):
    means, variances, covariances, weights = ramp()
    if case == "onePair":
        means["B"][1:] = np.nan
    elif case == "negative":
        means["B"] *= -1
    elif case == "zeroVariance":
        variances["B"][:], covariances["B"][:], weights["B"][:] = 0.0, 0.0, 0.0
    elif case == "constant":
        means["B"][:], variances["B"][:], covariances["B"][:] = 1000.0, 0.0, 0.0
    elif case == "oneLevel":
        means["B"][:] = 1000.0
        covariances["B"][:] = covariances["B"][5]
        variances["B"][:] = variances["B"][5]
    else:
        means["B"][:], variances["B"][:] = np.inf, np.inf
    dataset = solve(makePartials(means, variances, covariances, weights, r=4), rampConfig(ptcFitType=fitType))
    assert dataset.badAmps == ["B"]
    assert dataset.gain["A"] == pytest.approx(1.5, rel=0.02) and dataset.gain["C"] == pytest.approx(1.5, rel=0.02)


@pytest.mark.parametrize("fitType", TYPES)
def testNoOutlierRoundsWork(fitType):
    partials = makePartials(*ramp(), r=4)
    dataset = solve(partials, rampConfig(ptcFitType=fitType, maxIterationsPtcOutliers=0))
    assert dataset.badAmps == [] and all(dataset.expIdMask[amp].all() for amp in "ABC")


def testInputsAreNotChangedAndShareNothing():
    partials = makePartials(*ramp(), r=4)
    copies = [partial.copy() for partial in partials]
    config = rampConfig(
        ptcFitType="FULLCOVARIANCE", minMeanSignal={"ALL_AMPS": 20000.0}, doSubtractLongRangeCovariances=True
    )
    config.startLongRangeCovariances = 3
    dataset = solve(partials, config)
    dataset.covariances["A"][:] = 0
    dataset.expIdMask["A"][:] = False
    assert all(a == b for a, b in zip(partials, copies))


def testSignalLimitsExcludeTheirEndsAndNameAmplifiers():
    means, variances, covariances, weights = ramp()
    limit = float(means["A"][3])
    partials = makePartials(means, variances, covariances, weights, r=4)
    dataset = solve(partials, rampConfig(minMeanSignal={"A": limit}, maxMeanSignal={"B": float(means["B"][20])}))
    assert list(dataset.expIdMask["A"][:5]) == [False] * 4 + [True]
    assert dataset.expIdMask["B"][19] and not dataset.expIdMask["B"][20:].any()
    assert dataset.expIdMask["C"].all()
    both = solve(partials, rampConfig(minMeanSignal={"A": 1e9, "ALL_AMPS": limit}))
    assert list(both.expIdMask["A"][:5]) == [False] * 4 + [True]


def testPairsWithALowKolmogorovSmirnovProbabilityAreLeftOut():
    p = {amp: np.ones(30) for amp in "ABC"}
    p["A"][4] = 0.005
    dataset = solve(makePartials(*ramp(), r=4, kspValue=p), rampConfig())
    assert not dataset.expIdMask["A"][4] and dataset.expIdMask["B"][4]


def testDummiesArePassedOverWhereverTheyAre():
    partials = makePartials(*ramp(), r=4)
    dummy = PhotonTransferCurveDataset(["no amp"], "DUMMY", 1)
    dataset = solve([dummy, *partials, dummy], rampConfig())
    assert dataset.ampNames == ["A", "B", "C"] and dataset.nPairs == 30
    with pytest.raises(NoDataError, match="PARTIAL"):
        solve([dummy], rampConfig())


def testAmplifiersKeepTheDetectorsOrder():
    dataset = solve(makePartials(*ramp(amps=("Z", "A", "M")), r=4), rampConfig())
    assert dataset.ampNames == ["Z", "A", "M"]


def testPairsOfDifferentSidesAreRefusedAndLargerOnesCut():
    means, variances, covariances, weights = ramp()
    partials = makePartials(means, variances, covariances, weights, r=4)
    small = {amp: cov[:, :2, :2] for amp, cov in covariances.items()}
    smallWeights = {amp: w[:, :2, :2] for amp, w in weights.items()}
    others = makePartials(means, variances, small, smallWeights, r=2)
    with pytest.raises(MismatchError, match="covMatrixSide"):
        solve([partials[0], others[1]], rampConfig())
    config = makeConfig(
        ptcFitType="FULLCOVARIANCE", maximumRangeCovariancesAstier=2, maximumRangeCovariancesAstierFullCovFit=2
    )
    cut, direct = solve(partials, config), solve(others, config)
    assert cut.covMatrixSide == 2 and cut.gain["A"] == direct.gain["A"]
    assert np.array_equal(cut.covariances["B"], direct.covariances["B"])
    # a configured range beyond what was measured means all of it
    assert solve(others, makeConfig(ptcFitType="FULLCOVARIANCE")).aMatrix["A"].shape == (2, 2)


def testThreadsDoNotChangeTheResult():
    partials = makePartials(*ramp(amps=tuple("ABCDEF")), r=4)
    config = rampConfig(ptcFitType="FULLCOVARIANCE")
    one, many = solve(partials, config, numThreads=1), solve(partials, config, numThreads=4)
    for amp in one.ampNames:
        assert one.gain[amp] == many.gain[amp] and np.array_equal(one.aMatrix[amp], many.aMatrix[amp])


def testZeroVarianceOfOnePairIsReplacedAndRejected(caplog):
    means, variances, covariances, weights = ramp()
    variances["A"][7] = 0.0
    with caplog.at_level(logging.WARNING):
        result = solveWithDetails(makePartials(means, variances, covariances, weights, r=4), rampConfig())
    assert not result.dataset.expIdMask["A"][7] and result.dataset.expIdMask["A"].sum() == 29
    assert "ZERO_VARIANCE" in result.amplifiers["A"].flags and "[7]" in caplog.text


def testMissingWeightsAreReplacedByRelativeOnes():
    means, variances, covariances, weights = ramp()
    for fitType in ("EXPAPPROXIMATION", "FULLCOVARIANCE"):
        nothing = {amp: np.full_like(w, np.nan) for amp, w in weights.items()}
        result = solveWithDetails(
            makePartials(means, variances, covariances, nothing, r=4), rampConfig(ptcFitType=fitType)
        )
        assert result.dataset.gain["A"] == pytest.approx(1.5, rel=0.01)
        assert "NO_WEIGHTS" in result.amplifiers["A"].flags


def testNoiseThatDiffersFromTheOverscanIsReported(caplog):
    good = {amp: np.full(30, 5.0 / 1.5) for amp in "ABC"}
    good["B"] = np.full(30, 2 * 5.0 / 1.5)
    with caplog.at_level(logging.WARNING):
        result = solveWithDetails(makePartials(*ramp(), r=4, noise=good), rampConfig(ptcFitType="FULLCOVARIANCE"))
    assert "NOISE_DIFFERS" in result.amplifiers["B"].flags and "NOISE_DIFFERS" not in result.amplifiers["A"].flags
    assert "overscan noise" in caplog.text and "amplifier B" in caplog.text


def testOverscanMediansComeFromTheUsedPairs():
    levels = {amp: np.arange(30.0) for amp in "ABC"}
    dataset = solve(makePartials(*ramp(), r=4, overscanMedianLevel=levels), rampConfig(minMeanSignal={"A": 20000.0}))
    used = dataset.expIdMask["A"]
    assert dataset.overscanMedian["A"] == np.median(levels["A"][used])
    deviation = np.abs(levels["A"][used] - dataset.overscanMedian["A"])
    assert dataset.overscanMedianSigma["A"] == pytest.approx(1.4826 * np.median(deviation), rel=1e-4)


def testDistantCovariancesAreSubtractedBeforeTheFitAndTheRawOnesKept():
    means, variances, covariances, weights = ramp(r=8)
    config = makeConfig(
        ptcFitType="FULLCOVARIANCE_NO_B",
        maximumRangeCovariancesAstier=8,
        maximumRangeCovariancesAstierFullCovFit=4,
        startLongRangeCovariances=5,
        polyDegLongRangeCovariances=0,
    )
    clean = solve(makePartials(means, variances, covariances, weights, r=8), config)
    # a floor of 2e-3 of the square of the level, as from a ripple of the gain
    lifted = {amp: cov + 1e-8 * means[amp][:, None, None] ** 2 for amp, cov in covariances.items()}
    partials = makePartials(means, variances, lifted, weights, r=8)
    spoiled = solve(partials, config)
    config.doSubtractLongRangeCovariances = True
    result = solveWithDetails(partials, config)
    a11 = [dataset.aMatrix["A"][1, 1] for dataset in (clean, spoiled, result.dataset)]
    assert a11[1] - a11[0] == pytest.approx(1e-8, rel=0.2)
    assert abs(a11[2] - a11[0]) < 0.15e-8
    assert np.array_equal(result.dataset.covariances["A"], lifted["A"])
    assert result.amplifiers["A"].offset.shape == (30, 8, 8)
    assert result.dataset.metadata["PTC_LONG_RANGE_SUBTRACTED"] is True


def testFlagsAreExplained():
    means, variances, covariances, weights = ramp()
    variances["B"][25:] *= 0.5
    result = solveWithDetails(makePartials(means, variances, covariances, weights, r=4), rampConfig())
    assert "NO_TURNOFF" in result.amplifiers["A"].flags and "NO_TURNOFF" not in result.amplifiers["B"].flags
    assert result.dataset.ptcTurnoff["B"] == means["B"][24]
    assert all(flag in FLAGS for s in result.amplifiers.values() for flag in s.flags)


def testRolloffEndsTheUsedRange():
    mu = np.linspace(300, 9e4, 180)
    var = models.evalRolloff(mu, -2e-6, 1.5, 25.0, 6e4, -2500.0)
    var[mu > 7.6e4] *= 0.5
    weights = 700.0 / var
    partials = makePartials({"A": mu}, {"A": var}, {"A": var[:, None, None]}, {"A": weights[:, None, None]})
    plain = solve(partials, makeConfig())
    dataset = solve(partials, makeConfig(doModelPtcRolloff=True))
    assert plain.ptcTurnoff["A"] == dataset.ptcTurnoff["A"] and np.isnan(plain.ptcRolloff["A"])
    assert 6e4 < dataset.ptcRolloff["A"] < dataset.ptcTurnoff["A"]
    assert np.array_equal(dataset.expIdMask["A"], dataset.expIdRolloffMask["A"])
    assert dataset.expIdMask["A"].sum() < plain.expIdMask["A"].sum()
    assert dataset.ptcRolloffTau["A"] < 0
    assert abs(dataset.gain["A"] - 1.5) < abs(plain.gain["A"] - 1.5)


def testBootstrapIsReproducibleAndRight():
    partials = makePartials(*ramp(), r=4)
    plain, first, again = (solve(partials, rampConfig(doFitBootstrap=boot)) for boot in (False, True, True))
    assert first.gain["A"] == again.gain["A"] and first.gainErr["A"] == again.gainErr["A"]
    assert first.gain["A"] == pytest.approx(plain.gain["A"], abs=plain.gainErr["A"])
    assert first.gainErr["A"] == pytest.approx(plain.gainErr["A"], rel=0.6)


def testOneNoiseVarianceBelowZeroIsHeldAtZeroAndFlagged():
    mu = np.linspace(300, 9e4, 60)
    var = models.evalExpApproximation(mu, -2e-6, 1.5, -60.0)
    partials = makePartials({"A": mu}, {"A": var}, {"A": var[:, None, None]}, {"A": (700.0 / var)[:, None, None]})
    held = solveWithDetails(partials, makeConfig())
    assert held.dataset.noise["A"] == 0 and np.isnan(held.dataset.noiseErr["A"])
    assert "NOISE_AT_ZERO" in held.amplifiers["A"].flags
    free = solve(partials, makeConfig(boundNoise=False))
    assert free.ptcFitPars["A"][2] == pytest.approx(-60, rel=1e-3)


@pytest.mark.parametrize(
    "fields",
    [
        {"ptcFitType": "FULLCOVARIANCE", "maximumRangeCovariancesAstierFullCovFit": 11},
        {"ptcFitType": "FULLCOVARIANCE_NO_B", "maximumRangeCovariancesAstierFullCovFit": 11},
        {"doSubtractLongRangeCovariances": True, "startLongRangeCovariances": 11},
    ],
)
def testConfigurationChecksSizes(fields):
    config = makeConfig(**fields)
    with pytest.raises(RuntimeError, match="10, given 11"):
        config.validate()
    with pytest.raises(DomainError):
        solve(makePartials(*ramp(), r=4), config)


def offsetDataset(gains, factor):
    amps = list(gains)
    mu0 = np.linspace(2000, 15000, 12)
    means = {amp: mu0 / gain for amp, gain in gains.items()}
    reference = sorted(gains, key=gains.get)[len(gains) // 2]
    dataset = PhotonTransferCurveDataset(amps, "EXPAPPROXIMATION", 1)
    for amp in amps:
        dataset.setAmpValues(
            amp,
            inputExpIdPair=[(k, k) for k in range(12)],
            expIdMask=np.ones(12, bool),
            rawExpTime=np.arange(12.0),
            rawMean=means[amp],
            rawVar=means[amp],
            photoCharge=np.zeros(12),
            finalVar=np.zeros(12),
            finalModelVar=np.zeros(12),
            finalMean=np.zeros(12),
            gain=gains[amp] * factor[amp],
            ampOffsets=means[amp] - means[reference],
        )
    return dataset, mu0


def testAmpOffsetsFlattenFlats(caplog):
    gains = {"A": 1.4, "B": 1.5, "C": 1.6, "D": 1.7, "E": 1.45}
    factor = {"A": 1.001, "B": 0.999, "C": 1.0, "D": 1.002, "E": 0.9995}
    dataset, mu0 = offsetDataset(gains, factor)
    corrections = adjustGainsByAmpOffsets(dataset, 1000.0, 20000.0)
    flat = np.array([dataset.rawMeans[amp] * dataset.gain[amp] for amp in gains])
    assert np.abs(flat / flat[0] - 1).max() < 1e-6
    ratios = np.array([dataset.gain[amp] / dataset.gain["A"] for amp in gains])
    assert ratios == pytest.approx(np.array([gains[amp] / gains["A"] for amp in gains]), rel=1e-7)
    assert np.median(list(corrections.values())) == pytest.approx(1.0, rel=1e-12)
    assert dataset.gainUnadjusted["A"] == pytest.approx(1.4 * 1.001)


def testAmpOffsetsLeaveOutAmplifiersWithoutGainOrOffsets(caplog):
    gains = {"A": 1.4, "B": 1.5, "C": 1.6, "D": 1.7}
    dataset, _ = offsetDataset(gains, dict.fromkeys(gains, 1.0))
    dataset.gain["D"] = np.nan
    dataset.ampOffsets["A"][2:] = np.nan
    with caplog.at_level(logging.WARNING):
        corrections = adjustGainsByAmpOffsets(dataset, 1000.0, 20000.0)
    assert set(corrections) == {"B", "C"} and np.isnan(dataset.gain["D"]) and dataset.gain["A"] == 1.4
    assert "Not enough good amp offset measurements" in caplog.text
    dataset.gain["B"] = dataset.gain["C"] = np.nan
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert adjustGainsByAmpOffsets(dataset, 1000.0, 20000.0) == {}
    assert "Cannot apply" in caplog.text


@pytest.mark.shared
@pytest.mark.parametrize("sensor", ["lsst_itl_50_8", "lsst_e2v_50_8"])
def testSiliconSensorCovariancesReturnTheStoredFits(sharedDir, sensor):
    with open(sharedDir / "golden" / "ptc_galsim_bf.json") as stream:
        golden = json.load(stream)
    data = golden[sensor]
    mu, cov, npix = (np.array(data[k]) for k in ("mu", "cov", "npixPerLag"))
    weights = np.sqrt(npix)[None] / cov[:, :1, :1]
    weights[:, 0, 0] /= np.sqrt(2)
    partials = makePartials({"A": mu}, {"A": cov[:, 0, 0]}, {"A": cov}, {"A": weights}, r=8)
    base = {"maximumRangeCovariancesAstier": 8, "fitWeights": "DATA", "fitErrors": "SCALED", "boundNoise": False}
    curve = solve(partials, makeConfig(**base))
    expected = data["expApprox"]
    found = curve.ptcFitPars["A"]
    sigma = np.array([expected["a00Err"], expected["gainErr"], np.inf])
    theirs = [expected["a00"], expected["gain"], expected["noise2"]]
    # The stored fits stop short of the minimum (their derivatives are differences of 1 %): chi2 is larger by 2e-9 and 8e-8 of
    # itself. So the check's 1e-6 holds for the gain, while a00 and the noise, which trade off, are off by up to 1e-5 and 2e-4.
    used = lambda p: np.sum(((models.evalExpApproximation(mu, *p) - cov[:, 0, 0]) * weights[:, 0, 0]) ** 2)  # noqa: E731
    assert used(found) <= used(theirs) < (1 + 1e-6) * used(found)
    assert found[1] == pytest.approx(theirs[1], rel=1e-6)
    assert found[0] == pytest.approx(theirs[0], rel=1e-5) and found[2] == pytest.approx(theirs[2], rel=2e-4)
    assert curve.ptcFitParsError["A"][:2] == pytest.approx(sigma[:2], rel=0.05)
    assert abs(found[0] - golden["areaDerivatives"][sensor]["a00"]) < 0.08e-6
    config = makeConfig(
        ptcFitType="FULLCOVARIANCE",
        maximumRangeCovariancesAstierFullCovFit=4,
        maxIterFullFitCovariancesAstier=0,
        **base,
    )
    solution = solveWithDetails(partials, config).amplifiers["A"]
    full, expected = solution.full, data["fullCov"]
    a, b = np.array(expected["a"]), np.array(expected["b"])
    assert full.gain == pytest.approx(expected["gain"], rel=1e-6)
    # the elements to 2e-4 of their errors, and a to 2e-5 of a00, for the reason above; the stored b = c/a, so that c is compared
    assert np.all(np.abs(full.a - a) < 2e-4 * solution.fullErrors["a"]) and np.all(
        np.abs(full.a - a) < 2e-5 * abs(a[0, 0])
    )
    assert np.all(np.abs(full.c - a * b) < 2e-4 * solution.fullErrors["c"])
    # no noise was stored: even with the best one for its a, b and gain the reference is not below our minimum
    without = models.evalFullCovariance(mu, a, a * b, np.zeros((4, 4)), expected["gain"])
    rest, square = cov[:, :4, :4] - without, weights[:, :4, :4] ** 2
    rest = rest - (rest * square).sum(axis=0) / square.sum(axis=0)
    assert full.chi2 <= np.sum(rest**2 * square) < (1 + 1e-6) * full.chi2


def checkManyAmplifiers(fitType, r, nAmps, slack):
    """20 levels from 50 e to 100 ke, 10 pairs each: biases, and pulls of all errors, with slack for the number of pulls."""
    mu = np.repeat(np.linspace(50, 1e5, 20), 10) / 1.5
    dataset = rampDataset(4, nAmps, mu, r, fitType)
    config = makeConfig(ptcFitType=fitType, maximumRangeCovariancesAstier=r, maximumRangeCovariancesAstierFullCovFit=r)
    result = solveDataset(dataset, makeSolveSettings(config))
    assert dataset.badAmps == []
    a, names = truth(r)[0], dataset.ampNames
    pars, errors = (np.array([d[amp] for amp in names]) for d in (dataset.ptcFitPars, dataset.ptcFitParsError))
    noise, noiseErr = (np.array([d[amp] for amp in names]) for d in (dataset.noise, dataset.noiseErr))
    gain, gainErr = (np.array([d[amp] for amp in names]) for d in (dataset.gain, dataset.gainErr))
    assert abs(gain.mean() / 1.5 - 1) < 1e-3
    assert abs(pars[:, 0].mean() / a[0, 0] - 1) < 0.02
    assert abs(noise.mean() / 5.0 - 1) < 0.02
    pulls = [*((pars - [a[0, 0], 1.5, 25.0]) / errors).T, (noise - 5.0) / noiseErr, (gain - 1.5) / gainErr]
    if fitType.startswith("FULL"):
        fits = [(solution.full, solution.fullErrors) for solution in result.amplifiers.values()]
        noiseMatrix = np.where(np.arange(r * r).reshape(r, r) == 0, 25.0, 0.0)
        pulls.append(np.ravel([(fit.a - a) / error["a"] for fit, error in fits]))
        pulls.append(np.ravel([(fit.noise - noiseMatrix) / error["noise"] for fit, error in fits]))
        if fitType == "FULLCOVARIANCE":
            pulls.append(np.array([(fit.b[0, 0] + 2e-7) / error["b"][0, 0] for fit, error in fits]))
            pulls.append(np.ravel([(fit.c + 2e-7 * a) / error["c"] for fit, error in fits]))
    for pull in pulls:
        assert abs(pull.mean()) < 0.1 + slack and abs(pull.std() - 1) < 0.15 + slack / 2, (
            fitType,
            pull.mean(),
            pull.std(),
        )


@pytest.mark.parametrize("fitType, r", [("FULLCOVARIANCE", 2), ("FULLCOVARIANCE_NO_B", 2), ("EXPAPPROXIMATION", 1)])
def testHundredAmplifiersAreUnbiasedAndTheirErrorsRight(fitType, r):
    # the mean of 100 pulls has itself a standard error of 0.1, their width of 0.07: two of these are allowed; the slow test needs none
    checkManyAmplifiers(fitType, r, 100, slack=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("fitType, r", [("FULLCOVARIANCE", 3), ("FULLCOVARIANCE_NO_B", 2), ("EXPAPPROXIMATION", 1)])
def testThousandAmplifiersHavePullsOfMeanZeroAndWidthOne(fitType, r):
    checkManyAmplifiers(fitType, r, 1000, slack=0.0)


def testModelWeightsRemoveTheBiasOfMeasuredOnes():
    """Few pixels: weights at measured variances pull the gain up by 2/npix per pair, in units that many pairs resolve."""
    mu = np.repeat(np.linspace(50, 5e4, 20), 10) / 1.5
    shift = {}
    for weights in ("MODEL", "DATA"):
        dataset = rampDataset(8, 60, mu, 1, "EXPAPPROXIMATION", nPixels=2e3)
        settings = makeSolveSettings(makeConfig(fitWeights=weights, maximumRangeCovariancesAstier=1))
        solveDataset(dataset, settings)
        gains, errors = (np.array([d[amp] for amp in dataset.ampNames]) for d in (dataset.gain, dataset.gainErr))
        shift[weights] = np.mean((gains - 1.5) / errors)
    assert abs(shift["MODEL"]) < 0.4 and shift["DATA"] > abs(shift["MODEL"]) + 0.3
