#include "stillsky/psfmatch/visitors.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

using std::size_t;

KernelCandidate& starOf(std::shared_ptr<SpatialCellCandidate> const& candidate, const char* visitor) {
    auto* star = dynamic_cast<KernelCandidate*>(candidate.get());
    if (!star) throw StillskyError(std::string(visitor) + ": wanted a KernelCandidate");
    return *star;
}

// Residual statistics of a difference image; pixels without data never count.
CandidateMeasurement statisticsOf(MaskedImage<double> const& difference, PsfMatchSettings const& settings) {
    CandidateMeasurement out;
    ImageStatistics statistics(settings.badMask | mask_planes::NO_DATA);
    try {
        statistics.apply(difference.view(), settings.useCoreStats ? settings.candidateCoreRadius : -1);
    } catch (NumericalError const& error) {
        out.failed = true;
        out.reason = Rejection::STATISTICS;
        out.text = error.what();
        return out;
    }
    out.mean = statistics.mean();
    out.rms = statistics.rms();
    out.variance = statistics.variance();
    out.nPixels = statistics.nPixels();
    return out;
}

std::string limitText(const char* what, double value, double limit) {
    return std::string(what) + " " + std::to_string(value) + " beyond " + std::to_string(limit);
}

// The verdict of the residual: 0 good, else the reason.
Rejection residualVerdict(CandidateMeasurement const& m, PsfMatchSettings const& settings, bool clip, std::string& text) {
    if (!std::isfinite(m.mean) || !std::isfinite(m.rms)) {
        text = "no residual statistics: " + std::to_string(m.nPixels) + " pixels";
        return Rejection::STATISTICS;
    }
    if (clip && std::fabs(m.mean) > settings.candidateResidualMeanMax) {
        text = limitText("residual mean", m.mean, settings.candidateResidualMeanMax);
        return Rejection::RESIDUAL_MEAN;
    }
    if (clip && m.rms > settings.candidateResidualStdMax) {
        text = limitText("residual rms", m.rms, settings.candidateResidualStdMax);
        return Rejection::RESIDUAL_STD;
    }
    return Rejection::NONE;
}

// The z beyond which a Gaussian deviate lies, on either side, with the given probability: bisection on erfc.
double gaussianQuantile(double probability) {
    double low = 0.0, high = 40.0;
    for (int i = 0; i < 200; ++i) {
        const double z = 0.5 * (low + high);
        (std::erfc(z / std::sqrt(2.0)) > probability ? low : high) = z;
    }
    return 0.5 * (low + high);
}

double medianOf(std::vector<double> values) {
    if (values.empty()) return 0.0;
    auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

std::vector<double> finiteOf(std::vector<double> const& values) {
    std::vector<double> out;
    std::copy_if(values.begin(), values.end(), std::back_inserter(out), [](double v) { return std::isfinite(v); });
    return out;
}

// Mean of the sums within `limit` of `centre`, weighted by 1/(error^2 + scatter): bright stars count more, unless the
// sums scatter by more than their errors. Without errors, or with nothing inside the limit: `centre`.
double weightedMean(std::vector<double> const& sums, std::vector<double> const& errors, double centre, double limit,
                    double scatter) {
    double total = 0.0, weights = 0.0;
    for (size_t k = 0; k < sums.size(); ++k) {
        const double variance = errors[k] * errors[k] + scatter;
        if (!(std::fabs(sums[k] - centre) <= limit) || !(variance > 0.0) || !std::isfinite(variance)) continue;
        total += (sums[k] - centre) / variance;
        weights += 1.0 / variance;
    }
    return weights > 0.0 ? centre + total / weights : centre;
}

}  // namespace

BuildSingleKernelVisitor::BuildSingleKernelVisitor(KernelList const& bases, PsfMatchSettings const& settings,
                                                   DenseMatrix h)
        : BuildSingleKernelVisitor(std::make_shared<BasisConvolver const>(bases), settings, std::move(h)) {}

