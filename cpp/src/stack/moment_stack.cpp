// Stacks of properties made from moments: one pass over the samples.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>

#include "moment_rows.hpp"
#include "row_file.hpp"
#include "row_source.hpp"
#include "stack_detail.hpp"
#include "stillsky/core/aligned.hpp"

namespace stillsky {
namespace stack_detail {
namespace {

// Pixels whose sums are held at a time. Images are read one after the other in runs of as many: processors fetch ahead what
// is read in long runs only, from 8 kB on, and what is short of that comes at less than half the speed of the memory. The
// sums, 44 bytes a pixel, stay in a cache of the second level.
constexpr int TILE = 8192, TILE_ROWS = 16;
constexpr int FILE_TILE = 2 * TILE;  // of images in files: calls of the system, too, are dear when they bring little
// Pixels of a line of the cache. Planes of images often begin at equal places of pages, and then all their lines compete for the
// same eight places of the first cache: a load that straddles two lines finds neither a second time. So pieces begin where
// lines of the first image do, and so do the sums of their pixels.
constexpr int LINE = 16;
constexpr int PLANE = 4 * (FILE_TILE + LINE);  // bytes of what is read of a plane at a time
constexpr int SUMS = FILE_TILE + TILE_ROWS * 2 * LINE;  // rows that lie apart begin with lines

// Sums of one tile: rows, or a part of one.
template <typename T>
class Tile {
public:
    Tile(std::vector<StackInput<T>> const& inputs, Plan const& plan, StackOutput<T> const& out)
            : inputs_(inputs), plan_(plan), out_(out), bits_(out.mask.data ? propagatedBits(plan.control) : std::vector<int>()) {
        const bool isMean = plan.property == MEAN, wantsError = out.variance.data != nullptr;
        const bool scatter = (isMean && wantsError && errorSourceOf(plan) == ErrorSource::SCATTER) || plan.property == VARIANCE ||
                             plan.property == STDEV || plan.property == MEANSQUARE;
        const bool sumV = isMean && wantsError && errorSourceOf(plan) != ErrorSource::SCATTER;
        const bool extremes = plan.property == MIN || plan.property == MAX;
        row_.x = sums();
        row_.first = scatter ? sums() : nullptr;
        row_.w2 = scatter ? sums() : nullptr;
        row_.x2 = scatter ? sums() : nullptr;
        row_.v = sumV ? sums() : nullptr;
        row_.power = powerOfWeight(plan);
        row_.min = extremes ? sums() : nullptr;
        row_.max = extremes ? sums() : nullptr;
        row_.n = counts();
        row_.orUsable = counts();
        const bool full = out.nImage.data || !plan.options.maskMap.empty() || !bits_.empty();
        row_.nImage = full ? counts() : nullptr;
        row_.orAll = full ? counts() : nullptr;
        for (std::size_t b = 0; b < bits_.size(); ++b) {
            rejected_.push_back(sums());
            propagated_ |= MaskPixel(1) << bits_[b];
        }
        for (std::size_t i = 0; i < inputs.size(); ++i) rules_.push_back(ruleOf<T>(plan, i));
        isPlain_ = isPlain(rules_[0], row_);
        isWeighted_ = !isPlain_ || plan.weighting != Weighting::NONE;
        if (isWeighted_) row_.w = sums();
        isContiguous_ = std::all_of(inputs.begin(), inputs.end(), [&](StackInput<T> const& in) {
            if (in.file.descriptor >= 0) return in.file.rowBytes == static_cast<std::int64_t>(sizeof(T)) * in.image.width;
            return hasNoGaps(in.image) && hasNoGaps(in.mask) && (!plan.needsVariance || hasNoGaps(in.variance));
        });
        isSwapped_ = isPlain_ && std::all_of(inputs.begin(), inputs.end(), [&](StackInput<T> const& in) {
            const bool hasMask = in.mask.data || in.file.descriptor >= 0;
            return in.swapImage && (in.swapMask || !hasMask) && (in.swapVariance || !plan.needsVariance);
        });
        if (std::any_of(inputs.begin(), inputs.end(), [](StackInput<T> const& in) { return in.file.descriptor >= 0; })) {
            size_ = FILE_TILE;
            read_.resize(static_cast<std::size_t>(GROUP) * 3 * PLANE);
        }
    }

    // Pixels x .. x+width-1 of rows y .. y+height-1: at most size() pixels and TILE_ROWS rows.
    void run(int x, int y, int width, int height) {
        const bool whole = isContiguous_ && width == inputs_[0].image.width;
        const int pitch = whole ? width : (width + 2 * LINE - 1) / LINE * LINE;
        runs_.clear();
        for (int r = 0; r < (whole ? 1 : height); ++r) runs_.push_back({x, y + r, whole ? width * height : width, r * pitch + lead(x, y + r)});
        clear(pitch * height + LINE);
        addAll(runs_, row_, false);
        for (int r = 0; r < height; ++r) {
            const int begin = whole ? runs_[0].sums + r * width : runs_[static_cast<std::size_t>(r)].sums;
            for (int at = 0; at < width; at += SEGMENT) finish(begin + at, x + at, y + r, std::min(SEGMENT, width - at));
        }
    }

