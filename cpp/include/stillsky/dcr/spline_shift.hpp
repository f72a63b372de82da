// Shifts of whole images by fractions of a pixel with splines of order 1 and 3, and their exact adjoints.
// Unser, Aldroubi & Eden (1993, IEEE Trans. Signal Process. 41, 821 and 834): prefilter, then B-spline weights.
#pragma once

#include "stillsky/core/view.hpp"

namespace stillsky {

// Where content moves: by dy rows and dx columns, towards larger index when positive.
struct PixelShift {
    double dy = 0;
    double dx = 0;
};

// Replace pixels by the coefficients of the spline of that order through them, mirrored about the outermost pixels
// (d c b | a b c d | c b a). Order 1: nothing. With `adjoint` the transposed matrix is applied instead.
// NaN spreads over its row and column: give masked pixels a value first. DomainError: other orders.
// T: float, double (arithmetic in T). Cost: 5 ns a pixel, one thread; threaded over strips.
template <typename T>
void prefilterSpline(View2<T> image, int order, bool adjoint = false);

// out (+)= factor * B(in): B(in)(x, y) is the spline with the coefficients `in` at (x - dx, y - dy); 0 where that point
// lies outside the pixel centres [0, width - 1] x [0, height - 1]. Order 1: `in` are the pixels themselves.
// ShapeError: sizes that differ. DomainError: orders other than 1 and 3, shifts that are not finite. Sums in double.
// in and out must not overlap.
template <typename T>
void shiftSpline(View2<const T> in, PixelShift shift, int order, View2<T> out, double factor = 1, bool accumulate = false);

// The transposed matrix of shiftSpline, for the same arguments: <shiftSpline(a), b> = <a, shiftSplineAdjoint(b)> for
// all a and b, to rounding. For order 3 the adjoint of prefilter and shift is this, then prefilterSpline(adjoint).
template <typename T>
void shiftSplineAdjoint(View2<const T> in, PixelShift shift, int order, View2<T> out, double factor = 1,
                        bool accumulate = false);

}  // namespace stillsky