BuildSingleKernelVisitor::BuildSingleKernelVisitor(std::shared_ptr<BasisConvolver const> bases,
                                                   PsfMatchSettings const& settings, DenseMatrix h)
        : bases_(std::move(bases)), settings_(settings), h_(std::move(h)) {
    settings_.validate();
}

CandidateMeasurement BuildSingleKernelVisitor::measure(KernelCandidate& candidate) const {
    CandidateMeasurement failure;
    failure.failed = true;
    failure.reason = Rejection::BUILD;
    try {
        candidate.build(bases_, h_);
        if (candidate.isBad()) {
            failure.reason = Rejection::CONDITION;
            failure.text = candidate.rejectionText();
            return failure;
        }
        candidate.diagnostics.kernelSumError = candidate.getKernelSolution(KernelCandidate::RECENT)->getKsumError();
        return statisticsOf(candidate.getDifferenceImage(KernelCandidate::RECENT), settings_);
    } catch (NoDataError const& error) {
        failure.reason = Rejection::MASKED;
        failure.text = error.what();
    } catch (std::exception const& error) {
        failure.text = error.what();
    }
    return failure;
}

void BuildSingleKernelVisitor::prepare(CandidateList const& candidates) {
    std::vector<KernelCandidate*> todo;
    for (auto const& c : candidates) {
        auto* star = dynamic_cast<KernelCandidate*>(c.get());
        if (star && !star->isBad() && !(skipBuilt_ && star->isInitialized())) todo.push_back(star);
    }
    std::vector<CandidateMeasurement> measured(todo.size());
    parallelFor(static_cast<int>(todo.size()), [&](int i) { measured[static_cast<size_t>(i)] = measure(*todo[static_cast<size_t>(i)]); });
    for (size_t i = 0; i < todo.size(); ++i) prepared_[todo[i]->id()] = measured[i];
}

void BuildSingleKernelVisitor::processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) {
    KernelCandidate& star = starOf(candidate, "BuildSingleKernelVisitor");
    auto prepared = prepared_.find(star.id());
    if (prepared != prepared_.end()) {
        const CandidateMeasurement measured = prepared->second;
        prepared_.erase(prepared);
        judge(star, measured);
        return;
    }
    if (skipBuilt_ && star.isInitialized()) return;
    judge(star, measure(star));
}

void BuildSingleKernelVisitor::judge(KernelCandidate& candidate, CandidateMeasurement const& m) {
    if (m.failed) {
        candidate.reject(m.reason, m.text);
        if (m.reason != Rejection::STATISTICS || !settings_.compat) ++nRejected_;
        return;
    }
    ++nProcessed_;
    candidate.setChi2(m.variance);
    candidate.diagnostics.singleMean = m.mean;
    candidate.diagnostics.singleRms = m.rms;
    candidate.diagnostics.nPixels = m.nPixels;
    std::string text;
    const Rejection verdict = residualVerdict(m, settings_, settings_.singleKernelClipping, text);
    if (verdict != Rejection::NONE) {
        candidate.reject(verdict, text);
        ++nRejected_;
    } else {
        candidate.setStatus(CandidateStatus::GOOD);
    }
}

void KernelSumVisitor::resetKernelSum() {
    sums_.clear();
    errors_.clear();
    nRejected_ = n_ = 0;
    mean_ = std_ = dkSumMax_ = nSigma_ = 0.0;
}

void KernelSumVisitor::processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) {
    KernelCandidate& star = starOf(candidate, "KernelSumVisitor");
    const double sum = star.getKsum(KernelCandidate::ORIG);
    const double error = star.diagnostics.kernelSumError;
    if (mode_ == AGGREGATE) {
        sums_.push_back(sum);
        errors_.push_back(error);
        return;
    }
    if (!settings_.kernelSumClipping) return;
    // A sum that agrees with the mean within its own error says nothing against the star.
    double limit = dkSumMax_;
    if (settings_.adaptiveKernelSumClipping && std::isfinite(error)) limit = std::max(limit, nSigma_ * error);
    if (std::fabs(sum - mean_) > limit) {
        star.reject(Rejection::KERNEL_SUM, limitText("kernel sum", sum - mean_, limit));
        ++nRejected_;
    }
}

