// Statistics of images, masked images, masks and vectors: StatisticsControl, Statistics, makeStatistics.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/image/image.hpp"
#include "stillsky/image/mask_planes.hpp"

namespace stillsky {

// What to compute; combine with |. ERRORS asks for the uncertainty of everything else.
enum StatisticsProperty : int {
    NOTHING = 0,
    ERRORS = 0x1,         // fill in the errors too; without it every error is NaN
    NPOINT = 0x2,         // usable samples, before any clipping
    MEAN = 0x4,
    STDEV = 0x8,
    VARIANCE = 0x10,      // unbiased: n/(n - 1), with weights W1^2/(W1^2 - W2)
    MEDIAN = 0x20,        // unweighted, linear quantile
    IQRANGE = 0x40,       // q(0.75) - q(0.25), unweighted
    MEANCLIP = 0x80,
    STDEVCLIP = 0x100,
    VARIANCECLIP = 0x200,
    MIN = 0x400,
    MAX = 0x800,
    SUM = 0x1000,         // sum of w x
    MEANSQUARE = 0x2000,
    ORMASK = 0x4000,      // OR of the mask pixels of the samples used
    NCLIPPED = 0x8000,    // usable samples that the last clipping round rejected
    NMASKED = 0x10000     // samples that were not usable
};

// "MEAN" -> MEAN and so on. DomainError for any other name.
StatisticsProperty stringToStatisticsProperty(std::string const& name);
// The reverse; DomainError unless exactly one property.
std::string statisticsPropertyName(StatisticsProperty property);

// sigma of a Gaussian = IQ_TO_STDEV * interquartile range.
constexpr double IQ_TO_STDEV = 0.741301109252802;

// How to compute statistics. Setters throw DomainError for values outside the allowed set.
class StatisticsControl {
public:
    StatisticsControl() = default;

    double numSigmaClip() const { return numSigmaClip_; }
    void setNumSigmaClip(double n);  // > 0
    int numIter() const { return numIter_; }
    void setNumIter(int n);  // >= 1
    // A sample whose mask has any of these bits is not used.
    MaskPixel andMask() const { return andMask_; }
    void setAndMask(MaskPixel bits) { andMask_ = bits; }
    // Bits that stacks write where no sample was usable.
    MaskPixel noGoodPixelsMask() const { return noGoodPixelsMask_; }
    void setNoGoodPixelsMask(MaskPixel bits) { noGoodPixelsMask_ = bits; }
    // True: samples that are not finite are not used. False: they are, and spoil the result.
    bool nanSafe() const { return nanSafe_; }
    void setNanSafe(bool on) { nanSafe_ = on; }
    // Unset: weights are used if they are given. True without weights: weight = 1/variance. False with weights: DomainError.
    std::optional<bool> weighted() const { return weighted_; }
    void setWeighted(std::optional<bool> on) { weighted_ = on; }
    // Error of mean and median from the variance plane rather than from the scatter.
    bool calcErrorFromInputVariance() const { return calcErrorFromInputVariance_; }
    void setCalcErrorFromInputVariance(bool on);  // not together with the next
    // Squared error of the mean = weighted mean of the variance plane.
    bool calcErrorMosaicMode() const { return calcErrorMosaicMode_; }
    void setCalcErrorMosaicMode(bool on);
    // Bit b is set in the OR mask when more than this share of the weight had it and was rejected. 1 where never set.
    double maskPropagationThreshold(int bit) const;
    void setMaskPropagationThreshold(int bit, double threshold);  // 0 <= bit <= 30
    std::vector<double> const& maskPropagationThresholds() const { return thresholds_; }
    // True: with clipping, the OR mask is that of the samples kept; false: of all usable samples.
    bool orMaskClipped() const { return orMaskClipped_; }
    void setOrMaskClipped(bool on) { orMaskClipped_ = on; }
    // Reproduce the Rubin pipelines exactly where stillsky differs by design: OR mask of all usable samples; NaN for the
    // errors of VARIANCECLIP and IQRANGE and of STDEV 0; error of MEANSQUARE = sqrt(2) value/n; MEDIAN errors always from
    // the scatter; a clipping round that keeps nobody, or one sample, makes the next one NaN; finite means finite in
    // single precision; with nanSafe off NPOINT leaves NaNs out; weights that are not finite are used.
    bool compat() const { return compat_; }
    void setCompat(bool on) { compat_ = on; }

private:
    double numSigmaClip_ = 3.0;
    int numIter_ = 3;
    MaskPixel andMask_ = 0;
    MaskPixel noGoodPixelsMask_ = mask_planes::NO_DATA;
    bool nanSafe_ = true;
    std::optional<bool> weighted_;
    bool calcErrorFromInputVariance_ = false, calcErrorMosaicMode_ = false;
    std::vector<double> thresholds_;
    bool orMaskClipped_ = true, compat_ = false;
};

// The samples: an image and what goes with it; an empty view means "not given". At most one of the weight views.
template <typename T>
struct StatisticsSamples {
    View2<const T> image;
    View2<const MaskPixel> mask;
    View2<const VariancePixel> variance;
    View2<const float> weights;
    View2<const double> weights64;
};

// The result: values and errors of the properties that were asked for.
class Statistics {
public:
    // DomainError when the property was not requested; without argument: when not exactly one (ERRORS aside) was.
    double getValue(StatisticsProperty property = NOTHING) const { return getResult(property).first; }
    double getError(StatisticsProperty property = NOTHING) const { return getResult(property).second; }
    std::pair<double, double> getResult(StatisticsProperty property = NOTHING) const;

