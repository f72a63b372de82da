#include "warp_rows.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace stillsky {
namespace warp_detail {

std::shared_ptr<const WeightTable> weightTable(WarpingKernel const& kernel, int nodes) {
    static std::mutex mutex;
    static std::map<std::pair<std::string, int>, std::shared_ptr<const WeightTable>> tables;
    std::lock_guard<std::mutex> lock(mutex);
    auto& entry = tables[{kernel.name(), nodes}];
    if (entry) return entry;
    auto table = std::make_shared<WeightTable>();
    const int taps = kernel.taps();
    table->nodes = nodes;
    table->taps = taps;
    table->stride = (taps + LANES - 1) / LANES * LANES;
    table->normalised.assign(static_cast<std::size_t>(nodes + 2) * table->stride, 0.0f);
    table->raw.resize(static_cast<std::size_t>(nodes + 2) * taps);
    for (int k = 0; k < nodes + 2; ++k) {
        double* raw = &table->raw[static_cast<std::size_t>(k) * taps];
        kernel.weights(std::min(1.0, static_cast<double>(k) / nodes), raw);
        double sum = 0;
        for (int i = 0; i < taps; ++i) sum += raw[i];
        float* out = &table->normalised[static_cast<std::size_t>(k) * table->stride];
        for (int i = 0; i < taps; ++i) out[i] = static_cast<float>(raw[i] / sum);
    }
    entry = table;
    return entry;
}

void Axis::resize(int n) {
    index.resize(n);
    node.resize(n);
    fraction.resize(n);
    rest.resize(n);
    inside.resize(n);
}

STILLSKY_SIMD
void locateLoop(int n, const double* STILLSKY_RESTRICT q, double origin, double low, double high, double snap,
                int* STILLSKY_RESTRICT index, int* STILLSKY_RESTRICT node, double* STILLSKY_RESTRICT fraction,
                float* STILLSKY_RESTRICT rest, std::uint8_t* STILLSKY_RESTRICT inside) {
    for (int i = 0; i < n; ++i) {
        double p = q[i] - origin;
        const double nearestCentre = std::floor(p + 0.5);
        p = std::fabs(p - nearestCentre) < snap ? nearestCentre : p;
        const double whole = std::floor(p);
        const bool in = whole >= low && whole <= high;  // false for NaN
        const double anchor = in ? whole : low;
        const double f = in ? p - whole : 0.0;
        const double scaled = f * TABLE_NODES;
        const int k = static_cast<int>(scaled);
        index[i] = static_cast<int>(anchor);
        fraction[i] = f;
        node[i] = k;
        rest[i] = static_cast<float>(scaled - k);
        inside[i] = in;
    }
}

void locate(int n, const double* q, double origin, int low, int high, double snap, bool nearest, Axis& axis) {
    locateLoop(n, q, origin, low, high, snap, axis.index.data(), axis.node.data(), axis.fraction.data(),
               axis.rest.data(), axis.inside.data());
    if (!nearest) return;
    for (int i = 0; i < n; ++i) {
        axis.fraction[i] = axis.fraction[i] < 0.5 ? 0.0 : 1.0;
        axis.node[i] = axis.fraction[i] == 0.0 ? 0 : TABLE_NODES;
        axis.rest[i] = 0.0f;
    }
}

STILLSKY_SIMD
void classifyLoop(int n, const std::uint8_t* STILLSKY_RESTRICT insideX, const std::uint8_t* STILLSKY_RESTRICT insideY,
                  const int* STILLSKY_RESTRICT x, int lastFast, std::uint8_t* STILLSKY_RESTRICT status) {
    for (int i = 0; i < n; ++i) {
        const std::uint8_t in = insideX[i] & insideY[i];
        const std::uint8_t kind = x[i] <= lastFast ? GOOD : SCALAR;
        status[i] = static_cast<std::uint8_t>(in * kind);
    }
}

void classifyPixels(int n, Axis const& x, Axis const& y, int lastFast, std::uint8_t* status) {
    classifyLoop(n, x.inside.data(), y.inside.data(), x.index.data(), lastFast, status);
}

STILLSKY_SIMD
int countStatus(int n, const std::uint8_t* STILLSKY_RESTRICT status, Status wanted) {
    int count = 0;
    for (int i = 0; i < n; ++i) count += status[i] == wanted;
    return count;
}

STILLSKY_SIMD
void indexRange(int n, const int* STILLSKY_RESTRICT index, int& low, int& high) {
    int lowest = index[0], highest = index[0];
    for (int i = 1; i < n; ++i) {
        lowest = index[i] < lowest ? index[i] : lowest;
        highest = index[i] > highest ? index[i] : highest;
    }
    low = lowest;
    high = highest;
}

STILLSKY_SIMD
int areaRatios(int n, const double* STILLSKY_RESTRICT leftX, const double* STILLSKY_RESTRICT rightX,
                const double* STILLSKY_RESTRICT belowX, const double* STILLSKY_RESTRICT aboveX,
                const double* STILLSKY_RESTRICT leftY, const double* STILLSKY_RESTRICT rightY,
                const double* STILLSKY_RESTRICT belowY, const double* STILLSKY_RESTRICT aboveY, double factor,
                double* STILLSKY_RESTRICT area) {
    for (int i = 0; i < n; ++i) {
        const double det = (rightX[i] - leftX[i]) * (aboveY[i] - belowY[i]) -
                           (rightY[i] - leftY[i]) * (aboveX[i] - belowX[i]);
        area[i] = std::fabs(det) * factor;
    }
    int count = 0;
    for (int i = 0; i < n; ++i) count += !(area[i] - area[i] == 0.0);
    return count;
}

STILLSKY_SIMD
void extendRange(int n, const double* STILLSKY_RESTRICT q, double& low, double& high) {
    double lows[LANES], highs[LANES];
    for (int l = 0; l < LANES; ++l) {
        lows[l] = low;
        highs[l] = high;
    }
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; ++l) {
            lows[l] = q[i + l] < lows[l] ? q[i + l] : lows[l];
            highs[l] = q[i + l] > highs[l] ? q[i + l] : highs[l];
        }
    }
    for (; i < n; ++i) {
        lows[0] = q[i] < lows[0] ? q[i] : lows[0];
        highs[0] = q[i] > highs[0] ? q[i] : highs[0];
    }
    low = *std::min_element(lows, lows + LANES);
    high = *std::max_element(highs, highs + LANES);
}

