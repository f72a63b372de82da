#include "stillsky/math/spline.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stillsky/core/config.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

struct NamedStyle {
    const char* name;
    InterpolateStyle style;
    int minimum;
};

constexpr NamedStyle STYLES[] = {{"CONSTANT", InterpolateStyle::CONSTANT, 1},
                                 {"LINEAR", InterpolateStyle::LINEAR, 2},
                                 {"NATURAL_SPLINE", InterpolateStyle::NATURAL_SPLINE, 3},
                                 {"CUBIC_SPLINE", InterpolateStyle::CUBIC_SPLINE, 3},
                                 {"AKIMA_SPLINE", InterpolateStyle::AKIMA_SPLINE, 5}};

NamedStyle const& lookUp(InterpolateStyle style) {
    for (auto const& s : STYLES) {
        if (s.style == style) return s;
    }
    throw DomainError("interpolation style: unknown number " + std::to_string(static_cast<int>(style)));
}

// c0 + c1 t + c2 t^2 + c3 t^3, t = x - from, at x = first, first + 1, ...
template <typename T>
STILLSKY_INLINE void cubicBody(int first, double from, double c0, double c1, double c2, double c3, int n, T* STILLSKY_RESTRICT out) {
    for (int i = 0; i < n; ++i) {
        const double t = static_cast<double>(first + i) - from;
        out[i] = static_cast<T>(c0 + t * (c1 + t * (c2 + t * c3)));
    }
}
STILLSKY_SIMD void cubic(int first, double from, double c0, double c1, double c2, double c3, int n, float* out) {
    cubicBody(first, from, c0, c1, c2, c3, n, out);
}
STILLSKY_SIMD void cubic(int first, double from, double c0, double c1, double c2, double c3, int n, double* out) {
    cubicBody(first, from, c0, c1, c2, c3, n, out);
}

std::vector<double> chords(std::vector<double> const& x, std::vector<double> const& y) {
    std::vector<double> m;
    for (std::size_t i = 0; i + 1 < x.size(); ++i) m.push_back((y[i + 1] - y[i]) / (x[i + 1] - x[i]));
    return m;
}

// Slopes of the natural spline at the nodes: tridiagonal system of the first derivatives (de Boor 1978, A Practical
// Guide to Splines, chapter IV), solved by elimination without pivoting, which diagonal dominance makes safe.
std::vector<double> naturalSlopes(std::vector<double> const& x, std::vector<double> const& m) {
    const std::size_t n = x.size();
    std::vector<double> diagonal(n), upper(n), s(n);
    diagonal[0] = 2;
    upper[0] = 1;
    s[0] = 3 * m[0];
    for (std::size_t i = 1; i < n; ++i) {
        const bool last = i == n - 1;
        const double hl = x[i] - x[i - 1], hr = last ? 0 : x[i + 1] - x[i];
        const double lower = last ? 1 : hr, rhs = last ? 3 * m[i - 1] : 3 * (hr * m[i - 1] + hl * m[i]);
        const double factor = lower / diagonal[i - 1];
        diagonal[i] = (last ? 2 : 2 * (hl + hr)) - factor * upper[i - 1];
        upper[i] = hl;
        s[i] = rhs - factor * s[i - 1];
    }
    for (std::size_t i = n; i-- > 0;) s[i] = (s[i] - (i + 1 < n ? upper[i] * s[i + 1] : 0)) / diagonal[i];
    return s;
}

// Akima (1970), equations 1, 8 and 9: two further chords at each end continue the outermost two linearly. Where both
// weights vanish the slope is the mean of the neighbouring chords.
std::vector<double> akimaSlopes(std::vector<double> const& chord) {
    std::vector<double> m = chord;
    m.insert(m.begin(), 2 * m[0] - m[1]);
    m.insert(m.begin(), 2 * m[0] - m[1]);
    for (int k = 0; k < 2; ++k) m.push_back(2 * m[m.size() - 1] - m[m.size() - 2]);
    double largest = 0;
    for (std::size_t i = 0; i + 1 < m.size(); ++i) largest = std::max(largest, std::fabs(m[i + 1] - m[i]));
    std::vector<double> s;
    for (std::size_t i = 0; i + 3 < m.size(); ++i) {
        const double wl = std::fabs(m[i + 3] - m[i + 2]), wr = std::fabs(m[i + 1] - m[i]);
        // Weights at round-off level would pick a side at random.
        s.push_back(wl + wr > 2e-9 * largest ? (wl * m[i + 1] + wr * m[i + 2]) / (wl + wr) : 0.5 * (m[i + 1] + m[i + 2]));
    }
    return s;
}

}  // namespace

