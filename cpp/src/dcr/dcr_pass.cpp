#include "stillsky/dcr/dcr_pass.hpp"

#include <algorithm>
#include <string>

#include "row_kernels.hpp"
#include "stencil.hpp"
#include "stillsky/core/aligned.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

using dcr::mirrored;
using dcr::REACH;
using dcr::roundUp;
using dcr::Stencil;
using dcr::Tap;

// A range of pixels of the patch, half open.
struct Rect {
    int x0, y0, x1, y1;
    int width() const { return x1 - x0; }
    int height() const { return y1 - y0; }
};

// Models of a part of the patch and its surroundings, with mirrored borders, zeros beyond them, and room to read whole vectors.
class PaddedModels {
public:
    // Replaces what was there: pixels within pad of the part.
    void load(std::vector<View2<const float>> const& models, int pad, Rect part) {
        const int width = models.front().width, height = models.front().height;
        x0_ = part.x0 - pad;
        y0_ = part.y0 - pad;
        const int columns = part.width() + 2 * pad, rows = part.height() + 2 * pad;
        stride_ = roundUp(columns) + 2 * dcr::ROW_LANES;
        size_ = static_cast<std::size_t>(rows) * static_cast<std::size_t>(stride_);
        pixels_.resize(size_ * models.size());
        for (std::size_t k = 0; k < models.size(); ++k) {
            for (int i = 0; i < rows; ++i) {
                const int y = y0_ + i;
                float* out = pixels_.data() + size_ * k + static_cast<std::ptrdiff_t>(i) * stride_;
                if (y < -REACH || y >= height + REACH) std::fill_n(out, stride_, 0.0f);
                else fillRow(models[k].row(mirrored(y, height)), width, out);
            }
        }
    }
    const float* at(std::size_t k, int x, int y) const {
        return pixels_.data() + size_ * k + static_cast<std::ptrdiff_t>(y - y0_) * stride_ + (x - x0_);
    }

private:
    void fillRow(const float* from, int width, float* out) const {
        const int x1 = x0_ + stride_, first = std::max(0, x0_), last = std::min(width, x1);
        for (int x = x0_; x < std::min(first, x1); ++x) out[x - x0_] = x < -REACH ? 0.0f : from[mirrored(x, width)];
        if (first < last) std::copy_n(from + first, last - first, out + (first - x0_));
        for (int x = std::max(width, x0_); x < x1; ++x) out[x - x0_] = x < width + REACH ? from[mirrored(x, width)] : 0.0f;
    }

    int x0_ = 0, y0_ = 0, stride_ = 0;
    std::size_t size_ = 0;
    AlignedVector<float> pixels_;
};

// Pointers and weights of the taps that make one row.
struct RowSources {
    std::vector<const float*> source;
    std::vector<float> weight;
    void clear() {
        source.clear();
        weight.clear();
    }
    void add(const float* p, float w) {
        source.push_back(p);
        weight.push_back(w);
    }
    void run(int n, float* out, bool addTo) const {
        dcr::rowTaps(source.data(), weight.data(), static_cast<int>(source.size()), n, out, addTo);
    }
};

// Row y of the template, columns x0 .. x0 + n - 1, for pixels of which every shift is defined.
void templateRow(PaddedModels const& models, std::vector<std::vector<Tap>> const& taps, int x0, int y, int n,
                 RowSources& sources, float* out) {
    sources.clear();
    for (std::size_t k = 0; k < taps.size(); ++k) {
        for (Tap const& tap : taps[k]) sources.add(models.at(k, x0 + tap.ox, y + tap.oy), tap.weight);
    }
    sources.run(n, out, false);
}

// One pixel of the template by the shifts that are defined there.
float templatePixel(PaddedModels const& models, Stencil const& stencil, int x, int y) {
    double sum = 0;
    for (std::size_t k = 0; k < stencil.singles.size(); ++k) {
        for (dcr::SingleShift const& one : stencil.singles[k]) {
            if (!one.holds(x, y)) continue;
            for (int j = 0; j < one.y.n; ++j) {
                const float* row = models.at(k, x + one.x.first, y + one.y.first + j);
                for (int i = 0; i < one.x.n; ++i) {
                    sum += one.factor * one.y.weight[j] * one.x.weight[i] * static_cast<double>(row[i]);
                }
            }
        }
    }
    return static_cast<float>(sum);
}

