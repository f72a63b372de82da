// Footprints: connected regions of detected pixels with their peaks, and sets of them.
#pragma once

#include <vector>

#include "stillsky/image/image.hpp"
#include "stillsky/spans/span_set.hpp"

namespace stillsky {

// A local extremum. `id` is the caller's: operations keep it, so that columns kept elsewhere can follow.
struct Peak {
    long long id = 0;
    int ix = 0, iy = 0;        // pixel, parent coordinates
    double fx = 0, fy = 0;     // position
    double value = 0;          // pixel value
    double significance = 0;   // value over its standard deviation, positive for both polarities; 0: unknown
};

// Order of the peaks of a footprint. DESCENDING: largest value first. DEPTH: most negative first.
// Ties: smaller x, then smaller y.
enum class PeakOrder { DESCENDING, DEPTH };

struct Footprint {
    SpanSet spans;
    std::vector<Peak> peaks;
    Box2I region;  // of the image that was searched

    long long area() const { return spans.area(); }
    Box2I const& bbox() const { return spans.bbox(); }
    bool contains(Point2I p) const { return spans.contains(p); }
    Footprint shifted(int dx, int dy) const;  // with its region
    // Parts inside the box; peaks outside are dropped.
    Footprint clipped(Box2I const& box) const;
    Footprint dilated(int radius, Stencil stencil = Stencil::CIRCLE) const;
    // Peaks outside the remaining spans are dropped.
    Footprint eroded(int radius, Stencil stencil = Stencil::CIRCLE) const;
    // Connected parts, each with the peaks that it contains.
    std::vector<Footprint> split(int connectivity = 8) const;
    void sortPeaks(PeakOrder order = PeakOrder::DESCENDING);
};

struct DetectionControl {
    double threshold = 5.0;          // level, or number of standard deviations with pixelStdev
    bool pixelStdev = false;         // compare with threshold * sqrt(variance of the pixel)
    bool positive = true;            // pixel >= level
    bool negative = false;           // -pixel >= level
    double includeMultiplier = 1.0;  // at least one pixel must reach level * includeMultiplier
    int minPixels = 1;               // smaller footprints are dropped
    bool setPeaks = true;
    bool edgePeaks = true;           // false: no peaks within one pixel of the image's edge (Rubin)
    bool onePeakPerPlateau = false;  // false: every pixel of a flat top is a peak (Rubin)
    bool negativeByDepth = true;     // order of negative peaks: deepest first; false: by value (Rubin)
};

class FootprintSet {
public:
    FootprintSet() = default;
    explicit FootprintSet(Box2I const& region) : region_(region) {}
    FootprintSet(std::vector<Footprint> footprints, Box2I const& region)
            : footprints_(std::move(footprints)), region_(region) {}

    Box2I const& region() const { return region_; }
    std::vector<Footprint> const& footprints() const { return footprints_; }
    std::vector<Footprint>& footprints() { return footprints_; }
    std::size_t size() const { return footprints_.size(); }
    Footprint const& operator[](std::size_t i) const { return footprints_[i]; }

    // Every footprint dilated (CIRCLE, or MANHATTAN when not isotropic) and clipped to the region; those that then
    // touch or overlap (8-connected) become one, with the peaks of all parts. DomainError for a negative radius.
    FootprintSet grown(int radius, bool isotropic = true, PeakOrder order = PeakOrder::DESCENDING) const;
    // The same for the union of two sets. DomainError unless the regions are equal.
    FootprintSet merged(FootprintSet const& other, int growSelf = 0, int growOther = 0, bool isotropic = true,
                        PeakOrder order = PeakOrder::DESCENDING) const;
    // 1, 2, ... on the pixels of the footprints, 0 elsewhere; later footprints overwrite.
    Image<int> idImage() const;
    void setMask(View2<MaskPixel> mask, MaskPixel bits, Point2I xy0 = Point2I()) const;

private:
    std::vector<Footprint> footprints_;
    Box2I region_;
};

struct Detection {
    FootprintSet positive, negative;
};

// Connected regions (8-connected) of pixels that reach the threshold, both polarities in one pass, numbered by first
// pixel in scan order. NaN is never detected, nor is a pixel with NaN variance where pixelStdev is set.
//
// image[y, x] and variance (needed with pixelStdev only, else it may be empty) have equal sizes; xy0 is added to all
// coordinates. Peaks: pixels that no 8-neighbour (inside the footprint or not, NaN apart) exceeds; a footprint
// without any gets its extreme pixel, the first in scan order. ShapeError when sizes differ, DomainError for
// thresholds that are not finite, includeMultiplier <= 0 or minPixels < 1.
// Rows are scanned in parallel (about 0.5 ns per pixel), runs joined by union-find, peaks found in parallel.
template <typename T>
Detection detectFootprints(View2<const T> image, View2<const VariancePixel> variance,
                           DetectionControl const& control, Point2I xy0 = Point2I());

// Regions of pixels with any of the bits; they have no peaks.
FootprintSet detectBits(View2<const MaskPixel> mask, MaskPixel bits, int minPixels = 1, Point2I xy0 = Point2I());

// Replace the peaks of all footprints by those of an image that covers them (OutOfBoundsError otherwise).
template <typename T>
void findFootprintPeaks(FootprintSet& set, View2<const T> image, bool positive, DetectionControl const& control,
                        Point2I xy0 = Point2I());

}  // namespace stillsky