    // OR of the mask pixels of the usable samples, plus propagated bits; where ORMASK and clipped properties were
    // requested together: of the samples kept (StatisticsControl::orMaskClipped).
    MaskPixel orMask() const { return orMask_; }
    long long nUsed() const { return nUsed_; }  // samples behind the clipped values (all usable ones without clipping)
    int flags() const { return flags_; }

private:
    friend class StatisticsBuilder;
    explicit Statistics(int flags) : flags_(flags) {}
    int flags_;
    double value_[17] = {}, error_[17] = {};
    MaskPixel orMask_ = 0;
    long long nUsed_ = 0;
};

// Compute the properties `flags` of the samples. T: float, double, std::int32_t, std::uint16_t.
//
// Sample i is usable if it is finite (nanSafe) and its mask has no bit of andMask; with weights 1/variance also if its
// variance is positive and finite; with given weights (>= 0; DomainError for a negative one) if its weight is finite.
// Sums are float64. Quantiles: q(f) is linear between the sorted samples around f (n - 1); for integer pixels a value k
// that occurs M times is spread evenly over [k - 0.5, k + 0.5).
// Clipping: numIter rounds, each over all usable samples, keep |x - centre| <= half; first centre = median, half =
// numSigmaClip * IQ_TO_STDEV * IQR, later the clipped mean and numSigmaClip * clipped STDEV of the round before. A round
// that keeps nothing is undone, one that keeps at most two is the last. Mean and variance are weighted, quantiles not.
// No usable sample: NaN, NPOINT 0, SUM 0. Fewer than two: VARIANCE NaN.
//
// Errors: ShapeError when planes differ in size, DomainError for an image without pixels or contradictory control.
// Cost: about 2 ns a pixel for moments, 6 to 10 ns with quantiles and clipping, over threads for large images.
// Memory: one copy of the usable pixels (weights and variances as float64 if they are used); none for large unweighted
// floating-point images whose errors and masks need no further plane.
template <typename T>
Statistics computeStatistics(StatisticsSamples<T> const& samples, int flags,
                             StatisticsControl const& control = StatisticsControl());

// Image.
template <typename T>
Statistics makeStatistics(View2<T> image, int flags, StatisticsControl const& control = StatisticsControl()) {
    StatisticsSamples<std::remove_const_t<T>> s;
    s.image = image;
    return computeStatistics(s, flags, control);
}

// Image and mask.
template <typename T>
Statistics makeStatistics(View2<T> image, View2<const MaskPixel> mask, int flags,
                          StatisticsControl const& control = StatisticsControl()) {
    StatisticsSamples<std::remove_const_t<T>> s;
    s.image = image;
    s.mask = mask;
    return computeStatistics(s, flags, control);
}

// Masked image, with or without a weight image.
template <typename T>
Statistics makeStatistics(MaskedView<T> const& mi, int flags, StatisticsControl const& control = StatisticsControl(),
                          View2<const float> weights = View2<const float>()) {
    StatisticsSamples<std::remove_const_t<T>> s;
    s.image = mi.image;
    s.mask = mi.mask;
    s.variance = mi.variance;
    s.weights = weights;
    return computeStatistics(s, flags, control);
}

// Vector, with or without weights (ShapeError when the lengths differ).
template <typename T>
Statistics makeStatistics(std::vector<T> const& values, int flags, StatisticsControl const& control = StatisticsControl(),
                          std::vector<double> const& weights = std::vector<double>()) {
    StatisticsSamples<T> s;
    s.image = View2<const T>(values.data(), static_cast<int>(values.size()), values.empty() ? 0 : 1);
    if (!weights.empty()) s.weights64 = View2<const double>(weights.data(), static_cast<int>(weights.size()), 1);
    return computeStatistics(s, flags, control);
}

// A mask alone: only NPOINT (pixels), ORMASK and SUM, where SUM is the bitwise OR of all pixels. DomainError otherwise.
Statistics makeMaskStatistics(View2<const MaskPixel> mask, int flags,
                              StatisticsControl const& control = StatisticsControl());

}  // namespace stillsky