void KernelSumVisitor::processKsumDistribution() {
    if (sums_.empty()) throw NoDataError("Unable to determine kernel sum; 0 candidates");
    if (sums_.size() == 1) {
        mean_ = sums_[0];
        std_ = 0.0;
        n_ = 1;
    } else {
        const ClippedMoments moments = clippedMoments(sums_);
        mean_ = moments.mean;
        std_ = moments.standardDeviation;
        n_ = moments.n;
        // One value survives the robust pass when the others are far: no spread can be told.
        if (std::isfinite(mean_) && !std::isfinite(std_) && settings_.adaptiveKernelSumClipping) std_ = 0.0;
    }
    if (!std::isfinite(mean_) || !std::isfinite(std_)) {
        throw NumericalError("Unable to determine kernel sum; mean or deviation of " + std::to_string(n_) +
                             " sums is not finite");
    }
    nSigma_ = settings_.maxKsumSigma;
    dkSumMax_ = nSigma_ * std_;
    if (settings_.adaptiveKernelSumClipping) {
        nSigma_ = std::max(nSigma_, gaussianQuantile(0.1 / std::max(n_, 1)));
        const double error = medianOf(finiteOf(errors_));
        dkSumMax_ = std::max({nSigma_ * std_, 1e-6 * std::fabs(mean_), error});
        mean_ = weightedMean(sums_, errors_, mean_, dkSumMax_, std::max(0.0, std_ * std_ - error * error));
    }
}

BuildSpatialKernelVisitor::BuildSpatialKernelVisitor(KernelList const& bases, Box2I const& region,
                                                     PsfMatchSettings const& settings, bool perPixel)
        : BuildSpatialKernelVisitor(std::make_shared<BasisConvolver const>(bases), region, settings, perPixel) {}

BuildSpatialKernelVisitor::BuildSpatialKernelVisitor(std::shared_ptr<BasisConvolver const> bases, Box2I const& region,
                                                     PsfMatchSettings const& settings, bool perPixel)
        : bases_(std::move(bases)),
          perPixel_(perPixel),
          solution_(std::make_shared<SpatialKernelSolution>(bases_, region, settings)) {
    if (solution_->layout().maxOrder() == 0) perPixel_ = false;  // nothing varies
}

void BuildSpatialKernelVisitor::processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) {
    KernelCandidate& star = starOf(candidate, "BuildSpatialKernelVisitor");
    if (!star.isInitialized()) {
        star.reject(Rejection::UNBUILT, "no kernel was fitted");
        return;
    }
    candidates_.push_back(std::dynamic_pointer_cast<KernelCandidate>(candidate));
}

void BuildSpatialKernelVisitor::solveLinearEquation() {
    // Sums in an order of their own: the order in which candidates came into the cells does not change a bit.
    std::stable_sort(candidates_.begin() + static_cast<std::ptrdiff_t>(nAdded_), candidates_.end(),
                     [](auto const& a, auto const& b) {
                         return std::make_pair(a->yCenter(), a->xCenter()) < std::make_pair(b->yCenter(), b->xCenter());
                     });
    std::vector<std::shared_ptr<StampMoments const>> moments(candidates_.size());
    const int k = solution_->layout().maxKernelOrder(), g = solution_->layout().backgroundOrder();
    if (perPixel_) {
        parallelFor(static_cast<int>(candidates_.size() - nAdded_), [&](int i) {
            const size_t at = nAdded_ + static_cast<size_t>(i);
            const int degree = solution_->expansionDegree(candidates_[at]->stampWidth(), candidates_[at]->stampHeight());
            moments[at] = candidates_[at]->buildMoments(*bases_, k, g, degree);
        });
    }
    for (; nAdded_ < candidates_.size(); ++nAdded_) {
        KernelCandidate const& star = *candidates_[nAdded_];
        if (perPixel_) {
            solution_->addConstraint(moments[nAdded_],
                                     star.getKernelSolution(KernelCandidate::RECENT)->equations());
        } else {
            solution_->addConstraint(star.xCenter(), star.yCenter(),
                                     star.getKernelSolution(KernelCandidate::RECENT)->equations());
        }
    }
    solution_->solve();
}

