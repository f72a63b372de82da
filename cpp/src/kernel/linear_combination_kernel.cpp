#include <algorithm>
#include <sstream>

#include "kernel_detail.hpp"
#include "stillsky/kernel/kernel.hpp"

namespace stillsky {
namespace {

// Checked before anything touches the first element.
KernelList const& checkBases(KernelList const& bases) {
    if (bases.empty()) throw DomainError("bases: wanted at least one basis kernel, got none");
    for (std::size_t i = 0; i < bases.size(); ++i) {
        const std::string name = "bases[" + std::to_string(i) + "]";
        if (!bases[i]) throw DomainError(name + " is None");
        if (bases[i]->isSpatiallyVarying()) throw DomainError(name + " varies over the image; bases must not");
        if (bases[i]->dimensions() != bases[0]->dimensions()) {
            throw DomainError(name + " is " + sizeText(bases[i]->width(), bases[i]->height()) + ", the first one " +
                              sizeText(bases[0]->width(), bases[0]->height()));
        }
    }
    return bases;
}

void checkCount(std::size_t n, std::size_t wanted, const char* what) {
    if (n != wanted) {
        throw DomainError(std::string(what) + ": wanted one per basis kernel (" + std::to_string(wanted) + "), got " +
                          std::to_string(n));
    }
}

}  // namespace

LinearCombinationKernel::LinearCombinationKernel(KernelList const& bases)
        // Arguments are evaluated in any order: each must check before it looks.
        : Kernel(checkBases(bases)[0]->width(), checkBases(bases)[0]->height()), parameters_(bases.size(), 0.0) {
    const std::size_t n = static_cast<std::size_t>(width()) * height();
    pixels_.resize(n * bases.size());
    deltaBasis_ = true;
    for (std::size_t i = 0; i < bases.size(); ++i) {
        bases_.push_back(bases[i]->clone());
        sums_.push_back(bases[i]->computeImage(View2<double>(&pixels_[i * n], width(), height()), false));
        deltaBasis_ = deltaBasis_ && dynamic_cast<DeltaFunctionKernel const*>(bases[i].get()) != nullptr;
    }
}

LinearCombinationKernel::LinearCombinationKernel(KernelList const& bases, std::vector<double> const& parameters)
        : LinearCombinationKernel(bases) {
    checkCount(parameters.size(), bases.size(), "parameters");
    parameters_ = parameters;
}

LinearCombinationKernel::LinearCombinationKernel(KernelList const& bases, Function2 const& spatialFunction)
        : LinearCombinationKernel(bases) {
    setSpatialFunctions(std::vector<Function2Ptr>(bases.size(), spatialFunction.clone()));
}

LinearCombinationKernel::LinearCombinationKernel(KernelList const& bases,
                                                 std::vector<Function2Ptr> const& spatialFunctions)
        : LinearCombinationKernel(bases) {
    checkCount(spatialFunctions.size(), bases.size(), "spatialFunctions");
    setSpatialFunctions(spatialFunctions);
}

LinearCombinationKernel::LinearCombinationKernel(LinearCombinationKernel const& other)
        : Kernel(other), pixels_(other.pixels_), sums_(other.sums_), parameters_(other.parameters_),
          deltaBasis_(other.deltaBasis_) {
    for (auto const& basis : other.bases_) bases_.push_back(basis->clone());
}

KernelList LinearCombinationKernel::kernelList() const {
    KernelList out;
    for (auto const& basis : bases_) out.push_back(basis->clone());
    return out;
}

View2<const double> LinearCombinationKernel::basisImage(int i) const {
    if (i < 0 || i >= nBasisKernels()) {
        throw OutOfBoundsError("basis kernel " + std::to_string(i) + " does not exist: there are " +
                               std::to_string(nBasisKernels()));
    }
    return View2<const double>(&pixels_[static_cast<std::size_t>(i) * width() * height()], width(), height());
}

double LinearCombinationKernel::sumAt(double x, double y) const {
    const std::vector<double> p = kernelParameters(x, y);
    double sum = 0.0;
    for (std::size_t i = 0; i < p.size(); ++i) sum += p[i] * sums_[i];
    return sum;
}

double LinearCombinationKernel::evaluate(View2<double> image, std::vector<double> const& parameters,
                                         bool doNormalize) const {
    for (int y = 0; y < height(); ++y) std::fill_n(image.row(y), width(), 0.0);
    double sum = 0.0;
    for (int k = 0; k < nBasisKernels(); ++k) {
        const double p = parameters[static_cast<std::size_t>(k)];
        sum += p * sums_[static_cast<std::size_t>(k)];
        if (p == 0.0) continue;
        const View2<const double> basis = basisImage(k);
        for (int y = 0; y < height(); ++y) {
            double* STILLSKY_RESTRICT out = image.row(y);
            double const* STILLSKY_RESTRICT in = basis.row(y);
            for (int x = 0; x < width(); ++x) out[x] += p * in[x];
        }
    }
    return doNormalize ? normalizePixels(image, sum) : sum;
}

std::shared_ptr<LinearCombinationKernel> LinearCombinationKernel::refactor() const {
    if (!isSpatiallyVarying()) return nullptr;
    auto const& functions = spatialFunctions();
    for (auto const& f : functions) {
        if (!f->isLinearCombination() || !f->equals(*functions[0], false)) return nullptr;
    }
    const std::size_t n = static_cast<std::size_t>(width()) * height();
    const int m = nSpatialParameters();
    KernelList bases;
    std::vector<Function2Ptr> units;
    for (int p = 0; p < m; ++p) {
        Image<double> sum(width(), height());
        double* out = sum.view().data;
        for (std::size_t i = 0; i < functions.size(); ++i) {
            const double c = functions[i]->parameter(p);
            for (std::size_t q = 0; q < n; ++q) out[q] += c * pixels_[i * n + q];
        }
        bases.push_back(std::make_shared<FixedKernel>(sum.view()));
        std::vector<double> unit(static_cast<std::size_t>(m), 0.0);
        unit[static_cast<std::size_t>(p)] = 1.0;
        units.push_back(functions[0]->clone());
        units.back()->setParameters(unit);
    }
    return std::make_shared<LinearCombinationKernel>(bases, units);
}

KernelPtr LinearCombinationKernel::clone() const { return KernelPtr(new LinearCombinationKernel(*this)); }

KernelPtr LinearCombinationKernel::resized(int w, int h) const {
    KernelList bases;
    for (auto const& basis : bases_) bases.push_back(basis->resized(w, h));
    if (isSpatiallyVarying()) return std::make_shared<LinearCombinationKernel>(bases, spatialFunctions());
    return std::make_shared<LinearCombinationKernel>(bases, parameters_);
}

bool LinearCombinationKernel::equals(Kernel const& other) const {
    if (!Kernel::equals(other)) return false;
    auto const& that = static_cast<LinearCombinationKernel const&>(other);
    return bases_.size() == that.bases_.size() && pixels_ == that.pixels_;
}

std::string LinearCombinationKernel::str() const {
    std::ostringstream os;
    os << "LinearCombinationKernel(" << width() << "x" << height() << ", " << nBasisKernels() << " bases";
    if (isSpatiallyVarying()) os << ", " << spatialFunctions()[0]->nParameters() << " spatial parameters each";
    os << ")";
    return os.str();
}

}  // namespace stillsky
