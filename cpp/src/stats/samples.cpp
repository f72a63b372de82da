#include "samples.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace stats_detail {
namespace {

constexpr std::size_t CHUNK = 1 << 16;   // samples per partial sum

// Copy the flagged of n values to out; the number of flagged ones is known.
template <typename T, typename U>
void compact(const T* x, const std::uint8_t* flag, int n, int nFlagged, U* out) {
    if (nFlagged == n) {
        std::copy(x, x + n, out);
        return;
    }
    U discard;
    for (int i = 0, k = 0; i < n; ++i) {
        *(flag[i] ? out + k : &discard) = static_cast<U>(x[i]);
        k += flag[i];
    }
}

template <typename T>
class Gatherer {
public:
    Gatherer(StatisticsSamples<T> const& s, StatisticsControl const& control, GatherOptions const& options)
            : s_(s), control_(control), options_(options) {}

    // Gathers a rectangle to offset `at` of the buffers.
    void run(Rectangle const& r, std::size_t at, Gathered<T>& g, std::size_t& n, MaskPixel& orMask,
             std::vector<double>& rejected) const {
        std::uint8_t flag[SEGMENT];
        double weight[SEGMENT];
        n = 0;
        for (int y = r.y; y < r.y + r.height; ++y) {
            for (int x = r.x; x < r.x + r.width; x += SEGMENT) {
                const int m = std::min(SEGMENT, r.x + r.width - x);
                flagUsable(x, y, m, flag, weight);
                const int k = countFlags(flag, m);
                if (!s_.mask.empty()) {
                    orMask |= orFlagged(s_.mask.row(y) + x, flag, m);
                    if (k < m) addRejected(x, y, m, flag, weight, rejected);
                }
                compact(s_.image.row(y) + x, flag, m, k, g.x.get() + at + n);
                if (!g.w.empty()) compact(weight, flag, m, k, g.w.get() + at + n);
                if (!g.v.empty()) compact(s_.variance.row(y) + x, flag, m, k, g.v.get() + at + n);
                if (!g.m.empty()) compact(s_.mask.row(y) + x, flag, m, k, g.m.get() + at + n);
                n += static_cast<std::size_t>(k);
            }
        }
    }

private:
    void flagUsable(int x, int y, int n, std::uint8_t* flag, double* weight) const {
        if constexpr (std::is_floating_point<T>::value) {
            if (control_.nanSafe()) {
                const T limit = control_.compat() ? static_cast<T>(std::numeric_limits<float>::max())
                                                  : std::numeric_limits<T>::max();
                flagFinite(s_.image.row(y) + x, n, limit, flag);
            } else {
                std::memset(flag, 1, static_cast<std::size_t>(n));
            }
        } else {
            std::memset(flag, 1, static_cast<std::size_t>(n));
        }
        if (!s_.mask.empty() && control_.andMask() != 0) flagUnmasked(s_.mask.row(y) + x, n, control_.andMask(), flag);
        if (options_.weighting == Weighting::INVERSE_VARIANCE) inverseVariances(x, y, n, flag, weight);
        if (options_.weighting == Weighting::GIVEN) givenWeights(x, y, n, flag, weight);
    }

    void inverseVariances(int x, int y, int n, std::uint8_t* flag, double* weight) const {
        const VariancePixel* v = s_.variance.row(y) + x;
        for (int i = 0; i < n; ++i) {
            const bool good = v[i] > 0 && (v[i] <= std::numeric_limits<VariancePixel>::max() || control_.compat());
            weight[i] = good ? 1.0 / v[i] : 0.0;
            flag[i] = static_cast<std::uint8_t>(flag[i] & good);
        }
    }

    void givenWeights(int x, int y, int n, std::uint8_t* flag, double* weight) const {
        if (!s_.weights.empty()) std::copy_n(s_.weights.row(y) + x, n, weight);
        else std::copy_n(s_.weights64.row(y) + x, n, weight);
        if (control_.compat()) return;
        for (int i = 0; i < n; ++i) {
            if (weight[i] < 0) throw DomainError("weights: wanted numbers >= 0, got " + std::to_string(weight[i]));
            const bool good = weight[i] <= std::numeric_limits<double>::max();
            flag[i] = static_cast<std::uint8_t>(flag[i] & good);
            if (!good) weight[i] = 0;
        }
    }

    void addRejected(int x, int y, int n, const std::uint8_t* flag, const double* weight, std::vector<double>& rejected) const {
        if (rejected.empty()) return;
        const MaskPixel* m = s_.mask.row(y) + x;
        for (int i = 0; i < n; ++i) {
            if (flag[i] || m[i] == 0) continue;
            for (std::size_t b = 0; b < rejected.size(); ++b) {
                if (m[i] & (MaskPixel(1) << b)) rejected[b] += options_.weighting == Weighting::NONE ? 1.0 : weight[i];
            }
        }
    }

    StatisticsSamples<T> const& s_;
    StatisticsControl const& control_;
    GatherOptions const& options_;
};

template <typename U>
void checkSize(View2<U> const& view, int width, int height, const char* name) {
    if (view.data != nullptr && (view.width != width || view.height != height)) {
        throw ShapeError(std::string(name) + ": wanted " + std::to_string(width) + "x" + std::to_string(height) +
                         " pixels like the image, got " + std::to_string(view.width) + "x" + std::to_string(view.height));
    }
}

}  // namespace

