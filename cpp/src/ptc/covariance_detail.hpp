// Private to the ptc room: sums of products of shifted rows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stillsky {
namespace ptc_detail {

constexpr int LANES = 8;        // doubles of the longest vector; rows start on multiples
constexpr int RIGHT_PAD = 40;   // zeros to the right of a row beyond the lag: vectors may read so far

// Two images in padded buffers of equal layout, both pointers at row 0, column 0 of a block. Above there are `maxLag`
// rows more; to both sides `maxLag` columns of zeros, and RIGHT_PAD more to the right. a, and the stride, are aligned
// to LANES doubles.
struct ProductBlock {
    const double* a;
    const double* b;
    std::ptrdiff_t stride;
    int width, rows, maxLag;
};

// out[dy * (2 maxLag + 1) + maxLag + dx] += sum over y in [0, rows), x in [0, width) of a(x, y - dy) b(x + dx, y), for
// dy = 0..maxLag and dx = -maxLag..maxLag.
void addLagProducts(ProductBlock const& block, double* out);

// Sums of the patches around pixels: for k = 0..n-1, out[k] += sum over i of from[at[i] + shift + k]. All places are
// readable for 40 elements beyond n.
void addPatches(const double* from, std::ptrdiff_t shift, const std::int32_t* at, int nAt, int n, double* out);
void addPatches(const std::uint8_t* from, std::ptrdiff_t shift, const std::int32_t* at, int nAt, int n, std::int64_t* out);

}  // namespace ptc_detail
}  // namespace stillsky