STILLSKY_SIMD
int flagNonFinite(int n, const float* STILLSKY_RESTRICT image, const float* STILLSKY_RESTRICT variance,
                  std::uint8_t* STILLSKY_RESTRICT status) {
    int count = 0;
    for (int i = 0; i < n; ++i) {
        const float v = variance ? variance[i] : 0.0f;
        const bool bad = status[i] == GOOD && !(image[i] - image[i] + (v - v) == 0.0f);
        status[i] = bad ? static_cast<std::uint8_t>(SCALAR) : status[i];
        count += bad;
    }
    return count;
}

namespace {

typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef float LooseVec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef std::int32_t IntVec __attribute__((vector_size(4 * LANES)));

// Per pixel: TAPS rows of LANES (or more) contiguous source pixels, each times its row weight, summed; then times the
// column weights; then the lanes are added. Lanes beyond the taps are blanked, not multiplied by zero, because
// they may hold NaN.
template <int TAPS, bool HAS_VARIANCE>
STILLSKY_INLINE void resampleLoop(Segment const& s) {
    constexpr int CHUNKS = (TAPS + LANES - 1) / LANES;
    constexpr int STRIDE = CHUNKS * LANES;
    IntVec keep;  // lanes of the last chunk that are taps
    for (int l = 0; l < LANES; ++l) keep[l] = l < TAPS - (CHUNKS - 1) * LANES ? -1 : 0;
    const float* const table = s.table->normalised.data();
    const int* const ix = s.x->index.data();
    const int* const iy = s.y->index.data();
    const int* const kx = s.x->node.data();
    const int* const ky = s.y->node.data();
    const float* const tx = s.x->rest.data();
    const float* const ty = s.y->rest.data();
    for (int i = 0; i < s.n; ++i) {
        if (s.status[i] != GOOD) continue;
        const float* const columnWeights = table + static_cast<std::ptrdiff_t>(kx[i]) * STRIDE;
        const float* const rowTable = table + static_cast<std::ptrdiff_t>(ky[i]) * STRIDE;
        float rowWeights[STRIDE], rowSquares[STRIDE];
        for (int c = 0; c < CHUNKS; ++c) {
            const Vec a = *reinterpret_cast<const LooseVec*>(rowTable + c * LANES);
            const Vec b = *reinterpret_cast<const LooseVec*>(rowTable + STRIDE + c * LANES);
            const Vec w = a + ty[i] * (b - a);
            *reinterpret_cast<LooseVec*>(rowWeights + c * LANES) = w;
            if (HAS_VARIANCE) *reinterpret_cast<LooseVec*>(rowSquares + c * LANES) = w * w;
        }
        const std::ptrdiff_t firstX = ix[i] - s.offsetX, firstY = iy[i] - s.offsetY;
        const float* image = s.image + firstY * s.imageStride + firstX;
        const float* variance = HAS_VARIANCE ? s.variance + firstY * s.varianceStride + firstX : nullptr;
        Vec sumI = {}, sumV = {};
        for (int c = 0; c < CHUNKS; ++c) {
            // Two sums, of even and odd rows, so that additions need not wait for each other.
            Vec evenI = {}, evenV = {}, oddI = {}, oddV = {};
            for (int j = 0; j < TAPS; j += 2) {
                const float* const rowI = image + j * s.imageStride + c * LANES;
                evenI += rowWeights[j] * *reinterpret_cast<const LooseVec*>(rowI);
                oddI += rowWeights[j + 1] * *reinterpret_cast<const LooseVec*>(rowI + s.imageStride);
                if (HAS_VARIANCE) {
                    const float* const rowV = variance + j * s.varianceStride + c * LANES;
                    evenV += rowSquares[j] * *reinterpret_cast<const LooseVec*>(rowV);
                    oddV += rowSquares[j + 1] * *reinterpret_cast<const LooseVec*>(rowV + s.varianceStride);
                }
            }
            Vec accI = evenI + oddI, accV = evenV + oddV;
            const Vec a = *reinterpret_cast<const LooseVec*>(columnWeights + c * LANES);
            const Vec b = *reinterpret_cast<const LooseVec*>(columnWeights + STRIDE + c * LANES);
            const Vec w = a + tx[i] * (b - a);
            accI *= w;
            accV *= w * w;
            if (c == CHUNKS - 1 && TAPS % LANES != 0) {
                accI = reinterpret_cast<Vec>(reinterpret_cast<IntVec>(accI) & keep);
                accV = reinterpret_cast<Vec>(reinterpret_cast<IntVec>(accV) & keep);
            }
            sumI += accI;
            sumV += accV;
        }
        // Lanes 0-3 add up the image, 4-7 the variance.
        Vec h = __builtin_shufflevector(sumI, sumV, 0, 1, 2, 3, 8, 9, 10, 11) +
                __builtin_shufflevector(sumI, sumV, 4, 5, 6, 7, 12, 13, 14, 15);
        h += __builtin_shufflevector(h, h, 2, 3, 0, 1, 6, 7, 4, 5);
        h += __builtin_shufflevector(h, h, 1, 0, 3, 2, 5, 4, 7, 6);
        const float area = static_cast<float>(s.area[i]);
        s.outImage[i] = h[0] * area;
        if (HAS_VARIANCE) s.outVariance[i] = h[4] * (area * area);
    }
}

template <int TAPS>
STILLSKY_INLINE void orAllTaps(MaskSegment const& s, int center) {
    for (int i = 0; i < s.n; ++i) {
        const bool onX = s.fractionX[i] == 0.0, onY = s.fractionY[i] == 0.0;
        const MaskPixel* tap = s.mask + (s.y[i] - s.firstTap) * s.stride + (s.x[i] - s.firstTap);
        MaskPixel all = 0;
        if (!onX && !onY) {
            for (int j = 0; j < TAPS; ++j) {
                for (int k = 0; k < TAPS; ++k) all |= tap[j * s.stride + k];
            }
        } else if (onX && onY) {
            all = tap[center * s.stride + center];
        } else {
            const std::ptrdiff_t start = onX ? center : center * s.stride, step = onX ? s.stride : 1;
            for (int k = 0; k < TAPS; ++k) all |= tap[start + k * step];
        }
        s.out[i] = s.add ? s.out[i] | (all & s.bits) : all & s.bits;
    }
}

// Any kernel and any rule, tap ranges from the kernel itself.
void orAnyTaps(WarpingKernel const& kernel, bool allTaps, MaskSegment const& s) {
    for (int i = 0; i < s.n; ++i) {
        int x0 = 0, x1 = kernel.taps() - 1, y0 = 0, y1 = x1;
        if (!allTaps) {
            kernel.support(s.fractionX[i], x0, x1);
            kernel.support(s.fractionY[i], y0, y1);
        }
        const MaskPixel* tap = s.mask + (s.y[i] - s.firstTap) * s.stride + (s.x[i] - s.firstTap);
        MaskPixel all = 0;
        for (int y = y0; y <= y1; ++y) {
            for (int x = x0; x <= x1; ++x) all |= tap[y * s.stride + x];
        }
        s.out[i] = s.add ? s.out[i] | (all & s.bits) : all & s.bits;
    }
}

}  // namespace

