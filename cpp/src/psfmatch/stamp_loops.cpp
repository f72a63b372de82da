#include "stamp_loops.hpp"

#include "simd8.hpp"

namespace stillsky {
namespace stamp_loops {
namespace {

using simd::at;
using simd::Eight;
using simd::Four;
using simd::kLanes;
using simd::load;
using simd::wideRegisters;

// Tiles of accumulators fill the registers: 32 of 8 doubles with AVX-512, 16 of 4 with AVX2.
constexpr int kRows = 4;  // output rows that share each load

// Row jj of the input, loaded once and used by the output rows FIRST..LAST of the tile (those whose kernel reaches
// it). `kernel` points at the tap of output row 0 for input row jj.
template <typename S, int NX, int FIRST, int LAST>
STILLSKY_INLINE void useRow(double const* in, double const* kernel, std::ptrdiff_t kernelStride, typename S::V (*acc)[NX]) {
    typename S::V value[NX];
    for (int v = 0; v < NX; ++v) value[v] = load<S>(in + v * S::lanes);
    for (int r = FIRST; r <= LAST; ++r) {
        const double tap = kernel[-r * kernelStride];
        for (int v = 0; v < NX; ++v) acc[r][v] += tap * value[v];
    }
}

// NX vectors by kRows rows, kh >= kRows: the first and last rows of the input reach part of the tile only.
template <typename S, int NX>
STILLSKY_INLINE void correlateTile(double const* in, std::ptrdiff_t inStride, double const* kernel,
                                   std::ptrdiff_t kernelStride, int kw, int kh, double* out,
                                   std::ptrdiff_t outStride) {
    typename S::V acc[kRows][NX] = {};
    for (int i = 0; i < kw; ++i) {
        double const* p = in + i;
        double const* k = kernel + i;
        useRow<S, NX, 0, 0>(p, k, kernelStride, acc);
        useRow<S, NX, 0, 1>(p + inStride, k + kernelStride, kernelStride, acc);
        useRow<S, NX, 0, 2>(p + 2 * inStride, k + 2 * kernelStride, kernelStride, acc);
        for (int jj = kRows - 1; jj < kh; ++jj) {
            useRow<S, NX, 0, 3>(p + jj * inStride, k + jj * kernelStride, kernelStride, acc);
        }
        useRow<S, NX, 1, 3>(p + kh * inStride, k + kh * kernelStride, kernelStride, acc);
        useRow<S, NX, 2, 3>(p + (kh + 1) * inStride, k + (kh + 1) * kernelStride, kernelStride, acc);
        useRow<S, NX, 3, 3>(p + (kh + 2) * inStride, k + (kh + 2) * kernelStride, kernelStride, acc);
    }
    for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < NX; ++v) at<S>(out + r * outStride + v * S::lanes) = acc[r][v];
    }
}

// One output row.
template <typename S, int NX>
STILLSKY_INLINE void correlateRow(double const* in, std::ptrdiff_t inStride, double const* kernel,
                                  std::ptrdiff_t kernelStride, int kw, int kh, double* out) {
    typename S::V acc[NX] = {};
    for (int j = 0; j < kh; ++j) {
        for (int i = 0; i < kw; ++i) {
            const double tap = kernel[j * kernelStride + i];
            for (int v = 0; v < NX; ++v) acc[v] += tap * load<S>(in + j * inStride + i + v * S::lanes);
        }
    }
    for (int v = 0; v < NX; ++v) at<S>(out + v * S::lanes) = acc[v];
}

template <typename S, int NX>
STILLSKY_INLINE void correlateStrip(double const* in, std::ptrdiff_t inStride, double const* kernel,
                                    std::ptrdiff_t kernelStride, int kw, int kh, double* out,
                                    std::ptrdiff_t outStride, int outH) {
    int y = 0;
    for (; kh >= kRows && y + kRows <= outH; y += kRows) {
        correlateTile<S, NX>(in + y * inStride, inStride, kernel, kernelStride, kw, kh, out + y * outStride, outStride);
    }
    for (; y < outH; ++y) {
        correlateRow<S, NX>(in + y * inStride, inStride, kernel, kernelStride, kw, kh, out + y * outStride);
    }
}

// NF row filters on NX vectors: every input vector feeds NF accumulators.
template <typename S, int NX, int NF>
STILLSKY_INLINE void rowFilters(double const* in, double const* taps, int n, double* out, std::ptrdiff_t plane) {
    typename S::V acc[NF][NX] = {};
    for (int i = 0; i < n; ++i) {
        typename S::V value[NX];
        for (int v = 0; v < NX; ++v) value[v] = load<S>(in + i + v * S::lanes);
        for (int f = 0; f < NF; ++f) {
            for (int v = 0; v < NX; ++v) acc[f][v] += taps[f * n + i] * value[v];
        }
    }
    for (int f = 0; f < NF; ++f) {
        for (int v = 0; v < NX; ++v) at<S>(out + f * plane + v * S::lanes) = acc[f][v];
    }
}

template <typename S, int NX>
STILLSKY_INLINE void rowFilterStrip(double const* in, std::ptrdiff_t inStride, double const* taps, int n, int nFilters,
                                    double* out, std::ptrdiff_t outStride, std::ptrdiff_t plane, int height) {
    int f = 0;
    for (; f + 4 <= nFilters; f += 4) {
        for (int y = 0; y < height; ++y) {
            rowFilters<S, NX, 4>(in + y * inStride, taps + f * n, n, out + f * plane + y * outStride, plane);
        }
    }
    for (; f < nFilters; ++f) {
        for (int y = 0; y < height; ++y) {
            rowFilters<S, NX, 1>(in + y * inStride, taps + f * n, n, out + f * plane + y * outStride, plane);
        }
    }
}

// NI x NJ columns at a time; 4 x 2 are 8 accumulators for 6 loads.
template <typename S, int NI, int NJ>
STILLSKY_INLINE void gramTile(double const* a, double const* b, std::ptrdiff_t stride, int n, double* gram, int p) {
    typename S::V acc[NI][NJ] = {};
    for (int k = 0; k < n; k += S::lanes) {
        for (int i = 0; i < NI; ++i) {
            for (int j = 0; j < NJ; ++j) acc[i][j] += load<S>(a + i * stride + k) * load<S>(b + j * stride + k);
        }
    }
    for (int i = 0; i < NI; ++i) {
        for (int j = 0; j < NJ; ++j) gram[i * p + j] = simd::sumOf(acc[i][j]);
    }
}

// A tile on the diagonal may fill some elements below it, which are not part of the result.
template <typename S, int NI>
STILLSKY_INLINE void gramTiles(double const* a, double const* b, std::ptrdiff_t stride, int n, int p, double* gram) {
    int i = 0;
    for (; i + NI <= p; i += NI) {
        int j = i;
        for (; j + 2 <= p; j += 2) gramTile<S, NI, 2>(a + i * stride, b + j * stride, stride, n, gram + i * p + j, p);
        for (; j < p; ++j) gramTile<S, NI, 1>(a + i * stride, b + j * stride, stride, n, gram + i * p + j, p);
    }
    for (; i < p; ++i) {
        for (int j = i; j < p; ++j) gramTile<S, 1, 1>(a + i * stride, b + j * stride, stride, n, gram + i * p + j, p);
    }
}

template <typename S, int NI>
STILLSKY_INLINE void dots(double const* a, std::ptrdiff_t stride, double const* v, int n, double* out) {
    typename S::V acc[NI] = {};
    for (int k = 0; k < n; k += S::lanes) {
        for (int r = 0; r < NI; ++r) acc[r] += load<S>(a + r * stride + k) * load<S>(v + k);
    }
    for (int r = 0; r < NI; ++r) out[r] = simd::sumOf(acc[r]);
}

}  // namespace

