#include "stillsky/measure/psf_flux.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int SOURCES_PER_BLOCK = 64;

template <typename T>
PsfFluxResult measureOne(MeasureInput<T> const& input, View2<const double> stamp, int x0, int y0, bool reference) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    PsfFluxResult r{nan, nan, nan, nan, 0, 0};
    double m1 = 0, m2 = 0, md = 0, m2v = 0, dd = 0, dm = 0, mm = 0;
    const int jBegin = std::max(0, -y0), jEnd = std::min(stamp.height, input.image.height - y0);
    const int iBegin = std::max(0, -x0), iEnd = std::min(stamp.width, input.image.width - x0);
    if (jBegin > 0 || iBegin > 0 || jEnd < stamp.height || iEnd < stamp.width) {
        r.flagBits |= psf_flux_flags::FAILED | psf_flux_flags::EDGE;
    }
    for (int j = jBegin; j < jEnd; ++j) {
        for (int i = iBegin; i < iEnd; ++i) {
            double d, v;
            if (!input.pixel(x0 + i, y0 + j, d, v)) {
                const bool masked = !input.mask.empty() && (input.mask(x0 + i, y0 + j) & input.badBits);
                if (reference && !masked) r.flagBits |= psf_flux_flags::FAILED | psf_flux_flags::BAD_VALUE;
                r.flagBits |= psf_flux_flags::MASKED;
                if (reference && !masked) {
                    m1 += stamp(i, j);
                    m2 += stamp(i, j) * stamp(i, j);
                    ++r.nPixels;
                }
                continue;
            }
            const double m = stamp(i, j);
            m1 += m;
            m2 += m * m;
            md += m * d;
            m2v += m * m * v;
            dd += d * d / v;
            dm += d * m / v;
            mm += m * m / v;
            ++r.nPixels;
        }
    }
    if (r.nPixels == 0 || !(m2 > 0)) {
        r.flagBits |= psf_flux_flags::FAILED | psf_flux_flags::NO_GOOD_PIXELS;
        return r;
    }
    if (r.flagBits & psf_flux_flags::BAD_VALUE) {
        r.area = m1 * m1 / m2;
        return r;
    }
    r.flux = md / m2;
    r.fluxErr = std::sqrt(m2v) / m2;
    r.area = m1 * m1 / m2;
    r.chi2 = std::max(0.0, dd - 2 * r.flux * dm + r.flux * r.flux * mm);
    return r;
}

}  // namespace

template <typename T>
std::vector<PsfFluxResult> psfFlux(MeasureInput<T> const& input, StampStack const& stamps, std::vector<int> const& x0,
                                   std::vector<int> const& y0, bool reference) {
    const int n = static_cast<int>(x0.size());
    if (y0.size() != x0.size() || (stamps.n != n && stamps.n != 1)) {
        throw ShapeError("psfFlux: wanted one origin per source, and one stamp per source or one for all");
    }
    std::vector<PsfFluxResult> out(n);
    parallelFor((n + SOURCES_PER_BLOCK - 1) / SOURCES_PER_BLOCK, [&](int block) {
        const int end = std::min(n, (block + 1) * SOURCES_PER_BLOCK);
        for (int i = block * SOURCES_PER_BLOCK; i < end; ++i) {
            out[i] = measureOne(input, stamps[i], x0[i], y0[i], reference);
        }
    });
    return out;
}

template std::vector<PsfFluxResult> psfFlux<float>(MeasureInput<float> const&, StampStack const&,
                                                   std::vector<int> const&, std::vector<int> const&, bool);
template std::vector<PsfFluxResult> psfFlux<double>(MeasureInput<double> const&, StampStack const&,
                                                    std::vector<int> const&, std::vector<int> const&, bool);

}  // namespace stillsky
