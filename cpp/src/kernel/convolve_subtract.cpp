// Sums of images and the difference image.
#include <algorithm>

#include "kernel_detail.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/kernel/convolve.hpp"
#include "stillsky/math/polynomial.hpp"

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

STILLSKY_SIMD void addScaledRow(double* STILLSKY_RESTRICT sum, double const* STILLSKY_RESTRICT v, double k, int n) {
    for (int x = 0; x < n; ++x) sum[x] += k * v[x];
}

// Background values row by row. Polynomials are collapsed to one sum over the powers of x per row; other functions are
// called at every pixel.
class BackgroundRows {
public:
    BackgroundRows(Function2 const* function, double constant, Point2I xy0, int width)
            : function_(function), polynomial_(dynamic_cast<BasePolynomialFunction2 const*>(function)),
              constant_(constant), xy0_(xy0), width_(width) {
        if (!polynomial_) return;
        const std::size_t powers = static_cast<std::size_t>(polynomial_->order() + 1);
        std::vector<double> at(powers);
        factors_.resize(powers * static_cast<std::size_t>(width));
        for (int x = 0; x < width; ++x) {
            polynomial_->factorsX(xy0.x + x, at.data());
            for (std::size_t a = 0; a < powers; ++a) factors_[a * static_cast<std::size_t>(width) + static_cast<std::size_t>(x)] = at[a];
        }
    }

    void fill(int y, double* out) const {
        std::fill_n(out, width_, constant_);
        if (polynomial_) {
            const int order = polynomial_->order();
            std::vector<double> fy(static_cast<std::size_t>(order + 1));
            polynomial_->factorsY(xy0_.y + y, fy.data());
            for (int a = 0; a <= order; ++a) {
                double c = 0.0;
                for (int b = 0; a + b <= order; ++b) {
                    c += polynomial_->parameter(polynomialIndex(a, b)) * fy[static_cast<std::size_t>(b)];
                }
                addScaledRow(out, &factors_[static_cast<std::size_t>(a) * static_cast<std::size_t>(width_)], c, width_);
            }
        } else if (function_) {
            for (int x = 0; x < width_; ++x) out[x] += (*function_)(xy0_.x + x, xy0_.y + y);
        }
    }

private:
    Function2 const* function_;
    BasePolynomialFunction2 const* polynomial_;
    double constant_;
    Point2I xy0_;
    int width_;
    std::vector<double> factors_;
};

// Output may be the matched image: element by element, no restrict.
template <typename T>
STILLSKY_INLINE void differenceRow(T* out, T const* matched, T const* science, double const* background, double sign,
                                   int n) {
    for (int x = 0; x < n; ++x) {
        const double model = static_cast<double>(matched[x]) + background[x];
        out[x] = static_cast<T>(sign * (static_cast<double>(science[x]) - model));
    }
}
STILLSKY_SIMD void subtractRow(float* out, float const* matched, float const* science, double const* background,
                               double sign, int n) {
    differenceRow(out, matched, science, background, sign, n);
}
STILLSKY_SIMD void subtractRow(double* out, double const* matched, double const* science, double const* background,
                               double sign, int n) {
    differenceRow(out, matched, science, background, sign, n);
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
    subtractModel(out.view(), science, background, constant, invert);
    return out;
}

}  // namespace

template <typename T>
void subtractModel(MaskedView<T> model, MaskedView<const T> science, Function2 const* background, double constant,
                   bool invert) {
    subtractModel(model, MaskedView<const T>(model), science, background, constant, invert);
}

template <typename T>
void subtractModel(MaskedView<T> out, MaskedView<const T> model, MaskedView<const T> science,
                   Function2 const* background, double constant, bool invert) {
    checkEqual(model.image, science.image, "subtractModel: model and science");
    checkEqual(out.image, science.image, "subtractModel: output and science");
    const int n = model.width();
    const BackgroundRows rows(background, constant, science.xy0, n);
    const int bands = (model.height() + 63) / 64;
    parallelFor(bands, [&](int band) {
        std::vector<double> values(static_cast<std::size_t>(n));
        for (int y = band * 64; y < std::min(model.height(), (band + 1) * 64); ++y) {
            rows.fill(y, values.data());
            subtractRow(out.image.row(y), model.image.row(y), science.image.row(y), values.data(),
                        invert ? 1.0 : -1.0, n);
            combineMask(out.mask.row(y), model.mask.row(y), science.mask.row(y), n);
            combine(out.variance.row(y), 1.0, model.variance.row(y), 1.0, science.variance.row(y), n);
        }
    });
}

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
    subtractModel(out.view(), science, background, 0.0, invert);
    return out;
}

#define STILLSKY_INSTANTIATE(T)                                                                                       \
    template void subtractModel(MaskedView<T>, MaskedView<const T>, Function2 const*, double, bool);                  \
    template void subtractModel(MaskedView<T>, MaskedView<const T>, MaskedView<const T>, Function2 const*, double,    \
                                bool);                                                                                \
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
