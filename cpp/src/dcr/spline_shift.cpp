#include "stillsky/dcr/spline_shift.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "spline_taps.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

using dcr::mirrored;
using dcr::REACH;
using dcr::SplineTaps;

constexpr int STRIP = 16;       // lines filtered side by side
constexpr int BLOCK_ROWS = 64;  // rows of the result per block of work
constexpr double CUBIC_POLE = -0.26794919243112270647;  // sqrt(3) - 2

// Recursive filter of `n` samples of STRIP lines that lie side by side: line[i * STRIP + l].
// Unser et al. (1993), part I, Eqs. 2.5 and 2.6, with the sums of the mirrored start written out.
template <typename T>
STILLSKY_INLINE void cubicFilterBody(T* STILLSKY_RESTRICT line, int n) {
    const T z = static_cast<T>(CUBIC_POLE), gain = static_cast<T>((1 - CUBIC_POLE) * (1 - 1 / CUBIC_POLE));
    T start[STRIP];
    for (int l = 0; l < STRIP; ++l) start[l] = line[l];
    const double zEnd = std::pow(CUBIC_POLE, n - 1);
    for (int l = 0; l < STRIP; ++l) start[l] += static_cast<T>(zEnd) * line[(n - 1) * STRIP + l];
    double power = CUBIC_POLE, back = zEnd * zEnd / CUBIC_POLE;  // z^i and z^(2n - 2 - i)
    for (int i = 1; i < n - 1 && std::fabs(power) > 1e-17; ++i) {
        const T w = static_cast<T>(power + back);
        for (int l = 0; l < STRIP; ++l) start[l] += w * line[i * STRIP + l];
        power *= CUBIC_POLE;
        back /= CUBIC_POLE;
    }
    const T scale = static_cast<T>(1 / (1 - zEnd * zEnd));
    for (int l = 0; l < STRIP; ++l) line[l] = start[l] * scale * gain;
    for (int i = 1; i < n; ++i) {
        for (int l = 0; l < STRIP; ++l) line[i * STRIP + l] = gain * line[i * STRIP + l] + z * line[(i - 1) * STRIP + l];
    }
    const T end = static_cast<T>(CUBIC_POLE / (CUBIC_POLE * CUBIC_POLE - 1));
    for (int l = 0; l < STRIP; ++l) {
        line[(n - 1) * STRIP + l] = end * (line[(n - 1) * STRIP + l] + z * line[(n - 2) * STRIP + l]);
    }
    for (int i = n - 2; i >= 0; --i) {
        for (int l = 0; l < STRIP; ++l) line[i * STRIP + l] = z * (line[(i + 1) * STRIP + l] - line[i * STRIP + l]);
    }
}

STILLSKY_SIMD void cubicFilter(float* line, int n) { cubicFilterBody(line, n); }
STILLSKY_SIMD void cubicFilter(double* line, int n) { cubicFilterBody(line, n); }

// The filter A^-1 is D^-1-similar to a symmetric one with D = diag(1/2, 1 .. 1, 1/2): A^-T = D A^-1 D^-1.
template <typename T>
void filterStrip(std::vector<T>& strip, int n, bool adjoint) {
    if (n < 2) return;
    const auto scaleEnds = [&](T factor) {
        for (int l = 0; l < STRIP; ++l) {
            strip[l] *= factor;
            strip[(n - 1) * STRIP + l] *= factor;
        }
    };
    if (adjoint) scaleEnds(2);
    cubicFilter(strip.data(), n);
    if (adjoint) scaleEnds(static_cast<T>(0.5));
}

template <typename T>
void prefilterColumns(View2<T> image, bool adjoint) {
    const int n = image.height;
    parallelFor((image.width + STRIP - 1) / STRIP, [&](int block) {
        const int x0 = block * STRIP, w = std::min(STRIP, image.width - x0);
        std::vector<T> strip(static_cast<std::size_t>(n) * STRIP, T(0));
        for (int y = 0; y < n; ++y) std::copy_n(image.row(y) + x0, w, &strip[static_cast<std::size_t>(y) * STRIP]);
        filterStrip(strip, n, adjoint);
        for (int y = 0; y < n; ++y) std::copy_n(&strip[static_cast<std::size_t>(y) * STRIP], w, image.row(y) + x0);
    });
}

template <typename T>
void prefilterRows(View2<T> image, bool adjoint) {
    const int n = image.width;
    parallelFor((image.height + STRIP - 1) / STRIP, [&](int block) {
        const int y0 = block * STRIP, h = std::min(STRIP, image.height - y0);
        std::vector<T> strip(static_cast<std::size_t>(n) * STRIP, T(0));
        for (int l = 0; l < h; ++l) {
            const T* row = image.row(y0 + l);
            for (int x = 0; x < n; ++x) strip[static_cast<std::size_t>(x) * STRIP + l] = row[x];
        }
        filterStrip(strip, n, adjoint);
        for (int l = 0; l < h; ++l) {
            T* row = image.row(y0 + l);
            for (int x = 0; x < n; ++x) row[x] = strip[static_cast<std::size_t>(x) * STRIP + l];
        }
    });
}

template <typename T>
void checkSizes(View2<const T> in, View2<T> out) {
    if (in.width != out.width || in.height != out.height) {
        throw ShapeError("shift: wanted an output of " + std::to_string(in.width) + "x" + std::to_string(in.height) +
                         ", given " + std::to_string(out.width) + "x" + std::to_string(out.height));
    }
}

