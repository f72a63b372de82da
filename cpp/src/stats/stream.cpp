#include "stream.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/stats/select.hpp"

namespace stillsky {
namespace stats_detail {
namespace {

constexpr double INF = std::numeric_limits<double>::infinity();

// out[i] = x[i] where it is finite and m[i] (if any) has none of the bits, else NaN.
template <typename T>
STILLSKY_INLINE void selectBody(const T* STILLSKY_RESTRICT x, const MaskPixel* STILLSKY_RESTRICT m, MaskPixel bits, int n,
                                T* STILLSKY_RESTRICT out) {
    constexpr T limit = std::numeric_limits<T>::max(), nan = std::numeric_limits<T>::quiet_NaN();
    if (m) {
        for (int i = 0; i < n; ++i) out[i] = ((m[i] & bits) == 0) & (std::fabs(x[i]) <= limit) ? x[i] : nan;
    } else {
        for (int i = 0; i < n; ++i) out[i] = std::fabs(x[i]) <= limit ? x[i] : nan;
    }
}
STILLSKY_SIMD void select(const float* x, const MaskPixel* m, MaskPixel b, int n, float* out) { selectBody(x, m, b, n, out); }
STILLSKY_SIMD void select(const double* x, const MaskPixel* m, MaskPixel b, int n, double* out) { selectBody(x, m, b, n, out); }

struct PlainValue {
    template <typename T>
    T operator()(T value) const {
        return value;
    }
};

}  // namespace

template <typename T>
PixelStream<T>::PixelStream(StatisticsSamples<T> const& s, MaskPixel andMask)
        : total(s.image.size()), image_(s.image), mask_(s.mask), andMask_(andMask), blocks_(cut(s.image.width, s.image.height)) {
    std::vector<std::size_t> count(blocks_.size());
    std::vector<MaskPixel> bits(blocks_.size());
    std::vector<char> infinite(blocks_.size());
    parallelFor(static_cast<int>(blocks_.size()), [&](int block) {
        const std::size_t b = static_cast<std::size_t>(block);
        Rectangle const& r = blocks_[b];
        std::uint8_t flag[SEGMENT];
        for (int y = r.y; y < r.y + r.height; ++y) {
            for (int x = r.x; x < r.x + r.width; x += SEGMENT) {
                const int m = std::min(SEGMENT, r.x + r.width - x);
                const T* row = image_.row(y) + x;
                flagFinite(row, m, std::numeric_limits<T>::max(), flag);
                if (countFlags(flag, m) < m) infinite[b] |= std::any_of(row, row + m, [](T v) { return std::isinf(v); });
                if (!mask_.empty()) {
                    flagUnmasked(mask_.row(y) + x, m, andMask_, flag);
                    bits[b] |= orFlagged(mask_.row(y) + x, flag, m);
                }
                count[b] += static_cast<std::size_t>(countFlags(flag, m));
            }
        }
    });
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
        n += count[b];
        orMask |= bits[b];
        hasInfinity_ |= infinite[b] != 0;
    }
    if (andMask_ == 0) mask_ = View2<const MaskPixel>();
}

// f(values, number) for each row segment of a block: the pixels themselves, or a copy with NaN for unusable ones.
template <typename T>
template <typename F>
void PixelStream<T>::forSegments(int block, F const& f) const {
    Rectangle const& r = blocks_[static_cast<std::size_t>(block)];
    T buffer[SEGMENT];
    for (int y = r.y; y < r.y + r.height; ++y) {
        for (int x = r.x; x < r.x + r.width; x += SEGMENT) {
            const int m = std::min(SEGMENT, r.x + r.width - x);
            const T* row = image_.row(y) + x;
            if (!mask_.empty() || hasInfinity_) {
                select(row, mask_.empty() ? nullptr : mask_.row(y) + x, andMask_, m, buffer);
                row = buffer;
            }
            f(row, m);
        }
    }
}

// Usable ones of 8000 to 40000 pixels spread over the image; fixed, it decides only the speed.
template <typename T>
std::vector<T> PixelStream<T>::sample() const {
    const std::uint64_t pixels = static_cast<std::uint64_t>(total);
    const std::uint64_t wanted = std::min(pixels, std::clamp<std::uint64_t>(pixels / 64, 8000, 40000));
    std::vector<T> out;
    std::uint32_t random = 12345;
    for (std::uint64_t i = 0; i < wanted; ++i) {
        random = random * 1664525u + 1013904223u;
        const std::uint64_t begin = i * pixels / wanted, end = (i + 1) * pixels / wanted;
        const std::uint64_t at = begin + (static_cast<std::uint64_t>(random) * (end - begin) >> 32);
        const int x = static_cast<int>(at % static_cast<std::uint64_t>(image_.width));
        const int y = static_cast<int>(at / static_cast<std::uint64_t>(image_.width));
        if (std::isfinite(image_(x, y)) && (mask_.empty() || (mask_(x, y) & andMask_) == 0)) out.push_back(image_(x, y));
    }
    return out;
}

template <typename T>
double PixelStream<T>::crudeCentre() const {
    std::vector<T> some = sample();
    if (some.empty()) return 0.0;
    std::nth_element(some.begin(), some.begin() + static_cast<std::ptrdiff_t>(some.size() / 2), some.end());
    return some[some.size() / 2];
}

template <typename T>
template <typename V, typename Convert>
std::vector<double> PixelStream<T>::quantilesOf(std::vector<double> const& fractions, Convert const& convert) const {
    if (n == 0) return std::vector<double>(fractions.size(), std::numeric_limits<double>::quiet_NaN());
    std::vector<V> some;
    for (T value : sample()) some.push_back(convert(value));
    std::sort(some.begin(), some.end());
    const std::vector<std::size_t> ranks = quantileRanks(n, fractions);
    const std::vector<Bracket<V>> brackets = makeBrackets(some, n, ranks);
    std::vector<Found<V>> found(blocks_.size());
    auto collectAll = [&] {
        std::vector<V> all;
        for (std::size_t b = 0; b < blocks_.size(); ++b) {
            forSegments(static_cast<int>(b), [&](const T* x, int m) {
                for (int i = 0; i < m; ++i) {
                    if (!std::isnan(x[i])) all.push_back(convert(x[i]));
                }
            });
        }
        return all;
    };
    auto byCopy = [&](std::size_t rank) {
        const std::vector<V> all = collectAll();
        return orderStatistics(all.data(), all.size(), {rank})[0];
    };
    parallelFor(static_cast<int>(blocks_.size()), [&](int b) {
        forSegments(b, [&](const T* x, int m) {
            if constexpr (std::is_same<V, T>::value && std::is_same<Convert, PlainValue>::value) {
                scanSegment(x, m, brackets, found[static_cast<std::size_t>(b)]);
            } else {
                V converted[SEGMENT];
                for (int i = 0; i < m; ++i) converted[i] = convert(x[i]);
                scanSegment(static_cast<const V*>(converted), m, brackets, found[static_cast<std::size_t>(b)]);
            }
        });
    });
    return quantilesFromRanks(n, fractions, ranks, resolve<V>(found, brackets, 0, byCopy));
}

template <typename T>
std::vector<double> PixelStream<T>::quantiles(std::vector<double> const& fractions) const {
    return quantilesOf<T>(fractions, PlainValue());
}

template <typename T>
std::vector<double> PixelStream<T>::deviationQuantiles(double from, std::vector<double> const& fractions) const {
    return quantilesOf<double>(fractions, [from](T v) { return std::fabs(static_cast<double>(v) - from); });
}

template <typename T>
Sums PixelStream<T>::sums(double centre, double half) const {
    std::vector<Sums> parts(blocks_.size());
    parallelFor(static_cast<int>(blocks_.size()), [&](int b) {
        Sums& part = parts[static_cast<std::size_t>(b)];
        forSegments(b, [&](const T* x, int m) {
            addPlain(x, static_cast<std::size_t>(m), centre, half, part);
            if (half == INF) addExtremes(x, static_cast<std::size_t>(m), part);
        });
    });
    return stats_detail::total(parts, centre);
}

template class PixelStream<float>;
template class PixelStream<double>;

}  // namespace stats_detail
}  // namespace stillsky
