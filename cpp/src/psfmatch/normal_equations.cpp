#include "stillsky/psfmatch/normal_equations.hpp"

#include <algorithm>
#include <cmath>

#include "simd8.hpp"
#include "stamp_loops.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/math/polynomial.hpp"
#include "stillsky/math/solve.hpp"

namespace stillsky {
namespace {

using std::size_t;

bool allFinite(DenseMatrix const& m) {
    const size_t n = static_cast<size_t>(m.rows()) * static_cast<size_t>(m.cols());
    return std::all_of(m.data(), m.data() + n, [](double v) { return std::isfinite(v); });
}

// m + factor * other.
DenseMatrix plus(DenseMatrix const& m, double factor, DenseMatrix const& other) {
    DenseMatrix out = m;
    const size_t n = static_cast<size_t>(m.rows()) * static_cast<size_t>(m.cols());
    for (size_t k = 0; k < n; ++k) out.data()[k] += factor * other.data()[k];
    return out;
}

}  // namespace

double NormalEquations::chi2(std::vector<double> const& a) const {
    if (static_cast<int>(a.size()) != size()) throw ShapeError("NormalEquations::chi2: wrong number of coefficients");
    double sum = yy;
    for (int i = 0; i < size(); ++i) {
        double row = 0.0;
        for (int j = 0; j < size(); ++j) row += m(i, j) * a[static_cast<size_t>(j)];
        sum += a[static_cast<size_t>(i)] * (row - 2.0 * b[static_cast<size_t>(i)]);
    }
    return sum;
}

DenseMatrix withoutNoise(DenseMatrix const& m, DenseMatrix const& noise) {
    const int n = m.rows();
    if (noise.empty() || !allFinite(m) || !allFinite(noise)) return m;
    std::vector<double> d(static_cast<size_t>(n));
    for (int i = 0; i < n; ++i) {
        if (!(m(i, i) > 0.0)) return m;
        d[static_cast<size_t>(i)] = 1.0 / std::sqrt(m(i, i));
    }
    // Equilibrated, because the unknowns differ by orders of magnitude.
    DenseMatrix ms(n, n), ns(n, n);
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) {
            const double s = d[static_cast<size_t>(i)] * d[static_cast<size_t>(j)];
            ms(i, j) = m(i, j) * s;
            ns(i, j) = noise(i, j) * s;
        }
    }
    if (isPositiveDefinite(plus(ms, -2.0, ns))) return plus(m, -1.0, noise);
    if (!isPositiveDefinite(ms)) return m;
    const EigenDecomposition pencil = eigenGeneralized(ns, ms);
    // m' = m - sum_k r_k (m v_k)(m v_k)^T with r = nu where signal dominates, 1 - nu where noise does.
    DenseMatrix out = m;
    std::vector<double> mv(static_cast<size_t>(n));
    for (int k = 0; k < n; ++k) {
        const double nu = pencil.values[static_cast<size_t>(k)];
        const double removed = std::max(0.0, std::min(nu, 1.0 - nu));
        double const* v = pencil.vectors.row(k);
        for (int i = 0; i < n; ++i) {
            double s = 0.0;
            for (int j = 0; j < n; ++j) s += ms(i, j) * v[j];
            mv[static_cast<size_t>(i)] = s / d[static_cast<size_t>(i)];
        }
        for (int i = 0; i < n; ++i) {
            for (int j = 0; j < n; ++j) out(i, j) -= removed * mv[static_cast<size_t>(i)] * mv[static_cast<size_t>(j)];
        }
    }
    return out;
}

void NormalEquationsBuilder::fillColumns(BasisConvolver const& bases, FitPixels const& pixels, bool background) {
    goodWidth_ = bases.goodWidth(pixels.stamp.width);
    goodHeight_ = bases.goodHeight(pixels.stamp.height);
    if (goodWidth_ < 1 || goodHeight_ < 1) throw ShapeError("kernel fit: the stamp is smaller than the kernel");
    rowLength_ = bases.rowLength(pixels.stamp.width);
    stride_ = static_cast<std::ptrdiff_t>(rowLength_) * goodHeight_;
    if (static_cast<std::ptrdiff_t>(pixels.weight.size()) != stride_ ||
        static_cast<std::ptrdiff_t>(pixels.y.size()) != stride_) {
        throw ShapeError("kernel fit: weights and data do not have the layout of the basis columns");
    }
    const int p = bases.nBases() + (background ? 1 : 0);
    columns_.resize(static_cast<size_t>(stride_) * static_cast<size_t>(p));
    weighted_.resize(columns_.size());
    bases.convolve(pixels.stamp, columns_.data(), stride_, scratch_);
    padVariance(bases, pixels);
    if (background) std::fill_n(columns_.data() + stride_ * (p - 1), stride_, 1.0);
}

