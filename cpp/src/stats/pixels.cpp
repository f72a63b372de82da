#include "pixels.hpp"

#include <algorithm>
#include <cmath>

#include "stillsky/core/config.hpp"

namespace stillsky {
namespace stats_detail {
namespace {

constexpr int BLOCK_PIXELS = 1 << 16;

template <typename T>
STILLSKY_INLINE void flagFiniteBody(const T* STILLSKY_RESTRICT x, int n, T limit, std::uint8_t* STILLSKY_RESTRICT flag) {
    for (int i = 0; i < n; ++i) flag[i] = std::fabs(x[i]) <= limit;
}
}  // namespace

STILLSKY_SIMD void flagFinite(const float* x, int n, float limit, std::uint8_t* flag) { flagFiniteBody(x, n, limit, flag); }
STILLSKY_SIMD void flagFinite(const double* x, int n, double limit, std::uint8_t* flag) { flagFiniteBody(x, n, limit, flag); }

STILLSKY_SIMD void flagUnmasked(const MaskPixel* STILLSKY_RESTRICT m, int n, MaskPixel bits, std::uint8_t* STILLSKY_RESTRICT flag) {
    for (int i = 0; i < n; ++i) flag[i] = static_cast<std::uint8_t>(flag[i] & ((m[i] & bits) == 0));
}

STILLSKY_SIMD int countFlags(const std::uint8_t* flag, int n) {
    int sum = 0;
    for (int i = 0; i < n; ++i) sum += flag[i];
    return sum;
}

STILLSKY_SIMD MaskPixel orFlagged(const MaskPixel* STILLSKY_RESTRICT m, const std::uint8_t* STILLSKY_RESTRICT flag, int n) {
    MaskPixel bits = 0;
    for (int i = 0; i < n; ++i) bits |= m[i] & -static_cast<MaskPixel>(flag[i]);
    return bits;
}

std::vector<Rectangle> cut(int width, int height) {
    std::vector<Rectangle> out;
    const int blockWidth = std::min(width, BLOCK_PIXELS), blockHeight = std::max(1, BLOCK_PIXELS / blockWidth);
    for (int y = 0; y < height; y += blockHeight) {
        for (int x = 0; x < width; x += blockWidth) {
            out.push_back({x, y, std::min(blockWidth, width - x), std::min(blockHeight, height - y)});
        }
    }
    return out;
}

}  // namespace stats_detail
}  // namespace stillsky
