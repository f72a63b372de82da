// The whole fit: from a cell set full of candidates to a spatially varying kernel, with the rejection of stars that are
// variable, blended or otherwise unlike the rest (Becker et al. 2012, MNRAS 425, 1341, section 3).
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "stillsky/psfmatch/visitors.hpp"

namespace stillsky {

// Nothing is left to fit.
class NoKernelCandidatesError : public NoDataError {
public:
    using NoDataError::NoDataError;
};

// One step of the loop.
struct FitHistoryEntry {
    std::string stage;   // "single", "kernelSum", "pca", "spatial", "final"
    int iteration = 0;
    int nRejected = 0;
    int nUsed = 0;       // single: processed; kernelSum: sums; spatial, final: candidates in the fit
    int nGood = 0;       // spatial
    double kSumMean = 0.0, kSumStd = 0.0, dkSumMax = 0.0;  // kernelSum
};

// What is known of one candidate at the end. Residuals are in units of sigma; NaN where nothing was measured.
struct CandidateReport {
    int id = 0;
    double x = 0.0, y = 0.0, rating = 0.0;
    CandidateStatus status = CandidateStatus::UNKNOWN;
    Rejection rejection = Rejection::NONE;
    std::string rejectionText;
    bool usedInFit = false;
    double kernelSum = 0.0, kernelSumError = 0.0, background = 0.0, chi2 = 0.0;
    double singleMean = 0.0, singleRms = 0.0;    // with its own kernel
    double spatialMean = 0.0, spatialRms = 0.0;  // with the spatial kernel
    // With the spatial kernel fitted without this candidate; looChi2 is the mean squared residual. These, unlike the
    // ones above, are free of over-fitting.
    double looMean = 0.0, looRms = 0.0, looChi2 = 0.0;
};

struct SpatialKernelFit {
    std::shared_ptr<SpatialKernelSolution> solution;
    std::shared_ptr<LinearCombinationKernel> kernel;
    Function2Ptr background;
    KernelList bases;  // in use: the ones given, or principal components
    double kernelSum = 0.0;        // at the centre of the region
    double kernelSumError = 0.0;
    double conditionNumber = 0.0;  // of the spatial matrix
    int spatialKernelOrderUsed = 0, spatialBgOrderUsed = 0;
    bool perPixel = false;   // spatial terms at every pixel
    int nIterations = 0;     // with rejections by the spatial residual
    bool converged = true;   // the last of them rejected nobody
    int nUsed = 0;           // candidates in the final fit
    int nTotal = 0, nGood = 0, nBad = 0, nUnknown = 0;
    std::array<int, kNumRejections> rejected{};  // number of candidates per Rejection
    std::vector<FitHistoryEntry> history;
    std::vector<CandidateReport> candidates;     // in cell order, all of them
    std::vector<std::string> warnings;
};

// Principal components of the candidates' kernels as a new basis, and a second fit of every candidate with it.
struct PcaBasis {
    int nRejected = 0;
    KernelList bases;
};
PcaBasis createPcaBasis(SpatialCellSet& cellSet, PsfMatchSettings const& settings);

// Fit a kernel for every active candidate, reject by its own residual and by the kernel sums, fit the spatial model,
// reject by its residual, and repeat until nobody is rejected or settings.maxSpatialIterations is reached; then the
// final fit, by default with spatial terms at every pixel. Candidates must be KernelCandidates; their status changes.
//
// Orders are lowered (settings.lowerSpatialOrders), kernel and background separately, until there are
// settings.candidatesPerTerm candidates per term. `h`: regularisation matrix, or empty. Work is parallel over candidates; the result does not depend on the
// number of threads.
//
// Throws NoKernelCandidatesError when nothing is left, DomainError for settings that are not valid, NumericalError when
// the spatial solution is not finite or the kernel sum exactly 0.
//
// Cost per candidate for n stamp pixels, P functions: separable convolution, n P^2/2 multiply-adds, the residual.
SpatialKernelFit fitSpatialKernel(SpatialCellSet& cellSet, KernelList const& bases, PsfMatchSettings const& settings,
                                  DenseMatrix const& h = DenseMatrix());

}  // namespace stillsky
