#include "stillsky/psfmatch/fit_spatial_kernel.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/psfmatch/basis.hpp"
#include "stillsky/psfmatch/kernel_pca.hpp"

namespace stillsky {
namespace {

using std::size_t;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// The loop, step by step; one object per call.
class Fitter {
public:
    Fitter(SpatialCellSet& cells, KernelList const& bases, PsfMatchSettings const& settings, DenseMatrix const& h)
            : cells_(cells),
              settings_(settings),
              basis_(std::make_shared<BasisConvolver const>(bases)),
              single_(basis_, settings, h),
              kernelSum_(settings),
              spatialBasis_(basis_) {}

    SpatialKernelFit run() {
        forgetPca();
        int iteration = 0;
        bool rejectedBySpatialFit = false;
        while (iteration < settings_.maxSpatialIterations) {
            buildSingles(iteration);
            if (clipKernelSums(iteration) > 0) continue;
            if (!refreshPca(iteration)) continue;
            solveSpatial(false);
            const int nRejected = assess(iteration);
            rejectedBySpatialFit = nRejected > 0;
            if (!rejectedBySpatialFit) break;
            ++iteration;
        }
        result_.nIterations = iteration;
        result_.converged = !rejectedBySpatialFit;
        finalFit(iteration, rejectedBySpatialFit);
        if (spatial_->getNCandidates() < 1) throw NoKernelCandidatesError("No kernel candidates for the spatial fit");
        report();
        return std::move(result_);
    }

private:
    CandidateList active() const { return cells_.activeCandidates(settings_.nStarPerCell); }

    // Components of an earlier fit of the same cells are no kernels of this basis.
    void forgetPca() {
        for (auto const& candidate : cells_.allCandidates()) {
            if (auto star = std::dynamic_pointer_cast<KernelCandidate>(candidate)) star->clearPca();
        }
    }

    // Fill the active places of every cell with candidates that have a good kernel of their own.
    void buildSingles(int iteration) {
        do {
            single_.prepare(active());
            cells_.visitCandidates(single_, settings_.nStarPerCell, true);
            FitHistoryEntry entry;
            entry.stage = "single";
            entry.iteration = iteration;
            entry.nRejected = single_.nRejected();
            entry.nUsed = single_.nProcessed();
            result_.history.push_back(entry);
        } while (single_.nRejected() > 0);
    }

    // How many candidates were lost, to what most of them, and one of those in its own words.
    std::string rejectionsText() const {
        std::array<int, kNumRejections> counts{};
        std::array<std::string, kNumRejections> texts;
        int total = 0;
        for (auto const& candidate : cells_.allCandidates()) {
            ++total;
            auto star = std::dynamic_pointer_cast<KernelCandidate>(candidate);
            if (!star || !star->isBad()) continue;
            const auto k = static_cast<size_t>(star->rejection());
            if (++counts[k] == 1) texts[k] = star->rejectionText();
        }
        const auto most = static_cast<size_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
        if (counts[most] == 0) return "";
        return ": " + std::to_string(counts[most]) + " of " + std::to_string(total) + " were rejected because of " +
               rejectionName(static_cast<Rejection>(most)) + (texts[most].empty() ? "" : " (" + texts[most] + ")");
    }

    int clipKernelSums(int iteration) {
        kernelSum_.resetKernelSum();
        kernelSum_.setMode(KernelSumVisitor::AGGREGATE);
        cells_.visitCandidates(kernelSum_, settings_.nStarPerCell, true);
        if (active().empty()) {
            throw NoKernelCandidatesError("All spatial cells are empty of candidates" + rejectionsText());
        }
        try {
            kernelSum_.processKsumDistribution();
        } catch (StillskyError const& error) {
            throw NoKernelCandidatesError(error.what());
        }
        kernelSum_.setMode(KernelSumVisitor::REJECT);
        cells_.visitCandidates(kernelSum_, settings_.nStarPerCell, true);
        FitHistoryEntry entry;
        entry.stage = "kernelSum";
        entry.iteration = iteration;
        entry.nRejected = kernelSum_.nRejected();
        entry.nUsed = kernelSum_.kSumNpts();
        entry.kSumMean = kernelSum_.kSumMean();
        entry.kSumStd = kernelSum_.kSumStd();
        entry.dkSumMax = kernelSum_.dkSumMax();
        result_.history.push_back(entry);
        return kernelSum_.nRejected();
    }

