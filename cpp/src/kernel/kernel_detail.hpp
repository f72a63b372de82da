// Small helpers shared by the kernel classes; not installed.
#pragma once

#include <string>

#include "stillsky/core/config.hpp"
#include "stillsky/core/view.hpp"

namespace stillsky {

std::string sizeText(int width, int height);

// Divide by the sum, which becomes 1. NumericalError when it is exactly zero.
inline double normalizePixels(View2<double> image, double sum) {
    if (sum == 0.0) throw NumericalError("a kernel whose sum is exactly 0 cannot be normalised");
    for (int y = 0; y < image.height; ++y) {
        for (int x = 0; x < image.width; ++x) image(x, y) /= sum;
    }
    return 1.0;
}

}  // namespace stillsky
