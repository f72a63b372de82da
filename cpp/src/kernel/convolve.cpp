// Choice of the method, edges, and the methods for kernels that are no polynomial of the position.
#include "stillsky/kernel/convolve.hpp"

#include <algorithm>
#include <cmath>

#include "convolve_detail.hpp"
#include "kernel_detail.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

using detail::DirectJob;
using detail::NEGLIGIBLE;
using detail::Support;

// What one call works on; mask and variance are empty for an image alone.
template <typename T>
struct Planes {
    View2<T> out;
    View2<const T> in;
    View2<MaskPixel> maskOut;
    View2<const MaskPixel> maskIn;
    View2<VariancePixel> varianceOut;
    View2<const VariancePixel> varianceIn;
    Point2I xy0;
    Box2I good;  // local indices
};

[[noreturn]] void throwZeroSum() {
    throw NumericalError("doNormalize: the kernel's sum is exactly 0 at some pixel");
}

void zeroNegligible(double* taps, std::size_t n) {
    double largest = 0.0;
    for (std::size_t q = 0; q < n; ++q) largest = std::max(largest, std::fabs(taps[q]));
    for (std::size_t q = 0; q < n; ++q) {
        if (std::fabs(taps[q]) <= largest * NEGLIGIBLE) taps[q] = 0.0;
    }
}

// One output pixel with the kernel written out; zero taps take no part.
template <typename T>
void applyAt(Planes<T> const& p, int x, int y, View2<const double> kernel, Point2I center) {
    double image = 0.0, variance = 0.0;
    MaskPixel mask = 0;
    for (int j = 0; j < kernel.height; ++j) {
        const int v = y - center.y + j, u0 = x - center.x;
        for (int i = 0; i < kernel.width; ++i) {
            const double k = kernel(i, j);
            if (k == 0.0) continue;
            image += k * static_cast<double>(p.in(u0 + i, v));
            if (!p.varianceIn.empty()) variance += k * k * static_cast<double>(p.varianceIn(u0 + i, v));
            if (!p.maskIn.empty()) mask |= p.maskIn(u0 + i, v);
        }
    }
    if (!p.out.empty()) p.out(x, y) = static_cast<T>(image);
    if (!p.varianceIn.empty()) p.varianceOut(x, y) = static_cast<VariancePixel>(variance);
    if (!p.maskIn.empty()) p.maskOut(x, y) = mask;
}

// The kernel evaluated at every pixel.
template <typename T>
void convolvePixelByPixel(Planes<T> const& p, Kernel const& kernel, bool doNormalize) {
    parallelFor(p.good.height(), [&](int r) {
        const int y = p.good.minY() + r;
        Image<double> image(kernel.width(), kernel.height());
        for (int x = p.good.minX(); x <= p.good.maxX(); ++x) {
            kernel.computeImage(image.view(), doNormalize, x + p.xy0.x, y + p.xy0.y);
            zeroNegligible(image.view().data, static_cast<std::size_t>(image.bbox().area()));
            applyAt(p, x, y, image.view(), kernel.center());
        }
    });
}

// The kernel at the corners of a sub-region, bilinear between them. Corners on the right and top lie one pixel beyond
// the sub-region and are those of its neighbour.
template <typename T>
void interpolateRegion(Planes<T> const& p, Kernel const& kernel, bool doNormalize, Box2I const& region) {
    const int x0 = region.minX(), y0 = region.minY(), x1 = region.maxX() + 1, y1 = region.maxY() + 1;
    const auto at = [&](int x, int y) { return kernel.imageAt(x + p.xy0.x, y + p.xy0.y, doNormalize); };
    const Image<double> lowLeft = at(x0, y0), lowRight = at(x1, y0), highLeft = at(x0, y1), highRight = at(x1, y1);
    Image<double> image(kernel.width(), kernel.height());
    const std::size_t n = static_cast<std::size_t>(image.bbox().area());
    for (int y = y0; y < y1; ++y) {
        const double fy = static_cast<double>(y - y0) / region.height();
        for (int x = x0; x < x1; ++x) {
            const double fx = static_cast<double>(x - x0) / region.width();
            for (std::size_t q = 0; q < n; ++q) {
                const double low = lowLeft.view().data[q] * (1 - fx) + lowRight.view().data[q] * fx;
                const double high = highLeft.view().data[q] * (1 - fx) + highRight.view().data[q] * fx;
                image.view().data[q] = low * (1 - fy) + high * fy;
            }
            zeroNegligible(image.view().data, n);
            applyAt(p, x, y, image.view(), kernel.center());
        }
    }
}

