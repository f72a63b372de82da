#include "stillsky/psfmatch/kernel_pca.hpp"

#include <algorithm>
#include <cmath>

#include "stillsky/core/errors.hpp"
#include "stillsky/math/solve.hpp"

namespace stillsky {
namespace {

using std::size_t;

// Divide by the pixel of largest magnitude, so that it becomes +1; an image of zeros stays.
void normalisePeak(Image<double>& image) {
    double* p = image.view().data;
    const std::ptrdiff_t n = static_cast<std::ptrdiff_t>(image.bbox().area());
    const double peak = *std::max_element(p, p + n, [](double a, double b) { return std::fabs(a) < std::fabs(b); });
    if (peak == 0.0) return;
    for (std::ptrdiff_t k = 0; k < n; ++k) p[k] /= peak;
}

}  // namespace

void KernelPca::addImage(Image<double> image, double flux) {
    if (!images_.empty() && image.bbox().dimensions() != images_[0].bbox().dimensions()) {
        throw ShapeError("KernelPca::addImage: the image differs in size from the first one");
    }
    if (flux == 0.0) throw OutOfBoundsError("KernelPca::addImage: an image of flux 0");
    images_.push_back(std::move(image));
    fluxes_.push_back(flux);
}

Image<double> KernelPca::mean() const {
    if (images_.empty()) throw NoDataError("KernelPca::mean: no images");
    Image<double> out(images_[0].bbox());
    const std::ptrdiff_t n = static_cast<std::ptrdiff_t>(out.bbox().area());
    for (auto const& image : images_) {
        for (std::ptrdiff_t k = 0; k < n; ++k) out.view().data[k] += image.view().data[k];
    }
    for (std::ptrdiff_t k = 0; k < n; ++k) out.view().data[k] /= static_cast<double>(images_.size());
    return out;
}

void KernelPca::subtract(Image<double> const& mean) {
    for (auto& image : images_) {
        const std::ptrdiff_t n = static_cast<std::ptrdiff_t>(image.bbox().area());
        for (std::ptrdiff_t k = 0; k < n; ++k) image.view().data[k] -= mean.view().data[k];
    }
}

void KernelPca::analyze() {
    if (images_.empty()) throw NoDataError("KernelPca::analyze: no images");
    const int n = nImages();
    const std::ptrdiff_t nPixels = static_cast<std::ptrdiff_t>(images_[0].bbox().area());
    eigenImages_.clear();
    if (n == 1) {
        eigenValues_ = {1.0};
        eigenImages_ = images_;
        normalisePeak(eigenImages_[0]);
        return;
    }
    DenseMatrix r(n, n);
    for (int i = 0; i < n; ++i) {
        for (int j = i; j < n; ++j) {
            double const* a = images_[static_cast<size_t>(i)].view().data;
            double const* b = images_[static_cast<size_t>(j)].view().data;
            double sum = 0.0;
            for (std::ptrdiff_t k = 0; k < nPixels; ++k) {
                const double product = a[k] * b[k];
                if (std::isfinite(product)) sum += product;
            }
            r(i, j) = r(j, i) = sum / n;
        }
    }
    const EigenDecomposition eigen = eigenSymmetric(r);
    eigenValues_ = eigen.values;
    for (int i = 0; i < std::min(n, 100); ++i) {
        Image<double> image(images_[0].bbox());
        for (int j = 0; j < n; ++j) {
            const double weight = eigen.vectors(i, j);
            double const* from = images_[static_cast<size_t>(j)].view().data;
            for (std::ptrdiff_t k = 0; k < nPixels; ++k) image.view().data[k] += weight * from[k];
        }
        normalisePeak(image);
        eigenImages_.push_back(std::move(image));
    }
}

void KernelPcaVisitor::processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) {
    auto star = std::dynamic_pointer_cast<KernelCandidate>(candidate);
    if (!star) throw StillskyError("KernelPcaVisitor: wanted a KernelCandidate");
    try {
        Image<double> image = star->getKernelImage(KernelCandidate::ORIG);
        const double sum = star->getKsum(KernelCandidate::ORIG);
        const std::ptrdiff_t n = static_cast<std::ptrdiff_t>(image.bbox().area());
        for (std::ptrdiff_t k = 0; k < n; ++k) image.view().data[k] /= sum;
        pca_->addImage(std::move(image), 1.0);
    } catch (StillskyError const&) {
        // No solution: nothing to learn from this candidate.
    }
}

void KernelPcaVisitor::subtractMean() {
    mean_ = pca_->mean();
    pca_->subtract(mean_);
}

KernelList KernelPcaVisitor::getEigenKernels() const {
    KernelList out;
    if (!mean_.bbox().isEmpty()) out.push_back(std::make_shared<FixedKernel>(mean_.view()));
    for (auto const& image : pca_->eigenImages()) out.push_back(std::make_shared<FixedKernel>(image.view()));
    return out;
}

}  // namespace stillsky
