// Kernels: small images, or models of them, that may vary over the image they are applied to.
//
// Conventions. A kernel of width w and height h has its centre at pixel ((w-1)/2, (h-1)/2) (integer division).
// "Applying" means correlation: out[y,x] = sum_ji k[j,i] in[y-cy+j, x-cx+i]. Positions are parent positions, pixels.
// Kernel pixels are double; arrays are [row y, column x].
//
// Every evaluation is const and keeps no scratch in the object, so one kernel may serve any number of threads as long
// as nobody changes its parameters meanwhile. clone() is deep.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/geom/box.hpp"
#include "stillsky/image/image.hpp"
#include "stillsky/math/function.hpp"

namespace stillsky {

class Kernel;
using KernelPtr = std::shared_ptr<Kernel>;
using KernelList = std::vector<KernelPtr>;

// Base of all kernels. A kernel has kernel parameters (possibly none); it varies over the image when it has one
// spatial function per kernel parameter, which then gives that parameter's value at a position.
class Kernel {
public:
    virtual ~Kernel() = default;

    int width() const { return width_; }
    int height() const { return height_; }
    Extent2I dimensions() const { return {width_, height_}; }
    Point2I center() const { return {(width_ - 1) / 2, (height_ - 1) / 2}; }
    // Corner -center, the kernel's dimensions.
    Box2I bbox() const;
    // The box whose shrinkBBox is `box`.
    Box2I growBBox(Box2I const& box) const;
    // The pixels of an image with box `box` whose whole footprint lies in it. ShapeError when the box is smaller than
    // the kernel in either axis.
    Box2I shrinkBBox(Box2I const& box) const;

    virtual KernelPtr clone() const = 0;
    // Same model, other size; see the classes. DomainError for sizes that the class refuses.
    virtual KernelPtr resized(int width, int height) const = 0;

    // Write the kernel at parent position (x, y) and return its sum (1 when normalised). `image` must have the
    // kernel's dimensions (AnalyticKernel: any), else ShapeError. NumericalError when normalising a sum that is
    // exactly zero. The position is without effect on a kernel that does not vary.
    virtual double computeImage(View2<double> image, bool doNormalize, double x = 0.0, double y = 0.0) const;
    // The same as a new image whose xy0 is -center.
    Image<double> imageAt(double x = 0.0, double y = 0.0, bool doNormalize = false) const;

    bool isSpatiallyVarying() const { return !spatialFunctions_.empty(); }
    int nKernelParameters() const { return static_cast<int>(fixedParameters().size()); }
    // Parameters of each spatial function; 0 when the kernel does not vary.
    int nSpatialParameters() const;
    // Kernel parameters at a position; those set when the kernel does not vary.
    std::vector<double> kernelParameters(double x = 0.0, double y = 0.0) const;
    // StillskyError when the kernel varies, DomainError for a wrong length.
    void setKernelParameters(std::vector<double> const& parameters);
    // One list per kernel parameter; empty when the kernel does not vary.
    std::vector<std::vector<double>> spatialParameters() const;
    // DomainError, and nothing changed, unless there is one list per kernel parameter, each of its function's length
    // (for a kernel that does not vary: each empty).
    void setSpatialParameters(std::vector<std::vector<double>> const& parameters);
    // A copy. DomainError when i is out of range or the kernel does not vary.
    Function2Ptr spatialFunction(int i) const;
    // The functions themselves, read-only.
    std::vector<Function2Ptr> const& spatialFunctions() const { return spatialFunctions_; }

    // Same class, size, parameters and pixels.
    virtual bool equals(Kernel const& other) const;
    virtual std::string str() const;
    virtual std::string className() const = 0;

protected:
    // DomainError unless width and height are at least 1.
    Kernel(int width, int height);
    Kernel(Kernel const& other);  // deep
    Kernel& operator=(Kernel const&) = delete;

    // Take copies of the functions: none, or one per kernel parameter (else DomainError).
    void setSpatialFunctions(std::vector<Function2Ptr> const& functions);

    // The parameters in force when no spatial function is.
    virtual std::vector<double> fixedParameters() const { return {}; }
    virtual void setFixedParameters(std::vector<double> const&) {}
    // Pixels for given kernel parameters; returns the sum. `image` has been checked.
    virtual double evaluate(View2<double> image, std::vector<double> const& parameters, bool doNormalize) const = 0;

private:
    int width_, height_;
    std::vector<Function2Ptr> spatialFunctions_;
};

// Pixels as given. Never varies, has no parameters.
class FixedKernel : public Kernel {
public:
    // Copies the pixels. DomainError for an empty image.
    explicit FixedKernel(View2<const double> image);
    // Snapshot of any kernel at a position.
    explicit FixedKernel(Kernel const& kernel, Point2D position = Point2D());

    Image<double> const& image() const { return image_; }
    double sum() const { return sum_; }

    KernelPtr clone() const override;
    // Zero-padded or clipped symmetrically. DomainError for a change by an odd number or a size below 1.
    KernelPtr resized(int width, int height) const override;
    bool equals(Kernel const& other) const override;
    std::string className() const override { return "FixedKernel"; }

protected:
    double evaluate(View2<double> image, std::vector<double> const& parameters, bool doNormalize) const override;

private:
    Image<double> image_;
    double sum_ = 0.0;
};

// Pixel (i, j) = f(i - centreX, j - centreY), sampled at the point, not integrated over the pixel.
class AnalyticKernel : public Kernel {
public:
    // `spatialFunctions`: none, or one per parameter of f. The functions are copied.
    AnalyticKernel(int width, int height, Function2 const& function,
                   std::vector<Function2Ptr> const& spatialFunctions = {});

