#include "block_sums.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "covariance_detail.hpp"
#include "stillsky/core/aligned.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace ptc_detail {
namespace {

constexpr int BLOCK_PIXELS = 40000;    // a block in double precision stays in the second-level cache
constexpr double MANY_BAD = 0.45;      // share of bad pixels above which products of weights are cheaper than patches

// value[x] = image[x] - offset and good[x] = 1 for finite pixels of weight 1, else both 0. Returns bit 0: a pixel of
// weight 1 is not finite; bit 1: a weight is neither 0 nor 1.
template <typename T>
STILLSKY_INLINE int selectRowBody(const T* STILLSKY_RESTRICT image, const std::uint8_t* STILLSKY_RESTRICT weight, int n,
                                  double offset, double* STILLSKY_RESTRICT value, std::uint8_t* STILLSKY_RESTRICT good) {
    unsigned notFinite = 0, notBinary = 0;
    for (int x = 0; x < n; ++x) {
        const T zeroIfFinite = image[x] - image[x];
        const unsigned use = weight[x], finite = zeroIfFinite == 0;
        notBinary |= use;
        notFinite |= use & (finite ^ 1u);
        good[x] = static_cast<std::uint8_t>(use & finite);
    }
    for (int x = 0; x < n; ++x) {
        const double shifted = static_cast<double>(image[x]) - offset;
        value[x] = good[x] ? shifted : 0.0;
    }
    return static_cast<int>((notFinite & 1u) | (notBinary > 1u ? 2u : 0u));
}

// Sum and number of the finite pixels of weight 1.
template <typename T>
STILLSKY_INLINE void addRowBody(const T* STILLSKY_RESTRICT image, const std::uint8_t* STILLSKY_RESTRICT weight, int n,
                                double& sum, long long& count) {
    double lane[16] = {};
    int number = 0, x = 0;
    for (; x + 16 <= n; x += 16) {
        for (int k = 0; k < 16; ++k) {
            const T zeroIfFinite = image[x + k] - image[x + k];
            const bool use = (weight[x + k] != 0) & (zeroIfFinite == 0);
            lane[k] += use ? static_cast<double>(image[x + k]) : 0.0;
            number += use;
        }
    }
    for (; x < n; ++x) {
        const bool use = weight[x] != 0 && std::isfinite(image[x]);
        if (use) lane[0] += static_cast<double>(image[x]);
        number += use;
    }
    for (double s : lane) sum += s;
    count += number;
}

STILLSKY_SIMD double sumOfRow(const double* x, int n) {
    double lane[8] = {}, sum = 0;
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int k = 0; k < 8; ++k) lane[k] += x[i + k];
    }
    for (; i < n; ++i) lane[0] += x[i];
    for (double s : lane) sum += s;
    return sum;
}

STILLSKY_SIMD int sumOfRow(const std::uint8_t* x, int n) {
    int sum = 0;
    for (int i = 0; i < n; ++i) sum += x[i];
    return sum;
}

// target_clones does not apply to templates: one plain function per type.
#define STILLSKY_LEAVES(T)                                                                                              \
    STILLSKY_SIMD int selectRow(const T* image, const std::uint8_t* weight, int n, double offset, double* value,       \
                                std::uint8_t* good) {                                                                  \
        return selectRowBody(image, weight, n, offset, value, good);                                                   \
    }                                                                                                                  \
    STILLSKY_SIMD void addRow(const T* image, const std::uint8_t* weight, int n, double& sum, long long& count) {       \
        addRowBody(image, weight, n, sum, count);                                                                      \
    }
STILLSKY_LEAVES(float)
STILLSKY_LEAVES(double)
#undef STILLSKY_LEAVES

// What a block needs while it is summed; one per thread, reused.
struct Scratch {
    AlignedVector<double> value, goodValue;    // pixels; weights where bad pixels are many
    AlignedVector<std::uint8_t> good;
    std::vector<std::int32_t> bad, badBefore;  // positions of bad pixels; how many lie before each row
    std::vector<double> cut;                   // running totals over rows of what rows hold within a lag's columns
    std::vector<std::int64_t> cutGood, patchCount;
    std::vector<double> patchFirst, patchSecond;
};

// Rows [begin, end) of the image and the maxLag rows before them, in padded buffers.
template <typename T>
class Block {
public:
    Block(View2<const T> image, View2<const std::uint8_t> weight, int maxLag, int begin, int end, Scratch& scratch)
            : image_(image), weight_(weight), lag_(maxLag), begin_(begin), rows_(end - begin), s_(scratch) {
        left_ = (lag_ + LANES - 1) / LANES * LANES;
        int lines = (left_ + image.width + lag_ + RIGHT_PAD + LANES - 1) / LANES;
        lines |= 1;  // an odd number of cache lines: rows do not compete for the same ones
        stride_ = lines * LANES;
        first_ = lag_ * stride_ + left_;
        const std::size_t size = static_cast<std::size_t>((lag_ + rows_ + 1) * stride_);
        s_.value.resize(size);
        s_.good.resize(size);
    }

