// Private to the stats room: usable samples gathered into contiguous memory, and sums over them.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "pixels.hpp"
#include "stillsky/stats/statistics.hpp"
#include "sums.hpp"

namespace stillsky {
namespace stats_detail {

enum class Weighting { NONE, GIVEN, INVERSE_VARIANCE };

// A buffer that is not zero-filled.
template <typename U>
struct Buffer {
    std::unique_ptr<U[]> data;
    void allocate(std::size_t n) { data.reset(new U[n]); }
    U* get() const { return data.get(); }
    bool empty() const { return !data; }
};

// The usable samples, in the order of the pixels.
template <typename T>
struct Gathered {
    std::size_t n = 0;
    long long total = 0;         // pixels, usable or not
    Buffer<T> x;
    Buffer<double> w, v;         // weight and variance; empty unless needed
    Buffer<MaskPixel> m;         // mask; empty unless needed
    MaskPixel orMask = 0;        // of all usable samples
    std::vector<double> rejected;  // per mask bit with a threshold: weight of the samples not used
};

struct GatherOptions {
    Weighting weighting = Weighting::NONE;
    bool keepVariance = false, keepMask = false;
};

// ShapeError when a plane differs from the image in size, DomainError when there are no pixels.
template <typename T>
void checkPlanes(StatisticsSamples<T> const& s);

// As checkPlanes; DomainError also for negative weights. Threaded over blocks of pixels.
template <typename T>
Gathered<T> gather(StatisticsSamples<T> const& s, StatisticsControl const& control, GatherOptions const& options);

// Sums over samples with |x - centre| <= half, threaded; min and max for infinite half.
template <typename T>
Sums sumOver(Gathered<T> const& g, double centre, double half);

}  // namespace stats_detail
}  // namespace stillsky
