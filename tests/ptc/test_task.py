"""The extraction tasks: verbs, connections, quanta."""

import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest
from flat_scenes import NAMES, FakeHandle, FakeQuantum, fakeRefs, goldenPair, makeFlat, noisyFlat, unitTestFlats
from lsst.pipe.base import NoWorkFound

import stillsky
from stillsky import PhotonTransferCurveExtractPairTask, PhotonTransferCurveExtractTask
from stillsky.geom import Box2I
from stillsky.ptc.connections import joinPairs


def makeTask(cls=PhotonTransferCurveExtractTask, **fields):
    made = cls.ConfigClass()
    made.minNumberGoodPixelsForCovariance = 5000
    made.maximumRangeCovariancesAstier = 4
    for name, value in fields.items():
        setattr(made, name, value)
    return cls(config=made)


def handlesOf(rng, times, level=2000.0, ids=None, **more):
    ids = range(len(times)) if ids is None else ids
    return [FakeHandle(noisyFlat(rng, level * t, expTime=t, **more), i) for t, i in zip(times, ids)]


class TestMeasureMeanVarCov:
    def test_directAndFourierAgree(self):
        task = makeTask(minNumberGoodPixelsForCovariance=10000, maximumRangeCovariancesAstier=10)
        flats = unitTestFlats()
        mu, varDiff, direct = task.measureMeanVarCov(*flats, covAstierRealSpace=True)
        assert (mu, varDiff) == task.measureMeanVarCov(*flats)[:2]
        fourier = task.measureMeanVarCov(*flats, covAstierRealSpace=False)[2]
        for a, b in zip(direct, fourier, strict=True):
            assert a[:2] == b[:2] and a[4] == b[4]
            assert a[2:4] == pytest.approx(b[2:4], abs=1e-11 * direct[0][3])

    def test_estimatorIsTheOneAskedFor(self, monkeypatch):
        from stillsky.ptc import measure

        asked = []
        true = measure.covariances
        monkeypatch.setattr(measure, "covariances", lambda *a, **k: asked.append(k["estimator"]) or true(*a, **k))
        task = makeTask()
        for realSpace in (True, False):
            task.measureMeanVarCov(*unitTestFlats(), covAstierRealSpace=realSpace)
        assert asked == ["direct", "fft"]

    def test_listRunsOverDxFirstUpToTheRange(self):
        found = makeTask(maximumRangeCovariancesAstier=4).measureMeanVarCov(*unitTestFlats())[2]
        assert [t[:2] for t in found] == [(dx, dy) for dy in range(5) for dx in range(5)]
        assert {t[2] for t in found} == {found[0][3]}

    def test_figuresOfTheReferenceTest(self):
        mu, varDiff, _ = makeTask(maximumRangeCovariancesAstier=10).measureMeanVarCov(*unitTestFlats())
        assert abs(54.72 - math.sqrt(varDiff)) < 1 and abs(2000 - mu) < 1

    def test_region(self):
        flats = unitTestFlats()
        box = Box2I((20, 30), (120, 100))
        cut = [makeFlat(f.image.array[30:130, 20:140]) for f in flats]
        task = makeTask()
        assert task.measureMeanVarCov(*flats, region=box) == task.measureMeanVarCov(*cut)

    def test_nanRows(self):
        flats = unitTestFlats()
        for flat in flats:
            flat.image.array[20:30] = np.nan
        task = makeTask(minNumberGoodPixelsForCovariance=10000)
        mu, varDiff, cov = task.measureMeanVarCov(*flats)
        both = np.stack([f.image.array for f in flats]).astype(float)
        assert abs(mu - np.nanmean(both)) < 1
        assert abs(math.sqrt(varDiff) - math.sqrt(np.nanvar(both[0] - both[1]) / 2)) < 1
        assert np.isfinite(cov).all()

    def test_allNaN(self, caplog):
        flats = [makeFlat(np.full((204, 200), np.nan)) for _ in range(2)]
        mu, varDiff, cov = makeTask().measureMeanVarCov(*flats)
        assert math.isnan(mu) and math.isnan(varDiff) and cov is None and "not a number" in caplog.text

    def test_tooFewGoodPoints(self, caplog):
        flats = unitTestFlats()
        for flat in flats:
            flat.mask.array[:190] |= flat.mask.bitmask(["BAD"])
        mu, varDiff, cov = makeTask(minNumberGoodPixelsForCovariance=10000).measureMeanVarCov(*flats)
        assert math.isnan(mu) and math.isnan(varDiff) and cov is None
        assert "Number of good points" in caplog.text and "2800" in caplog.text

    def test_cornerTooSmallForTheRange(self, caplog):
        flats = unitTestFlats()
        for flat in flats:
            usable = np.zeros((204, 200), bool)
            usable[:9, :5] = True
            flat.mask.array[~usable] |= flat.mask.bitmask(["BAD"])
        task = makeTask(minNumberGoodPixelsForCovariance=10, maximumRangeCovariancesAstier=10)
        mu, varDiff, cov = task.measureMeanVarCov(*flats)
        assert math.isnan(mu) and math.isnan(varDiff) and cov is None
        assert "Not enough pixels" in caplog.text

    def test_varianceCheckWarnsAndDoesNotRaise(self, caplog):
        task = makeTask(thresholdDiffAfwVarVsCov00=0.0)
        assert task.measureMeanVarCov(*unitTestFlats())[2] is not None
        assert sum("differ by" in r.getMessage() for r in caplog.records) == 1

    @pytest.mark.parametrize("width", [503, 1015])
    def test_widthsThatWereAwkward(self, rng, width):
        flats = [noisyFlat(rng, 20000, shape=(40, width)) for _ in range(2)]
        task = makeTask(maximumRangeCovariancesAstier=8)
        direct, fourier = (task.measureMeanVarCov(*flats, covAstierRealSpace=r)[2] for r in (True, False))
        assert [t[3] for t in direct] == pytest.approx([t[3] for t in fourier], abs=1e-11 * direct[0][3])


