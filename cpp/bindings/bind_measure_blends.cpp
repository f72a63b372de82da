// Measuring: sources that overlap, and sources that moved.
#include "bindings.hpp"
#include "measure_views.hpp"
#include "stillsky/measure/blend_fit.hpp"
#include "stillsky/measure/motion_score.hpp"

namespace stillsky {
using namespace measure_views;
namespace {

// ends: where each group ends in the list of sources.
std::vector<BlendGroup> groupsOf(Array<int> const& ends, Array<double> const& radius, Array<double> const& maxShift) {
    if (radius.size() != ends.size() || maxShift.size() != ends.size()) {
        throw ShapeError("blendFit: wanted a radius and a greatest shift for each group");
    }
    std::vector<BlendGroup> out;
    int begin = 0;
    for (py::ssize_t i = 0; i < ends.size(); ++i) {
        out.push_back({begin, ends.at(i), radius.at(i), maxShift.at(i)});
        begin = ends.at(i);
    }
    return out;
}

}  // namespace

void bindMeasureBlends(py::module_& m) {
    PYBIND11_NUMPY_DTYPE(BlendFitResult, x, y, flux, xErr, yErr, fluxErr, fluxCov, chi2, nPixels, flagBits);
    PYBIND11_NUMPY_DTYPE(MotionScoreResult, chi2, zx, zy);
    m.def("blendFit", [](py::array const& image, py::object const& variance, py::object const& mask, MaskPixel badBits,
                         Array<double> const& psfs, Array<double> const& x, Array<double> const& y,
                         Array<int> const& ends, Array<double> const& radius, Array<double> const& maxShift) {
        const StampStack stack = stackOf(psfs);
        const auto xs = listOf(x), ys = listOf(y);
        const auto groups = groupsOf(ends, radius, maxShift);
        return tableOf(withInput(image, variance, mask, badBits, [&](auto const& input) {
            return blendFit(input, stack, xs, ys, groups, BlendFitControl());
        }));
    });
    m.def("motionScore", [](py::array const& image, py::object const& variance, py::object const& mask,
                            MaskPixel badBits, Array<double> const& stamps, Array<int> const& x0,
                            Array<int> const& y0) {
        const StampStack stack = stackOf(stamps);
        const auto xs = listOf(x0), ys = listOf(y0);
        return tableOf(withInput(image, variance, mask, badBits,
                                 [&](auto const& input) { return motionScore(input, stack, xs, ys); }));
    });
}

}  // namespace stillsky
