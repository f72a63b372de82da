"""Everything that is measured on one region of one flat pair, against the reference's own figures."""

import json
import math

import numpy as np
import pytest
from flat_scenes import goldenFlats, goldenPair, makeFlat, noisyFlat, unitTestFlats

from stillsky.errors import OutOfBoundsError, ShapeError
from stillsky.geom import Box2I
from stillsky.ptc import measure, measureFlatPair
from stillsky.ptc.binning import binDifference, binExposures
from stillsky.ptc.config import PhotonTransferCurveExtractAlgorithmConfig
from stillsky.ptc.covariance import makeCovArray
from stillsky.ptc.moments import clippedMoments, clipVarianceFactor
from stillsky.ptc.settings import FlatPairSettings, makeSettings

# F(n), the variance of a Gaussian over that of one clipped at n sigma
F_FACTORS = {
    3: 1.027393469477902,
    4: 1.0010718572754305,
    5: 1.0000148674247076,
    5.5: 1.0000011846750532,
}
RULES = {
    "seed_anyPlane_oneSidedCut": {
        "covarianceMaskPlanes": "any",
        "clipRule": "oneSided",
        "clipCorrection": "row",
    },
    "head_requestedPlanes_oneSidedCut": {"clipRule": "oneSided"},
    "better_requestedPlanes_symmetricCut": {},
    "head_float32Difference": {"clipRule": "oneSided"},
}


def float32Difference(image1, image2, mean1, mean2):
    """The difference in the reference's single-precision arithmetic and order; for comparisons only."""
    first, second = (np.asarray(image, np.float32) for image in (image1, image2))
    difference = first * np.float32(mean2)
    difference -= second * np.float32(mean1)
    difference *= np.float32(1) / np.float32(0.5 * (mean1 + mean2))
    return difference.astype(np.float64)


def settings(**fields):
    return makeSettings(PhotonTransferCurveExtractAlgorithmConfig(), **fields)


@pytest.fixture
def golden(sharedDir):
    return lambda name: json.loads((sharedDir / "golden" / name).read_text())


class TestClippedStatistics:
    def test_oneOutlierOfMany(self):
        values = np.append(np.arange(1.0, 101.0), 10000.0).reshape(1, -1)
        found = clippedMoments(values, None, 5.5, 3)
        assert (found.count, found.median, found.quartile1, found.quartile3) == (101, 51, 26, 76)
        assert found.firstHalfWidth == pytest.approx(203.8578, abs=5e-5)
        assert (found.mean, found.kept) == (50.5, 100)
        assert found.variance == pytest.approx(841.6667, abs=5e-5)

    def test_constantImage(self):
        found = clippedMoments(np.full((7, 9), 3.5), None, 5.5, 3)
        assert (found.mean, found.variance) == (3.5, 0.0)

    def test_allMasked(self):
        found = clippedMoments(np.ones((7, 9)), np.zeros((7, 9), bool), 5.5, 3)
        assert math.isnan(found.mean) and math.isnan(found.variance)


class TestUnitTestFlats:
    TABLE = {
        "mean1": (2000.0967034074372, 2000.0967034074372),
        "mean2": (1999.7689195281384, 1999.7689195281384),
        "mean": (1999.9328114677878, 1999.9328114677878),
        "varDiff": (2989.2168248141193, 2989.216648454856),
    }
    COVARIANCES = {
        (0, 0): (5978.287119391727, 5978.286766681846, 40800),
        (1, 0): (-5.1523132854600755, -5.152284463972451, 40596),
        (0, 1): (4.859777128330355, 4.859742214400837, 40600),
        (1, 1): (-14.90555278327688, -14.905559868976775, 80794),
        (7, 7): (17.28788837395885, 17.287894164004957, 76042),
    }

    def check(self, column, rel):
        record = measureFlatPair(*unitTestFlats(), settings(maximumRangeCovariancesAstier=8))
        for name, values in self.TABLE.items():
            assert getattr(record, name) == pytest.approx(values[column], rel=rel), name
        assert record.nGood == 40800
        variance = self.COVARIANCES[0, 0][column]
        for lag, values in self.COVARIANCES.items():
            assert record.covariance.cov[lag] == pytest.approx(values[column], abs=rel * variance)
            assert record.covariance.npix[lag] == values[2]
        assert abs(54.72 - math.sqrt(record.varDiff)) < 1 and abs(2000 - record.mean) < 1

    def test_float64(self):
        self.check(0, 1e-12)

    def test_float32(self, monkeypatch):
        monkeypatch.setattr(measure, "differenceOfFlats", float32Difference)
        self.check(1, 1e-7)


