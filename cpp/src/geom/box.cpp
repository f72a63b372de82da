#include "stillsky/geom/box.hpp"

#include <algorithm>

namespace stillsky {

Box2I::Box2I(Point2I min, Extent2I dimensions) {
    if (dimensions.x <= 0 || dimensions.y <= 0) return;
    min_ = min;
    width_ = dimensions.x;
    height_ = dimensions.y;
}

Box2I Box2I::fromMinMax(Point2I min, Point2I max) { return Box2I(min, {max.x - min.x + 1, max.y - min.y + 1}); }

bool Box2I::contains(Point2I p) const { return p.x >= minX() && p.x <= maxX() && p.y >= minY() && p.y <= maxY(); }

bool Box2I::contains(Box2I const& other) const {
    return other.isEmpty() || (contains(other.min()) && contains(other.max()));
}

Box2I Box2I::clippedTo(Box2I const& other) const {
    return fromMinMax({std::max(minX(), other.minX()), std::max(minY(), other.minY())},
                      {std::min(maxX(), other.maxX()), std::min(maxY(), other.maxY())});
}

Box2I Box2I::expandedTo(Box2I const& other) const {
    if (isEmpty()) return other;
    if (other.isEmpty()) return *this;
    return fromMinMax({std::min(minX(), other.minX()), std::min(minY(), other.minY())},
                      {std::max(maxX(), other.maxX()), std::max(maxY(), other.maxY())});
}

Box2I Box2I::dilatedBy(int n) const {
    if (isEmpty()) return Box2I();
    return Box2I({minX() - n, minY() - n}, {width_ + 2 * n, height_ + 2 * n});
}

Box2I Box2I::shiftedBy(Extent2I offset) const { return Box2I(min_ + offset, dimensions()); }

std::string Box2I::str() const {
    return "(corner=(" + std::to_string(min_.x) + ", " + std::to_string(min_.y) +
           "), dimensions=(" + std::to_string(width_) + ", " + std::to_string(height_) + "))";
}

}  // namespace stillsky
