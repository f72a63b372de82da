// Kernels and convolution from C++ alone: copies, errors, agreement with the definition, all methods of dispatch.
#include "stillsky/kernel/kernel.hpp"

#include <cmath>
#include <thread>

#include "check.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/kernel/convolve.hpp"
#include "stillsky/math/gaussian.hpp"
#include "stillsky/math/polynomial.hpp"
#include "stillsky/psfmatch/basis.hpp"
#include "stillsky/psfmatch/regularize.hpp"

using namespace stillsky;

namespace {

// A reproducible value in [0, 1) per pixel.
double noise(int x, int y, int seed) {
    unsigned h = 2166136261u;
    for (int v : {x, y, seed}) h = (h ^ static_cast<unsigned>(v)) * 16777619u, h ^= h >> 13;
    return (h & 0xffffff) / 16777216.0;
}

template <typename T>
MaskedImage<T> scene(int width, int height, Point2I xy0) {
    MaskedImage<T> out(Box2I(xy0, {width, height}));
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            out.image()(x, y) = static_cast<T>(100 + 10 * noise(x, y, 1));
            out.variance()(x, y) = static_cast<float>(20 + 10 * noise(x, y, 2));
            out.mask()(x, y) = noise(x, y, 3) < 0.01 ? 4 : 0;
        }
    }
    return out;
}

template <typename T>
void checkAgainstDefinition(Kernel const& kernel, int width, int height, double tolerance) {
    const MaskedImage<T> in = scene<T>(width, height, {40, -7});
    MaskedImage<T> out(in.bbox());
    ConvolutionControl control;
    control.doNormalize = false;
    convolve(out.view(), in.view(), kernel, control);
    const Box2I good = kernel.shrinkBBox(Box2I({0, 0}, {width, height}));
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            if (!good.contains(Point2I{x, y})) {
                CHECK(std::isnan(out.image()(x, y)));
                CHECK(std::isinf(out.variance()(x, y)));
                CHECK(out.mask()(x, y) == control.noDataBit);
                continue;
            }
            const Image<double> k = kernel.imageAt(x + 40, y - 7);
            double image = 0, variance = 0, scale = 0;
            MaskPixel mask = 0;
            for (int j = 0; j < kernel.height(); ++j) {
                for (int i = 0; i < kernel.width(); ++i) {
                    const int u = x - kernel.center().x + i, v = y - kernel.center().y + j;
                    image += k(i, j) * static_cast<double>(in.image()(u, v));
                    scale += std::fabs(k(i, j)) * static_cast<double>(in.image()(u, v));
                    variance += k(i, j) * k(i, j) * static_cast<double>(in.variance()(u, v));
                    if (k(i, j) != 0) mask |= in.mask()(u, v);
                }
            }
            CHECK_CLOSE(static_cast<double>(out.image()(x, y)), image, tolerance * scale);
            CHECK_CLOSE(static_cast<double>(out.variance()(x, y)), variance, 1e-5 * variance);
            CHECK(out.mask()(x, y) == mask);
        }
    }
}

std::shared_ptr<LinearCombinationKernel> varyingKernel(int order, int halfWidth) {
    const KernelList bases = makeAlardLuptonBasisList(halfWidth, 2, {0.9, 1.8}, {2, 1});
    auto kernel = std::make_shared<LinearCombinationKernel>(
            bases, Chebyshev1Function2(order, Box2D(Box2I({40, -7}, {90, 80}))));
    std::vector<std::vector<double>> parameters;
    for (int i = 0; i < kernel->nBasisKernels(); ++i) {
        parameters.emplace_back();
        for (int p = 0; p < polynomialSize(order); ++p) parameters.back().push_back(0.1 * noise(i, p, 4));
    }
    parameters[0][0] = 1.0;
    kernel->setSpatialParameters(parameters);
    return kernel;
}

void testConvolution() {
    for (int order = 0; order <= 4; ++order) {
        checkAgainstDefinition<float>(*varyingKernel(order, 3), 90, 71, 1e-6);
        checkAgainstDefinition<double>(*varyingKernel(order, 3), 90, 71, 1e-14);
    }
    checkAgainstDefinition<float>(DeltaFunctionKernel(4, 3, {3, 0}), 30, 20, 1e-7);
    checkAgainstDefinition<float>(SeparableKernel(5, 4, GaussianFunction1(1.0), GaussianFunction1(2.0)), 30, 80, 1e-6);
    checkAgainstDefinition<float>(AnalyticKernel(7, 6, GaussianFunction2(1.5, 2.5, 0.3)), 70, 9, 1e-6);
    // kernels as tall as the image, one row, one column
    checkAgainstDefinition<float>(AnalyticKernel(1, 9, GaussianFunction2(1.5, 2.5)), 70, 9, 1e-6);
    checkAgainstDefinition<float>(AnalyticKernel(9, 1, GaussianFunction2(1.5, 2.5)), 9, 7, 1e-6);
    checkAgainstDefinition<float>(AnalyticKernel(3, 2, GaussianFunction2(1.5, 2.5)), 20, 7, 1e-6);
}

