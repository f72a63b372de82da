// Stamps of stars, shifted to their centres, for the empirical PSF.
#pragma once

#include <vector>

#include "stillsky/image/image.hpp"

namespace stillsky {

// Where the stars are and which other objects are near each; positions are array indices, (0, 0) the first pixel.
// Neighbours of star k: neighbourX[i], neighbourY[i] for i in [firstNeighbour[k], firstNeighbour[k + 1]).
struct StarPositions {
    std::vector<double> x, y;
    std::vector<int> firstNeighbour;  // one more than stars, or empty: no neighbours
    std::vector<double> neighbourX, neighbourY;
};

// n stamps of side x side pixels, one after the other, row by row.
struct StarStamps {
    static constexpr int TAPS = 5;  // half-length of the Lanczos kernel that centres the stamps

    int side = 0;
    std::vector<double> pixels;
    std::vector<double> weights;  // inverse variance, 0 where a pixel is unusable
    std::vector<int> star;        // number of the star of each stamp
};

// Every star is moved to the middle of its stamp of side 2 half + 1 with Lanczos-5 taps normalised to unit sum. Unusable
// are pixels with a bit of badBits, values or variances that are not finite, variances that are not positive, and pixels
// nearer to a neighbour than to the star; they count as zero, and pixels that took more than 2 % from them get no
// weight. Left out are stars nearer than half + TAPS to the edge, and those with more than 5 % of the core (0.3 half)
// without weight. T: float, double. ShapeError when planes or positions differ in size. Threaded over stars.
// Cost about 40 ns per pixel of a stamp.
template <typename T>
StarStamps centredStamps(MaskedView<const T> image, MaskPixel badBits, StarPositions const& stars, int half);

}  // namespace stillsky
