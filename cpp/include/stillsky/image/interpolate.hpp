// Interpolation over runs of bad pixels, along rows or columns.
#pragma once

#include "stillsky/image/image.hpp"

namespace stillsky {

// What becomes of the variance of an interpolated pixel.
enum class InterpolatedVariance {
    INFINITE,   // +inf: the pixel carries no information
    PROPAGATE,  // sum of w^2 v over the anchors; +inf where it is not a number or a fallback value entered
    REFERENCE   // the image's weights applied to the variances, the image's fallback value included; may be negative
};

struct InterpolationControl {
    bool alongColumns = false;    // lines are columns instead of rows
    bool fallbackAtEdge = true;   // runs of more than 6 pixels at an end of a line are filled with the fallback value
    double fallback = 0.0;        // taken where there is nothing to interpolate from
    InterpolatedVariance variance = InterpolatedVariance::INFINITE;
};

struct InterpolationCount {
    long long pixels = 0;  // bad pixels
    long long boxes = 0;   // maximal rectangles of equal runs in successive lines
    bool needsFallback = false;
};

// Weights of the anchors two and one pixels before and one and two pixels behind a run of `length` bad pixels, for its
// pixel number t: `weights[0..3]`, 0 for anchors that are not used. `before` and `behind` have bit 0 set when the nearest
// anchor is used and bit 1 when the second is; not both may be 0.
//
// Ordinary kriging with the correlation exp(-d^2/4) of a Gaussian star of sigma 1 pixel: the weights sum to 1 and
// minimise the variance of the prediction (Cressie 1993, Statistics for Spatial Data, eq. 3.2.12). From tables made on
// first use; a run of more than 32 pixels has the weights of the nearer end of one of 32, which differ by less than 1e-27.
// DomainError: length < 1, t outside the run, a pattern without anchors.
void interpolationWeights(int length, int t, int before, int behind, double weights[4]);

// Count bad pixels (those with a bit of `bits` in `bad`) and see whether any needs the fallback value, which may cost
// a median of the image. Sizes must agree (ShapeError). Cost: one pass over `bad`.
template <typename T>
InterpolationCount countInterpolation(View2<const T> image, View2<const MaskPixel> bad, MaskPixel bits,
                                      InterpolationControl const& control);

// Replace bad pixels of image and variance in place, and set `setBits` in their mask.
//
// Lines are independent. Anchors of a run are the good, finite pixels among the two before and the two behind it. A run
// of more than 6 pixels at an end of a line, with fallbackAtEdge, becomes the fallback value except for the 6 pixels next
// to the data, which are interpolated between (at most two) fallback pixels and the data. Without any anchor the value
// is the fallback. `bad` may be the mask of `image` itself. NaN in bad pixels is never read. Errors: ShapeError.
// Cost: one pass over `bad`, about 10 ns per bad pixel; threads by strips of lines, any number gives the same bits.
template <typename T>
void interpolateBadPixels(MaskedView<T> image, View2<const MaskPixel> bad, MaskPixel bits, MaskPixel setBits,
                          InterpolationControl const& control);

extern template InterpolationCount countInterpolation(View2<const float>, View2<const MaskPixel>, MaskPixel,
                                                      InterpolationControl const&);
extern template InterpolationCount countInterpolation(View2<const double>, View2<const MaskPixel>, MaskPixel,
                                                      InterpolationControl const&);
extern template void interpolateBadPixels(MaskedView<float>, View2<const MaskPixel>, MaskPixel, MaskPixel,
                                          InterpolationControl const&);
extern template void interpolateBadPixels(MaskedView<double>, View2<const MaskPixel>, MaskPixel, MaskPixel,
                                          InterpolationControl const&);

}  // namespace stillsky
