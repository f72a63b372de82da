#include "stillsky/measure/gaussian_smooth.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <string>

#include "row_smoother.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"
#include "vec.hpp"

namespace stillsky {
namespace rows {

STILLSKY_SIMD void sumOfRows(float const* const* rows, float const* taps, int nTaps, float* out, int n) {
    for (int x = 0; x < n; x += CHUNK) {
        vec::Float a{}, b{}, c{}, d{};
        for (int k = 0; k < nTaps; ++k) {
            float const* p = rows[k] + x;
            const float t = taps[k];
            vec::Float va, vb, vc, vd;
            vec::load(va, p);
            vec::load(vb, p + 16);
            vec::load(vc, p + 32);
            vec::load(vd, p + 48);
            a += va * t;
            b += vb * t;
            c += vc * t;
            d += vd * t;
        }
        vec::store(out + x, a);
        vec::store(out + x + 16, b);
        vec::store(out + x + 32, c);
        vec::store(out + x + 48, d);
    }
}

namespace {
template <typename T>
STILLSKY_INLINE void cleanRowImpl(T const* STILLSKY_RESTRICT image, float const* STILLSKY_RESTRICT variance,
                                  MaskPixel const* STILLSKY_RESTRICT mask, MaskPixel bad, int n,
                                  float* STILLSKY_RESTRICT outImage, float* STILLSKY_RESTRICT outVariance) {
    for (int x = 0; x < n; ++x) {
        const float i = static_cast<float>(image[x]), v = variance[x];
        const bool good = ((mask[x] & bad) == 0) & (std::fabs(i) <= FLT_MAX) & (v > 0.0f) & (v <= FLT_MAX);
        outImage[x] = good ? i : 0.0f;
        outVariance[x] = good ? v : 0.0f;
    }
}
}  // namespace

STILLSKY_SIMD void cleanRow(float const* image, float const* variance, MaskPixel const* mask, MaskPixel bad, int n,
                            float* outImage, float* outVariance) {
    cleanRowImpl(image, variance, mask, bad, n, outImage, outVariance);
}
STILLSKY_SIMD void cleanRow(double const* image, float const* variance, MaskPixel const* mask, MaskPixel bad, int n,
                            float* outImage, float* outVariance) {
    cleanRowImpl(image, variance, mask, bad, n, outImage, outVariance);
}

}  // namespace rows

namespace {

constexpr int BAND = 64;  // rows per parallel block

template <typename V, typename T>
void checkPlane(View2<V> plane, View2<const T> image, const char* name) {
    if (plane.width == image.width && plane.height == image.height) return;
    throw ShapeError(std::string("smoothGaussian: ") + name + " is " + std::to_string(plane.width) + "x" +
                     std::to_string(plane.height) + ", image is " + std::to_string(image.width) + "x" +
                     std::to_string(image.height));
}

}  // namespace

int gaussianKernelWidth(double sigma, double nSigmaForKernel) {
    if (!(sigma > 0) || sigma > 50) {
        throw DomainError("Gaussian smoothing: sigma must be in (0, 50] pixels, got " + std::to_string(sigma));
    }
    if (!(nSigmaForKernel > 0) || nSigmaForKernel > 100) {
        throw DomainError("Gaussian smoothing: nSigmaForKernel must be in (0, 100], got " +
                          std::to_string(nSigmaForKernel));
    }
    return std::max(3, static_cast<int>(sigma * nSigmaForKernel + 0.5) / 2 * 2 + 1);
}

std::vector<double> gaussianKernel1d(double sigma, int width) {
    if (!(sigma > 0) || sigma > 50 || width < 1 || width % 2 == 0) {
        throw DomainError("gaussianKernel1d: sigma must be in (0, 50] and width odd, got " + std::to_string(sigma) +
                          " and " + std::to_string(width));
    }
    std::vector<double> taps(width);
    double sum = 0;
    for (int i = 0; i < width; ++i) {
        const double d = (i - width / 2) / sigma;
        sum += taps[i] = std::exp(-0.5 * d * d);
    }
    for (double& t : taps) t /= sum;
    return taps;
}

template <typename T>
void smoothGaussian(View2<const T> image, View2<const VariancePixel> variance, View2<const MaskPixel> mask,
                    MaskPixel badBits, double sigma, int width, View2<float> outImage, View2<float> outVariance) {
    if (!variance.empty()) checkPlane(variance, image, "variance");
    if (!mask.empty()) checkPlane(mask, image, "mask");
    checkPlane(outImage, image, "outImage");
    checkPlane(outVariance, image, "outVariance");
    const std::vector<double> kernel = gaussianKernel1d(sigma, width);
    if (image.empty()) return;
    const int n = image.width;
    parallelFor((image.height + BAND - 1) / BAND, [&](int band) {
        rows::RowSmoother<T> smoother(image, variance, mask, badBits, kernel);
        std::vector<float> value(smoother.padded()), var(smoother.padded());
        const int yBegin = band * BAND, yEnd = std::min(image.height, (band + 1) * BAND);
        smoother.begin(yBegin);
        for (int y = yBegin; y < yEnd; ++y) {
            smoother.smooth(y, value.data(), var.data());
            float* out = outImage.row(y);
            for (int x = 0; x < n; ++x) {
                out[x] = smoother.isGood(x, y) ? value[x] : std::numeric_limits<float>::quiet_NaN();
            }
            std::copy_n(var.data(), n, outVariance.row(y));
        }
    });
}

template void smoothGaussian<float>(View2<const float>, View2<const VariancePixel>, View2<const MaskPixel>, MaskPixel,
                                    double, int, View2<float>, View2<float>);
template void smoothGaussian<double>(View2<const double>, View2<const VariancePixel>, View2<const MaskPixel>,
                                     MaskPixel, double, int, View2<float>, View2<float>);

}  // namespace stillsky
