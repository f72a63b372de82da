// One axis of a shift: which neighbours, with which weights, and where the shifted point stays inside.
#pragma once

#include <cmath>
#include <string>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace dcr {

constexpr int REACH = 2;  // pixels beyond an edge that the taps of a point inside may touch

struct SplineTaps {
    int first = 0;  // source index of tap 0 minus destination index
    int n = 0;
    double weight[4] = {};
    int begin = 0, end = 0;  // destination indices whose source point lies in [0, size - 1]
};

inline void checkOrder(int order) {
    if (order != 1 && order != 3) {
        throw DomainError("order: wanted a spline of order 1 or 3, given " + std::to_string(order));
    }
}

// Cubic B-spline weights: Unser et al. (1993), Eq. 2.12 of part I evaluated at the four neighbours.
inline SplineTaps splineTaps(double shift, int order, int size) {
    checkOrder(order);
    if (!std::isfinite(shift) || std::fabs(shift) > 1e6) {
        throw DomainError("shift: wanted a finite number of pixels, given " + std::to_string(shift));
    }
    SplineTaps out;
    const double whole = std::floor(-shift), f = -shift - whole;
    const int offset = static_cast<int>(whole);
    if (order == 1) {
        out.first = offset;
        out.n = f > 0 ? 2 : 1;  // a pixel of weight 0 must not hand on its NaN
        out.weight[0] = 1 - f;
        out.weight[1] = f;
    } else {
        const double g = 1 - f;
        out.first = offset - 1;
        out.n = 4;
        out.weight[0] = g * g * g / 6;
        out.weight[1] = (4 - 6 * f * f + 3 * f * f * f) / 6;
        out.weight[2] = (4 - 6 * g * g + 3 * g * g * g) / 6;
        out.weight[3] = f * f * f / 6;
    }
    const int last = f > 0 ? size - 2 : size - 1;  // greatest whole source index
    out.begin = offset < 0 ? -offset : 0;
    out.end = last - offset + 1;
    if (out.end > size) out.end = size;
    if (out.begin > size) out.begin = size;
    if (out.end < out.begin) out.end = out.begin;
    return out;
}

// Index of the pixel that stands in for one outside: mirrored about the centres of the outermost pixels.
inline int mirrored(int i, int n) {
    if (n == 1) return 0;
    const int period = 2 * (n - 1);
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - i;
}

}  // namespace dcr
}  // namespace stillsky
