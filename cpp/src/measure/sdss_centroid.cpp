#include "stillsky/measure/sdss_centroid.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stillsky/core/parallel.hpp"
#include "stillsky/measure/gaussian_smooth.hpp"

namespace stillsky {
namespace {

namespace flag = sdss_centroid_flags;

// Pixels of the central bin before the start: bins of even size lean to larger coordinates.
int before(int bin) { return (bin - 1) / 2; }

constexpr int SOURCES_PER_BLOCK = 16;
constexpr double PI = 3.14159265358979323846;
constexpr double TINY = 1.17549435082228751e-38;  // smallest normal float
constexpr double QUARTIC = 1.33;                  // coefficient of the quartic term for a Gaussian

// Smoothed values and variances of the central 3x3 (binned) pixels, [row][column], and the covariances of the values,
// row by row.
struct Patch {
    double v[3][3] = {}, var[3][3] = {}, cov[9][9] = {};
};

struct Solution {
    double x = 0, y = 0, xErr = 0, yErr = 0;  // binned pixels from the central one
    double width2X = 0, width2Y = 0;          // of the object without the smoothing
    double peak = 0;
};

// Position of the extremum of three equidistant values from the quadratic plus the quartic term that a Gaussian has.
bool quarticPeak(double sign, double vm, double v0, double vp, double& at) {
    const double a = v0 - vp, b = v0 - vm, d = a + b, s = 0.5 * (vp - vm);
    if (!(sign * d > 0) || !(sign * v0 > 0)) return false;
    at = (s / d) * (1 + QUARTIC * a * b / (d * v0));
    return std::fabs(at) < 1;
}

// Error of one coordinate from the variances of first difference s and second difference d.
double positionError(double sky, double excess, double sigma, double amplitude, double s, double d, double quartic) {
    if (std::fabs(amplitude) < TINY || std::fabs(d) < TINY) return 1000;
    const double s2 = sigma * sigma, k = quartic;
    const double varS = sky / (8 * PI * s2) * (1 - std::exp(-1 / s2)) +
                        excess / (12 * PI * s2) * (std::exp(-1 / (3 * s2)) - std::exp(-1 / s2));
    const double varD = sky / (2 * PI * s2) * (3 - 4 * std::exp(-1 / (4 * s2)) + std::exp(-1 / s2)) +
                        excess / (3 * PI * s2) * (2 - 3 * std::exp(-1 / (3 * s2)) + std::exp(-1 / s2));
    const double fs = 1 / d + k / (4 * amplitude) * (1 - 12 * s * s / (d * d));
    const double fd = s / (d * d) - k / (4 * amplitude) * 8 * s * s / (d * d * d);
    return std::sqrt(varS * fs * fs + varD * fd * fd);
}

// Where the ridge through three row (or column) maxima lies at the coordinate t across them.
double ridge(double const m[3], double t) { return m[1] + t * (0.5 * (m[2] - m[0]) - t * (m[1] - 0.5 * (m[0] + m[2]))); }

// Rubin's errors: of a Gaussian PSF, the sky's noise counted twice at the centre.
void gaussianErrors(Patch const& p, double sigma, double sx, double sy, double dx, double dy, double quartic,
                    Solution& out) {
    double sky = 0;
    for (int j = 0; j < 3; ++j) {
        for (int i = 0; i < 3; ++i) sky += (i == 1 && j == 1) ? 0 : p.var[j][i] / 8;
    }
    out.xErr = positionError(sky, p.var[1][1], sigma, out.peak, sx, dx, quartic);
    out.yErr = positionError(sky, p.var[1][1], sigma, out.peak, sy, dy, quartic);
}

struct Located {
    double x, y;
    bool quartic;  // false: by the quadratic alone
};

// Where the maximum lies: the crossing of the ridge lines, from their crossing by the quadratic.
Located locate(double const (&v)[3][3], double sign, double qx, double qy) {
    double rows[3], columns[3];
    for (int i = 0; i < 3; ++i) {
        if (!quarticPeak(sign, v[i][0], v[i][1], v[i][2], rows[i]) ||
            !quarticPeak(sign, v[0][i], v[1][i], v[2][i], columns[i])) {
            return {qx, qy, false};
        }
    }
    Located at{qx, qy, true};
    for (int round = 0; round < 2; ++round) at = {ridge(rows, at.y), ridge(columns, at.x), true};
    return at;
}

Located locate(double const (&v)[3][3], double sign) {
    const double z = v[1][1];
    return locate(v, sign, 0.5 * (v[1][2] - v[1][0]) / (2 * z - v[1][0] - v[1][2]),
                  0.5 * (v[2][1] - v[0][1]) / (2 * z - v[0][1] - v[2][1]));
}

// Errors of the position to first order in the noise of the nine values, for a PSF of any form: derivatives by central
// differences, small against the curvature.
void propagate(Patch const& p, double sign, double curvature, Solution& out) {
    const double h = 1e-4 * curvature;
    double byX[9], byY[9];
    for (int k = 0; k < 9; ++k) {
        double v[3][3];
        std::copy(&p.v[0][0], &p.v[0][0] + 9, &v[0][0]);
        (&v[0][0])[k] += h;
        const Located above = locate(v, sign);
        (&v[0][0])[k] -= 2 * h;
        const Located below = locate(v, sign);
        byX[k] = (above.x - below.x) / (2 * h);
        byY[k] = (above.y - below.y) / (2 * h);
    }
    double xx = 0, yy = 0;
    for (int k = 0; k < 9; ++k) {
        for (int l = 0; l < 9; ++l) {
            xx += byX[k] * p.cov[k][l] * byX[l];
            yy += byY[k] * p.cov[k][l] * byY[l];
        }
    }
    out.xErr = std::sqrt(xx);
    out.yErr = std::sqrt(yy);
}

// Flags of a failure, or 0.
int solve(Patch const& p, double sigma, bool negative, bool reference, Solution& out, int& warnings) {
    const double sign = negative ? -1 : 1, z = p.v[1][1];
    const double dx = 2 * z - p.v[1][0] - p.v[1][2], sx = 0.5 * (p.v[1][2] - p.v[1][0]);
    const double dy = 2 * z - p.v[0][1] - p.v[2][1], sy = 0.5 * (p.v[2][1] - p.v[0][1]);
    if (dx == 0 || dy == 0) return flag::NO_SECOND_DERIVATIVE;
    if (sign * dx < 0 || sign * dy < 0) return flag::NOT_AT_MAXIMUM;
    const double qx = sx / dx, qy = sy / dy;
    if (std::fabs(qx) > 10 || std::fabs(qy) > 10) return flag::NO_SECOND_DERIVATIVE;
    if (std::fabs(qx) > 1 || std::fabs(qy) > 1) warnings |= flag::ALMOST_NO_SECOND_DERIVATIVE;
    out.peak = z + 0.5 * (sx * qx + sy * qy);
    const Located at = locate(p.v, sign, qx, qy);
    out.x = at.x;
    out.y = at.y;
    out.width2X = out.peak / dx;
    out.width2Y = out.peak / dy;
    if (at.quartic) {
        out.width2X -= (1 + 6 * qx * qx) / 4;
        out.width2Y -= (1 + 6 * qy * qy) / 4;
    }
    const double s2 = sigma * sigma;
    double tauX = out.width2X - s2, tauY = out.width2Y - s2;
    if (!(tauX > s2)) tauX = s2;
    if (!(tauY > s2)) tauY = s2;
    if (reference) {
        gaussianErrors(p, sigma, sx, sy, dx, dy, at.quartic ? QUARTIC : 0.0, out);
    } else if (std::min({std::fabs(out.peak), std::fabs(dx), std::fabs(dy)}) < TINY) {
        out.xErr = out.yErr = 1000;
    } else {
        propagate(p, sign, std::min(std::fabs(dx), std::fabs(dy)), out);
    }
    out.width2X = tauX;
    out.width2Y = tauY;
    return 0;
}

template <typename T>
class Centroid {
public:
    Centroid(MeasureInput<T> const& input, View2<const double> kernel, double sigma, bool negative,
             SdssCentroidControl const& control)
            : input_(input), kernel_(kernel), sigma_(sigma), negative_(negative), control_(control) {}

