// The loops over stamp pixels in which the kernel fit spends its time. Rows of outputs are padded to whole vectors of
// eight doubles; callers give inputs with enough columns behind each row (see each function) and ignore, or weight
// with zero, what appears in the padding.
#pragma once

#include <cstddef>

namespace stillsky {
namespace stamp_loops {

// out[y][x] = sum_{j<kh, i<kw} kernel[j][i] in[y+j][x+i] for y < outH, x < padded(outW). Rows of `in` must be readable
// to padded(outW) + kw - 1 columns. Cost kw kh outH padded(outW) multiply-adds.
void correlate(double const* in, std::ptrdiff_t inStride, double const* kernel, std::ptrdiff_t kernelStride, int kw,
               int kh, double* out, std::ptrdiff_t outStride, int outW, int outH);

// out[f * plane][y][x] = sum_i taps[f * n + i] in[y][x+i]: rows alone, several filters of n taps at once.
void correlateRows(double const* in, std::ptrdiff_t inStride, double const* taps, int n, int nFilters, double* out,
                   std::ptrdiff_t outStride, std::ptrdiff_t plane, int outW, int outH);

// out[y][x] = sum_j taps[j] in[y+j][x]: columns alone.
void correlateColumns(double const* in, std::ptrdiff_t inStride, double const* taps, int n, double* out,
                      std::ptrdiff_t outStride, int outW, int outH);

// out = scale * out - subtract * other, n a multiple of 8.
void scaleAndSubtract(double* out, double scale, double const* other, double subtract, int n);

// out_i[k] = in_i[k] * weight[k] for p columns of n elements (a multiple of 8).
void weightColumns(double const* in, std::ptrdiff_t stride, double const* weight, double* out, int n, int p);

// gram[i][j] = sum_k a_i[k] b_j[k] for i <= j < p (row-major, p columns; the lower triangle is not touched), where
// a_i starts at a + i*stride. n is a multiple of 8. Cost n p (p+1)/2 multiply-adds.
void gramUpper(double const* a, double const* b, std::ptrdiff_t stride, int n, int p, double* gram);

// out[i] = sum_k a_i[k] v[k].
void dotColumns(double const* a, std::ptrdiff_t stride, double const* v, int n, int p, double* out);

}  // namespace stamp_loops
}  // namespace stillsky