    // False when the principal components cost a candidate its place, so that the loop must start over.
    bool refreshPca(int iteration) {
        if (!settings_.usePcaForSpatialKernel) return true;
        const PcaBasis pca = createPcaBasis(cells_, settings_);
        spatialBasis_ = std::make_shared<BasisConvolver const>(pca.bases);
        FitHistoryEntry entry;
        entry.stage = "pca";
        entry.iteration = iteration;
        entry.nRejected = pca.nRejected;
        entry.nUsed = static_cast<int>(pca.bases.size());
        result_.history.push_back(entry);
        return pca.nRejected == 0;
    }

    // Settings with the orders that the number of candidates supports.
    PsfMatchSettings supportedSettings() const {
        PsfMatchSettings s = settings_;
        if (!settings_.lowerSpatialOrders) return s;
        const CandidateList stars = active();
        const int n = static_cast<int>(std::count_if(stars.begin(), stars.end(), [](auto const& c) {
            auto star = std::dynamic_pointer_cast<KernelCandidate>(c);
            return star && star->isInitialized();
        }));
        for (int* order : {&s.spatialKernelOrder, &s.spatialBgOrder, &s.spatialPhotometricOrder}) {
            while (*order > 0 && n < settings_.candidatesPerTerm * polynomialSize(*order)) --*order;
        }
        return s;
    }

    void solveSpatial(bool perPixel) {
        used_ = supportedSettings();
        spatial_ = std::make_unique<BuildSpatialKernelVisitor>(spatialBasis_, cells_.bbox(), used_, perPixel);
        cells_.visitCandidates(*spatial_, settings_.nStarPerCell, true);
        if (spatial_->getNCandidates() < 1) throw NoKernelCandidatesError("No kernel candidates for the spatial fit");
        spatial_->solveLinearEquation();
    }

    int assess(int iteration) {
        const auto pair = spatial_->getSolutionPair();
        AssessSpatialKernelVisitor visitor(pair.first, pair.second, settings_);
        visitor.prepare(active());
        cells_.visitCandidates(visitor, settings_.nStarPerCell, true);
        FitHistoryEntry entry;
        entry.stage = "spatial";
        entry.iteration = iteration;
        entry.nRejected = visitor.nRejected();
        entry.nGood = visitor.nGood();
        entry.nUsed = spatial_->getNCandidates();
        result_.history.push_back(entry);
        if (visitor.nGood() == 0 && visitor.nRejected() == 0) {
            throw NoKernelCandidatesError("No kernel candidates for spatial fit");
        }
        return visitor.nRejected();
    }

    // Once more, without those rejected last; with spatial terms at every pixel when asked for.
    void finalFit(int iteration, bool rejectedBySpatialFit) {
        const bool again = rejectedBySpatialFit;
        const bool perPixel = settings_.perPixelSpatialTerms;
        if (!again && !perPixel) return;
        if (again && settings_.buildReplacements) {
            buildSingles(iteration);
            while (clipKernelSums(iteration) > 0) buildSingles(iteration);
        }
        if (again && settings_.usePcaForSpatialKernel) refreshPca(iteration);
        solveSpatial(perPixel);
        result_.perPixel = perPixel && spatial_->getKernelSolution()->layout().maxOrder() > 0;
        FitHistoryEntry entry;
        entry.stage = "final";
        entry.iteration = iteration;
        entry.nUsed = spatial_->getNCandidates();
        result_.history.push_back(entry);
    }

    void report() {
        auto const& solution = spatial_->getKernelSolution();
        result_.solution = solution;
        const auto pair = solution->getSolutionPair();
        result_.kernel = pair.first;
        result_.background = pair.second;
        result_.bases = spatialBasis_->bases();
        result_.kernelSum = solution->getKsum();
        if (result_.kernelSum == 0.0) {
            throw NumericalError("spatial kernel fit: the kernel sum is 0: the image to be matched is zero under all " +
                                 std::to_string(spatial_->getNCandidates()) + " candidates");
        }
        result_.kernelSumError = solution->kernelSumErrorAt(cells_.bbox().center().x, cells_.bbox().center().y);
        result_.conditionNumber = solution->getConditionNumber(settings_.conditionNumberType);
        result_.spatialKernelOrderUsed = used_.spatialKernelOrder;
        result_.spatialBgOrderUsed = settings_.fitForBackground ? used_.spatialBgOrder : 0;
        result_.nUsed = spatial_->getNCandidates();
        auto const& stars = spatial_->candidates();
        for (auto const& star : stars) star->diagnostics.usedInFit = true;
        AssessSpatialKernelVisitor(pair.first, pair.second, settings_).diagnose(stars);
        leaveOneOut(*solution, stars);
        reportCandidates();
        warn();
    }

