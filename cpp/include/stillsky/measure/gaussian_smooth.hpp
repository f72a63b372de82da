// Smoothing with a truncated Gaussian before detection.
#pragma once

#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/image/image.hpp"

namespace stillsky {

// Width of the truncated filter, always odd: (int(sigma*n + 0.5)/2)*2 + 1 (Rubin's rule), at least 3.
int gaussianKernelWidth(double sigma, double nSigmaForKernel);

// A Gaussian sampled at integers and divided by its sum. DomainError unless sigma is in (0, 50].
std::vector<double> gaussianKernel1d(double sigma, int width);

// outImage = sum(g w I) and outVariance = sum(g^2 w V), g the separable Gaussian of the given width (unit sum), w = 1
// on good pixels (no bad bit, finite image, finite variance > 0) and 0 elsewhere, also beyond the image. outImage is NaN
// at pixels that are not good themselves. Noise is taken as white.
//
// All views of equal size (ShapeError); variance and mask may be empty: variance 1, nothing masked. In and out must not
// overlap. Cost: 4 * width multiply-adds a pixel in float32; bands of 64 rows in parallel.
template <typename T>
void smoothGaussian(View2<const T> image, View2<const VariancePixel> variance, View2<const MaskPixel> mask,
                    MaskPixel badBits, double sigma, int width, View2<float> outImage, View2<float> outVariance);

}  // namespace stillsky
