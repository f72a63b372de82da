// Preparing stamps for the fit.
#pragma once

#include <memory>
#include <vector>

#include "stillsky/psfmatch/normal_equations.hpp"

namespace stillsky {

// The builder of this thread: its work space is reused from stamp to stamp.
NormalEquationsBuilder& threadBuilder();

// Pixels of a stamp in the form in which the builder wants them.
struct StampInput {
    int width = 0, height = 0;
    std::vector<double> stamp, science, variance;  // row by row
    std::vector<unsigned char> badTemplate, badScience;  // row by row; empty: none bad
    std::vector<double> templateVariance;  // empty: no noise correction
    std::vector<double> trueVariance;      // empty: no scatter matrix
    double xFirst = 0.0, yFirst = 0.0;     // parent coordinates of the first pixel of the stamp
};

struct PreparedStamp {
    std::shared_ptr<FitPixels const> pixels;
    std::shared_ptr<std::vector<double> const> stamp;
    double goodFraction = 1.0;
};

// Weights 1/variance on the good region, 0 on bad pixels: bad template pixels grown by the kernel's footprint, bad
// science pixels as they are. Values of bad pixels are replaced by 0 so that NaN cannot spread.
PreparedStamp prepareStamp(BasisConvolver const& bases, StampInput const& input);

}  // namespace stillsky