@pytest.mark.shared
class TestGoldenPair:
    def test_recipe(self, golden):
        check = golden("ptc_measure.json")["check"]
        (image1, image2), (planes, _) = goldenFlats()
        assert image1[0, :3].tolist() == check["im1_first"] and image2[0, :3].tolist() == check["im2_first"]
        assert planes["BAD"].sum() == check["nBad"]
        assert image1.sum(dtype=float) == check["im1_sum"] and image2.sum(dtype=float) == check["im2_sum"]

    @pytest.mark.parametrize("rule", RULES)
    def test_allFigures(self, golden, rule, monkeypatch):
        want = golden("ptc_measure.json")[rule]
        if "float32" in rule:
            monkeypatch.setattr(measure, "differenceOfFlats", float32Difference)
        found = measureFlatPair(
            *goldenPair(),
            settings(maximumRangeCovariancesAstier=8, clippedRowMeans=False, **RULES[rule]),
            nLags=9,
        )
        for ours, theirs in (
            ("mean1", "mu1"),
            ("mean2", "mu2"),
            ("mean", "mu"),
            ("clipVariance", "varClipDiff"),
            ("varDiff", "varDiff"),
            ("rawVar", "rawVar_corrected"),
            ("rowMeanVariance", "rowMeanVariance_allRows"),
        ):
            assert getattr(found, ours) == pytest.approx(want[theirs], rel=1e-10), ours
        assert found.clipMean == pytest.approx(want["meanClipDiff"], abs=1e-10 * math.sqrt(found.clipVariance))
        assert found.nGood == want["weightSum"]
        variance = found.covariance.cov[0, 0]
        assert [t[:2] for t in found.covTuples()] == [tuple(t[:2]) for t in want["covTuples"]]
        for ours, theirs in zip(found.covTuples(), want["covTuples"], strict=True):
            assert ours[2:4] == pytest.approx(theirs[2:4], abs=1e-10 * variance)
            assert ours[4] == theirs[4]
        assert found.covArray == pytest.approx(np.array(want["covArray_i_is_dx_j_is_dy"]), abs=1e-10 * variance)
        assert found.covSqrtWeights == pytest.approx(np.array(want["covSqrtWeights"]), rel=1e-10)

    def test_compatIsTheReference(self, golden):
        golden = golden("ptc_measure.json")
        want = golden["head_requestedPlanes_oneSidedCut"]
        config = PhotonTransferCurveExtractAlgorithmConfig()
        config.maximumRangeCovariancesAstier = 8
        config.compat = True
        config.doKsHistMeasurement = True
        found = measureFlatPair(*goldenPair(), config, readNoise=4.0)
        assert found.rowMeanVariance == pytest.approx(want["rowMeanVariance_withoutLastRow"], rel=1e-10)
        assert found.nGood == want["weightSum"]
        gains = golden["gain"]["reference_unclipped"]
        assert found.gainRatio == pytest.approx(gains["const"], rel=1e-10)
        assert found.gain == pytest.approx(gains["FULL"], rel=1e-10)
        histogram = golden["histogram"]
        assert found.histVar == pytest.approx(histogram["histVar"], rel=1e-6)
        assert found.histChi2Dof == pytest.approx(histogram["chi2Dof"], rel=1e-6)
        assert found.kspValue == pytest.approx(histogram["kspValue"], rel=1e-5)

    def test_gains(self, golden):
        want = golden("ptc_measure.json")["gain"]["clippedAndFluxMatched"]
        for kind, key in (
            ("NONE", "NONE"),
            ("READNOISE", "READNOISE"),
            ("SIMPLE", "SIMPLE_asDocumented"),
            ("FULL", "FULL"),
        ):
            found = measureFlatPair(*goldenPair(), settings(gainCorrectionType=kind), readNoise=4.0)
            assert found.gainRatio == pytest.approx(want["const"], rel=1e-10)
            assert found.gain == pytest.approx(want[key], rel=1e-9)

    def test_clippedRowMeansKeepHitsOut(self):
        found = measureFlatPair(*goldenPair(), settings())
        # 84.5 is the expectation (variance of a pixel over pixels of a row); 256 rows know it to 7.5.
        expected = found.clipVariance / (found.nGood / 256)
        assert expected == pytest.approx(84.5, abs=0.1)
        assert found.rowMeanVariance == pytest.approx(expected, abs=1.5 * expected * math.sqrt(2 / 255))
        assert measureFlatPair(*goldenPair(), settings(clippedRowMeans=False)).rowMeanVariance > 118

    def test_populationVariance(self):
        found = measureFlatPair(*goldenPair(), settings())
        assert found.varDiff == pytest.approx(13481, abs=3 * 67)


