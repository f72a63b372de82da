// Statistics of residual images in units of their standard deviation, and the clipped mean used for kernel sums.
#pragma once

#include <vector>

#include "stillsky/image/image.hpp"

namespace stillsky {

// Mean and variance of value/sqrt(variance) over pixels whose mask has none of the bad bits and whose 1/variance is
// finite (variance +inf counts, with weight 0: NO_DATA must be among the bad bits to keep edge pixels out).
class ImageStatistics {
public:
    explicit ImageStatistics(MaskPixel badMask = 0) : badMask_(badMask) {}

    void reset();
    // Reset, then accumulate over the whole image, or over the (2 core + 1)^2 pixels around its centre when core >= 0.
    // NumericalError when a used pixel is not finite.
    template <typename T>
    void apply(MaskedView<const T> const& image, int core = -1);

    MaskPixel badMask() const { return badMask_; }
    void setBadMask(MaskPixel badMask) { badMask_ = badMask; }
    int nPixels() const { return n_; }
    double mean() const;      // NaN without pixels
    double variance() const;  // unbiased; NaN with fewer than two pixels
    double rms() const;       // sqrt(variance)

private:
    MaskPixel badMask_;
    double sum1_ = 0.0, sum2_ = 0.0;
    int n_ = 0;
};

// Clipped mean and unbiased standard deviation.
struct ClippedMoments {
    double mean, standardDeviation;
    int n;  // finite values before clipping
};

// Three passes at 3 sigma, each over the full list: the first around the median with 0.7413 times the interquartile
// range for sigma, the others around the clipped mean with the clipped standard deviation. Non-finite values are
// dropped first. NaN moments for an empty list; with one value kept the deviation is NaN.
ClippedMoments clippedMoments(std::vector<double> values, double nSigma = 3.0, int nPasses = 3);

}  // namespace stillsky
