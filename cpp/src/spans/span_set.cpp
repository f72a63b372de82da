#include "stillsky/spans/span_set.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

namespace stillsky {
namespace {

// Appends a span to a list in normal form; the new span does not start before the last one.
void append(std::vector<Span>& out, Span s) {
    if (s.x1 < s.x0) return;
    if (!out.empty() && out.back().y == s.y && s.x0 <= out.back().x1 + 1) {
        out.back().x1 = std::max(out.back().x1, s.x1);
    } else {
        out.push_back(s);
    }
}

using Iterator = std::vector<Span>::const_iterator;

Iterator rowBegin(std::vector<Span> const& spans, int y) {
    return std::lower_bound(spans.begin(), spans.end(), y, [](Span s, int row) { return s.y < row; });
}
Iterator rowEnd(std::vector<Span> const& spans, int y) {
    return std::upper_bound(spans.begin(), spans.end(), y, [](int row, Span s) { return row < s.y; });
}

// Overlaps of two lists in normal form.
std::vector<Span> intersection(std::vector<Span> const& a, std::vector<Span> const& b) {
    std::vector<Span> out;
    auto i = a.begin(), j = b.begin();
    while (i != a.end() && j != b.end()) {
        if (i->y != j->y) {
            (i->y < j->y ? i : j)++;
            continue;
        }
        const int x0 = std::max(i->x0, j->x0), x1 = std::min(i->x1, j->x1);
        if (x0 <= x1) out.push_back({i->y, x0, x1});
        (i->x1 < j->x1 ? i : j)++;
    }
    return out;
}

std::vector<int> circleHalfWidths(int r) {
    std::vector<int> half(2 * r + 1);
    for (int dy = -r; dy <= r; ++dy) {
        const long long rest = static_cast<long long>(r) * r - static_cast<long long>(dy) * dy;
        int dx = static_cast<int>(std::sqrt(static_cast<double>(rest)));
        while (static_cast<long long>(dx) * dx > rest) --dx;
        while (static_cast<long long>(dx + 1) * (dx + 1) <= rest) ++dx;
        half[dy + r] = dx;
    }
    return half;
}

template <typename Pixel, typename Test>
SpanSet runsWhere(View2<const Pixel> array, Point2I xy0, Test const& test) {
    std::vector<Span> out;
    for (int y = 0; y < array.height; ++y) {
        Pixel const* row = array.row(y);
        for (int x = 0; x < array.width; ++x) {
            if (!test(row[x])) continue;
            const int begin = x;
            while (x + 1 < array.width && test(row[x + 1])) ++x;
            out.push_back({y + xy0.y, begin + xy0.x, x + xy0.x});
        }
    }
    return SpanSet::fromNormal(std::move(out));
}

// Union-find with path halving; the root is the smallest member.
int findRoot(std::vector<int>& parent, int i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

}  // namespace

SpanSet::SpanSet(std::vector<Span> spans) {
    std::sort(spans.begin(), spans.end());
    spans_.reserve(spans.size());
    for (Span s : spans) append(spans_, s);
    measure();
}

SpanSet SpanSet::fromNormal(std::vector<Span> spans) {
    SpanSet out;
    out.spans_ = std::move(spans);
    out.measure();
    return out;
}

void SpanSet::measure() {
    area_ = 0;
    bbox_ = Box2I();
    if (spans_.empty()) return;
    int minX = std::numeric_limits<int>::max(), maxX = std::numeric_limits<int>::min();
    for (Span s : spans_) {
        area_ += s.width();
        minX = std::min(minX, s.x0);
        maxX = std::max(maxX, s.x1);
    }
    bbox_ = Box2I::fromMinMax({minX, spans_.front().y}, {maxX, spans_.back().y});
}

SpanSet SpanSet::fromBox(Box2I const& box) {
    std::vector<Span> out;
    if (!box.isEmpty()) {
        for (int y = box.minY(); y <= box.maxY(); ++y) out.push_back({y, box.minX(), box.maxX()});
    }
    return fromNormal(std::move(out));
}

SpanSet SpanSet::fromShape(int radius, Stencil stencil, Point2I offset) {
    if (radius < 0 || radius > 30000) {
        throw DomainError("SpanSet: radius must be in [0, 30000] pixels, got " + std::to_string(radius));
    }
    const std::vector<int> half = circleHalfWidths(radius);
    std::vector<Span> out;
    for (int dy = -radius; dy <= radius; ++dy) {
        int dx = radius;
        if (stencil == Stencil::CIRCLE) dx = half[dy + radius];
        if (stencil == Stencil::MANHATTAN) dx = radius - std::abs(dy);
        out.push_back({offset.y + dy, offset.x - dx, offset.x + dx});
    }
    return fromNormal(std::move(out));
}

SpanSet SpanSet::fromMask(View2<const MaskPixel> mask, MaskPixel bits, Point2I xy0) {
    return runsWhere(mask, xy0, [bits](MaskPixel v) { return (v & bits) != 0; });
}

SpanSet SpanSet::fromBool(View2<const unsigned char> array, Point2I xy0) {
    return runsWhere(array, xy0, [](unsigned char v) { return v != 0; });
}

SpanSet SpanSet::fromEllipse(double a, double b, double theta, Point2D center) {
    if (!(a >= 0) || !(b >= 0) || !std::isfinite(a + b + theta + center.x + center.y)) {
        throw DomainError("SpanSet::fromEllipse: semi-axes must be finite and >= 0");
    }
    // d' Q d <= 1 with Q from the axes; per row a quadratic in dx. The tiny slack keeps border pixels of whole
    // numbers inside despite rounding.
    const double c = std::cos(theta), s = std::sin(theta), ia = 1 / (a * a), ib = 1 / (b * b);
    std::vector<Span> out;
    if (a == 0 || b == 0) return fromNormal(std::move(out));
    const double qxx = c * c * ia + s * s * ib, qyy = s * s * ia + c * c * ib, qxy = c * s * (ia - ib);
    const double reach = std::sqrt(a * a * s * s + b * b * c * c);
    for (int y = static_cast<int>(std::ceil(center.y - reach - 1e-9)); y <= center.y + reach + 1e-9; ++y) {
        const double dy = y - center.y;
        const double discriminant = qxy * qxy * dy * dy - qxx * (qyy * dy * dy - 1);
        if (discriminant < -1e-12) continue;
        const double root = std::sqrt(std::max(0.0, discriminant)), middle = center.x - qxy * dy / qxx;
        const int x0 = static_cast<int>(std::ceil(middle - root / qxx - 1e-9));
        const int x1 = static_cast<int>(std::floor(middle + root / qxx + 1e-9));
        if (x0 <= x1) out.push_back({y, x0, x1});
    }
    return fromNormal(std::move(out));
}

SpanSet SpanSet::fromPolygon(std::vector<Point2D> const& vertices) {
    std::vector<Span> out;
    if (vertices.empty()) return SpanSet();
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (Point2D p : vertices) {
        if (!std::isfinite(p.x) || !std::isfinite(p.y)) throw DomainError("SpanSet::fromPolygon: vertex not finite");
        low = std::min(low, p.y);
        high = std::max(high, p.y);
    }
    std::vector<double> crossings;
    for (int y = static_cast<int>(std::ceil(low)); y <= high; ++y) {
        crossings.clear();
        for (std::size_t i = 0; i < vertices.size(); ++i) {
            const Point2D p = vertices[i], q = vertices[(i + 1) % vertices.size()];
            if ((p.y <= y) == (q.y <= y)) continue;
            crossings.push_back(p.x + (y - p.y) * (q.x - p.x) / (q.y - p.y));
        }
        std::sort(crossings.begin(), crossings.end());
        for (std::size_t i = 0; i + 1 < crossings.size(); i += 2) {
            out.push_back({y, static_cast<int>(std::ceil(crossings[i])), static_cast<int>(std::floor(crossings[i + 1]))});
        }
    }
    return SpanSet(std::move(out));
}

Point2D SpanSet::centroid() const {
    double sx = 0, sy = 0;
    for (Span s : spans_) {
        sx += 0.5 * (static_cast<double>(s.x0) + s.x1) * s.width();
        sy += static_cast<double>(s.y) * s.width();
    }
    const double n = isEmpty() ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(area_);
    return {sx / n, sy / n};
}

std::array<double, 3> SpanSet::shape() const {
    const Point2D c = centroid();
    double xx = 0, yy = 0, xy = 0;
    for (Span s : spans_) {
        const double n = s.width(), dx = 0.5 * (static_cast<double>(s.x0) + s.x1) - c.x, dy = s.y - c.y;
        // n equidistant points about their mean: variance (n^2 - 1)/12.
        xx += n * (dx * dx + (n * n - 1) / 12);
        yy += n * dy * dy;
        xy += n * dx * dy;
    }
    const double n = isEmpty() ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(area_);
    return {xx / n, yy / n, xy / n};
}

bool SpanSet::contains(Point2I p) const {
    auto next = std::upper_bound(spans_.begin(), spans_.end(), Span{p.y, p.x, p.x});
    if (next == spans_.begin()) return false;
    --next;
    return next->y == p.y && p.x >= next->x0 && p.x <= next->x1;
}

bool SpanSet::contains(SpanSet const& other) const {
    auto i = spans_.begin();
    for (Span s : other.spans_) {
        while (i != spans_.end() && (i->y < s.y || (i->y == s.y && i->x1 < s.x0))) ++i;
        if (i == spans_.end() || i->y != s.y || i->x0 > s.x0 || i->x1 < s.x1) return false;
    }
    return true;
}

bool SpanSet::overlaps(SpanSet const& other) const {
    auto i = spans_.begin(), j = other.spans_.begin();
    while (i != spans_.end() && j != other.spans_.end()) {
        if (i->y == j->y && i->x0 <= j->x1 && j->x0 <= i->x1) return true;
        const bool first = i->y != j->y ? i->y < j->y : i->x1 < j->x1;
        (first ? i : j)++;
    }
    return false;
}

SpanSet SpanSet::unionWith(SpanSet const& other) const {
    std::vector<Span> merged(spans_.size() + other.spans_.size());
    std::merge(spans_.begin(), spans_.end(), other.spans_.begin(), other.spans_.end(), merged.begin());
    std::vector<Span> out;
    out.reserve(merged.size());
    for (Span s : merged) append(out, s);
    return fromNormal(std::move(out));
}

SpanSet SpanSet::intersect(SpanSet const& other) const { return fromNormal(intersection(spans_, other.spans_)); }

SpanSet SpanSet::difference(SpanSet const& other) const {
    std::vector<Span> out;
    auto j = other.spans_.begin();
    for (Span s : spans_) {
        while (j != other.spans_.end() && (j->y < s.y || (j->y == s.y && j->x1 < s.x0))) ++j;
        int x = s.x0;
        for (auto k = j; k != other.spans_.end() && k->y == s.y && k->x0 <= s.x1; ++k) {
            if (k->x0 > x) out.push_back({s.y, x, k->x0 - 1});
            x = std::max(x, k->x1 + 1);
        }
        if (x <= s.x1) out.push_back({s.y, x, s.x1});
    }
    return fromNormal(std::move(out));
}

SpanSet SpanSet::symmetricDifference(SpanSet const& other) const {
    return difference(other).unionWith(other.difference(*this));
}

SpanSet SpanSet::dilated(int radius, Stencil stencil) const { return dilated(fromShape(radius, stencil)); }

SpanSet SpanSet::dilated(SpanSet const& element) const {
    if (isEmpty() || element.isEmpty()) return *this;
    const int dy0 = element.bbox_.minY(), dy1 = element.bbox_.maxY();
    std::vector<Span> out, row;
    for (int y = bbox_.minY() + dy0; y <= bbox_.maxY() + dy1; ++y) {
        row.clear();
        for (Span e : element.spans_) {
            const auto end = rowEnd(spans_, y - e.y);
            for (auto s = rowBegin(spans_, y - e.y); s != end; ++s) row.push_back({y, s->x0 + e.x0, s->x1 + e.x1});
        }
        std::sort(row.begin(), row.end());
        for (Span s : row) append(out, s);
    }
    return fromNormal(std::move(out));
}

SpanSet SpanSet::eroded(int radius, Stencil stencil) const { return eroded(fromShape(radius, stencil)); }

SpanSet SpanSet::eroded(SpanSet const& element) const {
    if (isEmpty() || element.isEmpty()) return *this;
    std::vector<Span> kept;
    bool first = true;
    for (Span e : element.spans_) {
        // Places from which this span of the element fits into one span of the set.
        std::vector<Span> fits;
        for (Span s : spans_) {
            if (s.x1 - e.x1 >= s.x0 - e.x0) fits.push_back({s.y - e.y, s.x0 - e.x0, s.x1 - e.x1});
        }
        kept = first ? std::move(fits) : intersection(kept, fits);
        first = false;
    }
    return fromNormal(std::move(kept));
}

SpanSet SpanSet::shifted(int dx, int dy) const {
    std::vector<Span> out = spans_;
    for (Span& s : out) s = {s.y + dy, s.x0 + dx, s.x1 + dx};
    return fromNormal(std::move(out));
}

SpanSet SpanSet::clipped(Box2I const& box) const {
    std::vector<Span> out;
    if (box.isEmpty()) return SpanSet();
    const auto end = rowEnd(spans_, box.maxY());
    for (auto s = rowBegin(spans_, box.minY()); s != end; ++s) {
        const int x0 = std::max(s->x0, box.minX()), x1 = std::min(s->x1, box.maxX());
        if (x0 <= x1) out.push_back({s->y, x0, x1});
    }
    return fromNormal(std::move(out));
}

SpanSet SpanSet::transformed(std::function<Point2D(Point2D)> const& forward,
                             std::function<Point2D(Point2D)> const& inverse) const {
    if (isEmpty()) return *this;
    const Box2D box(bbox_);
    double x0 = std::numeric_limits<double>::infinity(), y0 = x0, x1 = -x0, y1 = -x0;
    for (Point2D corner : {Point2D{box.minX, box.minY}, Point2D{box.maxX, box.minY}, Point2D{box.minX, box.maxY},
                           Point2D{box.maxX, box.maxY}}) {
        const Point2D p = forward(corner);
        if (!std::isfinite(p.x) || !std::isfinite(p.y)) {
            throw DomainError("SpanSet::transformed: a corner of the region maps to a point that is not finite");
        }
        x0 = std::min(x0, p.x);
        x1 = std::max(x1, p.x);
        y0 = std::min(y0, p.y);
        y1 = std::max(y1, p.y);
    }
    std::vector<Span> out;
    for (int y = positionToIndex(y0); y <= positionToIndex(y1); ++y) {
        for (int x = positionToIndex(x0); x <= positionToIndex(x1); ++x) {
            const Point2D p = inverse({static_cast<double>(x), static_cast<double>(y)});
            if (contains(Point2I{positionToIndex(p.x), positionToIndex(p.y)})) append(out, {y, x, x});
        }
    }
    return fromNormal(std::move(out));
}

std::vector<int> labelSpans(std::vector<Span> const& spans, int connectivity, int& nLabels) {
    if (connectivity != 4 && connectivity != 8) {
        throw DomainError("connectivity must be 4 or 8, got " + std::to_string(connectivity));
    }
    const int reach = connectivity == 8 ? 1 : 0, n = static_cast<int>(spans.size());
    std::vector<int> parent(n);
    for (int i = 0; i < n; ++i) parent[i] = i;
    auto join = [&](int i, int j) {
        i = findRoot(parent, i);
        j = findRoot(parent, j);
        if (i != j) parent[std::max(i, j)] = std::min(i, j);
    };
    int above = 0;  // first span of the previous row that may still touch
    for (int i = 0; i < n; ++i) {
        const Span s = spans[i];
        if (i > 0 && spans[i - 1].y == s.y && spans[i - 1].x1 + 1 >= s.x0) join(i - 1, i);
        while (above < i && (spans[above].y < s.y - 1 || (spans[above].y == s.y - 1 && spans[above].x1 + reach < s.x0))) {
            ++above;
        }
        for (int j = above; j < i && spans[j].y == s.y - 1 && spans[j].x0 <= s.x1 + reach; ++j) join(j, i);
    }
    std::vector<int> label(n);
    nLabels = 0;
    for (int i = 0; i < n; ++i) {
        const int root = findRoot(parent, i);
        label[i] = root == i ? nLabels++ : label[root];
    }
    return label;
}

std::vector<SpanSet> SpanSet::split(int connectivity) const {
    int n = 0;
    const std::vector<int> label = labelSpans(spans_, connectivity, n);
    std::vector<std::vector<Span>> parts(n);
    for (std::size_t i = 0; i < spans_.size(); ++i) parts[label[i]].push_back(spans_[i]);
    std::vector<SpanSet> out;
    for (auto& part : parts) out.push_back(fromNormal(std::move(part)));
    return out;
}

bool SpanSet::isContiguous(int connectivity) const {
    int n = 0;
    labelSpans(spans_, connectivity, n);
    return n <= 1;
}

SpanSet SpanSet::edgePixels() const { return difference(eroded(1, Stencil::CIRCLE)); }

void SpanSet::checkInside(int width, int height, Point2I xy0, const char* what) const {
    const Box2I box(xy0, {width, height});
    if (!box.contains(bbox_)) {
        throw OutOfBoundsError(std::string("SpanSet::") + what + ": region " + bbox_.str() + " is not inside " +
                               box.str() + "; clip it first");
    }
}

void SpanSet::setMask(View2<MaskPixel> mask, MaskPixel bits, Point2I xy0) const {
    checkInside(mask.width, mask.height, xy0, "setMask");
    for (Span s : spans_) {
        MaskPixel* row = mask.row(s.y - xy0.y) - xy0.x;
        for (int x = s.x0; x <= s.x1; ++x) row[x] |= bits;
    }
}

void SpanSet::clearMask(View2<MaskPixel> mask, MaskPixel bits, Point2I xy0) const {
    checkInside(mask.width, mask.height, xy0, "clearMask");
    for (Span s : spans_) {
        MaskPixel* row = mask.row(s.y - xy0.y) - xy0.x;
        for (int x = s.x0; x <= s.x1; ++x) row[x] &= ~bits;
    }
}

template <typename T>
void SpanSet::setImage(View2<T> image, T value, Point2I xy0, bool clip) const {
    if (clip) {
        clipped(Box2I(xy0, {image.width, image.height})).setImage(image, value, xy0, false);
        return;
    }
    checkInside(image.width, image.height, xy0, "setImage");
    for (Span s : spans_) std::fill_n(image.row(s.y - xy0.y) + (s.x0 - xy0.x), s.width(), value);
}

template <typename T>
std::vector<T> SpanSet::flatten(View2<const T> image, Point2I xy0) const {
    checkInside(image.width, image.height, xy0, "flatten");
    std::vector<T> out;
    out.reserve(static_cast<std::size_t>(area_));
    for (Span s : spans_) {
        T const* row = image.row(s.y - xy0.y) + (s.x0 - xy0.x);
        out.insert(out.end(), row, row + s.width());
    }
    return out;
}

template <typename T>
void SpanSet::unflatten(View2<T> image, std::vector<T> const& values, Point2I xy0) const {
    checkInside(image.width, image.height, xy0, "unflatten");
    if (static_cast<long long>(values.size()) != area_) {
        throw ShapeError("SpanSet::unflatten: " + std::to_string(values.size()) + " values for " +
                         std::to_string(area_) + " pixels");
    }
    auto value = values.begin();
    for (Span s : spans_) {
        std::copy_n(value, s.width(), image.row(s.y - xy0.y) + (s.x0 - xy0.x));
        value += s.width();
    }
}

void growMask(View2<MaskPixel> mask, MaskPixel bits, int radius, Stencil stencil) {
    const Box2I box({0, 0}, {mask.width, mask.height});
    // Bit by bit: a pixel grows only the bits that it has.
    for (int b = 0; b < 31; ++b) {
        const MaskPixel bit = bits & (MaskPixel(1) << b);
        if (bit) SpanSet::fromMask(mask, bit).dilated(radius, stencil).clipped(box).setMask(mask, bit);
    }
}

template void SpanSet::setImage<float>(View2<float>, float, Point2I, bool) const;
template void SpanSet::setImage<double>(View2<double>, double, Point2I, bool) const;
template void SpanSet::setImage<MaskPixel>(View2<MaskPixel>, MaskPixel, Point2I, bool) const;
template std::vector<float> SpanSet::flatten<float>(View2<const float>, Point2I) const;
template std::vector<double> SpanSet::flatten<double>(View2<const double>, Point2I) const;
template std::vector<MaskPixel> SpanSet::flatten<MaskPixel>(View2<const MaskPixel>, Point2I) const;
template void SpanSet::unflatten<float>(View2<float>, std::vector<float> const&, Point2I) const;
template void SpanSet::unflatten<double>(View2<double>, std::vector<double> const&, Point2I) const;
template void SpanSet::unflatten<MaskPixel>(View2<MaskPixel>, std::vector<MaskPixel> const&, Point2I) const;

}  // namespace stillsky
