// Finding and measuring stars from C++ alone.
#include <cmath>

#include "check.hpp"
#include "stillsky/measure/adaptive_moments.hpp"
#include "stillsky/measure/find_peaks.hpp"
#include "stillsky/measure/gaussian_smooth.hpp"
#include "stillsky/measure/pixel_flags.hpp"
#include "stillsky/measure/psf_flux.hpp"
#include "stillsky/measure/sdss_centroid.hpp"
#include "stillsky/measure/sdss_shape.hpp"

using namespace stillsky;

namespace {

constexpr double SIGMA = 2.0, FLUX = 5000, X = 40.3, Y = 31.8;
constexpr int KERNEL = 25;

Image<float> star() {
    Image<float> image(80, 64);
    for (int y = 0; y < 64; ++y) {
        for (int x = 0; x < 80; ++x) {
            const double r2 = (x - X) * (x - X) + (y - Y) * (y - Y);
            image(x, y) = static_cast<float>(FLUX / (2 * M_PI * SIGMA * SIGMA) * std::exp(-r2 / (2 * SIGMA * SIGMA)));
        }
    }
    return image;
}

std::vector<double> gaussianStamp() {
    const std::vector<double> taps = gaussianKernel1d(SIGMA, KERNEL);
    std::vector<double> out;
    for (double a : taps) {
        for (double b : taps) out.push_back(a * b);
    }
    return out;
}

void testFinder(Image<float> const& image) {
    PeakFinderControl control;
    control.sigmaPsf = SIGMA;
    const auto peaks = findPeaks<float>(image.view(), {}, {}, control);
    CHECK(peaks.size() == 1);
    CHECK_CLOSE(peaks[0].x, X, 0.05);
    CHECK_CLOSE(peaks[0].significance, FLUX / (std::sqrt(4 * M_PI) * SIGMA), 10);
    AdaptiveMomentsControl momentsControl;
    const auto moments = adaptiveMoments<float>(image.view(), {}, {}, {peaks[0].x}, {peaks[0].y}, momentsControl);
    CHECK(moments[0].flagBits == 0);
    CHECK_CLOSE(moments[0].x, X, 1e-4);
    CHECK_CLOSE(moments[0].xx, SIGMA * SIGMA, 1e-3);
    CHECK_CLOSE(moments[0].flux, FLUX, 1);
    control.sigmaPsf = -1;
    CHECK_THROWS(findPeaks<float>(image.view(), {}, {}, control), DomainError);
}

void testAlgorithms(Image<float> const& image) {
    const std::vector<double> stamp = gaussianStamp();
    const StampStack stack{stamp.data(), 1, KERNEL, KERNEL};
    const MeasureInput<float> input(image.view(), {}, {}, 0);
    const auto centroid = sdssCentroid<float>(input, {40}, {32}, {0}, stack, {SIGMA}, {}, SdssCentroidControl());
    CHECK(centroid[0].flagBits == 0);
    CHECK_CLOSE(centroid[0].x, X, 0.005);
    CHECK_CLOSE(centroid[0].y, Y, 0.005);
    const auto shape = sdssShape<float>(input, {X}, {Y}, {0}, SdssShapeControl());
    CHECK_CLOSE(shape[0].xx, SIGMA * SIGMA, 1e-4);
    const auto flux = gaussianFlux<float>(input, {X}, {Y}, {4}, {4}, {0});
    CHECK_CLOSE(flux[0].flux, FLUX, 1);
    // The stamp sits on whole pixels: only its area is exact here.
    const auto psf = psfFlux<float>(input, stack, {40 - KERNEL / 2}, {32 - KERNEL / 2});
    CHECK_CLOSE(psf[0].area, 4 * M_PI * SIGMA * SIGMA, 0.1);
    CHECK(psf[0].nPixels == KERNEL * KERNEL);
    Image<MaskPixel> mask(80, 64);
    mask(41, 31) = 4;
    const auto flags = pixelFlags(mask.view(), {X}, {Y}, {SpanSet::fromShape(5, Stencil::CIRCLE, {40, 32})});
    CHECK(flags[0].center == 4 && flags[0].centerAll == 0 && flags[0].footprint == 4 && !flags[0].offImage);
    CHECK_THROWS(sdssShape<float>(input, {1, 2}, {1}, {0}, SdssShapeControl()), ShapeError);
}

}  // namespace

int main() {
    const Image<float> image = star();
    testFinder(image);
    testAlgorithms(image);
    return 0;
}
