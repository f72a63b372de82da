// Principal components of kernel images: a small basis for kernels that were fitted pixel by pixel (Becker et al. 2012,
// MNRAS 425, 1341, section 2.5).
#pragma once

#include <memory>
#include <vector>

#include "stillsky/psfmatch/kernel_candidate.hpp"

namespace stillsky {

// Principal components of a set of images of equal size.
class KernelPca {
public:
    // ShapeError for another size than the first image's, OutOfBoundsError for flux 0. The flux is kept, not applied.
    void addImage(Image<double> image, double flux = 1.0);
    int nImages() const { return static_cast<int>(images_.size()); }
    std::vector<Image<double>> const& images() const { return images_; }
    // Mean of all images. NoDataError without images.
    Image<double> mean() const;
    void subtract(Image<double> const& mean);
    // R_ij = <k_i, k_j>/n (products that are not finite are left out), eigenvalues in decreasing order, at most 100
    // eigenvectors as images, each divided by its pixel of largest magnitude, sign included. NoDataError without
    // images. Cost n^2 pixels + n^3.
    void analyze();
    std::vector<double> const& eigenValues() const { return eigenValues_; }
    std::vector<Image<double>> const& eigenImages() const { return eigenImages_; }

private:
    std::vector<Image<double>> images_, eigenImages_;
    std::vector<double> fluxes_, eigenValues_;
};

// Collects the ORIG kernel of every candidate, divided by its sum; candidates without one are passed over.
class KernelPcaVisitor : public CandidateVisitor {
public:
    explicit KernelPcaVisitor(std::shared_ptr<KernelPca> pca) : pca_(std::move(pca)) {}
    void processCandidate(std::shared_ptr<SpatialCellCandidate> const& candidate) override;
    // Remember the mean, and take it off all images.
    void subtractMean();
    // Zero pixels, or the mean after subtractMean().
    Image<double> returnMean() const { return mean_; }
    // The mean (when subtracted), then the eigen-images, as FixedKernels.
    KernelList getEigenKernels() const;

private:
    std::shared_ptr<KernelPca> pca_;
    Image<double> mean_;
};

}  // namespace stillsky
