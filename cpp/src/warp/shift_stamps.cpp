#include "stillsky/warp/shift_stamps.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "stillsky/core/config.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/warp/warping_kernel.hpp"

namespace stillsky {
namespace {

using std::size_t;
constexpr int ORDER = 5, TAPS = 2 * ORDER;
constexpr int STAMPS_PER_BLOCK = 8;
constexpr int MARGIN = ORDER + 1;  // the anchor of a shift within [-1, 1] lies within -1..1, its taps within -5..6

// Destination pixel p is the sum of taps times the source pixels p + first, p + first + 1, ...
struct Shift {
    int first = 0;
    std::array<double, TAPS> taps{};
};

Shift makeShift(WarpingKernel const& kernel, double shift) {
    Shift out;
    const double anchor = std::floor(-shift);
    kernel.weights(-shift - anchor, out.taps.data());
    double sum = 0.0;
    for (double tap : out.taps) sum += tap;
    for (double& tap : out.taps) tap /= sum;
    out.first = static_cast<int>(anchor) - kernel.center();
    return out;
}

// out[i] = sum over k of taps[k] * from[k * step + i].
STILLSKY_SIMD void weigh(double const* STILLSKY_RESTRICT from, std::ptrdiff_t step, double const* STILLSKY_RESTRICT taps, int n,
                         double* STILLSKY_RESTRICT out) {
    for (int i = 0; i < n; ++i) out[i] = taps[0] * from[i];
    for (int k = 1; k < TAPS; ++k) {
        double const* row = from + k * step;
        for (int i = 0; i < n; ++i) out[i] += taps[k] * row[i];
    }
}

class Shifter {
public:
    Shifter(int width, int height)
            : width_(width), height_(height), wide_(width + 2 * MARGIN), kernel_("lanczos5"),
              line_(static_cast<size_t>(wide_)),
              rows_(static_cast<size_t>(width) * static_cast<size_t>(height + 2 * MARGIN)) {}

    void run(double const* in, double dx, double dy, double* out) {
        double* rows = rows_.data() + MARGIN * width_;
        alongX(in, dx, dy == 0.0 ? out : rows);
        if (dy == 0.0) return;
        const Shift shift = makeShift(kernel_, dy);
        for (int j = 0; j < height_; ++j) {
            weigh(rows + (j + shift.first) * width_, width_, shift.taps.data(), width_, out + j * width_);
        }
    }

private:
    void alongX(double const* in, double dx, double* out) {
        if (dx == 0.0) {
            std::copy_n(in, width_ * height_, out);
            return;
        }
        const Shift shift = makeShift(kernel_, dx);
        for (int j = 0; j < height_; ++j) {
            std::copy_n(in + j * width_, width_, line_.data() + MARGIN);
            weigh(line_.data() + MARGIN + shift.first, 1, shift.taps.data(), width_, out + j * width_);
        }
    }

    std::ptrdiff_t width_, height_, wide_;
    WarpingKernel kernel_;
    std::vector<double> line_, rows_;  // zero in the margins
};

}  // namespace

void shiftStamps(double const* in, long long stride, int n, int width, int height, double const* dx, double const* dy,
                 double* out) {
    for (int i = 0; i < n; ++i) {
        if (!(std::fabs(dx[i]) <= 1.0 && std::fabs(dy[i]) <= 1.0)) {
            throw DomainError("shiftStamps: wanted shifts within one pixel, got (" + std::to_string(dx[i]) + ", " +
                              std::to_string(dy[i]) + ")");
        }
    }
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(width) * height;
    parallelFor((n + STAMPS_PER_BLOCK - 1) / STAMPS_PER_BLOCK, [&](int block) {
        Shifter shifter(width, height);
        const int end = std::min(n, (block + 1) * STAMPS_PER_BLOCK);
        for (int i = block * STAMPS_PER_BLOCK; i < end; ++i) {
            shifter.run(in + i * static_cast<std::ptrdiff_t>(stride), dx[i], dy[i], out + i * area);
        }
    });
}

}  // namespace stillsky
