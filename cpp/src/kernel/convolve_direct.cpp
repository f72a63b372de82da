// Row-exact direct convolution with kernels that are polynomials of the position.
//
// Within a row of a tile every tap is a polynomial of t, the x coordinate scaled to [-1, 1] over the tile, so its
// value at sixteen neighbouring pixels costs `order` multiply-adds. Each tap then feeds two sums: k * image and
// k^2 * variance. A few output rows and vectors of pixels are accumulated in registers at once, so that every load
// of an input pixel serves several multiply-adds.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "convolve_detail.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/math/polynomial.hpp"

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors wider than the baseline's registers never cross a real call
#endif

namespace stillsky {
namespace detail {
namespace {

constexpr int TILE_WIDTH = 256;
constexpr int TILE_HEIGHT = 64;
constexpr int PAD = 64;  // room to the right of a tile's rows: a full block of vectors may be computed there

constexpr int MAX_ROWS = 4;  // output rows handed over at once

// A few output rows of a tile, ready for the inner loops.
template <typename P>
struct RowBlock {
    P const* image;     // first input pixel under the support of the first output pixel
    P const* variance;  // null: image only
    std::ptrdiff_t stride;
    int kernelWidth, kernelHeight;
    P const* taps[MAX_ROWS];  // per output row: [tap][coefficient of a power of t]
    P const* t;               // scaled x of every output pixel
    P* outImage[MAX_ROWS];
    P* outVariance[MAX_ROWS];
    int n;  // output pixels in a row
};

// Numbers stored per tap: coefficients of the powers of t, then for order 0 the square of the tap, and for order 1 the
// change from one vector to the next.
constexpr int coefficients(int order) { return order < 2 ? order + 2 : order + 1; }

template <typename P, int BYTES>
struct Vec {
    typedef P type __attribute__((vector_size(BYTES)));
    typedef P loose __attribute__((vector_size(BYTES), aligned(sizeof(P)), may_alias));
    static constexpr int lanes = BYTES / static_cast<int>(sizeof(P));
};

// Registers of a block of ROWS x V vectors.
template <typename P, int BYTES, int V, int ROWS>
struct Sums {
    using Type = typename Vec<P, BYTES>::type;
    Type image[ROWS][V], variance[ROWS][V];
};

// Add the products of input row q with its row of taps, for output rows FIRST .. LAST-1 of the block (output row r
// meets tap row q - r there).
template <typename P, int BYTES, int V, int ORDER, bool VARIANCE, int ROWS, int FIRST, int LAST>
STILLSKY_INLINE void addTapRow(Sums<P, BYTES, V, ROWS>& sums, typename Vec<P, BYTES>::type const (&t)[V],
                               RowBlock<P> const& b, int row0, int x, int q) {
    using Loose = typename Vec<P, BYTES>::loose;
    using Type = typename Vec<P, BYTES>::type;
    constexpr int lanes = Vec<P, BYTES>::lanes, perTap = coefficients(ORDER);
    // Sums of one tap row are added to the total at its end: rounding grows with the kernel's width plus height
    // instead of their product.
    Type image[ROWS][V], variance[ROWS][V];
    for (int r = FIRST; r < LAST; ++r) {
        for (int v = 0; v < V; ++v) image[r][v] = variance[r][v] = Type{};
    }
    P const* in = b.image + (row0 + q) * b.stride + x;
    P const* inV = VARIANCE ? b.variance + (row0 + q) * b.stride + x : nullptr;
    P const* taps[ROWS];
    for (int r = FIRST; r < LAST; ++r) taps[r] = b.taps[row0 + r] + (q - r) * b.kernelWidth * perTap;
    for (int i = 0; i < b.kernelWidth; ++i) {
        Type k[ROWS], step[ROWS];
        for (int v = 0; v < V; ++v) {
            const Type pixel = *reinterpret_cast<Loose const*>(in + i + v * lanes);
            Type var{};
            if (VARIANCE) var = *reinterpret_cast<Loose const*>(inV + i + v * lanes);
            for (int r = FIRST; r < LAST; ++r) {
                P const* c = taps[r] + i * perTap;
                if (ORDER == 1 && v > 0) {
                    // The next vector of a linear tap is one addition away, which often has an execution unit of its own.
                    k[r] += step[r];
                } else {
                    k[r] = Type{} + c[ORDER];
                    for (int a = ORDER - 1; a >= 0; --a) k[r] = k[r] * t[v] + c[a];
                    if (ORDER == 1) step[r] = Type{} + c[2];
                }
                image[r][v] += k[r] * pixel;
                if (VARIANCE) variance[r][v] += (ORDER == 0 ? Type{} + c[1] : k[r] * k[r]) * var;
            }
        }
    }
    for (int r = FIRST; r < LAST; ++r) {
        for (int v = 0; v < V; ++v) {
            sums.image[r][v] += image[r][v];
            if (VARIANCE) sums.variance[r][v] += variance[r][v];
        }
    }
}

// Input rows that only the first Q+1 output rows of a block reach, and those that only the last ones reach.
template <typename P, int BYTES, int V, int ORDER, bool VARIANCE, int ROWS, int Q>
STILLSKY_INLINE void addEdgeRows(Sums<P, BYTES, V, ROWS>& sums, typename Vec<P, BYTES>::type const (&t)[V],
                                 RowBlock<P> const& b, int row0, int x) {
    if constexpr (Q + 1 < ROWS) {
        addTapRow<P, BYTES, V, ORDER, VARIANCE, ROWS, 0, Q + 1>(sums, t, b, row0, x, Q);
        addTapRow<P, BYTES, V, ORDER, VARIANCE, ROWS, Q + 1, ROWS>(sums, t, b, row0, x, b.kernelHeight + Q);
        addEdgeRows<P, BYTES, V, ORDER, VARIANCE, ROWS, Q + 1>(sums, t, b, row0, x);
    }
}

// Output rows row0 .. row0+ROWS-1, V vectors from pixel x. The kernel has at least ROWS - 1 rows.
template <typename P, int BYTES, int V, int ORDER, bool VARIANCE, int ROWS>
STILLSKY_INLINE void convolveBlock(RowBlock<P> const& b, int row0, int x) {
    using Type = typename Vec<P, BYTES>::type;
    using Loose = typename Vec<P, BYTES>::loose;
    constexpr int lanes = Vec<P, BYTES>::lanes;
    Sums<P, BYTES, V, ROWS> sums;
    Type t[V];
    for (int v = 0; v < V; ++v) {
        t[v] = *reinterpret_cast<Loose const*>(b.t + x + v * lanes);
        for (int r = 0; r < ROWS; ++r) sums.image[r][v] = sums.variance[r][v] = Type{};
    }
    addEdgeRows<P, BYTES, V, ORDER, VARIANCE, ROWS, 0>(sums, t, b, row0, x);
    for (int q = ROWS - 1; q < b.kernelHeight; ++q) {
        addTapRow<P, BYTES, V, ORDER, VARIANCE, ROWS, 0, ROWS>(sums, t, b, row0, x, q);
    }
    for (int r = 0; r < ROWS; ++r) {
        for (int v = 0; v < V; ++v) {
            *reinterpret_cast<Loose*>(b.outImage[row0 + r] + x + v * lanes) = sums.image[r][v];
            if (VARIANCE) *reinterpret_cast<Loose*>(b.outVariance[row0 + r] + x + v * lanes) = sums.variance[r][v];
        }
    }
}

template <typename P, int BYTES, int V, int ORDER, bool VARIANCE, int ROWS>
STILLSKY_INLINE void convolveRows(RowBlock<P> const& b, int rows) {
    int row = 0;
    for (; row + ROWS <= rows && b.kernelHeight >= ROWS - 1; row += ROWS) {
        for (int x = 0; x < b.n; x += V * Vec<P, BYTES>::lanes) {
            convolveBlock<P, BYTES, V, ORDER, VARIANCE, ROWS>(b, row, x);
        }
    }
    for (; row < rows; ++row) {
        for (int x = 0; x < b.n; x += V * Vec<P, BYTES>::lanes) {
            convolveBlock<P, BYTES, V, ORDER, VARIANCE, 1>(b, row, x);
        }
    }
}

// Orders above 3 are rare: one generic loop, tap by tap.
template <typename P>
STILLSKY_INLINE void convolveRowsAnyOrder(RowBlock<P> const& b, int rows, int order, unsigned char const* use) {
    for (int r = 0; r < rows; ++r) {
        P* STILLSKY_RESTRICT out = b.outImage[r];
        P* STILLSKY_RESTRICT outV = b.outVariance[r];
        P const* STILLSKY_RESTRICT t = b.t;
        std::fill_n(out, b.n, P(0));
        if (b.variance) std::fill_n(outV, b.n, P(0));
        for (int q = 0; q < b.kernelWidth * b.kernelHeight; ++q) {
            if (!use[q]) continue;
            const std::ptrdiff_t offset = (q / b.kernelWidth + r) * b.stride + q % b.kernelWidth;
            P const* STILLSKY_RESTRICT in = b.image + offset;
            P const* STILLSKY_RESTRICT inV = b.variance ? b.variance + offset : nullptr;
            P const* c = b.taps[r] + q * coefficients(order);
            P k[TILE_WIDTH];
            for (int x = 0; x < b.n; ++x) k[x] = c[order];
            for (int a = order - 1; a >= 0; --a) {
                for (int x = 0; x < b.n; ++x) k[x] = k[x] * t[x] + c[a];
            }
            for (int x = 0; x < b.n; ++x) out[x] += k[x] * in[x];
            if (inV) {
                for (int x = 0; x < b.n; ++x) outV[x] += k[x] * k[x] * inV[x];
            }
        }
    }
}

template <typename P, int BYTES, int V, int ORDER, int ROWS>
STILLSKY_INLINE void convolveOrder(RowBlock<P> const& b, int rows) {
    if (b.variance) convolveRows<P, BYTES, V, ORDER, true, ROWS>(b, rows);
    else convolveRows<P, BYTES, V, ORDER, false, ROWS>(b, rows);
}

template <typename P, int BYTES, int V, int ROWS>
STILLSKY_INLINE void dispatchRows(RowBlock<P> const& b, int rows, int order, unsigned char const* use) {
    if (use) convolveRowsAnyOrder(b, rows, order, use);
    else if (order == 0) convolveOrder<P, BYTES, V, 0, ROWS>(b, rows);
    else if (order == 1) convolveOrder<P, BYTES, V, 1, ROWS>(b, rows);
    else if (order == 2) convolveOrder<P, BYTES, V, 2, ROWS>(b, rows);
    else convolveOrder<P, BYTES, V, 3, ROWS>(b, rows);
}

// One function per instruction set: they differ in vector length and in the number of vectors that fit the registers.
template <typename P>
using RowsFunction = void (*)(RowBlock<P> const&, int rows, int order, unsigned char const* use);

template <typename P>
void rowsBaseline(RowBlock<P> const& b, int rows, int order, unsigned char const* use) {
    dispatchRows<P, 16, 2, 2>(b, rows, order, use);
}

#if STILLSKY_HAS_SIMD
template <typename P>
__attribute__((target("arch=x86-64-v3"))) void rowsV3(RowBlock<P> const& b, int rows, int order,
                                                      unsigned char const* use) {
    dispatchRows<P, 32, 2, 2>(b, rows, order, use);
}

template <typename P>
__attribute__((target("arch=x86-64-v4"))) void rowsV4(RowBlock<P> const& b, int rows, int order,
                                                      unsigned char const* use) {
    dispatchRows<P, 64, 2, 4>(b, rows, order, use);
}
#endif

template <typename P>
struct Method {
    RowsFunction<P> rows;
    int lanes;  // pixels in one vector
};

template <typename P>
Method<P> chooseMethod() {
    constexpr int size = static_cast<int>(sizeof(P));
#if STILLSKY_HAS_SIMD
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return {&rowsV4<P>, 64 / size};
    if (__builtin_cpu_supports("x86-64-v3")) return {&rowsV3<P>, 32 / size};
#endif
    return {&rowsBaseline<P>, 16 / size};
}

// Scratch of one thread, reused from tile to tile.
template <typename P>
struct Scratch {
    std::vector<P> image, variance, taps[MAX_ROWS], out[MAX_ROWS], outVariance[MAX_ROWS], t;
    std::vector<double> sumTaps;
};

// Powers of t of T_a(alpha + beta t), a = 0..order: m[a*(order+1) + n] t^n.
std::vector<double> chebyshevInTile(double alpha, double beta, int order) {
    const int n = order + 1;
    std::vector<double> m(static_cast<std::size_t>(n * n), 0.0);
    m[0] = 1.0;
    if (order > 0) {
        m[static_cast<std::size_t>(n)] = alpha;
        m[static_cast<std::size_t>(n + 1)] = beta;
    }
    for (int a = 2; a <= order; ++a) {
        for (int p = 0; p <= a; ++p) {
            const auto at = [&](int row, int power) {
                return power < 0 ? 0.0 : m[static_cast<std::size_t>(row * n + power)];
            };
            m[static_cast<std::size_t>(a * n + p)] = 2 * (alpha * at(a - 1, p) + beta * at(a - 1, p - 1)) - at(a - 2, p);
        }
    }
    return m;
}

// sum[q] += w * term[q]
STILLSKY_SIMD
void addScaled(double* STILLSKY_RESTRICT sum, double const* STILLSKY_RESTRICT term, double w, int n) {
    for (int q = 0; q < n; ++q) sum[q] += w * term[q];
}

template <typename P>
class Tile {
public:
    Tile(DirectJob<P> const& job, Scratch<P>& scratch, int lanes, int x0, int y0, int width, int height)
            : job_(job), s_(scratch), x0_(x0), y0_(y0), width_(width), height_(height), order_(job.terms->order), lanes_(lanes) {
        Support const& support = *job.support;
        inWidth_ = width + support.width - 1;
        stride_ = (inWidth_ + PAD + 15) / 16 * 16;
        const int rows = height + support.height - 1;
        const int inX = x0 - job.center.x + support.x0, inY = y0 - job.center.y + support.y0;
        bool finite = load(job.in.sub(inX, inY, inWidth_, rows), s_.image);
        if (hasVariance()) finite = load(job.varianceIn.sub(inX, inY, inWidth_, rows), s_.variance) && finite;
        // Taps one by one where zero taps lie over NaN or inf, where most taps are zero, or for high orders.
        tapByTap_ = order_ > 3 || (!support.full && (!finite || 2 * support.taps.size() <
                                                                        static_cast<std::size_t>(support.width) * support.height));
        setCoordinates();
    }

