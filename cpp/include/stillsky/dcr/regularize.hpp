// Regularisations of the iteration of DMTN-037 (doi 10.5281/zenodo.1492936), compiled: what keeps the subfilters of a DCR model
// from drifting. All threaded over rows, bit-identical for any number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "stillsky/core/view.hpp"

namespace stillsky {

// Binary opening of every bit of flags, in place, with the diamond that the cross of four neighbours makes of one pixel in
// that many steps; beyond the edges nothing is set. DomainError: negative steps. Cost: 0.2 ns a pixel and step.
void openDiamond(View2<std::uint8_t> flags, int steps);

// Limits of a pixel, from what it was before.
struct ChangeLimits {
    float high = 2;         // times the size of the old value
    float low = 0.5f;       // times the old value
    float lowNegative = 2;  // times an old value below 0
};

// Bring image back to the limits where it lies beyond them in regions that survive openDiamond, in place; steps 0: everywhere.
// ShapeError: sizes that differ. NaN stays. Memory: one byte a pixel, twice.
void clampChange(View2<float> image, View2<const float> old, ChangeLimits const& limits, int steps);

// Reduce the differences of images from their mean where the smoothed ones differ too much from theirs, in place, all by the
// factor that brings the worst to its limit: level * (high - 1) + cutoff above, level * (1 - low) + cutoff below, level the
// mean of the smoothed ones; where that is not positive nothing is done.
void clampRatios(std::vector<View2<float>> const& images, std::vector<View2<const float>> const& smooth, float high, float low,
                 float cutoff);

// Standard deviation, about their mean, of the finite pixels where excluded is 0, at least border pixels from the edges; NaN
// for fewer than two. Sums in double.
double backgroundScatter(View2<const float> image, View2<const std::uint8_t> excluded, int border);

}  // namespace stillsky