class TestSmallVerbs:
    def test_statisticsGainAndHistogram(self, rng):
        task = makeTask()
        flats = [noisyFlat(rng, 20000) for _ in range(2)]
        box = Box2I((0, 0), (100, 204))
        areas = task.getImageAreasMasksStats(*flats, region=box)
        im1, im2, control, mu1, mu2 = areas
        assert im1.bbox == im2.bbox == box and np.shares_memory(im1.image.array, flats[0].image.array)
        assert mu1 == pytest.approx(20000 / 1.5, rel=1e-3) and mu2 == pytest.approx(mu1, rel=1e-3)
        for kind in ("NONE", "READNOISE", "SIMPLE", "FULL"):
            gain = task.getGainFromFlatPair(*areas, correctionType=kind, readNoise=2.0)
            assert gain == pytest.approx(1.5, rel=0.03)
        with pytest.raises(RuntimeError, match="ALL"):
            task.getGainFromFlatPair(*areas, correctionType="ALL")
        varFit, chi2Dof, p = task.computeGaussianHistogramParameters(*areas)
        assert varFit == pytest.approx(2 * (20000 + 9) / 1.5**2, rel=0.03) and chi2Dof < 2 and p > 1e-3
        assert math.isnan(task.getGainFromFlatPair(im1, im2, control, math.nan, mu2))
        assert task.computeGaussianHistogramParameters(im1, im2, control, math.nan, mu2)[2] == 0.0

    @pytest.mark.shared
    def test_goldenGains(self, sharedDir):
        task = makeTask()
        areas = task.getImageAreasMasksStats(*goldenPair())
        assert task.getGainFromFlatPair(*areas, "READNOISE", 4.0) == pytest.approx(1.5042354373965425, rel=1e-9)
        old = makeTask(compat=True)
        areas = old.getImageAreasMasksStats(*goldenPair())
        assert old.getGainFromFlatPair(*areas, "FULL", 4.0) == pytest.approx(0.20818176544669353, rel=1e-9)

    def test_makeCovArray(self):
        task = makeTask()
        mu, _, tuples = task.measureMeanVarCov(*unitTestFlats())
        cov, vcov, levels = task.makeCovArray([(mu, *t) for t in tuples], 4)
        assert cov.shape == vcov.shape == (1, 4, 4) and levels.tolist() == [mu]
        assert cov[0, 1, 0] == 0.5 * tuples[1][3]


