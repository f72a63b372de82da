// sourceFeatures: what tells real sources of a difference image from artefacts, as numbers.
#pragma once

#include <vector>

#include "stillsky/measure/measure_input.hpp"

namespace stillsky {

struct SourceFeatures {
    double psfChi2;           // chi-square per degree of freedom of the PSF at fixed position within the radius
    double sharpness;         // (central pixel - mean of its 8 neighbours)/(the same of the fitted PSF): 1 for a star
    double dipoleDeltaChi2;   // chi-square gained by adding the PSF's two gradients to the PSF
    double dipoleMoment;      // length of the fitted gradient over its standard deviation
    double negativeFraction;  // sum of |d| of pixels of the wrong sign over sum of |d|; noise alone gives 0.5
    double asymmetry;         // sum of |d - d turned by 180 degrees| over sum of |d| + |d turned|, noise subtracted
    int nPixels;              // good pixels within the radius
    int flagBits;             // 1: nothing could be measured (all NaN); 2: part of the circle is off the image or not good
};

// Pixels whose centres lie within `radius` of a position (local). stamps[i]: PSF image at the position with its first
// pixel at (x0[i], y0[i]); pixels off the stamp have PSF 0. sign[i]: +1 or -1, the polarity.
template <typename T>
std::vector<SourceFeatures> sourceFeatures(MeasureInput<T> const& input, StampStack const& stamps,
                                           std::vector<int> const& x0, std::vector<int> const& y0,
                                           std::vector<double> const& x, std::vector<double> const& y,
                                           std::vector<double> const& radius, std::vector<int> const& sign);

// Share of the pixels within `radius` of each position that have any bit of each of `planes`; source by source, planes
// innermost. Pixels off the image count as set in no plane, but in the share that is returned last for each source.
std::vector<double> maskFractions(View2<const MaskPixel> mask, std::vector<double> const& x,
                                  std::vector<double> const& y, double radius, std::vector<MaskPixel> const& planes);

}  // namespace stillsky
