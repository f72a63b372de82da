"""From flats to datasets: pairs, dummies, headers, and amplifiers that fail without the others."""

import dataclasses
import gc
import json
import math
import subprocess
import sys
import weakref

import numpy as np
import pytest
from flat_scenes import NAMES, makeFlat, mockDetector, noisyFlat

from stillsky import numThreads
from stillsky.errors import DomainError, ShapeError
from stillsky.geom import Box2I
from stillsky.meta import Amplifier, Detector
from stillsky.ptc import ExposureHandle, PhotonTransferCurveDataset, extractFlatPairs, planarRadius
from stillsky.ptc.config import PhotonTransferCurveExtractAlgorithmConfig
from stillsky.ptc.extract import makeDummyDataset, signalRange


def config(**fields):
    made = PhotonTransferCurveExtractAlgorithmConfig()
    made.minNumberGoodPixelsForCovariance = 5000
    made.maximumRangeCovariancesAstier = 4
    for name, value in fields.items():
        setattr(made, name, value)
    made.validate()
    return made


def flatsOf(rng, times, level=2000.0, **more):
    return [noisyFlat(rng, level * t, expTime=t, **more) for t in times]


def kinds(result):
    return [d.ptcFitType for d in result.datasets]


class TestPlacement:
    def test_partialAtTheFirstOfEachPair(self, rng):
        result = extractFlatPairs(flatsOf(rng, [1, 1, 2, 2, 3]), [10, 11, 12, 13, 14], config())
        assert kinds(result) == ["PARTIAL", "DUMMY", "PARTIAL", "DUMMY", "DUMMY"]
        assert result.datasets[0].inputExpIdPairs["C:0,0"] == [(10, 11)]
        assert result.datasets[2].inputExpIdPairs["C:1,3"] == [(12, 13)]
        assert result.unpaired == [14]
        assert repr(result) == "<ExtractResult: 5 flats, 2 pairs, 1 unpaired>"
        assert repr(result.pairs[0]) == "<PairResult of (10, 11): 8 of 8 amplifiers measured>"

    def test_unsortedIds(self, rng):
        result = extractFlatPairs(flatsOf(rng, [1, 1, 2]), [12, 10, 11], config())
        assert kinds(result) == ["PARTIAL", "DUMMY", "DUMMY"]
        assert result.datasets[0].inputExpIdPairs["C:0,0"] == [(12, 10)]

    @pytest.mark.parametrize("seed", range(8))
    def test_oneDatasetPerIdWhateverTheOrder(self, seed):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 12))
        ids, times = rng.permutation(100)[:n].tolist(), rng.integers(1, 5, n).tolist()
        flats = [makeFlat(np.ones((3, 3)), float(t)) for t in times]
        kind = ["TIME", "EXPID"][seed % 2]
        result = extractFlatPairs(flats, ids, config(matchExposuresType=kind))
        assert len(result.datasets) == n == len({id(d) for d in result.datasets})
        for pair in result.pairs:
            assert result.datasets[ids.index(pair.expIds[0])] is pair.dataset
        if kind == "EXPID":
            order = sorted(ids)
            assert [p.expIds for p in result.pairs] == list(zip(order[::2], order[1::2]))
        else:
            wanted = {t: [i for i, s in zip(ids, times) if s == t] for t in times}
            assert [p.expIds for p in result.pairs] == [tuple(g[:2]) for g in wanted.values() if len(g) > 1]
        assert kinds(result).count("PARTIAL") == len(result.pairs)

    def test_dummiesAreDistinctAndEmpty(self, rng):
        result = extractFlatPairs(flatsOf(rng, [1, 1, 2, 3]), [0, 1, 2, 3], config())
        dummies = [d for d in result.datasets if d.ptcFitType == "DUMMY"]
        assert len(dummies) == len({id(d) for d in dummies}) == 3
        dummies[0].rawMeans["C:0,0"][0] = 5.0
        assert math.isnan(dummies[1].rawMeans["C:0,0"][0]) and math.isnan(makeDummyDataset(NAMES, 4).gain["C:0,0"])
        assert dummies[1].ampNames == NAMES and not dummies[1].expIdMask["C:0,0"][0]

    def test_aThirdOfATimeIsIgnoredWithAWarning(self, rng, caplog):
        result = extractFlatPairs(flatsOf(rng, [1, 1, 1]), [20, 21, 22], config())
        assert kinds(result) == ["PARTIAL", "DUMMY", "DUMMY"]
        assert result.unpaired == [22] and "22" in caplog.text and "first two" in caplog.text

    def test_aSingleFlatIsAWarning(self, rng, caplog):
        result = extractFlatPairs(flatsOf(rng, [1]), [20], config())
        assert kinds(result) == ["DUMMY"] and "Only one exposure, 20" in caplog.text

    def test_flatsWithoutAKeyAreLeftOut(self, rng, caplog):
        flats = flatsOf(rng, [1, 1]) + [noisyFlat(rng, 100, expTime=math.nan) for _ in range(2)]
        result = extractFlatPairs(flats, [0, 1, 2, 3], config())
        assert kinds(result) == ["PARTIAL", "DUMMY", "DUMMY", "DUMMY"] and result.unpaired == [2, 3]
        assert "2, 3 have no valid key" in caplog.text

    def test_onePairOnly(self, rng):
        result = extractFlatPairs(flatsOf(rng, [1, 1]), config=config())
        assert kinds(result) == ["PARTIAL", "DUMMY"] and len(result.pairs) == 1

    def test_noFlatsAtAll(self):
        assert extractFlatPairs([], [], config()).datasets == []

    def test_trueTimeIsRecordedWhateverPairsTheFlats(self, rng):
        flats = flatsOf(rng, [1.5, 1.5], metadata={"CCOBFLUX": 7.0})
        for kind in ("TIME", "FLUX", "EXPID"):
            result = extractFlatPairs(flats, [5, 6], config(matchExposuresType=kind))
            assert result.datasets[0].rawExpTimes["C:0,0"].tolist() == [1.5]
            old = extractFlatPairs(flats, [5, 6], config(matchExposuresType=kind, compat=True))
            assert old.datasets[0].rawExpTimes["C:0,0"][0] == {"TIME": 1.5, "FLUX": 7.0, "EXPID": 0.0}[kind]