    int size() const { return size_; }

private:
    template <typename V>
    static bool hasNoGaps(View2<const V> const& plane) {
        return plane.data == nullptr || plane.stride == plane.width;
    }

    double* sums() {
        doubles_.emplace_back(static_cast<std::size_t>(SUMS + 9 * LINE), 0.0);
        // the system begins such arrays at equal places of pages: each begins a few lines further on
        return doubles_.back().data() + LINE * (doubles_.size() % 9);
    }
    std::int32_t* counts() {
        ints_.emplace_back(static_cast<std::size_t>(SUMS + 12 * LINE), 0);
        return ints_.back().data() + LINE * (3 * (ints_.size() % 4) + 1);
    }

    void clear(int count) {
        for (double* sum : {row_.w, row_.x, row_.first, row_.w2, row_.x2, row_.v}) {
            if (sum) std::fill_n(sum, count, 0.0);
        }
        for (double* sum : rejected_) std::fill_n(sum, count, 0.0);
        for (std::int32_t* number : {row_.n, row_.nImage, row_.orUsable, row_.orAll}) {
            if (number) std::fill_n(number, count, 0);
        }
        if (row_.min) {
            std::fill_n(row_.min, count, std::numeric_limits<double>::infinity());
            std::fill_n(row_.max, count, -std::numeric_limits<double>::infinity());
        }
    }

    // Pixels from x of row y on, also into the next rows where there is nothing between; the place of the first one's sums.
    struct Run {
        int x, y, count, sums;
    };

    // How far into a line of the cache pixel x of row y of the first image is.
    int lead(int x, int y) const {
        if (!isPlain_ || inputs_[0].file.descriptor >= 0) return 0;
        return static_cast<int>(reinterpret_cast<std::uintptr_t>(inputs_[0].image.row(y) + x) / sizeof(T) % LINE);
    }

    void addAll(std::vector<Run> const& runs, MomentRow const& row, bool keepFirst) {
        for (std::size_t i = 0; i < inputs_.size(); i += GROUP) {
            const int n = static_cast<int>(std::min<std::size_t>(GROUP, inputs_.size() - i));
            for (Run const& run : runs) {
                for (int k = 0; k < n; ++k) group_[k] = pixelsOf(i + static_cast<std::size_t>(k), k, run);
                int count = run.sums % LINE == 0 ? SEGMENT : LINE - run.sums % LINE;
                for (int at = 0; at < run.count; at += count, count = SEGMENT) {
                    count = std::min(count, run.count - at);
                    addPiece(i, n, run.x + at, run.y, count, run.sums + at, row, keepFirst);
                }
            }
        }
    }

    // An input whose pixel (x0, y0) is the first of its planes.
    struct Pixels {
        StackInput<T> in;
        int x0 = 0, y0 = 0;
    };

    // Pixels of a run: where they are, or, of a file, read as the k-th of a group.
    Pixels pixelsOf(std::size_t i, int k, Run const& run) {
        Pixels pixels{inputs_[i], 0, 0};
        if (inputs_[i].file.descriptor < 0) return pixels;
        char* planes[3];
        for (int p = 0; p < 3; ++p) planes[p] = read_.data() + static_cast<std::ptrdiff_t>(3 * k + p) * PLANE;
        readRun(inputs_[i].file, run.x, run.y, run.count, planes[0], planes[1], planes[2], i);
        pixels.in.image = View2<const T>(reinterpret_cast<const T*>(planes[0]), run.count, 1);
        pixels.in.mask = View2<const MaskPixel>(reinterpret_cast<const MaskPixel*>(planes[1]), run.count, 1);
        pixels.in.variance = View2<const VariancePixel>(reinterpret_cast<const VariancePixel*>(planes[2]), run.count, 1);
        pixels.x0 = run.x;
        pixels.y0 = run.y;
        return pixels;
    }

    // Pixels whose sums begin at the i-th.
    void addPiece(std::size_t first, int n, int x, int y, int count, int i, MomentRow const& row, bool keepFirst) {
        MomentInput<T> group[GROUP];
        for (int k = 0; k < n; ++k) {
            RowSource<T, SEGMENT>& source = sources_[k];
            Pixels const& pixels = group_[k];
            source.load(pixels.in, x - pixels.x0, y - pixels.y0, count, count, plan_.needsVariance, isSwapped_);
            group[k] = {source.image, source.mask, source.variance, rules_[first + static_cast<std::size_t>(k)]};
        }
        const bool some = addMoments(group, n, count, keepFirst, isSwapped_, keepFirst ? 0 : propagated_, scratch_, row.from(i));
        for (int k = 0; k < n && some; ++k) addRejected(group[k], k, count, i);
    }

