#include "stillsky/warp/warp.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "stillsky/core/parallel.hpp"
#include "warp_rows.hpp"

namespace stillsky {

using namespace warp_detail;

// ---------------------------------------------------------------------------------------------- control

namespace {

void checkMaskKernelFits(WarpingKernel const& kernel, WarpingKernel const& maskKernel) {
    const int left = kernel.center(), right = kernel.taps() - 1 - left;
    const int maskLeft = maskKernel.center(), maskRight = maskKernel.taps() - 1 - maskLeft;
    if (maskLeft > left || maskRight > right) {
        throw DomainError("WarpingControl: the mask kernel must fit inside the image kernel, but \"" +
                          maskKernel.name() + "\" reaches beyond \"" + kernel.name() + "\"");
    }
}

}  // namespace

WarpingControl::WarpingControl(std::string const& warpingKernelName, std::string const& maskWarpingKernelName,
                               int cacheSize, int interpLength, MaskPixel growFullMask_, Model model_)
        : growFullMask(growFullMask_),
          model(model_),
          kernel_(warpingKernelName),
          maskKernel_(maskWarpingKernelName.empty() ? std::string("nearest") : maskWarpingKernelName),
          hasMaskKernel_(!maskWarpingKernelName.empty()) {
    if (hasMaskKernel_) checkMaskKernelFits(kernel_, maskKernel_);
    setCacheSize(cacheSize);
    setInterpLength(interpLength);
}

void WarpingControl::setWarpingKernelName(std::string const& name) {
    WarpingKernel kernel(name);
    if (hasMaskKernel_) checkMaskKernelFits(kernel, maskKernel_);
    kernel_ = kernel;
}

void WarpingControl::setMaskWarpingKernelName(std::string const& name) {
    if (!name.empty()) {
        WarpingKernel kernel(name);
        checkMaskKernelFits(kernel_, kernel);
        maskKernel_ = kernel;
    }
    hasMaskKernel_ = !name.empty();
}

void WarpingControl::setCacheSize(int n) {
    if (n < 0) throw DomainError("WarpingControl: cacheSize must be >= 0, got " + std::to_string(n));
    cacheSize_ = n;
}

void WarpingControl::setInterpLength(int n) {
    if (n < 0) throw DomainError("WarpingControl: interpLength must be >= 0, got " + std::to_string(n));
    interpLength_ = n;
}

bool operator==(WarpingControl const& a, WarpingControl const& b) {
    return a.warpingKernelName() == b.warpingKernelName() && a.maskWarpingKernelName() == b.maskWarpingKernelName() &&
           a.cacheSize_ == b.cacheSize_ && a.interpLength_ == b.interpLength_ && a.growFullMask == b.growFullMask &&
           a.model == b.model && a.scaleByArea == b.scaleByArea && a.noDataMask == b.noDataMask &&
           a.interpolatedMask == b.interpolatedMask;
}

// ---------------------------------------------------------------------------------------------- tiles

namespace {

constexpr int TILE_WIDTH = 128, TILE_HEIGHT = 64;
constexpr int SUMMARY = 32;  // mask bits are summarised in squares of this size
constexpr int MASK_RUN = 32;

// OR of the mask over squares, to skip clean regions.
class MaskSummary {
public:
    explicit MaskSummary(View2<const MaskPixel> mask)
            : nx_((mask.width + SUMMARY - 1) / SUMMARY), ny_((mask.height + SUMMARY - 1) / SUMMARY),
              bits_(static_cast<std::size_t>(nx_) * ny_, 0) {
        parallelFor(ny_, [&](int ty) {
            for (int y = ty * SUMMARY; y < std::min(mask.height, (ty + 1) * SUMMARY); ++y) {
                const MaskPixel* row = mask.row(y);
                for (int tx = 0; tx < nx_; ++tx) {
                    MaskPixel all = 0;
                    for (int x = tx * SUMMARY; x < std::min(mask.width, (tx + 1) * SUMMARY); ++x) all |= row[x];
                    bits_[static_cast<std::size_t>(ty) * nx_ + tx] |= all;
                }
            }
        });
    }
    MaskPixel over(int x0, int x1, int y0, int y1) const {  // inclusive pixel indices, inside the mask
        MaskPixel all = 0;
        for (int y = y0 / SUMMARY; y <= y1 / SUMMARY; ++y) {
            for (int x = x0 / SUMMARY; x <= x1 / SUMMARY; ++x) all |= bits_[static_cast<std::size_t>(y) * nx_ + x];
        }
        return all;
    }

private:
    int nx_, ny_;
    std::vector<MaskPixel> bits_;
};

// Planes of one warp; mask and variance are empty when only an image is warped.
template <typename T>
struct Planes {
    View2<T> image;
    View2<std::conditional_t<std::is_const<T>::value, const MaskPixel, MaskPixel>> mask;
    View2<std::conditional_t<std::is_const<T>::value, const VariancePixel, VariancePixel>> variance;
    Point2I xy0;
    bool masked = false;
};

// Everything a tile needs that does not change between tiles.
template <typename T>
struct Plan {
    Planes<T> dest;
    Planes<const T> src;
    InverseMapping const& mapping;
    WarpingControl const& control;
    PadPixel<T> pad;
    std::shared_ptr<const WeightTable> table;  // null: weights are computed for every pixel
    std::shared_ptr<const MaskSummary> summary;
    bool fast = false;

