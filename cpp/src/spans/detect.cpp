// Thresholding, labelling and peaks: the builders of FootprintSet.
#include <algorithm>
#include <cmath>
#include <string>

#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/spans/footprint.hpp"

namespace stillsky {
namespace {

constexpr int ROWS_PER_BLOCK = 64;
constexpr int CHUNK = 64;
constexpr int FOOTPRINTS_PER_BLOCK = 64;

// Runs of one polarity, and whether a pixel of each reaches the include level.
struct Runs {
    std::vector<Span> spans;
    std::vector<char> included;
};

// 1 for each CHUNK of a row in which some pixel may reach the level: a coarse single-precision test, a little too
// generous, so that the exact one is rarely needed.
template <typename T>
STILLSKY_INLINE void chunksImpl(T const* STILLSKY_RESTRICT image, float const* STILLSKY_RESTRICT variance,
                                double threshold, bool positive, bool negative, int n, char* STILLSKY_RESTRICT any) {
    const float t = static_cast<float>(threshold), slack = 1e-5f * std::fabs(t);
    const float up = positive ? 1.0f : 0.0f, down = negative ? 1.0f : 0.0f;
    for (int x = 0; x < n; x += CHUNK) {
        const int m = std::min(CHUNK, n - x);
        int found = 0;
        for (int j = 0; j < m; ++j) {
            const float sd = std::sqrt(variance[x + j]), level = (t - slack) * sd, v = static_cast<float>(image[x + j]);
            found |= static_cast<int>(v >= level) & static_cast<int>(up > 0.0f);
            found |= static_cast<int>(-v >= level) & static_cast<int>(down > 0.0f);
        }
        any[x / CHUNK] = static_cast<char>(found);
    }
}
template <typename T>
STILLSKY_INLINE void chunksFlatImpl(T const* STILLSKY_RESTRICT image, double threshold, bool positive, bool negative,
                                    int n, char* STILLSKY_RESTRICT any) {
    const int up = positive, down = negative;
    for (int x = 0; x < n; x += CHUNK) {
        const int m = std::min(CHUNK, n - x);
        int found = 0;
        for (int j = 0; j < m; ++j) {
            const double v = static_cast<double>(image[x + j]);
            found |= (static_cast<int>(v >= threshold) & up) | (static_cast<int>(-v >= threshold) & down);
        }
        any[x / CHUNK] = static_cast<char>(found);
    }
}
STILLSKY_SIMD void chunks(float const* image, float const* variance, double t, bool up, bool down, int n, char* any) {
    chunksImpl(image, variance, t, up, down, n, any);
}
STILLSKY_SIMD void chunks(double const* image, float const* variance, double t, bool up, bool down, int n, char* any) {
    chunksImpl(image, variance, t, up, down, n, any);
}
STILLSKY_SIMD void chunksFlat(float const* image, double t, bool up, bool down, int n, char* any) {
    chunksFlatImpl(image, t, up, down, n, any);
}
STILLSKY_SIMD void chunksFlat(double const* image, double t, bool up, bool down, int n, char* any) {
    chunksFlatImpl(image, t, up, down, n, any);
}

// Extends the last run or begins one.
void addPixel(Runs& runs, int x, int y, bool included) {
    if (!runs.spans.empty() && runs.spans.back().y == y && runs.spans.back().x1 == x - 1) {
        runs.spans.back().x1 = x;
        runs.included.back() |= static_cast<char>(included);
    } else {
        runs.spans.push_back({y, x, x});
        runs.included.push_back(static_cast<char>(included));
    }
}

template <typename T>
void scanRows(View2<const T> image, View2<const VariancePixel> variance, DetectionControl const& control,
              Point2I xy0, int yBegin, int yEnd, Runs& positive, Runs& negative) {
    const int n = image.width;
    std::vector<char> any((n + CHUNK - 1) / CHUNK);
    for (int y = yBegin; y < yEnd; ++y) {
        T const* row = image.row(y);
        VariancePixel const* var = control.pixelStdev ? variance.row(y) : nullptr;
        if (var) {
            chunks(row, var, control.threshold, control.positive, control.negative, n, any.data());
        } else {
            chunksFlat(row, control.threshold, control.positive, control.negative, n, any.data());
        }
        for (int block = 0; block < static_cast<int>(any.size()); ++block) {
            if (!any[block]) continue;
            for (int x = block * CHUNK; x < std::min(n, (block + 1) * CHUNK); ++x) {
                const double v = static_cast<double>(row[x]);
                const double level = var ? control.threshold * std::sqrt(static_cast<double>(var[x])) : control.threshold;
                const double include = level * control.includeMultiplier;
                if (control.positive && v >= level) addPixel(positive, x + xy0.x, y + xy0.y, v >= include);
                if (control.negative && -v >= level) addPixel(negative, x + xy0.x, y + xy0.y, -v >= include);
            }
        }
    }
}

FootprintSet footprintsOf(std::vector<Runs> const& bands, Box2I const& region, int minPixels) {
    std::vector<Span> spans;
    std::vector<char> included;
    for (Runs const& band : bands) {
        spans.insert(spans.end(), band.spans.begin(), band.spans.end());
        included.insert(included.end(), band.included.begin(), band.included.end());
    }
    int n = 0;
    const std::vector<int> label = labelSpans(spans, 8, n);
    std::vector<long long> area(n, 0);
    std::vector<char> keep(n, 0);
    for (std::size_t i = 0; i < spans.size(); ++i) {
        area[label[i]] += spans[i].width();
        keep[label[i]] |= included[i];
    }
    std::vector<int> index(n, -1);
    int kept = 0;
    for (int i = 0; i < n; ++i) {
        if (keep[i] && area[i] >= minPixels) index[i] = kept++;
    }
    std::vector<std::vector<Span>> members(kept);
    for (std::size_t i = 0; i < spans.size(); ++i) {
        if (index[label[i]] >= 0) members[index[label[i]]].push_back(spans[i]);
    }
    std::vector<Footprint> footprints(kept);
    for (int i = 0; i < kept; ++i) footprints[i] = {SpanSet::fromNormal(std::move(members[i])), {}, region};
    return FootprintSet(std::move(footprints), region);
}

template <typename T>
class PeakSearch {
public:
    PeakSearch(View2<const T> image, Point2I xy0, bool positive, DetectionControl const& control)
            : image_(image), xy0_(xy0), sign_(positive ? 1 : -1), control_(control) {}

