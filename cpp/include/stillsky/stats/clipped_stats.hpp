// The two numbers everybody needs from an image: clipped statistics and a robust standard deviation. Exact and fast.
#pragma once

#include "stillsky/stats/statistics.hpp"

namespace stillsky {

// median and n of the usable pixels' statistics; mean and stdev after clipping; n pixels kept. NaN and n = 0 when no
// pixel is usable.
struct ClippedStats {
    double median, mean, stdev;
    long long n;
};

// MEDIAN, MEANCLIP and STDEVCLIP as Statistics has them (finite pixels without any of badBits; an empty mask view means
// no mask). subsample k: only every k-th row and column. T: float, double. DomainError for subsample < 1, numIter < 1,
// numSigma <= 0 or no pixels. Cost: 6 to 10 ns a pixel on one thread, threaded; no copy of a
// large image.
template <typename T>
ClippedStats clippedStats(View2<const T> image, View2<const MaskPixel> mask = View2<const MaskPixel>(),
                          MaskPixel badBits = 0, double numSigma = 3.0, int numIter = 3, int subsample = 1);

// 1.482602218505602 times the median absolute deviation from the median, of the same pixels: the standard deviation of
// a Gaussian. NaN when there is none.
template <typename T>
double robustSigma(View2<const T> image, View2<const MaskPixel> mask = View2<const MaskPixel>(), MaskPixel badBits = 0,
                   int subsample = 1);

}  // namespace stillsky