class TestClipCorrection:
    @pytest.mark.parametrize("nSigma", F_FACTORS)
    def test_factors(self, nSigma):
        assert clipVarianceFactor(nSigma) == pytest.approx(F_FACTORS[nSigma], rel=1e-13)

    @pytest.mark.parametrize("rule", ["element", "row"])
    def test_varianceOnceCovariancesTwice(self, rng, rule):
        factor = F_FACTORS[3]
        found = measureFlatPair(
            noisyFlat(rng, 20000), noisyFlat(rng, 20000), settings(nSigmaClipPtc=3.0, clipCorrection=rule)
        )
        cov, npix = found.covariance.cov[:10, :10], found.covariance.npix[:10, :10]
        want = 0.5 * cov * factor**2
        want[(0, 0) if rule == "element" else 0] /= factor
        assert found.covArray == pytest.approx(want, rel=1e-13)
        weights = np.sqrt(npix) / (cov[0, 0] / 2)
        weights[0, 0] /= math.sqrt(2)
        assert found.covSqrtWeights == pytest.approx(weights, rel=1e-13)
        assert found.rawVar == pytest.approx(factor * found.varDiff, rel=1e-13)

    def test_sameArraysAsTheTupleList(self, rng):
        found = measureFlatPair(noisyFlat(rng, 20000), noisyFlat(rng, 20000), settings(), nLags=11)
        cov, vcov, levels = makeCovArray([(found.mean, *t) for t in found.covTuples()], 10)
        assert levels.tolist() == [found.mean]
        assert found.covSqrtWeights == pytest.approx(1 / np.sqrt(vcov[0]), rel=1e-13)
        assert found.covArray[0, 0] == pytest.approx(F_FACTORS[5.5] * cov[0, 0, 0], rel=1e-12)


def test_clipIsSymmetricAboutTheMean():
    """Mean 50 and variance 100 keep -5 to 105; the reference keeps -105 to 105."""
    rng = np.random.default_rng(6)
    difference = 50 + 10 * rng.standard_normal((300, 300))
    difference[0, :6] = [-5.5, -4.5, 104.5, 105.5, -104.0, -106.0]
    good = np.ones(difference.shape, bool)
    moments, keep = measure.clipped(difference, good, settings())
    assert moments.lower == pytest.approx(-5, abs=0.3) and moments.upper == pytest.approx(105, abs=0.3)
    assert keep[0, :6].tolist() == [False, True, True, False, False, False]
    _, reference = measure.clipped(difference, good, settings(clipRule="oneSided"))
    assert reference[0, :6].tolist() == [True, True, True, False, True, False]


