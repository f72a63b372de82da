// Private to the stats room: statistics of unweighted floating-point pixels straight from the image, without a copy.
#pragma once

#include <vector>

#include "brackets.hpp"
#include "pixels.hpp"
#include "stillsky/stats/statistics.hpp"
#include "sums.hpp"

namespace stillsky {
namespace stats_detail {

// The usable pixels (finite, no bit of andMask) of an image, passed over as often as needed. Pixels that are not usable
// appear as NaN, which every pass ignores. With deviationFrom the values are |pixel - deviationFrom|.
// T: float, double. Memory: a few kilobytes per thread. Results equal those of gathered samples.
template <typename T>
class PixelStream {
public:
    // Counts the usable pixels. The views must stay alive. Planes have been checked.
    PixelStream(StatisticsSamples<T> const& samples, MaskPixel andMask);

    std::size_t n = 0;        // usable pixels
    long long total = 0;      // all pixels
    MaskPixel orMask = 0;     // of the usable ones

    // Quantiles of |pixel - from| of the usable pixels; ascending fractions; NaN for n = 0.
    std::vector<double> deviationQuantiles(double from, std::vector<double> const& fractions) const;
    std::vector<double> quantiles(std::vector<double> const& fractions) const;
    // Sums over usable pixels with |x - centre| <= half; min and max for infinite half.
    Sums sums(double centre, double half) const;
    // Some number near the pixels' median.
    double crudeCentre() const;

private:
    template <typename F>
    void forSegments(int block, F const& f) const;
    template <typename V, typename Convert>
    std::vector<double> quantilesOf(std::vector<double> const& fractions, Convert const& convert) const;
    std::vector<T> sample() const;

    View2<const T> image_;
    View2<const MaskPixel> mask_;  // empty when it excludes nothing
    MaskPixel andMask_;
    bool hasInfinity_ = false;
    std::vector<Rectangle> blocks_;
};

// Above this many pixels a stream beats gathering.
constexpr long long STREAM_PIXELS = 1 << 17;

}  // namespace stats_detail
}  // namespace stillsky
