#include "stillsky/measure/star_stamps.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "stillsky/core/errors.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

using std::size_t;
constexpr int TAPS = StarStamps::TAPS;
constexpr double PI = 3.14159265358979323846;
using Taps = std::array<double, 2 * TAPS + 1>;

double sinc(double t) { return t == 0.0 ? 1.0 : std::sin(PI * t) / (PI * t); }

// Lanczos weights of the pixels -TAPS..TAPS around a point that lies `fraction` beyond the middle one.
Taps lanczosTaps(double fraction) {
    Taps taps{};
    double sum = 0.0;
    for (int d = -TAPS; d <= TAPS; ++d) {
        const double t = fraction - d;
        const double w = std::fabs(t) < TAPS ? sinc(t) * sinc(t / TAPS) : 0.0;
        taps[static_cast<size_t>(d + TAPS)] = w;
        sum += w;
    }
    for (double& w : taps) w /= sum;
    return taps;
}

Taps magnitudes(Taps taps) {
    for (double& w : taps) w = std::fabs(w);
    return taps;
}

// One star at a time: its window of the image, larger than the stamp by TAPS on all sides.
class Window {
public:
    Window(int half) : half_(half), side_(2 * half + 1), wide_(side_ + 2 * TAPS) {
        const size_t n = static_cast<size_t>(wide_) * static_cast<size_t>(wide_);
        pixels_.resize(n);
        noise_.resize(n);
        unusable_.resize(n);
        rows_.resize(static_cast<size_t>(wide_) * static_cast<size_t>(side_));
        touched_.resize(static_cast<size_t>(side_) * static_cast<size_t>(side_));
    }

    template <typename T>
    void load(MaskedView<const T> const& image, MaskPixel badBits, int ix, int iy) {
        ix_ = ix;
        iy_ = iy;
        size_t k = 0;
        for (int j = 0; j < wide_; ++j) {
            const int y = iy - half_ - TAPS + j, x0 = ix - half_ - TAPS;
            for (int i = 0; i < wide_; ++i, ++k) {
                pixels_[k] = static_cast<double>(image.image(x0 + i, y));
                noise_[k] = static_cast<double>(image.variance(x0 + i, y));
                const bool usable = (image.mask(x0 + i, y) & badBits) == 0 && std::isfinite(pixels_[k]) &&
                                    std::isfinite(noise_[k]) && noise_[k] > 0.0;
                unusable_[k] = usable ? 0.0 : 1.0;
            }
        }
    }

    // Pixels nearer to (px, py) than to the star at (x, y) belong to the neighbour.
    void giveTo(double px, double py, double x, double y) {
        if ((px - x) * (px - x) + (py - y) * (py - y) <= 2.0) return;  // the star itself
        size_t k = 0;
        for (int j = 0; j < wide_; ++j) {
            const double v = iy_ - half_ - TAPS + j;
            for (int i = 0; i < wide_; ++i, ++k) {
                const double u = ix_ - half_ - TAPS + i;
                const double own = (u - x) * (u - x) + (v - y) * (v - y);
                if ((u - px) * (u - px) + (v - py) * (v - py) < own) unusable_[k] = 1.0;
            }
        }
    }

    void centre(double x, double y, double* stamp, double* weights) {
        bool any = false;
        for (size_t k = 0; k < pixels_.size(); ++k) {
            if (unusable_[k] == 0.0) continue;
            pixels_[k] = 0.0;
            any = true;
        }
        const Taps tapsX = lanczosTaps(x - ix_), tapsY = lanczosTaps(y - iy_);
        shift(pixels_, tapsX, tapsY, stamp);
        if (any) shift(unusable_, magnitudes(tapsX), magnitudes(tapsY), touched_.data());
        for (int j = 0; j < side_; ++j) {
            for (int i = 0; i < side_; ++i) {
                const size_t to = static_cast<size_t>(j) * static_cast<size_t>(side_) + static_cast<size_t>(i);
                const size_t from = static_cast<size_t>(j + TAPS) * static_cast<size_t>(wide_) + static_cast<size_t>(i + TAPS);
                const bool bad = any && (touched_[to] > 0.02 || unusable_[from] != 0.0);
                weights[to] = bad ? 0.0 : 1.0 / noise_[from];
            }
        }
    }

