#include "stillsky/ptc/flat_pair.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "stillsky/core/config.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int PIXELS = 1 << 15;  // pixels of the rows one thread takes at a time
constexpr int LANES = 8;

struct RatioSums {
    double sum = 0;
    long long n = 0;
};

template <typename T>
STILLSKY_INLINE int usableRowBody(const T* STILLSKY_RESTRICT image, const std::int32_t* STILLSKY_RESTRICT mask,
                                  std::int32_t bits, int n, std::uint8_t* STILLSKY_RESTRICT out) {
    constexpr T most = std::numeric_limits<T>::max();
    if (mask != nullptr) {
        for (int x = 0; x < n; ++x) {
            const int finite = static_cast<int>(std::fabs(image[x]) <= most);
            out[x] = static_cast<std::uint8_t>(finite & static_cast<int>((mask[x] & bits) == 0));
        }
    } else {
        for (int x = 0; x < n; ++x) out[x] = static_cast<std::uint8_t>(std::fabs(image[x]) <= most);
    }
    int number = 0;
    for (int x = 0; x < n; ++x) number += out[x];
    return number;
}

// A pixel that is not used has the ratio 0/1: nothing is multiplied by what may be NaN.
template <typename T>
STILLSKY_INLINE RatioSums ratioRowBody(const T* STILLSKY_RESTRICT first, const T* STILLSKY_RESTRICT second,
                                       const std::uint8_t* STILLSKY_RESTRICT weight, int n, double scale1, double scale2) {
    double sums[LANES] = {};
    RatioSums out;
    const auto ratio = [&](int x) {
        const bool use = weight[x] != 0;
        const double a = scale1 * static_cast<double>(first[x]), b = scale2 * static_cast<double>(second[x]);
        const double difference = use ? a - b : 0.0, total = use ? a + b : 1.0;
        return difference * difference / total;
    };
    int x = 0;
    for (; x + LANES <= n; x += LANES) {
        for (int k = 0; k < LANES; ++k) sums[k] += ratio(x + k);
    }
    for (; x < n; ++x) out.sum += ratio(x);
    for (double s : sums) out.sum += s;
    int number = 0;
    for (int i = 0; i < n; ++i) number += weight[i] != 0;
    out.n = number;
    return out;
}

STILLSKY_SIMD double meanOfRow(const double* STILLSKY_RESTRICT image, const std::uint8_t* STILLSKY_RESTRICT weight, int n) {
    double sums[LANES] = {}, total = 0;
    int x = 0, number = 0;
    for (; x + LANES <= n; x += LANES) {
        for (int k = 0; k < LANES; ++k) sums[k] += weight[x + k] != 0 ? image[x + k] : 0.0;
    }
    for (; x < n; ++x) total += weight[x] != 0 ? image[x] : 0.0;
    for (double s : sums) total += s;
    for (int i = 0; i < n; ++i) number += weight[i] != 0;
    return number > 0 ? total / number : std::numeric_limits<double>::quiet_NaN();
}

// target_clones does not apply to templates: one plain function per type.
#define STILLSKY_LEAVES(T)                                                                                              \
    STILLSKY_SIMD int usableRow(const T* image, const std::int32_t* mask, std::int32_t bits, int n, std::uint8_t* out) { \
        return usableRowBody(image, mask, bits, n, out);                                                                \
    }                                                                                                                   \
    STILLSKY_SIMD RatioSums ratioRow(const T* first, const T* second, const std::uint8_t* weight, int n, double scale1, \
                                     double scale2) {                                                                   \
        return ratioRowBody(first, second, weight, n, scale1, scale2);                                                  \
    }
STILLSKY_LEAVES(float)
STILLSKY_LEAVES(double)
#undef STILLSKY_LEAVES

template <typename T, typename U>
void checkSize(View2<T> view, View2<U> image, const char* name) {
    if (view.width == image.width && view.height == image.height) return;
    throw ShapeError(std::string(name) + ": wanted the size of the image, " + std::to_string(image.width) + "x" +
                     std::to_string(image.height) + ", got " + std::to_string(view.width) + "x" + std::to_string(view.height));
}

// f(y) of every row, computed in blocks of rows whose size depends on the width alone.
template <typename R, typename F>
std::vector<R> forRows(int width, int height, F const& f) {
    const int rows = std::max(1, PIXELS / std::max(1, width));
    std::vector<R> out(static_cast<std::size_t>(height));
    parallelFor((height + rows - 1) / rows, [&](int block) {
        for (int y = block * rows; y < std::min(height, (block + 1) * rows); ++y) out[static_cast<std::size_t>(y)] = f(y);
    });
    return out;
}

}  // namespace

template <typename T>
long long usablePixels(View2<const T> image, View2<const std::int32_t> mask, std::int32_t bits, View2<std::uint8_t> out) {
    if (mask.data != nullptr) checkSize(mask, image, "mask");
    checkSize(out, image, "out");
    long long total = 0;
    for (int n : forRows<int>(image.width, image.height, [&](int y) {
             return usableRow(image.row(y), mask.data && bits ? mask.row(y) : nullptr, bits, image.width, out.row(y));
         })) {
        total += n;
    }
    return total;
}

template <typename T>
double flatPairRatio(View2<const T> image1, View2<const T> image2, View2<const std::uint8_t> weight, double scale1,
                     double scale2) {
    checkSize(image2, image1, "image2");
    checkSize(weight, image1, "weight");
    RatioSums all;
    for (RatioSums const& s : forRows<RatioSums>(image1.width, image1.height, [&](int y) {
             return ratioRow(image1.row(y), image2.row(y), weight.row(y), image1.width, scale1, scale2);
         })) {
        all.sum += s.sum;
        all.n += s.n;
    }
    return all.n > 0 && std::isfinite(all.sum) ? all.sum / static_cast<double>(all.n)
                                               : std::numeric_limits<double>::quiet_NaN();
}

std::vector<double> rowMeans(View2<const double> image, View2<const std::uint8_t> weight) {
    checkSize(weight, image, "weight");
    return forRows<double>(image.width, image.height,
                           [&](int y) { return meanOfRow(image.row(y), weight.row(y), image.width); });
}

#define STILLSKY_INSTANTIATE(T)                                                                                           \
    template long long usablePixels<T>(View2<const T>, View2<const std::int32_t>, std::int32_t, View2<std::uint8_t>);     \
    template double flatPairRatio<T>(View2<const T>, View2<const T>, View2<const std::uint8_t>, double, double);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stillsky
