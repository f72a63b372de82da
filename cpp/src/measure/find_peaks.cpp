#include "stillsky/measure/find_peaks.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"
#include "vec.hpp"

namespace stillsky {
namespace {

constexpr int BAND = 64;    // rows of peaks per parallel block
constexpr int CHUNK = 64;   // pixels that the inner loops take at once; row buffers are padded to multiples of it
constexpr float NOTHING = -std::numeric_limits<float>::infinity();

int paddedWidth(int n) { return (n + CHUNK - 1) / CHUNK * CHUNK; }

// out[x] = sum_k taps[k] * rows[k][x] for x in [0, n), n a multiple of CHUNK. Serves both directions: rows[k] are
// rows of the image for the vertical pass and the same row at offset k for the horizontal one.
STILLSKY_SIMD void sumOfRows(float const* const* rows, float const* taps, int nTaps, float* out, int n) {
    for (int x = 0; x < n; x += CHUNK) {
        vec::Float a{}, b{}, c{}, d{};
        for (int k = 0; k < nTaps; ++k) {
            float const* p = rows[k] + x;
            const float t = taps[k];
            vec::Float va, vb, vc, vd;
            vec::load(va, p);
            vec::load(vb, p + 16);
            vec::load(vc, p + 32);
            vec::load(vd, p + 48);
            a += va * t;
            b += vb * t;
            c += vc * t;
            d += vd * t;
        }
        vec::store(out + x, a);
        vec::store(out + x + 16, b);
        vec::store(out + x + 32, c);
        vec::store(out + x + 48, d);
    }
}

// Copies of a row with zeros at pixels that are not good.
template <typename T>
STILLSKY_INLINE void cleanRowImpl(T const* STILLSKY_RESTRICT image, float const* STILLSKY_RESTRICT variance,
                                  MaskPixel const* STILLSKY_RESTRICT mask, MaskPixel bad, int n,
                                  float* STILLSKY_RESTRICT outImage, float* STILLSKY_RESTRICT outVariance) {
    for (int x = 0; x < n; ++x) {
        const float i = static_cast<float>(image[x]), v = variance[x];
        const bool good = ((mask[x] & bad) == 0) & (std::fabs(i) <= FLT_MAX) & (v > 0.0f) & (v <= FLT_MAX);
        outImage[x] = good ? i : 0.0f;
        outVariance[x] = good ? v : 0.0f;
    }
}
STILLSKY_SIMD void cleanRow(float const* image, float const* variance, MaskPixel const* mask, MaskPixel bad, int n,
                            float* outImage, float* outVariance) {
    cleanRowImpl(image, variance, mask, bad, n, outImage, outVariance);
}
STILLSKY_SIMD void cleanRow(double const* image, float const* variance, MaskPixel const* mask, MaskPixel bad, int n,
                            float* outImage, float* outVariance) {
    cleanRowImpl(image, variance, mask, bad, n, outImage, outVariance);
}

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

// One band of rows: rolling buffers of cleaned, smoothed and significance rows.
template <typename T>
class Band {
public:
    Band(View2<const T> image, View2<const VariancePixel> variance, View2<const MaskPixel> mask,
         PeakFinderControl const& control, std::vector<float> const& taps, std::vector<float> const& taps2)
            : image_(image), variance_(variance), mask_(mask), control_(control), taps_(taps), taps2_(taps2),
              nTaps_(static_cast<int>(taps.size())), half_(nTaps_ / 2), n_(image.width), padded_(paddedWidth(n_)),
              wide_(padded_ + paddedWidth(2 * half_ + 1)) {
        const std::size_t ring = static_cast<std::size_t>(nTaps_) * wide_;
        ringImage_.assign(ring, 0.0f);
        ringVariance_.assign(ring, 0.0f);
        columnsImage_.assign(wide_, 0.0f);
        columnsVariance_.assign(wide_, 0.0f);
        smoothVariance_.assign(padded_, 0.0f);
        for (int i = 0; i < 3; ++i) {
            smooth_[i].assign(padded_, 0.0f);
            // One extra element on each side, so that neighbours of the first and last pixel exist.
            significance_[i].assign(padded_ + 2, NOTHING);
        }
        ones_.assign(n_, 1.0f);
        zeros_.assign(n_, 0);
        above_.assign(padded_ / CHUNK, 0);
        rows_.resize(nTaps_);
    }

    void run(int yBegin, int yEnd, std::vector<FoundPeak>& found) {
        nextInput_ = yBegin - 1 - half_;
        for (int y = yBegin - 1; y <= yEnd; ++y) {
            smoothTo(y);
            if (y > yBegin) collect(y - 1, found);
        }
    }

private:
    float* ringRow(std::vector<float>& ring, int y) {
        return ring.data() + static_cast<std::size_t>(((y % nTaps_) + nTaps_) % nTaps_) * wide_;
    }

    // Row y of the image, cleaned, into the ring; zeros beyond the image.
    void readRow(int y) {
        float* image = ringRow(ringImage_, y);
        float* variance = ringRow(ringVariance_, y);
        if (y < 0 || y >= image_.height) {
            std::fill_n(image, wide_, 0.0f);
            std::fill_n(variance, wide_, 0.0f);
            return;
        }
        cleanRow(image_.row(y), variance_.empty() ? ones_.data() : variance_.row(y),
                 mask_.empty() ? zeros_.data() : mask_.row(y), control_.badBits, n_, image + half_, variance + half_);
    }

