#include "stillsky/measure/stamp_moments.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int STAMPS_PER_BLOCK = 8;
constexpr double MIN_EXPONENT = -700.0;  // a row whose largest weight is below exp of this has no weight

// Symmetric 2 x 2 matrix.
struct Matrix {
    double xx, yy, xy;
    double det() const { return xx * yy - xy * xy; }
    Matrix inverse() const {
        const double d = det();
        return {yy / d, xx / d, -xy / d};
    }
};

struct Sums {
    double s0 = 0, sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
};

// exp(-q/2) along a row, q = a dx^2 + 2 b dx dy + c dy^2, dx = first + i. From the largest value outwards by ratios, whose
// own ratio is constant: two exponentials a row, and no value ever grows.
void gaussianRow(Matrix const& inverse, double first, double dy, int width, double* row) {
    const double a = inverse.xx, bdy = inverse.xy * dy;
    const auto exponent = [&](double dx) { return -0.5 * (a * dx * dx + 2.0 * bdy * dx + inverse.yy * dy * dy); };
    const double top = std::floor(-bdy / a - first + 0.5);
    const int middle = static_cast<int>(std::min(std::max(top, 0.0), width - 1.0));
    const double dx = first + middle, peak = exponent(dx);
    if (!(peak > MIN_EXPONENT)) {
        std::fill_n(row, width, 0.0);
        return;
    }
    const double step = std::exp(-a);
    row[middle] = std::exp(peak);
    double value = row[middle], ratio = std::exp(-0.5 * a * (2.0 * dx + 1.0) - bdy);
    for (int i = middle + 1; i < width; ++i) {
        row[i] = value *= ratio;
        ratio *= step;
    }
    value = row[middle];
    ratio = std::exp(0.5 * a * (2.0 * dx - 1.0) + bdy);
    for (int i = middle - 1; i >= 0; --i) {
        row[i] = value *= ratio;
        ratio *= step;
    }
}

// Sums of weight times pixel times 1, dx, dx^2 along a row.
STILLSKY_SIMD void rowSums(double const* STILLSKY_RESTRICT pixels, double const* STILLSKY_RESTRICT weight, double first, int width,
                           double* out) {
    constexpr int LANES = 8;
    double s0[LANES] = {}, s1[LANES] = {}, s2[LANES] = {};
    int i = 0;
    for (; i + LANES <= width; i += LANES) {
        for (int k = 0; k < LANES; ++k) {
            const double dx = first + (i + k), v = pixels[i + k] * weight[i + k], vx = v * dx;
            s0[k] += v;
            s1[k] += vx;
            s2[k] += vx * dx;
        }
    }
    for (int k = 0; i < width; ++i, ++k) {
        const double dx = first + i, v = pixels[i] * weight[i], vx = v * dx;
        s0[k] += v;
        s1[k] += vx;
        s2[k] += vx * dx;
    }
    out[0] = out[1] = out[2] = 0.0;
    for (int k = 0; k < LANES; ++k) {
        out[0] += s0[k];
        out[1] += s1[k];
        out[2] += s2[k];
    }
}

class Stamp {
public:
    Stamp(double const* pixels, int width, int height, double x0, double y0)
            : pixels_(pixels), width_(width), height_(height), x0_(x0), y0_(y0), row_(static_cast<std::size_t>(width)) {}

    Sums sums(Matrix const& inverse, double cx, double cy) {
        Sums total;
        for (int j = 0; j < height_; ++j) {
            const double dy = y0_ + j - cy;
            gaussianRow(inverse, x0_ - cx, dy, width_, row_.data());
            double s[3];
            rowSums(pixels_ + static_cast<std::ptrdiff_t>(j) * width_, row_.data(), x0_ - cx, width_, s);
            total.s0 += s[0];
            total.sx += s[1];
            total.sy += s[0] * dy;
            total.sxx += s[2];
            total.sxy += s[1] * dy;
            total.syy += s[0] * dy * dy;
        }
        return total;
    }

private:
    double const* pixels_;
    int width_, height_;
    double x0_, y0_;
    std::vector<double> row_;
};

// (M^-1 - W^-1)^-1: the covariance of the Gaussian whose moments with the weight W are M. False when not positive.
bool unweighted(Matrix const& moments, Matrix const& inverseWeight, Matrix& out) {
    if (!(moments.det() > 0.0)) return false;
    const Matrix m = moments.inverse();
    const Matrix difference{m.xx - inverseWeight.xx, m.yy - inverseWeight.yy, m.xy - inverseWeight.xy};
    if (!(difference.det() > 0.0 && difference.xx > 0.0)) return false;
    out = difference.inverse();
    return true;
}

StampMoments measure(Stamp& stamp, double cx, double cy, StampMomentsControl const& control) {
    Matrix weight{2.25, 2.25, 0.0};
    if (!std::isfinite(cx + cy)) return {0.0, 0.0, 0.0, cx, cy, StampMomentsStatus::NO_FLUX};
    double size = 0.0, e1 = 0.0, e2 = 0.0;
    const auto result = [&](StampMomentsStatus status) {
        return StampMoments{weight.xx, weight.yy, weight.xy, cx, cy, status};
    };
    for (int iteration = 0; iteration < control.maxIter; ++iteration) {
        const Matrix inverse = weight.inverse();
        const Sums s = stamp.sums(inverse, cx, cy);
        if (!(std::isfinite(s.s0) && s.s0 > 0.0)) return result(StampMomentsStatus::NO_FLUX);
        const double stepX = s.sx / s.s0, stepY = s.sy / s.s0;
        // Twice: the weighted centroid of a Gaussian moves half the way to its centre.
        cx += 2.0 * stepX;
        cy += 2.0 * stepY;
        const Matrix moments{s.sxx / s.s0, s.syy / s.s0, s.sxy / s.s0};
        if (!unweighted(moments, inverse, weight)) return result(StampMomentsStatus::NOT_POSITIVE);
        const double newSize = weight.xx + weight.yy;
        const double new1 = (weight.xx - weight.yy) / newSize, new2 = 2.0 * weight.xy / newSize;
        const double change =
                std::max({std::fabs(newSize - size) / newSize, std::fabs(new1 - e1), std::fabs(new2 - e2)});
        size = newSize;
        e1 = new1;
        e2 = new2;
        if (change < control.tolerance && std::fabs(stepX) + std::fabs(stepY) < 1e-5) {
            return result(StampMomentsStatus::OK);
        }
    }
    return result(StampMomentsStatus::NO_CONVERGENCE);
}

}  // namespace

void stampMoments(double const* stamps, int n, int width, int height, double x0, double y0, double startX, double startY,
                  StampMomentsControl const& control, StampMoments* out) {
    const std::ptrdiff_t area = static_cast<std::ptrdiff_t>(width) * height;
    parallelFor((n + STAMPS_PER_BLOCK - 1) / STAMPS_PER_BLOCK, [&](int block) {
        const int end = std::min(n, (block + 1) * STAMPS_PER_BLOCK);
        for (int i = block * STAMPS_PER_BLOCK; i < end; ++i) {
            Stamp stamp(stamps + i * area, width, height, x0, y0);
            out[i] = measure(stamp, startX, startY, control);
        }
    });
}

}  // namespace stillsky