    void run(RowsFunction<P> rowsFunction) {
        Support const& support = *job_.support;
        const std::size_t outSize = static_cast<std::size_t>(width_ + PAD);
        for (int r = 0; r < MAX_ROWS; ++r) {
            s_.out[r].resize(outSize);
            s_.outVariance[r].resize(outSize);
        }
        for (int y = 0; y < height_; y += MAX_ROWS) {
            const int rows = std::min(MAX_ROWS, height_ - y);
            RowBlock<P> b;
            b.image = s_.image.data() + y * stride_;
            b.variance = hasVariance() ? s_.variance.data() + y * stride_ : nullptr;
            b.stride = stride_;
            b.kernelWidth = support.width;
            b.kernelHeight = support.height;
            b.t = s_.t.data();
            b.n = width_;
            for (int r = 0; r < MAX_ROWS; ++r) {
                if (r < rows && (order_ > 0 || y == 0)) computeTaps(y0_ + y + r, s_.taps[r]);
                b.taps[r] = s_.taps[r].data();
                b.outImage[r] = s_.out[r].data();
                b.outVariance[r] = s_.outVariance[r].data();
            }
            rowsFunction(b, rows, order_, tapByTap_ ? use_.data() : nullptr);
            for (int r = 0; r < rows; ++r) store(y0_ + y + r, r);
        }
    }

private:
    bool hasVariance() const { return !job_.varianceIn.empty(); }

