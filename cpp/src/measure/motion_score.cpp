#include "stillsky/measure/motion_score.hpp"

#include <algorithm>
#include <limits>

#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int SOURCES_PER_BLOCK = 64;

template <typename T>
MotionScoreResult scoreOne(MeasureInput<T> const& input, View2<const double> stamp, int x0, int y0) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    double zx = 0, zy = 0, xx = 0, yy = 0, xy = 0;
    const int jEnd = std::min(stamp.height - 1, input.image.height - y0);
    const int iEnd = std::min(stamp.width - 1, input.image.width - x0);
    for (int j = std::max(1, -y0); j < jEnd; ++j) {
        for (int i = std::max(1, -x0); i < iEnd; ++i) {
            double d, v;
            if (!input.pixel(x0 + i, y0 + j, d, v)) continue;
            const double gx = 0.5 * (stamp(i + 1, j) - stamp(i - 1, j)), gy = 0.5 * (stamp(i, j + 1) - stamp(i, j - 1));
            const double wx = gx / v, wy = gy / v;
            zx += wx * d, zy += wy * d;
            xx += wx * gx, yy += wy * gy, xy += wx * gy;
        }
    }
    const double det = xx * yy - xy * xy;
    if (!(det > 1e-9 * xx * yy)) return {nan, zx, zy};
    return {(yy * zx * zx - 2 * xy * zx * zy + xx * zy * zy) / det, zx, zy};
}

}  // namespace

template <typename T>
std::vector<MotionScoreResult> motionScore(MeasureInput<T> const& input, StampStack const& stamps,
                                           std::vector<int> const& x0, std::vector<int> const& y0) {
    const int n = static_cast<int>(x0.size());
    if (y0.size() != x0.size() || (stamps.n != n && stamps.n != 1)) {
        throw ShapeError("motionScore: wanted one origin per source, and one stamp per source or one for all");
    }
    std::vector<MotionScoreResult> out(x0.size());
    parallelFor((n + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        const int end = std::min(n, (block + 1) * SOURCES_PER_BLOCK);
        for (int i = block * SOURCES_PER_BLOCK; i < end; ++i) {
            const auto at = static_cast<std::size_t>(i);
            out[at] = scoreOne(input, stamps[at], x0[at], y0[at]);
        }
    });
    return out;
}

template std::vector<MotionScoreResult> motionScore<float>(MeasureInput<float> const&, StampStack const&,
                                                           std::vector<int> const&, std::vector<int> const&);
template std::vector<MotionScoreResult> motionScore<double>(MeasureInput<double> const&, StampStack const&,
                                                            std::vector<int> const&, std::vector<int> const&);

}  // namespace stillsky