    BlockSums sum(double offset, bool ignoreNonFinite) {
        fill(offset, ignoreNonFinite);
        BlockSums out;
        const std::size_t n = static_cast<std::size_t>((lag_ + 1) * (2 * lag_ + 1));
        out.count.assign(n, 0);
        for (auto* sum : {&out.first, &out.second, &out.product}) sum->assign(n, 0.0);
        products(s_.value, s_.value, out.product);
        const double share = static_cast<double>(s_.bad.size()) / (static_cast<double>(image_.width) * (lag_ + rows_));
        if (share > MANY_BAD) sumsOfProducts(out);
        else sumsOfRectangles(out);
        return out;
    }

private:
    std::ptrdiff_t at(int row) const { return first_ + row * stride_; }  // of column 0; rows count from `begin`

    void fill(double offset, bool ignoreNonFinite) {
        s_.bad.clear();
        s_.badBefore.assign(1, 0);
        for (int row = -lag_; row < rows_; ++row) {
            clearPads(row);
            if (begin_ + row >= 0) fillRow(row, offset, ignoreNonFinite);
            s_.badBefore.push_back(static_cast<std::int32_t>(s_.bad.size()));
        }
    }

    // Zeros left and right of a row; rows before the image are zeros altogether.
    void clearPads(int row) {
        const std::ptrdiff_t begin = at(row) - left_, end = begin + stride_;
        const std::ptrdiff_t right = begin_ + row >= 0 ? at(row) + image_.width : at(row);
        std::fill(s_.value.data() + begin, s_.value.data() + at(row), 0.0);
        std::fill(s_.value.data() + right, s_.value.data() + end, 0.0);
        std::fill(s_.good.data() + begin, s_.good.data() + at(row), std::uint8_t{0});
        std::fill(s_.good.data() + right, s_.good.data() + end, std::uint8_t{0});
    }

    void fillRow(int row, double offset, bool ignoreNonFinite) {
        const int y = begin_ + row, width = image_.width;
        const int wrong = selectRow(image_.row(y), weight_.row(y), width, offset, &s_.value[index(row)], &s_.good[index(row)]);
        if (wrong & 2) throw DomainError("weight: wanted only 0 and 1, got other values in row " + std::to_string(y));
        if (wrong && !ignoreNonFinite) refuse(y);
        const std::uint8_t* good = &s_.good[index(row)];
        for (int x = 0; x < width; x += 8) {
            std::uint64_t eight;
            std::memcpy(&eight, good + x, 8);
            if (eight == 0x0101010101010101u) continue;
            for (int k = x; k < std::min(x + 8, width); ++k) {
                if (!good[k]) s_.bad.push_back(static_cast<std::int32_t>(at(row) + k));
            }
        }
    }

    [[noreturn]] void refuse(int y) const {
        int x = 0;
        while (weight_(x, y) == 0 || std::isfinite(image_(x, y))) ++x;
        throw DomainError("image: pixel (x=" + std::to_string(x) + ", y=" + std::to_string(y) +
                          ") has weight 1 but is not finite: mask it first");
    }

    std::size_t index(int row) const { return static_cast<std::size_t>(at(row)); }

    void products(AlignedVector<double> const& a, AlignedVector<double> const& b, std::vector<double>& out) const {
        addLagProducts({&a[index(0)], &b[index(0)], stride_, image_.width, rows_, lag_}, out.data());
    }

    // Many bad pixels: the other sums are products with the weights.
    void sumsOfProducts(BlockSums& out) {
        s_.goodValue.assign(s_.good.begin(), s_.good.end());
        std::vector<double> count(out.count.size(), 0.0);
        products(s_.goodValue, s_.goodValue, count);
        products(s_.value, s_.goodValue, out.first);
        products(s_.goodValue, s_.value, out.second);
        std::transform(count.begin(), count.end(), out.count.begin(), [](double c) { return std::llround(c); });
    }

    // Few bad pixels: what the rectangle of a lag's pixels holds, less what lies a lag away from the bad ones.
    void sumsOfRectangles(BlockSums& out) {
        runningTotals();
        const int n = 2 * lag_ + 1;
        for (int dy = 0; dy <= lag_; ++dy) {
            patches(dy);
            const int firstRow = std::max(-dy, -begin_), lastRow = rows_ - dy;  // of first pixels; second: dy further
            if (lastRow <= firstRow) continue;
            for (int dx = -lag_; dx <= lag_; ++dx) {
                const std::size_t o = static_cast<std::size_t>(dy * n + lag_ + dx);
                const std::size_t mirrored = static_cast<std::size_t>(lag_ - dx), straight = static_cast<std::size_t>(lag_ + dx);
                out.count[o] = between(s_.cutGood, firstRow, lastRow, dx) - s_.patchCount[mirrored];
                out.first[o] = between(s_.cut, firstRow, lastRow, dx) - s_.patchFirst[mirrored];
                out.second[o] = between(s_.cut, firstRow + dy, lastRow + dy, -dx) - s_.patchSecond[straight];
            }
        }
    }

