#include "stillsky/psfmatch/spatial_solution.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "spatial_expansion.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

using std::size_t;

// Of a spatial term within a stamp. A kernel changes by a few per cent over the image, so that its pixels are right
// to 1e-5 of the kernel at the very edge of the stamp, far better than any star tells.
constexpr double kNegligibleRemainder = 2e-4;

SpatialLayout makeLayout(int nBases, PsfMatchSettings const& settings) {
    SpatialLayout layout;
    layout.nBases = nBases;
    layout.background = settings.fitForBackground;
    layout.orders.assign(static_cast<size_t>(nBases), settings.spatialKernelOrder);
    if (settings.constantFirstTerm()) layout.orders[0] = settings.spatialPhotometricOrder;
    if (layout.background) layout.orders.push_back(settings.spatialBgOrder);
    layout.offsets.push_back(0);
    for (int order : layout.orders) layout.offsets.push_back(layout.offsets.back() + polynomialSize(order));
    return layout;
}

}  // namespace

int SpatialLayout::maxOrder() const { return *std::max_element(orders.begin(), orders.end()); }

int SpatialLayout::maxKernelOrder() const { return *std::max_element(orders.begin(), orders.begin() + nBases); }

SpatialKernelSolution::SpatialKernelSolution(KernelList const& bases, Box2I const& region,
                                             PsfMatchSettings const& settings)
        : SpatialKernelSolution(std::make_shared<BasisConvolver>(bases), region, settings) {}

SpatialKernelSolution::SpatialKernelSolution(std::shared_ptr<BasisConvolver const> bases, Box2I const& region,
                                             PsfMatchSettings const& settings)
        : KernelSolution(settings.fitForBackground),
          bases_(std::move(bases)),
          region_(region),
          polynomial_(settings.spatialModelType == "polynomial"),
          scaled_(!polynomial_ || settings.scaledPolynomials) {
    settings.validate();
    layout_ = makeLayout(bases_->nBases(), settings);
    if (scaled_) {
        model_ = std::make_unique<Chebyshev1Function2>(layout_.maxOrder(), Box2D(region));
    } else {
        model_ = std::make_unique<PolynomialFunction2>(layout_.maxOrder());
    }
}

SpatialKernelSolution::~SpatialKernelSolution() = default;

void SpatialKernelSolution::addConstraint(double x, double y, DenseMatrix const& q, std::vector<double> const& w) {
    auto equations = std::make_shared<NormalEquations>();
    equations->m = q;
    equations->b = w;
    addConstraint(x, y, std::move(equations));
}

void SpatialKernelSolution::addConstraint(double x, double y, std::shared_ptr<NormalEquations const> equations) {
    const int p = layout_.nColumns();
    if (equations->m.rows() != p || equations->m.cols() != p || static_cast<int>(equations->b.size()) != p) {
        throw ShapeError("SpatialKernelSolution::addConstraint: wanted equations for " + std::to_string(p) +
                         " coefficients, got " + std::to_string(equations->m.rows()));
    }
    Constraint c;
    c.x = x;
    c.y = y;
    c.equations = std::move(equations);
    constraints_.push_back(std::move(c));
    summed_ = false;
}

void SpatialKernelSolution::addConstraint(std::shared_ptr<StampMoments const> moments,
                                          std::shared_ptr<NormalEquations const> equations) {
    const int k = std::min(layout_.maxKernelOrder(), moments->expansionDegree);
    const int g = std::min(layout_.backgroundOrder(), moments->expansionDegree);
    const bool reaches = moments->kernelDegree >= 2 * k && (!layout_.background || moments->backgroundDegree >= g + std::max(k, g));
    if (!reaches || moments->m.empty() || moments->m[0].rows() != layout_.nColumns()) {
        throw ShapeError("SpatialKernelSolution::addConstraint: the moments do not fit the model");
    }
    Constraint c;
    c.x = moments->xCenter;
    c.y = moments->yCenter;
    c.moments = std::move(moments);
    c.equations = std::move(equations);
    constraints_.push_back(std::move(c));
    summed_ = false;
}

