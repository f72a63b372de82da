// trailFlux: least-squares flux of a uniform trail convolved with a round Gaussian.
#pragma once

#include <vector>

#include "stillsky/measure/measure_input.hpp"

namespace stillsky {

struct TrailFluxResult {
    double flux, fluxErr;  // sum(m d)/sum(m^2), sqrt(sum(m^2 v))/sum(m^2); NaN when flagged 1
    int flagBits;          // 1: no flux; 2: pixels that are not good were left out
};

// Unit-flux model with u along and v across the trail (Veres et al. 2012, PASP 124, 1197, eq. 3):
//   m = exp(-v^2/(2 s^2)) [erf((u + L/2)/(sqrt(2) s)) - erf((u - L/2)/(sqrt(2) s))] / (2 L sqrt(2 pi) s),
// for L < 1e-3 s the Gaussian that it becomes. x, y: middle, local pixels; length L, pixels; angle from +x towards +y,
// radians; sigma: s, pixels. Pixels within 5 s of the trail take part; sources run in parallel.
template <typename T>
std::vector<TrailFluxResult> trailFlux(MeasureInput<T> const& input, std::vector<double> const& x,
                                       std::vector<double> const& y, std::vector<double> const& length,
                                       std::vector<double> const& angle, std::vector<double> const& sigma);

}  // namespace stillsky
