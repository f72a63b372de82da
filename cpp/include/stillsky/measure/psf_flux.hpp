// psfFlux: least-squares amplitude of the PSF at known positions.
#pragma once

#include <vector>

#include "stillsky/measure/measure_input.hpp"

namespace stillsky {

struct PsfFluxResult {
    double flux, fluxErr;  // NaN when flagged FAILED with NO_GOOD_PIXELS
    double area;           // (sum m)^2 / sum m^2, pixels
    double chi2;           // sum (d - f m)^2 / v
    int nPixels;
    int flagBits;
};

namespace psf_flux_flags {
constexpr int FAILED = 1;
constexpr int NO_GOOD_PIXELS = 2;
constexpr int EDGE = 4;         // the stamp was clipped by the image's edge; the fit is done, FAILED set too
constexpr int MASKED = 8;       // good pixels are missing under the stamp
constexpr int BAD_VALUE = 16;   // reference mode: a value or variance under the stamp is not finite
}  // namespace psf_flux_flags

// With m the PSF image (unit sum, sub-pixel shifted by its maker) and d the data, over good pixels:
// f = sum(m d)/sum(m^2), f_err = sqrt(sum(m^2 v))/sum(m^2). Unweighted in v, so that the flux scale does not depend on
// brightness. stamps[i] has its first pixel at (x0[i], y0[i]). Pixels of a stamp that are exactly 0 for padding count
// as pixels. `reference`: a value that is not finite fails the source instead of being left out.
// ShapeError unless there is one origin per source and one stamp per source or one for all. Sources run in parallel.
template <typename T>
std::vector<PsfFluxResult> psfFlux(MeasureInput<T> const& input, StampStack const& stamps, std::vector<int> const& x0,
                                   std::vector<int> const& y0, bool reference = false);

}  // namespace stillsky