template <typename T>
void checkPlanes(StatisticsSamples<T> const& s) {
    if (s.image.empty()) throw DomainError("image: wanted at least one pixel, got none");
    checkSize(s.mask, s.image.width, s.image.height, "mask");
    checkSize(s.variance, s.image.width, s.image.height, "variance");
    checkSize(s.weights, s.image.width, s.image.height, "weights");
    checkSize(s.weights64, s.image.width, s.image.height, "weights");
}

namespace {

// Close the gaps between blocks: block i was written at the offset of its first pixel.
template <typename U>
void closeGaps(Buffer<U>& buffer, std::vector<std::size_t> const& from, std::vector<std::size_t> const& n) {
    if (buffer.empty()) return;
    std::size_t to = 0;
    for (std::size_t i = 0; i < n.size(); ++i) {
        if (to != from[i]) std::memmove(buffer.get() + to, buffer.get() + from[i], n[i] * sizeof(U));
        to += n[i];
    }
}

// The general case: weights, variances, masks, each optional.
template <typename T>
void sumGeneral(Gathered<T> const& g, std::size_t begin, std::size_t end, double centre, double half, Sums& out) {
    const double *w = g.w.get(), *v = g.v.get();
    const MaskPixel* m = g.m.get();
    for (std::size_t i = begin; i < end; ++i) {
        const double d = static_cast<double>(g.x.get()[i]) - centre;
        if (!(std::fabs(d) <= half)) continue;
        const double wi = w ? w[i] : 1.0;
        out.n += 1;
        out.w += wi;
        out.w2 += wi * wi;
        out.x += wi * d;
        out.x2 += wi * d * d;
        if (v) {
            out.v += v[i];
            out.v1 += v[i] * wi;
            out.v2 += v[i] * wi * wi;
        }
        if (m) out.orMask |= m[i];
    }
}

}  // namespace

template <typename T>
Gathered<T> gather(StatisticsSamples<T> const& s, StatisticsControl const& control, GatherOptions const& options) {
    checkPlanes(s);
    Gathered<T> g;
    g.total = s.image.size();
    const std::size_t total = static_cast<std::size_t>(g.total);
    g.x.allocate(total);
    if (options.weighting != Weighting::NONE) g.w.allocate(total);
    if (options.keepVariance) g.v.allocate(total);
    if (options.keepMask) g.m.allocate(total);

    const std::vector<Rectangle> blocks = cut(s.image.width, s.image.height);
    std::vector<std::size_t> from(blocks.size()), n(blocks.size());
    std::vector<MaskPixel> orMask(blocks.size());
    std::vector<std::vector<double>> rejected(blocks.size(), std::vector<double>(control.maskPropagationThresholds().size()));
    for (std::size_t i = 1; i < blocks.size(); ++i) {
        from[i] = from[i - 1] + static_cast<std::size_t>(blocks[i - 1].width) * static_cast<std::size_t>(blocks[i - 1].height);
    }
    Gatherer<T> gatherer(s, control, options);
    parallelFor(static_cast<int>(blocks.size()), [&](int block) {
        const std::size_t i = static_cast<std::size_t>(block);
        gatherer.run(blocks[i], from[i], g, n[i], orMask[i], rejected[i]);
    });
    closeGaps(g.x, from, n);
    closeGaps(g.w, from, n);
    closeGaps(g.v, from, n);
    closeGaps(g.m, from, n);
    g.rejected.assign(control.maskPropagationThresholds().size(), 0.0);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        g.n += n[i];
        g.orMask |= orMask[i];
        for (std::size_t b = 0; b < g.rejected.size(); ++b) g.rejected[b] += rejected[i][b];
    }
    return g;
}

template <typename T>
Sums sumOver(Gathered<T> const& g, double centre, double half) {
    const int nChunks = static_cast<int>((g.n + CHUNK - 1) / CHUNK);
    std::vector<Sums> parts(static_cast<std::size_t>(nChunks));
    const bool plain = g.w.empty() && g.v.empty() && g.m.empty();
    const bool all = half == std::numeric_limits<double>::infinity();
    parallelFor(nChunks, [&](int c) {
        const std::size_t i = static_cast<std::size_t>(c), begin = i * CHUNK, end = std::min(g.n, begin + CHUNK);
        if (plain) addPlain(g.x.get() + begin, end - begin, centre, half, parts[i]);
        else sumGeneral(g, begin, end, centre, half, parts[i]);
        if (all) addExtremes(g.x.get() + begin, end - begin, parts[i]);
    });
    return total(parts, centre);
}

#define STILLSKY_INSTANTIATE(T)                                                                             \
    template void checkPlanes<T>(StatisticsSamples<T> const&);                                                 \
    template Gathered<T> gather<T>(StatisticsSamples<T> const&, StatisticsControl const&, GatherOptions const&); \
    template Sums sumOver<T>(Gathered<T> const&, double, double);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
STILLSKY_INSTANTIATE(std::int32_t)
STILLSKY_INSTANTIATE(std::uint16_t)
#undef STILLSKY_INSTANTIATE

}  // namespace stats_detail
}  // namespace stillsky
