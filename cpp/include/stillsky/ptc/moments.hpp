// What a pair of flat fields needs before its covariances: clipped moments, the difference with fluxes matched, and the
// weights of its pixels. Each is one or a few passes in fixed blocks of rows, threaded: results are bit-identical for
// any number of threads.
#pragma once

#include <cstdint>

#include "stillsky/core/view.hpp"

namespace stillsky {

// Moments of the finite pixels of weight 1. NaN where there is none.
struct ClippedPixelMoments {
    long long count;                       // such pixels
    long long kept;                        // of these, inside the last clipping interval
    double plainMean;                      // of all `count`
    double median, quartile1, quartile3;   // of all `count`; linear between order statistics
    double mean, variance;                 // of the kept ones; variance unbiased, NaN for kept = 1
};

// Clipping keeps |pixel - centre| <= half width: in the first round around the median with nSigma * 0.7413 times the
// interquartile range, in each of the other nIter - 1 rounds around the mean of the round before with nSigma times its
// standard deviation; always from all pixels. An empty weight view means weight 1. T: float, double; sums in double.
// ShapeError: weight of another size. DomainError: nSigma <= 0, nIter < 1, weights other than 0 and 1.
// Order statistics by one digit of a radix sort, exact. Cost: 3 ns a pixel with three rounds, one thread;
// memory: a copy of the pixels used.
template <typename T>
ClippedPixelMoments clippedPixelMoments(View2<const T> image, View2<const std::uint8_t> weight = View2<const std::uint8_t>(),
                                        double nSigma = 5.5, int nIter = 3);

// out = (mean2 image1 - mean1 image2) / ((mean1 + mean2)/2): pixel by pixel the difference of two flats scaled to the
// level of their mean, so that a common pattern of illumination or gain cancels. In double. NaN where either pixel is.
// ShapeError: sizes that differ. DomainError: a mean that is not finite, or a zero sum of both.
template <typename T>
void differenceOfFlats(View2<const T> image1, View2<const T> image2, double mean1, double mean2, View2<double> out);

// out = 1 where the pixel is finite, weight is 1 (empty view: everywhere) and lower <= pixel <= upper, else 0. Returns
// the number of ones. NaN bounds keep nothing. ShapeError: sizes that differ.
template <typename T>
long long clipWeights(View2<const T> image, View2<const std::uint8_t> weight, double lower, double upper,
                      View2<std::uint8_t> out);

}  // namespace stillsky
