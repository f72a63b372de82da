"""PhotonTransferCurveDataset in memory (photon transfer, 4.1, 4.2 and 11.E)."""

import copy
import logging
import math

import numpy as np
import pytest

from stillsky.errors import DomainError, MismatchError, NotFoundError, ShapeError, StillskyError
from stillsky.geom import Box2I
from stillsky.meta import Amplifier, Detector
from stillsky.ptc import PairCountError, PhotonTransferCurveDataset
from stillsky.ptc.dataset_fields import FIELDS, PAIR_FIELDS

AMPS = ["C:0,0", "C:0,1", "C:1,0"]


def makePartial(k, side=3, aux=None, amps=AMPS):
    """A partial dataset whose every value tells the pair k and the amplifier it belongs to."""
    partial = PhotonTransferCurveDataset(amps, "PARTIAL", side)
    for j, amp in enumerate(amps):
        x = 100.0 * k + j
        partial.setAmpValuesPartialDataset(
            amp,
            inputExpIdPair=(2 * k, 2 * k + 1),
            inputExpPairMjdStart=60000 + x,
            rawExpTime=1 + x,
            rawMean=2 + x,
            rawVar=3 + x,
            rawDelta=4 + x,
            rowMeanVariance=5 + x,
            photoCharge=6 + x,
            photoChargeDelta=7 + x,
            ampOffset=8 + x,
            expIdMask=k % 2 == 0,
            expIdRolloffMask=k % 3 == 0,
            nPixelCovariance=1000 + k,
            covariance=np.arange(side * side).reshape(side, side) + x,
            covSqrtWeights=np.full((1, side, side), 9 + x),
            gain=1.5 + 0.01 * k,
            noise=4 + 0.1 * k,
            overscanMedianLevel=10 + x,
            histVar=11 + x,
            histChi2Dof=12 + x,
            kspValue=0.5,
        )
    partial.setAuxValuesPartialDataset(aux if aux is not None else {"CCOBCURR": 0.5 * k, "INTVAL": k, "name": f"p{k}"})
    return partial


def makeFull(n=4, side=3, **kwargs):
    full = PhotonTransferCurveDataset(AMPS, None, side, **kwargs)
    full.appendPartialPtcs(makePartial(k, side) for k in range(n))
    return full


def test_aNewDatasetIsEmptyAndSharesNothing():
    first = PhotonTransferCurveDataset()
    first.ampNames.append("x")
    first.badAmps.append("x")
    second = PhotonTransferCurveDataset()
    assert second.ampNames == [] and second.badAmps == [] and second.nPairs == 0 and second.auxValues == {}
    assert (second.covMatrixSide, second.covMatrixSideFullCovFit, second.ptcFitType) == (1, 1, None)
    ptc = PhotonTransferCurveDataset(AMPS, "PARTIAL", 3)
    for name, field in FIELDS.items():
        for amp in AMPS:
            value = getattr(ptc, name)[amp]
            if field.shape:
                assert value.size == 0 and value.dtype == field.dtype, name
            elif name == "nPixelCovariances":
                assert value == -1 and isinstance(value, int)
            else:
                assert isinstance(value, float) and math.isnan(value), name
        assert getattr(ptc, name)[AMPS[0]] is not getattr(ptc, name)[AMPS[1]] or not field.shape


def test_everyAttributeOfVersion26IsThere():
    wanted = """ptcFitType ampNames covMatrixSide covMatrixSideFullCovFit badAmps inputExpIdPairs inputExpPairMjdStartList
    expIdMask expIdRolloffMask rawExpTimes rawMeans rawDeltas rawVars rowMeanVariance photoCharges photoChargeDeltas
    ampOffsets gain gainUnadjusted gainErr gainList noise noiseErr noiseList overscanMedianLevelList overscanMedian
    overscanMedianSigma histVars histChi2Dofs kspValues ptcFitPars ptcFitParsError ptcFitChiSq ptcTurnoff
    ptcTurnoffSamplingError ptcRolloff ptcRolloffError ptcRolloffTau ptcRolloffTauError nPixelCovariances covariances
    covariancesSqrtWeights covariancesModel aMatrix bMatrix noiseMatrix finalVars finalModelVars finalMeans auxValues"""
    ptc = PhotonTransferCurveDataset(AMPS)
    for name in wanted.split():
        assert hasattr(ptc, name), name
    assert set(FIELDS) <= {*wanted.split(), "nPixelCovarianceList"}