DenseMatrix NormalEquationsBuilder::gram(double const* weight, int p) {
    DenseMatrix out(p, p);
    const int n = static_cast<int>(stride_);
    stamp_loops::weightColumns(columns_.data(), stride_, weight, weighted_.data(), n, p);
    stamp_loops::gramUpper(columns_.data(), weighted_.data(), stride_, n, p, out.data());
    out.mirrorUpper();
    return out;
}

std::ptrdiff_t NormalEquationsBuilder::noiseStride(BasisConvolver const& bases) const {
    return simd::padded(simd::padded(bases.width()) + goodWidth_ - 1);
}

// The template's variance with room behind each row for whole vectors.
void NormalEquationsBuilder::padVariance(BasisConvolver const& bases, FitPixels const& pixels) {
    if (pixels.templateVariance.empty()) return;
    const std::ptrdiff_t stride = noiseStride(bases);
    const int width = pixels.stamp.width, height = pixels.stamp.height;
    padded_.assign(static_cast<size_t>(stride * height), 0.0);
    for (int y = 0; y < height; ++y) {
        std::copy_n(&pixels.templateVariance[static_cast<size_t>(y) * static_cast<size_t>(width)], width,
                    &padded_[static_cast<size_t>(y * stride)]);
    }
}

// sum_u B_i(u) B_j(u) V(u) with V(u) = sum_x w(x) v(x+u): first V, the size of a kernel, then a weighted Gram matrix
// of the basis images.
DenseMatrix NormalEquationsBuilder::noiseMatrix(BasisConvolver const& bases, double const* weight, int p) {
    const int kw = bases.width(), kh = bases.height(), nb = bases.nBases();
    const int length = simd::padded(kw);
    // The correlation's "kernel" is the weight image: its footprint of goodWidth x goodHeight slides kw x kh times.
    const std::ptrdiff_t inStride = noiseStride(bases);
    shared_.resize(static_cast<size_t>(length * kh));
    stamp_loops::correlate(padded_.data(), inStride, weight, rowLength_, goodWidth_, goodHeight_, shared_.data(),
                           length, kw, kh);
    const int n = static_cast<int>(bases.pixelStride());
    flat_.assign(static_cast<size_t>(n), 0.0);
    for (int y = 0; y < kh; ++y) {
        std::copy_n(&shared_[static_cast<size_t>(y * length)], kw, &flat_[static_cast<size_t>(y * kw)]);
    }
    DenseMatrix part(nb, nb), out(p, p);
    if (bases.isDeltaFunctionBasis()) {  // no two delta functions overlap
        for (int i = 0; i < nb; ++i) {
            for (int k = 0; k < kw * kh; ++k) part(i, i) += bases.pixels(i)[k] * flat_[static_cast<size_t>(k)];
        }
    } else {
        basisWeighted_.resize(static_cast<size_t>(n) * static_cast<size_t>(nb));
        stamp_loops::weightColumns(bases.pixels(0), n, flat_.data(), basisWeighted_.data(), n, nb);
        stamp_loops::gramUpper(bases.pixels(0), basisWeighted_.data(), n, n, nb, part.data());
    }
    part.mirrorUpper();
    for (int i = 0; i < nb; ++i) std::copy_n(part.row(i), nb, out.row(i));
    return out;
}

