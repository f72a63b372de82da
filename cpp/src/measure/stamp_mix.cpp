#include "stillsky/measure/stamp_mix.hpp"

#include <algorithm>
#include <cstddef>

#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int STAMPS_PER_BLOCK = 16;

STILLSKY_SIMD void addWeighted(double const* STILLSKY_RESTRICT in, double weight, int n, double* STILLSKY_RESTRICT out) {
    for (int i = 0; i < n; ++i) out[i] += weight * in[i];
}

STILLSKY_SIMD double sumOf(double const* in, int n) {
    constexpr int LANES = 8;
    double part[LANES] = {};
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int k = 0; k < LANES; ++k) part[k] += in[i + k];
    }
    for (int k = 0; i < n; ++i, ++k) part[k] += in[i];
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

}  // namespace

void mixStamps(double const* stamps, int area, int const* index, double const* weights, int n, int terms, bool normalise,
               double* out) {
    parallelFor((n + STAMPS_PER_BLOCK - 1) / STAMPS_PER_BLOCK, [&](int block) {
        const int end = std::min(n, (block + 1) * STAMPS_PER_BLOCK);
        for (int i = block * STAMPS_PER_BLOCK; i < end; ++i) {
            const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(i) * terms;
            double* to = out + static_cast<std::ptrdiff_t>(i) * area;
            std::fill_n(to, area, 0.0);
            for (int k = 0; k < terms; ++k) {
                if (weights[row + k] == 0.0) continue;
                addWeighted(stamps + static_cast<std::ptrdiff_t>(index[row + k]) * area, weights[row + k], area, to);
            }
            if (!normalise) continue;
            const double sum = sumOf(to, area);
            for (int j = 0; j < area; ++j) to[j] /= sum;
        }
    });
}

}  // namespace stillsky
