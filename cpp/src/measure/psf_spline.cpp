#include "psf_spline.hpp"

#include <algorithm>
#include <cmath>

namespace stillsky {
namespace psf_spline {
namespace {

// B-spline of order 5, support |t| < 3 (Unser 1999, IEEE Signal Process. Mag. 16(6), 22).
double spline5(double t) {
    t = std::fabs(t);
    if (t >= 3) return 0.0;
    const auto fifth = [](double v) { return v * v * v * v * v; };
    double s = fifth(3 - t);
    if (t < 2) s -= 6 * fifth(2 - t);
    if (t < 1) s += 15 * fifth(1 - t);
    return s / 120;
}

double spline5Derivative(double t) {
    const double sign = t < 0 ? -1.0 : 1.0;
    t = std::fabs(t);
    if (t >= 3) return 0.0;
    const auto fourth = [](double v) { return v * v * v * v; };
    double s = -5 * fourth(3 - t);
    if (t < 2) s += 30 * fourth(2 - t);
    if (t < 1) s -= 75 * fourth(1 - t);
    return sign * s / 120;
}

STILLSKY_SIMD void alongRows(double const* STILLSKY_RESTRICT in, int stride, int n, double const* w, double const* d,
                             double* STILLSKY_RESTRICT value, double* STILLSKY_RESTRICT slope, int nRows) {
    for (int j = 0; j < nRows; ++j) {
        double const* row = in + j * stride;
        double* v = value + j * n;
        double* s = slope + j * n;
        for (int i = 0; i < n; ++i) {
            double a = 0, b = 0;
            for (int k = 0; k < TAPS; ++k) {
                a += w[k] * row[i + k];
                b += d[k] * row[i + k];
            }
            v[i] = a;
            s[i] = b;
        }
    }
}

STILLSKY_SIMD void alongColumns(double const* STILLSKY_RESTRICT rows, double const* STILLSKY_RESTRICT rowsX, int n,
                                int nRows, double const* w, double const* d, double* STILLSKY_RESTRICT value,
                                double* STILLSKY_RESTRICT byX, double* STILLSKY_RESTRICT byY) {
    for (int j = 0; j < nRows; ++j) {
        for (int i = 0; i < n; ++i) {
            double a = 0, b = 0, c = 0;
            for (int k = 0; k < TAPS; ++k) {
                a += w[k] * rows[(j + k) * n + i];
                b += w[k] * rowsX[(j + k) * n + i];
                c += d[k] * rows[(j + k) * n + i];
            }
            // Moving the centre moves the argument the other way.
            value[j * n + i] = a;
            byX[j * n + i] = -b;
            byY[j * n + i] = -c;
        }
    }
}

}  // namespace

void taps(double t, double* values, double* derivatives) {
    for (int k = 0; k < TAPS; ++k) {
        values[k] = spline5(t - (k - 2));
        derivatives[k] = spline5Derivative(t - (k - 2));
    }
}

void evaluate(View2<const double> coefficients, double cx, double cy, int x0, int y0, int width, int height,
              double* value, double* byX, double* byY, Workspace& work) {
    const double ux = x0 - cx + coefficients.width / 2, uy = y0 - cy + coefficients.height / 2;
    const int baseX = static_cast<int>(std::floor(ux)), baseY = static_cast<int>(std::floor(uy));
    double wx[TAPS], dx[TAPS], wy[TAPS], dy[TAPS];
    taps(ux - baseX, wx, dx);
    taps(uy - baseY, wy, dy);
    const int stride = width + TAPS - 1, nRows = height + TAPS - 1;
    const auto cells = [](int a, int b) { return static_cast<std::size_t>(a) * static_cast<std::size_t>(b); };
    work.window.assign(cells(stride, nRows), 0.0);
    work.rows.resize(cells(width, nRows));
    work.rowsX.resize(cells(width, nRows));
    const int firstX = baseX - 2, firstY = baseY - 2;
    const int iBegin = std::max(0, -firstX), iEnd = std::min(stride, coefficients.width - firstX);
    for (int j = std::max(0, -firstY); j < std::min(nRows, coefficients.height - firstY) && iBegin < iEnd; ++j) {
        std::copy(coefficients.row(firstY + j) + firstX + iBegin, coefficients.row(firstY + j) + firstX + iEnd,
                  work.window.begin() + static_cast<std::ptrdiff_t>(cells(j, stride)) + iBegin);
    }
    alongRows(work.window.data(), stride, width, wx, dx, work.rows.data(), work.rowsX.data(), nRows);
    alongColumns(work.rows.data(), work.rowsX.data(), width, height, wy, dy, value, byX, byY);
}

}  // namespace psf_spline
}  // namespace stillsky
