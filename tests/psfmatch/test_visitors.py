"""The visitors one by one, and principal components."""

import numpy as np
import pytest
from psfmatch_scenes import BAD as BAD_BIT
from psfmatch_scenes import compatible, gaussian, images, settings, stamp

import stillsky
from stillsky.kernel import AnalyticKernel, FixedKernel, GaussianFunction2, LinearCombinationKernel, PolynomialFunction2
from stillsky.psfmatch import (
    AssessSpatialKernelVisitor,
    BuildSingleKernelVisitor,
    BuildSpatialKernelVisitor,
    KernelCandidate,
    KernelPca,
    KernelPcaVisitor,
    KernelSumVisitor,
    SpatialCell,
    SpatialCellCandidate,
    SpatialCellSet,
    createPcaBasis,
    makeAlardLuptonBasisList,
    makeDeltaFunctionBasisList,
    renormalizeKernelList,
)

BAD, GOOD, UNKNOWN = SpatialCellCandidate.BAD, SpatialCellCandidate.GOOD, SpatialCellCandidate.UNKNOWN
ORIG, PCA, RECENT = KernelCandidate.ORIG, KernelCandidate.PCA, KernelCandidate.RECENT
AGGREGATE, REJECT = KernelSumVisitor.AGGREGATE, KernelSumVisitor.REJECT


