#include "stillsky/ptc/moments.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "radix_select.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors wider than the baseline's registers never cross a real call
#endif

namespace stillsky {
namespace {

constexpr int CHUNK = 1 << 15;                   // values summed by one thread at a time
constexpr int PIXELS = 1 << 15;                  // pixels of the rows one thread takes at a time
constexpr double SIGMA_OF_IQR = 0.741301109252802;  // of a Gaussian

// Number, sum and sum of squares of x - centre over |x - centre| <= half.
struct Sums {
    double n = 0, d = 0, d2 = 0;
};

template <typename T>
STILLSKY_INLINE Sums addWithinBody(const T* STILLSKY_RESTRICT x, int n, double centre, double half) {
    typedef double Eight __attribute__((vector_size(64)));
    constexpr int length = 1024;
    alignas(64) double kept[length];
    Eight d[2] = {}, d2[2] = {};
    std::int64_t count = 0;
    // First select, in a loop that compilers turn into vectors by themselves, then sum vectors from the nearest cache.
    for (int begin = 0; begin < n; begin += length) {
        const int m = std::min(length, n - begin), padded = (m + 15) / 16 * 16;
        for (int i = 0; i < m; ++i) {
            const double delta = static_cast<double>(x[begin + i]) - centre;
            const bool keep = std::fabs(delta) <= half;
            kept[i] = keep ? delta : 0.0;
            count += keep;
        }
        for (int i = m; i < padded; ++i) kept[i] = 0.0;
        for (int i = 0; i < padded; i += 16) {
            for (int k = 0; k < 2; ++k) {
                const Eight v = *reinterpret_cast<Eight const*>(kept + i + 8 * k);
                d[k] += v;
                d2[k] += v * v;
            }
        }
    }
    Sums sums;
    sums.n = static_cast<double>(count);
    for (int k = 0; k < 16; ++k) {
        sums.d += d[k / 8][k % 8];
        sums.d2 += d2[k / 8][k % 8];
    }
    return sums;
}

// good[x] = 1 for finite pixels of weight 1 (null: all) within [lower, upper]; returns their number, or -1 for a weight
// that is neither 0 nor 1.
template <typename T>
STILLSKY_INLINE int flagRowBody(const T* STILLSKY_RESTRICT image, const std::uint8_t* STILLSKY_RESTRICT weight, int n,
                                double lower, double upper, std::uint8_t* STILLSKY_RESTRICT good) {
    unsigned notBinary = 0;
    int number = 0;
    for (int x = 0; x < n; ++x) {
        const double pixel = static_cast<double>(image[x]);
        const unsigned inside = static_cast<unsigned>(pixel >= lower) & static_cast<unsigned>(pixel <= upper);
        good[x] = static_cast<std::uint8_t>(inside);
    }
    if (weight != nullptr) {
        for (int x = 0; x < n; ++x) {
            notBinary |= weight[x];
            good[x] = static_cast<std::uint8_t>(good[x] & weight[x]);
        }
    }
    for (int x = 0; x < n; ++x) number += good[x];
    return notBinary > 1u ? -1 : number;
}

template <typename T>
STILLSKY_INLINE void differenceRowBody(const T* STILLSKY_RESTRICT a, const T* STILLSKY_RESTRICT b, int n, double mean1,
                                       double mean2, double mean, double* STILLSKY_RESTRICT out) {
    for (int x = 0; x < n; ++x) {
        out[x] = (mean2 * static_cast<double>(a[x]) - mean1 * static_cast<double>(b[x])) / mean;
    }
}

// target_clones does not apply to templates: one plain function per type.
#define STILLSKY_LEAVES(T)                                                                                             \
    STILLSKY_SIMD Sums addWithin(const T* x, int n, double centre, double half) {                                      \
        return addWithinBody(x, n, centre, half);                                                                      \
    }                                                                                                                  \
    STILLSKY_SIMD int flagRow(const T* image, const std::uint8_t* weight, int n, double lower, double upper,           \
                              std::uint8_t* good) {                                                                    \
        return flagRowBody(image, weight, n, lower, upper, good);                                                      \
    }                                                                                                                  \
    STILLSKY_SIMD void differenceRow(const T* a, const T* b, int n, double mean1, double mean2, double mean, double* out) { \
        differenceRowBody(a, b, n, mean1, mean2, mean, out);                                                           \
    }
STILLSKY_LEAVES(float)
STILLSKY_LEAVES(double)
#undef STILLSKY_LEAVES

// Calls f(block, first row, last row + 1) for blocks of rows whose size depends on the width alone; returns their number.
template <typename F>
void forRows(int width, int height, F const& f) {
    const int rows = std::max(1, PIXELS / std::max(1, width));
    parallelFor((height + rows - 1) / rows, [&](int block) { f(block, block * rows, std::min(height, (block + 1) * rows)); });
}

int numberOfBlocks(int width, int height) {
    const int rows = std::max(1, PIXELS / std::max(1, width));
    return (height + rows - 1) / rows;
}

template <typename T, typename U>
void checkSize(View2<T> view, View2<U> image, const char* name) {
    if (view.width == image.width && view.height == image.height) return;
    throw ShapeError(std::string(name) + ": wanted the size of the image, " + std::to_string(image.width) + "x" +
                     std::to_string(image.height) + ", got " + std::to_string(view.width) + "x" + std::to_string(view.height));
}

// Appends the flagged pixels of a row; writes nothing at or beyond `last`.
template <typename T>
T* appendUsed(const T* row, const std::uint8_t* use, int width, T* out, T* last) {
    int x = 0;
    for (; x + 8 <= width; x += 8) {
        std::uint64_t eight;
        std::memcpy(&eight, use + x, 8);
        if (eight == 0x0101010101010101u) {
            std::memcpy(out, row + x, 8 * sizeof(T));
            out += 8;
        } else if (eight != 0) {
            for (int k = x; k < x + 8 && out < last; ++k) {
                *out = row[k];
                out += use[k];
            }
        }
    }
    for (; x < width && out < last; ++x) {
        *out = row[x];
        out += use[x];
    }
    return out;
}

// The usable pixels one after the other.
template <typename T>
struct UsablePixels {
    std::unique_ptr<T[]> values;
    long long n = 0;

