// Interpolation over bad pixels from C++ alone: weights, rows and columns, ends of rows, variances, threads.
#include "stillsky/image/interpolate.hpp"

#include <cmath>
#include <limits>

#include "check.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/image/mask_planes.hpp"

using namespace stillsky;
using mask_planes::INTRP;
using mask_planes::NO_DATA;

namespace {

void testWeights() {
    double w[4];
    interpolationWeights(1, 0, 3, 3, w);
    CHECK_CLOSE(w[0], -0.27368562, 1e-8);
    CHECK_CLOSE(w[1], 0.77368562, 1e-8);
    interpolationWeights(30, 5, 3, 3, w);
    CHECK_CLOSE(w[1], 0.25028616, 1e-8);
    for (int length : {1, 7, 32, 33, 500}) {
        for (int t = 0; t < length; ++t) {
            interpolationWeights(length, t, 1, 3, w);
            CHECK(w[0] == 0);
            CHECK_CLOSE(w[1] + w[2] + w[3], 1.0, 1e-12);
        }
    }
    CHECK_THROWS(interpolationWeights(3, 3, 3, 3, w), DomainError);
    CHECK_THROWS(interpolationWeights(3, 0, 0, 0, w), DomainError);
}

MaskedImage<float> scene(int width, int height) {
    MaskedImage<float> image(Box2I({5, -3}, {width, height}));
    const auto view = image.view();
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            view.image(x, y) = static_cast<float>(100 + x + 2 * y);
            view.variance(x, y) = 1.0f;
        }
    }
    return image;
}

void spoil(MaskedView<float> view, int x, int y) {
    view.image(x, y) = std::numeric_limits<float>::quiet_NaN();
    view.mask(x, y) |= NO_DATA;
}

void testRowsAndColumns() {
    for (bool columns : {false, true}) {
        auto image = scene(50, 50);
        const auto view = image.view();
        for (int i = 0; i < 50; ++i) columns ? spoil(view, i, 20) : spoil(view, 20, i);
        InterpolationControl control;
        control.alongColumns = columns;
        control.variance = InterpolatedVariance::PROPAGATE;
        const auto count = countInterpolation<float>(view.image, view.mask, NO_DATA, control);
        CHECK(count.pixels == 50 && count.boxes == 1 && !count.needsFallback);
        interpolateBadPixels(view, view.mask, NO_DATA, INTRP, control);
        for (int i = 0; i < 50; ++i) {
            const int x = columns ? i : 20, y = columns ? 20 : i;
            CHECK_CLOSE(view.image(x, y), 100 + x + 2 * y, 1e-4);  // a plane is kept by symmetry
            CHECK_CLOSE(view.variance(x, y), 2 * (0.27368562 * 0.27368562 + 0.77368562 * 0.77368562), 1e-6);
            CHECK(view.mask(x, y) == (NO_DATA | INTRP));
        }
        CHECK(view.mask(0, 0) == 0 && view.image(3, 3) == 109);
    }
}

void testEnds() {
    auto image = scene(40, 2);
    const auto view = image.view();
    for (int x = 0; x < 12; ++x) spoil(view, x, 0);
    for (int x = 0; x < 40; ++x) spoil(view, x, 1);
    InterpolationControl control;
    control.fallback = 7;
    const auto count = countInterpolation<float>(view.image, view.mask, NO_DATA, control);
    CHECK(count.pixels == 52 && count.boxes == 2 && count.needsFallback);
    interpolateBadPixels(view, view.mask, NO_DATA, INTRP, control);
    CHECK(view.image(0, 0) == 7 && view.image(5, 0) == 7 && view.image(6, 0) != 7);
    CHECK(view.image(39, 1) == 7 && std::isinf(view.variance(39, 1)) && std::isinf(view.variance(8, 0)));
    Image<MaskPixel> small(3, 3);
    CHECK_THROWS(interpolateBadPixels(view, small.view(), NO_DATA, INTRP, control), ShapeError);
}

void testThreads() {
    MaskedImage<float> results[2] = {scene(300, 300), scene(300, 300)};
    for (int k = 0; k < 2; ++k) {
        setNumThreads(k == 0 ? 1 : 4);
        const auto view = results[k].view();
        for (int i = 0; i < 300 * 300; i += 7) spoil(view, i % 300, i / 300);
        interpolateBadPixels(view, view.mask, NO_DATA, INTRP, InterpolationControl());
    }
    setNumThreads(0);
    for (int y = 0; y < 300; ++y) {
        for (int x = 0; x < 300; ++x) CHECK(results[0].view().image(x, y) == results[1].view().image(x, y));
    }
}

}  // namespace

int main() {
    testWeights();
    testRowsAndColumns();
    testEnds();
    testThreads();
    return 0;
}
