// sdssShape: adaptive moments as the SDSS pipeline defined them, at fixed centres; and the flux of those Gaussians.
#pragma once

#include <vector>

#include "stillsky/measure/measure_input.hpp"

namespace stillsky {

struct SdssShapeControl {
    double background = 0;
    int maxIter = 100;
    double maxShift = 0;  // pixels, clamped to [2, 10]
    double tol1 = 1e-5;   // change of the ellipticity
    double tol2 = 1e-4;   // relative change of the size
    // Rubin's numbers: all pixels are used as they are, and the weight ends at exponent 14 and 4 sigma, which makes
    // moments 2e-5 too small; otherwise 25 and 5 sigma.
    bool reference = false;
};

struct SdssShapeResult {
    double x, y;              // weighted centroid (not used for the moments)
    double xx, yy, xy;        // moments of the weight, pixels^2
    double xxErr, yyErr, xyErr;
    double flux, fluxErr;     // amplitude times 2 pi sqrt(det)
    double fluxXxCov, fluxYyCov, fluxXyCov;
    int flagBits;
};

namespace sdss_shape_flags {
constexpr int FAILED = 1;           // UNWEIGHTED or SHIFT or UNWEIGHTED_BAD
constexpr int UNWEIGHTED_BAD = 2;   // even the plain moments are impossible: NaN
constexpr int UNWEIGHTED = 4;       // plain moments over the last box instead
constexpr int SHIFT = 8;            // the centroid is farther than maxShift from the given position
constexpr int MAX_ITER = 16;
constexpr int MASKED = 32;          // pixels under the weight were replaced by the fitted Gaussian
}  // namespace sdss_shape_flags

// Adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583, 3.1; SDSS: Lupton et al. 2001) about (x[i], y[i]).
//
// Weight exp(-q/2), q = d' W^-1 d, cut at q = 25, on the box of 5 sqrt(max W_ii) around the centre; W starts as
// diag(1.5) and follows W^-1 <- M^-1 - W^-1 with M the weighted second moments. Pixels are sampled 4x4 once W is below
// 0.25 (cut at 9). `negative[i]` reverses every test of sign. Pixels that are not good are replaced by the current
// Gaussian. Errors: inverse of the Fisher matrix of amplitude and moments with the variance of
// the centre pixel. The image should be free of background.
template <typename T>
std::vector<SdssShapeResult> sdssShape(MeasureInput<T> const& input, std::vector<double> const& x,
                                       std::vector<double> const& y, std::vector<char> const& negative,
                                       SdssShapeControl const& control);

struct GaussianFluxResult {
    double flux, fluxErr;
    int flagBits;  // 1: no finite result; 2: pixels were missing
};

// Flux of the elliptical Gaussian with known centre and moments: amplitude 2 sum(w d) for a unit weight
// w = exp(-d' C^-1 d / 2) matched to the source (sum w^2 = pi sqrt(det C) over all pixels), error from the variance of
// the centre pixel. `reference` uses all pixels; otherwise pixels that are not good are left out and the sum is divided
// by the part of sum(w^2) that is left.
template <typename T>
std::vector<GaussianFluxResult> gaussianFlux(MeasureInput<T> const& input, std::vector<double> const& x,
                                             std::vector<double> const& y, std::vector<double> const& xx,
                                             std::vector<double> const& yy, std::vector<double> const& xy,
                                             bool reference = false);

}  // namespace stillsky
