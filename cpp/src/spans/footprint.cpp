#include "stillsky/spans/footprint.hpp"

#include <algorithm>
#include <string>

#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int FOOTPRINTS_PER_BLOCK = 64;

void sortPeakList(std::vector<Peak>& peaks, PeakOrder order) {
    const double sign = order == PeakOrder::DEPTH ? -1 : 1;
    std::stable_sort(peaks.begin(), peaks.end(), [sign](Peak const& a, Peak const& b) {
        if (a.value != b.value) return sign * a.value > sign * b.value;
        return a.ix != b.ix ? a.ix < b.ix : a.iy < b.iy;
    });
}

template <typename Body>
void forFootprints(std::size_t n, Body const& body) {
    const int count = static_cast<int>(n), blocks = (count + FOOTPRINTS_PER_BLOCK - 1) / FOOTPRINTS_PER_BLOCK;
    parallelFor(blocks, [&](int block) {
        const int end = std::min(count, (block + 1) * FOOTPRINTS_PER_BLOCK);
        for (int i = block * FOOTPRINTS_PER_BLOCK; i < end; ++i) body(i);
    });
}

// Components of the union of all footprints, with the peaks of the footprints that went into them.
FootprintSet joined(std::vector<Footprint> const& parts, Box2I const& region, PeakOrder order) {
    std::vector<Span> all;
    for (Footprint const& part : parts) all.insert(all.end(), part.spans.spans().begin(), part.spans.spans().end());
    const SpanSet total(std::move(all));
    std::vector<Span> const& spans = total.spans();
    int n = 0;
    const std::vector<int> label = labelSpans(spans, 8, n);
    std::vector<std::vector<Span>> members(n);
    for (std::size_t i = 0; i < spans.size(); ++i) members[label[i]].push_back(spans[i]);
    std::vector<Footprint> out(n);
    for (int i = 0; i < n; ++i) {
        out[i].spans = SpanSet::fromNormal(std::move(members[i]));
        out[i].region = region;
    }
    auto labelAt = [&](int x, int y) {
        auto next = std::upper_bound(spans.begin(), spans.end(), Span{y, x, x});
        if (next == spans.begin() || (next - 1)->y != y || (next - 1)->x1 < x) return -1;
        return label[next - 1 - spans.begin()];
    };
    for (Footprint const& part : parts) {
        if (part.spans.isEmpty()) continue;
        const Span first = part.spans.spans().front();
        for (Peak const& peak : part.peaks) {
            const int at = labelAt(peak.ix, peak.iy);
            // A peak that lies outside its own footprint stays with the footprint's first pixel.
            out[at >= 0 ? at : labelAt(first.x0, first.y)].peaks.push_back(peak);
        }
    }
    for (Footprint& footprint : out) footprint.sortPeaks(order);
    return FootprintSet(std::move(out), region);
}

std::vector<Footprint> grownParts(FootprintSet const& set, int radius, bool isotropic) {
    if (radius < 0) throw DomainError("FootprintSet: grow radius must be >= 0, got " + std::to_string(radius));
    std::vector<Footprint> parts(set.size());
    const SpanSet element = SpanSet::fromShape(radius, isotropic ? Stencil::CIRCLE : Stencil::MANHATTAN);
    forFootprints(set.size(), [&](int i) {
        parts[i].spans = (radius ? set[i].spans.dilated(element) : set[i].spans).clipped(set.region());
        parts[i].peaks = set[i].peaks;
    });
    return parts;
}

}  // namespace

Footprint Footprint::shifted(int dx, int dy) const {
    Footprint out{spans.shifted(dx, dy), peaks, region.shiftedBy({dx, dy})};
    for (Peak& p : out.peaks) {
        p.ix += dx;
        p.iy += dy;
        p.fx += dx;
        p.fy += dy;
    }
    return out;
}

Footprint Footprint::clipped(Box2I const& box) const {
    Footprint out{spans.clipped(box), {}, region};
    for (Peak const& p : peaks) {
        if (box.contains(Point2I{p.ix, p.iy})) out.peaks.push_back(p);
    }
    return out;
}

Footprint Footprint::dilated(int radius, Stencil stencil) const {
    return {spans.dilated(radius, stencil), peaks, region};
}

Footprint Footprint::eroded(int radius, Stencil stencil) const {
    Footprint out{spans.eroded(radius, stencil), {}, region};
    for (Peak const& p : peaks) {
        if (out.spans.contains(Point2I{p.ix, p.iy})) out.peaks.push_back(p);
    }
    return out;
}

std::vector<Footprint> Footprint::split(int connectivity) const {
    std::vector<Footprint> out;
    for (SpanSet& part : spans.split(connectivity)) {
        out.push_back({std::move(part), {}, region});
        for (Peak const& p : peaks) {
            if (out.back().spans.contains(Point2I{p.ix, p.iy})) out.back().peaks.push_back(p);
        }
    }
    return out;
}

void Footprint::sortPeaks(PeakOrder order) { sortPeakList(peaks, order); }

FootprintSet FootprintSet::grown(int radius, bool isotropic, PeakOrder order) const {
    return joined(grownParts(*this, radius, isotropic), region_, order);
}

FootprintSet FootprintSet::merged(FootprintSet const& other, int growSelf, int growOther, bool isotropic,
                                  PeakOrder order) const {
    if (region_ != other.region_) {
        throw DomainError("FootprintSet: cannot merge, regions differ: " + region_.str() + " and " +
                          other.region_.str());
    }
    std::vector<Footprint> parts = grownParts(*this, growSelf, isotropic);
    std::vector<Footprint> more = grownParts(other, growOther, isotropic);
    std::move(more.begin(), more.end(), std::back_inserter(parts));
    return joined(parts, region_, order);
}

Image<int> FootprintSet::idImage() const {
    Image<int> out(region_);
    int id = 0;
    for (Footprint const& f : footprints_) f.spans.setImage(out.view(), ++id, region_.min(), true);
    return out;
}

void FootprintSet::setMask(View2<MaskPixel> mask, MaskPixel bits, Point2I xy0) const {
    for (Footprint const& f : footprints_) f.spans.setMask(mask, bits, xy0);
}

}  // namespace stillsky