    WarpingKernel const& kernel() const { return control.warpingKernel(); }
    bool reference() const { return control.model == WarpingControl::Model::Reference; }
};

// Source positions of one destination row; element i + 1 belongs to tile column i.
struct PositionRow {
    std::vector<double> x, y;
};

// Buffers that a thread keeps between tiles: fresh memory for each would cost more than the warp.
struct Workspace {
    std::vector<PositionRow> rows;
    std::vector<float> scratch;
    Axis axisX, axisY;
    std::vector<std::uint8_t> status;
    std::vector<double> area;
};

Workspace& workspace() {
    static thread_local Workspace space;
    return space;
}

template <typename T>
class TileWarper {
public:
    TileWarper(Plan<T> const& plan, int x0, int y0, int width, int height)
            : plan_(plan), x0_(x0), y0_(y0), width_(width), height_(height), rows_(workspace().rows),
              scratch_(workspace().scratch), axisX_(workspace().axisX), axisY_(workspace().axisY),
              status_(workspace().status), area_(workspace().area), weightsX_(plan.kernel().taps()), weightsY_(plan.kernel().taps()) {
        axisX_.resize(width);
        axisY_.resize(width);
        status_.resize(width);
        area_.assign(width, 1.0);
        if (rows_.size() < static_cast<std::size_t>(height) + 2) rows_.resize(height + 2);
        for (auto& row : rows_) {
            row.x.resize(width + 2);
            row.y.resize(width + 2);
        }
    }

    long long run() {
        long long count = 0;
        const bool area = plan_.control.scaleByArea;
        const int more = area ? 1 : 0;
        for (int y = y0_ - more; y < y0_ + height_ + more; ++y) fillPositions(y);
        if (plan_.fast) copySource();
        for (int y = y0_; y < y0_ + height_; ++y) {
            classify(y);
            if (area) computeAreas(y);
            computeValues(y);
            if (plan_.dest.masked) computeMask(y);
            count += finishRow(y);
        }
        return count;
    }

private:
    using Row = PositionRow;

    // y and x here are local indices of the destination.
    Row& positions(int y) { return rows_[y - y0_ + 1]; }

    void fillPositions(int y) {
        Row& row = positions(y);
        plan_.mapping.row(static_cast<double>(y) + plan_.dest.xy0.y, static_cast<double>(x0_) - 1 + plan_.dest.xy0.x,
                          width_ + 2, row.x.data(), row.y.data());
    }

    void classify(int y) {
        Row const& row = positions(y);
        WarpingKernel const& kernel = plan_.kernel();
        const int low = kernel.center(), beyond = kernel.taps() - 1 - low;
        const double snap = plan_.reference() ? 0.0 : SNAP;
        const bool nearest = kernel.kind() == WarpingKernel::Kind::Nearest;
        const int srcWidth = plan_.src.image.width, srcHeight = plan_.src.image.height;
        locate(width_, row.x.data() + 1, plan_.src.xy0.x, low, srcWidth - 1 - beyond, snap, nearest, axisX_);
        locate(width_, row.y.data() + 1, plan_.src.xy0.y, low, srcHeight - 1 - beyond, snap, nearest, axisY_);
        // Loads of whole vectors must not pass the end of a source row; the copy has room.
        const int lastFast = !plan_.fast ? std::numeric_limits<int>::min()
                             : copied_   ? srcWidth
                                         : srcWidth - plan_.table->stride + low;
        classifyPixels(width_, axisX_, axisY_, lastFast, status_.data());
    }