    UsablePixels(View2<const T> image, View2<const std::uint8_t> weight) {
        constexpr double most = std::numeric_limits<double>::max();
        std::unique_ptr<std::uint8_t[]> good(new std::uint8_t[static_cast<std::size_t>(image.size())]);
        const View2<std::uint8_t> flags(good.get(), image.width, image.height);
        std::vector<long long> before(static_cast<std::size_t>(numberOfBlocks(image.width, image.height)) + 1, 0);
        forRows(image.width, image.height, [&](int block, int begin, int end) {
            long long number = 0;
            for (int y = begin; y < end; ++y) {
                const int inRow = flagRow(image.row(y), weight.data ? weight.row(y) : nullptr, image.width, -most, most, flags.row(y));
                if (inRow < 0) throw DomainError("weight: wanted only 0 and 1, got other values in row " + std::to_string(y));
                number += inRow;
            }
            before[static_cast<std::size_t>(block) + 1] = number;
        });
        for (std::size_t i = 1; i < before.size(); ++i) before[i] += before[i - 1];
        n = before.back();
        values.reset(new T[static_cast<std::size_t>(n)]);
        forRows(image.width, image.height, [&](int block, int begin, int end) {
            T* out = values.get() + before[static_cast<std::size_t>(block)];
            T* const last = values.get() + before[static_cast<std::size_t>(block) + 1];
            for (int y = begin; y < end; ++y) {
                const T* row = image.row(y);
                out = appendUsed(row, flags.row(y), image.width, out, last);
            }
        });
    }

