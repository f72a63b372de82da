#include "stillsky/measure/adaptive_moments.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

#include "row_smoother.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"
#include "vec.hpp"

namespace stillsky {
namespace {

constexpr int SOURCES_PER_BLOCK = 32;
constexpr double REACH = 4.0;            // the weight is cut at 4 sigma: w I is then down to exp(-16) of its peak
constexpr double MIN_MOMENT = 0.0625;    // (0.25 pixel)^2: narrower Gaussians fall between the pixels
constexpr double PI = 3.14159265358979323846;

struct Matrix2 {
    double xx, yy, xy;
    double det() const { return xx * yy - xy * xy; }
    double maxEigenvalue() const {
        return 0.5 * (xx + yy) + std::sqrt(0.25 * (xx - yy) * (xx - yy) + xy * xy);
    }
    double minEigenvalue() const {
        return 0.5 * (xx + yy) - std::sqrt(0.25 * (xx - yy) * (xx - yy) + xy * xy);
    }
    Matrix2 inverse() const {
        const double d = det();
        return {yy / d, xx / d, -xy / d};
    }
};

// Cut-out around a source: value 0 and variance 0 where there is nothing usable. Rows are padded with such pixels to a
// multiple of the vector length.
struct Stamp {
    int x0 = 0, y0 = 0, width = 0, height = 0;
    std::vector<float> value, variance;
};

struct Sums {
    double s0, sx, sy, sxx, syy, sxy;  // of w times the (completed) image
    double ww, wi, n;                  // over good pixels: w^2, w I, count
};

// All sums over the stamp's rows [yBegin, yEnd) and chunks of columns [xBegin, xEnd), which are multiples of LANES.
// Missing pixels count as amplitude * w.
STILLSKY_SIMD void momentSums(float const* value, float const* variance, int stride, int xBegin, int xEnd, int yBegin,
                              int yEnd, float cx, float cy, float a, float b, float c, float amplitude, Sums* out) {
    vec::Float s0{}, sx{}, sy{}, sxx{}, syy{}, sxy{}, ww{}, wi{}, count{}, iota{};
    for (int i = 0; i < vec::LANES; ++i) iota[i] = static_cast<float>(i);
    for (int y = yBegin; y < yEnd; ++y) {
        const float dy = static_cast<float>(y) - cy;
        const float ady = -0.5f * c * dy * dy, bdy = -b * dy;
        vec::Float r0{}, r1{}, r2{};
        for (int x = xBegin; x < xEnd; x += vec::LANES) {
            vec::Float dx = iota + (static_cast<float>(x) - cx), v, g, w;
            const vec::Float arg = (dx * (-0.5f * a) + bdy) * dx + ady;
            vec::expNegative(w, arg);
            // The weight fades out between 3.74 and 4 sigma. A sudden end would make the sums jump when a pixel
            // crosses it, and noisy sources would hop between two results for ever.
            vec::Float fade = arg + 8.0f;
            fade = fade > 0.0f ? fade : vec::Float{};
            w *= fade < 1.0f ? fade : vec::Float{} + 1.0f;
            vec::load(v, value + static_cast<std::ptrdiff_t>(y) * stride + x);
            vec::load(g, variance + static_cast<std::ptrdiff_t>(y) * stride + x);
            g = g > 0.0f ? vec::Float{} + 1.0f : vec::Float{};
            const vec::Float wg = w * g;
            const vec::Float wv = w * v;
            const vec::Float full = wv + (w - wg) * w * amplitude;
            ww += wg * w;
            wi += wv;
            count += arg >= -8.0f ? g : vec::Float{};
            r0 += full;
            r1 += full * dx;
            r2 += full * dx * dx;
        }
        s0 += r0;
        sx += r1;
        sxx += r2;
        sy += r0 * dy;
        sxy += r1 * dy;
        syy += r0 * (dy * dy);
    }
    *out = {vec::sum(s0), vec::sum(sx), vec::sum(sy), vec::sum(sxx), vec::sum(syy), vec::sum(sxy),
            vec::sum(ww), vec::sum(wi), vec::sum(count)};
}

template <typename T>
class Measurer {
public:
    Measurer(View2<const T> image, View2<const VariancePixel> variance, View2<const MaskPixel> mask,
             AdaptiveMomentsControl const& control)
            : image_(image), variance_(variance), mask_(mask), control_(control),
              sign_(control.negative ? -1.0f : 1.0f) {}

