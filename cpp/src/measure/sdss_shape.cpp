#include "stillsky/measure/sdss_shape.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int SOURCES_PER_BLOCK = 16;
constexpr double PI = 3.14159265358979323846;
constexpr double NaN = std::numeric_limits<double>::quiet_NaN();

struct Tensor {
    double xx, yy, xy;
    double det() const { return xx * yy - xy * xy; }
    Tensor inverse() const { return {yy / det(), xx / det(), -xy / det()}; }
};

// Where the weight is cut: d' W^-1 d, and the half box in units of sigma.
double weightEnd(bool reference) { return reference ? 14 : 25; }
double sigmas(bool reference) { return reference ? 4 : 5; }

struct BoxOfPixels {
    int x0, x1, y0, y1;
};

struct WeightedSums {
    double s0 = 0, sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
    double wi = 0, ww = 0;
    bool missing = false;
};

// Covariance of (amplitude, xx, yy, xy) of A exp(-d' C^-1 d / 2) in white noise of unit variance per pixel: inverse of
// F_ij = integral of dm/dp_i dm/dp_j. With u = C^-1 d, <u u'> = C^-1/2 under the squared Gaussian, whose integral is
// pi sqrt(det C); fourth moments by Wick's theorem.
std::array<std::array<double, 4>, 4> gaussianCovariance(double amplitude, Tensor const& c) {
    const Tensor inv = c.inverse();
    const double s[2][2] = {{0.5 * inv.xx, 0.5 * inv.xy}, {0.5 * inv.xy, 0.5 * inv.yy}};
    const double norm = PI * std::sqrt(c.det());
    // dm/dC_ab = A g u_a u_b * k / 2, k = 2 for the off-diagonal element.
    const int index[3][2] = {{0, 0}, {1, 1}, {0, 1}};
    const double k[3] = {0.5, 0.5, 1.0};
    double a[4][8] = {};
    a[0][0] = norm;
    for (int i = 0; i < 3; ++i) {
        const int p = index[i][0], q = index[i][1];
        a[0][i + 1] = a[i + 1][0] = norm * amplitude * k[i] * s[p][q];
        for (int j = 0; j < 3; ++j) {
            const int t = index[j][0], v = index[j][1];
            a[i + 1][j + 1] = norm * amplitude * amplitude * k[i] * k[j] *
                              (s[p][q] * s[t][v] + s[p][t] * s[q][v] + s[p][v] * s[q][t]);
        }
    }
    for (int i = 0; i < 4; ++i) a[i][4 + i] = 1;
    for (int i = 0; i < 4; ++i) {  // Gauss-Jordan with pivoting on a 4x4 positive-definite matrix
        int pivot = i;
        for (int r = i + 1; r < 4; ++r) {
            if (std::fabs(a[r][i]) > std::fabs(a[pivot][i])) pivot = r;
        }
        for (int j = 0; j < 8; ++j) std::swap(a[i][j], a[pivot][j]);
        const double scale = 1 / a[i][i];
        for (int j = 0; j < 8; ++j) a[i][j] *= scale;
        for (int r = 0; r < 4; ++r) {
            if (r == i) continue;
            const double f = a[r][i];
            for (int j = 0; j < 8; ++j) a[r][j] -= f * a[i][j];
        }
    }
    std::array<std::array<double, 4>, 4> out;
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) out[i][j] = a[i][4 + j];
    }
    return out;
}

template <typename T>
class Shape {
public:
    Shape(MeasureInput<T> const& input, SdssShapeControl const& control, double x, double y, bool negative)
            : input_(input), control_(control), x_(x), y_(y), sign_(negative ? -1 : 1) {}

    SdssShapeResult run() {
        SdssShapeResult r{NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN, 0};
        if (!(x_ >= -0.5 && x_ < input_.image.width - 0.5 && y_ >= -0.5 && y_ < input_.image.height - 0.5)) {
            r.flagBits = sdss_shape_flags::FAILED | sdss_shape_flags::UNWEIGHTED_BAD;
            return r;
        }
        if (iterate(r)) {
            errors(r);
        } else {
            unweighted(r);
        }
        return finish(r);
    }

private:
    SdssShapeResult finish(SdssShapeResult& r) {
        const double maxShift = std::min(10.0, std::max(2.0, control_.maxShift));
        if (std::fabs(r.x - x_) > maxShift || std::fabs(r.y - y_) > maxShift) r.flagBits |= sdss_shape_flags::SHIFT;
        if (missing_) r.flagBits |= sdss_shape_flags::MASKED;
        if (r.flagBits & (sdss_shape_flags::SHIFT | sdss_shape_flags::UNWEIGHTED | sdss_shape_flags::UNWEIGHTED_BAD)) {
            r.flagBits |= sdss_shape_flags::FAILED;
        }
        return r;
    }

