#include "stillsky/math/solve.hpp"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ConstMap = Eigen::Map<const RowMatrix>;

constexpr double kEpsilon = 2.2e-16;

ConstMap mapOf(DenseMatrix const& m) { return ConstMap(m.data(), m.rows(), m.cols()); }

void requireSquare(DenseMatrix const& m, const char* what) {
    if (m.rows() != m.cols()) {
        throw ShapeError(std::string(what) + ": wanted a square matrix, got " + std::to_string(m.rows()) + "x" +
                         std::to_string(m.cols()));
    }
}

void requireFinite(DenseMatrix const& m, const char* what) {
    const std::size_t n = static_cast<std::size_t>(m.rows()) * static_cast<std::size_t>(m.cols());
    for (std::size_t i = 0; i < n; ++i) {
        if (!std::isfinite(m.data()[i])) {
            throw NumericalError(std::string(what) + ": matrix element " + std::to_string(i) + " is not finite");
        }
    }
}

}  // namespace

struct SymmetricSolver::Impl {
    int n = 0;
    std::vector<int> kept;         // unknowns that are not fixed at 0
    Eigen::VectorXd scale;         // D of the kept ones
    Eigen::MatrixXd scaled;        // D M D of the kept ones
    Eigen::LLT<Eigen::MatrixXd> llt;
    Eigen::LDLT<Eigen::MatrixXd> ldlt;
    Eigen::MatrixXd vectors;           // of the eigenvalues kept
    Eigen::VectorXd inverseValues;
    SolvedBy solvedBy = SolvedBy::NONE;
    int nDropped = 0;
    double rcond = 0.0;

    void scaleMatrix(DenseMatrix const& m) {
        n = m.rows();
        for (int i = 0; i < n; ++i) {
            if (m(i, i) > 0.0) kept.push_back(i);
        }
        const int k = static_cast<int>(kept.size());
        scale.resize(k);
        for (int i = 0; i < k; ++i) scale[i] = 1.0 / std::sqrt(m(kept[i], kept[i]));
        scaled.resize(k, k);
        for (int j = 0; j < k; ++j) {
            for (int i = 0; i < k; ++i) scaled(i, j) = scale[i] * m(kept[i], kept[j]) * scale[j];
        }
    }

    bool tryLlt() {
        llt.compute(scaled);
        if (llt.info() != Eigen::Success) return false;
        rcond = llt.rcond();
        if (!(rcond > 1e-13)) return false;
        solvedBy = SolvedBy::CHOLESKY_LLT;
        return true;
    }

    // Eigen reports success and a good condition for a singular LDLT: only the pivots themselves tell.
    bool tryLdlt() {
        ldlt.compute(scaled);
        if (ldlt.info() != Eigen::Success) return false;
        const Eigen::VectorXd pivots = ldlt.vectorD();
        const double smallest = pivots.minCoeff(), largest = pivots.maxCoeff();
        if (!(smallest > 0.0) || !(smallest > static_cast<double>(n) * kEpsilon * largest)) return false;
        rcond = ldlt.rcond();
        solvedBy = SolvedBy::CHOLESKY_LDLT;
        return true;
    }

    void useEigenvectors() {
        Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(scaled);
        if (eigen.info() != Eigen::Success) {
            throw NumericalError("SymmetricSolver: the eigen-decomposition did not converge");
        }
        const Eigen::VectorXd& values = eigen.eigenvalues();
        const int k = static_cast<int>(values.size());
        const double largest = k > 0 ? values[k - 1] : 0.0;
        const double cut = std::max(static_cast<double>(n) * kEpsilon, 1e-14) * largest;
        int first = 0;
        while (first < k && !(values[first] >= cut && values[first] > 0.0)) ++first;
        nDropped = first;
        vectors = eigen.eigenvectors().rightCols(k - first);
        inverseValues = values.tail(k - first).cwiseInverse();
        rcond = nDropped > 0 || k == 0 ? 0.0 : values[0] / largest;
        solvedBy = SolvedBy::EIGENVECTOR;
    }

    Eigen::VectorXd solveScaled(Eigen::VectorXd const& b) const {
        if (solvedBy == SolvedBy::CHOLESKY_LLT) return llt.solve(b);
        if (solvedBy == SolvedBy::CHOLESKY_LDLT) return ldlt.solve(b);
        return vectors * inverseValues.cwiseProduct(vectors.transpose() * b);
    }
};

