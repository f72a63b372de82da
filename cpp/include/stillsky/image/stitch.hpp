// Patches of an image put together: written, added or copied pixel by pixel, with masks, variances and counts.
//
// Every function makes one pass over the patch; views of output and patch cover the same pixels (ShapeError otherwise).
// A pixel of a patch is valid when neither its value nor its variance is NaN; in the reference's mode (`reference`) when
// their product is not NaN, which drops an infinite value of variance 0. Blocks of rows run in parallel; pixels do not
// depend on each other, so that results are bit-identical for any number of threads.
//
// Masks: a pixel with a valid contribution has the bits of the patches whose values it holds; one without keeps the
// bits that it had and gets those of every patch that touches it. In the reference's mode bits of patches are always added.
#pragma once

#include <cstdint>

#include "stillsky/image/image.hpp"

namespace stillsky {

struct StitchCount {
    long long valid = 0;    // pixels of the patch
    bool overflow = false;  // a pixel had the largest count already
};

// Write valid pixels over those of `out`, which no other patch touches; `count` gains one there. The pixels of `out`
// that stay without a valid one are not written.
template <typename T, typename P>
StitchCount stitchWrite(MaskedView<T> out, View2<std::uint16_t> count, MaskedView<const P> patch, bool reference);

// Sums in double precision of weight * value and weight * variance (squared: weight^2 * variance), and of the weights
// themselves. `weight` and `sumWeight` are both null for weights of 1.
struct StitchSums {
    View2<double> image, variance;
    View2<double> const* weight = nullptr;
};
template <typename P>
StitchCount stitchAdd(StitchSums const& sums, View2<MaskPixel> mask, View2<std::uint16_t> count,
                      MaskedView<const P> patch, View2<const double> const* weight, bool squared, bool reference);

// Copy valid pixels unless a patch with a larger mark is there already; `writer` holds the marks, 0 for none. C is
// std::uint16_t or std::uint32_t.
template <typename T, typename P, typename C>
StitchCount stitchCopy(MaskedView<T> out, View2<C> writer, MaskedView<const P> patch, C mark, bool reference);

// Pixels with a count get their sums, divided for an average by the weight (without weights: the count), the variance
// by its square if `squared`. Others are left alone.
template <typename T>
void stitchSettle(View2<T> image, View2<VariancePixel> variance, StitchSums const& sums,
                  View2<const std::uint16_t> count, bool average, bool squared);

struct StitchOverlap {
    long long largest = 0, smallest = 0, sum = 0;  // of the counts; 0 for no pixels
    long long blank = 0;                           // pixels with a count of 0
};

// Statistics of the counts. With `blank` the pixels without a count become NaN and get `bits`; in the reference's mode also
// pixels whose value or variance is NaN.
template <typename T, typename C>
StitchOverlap stitchFinish(MaskedView<T> out, View2<const C> count, MaskPixel bits, bool blank, bool reference);

}  // namespace stillsky
