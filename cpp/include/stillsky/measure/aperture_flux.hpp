// apertureFlux: sums within circles; stampFlux: sums with any weights.
#pragma once

#include <vector>

#include "stillsky/measure/measure_input.hpp"

namespace stillsky {

// Area that a circle of the given radius about (0, 0) shares with the rectangle [x0, x1] x [y0, y1]; exact to rounding.
double circleRectangleOverlap(double radius, double x0, double x1, double y0, double y1);

enum class ApertureEdge { EXACT = 0, CENTERS = 1 };  // share of each pixel, or pixels whose centres lie inside

struct ApertureFluxResult {
    double flux, fluxErr;  // sum(w d), sqrt(sum(w^2 v)); NaN when FAILED
    double area;           // sum(w) of the pixels used, pixels
    int flagBits;
};

namespace aperture_flags {
constexpr int FAILED = 1;
constexpr int TRUNCATED = 2;  // the aperture reaches beyond the image, or the position is not finite: no flux
constexpr int MASKED = 4;     // pixels under the aperture that are not good count as 0
constexpr int BAD_VALUE = 8;  // reference mode: a value under the aperture is not finite, and so the flux
}  // namespace aperture_flags

// One result per source and radius, sources outermost. `reference`: masks are ignored and NaN spreads. DomainError
// unless all radii are positive and finite. Sources run in parallel.
template <typename T>
std::vector<ApertureFluxResult> apertureFlux(MeasureInput<T> const& input, std::vector<double> const& x,
                                             std::vector<double> const& y, std::vector<double> const& radii,
                                             ApertureEdge edge, bool reference = false);

// The same sums with given weights: stamps[i] has its first pixel at (x0[i], y0[i]). What lies off the image is left out
// (TRUNCATED); FAILED only when all of it does.
template <typename T>
std::vector<ApertureFluxResult> stampFlux(MeasureInput<T> const& input, StampStack const& stamps,
                                          std::vector<int> const& x0, std::vector<int> const& y0,
                                          bool reference = false);

// Mean of the good pixels whose centres lie in a ring, with deviations beyond nSigma left out `rounds` times.
struct LocalBackgroundResult {
    double value, valueErr;  // NaN when FAILED
    int nPixels;
    int flagBits;            // FAILED (fewer than 5 good pixels), TRUNCATED (part of the ring is off the image; kept)
};

// inner[i], outer[i]: radii, pixels.
template <typename T>
std::vector<LocalBackgroundResult> localBackground(MeasureInput<T> const& input, std::vector<double> const& x,
                                                   std::vector<double> const& y, std::vector<double> const& inner,
                                                   std::vector<double> const& outer, double nSigma, int rounds);

}  // namespace stillsky
