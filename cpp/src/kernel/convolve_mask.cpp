// Spreading mask bits: an OR over the kernel's footprint, by doubling shifts when the footprint is a rectangle.
#include <algorithm>

#include "convolve_detail.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace detail {
namespace {

constexpr int BAND = 64;

STILLSKY_SIMD
void orShifted(MaskPixel* STILLSKY_RESTRICT out, MaskPixel const* STILLSKY_RESTRICT in, int n) {
    for (int x = 0; x < n; ++x) out[x] |= in[x];
}

// row[x] = OR of row[x .. x+window-1], for x < n; n + window - 1 values are read. After pass k every value holds the
// OR of 2^k neighbours; the last pass overlaps.
STILLSKY_SIMD
void slideRow(MaskPixel* row, int n, int window) {
    int have = 1;
    while (have < window) {
        const int step = std::min(have, window - have);
        const int last = n + window - have - step;
        // Reads run ahead of writes, so the row may be updated in place.
        for (int x = 0; x < last; ++x) row[x] |= row[x + step];
        have += step;
    }
}

STILLSKY_SIMD
bool anySet(MaskPixel const* row, int n) {
    MaskPixel all = 0;
    for (int x = 0; x < n; ++x) all |= row[x];
    return all != 0;
}

void dilateBand(View2<MaskPixel> out, View2<const MaskPixel> in, Support const& s, Point2I center, int goodX0, int y0,
                int y1, int goodWidth) {
    // First input pixel under the support of the band's first output pixel.
    const int inX = goodX0 - center.x + s.x0, inY = y0 - center.y + s.y0;
    const int n = goodWidth + s.width - 1, rows = y1 - y0 + s.height - 1;
    bool any = false;
    for (int r = 0; r < rows && !any; ++r) any = anySet(in.row(inY + r) + inX, n);
    for (int y = y0; y < y1; ++y) std::fill_n(out.row(y) + goodX0, goodWidth, 0);
    if (!any) return;
    if (!s.full) {
        for (int y = y0; y < y1; ++y) {
            for (Point2I tap : s.taps) {
                orShifted(out.row(y) + goodX0, in.row(y - center.y + tap.y) + goodX0 - center.x + tap.x, goodWidth);
            }
        }
        return;
    }
    std::vector<MaskPixel> scratch(static_cast<std::size_t>(n) * rows);
    for (int r = 0; r < rows; ++r) {
        MaskPixel* row = &scratch[static_cast<std::size_t>(r) * n];
        std::copy_n(in.row(inY + r) + inX, n, row);
        slideRow(row, goodWidth, s.width);
    }
    int have = 1;
    while (have < s.height) {
        const int step = std::min(have, s.height - have);
        for (int r = 0; r < rows - have - step + 1; ++r) {
            orShifted(&scratch[static_cast<std::size_t>(r) * n], &scratch[static_cast<std::size_t>(r + step) * n],
                      goodWidth);
        }
        have += step;
    }
    for (int y = y0; y < y1; ++y) {
        std::copy_n(&scratch[static_cast<std::size_t>(y - y0) * n], goodWidth, out.row(y) + goodX0);
    }
}

}  // namespace

void dilateMask(View2<MaskPixel> out, View2<const MaskPixel> in, Support const& support, Point2I center, int goodX0,
                int goodY0, int goodWidth, int goodHeight) {
    if (support.width == 0) {
        for (int y = goodY0; y < goodY0 + goodHeight; ++y) std::fill_n(out.row(y) + goodX0, goodWidth, 0);
        return;
    }
    const int bands = (goodHeight + BAND - 1) / BAND;
    parallelFor(bands, [&](int b) {
        const int y0 = goodY0 + b * BAND, y1 = std::min(y0 + BAND, goodY0 + goodHeight);
        dilateBand(out, in, support, center, goodX0, y0, y1, goodWidth);
    });
}

}  // namespace detail
}  // namespace stillsky
