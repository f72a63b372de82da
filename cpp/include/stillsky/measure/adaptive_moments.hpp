// adaptiveMoments: centroid, size, shape and flux of many sources by Gaussian-weighted moments.
#pragma once

#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/image/image.hpp"

namespace stillsky {

struct AdaptiveMomentsControl {
    double guessSigma = 1.5;   // first weight: a round Gaussian of this width, pixels, in (0, 100]
    int maxIter = 100;
    double tolerance = 1e-5;   // relative in size, absolute in ellipticity, in units of sigma in position
    double maxShift = 5.0;     // farthest the centroid may move from the given position, pixels
    double maxSigma = 50.0;    // sources that grow beyond this fail, pixels
    MaskPixel badBits = 0;     // pixels with any of these bits are replaced by the fitted Gaussian
    bool negative = false;     // measure the negated image
    bool fixedCenter = false;  // keep the given position
};

// Bits of AdaptiveMoments::flagBits. FAILED is set with each of the reasons marked *; the numbers then are NaN, except
// x and y, which are the given position.
namespace moments_flags {
constexpr int FAILED = 1;
constexpr int OFF_IMAGE = 2;         // * the position is not on the image (or not finite)
constexpr int EDGE = 4;              // part of the 3-sigma ellipse lies outside the image
constexpr int MASKED = 8;            // a masked or non-finite pixel lies in the 3-sigma ellipse
constexpr int MASKED_CENTER = 16;    // the pixel at the centroid is masked or not finite
constexpr int NOT_POSITIVE = 32;     // * weighted flux or moments not positive
constexpr int NOT_CONVERGED = 64;    // * maxIter reached, or wider than maxSigma
constexpr int SHIFT = 128;           // * moved farther than maxShift
constexpr int UNRESOLVED = 256;      // narrower than 0.25 pixel: the moments are a floor, as for a cosmic ray
constexpr int NO_GOOD_PIXELS = 512;  // * fewer than 5 good pixels under the weight
}  // namespace moments_flags

struct AdaptiveMoments {
    double x, y;           // centroid, local pixels
    double xx, yy, xy;     // second moments, pixels^2
    double flux, fluxErr;  // of the elliptical Gaussian with these moments, image units
    double xErr, yErr;     // standard deviations from the variance plane, pixels
    double xxErr, yyErr, xyErr;
    int flagBits;
    int nIter;
};

// Adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583, section 3.1) of the sources at (x[i], y[i]).
//
// Iterates w(d) = exp(-d' C^-1 d / 2) until the weight equals the source: with the first and second moments m and M
// of w I about the current centre,  centre += 2 m,  C <- (M^-1 - C^-1)^-1  (exact in one step for a Gaussian).
// Pixels without a good value (bad bits, not finite, variance not finite or <= 0, outside the image) are replaced in
// every step by the current Gaussian, so masks and edges do not bias a source that resembles one. The image should
// be free of background. Errors assume independent pixels: for an update linear in the pixels
// var(c) = 4 sum(w^2 d^2 V)/(sum w I)^2, var(C_xx) = 16 sum(w^2 (d^2 - M_xx)^2 V)/(sum w I)^2, and
// flux = A 2 pi sqrt(det C) with A = sum(w I)/sum(w^2), var(A) = sum(w^2 V)/sum(w^2)^2 (good pixels); the variance of
// the flux is twice what var(A) gives, because the moments are fitted too.
//
// image, variance, mask: equal sizes, or variance and mask empty (variance 1, nothing masked). Positions are local.
// ShapeError when sizes differ; DomainError for control values out of range. Failures are flags, never exceptions.
// Cost: about 1.5 ns per pixel of the (8 sigma)^2 stamp and iteration, 5-10 iterations; sources run in parallel.
template <typename T>
std::vector<AdaptiveMoments> adaptiveMoments(View2<const T> image, View2<const VariancePixel> variance,
                                             View2<const MaskPixel> mask, std::vector<double> const& x,
                                             std::vector<double> const& y, AdaptiveMomentsControl const& control);

}  // namespace stillsky