    AdaptiveMoments measure(double x, double y) {
        const double nan = std::numeric_limits<double>::quiet_NaN();
        AdaptiveMoments result{x, y, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, 0, 0};
        if (!(x >= -0.5 && x < image_.width - 0.5 && y >= -0.5 && y < image_.height - 0.5)) {
            result.flagBits = moments_flags::FAILED | moments_flags::OFF_IMAGE;
            return result;
        }
        cx_ = startX_ = x;
        cy_ = startY_ = y;
        c_ = {control_.guessSigma * control_.guessSigma, control_.guessSigma * control_.guessSigma, 0};
        stamp_.width = stamp_.height = 0;
        amplitude_ = 0;
        const int reason = iterate(result.nIter);
        if (reason & ~moments_flags::UNRESOLVED) {
            result.flagBits = moments_flags::FAILED | reason;
            return result;
        }
        fill(result);
        result.flagBits |= reason;
        return result;
    }

private:
    bool pixel(int x, int y, float& value, float& variance) const {
        if (x < 0 || y < 0 || x >= image_.width || y >= image_.height) return false;
        value = static_cast<float>(image_(x, y));
        variance = variance_.empty() ? 1.0f : variance_(x, y);
        return (mask_.empty() || !(mask_(x, y) & control_.badBits)) && std::fabs(value) <= FLT_MAX && variance > 0 &&
               variance <= FLT_MAX;
    }

    void loadStamp(int radius) {
        stamp_.x0 = positionToIndex(cx_) - radius;
        stamp_.y0 = positionToIndex(cy_) - radius;
        stamp_.height = 2 * radius + 1;
        stamp_.width = (2 * radius + 1 + vec::LANES - 1) / vec::LANES * vec::LANES;
        const std::size_t n = static_cast<std::size_t>(stamp_.width) * stamp_.height;
        stamp_.value.assign(n, 0.0f);
        stamp_.variance.assign(n, 0.0f);
        if (variance_.empty()) ones_.assign(stamp_.width, 1.0f);
        if (mask_.empty()) zeros_.assign(stamp_.width, 0);
        const int xBegin = std::max(0, stamp_.x0), xEnd = std::min(stamp_.x0 + stamp_.width, image_.width);
        const int yEnd = std::min(stamp_.y0 + stamp_.height, image_.height);
        for (int y = std::max(0, stamp_.y0); y < yEnd; ++y) {
            const std::size_t at = static_cast<std::size_t>(y - stamp_.y0) * stamp_.width + (xBegin - stamp_.x0);
            rows::cleanRow(image_.row(y) + xBegin, variance_.empty() ? ones_.data() : variance_.row(y) + xBegin,
                           mask_.empty() ? zeros_.data() : mask_.row(y) + xBegin, control_.badBits, xEnd - xBegin,
                           stamp_.value.data() + at, stamp_.variance.data() + at);
        }
        if (sign_ < 0) {
            for (float& v : stamp_.value) v = -v;
        }
    }

    // Make the stamp cover [x0, x1] x [y0, y1], with room for the first steps to grow without another copy.
    void cover(int x0, int x1, int y0, int y1, double reach) {
        if (x0 < stamp_.x0 || y0 < stamp_.y0 || x1 >= stamp_.x0 + stamp_.width || y1 >= stamp_.y0 + stamp_.height) {
            loadStamp(static_cast<int>(1.25 * reach) + 4);
        }
    }