    void run(Footprint& footprint) const {
        std::vector<Span> tops;
        Peak extreme;
        bool found = false;
        for (Span s : footprint.spans.spans()) {
            for (int x = s.x0; x <= s.x1; ++x) {
                const T v = at(x, s.y);
                if (!found || sign_ * v > sign_ * extreme.value) extreme = makePeak(x, s.y);
                found = true;
                if (isTop(x, s.y)) tops.push_back({s.y, x, x});
            }
        }
        footprint.peaks.clear();
        if (control_.onePeakPerPlateau) {
            addPlateaus(tops, footprint.peaks);
        } else {
            for (Span s : tops) footprint.peaks.push_back(makePeak(s.x0, s.y));
        }
        if (footprint.peaks.empty() && found) footprint.peaks.push_back(extreme);
        footprint.sortPeaks(sign_ < 0 && control_.negativeByDepth ? PeakOrder::DEPTH : PeakOrder::DESCENDING);
    }

private:
    T at(int x, int y) const { return image_(x - xy0_.x, y - xy0_.y); }

    Peak makePeak(int x, int y) const {
        return {0, x, y, static_cast<double>(x), static_cast<double>(y), static_cast<double>(at(x, y)), 0};
    }

    bool isTop(int px, int py) const {
        const int x = px - xy0_.x, y = py - xy0_.y;
        const int frame = control_.edgePeaks ? 0 : 1;
        if (x < frame || y < frame || x >= image_.width - frame || y >= image_.height - frame) return false;
        const T v = sign_ * image_(x, y);
        if (std::isnan(v)) return false;
        for (int j = std::max(0, y - 1); j <= std::min(image_.height - 1, y + 1); ++j) {
            for (int i = std::max(0, x - 1); i <= std::min(image_.width - 1, x + 1); ++i) {
                if (sign_ * image_(i, j) > v) return false;
            }
        }
        return true;
    }

    // Neighbouring tops are equal by construction: one peak each, at the centroid.
    void addPlateaus(std::vector<Span> const& tops, std::vector<Peak>& peaks) const {
        int n = 0;
        const std::vector<int> label = labelSpans(tops, 8, n);
        std::vector<std::vector<Span>> plateaus(n);
        for (std::size_t i = 0; i < tops.size(); ++i) plateaus[label[i]].push_back(tops[i]);
        for (auto const& pixels : plateaus) {
            const Point2D c = SpanSet(pixels).centroid();
            auto distance = [c](Span s) { return std::hypot(s.x0 - c.x, s.y - c.y); };
            const Span nearest = *std::min_element(pixels.begin(), pixels.end(), [&](Span a, Span b) {
                return distance(a) < distance(b);
            });
            Peak peak = makePeak(nearest.x0, nearest.y);
            peak.fx = c.x;
            peak.fy = c.y;
            peaks.push_back(peak);
        }
    }