class TestDataset:
    def test_holdsEveryFigureOfTheMeasurement(self, rng):
        result = extractFlatPairs(flatsOf(rng, [10, 10]), [1, 2], config(doKsHistMeasurement=True))
        dataset, records = result.datasets[0], result.pairs[0].measurements
        assert list(records) == dataset.ampNames == NAMES and dataset.covMatrixSide == 4
        for amp, record in records.items():
            assert dataset.expIdMask[amp].tolist() == [True]
            assert dataset.rawMeans[amp][0] == record.mean == pytest.approx(20000 / 1.5, rel=1e-3)
            assert dataset.rawVars[amp][0] == record.rawVar == pytest.approx((20000 + 9) / 1.5**2, rel=0.1)
            assert dataset.rawDeltas[amp][0] == record.mean2 - record.mean1
            assert dataset.rowMeanVariance[amp][0] == record.rowMeanVariance
            assert np.array_equal(dataset.covariances[amp], record.covArray[np.newaxis])
            assert np.array_equal(dataset.covariancesSqrtWeights[amp], record.covSqrtWeights[np.newaxis])
            assert dataset.gain[amp] == dataset.gainList[amp][0] == record.gain
            assert dataset.nPixelCovariances[amp] == 5100
            assert dataset.histVars[amp][0] == pytest.approx(2 * record.rawVar, rel=0.1)
            assert dataset.kspValues[amp][0] > 1e-4 and dataset.histChi2Dofs[amp][0] > 0
        dataset.checkSizes()

    def test_histogramNotWanted(self, rng):
        dataset = extractFlatPairs(flatsOf(rng, [10, 10]), config=config()).datasets[0]
        assert dataset.kspValues["C:0,0"].tolist() == [1.0] and math.isnan(dataset.histVars["C:0,0"][0])

    def test_headerFigures(self, rng, caplog):
        def header(noise, median, offset):
            return {
                f"LSST ISR {kind} {amp}": value
                for amp in NAMES[:7]
                for kind, value in (
                    ("OVERSCAN RESIDUAL SERIAL STDEV", noise),
                    ("OVERSCAN SERIAL MEDIAN", median),
                    ("AMPOFFSET PEDESTAL", offset),
                )
            } | {"CCOBCURR": 0.25, "SEQ": 3, "NAME": "flat"}

        flats = [
            noisyFlat(rng, 20000, metadata=header(2.0, 100.0, 1.0), date="2026-01-02T00:00:00"),
            noisyFlat(rng, 20000, metadata=header(3.0, 104.0, math.nan), date="2026-01-01T12:00:00"),
        ]
        wanted = config(auxiliaryHeaderKeys=["CCOBCURR", "SEQ", "NAME", "ABSENT"])
        dataset = extractFlatPairs(flats, config=wanted).datasets[0]
        assert dataset.noiseList["C:0,0"].tolist() == [2.5] and dataset.noise["C:0,0"] == 2.5
        assert dataset.overscanMedianLevelList["C:0,0"].tolist() == [102.0]
        assert math.isnan(dataset.ampOffsets["C:0,0"][0])
        assert math.isnan(dataset.noise["C:1,3"]) and "amplifiers C:1,3" in caplog.text
        assert dataset.inputExpPairMjdStartList["C:0,0"][0] == pytest.approx(61041.5, abs=1e-9)
        aux = dataset.auxValues
        assert aux["CCOBCURR"].tolist() == [0.25] and aux["SEQ"].dtype == np.int64 and aux["NAME"].tolist() == ["flat"]
        assert math.isnan(aux["ABSENT"][0]) and "ABSENT" in caplog.text
        assert aux["observationType"].tolist() == ["flat"] and aux["observationReason"].tolist() == ["ptc"]

    @pytest.mark.parametrize("fields", [{}, {"binSize": 2}, {"detectorMeasurementRegion": "FULL"}])
    def test_noiseOfSubtractedOverscanLevelsIsTakenOut(self, rng, fields):
        """Eight overscan columns of 6 adu noise: medians of rows add 6.05 adu^2 to the variance and to covariances at dy = 0."""
        box, sigma, pairs = Box2I((0, 0), (200, 204)), 6.0, 12
        detector = Detector(id=0, name="R00_S00", amplifiers=[Amplifier("A", box)], serial="1")
        variance = float(np.var(np.median(rng.standard_normal((200000, 8)), axis=1))) * sigma**2
        cards = {"LSST ISR OVERSCAN RESIDUAL SERIAL STDEV A": sigma, "STILLSKY OVERSCAN ROW VARIANCE A": variance}

        def flat(metadata):
            pixels = rng.poisson(100.0, (204, 200)) + sigma * rng.standard_normal((204, 200))
            overscan = sigma * rng.standard_normal((204, 8))
            return makeFlat(pixels - np.median(overscan, axis=1)[:, None], detector=detector, metadata=metadata)

        def measured(metadata, **more):
            wanted = config(matchExposuresType="EXPID", minNumberGoodPixelsForCovariance=1000, **fields, **more)
            flats = [flat(metadata) for _ in range(2 * pairs)]
            found = [p.dataset for p in extractFlatPairs(flats, config=wanted).pairs]
            rows, columns = (
                np.mean([p.covariances["A"][0] for p in found], axis=0)[w] for w in (np.s_[1:, 0], np.s_[0, 1:])
            )
            return [
                np.mean([p.rawVars["A"][0] for p in found]),
                rows.mean(),
                columns.mean(),
                np.mean([p.gain["A"] for p in found]),
            ]

        rest = {"LSST ISR OVERSCAN RESIDUAL SERIAL STDEV A": sigma}
        bins = fields.get("binSize", 1)
        # standard errors over all pairs: of a variance V of N values sqrt(2/N) V, of a mean covariance of 3 lags V sqrt(1/3N)
        n = pairs * 204 * 200 / bins**2
        error, offset = 136.0 / np.sqrt(n), variance * bins
        for metadata, more, left in ((rest, {}, offset), (cards, {}, 0.0)):
            var, row, column, gain = measured(metadata, **more)
            assert abs(var - 136.0 - left) < 5 * np.sqrt(2.0) * error
            assert abs(row - left) < 5 * error and abs(column) < 5 * error
            # the gain of a pair: 1/g = 1 + left/100 of the unbinned pixels
            assert gain == pytest.approx(1.0 / (1.0 + left / bins / 100.0), abs=0.015)
        assert offset > 20 * error

    def test_aDateThatIsMissingIsAWarning(self, rng, caplog):
        flats = [noisyFlat(rng, 20000, date=d) for d in ("2026-01-01T12:00:00", None)]
        dataset = extractFlatPairs(flats, config=config()).datasets[0]
        assert dataset.inputExpPairMjdStartList["C:0,0"][0] == pytest.approx(61041.5, abs=1e-9)
        assert "1 of 2 exposures of a pair have no valid date" in caplog.text

    def test_readNoiseOfTheDetectorServes(self, rng):
        amps = [dataclasses.replace(a, gain=1.5, readNoise=3.0) for a in mockDetector()]
        flats = flatsOf(rng, [10, 10], detector=Detector(id=0, name="d", amplifiers=amps))
        dataset = extractFlatPairs(flats, config=config()).datasets[0]
        assert dataset.noise["C:0,0"] == 2.0

    def test_metadataOfTheDetectorAndTheSequence(self, rng):
        dataset = extractFlatPairs(flatsOf(rng, [1, 1], metadata={"SEQNAME": "ptc-1"}), config=config()).datasets[0]
        assert dataset.metadata["SEQNAME"] == "ptc-1" and dataset.metadata["DET_NAME"] == "R00_S00"
        assert dataset.metadata["PTC_FIT_TYPE"] == "PARTIAL"

    def test_noDefaultNumbersAreCutOff(self, rng):
        """Amplifier names longer than three letters stay whole."""
        names = [f"AMPLIFIER-{k}" for k in range(2)]
        boxes = {name: Box2I((100 * k, 0), (100, 204)) for k, name in enumerate(names)}
        dataset = extractFlatPairs(flatsOf(rng, [1, 1]), config=config(), amplifiers=boxes).datasets[0]
        assert dataset.ampNames == names and dataset.expIdMask[names[1]].tolist() == [True]


