#include <cmath>
#include <limits>
#include <string>

#include "stack_detail.hpp"

namespace stillsky {
namespace stack_detail {
namespace {

std::string sizeOf(int width, int height) { return std::to_string(width) + "x" + std::to_string(height); }

template <typename V>
void checkSize(View2<V> const& view, std::string const& name, int width, int height) {
    if (view.data != nullptr && (view.width != width || view.height != height)) {
        throw ShapeError(name + ": wanted " + sizeOf(width, height) + " pixels like image 0, got " +
                         sizeOf(view.width, view.height));
    }
}

template <typename T>
void checkSizes(std::vector<StackInput<T>> const& inputs, StackOutput<T> const& out) {
    if (inputs.empty()) throw ShapeError("images: wanted at least one to stack, got none");
    if (inputs.size() > std::numeric_limits<std::uint16_t>::max()) throw DomainError("images: at most 65535 can be stacked");
    const int width = inputs[0].image.width, height = inputs[0].image.height;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const std::string name = "images[" + std::to_string(i) + "]";
        checkSize(inputs[i].image, name, width, height);
        checkSize(inputs[i].mask, name + ".mask", width, height);
        checkSize(inputs[i].variance, name + ".variance", width, height);
    }
    checkSize(out.image, "out.image", width, height);
    checkSize(out.mask, "out.mask", width, height);
    checkSize(out.variance, "out.variance", width, height);
    checkSize(out.kept, "out.kept", width, height);
    checkSize(out.nImage, "out.nImage", width, height);
}

int onlyProperty(int flags) {
    const int property = flags & ~ERRORS;
    if (property <= 0 || (property & (property - 1)) != 0 || property > NMASKED) {
        throw DomainError("flags: wanted exactly one property (and possibly ERRORS), got " + std::to_string(flags));
    }
    return property;
}

void checkWeights(std::vector<double> const& weights, std::size_t nImages, bool compat) {
    if (weights.size() != nImages) {
        throw DomainError("weights: wanted one for each of " + std::to_string(nImages) + " images, got " +
                          std::to_string(weights.size()));
    }
    for (double w : weights) {
        if (w < 0 && !compat) throw DomainError("weights: wanted numbers >= 0, got " + std::to_string(w));
    }
}

}  // namespace

template <typename T>
Plan Plan::of(std::vector<StackInput<T>> const& inputs, int flags, StatisticsControl const& control,
              StackOptions const& options, StackOutput<T> const& out) {
    checkSizes(inputs, out);
    Plan plan;
    plan.property = onlyProperty(flags);
    plan.control = control;
    plan.options = options;
    bool given = !options.weights.empty();
    if (given) checkWeights(options.weights, inputs.size(), control.compat());
    const bool isMasked = inputs[0].mask.data != nullptr || inputs[0].variance.data != nullptr;
    if (given && control.compat() && isMasked && !control.weighted().value_or(false)) given = false;
    if (given && control.weighted() == false && !control.compat()) {
        throw DomainError("weights: given although control.weighted is False");
    }
    plan.weights = given ? options.weights : std::vector<double>(inputs.size(), 1.0);
    if (options.inverseVariance || (!given && control.weighted().value_or(false))) plan.weighting = Weighting::INVERSE_VARIANCE;
    else if (given) plan.weighting = Weighting::GIVEN;
    plan.product = given && plan.weighting == Weighting::INVERSE_VARIANCE;

    if (plan.product && control.compat()) throw DomainError("inverseVariance: not together with weights in compat");

    bool haveVariance = true;
    for (auto const& input : inputs) haveVariance = haveVariance && input.variance.data != nullptr;
    // One sample has no scatter: the only image comes back with the variance it had.
    const bool isMean = plan.property == MEAN || plan.property == MEANCLIP || plan.property == MEDIAN;
    if (inputs.size() == 1 && isMean && haveVariance && !control.compat() && !control.calcErrorMosaicMode()) {
        plan.property = MEAN;
        plan.control.setCalcErrorFromInputVariance(true);
    }
    plan.clips = (plan.property & CLIPPING) != 0;
    const bool inErrors = (control.calcErrorFromInputVariance() || control.calcErrorMosaicMode()) && out.variance.data != nullptr;
    plan.needsVariance = plan.weighting == Weighting::INVERSE_VARIANCE || inErrors ||
                         (plan.control.calcErrorFromInputVariance() && out.variance.data != nullptr);
    if (plan.needsVariance && !haveVariance) {
        throw DomainError("variance: wanted of every image for these weights or errors, but not all have one");
    }
    if (out.variance.data == nullptr) {
        plan.control.setCalcErrorFromInputVariance(false);
        plan.control.setCalcErrorMosaicMode(false);
    }
    return plan;
}

MaskPixel addMappedBits(MaskPixel mask, MaskPixel orAll, bool someMasked, bool someClipped, StackOptions const& options) {
    if (someClipped) mask |= options.clipped;
    if (someMasked) {
        for (auto const& bits : options.maskMap) {
            if (orAll & bits.first) mask |= bits.second;
        }
    }
    return mask;
}

ErrorSource errorSourceOf(Plan const& plan) {
    if (plan.control.compat() && plan.property == MEDIAN) return ErrorSource::SCATTER;
    if (plan.control.calcErrorFromInputVariance()) return ErrorSource::INPUT_VARIANCE;
    return plan.control.calcErrorMosaicMode() ? ErrorSource::MOSAIC : ErrorSource::SCATTER;
}

int powerOfWeight(Plan const& plan) {
    if (plan.property == MEDIAN) return 0;
    return errorSourceOf(plan) == ErrorSource::INPUT_VARIANCE ? 2 : 1;
}

#define STILLSKY_INSTANTIATE(T)                                                                                     \
    template Plan Plan::of<T>(std::vector<StackInput<T>> const&, int, StatisticsControl const&, StackOptions const&, \
                              StackOutput<T> const&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stack_detail
}  // namespace stillsky
