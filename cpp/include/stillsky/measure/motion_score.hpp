// motionScore: how much of a difference looks like a PSF that moved.
#pragma once

#include <vector>

#include "stillsky/measure/measure_input.hpp"

namespace stillsky {

struct MotionScoreResult {
    double chi2;    // Z^T A^-1 Z; NaN without usable pixels
    double zx, zy;  // Z
};

// A static source of flux F displaced by delta leaves -F delta . grad P. With Z_j = sum (d_j P) D/v and
// A_jl = sum (d_j P) (d_l P)/v over good pixels, chi2 = Z^T A^-1 Z has two degrees of freedom under white noise (Springer,
// Ofek, Zackay & Annis 2024, AJ 167, 281, TRANSLIENT, in real space). The gradient is that of central differences of the
// stamp, one pixel inside its border. stamps[i] has its first pixel at (x0[i], y0[i]); one stamp per source, or one for
// all. ShapeError for sizes that do not fit. Sources run in parallel; cost one pass over the stamp.
template <typename T>
std::vector<MotionScoreResult> motionScore(MeasureInput<T> const& input, StampStack const& stamps,
                                           std::vector<int> const& x0, std::vector<int> const& y0);

}  // namespace stillsky