    Sums within(double centre, double half) const {
        const int nChunks = static_cast<int>((n + CHUNK - 1) / CHUNK);
        std::vector<Sums> parts(static_cast<std::size_t>(nChunks));
        parallelFor(nChunks, [&](int c) {
            const long long begin = static_cast<long long>(c) * CHUNK;
            parts[static_cast<std::size_t>(c)] =
                    addWithin(values.get() + begin, static_cast<int>(std::min<long long>(CHUNK, n - begin)), centre, half);
        });
        Sums out;
        for (Sums const& p : parts) {
            out.n += p.n;
            out.d += p.d;
            out.d2 += p.d2;
        }
        return out;
    }
};

}  // namespace

template <typename T>
ClippedPixelMoments clippedPixelMoments(View2<const T> image, View2<const std::uint8_t> weight, double nSigma, int nIter) {
    if (weight.data != nullptr) checkSize(weight, image, "weight");
    if (!(nSigma > 0)) throw DomainError("nSigma: wanted a number > 0, got " + std::to_string(nSigma));
    if (nIter < 1) throw DomainError("nIter: wanted a number >= 1, got " + std::to_string(nIter));
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    ClippedPixelMoments m{0, 0, nan, nan, nan, nan, nan, nan};
    if (image.empty()) return m;
    const UsablePixels<T> pixels(image, weight);
    m.count = pixels.n;
    if (m.count == 0) return m;
    const std::array<double, 3> q = ptc_detail::quartiles(pixels.values.get(), pixels.n);
    m.quartile1 = q[0];
    m.median = q[1];
    m.quartile3 = q[2];
    const Sums all = pixels.within(m.median, std::numeric_limits<double>::infinity());
    m.plainMean = m.median + all.d / all.n;
    double centre = m.median, half = nSigma * SIGMA_OF_IQR * (m.quartile3 - m.quartile1);
    for (int i = 0; i < nIter; ++i) {
        const Sums s = pixels.within(centre, half);
        const double mean = s.d / s.n;  // NaN when nothing is kept, which ends in NaN moments
        m.kept = static_cast<long long>(s.n);
        m.mean = centre + mean;
        m.variance = s.n > 1 ? std::max(s.d2 / s.n - mean * mean, 0.0) * (s.n / (s.n - 1)) : nan;
        centre = m.mean;
        // A single value has no width: all pixels equal to it stay, as the definition for one pixel has it.
        half = s.n > 1 ? nSigma * std::sqrt(m.variance) : half;
    }
    return m;
}

template <typename T>
void differenceOfFlats(View2<const T> image1, View2<const T> image2, double mean1, double mean2, View2<double> out) {
    checkSize(image2, image1, "image2");
    checkSize(out, image1, "out");
    const double mean = 0.5 * (mean1 + mean2);
    if (!std::isfinite(mean1) || !std::isfinite(mean2) || mean == 0) {
        throw DomainError("mean1, mean2: wanted finite numbers whose sum is not zero, got " + std::to_string(mean1) + ", " +
                          std::to_string(mean2));
    }
    forRows(image1.width, image1.height, [&](int, int begin, int end) {
        for (int y = begin; y < end; ++y) {
            differenceRow(image1.row(y), image2.row(y), image1.width, mean1, mean2, mean, out.row(y));
        }
    });
}

template <typename T>
long long clipWeights(View2<const T> image, View2<const std::uint8_t> weight, double lower, double upper,
                      View2<std::uint8_t> out) {
    if (weight.data != nullptr) checkSize(weight, image, "weight");
    checkSize(out, image, "out");
    constexpr double most = std::numeric_limits<double>::max();
    if (lower < -most) lower = -most;  // infinite pixels are never kept
    if (upper > most) upper = most;
    std::vector<long long> numbers(static_cast<std::size_t>(numberOfBlocks(image.width, image.height)), 0);
    forRows(image.width, image.height, [&](int block, int begin, int end) {
        for (int y = begin; y < end; ++y) {
            const int inRow = flagRow(image.row(y), weight.data ? weight.row(y) : nullptr, image.width, lower, upper, out.row(y));
            if (inRow < 0) throw DomainError("weight: wanted only 0 and 1, got other values in row " + std::to_string(y));
            numbers[static_cast<std::size_t>(block)] += inRow;
        }
    });
    long long total = 0;
    for (long long n : numbers) total += n;
    return total;
}

#define STILLSKY_INSTANTIATE(T)                                                                                           \
    template ClippedPixelMoments clippedPixelMoments<T>(View2<const T>, View2<const std::uint8_t>, double, int);          \
    template void differenceOfFlats<T>(View2<const T>, View2<const T>, double, double, View2<double>);                    \
    template long long clipWeights<T>(View2<const T>, View2<const std::uint8_t>, double, double, View2<std::uint8_t>);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stillsky
