"""KernelCandidateQa: columns and summary of the quality of candidates."""

import warnings

import numpy as np
import pytest
from astropy.table import Table
from lsst.pipe.base import TaskMetadata
from scipy import stats
from task_scenes import starPair

from stillsky.image import Image, Mask, MaskedImage
from stillsky.psfmatch import CandidateStatus
from stillsky.psfmatch.kernel_candidate_qa import KernelCandidateQa
from stillsky.psfmatch.make_kernel import MakeKernelConfig, MakeKernelTask
from stillsky.psfmatch.qa import andersonDarling, kernelMoments, rejectedLevel, residualQuality


@pytest.fixture(scope="module")
def fitted():
    template, science, stars = starPair(np.random.default_rng(5))
    config = MakeKernelConfig()
    config.kernel.active.spatialKernelOrder = 1
    config.kernel.active.nStarPerCell = 3
    config.kernel.active.fitForBackground = True
    return MakeKernelTask(config=config).run(template, science, stars)


def difference(values, variance=4.0):
    values = np.asarray(values, np.float32)
    return MaskedImage(
        Image(values), Mask(np.zeros(values.shape, np.int32)), Image(np.full(values.shape, variance, np.float32))
    )


def testResidualStatisticsOfKnownNoise(rng):
    d = rng.normal(0.2, 1.1, (30, 30))
    image = difference(2.0 * d)
    image.mask.array[:5] = image.mask.bitmask("SAT")
    image.image.array[:5] = 1e6
    image.image.array[7, 7] = np.nan
    used = d[5:].ravel()
    used = np.delete(used, 2 * 30 + 7)
    before = image.mask.array.copy()
    quality = residualQuality(image, dof=3)
    assert quality.Mean == pytest.approx(used.mean(), abs=1e-6)
    assert quality.StDev == pytest.approx(used.std(), rel=1e-6)
    assert quality.Median == pytest.approx(np.median(used), abs=1e-6)
    assert quality.IQR == pytest.approx(stats.iqr(used), rel=1e-6)
    assert quality.ChiSq == pytest.approx(np.sum(used**2) / (used.size - 1 - 3), rel=1e-6)
    # The square of the bias is part of the mean square already.
    assert quality.MseResids == pytest.approx(np.mean(used**2), rel=1e-6)
    ks = stats.kstest(used, "norm")
    assert (quality.KSD, quality.KSProb) == pytest.approx((ks.statistic, ks.pvalue), rel=1e-4)
    np.testing.assert_array_equal(image.mask.array, before)


def testNothingIsMeasuredWithoutAUsablePixel():
    image = difference(np.ones((4, 4)))
    image.mask.array[...] = image.mask.bitmask("NO_DATA")
    assert residualQuality(image) is None


def testAndersonDarlingAgreesWithScipy(rng):
    for values in (rng.normal(3.0, 2.0, 200), rng.exponential(1.0, 60)):
        a2, critical, significance = andersonDarling(values)
        reference = _scipyAnderson(values)
        assert a2 == pytest.approx(reference.statistic, rel=1e-9)
        np.testing.assert_allclose(critical, reference.critical_values, atol=1e-3)
        np.testing.assert_array_equal(significance, reference.significance_level)
    assert andersonDarling([1.0, 1.0, 1.0])[0] == 9999.0