    // The sums with the current weight; the stamp follows the weight.
    Sums sums() {
        const double rx = REACH * std::sqrt(c_.xx), ry = REACH * std::sqrt(c_.yy);
        const int x0 = static_cast<int>(std::floor(cx_ - rx)), x1 = static_cast<int>(std::ceil(cx_ + rx));
        const int y0 = static_cast<int>(std::floor(cy_ - ry)), y1 = static_cast<int>(std::ceil(cy_ + ry));
        cover(x0, x1, y0, y1, std::max(rx, ry));
        const Matrix2 inverse = c_.inverse();
        const int xBegin = (x0 - stamp_.x0) / vec::LANES * vec::LANES;
        const int xEnd = ((x1 - stamp_.x0) / vec::LANES + 1) * vec::LANES;
        Sums s;
        momentSums(stamp_.value.data(), stamp_.variance.data(), stamp_.width, xBegin, xEnd, y0 - stamp_.y0,
                   y1 + 1 - stamp_.y0, static_cast<float>(cx_ - stamp_.x0), static_cast<float>(cy_ - stamp_.y0),
                   static_cast<float>(inverse.xx), static_cast<float>(inverse.xy), static_cast<float>(inverse.yy),
                   static_cast<float>(amplitude_), &s);
        return s;
    }

    // 0, or the reasons of a failure (UNRESOLVED is none).
    int iterate(int& nIter) {
        for (nIter = 1; nIter <= control_.maxIter; ++nIter) {
            const Sums s = sums();
            if (s.n < 5) return moments_flags::NO_GOOD_PIXELS;
            if (!(s.wi > 0) || !(s.ww > 0)) return moments_flags::NOT_POSITIVE;
            const double oldAmplitude = amplitude_;
            amplitude_ = s.wi / s.ww;
            if (nIter == 1 && s.n > 0) {  // now that an amplitude is known, complete the missing pixels
                if (oldAmplitude == 0 && hasMissing()) continue;
            }
            const double mx = s.sx / s.s0, my = s.sy / s.s0;
            Matrix2 m{s.sxx / s.s0 - mx * mx, s.syy / s.s0 - my * my, s.sxy / s.s0 - mx * my};
            if (!(s.s0 > 0) || !std::isfinite(m.xx + m.yy + m.xy)) return moments_flags::NOT_POSITIVE;
            if (control_.fixedCenter) m = {s.sxx / s.s0, s.syy / s.s0, s.sxy / s.s0};
            double shift = 0;
            if (!control_.fixedCenter) shift = moveCenter(mx, my);
            if (!(std::hypot(cx_ - startX_, cy_ - startY_) <= control_.maxShift)) return moments_flags::SHIFT;
            if (m.xx <= 0 || m.yy <= 0 || m.det() <= 0 || m.minEigenvalue() < 0.5 * MIN_MOMENT) {
                c_ = {MIN_MOMENT, MIN_MOMENT, 0};
                return moments_flags::UNRESOLVED;
            }
            const double change = updateWeight(m);
            if (c_.maxEigenvalue() > control_.maxSigma * control_.maxSigma) return moments_flags::NOT_CONVERGED;
            if (c_.minEigenvalue() < MIN_MOMENT) {
                c_ = {std::max(c_.xx, MIN_MOMENT), std::max(c_.yy, MIN_MOMENT), 0};
                return moments_flags::UNRESOLVED;
            }
            if (change < control_.tolerance && shift < control_.tolerance) return 0;
        }
        nIter = control_.maxIter;
        return moments_flags::NOT_CONVERGED;
    }

    bool hasMissing() const {
        return std::any_of(stamp_.variance.begin(), stamp_.variance.end(), [](float v) { return v == 0.0f; });
    }

    // Returns the step in units of sigma. A step is limited to one sigma.
    double moveCenter(double mx, double my) {
        const double sigma = std::sqrt(0.5 * (c_.xx + c_.yy));
        const double length = 2 * std::hypot(mx, my);
        const double factor = length > sigma ? 2 * sigma / length : 2;
        cx_ += factor * mx;
        cy_ += factor * my;
        return length / sigma;
    }

