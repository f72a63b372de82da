#include "stillsky/measure/find_peaks.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <string>

#include "row_smoother.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"
#include "stillsky/measure/gaussian_smooth.hpp"

namespace stillsky {
namespace {

using rows::CHUNK;
constexpr int BAND = 64;  // rows of peaks per parallel block

// Value over its standard deviation; 0 where there is no variance, because no good pixel is near.
STILLSKY_SIMD void significanceRow(float const* STILLSKY_RESTRICT value, float const* STILLSKY_RESTRICT variance,
                                   float* STILLSKY_RESTRICT out, int n) {
    for (int x = 0; x < n; ++x) {
        const bool known = variance[x] > FLT_MIN;
        out[x] = known ? value[x] / std::sqrt(known ? variance[x] : 1.0f) : 0.0f;
    }
}

// 1 for every CHUNK of the row in which some |s| reaches the threshold.
STILLSKY_SIMD void chunksAbove(float const* STILLSKY_RESTRICT s, float threshold, int n,
                               int* STILLSKY_RESTRICT any) {
    for (int x = 0; x < n; x += CHUNK) {
        int found = 0;
        for (int j = 0; j < CHUNK; ++j) found |= std::fabs(s[x + j]) >= threshold ? 1 : 0;
        any[x / CHUNK] = found;
    }
}

// Offset of the extremum of the quadratic with the central differences of the 3x3 pixels around (x, row 1).
void quadraticOffset(float const* const rows[3], int x, bool left, bool right, bool below, bool above, double& dx,
                     double& dy) {
    dx = dy = 0;
    auto at = [&](int i, int j) { return static_cast<double>(rows[j + 1][x + i]); };
    const bool inX = left && right, inY = below && above;
    const double c = at(0, 0);
    const double gx = inX ? 0.5 * (at(1, 0) - at(-1, 0)) : 0, hxx = inX ? at(1, 0) + at(-1, 0) - 2 * c : 0;
    const double gy = inY ? 0.5 * (at(0, 1) - at(0, -1)) : 0, hyy = inY ? at(0, 1) + at(0, -1) - 2 * c : 0;
    const double hxy = inX && inY ? 0.25 * (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) : 0;
    const double det = hxx * hyy - hxy * hxy;
    if (inX && inY && det > 1e-6 * std::fabs(hxx * hyy)) {
        dx = -(hyy * gx - hxy * gy) / det;
        dy = -(hxx * gy - hxy * gx) / det;
    } else {
        if (hxx != 0) dx = -gx / hxx;
        if (hyy != 0) dy = -gy / hyy;
    }
    // A local maximum of well-sampled pixels is within half a pixel; noise on a plateau may point anywhere.
    dx = std::min(1.0, std::max(-1.0, dx));
    dy = std::min(1.0, std::max(-1.0, dy));
}

// One band of rows: the smoothed and significance maps exist three rows at a time.
template <typename T>
class Band {
public:
    Band(View2<const T> image, View2<const VariancePixel> variance, View2<const MaskPixel> mask,
         PeakFinderControl const& control, std::vector<double> const& kernel)
            : width_(image.width), height_(image.height), control_(control),
              smoother_(image, variance, mask, control.badBits, kernel), padded_(smoother_.padded()) {
        smoothVariance_.assign(padded_, 0.0f);
        for (int i = 0; i < 3; ++i) {
            smooth_[i].assign(padded_, 0.0f);
            // One extra element on each side, so that neighbours of the first and last pixel exist.
            significance_[i].assign(padded_ + 2, 0.0f);
        }
        above_.assign(padded_ / CHUNK, 0);
    }

    void run(int yBegin, int yEnd, std::vector<FoundPeak>& found) {
        const int first = std::max(0, yBegin - 1);
        smoother_.begin(first);
        for (int y = first; y <= yEnd; ++y) {
            smoothTo(y);
            if (y > yBegin) collect(y - 1, found);
        }
    }

private:
    void smoothTo(int y) {
        const int slot = (y + 3) % 3;
        float* s = significance_[slot].data() + 1;
        if (y >= height_) {
            std::fill_n(s, width_, 0.0f);
            return;
        }
        smoother_.smooth(y, smooth_[slot].data(), smoothVariance_.data());
        significanceRow(smooth_[slot].data(), smoothVariance_.data(), s, width_);
    }

    // A larger |s| of the wanted sign among the neighbours, or an equal one earlier in scan order, wins.
    static bool isPeak(float const* const s[3], int x, float sign, bool left, bool right) {
        const float c = sign * s[1][x];
        auto at = [&](int i, int j) { return sign * s[j + 1][x + i]; };
        if (left && (at(-1, -1) >= c || at(-1, 0) >= c || at(-1, 1) > c)) return false;
        if (right && (at(1, -1) >= c || at(1, 0) > c || at(1, 1) > c)) return false;
        return !(at(0, -1) >= c || at(0, 1) > c);
    }

