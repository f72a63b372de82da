#include "stillsky/dcr/smooth.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "row_kernels.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int BLOCK_ROWS = 64;  // rows of the result per block of work
constexpr double TRUNCATE = 4;
constexpr double MAX_SIGMA = 64;

STILLSKY_SIMD void multiplyRow(const float* a, const float* b, int n, float* out) {
    const float* STILLSKY_RESTRICT pa = a;
    const float* STILLSKY_RESTRICT pb = b;
    float* STILLSKY_RESTRICT po = out;
    for (int x = 0; x < n; ++x) po[x] = pa[x] * pb[x];
}

std::vector<float> gaussianTaps(double sigma) {
    const int reach = static_cast<int>(std::ceil(TRUNCATE * sigma));
    std::vector<double> values;
    double total = 0;
    for (int i = -reach; i <= reach; ++i) {
        values.push_back(std::exp(-0.5 * i * i / (sigma * sigma)));
        total += values.back();
    }
    std::vector<float> taps;
    for (double v : values) taps.push_back(static_cast<float>(v / total));
    return taps;
}

void checkPlane(View2<const float> plane, View2<const float> in, const char* name) {
    if (plane.width == 0 && plane.height == 0) return;
    if (plane.width != in.width || plane.height != in.height) {
        throw ShapeError(std::string(name) + ": wanted " + std::to_string(in.width) + "x" + std::to_string(in.height) +
                         ", given " + std::to_string(plane.width) + "x" + std::to_string(plane.height));
    }
}

// The rows of one block; scratch is zero where no pixel is.
struct Smoother {
    View2<const float> in, before, after;
    View2<float> out;
    std::vector<float> taps;

    void operator()(int block) const {
        const int reach = static_cast<int>(taps.size()) / 2, n = in.width;
        const int y0 = block * BLOCK_ROWS, y1 = std::min(in.height, y0 + BLOCK_ROWS);
        const int stride = dcr::roundUp(n), rows = y1 - y0 + 2 * reach;
        std::vector<float> padded(static_cast<std::size_t>(stride) + 2 * reach, 0.0f);
        std::vector<float> smoothed(static_cast<std::size_t>(stride) * rows, 0.0f), line(stride);
        std::vector<const float*> sources(taps.size());
        const int nTaps = static_cast<int>(taps.size());
        for (int y = std::max(0, y0 - reach); y < std::min(in.height, y1 + reach); ++y) {
            if (before.height > 0) multiplyRow(in.row(y), before.row(y), n, padded.data() + reach);
            else std::copy_n(in.row(y), n, padded.data() + reach);
            for (int t = 0; t < nTaps; ++t) sources[t] = padded.data() + t;
            dcr::rowTaps(sources.data(), taps.data(), nTaps, n,
                         &smoothed[static_cast<std::size_t>(y - y0 + reach) * stride], false);
        }
        for (int y = y0; y < y1; ++y) {
            for (int t = 0; t < nTaps; ++t) sources[t] = &smoothed[static_cast<std::size_t>(y - y0 + t) * stride];
            dcr::rowTaps(sources.data(), taps.data(), nTaps, n, line.data(), false);
            if (after.height > 0) multiplyRow(line.data(), after.row(y), n, out.row(y));
            else std::copy_n(line.data(), n, out.row(y));
        }
    }
};

}  // namespace

void smoothWeighted(View2<const float> in, double sigma, View2<const float> before, View2<const float> after,
                    View2<float> out) {
    if (!(sigma > 0) || sigma > MAX_SIGMA) {
        throw DomainError("sigma: wanted more than 0 and at most 64 pixels, given " + std::to_string(sigma));
    }
    checkPlane(before, in, "before");
    checkPlane(after, in, "after");
    checkPlane(View2<const float>(out), in, "out");
    const Smoother smoother{in, before, after, out, gaussianTaps(sigma)};
    parallelFor((in.height + BLOCK_ROWS - 1) / BLOCK_ROWS, [&](int block) { smoother(block); });
}

}  // namespace stillsky
