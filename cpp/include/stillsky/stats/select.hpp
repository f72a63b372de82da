// Exact order statistics and quantiles of large arrays without sorting them.
#pragma once

#include <cstddef>
#include <vector>

namespace stillsky {

// The values at the given ranks (0-based, ascending, each < n) of the sorted array. x is not modified and must hold no
// NaN. T: float, double, std::int32_t, std::uint16_t.
//
// Floyd & Rivest (1975, CACM 18, 165): a sorted sample brackets each rank, one pass counts what lies below and collects
// what lies inside the bracket; exact whatever the data (a missed bracket falls back to selection over everything).
// Cost: 1 to 3 ns a value, threaded in blocks of 2^16 values. Memory: about 10 % of the input.
template <typename T>
std::vector<T> orderStatistics(const T* x, std::size_t n, std::vector<std::size_t> const& ranks);

// Quantiles at ascending fractions f in [0, 1]; NaN for n = 0. Floating point: linear between the neighbours of rank
// f (n - 1) (type 7 of Hyndman & Fan 1996, Am. Stat. 50, 361). Integers: k - 0.5 + (f n - L)/M, where k has rank
// floor(f (n - 1)), L values are below k and M equal to it: ties are spread over the unit-wide bin.
template <typename T>
std::vector<double> quantiles(const T* x, std::size_t n, std::vector<double> const& fractions);

}  // namespace stillsky
