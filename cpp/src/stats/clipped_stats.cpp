#include "stillsky/stats/clipped_stats.hpp"

#include <cmath>
#include <limits>
#include <string>

#include "samples.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/stats/select.hpp"
#include "stream.hpp"

namespace stillsky {
namespace {

constexpr double SCALE = 1.482602218505602;  // of a Gaussian: sigma / median absolute deviation

template <typename T>
Image<T> everyNth(View2<const T> in, int k) {
    Image<T> out((in.width + k - 1) / k, (in.height + k - 1) / k);
    View2<T> to = out.view();
    parallelFor((to.height + 63) / 64, [&](int block) {
        for (int y = 64 * block; y < std::min(to.height, 64 * block + 64); ++y) {
            const T* row = in.row(y * k);
            for (int x = 0; x < to.width; ++x) to(x, y) = row[static_cast<std::ptrdiff_t>(x) * k];
        }
    });
    return out;
}

// The samples of every k-th row and column; the images own them for k > 1.
template <typename T>
struct Subsampled {
    Image<T> image;
    Image<MaskPixel> mask;
    StatisticsSamples<T> samples;

    Subsampled(View2<const T> in, View2<const MaskPixel> inMask, int k) {
        if (k < 1) throw DomainError("subsample: wanted a number >= 1, got " + std::to_string(k));
        if (inMask.data != nullptr && (inMask.width != in.width || inMask.height != in.height)) {
            throw ShapeError("mask: wanted the dimensions of the image");
        }
        samples.image = in;
        samples.mask = inMask;
        if (k == 1 || in.empty()) return;
        image = everyNth(in, k);
        samples.image = View2<const T>(image.view());
        if (inMask.data != nullptr) {
            mask = everyNth(inMask, k);
            samples.mask = View2<const MaskPixel>(mask.view());
        }
    }
};

}  // namespace

template <typename T>
ClippedStats clippedStats(View2<const T> image, View2<const MaskPixel> mask, MaskPixel badBits, double numSigma,
                          int numIter, int subsample) {
    StatisticsControl control;
    control.setNumSigmaClip(numSigma);
    control.setNumIter(numIter);
    control.setAndMask(badBits);
    const Subsampled<T> s(image, mask, subsample);
    const Statistics stats = computeStatistics(s.samples, MEDIAN | MEANCLIP | STDEVCLIP, control);
    return {stats.getValue(MEDIAN), stats.getValue(MEANCLIP), stats.getValue(STDEVCLIP), stats.nUsed()};
}

template <typename T>
double robustSigma(View2<const T> image, View2<const MaskPixel> mask, MaskPixel badBits, int subsample) {
    StatisticsControl control;
    control.setAndMask(badBits);
    const Subsampled<T> s(image, mask, subsample);
    if (s.samples.image.size() >= stats_detail::STREAM_PIXELS) {
        const stats_detail::PixelStream<T> stream(s.samples, badBits);
        return SCALE * stream.deviationQuantiles(stream.quantiles({0.5})[0], {0.5})[0];
    }
    const stats_detail::Gathered<T> g = stats_detail::gather(s.samples, control, stats_detail::GatherOptions());
    if (g.n == 0) return std::numeric_limits<double>::quiet_NaN();
    const double median = quantiles(g.x.get(), g.n, {0.5})[0];
    stats_detail::Buffer<double> deviation;
    deviation.allocate(g.n);
    const std::size_t chunk = 1 << 16;
    parallelFor(static_cast<int>((g.n + chunk - 1) / chunk), [&](int c) {
        const std::size_t begin = static_cast<std::size_t>(c) * chunk, end = std::min(g.n, begin + chunk);
        for (std::size_t i = begin; i < end; ++i) deviation.get()[i] = std::fabs(static_cast<double>(g.x.get()[i]) - median);
    });
    return SCALE * quantiles(static_cast<const double*>(deviation.get()), g.n, {0.5})[0];
}

#define STILLSKY_INSTANTIATE(T)                                                                                   \
    template ClippedStats clippedStats<T>(View2<const T>, View2<const MaskPixel>, MaskPixel, double, int, int); \
    template double robustSigma<T>(View2<const T>, View2<const MaskPixel>, MaskPixel, int);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stillsky
