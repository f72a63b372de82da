// RegularizedKernelSolution: the choice of lambda.
#include <algorithm>
#include <cmath>
#include <limits>

#include "stillsky/core/errors.hpp"
#include "stillsky/psfmatch/kernel_solution.hpp"

namespace stillsky {
namespace {

using std::size_t;

double trace(DenseMatrix const& m) {
    double sum = 0.0;
    for (int i = 0; i < m.rows(); ++i) sum += m(i, i);
    return sum;
}

DenseMatrix sumOf(DenseMatrix const& m, double lambda, DenseMatrix const& h) {
    DenseMatrix out = m;
    for (int i = 0; i < m.rows(); ++i) {
        for (int j = 0; j < m.cols(); ++j) out(i, j) += lambda * h(i, j);
    }
    return out;
}

std::vector<double> times(DenseMatrix const& m, std::vector<double> const& x) {
    std::vector<double> out(static_cast<size_t>(m.rows()), 0.0);
    for (int i = 0; i < m.rows(); ++i) {
        for (int j = 0; j < m.cols(); ++j) out[static_cast<size_t>(i)] += m(i, j) * x[static_cast<size_t>(j)];
    }
    return out;
}

double dot(std::vector<double> const& a, std::vector<double> const& b) {
    double sum = 0.0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

// The risk as a function of lambda, R = a^T P a + 2 [trace(P (M + lambda H)^-1) - a^T M+ b], a = (M + lambda H)^-1 b,
// P the projector on the row space of the design matrix: an unbiased estimate, up to a constant, of the error of the
// regularised solution for weights that are inverse variances (Stein's method; Becker et al. 2012, section 2.4.2).
// With M of full rank the pencil H v = h M v, V^T M V = 1, is factored once and each lambda costs O(P^2).
class Risk {
public:
    Risk(DenseMatrix const& m, DenseMatrix const& h, std::vector<double> const& b, double maxCondition)
            : m_(m), h_(h), b_(b), target_(times(pseudoInverse(m, maxCondition), b)) {
        if (isPositiveDefinite(m) && SymmetricSolver(m).solvedBy() == SolvedBy::CHOLESKY_LLT) {
            pencil_ = eigenGeneralized(h, m);
            z_ = times(pencil_.vectors, b);
        } else {
            projector_ = projector(m);
        }
    }

    double operator()(double lambda) const { return projector_.empty() ? fast(lambda) : general(lambda); }

private:
    static DenseMatrix projector(DenseMatrix const& m) {
        const EigenDecomposition eigen = eigenSymmetric(m);
        const int n = m.rows();
        DenseMatrix out(n, n);
        for (int k = 0; k < n; ++k) {
            if (!(eigen.values[static_cast<size_t>(k)] > n * 2.2e-16 * eigen.values[0])) break;
            double const* v = eigen.vectors.row(k);
            for (int i = 0; i < n; ++i) {
                for (int j = 0; j < n; ++j) out(i, j) += v[i] * v[j];
            }
        }
        return out;
    }

    double fast(double lambda) const {
        const int n = m_.rows();
        std::vector<double> a(static_cast<size_t>(n), 0.0);
        double traceInverse = 0.0;
        for (int k = 0; k < n; ++k) {
            const double shrink = 1.0 / (1.0 + lambda * pencil_.values[static_cast<size_t>(k)]);
            double const* v = pencil_.vectors.row(k);
            double norm = 0.0;
            for (int i = 0; i < n; ++i) {
                a[static_cast<size_t>(i)] += shrink * z_[static_cast<size_t>(k)] * v[i];
                norm += v[i] * v[i];
            }
            traceInverse += shrink * norm;
        }
        return dot(a, a) + 2.0 * (traceInverse - dot(a, target_));
    }

    double general(double lambda) const {
        const SymmetricSolver solver(sumOf(m_, lambda, h_));
        const std::vector<double> a = solver.solve(b_);
        const DenseMatrix inverse = solver.inverse();
        double traceInverse = 0.0;
        for (int i = 0; i < m_.rows(); ++i) {
            for (int j = 0; j < m_.rows(); ++j) traceInverse += projector_(i, j) * inverse(j, i);
        }
        return dot(a, times(projector_, a)) + 2.0 * (traceInverse - dot(a, target_));
    }

    DenseMatrix const& m_;
    DenseMatrix const& h_;
    std::vector<double> const& b_;
    std::vector<double> target_, z_;
    EigenDecomposition pencil_;
    DenseMatrix projector_;
};

}  // namespace

RegularizedKernelSolution::RegularizedKernelSolution(std::shared_ptr<BasisConvolver const> bases,
                                                     bool fitForBackground, DenseMatrix h,
                                                     PsfMatchSettings const& settings)
        : StaticKernelSolution(std::move(bases), fitForBackground), h_(std::move(h)), settings_(settings) {
    const int n = bases_->nBases() + (fitForBackground ? 1 : 0);
    if (h_.rows() != n || h_.cols() != n) {
        throw ShapeError("RegularizedKernelSolution: wanted a penalty matrix of " + std::to_string(n) + "x" +
                         std::to_string(n) + ", got " + std::to_string(h_.rows()) + "x" + std::to_string(h_.cols()));
    }
    settings_.validate();
}

RegularizedKernelSolution::RegularizedKernelSolution(KernelList const& bases, bool fitForBackground, DenseMatrix h,
                                                     PsfMatchSettings const& settings)
        : RegularizedKernelSolution(std::make_shared<BasisConvolver>(bases), fitForBackground, std::move(h), settings) {}

std::vector<double> RegularizedKernelSolution::lambdaGrid() const {
    const int n = static_cast<int>(std::floor((settings_.lambdaMax - settings_.lambdaMin) / settings_.lambdaStep + 1e-9)) + 1;
    std::vector<double> grid;
    for (int i = 0; i < n; ++i) {
        const double l = settings_.lambdaMin + i * settings_.lambdaStep;
        grid.push_back(settings_.lambdaStepType == "log" ? std::pow(10.0, l) : l);
    }
    return grid;
}

double RegularizedKernelSolution::risk(double lambda, double maxCondition) const {
    const DenseMatrix m = KernelSolution::getM();
    return Risk(m, h_, b_, maxCondition)(lambda);
}

double RegularizedKernelSolution::estimateRisk(double maxCondition) {
    const DenseMatrix m = KernelSolution::getM();
    const Risk riskOf(m, h_, b_, maxCondition);
    const std::vector<double> grid = lambdaGrid();
    size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < grid.size(); ++i) {
        const double r = riskOf(grid[i]);
        if (r < least) {
            least = r;
            best = i;
        }
    }
    atGridEnd_ = best == 0 || best + 1 == grid.size();
    return grid[best];
}

double RegularizedKernelSolution::chooseLambda() {
    if (settings_.lambdaType == "absolute") return settings_.lambdaValue;
    if (settings_.lambdaType == "relative") return settings_.lambdaScaling * trace(m_) / trace(h_);
    if (settings_.lambdaType == "minimizeBiasedRisk") return estimateRisk(settings_.maxConditionNumber);
    return estimateRisk(std::numeric_limits<double>::infinity());
}

void RegularizedKernelSolution::solve() {
    if (m_.empty()) throw StillskyError("RegularizedKernelSolution::solve: build() has not been called");
    lambda_ = chooseLambda();
    const SymmetricSolver solver(sumOf(m_, lambda_, h_));
    setSolution(solver.solve(b_), solver.solvedBy(), solver.nDropped());
    pixels_.reset();
    stampPixels_.reset();
}

DenseMatrix RegularizedKernelSolution::getM(bool includeHmat) const {
    const DenseMatrix m = KernelSolution::getM();
    return includeHmat ? sumOf(m, lambda_, h_) : m;
}

}  // namespace stillsky
