// Private to the stack room: running sums over samples, pixel by pixel, for means of images that come one after the other.
#pragma once

#include <cstddef>
#include <cstdint>

#include "strip_loops.hpp"

namespace stillsky {
namespace stack_detail {

constexpr int SEGMENT = 512;  // pixels that are worked on at a time
constexpr int GROUP = 4;       // images added in one go: sums are loaded and stored once for all

// Running sums of pixels. Those that are not wanted are null; `first` goes with w2 and x2. Without w, weights are 1.
struct MomentRow {
    std::int32_t* n = nullptr;          // usable samples
    std::int32_t* nImage = nullptr;     // samples clear of andMask
    double *w = nullptr, *x = nullptr;  // sums of weights, of w (x - first)
    double* first = nullptr;            // the first usable sample; null: 0
    double *w2 = nullptr, *x2 = nullptr;
    double* v = nullptr;                // sum of w^power variance
    int power = 2;
    double *min = nullptr, *max = nullptr;
    MaskPixel *orUsable = nullptr, *orAll = nullptr;

    // The sums of the pixels from the i-th on.
    MomentRow from(std::ptrdiff_t i) const;
};

// One image's samples.
template <typename T>
struct MomentInput {
    const T* image;
    const MaskPixel* mask;
    const float* variance;
    SampleRule<T> rule;
};

// What addMoments works out for each image: the sample and its variance, 0 where it is not usable, 1 or 0 for usable or
// not, and, with inverse variances, its weight if it were usable.
template <typename T>
struct MomentScratch {
    alignas(64) T x[GROUP][SEGMENT];
    alignas(64) float usable[GROUP][SEGMENT], variance[GROUP][SEGMENT];
    alignas(64) double weight[GROUP][SEGMENT];
};

// Whether addMoments takes one path through registers: sums of w, w x and w v of floats, with the weights of images, and
// either both or none of nImage and orAll, without which nothing is known of rejected weights.
template <typename T>
bool isPlain(SampleRule<T> const& rule, MomentRow const& row);

// Adds count <= SEGMENT pixels of nImages <= GROUP images, in their order. `keepFirst`: `first` holds centres already.
// `swapped`, for plain sums only: all bytes are in the other order. The result does not depend on how images are grouped.
// Returns whether there may be samples that are not usable and have one of the bits `propagated`; `usable` and `weight` of
// the scratch then hold.
bool addMoments(MomentInput<float> const* in, int nImages, int count, bool keepFirst, bool swapped, MaskPixel propagated,
                    MomentScratch<float>& scratch, MomentRow const& row);
bool addMoments(MomentInput<double> const* in, int nImages, int count, bool keepFirst, bool swapped, MaskPixel propagated,
                    MomentScratch<double>& scratch, MomentRow const& row);

// rejected[i] += weight of samples that are not usable and have the bit; w null: `weight` each.
void addRejectedWeight(const MaskPixel* mask, const float* usable, MaskPixel bit, int count, const double* w, double weight,
                       double* rejected);

}  // namespace stack_detail
}  // namespace stillsky
