// Private to the stack room: the loops over strips of pixels. All arrays hold STRIP (or count) pixels; a pixel is a lane.
#pragma once

#include <cstdint>
#include <limits>

#include "network.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/image/image.hpp"

namespace stillsky {
namespace stack_detail {

constexpr int STRIP = 64;  // pixels of a strip that is sorted: 256 bytes of every image

// Integers that order as the numbers do; samples that are not usable come last.
template <typename T>
struct KeyOf;
template <>
struct KeyOf<float> {
    using type = std::int32_t;
};
template <>
struct KeyOf<double> {
    using type = std::int64_t;
};

// Which samples of one image are usable, and what a sample weighs.
template <typename T>
struct SampleRule {
    MaskPixel andMask = 0;
    T limit = std::numeric_limits<T>::max();                       // |x| above it is not finite
    float varianceLimit = std::numeric_limits<float>::max();       // largest variance of a usable sample
    bool inverseVariance = false;
    double weight = 1;                                             // of the image
    bool isUsable = true;                                          // false: no sample of this image is
};

// What is counted over all samples of a pixel, usable or not.
struct StripCounts {
    alignas(64) std::int32_t n[STRIP];        // usable
    alignas(64) std::int32_t nImage[STRIP];   // clear of andMask
    alignas(64) MaskPixel orUsable[STRIP], orAll[STRIP];
};

// One image's strip: x[l] = the sample, +inf where not usable; key[l] in its order; w[l] = weight/variance (inverse
// variance only, else null), 0 where the variance is improper. Returns the number of usable samples.
int loadStrip(const float* image, const MaskPixel* mask, const float* variance, SampleRule<float> const& rule, float* x,
              std::int32_t* key, double* w, StripCounts& counts);
int loadStrip(const double* image, const MaskPixel* mask, const float* variance, SampleRule<double> const& rule, double* x,
              std::int64_t* key, double* w, StripCounts& counts);

// rejected[l] += w of samples that are not usable (x = inf) and have the bit. w null: `weight` each.
template <typename T>
void addRejected(const T* x, const MaskPixel* mask, MaskPixel bit, const double* w, double weight, double* rejected);

// Runs a network over rows of STRIP keys.
void runNetwork(Comparator const* network, std::size_t n, std::int32_t* rows);
void runNetwork(Comparator const* network, std::size_t n, std::int64_t* rows);

// Half-widths for everything usable, and for nothing.
constexpr double EVERYTHING = std::numeric_limits<double>::max(), NOTHING_AT_ALL = -1;

// Sums over the samples with |x - centre| <= half of each pixel; half and centre are finite. Arrays of STRIP, on cache lines.
struct StripSums {
    alignas(64) double n[STRIP], w[STRIP], w2[STRIP], x[STRIP], x2[STRIP];
};
enum class StripWeights { NONE, PER_IMAGE, PER_SAMPLE };
// rows x STRIP samples; weights: one per row, or rows x STRIP.
void sumStrip(const float* x, int rows, StripWeights how, const double* weights, const double* centre, const double* half,
              StripSums& sums);
void sumStrip(const double* x, int rows, StripWeights how, const double* weights, const double* centre, const double* half,
              StripSums& sums);

// What only the last round needs: v[l] += variance * w^power of the samples kept, bits[l] |= their masks. Variances or
// masks may be null.
template <typename T>
void sumKept(const T* x, const float* variances, const MaskPixel* masks, int rows, StripWeights how, const double* weights,
             int power, const double* centre, const double* half, double* v, MaskPixel* bits);

// Bytes of n values turned round.
void swapRow(const float* in, int n, float* out);
void swapRow(const double* in, int n, double* out);
void swapRow(const std::int32_t* in, int n, std::int32_t* out);

}  // namespace stack_detail
}  // namespace stillsky
