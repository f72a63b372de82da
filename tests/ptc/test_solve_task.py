"""The tasks of the fit and of the plots: verbs, connections, quanta with a fake context."""

from types import SimpleNamespace

import numpy as np
import pytest
from flat_scenes import FakeQuantum, fakeRefs
from solve_scenes import drawRamp, makePartials

from stillsky import DomainError, PhotonTransferCurveSolveTask, PlotPhotonTransferCurveTask
from stillsky.ptc import PhotonTransferCurveDataset


def partials(n=20, r=3):
    mu = np.linspace(300, 9e4, n) / 1.5
    rng = np.random.default_rng(2)
    draws = {amp: drawRamp(rng, mu, r, gain=1.5, noise=5.0, nPixels=1e6) for amp in "AB"}
    columns = [{amp: draw[k] for amp, draw in draws.items()} for k in range(3)]
    variances = {amp: cov[:, 0, 0] for amp, cov in columns[1].items()}
    return makePartials(columns[0], variances, columns[1], columns[2], r=r)


def makeTask(**fields):
    config = PhotonTransferCurveSolveTask.ConfigClass()
    config.maximumRangeCovariancesAstier = config.maximumRangeCovariancesAstierFullCovFit = 3
    config.update(**fields)
    return PhotonTransferCurveSolveTask(config=config)


class Camera(dict):
    name = "SimCam"


def testQuantumReadsFitsAndWrites():
    dummy = PhotonTransferCurveDataset(["no amp"], "DUMMY", 1)
    pairs = partials()
    task = makeTask(ptcFitType="FULLCOVARIANCE")
    camera = Camera({0: SimpleNamespace(id=0, name="R22_S11", serial="E2V-7")})

    class Quantum(FakeQuantum):
        def get(self, refs):
            return {"inputCovariances": [dummy, *pairs], "camera": camera}

    quantum = Quantum({})
    refs = fakeRefs(inputCovariances=list(range(21)))
    task.runQuantum(quantum, refs, fakeRefs(outputPtcDataset=0))
    dataset = quantum.written["outputPtcDataset"]
    assert dataset.ptcFitType == "FULLCOVARIANCE" and dataset.nPairs == 20
    assert dataset.gain["A"] == pytest.approx(1.5, rel=0.01)
    assert dataset.metadata["INSTRUME"] == "SimCam" and dataset.metadata["DET_NAME"] == "R22_S11"
    assert dataset.metadata["DETECTOR"] == 0 and dataset.metadata["RAFTNAME"] == "R22"
    assert "instrument=SimCam" in dataset.metadata["CALIB_ID"]
    assert task.metadata["nAmplifiers"] == 2 and task.metadata["nBad"] == 0 and task.metadata["nPairs"] == 20
    assert "NO_TURNOFF" in task.metadata["flags.A"]


def testRunNeedsNeitherCameraNorFilter():
    result = makeTask().run(partials())
    assert result.outputPtcDataset.ptcFitType == "EXPAPPROXIMATION"
    assert result.outputPtcDataset.getGoodAmps() == ["A", "B"]


def testConnectionsHaveTheNamesOfTheRepositories():
    connections = PhotonTransferCurveSolveTask.ConfigClass.ConnectionsClass(
        config=PhotonTransferCurveSolveTask.ConfigClass()
    )
    assert connections.dimensions == {"instrument", "detector"}
    assert connections.inputCovariances.name == "ptcCovariances" and connections.inputCovariances.multiple
    assert connections.outputPtcDataset.name == "ptcDatsetProposal"
    assert connections.camera.name == "camera"
    assert PhotonTransferCurveSolveTask._DefaultName == "cpPhotonTransferCurveSolve"
    assert PlotPhotonTransferCurveTask._DefaultName == "cpPlotPtc"


def testDefaultsAreThoseOfTheReference():
    config = PhotonTransferCurveSolveTask.ConfigClass()
    expected = {
        "ptcFitType": "EXPAPPROXIMATION",
        "maximumRangeCovariancesAstier": 10,
        "maximumRangeCovariancesAstierFullCovFit": 10,
        "doSubtractLongRangeCovariances": False,
        "startLongRangeCovariances": 4,
        "polyDegLongRangeCovariances": 1,
        "sigmaClipFullFitCovariancesAstier": 5.0,
        "maxIterFullFitCovariancesAstier": 3,
        "polynomialFitDegree": 3,
        "doModelPtcRolloff": False,
        "maxPtcRolloffDeviation": 0.01,
        "sigmaCutPtcOutliers": 5.0,
        "maxIterationsPtcOutliers": 2,
        "maxSignalInitialPtcOutlierFit": 50000.0,
        "maxDeltaInitialPtcOutlierFit": 9000.0,
        "scaleMaxSignalInitialPtcOutlierFit": True,
        "extendRollofSearchMaskSizeAdu": 5000.0,
        "minVarPivotSearch": 10000.0,
        "consecutivePointsVarDecreases": 2,
        "ksTestMinPvalue": 0.01,
        "doFitBootstrap": False,
        "binSize": 1,
        "doAmpOffsetGainRatioFixup": False,
        "ampOffsetGainRatioMinAdu": 1000.0,
        "ampOffsetGainRatioMaxAdu": 20000.0,
        "doLegacyTurnoffSelection": False,
        "initialNonLinearityExclusionThresholdPositive": 0.05,
        "initialNonLinearityExclusionThresholdNegative": 0.25,
        "minMeanRatioTest": 20000.0,
    }
    assert {name: getattr(config, name) for name in expected} == expected
    assert dict(config.minMeanSignal) == {"ALL_AMPS": 0.0} and dict(config.maxMeanSignal) == {"ALL_AMPS": 1e6}


def testSizesAreCheckedWhenTheTaskRuns():
    task = makeTask()
    task.config._frozen = False
    bad = PhotonTransferCurveSolveTask.ConfigClass()
    bad.ptcFitType, bad.maximumRangeCovariancesAstier = "FULLCOVARIANCE", 4
    with pytest.raises(DomainError, match="at most"):
        bad.validate()


def testVerbsOfTheReferencesTests():
    assert list(PhotonTransferCurveSolveTask._makeZeroSafe(np.array([0.0, 2.0]))) == [1e-9, 2.0]
    good = PhotonTransferCurveSolveTask._getInitialGoodPoints([1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 7, 6], 0, 2)
    assert list(good) == [True] * 4 + [False] * 2
    assert makeTask().getSchemaCatalogs() == {}


def testPlotQuantumWritesTwelveFigures():
    dataset = makeTask(ptcFitType="FULLCOVARIANCE_NO_B").run(partials()).outputPtcDataset
    before = dataset.copy()
    task = PlotPhotonTransferCurveTask(config=PlotPhotonTransferCurveTask.ConfigClass())

    class Quantum(FakeQuantum):
        def get(self, refs):
            return {"calib": dataset, "camera": Camera()}

    quantum = Quantum({})
    names = [name for name in vars(task.config.ConnectionsClass(config=task.config)) if name.startswith("ptc")]
    outputs = [name for name in task.config.ConnectionsClass(config=task.config).outputs]
    task.runQuantum(quantum, fakeRefs(calib=0), fakeRefs(**{name: 0 for name in outputs}))
    assert len(outputs) == 12 and set(quantum.written) == set(outputs), names
    assert "SimCam" in quantum.written["ptcVarMean"]._suptitle.get_text()
    assert dataset == before
