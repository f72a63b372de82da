#include "stillsky/stats/select.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include "brackets.hpp"
#include "moments.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {

using stats_detail::Bracket;
using stats_detail::Found;

namespace {

constexpr std::size_t SMALL = 2048;        // below: plain nth_element
constexpr std::size_t CHUNK = 1 << 16;     // values per parallel block
// flag[i] = 1 where x[i] lies in [lo, hi]; returns the number of values below lo. n <= FLAGS.
template <typename T>
STILLSKY_INLINE int flagBracketBody(const T* STILLSKY_RESTRICT x, int n, T lo, T hi, std::uint8_t* STILLSKY_RESTRICT flag) {
    int below = 0;
    for (int i = 0; i < n; ++i) {
        below += x[i] < lo;
        flag[i] = static_cast<std::uint8_t>(flag[i] | ((x[i] >= lo) & (x[i] <= hi)));
    }
    return below;
}

template <typename T>
STILLSKY_INLINE int countBelowBody(const T* STILLSKY_RESTRICT x, int n, T value) {
    int below = 0;
    for (int i = 0; i < n; ++i) below += x[i] < value;
    return below;
}

// target_clones does not apply to templates: one plain function per type.
#define STILLSKY_SELECT_LEAVES(T)                                                                        \
    STILLSKY_SIMD int flagBracket(const T* x, int n, T lo, T hi, std::uint8_t* flag) {                    \
        return flagBracketBody(x, n, lo, hi, flag);                                                      \
    }                                                                                                    \
    STILLSKY_SIMD int countBelow(const T* x, int n, T value) { return countBelowBody(x, n, value); }
STILLSKY_SELECT_LEAVES(float)
STILLSKY_SELECT_LEAVES(double)
STILLSKY_SELECT_LEAVES(std::int32_t)
STILLSKY_SELECT_LEAVES(std::uint16_t)
#undef STILLSKY_SELECT_LEAVES

// The next representable value: x < after(v) is x <= v.
template <typename T>
T after(T v) {
    if constexpr (std::is_floating_point<T>::value) {
        return std::nextafter(v, std::numeric_limits<T>::infinity());
    } else {
        return static_cast<T>(v + 1);
    }
}

// Number of values <= v in x[0..n).
template <typename T>
int countUpTo(const T* x, int n, T v) {
    return v == std::numeric_limits<T>::max() && !std::is_floating_point<T>::value ? n : countBelow(x, n, after(v));
}

}  // namespace