    void collect(int y, std::vector<FoundPeak>& found) {
        if (y < control_.border || y >= height_ - control_.border) return;
        float const* s[3];
        float const* v[3];
        for (int j = 0; j < 3; ++j) {
            s[j] = significance_[(y + j + 2) % 3].data() + 1;
            v[j] = smooth_[(y + j + 2) % 3].data();
        }
        const float threshold = static_cast<float>(control_.threshold);
        chunksAbove(s[1], threshold, padded_, above_.data());
        const int begin = control_.border, end = width_ - control_.border;
        for (int block = 0; block < padded_ / CHUNK; ++block) {
            if (!above_[block]) continue;
            for (int x = std::max(begin, block * CHUNK); x < std::min(end, (block + 1) * CHUNK); ++x) {
                const float c = s[1][x];
                if (!(std::fabs(c) >= threshold) || c == 0 || !(c > 0 ? control_.positive : control_.negative)) continue;
                if (!isPeak(s, x, c > 0 ? 1.0f : -1.0f, x > 0, x + 1 < width_)) continue;
                if (!control_.allowBadCenter && !smoother_.isGood(x, y)) continue;
                double dx, dy;
                quadraticOffset(v, x, x > 0, x + 1 < width_, y > 0, y + 1 < height_, dx, dy);
                found.push_back({x, y, x + dx, y + dy, c, v[1][x]});
            }
        }
    }

    int width_, height_;
    PeakFinderControl const& control_;
    rows::RowSmoother<T> smoother_;
    int padded_;
    std::vector<float> smoothVariance_;
    std::vector<float> smooth_[3], significance_[3];
    std::vector<int> above_;
};

bool moreSignificant(FoundPeak const& a, FoundPeak const& b) {
    const float fa = std::fabs(a.significance), fb = std::fabs(b.significance);
    if (fa != fb) return fa > fb;
    return a.iy != b.iy ? a.iy < b.iy : a.ix < b.ix;
}

void checkControl(PeakFinderControl const& control) {
    if (!(control.threshold >= 0) || !std::isfinite(control.threshold)) {
        throw DomainError("findPeaks: threshold must be finite and >= 0, got " + std::to_string(control.threshold));
    }
    if (control.border < 0 || control.maxPeaks < 0) {
        throw DomainError("findPeaks: border and maxPeaks must be >= 0");
    }
}

template <typename V, typename T>
void checkPlane(View2<V> plane, View2<const T> image, const char* name) {
    if (plane.empty() || (plane.width == image.width && plane.height == image.height)) return;
    throw ShapeError(std::string("findPeaks: ") + name + " is " + std::to_string(plane.width) + "x" +
                     std::to_string(plane.height) + ", image is " + std::to_string(image.width) + "x" +
                     std::to_string(image.height));
}

}  // namespace

template <typename T>
std::vector<FoundPeak> findPeaks(View2<const T> image, View2<const VariancePixel> variance,
                                 View2<const MaskPixel> mask, PeakFinderControl const& control) {
    checkControl(control);
    checkPlane(variance, image, "variance");
    checkPlane(mask, image, "mask");
    const std::vector<double> kernel =
            gaussianKernel1d(control.sigmaPsf, gaussianKernelWidth(control.sigmaPsf, control.nSigmaForKernel));
    if (image.empty()) return {};
    const int nBands = (image.height + BAND - 1) / BAND;
    std::vector<std::vector<FoundPeak>> found(nBands);
    parallelFor(nBands, [&](int b) {
        Band<T>(image, variance, mask, control, kernel)
                .run(b * BAND, std::min(image.height, (b + 1) * BAND), found[b]);
    });
    std::vector<FoundPeak> all;
    for (auto const& part : found) all.insert(all.end(), part.begin(), part.end());
    std::sort(all.begin(), all.end(), moreSignificant);
    if (control.maxPeaks > 0 && all.size() > static_cast<std::size_t>(control.maxPeaks)) all.resize(control.maxPeaks);
    return all;
}

template std::vector<FoundPeak> findPeaks<float>(View2<const float>, View2<const VariancePixel>,
                                                 View2<const MaskPixel>, PeakFinderControl const&);
template std::vector<FoundPeak> findPeaks<double>(View2<const double>, View2<const VariancePixel>,
                                                  View2<const MaskPixel>, PeakFinderControl const&);

}  // namespace stillsky
