// The shifts of a visit as lists of taps with whole offsets.
#pragma once

#include <cstddef>
#include <vector>

#include "spline_taps.hpp"
#include "stillsky/dcr/dcr_pass.hpp"

namespace stillsky {
namespace dcr {

using ShiftLists = std::vector<std::vector<PixelShift>>;

struct Tap {
    int oy, ox;  // source pixel minus destination pixel
    float weight;
};

// One shifted spline, with the destination pixels for which it is defined.
struct SingleShift {
    SplineTaps y, x;
    double factor;  // 1 / number of wavelengths
    bool holds(int px, int py) const { return px >= x.begin && px < x.end && py >= y.begin && py < y.end; }
};

struct Stencil {
    std::vector<std::vector<Tap>> taps;             // [subfilter], equal offsets merged
    std::vector<std::vector<SingleShift>> singles;  // [subfilter][wavelength]
    int reach = 0;                                  // greatest absolute offset
    int x0 = 0, x1 = 0, y0 = 0, y1 = 0;             // pixels for which every shift is defined

    Stencil(ShiftLists const& shifts, int order, int width, int height);
};

// The kernels sum_i w_i B_k^T B_l of the normal equations where no mask and no edge interferes: [k][l].
std::vector<std::vector<std::vector<Tap>>> normalKernels(std::vector<DcrVisit> const& visits,
                                                         std::vector<Stencil> const& forward,
                                                         std::vector<Stencil> const& backward);

// The kernels of up to `most` outputs together: the taps that any of them has, so that each pixel is read once for all.
struct GroupTap {
    std::size_t model;  // l
    int oy, ox;
};
struct TapGroup {
    int first = 0, count = 0;  // outputs k
    std::vector<GroupTap> taps;
    std::vector<float> weights;  // [tap][output - first]
};
std::vector<TapGroup> tapGroups(std::vector<std::vector<std::vector<Tap>>> const& kernels, int most);

}  // namespace dcr
}  // namespace stillsky