class TestSignalRange:
    def test_allAmpsWinsOverNames(self):
        c = config(minMeanSignal={"ALL_AMPS": 5.0, "A": 1.0}, maxMeanSignal={"A": 10.0})
        assert signalRange(c, "A") == (5.0, 10.0)
        assert signalRange(c, "B") == (5.0, 1.0e6)
        assert signalRange(config(minMeanSignal={"A": 3.0}), "B") == (0.0, 1.0e6)

    def test_bothEndsAreExclusive(self, rng):
        flats = flatsOf(rng, [10, 10])
        mean = extractFlatPairs(flats, config=config()).datasets[0].rawMeans["C:0,0"][0]

        def used(**fields):
            return extractFlatPairs(flats, config=config(**fields)).datasets[0].expIdMask["C:0,0"][0]

        below, above = np.nextafter(mean, 0), np.nextafter(mean, np.inf)
        assert not used(minMeanSignal={"ALL_AMPS": mean}) and used(minMeanSignal={"ALL_AMPS": below})
        assert not used(maxMeanSignal={"C:0,0": mean}) and used(maxMeanSignal={"C:0,0": above})


class TestBadAmplifiers:
    """One amplifier that cannot be measured is flagged; the figures of the others are the same as without it."""

    def check(self, flats, bad, reason, caplog, **fields):
        result = extractFlatPairs(flats, config=config(**fields))
        dataset, records = result.datasets[0], result.pairs[0].measurements
        for amp in dataset.ampNames:
            good = amp not in bad
            assert dataset.expIdMask[amp].tolist() == [good], amp
            assert records[amp].isGood == good
            assert np.isfinite(dataset.covariances[amp]).all() == good
            assert np.isfinite(dataset.rawMeans[amp]).all() == good
        assert all(reason in records[amp].problem for amp in bad)
        assert reason in caplog.text and all(amp in caplog.text for amp in bad)
        return dataset

    def test_masked(self, rng, caplog):
        bad = np.zeros((204, 200), bool)
        bad[0:51, 100:] = True
        self.check(flatsOf(rng, [10, 10], mask={"BAD": bad}), ["C:1,0"], "not a number", caplog)

    def test_saturatedPair(self, rng, caplog):
        flats = flatsOf(rng, [10, 10])
        for flat in flats:
            flat.image.array[51:102, :100] = 65535.0
        self.check(flats, ["C:0,1"], "Variance", caplog)

    def test_zeroAndNegative(self, rng, caplog):
        flats = flatsOf(rng, [10, 10])
        for flat in flats:
            flat.image.array[:51, :100] = 0.0
            flat.image.array[:51, 100:] *= -1
        self.check(flats, ["C:0,0", "C:1,0"], "positive", caplog)

    def test_nan(self, rng, caplog):
        flats = flatsOf(rng, [10, 10])
        flats[0].image.array[:51, :100] = np.nan
        self.check(flats, ["C:0,0"], "not a number", caplog)

    def test_outsideTheFrame(self, rng, caplog):
        amps = [*mockDetector(), Amplifier("C:2,0", Box2I((200, 0), (100, 51)))]
        flats = flatsOf(rng, [10, 10], detector=Detector(id=0, name="d", amplifiers=amps))
        self.check(flats, ["C:2,0"], "reaches out of the image", caplog)

    def test_tooNarrow(self, rng, caplog):
        amps = [*mockDetector()][:7] + [Amplifier("C:1,3", Box2I((100, 153), (3, 51)))]
        flats = flatsOf(rng, [10, 10], detector=Detector(id=0, name="d", amplifiers=amps))
        self.check(flats, ["C:1,3"], "Not enough pixels", caplog, minNumberGoodPixelsForCovariance=10)

    def test_allBadIsOneWarning(self, caplog):
        flats = [makeFlat(np.full((204, 200), np.nan)) for _ in range(2)]
        dataset = extractFlatPairs(flats, config=config()).datasets[0]
        assert not any(dataset.expIdMask[amp][0] for amp in NAMES)
        assert sum("all amplifiers are bad" in r.getMessage() for r in caplog.records) == 1
        assert sum("not a number" in r.getMessage() for r in caplog.records) == 1

    def test_flatsOfDifferentSizes(self, rng, caplog):
        flats = [noisyFlat(rng, 20000), noisyFlat(rng, 20000, shape=(204, 190))]
        dataset = extractFlatPairs(flats, config=config()).datasets[0]
        assert dataset.expIdMask["C:0,0"].tolist() == [True]  # inside both
        assert dataset.expIdMask["C:1,0"].tolist() == [False] and "reaches out" in caplog.text
        full = extractFlatPairs(flats, config=config(detectorMeasurementRegion="FULL")).datasets[0]
        assert not any(full.expIdMask[amp][0] for amp in NAMES) and "equal sizes" in caplog.text

    def test_noAmplifiersAreKnown(self, rng):
        flats = flatsOf(rng, [1, 1], detector=Detector(id=0, name="d", bbox=Box2I((0, 0), (200, 204))))
        with pytest.raises(DomainError, match="amplifiers"):
            extractFlatPairs(flats, config=config())

    def test_oneIdPerFlat(self, rng):
        with pytest.raises(ShapeError, match="2 exposures and 1 ids"):
            extractFlatPairs(flatsOf(rng, [1, 1]), [1], config())