    View2<const T> image_;
    Point2I xy0_;
    T sign_;
    DetectionControl const& control_;
};

void checkControl(DetectionControl const& control) {
    if (!std::isfinite(control.threshold)) {
        throw DomainError("detectFootprints: threshold must be finite, got " + std::to_string(control.threshold));
    }
    if (!(control.includeMultiplier > 0) || !std::isfinite(control.includeMultiplier)) {
        throw DomainError("detectFootprints: includeMultiplier must be positive, got " +
                          std::to_string(control.includeMultiplier));
    }
    if (control.minPixels < 1) {
        throw DomainError("detectFootprints: minPixels must be at least 1, got " + std::to_string(control.minPixels));
    }
}

}  // namespace

template <typename T>
void findFootprintPeaks(FootprintSet& set, View2<const T> image, bool positive, DetectionControl const& control,
                        Point2I xy0) {
    const Box2I box(xy0, {image.width, image.height});
    for (Footprint const& f : set.footprints()) {
        if (!box.contains(f.bbox())) {
            throw OutOfBoundsError("findFootprintPeaks: footprint " + f.bbox().str() + " is not inside the image " +
                                   box.str());
        }
    }
    const PeakSearch<T> search(image, xy0, positive, control);
    const int n = static_cast<int>(set.size());
    parallelFor((n + FOOTPRINTS_PER_BLOCK - 1) / FOOTPRINTS_PER_BLOCK, [&](int block) {
        const int end = std::min(n, (block + 1) * FOOTPRINTS_PER_BLOCK);
        for (int i = block * FOOTPRINTS_PER_BLOCK; i < end; ++i) search.run(set.footprints()[i]);
    });
}

template <typename T>
Detection detectFootprints(View2<const T> image, View2<const VariancePixel> variance,
                           DetectionControl const& control, Point2I xy0) {
    checkControl(control);
    if (control.pixelStdev && (variance.width != image.width || variance.height != image.height)) {
        throw ShapeError("detectFootprints: variance is " + std::to_string(variance.width) + "x" +
                         std::to_string(variance.height) + ", image is " + std::to_string(image.width) + "x" +
                         std::to_string(image.height));
    }
    const int nBlocks = (image.height + ROWS_PER_BLOCK - 1) / ROWS_PER_BLOCK;
    std::vector<Runs> positive(nBlocks), negative(nBlocks);
    parallelFor(nBlocks, [&](int b) {
        scanRows(image, variance, control, xy0, b * ROWS_PER_BLOCK, std::min(image.height, (b + 1) * ROWS_PER_BLOCK),
                 positive[b], negative[b]);
    });
    const Box2I region(xy0, {image.width, image.height});
    Detection out{footprintsOf(positive, region, control.minPixels), footprintsOf(negative, region, control.minPixels)};
    if (control.setPeaks) {
        findFootprintPeaks(out.positive, image, true, control, xy0);
        findFootprintPeaks(out.negative, image, false, control, xy0);
    }
    return out;
}

FootprintSet detectBits(View2<const MaskPixel> mask, MaskPixel bits, int minPixels, Point2I xy0) {
    if (minPixels < 1) throw DomainError("detectBits: minPixels must be at least 1, got " + std::to_string(minPixels));
    std::vector<Runs> runs(1);
    runs[0].spans = SpanSet::fromMask(mask, bits, xy0).spans();
    runs[0].included.assign(runs[0].spans.size(), 1);
    return footprintsOf(runs, Box2I(xy0, {mask.width, mask.height}), minPixels);
}

template Detection detectFootprints<float>(View2<const float>, View2<const VariancePixel>, DetectionControl const&,
                                           Point2I);
template Detection detectFootprints<double>(View2<const double>, View2<const VariancePixel>, DetectionControl const&,
                                            Point2I);
template void findFootprintPeaks<float>(FootprintSet&, View2<const float>, bool, DetectionControl const&, Point2I);
template void findFootprintPeaks<double>(FootprintSet&, View2<const double>, bool, DetectionControl const&, Point2I);

}  // namespace stillsky