    SdssCentroidResult run(int ix, int iy) {
        SdssCentroidResult r{static_cast<double>(ix), static_cast<double>(iy), NaN, NaN, 0};
        if (!input_.contains(ix, iy)) {
            r.flagBits = flag::FAILED | flag::EDGE;
            return r;
        }
        const bool inside = fits(ix, iy, 1, 1);
        if (!inside) {
            r.flagBits |= flag::NEAR_EDGE;
            if (control_.reference) {
                r.flagBits |= flag::FAILED;
                useSmallKernel();
                if (!fits(ix, iy, 1, 1)) {
                    r.flagBits = flag::FAILED | flag::EDGE;
                    return r;
                }
            }
        }
        const int reason = control_.reference ? binned(ix, iy, r) : filled(ix, iy, r);
        if (reason) r.flagBits |= flag::FAILED | reason;
        return r;
    }

private:
    static constexpr double NaN = std::numeric_limits<double>::quiet_NaN();

    // Whether the box of kernel size + 4 binned pixels around the start is on the image.
    bool fits(int ix, int iy, int binX, int binY) const {
        const int w = (kernel_.width + 4) * binX, h = (kernel_.height + 4) * binY;
        const int x0 = ix - (w - 1) / 2, y0 = iy - (h - 1) / 2;
        return x0 >= 0 && y0 >= 0 && x0 + w <= input_.image.width && y0 + h <= input_.image.height;
    }

