#include "strip_loops.hpp"

#include <cmath>
#include <cstring>

#include "stack_detail.hpp"

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors wider than the baseline's registers never cross a real call
#endif

namespace stillsky {
namespace stack_detail {
namespace {

// Order-preserving: negative numbers have all bits but the sign turned.
STILLSKY_INLINE std::int32_t keyOf(float x) {
    std::int32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits ^ ((bits >> 31) & 0x7fffffff);
}
STILLSKY_INLINE std::int64_t keyOf(double x) {
    std::int64_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits ^ ((bits >> 63) & 0x7fffffffffffffff);
}

template <typename T, typename Key>
STILLSKY_INLINE int loadBody(const T* STILLSKY_RESTRICT image, const MaskPixel* STILLSKY_RESTRICT mask,
                             const float* STILLSKY_RESTRICT variance, SampleRule<T> const& rule, T* STILLSKY_RESTRICT x,
                             Key* STILLSKY_RESTRICT key, double* STILLSKY_RESTRICT w, StripCounts& counts) {
    constexpr T none = std::numeric_limits<T>::infinity();
    const MaskPixel andMask = rule.andMask;
    const T limit = rule.limit;
    std::int32_t usable[STRIP];
    const std::int32_t any = rule.isUsable ? 1 : 0;
    for (int l = 0; l < STRIP; ++l) {
        const std::int32_t clear = (mask[l] & andMask) == 0;
        counts.nImage[l] += clear;
        counts.orAll[l] |= mask[l];
        usable[l] = clear & any;
    }
    if (w) {
        const float varianceLimit = rule.varianceLimit;
        for (int l = 0; l < STRIP; ++l) {
            const bool good = (variance[l] > 0) & (variance[l] <= varianceLimit);
            w[l] = good ? rule.weight / static_cast<double>(variance[l]) : 0.0;
            usable[l] &= good;
        }
    }
    for (int l = 0; l < STRIP; ++l) {
        const bool good = (usable[l] != 0) & (std::fabs(image[l]) <= limit);
        usable[l] = good;
        x[l] = good ? image[l] : none;
        key[l] = good ? keyOf(image[l]) : std::numeric_limits<Key>::max();
    }
    int n = 0;
    for (int l = 0; l < STRIP; ++l) {
        counts.n[l] += usable[l];
        counts.orUsable[l] |= usable[l] ? mask[l] : 0;
        n += usable[l];
    }
    return n;
}

template <typename Key>
STILLSKY_INLINE void networkBody(Comparator const* STILLSKY_RESTRICT network, std::size_t n, Key* rows) {
    for (std::size_t c = 0; c < n; ++c) {
        Key* STILLSKY_RESTRICT low = rows + static_cast<std::size_t>(network[c].low) * STRIP;
        Key* STILLSKY_RESTRICT high = rows + static_cast<std::size_t>(network[c].high) * STRIP;
        for (int l = 0; l < STRIP; ++l) {
            const Key a = low[l], b = high[l];
            low[l] = a < b ? a : b;
            high[l] = a < b ? b : a;
        }
    }
}

#if defined(__GNUC__)
// Eight (AVX-512), four or two doubles, and as many samples and masks of the comparison.
template <int LANES>
struct Vec {
    typedef double type __attribute__((vector_size(8 * LANES), may_alias));
    typedef long long integer __attribute__((vector_size(8 * LANES), may_alias));
    typedef float single __attribute__((vector_size(4 * LANES), may_alias));
};
template <int LANES>
STILLSKY_INLINE typename Vec<LANES>::type loadLanes(const float* x) {
    return __builtin_convertvector(*reinterpret_cast<const typename Vec<LANES>::single*>(x), typename Vec<LANES>::type);
}
template <int LANES>
STILLSKY_INLINE typename Vec<LANES>::type loadLanes(const double* x) {
    return *reinterpret_cast<const typename Vec<LANES>::type*>(x);
}

// V vectors of LANES pixels at a time: their accumulators stay in registers.
template <int LANES, int V, StripWeights HOW, typename T>
STILLSKY_INLINE void sumBody(const T* x, int rows, const double* weights, const double* centre, const double* half,
                             StripSums& sums) {
    using D = typename Vec<LANES>::type;
    using I = typename Vec<LANES>::integer;
    for (int first = 0; first < STRIP; first += LANES * V) {
        D c[V], h[V], n[V], w[V], w2[V], s1[V], s2[V];
        for (int v = 0; v < V; ++v) {
            c[v] = loadLanes<LANES>(centre + first + v * LANES);
            h[v] = loadLanes<LANES>(half + first + v * LANES);
            n[v] = w[v] = w2[v] = s1[v] = s2[v] = D{};
        }
        for (int r = 0; r < rows; ++r) {
            const T* row = x + static_cast<std::ptrdiff_t>(r) * STRIP + first;
            for (int v = 0; v < V; ++v) {
                const D d = loadLanes<LANES>(row + v * LANES) - c[v];
                // |d| <= h by the sign of the difference: comparisons of vectors wider than the baseline's registers are
                // taken apart by the compiler.
                const D excess = h[v] - reinterpret_cast<D>(reinterpret_cast<I>(d) & (I{} + 0x7fffffffffffffff));
                const I keep = ~(reinterpret_cast<I>(excess) >> 63);
                const D kept = reinterpret_cast<D>(reinterpret_cast<I>(d) & keep);
                n[v] += reinterpret_cast<D>(keep & reinterpret_cast<I>(D{} + 1.0));
                if constexpr (HOW == StripWeights::NONE) {
                    s1[v] += kept;
                    s2[v] += kept * kept;
                } else {
                    const D weight = HOW == StripWeights::PER_IMAGE
                                             ? D{} + weights[r]
                                             : loadLanes<LANES>(weights + static_cast<std::ptrdiff_t>(r) * STRIP + first + v * LANES);
                    const D used = reinterpret_cast<D>(reinterpret_cast<I>(weight) & keep);
                    const D moment = weight * kept;
                    w[v] += used;
                    w2[v] += used * used;
                    s1[v] += moment;
                    s2[v] += moment * kept;
                }
            }
        }
        for (int v = 0; v < V; ++v) {
            const int at = first + v * LANES;
            *reinterpret_cast<D*>(sums.n + at) = n[v];
            *reinterpret_cast<D*>(sums.w + at) = HOW == StripWeights::NONE ? n[v] : w[v];
            *reinterpret_cast<D*>(sums.w2 + at) = HOW == StripWeights::NONE ? n[v] : w2[v];
            *reinterpret_cast<D*>(sums.x + at) = s1[v];
            *reinterpret_cast<D*>(sums.x2 + at) = s2[v];
        }
    }
}
#else
template <int, int, StripWeights HOW, typename T>
inline void sumBody(const T* x, int rows, const double* weights, const double* centre, const double* half, StripSums& sums) {
    for (int l = 0; l < STRIP; ++l) sums.n[l] = sums.w[l] = sums.w2[l] = sums.x[l] = sums.x2[l] = 0;
    for (int r = 0; r < rows; ++r) {
        for (int l = 0; l < STRIP; ++l) {
            const double d = static_cast<double>(x[r * STRIP + l]) - centre[l];
            const bool keep = std::fabs(d) <= half[l];
            const double w = !keep ? 0 : HOW == StripWeights::NONE ? 1 : HOW == StripWeights::PER_IMAGE ? weights[r] : weights[r * STRIP + l];
            sums.n[l] += keep;
            sums.w[l] += w;
            sums.w2[l] += w * w;
            sums.x[l] += keep ? w * d : 0;
            sums.x2[l] += keep ? w * d * d : 0;
        }
    }
}
#endif

template <int LANES, int V, typename T>
STILLSKY_INLINE void sumAny(const T* x, int rows, StripWeights how, const double* weights, const double* centre,
                            const double* half, StripSums& sums) {
    if (how == StripWeights::NONE) sumBody<LANES, V, StripWeights::NONE>(x, rows, weights, centre, half, sums);
    else if (how == StripWeights::PER_IMAGE) sumBody<LANES, V, StripWeights::PER_IMAGE>(x, rows, weights, centre, half, sums);
    else sumBody<LANES, V, StripWeights::PER_SAMPLE>(x, rows, weights, centre, half, sums);
}

#if STILLSKY_HAS_SIMD
template <typename T>
__attribute__((target("arch=x86-64-v4"))) void sumV4(const T* x, int rows, StripWeights how, const double* weights,
                                                     const double* centre, const double* half, StripSums& sums) {
    sumAny<8, 4>(x, rows, how, weights, centre, half, sums);
}
template <typename T>
__attribute__((target("arch=x86-64-v3"))) void sumV3(const T* x, int rows, StripWeights how, const double* weights,
                                                     const double* centre, const double* half, StripSums& sums) {
    sumAny<4, 2>(x, rows, how, weights, centre, half, sums);
}
#endif
template <typename T>
void sumBase(const T* x, int rows, StripWeights how, const double* weights, const double* centre, const double* half,
             StripSums& sums) {
    sumAny<2, 2>(x, rows, how, weights, centre, half, sums);
}

template <typename T>
using SumFunction = void (*)(const T*, int, StripWeights, const double*, const double*, const double*, StripSums&);
template <typename T>
SumFunction<T> chooseSum() {
#if STILLSKY_HAS_SIMD
    if (__builtin_cpu_supports("x86-64-v4")) return &sumV4<T>;
    if (__builtin_cpu_supports("x86-64-v3")) return &sumV3<T>;
#endif
    return &sumBase<T>;
}

template <typename T>
STILLSKY_INLINE void keptBody(const T* x, const float* STILLSKY_RESTRICT variances, const MaskPixel* STILLSKY_RESTRICT masks,
                              int rows, StripWeights how, const double* weights, int power, const double* STILLSKY_RESTRICT centre,
                              const double* STILLSKY_RESTRICT half, double* STILLSKY_RESTRICT v, MaskPixel* STILLSKY_RESTRICT bits) {
    std::int32_t keep[STRIP];
    for (int r = 0; r < rows; ++r) {
        const T* STILLSKY_RESTRICT row = x + static_cast<std::ptrdiff_t>(r) * STRIP;
        for (int l = 0; l < STRIP; ++l) {
            const double d = static_cast<double>(row[l]) - centre[l];
            keep[l] = std::fabs(d) <= half[l] ? -1 : 0;
        }
        if (masks) {
            for (int l = 0; l < STRIP; ++l) bits[l] |= masks[r * STRIP + l] & keep[l];
        }
        if (!variances) continue;
        const float* STILLSKY_RESTRICT variance = variances + static_cast<std::ptrdiff_t>(r) * STRIP;
        if (how == StripWeights::PER_SAMPLE && power > 0) {
            const double* STILLSKY_RESTRICT weight = weights + static_cast<std::ptrdiff_t>(r) * STRIP;
            for (int l = 0; l < STRIP; ++l) {
                const double w = power == 2 ? weight[l] * weight[l] : weight[l];
                v[l] += keep[l] ? w * static_cast<double>(variance[l]) : 0.0;
            }
        } else {
            const double weight = how == StripWeights::PER_IMAGE ? weights[r] : 1.0;
            const double w = power == 2 ? weight * weight : power == 1 ? weight : 1.0;
            for (int l = 0; l < STRIP; ++l) v[l] += keep[l] ? w * static_cast<double>(variance[l]) : 0.0;
        }
    }
}

template <typename T>
STILLSKY_INLINE void swapBody(const T* STILLSKY_RESTRICT in, int n, T* STILLSKY_RESTRICT out) {
    for (int i = 0; i < n; ++i) out[i] = swapped(in[i]);
}
}  // namespace

STILLSKY_SIMD int loadStrip(const float* image, const MaskPixel* mask, const float* variance, SampleRule<float> const& rule,
                            float* x, std::int32_t* key, double* w, StripCounts& counts) {
    return loadBody(image, mask, variance, rule, x, key, w, counts);
}
STILLSKY_SIMD int loadStrip(const double* image, const MaskPixel* mask, const float* variance, SampleRule<double> const& rule,
                            double* x, std::int64_t* key, double* w, StripCounts& counts) {
    return loadBody(image, mask, variance, rule, x, key, w, counts);
}

template <typename T>
void addRejected(const T* x, const MaskPixel* mask, MaskPixel bit, const double* w, double weight, double* rejected) {
    for (int l = 0; l < STRIP; ++l) {
        const bool counts = (x[l] == std::numeric_limits<T>::infinity()) & ((mask[l] & bit) != 0);
        rejected[l] += counts ? (w ? w[l] : weight) : 0.0;
    }
}
template void addRejected<float>(const float*, const MaskPixel*, MaskPixel, const double*, double, double*);
template void addRejected<double>(const double*, const MaskPixel*, MaskPixel, const double*, double, double*);

STILLSKY_SIMD void runNetwork(Comparator const* network, std::size_t n, std::int32_t* rows) { networkBody(network, n, rows); }
STILLSKY_SIMD void runNetwork(Comparator const* network, std::size_t n, std::int64_t* rows) { networkBody(network, n, rows); }

void sumStrip(const float* x, int rows, StripWeights how, const double* weights, const double* centre, const double* half,
              StripSums& sums) {
    static const SumFunction<float> function = chooseSum<float>();
    function(x, rows, how, weights, centre, half, sums);
}
void sumStrip(const double* x, int rows, StripWeights how, const double* weights, const double* centre, const double* half,
              StripSums& sums) {
    static const SumFunction<double> function = chooseSum<double>();
    function(x, rows, how, weights, centre, half, sums);
}

STILLSKY_SIMD void sumKeptF(const float* x, const float* variances, const MaskPixel* masks, int rows, StripWeights how,
                            const double* weights, int power, const double* centre, const double* half, double* v,
                            MaskPixel* bits) {
    keptBody(x, variances, masks, rows, how, weights, power, centre, half, v, bits);
}
STILLSKY_SIMD void sumKeptD(const double* x, const float* variances, const MaskPixel* masks, int rows, StripWeights how,
                            const double* weights, int power, const double* centre, const double* half, double* v,
                            MaskPixel* bits) {
    keptBody(x, variances, masks, rows, how, weights, power, centre, half, v, bits);
}
template <>
void sumKept<float>(const float* x, const float* variances, const MaskPixel* masks, int rows, StripWeights how,
                    const double* weights, int power, const double* centre, const double* half, double* v, MaskPixel* bits) {
    sumKeptF(x, variances, masks, rows, how, weights, power, centre, half, v, bits);
}
template <>
void sumKept<double>(const double* x, const float* variances, const MaskPixel* masks, int rows, StripWeights how,
                     const double* weights, int power, const double* centre, const double* half, double* v, MaskPixel* bits) {
    sumKeptD(x, variances, masks, rows, how, weights, power, centre, half, v, bits);
}

STILLSKY_SIMD void swapRow(const float* in, int n, float* out) { swapBody(in, n, out); }
STILLSKY_SIMD void swapRow(const double* in, int n, double* out) { swapBody(in, n, out); }
STILLSKY_SIMD void swapRow(const std::int32_t* in, int n, std::int32_t* out) { swapBody(in, n, out); }

}  // namespace stack_detail
}  // namespace stillsky