    template <typename Q>
    bool load(View2<const Q> in, std::vector<P>& out) {
        out.resize(static_cast<std::size_t>(stride_) * in.height);
        bool finite = true;
        for (int y = 0; y < in.height; ++y) {
            P* row = &out[static_cast<std::size_t>(y) * stride_];
            P probe = 0;  // becomes NaN as soon as one pixel is not finite
            for (int x = 0; x < in.width; ++x) row[x] = static_cast<P>(in.row(y)[x]);
            for (int x = 0; x < in.width; ++x) probe += row[x] * P(0);
            finite = finite && probe == P(0);
            std::fill(row + in.width, row + stride_, P(0));
        }
        return finite;
    }

    void setCoordinates() {
        KernelTerms const& k = *job_.terms;
        Support const& support = *job_.support;
        const double half = halfWidth(), mid = 0.5 * (width_ - 1);
        s_.t.assign(static_cast<std::size_t>(width_ + PAD), P(0));
        for (int x = 0; x < width_; ++x) s_.t[static_cast<std::size_t>(x)] = static_cast<P>((x - mid) / half);
        const double scale = 2.0 / k.box.width();
        inTile_ = chebyshevInTile((x0_ + mid + job_.xy0.x - k.box.center().x) * scale, half * scale, order_);
        if (tapByTap_) {
            use_.assign(static_cast<std::size_t>(support.width) * support.height, 0);
            for (Point2I tap : support.taps) {
                use_[static_cast<std::size_t>(tap.x - support.x0 + (tap.y - support.y0) * support.width)] = 1;
            }
        }
    }

