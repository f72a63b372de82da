#include "stillsky/stack/statistics_stack.hpp"

#include <algorithm>
#include <string>
#include <type_traits>

#include "network.hpp"
#include "row_file.hpp"
#include "stack_detail.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int BLOCK_ROWS = 16;

StackOptions optionsWith(std::vector<double> const& weights, StatisticsControl const& control, MaskPixel clipped,
                         MaskPixel excuse) {
    StackOptions options;
    options.weights = weights;
    options.clipped = clipped;
    if (clipped != 0) options.maskMap.push_back({control.andMask() & ~excuse, clipped});
    return options;
}

template <typename T>
std::vector<StackInput<T>> inputsOf(std::vector<MaskedView<const T>> const& images) {
    std::vector<StackInput<T>> inputs(images.size());
    for (std::size_t i = 0; i < images.size(); ++i) {
        inputs[i].image = images[i].image;
        inputs[i].mask = images[i].mask;
        inputs[i].variance = images[i].variance;
    }
    return inputs;
}

template <typename T>
Point2I commonOrigin(std::vector<MaskedView<const T>> const& images) {
    for (auto const& image : images) {
        if (image.xy0 != images[0].xy0) return Point2I{0, 0};
    }
    return images[0].xy0;
}

}  // namespace

namespace {

using stack_detail::Plan;

// How the rows of a result are made.
enum class Way { BY_COLUMNS, SORTED, BY_MOMENTS };
Way wayOf(Plan const& plan) {
    if (!plan.control.nanSafe() || plan.property == ORMASK) return Way::BY_COLUMNS;
    return plan.clips || plan.property == MEDIAN || plan.property == IQRANGE ? Way::SORTED : Way::BY_MOMENTS;
}

// Rows [begin, end) of the result.
template <typename T>
void stackRows(std::vector<StackInput<T>> const& inputs, Plan const& plan, stack_detail::NetworkCache& networks, int begin,
               int end, StackOutput<T> const& out) {
    const Way way = wayOf(plan);
    if (way == Way::BY_MOMENTS) return stack_detail::stackRowsOfMoments(inputs, plan, begin, end, out);
    if (way == Way::SORTED) return stack_detail::stackRowsSorted(inputs, plan, networks, begin, end, out);
    for (int y = begin; y < end; ++y) stack_detail::stackRowByColumns(inputs, plan, y, out);
}

template <typename T>
void stackPlanned(std::vector<StackInput<T>> const& inputs, Plan const& plan, StackOutput<T> const& out) {
    const int height = inputs[0].image.height;
    stack_detail::NetworkCache networks;
    parallelFor((height + BLOCK_ROWS - 1) / BLOCK_ROWS, [&](int block) {
        const int begin = block * BLOCK_ROWS, end = std::min(height, begin + BLOCK_ROWS);
        stackRows(inputs, plan, networks, begin, end, out);
    });
}

template <typename T>
StackOutput<T> rowsOf(StackOutput<T> const& out, int begin, int end) {
    auto rows = [&](auto const& plane) { return plane.data ? plane.sub(0, begin, plane.width, end - begin) : plane; };
    return {rows(out.image), rows(out.mask), rows(out.variance), rows(out.kept), rows(out.nImage)};
}

// As stackStrips, of images some of which are in files.
void stackFiles(std::vector<StackInput<float>> const& inputs, int flags, StatisticsControl const& control,
                StackOptions const& options, StackOutput<float> const& out) {
    // What is to be checked and planned needs sizes and which planes there are, not pixels.
    auto shown = inputs;
    static const float noPixel = 0;
    static const MaskPixel noBits = 0;
    const int width = inputs.at(0).image.width, height = inputs[0].image.height;
    for (auto& in : shown) {
        if (in.file.descriptor < 0) continue;
        in.image.data = &noPixel;
        in.mask = View2<const MaskPixel>(&noBits, in.image.width, in.image.height);
        in.variance = View2<const VariancePixel>(&noPixel, in.image.width, in.image.height);
    }
    const auto plan = Plan::of(shown, flags, control, options, out);
    if (wayOf(plan) == Way::BY_MOMENTS) return stackPlanned(inputs, plan, out);  // reads for itself
    stack_detail::NetworkCache networks;
    const int rows = stack_detail::rowsOfBlock(inputs.size(), width);
    stack_detail::BlockBuffers buffers(stack_detail::blockBytes(inputs.size(), width, rows));
    parallelFor((height + rows - 1) / rows, [&](int block) {
        const int begin = block * rows, end = std::min(height, begin + rows);
        auto buffer = buffers.take();
        const auto read = stack_detail::readBlock(inputs, begin, end, buffer.get());
        stackRows(read, plan, networks, 0, end - begin, rowsOf(out, begin, end));
        buffers.give(std::move(buffer));
    });
}

template <typename T>
bool anyInFile(std::vector<StackInput<T>> const& inputs) {
    return std::any_of(inputs.begin(), inputs.end(), [](StackInput<T> const& in) { return in.file.descriptor >= 0; });
}

}  // namespace

template <typename T>
void stackStrips(std::vector<StackInput<T>> const& inputs, int flags, StatisticsControl const& control,
                 StackOptions const& options, StackOutput<T> const& out) {
    if (anyInFile(inputs)) {
        if constexpr (std::is_same<T, float>::value) return stackFiles(inputs, flags, control, options, out);
        throw DomainError("images: those in files are of float");
    }
    stackPlanned(inputs, Plan::of(inputs, flags, control, options, out), out);
}

template <typename T>
void statisticsStack(MaskedView<T> out, std::vector<MaskedView<const T>> const& images, int flags,
                     StatisticsControl const& control, StackOptions const& options) {
    StackOutput<T> planes;
    planes.image = out.image;
    planes.mask = out.mask;
    planes.variance = out.variance;
    stackStrips(inputsOf(images), flags, control, options, planes);
}