// Two taps without a branch: the second counts where the fraction is not 0.
STILLSKY_SIMD
void orBilinear(int n, const int* STILLSKY_RESTRICT x, const int* STILLSKY_RESTRICT y,
                const double* STILLSKY_RESTRICT fractionX, const double* STILLSKY_RESTRICT fractionY,
                const MaskPixel* STILLSKY_RESTRICT mask, std::ptrdiff_t stride, MaskPixel bits, MaskPixel old,
                MaskPixel* STILLSKY_RESTRICT out) {
    for (int i = 0; i < n; ++i) {
        const MaskPixel* const low = mask + y[i] * stride + x[i];
        const MaskPixel* const high = low + stride;
        const MaskPixel right = fractionX[i] != 0.0 ? ~MaskPixel(0) : 0, up = fractionY[i] != 0.0 ? ~MaskPixel(0) : 0;
        out[i] = (out[i] & old) | (bits & (low[0] | (low[1] & right) | ((high[0] | (high[1] & right)) & up)));
    }
}

STILLSKY_SIMD void orTaps6(MaskSegment const& s) { orAllTaps<6>(s, 2); }
STILLSKY_SIMD void orTaps8(MaskSegment const& s) { orAllTaps<8>(s, 3); }
STILLSKY_SIMD void orTaps10(MaskSegment const& s) { orAllTaps<10>(s, 4); }

