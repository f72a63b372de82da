#include "row_kernels.hpp"

#include <array>
#include <bitset>
#include <cmath>
#include <cstring>

#include "stillsky/core/config.hpp"

namespace stillsky {
namespace dcr {
namespace {

#if defined(__GNUC__)
typedef float Row16 __attribute__((vector_size(64), aligned(4), may_alias));

// V vectors of sixteen pixels in registers while all taps are added.
template <int V>
STILLSKY_INLINE void tapsChunk(const float* const* source, const float* weight, int nTaps, int x, float* out, bool add) {
    Row16 sum[V];
    for (int v = 0; v < V; ++v) {
        if (add) sum[v] = *reinterpret_cast<Row16 const*>(out + x + v * ROW_LANES);
        else sum[v] = Row16{};
    }
    for (int t = 0; t < nTaps; ++t) {
        const float* p = source[t] + x;
        const float w = weight[t];
        for (int v = 0; v < V; ++v) sum[v] += w * *reinterpret_cast<Row16 const*>(p + v * ROW_LANES);
    }
    for (int v = 0; v < V; ++v) *reinterpret_cast<Row16*>(out + x + v * ROW_LANES) = sum[v];
}

template <int K, int V>
STILLSKY_INLINE void togetherChunk(const float* const* source, const float* weight, int nTaps, int x, float* const* out) {
    Row16 sum[K][V] = {};
    for (int t = 0; t < nTaps; ++t) {
        const float* p = source[t] + x;
        Row16 pixels[V];
        for (int v = 0; v < V; ++v) pixels[v] = *reinterpret_cast<Row16 const*>(p + v * ROW_LANES);
        asm volatile("" ::: "memory");  // keeps them in registers; otherwise each product reads them again
        for (int k = 0; k < K; ++k) {
            const float w = weight[t * K + k];
            for (int v = 0; v < V; ++v) sum[k][v] += w * pixels[v];
        }
    }
    for (int k = 0; k < K; ++k) {
        for (int v = 0; v < V; ++v) *reinterpret_cast<Row16*>(out[k] + x + v * ROW_LANES) = sum[k][v];
    }
}
#else
template <int K, int V>
STILLSKY_INLINE void togetherChunk(const float* const* source, const float* weight, int nTaps, int x, float* const* out) {
    for (int k = 0; k < K; ++k) {
        for (int i = x; i < x + V * ROW_LANES; ++i) {
            float sum = 0.0f;
            for (int t = 0; t < nTaps; ++t) sum += weight[t * K + k] * source[t][i];
            out[k][i] = sum;
        }
    }
}

template <int V>
STILLSKY_INLINE void tapsChunk(const float* const* source, const float* weight, int nTaps, int x, float* out, bool add) {
    for (int i = x; i < x + V * ROW_LANES; ++i) {
        float sum = add ? out[i] : 0.0f;
        for (int t = 0; t < nTaps; ++t) sum += weight[t] * source[t][i];
        out[i] = sum;
    }
}
#endif

std::array<std::array<std::uint32_t, 8>, 256> makeBitWords() {
    std::array<std::array<std::uint32_t, 8>, 256> words{};
    for (unsigned byte = 0; byte < 256; ++byte) {
        for (unsigned i = 0; i < 8; ++i) words[byte][i] = ((byte >> i) & 1U) != 0 ? 0xffffffffU : 0U;
    }
    return words;
}
const std::array<std::array<std::uint32_t, 8>, 256> BIT_WORDS = makeBitWords();

STILLSKY_INLINE float masked(float value, std::uint32_t keep) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= keep;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

}  // namespace

STILLSKY_SIMD void rowTaps(const float* const* source, const float* weight, int nTaps, int n, float* out, bool add) {
    const int end = roundUp(n);
    int x = 0;
    for (; x + 4 * ROW_LANES <= end; x += 4 * ROW_LANES) tapsChunk<4>(source, weight, nTaps, x, out, add);
    for (; x < end; x += ROW_LANES) tapsChunk<1>(source, weight, nTaps, x, out, add);
}

namespace {

template <int K>
STILLSKY_INLINE void togetherRow(const float* const* source, const float* weight, int nTaps, int n, float* const* out) {
    const int end = roundUp(n);
    int x = 0;
    for (; x + 4 * ROW_LANES <= end; x += 4 * ROW_LANES) togetherChunk<K, 4>(source, weight, nTaps, x, out);
    for (; x < end; x += ROW_LANES) togetherChunk<K, 1>(source, weight, nTaps, x, out);
}

}  // namespace

STILLSKY_SIMD void rowTapsTogether(const float* const* source, const float* weight, int nTaps, int n, float* const* out,
                                   int nOut) {
    if (nOut == 3) togetherRow<3>(source, weight, nTaps, n, out);
    else if (nOut == 2) togetherRow<2>(source, weight, nTaps, n, out);
    else togetherRow<1>(source, weight, nTaps, n, out);
}

STILLSKY_SIMD void rowValues(const float* STILLSKY_RESTRICT image, const float* STILLSKY_RESTRICT model,
                             const std::uint32_t* STILLSKY_RESTRICT keep, int n, float* STILLSKY_RESTRICT out) {
    if (image != nullptr && model != nullptr) {
        for (int x = 0; x < n; ++x) out[x] = masked(image[x] - model[x], keep[x]);
    } else if (image != nullptr || model != nullptr) {
        const float* STILLSKY_RESTRICT one = image != nullptr ? image : model;
        for (int x = 0; x < n; ++x) out[x] = masked(one[x], keep[x]);
    } else {
        for (int x = 0; x < n; ++x) out[x] = masked(1.0f, keep[x]);
    }
}

void expandBits(const std::uint8_t* packed, int x0, int n, std::uint32_t* out) {
    if (n <= 0) return;
    const int first = x0 / 8, last = (x0 + n - 1) / 8;
    for (int i = first; i <= last; ++i) std::memcpy(out + 8 * (i - first), BIT_WORDS[packed[i]].data(), 32);
}

namespace {

// Bits of byte i that belong to [x0, end).
unsigned wantedBits(int i, int x0, int end) {
    unsigned wanted = 0xffU;
    if (i == x0 / 8) wanted &= 0xffU << (x0 % 8);
    if (i == (end - 1) / 8 && end % 8 != 0) wanted &= 0xffU >> (8 - end % 8);
    return wanted;
}

}  // namespace

bool allBits(const std::uint8_t* packed, int x0, int n) {
    for (int i = x0 / 8; n > 0 && i <= (x0 + n - 1) / 8; ++i) {
        const unsigned wanted = wantedBits(i, x0, x0 + n);
        if ((packed[i] & wanted) != wanted) return false;
    }
    return true;
}

bool anyBits(const std::uint8_t* packed, int x0, int n) {
    for (int i = x0 / 8; n > 0 && i <= (x0 + n - 1) / 8; ++i) {
        if ((packed[i] & wantedBits(i, x0, x0 + n)) != 0) return true;
    }
    return false;
}

long long commonBits(const std::uint8_t* a, const std::uint8_t* b, int x0, int n, std::uint8_t* out) {
    long long count = 0;
    for (int i = x0 / 8; n > 0 && i <= (x0 + n - 1) / 8; ++i) {
        const unsigned both = a[i] & b[i] & wantedBits(i, x0, x0 + n);
        out[i - x0 / 8] = static_cast<std::uint8_t>(both);
        count += static_cast<long long>(std::bitset<8>(both).count());
    }
    return count;
}

// Sums of a row are taken in float32 by sixteen lanes of at most 32 pixels, and these in double: a tile has 512 columns.
STILLSKY_SIMD void rowMetric(const float* STILLSKY_RESTRICT image, const float* STILLSKY_RESTRICT model,
                             const float* STILLSKY_RESTRICT significance, const std::uint32_t* STILLSKY_RESTRICT use, int n,
                             double* STILLSKY_RESTRICT sums) {
    constexpr int LANES = 16;
    float difference[LANES] = {}, total[LANES] = {}, square[LANES] = {};
    const auto add = [&](int x, int l) {
        const float d = masked(image[x] - model[x], use[x]);
        const float s = masked(image[x] + model[x], use[x]);
        const float weight = masked(significance[x], use[x]);
        difference[l] += std::fabs(d) * weight;
        total[l] += std::fabs(s) * weight;
        square[l] += d * d;
    };
    int x = 0;
    for (; x + LANES <= n; x += LANES) {
        for (int l = 0; l < LANES; ++l) add(x + l, l);
    }
    for (; x < n; ++x) add(x, x % LANES);
    for (int l = 0; l < LANES; ++l) {
        sums[0] += static_cast<double>(difference[l]);
        sums[1] += static_cast<double>(total[l]) / 2;
        sums[2] += static_cast<double>(square[l]);
    }
}

}  // namespace dcr
}  // namespace stillsky