class TestBadPixels:
    def test_nanRowsAreLeftOut(self):
        flats = unitTestFlats()
        for flat in flats:
            flat.image.array[20:30] = np.nan
        found = measureFlatPair(*flats, settings())
        rest = np.delete(np.stack([f.image.array for f in flats]).astype(float), range(20, 30), axis=1)
        assert found.mean == pytest.approx(rest.mean(), abs=1)
        assert math.sqrt(found.varDiff) == pytest.approx(math.sqrt(np.var(rest[0] - rest[1]) / 2), abs=1)
        assert np.isfinite(found.covariance.cov).all() and np.isfinite(found.covSqrtWeights).all()
        assert np.isfinite([found.gain, found.rowMeanVariance]).all()
        assert found.nPixels == 194 * 200

    def test_nanUnderAMaskDoesNotSpread(self):
        clean, dirty = unitTestFlats(), unitTestFlats()
        for flats, value in ((clean, 0.0), (dirty, np.nan)):
            for flat in flats:
                where = np.random.default_rng(5).random(flat.image.array.shape) < 0.01
                flat.image.array[where] = value
                flat.mask.array[where] |= flat.mask.bitmask(["BAD"])
        a, b = (measureFlatPair(*flats, settings(doKsHistMeasurement=True)) for flats in (clean, dirty))
        assert np.array_equal(a.covArray, b.covArray)
        for name in ("mean", "rawVar", "gain", "rowMeanVariance", "histVar", "kspValue", "nGood", "nPixels"):
            assert getattr(a, name) == getattr(b, name), name

    def test_masksThatDifferAreJoined(self, rng):
        shape = (200, 200)
        left, right = np.zeros(shape, bool), np.zeros(shape, bool)
        left[:, :20], right[:, 100:110] = True, True
        flats = (
            noisyFlat(rng, 20000, shape=shape, mask={"SAT": left}),
            noisyFlat(rng, 20000, shape=shape, mask={"SAT": right}),
        )
        found = measureFlatPair(*flats, settings())
        assert found.isGood and found.nPixels == 200 * 170

    def test_otherPlanesCountOnlyWhenAsked(self, rng):
        hit = np.zeros((200, 200), bool)
        hit[:, :20] = True
        flats = [noisyFlat(rng, 20000, shape=(200, 200), mask={"CR": hit}) for _ in range(2)]
        assert measureFlatPair(*flats, settings()).nGood == 40000
        assert measureFlatPair(*flats, settings(covarianceMaskPlanes="any")).nGood == 36000
        assert measureFlatPair(*flats, settings(covarianceMaskPlanes="any")).nPixels == 40000

    def test_planesThatAMaskLacksAreIgnored(self, rng):
        flats = [noisyFlat(rng, 20000) for _ in range(2)]
        assert measureFlatPair(*flats, settings(maskNameList=("BAD", "NO_SUCH_PLANE"))).isGood


class TestUselessRegions:
    def problem(self, flat1, flat2=None, **fields):
        found = measureFlatPair(flat1, flat1 if flat2 is None else flat2, settings(**fields))
        assert not found.isGood and found.warnings[-1] == found.problem
        assert found.covArray is None and math.isnan(found.rawVar)
        return found.problem

    def test_allMaskedOrNaN(self):
        shape = (204, 200)
        assert "not a number" in self.problem(makeFlat(np.ones(shape), mask={"BAD": np.ones(shape, bool)}))
        assert "not a number" in self.problem(makeFlat(np.full(shape, np.nan)))

    def test_disjointMasks(self, rng):
        half = np.zeros((204, 200), bool)
        half[:100] = True
        flats = noisyFlat(rng, 2000, mask={"BAD": half}), noisyFlat(rng, 2000, mask={"BAD": ~half})
        assert "Variance" in self.problem(*flats)

    @pytest.mark.parametrize("level", [0.0, -100.0])
    def test_meanThatIsNotPositive(self, rng, level):
        pixels = level + rng.standard_normal((204, 200))
        assert "positive" in self.problem(makeFlat(pixels - pixels.mean() + level - 1e-3))

    def test_oneMeanThatIsNotPositive(self, rng):
        flats = [noisyFlat(rng, level) for level in (20000, 10000)]
        flats[1].image.array *= -1  # the average of the means is positive
        assert "positive" in self.problem(*flats)

    def test_constantImage(self):
        assert "Variance of the difference is 0" in self.problem(makeFlat(np.full((204, 200), 1000.0)))

    def test_tooFewPixels(self, rng):
        flats = [noisyFlat(rng, 2000, shape=(60, 60)) for _ in range(2)]
        assert "Number of good points, 3600," in self.problem(*flats)

    def test_narrowRegion(self, rng):
        flats = [noisyFlat(rng, 2000, shape=(9, 5)) for _ in range(2)]
        assert "Not enough pixels" in self.problem(*flats, minNumberGoodPixelsForCovariance=10)

    def test_otherSizeAndRegionOutside(self, rng):
        with pytest.raises(ShapeError, match="equal sizes"):
            measureFlatPair(noisyFlat(rng, 10, shape=(9, 9)), noisyFlat(rng, 10, shape=(9, 8)), settings())
        flats = [noisyFlat(rng, 10, shape=(9, 9)) for _ in range(2)]
        with pytest.raises((OutOfBoundsError, ShapeError)):
            measureFlatPair(*flats, settings(), region=Box2I((5, 5), (9, 9)))