    // Pixels that centre +- 4 or 5 sigma overlaps, on the image, at most 1000 to each side.
    BoxOfPixels boxFor(Tensor const& w) const {
        const double reach = std::min(1000.0, sigmas(control_.reference) * std::sqrt(std::max(w.xx, w.yy)));
        return {std::max(0, static_cast<int>(std::floor(x_ - reach + 0.5))),
                std::min(input_.image.width - 1, static_cast<int>(std::floor(x_ + reach + 0.5))),
                std::max(0, static_cast<int>(std::floor(y_ - reach + 0.5))),
                std::min(input_.image.height - 1, static_cast<int>(std::floor(y_ + reach + 0.5)))};
    }

    bool value(int x, int y, double& v) const {
        double var;
        const bool good = input_.pixel(x, y, v, var);
        v -= control_.background;
        return good || control_.reference;
    }

    // The part of the box where the weight is not 0, q <= cut: narrow for what a column of bad pixels leaves.
    BoxOfPixels within(Tensor const& w, double cut) const {
        const double rx = std::sqrt(cut * w.xx) + 1, ry = std::sqrt(cut * w.yy) + 1;  // 1: sub-pixels, rounding
        const auto low = [](double v, int first) { return v > first ? static_cast<int>(std::floor(v)) : first; };
        const auto high = [](double v, int last) { return v < last ? static_cast<int>(std::ceil(v)) : last; };
        return {low(x_ - rx, box_.x0), high(x_ + rx, box_.x1), low(y_ - ry, box_.y0), high(y_ + ry, box_.y1)};
    }

    WeightedSums sums(Tensor const& inverse, double amplitude, bool fine) const {
        WeightedSums s;
        const double cut = fine ? 9 : weightEnd(control_.reference);
        const BoxOfPixels box = within(inverse.inverse(), cut);
        for (int y = box.y0; y <= box.y1; ++y) {
            for (int x = box.x0; x <= box.x1; ++x) {
                double v;
                const bool good = value(x, y, v);
                const int n = fine ? 4 : 1;
                for (int j = 0; j < n; ++j) {
                    for (int i = 0; i < n; ++i) {
                        const double dx = x - x_ + (fine ? -0.375 + 0.25 * i : 0);
                        const double dy = y - y_ + (fine ? -0.375 + 0.25 * j : 0);
                        const double q = inverse.xx * dx * dx + 2 * inverse.xy * dx * dy + inverse.yy * dy * dy;
                        if (!(q <= cut)) continue;
                        const double w = std::exp(-0.5 * q), m = good ? w * v : w * w * amplitude;
                        s.missing |= !good;
                        s.s0 += m;
                        s.sx += m * dx;
                        s.sy += m * dy;
                        s.sxx += m * dx * dx;
                        s.syy += m * dy * dy;
                        s.sxy += m * dx * dy;
                        if (good) {
                            s.wi += m;
                            s.ww += w * w;
                        }
                    }
                }
            }
        }
        return s;
    }

