#include "stillsky/measure/aperture_flux.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int SOURCES_PER_BLOCK = 64;
constexpr double NOT_A_NUMBER = std::numeric_limits<double>::quiet_NaN();

// Integral of sqrt(r^2 - t^2) from 0 to t.
double halfSegment(double r, double t) {
    const double u = std::min(1.0, std::max(-1.0, t / r));
    return 0.5 * (t * std::sqrt(std::max(0.0, r * r - t * t)) + r * r * std::asin(u));
}

// Area of the circle within [0, x] x [0, y], odd in both.
double quadrant(double r, double x, double y) {
    const double sign = (x < 0 ? -1.0 : 1.0) * (y < 0 ? -1.0 : 1.0);
    x = std::fabs(x);
    y = std::fabs(y);
    if (x * x + y * y <= r * r) return sign * x * y;
    x = std::min(x, r);
    y = std::min(y, r);
    const double corner = std::sqrt(std::max(0.0, r * r - y * y));
    if (corner >= x) return sign * x * y;
    return sign * (corner * y + halfSegment(r, x) - halfSegment(r, corner));
}

struct Sums {
    double flux = 0, variance = 0, area = 0;
    int flagBits = 0;

    template <typename T>
    void add(MeasureInput<T> const& input, int i, int j, double w, bool reference) {
        double d, v;
        const bool good = input.pixel(i, j, d, v);
        if (!good && !reference) {
            flagBits |= aperture_flags::MASKED;
            return;
        }
        if (!good && !(std::isfinite(d) && std::isfinite(v))) {
            flagBits |= aperture_flags::FAILED | aperture_flags::BAD_VALUE;
        }
        flux += w * d;
        variance += w * w * v;
        area += w;
    }
    ApertureFluxResult result() const { return {flux, std::sqrt(variance), area, flagBits}; }
};

constexpr ApertureFluxResult NO_FLUX{NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER,
                                     aperture_flags::FAILED | aperture_flags::TRUNCATED};

template <typename T>
ApertureFluxResult oneAperture(MeasureInput<T> const& input, double x, double y, double r, ApertureEdge edge,
                               bool reference) {
    // The circle must not leave the image, whose pixels end at -0.5 and size - 0.5.
    if (!(x - r >= -0.5 && y - r >= -0.5 && x + r <= input.image.width - 0.5 && y + r <= input.image.height - 0.5)) {
        return NO_FLUX;
    }
    Sums sums;
    const int iBegin = std::max(0, static_cast<int>(std::floor(x - r))), iEnd = static_cast<int>(std::ceil(x + r));
    const int jBegin = std::max(0, static_cast<int>(std::floor(y - r))), jEnd = static_cast<int>(std::ceil(y + r));
    const double whole = std::max(0.0, r - 0.7072), none = r + 0.7072;
    for (int j = jBegin; j <= std::min(jEnd, input.image.height - 1); ++j) {
        for (int i = iBegin; i <= std::min(iEnd, input.image.width - 1); ++i) {
            const double dx = i - x, dy = j - y, d2 = dx * dx + dy * dy;
            double w = 1.0;
            if (edge == ApertureEdge::CENTERS) {
                w = d2 <= r * r ? 1.0 : 0.0;
            } else if (d2 > none * none) {
                w = 0.0;
            } else if (d2 > whole * whole) {
                w = circleRectangleOverlap(r, dx - 0.5, dx + 0.5, dy - 0.5, dy + 0.5);
            }
            if (w > 0) sums.add(input, i, j, w, reference);
        }
    }
    return sums.result();
}

template <typename T>
ApertureFluxResult oneStamp(MeasureInput<T> const& input, View2<const double> stamp, int x0, int y0, bool reference) {
    const int jBegin = std::max(0, -y0), jEnd = std::min(stamp.height, input.image.height - y0);
    const int iBegin = std::max(0, -x0), iEnd = std::min(stamp.width, input.image.width - x0);
    if (jBegin >= jEnd || iBegin >= iEnd) return NO_FLUX;
    Sums sums;
    if (jBegin > 0 || iBegin > 0 || jEnd < stamp.height || iEnd < stamp.width) {
        sums.flagBits |= aperture_flags::TRUNCATED;
    }
    for (int j = jBegin; j < jEnd; ++j) {
        for (int i = iBegin; i < iEnd; ++i) {
            if (stamp(i, j) != 0.0) sums.add(input, x0 + i, y0 + j, stamp(i, j), reference);
        }
    }
    return sums.result();
}

// Mean and its error of values, deviations from the median beyond nSigma standard deviations left out.
void clippedMean(std::vector<double>& values, double nSigma, int rounds, LocalBackgroundResult& r) {
    for (int round = 0;; ++round) {
        double sum = 0, square = 0;
        for (double v : values) sum += v;
        const double n = static_cast<double>(values.size()), mean = sum / n;
        for (double v : values) square += (v - mean) * (v - mean);
        const double sigma = std::sqrt(square / std::max(1.0, n - 1));
        r.value = mean;
        r.valueErr = sigma / std::sqrt(n);
        r.nPixels = static_cast<int>(values.size());
        if (round == rounds) return;
        const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
        std::nth_element(values.begin(), middle, values.end());
        const double median = *middle, limit = nSigma * sigma;
        const auto end = std::partition(values.begin(), values.end(),
                                        [&](double v) { return std::fabs(v - median) <= limit; });
        if (end == values.end() || end - values.begin() < 5) return;
        values.erase(end, values.end());
    }
}