class TestFramework:
    @pytest.mark.parametrize(
        "verb",
        "emptyMetadata getAllSchemaCatalogs getFullMetadata getFullName getName getResourceConfig getSchemaCatalogs"
        " getTaskDict makeField makeSubtask measureMeanVarCov run runQuantum timer".split(),
    )
    @pytest.mark.parametrize("cls", [PhotonTransferCurveExtractTask, PhotonTransferCurveExtractPairTask])
    def test_verbs(self, cls, verb):
        assert callable(getattr(cls(), verb))

    def test_identity(self):
        assert makeTask().getName() == "cpPtcExtract" and PhotonTransferCurveExtractTask.canMultiprocess
        assert makeTask(PhotonTransferCurveExtractPairTask).getName() == "cpPtcExtractPair"
        assert makeTask().getSchemaCatalogs() == {} and makeTask().getResourceConfig() is None
        assert stillsky.PhotonTransferCurveExtractConfig is PhotonTransferCurveExtractTask.ConfigClass

    def test_connections(self):
        config = PhotonTransferCurveExtractTask.ConfigClass()
        wanted = config.ConnectionsClass(config=config)
        assert wanted.dimensions == {"instrument", "detector"} and wanted.inputs == {"inputExp"}
        assert (
            wanted.inputExp.name == "ptcInputExposurePairs" and wanted.inputExp.deferLoad and wanted.inputExp.multiple
        )
        assert wanted.outputCovariances.name == "ptcCovariances" and wanted.outputCovariances.isCalibration
        config.doExtractPhotodiodeData = True
        assert config.ConnectionsClass(config=config).inputPhotodiodeData.name == "photodiode"

    def test_connectionsOfThePairTask(self):
        config = PhotonTransferCurveExtractPairTask.ConfigClass()
        wanted = config.ConnectionsClass(config=config)
        assert wanted.dimensions == {"instrument", "detector", "exposure"}
        assert wanted.inputs == {"inputExp"} and wanted.outputs == {"outputCovariance"}
        config.doExtractPhotodiodeData = config.doOutputBinnedImages = True
        wanted = config.ConnectionsClass(config=config)
        assert wanted.inputs == {"inputExp", "inputPhotodiodeData"}
        assert wanted.outputBinnedImages.name == "cpPtcPairBinned" and not wanted.outputCovariance.multiple


class TestListTask:
    def test_runTakesGroupsOrLists(self, rng):
        handles = handlesOf(rng, [1.0, 1.0, 2.0])
        task = makeTask()
        found = task.run(handles, [0, 1, 2]).outputCovariances
        grouped = task.run({1.0: [(handles[0], 0), (handles[1], 1)], 2.0: [(handles[2], 2)]}, [0, 1, 2])
        for a, b in zip(found, grouped.outputCovariances, strict=True):
            assert a.ptcFitType == b.ptcFitType
            assert all(np.array_equal(a.covariances[n], b.covariances[n], equal_nan=True) for n in NAMES)
        assert task.metadata["nPairs"] == 1 and task.metadata["nUnpaired"] == 1
        assert task.metadata["nMeasured"] == 8 and task.metadata["nFailed"] == 0
        assert task.extraction.pairs[0].measurements["C:0,0"].isGood

    def test_runQuantum(self, rng):
        ids = [14, 10, 13, 11]
        handles = handlesOf(rng, [2.0, 1.0, 2.0, 1.0], ids=ids)
        quantum = FakeQuantum({"inputExp": handles})
        inputs, outputs = fakeRefs(inputExp=ids), fakeRefs(outputCovariances=[10, 11, 12, 13, 14])
        makeTask().runQuantum(quantum, inputs, outputs)
        found = quantum.written["outputCovariances"]
        assert {i: d.ptcFitType for i, d in found.items()} == {
            10: "PARTIAL",
            11: "DUMMY",
            12: "DUMMY",
            13: "DUMMY",
            14: "PARTIAL",
        }
        assert found[14].inputExpIdPairs["C:0,0"] == [(14, 13)] and found[10].inputExpIdPairs["C:0,0"] == [(10, 11)]
        assert found[12].ampNames == ["no amp"] and found[12].covMatrixSide == 1 and found[13].ampNames == NAMES
        assert all(h.reads == 1 for h in handles)

    def test_photodiodeRecordsAreIntegratedOnce(self, rng, monkeypatch):
        from stillsky.ptc import photodiode

        calls = []
        true = photodiode.integratePhotodiode
        monkeypatch.setattr(photodiode, "integratePhotodiode", lambda *a: calls.append(1) or true(*a))

        class Readings(FakeHandle):
            def get(self, *, component=None):
                times = np.linspace(0, 20, 100)
                charges = np.zeros(100)
                charges[50] = -(5e-9 + self.dataId["exposure"] * 1e-12)
                return times, charges

        task = makeTask(doExtractPhotodiodeData=True, photodiodeIntegrationMethod="CHARGE_SUM")
        handles = handlesOf(rng, [1.0, 1.0])
        stored = {"inputExp": handles, "inputPhotodiodeData": [Readings(None, i) for i in (0, 1)]}
        quantum = FakeQuantum(stored)
        task.runQuantum(quantum, fakeRefs(inputExp=[0, 1]), fakeRefs(outputCovariances=[0, 1]))
        dataset = quantum.written["outputCovariances"][0]
        assert len(calls) == 2
        for amp in NAMES:
            assert dataset.photoCharges[amp][0] == pytest.approx(5.0005e-9, rel=1e-12)
            assert dataset.photoChargeDeltas[amp][0] == pytest.approx(1e-12, rel=1e-6)

    def test_twoQuantaDoNotShareMetadata(self, rng):
        task = makeTask()
        for n in (1, 1):
            task.run(handlesOf(rng, [1.0, 1.0]), [0, 1])
            assert task.metadata["nPairs"] == n


