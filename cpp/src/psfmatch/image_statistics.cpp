#include "stillsky/psfmatch/image_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kIqrToSigma = 0.741301109252802;

// Quantile q of sorted values, linear between neighbours.
double quantile(std::vector<double> const& sorted, double q) {
    const double position = q * static_cast<double>(sorted.size() - 1);
    const std::size_t below = static_cast<std::size_t>(position);
    if (below + 1 >= sorted.size()) return sorted.back();
    const double fraction = position - static_cast<double>(below);
    return sorted[below] + fraction * (sorted[below + 1] - sorted[below]);
}

// Mean and unbiased variance of the values within halfWidth of centre.
void momentsWithin(std::vector<double> const& values, double centre, double halfWidth, double& mean, double& variance,
                   int& n) {
    double sum = 0.0;
    n = 0;
    for (double v : values) {
        if (std::fabs(v - centre) <= halfWidth) {
            sum += v;
            ++n;
        }
    }
    mean = n > 0 ? sum / n : kNaN;
    double sum2 = 0.0;
    for (double v : values) {
        if (std::fabs(v - centre) <= halfWidth) sum2 += (v - mean) * (v - mean);
    }
    variance = n > 1 ? sum2 / (n - 1) : kNaN;
}

}  // namespace

void ImageStatistics::reset() {
    sum1_ = sum2_ = 0.0;
    n_ = 0;
}

template <typename T>
void ImageStatistics::apply(MaskedView<const T> const& image, int core) {
    reset();
    const int width = image.width(), height = image.height();
    int x0 = 0, x1 = width, y0 = 0, y1 = height;
    if (core >= 0) {
        x0 = std::max(0, width / 2 - core);
        x1 = std::min(width, width / 2 + core + 1);
        y0 = std::max(0, height / 2 - core);
        y1 = std::min(height, height / 2 + core + 1);
    }
    for (int y = y0; y < y1; ++y) {
        T const* value = image.image.row(y);
        MaskPixel const* mask = image.mask.row(y);
        VariancePixel const* variance = image.variance.row(y);
        for (int x = x0; x < x1; ++x) {
            const double inverse = 1.0 / static_cast<double>(variance[x]);
            if ((mask[x] & badMask_) != 0 || !std::isfinite(inverse)) continue;
            const double v = static_cast<double>(value[x]);
            sum1_ += v * std::sqrt(inverse);
            sum2_ += v * v * inverse;
            ++n_;
        }
    }
    if (!std::isfinite(sum1_) || !std::isfinite(sum2_)) {
        throw NumericalError("ImageStatistics: NaN or infinity among the pixels that are not masked");
    }
}

double ImageStatistics::mean() const { return n_ > 0 ? sum1_ / n_ : kNaN; }

double ImageStatistics::variance() const {
    if (n_ <= 1) return kNaN;
    const double m = sum1_ / n_;
    return (sum2_ / n_ - m * m) * n_ / (n_ - 1);
}

double ImageStatistics::rms() const { return std::sqrt(std::max(variance(), 0.0)); }

ClippedMoments clippedMoments(std::vector<double> values, double nSigma, int nPasses) {
    values.erase(std::remove_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); }),
                 values.end());
    ClippedMoments out{kNaN, kNaN, static_cast<int>(values.size())};
    if (values.empty()) return out;
    std::sort(values.begin(), values.end());
    const double median = quantile(values, 0.5);
    const double robustSigma = kIqrToSigma * (quantile(values, 0.75) - quantile(values, 0.25));
    double mean = median, variance = kNaN;
    int n = 0;
    for (int pass = 0; pass < nPasses; ++pass) {
        const bool robust = pass == 0 || values.size() <= 1;
        const double centre = robust ? median : mean;
        const double sigma = robust ? robustSigma : std::sqrt(std::max(variance, 0.0));
        momentsWithin(values, centre, nSigma * sigma, mean, variance, n);
    }
    out.mean = mean;
    out.standardDeviation = std::sqrt(std::max(variance, 0.0));
    if (n <= 1) out.standardDeviation = kNaN;
    return out;
}

template void ImageStatistics::apply<float>(MaskedView<const float> const&, int);
template void ImageStatistics::apply<double>(MaskedView<const double> const&, int);

}  // namespace stillsky