    void smoothPlane(std::vector<float>& ring, std::vector<float> const& taps, int y, std::vector<float>& columns,
                     float* out) {
        for (int k = 0; k < nTaps_; ++k) rows_[k] = ringRow(ring, y - half_ + k);
        sumOfRows(rows_.data(), taps.data(), nTaps_, columns.data(), wide_);
        for (int k = 0; k < nTaps_; ++k) rows_[k] = columns.data() + k;
        sumOfRows(rows_.data(), taps.data(), nTaps_, out, padded_);
    }

    void smoothTo(int y) {
        for (; nextInput_ <= y + half_; ++nextInput_) readRow(nextInput_);
        const int slot = (y + 3) % 3;
        float* s = significance_[slot].data() + 1;
        if (y < 0 || y >= image_.height) {
            std::fill_n(s, n_, 0.0f);
            return;
        }
        smoothPlane(ringImage_, taps_, y, columnsImage_, smooth_[slot].data());
        smoothPlane(ringVariance_, taps2_, y, columnsVariance_, smoothVariance_.data());
        significanceRow(smooth_[slot].data(), smoothVariance_.data(), s, n_);
    }

    bool isGood(int x, int y) {
        const float* v = ringRow(ringVariance_, y) + half_;
        return v[x] > 0;
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
        if (y < control_.border || y >= image_.height - control_.border) return;
        float const* s[3];
        float const* v[3];
        for (int j = 0; j < 3; ++j) {
            s[j] = significance_[(y + j + 2) % 3].data() + 1;
            v[j] = smooth_[(y + j + 2) % 3].data();
        }
        const float threshold = static_cast<float>(control_.threshold);
        chunksAbove(s[1], threshold, padded_, above_.data());
        const int begin = control_.border, end = n_ - control_.border;
        for (int block = 0; block < padded_ / CHUNK; ++block) {
            if (!above_[block]) continue;
            for (int x = std::max(begin, block * CHUNK); x < std::min(end, (block + 1) * CHUNK); ++x) {
                const float c = s[1][x];
                if (!(std::fabs(c) >= threshold) || c == 0 || !(c > 0 ? control_.positive : control_.negative)) continue;
                if (!isPeak(s, x, c > 0 ? 1.0f : -1.0f, x > 0, x + 1 < n_)) continue;
                if (!control_.allowBadCenter && !isGood(x, y)) continue;
                double dx, dy;
                quadraticOffset(v, x, x > 0, x + 1 < n_, y > 0, y + 1 < image_.height, dx, dy);
                found.push_back({x, y, x + dx, y + dy, c, v[1][x]});
            }
        }
    }

    View2<const T> image_;
    View2<const VariancePixel> variance_;
    View2<const MaskPixel> mask_;
    PeakFinderControl const& control_;
    std::vector<float> const& taps_;
    std::vector<float> const& taps2_;
    int nTaps_, half_, n_, padded_, wide_;
    int nextInput_ = 0;
    std::vector<float> ringImage_, ringVariance_, columnsImage_, columnsVariance_, smoothVariance_, ones_;
    std::vector<float> smooth_[3], significance_[3];
    std::vector<MaskPixel> zeros_;
    std::vector<int> above_;
    std::vector<float const*> rows_;
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

int gaussianKernelWidth(double sigma, double nSigmaForKernel) {
    if (!(sigma > 0) || sigma > 50) {
        throw DomainError("Gaussian smoothing: sigma must be in (0, 50] pixels, got " + std::to_string(sigma));
    }
    if (!(nSigmaForKernel > 0) || nSigmaForKernel > 100) {
        throw DomainError("Gaussian smoothing: nSigmaForKernel must be in (0, 100], got " +
                          std::to_string(nSigmaForKernel));
    }
    return std::max(3, static_cast<int>(sigma * nSigmaForKernel + 0.5) / 2 * 2 + 1);
}

std::vector<double> gaussianKernel1d(double sigma, int width) {
    if (!(sigma > 0) || sigma > 50 || width < 1 || width % 2 == 0) {
        throw DomainError("gaussianKernel1d: sigma must be in (0, 50] and width odd, got " + std::to_string(sigma) +
                          " and " + std::to_string(width));
    }
    std::vector<double> taps(width);
    double sum = 0;
    for (int i = 0; i < width; ++i) {
        const double d = (i - width / 2) / sigma;
        sum += taps[i] = std::exp(-0.5 * d * d);
    }
    for (double& t : taps) t /= sum;
    return taps;
}

template <typename T>
std::vector<FoundPeak> findPeaks(View2<const T> image, View2<const VariancePixel> variance,
                                 View2<const MaskPixel> mask, PeakFinderControl const& control) {
    checkControl(control);
    checkPlane(variance, image, "variance");
    checkPlane(mask, image, "mask");
    const std::vector<double> kernel =
            gaussianKernel1d(control.sigmaPsf, gaussianKernelWidth(control.sigmaPsf, control.nSigmaForKernel));
    if (image.empty()) return {};
    std::vector<float> taps, taps2;
    for (double t : kernel) {
        taps.push_back(static_cast<float>(t));
        taps2.push_back(static_cast<float>(t * t));
    }
    const int nBands = (image.height + BAND - 1) / BAND;
    std::vector<std::vector<FoundPeak>> found(nBands);
    parallelFor(nBands, [&](int b) {
        Band<T>(image, variance, mask, control, taps, taps2)
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
