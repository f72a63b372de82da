#include "stillsky/image/stitch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int kBlock = 32;  // rows

template <typename A, typename B>
void checkSame(View2<A> a, View2<B> b, char const* what) {
    if (a.width == b.width && a.height == b.height) return;
    throw ShapeError(std::string(what) + ": wanted views of one size, got " + std::to_string(a.width) + "x" +
                     std::to_string(a.height) + " and " + std::to_string(b.width) + "x" + std::to_string(b.height));
}

// row(y) -> StitchCount, summed over blocks of rows.
template <typename Row>
StitchCount countRows(int width, int height, Row const& row) {
    const int blocks = (height + kBlock - 1) / kBlock;
    std::vector<StitchCount> found(static_cast<std::size_t>(blocks));
    auto body = [&](int block) {
        StitchCount total;
        for (int y = block * kBlock; y < std::min(height, (block + 1) * kBlock); ++y) {
            const StitchCount one = row(y);
            total.valid += one.valid;
            total.overflow |= one.overflow;
        }
        found[static_cast<std::size_t>(block)] = total;
    };
    if (static_cast<long long>(width) * height < 65536) {  // waking threads costs more
        for (int block = 0; block < blocks; ++block) body(block);
    } else {
        parallelFor(blocks, body);
    }
    StitchCount total;
    for (auto const& one : found) {
        total.valid += one.valid;
        total.overflow |= one.overflow;
    }
    return total;
}

template <bool reference, typename P>
STILLSKY_INLINE bool isValid(P value, VariancePixel variance) {
    if (reference) {
        const auto product = value * variance;
        return product == product;
    }
    return (value == value) & (variance == variance);
}

template <bool reference>
STILLSKY_INLINE MaskPixel mergedMask(MaskPixel old, MaskPixel bits, bool replaces, bool adds) {
    if (reference) return old | bits;
    return (replaces ? 0 : old) | (adds ? bits : 0);
}

template <bool reference, typename T, typename P>
STILLSKY_INLINE StitchCount writeRow(T* STILLSKY_RESTRICT image, VariancePixel* STILLSKY_RESTRICT variance,
                                     MaskPixel* STILLSKY_RESTRICT mask, std::uint16_t* STILLSKY_RESTRICT count,
                                     P const* STILLSKY_RESTRICT value, VariancePixel const* STILLSKY_RESTRICT noise,
                                     MaskPixel const* STILLSKY_RESTRICT bits, int n) {
    int valid = 0, over = 0;
    for (int x = 0; x < n; ++x) {
        const bool ok = isValid<reference>(value[x], noise[x]), first = count[x] == 0;
        image[x] = ok ? static_cast<T>(value[x]) : image[x];
        variance[x] = ok ? noise[x] : variance[x];
        mask[x] = mergedMask<reference>(mask[x], bits[x], ok & first, ok | first);
        over |= ok & (count[x] == std::numeric_limits<std::uint16_t>::max());
        count[x] = static_cast<std::uint16_t>(count[x] + ok);
        valid += ok;
    }
    return {valid, over != 0};
}

STILLSKY_SIMD StitchCount writePlain(float* image, VariancePixel* variance, MaskPixel* mask, std::uint16_t* count,
                                     float const* value, VariancePixel const* noise, MaskPixel const* bits, int n) {
    return writeRow<false>(image, variance, mask, count, value, noise, bits, n);
}
template <typename T, typename P>
StitchCount writePlain(T* image, VariancePixel* variance, MaskPixel* mask, std::uint16_t* count, P const* value,
                       VariancePixel const* noise, MaskPixel const* bits, int n) {
    return writeRow<false>(image, variance, mask, count, value, noise, bits, n);
}

