// Private to the ptc room: the sums of one block of rows, and of all blocks of an image.
#pragma once

#include <cstdint>
#include <vector>

#include "stillsky/core/view.hpp"

namespace stillsky {
namespace ptc_detail {

// Sums over the pairs whose second pixel, the one a lag further, lies in the block. Position dy (2 maxLag + 1) + maxLag
// + dx, for dy = 0..maxLag, dx = -maxLag..maxLag.
struct BlockSums {
    std::vector<std::int64_t> count;
    std::vector<double> first, second, product;
};

// Arguments as CovarianceEstimator::sums has them, already checked but for the values of pixels and weights. Threaded.
template <typename T>
std::vector<BlockSums> sumBlocks(View2<const T> image, View2<const std::uint8_t> weight, int maxLag, double offset,
                                 bool ignoreNonFinite);

// Mean of the finite pixels of weight 1 in every eighth row, or in all if those have none; 0 when there is none.
template <typename T>
double nearMeanOfPixels(View2<const T> image, View2<const std::uint8_t> weight);

}  // namespace ptc_detail
}  // namespace stillsky
