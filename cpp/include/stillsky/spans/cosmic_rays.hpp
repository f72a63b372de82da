// Cosmic rays of a single exposure or a difference: pixels sharper than the PSF allows.
#pragma once

#include <array>
#include <vector>

#include "stillsky/image/image.hpp"
#include "stillsky/spans/span_set.hpp"

namespace stillsky {

struct CosmicRayControl {
    double minSigma = 6.0;   // excess over the mean of two opposite neighbours, standard deviations of the pixel
    double minTotal = 150;   // summed value that a group of pixels needs, image units
    double noiseFactor = 2;  // c of condition 3
    int iterations = 3;      // rounds that extend the groups, at half of minSigma and c = 0
    long long maxPixels = 1000000;
    // For the pairs of neighbours north-south, west-east, and the two diagonals: a fraction times the PSF's value one
    // pixel away over its central value.
    std::array<double, 4> contrast{};
    int badBits = 0;      // such a pixel is no cosmic ray
    int interpolatedBits = 0;  // nor one with such a neighbour
};

// Groups (8-connected) of pixels of cosmic rays, parent coordinates of `xy0`, in scan order.
//
// A pixel z >= 0 with a mean m of two opposite neighbours is one when, for some pair, z - m exceeds minSigma standard
// deviations, and, for some pair, contrast*(z - c sd_z) > m + c sd_m, with sd_m half the quadrature sum of the
// neighbours' standard deviations. It is replaced by the m of the second condition at once, which helps the scan along
// a track. Image: any; `image` is written during the call and restored before it returns or throws. NaN is never a
// cosmic ray, nor is a pixel of the outermost frame. The background is supposed to be 0.
// DomainError: more than maxPixels pixels. ShapeError: sizes differ. Cost: one pass, about 3 ns a pixel; serial, as
// the scan depends on its order.
template <typename T>
std::vector<SpanSet> findCosmicRays(View2<T> image, View2<const VariancePixel> variance, View2<const MaskPixel> mask,
                                    CosmicRayControl const& control, Point2I xy0);

extern template std::vector<SpanSet> findCosmicRays(View2<float>, View2<const VariancePixel>, View2<const MaskPixel>,
                                                    CosmicRayControl const&, Point2I);
extern template std::vector<SpanSet> findCosmicRays(View2<double>, View2<const VariancePixel>, View2<const MaskPixel>,
                                                    CosmicRayControl const&, Point2I);

}  // namespace stillsky
