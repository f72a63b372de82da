// Matrices that penalise rough delta-function kernels (linear regularisation; Press et al., Numerical Recipes,
// section 18.5; Becker et al. 2012, MNRAS 425, 1341, section 2.4).
//
// All matrices are n x n, n = width*height (+1 with a background, whose row and column are zero), returned as
// Image<double> (row, column). Row/column index of kernel pixel (x, y) is x + y*width.
#pragma once

#include <string>
#include <vector>

#include "stillsky/image/image.hpp"

namespace stillsky {

using Matrix = Image<double>;

// The difference operator B of a Laplacian: 5-point {-4; 1} or 9-point {-20/6; 4/6; 1/6} centred on every interior
// pixel, `borderPenalty` on the diagonal for border pixels. DomainError: stencil not 5 or 9, negative penalty, size
// below 1.
Matrix makeCentralDifferenceMatrix(int width, int height, int stencil, double borderPenalty, bool fitForBackground);

// The difference operator B of forward differences of the given orders (1 to 3: {-1, 1}, {-1, 2, -1}, {-1, 3, -3, 1})
// along +x and +y, everything summed into one B; near the far edge the order drops, and where none is left the
// penalty goes on the diagonal. Contributions may cancel in this sum: makeRegularizationMatrix squares them apart
// unless told otherwise. DomainError: orders empty or out of range, negative penalty, size below 1.
Matrix makeForwardDifferenceMatrix(int width, int height, std::vector<int> const& orders, double borderPenalty,
                                   bool fitForBackground);

// B^T B.
Matrix makeNormalMatrix(Matrix const& b);

struct RegularizationControl {
    std::string type = "centralDifference";  // or "forwardDifference"
    int width = 0, height = 0;               // of the kernel, pixels
    int centralStencil = 9;                  // 5 or 9
    std::vector<int> forwardOrders = {1, 2};  // subset of 1..3
    double borderPenalty = 3.0;               // >= 0
    bool fitForBackground = true;
    // Forward differences: square the sum of all contributions, as the reference does, instead of summing squares.
    bool sumBeforeSquaring = false;
};

// H such that a^T H a is the roughness of the kernel with pixels a: B^T B for central differences; for forward
// differences sum over orders o of D_x,o^T D_x,o + D_y,o^T D_y,o, plus penalty^2 on the diagonal of the last column
// and row (or B^T B with sumBeforeSquaring). Every order is its own operator, dropped to lower order near the edge.
// DomainError for an unknown type and as above.
Matrix makeRegularizationMatrix(RegularizationControl const& control);

// The older builder: always with one empty background row and column, H = B^T B.
// order 0..2; boundary 0 (neighbours off the kernel dropped), 1 (wrapped), 2 (tapered: border pixels get a 1 on the
// diagonal, pixels at distance 1 or 2 from the border use at most that order; wrapped); difference 0 (forward) or
// 1 (central).
// DomainError outside these ranges.
Matrix makeFiniteDifferenceRegularization(int width, int height, int order, int boundary, int difference);

}  // namespace stillsky
