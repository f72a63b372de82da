// Measuring: sums in circles, rings, stamps and along trails.
#include "bindings.hpp"
#include "measure_views.hpp"
#include "stillsky/measure/aperture_flux.hpp"
#include "stillsky/measure/trail_flux.hpp"

namespace stillsky {
using namespace measure_views;

void bindMeasureApertures(py::module_& m) {
    PYBIND11_NUMPY_DTYPE(ApertureFluxResult, flux, fluxErr, area, flagBits);
    PYBIND11_NUMPY_DTYPE(LocalBackgroundResult, value, valueErr, nPixels, flagBits);
    PYBIND11_NUMPY_DTYPE(TrailFluxResult, flux, fluxErr, flagBits);
    m.def("apertureFlux", [](py::array const& image, py::object const& variance, py::object const& mask,
                             MaskPixel badBits, Array<double> const& x, Array<double> const& y,
                             Array<double> const& radii, bool centers, bool reference) {
        const auto xs = listOf(x), ys = listOf(y), rs = listOf(radii);
        const auto edge = centers ? ApertureEdge::CENTERS : ApertureEdge::EXACT;
        return tableOf(withInput(image, variance, mask, badBits,
                                 [&](auto const& input) { return apertureFlux(input, xs, ys, rs, edge, reference); }));
    });
    m.def("stampFlux", [](py::array const& image, py::object const& variance, py::object const& mask, MaskPixel badBits,
                          Array<double> const& stamps, Array<int> const& x0, Array<int> const& y0, bool reference) {
        const StampStack stack = stackOf(stamps);
        const auto xs = listOf(x0), ys = listOf(y0);
        return tableOf(withInput(image, variance, mask, badBits,
                                 [&](auto const& input) { return stampFlux(input, stack, xs, ys, reference); }));
    });
    m.def("localBackground", [](py::array const& image, py::object const& variance, py::object const& mask,
                                MaskPixel badBits, Array<double> const& x, Array<double> const& y,
                                Array<double> const& inner, Array<double> const& outer, double nSigma, int rounds) {
        const auto xs = listOf(x), ys = listOf(y), a = listOf(inner), b = listOf(outer);
        return tableOf(withInput(image, variance, mask, badBits, [&](auto const& input) {
            return localBackground(input, xs, ys, a, b, nSigma, rounds);
        }));
    });
    m.def("trailFlux", [](py::array const& image, py::object const& variance, py::object const& mask, MaskPixel badBits,
                          Array<double> const& x, Array<double> const& y, Array<double> const& length,
                          Array<double> const& angle, Array<double> const& sigma) {
        const auto xs = listOf(x), ys = listOf(y), l = listOf(length), a = listOf(angle), s = listOf(sigma);
        return tableOf(withInput(image, variance, mask, badBits,
                                 [&](auto const& input) { return trailFlux(input, xs, ys, l, a, s); }));
    });
    m.def("circleRectangleOverlap", &circleRectangleOverlap);
}

}  // namespace stillsky