    // C <- (M^-1 - C^-1)^-1, at most 2.5 times wider or narrower than before; returns the change.
    double updateWeight(Matrix2 const& m) {
        const Matrix2 mi = m.inverse(), ci = c_.inverse();
        const Matrix2 d{mi.xx - ci.xx, mi.yy - ci.yy, mi.xy - ci.xy};
        const Matrix2 old = c_;
        if (d.xx > 0 && d.yy > 0 && d.det() > 0) c_ = d.inverse();
        const double oldTrace = old.xx + old.yy;
        const double limit = 6.25 * oldTrace;
        if (!(d.xx > 0 && d.yy > 0 && d.det() > 0) || c_.xx + c_.yy > limit) {
            // Flat under the weight: the source is much wider; or noise, which will run into maxSigma.
            const double f = 6.25 * 0.5 * oldTrace;
            c_ = {f, f, 0};
            return 1;
        }
        const double trace = c_.xx + c_.yy;
        const double e1 = (c_.xx - c_.yy) / trace - (old.xx - old.yy) / oldTrace;
        const double e2 = 2 * (c_.xy / trace - old.xy / oldTrace);
        return std::max(std::fabs(trace / oldTrace - 1), std::hypot(e1, e2));
    }

    // Moments, flux, errors and flags from the final weight.
    void fill(AdaptiveMoments& r) {
        r.x = cx_;
        r.y = cy_;
        r.xx = c_.xx;
        r.yy = c_.yy;
        r.xy = c_.xy;
        const Matrix2 ci = c_.inverse();
        const double rx = REACH * std::sqrt(c_.xx), ry = REACH * std::sqrt(c_.yy);
        double ww = 0, wi = 0, v0 = 0, vx = 0, vy = 0, vxx = 0, vyy = 0, vxy = 0;
        const int x0 = static_cast<int>(std::ceil(cx_ - rx)), x1 = static_cast<int>(std::floor(cx_ + rx));
        const int y0 = static_cast<int>(std::ceil(cy_ - ry)), y1 = static_cast<int>(std::floor(cy_ + ry));
        cover(x0, x1, y0, y1, std::max(rx, ry));
        for (int y = y0; y <= y1; ++y) {
            for (int x = x0; x <= x1; ++x) {
                const double dx = x - cx_, dy = y - cy_;
                const double q = ci.xx * dx * dx + 2 * ci.xy * dx * dy + ci.yy * dy * dy;
                if (q > REACH * REACH) continue;
                const std::size_t at = static_cast<std::size_t>(y - stamp_.y0) * stamp_.width + (x - stamp_.x0);
                const double value = static_cast<double>(stamp_.value[at]);
                const double variance = static_cast<double>(stamp_.variance[at]);
                if (!(variance > 0)) {
                    if (q <= 9) r.flagBits |= onImage(x, y) ? moments_flags::MASKED : moments_flags::EDGE;
                    continue;
                }
                const double w = std::exp(-0.5 * q), w2v = w * w * variance;
                ww += w * w;
                wi += w * value;
                v0 += w2v;
                vx += w2v * dx * dx;
                vy += w2v * dy * dy;
                vxx += w2v * (dx * dx - 0.5 * c_.xx) * (dx * dx - 0.5 * c_.xx);
                vyy += w2v * (dy * dy - 0.5 * c_.yy) * (dy * dy - 0.5 * c_.yy);
                vxy += w2v * (dx * dy - 0.5 * c_.xy) * (dx * dy - 0.5 * c_.xy);
            }
        }
        float value, variance;
        if (!pixel(positionToIndex(cx_), positionToIndex(cy_), value, variance)) {
            r.flagBits |= moments_flags::MASKED_CENTER;
        }
        const double amplitude = wi / ww, area = 2 * PI * std::sqrt(c_.det());
        // The whole weighted flux, missing pixels completed.
        const double s0 = amplitude * 0.5 * area;
        r.flux = static_cast<double>(sign_) * amplitude * area;
        // The amplitude's error, times sqrt(2) because the width is fitted too (exact for a Gaussian in white noise).
        r.fluxErr = std::sqrt(2.0) * area * std::sqrt(v0) / ww;
        r.xErr = 2 * std::sqrt(vx) / s0;
        r.yErr = 2 * std::sqrt(vy) / s0;
        r.xxErr = 4 * std::sqrt(vxx) / s0;
        r.yyErr = 4 * std::sqrt(vyy) / s0;
        r.xyErr = 4 * std::sqrt(vxy) / s0;
    }

