// Private to the stack room: what a call asks for, checked and worked out once, and rows of its inputs.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "../stats/moments.hpp"
#include "../stats/samples.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/stack/statistics_stack.hpp"

namespace stillsky {
namespace stack_detail {

using stats_detail::Weighting;

constexpr int CLIPPING = MEANCLIP | STDEVCLIP | VARIANCECLIP | NCLIPPED;

// A checked call: one property, weights or none, and the control with the rules for one image and for compat worked in.
struct Plan {
    int property = 0;
    bool clips = false;
    Weighting weighting = Weighting::NONE;
    bool product = false;               // given weights over the variance of the sample
    bool needsVariance = false;
    StatisticsControl control;
    StackOptions options;
    std::vector<double> weights;        // one per image, 1 where none were given

    // Checks sizes, weights and flags; see stackStrips.
    template <typename T>
    static Plan of(std::vector<StackInput<T>> const& inputs, int flags, StatisticsControl const& control,
                   StackOptions const& options, StackOutput<T> const& out);
};

using stats_detail::ErrorSource;

// Where the squared error of the plan's means comes from, and the power of the weight in the sum of variances it needs.
ErrorSource errorSourceOf(Plan const& plan);
int powerOfWeight(Plan const& plan);

// Mask of a pixel, given the OR over all its samples, whether one of them was not usable, and whether one was clipped.
MaskPixel addMappedBits(MaskPixel mask, MaskPixel orAll, bool someMasked, bool someClipped, StackOptions const& options);

STILLSKY_INLINE float swapped(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    bits = (bits >> 24) | ((bits >> 8) & 0xff00u) | ((bits << 8) & 0xff0000u) | (bits << 24);
    std::memcpy(&value, &bits, sizeof(bits));
    return value;
}
STILLSKY_INLINE std::int32_t swapped(std::int32_t value) {
    const std::uint32_t bits = static_cast<std::uint32_t>(value);
    return static_cast<std::int32_t>((bits >> 24) | ((bits >> 8) & 0xff00u) | ((bits << 8) & 0xff0000u) | (bits << 24));
}
STILLSKY_INLINE double swapped(double value) {
    std::uint64_t b;
    std::memcpy(&b, &value, sizeof(b));
    b = ((b >> 8) & 0x00ff00ff00ff00ffu) | ((b & 0x00ff00ff00ff00ffu) << 8);
    b = ((b >> 16) & 0x0000ffff0000ffffu) | ((b & 0x0000ffff0000ffffu) << 16);
    b = (b >> 32) | (b << 32);
    std::memcpy(&value, &b, sizeof(b));
    return value;
}

// One pixel of each plane.
template <typename T>
T valueAt(StackInput<T> const& in, int x, int y) {
    return in.swapImage ? swapped(in.image(x, y)) : in.image(x, y);
}
template <typename T>
MaskPixel maskAt(StackInput<T> const& in, int x, int y) {
    if (in.mask.data == nullptr) return 0;
    return in.swapMask ? swapped(in.mask(x, y)) : in.mask(x, y);
}
template <typename T>
VariancePixel varianceAt(StackInput<T> const& in, int x, int y) {
    if (in.variance.data == nullptr) return 0;
    return in.swapVariance ? swapped(in.variance(x, y)) : in.variance(x, y);
}

// Sums over the samples behind the value of up to a few hundred pixels, one array per sum; those a property does not need
// may be null.
struct ValueSums {
    const double *n, *w, *w2, *x, *x2, *v, *centre;
    const double *min = nullptr, *max = nullptr, *median = nullptr, *iqr = nullptr;
};
// value[i] and squared[i] (error squared) of the plan's property; nUsable[i] samples were usable.
void evaluate(Plan const& plan, int count, ValueSums const& sums, const std::int32_t* nUsable, double* value, double* squared);

// What else a pixel's result is made from.
struct PixelCounts {
    const std::int32_t *nUsable, *nImage;
    const MaskPixel *orKept, *orAll;        // over the samples kept, over all
    const double* nKept;
    const double* weightUsable;             // null without thresholds
    std::vector<const double*> rejected;    // per threshold of the control: null or weight of unusable samples with its bit
};
// Writes pixels x0 .. x0+count-1 of row y.
template <typename T>
void writePixels(Plan const& plan, int nImages, int y, int x0, int count, const double* value, const double* squared,
                 PixelCounts const& counts, StackOutput<T> const& out);

// Rows [y0, y1) of the result: properties made from moments, and those that need quantiles. Neither handles nanSafe off
// and ORMASK.
template <typename T>
void stackRowsOfMoments(std::vector<StackInput<T>> const& inputs, Plan const& plan, int y0, int y1, StackOutput<T> const& out);
class NetworkCache;
template <typename T>
void stackRowsSorted(std::vector<StackInput<T>> const& inputs, Plan const& plan, NetworkCache& networks, int y0, int y1,
                     StackOutput<T> const& out);

// One row of the result, pixel by pixel with makeStatistics: the definition of what the fast loops compute.
template <typename T>
void stackRowByColumns(std::vector<StackInput<T>> const& inputs, Plan const& plan, int y, StackOutput<T> const& out);

}  // namespace stack_detail
}  // namespace stillsky