int SpatialKernelSolution::expansionDegree(int stampWidth, int stampHeight) const {
    const int order = layout_.maxOrder();
    if (!scaled_) return order;
    const double u = std::max(static_cast<double>(stampWidth - bases_->width() + 1) / region_.width(),
                              static_cast<double>(stampHeight - bases_->height() + 1) / region_.height());
    // Taylor remainder of T_n after degree d: at most u^(d+1)/(d+1)! times its derivative at 1, which is
    // prod_(j<=d) (n^2 - j^2)/(2j + 1).
    double remainder = 1.0;
    for (int d = 0; d < order; ++d) {
        remainder *= (order * order - d * d) / (2.0 * d + 1.0) * u / (d + 1.0);
        if (remainder < kNegligibleRemainder) return d;
    }
    return order;
}

std::vector<double> SpatialKernelSolution::terms(double x, double y) const { return model_->basisValues(x, y); }

// Every block row of the system sums all constraints by itself, so rows may run in parallel.
void SpatialKernelSolution::accumulate() const {
    if (summed_) return;
    const int n = layout_.nTerms();
    rawM_ = DenseMatrix(n, n);
    rawB_.assign(static_cast<size_t>(n), 0.0);
    bool noisy = false, scattered = !constraints_.empty();
    for (Constraint const& c : constraints_) {
        noisy = noisy || (c.moments ? !c.moments->noise.empty() : !c.equations->noise.empty());
        scattered = scattered && c.equations && !c.equations->scatter.empty();
    }
    noise_ = noisy ? DenseMatrix(n, n) : DenseMatrix();
    scatter_ = scattered ? DenseMatrix(n, n) : DenseMatrix();
    inverse_ = DenseMatrix();
    std::vector<SpatialExpansion> expansions(constraints_.size()), constant(scattered ? constraints_.size() : 0);
    parallelFor(static_cast<int>(constraints_.size()), [&](int k) {
        Constraint const& c = constraints_[static_cast<size_t>(k)];
        if (scattered) constant[static_cast<size_t>(k)] = SpatialExpansion(terms(c.x, c.y));
        if (c.moments) {
            expansions[static_cast<size_t>(k)] =
                    SpatialExpansion(*model_, c.moments->xCenter, c.moments->yCenter, c.moments->scale,
                                     c.moments->expansionDegree);
        } else {
            expansions[static_cast<size_t>(k)] = SpatialExpansion(terms(c.x, c.y));
        }
    });
    parallelFor(layout_.nColumns(), [&](int i) {
        for (size_t k = 0; k < constraints_.size(); ++k) {
            Constraint const& c = constraints_[k];
            SpatialExpansion const& e = expansions[k];
            if (scattered) constant[k].addRow(layout_, i, {&c.equations->scatter}, scatter_);
            if (!c.moments) {
                e.addRow(layout_, i, {&c.equations->m}, rawM_);
                if (!c.equations->noise.empty()) e.addRow(layout_, i, {&c.equations->noise}, noise_);
                e.addRight(layout_, i, {&c.equations->b}, rawB_);
            } else {
                e.addRow(layout_, i, pointersTo(c.moments->m), rawM_);
                if (!c.moments->noise.empty()) e.addRow(layout_, i, pointersTo(c.moments->noise), noise_);
                e.addRight(layout_, i, pointersTo(c.moments->b), rawB_);
            }
        }
    });
    rawM_.mirrorUpper();
    if (noisy) noise_.mirrorUpper();
    if (scattered) scatter_.mirrorUpper();
    summed_ = true;
}

DenseMatrix SpatialKernelSolution::getM() const {
    if (constraints_.empty()) throw StillskyError("SpatialKernelSolution: no constraint has been added");
    accumulate();
    return withoutNoise(rawM_, noise_);
}

void SpatialKernelSolution::solve() {
    DenseMatrix m = getM();  // sums the constraints, rawB_ too
    setSystem(std::move(m), rawB_);
    try {
        const SymmetricSolver solver(m_);
        inverse_ = solver.inverse();
        std::vector<double> a = solver.solve(b_);
        requireFinite(a);
        setSolution(std::move(a), solver.solvedBy(), solver.nDropped());
    } catch (NumericalError const& error) {
        char condition[32];
        std::snprintf(condition, sizeof condition, "%.3e", conditionNumber(m_, ConditionNumberType::EIGENVALUE));
        throw NumericalError(std::string("spatial kernel fit: ") + error.what() + " (condition number " + condition +
                             ")");
    }
}