    void useSmallKernel() {
        const std::vector<double> taps = gaussianKernel1d(0.5, 5);
        small_.clear();
        for (double a : taps) {
            for (double b : taps) small_.push_back(a * b);
        }
        kernel_ = View2<const double>(small_.data(), 5, 5);
        sigma_ = 0.5;
    }

    // Three rounds in which missing pixels take the value of the PSF fitted at the current position.
    int filled(int ix, int iy, SdssCentroidResult& r) {
        centerX_ = ix;
        centerY_ = iy;
        amplitude_ = fitAmplitude();
        int reason = 0;
        for (int round = 0; round < 3; ++round) {
            missing_ = false;
            const int edge = r.flagBits & flag::NEAR_EDGE;
            r.flagBits = edge;
            reason = binned(ix, iy, r);
            if (!missing_ || reason || !std::isfinite(r.x + r.y)) break;
            centerX_ = r.x;
            centerY_ = r.y;
            amplitude_ = fitAmplitude();
        }
        if (missing_) r.flagBits |= flag::MASKED;
        return reason;
    }

    int binned(int ix, int iy, SdssCentroidResult& r) {
        const double limit = control_.wfac * (1 + sigma_ * sigma_);
        int binX = 1, binY = 1;
        while (true) {
            Solution s;
            const int reason = solve(patch(ix, iy, binX, binY), sigma_, negative_, control_.reference, s, r.flagBits);
            if (reason) return reason;
            const double sign = negative_ ? -1 : 1;
            if (control_.peakMin >= 0 && !(sign * s.peak >= control_.peakMin)) return flag::NOT_AT_MAXIMUM;
            // Centre of the central binned pixel.
            const double x0 = ix - before(binX) + 0.5 * (binX - 1), y0 = iy - before(binY) + 0.5 * (binY - 1);
            r.x = x0 + s.x * binX;
            r.y = y0 + s.y * binY;
            r.xErr = s.xErr * binX;
            r.yErr = s.yErr * binY;
            if (kernel_.data == small_.data()) return 0;  // near an edge: no binning
            bool again = false;
            if ((s.width2X >= limit || s.x * s.x >= limit) && 2 * binX <= control_.binmax) {
                again = true;
                binX *= 2;
            }
            if ((s.width2Y >= limit || s.y * s.y >= limit) && 2 * binY <= control_.binmax) {
                again = true;
                binY *= 2;
            }
            if (!again || !fits(ix, iy, binX, binY)) break;
        }
        return 0;
    }

