#include "radix_select.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/stats/select.hpp"

namespace stillsky {
namespace ptc_detail {
namespace {

constexpr int BUCKETS = 2048;                // bucket 0 and the last hold what lies outside
constexpr int CHUNK = 1 << 16;               // values of one parallel block
constexpr int SEGMENT = 2048;                // values whose buckets are computed at a time
constexpr long long FEW = 1 << 14;           // below, the general selection is as fast
const std::vector<double> FRACTIONS = {0.25, 0.5, 0.75};

template <typename T>
struct Scale {
    T low, perUnit;
};

// The bucket of each value. Rounding keeps the order: a larger value never gets a smaller bucket.
template <typename T>
STILLSKY_INLINE void findBucketsBody(const T* STILLSKY_RESTRICT x, int n, Scale<T> scale, std::int32_t* STILLSKY_RESTRICT bucket) {
    for (int i = 0; i < n; ++i) {
        T at = (x[i] - scale.low) * scale.perUnit + T(1);
        at = at > T(0) ? at : T(0);
        at = at < T(BUCKETS - 1) ? at : T(BUCKETS - 1);
        bucket[i] = static_cast<std::int32_t>(at);
    }
}

STILLSKY_SIMD void findBuckets(const float* x, int n, Scale<float> scale, std::int32_t* bucket) {
    findBucketsBody(x, n, scale, bucket);
}
STILLSKY_SIMD void findBuckets(const double* x, int n, Scale<double> scale, std::int32_t* bucket) {
    findBucketsBody(x, n, scale, bucket);
}

// hit[i] = 1 where the bucket is one of three.
STILLSKY_SIMD void flagBuckets(const std::int32_t* STILLSKY_RESTRICT bucket, int n, std::int32_t a, std::int32_t b,
                               std::int32_t c, std::uint8_t* STILLSKY_RESTRICT hit) {
    for (int i = 0; i < n; ++i) {
        hit[i] = static_cast<std::uint8_t>((bucket[i] == a) | (bucket[i] == b) | (bucket[i] == c));
    }
}

template <typename T>
Scale<T> scaleOf(const T* x, long long n) {
    constexpr int size = 1024;
    T sample[size];
    for (int i = 0; i < size; ++i) sample[i] = x[n * i / size + (n / size) * ((i * 619) % size) / size];
    std::sort(sample, sample + size);
    const T low = sample[size / 20], high = sample[size - size / 20];
    return {low, high > low ? T(BUCKETS - 2) / (high - low) : T(0)};
}

template <typename T>
std::vector<long long> countBuckets(const T* x, long long n, Scale<T> scale) {
    const int nChunks = static_cast<int>((n + CHUNK - 1) / CHUNK);
    std::vector<std::vector<std::int32_t>> parts(static_cast<std::size_t>(nChunks));
    parallelFor(nChunks, [&](int c) {
        // Two tables: neighbours that are alike need not wait for each other.
        std::vector<std::int32_t> table(2 * BUCKETS, 0);
        std::int32_t bucket[SEGMENT];
        const long long begin = static_cast<long long>(c) * CHUNK, end = std::min(n, begin + CHUNK);
        for (long long i = begin; i < end; i += SEGMENT) {
            const int m = static_cast<int>(std::min<long long>(SEGMENT, end - i));
            findBuckets(x + i, m, scale, bucket);
            std::int32_t* even = table.data();
            std::int32_t* odd = even + BUCKETS;
            int k = 0;
            for (; k + 1 < m; k += 2) {
                ++even[bucket[k]];
                ++odd[bucket[k + 1]];
            }
            if (k < m) ++even[bucket[k]];
        }
        parts[static_cast<std::size_t>(c)] = std::move(table);
    });
    std::vector<long long> total(BUCKETS, 0);
    for (auto const& part : parts) {
        for (int k = 0; k < BUCKETS; ++k) total[static_cast<std::size_t>(k)] += part[static_cast<std::size_t>(k)] + part[static_cast<std::size_t>(BUCKETS + k)];
    }
    return total;
}

// What the buckets of the wanted ranks hold.
template <typename T>
std::vector<T> collect(const T* x, long long n, Scale<T> scale, std::array<int, 3> const& wanted) {
    const int nChunks = static_cast<int>((n + CHUNK - 1) / CHUNK);
    std::vector<std::vector<T>> parts(static_cast<std::size_t>(nChunks));
    parallelFor(nChunks, [&](int c) {
        std::vector<T>& found = parts[static_cast<std::size_t>(c)];
        std::int32_t bucket[SEGMENT];
        alignas(8) std::uint8_t hit[SEGMENT];
        const long long begin = static_cast<long long>(c) * CHUNK, end = std::min(n, begin + CHUNK);
        for (long long i = begin; i < end; i += SEGMENT) {
            const int m = static_cast<int>(std::min<long long>(SEGMENT, end - i));
            findBuckets(x + i, m, scale, bucket);
            std::memset(hit + m / 8 * 8, 0, m < SEGMENT ? 8 : 0);
            flagBuckets(bucket, m, wanted[0], wanted[1], wanted[2], hit);
            for (int k = 0; k < m; k += 8) {
                std::uint64_t eight;
                std::memcpy(&eight, hit + k, 8);
                if (eight == 0) continue;
                for (int j = k; j < std::min(k + 8, m); ++j) {
                    if (hit[j]) found.push_back(x[i + j]);
                }
            }
        }
    });
    std::vector<T> all;
    for (auto const& part : parts) all.insert(all.end(), part.begin(), part.end());
    std::sort(all.begin(), all.end());
    return all;
}

template <typename T>
std::array<double, 3> generalQuartiles(const T* x, long long n) {
    const std::vector<double> q = quantiles(x, static_cast<std::size_t>(n), FRACTIONS);
    return {q[0], q[1], q[2]};
}

}  // namespace

template <typename T>
std::array<double, 3> quartiles(const T* x, long long n) {
    if (n < FEW) return generalQuartiles(x, n);
    const Scale<T> scale = scaleOf(x, n);
    if (!(scale.perUnit > 0) || !std::isfinite(scale.perUnit)) return generalQuartiles(x, n);
    const std::vector<long long> count = countBuckets(x, n, scale);

    // The bucket of each lower rank; the neighbour above may lie in another, then the general selection decides.
    std::array<int, 3> bucket{};
    std::array<long long, 3> below{};
    long long inside = 0, before = 0;
    int at = 0;
    for (std::size_t j = 0; j < 3; ++j) {
        const long long rank = static_cast<long long>(FRACTIONS[j] * static_cast<double>(n - 1));
        while (before + count[static_cast<std::size_t>(at)] <= rank) before += count[static_cast<std::size_t>(at++)];
        bucket[j] = at;
        below[j] = before;
        const long long here = count[static_cast<std::size_t>(at)];
        if (rank + 1 >= before + here || at == 0 || at == BUCKETS - 1) return generalQuartiles(x, n);
        if (j == 0 || at != bucket[j - 1]) inside += here;
    }
    if (inside > n / 8) return generalQuartiles(x, n);

    const std::vector<T> values = collect(x, n, scale, bucket);
    std::array<double, 3> out{};
    std::size_t start = 0;
    for (std::size_t j = 0; j < 3; ++j) {
        if (j > 0 && bucket[j] != bucket[j - 1]) start += static_cast<std::size_t>(count[static_cast<std::size_t>(bucket[j - 1])]);
        const double position = FRACTIONS[j] * static_cast<double>(n - 1);
        const long long rank = static_cast<long long>(position);
        const std::size_t k = start + static_cast<std::size_t>(rank - below[j]);
        const double h = position - static_cast<double>(rank);
        const double a = values[k], b = values[k + 1];
        out[j] = h == 0 ? a : (1 - h) * a + h * b;
    }
    return out;
}

template std::array<double, 3> quartiles<float>(const float*, long long);
template std::array<double, 3> quartiles<double>(const double*, long long);

}  // namespace ptc_detail
}  // namespace stillsky