NormalEquations NormalEquationsBuilder::build(BasisConvolver const& bases, FitPixels const& pixels, bool background) {
    fillColumns(bases, pixels, background);
    const int p = bases.nBases() + (background ? 1 : 0), n = static_cast<int>(stride_);
    NormalEquations out;
    out.m = gram(pixels.weight.data(), p);
    out.b.resize(static_cast<size_t>(p));
    stamp_loops::dotColumns(weighted_.data(), stride_, pixels.y.data(), n, p, out.b.data());
    for (int k = 0; k < n; ++k) {
        const double y = pixels.y[static_cast<size_t>(k)];
        out.yy += pixels.weight[static_cast<size_t>(k)] * y * y;
    }
    out.nPixels = pixels.nPixels;
    if (!pixels.templateVariance.empty()) out.noise = noiseMatrix(bases, pixels.weight.data(), p);
    if (!pixels.variance.empty()) {
        momentWeight_.resize(static_cast<size_t>(n));
        for (size_t k = 0; k < momentWeight_.size(); ++k) {
            momentWeight_[k] = pixels.weight[k] * pixels.weight[k] * pixels.variance[k];
        }
        out.scatter = gram(momentWeight_.data(), p);
    }
    return out;
}

StampMoments NormalEquationsBuilder::buildMoments(BasisConvolver const& bases, FitPixels const& pixels,
                                                  bool background, double xCenter, double yCenter, int kernelDegree,
                                                  int backgroundDegree) {
    fillColumns(bases, pixels, background);
    const int nb = bases.nBases(), p = nb + (background ? 1 : 0), n = static_cast<int>(stride_);
    StampMoments out;
    out.xCenter = xCenter;
    out.yCenter = yCenter;
    out.scale = std::max(1.0, 0.5 * goodWidth_);
    out.kernelDegree = kernelDegree;
    out.backgroundDegree = background ? backgroundDegree : 0;
    out.nPixels = pixels.nPixels;
    momentWeight_.resize(static_cast<size_t>(n));
    for (PolynomialTerm const& term : polynomialTerms(std::max(kernelDegree, out.backgroundDegree))) {
        for (int y = 0; y < goodHeight_; ++y) {
            const double t = std::pow((pixels.yFirst + y - yCenter) / out.scale, term.b);
            for (int x = 0; x < rowLength_; ++x) {
                const size_t k = static_cast<size_t>(y) * static_cast<size_t>(rowLength_) + static_cast<size_t>(x);
                const double s = (pixels.xFirst + x - xCenter) / out.scale;
                double power = t;
                for (int a = 0; a < term.a; ++a) power *= s;
                momentWeight_[k] = pixels.weight[k] * power;
            }
        }
        const bool complete = term.a + term.b <= kernelDegree;
        DenseMatrix m(p, p);
        std::vector<double> b(static_cast<size_t>(p));
        if (complete) {
            m = gram(momentWeight_.data(), p);
        } else {
            stamp_loops::weightColumns(columns_.data(), stride_, momentWeight_.data(), weighted_.data(), n, p);
            std::vector<double> last(static_cast<size_t>(p));
            stamp_loops::dotColumns(weighted_.data(), stride_, columns_.data() + stride_ * nb, n, p, last.data());
            for (int i = 0; i < p; ++i) m(i, nb) = m(nb, i) = last[static_cast<size_t>(i)];
        }
        stamp_loops::dotColumns(weighted_.data(), stride_, pixels.y.data(), n, p, b.data());
        if (complete && !pixels.templateVariance.empty()) {
            out.noise.push_back(noiseMatrix(bases, momentWeight_.data(), p));
        }
        out.m.push_back(std::move(m));
        out.b.push_back(std::move(b));
    }
    for (int k = 0; k < n; ++k) {
        const double y = pixels.y[static_cast<size_t>(k)];
        out.yy += pixels.weight[static_cast<size_t>(k)] * y * y;
    }
    return out;
}

std::vector<double> NormalEquationsBuilder::solveByQr(BasisConvolver const& bases, FitPixels const& pixels,
                                                      bool background) {
    fillColumns(bases, pixels, background);
    const int p = bases.nBases() + (background ? 1 : 0), n = static_cast<int>(stride_);
    std::vector<double> root(pixels.weight), y(pixels.y);
    for (size_t k = 0; k < root.size(); ++k) {
        root[k] = std::sqrt(std::max(root[k], 0.0));
        y[k] *= root[k];
    }
    stamp_loops::weightColumns(columns_.data(), stride_, root.data(), weighted_.data(), n, p);
    return leastSquaresQr(weighted_.data(), stride_, n, p, y.data());
}

}  // namespace stillsky
