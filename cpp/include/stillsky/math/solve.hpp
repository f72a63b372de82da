// Solving the normal equations of linear least squares: a ladder from fast to safe, with a report of what was needed.
// Matrices are symmetric and full (both triangles filled). No function here throws for a singular matrix: that is a
// result (nDropped, reciprocalCondition). NumericalError is thrown for non-finite input, ShapeError for sizes that do
// not fit.
#pragma once

#include <memory>
#include <vector>

#include "stillsky/math/matrix.hpp"

namespace stillsky {

// Which rung of the ladder gave the solution. LU is kept for its number in stored results; it is never used.
enum class SolvedBy { NONE = 0, CHOLESKY_LDLT = 1, CHOLESKY_LLT = 2, LU = 3, EIGENVECTOR = 4, QR = 5 };

enum class ConditionNumberType { EIGENVALUE = 0, SVD = 1 };

// Factorisation of a symmetric positive (semi-)definite matrix M, for any number of right-hand sides.
//
// With D = diag(1/sqrt(M_ii)) the ladder works on DMD, whose diagonal is 1; a row whose diagonal element is zero or
// negative is removed and its unknown fixed at 0.
//   1. LLT, accepted when its estimated reciprocal condition exceeds 1e-13;
//   2. LDLT, accepted when all pivots are positive and min/max pivot > n * 2.2e-16;
//   3. eigen-decomposition without the eigenvalues below max(n * 2.2e-16, 1e-14) of the largest: the solution of
//      least norm, so that two identical columns share their coefficient.
// Cost: n^3/3 multiply-adds for rungs 1 and 2, about 10 n^3 for rung 3.
class SymmetricSolver {
public:
    // ShapeError when not square; NumericalError when an element is not finite or the eigen-decomposition fails.
    explicit SymmetricSolver(DenseMatrix const& matrix);
    ~SymmetricSolver();
    SymmetricSolver(SymmetricSolver&&) noexcept;
    SymmetricSolver& operator=(SymmetricSolver&&) noexcept;

    // Solution of M x = b, with one step of iterative refinement when the factorisation is of full rank.
    // ShapeError for a wrong length, NumericalError for a non-finite b.
    std::vector<double> solve(std::vector<double> const& b) const;
    // (Pseudo-)inverse of M; rows and columns of fixed unknowns are 0.
    DenseMatrix inverse() const;

    SolvedBy solvedBy() const;
    int nDropped() const;  // eigenvalues left out by rung 3
    int nFixed() const;    // unknowns fixed at 0
    double reciprocalCondition() const;  // estimate for DMD; 0 when eigenvalues were dropped

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Solution of min |C x - y| by column-pivoting Householder QR: the condition number is the square root of that of the
// normal equations, hence the rung for single candidates that the ladder above finds ill-conditioned.
// `columns` holds p columns of n elements, column j at columns + j * stride; rows may be pre-multiplied by sqrt(weight).
// Cost 2 n p^2.
std::vector<double> leastSquaresQr(double const* columns, std::ptrdiff_t stride, int n, int p, double const* y);

// EIGENVALUE: max |eigenvalue| / min |eigenvalue|, or e_max/e_min with its sign when `signedRatio`;
// SVD: largest over smallest singular value. +inf for an exactly singular matrix, NaN for non-finite elements.
double conditionNumber(DenseMatrix const& matrix, ConditionNumberType type, bool signedRatio = true);

// Eigenvalues in decreasing order, and eigenvectors in the rows of `vectors` in the same order, each of unit norm.
struct EigenDecomposition {
    std::vector<double> values;
    DenseMatrix vectors;
};
EigenDecomposition eigenSymmetric(DenseMatrix const& matrix);

// Moore-Penrose inverse of a symmetric matrix without the eigenvalues for which e_max/e > maxCondition (all that are
// not positive are dropped as well).
DenseMatrix pseudoInverse(DenseMatrix const& matrix, double maxCondition);

// Eigen-decomposition of the pencil (A, B), B symmetric positive definite: A v = e B v, V^T B V = 1. Eigenvalues in
// decreasing order, eigenvectors in rows. NumericalError when B is not positive definite.
EigenDecomposition eigenGeneralized(DenseMatrix const& a, DenseMatrix const& b);

// True when the symmetric matrix has a Cholesky factorisation. Cost n^3/3.
bool isPositiveDefinite(DenseMatrix const& matrix);

// Solution of the general square system A x = b by partial-pivoting LU; NaN when A is singular.
std::vector<double> solveGeneral(DenseMatrix const& a, std::vector<double> const& b);

}  // namespace stillsky
