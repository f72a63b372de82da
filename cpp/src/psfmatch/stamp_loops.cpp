#include "stamp_loops.hpp"

#include "simd8.hpp"

namespace stillsky {
namespace stamp_loops {
namespace {

using simd::at;
using simd::kLanes;
using simd::load;
using simd::V8;

// Tiles of accumulators fill the registers: 32 of 8 doubles with AVX-512, 16 of 4 with AVX2, where larger tiles would
// spill at every step.
bool wideRegisters() {
#if STILLSKY_HAS_SIMD
    static const bool wide = __builtin_cpu_supports("avx512f") != 0;
    return wide;
#else
    return false;
#endif
}

constexpr int kRows = 4;  // output rows that share each load

// Rows jj of the input, each loaded once and used by the output rows FIRST..LAST of the tile (those whose kernel
// reaches it). `kernel` points at the tap of output row 0 for input row jj.
template <int NX, int FIRST, int LAST>
STILLSKY_INLINE void useRow(double const* in, double const* kernel, std::ptrdiff_t kernelStride, V8 (*acc)[NX]) {
    V8 value[NX];
    for (int v = 0; v < NX; ++v) value[v] = load(in + v * kLanes);
    for (int r = FIRST; r <= LAST; ++r) {
        const double tap = kernel[-r * kernelStride];
        for (int v = 0; v < NX; ++v) acc[r][v] += tap * value[v];
    }
}

// NX vectors by kRows rows, kh >= kRows: the first and last rows of the input reach part of the tile only.
template <int NX>
STILLSKY_INLINE void correlateTile(double const* in, std::ptrdiff_t inStride, double const* kernel,
                                   std::ptrdiff_t kernelStride, int kw, int kh, double* out,
                                   std::ptrdiff_t outStride) {
    V8 acc[kRows][NX] = {};
    for (int i = 0; i < kw; ++i) {
        double const* p = in + i;
        double const* k = kernel + i;
        useRow<NX, 0, 0>(p, k, kernelStride, acc);
        useRow<NX, 0, 1>(p + inStride, k + kernelStride, kernelStride, acc);
        useRow<NX, 0, 2>(p + 2 * inStride, k + 2 * kernelStride, kernelStride, acc);
        for (int jj = kRows - 1; jj < kh; ++jj) {
            useRow<NX, 0, 3>(p + jj * inStride, k + jj * kernelStride, kernelStride, acc);
        }
        useRow<NX, 1, 3>(p + kh * inStride, k + kh * kernelStride, kernelStride, acc);
        useRow<NX, 2, 3>(p + (kh + 1) * inStride, k + (kh + 1) * kernelStride, kernelStride, acc);
        useRow<NX, 3, 3>(p + (kh + 2) * inStride, k + (kh + 2) * kernelStride, kernelStride, acc);
    }
    for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < NX; ++v) at(out + r * outStride + v * kLanes) = acc[r][v];
    }
}

// One output row.
template <int NX>
STILLSKY_INLINE void correlateRow(double const* in, std::ptrdiff_t inStride, double const* kernel,
                                  std::ptrdiff_t kernelStride, int kw, int kh, double* out) {
    V8 acc[NX] = {};
    for (int j = 0; j < kh; ++j) {
        for (int i = 0; i < kw; ++i) {
            const double tap = kernel[j * kernelStride + i];
            for (int v = 0; v < NX; ++v) acc[v] += tap * load(in + j * inStride + i + v * kLanes);
        }
    }
    for (int v = 0; v < NX; ++v) at(out + v * kLanes) = acc[v];
}

template <int NX>
STILLSKY_INLINE void correlateStrip(double const* in, std::ptrdiff_t inStride, double const* kernel,
                                    std::ptrdiff_t kernelStride, int kw, int kh, double* out,
                                    std::ptrdiff_t outStride, int outH) {
    int y = 0;
    for (; kh >= kRows && y + kRows <= outH; y += kRows) {
        correlateTile<NX>(in + y * inStride, inStride, kernel, kernelStride, kw, kh, out + y * outStride, outStride);
    }
    for (; y < outH; ++y) {
        correlateRow<NX>(in + y * inStride, inStride, kernel, kernelStride, kw, kh, out + y * outStride);
    }
}

// NF row filters on NX vectors: every input vector feeds NF accumulators.
template <int NX, int NF>
STILLSKY_INLINE void rowFilters(double const* in, double const* taps, int n, double* out, std::ptrdiff_t plane) {
    V8 acc[NF][NX] = {};
    for (int i = 0; i < n; ++i) {
        V8 value[NX];
        for (int v = 0; v < NX; ++v) value[v] = load(in + i + v * kLanes);
        for (int f = 0; f < NF; ++f) {
            for (int v = 0; v < NX; ++v) acc[f][v] += taps[f * n + i] * value[v];
        }
    }
    for (int f = 0; f < NF; ++f) {
        for (int v = 0; v < NX; ++v) at(out + f * plane + v * kLanes) = acc[f][v];
    }
}

template <int NX>
STILLSKY_INLINE void rowFilterStrip(double const* in, std::ptrdiff_t inStride, double const* taps, int n, int nFilters,
                                    double* out, std::ptrdiff_t outStride, std::ptrdiff_t plane, int height) {
    int f = 0;
    for (; f + 4 <= nFilters; f += 4) {
        for (int y = 0; y < height; ++y) {
            rowFilters<NX, 4>(in + y * inStride, taps + f * n, n, out + f * plane + y * outStride, plane);
        }
    }
    for (; f < nFilters; ++f) {
        for (int y = 0; y < height; ++y) {
            rowFilters<NX, 1>(in + y * inStride, taps + f * n, n, out + f * plane + y * outStride, plane);
        }
    }
}

// NI x NJ columns at a time; 4 x 2 are 8 accumulators for 6 loads.
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

template <int NI>
STILLSKY_INLINE void gramTiles(double const* a, double const* b, std::ptrdiff_t stride, int n, int p, double* gram) {
    int i = 0;
    for (; i + NI <= p; i += NI) {
        int j = i;
        for (; j + 2 <= p; j += 2) gramTile<NI, 2>(a + i * stride, b + j * stride, stride, n, gram + i * p + j, p);
        for (; j < p; ++j) gramTile<NI, 1>(a + i * stride, b + j * stride, stride, n, gram + i * p + j, p);
    }
    for (; i < p; ++i) {
        for (int j = i; j < p; ++j) gramTile<1, 1>(a + i * stride, b + j * stride, stride, n, gram + i * p + j, p);
    }
}

}  // namespace

