// Sixteen floats at once, by the vector extensions of GCC and Clang; lowered to what the target has.
// Values are passed by reference only: passing them by value would depend on the target's calling convention.
#pragma once

#include <cstdint>
#include <cstring>

#include "stillsky/core/config.hpp"

namespace stillsky {
namespace vec {

constexpr int LANES = 16;
typedef float Float __attribute__((vector_size(64)));
typedef std::int32_t Int __attribute__((vector_size(64)));
// The same without an alignment promise.
typedef float FloatU __attribute__((vector_size(64), aligned(4), may_alias));

STILLSKY_INLINE void load(Float& out, float const* p) { out = *reinterpret_cast<FloatU const*>(p); }
STILLSKY_INLINE void store(float* p, Float const& v) { *reinterpret_cast<FloatU*>(p) = v; }
STILLSKY_INLINE double sum(Float const& v) {
    double s = 0;
    for (int i = 0; i < LANES; ++i) s += static_cast<double>(v[i]);
    return s;
}

// exp(x) for x in [-87, 0], relative error below 3e-7; anything lower gives 0. Range reduction x = n ln2 + r and a
// polynomial of degree 6 on |r| <= ln2/2 (Taylor, remainder r^7/5040 < 2e-8 relative to 1).
STILLSKY_INLINE void expNegative(Float& out, Float const& x) {
    const Int tooLow = x < -87.0f;
    const Float magic = Float{} + 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    const Float shifted = x * 1.44269504f + magic;
    const Float n = shifted - magic;
    const Float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Float p = r * (1.0f / 720) + (1.0f / 120);
    p = p * r + (1.0f / 24);
    p = p * r + (1.0f / 6);
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    // Multiply by 2^n through the exponent field; n is in [-126, 0].
    Int bits, scale;
    std::memcpy(&scale, &shifted, sizeof scale);
    std::memcpy(&bits, &p, sizeof bits);
    bits += scale << 23;
    bits &= ~tooLow;
    std::memcpy(&out, &bits, sizeof out);
}

}  // namespace vec
}  // namespace stillsky
