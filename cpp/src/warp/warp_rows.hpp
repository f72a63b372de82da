// Private to the warp room: the vectorised inner loops over one segment of a destination row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "stillsky/core/config.hpp"
#include "stillsky/image/image.hpp"
#include "stillsky/warp/warping_kernel.hpp"

namespace stillsky {
namespace warp_detail {

constexpr int TABLE_NODES = 4096;
constexpr int LANES = 8;
constexpr int MAX_FAST_TAPS = 18;
// A position this close to a pixel centre counts as on it: the weights left out are below 1e-7 of the largest.
constexpr double SNAP = 1e-7;

enum Status : std::uint8_t { PADDED = 0, GOOD = 1, FILLED = 2, NODATA = 3, SCALAR = 4 };

// Weights at `nodes` + 1 offsets k/nodes (and the last one again). `normalised`: float, each row divided by its sum,
// `stride` lanes a row, zeros beyond the taps. `raw`: double, taps a row, as the kernel gives them.
struct WeightTable {
    int nodes, taps, stride;
    std::vector<float> normalised;
    std::vector<double> raw;
};

// Tables are made once per kernel and size and kept; safe from many threads.
std::shared_ptr<const WeightTable> weightTable(WarpingKernel const& kernel, int nodes);

// What one axis of a segment needs: anchor, fraction, table node and remainder.
struct Axis {
    std::vector<int> index, node;
    std::vector<double> fraction;
    std::vector<float> rest;
    std::vector<std::uint8_t> inside;
    void resize(int n);
};

// Split positions q into anchors and fractions relative to `origin`; anchors outside [low, high], and NaN, get
// inside = 0. `snap` = 0: no rounding to pixel centres. `nearest`: fractions become 0 or 1.
void locate(int n, const double* q, double origin, int low, int high, double snap, bool nearest, Axis& axis);

// PADDED where an axis is outside, GOOD where the fast path may load at x anchor <= lastFast, else SCALAR.
void classifyPixels(int n, Axis const& x, Axis const& y, int lastFast, std::uint8_t* status);

// How many of n pixels have this status.
int countStatus(int n, const std::uint8_t* status, Status wanted);

// Smallest and largest of n > 0 indices.
void indexRange(int n, const int* index, int& low, int& high);

// |d q / d p| from the differences of neighbouring positions times `factor`. Returns how many are not finite.
int areaRatios(int n, const double* leftX, const double* rightX, const double* belowX, const double* aboveX,
                const double* leftY, const double* rightY, const double* belowY, const double* aboveY, double factor,
                double* area);

// Planes of a segment for the fast path.
struct Segment {
    int n = 0;
    int taps = 0;
    int offsetX = 0, offsetY = 0;  // anchor minus these = first tap in `image` and `variance`
    const std::uint8_t* status = nullptr;  // only GOOD pixels are computed
    const Axis* x = nullptr;
    const Axis* y = nullptr;
    const double* area = nullptr;
    const WeightTable* table = nullptr;
    const float* image = nullptr;
    std::ptrdiff_t imageStride = 0;
    const float* variance = nullptr;  // null: image alone
    std::ptrdiff_t varianceStride = 0;
    float* outImage = nullptr;
    float* outVariance = nullptr;
};

// Weighted sums for every GOOD pixel. The kernel must fit, and LANES-wide loads must stay inside the source rows.
void resample(Segment const& segment);

// Smallest and largest of q, added to low and high; NaN is ignored.
void extendRange(int n, const double* q, double& low, double& high);

// out[i] = bits & OR of the mask over the taps that count, or-ed into out when `add`. Tap 0 of an anchor (x, y) is the
// mask pixel (x - firstTap, y - firstTap). allTaps: weights of 1e-17 count, too.
struct MaskSegment {
    int n = 0;
    const int *x = nullptr, *y = nullptr;
    const double *fractionX = nullptr, *fractionY = nullptr;
    const MaskPixel* mask = nullptr;
    std::ptrdiff_t stride = 0;
    int firstTap = 0;
    MaskPixel bits = 0;
    bool add = false;
    MaskPixel* out = nullptr;
};
void orTaps(WarpingKernel const& kernel, bool allTaps, MaskSegment const& segment);

// Number of GOOD pixels whose values are not finite; status of those becomes SCALAR.
int flagNonFinite(int n, const float* image, const float* variance, std::uint8_t* status);

}  // namespace warp_detail
}  // namespace stillsky
