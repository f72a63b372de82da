// Boxes of pixels (Box2I) and of positions (Box2D), in the parent frame.
#pragma once

#include <string>

#include "stillsky/geom/point.hpp"

namespace stillsky {

// Corner and dimensions; immutable by convention. min and max are both inside; an empty box has width and height 0
// and equals every other empty box.
class Box2I {
public:
    Box2I() = default;
    // Any dimension <= 0 gives the empty box.
    Box2I(Point2I min, Extent2I dimensions);
    static Box2I fromMinMax(Point2I min, Point2I max);

    Point2I min() const { return min_; }
    Point2I max() const { return {min_.x + width_ - 1, min_.y + height_ - 1}; }
    int minX() const { return min_.x; }
    int minY() const { return min_.y; }
    int maxX() const { return min_.x + width_ - 1; }
    int maxY() const { return min_.y + height_ - 1; }
    int width() const { return width_; }
    int height() const { return height_; }
    Extent2I dimensions() const { return {width_, height_}; }
    long long area() const { return static_cast<long long>(width_) * height_; }
    bool isEmpty() const { return width_ == 0; }
    // Centre of the half-pixel-extended real box: (min + max)/2.
    Point2D center() const { return {min_.x + 0.5 * (width_ - 1), min_.y + 0.5 * (height_ - 1)}; }

    bool contains(Point2I p) const;
    bool contains(Box2I const& other) const;  // the empty box is inside every box
    bool overlaps(Box2I const& other) const { return !clippedTo(other).isEmpty(); }
    Box2I clippedTo(Box2I const& other) const;
    Box2I expandedTo(Box2I const& other) const;
    Box2I dilatedBy(int n) const;  // negative n erodes, possibly to the empty box
    Box2I shiftedBy(Extent2I offset) const;
    std::string str() const;

    friend bool operator==(Box2I const& a, Box2I const& b) {
        return a.width_ == b.width_ && a.height_ == b.height_ && (a.isEmpty() || a.min_ == b.min_);
    }
    friend bool operator!=(Box2I const& a, Box2I const& b) { return !(a == b); }

private:
    Point2I min_{0, 0};
    int width_ = 0, height_ = 0;
};

// Real box, minimum inside, maximum outside.
struct Box2D {
    double minX = 0, minY = 0, maxX = 0, maxY = 0;
    Box2D() = default;
    Box2D(double minX_, double minY_, double maxX_, double maxY_) : minX(minX_), minY(minY_), maxX(maxX_), maxY(maxY_) {}
    // Extended by half a pixel on every side: [min - 0.5, max + 0.5].
    explicit Box2D(Box2I const& box)
            : minX(box.minX() - 0.5), minY(box.minY() - 0.5), maxX(box.maxX() + 0.5), maxY(box.maxY() + 0.5) {}
    double width() const { return maxX - minX; }
    double height() const { return maxY - minY; }
    Point2D center() const { return {0.5 * (minX + maxX), 0.5 * (minY + maxY)}; }
    bool contains(Point2D p) const { return p.x >= minX && p.x < maxX && p.y >= minY && p.y < maxY; }
    friend bool operator==(Box2D const& a, Box2D const& b) {
        return a.minX == b.minX && a.minY == b.minY && a.maxX == b.maxX && a.maxY == b.maxY;
    }
};

}  // namespace stillsky
