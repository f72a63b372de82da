// blendFit: positions and fluxes of sources that overlap, all of a group at once.
#pragma once

#include <vector>

#include "stillsky/measure/measure_input.hpp"

namespace stillsky {

struct BlendFitControl {
    int maxIterations = 40;
    double tolerance = 1e-3;  // greatest step, pixels, that ends the iteration
};

// One group of sources: how far pixels are used around each, and how far each may move; pixels. maxShift 0: positions are
// known, only the fluxes are fitted.
struct BlendGroup {
    int begin, end;  // sources [begin, end)
    double radius, maxShift;
};

struct BlendFitResult {
    double x, y, flux;           // local pixels; a flux may be negative
    double xErr, yErr, fluxErr;  // NaN when FAILED
    double fluxCov;              // covariance with the flux of the next source of the group, 0 for the last
    double chi2;                 // sum of (d - model)^2/variance over the pixels of the group
    int nPixels;                 // of the group
    int flagBits;
};

namespace blend_flags {
constexpr int FAILED = 1;         // no fit: flux NaN, position that of the start
constexpr int NOT_CONVERGED = 2;  // the best values are kept
constexpr int AT_BOUND = 4;       // moved as far as it may
constexpr int FIXED = 8;          // sources too close to tell apart: positions of the starts, only the fluxes are fitted
}  // namespace blend_flags

// Model: sum of f_i P(r - r_i). Least squares over the discs around the sources, not weighted by the variance (as
// psfFlux: the flux scale does not depend on brightness), by Levenberg-Marquardt steps; errors are those of the noise of
// the pixels in that fit, C = N^-1 (J^T V J) N^-1 with N = J^T J, positions and fluxes together: the flux error of a close
// pair includes that of its positions. Bad pixels are left out. `psfs`: B-spline coefficients of order 5 of unit-sum PSF
// images, one for all groups or one each. ShapeError for sizes that do not fit. Groups run in parallel; about 0.2 ms for
// a pair with a PSF of sigma 2.
template <typename T>
std::vector<BlendFitResult> blendFit(MeasureInput<T> const& input, StampStack const& psfs, std::vector<double> const& x,
                                     std::vector<double> const& y, std::vector<BlendGroup> const& groups,
                                     BlendFitControl const& control);

}  // namespace stillsky
