"""The complete fit against the stored answers of the reference, with every improvement switched off."""

import numpy as np
import pytest
from psfmatch_scenes import Golden, cellSetOf, defaultBasis

from stillsky.psfmatch import KernelCandidate, fitSpatialKernel

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module", params=["al_default", "al_background", "al_polynomial"])
def solved(request, sharedDir):
    golden = Golden(sharedDir / "golden", request.param)
    cellSet, candidates = cellSetOf(golden.positions, golden.images, golden.fields, single=True)
    fit = fitSpatialKernel(cellSet, defaultBasis(), golden.fields)
    return golden, candidates, fit


def _rows(golden):
    return golden.arrays["cand_x_y_status_ksum_bg_chi2_rating_condE_condS_solvedBy"]


def testStatusAndHistoryAgree(solved):
    golden, candidates, fit = solved
    assert [int(c.status) for c in candidates] == list(_rows(golden)[:, 2].astype(int))
    summary = golden.recipe["summary"]
    assert fit.nUsed == summary["nCandidatesUsed"]
    assert len(fit.history) == len(summary["history"])
    for got, wanted in zip(fit.history, summary["history"]):
        assert got["stage"] == {"ksum": "kernelSum"}.get(wanted[0], wanted[0])
        assert got["nRejected"] == wanted[2]
        if wanted[0] == "ksum":
            assert got["nUsed"] == wanted[6]
            assert [got[k] for k in ("kSumMean", "kSumStd", "dkSumMax")] == pytest.approx(wanted[3:6], abs=1e-9)


def testCandidatesAgree(solved):
    golden, candidates, _ = solved
    rows, parameters = _rows(golden), golden.arrays["cand_kernelParameters"]
    peaks = []
    for candidate, row, wanted in zip(candidates, rows, parameters):
        assert candidate.getCandidateRating() == pytest.approx(row[6], rel=1e-12)
        if not candidate.isInitialized():
            continue
        assert candidate.getKsum(KernelCandidate.ORIG) == pytest.approx(row[3], abs=1e-9)
        assert candidate.getBackground(KernelCandidate.ORIG) == pytest.approx(row[4], abs=1e-6)
        assert candidate.chi2 == pytest.approx(row[5], rel=1e-5)  # float32 residuals in the reference
        image = candidate.getKernelImage(KernelCandidate.ORIG)
        reference = np.einsum("i,iyx->yx", wanted, np.array([b.imageAt(0, 0) for b in defaultBasis()]))
        peaks.append(np.abs(image - reference).max() / np.abs(reference).max())
        solution = candidate.getKernelSolution(KernelCandidate.ORIG)
        assert solution.getConditionNumber(solution.EIGENVALUE) == pytest.approx(row[7], rel=1e-3)
    assert len(peaks) > 55 and max(peaks) < 1e-9


def testSpatialKernelAndBackgroundAgree(solved):
    golden, _, fit = solved
    arrays = golden.arrays
    for i, (x, y) in enumerate(golden.recipe["eval_positions"]):
        wanted = arrays[f"kernel_{i}"]
        for got in (fit.solution.makeKernelImage((x, y)), fit.kernel.imageAt(x, y)):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
        assert fit.solution.kernelSumAt(x, y) == pytest.approx(arrays["eval_x_y_ksum_bg"][i, 2], abs=1e-9)
        assert fit.background(x, y) == pytest.approx(arrays["eval_x_y_ksum_bg"][i, 3], abs=1e-6)
    assert fit.conditionNumber == pytest.approx(golden.recipe["summary"]["conditionEigenvalue"], rel=1e-3)
    wanted = arrays["kernelSpatialParameters"]
    got = np.array(fit.kernel.spatialParameters)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def testNormalEquationsAgree(solved):
    golden, candidates, fit = solved
    if "spatial_M" not in golden.arrays:
        pytest.skip("matrices are stored for one of the solutions only")
    first = next(c for c in candidates if c.isInitialized()).getKernelSolution(KernelCandidate.ORIG)
    for got, key, tolerance in (
        (first.getM(), "cand0_M", 1e-12),
        (first.getB(), "cand0_B", 1e-12),
        (fit.solution.getM(), "spatial_M", 1e-8),
        (fit.solution.getB(), "spatial_B", 1e-8),
    ):
        wanted = golden.arrays[key]
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def testStoredFigures(solved):
    golden, _, fit = solved
    centre = fit.kernel.imageAt(256, 256)
    background = golden.fields["fitForBackground"]
    if not background:
        assert fit.kernelSum == pytest.approx(0.998667318, abs=1e-9)
        assert fit.conditionNumber == pytest.approx(6.1656e8, rel=1e-3)
        assert (fit.nUsed, fit.nBad, fit.nUnknown) == (60, 1, 3)
        assert (centre[10, 10], centre[10, 11]) == pytest.approx((0.09571548, 0.05649249), abs=1e-7)
        assert fit.kernel.imageAt(100, 400)[10, 10] == pytest.approx(0.06040892, abs=1e-7)
        assert fit.rejected["kernelSum"] == 1 and sum(fit.rejected.values()) == 1
    elif golden.fields["spatialModelType"] == "chebyshev1":
        assert fit.kernelSum == pytest.approx(1.299237141, abs=1e-8)
        assert fit.background.parameters == pytest.approx((32.69937424, 4.94798438, -2.52183055), abs=1e-6)
        assert abs(fit.background(256, 256) - 32.56) < 0.2
    else:
        assert fit.kernelSum == pytest.approx(1.299286712, abs=1e-8)
        assert fit.background(256, 256) == pytest.approx(32.69022, abs=1e-5)
        assert centre[10, 10] == pytest.approx(0.07684593, abs=1e-5)
        assert fit.conditionNumber == pytest.approx(2.4e13, rel=0.05)