class TestVarianceCheck:
    def test_cleanFlatsAgree(self):
        found = measureFlatPair(*unitTestFlats(), settings())
        assert 0.5 * found.covariance.cov[0, 0] == pytest.approx(found.varDiff, rel=1e-4)
        assert found.warnings == [] or all("read noise" in w for w in found.warnings)

    def test_aDiscrepancyIsOneWarning(self, monkeypatch, caplog):
        true = measure.covariances

        def larger(*args, **kwargs):
            cov, npix = true(*args, **kwargs)
            return type(true(*args, **kwargs))(1.02 * cov, npix)

        monkeypatch.setattr(measure, "covariances", larger)
        import logging

        found = measureFlatPair(*unitTestFlats(), settings(doGain=False), log=logging.getLogger("check"))
        assert found.isGood and len(found.warnings) == 1
        assert "differ by 1.96 percent" in found.warnings[0]
        assert [r.getMessage() for r in caplog.records] == found.warnings


def test_levelsThatDifferAreReportedWithTheirEffect(rng):
    flats = [noisyFlat(rng, level, noise=0.0, shape=(500, 500)) for level in (20000, 26000)]
    found = measureFlatPair(*flats, settings(doGain=False))
    assert found.isGood and len(found.warnings) == 1 and "26.1 percent" in found.warnings[0]
    assert "1.7 percent" in found.warnings[0]
    # 1 - mean1 mean2/mean^2 = 1.70 %; 250000 pixels know a variance to 0.28 %
    assert found.varDiff / (found.mean / 1.5) == pytest.approx(1 - 0.0170, abs=3 * 0.0028)
    flats = [noisyFlat(rng, level) for level in (20000, 21000)]
    assert not measureFlatPair(*flats, settings(doGain=False)).warnings