class TestRegions:
    def test_fullRegionIsMeasuredOnceWithTheGainOfEachReadNoise(self, rng, monkeypatch):
        from stillsky.ptc import extract

        calls = []
        true = extract.measureFlatPair

        def counted(*args, **kwargs):
            calls.append(1)
            return true(*args, **kwargs)

        monkeypatch.setattr(extract, "measureFlatPair", counted)
        key = "LSST ISR OVERSCAN RESIDUAL SERIAL STDEV "
        header = {key + amp: 2.0 + k for k, amp in enumerate(NAMES)}
        flats = flatsOf(rng, [1, 1], metadata=header)
        dataset = extractFlatPairs(flats, config=config(detectorMeasurementRegion="FULL")).datasets[0]
        assert len(calls) == 1
        assert dataset.rawMeans["C:0,0"] == dataset.rawMeans["C:1,3"] and dataset.nPixelCovariances["C:0,0"] == 40800
        gains = [dataset.gain[amp] for amp in NAMES]
        assert len(set(gains)) == 8 and gains[0] == pytest.approx(1.5, rel=0.02)

    def test_edgesAreMaskedOnACopy(self, rng):
        flats = flatsOf(rng, [10, 10])
        before = flats[0].mask.array.copy()
        small = {"numEdgeSuspect": 10, "minNumberGoodPixelsForCovariance": 2000}
        byAmp = extractFlatPairs(flats, config=config(edgeMaskLevel="AMP", **small)).datasets[0]
        assert byAmp.nPixelCovariances["C:0,1"] == 80 * 31
        whole = extractFlatPairs(flats, config=config(**small)).datasets[0]
        assert sum(whole.nPixelCovariances.values()) == 180 * 184
        assert np.array_equal(flats[0].mask.array, before)

    def test_vignettingSelectsRegions(self, rng):
        wanted = config(
            doVignetteFunctionRegionSelection=True,
            vignetteFunctionPolynomialCoeffs=[-100.0, -18.0, 1.0],
            vignetteFunctionRegionSelectionMinimumPixels=2000,
            minNumberGoodPixelsForCovariance=1500,
        )
        radius = planarRadius(0.015, (140.0, 101.5))
        dataset = extractFlatPairs(flatsOf(rng, [10, 10]), config=wanted, radius=radius).datasets[0]
        whole = {amp for amp in NAMES if dataset.nPixelCovariances[amp] == 5100}
        assert whole == {"C:1,0", "C:1,3"} and min(dataset.nPixelCovariances.values()) >= 2000
        with pytest.raises(DomainError, match="pixelToFocalPlane"):
            extractFlatPairs(flatsOf(rng, [10, 10]), config=wanted)


