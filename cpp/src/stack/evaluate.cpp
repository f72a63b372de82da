// From sums to values, errors and masks.
#include <cmath>
#include <limits>

#include "../stats/moments.hpp"
#include "stack_detail.hpp"

namespace stillsky {
namespace stack_detail {
namespace {

constexpr double NaN = std::numeric_limits<double>::quiet_NaN();

STILLSKY_SIMD void evaluateMeans(ErrorSource source, int count, const double* STILLSKY_RESTRICT n, const double* STILLSKY_RESTRICT w,
                                 const double* STILLSKY_RESTRICT w2, const double* STILLSKY_RESTRICT x,
                                 const double* STILLSKY_RESTRICT x2, const double* STILLSKY_RESTRICT v,
                                 const double* STILLSKY_RESTRICT centre, double* STILLSKY_RESTRICT value,
                                 double* STILLSKY_RESTRICT squared) {
    if (source == ErrorSource::SCATTER) {
        for (int i = 0; i < count; ++i) {
            const double variance = stats_detail::varianceOf(n[i], w[i], w2[i], x[i], x2[i]);
            value[i] = n[i] > 0 ? centre[i] + x[i] / w[i] : NaN;
            squared[i] = stats_detail::squaredErrorOfMean(ErrorSource::SCATTER, variance, w[i], w2[i], 0.0);
        }
    } else {
        const double mosaic = source == ErrorSource::MOSAIC ? 1.0 : 0.0;
        for (int i = 0; i < count; ++i) {
            const double square = mosaic != 0.0 ? w[i] : w[i] * w[i];
            value[i] = n[i] > 0 ? centre[i] + x[i] / w[i] : NaN;
            squared[i] = n[i] > 0 ? v[i] / square : NaN;
        }
    }
}

STILLSKY_SIMD void evaluatePlainMeans(int count, const double* STILLSKY_RESTRICT n, const double* STILLSKY_RESTRICT w,
                                      const double* STILLSKY_RESTRICT x, double* STILLSKY_RESTRICT value) {
    for (int i = 0; i < count; ++i) value[i] = n[i] > 0 ? x[i] / w[i] : NaN;
}

double square(double error) { return error * error; }

// Properties that are rarer than means, one pixel at a time.
void evaluateOne(Plan const& plan, ValueSums const& s, int i, double nUsable, double nImages, double& value, double& error) {
    const bool compat = plan.control.compat(), some = s.n != nullptr && s.n[i] > 0;
    const double n = plan.clips && s.n ? s.n[i] : nUsable;
    const double variance = some && s.x2 ? stats_detail::varianceOf(s.n[i], s.w[i], s.w2[i], s.x[i], s.x2[i]) : NaN;
    const double mean = some && s.w ? s.centre[i] + s.x[i] / s.w[i] : NaN;
    error = 0;
    switch (plan.property) {
        case NPOINT: value = nUsable; break;
        case NMASKED: value = nImages - nUsable; break;
        case NCLIPPED: value = nUsable - n; break;
        case SUM: value = some ? s.x[i] + s.w[i] * s.centre[i] : 0.0; break;
        case MIN: value = some ? s.min[i] : NaN; break;
        case MAX: value = some ? s.max[i] : NaN; break;
        case MEANSQUARE:
            value = stats_detail::meanSquareOf(mean, variance, n, compat);
            error = stats_detail::errorOfMeanSquare(mean, variance, n, compat);
            break;
        case VARIANCE:
        case VARIANCECLIP:
            value = variance;
            error = compat && plan.clips ? NaN : stats_detail::errorOfVariance(variance, n);
            break;
        case STDEV:
        case STDEVCLIP:
            value = std::sqrt(variance);
            error = stats_detail::errorOfStdev(variance, n, compat);
            break;
        case IQRANGE:
            value = s.iqr[i];
            error = compat ? NaN : stats_detail::errorOfIqRange(value, n);
            break;
        case MEDIAN:
            value = s.median[i];
            error = some ? std::sqrt(stats_detail::squaredErrorOfMedian(errorSourceOf(plan), variance, n, s.v ? s.v[i] : NaN)) : NaN;
            break;
        default: value = error = NaN;
    }
}

STILLSKY_INLINE MaskPixel maskOf(Plan const& plan, int nImages, int i, PixelCounts const& c) {
    const bool some = c.nUsable[i] > 0;
    MaskPixel bits = some ? c.orKept[i] : plan.control.noGoodPixelsMask();
    if (some && c.weightUsable) {
        for (std::size_t b = 0; b < c.rejected.size(); ++b) {
            if (c.rejected[b] == nullptr) continue;
            const double share = c.rejected[b][i] / (c.weightUsable[i] + c.rejected[b][i]);
            if (share > plan.control.maskPropagationThresholds()[b]) bits |= MaskPixel(1) << b;
        }
    }
    const bool clipped = plan.clips && c.nKept[i] < c.nUsable[i];
    return addMappedBits(bits, c.orAll[i], c.nUsable[i] < nImages, clipped, plan.options);
}

STILLSKY_SIMD void writeMasks(int count, const std::int32_t* STILLSKY_RESTRICT nUsable, const MaskPixel* STILLSKY_RESTRICT orKept,
                              MaskPixel none, MaskPixel* STILLSKY_RESTRICT out) {
    for (int i = 0; i < count; ++i) out[i] = nUsable[i] > 0 ? orKept[i] : none;
}

template <typename T>
STILLSKY_INLINE void writeBody(int count, const double* STILLSKY_RESTRICT value, T* STILLSKY_RESTRICT out) {
    for (int i = 0; i < count; ++i) out[i] = static_cast<T>(value[i]);
}
STILLSKY_SIMD void writeValues(int count, const double* value, float* out) { writeBody(count, value, out); }
STILLSKY_SIMD void writeValues(int count, const double* value, double* out) { writeBody(count, value, out); }
STILLSKY_SIMD void writeSquares(int count, const double* STILLSKY_RESTRICT squared, float* STILLSKY_RESTRICT out) {
    for (int i = 0; i < count; ++i) out[i] = static_cast<float>(squared[i] < 0 ? NaN : squared[i]);
}
template <typename N>
STILLSKY_INLINE void countBody(int count, const N* STILLSKY_RESTRICT n, std::uint16_t* STILLSKY_RESTRICT out) {
    for (int i = 0; i < count; ++i) out[i] = static_cast<std::uint16_t>(static_cast<std::int32_t>(n[i]));
}
STILLSKY_SIMD void writeCounts(int count, const std::int32_t* n, std::uint16_t* out) { countBody(count, n, out); }
STILLSKY_SIMD void writeCounts(int count, const double* n, std::uint16_t* out) { countBody(count, n, out); }

}  // namespace

void evaluate(Plan const& plan, int count, ValueSums const& s, const std::int32_t* nUsable, double* value, double* squared) {
    if (plan.property == MEAN || plan.property == MEANCLIP) {
        const bool scatter = errorSourceOf(plan) == ErrorSource::SCATTER;
        if (scatter ? s.x2 != nullptr : s.v != nullptr) {
            evaluateMeans(errorSourceOf(plan), count, s.n, s.w, s.w2, s.x, s.x2, s.v, s.centre, value, squared);
        } else {
            evaluatePlainMeans(count, s.n, s.w, s.x, value);
            for (int i = 0; i < count; ++i) {
                value[i] += s.centre[i];
                squared[i] = NaN;
            }
        }
        return;
    }
    for (int i = 0; i < count; ++i) {
        double error;
        evaluateOne(plan, s, i, nUsable[i], static_cast<double>(plan.weights.size()), value[i], error);
        squared[i] = square(error);
    }
}

template <typename T>
void writePixels(Plan const& plan, int nImages, int y, int x0, int count, const double* value, const double* squared,
                 PixelCounts const& c, StackOutput<T> const& out) {
    if (out.image.data) writeValues(count, value, out.image.row(y) + x0);
    if (out.mask.data) {
        MaskPixel* row = out.mask.row(y) + x0;
        if (!c.weightUsable && plan.options.maskMap.empty() && !plan.clips) {
            writeMasks(count, c.nUsable, c.orKept, plan.control.noGoodPixelsMask(), row);
        } else {
            for (int i = 0; i < count; ++i) row[i] = maskOf(plan, nImages, i, c);
        }
    }
    if (out.variance.data) writeSquares(count, squared, out.variance.row(y) + x0);
    if (out.kept.data) writeCounts(count, c.nKept, out.kept.row(y) + x0);
    if (out.nImage.data) writeCounts(count, c.nImage, out.nImage.row(y) + x0);
}

#define STILLSKY_INSTANTIATE(T)                                                                                   \
    template void writePixels<T>(Plan const&, int, int, int, int, const double*, const double*, PixelCounts const&, \
                                 StackOutput<T> const&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stack_detail
}  // namespace stillsky