// The template over columns [x0, x1) of row y, edges of the patch included.
void templateSpan(PaddedModels const& models, Stencil const& s, int x0, int x1, int y, RowSources& sources, float* out) {
    if (y < s.y0 || y >= s.y1 || s.x0 >= s.x1) {
        for (int x = x0; x < x1; ++x) out[x - x0] = templatePixel(models, s, x, y);
        return;
    }
    templateRow(models, s.taps, x0, y, x1 - x0, sources, out);
    for (int x = x0; x < std::min(s.x0, x1); ++x) out[x - x0] = templatePixel(models, s, x, y);
    for (int x = std::max(s.x1, x0); x < x1; ++x) out[x - x0] = templatePixel(models, s, x, y);
}

// Ask for a row that is read a little later: rows of a tile lie on pages of their own, where the processor does not guess.
inline void prefetchRow(const float* row, int n) {
#if defined(__GNUC__)
    for (int x = 0; x < n; x += 16) __builtin_prefetch(row + x);
#else
    (void)row;
    (void)n;
#endif
}
constexpr int ROWS_AHEAD = 3;

struct EdgePixel {
    int x, y;
    float value;
};

struct BadPixel {
    int visit, x, y;
};

// Costs in units of one tap of one pixel: what a visit costs beside its taps, and a bad pixel in a tile done by kernels.
constexpr double VISIT_COST = 25, BAD_COST = 4000;

// What a thread needs while it works on a tile.
struct Workspace {
    PaddedModels padded;
    std::vector<BadPixel> bad;
    AlignedVector<float> values, sums, model;
    std::vector<std::uint32_t> keep, score;
    std::vector<std::uint8_t> both;
    RowSources sources;
    std::vector<EdgePixel> edges;
};

class Pass {
public:
    Pass(std::vector<View2<const float>> const& models, int order, std::vector<DcrVisit> const& visits, DcrPassValue value,
         View2<const float> significance, std::vector<View2<float>> const& accumulators, int rowBegin, int rowEnd,
         bool normal)
            : models_(models),
              width_(models.front().width),
              height_(models.front().height),
              n_(models.size()),
              visits_(visits),
              value_(value),
              significance_(significance),
              accumulators_(accumulators),
              rowBegin_(rowBegin),
              rowEnd_(rowEnd),
              order_(order) {
        for (DcrVisit const& visit : visits) {
            forward_.emplace_back(visit.forward, order, width_, height_);
            backward_.emplace_back(visit.backward, order, width_, height_);
            reach_ = std::max(reach_, backward_.back().reach);
            forwardReach_ = std::max(forwardReach_, forward_.back().reach);
        }
        pad_ = reach_ + forwardReach_ + REACH;
        // The hundreds of taps of cubic kernels, in float32 and before the adjoint prefilter, would cost a digit.
        if (normal && order == 1 && value == DcrPassValue::MODEL && !accumulators.empty() && !visits.empty()) {
            kernels_ = dcr::normalKernels(visits, forward_, backward_);
            mostBad_ = mostBadPixels();
            groups_ = dcr::tapGroups(kernels_, dcr::MOST_TOGETHER);
            // The outermost pixels come from fewer pixels than the kernels assume.
            safe_ = {1, 1, width_ - 1, height_ - 1};
            for (auto const* list : {&forward_, &backward_}) {
                for (Stencil const& s : *list) {
                    safe_ = {std::max(safe_.x0, s.x0), std::max(safe_.y0, s.y0), std::min(safe_.x1, s.x1),
                             std::min(safe_.y1, s.y1)};
                }
            }
            safe_ = {safe_.x0 + reach_, safe_.y0 + reach_, safe_.x1 - reach_, safe_.y1 - reach_};
        }
    }

