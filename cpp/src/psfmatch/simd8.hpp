// Eight doubles as one value, for the hot loops of this room. With GCC and Clang a vector type, which each clone of a
// STILLSKY_SIMD function lowers to its own instruction set; elsewhere a struct. Never passed by value to a function
// that is not inlined.
#pragma once

#include <cstddef>

#include "stillsky/core/config.hpp"

namespace stillsky {
namespace simd {

constexpr int kLanes = 8;

#if defined(__GNUC__)
typedef double V8 __attribute__((vector_size(64), aligned(8), may_alias));
#else
struct V8 {
    double v[8];
    V8& operator+=(V8 const& o) {
        for (int i = 0; i < 8; ++i) v[i] += o.v[i];
        return *this;
    }
    friend V8 operator*(V8 const& a, V8 const& b) {
        V8 r;
        for (int i = 0; i < 8; ++i) r.v[i] = a.v[i] * b.v[i];
        return r;
    }
    friend V8 operator*(double a, V8 const& b) {
        V8 r;
        for (int i = 0; i < 8; ++i) r.v[i] = a * b.v[i];
        return r;
    }
    double operator[](int i) const { return v[i]; }
};
#endif

STILLSKY_INLINE V8 const& load(double const* p) { return *reinterpret_cast<V8 const*>(p); }
STILLSKY_INLINE V8& at(double* p) { return *reinterpret_cast<V8*>(p); }
STILLSKY_INLINE double sumOf(V8 const& a) {
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

// n rounded up to whole vectors.
constexpr int padded(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

}  // namespace simd
}  // namespace stillsky