def test_aPartialDatasetHoldsOneMeasurement():
    partial = makePartial(2)
    assert partial.inputExpIdPairs["C:0,1"] == [(4, 5)]
    assert partial.rawMeans["C:0,1"].tolist() == [203.0] and partial.rawVars["C:0,1"].tolist() == [204.0]
    assert partial.covariances["C:0,1"].shape == partial.covariancesSqrtWeights["C:0,1"].shape == (1, 3, 3)
    assert partial.covariances["C:0,1"][0, 1, 2] == 206.0
    assert partial.gain["C:0,1"] == partial.gainUnadjusted["C:0,1"] == partial.gainList["C:0,1"][0] == 1.52
    assert partial.noise["C:0,1"] == partial.noiseList["C:0,1"][0] == 4.2
    assert partial.overscanMedian["C:0,1"] == 211.0 and partial.overscanMedianSigma["C:0,1"] == 0.0
    assert partial.nPixelCovariances["C:0,1"] == 1002 and partial.nPixelCovarianceList["C:0,1"].tolist() == [1002]
    assert partial.expIdMask["C:0,1"].dtype == bool and partial.expIdMask["C:0,1"].tolist() == [True]
    for name, shape in (
        ("covariancesModel", (1, 3, 3)),
        ("aMatrix", (3, 3)),
        ("noiseMatrix", (3, 3)),
        ("finalVars", (1,)),
    ):
        assert getattr(partial, name)["C:0,1"].shape == shape and np.isnan(getattr(partial, name)["C:0,1"]).all()
    partial.checkSizes()


def test_aDummyHoldsNaNAndFalse():
    dummy = PhotonTransferCurveDataset(AMPS, "DUMMY", 3)
    dummy.setAmpValuesPartialDataset("C:0,0")
    assert dummy.inputExpIdPairs["C:0,0"] == [(-1, -1)] and dummy.expIdMask["C:0,0"].tolist() == [False]
    assert dummy.kspValues["C:0,0"].tolist() == [0.0] and np.isnan(dummy.covariances["C:0,0"]).all()
    for name in ("rawExpTimes", "rawMeans", "rawVars", "gainList", "noiseList", "histVars"):
        assert np.isnan(getattr(dummy, name)["C:0,0"]).all()


def test_setAmpValuesOfTheFirstVersionTakesLists():
    """The seed's verb: one-element lists, empty matrices become NaN, a NaN mask and NaN ids mean no measurement."""
    ptc = PhotonTransferCurveDataset(AMPS, "PARTIAL", 2)
    ptc.setAmpValues("C:0,0")
    assert ptc.inputExpIdPairs["C:0,0"] == [(-1, -1)] and np.isnan(ptc.covariances["C:0,0"]).all()
    ptc.setAmpValues("C:0,0", inputExpIdPair=[(math.nan, math.nan)], expIdMask=[math.nan])
    assert ptc.inputExpIdPairs["C:0,0"] == [(-1, -1)] and ptc.expIdMask["C:0,0"].tolist() == [False]
    ptc.setAmpValues(
        "C:0,1", inputExpIdPair=[(1, 2), (3, 4)], expIdMask=[True, False], rawExpTime=[1.0, 2.0], rawMean=[10, 20],
        rawVar=[5, 9], photoCharge=[7, 8], gain=1.5, noise=3.0, covArray=np.arange(8).reshape(2, 2, 2),
        covSqrtWeights=np.ones((2, 2, 2)), aMatrix=np.eye(2), finalVar=[1, 2], finalModelVar=[1, 2], finalMean=[3, 4],
        rawDeltas=[0.5, 0.25],
    )  # fmt: skip
    assert ptc.rawMeans["C:0,1"].tolist() == [10, 20] and ptc.rawDeltas["C:0,1"].tolist() == [0.5, 0.25]
    assert ptc.covariances["C:0,1"][1, 0, 1] == 5 and ptc.aMatrix["C:0,1"][1, 1] == 1 and ptc.noise["C:0,1"] == 3
    assert ptc.gainUnadjusted["C:0,1"] == 1.5 and np.isnan(ptc.histVars["C:0,1"]).tolist() == [True, True]
    with pytest.raises(DomainError, match="rawMoons"):
        ptc.setAmpValues("C:0,1", rawMoons=[1])
    with pytest.raises(ShapeError, match="rawMeans of amplifier C:0,1"):
        ptc.setAmpValues("C:0,1", rawMean=[1, 2])


