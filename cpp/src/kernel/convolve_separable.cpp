// Constant kernels that are outer products: one pass along rows, one along columns, band by band.
#include <algorithm>

#include "convolve_detail.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace detail {
namespace {

constexpr int BAND = 64;

struct Factor {
    int first = 0;
    std::vector<double> taps;  // from the first to the last non-zero one
};

Factor trim(std::vector<double> const& v) {
    std::size_t a = 0, b = v.size();
    while (a < b && v[a] == 0.0) ++a;
    while (b > a && v[b - 1] == 0.0) --b;
    return {static_cast<int>(a), std::vector<double>(v.begin() + static_cast<std::ptrdiff_t>(a),
                                                     v.begin() + static_cast<std::ptrdiff_t>(b))};
}

// out[x] (+)= k in[x]
template <typename P, typename Q>
STILLSKY_INLINE void axpy(P* STILLSKY_RESTRICT out, Q const* STILLSKY_RESTRICT in, P k, int n, bool first) {
    if (first) {
        for (int x = 0; x < n; ++x) out[x] = k * static_cast<P>(in[x]);
    } else {
        for (int x = 0; x < n; ++x) out[x] += k * static_cast<P>(in[x]);
    }
}
STILLSKY_SIMD void addTap(float* o, float const* i, float k, int n, bool first) { axpy(o, i, k, n, first); }
STILLSKY_SIMD void addTap(double* o, double const* i, double k, int n, bool first) { axpy(o, i, k, n, first); }
STILLSKY_SIMD void addTap(double* o, float const* i, double k, int n, bool first) { axpy(o, i, k, n, first); }

// One plane of one band. The sums run in P.
template <typename P, typename In, typename Out>
void convolveBand(View2<const In> in, View2<Out> out, Factor const& fx, Factor const& fy, bool square, Point2I center,
                  int goodX0, int y0, int y1, int n, std::vector<P>& scratch, std::vector<P>& row) {
    const int rows = y1 - y0 + static_cast<int>(fy.taps.size()) - 1;
    const int inX = goodX0 - center.x + fx.first, inY = y0 - center.y + fy.first;
    const auto weight = [square](double tap) { return static_cast<P>(square ? tap * tap : tap); };
    scratch.resize(static_cast<std::size_t>(rows) * n);
    row.resize(static_cast<std::size_t>(n));
    for (int r = 0; r < rows; ++r) {
        for (std::size_t i = 0; i < fx.taps.size(); ++i) {
            addTap(&scratch[static_cast<std::size_t>(r) * n], in.row(inY + r) + inX + i, weight(fx.taps[i]), n, i == 0);
        }
    }
    for (int y = y0; y < y1; ++y) {
        for (std::size_t j = 0; j < fy.taps.size(); ++j) {
            addTap(row.data(), &scratch[(static_cast<std::size_t>(y - y0) + j) * n], weight(fy.taps[j]), n, j == 0);
        }
        Out* STILLSKY_RESTRICT o = out.row(y) + goodX0;
        for (int x = 0; x < n; ++x) o[x] = static_cast<Out>(row[static_cast<std::size_t>(x)]);
    }
}

}  // namespace

template <typename T>
void convolveSeparable(DirectJob<T> const& job, std::vector<double> const& vx, std::vector<double> const& vy) {
    const Factor fx = trim(vx), fy = trim(vy);
    const int bands = (job.goodHeight + BAND - 1) / BAND;
    parallelFor(bands, [&](int b) {
        static thread_local std::vector<T> scratch, row;
        const int y0 = job.goodY0 + b * BAND, y1 = std::min(y0 + BAND, job.goodY0 + job.goodHeight);
        convolveBand(job.in, job.out, fx, fy, false, job.center, job.goodX0, y0, y1, job.goodWidth, scratch, row);
        if (job.varianceIn.empty()) return;
        convolveBand(job.varianceIn, job.varianceOut, fx, fy, true, job.center, job.goodX0, y0, y1, job.goodWidth,
                     scratch, row);
    });
}

template void convolveSeparable(DirectJob<float> const&, std::vector<double> const&, std::vector<double> const&);
template void convolveSeparable(DirectJob<double> const&, std::vector<double> const&, std::vector<double> const&);

}  // namespace detail
}  // namespace stillsky