    void leaveOneOut(SpatialKernelSolution const& solution, std::vector<std::shared_ptr<KernelCandidate>> const& stars) {
        parallelFor(static_cast<int>(stars.size()), [&](int i) {
            KernelCandidate& star = *stars[static_cast<size_t>(i)];
            auto const& equations = *star.getKernelSolution(KernelCandidate::RECENT)->equations();
            const std::vector<double> a = solution.leaveOneOut(star.xCenter(), star.yCenter(), equations);
            if (!std::all_of(a.begin(), a.end(), [](double v) { return std::isfinite(v); })) return;
            std::vector<double> kernel(static_cast<size_t>(spatialBasis_->width()) * static_cast<size_t>(spatialBasis_->height()));
            spatialBasis_->combine(a.data(), kernel.data());
            ImageStatistics statistics(settings_.badMask | mask_planes::NO_DATA);
            try {
                const MaskedImage<double> difference =
                        star.differenceImage(kernel.data(), spatialBasis_->width(), spatialBasis_->height(),
                                             settings_.fitForBackground ? a.back() : 0.0);
                statistics.apply(difference.view(), settings_.useCoreStats ? settings_.candidateCoreRadius : -1);
            } catch (NumericalError const&) {
                return;
            }
            const double n = statistics.nPixels(), mean = statistics.mean();
            star.diagnostics.looMean = mean;
            star.diagnostics.looRms = statistics.rms();
            star.diagnostics.looChi2 = statistics.variance() * (n - 1.0) / n + mean * mean;
        });
    }

    void reportCandidates() {
        for (auto const& candidate : cells_.allCandidates()) {
            ++result_.nTotal;
            result_.nGood += candidate->status() == CandidateStatus::GOOD;
            result_.nBad += candidate->isBad();
            result_.nUnknown += candidate->status() == CandidateStatus::UNKNOWN;
            auto star = std::dynamic_pointer_cast<KernelCandidate>(candidate);
            if (!star) continue;
            ++result_.rejected[static_cast<size_t>(star->rejection())];
            KernelCandidate::Diagnostics const& d = star->diagnostics;
            CandidateReport r;
            r.id = star->id();
            r.x = star->xCenter();
            r.y = star->yCenter();
            r.rating = star->getCandidateRating();
            r.status = star->status();
            r.rejection = star->rejection();
            r.rejectionText = star->rejectionText();
            r.usedInFit = d.usedInFit;
            const bool built = star->isInitialized() && star->rejection() != Rejection::CONDITION;
            r.kernelSum = built ? star->getKsum(KernelCandidate::ORIG) : kNaN;
            r.background = built ? star->getBackground(KernelCandidate::ORIG) : kNaN;
            r.kernelSumError = d.kernelSumError;
            r.chi2 = built ? star->chi2() : kNaN;
            r.singleMean = d.singleMean;
            r.singleRms = d.singleRms;
            r.spatialMean = d.spatialMean;
            r.spatialRms = d.spatialRms;
            r.looMean = d.looMean;
            r.looRms = d.looRms;
            r.looChi2 = d.looChi2;
            result_.candidates.push_back(std::move(r));
        }
    }

    void warnOfTerms(const char* what, int nTerms) {
        if (nTerms < 1 || result_.nGood > 2 * nTerms) return;
        result_.warnings.push_back(std::string("the ") + what + " model is " +
                                   (result_.nGood < nTerms ? "underconstrained" : "poorly constrained") + ": " +
                                   std::to_string(result_.nGood) + " candidates for " + std::to_string(nTerms) +
                                   " terms; consider a lower order");
    }

