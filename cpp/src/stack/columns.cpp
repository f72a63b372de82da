#include <cmath>
#include <limits>

#include "stack_detail.hpp"

namespace stillsky {
namespace stack_detail {
namespace {

// The samples of one pixel.
template <typename T>
struct Column {
    std::vector<T> x;
    std::vector<MaskPixel> m;
    std::vector<VariancePixel> v;
    std::vector<double> w;

    explicit Column(std::size_t n) : x(n), m(n), v(n), w(n) {}

    void load(std::vector<StackInput<T>> const& inputs, Plan const& plan, int px, int py) {
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            x[i] = valueAt(inputs[i], px, py);
            m[i] = maskAt(inputs[i], px, py);
            v[i] = varianceAt(inputs[i], px, py);
            w[i] = plan.weights[i];
            if (plan.product) {
                const bool good = v[i] > 0 && v[i] <= std::numeric_limits<VariancePixel>::max();
                w[i] = good ? w[i] / v[i] : std::numeric_limits<double>::quiet_NaN();
            }
        }
    }

    StatisticsSamples<T> samples(Plan const& plan) const {
        const int n = static_cast<int>(x.size());
        StatisticsSamples<T> s;
        s.image = View2<const T>(x.data(), n, 1);
        s.mask = View2<const MaskPixel>(m.data(), n, 1);
        if (plan.needsVariance) s.variance = View2<const VariancePixel>(v.data(), n, 1);
        if (plan.weighting == Weighting::GIVEN || plan.product) s.weights64 = View2<const double>(w.data(), n, 1);
        return s;
    }
};

}  // namespace

template <typename T>
void stackRowByColumns(std::vector<StackInput<T>> const& inputs, Plan const& plan, int y, StackOutput<T> const& out) {
    Column<T> column(inputs.size());
    StatisticsControl control = plan.control;
    const bool inverse = plan.weighting == Weighting::INVERSE_VARIANCE && !plan.product;
    control.setWeighted(inverse ? std::optional<bool>(true) : std::nullopt);
    const int flags = plan.property | ERRORS | NPOINT | NMASKED | ORMASK | (plan.clips ? NCLIPPED : 0);
    for (int x = 0; x < inputs[0].image.width; ++x) {
        column.load(inputs, plan, x, y);
        const Statistics s = computeStatistics(column.samples(plan), flags, control);
        const auto result = s.getResult(static_cast<StatisticsProperty>(plan.property));
        if (out.image.data) out.image(x, y) = static_cast<T>(result.first);
        if (out.variance.data) out.variance(x, y) = static_cast<VariancePixel>(result.second * result.second);
        MaskPixel orAll = 0;
        int nImage = 0;
        for (MaskPixel m : column.m) {
            orAll |= m;
            nImage += (m & control.andMask()) == 0;
        }
        if (out.mask.data) {
            const MaskPixel used = s.getValue(NPOINT) == 0 ? control.noGoodPixelsMask() : s.orMask();
            const bool clipped = plan.clips && s.getValue(NCLIPPED) > 0;
            out.mask(x, y) = addMappedBits(used, orAll, s.getValue(NMASKED) > 0, clipped, plan.options);
        }
        if (out.kept.data) out.kept(x, y) = static_cast<std::uint16_t>(s.nUsed());
        if (out.nImage.data) out.nImage(x, y) = static_cast<std::uint16_t>(nImage);
    }
}

#define STILLSKY_INSTANTIATE(T) \
    template void stackRowByColumns<T>(std::vector<StackInput<T>> const&, Plan const&, int, StackOutput<T> const&);
STILLSKY_INSTANTIATE(float)
STILLSKY_INSTANTIATE(double)
#undef STILLSKY_INSTANTIATE

}  // namespace stack_detail
}  // namespace stillsky