void testThreadCountDoesNotMatter() {
    const MaskedImage<float> in = scene<float>(300, 150, {0, 0});
    MaskedImage<float> one(in.bbox()), many(in.bbox());
    const auto kernel = varyingKernel(2, 4);
    ConvolutionControl control;
    control.doCopyEdge = true;
    setNumThreads(1);
    convolve(one.view(), in.view(), *kernel, control);
    setNumThreads(4);
    convolve(many.view(), in.view(), *kernel, control);
    setNumThreads(0);
    for (int y = 0; y < 150; ++y) {
        for (int x = 0; x < 300; ++x) {
            CHECK(one.image()(x, y) == many.image()(x, y));
            CHECK(one.variance()(x, y) == many.variance()(x, y));
            CHECK(one.mask()(x, y) == many.mask()(x, y));
        }
    }
}

void testErrors() {
    CHECK_THROWS(LinearCombinationKernel(KernelList(), std::vector<double>()), DomainError);
    CHECK_THROWS(DeltaFunctionKernel(2, 2, {2, 0}), DomainError);
    CHECK_THROWS(AnalyticKernel(0, 3, GaussianFunction2(1, 1)), DomainError);
    const MaskedImage<float> in = scene<float>(10, 10, {0, 0});
    MaskedImage<float> small(9, 10), out(10, 10);
    const AnalyticKernel kernel(3, 3, GaussianFunction2(1, 1)), large(11, 3, GaussianFunction2(1, 1));
    CHECK_THROWS(convolve(small.view(), in.view(), kernel), ShapeError);
    CHECK_THROWS(convolve(out.view(), in.view(), large), ShapeError);
    Image<double> odd(2, 1);
    odd(0, 0) = 1;
    odd(1, 0) = -1;
    CHECK_THROWS(convolve(out.view(), in.view(), FixedKernel(odd.view())), NumericalError);
    CHECK_THROWS(makeRegularizationMatrix(RegularizationControl()), DomainError);
}

void testDeepCopies() {
    auto kernel = varyingKernel(1, 3);
    const KernelPtr copy = kernel->clone();
    CHECK(copy->equals(*kernel));
    const double before = copy->imageAt(50, 3)(3, 3);
    kernel->setSpatialParameters(std::vector<std::vector<double>>(kernel->spatialParameters().size(), {1, 2, 3}));
    CHECK(copy->imageAt(50, 3)(3, 3) == before);
    CHECK(!copy->equals(*kernel));
}

void testSeparableFormSurvivesCopies() {
    const KernelList bases = makeAlardLuptonBasisList(5, 3, {0.7, 1.5, 3.0}, {4, 2, 2});
    const auto form = separableForm(bases);
    CHECK(form && form->nFunctions() == 27 && form->nFilters() == 11);
    const LinearCombinationKernel kernel(bases, std::vector<double>(27, 1.0));
    CHECK(separableForm(kernel.kernelList()) != nullptr);
    CHECK(separableForm(KernelList(bases.begin(), bases.end() - 1)) == nullptr);
    CHECK(separableForm(makeDeltaFunctionBasisList(2, 2)) == nullptr);
    CHECK(separableForm({}) == nullptr);
}

// Evaluation is const and reentrant: threads share one varying kernel without a lock.
void testReentrantEvaluation() {
    const std::vector<Function2Ptr> functions = {std::make_shared<PolynomialFunction2>(std::vector<double>{1.5, 0.01, 0}),
                                                 std::make_shared<PolynomialFunction2>(std::vector<double>{2, 0, 0.01}),
                                                 std::make_shared<PolynomialFunction2>(0)};
    const AnalyticKernel kernel(9, 9, GaussianFunction2(1, 1), functions);
    std::vector<Image<double>> alone, together(50);
    for (int i = 0; i < 50; ++i) alone.push_back(kernel.imageAt(i, 2 * i));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = t; i < 50; i += 4) together[static_cast<std::size_t>(i)] = kernel.imageAt(i, 2 * i);
        });
    }
    for (auto& thread : threads) thread.join();
    for (std::size_t i = 0; i < 50; ++i) {
        for (int y = 0; y < 9; ++y) {
            for (int x = 0; x < 9; ++x) CHECK(alone[i](x, y) == together[i](x, y));
        }
    }
}

void testDifference() {
    const MaskedImage<float> in = scene<float>(60, 50, {40, -7});
    const auto kernel = varyingKernel(1, 3);
    MaskedImage<float> science(in.bbox());
    ConvolutionControl control;
    control.doNormalize = false;
    convolve(science.view(), in.view(), *kernel, control);
    const PolynomialFunction2 background(std::vector<double>{1, 0.5, -0.25});
    const MaskedImage<float> d = convolveAndSubtract<float>(in.view(), science.view(), *kernel, &background);
    for (int y = 3; y < 47; ++y) {
        for (int x = 3; x < 57; ++x) CHECK_CLOSE(d.image()(x, y), -background(x + 40, y - 7), 1e-4);
    }
    const MaskedImage<float> plain =
            convolveAndSubtract<float>(in.image().view(), science.view(), *kernel, &background, false);
    CHECK_CLOSE(plain.image()(20, 20), -d.image()(20, 20), 0);
    CHECK(plain.variance()(20, 20) == science.variance()(20, 20));
    MaskedImage<float> sum(in.bbox());
    scaledPlus<float>(sum.view(), 2.0, in.view(), -1.0, in.view());
    CHECK_CLOSE(sum.image()(5, 5), in.image()(5, 5), 1e-4);
    CHECK_CLOSE(sum.variance()(5, 5), 5 * in.variance()(5, 5), 1e-4);
}

}  // namespace

int main() {
    testConvolution();
    testThreadCountDoesNotMatter();
    testErrors();
    testDeepCopies();
    testSeparableFormSurvivesCopies();
    testReentrantEvaluation();
    testDifference();
    return 0;
}
