// The vectors of conjugate gradients for a DCR coadd (Hestenes & Stiefel 1952, J. Res. NBS 49, 409), N planes each: what an
// iteration does with them besides the matrix, in two passes over the pixels.
//
// All planes are float32 of one size and finite; sums are taken in double, rows in parallel, bit-identical for any number of
// threads. ShapeError: lists or planes that differ in size. Cost: what the planes take to be read and written.
#pragma once

#include <vector>

#include "stillsky/core/view.hpp"

namespace stillsky {

// What makes the coordinates of the search those of the prior.
struct DescentPrior {
    // Of the matrix; the preconditioner divides by it and the penalty. Empty: no preconditioner.
    View2<const float> diagonal;
    float penalty = 0;  // on the square of the coordinates
    // R between the planes, symmetric: N x N values by rows; empty: 1.
    std::vector<float> mixing;
};

using DcrPlanes = std::vector<View2<float>>;
using ConstDcrPlanes = std::vector<View2<const float>>;

// sum over planes and pixels of a * b
double planesDot(ConstDcrPlanes const& a, ConstDcrPlanes const& b);

// The step: models += length * moves, residual -= length * (R product + penalty * direction).
// Returns residual . z of the new residual, z = residual / (diagonal + penalty).
double descentStep(DcrPlanes const& models, DcrPlanes const& residual, ConstDcrPlanes const& moves, ConstDcrPlanes const& product,
                   ConstDcrPlanes const& direction, DescentPrior const& prior, double length);

// The next direction: direction = factor * direction + z, mixed = R direction. Returns direction . direction.
// mixed may be an empty list. Values of direction do not matter for factor 0.
double descentDirection(DcrPlanes const& direction, ConstDcrPlanes const& residual, DescentPrior const& prior, double factor,
                        DcrPlanes const& mixed);

}  // namespace stillsky
