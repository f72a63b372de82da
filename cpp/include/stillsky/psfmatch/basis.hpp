// Basis kernels of PSF matching: Alard-Lupton functions (Gaussians times polynomials) and delta functions.
//
// Alard & Lupton 1998, ApJ 503, 325 (the functions); Alard 2000, A&AS 144, 363 (constant flux scaling: all functions
// but the first have zero sum); Becker et al. 2012, MNRAS 425, 1341 (delta functions).
#pragma once

#include <memory>
#include <vector>

#include "stillsky/kernel/kernel.hpp"

namespace stillsky {

// The Alard-Lupton functions in separable form. With u = -h..h,
//   e_g[u] = exp(-u^2/2 sigma_g^2) / sum_u,   h_{g,a}[u] = e_g[u] (u/h)^a,
// every function is an outer product plus a multiple of the first function B_0 = e_0 (x) e_0:
//   B = scale * h_{g,a}(x) h_{g,b}(y) - subtract * B_0
// so that convolving with it costs two 1-D passes, and B_0 is convolved once for all.
class AlardLuptonBasis {
public:
    // One function. Powers (a, b) of (x/h, y/h); filterX and filterY index filters(). `subtract` is 0 when a or b is
    // odd (the function then has zero sum by parity) and for the first function.
    struct Function {
        int gauss, a, b;
        int filterX, filterY;
        double scale, subtract;
    };

    // halfWidth h >= 1, one sigma (pixels, > 0) and one polynomial degree (>= 0) per Gaussian: DomainError otherwise.
    // Functions are listed Gaussian by Gaussian, terms in the order of polynomial.hpp. Functions that vanish after
    // renormalising (a Gaussian given twice) are left out and listed in dropped(). Whether a function has zero sum is
    // decided by parity, not by a threshold, so high degrees of narrow Gaussians conserve flux too.
    AlardLuptonBasis(int halfWidth, std::vector<double> const& sigmas, std::vector<int> const& degrees);

    int halfWidth() const { return halfWidth_; }
    int width() const { return 2 * halfWidth_ + 1; }
    std::vector<double> const& sigmas() const { return sigmas_; }
    std::vector<int> const& degrees() const { return degrees_; }
    int nFunctions() const { return static_cast<int>(functions_.size()); }
    std::vector<Function> const& functions() const { return functions_; }
    std::vector<Function> const& dropped() const { return dropped_; }

    // The distinct 1-D filters h_{g,a}, a = 0..degree_g, one after the other; width() taps each.
    int nFilters() const { return static_cast<int>(filters_.size()) / width(); }
    double const* filter(int i) const { return &filters_[static_cast<std::size_t>(i) * width()]; }
    int filterIndex(int gauss, int a) const { return firstFilter_[static_cast<std::size_t>(gauss)] + a; }

    // Pixels of function i; `out` is width() x width(), else ShapeError.
    void computeImage(int i, View2<double> out) const;

private:
    double sumOfSquares(Function const& f) const;
    int halfWidth_;
    std::vector<double> sigmas_;
    std::vector<int> degrees_;
    std::vector<int> firstFilter_;
    std::vector<double> filters_;
    std::vector<Function> functions_, dropped_;
};

// A FixedKernel that remembers which separable function it is. clone() keeps the link.
class AlardLuptonKernel : public FixedKernel {
public:
    AlardLuptonKernel(std::shared_ptr<AlardLuptonBasis const> basis, int index);
    std::shared_ptr<AlardLuptonBasis const> const& basis() const { return basis_; }
    int index() const { return index_; }
    KernelPtr clone() const override;
    std::string className() const override { return "AlardLuptonKernel"; }

private:
    std::shared_ptr<AlardLuptonBasis const> basis_;
    int index_;
};

// All functions of a basis as kernels of (2h+1) x (2h+1) pixels: sum B_0 = 1; sum B_i = 0 and sum B_i^2 = 1 for
// i >= 1. DomainError when halfWidth < 1, or the lists do not have nGauss elements.
KernelList makeAlardLuptonBasisList(int halfWidth, int nGauss, std::vector<double> const& sigGauss,
                                    std::vector<int> const& degGauss);

// The separable form of a list, when it is exactly the complete list of one AlardLuptonBasis in its order; else null.
std::shared_ptr<AlardLuptonBasis const> separableForm(KernelList const& bases);

// width*height DeltaFunctionKernels, kernel x + y*width has its 1 at column x, row y. DomainError unless both are
// positive.
KernelList makeDeltaFunctionBasisList(int width, int height);

// First kernel divided by its sum; every other one freed of its sum by subtracting a multiple of the first and scaled
// to unit square norm. A component whose sum is below 1e-12 of its absolute sum counts as zero-sum; a component that
// vanishes is left out. Empty in, empty out. NumericalError when the first kernel's sum is 0, DomainError when sizes
// differ.
KernelList renormalizeKernelList(KernelList const& kernels);

}  // namespace stillsky