    void computeAreas(int y) {
        Row const &here = positions(y), &above = positions(y + 1), &below = positions(y - 1);
        const bool left = plan_.reference();
        const int right = left ? 1 : 2;
        Row const& top = left ? here : above;
        const int bad = areaRatios(
                width_, here.x.data(), here.x.data() + right, below.x.data() + 1, top.x.data() + 1, here.y.data(),
                   here.y.data() + right, below.y.data() + 1, top.y.data() + 1, left ? 1.0 : 0.25, area_.data());
        if (left || bad == 0) return;
        for (int i = 0; i < width_; ++i) {
            if (status_[i] != PADDED && !std::isfinite(area_[i])) area_[i] = oneSidedArea(here, above, below, i + 1);
        }
    }

    // Beside a position that does not exist: the difference that does.
    static double oneSidedArea(Row const& here, Row const& above, Row const& below, int k) {
        auto slope = [](double before, double now, double after) {
            const double d = 0.5 * (after - before), forward = after - now, backward = now - before;
            return std::isfinite(d) ? d : std::isfinite(forward) ? forward : backward;
        };
        const double xx = slope(here.x[k - 1], here.x[k], here.x[k + 1]);
        const double yx = slope(here.y[k - 1], here.y[k], here.y[k + 1]);
        const double xy = slope(below.x[k], here.x[k], above.x[k]);
        const double yy = slope(below.y[k], here.y[k], above.y[k]);
        const double det = std::fabs(xx * yy - xy * yx);
        return std::isfinite(det) ? det : 1.0;
    }

    void computeValues(int y) {
        if (plan_.fast) runFast(y);
        if (countStatus(width_, status_.data(), SCALAR) == 0) return;
        for (int i = 0; i < width_; ++i) {
            if (status_[i] == SCALAR) scalarPixel(y, i);
        }
    }

    void copySource();
    void runFast(int y);

    void pixelWeights(double f, std::vector<double>& out) const {
        WarpingKernel const& kernel = plan_.kernel();
        const int cache = plan_.control.cacheSize();
        if (plan_.reference()) {
            kernel.rawWeights(cache > 0 ? (std::floor(f * cache) + 0.5) / cache : f, out.data());
        } else if (plan_.table && kernel.kind() != WarpingKernel::Kind::Nearest) {
            const double scaled = f * plan_.table->nodes;
            const int k = static_cast<int>(scaled), taps = kernel.taps();
            const double t = scaled - k;
            const double* a = &plan_.table->raw[static_cast<std::size_t>(k) * taps];
            for (int i = 0; i < taps; ++i) out[i] = a[i] + t * (a[taps + i] - a[i]);
        } else {
            kernel.weights(f, out.data());
        }
    }

    // All four pixels around the position are bad. They carry more than the whole weight (the taps beyond sum to less
    // than zero for every lanczos), so what is left cannot reach one half.
    bool noCentralPixel(int x, int y) const {
        for (int j = 0; j < 2; ++j) {
            const T* image = plan_.src.image.row(y + j) + x;
            if (std::isfinite(image[0]) || std::isfinite(image[1])) return false;
        }
        return true;
    }

    // One pixel, tap by tap in double: the definition. Leaves out taps without data.
    void scalarPixel(int y, int i) {
        pixelWeights(axisX_.fraction[i], weightsX_);
        pixelWeights(axisY_.fraction[i], weightsY_);
        const int taps = plan_.kernel().taps(), center = plan_.kernel().center();
        const int sx = axisX_.index[i] - center, sy = axisY_.index[i] - center;
        const bool skipBad = !plan_.reference(), masked = plan_.src.masked;
        if (skipBad && noCentralPixel(sx + center, sy + center)) {
            status_[i] = NODATA;
            return;
        }
        double sumI = 0, sumV = 0, sumGood = 0, sumAll = 0;
        bool anyBad = false;
        for (int j = 0; j < taps; ++j) {
            if (weightsY_[j] == 0.0) continue;
            const T* image = plan_.src.image.row(sy + j) + sx;
            const VariancePixel* variance = masked ? plan_.src.variance.row(sy + j) + sx : nullptr;
            for (int k = 0; k < taps; ++k) {
                const double w = weightsX_[k] * weightsY_[j];
                if (w == 0.0) continue;
                sumAll += w;
                if (skipBad && (!std::isfinite(image[k]) || (masked && std::isnan(variance[k])))) {
                    anyBad = true;
                    continue;
                }
                sumGood += w;
                sumI += w * image[k];
                if (masked) sumV += w * w * variance[k];
            }
        }
        const std::size_t x = x0_ + i;
        if (anyBad && !(sumGood / sumAll >= 0.5)) {
            status_[i] = NODATA;
            return;
        }
        const double scale = area_[i] / sumGood;
        plan_.dest.image.row(y)[x] = static_cast<T>(scale * sumI);
        if (masked) plan_.dest.variance.row(y)[x] = static_cast<VariancePixel>(scale * scale * sumV);
        status_[i] = anyBad ? FILLED : GOOD;
    }

