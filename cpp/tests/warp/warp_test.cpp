// Warping from C++ alone: affine, grid and function mappings, mask, variance, padding, threads.
#include "stillsky/warp/warp.hpp"

#include <cmath>

#include "check.hpp"
#include "stillsky/core/parallel.hpp"

using namespace stillsky;

namespace {

MaskedImage<float> scene(int width, int height) {
    MaskedImage<float> image(width, height);
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            image.image()(x, y) = static_cast<float>(10 + std::sin(0.1 * x) * std::cos(0.13 * y));
            image.variance()(x, y) = 2.0f;
        }
    }
    image.mask()(width / 2, height / 2) = mask_planes::SAT;
    return image;
}

void testIdentity() {
    const MaskedImage<float> src = scene(70, 60);
    MaskedImage<float> dest(70, 60);
    const WarpingControl control("lanczos3", "bilinear");
    CHECK(warpMaskedImage<float>(dest.view(), src.view(), AffineMapping(), control) == 65 * 55);
    for (int y = 2; y < 57; ++y) {
        for (int x = 2; x < 67; ++x) {
            CHECK(dest.image()(x, y) == src.image()(x, y));
            CHECK(dest.mask()(x, y) == src.mask()(x, y));
            CHECK(dest.variance()(x, y) == 2.0f);
        }
    }
    CHECK(std::isnan(dest.image()(0, 0)) && std::isinf(dest.variance()(0, 0)));
    CHECK(dest.mask()(0, 0) == mask_planes::NO_DATA);
}

void testMappingsAgree() {
    const MaskedImage<float> src = scene(200, 180);
    const AffineMapping affine(0.98, -0.17, 0.17, 0.98, 20.3, -11.6);
    const FunctionMapping function([&](Point2D p) { return affine.apply(p); });
    const Box2I box({5, 7}, {150, 140});
    const GridMapping grid(affine, box, 10);
    MaskedImage<float> a(box), b(box), c(box), d(box);
    WarpingControl control;
    const long long count = warpMaskedImage<float>(a.view(), src.view(), affine, control);
    CHECK(count > 10000);
    CHECK(warpMaskedImage<float>(b.view(), src.view(), function, control) == count);
    CHECK(warpMaskedImage<float>(c.view(), src.view(), grid, control) == count);
    control.setInterpLength(16);
    CHECK(warpMaskedImage<float>(d.view(), src.view(), function, control) == count);
    for (int y = 0; y < box.height(); ++y) {
        for (int x = 0; x < box.width(); ++x) {
            if (std::isnan(a.image()(x, y))) continue;
            for (MaskedImage<float>* other : {&b, &c, &d}) {
                CHECK_CLOSE(other->image()(x, y), a.image()(x, y), 1e-5);
                CHECK_CLOSE(other->variance()(x, y), a.variance()(x, y), 1e-5);
                CHECK(other->mask()(x, y) == a.mask()(x, y));
            }
        }
    }
}

void testDoublePixels() {
    Image<double> src(40, 40, 3.0), dest(40, 40);
    const Image<double>& constant = src;
    const AffineMapping stretch(0.5, 0, 0, 1, 10.2, 0.3);
    CHECK(warpImage<double>(dest.view(), {0, 0}, constant.view(), {0, 0}, stretch, WarpingControl()) > 0);
    CHECK_CLOSE(dest(20, 20), 1.5, 1e-14);
}

void testInverse() {
    const AffineMapping forward(0.1, 2.0, -3.0, 0.4, 5.0, -6.0), back = forward.inverted();
    const Point2D p = back.apply(forward.apply({1.5, -2.5}));
    CHECK_CLOSE(p.x, 1.5, 1e-14);
    CHECK_CLOSE(p.y, -2.5, 1e-14);
    CHECK_THROWS(AffineMapping(1, 2, 2, 4, 0, 0).inverted(), NumericalError);
}

void testErrors() {
    CHECK_THROWS(WarpingControl("lanczos"), DomainError);
    CHECK_THROWS(WarpingControl("bilinear", "lanczos3"), DomainError);
    MaskedImage<float> image(30, 30);
    const MaskedImage<float>& same = image;
    CHECK_THROWS(warpMaskedImage<float>(image.view(), same.view(), AffineMapping(), WarpingControl()), DomainError);
    MaskedImage<float> small(5, 30);
    const MaskedImage<float>& source = small;
    CHECK(warpMaskedImage<float>(image.view(), source.view(), AffineMapping(), WarpingControl()) == 0);
    CHECK(std::isnan(image.image()(15, 15)));
}

}  // namespace

int main() {
    testIdentity();
    testMappingsAgree();
    testDoublePixels();
    testInverse();
    testErrors();
    return 0;
}
