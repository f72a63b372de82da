#include "stillsky/dcr/descent.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "stillsky/core/aligned.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int BLOCK_ROWS = 16;
constexpr int LANES = 16;

// sum[l] += a[x] * b[x], x mod LANES = l
STILLSKY_INLINE void addProducts(const float* a, const float* b, int n, double* sum) {
    int x = 0;
    for (; x + LANES <= n; x += LANES) {
        for (int l = 0; l < LANES; ++l) sum[l] += static_cast<double>(a[x + l]) * static_cast<double>(b[x + l]);
    }
    for (; x < n; ++x) sum[x % LANES] += static_cast<double>(a[x]) * static_cast<double>(b[x]);
}

STILLSKY_SIMD void dotRow(const float* a, const float* b, int n, double* sum) { addProducts(a, b, n, sum); }

STILLSKY_SIMD void inverseRow(const float* diagonal, float penalty, int n, float* out) {
    const float* STILLSKY_RESTRICT d = diagonal;
    float* STILLSKY_RESTRICT o = out;
    for (int x = 0; x < n; ++x) o[x] = 1.0f / (d[x] + penalty);
}

STILLSKY_SIMD void addRow(const float* a, float factor, int n, float* out) {
    const float* STILLSKY_RESTRICT p = a;
    float* STILLSKY_RESTRICT o = out;
    for (int x = 0; x < n; ++x) o[x] += factor * p[x];
}

// residual -= length * (product + penalty * direction), z = residual * inverse
STILLSKY_SIMD void residualRow(float* residual, const float* product, const float* direction, const float* inverse,
                               float penalty, float length, int n, float* z) {
    float* STILLSKY_RESTRICT r = residual;
    const float* STILLSKY_RESTRICT p = product;
    const float* STILLSKY_RESTRICT d = direction;
    const float* STILLSKY_RESTRICT i = inverse;
    float* STILLSKY_RESTRICT o = z;
    for (int x = 0; x < n; ++x) {
        const float value = r[x] - length * (p[x] + penalty * d[x]);
        r[x] = value;
        o[x] = value * i[x];
    }
}

STILLSKY_SIMD void directionRow(float* direction, const float* residual, const float* inverse, float factor, int n) {
    float* STILLSKY_RESTRICT d = direction;
    const float* STILLSKY_RESTRICT r = residual;
    const float* STILLSKY_RESTRICT i = inverse;
    if (factor == 0) {
        for (int x = 0; x < n; ++x) d[x] = r[x] * i[x];
    } else {
        for (int x = 0; x < n; ++x) d[x] = factor * d[x] + r[x] * i[x];
    }
}

template <typename A, typename B>
void checkAlike(std::vector<View2<A>> const& planes, std::vector<View2<B>> const& first, const char* name) {
    if (planes.size() != first.size()) {
        throw ShapeError(std::string(name) + ": wanted " + std::to_string(first.size()) + " planes, given " +
                         std::to_string(planes.size()));
    }
    for (std::size_t k = 0; k < planes.size(); ++k) {
        if (planes[k].width == first[0].width && planes[k].height == first[0].height) continue;
        throw ShapeError(std::string(name) + ": wanted " + std::to_string(first[0].width) + "x" +
                         std::to_string(first[0].height) + ", given " + std::to_string(planes[k].width) + "x" +
                         std::to_string(planes[k].height));
    }
}

// Sums over rows of what rowSum(y, sum) adds to its lanes, in the order of blocks.
template <typename F>
double sumOverRows(int height, F const& ofRows) {
    const int nBlocks = (height + BLOCK_ROWS - 1) / BLOCK_ROWS;
    std::vector<double> totals(static_cast<std::size_t>(nBlocks), 0.0);
    parallelFor(nBlocks, [&](int block) {
        double lanes[LANES] = {};
        ofRows(block * BLOCK_ROWS, std::min(height, (block + 1) * BLOCK_ROWS), lanes);
        for (double lane : lanes) totals[static_cast<std::size_t>(block)] += lane;
    });
    double total = 0;
    for (double t : totals) total += t;
    return total;
}

// Rows that a block needs: 1 over the preconditioner's diagonal, one of R times planes.
struct Rows {
    AlignedVector<float> inverse, line, z;
    Rows(int width) : inverse(width, 1.0f), line(width, 0.0f), z(width, 0.0f) {}