    DcrPassResult run() {
        DcrPassResult result;
        result.tilesX = (width_ + DCR_TILE_WIDTH - 1) / DCR_TILE_WIDTH;
        result.tilesY = (rowEnd_ - rowBegin_ + DCR_TILE_HEIGHT - 1) / DCR_TILE_HEIGHT;
        const int nTiles = result.tilesX * result.tilesY;
        result.metric.resize(visits_.size() * static_cast<std::size_t>(nTiles));
        parallelFor(nTiles, [&](int i) {
            const int tx = i % result.tilesX, ty = i / result.tilesX;
            const int x0 = tx * DCR_TILE_WIDTH, y0 = rowBegin_ + ty * DCR_TILE_HEIGHT;
            const Rect tile{x0, y0, std::min(width_, x0 + DCR_TILE_WIDTH), std::min(rowEnd_, y0 + DCR_TILE_HEIGHT)};
            doParts(tile, &result.metric[static_cast<std::size_t>(i)], static_cast<std::size_t>(nTiles));
        });
        return result;
    }

private:
    // Bad pixels of all visits, per pixel of a tile, up to which the kernels are cheaper than the visits one by one.
    double mostBadPixels() const {
        double direct = 0, kernels = 0;
        for (std::size_t i = 0; i < visits_.size(); ++i) {
            direct += VISIT_COST;
            for (auto const& taps : forward_[i].taps) direct += static_cast<double>(taps.size());
            for (auto const& taps : backward_[i].taps) direct += static_cast<double>(taps.size());
        }
        for (auto const& row : kernels_) {
            for (auto const& taps : row) kernels += static_cast<double>(taps.size());
        }
        return std::max(0.0, direct - kernels) / BAD_COST;
    }

    bool accumulating() const { return !accumulators_.empty(); }

    // Coefficients that a tile gathers: its own, and beyond the edges those that stand for its own by reflection.
    Rect gathered(Rect tile) const {
        if (!accumulating() || order_ == 1) return tile;
        Rect out = tile;
        for (int i = 1; i <= REACH; ++i) {
            const auto within = [](int at, int begin, int end) { return at >= begin && at < end; };
            if (within(mirrored(-i, width_), tile.x0, tile.x1)) out.x0 = std::min(out.x0, -i);
            if (within(mirrored(width_ - 1 + i, width_), tile.x0, tile.x1)) out.x1 = std::max(out.x1, width_ + i);
            if (within(mirrored(-i, height_), tile.y0, tile.y1)) out.y0 = std::min(out.y0, -i);
            if (within(mirrored(height_ - 1 + i, height_), tile.y0, tile.y1)) out.y1 = std::max(out.y1, height_ + i);
        }
        return out;
    }

    // A tile at the edge of the patch has a part where kernels serve, and strips about it.
    void doParts(Rect tile, DcrMetricSums* sums, std::size_t sumStride) const {
        const Rect inner{std::max(tile.x0, safe_.x0), std::max(tile.y0, safe_.y0), std::min(tile.x1, safe_.x1),
                         std::min(tile.y1, safe_.y1)};
        if (kernels_.empty() || inner.x0 >= inner.x1 || inner.y0 >= inner.y1) return doTile(tile, sums, sumStride);
        const Rect parts[5] = {inner,
                               {tile.x0, tile.y0, tile.x1, inner.y0},
                               {tile.x0, inner.y1, tile.x1, tile.y1},
                               {tile.x0, inner.y0, inner.x0, inner.y1},
                               {inner.x1, inner.y0, tile.x1, inner.y1}};
        for (Rect const& part : parts) {
            if (part.x0 < part.x1 && part.y0 < part.y1) doTile(part, sums, sumStride);
        }
    }

    void doTile(Rect tile, DcrMetricSums* sums, std::size_t sumStride) const {
        static thread_local Workspace work;
        const Rect to = gathered(tile);
        const int reach = accumulating() ? reach_ : 0;
        const Rect from{std::max(0, to.x0 - reach), std::max(0, to.y0 - reach), std::min(width_, to.x1 + reach),
                        std::min(height_, to.y1 + reach)};
        const std::size_t sumRow = static_cast<std::size_t>(roundUp(to.width()));
        const std::size_t sumPlane = sumRow * static_cast<std::size_t>(to.height());
        if (accumulating()) work.sums.assign(sumPlane * n_, 0.0f);
        work.padded.load(models_, pad_, from);
        if (!kernels_.empty() && isInside(to) && findBad(from, work.bad)) {
            normalTile(to, sumRow, sumPlane, work);
            for (BadPixel const& pixel : work.bad) takeBack(pixel, to, sumRow, sumPlane, work);
        } else {
            for (std::size_t i = 0; i < visits_.size(); ++i) doVisit(i, tile, to, from, sumRow, sumPlane, sums[i * sumStride], work);
        }
        if (accumulating()) store(tile, to, sumRow, sumPlane, work);
    }

