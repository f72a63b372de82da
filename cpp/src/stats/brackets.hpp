// Private to the stats room: the bracket method of select.hpp in pieces, for values in one array or in many segments.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace stillsky {
namespace stats_detail {

constexpr int MAX_BRACKETS = 3;
constexpr int SCAN = 4096;  // most values per call of scanSegment

// Values between which the wanted ranks are expected.
template <typename T>
struct Bracket {
    T lo{}, hi{};
    std::vector<std::size_t> ranks;
};

// What passes over (parts of) the data found.
template <typename T>
struct Found {
    std::size_t below[MAX_BRACKETS] = {}, equal[MAX_BRACKETS] = {};
    std::vector<T> inside[MAX_BRACKETS];
};

// Brackets of 4 standard deviations of the sample's rank to either side. `sample` is sorted, of n values in all.
template <typename T>
std::vector<Bracket<T>> makeBrackets(std::vector<T> const& sample, std::size_t n, std::vector<std::size_t> const& ranks);

// Add x[0..n), n <= SCAN, to what was found; NaNs count nowhere. At most MAX_BRACKETS brackets.
template <typename T>
void scanSegment(const T* x, int n, std::vector<Bracket<T>> const& brackets, Found<T>& found);

// Values at the ranks of the brackets, from what all parts found; those of the brackets' counts below that are not data
// (`notData`) are discounted. byCopy(rank) is asked where the sample was unlucky.
template <typename T>
std::vector<T> resolve(std::vector<Found<T>> const& parts, std::vector<Bracket<T>> const& brackets, std::size_t notData,
                       std::function<T(std::size_t)> const& byCopy);

// Ranks, ascending and without repetition, that the quantiles of n values need.
std::vector<std::size_t> quantileRanks(std::size_t n, std::vector<double> const& fractions);
// Quantiles of floating-point data from the values at those ranks.
template <typename T>
std::vector<double> quantilesFromRanks(std::size_t n, std::vector<double> const& fractions,
                                       std::vector<std::size_t> const& ranks, std::vector<T> const& values);

}  // namespace stats_detail
}  // namespace stillsky