void orTaps(WarpingKernel const& kernel, bool allTaps, MaskSegment const& s) {
    const bool lanczos = kernel.kind() == WarpingKernel::Kind::Lanczos;
    if (!allTaps && kernel.kind() == WarpingKernel::Kind::Bilinear) {
        orBilinear(s.n, s.x, s.y, s.fractionX, s.fractionY, s.mask, s.stride, s.bits, s.add ? ~MaskPixel(0) : 0, s.out);
    } else if (!allTaps && lanczos && kernel.taps() == 6) {
        orTaps6(s);
    } else if (!allTaps && lanczos && kernel.taps() == 8) {
        orTaps8(s);
    } else if (!allTaps && lanczos && kernel.taps() == 10) {
        orTaps10(s);
    } else {
        orAnyTaps(kernel, allTaps, s);
    }
}

// One compiled version per number of taps, for each instruction set.
#define STILLSKY_RESAMPLE(TAPS)                                                                        \
    STILLSKY_SIMD void resampleMasked##TAPS(Segment const& s) { resampleLoop<TAPS, true>(s); }         \
    STILLSKY_SIMD void resampleImage##TAPS(Segment const& s) { resampleLoop<TAPS, false>(s); }
STILLSKY_RESAMPLE(2)
STILLSKY_RESAMPLE(4)
STILLSKY_RESAMPLE(6)
STILLSKY_RESAMPLE(8)
STILLSKY_RESAMPLE(10)
STILLSKY_RESAMPLE(12)
STILLSKY_RESAMPLE(14)
STILLSKY_RESAMPLE(16)
STILLSKY_RESAMPLE(18)
#undef STILLSKY_RESAMPLE

void resample(Segment const& s) {
    switch (s.taps) {
#define STILLSKY_CASE(TAPS) \
    case TAPS: return s.variance ? resampleMasked##TAPS(s) : resampleImage##TAPS(s);
        STILLSKY_CASE(2)
        STILLSKY_CASE(4)
        STILLSKY_CASE(6)
        STILLSKY_CASE(8)
        STILLSKY_CASE(10)
        STILLSKY_CASE(12)
        STILLSKY_CASE(14)
        STILLSKY_CASE(16)
        STILLSKY_CASE(18)
#undef STILLSKY_CASE
        default: break;
    }
}

}  // namespace warp_detail
}  // namespace stillsky