template <bool reference, typename P>
STILLSKY_INLINE StitchCount addRow(double* STILLSKY_RESTRICT image, double* STILLSKY_RESTRICT variance,
                                   MaskPixel* STILLSKY_RESTRICT mask, std::uint16_t* STILLSKY_RESTRICT count,
                                   P const* STILLSKY_RESTRICT value, VariancePixel const* STILLSKY_RESTRICT noise,
                                   MaskPixel const* STILLSKY_RESTRICT bits, int n) {
    int valid = 0, over = 0;
    for (int x = 0; x < n; ++x) {
        const bool ok = isValid<reference>(value[x], noise[x]), first = count[x] == 0;
        image[x] += ok ? static_cast<double>(value[x]) : 0.0;
        variance[x] += ok ? static_cast<double>(noise[x]) : 0.0;
        mask[x] = mergedMask<reference>(mask[x], bits[x], ok & first, ok | first);
        over |= ok & (count[x] == std::numeric_limits<std::uint16_t>::max());
        count[x] = static_cast<std::uint16_t>(count[x] + ok);
        valid += ok;
    }
    return {valid, over != 0};
}

STILLSKY_SIMD StitchCount addPlain(double* image, double* variance, MaskPixel* mask, std::uint16_t* count,
                                   float const* value, VariancePixel const* noise, MaskPixel const* bits, int n) {
    return addRow<false>(image, variance, mask, count, value, noise, bits, n);
}
STILLSKY_SIMD StitchCount addPlain(double* image, double* variance, MaskPixel* mask, std::uint16_t* count,
                                   double const* value, VariancePixel const* noise, MaskPixel const* bits, int n) {
    return addRow<false>(image, variance, mask, count, value, noise, bits, n);
}

template <typename P>
void addWeights(double* STILLSKY_RESTRICT image, double* STILLSKY_RESTRICT variance, double* STILLSKY_RESTRICT sum,
                P const* STILLSKY_RESTRICT value, VariancePixel const* STILLSKY_RESTRICT noise,
                double const* STILLSKY_RESTRICT weight, bool squared, int n) {
    for (int x = 0; x < n; ++x) {
        const bool ok = isValid<false>(value[x], noise[x]);
        const double w = weight[x], power = squared ? w * w : w;
        image[x] += ok ? w * static_cast<double>(value[x]) : 0.0;
        variance[x] += ok ? power * static_cast<double>(noise[x]) : 0.0;
        sum[x] += ok ? w : 0.0;
    }
}

template <typename P>
StitchCount countOnly(MaskPixel* STILLSKY_RESTRICT mask, std::uint16_t* STILLSKY_RESTRICT count,
                      P const* STILLSKY_RESTRICT value, VariancePixel const* STILLSKY_RESTRICT noise,
                      MaskPixel const* STILLSKY_RESTRICT bits, int n) {
    int valid = 0, over = 0;
    for (int x = 0; x < n; ++x) {
        const bool ok = isValid<false>(value[x], noise[x]), first = count[x] == 0;
        mask[x] = mergedMask<false>(mask[x], bits[x], ok & first, ok | first);
        over |= ok & (count[x] == std::numeric_limits<std::uint16_t>::max());
        count[x] = static_cast<std::uint16_t>(count[x] + ok);
        valid += ok;
    }
    return {valid, over != 0};
}

template <bool reference, typename T, typename P, typename C>
StitchCount copyRow(T* STILLSKY_RESTRICT image, VariancePixel* STILLSKY_RESTRICT variance,
                    MaskPixel* STILLSKY_RESTRICT mask, C* STILLSKY_RESTRICT writer, P const* STILLSKY_RESTRICT value,
                    VariancePixel const* STILLSKY_RESTRICT noise, MaskPixel const* STILLSKY_RESTRICT bits, C mark, int n) {
    int valid = 0;
    for (int x = 0; x < n; ++x) {
        const bool ok = isValid<reference>(value[x], noise[x]), take = ok & (writer[x] < mark);
        image[x] = take ? static_cast<T>(value[x]) : image[x];
        variance[x] = take ? noise[x] : variance[x];
        mask[x] = mergedMask<reference>(mask[x], bits[x], take, take | (!ok & (writer[x] == 0)));
        writer[x] = take ? mark : writer[x];
        valid += ok;
    }
    return {valid, false};
}

}  // namespace

