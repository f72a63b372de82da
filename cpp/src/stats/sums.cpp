#include "sums.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "moments.hpp"
#include "stillsky/core/config.hpp"

namespace stillsky {
namespace stats_detail {
namespace {

constexpr std::size_t STRIP = 128;
constexpr std::size_t LANES = 8;  // independent accumulators: the order of additions is fixed, and the loop vectorises

template <typename T>
STILLSKY_INLINE void sumPlainBody(const T* STILLSKY_RESTRICT x, std::size_t n, double centre, double half, Sums& out) {
    double count[LANES] = {}, s1[LANES] = {}, s2[LANES] = {};
    std::size_t i = 0;
    double kept[STRIP], isKept[STRIP];  // two simple loops vectorise, one with everything in it does not
    for (; i + STRIP <= n; i += STRIP) {
        for (std::size_t k = 0; k < STRIP; ++k) {
            const double d = static_cast<double>(x[i + k]) - centre;
            kept[k] = std::fabs(d) <= half ? d : 0.0;
            isKept[k] = std::fabs(d) <= half ? 1.0 : 0.0;
        }
        for (std::size_t k = 0; k < STRIP; k += LANES) {
            for (std::size_t l = 0; l < LANES; ++l) {
                count[l] += isKept[k + l];
                s1[l] += kept[k + l];
                s2[l] += kept[k + l] * kept[k + l];
            }
        }
    }
    for (std::size_t l = 0; i < n; ++i, l = (l + 1) % LANES) {
        const double d = static_cast<double>(x[i]) - centre;
        const bool keep = std::fabs(d) <= half;
        count[l] += keep ? 1.0 : 0.0;
        s1[l] += keep ? d : 0.0;
        s2[l] += keep ? d * d : 0.0;
    }
    for (std::size_t l = 0; l < LANES; ++l) {
        out.n += count[l];
        out.x += s1[l];
        out.x2 += s2[l];
    }
    out.w = out.w2 = out.n;  // exact: counts are whole numbers
}
STILLSKY_SIMD void sumPlain(const float* x, std::size_t n, double c, double h, Sums& out) { sumPlainBody(x, n, c, h, out); }
STILLSKY_SIMD void sumPlain(const double* x, std::size_t n, double c, double h, Sums& out) { sumPlainBody(x, n, c, h, out); }
STILLSKY_SIMD void sumPlain(const std::int32_t* x, std::size_t n, double c, double h, Sums& out) { sumPlainBody(x, n, c, h, out); }
STILLSKY_SIMD void sumPlain(const std::uint16_t* x, std::size_t n, double c, double h, Sums& out) { sumPlainBody(x, n, c, h, out); }

template <typename T>
constexpr T highest() {
    return std::numeric_limits<T>::has_infinity ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
}
template <typename T>
constexpr T lowest() {
    return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
}

template <typename T>
STILLSKY_INLINE void extremesBody(const T* STILLSKY_RESTRICT x, std::size_t n, T& lo, T& hi) {
    T a = highest<T>(), b = lowest<T>();
    for (std::size_t i = 0; i < n; ++i) {
        a = x[i] < a ? x[i] : a;
        b = x[i] > b ? x[i] : b;
    }
    lo = a;
    hi = b;
}
STILLSKY_SIMD void extremes(const float* x, std::size_t n, float& a, float& b) { extremesBody(x, n, a, b); }
STILLSKY_SIMD void extremes(const double* x, std::size_t n, double& a, double& b) { extremesBody(x, n, a, b); }
STILLSKY_SIMD void extremes(const std::int32_t* x, std::size_t n, std::int32_t& a, std::int32_t& b) { extremesBody(x, n, a, b); }
STILLSKY_SIMD void extremes(const std::uint16_t* x, std::size_t n, std::uint16_t& a, std::uint16_t& b) { extremesBody(x, n, a, b); }

}  // namespace

Sums::Sums() : min(std::numeric_limits<double>::quiet_NaN()), max(min) {}

double Sums::variance() const { return varianceOf(n, w, w2, x, x2); }

template <typename T>
void addPlain(const T* x, std::size_t n, double centre, double half, Sums& sums) {
    sumPlain(x, n, centre, half, sums);
}

template <typename T>
void addExtremes(const T* x, std::size_t n, Sums& sums) {
    T lo, hi;
    extremes(x, n, lo, hi);
    if (lo > hi) return;  // nothing but NaN
    sums.min = sums.min < lo ? sums.min : static_cast<double>(lo);
    sums.max = sums.max > hi ? sums.max : static_cast<double>(hi);
}

Sums total(std::vector<Sums> const& parts, double centre) {
    Sums sum;
    sum.centre = centre;
    for (Sums const& p : parts) {
        sum.n += p.n;
        sum.w += p.w;
        sum.w2 += p.w2;
        sum.x += p.x;
        sum.x2 += p.x2;
        sum.v += p.v;
        sum.v1 += p.v1;
        sum.v2 += p.v2;
        sum.orMask |= p.orMask;
        if (!(p.min >= sum.min)) sum.min = std::isnan(p.min) ? sum.min : p.min;
        if (!(p.max <= sum.max)) sum.max = std::isnan(p.max) ? sum.max : p.max;
    }
    return sum;
}

#define STILLSKY_INSTANTIATE(T)                                                        \
    template void addPlain<T>(const T*, std::size_t, double, double, Sums&);          \
    template void addExtremes<T>(const T*, std::size_t, Sums&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
STILLSKY_INSTANTIATE(std::int32_t)
STILLSKY_INSTANTIATE(std::uint16_t)
#undef STILLSKY_INSTANTIATE

}  // namespace stats_detail
}  // namespace stillsky
