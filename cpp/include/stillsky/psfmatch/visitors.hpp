// The visitors of the kernel fit. Each raises StillskyError when handed a candidate that is not a KernelCandidate.
// A visitor that measures candidates one by one has prepare(): it does the work for a whole list in parallel, and the
// visit that follows only takes the decisions, in order; results are those of a plain visit.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "stillsky/psfmatch/kernel_candidate.hpp"
#include "stillsky/psfmatch/spatial_solution.hpp"

namespace stillsky {

// What was measured on a candidate, before it is judged.
struct CandidateMeasurement {
    bool failed = false;
    Rejection reason = Rejection::NONE;  // of the failure
    std::string text;
    double mean = 0.0, rms = 0.0, variance = 0.0;
    int nPixels = 0;
};

// Fits a kernel to every candidate and judges it by its own residual.
class BuildSingleKernelVisitor : public CandidateVisitor {
public:
    // `h` empty: no regularisation.
    BuildSingleKernelVisitor(KernelList const& bases, PsfMatchSettings const& settings, DenseMatrix h = DenseMatrix());
    BuildSingleKernelVisitor(std::shared_ptr<BasisConvolver const> bases, PsfMatchSettings const& settings,
                             DenseMatrix h = DenseMatrix());

    void reset() override { nRejected_ = nProcessed_ = 0; }
    void processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) override;
    void prepare(CandidateList const& candidates);

    int nRejected() const { return nRejected_; }
    int nProcessed() const { return nProcessed_; }
    bool skipBuilt() const { return skipBuilt_; }
    void setSkipBuilt(bool skipBuilt) { skipBuilt_ = skipBuilt; }
    bool useRegularization() const { return !h_.empty(); }
    bool useCoreStats() const { return settings_.useCoreStats; }
    int coreRadius() const { return settings_.candidateCoreRadius; }
    PsfMatchSettings const& settings() const { return settings_; }
    std::shared_ptr<BasisConvolver const> const& basis() const { return bases_; }

private:
    CandidateMeasurement measure(KernelCandidate& candidate) const;
    void judge(KernelCandidate& candidate, CandidateMeasurement const& measured);

    std::shared_ptr<BasisConvolver const> bases_;
    PsfMatchSettings settings_;
    DenseMatrix h_;
    bool skipBuilt_ = true;
    int nRejected_ = 0, nProcessed_ = 0;
    std::map<int, CandidateMeasurement> prepared_;
};

// Mean and spread of the kernel sums, and rejection of outliers: variable stars.
class KernelSumVisitor : public CandidateVisitor {
public:
    enum Mode { AGGREGATE = 0, REJECT = 1 };
    explicit KernelSumVisitor(PsfMatchSettings const& settings) : settings_(settings) {}

    // Forgets everything. Not called reset: a visit must not wipe what was aggregated.
    void resetKernelSum();
    void setMode(Mode mode) { mode_ = mode; }
    Mode mode() const { return mode_; }
    // Uses the ORIG kernel sum; StillskyError when there is none.
    void processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) override;
    // NoDataError without sums, NumericalError when their mean or deviation is not finite.
    void processKsumDistribution();

    int nRejected() const { return nRejected_; }
    double kSumMean() const { return mean_; }
    double kSumStd() const { return std_; }
    int kSumNpts() const { return n_; }
    // Largest deviation allowed: maxKsumSigma * std; with adaptiveKernelSumClipping the number of sigmas grows with
    // the number of candidates (0.1 false rejections expected of Gaussian sums), and the limit is at least 1e-6 of the
    // mean and the median formal error of the sums; the mean is then weighted by the inverse formal variances, to which
    // the variance is added that the sums show beyond their errors.
    double dkSumMax() const { return dkSumMax_; }

private:
    PsfMatchSettings settings_;
    Mode mode_ = AGGREGATE;
    std::vector<double> sums_, errors_;
    int nRejected_ = 0, n_ = 0;
    double mean_ = 0.0, std_ = 0.0, dkSumMax_ = 0.0, nSigma_ = 0.0;
};

// Collects the normal equations of the built candidates and solves for the spatially varying kernel.
class BuildSpatialKernelVisitor : public CandidateVisitor {
public:
    // perPixel: spatial terms at every pixel instead of constant over each stamp.
    BuildSpatialKernelVisitor(KernelList const& bases, Box2I const& region, PsfMatchSettings const& settings,
                              bool perPixel = false);
    BuildSpatialKernelVisitor(std::shared_ptr<BasisConvolver const> bases, Box2I const& region,
                              PsfMatchSettings const& settings, bool perPixel = false);

    // A candidate that is not built is set BAD and passed over.
    void processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) override;
    int getNCandidates() const { return static_cast<int>(candidates_.size()); }
    void solveLinearEquation();
    std::shared_ptr<SpatialKernelSolution> const& getKernelSolution() const { return solution_; }
    std::pair<std::shared_ptr<LinearCombinationKernel>, Function2Ptr> getSolutionPair() const {
        return solution_->getSolutionPair();
    }
    std::vector<std::shared_ptr<KernelCandidate>> const& candidates() const { return candidates_; }

private:
    std::shared_ptr<BasisConvolver const> bases_;
    bool perPixel_;
    std::shared_ptr<SpatialKernelSolution> solution_;
    std::vector<std::shared_ptr<KernelCandidate>> candidates_;
    std::size_t nAdded_ = 0;
};

// Judges candidates by the residual that the spatial model leaves, frozen at each candidate's centre.
class AssessSpatialKernelVisitor : public CandidateVisitor {
public:
    AssessSpatialKernelVisitor(std::shared_ptr<Kernel const> kernel, std::shared_ptr<Function2 const> background,
                               PsfMatchSettings const& settings);

    void reset() override { nGood_ = nRejected_ = nProcessed_ = 0; }
    void processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) override;
    void prepare(CandidateList const& candidates);
    // Statistics alone, without judgement; written to the candidates' diagnostics. Parallel.
    void diagnose(std::vector<std::shared_ptr<KernelCandidate>> const& candidates) const;

    int nGood() const { return nGood_; }
    int nRejected() const { return nRejected_; }
    int nProcessed() const { return nProcessed_; }

private:
    CandidateMeasurement measure(KernelCandidate const& candidate) const;
    std::shared_ptr<Kernel const> kernel_;
    std::shared_ptr<Function2 const> background_;
    PsfMatchSettings settings_;
    int nGood_ = 0, nRejected_ = 0, nProcessed_ = 0;
    std::map<int, CandidateMeasurement> prepared_;
};

}  // namespace stillsky