    // A star whose core is damaged teaches nothing.
    bool coreIsWhole(double const* weights) const {
        int n = 0, whole = 0;
        const double limit = 0.3 * half_;
        for (int j = -half_; j <= half_; ++j) {
            for (int i = -half_; i <= half_; ++i) {
                if (!(std::hypot(i, j) < limit)) continue;
                ++n;
                whole += weights[(j + half_) * side_ + i + half_] > 0.0;
            }
        }
        return whole > 0.95 * n;
    }

private:
    void shift(std::vector<double> const& in, Taps const& tapsX, Taps const& tapsY, double* out) {
        for (int j = 0; j < wide_; ++j) {
            double const* from = &in[static_cast<size_t>(j) * static_cast<size_t>(wide_)];
            double* to = &rows_[static_cast<size_t>(j) * static_cast<size_t>(side_)];
            for (int i = 0; i < side_; ++i) to[i] = 0.0;
            for (size_t t = 0; t < tapsX.size(); ++t) {
                for (int i = 0; i < side_; ++i) to[i] += tapsX[t] * from[static_cast<size_t>(i) + t];
            }
        }
        for (int j = 0; j < side_; ++j) {
            double* to = out + j * side_;
            for (int i = 0; i < side_; ++i) to[i] = 0.0;
            for (size_t t = 0; t < tapsY.size(); ++t) {
                double const* from = &rows_[(static_cast<size_t>(j) + t) * static_cast<size_t>(side_)];
                for (int i = 0; i < side_; ++i) to[i] += tapsY[t] * from[i];
            }
        }
    }

    int half_, side_, wide_, ix_ = 0, iy_ = 0;
    std::vector<double> pixels_, noise_, unusable_, rows_, touched_;
};

void checkStars(StarPositions const& stars) {
    const size_t n = stars.x.size();
    const bool listed = stars.firstNeighbour.empty() ||
                        (stars.firstNeighbour.size() == n + 1 && stars.neighbourX.size() == stars.neighbourY.size() &&
                         stars.firstNeighbour.back() == static_cast<int>(stars.neighbourX.size()));
    if (stars.y.size() != n || !listed) throw ShapeError("centredStamps: positions and neighbours differ in number");
}

}  // namespace

template <typename T>
StarStamps centredStamps(MaskedView<const T> image, MaskPixel badBits, StarPositions const& stars, int half) {
    checkStars(stars);
    if (half < 1) throw DomainError("centredStamps: half: wanted at least 1 pixel, got " + std::to_string(half));
    const int margin = half + TAPS, n = static_cast<int>(stars.x.size());
    const size_t area = static_cast<size_t>(2 * half + 1) * static_cast<size_t>(2 * half + 1);
    std::vector<double> pixels(area * static_cast<size_t>(n)), weights(pixels.size());
    std::vector<unsigned char> good(static_cast<size_t>(n), 0);
    constexpr int BLOCK = 16;
    parallelFor((n + BLOCK - 1) / BLOCK, [&](int block) {
        Window window(half);
        for (int k = block * BLOCK; k < std::min(n, (block + 1) * BLOCK); ++k) {
            const size_t s = static_cast<size_t>(k);
            const double x = stars.x[s], y = stars.y[s];
            if (!(x >= 0.0 && y >= 0.0 && x < image.width() && y < image.height())) continue;
            const int ix = static_cast<int>(std::floor(x + 0.5)), iy = static_cast<int>(std::floor(y + 0.5));
            if (ix < margin || iy < margin || ix + margin >= image.width() || iy + margin >= image.height()) continue;
            window.load(image, badBits, ix, iy);
            for (int i = stars.firstNeighbour.empty() ? 0 : stars.firstNeighbour[s];
                 i < (stars.firstNeighbour.empty() ? 0 : stars.firstNeighbour[s + 1]); ++i) {
                window.giveTo(stars.neighbourX[static_cast<size_t>(i)], stars.neighbourY[static_cast<size_t>(i)], x, y);
            }
            window.centre(x, y, &pixels[s * area], &weights[s * area]);
            good[s] = window.coreIsWhole(&weights[s * area]);
        }
    });
    StarStamps out;
    out.side = 2 * half + 1;
    for (size_t s = 0; s < good.size(); ++s) {
        if (!good[s]) continue;
        const auto to = static_cast<std::ptrdiff_t>(out.star.size() * area), from = static_cast<std::ptrdiff_t>(s * area);
        std::copy_n(pixels.begin() + from, area, pixels.begin() + to);
        std::copy_n(weights.begin() + from, area, weights.begin() + to);
        out.star.push_back(static_cast<int>(s));
    }
    pixels.resize(out.star.size() * area);
    weights.resize(out.star.size() * area);
    out.pixels = std::move(pixels);
    out.weights = std::move(weights);
    return out;
}

template StarStamps centredStamps(MaskedView<const float>, MaskPixel, StarPositions const&, int);
template StarStamps centredStamps(MaskedView<const double>, MaskPixel, StarPositions const&, int);

}  // namespace stillsky