    // Weight of every kernel term in the coefficient of t^power, for output row y.
    std::vector<double> termWeights(int y, int power) const {
        KernelTerms const& k = *job_.terms;
        std::vector<double> ty(static_cast<std::size_t>(order_ + 1)), weights;
        chebyshevValues((y + job_.xy0.y - k.box.center().y) * 2.0 / k.box.height(), order_, ty.data());
        for (PolynomialTerm term : polynomialTerms(order_)) {
            weights.push_back(inTile_[static_cast<std::size_t>(term.a * (order_ + 1) + power)] *
                              ty[static_cast<std::size_t>(term.b)]);
        }
        return weights;
    }

    void computeTaps(int y, std::vector<P>& taps) {
        KernelTerms const& k = *job_.terms;
        Support const& support = *job_.support;
        const int n = support.width * support.height, full = k.width * k.height, powers = order_ + 1, perTap = coefficients(order_);
        taps.resize(static_cast<std::size_t>(n * perTap));
        for (int power = 0; power < powers; ++power) {
            const std::vector<double> weights = termWeights(y, power);
            s_.sumTaps.assign(static_cast<std::size_t>(full), 0.0);
            for (std::size_t p = 0; p < weights.size(); ++p) {
                if (weights[p] != 0.0) addScaled(s_.sumTaps.data(), k.terms[p].data(), weights[p], full);
            }
            int q = power;
            for (int j = 0; j < support.height; ++j) {
                double const* row = &s_.sumTaps[static_cast<std::size_t>((support.y0 + j) * k.width + support.x0)];
                for (int i = 0; i < support.width; ++i, q += perTap) taps[static_cast<std::size_t>(q)] = static_cast<P>(row[i]);
            }
        }
        for (int q = 0; order_ == 0 && q < n; ++q) {
            P const tap = taps[static_cast<std::size_t>(2 * q)];
            taps[static_cast<std::size_t>(2 * q + 1)] = tap * tap;
        }
        if (order_ == 1) {
            const double change = lanes_ / halfWidth();
            for (int q = 0; q < n; ++q) taps[static_cast<std::size_t>(3 * q + 2)] = static_cast<P>(taps[static_cast<std::size_t>(3 * q + 1)] * change);
        }
    }

