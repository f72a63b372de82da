// Passes over the pixels of a pair of flats besides those of moments.hpp: which pixels are usable, the ratio that gives
// the gain, and sums of rows. In fixed blocks of rows, threaded: results are bit-identical for any number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "stillsky/core/view.hpp"

namespace stillsky {

// out = 1 where the pixel is finite and has none of the mask bits, else 0. An empty mask view means no bits. Returns the
// number of ones. ShapeError: sizes that differ.
template <typename T>
long long usablePixels(View2<const T> image, View2<const std::int32_t> mask, std::int32_t bits, View2<std::uint8_t> out);

// Mean of (a - b)^2/(a + b) with a = scale1 image1 and b = scale2 image2, over the pixels of weight other than 0. For
// Poisson light and equal levels its expectation is one over the gain. NaN without pixels, or when the sum is not finite
// (a + b = 0). ShapeError: sizes that differ.
template <typename T>
double flatPairRatio(View2<const T> image1, View2<const T> image2, View2<const std::uint8_t> weight, double scale1,
                     double scale2);

// Means of the rows of an image over the pixels of weight other than 0, whatever the others hold; NaN for a row without
// pixels. One value per row. ShapeError: sizes that differ.
std::vector<double> rowMeans(View2<const double> image, View2<const std::uint8_t> weight);

}  // namespace stillsky