    // Totals of rows [from, to) over the columns x for which x + dx is a column too.
    template <typename V>
    V between(std::vector<V> const& totals, int from, int to, int dx) const {
        const int n = 2 * lag_ + 1;
        return totals[static_cast<std::size_t>((to + lag_) * n + lag_ + dx)] -
               totals[static_cast<std::size_t>((from + lag_) * n + lag_ + dx)];
    }

    void runningTotals() {
        const int n = 2 * lag_ + 1, width = image_.width;
        s_.cut.assign(static_cast<std::size_t>((lag_ + rows_ + 1) * n), 0.0);
        s_.cutGood.assign(s_.cut.size(), 0);
        for (int row = -lag_; row < rows_; ++row) {
            const double* v = &s_.value[index(row)];
            const std::uint8_t* g = &s_.good[index(row)];
            const std::size_t before = static_cast<std::size_t>((row + lag_) * n + lag_);
            const double* total = &s_.cut[before];
            const std::int64_t* totalGood = &s_.cutGood[before];
            double* next = &s_.cut[before + static_cast<std::size_t>(n)];
            std::int64_t* nextGood = &s_.cutGood[before + static_cast<std::size_t>(n)];
            const double all = sumOfRow(v, width);
            const int allGood = sumOfRow(g, width);
            double withoutRight = all, withoutLeft = all;
            int goodWithoutRight = allGood, goodWithoutLeft = allGood;
            for (int k = 0; k <= lag_; ++k) {
                next[k] = total[k] + withoutRight;
                next[-k] = total[-k] + withoutLeft;
                nextGood[k] = totalGood[k] + goodWithoutRight;
                nextGood[-k] = totalGood[-k] + goodWithoutLeft;
                withoutRight -= v[width - 1 - k];
                withoutLeft -= v[k];
                goodWithoutRight -= g[width - 1 - k];
                goodWithoutLeft -= g[k];
            }
        }
    }

    // patchFirst[k], patchCount[k]: over bad second pixels q of this block, of what is at q - (lag - k, dy);
    // patchSecond[k]: over bad first pixels q whose second lies in this block, of what is at q + (k - lag, dy).
    void patches(int dy) {
        const int n = 2 * lag_ + 1;
        s_.patchFirst.assign(static_cast<std::size_t>(n), 0.0);
        s_.patchSecond.assign(static_cast<std::size_t>(n), 0.0);
        s_.patchCount.assign(static_cast<std::size_t>(n), 0);
        const std::int32_t* before = s_.badBefore.data() + lag_;
        const std::int32_t* bad = s_.bad.data();
        const std::ptrdiff_t up = dy * stride_ + lag_, down = dy * stride_ - lag_;
        // Pointers are formed from a bad pixel's position, so they never leave the buffer.
        addPatches(s_.value.data(), -up, bad + before[0], before[rows_] - before[0], n, s_.patchFirst.data());
        addPatches(s_.good.data(), -up, bad + before[0], before[rows_] - before[0], n, s_.patchCount.data());
        addPatches(s_.value.data(), down, bad + before[-dy], before[rows_ - dy] - before[-dy], n, s_.patchSecond.data());
    }

    View2<const T> image_;
    View2<const std::uint8_t> weight_;
    int lag_, begin_, rows_, left_;
    std::ptrdiff_t stride_, first_;
    Scratch& s_;
};

}  // namespace

template <typename T>
std::vector<BlockSums> sumBlocks(View2<const T> image, View2<const std::uint8_t> weight, int maxLag, double offset,
                                 bool ignoreNonFinite) {
    // The size of a block depends on the image alone, so the rounding of the sums does too.
    const int rows = std::max({2 * maxLag, 16, BLOCK_PIXELS / image.width});
    const int nBlocks = (image.height + rows - 1) / rows;
    std::vector<BlockSums> parts(static_cast<std::size_t>(nBlocks));
    parallelFor(nBlocks, [&](int i) {
        static thread_local Scratch scratch;
        const int begin = i * rows, end = std::min(image.height, begin + rows);
        Block<T> block(image, weight, maxLag, begin, end, scratch);
        parts[static_cast<std::size_t>(i)] = block.sum(offset, ignoreNonFinite);
    });
    return parts;
}

template <typename T>
double nearMeanOfPixels(View2<const T> image, View2<const std::uint8_t> weight) {
    for (int step : {8, 1}) {  // all rows only where every eighth has nothing to offer
        double sum = 0;
        long long count = 0;
        for (int y = 0; y < image.height; y += step) addRow(image.row(y), weight.row(y), image.width, sum, count);
        if (count > 0) return sum / static_cast<double>(count);
    }
    return 0.0;
}

#define STILLSKY_INSTANTIATE(T)                                                                                   \
    template std::vector<BlockSums> sumBlocks<T>(View2<const T>, View2<const std::uint8_t>, int, double, bool);   \
    template double nearMeanOfPixels<T>(View2<const T>, View2<const std::uint8_t>);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace ptc_detail
}  // namespace stillsky
