// Private to the stats room: sums over samples.
#pragma once

#include <cstddef>
#include <vector>

#include "stillsky/image/image.hpp"

namespace stillsky {
namespace stats_detail {

// Sums over samples with |x - centre| <= half.
struct Sums {
    double n = 0, w = 0, w2 = 0;         // count, sum of weights, of squared weights
    double x = 0, x2 = 0;                // sum w (x - centre), sum w (x - centre)^2
    double v1 = 0, v2 = 0, v = 0;        // sum v w, sum v w^2, sum v
    double min, max;                     // of the samples; NaN if not asked for
    MaskPixel orMask = 0;
    double centre = 0;

    Sums();
    double mean() const { return centre + x / w; }
    double variance() const;  // NaN for n <= 1
};

// Add unweighted values; NaNs are never within half.
template <typename T>
void addPlain(const T* x, std::size_t n, double centre, double half, Sums& sums);
// Extend min and max; NaNs do not count.
template <typename T>
void addExtremes(const T* x, std::size_t n, Sums& sums);
// Sum of partial sums, in their order.
Sums total(std::vector<Sums> const& parts, double centre);

}  // namespace stats_detail
}  // namespace stillsky