    bool isInside(Rect to) const {
        return to.x0 >= safe_.x0 && to.x1 <= safe_.x1 && to.y0 >= safe_.y0 && to.y1 <= safe_.y1;
    }

    // List the bad pixels of all visits; false when there are so many that the visits are better done one by one.
    bool findBad(Rect from, std::vector<BadPixel>& bad) const {
        bad.clear();
        const std::size_t most = static_cast<std::size_t>(mostBad_ * from.width() * from.height());
        for (std::size_t i = 0; i < visits_.size(); ++i) {
            for (int y = from.y0; y < from.y1; ++y) {
                const std::uint8_t* row = visits_[i].good.row(y - visits_[i].imageRow0);
                if (dcr::allBits(row, from.x0, from.width())) continue;
                for (int x = from.x0; x < from.x1; ++x) {
                    if (row[x / 8] == 0xffU) x |= 7;
                    else if (((row[x / 8] >> (x % 8)) & 1U) == 0) bad.push_back({static_cast<int>(i), x, y});
                }
                if (bad.size() > most) return false;
            }
        }
        return true;
    }

    // What the kernels brought back from a bad pixel of one visit.
    void takeBack(BadPixel const& pixel, Rect to, std::size_t sumRow, std::size_t sumPlane, Workspace& work) const {
        float* sums = work.sums.data();
        Stencil const& forward = forward_[static_cast<std::size_t>(pixel.visit)];
        Stencil const& backward = backward_[static_cast<std::size_t>(pixel.visit)];
        float value = 0;
        for (std::size_t k = 0; k < n_; ++k) {
            for (Tap const& tap : forward.taps[k]) value += tap.weight * *work.padded.at(k, pixel.x + tap.ox, pixel.y + tap.oy);
        }
        value *= static_cast<float>(visits_[static_cast<std::size_t>(pixel.visit)].weight);
        for (std::size_t k = 0; k < n_; ++k) {
            float* plane = sums + k * sumPlane;
            for (Tap const& tap : backward.taps[k]) {
                const int x = pixel.x + tap.ox, y = pixel.y + tap.oy;
                if (x < to.x0 || x >= to.x1 || y < to.y0 || y >= to.y1) continue;
                plane[static_cast<std::size_t>(y - to.y0) * sumRow + static_cast<std::size_t>(x - to.x0)] -= tap.weight * value;
            }
        }
    }

    void normalTile(Rect to, std::size_t sumRow, std::size_t sumPlane, Workspace& work) const {
        for (dcr::TapGroup const& group : groups_) {
            float* out[dcr::MOST_TOGETHER];
            for (int y = to.y0; y < to.y1; ++y) {
                work.sources.clear();
                for (dcr::GroupTap const& tap : group.taps) {
                    work.sources.source.push_back(work.padded.at(tap.model, to.x0 + tap.ox, y + tap.oy));
                }
                for (int k = 0; k < group.count; ++k) {
                    out[k] = work.sums.data() + static_cast<std::size_t>(group.first + k) * sumPlane +
                             static_cast<std::size_t>(y - to.y0) * sumRow;
                }
                dcr::rowTapsTogether(work.sources.source.data(), group.weights.data(), static_cast<int>(group.taps.size()),
                                     to.width(), out, group.count);
            }
        }
    }