SymmetricSolver::SymmetricSolver(DenseMatrix const& matrix) : impl_(new Impl) {
    requireSquare(matrix, "SymmetricSolver");
    requireFinite(matrix, "SymmetricSolver");
    impl_->scaleMatrix(matrix);
    if (impl_->kept.empty()) {
        impl_->solvedBy = SolvedBy::EIGENVECTOR;
        return;
    }
    if (!impl_->tryLlt() && !impl_->tryLdlt()) impl_->useEigenvectors();
}

SymmetricSolver::~SymmetricSolver() = default;
SymmetricSolver::SymmetricSolver(SymmetricSolver&&) noexcept = default;
SymmetricSolver& SymmetricSolver::operator=(SymmetricSolver&&) noexcept = default;

std::vector<double> SymmetricSolver::solve(std::vector<double> const& b) const {
    Impl const& s = *impl_;
    if (static_cast<int>(b.size()) != s.n) {
        throw ShapeError("SymmetricSolver::solve: wanted " + std::to_string(s.n) + " right-hand values, got " +
                         std::to_string(b.size()));
    }
    const int k = static_cast<int>(s.kept.size());
    Eigen::VectorXd rhs(k);
    for (int i = 0; i < k; ++i) {
        rhs[i] = b[static_cast<std::size_t>(s.kept[i])] * s.scale[i];
        if (!std::isfinite(rhs[i])) throw NumericalError("SymmetricSolver::solve: a right-hand value is not finite");
    }
    std::vector<double> x(b.size(), 0.0);
    if (k == 0) return x;
    Eigen::VectorXd z = s.solveScaled(rhs);
    if (s.nDropped == 0) z += s.solveScaled(rhs - s.scaled * z);
    for (int i = 0; i < k; ++i) x[static_cast<std::size_t>(s.kept[i])] = z[i] * s.scale[i];
    return x;
}

DenseMatrix SymmetricSolver::inverse() const {
    Impl const& s = *impl_;
    DenseMatrix out(s.n, s.n);
    const int k = static_cast<int>(s.kept.size());
    if (k == 0) return out;
    Eigen::MatrixXd inv;
    if (s.solvedBy == SolvedBy::CHOLESKY_LLT) {
        inv = s.llt.solve(Eigen::MatrixXd::Identity(k, k));
    } else if (s.solvedBy == SolvedBy::CHOLESKY_LDLT) {
        inv = s.ldlt.solve(Eigen::MatrixXd::Identity(k, k));
    } else {
        inv = s.vectors * s.inverseValues.asDiagonal() * s.vectors.transpose();
    }
    for (int i = 0; i < k; ++i) {
        for (int j = 0; j < k; ++j) {
            out(s.kept[i], s.kept[j]) = 0.5 * (inv(i, j) + inv(j, i)) * s.scale[i] * s.scale[j];
        }
    }
    return out;
}

SolvedBy SymmetricSolver::solvedBy() const { return impl_->solvedBy; }
int SymmetricSolver::nDropped() const { return impl_->nDropped; }
int SymmetricSolver::nFixed() const { return impl_->n - static_cast<int>(impl_->kept.size()); }
double SymmetricSolver::reciprocalCondition() const { return impl_->rcond; }

std::vector<double> leastSquaresQr(double const* columns, std::ptrdiff_t stride, int n, int p, double const* y) {
    if (n < p) {
        throw ShapeError("leastSquaresQr: wanted at least as many rows as unknowns, got " + std::to_string(n) +
                         " rows for " + std::to_string(p));
    }
    Eigen::Map<const Eigen::MatrixXd, 0, Eigen::OuterStride<>> c(columns, n, p, Eigen::OuterStride<>(stride));
    // Columns of equal norm: the basis functions differ by orders of magnitude.
    Eigen::VectorXd norm = c.colwise().norm();
    for (int j = 0; j < p; ++j) {
        if (!(norm[j] > 0.0)) norm[j] = 1.0;
    }
    const Eigen::MatrixXd scaled = c * norm.cwiseInverse().asDiagonal();
    Eigen::ColPivHouseholderQR<Eigen::MatrixXd> qr(scaled);
    const Eigen::VectorXd x = qr.solve(Eigen::Map<const Eigen::VectorXd>(y, n)).cwiseQuotient(norm);
    return std::vector<double>(x.data(), x.data() + p);
}

