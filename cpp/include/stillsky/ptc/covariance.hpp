// Lag covariances of an image with masked pixels, by exact sums of products: the estimator behind photon-transfer
// curves.
//
// For an image d, weights w of 0 and 1 and a lag (dx, dy), over all pixels p such that p and p + lag lie in the image
// (Astier et al. 2019, A&A 629, A36, appendix A):
//   count      = sum w(p) w(p + lag)                sumFirst  = sum w(p) w(p + lag) d(p)
//   sumProduct = sum w(p) w(p + lag) d(p) d(p + lag)  sumSecond = sum w(p) w(p + lag) d(p + lag)
//   covariance = sumProduct/count - sumFirst sumSecond/count^2
// Each lag is taken about the means of its own pixel pairs. Unit: that of the pixels squared. Nothing is halved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "stillsky/core/view.hpp"

namespace stillsky {

// Sums for dx = 0..maxLag, dy = -maxLag..maxLag. Those of other lags follow: a lag and its negative have the same
// pairs, first and second exchanged.
struct CovarianceSums {
    explicit CovarianceSums(int maxLag = 0, double offset = 0.0);

    int maxLag;
    double offset;  // was subtracted from every pixel beforehand
    std::vector<std::int64_t> count;
    std::vector<double> sumFirst, sumSecond, sumProduct;

    // Position of a lag in the vectors: dy runs fastest.
    std::size_t index(int dx, int dy) const {
        return static_cast<std::size_t>(dx) * static_cast<std::size_t>(2 * maxLag + 1) + static_cast<std::size_t>(dy + maxLag);
    }
    // Covariance at a lag with dx >= 0; NaN without pairs.
    double covariance(int dx, int dy) const;
    // The sums of the same pixels less another number.
    CovarianceSums withOffset(double newOffset) const;
    // Add the sums of another image (or part of one: pairs from one part to the other are in neither). ShapeError when
    // maxLag differs; another offset is taken care of.
    CovarianceSums& operator+=(CovarianceSums const& other);
};

// Covariances at dx, dy = 0..maxLag: for dx and dy > 0 the mean of (dx, dy) and (dx, -dy), and the pairs of both.
struct LagCovariances {
    explicit LagCovariances(int maxLag = 0);

    int maxLag;
    std::vector<double> cov;         // NaN where there are too few pairs
    std::vector<std::int64_t> npix;  // pixel pairs; 0 where there are too few

    std::size_t index(int dx, int dy) const {
        return static_cast<std::size_t>(dx) * static_cast<std::size_t>(maxLag + 1) + static_cast<std::size_t>(dy);
    }
    double operator()(int dx, int dy) const { return cov[index(dx, dy)]; }
};

enum class Quadrants {
    EQUAL,    // (dx, dy) and (dx, -dy) weigh the same
    WEIGHTED  // by their numbers of pairs
};

// A lag with fewer than minPairsPerLag pairs (EQUAL: in either quadrant) is NaN with npix 0; with minPairsPerLag = 1 it
// is a DomainError that names the lag. DomainError for minPairsPerLag < 1.
LagCovariances averageQuadrants(CovarianceSums const& sums, Quadrants quadrants = Quadrants::EQUAL,
                                std::int64_t minPairsPerLag = 1);

// Measures covariances of images. One object serves any number of images and threads.
class CovarianceEstimator {
public:
    // DomainError for maxLag < 0.
    explicit CovarianceEstimator(int maxLag);

    Quadrants quadrants = Quadrants::EQUAL;
    std::int64_t minPairsPerLag = 1;
    bool ignoreNonFinite = false;  // treat NaN and infinite pixels of weight 1 as of weight 0 instead of refusing them

    // Sums of image[y, x] less `offset` (default: their mean over every eighth row) over pixels of weight 1. Pixels of
    // weight 0 may be anything, NaN included. T: float, double; sums in double.
    // ShapeError: no pixels, or weight of another size. DomainError: maxLag not less than both sides, weights other
    // than 0 and 1, a pixel of weight 1 that is not finite.
    //
    // Products of shifted rows, whole vectors of pixels at a time for up to 27 lags at once; no mask is read there, bad
    // pixels are 0. The other sums are those of rectangles less patches around bad pixels; where bad pixels are many,
    // products of weights serve instead. Threads take fixed blocks of rows: bit-identical for any number of them.
    // Cost: height * width * (maxLag + 1) * (2 maxLag + 1) multiply-adds. Memory: below 1 MB per thread up to 4000
    // columns.
    template <typename T>
    CovarianceSums sums(View2<const T> image, View2<const std::uint8_t> weight,
                        std::optional<double> offset = std::nullopt) const;

    // averageQuadrants(sums(image, weight)).
    template <typename T>
    LagCovariances covariances(View2<const T> image, View2<const std::uint8_t> weight) const;

private:
    int maxLag_;
};

}  // namespace stillsky