    // The distance in pixels that the scaled coordinate t maps to 1.
    double halfWidth() const { return width_ > 1 ? 0.5 * (width_ - 1) : 1.0; }

    void store(int y, int r) {
        P* image = s_.out[r].data();
        P* variance = s_.outVariance[r].data();
        if (job_.doNormalize) normalize(y, image, variance);
        std::copy_n(image, width_, job_.out.row(y) + x0_);
        if (!hasVariance()) return;
        VariancePixel* out = job_.varianceOut.row(y) + x0_;
        for (int x = 0; x < width_; ++x) out[x] = static_cast<VariancePixel>(variance[x]);
    }

    void normalize(int y, P* image, P* variance) {
        std::vector<double> c(static_cast<std::size_t>(order_ + 1), 0.0);
        for (int power = 0; power <= order_; ++power) {
            const std::vector<double> weights = termWeights(y, power);
            for (std::size_t p = 0; p < weights.size(); ++p) c[static_cast<std::size_t>(power)] += weights[p] * job_.terms->sums[p];
        }
        const double half = halfWidth(), mid = 0.5 * (width_ - 1);
        bool zero = false;
        for (int x = 0; x < width_; ++x) {
            const double t = (x - mid) / half;
            double sum = 0.0;
            for (int power = order_; power >= 0; --power) sum = sum * t + c[static_cast<std::size_t>(power)];
            zero = zero || sum == 0.0;
            image[x] = static_cast<P>(image[x] / sum);
            if (hasVariance()) variance[x] = static_cast<P>(variance[x] / (sum * sum));
        }
        if (zero) job_.zeroSum->store(true);
    }

