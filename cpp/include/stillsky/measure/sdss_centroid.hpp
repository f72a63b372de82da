// sdssCentroid: the peak of the PSF-smoothed image by a quartic interpolation.
#pragma once

#include <vector>

#include "stillsky/measure/measure_input.hpp"
#include "stillsky/spans/span_set.hpp"

namespace stillsky {

struct SdssCentroidControl {
    int binmax = 16;             // largest binning factor, a power of two
    double wfac = 1.5;           // bin while width^2 or shift^2 >= wfac (1 + sigma^2)
    double peakMin = -1;         // smaller smoothed peaks fail; negative: no test
    double maxDistToPeak = -1;   // pixels; negative: no test
    bool doFootprintCheck = true;
    // Rubin's numbers: all pixels used as they are, a 5x5 Gaussian near edges, the sky counted twice in the error.
    bool reference = false;
};

struct SdssCentroidResult {
    double x, y, xErr, yErr;  // pixels; the start when flagged without a position
    int flagBits;
};

namespace sdss_centroid_flags {
constexpr int FAILED = 1;
constexpr int EDGE = 2;                        // start off the image, or no room even for the small kernel
constexpr int NO_SECOND_DERIVATIVE = 4;
constexpr int ALMOST_NO_SECOND_DERIVATIVE = 8;  // |s/d| > 1: the quadratic is poor; not a failure
constexpr int NOT_AT_MAXIMUM = 16;
constexpr int NEAR_EDGE = 32;                  // the kernel reaches beyond the image
constexpr int BAD_ERROR = 64;                  // the error is not a number
constexpr int RESET_TO_PEAK = 128;             // left its footprint or went too far
constexpr int MASKED = 256;                    // missing pixels under the kernel were replaced by the fitted PSF
}  // namespace sdss_centroid_flags

// The image is correlated with the PSF around each start; the maximum is that of the intersecting ridge lines of the 3x3
// smoothed pixels, each found by the quartic approximation to a Gaussian (Pier et al. 2003, AJ 125, 1559, section 2;
// Lupton et al. 2001); wide objects are binned first. Errors: the noise of the nine smoothed pixels, with its
// covariances, carried through that interpolation to first order, for a PSF of any form and variances that differ from
// pixel to pixel (`reference`: the closed form for a round Gaussian).
//
// Pixels that are not good, or lie beyond the image, are replaced by the PSF scaled to the good ones around the current
// position, three rounds (`reference`: used as they are, NaN spoils the source). kernels: PSF images centred on a pixel,
// odd sizes, one per source or one for all; sigma: their widths, pixels. Footprints are local and may be empty.
// ShapeError for lengths that differ, DomainError for settings out of range. Sources run in parallel; cost about
// 55 kernel areas per source.
template <typename T>
std::vector<SdssCentroidResult> sdssCentroid(MeasureInput<T> const& input, std::vector<int> const& startX,
                                             std::vector<int> const& startY, std::vector<char> const& negative,
                                             StampStack const& kernels, std::vector<double> const& sigma,
                                             std::vector<SpanSet> const& footprints,
                                             SdssCentroidControl const& control);

}  // namespace stillsky
