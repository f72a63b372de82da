// How one stamp enters the spatial system: the products p_m p_m' of spatial terms, either as numbers at the stamp's
// position, or as polynomials in coordinates local to the stamp, whose moments the stamp provides.
#pragma once

#include <vector>

#include "stillsky/geom/box.hpp"
#include "stillsky/math/polynomial.hpp"
#include "stillsky/psfmatch/spatial_solution.hpp"

namespace stillsky {

class SpatialExpansion {
public:
    SpatialExpansion() = default;
    // Terms constant over the stamp: one "moment", of degree 0.
    explicit SpatialExpansion(std::vector<double> const& terms);
    // Terms expanded about (x, y) in powers of ((x' - x)/scale, (y' - y)/scale), up to a degree.
    SpatialExpansion(BasePolynomialFunction2 const& model, double x, double y, double scale, int degree);

    // target[block i, block j] += sum_q moments[q](i, j) C_q for all j >= i, C_q the coefficients of monomial q in
    // p_m p_m'. Missing high moments count as zero (they cannot occur in complete sets).
    void addRow(SpatialLayout const& layout, int i, std::vector<DenseMatrix const*> const& moments,
                DenseMatrix& target) const;
    // target[block i] += sum_q moments[q][i] L_q, L_q the coefficients of monomial q in p_m.
    void addRight(SpatialLayout const& layout, int i, std::vector<std::vector<double> const*> const& moments,
                  std::vector<double>& target) const;

private:
    int nTerms_ = 0;      // p_m
    int nProducts_ = 0;   // monomials of the products
    std::vector<double> single_;    // [q][m]
    std::vector<double> products_;  // [q][m][m']
};

inline std::vector<DenseMatrix const*> pointersTo(std::vector<DenseMatrix> const& list) {
    std::vector<DenseMatrix const*> out;
    for (auto const& m : list) out.push_back(&m);
    return out;
}
inline std::vector<std::vector<double> const*> pointersTo(std::vector<std::vector<double>> const& list) {
    std::vector<std::vector<double> const*> out;
    for (auto const& v : list) out.push_back(&v);
    return out;
}

// Coefficients of x^a y^b (raw coordinates) of a polynomial given by Chebyshev coefficients over a box.
std::vector<double> chebyshevToPowers(std::vector<double> const& coefficients, int order, Box2D const& box);

}  // namespace stillsky
