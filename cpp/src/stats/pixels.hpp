// Private to the stats room: which pixels of a row segment are usable, and how images are cut into parallel blocks.
#pragma once

#include <cstdint>
#include <vector>

#include "stillsky/image/image.hpp"

namespace stillsky {
namespace stats_detail {

constexpr int SEGMENT = 2048;  // pixels handled at a time: their flags are on the stack

// flag[i] = 1 where |x[i]| <= limit (0 for NaN).
void flagFinite(const float* x, int n, float limit, std::uint8_t* flag);
void flagFinite(const double* x, int n, double limit, std::uint8_t* flag);
// flag[i] = 0 where m[i] has any of the bits.
void flagUnmasked(const MaskPixel* m, int n, MaskPixel bits, std::uint8_t* flag);
int countFlags(const std::uint8_t* flag, int n);
// OR of the flagged mask pixels.
MaskPixel orFlagged(const MaskPixel* m, const std::uint8_t* flag, int n);

// One parallel block of about 2^16 pixels.
struct Rectangle {
    int x, y, width, height;
};
std::vector<Rectangle> cut(int width, int height);

}  // namespace stats_detail
}  // namespace stillsky