    // A copy of f with the present parameters.
    Function2Ptr kernelFunction() const { return function_->clone(); }

    KernelPtr clone() const override;
    KernelPtr resized(int width, int height) const override;  // f evaluated over the new size
    // Accepts any image size; pixel (0, 0) is then at -(centre + (imageDims - kernelDims)/2).
    double computeImage(View2<double> image, bool doNormalize, double x = 0.0, double y = 0.0) const override;
    bool equals(Kernel const& other) const override;
    std::string str() const override;
    std::string className() const override { return "AnalyticKernel"; }

protected:
    AnalyticKernel(AnalyticKernel const& other);
    std::vector<double> fixedParameters() const override { return function_->parameters(); }
    void setFixedParameters(std::vector<double> const& parameters) override { function_->setParameters(parameters); }
    double evaluate(View2<double> image, std::vector<double> const& parameters, bool doNormalize) const override;

private:
    Function2Ptr function_;
};

// 1 at one pixel, 0 elsewhere: applying it shifts the image, out[y,x] = in[y-cy+py, x-cx+px].
class DeltaFunctionKernel : public Kernel {
public:
    // DomainError when the pixel is not on the kernel.
    DeltaFunctionKernel(int width, int height, Point2I pixel);

    Point2I pixel() const { return pixel_; }

    KernelPtr clone() const override;
    KernelPtr resized(int width, int height) const override;  // as FixedKernel; the pixel must stay on the kernel
    bool equals(Kernel const& other) const override;
    std::string str() const override;
    std::string className() const override { return "DeltaFunctionKernel"; }

protected:
    double evaluate(View2<double> image, std::vector<double> const& parameters, bool doNormalize) const override;

private:
    Point2I pixel_;
};

// k[j,i] = fx(i - centreX) fy(j - centreY). Parameters: those of fx, then those of fy.
class SeparableKernel : public Kernel {
public:
    SeparableKernel(int width, int height, Function1 const& functionX, Function1 const& functionY,
                    std::vector<Function2Ptr> const& spatialFunctions = {});

    Function1Ptr functionX() const { return functionX_->clone(); }
    Function1Ptr functionY() const { return functionY_->clone(); }
    // The two vectors (lengths width and height) at a position; returns the kernel's sum (1 when normalised, each
    // vector by its own sum; NumericalError when either sum is exactly zero).
    double computeVectors(std::vector<double>& x, std::vector<double>& y, bool doNormalize, double posX = 0.0,
                          double posY = 0.0) const;

    KernelPtr clone() const override;
    KernelPtr resized(int width, int height) const override;  // evaluated over the new size
    bool equals(Kernel const& other) const override;
    std::string str() const override;
    std::string className() const override { return "SeparableKernel"; }

protected:
    SeparableKernel(SeparableKernel const& other);
    std::vector<double> fixedParameters() const override;
    void setFixedParameters(std::vector<double> const& parameters) override;
    double evaluate(View2<double> image, std::vector<double> const& parameters, bool doNormalize) const override;

private:
    double vectorsFor(std::vector<double> const& parameters, bool doNormalize, std::vector<double>& x,
                      std::vector<double>& y) const;
    Function1Ptr functionX_, functionY_;
};

// sum_i p_i B_i over a list of basis kernels: the form in which PSF matching delivers its result (Alard & Lupton
// 1998, ApJ 503, 325, eq. 3; spatial variation: Alard 2000, A&AS 144, 363).
class LinearCombinationKernel : public Kernel {
public:
    // The bases are deep-copied. DomainError when there is none, when they differ in size, when one varies, or when
    // the second list's length differs. `parameters`: the coefficients.
    LinearCombinationKernel(KernelList const& bases, std::vector<double> const& parameters);
    // One function, copied for every basis.
    LinearCombinationKernel(KernelList const& bases, Function2 const& spatialFunction);
    LinearCombinationKernel(KernelList const& bases, std::vector<Function2Ptr> const& spatialFunctions);

    int nBasisKernels() const { return static_cast<int>(bases_.size()); }
    // Copies, so that nobody changes this kernel through them.
    KernelList kernelList() const;
    std::vector<double> const& kernelSumList() const { return sums_; }
    // Pixels of basis i, [row, column]; valid while this kernel lives.
    View2<const double> basisImage(int i) const;
    // True when every basis is a DeltaFunctionKernel.
    bool isDeltaFunctionBasis() const { return deltaBasis_; }

    // Sum of the kernel at a position: sum_i p_i sum(B_i). Cheaper than computeImage.
    double sumAt(double x = 0.0, double y = 0.0) const;
    // The same kernel with one basis per spatial parameter, k_p = sum_i c[i][p] B_i, and spatial function p the unit
    // vector e_p. Null when the kernel does not vary or when the functions are not linear in their parameters and
    // alike (class, order, box).
    std::shared_ptr<LinearCombinationKernel> refactor() const;

    KernelPtr clone() const override;
    KernelPtr resized(int width, int height) const override;  // every basis resized
    bool equals(Kernel const& other) const override;
    std::string str() const override;
    std::string className() const override { return "LinearCombinationKernel"; }

protected:
    LinearCombinationKernel(LinearCombinationKernel const& other);
    std::vector<double> fixedParameters() const override { return parameters_; }
    void setFixedParameters(std::vector<double> const& parameters) override { parameters_ = parameters; }
    double evaluate(View2<double> image, std::vector<double> const& parameters, bool doNormalize) const override;

private:
    explicit LinearCombinationKernel(KernelList const& bases);
    KernelList bases_;
    std::vector<double> pixels_;  // basis after basis, width*height each
    std::vector<double> sums_;
    std::vector<double> parameters_;
    bool deltaBasis_ = false;
};

}  // namespace stillsky