    // The 3x3 central pixels of the image binned around (ix, iy) and correlated with the kernel.
    Patch patch(int ix, int iy, int binX, int binY) {
        const int hx = kernel_.width / 2, hy = kernel_.height / 2, w = kernel_.width + 2, h = kernel_.height + 2;
        values_.assign(static_cast<std::size_t>(w) * h, 0.0);
        variances_.assign(static_cast<std::size_t>(w) * h, 0.0);
        const int x0 = ix - before(binX) - (hx + 1) * binX, y0 = iy - before(binY) - (hy + 1) * binY;
        // The variance of a mean of n pixels is 1/n of theirs; Rubin's code forgets that.
        const double share = 1.0 / (binX * binY), varianceShare = control_.reference ? share : share * share;
        for (int j = 0; j < h; ++j) {
            for (int i = 0; i < w; ++i) {
                double sum = 0, sumVar = 0;
                for (int b = 0; b < binY; ++b) {
                    for (int a = 0; a < binX; ++a) {
                        double v, var;
                        read(x0 + i * binX + a, y0 + j * binY + b, v, var);
                        sum += v;
                        sumVar += var;
                    }
                }
                values_[static_cast<std::size_t>(j) * w + i] = sum * share;
                variances_[static_cast<std::size_t>(j) * w + i] = sumVar * varianceShare;
            }
        }
        return correlate(w);
    }

    Patch correlate(int w) const {
        Patch p;
        double total = 0;
        for (int j = 0; j < kernel_.height; ++j) {
            for (int i = 0; i < kernel_.width; ++i) total += kernel_(i, j);
        }
        // Undo the smoothing of the noise: what counts is the variance of a pixel.
        const double effective = 4 * PI * sigma_ * sigma_;
        for (int q = 0; q < 3; ++q) {
            for (int t = 0; t < 3; ++t) {
                double sum = 0, sumVar = 0;
                for (int j = 0; j < kernel_.height; ++j) {
                    const std::size_t row = static_cast<std::size_t>(q + j) * w + t;
                    for (int i = 0; i < kernel_.width; ++i) {
                        const double k = kernel_(i, j) / total;
                        sum += k * values_[row + i];
                        sumVar += k * k * variances_[row + i];
                    }
                }
                p.v[q][t] = sum;
                p.var[q][t] = sumVar * effective;
            }
        }
        if (!control_.reference) covariances(p, w, total);
        return p;
    }

    // Of the nine smoothed values: sums over the pixels that two kernels share.
    void covariances(Patch& p, int w, double total) const {
        for (int k = 0; k < 9; ++k) {
            for (int l = k; l < 9; ++l) {
                // Row and column of the second kernel's corner relative to the first's.
                const int down = l / 3 - k / 3, right = l % 3 - k % 3;
                double sum = 0;
                for (int j = down; j < kernel_.height; ++j) {
                    const std::size_t row = static_cast<std::size_t>(k / 3 + j) * w + k % 3;
                    const int last = kernel_.width + std::min(0, right);
                    for (int i = std::max(0, right); i < last; ++i) {
                        sum += kernel_(i, j) * kernel_(i - right, j - down) * variances_[row + i];
                    }
                }
                p.cov[k][l] = p.cov[l][k] = sum / (total * total);
            }
        }
    }

    void read(int x, int y, double& v, double& var) {
        if (input_.contains(x, y) && (input_.pixel(x, y, v, var) || control_.reference)) return;
        missing_ = true;
        v = amplitude_ * model(x, y);
        var = typicalVariance_;
    }

    // The kernel at a pixel when it is centred on the current position, by bilinear interpolation.
    double model(int x, int y) const {
        const double u = x - centerX_ + kernel_.width / 2, t = y - centerY_ + kernel_.height / 2;
        const int i = static_cast<int>(std::floor(u)), j = static_cast<int>(std::floor(t));
        const double fu = u - i, ft = t - j;
        auto at = [&](int a, int b) {
            return a < 0 || b < 0 || a >= kernel_.width || b >= kernel_.height ? 0.0 : kernel_(a, b);
        };
        return (1 - ft) * ((1 - fu) * at(i, j) + fu * at(i + 1, j)) + ft * ((1 - fu) * at(i, j + 1) + fu * at(i + 1, j + 1));
    }

    double fitAmplitude() {
        double md = 0, m2 = 0, var = 0;
        int n = 0;
        const int x0 = positionToIndex(centerX_) - kernel_.width / 2, y0 = positionToIndex(centerY_) - kernel_.height / 2;
        for (int y = y0; y < y0 + kernel_.height; ++y) {
            for (int x = x0; x < x0 + kernel_.width; ++x) {
                double v, pixelVar;
                if (!input_.contains(x, y) || !input_.pixel(x, y, v, pixelVar)) continue;
                const double m = model(x, y);
                md += m * v;
                m2 += m * m;
                var += pixelVar;
                ++n;
            }
        }
        typicalVariance_ = n ? var / n : NaN;
        return m2 > 0 ? md / m2 : 0;
    }

