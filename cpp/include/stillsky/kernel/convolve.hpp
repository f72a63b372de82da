// Applying kernels to images: exact at every pixel, for image, variance and mask.
//
// With k the kernel evaluated at the parent position of the output pixel,
//   image    = sum k * in.image
//   variance = sum k^2 * in.variance
//   mask     = OR of in.mask over the taps that are not zero
// over the "good" pixels, those whose whole footprint lies in the image. Zero taps take part in nothing: a NaN under
// one does not spread. Taps below 2^-53 of the kernel's largest are zero taps (they would only spread masks and cost
// subnormal arithmetic; in a SeparableKernel the rule holds for each factor); a tap of a varying kernel counts as zero when it is so all over the image. A non-finite input
// pixel makes non-finite exactly the outputs whose non-zero taps touch it.
//
// Pixels: float or double images, int32 masks, float variance. Sums run in the image's own type over at most a kernel
// footprint: relative rounding 1e-6 (float) of the largest term.
#pragma once

#include "stillsky/image/image.hpp"
#include "stillsky/image/mask_planes.hpp"
#include "stillsky/kernel/kernel.hpp"
#include "stillsky/math/function.hpp"

namespace stillsky {

struct ConvolutionControl {
    bool doNormalize = true;   // divide the kernel by its sum, at every position
    bool doCopyEdge = false;   // edge pixels: copy the input and set EDGE; else NaN, NO_DATA only, variance inf
    // Used only with interpolateKernel: the distance in pixels between nodes at which the kernel is computed and
    // between which it is interpolated bilinearly. 0 or 1: exact.
    int maxInterpolationDistance = 10;
    // Imitate that interpolation of a varying kernel instead of evaluating it at every pixel. It is an approximation,
    // kept for comparisons with software that has no exact method.
    bool interpolateKernel = false;
    // Bits of the output mask's own planes.
    MaskPixel noDataBit = mask_planes::NO_DATA;
    MaskPixel edgeBit = mask_planes::EDGE;
};

// out and in have equal dimensions, at least those of the kernel (ShapeError), and do not overlap in memory. in.xy0
// places the positions; writing the output's xy0 is the caller's affair. Instantiated for float and double.
//
// Cost: delta kernels are a copy, separable ones two passes; others width*height multiply-adds per pixel and plane,
// plus one per order of the variation. Kernels that are linear in polynomials of (x, y) are reduced to polynomials in
// x for every row, so the number of basis kernels does not matter; other varying kernels are evaluated at every pixel.
// Uses parallelFor; memory beyond the output: a tile of 64 rows per thread.
template <typename T>
void convolve(MaskedView<T> out, MaskedView<const T> in, Kernel const& kernel,
              ConvolutionControl const& control = ConvolutionControl());

// The image plane alone. `xy0` are the parent coordinates of the input's first pixel.
template <typename T>
void convolve(View2<T> out, View2<const T> in, Kernel const& kernel,
              ConvolutionControl const& control = ConvolutionControl(), Point2I xy0 = Point2I());

// The mask of convolve() alone, edges included. DomainError for a varying kernel that is no polynomial of the
// position, or with interpolateKernel.
void convolveMask(View2<MaskPixel> out, View2<const MaskPixel> in, Kernel const& kernel,
                  ConvolutionControl const& control = ConvolutionControl(), Point2I xy0 = Point2I());

// Kernel terms over the good pixels of an image with box `box`: the kernel at (x, y) is sum_p T_a(x') T_b(y') k_p with
// x', y' in [-1, 1] over Box2D(shrinkBBox(box)), p in the order of polynomial.hpp; negligible taps are exactly 0.
// Empty when the kernel is not linear in polynomials; one term when it does not vary. Rows of the result: terms,
// columns: pixels x + y*width.
struct KernelTerms {
    int order = 0;
    Box2D box;
    int width = 0, height = 0;
    std::vector<std::vector<double>> terms;
    std::vector<double> sums;             // sum of each term, from the stored sums of the basis kernels
    std::vector<unsigned char> support;  // per pixel: 1 where the kernel is not negligible
};
KernelTerms kernelTerms(Kernel const& kernel, Box2I const& box);

// Lengths of the sub-regions into which interpolation divides n pixels: 1 + n/distance parts, each floor or ceil of
// n over their number.
std::vector<int> subregionLengths(int n, int distance);

// out = c1 in1 + c2 in2; for masked images mask = OR, variance = c1^2 var1 + c2^2 var2. `out` may be in1 or in2.
// ShapeError when dimensions differ.
template <typename T>
void scaledPlus(View2<T> out, double c1, View2<const T> in1, double c2, View2<const T> in2);
template <typename T>
void scaledPlus(MaskedView<T> out, double c1, MaskedView<const T> in1, double c2, MaskedView<const T> in2);

// The last step of a difference, in place: `model` holds the convolved template on entry and
// science - (model + background + constant) on return (the negative when invert is false); masks OR, variances add.
// `background` may be null; it is evaluated at parent positions, counted from science.xy0.
template <typename T>
void subtractModel(MaskedView<T> model, MaskedView<const T> science, Function2 const* background, double constant,
                   bool invert = true);
// The same into `out`, which leaves the model as it is.
template <typename T>
void subtractModel(MaskedView<T> out, MaskedView<const T> model, MaskedView<const T> science,
                   Function2 const* background, double constant, bool invert = true);

// D = science - (kernel applied to template + background); with invert = false the negative. The kernel is not
// normalised and edges are not copied, so the outermost pixels of D are NaN with NO_DATA. `background` is evaluated at
// the parent position of every pixel; null means none. Variance: science + that of the convolved template; masks OR.
// ShapeError when dimensions differ.
template <typename T>
MaskedImage<T> convolveAndSubtract(MaskedView<const T> templateImage, MaskedView<const T> science,
                                   Kernel const& kernel, Function2 const* background = nullptr, bool invert = true,
                                   ConvolutionControl control = ConvolutionControl());
template <typename T>
MaskedImage<T> convolveAndSubtract(MaskedView<const T> templateImage, MaskedView<const T> science,
                                   Kernel const& kernel, double background, bool invert = true,
                                   ConvolutionControl control = ConvolutionControl());
// A template without mask and variance: the difference carries the science image's (edge pixels: NO_DATA, inf).
template <typename T>
MaskedImage<T> convolveAndSubtract(View2<const T> templateImage, MaskedView<const T> science, Kernel const& kernel,
                                   Function2 const* background = nullptr, bool invert = true,
                                   ConvolutionControl control = ConvolutionControl());

}  // namespace stillsky