def test_wrongMatricesAndUnknownAmplifiersAreRefused():
    ptc = PhotonTransferCurveDataset(AMPS, "PARTIAL", 3)
    with pytest.raises(ShapeError, match=r"covariances of amplifier C:0,0: wanted shape \(1, 3, 3\)"):
        ptc.setAmpValuesPartialDataset("C:0,0", covariance=np.zeros((2, 2)))
    with pytest.raises(NotFoundError, match="no amplifier 'Z'"):
        ptc.setAmpValuesPartialDataset("Z")
    for bad in ({"ptcFitType": "CUBIC"}, {"covMatrixSide": 0}, {"ampNames": ["a", "a"]}):
        with pytest.raises(DomainError):
            PhotonTransferCurveDataset(**bad)


@pytest.mark.parametrize("requested, given", [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_sideOfTheFullFitIsReducedToTheSideOfTheMeasurements(requested, given, caplog):
    ptc = PhotonTransferCurveDataset(AMPS, "FULLCOVARIANCE", 3, requested)
    assert ptc.covMatrixSideFullCovFit == given
    assert ("reduced" in caplog.text) == (requested > 3)


def test_auxiliaryValuesHaveTheirTypes():
    ptc = PhotonTransferCurveDataset(AMPS, "PARTIAL")
    ptc.setAuxValuesPartialDataset({"A": 1, "B": 2.5, "C": "text", "intVal": np.int32(7), "E": None})
    assert {k: v.dtype.kind for k, v in ptc.auxValues.items()} == {
        "A": "i",
        "B": "f",
        "C": "U",
        "intVal": "i",
        "E": "f",
    }
    assert all(v.shape == (1,) for v in ptc.auxValues.values()) and np.isnan(ptc.auxValues["E"][0])
    assert ptc.auxValues["A"].dtype == np.int64


def test_appendPartialPtcConcatenatesThreePairs():
    full = PhotonTransferCurveDataset(AMPS, None, 3)
    partials = [makePartial(k) for k in range(3)]
    for partial in partials:
        full.appendPartialPtc(partial)
    assert full.nPairs == 3 and full.inputExpIdPairs["C:1,0"] == [(0, 1), (2, 3), (4, 5)]
    for name in PAIR_FIELDS:
        for amp in AMPS:
            joined = np.concatenate([getattr(p, name)[amp] for p in partials])
            np.testing.assert_array_equal(getattr(full, name)[amp], joined, err_msg=name)
    assert full.auxValues["CCOBCURR"].tolist() == [0.0, 0.5, 1.0] and full.auxValues["INTVAL"].dtype == np.int64
    assert full.auxValues["name"].tolist() == ["p0", "p1", "p2"]
    full.checkSizes()
    assert full == makeFull(3)


def test_appendPartialPtcRefusesWhatDoesNotFit():
    full = PhotonTransferCurveDataset(AMPS, None, 3)
    full.appendPartialPtc(makePartial(0))
    dummy, two = makePartial(1), makePartial(1)
    dummy.ptcFitType = "DUMMY"
    two.inputExpIdPairs["C:0,0"] = [(1, 2), (3, 4)]
    bad = {
        "only PARTIAL": dummy,
        "exactly one pair": two,
        "wanted amplifiers": makePartial(1, amps=["C:0,0"]),
        "auxiliary keys": makePartial(1, aux={"CCOBCURR": 1.0, "INTVAL": 1, "name": "x", "EXTRA": 2.0}),
        "covMatrixSide": makePartial(1, side=2),
    }
    for message, partial in bad.items():
        with pytest.raises(ValueError, match=message):
            full.appendPartialPtc(partial)
        with pytest.raises(MismatchError):
            full.appendPartialPtcs([makePartial(5), partial])
    assert full.nPairs == 1


def test_pairsMayDifferInTheirNumberOfPixels():
    """The reference aborts here; saturation masks differ between exposures, so the counts do, too."""
    full = makeFull(3)
    assert full.nPixelCovarianceList["C:0,0"].tolist() == [1000, 1001, 1002] and full.nPixelCovariances["C:0,0"] == 1002


def test_appendPartialPtcTakesModelsOfTheFitsSide():
    """A fit side below the side of the measurements: the reference reshapes with the wrong side and fails."""
    full = PhotonTransferCurveDataset(AMPS, None, 3, 2)
    full.appendPartialPtcs([makePartial(0), makePartial(1)])
    assert full.covariancesModel["C:0,0"].shape == (2, 2, 2)
    own = PhotonTransferCurveDataset(AMPS, "PARTIAL", 3, 2)
    for amp in AMPS:
        own.setAmpValuesPartialDataset(amp)
    own.setAuxValuesPartialDataset({"CCOBCURR": 1.0, "INTVAL": 1, "name": "x"})
    full.appendPartialPtc(own)
    assert full.covariancesModel["C:0,0"].shape == (3, 2, 2)


def test_partialsAreNeitherModifiedNorShared():
    partial = makePartial(0)
    before = copy.deepcopy(partial)
    full = PhotonTransferCurveDataset(AMPS, None, 3)
    full.appendPartialPtc(partial)
    full.rawMeans["C:0,0"][:] = -1
    full.covariances["C:0,0"][:] = -1
    full.auxValues["CCOBCURR"][:] = -1
    full.inputExpIdPairs["C:0,0"].append((9, 9))
    assert partial == before


def test_sortReordersEveryPerPairItem():
    full, order = makeFull(3), [2, 1, 0]
    before = full.copy()
    full.sort(order)
    for amp in AMPS:
        assert full.inputExpIdPairs[amp] == before.inputExpIdPairs[amp][::-1]
        for name in PAIR_FIELDS:
            np.testing.assert_array_equal(getattr(full, name)[amp], getattr(before, name)[amp][::-1], err_msg=name)
    assert full.auxValues["name"].tolist() == ["p2", "p1", "p0"] and full.auxValues["CCOBCURR"].tolist() == [
        1.0,
        0.5,
        0.0,
    ]
    assert full.gain == before.gain or all(math.isnan(v) for v in full.gain.values())
    for wrong in ([0, 1], [0, 1, 1], [0, 1, 2, 3]):
        with pytest.raises(ValueError, match="permutation of 3 pairs"):
            full.sort(wrong)


def test_getExpIdsUsedAppliesTheMask(caplog):
    ptc = PhotonTransferCurveDataset(["C:0,0"], "PARTIAL")
    ptc.inputExpIdPairs["C:0,0"] = [(12, 34), (56, 78), (90, 10)]
    assert ptc.getExpIdsUsed("C:0,0") == [(12, 34), (56, 78), (90, 10)]
    ptc.expIdMask["C:0,0"] = np.array([True, False, True])
    assert ptc.getExpIdsUsed("C:0,0") == [(12, 34), (90, 10)]
    assert ptc.getGoodPoints("C:0,0").tolist() == [True, False, True]
    ptc.expIdMask["C:0,0"] = np.array([True, False])
    with pytest.raises(AssertionError, match="a mask of 2 entries for 3"):
        ptc.getExpIdsUsed("C:0,0")
    ptc.expIdMask["C:0,0"] = np.array([True, False, True])
    ptc.inputExpIdPairs["C:0,0"] = [[(12, 34), (56, 78), (90, 10)]]
    assert not caplog.records
    assert ptc.getExpIdsUsed("C:0,0") == [(12, 34), (90, 10)]
    assert "PTC file was written incorrectly" in caplog.text


def test_getGoodAmpsKeepsTheOrder():
    ptc = makeFull()
    ptc.badAmps = ["C:0,1"]
    assert ptc.getGoodAmps() == ["C:0,0", "C:1,0"]


@pytest.mark.parametrize("bad", [math.nan, -1.0, 0.0])
def test_validateGainNoiseTurnoffValuesReplacesWhatCannotBeUsed(bad, caplog):
    ptc = makeFull()
    for values in (ptc.gain, ptc.noise, ptc.ptcTurnoff):
        values["C:0,0"], values["C:0,1"] = bad, 2.5
    ptc.validateGainNoiseTurnoffValues("C:0,0")
    ptc.validateGainNoiseTurnoffValues("C:0,1", doWarn=True)
    assert (ptc.gain["C:0,0"], ptc.noise["C:0,0"], ptc.ptcTurnoff["C:0,0"]) == (1.0, 1.0, 2e19)
    assert (ptc.gain["C:0,1"], ptc.noise["C:0,1"], ptc.ptcTurnoff["C:0,1"]) == (2.5, 2.5, 2.5)
    assert not caplog.records
    ptc.gain["C:0,0"] = bad
    ptc.validateGainNoiseTurnoffValues("C:0,0", doWarn=True)
    assert "amplifier C:0,0: gain" in caplog.text


def test_equalityFollowsEveryAttribute():
    full = makeFull()
    for name, field in FIELDS.items():
        other = full.copy()
        values = getattr(other, name)
        if field.shape == "":
            values["C:0,0"] = 77
        elif values["C:0,0"].size:
            values["C:0,0"].flat[0] = not values["C:0,0"].flat[0] if field.dtype is np.bool_ else 77
        else:
            values["C:0,0"] = np.ones((2, 2))
        assert other != full, name
    for change in ("badAmps", "ptcFitType", "ampNames", "auxValues"):
        other = full.copy()
        setattr(other, change, {"x": np.ones(4)} if change == "auxValues" else ["C:0,0"])
        assert other != full, change
    other = full.copy()
    other.updateMetadata(FILTER="r")
    assert other != full
    assert full == full.copy() and full != 3


def test_noneAndEmptyTextAreEqualInMetadata():
    one, two = makeFull(), makeFull()
    two.metadata.set("FILTER", "")
    assert one == two


def test_checkSizesNamesTheArrayThatDoesNotFit():
    full = makeFull()
    full.rawVars["C:0,1"] = full.rawVars["C:0,1"][:2]
    with pytest.raises(PairCountError, match=r"rawVars of amplifier C:0,1: wanted shape \(4,\), given \(2,\)"):
        full.checkSizes()
    full = makeFull()
    full.aMatrix["C:0,1"] = np.zeros((2, 2))
    with pytest.raises(ShapeError, match="aMatrix of amplifier C:0,1"):
        full.checkSizes()


def test_metadataNamesTheSensorAndTheMaking():
    detector = Detector(7, "R22_S11", [Amplifier(a, Box2I((0, 0), (2, 2))) for a in AMPS], serial="ITL-1")
    ptc = PhotonTransferCurveDataset(AMPS, "EXPAPPROXIMATION", camera="LSSTCam", detector=detector)
    ptc.updateMetadata(filterName="r", setDate=True, setCalibId=True)
    meta = ptc.metadata
    assert (meta["OBSTYPE"], meta["PTC_SCHEMA"], meta["PTC_VERSION"]) == ("PTC", "Gen3 Photon Transfer Curve", 2.6)
    assert meta["PTC_FIT_TYPE"] == "EXPAPPROXIMATION" and meta["INSTRUME"] == "LSSTCam"
    assert (meta["DETECTOR"], meta["DET_NAME"], meta["DET_SER"]) == (7, "R22_S11", "ITL-1")
    assert (meta["RAFTNAME"], meta["SLOTNAME"], meta["FILTER"]) == ("R22", "S11", "r")
    assert meta["CALIB_ID"].startswith("instrument=LSSTCam raftName=R22")
    assert "detectorName=R22_S11 detector=7 filter=r calibDate=" + meta["CALIBDATE"] in meta["CALIB_ID"]
    assert meta["CALIBCLS"] == "stillsky.ptc.dataset.PhotonTransferCurveDataset"
    assert meta["CALIB_CREATION_DATE"] == meta["CALIBDATE"][:10] and "CALIB_CREATION_TIME" in meta


def test_sequenceKeysOfTheExposuresAreTakenOver(caplog):
    class Shot:
        visitInfo = None

        def __init__(self, **cards):
            self.metadata = cards

    ptc = PhotonTransferCurveDataset(AMPS)
    shots = [Shot(SEQFILE="a.seq", SEQNAME="one", INSTRUME="LabCam"), Shot(SEQFILE="b.seq", SEQCKSUM="5"), Shot()]
    with caplog.at_level(logging.WARNING):
        ptc.updateMetadataFromExposures(shots)
    meta = ptc.metadata
    assert (meta["SEQFILE"], meta["SEQNAME"], meta["SEQCKSUM"], meta["INSTRUME"]) == ("a.seq", "one", "5", "LabCam")
    assert len(caplog.records) == 1 and "SEQFILE" in caplog.text and "b.seq" in caplog.text


def test_evalPtcModelNeedsAFit():
    with pytest.raises(RuntimeError, match="no model"):
        makePartial(0).evalPtcModel([1.0])
    with pytest.raises(StillskyError, match="no model"):
        PhotonTransferCurveDataset(AMPS, "DUMMY").evalPtcModel([1.0])


def test_evalPtcModelGivesTheModelOfEachType():
    """C6: at the final means it is the stored model: Eq. 16 exactly, Eq. 20 to 1e-12; c is a times b."""
    from stillsky.ptc.models import evalExpApproximation, evalFullCovariance
    from stillsky.sim import brighterFatterMatrix

    mu = np.array([100.0, 5000.0, 60000.0])
    a = brighterFatterMatrix(-2e-6, 3)
    for fitType in ("EXPAPPROXIMATION", "FULLCOVARIANCE", "FULLCOVARIANCE_NO_B", "POLYNOMIAL"):
        ptc = PhotonTransferCurveDataset(AMPS, fitType, 3)
        for k, amp in enumerate(AMPS):
            ptc.gain[amp] = 1.5 + 0.1 * k
            ptc.aMatrix[amp], ptc.bMatrix[amp], ptc.noiseMatrix[amp] = a, np.full((3, 3), 1e-6), 25 * np.eye(3)
            ptc.ptcFitPars[amp] = (
                np.array([-2e-6, 1.5, 25.0]) if fitType != "POLYNOMIAL" else np.array([5.0, 0.5, -1e-6])
            )
        model = ptc.evalPtcModel(mu)
        for amp in AMPS:
            b = ptc.bMatrix[amp] * (fitType == "FULLCOVARIANCE")
            wanted = {
                "EXPAPPROXIMATION": lambda: evalExpApproximation(mu, -2e-6, 1.5, 25.0),
                "POLYNOMIAL": lambda: 5 + 0.5 * mu - 1e-6 * mu**2,
            }.get(fitType, lambda b=b, g=ptc.gain[amp]: evalFullCovariance(mu, a, a * b, 25 * np.eye(3), g))()
            assert model[amp].shape == wanted.shape
            np.testing.assert_allclose(model[amp], wanted, rtol=1e-12)
    assert not np.allclose(model["C:0,0"][-1], mu[-1] / 1.5)
    assert ptc.evalPtcModel(5000.0)["C:0,0"].shape == (1,)
