// Span sets and footprints from C++ alone: algebra, detection of both signs, growing, merging.
#include "stillsky/spans/footprint.hpp"

#include <limits>

#include "check.hpp"
#include "stillsky/core/parallel.hpp"

using namespace stillsky;

namespace {

void testAlgebra() {
    const SpanSet circle = SpanSet::fromShape(3, Stencil::CIRCLE);
    CHECK(circle.area() == 29);
    CHECK(SpanSet::fromShape(1, Stencil::CIRCLE).dilated(1) == SpanSet::fromShape(2, Stencil::MANHATTAN));
    const SpanSet a({{1, 0, 3}, {1, 5, 7}}), b({{1, 2, 6}});
    CHECK((a.intersect(b).spans() == std::vector<Span>{{1, 2, 3}, {1, 5, 6}}));
    CHECK((a.difference(b).spans() == std::vector<Span>{{1, 0, 1}, {1, 7, 7}}));
    CHECK(a.unionWith(b) == SpanSet({{1, 0, 7}}));
    CHECK(a.symmetricDifference(b).area() == 4);
    CHECK(a.contains(SpanSet()));
    CHECK(a.contains(Point2I{6, 1}) && !a.contains(Point2I{4, 1}));
    const SpanSet diagonal({{-1, 0, 0}, {0, 1, 1}});
    CHECK(diagonal.split(8).size() == 1 && diagonal.split(4).size() == 2);
    CHECK(circle.eroded(circle) == SpanSet({{0, 0, 0}}));
    CHECK_THROWS(SpanSet::fromShape(-1, Stencil::BOX), DomainError);
    Image<MaskPixel> mask(5, 5);
    CHECK_THROWS(circle.setMask(mask.view(), 1), OutOfBoundsError);
    circle.clipped(mask.bbox()).setMask(mask.view(), 1);
    CHECK(SpanSet::fromMask(mask.view(), 1) == circle.clipped(mask.bbox()));
}

void testDetection() {
    Image<float> image(Box2I({-10, 100}, {40, 30}));
    image(5, 5) = 9;
    image(6, 6) = 7;  // diagonal contact
    image(20, 10) = -8;
    image(21, 10) = -12;
    image(30, 20) = std::numeric_limits<float>::quiet_NaN();
    DetectionControl control;
    control.negative = true;
    const Detection found = detectFootprints<float>(image.view(), {}, control, image.xy0());
    CHECK(found.positive.size() == 1 && found.negative.size() == 1);
    CHECK(found.positive[0].area() == 2);
    CHECK(found.positive[0].peaks.size() == 1);
    CHECK(found.positive[0].peaks[0].ix == -5 && found.positive[0].peaks[0].iy == 105);
    CHECK(found.negative[0].peaks[0].value == -12);
    CHECK(found.positive.grown(2)[0].area() > 13);
    CHECK(found.positive.merged(found.negative).size() == 2);
    CHECK(found.positive.merged(found.negative, 8, 8).size() == 1);
    CHECK(found.positive.merged(found.negative, 8, 8)[0].peaks.size() == 2);
    CHECK_THROWS(found.positive.merged(FootprintSet(Box2I({0, 0}, {3, 3}))), DomainError);
    CHECK(found.positive.idImage()(5, 5) == 1);
    control.minPixels = 0;
    CHECK_THROWS(detectFootprints<float>(image.view(), {}, control), DomainError);
}

}  // namespace

int main() {
    for (int threads : {1, 3}) {
        setNumThreads(threads);
        testAlgebra();
        testDetection();
    }
    return 0;
}
