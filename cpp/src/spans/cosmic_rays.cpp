// Cosmic rays: contrast against opposite neighbours, groups, extension of the groups.
#include "stillsky/spans/cosmic_rays.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>

#include "stillsky/core/config.hpp"

namespace stillsky {
namespace {

// One neighbour of each pair: north-south, west-east, the two diagonals. The other lies opposite.
constexpr int DX[4] = {0, 1, 1, 1};
constexpr int DY[4] = {1, 0, 1, -1};

template <typename T>
class Search {
public:
    Search(View2<T> image, View2<const VariancePixel> variance, View2<const MaskPixel> mask,
           CosmicRayControl const& control)
            : image_(image), variance_(variance), mask_(mask), control_(control) {}

    ~Search() {
        for (auto const& [key, value] : originals_) image_(x(key), y(key)) = value;
    }
    Search(Search const&) = delete;
    Search& operator=(Search const&) = delete;

    std::vector<Span> run() {
        scan();
        std::vector<Span> spans;
        spans.reserve(originals_.size());
        for (SpanSet const& group : groups(spansOfFound())) {
            if (total(group) >= control_.minTotal) {
                spans.insert(spans.end(), group.spans().begin(), group.spans().end());
            } else {
                restore(group);
            }
        }
        SpanSet all(spans);
        for (int i = 0; i < control_.iterations && all.area() > 0; ++i) {
            const SpanSet more = extended(all);
            if (more.area() == all.area()) break;
            all = more;
        }
        return all.spans();
    }

private:
    View2<T> image_;
    View2<const VariancePixel> variance_;
    View2<const MaskPixel> mask_;
    CosmicRayControl control_;
    std::unordered_map<long long, T> originals_;  // values of replaced pixels

    static int x(long long key) { return static_cast<int>(key & 0xffffffffLL); }
    static int y(long long key) { return static_cast<int>(key >> 32); }
    static long long key(int px, int py) { return (static_cast<long long>(py) << 32) | px; }

    bool masked(int px, int py) const {
        if (mask_.empty()) return false;
        if (mask_(px, py) & control_.badBits) return true;
        if (control_.interpolatedBits == 0) return false;
        for (int j = -1; j <= 1; ++j)
            for (int i = -1; i <= 1; ++i)
                if (mask_(px + i, py + j) & control_.interpolatedBits) return true;
        return false;
    }

    // Conditions 2 and 3; the replacement in `mean`.
    STILLSKY_INLINE bool isRay(int px, int py, double minSigma, double c, double* mean) const {
        const T* row = image_.row(py) + px;
        const double z = static_cast<double>(*row);
        if (!(z >= 0)) return false;
        const std::ptrdiff_t s = image_.stride;
        const double means[4] = {0.5 * (static_cast<double>(row[s]) + static_cast<double>(row[-s])),
                                 0.5 * (static_cast<double>(row[1]) + static_cast<double>(row[-1])),
                                 0.5 * (static_cast<double>(row[s + 1]) + static_cast<double>(row[-s - 1])),
                                 0.5 * (static_cast<double>(row[1 - s]) + static_cast<double>(row[s - 1]))};
        // a NaN among the neighbours makes its comparison false: std::min(a, NaN) is a
        const double excess = z - std::min(std::min(std::min(1e300, means[0]), means[1]), std::min(std::min(1e300, means[2]), means[3]));
        const double variance = static_cast<double>(variance_(px, py));
        if (!(excess > 0 && excess * excess > minSigma * minSigma * variance)) return false;
        const double corrected = z - c * std::sqrt(variance);
        for (int k = 0; k < 4; ++k) {
            const double noise = 0.5 * std::sqrt(static_cast<double>(variance_(px + DX[k], py + DY[k])) +
                                                 static_cast<double>(variance_(px - DX[k], py - DY[k])));
            if (control_.contrast[static_cast<std::size_t>(k)] * corrected > means[k] + c * noise) {
                *mean = means[k];
                return true;
            }
        }
        return false;
    }

    bool take(int px, int py, double minSigma, double c) {
        double mean = 0;
        if (!isRay(px, py, minSigma, c, &mean) || masked(px, py)) return false;
        originals_.emplace(key(px, py), image_(px, py));
        if (static_cast<long long>(originals_.size()) > control_.maxPixels) {
            throw DomainError("findCosmicRays: more than " + std::to_string(control_.maxPixels) +
                              " pixels look like cosmic rays; nCrPixelMax limits them");
        }
        image_(px, py) = static_cast<T>(mean);
        return true;
    }

    void scan() {
        for (int py = 1; py + 1 < image_.height; ++py)
            for (int px = 1; px + 1 < image_.width; ++px) take(px, py, control_.minSigma, control_.noiseFactor);
    }

    std::vector<Span> spansOfFound() const {
        std::vector<Span> spans;
        for (auto const& item : originals_) spans.push_back({y(item.first), x(item.first), x(item.first)});
        return spans;
    }

    static std::vector<SpanSet> groups(std::vector<Span> const& spans) { return SpanSet(spans).split(8); }

    double total(SpanSet const& group) const {
        double sum = 0;
        for (Span s : group.spans())
            for (int px = s.x0; px <= s.x1; ++px) sum += static_cast<double>(originals_.at(key(px, s.y)));
        return sum;
    }

    void restore(SpanSet const& group) {
        for (Span s : group.spans())
            for (int px = s.x0; px <= s.x1; ++px) {
                const auto at = originals_.find(key(px, s.y));
                image_(px, s.y) = at->second;
                originals_.erase(at);
            }
    }

    // The pixels around all groups, tried once more.
    SpanSet extended(SpanSet const& all) {
        std::vector<Span> spans = all.spans();
        const SpanSet rim = all.dilated(SpanSet::fromShape(1, Stencil::BOX)).difference(all);
        for (Span s : rim.spans())
            for (int px = s.x0; px <= s.x1; ++px) {
                const bool inside = px > 0 && s.y > 0 && px + 1 < image_.width && s.y + 1 < image_.height;
                if (inside && take(px, s.y, 0.5 * control_.minSigma, 0.0)) spans.push_back({s.y, px, px});
            }
        return SpanSet(spans);
    }
};

}  // namespace

template <typename T>
std::vector<SpanSet> findCosmicRays(View2<T> image, View2<const VariancePixel> variance, View2<const MaskPixel> mask,
                                    CosmicRayControl const& control, Point2I xy0) {
    auto sameSize = [&](int width, int height) { return width == image.width && height == image.height; };
    if (!sameSize(variance.width, variance.height) || (!mask.empty() && !sameSize(mask.width, mask.height))) {
        throw ShapeError("findCosmicRays: image, variance and mask differ in size");
    }
    std::vector<Span> spans = Search<T>(image, variance, mask, control).run();
    for (Span& s : spans) {
        s.y += xy0.y;
        s.x0 += xy0.x;
        s.x1 += xy0.x;
    }
    return SpanSet(spans).split(8);
}

template std::vector<SpanSet> findCosmicRays(View2<float>, View2<const VariancePixel>, View2<const MaskPixel>,
                                             CosmicRayControl const&, Point2I);
template std::vector<SpanSet> findCosmicRays(View2<double>, View2<const VariancePixel>, View2<const MaskPixel>,
                                             CosmicRayControl const&, Point2I);

}  // namespace stillsky