// sum[x] += w * row[x]
template <typename T>
STILLSKY_INLINE void addRowBody(double* STILLSKY_RESTRICT sum, const T* STILLSKY_RESTRICT row, double w, int n) {
    for (int x = 0; x < n; ++x) sum[x] += w * static_cast<double>(row[x]);
}
STILLSKY_SIMD void addRow(double* sum, const float* row, double w, int n) { addRowBody(sum, row, w, n); }
STILLSKY_SIMD void addRow(double* sum, const double* row, double w, int n) { addRowBody(sum, row, w, n); }

template <typename T>
void putRow(const double* values, int n, double factor, bool accumulate, T* out) {
    if (accumulate) {
        for (int x = 0; x < n; ++x) out[x] = static_cast<T>(static_cast<double>(out[x]) + factor * values[x]);
    } else {
        for (int x = 0; x < n; ++x) out[x] = static_cast<T>(factor * values[x]);
    }
}

template <typename T, typename F>
void overRows(View2<T> out, F const& rowOf, double factor, bool accumulate) {
    parallelFor((out.height + BLOCK_ROWS - 1) / BLOCK_ROWS, [&](int block) {
        std::vector<double> result(out.width), scratch(static_cast<std::size_t>(out.width) + 2 * REACH + 8);
        const int y1 = std::min(out.height, (block + 1) * BLOCK_ROWS);
        for (int y = block * BLOCK_ROWS; y < y1; ++y) {
            std::fill(result.begin(), result.end(), 0.0);
            rowOf(y, result, scratch);
            putRow(result.data(), out.width, factor, accumulate, out.row(y));
        }
    });
}

}  // namespace

template <typename T>
void prefilterSpline(View2<T> image, int order, bool adjoint) {
    dcr::checkOrder(order);
    if (order == 1 || image.empty()) return;
    prefilterColumns(image, adjoint);
    prefilterRows(image, adjoint);
}

template <typename T>
void shiftSpline(View2<const T> in, PixelShift shift, int order, View2<T> out, double factor, bool accumulate) {
    checkSizes(in, out);
    const int width = in.width, height = in.height;
    const SplineTaps ty = dcr::splineTaps(shift.dy, order, height), tx = dcr::splineTaps(shift.dx, order, width);
    overRows(out, [&](int y, std::vector<double>& result, std::vector<double>& scratch) {
        if (y < ty.begin || y >= ty.end || tx.begin >= tx.end) return;
        std::fill(scratch.begin(), scratch.end(), 0.0);
        double* mixed = scratch.data() + REACH;  // columns -REACH .. width + REACH - 1 of the rows mixed
        for (int t = 0; t < ty.n; ++t) addRow(mixed, in.row(mirrored(y + ty.first + t, height)), ty.weight[t], width);
        for (int i = 1; i <= REACH; ++i) {
            mixed[-i] = mixed[mirrored(-i, width)];
            mixed[width - 1 + i] = mixed[mirrored(width - 1 + i, width)];
        }
        for (int t = 0; t < tx.n; ++t) {
            addRow(result.data() + tx.begin, mixed + tx.begin + tx.first + t, tx.weight[t], tx.end - tx.begin);
        }
    }, factor, accumulate);
}

template <typename T>
void shiftSplineAdjoint(View2<const T> in, PixelShift shift, int order, View2<T> out, double factor, bool accumulate) {
    checkSizes(in, out);
    const int width = in.width, height = in.height;
    const SplineTaps ty = dcr::splineTaps(shift.dy, order, height), tx = dcr::splineTaps(shift.dx, order, width);
    const int n = tx.end - tx.begin;
    overRows(out, [&](int y, std::vector<double>& result, std::vector<double>& scratch) {
        if (n <= 0) return;
        std::vector<double> mixed(n, 0.0);
        const auto gather = [&](int row) {  // what the coefficients of that row, mirrored ones too, were used for
            for (int t = 0; t < ty.n; ++t) {
                const int source = row - ty.first - t;
                if (source >= ty.begin && source < ty.end) addRow(mixed.data(), in.row(source) + tx.begin, ty.weight[t], n);
            }
        };
        gather(y);
        for (int i = 1; i <= REACH; ++i) {
            if (mirrored(-i, height) == y) gather(-i);
            if (mirrored(height - 1 + i, height) == y) gather(height - 1 + i);
        }
        std::fill(scratch.begin(), scratch.end(), 0.0);
        double* spread = scratch.data() + REACH;
        for (int t = 0; t < tx.n; ++t) addRow(spread + tx.begin + tx.first + t, mixed.data(), tx.weight[t], n);
        std::copy_n(spread, width, result.begin());
        for (int i = 1; i <= REACH; ++i) {
            result[mirrored(-i, width)] += spread[-i];
            result[mirrored(width - 1 + i, width)] += spread[width - 1 + i];
        }
    }, factor, accumulate);
}

#define STILLSKY_INSTANTIATE(T)                                                                       \
    template void prefilterSpline<T>(View2<T>, int, bool);                                            \
    template void shiftSpline<T>(View2<const T>, PixelShift, int, View2<T>, double, bool);            \
    template void shiftSplineAdjoint<T>(View2<const T>, PixelShift, int, View2<T>, double, bool);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)

}  // namespace stillsky
