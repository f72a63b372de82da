#include "stillsky/ptc/covariance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "block_sums.hpp"
#include "stillsky/core/errors.hpp"

namespace stillsky {

using ptc_detail::BlockSums;

CovarianceSums::CovarianceSums(int maxLag_, double offset_) : maxLag(maxLag_), offset(offset_) {
    if (maxLag < 0) throw DomainError("maxLag: wanted a number >= 0, got " + std::to_string(maxLag));
    const std::size_t n = index(maxLag, maxLag) + 1;
    count.assign(n, 0);
    for (auto* sum : {&sumFirst, &sumSecond, &sumProduct}) sum->assign(n, 0.0);
}

double CovarianceSums::covariance(int dx, int dy) const {
    const std::size_t i = index(dx, dy);
    if (count[i] == 0) return std::numeric_limits<double>::quiet_NaN();
    const double n = static_cast<double>(count[i]);
    return sumProduct[i] / n - (sumFirst[i] / n) * (sumSecond[i] / n);
}

CovarianceSums CovarianceSums::withOffset(double newOffset) const {
    CovarianceSums out = *this;
    const double move = offset - newOffset;
    out.offset = newOffset;
    if (move == 0) return out;
    for (std::size_t i = 0; i < count.size(); ++i) {
        const double n = static_cast<double>(count[i]);
        out.sumProduct[i] += move * (sumFirst[i] + sumSecond[i] + move * n);
        out.sumFirst[i] += move * n;
        out.sumSecond[i] += move * n;
    }
    return out;
}

CovarianceSums& CovarianceSums::operator+=(CovarianceSums const& other) {
    if (other.maxLag != maxLag) {
        throw ShapeError("CovarianceSums: wanted sums of equal maxLag, got " + std::to_string(maxLag) + " and " +
                         std::to_string(other.maxLag));
    }
    const CovarianceSums moved = other.withOffset(offset);
    for (std::size_t i = 0; i < count.size(); ++i) {
        count[i] += moved.count[i];
        sumFirst[i] += moved.sumFirst[i];
        sumSecond[i] += moved.sumSecond[i];
        sumProduct[i] += moved.sumProduct[i];
    }
    return *this;
}

LagCovariances::LagCovariances(int maxLag_) : maxLag(maxLag_), cov(index(maxLag_, maxLag_) + 1), npix(cov.size()) {}

LagCovariances averageQuadrants(CovarianceSums const& sums, Quadrants quadrants, std::int64_t minPairsPerLag) {
    if (minPairsPerLag < 1) {
        throw DomainError("minPairsPerLag: wanted a number >= 1, got " + std::to_string(minPairsPerLag));
    }
    LagCovariances out(sums.maxLag);
    for (int dx = 0; dx <= sums.maxLag; ++dx) {
        for (int dy = 0; dy <= sums.maxLag; ++dy) {
            const bool both = dx > 0 && dy > 0;  // on the axes both quadrants hold the same pairs
            const std::int64_t up = sums.count[sums.index(dx, dy)], down = both ? sums.count[sums.index(dx, -dy)] : 0;
            const std::int64_t fewest = quadrants == Quadrants::EQUAL && both ? std::min(up, down) : up + down;
            const std::size_t i = out.index(dx, dy);
            if (fewest < minPairsPerLag) {
                if (minPairsPerLag == 1) {
                    throw DomainError("weight: no pair of usable pixels at lag (dx=" + std::to_string(dx) +
                                      ", dy=" + std::to_string(dy) + ")");
                }
                out.cov[i] = std::numeric_limits<double>::quiet_NaN();
                continue;
            }
            const double share = !both                            ? 1.0
                                 : quadrants == Quadrants::EQUAL ? 0.5
                                                                 : static_cast<double>(up) / static_cast<double>(up + down);
            out.npix[i] = up + down;
            if (up > 0) out.cov[i] += share * sums.covariance(dx, dy);
            if (down > 0) out.cov[i] += (1 - share) * sums.covariance(dx, -dy);
        }
    }
    return out;
}

CovarianceEstimator::CovarianceEstimator(int maxLag) : maxLag_(maxLag) {
    if (maxLag < 0) throw DomainError("maxLag: wanted a number >= 0, got " + std::to_string(maxLag));
}

template <typename T>
CovarianceSums CovarianceEstimator::sums(View2<const T> image, View2<const std::uint8_t> weight,
                                         std::optional<double> offset) const {
    if (image.empty()) throw ShapeError("image: wanted at least one pixel");
    if (weight.width != image.width || weight.height != image.height) {
        throw ShapeError("weight: wanted the size of the image, " + std::to_string(image.width) + "x" +
                         std::to_string(image.height) + ", got " + std::to_string(weight.width) + "x" +
                         std::to_string(weight.height));
    }
    if (maxLag_ >= std::min(image.width, image.height)) {
        throw DomainError("maxLag: wanted less than both sides of the image, " + std::to_string(image.width) + "x" +
                          std::to_string(image.height) + ", got " + std::to_string(maxLag_));
    }
    if (offset && !std::isfinite(*offset)) throw DomainError("offset: wanted a finite number");
    const double c = offset ? *offset : ptc_detail::nearMeanOfPixels(image, weight);
    const std::vector<BlockSums> parts = ptc_detail::sumBlocks(image, weight, maxLag_, c, ignoreNonFinite);

    CovarianceSums out(maxLag_, c);
    const std::size_t n = static_cast<std::size_t>(2 * maxLag_ + 1);
    for (BlockSums const& part : parts) {
        for (int dy = 0; dy <= maxLag_; ++dy) {
            for (int dx = -maxLag_; dx <= maxLag_; ++dx) {
                if (dy == 0 && dx < 0) continue;
                const std::size_t from = static_cast<std::size_t>(dy) * n + static_cast<std::size_t>(maxLag_ + dx);
                // The pairs of (dx, dy) with dx < 0 are those of (-dx, -dy), first and second exchanged.
                const std::size_t to = dx < 0 ? out.index(-dx, -dy) : out.index(dx, dy);
                out.count[to] += part.count[from];
                (dx < 0 ? out.sumSecond : out.sumFirst)[to] += part.first[from];
                (dx < 0 ? out.sumFirst : out.sumSecond)[to] += part.second[from];
                out.sumProduct[to] += part.product[from];
            }
        }
    }
    for (int dy = 1; dy <= maxLag_; ++dy) {  // dx = 0 has been summed for dy >= 0 only
        const std::size_t from = out.index(0, dy), to = out.index(0, -dy);
        out.count[to] = out.count[from];
        out.sumFirst[to] = out.sumSecond[from];
        out.sumSecond[to] = out.sumFirst[from];
        out.sumProduct[to] = out.sumProduct[from];
    }
    return out;
}

template <typename T>
LagCovariances CovarianceEstimator::covariances(View2<const T> image, View2<const std::uint8_t> weight) const {
    return averageQuadrants(sums(image, weight), quadrants, minPairsPerLag);
}

#define STILLSKY_INSTANTIATE(T)                                                                                    \
    template CovarianceSums CovarianceEstimator::sums<T>(View2<const T>, View2<const std::uint8_t>,                \
                                                         std::optional<double>) const;                             \
    template LagCovariances CovarianceEstimator::covariances<T>(View2<const T>, View2<const std::uint8_t>) const;
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stillsky
