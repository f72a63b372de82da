// Eight or four doubles as one value, for the hot loops of this room. With GCC and Clang vector types, elsewhere
// structs. Eight is for AVX-512 only: other targets keep it in memory, not in registers, so the loops
// are written for either type and choose at run time. Never passed by value to a function that is not inlined.
#pragma once

#include <cstddef>

#include "stillsky/core/config.hpp"

namespace stillsky {
namespace simd {

constexpr int kLanes = 8;  // rows are padded to whole vectors of the longer type

#if defined(__GNUC__)
// Tags, because a template argument would lose the attributes of the vector type itself.
struct Eight {
    typedef double V __attribute__((vector_size(64), aligned(8), may_alias));
    static constexpr int lanes = 8;
};
struct Four {
    typedef double V __attribute__((vector_size(32), aligned(8), may_alias));
    static constexpr int lanes = 4;
};
#else
template <int N>
struct Lanes {
    double v[N];
    Lanes& operator+=(Lanes const& o) {
        for (int i = 0; i < N; ++i) v[i] += o.v[i];
        return *this;
    }
    friend Lanes operator*(Lanes const& a, Lanes const& b) {
        Lanes r;
        for (int i = 0; i < N; ++i) r.v[i] = a.v[i] * b.v[i];
        return r;
    }
    friend Lanes operator*(double a, Lanes const& b) {
        Lanes r;
        for (int i = 0; i < N; ++i) r.v[i] = a * b.v[i];
        return r;
    }
    double operator[](int i) const { return v[i]; }
};
struct Eight {
    using V = Lanes<8>;
    static constexpr int lanes = 8;
};
struct Four {
    using V = Lanes<4>;
    static constexpr int lanes = 4;
};
#endif

template <typename S>
STILLSKY_INLINE typename S::V const& load(double const* p) {
    return *reinterpret_cast<typename S::V const*>(p);
}
template <typename S>
STILLSKY_INLINE typename S::V& at(double* p) {
    return *reinterpret_cast<typename S::V*>(p);
}
STILLSKY_INLINE double sumOf(Eight::V const& a) {
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}
STILLSKY_INLINE double sumOf(Four::V const& a) { return (a[0] + a[2]) + (a[1] + a[3]); }

// True where eight doubles fit a register.
inline bool wideRegisters() {
#if STILLSKY_HAS_SIMD
    static const bool wide = __builtin_cpu_supports("avx512f") != 0;
    return wide;
#else
    return false;
#endif
}

// n rounded up to whole vectors.
constexpr int padded(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

}  // namespace simd
}  // namespace stillsky
