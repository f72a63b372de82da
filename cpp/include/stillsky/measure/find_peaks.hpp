// findPeaks: a very fast finder of point sources, by matched filter and local maxima.
#pragma once

#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/image/image.hpp"

namespace stillsky {

struct PeakFinderControl {
    double sigmaPsf = 2.0;          // width of the round Gaussian filter, pixels, in (0, 50]
    double threshold = 5.0;         // least significance, in standard deviations; >= 0
    double nSigmaForKernel = 7.0;   // full width of the filter in units of sigmaPsf
    MaskPixel badBits = 0;          // pixels with any of these bits are left out
    bool positive = true;           // look for maxima
    bool negative = false;          // look for minima
    int border = 0;                 // peaks nearer than this to an edge of the image are dropped, pixels
    bool allowBadCenter = false;    // keep peaks whose own pixel was left out
    int maxPeaks = 0;               // keep only the most significant ones; 0: all
};

// One peak. Coordinates are local (0-based array indices), as is the image.
struct FoundPeak {
    int ix, iy;          // pixel
    double x, y;         // position of the extremum of the quadratic through the 3x3 smoothed pixels
    float significance;  // smoothed value over its standard deviation; negative for minima
    float value;         // smoothed value (filter of unit sum)
};

// Peaks of the matched filter of a background-free image.
//
// With g the filter and w = 1 on good pixels (no bad bit, finite image, finite variance > 0; pixels beyond the image
// are not good), the significance map is  sum(g w I) / sqrt(sum(g^2 w V)): the signal-to-noise ratio of a source at
// that pixel given white noise (e.g. Zackay & Ofek 2017, ApJ 836, 187, eq. 13), also beside masked pixels. A peak is
// a pixel at or above `threshold` that no 8-neighbour exceeds; of equal neighbours the first in scan order counts.
//
// variance and mask may be empty views: variance 1 everywhere, nothing masked. ShapeError when sizes differ;
// DomainError for control values outside the ranges above. Sorted by |significance|, largest first, then y, x.
// Cost: about 4 * width multiply-adds a pixel in float32, one pass over memory, bands of 64 rows in parallel;
// scratch memory is (filter width + 8) rows per thread.
template <typename T>
std::vector<FoundPeak> findPeaks(View2<const T> image, View2<const VariancePixel> variance,
                                 View2<const MaskPixel> mask, PeakFinderControl const& control);

}  // namespace stillsky
