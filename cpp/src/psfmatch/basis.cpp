#include "stillsky/psfmatch/basis.hpp"

#include <cmath>

#include "stillsky/math/polynomial.hpp"

namespace stillsky {
namespace {

// Squared norm, relative to that of its parts, below which a renormalised function is rounding noise.
constexpr double NULL_FUNCTION = 1e-24;

double dot(double const* a, double const* b, int n) {
    double sum = 0.0;
    for (int i = 0; i < n; ++i) sum += a[i] * b[i];
    return sum;
}

double total(double const* a, int n) {
    // Opposite taps are added first, so that odd filters sum to exactly zero.
    double sum = a[n / 2];
    for (int i = 0; i < n / 2; ++i) sum += a[i] + a[n - 1 - i];
    return sum;
}

}  // namespace

AlardLuptonBasis::AlardLuptonBasis(int halfWidth, std::vector<double> const& sigmas, std::vector<int> const& degrees)
        : halfWidth_(halfWidth), sigmas_(sigmas), degrees_(degrees) {
    if (halfWidth < 1) throw DomainError("halfWidth: wanted >= 1, got " + std::to_string(halfWidth));
    if (sigmas.empty() || sigmas.size() != degrees.size()) {
        throw DomainError("sigGauss and degGauss: wanted one of each per Gaussian, got " +
                          std::to_string(sigmas.size()) + " and " + std::to_string(degrees.size()));
    }
    const int n = width();
    for (std::size_t g = 0; g < sigmas.size(); ++g) {
        if (!(sigmas[g] > 0) || !std::isfinite(sigmas[g])) {
            throw DomainError("sigGauss: wanted > 0, got " + std::to_string(sigmas[g]));
        }
        if (degrees[g] < 0) throw DomainError("degGauss: wanted >= 0, got " + std::to_string(degrees[g]));
        firstFilter_.push_back(nFilters());
        std::vector<double> e(static_cast<std::size_t>(n));
        double sum = 0.0;
        for (int u = -halfWidth; u <= halfWidth; ++u) {
            sum += e[static_cast<std::size_t>(u + halfWidth)] = std::exp(-0.5 * u * u / (sigmas[g] * sigmas[g]));
        }
        for (double& value : e) value /= sum;
        for (int a = 0; a <= degrees[g]; ++a) {
            filters_.insert(filters_.end(), e.begin(), e.end());
            for (int i = 0; i < n; ++i) e[static_cast<std::size_t>(i)] *= static_cast<double>(i - halfWidth) / halfWidth;
        }
    }
    for (int g = 0; g < static_cast<int>(sigmas.size()); ++g) {
        for (PolynomialTerm const& term : polynomialTerms(degrees[static_cast<std::size_t>(g)])) {
            Function f{g, term.a, term.b, filterIndex(g, term.a), filterIndex(g, term.b), 1.0, 0.0};
            if (g == 0 && term.a == 0 && term.b == 0) {
                functions_.push_back(f);
                continue;
            }
            const bool even = f.a % 2 == 0 && f.b % 2 == 0;
            if (even) {
                f.scale = 1.0 / (total(filter(f.filterX), n) * total(filter(f.filterY), n));
                f.subtract = 1.0;
            }
            const double norm2 = sumOfSquares(f);
            if (!(norm2 > NULL_FUNCTION) || !std::isfinite(norm2)) {
                dropped_.push_back(f);
                continue;
            }
            const double norm = std::sqrt(norm2);
            f.scale /= norm;
            f.subtract /= norm;
            functions_.push_back(f);
        }
    }
}

// Pixel by pixel for even functions: the closed form q_a q_b/s^2 - 2 r_a r_b/s + q_0^2 cancels for nearly equal
// Gaussians.
double AlardLuptonBasis::sumOfSquares(Function const& f) const {
    const int n = width();
    double const* fx = filter(f.filterX);
    double const* fy = filter(f.filterY);
    if (f.subtract == 0.0) return f.scale * f.scale * dot(fx, fx, n) * dot(fy, fy, n);
    double const* e = filter(0);
    double sum = 0.0;
    for (int y = 0; y < n; ++y) {
        for (int x = 0; x < n; ++x) {
            const double value = f.scale * fx[x] * fy[y] - f.subtract * e[x] * e[y];
            sum += value * value;
        }
    }
    return sum;
}

void AlardLuptonBasis::computeImage(int i, View2<double> out) const {
    if (i < 0 || i >= nFunctions()) {
        throw OutOfBoundsError("basis function " + std::to_string(i) + " does not exist: there are " +
                               std::to_string(nFunctions()));
    }
    if (out.width != width() || out.height != width()) {
        throw ShapeError("out: wanted " + std::to_string(width()) + " pixels in both axes");
    }
    Function const& f = functions_[static_cast<std::size_t>(i)];
    double const* fx = filter(f.filterX);
    double const* fy = filter(f.filterY);
    double const* e = filter(0);
    for (int y = 0; y < width(); ++y) {
        for (int x = 0; x < width(); ++x) {
            out(x, y) = f.scale * fx[x] * fy[y] - f.subtract * (e[x] * e[y]);
        }
    }
}

namespace {

Image<double> functionImage(AlardLuptonBasis const& basis, int index) {
    Image<double> image(basis.width(), basis.width());
    basis.computeImage(index, image.view());
    return image;
}

}  // namespace

AlardLuptonKernel::AlardLuptonKernel(std::shared_ptr<AlardLuptonBasis const> basis, int index)
        : FixedKernel(functionImage(*basis, index).view()), basis_(std::move(basis)), index_(index) {}

KernelPtr AlardLuptonKernel::clone() const { return std::make_shared<AlardLuptonKernel>(*this); }

KernelList makeAlardLuptonBasisList(int halfWidth, int nGauss, std::vector<double> const& sigGauss,
                                    std::vector<int> const& degGauss) {
    const auto n = static_cast<std::size_t>(nGauss < 0 ? 0 : nGauss);
    if (nGauss < 1 || sigGauss.size() != n || degGauss.size() != n) {
        throw DomainError("sigGauss and degGauss: wanted nGauss = " + std::to_string(nGauss) +
                          " (at least 1) elements each, got " + std::to_string(sigGauss.size()) + " and " +
                          std::to_string(degGauss.size()));
    }
    auto basis = std::make_shared<AlardLuptonBasis const>(halfWidth, sigGauss, degGauss);
    KernelList out;
    for (int i = 0; i < basis->nFunctions(); ++i) out.push_back(std::make_shared<AlardLuptonKernel>(basis, i));
    return out;
}

namespace {

// Kernels read back from a file or a pickle have a basis object each.
bool sameBasis(AlardLuptonBasis const& a, AlardLuptonBasis const& b) {
    return a.halfWidth() == b.halfWidth() && a.sigmas() == b.sigmas() && a.degrees() == b.degrees();
}

}  // namespace

std::shared_ptr<AlardLuptonBasis const> separableForm(KernelList const& bases) {
    std::shared_ptr<AlardLuptonBasis const> basis;
    for (std::size_t i = 0; i < bases.size(); ++i) {
        auto const* kernel = dynamic_cast<AlardLuptonKernel const*>(bases[i].get());
        if (!kernel || kernel->index() != static_cast<int>(i)) return nullptr;
        if (i == 0) basis = kernel->basis();
        if (kernel->basis() != basis && !sameBasis(*kernel->basis(), *basis)) return nullptr;
    }
    if (!basis || basis->nFunctions() != static_cast<int>(bases.size())) return nullptr;
    return basis;
}

KernelList makeDeltaFunctionBasisList(int width, int height) {
    if (width < 1 || height < 1) {
        throw DomainError("delta-function basis: wanted a positive width and height, got " + std::to_string(width) +
                          " and " + std::to_string(height));
    }
    KernelList out;
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) out.push_back(std::make_shared<DeltaFunctionKernel>(width, height, Point2I{x, y}));
    }
    return out;
}