    DirectJob<P> const& job_;
    Scratch<P>& s_;
    int x0_, y0_, width_, height_, order_, lanes_;
    int inWidth_ = 0;
    std::ptrdiff_t stride_ = 0;
    bool tapByTap_ = false;
    std::vector<double> inTile_;
    std::vector<unsigned char> use_;
};

}  // namespace

template <typename T>
void convolveDirect(DirectJob<T> const& job) {
    if (job.support->width == 0) {  // a kernel of zeros
        for (int y = 0; y < job.goodHeight; ++y) {
            std::fill_n(job.out.row(job.goodY0 + y) + job.goodX0, job.goodWidth, T(0));
            if (!job.varianceIn.empty()) {
                std::fill_n(job.varianceOut.row(job.goodY0 + y) + job.goodX0, job.goodWidth, VariancePixel(0));
            }
        }
        return;
    }
    static const Method<T> method = chooseMethod<T>();
    const int nx = (job.goodWidth + TILE_WIDTH - 1) / TILE_WIDTH, ny = (job.goodHeight + TILE_HEIGHT - 1) / TILE_HEIGHT;
    parallelFor(nx * ny, [&](int block) {
        static thread_local Scratch<T> scratch;
        const int x = block % nx * TILE_WIDTH, y = block / nx * TILE_HEIGHT;
        Tile<T> tile(job, scratch, method.lanes, job.goodX0 + x, job.goodY0 + y, std::min(TILE_WIDTH, job.goodWidth - x),
                     std::min(TILE_HEIGHT, job.goodHeight - y));
        tile.run(method.rows);
    });
}

template void convolveDirect(DirectJob<float> const&);
template void convolveDirect(DirectJob<double> const&);

}  // namespace detail
}  // namespace stillsky
