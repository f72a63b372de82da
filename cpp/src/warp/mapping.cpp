#include "stillsky/warp/mapping.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "stillsky/core/config.hpp"

namespace stillsky {

AffineMapping::AffineMapping(double xx_, double xy_, double yx_, double yy_, double tx_, double ty_)
        : xx(xx_), xy(xy_), yx(yx_), yy(yy_), tx(tx_), ty(ty_) {}

AffineMapping AffineMapping::inverted() const {
    const double det = xx * yy - xy * yx;
    if (!(std::fabs(det) > 0) || !std::isfinite(det)) {
        throw NumericalError("AffineMapping: wanted an invertible matrix, its determinant is " + std::to_string(det));
    }
    // By elimination with a pivot, which inverts a pure scaling without rounding twice.
    const bool swap = std::fabs(yx) > std::fabs(xx);
    const double p = swap ? yx : xx, q = swap ? yy : xy, r = swap ? xx : yx, s = swap ? xy : yy;
    const double ratio = r / p, rest = s - ratio * q;
    const double d = 1 / rest, c = -ratio / rest, a = (1 - q * c) / p, b = -q * d / p;
    const double ixx = swap ? b : a, ixy = swap ? a : b, iyx = swap ? d : c, iyy = swap ? c : d;
    return AffineMapping(ixx, ixy, iyx, iyy, -(ixx * tx + ixy * ty), -(iyx * tx + iyy * ty));
}

void AffineMapping::row(double y, double x0, int n, double* qx, double* qy) const {
    const double bx = xy * y + tx, by = yy * y + ty;
    for (int i = 0; i < n; ++i) {
        qx[i] = xx * (x0 + i) + bx;
        qy[i] = yx * (x0 + i) + by;
    }
}

GridMapping::GridMapping(double x0, double y0, double step, View2<const double> qx, View2<const double> qy)
        : x0_(x0), y0_(y0), step_(step), nx_(qx.width), ny_(qx.height) {
    if (!(step > 0)) throw DomainError("GridMapping: step must be > 0, got " + std::to_string(step));
    if (nx_ < 2 || ny_ < 2 || qy.width != nx_ || qy.height != ny_) {
        throw ShapeError("GridMapping: wanted two arrays of nodes of equal size, at least 2x2, got " +
                         std::to_string(nx_) + "x" + std::to_string(ny_) + " and " + std::to_string(qy.width) + "x" +
                         std::to_string(qy.height));
    }
    qx_.reserve(qx.size());
    qy_.reserve(qy.size());
    for (int j = 0; j < ny_; ++j) {
        qx_.insert(qx_.end(), qx.row(j), qx.row(j) + nx_);
        qy_.insert(qy_.end(), qy.row(j), qy.row(j) + nx_);
    }
}

GridMapping::GridMapping(InverseMapping const& mapping, Box2I const& destBox, int step)
        : x0_(destBox.minX() - 1.0), y0_(destBox.minY() - 1.0), step_(step) {
    if (step <= 0) throw DomainError("GridMapping: step must be > 0, got " + std::to_string(step));
    nx_ = (destBox.width() + 1 + step - 1) / step + 1;
    ny_ = (destBox.height() + 1 + step - 1) / step + 1;
    qx_.resize(static_cast<std::size_t>(nx_) * ny_);
    qy_.resize(qx_.size());
    for (int j = 0; j < ny_; ++j) {
        for (int i = 0; i < nx_; ++i) {
            const std::size_t k = static_cast<std::size_t>(j) * nx_ + i;
            mapping.row(y0_ + static_cast<double>(j) * step, x0_ + static_cast<double>(i) * step, 1, &qx_[k], &qy_[k]);
        }
    }
}

namespace {

// start + slope * (first + i), the positions inside one cell.
STILLSKY_SIMD
void fillLine(int n, double start, double slope, double first, double* STILLSKY_RESTRICT out) {
    for (int i = 0; i < n; ++i) out[i] = start + slope * (first + i);
}

}  // namespace

void GridMapping::row(double y, double x0, int n, double* qx, double* qy) const {
    const double v = (y - y0_) / step_;
    const int j = std::min(std::max(static_cast<int>(std::floor(v)), 0), ny_ - 2);
    const double t = v - j;
    const std::size_t below = static_cast<std::size_t>(j) * nx_, above = below + nx_;
    auto node = [&](std::vector<double> const& q, int i) {
        // Exact on the node rows, also when the next row is NaN.
        return t == 0 ? q[below + i] : t == 1 ? q[above + i] : q[below + i] + t * (q[above + i] - q[below + i]);
    };
    int done = 0;
    while (done < n) {
        const double u = (x0 + done - x0_) / step_;
        const int i = std::min(std::max(static_cast<int>(std::floor(u)), 0), nx_ - 2);
        // Pixels left of the next node belong to this cell; the last cell takes all that follow.
        const double next = x0_ + (i + 1) * step_;
        int count = n - done;
        if (i < nx_ - 2) count = std::min(count, std::max(1, static_cast<int>(std::ceil(next - (x0 + done)))));
        const double first = x0 + done - (x0_ + i * step_);
        const double ax = node(qx_, i), ay = node(qy_, i);
        if (count == 1 && first == 0) {  // on a node: never spoiled by a neighbour that is NaN
            qx[done] = ax;
            qy[done] = ay;
        } else {
            fillLine(count, ax, (node(qx_, i + 1) - ax) / step_, first, qx + done);
            fillLine(count, ay, (node(qy_, i + 1) - ay) / step_, first, qy + done);
        }
        done += count;
    }
}

void FunctionMapping::row(double y, double x0, int n, double* qx, double* qy) const {
    for (int i = 0; i < n; ++i) {
        const Point2D q = function_({x0 + i, y});
        qx[i] = q.x;
        qy[i] = q.y;
    }
}

}  // namespace stillsky
