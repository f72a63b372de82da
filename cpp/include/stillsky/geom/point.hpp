// Points and extents: (x, y), integer pixel indices or real positions.
#pragma once

#include <cmath>

namespace stillsky {

template <typename T>
struct Extent {
    T x{}, y{};
    friend bool operator==(Extent a, Extent b) { return a.x == b.x && a.y == b.y; }
    friend bool operator!=(Extent a, Extent b) { return !(a == b); }
};

// Integer coordinates are pixel centres: pixel i covers [i - 0.5, i + 0.5).
template <typename T>
struct Point {
    T x{}, y{};
    friend bool operator==(Point a, Point b) { return a.x == b.x && a.y == b.y; }
    friend bool operator!=(Point a, Point b) { return !(a == b); }
    friend Point operator+(Point p, Extent<T> e) { return {p.x + e.x, p.y + e.y}; }
    friend Point operator-(Point p, Extent<T> e) { return {p.x - e.x, p.y - e.y}; }
    friend Extent<T> operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
};

using Point2I = Point<int>;
using Point2D = Point<double>;
using Extent2I = Extent<int>;
using Extent2D = Extent<double>;

// Index of the pixel that contains a position: floor(position + 0.5), half goes up for negatives as well.
inline int positionToIndex(double position) { return static_cast<int>(std::floor(position + 0.5)); }

}  // namespace stillsky
