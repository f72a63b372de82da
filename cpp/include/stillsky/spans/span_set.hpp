// SpanSet: a region of pixels as runs along rows, and its algebra.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "stillsky/core/view.hpp"
#include "stillsky/geom/box.hpp"
#include "stillsky/image/image.hpp"

namespace stillsky {

// Pixels x0..x1 (both inside) of row y, in parent coordinates.
struct Span {
    int y = 0, x0 = 0, x1 = 0;
    int width() const { return x1 - x0 + 1; }
    friend bool operator==(Span a, Span b) { return a.y == b.y && a.x0 == b.x0 && a.x1 == b.x1; }
    friend bool operator<(Span a, Span b) { return a.y != b.y ? a.y < b.y : a.x0 < b.x0; }
};

// Structuring elements of "radius" r: CIRCLE x^2 + y^2 <= r^2, BOX |x|, |y| <= r, MANHATTAN |x| + |y| <= r.
enum class Stencil { CIRCLE, BOX, MANHATTAN };

// Sorted by (y, x0), touching and overlapping spans of a row merged, none empty. Immutable.
//
// Every operation sweeps rows: O(n + m) for the algebra, O(n (2r + 1) log) for dilation and erosion. Coordinates may
// be negative. Masks and images are borrowed views whose first pixel has the parent coordinates xy0.
class SpanSet {
public:
    SpanSet() = default;
    // Spans in any order; empty ones (x1 < x0) are dropped.
    explicit SpanSet(std::vector<Span> spans);
    static SpanSet fromBox(Box2I const& box);
    // DomainError for a negative radius; radius 0 is one pixel.
    static SpanSet fromShape(int radius, Stencil stencil, Point2I offset = Point2I());
    // Pixels with any of the bits.
    static SpanSet fromMask(View2<const MaskPixel> mask, MaskPixel bits, Point2I xy0 = Point2I());
    // Pixels that are not 0.
    static SpanSet fromBool(View2<const unsigned char> array, Point2I xy0 = Point2I());
    // Pixel centres in the ellipse with semi-axes a and b, a along the angle theta (radians, from +x to +y); border
    // included. DomainError unless a, b >= 0.
    static SpanSet fromEllipse(double a, double b, double theta, Point2D center);
    // Pixel centres inside the polygon (even-odd rule).
    static SpanSet fromPolygon(std::vector<Point2D> const& vertices);

    std::vector<Span> const& spans() const { return spans_; }
    std::size_t size() const { return spans_.size(); }
    bool isEmpty() const { return spans_.empty(); }
    long long area() const { return area_; }
    Box2I const& bbox() const { return bbox_; }
    // Mean pixel position; NaN when empty.
    Point2D centroid() const;
    // Second central moments of the pixel centres (xx, yy, xy); NaN when empty.
    std::array<double, 3> shape() const;

    bool contains(Point2I p) const;
    bool contains(SpanSet const& other) const;  // the empty set is inside every set
    bool overlaps(SpanSet const& other) const;

    SpanSet unionWith(SpanSet const& other) const;
    SpanSet intersect(SpanSet const& other) const;
    SpanSet difference(SpanSet const& other) const;
    SpanSet symmetricDifference(SpanSet const& other) const;

    // Minkowski sum with the structuring element.
    SpanSet dilated(int radius, Stencil stencil = Stencil::CIRCLE) const;
    SpanSet dilated(SpanSet const& element) const;
    // Pixels at which the whole structuring element fits into the set.
    SpanSet eroded(int radius, Stencil stencil = Stencil::CIRCLE) const;
    SpanSet eroded(SpanSet const& element) const;

    SpanSet shifted(int dx, int dy) const;
    SpanSet clipped(Box2I const& box) const;
    // Pixels whose centre, mapped by `inverse` (result to source) and rounded, is in the set. `forward` maps the
    // corners of the source's box and so bounds the result.
    SpanSet transformed(std::function<Point2D(Point2D)> const& forward,
                        std::function<Point2D(Point2D)> const& inverse) const;
    // Connected parts in the order of their first spans; connectivity 4 or 8 (else DomainError). Union-find.
    std::vector<SpanSet> split(int connectivity = 8) const;
    bool isContiguous(int connectivity = 8) const;
    // Pixels with at least one of the four neighbours outside the set.
    SpanSet edgePixels() const;

    // OutOfBoundsError, before anything is changed, when a pixel lies outside the mask or image: clip first.
    void setMask(View2<MaskPixel> mask, MaskPixel bits, Point2I xy0 = Point2I()) const;
    void clearMask(View2<MaskPixel> mask, MaskPixel bits, Point2I xy0 = Point2I()) const;
    template <typename T>
    void setImage(View2<T> image, T value, Point2I xy0 = Point2I(), bool clip = false) const;
    // Pixel values in span order (y, then x).
    template <typename T>
    std::vector<T> flatten(View2<const T> image, Point2I xy0 = Point2I()) const;
    // The inverse: ShapeError unless there is one value per pixel.
    template <typename T>
    void unflatten(View2<T> image, std::vector<T> const& values, Point2I xy0 = Point2I()) const;

    friend bool operator==(SpanSet const& a, SpanSet const& b) { return a.spans_ == b.spans_; }
    friend bool operator!=(SpanSet const& a, SpanSet const& b) { return !(a == b); }

    // Builders that know their spans to be normal already.
    static SpanSet fromNormal(std::vector<Span> spans);

private:
    void measure();
    void checkInside(int width, int height, Point2I xy0, const char* what) const;

    std::vector<Span> spans_;
    long long area_ = 0;
    Box2I bbox_;
};

// Connected components of spans that are sorted and disjoint (runs of one row may touch): a label 0, 1, ... for every
// span, numbered by first span. connectivity 4 or 8.
std::vector<int> labelSpans(std::vector<Span> const& spans, int connectivity, int& nLabels);

// Grow each of the bits by the stencil; clipped to the mask.
void growMask(View2<MaskPixel> mask, MaskPixel bits, int radius, Stencil stencil = Stencil::CIRCLE);

}  // namespace stillsky
