// What every measurement reads: borrowed planes and stacks of PSF stamps.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/image/image.hpp"

namespace stillsky {

// Image, variance and mask of equal sizes (ShapeError); variance and mask may be empty: variance 1, nothing masked.
// A pixel is good when it has no bad bit, a finite value and a finite variance > 0. Positions are local (0-based
// indices of these arrays).
template <typename T>
struct MeasureInput {
    View2<const T> image;
    View2<const VariancePixel> variance;
    View2<const MaskPixel> mask;
    MaskPixel badBits = 0;

    MeasureInput(View2<const T> image_, View2<const VariancePixel> variance_, View2<const MaskPixel> mask_,
                 MaskPixel badBits_)
            : image(image_), variance(variance_), mask(mask_), badBits(badBits_) {
        check(variance.empty() || (variance.width == image.width && variance.height == image.height), "variance");
        check(mask.empty() || (mask.width == image.width && mask.height == image.height), "mask");
    }

    bool contains(int x, int y) const { return x >= 0 && y >= 0 && x < image.width && y < image.height; }
    // Value and variance of a pixel on the image; false when it is not good.
    bool pixel(int x, int y, double& value, double& var) const {
        value = static_cast<double>(image(x, y));
        var = variance.empty() ? 1.0 : static_cast<double>(variance(x, y));
        const double inf = 1.7976931348623157e308;
        return (mask.empty() || !(mask(x, y) & badBits)) && value >= -inf && value <= inf && var > 0 && var <= inf;
    }

private:
    static void check(bool ok, const char* name) {
        if (!ok) throw ShapeError(std::string("measurement: ") + name + " and image differ in size");
    }
};

// n stamps of equal size, one after the other, row by row; n = 1 serves all sources.
struct StampStack {
    double const* data = nullptr;
    int n = 0, width = 0, height = 0;
    View2<const double> operator[](std::size_t i) const {
        const std::size_t k = n == 1 ? 0 : i;
        return View2<const double>(data + k * static_cast<std::size_t>(width) * height, width, height);
    }
};

}  // namespace stillsky