    // Least risk at an end of the grid of lambda: the true minimum lies outside.
    void warnOfGridEnds() {
        auto const& stars = spatial_->candidates();
        const auto n = std::count_if(stars.begin(), stars.end(), [](auto const& star) {
            auto solution = std::dynamic_pointer_cast<RegularizedKernelSolution>(
                    star->getKernelSolution(KernelCandidate::ORIG));
            return solution && solution->lambdaAtGridEnd();
        });
        if (n == 0) return;
        result_.warnings.push_back("the risk of " + std::to_string(n) + " of " + std::to_string(stars.size()) +
                                   " candidates is least at an end of the lambda grid; consider a wider one");
    }

    void warn() {
        if (result_.conditionNumber < 0.0) {
            result_.warnings.push_back("the spatial matrix is not positive definite; its condition number is negative");
        } else if (result_.conditionNumber > settings_.maxSpatialConditionNumber) {
            result_.warnings.push_back("the spatial condition number is above maxSpatialConditionNumber");
        }
        if (result_.nBad > 2 * result_.nGood) {
            result_.warnings.push_back("many more candidates were rejected than used: " + std::to_string(result_.nBad) +
                                       " against " + std::to_string(result_.nGood));
        }
        warnOfGridEnds();
        warnOfTerms("spatial kernel", polynomialSize(used_.spatialKernelOrder));
        if (settings_.fitForBackground) warnOfTerms("spatial background", polynomialSize(used_.spatialBgOrder));
        if (used_.spatialKernelOrder < settings_.spatialKernelOrder) {
            result_.warnings.push_back("too few candidates: spatial kernel order lowered to " +
                                       std::to_string(used_.spatialKernelOrder));
        }
        if (settings_.fitForBackground && used_.spatialBgOrder < settings_.spatialBgOrder) {
            result_.warnings.push_back("too few candidates: spatial background order lowered to " +
                                       std::to_string(used_.spatialBgOrder));
        }
    }

    SpatialCellSet& cells_;
    PsfMatchSettings settings_, used_;
    std::shared_ptr<BasisConvolver const> basis_;
    BuildSingleKernelVisitor single_;
    KernelSumVisitor kernelSum_;
    std::shared_ptr<BasisConvolver const> spatialBasis_;
    std::unique_ptr<BuildSpatialKernelVisitor> spatial_;
    SpatialKernelFit result_;
};

}  // namespace

PcaBasis createPcaBasis(SpatialCellSet& cellSet, PsfMatchSettings const& settings) {
    for (auto const& candidate : cellSet.allCandidates()) {
        if (auto star = std::dynamic_pointer_cast<KernelCandidate>(candidate)) star->clearPca();
    }
    auto pca = std::make_shared<KernelPca>();
    KernelPcaVisitor visitor(pca);
    cellSet.visitCandidates(visitor, settings.nStarPerCell, true);
    if (settings.subtractMeanForPca) visitor.subtractMean();
    pca->analyze();
    std::vector<double> const& values = pca->eigenValues();
    if (std::accumulate(values.begin(), values.end(), 0.0) == 0.0) {
        throw StillskyError("Eigenvalues sum to zero: all kernels are alike");
    }
    KernelList components = visitor.getEigenKernels(), kept;
    const size_t nKeep = static_cast<size_t>(std::min(settings.numPrincipalComponents, static_cast<int>(values.size())));
    const size_t firstEigen = settings.subtractMeanForPca ? 1 : 0;
    for (size_t i = 0; i < std::min(nKeep, components.size()); ++i) {
        // Components of no variance are rounding noise.
        if (i >= firstEigen && i > 0 && !(values[i - firstEigen] > 1e-12 * values[0])) continue;
        const Image<double> image = components[i]->imageAt();
        double const* p = image.view().data;
        if (std::all_of(p, p + image.bbox().area(), [](double v) { return std::isfinite(v); })) kept.push_back(components[i]);
    }
    PcaBasis out;
    out.bases = renormalizeKernelList(kept);
    BuildSingleKernelVisitor refit(out.bases, settings);
    refit.setSkipBuilt(false);
    refit.prepare(cellSet.activeCandidates(settings.nStarPerCell));
    cellSet.visitCandidates(refit, settings.nStarPerCell, true);
    out.nRejected = refit.nRejected();
    return out;
}

SpatialKernelFit fitSpatialKernel(SpatialCellSet& cellSet, KernelList const& bases, PsfMatchSettings const& settings,
                                  DenseMatrix const& h) {
    settings.validate();
    return Fitter(cellSet, bases, settings, h).run();
}

}  // namespace stillsky