template <typename T>
void convolveInterpolated(Planes<T> const& p, Kernel const& kernel, ConvolutionControl const& control) {
    const std::vector<int> widths = subregionLengths(p.good.width(), control.maxInterpolationDistance);
    const std::vector<int> heights = subregionLengths(p.good.height(), control.maxInterpolationDistance);
    std::vector<Box2I> regions;
    for (int y = p.good.minY(), j = 0; j < static_cast<int>(heights.size()); y += heights[static_cast<std::size_t>(j++)]) {
        for (int x = p.good.minX(), i = 0; i < static_cast<int>(widths.size()); x += widths[static_cast<std::size_t>(i++)]) {
            const Box2I region({x, y}, {widths[static_cast<std::size_t>(i)], heights[static_cast<std::size_t>(j)]});
            if (!region.isEmpty()) regions.push_back(region);
        }
    }
    parallelFor(static_cast<int>(regions.size()), [&](int i) {
        interpolateRegion(p, kernel, control.doNormalize, regions[static_cast<std::size_t>(i)]);
    });
}

template <typename T>
void shift(Planes<T> const& p, DeltaFunctionKernel const& kernel) {
    const int dx = kernel.pixel().x - kernel.center().x, dy = kernel.pixel().y - kernel.center().y;
    const int x = p.good.minX(), n = p.good.width();
    parallelFor(p.good.height(), [&](int r) {
        const int y = p.good.minY() + r;
        if (!p.out.empty()) std::copy_n(p.in.row(y + dy) + x + dx, n, p.out.row(y) + x);
        if (!p.varianceIn.empty()) std::copy_n(p.varianceIn.row(y + dy) + x + dx, n, p.varianceOut.row(y) + x);
        if (!p.maskIn.empty()) std::copy_n(p.maskIn.row(y + dy) + x + dx, n, p.maskOut.row(y) + x);
    });
}

template <typename T>
DirectJob<T> jobOf(Planes<T> const& p, Kernel const& kernel, bool doNormalize) {
    DirectJob<T> job;
    job.in = p.in;
    job.out = p.out;
    job.varianceIn = p.varianceIn;
    job.varianceOut = p.varianceOut;
    job.center = kernel.center();
    job.goodX0 = p.good.minX();
    job.goodY0 = p.good.minY();
    job.goodWidth = p.good.width();
    job.goodHeight = p.good.height();
    job.xy0 = p.xy0;
    job.doNormalize = doNormalize;
    return job;
}

template <typename T>
void spreadMask(Planes<T> const& p, Support const& support, Point2I center) {
    if (p.maskIn.empty()) return;
    detail::dilateMask(p.maskOut, p.maskIn, support, center, p.good.minX(), p.good.minY(), p.good.width(),
                       p.good.height());
}

bool hasInnerZero(std::vector<double> const& v) {
    auto const isZero = [](double t) { return t == 0.0; };
    const auto first = std::find_if_not(v.begin(), v.end(), isZero);
    const auto last = std::find_if_not(v.rbegin(), v.rend(), isZero).base();
    return first >= last || std::find_if(first, last, isZero) != last;
}

// False when the kernel is not a constant outer product free of inner zeros.
template <typename T>
bool trySeparable(Planes<T> const& p, Kernel const& kernel, bool doNormalize) {
    auto const* separable = dynamic_cast<SeparableKernel const*>(&kernel);
    if (!separable || kernel.isSpatiallyVarying()) return false;
    std::vector<double> vx, vy;
    separable->computeVectors(vx, vy, doNormalize);
    zeroNegligible(vx.data(), vx.size());
    zeroNegligible(vy.data(), vy.size());
    if (hasInnerZero(vx) || hasInnerZero(vy)) return false;
    std::vector<unsigned char> nonZero;
    for (double y : vy) {
        for (double x : vx) nonZero.push_back(x != 0.0 && y != 0.0);
    }
    if (!p.out.empty()) detail::convolveSeparable(jobOf(p, kernel, false), vx, vy);
    spreadMask(p, detail::findSupport(nonZero, kernel.width(), kernel.height()), kernel.center());
    return true;
}

template <typename T>
void convolvePolynomial(Planes<T> const& p, Kernel const& kernel, KernelTerms const& terms, bool doNormalize) {
    if (doNormalize && terms.order == 0 && terms.sums[0] == 0.0) throwZeroSum();
    const Support support = detail::findSupport(terms.support, kernel.width(), kernel.height());
    if (!p.out.empty()) {
        std::atomic<bool> zeroSum{false};
        DirectJob<T> job = jobOf(p, kernel, doNormalize);
        job.terms = &terms;
        job.support = &support;
        job.zeroSum = &zeroSum;
        detail::convolveDirect(job);
        if (zeroSum) throwZeroSum();
    }
    spreadMask(p, support, kernel.center());
}

template <typename T>
void convolveGood(Planes<T> const& p, Kernel const& kernel, ConvolutionControl const& control) {
    if (auto const* delta = dynamic_cast<DeltaFunctionKernel const*>(&kernel)) return shift(p, *delta);
    if (trySeparable(p, kernel, control.doNormalize)) return;
    if (kernel.isSpatiallyVarying() && control.interpolateKernel && control.maxInterpolationDistance > 1) {
        return convolveInterpolated(p, kernel, control);
    }
    const KernelTerms terms = kernelTerms(kernel, Box2I(p.xy0, {p.in.width, p.in.height}));
    if (terms.terms.empty()) return convolvePixelByPixel(p, kernel, control.doNormalize);
    convolvePolynomial(p, kernel, terms, control.doNormalize);
}