int minInterpPoints(InterpolateStyle style) { return lookUp(style).minimum; }

InterpolateStyle maxInterpStyle(int n) {
    if (n < 1) throw DomainError("maxInterpStyle: wanted at least one node, got " + std::to_string(n));
    if (n == 1) return InterpolateStyle::CONSTANT;
    if (n == 2) return InterpolateStyle::LINEAR;
    return n < 5 ? InterpolateStyle::CUBIC_SPLINE : InterpolateStyle::AKIMA_SPLINE;
}

InterpolateStyle stringToInterpolateStyle(std::string const& name) {
    for (auto const& s : STYLES) {
        if (name == s.name) return s.style;
    }
    throw DomainError("interpolation style: wanted CONSTANT, LINEAR, NATURAL_SPLINE, CUBIC_SPLINE or AKIMA_SPLINE, got '" +
                      name + "'");
}

std::string interpolateStyleName(InterpolateStyle style) { return lookUp(style).name; }

UndersampleStyle stringToUndersampleStyle(std::string const& name) {
    if (name == "THROW_EXCEPTION") return UndersampleStyle::THROW_EXCEPTION;
    if (name == "REDUCE_INTERP_ORDER") return UndersampleStyle::REDUCE_INTERP_ORDER;
    if (name == "INCREASE_NXNYSAMPLE") return UndersampleStyle::INCREASE_NXNYSAMPLE;
    throw DomainError("undersample style: wanted THROW_EXCEPTION, REDUCE_INTERP_ORDER or INCREASE_NXNYSAMPLE, got '" + name + "'");
}

Interpolate::Interpolate(std::vector<double> x, std::vector<double> const& y, InterpolateStyle style) : x_(std::move(x)) {
    if (x_.size() != y.size()) {
        throw ShapeError("Interpolate: " + std::to_string(x_.size()) + " abscissae but " + std::to_string(y.size()) + " values");
    }
    if (static_cast<int>(x_.size()) < minInterpPoints(style)) {
        throw DomainError("Interpolate: " + interpolateStyleName(style) + " needs at least " +
                          std::to_string(minInterpPoints(style)) + " nodes, got " + std::to_string(x_.size()));
    }
    for (std::size_t i = 0; i < x_.size(); ++i) {
        if (!std::isfinite(x_[i]) || !std::isfinite(y[i])) throw DomainError("Interpolate: nodes must be finite");
        if (i > 0 && !(x_[i] > x_[i - 1])) throw DomainError("Interpolate: abscissae must ascend");
    }
    if (style == InterpolateStyle::CONSTANT) {
        makeConstant(y);
        return;
    }
    const std::vector<double> m = chords(x_, y);
    const std::size_t last = m.size() - 1;
    if (style == InterpolateStyle::LINEAR) {
        segments_.push_back({x_[0], y[0], m[0], 0, 0});
        for (std::size_t i = 0; i <= last; ++i) segments_.push_back({x_[i], y[i], m[i], 0, 0});
        segments_.push_back({x_[last + 1], y[last + 1], m[last], 0, 0});
        return;
    }
    if (style != InterpolateStyle::AKIMA_SPLINE) {
        makeHermite(y, naturalSlopes(x_, m), 0, 0);
        return;
    }
    const std::vector<double> s = akimaSlopes(m);
    const double h0 = x_[1] - x_[0], h1 = x_[last + 1] - x_[last];
    makeHermite(y, s, 2 * (3 * m[0] - 2 * s[0] - s[1]) / h0, 2 * (s[last] + 2 * s[last + 1] - 3 * m[last]) / h1);
}

void Interpolate::makeConstant(std::vector<double> const& y) {
    std::vector<double> boundaries;
    for (std::size_t i = 0; i < y.size(); ++i) {
        segments_.push_back({x_[i], y[i], 0, 0, 0});
        if (i + 1 < y.size()) boundaries.push_back(0.5 * (x_[i] + x_[i + 1]));
    }
    x_ = boundaries;
}

void Interpolate::makeHermite(std::vector<double> const& y, std::vector<double> const& slope, double secondLeft, double secondRight) {
    const std::size_t n = y.size();
    segments_.push_back({x_[0], y[0], slope[0], 0.5 * secondLeft, 0});
    for (std::size_t i = 0; i + 1 < n; ++i) {
        const double h = x_[i + 1] - x_[i], m = (y[i + 1] - y[i]) / h;
        segments_.push_back({x_[i], y[i], slope[i], (3 * m - 2 * slope[i] - slope[i + 1]) / h,
                             (slope[i] + slope[i + 1] - 2 * m) / (h * h)});
    }
    segments_.push_back({x_[n - 1], y[n - 1], slope[n - 1], 0.5 * secondRight, 0});
}