    bool iterate(SdssShapeResult& r) {
        Tensor w{1.5, 1.5, 0};
        bool fine = false;
        double amplitude = 0, oldE1 = 1e6, oldE2 = 1e6, oldXx = 1e6;
        bool known = false;
        for (int iter = 0; iter < control_.maxIter; ++iter) {
            box_ = boxFor(w);
            if (w.xx < 0.25 || w.yy < 0.25 || w.det() < 0.0625) fine = true;
            const Tensor inverse = w.inverse();
            const WeightedSums s = sums(inverse, amplitude, fine);
            missing_ |= s.missing;
            if (!(sign_ * s.wi > 0)) return fail(r);
            amplitude = s.wi / s.ww;
            if (s.missing && !known) {  // the first round only found the amplitude for the missing pixels
                known = true;
                continue;
            }
            r.x = x_ + s.sx / s.s0;
            r.y = y_ + s.sy / s.s0;
            const Tensor m{s.sxx / s.s0, s.syy / s.s0, s.sxy / s.s0};
            if (!(m.xx > 0 && m.yy > 0 && m.det() > 0)) return fail(r);
            const double e1 = (m.xx - m.yy) / (m.xx + m.yy), e2 = 2 * m.xy / (m.xx + m.yy);
            if (iter > 0 && std::fabs(e1 - oldE1) < control_.tol1 && std::fabs(e2 - oldE2) < control_.tol1 &&
                std::fabs(m.xx / oldXx - 1) < control_.tol2) {
                r.xx = w.xx;
                r.yy = w.yy;
                r.xy = w.xy;
                const double total = s.s0 / (fine ? 16 : 1);
                amplitude_ = total / (PI * std::sqrt(w.det()));
                return true;
            }
            oldE1 = e1;
            oldE2 = e2;
            oldXx = m.xx;
            const Tensor mi = m.inverse(), n{mi.xx - inverse.xx, mi.yy - inverse.yy, mi.xy - inverse.xy};
            if (!(n.det() > 0 && n.xx > 0 && n.yy > 0)) return fail(r);
            w = n.inverse();
            if (!std::isfinite(w.xx + w.yy + w.xy) || w.det() <= 0) return fail(r);
        }
        r.flagBits |= sdss_shape_flags::MAX_ITER;
        return fail(r);
    }

    static bool fail(SdssShapeResult& r) {
        r.flagBits |= sdss_shape_flags::UNWEIGHTED;
        return false;
    }

    // Plain moments over the last box; no flux and no errors go with them.
    void unweighted(SdssShapeResult& r) {
        double s0 = 0, sxx = 0, syy = 0, sxy = 0;
        for (int y = box_.y0; y <= box_.y1; ++y) {
            for (int x = box_.x0; x <= box_.x1; ++x) {
                double v;
                if (!value(x, y, v)) continue;
                const double dx = x - x_, dy = y - y_;
                s0 += v;
                sxx += v * dx * dx;
                syy += v * dy * dy;
                sxy += v * dx * dy;
            }
        }
        const Tensor m{sxx / s0, syy / s0, sxy / s0};
        if (!(sign_ * s0 > 0) || !(m.xx > 0) || !(m.yy > 0) || !(m.det() > 0)) {
            r.flagBits = (r.flagBits & ~sdss_shape_flags::UNWEIGHTED) | sdss_shape_flags::UNWEIGHTED_BAD;
            return;
        }
        r.xx = m.xx;
        r.yy = m.yy;
        r.xy = m.xy;
    }

    void errors(SdssShapeResult& r) const {
        const Tensor c{r.xx, r.yy, r.xy};
        const double area = 2 * PI * std::sqrt(c.det());
        r.flux = amplitude_ * area;
        double v, variance;
        input_.pixel(positionToIndex(x_), positionToIndex(y_), v, variance);
        const auto cov = gaussianCovariance(amplitude_, c);
        r.xxErr = std::sqrt(variance * cov[1][1]);
        r.yyErr = std::sqrt(variance * cov[2][2]);
        r.xyErr = std::sqrt(variance * cov[3][3]);
        r.fluxErr = area * std::sqrt(variance * cov[0][0]);
        r.fluxXxCov = area * variance * cov[0][1];
        r.fluxYyCov = area * variance * cov[0][2];
        r.fluxXyCov = area * variance * cov[0][3];
    }

    MeasureInput<T> const& input_;
    SdssShapeControl const& control_;
    double x_, y_, sign_;
    double amplitude_ = 0;
    bool missing_ = false;
    BoxOfPixels box_{0, 0, 0, 0};
};