def _pixelCandidate(value, fields, size=51, rating=None):
    """One pixel of value 1 on the template and `value` on the science image: a kernel of that sum."""
    t, s = np.zeros((size, size)), np.zeros((size, size))
    t[size // 2, size // 2], s[size // 2, size // 2] = 1.0, value
    variance = np.ones(t.shape)
    variance[size // 2, size // 2] = abs(value)
    return KernelCandidate(0, 0, stamp(t, 0.0), stamp(s, variance), fields, value if rating is None else rating)


def _cell(candidates):
    return SpatialCell("cell", (-100, -100, 1000, 1000), candidates)


class NotAStar(SpatialCellCandidate):
    def getCandidateRating(self):
        return 1.0


FIELDS = dict(constantVarianceWeighting=False, kernelBasisSet="delta-function", badMaskPlanes=["NO_DATA"])


def testBuildSingleProcessesOnceAndKeepsTheOriginal():
    fields = settings(**FIELDS)
    candidates = [_pixelCandidate(v, fields) for v in (1.0, 2.0, 3.0)]
    cell = _cell(candidates)
    bases = makeDeltaFunctionBasisList(5, 5)
    visitor = BuildSingleKernelVisitor(bases, fields)
    cell.visitCandidates(visitor)
    assert (visitor.nProcessed, visitor.nRejected) == (3, 0)
    assert [c.getKsum(ORIG) for c in candidates] == pytest.approx([1, 2, 3])
    assert all(c.status == GOOD for c in candidates)
    ids = [c.getKernelSolution(ORIG).id for c in candidates]
    cell.visitCandidates(visitor)
    assert visitor.nProcessed == 0
    assert [c.getKernelSolution(RECENT).id for c in candidates] == ids
    again = BuildSingleKernelVisitor(makeDeltaFunctionBasisList(3, 3), fields)
    again.skipBuilt = False
    cell.visitCandidates(again)
    assert again.nProcessed == 3
    for c, old in zip(candidates, ids):
        assert c.getKernelSolution(ORIG).id == old != c.getKernelSolution(PCA).id
        assert c.getKernelSolution(PCA).id == c.getKernelSolution(RECENT).id


def testAStarThatTheBasisCannotMakeIsRejected():
    fields = settings(**FIELDS)
    candidates = [_pixelCandidate(v, fields) for v in (1.0, 2.0, 3.0)]
    t, s = np.zeros((51, 51)), np.zeros((51, 51))
    t[25, 25] = 1e4
    s[24, 20] = 1e4
    candidates.append(KernelCandidate(0, 0, stamp(t, 0.0), stamp(s, 1.0), fields, 9.0))
    visitor = BuildSingleKernelVisitor(makeDeltaFunctionBasisList(1, 1), fields)
    visitor.prepare(candidates)
    _cell(candidates).visitCandidates(visitor)
    assert (visitor.nProcessed, visitor.nRejected) == (4, 1)
    assert candidates[3].status == BAD and candidates[3].rejection in ("residualMean", "residualStd")


def testPrepareAndPlainVisitsAgree(rng):
    fields = settings()
    results = []
    for prepared in (False, True):
        generator = np.random.default_rng(5)
        candidates = []
        for flux in (1e3, 1e4, 1e5):
            t = gaussian(43, 1.5, flux) + generator.normal(size=(43, 43))
            s = gaussian(43, 2.0, flux) + generator.normal(size=(43, 43))
            candidates.append(KernelCandidate(1, 1, stamp(t), stamp(s), fields))
        visitor = BuildSingleKernelVisitor(makeAlardLuptonBasisList(10, 1, [1.5], [2]), fields)
        if prepared:
            visitor.prepare(candidates)
        _cell(candidates).visitCandidates(visitor)
        results.append([(c.chi2, int(c.status), c.getKsum(ORIG)) for c in candidates])
    assert results[0] == results[1]


def testEveryFailureIsCountedWithItsReason():
    fields = settings()
    star = [gaussian(43, 1.5, 1e4), gaussian(43, 2.0, 1e4)]
    masked = np.full((43, 43), BAD_BIT)
    cases = {
        "masked": KernelCandidate(0, 0, stamp(star[0]), stamp(star[1], 1.0, masked), fields, 3.0),
        "build": KernelCandidate(0, 0, stamp(star[0][:15, :15]), stamp(star[1][:15, :15]), fields, 2.0),
        "statistics": KernelCandidate(0, 0, stamp(star[0], 0.0), stamp(star[1], 0.0), fields, 1.0),
    }
    visitor = BuildSingleKernelVisitor(makeAlardLuptonBasisList(10, 1, [1.5], [0]), fields)
    _cell(list(cases.values())).visitCandidates(visitor)
    assert visitor.nRejected == 3
    for reason, candidate in cases.items():
        assert candidate.status == BAD and candidate.rejection == reason and candidate.rejectionText


def testKernelSumVisitorBeforeProcessing():
    fields = compatible(**FIELDS)
    visitor = KernelSumVisitor(fields)
    assert (visitor.kSumMean, visitor.kSumStd, visitor.dkSumMax, visitor.kSumNpts, visitor.nRejected) == (0, 0, 0, 0, 0)
    with pytest.raises(stillsky.StillskyError):
        visitor.processCandidate(_pixelCandidate(1.0, fields))
    with pytest.raises(stillsky.NoDataError):
        visitor.processKsumDistribution()
    with pytest.raises(stillsky.DomainError):
        visitor.setMode(2)


def _sums(values, fields):
    candidates = [_pixelCandidate(float(v), fields) for v in values]
    for c in candidates:
        c.build(makeDeltaFunctionBasisList(1, 1))
    cell, visitor = _cell(candidates), KernelSumVisitor(fields)
    visitor.mode = AGGREGATE
    cell.visitCandidates(visitor)
    visitor.processKsumDistribution()
    visitor.mode = REJECT
    cell.visitCandidates(visitor)
    return visitor, [v for v, c in zip(values, candidates) if c.isBad()]


@pytest.mark.parametrize(
    "values, mean, std, n, bad",
    [
        ([1, 1, 1, 1, 2, 3, 4], 1.8571428571, 1.2149857926, 7, []),
        ([1, 1, 1, 1, 2, 3, 4, 50], 1.8571428571, 1.2149857926, 8, [50]),
        ([1] * 8 + [100], 1.0, 0.0, 9, [100]),
        ([0.98, 1, 1.01, 1.02, 0.99, 1.5], 1.0, 0.0158113883, 6, [1.5]),
        ([2.5], 2.5, 0.0, 1, []),
    ],
)
def testKernelSumsAreClipped(values, mean, std, n, bad):
    fields = compatible(**FIELDS)
    visitor, rejected = _sums(values, fields)
    assert (visitor.kSumMean, visitor.kSumStd, visitor.kSumNpts) == (
        pytest.approx(mean),
        pytest.approx(std, abs=1e-7),
        n,
    )
    assert visitor.dkSumMax == pytest.approx(3 * std, abs=1e-7)
    assert rejected == bad and visitor.nRejected == len(bad)
    assert _sums(values, compatible(**{**FIELDS, "kernelSumClipping": False}))[1] == []
    visitor.resetKernelSum()
    assert visitor.kSumMean == 0.0 and visitor.nRejected == 0


def testKernelSumLimitIsNeverBelowRoundingAndGrowsWithTheNumber():
    fields = settings(**FIELDS)
    assert _sums([1.0, 1.0, 1.0, 1.0 + 1e-9], compatible(**FIELDS))[1] == [1.0 + 1e-9]
    assert _sums([1.0, 1.0, 1.0, 1.0 + 1e-9], fields)[1] == []
    few = _sums(np.linspace(0.9, 1.1, 5), fields)[0]
    assert few.dkSumMax == pytest.approx(3.0 * few.kSumStd)
    # 200 sums: 0.1 expected false rejections are at 3.48 sigma.
    many = _sums(np.linspace(0.9, 1.1, 200), fields)[0]
    assert many.dkSumMax == pytest.approx(3.4808 * many.kSumStd, rel=1e-3)


def _spatialSetup():
    """Two renormalised Gaussians, the second rotated, varying with position."""
    bases = renormalizeKernelList(
        [AnalyticKernel(21, 21, GaussianFunction2(2, 2, 0)), AnalyticKernel(21, 21, GaussianFunction2(5, 3, np.pi / 2))]
    )
    function = [PolynomialFunction2([1.0, 0, 0, 0, 0, 0]), PolynomialFunction2([0.01 * k for k in range(1, 7)])]
    return LinearCombinationKernel(bases, function)


def testAssessAcceptsTheTrueKernelAndRejectsAWrongOne(rng):
    fields = settings()
    kernel = _spatialSetup()
    x, y = 1.2, -0.7
    from psfmatch_scenes import correlate

    t = rng.normal(100, 10, (61, 61)) ** 1.0
    s = np.zeros_like(t)
    s[10:51, 10:51] = correlate(t, kernel.imageAt(x, y))
    results = {}
    for name, model, background in (
        ("true", kernel, PolynomialFunction2([0.0])),
        ("wrong", AnalyticKernel(21, 21, GaussianFunction2(1, 1, 0)), PolynomialFunction2([10.0, 10.0, 10.0])),
    ):
        candidate = KernelCandidate(x, y, stamp(t, 1.0), stamp(s, 1.0), fields)
        candidate.build(makeAlardLuptonBasisList(10, 1, [2.0], [2]))
        visitor = AssessSpatialKernelVisitor(model, background, fields)
        visitor.prepare([candidate])
        _cell([candidate]).visitCandidates(visitor)
        results[name] = (visitor.nProcessed, visitor.nGood, visitor.nRejected, candidate.status)
    assert results == {"true": (1, 1, 0, GOOD), "wrong": (1, 0, 1, BAD)}


def testUnbuiltCandidatesAndOtherClassesAreRefused():
    fields = settings()
    bases = makeAlardLuptonBasisList(3, 1, [1.0], [0])
    visitors = [
        BuildSingleKernelVisitor(bases, fields),
        KernelSumVisitor(fields),
        BuildSpatialKernelVisitor(bases, (0, 0, 10, 10), fields),
        AssessSpatialKernelVisitor(_spatialSetup(), PolynomialFunction2([0.0]), fields),
        KernelPcaVisitor(KernelPca()),
    ]
    for visitor in visitors:
        with pytest.raises(stillsky.StillskyError):
            visitor.processCandidate(NotAStar(1, 1))
    for visitor in visitors[2:4]:
        candidate = _pixelCandidate(1.0, fields)
        visitor.processCandidate(candidate)
        assert candidate.status == BAD and candidate.rejection == "unbuilt"
    assert visitors[2].nCandidates == 0


def testPropertiesOfTheSingleVisitor():
    fields = settings(useCoreStats=True, candidateCoreRadius=4)
    visitor = BuildSingleKernelVisitor(makeDeltaFunctionBasisList(1, 1), fields)
    assert visitor.useCoreStats and visitor.coreRadius == 4 and visitor.skipBuilt and not visitor.useRegularization
    assert visitor.propertySet.candidateCoreRadius == 4
    assert BuildSingleKernelVisitor(makeDeltaFunctionBasisList(1, 1), fields, np.eye(1)).useRegularization


def _pcaOf(values):
    fields = settings(**FIELDS)
    candidates = [_pixelCandidate(v, fields) for v in values]
    for c in candidates:
        c.build(makeDeltaFunctionBasisList(5, 5))
    candidates.append(_pixelCandidate(7.0, fields))  # not built: passed over
    pca = KernelPca()
    visitor = KernelPcaVisitor(pca)
    _cell(candidates).visitCandidates(visitor)
    assert pca.nImages == len(values)
    return pca, visitor


def testPcaOfIdenticalKernels():
    unit = np.zeros((5, 5))
    unit[2, 2] = 1.0
    pca, visitor = _pcaOf([1.0, 2.0, 3.0])
    pca.analyze()
    np.testing.assert_allclose(pca.eigenValues, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(visitor.getEigenKernels()[0].imageAt(0, 0), unit, atol=1e-12)
    pca, visitor = _pcaOf([1.0, 2.0, 3.0])
    visitor.subtractMean()
    pca.analyze()
    np.testing.assert_allclose(pca.eigenValues, [0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(visitor.returnMean(), unit, atol=1e-12)
    assert len(visitor.getEigenKernels()) == 4


def testPcaOfNoisyGaussians(rng):
    shape = gaussian(15, 2.0, 1.0)
    results = []
    for subtract in (False, True):
        generator = np.random.default_rng(3)
        pca = KernelPca()
        visitor = KernelPcaVisitor(pca)
        for _ in range(100):
            pca.addImage(shape * (1 + 0.1 * generator.normal()) + 1e-4 * generator.normal(size=shape.shape))
        if subtract:
            visitor.subtractMean()
        pca.analyze()
        results.append((pca, visitor))
    (plain, _), (centred, visitor) = results
    assert plain.eigenValues[0] > centred.eigenValues[0]
    assert centred.eigenValues[-1] == pytest.approx(0.0, abs=1e-15) and plain.eigenValues[-1] > 1e-9
    assert len(visitor.getEigenKernels()) == len(results[0][1].getEigenKernels()) + 1
    core = shape > 0.2 * shape.max()
    for image in (visitor.returnMean(), plain.eigenImages[0], centred.eigenImages[0]):
        assert np.all(np.abs(image[core] / image.max() / (shape[core] / shape.max()) - 1) < 0.2)
        assert image is visitor.returnMean() or np.abs(image).max() <= 1.0 + 1e-12 or image.max() < 1


def testPcaRefusesWhatItCannotUse():
    pca = KernelPca()
    with pytest.raises(stillsky.NoDataError):
        pca.analyze()
    pca.addImage(np.eye(3))
    with pytest.raises(stillsky.ShapeError):
        pca.addImage(np.eye(4))
    with pytest.raises(stillsky.OutOfBoundsError):
        pca.addImage(np.eye(3), 0.0)
    pca.analyze()
    assert pca.eigenValues == [1.0]
    np.testing.assert_array_equal(pca.eigenImages[0], np.eye(3))


def testPcaBasisRefitsEveryCandidate(rng):
    fields = settings(kernelBasisSet="delta-function", usePcaForSpatialKernel=True, numPrincipalComponents=3)
    cellSet = SpatialCellSet((0, 0, 500, 500), 500)
    candidates = []
    for sigma in np.linspace(1.2, 1.6, 8):
        t = gaussian(31, 1.5, 1e5) + rng.normal(size=(31, 31))
        s = gaussian(31, np.hypot(1.5, sigma), 1e5) + rng.normal(size=(31, 31))
        candidates.append(KernelCandidate(10 * sigma, 5, stamp(t), stamp(s), fields))
        candidates[-1].build(makeDeltaFunctionBasisList(9, 9))
        cellSet.insertCandidate(candidates[-1])
    fields.nStarPerCell = -1
    nRejected, bases = createPcaBasis(cellSet, fields)
    pixels = images(bases)
    assert len(bases) == 3
    assert pixels[0].sum() == pytest.approx(1.0) and np.abs(pixels[1:].sum((1, 2))).max() < 1e-12
    for c in candidates:
        assert c.getKernelSolution(PCA).getM().shape == (3, 3)
        assert c.getKernelSolution(ORIG).getM().shape == (81, 81)
    assert nRejected == sum(c.isBad() for c in candidates)
    same = SpatialCellSet((0, 0, 500, 500), 500)
    alike = [_pixelCandidate(v, settings(**FIELDS)) for v in (1.0, 2.0)]
    for c in alike:
        c.build(makeDeltaFunctionBasisList(3, 3))
        same.insertCandidate(c)
    with pytest.raises(stillsky.StillskyError):
        createPcaBasis(same, fields)


def testFixedKernelsServeAsTheModel(rng):
    fields = settings()
    t = rng.normal(size=(31, 31))
    candidate = KernelCandidate(5, 5, stamp(t), stamp(t), fields)
    unit = np.zeros((5, 5))
    unit[2, 2] = 1.0
    image = candidate.getDifferenceImage(FixedKernel(unit), 0.0).image.array
    assert np.nanmax(np.abs(image)) == 0.0
