// Weighted sums of small images: a varying PSF at many positions.
#pragma once

namespace stillsky {

// out[i] = sum over k < terms of weights[i, k] * stamps[index[i, k]], in the order of k, for i < n; with `normalise` each
// is divided by the sum of its pixels. Stamps have `area` contiguous pixels; index and weights are (n, terms).
// Threaded over i. Cost about 0.5 ns per pixel and term.
void mixStamps(double const* stamps, int area, int const* index, double const* weights, int n, int terms, bool normalise,
               double* out);

}  // namespace stillsky
