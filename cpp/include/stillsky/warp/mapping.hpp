// Inverse mappings: where in the source image does a destination pixel come from?
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/geom/box.hpp"

namespace stillsky {

// Destination position -> source position. Both are parent coordinates in which integers are pixel centres. A
// position that does not exist is NaN; its pixels are padded. Implementations must be safe to call from many threads.
class InverseMapping {
public:
    virtual ~InverseMapping() = default;
    // Source positions of the destination pixels (x0 + i, y), 0 <= i < n.
    virtual void row(double y, double x0, int n, double* qx, double* qy) const = 0;
    // True when positions between grid nodes need no interpolation because row() is cheap and exact.
    virtual bool isCheap() const { return false; }
};

// q = M p + t, exact: qx = xx x + xy y + tx, qy = yx x + yy y + ty.
class AffineMapping : public InverseMapping {
public:
    AffineMapping() = default;
    AffineMapping(double xx, double xy, double yx, double yy, double tx, double ty);
    // A mapping that undoes this one. NumericalError when it is singular.
    AffineMapping inverted() const;
    Point2D apply(Point2D p) const { return {xx * p.x + xy * p.y + tx, yx * p.x + yy * p.y + ty}; }
    void row(double y, double x0, int n, double* qx, double* qy) const override;
    bool isCheap() const override { return true; }

    double xx = 1, xy = 0, yx = 0, yy = 1, tx = 0, ty = 0;
};

// Source positions given at the nodes (x0 + i step, y0 + j step), interpolated linearly along the two bounding node
// rows, then between them; extrapolated linearly outside. step = 1 gives positions exact at every pixel.
// Error against a smooth map with second derivative c: at most c step^2 / 8 per axis.
class GridMapping : public InverseMapping {
public:
    // qx, qy: nodes, [j, i], at least 2 x 2, copied. DomainError unless step > 0, ShapeError on sizes.
    GridMapping(double x0, double y0, double step, View2<const double> qx, View2<const double> qy);
    // Sample `mapping` on nodes that start one pixel outside `destBox` and reach one pixel beyond it.
    GridMapping(InverseMapping const& mapping, Box2I const& destBox, int step);

    void row(double y, double x0, int n, double* qx, double* qy) const override;
    bool isCheap() const override { return true; }
    double step() const { return step_; }

private:
    double x0_, y0_, step_;
    int nx_, ny_;
    std::vector<double> qx_, qy_;
};

// Any function of a position.
class FunctionMapping : public InverseMapping {
public:
    explicit FunctionMapping(std::function<Point2D(Point2D)> function) : function_(std::move(function)) {}
    void row(double y, double x0, int n, double* qx, double* qy) const override;

private:
    std::function<Point2D(Point2D)> function_;
};

}  // namespace stillsky
