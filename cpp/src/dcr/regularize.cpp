#include "stillsky/dcr/regularize.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "stillsky/core/config.hpp"
#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int BLOCK_ROWS = 64;

template <typename F>
void overRows(int height, F const& body) {
    parallelFor((height + BLOCK_ROWS - 1) / BLOCK_ROWS, [&](int block) {
        for (int y = block * BLOCK_ROWS; y < std::min(height, (block + 1) * BLOCK_ROWS); ++y) body(y);
    });
}

template <typename A, typename B>
void wantAlike(View2<A> const& a, View2<B> const& b, const char* name) {
    if (a.width == b.width && a.height == b.height) return;
    throw ShapeError(std::string(name) + ": wanted " + std::to_string(b.width) + "x" + std::to_string(b.height) + ", given " +
                     std::to_string(a.width) + "x" + std::to_string(a.height));
}

// Rows with a border of one zero at each side, and a row of zeros above and below.
class Flags {
public:
    Flags(int width, int height)
            : stride_(static_cast<std::size_t>(width) + 2), bytes_(stride_ * (static_cast<std::size_t>(height) + 2), 0) {}
    std::uint8_t* row(int y) { return &bytes_[stride_ * static_cast<std::size_t>(y + 1) + 1]; }
    const std::uint8_t* row(int y) const { return &bytes_[stride_ * static_cast<std::size_t>(y + 1) + 1]; }

private:
    std::size_t stride_;
    std::vector<std::uint8_t> bytes_;
};

template <bool ERODE>
STILLSKY_INLINE void crossRow(const std::uint8_t* above, const std::uint8_t* here, const std::uint8_t* below, int n,
                              std::uint8_t* out) {
    const std::uint8_t* STILLSKY_RESTRICT a = above;
    const std::uint8_t* STILLSKY_RESTRICT h = here;
    const std::uint8_t* STILLSKY_RESTRICT b = below;
    std::uint8_t* STILLSKY_RESTRICT o = out;
    for (int x = 0; x < n; ++x) {
        if (ERODE) o[x] = static_cast<std::uint8_t>(a[x] & b[x] & h[x] & h[x - 1] & h[x + 1]);
        else o[x] = static_cast<std::uint8_t>(a[x] | b[x] | h[x] | h[x - 1] | h[x + 1]);
    }
}

STILLSKY_SIMD void erodeRow(const std::uint8_t* above, const std::uint8_t* here, const std::uint8_t* below, int n,
                            std::uint8_t* out) {
    crossRow<true>(above, here, below, n, out);
}

STILLSKY_SIMD void dilateRow(const std::uint8_t* above, const std::uint8_t* here, const std::uint8_t* below, int n,
                             std::uint8_t* out) {
    crossRow<false>(above, here, below, n, out);
}

// Opening; the result is in flags, other is scratch.
void open(Flags& flags, Flags& other, int width, int height, int steps) {
    Flags *from = &flags, *to = &other;
    for (int step = 0; step < 2 * steps; ++step) {
        const auto row = step < steps ? erodeRow : dilateRow;
        overRows(height, [&](int y) { row(from->row(y - 1), from->row(y), from->row(y + 1), width, to->row(y)); });
        std::swap(from, to);
    }
}

STILLSKY_INLINE float highOf(float old, ChangeLimits const& l) { return std::fabs(old) * l.high; }
STILLSKY_INLINE float lowOf(float old, ChangeLimits const& l) { return old * (old < 0 ? l.lowNegative : l.low); }

STILLSKY_SIMD void beyondRow(const float* image, const float* old, ChangeLimits const& l, int n, std::uint8_t* out) {
    const float* STILLSKY_RESTRICT p = image;
    const float* STILLSKY_RESTRICT q = old;
    std::uint8_t* STILLSKY_RESTRICT o = out;
    for (int x = 0; x < n; ++x) {
        o[x] = static_cast<std::uint8_t>((p[x] > highOf(q[x], l) ? 1 : 0) | (p[x] < lowOf(q[x], l) ? 2 : 0));
    }
}

STILLSKY_SIMD void bringBackRow(float* image, const float* old, const std::uint8_t* flags, ChangeLimits const& l, int n) {
    float* STILLSKY_RESTRICT p = image;
    const float* STILLSKY_RESTRICT q = old;
    const std::uint8_t* STILLSKY_RESTRICT f = flags;
    for (int x = 0; x < n; ++x) {
        const float value = (f[x] & 1) != 0 ? highOf(q[x], l) : p[x];
        p[x] = (f[x] & 2) != 0 ? lowOf(q[x], l) : value;
    }
}

// What is kept of the differences: row is the size of a smoothed image's difference from the level.
STILLSKY_SIMD void keepRow(const float* smooth, const float* level, float high, float low, float cutoff, int n, float* keep) {
    const float* STILLSKY_RESTRICT s = smooth;
    const float* STILLSKY_RESTRICT m = level;
    float* STILLSKY_RESTRICT k = keep;
    for (int x = 0; x < n; ++x) {
        const float d = s[x] - m[x], positive = m[x] > 0 ? m[x] : 0.0f, size = std::fabs(d);
        const float limit = positive * (d > 0 ? high - 1 : 1 - low) + cutoff;
        const float share = size > limit && m[x] > 0 ? limit / size : 1.0f;
        k[x] = share < k[x] ? share : k[x];
    }
}

STILLSKY_SIMD void addTo(const float* a, float factor, int n, float* out) {
    const float* STILLSKY_RESTRICT p = a;
    float* STILLSKY_RESTRICT o = out;
    for (int x = 0; x < n; ++x) o[x] += factor * p[x];
}

