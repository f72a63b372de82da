// Stacks of properties that need quantiles: strips of 64 pixels through all images, sorted by a network with the pixel in
// the vector lane, then clipped round by round.
#include <algorithm>
#include <cmath>

#include "network.hpp"
#include "row_source.hpp"
#include "stack_detail.hpp"
#include "stillsky/core/aligned.hpp"

namespace stillsky {
namespace stack_detail {
namespace {

constexpr double NaN = std::numeric_limits<double>::quiet_NaN();

float numberOf(std::int32_t key) {
    const std::int32_t bits = key ^ ((key >> 31) & 0x7fffffff);
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}
double numberOf(std::int64_t key) {
    const std::int64_t bits = key ^ ((key >> 63) & 0x7fffffffffffffff);
    double x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

// One strip: its samples and everything worked out from them.
template <typename T>
class Strip {
    using Key = typename KeyOf<T>::type;

public:
    Strip(std::vector<StackInput<T>> const& inputs, Plan const& plan, NetworkCache& networks, StackOutput<T> const& out)
            : inputs_(inputs), plan_(plan), networks_(networks), out_(out) {
        const std::size_t n = inputs.size(), samples = n * STRIP;
        const bool wantsError = out.variance.data != nullptr;
        const bool inverse = plan.weighting == Weighting::INVERSE_VARIANCE;
        how_ = inverse ? StripWeights::PER_SAMPLE : plan.weighting == Weighting::GIVEN ? StripWeights::PER_IMAGE : StripWeights::NONE;
        if (out.mask.data) bits_ = propagatedBits(plan.control);
        keepsMask_ = out.mask.data && plan.clips && plan.control.orMaskClipped() && !plan.control.compat();
        const bool fromPlane = errorSourceOf(plan) != ErrorSource::SCATTER;
        keepsVariance_ = wantsError && fromPlane && (plan.property == MEANCLIP || plan.property == MEDIAN);
        needsScatter_ = plan.property == MEDIAN && wantsError && !fromPlane;
        x_.resize(samples);
        keys_.resize(samples);
        weights_.resize(inverse ? samples : n);
        if (keepsMask_) masks_.resize(samples);
        if (keepsVariance_) variances_.resize(samples);
        rejected_.assign(bits_.size() * STRIP, 0.0);
        for (std::size_t i = 0; i < n; ++i) rules_.push_back(ruleOf<T>(plan, i));
    }

    void run(int x, int y, int count) {
        load(x, y, count);
        findQuantiles();
        if (plan_.clips) {
            clip();
        } else {
            std::copy_n(counts_.n, STRIP, sums_.n);
            centre_.assign(STRIP, 0.0);
            half_.assign(STRIP, EVERYTHING);
            if (needsScatter_ || keepsVariance_) sumEverything(0.0);
        }
        lastPass();
        write(x, y, count);
    }

private:
    void load(int x, int y, int count) {
        std::fill_n(counts_.n, STRIP, 0);
        std::fill_n(counts_.nImage, STRIP, 0);
        std::fill_n(counts_.orUsable, STRIP, 0);
        std::fill_n(counts_.orAll, STRIP, 0);
        std::fill(rejected_.begin(), rejected_.end(), 0.0);
        rows_ = 0;
        for (std::size_t i = 0; i < inputs_.size(); ++i) {
            if (i + 2 < inputs_.size()) prefetch(inputs_[i + 2], x, y, count, plan_.needsVariance);
            source_.load(inputs_[i], x, y, count, STRIP, plan_.needsVariance);
            const std::size_t at = static_cast<std::size_t>(rows_) * STRIP;
            double* w = how_ == StripWeights::PER_SAMPLE ? weights_.data() + at : nullptr;
            const int n = loadStrip(source_.image, source_.mask, source_.variance, rules_[i], x_.data() + at, keys_.data() + at, w,
                                    counts_);
            for (std::size_t b = 0; b < bits_.size(); ++b) {
                addRejected(x_.data() + at, source_.mask, MaskPixel(1) << bits_[b], w, rules_[i].weight, rejected_.data() + b * STRIP);
            }
            if (n == 0) continue;  // no sample here: this image takes no part in sorting and sums
            if (!w) weights_[static_cast<std::size_t>(rows_)] = rules_[i].weight;
            if (keepsMask_) std::copy_n(source_.mask, STRIP, masks_.data() + at);
            if (keepsVariance_) std::copy_n(source_.variance, STRIP, variances_.data() + at);
            ++rows_;
        }
    }

    void findQuantiles() {
        const bool medianOnly = plan_.property == MEDIAN;
        int nMin = rows_;
        for (int l = 0; l < STRIP; ++l) {
            if (counts_.n[l] > 0) nMin = std::min(nMin, static_cast<int>(counts_.n[l]));
        }
        if (rows_ > 1) {
            auto const& network = networks_.get(rows_, nMin, medianOnly);
            runNetwork(network.data(), network.size(), keys_.data());
        }
        for (int l = 0; l < STRIP; ++l) {
            median_[l] = quantile(l, 2);
            iqr_[l] = medianOnly ? NaN : quantile(l, 3) - quantile(l, 1);
        }
    }

    double quantile(int l, int quarter) const {
        const int n = counts_.n[l];
        if (n == 0) return NaN;
        const int rank = quarter * (n - 1) / 4, next = std::min(rank + 1, n - 1);
        const double h = 0.25 * (quarter * (n - 1) % 4);
        const double lower = static_cast<double>(numberOf(keys_[static_cast<std::size_t>(rank * STRIP + l)]));
        return stats_detail::between(lower, static_cast<double>(numberOf(keys_[static_cast<std::size_t>(next * STRIP + l)])), h);
    }

    void sum(const double* centre, const double* half, StripSums& sums) const {
        sumStrip(x_.data(), rows_, how_, weights_.data(), centre, half, sums);
    }

    // Sums over all samples of the pixels with pending[l] >= 0, about the median and, if that is far, about the mean.
    void sumEverything(double pending) {
        alignas(64) double centre[STRIP], half[STRIP];
        for (int l = 0; l < STRIP; ++l) {
            const bool wanted = counts_.n[l] > 0 && (pending == 0.0 || isAll_[l]);
            centre[l] = wanted ? median_[l] : 0.0;
            half[l] = wanted ? EVERYTHING : NOTHING_AT_ALL;
        }
        for (int pass = 0; pass < 2; ++pass) {
            StripSums next;
            sum(centre, half, next);
            bool far = false;
            for (int l = 0; l < STRIP; ++l) {
                if (half[l] != EVERYTHING) continue;
                take(next, l);
                centre_[static_cast<std::size_t>(l)] = centre[l];
                half_[static_cast<std::size_t>(l)] = EVERYTHING;
                if (pass == 0 && stats_detail::isFarFromCentre(next.w[l], next.x[l], next.x2[l])) {
                    centre[l] += next.x[l] / next.w[l];
                    far = true;
                } else {
                    half[l] = NOTHING_AT_ALL;
                }
            }
            if (!far) return;
        }
    }

    void take(StripSums const& next, int l) {
        sums_.n[l] = next.n[l];
        sums_.w[l] = next.w[l];
        sums_.w2[l] = next.w2[l];
        sums_.x[l] = next.x[l];
        sums_.x2[l] = next.x2[l];
    }

    // Rounds of clipping as StatisticsBuilder::clipRounds has them, each pixel on its own.
    void clip() {
        const bool compat = plan_.control.compat();
        const double nSigma = plan_.control.numSigmaClip();
        alignas(64) double centre[STRIP], half[STRIP];
        centre_.assign(STRIP, NaN);
        half_.assign(STRIP, NOTHING_AT_ALL);
        std::fill_n(sums_.n, STRIP, 0.0);
        for (int l = 0; l < STRIP; ++l) {
            centre[l] = median_[l];
            half[l] = std::min(nSigma * IQ_TO_STDEV * iqr_[l], EVERYTHING);  // NaN stays NaN
            isAll_[l] = counts_.n[l] > 0 && !std::isnan(half[l]);
            if (!isAll_[l]) centre[l] = 0.0, half[l] = NOTHING_AT_ALL;
        }
        for (int round = 0; round < plan_.control.numIter(); ++round) {
            StripSums next;
            sum(centre, half, next);
            bool anyLeft = false;
            for (int l = 0; l < STRIP; ++l) {
                if (half[l] == NOTHING_AT_ALL) continue;
                if (!compat && next.n[l] == 0) {  // undone
                    half[l] = NOTHING_AT_ALL;
                    continue;
                }
                take(next, l);
                centre_[static_cast<std::size_t>(l)] = centre[l];
                half_[static_cast<std::size_t>(l)] = half[l];
                isAll_[l] = false;
                if (round + 1 == plan_.control.numIter()) continue;
                nextLimits(l, compat, nSigma, centre[l], half[l]);
                anyLeft = anyLeft || half[l] != NOTHING_AT_ALL;
            }
            if (!anyLeft) break;
        }
        if (std::any_of(isAll_, isAll_ + STRIP, [](bool b) { return b; })) sumEverything(1.0);
    }

    // Centre and half-width of the next round from sums_; NOTHING_AT_ALL: there is none. A limit that cannot be computed leaves
    // nothing.
    void nextLimits(int l, bool compat, double nSigma, double& centre, double& half) {
        if (!compat && sums_.n[l] <= 2) {
            half = NOTHING_AT_ALL;
            return;
        }
        centre += sums_.x[l] / sums_.w[l];
        if (counts_.n[l] > 1) {
            const double variance = stats_detail::varianceOf(sums_.n[l], sums_.w[l], sums_.w2[l], sums_.x[l], sums_.x2[l]);
            half = std::min(nSigma * std::sqrt(variance), EVERYTHING);  // NaN stays NaN
        }
        if (!std::isnan(centre) && !std::isnan(half)) return;
        centre = 0.0;
        half = NOTHING_AT_ALL;
        sums_.n[l] = 0;
        half_[static_cast<std::size_t>(l)] = NOTHING_AT_ALL;
    }

    // What is needed of the samples kept only: variances and masks.
    void lastPass() {
        std::fill_n(v_, STRIP, 0.0);
        const bool someBits = std::any_of(counts_.orUsable, counts_.orUsable + STRIP, [](MaskPixel m) { return m != 0; });
        const bool masks = keepsMask_ && someBits;
        if (!masks) std::copy_n(counts_.orUsable, STRIP, orKept_);
        else std::fill_n(orKept_, STRIP, 0);
        if (!masks && !keepsVariance_) return;
        sumKept(x_.data(), keepsVariance_ ? variances_.data() : nullptr, masks ? masks_.data() : nullptr, rows_, how_,
                weights_.data(), powerOfWeight(plan_), centre_.data(), half_.data(), v_, orKept_);
    }

    void write(int x, int y, int count) {
        const bool hasSums = plan_.clips || needsScatter_;
        ValueSums values{sums_.n, hasSums ? sums_.w : nullptr, sums_.w2, sums_.x, hasSums ? sums_.x2 : nullptr,
                         keepsVariance_ ? v_ : nullptr, centre_.data()};
        values.median = median_;
        values.iqr = iqr_;
        double value[STRIP], squared[STRIP];
        evaluate(plan_, count, values, counts_.n, value, squared);
        PixelCounts counts{counts_.n, counts_.nImage, orKept_, counts_.orAll, sums_.n, nullptr, {}};
        StripSums all;
        if (std::any_of(rejected_.begin(), rejected_.end(), [](double r) { return r != 0; })) {
            alignas(64) double centre[STRIP] = {}, half[STRIP];
            std::fill_n(half, STRIP, EVERYTHING);
            sum(centre, half, all);
            counts.weightUsable = all.w;
            counts.rejected.assign(plan_.control.maskPropagationThresholds().size(), nullptr);
            for (std::size_t b = 0; b < bits_.size(); ++b) counts.rejected[static_cast<std::size_t>(bits_[b])] = rejected_.data() + b * STRIP;
        }
        writePixels(plan_, static_cast<int>(inputs_.size()), y, x, count, value, squared, counts, out_);
    }

    std::vector<StackInput<T>> const& inputs_;
    Plan const& plan_;
    NetworkCache& networks_;
    StackOutput<T> const& out_;
    std::vector<SampleRule<T>> rules_;
    std::vector<int> bits_;
    StripWeights how_;
    bool keepsMask_, keepsVariance_, needsScatter_;
    int rows_ = 0;
    AlignedVector<T> x_;
    AlignedVector<Key> keys_;
    AlignedVector<double> weights_, rejected_;
    AlignedVector<double> centre_ = AlignedVector<double>(STRIP), half_ = AlignedVector<double>(STRIP);
    AlignedVector<MaskPixel> masks_;
    AlignedVector<float> variances_;
    RowSource<T, STRIP> source_;
    StripCounts counts_;
    StripSums sums_;
    bool isAll_[STRIP];
    alignas(64) double median_[STRIP], iqr_[STRIP], v_[STRIP];
    alignas(64) MaskPixel orKept_[STRIP];
};

}  // namespace

template <typename T>
void stackRowsSorted(std::vector<StackInput<T>> const& inputs, Plan const& plan, NetworkCache& networks, int y0, int y1,
                     StackOutput<T> const& out) {
    const auto strip = std::make_unique<Strip<T>>(inputs, plan, networks, out);
    const int width = inputs[0].image.width;
    for (int y = y0; y < y1; ++y) {
        for (int x = 0; x < width; x += STRIP) strip->run(x, y, std::min(STRIP, width - x));
    }
}

#define STILLSKY_INSTANTIATE(T)                                                                                     \
    template void stackRowsSorted<T>(std::vector<StackInput<T>> const&, Plan const&, NetworkCache&, int, int,       \
                                     StackOutput<T> const&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stack_detail
}  // namespace stillsky
