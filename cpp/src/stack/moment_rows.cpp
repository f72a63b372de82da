#include "moment_rows.hpp"

#include <cmath>
#include <cstring>

#include "stack_detail.hpp"

// The compiler need not prove that sums and images do not overlap: they never do.
#if defined(__GNUC__) && !defined(__clang__)
#define STILLSKY_INDEPENDENT _Pragma("GCC ivdep")
#else
#define STILLSKY_INDEPENDENT
#endif

namespace stillsky {
namespace stack_detail {
namespace {

STILLSKY_INLINE std::int32_t bitsOf(float x) {
    std::int32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits;
}
STILLSKY_INLINE float floatOf(std::int32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}

// -1 where usable, else 0, by integer arithmetic alone: comparisons would make masks that sums of doubles must unpack.
STILLSKY_INLINE std::int32_t usableBits(float x, MaskPixel m, MaskPixel andMask, std::int32_t limit) {
    const std::uint32_t bad = static_cast<std::uint32_t>(m & andMask);
    const std::int32_t masked = static_cast<std::int32_t>(bad | (0u - bad));
    return ~((masked | (limit - (bitsOf(x) & 0x7fffffff))) >> 31);
}

STILLSKY_INLINE void flagUsable(MomentInput<float> const& in, int count, float* STILLSKY_RESTRICT x, float* STILLSKY_RESTRICT usable,
                                float* STILLSKY_RESTRICT variance, bool wantsVariance) {
    const float* STILLSKY_RESTRICT image = in.image;
    const MaskPixel* STILLSKY_RESTRICT mask = in.mask;
    const std::int32_t limit = bitsOf(in.rule.limit), one = in.rule.isUsable ? bitsOf(1.0f) : 0;
    const MaskPixel andMask = in.rule.andMask;
    for (int i = 0; i < count; ++i) {
        const std::int32_t good = usableBits(image[i], mask[i], andMask, limit);
        x[i] = floatOf(bitsOf(image[i]) & good);
        usable[i] = floatOf(one & good);
    }
    if (!wantsVariance) return;
    const float* STILLSKY_RESTRICT v = in.variance;
    for (int i = 0; i < count; ++i) variance[i] = floatOf(bitsOf(v[i]) & usableBits(image[i], mask[i], andMask, limit));
}

STILLSKY_INLINE void flagUsable(MomentInput<double> const& in, int count, double* STILLSKY_RESTRICT x, float* STILLSKY_RESTRICT usable,
                                float* STILLSKY_RESTRICT variance, bool wantsVariance) {
    for (int i = 0; i < count; ++i) {
        const bool good = ((in.mask[i] & in.rule.andMask) == 0) & (std::fabs(in.image[i]) <= in.rule.limit);
        x[i] = good ? in.image[i] : 0.0;
        usable[i] = good & in.rule.isUsable ? 1.0f : 0.0f;
        if (wantsVariance) variance[i] = good ? in.variance[i] : 0.0f;
    }
}

// Weights 1/variance; samples without a proper one are not usable.
template <typename T>
STILLSKY_INLINE void weighByVariance(MomentInput<T> const& in, int count, float* STILLSKY_RESTRICT usable,
                                     double* STILLSKY_RESTRICT weight) {
    const float varianceLimit = in.rule.varianceLimit;
    const float* STILLSKY_RESTRICT v = in.variance;
    for (int i = 0; i < count; ++i) {
        const bool good = (v[i] > 0) & (v[i] <= varianceLimit);
        weight[i] = good ? in.rule.weight / static_cast<double>(v[i]) : 0.0;
        usable[i] = good ? usable[i] : 0.0f;
    }
}

template <typename T>
STILLSKY_INLINE void countSamples(MomentInput<T> const& in, const float* STILLSKY_RESTRICT usable, int count, MomentRow const& row) {
    const MaskPixel* STILLSKY_RESTRICT mask = in.mask;
    std::int32_t* STILLSKY_RESTRICT n = row.n;
    if (row.orUsable) {
        MaskPixel* STILLSKY_RESTRICT bits = row.orUsable;
        MaskPixel* STILLSKY_RESTRICT all = row.orAll;
        for (int i = 0; i < count; ++i) {
            const std::int32_t one = bitsOf(usable[i]) >> 29;  // 1.0f or 0.0f: 1 or 0
            n[i] += one;
            bits[i] |= mask[i] & -one;
        }
        for (int i = 0; i < count && all; ++i) all[i] |= mask[i];
    } else {
        for (int i = 0; i < count; ++i) n[i] += bitsOf(usable[i]) >> 29;
    }
    if (row.nImage) {
        std::int32_t* STILLSKY_RESTRICT nImage = row.nImage;
        const MaskPixel andMask = in.rule.andMask;
        for (int i = 0; i < count; ++i) nImage[i] += (mask[i] & andMask) == 0;
    }
}

template <typename T>
STILLSKY_INLINE void setFirst(const T* STILLSKY_RESTRICT x, const float* STILLSKY_RESTRICT usable, int count, MomentRow const& row) {
    for (int i = 0; i < count; ++i) {
        const bool isFirst = (row.n[i] == 1) & (usable[i] != 0);
        row.first[i] = isFirst ? static_cast<double>(x[i]) : row.first[i];
    }
}

// NIMAGES images from the one at `at` on at once, so that sums are loaded and stored once for all of them. INVERSE: each sample has its weight.
template <int NIMAGES, bool INVERSE, bool SCATTER, bool VARIANCE, typename T>
STILLSKY_INLINE void addSums(MomentScratch<T> const& s, int at, const double* weights, int count, MomentRow const& row) {
    double *STILLSKY_RESTRICT w = row.w, *STILLSKY_RESTRICT x = row.x, *STILLSKY_RESTRICT w2 = row.w2, *STILLSKY_RESTRICT x2 = row.x2;
    double* STILLSKY_RESTRICT v = row.v;
    const double* STILLSKY_RESTRICT first = row.first;
    const double power2 = row.power == 2 ? 1.0 : 0.0, power0 = row.power == 0 ? 1.0 : 0.0, power1 = 1.0 - power0 - power2;
    double image[GROUP] = {}, square[GROUP] = {}, ofVariance[GROUP] = {};
    for (int k = 0; k < NIMAGES; ++k) {
        image[k] = weights[k];
        square[k] = weights[k] * weights[k];
        ofVariance[k] = row.power == 2 ? square[k] : row.power == 1 ? weights[k] : 1.0;
    }
    for (int i = 0; i < count; ++i) {
        double sumW = w[i], sumX = x[i], sumW2 = SCATTER ? w2[i] : 0, sumX2 = SCATTER ? x2[i] : 0, sumV = VARIANCE ? v[i] : 0;
        for (int k = 0; k < NIMAGES; ++k) {
            const double good = static_cast<double>(s.usable[at + k][i]), value = static_cast<double>(s.x[at + k][i]);
            const double weight = INVERSE ? s.weight[at + k][i] : image[k];
            const double d = SCATTER ? good * (value - first[i]) : INVERSE ? good * value : value;
            sumW += weight * good;
            sumX += weight * d;
            if (SCATTER) {
                sumW2 += (INVERSE ? weight * weight : square[k]) * good;
                sumX2 += weight * d * d;
            }
            if (VARIANCE) {
                const double factor = INVERSE ? good * (power2 * weight * weight + power1 * weight + power0) : ofVariance[k];
                sumV += factor * static_cast<double>(s.variance[at + k][i]);
            }
        }
        w[i] = sumW;
        x[i] = sumX;
        if (SCATTER) w2[i] = sumW2;
        if (SCATTER) x2[i] = sumX2;
        if (VARIANCE) v[i] = sumV;
    }
}

template <int NIMAGES, typename T>
STILLSKY_INLINE void addAny(MomentScratch<T> const& s, int at, const double* weights, bool inverse, int count, MomentRow const& row) {
    const bool scatter = row.x2 != nullptr, variance = row.v != nullptr;
    if (inverse) {
        if (scatter) addSums<NIMAGES, true, true, false>(s, at, weights, count, row);
        else if (variance) addSums<NIMAGES, true, false, true>(s, at, weights, count, row);
        else addSums<NIMAGES, true, false, false>(s, at, weights, count, row);
    } else {
        if (scatter) addSums<NIMAGES, false, true, false>(s, at, weights, count, row);
        else if (variance) addSums<NIMAGES, false, false, true>(s, at, weights, count, row);
        else addSums<NIMAGES, false, false, false>(s, at, weights, count, row);
    }
}

template <typename T>
STILLSKY_INLINE void addExtremes(const T* STILLSKY_RESTRICT x, const float* STILLSKY_RESTRICT usable, int count, MomentRow const& row) {
    for (int i = 0; i < count; ++i) {
        const double value = static_cast<double>(x[i]);
        row.min[i] = (usable[i] != 0) & (value < row.min[i]) ? value : row.min[i];
        row.max[i] = (usable[i] != 0) & (value > row.max[i]) ? value : row.max[i];
    }
}

template <typename T>
STILLSKY_INLINE void addBody(MomentInput<T> const* in, int nImages, int count, bool keepFirst, MomentScratch<T>& s,
                             MomentRow const& row) {
    double weights[GROUP] = {};
    const bool inverse = in[0].rule.inverseVariance;
    for (int k = 0; k < nImages; ++k) {
        weights[k] = in[k].rule.weight;
        flagUsable(in[k], count, s.x[k], s.usable[k], s.variance[k], row.v != nullptr);
        if (inverse) weighByVariance(in[k], count, s.usable[k], s.weight[k]);
        countSamples(in[k], s.usable[k], count, row);
        if (row.first && !keepFirst) setFirst(s.x[k], s.usable[k], count, row);
        if (row.min) addExtremes(s.x[k], s.usable[k], count, row);
    }
    // A variance of a sample that is not usable must not turn 0 * variance into NaN.
    for (int k = 0; k < nImages && row.v; ++k) {
        if (inverse || !in[k].rule.isUsable) {
            for (int i = 0; i < count; ++i) s.variance[k][i] = s.usable[k][i] != 0 ? s.variance[k][i] : 0.0f;
        }
    }
    if (nImages == GROUP) addAny<GROUP>(s, 0, weights, inverse, count, row);
    else for (int k = 0; k < nImages; ++k) addAny<1>(s, k, weights + k, inverse, count, row);
}

template <bool SWAPPED>
STILLSKY_INLINE std::int32_t ordered(std::int32_t bits) {
    return SWAPPED ? swapped(bits) : bits;
}

// Sums of w, w x and w v of NIMAGES images, for each pixel in the order and with the arithmetic of addSums. WEIGHTED: else all
// weights are 1. FULL: nImage, orAll and `rejected` (the OR of the masks of samples that are not usable) too. No sample
// with |x| above the limit's bits is usable.
template <int NIMAGES, bool WEIGHTED, bool SWAPPED, bool FULL>
STILLSKY_INLINE void addPlain(MomentInput<float> const* in, std::int32_t limit, int count, MomentRow const& row, MaskPixel& rejected) {
    const float* image[NIMAGES];
    const MaskPixel* mask[NIMAGES];
    const float* variance[NIMAGES];
    double weight[NIMAGES], ofVariance[NIMAGES];
    for (int k = 0; k < NIMAGES; ++k) {
        image[k] = in[k].image;
        mask[k] = in[k].mask;
        variance[k] = in[k].variance;
        weight[k] = in[k].rule.weight;
        ofVariance[k] = row.power == 2 ? weight[k] * weight[k] : row.power == 1 ? weight[k] : 1.0;
    }
    const MaskPixel andMask = in[0].rule.andMask;
    std::int32_t *STILLSKY_RESTRICT n = row.n, *STILLSKY_RESTRICT nImage = row.nImage;
    MaskPixel *STILLSKY_RESTRICT orUsable = row.orUsable, *STILLSKY_RESTRICT orAll = row.orAll;
    double *STILLSKY_RESTRICT w = row.w, *STILLSKY_RESTRICT x = row.x, *STILLSKY_RESTRICT v = row.v;
    MaskPixel bad = 0;
    STILLSKY_INDEPENDENT
    for (int i = 0; i < count; ++i) {
        double sumW = WEIGHTED ? w[i] : 0, sumX = x[i], sumV = v[i];
        std::int32_t usable = n[i], clear = FULL ? nImage[i] : 0;
        MaskPixel ofUsable = orUsable[i], ofAll = FULL ? orAll[i] : 0;
        for (int k = 0; k < NIMAGES; ++k) {
            const std::int32_t bits = ordered<SWAPPED>(bitsOf(image[k][i]));
            const MaskPixel m = ordered<SWAPPED>(mask[k][i]);
            const std::uint32_t hit = static_cast<std::uint32_t>(m & andMask);
            const std::int32_t masked = static_cast<std::int32_t>(hit | (0u - hit));
            const std::int32_t keep = ~((masked | (limit - (bits & 0x7fffffff))) >> 31);
            usable -= keep;
            ofUsable |= m & keep;
            if (FULL) {
                clear -= ~(masked >> 31);
                ofAll |= m;
                bad |= m & ~keep;
            }
            const double value = static_cast<double>(floatOf(bits & keep));
            const double ofSample = static_cast<double>(floatOf(ordered<SWAPPED>(bitsOf(variance[k][i])) & keep));
            sumX += WEIGHTED ? weight[k] * value : value;
            sumV += WEIGHTED ? ofVariance[k] * ofSample : ofSample;
            if (WEIGHTED) sumW += weight[k] * static_cast<double>(-keep);
        }
        x[i] = sumX;
        v[i] = sumV;
        n[i] = usable;
        orUsable[i] = ofUsable;
        if (WEIGHTED) w[i] = sumW;
        if (FULL) {
            nImage[i] = clear;
            orAll[i] = ofAll;
        }
    }
    rejected = bad;
}

template <int NIMAGES, bool SWAPPED>
STILLSKY_INLINE void addPlainAny(MomentInput<float> const* in, std::int32_t limit, int count, MomentRow const& row, MaskPixel& rejected) {
    if (row.w && row.orAll) addPlain<NIMAGES, true, SWAPPED, true>(in, limit, count, row, rejected);
    else if (row.w) addPlain<NIMAGES, true, SWAPPED, false>(in, limit, count, row, rejected);
    else if (row.orAll) addPlain<NIMAGES, false, SWAPPED, true>(in, limit, count, row, rejected);
    else addPlain<NIMAGES, false, SWAPPED, false>(in, limit, count, row, rejected);
}

STILLSKY_SIMD void addPlainGroup(MomentInput<float> const* in, bool swapped, std::int32_t limit, int count, MomentRow const& row,
                                 MaskPixel& rejected) {
    if (swapped) addPlainAny<GROUP, true>(in, limit, count, row, rejected);
    else addPlainAny<GROUP, false>(in, limit, count, row, rejected);
}
STILLSKY_SIMD void addPlainOne(MomentInput<float> const* in, bool swapped, std::int32_t limit, int count, MomentRow const& row,
                               MaskPixel& rejected) {
    if (swapped) addPlainAny<1, true>(in, limit, count, row, rejected);
    else addPlainAny<1, false>(in, limit, count, row, rejected);
}

STILLSKY_SIMD void flagSwapped(MomentInput<float> const& in, int count, float* STILLSKY_RESTRICT usable) {
    for (int i = 0; i < count; ++i) {
        const std::int32_t good = usableBits(floatOf(ordered<true>(bitsOf(in.image[i]))), ordered<true>(in.mask[i]), in.rule.andMask,
                                             bitsOf(in.rule.limit));
        usable[i] = floatOf((in.rule.isUsable ? bitsOf(1.0f) : 0) & good);
    }
}
STILLSKY_SIMD void flagNative(MomentInput<float> const& in, int count, float* x, float* usable) {
    flagUsable(in, count, x, usable, nullptr, false);
}

STILLSKY_SIMD void addGeneral(MomentInput<float> const* in, int nImages, int count, bool keepFirst, MomentScratch<float>& scratch,
                              MomentRow const& row) {
    addBody(in, nImages, count, keepFirst, scratch, row);
}
STILLSKY_SIMD void addGeneral(MomentInput<double> const* in, int nImages, int count, bool keepFirst, MomentScratch<double>& scratch,
                              MomentRow const& row) {
    addBody(in, nImages, count, keepFirst, scratch, row);
}

}  // namespace

MomentRow MomentRow::from(std::ptrdiff_t i) const {
    MomentRow row = *this;
    for (double** sum : {&row.w, &row.x, &row.first, &row.w2, &row.x2, &row.v, &row.min, &row.max}) *sum = *sum ? *sum + i : nullptr;
    for (std::int32_t** count : {&row.n, &row.nImage, &row.orUsable, &row.orAll}) *count = *count ? *count + i : nullptr;
    return row;
}

template <>
bool isPlain<float>(SampleRule<float> const& rule, MomentRow const& row) {
    const bool counts = (row.nImage != nullptr) == (row.orAll != nullptr) && row.orUsable;
    return !rule.inverseVariance && row.v && !row.first && !row.min && counts;
}
template <>
bool isPlain<double>(SampleRule<double> const&, MomentRow const&) {
    return false;
}

bool addMoments(MomentInput<float> const* in, int nImages, int count, bool keepFirst, bool swapped, MaskPixel propagated,
                    MomentScratch<float>& scratch, MomentRow const& row) {
    if (!isPlain(in[0].rule, row)) {
        addGeneral(in, nImages, count, keepFirst, scratch, row);
        return propagated != 0;
    }
    const std::int32_t limit = bitsOf(in[0].rule.limit);
    bool allUsable = true;
    for (int k = 0; k < nImages; ++k) allUsable = allUsable && in[k].rule.isUsable;
    MaskPixel rejected = 0;
    if (nImages == GROUP && allUsable) {
        addPlainGroup(in, swapped, limit, count, row, rejected);
    } else {
        for (int k = 0; k < nImages; ++k) {
            MaskPixel ofImage = 0;
            addPlainOne(in + k, swapped, in[k].rule.isUsable ? limit : -1, count, row, ofImage);
            rejected |= ofImage;
        }
    }
    if ((rejected & propagated) == 0) return false;
    for (int k = 0; k < nImages; ++k) {
        if (swapped) flagSwapped(in[k], count, scratch.usable[k]);
        else flagNative(in[k], count, scratch.x[k], scratch.usable[k]);
    }
    return true;
}
bool addMoments(MomentInput<double> const* in, int nImages, int count, bool keepFirst, bool, MaskPixel propagated,
                    MomentScratch<double>& scratch, MomentRow const& row) {
    addGeneral(in, nImages, count, keepFirst, scratch, row);
    return propagated != 0;
}

STILLSKY_SIMD void addRejectedWeight(const MaskPixel* STILLSKY_RESTRICT mask, const float* STILLSKY_RESTRICT usable, MaskPixel bit,
                                     int count, const double* w, double weight, double* STILLSKY_RESTRICT rejected) {
    if (w) {
        for (int i = 0; i < count; ++i) rejected[i] += (usable[i] == 0) & ((mask[i] & bit) != 0) ? w[i] : 0.0;
    } else {
        for (int i = 0; i < count; ++i) rejected[i] += (usable[i] == 0) & ((mask[i] & bit) != 0) ? weight : 0.0;
    }
}

}  // namespace stack_detail
}  // namespace stillsky