template <typename T, typename P>
StitchCount stitchWrite(MaskedView<T> out, View2<std::uint16_t> count, MaskedView<const P> patch, bool reference) {
    checkSame(out.image, patch.image, "stitchWrite: output and patch");
    checkSame(out.image, count, "stitchWrite: output and counts");
    const int n = out.width();
    return countRows(n, out.height(), [&](int y) {
        const auto image = out.image.row(y);
        const auto variance = out.variance.row(y);
        const auto noise = patch.variance.row(y);
        const auto value = patch.image.row(y);
        const auto bits = patch.mask.row(y);
        if (reference) return writeRow<true>(image, variance, out.mask.row(y), count.row(y), value, noise, bits, n);
        return writePlain(image, variance, out.mask.row(y), count.row(y), value, noise, bits, n);
    });
}

template <typename P>
StitchCount stitchAdd(StitchSums const& sums, View2<MaskPixel> mask, View2<std::uint16_t> count,
                      MaskedView<const P> patch, View2<const double> const* weight, bool squared, bool reference) {
    checkSame(sums.image, patch.image, "stitchAdd: sums and patch");
    checkSame(sums.variance, patch.image, "stitchAdd: sums of variances and patch");
    checkSame(mask, patch.image, "stitchAdd: mask and patch");
    checkSame(count, patch.image, "stitchAdd: counts and patch");
    if ((weight == nullptr) != (sums.weight == nullptr)) {
        throw DomainError("stitchAdd: wanted weights and their sums, or neither");
    }
    if (weight) {
        checkSame(*weight, patch.image, "stitchAdd: weights and patch");
        checkSame(*sums.weight, patch.image, "stitchAdd: sums of weights and patch");
    }
    const int n = patch.width();
    return countRows(n, patch.height(), [&](int y) {
        const auto image = sums.image.row(y), variance = sums.variance.row(y);
        const auto value = patch.image.row(y);
        const auto noise = patch.variance.row(y);
        const auto bits = patch.mask.row(y);
        if (weight) {
            addWeights(image, variance, sums.weight->row(y), value, noise, weight->row(y), squared, n);
            return countOnly(mask.row(y), count.row(y), value, noise, bits, n);
        }
        if (reference) return addRow<true>(image, variance, mask.row(y), count.row(y), value, noise, bits, n);
        return addPlain(image, variance, mask.row(y), count.row(y), value, noise, bits, n);
    });
}

template <typename T, typename P, typename C>
StitchCount stitchCopy(MaskedView<T> out, View2<C> writer, MaskedView<const P> patch, C mark, bool reference) {
    checkSame(out.image, patch.image, "stitchCopy: output and patch");
    checkSame(out.image, writer, "stitchCopy: output and marks");
    const int n = out.width();
    return countRows(n, out.height(), [&](int y) {
        const auto row = reference ? &copyRow<true, T, P, C> : &copyRow<false, T, P, C>;
        return row(out.image.row(y), out.variance.row(y), out.mask.row(y), writer.row(y), patch.image.row(y),
                   patch.variance.row(y), patch.mask.row(y), mark, n);
    });
}

template <typename T>
void stitchSettle(View2<T> image, View2<VariancePixel> variance, StitchSums const& sums,
                  View2<const std::uint16_t> count, bool average, bool squared) {
    checkSame(image, sums.image, "stitchSettle: output and sums");
    checkSame(image, sums.variance, "stitchSettle: output and sums of variances");
    checkSame(image, variance, "stitchSettle: output and variance");
    checkSame(image, count, "stitchSettle: output and counts");
    if (sums.weight) checkSame(image, *sums.weight, "stitchSettle: output and sums of weights");
    parallelFor((image.height + kBlock - 1) / kBlock, [&](int block) {
        for (int y = block * kBlock; y < std::min(image.height, (block + 1) * kBlock); ++y) {
            const auto sum = sums.image.row(y), sumVariance = sums.variance.row(y);
            double const* weight = sums.weight ? sums.weight->row(y) : nullptr;
            const auto n = count.row(y);
            T* STILLSKY_RESTRICT to = image.row(y);
            VariancePixel* STILLSKY_RESTRICT noise = variance.row(y);
            for (int x = 0; x < image.width; ++x) {
                const double norm = !average ? 1.0 : weight ? weight[x] : static_cast<double>(n[x]);
                const bool some = n[x] > 0;
                const double value = sum[x] / norm, v = sumVariance[x] / (squared ? norm * norm : norm);
                to[x] = some ? static_cast<T>(value) : to[x];
                noise[x] = some ? static_cast<VariancePixel>(v) : noise[x];
            }
        }
    });
}

