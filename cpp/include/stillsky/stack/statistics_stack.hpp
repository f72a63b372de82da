// statisticsStack: one statistic of many images, pixel by pixel, with masks, variances and weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "stillsky/core/errors.hpp"
#include "stillsky/core/view.hpp"
#include "stillsky/image/image.hpp"
#include "stillsky/stats/statistics.hpp"

namespace stillsky {

// Where the rows of an image's three planes are in a file, as pixels of four bytes (T float): bytes before the first pixel of
// each plane, and from row to row. The descriptor is open and remains the caller's.
struct RowFile {
    int descriptor = -1;
    std::int64_t image = 0, mask = 0, variance = 0;
    std::int64_t rowBytes = 0;
};

// Rows of a file could not be read; `index` of the input, `code` as errno.
class RowReadError : public StillskyError {
public:
    RowReadError(std::size_t index_, int code_, std::string const& what)
            : StillskyError("images[" + std::to_string(index_) + "]: " + what), index(index_), code(code_), reason(what) {}
    std::size_t index;
    int code;
    std::string reason;
};

// One image of a stack, or a band of its rows: borrowed planes of equal size. An empty mask has no bits set; an empty
// variance serves where neither weights nor errors need it. A plane marked as swapped has its bytes in the order
// that is not this machine's (a memory-mapped FITS file): it is turned while it is read.
template <typename T>
struct StackInput {
    View2<const T> image;
    View2<const MaskPixel> mask;
    View2<const VariancePixel> variance;
    bool swapImage = false, swapMask = false, swapVariance = false;
    // With a descriptor, the pixels are there: the view of the image has a size but no data, the others are empty. Rows are read
    // a few at a time by the thread that stacks them.
    RowFile file;
};

// Where the results go. Empty views are not written.
template <typename T>
struct StackOutput {
    View2<T> image;
    View2<MaskPixel> mask;
    View2<VariancePixel> variance;    // squared error of the value
    View2<std::uint16_t> kept;        // samples behind the value: usable ones, less those clipped
    View2<std::uint16_t> nImage;      // samples whose mask has no bit of andMask, whatever their value
};

struct StackOptions {
    std::vector<double> weights;      // one per image; empty: none
    bool inverseVariance = false;     // weight of a sample = weight of its image / its variance
    MaskPixel clipped = 0;            // set where clipping rejected a sample
    // (in, out): where a sample was not usable and any sample of the pixel has a bit of `in`, the bits `out` are set.
    std::vector<std::pair<MaskPixel, MaskPixel>> maskMap;
};

// Stack images pixel by pixel: image = value of the statistic, variance = its squared error, as makeStatistics gives
// them for the column of samples of that pixel. T: float, double.
//
// flags: exactly one property; ERRORS is implied. Samples are usable and weighted as StatisticsControl says; in the modes
// with 1/variance a sample whose variance is not positive and finite is not usable. Weights that are given are used, also
// with StatisticsControl::weighted unset.
// Mask: OR over the samples kept (StatisticsControl::orMaskClipped; else over the usable ones), plus propagated bits
// (weight of unusable samples with the bit over that plus the weight of usable ones, strictly above the threshold).
// No usable sample: image and variance NaN (SUM 0) and the mask is noGoodPixelsMask, to which nothing but the bits of
// the map are added. Then options.clipped and options.maskMap.
// A single image comes back unchanged where it is usable: MEAN, MEANCLIP and MEDIAN then take its variance plane, because
// one sample has no scatter (not in compat).
// compat: as StatisticsControl::compat; weights are ignored unless StatisticsControl::weighted is true.
//
// Errors: ShapeError without images or when sizes differ (index and both sizes are named), DomainError when the number of
// weights is wrong, a weight is negative, flags hold more than one property, or a variance is wanted and not given,
// RowReadError when a file cannot be read.
// Cost per pixel and image on one 2.5 GHz core with AVX-512: mean 0.6 to 1 ns (of float, with variances and weights of
// images; else 2), quantiles and clipping 2 to 6 ns for tens of images, growing with the squared logarithm of their number.
// Memory per thread: sums of 8192 pixels for means, else one strip of 64 pixels of all images; for images in files also 0.8
// MB for means, else one row of all, or up to 10 MB. Every pixel is computed from its own samples in their order: the result does not depend on
// threads, bands or strips.
template <typename T>
void stackStrips(std::vector<StackInput<T>> const& inputs, int flags, StatisticsControl const& control,
                 StackOptions const& options, StackOutput<T> const& out);

// Masked images; `clipped` is set where clipping rejected a sample and where masks rejected one, unless for bits of
// `excuse` (the map (andMask & ~excuse -> clipped)). xy0 of the result: that of the images if all agree, else (0, 0).
template <typename T>
MaskedImage<T> statisticsStack(std::vector<MaskedView<const T>> const& images, int flags,
                               StatisticsControl const& control = StatisticsControl(),
                               std::vector<double> const& weights = std::vector<double>(), MaskPixel clipped = 0,
                               MaskPixel excuse = 0);
// With a mask map instead of `excuse`, and all other options.
template <typename T>
MaskedImage<T> statisticsStack(std::vector<MaskedView<const T>> const& images, int flags, StatisticsControl const& control,
                               StackOptions const& options);
// Into an image that exists; ShapeError if its size differs.
template <typename T>
void statisticsStack(MaskedView<T> out, std::vector<MaskedView<const T>> const& images, int flags,
                     StatisticsControl const& control, StackOptions const& options);

// Plain images.
template <typename T>
Image<T> statisticsStack(std::vector<View2<const T>> const& images, int flags,
                         StatisticsControl const& control = StatisticsControl(),
                         std::vector<double> const& weights = std::vector<double>());

// Vectors: one value per element.
template <typename T>
std::vector<T> statisticsStack(std::vector<std::vector<T>> const& vectors, int flags,
                               StatisticsControl const& control = StatisticsControl(),
                               std::vector<double> const& weights = std::vector<double>());

// Collapse one image along an axis. 'x': width 1, one value per row; 'y': height 1, one value per column; mask 0, variance =
// squared error; xy0 that of the image. DomainError for any other axis.
template <typename T>
MaskedImage<T> statisticsStack(StatisticsSamples<T> const& image, int flags, char axis,
                               StatisticsControl const& control = StatisticsControl(), Point2I xy0 = Point2I());

}  // namespace stillsky