class TestPhotodiode:
    def test_chargesAndTheirDelta(self, rng):
        flats = flatsOf(rng, [1, 1, 2, 2])
        result = extractFlatPairs(flats, [0, 1, 2, 3], config(), charges={0: 2.0, 1: 3.0, 2: 5.0})
        first, second = result.datasets[0], result.datasets[2]
        assert first.photoCharges["C:0,0"].tolist() == [2.5] and first.photoChargeDeltas["C:0,0"].tolist() == [1.0]
        assert second.photoCharges["C:0,0"].tolist() == [5.0] and math.isnan(second.photoChargeDeltas["C:0,0"][0])

    def test_telemetryIsAsked(self, rng):
        asked = []

        def telemetry(expId, visitInfo, series, salIndex):
            asked.append((expId, visitInfo.exposureTime, salIndex))
            return np.linspace(0, 1, 11), np.full(11, -2.0)

        wanted = config(useEfdPhotodiodeData=True, photodiodeIntegrationMethod="MEAN")
        dataset = extractFlatPairs(flatsOf(rng, [3, 3]), [7, 8], wanted, telemetry=telemetry).datasets[0]
        assert asked == [(7, 3.0, 201), (8, 3.0, 201)]
        assert dataset.photoCharges["C:0,0"].tolist() == [6.0]
        with pytest.raises(DomainError, match="telemetry"):
            extractFlatPairs(flatsOf(rng, [3, 3]), [7, 8], wanted)


