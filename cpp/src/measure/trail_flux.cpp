#include "stillsky/measure/trail_flux.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int SOURCES_PER_BLOCK = 16;
constexpr double REACH = 5.0, PI = 3.14159265358979323846;
constexpr double LONGEST = 1e5;  // pixels; anything longer is a failed measurement, not a trail

template <typename T>
TrailFluxResult oneTrail(MeasureInput<T> const& input, double x, double y, double length, double angle, double s) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    TrailFluxResult r{nan, nan, 1};
    if (!(std::fabs(x) < 1e9 && std::fabs(y) < 1e9 && length >= 0 && length < LONGEST && std::isfinite(angle) && s > 0 &&
          s < LONGEST)) {
        return r;
    }
    const double c = std::cos(angle), t = std::sin(angle), half = 0.5 * length, root = std::sqrt(2.0) * s;
    const double dx = half * std::fabs(c) + REACH * s, dy = half * std::fabs(t) + REACH * s;
    const double across = 1.0 / (std::sqrt(2 * PI) * s);
    double mm = 0, md = 0, mmv = 0;
    int bits = 0;
    for (int j = std::max(0, static_cast<int>(std::ceil(y - dy)));
         j <= std::min(input.image.height - 1, static_cast<int>(std::floor(y + dy))); ++j) {
        for (int i = std::max(0, static_cast<int>(std::ceil(x - dx)));
             i <= std::min(input.image.width - 1, static_cast<int>(std::floor(x + dx))); ++i) {
            const double u = (i - x) * c + (j - y) * t, v = (j - y) * c - (i - x) * t;
            if (std::fabs(v) > REACH * s || std::fabs(u) > half + REACH * s) continue;
            double d, var;
            if (!input.pixel(i, j, d, var)) {
                bits |= 2;
                continue;
            }
            const double along = length < 1e-3 * s ? across * std::exp(-0.5 * u * u / (s * s))
                                                   : (std::erf((u + half) / root) - std::erf((u - half) / root)) /
                                                             (2 * length);
            const double m = across * std::exp(-0.5 * v * v / (s * s)) * along;
            mm += m * m;
            md += m * d;
            mmv += m * m * var;
        }
    }
    r.flagBits = bits;
    if (!(mm > 0)) {
        r.flagBits |= 1;
        return r;
    }
    r.flux = md / mm;
    r.fluxErr = std::sqrt(mmv) / mm;
    return r;
}

}  // namespace

template <typename T>
std::vector<TrailFluxResult> trailFlux(MeasureInput<T> const& input, std::vector<double> const& x,
                                       std::vector<double> const& y, std::vector<double> const& length,
                                       std::vector<double> const& angle, std::vector<double> const& sigma) {
    const std::size_t n = x.size();
    if (y.size() != n || length.size() != n || angle.size() != n || sigma.size() != n) {
        throw ShapeError("trailFlux: wanted as many y, lengths, angles and widths as x");
    }
    std::vector<TrailFluxResult> out(n);
    const int count = static_cast<int>(n);
    parallelFor((count + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        const int end = std::min(count, (block + 1) * SOURCES_PER_BLOCK);
        for (int k = block * SOURCES_PER_BLOCK; k < end; ++k) {
            const auto i = static_cast<std::size_t>(k);
            out[i] = oneTrail(input, x[i], y[i], length[i], angle[i], sigma[i]);
        }
    });
    return out;
}

template std::vector<TrailFluxResult> trailFlux<float>(MeasureInput<float> const&, std::vector<double> const&,
                                                       std::vector<double> const&, std::vector<double> const&,
                                                       std::vector<double> const&, std::vector<double> const&);
template std::vector<TrailFluxResult> trailFlux<double>(MeasureInput<double> const&, std::vector<double> const&,
                                                        std::vector<double> const&, std::vector<double> const&,
                                                        std::vector<double> const&, std::vector<double> const&);

}  // namespace stillsky