template <typename T>
GaussianFluxResult gaussianFluxOf(MeasureInput<T> const& input, double x, double y, Tensor const& c, bool reference) {
    GaussianFluxResult r{NaN, NaN, 1};
    const bool onImage = x >= -0.5 && x < input.image.width - 0.5 && y >= -0.5 && y < input.image.height - 0.5;
    if (!onImage || !(c.xx > 0 && c.yy > 0 && c.det() > 0) || !std::isfinite(c.xx + c.yy + c.xy)) return r;
    const Tensor inv = c.inverse();
    const double reach = std::min(1000.0, sigmas(reference) * std::sqrt(std::max(c.xx, c.yy)));
    double wi = 0, ww = 0, all = 0;
    bool missing = false;
    for (int py = static_cast<int>(std::floor(y - reach + 0.5)); py <= std::floor(y + reach + 0.5); ++py) {
        for (int px = static_cast<int>(std::floor(x - reach + 0.5)); px <= std::floor(x + reach + 0.5); ++px) {
            const double dx = px - x, dy = py - y, q = inv.xx * dx * dx + 2 * inv.xy * dx * dy + inv.yy * dy * dy;
            if (!(q <= weightEnd(reference))) continue;
            const double w = std::exp(-0.5 * q);
            all += w * w;
            double v, variance;
            if (!input.contains(px, py) || (!input.pixel(px, py, v, variance) && !reference)) {
                missing = true;
                continue;
            }
            wi += w * v;
            ww += w * w;
        }
    }
    if (!(ww > 0)) return r;
    double v, variance;
    // Rubin's code takes the noise from the pixel below and left of the centre.
    const int cx = reference ? std::max(0, static_cast<int>(std::floor(x))) : positionToIndex(x);
    const int cy = reference ? std::max(0, static_cast<int>(std::floor(y))) : positionToIndex(y);
    const bool centre = input.pixel(cx, cy, v, variance);
    r.flux = 2 * wi * (reference ? 1 : all / ww);
    r.fluxErr = std::sqrt(4 * PI * std::sqrt(c.det()) * variance * (reference ? 1 : all / ww));
    r.flagBits = (std::isfinite(r.flux) && std::isfinite(r.fluxErr) ? 0 : 1) | (missing || !centre ? 2 : 0);
    return r;
}

template <typename Body>
void forSources(std::size_t count, Body const& body) {
    const int n = static_cast<int>(count);
    parallelFor((n + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        const int end = std::min(n, (block + 1) * SOURCES_PER_BLOCK);
        for (int i = block * SOURCES_PER_BLOCK; i < end; ++i) body(i);
    });
}

}  // namespace

template <typename T>
std::vector<SdssShapeResult> sdssShape(MeasureInput<T> const& input, std::vector<double> const& x,
                                       std::vector<double> const& y, std::vector<char> const& negative,
                                       SdssShapeControl const& control) {
    if (y.size() != x.size() || negative.size() != x.size()) {
        throw ShapeError("sdssShape: x, y and negative must have equal lengths");
    }
    if (control.maxIter < 1) throw DomainError("sdssShape: maxIter must be at least 1");
    std::vector<SdssShapeResult> out(x.size());
    forSources(x.size(), [&](int i) { out[i] = Shape<T>(input, control, x[i], y[i], negative[i]).run(); });
    return out;
}

template <typename T>
std::vector<GaussianFluxResult> gaussianFlux(MeasureInput<T> const& input, std::vector<double> const& x,
                                             std::vector<double> const& y, std::vector<double> const& xx,
                                             std::vector<double> const& yy, std::vector<double> const& xy,
                                             bool reference) {
    if (y.size() != x.size() || xx.size() != x.size() || yy.size() != x.size() || xy.size() != x.size()) {
        throw ShapeError("gaussianFlux: positions and moments must have equal lengths");
    }
    std::vector<GaussianFluxResult> out(x.size());
    forSources(x.size(), [&](int i) {
        out[i] = gaussianFluxOf(input, x[i], y[i], Tensor{xx[i], yy[i], xy[i]}, reference);
    });
    return out;
}

template std::vector<SdssShapeResult> sdssShape<float>(MeasureInput<float> const&, std::vector<double> const&,
                                                       std::vector<double> const&, std::vector<char> const&,
                                                       SdssShapeControl const&);
template std::vector<SdssShapeResult> sdssShape<double>(MeasureInput<double> const&, std::vector<double> const&,
                                                        std::vector<double> const&, std::vector<char> const&,
                                                        SdssShapeControl const&);
template std::vector<GaussianFluxResult> gaussianFlux<float>(MeasureInput<float> const&, std::vector<double> const&,
                                                             std::vector<double> const&, std::vector<double> const&,
                                                             std::vector<double> const&, std::vector<double> const&,
                                                             bool);
template std::vector<GaussianFluxResult> gaussianFlux<double>(MeasureInput<double> const&, std::vector<double> const&,
                                                              std::vector<double> const&, std::vector<double> const&,
                                                              std::vector<double> const&, std::vector<double> const&,
                                                              bool);

}  // namespace stillsky