def test_twoExposuresInMemoryAtATime():
    alive, most, reads = [], [0], []
    known = makeFlat(np.ones((3, 3)))

    def loader(k, time):
        def load():
            flat = noisyFlat(np.random.default_rng(k), 2000 * time, expTime=time)
            reads.append(k)
            alive.append(weakref.ref(flat))
            gc.collect()
            most[0] = max(most[0], sum(r() is not None for r in alive))
            return flat

        visit = dataclasses.replace(known.visitInfo, exposureTime=time)
        return ExposureHandle(load, visitInfo=visit, metadata=known.metadata, detector=known.detector)

    handles = [loader(k, float(1 + k // 2)) for k in range(12)]
    seen = []
    gc.freeze()  # what is there already cannot hold the flats: the collector looks at new objects only
    try:
        result = extractFlatPairs(handles, config=config(), progress=lambda done, total: seen.append((done, total)))
    finally:
        gc.unfreeze()
    assert len(result.pairs) == 6 and sorted(reads) == list(range(12))
    assert most[0] == 2
    assert seen == [(k, 6) for k in range(1, 7)]


def test_sameFiguresWithAnyNumberOfThreads(rng):
    flats = flatsOf(rng, [10, 10])
    found = []
    for n in (1, 4):
        with numThreads(n):
            found.append(extractFlatPairs(flats, config=config()).datasets[0])
    for amp in NAMES:
        assert np.array_equal(found[0].covariances[amp], found[1].covariances[amp])
        assert found[0].rawVars[amp] == found[1].rawVars[amp] and found[0].gain[amp] == found[1].gain[amp]


def test_config_whatExcludesEachOther():
    with pytest.raises(ValueError, match="exclude each other"):
        config(doExtractPhotodiodeData=True, useEfdPhotodiodeData=True)
    with pytest.raises(ValueError, match="vignetteFunctionPolynomialCoeffs"):
        config(doVignetteFunctionRegionSelection=True)


DEFAULTS = {
    "matchByExposureId": False,
    "matchExposuresType": "TIME",
    "matchExposuresByFluxKeyword": "CCOBFLUX",
    "maximumRangeCovariancesAstier": 10,
    "binSize": 1,
    "maskNameList": ["SUSPECT", "BAD", "NO_DATA", "SAT"],
    "nSigmaClipPtc": 5.5,
    "nIterSigmaClipPtc": 3,
    "minNumberGoodPixelsForCovariance": 10000,
    "thresholdDiffAfwVarVsCov00": 1.0,
    "detectorMeasurementRegion": "AMP",
    "numEdgeSuspect": 0,
    "edgeMaskLevel": "DETECTOR",
    "doGain": True,
    "doKsHistMeasurement": False,
    "ksHistNBins": 100,
    "ksHistLimitMultiplier": 8.0,
    "ksHistMinDataValues": 100,
    "auxiliaryHeaderKeys": [],
    "doExtractPhotodiodeData": False,
    "useEfdPhotodiodeData": False,
    "efdPhotodiodeSeries": "lsst.sal.Electrometer.logevent_logMessage",
    "efdSalIndex": 201,
    "photodiodeIntegrationMethod": "TRIMMED_SUM",
    "photodiodeCurrentScale": -1.0,
    "doVignetteFunctionRegionSelection": False,
    "vignetteFunctionPolynomialCoeffs": None,
    "vignetteFunctionRegionSelectionMinimumPixels": 250000,
    "vignetteFunctionRegionSelectionPercent": 2.0,
}


def test_config_defaultsAreThoseOfTheReference():
    made = PhotonTransferCurveExtractAlgorithmConfig()
    for name, value in DEFAULTS.items():
        found = getattr(made, name)
        assert (list(found) if isinstance(value, list) else found) == value, name
    assert dict(made.minMeanSignal) == {"ALL_AMPS": 0.0} and dict(made.maxMeanSignal) == {"ALL_AMPS": 1.0e6}


@pytest.mark.shared
def test_rampOfTheReferenceTest(sharedDir):
    """20 levels of mock flats, region FULL: the figures that the reference's pipeline test fits, in double precision."""
    want = json.loads((sharedDir / "golden" / "ptc_mockflats.json").read_text())["pipeline_float64_points"]
    flats = []
    times = [float(t) for t in range(1, 97, 5)]
    for time in times:
        for stream in (np.random.RandomState(seed) for seed in (1984, 666)):
            electrons = stream.normal(1000 * time, math.sqrt(1000 * time), (204, 200)) + stream.normal(0, 3, (204, 200))
            flats.append(makeFlat((electrons / 0.75).astype(np.float32), time))
    wanted = config(detectorMeasurementRegion="FULL", maximumRangeCovariancesAstier=10, gainCorrectionType="NONE")
    result = extractFlatPairs(flats, config=wanted)
    assert len(result.pairs) == 20
    merged = PhotonTransferCurveDataset(NAMES, "PARTIAL", 10)
    for pair in result.pairs:
        merged.appendPartialPtc(pair.dataset)
    amp = "C:1,2"
    assert merged.rawMeans[amp] == pytest.approx(np.array(want["mean"]), rel=1e-10)
    assert merged.rawVars[amp] == pytest.approx(np.array(want["var"]), rel=1e-10)
    assert merged.covariancesSqrtWeights[amp][:, 0, 0] == pytest.approx(np.array(want["sqrtWeight00"]), rel=1e-10)
    scale = np.array(want["var"])[:, np.newaxis, np.newaxis]
    assert np.abs(merged.covariances[amp][:, :3, :3] - np.array(want["cov3x3"])) / scale == pytest.approx(0, abs=1e-10)
    assert merged.covariancesSqrtWeights[amp][:, :3, :3] == pytest.approx(np.array(want["sqrtWeights3x3"]), rel=1e-10)
    assert merged.gainList[amp] == pytest.approx(0.75, rel=0.03)


def test_algorithmsLoadNeitherTasksNorFigures():
    code = (
        "import sys, stillsky.ptc.extract, stillsky.ptc.config\n"
        "print([m for m in sys.modules if m.startswith(('lsst.pipe', 'lsst.daf.butler', 'matplotlib'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