KernelList renormalizeKernelList(KernelList const& kernels) {
    KernelList out;
    if (kernels.empty()) return out;
    Image<double> first = kernels[0]->imageAt();
    const std::size_t n = static_cast<std::size_t>(first.width()) * first.height();
    double* b0 = first.view().data;
    double sum0 = 0.0, norm0 = 0.0;
    for (std::size_t i = 0; i < n; ++i) sum0 += b0[i];
    if (sum0 == 0.0) throw NumericalError("renormalizeKernelList: the first kernel's sum is 0");
    for (std::size_t i = 0; i < n; ++i) {
        b0[i] /= sum0;
        norm0 += b0[i] * b0[i];
    }
    out.push_back(std::make_shared<FixedKernel>(first.view()));
    for (std::size_t k = 1; k < kernels.size(); ++k) {
        if (kernels[k]->dimensions() != kernels[0]->dimensions()) {
            throw DomainError("renormalizeKernelList: kernel " + std::to_string(k) + " differs in size from the first");
        }
        Image<double> image = kernels[k]->imageAt();
        double* b = image.view().data;
        double sum = 0.0, absolute = 0.0, norm = 0.0;
        for (std::size_t i = 0; i < n; ++i) {
            sum += b[i];
            absolute += std::fabs(b[i]);
        }
        const bool zeroSum = !(std::fabs(sum) > 1e-12 * absolute);
        // Relative to the size of what was subtracted, so that rounding noise is recognised as such.
        double scale2 = norm0;
        for (std::size_t i = 0; i < n; ++i) {
            if (!zeroSum) b[i] = b[i] / sum - b0[i];
            norm += b[i] * b[i];
        }
        if (zeroSum) scale2 = 0.0;
        if (!(norm > NULL_FUNCTION * scale2) || !std::isfinite(norm)) continue;
        norm = std::sqrt(norm);
        for (std::size_t i = 0; i < n; ++i) b[i] /= norm;
        out.push_back(std::make_shared<FixedKernel>(image.view()));
    }
    return out;
}

}  // namespace stillsky