// Call f(first pixel, last pixel + 1, row) for every run of edge pixels.
template <typename F>
void forEdges(Box2I const& good, int width, int height, F f) {
    for (int y = 0; y < height; ++y) {
        if (y < good.minY() || y > good.maxY()) {
            f(0, width, y);
        } else {
            if (good.minX() > 0) f(0, good.minX(), y);
            if (good.maxX() + 1 < width) f(good.maxX() + 1, width, y);
        }
    }
}

template <typename T>
void fillEdges(Planes<T> const& p, ConvolutionControl const& control, int width, int height) {
    forEdges(p.good, width, height, [&](int x0, int x1, int y) {
        const int n = x1 - x0;
        if (control.doCopyEdge) {
            if (!p.out.empty()) std::copy_n(p.in.row(y) + x0, n, p.out.row(y) + x0);
            if (!p.varianceIn.empty()) std::copy_n(p.varianceIn.row(y) + x0, n, p.varianceOut.row(y) + x0);
            for (int x = x0; x < x1 && !p.maskIn.empty(); ++x) p.maskOut(x, y) = p.maskIn(x, y) | control.edgeBit;
        } else {
            if (!p.out.empty()) std::fill_n(p.out.row(y) + x0, n, noDataImagePixel<T>());
            if (!p.varianceIn.empty()) std::fill_n(p.varianceOut.row(y) + x0, n, noDataVariancePixel());
            if (!p.maskIn.empty()) std::fill_n(p.maskOut.row(y) + x0, n, control.noDataBit);
        }
    });
}

template <typename T>
void checkSizes(View2<T> out, View2<const T> in) {
    if (out.width != in.width || out.height != in.height) {
        throw ShapeError("convolve: the output is " + sizeText(out.width, out.height) + ", the input " +
                         sizeText(in.width, in.height) + "; they must be equal");
    }
}

Box2I goodRegion(Kernel const& kernel, int width, int height) {
    return kernel.shrinkBBox(Box2I({0, 0}, {width, height}));
}

}  // namespace

std::vector<int> subregionLengths(int n, int distance) {
    if (n < 0) throw DomainError("n: wanted >= 0 pixels, got " + std::to_string(n));
    if (distance < 1) throw DomainError("distance: wanted >= 1 pixel, got " + std::to_string(distance));
    std::vector<int> lengths;
    for (int parts = 1 + n / distance, left = n; parts > 0; --parts) {
        lengths.push_back(static_cast<int>(std::floor(0.5 + static_cast<double>(left) / parts)));
        left -= lengths.back();
    }
    return lengths;
}

template <typename T>
void convolve(MaskedView<T> out, MaskedView<const T> in, Kernel const& kernel, ConvolutionControl const& control) {
    checkSizes(out.image, in.image);
    Planes<T> p{out.image, in.image, out.mask, in.mask, out.variance, in.variance, in.xy0,
                goodRegion(kernel, in.width(), in.height())};
    convolveGood(p, kernel, control);
    fillEdges(p, control, in.width(), in.height());
}

template <typename T>
void convolve(View2<T> out, View2<const T> in, Kernel const& kernel, ConvolutionControl const& control, Point2I xy0) {
    checkSizes(out, in);
    Planes<T> p{out, in, {}, {}, {}, {}, xy0, goodRegion(kernel, in.width, in.height)};
    convolveGood(p, kernel, control);
    fillEdges(p, control, in.width, in.height);
}

void convolveMask(View2<MaskPixel> out, View2<const MaskPixel> in, Kernel const& kernel,
                  ConvolutionControl const& control, Point2I xy0) {
    checkSizes(out, in);
    const Box2I good = goodRegion(kernel, in.width, in.height);
    Planes<float> p{{}, {}, out, in, {}, {}, xy0, good};
    if (auto const* delta = dynamic_cast<DeltaFunctionKernel const*>(&kernel)) {
        shift(p, *delta);
    } else if (!trySeparable(p, kernel, false)) {
        const KernelTerms terms = kernelTerms(kernel, Box2I(xy0, {in.width, in.height}));
        if (terms.terms.empty() || (kernel.isSpatiallyVarying() && control.interpolateKernel &&
                                    control.maxInterpolationDistance > 1)) {
            throw DomainError("convolveMask: wanted a kernel whose variation is polynomial, applied exactly");
        }
        convolvePolynomial(p, kernel, terms, false);
    }
    fillEdges(p, control, in.width, in.height);
}

template void convolve(MaskedView<float>, MaskedView<const float>, Kernel const&, ConvolutionControl const&);
template void convolve(MaskedView<double>, MaskedView<const double>, Kernel const&, ConvolutionControl const&);
template void convolve(View2<float>, View2<const float>, Kernel const&, ConvolutionControl const&, Point2I);
template void convolve(View2<double>, View2<const double>, Kernel const&, ConvolutionControl const&, Point2I);

}  // namespace stillsky
