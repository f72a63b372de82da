#include "stillsky/measure/source_features.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/geom/point.hpp"

namespace stillsky {
namespace {

constexpr int SOURCES_PER_BLOCK = 32;
constexpr double NOT_A_NUMBER = std::numeric_limits<double>::quiet_NaN();

double stampAt(View2<const double> stamp, int i, int j) {
    return i >= 0 && j >= 0 && i < stamp.width && j < stamp.height ? stamp(i, j) : 0.0;
}

// Weighted sums of data d, PSF m and its gradients g, h.
struct GradientSums {
    double mm = 0, mg = 0, mh = 0, gg = 0, gh = 0, hh = 0, dm = 0, dg = 0, dh = 0, dd = 0;

    void add(double d, double m, double g, double h, double w) {
        mm += w * m * m, mg += w * m * g, mh += w * m * h, gg += w * g * g, gh += w * g * h, hh += w * h * h;
        dm += w * d * m, dg += w * d * g, dh += w * d * h, dd += w * d * d;
    }
    double psfChi2() const { return std::max(0.0, dd - dm * dm / mm); }
    // Gain in chi-square of the gradients, and the gradient's length over its error.
    void gain(double& delta, double& significance) const {
        const double a = gg - mg * mg / mm, b = hh - mh * mh / mm, c = gh - mg * mh / mm;
        const double u = dg - mg * dm / mm, v = dh - mh * dm / mm, det = a * b - c * c;
        if (!(det > 1e-12 * gg * hh)) return;
        const double gx = (b * u - c * v) / det, gy = (a * v - c * u) / det, length = std::hypot(gx, gy);
        delta = gx * u + gy * v;
        // Variance of the length along its own direction.
        const double cx = length > 0 ? gx / length : 1, cy = length > 0 ? gy / length : 0;
        significance = length / std::sqrt((b * cx * cx - 2 * c * cx * cy + a * cy * cy) / det);
    }
};

template <typename T>
SourceFeatures featuresOf(MeasureInput<T> const& input, View2<const double> stamp, int x0, int y0, double x, double y,
                          double radius, int sign) {
    SourceFeatures f{NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, 0, 1};
    if (!(std::fabs(x) < 1e8 && std::fabs(y) < 1e8 && radius > 0 && radius < 1e4)) return f;
    const int cx = positionToIndex(x), cy = positionToIndex(y), reach = static_cast<int>(std::ceil(radius));
    GradientSums sums;
    double wrong = 0, absolute = 0, turned = 0, turnedNoise = 0, turnedTotal = 0;
    int missing = 0;
    for (int j = cy - reach; j <= cy + reach; ++j) {
        for (int i = cx - reach; i <= cx + reach; ++i) {
            if ((i - x) * (i - x) + (j - y) * (j - y) > radius * radius) continue;
            double d, v;
            if (!input.contains(i, j) || !input.pixel(i, j, d, v)) {
                ++missing;
                continue;
            }
            ++f.nPixels;
            const int si = i - x0, sj = j - y0;
            const double m = stampAt(stamp, si, sj);
            sums.add(d, m, 0.5 * (stampAt(stamp, si + 1, sj) - stampAt(stamp, si - 1, sj)),
                     0.5 * (stampAt(stamp, si, sj + 1) - stampAt(stamp, si, sj - 1)), 1 / v);
            absolute += std::fabs(d);
            if (d * sign < 0) wrong += std::fabs(d);
            // The opposite pixel about the position, to the nearest one.
            const int oi = positionToIndex(2 * x - i), oj = positionToIndex(2 * y - j);
            double od, ov;
            if (input.contains(oi, oj) && input.pixel(oi, oj, od, ov) && (oi != i || oj != j)) {
                turned += std::fabs(d - od);
                // Mean of |difference| of two pixels of pure noise.
                turnedNoise += std::sqrt(2 * (v + ov) / 3.14159265358979323846);
                turnedTotal += std::fabs(d) + std::fabs(od);
            }
        }
    }
    if (f.nPixels < 5 || !(sums.mm > 0)) return f;
    f.flagBits = missing ? 2 : 0;
    f.psfChi2 = sums.psfChi2() / (f.nPixels - 1);
    f.dipoleDeltaChi2 = f.dipoleMoment = 0;
    sums.gain(f.dipoleDeltaChi2, f.dipoleMoment);
    f.negativeFraction = absolute > 0 ? wrong / absolute : NOT_A_NUMBER;
    if (turnedTotal > 0) f.asymmetry = std::max(0.0, turned - turnedNoise) / turnedTotal;
    double center = 0, around = 0, modelAround = 0, v;
    bool whole = input.contains(cx - 1, cy - 1) && input.contains(cx + 1, cy + 1);
    for (int j = -1; j <= 1 && whole; ++j) {
        for (int i = -1; i <= 1 && whole; ++i) {
            double d;
            whole = input.pixel(cx + i, cy + j, d, v);
            if (i == 0 && j == 0) {
                center = d;
            } else {
                around += d / 8;
                modelAround += stampAt(stamp, cx + i - x0, cy + j - y0) / 8;
            }
        }
    }
    const double expected = (sums.dm / sums.mm) * (stampAt(stamp, cx - x0, cy - y0) - modelAround);
    if (whole && expected != 0.0) f.sharpness = (center - around) / expected;
    return f;
}

}  // namespace

template <typename T>
std::vector<SourceFeatures> sourceFeatures(MeasureInput<T> const& input, StampStack const& stamps,
                                           std::vector<int> const& x0, std::vector<int> const& y0,
                                           std::vector<double> const& x, std::vector<double> const& y,
                                           std::vector<double> const& radius, std::vector<int> const& sign) {
    const std::size_t n = x.size();
    if (y.size() != n || x0.size() != n || y0.size() != n || radius.size() != n || sign.size() != n ||
        (stamps.n != 1 && static_cast<std::size_t>(stamps.n) != n)) {
        throw ShapeError("sourceFeatures: wanted one value of everything per source");
    }
    std::vector<SourceFeatures> out(n);
    const int count = static_cast<int>(n);
    parallelFor((count + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        const int end = std::min(count, (block + 1) * SOURCES_PER_BLOCK);
        for (int k = block * SOURCES_PER_BLOCK; k < end; ++k) {
            const auto i = static_cast<std::size_t>(k);
            out[i] = featuresOf(input, stamps[i], x0[i], y0[i], x[i], y[i], radius[i], sign[i]);
        }
    });
    return out;
}

std::vector<double> maskFractions(View2<const MaskPixel> mask, std::vector<double> const& x,
                                  std::vector<double> const& y, double radius, std::vector<MaskPixel> const& planes) {
    if (x.size() != y.size()) throw ShapeError("maskFractions: wanted as many y as x");
    if (!(radius > 0 && radius < 1e4)) throw DomainError("maskFractions: radius: wanted pixels > 0");
    const std::size_t columns = planes.size() + 1;
    std::vector<double> out(x.size() * columns, NOT_A_NUMBER);
    const int count = static_cast<int>(x.size()), reach = static_cast<int>(std::ceil(radius));
    parallelFor((count + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        const int end = std::min(count, (block + 1) * SOURCES_PER_BLOCK);
        for (int s = block * SOURCES_PER_BLOCK; s < end; ++s) {
            const auto source = static_cast<std::size_t>(s);
            const double px = x[source], py = y[source];
            if (!(std::fabs(px) < 1e8 && std::fabs(py) < 1e8)) continue;
            const int cx = positionToIndex(px), cy = positionToIndex(py);
            std::vector<int> found(columns, 0);
            int total = 0;
            for (int j = cy - reach; j <= cy + reach; ++j) {
                for (int i = cx - reach; i <= cx + reach; ++i) {
                    if ((i - px) * (i - px) + (j - py) * (j - py) > radius * radius) continue;
                    ++total;
                    if (i < 0 || j < 0 || i >= mask.width || j >= mask.height) {
                        ++found[planes.size()];
                        continue;
                    }
                    for (std::size_t k = 0; k < planes.size(); ++k) found[k] += (mask(i, j) & planes[k]) != 0;
                }
            }
            for (std::size_t k = 0; k < columns && total > 0; ++k) {
                out[source * columns + k] = static_cast<double>(found[k]) / total;
            }
        }
    });
    return out;
}

template std::vector<SourceFeatures> sourceFeatures<float>(MeasureInput<float> const&, StampStack const&,
                                                           std::vector<int> const&, std::vector<int> const&,
                                                           std::vector<double> const&, std::vector<double> const&,
                                                           std::vector<double> const&, std::vector<int> const&);
template std::vector<SourceFeatures> sourceFeatures<double>(MeasureInput<double> const&, StampStack const&,
                                                            std::vector<int> const&, std::vector<int> const&,
                                                            std::vector<double> const&, std::vector<double> const&,
                                                            std::vector<double> const&, std::vector<int> const&);

}  // namespace stillsky
