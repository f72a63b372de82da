#include "stillsky/stack/mean_stack.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "stack_detail.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int BLOCK_ROWS = 16;

}  // namespace

template <typename T>
MeanStack<T>::MeanStack(int width, int height, StatisticsControl const& control, StackOptions const& options)
        : width_(width), height_(height), control_(control), options_(options) {
    if (width < 0 || height < 0) throw ShapeError("MeanStack: wanted a size >= 0");
    if (!control.nanSafe()) throw DomainError("MeanStack: nanSafe must be on");
    reset();
}

template <typename T>
void MeanStack<T>::reset() {
    const std::size_t n = static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_);
    const bool scatter = !control_.calcErrorFromInputVariance() && !control_.calcErrorMosaicMode();
    for (auto* sums : {&n_, &w_, &x_, &first_}) sums->assign(n, 0.0);
    for (auto* sums : {&w2_, &x2_}) sums->assign(scatter ? n : 0, 0.0);
    v_.assign(scatter ? 0 : n, 0.0);
    rejected_.assign(control_.maskPropagationThresholds().size(), AlignedVector<double>(n, 0.0));
    orUsable_.assign(n, 0);
    orAll_.assign(n, 0);
    nImage_.assign(n, 0);
    nImages_ = 0;
}

template <typename T>
void MeanStack<T>::add(StackInput<T> const& in, double weight) {
    if (in.image.width != width_ || in.image.height != height_) {
        throw ShapeError("MeanStack: wanted " + std::to_string(width_) + "x" + std::to_string(height_) + " pixels, got " +
                         std::to_string(in.image.width) + "x" + std::to_string(in.image.height));
    }
    if (weight < 0) throw DomainError("weight: wanted a number >= 0, got " + std::to_string(weight));
    const bool inverse = options_.inverseVariance, needsVariance = inverse || !v_.empty();
    if (needsVariance && in.variance.data == nullptr) throw DomainError("variance: wanted for these weights or errors");
    const bool goodWeight = std::isfinite(weight);
    ++nImages_;
    parallelFor((height_ + BLOCK_ROWS - 1) / BLOCK_ROWS, [&](int block) {
        for (int y = block * BLOCK_ROWS; y < std::min(height_, (block + 1) * BLOCK_ROWS); ++y) {
            for (int x = 0; x < width_; ++x) {
                const std::size_t i = static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x);
                const double value = static_cast<double>(stack_detail::valueAt(in, x, y));
                const MaskPixel m = stack_detail::maskAt(in, x, y);
                const double v = static_cast<double>(stack_detail::varianceAt(in, x, y));
                const bool clear = (m & control_.andMask()) == 0;
                orAll_[i] |= m;
                nImage_[i] = static_cast<std::uint16_t>(nImage_[i] + clear);
                double w = goodWeight ? weight : 0.0;
                bool usable = clear && goodWeight && std::fabs(value) <= static_cast<double>(std::numeric_limits<T>::max());
                if (inverse) {
                    const bool good = v > 0 && v <= std::numeric_limits<VariancePixel>::max();
                    usable = usable && good;
                    w = good ? w / v : 0.0;
                }
                if (!usable) {
                    for (std::size_t b = 0; b < rejected_.size(); ++b) {
                        if (m & (MaskPixel(1) << b)) rejected_[b][i] += w;
                    }
                    continue;
                }
                if (n_[i] == 0) first_[i] = value;
                const double d = value - first_[i];
                n_[i] += 1;
                w_[i] += w;
                x_[i] += w * d;
                orUsable_[i] |= m;
                if (!w2_.empty()) {
                    w2_[i] += w * w;
                    x2_[i] += w * d * d;
                } else {
                    v_[i] += control_.calcErrorMosaicMode() ? w * v : w * w * v;
                }
            }
        }
    });
}

template <typename T>
void MeanStack<T>::fill(StackOutput<T> const& out) const {
    parallelFor((height_ + BLOCK_ROWS - 1) / BLOCK_ROWS, [&](int block) {
        for (int y = block * BLOCK_ROWS; y < std::min(height_, (block + 1) * BLOCK_ROWS); ++y) {
            for (int x = 0; x < width_; ++x) {
                const std::size_t i = static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(x);
                stats_detail::Sums s;
                s.n = n_[i];
                s.w = w_[i];
                s.x = x_[i];
                s.centre = first_[i];
                double squared = std::numeric_limits<double>::quiet_NaN();
                if (!w2_.empty()) {
                    s.w2 = w2_[i];
                    s.x2 = x2_[i];
                    squared = s.variance() * s.w2 / (s.w * s.w);
                } else {
                    squared = control_.calcErrorMosaicMode() ? v_[i] / s.w : v_[i] / (s.w * s.w);
                }
                const bool some = s.n > 0;
                const double nan = std::numeric_limits<double>::quiet_NaN();
                if (out.image.data) out.image(x, y) = static_cast<T>(some ? s.mean() : nan);
                if (out.variance.data) out.variance(x, y) = static_cast<VariancePixel>(some ? squared : nan);
                if (out.mask.data) {
                    MaskPixel bits = some ? orUsable_[i] : control_.noGoodPixelsMask();
                    for (std::size_t b = 0; some && b < rejected_.size(); ++b) {
                        const double share = rejected_[b][i] / (s.w + rejected_[b][i]);
                        if (share > control_.maskPropagationThresholds()[b]) bits |= MaskPixel(1) << b;
                    }
                    out.mask(x, y) = stack_detail::addMappedBits(bits, orAll_[i], s.n < nImages_, false, options_);
                }
                if (out.kept.data) out.kept(x, y) = static_cast<std::uint16_t>(s.n);
                if (out.nImage.data) out.nImage(x, y) = nImage_[i];
            }
        }
    });
}

template class MeanStack<float>;
template class MeanStack<double>;

}  // namespace stillsky
