// pixelFlags: which mask bits lie in footprints and near centres.
#pragma once

#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/image/image.hpp"
#include "stillsky/spans/span_set.hpp"

namespace stillsky {

struct PixelFlagsResult {
    MaskPixel footprint;  // bits of any pixel of the footprint (0 without one)
    MaskPixel center;     // bits of any of the 3x3 pixels around the position
    MaskPixel centerAll;  // bits that all of those on the image have
    bool offImage;        // the position is not on the image, or not finite
};

// Footprints are in the mask's local coordinates, parts outside are ignored; `footprints` may be empty (none known),
// else it has one entry per position (ShapeError). NaN positions give the footprint's bits only.
std::vector<PixelFlagsResult> pixelFlags(View2<const MaskPixel> mask, std::vector<double> const& x,
                                         std::vector<double> const& y, std::vector<SpanSet> const& footprints);

}  // namespace stillsky