    void setInverse(DescentPrior const& prior, int y) {
        if (prior.diagonal.height > 0) {
            inverseRow(prior.diagonal.row(y), prior.penalty, prior.diagonal.width, inverse.data());
        }
    }
};

// Row y of plane k of R times planes.
template <typename V>
void mixRow(std::vector<V> const& planes, std::vector<float> const& mixing, std::size_t k, int y, float* out) {
    const int n = planes[0].width;
    std::fill_n(out, n, 0.0f);
    for (std::size_t l = 0; l < planes.size(); ++l) addRow(planes[l].row(y), mixing[k * planes.size() + l], n, out);
}

void checkPrior(DescentPrior const& prior, std::size_t n, int width, int height) {
    if (!prior.mixing.empty() && prior.mixing.size() != n * n) {
        throw ShapeError("mixing: wanted " + std::to_string(n * n) + " values, given " + std::to_string(prior.mixing.size()));
    }
    if (prior.diagonal.height == 0) return;
    checkAlike(ConstDcrPlanes{prior.diagonal}, ConstDcrPlanes{View2<const float>{nullptr, width, height, width}}, "diagonal");
}

}  // namespace

double planesDot(ConstDcrPlanes const& a, ConstDcrPlanes const& b) {
    if (a.empty()) throw ShapeError("a: wanted at least one plane");
    checkAlike(a, a, "a");
    checkAlike(b, a, "b");
    return sumOverRows(a[0].height, [&](int begin, int end, double* sum) {
        for (std::size_t k = 0; k < a.size(); ++k) {
            for (int y = begin; y < end; ++y) dotRow(a[k].row(y), b[k].row(y), a[0].width, sum);
        }
    });
}

double descentStep(DcrPlanes const& models, DcrPlanes const& residual, ConstDcrPlanes const& moves, ConstDcrPlanes const& product,
                   ConstDcrPlanes const& direction, DescentPrior const& prior, double length) {
    if (models.empty()) throw ShapeError("models: wanted at least one plane");
    checkAlike(models, models, "models");
    checkAlike(residual, models, "residual");
    checkAlike(moves, models, "moves");
    checkAlike(product, models, "product");
    checkAlike(direction, models, "direction");
    const int width = models[0].width, height = models[0].height;
    checkPrior(prior, models.size(), width, height);
    const float step = static_cast<float>(length);
    return sumOverRows(height, [&](int begin, int end, double* sum) {
        Rows rows(width);
        for (int y = begin; y < end; ++y) {
            rows.setInverse(prior, y);
            for (std::size_t k = 0; k < models.size(); ++k) {
                addRow(moves[k].row(y), step, width, models[k].row(y));
                const float* seen = product[k].row(y);
                if (!prior.mixing.empty()) {
                    mixRow(product, prior.mixing, k, y, rows.line.data());
                    seen = rows.line.data();
                }
                residualRow(residual[k].row(y), seen, direction[k].row(y), rows.inverse.data(), prior.penalty, step, width,
                            rows.z.data());
                dotRow(residual[k].row(y), rows.z.data(), width, sum);
            }
        }
    });
}

double descentDirection(DcrPlanes const& direction, ConstDcrPlanes const& residual, DescentPrior const& prior, double factor,
                        DcrPlanes const& mixed) {
    if (direction.empty()) throw ShapeError("direction: wanted at least one plane");
    checkAlike(direction, direction, "direction");
    checkAlike(residual, direction, "residual");
    if (!mixed.empty()) checkAlike(mixed, direction, "mixed");
    const int width = direction[0].width, height = direction[0].height;
    checkPrior(prior, direction.size(), width, height);
    const float keep = static_cast<float>(factor);
    return sumOverRows(height, [&](int begin, int end, double* sum) {
        Rows rows(width);
        for (int y = begin; y < end; ++y) {
            rows.setInverse(prior, y);
            for (std::size_t k = 0; k < direction.size(); ++k) {
                directionRow(direction[k].row(y), residual[k].row(y), rows.inverse.data(), keep, width);
                dotRow(direction[k].row(y), direction[k].row(y), width, sum);
            }
            if (mixed.empty()) continue;
            for (std::size_t k = 0; k < direction.size(); ++k) {
                if (prior.mixing.empty()) std::copy_n(direction[k].row(y), width, mixed[k].row(y));
                else mixRow(direction, prior.mixing, k, y, mixed[k].row(y));
            }
        }
    });
}

}  // namespace stillsky
