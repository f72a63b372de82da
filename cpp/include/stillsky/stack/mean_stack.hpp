// Running mean of images that arrive one at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "stillsky/core/aligned.hpp"
#include "stillsky/stack/statistics_stack.hpp"

namespace stillsky {

// The MEAN stack of images that are given one after the other and need not stay in memory: the same value, variance, mask
// and counts as stackStrips with MEAN, the same weights and images in the same order, bit for bit (but for a variance from the
// scatter where the first sample lies far from the mean: it is taken about that sample here). T: float, double.
// Memory: 40 bytes a pixel, 16 more with errors from the scatter, 8 per propagated mask bit.
template <typename T>
class MeanStack {
public:
    // Of the control, andMask, nanSafe (must be on), error modes, thresholds, noGoodPixelsMask and compat count; of the
    // options all but `weights` and `clipped`. DomainError for nanSafe off.
    MeanStack(int width, int height, StatisticsControl const& control, StackOptions const& options = StackOptions());

    // Weight >= 0, else DomainError; a weight that is not finite makes all samples unusable. ShapeError when sizes differ.
    void add(StackInput<T> const& input, double weight = 1.0);
    // The mean of what was added so far. May be called again after more images.
    void fill(StackOutput<T> const& out) const;
    void reset();

    int width() const { return width_; }
    int height() const { return height_; }
    int nImages() const { return nImages_; }

private:
    int width_, height_, nImages_ = 0;
    StatisticsControl control_;
    StackOptions options_;
    // Per pixel: numbers of usable samples and of those clear of andMask, sums of w, w (x - c), and of what the error needs;
    // c is the first usable sample where the error is made from the scatter, else 0.
    AlignedVector<std::int32_t> n_, nImage_;
    AlignedVector<double> w_, x_, first_, w2_, x2_, v_;
    std::vector<AlignedVector<double>> rejected_;  // per threshold that can be exceeded
    AlignedVector<MaskPixel> orUsable_, orAll_;
};

}  // namespace stillsky
