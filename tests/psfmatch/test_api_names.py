"""The names under which other software knows the parts of PSF matching."""

import pytest

import stillsky.psfmatch as psfmatch

NAMES = """KernelCandidateF makeKernelCandidate KernelSolution StaticKernelSolutionF MaskedKernelSolutionF
RegularizedKernelSolution RegularizedKernelSolutionF SpatialKernelSolution ImageStatisticsI ImageStatisticsF
ImageStatisticsD BuildSingleKernelVisitorF KernelSumVisitorF KernelPcaD KernelPcaVisitorF BuildSpatialKernelVisitorF
AssessSpatialKernelVisitorF makeBuildSingleKernelVisitor makeKernelSumVisitor makeKernelPcaVisitor
makeBuildSpatialKernelVisitor makeAssessSpatialKernelVisitor makeDeltaFunctionBasisList makeAlardLuptonBasisList
renormalizeKernelList makeRegularizationMatrix makeCentralDifferenceMatrix makeForwardDifferenceMatrix
convolveAndSubtract convolve NoKernelCandidatesError""".split()

# Names of the Python layer, offered by the package itself.
TOP_NAMES = """PsfMatchConfig PsfMatchConfigAL PsfMatchConfigDF DetectionConfig PsfMatchTask NoKernelCandidatesError
makeKernelBasisList generateAlardLuptonBasisList MakeKernelTask MakeKernelConfig ModelPsfMatchTask ModelPsfMatchConfig
WarpedPsfTransformTooBigError PsfComputeShapeError nextOddInteger ImagePsfMatchTask ImagePsfMatchConfig
subtractAlgorithmRegistry SnapPsfMatchTask SnapPsfMatchConfig KernelCandidateQa KernelCandidateDetection
KernelCandidateF makeKernelCandidate""".split()

MEMBERS = {
    "KernelCandidateF": "ORIG PCA RECENT build getKernelSolution getKernel getBackground getKsum getKernelImage "
    "getDifferenceImage getImage isInitialized",
    "KernelSolution": "KernelSolvedBy ConditionNumberType EIGENVALUE SVD NONE CHOLESKY_LDLT CHOLESKY_LLT LU EIGENVECTOR "
    "solve getSolvedBy getConditionNumber getM getB getId printM printB printA",
    "StaticKernelSolutionF": "build solve getKernel makeKernelImage getBackground getKsum getSolutionPair",
    "MaskedKernelSolutionF": "buildOrig buildWithMask buildSingleMaskOrig",
    "RegularizedKernelSolutionF": "getLambda estimateRisk getM",
    "SpatialKernelSolution": "addConstraint solve makeKernelImage getSolutionPair",
    "BuildSingleKernelVisitorF": "nRejected nProcessed useRegularization skipBuilt useCoreStats coreRadius propertySet",
    "KernelSumVisitorF": "AGGREGATE REJECT resetKernelSum processKsumDistribution",
    "KernelPcaVisitorF": "getEigenKernels subtractMean returnMean",
    "AssessSpatialKernelVisitorF": "nGood nRejected nProcessed reset processCandidate",
    "BuildSpatialKernelVisitorF": "solveLinearEquation getKernelSolution getSolutionPair getNCandidates",
}


@pytest.mark.parametrize("name", NAMES)
def testNameExists(name):
    assert name in psfmatch.__all__ and getattr(psfmatch, name) is not None


@pytest.mark.parametrize("name", TOP_NAMES)
def testNameIsOfferedByThePackage(name):
    import stillsky

    assert name in stillsky.__all__ and getattr(stillsky, name) is not None


@pytest.mark.parametrize("name", MEMBERS)
def testMembersExist(name):
    for member in MEMBERS[name].split():
        assert hasattr(getattr(psfmatch, name), member), member


def testMatricesAreCopies():
    import numpy as np

    solution = psfmatch.KernelSolution(np.eye(2), np.ones(2))
    solution.getM()[:] = 7.0
    solution.solve()
    solution.getA()[:] = 3.0
    np.testing.assert_array_equal(solution.getA(), [1.0, 1.0])
    assert solution.getSolvedBy() == solution.CHOLESKY_LLT