    // Out of one run of pixels: the mask bits that reach them through `kernel`.
    void orInto(WarpingKernel const& kernel, int start, int n, MaskPixel bits, bool add, MaskPixel* out) const {
        // In Rubin's code the far taps of lanczos at f = 0 are 1e-17, and no cached offset is exactly 0.
        const bool allTaps = plan_.reference() && (kernel.kind() == WarpingKernel::Kind::Lanczos ||
                                                   (kernel.kind() == WarpingKernel::Kind::Bilinear &&
                                                    plan_.control.cacheSize() > 0));
        View2<const MaskPixel> const& mask = plan_.src.mask;
        MaskSegment s;
        s.n = n;
        s.x = axisX_.index.data() + start;
        s.y = axisY_.index.data() + start;
        s.fractionX = axisX_.fraction.data() + start;
        s.fractionY = axisY_.fraction.data() + start;
        s.mask = mask.data;
        s.firstTap = kernel.center();
        s.stride = mask.stride;
        s.bits = bits;
        s.add = add;
        s.out = out + start;
        orTaps(kernel, allTaps, s);
    }

    // In runs short enough that a clean region of the source is recognised from the summary. Padded pixels have anchors
    // clamped to the good region, so that what is read for them is inside the source; finishRow overwrites them.
    void computeMask(int y) {
        WarpingControl const& control = plan_.control;
        WarpingKernel const& broad = control.warpingKernel();
        const MaskPixel broadBits = control.hasMaskWarpingKernel() ? control.growFullMask : ~MaskPixel(0);
        const int before = broad.center(), after = broad.taps() - 1 - before;
        MaskPixel* out = plan_.dest.mask.row(y) + x0_;
        for (int start = 0; start < width_; start += MASK_RUN) {
            const int n = std::min(width_ - start, MASK_RUN);
            int minX, maxX, minY, maxY;
            indexRange(n, axisX_.index.data() + start, minX, maxX);
            indexRange(n, axisY_.index.data() + start, minY, maxY);
            const MaskPixel present = plan_.summary->over(minX - before, maxX + after, minY - before, maxY + after);
            const bool wide = (present & broadBits) != 0;
            if (!wide) std::fill_n(out + start, n, 0);
            if (wide) orInto(broad, start, n, broadBits, false, out);
            if (present != 0 && control.hasMaskWarpingKernel()) {
                orInto(control.maskWarpingKernel(), start, n, ~MaskPixel(0), true, out);
            }
        }
    }

    long long finishRow(int y) {
        const bool masked = plan_.dest.masked;
        T* image = plan_.dest.image.row(y) + x0_;
        VariancePixel* variance = masked ? plan_.dest.variance.row(y) + x0_ : nullptr;
        MaskPixel* mask = masked ? plan_.dest.mask.row(y) + x0_ : nullptr;
        long long count = countStatus(width_, status_.data(), GOOD);
        if (count == width_) return count;
        for (int i = 0; i < width_; ++i) {
            if (status_[i] == GOOD) continue;
            if (status_[i] == FILLED) {
                ++count;
                if (masked) mask[i] |= plan_.control.interpolatedMask;
                continue;
            }
            image[i] = plan_.pad.image;
            if (!masked) continue;
            variance[i] = plan_.pad.variance;
            mask[i] = status_[i] == PADDED ? plan_.pad.mask : mask[i] | plan_.control.noDataMask;
        }
        return count;
    }