    void doVisit(std::size_t i, Rect tile, Rect to, Rect from, std::size_t sumRow, std::size_t sumPlane, DcrMetricSums& sums,
                 Workspace& work) const {
        DcrVisit const& visit = visits_[i];
        Stencil const& forward = forward_[i];
        Stencil const& backward = backward_[i];
        // Values with a border of zeros, so that every tap of every gathered pixel finds something.
        const int x0 = to.x0 - reach_, y0 = to.y0 - reach_;
        const std::size_t stride = static_cast<std::size_t>(roundUp(to.width() + 2 * reach_) + 2 * dcr::ROW_LANES);
        work.values.assign(accumulating() ? stride * static_cast<std::size_t>(to.height() + 2 * reach_) : stride, 0.0f);
        work.model.resize(static_cast<std::size_t>(roundUp(from.width()) + dcr::ROW_LANES));
        work.keep.resize(static_cast<std::size_t>(from.width()) + 16);
        work.score.resize(static_cast<std::size_t>(from.width()) + 16);
        work.edges.clear();
        const bool needsModel = value_ == DcrPassValue::RESIDUAL || value_ == DcrPassValue::MODEL || !visit.score.empty();
        const bool needsImage = value_ == DcrPassValue::RESIDUAL || value_ == DcrPassValue::IMAGE || !visit.score.empty();
        for (int y = from.y0; y < from.y1; ++y) {
            const int row = y - visit.imageRow0;
            const bool scored = !visit.score.empty() && y >= tile.y0 && y < tile.y1 &&
                                dcr::anyBits(visit.score.row(row), tile.x0, tile.width());
            if (!accumulating() && !scored) continue;
            if (needsImage && y + ROWS_AHEAD < from.y1) prefetchRow(visit.image.row(row + ROWS_AHEAD) + from.x0, from.width());
            if (needsModel) templateSpan(work.padded, forward, from.x0, from.x1, y, work.sources, work.model.data());
            if (scored) scoreRow(visit, tile, from, y, sums, work);
            if (!accumulating()) continue;
            dcr::expandBits(visit.good.row(row), from.x0, from.width(), work.keep.data());
            const std::uint32_t* keep = work.keep.data() + from.x0 % 8;
            float* out = work.values.data() + static_cast<std::size_t>(y - y0) * stride + (from.x0 - x0);
            const bool image = value_ == DcrPassValue::RESIDUAL || value_ == DcrPassValue::IMAGE;
            const bool model = value_ == DcrPassValue::RESIDUAL || value_ == DcrPassValue::MODEL;
            dcr::rowValues(image ? visit.image.row(row) + from.x0 : nullptr, model ? work.model.data() : nullptr, keep,
                           from.width(), out);
            takeEdges(backward, from, y, out, work.edges);
        }
        if (!accumulating()) return;
        const float weight = static_cast<float>(visit.weight);
        for (std::size_t k = 0; k < n_; ++k) {
            float* plane = work.sums.data() + k * sumPlane;
            for (int y = to.y0; y < to.y1; ++y) {
                work.sources.clear();
                for (Tap const& tap : backward.taps[k]) {
                    work.sources.add(work.values.data() + static_cast<std::size_t>(y - tap.oy - y0) * stride +
                                             (to.x0 - tap.ox - x0), weight * tap.weight);
                }
                work.sources.run(to.width(), plane + static_cast<std::size_t>(y - to.y0) * sumRow, true);
            }
            scatterEdges(backward.singles[k], visit.weight, to, sumRow, work.edges, plane);
        }
    }

    void scoreRow(DcrVisit const& visit, Rect tile, Rect from, int y, DcrMetricSums& sums, Workspace& work) const {
        const int row = y - visit.imageRow0;
        work.both.resize(static_cast<std::size_t>(tile.width()) / 8 + 2);
        sums.count += dcr::commonBits(visit.good.row(row), visit.score.row(row), tile.x0, tile.width(), work.both.data());
        dcr::expandBits(work.both.data(), tile.x0 % 8, tile.width(), work.score.data());
        double row3[3] = {};
        dcr::rowMetric(visit.image.row(row) + tile.x0, work.model.data() + (tile.x0 - from.x0),
                       significance_.row(y) + tile.x0, work.score.data() + tile.x0 % 8, tile.width(), row3);
        sums.difference += row3[0];
        sums.total += row3[1];
        sums.square += row3[2];
    }

    // Pixels for which some shift is not defined are taken out of the row: they go back one by one.
    static void takeEdges(Stencil const& s, Rect from, int y, float* out, std::vector<EdgePixel>& edges) {
        const auto take = [&](int begin, int end) {
            for (int x = begin; x < end; ++x) {
                float& value = out[x - from.x0];
                if (value != 0) edges.push_back({x, y, value});
                value = 0;
            }
        };
        if (y < s.y0 || y >= s.y1 || s.x0 >= s.x1) return take(from.x0, from.x1);
        take(from.x0, std::min(s.x0, from.x1));
        take(std::max(s.x1, from.x0), from.x1);
    }