template <typename T>
MaskedImage<T> statisticsStack(std::vector<MaskedView<const T>> const& images, int flags, StatisticsControl const& control,
                               StackOptions const& options) {
    if (images.empty()) throw ShapeError("images: wanted at least one to stack, got none");
    MaskedImage<T> out(Box2I(control.compat() ? Point2I{0, 0} : commonOrigin(images), {images[0].width(), images[0].height()}));
    statisticsStack(out.view(), images, flags, control, options);
    return out;
}

template <typename T>
MaskedImage<T> statisticsStack(std::vector<MaskedView<const T>> const& images, int flags, StatisticsControl const& control,
                               std::vector<double> const& weights, MaskPixel clipped, MaskPixel excuse) {
    return statisticsStack(images, flags, control, optionsWith(weights, control, clipped, excuse));
}

template <typename T>
Image<T> statisticsStack(std::vector<View2<const T>> const& images, int flags, StatisticsControl const& control,
                         std::vector<double> const& weights) {
    std::vector<StackInput<T>> inputs(images.size());
    for (std::size_t i = 0; i < images.size(); ++i) inputs[i].image = images[i];
    Image<T> out(images.empty() ? 0 : images[0].width, images.empty() ? 0 : images[0].height);
    StackOptions options;
    options.weights = weights;
    StackOutput<T> planes;
    planes.image = out.view();
    stackStrips(inputs, flags, control, options, planes);
    return out;
}

template <typename T>
std::vector<T> statisticsStack(std::vector<std::vector<T>> const& vectors, int flags, StatisticsControl const& control,
                               std::vector<double> const& weights) {
    std::vector<View2<const T>> views;
    for (auto const& v : vectors) views.emplace_back(v.data(), static_cast<int>(v.size()), 1);
    const Image<T> stacked = statisticsStack(views, flags, control, weights);
    return std::vector<T>(stacked.view().data, stacked.view().data + stacked.width());
}

namespace {

// One row or column of the planes as samples in a row.
template <typename T>
class Line {
public:
    Line(StatisticsSamples<T> const& image, bool isColumn) : image_(image), isColumn_(isColumn) {}

    StatisticsSamples<T> at(int i) {
        StatisticsSamples<T> s;
        s.image = line(image_.image, i, x_);
        s.mask = line(image_.mask, i, m_);
        s.variance = line(image_.variance, i, v_);
        return s;
    }

private:
    template <typename U>
    View2<const U> line(View2<const U> const& plane, int i, std::vector<U>& buffer) const {
        if (plane.data == nullptr) return plane;
        if (!isColumn_) return plane.sub(0, i, plane.width, 1);
        buffer.resize(static_cast<std::size_t>(plane.height));
        for (int y = 0; y < plane.height; ++y) buffer[static_cast<std::size_t>(y)] = plane(i, y);
        return View2<const U>(buffer.data(), plane.height, 1);
    }

    StatisticsSamples<T> const& image_;
    bool isColumn_;
    std::vector<T> x_;
    std::vector<MaskPixel> m_;
    std::vector<VariancePixel> v_;
};

}  // namespace

template <typename T>
MaskedImage<T> statisticsStack(StatisticsSamples<T> const& image, int flags, char axis, StatisticsControl const& control,
                               Point2I xy0) {
    if (axis != 'x' && axis != 'y') throw DomainError(std::string("axis: wanted 'x' or 'y', got '") + axis + "'");
    stats_detail::checkPlanes(image);
    const bool isColumn = axis == 'y';
    const int n = isColumn ? image.image.width : image.image.height;
    MaskedImage<T> out(Box2I(xy0, isColumn ? Extent2I{n, 1} : Extent2I{1, n}));
    auto values = out.image().view();
    auto variances = out.variance().view();
    constexpr int LINES = 64;
    parallelFor((n + LINES - 1) / LINES, [&](int block) {
        Line<T> line(image, isColumn);
        for (int i = block * LINES; i < std::min(n, (block + 1) * LINES); ++i) {
            const auto result = computeStatistics(line.at(i), flags | ERRORS, control).getResult();
            values.data[i] = static_cast<T>(result.first);
            variances.data[i] = static_cast<VariancePixel>(result.second * result.second);
        }
    });
    return out;
}

#define STILLSKY_INSTANTIATE(T)                                                                                           \
    template void stackStrips<T>(std::vector<StackInput<T>> const&, int, StatisticsControl const&, StackOptions const&,   \
                                 StackOutput<T> const&);                                                                  \
    template void statisticsStack<T>(MaskedView<T>, std::vector<MaskedView<const T>> const&, int,                         \
                                     StatisticsControl const&, StackOptions const&);                                      \
    template MaskedImage<T> statisticsStack<T>(std::vector<MaskedView<const T>> const&, int, StatisticsControl const&,    \
                                               StackOptions const&);                                                      \
    template MaskedImage<T> statisticsStack<T>(std::vector<MaskedView<const T>> const&, int, StatisticsControl const&,    \
                                               std::vector<double> const&, MaskPixel, MaskPixel);                         \
    template Image<T> statisticsStack<T>(std::vector<View2<const T>> const&, int, StatisticsControl const&,               \
                                         std::vector<double> const&);                                                     \
    template std::vector<T> statisticsStack<T>(std::vector<std::vector<T>> const&, int, StatisticsControl const&,         \
                                               std::vector<double> const&);                                               \
    template MaskedImage<T> statisticsStack<T>(StatisticsSamples<T> const&, int, char, StatisticsControl const&, Point2I);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stillsky
