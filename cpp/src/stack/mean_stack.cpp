#include "stillsky/stack/mean_stack.hpp"

#include <algorithm>
#include <memory>
#include <string>

#include "moment_rows.hpp"
#include "row_source.hpp"
#include "stack_detail.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {
namespace {

constexpr int BLOCK_ROWS = 16;
using stack_detail::SEGMENT;

// f(first pixel of a piece, x, y, count) for pieces of the rows of a block.
template <typename F>
void forPieces(int block, int width, int height, F const& f) {
    for (int y = block * BLOCK_ROWS; y < std::min(height, (block + 1) * BLOCK_ROWS); ++y) {
        for (int x = 0; x < width; x += SEGMENT) {
            f(static_cast<std::ptrdiff_t>(y) * width + x, x, y, std::min(SEGMENT, width - x));
        }
    }
}

stack_detail::Plan planOf(StatisticsControl const& control, StackOptions const& options, double weight) {
    stack_detail::Plan plan;
    plan.property = MEAN;
    plan.control = control;
    plan.options = options;
    plan.options.clipped = 0;
    plan.weights = {weight};
    plan.weighting = options.inverseVariance ? stack_detail::Weighting::INVERSE_VARIANCE : stack_detail::Weighting::GIVEN;
    return plan;
}

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
    for (auto* sums : {&w_, &x_}) sums->assign(n, 0.0);
    for (auto* sums : {&first_, &w2_, &x2_}) sums->assign(scatter ? n : 0, 0.0);
    v_.assign(scatter ? 0 : n, 0.0);
    rejected_.assign(control_.maskPropagationThresholds().size(), AlignedVector<double>());
    for (int bit : stack_detail::propagatedBits(control_)) rejected_[static_cast<std::size_t>(bit)].assign(n, 0.0);
    for (auto* counts : {&n_, &nImage_, &orUsable_, &orAll_}) counts->assign(n, 0);
    nImages_ = 0;
}

template <typename T>
void MeanStack<T>::add(StackInput<T> const& in, double weight) {
    if (in.image.width != width_ || in.image.height != height_) {
        throw ShapeError("MeanStack: wanted " + std::to_string(width_) + "x" + std::to_string(height_) + " pixels, got " +
                         std::to_string(in.image.width) + "x" + std::to_string(in.image.height));
    }
    if (weight < 0) throw DomainError("weight: wanted a number >= 0, got " + std::to_string(weight));
    const bool needsVariance = options_.inverseVariance || !v_.empty();
    if (needsVariance && in.variance.data == nullptr) throw DomainError("variance: wanted for these weights or errors");
    const stack_detail::Plan plan = planOf(control_, options_, weight);
    const auto rule = stack_detail::ruleOf<T>(plan, 0);
    ++nImages_;
    auto at = [](auto& sums, std::ptrdiff_t i) { return sums.empty() ? nullptr : sums.data() + i; };
    parallelFor((height_ + BLOCK_ROWS - 1) / BLOCK_ROWS, [&](int block) {
        auto source = std::make_unique<stack_detail::RowSource<T, SEGMENT>>();
        auto scratch = std::make_unique<stack_detail::MomentScratch<T>>();
        forPieces(block, width_, height_, [&](std::ptrdiff_t i, int x, int y, int count) {
            source->load(in, x, y, count, count, needsVariance);
            stack_detail::MomentRow row;
            row.n = at(n_, i);
            row.nImage = at(nImage_, i);
            row.w = at(w_, i);
            row.x = at(x_, i);
            row.first = at(first_, i);
            row.w2 = at(w2_, i);
            row.x2 = at(x2_, i);
            row.v = at(v_, i);
            row.power = stack_detail::powerOfWeight(plan);
            row.orUsable = at(orUsable_, i);
            row.orAll = at(orAll_, i);
            const stack_detail::MomentInput<T> input{source->image, source->mask, source->variance, rule};
            MaskPixel propagated = 0;
            for (int bit : stack_detail::propagatedBits(control_)) propagated |= MaskPixel(1) << bit;
            if (!stack_detail::addMoments(&input, 1, count, false, false, propagated, *scratch, row)) return;
            for (std::size_t b = 0; b < rejected_.size(); ++b) {
                if (rejected_[b].empty()) continue;
                stack_detail::addRejectedWeight(input.mask, scratch->usable[0], MaskPixel(1) << b, count,
                                                rule.inverseVariance ? scratch->weight[0] : nullptr, rule.weight,
                                                rejected_[b].data() + i);
            }
        });
    });
}

template <typename T>
void MeanStack<T>::fill(StackOutput<T> const& out) const {
    const stack_detail::Plan plan = planOf(control_, options_, 1.0);
    const bool anyPropagated = std::any_of(rejected_.begin(), rejected_.end(), [](auto const& r) { return !r.empty(); });
    auto at = [](auto const& sums, std::ptrdiff_t i) { return sums.empty() ? nullptr : sums.data() + i; };
    parallelFor((height_ + BLOCK_ROWS - 1) / BLOCK_ROWS, [&](int block) {
        std::vector<double> value(SEGMENT), squared(SEGMENT), n(SEGMENT), zero(SEGMENT, 0.0);
        forPieces(block, width_, height_, [&](std::ptrdiff_t i, int x, int y, int count) {
            std::copy_n(n_.data() + i, count, n.begin());
            const stack_detail::ValueSums sums{n.data(),  at(w_, i), at(w2_, i), at(x_, i),
                                               at(x2_, i), at(v_, i), first_.empty() ? zero.data() : first_.data() + i};
            stack_detail::evaluate(plan, count, sums, n_.data() + i, value.data(), squared.data());
            stack_detail::PixelCounts counts{n_.data() + i,    nImage_.data() + i, orUsable_.data() + i, orAll_.data() + i, n.data(),
                                             anyPropagated ? w_.data() + i : nullptr, {}};
            for (auto const& rejected : rejected_) counts.rejected.push_back(at(rejected, i));
            stack_detail::writePixels(plan, nImages_, y, x, count, value.data(), squared.data(), counts, out);
        });
    });
}

template class MeanStack<float>;
template class MeanStack<double>;

}  // namespace stillsky
