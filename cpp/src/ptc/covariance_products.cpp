// The inner loops of covariances: one load of a shifted row serves several lags in y, one load of an unshifted row
// several in x; the sums of a whole block of rows stay in registers.
#include <algorithm>

#include "covariance_detail.hpp"
#include "stillsky/core/config.hpp"

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors wider than the baseline's registers never cross a real call
#endif

namespace stillsky {
namespace ptc_detail {
namespace {

constexpr int TILE = 256;  // columns: ten rows of a tile fit the first-level cache

template <typename P, int BYTES>
struct Vec {
    typedef P type __attribute__((vector_size(BYTES)));
    typedef P loose __attribute__((vector_size(BYTES), aligned(sizeof(P)), may_alias));
    static constexpr int lanes = BYTES / static_cast<int>(sizeof(P));
};

// Lags (dx0 .. dx0+DX-1, dy0 .. dy0+DY-1).
template <int BYTES, int DX, int DY>
STILLSKY_INLINE void addLags(ProductBlock const& s, int dx0, int dy0, double* out) {
    using Type = typename Vec<double, BYTES>::type;
    using Loose = typename Vec<double, BYTES>::loose;
    constexpr int lanes = Vec<double, BYTES>::lanes;
    for (int x0 = 0; x0 < s.width; x0 += TILE) {
        const int x1 = std::min(x0 + TILE, s.width);
        Type sum[DY][DX];
        for (int j = 0; j < DY; ++j) {
            for (int i = 0; i < DX; ++i) sum[j][i] = Type{};
        }
        for (int y = 0; y < s.rows; ++y) {
            const double* b = s.b + y * s.stride + dx0;
            const double* a = s.a + (y - dy0) * s.stride;
            for (int x = x0; x < x1; x += lanes) {  // past the width a is 0
                Type shifted[DX];
                for (int i = 0; i < DX; ++i) shifted[i] = *reinterpret_cast<Loose const*>(b + x + i);
                for (int j = 0; j < DY; ++j) {
                    const Type pixel = *reinterpret_cast<Type const*>(a - j * s.stride + x);
                    for (int i = 0; i < DX; ++i) sum[j][i] += pixel * shifted[i];
                }
            }
        }
        for (int j = 0; j < DY; ++j) {
            double* o = out + (dy0 + j) * (2 * s.maxLag + 1) + s.maxLag + dx0;
            for (int i = 0; i < DX; ++i) {
                for (int k = 0; k < lanes; ++k) o[i] += sum[j][i][k];
            }
        }
    }
}

template <int BYTES, int DX, int DY>
STILLSKY_INLINE void addRowsOfLags(ProductBlock const& s, int dy0, double* out) {
    int dx = -s.maxLag;
    for (; dx + DX <= s.maxLag + 1; dx += DX) addLags<BYTES, DX, DY>(s, dx, dy0, out);
    if (DX > 2 && s.maxLag + 1 - dx >= 2) {
        addLags<BYTES, 2, DY>(s, dx, dy0, out);
        dx += 2;
    }
    if (dx <= s.maxLag) addLags<BYTES, 1, DY>(s, dx, dy0, out);
}

// n lags in y, n <= DY.
template <int BYTES, int DX, int DY>
STILLSKY_INLINE void addSomeRowsOfLags(ProductBlock const& s, int dy0, int n, double* out) {
    if constexpr (DY > 1) {
        if (n < DY) return addSomeRowsOfLags<BYTES, DX, DY - 1>(s, dy0, n, out);
    }
    addRowsOfLags<BYTES, DX, DY>(s, dy0, out);
}

// All lags, DY at a time at most, shared out evenly.
template <int BYTES, int DX, int DY>
STILLSKY_INLINE void addAllLags(ProductBlock const& s, double* out) {
    const int n = s.maxLag + 1, parts = (n + DY - 1) / DY;
    for (int part = 0; part < parts; ++part) {
        const int begin = n * part / parts, end = n * (part + 1) / parts;
        addSomeRowsOfLags<BYTES, DX, DY>(s, begin, end - begin, out);
    }
}

// One function per instruction set: they differ in vector length and in the number of registers.
using ProductsFunction = void (*)(ProductBlock const&, double* out);

void productsBaseline(ProductBlock const& s, double* out) { addAllLags<16, 3, 3>(s, out); }

#if STILLSKY_HAS_SIMD
__attribute__((target("arch=x86-64-v3"))) void productsV3(ProductBlock const& s, double* out) {
    addAllLags<32, 3, 4>(s, out);
}

__attribute__((target("arch=x86-64-v4"))) void productsV4(ProductBlock const& s, double* out) {
    addAllLags<64, 3, 9>(s, out);
}
#endif

ProductsFunction chooseProducts() {
#if STILLSKY_HAS_SIMD
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return &productsV4;
    if (__builtin_cpu_supports("x86-64-v3")) return &productsV3;
#endif
    return &productsBaseline;
}

// Sums of N vectors at each place.
template <int N>
STILLSKY_INLINE void addVectors(const double* from, std::ptrdiff_t shift, const std::int32_t* at, int nAt, int n, double* out) {
    using V = Vec<double, 64>;
    V::type sum[N];
    for (int v = 0; v < N; ++v) sum[v] = V::type{};
    for (int i = 0; i < nAt; ++i) {
        const double* p = from + (at[i] + shift);
        for (int v = 0; v < N; ++v) sum[v] += *reinterpret_cast<V::loose const*>(p + v * V::lanes);
    }
    for (int k = 0; k < n; ++k) out[k] += sum[k / V::lanes][k % V::lanes];
}

STILLSKY_SIMD void addPatchesOfDoubles(const double* from, std::ptrdiff_t shift, const std::int32_t* at, int nAt, int n, double* out) {
    constexpr int lanes = Vec<double, 64>::lanes;
    int k = 0;
    for (; n - k > 2 * lanes; k += 3 * lanes) addVectors<3>(from, shift + k, at, nAt, std::min(n - k, 3 * lanes), out + k);
    if (n - k > lanes) addVectors<2>(from, shift + k, at, nAt, n - k, out + k);
    else if (n > k) addVectors<1>(from, shift + k, at, nAt, n - k, out + k);
}

// Bytes are summed in 16 bits: at most 65535 of them, each 0 or 1.
STILLSKY_SIMD void addPatchesOfBytes(const std::uint8_t* from, std::ptrdiff_t shift, const std::int32_t* at, int nAt, int n, std::int64_t* out) {
    using Bytes = Vec<std::uint8_t, 16>;
    using Words = Vec<std::uint16_t, 32>;
    for (int k = 0; k < n; k += 32) {
        Words::type low{}, high{};
        for (int i = 0; i < nAt; ++i) {
            const std::uint8_t* p = from + (at[i] + shift + k);
            const Bytes::type first = *reinterpret_cast<Bytes::loose const*>(p);
            const Bytes::type second = *reinterpret_cast<Bytes::loose const*>(p + 16);
            low += __builtin_convertvector(first, Words::type);
            high += __builtin_convertvector(second, Words::type);
        }
        for (int j = 0; j < std::min(n - k, 32); ++j) out[k + j] += j < 16 ? low[j] : high[j - 16];
    }
}

}  // namespace

void addLagProducts(ProductBlock const& block, double* out) {
    static const ProductsFunction products = chooseProducts();
    products(block, out);
}

void addPatches(const double* from, std::ptrdiff_t shift, const std::int32_t* at, int nAt, int n, double* out) {
    addPatchesOfDoubles(from, shift, at, nAt, n, out);
}

void addPatches(const std::uint8_t* from, std::ptrdiff_t shift, const std::int32_t* at, int nAt, int n, std::int64_t* out) {
    constexpr int most = 65535;
    for (int i = 0; i < nAt; i += most) addPatchesOfBytes(from, shift, at + i, std::min(most, nAt - i), n, out);
}

}  // namespace ptc_detail
}  // namespace stillsky
