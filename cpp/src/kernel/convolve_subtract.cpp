// Sums of images and the difference image.
#include <algorithm>

#include "kernel_detail.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/kernel/convolve.hpp"

namespace stillsky {
namespace {

template <typename A, typename B>
void checkEqual(View2<A> a, View2<B> b, const char* what) {
    if (a.width != b.width || a.height != b.height) {
        throw ShapeError(std::string(what) + ": " + sizeText(a.width, a.height) + " and " +
                         sizeText(b.width, b.height) + " pixels differ");
    }
}

// Output may be an input: element by element, no restrict.
template <typename T>
STILLSKY_INLINE void combineRow(T* out, double c1, T const* a, double c2, T const* b, int n) {
    const T k1 = static_cast<T>(c1), k2 = static_cast<T>(c2);
    for (int x = 0; x < n; ++x) out[x] = k1 * a[x] + k2 * b[x];
}
STILLSKY_SIMD void combine(float* out, double c1, float const* a, double c2, float const* b, int n) {
    combineRow(out, c1, a, c2, b, n);
}
STILLSKY_SIMD void combine(double* out, double c1, double const* a, double c2, double const* b, int n) {
    combineRow(out, c1, a, c2, b, n);
}
STILLSKY_SIMD void combineMask(MaskPixel* out, MaskPixel const* a, MaskPixel const* b, int n) {
    for (int x = 0; x < n; ++x) out[x] = a[x] | b[x];
}

// difference holds the convolved template on entry. sign = 1: science - (template + background).
template <typename T>
void subtractRow(T* difference, T const* science, int n, double sign, double constant, Function2 const* background,
                 double x0, double y) {
    if (background) {
        for (int x = 0; x < n; ++x) {
            const double model = static_cast<double>(difference[x]) + (*background)(x0 + x, y);
            difference[x] = static_cast<T>(sign * (static_cast<double>(science[x]) - model));
        }
        return;
    }
    for (int x = 0; x < n; ++x) {
        const double model = static_cast<double>(difference[x]) + constant;
        difference[x] = static_cast<T>(sign * (static_cast<double>(science[x]) - model));
    }
}

template <typename T>
void subtractAll(MaskedImage<T>& out, MaskedView<const T> science, double constant, Function2 const* background,
                 bool invert) {
    MaskedView<T> o = out.view();
    const int n = o.width();
    parallelFor(o.height(), [&](int y) {
        subtractRow(o.image.row(y), science.image.row(y), n, invert ? 1.0 : -1.0, constant, background,
                    science.xy0.x, science.xy0.y + y);
        combineMask(o.mask.row(y), o.mask.row(y), science.mask.row(y), n);
        combine(o.variance.row(y), 1.0, o.variance.row(y), 1.0, science.variance.row(y), n);
    });
}

template <typename T>
MaskedImage<T> subtractMasked(MaskedView<const T> templateImage, MaskedView<const T> science, Kernel const& kernel,
                              double constant, Function2 const* background, bool invert, ConvolutionControl control) {
    checkEqual(templateImage.image, science.image, "convolveAndSubtract: template and science");
    control.doNormalize = false;
    control.doCopyEdge = false;
    MaskedImage<T> out(science.bbox());
    MaskedView<const T> in = templateImage;
    in.xy0 = science.xy0;
    convolve(out.view(), in, kernel, control);
    subtractAll(out, science, constant, background, invert);
    return out;
}

}  // namespace

template <typename T>
void scaledPlus(View2<T> out, double c1, View2<const T> in1, double c2, View2<const T> in2) {
    checkEqual(out, in1, "scaledPlus: output and first input");
    checkEqual(out, in2, "scaledPlus: output and second input");
    parallelFor(out.height, [&](int y) { combine(out.row(y), c1, in1.row(y), c2, in2.row(y), out.width); });
}

template <typename T>
void scaledPlus(MaskedView<T> out, double c1, MaskedView<const T> in1, double c2, MaskedView<const T> in2) {
    scaledPlus(out.image, c1, in1.image, c2, in2.image);
    scaledPlus(out.variance, c1 * c1, in1.variance, c2 * c2, in2.variance);
    parallelFor(out.height(), [&](int y) {
        combineMask(out.mask.row(y), in1.mask.row(y), in2.mask.row(y), out.width());
    });
}

template <typename T>
MaskedImage<T> convolveAndSubtract(MaskedView<const T> templateImage, MaskedView<const T> science,
                                   Kernel const& kernel, Function2 const* background, bool invert,
                                   ConvolutionControl control) {
    return subtractMasked(templateImage, science, kernel, 0.0, background, invert, control);
}

template <typename T>
MaskedImage<T> convolveAndSubtract(MaskedView<const T> templateImage, MaskedView<const T> science,
                                   Kernel const& kernel, double background, bool invert, ConvolutionControl control) {
    return subtractMasked(templateImage, science, kernel, background, nullptr, invert, control);
}

template <typename T>
MaskedImage<T> convolveAndSubtract(View2<const T> templateImage, MaskedView<const T> science, Kernel const& kernel,
                                   Function2 const* background, bool invert, ConvolutionControl control) {
    checkEqual(templateImage, science.image, "convolveAndSubtract: template and science");
    // An unmasked template without noise: its planes add nothing but the edges.
    control.doNormalize = false;
    control.doCopyEdge = false;
    MaskedImage<T> out(science.bbox());
    convolve(out.image().view(), templateImage, kernel, control, science.xy0);
    const Box2I good = kernel.shrinkBBox(Box2I({0, 0}, {templateImage.width, templateImage.height}));
    for (int y = 0; y < out.height(); ++y) {
        for (int x = 0; x < out.width(); ++x) {
            if (good.contains(Point2I{x, y})) continue;
            out.mask()(x, y) = control.noDataBit;
            out.variance()(x, y) = noDataVariancePixel();
        }
    }
    subtractAll(out, science, 0.0, background, invert);
    return out;
}

#define STILLSKY_INSTANTIATE(T)                                                                                       \
    template void scaledPlus(View2<T>, double, View2<const T>, double, View2<const T>);                               \
    template void scaledPlus(MaskedView<T>, double, MaskedView<const T>, double, MaskedView<const T>);                \
    template MaskedImage<T> convolveAndSubtract(MaskedView<const T>, MaskedView<const T>, Kernel const&,              \
                                                Function2 const*, bool, ConvolutionControl);                          \
    template MaskedImage<T> convolveAndSubtract(MaskedView<const T>, MaskedView<const T>, Kernel const&, double,      \
                                                bool, ConvolutionControl);                                            \
    template MaskedImage<T> convolveAndSubtract(View2<const T>, MaskedView<const T>, Kernel const&, Function2 const*, \
                                                bool, ConvolutionControl);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stillsky
