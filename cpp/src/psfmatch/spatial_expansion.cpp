#include "spatial_expansion.hpp"

#include <algorithm>

#include "stillsky/core/config.hpp"

namespace stillsky {
namespace {

using std::size_t;

// Blocks of N terms: block[j][k] += value[j] * c[k].
template <int N>
STILLSKY_INLINE void addBlocks(double const* STILLSKY_RESTRICT value, double const* STILLSKY_RESTRICT c, int nBlocks,
                               double* STILLSKY_RESTRICT to) {
    for (int j = 0; j < nBlocks; ++j) {
        for (int k = 0; k < N; ++k) to[j * N + k] += value[j] * c[k];
    }
}

STILLSKY_SIMD
void addEqualBlocks(double const* value, double const* c, int n, int nBlocks, double* to) {
    switch (n) {
        case 1:
            return addBlocks<1>(value, c, nBlocks, to);
        case 3:
            return addBlocks<3>(value, c, nBlocks, to);
        case 6:
            return addBlocks<6>(value, c, nBlocks, to);
        case 10:
            return addBlocks<10>(value, c, nBlocks, to);
        default:
            for (int j = 0; j < nBlocks; ++j) {
                for (int k = 0; k < n; ++k) to[j * n + k] += value[j] * c[k];
            }
    }
}

// Coefficients in powers of t of the factors f_0..f_order of a variable u = origin + step * t, for Chebyshev
// polynomials (u already scaled) or powers: row d holds the coefficients of f_d.
DenseMatrix factorExpansion(int order, double origin, double step, bool chebyshev) {
    DenseMatrix f(order + 1, order + 1);
    f(0, 0) = 1.0;
    for (int d = 1; d <= order; ++d) {
        const double factor = chebyshev && d > 1 ? 2.0 : 1.0;
        for (int k = 0; k <= d; ++k) {
            double c = factor * origin * f(d - 1, k);
            if (k > 0) c += factor * step * f(d - 1, k - 1);
            if (chebyshev && d > 1) c -= f(d - 2, k);
            f(d, k) = c;
        }
    }
    return f;
}

// L[q][m]: coefficient of monomial q in term m, both in the order of polynomial.hpp.
DenseMatrix termExpansion(int order, DenseMatrix const& fx, DenseMatrix const& fy) {
    const std::vector<PolynomialTerm> terms = polynomialTerms(order);
    const int n = static_cast<int>(terms.size());
    DenseMatrix out(n, n);
    for (int m = 0; m < n; ++m) {
        PolynomialTerm const& t = terms[static_cast<size_t>(m)];
        for (int a = 0; a <= t.a; ++a) {
            for (int b = 0; b <= t.b; ++b) out(polynomialIndex(a, b), m) += fx(t.a, a) * fy(t.b, b);
        }
    }
    return out;
}

}  // namespace

SpatialExpansion::SpatialExpansion(std::vector<double> const& terms)
        : nTerms_(static_cast<int>(terms.size())), nProducts_(1), single_(terms) {
    for (double p : terms) {
        for (double q : terms) products_.push_back(p * q);
    }
}

SpatialExpansion::SpatialExpansion(BasePolynomialFunction2 const& model, double x, double y, double scale,
                                   int degree) {
    const int order = model.order();
    degree = std::min(degree, order);
    DenseMatrix fx, fy;
    if (auto chebyshev = dynamic_cast<Chebyshev1Function2 const*>(&model)) {
        Box2D const& box = chebyshev->box();
        const double sx = 2.0 / box.width(), sy = 2.0 / box.height();
        fx = factorExpansion(order, (x - box.center().x) * sx, scale * sx, true);
        fy = factorExpansion(order, (y - box.center().y) * sy, scale * sy, true);
    } else {
        fx = factorExpansion(order, x, scale, false);
        fy = factorExpansion(order, y, scale, false);
    }
    DenseMatrix l = termExpansion(order, fx, fy);
    nTerms_ = l.rows();
    const int nKept = polynomialSize(degree);  // monomials are ordered by degree
    std::fill(l.row(0) + nKept * nTerms_, l.row(0) + nTerms_ * nTerms_, 0.0);
    nProducts_ = polynomialSize(2 * degree);
    single_.assign(l.data(), l.data() + nTerms_ * nTerms_);
    products_.assign(static_cast<size_t>(nProducts_) * static_cast<size_t>(nTerms_ * nTerms_), 0.0);
    const std::vector<PolynomialTerm> terms = polynomialTerms(order);
    for (int p = 0; p < nKept; ++p) {
        for (int q = 0; q < nKept; ++q) {
            PolynomialTerm const &a = terms[static_cast<size_t>(p)], &b = terms[static_cast<size_t>(q)];
            double* to = &products_[static_cast<size_t>(polynomialIndex(a.a + b.a, a.b + b.b)) * static_cast<size_t>(nTerms_ * nTerms_)];
            for (int m = 0; m < nTerms_; ++m) {
                for (int k = 0; k < nTerms_; ++k) to[m * nTerms_ + k] += l(p, m) * l(q, k);
            }
        }
    }
}

void SpatialExpansion::addRow(SpatialLayout const& layout, int i, std::vector<DenseMatrix const*> const& moments,
                              DenseMatrix& target) const {
    const int rows = layout.nTermsOf(i), row0 = layout.offsets[static_cast<size_t>(i)];
    const int nq = std::min(nProducts_, static_cast<int>(moments.size()));
    for (int q = 0; q < nq; ++q) {
        double const* value = moments[static_cast<size_t>(q)]->row(i);
        double const* product = &products_[static_cast<size_t>(q) * static_cast<size_t>(nTerms_ * nTerms_)];
        for (int m = 0; m < rows; ++m) {
            double* to = target.row(row0 + m);
            double const* c = product + m * nTerms_;
            // Columns of equal order stand side by side: runs of equal blocks.
            for (int j = i; j < layout.nColumns();) {
                int last = j + 1;
                while (last < layout.nColumns() && layout.orders[static_cast<size_t>(last)] == layout.orders[static_cast<size_t>(j)]) ++last;
                addEqualBlocks(value + j, c, layout.nTermsOf(j), last - j, to + layout.offsets[static_cast<size_t>(j)]);
                j = last;
            }
        }
    }
}

void SpatialExpansion::addRight(SpatialLayout const& layout, int i,
                                std::vector<std::vector<double> const*> const& moments,
                                std::vector<double>& target) const {
    const int rows = layout.nTermsOf(i), row0 = layout.offsets[static_cast<size_t>(i)];
    const int nq = nProducts_ == 1 ? 1 : nTerms_;
    for (int q = 0; q < std::min(nq, static_cast<int>(moments.size())); ++q) {
        const double value = (*moments[static_cast<size_t>(q)])[static_cast<size_t>(i)];
        for (int m = 0; m < rows; ++m) target[static_cast<size_t>(row0 + m)] += value * single_[static_cast<size_t>(q * nTerms_ + m)];
    }
}

std::vector<double> chebyshevToPowers(std::vector<double> const& coefficients, int order, Box2D const& box) {
    const double sx = 2.0 / box.width(), sy = 2.0 / box.height();
    const DenseMatrix l = termExpansion(order, factorExpansion(order, -box.center().x * sx, sx, true),
                                        factorExpansion(order, -box.center().y * sy, sy, true));
    std::vector<double> out(coefficients.size(), 0.0);
    for (int q = 0; q < l.rows(); ++q) {
        for (int m = 0; m < l.rows(); ++m) out[static_cast<size_t>(q)] += l(q, m) * coefficients[static_cast<size_t>(m)];
    }
    return out;
}

}  // namespace stillsky
