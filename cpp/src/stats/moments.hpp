// Private to the library: the formulas that turn sums over samples into values and errors, for makeStatistics and for
// stacks. Without branches, so that loops over pixels become vector code.
#pragma once

#include <cmath>
#include <limits>

#include "stillsky/core/config.hpp"
#include "stillsky/stats/statistics.hpp"

namespace stillsky {
namespace stats_detail {

// n samples, sums of w, w^2, w (x - c), w (x - c)^2: reliability-weighted variance, W1^2/(W1^2 - W2) times the biased
// one. NaN for n <= 1 and where one sample has all the weight (W1^2 - W2 is rounding noise then).
STILLSKY_INLINE double varianceOf(double n, double w, double w2, double x, double x2) {
    const double square = w * w, difference = square - w2;
    const double shift = x / w, biased = x2 / w - shift * shift;
    const double variance = (biased < 0 ? 0.0 : biased) * (square / difference);  // NaN stays NaN
    return (n > 1) & (difference > 1e-14 * square) ? variance : std::numeric_limits<double>::quiet_NaN();
}

// What the squared error of a mean or median is made from, and the sum over samples that it needs.
enum class ErrorSource { SCATTER, INPUT_VARIANCE, MOSAIC };

// Squared error of the mean; v = sum of w^2 variance (INPUT_VARIANCE) or of w variance (MOSAIC).
STILLSKY_INLINE double squaredErrorOfMean(ErrorSource source, double variance, double w, double w2, double v) {
    return source == ErrorSource::SCATTER ? variance * w2 / (w * w) : source == ErrorSource::MOSAIC ? v / w : v / (w * w);
}
// Large-sample errors for Gaussian samples (Stuart & Ord, Kendall's Advanced Theory of Statistics I, 10.10-11).
// v = sum of the variances.
STILLSKY_INLINE double squaredErrorOfMedian(ErrorSource source, double variance, double n, double v) {
    constexpr double halfPi = 1.57079632679489661923;
    return source == ErrorSource::SCATTER  ? halfPi * variance / n
           : source == ErrorSource::MOSAIC ? halfPi * v / n
                                           : halfPi * v / (n * n);
}
STILLSKY_INLINE double errorOfIqRange(double iqr, double n) { return 1.573 * IQ_TO_STDEV * iqr / std::sqrt(n); }
STILLSKY_INLINE double errorOfVariance(double variance, double n) { return std::sqrt(2 * (n - 1)) * variance / n; }
// d sigma = d var / (2 sigma); 0 for equal samples, where the reference (compat) divides 0 by 0.
STILLSKY_INLINE double errorOfStdev(double variance, double n, bool compat) {
    const double stdev = std::sqrt(variance), error = 0.5 * errorOfVariance(variance, n);
    return (stdev > 0) | compat ? error / stdev : error;
}
STILLSKY_INLINE double meanSquareOf(double mean, double variance, double n, bool compat) {
    return ((n == 1) & !compat ? 0.0 : (n - 1) / n * variance) + mean * mean;
}
STILLSKY_INLINE double errorOfMeanSquare(double mean, double variance, double n, bool compat) {
    return compat ? std::sqrt(2.0) * meanSquareOf(mean, variance, n, compat) / n
                  : std::sqrt((2 * variance * variance + 4 * mean * mean * variance) / n);
}

// Quantile at the fraction h between two neighbours in order; h = 0: 0 * inf would be NaN.
STILLSKY_INLINE double between(double lower, double upper, double h) {
    return h == 0 ? lower : (1 - h) * lower + h * upper;
}

// A mean this far from the centre of the sums, in units of the scatter, costs digits: sum again about the mean.
STILLSKY_INLINE bool isFarFromCentre(double w, double x, double x2) {
    const double shift = x / w, square = shift * shift;
    return (square > 4 * (x2 / w - square)) & (square <= std::numeric_limits<double>::max());
}

}  // namespace stats_detail
}  // namespace stillsky
