// Private to the stack room: pieces of rows of the inputs as contiguous native numbers.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "stack_detail.hpp"
#include "strip_loops.hpp"

namespace stillsky {
namespace stack_detail {

// Pointers to SIZE samples of an image: into the image itself where possible, else into a copy whose bytes are turned and
// which is padded (image NaN, mask 0, variance 0) up to SIZE.
template <typename T, int SIZE>
class RowSource {
public:
    const T* image;
    const MaskPixel* mask;
    const VariancePixel* variance;

    RowSource() { std::fill_n(zeros_, SIZE, 0); }

    // Pixels x .. x+count-1 of row y; padded to `padded` pixels. `asTheyAre`: bytes are not turned.
    void load(StackInput<T> const& in, int x, int y, int count, int padded, bool needsVariance, bool asTheyAre = false) {
        const bool turn = !asTheyAre;
        image = piece(in.image, turn && in.swapImage, x, y, count, padded, std::numeric_limits<T>::quiet_NaN(), image_);
        mask = in.mask.data ? piece(in.mask, turn && in.swapMask, x, y, count, padded, MaskPixel(0), mask_) : zeros_;
        variance = needsVariance && in.variance.data
                           ? piece(in.variance, turn && in.swapVariance, x, y, count, padded, VariancePixel(0), variance_)
                           : variance_;
    }

private:
    template <typename V>
    static const V* piece(View2<const V> const& plane, bool swap, int x, int y, int count, int padded, V pad, V* copy) {
        const V* row = plane.row(y) + x;
        if (!swap && count == padded) return row;
        if (swap) swapRow(row, count, copy);
        else std::copy_n(row, count, copy);
        std::fill(copy + count, copy + padded, pad);
        return copy;
    }

    alignas(64) T image_[SIZE];
    alignas(64) MaskPixel mask_[SIZE], zeros_[SIZE];
    alignas(64) VariancePixel variance_[SIZE];
};

// The rule for samples of image i.
template <typename T>
SampleRule<T> ruleOf(Plan const& plan, std::size_t i) {
    SampleRule<T> rule;
    rule.andMask = plan.control.andMask();
    rule.inverseVariance = plan.weighting == Weighting::INVERSE_VARIANCE;
    rule.weight = plan.weights[i];
    if (plan.control.compat()) {
        rule.limit = static_cast<T>(std::numeric_limits<float>::max());
        rule.varianceLimit = std::numeric_limits<float>::infinity();
    } else if (!(rule.weight <= std::numeric_limits<double>::max())) {
        rule.isUsable = false;
        rule.weight = 0;
    }
    return rule;
}

// Bits whose propagation can happen: the share of rejected weight is never above 1.
inline std::vector<int> propagatedBits(StatisticsControl const& control) {
    std::vector<int> bits;
    for (std::size_t b = 0; b < control.maskPropagationThresholds().size(); ++b) {
        if (control.maskPropagationThresholds()[b] < 1) bits.push_back(static_cast<int>(b));
    }
    return bits;
}

// Asks for the pages or lines of the next image's piece while this one is worked on.
template <typename T>
void prefetch(StackInput<T> const& in, int x, int y, int count, bool needsVariance) {
#if defined(__GNUC__)
    constexpr int LINE = 64 / static_cast<int>(sizeof(T)), LINE32 = 16;
    for (int i = 0; i < count; i += LINE) __builtin_prefetch(in.image.row(y) + x + i);
    for (int i = 0; i < count && in.mask.data; i += LINE32) __builtin_prefetch(in.mask.row(y) + x + i);
    for (int i = 0; i < count && needsVariance; i += LINE32) __builtin_prefetch(in.variance.row(y) + x + i);
#else
    (void)in, (void)x, (void)y, (void)count, (void)needsVariance;
#endif
}

}  // namespace stack_detail
}  // namespace stillsky
