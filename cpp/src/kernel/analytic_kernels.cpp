// AnalyticKernel and SeparableKernel.
#include "kernel_detail.hpp"
#include "stillsky/kernel/kernel.hpp"

namespace stillsky {
namespace {

double normalizeVector(std::vector<double>& v, double sum) {
    if (sum == 0.0) throw NumericalError("a separable kernel with a factor whose sum is exactly 0 cannot be normalised");
    for (double& value : v) value /= sum;
    return 1.0;
}

double sample(Function1 const& f, int n, std::vector<double>& out) {
    out.resize(static_cast<std::size_t>(n));
    const int center = (n - 1) / 2;
    double sum = 0.0;
    for (int i = 0; i < n; ++i) sum += out[static_cast<std::size_t>(i)] = f(i - center);
    return sum;
}

}  // namespace

AnalyticKernel::AnalyticKernel(int width, int height, Function2 const& function,
                               std::vector<Function2Ptr> const& spatialFunctions)
        : Kernel(width, height), function_(function.clone()) {
    setSpatialFunctions(spatialFunctions);
}

AnalyticKernel::AnalyticKernel(AnalyticKernel const& other) : Kernel(other), function_(other.function_->clone()) {}

KernelPtr AnalyticKernel::clone() const { return KernelPtr(new AnalyticKernel(*this)); }

KernelPtr AnalyticKernel::resized(int w, int h) const {
    return std::make_shared<AnalyticKernel>(w, h, *function_, spatialFunctions());
}

double AnalyticKernel::computeImage(View2<double> image, bool doNormalize, double x, double y) const {
    if (image.empty()) throw ShapeError("image: wanted at least 1x1 pixels");
    return evaluate(image, kernelParameters(x, y), doNormalize);
}

double AnalyticKernel::evaluate(View2<double> image, std::vector<double> const& parameters, bool doNormalize) const {
    Function2Ptr own;  // a varying kernel needs a function of its own for this call: evaluation stays reentrant
    Function2 const* f = function_.get();
    if (isSpatiallyVarying()) {
        own = function_->clone();
        own->setParameters(parameters);
        f = own.get();
    }
    const int x0 = center().x + (image.width - width()) / 2, y0 = center().y + (image.height - height()) / 2;
    double sum = 0.0;
    for (int j = 0; j < image.height; ++j) {
        for (int i = 0; i < image.width; ++i) sum += image(i, j) = (*f)(i - x0, j - y0);
    }
    return doNormalize ? normalizePixels(image, sum) : sum;
}

bool AnalyticKernel::equals(Kernel const& other) const {
    return Kernel::equals(other) &&
           function_->equals(*static_cast<AnalyticKernel const&>(other).function_, !isSpatiallyVarying());
}

std::string AnalyticKernel::str() const {
    return "AnalyticKernel(" + sizeText(width(), height()) + ", " + function_->str() +
           (isSpatiallyVarying() ? ", varying)" : ")");
}

SeparableKernel::SeparableKernel(int width, int height, Function1 const& functionX, Function1 const& functionY,
                                 std::vector<Function2Ptr> const& spatialFunctions)
        : Kernel(width, height), functionX_(functionX.clone()), functionY_(functionY.clone()) {
    setSpatialFunctions(spatialFunctions);
}

SeparableKernel::SeparableKernel(SeparableKernel const& other)
        : Kernel(other), functionX_(other.functionX_->clone()), functionY_(other.functionY_->clone()) {}

KernelPtr SeparableKernel::clone() const { return KernelPtr(new SeparableKernel(*this)); }

KernelPtr SeparableKernel::resized(int w, int h) const {
    return std::make_shared<SeparableKernel>(w, h, *functionX_, *functionY_, spatialFunctions());
}

std::vector<double> SeparableKernel::fixedParameters() const {
    std::vector<double> out = functionX_->parameters();
    out.insert(out.end(), functionY_->parameters().begin(), functionY_->parameters().end());
    return out;
}

void SeparableKernel::setFixedParameters(std::vector<double> const& parameters) {
    const auto split = parameters.begin() + functionX_->nParameters();
    functionX_->setParameters(std::vector<double>(parameters.begin(), split));
    functionY_->setParameters(std::vector<double>(split, parameters.end()));
}

double SeparableKernel::vectorsFor(std::vector<double> const& parameters, bool doNormalize, std::vector<double>& x,
                                   std::vector<double>& y) const {
    const Function1Ptr fx = functionX_->clone(), fy = functionY_->clone();
    const auto split = parameters.begin() + fx->nParameters();
    fx->setParameters(std::vector<double>(parameters.begin(), split));
    fy->setParameters(std::vector<double>(split, parameters.end()));
    double sumX = sample(*fx, width(), x), sumY = sample(*fy, height(), y);
    if (doNormalize) {
        sumX = normalizeVector(x, sumX);
        sumY = normalizeVector(y, sumY);
    }
    return sumX * sumY;
}

double SeparableKernel::computeVectors(std::vector<double>& x, std::vector<double>& y, bool doNormalize, double posX,
                                       double posY) const {
    return vectorsFor(kernelParameters(posX, posY), doNormalize, x, y);
}

double SeparableKernel::evaluate(View2<double> image, std::vector<double> const& parameters, bool doNormalize) const {
    std::vector<double> x, y;
    const double sum = vectorsFor(parameters, doNormalize, x, y);
    for (int j = 0; j < height(); ++j) {
        for (int i = 0; i < width(); ++i) image(i, j) = x[static_cast<std::size_t>(i)] * y[static_cast<std::size_t>(j)];
    }
    return sum;
}

bool SeparableKernel::equals(Kernel const& other) const {
    if (!Kernel::equals(other)) return false;
    auto const& that = static_cast<SeparableKernel const&>(other);
    return functionX_->nParameters() == that.functionX_->nParameters() &&
           typeid(*functionX_) == typeid(*that.functionX_) && typeid(*functionY_) == typeid(*that.functionY_);
}

std::string SeparableKernel::str() const {
    return "SeparableKernel(" + sizeText(width(), height()) + ", x: " + functionX_->str() + ", y: " +
           functionY_->str() + (isSpatiallyVarying() ? ", varying)" : ")");
}

}  // namespace stillsky
