#include "stamp_loops.hpp"

#include "simd8.hpp"

namespace stillsky {
namespace stamp_loops {
namespace {

using simd::at;
using simd::kLanes;
using simd::load;
using simd::V8;

constexpr int kRows = 4;  // output rows that share each load

// One tile of NX vectors by NY rows: every input vector feeds NY accumulators.
template <int NX, int NY>
STILLSKY_INLINE void correlateTile(double const* in, std::ptrdiff_t inStride, double const* kernel,
                                   std::ptrdiff_t kernelStride, int kw, int kh, double* out,
                                   std::ptrdiff_t outStride) {
    V8 acc[NY][NX] = {};
    for (int j = 0; j < kh; ++j) {
        for (int i = 0; i < kw; ++i) {
            const double tap = kernel[j * kernelStride + i];
            for (int r = 0; r < NY; ++r) {
                for (int v = 0; v < NX; ++v) acc[r][v] += tap * load(in + (j + r) * inStride + i + v * kLanes);
            }
        }
    }
    for (int r = 0; r < NY; ++r) {
        for (int v = 0; v < NX; ++v) at(out + r * outStride + v * kLanes) = acc[r][v];
    }
}

template <int NX>
STILLSKY_INLINE void correlateStrip(double const* in, std::ptrdiff_t inStride, double const* kernel,
                                    std::ptrdiff_t kernelStride, int kw, int kh, double* out,
                                    std::ptrdiff_t outStride, int outH) {
    int y = 0;
    for (; y + kRows <= outH; y += kRows) {
        correlateTile<NX, kRows>(in + y * inStride, inStride, kernel, kernelStride, kw, kh, out + y * outStride,
                                 outStride);
    }
    for (; y < outH; ++y) {
        correlateTile<NX, 1>(in + y * inStride, inStride, kernel, kernelStride, kw, kh, out + y * outStride, outStride);
    }
}

// 4 x 2 columns at a time: 8 accumulators for 6 loads.
template <int NI, int NJ>
STILLSKY_INLINE void gramTile(double const* a, double const* b, std::ptrdiff_t stride, int n, double* gram, int p) {
    V8 acc[NI][NJ] = {};
    for (int k = 0; k < n; k += kLanes) {
        for (int i = 0; i < NI; ++i) {
            for (int j = 0; j < NJ; ++j) acc[i][j] += load(a + i * stride + k) * load(b + j * stride + k);
        }
    }
    for (int i = 0; i < NI; ++i) {
        for (int j = 0; j < NJ; ++j) gram[i * p + j] = simd::sumOf(acc[i][j]);
    }
}

}  // namespace

STILLSKY_SIMD
void correlate(double const* in, std::ptrdiff_t inStride, double const* kernel, std::ptrdiff_t kernelStride, int kw,
               int kh, double* out, std::ptrdiff_t outStride, int outW, int outH) {
    int left = simd::padded(outW) / kLanes;
    int x = 0;
    for (; left >= 3; left -= 3, x += 3 * kLanes) {
        correlateStrip<3>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
    }
    if (left == 2) correlateStrip<2>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
    if (left == 1) correlateStrip<1>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
}

void correlateRows(double const* in, std::ptrdiff_t inStride, double const* taps, int n, double* out,
                   std::ptrdiff_t outStride, int outW, int outH) {
    correlate(in, inStride, taps, n, n, 1, out, outStride, outW, outH);
}

void correlateColumns(double const* in, std::ptrdiff_t inStride, double const* taps, int n, double* out,
                      std::ptrdiff_t outStride, int outW, int outH) {
    correlate(in, inStride, taps, 1, 1, n, out, outStride, outW, outH);
}

STILLSKY_SIMD
void scaleAndSubtract(double* out, double scale, double const* other, double subtract, int n) {
    for (int k = 0; k < n; ++k) out[k] = scale * out[k] - subtract * other[k];
}

STILLSKY_SIMD
void weightColumns(double const* in, std::ptrdiff_t stride, double const* weight, double* out, int n, int p) {
    for (int i = 0; i < p; ++i) {
        double const* STILLSKY_RESTRICT from = in + i * stride;
        double* STILLSKY_RESTRICT to = out + i * stride;
        for (int k = 0; k < n; ++k) to[k] = from[k] * weight[k];
    }
}

STILLSKY_SIMD
void gramUpper(double const* a, double const* b, std::ptrdiff_t stride, int n, int p, double* gram) {
    // Tiles start at multiples of 4 rows and 2 columns; a tile on the diagonal may fill some elements below it, which
    // are written before the diagonal's own row and are not part of the result.
    int i = 0;
    for (; i + 4 <= p; i += 4) {
        int j = i;
        for (; j + 2 <= p; j += 2) gramTile<4, 2>(a + i * stride, b + j * stride, stride, n, gram + i * p + j, p);
        for (; j < p; ++j) gramTile<4, 1>(a + i * stride, b + j * stride, stride, n, gram + i * p + j, p);
    }
    for (; i < p; ++i) {
        for (int j = i; j < p; ++j) gramTile<1, 1>(a + i * stride, b + j * stride, stride, n, gram + i * p + j, p);
    }
}

STILLSKY_SIMD
void dotColumns(double const* a, std::ptrdiff_t stride, double const* v, int n, int p, double* out) {
    int i = 0;
    for (; i + 4 <= p; i += 4) {
        V8 acc[4] = {};
        for (int k = 0; k < n; k += kLanes) {
            for (int r = 0; r < 4; ++r) acc[r] += load(a + (i + r) * stride + k) * load(v + k);
        }
        for (int r = 0; r < 4; ++r) out[i + r] = simd::sumOf(acc[r]);
    }
    for (; i < p; ++i) {
        V8 acc = {};
        for (int k = 0; k < n; k += kLanes) acc += load(a + i * stride + k) * load(v + k);
        out[i] = simd::sumOf(acc);
    }
}

}  // namespace stamp_loops
}  // namespace stillsky
