// Measuring sources: centroids, fluxes, shapes, pixel flags. Planes that may be None are empty views.
#include "bindings.hpp"
#include "measure_views.hpp"
#include "stillsky/measure/pixel_flags.hpp"
#include "stillsky/measure/psf_flux.hpp"
#include "stillsky/measure/sdss_centroid.hpp"
#include "stillsky/measure/sdss_shape.hpp"

namespace stillsky {
using namespace measure_views;
namespace {

void bindCentroidAndFlux(py::module_& m) {
    PYBIND11_NUMPY_DTYPE(SdssCentroidResult, x, y, xErr, yErr, flagBits);
    PYBIND11_NUMPY_DTYPE(PsfFluxResult, flux, fluxErr, area, chi2, nPixels, flagBits);
    PYBIND11_NUMPY_DTYPE(PixelFlagsResult, footprint, center, centerAll, offImage);
    m.def("sdssCentroid", [](py::array const& image, py::object const& variance, py::object const& mask,
                             MaskPixel badBits, Array<int> const& startX, Array<int> const& startY,
                             Array<char> const& negative, Array<double> const& kernels, Array<double> const& sigma,
                             py::object const& footprints, int binmax, double wfac, double peakMin,
                             double maxDistToPeak, bool doFootprintCheck, bool reference) {
        SdssCentroidControl control;
        control.binmax = binmax;
        control.wfac = wfac;
        control.peakMin = peakMin;
        control.maxDistToPeak = maxDistToPeak;
        control.doFootprintCheck = doFootprintCheck;
        control.reference = reference;
        const StampStack stack = stackOf(kernels);
        const auto regions = footprintsOf(footprints);
        const auto xs = listOf(startX), ys = listOf(startY);
        const auto signs = listOf(negative);
        const auto widths = listOf(sigma);
        return tableOf(withInput(image, variance, mask, badBits, [&](auto const& input) {
            return sdssCentroid(input, xs, ys, signs, stack, widths, regions, control);
        }));
    });
    m.def("psfFlux", [](py::array const& image, py::object const& variance, py::object const& mask, MaskPixel badBits,
                        Array<double> const& stamps, Array<int> const& x0, Array<int> const& y0, bool reference) {
        const StampStack stack = stackOf(stamps);
        const auto xs = listOf(x0), ys = listOf(y0);
        return tableOf(withInput(image, variance, mask, badBits,
                                 [&](auto const& input) { return psfFlux(input, stack, xs, ys, reference); }));
    });
    m.def("pixelFlags", [](py::array const& mask, Array<double> const& x, Array<double> const& y,
                           py::object const& footprints) {
        const auto view = viewOf<const MaskPixel>(mask, "mask");
        const auto regions = footprintsOf(footprints);
        return tableOf(pixelFlags(view, listOf(x), listOf(y), regions));
    });
}

void bindShape(py::module_& m) {
    PYBIND11_NUMPY_DTYPE(SdssShapeResult, x, y, xx, yy, xy, xxErr, yyErr, xyErr, flux, fluxErr, fluxXxCov, fluxYyCov,
                         fluxXyCov, flagBits);
    PYBIND11_NUMPY_DTYPE(GaussianFluxResult, flux, fluxErr, flagBits);
    m.def("sdssShape", [](py::array const& image, py::object const& variance, py::object const& mask,
                          MaskPixel badBits, Array<double> const& x, Array<double> const& y,
                          Array<char> const& negative, double background, int maxIter, double maxShift, double tol1,
                          double tol2, bool reference) {
        SdssShapeControl control;
        control.background = background;
        control.maxIter = maxIter;
        control.maxShift = maxShift;
        control.tol1 = tol1;
        control.tol2 = tol2;
        control.reference = reference;
        const auto xs = listOf(x), ys = listOf(y);
        const auto signs = listOf(negative);
        return tableOf(withInput(image, variance, mask, badBits,
                                 [&](auto const& input) { return sdssShape(input, xs, ys, signs, control); }));
    });
    m.def("gaussianFlux", [](py::array const& image, py::object const& variance, py::object const& mask,
                             MaskPixel badBits, Array<double> const& x, Array<double> const& y,
                             Array<double> const& xx, Array<double> const& yy, Array<double> const& xy,
                             bool reference) {
        const auto a = listOf(x), b = listOf(y), c = listOf(xx), d = listOf(yy), e = listOf(xy);
        return tableOf(withInput(image, variance, mask, badBits, [&](auto const& input) {
            return gaussianFlux(input, a, b, c, d, e, reference);
        }));
    });
}

}  // namespace

void bindMeasureSources(py::module_& m) {
    bindCentroidAndFlux(m);
    bindShape(m);
}

}  // namespace stillsky