STILLSKY_SIMD
void correlate(double const* in, std::ptrdiff_t inStride, double const* kernel, std::ptrdiff_t kernelStride, int kw,
               int kh, double* out, std::ptrdiff_t outStride, int outW, int outH) {
    int left = simd::padded(outW) / kLanes, x = 0;
    if (!wideRegisters()) {
        for (; left > 0; --left, x += kLanes) {
            correlateStrip<Four, 2>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
        }
        return;
    }
    for (; left >= 3; left -= 3, x += 3 * kLanes) {
        correlateStrip<Eight, 3>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
    }
    if (left == 2) correlateStrip<Eight, 2>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
    if (left == 1) correlateStrip<Eight, 1>(in + x, inStride, kernel, kernelStride, kw, kh, out + x, outStride, outH);
}

STILLSKY_SIMD
void correlateRows(double const* in, std::ptrdiff_t inStride, double const* taps, int n, int nFilters, double* out,
                   std::ptrdiff_t outStride, std::ptrdiff_t plane, int outW, int outH) {
    int left = simd::padded(outW) / kLanes, x = 0;
    if (!wideRegisters()) {
        for (; left > 0; --left, x += kLanes) {
            rowFilterStrip<Four, 2>(in + x, inStride, taps, n, nFilters, out + x, outStride, plane, outH);
        }
        return;
    }
    for (; left >= 3; left -= 3, x += 3 * kLanes) {
        rowFilterStrip<Eight, 3>(in + x, inStride, taps, n, nFilters, out + x, outStride, plane, outH);
    }
    for (; left > 0; --left, x += kLanes) {
        rowFilterStrip<Eight, 1>(in + x, inStride, taps, n, nFilters, out + x, outStride, plane, outH);
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
    if (wideRegisters()) {
        gramTiles<Eight, 4>(a, b, stride, n, p, gram);
    } else {
        gramTiles<Four, 4>(a, b, stride, n, p, gram);
    }
}

STILLSKY_SIMD
void dotColumns(double const* a, std::ptrdiff_t stride, double const* v, int n, int p, double* out) {
    int i = 0;
    for (; i + 4 <= p; i += 4) dots<Four, 4>(a + i * stride, stride, v, n, out + i);
    for (; i < p; ++i) dots<Four, 1>(a + i * stride, stride, v, n, out + i);
}

}  // namespace stamp_loops
}  // namespace stillsky