double conditionNumber(DenseMatrix const& matrix, ConditionNumberType type, bool signedRatio) {
    requireSquare(matrix, "conditionNumber");
    if (matrix.rows() == 0) return 1.0;
    if (!mapOf(matrix).allFinite()) return std::numeric_limits<double>::quiet_NaN();
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(Eigen::MatrixXd(mapOf(matrix)), Eigen::EigenvaluesOnly);
    const Eigen::VectorXd& values = eigen.eigenvalues();
    if (type == ConditionNumberType::EIGENVALUE && signedRatio) return values.maxCoeff() / values.minCoeff();
    // The singular values of a symmetric matrix are the absolute eigenvalues.
    return values.cwiseAbs().maxCoeff() / values.cwiseAbs().minCoeff();
}

EigenDecomposition eigenSymmetric(DenseMatrix const& matrix) {
    requireSquare(matrix, "eigenSymmetric");
    requireFinite(matrix, "eigenSymmetric");
    const int n = matrix.rows();
    EigenDecomposition out{std::vector<double>(static_cast<std::size_t>(n)), DenseMatrix(n, n)};
    if (n == 0) return out;
    Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen{Eigen::MatrixXd(mapOf(matrix))};
    if (eigen.info() != Eigen::Success) throw NumericalError("eigenSymmetric: no convergence");
    for (int i = 0; i < n; ++i) {
        out.values[static_cast<std::size_t>(i)] = eigen.eigenvalues()[n - 1 - i];
        for (int j = 0; j < n; ++j) out.vectors(i, j) = eigen.eigenvectors()(j, n - 1 - i);
    }
    return out;
}

DenseMatrix pseudoInverse(DenseMatrix const& matrix, double maxCondition) {
    const EigenDecomposition eigen = eigenSymmetric(matrix);
    const int n = matrix.rows();
    DenseMatrix out(n, n);
    for (int k = 0; k < n; ++k) {
        const double e = eigen.values[static_cast<std::size_t>(k)];
        if (!(e > 0.0) || eigen.values[0] / e > maxCondition) break;
        double const* v = eigen.vectors.row(k);
        for (int i = 0; i < n; ++i) {
            for (int j = 0; j < n; ++j) out(i, j) += v[i] * v[j] / e;
        }
    }
    return out;
}

EigenDecomposition eigenGeneralized(DenseMatrix const& a, DenseMatrix const& b) {
    requireSquare(a, "eigenGeneralized");
    requireSquare(b, "eigenGeneralized");
    if (a.rows() != b.rows()) throw ShapeError("eigenGeneralized: the two matrices differ in size");
    requireFinite(a, "eigenGeneralized");
    requireFinite(b, "eigenGeneralized");
    const int n = a.rows();
    Eigen::GeneralizedSelfAdjointEigenSolver<Eigen::MatrixXd> eigen{Eigen::MatrixXd(mapOf(a)),
                                                                    Eigen::MatrixXd(mapOf(b))};
    if (eigen.info() != Eigen::Success) {
        throw NumericalError("eigenGeneralized: the second matrix is not positive definite");
    }
    EigenDecomposition out{std::vector<double>(static_cast<std::size_t>(n)), DenseMatrix(n, n)};
    for (int i = 0; i < n; ++i) {
        out.values[static_cast<std::size_t>(i)] = eigen.eigenvalues()[n - 1 - i];
        for (int j = 0; j < n; ++j) out.vectors(i, j) = eigen.eigenvectors()(j, n - 1 - i);
    }
    return out;
}

bool isPositiveDefinite(DenseMatrix const& matrix) {
    requireSquare(matrix, "isPositiveDefinite");
    if (!mapOf(matrix).allFinite()) return false;
    return Eigen::LLT<Eigen::MatrixXd>(Eigen::MatrixXd(mapOf(matrix))).info() == Eigen::Success;
}

std::vector<double> solveGeneral(DenseMatrix const& a, std::vector<double> const& b) {
    requireSquare(a, "solveGeneral");
    const int n = a.rows();
    if (static_cast<int>(b.size()) != n) throw ShapeError("solveGeneral: right-hand side of another length");
    std::vector<double> x(b.size(), std::numeric_limits<double>::quiet_NaN());
    if (n == 0) return x;
    const Eigen::PartialPivLU<Eigen::MatrixXd> lu{Eigen::MatrixXd(mapOf(a))};
    if (!(lu.matrixLU().diagonal().cwiseAbs().minCoeff() > 0.0)) return x;
    Eigen::Map<Eigen::VectorXd>(x.data(), n) = lu.solve(Eigen::Map<const Eigen::VectorXd>(b.data(), n));
    return x;
}

}  // namespace stillsky