class TestBinning:
    def test_blocksAverageTheirGoodPixels(self):
        image = np.arange(30.0).reshape(5, 6)
        good = np.ones((5, 6), bool)
        good[0, 0] = good[2, 2] = good[2, 3] = good[3, 2] = False
        image[0, 0] = np.nan
        binned, usable = binDifference(image, good, 2)
        assert binned.shape == (2, 3)
        assert binned[0, 0] == pytest.approx((1 + 6 + 7) / 3)
        assert usable.tolist() == [[True, True, True], [True, False, True]]
        assert binned[1, 1] == 0
        _, spoilt = binDifference(image, good, 2, goodPixelsOnly=False)
        assert spoilt.tolist() == [[False, True, True], [True, False, True]]

    def test_varianceStaysThatOfPixels(self, rng):
        shape = (800, 800)
        flats = [noisyFlat(rng, 20000, shape=shape) for _ in range(2)]
        for flat in flats:
            flat.image.array[::9, ::11] = 1e6
            flat.mask.array[::9, ::11] |= flat.mask.bitmask(["SAT"])
        plain, binned = (measureFlatPair(*flats, settings(binSize=n, maximumRangeCovariancesAstier=3)) for n in (1, 4))
        assert binned.covArray.shape == (3, 3)
        # 40000 bins: 0.7 %; masked pixels raise the variance of their bins by a hundredth
        assert binned.rawVar == pytest.approx(plain.rawVar, rel=0.035)
        assert binned.covArray[0, 0] == pytest.approx(plain.covArray[0, 0], rel=0.035)
        assert binned.covSqrtWeights[0, 0] == pytest.approx(plain.covSqrtWeights[0, 0] / 4, rel=0.05)
        assert binned.gain == plain.gain
        raw = measureFlatPair(*flats, settings(binSize=4, binGoodPixels=False, maximumRangeCovariancesAstier=3))
        assert raw.rawVar == pytest.approx(plain.rawVar / 16, rel=0.035)

    def test_fewestPixelsCountBins(self, rng):
        flats = [noisyFlat(rng, 20000) for _ in range(2)]
        assert measureFlatPair(*flats, settings(binSize=2, maximumRangeCovariancesAstier=3)).isGood  # 10200 > 2500
        assert not measureFlatPair(*flats, settings(binSize=2, minNumberGoodPixelsForCovariance=41000)).isGood

    def test_binnedImagesAvoidBorders(self, rng):
        flats = [noisyFlat(rng, 2000) for _ in range(2)]
        flats[0].image.array[20:30, 30:40] = np.nan
        boxes = {amp.name: amp.bbox for amp in flats[0].detector}
        table = binExposures(*flats, boxes, 8, 10)
        assert len(table) == 8 * 10 * 3  # 80 x 31 pixels of each amplifier, blocks of 8
        assert (table["xd"][0], table["yd"][0]) == (13.5, 13.5)
        assert np.array_equal(np.unique(table["amp_index"]), range(8))
        row = table[85]
        block = flats[1].image.array[int(row["yd"] - 3.5) :, int(row["xd"] - 3.5) :][:8, :8]
        assert row["value2"] == pytest.approx(block.mean(dtype=float), rel=1e-12)
        assert np.isnan(table["value1"]).sum() == 0  # no block lies wholly in the NaN patch
        flats[0].image.array[10:30, 10:40] = np.nan
        assert np.isnan(binExposures(*flats, boxes, 8, 10)["value1"]).sum() == 6
        assert len(binExposures(*flats, boxes, 8, 60)) == 0


def test_rowMeans_allRowsOnceAndEmptyRowsIgnored(rng):
    difference = rng.standard_normal((2000, 50))
    use = rng.random((2000, 50)) > 0.1
    use[5] = use[77] = False
    difference[5] = np.nan
    means = np.array([difference[k, use[k]].mean() for k in range(2000) if use[k].any()])
    assert len(means) == 1998
    want = clippedMoments(means.reshape(1, -1), None, 5.5, 3).variance
    assert measure.rowMeanVariance(difference, use) == pytest.approx(want, rel=1e-12)
    assert math.isnan(measure.rowMeanVariance(difference, np.zeros((2000, 50), bool)))


def test_lagsWithFewPairsAreNaNWithoutWeight(rng):
    flats = [noisyFlat(rng, 20000, shape=(12, 200)) for _ in range(2)]
    found = measureFlatPair(*flats, settings(minPairsPerLag=700, minNumberGoodPixelsForCovariance=100))
    few = np.array([[(200 - dx) * (12 - dy) * (2 if dx and dy else 1) < 700 for dy in range(10)] for dx in range(10)])
    assert found.isGood and np.isfinite(found.covArray[0, 0])
    assert np.isnan(found.covArray).any() and np.isfinite(found.covArray).any()
    assert np.array_equal(np.isnan(found.covArray), found.covSqrtWeights == 0)
    assert (np.isnan(found.covArray) >= few).all()


def test_settings_compatTurnsEveryImprovementOff():
    config = PhotonTransferCurveExtractAlgorithmConfig()
    assert makeSettings(config) == FlatPairSettings()
    config.compat = True
    old = makeSettings(config)
    assert (old.clipRule, old.fluxMatchedGain, old.clippedRowMeans, old.lastRow) == ("oneSided", False, False, False)
    assert (old.gainCorrectionType, old.covarianceEstimator, old.binGoodPixels) == ("FULL", "fft", False)
    config.covAstierRealSpace = True
    assert makeSettings(config).covarianceEstimator == "direct"
    config.gainCorrectionType = "NONE"
    assert makeSettings(config).gainCorrectionType == "NONE"