def _scipyAnderson(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy announces another default
        return stats.anderson(values, "norm")


def testRejectedLevel():
    critical, significance = [0.5, 0.6, 0.7, 0.8, 1.0], [15.0, 10.0, 5.0, 2.5, 1.0]
    assert [rejectedLevel(a, critical, significance) for a in (0.4, 0.55, 0.75, 3.0)] == [100.0, 15.0, 5.0, 1.0]


def testMomentsAreWeightedByTheSquaredKernel():
    y, x = np.mgrid[:21, :21]
    image = np.exp(-((x - 11.3) ** 2) / (2 * 4.0) - (y - 9.1) ** 2 / (2 * 2.25))
    # The square of a Gaussian of sigma s is one of sigma s / sqrt(2).
    assert kernelMoments(image) == pytest.approx((11.3, 9.1, 2.0 / np.sqrt(2), 1.5 / np.sqrt(2)), abs=2e-4)
    assert np.isnan(kernelMoments(np.zeros((3, 3)))).all()


def testEveryCandidateGetsItsColumns(fitted):
    kernel = fitted.psfMatchingKernel
    qa = KernelCandidateQa(kernel.nBasisKernels)
    candidates = fitted.kernelCellSet.allCandidates()
    table = qa.apply(candidates, kernel, fitted.backgroundModel, dof=kernel.nBasisKernels)
    status = np.array([int(c.status) for c in candidates])
    judged = status != int(CandidateStatus.UNKNOWN)
    assert judged.any() and not judged.all()
    np.testing.assert_array_equal(table["KCKernelStatus_LOCAL"][judged], status[judged])
    assert np.all(table["KCKernelStatus_LOCAL"][~judged] == -1)
    for kind, rows in (("LOCAL", judged), ("SPATIAL", np.ones(len(table), bool))):
        np.testing.assert_array_equal(table[f"KernelCandidateId_{kind}"][rows], table["id"][rows])
        np.testing.assert_allclose(table[f"KCDiffimStDev_{kind}"][rows], 1.0, atol=0.2)
        np.testing.assert_allclose(table[f"KCKernelCentX_{kind}"][rows], 10.0, atol=0.1)
        assert np.isfinite(table[f"KCDiffimADSig_{kind}"][rows]).all()
    assert np.isnan(table["KCDiffimMean_LOCAL"][~judged]).all()
    assert np.isfinite(table["KernelCoeffValues_LOCAL"][judged]).all()
    assert np.isfinite(table["BackgroundValue_LOCAL"][judged]).all()
    np.testing.assert_allclose(table["KCDiffimMseKernel_SPATIAL"][judged], 0.0, atol=1e-3)
    assert np.all(table["KCDiffimMseKernel_SPATIAL"][~judged] == -99.999)


def testRowsOfTheSourceTableAreFilled(fitted):
    kernel = fitted.psfMatchingKernel
    qa = KernelCandidateQa(kernel.nBasisKernels)
    candidate = next(c for c in fitted.kernelCellSet.allCandidates() if c.status == CandidateStatus.GOOD)
    original = candidate.source
    table = qa.addToSchema(Table({"id": [7, 8], "x": [1.0, 2.0]}))
    candidate.source = table[1]
    result = qa.apply([candidate], kernel, fitted.backgroundModel)
    candidate.source = original
    assert table["KCDiffimMean_LOCAL"][1] == result["KCDiffimMean_LOCAL"][0]
    assert np.isnan(table["KCDiffimMean_LOCAL"][0])


def testSummaryAndFalsePositives(fitted):
    kernel = fitted.psfMatchingKernel
    qa = KernelCandidateQa(kernel.nBasisKernels)
    table = qa.apply(fitted.kernelCellSet.allCandidates(), kernel, fitted.backgroundModel)
    dia = Table({"refMatchId": [0, 3, 0, 0], "srcMatchId": [0, 4, 5, 0]})
    first = int(table["id"][0])
    residuals = {first: ((1.0, 0.5), (0.3, 1e-6))}
    metadata = TaskMetadata()
    for _ in range(2):
        qa.aggregate(table, metadata, residuals, dia)
    values = np.asarray(table["KCDiffimStDev_SPATIAL"])
    assert metadata["KCDiffimStDev_SPATIAL_MEAN"] == pytest.approx(np.nanmean(values))
    assert metadata["KCDiffimStDev_SPATIAL_MEDIAN"] == pytest.approx(np.nanmedian(values))
    assert metadata["KCDiffimStDev_SPATIAL_STDEV"] == pytest.approx(np.nanstd(values))
    for metric in (
        "KCDiffimMean",
        "KCDiffimIQR",
        "KCDiffimKSProb",
        "KCDiffimADSig",
        "KCDiffimChiSq",
        "KCDiffimMseResids",
    ):
        for kind in ("LOCAL", "SPATIAL"):
            for label in ("MEAN", "MEDIAN", "STDEV"):
                assert np.isfinite(metadata[f"{metric}_{kind}_{label}"])
    assert "KCDiffimMseKernel_SPATIAL_MEAN" in metadata and "KCDiffimMseKernel_LOCAL_MEAN" not in metadata
    counts = [metadata[f"NFalsePositives{k}"] for k in ("Total", "RefAssociated", "SrcAssociated", "Unassociated")]
    assert counts == [4, 1, 2, 2]
    np.testing.assert_array_equal(table["RegisterRefPosition"][0], [1.0, 0.5])
    assert table["RegisterResidualBearing"][0] == 0.3 and table["RegisterResidualDistance"][0] == 1e-6
