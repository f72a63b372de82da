#include "stillsky/kernel/kernel.hpp"

#include <sstream>
#include <typeinfo>

#include "kernel_detail.hpp"

namespace stillsky {

std::string sizeText(int width, int height) { return std::to_string(width) + "x" + std::to_string(height); }

Kernel::Kernel(int width, int height) : width_(width), height_(height) {
    if (width < 1 || height < 1) throw DomainError("kernel size: wanted at least 1x1, got " + sizeText(width, height));
}

Kernel::Kernel(Kernel const& other) : width_(other.width_), height_(other.height_) {
    for (auto const& f : other.spatialFunctions_) spatialFunctions_.push_back(f->clone());
}

void Kernel::setSpatialFunctions(std::vector<Function2Ptr> const& functions) {
    if (functions.empty()) return;
    if (static_cast<int>(functions.size()) != nKernelParameters()) {
        throw DomainError("spatialFunctions: wanted one per kernel parameter (" + std::to_string(nKernelParameters()) +
                          "), got " + std::to_string(functions.size()));
    }
    std::vector<Function2Ptr> copies;
    for (auto const& f : functions) {
        if (!f) throw DomainError("spatialFunctions: an element is None");
        copies.push_back(f->clone());
    }
    spatialFunctions_ = std::move(copies);
}

Box2I Kernel::bbox() const { return Box2I({-center().x, -center().y}, dimensions()); }

Box2I Kernel::growBBox(Box2I const& box) const {
    return Box2I({box.minX() - center().x, box.minY() - center().y},
                 {box.width() + width_ - 1, box.height() + height_ - 1});
}

Box2I Kernel::shrinkBBox(Box2I const& box) const {
    if (box.width() < width_ || box.height() < height_) {
        throw ShapeError("the image (" + sizeText(box.width(), box.height()) + ") is smaller than the kernel (" +
                         sizeText(width_, height_) + ")");
    }
    return Box2I({box.minX() + center().x, box.minY() + center().y},
                 {box.width() - width_ + 1, box.height() - height_ + 1});
}

double Kernel::computeImage(View2<double> image, bool doNormalize, double x, double y) const {
    if (image.width != width_ || image.height != height_) {
        throw ShapeError("image: wanted the kernel's size " + sizeText(width_, height_) + ", got " +
                         sizeText(image.width, image.height));
    }
    return evaluate(image, kernelParameters(x, y), doNormalize);
}

Image<double> Kernel::imageAt(double x, double y, bool doNormalize) const {
    Image<double> image(bbox());
    computeImage(image.view(), doNormalize, x, y);
    return image;
}

int Kernel::nSpatialParameters() const { return isSpatiallyVarying() ? spatialFunctions_[0]->nParameters() : 0; }

std::vector<double> Kernel::kernelParameters(double x, double y) const {
    if (!isSpatiallyVarying()) return fixedParameters();
    std::vector<double> values;
    values.reserve(spatialFunctions_.size());
    for (auto const& f : spatialFunctions_) values.push_back((*f)(x, y));
    return values;
}

void Kernel::setKernelParameters(std::vector<double> const& parameters) {
    if (isSpatiallyVarying()) throw StillskyError("kernel parameters cannot be set: this kernel varies over the image");
    if (static_cast<int>(parameters.size()) != nKernelParameters()) {
        throw DomainError("kernelParameters: wanted " + std::to_string(nKernelParameters()) + " numbers, got " +
                          std::to_string(parameters.size()));
    }
    setFixedParameters(parameters);
}

std::vector<std::vector<double>> Kernel::spatialParameters() const {
    std::vector<std::vector<double>> out;
    for (auto const& f : spatialFunctions_) out.push_back(f->parameters());
    return out;
}

void Kernel::setSpatialParameters(std::vector<std::vector<double>> const& parameters) {
    if (static_cast<int>(parameters.size()) != nKernelParameters()) {
        throw DomainError("spatialParameters: wanted one list per kernel parameter (" +
                          std::to_string(nKernelParameters()) + "), got " + std::to_string(parameters.size()));
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const int wanted = isSpatiallyVarying() ? spatialFunctions_[i]->nParameters() : 0;
        if (static_cast<int>(parameters[i].size()) != wanted) {
            throw DomainError("spatialParameters[" + std::to_string(i) + "]: wanted " + std::to_string(wanted) +
                              " numbers, got " + std::to_string(parameters[i].size()));
        }
    }
    if (!isSpatiallyVarying()) return;
    for (std::size_t i = 0; i < parameters.size(); ++i) spatialFunctions_[i]->setParameters(parameters[i]);
}

Function2Ptr Kernel::spatialFunction(int i) const {
    if (i < 0 || i >= static_cast<int>(spatialFunctions_.size())) {
        throw DomainError("spatial function " + std::to_string(i) + " does not exist: the kernel has " +
                          std::to_string(spatialFunctions_.size()));
    }
    return spatialFunctions_[static_cast<std::size_t>(i)]->clone();
}

bool Kernel::equals(Kernel const& other) const {
    if (typeid(*this) != typeid(other) || width_ != other.width_ || height_ != other.height_ ||
        spatialFunctions_.size() != other.spatialFunctions_.size()) {
        return false;
    }
    for (std::size_t i = 0; i < spatialFunctions_.size(); ++i) {
        if (!spatialFunctions_[i]->equals(*other.spatialFunctions_[i])) return false;
    }
    return isSpatiallyVarying() || fixedParameters() == other.fixedParameters();
}

std::string Kernel::str() const {
    std::ostringstream os;
    os << className() << "(" << width_ << "x" << height_;
    if (isSpatiallyVarying()) os << ", varying: " << spatialFunctions_[0]->nParameters() << " spatial parameters each";
    os << ")";
    return os.str();
}

}  // namespace stillsky