AssessSpatialKernelVisitor::AssessSpatialKernelVisitor(std::shared_ptr<Kernel const> kernel,
                                                       std::shared_ptr<Function2 const> background,
                                                       PsfMatchSettings const& settings)
        : kernel_(std::move(kernel)), background_(std::move(background)), settings_(settings) {}

CandidateMeasurement AssessSpatialKernelVisitor::measure(KernelCandidate const& candidate) const {
    try {
        const double background = (*background_)(candidate.xCenter(), candidate.yCenter());
        return statisticsOf(candidate.getDifferenceImage(*kernel_, background), settings_);
    } catch (std::exception const& error) {
        CandidateMeasurement failure;
        failure.failed = true;
        failure.reason = Rejection::STATISTICS;
        failure.text = error.what();
        return failure;
    }
}

void AssessSpatialKernelVisitor::prepare(CandidateList const& candidates) {
    std::vector<KernelCandidate*> todo;
    for (auto const& c : candidates) {
        auto* star = dynamic_cast<KernelCandidate*>(c.get());
        if (star && !star->isBad() && star->isInitialized()) todo.push_back(star);
    }
    std::vector<CandidateMeasurement> measured(todo.size());
    parallelFor(static_cast<int>(todo.size()), [&](int i) { measured[static_cast<size_t>(i)] = measure(*todo[static_cast<size_t>(i)]); });
    for (size_t i = 0; i < todo.size(); ++i) prepared_[todo[i]->id()] = measured[i];
}

void AssessSpatialKernelVisitor::diagnose(std::vector<std::shared_ptr<KernelCandidate>> const& candidates) const {
    parallelFor(static_cast<int>(candidates.size()), [&](int i) {
        KernelCandidate& star = *candidates[static_cast<size_t>(i)];
        const CandidateMeasurement m = measure(star);
        if (m.failed) return;
        star.diagnostics.spatialMean = m.mean;
        star.diagnostics.spatialRms = m.rms;
    });
}

void AssessSpatialKernelVisitor::processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) {
    KernelCandidate& star = starOf(candidate, "AssessSpatialKernelVisitor");
    if (!star.isInitialized()) {
        star.reject(Rejection::UNBUILT, "no kernel was fitted");
        return;
    }
    auto prepared = prepared_.find(star.id());
    const CandidateMeasurement m = prepared != prepared_.end() ? prepared->second : measure(star);
    if (prepared != prepared_.end()) prepared_.erase(prepared);
    if (m.failed) {
        star.reject(m.reason, m.text);
        if (!settings_.compat) ++nRejected_;
        return;
    }
    ++nProcessed_;
    star.diagnostics.spatialMean = m.mean;
    star.diagnostics.spatialRms = m.rms;
    std::string text;
    const Rejection verdict = residualVerdict(m, settings_, settings_.spatialKernelClipping, text);
    if (verdict == Rejection::NONE) {
        star.setStatus(CandidateStatus::GOOD);
        ++nGood_;
    } else {
        star.reject(verdict == Rejection::STATISTICS ? verdict : Rejection::SPATIAL_RESIDUAL, text);
        ++nRejected_;
    }
}

}  // namespace stillsky