    void addRejected(MomentInput<T> const& in, int k, int count, std::ptrdiff_t at) {
        const double* w = in.rule.inverseVariance ? scratch_.weight[k] : nullptr;
        for (std::size_t b = 0; b < bits_.size(); ++b) {
            const MaskPixel bit = MaskPixel(1) << bits_[b];
            addRejectedWeight(in.mask, scratch_.usable[k], isSwapped_ ? swapped(bit) : bit, count, w, in.rule.weight, rejected_[b] + at);
        }
    }

    // Values of pixels of one row, whose sums begin at the i-th.
    void finish(int i, int x, int y, int count) {
        const MomentRow row = row_.from(i);
        if (row.first) sumAgainAboutTheMean(row, x, y, count);
        for (int p = 0; p < count; ++p) n_[p] = row.n[p];
        const double* w = isWeighted_ ? row.w : n_;
        ValueSums sums{n_, w, row.w2, row.x, row.x2, row.v, row.first ? row.first : zeros_, row.min, row.max};
        evaluate(plan_, count, sums, row.n, value_, squared_);
        PixelCounts counts{row.n, row.nImage, row.orUsable, row.orAll ? row.orAll : row.orUsable, n_, bits_.empty() ? nullptr : w, {}};
        counts.rejected.assign(plan_.control.maskPropagationThresholds().size(), nullptr);
        for (std::size_t b = 0; b < bits_.size(); ++b) counts.rejected[static_cast<std::size_t>(bits_[b])] = rejected_[b] + i;
        writePixels(plan_, static_cast<int>(inputs_.size()), y, x, count, value_, squared_, counts, out_);
    }

    // Where the first sample lies far from the mean the sums have lost digits; those pixels take a second pass's.
    void sumAgainAboutTheMean(MomentRow const& row, int x, int y, int count) {
        bool far = false;
        for (int i = 0; i < count; ++i) {
            const bool isFar = stats_detail::isFarFromCentre(row.w[i], row.x[i], row.x2[i]);
            n_[i] = isFar;
            centre_[i] = isFar ? row.first[i] + row.x[i] / row.w[i] : row.first[i];
            far = far || isFar;
        }
        if (!far) return;
        std::int32_t ints[SEGMENT] = {};
        double sums[4][SEGMENT] = {};
        MomentRow again;
        again.n = ints;
        again.w = sums[0];
        again.w2 = sums[1];
        again.x = sums[2];
        again.x2 = sums[3];
        again.first = centre_;
        addAll({{x, y, count, 0}}, again, true);
        for (int i = 0; i < count; ++i) {
            if (n_[i] == 0) continue;
            row.first[i] = centre_[i];
            row.x[i] = again.x[i];
            row.x2[i] = again.x2[i];
        }
    }

    std::vector<StackInput<T>> const& inputs_;
    Plan const& plan_;
    StackOutput<T> const& out_;
    std::vector<int> bits_;
    MaskPixel propagated_ = 0;
    int size_ = TILE;
    bool isPlain_ = false, isWeighted_ = true, isSwapped_ = false, isContiguous_;
    std::vector<SampleRule<T>> rules_;
    std::vector<AlignedVector<double>> doubles_;
    std::vector<AlignedVector<std::int32_t>> ints_;
    MomentRow row_;
    std::vector<double*> rejected_;
    std::vector<Run> runs_;
    AlignedVector<char> read_;
    Pixels group_[GROUP];
    RowSource<T, SEGMENT> sources_[GROUP];
    MomentScratch<T> scratch_;
    double value_[SEGMENT], squared_[SEGMENT], n_[SEGMENT], centre_[SEGMENT], zeros_[SEGMENT] = {};
};

}  // namespace

template <typename T>
void stackRowsOfMoments(std::vector<StackInput<T>> const& inputs, Plan const& plan, int y0, int y1, StackOutput<T> const& out) {
    const auto tile = std::make_unique<Tile<T>>(inputs, plan, out);
    const int width = inputs[0].image.width, size = tile->size();
    const int rows = std::min(TILE_ROWS, std::max(1, size / std::max(width, 1)));
    for (int y = y0; y < y1; y += rows) {
        for (int x = 0; x < width; x += size) tile->run(x, y, std::min(size, width - x), std::min(rows, y1 - y));
    }
}

#define STILLSKY_INSTANTIATE(T)                                                                                   \
    template void stackRowsOfMoments<T>(std::vector<StackInput<T>> const&, Plan const&, int, int, StackOutput<T> const&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stack_detail
}  // namespace stillsky
