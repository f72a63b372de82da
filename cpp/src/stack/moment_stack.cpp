// Stacks of properties made from moments: one pass over the samples.
#include <algorithm>
#include <cmath>

#include "moment_rows.hpp"
#include "row_source.hpp"
#include "stack_detail.hpp"
#include "stillsky/core/aligned.hpp"

namespace stillsky {
namespace stack_detail {
namespace {

// Distance of the arrays of sums: at multiples of 4096 bytes they would fight for the same lines of the cache.
constexpr int APART = SEGMENT + 72, APART_INTS = SEGMENT + 176;

// Sums of one segment of a row.
template <typename T>
class Segment {
public:
    Segment(std::vector<StackInput<T>> const& inputs, Plan const& plan, StackOutput<T> const& out)
            : inputs_(inputs), plan_(plan), out_(out), bits_(out.mask.data ? propagatedBits(plan.control) : std::vector<int>()) {
        const bool isMean = plan.property == MEAN, wantsError = out.variance.data != nullptr;
        const bool scatter = (isMean && wantsError && errorSourceOf(plan) == ErrorSource::SCATTER) || plan.property == VARIANCE ||
                             plan.property == STDEV || plan.property == MEANSQUARE;
        const bool sumV = isMean && wantsError && errorSourceOf(plan) != ErrorSource::SCATTER;
        doubles_.assign(static_cast<std::size_t>(APART) * (13 + bits_.size()), 0.0);
        auto at = [this](int i) { return doubles_.data() + static_cast<std::ptrdiff_t>(i) * APART; };
        row_.w = at(0);
        row_.x = at(1);
        row_.first = scatter ? at(2) : nullptr;
        row_.w2 = scatter ? at(3) : nullptr;
        row_.x2 = scatter ? at(4) : nullptr;
        row_.v = sumV ? at(5) : nullptr;
        row_.power = powerOfWeight(plan);
        const bool extremes = plan.property == MIN || plan.property == MAX;
        row_.min = extremes ? at(6) : nullptr;
        row_.max = extremes ? at(7) : nullptr;
        centre_ = at(8);
        n_ = at(9);
        again_ = at(10);  // w2, x and x2 of a second pass begin here: three arrays
        for (std::size_t b = 0; b < bits_.size(); ++b) rejected_.push_back(at(13 + static_cast<int>(b)));
        ints_.assign(static_cast<std::size_t>(APART_INTS) * 4, 0);
        row_.n = ints_.data();
        row_.nImage = out.nImage.data ? ints_.data() + APART_INTS : nullptr;
        row_.orUsable = out.mask.data ? ints_.data() + 2 * APART_INTS : nullptr;
        row_.orAll = out.mask.data ? ints_.data() + 3 * APART_INTS : nullptr;
        for (std::size_t i = 0; i < inputs.size(); ++i) rules_.push_back(ruleOf<T>(plan, i));
    }

    void run(int x, int y, int count) {
        clear();
        addAll(x, y, count, row_, false);
        if (row_.first) sumAgainAboutTheMean(x, y, count);
        for (int i = 0; i < count; ++i) n_[i] = row_.n[i];
        ValueSums sums{n_, row_.w, row_.w2, row_.x, row_.x2, row_.v, row_.first ? row_.first : centre_, row_.min, row_.max};
        evaluate(plan_, count, sums, row_.n, value_, squared_);
        PixelCounts counts{row_.n, row_.nImage, row_.orUsable, row_.orAll, n_, bits_.empty() ? nullptr : row_.w, {}};
        counts.rejected.assign(plan_.control.maskPropagationThresholds().size(), nullptr);
        for (std::size_t b = 0; b < bits_.size(); ++b) counts.rejected[static_cast<std::size_t>(bits_[b])] = rejected_[b];
        writePixels(plan_, static_cast<int>(inputs_.size()), y, x, count, value_, squared_, counts, out_);
    }

private:
    void clear() {
        std::fill(doubles_.begin(), doubles_.end(), 0.0);
        std::fill(ints_.begin(), ints_.end(), 0);
        if (row_.min) {
            std::fill_n(row_.min, SEGMENT, std::numeric_limits<double>::infinity());
            std::fill_n(row_.max, SEGMENT, -std::numeric_limits<double>::infinity());
        }
    }