class TestPairTask:
    def outcome(self, task, handles, own, around):
        """Pair that the quantum of ``own`` measures, or None."""
        quantum = FakeQuantum({"inputExp": [handles[i] for i in around]})
        try:
            task.runQuantum(quantum, fakeRefs(inputExp=around), fakeRefs(outputCovariance=own))
        except NoWorkFound:
            assert not quantum.written
            return None
        return quantum.written["outputCovariance"].inputExpIdPairs["C:0,0"][0]

    def byFlux(self, rng, values):
        handles = [FakeHandle(noisyFlat(rng, 2000, metadata={"CCOBFLUX": float(v)}), i) for i, v in enumerate(values)]
        task = makeTask(PhotonTransferCurveExtractPairTask, matchExposuresType="FLUX")
        n = len(values)
        return [self.outcome(task, handles, k, [i for i in (k - 1, k, k + 1) if 0 <= i < n]) for k in range(n)]

    def test_flux_pairsInARow(self, rng, caplog):
        assert self.byFlux(rng, [1, 1, 2, 2, 3, 3]) == [(0, 1), None, (2, 3), None, (4, 5), None]
        assert "No work" not in caplog.text

    def test_flux_threeEqualValues(self, rng, caplog):
        assert self.byFlux(rng, [1, 1, 1]) == [(0, 1), None, None]
        warnings = [r.getMessage() for r in caplog.records if "No work" in r.getMessage()]
        assert len(warnings) == 1 and "[0, 1, 2] all have the value" in warnings[0]

    def test_flux_fourEqualValues(self, rng, caplog):
        assert self.byFlux(rng, [1, 1, 1, 1])[1:3] == [None, None]
        assert sum("all have the value" in r.getMessage() for r in caplog.records) == 2

    def test_flux_noEqualNeighbours(self, rng, caplog):
        assert self.byFlux(rng, [1, 2, 3]) == [None, None, None]
        assert "no neighbour of equal value" in caplog.text

    def test_time_oneDatasetAndTheTrueTime(self, rng):
        task = makeTask(PhotonTransferCurveExtractPairTask)
        handles = handlesOf(rng, [1.5, 1.5])
        found = task.run(list(reversed(handles)), [1, 0]).outputCovariance
        assert found.ptcFitType == "PARTIAL" and found.inputExpIdPairs["C:0,0"] == [(0, 1)]
        assert found.rawExpTimes["C:0,0"].tolist() == [1.5] and task.metadata["nPairs"] == 1
        listed = makeTask().run(handles, [0, 1]).outputCovariances[0]
        assert all(np.array_equal(found.covariances[n], listed.covariances[n]) for n in NAMES)

    def test_photodiode(self, rng):
        readings = {i: (np.linspace(0, 1, 11), np.full(11, -2.0 - i)) for i in (0, 1)}
        method = {"photodiodeIntegrationMethod": "MEAN"}
        task = makeTask(PhotonTransferCurveExtractPairTask, doExtractPhotodiodeData=True, **method)
        found = task.run(handlesOf(rng, [2.0, 2.0]), [0, 1], inputPhotodiodeData=readings).outputCovariance
        assert found.photoCharges["C:0,0"].tolist() == [5.0] and found.photoChargeDeltas["C:0,0"].tolist() == [2.0]
        asked = makeTask(PhotonTransferCurveExtractPairTask, useEfdPhotodiodeData=True, **method)
        asked.telemetry = lambda expId, *_: readings[expId]
        again = asked.run(handlesOf(rng, [2.0, 2.0]), [0, 1]).outputCovariance
        assert again.photoCharges["C:0,0"].tolist() == [5.0]

    def test_aSingleInputIsNoWork(self, rng, caplog):
        task = makeTask(PhotonTransferCurveExtractPairTask)
        assert self.outcome(task, handlesOf(rng, [1.0]), 0, [0]) is None
        assert "no partner" in caplog.text

    def test_binnedImages(self, rng):
        task = makeTask(PhotonTransferCurveExtractPairTask, doOutputBinnedImages=True, numEdgeSuspect=10)
        task.config.minNumberGoodPixelsForCovariance = 1000
        table = task.run(handlesOf(rng, [1.0, 1.0]), [0, 1]).outputBinnedImages
        assert table.colnames == ["xd", "yd", "value1", "value2", "amp_index"] and len(table) == 240
        assert np.abs(table["value1"] - 2000 / 1.5).max() < 40