    static void scatterEdges(std::vector<dcr::SingleShift> const& singles, double weight, Rect to, std::size_t sumRow,
                             std::vector<EdgePixel> const& edges, float* plane) {
        for (EdgePixel const& pixel : edges) {
            for (dcr::SingleShift const& one : singles) {
                if (!one.holds(pixel.x, pixel.y)) continue;
                for (int j = 0; j < one.y.n; ++j) {
                    const int y = pixel.y + one.y.first + j;
                    if (y < to.y0 || y >= to.y1) continue;
                    for (int i = 0; i < one.x.n; ++i) {
                        const int x = pixel.x + one.x.first + i;
                        if (x < to.x0 || x >= to.x1) continue;
                        plane[static_cast<std::size_t>(y - to.y0) * sumRow + static_cast<std::size_t>(x - to.x0)] +=
                                static_cast<float>(weight * one.factor * one.y.weight[j] * one.x.weight[i]) * pixel.value;
                    }
                }
            }
        }
    }

    // Fold what lies beyond the edges of the patch onto the pixels it mirrors, and copy the tile out.
    void store(Rect tile, Rect to, std::size_t sumRow, std::size_t sumPlane, Workspace& work) const {
        for (std::size_t k = 0; k < n_; ++k) {
            float* plane = work.sums.data() + k * sumPlane;
            const auto row = [&](int y) { return plane + static_cast<std::size_t>(y - to.y0) * sumRow; };
            for (int y = to.y0; y < to.y1; ++y) {
                if (y >= 0 && y < height_) continue;
                const int target = mirrored(y, height_);
                if (target < tile.y0 || target >= tile.y1) continue;
                for (int x = 0; x < to.width(); ++x) row(target)[x] += row(y)[x];
            }
            for (int y = tile.y0; y < tile.y1; ++y) {
                float* sums = row(y) - to.x0;
                for (int x = to.x0; x < to.x1; ++x) {
                    if (x >= 0 && x < width_) continue;
                    const int target = mirrored(x, width_);
                    if (target >= tile.x0 && target < tile.x1) sums[target] += sums[x];
                }
                std::copy_n(sums + tile.x0, tile.width(), accumulators_[k].row(y) + tile.x0);
            }
        }
    }

    std::vector<View2<const float>> const& models_;
    int width_, height_;
    std::size_t n_;
    std::vector<DcrVisit> const& visits_;
    DcrPassValue value_;
    View2<const float> significance_;
    std::vector<View2<float>> const& accumulators_;
    int rowBegin_, rowEnd_, order_;
    int reach_ = 0, forwardReach_ = 0, pad_ = 0;
    double mostBad_ = 0;
    Rect safe_{0, 0, 0, 0};  // pixels that the kernels serve
    std::vector<Stencil> forward_, backward_;
    std::vector<std::vector<std::vector<Tap>>> kernels_;
    std::vector<dcr::TapGroup> groups_;
};

template <typename V>
void wantSize(V const& view, int width, int height, const char* name) {
    if (view.width != width || view.height != height) {
        throw ShapeError(std::string(name) + ": wanted " + std::to_string(width) + "x" + std::to_string(height) +
                         ", given " + std::to_string(view.width) + "x" + std::to_string(view.height));
    }
}

void checkVisit(DcrVisit const& visit, std::size_t n, int width, int rowFirst, int rowLast, DcrPassValue value) {
    if (visit.forward.size() != n || visit.backward.size() != n) {
        throw ShapeError("visit: wanted shifts for " + std::to_string(n) + " subfilters, given " +
                         std::to_string(visit.forward.size()) + " forward and " + std::to_string(visit.backward.size()) +
                         " backward");
    }
    const auto rowsOf = [&](auto const& view, int columns, const char* name) {
        if (view.width != columns || visit.imageRow0 > rowFirst || visit.imageRow0 + view.height < rowLast) {
            throw ShapeError(std::string("visit: wanted ") + name + " of " + std::to_string(columns) +
                             " columns with rows " + std::to_string(rowFirst) + " to " + std::to_string(rowLast - 1) +
                             ", given " + std::to_string(view.width) + " columns and rows " +
                             std::to_string(visit.imageRow0) + " to " + std::to_string(visit.imageRow0 + view.height - 1));
        }
    };
    rowsOf(visit.good, (width + 7) / 8, "good");
    if (!visit.score.empty()) rowsOf(visit.score, (width + 7) / 8, "score");
    if (value == DcrPassValue::RESIDUAL || value == DcrPassValue::IMAGE || !visit.score.empty()) {
        rowsOf(visit.image, width, "image");
    }
}

}  // namespace