    void addAll(int x, int y, int count, MomentRow const& row, bool keepFirst) {
        MomentInput<T> group[GROUP];
        for (std::size_t i = 0; i < inputs_.size(); i += GROUP) {
            const int n = static_cast<int>(std::min<std::size_t>(GROUP, inputs_.size() - i));
            for (int k = 0; k < n; ++k) {
                const std::size_t at = i + static_cast<std::size_t>(k);
                if (at + GROUP < inputs_.size()) prefetch(inputs_[at + GROUP], x, y, count, plan_.needsVariance);
                RowSource<T, SEGMENT>& source = sources_[k];
                source.load(inputs_[at], x, y, count, count, plan_.needsVariance);
                group[k] = {source.image, source.mask, source.variance, rules_[at]};
            }
            addMoments(group, n, count, keepFirst, scratch_, row);
            for (int k = 0; k < n && !keepFirst; ++k) addRejected(group[k], k, count);
        }
    }

    void addRejected(MomentInput<T> const& in, int k, int count) {
        const double* w = in.rule.inverseVariance ? scratch_.weight[k] : nullptr;
        for (std::size_t b = 0; b < bits_.size(); ++b) {
            addRejectedWeight(in.mask, scratch_.usable[k], MaskPixel(1) << bits_[b], count, w, in.rule.weight, rejected_[b]);
        }
    }

    // Where the first sample lies far from the mean the sums have lost digits; those pixels take a second pass's.
    void sumAgainAboutTheMean(int x, int y, int count) {
        bool far = false;
        for (int i = 0; i < count; ++i) {
            const bool isFar = stats_detail::isFarFromCentre(row_.w[i], row_.x[i], row_.x2[i]);
            n_[i] = isFar;
            centre_[i] = isFar ? row_.first[i] + row_.x[i] / row_.w[i] : row_.first[i];
            far = far || isFar;
        }
        if (!far) return;
        std::int32_t ints[SEGMENT];
        std::fill_n(again_, 3 * APART, 0.0);
        std::vector<double> w(SEGMENT, 0.0);
        MomentRow row;
        row.n = ints;
        std::fill_n(ints, SEGMENT, 0);
        row.w = w.data();
        row.w2 = again_;
        row.x = again_ + APART;
        row.x2 = again_ + 2 * APART;
        row.first = centre_;
        addAll(x, y, count, row, true);
        for (int i = 0; i < count; ++i) {
            if (n_[i] == 0) continue;
            row_.first[i] = centre_[i];
            row_.x[i] = row.x[i];
            row_.x2[i] = row.x2[i];
        }
    }

    std::vector<StackInput<T>> const& inputs_;
    Plan const& plan_;
    StackOutput<T> const& out_;
    std::vector<int> bits_;
    std::vector<SampleRule<T>> rules_;
    AlignedVector<double> doubles_;
    AlignedVector<std::int32_t> ints_;
    MomentRow row_;
    std::vector<double*> rejected_;
    double *centre_, *n_, *again_;
    RowSource<T, SEGMENT> sources_[GROUP];
    MomentScratch<T> scratch_;
    double value_[SEGMENT], squared_[SEGMENT];
};

}  // namespace

template <typename T>
void stackRowsOfMoments(std::vector<StackInput<T>> const& inputs, Plan const& plan, int y0, int y1, StackOutput<T> const& out) {
    const auto segment = std::make_unique<Segment<T>>(inputs, plan, out);
    const int width = inputs[0].image.width;
    for (int y = y0; y < y1; ++y) {
        for (int x = 0; x < width; x += SEGMENT) segment->run(x, y, std::min(SEGMENT, width - x));
    }
}

#define STILLSKY_INSTANTIATE(T)                                                                                   \
    template void stackRowsOfMoments<T>(std::vector<StackInput<T>> const&, Plan const&, int, int, StackOutput<T> const&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stack_detail
}  // namespace stillsky