    Plan<T> const& plan_;
    int x0_, y0_, width_, height_;
    std::vector<Row>& rows_;
    std::vector<float>& scratch_;
    Axis &axisX_, &axisY_;
    std::vector<std::uint8_t>& status_;
    std::vector<double>& area_;
    Segment segment_;
    bool copied_ = false;
    std::vector<double> weightsX_, weightsY_;
};

// Copy the source pixels of this tile, image and variance rows side by side. Rows of a large image often lie a
// multiple of 4096 bytes apart and then evict each other from the first cache; rows of the copy do not. Where the tile
// covers much more source than its own size (strong reduction) the source is read in place.
template <>
void TileWarper<float>::copySource() {
    View2<const float> const& image = plan_.src.image;
    const int taps = plan_.kernel().taps(), center = plan_.kernel().center();
    const double huge = std::numeric_limits<double>::infinity();
    double lowX = huge, highX = -huge, lowY = huge, highY = -huge;
    for (int y = y0_; y < y0_ + height_; ++y) {
        extendRange(width_, positions(y).x.data() + 1, lowX, highX);
        extendRange(width_, positions(y).y.data() + 1, lowY, highY);
    }
    // One pixel more on each side: a position may round to the next pixel centre.
    auto first = [&](double low, int origin) { return static_cast<int>(std::max(0.0, std::floor(low - origin) - center - 1)); };
    auto end = [&](double high, int origin, int size) {
        return static_cast<int>(std::min<double>(size, std::floor(high - origin) + taps - center + 2));
    };
    segment_ = Segment();
    segment_.n = width_;
    segment_.taps = taps;
    segment_.x = &axisX_;
    segment_.y = &axisY_;
    segment_.status = status_.data();
    segment_.area = area_.data();
    segment_.table = plan_.table.get();
    const Point2I origin = plan_.src.xy0;
    const bool overlaps = lowX <= highX && lowY <= highY && lowX - origin.x < image.width && highX - origin.x >= 0 &&
                          lowY - origin.y < image.height && highY - origin.y >= 0;
    const int x0 = overlaps ? first(lowX, origin.x) : 0, x1 = overlaps ? end(highX, origin.x, image.width) : 0;
    const int y0 = overlaps ? first(lowY, origin.y) : 0, y1 = overlaps ? end(highY, origin.y, image.height) : 0;
    const std::ptrdiff_t width = x1 - x0, height = y1 - y0;
    copied_ = overlaps && width * height < 6 * TILE_WIDTH * TILE_HEIGHT;
    if (!copied_) {
        segment_.offsetX = segment_.offsetY = center;
        segment_.image = image.data;
        segment_.imageStride = image.stride;
        segment_.variance = plan_.src.masked ? plan_.src.variance.data : nullptr;
        segment_.varianceStride = plan_.src.variance.stride;
        return;
    }
    const std::ptrdiff_t room = (width + plan_.table->stride + 15) / 16 * 16;
    std::ptrdiff_t stride = plan_.src.masked ? 2 * room : room;
    if (stride % 256 == 0) stride += 16;
    scratch_.resize(static_cast<std::size_t>(stride * height));
    for (int y = y0; y < y1; ++y) {
        float* row = scratch_.data() + (y - y0) * stride;
        std::copy_n(image.row(y) + x0, width, row);
        if (plan_.src.masked) std::copy_n(plan_.src.variance.row(y) + x0, width, row + room);
    }
    segment_.offsetX = center + x0;
    segment_.offsetY = center + y0;
    segment_.image = scratch_.data();
    segment_.variance = plan_.src.masked ? scratch_.data() + room : nullptr;
    segment_.imageStride = segment_.varianceStride = stride;
}

template <>
void TileWarper<float>::runFast(int y) {
    segment_.outImage = plan_.dest.image.row(y) + x0_;
    segment_.outVariance = plan_.src.masked ? plan_.dest.variance.row(y) + x0_ : nullptr;
    resample(segment_);
    flagNonFinite(width_, segment_.outImage, segment_.outVariance, status_.data());
}

template <>
void TileWarper<double>::copySource() {}

template <>
void TileWarper<double>::runFast(int) {}

// ---------------------------------------------------------------------------------------------- driver

template <typename A, typename B>
bool shareMemory(View2<A> const& a, View2<B> const& b) {
    if (a.empty() || b.empty()) return false;
    auto range = [](auto const& v) {
        const auto* first = reinterpret_cast<const char*>(std::min(v.row(0), v.row(v.height - 1)));
        const auto* last = reinterpret_cast<const char*>(std::max(v.row(0), v.row(v.height - 1)) + v.width);
        return std::pair<const char*, const char*>(first, last);
    };
    const auto ra = range(a), rb = range(b);
    return std::less<const char*>()(ra.first, rb.second) && std::less<const char*>()(rb.first, ra.second);
}

template <typename T>
void fillPad(Planes<T> const& dest, PadPixel<T> const& pad) {
    for (int y = 0; y < dest.image.height; ++y) {
        std::fill_n(dest.image.row(y), dest.image.width, pad.image);
        if (!dest.masked) continue;
        std::fill_n(dest.mask.row(y), dest.image.width, pad.mask);
        std::fill_n(dest.variance.row(y), dest.image.width, pad.variance);
    }
}

template <typename T>
long long warpPlanes(Planes<T> const& dest, Planes<const T> const& src, InverseMapping const& mapping,
                     WarpingControl const& control, PadPixel<T> const& pad) {
    if (dest.image.empty()) return 0;
    const int taps = control.warpingKernel().taps();
    if (src.image.width < taps || src.image.height < taps) {
        fillPad(dest, pad);
        return 0;
    }
    const int width = dest.image.width, height = dest.image.height;
    if (control.interpLength() > 0 && !mapping.isCheap()) {
        const GridMapping grid(mapping, Box2I(dest.xy0, {width, height}), control.interpLength());
        return warpPlanes<T>(dest, src, grid, control, pad);
    }
    Plan<T> plan{dest, src, mapping, control, pad, nullptr, nullptr, false};
    const bool reference = control.model == WarpingControl::Model::Reference;
    plan.fast = std::is_same<T, float>::value && !reference && taps <= MAX_FAST_TAPS;
    if (plan.fast) {
        plan.table = weightTable(control.warpingKernel(), TABLE_NODES);
    } else if (!reference && control.cacheSize() > 0) {
        plan.table = weightTable(control.warpingKernel(), std::min(control.cacheSize(), TABLE_NODES));
    }
    if (src.masked) plan.summary = std::make_shared<MaskSummary>(src.mask);
    const int nx = (width + TILE_WIDTH - 1) / TILE_WIDTH, ny = (height + TILE_HEIGHT - 1) / TILE_HEIGHT;
    std::vector<long long> counts(static_cast<std::size_t>(nx) * ny, 0);
    parallelFor(nx * ny, [&](int block) {
        const int x0 = block % nx * TILE_WIDTH, y0 = block / nx * TILE_HEIGHT;
        TileWarper<T> tile(plan, x0, y0, std::min(TILE_WIDTH, width - x0), std::min(TILE_HEIGHT, height - y0));
        counts[block] = tile.run();
    });
    long long total = 0;
    for (long long c : counts) total += c;
    return total;
}

}  // namespace

template <typename T>
long long warpMaskedImage(MaskedView<T> const& dest, MaskedView<const T> const& src, InverseMapping const& mapping,
                          WarpingControl const& control, PadPixel<T> const& pad) {
    if (shareMemory(dest.image, src.image) || shareMemory(dest.mask, src.mask) ||
        shareMemory(dest.variance, src.variance)) {
        throw DomainError("warpMaskedImage: source and destination share memory");
    }
    return warpPlanes<T>(Planes<T>{dest.image, dest.mask, dest.variance, dest.xy0, true},
                         Planes<const T>{src.image, src.mask, src.variance, src.xy0, true}, mapping, control, pad);
}

template <typename T>
long long warpImage(View2<T> dest, Point2I destXY0, View2<const T> src, Point2I srcXY0, InverseMapping const& mapping,
                    WarpingControl const& control, T pad) {
    if (shareMemory(dest, src)) throw DomainError("warpImage: source and destination share memory");
    PadPixel<T> padPixel;
    padPixel.image = pad;
    return warpPlanes<T>(Planes<T>{dest, {}, {}, destXY0, false}, Planes<const T>{src, {}, {}, srcXY0, false}, mapping,
                         control, padPixel);
}

#define STILLSKY_INSTANTIATE(T)                                                                             \
    template long long warpMaskedImage<T>(MaskedView<T> const&, MaskedView<const T> const&,                 \
                                          InverseMapping const&, WarpingControl const&, PadPixel<T> const&); \
    template long long warpImage<T>(View2<T>, Point2I, View2<const T>, Point2I, InverseMapping const&,       \
                                    WarpingControl const&, T);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stillsky