    bool onImage(int x, int y) const { return x >= 0 && y >= 0 && x < image_.width && y < image_.height; }

    View2<const T> image_;
    View2<const VariancePixel> variance_;
    View2<const MaskPixel> mask_;
    AdaptiveMomentsControl const& control_;
    float sign_;
    Stamp stamp_;
    std::vector<float> ones_;
    std::vector<MaskPixel> zeros_;
    Matrix2 c_{1, 1, 0};
    double cx_ = 0, cy_ = 0, startX_ = 0, startY_ = 0, amplitude_ = 0;
};

void checkControl(AdaptiveMomentsControl const& control) {
    if (!(control.guessSigma > 0) || control.guessSigma > 100) {
        throw DomainError("adaptiveMoments: guessSigma must be in (0, 100] pixels, got " +
                          std::to_string(control.guessSigma));
    }
    if (control.maxIter < 1 || !(control.tolerance > 0) || !(control.maxShift >= 0)) {
        throw DomainError("adaptiveMoments: maxIter must be >= 1, tolerance > 0 and maxShift >= 0");
    }
    if (!(control.maxSigma >= control.guessSigma) || control.maxSigma > 1000) {
        throw DomainError("adaptiveMoments: maxSigma must be in [guessSigma, 1000] pixels, got " +
                          std::to_string(control.maxSigma));
    }
}

template <typename V, typename T>
void checkPlane(View2<V> plane, View2<const T> image, const char* name) {
    if (plane.empty() || (plane.width == image.width && plane.height == image.height)) return;
    throw ShapeError(std::string("adaptiveMoments: ") + name + " is " + std::to_string(plane.width) + "x" +
                     std::to_string(plane.height) + ", image is " + std::to_string(image.width) + "x" +
                     std::to_string(image.height));
}

}  // namespace

template <typename T>
std::vector<AdaptiveMoments> adaptiveMoments(View2<const T> image, View2<const VariancePixel> variance,
                                             View2<const MaskPixel> mask, std::vector<double> const& x,
                                             std::vector<double> const& y, AdaptiveMomentsControl const& control) {
    checkControl(control);
    checkPlane(variance, image, "variance");
    checkPlane(mask, image, "mask");
    if (x.size() != y.size()) {
        throw ShapeError("adaptiveMoments: " + std::to_string(x.size()) + " x and " + std::to_string(y.size()) +
                         " y positions");
    }
    const int n = static_cast<int>(x.size());
    std::vector<AdaptiveMoments> out(n);
    // Neighbours one after the other: their rows are still in the caches. Strips of 64 rows, then by column.
    std::vector<int> order(n);
    for (int i = 0; i < n; ++i) order[i] = i;
    auto strip = [&](int i) { return std::isfinite(y[i]) ? std::floor(y[i] / 64) : -1e9; };
    auto column = [&](int i) { return std::isfinite(x[i]) ? x[i] : -1e9; };
    std::sort(order.begin(), order.end(), [&](int a, int b) {
        if (strip(a) != strip(b)) return strip(a) < strip(b);
        return column(a) != column(b) ? column(a) < column(b) : a < b;
    });
    parallelFor((n + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        Measurer<T> measurer(image, variance, mask, control);
        const int end = std::min(n, (block + 1) * SOURCES_PER_BLOCK);
        for (int k = block * SOURCES_PER_BLOCK; k < end; ++k) out[order[k]] = measurer.measure(x[order[k]], y[order[k]]);
    });
    return out;
}

template std::vector<AdaptiveMoments> adaptiveMoments<float>(View2<const float>, View2<const VariancePixel>,
                                                             View2<const MaskPixel>, std::vector<double> const&,
                                                             std::vector<double> const&,
                                                             AdaptiveMomentsControl const&);
template std::vector<AdaptiveMoments> adaptiveMoments<double>(View2<const double>, View2<const VariancePixel>,
                                                              View2<const MaskPixel>, std::vector<double> const&,
                                                              std::vector<double> const&,
                                                              AdaptiveMomentsControl const&);

}  // namespace stillsky