template <typename T>
LocalBackgroundResult oneBackground(MeasureInput<T> const& input, double x, double y, double inner, double outer,
                                    double nSigma, int rounds) {
    LocalBackgroundResult r{NOT_A_NUMBER, NOT_A_NUMBER, 0, 0};
    std::vector<double> values;
    if (std::isfinite(x) && std::isfinite(y) && std::fabs(x) < 1e9 && std::fabs(y) < 1e9 && outer > 0) {
        if (x - outer < 0 || y - outer < 0 || x + outer > input.image.width - 1 || y + outer > input.image.height - 1) {
            r.flagBits |= aperture_flags::TRUNCATED;
        }
        const int jEnd = std::min(input.image.height - 1, static_cast<int>(std::floor(y + outer)));
        const int iEnd = std::min(input.image.width - 1, static_cast<int>(std::floor(x + outer)));
        for (int j = std::max(0, static_cast<int>(std::ceil(y - outer))); j <= jEnd; ++j) {
            for (int i = std::max(0, static_cast<int>(std::ceil(x - outer))); i <= iEnd; ++i) {
                const double d2 = (i - x) * (i - x) + (j - y) * (j - y);
                double d, v;
                if (d2 <= outer * outer && d2 > inner * inner && input.pixel(i, j, d, v)) values.push_back(d);
            }
        }
    }
    if (values.size() < 5) {
        r.flagBits |= aperture_flags::FAILED;
        return r;
    }
    clippedMean(values, nSigma, rounds, r);
    return r;
}

template <typename Body>
void overSources(std::size_t n, Body const& body) {
    const int count = static_cast<int>(n);
    parallelFor((count + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        const int end = std::min(count, (block + 1) * SOURCES_PER_BLOCK);
        for (int i = block * SOURCES_PER_BLOCK; i < end; ++i) body(static_cast<std::size_t>(i));
    });
}

void requireEqual(std::size_t a, std::size_t b, const char* what) {
    if (a != b) throw ShapeError(std::string(what) + ": wanted one value per source");
}

}  // namespace

double circleRectangleOverlap(double radius, double x0, double x1, double y0, double y1) {
    return std::max(0.0, quadrant(radius, x1, y1) - quadrant(radius, x0, y1) - quadrant(radius, x1, y0) +
                                 quadrant(radius, x0, y0));
}

template <typename T>
std::vector<ApertureFluxResult> apertureFlux(MeasureInput<T> const& input, std::vector<double> const& x,
                                             std::vector<double> const& y, std::vector<double> const& radii,
                                             ApertureEdge edge, bool reference) {
    requireEqual(x.size(), y.size(), "apertureFlux: y");
    for (double r : radii) {
        if (!(r > 0 && std::isfinite(r))) throw DomainError("apertureFlux: radii: wanted pixels > 0");
    }
    std::vector<ApertureFluxResult> out(x.size() * radii.size());
    overSources(x.size(), [&](std::size_t i) {
        for (std::size_t k = 0; k < radii.size(); ++k) {
            out[i * radii.size() + k] = oneAperture(input, x[i], y[i], radii[k], edge, reference);
        }
    });
    return out;
}

template <typename T>
std::vector<ApertureFluxResult> stampFlux(MeasureInput<T> const& input, StampStack const& stamps,
                                          std::vector<int> const& x0, std::vector<int> const& y0, bool reference) {
    requireEqual(x0.size(), y0.size(), "stampFlux: y0");
    if (stamps.n != 1) requireEqual(x0.size(), static_cast<std::size_t>(stamps.n), "stampFlux: stamps");
    std::vector<ApertureFluxResult> out(x0.size());
    overSources(x0.size(), [&](std::size_t i) { out[i] = oneStamp(input, stamps[i], x0[i], y0[i], reference); });
    return out;
}

template <typename T>
std::vector<LocalBackgroundResult> localBackground(MeasureInput<T> const& input, std::vector<double> const& x,
                                                   std::vector<double> const& y, std::vector<double> const& inner,
                                                   std::vector<double> const& outer, double nSigma, int rounds) {
    requireEqual(x.size(), y.size(), "localBackground: y");
    requireEqual(x.size(), inner.size(), "localBackground: inner");
    requireEqual(x.size(), outer.size(), "localBackground: outer");
    if (!(nSigma > 0) || rounds < 0) throw DomainError("localBackground: wanted nSigma > 0 and rounds >= 0");
    std::vector<LocalBackgroundResult> out(x.size());
    overSources(x.size(), [&](std::size_t i) {
        out[i] = oneBackground(input, x[i], y[i], inner[i], outer[i], nSigma, rounds);
    });
    return out;
}

#define STILLSKY_INSTANTIATE(T)                                                                                      \
    template std::vector<ApertureFluxResult> apertureFlux<T>(MeasureInput<T> const&, std::vector<double> const&,      \
                                                             std::vector<double> const&,                              \
                                                             std::vector<double> const&, ApertureEdge, bool);         \
    template std::vector<ApertureFluxResult> stampFlux<T>(MeasureInput<T> const&, StampStack const&,                  \
                                                          std::vector<int> const&, std::vector<int> const&, bool);    \
    template std::vector<LocalBackgroundResult> localBackground<T>(                                                   \
            MeasureInput<T> const&, std::vector<double> const&, std::vector<double> const&,                           \
            std::vector<double> const&, std::vector<double> const&, double, int);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)

}  // namespace stillsky