int dcrHalo(std::vector<DcrVisit> const& visits, int order) {
    int reach = 0;
    for (DcrVisit const& visit : visits) reach = std::max(reach, Stencil(visit.backward, order, 1, 1).reach);
    return reach + REACH;
}

DcrPassResult dcrPass(std::vector<View2<const float>> const& models, int order, std::vector<DcrVisit> const& visits,
                      DcrPassValue value, View2<const float> significance, std::vector<View2<float>> const& accumulators,
                      int rowBegin, int rowEnd, bool normal) {
    dcr::checkOrder(order);
    if (models.empty()) throw DomainError("models: wanted at least one subfilter");
    const int width = models.front().width, height = models.front().height;
    if (width < 1 || height < 1) throw ShapeError("models: wanted images with pixels");
    for (auto const& model : models) wantSize(model, width, height, "models");
    if (!accumulators.empty() && accumulators.size() != models.size()) {
        throw ShapeError("accumulators: wanted " + std::to_string(models.size()) + " images, given " +
                         std::to_string(accumulators.size()));
    }
    for (auto const& sums : accumulators) wantSize(sums, width, height, "accumulators");
    if (rowBegin < 0 || rowEnd > height || rowBegin >= rowEnd || rowBegin % DCR_TILE_HEIGHT != 0 ||
        (rowEnd != height && rowEnd % DCR_TILE_HEIGHT != 0)) {
        throw DomainError("rows: wanted limits within 0 and " + std::to_string(height) + " at multiples of " +
                          std::to_string(DCR_TILE_HEIGHT) + ", given " + std::to_string(rowBegin) + " and " +
                          std::to_string(rowEnd));
    }
    const int halo = accumulators.empty() ? 0 : dcrHalo(visits, order);
    for (DcrVisit const& visit : visits) {
        checkVisit(visit, models.size(), width, std::max(0, rowBegin - halo), std::min(height, rowEnd + halo), value);
        if (!visit.score.empty()) wantSize(significance, width, height, "significance");
    }
    return Pass(models, order, visits, value, significance, accumulators, rowBegin, rowEnd, normal).run();
}

void dcrTemplate(std::vector<View2<const float>> const& models, int order,
                 std::vector<std::vector<PixelShift>> const& shifts, View2<float> out) {
    dcr::checkOrder(order);
    if (models.empty() || shifts.size() != models.size()) {
        throw ShapeError("shifts: wanted a list for each of " + std::to_string(models.size()) + " subfilters, given " +
                         std::to_string(shifts.size()));
    }
    for (auto const& model : models) wantSize(model, out.width, out.height, "models");
    if (out.empty()) return;
    const Stencil stencil(shifts, order, out.width, out.height);
    parallelFor((out.height + DCR_TILE_HEIGHT - 1) / DCR_TILE_HEIGHT, [&](int block) {
        RowSources sources;
        PaddedModels padded;
        AlignedVector<float> row(static_cast<std::size_t>(roundUp(DCR_TILE_WIDTH)));
        const int y0 = block * DCR_TILE_HEIGHT, y1 = std::min(out.height, y0 + DCR_TILE_HEIGHT);
        for (int x0 = 0; x0 < out.width; x0 += DCR_TILE_WIDTH) {
            const int x1 = std::min(out.width, x0 + DCR_TILE_WIDTH);
            padded.load(models, stencil.reach + REACH, {x0, y0, x1, y1});
            for (int y = y0; y < y1; ++y) {
                templateSpan(padded, stencil, x0, x1, y, sources, row.data());
                std::copy_n(row.data(), x1 - x0, out.row(y) + x0);
            }
        }
    });
}

}  // namespace stillsky