class FakeAdjuster:
    """Quanta of a graph under construction: their inputs by data id."""

    def __init__(self, exposures, detectors=(0,)):
        self.records = {i: SimpleNamespace(observation_type=kind, exposure_time=t) for i, kind, t in exposures}
        self.inputs = {(i, d): {"inputExp": [(i, d)]} for i in self.records for d in detectors}

    def _id(self, i, d):
        return {"exposure": i, "detector": d}

    def iter_data_ids(self):
        return [self._id(*key) for key in reversed(list(self.inputs))]

    def expand_quantum_data_id(self, dataId):
        return SimpleNamespace(records={"exposure": self.records[dataId["exposure"]]})

    def _key(self, dataId):
        return dataId["exposure"], dataId["detector"]

    def get_inputs(self, dataId):
        return {name: [self._id(*k) for k in keys] for name, keys in self.inputs[self._key(dataId)].items()}

    def add_input(self, dataId, name, dataset):
        self.inputs[self._key(dataId)][name].append(self._key(dataset))

    def remove_quantum(self, dataId):
        del self.inputs[self._key(dataId)]

    def summary(self, detector=0):
        return {i: sorted(e for e, _ in v["inputExp"]) for (i, d), v in sorted(self.inputs.items()) if d == detector}


class TestJoinPairs:
    log = logging.getLogger("joinPairs")

    def joined(self, exposures, detectors=(0,), **fields):
        config = PhotonTransferCurveExtractPairTask.ConfigClass()
        for name, value in fields.items():
            setattr(config, name, value)
        adjuster = FakeAdjuster(exposures, detectors)
        joinPairs(adjuster, config, self.log)
        return adjuster

    def test_byTime(self, caplog):
        flats = [(i, "flat", t) for i, t in enumerate([1.0, 1.003, 2.0, 3.0, 3.0, 3.0])]
        assert self.joined(flats).summary() == {0: [0, 1], 2: [2], 3: [3, 4]}
        assert len(caplog.records) == 1 and "Exposure 5" in caplog.text
        assert self.joined(flats, compat=True).summary()[0] == [0]

    def test_onlyNeighboursInTimeArePairs(self):
        flats = [(i, "flat", t) for i, t in enumerate([1.0, 2.0, 1.0, 2.0])]
        assert self.joined(flats).summary() == {0: [0], 1: [1], 2: [2], 3: [3]}

    def test_byId(self):
        flats = [(i, "flat", float(i)) for i in (10, 12, 15, 20, 30)]
        assert self.joined(flats, matchExposuresType="EXPID").summary() == {10: [10, 12], 15: [15, 20], 30: [30]}

    def test_byFlux_everyQuantumGetsItsNeighbours(self):
        flats = [(i, "flat", 1.0) for i in range(4)]
        wanted = {0: [0, 1], 1: [0, 1, 2], 2: [1, 2, 3], 3: [2, 3]}
        assert self.joined(flats, matchExposuresType="FLUX").summary() == wanted

    def test_otherExposuresAreLeftOut(self, caplog):
        exposures = [(0, "flat", 1.0), (1, "bias", 0.0), (2, "flat", 1.0)]
        assert self.joined(exposures).summary() == {0: [0, 2]}
        assert "Exposure 1 is a bias" in caplog.text

    def test_detectorsAreApartAndTheirDifferencesReported(self, caplog):
        config = PhotonTransferCurveExtractPairTask.ConfigClass()
        adjuster = FakeAdjuster([(i, "flat", 1.0) for i in range(2)], detectors=(0, 1))
        del adjuster.inputs[1, 1]
        joinPairs(adjuster, config, self.log)
        assert adjuster.summary(0) == {0: [0, 1]} and adjuster.summary(1) == {0: [0]}
        assert "Detector 1 lacks the exposures [1]" in caplog.text

    def test_theHookOfTheConnections(self):
        config = PhotonTransferCurveExtractPairTask.ConfigClass()
        adjuster = FakeAdjuster([(i, "flat", 1.0) for i in range(2)])
        config.ConnectionsClass(config=config).adjust_all_quanta(adjuster)
        assert adjuster.summary() == {0: [0, 1]}
