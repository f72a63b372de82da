// The pixels of an empirical PSF as polynomials of the position, fitted to the stamps of many stars.
#pragma once

#include <vector>

#include "stillsky/core/config.hpp"

namespace stillsky {

// Stamps as centredStamps makes them, and the terms of the polynomial at each star.
struct PsfPixelInput {
    int nStars = 0, nPixels = 0, nTerms = 0;
    double const* stamps = nullptr;       // [star][pixel]
    double const* weights = nullptr;      // [star][pixel], inverse variances, 0: no data
    double const* terms = nullptr;        // [star][term]; the first term is 1
    unsigned char const* core = nullptr;  // [pixel], 1 where first fluxes and residuals are summed
};

struct PsfPixelFit {
    std::vector<double> coefficients;  // [term][pixel], the sum of the first term's is 1
    std::vector<unsigned char> keep;   // [star], 0: rejected
};

// Least squares in turn for the pixels (given fluxes and skies) and for the flux and sky of every star (given the
// pixels), rounds + 2 times. Each star's weights are those of its noise and of 1 % of the model, so that no single bright
// star dictates it. In the first `rounds` times stars whose mean squared residual in the core is 5 robust deviations
// above the median are rejected while enough are left (3, and one per term), and pixels beyond 5 sigma lose their
// weight: neighbours and cosmic rays. Pixels that no star sees are 0. Threaded over pixels and stars, bit-identical for
// any number of threads. Memory: one copy of the weights. Cost per iteration about nStars nPixels nTerms^2 operations.
PsfPixelFit fitPsfPixels(PsfPixelInput const& input, int rounds);

}  // namespace stillsky
