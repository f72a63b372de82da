// Parts of convolve() that several source files share; not installed.
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "stillsky/core/config.hpp"
#include "stillsky/image/image.hpp"
#include "stillsky/kernel/convolve.hpp"

namespace stillsky {
namespace detail {

// Largest tap times this is the largest value that counts as zero.
constexpr double NEGLIGIBLE = 1.0 / 9007199254740992.0;  // 2^-53

// The smallest rectangle that holds every non-zero tap, and those taps.
struct Support {
    int x0 = 0, y0 = 0, width = 0, height = 0;  // width 0: no tap at all
    bool full = false;                          // every tap of the rectangle is non-zero
    std::vector<Point2I> taps;                  // kernel pixels, row by row
};
Support findSupport(std::vector<unsigned char> const& nonZero, int width, int height);

// Everything that is the same for all tiles. All pixels are local indices of the input.
template <typename T>
struct DirectJob {
    View2<const T> in;
    View2<T> out;
    View2<const VariancePixel> varianceIn;  // empty: image only
    View2<VariancePixel> varianceOut;
    KernelTerms const* terms = nullptr;
    Support const* support = nullptr;
    Point2I center;       // kernel centre
    int goodX0 = 0, goodY0 = 0, goodWidth = 0, goodHeight = 0;
    Point2I xy0;
    bool doNormalize = false;
    std::atomic<bool>* zeroSum = nullptr;  // set when a pixel's kernel sums to exactly zero
};

// Kernels that are polynomials of the position (order 0: constant): see convolve_direct.cpp.
template <typename T>
void convolveDirect(DirectJob<T> const& job);

// A constant kernel that is an outer product; vx and vy hold no zero between their first and last non-zero tap.
template <typename T>
void convolveSeparable(DirectJob<T> const& job, std::vector<double> const& vx, std::vector<double> const& vy);

// OR over the support of every good pixel's footprint.
void dilateMask(View2<MaskPixel> out, View2<const MaskPixel> in, Support const& support, Point2I center, int goodX0,
                int goodY0, int goodWidth, int goodHeight);

}  // namespace detail
}  // namespace stillsky