def test_plainArraysWork(rng):
    arrays = [noisyFlat(rng, 20000).image.array for _ in range(2)]
    exposures = [makeFlat(a) for a in arrays]
    assert np.array_equal(
        measureFlatPair(*arrays, settings()).covArray, measureFlatPair(*exposures, settings()).covArray
    )


class TestUnusualArrays:
    @pytest.fixture
    def arrays(self, rng):
        return [np.rint(noisyFlat(rng, 20000).image.array) for _ in range(2)]

    def test_integersByteSwappedAndReadOnly(self, arrays):
        want = measureFlatPair(*arrays, settings())
        swapped = [a.astype(">f4") for a in arrays]
        for given in ([a.astype(np.uint16) for a in arrays], swapped, [a.astype(float) for a in arrays]):
            for array in given:
                array.setflags(write=False)
            found = measureFlatPair(*given, settings())
            assert found.covArray == pytest.approx(want.covArray, abs=1e-9 * want.rawVar)
            assert found.gain == pytest.approx(want.gain, rel=1e-12)
        mixed = measureFlatPair(arrays[0], arrays[1].astype(float), settings())
        assert mixed.rawVar == pytest.approx(want.rawVar, rel=1e-12)

    def test_stridesAndRegions(self, arrays):
        box = Box2I((10, 20), (150, 160))
        want = measureFlatPair(*(a[20:180, 10:160].copy() for a in arrays), settings())
        assert np.array_equal(measureFlatPair(*arrays, settings(), region=box).covArray, want.covArray)
        columns = [np.asfortranarray(a) for a in arrays]
        assert np.array_equal(measureFlatPair(*columns, settings(), region=box).covArray, want.covArray)
        with pytest.raises(OutOfBoundsError, match="inside"):
            measureFlatPair(*arrays, settings(), region=Box2I((10, 20), (191, 10)))

    def test_onePixelAndNone(self):
        found = measureFlatPair(np.ones((1, 1)), np.ones((1, 1)), settings(minNumberGoodPixelsForCovariance=1))
        assert not found.isGood and "Variance" in found.problem
        with pytest.raises(ShapeError, match="with pixels"):
            measureFlatPair(np.ones((0, 5)), np.ones((0, 5)), settings())


def test_inputIsNotModified(rng):
    flats = [noisyFlat(rng, 20000) for _ in range(2)]
    copies = [flat.copy() for flat in flats]
    measureFlatPair(*flats, settings(doKsHistMeasurement=True), readNoise=2.0)
    assert flats[0].maskedImage == copies[0].maskedImage and flats[1].maskedImage == copies[1].maskedImage


def test_weightsAreTheStandardErrors():
    """Pulls of all lags of white flats have mean 0 and width 1, those of the variance too."""
    pulls, variancePulls = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        flats = [(20000 + math.sqrt(20000) * rng.standard_normal((150, 200))).astype(np.float32) for _ in range(2)]
        found = measureFlatPair(*flats, settings(maximumRangeCovariancesAstier=6, doGain=False))
        scaled = found.covArray * found.covSqrtWeights
        variancePulls.append((found.covArray[0, 0] - 20000) * found.covSqrtWeights[0, 0])
        scaled[0, 0] = np.nan
        pulls.append(scaled)
    pulls = np.array(pulls)
    n = np.isfinite(pulls).sum()
    assert abs(np.nanmean(pulls)) < 4 / math.sqrt(n)
    assert np.nanstd(pulls) == pytest.approx(1, abs=4 / math.sqrt(2 * n))
    assert abs(np.mean(variancePulls)) < 4 / math.sqrt(60) and np.std(variancePulls) == pytest.approx(1, abs=0.37)


def test_recordsShowThemselvesBriefly(rng):
    flats = [noisyFlat(rng, 20000) for _ in range(2)]
    assert repr(measureFlatPair(*flats, settings())).startswith("<FlatPairMeasurement: mean 133")
    assert "must be positive" in repr(measureFlatPair(makeFlat(-flats[0].image.array), flats[1], settings()))