// NumericalError naming the first coefficient that is not finite, and the function and the term that it belongs to.
void SpatialKernelSolution::requireFinite(std::vector<double> const& a) const {
    for (int i = 0; i < layout_.nColumns(); ++i) {
        for (int m = 0; m < layout_.nTermsOf(i); ++m) {
            const int k = layout_.offsets[static_cast<size_t>(i)] + m;
            if (std::isfinite(a[static_cast<size_t>(k)])) continue;
            const std::string what = i >= layout_.nBases ? "the background" : "basis function " + std::to_string(i);
            const std::string term = layout_.nTermsOf(i) > 1 ? ", spatial term " + std::to_string(m) : ", not varying";
            throw NumericalError("coefficient " + std::to_string(k) + " (" + what + term + ") is not finite");
        }
    }
}

// Parameters of a column's function, filled with zeros to the highest order of all, in the coordinates of the output.
std::vector<double> SpatialKernelSolution::outputParameters(int column) const {
    std::vector<double> out(static_cast<size_t>(polynomialSize(layout_.maxOrder())), 0.0);
    std::copy_n(getA().begin() + layout_.offsets[static_cast<size_t>(column)], layout_.nTermsOf(column), out.begin());
    if (polynomial_ && scaled_) return chebyshevToPowers(out, layout_.maxOrder(), Box2D(region_));
    return out;
}

Function2Ptr SpatialKernelSolution::makeFunction(std::vector<double> const& parameters) const {
    if (polynomial_) return std::make_shared<PolynomialFunction2>(parameters);
    return std::make_shared<Chebyshev1Function2>(parameters, Box2D(region_));
}

std::shared_ptr<LinearCombinationKernel> SpatialKernelSolution::getKernel() const {
    std::vector<double> const& a = getA();
    if (layout_.maxKernelOrder() == 0) {
        return std::make_shared<LinearCombinationKernel>(
                bases_->bases(), std::vector<double>(a.begin(), a.begin() + bases_->nBases()));
    }
    const size_t n = static_cast<size_t>(polynomialSize(layout_.maxKernelOrder()));
    std::vector<Function2Ptr> functions;
    for (int i = 0; i < bases_->nBases(); ++i) {
        std::vector<double> parameters = outputParameters(i);
        parameters.resize(n);  // terms are ordered by degree: the rest are the zeros above this column's order
        functions.push_back(makeFunction(parameters));
    }
    return std::make_shared<LinearCombinationKernel>(bases_->bases(), functions);
}

Function2Ptr SpatialKernelSolution::getBackground() const {
    getA();
    if (!layout_.background) return makeFunction({0.0});
    std::vector<double> parameters = outputParameters(bases_->nBases());
    parameters.resize(static_cast<size_t>(polynomialSize(layout_.backgroundOrder())));
    return makeFunction(parameters);
}

std::pair<std::shared_ptr<LinearCombinationKernel>, Function2Ptr> SpatialKernelSolution::getSolutionPair() const {
    return {getKernel(), getBackground()};
}

std::vector<double> SpatialKernelSolution::coefficientsAt(double x, double y) const {
    std::vector<double> const& a = getA();
    const std::vector<double> p = terms(x, y);
    std::vector<double> out(static_cast<size_t>(layout_.nColumns()), 0.0);
    for (int i = 0; i < layout_.nColumns(); ++i) {
        for (int m = 0; m < layout_.nTermsOf(i); ++m) {
            out[static_cast<size_t>(i)] +=
                    a[static_cast<size_t>(layout_.offsets[static_cast<size_t>(i)] + m)] * p[static_cast<size_t>(m)];
        }
    }
    return out;
}

Image<double> SpatialKernelSolution::makeKernelImage(Point2D position) const {
    Image<double> out(Box2I({-bases_->center().x, -bases_->center().y}, {bases_->width(), bases_->height()}));
    bases_->combine(coefficientsAt(position.x, position.y).data(), out.view().data);
    return out;
}

