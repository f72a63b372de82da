// A PSF image between its pixels: B-splines of order 5 on a box of pixels, with derivatives.
#pragma once

#include <vector>

#include "stillsky/core/config.hpp"
#include "stillsky/core/view.hpp"

namespace stillsky {
namespace psf_spline {

constexpr int TAPS = 6;

// Values and derivatives of the six B-splines of order 5 that reach the point t in [0, 1) between nodes 2 and 3.
void taps(double t, double* values, double* derivatives);

struct Workspace {
    std::vector<double> window, rows, rowsX;
};

// On the box of width x height pixels whose first pixel is (x0, y0): value of the PSF centred at (cx, cy), and its
// derivatives by cx and cy. Outside the coefficients everything is 0.
void evaluate(View2<const double> coefficients, double cx, double cy, int x0, int y0, int width, int height,
              double* value, double* byX, double* byY, Workspace& work);

}  // namespace psf_spline
}  // namespace stillsky