namespace stats_detail {

template <typename T>
void scanSegment(const T* x, int n, std::vector<Bracket<T>> const& brackets, Found<T>& found) {
    alignas(64) std::uint8_t flag[SCAN];
    const int nPadded = (n + 7) & ~7;
    std::memset(flag, 0, static_cast<std::size_t>(nPadded));
    for (std::size_t j = 0; j < brackets.size(); ++j) {
        Bracket<T> const& b = brackets[j];
        if (b.lo == b.hi) {  // only ties: count them, there is nothing to choose
            const int below = countBelow(x, n, b.lo);
            found.below[j] += static_cast<std::size_t>(below);
            found.equal[j] += static_cast<std::size_t>(countUpTo(x, n, b.lo) - below);
        } else {
            found.below[j] += static_cast<std::size_t>(flagBracket(x, n, b.lo, b.hi, flag));
        }
    }
    for (int i = 0; i < n; i += 8) {
        std::uint64_t word;
        std::memcpy(&word, flag + i, 8);
        if (word == 0) continue;
        for (int k = i; k < std::min(i + 8, n); ++k) {
            if (!flag[k]) continue;
            for (std::size_t j = 0; j < brackets.size(); ++j) {
                Bracket<T> const& b = brackets[j];
                if (b.lo < b.hi && x[k] >= b.lo && x[k] <= b.hi) found.inside[j].push_back(x[k]);
            }
        }
    }
}

template <typename T>
std::vector<Bracket<T>> makeBrackets(std::vector<T> const& sample, std::size_t n, std::vector<std::size_t> const& ranks) {
    const double m = static_cast<double>(sample.size());
    std::vector<Bracket<T>> brackets;
    std::size_t last = 0;
    for (std::size_t rank : ranks) {
        if (!brackets.empty() && rank - last <= 1) {  // the two neighbours of one quantile share a bracket
            brackets.back().ranks.push_back(rank);
            last = rank;
            continue;
        }
        const double f = (static_cast<double>(rank) + 0.5) / static_cast<double>(n);
        const double at = f * m, margin = 4 * std::sqrt(m * f * (1 - f)) + 2;
        Bracket<T> b;
        b.lo = at - margin < 0 ? std::numeric_limits<T>::lowest() : sample[static_cast<std::size_t>(at - margin)];
        b.hi = at + margin >= m ? std::numeric_limits<T>::max() : sample[static_cast<std::size_t>(at + margin)];
        b.ranks.push_back(rank);
        brackets.push_back(b);
        last = rank;
    }
    return brackets;
}

template <typename T>
std::vector<T> resolve(std::vector<Found<T>> const& parts, std::vector<Bracket<T>> const& brackets, std::size_t notData,
                       std::function<T(std::size_t)> const& byCopy) {
    std::vector<T> out;
    for (std::size_t j = 0; j < brackets.size(); ++j) {
        std::size_t below = 0, equal = 0;
        std::vector<T> inside;
        for (auto const& f : parts) {
            below += f.below[j];
            equal += f.equal[j];
            inside.insert(inside.end(), f.inside[j].begin(), f.inside[j].end());
        }
        below -= notData;
        const bool ties = brackets[j].lo == brackets[j].hi;
        const std::size_t count = ties ? equal : inside.size();
        for (std::size_t rank : brackets[j].ranks) {
            if (rank < below || rank >= below + count) {
                out.push_back(byCopy(rank));  // one case in about 10^4: the sample was unlucky
            } else if (ties) {
                out.push_back(brackets[j].lo);
            } else {
                const auto at = inside.begin() + static_cast<std::ptrdiff_t>(rank - below);
                std::nth_element(inside.begin(), at, inside.end());
                out.push_back(*at);
            }
        }
    }
    return out;
}

std::vector<std::size_t> quantileRanks(std::size_t n, std::vector<double> const& fractions) {
    std::vector<std::size_t> ranks;
    for (double f : fractions) {
        const std::size_t rank = static_cast<std::size_t>(f * static_cast<double>(n - 1));
        ranks.push_back(rank);
        ranks.push_back(std::min(rank + 1, n - 1));
    }
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
    return ranks;
}

namespace {

template <typename T>
T valueAtRank(std::vector<std::size_t> const& ranks, std::vector<T> const& values, std::size_t rank) {
    return values[static_cast<std::size_t>(std::lower_bound(ranks.begin(), ranks.end(), rank) - ranks.begin())];
}

}  // namespace

template <typename T>
std::vector<double> quantilesFromRanks(std::size_t n, std::vector<double> const& fractions,
                                       std::vector<std::size_t> const& ranks, std::vector<T> const& values) {
    std::vector<double> out;
    for (double f : fractions) {
        const std::size_t rank = static_cast<std::size_t>(f * static_cast<double>(n - 1));
        const double h = f * static_cast<double>(n - 1) - static_cast<double>(rank);
        const double a = valueAtRank(ranks, values, rank), b = valueAtRank(ranks, values, std::min(rank + 1, n - 1));
        out.push_back(between(a, b, h));
    }
    return out;
}

#define STILLSKY_INSTANTIATE(T)                                                                                        \
    template std::vector<Bracket<T>> makeBrackets<T>(std::vector<T> const&, std::size_t, std::vector<std::size_t> const&); \
    template void scanSegment<T>(const T*, int, std::vector<Bracket<T>> const&, Found<T>&);                             \
    template std::vector<T> resolve<T>(std::vector<Found<T>> const&, std::vector<Bracket<T>> const&, std::size_t,       \
                                       std::function<T(std::size_t)> const&);                                         \
    template std::vector<double> quantilesFromRanks<T>(std::size_t, std::vector<double> const&,                         \
                                                       std::vector<std::size_t> const&, std::vector<T> const&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
STILLSKY_INSTANTIATE(std::int32_t)
STILLSKY_INSTANTIATE(std::uint16_t)
#undef STILLSKY_INSTANTIATE

}  // namespace stats_detail

namespace {

template <typename T>
std::vector<T> sortedSample(const T* x, std::size_t n) {
    const double wanted = 2 * std::pow(static_cast<double>(n), 2.0 / 3);
    const std::size_t m = std::min<std::size_t>(16384, static_cast<std::size_t>(wanted));
    std::vector<T> sample(m);
    std::uint32_t random = 12345;  // fixed: the sample decides only the speed
    for (std::size_t i = 0; i < m; ++i) {
        const std::size_t begin = i * n / m, end = (i + 1) * n / m;
        random = random * 1664525u + 1013904223u;
        sample[i] = x[begin + (static_cast<std::uint64_t>(random) * (end - begin) >> 32)];
    }
    std::sort(sample.begin(), sample.end());
    return sample;
}

template <typename T>
T selectByCopy(const T* x, std::size_t n, std::size_t rank) {
    std::vector<T> copy(x, x + n);
    std::nth_element(copy.begin(), copy.begin() + static_cast<std::ptrdiff_t>(rank), copy.end());
    return copy[rank];
}

template <typename T>
std::vector<T> selectSmall(const T* x, std::size_t n, std::vector<std::size_t> const& ranks) {
    std::vector<T> copy(x, x + n), out;
    auto begin = copy.begin();
    for (std::size_t rank : ranks) {
        const auto at = copy.begin() + static_cast<std::ptrdiff_t>(rank);
        if (at >= begin) {
            std::nth_element(begin, at, copy.end());
            begin = at + 1;
        }
        out.push_back(*at);
    }
    return out;
}

template <typename T>
std::vector<T> selectBracketed(const T* x, std::size_t n, std::vector<Bracket<T>> const& brackets) {
    const int nChunks = static_cast<int>((n + CHUNK - 1) / CHUNK);
    std::vector<Found<T>> found(static_cast<std::size_t>(nChunks));
    parallelFor(nChunks, [&](int c) {
        const std::size_t begin = static_cast<std::size_t>(c) * CHUNK, end = std::min(n, begin + CHUNK);
        for (std::size_t i = begin; i < end; i += stats_detail::SCAN) {
            const int m = static_cast<int>(std::min<std::size_t>(stats_detail::SCAN, end - i));
            stats_detail::scanSegment(x + i, m, brackets, found[static_cast<std::size_t>(c)]);
        }
    });
    return stats_detail::resolve<T>(found, brackets, 0, [&](std::size_t rank) { return selectByCopy(x, n, rank); });
}

}  // namespace

template <typename T>
std::vector<T> orderStatistics(const T* x, std::size_t n, std::vector<std::size_t> const& ranks) {
    for (std::size_t i = 0; i < ranks.size(); ++i) {
        if (ranks[i] >= n || (i > 0 && ranks[i] < ranks[i - 1])) {
            throw DomainError("orderStatistics: wanted ascending ranks below " + std::to_string(n) + ", got " +
                              std::to_string(ranks[i]) + " at position " + std::to_string(i));
        }
    }
    if (n <= SMALL) return selectSmall(x, n, ranks);
    std::vector<T> out;
    const std::vector<Bracket<T>> all = stats_detail::makeBrackets(sortedSample(x, n), n, ranks);
    for (std::size_t i = 0; i < all.size(); i += stats_detail::MAX_BRACKETS) {
        const std::size_t end = std::min(all.size(), i + stats_detail::MAX_BRACKETS);
        std::vector<Bracket<T>> some(all.begin() + static_cast<std::ptrdiff_t>(i), all.begin() + static_cast<std::ptrdiff_t>(end));
        for (T value : selectBracketed(x, n, some)) out.push_back(value);
    }
    return out;
}

namespace {

// Value of an integer quantile: ties spread over the bin around k.
template <typename T>
double spreadTies(const T* x, std::size_t n, double f, T k) {
    double below = 0, upTo = 0;
    for (std::size_t i = 0; i < n; i += CHUNK) {
        const int m = static_cast<int>(std::min(CHUNK, n - i));
        below += countBelow(x + i, m, k);
        upTo += countUpTo(x + i, m, k);
    }
    return k - 0.5 + (f * static_cast<double>(n) - below) / (upTo - below);
}

}  // namespace

template <typename T>
std::vector<double> quantiles(const T* x, std::size_t n, std::vector<double> const& fractions) {
    for (double f : fractions) {
        if (!(f >= 0 && f <= 1)) throw DomainError("quantiles: wanted fractions in [0, 1], got " + std::to_string(f));
    }
    if (n == 0) return std::vector<double>(fractions.size(), std::numeric_limits<double>::quiet_NaN());
    const std::vector<std::size_t> ranks = stats_detail::quantileRanks(n, fractions);
    const std::vector<T> values = orderStatistics(x, n, ranks);
    if constexpr (std::is_floating_point<T>::value) {
        return stats_detail::quantilesFromRanks(n, fractions, ranks, values);
    } else {
        std::vector<double> out;
        for (double f : fractions) {
            const std::size_t rank = static_cast<std::size_t>(f * static_cast<double>(n - 1));
            out.push_back(spreadTies(x, n, f, stats_detail::valueAtRank(ranks, values, rank)));
        }
        return out;
    }
}

#define STILLSKY_INSTANTIATE(T)                                                                          \
    template std::vector<T> orderStatistics<T>(const T*, std::size_t, std::vector<std::size_t> const&); \
    template std::vector<double> quantiles<T>(const T*, std::size_t, std::vector<double> const&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
STILLSKY_INSTANTIATE(std::int32_t)
STILLSKY_INSTANTIATE(std::uint16_t)
#undef STILLSKY_INSTANTIATE

}  // namespace stillsky