STILLSKY_SIMD
void correlate(double const* in, std::ptrdiff_t inStride, double const* kernel, std::ptrdiff_t kernelStride, int kw,
               int kh, double* out, std::ptrdiff_t outStride, int outW, int outH) {
    int left = simd::padded(outW) / kLanes;
    int x = 0;
    if (wideRegisters()) {
        for (; left >= 3; left -= 3, x += 3 * kLanes) {
            correlateStrip<3>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
        }
        if (left == 2) correlateStrip<2>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
        if (left == 2) return;
    }
    for (; left >= 1; --left, x += kLanes) {
        correlateStrip<1>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
    }
}

STILLSKY_SIMD
void correlateRows(double const* in, std::ptrdiff_t inStride, double const* taps, int n, int nFilters, double* out,
                   std::ptrdiff_t outStride, std::ptrdiff_t plane, int outW, int outH) {
    int left = simd::padded(outW) / kLanes;
    int x = 0;
    if (wideRegisters()) {
        for (; left >= 3; left -= 3, x += 3 * kLanes) {
            rowFilterStrip<3>(in + x, inStride, taps, n, nFilters, out + x, outStride, plane, outH);
        }
    }
    for (; left >= 1; --left, x += kLanes) {
        rowFilterStrip<1>(in + x, inStride, taps, n, nFilters, out + x, outStride, plane, outH);
    }
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
    // A tile on the diagonal may fill some elements below it, which are not part of the result.
    if (wideRegisters()) {
        gramTiles<4>(a, b, stride, n, p, gram);
    } else {
        gramTiles<2>(a, b, stride, n, p, gram);
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
