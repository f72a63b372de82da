// Rolling buffers that smooth an image and its variance row by row with a separable kernel. Private.
#pragma once

#include <algorithm>
#include <vector>

#include "stillsky/image/image.hpp"

namespace stillsky {
namespace rows {

constexpr int CHUNK = 64;  // pixels that the inner loops take at once; row buffers are padded to multiples of it

inline int paddedWidth(int n) { return (n + CHUNK - 1) / CHUNK * CHUNK; }

// out[x] = sum_k taps[k] * rows[k][x] for x in [0, n), n a multiple of CHUNK. Serves both directions: rows[k] are
// rows of the image for the vertical pass and the same row at offset k for the horizontal one.
void sumOfRows(float const* const* rows, float const* taps, int nTaps, float* out, int n);

// Copies of a row with zeros at pixels that are not good: bad bits, image or variance not finite, variance <= 0.
void cleanRow(float const* image, float const* variance, MaskPixel const* mask, MaskPixel bad, int n,
              float* outImage, float* outVariance);
void cleanRow(double const* image, float const* variance, MaskPixel const* mask, MaskPixel bad, int n,
              float* outImage, float* outVariance);

// sum(g w I) and sum(g^2 w V) of consecutive rows, w = 1 on good pixels; variance and mask may be empty views.
template <typename T>
class RowSmoother {
public:
    RowSmoother(View2<const T> image, View2<const VariancePixel> variance, View2<const MaskPixel> mask,
                MaskPixel badBits, std::vector<double> const& kernel)
            : image_(image), variance_(variance), mask_(mask), badBits_(badBits),
              taps_(kernel.begin(), kernel.end()), nTaps_(static_cast<int>(kernel.size())), half_(nTaps_ / 2),
              n_(image.width), padded_(paddedWidth(n_)), wide_(padded_ + paddedWidth(2 * half_ + 1)) {
        for (double t : kernel) taps2_.push_back(static_cast<float>(t * t));
        const std::size_t ring = static_cast<std::size_t>(nTaps_) * wide_;
        ringImage_.assign(ring, 0.0f);
        ringVariance_.assign(ring, 0.0f);
        columns_.assign(wide_, 0.0f);
        ones_.assign(n_, 1.0f);
        zeros_.assign(n_, 0);
        rows_.resize(nTaps_);
    }

    int padded() const { return padded_; }
    // Before the first row.
    void begin(int y) { nextInput_ = y - half_; }

    // Smoothed row y into buffers of padded() elements; rows must follow one another.
    void smooth(int y, float* value, float* variance) {
        for (; nextInput_ <= y + half_; ++nextInput_) readRow(nextInput_);
        smoothPlane(ringImage_, taps_, y, value);
        smoothPlane(ringVariance_, taps2_, y, variance);
    }

    // Whether a pixel of one of the last rows read (within half a kernel of the last row smoothed) is good.
    bool isGood(int x, int y) { return ringRow(ringVariance_, y)[half_ + x] > 0; }

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
                 mask_.empty() ? zeros_.data() : mask_.row(y), badBits_, n_, image + half_, variance + half_);
    }

    void smoothPlane(std::vector<float>& ring, std::vector<float> const& taps, int y, float* out) {
        for (int k = 0; k < nTaps_; ++k) rows_[k] = ringRow(ring, y - half_ + k);
        sumOfRows(rows_.data(), taps.data(), nTaps_, columns_.data(), wide_);
        for (int k = 0; k < nTaps_; ++k) rows_[k] = columns_.data() + k;
        sumOfRows(rows_.data(), taps.data(), nTaps_, out, padded_);
    }

    View2<const T> image_;
    View2<const VariancePixel> variance_;
    View2<const MaskPixel> mask_;
    MaskPixel badBits_;
    std::vector<float> taps_, taps2_;
    int nTaps_, half_, n_, padded_, wide_;
    int nextInput_ = 0;
    std::vector<float> ringImage_, ringVariance_, columns_, ones_;
    std::vector<MaskPixel> zeros_;
    std::vector<float const*> rows_;
};

}  // namespace rows
}  // namespace stillsky
