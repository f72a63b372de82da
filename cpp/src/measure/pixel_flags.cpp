#include "stillsky/measure/pixel_flags.hpp"

#include <algorithm>
#include <cmath>

#include "stillsky/core/parallel.hpp"
#include "stillsky/geom/box.hpp"

namespace stillsky {
namespace {

constexpr int SOURCES_PER_BLOCK = 256;

PixelFlagsResult flagsAt(View2<const MaskPixel> mask, double x, double y) {
    PixelFlagsResult r{0, 0, 0, true};
    if (!(x >= -0.5 && x < mask.width - 0.5 && y >= -0.5 && y < mask.height - 0.5)) return r;
    r.offImage = false;
    const int ix = positionToIndex(x), iy = positionToIndex(y);
    MaskPixel any = 0, all = ~MaskPixel(0);
    for (int j = std::max(0, iy - 1); j <= std::min(mask.height - 1, iy + 1); ++j) {
        for (int i = std::max(0, ix - 1); i <= std::min(mask.width - 1, ix + 1); ++i) {
            any |= mask(i, j);
            all &= mask(i, j);
        }
    }
    r.center = any;
    r.centerAll = all;
    return r;
}

}  // namespace

std::vector<PixelFlagsResult> pixelFlags(View2<const MaskPixel> mask, std::vector<double> const& x,
                                         std::vector<double> const& y, std::vector<SpanSet> const& footprints) {
    if (x.size() != y.size() || (!footprints.empty() && footprints.size() != x.size())) {
        throw ShapeError("pixelFlags: wanted as many y and footprints as x, got " + std::to_string(x.size()) + " x, " +
                         std::to_string(y.size()) + " y and " + std::to_string(footprints.size()) + " footprints");
    }
    const int n = static_cast<int>(x.size());
    std::vector<PixelFlagsResult> out(n);
    const Box2I box({0, 0}, {mask.width, mask.height});
    parallelFor((n + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        const int end = std::min(n, (block + 1) * SOURCES_PER_BLOCK);
        for (int i = block * SOURCES_PER_BLOCK; i < end; ++i) {
            out[i] = flagsAt(mask, x[i], y[i]);
            if (footprints.empty()) continue;
            const SpanSet inside = footprints[i].clipped(box);
            for (Span s : inside.spans()) {
                for (int k = s.x0; k <= s.x1; ++k) out[i].footprint |= mask(k, s.y);
            }
        }
    });
    return out;
}

}  // namespace stillsky
