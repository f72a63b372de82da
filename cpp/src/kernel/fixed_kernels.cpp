// FixedKernel and DeltaFunctionKernel.
#include <algorithm>
#include <sstream>

#include "kernel_detail.hpp"
#include "stillsky/kernel/kernel.hpp"

namespace stillsky {
namespace {

// How far the old pixel (0, 0) moves when a kernel is resized about its centre.
int resizeShift(int oldSize, int newSize, const char* axis) {
    if (newSize < 1) throw DomainError(std::string("resized: ") + axis + " must be at least 1, got " + std::to_string(newSize));
    if ((newSize - oldSize) % 2 != 0) {
        throw DomainError(std::string("resized: ") + axis + " may change by an even number only, got " +
                          std::to_string(oldSize) + " to " + std::to_string(newSize));
    }
    return (newSize - oldSize) / 2;
}

double sumOf(View2<const double> image) {
    double sum = 0.0;
    for (int y = 0; y < image.height; ++y) {
        for (int x = 0; x < image.width; ++x) sum += image(x, y);
    }
    return sum;
}

}  // namespace

FixedKernel::FixedKernel(View2<const double> image) : Kernel(image.width, image.height), image_(bbox()) {
    for (int y = 0; y < image.height; ++y) std::copy_n(image.row(y), image.width, image_.view().row(y));
    sum_ = sumOf(image);
}

FixedKernel::FixedKernel(Kernel const& kernel, Point2D position)
        : Kernel(kernel.width(), kernel.height()), image_(bbox()) {
    sum_ = kernel.computeImage(image_.view(), false, position.x, position.y);
}

KernelPtr FixedKernel::clone() const { return std::make_shared<FixedKernel>(*this); }

KernelPtr FixedKernel::resized(int w, int h) const {
    const int dx = resizeShift(width(), w, "width"), dy = resizeShift(height(), h, "height");
    Image<double> out(w, h);
    for (int y = 0; y < h; ++y) {
        for (int x = 0; x < w; ++x) {
            const int u = x - dx, v = y - dy;
            if (u >= 0 && u < width() && v >= 0 && v < height()) out(x, y) = image_(u, v);
        }
    }
    return std::make_shared<FixedKernel>(out.view());
}

double FixedKernel::evaluate(View2<double> image, std::vector<double> const&, bool doNormalize) const {
    for (int y = 0; y < height(); ++y) std::copy_n(image_.view().row(y), width(), image.row(y));
    return doNormalize ? normalizePixels(image, sum_) : sum_;
}

bool FixedKernel::equals(Kernel const& other) const {
    if (!Kernel::equals(other)) return false;
    auto const& that = static_cast<FixedKernel const&>(other);
    for (int y = 0; y < height(); ++y) {
        if (!std::equal(image_.view().row(y), image_.view().row(y) + width(), that.image_.view().row(y))) return false;
    }
    return true;
}

DeltaFunctionKernel::DeltaFunctionKernel(int width, int height, Point2I pixel) : Kernel(width, height), pixel_(pixel) {
    if (pixel.x < 0 || pixel.x >= width || pixel.y < 0 || pixel.y >= height) {
        throw DomainError("pixel: (" + std::to_string(pixel.x) + ", " + std::to_string(pixel.y) + ") is not on the " +
                          sizeText(width, height) + " kernel");
    }
}

KernelPtr DeltaFunctionKernel::clone() const { return std::make_shared<DeltaFunctionKernel>(*this); }

KernelPtr DeltaFunctionKernel::resized(int w, int h) const {
    const int dx = resizeShift(width(), w, "width"), dy = resizeShift(height(), h, "height");
    return std::make_shared<DeltaFunctionKernel>(w, h, Point2I{pixel_.x + dx, pixel_.y + dy});
}

double DeltaFunctionKernel::evaluate(View2<double> image, std::vector<double> const&, bool) const {
    for (int y = 0; y < height(); ++y) std::fill_n(image.row(y), width(), 0.0);
    image(pixel_.x, pixel_.y) = 1.0;
    return 1.0;
}

bool DeltaFunctionKernel::equals(Kernel const& other) const {
    return Kernel::equals(other) && static_cast<DeltaFunctionKernel const&>(other).pixel_ == pixel_;
}

std::string DeltaFunctionKernel::str() const {
    std::ostringstream os;
    os << className() << "(" << width() << "x" << height() << ", pixel (" << pixel_.x << ", " << pixel_.y << "))";
    return os.str();
}

}  // namespace stillsky
