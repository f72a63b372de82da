// One-dimensional interpolation through nodes, and filling an image from a grid of nodes.
#pragma once

#include <string>
#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/geom/point.hpp"

namespace stillsky {

// Between nodes, and beyond the outermost ones:
//   CONSTANT        value of the nearest node (a tie takes the right one); nearest
//   LINEAR          straight lines; the end slopes go on
//   CUBIC_SPLINE    natural cubic spline: second derivative 0 at the ends; straight lines. NATURAL_SPLINE is the same
//   AKIMA_SPLINE    Akima (1970, J. ACM 17, 589): a polynomial per segment whose slopes follow the four neighbouring
//                   chords; parabola from the end node's two derivatives
enum class InterpolateStyle { CONSTANT, LINEAR, NATURAL_SPLINE, CUBIC_SPLINE, AKIMA_SPLINE };

// Fewest nodes: 1, 2, 3, 3, 5.
int minInterpPoints(InterpolateStyle style);
// The highest order that n nodes allow: 1 CONSTANT, 2 LINEAR, 3 and 4 CUBIC_SPLINE, from 5 on AKIMA_SPLINE. DomainError
// for n < 1.
InterpolateStyle maxInterpStyle(int n);
// "AKIMA_SPLINE" -> AKIMA_SPLINE. DomainError for an unknown name.
InterpolateStyle stringToInterpolateStyle(std::string const& name);
std::string interpolateStyleName(InterpolateStyle style);

// A piecewise cubic y(x) through nodes with ascending x.
class Interpolate {
public:
    // DomainError: too few nodes for the style, x not ascending, not finite. ShapeError: lengths differ.
    Interpolate(std::vector<double> x, std::vector<double> const& y, InterpolateStyle style);

    double operator()(double x) const;
    // y at begin, begin + 1, ... begin + n - 1. T: float, double. Cost: about 0.5 ns a value. The result at an abscissa
    // does not depend on begin or n.
    template <typename T>
    void evaluate(int begin, int n, T* out) const;

private:
    struct Segment {
        double from, c0, c1, c2, c3;  // c0 + c1 t + c2 t^2 + c3 t^3, t = x - from
    };
    void makeConstant(std::vector<double> const& y);
    void makeHermite(std::vector<double> const& y, std::vector<double> const& slope, double secondLeft, double secondRight);

    std::vector<double> x_;     // where the next segment begins, ascending; one fewer than segments
    std::vector<Segment> segments_;
};

// What to do where there are fewer nodes than the style needs.
enum class UndersampleStyle { THROW_EXCEPTION, REDUCE_INTERP_ORDER, INCREASE_NXNYSAMPLE };
UndersampleStyle stringToUndersampleStyle(std::string const& name);

// Fill `out`, whose first pixel has the coordinates xy0 in the frame of the node positions, from nodes(i, j) at
// (xNodes[i], yNodes[j]): every node column is interpolated along y at each row, then each row along x. NaN nodes are
// left out; so are columns without any. With REDUCE_INTERP_ORDER a column or row with too few nodes for the style takes
// the highest style its nodes allow; with THROW_EXCEPTION that is a DomainError. No node at all: NaN everywhere.
// INCREASE_NXNYSAMPLE is not supported: DomainError. T: float, double. Threaded over rows.
template <typename T>
void fillFromGrid(View2<const double> nodes, std::vector<double> const& xNodes, std::vector<double> const& yNodes,
                  InterpolateStyle style, UndersampleStyle undersample, Point2I xy0, View2<T> out);

}  // namespace stillsky