    MeasureInput<T> const& input_;
    View2<const double> kernel_;
    double sigma_;
    bool negative_;
    SdssCentroidControl const& control_;
    double centerX_ = 0, centerY_ = 0, amplitude_ = 0, typicalVariance_ = 0;
    bool missing_ = false;
    std::vector<double> values_, variances_, small_;
};

void checkResult(SdssCentroidResult& r, int ix, int iy, SpanSet const* footprint, SdssCentroidControl const& control) {
    if (r.flagBits & (flag::EDGE | flag::NO_SECOND_DERIVATIVE | flag::NOT_AT_MAXIMUM)) {
        r.x = ix;
        r.y = iy;
    } else if (!std::isfinite(r.xErr) || !std::isfinite(r.yErr)) {
        r.flagBits |= flag::FAILED | flag::BAD_ERROR;
    }
    const bool known = std::isfinite(r.x) && std::isfinite(r.y) && std::fabs(r.x) < 1e9 && std::fabs(r.y) < 1e9;
    bool away = !known;
    if (known && control.doFootprintCheck && footprint) {
        away = !footprint->contains(Point2I{positionToIndex(r.x), positionToIndex(r.y)});
    }
    if (known && control.maxDistToPeak >= 0) away |= std::hypot(r.x - ix, r.y - iy) > control.maxDistToPeak;
    if (away) {
        r.x = ix;
        r.y = iy;
        r.flagBits |= flag::FAILED | flag::RESET_TO_PEAK;
    }
}

}  // namespace

template <typename T>
std::vector<SdssCentroidResult> sdssCentroid(MeasureInput<T> const& input, std::vector<int> const& startX,
                                             std::vector<int> const& startY, std::vector<char> const& negative,
                                             StampStack const& kernels, std::vector<double> const& sigma,
                                             std::vector<SpanSet> const& footprints,
                                             SdssCentroidControl const& control) {
    const std::size_t n = startX.size();
    if (startY.size() != n || negative.size() != n || sigma.size() != n ||
        (!footprints.empty() && footprints.size() != n) || (kernels.n != 1 && static_cast<std::size_t>(kernels.n) != n)) {
        throw ShapeError("sdssCentroid: wanted one start, sign, sigma, kernel (or one for all) and footprint (or none) "
                         "per source");
    }
    if (kernels.width % 2 == 0 || kernels.height % 2 == 0) {
        throw ShapeError("sdssCentroid: kernels must have odd dimensions, got " + std::to_string(kernels.width) + "x" +
                         std::to_string(kernels.height));
    }
    if (control.binmax < 1) throw DomainError("sdssCentroid: binmax must be at least 1");
    std::vector<SdssCentroidResult> out(n);
    const int count = static_cast<int>(n);
    parallelFor((count + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        const int end = std::min(count, (block + 1) * SOURCES_PER_BLOCK);
        for (int i = block * SOURCES_PER_BLOCK; i < end; ++i) {
            out[i] = Centroid<T>(input, kernels[i], sigma[i], negative[i], control).run(startX[i], startY[i]);
            checkResult(out[i], startX[i], startY[i], footprints.empty() ? nullptr : &footprints[i], control);
        }
    });
    return out;
}

template std::vector<SdssCentroidResult> sdssCentroid<float>(MeasureInput<float> const&, std::vector<int> const&,
                                                             std::vector<int> const&, std::vector<char> const&,
                                                             StampStack const&, std::vector<double> const&,
                                                             std::vector<SpanSet> const&, SdssCentroidControl const&);
template std::vector<SdssCentroidResult> sdssCentroid<double>(MeasureInput<double> const&, std::vector<int> const&,
                                                              std::vector<int> const&, std::vector<char> const&,
                                                              StampStack const&, std::vector<double> const&,
                                                              std::vector<SpanSet> const&,
                                                              SdssCentroidControl const&);

}  // namespace stillsky