double Interpolate::operator()(double x) const {
    Segment const& s = segments_[static_cast<std::size_t>(std::upper_bound(x_.begin(), x_.end(), x) - x_.begin())];
    const double t = x - s.from;
    return s.c0 + t * (s.c1 + t * (s.c2 + t * s.c3));
}

template <typename T>
void Interpolate::evaluate(int begin, int n, T* out) const {
    int i = 0;
    for (std::size_t k = 0; k < segments_.size() && i < n; ++k) {
        // First integer abscissa of the next segment: those below its left end belong to this one.
        int end = n;
        if (k < x_.size()) end = static_cast<int>(std::clamp(std::ceil(x_[k]) - begin, static_cast<double>(i), static_cast<double>(n)));
        Segment const& s = segments_[k];
        cubic(begin + i, s.from, s.c0, s.c1, s.c2, s.c3, end - i, out + i);
        i = end;
    }
}

template void Interpolate::evaluate<float>(int, int, float*) const;
template void Interpolate::evaluate<double>(int, int, double*) const;

namespace {

// Finite nodes of a line, interpolated; an empty result means there was none.
std::vector<Interpolate> interpolateFinite(std::vector<double> const& at, const double* values, std::size_t stride,
                                           InterpolateStyle style, UndersampleStyle undersample) {
    std::vector<double> x, y;
    for (std::size_t i = 0; i < at.size(); ++i) {
        if (!std::isfinite(values[i * stride])) continue;
        x.push_back(at[i]);
        y.push_back(values[i * stride]);
    }
    const int n = static_cast<int>(x.size());
    if (n < minInterpPoints(style) && undersample == UndersampleStyle::REDUCE_INTERP_ORDER) {
        if (n == 0) return {};
        style = maxInterpStyle(n);
    }
    return {Interpolate(std::move(x), y, style)};
}

}  // namespace

template <typename T>
void fillFromGrid(View2<const double> nodes, std::vector<double> const& xNodes, std::vector<double> const& yNodes,
                  InterpolateStyle style, UndersampleStyle undersample, Point2I xy0, View2<T> out) {
    if (static_cast<std::size_t>(nodes.width) != xNodes.size() || static_cast<std::size_t>(nodes.height) != yNodes.size()) {
        throw ShapeError("fillFromGrid: " + std::to_string(nodes.width) + "x" + std::to_string(nodes.height) + " nodes but " +
                         std::to_string(xNodes.size()) + " and " + std::to_string(yNodes.size()) + " positions");
    }
    if (undersample == UndersampleStyle::INCREASE_NXNYSAMPLE) {
        throw DomainError("undersample style: INCREASE_NXNYSAMPLE is not supported; use REDUCE_INTERP_ORDER");
    }
    const std::size_t nx = xNodes.size(), height = static_cast<std::size_t>(std::max(out.height, 0));
    std::vector<std::vector<double>> columns(nx, std::vector<double>(height, std::numeric_limits<double>::quiet_NaN()));
    std::vector<double> xUsed;
    std::vector<std::size_t> used;
    for (std::size_t i = 0; i < nx; ++i) {
        const auto spline = interpolateFinite(yNodes, nodes.data + i, static_cast<std::size_t>(nodes.stride), style, undersample);
        if (spline.empty()) continue;
        spline[0].evaluate(xy0.y, out.height, columns[i].data());
        xUsed.push_back(xNodes[i]);
        used.push_back(i);
    }
    constexpr int ROWS = 16;
    parallelFor((out.height + ROWS - 1) / ROWS, [&](int block) {
        std::vector<double> values(used.size());
        for (int y = block * ROWS; y < std::min(out.height, (block + 1) * ROWS); ++y) {
            for (std::size_t i = 0; i < used.size(); ++i) values[i] = columns[used[i]][static_cast<std::size_t>(y)];
            const auto spline = interpolateFinite(xUsed, values.data(), 1, style, undersample);
            if (spline.empty()) std::fill_n(out.row(y), out.width, std::numeric_limits<T>::quiet_NaN());
            else spline[0].evaluate(xy0.x, out.width, out.row(y));
        }
    });
}

template void fillFromGrid<float>(View2<const double>, std::vector<double> const&, std::vector<double> const&,
                                  InterpolateStyle, UndersampleStyle, Point2I, View2<float>);
template void fillFromGrid<double>(View2<const double>, std::vector<double> const&, std::vector<double> const&,
                                   InterpolateStyle, UndersampleStyle, Point2I, View2<double>);

}  // namespace stillsky