double SpatialKernelSolution::kernelSumAt(double x, double y) const {
    const std::vector<double> a = coefficientsAt(x, y);
    double sum = 0.0;
    for (int i = 0; i < bases_->nBases(); ++i) sum += a[static_cast<size_t>(i)] * bases_->sum(i);
    return sum;
}

double SpatialKernelSolution::getKsum() const { return kernelSumAt(region_.center().x, region_.center().y); }

DenseMatrix const& SpatialKernelSolution::inverse() const {
    getA();
    if (inverse_.empty()) inverse_ = SymmetricSolver(m_).inverse();
    return inverse_;
}

DenseMatrix SpatialKernelSolution::getCovariance() const {
    DenseMatrix const& inv = inverse();
    if (scatter_.empty()) return inv;
    const int n = inv.rows();
    DenseMatrix half(n, n), out(n, n);
    parallelFor(n, [&](int i) {
        for (int k = 0; k < n; ++k) {
            for (int j = 0; j < n; ++j) half(i, j) += inv(i, k) * scatter_(k, j);
        }
        for (int k = 0; k < n; ++k) {
            for (int j = 0; j < n; ++j) out(i, j) += half(i, k) * inv(k, j);
        }
    });
    return out;
}

double SpatialKernelSolution::kernelSumErrorAt(double x, double y) const {
    DenseMatrix const& inv = inverse();
    const int n = inv.rows();
    const std::vector<double> p = terms(x, y);
    std::vector<double> gradient(static_cast<size_t>(n), 0.0), z(static_cast<size_t>(n), 0.0);
    for (int i = 0; i < bases_->nBases(); ++i) {
        for (int m = 0; m < layout_.nTermsOf(i); ++m) {
            gradient[static_cast<size_t>(layout_.offsets[static_cast<size_t>(i)] + m)] =
                    bases_->sum(i) * p[static_cast<size_t>(m)];
        }
    }
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) z[static_cast<size_t>(i)] += inv(i, j) * gradient[static_cast<size_t>(j)];
    }
    double variance = 0.0;
    for (int i = 0; i < n; ++i) {
        if (scatter_.empty()) {
            variance += gradient[static_cast<size_t>(i)] * z[static_cast<size_t>(i)];
        } else {
            for (int j = 0; j < n; ++j) {
                variance += z[static_cast<size_t>(i)] * scatter_(i, j) * z[static_cast<size_t>(j)];
            }
        }
    }
    return std::sqrt(std::max(variance, 0.0));
}

std::vector<double> SpatialKernelSolution::leaveOneOut(double x, double y, NormalEquations const& equations) const {
    DenseMatrix const& inv = inverse();
    const int p = layout_.nColumns();
    const std::vector<double> t = terms(x, y);
    // S = D A^-1 D^T: block (i, j) of the inverse between the terms.
    DenseMatrix s(p, p);
    for (int i = 0; i < p; ++i) {
        for (int j = i; j < p; ++j) {
            double sum = 0.0;
            for (int m = 0; m < layout_.nTermsOf(i); ++m) {
                double const* row = inv.row(layout_.offsets[static_cast<size_t>(i)] + m) + layout_.offsets[static_cast<size_t>(j)];
                double part = 0.0;
                for (int k = 0; k < layout_.nTermsOf(j); ++k) part += row[k] * t[static_cast<size_t>(k)];
                sum += t[static_cast<size_t>(m)] * part;
            }
            s(i, j) = s(j, i) = sum;
        }
    }
    DenseMatrix q = equations.m;
    if (!equations.noise.empty() && !noise_.empty()) {
        for (int i = 0; i < p; ++i) {
            for (int j = 0; j < p; ++j) q(i, j) -= equations.noise(i, j);
        }
    }
    DenseMatrix left(p, p);
    std::vector<double> right = coefficientsAt(x, y);
    for (int i = 0; i < p; ++i) {
        for (int k = 0; k < p; ++k) {
            right[static_cast<size_t>(i)] -= s(i, k) * equations.b[static_cast<size_t>(k)];
            for (int j = 0; j < p; ++j) left(i, j) -= s(i, k) * q(k, j);
        }
        left(i, i) += 1.0;
    }
    return solveGeneral(left, right);
}

}  // namespace stillsky