template <typename T, typename C>
StitchOverlap stitchFinish(MaskedView<T> out, View2<const C> count, MaskPixel bits, bool blank, bool reference) {
    checkSame(out.image, count, "stitchFinish: output and counts");
    const int blocks = (out.height() + kBlock - 1) / kBlock, n = out.width();
    std::vector<StitchOverlap> found(static_cast<std::size_t>(blocks));
    parallelFor(blocks, [&](int block) {
        StitchOverlap total;
        total.smallest = std::numeric_limits<C>::max();
        for (int y = block * kBlock; y < std::min(out.height(), (block + 1) * kBlock); ++y) {
            C const* STILLSKY_RESTRICT c = count.row(y);
            C largest = 0, smallest = std::numeric_limits<C>::max();
            long long sum = 0;
            int none = 0;
            for (int x = 0; x < n; ++x) {
                largest = std::max(largest, c[x]);
                smallest = std::min(smallest, c[x]);
                sum += c[x];
                none += c[x] == 0;
            }
            total.largest = std::max<long long>(total.largest, largest);
            total.smallest = std::min<long long>(total.smallest, smallest);
            total.sum += sum;
            total.blank += none;
            if (!blank || (none == 0 && !reference)) continue;
            const auto image = out.image.row(y);
            const auto variance = out.variance.row(y);
            for (int x = 0; x < n; ++x) {
                if (c[x] != 0 && !(reference && (std::isnan(image[x]) || std::isnan(variance[x])))) continue;
                image[x] = std::numeric_limits<T>::quiet_NaN();
                variance[x] = std::numeric_limits<VariancePixel>::quiet_NaN();
                out.mask.row(y)[x] |= bits;
            }
        }
        found[static_cast<std::size_t>(block)] = total;
    });
    StitchOverlap total;
    if (n > 0 && !found.empty()) total.smallest = found.front().smallest;
    for (auto const& one : found) {
        total.largest = std::max(total.largest, one.largest);
        total.smallest = std::min(total.smallest, one.smallest);
        total.sum += one.sum;
        total.blank += one.blank;
    }
    return total;
}

#define STILLSKY_STITCH(T, P)                                                                                          \
    template StitchCount stitchWrite<T, P>(MaskedView<T>, View2<std::uint16_t>, MaskedView<const P>, bool);            \
    template StitchCount stitchCopy<T, P, std::uint16_t>(MaskedView<T>, View2<std::uint16_t>, MaskedView<const P>,     \
                                                         std::uint16_t, bool);                                         \
    template StitchCount stitchCopy<T, P, std::uint32_t>(MaskedView<T>, View2<std::uint32_t>, MaskedView<const P>,     \
                                                         std::uint32_t, bool);
STILLSKY_STITCH(float, float)
STILLSKY_STITCH(float, double)
STILLSKY_STITCH(double, float)
STILLSKY_STITCH(double, double)
#undef STILLSKY_STITCH

#define STILLSKY_STITCH(T)                                                                                             \
    template StitchCount stitchAdd<T>(StitchSums const&, View2<MaskPixel>, View2<std::uint16_t>, MaskedView<const T>,  \
                                      View2<const double> const*, bool, bool);                                         \
    template void stitchSettle<T>(View2<T>, View2<VariancePixel>, StitchSums const&, View2<const std::uint16_t>, bool, \
                                  bool);                                                                               \
    template StitchOverlap stitchFinish<T, std::uint16_t>(MaskedView<T>, View2<const std::uint16_t>, MaskPixel, bool,  \
                                                          bool);                                                       \
    template StitchOverlap stitchFinish<T, std::uint32_t>(MaskedView<T>, View2<const std::uint32_t>, MaskPixel, bool,  \
                                                          bool);
STILLSKY_STITCH(float)
STILLSKY_STITCH(double)
#undef STILLSKY_STITCH

}  // namespace stillsky
