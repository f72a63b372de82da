// The inner loops of a DCR pass, each over one row of a tile.
#pragma once

#include <cstdint>

namespace stillsky {
namespace dcr {

constexpr int ROW_LANES = 16;  // rows of scratch buffers hold whole multiples of this

constexpr int roundUp(int n) { return (n + ROW_LANES - 1) / ROW_LANES * ROW_LANES; }

// out[x] (+)= sum over taps of weight[t] * source[t][x] for x in [0, roundUp(n)): sources and out must be that long.
// The sum of a pixel is taken in the order of the taps, whatever its place in the row.
void rowTaps(const float* const* source, const float* weight, int nTaps, int n, float* out, bool add);

// The same for up to MOST_TOGETHER sums of the same sources at once: out[k][x] = sum over taps of weight[t * K + k] *
// source[t][x], K = nOut; each source is read once for all of them.
constexpr int MOST_TOGETHER = 3;
void rowTapsTogether(const float* const* source, const float* weight, int nTaps, int n, float* const* out, int nOut);

// out[x] = image[x] - model[x], or the one that is not null alone, or 1; 0 where keep[x] is 0 (else all bits set),
// whatever the values there.
void rowValues(const float* image, const float* model, const std::uint32_t* keep, int n, float* out);

// Bits [x0, x0 + n) of a packed row as words of all zeros or all ones.
// `out` has room for n + 14 words; the words wanted begin at out[x0 % 8].
void expandBits(const std::uint8_t* packed, int x0, int n, std::uint32_t* out);

// True if all bits [x0, x0 + n) are set.
bool allBits(const std::uint8_t* packed, int x0, int n);

// True if any of them is.
bool anyBits(const std::uint8_t* packed, int x0, int n);

// Bits [x0, x0 + n) that are set in both packed rows, from byte x0 / 8 on in `out`, and their number.
long long commonBits(const std::uint8_t* a, const std::uint8_t* b, int x0, int n, std::uint8_t* out);

// Adds to sums[0..2]: sum |s - t| S, sum |s + t| S / 2, sum (s - t)^2 over the pixels whose word is set.
void rowMetric(const float* image, const float* model, const float* significance, const std::uint32_t* use, int n,
               double* sums);

}  // namespace dcr
}  // namespace stillsky