STILLSKY_SIMD void reduceRow(float* image, const float* mean, const float* keep, int n) {
    float* STILLSKY_RESTRICT p = image;
    const float* STILLSKY_RESTRICT m = mean;
    const float* STILLSKY_RESTRICT k = keep;
    for (int x = 0; x < n; ++x) p[x] -= (1.0f - k[x]) * (p[x] - m[x]);
}

bool usable(float value, std::uint8_t excluded) { return excluded == 0 && std::isfinite(value); }

// sum[0]: number, sum[1]: sum of p - centre, sum[2]: of its square, over usable pixels
STILLSKY_SIMD void momentRow(const float* image, const std::uint8_t* excluded, float centre, int n, double* sum) {
    constexpr int LANES = 16;
    constexpr float GREATEST = std::numeric_limits<float>::max();
    float count[LANES] = {};
    double first[LANES] = {}, second[LANES] = {};
    const auto add = [&](int x, int l) {
        const bool use = (excluded[x] == 0) & (std::fabs(image[x]) <= GREATEST);
        const float difference = use ? image[x] - centre : 0.0f;
        const double d = static_cast<double>(difference);
        count[l] += use ? 1.0f : 0.0f;
        first[l] += d;
        second[l] += d * d;
    };
    int x = 0;
    for (; x + LANES <= n; x += LANES) {
        for (int l = 0; l < LANES; ++l) add(x + l, l);
    }
    for (; x < n; ++x) add(x, 0);
    for (int l = 0; l < LANES; ++l) {
        sum[0] += static_cast<double>(count[l]);
        sum[1] += first[l];
        sum[2] += second[l];
    }
}

}  // namespace

void openDiamond(View2<std::uint8_t> flags, int steps) {
    if (steps < 0) throw DomainError("steps: wanted at least 0, given " + std::to_string(steps));
    if (steps == 0 || flags.empty()) return;
    Flags own(flags.width, flags.height), other(flags.width, flags.height);
    overRows(flags.height, [&](int y) { std::copy_n(flags.row(y), flags.width, own.row(y)); });
    open(own, other, flags.width, flags.height, steps);
    overRows(flags.height, [&](int y) { std::copy_n(own.row(y), flags.width, flags.row(y)); });
}

void clampChange(View2<float> image, View2<const float> old, ChangeLimits const& limits, int steps) {
    if (steps < 0) throw DomainError("steps: wanted at least 0, given " + std::to_string(steps));
    wantAlike(old, image, "old");
    if (image.empty()) return;
    const int width = image.width, height = image.height;
    Flags flags(width, height), other(width, height);
    overRows(height, [&](int y) { beyondRow(image.row(y), old.row(y), limits, width, flags.row(y)); });
    open(flags, other, width, height, steps);
    overRows(height, [&](int y) { bringBackRow(image.row(y), old.row(y), flags.row(y), limits, width); });
}

void clampRatios(std::vector<View2<float>> const& images, std::vector<View2<const float>> const& smooth, float high, float low,
                 float cutoff) {
    if (images.empty() || images.size() != smooth.size()) {
        throw ShapeError("smooth: wanted " + std::to_string(images.size()) + " planes, given " + std::to_string(smooth.size()));
    }
    for (std::size_t k = 0; k < images.size(); ++k) {
        wantAlike(images[k], images[0], "images");
        wantAlike(smooth[k], images[0], "smooth");
    }
    const int width = images[0].width;
    const float share = 1.0f / static_cast<float>(images.size());
    parallelFor((images[0].height + BLOCK_ROWS - 1) / BLOCK_ROWS, [&](int block) {
        std::vector<float> level(static_cast<std::size_t>(width)), keep(level.size());
        for (int y = block * BLOCK_ROWS; y < std::min(images[0].height, (block + 1) * BLOCK_ROWS); ++y) {
            std::fill(level.begin(), level.end(), 0.0f);
            std::fill(keep.begin(), keep.end(), 1.0f);
            for (auto const& plane : smooth) addTo(plane.row(y), share, width, level.data());
            for (auto const& plane : smooth) keepRow(plane.row(y), level.data(), high, low, cutoff, width, keep.data());
            std::fill(level.begin(), level.end(), 0.0f);
            for (auto const& plane : images) addTo(plane.row(y), share, width, level.data());
            for (auto const& plane : images) reduceRow(plane.row(y), level.data(), keep.data(), width);
        }
    });
}

double backgroundScatter(View2<const float> image, View2<const std::uint8_t> excluded, int border) {
    wantAlike(excluded, image, "excluded");
    const int width = image.width - 2 * border, height = image.height - 2 * border;
    if (border < 0) throw DomainError("border: wanted at least 0, given " + std::to_string(border));
    if (width <= 0 || height <= 0) return std::numeric_limits<double>::quiet_NaN();
    float centre = 0;  // any pixel: what is squared is then small
    for (int y = border, found = 0; y < border + height && found == 0; ++y) {
        for (int x = border; x < border + width && found == 0; ++x) {
            if (!usable(image(x, y), excluded(x, y))) continue;
            centre = image(x, y);
            found = 1;
        }
    }
    std::vector<double> sums(static_cast<std::size_t>(height) * 3, 0.0);
    overRows(height, [&](int y) {
        momentRow(image.row(y + border) + border, excluded.row(y + border) + border, centre, width,
                  &sums[static_cast<std::size_t>(y) * 3]);
    });
    double total[3] = {};
    for (std::size_t i = 0; i < sums.size(); ++i) total[i % 3] += sums[i];
    if (total[0] < 2) return std::numeric_limits<double>::quiet_NaN();
    const double mean = total[1] / total[0];
    return std::sqrt(std::max(0.0, total[2] / total[0] - mean * mean));
}

}  // namespace stillsky
